package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportPage string

//go:embed report.css
var frameStyle string

//go:embed figures.css
var figuresStyle string

var reportStyle = frameStyle + figuresStyle

// StylePolicy is what a Content-Security-Policy allows as style, so that the page's own
// style sheet, which stands in it, is taken and no other.
var StylePolicy = stylePolicy(reportStyle)

// stylePolicy is what a policy allows a style sheet by.
func stylePolicy(sheet string) string {
	sum := sha256.Sum256([]byte(sheet))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// HTMLOptions are what stands around a report that is written as a page.
type HTMLOptions struct {
	// Lang is en or es.
	Lang string
	// Snapshot is the id of a published report; empty for none.
	Snapshot string
	// Other is the address of the page in the other language, Files those of the CSV and
	// JSON; empty for none.
	Other, CSV, JSON string
}

// WriteHTML writes a report as one page that stands alone: it loads nothing, runs nothing,
// prints well, and has a table beside each chart.
func (r *Outcomes) WriteHTML(w io.Writer, o HTMLOptions) error { return r.write(w, "report", o) }

// WriteBody writes what WriteHTML has on its page below the title, for a page of another
// frame: it stands there in an element of the class report, whose style is [ServeStyle]'s.
func (r *Outcomes) WriteBody(w io.Writer, lang string) error {
	return r.write(w, "body", HTMLOptions{Lang: lang})
}

// Days says the period in words.
func (r *Outcomes) Days(lang string) string { return r.Period.days(lang) }

// ServeStyle is the style sheet of WriteBody. It takes the colours of the page around it.
func ServeStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// The error of writing is that of the connection.
	_, _ = io.WriteString(w, figuresStyle)
}

func (r *Outcomes) write(w io.Writer, name string, o HTMLOptions) error {
	if o.Lang != "es" {
		o.Lang = "en"
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"t":     func(en, es string) string { return Text{en, es}.In(o.Lang) },
		"in":    func(t Text) string { return t.In(o.Lang) },
		"show":  func(f Figure) string { return f.Show(r.K, o.Lang) },
		"ref":   func(f *Figure) Figure { return *f },
		"float": func(v *float64) string { return showFloat(v, o.Lang) },
		"int":   func(n *int) string { return number(float64(*n), o.Lang) },
		"pct":   showPercent,
		"dim":   func(dim string) string { return dimText(dim).In(o.Lang) },
		"group": func(dim, code string) string { return GroupText(dim, code).In(o.Lang) },
		"style": func() template.CSS { return template.CSS(reportStyle) }, //nolint:gosec // It is embedded.
		"lower": strings.ToLower,
		"dict2": func(c *chart, id string) map[string]any {
			return map[string]any{"Chart": c, "ID": strings.ReplaceAll(id, ".", "-")}
		},
	}).Parse(reportPage)
	if err != nil {
		return fmt.Errorf("the page of a report: %w", err)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, r.page(o)); err != nil {
		return fmt.Errorf("the page of a report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// page is what the template shows.
type page struct {
	*Outcomes
	HTMLOptions

	Days, Made string
	Sections   []section
	// Gaps says of each measure how much of it is not known.
	Gaps []gap
}

type section struct {
	Metric

	Rates, Counts, Times, Sums, Mixes []Measure
	Silent                            []Measure
	Chart                             *chart
	Tables                            []groupTable
	MixCharts                         []mixTable
}

type groupTable struct {
	Breakdown

	Measure Measure
	Chart   *chart
}

// PerHead reports whether there is a number for each 1,000 inhabitants.
func (g groupTable) PerHead() bool {
	return slices.ContainsFunc(g.Groups, func(x Group) bool { return x.PerThousand != nil })
}

type mixTable struct {
	Measure

	Chart *chart
}

type gap struct {
	Metric, Label string
	Unknown       Figure
	Percent       *int
}

func (r *Outcomes) page(o HTMLOptions) *page {
	p := &page{Outcomes: r, HTMLOptions: o, Days: r.Period.days(o.Lang)}
	if at, err := time.Parse(time.RFC3339, r.AsOf); err == nil {
		p.Made = longDay(at, o.Lang)
	}
	for _, m := range r.Metrics {
		s := section{Metric: m}
		var bars []bar
		for _, x := range m.Measures {
			switch {
			case x.NoData != nil:
				s.Silent = append(s.Silent, x)
				continue
			case x.Shape == ShapeRate:
				s.Rates = append(s.Rates, x)
				bars = append(bars, rateBar(x.Label.In(o.Lang), x.All))
			case x.Shape == ShapeCount:
				s.Counts = append(s.Counts, x)
			case x.Shape == ShapeTime:
				s.Times = append(s.Times, x)
			case x.Shape == ShapeTotal:
				s.Sums = append(s.Sums, x)
			case x.Shape == ShapeMix:
				s.Mixes = append(s.Mixes, x)
				s.MixCharts = append(s.MixCharts, mixTable{x, mixChart(x, r.K, o.Lang)})
			}
			if x.All.UnknownPercent != nil || x.All.Unknown.Hidden != "" {
				p.Gaps = append(p.Gaps, gap{m.ID, x.Label.In(o.Lang), x.All.Unknown, x.All.UnknownPercent})
			}
			for _, b := range x.Breakdowns {
				s.Tables = append(s.Tables, groupTable{b, x, groupChart(b, x, r.K, o.Lang)})
			}
		}
		if len(bars) > 0 {
			s.Chart = newChart(bars, 100, o.Lang, m.Title.In(o.Lang))
		}
		p.Sections = append(p.Sections, s)
	}
	return p
}
