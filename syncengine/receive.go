package syncengine

import (
	"bytes"
	"maps"
	"math/bits"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// Received is what an answer did to a device.
type Received struct {
	// Outcomes are the verdicts that were news.
	Outcomes []*tandemv1.Outcome
	// Rows is the number of rows taken in; Echoes of them tell of own changes alone.
	Rows, Echoes int
	// Flipped says that what the screens show moved to a new cut.
	Flipped bool
	// Dropped: the page did not start where the device stands, and was ignored. The
	// outcomes were taken.
	Dropped bool
	// More rows wait at the server.
	More bool
	// Scopes says that the device's set of scopes changed.
	Scopes bool
	// Verified are the scopes whose digest equals the server's, Differing those
	// whose digest does not.
	Verified, Differing []ScopeID
	// Forked: the server has another history under this replica id.
	Forked bool
	// Epoch: the device entered a new epoch of the server's history. Reoffered is the
	// number of changes that the server has lost and is to be sent again.
	Epoch     bool
	Reoffered int
	// Astray: what the device holds is to be compared with the server's, by
	// Device.PlanReconcile. Repaired: that has come to its end.
	Astray, Repaired bool
	// LookedUp are the records that a lookup has found; LookedUpMore: there were more.
	LookedUp     []ID
	LookedUpMore bool
	// Changed are the records whose shown state may have changed.
	Changed []ID
}

// Receive takes in a complete answer to req, in one transaction. An answer that
// comes late, twice or out of order does no harm: outcomes are facts, and a page
// that does not start where the device stands is dropped.
func (d *Device) Receive(tx DeviceTx, req *tandemv1.SyncRequest, ans *tandemv1.SyncAnswer, wallMS int64) (*Received, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return nil, err
	}
	in := &intake{d: d, tx: tx, st: *st, before: scopes, scopes: slices.Clone(scopes), trailer: ans.GetTrailer(), got: &Received{More: ans.GetTrailer().GetMore()}}
	in.st.Want = slices.Clone(st.Want)
	held := rangesFromWire(in.trailer.GetProcessed())
	in.processed = held
	if counts, err := in.era(req); err != nil || !counts {
		in.got.Dropped = !counts
		return in.got, err
	}
	in.processed = less(held, rangesFromWire(in.trailer.GetApart()))
	in.st.LastContactMS = wallMS
	in.st.OffsetMS, in.st.OffsetKnown = ans.GetTrailer().GetServerMs()-wallMS, true
	in.st.Unconfirmed, in.st.Recovering = in.trailer.GetUnconfirmed(), in.trailer.GetRecovering()
	if err := in.fork(ans); err != nil {
		return nil, err
	}
	if in.got.Forked {
		in.st.Forked = true
		return in.got, in.end()
	}
	if err := in.outcomes(ans.GetOutcomes()); err != nil {
		return nil, err
	}
	if in.known > 0 {
		// What was acknowledged last was, as a rule, committed last: a server that has it
		// has what came before.
		in.st.KnownOp = in.known
	}
	if err := in.gone(req, held); err != nil {
		return nil, err
	}
	if err := in.lookedUp(req, ans); err != nil {
		return nil, err
	}
	if err := in.page(req, ans.GetPage(), wallMS); err != nil {
		return nil, err
	}
	in.toldAt(req, ans)
	return in.got, in.end()
}

// end stores what the answer has come to.
func (in *intake) end() error {
	if err := in.release(); err != nil {
		return err
	}
	if err := in.saveScopes(); err != nil {
		return err
	}
	return in.tx.SaveState(&in.st)
}

// intake is one answer being taken in.
type intake struct {
	d       *Device
	tx      DeviceTx
	st      DeviceState
	before  []DeviceScope
	scopes  []DeviceScope
	trailer *tandemv1.Trailer
	got     *Received
	// processed are the own ops that the answer's snapshot has applied; settling those
	// of them that settle in its flip, by record, and settled by number.
	processed []OpRange
	settling  map[ID][]*Op
	settled   map[uint64]bool
	// leaving are the settled ones, in order of number.
	leaving []*Op
	// bitOf maps the page's scope numbers to the device's.
	bitOf []uint8
	// known is the newest op that the answer has acknowledged.
	known uint64
	// outlived: no settled change of an earlier replica has its bytes any more.
	outlived bool
	// lost is the newest op to be offered again that writes a record.
	lost map[ID]uint64
	// left are the records that the device may hold no more.
	left map[ID]bool
}

// fork sees by the answer whether this store is a copy or was rolled back: the
// server holds an op that it has not made, or another one under the same number.
func (in *intake) fork(ans *tandemv1.SyncAnswer) error {
	highest := in.trailer.GetHighestOp()
	for _, o := range ans.GetOutcomes() {
		other, err := in.another(o)
		if err != nil {
			return err
		}
		in.got.Forked = in.got.Forked || other || o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_FORK
	}
	if planted.Is(planted.ForkIgnored) {
		return nil
	}
	if highest >= in.st.NextOp {
		in.got.Forked = true
		return nil
	}
	if highest == 0 {
		return nil
	}
	envelope, ok, err := envelopeOf(in.tx, highest)
	if err != nil || !ok {
		return err
	}
	short := envelope.Short()
	if !bytes.Equal(short[:], in.trailer.GetHighestHash()) {
		in.got.Forked = true
	}
	if in.st.KnownOp == 0 {
		in.st.KnownOp = highest
	}
	return nil
}

// another reports whether a verdict is on another change than the one that this
// store has under its number: taken for its own, words would be thought sent.
func (in *intake) another(o *tandemv1.Outcome) (bool, error) {
	if len(o.GetEnvelope()) == 0 || planted.Is(planted.VerdictUnchecked) || planted.Is(planted.ForkIgnored) {
		return false, nil
	}
	op, err := in.tx.Op(o.GetOp())
	if err != nil || op == nil {
		return false, err
	}
	short := op.Envelope.Short()
	return !bytes.Equal(short[:], o.GetEnvelope()), nil
}

// further reports whether a verdict takes an own change further than it is. Verdicts
// of old answers may come late: a change goes from the queue to quarantine, and from
// either to where it ends, never back.
func further(op *Op, o *tandemv1.Outcome) (OpState, bool) {
	to := map[tandemv1.OutcomeCode]OpState{
		tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED:               OpApplied,
		tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT: OpApplied,
		tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:           OpQuarantined,
		tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED:             OpDismissed,
		tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:              OpReplaced,
	}[o.GetCode()]
	switch op.State {
	case OpQueued:
		return to, to != 0
	case OpQuarantined:
		return to, to != 0 && (to != OpQuarantined || fuller(o, op.Outcome))
	case OpDismissed:
		return to, to == OpDismissed && fuller(o, op.Outcome)
	case OpDamaged:
		if to == OpApplied || to == OpQuarantined {
			// Its bytes here are not what the server has judged.
			return OpDamaged, op.Outcome.GetCode() != o.GetCode() || fuller(o, op.Outcome)
		}
		return to, to != 0
	case OpReoffered:
		if to == OpApplied && isApplied(op.Outcome) {
			// The base has it.
			to = OpSettled
		}
		return to, to != 0
	}
	return 0, false
}

// fuller reports whether a verdict says more of why than another: while a device is
// revoked it is told codes alone.
func fuller(o, than *tandemv1.Outcome) bool {
	return len(o.GetFields()) > len(than.GetFields()) || len(o.GetReason()) > len(than.GetReason())
}

// outcomes notes verdicts. A change that is not applied leaves the records it stood
// on; one that is released stands on them again.
func (in *intake) outcomes(outcomes []*tandemv1.Outcome) error {
	for _, o := range outcomes {
		op, err := in.tx.Op(o.GetOp())
		if err != nil {
			return err
		}
		// The envelope has done its work: see another.
		o = proto.CloneOf(o)
		o.Envelope = nil
		if op == nil {
			continue
		}
		to, ok := further(op, o)
		if !ok {
			continue
		}
		next := *op
		next.Outcome, next.State = o, to
		if to == OpApplied && planted.Is(planted.HeadsFromReply) {
			next.State = OpSettled
		}
		in.got.Outcomes = append(in.got.Outcomes, o)
		in.known = max(in.known, op.Number)
		if err := in.tx.SaveOp(&next); err != nil {
			return err
		}
		if op.State == OpReoffered && next.State != OpApplied && next.State != OpSettled && isApplied(op.Outcome) {
			in.st.KeptBytes -= min(in.st.KeptBytes, uint64(len(op.Raw)))
		}
		if on(op.State) != on(next.State) {
			for _, id := range op.Records {
				if err := in.rebuild(id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// on reports whether a change in a state stands on the records it writes.
func on(s OpState) bool { return s == OpQueued || s == OpApplied }

// page takes in a page, and flips where it is closing.
func (in *intake) page(req *tandemv1.SyncRequest, p *tandemv1.Page, wallMS int64) error {
	switch {
	case in.st.Unconfirmed || in.st.Recovering:
		// No page was read.
		return nil
	case p == nil && req.GetBudget() > 0:
		if in.comparing() || !in.stands(req) {
			return nil
		}
		in.told(req, nil)
		return in.still(wallMS)
	case p == nil:
		return nil
	case !in.stands(req) && !planted.Is(planted.NarrowPage) && !planted.Is(planted.PageAnywhere):
		in.got.Dropped = true
		return nil
	case p.GetScopeSet() != nil:
		return in.scopeSet(p.GetScopeSet())
	case p.GetReconcile():
		return in.astray()
	case in.comparing() && (p.GetClosing() || len(req.GetWant()) == 0):
		// The cut would not be whole.
		in.got.Dropped = true
		return nil
	}
	if !in.starts(p) {
		in.got.Dropped = true
		return nil
	}
	staged, err := in.tx.Staged(ID{}, 1)
	if err != nil {
		return err
	}
	if p.GetClosing() {
		if err := in.settle(); err != nil {
			return err
		}
	}
	direct := p.GetClosing() && len(staged) == 0
	wire, confirm := p.GetRows(), func() error { return nil }
	if direct {
		if wire, confirm, err = in.confirm(p); err != nil {
			return err
		}
	}
	if err := in.prefetch(wire); err != nil {
		return err
	}
	rows, err := in.resolveAll(wire)
	if err != nil {
		return err
	}
	if rows == nil {
		in.got.Dropped, in.got.More = true, true
		return nil
	}
	in.told(req, p)
	if err := confirm(); err != nil {
		return err
	}
	for _, row := range rows {
		if err := in.row(row, direct || planted.Is(planted.PartialCut)); err != nil {
			return err
		}
	}
	in.got.Rows = len(p.GetRows())
	for _, row := range p.GetRows() {
		if row.GetEcho() {
			in.got.Echoes++
		}
	}
	for i, to := range p.GetTo() {
		if i == 0 {
			in.st.Staged = to.GetPosition()
		} else {
			in.scope(ScopeID(to.GetScope())).Position = to.GetPosition()
		}
	}
	if !p.GetClosing() {
		return nil
	}
	if err := in.flip(p, len(staged) > 0); err != nil {
		return err
	}
	if err := in.verify(wallMS); err != nil {
		return err
	}
	return in.judge()
}

// stands reports whether the device still stands where the request said, in the
// scopes and the backfills that it stated: the page answers that and nothing else.
// A page of fewer scopes would move the position past rows that it does not have.
func (in *intake) stands(req *tandemv1.SyncRequest) bool {
	now := &tandemv1.SyncRequest{}
	stand(now, &in.st, in.scopes)
	return bytes.Equal(now.GetScopeSet(), req.GetScopeSet()) &&
		slices.EqualFunc(now.GetPositions(), req.GetPositions(), func(a, b *tandemv1.ScopePosition) bool {
			return bytes.Equal(a.GetScope(), b.GetScope()) && bytes.Equal(a.GetPosition(), b.GetPosition())
		})
}

// starts reports whether the page starts where the device stands, in scopes that it
// holds.
func (in *intake) starts(p *tandemv1.Page) bool {
	if len(p.GetFrom()) == 0 || len(p.GetFrom()) != len(p.GetTo()) || len(p.GetFrom()[0].GetScope()) != 0 {
		return false
	}
	for i, from := range p.GetFrom() {
		at := in.st.Staged
		if i > 0 {
			if len(from.GetScope()) != len(ScopeID{}) || !bytes.Equal(from.GetScope(), p.GetTo()[i].GetScope()) {
				return false
			}
			s := in.scope(ScopeID(from.GetScope()))
			if s == nil || s.Ready {
				return false
			}
			at = s.Position
		}
		if !bytes.Equal(from.GetPosition(), at) && !planted.Is(planted.PageAnywhere) {
			return false
		}
	}
	in.bitOf = nil
	for _, id := range p.GetScopes() {
		if len(id) != len(ScopeID{}) {
			return false
		}
		s := in.scope(ScopeID(id))
		if s == nil {
			return false
		}
		in.bitOf = append(in.bitOf, s.Bit)
	}
	for _, i := range p.GetReady() {
		if int(i) >= len(in.bitOf) {
			return false
		}
	}
	return true
}

func (in *intake) scope(id ScopeID) *DeviceScope {
	for i := range in.scopes {
		if in.scopes[i].ID == id {
			return &in.scopes[i]
		}
	}
	return nil
}

func (in *intake) readyMask() (mask uint64) {
	for i := range in.scopes {
		if in.scopes[i].Ready {
			mask |= 1 << in.scopes[i].Bit
		}
	}
	return mask
}

func (in *intake) prefetch(rows []*tandemv1.Row) error {
	ids := make([]ID, 0, len(rows))
	for _, row := range rows {
		if id, ok := IDFromBytes(row.GetRecord()); ok {
			ids = append(ids, id)
		}
	}
	return in.tx.Prefetch(ids)
}

// settle finds the applied ops that the snapshot of a closing page includes.
func (in *intake) settle() error {
	in.settling, in.settled, in.leaving = map[ID][]*Op{}, map[uint64]bool{}, nil
	after := uint64(0)
	for {
		ops, err := in.tx.OpsIn(OpApplied, after, 1000)
		if err != nil {
			return err
		}
		for _, op := range ops {
			after = op.Number
			if !HoldsOp(in.processed, op.Number) && !planted.Is(planted.SettleEarly) {
				continue
			}
			in.settled[op.Number] = true
			in.leaving = append(in.leaving, op)
			for _, id := range op.Records {
				in.settling[id] = append(in.settling[id], op)
			}
		}
		if len(ops) < 1000 {
			return in.settleDamaged()
		}
	}
}

// settleDamaged does the same for damaged ops of which the server had a whole copy. They
// stand on no record.
func (in *intake) settleDamaged() error {
	ops, err := in.tx.OpsIn(OpDamaged, 0, 1000)
	if err != nil {
		return err
	}
	for _, op := range ops {
		if HoldsOp(in.processed, op.Number) {
			in.settled[op.Number] = true
			in.leaving = append(in.leaving, op)
		}
	}
	return nil
}

// row takes in one row: into the base where it cannot be seen before the flip, or
// where this is the flip; otherwise beside it, as is what follows an earlier row
// that stands there.
func (in *intake) row(row *Incoming, direct bool) error {
	if !direct {
		rec, err := in.tx.Record(row.ID)
		if err != nil {
			return err
		}
		earlier, err := in.tx.StagedRow(row.ID)
		if err != nil {
			return err
		}
		shown := earlier != nil || (rec != nil && (rec.Pending > 0 || rec.Scopes&in.readyMask() != 0))
		if shown || row.Scopes&in.readyMask() != 0 || row.Scopes == 0 {
			return in.tx.Stage(row)
		}
	}
	return in.base(row)
}

// resolveAll turns the rows of a page into the whole states they stand for, before
// any is taken in: a cut is whole or it is not shown. nil where the device cannot
// tell one of them; it asks for those.
func (in *intake) resolveAll(wire []*tandemv1.Row) ([]*Incoming, error) {
	rows := make([]*Incoming, 0, len(wire))
	lacking := false
	for _, row := range wire {
		id, ok := IDFromBytes(row.GetRecord())
		if !ok {
			return nil, ErrIncomplete
		}
		resolved, err := in.resolve(id, row)
		if err != nil {
			return nil, err
		}
		if resolved == nil {
			lacking = true
			if !slices.Contains(in.st.Want, id) && len(in.st.Want) < MaxWant {
				in.st.Want = append(in.st.Want, id)
			}
		}
		rows = append(rows, resolved)
	}
	if lacking {
		return nil, nil
	}
	return rows, nil
}

// told strikes out the rows that a request asked for and that its answer holds; all
// of them where the answer says that nothing is left: those are in none of the
// device's scopes.
func (in *intake) told(req *tandemv1.SyncRequest, p *tandemv1.Page) {
	if len(in.st.Want) == 0 {
		return
	}
	told := map[ID]bool{}
	for _, row := range p.GetRows() {
		told[ID(row.GetRecord())] = true
	}
	if p.GetClosing() || p == nil {
		for _, b := range req.GetWant() {
			if id, ok := IDFromBytes(b); ok && !in.trailer.GetMore() {
				told[id] = true
			}
		}
	}
	in.st.Want = slices.DeleteFunc(in.st.Want, func(w ID) bool {
		return told[w] && slices.ContainsFunc(req.GetWant(), func(b []byte) bool { return bytes.Equal(b, w[:]) })
	})
}

// resolve turns a row into the whole state it stands for; nil where the device
// cannot.
func (in *intake) resolve(id ID, row *tandemv1.Row) (*Incoming, error) {
	scopes, err := in.scopesOf(row)
	if err != nil {
		return nil, err
	}
	out := &Incoming{Record: Record{ID: id, Kind: row.GetKind()}, Scopes: scopes}
	switch {
	case out.Scopes == 0:
		return out, nil
	case !row.GetEcho() && len(row.GetDeltas()) == 0:
		out.Body, out.Stamps = row.GetBody(), row.GetStamps()
		return out, nil
	}
	base, err := in.held(id)
	if err != nil {
		return nil, err
	}
	var next *Record
	switch {
	case base != nil && uint64(base.Hash()) == row.GetHash():
		next = base
	case row.GetEcho():
		next, err = in.echo(id, row, base)
	default:
		next = spliceDeltas(base, row)
	}
	if err != nil {
		return nil, err
	}
	unchecked := row.GetEcho() && planted.Is(planted.EchoUnchecked) || !row.GetEcho() && planted.Is(planted.DeltaUnchecked)
	if next == nil || uint64(next.Hash()) != row.GetHash() && !unchecked {
		return nil, nil
	}
	out.Body, out.Stamps = next.Body, next.Stamps
	return out, nil
}

// scopesOf returns the scopes of a row, by the device's own bits.
func (in *intake) scopesOf(row *tandemv1.Row) (scopes uint64, err error) {
	for b := row.GetScopes(); b != 0; b &= b - 1 {
		i := bits.TrailingZeros64(b)
		if i >= len(in.bitOf) {
			return 0, ErrIncomplete
		}
		scopes |= 1 << in.bitOf[i]
	}
	return scopes, nil
}

// held returns the server's state of a record as far as the device has read it, nil
// where it has none.
func (in *intake) held(id ID) (*Record, error) {
	staged, err := in.tx.StagedRow(id)
	if err != nil {
		return nil, err
	}
	if staged != nil && staged.Scopes != 0 {
		return &staged.Record, nil
	}
	rec, err := in.tx.Record(id)
	if err != nil || rec == nil || !rec.HasBase {
		return nil, err
	}
	if rec.Base != nil {
		return rec.Base, nil
	}
	return &rec.Record, nil
}

// echo is the state that the server reached by the device's own changes alone.
func (in *intake) echo(id ID, row *tandemv1.Row, base *Record) (*Record, error) {
	rec, err := in.tx.Record(id)
	if err != nil || rec == nil {
		return nil, err
	}
	if uint64(rec.Hash()) == row.GetHash() {
		return &rec.Record, nil
	}
	ops, err := in.tx.OpsOn(id)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(ops, func(op *Op) bool { return !HoldsOp(in.processed, op.Number) })
	return in.d.over(in.tx, id, base, own)
}

// spliceDeltas puts the touched paths into the state the device holds.
func spliceDeltas(base *Record, row *tandemv1.Row) *Record {
	if base == nil {
		return nil
	}
	s, err := Decode(base)
	if err != nil {
		return nil
	}
	for _, delta := range row.GetDeltas() {
		path := Path{Field: delta.GetField(), Key: string(delta.GetKey())}
		if len(delta.GetValue()) == 0 && delta.GetStamps() == nil {
			s.drop(path)
			continue
		}
		p := PathState{Path: path, Heads: []Head{s.createdHead(delta.GetValue())}}
		if delta.GetStamps() != nil {
			if p, err = pathFromWire(path, delta); err != nil {
				return nil
			}
		}
		*s.ensure(path) = p
	}
	body, stamps := s.Encode()
	return &Record{ID: base.ID, Kind: base.Kind, Body: body, Stamps: stamps}
}

// pathFromWire rebuilds the heads of a path from a delta.
func pathFromWire(path Path, delta *tandemv1.PathDelta) (PathState, error) {
	wire := delta.GetStamps()
	p := PathState{Path: path}
	for _, h := range wire.GetHeads() {
		head := Head{Stamp: Stamp(h.GetStamp()), AtMS: h.GetAtMs(), ReceivedMS: h.GetReceivedMs()}
		head.Author, _ = IDFromBytes(h.GetAuthor())
		head.Device, _ = IDFromBytes(h.GetDevice())
		if !h.GetCleared() && len(h.GetValue()) > 0 {
			head.Raw = h.GetValue()
		}
		p.Heads = append(p.Heads, head)
	}
	if err := p.place(int(wire.GetDisplayed()), wire.GetNoneDisplayed()); err != nil {
		return p, err
	}
	if p.Displayed != noneDisplayed && len(delta.GetValue()) > 0 {
		p.Heads[p.Displayed].Raw = delta.GetValue()
	}
	return p, nil
}

// base makes a row the server's state of a record on this device, and puts what is
// still unsettled on top again.
func (in *intake) base(row *Incoming) error {
	rec, err := in.tx.Record(row.ID)
	if err != nil {
		return err
	}
	if row.Scopes == 0 {
		return in.leave(row.ID, rec)
	}
	next := &DeviceRecord{Record: row.Record, Scopes: row.Scopes, HasBase: true, BaseHash: row.Hash()}
	if rec != nil {
		in.account(rec, -1)
		next.Pending = rec.Pending
	} else {
		// It left the device under own changes, and is back.
		ops, err := in.tx.OpsOn(row.ID)
		if err != nil {
			return err
		}
		next.Pending = len(ops)
	}
	in.account(next, +1)
	in.got.Changed = append(in.got.Changed, row.ID)
	if next.Pending == len(in.settling[row.ID]) {
		next.Pending = 0
		delete(in.settling, row.ID)
	}
	if next.Pending == 0 {
		next.Conflicts = in.d.conflicts(&next.Record)
		return in.tx.SaveRecord(next)
	}
	base := row.Record
	next.Base = &base
	return in.overlay(next)
}

// leave drops a record that left every scope of the device; own unsettled changes
// stay in the outbox.
func (in *intake) leave(id ID, rec *DeviceRecord) error {
	if rec == nil {
		return nil
	}
	if in.left == nil {
		in.left = map[ID]bool{}
	}
	in.left[id] = true
	return in.rebase(id, rec)
}

// rebase takes the server's state of a record away, and leaves what own changes make.
func (in *intake) rebase(id ID, rec *DeviceRecord) error {
	in.account(rec, -1)
	in.got.Changed = append(in.got.Changed, id)
	next := *rec
	next.HasBase, next.BaseHash, next.Base, next.Scopes = false, 0, nil, 0
	if rec.Pending == 0 {
		return in.tx.DropRecord(id)
	}
	return in.overlay(&next)
}

// account adds a record's server state to the digests of its scopes, or takes it out.
func (in *intake) account(rec *DeviceRecord, sign int) {
	if !rec.HasBase {
		return
	}
	term := Term(rec.ID, rec.BaseHash)
	for i := range in.scopes {
		s := &in.scopes[i]
		if rec.Scopes&(1<<s.Bit) == 0 {
			continue
		}
		if sign < 0 {
			s.Sum = s.Sum.Sub(term)
		} else {
			s.Sum = s.Sum.Add(term)
		}
	}
}

// rebuild puts the unsettled changes on top of the server's state of a record.
func (in *intake) rebuild(id ID) error {
	rec, err := in.tx.Record(id)
	if err != nil {
		return err
	}
	if rec == nil {
		// It was made by changes that did not stand, and may do so now: one of them was
		// released, or is part of the state after all.
		rec = &DeviceRecord{Record: Record{ID: id}}
	}
	next := *rec
	if rec.HasBase && rec.Base == nil {
		base := rec.Record
		next.Base = &base
	}
	in.got.Changed = append(in.got.Changed, id)
	return in.overlay(&next)
}

// overlay stores rec with the changes that are still unsettled on top of rec.Base.
func (in *intake) overlay(rec *DeviceRecord) error {
	ops, err := in.tx.OpsOn(rec.ID)
	if err != nil {
		return err
	}
	ops = slices.DeleteFunc(ops, func(op *Op) bool {
		return in.settled[op.Number] || op.State == OpQueued && planted.Is(planted.EditDuringPush)
	})
	rec.Pending = len(ops)
	top, err := in.d.over(in.tx, rec.ID, rec.Base, ops)
	if err != nil {
		return err
	}
	if top == nil {
		return in.tx.DropRecord(rec.ID)
	}
	rec.Record = *top
	if rec.Pending == 0 {
		rec.Base = nil
	}
	rec.Conflicts = in.d.conflicts(&rec.Record)
	return in.tx.SaveRecord(rec)
}

// Shown computes anew what a record shows: the server's state with the device's own
// unsettled changes on top; nil where nothing is left.
func (d *Device) Shown(tx DeviceTx, rec *DeviceRecord) (*Record, error) {
	ops, err := tx.OpsOn(rec.ID)
	if err != nil {
		return nil, err
	}
	base := rec.Base
	if base == nil && rec.HasBase {
		base = &rec.Record
	}
	return d.over(tx, rec.ID, base, ops)
}

// over applies own changes to a state, in order; what cannot be applied to it
// stays out. nil where nothing is left.
func (d *Device) over(tx DeviceTx, id ID, base *Record, ops []*Op) (*Record, error) {
	state := base
	hist := &outboxHistory{tx: tx, record: id}
	for _, op := range ops {
		c := &tandemv1.Change{}
		if proto.Unmarshal(op.Raw, c) != nil {
			continue
		}
		by := writerOf(op.Change, c)
		for _, w := range c.GetRecords() {
			if wid, _ := IDFromBytes(w.GetRecord()); wid != id {
				continue
			}
			kind := d.Rules.Kind(w.GetKind())
			if kind == nil {
				continue
			}
			if applied, err := Apply(kind, state, w, by, hist); err == nil {
				state = applied.Record
			}
		}
	}
	return state, hist.err
}

// conflicts counts the paths of a record that a human is to settle.
func (d *Device) conflicts(rec *Record) int {
	if !hasPaths(rec.Stamps) {
		return 0
	}
	kind := d.Rules.Kind(rec.Kind)
	s, err := Decode(rec)
	if kind == nil || err != nil {
		return 0
	}
	return len(s.Conflicts(kind))
}

// flip shows the new cut: staged rows become the state, scopes become ready, and
// own changes that the cut includes settle.
func (in *intake) flip(p *tandemv1.Page, staged bool) error {
	in.got.Flipped = true
	for _, i := range p.GetReady() {
		for k := range in.scopes {
			if in.scopes[k].Bit == in.bitOf[i] {
				in.scopes[k].Ready, in.scopes[k].Position = true, nil
			}
		}
	}
	if staged {
		if err := in.unstage(); err != nil {
			return err
		}
	}
	return in.finish()
}

// finish ends what settles: the changes leave the outbox, and the records that no
// row has rebuilt are rebuilt.
func (in *intake) finish() error {
	for _, op := range in.leaving {
		next := *op
		next.State = OpSettled
		if op.State == OpDamaged {
			// What is kept here is of no use to anybody.
			next.Raw = nil
			in.st.OldestKept = max(in.st.OldestKept, op.Number+1)
		}
		if err := in.tx.SaveOp(&next); err != nil {
			return err
		}
		if err := in.keep(&next); err != nil {
			return err
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(in.settling), ID.Compare) {
		if err := in.rebuild(id); err != nil {
			return err
		}
	}
	return nil
}

// still takes in an answer without a page to a request that asked for one: the
// device stands at the end of the snapshot, and what that includes settles.
func (in *intake) still(wallMS int64) error {
	if err := in.settle(); err != nil {
		return err
	}
	in.identical(wallMS)
	return in.finish()
}

func (in *intake) unstage() error {
	var after ID
	for {
		rows, err := in.tx.Staged(after, 256)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if err := in.base(row); err != nil {
				return err
			}
		}
		if len(rows) < 256 {
			return in.tx.Unstage()
		}
	}
}

// verify compares the digests that the cut states with the device's own.
func (in *intake) verify(wallMS int64) error {
	for _, want := range in.trailer.GetDigests() {
		if len(want.GetScope()) != len(ScopeID{}) {
			return ErrIncomplete
		}
		s := in.scope(ScopeID(want.GetScope()))
		if s == nil || !s.Ready {
			continue
		}
		if bytes.Equal(s.Sum.Bytes(), want.GetSum()) {
			s.VerifiedMS = wallMS
			in.got.Verified = append(in.got.Verified, s.ID)
		} else {
			s.VerifiedMS = 0
			in.got.Differing = append(in.got.Differing, s.ID)
		}
	}
	in.identical(wallMS)
	return nil
}

// identical notes that the device holds exactly what it may, where every ready scope
// has been compared: one that a cut does not name has not changed since.
func (in *intake) identical(wallMS int64) {
	ready := false
	for i := range in.scopes {
		if s := &in.scopes[i]; s.Ready {
			if s.VerifiedMS == 0 {
				return
			}
			ready = true
		}
	}
	if ready {
		in.st.VerifiedMS = wallMS
	}
}
