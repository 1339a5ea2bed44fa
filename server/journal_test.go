package server_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// restart stops the server, lets change do what it will to its files, and starts it
// again under a new address.
func (w *world) restart(change func(), devices ...*device) {
	w.t.Helper()
	w.srv.End()
	w.http.Close()
	if err := w.s.Close(); err != nil {
		w.t.Fatal(err)
	}
	change()
	w.open(store.Options{Create: true})
	w.org = must[*store.Org](w.t)(w.s.Org(w.t.Context(), w.org.ID))
	w.start()
	for _, d := range devices {
		d.connect(w.http.URL)
		_, _ = d.sync.Sync(w.t.Context(), &tandemv1.SyncRequest{})
	}
}

// copied returns what puts the database back to what it is now, journal and keys as
// they are then.
func (w *world) copied() (back func()) {
	w.t.Helper()
	if w.database != "" {
		w.restart(func() { back = pgtest.Shared(w.t).Kept(w.t, w.database) })
		return back
	}
	kept := map[string][]byte{}
	names := func() []string { return must[[]string](w.t)(filepath.Glob(filepath.Join(w.dir, "tandem.db*"))) }
	w.restart(func() {
		for _, name := range names() {
			kept[name] = must[[]byte](w.t)(os.ReadFile(name))
		}
	})
	return func() {
		for _, name := range names() {
			if err := os.Remove(name); err != nil {
				w.t.Fatal(err)
			}
		}
		for name, b := range kept {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) replica(d *device) (r *syncengine.Replica) {
	w.t.Helper()
	err := w.s.Read(w.t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		r, err = v.Replica(d.replica)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func refusals(answer *tandemv1.SyncAnswer) string {
	var words []string
	for _, o := range answer.GetOutcomes() {
		words = append(words, strings.TrimPrefix(o.GetCode().String(), "OUTCOME_CODE_")+":"+strings.TrimPrefix(o.GetRefusal().String(), "REFUSAL_"))
	}
	return strings.Join(words, " ")
}

func TestRevoked(t *testing.T) { each(t, testRevoked) }

func testRevoked(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 41)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	if err := w.admin.RevokePerson(t.Context(), w.clinician); err != nil {
		t.Fatal(err)
	}
	answer := one.must(one.push(one.creation(encounter(w, marker))))
	if got := refusals(answer); got != "QUARANTINED:REVOKED" || len(answer.GetPage().GetRows())+len(answer.GetPage().GetScopeSet().GetScopes()) > 0 {
		t.Errorf("a revoked person's push: %s", got)
	}
	if _, err := w.admin.IssueCode(t.Context(), w.clinician, "another"); !errors.Is(err, server.ErrStaffInactive) {
		t.Errorf("a code for a revoked person: %v", err)
	}
	if err := w.admin.RevokeDevice(t.Context(), two.dev); err != nil {
		t.Fatal(err)
	}
	if got := refusals(two.must(two.push(two.creation(encounter(w, "more"))))); got != "QUARANTINED:REVOKED" {
		t.Errorf("a revoked device's push: %s", got)
	}
	if _, absent := errors.AsType[*server.AbsentError](w.admin.RevokeDevice(t.Context(), w.clinician)); !absent {
		t.Error("a person can be revoked as a device")
	}
}

// A database that is set back to before lets nobody in again, and knows the devices
// that were enrolled since.
func TestRevokedStaysRevoked(t *testing.T) { each(t, testRevokedStaysRevoked) }

func testRevokedStaysRevoked(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 42)
	one, other := w.enrolled(1, w.clinician), w.enrolled(3, w.second)
	back := w.copied()
	one.connect(w.http.URL)
	late := w.enrolled(2, w.second)
	if err := w.admin.RevokePerson(t.Context(), w.clinician); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.RevokeDevice(t.Context(), other.dev); err != nil {
		t.Fatal(err)
	}
	w.restart(back, one, late, other)
	for name, d := range map[string]*device{"the person": one, "the device": other} {
		if got := refusals(d.must(d.push(d.creation(encounter(w, marker))))); got != "QUARANTINED:REVOKED" {
			t.Errorf("%s after the restore: %s", name, got)
		}
	}
	if _, err := w.admin.IssueCode(t.Context(), w.clinician, "another"); !errors.Is(err, server.ErrStaffInactive) {
		t.Errorf("a code for a revoked person after the restore: %v", err)
	}
	if r := w.replica(late); r == nil || r.Revoked || r.Person != w.second {
		t.Fatalf("the device enrolled since: %+v", r)
	}
	if got := refusals(late.must(late.push(late.creation(encounter(w, "more"))))); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("the device enrolled since: %s", got)
	}
	// A second replay changes nothing.
	head := w.head()
	if err := w.srv.ReplayJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Error("a second replay has written something")
	}
}

// A server that goes on while its database is replaced by an older state shuts the same
// people out before it answers anybody.
func TestRevokedStaysRevokedWithoutARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 45)
	one := w.enrolled(1, w.clinician)
	back := w.copied()
	one.connect(w.http.URL)
	_, _ = one.call(t.Context(), &tandemv1.SyncRequest{})
	if err := w.admin.RevokePerson(t.Context(), w.clinician); err != nil {
		t.Fatal(err)
	}
	before := w.head()
	push := one.push(one.creation(encounter(w, marker)))
	back()
	for {
		answer, err := one.call(t.Context(), push)
		if err != nil {
			// It is looking, or the database is not there yet.
			continue
		}
		if got := refusals(answer); got != "QUARANTINED:REVOKED" {
			t.Errorf("after the database was set back: %s", got)
		}
		break
	}
	if head := w.head(); head.Epoch == before.Epoch || !head.Recovering {
		t.Errorf("the history stands at %v, before at %v", head, before)
	}
}

// Whoever is enrolled anew after a revocation is not meant by it.
func TestEnrolledAfterRevocation(t *testing.T) { each(t, testEnrolledAfterRevocation) }

func testEnrolledAfterRevocation(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 43)
	one := w.enrolled(1, w.clinician)
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		return tx.Journal(&store.JournalEvent{What: store.EventRevoked, Person: w.clinician.String()})
	})
	if err != nil {
		t.Fatal(err)
	}
	two := w.enrolled(2, w.clinician)
	w.restart(func() {}, one, two)
	if !w.replica(one).Revoked || w.replica(two).Revoked {
		t.Error("the replay does not tell them apart")
	}
}

// interrupted is what a transaction fails with that never comes to its commit.
var errInterrupted = errors.New("interrupted")

// A process that ends between journal and commit: the replay shuts out who was to be,
// and an interrupted enrolment can be repeated.
func TestInterruptedAfterJournal(t *testing.T) { each(t, testInterruptedAfterJournal) }

func testInterruptedAfterJournal(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 44)
	one := w.enrolled(1, w.clinician)
	two := w.newDevice(2)
	code := w.code(w.second)
	request := two.enrolment(code)
	all := must[[]*store.Enrolment](t)(w.s.Enrolments(t.Context(), w.org.ID))
	device := all[len(all)-1].Device
	for _, e := range all {
		if e.UsedKey == nil {
			device = e.Device
		}
	}
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		if err := tx.Journal(&store.JournalEvent{What: store.EventRevoked, Device: one.dev.String()}); err != nil {
			return err
		}
		return errors.Join(errInterrupted, tx.Journal(&store.JournalEvent{
			What: store.EventEnrolled, Replica: two.replica.String(), Person: w.second.String(), Device: device.String(), Key: request.GetPublicKey(),
		}))
	})
	if !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	if w.replica(one).Revoked || w.replica(two) != nil {
		t.Fatal("the transaction has left something")
	}
	w.restart(func() {}, one)
	two.connect(w.http.URL)
	if !w.replica(one).Revoked {
		t.Error("the replay does not shut out")
	}
	if r := w.replica(two); r == nil || !bytes.Equal(r.Key, request.GetPublicKey()) {
		t.Fatalf("the replay does not enrol: %+v", r)
	}
	two.accept(must[*tandemv1.EnrollResponse](t)(two.enroll.Enroll(t.Context(), request)))
	if got := refusals(two.must(two.push(two.creation(encounter(w, marker))))); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("enrolled at the second try: %s", got)
	}
}

// What a power cut leaves of a line is cut off; damage before the end is an error.
func TestTornJournal(t *testing.T) { each(t, testTornJournal) }

func testTornJournal(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 45)
	one := w.enrolled(1, w.clinician)
	if err := w.admin.RevokeDevice(t.Context(), one.dev); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, "security.journal")
	whole := must[[]byte](t)(os.ReadFile(path))
	for _, torn := range []string{"00", strings.Repeat("ab", 40), string(whole[:len(whole)/3])} {
		w.restart(func() {
			if err := os.WriteFile(path, append(bytes.Clone(whole), torn...), 0o600); err != nil {
				t.Fatal(err)
			}
		}, one)
		if !w.replica(one).Revoked {
			t.Error("a torn line hides those before it")
		}
	}
	w.enrolled(2, w.second)
	events := must[[]*store.JournalEvent](t)(w.s.Journal(t.Context(), w.org.ID))
	if n := len(events); n != 3 || events[2].What != store.EventEnrolled || events[2].Number != 3 {
		t.Errorf("after the next event the journal has %d", n)
	}
	after := must[[]byte](t)(os.ReadFile(path))
	if !bytes.HasPrefix(after, whole) {
		t.Error("what stood in the journal has changed")
	}
	for i := range 3 {
		spoilt := bytes.Clone(after)
		spoilt[len(after)*i/3+80] ^= 1
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.srv.ReplayJournal(context.WithoutCancel(t.Context())); !errors.Is(err, store.ErrJournal) {
			t.Errorf("a spoilt line %d: got %v", i+1, err)
		}
	}
	// A line that is left out breaks the chain.
	_, rest, _ := bytes.Cut(after, []byte("\n"))
	if err := os.WriteFile(path, rest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.ReplayJournal(t.Context()); !errors.Is(err, store.ErrJournal) {
		t.Errorf("without its first line: got %v", err)
	}
	if bytes.Contains(after, []byte(deviceLabel)) || bytes.Contains(after, []byte(clinicianName)) {
		t.Error("the journal names somebody")
	}
}

// The journal may stand elsewhere; a command beside the server finds it.
func TestJournalElsewhere(t *testing.T) { each(t, testJournalElsewhere) }

func testJournalElsewhere(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 46)
	path := filepath.Join(t.TempDir(), "security.journal")
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(store.Options{Journal: path})
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(store.Options{})
	w.org = must[*store.Org](t)(w.s.Org(t.Context(), w.org.ID))
	w.start()
	w.enrolled(1, w.clinician)
	if text := must[[]byte](t)(os.ReadFile(path)); !bytes.Contains(text, []byte(`"what":"enrolled"`)) {
		t.Errorf("the journal holds %q", text)
	}
}
