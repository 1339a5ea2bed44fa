package syncengine

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// maxActReason is the longest reason of a dismissal, in characters.
const maxActReason = 500

// Release applies a change in quarantine as it is: it keeps its id, bytes and author;
// the act is p's. p must lead everything that it names and reach all that it touches,
// and its author must once have held the grant that it was written under, with the
// right to it: a release gives nobody a right that they lacked. What it made, and
// others in quarantine were waiting for, is released with it, in order of op, as far as
// the same holds for each. The error is ErrNoItem, or a *RefusalError, which says why
// it cannot be: it may still be dismissed or replaced.
func (b *Batch) Release(p *Principal, change ID) (*tandemv1.Outcome, error) {
	c, decoded, err := b.item(p, change)
	if err != nil {
		return nil, err
	}
	bundle, err := b.bundle(c, decoded)
	if err != nil {
		return nil, err
	}
	out, refusal, err := b.release(p, c)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, &RefusalError{*refusal}
	}
	for _, id := range bundle {
		m, _, err := b.item(p, id)
		if errors.Is(err, ErrNoItem) {
			// It has been released by what was released before it, or is not p's to decide.
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, _, err := b.release(p, m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Dismiss closes a change in quarantine without applying it; its bytes are kept.
// p must lead everything that it names.
func (b *Batch) Dismiss(p *Principal, change ID, reason string) (*tandemv1.Outcome, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || utf8.RuneCountInString(reason) > maxActReason || !utf8.ValidString(reason) {
		return nil, &RefusalError{Refusal{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: []string{"reason"}}}
	}
	c, _, err := b.item(p, change)
	if err != nil {
		return nil, err
	}
	out := &tandemv1.Outcome{Code: tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED, Reason: reason}
	return out, b.revise(c, out, &QuarantineAct{Kind: ActDismissed, By: p.Person, Reason: reason})
}

// Replace applies a change of p's own, made at the server, that names in replaces a
// change in quarantine, and closes that one. p must lead everything that it names.
// A change that is refused is not kept: the error says why.
func (b *Batch) Replace(p *Principal, raw []byte) (*tandemv1.Outcome, error) {
	prepared := prepareOne(b.srv.Rules, raw)
	if prepared.Refusal != nil {
		return nil, &RefusalError{*prepared.Refusal}
	}
	old, ok := IDFromBytes(prepared.Change.GetReplaces())
	if !ok {
		return nil, ErrNoItem
	}
	if _, _, err := b.item(p, old); err != nil {
		return nil, err
	}
	if known, err := b.tx.Change(prepared.ID); err != nil || known != nil {
		return nil, cmp.Or(err, error(&RefusalError{Refusal{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: []string{"id"}}}))
	}
	c := &StoredChange{ID: prepared.ID, BodyHash: prepared.Body, Body: raw, ReceivedMS: b.now}
	c.describe(prepared.Change)
	j := b.judge(p)
	results, refusal, err := j.apply(c, prepared.Change)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, &RefusalError{*refusal}
	}
	c.Outcome = &tandemv1.Outcome{Code: appliedCode(results)}
	b.verdict(c)
	if err := b.tx.SaveChange(c); err != nil {
		return nil, err
	}
	return c.Outcome, b.accept(j, c, prepared.Change, results)
}

// Retry judges again what lies in quarantine because this server did not know its
// kind or schema, which a newer one may: for the start of a server. It reports how
// many changes it applied.
func (b *Batch) Retry() (applied int, err error) {
	after := uint64(0)
	for {
		const some = 256
		changes, err := b.tx.Quarantined(after, some)
		if err != nil {
			return applied, err
		}
		for _, c := range changes {
			after = c.Seq
			switch c.Outcome.GetRefusal() {
			case tandemv1.Refusal_REFUSAL_UNKNOWN_KIND, tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA:
			default:
				continue
			}
			done, err := b.again(c)
			if err != nil {
				return applied, err
			}
			if done {
				applied++
			}
		}
		if len(changes) < some {
			return applied, nil
		}
	}
}

// item returns a change in quarantine that p may decide on.
func (b *Batch) item(p *Principal, id ID) (*StoredChange, *tandemv1.Change, error) {
	c, err := b.quarantined(id)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, nil, ErrNoItem
	}
	change := decodeBody(c.Body)
	covers, err := b.srv.leading(b.tx, p).covers(c, change)
	if err != nil {
		return nil, nil, err
	}
	if !covers {
		return nil, nil, ErrNoItem
	}
	return c, change, nil
}

// quarantined returns a change that lies in quarantine, nil for none.
func (b *Batch) quarantined(id ID) (*StoredChange, error) {
	c, err := b.tx.QuarantinedByStamp(StampOf(id))
	if err != nil || c == nil || c.ID != id || !isQuarantined(c.Outcome) {
		return nil, err
	}
	return c, nil
}

// bundle returns the changes in quarantine that wait for what a change makes, and for
// what those make, in order of op.
func (b *Batch) bundle(c *StoredChange, change *tandemv1.Change) ([]ID, error) {
	seen := map[ID]bool{c.ID: true}
	var found []*StoredChange
	makes := made(change)
	for len(makes) > 0 {
		id := makes[0]
		makes = makes[1:]
		rec, err := b.tx.Record(id)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			continue
		}
		waiting, err := b.tx.QuarantinedOn(id)
		if err != nil {
			return nil, err
		}
		for _, o := range waiting {
			if seen[o.ID] {
				continue
			}
			seen[o.ID] = true
			found = append(found, o)
			makes = append(makes, made(decodeBody(o.Body))...)
		}
	}
	slices.SortStableFunc(found, inOrder)
	ids := make([]ID, 0, len(found))
	for _, o := range found {
		ids = append(ids, o.ID)
	}
	return ids, nil
}

// inOrder orders changes of one replica by op, others by sequence.
func inOrder(x, y *StoredChange) int {
	if x.Replica == y.Replica && x.Op != y.Op {
		return cmp.Compare(x.Op, y.Op)
	}
	return cmp.Compare(x.Seq, y.Seq)
}

// made lists the records that a change makes.
func made(change *tandemv1.Change) (ids []ID) {
	for _, w := range change.GetRecords() {
		if id, ok := IDFromBytes(w.GetRecord()); ok && w.GetAct() == tandemv1.Act_ACT_CREATE {
			ids = append(ids, id)
		}
	}
	return ids
}

// release applies a change under a grant that its author once held, within p's reach.
func (b *Batch) release(p *Principal, c *StoredChange) (*tandemv1.Outcome, *Refusal, error) {
	prepared := prepareOne(b.srv.Rules, c.Body)
	if prepared.Refusal != nil {
		return nil, prepared.Refusal, nil
	}
	sender, err := senderOf(b.tx, c)
	if err != nil {
		return nil, nil, err
	}
	forbidden := &Refusal{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN, Fields: []string{"grant"}}
	if sender == nil {
		return nil, forbidden, nil
	}
	grants, err := b.tx.Held(sender.Person)
	if err != nil {
		return nil, nil, err
	}
	lead := b.judge(p)
	under := prepared.Change.GetGrant()
	for _, g := range grants {
		// A device that has not heard of any scope yet wrote under whatever its person
		// was granted.
		if len(under) > 0 && !slices.Equal(g.Hash[:], under) {
			continue
		}
		j := b.judge(g.principal(sender))
		j.ever = true
		results, refusal, err := j.apply(c, prepared.Change)
		if err != nil {
			return nil, nil, err
		}
		if refusal == nil {
			refusal, err = lead.within(results)
		}
		if err != nil {
			return nil, nil, err
		}
		if refusal != nil {
			forbidden = refusal
			continue
		}
		out := &tandemv1.Outcome{Code: appliedCode(results)}
		if err := b.revise(c, out, &QuarantineAct{Kind: ActReleased, By: p.Person}); err != nil {
			return nil, nil, err
		}
		return out, nil, b.accept(j, revised(c, b.head.Seq), prepared.Change, results)
	}
	return nil, forbidden, nil
}

// within refuses what touches a record beyond the judge's reach. What would follow a
// record into a team beyond it stays where it is.
func (j *judge) within(results []*result) (*Refusal, error) {
	for i, res := range results {
		if !j.reaches(res.scopes) || res.old != nil && !j.reaches(res.old.Scopes) {
			return refuse(tandemv1.Refusal_REFUSAL_FORBIDDEN, i, "team_id"), nil
		}
		var kept []ID
		for _, id := range res.followers {
			old, err := j.b.tx.Record(id)
			if err != nil {
				return nil, err
			}
			if old == nil || j.reaches(old.Scopes) {
				kept = append(kept, id)
			}
		}
		res.followers = kept
	}
	return nil, nil
}

// revised is what a released change is to the records it writes: nobody's own echo.
func revised(c *StoredChange, seq uint64) *StoredChange {
	next := *c
	next.Seq, next.Replica, next.Op = seq, ID{}, 0
	return &next
}

// again judges a change in quarantine as if it came now, by its author's rights now.
// It reports whether it was applied; else it stays as it is.
func (b *Batch) again(c *StoredChange) (bool, error) {
	prepared := prepareOne(b.srv.Rules, c.Body)
	if prepared.Refusal != nil {
		return false, nil
	}
	sender, err := senderOf(b.tx, c)
	if err != nil || sender == nil || sender.Revoked {
		return false, err
	}
	p, err := b.srv.Principal(b.tx, sender)
	if err != nil {
		return false, err
	}
	j := b.judge(p)
	results, refusal, err := j.apply(c, prepared.Change)
	if err != nil || refusal != nil {
		return false, err
	}
	out := &tandemv1.Outcome{Code: appliedCode(results)}
	if err := b.revise(c, out, &QuarantineAct{Kind: ActRetried}); err != nil {
		return false, err
	}
	return true, b.accept(j, revised(c, b.head.Seq), prepared.Change, results)
}

// maxWaiting bounds how many changes are judged again because a record that they sign
// over has changed.
const maxWaiting = 256

// unblock judges again what waits in quarantine for what a change has just done: for
// a record that is there now, or for a head that a signature names.
func (b *Batch) unblock(results []*result) error {
	var waiting []*StoredChange
	for _, res := range results {
		on, err := b.tx.QuarantinedOn(res.Record.ID)
		if err != nil {
			return err
		}
		heads := 0
		for _, c := range on {
			switch c.Outcome.GetRefusal() {
			case tandemv1.Refusal_REFUSAL_NO_TARGET, tandemv1.Refusal_REFUSAL_BUNDLED:
				if res.old != nil {
					continue
				}
			case tandemv1.Refusal_REFUSAL_WAITING:
				if heads++; heads > maxWaiting {
					continue
				}
			default:
				continue
			}
			if !slices.ContainsFunc(waiting, func(o *StoredChange) bool { return o.ID == c.ID }) {
				waiting = append(waiting, c)
			}
		}
	}
	slices.SortStableFunc(waiting, inOrder)
	for _, c := range waiting {
		// What was applied meanwhile is no longer there.
		now, err := b.quarantined(c.ID)
		if err != nil {
			return err
		}
		if now == nil {
			continue
		}
		if _, err := b.again(now); err != nil {
			return err
		}
	}
	return nil
}

// supersede closes the change that an accepted one names in replaces, and what that
// one was to replace, where both are of one person, or where j's person leads what it
// names. Otherwise it leaves it alone, and tells nobody.
func (b *Batch) supersede(j *judge, by *StoredChange, change *tandemv1.Change) error {
	for id, ok := IDFromBytes(change.GetReplaces()); ok; {
		old, err := b.quarantined(id)
		if err != nil || old == nil {
			return err
		}
		sender, err := senderOf(b.tx, old)
		if err != nil {
			return err
		}
		decoded := decodeBody(old.Body)
		if sender == nil || sender.Person != by.Author {
			covers, err := b.srv.leading(b.tx, j.p).covers(old, decoded)
			if err != nil || !covers {
				return err
			}
		}
		out := &tandemv1.Outcome{Code: tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED}
		act := &QuarantineAct{Kind: ActReplaced, By: by.Author, With: by.ID}
		if len(change.GetRecords()) == 0 {
			out.Code, act.Kind = tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED, ActWithdrawn
		}
		if err := b.revise(old, out, act); err != nil {
			return err
		}
		next, more := IDFromBytes(decoded.GetReplaces())
		id, ok = next, more && next != id
	}
	return nil
}

// revise gives a change in quarantine a new verdict, and lets everyone who made it
// know. out is completed with op and envelope of the change.
func (b *Batch) revise(c *StoredChange, out *tandemv1.Outcome, act *QuarantineAct) error {
	next := *c
	out.Op, out.Envelope = c.Op, shortOf(c.Envelope)
	next.Outcome = out
	b.verdict(&next)
	act.Change, act.Seq, act.AtMS = c.ID, next.Seq, b.now
	// The act comes first: a store reads the reason of a verdict from it.
	if err := b.tx.SaveAct(act); err != nil {
		return err
	}
	if err := b.tx.SaveChange(&next); err != nil {
		return err
	}
	holders, err := b.tx.Holders(c.ID)
	if err != nil {
		return err
	}
	for _, h := range holders {
		r, err := b.live(h.Replica)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if err := b.tx.Revise(c.ID, h, next.Seq); err != nil {
			return err
		}
		r.Revised = next.Seq
		if isApplied(out) {
			r.Apart = removeOp(r.Apart, h.Op)
		}
		if err := b.tx.SaveReplica(copyReplica(r)); err != nil {
			return err
		}
		b.touched[VerdictScope(r.Person)] = true
	}
	return nil
}

// hold keeps what a person is granted now.
func (b *Batch) hold(p *Principal) error {
	if p.Server || p.Person.IsZero() || len(p.Roles) == 0 {
		return nil
	}
	var ids []ScopeID
	for _, k := range b.srv.Rules.Grants(b.tx.Org(), p) {
		ids = append(ids, b.scopeID(k))
	}
	g := &HeldGrant{Person: p.Person, Agency: p.Agency, Roles: p.Roles, Teams: p.Teams, Programs: p.Programs}
	copy(g.Hash[:], HashScopeSet(ids))
	return b.tx.Hold(g)
}

// holdStaff keeps what a staff record granted before a change of it, and what it
// grants after.
func (b *Batch) holdStaff(res *result) error {
	if !b.srv.Rules.Staff(res.Record.Kind) {
		return nil
	}
	recs := []*Record{res.Record}
	if res.old != nil {
		recs = append(recs, &res.old.Record)
	}
	for _, rec := range recs {
		p, err := b.srv.Rules.Principal(rec, b.look)
		if err != nil {
			return err
		}
		if err := b.hold(p); err != nil {
			return err
		}
	}
	return nil
}
