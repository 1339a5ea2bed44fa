package form

import (
	"cmp"
	"crypto/sha256"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Types of items, codes of form_item_type.
const (
	Group      = "group"
	Display    = "display"
	Boolean    = "boolean"
	Integer    = "integer"
	Decimal    = "decimal"
	Date       = "date"
	DateTime   = "date_time"
	String     = "string"
	Text       = "text"
	Choice     = "choice"
	OpenChoice = "open_choice"
)

// Answers are the values given, by link id of the question.
type Answers map[string][]*tandemv1.FormValue

// Of returns the answers that a response holds.
func Of(r *tandemv1.FormResponse) Answers {
	a := Answers{}
	for _, one := range r.GetAnswers() {
		if len(one.GetValues()) > 0 {
			a[one.GetLinkId()] = one.GetValues()
		}
	}
	return a
}

// Answer returns an answer as a response holds it.
func Answer(linkID string, values ...*tandemv1.FormValue) *tandemv1.FormAnswer {
	return &tandemv1.FormAnswer{Element: Element(linkID), LinkId: &linkID, Values: values}
}

// Element returns the element id of the answer to a question: the same on every device,
// so that one question is one path.
func Element(linkID string) []byte {
	sum := sha256.Sum256([]byte(linkID))
	return sum[:8]
}

// Bool is yes or no.
func Bool(v bool) *tandemv1.FormValue { return &tandemv1.FormValue{Boolean: &v} }

// Int is a whole number.
func Int(v int64) *tandemv1.FormValue { return &tandemv1.FormValue{Integer: &v} }

// Number is a number as it was written.
func Number(v string) *tandemv1.FormValue { return &tandemv1.FormValue{Decimal: &v} }

// Day is a date, YYYY, YYYY-MM or YYYY-MM-DD.
func Day(v string) *tandemv1.FormValue { return &tandemv1.FormValue{Date: &v} }

// Moment is a date and time, RFC 3339.
func Moment(v string) *tandemv1.FormValue { return &tandemv1.FormValue{DateTime: &v} }

// Words is free text.
func Words(v string) *tandemv1.FormValue { return &tandemv1.FormValue{Text: &v} }

// Code is an option by its code.
func Code(v string) *tandemv1.FormValue { return &tandemv1.FormValue{Code: &v} }

// typeOf returns the type of item that a value is an answer to, empty where it holds none
// or several.
func typeOf(v *tandemv1.FormValue) string {
	typ, n := "", 0
	set := func(is bool, t string) {
		if is {
			typ, n = t, n+1
		}
	}
	if v == nil {
		return ""
	}
	set(v.Boolean != nil, Boolean)
	set(v.Integer != nil, Integer)
	set(v.Decimal != nil, Decimal)
	set(v.Date != nil, Date)
	set(v.DateTime != nil, DateTime)
	set(v.Text != nil, Text)
	set(v.Code != nil, Choice)
	if n != 1 {
		return ""
	}
	return typ
}

// fits reports whether a value is of the kind that an item takes, and well formed.
func fits(it *tandemv1.FormItem, v *tandemv1.FormValue) bool {
	switch typ := typeOf(v); it.GetType() {
	case Boolean, Integer:
		return typ == it.GetType()
	case Decimal:
		return typ == Decimal && numberOf(v) != nil
	case Date:
		return typ == Date && isDate(v.GetDate())
	case DateTime:
		_, ok := moment(v.GetDateTime())
		return typ == DateTime && ok
	case String, Text:
		return typ == Text && strings.TrimSpace(v.GetText()) != ""
	case Choice:
		return typ == Choice && optionOf(it, v.GetCode()) != nil
	case OpenChoice:
		return typ == Choice && optionOf(it, v.GetCode()) != nil || typ == Text && strings.TrimSpace(v.GetText()) != ""
	}
	return false
}

func optionOf(it *tandemv1.FormItem, code string) *tandemv1.FormOption {
	for _, o := range it.GetOptions() {
		if o.GetCode() == code {
			return o
		}
	}
	return nil
}

// numberOf returns the number of a value, nil for none.
func numberOf(v *tandemv1.FormValue) *big.Rat {
	switch typeOf(v) {
	case Integer:
		return new(big.Rat).SetInt64(v.GetInteger())
	case Decimal:
		if !isDecimal(v.GetDecimal()) {
			return nil
		}
		r, ok := new(big.Rat).SetString(v.GetDecimal())
		if !ok {
			return nil
		}
		return r
	}
	return nil
}

// isDecimal reports whether s is a number without exponent, as the contract has it.
func isDecimal(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole, part, dotted := strings.Cut(s, ".")
	digits := func(s string, most int) bool {
		return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
	}
	return digits(whole, 15) && (!dotted || digits(part, 9))
}

// isDate reports whether s is a date as far as it is known.
func isDate(s string) bool {
	for _, layout := range []string{"2006", "2006-01", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(layout) == s
		}
	}
	return false
}

func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// compare orders two values; ok is false where they are of different kinds or the shorter
// date leaves it open.
func compare(a, b *tandemv1.FormValue) (order int, ok bool) {
	if x, y := numberOf(a), numberOf(b); x != nil && y != nil {
		return x.Cmp(y), true
	}
	ta, tb := typeOf(a), typeOf(b)
	if ta != tb {
		// The words of an option may be entered as text.
		return 0, false
	}
	switch ta {
	case Boolean:
		switch {
		case a.GetBoolean() == b.GetBoolean():
			return 0, true
		case b.GetBoolean():
			return -1, true
		}
		return 1, true
	case Date:
		x, y := a.GetDate(), b.GetDate()
		n := min(len(x), len(y))
		if c := cmp.Compare(x[:n], y[:n]); c != 0 || len(x) == len(y) {
			return c, true
		}
		return 0, false
	case DateTime:
		x, okX := moment(a.GetDateTime())
		y, okY := moment(b.GetDateTime())
		return x.Compare(y), okX && okY
	case Text:
		return cmp.Compare(a.GetText(), b.GetText()), true
	case Choice:
		return cmp.Compare(a.GetCode(), b.GetCode()), true
	}
	return 0, false
}

// plain reports whether s is text as records hold it: no control characters but line
// break and tab.
func plain(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}

// In returns the text in a language, the other where it has none.
func In(t *tandemv1.FormText, lang string) string {
	if lang == "es" || strings.HasPrefix(lang, "es-") {
		return cmp.Or(t.GetEs(), t.GetEn())
	}
	return cmp.Or(t.GetEn(), t.GetEs())
}

// OptionText returns the words of an option in a language.
func OptionText(o *tandemv1.FormOption, lang string) string {
	return cmp.Or(In(o.GetText(), lang), o.GetCode())
}

func quote(s string) string { return strconv.Quote(s) }

// localMoment is a date and time without an offset, as a page's input gives it.
const localMoment = "2006-01-02T15:04"

// Read returns what was typed as an answer to a question, as records hold it; ok is false
// where it is none. A date and time without an offset is that of the zone. Whether the
// answer is too long, or stands twice, is said by Evaluate.
func Read(it *tandemv1.FormItem, typed string, zone *time.Location) (v *tandemv1.FormValue, ok bool) {
	typed = strings.TrimSpace(typed)
	switch it.GetType() {
	case Boolean:
		if typed != "true" && typed != "false" {
			return nil, false
		}
		v = Bool(typed == "true")
	case Integer:
		n, err := strconv.ParseInt(typed, 10, 64)
		if err != nil {
			return nil, false
		}
		v = Int(n)
	case Decimal:
		// Spanish writes a comma; before three digits it may be meant for thousands.
		if _, after, comma := strings.Cut(typed, ","); comma && len(after) == 3 {
			return nil, false
		}
		v = Number(strings.Replace(typed, ",", ".", 1))
	case Date:
		v = Day(typed)
	case DateTime:
		v = Moment(typed)
		if t, err := time.ParseInLocation(localMoment, typed, zone); err == nil {
			v = Moment(t.Format(time.RFC3339))
		}
	case String, Text:
		v = Words(typed)
	case Choice:
		v = Code(typed)
	case OpenChoice:
		if v = Code(typed); optionOf(it, typed) == nil {
			v = Words(typed)
		}
	default:
		return nil, false
	}
	return v, fits(it, v)
}

// Typed returns a value as Read takes it, a date and time in the zone.
func Typed(v *tandemv1.FormValue, zone *time.Location) string {
	switch typeOf(v) {
	case Boolean:
		return strconv.FormatBool(v.GetBoolean())
	case Integer:
		return strconv.FormatInt(v.GetInteger(), 10)
	case Decimal:
		return v.GetDecimal()
	case Date:
		return v.GetDate()
	case DateTime:
		if t, ok := moment(v.GetDateTime()); ok {
			return t.In(zone).Format(localMoment)
		}
		return v.GetDateTime()
	case Text:
		return v.GetText()
	}
	return v.GetCode()
}

// Said returns a value in words: the text of an option, a date as it stands.
func Said(it *tandemv1.FormItem, v *tandemv1.FormValue, lang string, zone *time.Location) string {
	switch typeOf(v) {
	case Boolean:
		return In(map[bool]*tandemv1.FormText{true: yesText, false: noText}[v.GetBoolean()], lang)
	case Choice:
		if o := optionOf(it, v.GetCode()); o != nil {
			return OptionText(o, lang)
		}
	case DateTime:
		return strings.Replace(Typed(v, zone), "T", " ", 1)
	}
	return Typed(v, zone)
}

var (
	yesText = &tandemv1.FormText{En: new("Yes"), Es: new("Sí")}
	noText  = &tandemv1.FormText{En: new("No"), Es: new("No")}
)
