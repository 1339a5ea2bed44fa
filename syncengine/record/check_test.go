package record_test

import (
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestCheckTakes(t *testing.T) {
	t.Parallel()
	d := record.New()
	private := createOf(t, &tandemv1.Note{TeamId: new(teamA.String()), Type: new("private_psychotherapy")})
	private.Compartment = tandemv1.Compartment_COMPARTMENT_PRIVATE
	sud := createOf(t, encounterMessage(t))
	sud.Compartment = tandemv1.Compartment_COMPARTMENT_SUD
	locked := incidentMessage(t)
	locked.Lifecycle = new(record.Locked)
	imported := createOf(t, locked)
	imported.ImportedFrom = &tandemv1.Import{Mapping: "toronto", File: make([]byte, 32), Row: 2}
	newer := createOf(t, incidentMessage(t))
	newer.Body = append(newer.Body, protowire.AppendBytes(protowire.AppendTag(nil, 333, protowire.BytesType),
		append([]byte{0x0a, 8}, "kkkkkkkk\x12\x01\xff"...))...)
	unknownCode := incidentMessage(t)
	unknownCode.CallType = new("from_tomorrow")
	atServer := change(createOf(t, &tandemv1.Agency{Name: new("Monroe"), Type: new("behavioral_health")}))
	atServer.Device = nil
	for name, c := range map[string]*tandemv1.Change{
		"encounter":             creating(t, encounterMessage(t)),
		"incident":              creating(t, incidentMessage(t)),
		"person":                creating(t, personMessage(t)),
		"referral":              creating(t, referralMessage(t)),
		"note":                  creating(t, noteMessage(t)),
		"private note":          change(private),
		"sud":                   change(sud),
		"import":                change(imported),
		"a newer version's":     change(newer),
		"a newer version's set": editing(t, incidentMessage(t), func(m *tandemv1.Incident) { m.LeActions = append(m.LeActions, "from_tomorrow") }),
		"an unknown code":       creating(t, unknownCode),
		"made at the server":    atServer,
		"edit":                  editing(t, incidentMessage(t), func(m *tandemv1.Incident) { m.NotesOps = new("Gate code at dispatch.\n\tOk.") }),
		"cleared field":         editing(t, incidentMessage(t), func(m *tandemv1.Incident) { m.Location, m.LeActions = nil, nil }),
		"sign":                  change(actOn(t, tandemv1.Act_ACT_SIGN, encounterMessage(t), func(m *tandemv1.Encounter) { m.Lifecycle = new("signed") })),
		"void":                  change(actOn(t, tandemv1.Act_ACT_VOID, encounterMessage(t), func(m *tandemv1.Encounter) { m.Lifecycle = new("void") })),
		"append": change(actOn(t, tandemv1.Act_ACT_APPEND, referralMessage(t), func(m *tandemv1.Referral) {
			m.Events = []*tandemv1.ReferralEvent{{Element: []byte("eeeeeeee"), At: at(5), State: new("sent")}}
		})),
		"a time of any year": func() *tandemv1.Change {
			c := creating(t, incidentMessage(t))
			c.Time.WallMs = -1 << 60
			return c
		}(),
	} {
		if r := d.Check(c); r != nil {
			t.Errorf("%s: refused with %s %v", name, r.Code, r.Fields)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	d := record.New()
	invalid := tandemv1.Refusal_REFUSAL_INVALID
	canary := "CANARY"
	type edit = func(*tandemv1.Change)
	first := func(f func(*tandemv1.RecordWrite)) edit {
		return func(c *tandemv1.Change) { f(c.GetRecords()[0]) }
	}
	body := func(m proto.Message) edit {
		return first(func(w *tandemv1.RecordWrite) { w.Body = createOf(t, m).GetBody() })
	}
	incidentWith := func(f func(*tandemv1.Incident)) edit {
		m := incidentMessage(t)
		f(m)
		return body(m)
	}
	rewrite := func(w *tandemv1.RecordWrite) edit {
		return func(c *tandemv1.Change) { c.Records = []*tandemv1.RecordWrite{w} }
	}
	setIncident := func(f func(*tandemv1.Incident)) *tandemv1.RecordWrite {
		return actOn(t, tandemv1.Act_ACT_SET, incidentMessage(t), f)
	}
	set := func(f func(*tandemv1.RecordWrite)) edit {
		w := setIncident(func(m *tandemv1.Incident) { m.NotesOps = new("x") })
		f(w)
		return rewrite(w)
	}
	for name, tc := range map[string]struct {
		edit   edit
		code   tandemv1.Refusal
		fields []string
	}{
		"no id":             {func(c *tandemv1.Change) { c.Id = nil }, invalid, []string{"id"}},
		"zero id":           {func(c *tandemv1.Change) { c.Id = make([]byte, 16) }, invalid, []string{"id"}},
		"no author":         {func(c *tandemv1.Change) { c.Author = []byte{1} }, invalid, []string{"author"}},
		"a device too long": {func(c *tandemv1.Change) { c.Device = make([]byte, 17) }, invalid, []string{"device"}},
		"a grant too short": {func(c *tandemv1.Change) { c.Grant = make([]byte, 7) }, invalid, []string{"grant"}},
		"no record":         {func(c *tandemv1.Change) { c.Records = nil }, invalid, []string{"records"}},
		"101 records": {func(c *tandemv1.Change) { c.Records = slices.Repeat(c.GetRecords(), 101) },
			invalid, []string{"records"}},
		"no record id":    {first(func(w *tandemv1.RecordWrite) { w.Record = nil }), invalid, []string{"0/record"}},
		"an unknown kind": {first(func(w *tandemv1.RecordWrite) { w.Kind = 4000 }), tandemv1.Refusal_REFUSAL_UNKNOWN_KIND, []string{"0/kind"}},
		"an unknown kind of a newer app": {func(c *tandemv1.Change) { c.Schema, c.Records[0].Kind = 900, 4000 },
			tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA, []string{"0/kind"}},
		"no act":          {first(func(w *tandemv1.RecordWrite) { w.Act = 0 }), invalid, []string{"0/act"}},
		"an unknown act":  {first(func(w *tandemv1.RecordWrite) { w.Act = 77 }), invalid, []string{"0/act"}},
		"create, no body": {first(func(w *tandemv1.RecordWrite) { w.Body = nil }), invalid, []string{"0/body", "0/team_id"}},
		"create with writes": {first(func(w *tandemv1.RecordWrite) {
			w.Writes = setIncident(func(m *tandemv1.Incident) { m.NotesOps = new("x") }).GetWrites()
		}), invalid, []string{"0/writes"}},
		"create twice": {func(c *tandemv1.Change) { c.Records = slices.Repeat(c.GetRecords(), 2) }, invalid, nil},
		"create out of order": {first(func(w *tandemv1.RecordWrite) {
			w.Body = append(syncengine.StringField(4, "open"), syncengine.StringField(3, teamA.String())...)
		}), invalid, []string{"0/body"}},
		"create too compartmented": {first(func(w *tandemv1.RecordWrite) { w.Compartment = tandemv1.Compartment_COMPARTMENT_CLINICAL }),
			invalid, []string{"0/compartment"}},
		"create weaker than its kind": {func(c *tandemv1.Change) {
			c.Records = []*tandemv1.RecordWrite{createOf(t, encounterMessage(t))}
			c.Records[0].Compartment = tandemv1.Compartment_COMPARTMENT_OPS
		}, invalid, []string{"0/compartment"}},
		"create signed": {func(c *tandemv1.Change) {
			m := encounterMessage(t)
			m.Lifecycle = new("signed")
			c.Records = []*tandemv1.RecordWrite{createOf(t, m)}
		}, invalid, []string{"0/lifecycle"}},
		"create locked, no import": {incidentWith(func(m *tandemv1.Incident) { m.Lifecycle = new("locked") }), invalid, []string{"0/lifecycle"}},
		"create without team":      {incidentWith(func(m *tandemv1.Incident) { m.TeamId = nil }), invalid, []string{"0/team_id"}},
		"a team that is no id":     {incidentWith(func(m *tandemv1.Incident) { m.TeamId = &canary }), invalid, []string{"0/team_id"}},
		"a long number":            {incidentWith(func(m *tandemv1.Incident) { m.Number = new(strings.Repeat("é", 41)) }), invalid, []string{"0/number"}},
		"a code that is none":      {incidentWith(func(m *tandemv1.Incident) { m.CallType = &canary }), invalid, []string{"0/call_type"}},
		"a code in a set":          {incidentWith(func(m *tandemv1.Incident) { m.LeActions = []string{canary} }), invalid, []string{"0/le_actions"}},
		"a ZIP inside":             {incidentWith(func(m *tandemv1.Incident) { m.Location.Zip5 = &canary }), invalid, []string{"0/location.zip5"}},
		"a latitude":               {incidentWith(func(m *tandemv1.Incident) { m.Location.Lat = new(90.5) }), invalid, []string{"0/location.lat"}},
		"a time without time":      {incidentWith(func(m *tandemv1.Incident) { m.ArrivedAt.AtMs = nil }), invalid, []string{"0/arrived_at.at_ms"}},
		"a time before 1970":       {incidentWith(func(m *tandemv1.Incident) { m.ArrivedAt.AtMs = new(int64(-1)) }), invalid, []string{"0/arrived_at.at_ms"}},
		"a control character":      {incidentWith(func(m *tandemv1.Incident) { m.NotesOps = new("a\x00b") }), invalid, []string{"0/notes_ops"}},
		"a carriage return":        {incidentWith(func(m *tandemv1.Incident) { m.NotesOps = new("a\r\nb") }), invalid, []string{"0/notes_ops"}},
		"a C1 control character":   {incidentWith(func(m *tandemv1.Incident) { m.NotesOps = new("é\u0085b") }), invalid, []string{"0/notes_ops"}},
		"a control character in an element": {incidentWith(func(m *tandemv1.Incident) { m.Responders[1].Name = new("\x1b[2J") }),
			invalid, []string{"0/responders.name"}},
		"no UTF-8": {first(func(w *tandemv1.RecordWrite) {
			w.Body = append(syncengine.StringField(3, teamA.String()), syncengine.StringField(41, "\xff\xfe")...)
		}), invalid, []string{"0/notes_ops"}},
		"a wrong wire type": {first(func(w *tandemv1.RecordWrite) {
			w.Body = append(syncengine.StringField(3, teamA.String()), syncengine.BoolField(41, true)...)
		}), invalid, []string{"0/notes_ops"}},
		"a bool of 2": {first(func(w *tandemv1.RecordWrite) {
			w.Body = append(syncengine.StringField(3, teamA.String()), 39<<3&0x7f|0x80, 2, 2)
		}), invalid, []string{"0/ems_on_scene"}},
		"a message in disorder": {first(func(w *tandemv1.RecordWrite) {
			inner := append(syncengine.StringField(2, "tap"), 8, 5)
			w.Body = append(syncengine.StringField(3, teamA.String()),
				protowire.AppendBytes(protowire.AppendTag(nil, 27, protowire.BytesType), inner)...)
		}), invalid, []string{"0/received_at.at_ms"}},
		"an unknown set's key": {first(func(w *tandemv1.RecordWrite) {
			w.Body = append(syncengine.StringField(3, teamA.String()), syncengine.StringField(299, "a\x01")...)
		}), invalid, []string{"0/field_299"}},
		"an import of nothing": {first(func(w *tandemv1.RecordWrite) { w.ImportedFrom = &tandemv1.Import{Mapping: "toronto"} }),
			invalid, []string{"0/imported_from"}},
		"set with body":        {set(func(w *tandemv1.RecordWrite) { w.Body = []byte{1} }), invalid, []string{"0/body"}},
		"set with compartment": {set(func(w *tandemv1.RecordWrite) { w.Compartment = 2 }), invalid, []string{"0/compartment"}},
		"set with import":      {set(func(w *tandemv1.RecordWrite) { w.ImportedFrom = &tandemv1.Import{} }), invalid, []string{"0/imported_from"}},
		"set of nothing":       {set(func(w *tandemv1.RecordWrite) { w.Writes = nil }), invalid, []string{"0/writes"}},
		"a path twice":         {set(func(w *tandemv1.RecordWrite) { w.Writes = slices.Repeat(w.GetWrites(), 2) }), invalid, []string{"0/notes_ops"}},
		"a path twice over two writes": {func(c *tandemv1.Change) {
			w := setIncident(func(m *tandemv1.Incident) { m.Number = new("9") })
			c.Records = append(c.Records, w)
		}, invalid, []string{"1/number"}},
		"one record, two kinds": {func(c *tandemv1.Change) {
			c.Records = append(c.Records, actOn(t, tandemv1.Act_ACT_SET, noteMessage(t), func(m *tandemv1.Note) { m.Text = new("x") }))
		}, invalid, []string{"1/kind"}},
		"bases of 9 bytes": {set(func(w *tandemv1.RecordWrite) { w.Writes[0].Bases = make([]byte, 9) }), invalid, []string{"0/notes_ops"}},
		"a value of another path": {set(func(w *tandemv1.RecordWrite) { w.Writes[0].Field = 20 }),
			invalid, []string{"0/number"}},
		"a key on a singular": {set(func(w *tandemv1.RecordWrite) { w.Writes[0].Key = []byte("k") }), invalid, []string{"0/notes_ops"}},
		"a field outside":     {set(func(w *tandemv1.RecordWrite) { w.Writes[0].Field = 500 }), invalid, []string{"0/field_500"}},
		"the seen is garbage": {set(func(w *tandemv1.RecordWrite) { w.Seen = []byte{0xff} }), invalid, []string{"0/seen"}},
		"a long reason":       {set(func(w *tandemv1.RecordWrite) { w.Reason = strings.Repeat("é", 501) }), invalid, []string{"0/reason"}},
		"clearing the team":   {rewrite(setIncident(func(m *tandemv1.Incident) { m.TeamId = nil })), invalid, []string{"0/team_id"}},
		"plain lock":          {rewrite(setIncident(func(m *tandemv1.Incident) { m.Lifecycle = new("locked") })), invalid, []string{"0/lifecycle"}},
		"clearing the lifecycle": {rewrite(setIncident(func(m *tandemv1.Incident) { m.Lifecycle = nil })),
			invalid, []string{"0/lifecycle"}},
		"append of a plain field": {rewrite(actOn(t, tandemv1.Act_ACT_APPEND, incidentMessage(t), func(m *tandemv1.Incident) { m.NotesOps = new("x") })),
			invalid, []string{"0/notes_ops"}},
		"void without reason": {func(c *tandemv1.Change) {
			w := actOn(t, tandemv1.Act_ACT_VOID, incidentMessage(t), func(m *tandemv1.Incident) { m.Lifecycle = new("void") })
			w.Reason = " "
			c.Records = []*tandemv1.RecordWrite{w}
		}, invalid, []string{"0/reason"}},
		"void that does not void": {rewrite(actOn(t, tandemv1.Act_ACT_VOID, incidentMessage(t), func(m *tandemv1.Incident) { m.NotesOps = new("x") })),
			invalid, []string{"0/lifecycle"}},
		"sign unseen": {func(c *tandemv1.Change) {
			w := actOn(t, tandemv1.Act_ACT_SIGN, encounterMessage(t), func(m *tandemv1.Encounter) { m.Lifecycle = new("signed") })
			w.Seen = nil
			c.Records = []*tandemv1.RecordWrite{w}
		}, invalid, []string{"0/seen"}},
		"a private note in the open": {func(c *tandemv1.Change) {
			m := noteMessage(t)
			m.Type = new("private_psychotherapy")
			c.Records = []*tandemv1.RecordWrite{createOf(t, m)}
		}, invalid, []string{"0/compartment"}},
		"a note made private later": {rewrite(actOn(t, tandemv1.Act_ACT_SET, noteMessage(t), func(m *tandemv1.Note) { m.Type = new("private_psychotherapy") })),
			invalid, []string{"0/type"}},
		"removing an event": {func(c *tandemv1.Change) {
			m := referralMessage(t)
			m.Events = []*tandemv1.ReferralEvent{{Element: []byte("eeeeeeee"), State: new("sent")}}
			c.Records = []*tandemv1.RecordWrite{actOn(t, tandemv1.Act_ACT_SET, m, func(m *tandemv1.Referral) { m.Events = nil })}
		}, invalid, []string{"0/events"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := creating(t, incidentMessage(t))
			tc.edit(c)
			r := d.Check(c)
			if r == nil {
				t.Fatal("taken, want a refusal")
			}
			if r.Code != tc.code || tc.fields != nil && !slices.Equal(r.Fields, tc.fields) {
				t.Errorf("got %s %v, want %s %v", r.Code, r.Fields, tc.code, tc.fields)
			}
			if strings.Contains(strings.Join(r.Fields, " "), canary) {
				t.Errorf("the refusal tells a value: %v", r.Fields)
			}
		})
	}
}

// TestFormatsAreTheValidators holds the forms that Check judges raw bytes by to
// the verdicts of protovalidate, field by field.
func TestFormatsAreTheValidators(t *testing.T) {
	t.Parallel()
	d := record.New()
	texts := []string{
		"", "a", "A", "none", "not_recorded", "a-b", "0", "00", "14604", "1460", "146045", "14604\n", "NY", "ny", "NYC",
		teamA.String(), strings.ToLower(teamA.String()), teamA.String() + "0", "8" + teamA.String()[1:], teamA.String()[1:] + "U",
		"America/New_York", "-x", "UTC", "en", "es-MX", "e", "en-", "toolonglang", "01-01", "12-31", "13-01", "02-32",
		"1992", "1992-03", "1992-03-31", "1992-3", "1992-13", "1992-03-32", "24", "024", "99999", "100000", "é", "Ñ_x",
	}
	for _, n := range []int{35, 36, 40, 41, 63, 64, 65, 100, 101, 120, 121, 200, 201, 300, 301, 500, 501, 1000, 1001, 20000, 20001} {
		texts = append(texts, strings.Repeat("a", n), strings.Repeat("é", n))
	}
	numbers := []int64{0, 1, 2, 4, 5, 6, 99, 100, 101, 119, 120, 121, 364, 365, 366, 999, 1000, 1001, 1440, 1441,
		100_000, 100_001, 1<<32 - 1, -1, 253402300799999, 253402300800000, -1 << 62, 1<<62 - 1}
	doubles := []float64{0, -90, 90, 90.0001, -90.0001, 180, -180, 180.5, -181, 1e300}
	compared := 0
	var walk func(m protoreflect.MessageType, seen map[protoreflect.FullName]bool)
	walk = func(mt protoreflect.MessageType, seen map[protoreflect.FullName]bool) {
		desc := mt.Descriptor()
		if seen[desc.FullName()] {
			return
		}
		seen[desc.FullName()] = true
		for i := range desc.Fields().Len() {
			f := desc.Fields().Get(i)
			var values []protoreflect.Value
			switch f.Kind() {
			case protoreflect.StringKind:
				for _, s := range texts {
					values = append(values, protoreflect.ValueOfString(s))
				}
			case protoreflect.BytesKind:
				for _, n := range []int{0, 1, 7, 8, 9, 31, 32, 33} {
					values = append(values, protoreflect.ValueOfBytes(make([]byte, n)))
				}
			case protoreflect.Uint32Kind:
				for _, n := range numbers {
					values = append(values, protoreflect.ValueOfUint32(uint32(n)))
				}
			case protoreflect.Int64Kind:
				for _, n := range numbers {
					values = append(values, protoreflect.ValueOfInt64(n))
				}
			case protoreflect.DoubleKind:
				for _, n := range doubles {
					values = append(values, protoreflect.ValueOfFloat64(n))
				}
			case protoreflect.MessageKind:
				inner := mt.New().NewField(f)
				if f.IsList() {
					inner = inner.List().NewElement()
				}
				walk(inner.Message().Type(), seen)
			}
			for _, v := range values {
				m := mt.New()
				if f.IsList() {
					m.Mutable(f).List().Append(v)
				} else {
					m.Set(f, v)
				}
				raw, err := proto.Marshal(m.Interface())
				if err != nil {
					t.Fatal(err)
				}
				name, err := record.FaultName(desc, uint32(f.Number()), raw)
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Contains(d.Invalid(m.Interface()), string(f.Name()))
				if got := name != ""; got != want {
					t.Errorf("%s: Check finds fault: %t, the validator: %t (raw %x)", f.FullName(), got, want, raw[:min(len(raw), 40)])
				}
				compared++
			}
		}
	}
	seen := map[protoreflect.FullName]bool{}
	for _, k := range d.Kinds() {
		walk(d.NewMessage(k.Number).ProtoReflect().Type(), seen)
	}
	if compared < 5000 {
		t.Errorf("compared %d values, want every field with every candidate", compared)
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"as it is\n\tok é": "as it is\n\tok é",
		"a\r\nb\rc":        "a\nb\nc",
		"a\x00b\x7f\u0085": "ab",
		"\xff":             "\uFFFD",
	} {
		if got := record.CleanText(in); got != want || !record.Text(got) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
