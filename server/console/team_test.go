package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// spoken is what is read out alone.
var spoken = regexp.MustCompile(`<span class="sr">[^<]*</span>`)

// cells are the numbers of a row of a table.
func (a answer) cells(tb testing.TB, row string) string {
	tb.Helper()
	m := regexp.MustCompile(`(?s)<th scope="row">` + regexp.QuoteMeta(row) + `</th>(.*?)</tr>`).FindStringSubmatch(a.body)
	if m == nil {
		tb.Fatalf("no row %q at %s:\n%s", row, a.path, a.text())
	}
	return strings.Join(strings.Fields(tags.ReplaceAllString(spoken.ReplaceAllString(m[1], ""), " ")), " ")
}

// A lead sees what is with whom, follows a number to the records of that person alone, and
// compares this week with the last.
func TestTeamPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		// A Wednesday noon of a week to come.
		now := o.now()
		zone := must[*time.Location](t)(time.LoadLocation("America/Chicago"))
		y, m, d := now.In(zone).Date()
		noon := time.Date(y, m, d+7+(int(time.Wednesday)-int(now.In(zone).Weekday())), 12, 0, 0, 0, zone)
		o.pass(noon.Sub(now))
		maya, luis := o.device(o.maya, "Car 12"), o.device(o.luis, "Tablet 3")
		s := o.play(maya)
		o.sync(maya, luis)
		var mine syncengine.ID
		o.edit(luis, func(e *client.Edit) (err error) {
			// A draft of Luis, one follow-up that he has yet to make and one that is nobody's; calls
			// of last week: on Tuesday, and on Friday.
			call, err := e.Create(o.call("T3-9"))
			if err != nil {
				return err
			}
			who, err := e.Create(person("Omar", "Latecomer"))
			if err != nil {
				return err
			}
			if mine, err = e.Create(o.visitOf(call, who, "By the river.")); err != nil {
				return err
			}
			episode, err := e.Create(&tandemv1.Episode{PersonId: new(who.String()), OpenedAt: o.instant(24 * time.Hour), WindowDays: new(uint32(60))})
			if err != nil {
				return err
			}
			if _, err = e.Create(&tandemv1.FollowUp{EpisodeId: new(episode.String()), PersonId: new(who.String()), DueAt: o.instant(-30 * time.Hour), StaffId: new(o.luis.String())}); err != nil {
				return err
			}
			for number, ago := range map[string]time.Duration{"T3-1": 8 * 24 * time.Hour, "T3-2": 5 * 24 * time.Hour, "T3-3": 20 * 24 * time.Hour} {
				old := o.call(number)
				old.DispatchedAt, old.ArrivedAt = o.instant(ago), o.instant(ago)
				if _, err := e.Create(old); err != nil {
					return err
				}
			}
			return nil
		})
		o.sync(luis)
		b := o.signIn(o.lena, "lena.park")
		page := b.get("/console/team").want(t, http.StatusOK, "Maya Ortiz", "Luis Vega", "Not assigned")
		page.never(t, "Dale Hunt", "Nora Elsewhere", "Canaryname", "Fred")
		// Overdue, to come, drafts, unreviewed, episodes, of them ending, referrals by age.
		for who, want := range map[string]string{
			"Maya Ortiz": "1 0 0 1 1 1 1 0 0", "Luis Vega": "0 1 0 0 0 0 0 0 0", "Not assigned": "0 0 0 0 1 0 0 0 0", "All": "1 1 0 1 2 1 1 0 0",
			// This week, last week until Wednesday noon, all of last week.
			"Calls": "2 1 2", "Crisis responses, signed": "1 0 0", "Follow-ups done": "0 0 0", "Referrals connected": "0 0 0",
		} {
			if got := page.cells(t, who); got != want {
				t.Errorf("%s: %s, want %s", who, got, want)
			}
		}
		// A number leads to the records of that person alone.
		b.get("/console/queue?why=whyFollowUp&staff="+o.maya.String()).want(t, http.StatusOK, "Only what is with: Maya Ortiz", "Follow-up overdue", "Rosa Canaryname")
		b.get("/console/queue?staff="+o.luis.String()).want(t, http.StatusOK, "Only what is with: Luis Vega").never(t, "Rosa Canaryname")
		b.get("/console/episodes?staff=none").want(t, http.StatusOK, "Only what is with: Not assigned", "Omar Latecomer").never(t, "Rosa Canaryname")
		b.get("/console/referrals?staff="+o.luis.String()).want(t, http.StatusOK, "Nothing is open.")
		b.get("/console/queue?staff="+s.person.String()).want(t, http.StatusNotFound)

		// Two days on Luis's draft is old and his follow-up overdue; what he signs is unreviewed.
		o.pass(48 * time.Hour)
		b = o.again(b, "lena.park")
		b.get("/console/team").want(t, http.StatusOK)
		if got := b.get("/console/team").cells(t, "Luis Vega"); got != "1 0 1 0 0 0 0 0 0" {
			t.Errorf("two days on: %s", got)
		}
		o.sign(luis, mine)
		o.sync(luis)
		page = b.get("/console/team")
		if got := page.cells(t, "Luis Vega"); got != "1 0 0 1 0 0 0 0 0" {
			t.Errorf("signed: %s", got)
		}
		if got := page.cells(t, "Crisis responses, signed"); got != "2 0 0" {
			t.Errorf("signed crises: %s", got)
		}

		// Nobody else.
		o.signIn(o.fred, "fred.foreign").get("/console/team").want(t, http.StatusOK, "Nora Elsewhere").never(t, "Maya Ortiz", "Luis Vega")
		for login, who := range map[string]syncengine.ID{"dale.hunt": o.dale, "maya.ortiz": o.maya, "ada.admin": o.ada} {
			o.signIn(who, login).get("/console/team").want(t, http.StatusForbidden).never(t, "Luis Vega")
		}
	})
}

// What was done longer ago than the comparison looks back is kept at hand no more.
func TestTeamForgetsWhatWasDone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		o.play(maya)
		lena, login := o.lena, "lena.park"
		done := func() (n int) {
			t.Helper()
			o.signIn(lena, login).get("/console/team").want(t, http.StatusOK)
			err := o.st.ReadDesk(t.Context(), o.org.ID, func(view store.DeskView) error {
				for in := range tandemv1.Compartment_name {
					desk := syncengine.ScopeKey{Compartment: tandemv1.Compartment(in), Owner: syncengine.OwnerTeam, OwnerID: o.night, Open: true}
					// 101 is a call that was taken.
					found, err := view.Load([]syncengine.ScopeKey{desk}, 101, 0, 1<<60)
					if err != nil {
						return err
					}
					for _, k := range found {
						n += k
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := done(); n != 1 {
			t.Fatalf("%d calls at hand, want 1", n)
		}
		o.pass(40 * 24 * time.Hour)
		lena = must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Second Lead", Discipline: "other", Roles: []string{"lead"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}}))
		login = "second.lead"
		o.edit(maya, func(e *client.Edit) error {
			_, err := e.Create(o.call("T4-1"))
			return err
		})
		o.sync(maya)
		if n := done(); n != 1 {
			t.Errorf("%d calls at hand after 40 days, want the new one alone", n)
		}
	})
}

// The audit log has one entry for each time that somebody opens the page, with the programs
// and whether records of a substance use program were counted: what the page then fetches by
// itself is no opening, and a page that nobody has opened cannot be followed unnoted.
func TestTeamIsNotedOnce(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	night, elsewhere := w.programOf(w.night), w.programOf(w.day)
	opens := func(b *browser, follows bool) {
		t.Helper()
		a := must[answer](t)(b.send(t.Context(), http.MethodGet, "/console/team", nil, func(r *http.Request) {
			if follows {
				r.Header.Set(people.FollowHeader, "1")
			}
		}))
		a.want(t, http.StatusOK)
	}
	noted := func(want int, code string, program syncengine.ID) {
		t.Helper()
		all := w.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ)
		if len(all) != want {
			t.Fatalf("%d entries, want %d", len(all), want)
		}
		if e := all[len(all)-1]; e.GetCode() != code || string(e.GetRecords()) != string(program[:]) {
			t.Errorf("noted: %q of %x, want %q of %x", e.GetCode(), e.GetRecords(), code, program[:])
		}
	}
	lena, fred := w.signIn(w.lena, "lena.park"), w.signIn(w.fred, "fred.foreign")
	opens(lena, false)
	for range 3 {
		opens(lena, true)
	}
	noted(1, "team no sud", night)
	opens(fred, true)
	noted(2, "team no sud", elsewhere)
	opens(lena, false)
	noted(3, "team no sud", night)
	// With other records it is another reading.
	maya := w.device(w.maya, "Car 12")
	w.play(maya)
	opens(lena, true)
	noted(3, "team no sud", night)
	w.changeAgency()
	w.playSUD(maya)
	w.sync(maya)
	opens(lena, true)
	noted(4, "team sud", night)
}
