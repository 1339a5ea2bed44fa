package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/docs/packs"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"google.golang.org/protobuf/proto"
)

// clinical reports whether a police partner's device must never hold a record.
func clinical(c tandemv1.Compartment) bool {
	return c != tandemv1.Compartment_COMPARTMENT_REF && c != tandemv1.Compartment_COMPARTMENT_OPS
}

// call is what the story remembers of its first call.
type call struct {
	incident, person, encounter, referral syncengine.ID
}

// shown is the message that a screen shows, to be changed and saved.
func shown[M proto.Message](v *client.View) (m M, err error) {
	m, ok := v.Message.(M)
	if !ok {
		return m, errors.New("a record is of another kind than the story says")
	}
	return m, nil
}

// play plays the night.
func (s *shift) play() error {
	var first call
	for _, scene := range []func(*call) error{
		s.begin, s.noSignal, s.signal, s.partner, s.disagree, s.resolve, s.sign, s.handOver,
	} {
		if err := scene(&first); err != nil {
			return err
		}
	}
	return nil
}

// begin brings everybody on line.
func (s *shift) begin(*call) error {
	if err := s.at(22, 2, "start of shift"); err != nil {
		return err
	}
	if err := s.publish(packs.SafetyPlan); err != nil {
		return err
	}
	s.tell("Start of shift. Maya and Luis are clinicians of the night team, Dale is its officer. All three devices have signal.")
	return s.settle()
}

// noSignal takes a call's records with no network.
func (s *shift) noSignal(c *call) error {
	if err := s.at(22, 31, "first call"); err != nil {
		return err
	}
	s.maya.gate.set(false)
	s.tell("Maya's car drops into a valley: no signal. Dispatch had sent her to a man on a footbridge.")
	saved, err := s.maya.dev.Edit(s.a.ctx, func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		var err error
		if c.incident, err = e.Create(s.incident("C12-260314-01", 22, 14)); err != nil {
			return err
		}
		if c.person, err = e.Create(&tandemv1.Person{Descriptor_: new("man, 40s, red coat")}); err != nil {
			return err
		}
		c.encounter, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(c.incident.String()), PersonId: new(c.person.String()),
			Identity: new("partial"), Type: new("crisis_response"), StartedAt: s.instant(),
			PresentingPrimary: new("suicidal_ideation"), Substance: new("alcohol"),
			DangerSelf: new("moderate"), DangerOthers: new("none"), CannotCareForSelf: new("no"),
			Interventions: []string{"deescalation", "safety_plan"},
			LegalStatus:   new("voluntary"),
			Narrative:     new("Met him at the railing. Calm after twenty minutes, agreed to step back and talk in the car."),
		})
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.sync(s.maya); !errors.Is(err, client.ErrNetwork) {
		return fmt.Errorf("a sync without signal: %w", err)
	}
	s.tell("She saves the call, the person and the encounter in the car (save %d, %d records). Saved here; nothing sent yet.", saved.Op, len(saved.Records))
	if err := s.at(22, 58, "first call"); err != nil {
		return err
	}
	v, err := s.maya.dev.Get(s.a.ctx, c.encounter)
	if err != nil {
		return err
	}
	e, err := shown[*tandemv1.Encounter](v)
	if err != nil {
		return err
	}
	e.Disposition = new("left_with_support")
	e.EndedAt = s.instant()
	e.FollowUpPlan = new("opened_episode")
	e.CfEd, e.CfArrest, e.CfHold = new("yes"), new("no"), new("unknown")
	e.CfSource = new("clinician_judgment")
	if _, err := s.maya.dev.Edit(s.a.ctx, func(edit *client.Edit) error { return edit.Set(v, e) }); err != nil {
		return err
	}
	_, err = s.maya.dev.Edit(s.a.ctx, func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		var err error
		c.referral, err = e.Create(&tandemv1.Referral{
			PersonId: new(c.person.String()), EncounterId: new(c.encounter.String()), Need: new("crisis_bed"),
			Urgency: new("now"), State: new("offered"), TargetText: new("Crisis living room"), InfoShared: new("none"),
		})
		return err
	})
	s.tell("Still no signal: she completes the encounter and offers him a crisis bed.")
	return err
}

// signal brings the work to everybody.
func (s *shift) signal(c *call) error {
	if err := s.at(23, 10, "signal's return"); err != nil {
		return err
	}
	s.maya.gate.set(true)
	moved, err := s.sync(s.maya)
	if err != nil {
		return err
	}
	s.tell("Signal. Everything Maya saved goes up, the urgent referral first with what it names: %d saves, %d bytes.", moved.Applied, moved.BytesUp)
	if _, err := s.sync(s.luis); err != nil {
		return err
	}
	if _, err := s.luis.dev.Get(s.a.ctx, c.encounter); err != nil {
		return fmt.Errorf("the encounter on Luis's device: %w", err)
	}
	s.tell("Luis opens the encounter on his tablet.")
	return nil
}

// partner shows the wall, and the officer's own fields.
func (s *shift) partner(c *call) error {
	if err := s.at(23, 14, "officer's part"); err != nil {
		return err
	}
	if _, err := s.sync(s.dale); err != nil {
		return err
	}
	v, err := s.dale.dev.Get(s.a.ctx, c.incident)
	if err != nil {
		return fmt.Errorf("the call on Dale's device: %w", err)
	}
	if _, err := s.dale.dev.Get(s.a.ctx, c.encounter); !errors.Is(err, client.ErrNotFound) {
		return fmt.Errorf("the encounter on Dale's device: %w", err)
	}
	s.tell("Dale's device has the call: place, times, units. It has no person, no encounter, no referral, and never will.")
	in, err := shown[*tandemv1.Incident](v)
	if err != nil {
		return err
	}
	in.LeInvolvement = new("partner_on_team")
	in.LeActions = []string{"standby"}
	in.ForceUsed = new("no")
	in.LeClearedAt = s.instant()
	if _, err := s.dale.dev.Edit(s.a.ctx, func(e *client.Edit) error { return e.Set(v, in) }); err != nil {
		return err
	}
	s.tell("He adds what the police did: stood by, no force, left early.")
	_, err = s.sync(s.dale)
	return err
}

// disagree makes a real conflict: two people, one field, neither saw the other's.
func (s *shift) disagree(c *call) error {
	if err := s.at(23, 40, "disagreement"); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	s.maya.gate.set(false)
	s.luis.gate.set(false)
	s.tell("Both cars lose signal. Each of them reaches the man by phone, half an hour apart.")
	for _, one := range []struct {
		m            *member
		hour, minute int
		change       func(*tandemv1.Person)
		words        string
	}{
		{s.maya, 23, 52, func(p *tandemv1.Person) { p.Housing, p.DoNotContact = new("housed"), new(true) },
			"he is at his sister's tonight, and asks not to be called again"},
		{s.luis, 0, 21, func(p *tandemv1.Person) { p.Housing, p.DoNotContact = new("unsheltered"), new(false) },
			"he has left his sister's and is outside; calls are welcome"},
	} {
		if err := s.at(one.hour, one.minute, "disagreement"); err != nil {
			return err
		}
		v, err := one.m.dev.Get(s.a.ctx, c.person)
		if err != nil {
			return err
		}
		p, err := shown[*tandemv1.Person](v)
		if err != nil {
			return err
		}
		one.change(p)
		if _, err := one.m.dev.Edit(s.a.ctx, func(edit *client.Edit) error { return edit.Set(v, p) }); err != nil {
			return err
		}
		s.tell("%s writes: %s.", one.m.name, one.words)
	}
	if err := s.at(0, 40, "disagreement"); err != nil {
		return err
	}
	s.maya.gate.set(true)
	s.luis.gate.set(true)
	if err := s.settle(); err != nil {
		return err
	}
	for _, m := range []*member{s.maya, s.luis, s.dale} {
		open, err := m.dev.Conflicts(s.a.ctx)
		if err != nil {
			return err
		}
		if want := m != s.dale; want != (len(open) > 0) {
			return fmt.Errorf("%s sees %d records in conflict", m.name, len(open))
		}
	}
	v, err := s.maya.dev.Get(s.a.ctx, c.person)
	if err != nil {
		return err
	}
	p, err := shown[*tandemv1.Person](v)
	if err != nil {
		return err
	}
	if !p.GetDoNotContact() || len(v.Conflicts) != 2 {
		return errors.New("the two versions do not stand side by side with the careful one displayed")
	}
	s.tell("Signal. Both versions are kept side by side on both screens. Until a person settles it, the careful answer shows: do not call.")
	return nil
}

// resolve settles the conflict by a human's choice.
func (s *shift) resolve(c *call) error {
	if err := s.at(0, 55, "settlement"); err != nil {
		return err
	}
	v, err := s.maya.dev.Get(s.a.ctx, c.person)
	if err != nil {
		return err
	}
	for _, conflict := range v.Conflicts {
		// Luis spoke to him last: his answers stand, chosen by a person and not by
		// a clock.
		i := slices.IndexFunc(conflict.Choices, func(ch client.Choice) bool { return ch.Author == s.home.second })
		if i < 0 {
			return fmt.Errorf("no choice for %s is Luis's", conflict.Field)
		}
		if v, err = s.maya.dev.Get(s.a.ctx, c.person); err != nil {
			return err
		}
		if _, err := s.maya.dev.Resolve(s.a.ctx, v, conflict.Path, client.Choose{Stamp: conflict.Choices[i].Stamp}); err != nil {
			return err
		}
	}
	s.tell("They talk. Luis spoke to him last, so Maya settles it his way: outside, and glad of a call. Who wrote and who chose stays on record.")
	if err := s.settle(); err != nil {
		return err
	}
	open, err := s.maya.dev.Conflicts(s.a.ctx)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return errors.New("the conflict is settled and still shown")
	}
	return nil
}

// sign signs the encounter and closes the call.
func (s *shift) sign(c *call) error {
	if err := s.at(1, 30, "signature"); err != nil {
		return err
	}
	v, err := s.maya.dev.Get(s.a.ctx, c.encounter)
	if err != nil {
		return err
	}
	e, err := shown[*tandemv1.Encounter](v)
	if err != nil {
		return err
	}
	if _, err := s.maya.dev.Edit(s.a.ctx, func(edit *client.Edit) error { return edit.Sign(v, e) }); err != nil {
		return err
	}
	in, err := s.maya.dev.Get(s.a.ctx, c.incident)
	if err != nil {
		return err
	}
	cleared, err := shown[*tandemv1.Incident](in)
	if err != nil {
		return err
	}
	cleared.ClearedAt = s.instant()
	cleared.Contact = new("contact_made")
	if _, err := s.maya.dev.Edit(s.a.ctx, func(edit *client.Edit) error { return edit.Close(in, cleared, "cleared") }); err != nil {
		return err
	}
	s.tell("Maya signs the encounter and clears the call.")
	if err := s.plan(c); err != nil {
		return err
	}
	return s.settle()
}

// publish puts a form of a pack in force in the clinicians' agency.
func (s *shift) publish(pack []byte) error {
	f, _, err := form.Import(pack)
	if err != nil {
		return err
	}
	id, err := s.home.admin.AddForm(s.a.ctx, s.home.clinic, f)
	if err != nil {
		return err
	}
	return s.home.admin.PublishForm(s.a.ctx, id)
}

// plan fills in a safety plan with the person of the call, and signs it.
func (s *shift) plan(c *call) error {
	forms, err := s.maya.dev.List(s.a.ctx, "form", client.Filter{}, client.Oldest, 1)
	if err != nil || len(forms) == 0 {
		return cmp.Or(err, errors.New("no form is on the device"))
	}
	f, err := shown[*tandemv1.Form](forms[0])
	if err != nil {
		return err
	}
	m := &tandemv1.FormResponse{
		FormId: new(forms[0].ID.String()), FormCode: f.Code, FormVersion: f.Version, Subject: f.Subject, PersonId: new(c.person.String()), Lang: new("en"), Respondent: new("self"),
		AnsweredAt: s.instant(), Answers: []*tandemv1.FormAnswer{
			form.Answer("notice.signs", form.Words("I stop answering the phone"), form.Words("I do not sleep")),
			form.Answer("self.helps", form.Words("Walk to the river")), form.Answer("self.matters", form.Words("My sister")),
			form.Answer("people.call", form.Words("Ada, 217 555 0111")), form.Answer("place.reach", form.Words("Ada keeps the pills")),
		},
	}
	var id syncengine.ID
	if _, err := s.maya.dev.Edit(s.a.ctx, func(e *client.Edit) error {
		id, err = e.Create(m)
		return err
	}); err != nil {
		return err
	}
	v, err := s.maya.dev.Get(s.a.ctx, id)
	if err != nil {
		return err
	}
	if _, err := s.maya.dev.Edit(s.a.ctx, func(e *client.Edit) error { return e.Sign(v, v.Message) }); err != nil {
		return err
	}
	s.tell("They have made a safety plan together: it stands with the person's alerts, and prints for them to take along.")
	return nil
}

// handOver fills the rest of the night with shorter calls, signal or not.
func (s *shift) handOver(*call) error {
	for i, minute := range []int{5, 22, 41} {
		if err := s.at(3, minute, "later calls"); err != nil {
			return err
		}
		m := []*member{s.luis, s.maya, s.luis}[i]
		m.gate.set(i == 1)
		if _, err := m.dev.Edit(s.a.ctx, func(e *client.Edit) error {
			in := s.incident(fmt.Sprintf("C%d-260315-%02d", 12+i, i+1), 3, minute-4)
			in.CallType = new([]string{"welfare_check", "unsheltered_person", "intoxicated_person"}[i])
			_, err := e.Create(in)
			return err
		}); err != nil {
			return err
		}
		s.tell("%s takes a %s, %s signal.", m.name, []string{"welfare check", "call for a man without shelter", "call for someone drunk"}[i], map[bool]string{true: "with", false: "without"}[i == 1])
	}
	if err := s.at(6, 5, "end of shift"); err != nil {
		return err
	}
	s.maya.gate.set(true)
	s.luis.gate.set(true)
	s.tell("End of shift: everybody is in range.")
	return s.settle()
}

// incident is a call with what must be known of it when it opens.
func (s *shift) incident(number string, hour, minute int) *tandemv1.Incident {
	return &tandemv1.Incident{
		Number: new(number), Source: new("dispatch_911"), CallType: new("suicide_threat"),
		ResponseMode: new("co_response"), PlaceType: new("street_public"), RiskLevel: new("high"),
		DispatchedAt: s.instantAt(hour, minute), ArrivedAt: s.instant(),
		Responders: []*tandemv1.Responder{{Name: new("Night team"), OnSceneRole: new("social_worker")}},
	}
}

func (s *shift) instant() *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(s.clock.now().UnixMilli()), Origin: new("tap")}
}

func (s *shift) instantAt(hour, minute int) *tandemv1.Instant {
	at := s.clock.now()
	at = at.Truncate(24 * 3600e9).Add(0)
	ms := at.UnixMilli() + int64(hour)*3600_000 + int64(minute)*60_000
	return &tandemv1.Instant{AtMs: &ms, Origin: new("tap")}
}
