package syncengine_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// marshal encodes stamps by the generated message: fields in order of number, zero
// values left out, minimal varints.
func marshal(tb interface{ Fatal(args ...any) }, m *tandemv1.Stamps) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// specimen is a record with its stamps as the generated message has them.
type specimen struct {
	body   []byte
	stamps *tandemv1.Stamps
}

func drawID(t *rapid.T, what string) []byte {
	if rapid.Bool().Draw(t, "no "+what) {
		return nil
	}
	id := idOf(what[0], rapid.Uint64Range(1, 1<<60).Draw(t, what))
	return id[:]
}

// drawSpecimen draws a canonical record with paths of every state.
func drawSpecimen(t *rapid.T, least int) *specimen {
	s := &specimen{stamps: &tandemv1.Stamps{
		Created: rapid.Uint64Range(1, 9).Draw(t, "created"), Author: drawID(t, "author"), Device: drawID(t, "device"),
		AtMs:        rapid.Int64().Draw(t, "at"),
		Compartment: tandemv1.Compartment(rapid.Int32Range(0, 5).Draw(t, "compartment")),
		Rev:         rapid.Uint32Range(0, 3).Draw(t, "rev"),
	}}
	if rapid.Bool().Draw(t, "imported") {
		s.stamps.ImportedFrom = &tandemv1.Import{Mapping: "nemsis", File: []byte{1}, Row: 7}
	}
	for _, f := range drawFields(t, least) {
		s.path(t, f)
	}
	return s
}

// path adds a path in one of its states.
func (s *specimen) path(t *rapid.T, f syncengine.Field) {
	p := &tandemv1.PathStamps{Field: f.Path.Field, Key: []byte(f.Path.Key)}
	if len(p.Key) == 0 {
		p.Key = nil
	}
	many := rapid.IntRange(0, 4).Draw(t, "state of the path")
	switch many {
	case 0: // only the creating change wrote it
		s.body = append(s.body, f.Raw...)
		return
	case 1: // written over
		s.body = append(s.body, f.Raw...)
		stamp := rapid.Uint64Range(10, 20).Draw(t, "stamp")
		p.Heads = []*tandemv1.Head{{Stamp: stamp}}
	case 2: // cleared
		p.Heads = []*tandemv1.Head{{Stamp: rapid.Uint64Range(1, 20).Draw(t, "stamp"), Cleared: true}}
	default:
		stamps := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 20), 2, 3, rapid.ID).Draw(t, "stamps")
		p.Displayed = rapid.Uint32Range(0, uint32(len(stamps))).Draw(t, "displayed")
		p.NoneDisplayed = p.Displayed == 0
		if p.NoneDisplayed {
			stamps = stamps[:rapid.IntRange(1, len(stamps)).Draw(t, "heads")]
		}
		for i, stamp := range stamps {
			h := &tandemv1.Head{
				Stamp: stamp, Cleared: rapid.Bool().Draw(t, "cleared"), Author: drawID(t, "author"), Device: drawID(t, "device"),
				AtMs: rapid.Int64().Draw(t, "at"), ReceivedMs: rapid.Int64().Draw(t, "received"),
			}
			switch shown := uint32(i)+1 == p.Displayed; {
			case shown && !h.Cleared:
				s.body = append(s.body, f.Raw...)
			case !shown && !h.Cleared:
				h.Value = f.Raw
			}
			p.Heads = append(p.Heads, h)
		}
	}
	s.stamps.Paths = append(s.stamps.Paths, p)
}

// Stamps have one encoding, which is that of the contract's message.
func TestDecodeThenEncode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpecimen(t, 0)
		rec := &syncengine.Record{Body: s.body, Stamps: marshal(t, s.stamps)}
		st, err := syncengine.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		body, stamps := st.Encode()
		if !bytes.Equal(body, rec.Body) {
			t.Fatalf("body: got %x, want %x", body, rec.Body)
		}
		if !bytes.Equal(stamps, rec.Stamps) {
			t.Fatalf("stamps: got %x, want %x", stamps, rec.Stamps)
		}
		if got := fmt.Sprint(st.Created, st.Author, st.Device, st.AtMS, st.Rev); got != fmt.Sprint(
			syncengine.Stamp(s.stamps.Created), idFrom(s.stamps.Author), idFrom(s.stamps.Device), s.stamps.AtMs, s.stamps.Rev) {
			t.Fatalf("origin: got %v", got)
		}
		origin, err := rec.Origin()
		if err != nil || origin != st.Origin {
			t.Fatalf("Origin: got %v, %v, want %v", origin, err, st.Origin)
		}
		want := s.stamps.Compartment
		if want == 0 {
			want = kind.Compartment
		}
		if got := rec.Compartment(kind); got != want {
			t.Fatalf("compartment: got %v, want %v", got, want)
		}
		for _, p := range s.stamps.Paths {
			checkHeads(t, st, p)
		}
	})
}

func idFrom(b []byte) (id syncengine.ID) {
	copy(id[:], b)
	return id
}

// checkHeads compares the heads of one path with those of the message.
func checkHeads(t *rapid.T, st *syncengine.State, p *tandemv1.PathStamps) {
	heads, shown := st.Heads(syncengine.Path{Field: p.Field, Key: string(p.Key)})
	if shown == p.NoneDisplayed || len(heads) != len(p.Heads) {
		t.Fatalf("field %d: got heads %v, displayed %v", p.Field, heads, shown)
	}
	want := slices.Clone(p.Heads)
	if d := int(p.Displayed); d > 1 {
		want = slices.Concat(want[d-1:d], want[:d-1], want[d:])
	}
	for i, h := range heads {
		w := want[i]
		head := syncengine.Head{
			Stamp: syncengine.Stamp(w.Stamp), Raw: h.Raw, Author: idFrom(w.Author), Device: idFrom(w.Device), AtMS: w.AtMs, ReceivedMS: w.ReceivedMs,
		}
		if fmt.Sprint(h) != fmt.Sprint(head) || (h.Raw == nil) != w.Cleared || w.Value != nil && !bytes.Equal(h.Raw, w.Value) {
			t.Fatalf("field %d: head %d: got %+v, want %v", p.Field, i, h, w)
		}
	}
}

// A stampFault spoils the message of a canonical record, or its bytes; it reports
// whether it fitted the drawn record.
type stampFault struct {
	message func(s *specimen, p *tandemv1.PathStamps) bool
	bytes   func(b []byte) []byte
}

// single is a path with one displayed head.
func single(p *tandemv1.PathStamps) bool { return len(p.Heads) == 1 && !p.NoneDisplayed }

var stampFaults = map[string]stampFault{
	"no creating change": {message: func(s *specimen, _ *tandemv1.PathStamps) bool { s.stamps.Created = 0; return true }},
	"a head without a stamp": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Stamp = 0
		return true
	}},
	"a stamp twice in one path": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		if len(p.Heads) == 1 {
			return false
		}
		p.Heads[1].Stamp = p.Heads[0].Stamp
		return true
	}},
	"a path without heads": {message: func(_ *specimen, p *tandemv1.PathStamps) bool { p.Heads = nil; return true }},
	"a path twice": {message: func(s *specimen, p *tandemv1.PathStamps) bool {
		s.stamps.Paths = append(s.stamps.Paths, p)
		return true
	}},
	"paths out of order": {message: func(s *specimen, _ *tandemv1.PathStamps) bool {
		slices.Reverse(s.stamps.Paths)
		return len(s.stamps.Paths) > 1
	}},
	"a path that need not be listed": {message: func(s *specimen, p *tandemv1.PathStamps) bool {
		if !single(p) || p.Heads[0].Cleared {
			return false
		}
		p.Heads[0].Stamp = s.stamps.Created
		return true
	}},
	"a key where there is none": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		if p.Field >= 200 || !p.Heads[0].Cleared || len(p.Heads) > 1 {
			return false
		}
		p.Key = []byte("x")
		return true
	}},
	"a key of the wrong size": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		if p.Field < 300 || !p.Heads[0].Cleared || len(p.Heads) > 1 {
			return false
		}
		p.Key = p.Key[:7]
		return true
	}},
	"a field beyond the shapes": {message: func(_ *specimen, p *tandemv1.PathStamps) bool { p.Field = 500; return true }},
	"the field zero":            {message: func(_ *specimen, p *tandemv1.PathStamps) bool { p.Field = 0; return true }},
	"a displayed head that is not there": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Displayed, p.NoneDisplayed = uint32(len(p.Heads))+1, false
		return true
	}},
	"a displayed head stated of one": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Displayed = 1
		return single(p)
	}},
	"none displayed, and one": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.NoneDisplayed = true
		return p.Displayed > 0
	}},
	"several heads, none said to be displayed": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Displayed, p.NoneDisplayed = 0, false
		return len(p.Heads) > 1
	}},
	"a displayed value that is not in the body": {message: func(s *specimen, p *tandemv1.PathStamps) bool {
		s.body = nil
		return single(p) && !p.Heads[0].Cleared
	}},
	"an absence that is in the body": {message: func(s *specimen, p *tandemv1.PathStamps) bool {
		if !single(p) || p.Heads[0].Cleared || len(s.stamps.Paths) > 1 {
			return false
		}
		p.Heads[0].Cleared = true
		return true
	}},
	"a hidden value that is in the body": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		if !single(p) || p.Heads[0].Cleared {
			return false
		}
		p.NoneDisplayed = true
		return true
	}},
	"a displayed value that stands in the stamps too": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Value = syncengine.StringField(fText, "x")
		return single(p) && !p.Heads[0].Cleared
	}},
	"a value of an absence": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Value = syncengine.StringField(fText, "x")
		return p.Heads[0].Cleared
	}},
	"an alternative without its value": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		i := slices.IndexFunc(p.Heads, func(h *tandemv1.Head) bool { return h.Value != nil })
		if i >= 0 {
			p.Heads[i].Value = nil
		}
		return i >= 0
	}},
	"an alternative of another path": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		i := slices.IndexFunc(p.Heads, func(h *tandemv1.Head) bool { return h.Value != nil })
		if i >= 0 {
			p.Heads[i].Value = syncengine.StringField(p.Field%199+1, "x")
		}
		return i >= 0 && p.Field != p.Field%199+1
	}},
	"an author of a head that stands alone": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Author = sampleID[:]
		return single(p)
	}},
	"a device of a head that stands alone": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Device = sampleID[:]
		return single(p)
	}},
	"a time of a head that stands alone": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].AtMs = 1
		return single(p)
	}},
	"a receipt of a head that stands alone": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].ReceivedMs = 1
		return single(p)
	}},
	"a short author": {message: func(s *specimen, _ *tandemv1.PathStamps) bool { s.stamps.Author = sampleID[:15]; return true }},
	"a zero author":  {message: func(s *specimen, _ *tandemv1.PathStamps) bool { s.stamps.Author = make([]byte, 16); return true }},
	"a zero device":  {message: func(s *specimen, _ *tandemv1.PathStamps) bool { s.stamps.Device = make([]byte, 16); return true }},
	"a zero author of a head": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Author = make([]byte, 16)
		return true
	}},
	"a short device of a head": {message: func(_ *specimen, p *tandemv1.PathStamps) bool {
		p.Heads[0].Device = sampleID[1:]
		return true
	}},
	"too many revisions": {message: func(s *specimen, _ *tandemv1.PathStamps) bool { s.stamps.Rev = 1<<31 + 1; return true }},
	"an unknown field":   {bytes: func(b []byte) []byte { return append(b, 0x48, 1) }},
	"a field twice":      {bytes: func(b []byte) []byte { return append(slices.Clone(b[:9]), b...) }},
	"fields out of order": {bytes: func(b []byte) []byte {
		return append(slices.Clone(b[9:]), b[:9]...)
	}},
	"a zero that is written": {bytes: func(b []byte) []byte { return append(b, 0x40, 0) }},
	"nothing, that is written": {bytes: func(b []byte) []byte {
		return append(b, 0x3a, 0)
	}},
	"a number that is too long": {bytes: func([]byte) []byte {
		return append(protowire.AppendFixed64([]byte{0x09}, 1), 0x40, 0x81, 0)
	}},
	"a length that is too long": {bytes: func([]byte) []byte {
		return append(append(protowire.AppendFixed64([]byte{0x09}, 1), 0x12, 0x90, 0), sampleID[:]...)
	}},
	"a group": {bytes: func([]byte) []byte {
		return append(protowire.AppendFixed64([]byte{0x09}, 1), 0x4b, 0x4c)
	}},
	"a tag that is too long": {bytes: func(b []byte) []byte { return append([]byte{0x89, 0}, b[1:]...) }},
	"a compartment beyond the codes": {bytes: func([]byte) []byte {
		b := protowire.AppendFixed64([]byte{0x09}, 1)
		return protowire.AppendVarint(append(b, 0x30), 1<<32|3)
	}},
	"a compartment of another type": {bytes: func([]byte) []byte {
		return append(protowire.AppendFixed64([]byte{0x09}, 1), 0x32, 1, 3)
	}},
	"a flag of another type": {bytes: func([]byte) []byte {
		head := protowire.AppendFixed64([]byte{0x09}, 5)
		head = protowire.AppendFixed64(append(head, 0x11), 1)
		path := protowire.AppendBytes([]byte{0x08, 20, 0x22}, head)
		return protowire.AppendBytes(append(protowire.AppendFixed64([]byte{0x09}, 1), 0x2a), path)
	}},
	"a path's flag of another type": {bytes: func([]byte) []byte {
		head := append(protowire.AppendFixed64([]byte{0x09}, 5), 0x10, 1)
		path := protowire.AppendBytes([]byte{0x08, 20, 0x22}, head)
		path = protowire.AppendFixed64(append(path, 0x29), 1)
		return protowire.AppendBytes(append(protowire.AppendFixed64([]byte{0x09}, 1), 0x2a), path)
	}},
	"a cut": {bytes: func(b []byte) []byte { return b[:len(b)-1] }},
}

func TestDecodeRefusesWhatIsNotCanonical(t *testing.T) {
	t.Parallel()
	for name, fault := range stampFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			met := false
			rapid.Check(t, func(t *rapid.T) {
				s := drawSpecimen(t, 1)
				if fault.message != nil {
					if len(s.stamps.Paths) == 0 || !fault.message(s, rapid.SampledFrom(s.stamps.Paths).Draw(t, "path")) {
						return
					}
				}
				b := marshal(t, s.stamps)
				if fault.bytes != nil {
					b = fault.bytes(b)
				}
				met = true
				if _, err := syncengine.Decode(&syncengine.Record{Body: s.body, Stamps: b}); err == nil {
					t.Fatalf("body %x, stamps %x: taken", s.body, b)
				}
			})
			if !met {
				t.Error("no draw met the fault")
			}
		})
	}
}

// A screen is the stamps without values, authors and header, and nothing else.
func TestSeen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpecimen(t, 0)
		st, err := syncengine.Decode(&syncengine.Record{Body: s.body, Stamps: marshal(t, s.stamps)})
		if err != nil {
			t.Fatal(err)
		}
		whole := proto.CloneOf(s.stamps)
		bare := &tandemv1.Stamps{Created: s.stamps.Created, Paths: s.stamps.Paths}
		for _, p := range bare.Paths {
			for i, h := range p.Heads {
				p.Heads[i] = &tandemv1.Head{Stamp: h.Stamp, Cleared: h.Cleared}
			}
		}
		seen := st.Seen()
		if want := marshal(t, bare); !bytes.Equal(seen, want) {
			t.Fatalf("got %x, want %x", seen, want)
		}
		if err := syncengine.CheckSeen(seen); err != nil {
			t.Fatal(err)
		}
		if got, want := syncengine.HashSeen(seen), sha256.Sum256(seen); got != want {
			t.Fatalf("state hash: got %v, want %x", got, want)
		}
		if !proto.Equal(whole, bare) && syncengine.CheckSeen(marshal(t, whole)) == nil {
			t.Fatalf("stamps with values, authors or a header are taken for a screen: %v", whole)
		}
	})
}

// Whatever decodes is canonical: it encodes to the same bytes, and the contract's
// message agrees.
func FuzzDecodeRecord(f *testing.F) {
	for _, rec := range goldenRecords(f) {
		f.Add(rec.Body, rec.Stamps)
	}
	f.Add([]byte{}, []byte{0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0x2a, 0x0d, 0x08, 20, 0x22, 9, 0x09, 5, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body, stamps []byte) {
		defer need.Brief(t)()
		rec := &syncengine.Record{ID: sampleID, Kind: kindNumber, Body: body, Stamps: stamps}
		st, err := syncengine.Decode(rec)
		if err != nil {
			return
		}
		b, s := st.Encode()
		if !bytes.Equal(b, body) || !bytes.Equal(s, stamps) {
			t.Fatalf("it encodes to body %x and stamps %x", b, s)
		}
		canonical(t, stamps)
		if err := syncengine.CheckSeen(st.Seen()); err != nil {
			t.Fatalf("its screen: %v", err)
		}
		// Any record that decodes takes an edit of what it shows.
		p := syncengine.Path{Field: fText}
		w := &tandemv1.RecordWrite{Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
			Field: p.Field, Value: syncengine.StringField(p.Field, "new"), Bases: syncengine.EncodeStamps(st.Bases(p, false)),
		}}}
		applied, err := syncengine.Apply(kind, rec, w, writerOf(1<<60), newShelf())
		if err != nil {
			t.Fatalf("an edit: %v", err)
		}
		if _, err := syncengine.Decode(applied.Record); err != nil {
			t.Fatalf("after an edit: %v", err)
		}
	})
}

// canonical fails the test unless the contract's message encodes to the bytes that
// it was decoded from.
func canonical(t *testing.T, stamps []byte) *tandemv1.Stamps {
	t.Helper()
	m := &tandemv1.Stamps{}
	if err := proto.Unmarshal(stamps, m); err != nil {
		t.Fatalf("stamps are no message: %v", err)
	}
	// An import origin is taken as it is.
	from := m.ImportedFrom
	if from == nil {
		if got := marshal(t, m); !bytes.Equal(got, stamps) {
			t.Fatalf("the contract's message encodes to %x", got)
		}
	}
	return m
}

// A screen that is taken is canonical and bare, and a sign on it never fails but
// for values that have not arrived.
func FuzzSeen(f *testing.F) {
	for _, rec := range goldenRecords(f) {
		st, err := syncengine.Decode(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(st.Seen())
		f.Add(rec.Stamps)
	}
	s := newShelf()
	for _, c := range []*change{
		{stamp: 1, act: tandemv1.Act_ACT_CREATE, edits: []edit{
			{path: syncengine.Path{Field: fLifecycle}, text: "draft"}, {path: syncengine.Path{Field: fText}, text: "calm"},
		}},
		{stamp: 2, act: tandemv1.Act_ACT_SET, edits: []edit{{path: syncengine.Path{Field: fText}, text: "upset", bases: []syncengine.Stamp{1}}}},
	} {
		if _, err := s.accept(c); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(s.state().Seen())
	f.Fuzz(func(t *testing.T, seen []byte) {
		defer need.Brief(t)()
		if syncengine.CheckSeen(seen) != nil || len(seen) == 0 {
			return
		}
		m := canonical(t, seen)
		bare := &tandemv1.Stamps{Created: m.Created}
		for _, p := range m.Paths {
			q := proto.CloneOf(p)
			q.Heads = nil
			for _, h := range p.Heads {
				q.Heads = append(q.Heads, &tandemv1.Head{Stamp: h.Stamp, Cleared: h.Cleared})
			}
			bare.Paths = append(bare.Paths, q)
		}
		if !proto.Equal(m, bare) {
			t.Fatalf("more than a screen: %v", m)
		}
		for _, act := range []tandemv1.Act{tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_VOID} {
			signed := s.clone()
			c := &change{stamp: 3, act: act, seen: seen, edits: []edit{{path: syncengine.Path{Field: fLifecycle}, text: "signed", bases: []syncengine.Stamp{1}}}}
			if _, err := signed.accept(c); err != nil && signed.quarantine[3] == nil {
				t.Fatal(err)
			}
			signed.state()
		}
	})
}

// Fields that this version does not know pass through creation, edits, conflicts
// and resolution byte for byte.
func TestUnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	odd := []syncengine.Field{
		{Path: syncengine.Path{Field: 61}, Raw: protowire.AppendFixed32(protowire.AppendTag(nil, 61, protowire.Fixed32Type), 7)},
		{Path: syncengine.Path{Field: 62}, Raw: protowire.AppendVarint(protowire.AppendTag(nil, 62, protowire.VarintType), 1<<63)},
		// A nested message that is not canonical inside, and not even a message.
		{Path: syncengine.Path{Field: 63}, Raw: protowire.AppendBytes(protowire.AppendTag(nil, 63, protowire.BytesType), []byte{0x10, 0x81, 0, 0xff})},
		{Path: syncengine.Path{Field: 231, Key: "\xff\x00"}, Raw: syncengine.StringField(231, "\xff\x00")},
		{Path: syncengine.Path{Field: 331, Key: "newparts"}, Raw: edit{path: syncengine.Path{Field: 331, Key: "newparts"}, text: "\x80"}.raw()},
		{Path: syncengine.Path{Field: 431, Key: "newevent"}, Raw: edit{path: syncengine.Path{Field: 431, Key: "newevent"}, text: "\x80"}.raw()},
	}
	text := syncengine.StringField(fText, "calm")
	s := newShelf()
	create := &tandemv1.RecordWrite{
		Record: sampleID[:], Kind: kindNumber, Act: tandemv1.Act_ACT_CREATE, Body: append(slices.Clone(text), splice(odd)...),
	}
	applied, err := syncengine.Apply(kind, nil, create, writerOf(1), s)
	if err != nil {
		t.Fatal(err)
	}
	s.rec = applied.Record
	s.log[1] = &change{stamp: 1}
	for i, word := range []string{"upset", "angry"} { // concurrent, so that the record holds alternatives
		e := edit{path: syncengine.Path{Field: fText}, text: word, bases: []syncengine.Stamp{1}}
		if _, err := s.accept(&change{stamp: syncengine.Stamp(i + 2), act: tandemv1.Act_ACT_SET, edits: []edit{e}}); err != nil {
			t.Fatal(err)
		}
	}
	if want := append(syncengine.StringField(fText, "upset"), splice(odd)...); !bytes.Equal(s.rec.Body, want) {
		t.Errorf("body after a conflict: got %x, want %x", s.rec.Body, want)
	}
	// Two newer clients write the same unknown field; a human settles it.
	for i, raw := range [][]byte{syncengine.StringField(63, "\xff"), syncengine.StringField(63, "\xfe")} {
		w := &tandemv1.RecordWrite{Record: sampleID[:], Kind: kindNumber, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{
			{Field: 63, Value: raw, Bases: syncengine.EncodeStamps([]syncengine.Stamp{1})},
		}}
		if applied, err = syncengine.Apply(kind, s.rec, w, writerOf(syncengine.Stamp(i+4)), s); err != nil {
			t.Fatal(err)
		}
		s.rec = applied.Record
	}
	heads, _ := s.state().Heads(syncengine.Path{Field: 63})
	if len(heads) != 2 || string(heads[0].Raw) != string(syncengine.StringField(63, "\xff")) || string(heads[1].Raw) != string(syncengine.StringField(63, "\xfe")) {
		t.Errorf("heads of the unknown field: got %v", heads)
	}
	odd[2].Raw = syncengine.StringField(63, "\xff")
	if want := append(syncengine.StringField(fText, "upset"), splice(odd)...); !bytes.Equal(s.rec.Body, want) {
		t.Errorf("body after a conflict of unknown fields: got %x, want %x", s.rec.Body, want)
	}
}
