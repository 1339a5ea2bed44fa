// Package syncengine is the sync protocol of Tandem as pure code: both ends of it,
// [Device] and [Server], as step functions over a small transaction interface
// ([DeviceTx], [ServerTx]). It does no I/O, reads no clock, starts no goroutine, logs
// nothing and makes nothing random; what it needs of the world it is given. The
// client and the server meet its interfaces with SQL, the simulator with maps.
//
// This comment is the specification. Every number that another implementation
// needs is here, in the contract (proto/tandem/v1), or beside the function named;
// docs/protocol.md puts them together, with test vectors, for who writes another client.
//
// # What is promised
//
// No lost words: every value that a person saved is, at any moment, in a head of
// the record, an alternative beside it, the change log, quarantine, or the outbox
// of the device. The wall: record state leaves the server in one place
// ([Server.Answer]), and there only by the scopes that the person may hold in that
// snapshot. Same answer everywhere: devices with equal scopes and empty outboxes
// hold byte-identical records, which digests prove. No clock decides anything.
//
// # Identities
//
// An [ID] is 16 bytes, a ULID where a device made it; only equality and byte order
// count. A change id is made at capture, never altered, and is the idempotency key
// for ever. The [Stamp] of a value is the last 8 bytes of the id of the change that
// wrote it; stamps are compared for equality only, and zero is the stamp of a path
// never written. A replica is one life of a device's database, with an Ed25519 key
// of its own. A replica numbers its changes from 1 without gaps: op numbers.
//
// The [Envelope] of a change is (replica, op, envelope hash of the op before, body
// hash); [HashEnvelope] says over which bytes. In a run of consecutive ops only the
// hash before the first travels. A push carries one signature, over the envelope
// hash of its last op, and of the last op of each run where there are several
// ([HashBatch], [SignBatch]). Envelopes serve duplicates, forks and audit; merging
// never looks at them.
//
// # Changes
//
// A change is everything one save wrote: writes to one or more records, all or
// nothing, each naming the stamps of the values its author saw. Its bytes are
// stored as they were sent and never re-encoded; the body hash is their SHA-256.
// What a change does to one record is an act: create brings a whole body; set,
// append and resolve write paths; sign, amend, void, restore, close and the others
// act on the whole record and carry the screen they were made on (seen).
//
// # Records
//
// A record is a body and its stamps. The body holds the displayed value of every
// path as raw protobuf fields in order of field number, spliced from changes byte
// for byte. A path is a field, or an element of one; the number of a field tells
// its shape ([ShapeOf]), so that a field of a newer version merges, is stored and is
// sent on by code that does not know it. Elements of a field stand in byte order of
// their key. Varints are minimal, nothing stands twice, groups are refused
// ([ParseBody]).
//
// The stamps are the canonical encoding of the message Stamps: who created the
// record, and an entry for each path that does not stand as the creating change
// left it. The row hash is the first 8 bytes of SHA-256(body ‖ stamps). A field
// never written has no entry, so a new field in a new version changes no hash.
//
// # Merging
//
// One algorithm over paths. H(p), the heads of a path, are the accepted writes of p
// that no accepted change names as a base. A write takes its bases out of H. A base
// that is no head is noted as awaited, without a look-up, because an accepted stamp
// never comes twice; if its change lies in quarantine, that change's own bases for
// p count as the write's too, also when it gets there later. Then the write joins H,
// unless it is itself awaited: somebody has already written over it, and it goes to
// history. H is the same for every order of arrival. What is refused takes nobody's words
// out by that: its bases count for writes of its own sender, and where it arrives after
// them, those that its sender might write over then, or wrote; so more may stand, never less.
//
// The policy of a field only chooses which head is displayed and whether a human is
// asked. keep-both: the head accepted first. safest-head: the most cautious by the
// order of the code list. state-machine: as keep-both, and a step that the machine
// does not know becomes a head beside its base. set: present over absent. append:
// never asks. last-accepted: the newest; the other goes to history and is logged.
// A path is in conflict while two of its heads differ in their bytes.
//
// A record whose displayed lifecycle is signed, amended, locked or void is sealed: a
// plain write joins H without being displayed (a late edit), and a resolve only sets
// alternatives aside. Sign and amend make exactly the heads on their author's screen,
// with their own writes over them, the displayed version, whatever arrived first; a
// head that was seen and has since been written over is put back from the change
// log; one that never arrived makes the act wait in quarantine. Other acts apply, and
// ask where the screen was not the present state. Void is a status; nothing is ever
// deleted.
//
// Who may write on a draft of somebody else's because another record says so, as who was at
// the call, loses that right when the draft is sealed, and may not know yet. So with the
// change that seals it the server writes down who held that right just before that change
// ([StoredRecord].CoAuthors): in its own row of the record, no part of the hash, never sent,
// MaxCoAuthors at most. What those write is a late edit as any other, but takes no head out
// except their own and awaits none ([Writer].Beside); no other act is theirs. Whatever the
// other record says afterwards changes nothing, and nobody is looked up. A server cannot tell
// what was written before the seal from what was written after it. A record that is a draft
// again has nobody written down, and the next seal writes down anew: those are its last
// draft's. Nobody is written down on what was sealed before servers did so, or was loaded
// from a package. A server that was set back to before the seal writes down whoever is named
// when that arrives again.
//
// # Judging
//
// [Prepare] decodes a push and judges each change alone: form, size, single fields.
// In the transaction follow the author's rights by kind and role, before any
// look-up; then reach and rights on the record as it stands. Absent and out of scope
// are one code. A reference to a record that is not there never refuses. What is
// refused is quarantined: kept as it was sent, with a code and the names of fields,
// never a value. One bad change never holds up another. Rules over several fields
// are no refusal: the merged state opens a work item for a human. What a revoked
// replica sends, or one whose person has no rights left, is quarantined whole.
//
// # Quarantine
//
// A change in quarantine is shown to leads whose grants cover every compartment and
// team that it names; one that names none that can be told, to those that cover all
// that its sender ever held; who oversees sees that it is there. Four things can become
// of it, each once and for good.
//
// Applied: released by a lead ([Batch.Release]), or by itself, when the record that it
// waits for is made, the head that it signs over arrives ([Batch.Push] does that in the
// same commit), or a newer server knows its kind ([Batch.Retry]). It keeps id, bytes and
// author. A release judges it by a grant that its author once held, the one whose hash
// it names (HeldGrant; these are kept for ever), and by the releaser's reach: it gives
// nobody a right that they lacked. What waits for a record that it makes is released
// with it, in order of op.
//
// Dismissed: by a lead with a reason, or withdrawn by its author. Replaced: by another
// change that names it in replaces, of the same author, or of a lead; that change names
// its stamp and its bases as bases ([Supersede]), and closes it when it is applied
// itself. A lead's change may quote it instead, in a note: that writes none of its paths. To whoever wrote over it, a closed change counts as one in quarantine.
//
// A verdict that has changed is told with every answer to a device whose last cut is
// older than the change, so that a lost answer costs nothing. Verdicts go from
// quarantine to an end and never back, so that a late answer does no harm. Where verdicts
// were told the device says with each request, by the sealed position of that snapshot,
// until a cut covers it: a server that has lost the decision since would not see that by
// anything else. The trailer
// lists the ops that its snapshot has not applied (apart): a change that was released
// since must not settle by an answer from before.
//
// A replica has bounds in quarantine (MaxApart): beyond them a change that would be
// refused gets no verdict and stays with its device.
//
// # Order
//
// Transactions of an org run one after another ([ServerTx]). Each verdict takes the
// next sequence, as does each move that no change brings about; all that a change
// wrote carries its sequence. A commit extends the history hash: h = SHA-256(h before ‖ for each change its id, outcome and refusal,
// followed by the record, scope and direction of each move between scopes).
//
// # Scopes, pages, cuts
//
// A scope is an owner, a compartment and a tier; a record is in the scopes of its
// team, a person in those of every team with a record about them. The scope index
// has one row for each scope and record, at the record's latest sequence, so that a
// newcomer never replays history.
//
// A device states a [Position] for its ready scopes together, and one for each scope
// in backfill. A page is read in one snapshot: the rows of the ready scopes beyond
// the position, in order of (sequence, record id); where those are read to the end
// the page is closing, and the scopes in backfill follow, open work first. Only a
// closing page lets the device flip: until then rows that could be seen are staged,
// and rows of scopes that are not ready go to their place, hidden. The flip, one
// transaction, shows the new cut, makes ready the backfilled scopes that the page
// read to the end, and settles the own changes that the snapshot includes. What a
// screen shows is therefore always one state of the server, with own unsettled
// changes on top.
//
// A row is a record's whole state; or, where the device holds an earlier state that
// the record remembers, the touched paths and the row hash; or, where only the
// device's own changes led here, the hash alone. What a device holds is the state at
// its last cut, which its position says beside how far it has read since. A device
// whose splice differs from the hash drops the page and asks for the whole row. A row
// without scopes is a drop.
//
// Scopes are granted by level, not by event: each request carries a hash of the
// device's set; where it differs the answer states the set, and nothing else. Listed
// but not held begins a backfill, held but not listed is purged. Unsettled changes
// stay in the outbox. A revoked replica is sent codes, its own op ranges, and that it
// holds no scope.
//
// A record that was erased by law ([Batch.Erase]) has left all its scopes, so that devices
// drop it, and its id stays known for ever: a change that writes it, or makes it again, is
// refused as one whose target is not there.
//
// The rows of a scope in backfill are the same for all devices that may read the same
// scopes of its records. A server may make them once, in [Chunks]: which never replace
// the reading, since each is compared with the scope index of the page's own snapshot.
//
// The [Digest] of a scope is a 128-bit sum over its records ([Term]), kept
// incrementally at both ends and compared at each cut that changed the scope.
//
// # Lookups
//
// A person may read more than their device holds (what is clinical in the other teams of
// their programs: Rules.MayRead). That is asked for by a Sync with a record id, a reason,
// and whether the records about it are wanted too. The server answers from what the
// person may read in that snapshot, after it has logged the request; what is not there
// and what may not be read get the same answer. A device keeps finds apart from its
// records: they are in no scope, no cut and no digest, are read and not written, and are
// dropped 24 hours later ([Device.Expire]), as a revocation drops. With every request it
// names those it keeps; the answer names those that it must forget.
//
// # Reconciling
//
// A device that does not know to stand where the server goes on drops its positions
// and compares ([Server.Reconcile], [Device.PlanReconcile]): digests of whole scopes,
// then sums of buckets, a window at a time, then ids and row hashes of the buckets that
// differ. What it lacks or holds otherwise it wants, by Sync, where record state
// leaves the server; a page for a position that a comparison gave out holds wanted
// rows alone while there are any, and nothing is shown before all are there and a
// closing page has followed. The position is that of the first comparison, so that
// what changes meanwhile comes after. What is compared are hashes of the bytes held, so
// that a damaged row is found as well. It begins where a cut's digest differs, where a
// page says so (a position older than [KeptSequences], or of another epoch), and for a
// new replica of a store that holds records.
//
// # Epochs
//
// An epoch is one life of the server's history. A server continues from a position
// only if the commit at its head then is the one it has now. A position, also one at
// which verdicts were told, or an epoch's id, that only this server can have made and
// that its history does not know proves that it was set back ([ErrReverted]); so does a
// certificate of a replica that it does not know. It begins a new epoch ([Server.Mint], [Server.Adopt]), with
// sequences that lie [KeptSequences] higher. In recovery it takes changes, from unknown
// replicas with a certificate too, and sends no pages until a human has confirmed.
//
// A device takes in an answer of its own epoch, or one of a new epoch to a request
// made in its own; nothing of an earlier one. On entering an epoch it compares the op
// ranges of the answer with the verdicts it had: what the server has lost it offers
// again, with the bytes it keeps, each after what it builds on, before it reconciles.
// Verdicts that no cut has confirmed are asked for anew. A push that names as known an
// op which the server lacks is not judged: the device has to offer that first.
//
// # Answers
//
// An answer counts only if it is complete: schema, count, digest and end mark
// ([Frame], [Unframe]). Anything else is no answer, and never a verdict on a change.
// Answers may come late, twice or out of order: outcomes are facts, and a page that
// does not start where the device stands is dropped. After a push whose answer did
// not come, the next request carries no changes and asks for the verdicts first.
//
// A request carries random bytes that its answer repeats, so that a device can tell it
// from an older one that something on the way has kept.
//
// # Time
//
// No time decides anything. A change carries what the device's clocks said: wall
// clock, monotonic reading and boot, and of the contact that told the server's time
// best the same readings, that time, and half its round trip. [Date] makes of it when
// the change was made by the server's clock and how far that may be off; both stand
// beside what was entered. A wall clock more than a day off, or set back, opens a work
// item, [ItemTimeSuspect], and nothing else. What time alone brings about happens at
// the server as sequenced moves and changes that can be taken back ([Batch.Age]).
//
// # Damaged changes
//
// An own change whose bytes do not have the hash that they were saved with is set aside
// ([Device.Damaged], [Device.SetAside]): neither sent nor shown, kept to be looked at.
// The others go on, since the chain holds by the hashes that they were saved with; what
// builds on it waits in quarantine. Its whole copy in the sealed outbox is delivered in
// its place, under its id and op.
//
// # Sealed outbox
//
// Beside its store a device keeps each own change sealed to the org, in the form that
// package seal specifies, until two verified backups of the server hold it: the trailer
// states those ops. An entry is delivered by anybody ([PrepareDelivered]): it counts as
// its replica's if it is signed, if a proved one names its hash as that of the op
// before, or if the change log does ([Batch.Prove]). What is not proved is not judged
// and shows no fork. The rest goes the way of a push, so that it may come twice, and
// what comes of a revoked replica goes to quarantine.
//
// # Keys
//
// A replica may get another key: the old one signs the new one. The old one is good for
// nothing then ([Server.Proved]), and what it had signed up to that op stays signed
// ([Replica.Signed]). The certificate counts the keys, so that a server which was set back
// to before knows the later one.
//
// # Forks
//
// Two hashes at one op show two histories under one replica id, a copied or
// rolled-back store: the push that shows it is not applied, and the replica takes no
// more. A device sees the same from an answer: the server holds an op that it never
// made, or another one under its number, or has judged another: a verdict carries
// the first 8 bytes of the envelope hash it is on. The server does not infer a fork
// from op numbers alone, since a request that merely arrives late has low ones.
//
// A forked store takes a new replica id and key at that contact ([Device.Reinstance]).
// Every own change that is not settled goes into a new envelope, from op 1 on: same
// bytes, same id. The server finds the id in its log, notes the op as a reissue and
// repeats the verdict; both lines of edits stand. The new replica is write-only until
// it is confirmed.
package syncengine
