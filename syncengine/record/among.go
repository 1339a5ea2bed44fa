package record

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
)

// amongRule is a rule over a record and others that it names. It is judged where both
// can be read; what it finds is about the record that names, which is never in a weaker
// compartment than what it names.
type amongRule struct {
	rule

	// reads are the kinds of the others: where one of them changes, the records about it
	// are judged anew.
	reads []string
	// broken returns the fields at fault.
	broken func(v *view, o *others) []string
}

// others reads what a record names.
type others struct {
	domain *Domain
	rec    *syncengine.Record
	look   syncengine.Lookup
	about  syncengine.LookAbout
	err    error
}

// named returns the record that a field names, nil where it is not to be had here, is of
// another kind or void.
func (o *others) named(v *view, field, kind string) *view {
	return o.record(v.code(field), kind)
}

func (o *others) record(text, kind string) *view {
	id, err := syncengine.ParseID(text)
	if err != nil || o.err != nil {
		return nil
	}
	rec, err := o.look(id)
	if err != nil {
		o.err = err
		return nil
	}
	return o.domain.viewOf(rec, kind)
}

// viewOf returns a view of a record of a kind that is in force, nil for another.
func (d *Domain) viewOf(rec *syncengine.Record, kind string) *view {
	if rec == nil || d.kinds[rec.Kind] == nil || d.kinds[rec.Kind].Name != kind {
		return nil
	}
	fields, err := rec.Fields()
	if err != nil {
		return nil
	}
	v := &view{kind: d.kinds[rec.Kind], fields: fields}
	if v.code("lifecycle") == Void {
		return nil
	}
	return v
}

// amongRules is the table.
var amongRules = []amongRule{
	{
		rule: rule{
			name: "form", kind: formResponse,
			en: "The answers do not fit the form: something is missing, is no answer, or comes to another result. Open the response and check it.",
			es: "Las respuestas no encajan con el formulario: falta algo, algo no es una respuesta, o el resultado es otro. Abra la respuesta y revísela.",
		},
		broken: func(v *view, o *others) []string {
			if !v.sealed() {
				return nil
			}
			return o.unlikeForm(v)
		},
	},
	{
		rule: rule{
			name: "V5", kind: encounter,
			en: "The call says that nobody was met. Correct how the call ended, or the type of contact.",
			es: "La llamada indica que no se encontró a nadie. Corrija cómo terminó la llamada, o el tipo de atención.",
		},
		reads: []string{incident},
		broken: func(v *view, o *others) []string {
			if v.code("type") != "crisis_response" || !v.sealed() {
				return nil
			}
			call := o.named(v, "incident_id", incident)
			if call == nil {
				return nil
			}
			switch call.code("contact") {
			case "no_person_found", "cancelled_enroute", "cancelled_on_scene", "team_unavailable":
				return []string{"incident_id", "type"}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V8", kind: encounter, warn: true,
			en: "The contact ended in an arrest, which the call does not name among the police actions. Check both.",
			es: "La atención terminó en un arresto, que la llamada no menciona entre las acciones policiales. Revise ambos.",
		},
		reads: []string{incident},
		broken: func(v *view, o *others) []string {
			if v.code("disposition") != "arrest_custody" {
				return nil
			}
			if call := o.named(v, "incident_id", incident); call != nil && !call.holds("le_actions", "arrest_custody") {
				return []string{"disposition"}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V9", kind: encounter, warn: true,
			en: "The contact lies outside the times of the call. Check the times.",
			es: "La atención queda fuera de las horas de la llamada. Revise las horas.",
		},
		reads: []string{incident},
		broken: func(v *view, o *others) (fields []string) {
			call := o.named(v, "incident_id", incident)
			if call == nil {
				return nil
			}
			if from, ok := v.instant("started_at"); ok {
				if arrived, ok := call.instant("arrived_at"); ok && from < arrived-15*minuteMS {
					fields = append(fields, "started_at")
				}
			}
			if to, ok := v.instant("ended_at"); ok {
				if cleared, ok := call.instant("cleared_at"); ok && to > cleared+hourMS {
					fields = append(fields, "ended_at")
				}
			}
			return fields
		},
	},
	{
		rule: rule{
			name: "V14", kind: consent,
			en: "The person is under 18. A parent, guardian or agent signs, unless the agency takes the consent of minors.",
			es: "La persona es menor de 18 años. Firma su madre, padre, tutor o apoderado, salvo que la agencia acepte el consentimiento de menores.",
		},
		reads: []string{person},
		broken: func(v *view, o *others) []string {
			if v.code("signer") != "person" {
				return nil
			}
			of := o.named(v, "person_id", person)
			at, err := time.Parse(time.DateOnly, v.code("given_on"))
			if of == nil || err != nil || !of.minorAt(at) {
				return nil
			}
			if a := o.named(v, "agency_id", agency); a != nil && a.yes("minor_consent") {
				return nil
			}
			return []string{"signer"}
		},
	},
	{
		rule: rule{
			name: "V15", kind: episode,
			en: "The person has another active episode in this program. Go on with one of the two.",
			es: "La persona tiene otro episodio activo en este programa. Continúe con uno de los dos.",
		},
		broken: func(v *view, o *others) []string {
			of, err := syncengine.ParseID(v.code("person_id"))
			if v.code("lifecycle") != Active || v.code("program_id") == "" || err != nil || o.about == nil || o.err != nil {
				return nil
			}
			recs, err := o.about(of)
			if err != nil {
				o.err = err
				return nil
			}
			for _, rec := range recs {
				other := o.domain.viewOf(rec, episode)
				if other == nil || rec.ID == o.rec.ID || other.code("person_id") != v.code("person_id") {
					continue
				}
				if other.code("lifecycle") == Active && other.code("program_id") == v.code("program_id") {
					return []string{"person_id", "program_id"}
				}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V17", kind: followUp, warn: true,
			en: "The follow-up was made before the episode was opened. Check the times.",
			es: "El seguimiento se hizo antes de abrir el episodio. Revise las horas.",
		},
		reads: []string{episode},
		broken: func(v *view, o *others) []string {
			at, ok := v.instant("occurred_at")
			if !ok {
				return nil
			}
			if e := o.named(v, "episode_id", episode); e != nil {
				if opened, ok := e.instant("opened_at"); ok && at < opened {
					return []string{"occurred_at"}
				}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V19", kind: referral,
			en: "The consent does not cover what is shared: it must be the person's, given, in force, and name who receives it. Name another consent or basis, or leave the referral offered.",
			es: "El consentimiento no cubre lo que se da a conocer: debe ser de la persona, otorgado, vigente, y nombrar a quien lo recibe. Indique otro consentimiento o base, o deje la referencia como ofrecida.",
		},
		broken: func(v *view, o *others) []string {
			if !v.shares() || v.has("share_basis") {
				return nil
			}
			c := o.named(v, "consent_id", consent)
			if c == nil || c.covers(v) {
				return nil
			}
			return []string{"consent_id"}
		},
	},
	{
		rule: rule{
			name: "V20", kind: referral,
			en: "These are records of a substance use program. Name a consent for such records (42 CFR Part 2), or another basis.",
			es: "Son expedientes de un programa de consumo de sustancias. Indique un consentimiento para esos expedientes (42 CFR Parte 2), u otra base.",
		},
		broken: func(v *view, o *others) []string {
			if !v.shares() || v.has("share_basis") {
				return nil
			}
			return o.part2(v)
		},
	},
	{
		rule: rule{
			name: "V20", kind: disclosure,
			en: "These are records of a substance use program. Name a consent for such records (42 CFR Part 2), or another basis.",
			es: "Son expedientes de un programa de consumo de sustancias. Indique un consentimiento para esos expedientes (42 CFR Parte 2), u otra base.",
		},
		broken: func(v *view, o *others) []string {
			if v.code("basis") != consent {
				return nil
			}
			return o.part2(v)
		},
	},
	{
		rule: rule{
			name: "V21", kind: referral,
			en: "The consent was declined, revoked or has expired. Name another consent or basis.",
			es: "El consentimiento fue rechazado, revocado o ha vencido. Indique otro consentimiento u otra base.",
		},
		broken: func(v *view, o *others) []string {
			if v.code("state") != "sent" || !v.shares() || v.has("share_basis") {
				return nil
			}
			if c := o.named(v, "consent_id", consent); c != nil && c.ended("") {
				return []string{"consent_id"}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V21", kind: disclosure,
			en: "The consent was declined, or revoked before this was passed on. Name another consent or basis.",
			es: "El consentimiento fue rechazado, o revocado antes de esta divulgación. Indique otro consentimiento u otra base.",
		},
		broken: func(v *view, o *others) []string {
			at, ok := v.instant("at")
			c := o.named(v, "consent_id", consent)
			if c == nil || v.code("basis") != consent {
				return nil
			}
			on := ""
			if ok {
				on = earliestDay(at)
			}
			if c.ended(on) {
				return []string{"consent_id"}
			}
			return nil
		},
	},
	{
		rule: rule{
			name: "V23", kind: followUp,
			en: "The person is not to be contacted. Cancel the follow-up.",
			es: "No se debe contactar a la persona. Cancele el seguimiento.",
		},
		reads: []string{person},
		broken: func(v *view, o *others) []string {
			if v.code("lifecycle") != Planned {
				return nil
			}
			if of := o.named(v, "person_id", person); of != nil && of.yes("do_not_contact") {
				return []string{"person_id"}
			}
			return nil
		},
	},
}

// part2 returns the consent field where a record of a substance use program rests on a
// consent that is not for such records.
func (o *others) part2(v *view) []string {
	if o.rec.Compartment(&v.kind.Kind) != sud {
		return nil
	}
	c := o.named(v, "consent_id", consent)
	if c != nil && !strings.HasPrefix(c.code("type"), "part2_") {
		return []string{"consent_id"}
	}
	return nil
}

// yes reports whether a bool field is true.
func (v *view) yes(name string) bool {
	raw := v.raw(name)
	if len(raw) != 1 {
		return false
	}
	n, _ := syncengine.RawVarint(raw[0].Raw)
	return n != 0
}

// earliestDay returns the earliest day that a moment may have been anywhere: what is
// compared with it is a day in the zone of whoever entered it.
func earliestDay(ms int64) string {
	return time.UnixMilli(ms - 12*hourMS).UTC().Format(time.DateOnly)
}

// minorAt reports whether a person is under 18 on a day, as far as it is known.
func (v *view) minorAt(on time.Time) bool {
	if born, ok := v.birth(); ok {
		return ageAt(born, on.UnixMilli()) < 18
	}
	raw := v.raw("approx_age")
	if len(raw) != 1 {
		return false
	}
	age, _ := syncengine.RawVarint(raw[0].Raw)
	return age < 18
}

// shares reports whether a referral that has left passes on who the person is.
func (v *view) shares() bool {
	switch v.code("state") {
	case "", Draft, "offered", Closed:
		return false
	}
	switch v.code("info_shared") {
	case "name_phone", "summary", "full":
		return true
	}
	return false
}

// covers reports whether a consent lets a referral be shared with whom it goes to. A
// consent that has ended is another rule's.
func (v *view) covers(referral *view) bool {
	switch v.code("type") {
	case "release", "network_sharing", "part2_tpo":
	default:
		return false
	}
	if v.code("person_id") != referral.code("person_id") || v.code("decision") != "given" {
		return false
	}
	to := referral.code("resource_id")
	recipients := v.raw("recipients")
	if to == "" || len(recipients) == 0 {
		return len(recipients) > 0
	}
	number := v.kind.table.byName["recipients"].message.byName["resource_id"].number
	return slices.ContainsFunc(recipients, func(f syncengine.Field) bool {
		id := textIn(f.Raw, number)
		// One in words may be the same: who shares has read it.
		return id == to || id == ""
	})
}

// ended reports whether a consent no longer held on a day, YYYY-MM-DD; empty is now.
func (v *view) ended(on string) bool {
	switch v.code("lifecycle") {
	case Declined:
		return true
	case Revoked:
		revoked := v.code("revoked_on")
		return on == "" || revoked == "" || on > revoked
	case Expired:
		return on == "" || v.code("expires_on") == "" || on > v.code("expires_on")
	}
	return v.code("decision") == "declined" || on != "" && v.code("expires_on") != "" && on > v.code("expires_on")
}

// eventDay returns the first day on which the events of a referral reach one of the
// states, empty where none does.
func (v *view) eventDay(states ...string) string {
	events := v.kind.table.byName["events"].message
	first := ""
	for _, f := range v.raw("events") {
		if !slices.Contains(states, textIn(f.Raw, events.byName["state"].number)) {
			continue
		}
		at, ok := instantOf(messageIn(f.Raw, events.byName["at"].number))
		if !ok {
			continue
		}
		if day := earliestDay(at); first == "" || day < first {
			first = day
		}
	}
	return first
}

// messageIn returns the encoded message of a field inside a raw message field.
func messageIn(raw []byte, number uint32) []byte {
	msg, _ := syncengine.RawString(raw)
	for b := []byte(msg); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return nil
		}
		if uint32(num) == number && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[n:])
			return v
		}
		b = b[n+m:]
	}
	return nil
}

// fillAmong puts the rules on their kinds.
func (d *Domain) fillAmong() error {
	for i := range amongRules {
		r := &amongRules[i]
		k := d.byName[r.kind]
		if k == nil {
			return fmt.Errorf("rule %s names the kind %s, which the contract does not know", r.name, r.kind)
		}
		k.among = append(k.among, r)
		for _, name := range r.reads {
			of := d.byName[name]
			if of == nil {
				return fmt.Errorf("rule %s reads the kind %s, which the contract does not know", r.name, name)
			}
			if !slices.Contains(of.readBy, r.kind) {
				of.readBy = append(of.readBy, r.kind)
			}
		}
	}
	return nil
}

// found is a rule that a record breaks among others.
type found struct {
	rec    *syncengine.Record
	rule   *amongRule
	fields []string
}

// among judges a record with those that it names.
func (d *Domain) among(rec *syncengine.Record, nowMS int64, look syncengine.Lookup, about syncengine.LookAbout) ([]found, error) {
	k := d.kinds[rec.Kind]
	if k == nil || len(k.among) == 0 || imported(rec) {
		return nil, nil
	}
	v := d.viewOf(rec, k.Name)
	if v == nil {
		return nil, nil
	}
	v.nowMS = nowMS
	o := &others{domain: d, rec: rec, look: look, about: about}
	var out []found
	for _, r := range k.among {
		if fields := r.broken(v, o); len(fields) > 0 {
			out = append(out, found{rec, r, fields})
		}
	}
	return out, o.err
}

// ReviewAmong implements syncengine.Rules: the rules that a changed record, and those
// about it that read it, break together with what they name.
func (d *Domain) ReviewAmong(rec *syncengine.Record, look syncengine.Lookup, about syncengine.LookAbout) ([]syncengine.Finding, error) {
	k := d.kinds[rec.Kind]
	if k == nil {
		return nil, nil
	}
	all, err := d.among(rec, 0, look, about)
	if err != nil {
		return nil, err
	}
	if len(k.readBy) > 0 {
		recs, err := about(rec.ID)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			if by := d.kinds[r.Kind]; by == nil || !slices.Contains(k.readBy, by.Name) {
				continue
			}
			more, err := d.among(r, 0, look, about)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	var out []syncengine.Finding
	for _, f := range all {
		one := syncengine.Finding{Record: f.rec.ID, Rule: "rule_" + f.rule.name}
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	at, err := d.misplaced(rec, look)
	if err != nil || at.IsZero() {
		return out, err
	}
	return append(out, syncengine.Finding{Record: at, Rule: "rule_" + misplaced}), nil
}

// misplaced is the name of the rule that a record stands in no weaker compartment than
// what it hangs on.
const misplaced = "compartment"

// misplaced returns where to ask about a record that stands in a weaker compartment than
// it is to: at what it hangs on, which is behind that wall, or at the record itself where
// its program or form says so. Zero where nothing is wrong.
func (d *Domain) misplaced(rec *syncengine.Record, look syncengine.Lookup) (at syncengine.ID, err error) {
	k := d.kinds[rec.Kind]
	if k.Compartment != clinical || rec.Compartment(&k.Kind) != clinical || rec.Lifecycle() == Void {
		return at, nil
	}
	in, from, err := d.inherited(rec.Kind, rec.Body, look, nil)
	if err != nil || in != sud {
		return at, err
	}
	if from.IsZero() {
		return rec.ID, nil
	}
	return from, nil
}

// ValidateAmong judges a record at entry together with those that it names, as far as
// they are to be had: what Validate cannot see.
func (d *Domain) ValidateAmong(rec *syncengine.Record, nowMS int64, look syncengine.Lookup, about syncengine.LookAbout) ([]Problem, error) {
	all, err := d.among(rec, nowMS, look, about)
	var out []Problem
	for _, f := range all {
		out = append(out, Problem{Rule: f.rule.name, Fields: f.fields, Warn: f.rule.warn, EN: f.rule.en, ES: f.rule.es})
	}
	return out, err
}
