package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/tandem-response/tandem/syncengine/record"
)

// WriteJSON writes a report as one line of JSON: the same report, the same bytes.
func (r *Outcomes) WriteJSON(w io.Writer) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("the report as JSON: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// ReadOutcomes reads a report that WriteJSON has written.
func ReadOutcomes(text []byte) (*Outcomes, error) {
	r := &Outcomes{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("the report cannot be read: %w", err)
	}
	return r, nil
}

var csvHead = []string{
	"metric", "measure", "label", "breakdown", "group", "group_label", "code", "code_label", "shape", "unit", "count", "numerator", "denominator",
	"percent", "median", "p90", "sum", "mean", "unknown", "unknown_percent", "ratio", "per_thousand", "flag", "no_data",
}

// WriteCSV writes a report as a table: a row a figure, with the labels in a language. A
// hidden count is <k where it is small and * where it protects one; what there is no figure
// of is empty.
func (r *Outcomes) WriteCSV(w io.Writer, lang string) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	// The writer keeps its first error for Flush.
	_ = out.Write(csvHead)
	row := func(metric string, m *Measure, by, group, code, codeLabel string, c *Cell, more [4]string) {
		groupLabel := ""
		if by != "" {
			groupLabel = GroupText(by, group).In(lang)
		}
		opt := func(f *Figure) string {
			if f == nil {
				return ""
			}
			return f.cell(r.K)
		}
		_ = out.Write([]string{
			metric, m.Key, m.Label.In(lang), by, group, groupLabel, code, codeLabel, string(m.Shape), m.Unit.In(lang), c.Count.cell(r.K),
			opt(c.Numerator), opt(c.Denominator), intCell(c.Percent), floatCell(c.Median), floatCell(c.P90), floatCell(c.Sum), floatCell(c.Mean),
			c.Unknown.cell(r.K), intCell(c.UnknownPercent), more[0], more[1], more[2], more[3],
		})
	}
	for i := range r.Metrics {
		metric := &r.Metrics[i]
		if metric.NoData != nil {
			row(metric.ID, &Measure{Label: metric.Title, Unit: metric.Unit}, "", "", "", "", &Cell{}, [4]string{3: metric.NoData.In(lang)})
		}
		for j := range metric.Measures {
			m := &metric.Measures[j]
			if m.NoData != nil {
				row(metric.ID, m, "", "", "", "", &Cell{}, [4]string{3: m.NoData.In(lang)})
				continue
			}
			row(metric.ID, m, "", "", "", "", &m.All, flags(&m.All, false))
			for _, c := range m.All.Mix {
				row(metric.ID, m, "", "", c.Code, c.Label.In(lang), &Cell{Count: c.Figure}, [4]string{})
			}
			for _, b := range m.Breakdowns {
				for k := range b.Groups {
					g := &b.Groups[k]
					more := flags(&g.Cell, g.UnderServed)
					more[0], more[1] = floatCell(g.Ratio), floatCell(g.PerThousand)
					row(metric.ID, m, b.By, g.Code, "", "", &g.Cell, more)
				}
				if b.Withheld {
					row(metric.ID, m, b.By, "", "", "", &Cell{}, [4]string{3: Text{"withheld", "retenido"}.In(lang)})
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

func flags(c *Cell, underServed bool) [4]string {
	switch {
	case underServed:
		return [4]string{2: "under_served"}
	case c.Unreliable:
		return [4]string{2: "unreliable"}
	}
	return [4]string{}
}

// cell writes a figure for a program to read.
func (f Figure) cell(k int) string {
	switch {
	case f.N != nil:
		return strconv.Itoa(*f.N)
	case f.Hidden == HiddenSmall:
		return "<" + strconv.Itoa(k)
	case f.Hidden == HiddenProtecting:
		return "*"
	}
	return ""
}

func intCell(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func floatCell(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// WriteText writes a report as tables for a terminal, in English (en) or Spanish (es), with
// the figures of all and no breakdown.
func (r *Outcomes) WriteText(w io.Writer, lang string) error {
	t := table{lang: lang, domain: record.New()}
	t.head(fmt.Sprintf("%s. %s. %s %s", r.ProgramName.In(lang), r.Period.days(lang), t.word("As of", "Al"), r.AsOf))
	line := func(label string, n, rate string) { t.rows = append(t.rows, [3]string{label, n, rate}) }
	for _, m := range r.Metrics {
		t.head(m.ID + " " + m.Title.In(lang))
		if m.NoData != nil {
			line(t.word("No data: ", "Sin datos: ")+m.NoData.In(lang), "–", "")
		}
		for _, x := range m.Measures {
			label := x.Label.In(lang)
			if x.All.Unreliable && x.NoData == nil {
				label += t.word(" (unreliable: few cases)", " (poco fiable: pocos casos)")
			}
			switch {
			case x.NoData != nil:
				line(label+": "+x.NoData.In(lang), "–", "")
			case x.Shape == ShapeRate:
				line(label, x.All.Numerator.Show(r.K, lang)+"/"+x.All.Denominator.Show(r.K, lang), showPercent(x.All.Percent))
			case x.Shape == ShapeTime:
				line(label+t.word(": median, 9 of 10 within", ": mediana, 9 de 10 dentro de"), showFloat(x.All.Median, lang), showFloat(x.All.P90, lang))
			case x.Shape == ShapeTotal:
				line(label, showFloat(x.All.Sum, lang), "")
			default:
				line(label, x.All.Count.Show(r.K, lang), "")
				for _, c := range x.All.Mix {
					line("  "+c.Label.In(lang), c.Show(r.K, lang), "")
				}
			}
			if x.NoData == nil && x.All.Unknown.value() > 0 {
				line("  "+t.word("not known", "se desconoce"), x.All.Unknown.Show(r.K, lang), showPercent(x.All.UnknownPercent))
			}
		}
	}
	_, err := io.WriteString(w, t.String())
	return err
}
