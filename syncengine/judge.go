package syncengine

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// judge decides on the changes of one principal in one batch.
type judge struct {
	b      *Batch
	p      *Principal
	grants map[ScopeKey]bool
	// revoked: the device is, or its person has no rights at all any more.
	revoked bool
	// held: what the principal is granted is kept for later releases.
	held bool
	// ever: a record that was once in reach counts as in reach. For releases.
	ever bool
}

func (b *Batch) judge(p *Principal) *judge {
	j := &judge{b: b, p: p, grants: map[ScopeKey]bool{}}
	for _, k := range b.srv.Rules.Grants(b.tx.Org(), p) {
		j.grants[k] = true
	}
	return j
}

// result is what a change did to one record.
type result struct {
	*Applied
	kind *Kind
	// old is the record before, nil where the change made it.
	old    *StoredRecord
	before *State
	// scopes are those it is in now.
	scopes    []ScopeKey
	followers []ID
	// coAuthors are those of StoredRecord.
	coAuthors []ID
	// awaits are the bases that have not arrived. They are stored with the rest: a
	// change that is refused awaits nothing.
	awaits []awaitedBase
}

type awaitedBase struct {
	path  Path
	stamp Stamp
}

// asks reports whether a human is asked.
func (r *result) asks() bool {
	return slices.ContainsFunc(r.Items, func(i Item) bool { return i.Kind != ItemByPolicy })
}

// refuse builds a refusal about record i of a change.
func refuse(code tandemv1.Refusal, i int, field string) *Refusal {
	return &Refusal{Code: code, Fields: []string{fmt.Sprintf("%d/%s", i, field)}}
}

// apply judges a change by its author's rights, then merges it. Nothing is stored:
// a change is applied whole or not at all.
func (j *judge) apply(c *StoredChange, change *tandemv1.Change) ([]*result, *Refusal, error) {
	if j.revoked {
		return nil, &Refusal{Code: tandemv1.Refusal_REFUSAL_REVOKED}, nil
	}
	if !j.p.Server && !planted.Is(planted.AuthorUnchecked) && (c.Author != j.p.Person || c.Device != j.p.Device) {
		return nil, &Refusal{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN, Fields: []string{"author"}}, nil
	}
	for i, w := range change.GetRecords() {
		if !j.b.srv.Rules.Allowed(j.p, w) && !planted.Is(planted.RightsUnchecked) {
			return nil, refuse(tandemv1.Refusal_REFUSAL_FORBIDDEN, i, "act"), nil
		}
	}
	by := Writer{Stamp: StampOf(c.ID), Author: c.Author, Device: c.Device, AtMS: c.AtMS, ReceivedMS: c.ReceivedMS}
	var results []*result
	for i, w := range change.GetRecords() {
		res, refusal, err := j.write(i, w, c, by, results)
		if err != nil || refusal != nil {
			return nil, refusal, err
		}
		results = slices.DeleteFunc(results, func(r *result) bool { return r.Record.ID == res.Record.ID })
		results = append(results, res)
	}
	for i, res := range results {
		if err := j.home(res); err != nil {
			return nil, nil, err
		}
		var err error
		if res.coAuthors, err = j.b.coAuthors(res); err != nil {
			return nil, nil, err
		}
		if reached, err := j.arrives(res); err != nil {
			return nil, nil, err
		} else if !reached {
			return nil, refuse(tandemv1.Refusal_REFUSAL_FORBIDDEN, i, "team_id"), nil
		}
	}
	return results, nil, nil
}

// write judges and merges the writes to one record. Results of the same change are
// what it builds on.
func (j *judge) write(i int, w *tandemv1.RecordWrite, c *StoredChange, by Writer, done []*result) (*result, *Refusal, error) {
	id, _ := IDFromBytes(w.GetRecord())
	kind := j.b.srv.Rules.Kind(w.GetKind())
	if kind == nil {
		return nil, refuse(tandemv1.Refusal_REFUSAL_UNKNOWN_KIND, i, "kind"), nil
	}
	res := &result{kind: kind}
	var rec *Record
	if at := slices.IndexFunc(done, func(r *result) bool { return r.Record.ID == id }); at >= 0 {
		res.old, res.before, rec = done[at].old, done[at].before, done[at].Record
	} else {
		old, err := j.b.tx.Record(id)
		if err != nil {
			return nil, nil, err
		}
		if old != nil {
			reached, err := j.reached(old)
			if err != nil {
				return nil, nil, err
			}
			if !reached && !planted.Is(planted.ReachUnchecked) || old.Kind != w.GetKind() {
				return nil, refuse(tandemv1.Refusal_REFUSAL_NO_TARGET, i, "record"), nil
			}
			res.old, rec = old, &old.Record
			// What cannot be read here is the server's own fault, never the change's.
			if res.before, err = Decode(rec); err != nil {
				return nil, nil, fmt.Errorf("the stored state of record %s: %w", id, err)
			}
		}
	}
	create := w.GetAct() == tandemv1.Act_ACT_CREATE
	if rec == nil && !create {
		refusal, err := j.absent(i, id, c)
		return nil, refusal, err
	}
	if rec == nil {
		// What was erased by law is made by nobody again.
		if erased, err := j.b.erased(id); err != nil || erased {
			return nil, refuse(tandemv1.Refusal_REFUSAL_NO_TARGET, i, "record"), err
		}
	}
	allowed, err := j.allowedOn(w, rec)
	if err != nil {
		return nil, nil, err
	}
	if !allowed && res.old != nil && slices.Contains(res.old.CoAuthors, j.p.Person) {
		// Made on the draft, as far as anybody can tell.
		allowed = j.b.srv.Rules.AllowedBeside(j.p, w, rec)
		by.Beside = allowed
	}
	if !allowed && !planted.Is(planted.RightsUnchecked) {
		return nil, refuse(tandemv1.Refusal_REFUSAL_FORBIDDEN, i, "act"), nil
	}
	hist := &serverHistory{tx: j.b.tx, record: id, author: c.Author}
	applied, err := Apply(kind, rec, w, by, hist)
	switch {
	case errors.Is(err, ErrWaiting):
		return nil, refuse(tandemv1.Refusal_REFUSAL_WAITING, i, "seen"), nil
	case hist.err != nil:
		return nil, nil, hist.err
	case err != nil:
		return nil, refuse(tandemv1.Refusal_REFUSAL_INVALID, i, "body"), nil //nolint:nilerr // The fault is the change's: its refusal says so.
	}
	res.Applied, res.awaits = applied, hist.awaits
	// Several rules read it before it is stored.
	res.Record.Split = splitOf(res.Record.Body, applied.fields)
	if at := slices.IndexFunc(done, func(r *result) bool { return r.Record.ID == id }); at >= 0 {
		res.Items = append(slices.Clone(done[at].Items), res.Items...)
		res.awaits = append(slices.Clone(done[at].awaits), res.awaits...)
	}
	return res, nil, nil
}

// allowedOn judges the right to a write on the record as it stands. What cannot be read is no
// reason to refuse.
func (j *judge) allowedOn(w *tandemv1.RecordWrite, rec *Record) (allowed bool, err error) {
	allowed = j.b.srv.Rules.AllowedOn(j.p, w, rec, func(id ID) (*Record, error) {
		found, unread := j.b.look(id)
		err = errors.Join(err, unread)
		return found, unread
	})
	return allowed && err == nil, err
}

// absent refuses a write to a record that is not there: in one bundle with its
// creation where that lies in quarantine and is of the same author. Another's creation
// is not told of.
func (j *judge) absent(i int, id ID, c *StoredChange) (*Refusal, error) {
	waiting, err := j.b.tx.QuarantinedOn(id)
	if err != nil {
		return nil, err
	}
	for _, o := range waiting {
		if o.Author == c.Author && slices.Contains(made(decodeBody(o.Body)), id) {
			return refuse(tandemv1.Refusal_REFUSAL_BUNDLED, i, "record"), nil
		}
	}
	return refuse(tandemv1.Refusal_REFUSAL_NO_TARGET, i, "record"), nil
}

// reached reports whether the principal reaches a record as it stands.
func (j *judge) reached(rec *StoredRecord) (bool, error) {
	if j.reaches(rec.Scopes) || !j.ever {
		return j.reaches(rec.Scopes), nil
	}
	return j.b.tx.EverIn(rec.ID, slices.Collect(maps.Keys(j.grants)))
}

// arrives reports whether the principal reaches a record where it is now: a change
// moves none to where its author has no reach.
func (j *judge) arrives(res *result) (bool, error) {
	if j.ever && res.old != nil && slices.Equal(res.scopes, res.old.Scopes) {
		return j.reached(res.old)
	}
	return j.reaches(res.scopes), nil
}

// reaches reports whether the principal holds one of the scopes.
func (j *judge) reaches(scopes []ScopeKey) bool {
	return j.p.Server || slices.ContainsFunc(scopes, func(k ScopeKey) bool { return j.grants[k] })
}

// home finds the scopes of a merged record.
func (j *judge) home(res *result) error {
	scopes, followers, err := j.b.scopesOf(res.Record)
	if err != nil {
		return err
	}
	res.scopes = scopes
	if planted.Is(planted.FollowForgotten) && len(scopes) > 1 {
		res.scopes = scopes[:1]
	}
	for _, id := range followers {
		old, err := j.b.tx.Record(id)
		if err != nil {
			return err
		}
		// Naming a record is no way to reach it: what its author may not hold does not
		// follow into the author's team.
		if old == nil || j.reaches(old.Scopes) {
			res.followers = append(res.followers, id)
		}
	}
	return nil
}

// coAuthors returns who might write on a record beside its author when it was sealed: those
// that were written down then; where a change seals it, who might before that change. Once
// it is a draft again nobody is, so that the next seal writes down anew.
func (b *Batch) coAuthors(res *result) ([]ID, error) {
	switch {
	case res.old == nil || !res.State.sealed(res.kind):
		return nil, nil
	case res.before.sealed(res.kind):
		return res.old.CoAuthors, nil
	}
	return b.srv.Rules.CoAuthors(&res.old.Record, b.look)
}

// scopesOf returns the scopes a record is in: its own, and those of the teams it
// follows.
func (b *Batch) scopesOf(rec *Record) (scopes []ScopeKey, followers []ID, err error) {
	scopes, followers, err = b.srv.Rules.Scopes(b.tx.Org(), rec, b.look)
	if err != nil {
		return nil, nil, err
	}
	teams, err := b.tx.Teams(rec.ID)
	if err != nil {
		return nil, nil, err
	}
	for _, team := range teams {
		scopes = append(scopes, b.srv.Rules.FollowScopes(rec, team)...)
	}
	slices.SortFunc(scopes, ScopeKey.Compare)
	return slices.Compact(scopes), followers, nil
}

// serverHistory is History over the change log.
type serverHistory struct {
	tx     ServerTx
	record ID
	// author is whose write names the bases.
	author ID
	awaits []awaitedBase
	// entry is the log's entry of stamp: most paths of a record come from one change.
	stamp Stamp
	entry *StoredChange
	// err is the first error of the store, told apart from what a change did wrong.
	err error
}

func (h *serverHistory) fail(err error) error {
	if err != nil && h.err == nil {
		h.err = err
	}
	return err
}

// Awaited asks the list of awaited stamps.
func (h *serverHistory) Awaited(p Path, s Stamp) (bool, error) {
	ok, err := h.tx.Awaited(h.record, p, s)
	return ok, h.fail(err)
}

// Await keeps the base until the change is accepted.
func (h *serverHistory) Await(p Path, s Stamp) error {
	h.awaits = append(h.awaits, awaitedBase{path: p, stamp: s})
	return nil
}

// QuarantinedBases looks among the changes in quarantine that the author of the write has
// sent: whatever stamp another gives to what is refused, it takes nothing out by that.
func (h *serverHistory) QuarantinedBases(p Path, s Stamp) ([]Stamp, error) {
	c, err := h.tx.QuarantinedByStamp(s)
	if err != nil || c == nil {
		return nil, h.fail(err)
	}
	if own, err := h.sent(c); err != nil || !own {
		return nil, h.fail(err)
	}
	w, ok := writeIn(c.Body, h.record, p)
	if !ok {
		return nil, nil
	}
	return w.Bases, nil
}

// sent reports whether the author of the write has sent a change, whatever it says of
// itself; what was made at the server says who.
func (h *serverHistory) sent(c *StoredChange) (bool, error) {
	if c.Replica.IsZero() {
		return c.Author == h.author, nil
	}
	r, err := h.tx.Replica(c.Replica)
	return r != nil && r.Person == h.author, err
}

// Written looks in the change log.
func (h *serverHistory) Written(p Path, s Stamp) (Head, bool, error) {
	if h.entry == nil || h.stamp != s {
		c, err := h.tx.ChangeByStamp(s)
		if err != nil || c == nil {
			return Head{}, false, h.fail(err)
		}
		h.stamp, h.entry = s, c
	}
	c := h.entry
	if !isApplied(c.Outcome) {
		return Head{}, false, nil
	}
	w, ok := writeIn(c.Body, h.record, p)
	if !ok {
		return Head{}, false, nil
	}
	return Head{
		Stamp: s, Raw: w.Raw, Author: c.Author, Device: c.Device, AtMS: c.AtMS, ReceivedMS: c.ReceivedMS,
	}, true, nil
}

// writeIn returns the write that an encoded change makes to a path of a record.
func writeIn(raw []byte, record ID, p Path) (Write, bool) {
	change := &tandemv1.Change{}
	if proto.Unmarshal(raw, change) != nil {
		return Write{}, false
	}
	for _, rw := range change.GetRecords() {
		if id, _ := IDFromBytes(rw.GetRecord()); id != record {
			continue
		}
		writes, err := writesOf(rw)
		if err != nil {
			return Write{}, false
		}
		if i := slices.IndexFunc(writes, func(w Write) bool { return w.Path == p }); i >= 0 {
			return writes[i], true
		}
	}
	return Write{}, false
}
