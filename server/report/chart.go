package report

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// chart is bars drawn on the server, as the template writes them in SVG: a title and a
// description for who cannot see it, words and numbers beside each bar, no colour that
// means anything by itself.
type chart struct {
	Title, Description string
	Width, Height      int
	// Left is where bars begin.
	Left int
	Bars []drawn
}

// bar is one number to draw. Without a value there is a note alone.
type bar struct {
	label, note string
	value       *float64
}

type drawn struct {
	Y, TextY, Width, NoteX int
	Label, Note            string
	Empty                  bool
}

const (
	barHeight = 24
	barGap    = 12
	barRoom   = 180
	barLeft   = 190
	noteRoom  = 90
)

func newChart(bars []bar, most float64, lang, title string) *chart {
	c := &chart{Title: title, Width: barLeft + barRoom + noteRoom, Height: len(bars)*(barHeight+barGap) + barGap, Left: barLeft}
	said := make([]string, 0, len(bars))
	for i, b := range bars {
		y := barGap + i*(barHeight+barGap)
		d := drawn{Y: y, TextY: y + 18, Label: shorten(b.label, 22), Note: b.note, NoteX: barLeft + 6, Empty: b.value == nil}
		if b.value != nil && most > 0 {
			d.Width = max(int(*b.value/most*barRoom+0.5), 1)
			d.NoteX = barLeft + d.Width + 6
		}
		c.Bars = append(c.Bars, d)
		said = append(said, b.label+": "+b.note)
	}
	c.Description = Text{"Bars: ", "Barras: "}.In(lang) + strings.Join(said, "; ") + "."
	return c
}

func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:most-1])) + "…"
}

func rateBar(label string, c Cell) bar {
	if c.Percent == nil {
		note := "–"
		if c.Numerator != nil && c.Numerator.Hidden != "" {
			note = "*"
		}
		return bar{label: label, note: note}
	}
	return bar{label: label, note: strconv.Itoa(*c.Percent) + " %", value: new(float64(*c.Percent))}
}

func groupChart(b Breakdown, m Measure, k int, lang string) *chart {
	if b.Withheld || len(b.Groups) == 0 || m.Shape != ShapeRate && m.Shape != ShapeCount {
		return nil
	}
	bars, most := make([]bar, 0, len(b.Groups)), 100.0
	if m.Shape == ShapeCount {
		most = 0
	}
	for _, g := range b.Groups {
		label := GroupText(b.By, g.Code).In(lang)
		if m.Shape == ShapeRate {
			bars = append(bars, rateBar(label, g.Cell))
			continue
		}
		bars = append(bars, countBar(label, g.Count, k, lang))
		most = max(most, float64(g.Count.value()))
	}
	return newChart(bars, most, lang, m.Label.In(lang)+": "+dimText(b.By).In(lang))
}

func countBar(label string, f Figure, k int, lang string) bar {
	b := bar{label: label, note: f.Show(k, lang)}
	if f.N != nil {
		b.value = new(float64(*f.N))
	}
	return b
}

func mixChart(m Measure, k int, lang string) *chart {
	if len(m.All.Mix) == 0 {
		return nil
	}
	bars, most := make([]bar, 0, len(m.All.Mix)), 0.0
	for _, c := range m.All.Mix {
		bars = append(bars, countBar(c.Label.In(lang), c.Figure, k, lang))
		most = max(most, float64(c.value()))
	}
	return newChart(bars, most, lang, m.Label.In(lang))
}
