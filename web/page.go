package web

import "slices"

// Page is what the layout shows around a page. Its data holds one in a field Page.
type Page struct {
	// Title of the page, Base the address that its links are relative to, Here its own.
	Title, Base, Here string
	// Theme is dark, light or red.
	Theme string
	// Bare pages have neither menu nor status: the lock screen.
	Bare bool
	// Install: the page may be installed as an app of its own window.
	Install bool
	// CanLock: there is a button that locks.
	CanLock bool
	// Live pages follow the status.
	Live bool
	// Record and Hash are what the page shows, so that it learns when that changes.
	Record, Hash string
	// Follow is the address that answers when there is something new for the page, which
	// stands where At says. Its parts with data-part are replaced then.
	Follow, At string
	Nav        []NavItem
	Status     Status
	// Flash says what was done, Error what was not.
	Flash, Error string
	Undo         *Undo
}

// NavItem is a place of the menu. Here is the page itself, Within one that it leads to.
type NavItem struct {
	Href, Icon, Word string
	Here, Within     bool
	Count            int
}

// Status is the line that says where the words are: State is here, sent, verified or
// needs.
type Status struct {
	State, Word, More string
}

// Undo takes back what was just done, until a moment.
type Undo struct {
	Action, Words string
	UntilMS       int64
	Values        []Hidden
}

// Hidden is a hidden value of a form.
type Hidden struct{ Name, Value string }

// Field is an input: Kind is chips, scale, area, switch, or a type of input. A scale is a
// slider over its options; those that are Beside are no steps of it.
type Field struct {
	Name, Kind, Label, Value, Hint, Problem, Mode, Lang string
	// When says what must be chosen for the field to be asked: "name=code,code".
	When string
	// More: it is folded away until somebody asks for it.
	Required, Many, On, More bool
	// Focus: the page begins here.
	Focus   bool
	Max     int
	Options []Option
	// Others are values that another window has typed there.
	Others []string
	// Phrases are put where somebody writes; without a script PhraseTo puts them at the end.
	Phrases  []Option
	PhraseTo string
}

// Option is a choice of a field.
type Option struct {
	Code, Label string
	On, Beside  bool
}

// Stops are the options of a scale that its slider stops at. Before the first it is not set.
func (f Field) Stops() []Option { return f.beside(false) }

// Besides are the options of a scale that are no step of it.
func (f Field) Besides() []Option { return f.beside(true) }

func (f Field) beside(is bool) (out []Option) {
	for _, o := range f.Options {
		if o.Beside == is {
			out = append(out, o)
		}
	}
	return out
}

// At is where the slider of a scale stands, from 1; 0 is not set.
func (f Field) At() int {
	return slices.IndexFunc(f.Stops(), func(o Option) bool { return o.On }) + 1
}
