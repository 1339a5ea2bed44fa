package syncengine

import (
	"crypto/sha256"
	"errors"
	"hash"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// Server is the server's end of the protocol: it judges, merges and sequences what
// devices push, and answers with pages. It holds no state of its own; safe for
// concurrent use.
type Server struct {
	// Rules is the domain.
	Rules Rules
	// Secrets are the org's derived keys.
	Secrets *Secrets
	// Kept is for how many sequences commits and dropped rows are kept; 0 is
	// [KeptSequences].
	Kept uint64
	// MinWriteSchema is the oldest schema version whose changes are applied; older ones
	// go to quarantine as they were sent. MinReadSchema is the oldest that is sent
	// record state; older devices are given verdicts alone. 0 and 1 are every one.
	MinWriteSchema, MinReadSchema uint32
	// Proved is the key that whoever asks has proved: a replica that has another one by now
	// is given no answer ([ErrFormerKey]). Nil: keys are looked at elsewhere.
	Proved []byte
	// SealKey is the public key that devices seal their outboxes to; nil for none.
	SealKey []byte
	// Chunks keep rows that several devices are sent; nil for none.
	Chunks Chunks
}

// Errors of a call that is refused as a whole.
var (
	// ErrUnknownReplica: no such replica is enrolled.
	ErrUnknownReplica = errors.New("this device is not enrolled here: enrol it again")
	// ErrSuspended: its device is suspended.
	ErrSuspended = errors.New("this device is suspended: an administrator can lift that, and what is unsent stays on the device until then")
	// ErrFormerKey: the replica has another key by now.
	ErrFormerKey = errors.New("this device has another key by now: this one is good for nothing any more")
	// ErrReverted: this server gave out a position that its history does not know. It
	// was set back to an older state, and begins a new epoch ([Server.Mint]).
	ErrReverted = errors.New("the server was set back to an older state of its database: it has to begin a new epoch")
)

// Principal returns who stands behind a replica, with the rights in force in the
// view: none where the staff record is gone or no longer active.
func (s *Server) Principal(view ServerView, r *Replica) (*Principal, error) {
	p, _, err := s.principal(view, r)
	return p, err
}

// principal is Principal, with the person's own record: nil where there is none.
func (s *Server) principal(view ServerView, r *Replica) (p *Principal, staff *StoredRecord, err error) {
	p = &Principal{}
	if staff, err = view.Record(r.Person); err != nil {
		return nil, nil, err
	}
	if staff != nil {
		if p, err = s.Rules.Principal(&staff.Record, lookup(view)); err != nil {
			return nil, nil, err
		}
	}
	p.Person, p.Device, p.Replica = r.Person, r.Device, r.ID
	return p, staff, nil
}

func lookup(view ServerView) Lookup {
	return func(id ID) (*Record, error) {
		rec, err := view.Record(id)
		if err != nil || rec == nil {
			return nil, err
		}
		return &rec.Record, nil
	}
}

// Batch is one write transaction: any number of pushes and local changes, then
// Commit. Not safe for concurrent use.
type Batch struct {
	srv     *Server
	tx      ServerTx
	now     int64
	head    HistoryHead
	hash    hash.Hash
	changes int
	// moves counts the records that have moved without a change.
	moves   int
	touched map[ScopeKey]bool
	// ids are the wire ids of scopes that the batch has needed.
	ids map[ScopeKey]ScopeID
	// replicas are those that the batch has changed or is about to.
	replicas map[ID]*Replica
	// looked are copies of the records that rules have asked for: see look.
	looked map[*StoredRecord]*Record
}

// Committed is what a batch did.
type Committed struct {
	// Head is where the history stands now.
	Head HistoryHead
	// Scopes are those with a changed row, in a stable order: who waits for them is
	// to be woken.
	Scopes []ScopeKey
	// Changes is the number of changes judged.
	Changes int
}

// Begin starts a batch. nowMS is the server's time of receipt for all of it.
func (s *Server) Begin(tx ServerTx, nowMS int64) (*Batch, error) {
	head, err := tx.Head()
	if err != nil {
		return nil, err
	}
	b := &Batch{srv: s, tx: tx, now: nowMS, head: head, hash: sha256.New(), touched: map[ScopeKey]bool{}, ids: map[ScopeKey]ScopeID{}, replicas: map[ID]*Replica{}, looked: map[*StoredRecord]*Record{}}
	b.hash.Write(head.Hash[:])
	return b, nil
}

// look is the batch's Lookup. The program, team and agency of a push are asked for with
// each of its changes, and their bodies are split once; a record that is stored anew is
// another one.
func (b *Batch) look(id ID) (*Record, error) {
	stored, err := b.tx.Record(id)
	if err != nil || stored == nil {
		return nil, err
	}
	rec := b.looked[stored]
	if rec == nil {
		if len(b.looked) >= maxLooked {
			clear(b.looked)
		}
		copied := stored.Record
		copied.Split = &SplitBody{}
		rec = &copied
		b.looked[stored] = rec
	}
	return rec, nil
}

// maxLooked bounds what look keeps.
const maxLooked = 256

// live returns a replica for the batch to change, nil where it is unknown.
func (b *Batch) live(id ID) (*Replica, error) {
	if r := b.replicas[id]; r != nil {
		return r, nil
	}
	stored, err := b.tx.Replica(id)
	if err != nil || stored == nil {
		return nil, err
	}
	r := copyReplica(stored)
	b.replicas[id] = r
	return r, nil
}

func copyReplica(r *Replica) *Replica {
	next := *r
	next.Ranges, next.Apart = slices.Clone(r.Ranges), slices.Clone(r.Apart)
	return &next
}

// Push judges and applies one device's push, each change alone, and returns a
// verdict for each. Repeating it has the effect of once. A change that would be refused
// while the replica has as much in quarantine as it may gets no verdict: it is not
// kept, and stays with its device.
func (b *Batch) Push(replica ID, pushed []Prepared, req *tandemv1.SyncRequest) ([]*tandemv1.Outcome, error) {
	r, err := b.live(replica)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrUnknownReplica
	}
	if r.Shut() {
		return nil, ErrSuspended
	}
	if op := req.GetKnownOp(); op != 0 && !r.Forked && !HoldsOp(r.Ranges, op) {
		// The server has lost what it had: nothing is judged before that is here again.
		// The device sees by the answer what it has to offer.
		return nil, nil
	}
	if err := b.prefetch(pushed); err != nil {
		return nil, err
	}
	forked, err := b.forked(r, pushed, req)
	if err != nil {
		return nil, err
	}
	if forked {
		r.Forked = true
		return forkOutcomes(pushed), b.tx.SaveReplica(copyReplica(r))
	}
	p, err := b.srv.Principal(b.tx, r)
	if err != nil {
		return nil, err
	}
	j := b.judge(p)
	j.revoked = r.Revoked || len(p.Roles) == 0
	outcomes := make([]*tandemv1.Outcome, 0, len(pushed))
	for i := range pushed {
		out, err := b.one(j, r, &pushed[i])
		if err != nil {
			return nil, err
		}
		if out != nil {
			outcomes = append(outcomes, out)
		}
	}
	return outcomes, b.tx.SaveReplica(copyReplica(r))
}

func (b *Batch) prefetch(pushed []Prepared) error {
	changes := make([]ID, 0, len(pushed))
	records, named := make([]ID, 0, len(pushed)), make([]ID, 0, len(pushed))
	for i := range pushed {
		if pushed[i].Refusal != nil {
			continue
		}
		changes = append(changes, pushed[i].ID)
		for _, w := range pushed[i].Change.GetRecords() {
			if id, ok := IDFromBytes(w.GetRecord()); ok {
				records = append(records, id)
			}
			named = append(named, references(w)...)
		}
	}
	return b.tx.Prefetch(changes, records, named)
}

// forked reports whether the push shows a second history under its replica id: two
// hashes at one op. A request that merely arrives late shows none, so the op
// numbers alone decide nothing here; a device that has been rolled back sees by the
// answer that the server holds more of it than it has itself.
func (b *Batch) forked(r *Replica, pushed []Prepared, req *tandemv1.SyncRequest) (bool, error) {
	if r.Forked || planted.Is(planted.ForkIgnored) {
		return r.Forked, nil
	}
	if op := req.GetKnownOp(); op != 0 && HoldsOp(r.Ranges, op) {
		at, err := b.hashAt(r, op)
		if err != nil {
			return false, err
		}
		if short := at.Short(); !slices.Equal(short[:], req.GetKnownHash()) {
			return true, nil
		}
	}
	for i := range pushed {
		p := &pushed[i]
		if HoldsOp(r.Ranges, p.Op) {
			at, err := b.hashAt(r, p.Op)
			if err != nil || at != p.Hash {
				return err == nil, err
			}
			continue
		}
		if p.Op > 1 && HoldsOp(r.Ranges, p.Op-1) {
			at, err := b.hashAt(r, p.Op-1)
			if err != nil || at != p.Prev {
				return err == nil, err
			}
		}
		if HoldsOp(r.Ranges, p.Op+1) {
			next, err := b.tx.ChangeByOp(r.ID, p.Op+1)
			if err != nil || (next != nil && next.Prev != p.Hash) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// hashAt returns the envelope hash of an op that the server holds.
func (b *Batch) hashAt(r *Replica, op uint64) (Hash, error) {
	if op == r.Highest {
		return r.HighestHash, nil
	}
	c, err := b.tx.ChangeByOp(r.ID, op)
	if err != nil || c == nil {
		return Hash{}, err
	}
	return c.Envelope, nil
}

func forkOutcomes(pushed []Prepared) []*tandemv1.Outcome {
	out := make([]*tandemv1.Outcome, 0, len(pushed))
	for i := range pushed {
		out = append(out, &tandemv1.Outcome{Op: pushed[i].Op, Code: tandemv1.OutcomeCode_OUTCOME_CODE_FORK})
	}
	return out
}

// one gives the verdict on one pushed change, nil where there is no room for it.
func (b *Batch) one(j *judge, r *Replica, p *Prepared) (*tandemv1.Outcome, error) {
	if HoldsOp(r.Ranges, p.Op) && !planted.Is(planted.NoIdempotence) {
		c, err := b.tx.ChangeByOp(r.ID, p.Op)
		if err != nil {
			return nil, err
		}
		if c != nil {
			return verdictFor(c, p.Op, p.Hash), nil
		}
	}
	c := &StoredChange{
		ID: p.ID, Replica: r.ID, Op: p.Op, Envelope: p.Hash, Prev: p.Prev, BodyHash: p.Body, Body: p.Raw, ReceivedMS: b.now,
	}
	if c.ID.IsZero() {
		c.ID = b.srv.Secrets.DeriveID(r.ID, "unreadable", p.Op)
	} else {
		known, err := b.tx.Change(p.ID)
		if err != nil {
			return nil, err
		}
		if known != nil && !planted.Is(planted.NoIdempotence) && !planted.Is(planted.DedupeByOp) {
			if known.BodyHash != p.Body {
				return &tandemv1.Outcome{Op: p.Op, Code: tandemv1.OutcomeCode_OUTCOME_CODE_FORK}, nil
			}
			again := *known
			again.Replica, again.Op, again.Envelope, again.Prev = r.ID, p.Op, p.Hash, p.Prev
			if err := b.tx.Reissue(&again); err != nil {
				return nil, err
			}
			if !isApplied(known.Outcome) {
				// Who sends it again under another number must hear what becomes of it.
				if err := b.tx.AddHolder(known.ID, Holder{Replica: r.ID, Op: p.Op, Envelope: p.Hash}); err != nil {
					return nil, err
				}
			}
			b.note(r, p, known.Outcome)
			return verdictFor(known, p.Op, p.Hash), nil
		}
	}
	c.describe(p.Change)
	results, refusal := []*result(nil), b.srv.outdated(p)
	if refusal == nil {
		var err error
		if results, refusal, err = j.apply(c, p.Change); err != nil {
			return nil, err
		}
	}
	if refusal != nil {
		count, size, err := b.tx.QuarantineUse(r.ID)
		if err != nil {
			return nil, err
		}
		if count >= MaxApart || size+int64(len(c.Body)) > MaxApartBytes {
			return nil, nil
		}
	}
	// What this change lets out of quarantine may be the replica's own: the op is noted
	// first.
	b.conclude(c, results, refusal)
	b.note(r, p, c.Outcome)
	if err := b.keep(j, c, p.Change, results, refusal); err != nil {
		return nil, err
	}
	return c.Outcome, nil
}

// outdated returns why a change cannot be applied: that its schema is too old, or
// what was found of it. What an old version wrote may look wrong to this one only for
// want of being converted.
func (s *Server) outdated(p *Prepared) *Refusal {
	if p.Change == nil || p.ID.IsZero() || p.Change.GetSchema() >= s.MinWriteSchema {
		return p.Refusal
	}
	if r := p.Refusal; r != nil && r.Code != tandemv1.Refusal_REFUSAL_INVALID && r.Code != tandemv1.Refusal_REFUSAL_UNKNOWN_KIND {
		return r
	}
	return &Refusal{Code: tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA, Fields: []string{"schema"}}
}

// note adds an op to those the server holds of a replica.
func (b *Batch) note(r *Replica, p *Prepared, verdict *tandemv1.Outcome) {
	if !isApplied(verdict) {
		r.Apart = AddOp(r.Apart, p.Op)
	}
	r.Ranges = AddOp(r.Ranges, p.Op)
	if p.Op >= r.Highest {
		r.Highest, r.HighestHash = p.Op, p.Hash
	}
}

// verdictFor is a stored verdict, for the op and envelope that it is asked under.
func verdictFor(c *StoredChange, op uint64, envelope Hash) *tandemv1.Outcome {
	out := proto.CloneOf(c.Outcome)
	if planted.Is(planted.VerdictChanges) {
		out.Code = tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED
	}
	out.Op, out.Envelope = op, shortOf(envelope)
	return out
}

// shortOf is the short form of an envelope hash; nil for none.
func shortOf(h Hash) []byte {
	if h == (Hash{}) {
		return nil
	}
	return slices.Clone(h[:8])
}

// Local applies a change made at the server itself. It has no envelope; a verdict
// other than applied changes nothing but the change log.
func (b *Batch) Local(p *Principal, raw []byte) (*tandemv1.Outcome, error) {
	prepared := prepareOne(b.srv.Rules, raw)
	if prepared.Change == nil || prepared.ID.IsZero() {
		return &tandemv1.Outcome{Code: tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED, Refusal: prepared.Refusal.Code}, nil
	}
	known, err := b.tx.Change(prepared.ID)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return verdictFor(known, 0, Hash{}), nil
	}
	c := &StoredChange{ID: prepared.ID, BodyHash: prepared.Body, Body: raw, ReceivedMS: b.now}
	c.describe(prepared.Change)
	j := b.judge(p)
	results, refusal := []*result(nil), prepared.Refusal
	if refusal == nil {
		if results, refusal, err = j.apply(c, prepared.Change); err != nil {
			return nil, err
		}
	}
	b.conclude(c, results, refusal)
	if err := b.keep(j, c, prepared.Change, results, refusal); err != nil {
		return nil, err
	}
	return c.Outcome, nil
}

// describe fills in what a change says of itself.
func (c *StoredChange) describe(change *tandemv1.Change) {
	dated := Date(change.GetTime(), c.ReceivedMS)
	c.CorrectedMS, c.UncertaintyMS = dated.CorrectedMS, dated.UncertaintyMS
	if change == nil {
		return
	}
	c.Author, _ = IDFromBytes(change.GetAuthor())
	c.Device, _ = IDFromBytes(change.GetDevice())
	c.AtMS = change.GetTime().GetWallMs()
}

// conclude gives a change its verdict.
func (b *Batch) conclude(c *StoredChange, results []*result, refusal *Refusal) {
	c.Outcome = &tandemv1.Outcome{Op: c.Op, Envelope: shortOf(c.Envelope)}
	if refusal != nil && planted.Is(planted.WordsLost) {
		c.Body = nil
	}
	if refusal != nil {
		c.Outcome.Code = tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED
		c.Outcome.Refusal, c.Outcome.Fields = refusal.Code, refusal.Fields
	} else {
		c.Outcome.Code = appliedCode(results)
	}
	b.verdict(c)
}

// verdict gives a change's verdict the next sequence, and the history its word.
func (b *Batch) verdict(c *StoredChange) {
	b.head.Seq++
	c.Seq = b.head.Seq
	b.changes++
	b.hash.Write(c.ID[:])
	b.hash.Write([]byte{byte(c.Outcome.GetCode()), byte(c.Outcome.GetRefusal())})
}

// appliedCode is the verdict on a change that had these results.
func appliedCode(results []*result) tandemv1.OutcomeCode {
	if slices.ContainsFunc(results, (*result).asks) {
		return tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT
	}
	return tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED
}

// keep logs a change, and puts it into quarantine or stores what it did.
func (b *Batch) keep(j *judge, c *StoredChange, change *tandemv1.Change, results []*result, refusal *Refusal) error {
	if planted.Is(planted.GroupLosesMember) && b.changes > 1 {
		return nil
	}
	if refusal == nil {
		if err := b.tx.SaveChange(c); err != nil {
			return err
		}
		return b.accept(j, c, change, results)
	}
	borne, err := b.tx.ChangeByStamp(StampOf(c.ID))
	if err != nil {
		return err
	}
	if err := b.tx.SaveChange(c); err != nil {
		return err
	}
	if !j.held {
		if err := b.hold(j.p); err != nil {
			return err
		}
		j.held = true
	}
	return b.quarantine(j, c, change, borne != nil)
}

// accept stores what an applied change did, closes what it replaces, and lets out of
// quarantine what was waiting for it.
func (b *Batch) accept(j *judge, c *StoredChange, change *tandemv1.Change, results []*result) error {
	suspect := Date(change.GetTime(), c.ReceivedMS).Suspect
	for _, res := range results {
		if err := b.save(res, c); err != nil {
			return err
		}
		if suspect {
			if err := b.tx.OpenItem(res.Record.ID, Item{Kind: ItemTimeSuspect}, c.Seq); err != nil {
				return err
			}
		}
	}
	if err := b.arrived(results, c.Seq); err != nil {
		return err
	}
	if err := b.reviewAmong(results, c.Seq); err != nil {
		return err
	}
	for _, res := range results {
		if err := b.lead(res, c.Seq); err != nil {
			return err
		}
		if err := b.holdStaff(res); err != nil {
			return err
		}
	}
	if err := b.project(results, c); err != nil {
		return err
	}
	if len(change.GetReplaces()) > 0 {
		if err := b.supersede(j, c, change); err != nil {
			return err
		}
	}
	return b.unblock(results)
}

// Commit stores the new head and its hash. A batch that judged nothing leaves the
// history as it was.
func (b *Batch) Commit() (*Committed, error) {
	done := &Committed{Head: b.head, Changes: b.changes}
	if b.changes == 0 && b.moves == 0 {
		return done, nil
	}
	b.head.Hash = Hash(b.hash.Sum(nil))
	done.Head = b.head
	for scope := range b.touched {
		if planted.Is(planted.WakeupLost) && scope.Open {
			continue
		}
		done.Scopes = append(done.Scopes, scope)
	}
	slices.SortFunc(done.Scopes, ScopeKey.Compare)
	if err := b.tx.SetHead(b.head); err != nil {
		return nil, err
	}
	if kept := b.srv.kept(); b.head.Seq > kept {
		return done, b.tx.Prune(b.head.Seq - kept)
	}
	return done, nil
}
