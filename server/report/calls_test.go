package report_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/client/mapping"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

var testdata = filepath.Join("..", "..", "testdata")

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// toronto gives the records of the Toronto file, as an import makes them.
func toronto(t testing.TB) report.Records {
	t.Helper()
	m, err := mapping.Open(filepath.Join(testdata, "mappings", "toronto.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(filepath.Join(testdata, "toronto-2014.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := m.File(t.Context(), bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var all []*syncengine.Record
	for row, err := range file.Rows(t.Context(), mapping.Envelope{Team: syncengine.ID{1}}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &syncengine.Record{ID: row.Record, Kind: row.Write.GetKind(), Body: row.Write.GetBody()})
	}
	return each(all)
}

func each(all []*syncengine.Record) report.Records {
	return func(f func(*syncengine.Record) error) error {
		for _, rec := range all {
			if err := f(rec); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestTorontoReportIsTheFiles(t *testing.T) {
	t.Parallel()
	packed, err := os.Open(filepath.Join(testdata, "toronto-2014.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	text, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	types, months, made := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range rows[1:] {
		month, err := time.Parse("2006 January", r[0]+" "+r[1])
		if err != nil {
			t.Fatal(err)
		}
		types[map[string]string{"Person in Crisis": "behavioral_crisis", "Suicide-related": "suicide_threat", "Overdose": "overdose"}[r[4]]]++
		months[month.Format("2006-01")]++
		made[r[6]]++
	}
	records := toronto(t)
	// A month is a month, wherever the report is made.
	for _, zone := range []string{"America/Toronto", "UTC", "Pacific/Honolulu", "Pacific/Kiritimati"} {
		got, err := report.Calls(records, report.CallOptions{Zone: mustZone(t, zone)})
		if err != nil {
			t.Fatal(err)
		}
		if got.Calls != 22176 || len(rows) != 22177 {
			t.Errorf("%s: got %d calls of %d rows, want 22176", zone, got.Calls, len(rows)-1)
		}
		if diff := cmp.Diff(types, got.ByType); diff != "" {
			t.Errorf("%s: by type: %s", zone, diff)
		}
		if diff := cmp.Diff(months, got.ByMonth); diff != "" {
			t.Errorf("%s: by month: %s", zone, diff)
		}
		if want := (report.YesNo{Yes: made["Yes"], No: made["No"]}); got.ProtectiveCustody != want {
			t.Errorf("%s: protective custody: got %+v, want %+v", zone, got.ProtectiveCustody, want)
		}
		if diff := cmp.Diff(map[string]int{"protective_custody": made["Yes"], "none": made["No"]}, got.ByPoliceAction); diff != "" {
			t.Errorf("%s: by police action: %s", zone, diff)
		}
		if diff := cmp.Diff(map[string]int{"not_recorded": 22176}, got.ByOutcome); diff != "" {
			t.Errorf("%s: by outcome: %s", zone, diff)
		}
		if got.Contacts != 0 || got.ContactRate.Percent != nil || *got.NotRecorded["contact"].Percent != 100 {
			t.Errorf("%s: got %d contacts at %+v and %+v not recorded", zone, got.Contacts, got.ContactRate, got.NotRecorded["contact"])
		}
	}

	zone := mustZone(t, "America/Toronto")
	date := func(m time.Month, d int) time.Time { return time.Date(2014, m, d, 0, 0, 0, 0, zone) }
	got, err := report.Calls(records, report.CallOptions{Zone: zone, From: date(2, 1), To: date(4, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if want := months["2014-02"] + months["2014-03"]; got.Calls != want || got.Uncertain != 0 || len(got.ByMonth) != 2 {
		t.Errorf("February and March: got %d calls in %v and %d uncertain, want %d", got.Calls, got.ByMonth, got.Uncertain, want)
	}
	// Which of a month's calls lie in half of it, nobody knows.
	got, err = report.Calls(records, report.CallOptions{Zone: zone, From: date(2, 15), To: date(4, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Calls != months["2014-03"] || got.Uncertain != months["2014-02"]+months["2014-04"] {
		t.Errorf("mid February to 2 April: got %d calls and %d uncertain, want %d and %d",
			got.Calls, got.Uncertain, months["2014-03"], months["2014-02"]+months["2014-04"])
	}
}

// bodies returns the records of messages.
func bodies(t testing.TB, messages ...proto.Message) report.Records {
	t.Helper()
	d := record.New()
	var all []*syncengine.Record
	for i, msg := range messages {
		body, err := d.Body(msg)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &syncengine.Record{ID: syncengine.ID{byte(i + 1)}, Kind: d.KindOf(msg).Number, Body: body})
	}
	return each(all)
}

func instant(s, precision string) *tandemv1.Instant {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	out := &tandemv1.Instant{AtMs: new(at.UnixMilli())}
	if precision != "" {
		out.Precision = &precision
	}
	return out
}

func TestCallsOfANight(t *testing.T) {
	t.Parallel()
	chicago := mustZone(t, "America/Chicago")
	records := bodies(t,
		// The last minute of June in Chicago, July elsewhere.
		&tandemv1.Incident{CallType: new("welfare_check"), CallTypeFinal: new("overdose"), Contact: new("contact_made"),
			ArrivedAt: instant("2026-07-01T04:59:00Z", ""), DispatchedAt: instant("2026-07-01T05:30:00Z", ""), LeActions: []string{"standby", "transport"}},
		&tandemv1.Incident{CallType: new("welfare_check"), Contact: new("no_person_found"), ArrivedAt: instant("2026-07-02T05:00:00Z", ""), LeActions: []string{"protective_custody"}},
		&tandemv1.Incident{CallType: new("welfare_check"), Contact: new("not_recorded"), ArrivedAt: instant("2026-07-02T05:00:00Z", "")},
		&tandemv1.Incident{CallType: new("welfare_check"), Contact: new("cancelled_enroute"), DispatchedAt: instant("2026-07-02T05:00:00Z", ""), LeActions: []string{"none"}},
		&tandemv1.Incident{Source: new("x_new_source"), ReceivedAt: instant("2026-07-01T00:00:00Z", "month"), Tz: new("UTC")},
		&tandemv1.Incident{CallType: new("other"), Contact: new("contact_made")},
		&tandemv1.Incident{CallType: new("other"), Lifecycle: new("void"), ArrivedAt: instant("2026-07-02T05:00:00Z", "")},
		&tandemv1.Person{Descriptor_: new("not a call")},
	)
	got, err := report.Calls(records, report.CallOptions{Zone: chicago})
	if err != nil {
		t.Fatal(err)
	}
	silent := func(n int) report.Share { return report.Share{Count: n, Of: 6, Percent: new((200*n + 6) / 12)} }
	want := &report.CallReport{
		Period:            report.Period{Zone: "America/Chicago"},
		Calls:             6,
		ByType:            map[string]int{"overdose": 1, "welfare_check": 3, "other": 1, "not_recorded": 1},
		ByMonth:           map[string]int{"2026-06": 1, "2026-07": 4, "not_recorded": 1},
		ByOutcome:         map[string]int{"contact_made": 2, "no_person_found": 1, "cancelled_enroute": 1, "not_recorded": 2},
		ByPoliceAction:    map[string]int{"standby": 1, "transport": 1, "protective_custody": 1, "none": 1, "not_recorded": 3},
		ProtectiveCustody: report.YesNo{Yes: 1, No: 2, NotRecorded: 3},
		Contacts:          2,
		ContactRate:       report.Rate{Numerator: 1, Denominator: 2, Percent: new(50), Unreliable: true},
		NotRecorded: map[string]report.Share{
			"time": silent(1), "arrived_at": silent(3), "source": silent(5), "call_type": silent(1), "response_mode": silent(6),
			"contact": silent(2), "place_type": silent(6), "le_involvement": silent(6), "le_actions": silent(3),
		},
		Undated: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	july := report.CallOptions{Zone: chicago, From: time.Date(2026, 7, 1, 0, 0, 0, 0, chicago), To: time.Date(2026, 8, 1, 0, 0, 0, 0, chicago)}
	if got, err = report.Calls(records, july); err != nil {
		t.Fatal(err)
	}
	if got.Calls != 4 || got.Undated != 1 || got.ByMonth["2026-07"] != 4 {
		t.Errorf("July: got %d calls in %v and %d undated, want 4 of July and 1", got.Calls, got.ByMonth, got.Undated)
	}
}

func TestHoursAcrossTheEdgeAreUncertain(t *testing.T) {
	t.Parallel()
	records := bodies(t,
		&tandemv1.Incident{ArrivedAt: instant("2026-07-01T00:00:00Z", "hour")},
		&tandemv1.Incident{ArrivedAt: instant("2026-07-01T00:00:00Z", "day"), Tz: new("UTC")},
		&tandemv1.Incident{ArrivedAt: instant("2026-06-30T23:59:59Z", "minute")},
	)
	at := time.Date(2026, 7, 1, 0, 30, 0, 0, time.UTC)
	got, err := report.Calls(records, report.CallOptions{To: at})
	if err != nil {
		t.Fatal(err)
	}
	if got.Calls != 1 || got.Uncertain != 2 {
		t.Errorf("got %d calls and %d uncertain, want 1 and 2", got.Calls, got.Uncertain)
	}
}

// The day with 25 hours has all of its calls, once each, the one with 23 none of another's,
// and a leap day is of February.
func TestDaysOfOtherLengths(t *testing.T) {
	t.Parallel()
	chicago := mustZone(t, "America/Chicago")
	records := bodies(t,
		// Half past one came twice.
		&tandemv1.Incident{ArrivedAt: instant("2026-11-01T06:30:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2026-11-01T07:30:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2026-11-01T05:00:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2026-11-02T05:59:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2026-11-02T06:00:00Z", "minute")},
		// The last minute of the short day, and the first of the next.
		&tandemv1.Incident{ArrivedAt: instant("2026-03-09T04:59:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2026-03-09T05:00:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2024-03-01T05:59:00Z", "minute")},
		&tandemv1.Incident{ArrivedAt: instant("2024-02-29T18:00:00Z", "day")},
	)
	for _, tc := range []struct {
		day   time.Time
		calls int
	}{
		{time.Date(2026, 11, 1, 0, 0, 0, 0, chicago), 4},
		{time.Date(2026, 11, 2, 0, 0, 0, 0, chicago), 1},
		{time.Date(2026, 3, 8, 0, 0, 0, 0, chicago), 1},
		{time.Date(2026, 3, 9, 0, 0, 0, 0, chicago), 1},
		{time.Date(2024, 2, 29, 0, 0, 0, 0, chicago), 2},
		{time.Date(2024, 3, 1, 0, 0, 0, 0, chicago), 0},
	} {
		got, err := report.Calls(records, report.CallOptions{Zone: chicago, From: tc.day, To: tc.day.AddDate(0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if got.Calls != tc.calls || got.Uncertain != 0 {
			t.Errorf("%s: got %d calls and %d uncertain, want %d", tc.day.Format(time.DateOnly), got.Calls, got.Uncertain, tc.calls)
		}
	}
}

func TestReportsFail(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	_, err := report.Calls(func(func(*syncengine.Record) error) error { return broken }, report.CallOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	kind := record.New().KindByName("incident").Number
	_, err = report.Calls(func(f func(*syncengine.Record) error) error {
		return f(&syncengine.Record{Kind: kind, Body: []byte{0xff}})
	}, report.CallOptions{})
	if err == nil || !strings.Contains(err.Error(), "reading incident") {
		t.Errorf("got %v, want an error that names the incident", err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err = report.Calls(bodies(t), report.CallOptions{From: at, To: at}); err == nil {
		t.Error("an empty period gave a report")
	}
}

// The shape that scripts rely on.
func TestJSONShape(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	got, err := report.Calls(bodies(t, &tandemv1.Incident{
		CallType: new("overdose"), Contact: new("contact_made"), ArrivedAt: instant("2026-03-01T05:00:00Z", ""), LeActions: []string{"none"},
	}), report.CallOptions{From: at})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"period":{"from":"2026-01-01T00:00:00Z","to":null,"zone":"UTC"},"calls":1,"by_type":{"overdose":1},` +
		`"by_month":{"2026-03":1},"by_outcome":{"contact_made":1},"by_police_action":{"none":1},` +
		`"protective_custody":{"yes":0,"no":1,"not_recorded":0},"contacts":1,` +
		`"contact_rate":{"numerator":1,"denominator":1,"percent":100,"unreliable":true},` +
		`"not_recorded":{"arrived_at":{"count":0,"of":1,"percent":0},"call_type":{"count":0,"of":1,"percent":0},` +
		`"contact":{"count":0,"of":1,"percent":0},"le_actions":{"count":0,"of":1,"percent":0},` +
		`"le_involvement":{"count":1,"of":1,"percent":100},"place_type":{"count":1,"of":1,"percent":100},` +
		`"response_mode":{"count":1,"of":1,"percent":100},"source":{"count":1,"of":1,"percent":100},` +
		`"time":{"count":0,"of":1,"percent":0}},"uncertain":0,"undated":0}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	empty, err := report.Calls(bodies(t), report.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(empty); err != nil || !bytes.Contains(text, []byte(`"by_month":{}`)) || !bytes.Contains(text, []byte(`"percent":null`)) {
		t.Errorf("of no calls: got %s, %v", text, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	got, err := report.Calls(bodies(t,
		&tandemv1.Incident{CallType: new("overdose"), Contact: new("contact_made"), ArrivedAt: instant("2026-03-01T05:00:00Z", "")},
		&tandemv1.Incident{CallType: new("welfare_check"), ReceivedAt: instant("2026-02-01T05:00:00Z", "")},
		&tandemv1.Incident{CallType: new("welfare_check"), ReceivedAt: instant("2026-02-01T05:00:00Z", "")},
		&tandemv1.Incident{CallType: new("welfare_check")},
	), report.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for lang, golden := range map[string]string{"en": "calls.en.txt", "es": "calls.es.txt"} {
		var b strings.Builder
		if err := got.WriteText(&b, lang); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", golden))
		if err != nil {
			t.Errorf("got\n%s", b.String())
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Error(diff)
		}
	}
	if err := got.WriteText(full{}, "en"); !errors.Is(err, errFull) {
		t.Errorf("a closed output: got %v, want %v", err, errFull)
	}
}

var errFull = errors.New("no more room")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
