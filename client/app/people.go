package app

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

type personLine struct {
	ID, Name, About string
	NoContact       bool
	Where           web.Status
}

type peopleData struct {
	Page *web.Page
	// For is the call for which somebody is looked for, empty for none.
	For, Text string
	Found     []personLine
	Recent    []personLine
	Searched  bool
}

// nameOf is what people call a person.
func nameOf(p *tandemv1.Person) string {
	for _, n := range p.GetNames() {
		if name := strings.TrimSpace(n.GetGiven() + " " + n.GetFamily()); name != "" {
			return name
		}
	}
	return p.GetDescriptor_()
}

// personName is that of the person of an id, empty where they are not here.
func (v *visit) personName(id string) string {
	rid, err := parseID(id)
	if err != nil {
		return ""
	}
	view, err := v.dev.Get(v.ctx(), rid)
	if err != nil {
		return ""
	}
	if p, ok := view.Message.(*tandemv1.Person); ok {
		return nameOf(p)
	}
	return ""
}

func (v *visit) personLine(view *client.View) personLine {
	l := personLine{ID: view.ID.String(), Where: v.where(view)}
	p, ok := view.Message.(*tandemv1.Person)
	if !ok {
		return l
	}
	l.Name, l.NoContact = nameOf(p), p.GetDoNotContact()
	about := p.GetDob()
	if about == "" && p.ApproxAge != nil {
		about = v.tf("about", p.GetApproxAge())
	}
	l.About = join(about, v.code("gender", p.GetGender()))
	if d := p.GetDescriptor_(); d != "" && d != l.Name {
		l.About = join(l.About, d)
	}
	return l
}

// search finds persons by what people call them.
func (v *visit) search(text string) (out []personLine, err error) {
	found, err := v.dev.Search(v.ctx(), text, 30)
	if err != nil {
		return nil, err
	}
	for _, view := range found {
		if view.Kind != nil && view.Kind.Name == "person" {
			out = append(out, v.personLine(view))
		}
	}
	return out, nil
}

func (v *visit) peopleData(call string) (*peopleData, error) {
	d := &peopleData{Page: v.page(v.t("navPeople")), For: call, Text: clip(v.r.URL.Query().Get("q"), 80)}
	var err error
	if d.Text != "" {
		d.Searched = true
		if d.Found, err = v.search(d.Text); err != nil {
			return nil, err
		}
	}
	recent, err := v.dev.List(v.ctx(), "person", client.Filter{}, client.Newest, 16)
	for _, view := range recent {
		if view.Lifecycle == record.Active && len(d.Recent) < 12 {
			d.Recent = append(d.Recent, v.personLine(view))
		}
	}
	return d, err
}

func (v *visit) people() error {
	d, err := v.peopleData("")
	if err != nil {
		return err
	}
	return v.show("people", d)
}

// found answers the script that searches while somebody types.
func (v *visit) found() error {
	d := &peopleData{Page: &web.Page{Base: v.a.path}, For: v.r.URL.Query().Get("for"), Text: clip(v.r.URL.Query().Get("q"), 80)}
	var err error
	if d.Text != "" {
		d.Searched = true
		if d.Found, err = v.search(d.Text); err != nil {
			return err
		}
	}
	return v.show("found", d)
}

// whoPage asks whom a call was with.
func (v *visit) whoPage() error {
	view, err := v.get("incident")
	if err != nil {
		return err
	}
	d, err := v.peopleData(view.ID.String())
	if err != nil {
		return err
	}
	d.Page.Title = v.t("who")
	return v.show("who", d)
}

type personFormData struct {
	Page  *web.Page
	For   string
	Sheet *sheet
	// Like are persons who may be the same: Same where name and birth date or phone are.
	Like []personLine
	Same bool
	New  bool
}

// newPersonPage is the form of a person whom nobody has seen. Its id is drawn now, so
// that what is typed has a place.
func (v *visit) newPersonPage() error {
	q := v.r.URL.Query()
	id, err := parseID(q.Get("id"))
	if err != nil {
		if id, err = v.dev.NewID(); err != nil {
			return err
		}
		return v.to("person/new?id=" + id.String() + "&for=" + q.Get("for"))
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to("person/" + id.String())
	}
	return v.showNewPerson(id, q.Get("for"), nil, false, nil)
}

func (v *visit) showNewPerson(id syncengine.ID, call string, like []personLine, strong bool, problems []record.Problem) error {
	d := &personFormData{Page: v.page(v.t("newPerson")), For: call, New: true, Like: like, Same: strong}
	var err error
	if d.Sheet, err = v.sheetOf("person", id.String(), &tandemv1.Person{}, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		d.Page.Error = problems[0].Text(v.lang)
	}
	status := http.StatusOK
	if len(like) > 0 || len(problems) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return v.showAs(status, "person_form", d)
}

// newPerson makes the person, after a look at those who may be the same.
func (v *visit) newPerson() error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	id, err := parseID(v.r.PostForm.Get("id"))
	if err != nil {
		return client.ErrNotFound
	}
	if err := v.posted("person", id.String()); err != nil {
		return err
	}
	call := v.r.PostForm.Get("for")
	p := &tandemv1.Person{}
	if err := v.lay("person", id.String(), p); err != nil {
		return err
	}
	if len(p.GetNames()) > 0 && p.GetNames()[0].Use == nil {
		p.Names[0].Use = new("legal")
	}
	if err := v.domain().EnsureElements(p, rand.Reader); err != nil {
		return err
	}
	var problems []record.Problem
	for _, pr := range v.validate(p, record.Entry{NowMS: v.a.o.Now().UnixMilli()}) {
		if !pr.Warn && !slices.Contains(pr.Fields, "lifecycle") {
			problems = append(problems, pr)
		}
	}
	if len(problems) > 0 {
		return v.showNewPerson(id, call, nil, false, problems)
	}
	if v.r.PostForm.Get("sure") == "" {
		like, strong, err := v.alike(p)
		if err != nil {
			return err
		}
		if len(like) > 0 {
			return v.showNewPerson(id, call, like, strong, nil)
		}
	}
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		_, err := e.Create(p, client.WithID(id))
		return err
	})
	if err != nil {
		return err
	}
	if err := v.forget("person", id.String()); err != nil {
		return err
	}
	if _, err := parseID(call); err == nil {
		return v.beginEncounter(call, id.String(), "identified")
	}
	return v.to("person/" + id.String())
}

// lay puts what is typed in a sheet into a message.
func (v *visit) lay(kind, id string, msg proto.Message) error {
	d, err := v.typedIn(kind, id)
	if err != nil || d == nil {
		return err
	}
	for name, f := range d.Fields {
		if err := apply(msg, name, f.Values, v.a.o.Zone); err != nil && !errors.Is(err, errValue) {
			return err
		}
	}
	return nil
}

// forget drops the typing of a sheet whose words are in a save.
func (v *visit) forget(kind, id string) error {
	v.a.typing.mu.Lock()
	defer v.a.typing.mu.Unlock()
	return v.a.drop(v.ctx(), v.dev, draftKey(kind, id))
}

// alike finds persons who may be the one that is about to be made: the same name, and
// more surely the same name with the same birth date or phone.
func (v *visit) alike(p *tandemv1.Person) (like []personLine, strong bool, err error) {
	tried := map[string]bool{}
	var asks []string
	for _, n := range p.GetNames() {
		asks = append(asks, strings.TrimSpace(n.GetGiven()+" "+n.GetFamily()))
	}
	for _, ph := range p.GetPhones() {
		asks = append(asks, ph.GetNumber())
	}
	for _, ask := range asks {
		if len(ask) < 3 {
			continue
		}
		found, err := v.dev.Search(v.ctx(), ask, 10)
		if err != nil {
			return nil, false, err
		}
		for _, view := range found {
			other, ok := view.Message.(*tandemv1.Person)
			if !ok || tried[view.ID.String()] {
				continue
			}
			tried[view.ID.String()] = true
			like = append(like, v.personLine(view))
			sameName := strings.EqualFold(nameOf(other), nameOf(p))
			strong = strong || sameName && (p.GetDob() != "" && p.GetDob() == other.GetDob() || phoneOf(p) != "" && phoneOf(p) == phoneOf(other))
		}
	}
	return like, strong, nil
}

func phoneOf(p *tandemv1.Person) string {
	for _, ph := range p.GetPhones() {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, ph.GetNumber())
	}
	return ""
}

func (v *visit) editPerson() error {
	view, err := v.get("person")
	if err != nil {
		return err
	}
	d := &personFormData{Page: v.page(v.t("editPerson"))}
	d.Page.Record, d.Page.Hash = view.ID.String(), v.a.typing.remember(view)
	problems := v.validate(view.Message, record.Entry{Before: view.Message, NowMS: v.a.o.Now().UnixMilli()})
	if d.Sheet, err = v.sheetOf("person", view.ID.String(), view.Message, problems); err != nil {
		return err
	}
	return v.show("person_form", d)
}

type personData struct {
	Page    *web.Page
	ID      string
	Name    string
	About   [][2]string
	Where   web.Status
	Reason  string
	Stop    bool
	Line    []lineItem
	Needs   int
	Refers  []lineItem
	Printed time.Time
	// Safety are alerts and the safety plan, Episode the one under way.
	Safety  approach
	Episode *lineItem
	// Discloses: who is here records what is passed on; Recorded: that was done, and it
	// is to be printed.
	Discloses, Recorded bool
	// Part2 is the statement that goes with the record where the law asks for one.
	Part2 string
}

// personPage is the timeline of a person.
func (v *visit) personPage() error {
	view, err := v.get("person")
	if err != nil {
		return err
	}
	p, ok := view.Message.(*tandemv1.Person)
	if !ok {
		return client.ErrNotFound
	}
	d := &personData{ID: view.ID.String(), Name: nameOf(p), Where: v.where(view), Stop: p.GetDoNotContact(), Reason: p.GetDoNotContactReason(), Needs: len(view.Conflicts), Printed: v.now()}
	d.Discloses, d.Recorded = v.mayDisclose(), v.mayDisclose() && v.r.URL.Query().Get("recorded") != ""
	d.Page, d.Part2 = v.page(d.Name), part2(view)
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	for _, sec := range sheets["person"][:3] {
		for _, sp := range sec.fields {
			values := valuesOf(p, sp.name, v.a.o.Zone)
			if empty(values) || strings.HasPrefix(sp.name, "names.") {
				continue
			}
			text := cmp.Or(v.shownValue("person", sp, values), strings.Join(values, ", "))
			if text == "true" {
				text = v.t("yes")
			}
			d.About = append(d.About, [2]string{v.domain().FieldLabel("person", sp.name, v.lang), text})
		}
	}
	if d.Safety, err = v.approachOf(view.ID); err != nil {
		return err
	}
	episode, err := v.activeEpisode(view.ID)
	if err != nil {
		return err
	}
	if episode != nil {
		l := v.episodeLine(episode)
		d.Episode = &l
	}
	if err := v.timeline(d, view.ID); err != nil {
		return err
	}
	return v.show("person", d)
}

// timeline lists what is about a person, the newest first.
func (v *visit) timeline(d *personData, id syncengine.ID) error {
	encounters, err := v.dev.List(v.ctx(), "encounter", client.Filter{Person: id}, client.Newest, 60)
	if err != nil {
		return err
	}
	for _, e := range encounters {
		l := v.encounterLine(e)
		if m, ok := e.Message.(*tandemv1.Encounter); ok {
			l.Title = v.code("encounter_type", m.GetType())
			l.About = join(l.About, clip(m.GetNarrative(), 120))
		}
		d.Line = append(d.Line, l)
	}
	referrals, err := v.dev.List(v.ctx(), "referral", client.Filter{Person: id}, client.Newest, 60)
	if err != nil {
		return err
	}
	for _, r := range referrals {
		d.Line = append(d.Line, v.referralLine(r))
	}
	notes, err := v.dev.List(v.ctx(), "note", client.Filter{Parent: id}, client.Newest, 60)
	if err != nil {
		return err
	}
	for _, n := range notes {
		l := lineItem{Href: "note/" + n.ID.String(), At: v.at(n.Origin.AtMS), Where: v.where(n), Badge: v.code("lifecycle_note", n.Lifecycle), Title: v.domain().KindLabel("note", v.lang)}
		if m, ok := n.Message.(*tandemv1.Note); ok {
			l.Title, l.About = v.code("note_type", m.GetType()), clip(m.GetText(), 140)
		}
		d.Line = append(d.Line, l)
	}
	for kind, line := range map[string]func(*client.View) lineItem{"episode": v.episodeLine, "consent": v.consentLine, "form_response": v.responseLine, "follow_up": func(f *client.View) lineItem { return v.followUpLine(f, false) }} {
		views, err := v.dev.List(v.ctx(), kind, client.Filter{Person: id}, client.Newest, 60)
		if err != nil {
			return err
		}
		for _, view := range views {
			if view.Lifecycle != "planned" && view.Lifecycle != "void" {
				d.Line = append(d.Line, line(view))
			}
		}
	}
	slices.SortStableFunc(d.Line, func(a, b lineItem) int { return b.At.Compare(a.At) })
	return nil
}

func (v *visit) episodeLine(view *client.View) lineItem {
	l := lineItem{Href: "episode/" + view.ID.String(), Title: v.domain().KindLabel("episode", v.lang), At: v.at(view.Origin.AtMS), Where: v.where(view), Badge: v.code("lifecycle_episode", view.Lifecycle)}
	if m, ok := view.Message.(*tandemv1.Episode); ok {
		l.About = v.tf("dayOf", int(v.a.o.Now().UnixMilli()-m.GetOpenedAt().GetAtMs())/(24*3600*1000)+1, m.GetWindowDays())
	}
	return l
}

// until says the last day of something, empty for none.
func (v *visit) until(day string) string {
	if day == "" {
		return ""
	}
	return v.t("until") + " " + v.dated(day)
}

// dated says a day as people do; what is none it leaves as it is.
func (v *visit) dated(day string) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return v.tf("dayOfYear", web.Day(v.lang, at), at.Year())
}

func (v *visit) consentLine(view *client.View) lineItem {
	l := lineItem{Href: "consent/" + view.ID.String(), Title: v.domain().KindLabel("consent", v.lang), At: v.at(view.Origin.AtMS), Where: v.where(view), Badge: v.code("lifecycle_consent", view.Lifecycle)}
	if m, ok := view.Message.(*tandemv1.Consent); ok {
		l.About = join(v.code("consent_type", m.GetType()), v.until(m.GetExpiresOn()))
	}
	return l
}
