package record_test

import (
	"regexp"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var snake = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)

func rulesOf(f protoreflect.FieldDescriptor) *tandemv1.FieldRules {
	r, _ := proto.GetExtension(f.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	return r
}

func TestEveryKindIsAnnotated(t *testing.T) {
	t.Parallel()
	d := record.New()
	want := []string{
		"agency", "program", "team", "staff", "device", "resource", "code_set", "incident", "alert_card",
		"person", "encounter", "referral", "note", "episode", "follow_up", "consent", "disclosure", "safety_alert", "attachment", "review",
	}
	var got []string
	for _, k := range d.Kinds() {
		got = append(got, k.Name)
		rules, _ := proto.GetExtension(d.Descriptor(k.Name).Options(), tandemv1.E_Kind).(*tandemv1.KindRules)
		if k.Number == 0 || !snake.MatchString(k.Name) || rules.GetEn() == "" || rules.GetEs() == "" {
			t.Errorf("%s: want a number, a snake_case name and both labels", k.Name)
		}
		if k.Compartment == tandemv1.Compartment_COMPARTMENT_UNSPECIFIED {
			t.Errorf("%s has no compartment", k.Name)
		}
		if record.StateMachine(rules.GetLifecycle()) == nil {
			t.Errorf("%s: the lifecycle %q has no table of transitions", k.Name, rules.GetLifecycle())
		}
		if !k.Sealed[record.Void] {
			t.Errorf("%s is not sealed by void", k.Name)
		}
		if d.Kind(k.Number) != k || d.KindByName(k.Name) != k || d.KindOf(d.NewMessage(k.Number)) != k {
			t.Errorf("%s is not found by number, name and message alike", k.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("kinds: got %v, want %v", got, want)
	}
}

func TestEveryFieldIsAnnotated(t *testing.T) {
	t.Parallel()
	d := record.New()
	seen := map[protoreflect.FullName]bool{}
	var walk func(desc protoreflect.MessageDescriptor, isKind bool)
	walk = func(desc protoreflect.MessageDescriptor, isKind bool) {
		if seen[desc.FullName()] {
			return
		}
		seen[desc.FullName()] = true
		for i := range desc.Fields().Len() {
			f := desc.Fields().Get(i)
			r := rulesOf(f)
			if isKind == (r.GetMerge() == tandemv1.MergePolicy_MERGE_POLICY_UNSPECIFIED) {
				t.Errorf("%s: fields of kinds have a merge policy, fields inside messages have none", f.FullName())
			}
			if r.GetEn() == "" || r.GetEs() == "" {
				t.Errorf("%s has no label in both languages", f.FullName())
			}
			if r.GetIdentifier() == tandemv1.Identifier_IDENTIFIER_UNSPECIFIED {
				t.Errorf("%s has no identifier class", f.FullName())
			}
			if r.GetSafeHarbor() == tandemv1.SafeHarbor_SAFE_HARBOR_UNSPECIFIED {
				t.Errorf("%s does not say what Safe Harbor does with it", f.FullName())
			}
			if r.GetCodes() != "" && len(d.Codes(r.GetCodes())) == 0 {
				t.Errorf("%s names the code list %s, which there is not", f.FullName(), r.GetCodes())
			}
			if r.GetRef() != "" && d.KindByName(r.GetRef()) == nil {
				t.Errorf("%s refers to the kind %s, which there is not", f.FullName(), r.GetRef())
			}
			if r.GetMerge() == tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE && record.StateMachine(r.GetCodes()) == nil {
				t.Errorf("%s is a state machine without a table of transitions", f.FullName())
			}
			if f.Kind() == protoreflect.MessageKind {
				walk(f.Message(), false)
			}
		}
	}
	for _, k := range d.Kinds() {
		walk(d.Descriptor(k.Name), true)
	}
	if len(seen) < 15 {
		t.Errorf("walked %d messages, want the kinds and the messages inside them", len(seen))
	}
}

func TestShapesMatchNumbers(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, k := range d.Kinds() {
		desc := d.Descriptor(k.Name)
		for i := range desc.Fields().Len() {
			f := desc.Fields().Get(i)
			number := uint32(f.Number())
			policy := rulesOf(f).GetMerge()
			want := tandemv1.MergePolicy_MERGE_POLICY_UNSPECIFIED
			var fits bool
			switch syncengine.ShapeOf(number) {
			case syncengine.ShapeSingular:
				fits = !f.IsList() && f.HasPresence()
				if policy == tandemv1.MergePolicy_MERGE_POLICY_SET || policy == tandemv1.MergePolicy_MERGE_POLICY_APPEND {
					t.Errorf("%s is one value and has the policy %s", f.FullName(), policy)
				}
			case syncengine.ShapeCodeSet:
				fits = f.IsList() && f.Kind() == protoreflect.StringKind
				want = tandemv1.MergePolicy_MERGE_POLICY_SET
			case syncengine.ShapeElementSet:
				fits = f.IsList() && isElement(f)
				want = tandemv1.MergePolicy_MERGE_POLICY_SET
			case syncengine.ShapeAppend:
				fits = f.IsList() && isElement(f)
				want = tandemv1.MergePolicy_MERGE_POLICY_APPEND
			}
			if !fits {
				t.Errorf("%s: its number %d says another shape", f.FullName(), number)
			}
			if want != 0 && policy != want {
				t.Errorf("%s: got policy %s, want %s for its number", f.FullName(), policy, want)
			}
		}
	}
}

func isElement(f protoreflect.FieldDescriptor) bool {
	if f.Kind() != protoreflect.MessageKind {
		return false
	}
	e := f.Message().Fields().ByNumber(1)
	return e != nil && e.Name() == "element" && e.Kind() == protoreflect.BytesKind && !e.IsList()
}

func TestEnvelopeIsTheSameInEveryKind(t *testing.T) {
	t.Parallel()
	d := record.New()
	envelope := map[protoreflect.FieldNumber]struct {
		name string
		kind protoreflect.Kind
	}{
		syncengine.FieldAgency:     {"agency_id", protoreflect.StringKind},
		syncengine.FieldProgram:    {"program_id", protoreflect.StringKind},
		syncengine.FieldTeam:       {"team_id", protoreflect.StringKind},
		syncengine.FieldLifecycle:  {"lifecycle", protoreflect.StringKind},
		syncengine.FieldVoidReason: {"void_reason", protoreflect.StringKind},
		syncengine.FieldTZ:         {"tz", protoreflect.StringKind},
		syncengine.FieldSchema:     {"schema", protoreflect.Uint32Kind},
	}
	for _, k := range d.Kinds() {
		fields := d.Descriptor(k.Name).Fields()
		for number, want := range envelope {
			f := fields.ByNumber(number)
			if f == nil || string(f.Name()) != want.name || f.Kind() != want.kind || f.IsList() {
				t.Errorf("%s: field %d is not %s %s", k.Name, number, want.kind, want.name)
			}
		}
		for number := protoreflect.FieldNumber(8); number < 20; number++ {
			if f := fields.ByNumber(number); f != nil {
				t.Errorf("%s: %d to 19 belong to the envelope", f.FullName(), 8)
			}
		}
		rules, _ := proto.GetExtension(d.Descriptor(k.Name).Options(), tandemv1.E_Kind).(*tandemv1.KindRules)
		if got := rulesOf(fields.ByNumber(syncengine.FieldLifecycle)).GetCodes(); got != rules.GetLifecycle() {
			t.Errorf("%s: its lifecycle field has the codes %s, its kind says %s", k.Name, got, rules.GetLifecycle())
		}
	}
}

func TestCodeLists(t *testing.T) {
	t.Parallel()
	d := record.New()
	if len(d.Lists()) < 40 {
		t.Errorf("got %d code lists, want those of every kind", len(d.Lists()))
	}
	for _, name := range d.Lists() {
		if !snake.MatchString(name) {
			t.Errorf("code list %s is not snake_case", name)
		}
		codes := d.Codes(name)
		if len(codes) < 2 {
			t.Errorf("code list %s has no choice", name)
		}
		seen := map[string]bool{}
		for i, c := range codes {
			if !snake.MatchString(c.Code) || len(c.Code) > 64 {
				t.Errorf("%s: code %q is not snake_case of at most 64 characters", name, c.Code)
			}
			if seen[c.Code] {
				t.Errorf("%s: code %s stands twice", name, c.Code)
			}
			seen[c.Code] = true
			if c.EN == "" || c.ES == "" {
				t.Errorf("%s: code %s has no label in both languages", name, c.Code)
			}
			if c.Code == record.NotRecorded && i != len(codes)-1 {
				t.Errorf("%s: %s stands last", name, c.Code)
			}
			if got := d.Label(name, c.Code, record.Spanish); got != c.ES {
				t.Errorf("%s: label of %s: got %q, want %q", name, c.Code, got, c.ES)
			}
		}
	}
}

func TestStateMachines(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, name := range record.StateMachines() {
		table := record.StateMachine(name)
		for _, c := range d.Codes(name) {
			if _, ok := table[c.Code]; !ok {
				t.Errorf("%s: the code %s has no line in the table", name, c.Code)
			}
		}
		for from, follow := range table {
			for _, code := range append(slices.Clone(follow), from) {
				if !d.HasCode(name, code) {
					t.Errorf("%s: the table names %s, which is no code of the list", name, code)
				}
			}
		}
	}
	for _, tc := range []struct {
		kind, field, from, to string
		want                  bool
	}{
		{"incident", "lifecycle", "open", "cleared", true},
		{"incident", "lifecycle", "cleared", "locked", true},
		{"incident", "lifecycle", "cleared", "open", false},
		{"incident", "lifecycle", "open", "locked", false},
		{"incident", "lifecycle", "locked", "void", true},
		{"incident", "lifecycle", "void", "cleared", true},
		{"incident", "lifecycle", "open", "open", true},
		{"incident", "lifecycle", "", "locked", true},
		{"incident", "lifecycle", "open", "", false},
		{"incident", "lifecycle", "open", "from_tomorrow", false},
		{"incident", "lifecycle", "from_tomorrow", "open", false},
		{"encounter", "lifecycle", "draft", "signed", true},
		{"encounter", "lifecycle", "signed", "draft", false},
		{"encounter", "lifecycle", "signed", "amended", true},
		{"encounter", "lifecycle", "draft", "amended", false},
		{"person", "lifecycle", "active", "merged", true},
		{"person", "lifecycle", "merged", "active", true},
		{"referral", "state", "draft", "accepted", true},
		{"referral", "state", "accepted", "sent", false},
		{"referral", "state", "waitlisted", "closed", true},
		{"referral", "state", "closed", "sent", false},
		{"device", "state", "active", "suspended", true},
		{"device", "state", "wiped", "active", false},
	} {
		k := d.KindByName(tc.kind)
		number := uint32(d.Descriptor(tc.kind).Fields().ByName(protoreflect.Name(tc.field)).Number())
		raw := func(code string) []byte {
			if code == "" {
				return nil
			}
			return syncengine.StringField(number, code)
		}
		if got := k.Fields[number].Legal(raw(tc.from), raw(tc.to)); got != tc.want {
			t.Errorf("%s.%s from %q to %q: got %t, want %t", tc.kind, tc.field, tc.from, tc.to, got, tc.want)
		}
	}
	if got, want := d.Next("referral_state", "accepted"), []string{"waitlisted", "scheduled", "closed"}; !slices.Equal(got, want) {
		t.Errorf("next of accepted: got %v, want %v", got, want)
	}
}

func TestCaution(t *testing.T) {
	t.Parallel()
	d := record.New()
	rank := func(kind, field, code string) int {
		number := uint32(d.Descriptor(kind).Fields().ByName(protoreflect.Name(field)).Number())
		return d.KindByName(kind).Fields[number].Caution(syncengine.StringField(number, code))
	}
	for _, tc := range []struct {
		kind, field string
		order       []string // from least to most cautious
	}{
		{"encounter", "danger_self", []string{"none", "low", "moderate", "unable_to_assess", "from_tomorrow", "high"}},
		{"encounter", "legal_status", []string{"voluntary", "involuntary_team", "involuntary_police", "from_tomorrow", "involuntary_other"}},
		{"incident", "weapon", []string{"none", "unknown", "other", "edged", "from_tomorrow", "firearm"}},
		{"incident", "force_used", []string{"no", "unknown", "from_tomorrow", "yes"}},
		{"incident", "risk_level", []string{"low", "moderate", "unknown", "high", "from_tomorrow", "emergent"}},
	} {
		for i := range tc.order[1:] {
			if rank(tc.kind, tc.field, tc.order[i]) >= rank(tc.kind, tc.field, tc.order[i+1]) {
				t.Errorf("%s.%s: %s ranks at or above %s", tc.kind, tc.field, tc.order[i], tc.order[i+1])
			}
		}
	}
	f := d.KindByName("person").Fields[35]
	if f.Name != "do_not_contact" || f.Caution(syncengine.BoolField(35, true)) <= f.Caution(syncengine.BoolField(35, false)) {
		t.Error("do_not_contact: true is not the more cautious")
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, tc := range []struct{ got, want string }{
		{d.FieldLabel("incident", "arrived_at", "en"), "Arrived"},
		{d.FieldLabel("incident", "location.city", "es"), "Ciudad"},
		{d.FieldLabel("incident", "from_tomorrow", "es"), "from_tomorrow"},
		{d.KindLabel("incident", "es-MX"), "Incidente"},
		{d.KindLabel("from_tomorrow", "en"), "from_tomorrow"},
		{d.Label("danger", "high", "en"), "High"},
		{d.Label("danger", "extreme", "en"), "other (extreme)"},
		{d.Label("danger", "extreme", "es"), "otro (extreme)"},
		{d.FieldCodes("incident", "responders.on_scene_role"), "discipline"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

// Annotations that Check has no form for make every push of the kind slower by an
// order of magnitude: give format.go the form.
func TestNoKindNeedsTheValidatorInCheck(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, k := range d.Kinds() {
		if d.Slow(k.Name) {
			t.Errorf("%s has an annotation that format.go has no form for", k.Name)
		}
	}
}
