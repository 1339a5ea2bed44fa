package app

import (
	"crypto/rand"
	"errors"
	"slices"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

// opensCalls is the team for which a police partner opens calls, nil where there is none:
// its program has no clinician at the scene. Elsewhere a clinician opens them.
func (v *visit) opensCalls() (team syncengine.ID, of *tandemv1.Team) {
	if !v.officer() {
		return team, nil
	}
	for _, id := range v.me.Teams {
		m := v.team(id)
		pid, err := parseID(m.GetProgramId())
		if err != nil {
			continue
		}
		if view, err := v.dev.Get(v.ctx(), pid); err == nil && view.Lifecycle != record.Void {
			if p, ok := view.Message.(*tandemv1.Program); ok && p.GetModel() == "cit" {
				return id, m
			}
		}
	}
	return team, nil
}

type callFormData struct {
	Page    *web.Page
	ID      string
	Sheet   *sheet
	Missing []string
	Place   placeCard
}

// newOfficerCallPage is the form of a call that a police partner opens. They write the whole of
// it once: what they may change later are the police fields. Until then it is a draft.
func (v *visit) newOfficerCallPage() error {
	if _, team := v.opensCalls(); team == nil {
		return v.to("today")
	}
	id, err := parseID(v.r.URL.Query().Get("id"))
	if err != nil {
		if id, err = v.dev.NewID(); err != nil {
			return err
		}
		return v.to("call/new?id=" + id.String())
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to("call/" + id.String())
	}
	return v.showOfficerCall(id.String(), presetCall(), nil)
}

// presetCall is what a call starts from. No time is among it: the call is saved when it is
// over, and nothing but its author knows when it began.
func presetCall() *tandemv1.Incident {
	return &tandemv1.Incident{Source: new("dispatch_911"), ResponseMode: new("officer_only_cit")}
}

func (v *visit) showOfficerCall(id string, msg proto.Message, problems []record.Problem) error {
	d := &callFormData{Page: v.page(v.t("newCall")), ID: id}
	for _, p := range problems {
		d.Missing = append(d.Missing, p.Text(v.lang))
	}
	slices.Sort(d.Missing)
	if d.Missing = slices.Compact(d.Missing); len(problems) > 0 {
		d.Page.Error = v.t("fillIn")
	}
	var err error
	if d.Sheet, err = v.sheetOf("incident", id, msg, problems); err != nil {
		return err
	}
	m, ok := msg.(*tandemv1.Incident)
	rid, err := parseID(id)
	if !ok || err != nil {
		return client.ErrNotFound
	}
	at, err := v.placeTyped(&client.View{ID: rid, Message: m})
	if err != nil {
		return err
	}
	if d.Place, err = v.placeOf(at, nil); err != nil {
		return err
	}
	return v.show("call_form", d)
}

// newOfficerCall makes the call of what was typed.
func (v *visit) newOfficerCall() error {
	id, err := parseID(v.r.PostFormValue("id"))
	team, of := v.opensCalls()
	if err != nil || of == nil {
		return client.ErrNotFound
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to("call/" + id.String()) // The second tap of a glove.
	}
	if err := v.posted("incident", id.String()); err != nil {
		return err
	}
	m := presetCall()
	if err := v.lay("incident", id.String(), m); err != nil && !errors.Is(err, errValue) {
		return err
	}
	m.TeamId, m.ProgramId, m.Responders = new(team.String()), of.ProgramId, v.responders(shift{})
	if err := v.domain().EnsureElements(m, rand.Reader); err != nil {
		return err
	}
	var problems []record.Problem
	// What is asked of a call that is over is asked now: they cannot add it.
	m.Number = new("-")
	for _, p := range v.validate(m, record.Entry{Before: &tandemv1.Incident{Lifecycle: new("open")}, Target: record.Cleared, NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn && !slices.Contains(p.Fields, "lifecycle") {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showOfficerCall(id.String(), m, problems)
	}
	number, _, err := v.nextNumber()
	if err != nil {
		return err
	}
	m.Number = &number
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		_, err := e.Create(m, client.WithID(id))
		return err
	}); err != nil {
		return err
	}
	if err := v.forget("incident", id.String()); err != nil {
		return err
	}
	return v.to("call/" + id.String())
}
