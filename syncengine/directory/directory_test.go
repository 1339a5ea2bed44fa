package directory_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine/directory"
	"google.golang.org/protobuf/proto"
)

const today = "2026-11-22"

func tables(tb testing.TB) *directory.Result {
	tb.Helper()
	r, err := directory.ReadTables(os.DirFS("testdata/hsds"), today)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func services(tb testing.TB) []byte {
	tb.Helper()
	raw, err := os.ReadFile("testdata/services.json")
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// One directory in both forms of the standard is one directory.
func TestBothFormsAreOne(t *testing.T) {
	t.Parallel()
	csv := tables(t)
	json, err := directory.ReadJSON(services(t), today)
	if err != nil {
		t.Fatal(err)
	}
	if len(csv.Resources) != 4 || len(json.Resources) != 4 {
		t.Fatalf("%d and %d resources, want 4", len(csv.Resources), len(json.Resources))
	}
	for i, r := range csv.Resources {
		if !proto.Equal(r, json.Resources[i]) {
			t.Errorf("resource %d:\n%v\n%v", i, r, json.Resources[i])
		}
	}
	if len(csv.Notes) != len(json.Notes) {
		t.Errorf("notes:\n%s\n\n%s", strings.Join(csv.Notes, "\n"), strings.Join(json.Notes, "\n"))
	}
}

func TestResources(t *testing.T) {
	t.Parallel()
	r := tables(t)
	beds, pantry, annex, legal := r.Resources[0], r.Resources[1], r.Resources[2], r.Resources[3]
	hours := func(r *tandemv1.Resource) string {
		var out []string
		for _, h := range r.GetHours() {
			out = append(out, h.GetByday()+" "+h.GetOpens()+"-"+h.GetCloses())
		}
		return strings.Join(out, ", ")
	}
	for what, got := range map[string][2]string{
		"name":             {beds.GetServiceName().GetEn(), "Crisis stabilization"},
		"organization":     {beds.GetOrgName(), "Prairie Example House"},
		"address":          {beds.GetAddress() + " " + beds.GetZip5(), "1 Main Street, Floor 2 61801"},
		"email of the org": {beds.GetEmail(), "house@example.org"},
		"own email":        {pantry.GetEmail(), "food@example.org"},
		"langs":            {strings.Join(beds.GetLangs(), " "), "en es"},
		"needs":            {strings.Join(beds.GetCategory(), " "), "crisis_bed"},
		"needs by name":    {strings.Join(pantry.GetCategory(), " "), "food"},
		"cost":             {beds.GetCost() + " " + pantry.GetCost() + " " + legal.GetCost(), "free free sliding"},
		"hours":            {hours(pantry), "tu 10:00-14:30, th 10:00-14:30"},
		"hours of a place": {hours(annex), "fr 22:00-02:00"},
		"always":           {hours(beds), ""},
		"status":           {legal.GetStatus(), "temporarily_closed"},
		"phone of the org": {legal.GetPhones()[0].GetNumber(), "+1 217 555 0102"},
		"phone of a place": {annex.GetPhones()[0].GetNumber() + " " + annex.GetPhones()[0].GetExtension() + " " + annex.GetPhones()[0].GetType(), "+1 217 555 0101 7 text"},
		"assured":          {beds.GetAssuredOn(), "2026-10-01"},
		"alert":            {pantry.GetAlert(), "Closed on holidays"},
		"key":              {directory.Key(beds), "service_at_location p1"},
		"key of a service": {directory.Key(legal), "service s3"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", what, got[0], got[1])
		}
	}
	if !beds.GetOpen_24_7() || !beds.GetAcceptsWalkIn() || !beds.GetAcceptsPoliceDropoff() || pantry.GetAcceptsPoliceDropoff() || beds.GetMinAge() != 18 {
		t.Errorf("the beds: %v", beds)
	}
	if annex.Lat != nil || beds.GetLat() != 40.11 || annex.Zip5 != nil {
		t.Error("what is nowhere on earth has a place on it")
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{
		"phones.csv:5: the phone was left out", "schedules.csv:5: the schedule was left out: it is not of each week",
		"schedules.csv:6: the schedule was left out: it has ended", "languages.csv:4: the language was left out",
		"locations.csv:3: latitude and longitude were left out", "addresses.csv:4: postal_code was left out",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
}

// What is broken is refused with its place, and nothing is taken.
func TestBrokenDirectories(t *testing.T) {
	t.Parallel()
	base := map[string]string{
		"organization.csv": "id,name\no1,House\n", "service.csv": "id,organization_id,name,status\ns1,o1,Beds,active\n",
	}
	with := func(name, text string) fstest.MapFS {
		files := fstest.MapFS{}
		for n, s := range base {
			files[n] = &fstest.MapFile{Data: []byte(s)}
		}
		if text != "" {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		} else if name != "" {
			delete(files, name)
		}
		return files
	}
	if r, err := directory.ReadTables(with("", ""), today); err != nil || len(r.Resources) != 1 {
		t.Fatalf("the smallest directory: %v", err)
	}
	for _, tc := range []struct{ name, text, want string }{
		{"service.csv", "", "there is no table of services"},
		{"organization.csv", "", `service.csv:2: it is of the organization "o1"`},
		{"service.csv", "id,organization_id,name,status\ns1,o1,,active\n", "service.csv:2: a service has a name"},
		{"service.csv", "id,organization_id,name,status\ns1,o1,Beds,open\n", `service.csv:2: its status is "open"`},
		{"service.csv", "id,organization_id,name,status\ns1,o1,Beds,active\n,o1,More,active\n", "service.csv:3: a service has an id"},
		{"service.csv", "id,organization_id,name,status\ns1,o1,Beds,active\ns1,o1,More,active\n", "service.csv:3: the id s1 stands twice"},
		{"service.csv", "id,organization_id,name,status\ns1,o1,Beds\n", "service.csv: record on line 2: wrong number of fields"},
		{"service.csv", "id,organization_id\n\"s1,o1\n", "service.csv: parse error on line 2"},
		{"service_at_location.csv", "id,service_id,location_id\np1,s1,l9\n", `service_at_location.csv:2: it is at the location "l9"`},
		{"service_at_location.csv", "id,service_id,location_id\np1,s9,\n", `service_at_location.csv:2: it is of the service "s9"`},
		{"datapackage.json", "{", "datapackage.json: this is no JSON"},
		{"datapackage.json", `{"resources":[{"name":"services","path":"../x.csv"}]}`, "leads out of the package"},
	} {
		r, err := directory.ReadTables(with(tc.name, tc.text), today)
		if err == nil || !strings.Contains(err.Error(), tc.want) || r != nil {
			t.Errorf("%s %q: got %v, want %s", tc.name, tc.text, err, tc.want)
		}
	}
	for raw, want := range map[string]string{
		"":    "line 1: this is no JSON",
		"7":   "[0]: want an object",
		"{}7": "something follows",
		`{"id":"s1","name":"Beds","status":"active"}`: `[0]: it is of the organization ""`,
		`[{"id":"s1","name":"Beds","status":"active","organization":{"id":"o1","name":"A"}},{"id":"s2","name":"B","status":"active","organization":{"id":"o1","name":"C"}}]`: "the id o1 stands at [0].organization too, with another name",
		`{"id":"s1","name":"Beds","status":"active","organization":{"id":"o1","name":"A"},"phones":[7]}`:                                                                     "[0].phones[0]: want an object",
		strings.Repeat(`{"service":`, 60) + "{}" + strings.Repeat("}", 60):                                                                                                   "nested too deep",
	} {
		r, err := directory.ReadJSON([]byte(raw), today)
		if err == nil || !strings.Contains(err.Error(), want) || r != nil {
			t.Errorf("%.80s: got %v, want %s", raw, err, want)
		}
	}
}

// An organization with its services, and a place of a service, are read as well.
func TestOtherShapes(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"id":"o1","name":"House","services":[{"id":"s1","name":"Beds","status":"active"},{"id":"s2","name":"Food","status":"active"}]}`:                                                      "service s1, service s2",
		`[{"id":"p1","service":{"id":"s1","name":"Beds","status":"active","organization":{"id":"o1","name":"House"}},"location":{"id":"l1","addresses":[{"id":"a1","postal_code":"61801"}]}}]`: "service_at_location p1",
	} {
		r, err := directory.ReadJSON([]byte(raw), today)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		var keys []string
		for _, one := range r.Resources {
			keys = append(keys, directory.Key(one))
			if one.GetOrgName() != "House" {
				t.Errorf("%s: of %q", raw, one.GetOrgName())
			}
		}
		if got := strings.Join(keys, ", "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The lifeline is on top with any directory and with none.
func TestList(t *testing.T) {
	t.Parallel()
	var entries []directory.Entry
	for i, r := range tables(t).Resources {
		entries = append(entries, directory.Entry{ID: string(rune('a' + i)), Resource: r})
	}
	line := func(name, number, life string) *tandemv1.Resource {
		return &tandemv1.Resource{
			ServiceName: &tandemv1.LocalizedText{En: &name}, Status: new("active"), Lifecycle: &life, IsCrisisLine: new(true),
			Phones: []*tandemv1.ResourcePhone{{Number: &number, Type: new("voice")}},
		}
	}
	entries = append(entries,
		directory.Entry{ID: "x", Resource: line("County line", "+1 217 555 0199", "active")},
		directory.Entry{ID: "y", Resource: line("Lifeline again", "988", "active")},
		directory.Entry{ID: "z", Resource: line("Proposed line", "+1 217 555 0198", "proposed")},
	)
	const tuesday, noon = 1, 12 * 60
	for name, tc := range map[string]struct {
		of   []directory.Entry
		q    directory.Query
		want string // ids after the lifeline
	}{
		"no directory":             {nil, directory.Query{}, ""},
		"no directory, a question": {nil, directory.Query{Need: "food", Lang: "fr", OpenNow: true, Words: "zzz", PoliceDropoff: true}, ""},
		"all, at noon on Tuesday":  {entries, directory.Query{Day: tuesday, Minute: noon}, "x a b c"},
		"a need":                   {entries, directory.Query{Need: "food"}, "b c"},
		"open now":                 {entries, directory.Query{Need: "food", OpenNow: true, Day: tuesday, Minute: noon}, "b"},
		"open past midnight":       {entries, directory.Query{Need: "food", OpenNow: true, Day: 5, Minute: 90}, "c"},
		"closed past two":          {entries, directory.Query{Need: "food", OpenNow: true, Day: 5, Minute: 120}, ""},
		"a language":               {entries, directory.Query{Lang: "es"}, "a"},
		"police drop-off":          {entries, directory.Query{PoliceDropoff: true}, "a"},
		"walk-in":                  {entries, directory.Query{WalkIn: true}, "a"},
		"words":                    {entries, directory.Query{Words: "PRAIRIE exampleton bed"}, "a"},
		"what is closed for now":   {entries, directory.Query{Need: "legal"}, ""},
	} {
		list := directory.List(tc.of, tc.q)
		if list[0].GetPhones()[0].GetNumber() != "988" || !list[0].GetIsCrisisLine() || !list[0].GetOpen_24_7() {
			t.Errorf("%s: the lifeline is not on top", name)
		}
		var ids []string
		for _, e := range list[1:] {
			ids = append(ids, e.ID)
		}
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	if l := directory.Lifeline(); l.GetServiceName().GetEs() == "" || !slices.Contains(l.GetLangs(), "es") {
		t.Error("the lifeline speaks one language")
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add(services(f))
	f.Add([]byte(`{"id":"o1","name":"House","services":[{"id":"s1","name":"Beds","status":"active"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		r, err := directory.ReadJSON(raw, today)
		if err != nil {
			if r != nil {
				t.Fatal("half of it was taken")
			}
			return
		}
		var entries []directory.Entry
		for _, one := range r.Resources {
			entries = append(entries, directory.Entry{Resource: one})
			if directory.Key(one) == "" {
				t.Fatalf("a resource without a key: %v", one)
			}
		}
		if len(directory.List(entries, directory.Query{})) == 0 {
			t.Fatal("nothing is shown")
		}
	})
}
