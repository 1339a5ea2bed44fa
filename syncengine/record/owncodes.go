package record

import (
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Extendable are the lists to which an agency may add codes of its own.
var Extendable = []string{"call_type", "disposition", "intervention", "need", "presenting", "barrier", "place_type"}

// ruled are the core codes of those lists that rules over several fields, and what a record
// must hold, name; one that ends in an underscore stands for all that begin so.
var ruled = map[string][]string{
	"disposition":  {"transport_", "refused_services", "arrest_custody"},
	"intervention": {"safety_plan", "hospital_prescreen"},
}

// Ruled reports whether a rule over several fields names a core code. Rules read the code that
// stands in a record and nothing else, wherever it is judged: an agency's own kind of such a
// code would pass them by, so none is taken or offered.
func Ruled(list, core string) bool {
	return slices.ContainsFunc(ruled[list], func(r string) bool {
		return core == r || strings.HasSuffix(r, "_") && strings.HasPrefix(core, r)
	})
}

// OwnCodes are the codes that agencies have added to the lists. The zero value has none, and
// so has nil.
type OwnCodes struct{ byList map[string][]ownCode }

type ownCode struct {
	Code

	agency string
}

// Add takes in the codes of a code set that is in force. Of two sets that have one code the
// first counts.
func (o *OwnCodes) Add(m *tandemv1.CodeSet) {
	if o.byList == nil {
		o.byList = map[string][]ownCode{}
	}
	for _, e := range m.GetEntries() {
		c := Code{Code: e.GetCode(), EN: e.GetEn(), ES: e.GetEs(), Retired: e.GetRetired(), MapsTo: e.GetMapsTo()}
		// A label in one language is better than a code.
		if c.EN == "" {
			c.EN = c.ES
		}
		if c.ES == "" {
			c.ES = c.EN
		}
		o.byList[m.GetList()] = append(o.byList[m.GetList()], ownCode{c, m.GetAgencyId()})
	}
}

// Of returns the codes that an agency has added to a list, of all agencies where it is empty,
// by code.
func (o *OwnCodes) Of(list, agency string) (codes []Code) {
	if o == nil {
		return nil
	}
	for _, c := range o.byList[list] {
		if agency == "" || c.agency == agency {
			codes = append(codes, c.Code)
		}
	}
	slices.SortStableFunc(codes, func(a, b Code) int { return strings.Compare(a.Code, b.Code) })
	return slices.CompactFunc(codes, func(a, b Code) bool { return a.Code == b.Code })
}

// Offered returns the codes of a list that a form of an agency offers: the core ones, and
// behind each the agency's own that are a kind of it. What is not offered any more is left out,
// and so are own kinds of what is Ruled.
func (o *OwnCodes) Offered(d *Domain, list, agency string) (codes []Code) {
	own := o.Of(list, agency)
	for _, core := range d.Codes(list) {
		if core.Retired || core.Code == NotRecorded {
			continue
		}
		codes = append(codes, core)
		for _, c := range own {
			if c.MapsTo == core.Code && !c.Retired && c.EN != "" && !Ruled(list, core.Code) {
				codes = append(codes, c)
			}
		}
	}
	return codes
}

// offers reports whether a code is one that an agency offers of its own.
func (o *OwnCodes) offers(list, agency, code string) bool {
	return agency != "" && slices.ContainsFunc(o.Of(list, agency), func(c Code) bool {
		return c.Code == code && !c.Retired && !Ruled(list, c.MapsTo)
	})
}

// Has reports whether an agency has a code, offered or not.
func (o *OwnCodes) Has(list, code string) bool {
	_, has := o.find(list, code)
	return has
}

// Label returns the words for a code: a core one's, an agency's, or those of Domain.Label.
func (o *OwnCodes) Label(d *Domain, list, code, lang string) string {
	if c, ok := o.find(list, code); ok && c.EN != "" && !d.HasCode(list, code) {
		return either(lang, c.EN, c.ES)
	}
	return d.Label(list, code, lang)
}

// Core returns the core code that a code counts as: itself, where nobody has said otherwise.
func (o *OwnCodes) Core(list, code string) string {
	if c, ok := o.find(list, code); ok && c.MapsTo != "" {
		return c.MapsTo
	}
	return code
}

func (o *OwnCodes) find(list, code string) (Code, bool) {
	if o != nil {
		for _, c := range o.byList[list] {
			if c.Code.Code == code {
				return c.Code, true
			}
		}
	}
	return Code{}, false
}
