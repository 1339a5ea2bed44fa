package form

import (
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Result is what answers come to.
type Result struct {
	// Items are all items of the form, in order.
	Items []Item
	// Stray are link ids that were answered and are not asked, in order: kept, and
	// counted nowhere.
	Stray []string
	// Scores of the form, in order.
	Scores []Score
	// Complete: every required question that is asked has an answer, and no answer is at
	// fault.
	Complete bool
}

// Item is one item as it stands.
type Item struct {
	*tandemv1.FormItem
	// Depth is how many items it stands in.
	Depth int
	// Enabled: it is shown, or asked.
	Enabled bool
	// Answered: it is asked and has an answer that is none of the faults below.
	Answered bool
	// Missing: it is asked, required and not answered.
	Missing bool
	// EN and ES say what is wrong with its answer; empty where nothing is.
	EN, ES string
}

// Score is one score as it stands.
type Score struct {
	*tandemv1.FormScore
	// Value is nil where too little is answered, and for rules.
	Value *float64
	// Band is nil where there is none.
	Band *tandemv1.FormBand
	// Answered and Asked count the questions that it looks at.
	Answered, Asked int
	// Complete: open questions cannot change it.
	Complete bool

	exact float64 // before it is rounded
}

// Missing returns the link ids of required questions that are asked and not answered.
func (r *Result) Missing() (ids []string) {
	for _, it := range r.Items {
		if it.Missing {
			ids = append(ids, it.GetLinkId())
		}
	}
	return ids
}

// Score returns the score of a code, nil where there is none.
func (r *Result) Score(code string) *Score {
	for i := range r.Scores {
		if r.Scores[i].GetCode() == code {
			return &r.Scores[i]
		}
	}
	return nil
}

// Total writes what answers came to into their response: value and band of the first
// score, neither where it is not known. A band of rules that open questions could still
// change is not known; that of a number stands as far as enough was answered.
func Total(response *tandemv1.FormResponse, r *Result) {
	response.Score, response.Band = nil, nil
	if len(r.Scores) == 0 {
		return
	}
	s := r.Scores[0]
	response.Score = s.Value
	if s.Band != nil && (s.Complete || s.Value != nil) {
		response.Band = s.Band.Code
	}
}

// play is one evaluation.
type play struct {
	*index
	answers Answers
	enabled []int // 0 not known yet, 1 asked, -1 not asked
}

// Evaluate plays answers against a definition in which Check finds no fault.
func Evaluate(def *tandemv1.FormDefinition, answers Answers) *Result {
	p := &play{index: newIndex(def), answers: answers, enabled: make([]int, len(def.GetItems()))}
	r := &Result{Complete: true, Items: make([]Item, 0, len(def.GetItems()))}
	for i, it := range def.GetItems() {
		item := Item{FormItem: it, Enabled: p.asked(i)}
		for up := p.parent[i]; up >= 0; up = p.parent[up] {
			item.Depth++
		}
		given := answers[it.GetLinkId()]
		if item.Enabled && asks(it) {
			item.EN, item.ES = fault(it, given)
			item.Answered = len(given) > 0 && item.EN == ""
			item.Missing = it.GetRequired() && len(given) == 0
			if item.Missing || item.EN != "" {
				r.Complete = false
			}
		} else if len(given) > 0 {
			r.Stray = append(r.Stray, it.GetLinkId())
		}
		r.Items = append(r.Items, item)
	}
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		if p.item(id) == nil && len(answers[id]) > 0 {
			r.Stray = append(r.Stray, id)
		}
	}
	for _, s := range def.GetScores() {
		r.Scores = append(r.Scores, p.score(r, s))
	}
	return r
}

// fault says what is wrong with an answer.
func fault(it *tandemv1.FormItem, given []*tandemv1.FormValue) (en, es string) {
	if len(given) > 1 && !it.GetRepeats() {
		return "Only one answer is taken here. Keep one.", "Aquí solo se acepta una respuesta. Deje una."
	}
	for i, v := range given {
		switch {
		case !fits(it, v) && chooses(it):
			return "This choice is not offered. Choose another.", "Esta opción no está disponible. Elija otra."
		case !fits(it, v):
			return "This is no answer to the question. Enter it again.", "Esto no responde a la pregunta. Escríbalo de nuevo."
		case it.MaxLength != nil && utf8.RuneCountInString(v.GetText()) > int(it.GetMaxLength()):
			return "The answer is too long. Shorten it.", "La respuesta es demasiado larga. Acórtela."
		}
		for _, w := range given[:i] {
			if c, ok := compare(v, w); ok && c == 0 && typeOf(v) == typeOf(w) {
				return "An answer stands twice. Take one away.", "Una respuesta está repetida. Quite una."
			}
		}
	}
	return "", ""
}

// asked reports whether an item is shown. Conditions have no circles: Check sees to it.
func (p *play) asked(i int) bool {
	if p.enabled[i] == 0 {
		p.enabled[i] = -1
		it := p.def.GetItems()[i]
		if (p.parent[i] < 0 || p.asked(p.parent[i])) && p.hold(it.GetEnableWhen(), it.GetEnableBehavior()) {
			p.enabled[i] = 1
		}
	}
	return p.enabled[i] > 0
}

// hold reports whether conditions hold; none always do.
func (p *play) hold(list []*tandemv1.FormCondition, behavior string) bool {
	if len(list) == 0 {
		return true
	}
	if behavior == "any" {
		return slices.ContainsFunc(list, p.holds)
	}
	return !slices.ContainsFunc(list, func(c *tandemv1.FormCondition) bool { return !p.holds(c) })
}

func (p *play) holds(c *tandemv1.FormCondition) bool {
	i, ok := p.at[c.GetQuestion()]
	var given []*tandemv1.FormValue
	if ok && p.asked(i) {
		given = p.answers[c.GetQuestion()]
	}
	some := func(fits func(order int) bool) bool {
		return slices.ContainsFunc(given, func(v *tandemv1.FormValue) bool {
			order, ok := compare(v, c.GetAnswer())
			return ok && fits(order)
		})
	}
	switch c.GetOperator() {
	case exists:
		return (len(given) > 0) == c.GetAnswer().GetBoolean()
	case equal:
		return some(func(o int) bool { return o == 0 })
	case differ:
		return !some(func(o int) bool { return o == 0 })
	case more:
		return some(func(o int) bool { return o > 0 })
	case less:
		return some(func(o int) bool { return o < 0 })
	case least:
		return some(func(o int) bool { return o >= 0 })
	case most:
		return some(func(o int) bool { return o <= 0 })
	}
	return false
}

func (p *play) score(r *Result, s *tandemv1.FormScore) Score {
	out := Score{FormScore: s}
	switch s.GetMethod() {
	case sum, percent:
		p.count(r, &out)
	case mean:
		p.mean(r, &out)
	case rules:
		p.rule(r, &out)
		return out
	}
	if out.Value != nil {
		for _, b := range s.GetBands() {
			if b.AtLeast == nil || *out.Value >= b.GetAtLeast() {
				out.Band = b
			}
		}
	}
	return out
}

// count counts the questions that are asked, and their points.
func (p *play) count(r *Result, out *Score) {
	total, possible, scored := 0.0, 0.0, 0
	for _, i := range p.questions(out.GetItems()) {
		it := r.Items[i]
		if !it.Enabled {
			continue
		}
		out.Asked++
		if !it.Answered {
			continue
		}
		out.Answered++
		counts := false
		for _, v := range p.answers[it.GetLinkId()] {
			points, ok := pointsOf(it.FormItem, v)
			if ok {
				total += points
				counts = true
			}
		}
		if counts {
			scored++
			possible += highest(it.FormItem)
		}
	}
	out.Complete = out.Asked > 0 && out.Answered == out.Asked
	least := 100
	if out.MinAnswered != nil {
		least = int(out.GetMinAnswered())
	}
	if scored == 0 || out.Answered*100 < least*out.Asked {
		return
	}
	out.exact = total
	if out.GetMethod() == percent {
		if possible <= 0 {
			return
		}
		out.exact = 100 * total / possible
	}
	out.round()
}

// round shows a share and a mean as a whole number, halves up.
func (s *Score) round() {
	v := s.exact
	if s.GetMethod() != sum {
		v = math.Floor(v + 0.5)
	}
	s.Value = &v
}

// pointsOf returns what a value counts; ok is false for what counts nothing.
func pointsOf(it *tandemv1.FormItem, v *tandemv1.FormValue) (points float64, ok bool) {
	if chooses(it) {
		o := optionOf(it, v.GetCode())
		if o == nil || v.Code == nil {
			return 0, false
		}
		return o.GetOrdinal(), o.Ordinal != nil
	}
	n := numberOf(v)
	if n == nil {
		return 0, false
	}
	points, _ = n.Float64()
	return points, true
}

// mean is that of the scores of which enough is answered.
func (p *play) mean(r *Result, out *Score) {
	total, n := 0.0, 0
	out.Complete = true
	for _, code := range out.GetOf() {
		s := r.Score(code)
		out.Answered, out.Asked = out.Answered+s.Answered, out.Asked+s.Asked
		out.Complete = out.Complete && s.Complete
		if s.Value == nil || s.Answered*100 < int(out.GetMinAnswered())*s.Asked {
			continue
		}
		total += s.exact
		n++
	}
	if n > 0 {
		out.exact = total / float64(n)
		out.round()
	}
}

// rule finds the band of the first rule that holds.
func (p *play) rule(r *Result, out *Score) {
	var looks []string
	for _, rule := range out.GetRules() {
		for _, c := range rule.GetWhen() {
			if !slices.Contains(looks, c.GetQuestion()) {
				looks = append(looks, c.GetQuestion())
			}
		}
	}
	for _, id := range looks {
		it := r.Items[p.at[id]]
		if it.Enabled {
			out.Asked++
			if it.Answered {
				out.Answered++
			}
		}
	}
	out.Complete = out.Answered == out.Asked
	for i, rule := range out.GetRules() {
		if len(rule.GetWhen()) == 0 && !out.Complete || !p.hold(rule.GetWhen(), rule.GetBehavior()) {
			continue
		}
		for _, b := range out.GetBands() {
			if b.GetCode() == rule.GetBand() {
				out.Band = b
			}
		}
		// Nothing stands above the first rule.
		out.Complete = out.Complete || i == 0
		return
	}
}
