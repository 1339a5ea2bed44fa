package app

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

type referralFormData struct {
	Page                *web.Page
	Person, Encounter   string
	Name                string
	Sheet               *sheet
	ReferralID          string
	Needs, Urgencies    web.Field
	Recent              []string
	Missing             []string
	Stop                bool
	State, Target, Need string
	Steps               []web.Option
	Events              []lineItem
	Where               web.Status
	Outcomes            []web.Option
	Closed              bool
	Urgent              bool
	Places              []placeLine
	Only                map[string]bool
	// Part2 is the statement that goes with the record where the law asks for one.
	Part2 string
}

func (v *visit) referralLine(view *client.View) lineItem {
	l := lineItem{Href: "referral/" + view.ID.String(), At: v.at(view.Origin.AtMS), Where: v.where(view), Title: v.domain().KindLabel("referral", v.lang)}
	if m, ok := view.Message.(*tandemv1.Referral); ok {
		l.Title = v.domain().KindLabel("referral", v.lang) + ": " + v.code("need", m.GetNeed())
		l.About = join(m.GetTargetText(), v.code("urgency", m.GetUrgency()))
		l.Badge = cmp.Or(v.code("referral_outcome", m.GetOutcome()), v.code("referral_state", m.GetState()))
	}
	return l
}

// newReferralPage is the picker.
func (v *visit) newReferralPage() error {
	q := v.r.URL.Query()
	id, err := parseID(q.Get("id"))
	if err != nil {
		if id, err = v.dev.NewID(); err != nil {
			return err
		}
		return v.to("referral/new?id=" + id.String() + "&person=" + q.Get("person") + "&encounter=" + q.Get("encounter"))
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to("referral/" + id.String())
	}
	return v.showNewReferral(id.String(), q.Get("person"), q.Get("encounter"), nil)
}

func (v *visit) showNewReferral(id, person, encounter string, problems []record.Problem) error {
	d := &referralFormData{Page: v.page(v.t("newReferral")), Person: person, Encounter: encounter, ReferralID: id, Name: v.personName(person)}
	if d.Name == "" {
		// A draft that was found again tells no person.
		return client.ErrNotFound
	}
	var err error
	if d.Sheet, err = v.sheetOf("referral", id, &tandemv1.Referral{InfoShared: new("none")}, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		d.Page.Error = v.t("fillIn")
	}
	q := v.r.URL.Query()
	d.Only = map[string]bool{"open": q.Get("open") != "", "police": q.Get("police") != "", "es": q.Get("es") != ""}
	var need string
	if typed, err := v.typedIn("referral", id); err == nil && typed != nil && typed.Fields["need"] != nil {
		need = last(typed.Fields["need"].Values)
	}
	if d.Places, _, err = v.places(need, "", d.Only, 0, 12); err != nil {
		return err
	}
	// Where people were sent before stands at hand.
	recent, err := v.dev.List(v.ctx(), "referral", client.Filter{}, client.Newest, 80)
	if err != nil {
		return err
	}
	for _, view := range recent {
		if m, ok := view.Message.(*tandemv1.Referral); ok && m.GetTargetText() != "" && !slices.Contains(d.Recent, m.GetTargetText()) && len(d.Recent) < 6 {
			d.Recent = append(d.Recent, m.GetTargetText())
		}
	}
	return v.show("referral_form", d)
}

// newReferral makes the referral: offered, and urgent where it is for now.
func (v *visit) newReferral() error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	id, err := parseID(v.r.PostForm.Get("id"))
	if err != nil {
		return client.ErrNotFound
	}
	if err := v.posted("referral", id.String()); err != nil {
		return err
	}
	person, encounter := v.r.PostForm.Get("person"), v.r.PostForm.Get("encounter")
	m := &tandemv1.Referral{InfoShared: new("none")}
	if err := v.lay("referral", id.String(), m); err != nil {
		return err
	}
	if t := v.r.PostForm.Get("target"); t != "" && m.GetTargetText() == "" {
		m.TargetText = new(clip(t, 200))
	}
	if rid, err := parseID(v.r.PostForm.Get("resource")); err == nil {
		place, err := v.look("resource", rid)
		if err != nil {
			return err
		}
		if r, ok := place.Message.(*tandemv1.Resource); ok {
			m.ResourceId = new(rid.String())
			if m.GetTargetText() == "" {
				m.TargetText = new(clip(cmp.Or(r.GetServiceName().GetEn(), r.GetOrgName()), 200))
			}
		}
	}
	m.PersonId, m.State = &person, new("offered")
	if encounter != "" {
		m.EncounterId = &encounter
	}
	m.Events = []*tandemv1.ReferralEvent{{At: v.tapNow(), By: new(v.me.Person.String()), State: new("offered")}}
	if err := v.domain().EnsureElements(m, rand.Reader); err != nil {
		return err
	}
	var problems []record.Problem
	for _, p := range v.validate(m, record.Entry{NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn && !slices.Contains(p.Fields, "lifecycle") {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showNewReferral(id.String(), person, encounter, problems)
	}
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		if m.GetUrgency() == "now" {
			e.Class(tandemv1.Class_CLASS_URGENT)
		}
		_, err := e.Create(m, client.WithID(id))
		return err
	})
	if err != nil {
		return err
	}
	if err := v.forget("referral", id.String()); err != nil {
		return err
	}
	if encounter != "" {
		return v.to("encounter/" + encounter)
	}
	return v.to("person/" + person)
}

func (v *visit) referralPage() error {
	view, err := v.get("referral")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Referral)
	if !ok {
		return client.ErrNotFound
	}
	d := &referralFormData{
		Page: v.page(v.domain().KindLabel("referral", v.lang)), Person: m.GetPersonId(), Name: v.personName(m.GetPersonId()), Encounter: m.GetEncounterId(), ReferralID: view.ID.String(),
		State: v.code("referral_state", m.GetState()), Target: m.GetTargetText(), Need: v.code("need", m.GetNeed()), Where: v.where(view), Closed: m.GetState() == record.Closed,
		Urgent: m.GetUrgency() == "now", Part2: part2(view),
	}
	d.Page.Record, d.Page.Hash = view.ID.String(), v.a.typing.remember(view)
	if d.Closed {
		d.State = v.code("referral_outcome", m.GetOutcome())
	}
	for _, code := range v.domain().Next("referral_state", m.GetState()) {
		if code != record.Closed {
			d.Steps = append(d.Steps, web.Option{Code: code, Label: v.code("referral_state", code)})
		}
	}
	for _, c := range v.domain().Codes("referral_outcome") {
		d.Outcomes = append(d.Outcomes, web.Option{Code: c.Code, Label: v.code("referral_outcome", c.Code)})
	}
	for _, e := range m.GetEvents() {
		l := lineItem{Title: v.code("referral_state", e.GetState()), At: v.at(e.GetAt().GetAtMs()), About: e.GetReason()}
		if s := v.staff(e.GetBy()); s != nil {
			l.About = join(s.GetDisplayName(), l.About)
		}
		d.Events = append(d.Events, l)
	}
	slices.SortFunc(d.Events, func(a, b lineItem) int { return a.At.Compare(b.At) })
	if d.Sheet, err = v.sheetOf("referral", view.ID.String(), m, nil); err != nil {
		return err
	}
	return v.show("referral", d)
}

// stepReferral takes a referral a step on, or closes it with an outcome.
func (v *visit) stepReferral() error {
	view, err := v.settled("referral")
	if err != nil {
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.Referral)
	if !ok {
		return client.ErrNotFound
	}
	state, outcome := v.r.PostFormValue("state"), v.r.PostFormValue("outcome")
	if outcome != "" {
		state = record.Closed
		m.Outcome = &outcome
		if outcome == "connected" {
			m.VerifiedBy, m.ConnectedOn = new(cmp.Or(v.r.PostFormValue("verified_by"), "staff_present")), new(v.now().Format("2006-01-02"))
		}
	}
	if !slices.Contains(v.domain().Next("referral_state", m.GetState()), state) {
		return client.ErrNotFound
	}
	m.State = &state
	m.Events = append(m.Events, &tandemv1.ReferralEvent{At: v.tapNow(), By: new(v.me.Person.String()), State: &state})
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		if m.GetUrgency() == "now" {
			e.Class(tandemv1.Class_CLASS_URGENT)
		}
		if state == record.Closed {
			return e.Close(view, m, "")
		}
		return e.Set(view, m)
	})
	if err != nil {
		return fmt.Errorf("the step of a referral: %w", err)
	}
	return v.to("referral/" + view.ID.String())
}
