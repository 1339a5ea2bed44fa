package app

import (
	"bytes"
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
var unitWords = []string{"apt", "apartment", "unit", "ste", "suite", "rm", "room", "fl", "floor", "bldg", "building", "lot", "#"}

// addressKey is an address as it is compared: without case, spaces, punctuation and unit, with
// one spelling for words that have several. Nothing else is guessed: a letter that differs is
// another address.
func addressKey(address string) string {
	address = strings.ReplaceAll(strings.ToLower(address), "#", " # ")
	address = strings.NewReplacer("'", "", "’", "", ".", "").Replace(address)
	words := strings.FieldsFunc(address, func(r rune) bool {
		return r != '#' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	var key []string
	for i := 0; i < len(words); i++ {
		// A house number and a street come before any unit: "12 Lot Street" has none.
		if len(key) > 1 && slices.Contains(unitWords, words[i]) && i+1 < len(words) {
			if i++; words[i] == "#" && i+1 < len(words) {
				i++
			}
			continue
		}
		if short, ok := shortWords[words[i]]; ok {
			words[i] = short
		}
		if words[i] != "#" {
			key = append(key, words[i])
		}
	}
	return strings.Join(key, " ")
}

// atAddress reports whether an address is the one of a place, which may name the town apart.
// An address that names a town is not that of another one.
func atAddress(address string, at *tandemv1.Location) bool {
	key := addressKey(address)
	if key == "" || addressKey(at.GetAddress()) == "" {
		return false
	}
	for _, whole := range []string{at.GetAddress(), at.GetAddress() + " " + at.GetCity(), at.GetAddress() + " " + at.GetCity() + " " + at.GetZip5()} {
		if key == addressKey(whole) {
			return true
		}
	}
	return false
}

// mostPlaceAlerts is how many alerts of an address a page shows.
const mostPlaceAlerts = 10

// placeCard is what to know of the place of a call: the alerts that name its address. They are
// of the address, and not of whoever is met there.
type placeCard struct {
	Address string
	Alerts  []lineItem
}

// placeOf are the alerts in force that name the address of a place, but those that the page
// shows with a person.
func (v *visit) placeOf(at *tandemv1.Location, shown []approach) (p placeCard, err error) {
	if p.Address = at.GetAddress(); addressKey(p.Address) == "" {
		return p, nil
	}
	if v.officer() {
		p.Alerts, err = v.cardsAt(at)
		return p, err
	}
	today := v.now().Format(time.DateOnly)
	for _, state := range []string{"active", "proposed"} {
		views, err := v.first("safety_alert", client.Filter{Lifecycle: state}, client.Newest, mostPlaceAlerts, func(view *client.View) bool {
			m, ok := view.Message.(*tandemv1.SafetyAlert)
			return ok && m.GetExpiresOn() >= today && atAddress(m.GetAddress(), at) && !slices.ContainsFunc(shown, func(a approach) bool {
				return slices.ContainsFunc(a.Alerts, func(l lineItem) bool { return l.Href == "alert/"+view.ID.String() })
			})
		})
		if err != nil {
			return p, err
		}
		for _, view := range views {
			l := v.alertLine(view)
			if m, ok := view.Message.(*tandemv1.SafetyAlert); ok {
				l.Place = m.GetAddress()
			}
			p.Alerts = append(p.Alerts, l)
		}
	}
	return p, nil
}

// cardsAt are the alert cards in force that name the address of a place.
func (v *visit) cardsAt(at *tandemv1.Location) (out []lineItem, err error) {
	today := v.now().Format(time.DateOnly)
	views, err := v.first("alert_card", client.Filter{Lifecycle: "active"}, client.Newest, mostPlaceAlerts, func(view *client.View) bool {
		m, ok := view.Message.(*tandemv1.AlertCard)
		return ok && (m.GetExpiresOn() == "" || m.GetExpiresOn() >= today) && atAddress(m.GetAddress(), at)
	})
	for _, view := range views {
		if m, ok := view.Message.(*tandemv1.AlertCard); ok {
			out = append(out, lineItem{Href: "cards", Title: v.code("alert_category", m.GetCategory()), About: m.GetText(), Place: m.GetAddress()})
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
