package form

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// lowPoints: an item that was given less shows where to read on.
const lowPoints = 2

// lowestShown is how many of the lowest areas a summary names.
const lowestShown = 3

// Assessment is what an assessment of a program came to: one share for each area, their
// mean, where it is lowest, what helps there, and what changed.
type Assessment struct {
	// Overall is the mean of the areas, nil where the form has none.
	Overall *Area
	// Areas in the order of the form, and the lowest of those that have a value.
	Areas, Lowest []Area
	// Advice names what was given few points and has resources, in order of the form.
	Advice []Advice
	// Complete: every question that is asked is answered.
	Complete bool
}

// Area is a score, with its value in the assessment before.
type Area struct {
	Score

	// Before is nil where there was none.
	Before *float64
}

// Change is by how much an area has changed; ok is false where that is not known.
func (a *Area) Change() (by float64, ok bool) {
	if a.Value == nil || a.Before == nil {
		return 0, false
	}
	return *a.Value - *a.Before, true
}

// Advice is an item with few points, and where to read on.
type Advice struct {
	Item   *tandemv1.FormItem
	Points float64
}

// Assess plays an assessment, and compares it with the answers of the one before, nil for
// none.
func Assess(def *tandemv1.FormDefinition, answers, before Answers) *Assessment {
	now := Evaluate(def, answers)
	var then *Result
	if before != nil {
		then = Evaluate(def, before)
	}
	a := &Assessment{Complete: now.Complete}
	for _, s := range now.Scores {
		a.Complete = a.Complete && s.Complete
	}
	for _, s := range now.Scores {
		area := Area{Score: s}
		if then != nil {
			area.Before = then.Score(s.GetCode()).Value
		}
		switch s.GetMethod() {
		case percent:
			a.Areas = append(a.Areas, area)
		case mean:
			a.Overall = &area
		}
	}
	for _, area := range a.Areas {
		if area.Value != nil {
			a.Lowest = append(a.Lowest, area)
		}
	}
	slices.SortStableFunc(a.Lowest, func(x, y Area) int { return cmp.Compare(x.exact, y.exact) })
	a.Lowest = a.Lowest[:min(len(a.Lowest), lowestShown)]
	for _, it := range now.Items {
		if !it.Enabled || !it.Answered || len(it.GetLinks()) == 0 {
			continue
		}
		if points, ok := pointsOf(it.FormItem, answers[it.GetLinkId()][0]); ok && points < lowPoints {
			a.Advice = append(a.Advice, Advice{Item: it.FormItem, Points: points})
		}
	}
	return a
}

// summaryWords are the words of a summary, English and Spanish.
var summaryWords = map[string][2]string{
	"overall": {"Overall", "En conjunto"},
	"none":    {"too little is answered", "hay muy pocas respuestas"},
	"before":  {"before", "antes"},
	"lowest":  {"Where it is lowest", "Dónde es más bajo"},
	"advice":  {"Where to read on", "Dónde seguir leyendo"},
	"open":    {"Questions are open: the numbers are not final.", "Quedan preguntas abiertas: las cifras no son definitivas."},
	"areas":   {"Areas", "Áreas"},
}

// Summary is an assessment as a page of text in a language.
func (a *Assessment) Summary(f *tandemv1.Form, lang string) string {
	word := func(key string) string {
		if lang == "es" || strings.HasPrefix(lang, "es-") {
			return summaryWords[key][1]
		}
		return summaryWords[key][0]
	}
	var b strings.Builder
	line := func(area *Area) {
		fmt.Fprintf(&b, "  %s: ", In(area.GetTitle(), lang))
		switch {
		case area.Value == nil:
			fmt.Fprintf(&b, "%s (%d/%d)\n", word("none"), area.Answered, area.Asked)
			return
		case area.Band != nil:
			fmt.Fprintf(&b, "%.0f %%, %s", *area.Value, In(area.Band.GetText(), lang))
		default:
			fmt.Fprintf(&b, "%.0f %%", *area.Value)
		}
		if by, ok := area.Change(); ok {
			fmt.Fprintf(&b, " (%s %.0f %%, %+.0f)", word("before"), *area.Before, by)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s\n", In(&tandemv1.FormText{En: f.GetTitle().En, Es: f.GetTitle().Es}, lang))
	if !a.Complete {
		fmt.Fprintf(&b, "%s\n", word("open"))
	}
	if a.Overall != nil {
		fmt.Fprintf(&b, "\n%s\n", word("overall"))
		line(a.Overall)
	}
	fmt.Fprintf(&b, "\n%s\n", word("areas"))
	for i := range a.Areas {
		line(&a.Areas[i])
	}
	fmt.Fprintf(&b, "\n%s\n", word("lowest"))
	for i := range a.Lowest {
		line(&a.Lowest[i])
	}
	if len(a.Advice) > 0 {
		fmt.Fprintf(&b, "\n%s\n", word("advice"))
	}
	for _, one := range a.Advice {
		fmt.Fprintf(&b, "  %s %s\n", one.Item.GetPrefix(), In(one.Item.GetText(), lang))
		for _, l := range one.Item.GetLinks() {
			fmt.Fprintf(&b, "    %s: %s\n", In(l.GetTitle(), lang), l.GetUrl())
		}
	}
	return b.String()
}
