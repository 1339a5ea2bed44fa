package app

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// shortWords are the words of an address that are written in more than one way, with the one
// that stands for all of them.
var shortWords = map[string]string{
	"street": "st", "str": "st", "avenue": "ave", "av": "ave", "road": "rd", "drive": "dr", "boulevard": "blvd", "lane": "ln", "court": "ct",
	"place": "pl", "highway": "hwy", "parkway": "pkwy", "square": "sq", "terrace": "ter", "circle": "cir", "trail": "trl",
	"north": "n", "south": "s", "east": "e", "west": "w", "northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
}

// unitWords begin the part of an address that is inside the house; what follows names it.
var unitWords = []string{"apt", "apartment", "unit", "ste", "suite", "rm", "room", "fl", "floor", "bldg", "building", "lot", "#", "apto", "apartamento", "depto", "departamento", "piso", "edificio", "oficina"}

// streetsFirst are the words for a street that stand before the house number.
var streetsFirst = []string{"calle", "ave", "avenida", "carrera", "paseo", "camino", "calzada"}

// states end an address before its ZIP code. Those that are words of a street too are none.
var states = strings.Fields("al ak az ar ca co de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt nv nh nj nm ny nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr")

var (
	zipEnd  = regexp.MustCompile(`[ ,]([0-9]{5})(-[0-9]{4})?[ ,]*$`)
	ordinal = regexp.MustCompile(`^([0-9]+)(st|nd|rd|th|o|º|er)$`)
)

// addressWords are the words of an address, in lower case. A point stands between two of them
// or two numbers, and in N.W. for nothing.
func addressWords(s string) []string {
	r, out := []rune(strings.ToLower(s)), strings.Builder{}
	letter := func(i int) bool { return i >= 0 && i < len(r) && unicode.IsLetter(r[i]) }
	for i, c := range r {
		switch {
		case c == '#':
			out.WriteString(" # ")
		case c == '\'' || c == '’' || c == '.' && letter(i+1) && !letter(i+2):
		default:
			out.WriteRune(c)
		}
	}
	return strings.FieldsFunc(out.String(), func(c rune) bool {
		return c != '#' && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c)
	})
}

// streetWord reports whether a word is of the street, in either spelling.
func streetWord(s string) bool {
	_, long := shortWords[s]
	return long || slices.Contains(slices.Collect(maps.Values(shortWords)), s)
}

func number(s string) bool { return s != "" && unicode.IsDigit(rune(s[0])) }

// streetAndUnit are the words of an address with one spelling for those that have several, and
// which part of the house it names, empty for none.
func streetAndUnit(s string) (street, unit string) {
	words := addressWords(s)
	var key, in []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if short, ok := shortWords[w]; ok {
			w = short
		}
		// A house number and a street come before any unit: "12 Lot Street" has none, nor has "Bus Stop #4".
		inside := len(key) > 1 && (number(key[0]) || slices.Contains(streetsFirst, key[0]) && slices.ContainsFunc(key, number)) && i+1 < len(words)
		beforeStreet := i+1 < len(words) && len(words[i+1]) > 1 && streetWord(words[i+1])
		switch m := ordinal.FindStringSubmatch(w); {
		case inside && m != nil && slices.Contains([]string{"fl", "floor", "piso"}, words[i+1]):
			in, i = append(in, m[1]), i+1
		case inside && slices.Contains(unitWords, w) && !beforeStreet:
			if i++; words[i] == "#" && i+1 < len(words) {
				i++
			}
			name := words[i]
			// "3 B" is "3B"; "3 N" may be either.
			if i+1 < len(words) && number(name) && len(words[i+1]) == 1 && unicode.IsLetter(rune(words[i+1][0])) {
				i++
				name += words[i]
			}
			in = append(in, name)
		case w != "#":
			key = append(key, w)
		}
	}
	return strings.Join(key, " "), strings.Join(in, " ")
}

// addressKey is an address as it is compared: without case, spaces, punctuation and unit.
// Nothing else is guessed: a letter that differs is another address.
func addressKey(address string) string {
	street, _ := streetAndUnit(address)
	return street
}

// reading is one way to read an address: what may be the name of a town may be a part of it.
type reading struct{ street, town string }

// readings are the ways to read an address of which a town may be known.
func readings(address, town string) (out []reading, unit, zip string) {
	if m := zipEnd.FindStringSubmatchIndex(address); m != nil {
		if head := addressWords(address[:m[0]]); len(head) > 1 && !slices.Contains([]string{"hwy", "highway", "route", "rte", "road", "rd"}, head[len(head)-1]) {
			address, zip = address[:m[0]], address[m[2]:m[3]]
		}
	}
	address = strings.TrimRight(address, " ,.")
	if i := strings.LastIndexAny(address, " ,"); i > 0 && slices.Contains(states, strings.ToLower(address[i+1:])) && (zip != "" || strings.HasSuffix(strings.TrimRight(address[:i+1], " "), ",") || strings.Count(address, ",") > 1) {
		address = strings.TrimRight(address[:i], " ,.")
	}
	whole, unit := streetAndUnit(address)
	town = addressKey(town)
	out = append(out, reading{whole, town})
	if head, ok := strings.CutSuffix(whole, " "+town); ok && town != "" {
		out = append(out, reading{head, town})
	}
	if i := strings.LastIndex(address, ","); i > 0 {
		last, _ := streetAndUnit(address[i+1:])
		head, _ := streetAndUnit(address[:i])
		if head != "" && last != "" && !number(last) && !streetWord(last) && whole == head+" "+last && (town == "" || town == last) {
			out = append(out, reading{head, last})
		}
	}
	return out, unit, zip
}

// sameness is how far two addresses are the same; what is less comes later in a list.
type sameness int

const (
	otherPlace sameness = iota
	samePlace
	unitUnsaid
	otherUnit
	// townUnsaid: one of the two names no town. The unit is added.
	townUnsaid sameness = 4
)

// compareAddress says how far an address is the one of a place, which may name the town apart.
// An address that names a town is not that of another one.
func compareAddress(address string, at *tandemv1.Location) sameness {
	theirs, unit, zip := readings(at.GetAddress(), at.GetCity())
	// Where the words of an alert end with the town of the call, they name it.
	ours, ourUnit, ourZip := readings(address, "")
	var towns []string
	for _, t := range theirs {
		if head, ok := strings.CutSuffix(ours[0].street, " "+t.town); ok && t.town != "" {
			ours = append(ours, reading{head, t.town})
		}
		towns = append(towns, t.town)
	}
	for _, o := range ours {
		if head, ok := strings.CutSuffix(theirs[0].street, " "+o.town); ok && o.town != "" && slices.Contains(towns, "") {
			theirs = append(theirs, reading{head, o.town})
		}
	}
	if zip = cmp.Or(zip, at.GetZip5()); zip != "" && ourZip != "" && zip != ourZip {
		return otherPlace
	}
	best := otherPlace
	for _, a := range ours {
		for _, b := range theirs {
			if a.street == "" || a.street != b.street || a.town != "" && b.town != "" && a.town != b.town {
				continue
			}
			how := samePlace
			switch {
			case unit != "" && ourUnit != "" && unit != ourUnit:
				how = otherUnit
			case unit != ourUnit:
				how = unitUnsaid
			}
			if a.town == "" || b.town == "" {
				how += townUnsaid
			}
			if best == otherPlace || how < best {
				best = how
			}
		}
	}
	return best
}

// says are the words of it: what is not known is said.
func (how sameness) says(v *visit) string {
	unit := map[sameness]string{samePlace: "sameAddress", unitUnsaid: "unitUnsaid", otherUnit: "otherUnit"}
	if how < townUnsaid+samePlace {
		return v.t(unit[how])
	}
	known := how - townUnsaid
	if known == samePlace {
		return v.t("townUnsaid")
	}
	return v.t(unit[known]) + ", " + v.t("townUnsaid")
}

// mostPlaceAlerts is how many alerts of an address a page shows at once; the others are folded
// up behind their number. placeAlertsRead is how many are found.
const mostPlaceAlerts, placeAlertsRead = 10, 1000

// placeCard is what to know of the place of a call: the alerts that name its address. They are
// of the address, and not of whoever is met there.
type placeCard struct {
	Address      string
	Alerts, More []placeAlert
}

type placeAlert struct {
	lineItem
	// Same says how far its address is that of the call.
	Same string
	how  sameness
}

// placeOf are the alerts in force that name the address of a place, but those that the page
// shows with a person. Those that are nearest come first.
func (v *visit) placeOf(at *tandemv1.Location, shown []approach) (p placeCard, err error) {
	if p.Address = at.GetAddress(); addressKey(p.Address) == "" {
		return p, nil
	}
	found, err := v.alertsAt(at, shown)
	if err != nil {
		return p, err
	}
	slices.SortStableFunc(found, func(a, b placeAlert) int { return int(a.how - b.how) })
	for i := range found {
		found[i].Same = found[i].how.says(v)
	}
	p.Alerts = found[:min(len(found), mostPlaceAlerts)]
	p.More = found[len(p.Alerts):]
	return p, nil
}

func (v *visit) alertsAt(at *tandemv1.Location, shown []approach) (out []placeAlert, err error) {
	if v.officer() {
		return v.cardsAt(at)
	}
	today := v.now().Format(time.DateOnly)
	for _, state := range []string{"active", "proposed"} {
		views, err := v.first("safety_alert", client.Filter{Lifecycle: state}, client.Newest, placeAlertsRead, func(view *client.View) bool {
			m, ok := view.Message.(*tandemv1.SafetyAlert)
			return ok && m.GetExpiresOn() >= today && atAddress(m.GetAddress(), at) && !slices.ContainsFunc(shown, func(a approach) bool {
				return slices.ContainsFunc(a.Alerts, func(l lineItem) bool { return l.Href == "alert/"+view.ID.String() })
			})
		})
		if err != nil {
			return nil, err
		}
		for _, view := range views {
			if m, ok := view.Message.(*tandemv1.SafetyAlert); ok {
				l := v.alertLine(view)
				l.Place = m.GetAddress()
				out = append(out, placeAlert{lineItem: l, how: compareAddress(m.GetAddress(), at)})
			}
		}
	}
	return out, nil
}

func atAddress(address string, at *tandemv1.Location) bool {
	return compareAddress(address, at) != otherPlace
}

// cardsAt are the alert cards in force that name the address of a place.
func (v *visit) cardsAt(at *tandemv1.Location) (out []placeAlert, err error) {
	today := v.now().Format(time.DateOnly)
	views, err := v.first("alert_card", client.Filter{Lifecycle: "active"}, client.Newest, placeAlertsRead, func(view *client.View) bool {
		m, ok := view.Message.(*tandemv1.AlertCard)
		return ok && (m.GetExpiresOn() == "" || m.GetExpiresOn() >= today) && atAddress(m.GetAddress(), at)
	})
	for _, view := range views {
		if m, ok := view.Message.(*tandemv1.AlertCard); ok {
			l := lineItem{Href: "cards", Title: v.code("alert_category", m.GetCategory()), About: m.GetText(), Place: m.GetAddress()}
			out = append(out, placeAlert{lineItem: l, how: compareAddress(m.GetAddress(), at)})
		}
	}
	return out, err
}

// placeTyped is the place of a call with what is typed of it and no save yet.
func (v *visit) placeTyped(view *client.View) (*tandemv1.Location, error) {
	m, ok := view.Message.(*tandemv1.Incident)
	if !ok {
		return nil, client.ErrNotFound
	}
	d, err := v.typedIn("incident", view.ID.String())
	if err != nil || d == nil {
		return m.GetLocation(), err
	}
	at := &tandemv1.Location{Address: new(m.GetLocation().GetAddress()), City: new(m.GetLocation().GetCity()), Zip5: new(m.GetLocation().GetZip5())}
	for name, into := range map[string]**string{"location.address": &at.Address, "location.city": &at.City} {
		if f := d.Fields[name]; f != nil {
			*into = new(last(f.Values))
		}
	}
	return at, nil
}

// placeShown is what a page of a call shows of its place, for one on which it is typed.
func (v *visit) placeShown(call syncengine.ID) (string, error) {
	view, err := v.look("incident", call)
	if _, team := v.opensCalls(); team != nil && errors.Is(err, client.ErrNotFound) {
		// It is no record yet: what is typed is all there is.
		view, err = &client.View{ID: call, Message: &tandemv1.Incident{}}, nil
	}
	if err != nil {
		return "", err
	}
	at, err := v.placeTyped(view)
	if err != nil {
		return "", err
	}
	var shown []approach
	if !v.officer() {
		found, err := v.encountersOf(call)
		if err != nil {
			return "", err
		}
		if shown, err = v.approaches(found); err != nil {
			return "", err
		}
	}
	p, err := v.placeOf(at, shown)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = v.a.pages[v.lang].ExecuteTemplate(&b, "place", p)
	return b.String(), err
}
