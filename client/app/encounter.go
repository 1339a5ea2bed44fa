package app

import (
	"cmp"
	"slices"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

// newEncounter begins the contact with one person, or with nobody known.
func (v *visit) newEncounter() error {
	return v.beginEncounter(v.r.PathValue("id"), v.r.PostFormValue("person"), v.r.PostFormValue("identity"))
}

func (v *visit) beginEncounter(call, person, identity string) error {
	id, err := parseID(call)
	if err != nil {
		return client.ErrNotFound
	}
	if err := v.a.settle(v.ctx(), v.dev, "incident", call); err != nil {
		return err
	}
	view, err := v.look("incident", id)
	if err != nil {
		return err
	}
	in, ok := view.Message.(*tandemv1.Incident)
	if !ok {
		return client.ErrNotFound
	}
	started := in.GetArrivedAt()
	if started == nil {
		started = v.tapNow()
	}
	m := &tandemv1.Encounter{IncidentId: &call, Type: new("crisis_response"), StartedAt: &tandemv1.Instant{AtMs: new(started.GetAtMs()), Origin: new("tap")}}
	if pid, err := parseID(person); err == nil {
		who, err := v.look("person", pid)
		if err != nil {
			return err
		}
		m.PersonId, m.Identity = &person, new("identified")
		if p, ok := who.Message.(*tandemv1.Person); ok {
			if len(p.GetNames()) == 0 {
				m.Identity = new("partial")
			}
			if p.ApproxAge != nil {
				m.AgeYears = p.ApproxAge
			}
			if p.Housing != nil {
				m.Housing = p.Housing
			}
		}
	} else if v.domain().HasCode("identity", identity) {
		m.Identity = &identity
	}
	var made syncengine.ID
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		var err error
		if made, err = e.Create(m); err != nil {
			return err
		}
		if in.GetContact() == "" {
			after, ok := proto.Clone(in).(*tandemv1.Incident)
			if !ok {
				return client.ErrNotFound
			}
			after.Contact = new("contact_made")
			return e.Set(view, after)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.to("encounter/" + made.String())
}

type encounterData struct {
	Page    *web.Page
	ID      string
	Person  string
	Name    string
	Call    string
	Stop    bool
	Sheet   *sheet
	Where   web.Status
	State   string
	Signed  bool
	Mine    bool
	Missing []string
	Read    []readSection
	Refers  []lineItem
	Notes   []lineItem
	Forms   []lineItem
	At      time.Time
	Needs   int
	// Seen says when a lead has opened it, empty for never.
	Seen   string
	Flags  []string
	Safety approach
	Late   *late
	// Discloses: who is here records what is passed on.
	Discloses bool
}

// readSection is a part of a signed record, to be read.
type readSection struct {
	Title string
	Lines [][2]string
}

func (v *visit) encounterPage() error {
	view, err := v.get("encounter")
	if err != nil {
		return err
	}
	return v.showEncounter(view, nil, "")
}

func (v *visit) showEncounter(view *client.View, problems []record.Problem, failed string) error {
	m, ok := view.Message.(*tandemv1.Encounter)
	if !ok {
		return client.ErrNotFound
	}
	d := &encounterData{
		ID: view.ID.String(), Person: m.GetPersonId(), Name: cmp.Or(v.personName(m.GetPersonId()), v.code("identity", m.GetIdentity())), Call: m.GetIncidentId(),
		Where: v.where(view), State: v.code("lifecycle_encounter", view.Lifecycle), Signed: signed(view), Mine: view.Origin.Author == v.me.Person,
		At: v.at(view.Origin.AtMS), Needs: len(view.Conflicts), Discloses: v.mayDisclose(), Seen: v.seen(view.ID),
	}
	d.Page = v.page(d.Name)
	d.Page.Error = failed
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	if m.GetStartedAt() != nil {
		d.At = v.at(m.GetStartedAt().GetAtMs())
	}
	for _, p := range v.validate(m, record.Entry{Before: m, NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Missing {
			d.Flags = append(d.Flags, p.Text(v.lang))
		}
	}
	for _, p := range problems {
		d.Missing = append(d.Missing, p.Text(v.lang))
	}
	slices.Sort(d.Missing)
	d.Missing = slices.Compact(d.Missing)
	var err error
	if d.Late, err = v.late("encounter", view); err != nil {
		return err
	}
	if d.Signed {
		d.Read = v.read("encounter", m)
	} else if d.Sheet, err = v.sheetOf("encounter", d.ID, m, problems); err != nil {
		return err
	} else if failed != "" {
		d.Sheet.focus()
	}
	if pid, err := parseID(d.Person); err == nil {
		if d.Safety, err = v.approachOf(pid); err != nil {
			return err
		}
	}
	for kind, into := range map[string]*[]lineItem{"referral": &d.Refers, "note": &d.Notes, "form_response": &d.Forms} {
		views, err := v.dev.List(v.ctx(), kind, client.Filter{Parent: view.ID}, client.Oldest, 30)
		if err != nil {
			return err
		}
		for _, r := range views {
			if kind == "referral" {
				*into = append(*into, v.referralLine(r))
			} else if kind == "form_response" {
				if r.Lifecycle != record.Void {
					*into = append(*into, v.responseLine(r))
				}
			} else if n, ok := r.Message.(*tandemv1.Note); ok {
				*into = append(*into, lineItem{Href: "note/" + r.ID.String(), Title: v.code("note_type", n.GetType()), About: clip(n.GetText(), 100), At: v.at(r.Origin.AtMS), Where: v.where(r)})
			}
		}
	}
	return v.show("encounter", d)
}

// read lists what a record says.
func (v *visit) read(kind string, msg proto.Message) (out []readSection) {
	for _, sec := range sheets[kind] {
		s := readSection{Title: v.t(sec.key)}
		for _, sp := range sec.fields {
			values := valuesOf(msg, sp.name, v.a.o.Zone)
			if empty(values) {
				continue
			}
			text := values[0]
			if sp.kind != "area" {
				text = v.dated(cmp.Or(v.shownValue(kind, sp, values), v.plain(sp, values)))
			}
			s.Lines = append(s.Lines, [2]string{v.field(kind, sp).Label, text})
		}
		if len(s.Lines) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// plain is a value that has no code list.
func (v *visit) plain(sp spec, values []string) string {
	switch {
	case values[0] == "true":
		return v.t("yes")
	case values[0] == "false":
		return v.t("no")
	case sp.kind == "time":
		if at, err := time.ParseInLocation(timeInput, values[0], v.a.o.Zone); err == nil {
			return web.Day(v.lang, at) + " " + at.Format("15:04")
		}
	}
	return values[0]
}

// sign signs what the page shows, with what was typed on it.
func (v *visit) sign() error {
	view, err := v.settled("encounter")
	if err != nil {
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.Encounter)
	if !ok {
		return client.ErrNotFound
	}
	next := "encounter/" + view.ID.String()
	if call := m.GetIncidentId(); call != "" {
		next = "call/" + call
	}
	if signed(view) {
		return v.signedBefore("encounter", view, next)
	}
	if d, err := v.typedIn("encounter", view.ID.String()); err != nil || d != nil && len(d.Stuck) > 0 {
		if err == nil {
			return v.showEncounter(view, nil, v.t("signStuck"))
		}
		return err
	}
	if m.EndedAt == nil {
		m.EndedAt = v.tapNow()
	}
	var problems []record.Problem
	for _, p := range v.validate(m, record.Entry{Before: view.Message, Target: record.Signed, NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showEncounter(view, problems, v.t("signMissing"))
	}
	opens, err := v.opensEpisode(m)
	if err != nil {
		return err
	}
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		if opens != nil {
			if _, err := v.openEpisode(e, opens, view.ID.String()); err != nil {
				return err
			}
		}
		return e.Sign(view, m)
	}); err != nil {
		return err
	}
	return v.to(next)
}

// opensEpisode returns the person for whom an encounter's plan opens an episode, nil
// where it opens none or one is under way.
func (v *visit) opensEpisode(m *tandemv1.Encounter) (*client.View, error) {
	id, err := parseID(m.GetPersonId())
	if err != nil || m.GetFollowUpPlan() != "opened_episode" {
		return nil, nil //nolint:nilerr // Nobody is known: there is nobody to call.
	}
	if under, err := v.activeEpisode(id); err != nil || under != nil {
		return nil, err
	}
	return v.look("person", id)
}

// amend adds words to a signed encounter: an addendum, which is a note of its own.
func (v *visit) amend() error { return v.to("note/new?target=encounter&of=" + v.r.PathValue("id")) }
