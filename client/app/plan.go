package app

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
)

// plan is a person's safety plan as it is handed over: the answers in order, whom to call,
// and nothing else that is known of the person.
type plan struct {
	Title, Name, Team string
	// Made is the day on which it was signed.
	Made  string
	Parts []planPart
}

// planPart is a heading of the form with what was answered under it.
type planPart struct {
	Title string
	Asked []planAnswer
}

type planAnswer struct {
	Question string
	Lines    []string
}

// planOf is the safety plan that a response is; nil for another form, a draft, or one set
// aside.
func (v *visit) planOf(f *tandemv1.Form, m *tandemv1.FormResponse, lifecycle string) *plan {
	if !inForce(f, lifecycle) {
		return nil
	}
	p := &plan{Title: v.title(f), Name: v.calledOnPaper(m.GetPersonId()), Made: v.dated(v.at(m.GetAnsweredAt().GetAtMs()).Format(time.DateOnly))}
	if id, err := parseID(m.GetTeamId()); err == nil {
		if name := v.team(id).GetName(); name != "" {
			p.Team = v.domain().KindLabel("team", v.lang) + ": " + name
		}
	}
	given, heads := form.Of(m), map[string]string{}
	for _, it := range form.Evaluate(f.GetDefinition(), given).Items {
		text := strings.TrimSpace(it.GetPrefix() + " " + form.In(it.GetText(), v.lang))
		if it.GetType() == form.Group {
			heads[it.GetLinkId()] = text
			continue
		}
		var lines []string
		for _, val := range given[it.GetLinkId()] {
			lines = append(lines, form.Said(it.FormItem, val, v.lang, v.a.o.Zone))
		}
		if !it.Enabled || len(lines) == 0 {
			continue
		}
		head := heads[it.GetParent()]
		if len(p.Parts) == 0 || p.Parts[len(p.Parts)-1].Title != head {
			p.Parts = append(p.Parts, planPart{Title: head})
		}
		last := &p.Parts[len(p.Parts)-1]
		last.Asked = append(last.Asked, planAnswer{text, lines})
	}
	return p
}

// inForce reports whether a response to a form in a state is a safety plan that counts.
func inForce(f *tandemv1.Form, lifecycle string) bool {
	return f.GetCategory() == "safety_plan" && (lifecycle == record.Signed || lifecycle == record.Amended)
}

// calledOnPaper is a name for paper that others may find: the one that the person chose,
// else initials.
func (v *visit) calledOnPaper(id string) string {
	rid, err := parseID(id)
	if err != nil {
		return ""
	}
	view, err := v.dev.Get(v.ctx(), rid)
	if err != nil {
		return ""
	}
	p, _ := view.Message.(*tandemv1.Person)
	initials := ""
	for _, n := range p.GetNames() {
		if n.GetUse() == "chosen" {
			return strings.TrimSpace(cmp.Or(n.GetGiven(), n.GetFamily()))
		}
		if initials != "" {
			continue
		}
		for word := range strings.FieldsSeq(n.GetGiven() + " " + n.GetFamily()) {
			initials += string([]rune(word)[:1]) + ". "
		}
	}
	return strings.TrimSpace(initials)
}

// activePlan is the newest signed safety plan of a person, nil for none.
func (v *visit) activePlan(person syncengine.ID) (*lineItem, error) {
	views, err := v.dev.List(v.ctx(), "form_response", client.Filter{Person: person}, client.Newest, 0)
	if err != nil {
		return nil, err
	}
	var found *lineItem
	for _, view := range views {
		m, ok := view.Message.(*tandemv1.FormResponse)
		if !ok || view.Lifecycle != record.Signed && view.Lifecycle != record.Amended {
			continue
		}
		f, err := formOf(v.ctx(), v.dev, m)
		if err != nil {
			return nil, err
		}
		if l := v.responseLine(view); inForce(f, view.Lifecycle) && (found == nil || l.At.After(found.At)) {
			found = &l
		}
	}
	return found, nil
}

// approach is what to know before going up to somebody: alerts and the safety plan.
type approach struct {
	// Name stands where the page is about more than one person.
	Name   string
	Alerts []lineItem
	Plan   *lineItem
}

func (v *visit) approachOf(person syncengine.ID) (a approach, err error) {
	if a.Alerts, err = v.safety(person); err != nil {
		return a, err
	}
	a.Plan, err = v.activePlan(person)
	return a, err
}

// approaches are those of the persons of a call's encounters of whom something is known.
func (v *visit) approaches(encounters []*client.View) (out []approach, err error) {
	var seen []string
	for _, e := range encounters {
		m, _ := e.Message.(*tandemv1.Encounter)
		id, err := parseID(m.GetPersonId())
		if err != nil || e.Lifecycle == record.Void || slices.Contains(seen, m.GetPersonId()) {
			continue
		}
		seen = append(seen, m.GetPersonId())
		a, err := v.approachOf(id)
		if err != nil {
			return nil, err
		}
		if a.Name = v.personName(m.GetPersonId()); len(a.Alerts) > 0 || a.Plan != nil {
			out = append(out, a)
		}
	}
	return out, nil
}
