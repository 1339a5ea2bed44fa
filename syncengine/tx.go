package syncengine

import (
	"crypto/ed25519"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// HistoryHead is where a server's history of one org stands.
type HistoryHead struct {
	// Epoch is the random id of this life of the database.
	Epoch ID
	// Seq is the newest sequence.
	Seq uint64
	// Hash extends over every commit: h = SHA-256(h before ‖ what the commit did).
	Hash Hash
	// Recovering: the epoch has begun with a restore, and nobody has confirmed people,
	// devices and grants yet. No page is served.
	Recovering bool
}

// OpRange is a range of op numbers, both ends included.
type OpRange struct{ First, Last uint64 }

// Replica is what the server knows of one life of a device's database.
type Replica struct {
	// ID, and the record ids of its person and device.
	ID, Person, Device ID
	// Key is its Ed25519 public key, Former are those that it had before, oldest first.
	Key    []byte
	Former []FormerKey
	// Ranges are the ops the server holds, ascending and disjoint.
	Ranges []OpRange
	// Apart are those of them that are not applied: in quarantine, or closed.
	Apart []OpRange
	// Revised is the newest sequence at which the verdict on one of its ops changed.
	Revised uint64
	// Highest is the newest op held, HighestHash its envelope hash.
	Highest     uint64
	HighestHash Hash
	// Forked: two histories have shown themselves under this id; it takes no more.
	Forked bool
	// Revoked: what it still sends goes to quarantine; it is sent nothing.
	Revoked bool
	// Suspended: its device is, until that is lifted; nothing is taken of it and nothing sent
	// to it ([ErrSuspended]), but where it is Revoked as well. The engine reads it and never
	// changes it.
	Suspended bool
	// WipeOrderedMS is when its device was ordered to wipe itself, WipedMS when this store
	// acknowledged that it has; 0 for never. A store that shows up again after that is a
	// copy, and is ordered again.
	WipeOrderedMS, WipedMS int64
	// WipeToldMS is when it was first told that order, 0 for never: from then on the order
	// cannot be taken back. WipeShut: it is revoked by the order alone.
	WipeToldMS int64
	WipeShut   bool
	// Unconfirmed: it is write-only. What it sends is judged, and it is sent verdicts
	// and no page.
	Unconfirmed bool
	// Replaces is the replica that its store was before; zero for none.
	Replaces ID
	// Recovered: it was not in the restored database and was taken back by its
	// certificate.
	Recovered bool
	// Epoch in which it last said where it stands: see [Server.Report].
	Epoch ID
	// Waits is how many changes it still had to offer again then, Lost are the ops of
	// which neither the server nor the device has the bytes any more.
	Waits uint64
	Lost  []OpRange
	// BackedUp are the ops that two verified backups of the server hold. The engine
	// reads it and never changes it.
	BackedUp []OpRange
}

// Shut reports whether nothing is taken of it and nothing sent to it: its device is
// suspended. Of one that is revoked what it still has is wanted, in quarantine.
func (r *Replica) Shut() bool { return r.Suspended && !r.Revoked }

// FormerKey is a key that another one has taken the place of. What it signed up to then
// stays signed.
type FormerKey struct {
	// Key is empty where it is not known any more.
	Key []byte
	// Ops is the newest op that it may have signed.
	Ops uint64
}

// Signed reports whether verify holds for the key that signs an op of the replica: the
// present one, or a former one where the op was made in its time.
func (r *Replica) Signed(op uint64, verify func(key ed25519.PublicKey) bool) bool {
	if verify(r.Key) {
		return true
	}
	return slices.ContainsFunc(r.Former, func(f FormerKey) bool { return op <= f.Ops && verify(f.Key) })
}

// StoredChange is one entry of the change log. Its id is the idempotency key for
// ever.
type StoredChange struct {
	ID ID
	// Replica and Op are zero for a change made at the server.
	Replica ID
	Op      uint64
	// Envelope is the envelope hash, Prev the one before it, BodyHash that of Body.
	Envelope, Prev, BodyHash Hash
	// Body are the bytes as they were sent.
	Body []byte
	// Author and Device are record ids, zero where the body could not be decoded.
	Author, Device ID
	// AtMS is the device's wall clock, ReceivedMS the server's.
	AtMS, ReceivedMS int64
	// CorrectedMS and UncertaintyMS are what Date makes of the device's clocks.
	CorrectedMS, UncertaintyMS int64
	// Outcome is the verdict; its Op is Op.
	Outcome *tandemv1.Outcome
	// Seq is the sequence at which the verdict was given.
	Seq uint64
}

// StoredRecord is one record at the server.
type StoredRecord struct {
	Record
	// Hash is the row hash.
	Hash RowHash
	// Seq is the sequence of its latest state.
	Seq uint64
	// Scopes it is in, in a stable order.
	Scopes []ScopeKey
	// RunReplica is the replica whose changes alone led from the state at sequence
	// RunBase (0: none) to this one; zero where the last change was made elsewhere.
	RunReplica ID
	RunBase    uint64
	// Plain: every path has one head and it is displayed.
	Plain bool
	// CoAuthors are those who might write on it beside its author when it was sealed,
	// ascending, MaxCoAuthors at most; none while it is not sealed. They are the server's
	// alone and no part of the hash.
	CoAuthors []ID
	// Touches are the paths that its latest changes touched, oldest first, and
	// TouchBase the sequence of the state before the oldest: who holds that state or
	// a later one can be sent those paths alone.
	Touches   []Touch
	TouchBase uint64
}

// Touch is the paths that the change at a sequence touched.
type Touch struct {
	Seq   uint64
	Paths []Path
}

// Member is one row of the scope index.
type Member struct {
	Record ID
	Seq    uint64
	// Live: the record is in the scope; otherwise it has left it.
	Live bool
}

// ServerView reads one org in one snapshot.
type ServerView interface {
	// Org returns the org's id.
	Org() ID
	// Head returns where the history stands in the snapshot.
	Head() (HistoryHead, error)
	// CommitAt returns the commit that holds a sequence: the first whose last
	// sequence is not below it. ok is false where none is kept.
	CommitAt(seq uint64) (last uint64, hash Hash, ok bool, err error)
	// Members returns up to limit rows of a scope beyond (seq, record), in order of
	// sequence, then record.
	Members(scope ScopeKey, seq uint64, record ID, limit int) ([]Member, error)
	// Stretch returns how many live rows of a scope lie beyond one place and not beyond
	// another, and up to limit of the others there, in the order of Members.
	Stretch(scope ScopeKey, from, to Place, limit int) (live int, left []Member, err error)
	// Record returns a record, nil where there is none.
	Record(id ID) (*StoredRecord, error)
	// Records returns those of ids that are there, each once, in any order.
	Records(ids []ID) ([]*StoredRecord, error)
	// Digest returns a scope's digest, by bucket.
	Digest(scope ScopeKey) (*Digest, error)
	// Live returns the records in a scope whose bucket lies between two, both
	// included, with their row hashes, in any order.
	Live(scope ScopeKey, first, last byte) ([]Held, error)
	// About returns up to limit records that were noted by Link to be about one, in
	// order of id.
	About(record ID, limit int) ([]ID, error)
	// EarlierEpoch reports whether an epoch was this org's before the present one.
	EarlierEpoch(epoch ID) (bool, error)
	// Replica returns a replica, nil where it is unknown.
	Replica(id ID) (*Replica, error)
	// OutcomesIn returns the verdicts on a replica's ops in a range, at most limit, in
	// order of op; reissued ones among them.
	OutcomesIn(replica ID, ops OpRange, limit int) ([]*tandemv1.Outcome, error)
	QuarantineView
}

// PageReader is what a ServerView may be besides: one that reads a page with less
// work. It returns what Members and Records would.
type PageReader interface {
	// Page is Members with the record of each row beside it, nil where there is none.
	Page(scope ScopeKey, seq uint64, record ID, limit int) ([]Member, []*StoredRecord, error)
	// RecordsOf is Records of what Members has returned, each record once.
	RecordsOf(members []Member) ([]*StoredRecord, error)
}

// ServerTx is one write transaction of one org, whose row is locked: transactions
// of an org run one after another. What it is given is not kept by the engine; what
// it returns is the engine's to read, not to change.
type ServerTx interface {
	ServerView
	// Prefetch announces what will be read, so that a store can read it at once:
	// changes, records that will be written, and records that those name. Optional in
	// effect.
	Prefetch(changes, records, named []ID) error
	// Change returns an entry of the change log by id, nil where there is none. Its
	// Body may be left out.
	Change(id ID) (*StoredChange, error)
	// ChangeByStamp returns an entry by stamp, with its body, nil where there is none.
	ChangeByStamp(s Stamp) (*StoredChange, error)
	// ChangeByOp returns an entry by replica and op, nil where there is none. Its
	// Body may be left out. Of a reissued change replica, op and envelopes are those
	// of the reissue.
	ChangeByOp(replica ID, op uint64) (*StoredChange, error)
	// Reissue notes that a change of the log has come once more, under another
	// replica or op: c is the entry with replica, op and envelopes as they came.
	Reissue(c *StoredChange) error
	// SaveChange adds an entry to the change log, or changes its verdict.
	SaveChange(c *StoredChange) error
	// SaveReplica stores a replica.
	SaveReplica(r *Replica) error
	// SaveRecord stores a record.
	SaveRecord(r *StoredRecord) error
	// SaveMember puts a record's row of a scope at its latest sequence.
	SaveMember(scope ScopeKey, m Member) error
	// AddDigest adds to a bucket of a scope's digest.
	AddDigest(scope ScopeKey, bucket byte, delta Sum) error
	// Awaited and Await: see History.
	Awaited(record ID, p Path, s Stamp) (bool, error)
	Await(record ID, p Path, s Stamp) error
	// Teams returns the teams that a follower follows; Follow adds one, if it is new.
	Teams(follower ID) ([]ID, error)
	Follow(follower, team ID) error
	// Link notes that a record is about another, for ever.
	Link(to, record ID) error
	// OpenItem opens a work item unless it is open; CloseItems closes those about a
	// path of a record.
	OpenItem(record ID, item Item, seq uint64) error
	CloseItems(record ID, p Path, seq uint64) error
	QuarantineTx
	// SetHead stores the head and the commit that led to it.
	SetHead(h HistoryHead) error
	// NewEpoch stores the head of a new epoch as a commit, and remembers that earlier
	// epochs were this org's.
	NewEpoch(h HistoryHead, earlier ...ID) error
	// Prune tells that commits before a sequence, and rows of the scope index that
	// dropped a record before it, are no longer needed. A store may keep them longer.
	Prune(before uint64) error
}

// Held is one record of a scope with the hash of its row.
type Held struct {
	Record ID
	Hash   RowHash
}

// ScopeID is a scope's id on the wire: 8 opaque bytes.
type ScopeID [8]byte

// DeviceScope is one scope that a device holds.
type DeviceScope struct {
	ID ScopeID
	// Bit is its number in DeviceRecord.Scopes, 0 to 63.
	Bit uint8
	// Compartment and Open are for the words on the screen.
	Compartment tandemv1.Compartment
	Open        bool
	// Ready: what is in it is shown. Otherwise it is in backfill.
	Ready bool
	// Position is how far its backfill has read; nil at the start, and once ready.
	Position []byte
	// Sum is the digest of what the device holds of it.
	Sum Sum
	// VerifiedMS is when the digest last equalled the server's, 0 for never.
	VerifiedMS int64
}

// DeviceState is what one replica knows of itself.
type DeviceState struct {
	// Org, Replica; and the record ids of Person and Device.
	Org, Replica, Person, Device ID
	// NextOp is the op number of the next change; LastHash the envelope hash of the
	// one before it.
	NextOp   uint64
	LastHash Hash
	// KnownOp is an op that the server is known to hold: the one acknowledged last.
	KnownOp uint64
	// Staged is how far the ready scopes have been read; nil at the start.
	Staged []byte
	// OffsetMS is server time minus wall clock at the last contact.
	OffsetMS    int64
	OffsetKnown bool
	// LastContactMS is the wall clock at the last complete answer, 0 for never.
	LastContactMS int64
	// Forked: the server has seen another history under this replica id.
	Forked bool
	// Epoch of the server's history that the device stands in; zero before the first
	// answer. Past are earlier ones, the newest last: an answer of theirs is none.
	Epoch ID
	Past  []ID
	// Unconfirmed: the replica is write-only until somebody confirms it. Recovering:
	// the server was restored and serves no pages yet.
	Unconfirmed, Recovering bool
	// Repair is the reconciliation under way.
	Repair Repair
	// VerifiedMS is the wall clock at which all ready scopes were last known to be
	// identical to the server's, 0 for never.
	VerifiedMS int64
	// KeptBytes is the size of the settled changes whose bytes are kept, KeptFrom the
	// oldest op that may be one of them, OldestKept the op from which on none has been
	// let go.
	KeptBytes            uint64
	KeptFrom, OldestKept uint64
	// LostOps counts acknowledged changes that a restored server does not hold and
	// whose bytes are kept here no more.
	LostOps uint64
	// Want are records whose whole state is to be asked for: a splice differed.
	Want []ID
	// ToldAt are positions at which the server told verdicts and that no cut covers yet.
	ToldAt [][]byte
}

// DeviceRecord is one record on a device.
type DeviceRecord struct {
	// Record is what screens show: the server's state with the device's own
	// unsettled changes on top.
	Record
	// Scopes is the set of scopes the server has it in, by bit; 0 where the server
	// has not sent it.
	Scopes uint64
	// HasBase: the server has it. BaseHash is the row hash of the server's state.
	HasBase  bool
	BaseHash RowHash
	// Base is the server's state where own unsettled changes stand on top; nil where
	// Record is the server's state.
	Base *Record
	// Pending is the number of own unsettled changes on top.
	Pending int
	// Conflicts is the number of paths that a human is to settle.
	Conflicts int
}

// OpState is how far an own change has come.
type OpState uint8

// The states of an own change.
const (
	// OpQueued: not known to be at the server.
	OpQueued OpState = iota + 1
	// OpApplied: the server has applied it; it stays on top until a cut includes it.
	OpApplied
	// OpSettled: it is part of the server's state on this device.
	OpSettled
	// OpQuarantined: kept at the server and here, not applied.
	OpQuarantined
	// OpDismissed: kept, and closed without being applied.
	OpDismissed
	// OpReplaced: the same, because another change stands in its place.
	OpReplaced
	// OpReoffered: it had a verdict of a server that has since lost it, and is to be
	// sent again. It does not stand on top: what was applied of it is in the base, and
	// what was not (Outcome says which) is left out as before.
	OpReoffered
	// OpDamaged: its bytes are not those that were saved, so that it is neither sent nor
	// shown. Outcome is the verdict on a whole copy that the server has got, nil before.
	OpDamaged
)

// Op is one own change in the outbox.
type Op struct {
	// Number is the op number, Change the change id.
	Number uint64
	Change ID
	// Class is its urgency.
	Class tandemv1.Class
	// Raw is the encoded change; may be nil once settled, where it is kept no more.
	Raw []byte
	// Envelope and Prev are envelope hashes.
	Envelope, Prev Hash
	// Records are the ids it writes.
	Records []ID
	// Needs are earlier ops that must not arrive after it.
	Needs []uint64
	// State and Outcome: how far it has come.
	State   OpState
	Outcome *tandemv1.Outcome
	// AtMS is the wall clock at capture.
	AtMS int64
}

// Incoming is a row that waits for the flip: the whole state, with the device's own
// scope bits; no bits is a drop.
type Incoming struct {
	Record
	Scopes uint64
}

// DeviceTx is one transaction over a device's store. What it returns is the engine's
// to read, not to change.
type DeviceTx interface {
	// State returns the replica's state; SaveState stores it.
	State() (*DeviceState, error)
	SaveState(s *DeviceState) error
	// Scopes returns the held scopes, in order of bit.
	Scopes() ([]DeviceScope, error)
	SaveScope(s DeviceScope) error
	DropScope(id ScopeID) error
	// Prefetch announces records that will be read. Optional in effect.
	Prefetch(records []ID) error
	// Record returns a record, nil where there is none.
	Record(id ID) (*DeviceRecord, error)
	SaveRecord(r *DeviceRecord) error
	// DropRecord removes a record and every trace of it but own unsettled changes and
	// a row of it that waits for the flip: that may bring it back.
	DropRecord(id ID) error
	// InScope returns up to limit records of a scope, by bit, in order of id,
	// beyond an id.
	InScope(bit uint8, after ID, limit int) ([]ID, error)
	// AddOp adds an own change; SaveOp changes state, outcome and raw bytes of one.
	AddOp(op *Op) error
	SaveOp(op *Op) error
	// Op returns an own change, nil where there is none.
	Op(number uint64) (*Op, error)
	// Queued returns queued and reoffered changes, but not those of but, in order of
	// class, then number, until limit or until their bytes pass maxBytes; at least one
	// where there is one.
	Queued(but map[uint64]bool, limit, maxBytes int) ([]*Op, error)
	// OpsIn returns own changes in a state, in order of number, beyond one, at most
	// limit.
	OpsIn(state OpState, after uint64, limit int) ([]*Op, error)
	// OpsOn returns the own changes that stand on top of a record (queued or
	// applied), in order of number.
	OpsOn(record ID) ([]*Op, error)
	// Stage keeps a row for the flip, in place of an earlier one of its record.
	Stage(in *Incoming) error
	// Staged returns up to limit staged rows in order of record id, beyond an id;
	// Unstage removes them all.
	Staged(after ID, limit int) ([]*Incoming, error)
	// StagedRow returns the staged row of a record, nil where there is none.
	StagedRow(record ID) (*Incoming, error)
	Unstage() error
	// Holdings returns the records that the device holds of a scope, by bit, whose
	// bucket lies between two, both included, in any order.
	Holdings(bit uint8, first, last byte) ([]Holding, error)
	// Forget removes the bytes of settled changes that wrote one of the records. It
	// returns how many bytes those were, and the newest of the ops.
	Forget(records map[ID]bool) (bytes, newest uint64, err error)
	// LookedUp returns what has been looked up, in order of id; at most a few more than
	// MaxLookedUp. SaveLookedUp keeps one, in place of an earlier one of its record;
	// DropLookedUp removes one and every trace of it, where it is there.
	LookedUp() ([]*LookedUp, error)
	SaveLookedUp(l *LookedUp) error
	DropLookedUp(record ID) error
	// Retire moves every own change out of the outbox into the history of the replica
	// that the store was.
	Retire(replica ID) error
	// Retired returns up to limit changes of the history that have their bytes, in
	// order of N, beyond one; Reissued removes the bytes of one.
	Retired(after uint64, limit int) ([]*Retired, error)
	Reissued(n uint64) error
}

// Holding is one record of a scope as a device holds it.
type Holding struct {
	Record ID
	// Scopes is the set of scopes it is in.
	Scopes uint64
	// Base is the row hash that the device keeps of the server's state, Hash that of
	// the bytes it has: they differ where the store is damaged.
	Base, Hash RowHash
}

// Retired is an own change of an earlier replica of the store.
type Retired struct {
	Op
	// N orders them, oldest first.
	N uint64
	// Replica is the one that made it, under the number of Op.
	Replica ID
}
