package simtest

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// careForms are the kinds that hang on people and visits, and that somebody edits.
var careForms = []string{"episode", "follow_up", "consent", "safety_alert", "form_response", "attachment"}

// careInputs are the fields of their forms.
var careInputs = []input{
	{"episode", "goals", text(clinicalMark, 300)},
	{"episode", "risk_at_open", code("low", "moderate", "high")},
	{"follow_up", "note", text(clinicalMark, 100)},
	{"follow_up", "needs", member("housing", "shelter", "unheard_of")},
	{"follow_up", "stability", code("better", "same", "worse")},
	{"consent", "purpose", text(clinicalMark, 60)},
	{"consent", "decision", code("given", "declined")},
	{"safety_alert", "text", text(clinicalMark, 100)},
	{"safety_alert", "audience", code("clinical", "team_with_le")},
	{"form_response", "lang", code("en", "es")},
	{"attachment", "title", text(clinicalMark, 40)},
}

// restored is the state in which a void record of a kind is restored, where that is not
// the state of most.
var restored = map[string]string{
	"incident": record.Open, "encounter": record.Draft, "note": record.Draft, "form_response": record.Draft,
	"follow_up": "planned", "safety_alert": "proposed", "review": "recorded",
}

// care is what comes after a visit: one or two records on a person or a visit that is on
// the screen, in one save.
func (w *World) care(d *device) ([]*tandemv1.RecordWrite, error) {
	people := w.shown(d, "person")
	if len(people) == 0 {
		return nil, nil
	}
	person, team := new(one(w, people).ID.String()), new(w.teamOf(d))
	owner := &tandemv1.RecordRef{Kind: new("person"), Id: person}
	msgs := map[syncengine.ID]proto.Message{}
	switch w.rng.IntN(6) {
	case 0:
		episode := w.newID()
		msgs[episode] = &tandemv1.Episode{TeamId: team, Lifecycle: new(record.Active), PersonId: person, WindowDays: new(uint32(60)), Goals: new(clinicalMark + "a home")}
		msgs[w.newID()] = &tandemv1.FollowUp{TeamId: team, Lifecycle: new("planned"), PersonId: person, EpisodeId: new(episode.String()), TargetHours: new(uint32(24))}
	case 1:
		msgs[w.newID()] = &tandemv1.FollowUp{TeamId: team, Lifecycle: new("planned"), PersonId: person, TargetHours: new(uint32(72)), Note: new(clinicalMark + "call first")}
	case 2:
		msgs[w.newID()] = &tandemv1.Consent{TeamId: team, Lifecycle: new(record.Active), PersonId: person, Type: new("treatment"), Decision: new("given"), Purpose: new(clinicalMark + "care")}
	case 3:
		msgs[w.newID()] = &tandemv1.SafetyAlert{TeamId: team, Lifecycle: new("proposed"), PersonId: person, Category: new("animal"), Text: new(clinicalMark + "a dog"), Audience: new("clinical")}
	case 4:
		msgs[w.newID()] = &tandemv1.FormResponse{TeamId: team, Lifecycle: new(record.Draft), PersonId: person, FormCode: new("wellbeing"), FormVersion: new(uint32(1)), Subject: new("person")}
	case 5:
		msgs[w.newID()] = &tandemv1.Attachment{TeamId: team, Lifecycle: new(record.Active), Owner: owner, Category: new("document"), Title: new(clinicalMark + "page 1")}
	}
	var writes []*tandemv1.RecordWrite
	for _, id := range sortedIDs(msgs) {
		c, err := w.createOf(id, msgs[id])
		if err != nil {
			return nil, err
		}
		writes = append(writes, c)
	}
	return writes, nil
}

// review is a lead who decides on a visit or a call; somebody else hardly ever tries.
func (w *World) review(d *device) ([]*tandemv1.RecordWrite, error) {
	seen := w.shown(d, "encounter", "incident")
	if len(seen) == 0 || !slices.Contains(d.person.roles, "lead") && !w.odds(10) {
		return nil, nil
	}
	on := one(w, seen)
	s, err := syncengine.Decode(&on.Record)
	if err != nil {
		return nil, err
	}
	hash := syncengine.HashSeen(s.Seen())
	c, err := w.createOf(w.newID(), &tandemv1.Review{
		TeamId: new(w.teamOf(d)), Lifecycle: new("recorded"), Decision: new("noted"), Comment: new(clinicalMark + "well done"),
		Target: &tandemv1.RecordRef{Kind: new(w.rules.Kind(on.Kind).Name), Id: new(on.ID.String())}, Rev: new(s.Rev), StateHash: hash[:],
	})
	w.seen("review")
	return []*tandemv1.RecordWrite{c}, err
}
