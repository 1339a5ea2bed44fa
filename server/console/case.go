package console

import (
	"cmp"
	"math"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// mostOfCase bounds the records of a case on one page.
const mostOfCase = 400

type caseData struct {
	Page   *web.Page
	Title  string
	Kind   string
	Fields []pair
	Href   string
	// Passed is the address of the accounting of disclosures, of a person.
	Passed string
	Rows   []row
	// Hidden: there are more than are shown.
	More bool
}

// casePage shows a person, or a call, with all that is about them and that the lead may
// see, the newest first.
func (v *visit) casePage() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &caseData{Page: v.page("case", "case/"+id.String())}
	d.Page.Follow = "live"
	if _, err := v.c.workOut(v.ctx(), v.who.Org.ID, v.desks()); err != nil {
		return err
	}
	err = v.look("case", id, func(s *sight) error {
		it := s.see(id)
		if it == nil || it.kind.Name != "person" && it.kind.Name != "incident" {
			return errAbsent
		}
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		s.show(it)
		d.Title, d.Href = s.title(it), "record/"+id.String()
		d.Page.Title = d.Title
		d.Kind = s.c.domain.KindLabel(it.kind.Name, s.lang)
		if it.kind.Name == "person" {
			d.Passed = "disclosures/" + id.String()
		}
		d.Fields = s.fields(it.kind.Name, it.msg)
		items, more, err := s.about(it)
		if err != nil {
			return err
		}
		d.More = more
		for _, one := range items {
			r := s.row(one)
			for _, desk := range s.desks {
				work, err := s.view.WorkOf(desk, one.rec.ID)
				if err != nil {
					return err
				}
				var reasons []int
				for _, w := range work {
					if w.DueMS <= s.now().UnixMilli() {
						reasons = append(reasons, w.Reason)
					}
				}
				r.Badges = append(r.Badges, s.badges(one, reasons)...)
			}
			if one.rec.Lifecycle() == record.Void {
				r.Badges = append(r.Badges, badge{Word: s.code(s.c.domain.FieldCodes(one.kind.Name, "lifecycle"), record.Void)})
			}
			d.Rows = append(d.Rows, r)
			s.show(one)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "case", d)
}

// about returns what is about a record, and about that, the newest first.
func (s *sight) about(it *item) (items []*item, more bool, err error) {
	next, err := s.oneself(it)
	if err != nil {
		return nil, false, err
	}
	seen := map[syncengine.ID]bool{}
	for _, id := range next {
		seen[id] = true
	}
	for hop := 0; hop < 2 && len(next) > 0; hop++ {
		var found []syncengine.ID
		for _, id := range next {
			ids, err := s.view.About(id, math.MaxInt32)
			if err != nil {
				return nil, false, err
			}
			for _, id := range ids {
				if !seen[id] {
					seen[id] = true
					found = append(found, id)
				}
			}
		}
		// Newer records have later ids.
		slices.SortFunc(found, func(a, b syncengine.ID) int { return b.Compare(a) })
		if len(found) > mostOfCase {
			found, more = found[:mostOfCase], true
		}
		s.load(found...)
		s.loadSubjects(found)
		next = nil
		for _, id := range found {
			one := s.see(id)
			if one == nil || one.kind.Name == "person" {
				continue
			}
			items, next = append(items, one), append(next, id)
		}
		if len(items) > mostOfCase {
			more = true
			break
		}
	}
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(whenOf(b), whenOf(a)), cmp.Compare(b.rec.Seq, a.rec.Seq))
	})
	return items[:min(len(items), mostOfCase)], more, nil
}

// oneself are a record and those that were merged into it: all of them are one person.
func (s *sight) oneself(it *item) ([]syncengine.ID, error) {
	ids := []syncengine.ID{it.rec.ID}
	if it.kind.Name != "person" {
		return ids, nil
	}
	for i := 0; i < len(ids) && len(ids) < mostMerged; i++ {
		for _, desk := range s.desks {
			found, err := s.view.Alike(desk, intoKey(ids[i].String()), mostMerged)
			if err != nil {
				return nil, err
			}
			s.load(found...)
			for _, id := range found {
				if one := s.see(id); one != nil && one.rec.Lifecycle() == record.Merged && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids, nil
}
