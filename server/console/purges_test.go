package console_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

// serverActs are the entries of the audit log that nobody is the author of.
func (o *office) serverActs(act string) (n int) {
	o.tb.Helper()
	if err := o.st.ReadAudit(o.tb.Context(), o.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(i int64, raw []byte) error {
			line, err := audit.NewLine(i, raw)
			if err == nil && line.Person == "" && line.Act == act {
				n++
			}
			return err
		})
	}); err != nil {
		o.tb.Fatal(err)
	}
	return n
}

// secondAdmin is another admin of the clinic.
func (o *office) secondAdmin() syncengine.ID {
	o.tb.Helper()
	return must[syncengine.ID](o.tb)(o.admin.AddStaff(o.tb.Context(), server.StaffOptions{Name: "Bea Second", Discipline: "other", Roles: []string{"admin"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}}))
}

// Each day the server says what may be purged, and removes nothing by that; one admin asks,
// and another one approves in a session of their own with a code of their own. Nobody
// approves their own, and nobody of another agency or role sees it. A job does what was
// approved, and the page is its certificate.
func TestPurgePage(t *testing.T) { storetest.Each(t, testPurgePage) }

func testPurgePage(t *testing.T, on storetest.Engine) {
	t.Parallel()
	w := newWhole(t, on)
	maya := w.device(w.maya, "Car 12")
	gone, _ := w.somebody(maya, "Gus", "Goneaway")
	w.sync(maya)
	ada, bea := w.signIn(w.ada, "ada.admin"), w.signIn(w.secondAdmin(), "bea.second")
	fred := w.signIn(w.fred, "fred.foreign")
	ada.get("/console/purges").want(t, http.StatusOK, "Not counted yet.", "None was asked for.").never(t, "Ask for a purge")
	w.work()
	ada.get("/console/purges").want(t, http.StatusOK, "0 people and 0 calls, 0 records").never(t, "Ask for a purge")
	if n := w.serverActs("PURGE_PROPOSED"); n != 0 {
		t.Errorf("%d proposals of nothing", n)
	}
	w.pass(10 * 366 * 24 * time.Hour)
	ada.back("ada.admin")
	bea.back("bea.second")
	fred.back("fred.foreign")
	w.work()
	w.sync(maya)
	if !holds(t, maya, gone) {
		t.Fatal("something was removed by time alone")
	}
	if n := w.serverActs("PURGE_PROPOSED"); n != 1 {
		t.Errorf("%d proposals", n)
	}
	ada.get("/console/jobs").want(t, http.StatusOK, "May be purged: 1 people and 0 calls, 2 records.")
	ada.get("/console/purges").want(t, http.StatusOK, "1 people and 0 calls, 2 records", "Ask for a purge").never(t, "Goneaway")
	fred.get("/console/purges").want(t, http.StatusForbidden)
	ada.post("/console/purges", "reason", "short").want(t, http.StatusUnprocessableEntity, "10 to 300 characters")
	at := ada.post("/console/purges", "reason", "past its retention").want(t, http.StatusOK, "Asked for.", "Waits for a second admin").path
	ada.post("/console/purges", "reason", "past its retention").want(t, http.StatusConflict, "open already")

	// Nobody's own, nobody else's, and not without a code.
	ada.get(at).want(t, http.StatusOK, "Refuse the purge").never(t, "Approve the purge")
	ada.post(at, "act", "approve", "code", ada.code()).want(t, http.StatusConflict, "somebody else than whoever asked")
	bea.post(at, "act", "approve", "code", "000000").want(t, http.StatusForbidden, "The code is not right")
	fred.post(at, "act", "approve", "code", "000000").want(t, http.StatusForbidden)
	w.work()
	w.sync(maya)
	if !holds(t, maya, gone) {
		t.Fatal("something was removed that nobody has approved")
	}
	bea.get(at+"?act=approve").want(t, http.StatusOK, "They cannot be brought back")
	bea.post(at, "act", "refuse", "code", bea.code()).want(t, http.StatusOK, "Nothing was removed.", "Refused")
	at = ada.post("/console/purges", "reason", "past its retention, again").want(t, http.StatusOK, "Asked for.").path
	bea.post(at, "act", "approve", "code", bea.code()).want(t, http.StatusOK, "Approved. The server is doing it.", "under way")
	// While a job does it, nobody has another one do it, and nothing is noted.
	cleo := w.signIn(must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Cleo Third", Discipline: "other", Roles: []string{"admin"}, Agency: w.clinic, Teams: []syncengine.ID{w.night}})), "cleo.third")
	w.pass(8 * 24 * time.Hour)
	ada.back("ada.admin")
	bea.back("bea.second")
	cleo.back("cleo.third")
	cleo.get(at).want(t, http.StatusOK, "under way").never(t, "Approve the purge")
	for _, b := range []*browser{bea, cleo} {
		b.post(at, "act", "approve", "code", b.code()).want(t, http.StatusConflict, "does not wait for a decision")
	}
	jobs := 0
	if err := w.st.Jobs(t.Context(), w.org.ID, "purge", 10, func(*store.Job) error { jobs++; return nil }); err != nil || jobs != 1 {
		t.Errorf("%d jobs, %v", jobs, err)
	}
	w.work()
	ada.get(at).want(t, http.StatusOK, "Done", "Records erased", "Bea Second", "past its retention, again").never(t, "Goneaway")
	w.sync(maya)
	if holds(t, maya, gone) {
		t.Error("a device still has what was purged")
	}
	bea.post(at, "act", "approve", "code", bea.code()).want(t, http.StatusConflict, "does not wait for a decision")
	if acts := w.acts(w.ada); !slices.ContainsFunc(acts, func(a string) bool { return strings.HasPrefix(a, "PURGE_ASKED") }) {
		t.Errorf("the audit log has %q", acts)
	}
	bea.lang = "es"
	bea.get(at).want(t, http.StatusOK, "Registros borrados", "Hecha")
}

// The way of a second admin through a purge, by keyboard; screenshots of it.
func TestPurgesLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name string
		dark bool
		size [2]int64
	}{{"console-phone-dark-es-", true, browsertest.Phone}, {"console-laptop-light-en-", false, browsertest.Laptop}} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, storetest.SQLite)
			maya := w.device(w.maya, "Car 12")
			w.somebody(maya, "Gus", "Goneaway")
			w.sync(maya)
			w.pass(10 * 366 * 24 * time.Hour)
			w.work()
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			secret := w.adminSits(b)
			word := func(en, es string) string {
				if l.dark {
					return es
				}
				return en
			}
			if l.dark {
				b.Goes("Español")
				b.Goes("Oscuro o claro")
			}
			b.Page("purges")
			b.Look("purges")
			bea := w.signIn(w.secondAdmin(), "bea.second")
			bea.post("/console/purges", "reason", "past its retention").want(t, http.StatusOK, "Asked for.")
			b.Page("purges")
			b.PressGoes(word("1 people, 0 calls, 2 records", "1 personas, 0 llamadas, 2 registros"))
			b.PressGoes(word("Approve the purge", "Aprobar la purga"))
			b.Look("purge-approve")
			w.pass(time.Minute)
			b.Press("code", kb.End)
			b.Keys(totp(secret, w.now()))
			b.Keys(kb.Enter)
			b.Says(word("Approved.", "Aprobada."))
			w.work()
			b.Page(browsertest.Eval[string](b, `location.pathname.replace("/console/", "")`))
			b.Look("purge-done")
		})
	}
}
