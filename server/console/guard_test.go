package console_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

// acts are the audit entries of a person, with what they are about.
func (o *office) acts(person syncengine.ID) (acts []string) {
	o.tb.Helper()
	err := o.st.ReadAudit(o.tb.Context(), o.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(n int64, raw []byte) error {
			line, err := audit.NewLine(n, raw)
			if err == nil && line.Person == person.String() {
				acts = append(acts, strings.TrimSpace(line.Act+" "+line.Code+" "+line.Subject+" "+strings.Join(line.Records, ",")))
			}
			return err
		})
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return acts
}

// Every page that shows a record, every list and every refusal is an entry of the audit log.
func TestReadsAreNoted(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	b := o.signIn(o.lena, "lena.park")
	noted := func(what ...string) bool {
		return slices.ContainsFunc(o.acts(o.lena), func(act string) bool {
			return !slices.ContainsFunc(what, func(w string) bool { return !strings.Contains(act, w) })
		})
	}
	for page, want := range map[string][]string{
		"queue": {"CONSOLE_LISTED queue", s.visit.String()}, "record/" + s.note.String(): {"CONSOLE_READ record " + s.note.String()},
		"case/" + s.person.String(): {"CONSOLE_READ case " + s.person.String(), s.referral.String()},
		"episodes":                  {"CONSOLE_LISTED episodes", s.episode.String()}, "referrals": {"CONSOLE_LISTED referrals", s.referral.String()},
	} {
		if noted(want...) {
			t.Errorf("%s was noted before it was opened", page)
		}
		b.get("/console/"+page).want(t, http.StatusOK)
		if !noted(want...) {
			t.Errorf("%s was not noted: %q", page, o.acts(o.lena))
		}
	}
	b.get("/console/record/"+s.private.String()).want(t, http.StatusNotFound)
	if !noted("REFUSED console record " + s.private.String()) {
		t.Errorf("a refusal was not noted: %q", o.acts(o.lena))
	}
	o.refuse(s)
	list := b.get("/console/quarantine").want(t, http.StatusOK, "Note")
	if !noted("QUARANTINE_READ quarantine") {
		t.Errorf("the list of what was not accepted was not noted: %q", o.acts(o.lena))
	}
	_, change, _ := strings.Cut(list.body, `href="quarantine/`)
	change = change[:26]
	b.get("/console/quarantine/"+change).want(t, http.StatusOK)
	if !noted("QUARANTINE_READ quarantine " + change) {
		t.Errorf("what was not accepted was read, and not noted: %q", o.acts(o.lena))
	}
	rec := b.get("/console/record/" + s.visit.String())
	b.post("/console/record/"+s.visit.String()+"/review", "hash", rec.value(t, "hash"), "state", rec.value(t, "state"), "decision", "approved").want(t, http.StatusOK)
	if !noted("CHANGED create") {
		t.Errorf("a decision was not noted: %q", o.acts(o.lena))
	}
}

// Pages are kept nowhere, run no script but ours, and take no form of another site.
func TestGuard(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	b := o.signIn(o.lena, "lena.park")
	a := b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK)
	for header, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"} {
		if got := a.head.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if policy := a.head.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	form := map[string][]string{"hash": {a.value(t, "hash")}, "state": {a.value(t, "state")}, "decision": {"approved"}}
	for name, set := range map[string]func(*http.Request){
		"another origin": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"another site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		if got := must[answer](t)(b.send(t.Context(), http.MethodPost, "/console/record/"+s.visit.String()+"/review", form, set)); got.status != http.StatusForbidden {
			t.Errorf("a form of %s: %d", name, got.status)
		}
	}
	b.get("/console/queue").want(t, http.StatusOK, "Unreviewed")
	b.post("/signin/out")
	if got := b.get("/console/queue"); got.path != "/signin" {
		t.Errorf("after signing out: %d at %s", got.status, got.path)
	}
}

// A page that follows hears of what its person may see and of nothing else, and keeps no
// session alive.
func TestFollow(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya, nora := o.device(o.maya, "Car 12"), o.device(o.nora, "Elsewhere 1")
	s := o.play(maya)
	b := o.signIn(o.lena, "lena.park")
	follow := func(at string, within time.Duration) (string, bool) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		a, err := b.send(ctx, http.MethodGet, "/console/live?at="+at, nil, func(r *http.Request) { r.Header.Set("Tandem-Follow", "1") })
		if err != nil {
			return at, false
		}
		if m := mark.FindStringSubmatch(a.body); m != nil {
			return m[1], true
		}
		t.Fatalf("%d: %s", a.status, a.body)
		return "", false
	}
	at, _ := follow("x", time.Minute)
	elsewhere := func() {
		o.edit(nora, func(e *client.Edit) error {
			_, err := e.Create(person("Not", "Hers"))
			return err
		})
		o.sync(nora)
	}
	elsewhere()
	if next, told := follow(at, 700*time.Millisecond); told {
		t.Errorf("a commit elsewhere was told: %s", next)
	}
	told := make(chan string, 1)
	go func() {
		next, _ := follow(at, time.Minute)
		told <- next
	}()
	o.sign(maya, s.note)
	o.sync(maya)
	if next := <-told; next == at {
		t.Error("what a device has sent was not told")
	}
	// A page that follows for an hour is no person at the desk.
	o.pass(10 * time.Minute)
	at, _ = follow("x", time.Minute)
	o.pass(10 * time.Minute)
	if a := b.get("/console/queue"); a.path != "/signin" {
		t.Errorf("after 20 minutes without a hand: %d at %s", a.status, a.path)
	}
}

// What was not accepted is applied, written again or closed by the lead whose team it is
// of, and by nobody else.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	b, fred := o.signIn(o.lena, "lena.park"), o.signIn(o.fred, "fred.foreign")
	change := func() string {
		a := b.get("/console/quarantine").want(t, http.StatusOK, "Note")
		_, rest, ok := strings.Cut(a.body, `href="quarantine/`)
		if !ok {
			t.Fatal(a.text())
		}
		return rest[:26]
	}
	for _, how := range []string{"release", "replace", "dismiss"} {
		note := o.refuse(s)
		id := change()
		page := b.get("/console/quarantine/"+id).want(t, http.StatusOK, "Luis Vega", "shut out")
		if !strings.Contains(page.body, "Canarylate") {
			t.Errorf("the words are not there: %s", page.body)
		}
		fred.get("/console/quarantine").want(t, http.StatusOK, "Everything was accepted").never(t, "Canarylate")
		fred.get("/console/quarantine/"+id).want(t, http.StatusNotFound).never(t, "Canarylate")
		fred.post("/console/quarantine/"+id+"/"+how, "reason", "mine").want(t, http.StatusNotFound)
		if !strings.Contains(page.body, `name="0.text"`) {
			t.Fatalf("the words cannot be written anew:\n%s", page.body)
		}
		switch how {
		case "release":
			b.post("/console/quarantine/"+id+"/release").want(t, http.StatusOK, "Applied", "Everything was accepted")
			b.get("/console/record/"+note.String()).want(t, http.StatusOK, "Canarylate: written before", "Luis Vega")
		case "replace":
			// A lead writes no case note; the words are not lost for that.
			a := b.post("/console/quarantine/"+id+"/replace", "0.text", "Canarycorrected words.")
			if a.status != http.StatusUnprocessableEntity {
				t.Errorf("a lead writes what only a clinician may: %d %s", a.status, a.text())
			}
			b.post("/console/quarantine/"+id+"/dismiss").want(t, http.StatusUnprocessableEntity, "Say why")
			b.post("/console/quarantine/"+id+"/dismiss", "reason", "tidied").want(t, http.StatusOK)
		case "dismiss":
			b.post("/console/quarantine/"+id+"/dismiss", "reason", "It stands elsewhere.").want(t, http.StatusOK, "Its author is told why", "Everything was accepted")
			b.get("/console/record/"+note.String()).want(t, http.StatusNotFound)
		}
	}
}

// A lead of the same program whose team is another one sees nothing of a substance use
// program that is not theirs, nor of the team next door.
func TestTeamNextDoor(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	var program syncengine.ID
	if err := o.st.Read(t.Context(), o.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(o.night)
		if err == nil {
			program, err = syncengine.ParseID(rec.Text(syncengine.FieldProgram))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	next := must[syncengine.ID](t)(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Weekend", Program: program}))
	olga := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Next", Discipline: "supervisor", Roles: []string{"lead"}, Agency: o.clinic, Teams: []syncengine.ID{next}}))
	b := o.signIn(olga, "olga.next")
	for _, page := range []string{"queue", "episodes", "referrals", "quarantine", "case/" + s.person.String(), "record/" + s.visit.String(), "record/" + s.call.String()} {
		b.get("/console/"+page).never(t, canaries...)
	}
	// Moved to the team, she reads it: rights are those of now.
	if _, err := o.admin.Change(t.Context(), o.ada, func(c *server.Composer) error {
		rec, msg, err := c.Record(olga)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Staff)
		m.TeamIds = []string{o.night.String()}
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	}); err != nil {
		t.Fatal(err)
	}
	b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK, "Canarynarrative")
}
