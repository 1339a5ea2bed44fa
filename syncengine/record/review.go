package record

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tandem-response/tandem/syncengine"
)

// Milliseconds.
const (
	minuteMS = int64(time.Minute / time.Millisecond)
	hourMS   = int64(time.Hour / time.Millisecond)
)

// rule is a rule over several fields of one record.
type rule struct {
	// name, as work items show it after rule_.
	name string
	// kind it is about.
	kind string
	// warn: a form shows it and saves. Comparisons of times never stop a save.
	warn bool
	// entry: forms alone judge it, for it reads the clock or is a hint.
	entry bool
	// en and es say what is wrong and what to do.
	en, es string
	// broken returns the fields at fault, none where the record keeps the rule.
	broken func(v *view) []string
}

// rules is the table. Rules that read other records are not here: they belong to
// whoever may read those.
var rules = []rule{
	{
		name: "V1", kind: incident, warn: true,
		en:     "The times are not in order. Check them.",
		es:     "Las horas no están en orden. Revíselas.",
		broken: outOfOrder,
	},
	{
		name: "V3", kind: incident, warn: true, entry: true,
		en:     "More than 12 hours lie between two times. Check the dates.",
		es:     "Hay más de 12 horas entre dos horas. Revise las fechas.",
		broken: func(v *view) []string { return v.gap(12*hourMS, 48*hourMS) },
	},
	{
		name: "V3", kind: incident, warn: true,
		en:     "More than 48 hours lie between two times. Check the dates.",
		es:     "Hay más de 48 horas entre dos horas. Revise las fechas.",
		broken: func(v *view) []string { return v.gap(48*hourMS, 1<<62) },
	},
	{
		name: "V4", kind: incident, warn: true, entry: true,
		en:     "A time lies in the future. Check it and the clock of the device.",
		es:     "Una hora está en el futuro. Revísela y revise el reloj del dispositivo.",
		broken: func(v *view) []string { return v.future(append(slices.Clone(callTimes), "le_cleared_at")...) },
	},
	{
		name: "V4", kind: encounter, warn: true, entry: true,
		en:     "A time lies in the future. Check it and the clock of the device.",
		es:     "Una hora está en el futuro. Revísela y revise el reloj del dispositivo.",
		broken: func(v *view) []string { return v.future("started_at", "ended_at") },
	},
	{
		name: "V6", kind: incident,
		en:     "Force used and types of force do not fit together. Name the types, or say that no force was used.",
		es:     "El uso de la fuerza y sus tipos no concuerdan. Indique los tipos, o que no se usó la fuerza.",
		broken: when(func(v *view) bool { return (v.code("force_used") == "yes") != v.has("force_types") }, "force_used", "force_types"),
	},
	{
		name: "V6", kind: incident,
		en:     "A firearm was discharged. Say who was hurt.",
		es:     "Se disparó un arma de fuego. Indique quién resultó herido.",
		broken: when(func(v *view) bool { return v.holds("force_types", "firearm_discharged") && !v.has("injuries") }, "injuries"),
	},
	{
		name: "V7", kind: incident,
		en: "No police were involved, yet police actions or force are recorded. Correct one of them.",
		es: "No participó la policía, pero constan acciones policiales o uso de la fuerza. Corrija uno de los dos.",
		broken: when(func(v *view) bool {
			if v.code("le_involvement") != "none" {
				return false
			}
			acted := slices.ContainsFunc(v.raw("le_actions"), func(f syncengine.Field) bool { return f.Path.Key != "none" })
			return acted || v.code("force_used") == "yes"
		}, "le_involvement", "le_actions", "force_used"),
	},
	{
		name: "V9", kind: encounter, warn: true,
		en: "The contact ends before it starts. Check the times.",
		es: "El contacto termina antes de empezar. Revise las horas.",
		broken: when(func(v *view) bool {
			from, known := v.instant("started_at")
			to, ended := v.instant("ended_at")
			return known && ended && to < from
		}, "started_at", "ended_at"),
	},
	{
		name: "V10", kind: encounter,
		en: "The person was taken somewhere. Say who took them.",
		es: "La persona fue trasladada. Indique quién la trasladó.",
		broken: when(func(v *view) bool {
			by := v.code("transport_by")
			return transported(v) && (by == "none" || by == "" && v.sealed())
		}, "transport_by"),
	},
	{
		name: "V11", kind: encounter,
		en: "The transport was involuntary, the legal status is voluntary. Correct one of them.",
		es: "El traslado fue involuntario y la situación legal es voluntaria. Corrija uno de los dos.",
		broken: when(func(v *view) bool {
			return v.code("disposition") == "transport_ed_involuntary" && v.code("legal_status") == "voluntary"
		}, "disposition", "legal_status"),
	},
	{
		name: "V11", kind: encounter, warn: true, entry: true,
		en: "The transport was voluntary, the legal status is involuntary. Check both.",
		es: "El traslado fue voluntario y la situación legal es involuntaria. Revise ambos.",
		broken: when(func(v *view) bool {
			return v.code("disposition") == "transport_ed_voluntary" && strings.HasPrefix(v.code("legal_status"), "involuntary_")
		}, "disposition", "legal_status"),
	},
	{
		name: "V12", kind: encounter,
		en: "The danger to self is high. Record a safety plan, a hospital prescreen, a transport, or a refusal with its narrative.",
		es: "El peligro para sí es alto. Registre un plan de seguridad, una evaluación previa al hospital, un traslado, o un rechazo con su narración.",
		broken: when(func(v *view) bool {
			if v.code("danger_self") != "high" || !v.has("disposition") && !v.sealed() {
				return false
			}
			refused := v.code("disposition") == "refused_services" && v.has("narrative")
			return !transported(v) && !refused &&
				!v.holds("interventions", "safety_plan") && !v.holds("interventions", "hospital_prescreen")
		}, "danger_self", "interventions", "disposition"),
	},
	{
		name: "V13", kind: person, warn: true, entry: true,
		en:     "The date of birth is not possible. Check it.",
		es:     "La fecha de nacimiento no es posible. Revísela.",
		broken: impossibleBirth,
	},
	{
		name: "V13", kind: person, warn: true, entry: true,
		en:     "The date of birth and the approximate age differ by more than 5 years. Check both.",
		es:     "La fecha de nacimiento y la edad aproximada difieren en más de 5 años. Revise ambas.",
		broken: ageDiffers,
	},
	{
		name: "V18", kind: referral,
		en: "A closed referral has an outcome, and only a closed one. Set both, or neither.",
		es: "Una referencia cerrada tiene un resultado, y solo una cerrada. Indique ambos, o ninguno.",
		broken: when(func(v *view) bool {
			return (v.code("state") == Closed) != v.has("outcome")
		}, "state", "outcome"),
	},
	{
		name: "V18", kind: referral,
		en: "The person was connected. Say who verified it and on what day.",
		es: "La persona fue conectada con el servicio. Indique quién lo verificó y qué día.",
		broken: when(func(v *view) bool {
			return v.code("outcome") == "connected" && (!v.has("verified_by") || !v.has("connected_on"))
		}, "verified_by", "connected_on"),
	},
	{
		name: "V19", kind: referral,
		en: "Information about the person is shared. Name the consent or another basis before it is sent.",
		es: "Se da información de la persona a otros. Indique el consentimiento u otra base antes de enviarla.",
		broken: when(func(v *view) bool {
			switch v.code("state") {
			case "", Draft, "offered":
				return false
			}
			switch v.code("info_shared") {
			case "name_phone", "summary", "full":
				return !v.has("consent_id") && !v.has("share_basis")
			}
			return false
		}, "info_shared", "consent_id", "share_basis"),
	},
	{
		name: "V18", kind: referral, warn: true,
		en: "The person was connected before the referral was offered or sent. Check the day.",
		es: "La persona recibió el servicio antes de que se ofreciera o enviara la referencia. Revise la fecha.",
		broken: when(func(v *view) bool {
			first, on := v.eventDay("offered", "sent"), v.code("connected_on")
			return first != "" && on != "" && on < first
		}, "connected_on"),
	},
	{
		name: "V4", kind: followUp, warn: true, entry: true,
		en:     "A time lies in the future. Check it and the clock of the device.",
		es:     "Una hora está en el futuro. Revísela y revise el reloj del dispositivo.",
		broken: func(v *view) []string { return v.future("occurred_at") },
	},
	{
		name: "V4", kind: episode, warn: true, entry: true,
		en:     "A time lies in the future. Check it and the clock of the device.",
		es:     "Una hora está en el futuro. Revísela y revise el reloj del dispositivo.",
		broken: func(v *view) []string { return v.future("opened_at", "closed_at") },
	},
	{
		name: "V16", kind: episode,
		en:     "An episode ends within a year of its opening. Choose an earlier day.",
		es:     "Un episodio termina dentro del año de su apertura. Elija una fecha anterior.",
		broken: beyondYear,
	},
	{
		name: "V16", kind: episode,
		en: "The episode was extended. Say why, and which lead approved it.",
		es: "El episodio se extendió. Indique por qué, y qué supervisor lo aprobó.",
		broken: when(func(v *view) bool {
			return v.has("extended_to") && (!v.has("extension_reason") || !v.has("extended_by"))
		}, "extended_to", "extension_reason", "extended_by"),
	},
	{
		name: "V20", kind: consent,
		en: "A consent for substance use records is signed, never spoken. Choose another method.",
		es: "El consentimiento para expedientes de consumo de sustancias se firma; no puede ser verbal. Elija otro método.",
		broken: when(func(v *view) bool {
			return strings.HasPrefix(v.code("type"), "part2_") && v.code("method") == "verbal_witnessed"
		}, "type", "method"),
	},
	{
		name: "V21", kind: consent, warn: true,
		en: "The consent expires before it was given. Check the days.",
		es: "El consentimiento vence antes de haberse otorgado. Revise las fechas.",
		broken: when(func(v *view) bool {
			given, until := v.code("given_on"), v.code("expires_on")
			return given != "" && until != "" && until < given
		}, "given_on", "expires_on"),
	},
	{
		name: "decision", kind: consent,
		en: "What was declined has the status declined, and nothing else has. Correct one of them.",
		es: "Lo rechazado tiene el estado rechazado, y nada más lo tiene. Corrija uno de los dos.",
		broken: when(func(v *view) bool {
			return (v.code("decision") == Declined) != (v.code("lifecycle") == Declined)
		}, "decision", "lifecycle"),
	},
	{
		name: "V22", kind: safetyAlert,
		en: "Police partners see an alert in force on a basis, until a day, and after a lead has approved it. Fill in what is missing.",
		es: "Los colaboradores policiales ven una alerta vigente con una base legal, hasta una fecha, y tras la aprobación de un supervisor. Complete lo que falta.",
		broken: when(func(v *view) bool {
			return v.code("audience") == "team_with_le" && v.code("lifecycle") == Active &&
				(!v.has("basis") || !v.has("expires_on") || !v.has("approved_by"))
		}, "basis", "expires_on", "approved_by"),
	},
	{
		name: "V22", kind: safetyAlert, entry: true,
		en: "An alert is shown for at most 180 days. Choose an earlier day.",
		es: "Una alerta se muestra como máximo 180 días. Elija una fecha anterior.",
		broken: when(func(v *view) bool {
			last := time.UnixMilli(v.nowMS).UTC().AddDate(0, 0, maxAlertDays+1)
			until := v.code("expires_on")
			return until != "" && until > last.Format(time.DateOnly)
		}, "expires_on"),
	},
	{
		name: "V22", kind: safetyAlert, warn: true, entry: true,
		en:     "The alert may name a diagnosis or a medication. Police partners must not read it: say what to do instead.",
		es:     "La alerta puede nombrar un diagnóstico o un medicamento. Los colaboradores policiales no deben leerlo: indique qué hacer en su lugar.",
		broken: when(func(v *view) bool { return v.code("audience") == "team_with_le" && medical(v.code("text")) }, "text"),
	},
	{
		name: "V24", kind: encounter, entry: true,
		en:     "At most four other reasons. Take some away.",
		es:     "Como máximo cuatro motivos más. Quite algunos.",
		broken: when(func(v *view) bool { return len(v.raw("presenting_other")) > 4 }, "presenting_other"),
	},
	{
		name: "maps_to", kind: codeSet,
		en:     "A code of the program's own counts as one of the core. Name one that the list has.",
		es:     "Un código propio del programa cuenta como uno de los básicos. Indique uno que la lista tenga.",
		broken: unmapped,
	},
	{
		name: "V29", kind: person, warn: true, entry: true,
		en:     "A phone number has too few or too many digits. Check it.",
		es:     "Un número de teléfono tiene muy pocos o demasiados dígitos. Revíselo.",
		broken: oddPhones,
	},
	{
		name: "roles", kind: staff,
		en: "A police partner holds no other role. Take one of the roles away.",
		es: "Un colaborador policial no tiene otro rol. Quite uno de los roles.",
		broken: when(func(v *view) bool {
			roles := v.raw("roles")
			return v.holds("roles", lePartner) && len(roles) > 1
		}, "roles"),
	},
}

// when makes a rule that is at fault as a whole.
func when(broken func(v *view) bool, fields ...string) func(*view) []string {
	return func(v *view) []string {
		if broken(v) {
			return fields
		}
		return nil
	}
}

// callTimes are the times of a call in their order.
var callTimes = []string{"received_at", "dispatched_at", "enroute_at", "arrived_at", "cleared_at"}

// pairs calls f with the known times of a call, each with the one before it.
func (v *view) pairs(f func(name string, ms int64, before string, beforeMS int64)) {
	var last string
	var lastMS int64
	for _, name := range callTimes {
		ms, known := v.instant(name)
		if !known {
			continue
		}
		if last != "" {
			f(name, ms, last, lastMS)
		}
		last, lastMS = name, ms
	}
}

func outOfOrder(v *view) (fields []string) {
	v.pairs(func(name string, ms int64, before string, beforeMS int64) {
		if ms < beforeMS {
			fields = addNames(fields, before, name)
		}
	})
	return fields
}

// gap returns the times that follow the one before them by more than over and at
// most upTo.
func (v *view) gap(over, upTo int64) (fields []string) {
	v.pairs(func(name string, ms int64, before string, beforeMS int64) {
		if d := ms - beforeMS; d > over && d <= upTo {
			fields = addNames(fields, before, name)
		}
	})
	return fields
}

// future returns the times that lie more than five minutes ahead of the clock.
func (v *view) future(names ...string) (fields []string) {
	for _, name := range names {
		if ms, known := v.instant(name); known && ms > v.nowMS+5*minuteMS {
			fields = append(fields, name)
		}
	}
	return fields
}

func addNames(fields []string, names ...string) []string {
	for _, n := range names {
		if !slices.Contains(fields, n) {
			fields = append(fields, n)
		}
	}
	return fields
}

// birth returns the date of birth, taken at the start of what is known of it.
func (v *view) birth() (time.Time, bool) {
	dob := v.code("dob")
	if len(dob) < 4 || len(dob) > len(time.DateOnly) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.DateOnly[:len(dob)], dob)
	return t, err == nil
}

// ageAt returns the age in whole years.
func ageAt(born time.Time, ms int64) int {
	now := time.UnixMilli(ms).UTC()
	age := now.Year() - born.Year()
	if now.Month() < born.Month() || now.Month() == born.Month() && now.Day() < born.Day() {
		age--
	}
	return age
}

func impossibleBirth(v *view) []string {
	if v.code("dob") == "" {
		return nil
	}
	born, ok := v.birth()
	// A day of grace: the day of birth is local, the clock is not.
	if !ok || born.UnixMilli() > v.nowMS+24*hourMS || ageAt(born, v.nowMS) > 120 {
		return []string{"dob"}
	}
	return nil
}

func ageDiffers(v *view) []string {
	born, ok := v.birth()
	raw := v.raw("approx_age")
	if !ok || len(raw) != 1 {
		return nil
	}
	said, _ := syncengine.RawVarint(raw[0].Raw)
	if d := ageAt(born, v.nowMS) - int(min(said, 200)); d > 5 || d < -5 {
		return []string{"dob", "approx_age"}
	}
	return nil
}

// oddPhones finds numbers that no E.164 number can be made of.
func oddPhones(v *view) []string {
	number := v.kind.table.byName["phones"].message.byName["number"].number
	for _, f := range v.raw("phones") {
		text := textIn(f.Raw, number)
		digits := 0
		for _, r := range text {
			if r >= '0' && r <= '9' {
				digits++
			}
		}
		if text != "" && (digits < 10 || digits > 15) {
			return []string{"phones"}
		}
	}
	return nil
}

// sealed reports whether the record is signed, or about to be.
func (v *view) sealed() bool { return v.kind.Sealed[v.code("lifecycle")] }

// exclusive returns the sets that hold a code which excludes every other beside
// another.
func (v *view) exclusive() (fields []string) {
	for i := 0; i < len(v.fields); {
		number := v.fields[i].Path.Field
		from := i
		for i < len(v.fields) && v.fields[i].Path.Field == number {
			i++
		}
		f := v.kind.table.at(number)
		if f == nil || f.list == nil || i-from < 2 {
			continue
		}
		for _, e := range v.fields[from:i] {
			if at, known := f.list.place[e.Path.Key]; known && f.list.public[at].Exclusive {
				fields = addNames(fields, f.name)
			}
		}
	}
	return fields
}

// fillReview puts the rules on their kinds.
func (d *Domain) fillReview() error {
	for i := range rules {
		k := d.byName[rules[i].kind]
		if k == nil {
			return fmt.Errorf("rule %s names the kind %s, which the contract does not know", rules[i].name, rules[i].kind)
		}
		k.review = append(k.review, &rules[i])
	}
	return nil
}

// Review returns the names of the rules over several fields that a record breaks,
// each once, for a human to look at. It reads the record alone. Void records and
// imports are not reviewed: the one is not counted, the other claims nothing.
func (d *Domain) Review(rec *syncengine.Record) []string {
	k := d.kinds[rec.Kind]
	if k == nil {
		return nil
	}
	fields, err := rec.Fields()
	if err != nil {
		return nil
	}
	v := &view{kind: k, fields: fields}
	life := v.code("lifecycle")
	if life == Void || imported(rec) {
		return nil
	}
	var names []string
	for _, r := range k.review {
		if !r.entry && len(r.broken(v)) > 0 {
			names = addNames(names, "rule_"+r.name)
		}
	}
	if len(v.exclusive()) > 0 {
		names = addNames(names, "rule_exclusive")
	}
	if state := entered[life]; state != "" {
		for _, n := range v.missing(state) {
			names = addNames(names, "rule_"+ruleOf(n))
		}
	}
	return names
}

// ruleOf returns the name of the rule that asks for a need.
func ruleOf(n need) string {
	if n.field[0] == "contact" {
		return "V2"
	}
	return "V26"
}

// maxAlertDays is how long a safety alert may be shown.
const maxAlertDays = 180

// beyondYear finds an episode that runs for more than a year.
func beyondYear(v *view) []string {
	opened, ok := v.instant("opened_at")
	if !ok {
		return nil
	}
	// A day of grace: the day of opening is local.
	last := time.UnixMilli(opened).UTC().AddDate(0, 0, 366).Format(time.DateOnly)
	if to := v.code("extended_to"); to != "" && to > last {
		return []string{"extended_to"}
	}
	if raw := v.raw("window_days"); len(raw) == 1 {
		if days, _ := syncengine.RawVarint(raw[0].Raw); days > 365 {
			return []string{"window_days"}
		}
	}
	return nil
}

// unmapped finds codes of a program's own that count as none of the core.
func unmapped(v *view) []string {
	list := v.kind.lists[v.code("list")]
	if list == nil {
		return []string{"list"}
	}
	number := v.kind.table.byName["entries"].message.byName["maps_to"].number
	for _, f := range v.raw("entries") {
		if _, known := list.place[textIn(f.Raw, number)]; !known {
			return []string{"entries"}
		}
	}
	return nil
}

// medicalWords begin the words of diagnoses and medications, in English and Spanish,
// without accents. A hint, not a filter.
var medicalWords = []string{
	"schizo", "esquizo", "bipolar", "psychosis", "psychotic", "psicosis", "psicotic", "borderline", "ptsd", "tept",
	"depressi", "depresi", "autis", "adhd", "tdah", "dementia", "demencia", "alzheimer", "hiv", "vih", "hepatitis", "epilep",
	"diabet", "diagnos", "medicat", "medicac", "medicament", "antipsychotic", "antipsicotic", "methadone", "metadona",
	"suboxone", "buprenorphin", "buprenorfina", "lithium", "litio", "haldol", "haloperidol", "risperd", "risperid", "zyprexa",
	"olanzapin", "seroquel", "quetiapin", "abilify", "aripiprazol", "clozapin", "invega", "paliperid", "depakote", "lamictal",
	"xanax", "alprazolam", "klonopin", "clonazepam", "ativan", "lorazepam", "prozac", "fluoxetin", "zoloft", "sertralin",
	"naltrexon", "vivitrol",
}

// medical reports whether a text may name a diagnosis or a medication.
func medical(text string) bool {
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		word = unaccented.Replace(word)
		if slices.ContainsFunc(medicalWords, func(w string) bool { return strings.HasPrefix(word, w) }) {
			return true
		}
	}
	return false
}

var unaccented = strings.NewReplacer("á", "a", "é", "e", "í", "i", "ó", "o", "ú", "u", "ü", "u", "ñ", "n")
