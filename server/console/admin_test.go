package console_test

import (
	"bytes"
	"encoding/base64"
	"html"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

var (
	onceCode = regexp.MustCompile(`<p class="code"><b>([^<]+)</b>`)
	options  = regexp.MustCompile(`<option value="([^"]*)"[^>]*>([^<]*)<`)
	links    = regexp.MustCompile(`href="staff/([0-9A-Z]{26})"[^>]*>(?:<[^>]*>)*([^<]*)<`)
)

// option is the code of the choice that says something.
func (a answer) option(tb testing.TB, says string) string {
	tb.Helper()
	for _, m := range options.FindAllStringSubmatch(a.body, -1) {
		if m[2] == says {
			return m[1]
		}
	}
	tb.Fatalf("%s offers no %q: %s", a.path, says, a.text())
	return ""
}

// An admin sets up a program and a team, takes somebody on, gives a code for a device and
// one for an account; both work. Then the person is shut out, and neither works any more.
func TestAdminSetsUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		b := o.signIn(o.ada, "ada.admin")
		b.get("/console/setup").want(t, http.StatusOK, "Example Health", "Co-response", "Night").never(t, "Riverside")
		b.post("/console/setup/program", "en", "Riverside", "es", "Ribera", "model", "mct").want(t, http.StatusOK, "Riverside")
		program := b.get("/console/setup").option(t, "Riverside")
		b.post("/console/setup/team", "name", "Days by the river", "shift", "08-16", "program", program).want(t, http.StatusOK, "Days by the river", "08-16")
		b.post("/console/setup/team", "name", "Nowhere", "program", o.maya.String()).want(t, http.StatusBadRequest)
		b.get("/console/setup").never(t, "Nowhere")

		page := b.get("/console/staff").want(t, http.StatusOK, "Maya Ortiz")
		team := regexp.MustCompile(`name="teams" value="([^"]*)"[^>]*><span>Days by the river`).FindStringSubmatch(page.body)
		if team == nil {
			t.Fatalf("the new team cannot be chosen: %s", page.text())
		}
		b.post("/console/staff", "name", "Nia Newly", "discipline", "counselor").want(t, http.StatusUnprocessableEntity, "needs a role")
		b.post("/console/staff", "name", "Nia Newly", "discipline", "counselor", "roles", "clinician", "roles", "le_partner").want(t, http.StatusUnprocessableEntity, "no other role")
		b.get("/console/staff").never(t, "Nia Newly")
		var nia string
		for _, m := range links.FindAllStringSubmatch(b.post("/console/staff", "name", "Nia Newly", "discipline", "counselor", "roles", "clinician", "teams", team[1]).want(t, http.StatusOK, "Nia Newly").body, -1) {
			if m[2] == "Nia Newly" {
				nia = m[1]
			}
		}
		at := "/console/staff/" + nia
		page = b.get(at).want(t, http.StatusOK, "Nia Newly")
		set := []string{"name", "Nia Newly", "discipline", "social_worker", "roles", "clinician", "teams", team[1], "trained", "2025-03-14"}
		b.post(at, append(set, "hash", "0")...).want(t, http.StatusConflict)
		b.post(at, append(set, "hash", page.value(t, "hash"))...).want(t, http.StatusOK)
		b.get("/console/staff").want(t, http.StatusOK, "CIT 2025-03-14")

		// The codes work.
		page = b.post(at+"/device", "label", "Tablet 9").want(t, http.StatusOK, "never again")
		dev := must[*client.Client](t)(client.Open(t.Context(), filepath.Join(t.TempDir(), "store"), client.Options{Timezone: "America/Chicago", Version: "test", Now: o.now}))
		defer dev.Close()
		// The picture beside it says the same, and where.
		drawn := must[*image.Paletted](t)(web.QR(o.tls.URL+"/#enroll="+page.once(t), 6))
		var picture bytes.Buffer
		if err := png.Encode(&picture, drawn); err != nil {
			t.Fatal(err)
		}
		if want := `<img src="data:image/png;base64,` + base64.StdEncoding.EncodeToString(picture.Bytes()) + `" alt="The same code`; !strings.Contains(html.UnescapeString(page.body), want) {
			t.Error("the page has no QR code of the code and the address")
		}
		if err := dev.Enroll(t.Context(), o.url, page.once(t)); err != nil {
			t.Fatal(err)
		}
		o.sync(dev)
		b.get("/console/devices").want(t, http.StatusOK, "Tablet 9", "Nia Newly")
		b.post(at+"/account", "login", "x").want(t, http.StatusUnprocessableEntity, "login")
		page = b.post(at+"/account", "login", "nia.newly").want(t, http.StatusOK, "nia.newly")
		nb := o.stranger()
		nb.post("/signin/begin", "login", "nia.newly", "code", page.once(t), "new", passphrase, "again", passphrase)
		signIn := func() answer {
			nb = o.stranger()
			return nb.post("/signin", "login", "nia.newly", "passphrase", passphrase)
		}
		signIn().want(t, http.StatusOK, "You are signed in as Nia Newly")
		// A clinician has no console; that they are signed in is what counts.
		nb.get("/console/queue").want(t, http.StatusForbidden)
		b.post(at+"/sessions").want(t, http.StatusOK)
		if a := nb.get("/console/queue"); a.path != "/signin" {
			t.Errorf("after the sessions were ended: %d at %s", a.status, a.path)
		}

		// Not by a press alone, nor by another agency's admin; what it means is said before.
		b.get(at+"?act=revoke").want(t, http.StatusOK, "so does work on all of their devices", "Tablet 9")
		for _, code := range []string{"", "000000"} {
			b.post(at+"/revoke", "code", code).want(t, http.StatusForbidden, "The code is not right", "Tablet 9")
		}
		signIn().want(t, http.StatusOK, "You are signed in as Nia Newly")
		olga := o.signIn(must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: must[syncengine.ID](t)(o.agencyOf(o.fred)), Teams: []syncengine.ID{o.day}})), "olga.other")
		if a := olga.post(at+"/revoke", "code", olga.code()); a.status != http.StatusForbidden {
			t.Errorf("another agency's admin shuts them out: %d", a.status)
		}
		b.post(at+"/revoke", "code", b.code()).want(t, http.StatusOK, "This person is shut out, with all their devices.").never(t, "Give a code")
		b.post(at+"/revoke", "code", b.code()).want(t, http.StatusConflict, "This person is shut out.")
		if acts := o.acts(o.ada); !slices.Contains(acts, "REVOKED  "+nia) {
			t.Errorf("the audit log has %q", acts)
		}
		signIn().never(t, "You are signed in")
		o.edit(dev, func(e *client.Edit) error {
			_, err := e.Create(person("Nobody", "Afterwards"))
			return err
		})
		if moved, err := dev.Sync(t.Context()); err != nil || moved.NotAccepted != 1 {
			t.Errorf("who was shut out sends: %+v, %v", moved, err)
		}

		// What is not the agency's own, and the admin's own rights, are not theirs to change.
		for _, who := range []syncengine.ID{o.fred, o.ada} {
			for _, act := range []string{"device", "account", "sessions", "revoke"} {
				if a := b.post("/console/staff/"+who.String()+"/"+act, "label", "Mine", "login", "mine.now"); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
					t.Errorf("an admin may %s: %d %s", act, a.status, a.text())
				}
			}
		}
		foreign := b.get("/console/staff/" + o.fred.String())
		b.post("/console/staff/"+o.fred.String(), "hash", foreign.value(t, "hash"), "name", "Fred Taken", "discipline", "supervisor", "roles", "admin").want(t, http.StatusForbidden)
		own := b.get("/console/staff/" + o.ada.String())
		b.post("/console/staff/"+o.ada.String(), "hash", own.value(t, "hash"), "name", "Ada Admin", "discipline", "other", "roles", "lead", "teams", o.night.String()).want(t, http.StatusOK)
		b.get("/console/queue").want(t, http.StatusForbidden)
	})
}

// once is the one-time code that a page shows.
func (a answer) once(tb testing.TB) string {
	tb.Helper()
	m := onceCode.FindStringSubmatch(a.body)
	if m == nil {
		tb.Fatalf("no code: %s", a.text())
	}
	return m[1]
}

// A lead gives a follow-up to somebody of the team, takes a closed episode up again, and
// settles what two devices have written.
func TestLeadActs(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya, luis := o.device(o.maya, "Car 12"), o.device(o.luis, "Tablet 3")
	s := o.play(maya)
	b := o.signIn(o.lena, "lena.park")

	at := "/console/record/" + s.follow.String()
	page := b.get(at).want(t, http.StatusOK)
	for _, who := range []syncengine.ID{o.dale, o.nora, o.lena, s.person} {
		b.post(at+"/assign", "hash", page.value(t, "hash"), "staff", who.String()).want(t, http.StatusBadRequest)
	}
	b.post(at+"/assign", "hash", page.value(t, "hash"), "staff", page.option(t, "Luis Vega")).want(t, http.StatusOK, "Luis Vega")
	o.sync(luis)
	if m, _ := must[*client.View](t)(luis.Get(t.Context(), s.follow)).Message.(*tandemv1.FollowUp); m.GetStaffId() != o.luis.String() {
		t.Errorf("the device of whom it was given to says %q", m.GetStaffId())
	}

	at = "/console/record/" + s.episode.String()
	if err := o.closeEpisode(s.episode); err != nil {
		t.Fatal(err)
	}
	page = b.get(at).want(t, http.StatusOK)
	b.post(at+"/reopen", "hash", page.value(t, "hash")).want(t, http.StatusBadRequest)
	b.post(at+"/reopen", "hash", page.value(t, "hash"), "reason", "She called again.").want(t, http.StatusOK, "She called again.")
	o.sync(maya)
	if m, _ := must[*client.View](t)(maya.Get(t.Context(), s.episode)).Message.(*tandemv1.Episode); m.GetLifecycle() != "active" || m.GetCloseReason() != "" {
		t.Errorf("the device says %s, closed for %q", m.GetLifecycle(), m.GetCloseReason())
	}
	if err := o.closeEpisode(s.episode); err != nil {
		t.Fatal(err)
	}
	page = b.get(at).want(t, http.StatusOK)
	o.pass(20 * 24 * time.Hour)
	b = o.stranger()
	b.post("/signin", "login", "lena.park", "passphrase", passphrase)
	b.post(at+"/reopen", "hash", page.value(t, "hash"), "reason", "Too late.").want(t, http.StatusUnprocessableEntity, "open a new episode")

	o.clash(maya, luis, s.person, "12 Elm St, ring", "12 Elm St, knock")
	at = "/console/record/" + s.person.String()
	page = b.get(at).want(t, http.StatusOK, "12 Elm St, ring", "12 Elm St, knock")
	form := []string{"number", page.value(t, "number"), "key", page.value(t, "key"), "stamp", "write"}
	b.post(at+"/settle", append(form, "hash", "0", "value", "12 Elm St, both")...).want(t, http.StatusConflict)
	form = append(form, "hash", page.value(t, "hash"))
	b.post(at+"/settle", append(form, "value", "")...).want(t, http.StatusBadRequest)
	a := b.post(at+"/settle", append(form, "value", "12 Elm St, both")...).want(t, http.StatusOK, "Settled", "12 Elm St, both")
	if strings.Contains(a.body, `class="sides"`) {
		t.Error("the conflict is there still")
	}
}

// closeEpisode closes an episode as its lead does.
func (o *office) closeEpisode(id syncengine.ID) error {
	_, err := o.admin.Change(o.tb.Context(), o.lena, func(c *server.Composer) error {
		rec, msg, err := c.Record(id)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Episode)
		m.Lifecycle, m.CloseReason, m.ClosedAt = new("closed"), new("no_longer_needs_support"), o.instant(0)
		return c.Write(rec, tandemv1.Act_ACT_CLOSE, m, "")
	})
	return err
}

// The picture of a code names the address under which devices reach the server, and not the
// one under which the console happens to be looked at.
func TestCodePictureAddress(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	const origin = "https://tandem.example.org"
	srv := must[*server.Server](t)(server.New(o.st, server.Options{
		Origin: origin, Log: zerolog.Nop(), Clock: o.now, People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Console: func(s *server.Server) (http.Handler, error) {
			return console.New(s, o.st, console.Options{Log: zerolog.Nop(), Clock: o.now})
		},
	}))
	o.tls.Close()
	o.tls = httptest.NewTLSServer(srv)
	t.Cleanup(srv.End)
	a := o.signIn(o.ada, "ada.admin").post("/console/staff/"+o.maya.String()+"/device", "label", "Car 12").want(t, http.StatusOK, "Code for a device")
	code := regexp.MustCompile(`<p class="code"><b>([^<]*)</b>`).FindStringSubmatch(a.body)
	if code == nil {
		t.Fatal("no code")
	}
	var want bytes.Buffer
	if err := png.Encode(&want, must[*image.Paletted](t)(web.QR((&server.Code{Code: code[1]}).Invitation(origin), 6))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(html.UnescapeString(a.body), base64.StdEncoding.EncodeToString(want.Bytes())) {
		t.Error("the picture names another address")
	}
}

// The menu marks the page that is shown, or the place that it belongs to; and each list of
// codes has a name in the language of the page.
func TestMenu(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	b.lang = "es"
	form := b.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK).path
	marked := regexp.MustCompile(`<a href="([^"]*)" aria-current="([^"]*)"`)
	for path, want := range map[string]string{
		"/console/staff": "staff page", "/console/staff/" + o.maya.String(): "staff true", form: "forms true", form + "/item?link=1": "forms true", "/console/codes": "forms true",
		"/console/jobs": "jobs page", "/console/backups": "jobs true", "/console/retention": "jobs true", "/console/purges": "jobs true", "/console/publish": "outcomes true", "/console/nowhere": "",
	} {
		var got strings.Builder
		for _, m := range marked.FindAllStringSubmatch(b.get(path).body, -1) {
			got.WriteString(m[1] + " " + m[2])
		}
		if got.String() != want {
			t.Errorf("%s: the menu marks %q, want %q", path, got.String(), want)
		}
	}
	page := b.get("/console/codes")
	if options := regexp.MustCompile(`(?s)name="list">.*?</select>`).FindString(page.body); !strings.Contains(options, "Tipos de llamada") || strings.Contains(options, ">list.") || strings.Count(options, "<option") != 8 {
		t.Errorf("the lists are %s", options)
	}
}
