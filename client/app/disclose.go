package app

import (
	"slices"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func init() {
	sheets["disclosure"] = []section{{"secDisclosure", []spec{
		{name: "recipient", need: true}, {name: "basis", need: true}, {name: "what", need: true}, {name: "note", kind: "area"},
	}}}
}

// mayDisclose reports whether somebody may record what was passed on.
func (v *visit) mayDisclose() bool {
	return slices.Contains(v.me.Roles, "clinician") || slices.Contains(v.me.Roles, "lead")
}

// presetDisclosure is of what a page offers: a warning, or what is about to be printed.
func (v *visit) presetDisclosure() proto.Message {
	m := &tandemv1.Disclosure{}
	if basis := v.r.URL.Query().Get("basis"); basis != "" && v.domain().HasCode("disclosure_basis", basis) {
		m.Basis = &basis
	}
	return m
}

func (v *visit) newDisclosurePage() error {
	q := v.r.URL.Query()
	if _, err := parseID(q.Get("id")); err == nil {
		return v.newFormPage("disclosure", "disclosure", v.presetDisclosure)
	}
	id, err := v.dev.NewID()
	if err != nil {
		return err
	}
	q.Set("id", id.String())
	return v.to("disclosure/new?" + q.Encode())
}

// newDisclosure records what was passed on about a person, now and by who is here. Where it
// rests on consent it names the newest one that is in force.
func (v *visit) newDisclosure() error {
	var problem error
	err := v.makeForm("disclosure", "disclosure", v.presetDisclosure, func(msg proto.Message) {
		m, ok := msg.(*tandemv1.Disclosure)
		if !ok {
			return
		}
		m.PersonId, m.At, m.By, m.Lifecycle = new(v.r.PostForm.Get("person")), v.tapNow(), new(v.me.Person.String()), new("recorded")
		if id, err := parseID(v.r.URL.Query().Get("encounter")); err == nil {
			m.EncounterId = new(id.String())
		}
		if m.GetBasis() == "consent" {
			if person, err := parseID(m.GetPersonId()); err == nil {
				m.ConsentId, problem = v.consentFor(person)
			}
		}
	})
	if problem != nil {
		return problem
	}
	return err
}

// consentFor returns the newest consent by which something may be passed on, nil for none.
func (v *visit) consentFor(person syncengine.ID) (*string, error) {
	views, err := v.dev.List(v.ctx(), "consent", client.Filter{Person: person, Lifecycle: record.Active}, client.Newest, 20)
	if err != nil {
		return nil, err
	}
	today := v.now().Format(time.DateOnly)
	for _, view := range views {
		m, ok := view.Message.(*tandemv1.Consent)
		if ok && m.GetDecision() == "given" && len(m.GetRecipients()) > 0 && (m.GetExpiresOn() == "" || m.GetExpiresOn() >= today) {
			return new(view.ID.String()), nil
		}
	}
	return nil, nil //nolint:nilnil // None is an answer: the form says that one is needed.
}

// part2 is the statement that goes with a record of a substance use program, empty for
// others.
func part2(view *client.View) string {
	if view.Part2() {
		return record.Part2Notice
	}
	return ""
}
