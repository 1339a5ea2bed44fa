package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tandem-response/tandem/syncengine/record"
)

// WriteText writes the report as tables for a terminal, in English (en) or Spanish
// (es). Codes come most frequent first, months in order.
func (r *CallReport) WriteText(w io.Writer, lang string) error {
	t := table{lang: lang, domain: record.New(), calls: r.Calls}
	from, to := t.word("the beginning", "el inicio"), t.word("now", "hoy")
	if r.Period.From != nil {
		from = *r.Period.From
	}
	if r.Period.To != nil {
		to = *r.Period.To
	}
	t.head(fmt.Sprintf(t.word("Calls from %s to %s, %s", "Llamadas desde %s hasta %s, %s"), from, to, r.Period.Zone))
	t.row(t.word("Calls", "Llamadas"), r.Calls)
	t.row(t.word("Contacts", "Con contacto"), r.Contacts)
	t.rate(t.word("Contact rate", "Tasa de contacto"), r.ContactRate)
	if r.Uncertain > 0 {
		t.bare(t.word("Not counted: time too coarse", "Sin contar: hora imprecisa"), r.Uncertain)
	}
	if r.Undated > 0 && (r.Period.From != nil || r.Period.To != nil) {
		t.bare(t.word("Not counted: no time", "Sin contar: sin hora"), r.Undated)
	}
	t.codes("call_type", r.ByType)
	t.head(t.word("Month", "Mes"))
	for _, month := range slices.Sorted(maps.Keys(r.ByMonth)) {
		label := month
		if month == record.NotRecorded {
			label = t.label("contact", month)
		}
		t.row(label, r.ByMonth[month])
	}
	t.codes("contact", r.ByOutcome)
	t.codes("le_actions", r.ByPoliceAction)
	t.head(t.label("contact", record.NotRecorded))
	for _, field := range slices.Sorted(maps.Keys(r.NotRecorded)) {
		label := t.domain.FieldLabel("incident", field, lang)
		if field == "time" {
			label = t.word("Time of the call", "Hora de la llamada")
		}
		t.row(label, r.NotRecorded[field].Count)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// table gathers rows, so that all of them line up.
type table struct {
	lang   string
	domain *record.Domain
	calls  int // what counts are shares of
	rows   [][3]string
}

func (t *table) word(en, es string) string {
	if t.lang == record.Spanish || strings.HasPrefix(t.lang, record.Spanish+"-") {
		return es
	}
	return en
}

func (t *table) label(list, code string) string { return t.domain.Label(list, code, t.lang) }

func (t *table) head(title string) { t.rows = append(t.rows, [3]string{title}) }

func (t *table) bare(label string, n int) {
	t.rows = append(t.rows, [3]string{label, fmt.Sprint(n)})
}

// row adds a count and its share of the calls.
func (t *table) row(label string, n int) {
	share := ""
	if p := percent(n, t.calls); p != nil {
		share = fmt.Sprintf("%d%%", *p)
	}
	t.rows = append(t.rows, [3]string{label, fmt.Sprint(n), share})
}

func (t *table) rate(label string, r Rate) {
	if r.Percent == nil {
		t.rows = append(t.rows, [3]string{label, t.word("unknown", "se desconoce")})
		return
	}
	if r.Unreliable {
		label += t.word(" (unreliable: few cases)", " (poco fiable: pocos casos)")
	}
	t.rows = append(t.rows, [3]string{label, fmt.Sprintf("%d/%d", r.Numerator, r.Denominator), fmt.Sprintf("%d%%", *r.Percent)})
}

// codes adds the codes of a field of incidents, most frequent first.
func (t *table) codes(field string, counts map[string]int) {
	t.head(t.domain.FieldLabel("incident", field, t.lang))
	list := t.domain.FieldCodes("incident", field)
	codes := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, code := range codes {
		label := t.label(list, code)
		if code == record.NotRecorded {
			// Not every list has the code; the word is the same.
			label = t.label("contact", code)
		}
		t.row(label, counts[code])
	}
}

// String lays the rows out: titles, and under them labels and numbers.
func (t *table) String() string {
	var wide [3]int
	for _, r := range t.rows {
		for i, cell := range r {
			if r[1] != "" {
				wide[i] = max(wide[i], utf8.RuneCountInString(cell))
			}
		}
	}
	var b strings.Builder
	for i, r := range t.rows {
		switch {
		case r[1] == "" && i > 0:
			fmt.Fprintf(&b, "\n%s\n", r[0])
		case r[1] == "":
			fmt.Fprintln(&b, r[0])
		default:
			line := fmt.Sprintf("  %-*s  %*s  %*s", wide[0], r[0], wide[1], r[1], wide[2], r[2])
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	return b.String()
}
