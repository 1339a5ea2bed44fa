package syncengine_test

import (
	"errors"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

func TestRecordReadsItsBody(t *testing.T) {
	t.Parallel()
	body := slices.Concat(
		syncengine.StringField(fLifecycle, "draft"), syncengine.StringField(fText, ""), syncengine.BoolField(fNew, true),
		syncengine.StringField(fCodes, "ems"), syncengine.StringField(fCodes, "police"), syncengine.StringField(fNewCodes, "x"),
	)
	r := &syncengine.Record{Body: body}
	if got := r.Lifecycle(); got != "draft" {
		t.Errorf("lifecycle: got %q", got)
	}
	if got := r.Field(fText); got == nil || r.Text(fText) != "" {
		t.Errorf("an empty text: got %x, want the field, and no text", got)
	}
	if got := r.Field(fRisk); got != nil || r.Text(fRisk) != "" {
		t.Errorf("a field between two others: got %x", got)
	}
	if got := r.Field(499); got != nil {
		t.Errorf("a field after all others: got %x", got)
	}
	if got := r.Text(fNew); got != "" {
		t.Errorf("text of a number: got %q", got)
	}
	if got, want := r.Codes(fCodes), []string{"ems", "police"}; !slices.Equal(got, want) {
		t.Errorf("codes: got %q, want %q", got, want)
	}
	if got := r.Codes(299); got != nil {
		t.Errorf("codes of a field that is not there: got %q", got)
	}
	bad := &syncengine.Record{Body: []byte{0xff}, Stamps: []byte{0xff}}
	if bad.Field(1) != nil || bad.Codes(200) != nil {
		t.Error("a body that is not canonical has fields")
	}
	if _, err := bad.Origin(); err == nil {
		t.Error("stamps that are not canonical have an origin")
	}
	if got := bad.Compartment(kind); got != kind.Compartment {
		t.Errorf("compartment of stamps that are not canonical: got %v", got)
	}
}

// A creation keeps its compartment where that is not the kind's own, and its import.
func TestCreate(t *testing.T) {
	t.Parallel()
	body := syncengine.StringField(fText, "calm")
	sud := tandemv1.Compartment_COMPARTMENT_SUD
	for name, tc := range map[string]struct {
		asked, want tandemv1.Compartment
		stored      tandemv1.Compartment
	}{
		"not stated":     {want: kind.Compartment},
		"the kind's own": {asked: kind.Compartment, want: kind.Compartment},
		"a stricter one": {asked: sud, want: sud, stored: sud},
	} {
		w := &tandemv1.RecordWrite{
			Record: sampleID[:], Kind: kindNumber, Act: tandemv1.Act_ACT_CREATE, Body: body, Compartment: tc.asked,
			ImportedFrom: &tandemv1.Import{Mapping: "nemsis", File: []byte{1, 2}, Row: 300},
		}
		applied, err := syncengine.Apply(kind, nil, w, writerOf(1), newShelf())
		if err != nil {
			t.Fatal(err)
		}
		if got := applied.Record.Compartment(kind); got != tc.want || applied.Record.ID != sampleID || applied.Record.Kind != kindNumber {
			t.Errorf("%s: got record %v of kind %d in %v, want %v", name, applied.Record.ID, applied.Record.Kind, got, tc.want)
		}
		m := canonical(t, applied.Record.Stamps)
		if m.Compartment != tc.stored || m.ImportedFrom.GetMapping() != "nemsis" || m.ImportedFrom.GetRow() != 300 || len(m.ImportedFrom.GetFile()) != 2 {
			t.Errorf("%s: stamps: got %v", name, m)
		}
	}
}

// A creation whose values have been written over before it came shows none of them.
func TestCreateThatWasWrittenOver(t *testing.T) {
	t.Parallel()
	s := newShelf()
	if err := s.Await(syncengine.Path{Field: fText}, 1); err != nil {
		t.Fatal(err)
	}
	create := &change{stamp: 1, act: tandemv1.Act_ACT_CREATE, edits: []edit{
		{path: syncengine.Path{Field: fText}, text: "calm"}, {path: syncengine.Path{Field: fRisk}, text: "low"},
	}}
	if _, err := s.accept(create); err != nil {
		t.Fatal(err)
	}
	if _, err := syncengine.Apply(kind, nil, create.message(), writerOf(1), &faulty{shelf: s}); !errors.Is(err, errStore) {
		t.Errorf("a store that fails: got %v, want %v", err, errStore)
	}
	if s.rec.Field(fText) != nil || s.rec.Text(fRisk) != "low" {
		t.Errorf("got body %x, want the risk alone", s.rec.Body)
	}
}

// faulty is a history that fails at its n-th question.
type faulty struct {
	*shelf

	left int
}

var errStore = errors.New("the store does not answer")

func (f *faulty) fail() error {
	if f.left--; f.left < 0 {
		return errStore
	}
	return nil
}

func (f *faulty) Awaited(p syncengine.Path, s syncengine.Stamp) (bool, error) {
	if err := f.fail(); err != nil {
		return false, err
	}
	return f.shelf.Awaited(p, s)
}

func (f *faulty) Await(p syncengine.Path, s syncengine.Stamp) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.shelf.Await(p, s)
}

func (f *faulty) QuarantinedBases(p syncengine.Path, s syncengine.Stamp) ([]syncengine.Stamp, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	return f.shelf.QuarantinedBases(p, s)
}

func (f *faulty) Written(p syncengine.Path, s syncengine.Stamp) (syncengine.Head, bool, error) {
	if err := f.fail(); err != nil {
		return syncengine.Head{}, false, err
	}
	return f.shelf.Written(p, s)
}

// A store that fails at any point fails the change, which changes nothing.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	const before = `
		C create lifecycle=draft text=calm risk=low label=red
		A set text=upset<C label=blue<C`
	for name, last := range map[string]string{
		"set":             "X set text=angry<C,Z new=x<0 label=green<C",
		"resolve":         "X resolve text=angry<A,Z",
		"sign":            "X sign lifecycle=signed<C @C",
		"void":            "X void lifecycle=void<C @C",
		"create":          "X create text=calm",
		"late edit":       "S sign lifecycle=signed<C @C,A\nX set text=angry<A,Z",
		"late sign":       "S sign lifecycle=signed<C @C,A\nX sign lifecycle=signed<C text=tired<C @C",
		"amend":           "S sign lifecycle=signed<C @C,A\nE set new=x<0 text=y<A\nX amend lifecycle=amended<S text=z<A @C,A,S",
		"sign a vanished": "B set text=angry<A\nX sign lifecycle=signed<C @C,A",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, before+"\n"+last)
			x := s.byName["X"]
			told := 0
			for n := range 100 {
				s := tell(t, before+"\n"+last[:lastLine(last)])
				was := *s.shelf.rec
				_, err := syncengine.Apply(kind, s.shelf.rec, x.message(), writerOf(x.stamp), &faulty{shelf: s.shelf, left: n})
				if err == nil {
					break
				}
				told++
				if !errors.Is(err, errStore) {
					t.Fatalf("question %d: got %v, want %v", n, err, errStore)
				}
				if !slices.Equal(was.Body, s.shelf.rec.Body) || !slices.Equal(was.Stamps, s.shelf.rec.Stamps) {
					t.Fatalf("question %d: the record has changed", n)
				}
			}
			if told == 0 || told == 100 {
				t.Errorf("got %d failures", told)
			}
		})
	}
}

func lastLine(text string) int {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			return i
		}
	}
	return 0
}

// What does not fit together is refused, and no act but a creation makes a record.
func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	set := func(writes ...*tandemv1.PathWrite) *tandemv1.RecordWrite {
		return &tandemv1.RecordWrite{Record: sampleID[:], Kind: kindNumber, Act: tandemv1.Act_ACT_SET, Writes: writes}
	}
	s := tell(t, "C create lifecycle=draft text=calm").shelf
	bad := &syncengine.Record{Body: []byte{0xff}, Stamps: s.rec.Stamps}
	for name, tc := range map[string]struct {
		rec *syncengine.Record
		w   *tandemv1.RecordWrite
	}{
		"a write to no record":        {nil, set()},
		"a creation without form":     {nil, &tandemv1.RecordWrite{Act: tandemv1.Act_ACT_CREATE, Body: []byte{0xff}}},
		"a second one without form":   {s.rec, &tandemv1.RecordWrite{Act: tandemv1.Act_ACT_CREATE, Body: []byte{0xff}}},
		"a value of another path":     {s.rec, set(&tandemv1.PathWrite{Field: fRisk, Value: syncengine.StringField(fText, "x")})},
		"a sign without a screen":     {s.rec, &tandemv1.RecordWrite{Act: tandemv1.Act_ACT_SIGN, Seen: []byte{1}}},
		"a void without a screen":     {s.rec, &tandemv1.RecordWrite{Act: tandemv1.Act_ACT_VOID, Seen: []byte{1}}},
		"a stored body without form":  {bad, set()},
		"stored stamps without form":  {&syncengine.Record{Body: s.rec.Body, Stamps: []byte{1}}, set()},
		"a body that does not fit":    {&syncengine.Record{Stamps: tell(t, "C create text=a\nA set text=b<C").shelf.rec.Stamps}, set()},
		"an absence of no such field": {s.rec, set(&tandemv1.PathWrite{Field: 600})},
		"an absence with a key":       {s.rec, set(&tandemv1.PathWrite{Field: fText, Key: []byte("x")})},
	} {
		applied, err := syncengine.Apply(kind, tc.rec, tc.w, writerOf(9), newShelf())
		if err == nil {
			t.Errorf("%s: taken", name)
			if _, err := syncengine.Decode(applied.Record); err != nil {
				t.Errorf("%s: the record can no longer be read: %v", name, err)
			}
		}
	}
}
