// Package seal is the format of the sealed outbox: an append-only file beside a
// device's store that outlives it. Each own change stands in it sealed to the public
// key of the device's organization, so that anybody may carry the file and only the
// organization's server can read it. One entry, by itself, is also the envelope in
// which others carry a change (a relay).
//
// This comment is the specification. All numbers are big endian. The package does no
// I/O of its own; the key of a session comes from crypto/hpke, which is random by
// itself.
//
// # Entries
//
// A file is a sequence of entries and nothing else. An entry is a header of 108
// bytes and a payload:
//
//	offset  size  content
//	     0     4  mark: F4 54 64 53
//	     4     1  version: 1
//	     5     1  kind: 1 replica, 2 change, 3 witness, 4 draft
//	     6     1  class of the change: 1 urgent, 2 normal, 3 bulk; 0 for other kinds
//	     7     1  flags: bit 0: the entry holds a signature; the others are zero
//	     8    16  org
//	    24    16  replica
//	    40     8  op number of the change; of a witness, its serial number; of a
//	              draft, its number (5 bytes) and version (3 bytes)
//	    48     8  time after which a relay need not carry it, ms since the Unix epoch;
//	              0 for none
//	    56     8  id of the key it is sealed to: the first 8 bytes of the SHA-256 of
//	              the public key; zero where nothing is sealed
//	    64    32  the session's encapsulated key; zero where nothing is sealed
//	    96     4  length of the payload
//	   100     4  CRC-32C of the payload
//	   104     4  CRC-32C of the header up to here
//	   108        payload
//
// Mark, length and the two checksums stay where they are in every later version. A
// reader passes over kinds and versions that it does not know.
//
// # Damage
//
// A reader that finds no whole entry at a place looks for the next mark behind that
// place whose header and payload fit their checksums; what lies between is damage,
// which it reports. No entry needs another one to be opened, so damage costs no more
// than the entries it hit. Damage that reaches the end of the file is what a power
// cut leaves of an entry being written: whoever appends cuts it off first.
//
// # Keys
//
// The organization's key pair is X25519. A session is one HPKE context (RFC 9180) in
// base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, whose info
// is "tandem-sealed-v1" ‖ org ‖ replica. The context seals nothing itself: it exports
// 64 bytes under the context "tandem-sealed-keys-v1". The first 32 are the key of
// AES-256-GCM, the others that of nonces. A device makes a session each time that it
// opens its store, and when its organization's key changes.
//
// The payload of what is sealed is nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes);
// associated data are the first 96 bytes of the header with the time at offset 48 set
// to zero, so that a relay may set it. The nonce is the first 12 bytes of
// HMAC-SHA-256(key of nonces, associated data ‖ plain text): a machine that was set
// back to an earlier state in the middle of a session seals other words under another
// nonce.
//
// # Replica
//
// Payload, in clear: Ed25519 public key of the replica (32 bytes) ‖ certificate of the
// replica, signed by the organization. It lets a server that has lost the replica's
// row believe what follows. It stands at the beginning of a file, and again after each
// mebibyte.
//
// # Change
//
// Plain text: envelope hash of the op before (32 bytes; zero before op 1) ‖ where flag
// 0 is set, a signature (64 bytes) ‖ the encoded change, as it was captured. Its
// envelope hash is SHA-256("tandem-envelope-v1" ‖ replica ‖ op ‖ hash of the op before
// ‖ SHA-256(encoded change)). The signature is Ed25519, by the replica's key, over
// "tandem-batch-v1" ‖ envelope hash.
//
// Anybody can seal to a public key, so a change counts as its replica's only if it is
// proved: it holds a fitting signature, or the op after it is proved and names its
// envelope hash as that of the op before. Ops that are written together are signed at
// the last, and at every sixteenth.
//
// # Witness
//
// A record as the device last had it from a server that has since lost part of its
// history. Plain text: where flag 0 is set, a signature (64 bytes) ‖ record id (16) ‖
// kind (4) ‖ row hash (8) ‖ length of the stamps (4) ‖ stamps ‖ body. The signature is
// Ed25519, by the replica's key, over "tandem-witness-v1" ‖ record id ‖ row hash.
//
// # Draft
//
// Typing that no save has made a change of. A device numbers its drafts, and each
// number's versions from 1; of a number the highest version counts, wherever it stands.
// The highest version there can be says that the draft is no more: it was dropped, or
// saved. Plain text: a signature (64 bytes) ‖ an encoded Change that holds the draft and
// no records, nothing where the draft is no more. The signature is Ed25519, by the
// replica's key, over "tandem-draft-v1" ‖ the 8 bytes of the number ‖ SHA-256(encoded
// Change).
package seal
