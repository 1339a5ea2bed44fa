package console_test

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// crowd keeps more people of the clinic than one person may export alone.
func (o *office) crowd() { o.people(9, export.ManyPeople+1) }

// people keeps some of the clinic, whose ids begin with one byte.
func (o *office) people(first byte, some int) {
	o.tb.Helper()
	domain, chance := record.New(), rand.NewChaCha8([32]byte{7})
	msg := &tandemv1.Person{AgencyId: new(o.clinic.String()), Lifecycle: new("active"), Tz: new("America/Chicago")}
	body := must[[]byte](o.tb)(domain.Body(msg))
	if err := o.st.Write(o.tb.Context(), o.org.ID, 1, func(tx *store.Tx) error {
		for n := range some {
			id := syncengine.ID{first, byte(n >> 8), byte(n)}
			applied, err := syncengine.Apply(domain.KindOf(msg), nil, &tandemv1.RecordWrite{Record: id[:], Kind: domain.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body},
				syncengine.Writer{Stamp: syncengine.Stamp(chance.Uint64() | 1), Author: o.org.ID, AtMS: o.now().UnixMilli()}, alone{})
			if err != nil {
				return err
			}
			rec := &syncengine.StoredRecord{Record: *applied.Record, Plain: true, Seq: 1}
			rec.Hash = rec.Record.Hash()
			if err := tx.SaveRecord(rec); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		o.tb.Fatal(err)
	}
}

// made has the server do what is due, and returns how many exports ended by that.
func (w *whole) made() int {
	w.tb.Helper()
	ended := func() (n int) {
		if err := w.st.Jobs(w.tb.Context(), w.org.ID, bulk.Kind, 1000, func(j *store.Job) error {
			if j.Ended() {
				n++
			}
			return nil
		}); err != nil {
			w.tb.Fatal(err)
		}
		return n
	}
	before := ended()
	w.work()
	return ended() - before
}

// code is the next code of the person's authenticator.
func (b *browser) code() string {
	b.o.pass(time.Minute)
	return totp(b.secret, b.o.now())
}

// back signs the person of a browser in anew, after a while.
func (b *browser) back(login string) {
	b.o.tb.Helper()
	n := b.o.stranger()
	n.post("/signin", "login", login, "passphrase", passphrase)
	if b.secret != nil {
		n.post("/signin/factor", "code", totp(b.secret, b.o.now()))
	}
	b.client = n.client
}

// asking is a form that asks for an export.
var asking = []string{"format", "csv", "set", "full", "purpose", "quarterly figures", "recipient", "County health", "basis", "payment_ops"}

var waitingLink = regexp.MustCompile(`href="approvals/([0-9A-Z]{26})"`)

// An export that names many people waits for a second person, who looks it through and
// decides in a session of their own, with their second factor. Nobody else sees it, and the
// one who asked never decides.
func TestSecondPerson(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		w.play(w.device(w.maya, "Car 12"))
		w.crowd()
		abe := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Second", Discipline: "other", Roles: []string{"admin"}, Agency: w.clinic, Teams: []syncengine.ID{w.night}}))
		ada, second, lena := w.signIn(w.ada, "ada.admin"), w.signIn(abe, "abe.second"), w.signIn(w.lena, "lena.park")
		fred, maya, dale := w.signIn(w.fred, "fred.foreign"), w.signIn(w.maya, "maya.ortiz"), w.signIn(w.dale, "dale.hunt")
		later := func(d time.Duration) {
			w.pass(d)
			for login, b := range map[string]*browser{"ada.admin": ada, "abe.second": second, "lena.park": lena, "fred.foreign": fred, "maya.ortiz": maya, "dale.hunt": dale} {
				b.back(login)
			}
		}
		// The word of an account that is young, or that the asker has just changed, does not count.
		unsettled := func() {
			ada.post("/console/exports", asking...).want(t, http.StatusOK, "waits for a second person")
			at := "/console/approvals/" + waitingLink.FindStringSubmatch(second.get("/console/exports").body)[1]
			second.post(at+"/approve", "code", second.code()).want(t, http.StatusForbidden, "younger than 7 days")
			second.post(at+"/refuse", "code", second.code(), "reason", "My account is new.").want(t, http.StatusOK, "Refused")
		}
		unsettled()
		later(people.SettledFor)
		ada.post("/console/staff/"+abe.String()+"/device", "label", "Phone").want(t, http.StatusOK)
		unsettled()
		later(people.SettledFor)
		ask := asking
		ada.post("/console/exports/count", ask[:len(ask)-2]...).want(t, http.StatusUnprocessableEntity)
		ada.post("/console/exports/count", ask...).want(t, http.StatusOK, "another lead or admin", "quarterly figures", "people").never(t, canaries...)
		ada.post("/console/exports", ask...).want(t, http.StatusOK, "waits for a second person", "quarterly figures")
		if n := w.made(); n != 0 {
			t.Fatalf("%d exports were made before anybody approved", n)
		}
		waiting := func() string {
			m := waitingLink.FindStringSubmatch(second.get("/console/exports").want(t, http.StatusOK, "Waiting for your approval").body)
			if m == nil {
				t.Fatal("nothing waits for the second person")
			}
			return "/console/approvals/" + m[1]
		}
		at := waiting()

		// Who asked, who is of another agency and who is neither lead nor admin do not decide.
		for who, b := range map[string]*browser{"ada": ada, "fred": fred, "maya": maya, "dale": dale} {
			for _, a := range []answer{b.get(at), b.post(at+"/approve", "code", "000000"), b.post(at+"/refuse", "code", "000000", "reason", "no")} {
				if a.status != http.StatusNotFound && a.status != http.StatusForbidden {
					t.Errorf("%s at %s: %d", who, a.path, a.status)
				}
				a.never(t, "County health")
			}
			if who != "ada" {
				b.get("/console/exports").never(t, "quarterly figures")
			}
		}
		ada.post(at+"/approve", "code", ada.code()).want(t, http.StatusNotFound)
		// A lead of the agency may, but has no second factor to show.
		lena.get(at).want(t, http.StatusOK, "quarterly figures")
		lena.post(at+"/approve", "code", "000000").want(t, http.StatusForbidden, "second factor")

		second.get(at).want(t, http.StatusOK, "quarterly figures", "County health", "Ada Admin", "502", "people").never(t, canaries...)
		second.post(at+"/approve", "code", "000000").want(t, http.StatusForbidden, "not right")
		second.post(at+"/refuse", "code", second.code()).want(t, http.StatusUnprocessableEntity, "Say why")
		// The reason of a refusal stands in a form that approves nothing, and is given back.
		for form := range strings.SplitSeq(second.get(at).body, "<form ") {
			form, _, _ = strings.Cut(form, "</form>")
			if strings.Contains(form, `name="reason"`) && (!strings.Contains(form, at[len("/console/"):]+"/refuse\"") || strings.Contains(form, "/approve")) {
				t.Errorf("a reason is typed where an export is approved: %s", form)
			}
		}
		if again := second.post(at+"/refuse", "code", "000000", "reason", "No agreement yet.").want(t, http.StatusForbidden, "not right"); !strings.Contains(again.body, `value="No agreement yet."`) {
			t.Error("the reason that was typed is gone")
		}
		if n := w.made(); n != 0 {
			t.Fatal("it was made without a code")
		}
		second.post(at+"/approve", "code", second.code()).want(t, http.StatusOK, "Approved")
		second.post(at+"/refuse", "code", second.code(), "reason", "too late").want(t, http.StatusNotFound)
		if n := w.made(); n != 1 {
			t.Fatalf("%d exports after it was approved", n)
		}
		id := strings.TrimPrefix(at, "/console/approvals/")
		ada.get("/console/exports/"+id).want(t, http.StatusOK, "Ready", "Abe Second", "people.csv", "manifest.json")
		if m := ada.get("/fhir/export/" + id + "/manifest.json"); m.status != http.StatusOK || !strings.Contains(m.body, `"approver": "`+abe.String()) {
			t.Errorf("the manifest: %d %s", m.status, m.body)
		}
		second.get("/console/exports/"+id).want(t, http.StatusNotFound)
		lena.get("/fhir/export/"+id+"/manifest.json").never(t, "quarterly")
		if acts := w.acts(abe); !slices.ContainsFunc(acts, func(a string) bool { return strings.HasPrefix(a, "EXPORT_APPROVED csv "+id) }) {
			t.Errorf("the approval is not in the log: %q", acts)
		}
		ada.post("/console/exports/"+id+"/delete").want(t, http.StatusOK, "deleted").never(t, "exports/"+id)

		// What was approved is what is made: not an export of many more people than that.
		ada.post("/console/exports", ask...).want(t, http.StatusOK, "waits for a second person")
		at = waiting()
		w.people(10, 70)
		second.post(at+"/approve", "code", second.code()).want(t, http.StatusOK, "Approved")
		if n := w.made(); n != 1 {
			t.Fatalf("%d exports after it was approved", n)
		}
		id = strings.TrimPrefix(at, "/console/approvals/")
		ada.get("/console/exports/"+id).want(t, http.StatusOK, "Ready", "people.csv")
		ada.get("/console/jobs").want(t, http.StatusOK, "Done").never(t, "%!")
		ada.post("/console/exports/"+id+"/delete").want(t, http.StatusOK, "deleted")
		ada.post("/console/exports", ask...).want(t, http.StatusOK, "waits for a second person")
		at = waiting()
		w.people(11, 80)
		second.post(at+"/approve", "code", second.code()).want(t, http.StatusOK, "Approved")
		if n := w.made(); n != 1 {
			t.Fatalf("%d exports after it was approved", n)
		}
		id = strings.TrimPrefix(at, "/console/approvals/")
		ada.get("/console/exports/"+id).want(t, http.StatusOK, "Failed", "many more people by now").never(t, "people.csv")
		ada.get("/console/jobs").want(t, http.StatusOK, "Failed after 1 attempts").never(t, "%!")
		ada.post("/console/exports/"+id+"/delete").want(t, http.StatusOK, "deleted")

		// Refused, with a reason that the one who asked sees; and nobody decides in time.
		ada.post("/console/exports", ask...).want(t, http.StatusOK, "waits for a second person")
		second.post(waiting()+"/refuse", "code", second.code(), "reason", "No agreement yet.").want(t, http.StatusOK, "Refused")
		ada.get("/console/exports").want(t, http.StatusOK, "Refused", "No agreement yet.", "Abe Second")
		ada.post("/console/exports", ask...).want(t, http.StatusOK)
		late := must[syncengine.ID](t)(syncengine.ParseID(strings.TrimPrefix(waiting(), "/console/approvals/")))
		w.pass(bulk.Waits)
		if _, err := w.exports.Pending(t.Context(), w.org, abe, late); err == nil {
			t.Error("an export that nobody decided on in time can still be approved")
		}
		if n := w.made(); n != 0 {
			t.Errorf("%d exports of those that nobody approved", n)
		}
	})
}

// A page that would count for too long says so, also where it counts for a second person.
func TestCountTakesTooLong(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on, time.Nanosecond)
		w.crowd()
		ada := w.signIn(w.ada, "ada.admin")
		ask := []string{"format", "csv", "set", "full", "purpose", "quarterly figures", "recipient", "County health", "basis", "payment_ops"}
		ada.post("/console/exports/count", ask...).want(t, http.StatusUnprocessableEntity, "too much to count")
		ada.post("/console/exports", ask...).want(t, http.StatusUnprocessableEntity, "too much to count")
	})
}

// alone is a history in which nothing else ever happened.
type alone struct{}

func (alone) Awaited(syncengine.Path, syncengine.Stamp) (bool, error) { return false, nil }
func (alone) Await(syncengine.Path, syncengine.Stamp) error           { return nil }
func (alone) QuarantinedBases(syncengine.Path, syncengine.Stamp) ([]syncengine.Stamp, error) {
	return nil, nil
}

func (alone) Written(syncengine.Path, syncengine.Stamp) (syncengine.Head, bool, error) {
	return syncengine.Head{}, false, nil
}
