package export

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// whom are those whom an export is about, whatever kinds of record say so: a case that names
// nobody counts as somebody, and so does an alert card.
type whom map[syncengine.ID]struct{}

// counts reports whether people are counted: where a person exports what names somebody.
func (j *job) counts() bool { return j.rights.p != nil && j.o.Set != SafeHarbor }

// countNamed counts the people of an export before its first byte, where they are counted. It
// settles the period, and without an approver goes no further than to where one is needed. Unless
// there is a period no record is taken apart for it.
func (j *job) countNamed(from source) error {
	if err := j.settle(from); err != nil || !j.counts() {
		return err
	}
	all := whom{}
	count := func(rec *syncengine.StoredRecord) error {
		if err := j.name(all, rec); err != nil {
			return err
		}
		return j.approved(all)
	}
	var err error
	if j.period != nil {
		err = j.look(from, func(_ []*table, r *row) error { return count(r.rec) })
	} else {
		err = from.EachOf(nil, func(rec *syncengine.StoredRecord) error {
			if ok, err := j.admits(rec); err != nil || !ok {
				return err
			}
			return count(rec)
		})
		j.left = LeftOut{}
	}
	if err != nil {
		return err
	}
	return j.approved(all)
}

// settle notes who is in the period, where there is one.
func (j *job) settle(from source) error {
	if j.period == nil {
		return nil
	}
	if err := j.look(from, j.period.note); err != nil {
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
func (j *job) name(all whom, rec *syncengine.StoredRecord) error {
	kind := j.domain.Kind(rec.Kind)
	if in := kind.Compartment; in == tandemv1.Compartment_COMPARTMENT_REF || in == tandemv1.Compartment_COMPARTMENT_OPS && kind.Name != "alert_card" {
		return nil
	}
	id := j.personIn(rec, kind)
	if id.IsZero() {
		var err error
		if id, err = j.caseOf(&rec.Record); err != nil {
			return err
		}
	}
	all[id] = struct{}{}
	return nil
}

// personIn is personOf for a record that is not taken apart.
func (j *job) personIn(rec *syncengine.StoredRecord, kind *syncengine.Kind) (id syncengine.ID) {
	if kind.Name == "person" {
		return rec.ID
	}
	if f := j.domain.NewMessage(rec.Kind).ProtoReflect().Descriptor().Fields().ByName("person_id"); f != nil {
		id, _ = syncengine.ParseID(rec.Text(uint32(f.Number())))
	}
	return id
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
