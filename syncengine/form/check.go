package form

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Limits of a form.
const (
	MaxItems   = 500
	MaxOptions = 200
	MaxDepth   = 8

	maxConditions = 50
	maxScores     = 50
	maxLinkID     = 128
	maxText       = 4000
	maxTitle      = 200
	maxOption     = 500
)

// Fault is one thing that is wrong with a form.
type Fault struct {
	// Path is the place in the file that was read; empty where none was.
	Path string
	// Item is the link id of the item at fault, Score the code of the score; empty where
	// it is neither.
	Item, Score string
	// What is wrong, and what to do; ES is the same in Spanish.
	What, ES string
}

// String returns the place and what is wrong, in English.
func (f Fault) String() string { return f.In("en") }

// In is String in a language: "es", and English for any other.
func (f Fault) In(lang string) string {
	what, item, score, line := f.What, "item ", "score ", "line "
	if lang == "es" && f.ES != "" {
		what, item, score, line = f.ES, "elemento ", "puntuación ", "línea "
	}
	switch {
	case strings.HasPrefix(f.Path, "line "):
		return line + f.Path[len("line "):] + ": " + what
	case f.Path != "":
		return f.Path + ": " + what
	case f.Item != "":
		return item + f.Item + ": " + what
	case f.Score != "":
		return score + f.Score + ": " + what
	}
	return what
}

// says puts words to a fault: the format, and what [spanish] has for it.
func (f Fault) says(format string, args ...any) Fault {
	f.What = fmt.Sprintf(format, args...)
	if es := spanish[format]; es != "" {
		f.ES = fmt.Sprintf(es, args...)
	}
	return f
}

// FaultError is an error of one or more faults.
type FaultError []Fault

// Error names the first faults, one a line.
func (f FaultError) Error() string {
	const most = 12
	lines := make([]string, 0, most+1)
	for i, one := range f {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(f)-most))
			break
		}
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// index is a definition made ready for look-ups.
type index struct {
	def      *tandemv1.FormDefinition
	at       map[string]int
	parent   []int // of each item, -1 at the top
	children [][]int
}

func newIndex(def *tandemv1.FormDefinition) *index {
	x := &index{def: def, at: map[string]int{}, children: make([][]int, len(def.GetItems())), parent: make([]int, len(def.GetItems()))}
	for i, it := range def.GetItems() {
		if _, twice := x.at[it.GetLinkId()]; !twice {
			x.at[it.GetLinkId()] = i
		}
		x.parent[i] = -1
		if p, ok := x.at[it.GetParent()]; ok && it.Parent != nil && p < i {
			x.parent[i] = p
			x.children[p] = append(x.children[p], i)
		}
	}
	return x
}

func (x *index) item(linkID string) *tandemv1.FormItem {
	if i, ok := x.at[linkID]; ok {
		return x.def.GetItems()[i]
	}
	return nil
}

// questions returns the questions that link ids stand for: themselves, and what is in
// them.
func (x *index) questions(linkIDs []string) []int {
	var out []int
	var add func(i int)
	add = func(i int) {
		if asks(x.def.GetItems()[i]) && !slices.Contains(out, i) {
			out = append(out, i)
		}
		for _, c := range x.children[i] {
			add(c)
		}
	}
	for _, id := range linkIDs {
		if i, ok := x.at[id]; ok {
			add(i)
		}
	}
	return out
}

// asks reports whether an item is a question.
func asks(it *tandemv1.FormItem) bool { return it.GetType() != Group && it.GetType() != Display }

func chooses(it *tandemv1.FormItem) bool {
	return it.GetType() == Choice || it.GetType() == OpenChoice
}

// checker gathers faults.
type checker struct {
	*index
	faults FaultError
}

func (c *checker) item(i int, format string, args ...any) {
	c.faults = append(c.faults, Fault{Item: c.def.GetItems()[i].GetLinkId()}.says(format, args...))
}

func (c *checker) score(s *tandemv1.FormScore, format string, args ...any) {
	c.faults = append(c.faults, Fault{Score: s.GetCode()}.says(format, args...))
}

// Check returns what is wrong with a definition; none, and it can be played. Texts may be
// missing: [Publishable] asks for them.
func Check(def *tandemv1.FormDefinition) FaultError {
	c := &checker{index: newIndex(def)}
	if n := len(def.GetItems()); n == 0 || n > MaxItems {
		c.faults = append(c.faults, Fault{}.says("a form has 1 to %d items, this one %d", MaxItems, n))
		return c.faults
	}
	c.tree()
	if len(c.faults) > 0 {
		return c.faults
	}
	for i, it := range def.GetItems() {
		c.shape(i, it)
		c.options(i, it)
		c.faults = append(c.faults, c.conditions(Fault{Item: it.GetLinkId()}, it.GetEnableWhen(), it.EnableBehavior)...)
	}
	if len(c.faults) == 0 {
		c.circles()
	}
	if len(def.GetScores()) > maxScores {
		c.faults = append(c.faults, Fault{}.says("a form has at most %d scores", maxScores))
		return c.faults
	}
	for i, s := range def.GetScores() {
		c.scoring(i, s)
	}
	return c.faults
}

// tree checks names and places.
func (c *checker) tree() {
	var stack []int
	for i, it := range c.def.GetItems() {
		switch id := it.GetLinkId(); {
		case id == "" || utf8.RuneCountInString(id) > maxLinkID || !plain(id) || strings.TrimSpace(id) != id:
			c.item(i, "a link id is 1 to %d characters", maxLinkID)
		case c.at[id] != i:
			c.item(i, "the link id stands twice")
		}
		for len(stack) > 0 && (it.Parent == nil || c.def.GetItems()[stack[len(stack)-1]].GetLinkId() != it.GetParent()) {
			stack = stack[:len(stack)-1]
		}
		switch {
		case it.Parent != nil && len(stack) == 0:
			c.item(i, "it stands in %s, which does not begin before it", quote(it.GetParent()))
		case len(stack) >= MaxDepth:
			c.item(i, "it stands deeper than %d levels", MaxDepth)
		}
		stack = append(stack, i)
	}
}

var itemTypes = []string{Group, Display, Boolean, Integer, Decimal, Date, DateTime, String, Text, Choice, OpenChoice}

func (c *checker) shape(i int, it *tandemv1.FormItem) {
	if !slices.Contains(itemTypes, it.GetType()) {
		c.item(i, "items of the type %s are not played", quote(it.GetType()))
	}
	if tooLong(it.GetText()) {
		c.item(i, "its text is longer than %d characters", maxText)
	}
	if !legible(it.GetText()) {
		c.item(i, "its text holds control characters")
	}
	switch it.GetType() {
	case Group:
		if len(c.children[i]) == 0 {
			c.item(i, "a group holds at least one item")
		}
		if it.GetRepeats() {
			c.item(i, "groups that repeat are not played: give each repetition a group of its own")
		}
	case Display:
		if len(c.children[i]) > 0 {
			c.item(i, "a text to read holds no items")
		}
	}
	if !asks(it) && it.GetRequired() && it.GetType() == Display || !asks(it) && it.GetRepeats() && it.GetType() == Display {
		c.item(i, "a text to read is neither required nor repeated")
	}
	if it.MaxLength != nil {
		switch it.GetType() {
		case String, Text, OpenChoice:
			if it.GetMaxLength() == 0 || it.GetMaxLength() > 20000 {
				c.item(i, "a longest answer is 1 to 20000 characters")
			}
		default:
			c.item(i, "only texts have a longest answer")
		}
	}
}

func tooLong(t *tandemv1.FormText) bool {
	return max(utf8.RuneCountInString(t.GetEn()), utf8.RuneCountInString(t.GetEs())) > maxText
}

func legible(t *tandemv1.FormText) bool { return plain(t.GetEn()) && plain(t.GetEs()) }

func (c *checker) options(i int, it *tandemv1.FormItem) {
	n := len(it.GetOptions())
	switch {
	case chooses(it) && n == 0:
		c.item(i, "a choice has options")
	case !chooses(it) && n > 0:
		c.item(i, "only a choice has options: make it a choice, or an open choice")
	case n > MaxOptions:
		c.item(i, "it has more than %d options", MaxOptions)
	}
	seen := map[string]bool{}
	for _, o := range it.GetOptions() {
		code := o.GetCode()
		if code == "" || utf8.RuneCountInString(code) > maxOption || !plain(code) {
			c.item(i, "the code of an option is 1 to %d characters", maxOption)
		}
		if seen[code] {
			c.item(i, "the option %s stands twice", quote(code))
		}
		seen[code] = true
		if tooLong(o.GetText()) {
			c.item(i, "the text of the option %s is longer than %d characters", quote(code), maxText)
		}
		if !legible(o.GetText()) {
			c.item(i, "the text of the option %s holds control characters", quote(code))
		}
		if v := o.GetOrdinal(); v < -1e6 || v > 1e6 || v != v {
			c.item(i, "the points of the option %s are out of range", quote(code))
		}
	}
}

// Operators, codes of form_operator.
const (
	exists = "exists"
	equal  = "eq"
	differ = "ne"
	more   = "gt"
	less   = "lt"
	least  = "ge"
	most   = "le"
)

// conditions returns what is wrong with the conditions of a place.
func (x *index) conditions(of Fault, list []*tandemv1.FormCondition, behavior *string) (faults FaultError) {
	fault := func(format string, args ...any) { faults = append(faults, of.says(format, args...)) }
	if len(list) > maxConditions {
		fault("it has more than %d conditions", maxConditions)
	}
	if b := behavior; b != nil && *b != "all" && *b != "any" {
		fault("conditions hold all or any, not %s", quote(*b))
	}
	if len(list) > 1 && behavior == nil {
		fault("it has several conditions and does not say whether all must hold or any")
	}
	for _, cond := range list {
		q := x.item(cond.GetQuestion())
		switch {
		case q == nil:
			fault("a condition looks at %s, which is no item", quote(cond.GetQuestion()))
			continue
		case !asks(q):
			fault("a condition looks at %s, which is no question", quote(cond.GetQuestion()))
			continue
		}
		ordered := q.GetType() == Integer || q.GetType() == Decimal || q.GetType() == Date || q.GetType() == DateTime
		switch cond.GetOperator() {
		case exists:
			if typeOf(cond.GetAnswer()) != Boolean {
				fault("a condition asks whether %s is answered with something other than yes or no", quote(cond.GetQuestion()))
			}
			continue
		case equal, differ:
		case more, less, least, most:
			if !ordered {
				fault("answers to %s have no order to compare them by", quote(cond.GetQuestion()))
				continue
			}
		default:
			fault("a condition compares by %s, which is no comparison", quote(cond.GetOperator()))
			continue
		}
		// A whole number compares with a number.
		numeric := numberOf(cond.GetAnswer()) != nil && (q.GetType() == Integer || q.GetType() == Decimal)
		if !numeric && !fits(q, cond.GetAnswer()) {
			fault("a condition compares %s with what is no answer to it", quote(cond.GetQuestion()))
		}
	}
	return faults
}

// circles refuses conditions that depend on themselves.
func (c *checker) circles() {
	const open, done = 1, 2
	mark := make([]int, len(c.def.GetItems()))
	var visit func(i int) bool
	visit = func(i int) bool {
		switch mark[i] {
		case open:
			return false
		case done:
			return true
		}
		mark[i] = open
		needs := []int{}
		if c.parent[i] >= 0 {
			needs = append(needs, c.parent[i])
		}
		for _, cond := range c.def.GetItems()[i].GetEnableWhen() {
			needs = append(needs, c.at[cond.GetQuestion()])
		}
		for _, n := range needs {
			if !visit(n) {
				return false
			}
		}
		mark[i] = done
		return true
	}
	for i := range c.def.GetItems() {
		if !visit(i) {
			c.item(i, "whether it is asked depends on itself")
			return
		}
	}
}

// Methods of scores, codes of form_method.
const (
	sum     = "sum"
	percent = "percent"
	mean    = "mean"
	rules   = "rules"
)

func (c *checker) scoring(at int, s *tandemv1.FormScore) {
	if !isCode(s.GetCode()) {
		c.score(s, "a score has a code of lowercase letters, digits and _")
	}
	earlier := map[string]*tandemv1.FormScore{}
	for _, o := range c.def.GetScores()[:at] {
		earlier[o.GetCode()] = o
	}
	if earlier[s.GetCode()] != nil {
		c.score(s, "the code stands twice")
	}
	for _, id := range s.GetItems() {
		if c.index.item(id) == nil {
			c.score(s, "it counts %s, which is no item", quote(id))
		}
	}
	switch s.GetMethod() {
	case sum, percent:
		c.counted(s)
	case mean:
		if len(s.GetOf()) == 0 {
			c.score(s, "a mean is taken of other scores")
		}
		for _, code := range s.GetOf() {
			if o := earlier[code]; o == nil || o.GetMethod() == rules {
				c.score(s, "a mean is taken of scores before it that have a value: %s is none", quote(code))
			}
		}
	case rules:
		if len(s.GetRules()) == 0 {
			c.score(s, "it has no rules")
		}
	default:
		c.score(s, "%s is no method", quote(s.GetMethod()))
	}
	if s.GetMethod() != rules && len(s.GetRules()) > 0 {
		c.score(s, "only the method rules has rules")
	}
	c.bands(s)
}

func (c *checker) counted(s *tandemv1.FormScore) {
	questions := c.questions(s.GetItems())
	if len(questions) == 0 {
		c.score(s, "it counts no question")
	}
	for _, i := range questions {
		it := c.def.GetItems()[i]
		points := slices.ContainsFunc(it.GetOptions(), func(o *tandemv1.FormOption) bool { return o.Ordinal != nil })
		number := it.GetType() == Integer || it.GetType() == Decimal
		switch {
		case chooses(it) && points:
			if s.GetMethod() == percent && highest(it) <= 0 {
				c.score(s, "%s has no points to take a share of", quote(it.GetLinkId()))
			}
		case number && s.GetMethod() == sum:
		default:
			c.score(s, "it counts %s, which has no points", quote(it.GetLinkId()))
		}
	}
}

func (c *checker) bands(s *tandemv1.FormScore) {
	seen := map[string]bool{}
	for i, b := range s.GetBands() {
		if !isCode(b.GetCode()) || seen[b.GetCode()] {
			c.score(s, "the band %s is named badly, or stands twice", quote(b.GetCode()))
		}
		seen[b.GetCode()] = true
		v := b.GetAtLeast()
		switch {
		case s.GetMethod() == rules && b.AtLeast != nil:
			c.score(s, "bands of rules have no lowest value")
		case s.GetMethod() != rules && (b.AtLeast == nil) != (i == 0):
			c.score(s, "every band but the first says from which value it begins")
		case v < -1e6 || v > 1e6 || v != v:
			c.score(s, "the band %s begins out of range", quote(b.GetCode()))
		case s.GetMethod() != rules && i > 1 && v <= s.GetBands()[i-1].GetAtLeast():
			c.score(s, "bands stand in order of their values")
		}
	}
	for _, r := range s.GetRules() {
		if !seen[r.GetBand()] {
			c.score(s, "a rule leads to %s, which is no band", quote(r.GetBand()))
		}
		c.faults = append(c.faults, c.conditions(Fault{Score: s.GetCode()}, r.GetWhen(), r.Behavior)...)
	}
}

func isCode(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// highest returns the most points that one choice gives.
func highest(it *tandemv1.FormItem) float64 {
	top, found := 0.0, false
	for _, o := range it.GetOptions() {
		if o.Ordinal != nil && (!found || o.GetOrdinal() > top) {
			top, found = o.GetOrdinal(), true
		}
	}
	return top
}

// Publishable returns what must be mended before a form is published: what Check finds,
// and English words that are missing.
func Publishable(f *tandemv1.Form) FaultError {
	faults := Check(f.GetDefinition())
	if len(faults) > 0 {
		return faults
	}
	if f.GetTitle().GetEn() == "" {
		faults = append(faults, Fault{}.says("the form has no English title"))
	}
	eachText(f.GetDefinition(), func(of Fault, t *tandemv1.FormText) {
		switch {
		case t.GetEn() == "" && t.GetEs() == "":
			faults = append(faults, of.lacks("has no wording: load it with tandem admin form wording"))
		case t.GetEn() == "":
			faults = append(faults, of.lacks("has no English wording"))
		}
	})
	return faults
}

// Untranslated returns what has no Spanish, and is shown in English.
func Untranslated(f *tandemv1.Form) (faults FaultError) {
	if f.GetTitle().GetEs() == "" {
		faults = append(faults, Fault{}.says("the title has no Spanish wording"))
	}
	eachText(f.GetDefinition(), func(of Fault, t *tandemv1.FormText) {
		if t.GetEs() == "" {
			faults = append(faults, of.lacks("has no Spanish wording"))
		}
	})
	return faults
}

// lacks says what the text of a fault that names one lacks.
func (f Fault) lacks(what string) Fault {
	f.What, f.ES = f.What+" "+what, f.ES+" "+spanish[what]
	return f
}

// eachText calls words with every text that somebody reads, and the place of it.
func eachText(def *tandemv1.FormDefinition, words func(Fault, *tandemv1.FormText)) {
	for _, it := range def.GetItems() {
		words(Fault{Item: it.GetLinkId()}.says("it"), it.GetText())
		for _, o := range it.GetOptions() {
			if o.GetText() != nil || o.GetKind() == "" || o.GetKind() == "coding" {
				words(Fault{Item: it.GetLinkId()}.says("the option %s", quote(o.GetCode())), o.GetText())
			}
		}
	}
	for _, s := range def.GetScores() {
		words(Fault{Score: s.GetCode()}.says("it"), s.GetTitle())
		for _, b := range s.GetBands() {
			words(Fault{Score: s.GetCode()}.says("the band %s", quote(b.GetCode())), b.GetText())
		}
	}
}
