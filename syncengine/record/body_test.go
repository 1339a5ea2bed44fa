package record_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func protoString(s string) protoreflect.Value { return protoreflect.ValueOfString(s) }

func TestBodyIsCanonical(t *testing.T) {
	t.Parallel()
	d := record.New()
	m := incidentMessage(t)
	m.LeActions = []string{"transport", "citation", "transport"}
	slices.Reverse(m.Responders)
	body, err := d.Body(m)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		t.Fatalf("the body is not canonical: %v", err)
	}
	var keys []string
	for _, f := range fields {
		if f.Path.Key != "" {
			keys = append(keys, f.Path.Key)
		}
	}
	if want := []string{"citation", "transport", "aaaaaaaa", "bbbbbbbb"}; !slices.Equal(keys, want) {
		t.Errorf("elements: got %q, want %q", keys, want)
	}
	back, err := d.Message(&syncengine.Record{Kind: 20, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(m.LeActions)
	m.LeActions = slices.Compact(m.LeActions)
	slices.Reverse(m.Responders)
	if !proto.Equal(m, back) {
		t.Errorf("got %v, want %v", back, m)
	}
}

func TestBodyKeepsFieldsOfANewerVersion(t *testing.T) {
	t.Parallel()
	d := record.New()
	body, err := d.Body(incidentMessage(t))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		t.Fatal(err)
	}
	// Between the known ones and behind them, and inside a message.
	add := func(number uint32, raw []byte) {
		fields = append(fields, syncengine.Field{Path: syncengine.Path{Field: number}, Raw: raw})
	}
	add(19, syncengine.StringField(19, "envelope"))
	add(120, syncengine.BoolField(120, true))
	add(250, syncengine.StringField(250, "code"))
	add(444, protowire.AppendBytes(protowire.AppendTag(nil, 444, protowire.BytesType), append([]byte{0x0a, 8}, "qqqqqqqq"...)))
	for i, f := range fields {
		if f.Path.Field == 35 {
			msg, _ := syncengine.RawString(f.Raw)
			inner := append([]byte(msg), syncengine.StringField(99, "inside")...)
			fields[i].Raw = protowire.AppendBytes(protowire.AppendTag(nil, 35, protowire.BytesType), inner)
		}
	}
	slices.SortStableFunc(fields, func(a, b syncengine.Field) int { return int(a.Path.Field) - int(b.Path.Field) })
	var newer []byte
	for _, f := range fields {
		newer = append(newer, f.Raw...)
	}
	msg, err := d.Message(&syncengine.Record{Kind: 20, Body: newer})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := msg.(*tandemv1.Incident)
	again, err := d.Body(m)
	if err != nil || !bytes.Equal(again, newer) {
		t.Fatalf("the round trip changed the body: %v", err)
	}
	m = proto.CloneOf(m)
	m.NotesOps = new("Only this.")
	diff, err := d.Diff(msg, m)
	if err != nil || len(diff) != 1 || diff[0].Path.Field != 41 {
		t.Errorf("got %v %v, want the one field that was edited", diff, err)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	d := record.New()
	before := incidentMessage(t)
	after := proto.CloneOf(before)
	if diff, err := d.Diff(before, after); err != nil || len(diff) != 0 {
		t.Errorf("unchanged: got %v %v, want nothing", diff, err)
	}
	after.RiskLevel = new("high")
	after.Location = nil
	after.LeActions = []string{"transport"}
	after.Responders[1].Name = new("Unit 13")
	diff, err := d.Diff(before, after)
	if err != nil {
		t.Fatal(err)
	}
	type write struct {
		path    syncengine.Path
		present bool
	}
	var got []write
	for _, f := range diff {
		got = append(got, write{f.Path, f.Raw != nil})
	}
	want := []write{
		{syncengine.Path{Field: 25}, true},
		{syncengine.Path{Field: 35}, false},
		{syncengine.Path{Field: 200, Key: "standby"}, false},
		{syncengine.Path{Field: 200, Key: "transport"}, true},
		{syncengine.Path{Field: 300, Key: "bbbbbbbb"}, true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	all, err := d.Diff(nil, before)
	if err != nil || len(all) < 20 {
		t.Errorf("against nothing: got %d paths %v, want every one", len(all), err)
	}
	if _, err := d.Diff(noteMessage(t), before); err == nil {
		t.Error("two kinds have a difference")
	}
}

func TestEnsureElements(t *testing.T) {
	t.Parallel()
	d := record.New()
	m := personMessage(t)
	kept := m.Names[0].GetElement()
	m.Names = append(m.Names, &tandemv1.PersonName{Given: new("Anita")}, &tandemv1.PersonName{Given: new("A")})
	if _, err := d.Body(m); !errors.Is(err, record.ErrElement) {
		t.Errorf("a body of elements without id: got %v, want %v", err, record.ErrElement)
	}
	if err := d.EnsureElements(m, chance()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Names[0].GetElement(), kept) {
		t.Error("an id was altered")
	}
	if len(m.Names[1].GetElement()) != 8 || bytes.Equal(m.Names[1].GetElement(), m.Names[2].GetElement()) {
		t.Error("the new elements have no ids of their own")
	}
	if _, err := d.Body(m); err != nil {
		t.Error(err)
	}
	m.Names[1].Element = m.Names[2].GetElement()
	if _, err := d.Body(m); !errors.Is(err, record.ErrElement) {
		t.Errorf("two elements of one id: got %v, want %v", err, record.ErrElement)
	}
	m.Names[1].Element = nil
	if err := d.EnsureElements(m, bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("without chance: got %v, want %v", err, io.EOF)
	}
}

// FuzzBody: every canonical body that can be read as a message comes back byte for
// byte where Check takes it, and a message's body is always canonical.
func FuzzBody(f *testing.F) {
	d := record.New()
	for _, m := range []proto.Message{
		encounterMessage(f), incidentMessage(f), personMessage(f), referralMessage(f), noteMessage(f),
		&tandemv1.Agency{Name: new("A"), Retention: &tandemv1.Retention{AdultYears: new(uint32(7))}},
	} {
		body, err := d.Body(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.KindOf(m).Number, body)
	}
	f.Fuzz(func(t *testing.T, kind uint32, body []byte) {
		defer need.Brief(t)()
		msg, err := d.Message(&syncengine.Record{Kind: kind, Body: body})
		if err != nil {
			return
		}
		again, err := d.Body(msg)
		if err != nil {
			return
		}
		if _, err := syncengine.ParseBody(again); err != nil {
			t.Fatalf("the body of a message is not canonical: %v", err)
		}
		w := createOf(t, msg)
		w.Body = body
		if d.Check(change(w)) == nil && !bytes.Equal(again, body) {
			t.Fatalf("the round trip changed a body that Check takes:\n%x\n%x", body, again)
		}
		if diff, err := d.Diff(msg, proto.Clone(msg)); err != nil || len(diff) != 0 {
			t.Fatalf("a message differs from itself: %v %v", diff, err)
		}
		use(t, change(w))
		d.Validate(msg, record.Entry{Target: record.Cleared, NowMS: nowMS})
	})
}

// FuzzCheck: no change makes a judgement panic, and one that Check takes can be
// applied, placed, judged and reviewed.
func FuzzCheck(f *testing.F) {
	for _, c := range []*tandemv1.Change{
		creating(f, encounterMessage(f)), creating(f, incidentMessage(f)), creating(f, personMessage(f)),
		creating(f, noteMessage(f)),
		editing(f, incidentMessage(f), func(m *tandemv1.Incident) { m.LeActions, m.Location = nil, nil }),
		change(actOn(f, tandemv1.Act_ACT_SIGN, encounterMessage(f), func(m *tandemv1.Encounter) { m.Lifecycle = new("signed") })),
		change(actOn(f, tandemv1.Act_ACT_VOID, encounterMessage(f), func(m *tandemv1.Encounter) { m.Lifecycle = new("void") })),
	} {
		raw, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		c := &tandemv1.Change{}
		if proto.Unmarshal(raw, c) != nil {
			return
		}
		use(t, c)
	})
}

// use checks a change and does with it what a server would.
func use(t *testing.T, c *tandemv1.Change) {
	t.Helper()
	d := record.New()
	look := func(syncengine.ID) (*syncengine.Record, error) { return nil, nil } //nolint:nilnil // Nothing is there.
	refusal := d.Check(c)
	for _, w := range c.GetRecords() {
		d.Allowed(someone("peer"), w)
		d.AllowedOn(theAuthor("clinician"), w, nil, nil)
		if refusal != nil || w.GetAct() != tandemv1.Act_ACT_CREATE {
			continue
		}
		applied, err := syncengine.Apply(d.Kind(w.GetKind()), nil, w, syncengine.Writer{Stamp: 1, Author: author}, noHistory{})
		if err != nil {
			t.Fatalf("Check takes a create that cannot be applied: %v", err)
		}
		rec := applied.Record
		if _, _, err := d.Scopes(org, rec, look); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Message(rec); err != nil {
			t.Fatalf("Check takes a body that is no message: %v", err)
		}
		d.Review(rec)
		d.AllowedOn(someone("lead"), w, rec, nil)
		_, _ = d.Principal(rec, look)
		d.FollowScopes(rec, teamB)
	}
}
