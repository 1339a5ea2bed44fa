package mapping_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/client/mapping"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// head begins a mapping of incidents; fields follow.
const head = "name: test\nversion: 1\nkind: incident\nzone: America/Chicago\nkey: file_row\n"

func load(t testing.TB, text string) *mapping.Mapping {
	t.Helper()
	m, err := mapping.Load(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oneRow maps a file of one row and returns the incident, without its envelope, or
// the error.
func oneRow(t *testing.T, m *mapping.Mapping, text string) (*tandemv1.Incident, error) {
	t.Helper()
	file, err := m.File(t.Context(), strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var in *tandemv1.Incident
	for row, err := range file.Rows(t.Context(), into) {
		if err != nil {
			return nil, err
		}
		in = incident(t, row)
		in.AgencyId, in.ProgramId, in.TeamId, in.Lifecycle, in.Tz, in.Schema = nil, nil, nil, nil, nil, nil
	}
	return in, nil
}

func TestFields(t *testing.T) {
	t.Parallel()
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	at := func(precision string, y int, m time.Month, d, h, mi int) *tandemv1.Instant {
		return &tandemv1.Instant{
			AtMs: new(time.Date(y, m, d, h, mi, 0, 0, chicago).UnixMilli()), Origin: new("import"), Precision: &precision,
		}
	}
	for name, tc := range map[string]struct {
		fields, file string
		want         *tandemv1.Incident
		err          string
	}{
		"text, trimmed": {
			fields: "  notes_ops: {column: a}", file: "a\n \tloud party  \n",
			want: &tandemv1.Incident{NotesOps: new("loud party")},
		},
		"a formula is text": {
			fields: "  notes_ops: {column: a}", file: "a\n\"=HYPERLINK(\"\"http://x\"\";A1)+@SUM(-1)\"\n",
			want: &tandemv1.Incident{NotesOps: new(`=HYPERLINK("http://x";A1)+@SUM(-1)`)},
		},
		"line ends in a cell become newlines": {
			fields: "  notes_ops: {column: a}", file: "a\r\n\"one\r\ntwo\rthree\"\r\n",
			want: &tandemv1.Incident{NotesOps: new("one\ntwo\nthree")},
		},
		"values, whatever their case": {
			fields: "  call_type: {column: a, values: {Overdose: overdose}}", file: "a\noverDOSE \n",
			want: &tandemv1.Incident{CallType: new("overdose")},
		},
		"a column of codes": {
			fields: "  call_type: {column: a}", file: "a\nwelfare_check\n",
			want: &tandemv1.Incident{CallType: new("welfare_check")},
		},
		"a column of codes, unknown": {
			fields: "  call_type: {column: a, unknown: other}", file: "a\nnonesuch\n",
			want: &tandemv1.Incident{CallType: new("other")},
		},
		"unknown left unset": {
			fields: "  call_type: {column: a, values: {x: other}, unknown: unset}\n  notes_ops: {constant: n}", file: "a\ny\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"unknown is an error": {
			fields: "  call_type: {column: a, values: {x: other}}", file: "a\nJane Roe\n",
			err: `line 2: column "a" holds a value that the mapping does not list: add it to values, or say what to do under unknown`,
		},
		"a column of codes, unknown is an error": {
			fields: "  call_type: {column: a}", file: "a\nJane Roe\n",
			err: `line 2: column "a" holds a value that is no code of the list call_type`,
		},
		"a value that sets nothing": {
			fields: "  call_type: {column: a, values: {x: ~}}\n  notes_ops: {constant: n}", file: "a\nx\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"empty takes a code": {
			fields: "  place_type: {column: a, values: {Home: home}, empty: not_recorded}\n  notes_ops: {column: b}", file: "a,b\n,n\n",
			want: &tandemv1.Incident{PlaceType: new("not_recorded"), NotesOps: new("n")},
		},
		"empty is unset": {
			fields: "  place_type: {column: a, values: {Home: home}}\n  notes_ops: {column: b}", file: "a,b\n,n\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"empty is an error": {
			fields: "  place_type: {column: a, values: {Home: home}, empty: error}\n  notes_ops: {column: b}", file: "a,b\n,n\n",
			err: `line 2: column "a" is empty, and the mapping wants a value`,
		},
		"empty values": {
			fields: "  place_type: {column: a, values: {Home: home}, empty_values: [N/A]}\n  notes_ops: {column: b}", file: "a,b\nn/a,n\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"a boolean": {
			fields: "  ems_on_scene: {column: a, values: {Y: true, N: false}}\n  fire_on_scene: {column: b, values: {Y: true, N: false}}", file: "a,b\nN,Y\n",
			want: &tandemv1.Incident{EmsOnScene: new(false), FireOnScene: new(true)},
		},
		"parts of a message": {
			fields: "  location.lat: {column: a}\n  location.accuracy_m: {column: b}\n  location.beat: {column: c}", file: "a,b,c\n-43.65,20,D51\n",
			want: &tandemv1.Incident{Location: &tandemv1.Location{Lat: new(-43.65), AccuracyM: new(uint32(20)), Beat: new("D51")}},
		},
		"a number that is none": {
			fields: "  location.lat: {column: a}", file: "a\n0x1p-2\n",
			err: `line 2: column "a" holds a value that is no decimal number`,
		},
		"a number out of range": {
			fields: "  location.lat: {column: a}", file: "a\n143.65\n",
			err: `line 2: column "a" does not fit the field location.lat: it does not have its form, or is too long`,
		},
		"a text that is too long": {
			fields: "  number: {column: a}", file: "a\n" + strings.Repeat("Jane ", 9) + "\n",
			err: `line 2: column "a" does not fit the field number: it does not have its form, or is too long`,
		},
		"a template": {
			fields: `  number: {template: "TPS-{#row}-{a}"}`, file: "a\n7\n",
			want: &tandemv1.Incident{Number: new("TPS-2-7")},
		},
		"a template with nothing to say": {
			fields: "  number: {template: \"TPS-{a}{b}\"}\n  notes_ops: {column: c}", file: "a,b,c\n,,n\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"a set of several columns": {
			fields: "  force_types:\n    set:\n      - {column: a, values: {Yes: cew, No: ~}}\n      - {column: b, values: {Yes: oc_spray, No: ~}}\n      - {column: c, values: {Yes: [handcuffs, cew], No: ~}}",
			file:   "a,b,c\nYes,No,Yes\n",
			want:   &tandemv1.Incident{ForceTypes: []string{"cew", "handcuffs"}},
		},
		"a set of one column": {
			fields: "  le_actions: {column: a, split: ;, values: {Stood by: standby, Drove: transport}}", file: "a\nDrove; stood by;\n",
			want: &tandemv1.Incident{LeActions: []string{"standby", "transport"}},
		},
		"choices that exclude each other": {
			fields: "  le_actions: {column: a, split: ;}", file: "a\nnone;transport\n",
			err: `line 2: column "a" does not fit the field le_actions: One of the choices excludes the others. Keep it alone, or take it away.`,
		},
		"elements": {
			fields: "  responders:\n    elements:\n      - {name: {column: a}, on_scene_role: {constant: officer}}\n      - {name: {column: b}, on_scene_role: {constant: nurse}}\n  notes_ops: {constant: n}",
			file:   "a,b\nUnit 7,\n",
			want: &tandemv1.Incident{NotesOps: new("n"), Responders: []*tandemv1.Responder{
				{Name: new("Unit 7"), OnSceneRole: new("officer")},
			}},
		},
		"an element that does not fit": {
			fields: "  responders:\n    elements:\n      - {name: {column: a}}", file: "a\n" + strings.Repeat("Jane ", 30) + "\n",
			err: `line 2: column "a" does not fit the field responders.name: it does not have its form, or is too long`,
		},
		"year and month": {
			fields: "  received_at: {date: {year: a, month: b}}", file: "a,b\n2014,July\n",
			want: &tandemv1.Incident{ReceivedAt: at("month", 2014, 7, 1, 0, 0)},
		},
		"a month in Spanish": {
			fields: "  received_at: {date: {year: a, month: b}}", file: "a,b\n2014,SETIEMBRE\n",
			want: &tandemv1.Incident{ReceivedAt: at("month", 2014, 9, 1, 0, 0)},
		},
		"a short month, a year of its own": {
			fields: "  received_at: {date: {year: {constant: 2013}, month: b}}", file: "b\nDic.\n",
			want: &tandemv1.Incident{ReceivedAt: at("month", 2013, 12, 1, 0, 0)},
		},
		"to the hour": {
			fields: "  received_at: {date: {year: a, month: b, day: c, hour: d}}", file: "a,b,c,d\n2014,7,4,23\n",
			want: &tandemv1.Incident{ReceivedAt: at("hour", 2014, 7, 4, 23, 0)},
		},
		"a finer part is empty": {
			fields: "  received_at: {date: {year: a, month: b, day: c, hour: d}}", file: "a,b,c,d\n2014,7,4,\n",
			want: &tandemv1.Incident{ReceivedAt: at("day", 2014, 7, 4, 0, 0)},
		},
		"a gap": {
			fields: "  received_at: {date: {year: a, month: b, day: c, hour: d}}", file: "a,b,c,d\n2014,7,,5\n",
			err: `line 2: column "a" is part of a date that leaves a gap: a finer part is there and a coarser one is not`,
		},
		"no month": {
			fields: "  received_at: {date: {year: a, month: b}}", file: "a,b\n2014,\n",
			err: `line 2: column "a" is part of a date that has no month`,
		},
		"no such day": {
			fields: "  received_at: {date: {year: a, month: b, day: c}}", file: "a,b,c\n2014,February,29\n",
			err: `line 2: column "a" is part of a date whose month has no such day`,
		},
		"no date": {
			fields: "  received_at: {date: {year: a, month: b}}\n  notes_ops: {column: c}", file: "a,b,c\n,,n\n",
			want: &tandemv1.Incident{NotesOps: new("n")},
		},
		"before 1970": {
			fields: "  received_at: {date: {year: a, month: b}}", file: "a,b\n1969,12\n",
			err: `line 2: column "a" is part of a time before 1970`,
		},
		"a time that was skipped": {
			fields: "  received_at: {date: {year: a, month: b, day: c, hour: d}}", file: "a,b,c,d\n2014,3,9,2\n",
			err: `line 2: column "a" is part of a time that the clocks of the mapping's zone skipped`,
		},
		"a date with a layout": {
			fields: "  received_at: {date: {text: [a, b], layout: MM/DD/YYYY hh:mm AM}}", file: "a,b\n7/4/2014,12:05 am\n",
			want: &tandemv1.Incident{ReceivedAt: at("minute", 2014, 7, 4, 0, 5)},
		},
		"a date with a layout and no time": {
			fields: "  received_at: {date: {text: [a, b], layout: DD MON YYYY hh:mm}}", file: "a,b\n04 julio 2014,\n",
			want: &tandemv1.Incident{ReceivedAt: at("day", 2014, 7, 4, 0, 0)},
		},
		"a date in another layout": {
			fields: "  received_at: {date: {text: a, layout: YYYY-MM-DD}}", file: "a\n7/4/2014\n",
			err: `line 2: column "a" does not hold a date in the layout of the mapping`,
		},
		"a date with more behind it": {
			fields: "  received_at: {date: {text: a, layout: YYYY-MM-DD}}", file: "a\n2014-07-04Z\n",
			err: `line 2: column "a" does not hold a date in the layout of the mapping`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := oneRow(t, load(t, head+"fields:\n"+tc.fields+"\n"), tc.file)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("got error %v, want %s", err, tc.err)
				}
				if bad, ok := errors.AsType[*mapping.RowError](err); !ok || bad.Line != 2 {
					t.Errorf("got %T, want a RowError of line 2", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform(), protocmp.IgnoreFields(&tandemv1.Responder{}, "element"), protocmp.SortRepeatedFields(&tandemv1.Incident{}, "le_actions", "force_types")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A leap day of a year without one is refused, and does not become the first of March.
func TestNoLeapDay(t *testing.T) {
	t.Parallel()
	m := load(t, head+"fields:\n  received_at: {date: {year: y, month: m, day: d}}\n")
	for _, row := range []string{"2023,2,29", "1900,2,29", "2024,2,30"} {
		if got, err := oneRow(t, m, "y,m,d\n"+row+"\n"); err == nil {
			t.Errorf("%s: got %v", row, time.UnixMilli(got.GetReceivedAt().GetAtMs()))
		} else if _, ok := errors.AsType[*mapping.RowError](err); !ok {
			t.Errorf("%s: got %v, want a RowError", row, err)
		}
	}
}

// A time that came twice is the first, and a day whose midnight the clocks skipped
// starts with its first moment.
func TestClockChanges(t *testing.T) {
	t.Parallel()
	const fields = "fields:\n  received_at: {date: {year: y, month: m, day: d, hour: h}}\n"
	for name, tc := range map[string]struct{ zone, row, want string }{
		"twice":                  {"America/Chicago", "2014,11,2,1", "2014-11-02T06:00:00Z"},
		"midnight twice":         {"America/Havana", "2014,11,2,", "2014-11-02T04:00:00Z"},
		"no midnight":            {"America/Sao_Paulo", "2014,10,19,", "2014-10-19T03:00:00Z"},
		"no midnight, the month": {"America/Asuncion", "2017,10,,", "2017-10-01T04:00:00Z"},
		"no such day":            {"Pacific/Apia", "2011,12,30,", ""},
		"a leap day":             {"America/Chicago", "2024,2,29,12", "2024-02-29T18:00:00Z"},
		"a leap day, the day":    {"America/Chicago", "2000,2,29,", "2000-02-29T06:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := load(t, strings.Replace(head, "America/Chicago", tc.zone, 1)+fields)
			got, err := oneRow(t, m, "y,m,d,h\n"+tc.row+"\n")
			if tc.want == "" {
				if err == nil || !strings.Contains(err.Error(), "skipped") {
					t.Errorf("got %v, want an error that says the day was skipped", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if at := time.UnixMilli(got.GetReceivedAt().GetAtMs()).UTC().Format(time.RFC3339); at != tc.want {
				t.Errorf("got %s, want %s", at, tc.want)
			}
		})
	}
}

func TestKeyColumns(t *testing.T) {
	t.Parallel()
	const fields = "fields:\n  notes_ops: {column: note, empty: unset}\nignore: [x]\n"
	m := load(t, strings.Replace(head, "file_row", "[unit, call]", 1)+fields)
	first := mustRows(t, mustFile(t, m, "unit,call,note,x\nA,1,n,1\nA,2,n,2\n"))
	second := mustRows(t, mustFile(t, m, "x,note,call,unit\n9,other, 2 ,A\n"))
	if first[1].Record != second[0].Record {
		t.Error("the same key in another file is another record")
	}
	if first[0].Record == first[1].Record {
		t.Error("two keys are one record")
	}
	// What is put together must not be taken apart otherwise.
	joined := mustRows(t, mustFile(t, m, "unit,call,note,x\nA1,2,n,1\nA,12,n,2\n"))
	if joined[0].Record == joined[1].Record {
		t.Error("keys A1+2 and A+12 are one record")
	}
	for text, want := range map[string]string{
		"unit,call,note,x\nA,1,n,1\nA,1,m,1\n": `line 3: column "unit" repeats the key of line 2: give the row a key of its own, or name more columns under key`,
		"unit,call,note,x\n,,n,1\n":            `line 2: column "unit" is empty, and it is what identifies the row`,
	} {
		sum, err := mustFile(t, m, text).Check(t.Context(), into, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sum.Bad != 1 || sum.Errors[0].Error() != want {
			t.Errorf("got %+v, want %s", sum, want)
		}
	}
}

func TestElementsHaveTheSameIDEachTime(t *testing.T) {
	t.Parallel()
	m := load(t, head+"fields:\n  responders:\n    elements:\n      - {name: {column: a}}\n      - {name: {column: b}}\n")
	file := mustFile(t, m, "a,b\nUnit 7,Unit 8\nUnit 7,Unit 8\n")
	first, again := mustRows(t, file), mustRows(t, file)
	ids := map[string]bool{}
	for i := range first {
		if !proto.Equal(first[i].Write, again[i].Write) {
			t.Errorf("line %d differs from one reading to the next", first[i].Line)
		}
		for _, r := range incident(t, first[i]).GetResponders() {
			if len(r.GetElement()) != syncengine.ElementKeySize {
				t.Errorf("got an element id of %d bytes", len(r.GetElement()))
			}
			ids[string(r.GetElement())] = true
		}
	}
	if len(ids) != 4 {
		t.Errorf("got %d different elements, want 4", len(ids))
	}
}

func TestOtherKinds(t *testing.T) {
	t.Parallel()
	m := load(t, strings.Replace(head, "kind: incident", "kind: person", 1)+
		"fields:\n  names:\n    elements:\n      - {given: {column: first}, family: {column: last}, use: {constant: legal}}\n"+
		"  approx_age: {column: age}\n  do_not_contact: {column: dnc, values: {Y: true, N: false}}\n")
	rows := mustRows(t, mustFile(t, m, "first,last,age,dnc\nJane,Roe,40,Y\n"))
	var got tandemv1.Person
	if err := proto.Unmarshal(rows[0].Write.GetBody(), &got); err != nil {
		t.Fatal(err)
	}
	if got.GetLifecycle() != "active" || got.GetNames()[0].GetFamily() != "Roe" || got.GetApproxAge() != 40 || !got.GetDoNotContact() {
		t.Errorf("got %v", &got)
	}
}
