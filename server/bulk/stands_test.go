package bulk_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// placed keeps a person where a team has them.
func (w *world) placed(id, team syncengine.ID) {
	w.t.Helper()
	w.load(id, &tandemv1.Person{
		AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), TeamId: new(team.String()), Lifecycle: new("active"), Tz: new("America/Chicago"),
	})
}

// load keeps a record as an import does.
func (w *world) load(id syncengine.ID, msg proto.Message) {
	w.t.Helper()
	body, err := record.New().Body(msg)
	w.ok(err)
	w.batch(func(b *syncengine.Batch) error {
		_, err := b.Load(&syncengine.Loaded{
			Write:  &tandemv1.RecordWrite{Record: id[:], Kind: record.New().KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body},
			Author: w.org.ID, AtMS: w.now().UnixMilli(),
		})
		return err
	})
}

func (w *world) batch(f func(*syncengine.Batch) error) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		b, err := (&syncengine.Server{Rules: record.New(), Secrets: w.org.Secrets}).Begin(tx, w.now().UnixMilli())
		if err != nil {
			return err
		}
		if err := f(b); err != nil {
			return err
		}
		_, err = b.Commit()
		return err
	}))
}

// goes has a person go to another team, which may be of another agency.
func (w *world) goes(id, agency, team syncengine.ID) {
	w.t.Helper()
	msg := &tandemv1.Person{}
	w.edit(id, msg, func() { msg.AgencyId, msg.TeamId = new(agency.String()), new(team.String()) })
	w.rehome(id)
}

// rehome has a record be where it belongs now.
func (w *world) rehome(id syncengine.ID) {
	w.t.Helper()
	w.batch(func(b *syncengine.Batch) error {
		if moved, err := b.Rehome(id); err != nil || !moved {
			w.t.Errorf("moved %v: %v", moved, err)
		}
		return nil
	})
}

// someone is the nth person of TestStands.
func someone(n byte) syncengine.ID { return syncengine.ID{9, n} }

func (w *world) eraseNow(id syncengine.ID) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error { return tx.Erase(id, nil, 1) }))
}

// once does one attempt.
func (w *world) once(ctx context.Context, worker *jobs.Worker, id syncengine.ID) *store.Job {
	w.t.Helper()
	if n, err := worker.Once(ctx); n != 1 || err != nil {
		w.t.Fatalf("%d jobs: %v", n, err)
	}
	j, err := w.s.Job(w.t.Context(), w.org.ID, id)
	w.ok(err)
	return j
}

// TestStands: what is handed out is of what stands at that moment. Where something was erased, or
// rights changed, after the files' state was read, they are made once more; where that happens again
// nothing is handed out and the next attempt begins anew. Each export is accounted for once.
func TestStands(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		for n := range byte(20) {
			w.person(someone(n), "Testperson", "active", 1, 0)
		}
		next := byte(0)
		erase := func() {
			next++
			w.eraseNow(someone(next))
		}
		other, theirs := w.elsewhere()
		day, err := w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program[0]})
		w.ok(err)
		inside, outside := syncengine.ID{8, 1}, syncengine.ID{8, 2}
		w.placed(inside, w.team)
		w.placed(outside, w.team)
		gone := false
		var who [2]syncengine.ID
		demote := func() {
			msg := &tandemv1.Staff{}
			w.edit(who[1], msg, func() { msg.Roles = []string{"lead"} })
		}
		for name, c := range map[string]struct {
			// meanwhile is called when the files of the nth making are whole.
			meanwhile func(n int, end func())
			// between attempts.
			between func()
			// spools and attempts that it takes.
			spools, attempts int
			failed           bool
		}{
			"nothing": {func(int, func()) {}, nil, 1, 1, false},
			"something is erased": {func(n int, _ func()) {
				if n == 1 {
					erase()
				}
			}, nil, 2, 1, false},
			"something is erased twice": {func(n int, _ func()) {
				if n <= 2 {
					erase()
				}
			}, nil, 3, 2, false},
			"who approved is less": {func(n int, _ func()) {
				if n == 1 {
					demote()
				}
			}, nil, 2, 1, false},
			"somebody goes to another team of the agency": {func(int, func()) { w.goes(inside, w.agency, day) }, nil, 1, 1, false},
			"somebody goes to another agency": {func(n int, _ func()) {
				if n == 1 {
					w.goes(outside, other, theirs)
					gone = true
				}
			}, nil, 2, 1, false},
			"who asked is no longer there": {func(int, func()) { w.ok(w.admin.RevokePerson(t.Context(), who[0])) }, nil, 1, 1, true},
			"an hour passes": {func(n int, end func()) {
				if n == 1 {
					end()
				}
			}, func() { w.ahead.Add(int64(time.Hour)) }, 1, 1, false},
			"more than a day passes": {func(n int, end func()) {
				if n == 1 {
					end()
				}
			}, func() { w.ahead.Add(int64(25 * time.Hour)) }, 2, 1, false},
		} {
			t.Run(name, func(t *testing.T) {
				w.t = t
				ctx, end := context.WithCancel(t.Context())
				defer end()
				makings, spools := 0, 0
				log := parts(func(part int) {
					if part == 0 {
						spools++
					} else {
						makings++
						c.meanwhile(makings, end)
					}
				})
				var err error
				w.exports, err = bulk.New(w.s, w.worker, bulk.Options{Dir: w.dir, Generator: "test", Log: zerolog.New(log), Clock: w.now})
				w.ok(err)
				before := w.disclosures()
				var id syncengine.ID
				var ask bulk.Request
				id, who, ask = w.askAll(export.CSV, export.Full, nil)
				j := w.once(ctx, w.worker, id)
				for range 2 {
					if j.Ended() {
						break
					}
					if _, _, done, err := w.exports.Get(t.Context(), w.org, who[0], id); err != nil || done != nil || w.disclosures() != before {
						t.Errorf("handed out: %v", err)
					}
					if c.between != nil {
						c.between()
					}
					w.ahead.Add(int64(time.Minute))
					j = w.once(t.Context(), w.worker, id)
				}
				if !j.Ended() || j.Failed != c.failed || j.Attempt != c.attempts || spools != c.spools {
					t.Fatalf("ended %v, failed %v, attempt %d, spooled %d times: %s", j.Ended(), j.Failed, j.Attempt, spools, j.Error)
				}
				if c.failed {
					if left, err := filepath.Glob(filepath.Join(w.dir, id.String()+"*")); err != nil || len(left) > 0 || len(j.Result) > 0 || w.disclosures() != before {
						t.Errorf("left behind: %v", left)
					}
					return
				}
				// One for each of the two teams.
				if n := w.disclosures(); n != before+2 {
					t.Errorf("%d disclosures", n-before)
				}
				_, _, done, err := w.exports.Get(t.Context(), w.org, who[0], id)
				w.ok(err)
				people := string(w.fetch(t, id, &ask, done, "people.csv", nil))
				if !strings.Contains(people, inside.String()) || strings.Contains(people, outside.String()) == gone {
					t.Errorf("who has gone is there: %v", !gone)
				}
				for n := range byte(20) {
					if there := strings.Contains(people, someone(n).String()); there != (n == 0 || n > next) {
						t.Errorf("person %d is there: %v", n, there)
					}
				}
			})
		}
	})
}

// exported makes an export, and returns where and what was kept of it.
func (w *world) exported(o export.Options) (to string, kept *export.Kept) {
	w.t.Helper()
	to = filepath.Join(w.t.TempDir(), "out")
	o.Keep = func(k *export.Kept) error { kept = k; return nil }
	_, err := export.Write(w.t.Context(), w.s, w.org, to, o)
	w.ok(err)
	return to, kept
}

// still asks a transaction whether an export stands.
func (w *world) still(ask func(*store.Tx) (bool, error)) (stands bool, err error) {
	w.t.Helper()
	err = w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) (err error) {
		stands, err = ask(tx)
		return err
	})
	return stands, err
}

// elsewhere is a team of another agency.
func (w *world) elsewhere() (agency, team syncengine.ID) {
	w.t.Helper()
	agency, err := w.admin.AddAgency(w.t.Context(), server.AgencyOptions{Name: "Other Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
	w.ok(err)
	program, err := w.admin.AddProgram(w.t.Context(), server.ProgramOptions{NameEN: "Elsewhere", Model: "crt", Agency: agency})
	w.ok(err)
	team, err = w.admin.AddTeam(w.t.Context(), server.TeamOptions{Name: "Theirs", Program: program})
	w.ok(err)
	return agency, team
}

// TestStandsMeanwhile: the transaction that hands an export out looks at what has changed since the
// snapshot that was looked at before, and at nothing else.
func TestStandsMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		other, theirs := w.elsewhere()
		stays, goes := syncengine.ID{8, 1}, syncengine.ID{8, 2}
		w.placed(stays, w.team)
		w.placed(goes, w.team)
		admin, err := w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Testperson admin", Discipline: "other", Roles: []string{"admin"}, Agency: w.agency, Teams: []syncengine.ID{w.team}})
		w.ok(err)
		o := export.Options{ID: syncengine.ID{1}, Person: admin, Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Generator: "test"}
		to, kept := w.exported(o)
		day, err := w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program[0]})
		w.ok(err)
		w.goes(stays, w.agency, day)
		still, err := export.Stands(t.Context(), w.s, w.org, to, o, kept)
		w.ok(err)
		// The block in which both of them are: it cannot be read any more, and need not be.
		b, err := os.ReadFile(to + ".spool")
		w.ok(err)
		spoilt := append([]byte{b[0] ^ 1}, b[1:]...)
		w.ok(os.WriteFile(to+".spool", spoilt, 0o600))
		if stands, err := w.still(still); err != nil || !stands {
			t.Errorf("nothing has happened meanwhile: %v, %v", stands, err)
		}
		w.ok(os.WriteFile(to+".spool", b, 0o600))
		w.goes(goes, other, theirs)
		if stands, err := w.still(still); err != nil || stands {
			t.Errorf("somebody has gone meanwhile: %v, %v", stands, err)
		}
		still, err = export.Stands(t.Context(), w.s, w.org, to, o, kept)
		w.ok(err)
		if stands, err := w.still(still); err != nil || stands {
			t.Errorf("somebody had gone before: %v, %v", stands, err)
		}
	})
}

// TestStandsPassedOn: an export still stands where what goes to another agency is nothing that it
// passes on.
func TestStandsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	other, theirs := w.elsewhere()
	admin, err := w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Testperson admin", Discipline: "other", Roles: []string{"admin"}, Agency: w.agency, Teams: []syncengine.ID{w.team}})
	w.ok(err)
	head := func() (seq uint64) {
		w.ok(w.s.Snapshot(t.Context(), w.org.ID, func(snap *store.Snapshot) error {
			h, err := snap.Head()
			seq = h.Seq
			return err
		}))
		return seq
	}
	for n, c := range []struct {
		name, state string
		with        func(*export.Options)
		stands      bool
	}{
		{"signed", "signed", func(*export.Options) {}, false},
		{"a draft", "draft", func(*export.Options) {}, true},
		{"a draft, with drafts", "draft", func(o *export.Options) { o.Drafts = true }, false},
		{"void", "void", func(*export.Options) {}, true},
		{"of another kind", "signed", func(o *export.Options) { o.Kinds = []string{"person"} }, true},
		{"not changed since", "signed", func(o *export.Options) { o.Since = head() }, true},
		{"changed since", "signed", func(o *export.Options) { o.Since = head() - 1 }, false},
		{"after the period", "signed", func(o *export.Options) { o.Until = "2023-12-31" }, true},
		{"in the period", "signed", func(o *export.Options) { o.From = "2024-01-01" }, false},
		{"of another program", "signed", func(o *export.Options) { o.Program = w.program[1] }, true},
		{"in a de-identified set", "signed", func(o *export.Options) { o.Set = export.SafeHarbor }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			id := syncengine.ID{7, byte(n + 1)}
			w.load(id, &tandemv1.Encounter{
				AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team.String()), Lifecycle: new(c.state), Tz: new("America/Chicago"),
				StartedAt: &tandemv1.Instant{AtMs: new(time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC).UnixMilli())},
			})
			o := export.Options{ID: syncengine.ID{1}, Person: admin, Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Generator: "test"}
			c.with(&o)
			to, kept := w.exported(o)
			// As asked by time: the attempt finds another sequence than that of what was kept.
			o.Since = min(o.Since, 1)
			msg := &tandemv1.Encounter{}
			w.edit(id, msg, func() { msg.AgencyId, msg.TeamId = new(other.String()), new(theirs.String()) })
			w.rehome(id)
			still, err := export.Stands(t.Context(), w.s, w.org, to, o, kept)
			w.ok(err)
			if stands, err := w.still(still); err != nil || stands != c.stands {
				t.Errorf("stands: %v, %v", stands, err)
			}
		})
	}
}

// TestTwoServers: where one server takes a job for lost that is not, the one is kept from the files
// of the other, and the export is accounted for once.
func TestTwoServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.person(someone(1), "Testperson", "active", 1, 0)
		second, err := jobs.New(w.s, jobs.Options{Clock: w.now, Log: zerolog.Nop()})
		w.ok(err)
		_, err = bulk.New(w.s, second, bulk.Options{Dir: w.dir, Generator: "test", Log: zerolog.Nop(), Clock: w.now})
		w.ok(err)
		var id syncengine.ID
		met := ""
		log := parts(func(part int) {
			if part > 0 && met == "" {
				w.free(id)
				met = w.once(t.Context(), second, id).Error
			}
		})
		w.exports, err = bulk.New(w.s, w.worker, bulk.Options{Dir: w.dir, Generator: "test", Log: zerolog.New(log), Clock: w.now})
		w.ok(err)
		before := w.disclosures()
		var who [2]syncengine.ID
		var ask bulk.Request
		id, who, ask = w.askAll(export.CSV, export.Full, nil)
		if j := w.once(t.Context(), w.worker, id); j.Ended() || met != export.ErrBusy.Error() || w.disclosures() != before {
			t.Fatalf("ended %v; the second server met %q", j.Ended(), met)
		}
		w.ahead.Add(int64(time.Minute))
		if j := w.once(t.Context(), second, id); !j.Ended() || j.Failed || w.disclosures() != before+1 {
			t.Fatalf("ended %v, failed %v, %d disclosures: %s", j.Ended(), j.Failed, w.disclosures()-before, j.Error)
		}
		_, _, done, err := w.exports.Get(t.Context(), w.org, who[0], id)
		w.ok(err)
		if !strings.Contains(string(w.fetch(t, id, &ask, done, "people.csv", nil)), someone(1).String()) {
			t.Error("nobody is in it")
		}
	})
}

// TestSweepSpool: of an export that is done what lies beside it goes, and it stays.
func TestSweepSpool(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	id, _, _ := w.askAll(export.CSV, export.Full, nil)
	if j := w.once(t.Context(), w.worker, id); !j.Ended() || j.Failed {
		t.Fatalf("%+v", j)
	}
	at := filepath.Join(w.dir, id.String())
	w.ok(os.WriteFile(at+".spool", []byte("left"), 0o600))
	w.ok(os.Mkdir(at+".unfinished", 0o700))
	w.ok(w.exports.Sweep(t.Context()))
	if left, err := filepath.Glob(at + "*"); err != nil || len(left) != 1 || left[0] != at {
		t.Errorf("%v, %v", left, err)
	}
}
