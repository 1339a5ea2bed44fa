package app

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

func init() {
	sheets["follow_up"] = []section{{"secFollowUp", []spec{
		{name: "mode", need: true}, {name: "stability"}, {name: "service_use"}, {name: "needs", more: true}, {name: "note", kind: "area"},
	}}}
	sheets["episode"] = []section{{"secEpisode", []spec{{name: "goals", kind: "area"}, {name: "risk_at_open"}, {name: "needs_at_close"}}}}
	sheets["consent"] = []section{
		{"secConsent", []spec{
			{name: "type", need: true}, {name: "decision", need: true}, {name: "signer", need: true}, {name: "signer_name", when: "signer=guardian,agent", need: true},
			{name: "method", need: true}, {name: "witness", when: "method=verbal_witnessed", need: true},
		}},
		{"secRelease", []spec{
			{name: "discloser", when: releases}, {name: "recipients.name", when: releases}, {name: "purpose", when: releases}, {name: "info_scope", when: releases, kind: "area"},
			{name: "expires_on", kind: "date"}, {name: "no_expiry"},
		}},
	}
	sheets["safety_alert"] = []section{{"secAlert", []spec{
		{name: "category", need: true}, {name: "text", kind: "area", need: true}, {name: "address"}, {name: "audience", need: true}, {name: "basis", when: "audience=team_with_le", need: true},
		{name: "expires_on", kind: "date", need: true},
	}}}
}

// releases are the types of consent that let something be passed on.
const releases = "type=release,network_sharing,le_sharing,part2_*"

// activeEpisode returns the episode of a person that is under way, nil for none.
func (v *visit) activeEpisode(person syncengine.ID) (*client.View, error) {
	views, err := v.dev.List(v.ctx(), "episode", client.Filter{Person: person}, client.Newest, 20)
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		if view.Lifecycle == "active" || view.Lifecycle == "on_hold" {
			return view, nil
		}
	}
	return nil, nil
}

// openEpisode adds an episode of a person and its ladder of calls to a save.
func (v *visit) openEpisode(e *client.Edit, person *client.View, encounter string) (syncengine.ID, error) {
	m := &tandemv1.Episode{OpenedAt: v.tapNow()}
	if encounter != "" {
		m.EncounterId = &encounter
	}
	return e.OpenEpisode(v.ctx(), person, m)
}

func (v *visit) newEpisode() error {
	person, err := v.get("person")
	if err != nil {
		return err
	}
	if view, err := v.activeEpisode(person.ID); err != nil || view != nil {
		if err == nil {
			err = v.to("episode/" + view.ID.String())
		}
		return err
	}
	var id syncengine.ID
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		var err error
		id, err = v.openEpisode(e, person, "")
		return err
	}); err != nil {
		return err
	}
	return v.to("episode/" + id.String())
}

type episodeData struct {
	Page              *web.Page
	ID, Person, Name  string
	State             string
	Day, Window       int
	Sheet             *sheet
	Where             web.Status
	Ladder            []lineItem
	Closed            bool
	Reasons           []web.Option
	Ends              time.Time
	Opened            time.Time
	HoldTo, HoldWords string
}

func (v *visit) episodePage() error {
	view, err := v.get("episode")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Episode)
	if !ok {
		return client.ErrNotFound
	}
	d := &episodeData{
		Page: v.page(v.domain().KindLabel("episode", v.lang)), ID: view.ID.String(), Person: m.GetPersonId(), Name: v.personName(m.GetPersonId()),
		State: v.code("lifecycle_episode", view.Lifecycle), Window: int(m.GetWindowDays()), Where: v.where(view), Closed: view.Lifecycle == record.Closed,
		Opened: v.at(m.GetOpenedAt().GetAtMs()),
	}
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	d.Day = int(v.a.o.Now().Sub(d.Opened)/(24*time.Hour)) + 1
	d.Ends = d.Opened.AddDate(0, 0, d.Window)
	d.HoldTo, d.HoldWords = "on_hold", v.t("putOnHold")
	if view.Lifecycle == "on_hold" {
		d.HoldTo, d.HoldWords = "active", v.t("takeUp")
	}
	for _, c := range v.domain().Codes("episode_close_reason") {
		if !c.Retired && c.Code != record.NotRecorded {
			d.Reasons = append(d.Reasons, web.Option{Code: c.Code, Label: v.code("episode_close_reason", c.Code)})
		}
	}
	if d.Sheet, err = v.sheetOf("episode", d.ID, m, nil); err != nil {
		return err
	}
	calls, err := v.dev.List(v.ctx(), "follow_up", client.Filter{Parent: view.ID}, client.Oldest, 60)
	if err != nil {
		return err
	}
	for _, f := range calls {
		d.Ladder = append(d.Ladder, v.followUpLine(f, false))
	}
	return v.show("episode", d)
}

// stepEpisode holds, takes up or closes an episode.
func (v *visit) stepEpisode() error {
	view, err := v.settled("episode")
	if err != nil {
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.Episode)
	if !ok {
		return client.ErrNotFound
	}
	to, reason := v.r.PostFormValue("lifecycle"), v.r.PostFormValue("reason")
	if reason != "" {
		to = record.Closed
		m.CloseReason, m.ClosedAt = &reason, v.tapNow()
	}
	if !slices.Contains(v.domain().Next("lifecycle_episode", view.Lifecycle), to) {
		return client.ErrNotFound
	}
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		if to == record.Closed {
			return e.Close(view, m, record.Closed)
		}
		m.Lifecycle = &to
		return e.Set(view, m)
	})
	if err != nil {
		return err
	}
	return v.to("episode/" + view.ID.String())
}

func (v *visit) followUpLine(view *client.View, withName bool) lineItem {
	l := lineItem{Href: "followup/" + view.ID.String(), At: v.at(view.Origin.AtMS), Where: v.where(view), Badge: v.code("lifecycle_follow_up", view.Lifecycle)}
	m, ok := view.Message.(*tandemv1.FollowUp)
	if !ok {
		return l
	}
	if m.GetDueAt() != nil {
		l.At = v.at(m.GetDueAt().GetAtMs())
	}
	if m.GetOccurredAt() != nil {
		l.At = v.at(m.GetOccurredAt().GetAtMs())
	}
	l.Title = v.tf("callAfter", span(m.GetTargetHours()))
	if m.TargetHours == nil {
		l.Title = v.domain().KindLabel("follow_up", v.lang)
	}
	if withName {
		l.About, l.Title = l.Title, v.personName(m.GetPersonId())
	}
	if o := m.GetOutcome(); o != "" {
		l.About = join(l.About, v.code("follow_up_outcome", o))
	}
	if view.Lifecycle == "planned" && l.At.Before(v.now()) {
		l.Badge = v.t("overdue")
	}
	return l
}

// span is a number of hours as both languages write it.
func span(hours uint32) string {
	if hours%24 == 0 && hours > 24 {
		return fmt.Sprintf("%d d", hours/24)
	}
	return fmt.Sprintf("%d h", hours)
}

// mostDue is how many calls that are due the first page shows at once.
const mostDue = 30

// due lists the calls that are due within a day.
func (v *visit) due() (out []lineItem, err error) {
	views, err := v.dev.List(v.ctx(), "follow_up", client.Filter{Lifecycle: "planned", ToMS: v.a.o.Now().Add(24 * time.Hour).UnixMilli()}, client.Oldest, 1000)
	for _, view := range views {
		out = append(out, v.followUpLine(view, true))
	}
	return out, err
}

type followUpData struct {
	Page                        *web.Page
	ID, Person, Name, Episode   string
	Title, State, Phone, Result string
	Due                         time.Time
	Sheet                       *sheet
	Done, Stop                  bool
	Outcomes                    []web.Option
	Where                       web.Status
}

func (v *visit) followUpPage() error {
	view, err := v.get("follow_up")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.FollowUp)
	if !ok {
		return client.ErrNotFound
	}
	l := v.followUpLine(view, false)
	d := &followUpData{
		Page: v.page(v.domain().KindLabel("follow_up", v.lang)), ID: view.ID.String(), Person: m.GetPersonId(), Name: v.personName(m.GetPersonId()), Episode: m.GetEpisodeId(),
		Title: l.Title, State: l.Badge, Due: l.At, Done: view.Lifecycle != "planned", Where: l.Where, Result: v.code("follow_up_outcome", m.GetOutcome()),
	}
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	if pid, err := parseID(d.Person); err == nil {
		if who, err := v.dev.Get(v.ctx(), pid); err == nil {
			if p, ok := who.Message.(*tandemv1.Person); ok {
				d.Stop = p.GetDoNotContact()
				if len(p.GetPhones()) > 0 {
					ph := p.GetPhones()[0]
					d.Phone = ph.GetNumber()
					for field, safe := range map[string]bool{"phones.safe_call": ph.GetSafeCall(), "phones.safe_voicemail": ph.GetSafeVoicemail()} {
						if safe {
							d.Phone += " · " + v.domain().FieldLabel("person", field, v.lang)
						}
					}
				}
			}
		}
	}
	for _, c := range v.domain().Codes("follow_up_outcome") {
		if !c.Retired && c.Code != record.NotRecorded {
			d.Outcomes = append(d.Outcomes, web.Option{Code: c.Code, Label: v.code("follow_up_outcome", c.Code)})
		}
	}
	if d.Sheet, err = v.sheetOf("follow_up", d.ID, m, nil); err != nil {
		return err
	}
	return v.show("followup", d)
}

// logFollowUp logs a call in one tap on how it went.
func (v *visit) logFollowUp() error {
	view, err := v.settled("follow_up")
	if err != nil {
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.FollowUp)
	if !ok || view.Lifecycle != "planned" {
		return client.ErrNotFound
	}
	m.Lifecycle, m.Outcome, m.OccurredAt = new("done"), new(v.r.PostFormValue("outcome")), v.tapNow()
	if m.Mode == nil {
		m.Mode = new("phone")
	}
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Set(view, m) }); err != nil {
		return err
	}
	return v.to("today")
}

type formData struct {
	Page         *web.Page
	ID, Person   string
	Name         string
	Encounter    string
	Basis        string
	Sheet        *sheet
	Missing      []string
	Read         []readSection
	Where        web.Status
	State        string
	Ink          string
	Active, Mine bool
	Police       bool
	// MoreConsents is how many are asked for to see more; 0 where there are no more.
	MoreConsents int
}

// newFormPage is the form of a record about a person that is made with a button.
func (v *visit) newFormPage(kind, page string, preset func() proto.Message) error {
	q := v.r.URL.Query()
	id, err := parseID(q.Get("id"))
	if err != nil {
		if id, err = v.dev.NewID(); err != nil {
			return err
		}
		return v.to(page + "/new?id=" + id.String() + "&person=" + q.Get("person"))
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to(page + "/" + id.String())
	}
	return v.showForm(kind, page, id.String(), q.Get("person"), preset(), nil)
}

func (v *visit) showForm(kind, page, id, person string, msg proto.Message, problems []record.Problem) error {
	d := &formData{Page: v.page(v.t("new." + kind)), ID: id, Person: person, Name: v.personName(person), Encounter: v.r.FormValue("encounter"), Basis: v.r.URL.Query().Get("basis")}
	if d.Name == "" {
		return client.ErrNotFound
	}
	for _, p := range problems {
		d.Missing = append(d.Missing, p.Text(v.lang))
	}
	if len(problems) > 0 {
		d.Page.Error = v.t("fillIn")
	}
	var err error
	if d.Sheet, err = v.sheetOf(kind, id, msg, problems); err != nil {
		return err
	}
	if kind == "disclosure" {
		fields := d.Sheet.Sections[0].Fields
		at := slices.IndexFunc(fields, func(f web.Field) bool { return f.Name == "consent_id" })
		if d.MoreConsents, err = v.offerConsents(&fields[at], person); err != nil {
			return err
		}
	}
	return v.show(page+"_form", d)
}

// makeForm makes a record of a form: preset is what it starts from, finish adds what the
// form does not ask.
func (v *visit) makeForm(kind, page string, preset func() proto.Message, finish func(proto.Message)) error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	id, err := parseID(v.r.PostForm.Get("id"))
	if err != nil {
		return client.ErrNotFound
	}
	if err := v.posted(kind, id.String()); err != nil {
		return err
	}
	person := v.r.PostForm.Get("person")
	msg := preset()
	if err := v.lay(kind, id.String(), msg); err != nil && !errors.Is(err, errValue) {
		return err
	}
	finish(msg)
	if err := v.domain().EnsureElements(msg, rand.Reader); err != nil {
		return err
	}
	var problems []record.Problem
	for _, p := range v.validate(msg, record.Entry{NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn && !slices.Contains(p.Fields, "lifecycle") {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showForm(kind, page, id.String(), person, msg, problems)
	}
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		if kind == "safety_alert" {
			e.Class(tandemv1.Class_CLASS_URGENT)
		}
		_, err := e.Create(msg, client.WithID(id))
		return err
	}); err != nil {
		return err
	}
	if err := v.forget(kind, id.String()); err != nil {
		return err
	}
	if kind == "disclosure" {
		// What is printed now was recorded before.
		return v.to("person/" + person + "?recorded=1")
	}
	return v.to("person/" + person)
}

func (v *visit) presetConsent() proto.Message {
	return &tandemv1.Consent{Decision: new("given"), Signer: new("person"), Method: new("esign"), Lang: &v.lang}
}

func (v *visit) newConsentPage() error { return v.newFormPage("consent", "consent", v.presetConsent) }

func (v *visit) newConsent() error {
	return v.makeForm("consent", "consent", v.presetConsent, func(msg proto.Message) {
		m, ok := msg.(*tandemv1.Consent)
		if !ok {
			return
		}
		m.PersonId, m.GivenOn = new(v.r.PostForm.Get("person")), new(v.now().Format(time.DateOnly))
		if ink := v.r.PostForm.Get("signature"); ink != "" {
			m.Signature = &ink
		}
		if m.GetDecision() == "declined" {
			m.Lifecycle = new("declined")
		} else if m.ExpiresOn == nil && m.NoExpiry == nil {
			m.ExpiresOn = new(v.now().AddDate(1, 0, 0).Format(time.DateOnly))
		}
	})
}

func (v *visit) presetAlert() proto.Message {
	return &tandemv1.SafetyAlert{Audience: new("clinical"), ExpiresOn: new(v.now().AddDate(0, 0, 90).Format(time.DateOnly))}
}

func (v *visit) newAlertPage() error { return v.newFormPage("safety_alert", "alert", v.presetAlert) }

// newAlert proposes an alert; one for clinicians alone is in force at once.
func (v *visit) newAlert() error {
	return v.makeForm("safety_alert", "alert", v.presetAlert, func(msg proto.Message) {
		m, ok := msg.(*tandemv1.SafetyAlert)
		if !ok {
			return
		}
		m.PersonId, m.Lifecycle = new(v.r.PostForm.Get("person")), new("proposed")
		if m.GetAudience() == "clinical" && slices.Contains(v.me.Roles, "clinician") {
			m.Lifecycle = new("active")
		}
	})
}

func (v *visit) readPage(kind, page string) (*formData, *client.View, error) {
	view, err := v.get(kind)
	if err != nil {
		return nil, nil, err
	}
	d := &formData{Page: v.page(v.domain().KindLabel(kind, v.lang)), ID: view.ID.String(), Read: v.read(kind, view.Message), Where: v.where(view), Mine: view.Origin.Author == v.me.Person}
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	d.State = v.code("lifecycle_"+kind, view.Lifecycle)
	d.Active = view.Lifecycle == record.Active
	_ = page
	return d, view, nil
}

func (v *visit) consentPage() error {
	d, view, err := v.readPage("consent", "consent")
	if err != nil {
		return err
	}
	if m, ok := view.Message.(*tandemv1.Consent); ok {
		d.Person, d.Name, d.Ink = m.GetPersonId(), v.personName(m.GetPersonId()), m.GetSignature()
	}
	return v.show("consent", d)
}

// revoke takes a consent back, from today.
func (v *visit) revoke() error {
	view, err := v.get("consent")
	if err != nil {
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.Consent)
	if !ok {
		return client.ErrNotFound
	}
	m.Lifecycle, m.RevokedOn = new("revoked"), new(v.now().Format(time.DateOnly))
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		return e.Set(view, m)
	}); err != nil {
		return err
	}
	return v.to("consent/" + view.ID.String())
}

func (v *visit) alertPage() error {
	d, view, err := v.readPage("safety_alert", "alert")
	if err != nil {
		return err
	}
	if m, ok := view.Message.(*tandemv1.SafetyAlert); ok {
		d.Person, d.Name, d.Police = m.GetPersonId(), v.personName(m.GetPersonId()), m.GetAudience() == "team_with_le"
	}
	return v.show("alert", d)
}

// safety lists the alerts of a person that are in force, or proposed.
func (v *visit) safety(person syncengine.ID) (out []lineItem, err error) {
	today := v.now().Format(time.DateOnly)
	views, err := v.first("safety_alert", client.Filter{Person: person}, client.Newest, 20, func(view *client.View) bool {
		m, ok := view.Message.(*tandemv1.SafetyAlert)
		return ok && (view.Lifecycle == "active" || view.Lifecycle == "proposed") && m.GetExpiresOn() >= today
	})
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		out = append(out, v.alertLine(view))
	}
	return out, nil
}

// alertLine is an alert as a list shows it.
func (v *visit) alertLine(view *client.View) lineItem {
	l := lineItem{Href: "alert/" + view.ID.String(), At: v.at(view.Origin.AtMS), Where: v.where(view)}
	if m, ok := view.Message.(*tandemv1.SafetyAlert); ok {
		l.Title, l.About = v.code("alert_category", m.GetCategory()), m.GetText()
	}
	if view.Lifecycle == "proposed" {
		l.Badge = v.code("lifecycle_safety_alert", view.Lifecycle)
	}
	return l
}

type cardLine struct {
	Name, Address, Category, Text, Until string
}

// cards lists the alert cards that the team with its police partner sees.
func (v *visit) cards() (out []cardLine, err error) {
	today := v.now().Format(time.DateOnly)
	views, err := v.first("alert_card", client.Filter{Lifecycle: record.Active}, client.Newest, placeAlertsRead, func(view *client.View) bool {
		m, ok := view.Message.(*tandemv1.AlertCard)
		return ok && (m.GetExpiresOn() == "" || m.GetExpiresOn() >= today)
	})
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		if m, ok := view.Message.(*tandemv1.AlertCard); ok {
			out = append(out, cardLine{m.GetName(), m.GetAddress(), v.code("alert_category", m.GetCategory()), m.GetText(), v.dated(m.GetExpiresOn())})
		}
	}
	return out, nil
}

type cardsData struct {
	Page  *web.Page
	Cards []cardLine
}

func (v *visit) cardsPage() error {
	d := &cardsData{Page: v.page(v.t("safetyCards"))}
	var err error
	if d.Cards, err = v.cards(); err != nil {
		return err
	}
	return v.show("cards", d)
}

type placeLine struct {
	ID, Name, Org, Needs, Address, Phone, Tel, Langs, About, Capacity string
	Open, Known, Police, WalkIn                                       bool
}

type directoryData struct {
	Page   *web.Page
	Places []placeLine
	Need   web.Field
	Only   map[string]bool
	Text   string
	None   bool
	// More leads to the next places, empty where there are none.
	More string
}

// directory is offline; 988 stands on top of it, also where it is empty.
func (v *visit) directory() error {
	q := v.r.URL.Query()
	d := &directoryData{Page: v.page(v.t("navDirectory")), Only: map[string]bool{"open": q.Get("open") != "", "police": q.Get("police") != "", "es": q.Get("es") != ""}, Text: clip(q.Get("q"), 60)}
	d.Need = v.field("referral", spec{name: "need"})
	d.Need.Fill([]string{q.Get("need")})
	var err error
	from, _ := strconv.Atoi(q.Get("from"))
	from = min(max(from, 0), 1<<20)
	var more bool
	if d.Places, more, err = v.places(q.Get("need"), d.Text, d.Only, from, mostPlaces); err != nil {
		return err
	}
	d.None = len(d.Places) == 0
	if more {
		q.Set("from", strconv.Itoa(from+mostPlaces))
		d.More = "directory?" + q.Encode()
	}
	return v.show("directory", d)
}

// serves reports whether a service is for a need, or for what the need is a kind of.
func (v *visit) serves(m *tandemv1.Resource, need string) bool {
	core := v.own().Core("need", need)
	return slices.ContainsFunc(m.GetCategory(), func(c string) bool { return c == need || c == core })
}

// mostPlaces is how many places a page of the directory shows, and placesRead how many of the
// directory are read together.
const mostPlaces, placesRead = 100, 400

// places are services of the directory that fit, from one on at most so many, and whether
// there are more. Of the whole directory the open ones come first.
func (v *visit) places(need, text string, only map[string]bool, from, most int) (out []placeLine, more bool, err error) {
	keep := from + most + 1
	for read, all := 0, false; !all; read += placesRead {
		var views []*client.View
		if text != "" {
			views, err = v.dev.Search(v.ctx(), text, most)
		} else {
			views, err = v.dev.List(v.ctx(), "resource", client.Filter{Lifecycle: record.Active, Skip: read}, client.Oldest, placesRead)
		}
		if err != nil {
			return nil, false, err
		}
		for _, view := range views {
			if l, ok := v.placeLine(view, need, only); ok {
				out = append(out, l)
			}
		}
		slices.SortStableFunc(out, func(a, b placeLine) int {
			if a.Open != b.Open {
				return map[bool]int{true: -1, false: 1}[a.Open]
			}
			return strings.Compare(a.Name, b.Name)
		})
		out, all = out[:min(len(out), keep)], text != "" || len(views) < placesRead
	}
	last := min(from+most, len(out))
	return out[min(from, last):last], len(out) > last, nil
}

// placeLine is a service as a list shows it, where it fits.
func (v *visit) placeLine(view *client.View, need string, only map[string]bool) (l placeLine, ok bool) {
	m, ok := view.Message.(*tandemv1.Resource)
	if !ok || m.GetStatus() != "active" || need != "" && !v.serves(m, need) {
		return l, false
	}
	l = placeLine{
		ID: view.ID.String(), Name: cmp.Or(m.GetServiceName().GetEn(), m.GetOrgName()), Org: m.GetOrgName(), Address: join(m.GetAddress(), m.GetCity()), Langs: strings.Join(m.GetLangs(), ", "),
		About: clip(m.GetDescription(), 160), Capacity: v.code("resource_capacity", m.GetCapacity()), Police: m.GetAcceptsPoliceDropoff(), WalkIn: m.GetAcceptsWalkIn(),
	}
	if es := m.GetServiceName().GetEs(); v.lang == "es" && es != "" {
		l.Name = es
	}
	for _, c := range m.GetCategory() {
		l.Needs = join(l.Needs, v.code("need", c))
	}
	if len(m.GetPhones()) > 0 {
		l.Phone = m.GetPhones()[0].GetNumber()
		l.Tel = "tel:" + strings.ReplaceAll(l.Phone, " ", "")
	}
	l.Open, l.Known = openNow(m, v.now())
	return l, (!only["open"] || l.Known && l.Open) && (!only["police"] || l.Police) && (!only["es"] || slices.Contains(m.GetLangs(), "es"))
}

var weekdays = []string{"su", "mo", "tu", "we", "th", "fr", "sa"}

// openNow says whether a service is open, and whether that is known. Hours that end no
// later than they begin end on the next day.
func openNow(m *tandemv1.Resource, now time.Time) (open, known bool) {
	if m.GetOpen_24_7() {
		return true, true
	}
	clock := now.Format("15:04")
	today, before := weekdays[now.Weekday()], weekdays[(now.Weekday()+6)%7]
	for _, h := range m.GetHours() {
		over := h.GetCloses() <= h.GetOpens()
		switch {
		case h.GetByday() == today && clock >= h.GetOpens() && (over || clock < h.GetCloses()), h.GetByday() == before && over && clock < h.GetCloses():
			return true, true
		}
	}
	return false, len(m.GetHours()) > 0
}
