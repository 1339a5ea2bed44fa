package app

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

type shiftData struct {
	Page  *web.Page
	Shift shift
	// On: it is under way, since Began.
	On        bool
	Began     time.Time
	Team      web.Field
	Crew      web.Field
	Mode      web.Field
	Source    web.Field
	TeamNames string
}

// home leads to the shift where none was begun.
func (v *visit) home() error {
	if v.a.prefs.current().BeganMS == 0 && !v.officer() {
		return v.to("shift")
	}
	return v.to("today")
}

// shiftPage confirms unit and crew, prefilled from the last shift.
func (v *visit) shiftPage() error {
	s := v.a.prefs.current()
	// What would be chosen is.
	s.work(v.dev)
	d := &shiftData{Page: v.page(v.t("shiftTitle")), Shift: s, On: s.BeganMS != 0, Began: v.at(s.BeganMS)}
	staff, err := v.dev.List(v.ctx(), "staff", client.Filter{Lifecycle: "active"}, client.Oldest, 200)
	if err != nil {
		return err
	}
	d.Team = web.Field{Name: "team", Kind: "chips", Label: v.domain().FieldLabel("incident", "team_id", v.lang)}
	for _, id := range v.me.Teams {
		if m := v.team(id); m != nil && len(v.me.Teams) > 1 {
			d.Team.Options = append(d.Team.Options, web.Option{Code: id.String(), Label: m.GetName(), On: s.Team == id.String()})
		}
	}
	d.Crew = web.Field{Name: "crew", Kind: "chips", Many: true, Label: v.t("crew")}
	for _, view := range staff {
		m, ok := view.Message.(*tandemv1.Staff)
		if !ok || view.ID == v.me.Person || !v.sameTeam(m) {
			continue
		}
		id := view.ID.String()
		d.Crew.Options = append(d.Crew.Options, web.Option{Code: id, Label: m.GetDisplayName() + " · " + v.domain().Label("discipline", m.GetDiscipline(), v.lang), On: slices.Contains(s.Crew, id)})
	}
	d.Mode = v.field("incident", spec{name: "response_mode"})
	d.Mode.Fill([]string{cmp.Or(s.Mode, "co_response")})
	if d.Source, err = v.sourceField(s); err != nil {
		return err
	}
	d.Source.Label = v.t("usualSource")
	return v.show("shift", d)
}

func (v *visit) sameTeam(m *tandemv1.Staff) bool {
	for _, id := range v.me.Teams {
		if slices.Contains(m.GetTeamIds(), id.String()) {
			return true
		}
	}
	return false
}

func (v *visit) beginShift() error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	s := v.a.prefs.current()
	s.Unit = clip(strings.ToUpper(strings.TrimSpace(v.r.PostForm.Get("unit"))), 12)
	s.Crew = slices.DeleteFunc(v.r.PostForm["crew"], func(id string) bool { return id == "" })
	s.Team = cmp.Or(last(v.r.PostForm["team"]), s.Team)
	s.Mode = cmp.Or(last(v.r.PostForm["response_mode"]), "co_response")
	s.Source = cmp.Or(last(v.r.PostForm["source"]), "dispatch_911")
	s.Police = false
	for _, id := range s.Crew {
		if m := v.staff(id); m != nil && m.GetDiscipline() == "officer" {
			s.Police = true
		}
	}
	if s.BeganMS == 0 {
		s.BeganMS = v.a.o.Now().UnixMilli()
	}
	if err := v.setShift(s); err != nil {
		return err
	}
	return v.to("today")
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func (v *visit) endShift() error {
	s := v.a.prefs.current()
	s.BeganMS = 0
	if err := v.setShift(s); err != nil {
		return err
	}
	return v.to("shift")
}

// team returns the record of a team, nil where it is not here.
func (v *visit) team(id syncengine.ID) *tandemv1.Team {
	view, err := v.dev.Get(v.ctx(), id)
	if err != nil {
		return nil
	}
	m, _ := view.Message.(*tandemv1.Team)
	return m
}

// staff returns a staff record, nil where it is not here.
func (v *visit) staff(id string) *tandemv1.Staff {
	rid, err := parseID(id)
	if err != nil {
		return nil
	}
	view, err := v.dev.Get(v.ctx(), rid)
	if err != nil {
		return nil
	}
	m, _ := view.Message.(*tandemv1.Staff)
	return m
}
