package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
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
	"google.golang.org/protobuf/reflect/protoreflect"
)

// anything fills messages of the contract with whatever its fields can hold: every kind
// and every field, those of tomorrow too.
type anything struct {
	w      *world
	r      *rand.Rand
	domain *record.Domain
	// texts, times and numbers to take, none for those of every day.
	texts   []string
	times   []int64
	numbers []float64
}

var texts = []string{nasty, "'=1+1", "=1+1", "\r\nlines\r\n\r", "x", " ", "NULL", "true", `""`, "a,b", "\ufeffmark", "ñ 火", "-1", "2024-01-01"}

func (a *anything) message(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		named := f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic()
		if name := f.Name(); name == "element" && f.Kind() == protoreflect.BytesKind {
			m.Set(f, protoreflect.ValueOfBytes(fmt.Appendf(nil, "%08x", a.r.Uint32())))
			continue
		} else if a.r.IntN(3) == 0 || named && m.WhichOneof(f.ContainingOneof()) != nil || depth > 4 {
			continue
		}
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for range a.r.IntN(4) {
				if f.Message() != nil {
					a.message(list.AppendMutable().Message(), depth+1)
				} else {
					list.Append(protoreflect.ValueOfString(a.text(f)))
				}
			}
		case f.Message() != nil:
			a.message(m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, a.value(f))
		}
	}
}

func (a *anything) text(f protoreflect.FieldDescriptor) string {
	rules, _ := proto.GetExtension(f.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	if codes := a.domain.Codes(rules.GetCodes()); len(codes) > 0 && a.r.IntN(4) > 0 {
		return codes[a.r.IntN(len(codes))].Code
	}
	if rules.GetRef() != "" {
		return a.w.id().String()
	}
	if len(a.texts) > 0 {
		return a.texts[a.r.IntN(len(a.texts))]
	}
	return texts[a.r.IntN(len(texts))]
}

func (a *anything) value(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(a.text(f))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, byte(a.r.Uint32()), 255})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(a.r.IntN(2) == 0)
	case protoreflect.DoubleKind:
		if len(a.numbers) > 0 {
			return protoreflect.ValueOfFloat64(a.numbers[a.r.IntN(len(a.numbers))])
		}
		return protoreflect.ValueOfFloat64([]float64{0, -87.25, 1e300, 5e-324, a.r.NormFloat64()}[a.r.IntN(5)])
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(a.r.Uint32() >> a.r.IntN(32))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(a.r.Uint32()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(a.r.Uint64())
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		if len(a.times) > 0 {
			return protoreflect.ValueOfInt64(a.times[a.r.IntN(len(a.times))])
		}
		return protoreflect.ValueOfInt64(int64(a.r.Uint64()) >> (18 + a.r.IntN(46)))
	}
	panic("a field of kind " + f.Kind().String() + ", which nothing is made up for")
}

// record puts a record of a kind into the store.
func (a *anything) record(tx *store.Tx, k *syncengine.Kind) error {
	msg := a.domain.NewMessage(k.Number)
	m := msg.ProtoReflect()
	a.message(m, 0)
	at := a.r.IntN(2)
	fields := m.Descriptor().Fields()
	for name, value := range map[protoreflect.Name]string{
		"team_id": a.w.team[at].String(), "program_id": a.w.program[at].String(), "agency_id": a.w.agency[at].String(),
		"lifecycle": []string{"active", "draft", "signed", "amended", "void", "closed", "recorded"}[a.r.IntN(7)],
		"tz":        []string{"America/Chicago", "Europe/Berlin", "no such zone", "UTC"}[a.r.IntN(4)],
	} {
		if f := fields.ByName(name); f != nil {
			m.Set(f, protoreflect.ValueOfString(value))
		}
	}
	body, err := a.domain.Body(msg)
	if err != nil {
		return err
	}
	id, device := a.w.id(), a.w.id()
	l := &syncengine.Loaded{
		Write:  &tandemv1.RecordWrite{Record: id[:], Kind: k.Number, Act: tandemv1.Act_ACT_CREATE, Body: body},
		Author: a.w.staff["clinician"], AtMS: now - int64(a.r.IntN(1e9)), Rev: uint32(a.r.IntN(5)),
	}
	if a.r.IntN(2) == 0 {
		l.Device = device
	}
	if len(a.times) > 0 {
		l.AtMS, l.Rev = a.times[a.r.IntN(len(a.times))], a.r.Uint32()
	}
	if a.r.IntN(4) == 0 {
		l.Write.ImportedFrom = &tandemv1.Import{Mapping: "a, mapping", File: bytes.Repeat([]byte{7}, 32), Row: uint64(a.r.IntN(1e6) + 2)}
		if len(a.texts) > 0 {
			l.Write.ImportedFrom.Mapping, l.Write.ImportedFrom.Row = a.texts[a.r.IntN(len(a.texts))], a.r.Uint64()
		}
	}
	if k.Compartment == clinical && a.r.IntN(4) == 0 {
		l.Write.Compartment = tandemv1.Compartment_COMPARTMENT_SUD
	}
	engine := &syncengine.Server{Rules: a.domain, Secrets: a.w.org.Secrets}
	batch, err := engine.Begin(tx, now)
	if err != nil {
		return err
	}
	if _, err := batch.Load(l); err != nil {
		return err
	}
	_, err = batch.Commit()
	return err
}

// everything are the options under which nothing is left out but what is private.
func (w *world) everything() export.Options {
	o := w.options()
	o.Notes, o.Drafts, o.Void, o.SUD = true, true, true, true
	return o
}

// emptied is a store for an import, and its org.
func (w *world) emptied(on storetest.Engine, p *export.Package) (*store.Store, *store.Org, error) {
	w.t.Helper()
	st, err := store.Open(w.t.Context(), w.t.TempDir(), store.Options{Create: true, Import: true, Database: on.Database(w.t), Volatile: true})
	w.ok(err)
	w.t.Cleanup(func() { _ = st.Close() })
	org, _, err := st.BeginImport(w.t.Context(), p.Org, p.Manifest.OrgName)
	return st, org, err
}

// bring reads a package into a store.
func (w *world) bring(st *store.Store, org *store.Org, p *export.Package, most int) error {
	admin, note := server.NewAdmin(st, org, server.AdminOptions{}), &server.ImportNote{Manifest: p.Digest}
	if err := admin.BeginImport(w.t.Context(), note); err != nil {
		return err
	}
	if err := p.Each(w.t.Context(), func(l *syncengine.Loaded) error {
		if most--; most < 0 {
			return errHalfway
		}
		_, err := admin.Load(w.t.Context(), []*syncengine.Loaded{l})
		return err
	}); err != nil {
		return err
	}
	return admin.EndImport(w.t.Context(), note, p.Manifest.Records)
}

var errHalfway = errors.New("halfway")

var sequence = regexp.MustCompile(`(?m)^([0-9A-HJKMNP-TV-Z]{26}),[0-9]+,`)

// same compares two exports but for the sequences, and what says of which state they are.
func (w *world) same(one, other map[string]string) {
	w.t.Helper()
	for _, files := range []map[string]string{one, other} {
		for name, text := range files {
			if strings.HasSuffix(name, ".csv") && strings.Contains(text[:min(len(text), 10)], "id,seq,") {
				files[name] = sequence.ReplaceAllString(text, "$1,,")
			}
		}
		var m export.Manifest
		w.ok(json.Unmarshal([]byte(files["manifest.json"]), &m))
		m.Seq, m.Epoch, m.Commit = 0, "", ""
		for i := range m.Files {
			m.Files[i].SHA256, m.Files[i].Bytes = "", 0
		}
		files["manifest.json"] = fmt.Sprintf("%+v", m)
	}
	if diff := cmp.Diff(one, other); diff != "" {
		w.t.Errorf("exported again it differs:\n%s", diff[:min(len(diff), 4000)])
	}
}

// TestImport: records of every kind with anything in every field, exported, read into an
// empty server and exported again, give the same files. One that is broken off on the way
// goes on, and nobody takes the database for a whole one meanwhile.
func TestImport(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.caseload(1)
		a := &anything{w: w, r: rand.New(rand.NewPCG(7, 8)), domain: record.New()}
		w.ok(w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			for _, k := range a.domain.Kinds() {
				for range 12 {
					if err := a.record(tx, k); err != nil {
						return fmt.Errorf("%s: %w", k.Name, err)
					}
				}
			}
			return nil
		}))
		for _, lang := range []string{"", "es"} {
			o := w.everything()
			o.Labels, o.BOM = lang, lang != ""
			dir, m := w.write(o)
			p, err := export.Open(dir)
			w.ok(err)
			n := int64(0)
			w.ok(p.Check(t.Context(), func() { n++ }))
			if n != m.Records {
				t.Errorf("%d of %d records", n, m.Records)
			}
			st, org, err := w.emptied(on, p)
			w.ok(err)
			if err := w.bring(st, org, p, 40); !errors.Is(err, errHalfway) {
				t.Fatalf("broken off with %v", err)
			}
			w.ok(w.bring(st, org, p, 1e9))
			again := &world{t: t, s: st, org: org}
			second, _ := again.write(o)
			w.same(w.files(dir), w.files(second))
			report, err := st.Verify(t.Context(), org.ID)
			w.ok(err)
			if len(report.Faults) > 0 {
				t.Errorf("what was read in does not hold: %v", report.Faults)
			}
			if _, _, err := st.BeginImport(t.Context(), p.Org, "x"); !errors.Is(err, store.ErrImportTarget) {
				t.Errorf("once more into what is whole: %v", err)
			}
		}
	})
}

// TestImportUnfinished: a server refuses a database that an export is being read into, and
// so does the import of another export.
func TestImportUnfinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.add(0, w.incident(0, "1"))
	first, _ := w.write(w.everything())
	w.add(0, w.incident(0, "2"))
	second, _ := w.write(w.everything())
	p, err := export.Open(first)
	w.ok(err)
	q, err := export.Open(second)
	w.ok(err)
	dir := t.TempDir()
	st, err := store.Open(t.Context(), dir, store.Options{Create: true, Import: true})
	w.ok(err)
	org, _, err := st.BeginImport(t.Context(), p.Org, "x")
	w.ok(err)
	if err := w.bring(st, org, p, 3); !errors.Is(err, errHalfway) {
		t.Errorf("broken off with %v", err)
	}
	if err := w.bring(st, org, q, 1e9); !errors.Is(err, server.ErrOtherImport) {
		t.Errorf("another export: %v", err)
	}
	w.ok(st.Close())
	if _, err := store.Open(t.Context(), dir, store.Options{Serve: true}); !errors.Is(err, store.ErrHalfImported) {
		t.Errorf("served halfway: %v", err)
	}
	if st, err = store.Open(t.Context(), dir, store.Options{Create: true, Import: true}); err == nil {
		org, again, err := st.BeginImport(t.Context(), p.Org, "x")
		w.ok(err)
		if !again {
			t.Error("it does not go on")
		}
		w.ok(w.bring(st, org, p, 1e9))
		w.ok(st.Close())
	}
	w.ok(err)
	if st, err = store.Open(t.Context(), dir, store.Options{Serve: true}); err != nil {
		t.Fatalf("served: %v", err)
	}
	w.ok(st.Close())
	if _, err := store.Open(t.Context(), dir, store.Options{Create: true, Import: true}); !errors.Is(err, store.ErrImportTarget) {
		t.Errorf("into what is there: %v", err)
	}
	if _, err := store.Open(t.Context(), w.dir, store.Options{Create: true, Import: true}); !errors.Is(err, store.ErrImportTarget) {
		t.Errorf("into another org's: %v", err)
	}
}

// TestImportRefuses: what is damaged, foreign or a part is refused, with the place and no
// value.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.add(0, w.incident(0, "SECRET"))
	whole := func(with func(*export.Options)) string {
		o := w.everything()
		if with != nil {
			with(&o)
		}
		dir, _ := w.write(o)
		return dir
	}
	// tampered changes a file, and the manifest with it.
	tampered := func(name, from, to string, honest bool) func(string) {
		return func(dir string) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			w.ok(err)
			text2 := strings.Replace(string(text), from, to, 1)
			if text2 == string(text) {
				t.Fatalf("%s has no %q", name, from)
			}
			w.ok(os.WriteFile(filepath.Join(dir, name), []byte(text2), 0o600))
			if !honest {
				return
			}
			manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
			w.ok(err)
			var m export.Manifest
			w.ok(json.Unmarshal(manifest, &m))
			for i := range m.Files {
				if m.Files[i].Name == name {
					sum := sha256.Sum256([]byte(text2))
					m.Files[i].SHA256, m.Files[i].Bytes = hex.EncodeToString(sum[:]), int64(len(text2))
				}
			}
			manifest, err = json.Marshal(m)
			w.ok(err)
			w.ok(os.WriteFile(filepath.Join(dir, "manifest.json"), manifest, 0o600))
		}
	}
	for name, c := range map[string]struct {
		with  func(*export.Options)
		spoil func(string)
		want  error
		says  string
	}{
		"a changed byte":       {nil, tampered("incidents.csv", "SECRET", "SEKRET", false), export.ErrDamaged, "incidents.csv"},
		"cut short":            {nil, tampered("incidents.csv", "SECRET", "", false), export.ErrDamaged, "incidents.csv"},
		"a file is missing":    {nil, func(dir string) { w.ok(os.Remove(filepath.Join(dir, "incident_force.csv"))) }, export.ErrDamaged, "incident_force.csv"},
		"an unknown column":    {nil, tampered("incidents.csv", "cad_number", "cat_number", true), nil, "incidents.csv, line 1, cat_number"},
		"what is no number":    {nil, tampered("incidents.csv", "-87.25", "SECRET", true), nil, "incidents.csv, line 2, location_lon"},
		"what is no time":      {nil, tampered("incidents.csv", "2023-11-14T22:13:20.000Z", "2023-11-14 22:13:20", true), nil, "incidents.csv, line 2, "},
		"a value of nobody's":  {nil, tampered("incident_force.csv", "\r\n0", "\r\n1", true), nil, "incident_force.csv"},
		"out of order":         {nil, tampered("incident_force.csv", ",1,", ",2,", true), nil, "incident_force.csv"},
		"for a spreadsheet":    {func(o *export.Options) { o.ExcelSafe = true }, nil, export.ErrForSpreadsheet, ""},
		"some kinds":           {func(o *export.Options) { o.Kinds = []string{"incident"} }, nil, export.ErrNotWhole, ""},
		"a period":             {func(o *export.Options) { o.From = "2023-01-01" }, nil, export.ErrNotWhole, ""},
		"what has changed":     {func(o *export.Options) { o.Since = 1 }, nil, export.ErrNotWhole, ""},
		"one person's":         {func(o *export.Options) { o.Person = w.staff["admin"] }, nil, export.ErrNotWhole, ""},
		"a de-identified set":  {func(o *export.Options) { o.Set, o.Drafts, o.Void, o.SUD = export.SafeHarbor, false, false, false }, nil, export.ErrNotWhole, ""},
		"another form":         {func(o *export.Options) { o.Format = export.Parquet }, nil, export.ErrNotWhole, ""},
		"no manifest":          {nil, func(dir string) { w.ok(os.Remove(filepath.Join(dir, "manifest.json"))) }, export.ErrNoExport, ""},
		"a manifest of others": {nil, func(dir string) { w.ok(os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{}"), 0o600)) }, export.ErrNoExport, ""},
		"a newer version's":    {nil, tampered("manifest.json", `"schema": 1`, `"schema": 2`, false), export.ErrNewer, ""},
	} {
		dir := whole(c.with)
		if c.spoil != nil {
			c.spoil(dir)
		}
		p, err := export.Open(dir)
		if err == nil {
			err = p.Check(t.Context(), nil)
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || strings.Contains(fmt.Sprint(err), "SECRET") {
			t.Errorf("%s: %v, want %v with %q", name, err, c.want, c.says)
		}
	}
}
