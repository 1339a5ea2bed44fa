package client

import (
	"fmt"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// columns knows which fields of a kind stand in columns of their own, so that lists
// and look-ups need not open bodies. Immutable.
type columns struct {
	domain *record.Domain
	kinds  map[uint32]*kindColumns
}

// kindColumns are the field numbers of one kind; 0 for a column it does not have.
type kindColumns struct {
	at, incident, person, parent, number, cadNumber uint32
	// words: the kind's records are found by the words of nameWords.
	words bool
}

// columnFields names the fields, by kind. A kind without an entry is listed by the
// time of its creation.
var columnFields = map[string]struct {
	at, incident, person, parent, number, cadNumber string
	words                                           bool
}{
	"agency":        {words: true},
	"program":       {words: true},
	"team":          {words: true},
	"staff":         {words: true},
	"device":        {words: true},
	"person":        {words: true},
	"incident":      {at: "received_at", number: "number", cadNumber: "cad_number"},
	"encounter":     {at: "started_at", incident: "incident_id", person: "person_id"},
	"referral":      {person: "person_id", parent: "encounter_id"},
	"note":          {parent: "target"},
	"resource":      {words: true},
	"alert_card":    {words: true},
	"episode":       {at: "opened_at", person: "person_id", parent: "encounter_id"},
	"follow_up":     {at: "due_at", person: "person_id", parent: "episode_id"},
	"consent":       {person: "person_id"},
	"form_response": {at: "answered_at", person: "person_id", parent: "encounter_id"},
	"disclosure":    {at: "at", person: "person_id", parent: "encounter_id"},
	"safety_alert":  {person: "person_id"},
	"attachment":    {parent: "owner"},
	"review":        {at: "at", parent: "target"},
}

// newColumns resolves the names; it fails where the contract has no such field.
func newColumns(d *record.Domain) (*columns, error) {
	c := &columns{domain: d, kinds: map[uint32]*kindColumns{}}
	for name, fields := range columnFields {
		kind := d.KindByName(name)
		if kind == nil {
			return nil, fmt.Errorf("the contract has no kind %s", name)
		}
		k := &kindColumns{words: fields.words}
		for field, into := range map[string]*uint32{
			fields.at: &k.at, fields.incident: &k.incident, fields.person: &k.person,
			fields.parent: &k.parent, fields.number: &k.number, fields.cadNumber: &k.cadNumber,
		} {
			if field == "" {
				continue
			}
			for number, rule := range kind.Fields {
				if rule.Name == field {
					*into = number
				}
			}
			if *into == 0 {
				return nil, fmt.Errorf("kind %s has no field %s", name, field)
			}
		}
		c.kinds[kind.Number] = k
	}
	return c, nil
}

// promoted are the columns of one record.
type promoted struct {
	at                       int64
	lifecycle                string
	incident, person, parent []byte
	number, cadNumber        *string
	words                    string
}

func (c *columns) promote(rec *syncengine.Record) (p promoted, err error) {
	p.lifecycle = rec.Lifecycle()
	k := c.kinds[rec.Kind]
	if k == nil {
		k = &kindColumns{}
	}
	at, known := int64(0), false
	if k.at != 0 {
		at, known = instantMS(rec.Field(k.at))
	}
	if !known {
		origin, err := rec.Origin()
		if err != nil {
			return p, fmt.Errorf("reading a record: %w", err)
		}
		at = origin.AtMS
	}
	p.at = at
	p.incident, p.person, p.parent = reference(rec, k.incident), reference(rec, k.person), reference(rec, k.parent)
	p.number, p.cadNumber = lookupText(rec, k.number), lookupText(rec, k.cadNumber)
	p.words, err = c.words(rec)
	return p, err
}

// words returns the words by which a record is found, empty for none.
func (c *columns) words(rec *syncengine.Record) (string, error) {
	k := c.kinds[rec.Kind]
	if k == nil || !k.words {
		return "", nil
	}
	msg, err := c.domain.Message(rec)
	if err != nil {
		return "", err
	}
	var words []string
	for _, w := range nameWords(msg) {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " "), nil
}

// instantMS returns the moment of a raw Instant, and whether it has one.
func instantMS(raw []byte) (int64, bool) {
	msg, ok := syncengine.RawString(raw)
	if !ok {
		return 0, false
	}
	var at tandemv1.Instant
	if err := proto.Unmarshal([]byte(msg), &at); err != nil || at.AtMs == nil {
		return 0, false
	}
	return at.GetAtMs(), true
}

// reference returns the id that a field holds, as text or in a RecordRef; nil for
// none.
func reference(rec *syncengine.Record, field uint32) []byte {
	if field == 0 {
		return nil
	}
	raw := rec.Field(field)
	text, ok := syncengine.RawString(raw)
	if !ok {
		return nil
	}
	if id, err := syncengine.ParseID(text); err == nil {
		return id[:]
	}
	var ref tandemv1.RecordRef
	if err := proto.Unmarshal([]byte(text), &ref); err != nil {
		return nil
	}
	if id, err := syncengine.ParseID(ref.GetId()); err == nil {
		return id[:]
	}
	return nil
}

// lookupText returns a field's text as look-ups compare it, nil for none.
func lookupText(rec *syncengine.Record, field uint32) *string {
	if field == 0 {
		return nil
	}
	text := foldText(rec.Text(field))
	if text == "" {
		return nil
	}
	return &text
}

func foldText(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// nameWords returns names, descriptor and phone digits.
func nameWords(msg proto.Message) []string {
	switch m := msg.(type) {
	case *tandemv1.Agency:
		return []string{m.GetName()}
	case *tandemv1.Program:
		return []string{m.GetName().GetEn(), m.GetName().GetEs()}
	case *tandemv1.Team:
		return []string{m.GetName()}
	case *tandemv1.Staff:
		return []string{m.GetDisplayName()}
	case *tandemv1.Device:
		return []string{m.GetLabel()}
	case *tandemv1.Resource:
		return []string{m.GetServiceName().GetEn(), m.GetServiceName().GetEs(), m.GetOrgName()}
	case *tandemv1.AlertCard:
		return []string{m.GetName()}
	case *tandemv1.Person:
		words := []string{m.GetDescriptor_()}
		for _, n := range m.GetNames() {
			words = append(words, n.GetGiven(), n.GetFamily())
		}
		for _, p := range m.GetPhones() {
			number := digits(p.GetNumber())
			words = append(words, number)
			// Numbers are typed with the country's code and without it.
			if local := 10; len(number) > local {
				words = append(words, number[len(number)-local:])
			}
		}
		return words
	}
	return nil
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// fieldName returns the name of a field of a kind, its number where this version
// does not know it.
func (c *columns) fieldName(kind *syncengine.Kind, number uint32) string {
	if kind != nil {
		if rule := kind.Fields[number]; rule != nil {
			return rule.Name
		}
	}
	return fmt.Sprintf("field %d", number)
}
