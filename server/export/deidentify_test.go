package export_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// plantedWords are one of each identifier that Safe Harbor names and that text can hold.
var plantedWords = []string{
	"Zebulon", "Quackenbush", "zebulon_quackenbush", "4711 Elderberry", "Mudlick", "61874", "123-45-6789", "555-0142", "zq@example.org",
	"MRN-99182", "PLAN-77", "ACCT-4242", "LIC-5150", "1GNEK13Z", "SERIAL-31", "https://zq.example", "192.0.2.77", "FINGER-12", "1931-05-17", "05-17", "11:22:33",
	"217555014",
}

// plants are texts to put where text goes; the last is for fields of codes.
var (
	plantedText = strings.Join(plantedWords[:len(plantedWords)-1], " ")
	plantedCode = "zebulon_quackenbush"
)

// plantedAt is 1931-05-17 11:22:33.444 in UTC.
var plantedAt = time.Date(1931, 5, 17, 11, 22, 33, 444e6, time.UTC).UnixMilli()

// plant fills every field of a message, of those in it too, with what identifies somebody:
// with exact, as what the field is made for; else with text, wherever text fits.
func plant(m protoreflect.Message, exact bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Name() == "element":
			m.Set(f, protoreflect.ValueOfBytes([]byte{7, 7, 7, 7, 7, 7, 7, 7}))
		case f.IsList():
			list := m.Mutable(f).List()
			if f.Kind() == protoreflect.MessageKind {
				plant(list.AppendMutable().Message(), exact)
				continue
			}
			list.Append(plantedValue(f, exact))
		case f.Kind() == protoreflect.MessageKind:
			plant(m.Mutable(f).Message(), exact)
		default:
			m.Set(f, plantedValue(f, exact))
		}
	}
}

func plantedValue(f protoreflect.FieldDescriptor, exact bool) protoreflect.Value {
	rules, _ := proto.GetExtension(f.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	switch f.Kind() {
	case protoreflect.StringKind:
		switch {
		case rules.GetCodes() != "":
			return protoreflect.ValueOfString(plantedCode)
		case exact && f.Name() == "zip5":
			return protoreflect.ValueOfString("61874")
		case exact && (strings.HasSuffix(string(f.Name()), "_on") || f.Name() == "dob" || f.Name() == "extended_to"):
			return protoreflect.ValueOfString("1931-05-17")
		case exact && (rules.GetRef() != "" || strings.HasSuffix(string(f.Name()), "_id")):
			return protoreflect.ValueOfString(plantedID.String())
		}
		return protoreflect.ValueOfString(plantedText)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(217555014)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		if f.Name() == "at_ms" {
			return protoreflect.ValueOfInt64(plantedAt)
		}
		return protoreflect.ValueOfInt64(217555014)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(217555014)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(217555014)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(217555014)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("Zebulon Quackenbush"))
	}
	panic("a field of no known kind: " + f.FullName())
}

// plantedID is an id as the database knows it.
var plantedID = syncengine.ID{0x01, 0x8b, 'Z', 'E', 'B', 'U', 'L', 'O', 'N', 'Q', 'U', 'A', 'C', 'K', 'E', 'N'}

// envelope makes a record one of the first agency's, in a state that is exported.
func (w *world) envelope(m protoreflect.Message, domain *record.Domain) {
	fields := m.Descriptor().Fields()
	kind := domain.KindOf(m.Interface()).Name
	state := ""
	for _, code := range domain.Codes(domain.FieldCodes(kind, "lifecycle")) {
		if code.Code != record.Draft && code.Code != record.Void {
			state = code.Code
			break
		}
	}
	for name, value := range map[protoreflect.Name]string{
		"agency_id": w.agency[0].String(), "program_id": w.program[0].String(), "team_id": w.team[0].String(), "tz": "America/Chicago", "lifecycle": state,
	} {
		m.Set(fields.ByName(name), protoreflect.ValueOfString(value))
	}
	m.Set(fields.ByName("schema"), protoreflect.ValueOfUint32(syncengine.Schema))
}

// plantEverywhere puts records of every kind there, so many of each, once with text and once with what each field is made for. It returns their ids.
func (w *world) plantEverywhere(of int) (ids []syncengine.ID) {
	w.t.Helper()
	domain := record.New()
	for _, exact := range []bool{false, true} {
		for range of {
			var person syncengine.ID
			for _, name := range append([]string{"person"}, kindNames(domain)...) {
				k := domain.KindByName(name)
				if name == "person" && !person.IsZero() || name == "staff" || name == "team" || name == "program" || name == "agency" {
					continue
				}
				msg := domain.NewMessage(k.Number)
				plant(msg.ProtoReflect(), exact)
				w.envelope(msg.ProtoReflect(), domain)
				if f := msg.ProtoReflect().Descriptor().Fields().ByName("person_id"); f != nil {
					msg.ProtoReflect().Set(f, protoreflect.ValueOfString(person.String()))
				}
				id := w.add(k.Compartment, msg)[0]
				if name == "person" {
					person = id
				}
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func kindNames(domain *record.Domain) (names []string) {
	for _, k := range domain.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// TestSafeHarbor: every identifier in every field of every kind, and none in the set.
func TestSafeHarbor(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	ids := w.plantEverywhere(export.Alike + 1)
	for i := range w.agency {
		ids = append(ids, w.agency[i], w.program[i], w.team[i])
	}
	for _, id := range w.staff {
		ids = append(ids, id)
	}
	full, _ := w.write(export.Options{ID: syncengine.ID{1}, Purpose: "a test", Recipient: "nobody", Notes: true})
	for _, word := range append(slices.Clone(plantedWords), ids[0].String(), "Example Health", "Testperson", "Example County"[:7]) {
		if !strings.Contains(joined(w.files(full)), word) {
			t.Errorf("%q is not in the full export: nothing would be found", word)
		}
	}
	o := w.options()
	o.Set, o.Key, o.At = export.SafeHarbor, []byte("a key of a test"), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, m := w.write(o)
	for name, text := range w.files(dir) {
		for _, word := range append(slices.Clone(plantedWords), "Example Health", "Other Health", "Testperson", "ZEBULON", "5a6562756c6f6e", w.org.ID.String()) {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q: %s", name, word, around(text, word))
			}
		}
		for _, id := range ids {
			if strings.Contains(text, id.String()) {
				t.Errorf("%s: an id of the database", name)
			}
		}
	}
	read := w.read(dir)
	if len(read["people.csv"]) != 2*(export.Alike+1) || len(read["encounters.csv"]) != 2*(export.Alike+1) {
		t.Fatalf("%d people, %d encounters: nothing was looked at", len(read["people.csv"]), len(read["encounters.csv"]))
	}
	if m.KAnonymity.K != export.Alike || m.KAnonymity.Contacts != int64(2*(export.Alike+1)) || m.KAnonymity.AsTheyAre != m.KAnonymity.Contacts {
		t.Errorf("%+v", m.KAnonymity)
	}
	for _, name := range []string{"notes.csv", "attachments.csv", "devices.csv", "alert_cards.csv", "person_names.csv", "form_answers.csv"} {
		if _, ok := read[name]; ok {
			t.Errorf("%s is in the set", name)
		}
	}
	bands, zips := map[string]int{}, map[string]int{}
	for _, p := range read["people.csv"] {
		bands[p["age_band"]]++
		zips[p["zip3"]]++
	}
	if diff := cmp.Diff(map[string]int{"90+": export.Alike + 1, "": export.Alike + 1}, bands); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"618": export.Alike + 1, "": export.Alike + 1}, zips); diff != "" {
		t.Error(diff)
	}
	ordered := slices.IsSortedFunc(read["people.csv"], func(a, b map[string]string) int { return strings.Compare(a["id"], b["id"]) })
	if !ordered || read["people.csv"][0]["id"] == "" {
		t.Error("people are not in the order of their new ids")
	}
	// References meet within the set.
	people := map[string]bool{}
	for _, p := range read["people.csv"] {
		people[p["id"]] = true
	}
	for _, e := range read["encounters.csv"] {
		if !people[e["person_id"]] {
			t.Fatalf("an encounter of nobody: %v", e)
		}
	}
	w.checkHarborManifest(dir)

	o.ID = syncengine.ID{2}
	again, _ := w.write(o)
	first, second := w.files(dir), w.files(again)
	delete(first, "manifest.json")
	delete(second, "manifest.json")
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same key: %s", diff)
	}
	o.Key = nil
	other, _ := w.write(o)
	if w.files(other)["people.csv"] == first["people.csv"] {
		t.Error("without a key the ids are the same ones again")
	}
}

func (w *world) checkHarborManifest(dir string) {
	w.t.Helper()
	var m export.Manifest
	w.ok(json.Unmarshal([]byte(w.files(dir)["manifest.json"]), &m))
	if m.Org != "" || m.Person != "" || m.Epoch != "" || m.Commit != "" || m.Set != export.SafeHarbor || m.AsOf != "2026-01-02" {
		w.t.Errorf("%+v", m)
	}
}

func joined(files map[string]string) string {
	var b strings.Builder
	for _, text := range files {
		b.WriteString(text)
	}
	return b.String()
}

func around(text, word string) string {
	at := strings.Index(text, word)
	return text[max(0, at-60):min(len(text), at+60)]
}

// met is a person and a crisis contact.
func (w *world) met(zip, gender, race, presenting, disposition string, age uint32, atMS int64) {
	w.t.Helper()
	p := w.person(0, "Name")
	p.Dob, p.Zip5, p.Gender, p.RaceEthnicity = nil, new(zip), new(gender), []string{race}
	id := w.add(tandemv1.Compartment_COMPARTMENT_CLINICAL, p)[0]
	w.add(tandemv1.Compartment_COMPARTMENT_CLINICAL, &tandemv1.Encounter{
		AgencyId: p.AgencyId, ProgramId: p.ProgramId, TeamId: p.TeamId, Tz: p.Tz, Lifecycle: new("signed"), PersonId: new(id.String()), AgeYears: new(age),
		StartedAt: &tandemv1.Instant{AtMs: new(atMS)}, PresentingPrimary: new(presenting), Disposition: new(disposition),
	})
}

// TestAlike: who is too few alike is made coarser, as little as will do, and dropped where
// nothing does. An oracle counts anew, from the files alone.
func TestAlike(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	// As many alike as it takes, and one less, a year before.
	for i := range export.Alike {
		w.met("61801", "woman", "white", "psychosis", "resolved_on_scene", 30, now)
		w.met("61801", "man", "black", "trauma", "left_with_support", 70, now)
		if i > 0 {
			w.met("61801", "man", "white", "trauma", "left_with_support", 70, now-400*24*3600*1000)
		}
	}
	// Some elsewhere, who are alike but for the place.
	for i := range 12 {
		w.met([]string{"60601", "62701"}[i%2], "man", "white", "grief", "refused_services", 50, now)
	}
	// A few of another race each.
	for i := range 12 {
		w.met("61801", "man", []string{"asian", "mena", "nhpi", "aian"}[i%4], "depression", "resolved_on_scene", 20, now)
	}
	// Nobody is like these.
	for i, age := range []uint32{95, 8, 16} {
		w.met("99501", []string{"nonbinary", "woman", "man"}[i], "aian", "overdose", "deceased", age, now)
	}
	o := w.options()
	o.Set, o.At = export.SafeHarbor, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, m := w.write(o)
	got := m.KAnonymity
	if got.Contacts != 59 || got.AsTheyAre != 22 || got.Generalised != 24 || got.Dropped != 13 {
		t.Errorf("%+v", got)
	}
	read := w.read(dir)
	people := map[string]map[string]string{}
	for _, p := range read["people.csv"] {
		people[p["id"]] = p
	}
	races := map[string][]string{}
	for _, r := range read["person_race_ethnicity.csv"] {
		races[r["person_id"]] = append(races[r["person_id"]], r["value"])
	}
	classes := map[string]int{}
	for _, e := range read["encounters.csv"] {
		p := people[e["person_id"]]
		if p == nil {
			t.Fatalf("an encounter of nobody: %v", e)
		}
		classes[fmt.Sprint(e["started_at_year"], e["age_years_band"], p["gender"], races[p["id"]], p["zip3"], e["presenting_primary"], e["disposition"])]++
	}
	want := map[string]int{
		"202325-44woman[white]618psychosisresolved_on_scene": 11, "202365-89man[black]618traumaleft_with_support": 11,
		"202345-64man[white]000griefrefused_services": 12, "202318-24man[]000depressionresolved_on_scene": 12,
	}
	if diff := cmp.Diff(want, classes); diff != "" {
		t.Error(diff)
	}
	if len(people) != 46 {
		t.Errorf("%d people", len(people))
	}
}

// TestLimited: dates, towns and ZIP codes stay; names, numbers and free text go.
func TestLimited(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	ids := w.plantEverywhere(export.Alike + 1)
	o := w.options()
	o.Set = export.Limited
	if _, err := export.Write(t.Context(), w.s, w.org, filepath.Join(t.TempDir(), "out"), o); err == nil || !strings.Contains(err.Error(), "agreement") {
		t.Errorf("without an agreement: %v", err)
	}
	// With a random key an id might spell one of the words.
	o.Agreement, o.Key = "agreement 7 of 2026", []byte("a key of a test")
	dir, m := w.write(o)
	if m.Agreement != o.Agreement {
		t.Errorf("the manifest: %+v", m)
	}
	read := w.read(dir)
	kept := map[string]int{}
	for _, p := range read["people.csv"] {
		kept[p["dob"]+" "+p["zip5"]]++
	}
	if kept["1931-05-17 61874"] != export.Alike+1 {
		t.Errorf("dates and ZIP codes: %v", kept)
	}
	for name, text := range w.files(dir) {
		// A town is a text of its own, which stays as it is.
		rows := read[name]
		for _, r := range rows {
			for column, cell := range r {
				if cell == "" || strings.HasSuffix(column, "city") {
					continue
				}
				for _, word := range []string{"Zebulon", "zebulon", "123-45-6789", "555-0142", "zq@", "https", "192.0.2", "217555014", "MRN"} {
					if strings.Contains(cell, word) {
						t.Errorf("%s.%s: %s", name, column, cell)
					}
				}
			}
		}
		for _, id := range ids {
			if strings.Contains(text, id.String()) {
				t.Errorf("%s: an id of the database", name)
			}
		}
	}
}

// TestRoughMoments: what lies between two moments is in the set only where both are known well
// enough to say it.
func TestRoughMoments(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	at := func(minutes int64, precision string) *tandemv1.Instant {
		i := &tandemv1.Instant{AtMs: new(now + minutes*60_000)}
		if precision != "" {
			i.Precision = &precision
		}
		return i
	}
	for _, precision := range []string{"", "minute", "hour", "day", "month"} {
		in := w.incident(0, precision)
		in.DispatchedAt, in.ArrivedAt = at(0, ""), at(20, precision)
		w.add(0, in)
		p := w.person(0, "Name")
		p.Lifecycle = new("active")
		who := w.add(clinical, p)[0].String()
		w.add(clinical, &tandemv1.Episode{
			AgencyId: p.AgencyId, ProgramId: p.ProgramId, TeamId: p.TeamId, Tz: p.Tz, Lifecycle: new("closed"), PersonId: &who,
			OpenedAt: at(0, precision), ClosedAt: at(3*24*60, ""),
		})
	}
	// Enough people for nobody to be dropped.
	for range export.Alike {
		w.add(clinical, w.person(0, "Name"))
	}
	o := w.options()
	o.Set, o.At = export.SafeHarbor, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, _ := w.write(o)
	read := w.read(dir)
	for file, c := range map[string]struct {
		column, value string
		want          int
	}{"incidents.csv": {"response_minutes", "20", 2}, "episodes.csv": {"days_open", "3", 4}} {
		got := map[string]int{}
		for _, r := range read[file] {
			got[r[c.column]]++
		}
		if diff := cmp.Diff(map[string]int{c.value: c.want, "": 5 - c.want}, got); diff != "" {
			t.Errorf("%s of %s: %s", c.column, file, diff)
		}
	}
}

// TestOwnAge: an age that the person's record says is compared, as the one of the contact is.
func TestOwnAge(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	for i := range export.Alike {
		p := w.person(0, "Name")
		p.Dob, p.Zip5, p.Gender, p.RaceEthnicity, p.ApproxAge = nil, new("61801"), new("woman"), []string{"white"}, new(uint32(30))
		if i == 0 {
			p.Dob = new("1940-05-06")
		}
		id := w.add(clinical, p)[0]
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: p.AgencyId, ProgramId: p.ProgramId, TeamId: p.TeamId, Tz: p.Tz, Lifecycle: new("signed"), PersonId: new(id.String()), AgeYears: new(uint32(30)),
			StartedAt: &tandemv1.Instant{AtMs: new(int64(now))}, PresentingPrimary: new("psychosis"), Disposition: new("resolved_on_scene"),
		})
	}
	o := w.options()
	o.Set, o.At = export.SafeHarbor, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, m := w.write(o)
	if m.KAnonymity.AsTheyAre != 0 {
		t.Errorf("%+v", m.KAnonymity)
	}
	for _, p := range w.read(dir)["people.csv"] {
		if p["age_band"] != "" {
			t.Errorf("one person alone is %s", p["age_band"])
		}
	}
}

// TestRareCodes: a code stands in the set where enough people have it in the set: not those
// who were dropped, and nobody twice.
func TestRareCodes(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	met := func(i int, legal, presenting string, into string) string {
		p := w.person(0, "Name")
		p.Dob, p.Gender = nil, new("woman")
		if into != "" {
			p.Lifecycle, p.MergedInto = new("merged"), &into
		}
		id := w.add(clinical, p)[0].String()
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: p.AgencyId, ProgramId: p.ProgramId, TeamId: p.TeamId, Tz: p.Tz, Lifecycle: new("signed"), PersonId: &id, LegalStatus: &legal,
			StartedAt: &tandemv1.Instant{AtMs: new(now - int64(i)*400*24*3600*1000)}, PresentingPrimary: &presenting, Disposition: new("resolved_on_scene"),
		})
		return id
	}
	for i := range export.Alike {
		met(0, "voluntary", "psychosis", "")
		if i > 0 {
			met(0, "involuntary_team", "psychosis", "")
		}
		if i > 1 {
			met(0, "involuntary_police", "psychosis", "")
		}
	}
	// The eleventh of the one is alone in their year, and of the other two are one person.
	met(5, "involuntary_team", "psychosis", "")
	met(0, "involuntary_police", "psychosis", met(0, "involuntary_police", "psychosis", ""))
	o := w.options()
	o.Set, o.At = export.SafeHarbor, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, m := w.write(o)
	got := map[string]int{}
	for _, e := range w.read(dir)["encounters.csv"] {
		got[e["legal_status"]]++
	}
	if m.KAnonymity.Dropped != 1 || got["voluntary"] != export.Alike || len(got) != 2 {
		t.Errorf("%v, %+v", got, m.KAnonymity)
	}
}

// TestMergedOnce: what a record said that was merged into another one is not in the set, and
// whom it is about is there as one person.
func TestMergedOnce(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	met := func(who string) {
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Tz: new("America/Chicago"), Lifecycle: new("signed"),
			PersonId: &who, StartedAt: &tandemv1.Instant{AtMs: new(int64(now))}, PresentingPrimary: new("psychosis"), Disposition: new("resolved_on_scene"),
		})
	}
	last := ""
	for i := range export.Alike {
		p := w.person(0, "Name")
		p.Gender = new("woman")
		if last = w.add(clinical, p)[0].String(); i+1 < export.Alike {
			met(last)
		}
	}
	// The last one was only met under the name that she was entered with a second time.
	twin := w.person(0, "Name")
	twin.Lifecycle, twin.MergedInto, twin.Gender, twin.Dob, twin.Zip5 = new("merged"), &last, new("nonbinary"), new("1920-01-02"), new("99501")
	met(w.add(clinical, twin)[0].String())
	o := w.options()
	o.Set, o.At = export.SafeHarbor, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	dir, m := w.write(o)
	if m.KAnonymity.Contacts != export.Alike || m.KAnonymity.AsTheyAre != export.Alike {
		t.Errorf("%+v", m.KAnonymity)
	}
	people := map[string]bool{}
	for _, p := range w.read(dir)["people.csv"] {
		people[p["id"]] = true
		if p["gender"] != "woman" || p["age_band"] != "45-64" || p["zip3"] != "" || p["merged_into"] != "" {
			t.Errorf("what the record that was merged said: %v", p)
		}
	}
	contacts := w.read(dir)["encounters.csv"]
	for _, e := range contacts {
		delete(people, e["person_id"])
	}
	if len(contacts) != export.Alike || len(people) != 0 {
		t.Errorf("%d contacts; %d people were not met", len(contacts), len(people))
	}
}
