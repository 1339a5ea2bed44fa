// Package audit is the format of the audit log: who did what, in an order that
// nobody can alter unseen. It has no I/O; the server's store keeps the log, devices
// keep what proves it, and anybody can check an export with this package alone.
//
// # Entries
//
// An entry is an encoded tandem.v1.AuditEntry. It holds ids and codes and never a
// value of a field, so that the log may be shown to somebody who may not read
// records. Its bytes are kept as they were first written; hashes are over those bytes.
//
// # One entry an act
//
// An entry is written in the transaction of its act. A push is one act: its entry
// names the ops, the newest envelope hash (which stands for every change before it,
// since envelopes are chained), each change that was not applied, and sequence and
// hash of the commit. A row for each change would say nothing more and would cost more
// than the changes. Where the server commits changes of its own the entry names the
// commit alike, so that each commit of the history has exactly one entry that names it.
// A page that was sent is one entry, with the sequences that it covers.
//
// # The tree
//
// The entries of an org are the leaves of the Merkle tree of RFC 6962, by
// golang.org/x/mod/sumdb/tlog. Appending needs the edge of the tree alone: the roots of
// its full subtrees, one for each bit of the size. Nodes of [BlockLevel] and above are
// kept, one for 256 entries; what lies below is computed from the entries.
//
// # Checkpoints
//
// A [Checkpoint] is size and root of the tree at a time, signed by the org's key: a
// signed note (golang.org/x/mod/sumdb/note) whose text is a C2SP tlog-checkpoint, with
// one line for the time and one for the epoch:
//
//	tandem-audit/ORG
//	SIZE
//	ROOT, base64
//	time MS
//	epoch EPOCH
//
//	— tandem-audit/ORG SIGNATURE
//
// What the org key signs elsewhere begins otherwise. On the wire it is packed without
// what both ends know ([Checkpoint.Pack]). Devices keep the checkpoints that they were
// sent, so whoever holds database and key still cannot rewrite the log: a newer checkpoint
// that does not extend a kept one is found by the next proof, or by [Verify].
//
// The tree goes on where a database was set back, but checkpoints are comparable within
// an epoch only. What an earlier epoch's checkpoint covered and the log no longer holds is
// reported as lost, with the entry by which the new epoch began.
//
// # Chains of devices
//
// What a device notes itself (a record opened, a search) is a chain: each entry's
// hash covers the replica, its number, the hash before and its bytes ([ChainHash]). The
// device signs the newest hash when it delivers. At the server each becomes an entry of
// the log, as it came, followed by the signed hash. Numbers that never came, and a chain
// that does not go on from what came before, are entries themselves.
package audit
