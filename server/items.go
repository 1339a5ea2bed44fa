package server

import (
	"context"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Item is a work item that a lead may see: that something about a record asks for a
// person, and why. It holds no values.
type Item struct {
	store.WorkItem

	// RecordKind is the kind of the record, nil where this version does not know it.
	RecordKind *syncengine.Kind
	// EN and ES say what is asked.
	EN, ES string
}

// Items returns the work items about records that a member of staff leads: they are a
// lead, and hold a scope of the record. Open ones only, or all, in the order in which
// they were opened.
func (a *Admin) Items(ctx context.Context, as syncengine.ID, openOnly bool) (out []Item, err error) {
	all, err := a.store.Items(ctx, a.org.ID, openOnly)
	if err != nil {
		return nil, err
	}
	engine, domain := a.engine(), record.New()
	err = a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error {
		p, err := a.staff(engine, view, as)
		if err != nil {
			return err
		}
		if !domain.Supervises(p) {
			return nil
		}
		held := map[syncengine.ScopeKey]bool{}
		for _, k := range domain.Grants(view.Org(), p) {
			held[k] = true
		}
		for _, w := range all {
			rec, err := view.Record(w.Record)
			if err != nil {
				return err
			}
			if rec == nil || !reaches(held, rec.Scopes) {
				continue
			}
			item := Item{WorkItem: w, RecordKind: domain.Kind(rec.Kind)}
			item.EN, item.ES = domain.ItemWords(w.Kind, rec.Kind)
			out = append(out, item)
		}
		return nil
	})
	return out, err
}

// reaches reports whether one of the scopes is held.
func reaches(held map[syncengine.ScopeKey]bool, scopes []syncengine.ScopeKey) bool {
	for _, s := range scopes {
		if held[s] {
			return true
		}
	}
	return false
}
