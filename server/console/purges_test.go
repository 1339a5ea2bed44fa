package console_test

import (
	"bytes"
	"encoding/json"
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
	cleo := w.signIn(w.thirdAdmin(), "cleo.third")
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
	if n := w.naming(gone); n != 1 {
		t.Errorf("%d proposals name who may be purged, want the newest", n)
	}
	w.work()
	ada.get("/console/purges").want(t, http.StatusOK, "0 people and 0 calls, 0 records", "Done").never(t, "Ask for a purge")
	if n := w.naming(gone); n != 0 {
		t.Errorf("%d proposals name who was purged", n)
	}
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

// naming counts the proposals that hold an id.
func (w *whole) naming(id syncengine.ID) (n int) {
	w.tb.Helper()
	raw := must[[]byte](w.tb)(json.Marshal(id)) //nolint:errchkjson // It is checked.
	if err := w.st.Jobs(w.tb.Context(), w.org.ID, "propose", 200, func(j *store.Job) error {
		if bytes.Contains(j.Result, raw) {
			n++
		}
		return nil
	}); err != nil {
		w.tb.Fatal(err)
	}
	return n
}

// thirdAdmin is one more admin of the clinic.
func (o *office) thirdAdmin() syncengine.ID {
	o.tb.Helper()
	return must[syncengine.ID](o.tb)(o.admin.AddStaff(o.tb.Context(), server.StaffOptions{Name: "Cleo Third", Discipline: "other", Roles: []string{"admin"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}}))
}

// A purge that does not come to its end says so, in the list and on its page: what stands in
// the way, whether the server tries again, and how it goes on where it does not. Any admin but
// who asked has it go on, with their own word in the audit log.
func TestPurgeGivenUp(t *testing.T) { storetest.Each(t, testPurgeGivenUp) }

func testPurgeGivenUp(t *testing.T, on storetest.Engine) {
	t.Parallel()
	w := newWhole(t, on)
	maya := w.device(w.maya, "Car 12")
	gone, _ := w.somebody(maya, "Gus", "Goneaway")
	w.sync(maya)
	second, third := w.secondAdmin(), w.thirdAdmin()
	ada, bea, cleo := w.signIn(w.ada, "ada.admin"), w.signIn(second, "bea.second"), w.signIn(third, "cleo.third")
	w.pass(10 * 366 * 24 * time.Hour)
	ada.back("ada.admin")
	bea.back("bea.second")
	w.work()
	w.sync(maya)
	at := ada.post("/console/purges", "reason", "past its retention").want(t, http.StatusOK, "Asked for.").path
	bea.post(at, "act", "approve", "code", bea.code()).want(t, http.StatusOK, "Approved. The server is doing it.")
	if err := w.admin.BeginRecovery(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.work()
	// A server that was set back knows no session.
	ada.back("ada.admin")
	w.pass(time.Minute)
	bea.back("bea.second")
	ada.get("/console/purges").want(t, http.StatusOK, "tries again by itself").never(t, "under way")
	bea.get(at).want(t, http.StatusOK, "tries again by itself", "Tried 1 times.", "The server was restored", "Next:").never(t, "under way", "Approve the purge", "approve it again")
	for range 4 {
		w.pass(31 * time.Minute)
		w.work()
	}
	ada.back("ada.admin")
	cleo.back("cleo.third")
	ada.get("/console/purges").want(t, http.StatusOK, "has given it up").never(t, "under way")
	ada.get(at).want(t, http.StatusOK, "has given it up", "Tried 5 times.", "The server was restored", "another admin of your agency approves it again").never(t, "under way", "Approve the purge")
	cleo.get(at).want(t, http.StatusOK, "approve it again", "Approve the purge")
	cleo.post(at, "act", "approve", "code", cleo.code()).want(t, http.StatusConflict, "The server was restored")
	if _, err := w.admin.ConfirmRecovery(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sync(maya)
	cleo.post(at, "act", "approve", "code", cleo.code()).want(t, http.StatusOK, "Approved. The server is doing it.", "under way").never(t, "given it up")
	w.work()
	cleo.get(at).want(t, http.StatusOK, "Done", "Bea Second").never(t, "Tried", "approve it again")
	w.sync(maya)
	if holds(t, maya, gone) {
		t.Error("a device still has what was purged")
	}
	var words []string
	for _, who := range []syncengine.ID{third, second} {
		for _, act := range w.acts(who) {
			if strings.HasPrefix(act, "PURGE_DECIDED") {
				words = append(words, strings.Fields(act)[1])
			}
		}
	}
	if !slices.Equal(words, []string{"resumed", "approved"}) {
		t.Errorf("the audit log has %q", words)
	}
	// What may be purged was counted again.
	cleo.get("/console/purges").want(t, http.StatusOK, "0 people and 0 calls, 0 records").never(t, "Ask for a purge")
	cleo.lang = "es"
	cleo.get("/console/purges").want(t, http.StatusOK, "Hecha")
}

// Who asks for a purge has all records read: while that is done for an org, nobody else has it
// done for the same.
func TestPurgeAskedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	maya := w.device(w.maya, "Car 12")
	w.somebody(maya, "Gus", "Goneaway")
	w.sync(maya)
	askers := []*browser{w.signIn(w.ada, "ada.admin"), w.signIn(w.secondAdmin(), "bea.second")}
	w.pass(10 * 366 * 24 * time.Hour)
	askers[0].back("ada.admin")
	askers[1].back("bea.second")
	answers := make(chan answer, len(askers))
	if err := w.st.Write(t.Context(), w.org.ID, 1, func(*store.Tx) error {
		// The first of them waits for this one.
		for _, b := range askers {
			go func() { answers <- b.post("/console/purges", "reason", "past its retention") }()
		}
		select {
		case a := <-answers:
			a.want(t, http.StatusConflict, "being asked for already")
		case <-time.After(20 * time.Second):
			t.Error("both have it read")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	a := <-answers
	a.want(t, http.StatusOK, "Asked for.")
}

// givenUp has the job of a purge be one that has failed for good.
func (w *whole) givenUp(t *testing.T) {
	t.Helper()
	var job *store.Job
	if err := w.st.Jobs(t.Context(), w.org.ID, "purge", 1, func(j *store.Job) error { job = j; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.st.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		job.EndedMS, job.Attempt, job.Failed, job.Error = w.now().UnixMilli(), 5, true, server.ErrPurgeMoved.Error()
		return tx.SaveJob(job)
	}); err != nil {
		t.Fatal(err)
	}
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
			at := browsertest.Eval[string](b, `location.pathname.replace("/console/", "")`)
			w.givenUp(t)
			b.Page("purges")
			b.Look("purges-failed")
			b.Page(at)
			b.Look("purge-failed")
			b.PressGoes(word("Approve the purge", "Aprobar la purga"))
			w.pass(time.Minute)
			b.Press("code", kb.End)
			b.Keys(totp(secret, w.now()))
			b.Keys(kb.Enter)
			b.Says(word("Approved.", "Aprobada."))
			w.work()
			b.Page(at)
			b.Look("purge-done")
		})
	}
}
