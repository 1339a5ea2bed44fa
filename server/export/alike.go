package export

import (
	"cmp"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Alike is how many people must be alike in year, age band, gender, race, ZIP code, first
// presenting problem and disposition for a contact to be in a de-identified set as it is,
// and how many must have a code for it to stand there.
const Alike = 11

// How far a person's records are made coarser, each step on top of those before it, until
// enough people are alike.
const (
	// noPlace takes the ZIP code, noRace the race, noPerson gender and age.
	noPlace = uint8(iota) + 1
	noRace
	noPerson
	// noContact makes presenting problem and disposition other.
	noContact
	// gone drops the records.
	gone
)

// coarsens says from which step on a column of codes holds nothing.
func coarsens(t *table, c *column) uint8 {
	switch t.kind.Name + " " + c.name {
	case "person gender":
		return noPerson
	case "encounter presenting_primary", "encounter disposition":
		return noContact
	case "person value":
		if t.field != nil && t.field.Name() == "race_ethnicity" {
			return noRace
		}
	case "encounter value":
		if t.field != nil && t.field.Name() == "presenting_other" {
			return noContact
		}
	}
	return 0
}

// traits are what a person or a contact is compared by, as numbers of words.
type traits struct {
	year uint16
	// band is that of the age which the contact says, own those which the person's record says.
	band, own, gender, presenting, disposition, zip, placeZip, racial uint16
}

// at is what is left of the traits at a step.
func (t traits) at(level uint8) traits {
	if level >= noPlace {
		t.zip, t.placeZip = 0, 0
	}
	if level >= noRace {
		t.racial = 0
	}
	if level >= noPerson {
		t.band, t.own, t.gender = 0, 0, 0
	}
	if level >= noContact {
		t.presenting, t.disposition = 0, 0
	}
	return t
}

func (t traits) compare(o traits) int {
	return cmp.Or(cmp.Compare(t.year, o.year), cmp.Compare(t.band, o.band), cmp.Compare(t.own, o.own), cmp.Compare(t.gender, o.gender), cmp.Compare(t.presenting, o.presenting),
		cmp.Compare(t.disposition, o.disposition), cmp.Compare(t.zip, o.zip), cmp.Compare(t.placeZip, o.placeZip), cmp.Compare(t.racial, o.racial))
}

// contact is an encounter, or a person without any.
type contact struct {
	traits

	// who it is of, an index of people; an unidentified person is one of their own.
	who uint32
}

// someone is a person of the set, or who was met once and not known.
type someone struct {
	id, into       syncengine.ID
	own, gender    uint16
	zip, racial    uint16
	known, met     bool
	level          uint8
	encounterAlone syncengine.ID
}

// classes find out who is alike. They hold some forty bytes for each contact and some
// hundred for each person.
type classes struct {
	k        int
	words    map[string]uint16
	people   []someone
	index    map[syncengine.ID]uint32
	contacts []contact
	// places of incidents, and which people were met at them.
	places map[syncengine.ID]uint16
	at     []syncengine.ID
	// levels of incidents and of contacts with unidentified people, where above zero.
	levels map[syncengine.ID]uint8
	result KAnonymity
}

// KAnonymity says what was done so that enough people are alike.
type KAnonymity struct {
	// K is how many must be.
	K int `json:"k"`
	// Compared are the traits.
	Compared []string `json:"compared"`
	// Contacts that were compared: encounters, and people without one. AsTheyAre,
	// Generalised and Dropped add up to it.
	Contacts    int64 `json:"contacts"`
	AsTheyAre   int64 `json:"as_they_are"`
	Generalised int64 `json:"generalised"`
	Dropped     int64 `json:"dropped"`
	// RareCodes counts values that became other, or nothing, because fewer people have them.
	RareCodes int64 `json:"rare_codes"`
}

func newClasses(k int) *classes {
	return &classes{
		k: k, words: map[string]uint16{"": 0}, index: map[syncengine.ID]uint32{}, places: map[syncengine.ID]uint16{}, levels: map[syncengine.ID]uint8{},
		result: KAnonymity{K: k, Compared: strings.Fields("year age_band gender race_ethnicity zip3 presenting_primary disposition")},
	}
}

// word is the number of a word.
func (c *classes) word(s string) uint16 {
	n, ok := c.words[s]
	if !ok {
		n = uint16(len(c.words))
		c.words[s] = n
	}
	return n
}

func (c *classes) person(id syncengine.ID) uint32 {
	i, ok := c.index[id]
	if !ok {
		i = uint32(len(c.people))
		c.people = append(c.people, someone{id: id})
		c.index[id] = i
	}
	return i
}

// listed is a code of a list, nothing where it is none.
func (v *veil) listed(list, code string) string {
	if code = v.job.kinds.Core(list, code); v.job.domain.HasCode(list, code) {
		return code
	}
	return ""
}

// compare takes down what a record says of a person or a contact.
func (v *veil) compare(r *row) {
	c := v.classes
	switch m := r.msg.Interface().(type) {
	case *tandemv1.Person:
		p := &c.people[c.person(r.rec.ID)]
		p.known = true
		p.gender, p.zip = c.word(v.listed("gender", m.GetGender())), c.word(zip3(m.GetZip5()))
		// Both stand in the set, so both are compared.
		own := v.band(m.GetDob())
		if m.ApproxAge != nil {
			own += " " + v.band(int64(m.GetApproxAge()))
		}
		p.own = c.word(own)
		var race []string
		for _, code := range m.GetRaceEthnicity() {
			race = append(race, v.listed("race_ethnicity", code))
		}
		slices.Sort(race)
		p.racial = c.word("race " + strings.Join(race, " "))
		p.into, _ = syncengine.ParseID(m.GetMergedInto())
	case *tandemv1.Incident:
		if zip := zip3(m.GetLocation().GetZip5()); zip != "" {
			c.places[r.rec.ID] = c.word(zip)
		}
	case *tandemv1.Encounter:
		id, err := syncengine.ParseID(m.GetPersonId())
		if err != nil {
			id = r.rec.ID
		}
		who := c.person(id)
		c.people[who].met = true
		if err != nil {
			c.people[who].encounterAlone = r.rec.ID
		}
		x := contact{who: who, traits: traits{
			presenting: c.word(v.listed("presenting", m.GetPresentingPrimary())), disposition: c.word(v.listed("disposition", m.GetDisposition())),
		}}
		if m.AgeYears != nil {
			x.band = c.word(v.band(int64(m.GetAgeYears())))
		}
		if year, ok := yearOf(instant(m.GetStartedAt().GetAtMs()), r.zone).(int64); ok {
			x.year = uint16(year)
		}
		incident, _ := syncengine.ParseID(m.GetIncidentId())
		c.contacts = append(c.contacts, x)
		c.at = append(c.at, incident)
	}
}

// canonical is the person that a merged one is.
func (c *classes) canonical(who uint32) uint32 {
	for range 8 {
		into := c.people[who].into
		next, ok := c.index[into]
		if into.IsZero() || !ok || next == who {
			break
		}
		who = next
	}
	return who
}

// settle makes people's records coarser until all that is left are alike enough. A person
// is made coarser in all records at once: they could be put beside each other otherwise.
func (c *classes) settle() {
	for i := range c.people {
		if c.people[i].met {
			c.people[c.canonical(uint32(i))].met = true
		}
	}
	for i := range c.people {
		if p := &c.people[i]; p.known && !p.met && c.canonical(uint32(i)) == uint32(i) {
			c.contacts = append(c.contacts, contact{who: uint32(i)})
			c.at = append(c.at, syncengine.ID{})
		}
	}
	for i := range c.contacts {
		x := &c.contacts[i]
		x.who = c.canonical(x.who)
		p := &c.people[x.who]
		x.own, x.gender, x.zip, x.racial = p.own, p.gender, p.zip, p.racial
		x.placeZip = c.places[c.at[i]]
	}
	order := make([]uint32, 0, len(c.contacts))
	for i := range c.contacts {
		order = append(order, uint32(i))
	}
	for c.step(&order) {
	}
	c.conclude()
}

// left are the traits of a contact as far as its person has been made coarser.
func (c *classes) left(i uint32) traits { return c.contacts[i].at(c.people[c.contacts[i].who].level) }

// step makes those coarser by one step who are too few alike, and reports whether there
// were any.
func (c *classes) step(order *[]uint32) bool {
	*order = slices.DeleteFunc(*order, func(i uint32) bool { return c.people[c.contacts[i].who].level >= gone })
	slices.SortFunc(*order, func(a, b uint32) int {
		return cmp.Or(c.left(a).compare(c.left(b)), cmp.Compare(c.contacts[a].who, c.contacts[b].who))
	})
	var few []uint32
	for from, o := 0, *order; from < len(o); {
		to, people, like := from, 0, c.left(o[from])
		for ; to < len(o) && c.left(o[to]) == like; to++ {
			if to == from || c.contacts[o[to]].who != c.contacts[o[to-1]].who {
				people++
			}
		}
		if people < c.k {
			for _, i := range o[from:to] {
				few = append(few, c.contacts[i].who)
			}
		}
		from = to
	}
	slices.Sort(few)
	few = slices.Compact(few)
	for _, who := range few {
		c.people[who].level++
	}
	return len(few) > 0
}

// conclude counts what was done, and finds the steps of incidents and of contacts with
// people who are not known.
func (c *classes) conclude() {
	for i := range c.contacts {
		p := &c.people[c.contacts[i].who]
		c.result.Contacts++
		switch {
		case p.level == 0:
			c.result.AsTheyAre++
			continue
		case p.level >= gone:
			c.result.Dropped++
		default:
			c.result.Generalised++
		}
		if !p.encounterAlone.IsZero() {
			c.levels[p.encounterAlone] = p.level
		}
		if at := c.at[i]; !at.IsZero() {
			c.levels[at] = max(c.levels[at], min(p.level, noContact))
		}
	}
	// They have served.
	c.contacts, c.at, c.places = nil, nil, nil
}

// of is the step of a record.
func (c *classes) of(r *row) uint8 {
	id := r.rec.ID
	if level, ok := c.levels[id]; ok {
		return level
	}
	if about := personOf(r); !about.IsZero() {
		id = about
	}
	if who, ok := c.index[id]; ok {
		return c.people[c.canonical(who)].level
	}
	return 0
}

// dropped reports whether a record of a person or a contact is not in the set.
func (c *classes) dropped(id syncengine.ID) bool {
	if who, ok := c.index[id]; ok {
		return c.people[c.canonical(who)].level >= gone
	}
	return false
}

// merged reports whether somebody is in the set as another person.
func (c *classes) merged(id syncengine.ID) bool { return c.one(id) != id }

// one is the person that somebody is who may have been merged; who is none is unchanged.
func (c *classes) one(id syncengine.ID) syncengine.ID {
	if who, ok := c.index[id]; ok {
		return c.people[c.canonical(who)].id
	}
	return id
}

// personOf is the person that a record is about, zero where it says none.
func personOf(r *row) (id syncengine.ID) {
	if r.kind.Name == "person" {
		return r.rec.ID
	}
	if f := r.msg.Descriptor().Fields().ByName("person_id"); f != nil {
		id, _ = syncengine.ParseID(r.msg.Get(f).String())
	}
	return id
}

// tally counts which codes of a column enough people have in the set.
type tally struct {
	k     int
	value func(*row) any
	// least is the step from which on the column holds nothing; 0: it always does.
	least uint8
	// who is the person that a record is about, one for those that were merged.
	who func(syncengine.ID) syncengine.ID
	// people who have a code, up to k of them.
	people map[string]map[syncengine.ID]bool
}

func (v *veil) newTally(least uint8) *tally {
	return &tally{k: v.k, least: least, who: v.classes.one, people: map[string]map[syncengine.ID]bool{}}
}

func (t *tally) add(r *row) {
	code, ok := t.value(r).(string)
	if !ok || t.least > 0 && r.level >= t.least || len(t.people[code]) >= t.k {
		return
	}
	id := personOf(r)
	if id.IsZero() {
		id = r.rec.ID
	}
	id = t.who(id)
	if t.people[code] == nil {
		t.people[code] = map[syncengine.ID]bool{}
	}
	t.people[code][id] = true
}

func (t *tally) often(code string) bool { return len(t.people[code]) >= t.k }

// survey takes down who is alike, before anything is known of who will be in the set.
func (v *veil) survey(_ []*table, r *row) error {
	v.compare(r)
	return nil
}

// count takes down what is in the set, once it is known who is: what was dropped, or is not
// shown, hides nobody.
func (v *veil) count(of []*table, r *row) error {
	for _, h := range v.top {
		if h.of.kind == r.kind.Name {
			if n, ok := h.of.count(v, r); ok {
				h.add(n)
			}
		}
	}
	for _, t := range of {
		if err := t.each(r, func(r *row) error {
			for _, seen := range v.rare[t] {
				seen.add(r)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
