package mapping_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/client/mapping"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

const (
	torontoMapping = "../../testdata/mappings/toronto.yaml"
	torontoFile    = "../../testdata/toronto-2014.csv.gz"
	torontoRows    = 22176
)

var into = mapping.Envelope{Agency: syncengine.ID{1}, Program: syncengine.ID{2}, Team: syncengine.ID{3}}

// torontoText returns the file, expanded.
func torontoText(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open(torontoFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustToronto(t testing.TB) *mapping.Mapping {
	t.Helper()
	m, err := mapping.Open(torontoMapping)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustFile(t testing.TB, m *mapping.Mapping, text string) *mapping.File {
	t.Helper()
	f, err := m.File(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// mustRows returns all rows of a file that has no bad one.
func mustRows(t testing.TB, f *mapping.File) []mapping.Row {
	t.Helper()
	var rows []mapping.Row
	for row, err := range f.Rows(t.Context(), into) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func incident(t testing.TB, row mapping.Row) *tandemv1.Incident {
	t.Helper()
	var in tandemv1.Incident
	if err := proto.Unmarshal(row.Write.GetBody(), &in); err != nil {
		t.Fatal(err)
	}
	return &in
}

// once holds what mapping the file gives, which several tests look at.
var once struct {
	sync.Mutex
	file *mapping.File
	rows []mapping.Row
}

// mustTorontoRows returns the compressed file and its rows, which must not be
// written to.
func mustTorontoRows(t testing.TB) (*mapping.File, []mapping.Row) {
	t.Helper()
	once.Lock()
	defer once.Unlock()
	if once.rows == nil {
		source, err := os.Open(torontoFile)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		if once.file, err = mustToronto(t).File(t.Context(), source); err != nil {
			t.Fatal(err)
		}
		once.rows = mustRows(t, once.file)
	}
	return once.file, once.rows
}

func TestTorontoCountsAreTheFiles(t *testing.T) {
	t.Parallel()
	file, records := mustTorontoRows(t)
	got := map[string]int{}
	ids := map[syncengine.ID]bool{}
	numbers := map[string]bool{}
	end := int64(0)
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range records {
		in := incident(t, row)
		at := time.UnixMilli(in.GetReceivedAt().GetAtMs()).In(zone)
		if at.Day() != 1 || at.Hour() != 0 || in.GetReceivedAt().GetPrecision() != "month" || in.GetReceivedAt().GetOrigin() != "import" {
			t.Fatalf("line %d: got %v, want the start of a month, imported, exact to the month", row.Line, in.GetReceivedAt())
		}
		if in.GetLifecycle() != "locked" || in.GetTeamId() != into.Team.String() || in.GetTz() != "America/Toronto" {
			t.Fatalf("line %d: got envelope %q %q %q", row.Line, in.GetLifecycle(), in.GetTeamId(), in.GetTz())
		}
		if row.End <= end || row.Line != int(row.Number) {
			t.Fatalf("line %d: row %d ends at %d, after %d", row.Line, row.Number, row.End, end)
		}
		end = row.End
		ids[row.Record], numbers[in.GetNumber()] = true, true
		got["rows"]++
		got["type "+in.GetCallType()]++
		got["month "+at.Format("2006-01")]++
		got["police "+strings.Join(in.GetLeActions(), "+")]++
		got["place "+in.GetLocation().GetBeat()+" "+in.GetLocation().GetAddress()+" "+in.GetNotesOps()]++
	}
	if len(ids) != torontoRows || len(numbers) != torontoRows || end != file.Size() {
		t.Errorf("got %d ids, %d numbers and the end at %d of %d, want %d of each and the whole file", len(ids), len(numbers), end, file.Size(), torontoRows)
	}

	want := map[string]int{}
	text := torontoText(t)
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"Person in Crisis": "behavioral_crisis", "Suicide-related": "suicide_threat", "Overdose": "overdose"}
	police := map[string]string{"Yes": "protective_custody", "No": "none"}
	seen, repeats := map[string]bool{}, 0
	for _, r := range rows[1:] {
		month, err := time.Parse("2006 January", r[0]+" "+r[1])
		if err != nil {
			t.Fatal(err)
		}
		want["rows"]++
		want["type "+types[r[4]]]++
		want["month "+month.Format("2006-01")]++
		want["police "+police[r[6]]]++
		want["place "+r[5]+" Neighbourhood "+r[7]+" "+r[2]+", hour "+r[3]+" (day not published)"]++
		if whole := strings.Join(r, ","); seen[whole] {
			repeats++
		} else {
			seen[whole] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts of the file (-) and of its records (+) differ:\n%s", diff)
	}
	if want["rows"] != torontoRows || repeats != 663 {
		t.Errorf("the file has %d rows, of which %d repeat another, want %d and 663", want["rows"], repeats, torontoRows)
	}
	for what, n := range map[string]int{
		"type behavioral_crisis": 13935, "type suicide_threat": 6589, "type overdose": 1652,
		"police protective_custody": 4737, "police none": 17439, "month 2014-08": 2014, "month 2014-02": 1628,
	} {
		if got[what] != n {
			t.Errorf("%s: got %d, want %d", what, got[what], n)
		}
	}
}

func TestTorontoTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	m := mustToronto(t)
	compressed, first := mustTorontoRows(t)
	plain := mustFile(t, m, string(torontoText(t)))
	second := mustRows(t, plain)
	if !slices.EqualFunc(first, second, func(a, b mapping.Row) bool {
		return a.Record == b.Record && a.Line == b.Line && proto.Equal(a.Write, b.Write)
	}) {
		t.Error("the file and its compressed form give different rows")
	}
	other := mapping.Envelope{Team: syncengine.ID{9}}
	for row, err := range plain.Rows(t.Context(), other) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Record != first[0].Record {
			t.Errorf("for another team the first row became %v, want %v", row.Record, first[0].Record)
		}
		break
	}
	from := first[0].Write.GetImportedFrom()
	if hash := compressed.Hash(); from.GetMapping() != "toronto-persons-in-crisis@1" || !bytes.Equal(from.GetFile(), hash[:]) || from.GetRow() != 2 {
		t.Errorf("got origin %v", from)
	}
}

func TestAnotherYearTakesTheSameMapping(t *testing.T) {
	t.Parallel()
	m := mustToronto(t)
	text := string(torontoText(t))
	later := strings.ReplaceAll(text, "\n2014,", "\n2019,")
	_, first := mustTorontoRows(t)
	second := mustRows(t, mustFile(t, m, later))
	if len(second) != torontoRows {
		t.Fatalf("got %d rows, want %d", len(second), torontoRows)
	}
	ids := map[syncengine.ID]bool{}
	months := map[string]int{}
	for i, row := range second {
		ids[row.Record], ids[first[i].Record] = true, true
		months[time.UnixMilli(incident(t, row).GetReceivedAt().GetAtMs()).UTC().Format("2006-01")]++
	}
	if len(ids) != 2*torontoRows {
		t.Errorf("two years made %d records, want %d", len(ids), 2*torontoRows)
	}
	if names := slices.Sorted(maps.Keys(months)); len(names) != 12 || names[0] != "2019-01" || names[11] != "2019-12" {
		t.Errorf("got months %v, want those of 2019", names)
	}
}

func TestTorontoKeepsGoingPastBadRows(t *testing.T) {
	t.Parallel()
	m := mustToronto(t)
	lines := strings.SplitAfter(string(torontoText(t)), "\n")
	lines[100] = "2014,Janvember,Monday,3,Overdose,D51,No,71\n"
	lines[20000] = "2014,May,Monday,3,Overdose,D51,Perhaps,71\n"
	file := mustFile(t, m, strings.Join(lines, ""))
	var told int64
	sum, err := file.Check(t.Context(), into, func(read int64) { told = read })
	if err != nil {
		t.Fatal(err)
	}
	if sum.Rows != torontoRows || sum.Good != torontoRows-2 || sum.Bad != 2 || told != file.Size() {
		t.Errorf("got %d rows, %d good, %d bad, told of %d of %d bytes", sum.Rows, sum.Good, sum.Bad, told, file.Size())
	}
	var words []string
	for _, e := range sum.Errors {
		words = append(words, e.Error())
	}
	want := []string{
		`line 101: column "event_month" does not hold a month`,
		`line 20001: column "apprehension_made" holds a value that the mapping does not list: add it to values, or say what to do under unknown`,
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkToronto(b *testing.B) {
	m := mustToronto(b)
	file := mustFile(b, m, string(torontoText(b)))
	rows := 0
	for b.Loop() {
		rows += len(mustRows(b, file))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
	if rows%torontoRows != 0 {
		b.Fatal("rows are missing: " + strconv.Itoa(rows))
	}
}
