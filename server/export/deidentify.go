package export

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Sets of fields.
const (
	// Full is every field.
	Full = "full"
	// Limited is a limited data set (45 CFR 164.514(e)): dates, towns and ZIP codes stay,
	// direct identifiers and free text go. It needs a data use agreement.
	Limited = "limited"
	// SafeHarbor is a de-identified set (45 CFR 164.514(b)(2)).
	SafeHarbor = "safe_harbor"
)

// Errors of sets of fields.
var (
	// ErrSet says that there is no such set.
	ErrSet = errors.New("there is no such set of fields: take full, limited or safe_harbor")
	// ErrAgreement says that a limited set needs an agreement.
	ErrAgreement = errors.New("a limited data set goes to nobody without a data use agreement: name it")
	// ErrResearch says that Part 2 records leave de-identified for research alone.
	ErrResearch = errors.New("records of a substance use program leave in such a set for research alone: give research as the basis")
	// ErrIdentified says that a form has no de-identified kind.
	ErrIdentified = errors.New("FHIR resources are exported with every field alone: take csv, xlsx or parquet for a limited or de-identified set")
	// ErrDrafts says that drafts are never in such a set.
	ErrDrafts = errors.New("drafts are in no limited or de-identified set")
)

// withheld are kinds of which nothing is in a limited or de-identified set: they are free
// text, pictures, keys of machines, or copies of what is there already.
var withheld = []string{"note", "attachment", "device", "alert_card", "form", "code_set"}

// veil takes from the tables what identifies people.
type veil struct {
	set string
	// key of the export, from which its ids come. It is kept nowhere.
	key []byte
	// on is the day on which ages are reckoned.
	on  time.Time
	k   int
	job *job
	// classes say who is alike; rare is which codes few people have; top is what
	// durations are cut to.
	classes *classes
	rare    map[*table][]*tally
	top     map[string]*histogram
	// others counts values that became other because few people have them.
	others int64
}

func newVeil(j *job) (*veil, error) {
	v := &veil{set: j.o.Set, key: j.o.Key, on: j.o.At, k: Alike, job: j, rare: map[*table][]*tally{}, top: map[string]*histogram{}}
	if v.on.IsZero() {
		v.on = time.Now()
	}
	if len(v.key) == 0 {
		v.key = make([]byte, sha256.Size)
		if _, err := rand.Read(v.key); err != nil {
			return nil, err
		}
	}
	if v.set == SafeHarbor {
		v.classes = newClasses(v.k)
	}
	return v, nil
}

// checkSet refuses what a set may not be asked for.
func (o *Options) checkSet() error {
	if o.Set == "" {
		o.Set = Full
	}
	switch {
	case !slices.Contains([]string{Full, Limited, SafeHarbor}, o.Set):
		return ErrSet
	case o.Set == Full:
		return nil
	case o.Set == Limited && strings.TrimSpace(o.Agreement) == "":
		return ErrAgreement
	case o.SUD && o.Basis != "research":
		return ErrResearch
	case o.Drafts || o.Void:
		return ErrDrafts
	}
	return nil
}

// tables are the tables of the set: fewer, with other columns.
func (v *veil) tables(all []*table) (out []*table) {
	for _, t := range all {
		if slices.Contains(withheld, t.kind.Name) {
			continue
		}
		veiled := *t
		veiled.columns, veiled.children = nil, nil
		for i := range t.columns {
			c := t.columns[i]
			if c.label != nil {
				v.label(&veiled, c)
				continue
			}
			v.column(&veiled, c)
		}
		if t.field == nil && v.set == SafeHarbor {
			veiled.columns = append(veiled.columns, v.durations(t.kind.Name)...)
		}
		// A table of places alone says no more than how many there were.
		if t.field == nil || slices.ContainsFunc(veiled.columns, func(c column) bool { return c.field != nil }) {
			out = append(out, &veiled)
		}
	}
	return out
}

// label adds the labels of the codes that are in the set, where the codes are.
func (v *veil) label(t *table, c column) {
	if n := len(t.columns); n > 0 && t.columns[n-1].name+"_label" == c.name {
		of := t.columns[n-1].value
		c.value = func(r *row) any {
			code, ok := of(r).(string)
			if !ok {
				return nil
			}
			return c.label(code)
		}
		t.columns = append(t.columns, c)
	}
}

// column adds what is left of a column.
func (v *veil) column(t *table, c column) {
	value := c.value
	if c.field == nil {
		switch {
		case c.name == "ordinal" || c.name == "record_rev" || c.name == "compartment" || strings.HasSuffix(c.name, "_ordinal"):
		case c.name == "id" || c.typ == typeID && c.name == t.kind.Name+"_id" && t.field != nil:
			c.value = func(r *row) any { return v.id(value(r)) }
		case c.name == "created_at" && v.set == SafeHarbor:
			c = v.year(c)
		case strings.HasPrefix(c.name, "created_at") && v.set == Limited:
		default:
			return
		}
		t.columns = append(t.columns, c)
		return
	}
	switch c.harbor {
	case tandemv1.SafeHarbor_SAFE_HARBOR_KEEP:
		v.keep(t, c)
	case tandemv1.SafeHarbor_SAFE_HARBOR_RELABEL:
		switch c.typ {
		case typeID:
			c.value = func(r *row) any { return v.id(value(r)) }
		case typeText:
			if c.field.FullName() == refID {
				c.value = func(r *row) any { return v.id(value(r)) }
				break
			}
			c.value = func(r *row) any { return v.word(value(r)) }
		default:
			return
		}
		t.columns = append(t.columns, c)
	case tandemv1.SafeHarbor_SAFE_HARBOR_YEAR, tandemv1.SafeHarbor_SAFE_HARBOR_ZIP3, tandemv1.SafeHarbor_SAFE_HARBOR_BAND:
		if v.set == Limited {
			v.limited(t, c)
			return
		}
		v.reduce(t, c)
	default:
		// Towns stand in a limited set, and nothing else that is dropped.
		if v.set == Limited && c.typ == typeText && c.field.Name() == "city" {
			t.columns = append(t.columns, c)
		}
	}
}

// limited adds a date, an age or a ZIP code as it is, where it is one.
func (v *veil) limited(t *table, c column) {
	value := c.value
	switch {
	case c.typ == typeText && c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_ZIP3:
		c.value = func(r *row) any {
			if zip, ok := value(r).(string); ok && digits(zip) == 5 {
				return zip
			}
			return nil
		}
	case c.typ == typeDate || c.typ == typeText && c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_BAND:
		c.value = func(r *row) any {
			if day, ok := value(r).(string); ok && !bornOn(day).IsZero() {
				return day
			}
			return nil
		}
	case c.typ == typeInteger && c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_BAND:
		v.number(&c)
	case c.typ != typeInstant && c.typ != typeLocal:
		return
	}
	t.columns = append(t.columns, c)
}

// refID is the id in a reference that says its kind.
var refID = (*tandemv1.RecordRef)(nil).ProtoReflect().Descriptor().FullName() + ".id"

// keep adds a column that stays: its values only where they are what they should be, since
// whatever stands in a field was typed by somebody.
func (v *veil) keep(t *table, c column) {
	value := c.value
	switch c.typ {
	case typeBoolean:
	case typeInteger, typeNumber:
		v.number(&c)
	case typeCode:
		v.code(t, &c)
	case typeText:
		known := vocabularies[c.field.FullName().Parent().Name()+"."+c.field.Name()]
		if known == nil {
			return
		}
		c.value = func(r *row) any {
			if text, ok := value(r).(string); ok && known(text) {
				return text
			}
			return nil
		}
		if c.field.Name() == "lang" || c.field.Name() == "langs" {
			v.code(t, &c)
		}
	default:
		return
	}
	t.columns = append(t.columns, c)
}

// number keeps numbers that the contract allows: a longer one may be anything.
func (v *veil) number(c *column) {
	value, most := c.value, 1000.0
	limits, _ := proto.GetExtension(c.field.Options(), validate.E_Field).(*validate.FieldRules)
	if r := limits.GetUint32(); r != nil && r.HasLte() {
		most = float64(r.GetLte())
	}
	c.value = func(r *row) any {
		switch n := value(r).(type) {
		case int64:
			if n >= 0 && float64(n) <= most {
				return n
			}
		case float64:
			if n >= -most && n <= most {
				return n
			}
		}
		return nil
	}
}

const other = "other"

// code keeps codes of the list, an agency's own as the core code that it is a kind of. In a de-identified set those that few people have become
// other, or nothing where the list knows no other; and what was made coarser is.
func (v *veil) code(t *table, c *column) {
	value, list, domain := c.value, c.rules.GetCodes(), v.job.domain
	instead := any(nil)
	if list != "" && domain.HasCode(list, other) {
		instead = other
	}
	known := func(r *row) any {
		code, ok := value(r).(string)
		code = v.job.kinds.Core(list, code)
		switch {
		case !ok:
			return nil
		case list != "" && !domain.HasCode(list, code):
			return instead
		}
		return code
	}
	c.value = known
	if v.set != SafeHarbor || t.kind.Compartment == tandemv1.Compartment_COMPARTMENT_REF {
		return
	}
	least := coarsens(t, c)
	seen := v.newTally(least)
	seen.value = known
	v.rare[t] = append(v.rare[t], seen)
	c.value = func(r *row) any {
		code, ok := known(r).(string)
		if !ok {
			return nil
		}
		if least > 0 && r.level >= least {
			return instead
		}
		if !seen.often(code) && code != other {
			v.others++
			return instead
		}
		return code
	}
}

// reduce adds a year, the beginning of a ZIP code, or the band of an age.
func (v *veil) reduce(t *table, c column) {
	value := c.value
	switch {
	case c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_YEAR && (c.typ == typeInstant || c.typ == typeDate):
		c = v.year(c)
	case c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_ZIP3 && c.typ == typeText:
		c.name = strings.TrimSuffix(c.name, "5") + "3"
		c.about = "First three digits of the ZIP code; 000 where fewer than 20,000 people live there, or too few in the set are alike."
		c.value = func(r *row) any {
			switch zip := zip3(value(r)); {
			case zip == "":
				return nil
			case r.level >= noPlace:
				return zipSmall
			default:
				return zip
			}
		}
	case c.harbor == tandemv1.SafeHarbor_SAFE_HARBOR_BAND && (c.typ == typeDate || c.typ == typeText || c.typ == typeInteger):
		c.about = "Age in years, in a band; 90 and more are one. Of a day of birth, the age on the day of the export."
		c.name, c.typ = c.name+"_band", typeText
		if c.field.Name() == "dob" {
			c.name = "age_band"
		}
		c.value = func(r *row) any {
			if r.level >= noPerson {
				return nil
			}
			return orNil(v.band(value(r)))
		}
	default:
		return
	}
	t.columns = append(t.columns, c)
}

// year makes a column of years.
func (v *veil) year(c column) column {
	value := c.value
	c.name, c.typ, c.about = c.name+"_year", typeInteger, "Year alone."
	c.value = func(r *row) any { return yearOf(value(r), r.zone) }
	return c
}

// yearOf is the year of a day or an instant, where the record was made.
func yearOf(at any, zone *time.Location) any {
	switch at := at.(type) {
	case time.Time:
		if y := at.In(zone).Year(); y >= 1900 && y < 2200 {
			return int64(y)
		}
	case string:
		if day, err := time.Parse(time.DateOnly, at); err == nil {
			return int64(day.Year())
		}
	}
	return nil
}

// bornOn is a day, or the first of the month or the year where no more is known; the zero
// time where it is none.
func bornOn(s string) time.Time {
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if day, err := time.Parse(layout, s); err == nil {
			return day
		}
	}
	return time.Time{}
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// digits counts them, 0 where there is anything else.
func digits(s string) int {
	if strings.Trim(s, "0123456789") != "" {
		return 0
	}
	return len(s)
}

// zipSmall stands for all areas in which few people live.
const zipSmall = "000"

// small are the first three digits of ZIP codes of areas with 20,000 people or fewer: the 17
// by the census of 2000, which the guidance on de-identification of the US Department of
// Health and Human Services lists, and those that are thought to have come since. One too
// many only makes an address coarser.
var small = strings.Fields("036 059 063 102 202 203 204 205 369 556 692 753 772 790 821 823 830 831 878 879 884 890 893")

func zip3(zip any) string {
	text, ok := zip.(string)
	switch {
	case !ok || digits(text) != 5:
		return ""
	case slices.Contains(small, text[:3]):
		return zipSmall
	default:
		return text[:3]
	}
}

// bands of ages, each with the first age that is beyond it.
var bands = []struct {
	below int
	name  string
}{{13, "0-12"}, {18, "13-17"}, {25, "18-24"}, {45, "25-44"}, {65, "45-64"}, {90, "65-89"}, {131, "90+"}}

// band is that of an age, of a day of birth, or of a year of birth.
func (v *veil) band(value any) string {
	age := -1
	switch value := value.(type) {
	case int64:
		age = int(min(max(value, -1), 100_000))
		if age >= 1850 && age <= v.on.Year() {
			age = v.on.Year() - age
		}
	case string:
		born := bornOn(value)
		if born.IsZero() || born.After(v.on) {
			return ""
		}
		age = v.on.Year() - born.Year()
		if born.AddDate(age, 0, 0).After(v.on) {
			age--
		}
		age = max(age, 0)
	}
	if age < 0 {
		return ""
	}
	for _, b := range bands {
		if age < b.below {
			return b.name
		}
	}
	return ""
}

// mac is what a value becomes under the key of the export.
func (v *veil) mac(about, value string) []byte {
	h := hmac.New(sha256.New, v.key)
	h.Write([]byte(about))
	h.Write([]byte{0})
	h.Write([]byte(value))
	return h.Sum(nil)
}

// id is the id that a record has in this export alone. What was dropped has none; who was
// merged has that of the person they are.
func (v *veil) id(of any) any {
	text, ok := of.(string)
	if !ok {
		return nil
	}
	id, err := syncengine.ParseID(text)
	if err != nil || v.classes != nil && v.classes.dropped(id) {
		return nil
	}
	if v.classes != nil {
		id = v.classes.one(id)
	}
	return syncengine.ID(v.mac("id", id.String())[:len(id)]).String()
}

// word is what a name becomes: the same one for the same name.
func (v *veil) word(of any) any {
	text, ok := of.(string)
	if !ok {
		return nil
	}
	return "x" + strings.ToLower(base32.StdEncoding.EncodeToString(v.mac("word", text)[:5]))
}

// vocabularies are the fields of text that hold a word of a list that is not ours.
var vocabularies = map[protoreflect.Name]func(string) bool{
	"Agency.state": func(s string) bool { return len(s) == 2 && strings.Contains(states, s) },
	"Person.lang":  language, "Staff.langs": language, "Resource.langs": language, "Consent.lang": language,
	"RecordRef.kind":                 func(s string) bool { return s != "" && strings.Contains(referred, " "+s+" ") },
	"Program.follow_up_ladder_hours": func(s string) bool { return digits(s) > 0 && len(s) <= 4 },
}

const (
	states = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI"
	// referred are kinds that a reference names.
	referred = " person encounter episode incident referral follow_up note form_response consent disclosure safety_alert attachment program agency "
	// languages are those of ISO 639-1 with which interpreters are asked for.
	languages = "aa ab af ak am ar as az be bg bm bn bo bs ca ce ch co cs cy da de dv dz ee el en es et eu fa ff fi fj fo fr fy ga gd gl gn gu ha he hi ho hr ht hu hy id ig is it iu ja jv ka kg kk kl km kn ko ks ku ky la lb lg ln lo lt lv mg mh mi mk ml mn mr ms mt my na nb ne nl nn no nv ny oc om or os pa pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt ty ug uk ur uz ve vi wo xh yi yo za zh zu"
)

func language(s string) bool {
	return len(s) == 2 && s == strings.ToLower(s) && strings.Contains(" "+languages+" ", " "+s+" ")
}

// checkVocabularies refuses a vocabulary of a field that is none: it would protect nothing.
func checkVocabularies(all []*table) error {
	found := map[protoreflect.Name]bool{}
	for _, t := range all {
		for _, c := range t.columns {
			if c.field != nil {
				found[c.field.FullName().Parent().Name()+"."+c.field.Name()] = true
			}
		}
	}
	for name := range vocabularies {
		if !found[name] {
			return fmt.Errorf("a vocabulary of %s, which is no field", name)
		}
	}
	return nil
}
