package export

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// whom are those whom an export is about, whatever kinds of record say so: a case that names
// nobody counts as somebody, and so does an alert card.
type whom map[syncengine.ID]struct{}

// counts reports whether people are counted: where a person exports what names somebody.
func (j *job) counts() bool { return j.rights.p != nil && j.o.Set != SafeHarbor }

// countNamed counts the people of an export before its first byte, where they are counted. It
// settles the period, and without an approver goes no further than to where one is needed.
func (j *job) countNamed(snap *store.Snapshot) error {
	if err := j.settle(snap); err != nil || !j.counts() {
		return err
	}
	all := whom{}
	if err := j.look(snap, func(_ []*table, r *row) error {
		if err := j.name(all, r); err != nil {
			return err
		}
		return j.approved(all)
	}); err != nil {
		return err
	}
	return j.approved(all)
}

// settle notes who is in the period, where there is one.
func (j *job) settle(snap *store.Snapshot) error {
	if j.period == nil {
		return nil
	}
	if err := j.look(snap, j.period.note); err != nil {
		return err
	}
	j.period.settle()
	return nil
}

// approved sets how many people there are, and refuses more than one person may pass on.
func (j *job) approved(all whom) error {
	if j.cut.People = len(all); len(all) > ManyPeople && j.o.Approver.IsZero() {
		return ErrApproval
	}
	return nil
}

// name adds whom a record is about.
func (j *job) name(all whom, r *row) error {
	if in := r.kind.Compartment; in == tandemv1.Compartment_COMPARTMENT_REF || in == tandemv1.Compartment_COMPARTMENT_OPS && r.kind.Name != "alert_card" {
		return nil
	}
	id := personOf(r)
	if id.IsZero() {
		var err error
		if id, err = j.caseOf(&r.rec.Record); err != nil {
			return err
		}
	}
	all[id] = struct{}{}
	return nil
}

// deepest is how far a record may be from the person it is about: an attachment of a note of an
// encounter of somebody, and some more.
const deepest = 8

// caseOf is the person that a record is about by way of others, or the last of them that is no
// call where they lead to nobody.
func (j *job) caseOf(rec *syncengine.Record) (syncengine.ID, error) {
	person, incident := j.domain.KindByName("person").Number, j.domain.KindByName("incident").Number
	for range deepest {
		var next *syncengine.Record
		for _, id := range j.domain.About(rec) {
			about, err := j.rights.look(id)
			if err != nil {
				return rec.ID, err
			}
			if about != nil && about.Kind == person {
				return id, nil
			}
			if about != nil && about.Kind != incident && id != rec.ID && next == nil {
				next = about
			}
		}
		if next == nil {
			break
		}
		rec = next
	}
	return rec.ID, nil
}
