package console

import (
	"cmp"
	"math"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// mostOnBoard bounds the records of a board.
const mostOnBoard = 500

type boardData struct {
	Page  *web.Page
	Title string
	How   string
	// Of names whose work it is, where it is of one person alone; All is the address of all.
	Of, All string
	Columns []column
	Behind  bool
	More    bool
}

type column struct {
	Title string
	Rows  []row
}

// board shows all records of a reason, due or not, in columns.
func (v *visit) board(d *boardData, name string, reason int, place func(*sight, *item) (at int, r row), columns ...string) error {
	d.Page.Follow, d.All = "live", name
	var err error
	if d.Behind, err = v.c.workOut(v.ctx(), v.who.Org.ID, v.desks()); err != nil {
		return err
	}
	err = v.look(name, syncengine.ID{}, func(s *sight) error {
		of, who, err := s.ofStaff()
		if err != nil {
			return err
		}
		d.Of = who
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		var ids []syncengine.ID
		for _, desk := range s.desks {
			work, err := s.view.Work(desk, store.Asks{Reason: reason, ByMS: math.MaxInt64, Person: of}, mostOnBoard+1)
			if err != nil {
				return err
			}
			for _, w := range work {
				ids = append(ids, w.Record)
			}
		}
		if d.More = len(ids) > mostOnBoard; d.More {
			ids = ids[:mostOnBoard]
		}
		s.load(ids...)
		s.loadSubjects(ids)
		d.Columns = make([]column, len(columns))
		for i, c := range columns {
			d.Columns[i].Title = c
		}
		for _, id := range ids {
			it := s.see(id)
			if it == nil {
				continue
			}
			at, r := place(s, it)
			d.Columns[at].Rows = append(d.Columns[at].Rows, r)
			s.show(it)
		}
		for i := range d.Columns {
			slices.SortStableFunc(d.Columns[i].Rows, func(a, b row) int { return cmp.Compare(a.due, b.due) })
		}
		d.Columns = slices.DeleteFunc(d.Columns, func(c column) bool { return len(c.Rows) == 0 })
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "board", d)
}

// episodes is the board of episodes by the day of their window.
func (v *visit) episodes() error {
	d := &boardData{Page: v.page("navEpisodes", "episodes"), Title: v.t("navEpisodes"), How: v.t("episodesHow")}
	return v.board(d, "episodes", episode, func(s *sight, it *item) (int, row) {
		m, _ := it.msg.(*tandemv1.Episode)
		r := s.row(it)
		opened := openedMS(m, whenOf(it))
		day := int((s.now().UnixMilli() - opened) / dayMS)
		left := int((endsMS(m, whenOf(it))-opened)/dayMS) - day
		r.due = opened
		r.Badges = []badge{{Word: s.dayOf(it, m), Bad: left < 0}}
		if it.rec.Lifecycle() == record.OnHold {
			r.Badges = append(r.Badges, badge{Word: s.code(s.c.domain.FieldCodes("episode", "lifecycle"), record.OnHold)})
		}
		if m.GetExtendedTo() != "" {
			r.Badges = append(r.Badges, badge{Word: sprintf(s.t("extendedTo"), m.GetExtendedTo())})
		}
		if m.GetProposedCloseReason() != "" {
			r.Badges = append(r.Badges, badge{Word: s.t("closeProposed")})
		}
		if due, late := s.nextCall(it); due != "" {
			r.Badges = append(r.Badges, badge{Word: due, Bad: late})
		}
		r.Sub = s.nameOf("staff", m.GetLeadStaffId())
		switch {
		case left < 0:
			return 0, r
		case left <= 5:
			return 1, r
		case left <= 15:
			return 2, r
		case day >= 14:
			return 3, r
		}
		return 4, r
	}, v.t("colOver"), v.t("colLast5"), v.t("colLast15"), v.t("colMiddle"), v.t("colFirst"))
}

// nextCall says when the next planned call of an episode is due.
func (s *sight) nextCall(it *item) (text string, late bool) {
	person := it.rec.Text(personField(it))
	id, err := syncengine.ParseID(person)
	if err != nil {
		return "", false
	}
	ids, err := s.view.About(id, mostOfCase)
	if err != nil {
		s.err = err
		return "", false
	}
	s.load(ids...)
	next := int64(math.MaxInt64)
	for _, id := range ids {
		if one := s.see(id); one != nil {
			if m, ok := one.msg.(*tandemv1.FollowUp); ok && m.GetEpisodeId() == it.rec.ID.String() && one.rec.Lifecycle() == record.Planned && m.GetDueAt().GetAtMs() > 0 {
				next = min(next, m.GetDueAt().GetAtMs())
			}
		}
	}
	if next == math.MaxInt64 {
		return "", false
	}
	return sprintf(s.t("callDue"), web.Day(s.lang, s.at(next))), s.at(next).Before(s.now())
}

// personField is the number of the field that names the person of a record.
func personField(it *item) uint32 {
	if fd := it.msg.ProtoReflect().Descriptor().Fields().ByName("person_id"); fd != nil {
		return uint32(fd.Number())
	}
	return 0
}

// states are those of a referral that is not closed, in the order of its way.
var states = []string{"draft", "offered", "sent", "acknowledged", "accepted", "waitlisted", "scheduled"}

// referrals is the board of referrals by state and age.
func (v *visit) referrals() error {
	d := &boardData{Page: v.page("navReferrals", "referrals"), Title: v.t("navReferrals"), How: v.t("referralsHow")}
	var titles []string
	list := v.c.domain.FieldCodes("referral", "state")
	for _, state := range states {
		titles = append(titles, v.c.domain.Label(list, state, v.lang))
	}
	return v.board(d, "referrals", referral, func(s *sight, it *item) (int, row) {
		m, _ := it.msg.(*tandemv1.Referral)
		r := s.row(it)
		days := int(s.now().Sub(time.UnixMilli(r.due)).Hours() / 24)
		r.Badges = []badge{{Word: sprintf(s.t("daysOld"), days), Bad: days > 14}}
		if m.GetUrgency() == "now" {
			r.Badges = append(r.Badges, badge{Word: s.code(s.c.domain.FieldCodes("referral", "urgency"), "now"), Bad: true})
		}
		r.Sub = join(s.code(s.c.domain.FieldCodes("referral", "need"), m.GetNeed()), s.target(m))
		return max(slices.Index(states, m.GetState()), 0), r
	}, titles...)
}

// target is where a referral leads.
func (s *sight) target(m *tandemv1.Referral) string {
	if m.GetResourceId() != "" {
		return s.nameOf("resource", m.GetResourceId())
	}
	return m.GetTargetText()
}
