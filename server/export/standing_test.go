package export_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

var errStopped = errors.New("stopped")

// spooled breaks an export off once its state is spooled, and returns where.
func (w *world) spooled(o export.Options) (to string, kept *export.Kept) {
	w.t.Helper()
	to = filepath.Join(w.t.TempDir(), "out")
	o.Keep = func(k *export.Kept) error { kept = k; return nil }
	o.Begin = func(export.Cut) error { return errStopped }
	if _, err := export.Write(w.t.Context(), w.s, w.org, to, o); !errors.Is(err, errStopped) || kept == nil {
		w.t.Fatalf("%v: %+v", err, kept)
	}
	return to, kept
}

// goOn has it gone on with, and reports whether it began anew.
func (w *world) goOn(o export.Options, to string, kept *export.Kept) (m *export.Manifest, anew bool) {
	w.t.Helper()
	o.Kept, o.Whole = kept, asWritten
	o.Keep = func(k *export.Kept) error { anew = anew || k.Parts == 0; return nil }
	m, err := export.Write(w.t.Context(), w.s, w.org, to, o)
	w.ok(err)
	w.ok(export.Discard(to))
	return m, anew
}

// edit changes a record where it lies; change returns its stamps.
func (w *world) edit(id syncengine.ID, msg proto.Message, change func(*tandemv1.Stamps)) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		rec, err := tx.Record(id)
		w.ok(err)
		next, stamps := *rec, &tandemv1.Stamps{}
		w.ok(proto.Unmarshal(rec.Body, msg))
		w.ok(proto.Unmarshal(rec.Stamps, stamps))
		change(stamps)
		next.Body, err = record.New().Body(msg)
		w.ok(err)
		next.Stamps, err = proto.Marshal(stamps)
		w.ok(err)
		next.Hash = next.Record.Hash()
		return tx.SaveRecord(&next)
	}))
}

// TestSpoolWithholds: of what no export of these options passes on there is nothing in a spool but
// that it is there and what it is about: neither what is displayed, nor what was written against it.
func TestSpoolWithholds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	for in, name := range map[tandemv1.Compartment]string{tandemv1.Compartment_COMPARTMENT_PRIVATE: "PRIVATE", tandemv1.Compartment_COMPARTMENT_SUD: "SUD", 0: "OPEN"} {
		id := w.add(in, w.note(0, "signed", name+"WORDS"))[0]
		w.edit(id, &tandemv1.Note{}, func(s *tandemv1.Stamps) {
			s.Paths = append(s.Paths, &tandemv1.PathStamps{Field: 900, Displayed: 1, Heads: []*tandemv1.Head{{Stamp: 8}, {Stamp: 9, Value: []byte(name + "LOSER")}}})
		})
	}
	w.add(0, w.note(1, "signed", "THEIRWORDS"), w.incident(0, "CALLNUMBER"), &tandemv1.Episode{
		AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Lifecycle: new("open"), Goals: new("GOALS"),
	})
	for _, c := range []struct {
		who        string
		kinds      []string
		sud, notes bool
		there      string
	}{
		{"", nil, false, true, "OPENWORDS OPENLOSER THEIRWORDS CALLNUMBER GOALS"},
		{"", nil, true, true, "OPENWORDS OPENLOSER THEIRWORDS CALLNUMBER GOALS SUDWORDS SUDLOSER"},
		{"lead", nil, true, true, "OPENWORDS OPENLOSER CALLNUMBER GOALS SUDWORDS SUDLOSER"},
		{"admin", nil, true, true, "OPENWORDS OPENLOSER CALLNUMBER GOALS"},
		{"admin", nil, false, false, "CALLNUMBER GOALS"},
		{"admin", []string{"team"}, false, false, ""},
	} {
		o := w.options()
		o.Person, o.Kinds, o.SUD, o.Notes, o.Basis = w.staff[c.who], c.kinds, c.sud, c.notes, "treatment"
		to, kept := w.spooled(o)
		plain, got := export.SpoolText(t, to+".spool", kept.Key), []string{}
		for word := range strings.FieldsSeq("OPENWORDS OPENLOSER THEIRWORDS CALLNUMBER GOALS SUDWORDS SUDLOSER PRIVATEWORDS PRIVATELOSER") {
			if strings.Contains(plain, word) {
				got = append(got, word)
			}
		}
		if diff := cmp.Diff(c.there, strings.Join(got, " ")); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
	}
}

// TestSpoolCounts: people are counted from a spool as from the database, by way of records that are
// not passed on, and what those say is in neither export.
func TestSpoolCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	one := w.add(0, w.person(0, "ONEPERSON"))[0]
	agency, program, team := new(w.agency[0].String()), new(w.program[0].String()), new(w.team[0].String())
	episode := w.add(tandemv1.Compartment_COMPARTMENT_SUD, &tandemv1.Episode{AgencyId: agency, ProgramId: program, TeamId: team, PersonId: new(one.String()), Lifecycle: new("open"), OpenedAt: at(0)})[0]
	var visits, notes []proto.Message
	for range export.ManyPeople + 1 {
		visits = append(visits, &tandemv1.Encounter{AgencyId: agency, ProgramId: program, TeamId: team, PersonId: new(one.String()), Lifecycle: new("signed")})
	}
	for _, id := range w.add(tandemv1.Compartment_COMPARTMENT_SUD, visits...) {
		note := w.note(0, "signed", "words")
		note.Target = &tandemv1.RecordRef{Kind: new("encounter"), Id: new(id.String())}
		notes = append(notes, note)
	}
	w.add(0, notes...)
	// Alike, of some people: they are in the de-identified set.
	for range export.Alike {
		p := w.person(0, "Testperson")
		p.Dob, p.Gender = nil, new("woman")
		w.add(0, &tandemv1.Encounter{
			AgencyId: agency, ProgramId: program, TeamId: team, Tz: p.Tz, PersonId: new(w.add(0, p)[0].String()), EpisodeId: new(episode.String()), Lifecycle: new("signed"),
			AgeYears: new(uint32(30)), StartedAt: at(3 * 24 * 60), PresentingPrimary: new("psychosis"), Disposition: new("resolved_on_scene"),
		})
	}
	for _, set := range []string{export.Full, export.SafeHarbor} {
		o := w.options()
		o.Set, o.Agreement, o.Key, o.Notes, o.Person = set, "agreement 7", []byte("a key of the test"), true, w.staff["admin"]
		w.ok(export.Check(t.Context(), w.s, w.org, o))
		dir, _ := w.write(o)
		to, kept := w.spooled(o)
		if _, anew := w.goOn(o, to, kept); anew {
			t.Error("began anew")
		}
		if diff := cmp.Diff(w.files(dir), w.files(to)); diff != "" {
			t.Errorf("%s: %s", set, diff)
		}
		if set == export.SafeHarbor {
			rows := w.read(to)["encounters.csv"]
			if len(rows) != export.Alike {
				t.Errorf("%d encounters", len(rows))
			}
			for _, row := range rows {
				if day, ok := row["episode_day"]; !ok || day != "" {
					t.Errorf("tells when an episode of a substance use program began: %q", day)
				}
			}
		}
	}
}

// TestSpoolStands: an export begins anew where the rights of those who make it are others than when
// its state was read, or the database is.
func TestSpoolStands(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on)
		day, err := w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program[0]})
		w.ok(err)
		call := w.incident(0, "1")
		call.TeamId = new(day.String())
		w.add(0, call, w.incident(0, "2"))
		move := func(program syncengine.ID) {
			msg := &tandemv1.Team{}
			w.edit(day, msg, func(*tandemv1.Stamps) { msg.ProgramId = new(program.String()) })
		}
		roles := func(who string, roles ...string) {
			msg := &tandemv1.Staff{}
			w.edit(w.staff[who], msg, func(*tandemv1.Stamps) { msg.Roles = roles })
		}
		for name, c := range map[string]struct {
			person, approver string
			happens          func()
			anew             bool
		}{
			"nothing": {"lead", "admin", func() {}, false},
			"a team that the lead is not in is of another agency's program": {"lead", "", func() { move(w.program[1]) }, true},
			"it comes back":            {"lead", "", func() { move(w.program[0]) }, true},
			"no lead, and a team":      {"admin", "", func() { move(w.program[1]) }, false},
			"who asks is more":         {"admin", "lead", func() { roles("admin", "admin", "lead") }, true},
			"who asks is less":         {"lead", "admin", func() { roles("lead", "clinician", "lead") }, true},
			"who approved is another":  {"other admin", "", func() {}, false},
			"the database is restored": {"admin", "", func() { w.renew() }, true},
		} {
			t.Run(name, func(t *testing.T) {
				w.t = t
				move(w.program[0])
				roles("admin", "admin")
				roles("lead", "lead")
				if name == "it comes back" {
					move(w.program[1])
				}
				o := w.options()
				o.Person, o.Approver = w.staff[c.person], w.staff[c.approver]
				to, kept := w.spooled(o)
				c.happens()
				dir, _ := w.write(o)
				if _, anew := w.goOn(o, to, kept); anew != c.anew {
					t.Errorf("began anew: %v", anew)
				}
				if diff := cmp.Diff(w.files(dir), w.files(to)); c.anew && diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// renew begins a new epoch, as a restore does.
func (w *world) renew() {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		head, err := tx.Head()
		if err == nil {
			head.Epoch, head.Seq = w.id(), head.Seq+1
			err = tx.NewEpoch(head)
		}
		return err
	}))
}

// TestSpoolDamaged: what is damaged while it is read is not gone on from by another attempt.
func TestSpoolDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	for range 500 {
		w.add(0, w.incident(0, "1"))
	}
	for _, format := range []string{export.CSV, export.FHIR} {
		to := filepath.Join(t.TempDir(), "out")
		o := w.options()
		o.Format = format
		o.Keep = func(*export.Kept) error { return nil }
		o.Begin = func(export.Cut) error {
			b, err := os.ReadFile(to + ".spool")
			w.ok(err)
			b[len(b)/2] ^= 1
			return os.WriteFile(to+".spool", b, 0o600)
		}
		_, err := export.Write(t.Context(), w.s, w.org, to, o)
		left, globbed := filepath.Glob(to + "*")
		if err == nil || globbed != nil || len(left) > 0 {
			t.Errorf("%s: %v; left behind: %v", format, err, left)
		}
	}
}

// TestSpoolNoRoom: an export that would not leave room is not begun.
func TestSpoolNoRoom(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	w.add(0, w.incident(0, strings.Repeat("x", 5000)))
	export.NoRoom(t)
	o := w.options()
	to := filepath.Join(t.TempDir(), "out")
	o.Keep = func(*export.Kept) error { t.Error("was spooled"); return nil }
	_, err := export.Write(t.Context(), w.s, w.org, to, o)
	if left, _ := filepath.Glob(to + "*"); !errors.Is(err, store.ErrDisk) || len(left) > 0 {
		t.Errorf("%v; left behind: %v", err, left)
	}
}

// TestSpoolSince: what has changed since a moment is so for the state that was read.
func TestSpoolSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.add(0, w.incident(0, "1"), w.incident(0, "2"), w.incident(0, "3"))
	o := w.options()
	o.Since = w.seq - 1
	to, kept := w.spooled(o)
	o.Since = w.seq
	if m, anew := w.goOn(o, to, kept); anew || m.Since != w.seq-1 {
		t.Errorf("began anew: %v; since %d", anew, m.Since)
	}
}
