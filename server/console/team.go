package console

import (
	"cmp"
	"math"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// nobody is how an address names the work that is nobody's.
const nobody = "none"

// ofStaff is whose work alone a page is asked for, nil for everybody's, and the name.
func (s *sight) ofStaff() (of *syncengine.ID, name string, err error) {
	switch text := s.r.URL.Query().Get("staff"); text {
	case "":
		return nil, "", nil
	case nobody:
		return &syncengine.ID{}, s.t("notAssigned"), nil
	default:
		it := s.seeText(text)
		if it == nil || it.kind.Name != "staff" {
			return nil, "", errAbsent
		}
		return &it.rec.ID, s.title(it), nil
	}
}

// andStaff is the part of an address that keeps to the work of one person.
func (*sight) andStaff(of *syncengine.ID) string {
	switch {
	case of == nil:
		return ""
	case of.IsZero():
		return "&staff=" + nobody
	}
	return "&staff=" + of.String()
}

// loads are the columns of the load: what is counted, between which times as days from now,
// and where it is looked at.
var loads = []struct {
	key       string
	reason    int
	from, end int64
	href      string
	bad       bool
}{
	{"loadOverdue", followUp, -forever, 0, "queue?why=whyFollowUp", true},
	{"loadPlanned", followUp, 0, forever, "", false},
	{"loadDrafts", draft, -forever, 0, "queue?why=whyDraft", true},
	{"loadUnreviewed", unreviewed, -forever, forever, "queue?why=whyUnreviewed", false},
	{"loadEpisodes", episode, -forever, forever, "episodes?", false},
	{"loadEnding", episode, -forever, 0, "queue?why=whyEpisode", true},
	{"loadReferrals7", referral, -7, forever, "referrals?", false},
	{"loadReferrals14", referral, -14, -7, "referrals?", false},
	{"loadReferralsOld", referral, -forever, -14, "referrals?", true},
}

// forever is more days than there are.
const forever = math.MaxInt64 / dayMS / 4

// weeks are the rows of the comparison.
var weeks = []struct {
	key    string
	reason int
}{{"weekCalls", didCall}, {"weekCrises", didCrisis}, {"weekFollowUps", didFollowUp}, {"weekReferrals", didReferral}}

type teamData struct {
	Page   *web.Page
	Heads  []string
	Staff  []loadRow
	Total  []loadCell
	Weeks  []weekRow
	From   string
	Behind bool
}

type loadRow struct {
	Name  string
	Cells []loadCell
}

type loadCell struct {
	N    int
	Href string
	Bad  bool
}

type weekRow struct {
	Name string
	// This week so far, Then: last week until the same hour, Last: all of last week.
	This, Then, Last int
}

// team shows a lead what is with whom, and this week beside the last.
func (v *visit) team() error {
	d := &teamData{Page: v.page("navTeam", "team")}
	d.Page.Follow = "live"
	var err error
	if d.Behind, err = v.c.workOut(v.ctx(), v.who.Org.ID, v.desks()); err != nil {
		return err
	}
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_METRICS_READ}
	err = v.look("team", syncengine.ID{}, func(s *sight) error {
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		if e.Records, e.Code, err = s.desksAre(); err != nil {
			return err
		}
		if err := s.loads(d); err != nil {
			return err
		}
		return s.weeks(d)
	})
	if err != nil {
		return err
	}
	e.Count = uint64(len(d.Staff))
	if err = v.noteOpening(e); err != nil {
		return err
	}
	return v.show(200, "team", d)
}

// desksAre are the programs whose desks the page counts, and in a word whether there are
// records of a substance use program among what it counts.
func (s *sight) desksAre() (programs []byte, code string, err error) {
	_, led := s.measured()
	for _, it := range s.reference("program") {
		if led[it.rec.ID.String()] {
			programs = append(programs, it.rec.ID[:]...)
		}
	}
	for k := range s.held {
		if k.Compartment != tandemv1.Compartment_COMPARTMENT_SUD {
			continue
		}
		d, err := s.view.Digest(k)
		if err != nil {
			return nil, "", err
		}
		if d.Total() != (syncengine.Sum{}) {
			return programs, "team sud", nil
		}
	}
	return programs, "team no sud", nil
}

// loads counts what is with whom: each who has something, and whoever takes care of people
// in a team of the lead's.
func (s *sight) loads(d *teamData) error {
	now := s.now().UnixMilli()
	cells := map[syncengine.ID][]loadCell{}
	of := func(id syncengine.ID) []loadCell {
		if cells[id] == nil {
			cells[id] = make([]loadCell, len(loads))
		}
		return cells[id]
	}
	for _, it := range s.reference("staff") {
		if m, ok := it.msg.(*tandemv1.Staff); ok && s.cares(it, m) {
			of(it.rec.ID)
		}
	}
	d.Total = make([]loadCell, len(loads))
	for i, l := range loads {
		d.Heads = append(d.Heads, s.t(l.key))
		// What is due at this very moment is due.
		found, err := s.view.Load(s.desks, l.reason, now+l.from*dayMS+1, now+l.end*dayMS+1)
		if err != nil {
			return err
		}
		for id, n := range found {
			c := &of(id)[i]
			c.N, c.Bad = n, l.bad
			d.Total[i].N += n
			if l.href != "" {
				person := id
				c.Href = l.href + s.andStaff(&person)
			}
		}
	}
	for id, c := range cells {
		row := loadRow{Name: s.staffName(id), Cells: c}
		if id.IsZero() {
			row.Name = s.t("notAssigned")
		}
		d.Staff = append(d.Staff, row)
	}
	slices.SortFunc(d.Staff, func(a, b loadRow) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// cares reports whether somebody works with people in a team of the lead's.
func (s *sight) cares(it *item, m *tandemv1.Staff) bool {
	mine := slices.ContainsFunc(m.GetTeamIds(), func(text string) bool {
		return slices.ContainsFunc(s.p.Teams, func(team syncengine.ID) bool { return team.String() == text })
	})
	return mine && it.rec.Lifecycle() == record.Active && slices.ContainsFunc(m.GetRoles(), func(role string) bool { return role == "clinician" || role == "peer" })
}

// weeks counts what was done since Monday, by the agency's clocks, and in the week before.
func (s *sight) weeks(d *teamData) error {
	now := s.now().In(s.zone)
	y, m, day := now.Date()
	monday := time.Date(y, m, day-(int(now.Weekday())+6)%7, 0, 0, 0, 0, s.zone)
	last := monday.AddDate(0, 0, -7)
	d.From = web.Day(s.lang, monday)
	for _, w := range weeks {
		row := weekRow{Name: s.t(w.key)}
		for _, span := range []struct {
			into      *int
			from, end time.Time
		}{{&row.This, monday, now}, {&row.Then, last, now.AddDate(0, 0, -7)}, {&row.Last, last, monday}} {
			found, err := s.view.Load(s.desks, w.reason, span.from.UnixMilli(), span.end.UnixMilli())
			if err != nil {
				return err
			}
			for _, n := range found {
				*span.into += n
			}
		}
		d.Weeks = append(d.Weeks, row)
	}
	return nil
}
