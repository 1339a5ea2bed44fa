package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is an org of two agencies, the second with a program of its own.
type world struct {
	t     *testing.T
	dir   string
	s     *store.Store
	org   *store.Org
	admin *server.Admin
	rand  *rand.ChaCha8
	seq   uint64
	// of the first and the second agency.
	agency, program, team [2]syncengine.ID
	staff                 map[string]syncengine.ID
}

const now = 1_700_000_000_000

func newWorld(t *testing.T, on storetest.Engine) *world {
	t.Helper()
	w := &world{t: t, rand: rand.NewChaCha8([32]byte{9}), staff: map[string]syncengine.ID{}}
	clock := func() time.Time { return time.UnixMilli(now) }
	var err error
	w.dir = t.TempDir()
	w.s, err = store.Open(t.Context(), w.dir, store.Options{Create: true, Database: on.Database(t), Volatile: true, Rand: w.rand, Clock: clock})
	w.ok(err)
	t.Cleanup(func() { _ = w.s.Close() })
	w.org, err = w.s.CreateOrg(t.Context(), "Example County")
	w.ok(err)
	w.admin = server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: clock, Rand: w.rand})
	for i, name := range []string{"Example Health", "Other Health"} {
		w.agency[i], err = w.admin.AddAgency(t.Context(), server.AgencyOptions{Name: name, Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
		w.ok(err)
		w.program[i], err = w.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: name + " co-response", Model: "crt", Agency: w.agency[i]})
		w.ok(err)
		w.team[i], err = w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Night", Program: w.program[i]})
		w.ok(err)
	}
	for i, role := range []string{"clinician", "peer", "le_partner", "lead", "admin", "auditor", "analyst", "lead", "admin"} {
		at := i / 7
		id, err := w.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "Testperson " + role, Discipline: "social_worker", Roles: []string{role}, Agency: w.agency[at], Teams: []syncengine.ID{w.team[at]},
		})
		w.ok(err)
		w.staff[strings.Repeat("other ", at)+role] = id
	}
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) id() syncengine.ID {
	id, err := syncengine.NewID(now, w.rand)
	w.ok(err)
	return id
}

// add puts records into the store as a push would have left them.
func (w *world) add(in tandemv1.Compartment, msgs ...proto.Message) (ids []syncengine.ID) {
	w.t.Helper()
	domain := record.New()
	err := w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for _, msg := range msgs {
			body, err := domain.Body(msg)
			if err != nil {
				return err
			}
			id := w.id()
			if err := w.save(tx, &tandemv1.RecordWrite{
				Record: id[:], Kind: domain.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body, Compartment: in,
			}); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	w.ok(err)
	return ids
}

// save keeps the record that a write creates.
func (w *world) save(tx *store.Tx, write *tandemv1.RecordWrite) error {
	domain := record.New()
	applied, err := syncengine.Apply(domain.Kind(write.GetKind()), nil, write,
		syncengine.Writer{Stamp: syncengine.Stamp(w.rand.Uint64() | 1), Author: w.staff["clinician"], Device: w.id(), AtMS: now}, alone{})
	if err != nil {
		return err
	}
	w.seq++
	rec := &syncengine.StoredRecord{Record: *applied.Record, Plain: true, Seq: w.seq}
	if err := revise(&rec.Record); err != nil {
		return err
	}
	rec.Hash = rec.Record.Hash()
	rec.Scopes, _, err = domain.Scopes(w.org.ID, &rec.Record, func(id syncengine.ID) (*syncengine.Record, error) {
		found, err := tx.Record(id)
		if err != nil || found == nil {
			return nil, err
		}
		return &found.Record, nil
	})
	if err != nil {
		return err
	}
	return tx.SaveRecord(rec)
}

// revise gives what is signed its revision, as the server does that takes the signature.
func revise(rec *syncengine.Record) error {
	stamps := &tandemv1.Stamps{}
	if err := proto.Unmarshal(rec.Stamps, stamps); err != nil {
		return err
	}
	stamps.Rev = map[string]uint32{"signed": 1, "amended": 2}[rec.Lifecycle()]
	var err error
	rec.Stamps, err = proto.Marshal(stamps)
	return err
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

func (w *world) incident(at int, number string) *tandemv1.Incident {
	return &tandemv1.Incident{
		AgencyId: new(w.agency[at].String()), ProgramId: new(w.program[at].String()), TeamId: new(w.team[at].String()),
		Lifecycle: new("cleared"), Tz: new("America/Chicago"), Number: new(number),
		DispatchedAt: &tandemv1.Instant{AtMs: new(int64(now)), Origin: new("cad")},
		Location:     &tandemv1.Location{Lon: new(-87.25), Address: new("-12 Example Street")},
		ForceTypes:   []string{"handcuffs", "taser"},
		Responders: []*tandemv1.Responder{
			{Element: []byte{1, 2, 3, 4, 5, 6, 7, 8}, CitTrained: new(true)},
			{Element: []byte{2, 2, 3, 4, 5, 6, 7, 8}},
		},
	}
}

func (w *world) person(at int, name string) *tandemv1.Person {
	return &tandemv1.Person{
		AgencyId: new(w.agency[at].String()), ProgramId: new(w.program[at].String()), TeamId: new(w.team[at].String()),
		Lifecycle: new("active"), Tz: new("America/Chicago"), Dob: new("1980-02-29"),
		Names: []*tandemv1.PersonName{{Element: []byte{1, 1, 1, 1, 1, 1, 1, 1}, Family: new(name)}},
	}
}

func (w *world) note(at int, state, words string) *tandemv1.Note {
	return &tandemv1.Note{
		AgencyId: new(w.agency[at].String()), ProgramId: new(w.program[at].String()), TeamId: new(w.team[at].String()),
		Lifecycle: new(state), Text: new(words), Type: new("progress"),
	}
}

func (w *world) options() export.Options {
	return export.Options{ID: syncengine.ID{1}, Purpose: "a test", Recipient: "nobody", Generator: "test"}
}

func (w *world) write(o export.Options) (string, *export.Manifest) {
	w.t.Helper()
	to := filepath.Join(w.t.TempDir(), "out")
	m, err := export.Write(w.t.Context(), w.s, w.org, to, o)
	w.ok(err)
	return to, m
}

// files reads a directory.
func (w *world) files(dir string) map[string]string {
	w.t.Helper()
	entries, err := os.ReadDir(dir)
	w.ok(err)
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		w.ok(err)
		files[e.Name()] = string(b)
	}
	return files
}

// reader is a program that is not ours.
const reader = `
import csv, json, pathlib, sys
print(json.dumps({p.name: list(csv.DictReader(open(p, encoding="utf-8", newline=""), strict=True)) for p in pathlib.Path(sys.argv[1]).glob("*.csv")}))
`

// read has Python's own library read the tables.
func (w *world) read(dir string) map[string][]map[string]string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), need.Program(w.t, "python3", "apt-get install python3"), "-c", reader, dir).Output()
	w.ok(err)
	var read map[string][]map[string]string
	w.ok(json.Unmarshal(out, &read))
	return read
}

// nasty is text that a careless writer of CSV breaks.
const nasty = "=cmd|'/C calc'!A0, \"quoted\"\nnext line, ñandú 火"

func TestCSV(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		call := w.add(0, w.incident(0, "+1416"))[0]
		w.add(0, w.person(0, nasty), w.note(0, "signed", nasty))
		dir, m := w.write(w.options())
		read := w.read(dir)
		if got := len(read["notes.csv"]); got != 0 {
			t.Errorf("notes were exported unasked")
		}
		incidents := read["incidents.csv"]
		if len(incidents) != 1 {
			t.Fatalf("%d incidents", len(incidents))
		}
		for column, want := range map[string]string{
			"id": call.String(), "number": "+1416", "dispatched_at": "2023-11-14T22:13:20.000Z", "dispatched_at_local": "2023-11-14T16:13:20.000-06:00",
			"dispatched_at_origin": "cad", "dispatched_at_precision": "", "location_lon": "-87.25", "location_address": "-12 Example Street",
			"compartment": "ops", "created_by": w.staff["clinician"].String(), "created_at": "2023-11-14T22:13:20.000Z", "lifecycle": "cleared", "arrived_at": "",
		} {
			if got, ok := incidents[0][column]; !ok || got != want {
				t.Errorf("incidents.%s is %q (%v), want %q", column, got, ok, want)
			}
		}
		force := []map[string]string{
			{"incident_id": call.String(), "ordinal": "1", "value": "handcuffs"},
			{"incident_id": call.String(), "ordinal": "2", "value": "taser"},
		}
		if diff := cmp.Diff(force, read["incident_force.csv"]); diff != "" {
			t.Error(diff)
		}
		if got := read["incident_responders.csv"]; len(got) != 2 || got[0]["cit_trained"] != "true" || got[1]["cit_trained"] != "" || got[1]["element"] != "0202030405060708" {
			t.Errorf("responders: %v", got)
		}
		if got := read["person_names.csv"]; len(got) != 1 || got[0]["family"] != nasty {
			t.Errorf("names: %v", got)
		}
		w.checkManifest(dir, m)
		w.checkCodebook(read)
		w.checkCount(m, read)
		o := w.options()
		o.ExcelSafe, o.Labels, o.BOM, o.Notes = true, "es", true, true
		w.checkSafe(o)
	})
}

// checkManifest holds the manifest against the files.
func (w *world) checkManifest(dir string, m *export.Manifest) {
	w.t.Helper()
	files := w.files(dir)
	var told export.Manifest
	w.ok(json.Unmarshal([]byte(files["manifest.json"]), &told))
	if diff := cmp.Diff(m, &told); diff != "" {
		w.t.Error(diff)
	}
	delete(files, "manifest.json")
	for _, f := range m.Files {
		sum := sha256.Sum256([]byte(files[f.Name]))
		if f.SHA256 != hex.EncodeToString(sum[:]) || f.Bytes != int64(len(files[f.Name])) {
			w.t.Errorf("%s is not as the manifest says", f.Name)
		}
		if strings.HasSuffix(f.Name, ".csv") && strings.Contains(strings.ReplaceAll(files[f.Name], "\r\n", ""), "\r") {
			w.t.Errorf("%s: a lone carriage return", f.Name)
		}
		delete(files, f.Name)
	}
	if len(files) > 0 {
		w.t.Errorf("not in the manifest: %v", slices.Collect(maps.Keys(files)))
	}
}

// checkCount holds what was counted against what was exported.
func (w *world) checkCount(m *export.Manifest, read map[string][]map[string]string) {
	w.t.Helper()
	p, err := export.Count(w.t.Context(), w.s, w.org, w.options())
	w.ok(err)
	if p.Records != m.Records || p.Seq != m.Seq || p.LeftOut != m.LeftOut || len(p.Tables) != len(m.Files)-3 || p.NeedsApproval {
		w.t.Errorf("counted: %+v", p)
	}
	for _, of := range p.Tables {
		if rows := read[of.Name+".csv"]; int64(len(rows)) != of.Rows || len(rows) > 0 && len(rows[0]) != len(of.Columns) {
			w.t.Errorf("%s: %d rows counted, %d exported", of.Name, of.Rows, len(rows))
		}
	}
}

// checkCodebook holds the codebook against the tables: every column, in its place.
func (w *world) checkCodebook(read map[string][]map[string]string) {
	w.t.Helper()
	lists := map[string]bool{}
	for _, code := range read["codes.csv"] {
		lists[code["code_list"]] = true
	}
	told := map[string][]string{}
	for _, c := range read["codebook.csv"] {
		told[c["table"]] = append(told[c["table"]], c["column"])
		if c["position"] != fmt.Sprint(len(told[c["table"]])) || c["definition"] == "" || c["label_en"] == "" && c["column"] != "element" {
			w.t.Errorf("%s.%s: %v", c["table"], c["column"], c)
		}
		if c["type"] == "code" && (!lists[c["code_list"]] || c["codes"] == "") {
			w.t.Errorf("%s.%s: no code list", c["table"], c["column"])
		}
		if c["column"] == "family" && (c["phi"] != "direct" || c["safe_harbor"] != "drop") {
			w.t.Errorf("a name: %v", c)
		}
		if c["table"] == "incidents" && c["column"] == "cad_number" && c["definition"] != "Number in the dispatch system." {
			w.t.Errorf("the definition of a field is %q", c["definition"])
		}
	}
	for name, rows := range read {
		table := strings.TrimSuffix(name, ".csv")
		if table == "codebook" || table == "codes" || len(rows) == 0 {
			continue
		}
		if got, want := slices.Sorted(maps.Keys(rows[0])), slices.Sorted(slices.Values(told[table])); !slices.Equal(got, want) {
			w.t.Errorf("%s: columns and codebook differ:\n%v\n%v", table, got, want)
		}
	}
	for name := range strings.FieldsSeq(`incidents incident_responders incident_force encounters encounter_presenting encounter_interventions
		people episodes follow_ups referrals referral_events consents disclosures safety_alerts reviews staff teams programs resources agencies devices`) {
		if told[name] == nil {
			w.t.Errorf("there is no table %s", name)
		}
	}
}

// checkSafe looks at an export for a spreadsheet.
func (w *world) checkSafe(o export.Options) {
	w.t.Helper()
	dir, _ := w.write(o)
	files := w.files(dir)
	for name, text := range files {
		if strings.HasSuffix(name, ".csv") && (!strings.HasPrefix(text, "\xef\xbb\xbf") || strings.Contains(text[3:], "\xef\xbb\xbf")) {
			w.t.Errorf("%s: no byte order mark, or several", name)
		}
		w.ok(os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimPrefix(text, "\xef\xbb\xbf")), 0o600))
	}
	read := w.read(dir)
	call := read["incidents.csv"][0]
	for column, want := range map[string]string{
		"number": "'+1416", "location_address": "'-12 Example Street", "location_lon": "-87.25", "lifecycle": "cleared", "lifecycle_label": record.New().Label("lifecycle_incident", "cleared", "es"),
	} {
		if call[column] != want {
			w.t.Errorf("%s is %q, want %q", column, call[column], want)
		}
	}
	if got := read["notes.csv"]; len(got) != 1 || got[0]["text"] != "'"+nasty {
		w.t.Errorf("notes: %v", got)
	}
}

// TestSameBytes: the same state and options give the same files, whatever else the store
// holds by then.
func TestSameBytes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		for i := range 600 {
			w.add(0, w.incident(0, fmt.Sprint(i)))
		}
		o := w.options()
		first, m := w.write(o)
		if m.Records != 600+6+9 {
			t.Errorf("%d records", m.Records)
		}
		// What is written once the export has begun is not in it.
		o.Begin = func(cut export.Cut) error {
			if cut.Seq != m.Seq {
				t.Errorf("sequence %d, was %d", cut.Seq, m.Seq)
			}
			w.add(0, w.incident(0, "late"))
			return nil
		}
		second, _ := w.write(o)
		if diff := cmp.Diff(w.files(first), w.files(second)); diff != "" {
			t.Error(diff)
		}
		if on.Name == storetest.SQLite.Name {
			ids := []string{}
			for _, r := range w.read(second)["incidents.csv"] {
				ids = append(ids, r["id"])
			}
			if len(ids) != 600 || !slices.IsSorted(ids) {
				t.Errorf("%d incidents, in order: %v", len(ids), slices.IsSorted(ids))
			}
		}
	})
}

// TestRights: who exports what. Each record bears a word of its own.
func TestRights(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	const clinical, sud, private = tandemv1.Compartment_COMPARTMENT_CLINICAL, tandemv1.Compartment_COMPARTMENT_SUD, tandemv1.Compartment_COMPARTMENT_PRIVATE
	w.add(0, w.incident(0, "OWNCALL"), w.incident(1, "FOREIGNCALL"))
	w.add(clinical, w.note(0, "signed", "OWNNOTE"), w.note(1, "signed", "FOREIGNNOTE"), w.note(0, "draft", "DRAFTNOTE"), w.note(0, "void", "VOIDNOTE"))
	w.add(sud, w.note(0, "signed", "SUDNOTE"))
	w.add(private, w.note(0, "signed", "PRIVATENOTE"))
	words := strings.Fields("OWNCALL FOREIGNCALL OWNNOTE FOREIGNNOTE DRAFTNOTE VOIDNOTE SUDNOTE PRIVATENOTE")
	for _, c := range []struct {
		who  string
		with func(*export.Options)
		want string
	}{
		{"", nil, "OWNCALL FOREIGNCALL OWNNOTE FOREIGNNOTE"},
		{"", func(o *export.Options) { o.Drafts, o.Void, o.SUD = true, true, true }, "OWNCALL FOREIGNCALL OWNNOTE FOREIGNNOTE DRAFTNOTE VOIDNOTE SUDNOTE"},
		{"lead", nil, "OWNCALL OWNNOTE"},
		{"lead", func(o *export.Options) { o.SUD = true }, "OWNCALL OWNNOTE SUDNOTE"},
		{"lead", func(o *export.Options) { o.Kinds = []string{"incident"} }, "OWNCALL"},
		{"other lead", nil, "FOREIGNCALL FOREIGNNOTE"},
		{"admin", func(o *export.Options) { o.SUD = true }, "OWNCALL OWNNOTE"},
		{"other admin", nil, "FOREIGNCALL FOREIGNNOTE"},
	} {
		o := w.options()
		o.Person, o.Notes = w.staff[c.who], true
		if c.with != nil {
			c.with(&o)
		}
		dir, _ := w.write(o)
		all := strings.Join(slices.Collect(maps.Values(w.files(dir))), "\n")
		var got []string
		for _, word := range words {
			if strings.Contains(all, word) {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q exports %v, want %s", c.who, got, c.want)
		}
	}
	for _, who := range []string{"clinician", "peer", "le_partner", "auditor", "analyst"} {
		o := w.options()
		o.Person = w.staff[who]
		w.refused(o, export.ErrForbidden)
	}
	o := w.options()
	o.Person = w.team[0]
	w.refused(o, export.ErrInactive)
}

// refused wants an export to be refused, with nothing written and nothing noted.
func (w *world) refused(o export.Options, want error) {
	w.t.Helper()
	parent := w.t.TempDir()
	o.Begin = func(export.Cut) error { w.t.Error("an export that is refused has begun"); return nil }
	if _, err := export.Write(w.t.Context(), w.s, w.org, filepath.Join(parent, "out"), o); !errors.Is(err, want) {
		w.t.Errorf("refused with %v, want %v", err, want)
	}
	if left := w.files(parent); len(left) > 0 {
		w.t.Errorf("left behind: %v", left)
	}
}

// TestSecondPerson: who exports many people needs another to approve.
func TestSecondPerson(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	var people []proto.Message
	for range export.ManyPeople + 1 {
		people = append(people, w.person(0, "Testperson"))
	}
	w.add(0, people[1:]...)
	o := w.options()
	o.Person = w.staff["admin"]
	if _, m := w.write(o); m.Records != export.ManyPeople+6+9 {
		t.Errorf("%d records", m.Records)
	}
	w.add(0, people[0])
	w.refused(o, export.ErrApproval)
	if p, err := export.Count(t.Context(), w.s, w.org, o); err != nil || !p.NeedsApproval {
		t.Errorf("counted: %+v, %v", p, err)
	}
	for _, second := range []string{"admin", "clinician", "other admin"} {
		o.Approver = w.staff[second]
		w.refused(o, export.ErrApprover)
	}
	o.Approver = w.staff["lead"]
	if _, m := w.write(o); m.Approver != o.Approver.String() {
		t.Errorf("approver %q", m.Approver)
	}
	// Who names nobody needs nobody.
	o.Approver, o.Kinds = syncengine.ID{}, []string{"incident"}
	w.write(o)
	o.Kinds = []string{"person"}
	w.refused(o, export.ErrApproval)
}

// TestSecondPersonKinds: it makes no difference which kinds of record say whom an export is
// about, and what is not exported does not count.
func TestSecondPersonKinds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on)
		agency, program, team := new(w.agency[0].String()), new(w.program[0].String()), new(w.team[0].String())
		encounter := func(of string) *tandemv1.Encounter {
			e := &tandemv1.Encounter{AgencyId: agency, ProgramId: program, TeamId: team, Lifecycle: new("signed"), Narrative: new("long ago")}
			if of != "" {
				e.PersonId = new(of)
			}
			return e
		}
		var people, met, notes, nameless, cards []proto.Message
		for range export.ManyPeople + 1 {
			people = append(people, w.person(0, "Testperson"))
			nameless = append(nameless, encounter(""))
			cards = append(cards, &tandemv1.AlertCard{AgencyId: agency, ProgramId: program, TeamId: team, Lifecycle: new("active"), Name: new("Testperson")})
		}
		persons := w.add(0, people...)
		for _, id := range persons {
			met = append(met, encounter(id.String()))
		}
		at := w.add(0, met...)
		for _, id := range at {
			note := w.note(0, "signed", "words")
			note.Target = &tandemv1.RecordRef{Kind: new("encounter"), Id: new(id.String())}
			notes = append(notes, note)
		}
		w.add(0, append(notes, notes[:9]...)...)
		w.add(0, cards...)
		w.add(0, w.incident(0, "1"))
		count := func(o export.Options, people int) {
			t.Helper()
			p, err := export.Count(t.Context(), w.s, w.org, o)
			w.ok(err)
			if many := people > export.ManyPeople; p.People != people || p.NeedsApproval != many {
				t.Errorf("%v: %d people, needs approval %v; want %d", o.Kinds, p.People, p.NeedsApproval, people)
			} else if many {
				w.refused(o, export.ErrApproval)
				if err := export.Check(t.Context(), w.s, w.org, o); !errors.Is(err, export.ErrApproval) {
					t.Errorf("%v: checked with %v", o.Kinds, err)
				}
			} else {
				w.write(o)
			}
		}
		o := w.options()
		for _, who := range []string{"admin", "lead"} {
			o.Person = w.staff[who]
			for _, kinds := range [][]string{{"person"}, {"encounter"}, {"note"}, {"encounter", "note", "person"}, {"alert_card"}} {
				o.Kinds = kinds
				count(o, export.ManyPeople+1)
			}
			o.Kinds = []string{"incident", "staff", "team", "resource"}
			count(o, 0)
		}
		// A filter takes people out of the count as out of the files.
		o.Kinds, o.Until = []string{"encounter", "person"}, "2020-01-01"
		count(o, 0)
		o.Until, o.Program = "", w.program[1]
		count(o, 0)
		o.Program, o.Since = syncengine.ID{}, w.seq-1
		count(o, 0)
		// Who has no name is somebody too.
		o.Since = w.seq
		w.add(0, nameless...)
		count(o, export.ManyPeople+1)
	})
}

// TestBrokenOff: half an export never looks whole, and is no hindrance.
func TestBrokenOff(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.add(0, w.incident(0, "1"))
	parent := t.TempDir()
	to := filepath.Join(parent, "out")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := errors.New("broken off")
	for _, spoil := range []func(*export.Options){
		func(o *export.Options) { o.Begin = func(export.Cut) error { return broken } },
		func(o *export.Options) { o.End = func(*export.Manifest, syncengine.Hash) error { return broken } },
		func(o *export.Options) { o.Begin = func(export.Cut) error { cancel(); return nil } },
	} {
		o := w.options()
		spoil(&o)
		if _, err := export.Write(ctx, w.s, w.org, to, o); !errors.Is(err, broken) && !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if left := w.files(parent); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	// What a killed one left is gone once the next has begun.
	w.ok(os.Mkdir(to+".unfinished", 0o700))
	w.ok(os.WriteFile(filepath.Join(to+".unfinished", "people.csv"), []byte("half"), 0o600))
	o := w.options()
	o.Begin = func(export.Cut) error {
		if left, err := os.ReadDir(to + ".unfinished"); err != nil || len(left) > 0 {
			t.Errorf("before the first byte: %v, %v", left, err)
		}
		if _, err := export.Write(t.Context(), w.s, w.org, to, w.options()); !errors.Is(err, export.ErrBusy) {
			t.Errorf("two exports to one place: %v", err)
		}
		return nil
	}
	m, err := export.Write(t.Context(), w.s, w.org, to, o)
	w.ok(err)
	w.checkManifest(to, m)
	before := w.files(to)
	w.refusedAt(to)
	if diff := cmp.Diff(before, w.files(to)); diff != "" {
		t.Error(diff)
	}
}

func (w *world) refusedAt(to string) {
	w.t.Helper()
	if _, err := export.Write(w.t.Context(), w.s, w.org, to, w.options()); !errors.Is(err, export.ErrExists) {
		w.t.Errorf("written over: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(to))
	w.ok(err)
	if len(entries) != 1 {
		w.t.Errorf("left behind: %v", entries)
	}
}

// TestDisclosed: the disclosures of an export and its entries in the audit log.
func TestDisclosed(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	o := w.options()
	o.Person = w.staff["lead"]
	note := &server.ExportNote{ID: o.ID, By: o.Person, Recipient: "County health", Purpose: "a report", Basis: "payment_ops", Form: "csv"}
	o.Begin = func(cut export.Cut) error {
		note.Teams, note.Seq, note.What = cut.Teams, cut.Seq, cut.What
		return w.admin.BeginExport(t.Context(), note)
	}
	var digest syncengine.Hash
	o.End = func(m *export.Manifest, d syncengine.Hash) error {
		digest = d
		return w.admin.EndExport(t.Context(), note, m.Records, d)
	}
	dir, m := w.write(o)
	if sum := sha256.Sum256([]byte(w.files(dir)["manifest.json"])); sum != digest {
		t.Error("the digest is not the manifest's")
	}
	var entries []*tandemv1.AuditEntry
	w.ok(w.admin.AuditLog(t.Context(), func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_EXPORTED {
				entries = append(entries, e)
			}
			return nil
		})
	}))
	if len(entries) != 2 || entries[0].GetCode() != "export csv" || entries[1].GetCode() != "exported csv" ||
		!bytes.Equal(entries[1].GetHash(), digest[:]) || entries[1].GetCount() != uint64(m.Records) ||
		!bytes.Equal(entries[0].GetPerson(), o.Person[:]) || !bytes.Equal(entries[1].GetSubject(), o.ID[:]) || entries[1].GetNumber() != m.Seq {
		t.Errorf("entries: %v", entries)
	}
	// The team's own disclosure is in the next export.
	o = w.options()
	o.Kinds = []string{"disclosure"}
	dir, _ = w.write(o)
	got := w.read(dir)["disclosures.csv"]
	if len(got) != 1 || got[0]["recipient"] != "County health" || got[0]["by"] != w.staff["lead"].String() || got[0]["basis"] != "payment_ops" ||
		got[0]["team_id"] != w.team[0].String() || got[0]["note"] != "a report" {
		t.Errorf("disclosures: %v", got)
	}
	if got[0]["export_id"] != m.ID || len(w.read(dir)["disclosure_what.csv"]) < 5 {
		t.Errorf("disclosures: %v", got)
	}
	// What is no disclosure that has to be accounted for is in the audit log alone.
	for _, set := range []string{export.Limited, export.SafeHarbor} {
		o = w.options()
		o.Set, o.Agreement = set, "agreement 7 of 2026"
		o.Begin = func(cut export.Cut) error {
			if len(cut.Teams) > 0 {
				t.Errorf("%s: teams are owed a disclosure", set)
			}
			return nil
		}
		w.write(o)
	}
	note.Basis = ""
	if err := note.CheckExport(); err == nil {
		t.Error("an export without a basis was taken")
	}
}

func TestUnknownKind(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	o := w.options()
	o.Kinds = []string{"incidents"}
	if _, err := export.Write(t.Context(), w.s, w.org, filepath.Join(t.TempDir(), "out"), o); err == nil || !strings.Contains(err.Error(), "incidents") {
		t.Errorf("a kind that is none: %v", err)
	}
}
