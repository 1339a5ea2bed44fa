package simtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// stage is how far a message has come.
type stage uint8

const (
	asked    stage = iota // on its way to the server
	pushed                // its changes are committed, its page is not read yet
	waiting               // there was no news: the server holds it back
	answered              // on its way back
)

// message is a request or its answer. A doubled one shares its call.
type message struct {
	device *device
	call   *call
	stage  stage
	bytes  []byte
	// forged: the server must refuse it as a whole.
	forged bool
	// node is the server process that has it.
	node int
	// until is the step before which the network holds it back.
	until int
	// outcomes of the push.
	outcomes []*tandemv1.Outcome
	// scopes whose commits wake a waiting request; woken: one came.
	scopes []syncengine.ScopeKey
	woken  bool
	// from is the server's history that the answer was read from.
	from *serverStore
}

// ask is a device that sends a request, with what it would send.
func (w *World) ask() error {
	d := w.pick()
	if d == nil || len(d.out) >= w.habits.inFlight {
		return nil
	}
	if done, err := w.mend(d); done || err != nil {
		return err
	}
	o := syncengine.PlanOptions{WallMS: w.wall(d), Ask: d.ask || w.odds(10)}
	if !w.odds(6) {
		o.PushBytes = one(w, w.habits.pushBytes)
	}
	if !w.odds(8) {
		o.PageBytes = one(w, w.habits.pageBytes)
	}
	if w.odds(8) {
		o.WaitMS = 25_000
	}
	return w.send(d, o)
}

// send plans, signs and encodes a request and puts it on the wire.
func (w *World) send(d *device, o syncengine.PlanOptions) error {
	o.InFlight = map[uint64]bool{}
	for _, c := range d.out {
		for _, op := range c.ops {
			o.InFlight[op] = true
		}
	}
	var plan *syncengine.Planned
	err := d.transact(0, true, func(tx syncengine.DeviceTx) (err error) {
		plan, err = w.plan(d, tx, o)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s plans: %w", d.name, err)
	}
	if len(plan.Ops) > 0 {
		plan.Request.Signature = d.key.sign(plan.Newest)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(plan.Request)
	if err != nil {
		return err
	}
	d.ask = false
	c := &call{life: d.life, replica: d.replica, key: d.key, req: plan.Request, ops: plan.Ops}
	d.out = append(d.out, c)
	w.wire = append(w.wire, &message{device: d, call: c, stage: asked, bytes: raw})
	w.event("%s asks with ops %v, want %d, %d positions%s", d.name, plan.Ops, len(plan.Request.GetWant()), len(plan.Request.GetPositions()), w.hex(raw))
	return nil
}

// hex tells messages apart in a line; the traces of scripts do without.
func (w *World) hex(b []byte) string {
	if w.script != nil {
		return ""
	}
	sum := sha(b)
	return fmt.Sprintf(" %x", sum[:4])
}

// take removes message i from the wire.
func (w *World) take(i int) *message {
	m := w.wire[i]
	w.wire = slices.Delete(w.wire, i, i+1)
	return m
}

// deliver moves a message on its way: the oldest or any, so that they overtake each
// other.
func (w *World) deliver() error {
	var ready []int
	for i, m := range w.wire {
		if m.until <= w.step {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	i := ready[0]
	if w.odds(w.habits.disorder) {
		i = one(w, ready)
	}
	if w.wire[i].stage == asked && w.wire[i].call.compare == nil && w.odds(3) {
		return w.group()
	}
	return w.move(w.take(i))
}

// move does the next thing to a message.
func (w *World) move(m *message) error {
	if m.call.compare != nil {
		return w.moveComparison(m)
	}
	switch m.stage {
	case asked:
		return w.receive([]*message{m})
	case pushed, waiting:
		return w.answer(m)
	default:
		return w.deliverAnswer(m)
	}
}

// group lets the server commit every request that has arrived in one transaction.
func (w *World) group() error {
	var group []*message
	w.wire = slices.DeleteFunc(w.wire, func(m *message) bool {
		arrived := m.stage == asked && m.until <= w.step && m.call.compare == nil
		if arrived {
			group = append(group, m)
		}
		return arrived
	})
	if len(group) > 1 {
		w.seen("group commit")
	}
	w.rng.Shuffle(len(group), func(i, k int) { group[i], group[k] = group[k], group[i] })
	return w.receive(group)
}

// receive is the server that decodes requests and commits their pushes together.
func (w *World) receive(group []*message) error {
	var prepared [][]syncengine.Prepared
	var requests []*tandemv1.SyncRequest
	node := w.rng.IntN(len(w.nodes))
	for _, m := range slices.Clone(group) {
		m.node = node
		req := &tandemv1.SyncRequest{}
		if err := proto.Unmarshal(m.bytes, req); err != nil {
			return err
		}
		if err := w.adopt(m, req); err != nil {
			return err
		}
		push, err := syncengine.PrepareWith(w.rules, m.call.replica, m.call.key.verify, req)
		switch {
		case err != nil && !m.forged:
			return &ViolationError{"I17", fmt.Sprintf("a push of %s is refused as a whole: %v", m.device.name, err)}
		case err != nil:
			w.refused(m, err)
			group = slices.DeleteFunc(group, func(o *message) bool { return o == m })
			continue
		case m.forged && len(push) > 0:
			return &ViolationError{"I23", fmt.Sprintf("a push that is not as %s signed it is taken", m.device.name)}
		}
		prepared, requests = append(prepared, push), append(requests, req)
	}
	fail, stay := w.mishap(), w.stays(30)
	outcomes := make([][]*tandemv1.Outcome, len(group))
	var done *syncengine.Committed
	err := w.write(fail, stay, func(tx syncengine.ServerTx) error {
		b, err := w.nodes[node].Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		for i, m := range group {
			if len(prepared[i]) == 0 {
				continue
			}
			if outcomes[i], err = b.Push(m.call.replica, prepared[i], requests[i]); err != nil {
				return err
			}
		}
		done, err = b.Commit()
		return err
	})
	switch {
	case errors.Is(err, errStorage) || err == nil && !stay && !planted.Is(planted.AckEarly):
		w.event("the server died before the commit of %d requests", len(group))
		w.seen("server died before a commit")
		return nil
	case err != nil:
		return fmt.Errorf("a push: %w", err)
	}
	w.committed(done)
	for i, m := range group {
		w.event("the server has %d changes of %s:%s", len(prepared[i]), m.device.name, tellOutcomes(outcomes[i]))
		for _, o := range outcomes[i] {
			if err := w.verdict(m, o); err != nil {
				return err
			}
		}
		if err := w.entitled(m, outcomes[i]); err != nil {
			return err
		}
		m.stage, m.outcomes = pushed, outcomes[i]
		if w.script != nil || w.odds(2) {
			w.wire = append(w.wire, m)
			continue
		}
		if err := w.answer(m); err != nil {
			return err
		}
	}
	return nil
}

// refused tells a device that its request was refused as a whole.
func (w *World) refused(m *message, err error) {
	w.event("the server refuses a request of %s: %v", m.device.name, err)
	w.seen("request refused")
	m.device.out = slices.DeleteFunc(m.device.out, func(o *call) bool { return o == m.call })
	m.device.ask = true
}

// committed wakes who waits for the scopes of a commit.
func (w *World) committed(done *syncengine.Committed) {
	if err := w.noteGrants(); err != nil {
		panic(err)
	}
	for _, m := range w.wire {
		m.woken = m.woken || slices.ContainsFunc(m.scopes, func(k syncengine.ScopeKey) bool {
			return slices.Contains(done.Scopes, k)
		})
	}
}

// verdict checks that a change gets one verdict for ever.
func (w *World) verdict(m *message, o *tandemv1.Outcome) error {
	d := m.device
	switch o.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_FORK:
		w.seen("fork")
		if !d.restored && m.call.replica == d.replica {
			return &ViolationError{"I16", d.name + " is told of a fork that it never made"}
		}
		return nil
	case tandemv1.OutcomeCode_OUTCOME_CODE_UNSPECIFIED:
		return &ViolationError{"I17", fmt.Sprintf("op %d of %s has no verdict", o.GetOp(), d.name)}
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		w.seen("quarantined " + o.GetRefusal().String())
	case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
		w.seen("conflict")
	}
	key := opKey{m.call.replica, o.GetOp()}
	if before := w.verdicts[key]; before != nil && !proto.Equal(before, o) && !moved(before, o) {
		return &ViolationError{"I7", fmt.Sprintf("op %d of %s was %v and is now %v", o.GetOp(), d.name, before, o)}
	}
	w.verdicts[key] = o
	return nil
}

// rights are what a person may hold, and the records that say so: while they are the
// same, so are the rights.
type rights struct {
	by     map[syncengine.ID]*syncengine.StoredRecord
	is     *syncengine.Principal
	grants []syncengine.ScopeKey
	// given: somebody who has a device was given them.
	given bool
}

// reader is a view that notes which records are read.
type reader struct {
	*serverStore

	read map[syncengine.ID]*syncengine.StoredRecord
}

// Record returns a record.
func (r *reader) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	rec, err := r.serverStore.Record(id)
	r.read[id] = rec
	return rec, err
}

// rightsOf returns what a person may hold now.
func (w *World) rightsOf(person syncengine.ID) (*rights, error) {
	r := w.rights[person]
	if r != nil {
		same := true
		for id, rec := range r.by {
			same = same && w.server.records[id] == rec
		}
		if same {
			return r, nil
		}
	}
	view := &reader{w.server, map[syncengine.ID]*syncengine.StoredRecord{}}
	p, err := w.engine.Principal(view, &syncengine.Replica{Person: person})
	if err != nil {
		return nil, err
	}
	r = &rights{by: view.read, is: p, grants: w.rules.Grants(w.office.org, p)}
	w.rights[person] = r
	return r, nil
}

// grants returns the scopes that a device may hold now, as a replica.
func (w *World) grants(d *device, as syncengine.ID) ([]syncengine.ScopeKey, error) {
	replica := w.server.replicas[as]
	if replica == nil || replica.Revoked {
		return nil, nil
	}
	r, err := w.rightsOf(d.person.id)
	if err != nil {
		return nil, err
	}
	if r.given {
		return r.grants, nil
	}
	r.given = true
	for _, k := range r.grants {
		if _, known := w.ids[k]; !known {
			id := w.engine.Secrets.ScopeID(k)
			w.ids[k], w.scopes[id] = id, k
		}
	}
	return r.grants, nil
}

// entitled is I23: what was applied left every record where its author reaches it.
func (w *World) entitled(m *message, outcomes []*tandemv1.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	d := m.device
	grants, err := w.grants(d, m.call.replica)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		c := w.server.byOp[opKey{m.call.replica, o.GetOp()}]
		if c == nil || c.ReceivedMS != w.nowMS || !applied(c.Outcome) {
			continue
		}
		change := w.decoded.of(c.BodyHash, c.Body)
		if !bytes.Equal(change.GetAuthor(), d.person.id[:]) || !bytes.Equal(change.GetDevice(), d.id[:]) {
			return &ViolationError{"I23", fmt.Sprintf("op %d of %s was applied in another's name", o.GetOp(), d.name)}
		}
		for _, wr := range change.GetRecords() {
			id, _ := syncengine.IDFromBytes(wr.GetRecord())
			if before := w.server.stateAt(id, c.Seq-1); before != nil && !reaches(grants, before.Scopes) {
				return &ViolationError{"I23", fmt.Sprintf("op %d of %s wrote to a record that its author does not hold", o.GetOp(), d.name)}
			}
			if d.person.police() && !w.policeMay(wr) {
				return &ViolationError{"I23", fmt.Sprintf("op %d of %s was applied, which no police partner may do", o.GetOp(), d.name)}
			}
			now := w.server.stateAt(id, c.Seq)
			if now == nil || !reaches(grants, now.Scopes) {
				return &ViolationError{"I23", fmt.Sprintf("op %d of %s was applied beyond its author's reach", o.GetOp(), d.name)}
			}
		}
	}
	return nil
}

// page reads the answer to a request.
func (w *World) page(m *message) (ans *syncengine.Answer, err error) {
	wrote := false
	err = w.read(func(view syncengine.ServerView) (err error) {
		ans, err = w.nodes[m.node].Answer(view, m.call.replica, m.call.req, m.outcomes, w.nowMS)
		wrote = len(w.server.undo) > 0
		return err
	})
	if wrote {
		return nil, &ViolationError{"storage", "an answer wrote"}
	}
	if err != nil {
		return nil, err
	}
	return ans, w.unpack(ans)
}

// answer reads the page of a request and sends the answer, or waits for news.
func (w *World) answer(m *message) error {
	if err := w.adopt(m, m.call.req); err != nil {
		return err
	}
	ans, err := w.page(m)
	if errors.Is(err, syncengine.ErrReverted) {
		if err := w.mint(m.call.replica, m.call.req); err != nil {
			return err
		}
		ans, err = w.page(m)
	}
	switch {
	case err != nil && m.forged && errors.Is(err, syncengine.ErrPosition):
		w.refused(m, err)
		return nil
	case err != nil:
		return fmt.Errorf("answering %s: %w", m.device.name, err)
	case m.forged && !w.server.head.Recovering: // It reads no positions then.
		return &ViolationError{"I23", "a position that is not " + m.device.name + "'s is taken"}
	}
	if ans.Report {
		if err := w.write(0, true, func(tx syncengine.ServerTx) error {
			return w.nodes[m.node].Report(tx, m.call.replica, m.call.req)
		}); err != nil {
			return err
		}
	}
	page := ans.Message.GetPage()
	told := page.GetScopeSet() != nil || len(page.GetRows()) > 0 || len(page.GetReady()) > 0
	if told && m.stage == waiting && !m.woken {
		return &ViolationError{"wake", m.device.name + " waits for news that nothing wakes it for"}
	}
	if ans.News && m.stage == waiting {
		w.seen("waited for news")
	}
	if !ans.News && m.call.req.GetWaitMs() > 0 && !w.calm && (m.stage != waiting || !w.odds(6)) {
		m.stage, m.scopes, m.woken = waiting, ans.Scopes, false
		w.wire = append(w.wire, m)
		return nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(ans.Message)
	if err != nil {
		return err
	}
	if err := w.leaks(m, ans.Message, raw); err != nil {
		return err
	}
	resp, err := proto.MarshalOptions{Deterministic: true}.Marshal(syncengine.Frame(raw, ans.Count))
	if err != nil {
		return err
	}
	w.report.Syncs++
	w.event("the server answers %s: %s%s", m.device.name, w.tellAnswer(ans.Message), w.hex(resp))
	m.stage, m.bytes, m.from = answered, resp, w.server
	w.wire = append(w.wire, m)
	return nil
}

// tellOutcomes describes verdicts.
func tellOutcomes(all []*tandemv1.Outcome) string {
	var b []byte
	for _, o := range all {
		b = append(strconv.AppendUint(append(b, ' '), o.GetOp(), 10), ' ')
		b = append(b, strings.TrimPrefix(o.GetCode().String(), "OUTCOME_CODE_")...)
		if o.GetRefusal() != 0 {
			b = append(append(b, ' '), strings.TrimPrefix(o.GetRefusal().String(), "REFUSAL_")...)
			b = fmt.Append(b, o.GetFields())
		}
		b = append(b, ',')
	}
	return string(b)
}

// tellAnswer describes an answer.
func (w *World) tellAnswer(a *tandemv1.SyncAnswer) string {
	p := a.GetPage()
	if p.GetReconcile() {
		w.seen("old position")
		return "it is to reconcile"
	}
	if p == nil {
		return fmt.Sprintf("%d outcomes, no page", len(a.GetOutcomes()))
	}
	if p.GetScopeSet() != nil {
		return fmt.Sprintf("%d outcomes, a set of %d scopes", len(a.GetOutcomes()), len(p.GetScopeSet().GetScopes()))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d outcomes, head %d, closing %v, ready %v", len(a.GetOutcomes()), w.server.head.Seq, p.GetClosing(), p.GetReady())
	for _, r := range p.GetRows() {
		what := "whole"
		switch {
		case r.GetScopes() == 0:
			what = "drop"
		case r.GetEcho():
			what = "echo"
		case len(r.GetDeltas()) > 0:
			what = "delta"
		}
		w.seen("row " + what)
		if w.Log {
			fmt.Fprintf(&out, " %s %s", what, syncengine.ID(r.GetRecord()))
		}
	}
	return out.String()
}

// deliverAnswer is a device that takes in an answer, or dies over it.
func (w *World) deliverAnswer(m *message) error {
	d, c := m.device, m.call
	resp := &tandemv1.SyncResponse{}
	var ans *tandemv1.SyncAnswer
	if proto.Unmarshal(m.bytes, resp) == nil {
		// What is not complete is no answer.
		ans, _ = syncengine.Unframe(resp, nil)
	}
	if c.life != d.life || c.replica != d.replica || d.store == nil {
		w.event("an answer finds nobody at %s", d.name)
		return nil
	}
	late := !slices.Contains(d.out, c)
	if late {
		w.seen("late answer")
	}
	d.out = slices.DeleteFunc(d.out, func(o *call) bool { return o == c })
	if ans == nil {
		w.event("%s gets rubbish", d.name)
		w.seen("rubbish")
		d.ask = true
		return nil
	}
	fail, stay := w.mishap(), w.stays(25)
	var got *syncengine.Received
	err := d.transact(fail, stay, func(tx syncengine.DeviceTx) (err error) {
		if got, err = w.client.Receive(tx, c.req, ans, w.wall(d)); err != nil {
			return err
		}
		return w.expire(d, tx)
	})
	switch {
	case errors.Is(err, errStorage):
		w.event("%s could not take an answer in: its disk failed", d.name)
		w.seen("disk failed at an answer")
		d.ask = true
		return w.check(d)
	case err != nil:
		return fmt.Errorf("%s receives: %w", d.name, err)
	case !stay:
		w.event("%s died over an answer", d.name)
		w.kill(d)
		return w.check(d)
	}
	return w.received(d, m.from, got)
}

// received notes what an answer did.
func (w *World) received(d *device, from *serverStore, got *syncengine.Received) error {
	w.event("%s has %d rows, flipped %v, dropped %v, more %v, scopes %v, %d verdicts, forked %v",
		d.name, got.Rows, got.Flipped, got.Dropped, got.More, got.Scopes, len(got.Outcomes), got.Forked)
	for _, o := range got.Outcomes {
		if op := d.store.ops[o.GetOp()]; op != nil {
			w.acked[op.Change] = w.bodies[op.Change]
		}
	}
	for what, is := range map[string]bool{
		"page dropped": got.Dropped, "scopes changed": got.Scopes, "staged": len(d.store.staged) > 0,
		"digest differs": len(got.Differing) > 0, "whole row wanted": len(d.store.state.Want) > 0,
		"new epoch": got.Epoch, "offered again": got.Reoffered > 0, "astray": got.Astray, "reconciled": got.Repaired,
	} {
		if is {
			w.seen(what)
		}
	}
	d.spoiled = d.spoiled || got.Epoch || got.Reoffered > 0
	if got.Forked {
		if !d.restored {
			return &ViolationError{"I16", d.name + " sees a fork that it never made"}
		}
		w.kill(d)
		return w.check(d)
	}
	if got.Repaired {
		d.corrupt = false
	}
	if len(got.Differing) > 0 && !got.Astray && d.store.state.Repair.Tries < 3 {
		return &ViolationError{"I3", d.name + " sees that it differs and does nothing about it"}
	}
	if len(got.Differing) > 0 && !d.corrupt {
		return &ViolationError{"I3", fmt.Sprintf("%s: the digest of %d scopes differs at a cut", d.name, len(got.Differing))}
	}
	if got.Flipped {
		if cut := w.cutOf(d); !got.Astray {
			if cut < d.cut {
				return &ViolationError{"I11", fmt.Sprintf("%s went back from %d to %d", d.name, d.cut, cut)}
			}
			d.cut, d.oracle = cut, from
		}
	}
	return w.check(d)
}

// cutOf returns the sequence of a device's position.
func (w *World) cutOf(d *device) uint64 {
	pos, err := w.engine.Secrets.Open(d.replica, d.store.state.Staged)
	if err != nil {
		return 0
	}
	return pos.Seq
}

// leaks checks that an answer holds nothing that its reader may not have.
func (w *World) leaks(m *message, a *tandemv1.SyncAnswer, raw []byte) error {
	d := m.device
	if d.person.police() && bytes.Contains(raw, []byte(clinicalMark)) {
		return &ViolationError{"I5", "an answer to " + d.name + " holds clinical text"}
	}
	if w.revoked(m.call.replica) && len(a.GetPage().GetRows())+len(a.GetPage().GetScopeSet().GetScopes()) > 0 {
		return &ViolationError{"I22", "an answer to " + d.name + ", which is revoked, holds records or scopes"}
	}
	grants, err := w.grants(d, m.call.replica)
	if err != nil {
		return err
	}
	if w.revoked(m.call.replica) {
		if err := w.codesOnly(d, a); err != nil {
			return err
		}
	}
	if err := w.finds(m, a); err != nil {
		return err
	}
	for _, row := range a.GetPage().GetRows() {
		rec := w.server.records[syncengine.ID(row.GetRecord())]
		if row.GetScopes() == 0 && len(row.GetBody())+len(row.GetStamps())+len(row.GetDeltas()) == 0 {
			continue
		}
		if rec == nil || !reaches(grants, rec.Scopes) {
			return &ViolationError{"I5", fmt.Sprintf("an answer to %s holds %s, which is not in its scopes", d.name, syncengine.ID(row.GetRecord()))}
		}
	}
	return nil
}

// lose drops a message.
func (w *World) lose() error {
	if len(w.wire) > 0 {
		m := w.take(w.rng.IntN(len(w.wire)))
		w.event("a message of %s is lost at stage %d", m.device.name, m.stage)
	}
	return nil
}

// delay holds a message back for some steps.
func (w *World) delay() error {
	if len(w.wire) > 0 {
		w.hold(one(w, w.wire))
	}
	return nil
}

func (w *World) hold(m *message) {
	m.until = w.step + 3 + w.rng.IntN(20)
	w.event("a message of %s is held back at stage %d", m.device.name, m.stage)
}

// contact is one request of a device that goes through at once, as far as faults let
// it.
func (w *World) contact(d *device, page uint32) error {
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PageBytes: page}); err != nil {
		return err
	}
	c := w.wire[len(w.wire)-1].call
	for {
		i := slices.IndexFunc(w.wire, func(m *message) bool { return m.call == c })
		if i < 0 {
			return nil
		}
		if err := w.move(w.take(i)); err != nil {
			return err
		}
	}
}

// readTwice is a device that gets a new scope and has read a part of it when one of
// its requests goes astray; the next one goes through, and then the first comes.
func (w *World) readTwice() error {
	d := w.pick()
	if d == nil || len(d.out) > 0 || len(d.store.state.Staged) == 0 {
		return nil
	}
	staff := w.server.records[d.person.id]
	i := slices.IndexFunc(w.office.teams, func(t syncengine.ID) bool {
		return !slices.Contains(staff.Codes(fieldOf("staff", "team_ids")), t.String())
	})
	if i < 0 {
		return nil
	}
	if err := w.changeTeam(d.person, w.office.teams[i], true); err != nil {
		return err
	}
	for _, page := range []uint32{1 << 20, 1} {
		if err := w.contact(d, page); err != nil {
			return err
		}
	}
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PageBytes: 1}); err != nil {
		return err
	}
	w.hold(w.wire[len(w.wire)-1])
	return w.contact(d, 1<<20)
}

// askTwice is a device that asks for a little, hears nothing, and asks for more: the
// first request comes late.
func (w *World) askTwice() error {
	d := w.pick()
	if d == nil || len(d.out) > 0 {
		return nil
	}
	for _, page := range []uint32{1, one(w, []uint32{1, 700, 1 << 20})} {
		if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PageBytes: page}); err != nil {
			return err
		}
	}
	w.hold(w.wire[len(w.wire)-2])
	return nil
}

// double sends a message twice.
func (w *World) double() error {
	if len(w.wire) > 0 {
		m := *one(w, w.wire)
		w.event("a message of %s is doubled at stage %d", m.device.name, m.stage)
		w.seen("doubled")
		w.wire = append(w.wire, &m)
	}
	return nil
}

// giveUp is a device that waits for an answer no longer.
func (w *World) giveUp() error {
	d := w.pick()
	if d == nil || len(d.out) == 0 {
		return nil
	}
	i := w.rng.IntN(len(d.out))
	w.event("%s gives a request up", d.name)
	d.out = slices.Delete(d.out, i, i+1)
	d.ask = true
	return nil
}

// damage alters or cuts an answer.
func (w *World) damage() error {
	i := slices.IndexFunc(w.wire, func(m *message) bool { return m.stage == answered && len(m.bytes) > 0 })
	if i < 0 {
		return nil
	}
	m := w.wire[i]
	m.bytes = slices.Clone(m.bytes)
	if w.odds(2) {
		m.bytes = m.bytes[:w.rng.IntN(len(m.bytes))]
	} else {
		m.bytes[w.rng.IntN(len(m.bytes))] ^= 1 << w.rng.IntN(8)
	}
	w.event("an answer to %s is damaged", m.device.name)
	return nil
}

// serverDies loses everything that one process of the server was about to answer.
func (w *World) serverDies() error {
	node := w.rng.IntN(len(w.nodes))
	w.event("node %d of the server is restarted", node)
	w.restart(node)
	return nil
}

// restart loses what a node was about to answer.
func (w *World) restart(node int) {
	w.wire = slices.DeleteFunc(w.wire, func(m *message) bool {
		dies := m.node == node && (m.stage == pushed || m.stage == waiting)
		if dies && m.stage == pushed {
			w.seen("node died between commit and answer")
		}
		return dies
	})
}

// policeMay tells from the contract's words, not from its rules, whether a police
// partner may make a write: what the police did at an incident, and nothing else.
func (w *World) policeMay(wr *tandemv1.RecordWrite) bool {
	if w.rules.Kind(wr.GetKind()).Name != "incident" || wr.GetAct() != tandemv1.Act_ACT_SET {
		return false
	}
	for _, pw := range wr.GetWrites() {
		if !slices.Contains(policeFields, pw.GetField()) {
			return false
		}
	}
	return true
}

var policeFields = []uint32{
	fieldOf("incident", "le_involvement"), fieldOf("incident", "le_actions"), fieldOf("incident", "le_cleared_at"),
	fieldOf("incident", "force_used"), fieldOf("incident", "force_types"), fieldOf("incident", "weapon"),
}
