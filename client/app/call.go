package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// undo is what was done lately, the last at the end, as long as it can be taken back.
type undo struct {
	mu    sync.Mutex
	steps []step
	// count is the number of the last step.
	count uint64
}

// step is one tap that can be taken back. Its button says its number, so that a finger that
// taps twice takes back one.
type step struct {
	number uint64
	record syncengine.ID
	words  string
	fields []string
	before proto.Message
	until  time.Time
}

// last is the last step on a record, or on any, that can be taken back at a time; nil for
// none. The caller holds undo.mu.
func (u *undo) last(id string, now time.Time) *step {
	u.steps = slices.DeleteFunc(u.steps, func(s step) bool { return !now.Before(s.until) })
	for i := len(u.steps) - 1; i >= 0; i-- {
		if id == "" || u.steps[i].record.String() == id {
			return &u.steps[i]
		}
	}
	return nil
}

// open reports whether a record has a step that can be taken back.
func (u *undo) open(id syncengine.ID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last(id.String(), now) != nil
}

// did notes what can be taken back: fields of a record, as they were.
func (v *visit) did(view *client.View, words string, fields ...string) {
	u := &v.a.undo
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	u.steps = append(u.steps, step{u.count, view.ID, words, fields, proto.Clone(view.Message), v.a.o.Now().Add(undoFor)})
}

// undoFor offers to take back what was done to a record, or to any.
func (v *visit) undoFor(id string) *web.Undo {
	u := &v.a.undo
	u.mu.Lock()
	defer u.mu.Unlock()
	now := v.a.o.Now()
	s := u.last(id, now)
	if s == nil {
		return nil
	}
	// The clock of the page may be another than that of the app.
	return &web.Undo{
		Action: "call/" + s.record.String() + "/undo", Words: s.words, UntilMS: time.Now().Add(s.until.Sub(now)).UnixMilli(),
		Values: []web.Hidden{{Name: "step", Value: strconv.FormatUint(s.number, 10)}},
	}
}

// takeBack undoes the tap that the button named, unless that is done or it is too late.
func (v *visit) takeBack() error {
	u := &v.a.undo
	u.mu.Lock()
	var back step
	named := v.r.PostFormValue("step")
	i := slices.IndexFunc(u.steps, func(s step) bool {
		return s.record.String() == v.r.PathValue("id") && strconv.FormatUint(s.number, 10) == named && v.a.o.Now().Before(s.until)
	})
	if i >= 0 {
		// It cannot be taken back twice.
		back = u.steps[i]
		u.steps = slices.Delete(u.steps, i, i+1)
	}
	u.mu.Unlock()
	if i >= 0 {
		view, err := v.get("incident")
		if err != nil {
			return err
		}
		after := proto.Clone(view.Message)
		for _, name := range back.fields {
			from, into := back.before.ProtoReflect(), after.ProtoReflect()
			fd := into.Descriptor().Fields().ByName(protoreflect.Name(name))
			if from.Has(fd) {
				into.Set(fd, proto.Clone(back.before).ProtoReflect().Get(fd))
			} else {
				into.Clear(fd)
			}
		}
		if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Set(view, after) }); err != nil {
			return err
		}
	}
	return v.to("call/" + v.r.PathValue("id"))
}

// newCall makes a call with one tap: its type. What else is known comes from the shift.
func (v *visit) newCall() error {
	kind := v.r.PostFormValue("type")
	if !v.domain().HasCode("call_type", kind) && v.own().Core("call_type", kind) == kind {
		return client.ErrNotFound
	}
	number, s, err := v.nextNumber()
	if err != nil {
		return err
	}
	source := cmp.Or(s.Source, "dispatch_911")
	if said := last(v.r.PostForm["source"]); slices.ContainsFunc(v.offered("incident_source"), func(o web.Option) bool { return o.Code == said }) {
		source = said
	}
	m := &tandemv1.Incident{
		Number: &number, Source: &source, CallType: &kind,
		ResponseMode: new(cmp.Or(s.Mode, "co_response")), DispatchedAt: v.tapNow(), Responders: v.responders(s),
	}
	if s.Police {
		m.LeInvolvement = new("partner_on_team")
	}
	var id syncengine.ID
	_, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		var err error
		id, err = e.Create(m)
		return err
	})
	if err != nil {
		return err
	}
	return v.to("call/" + id.String())
}

// nextNumber is that of the next call of this device, and the shift that has counted it.
func (v *visit) nextNumber() (string, shift, error) {
	s := v.a.prefs.current()
	if day := v.now().Format("060102"); s.Day != day {
		s.Day, s.Calls = day, 0
	}
	s.Calls++
	return fmt.Sprintf("%s-%s-%02d", cmp.Or(s.Unit, clip(v.me.Label, 8)), s.Day, s.Calls), s, v.setShift(s)
}

func (v *visit) tapNow() *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(v.a.o.Now().UnixMilli()), Origin: new("tap")}
}

// responders are who works here, and the crew.
func (v *visit) responders(s shift) []*tandemv1.Responder {
	var out []*tandemv1.Responder
	for _, id := range append([]string{v.me.Person.String()}, s.Crew...) {
		r := &tandemv1.Responder{StaffId: &id}
		if m := v.staff(id); m != nil {
			r.Name, r.OnSceneRole = new(m.GetDisplayName()), new(m.GetDiscipline())
		} else if id == v.me.Person.String() {
			r.Name = new(v.me.Name)
		}
		out = append(out, r)
	}
	return out
}

// taps are the timers of a call, in order.
var taps = []string{"dispatched_at", "enroute_at", "arrived_at", "cleared_at"}

type timer struct {
	Field, Label string
	At           time.Time
	Since        int64
	Done, Next   bool
	Taps         bool
}

type callData struct {
	Page       *web.Page
	Call       callLine
	Message    *tandemv1.Incident
	Timers     []timer
	Where      web.Status
	Sheet      *sheet
	Encounters []lineItem
	// Approach is what to know of the persons of the call.
	Approach []approach
	// Place is what to know of its address.
	Place   placeCard
	Officer bool
	Open    bool
	// Arrived: somebody is there, and the call can have a result.
	Arrived, Closing bool
	Missing          []string
	Crew             string
	UntilMS          int64
	Conflicts        int
}

type lineItem struct {
	Href, Title, About string
	At                 time.Time
	Where              web.Status
	Badge              string
	// Place is the address that it names, where a page is about one.
	Place string
}

func (v *visit) callPage() error {
	view, err := v.get("incident")
	if err != nil {
		return err
	}
	return v.showCall(view, nil)
}

func (v *visit) showCall(view *client.View, problems []record.Problem) error {
	m, ok := view.Message.(*tandemv1.Incident)
	if !ok {
		return client.ErrNotFound
	}
	d := &callData{Call: v.callLine(view), Message: m, Where: v.where(view), Officer: v.officer(), Open: view.Lifecycle == "open", Conflicts: len(view.Conflicts)}
	d.Page = v.page(d.Call.Type)
	d.Page.Record, d.Page.Hash = view.ID.String(), v.a.typing.remember(view)
	d.Page.Undo = v.undoFor(view.ID.String())
	d.Arrived = m.GetArrivedAt() != nil
	d.Closing = d.Open && m.GetClearedAt() != nil && m.GetContact() != ""
	for _, r := range m.GetResponders() {
		d.Crew = join(d.Crew, r.GetName())
	}
	next := false
	for _, name := range taps {
		at, _ := instantOf(m, name)
		t := timer{Field: name, Label: v.domain().FieldLabel("incident", name, v.lang), Taps: d.Open && !d.Officer && (name != "cleared_at" || d.Arrived)}
		if at != nil {
			t.Done, t.At, t.Since = true, v.at(at.GetAtMs()), at.GetAtMs()
		} else if !next && t.Taps && name != "cleared_at" && (name != "enroute_at" || m.GetArrivedAt() == nil) {
			t.Next, next = true, true
		}
		d.Timers = append(d.Timers, t)
	}
	if problems == nil && d.Closing {
		problems = v.validate(m, record.Entry{Before: m, Target: record.Cleared, NowMS: v.a.o.Now().UnixMilli()})
	}
	for _, p := range problems {
		if !p.Warn {
			d.Missing = append(d.Missing, p.Text(v.lang))
		}
	}
	slices.Sort(d.Missing)
	d.Missing = slices.Compact(d.Missing)
	var only []string
	if d.Officer {
		only = officerSections
	} else {
		only = []string{"secPlace", "secCall", "secPolice", "secOps"}
	}
	var err error
	if d.Sheet, err = v.sheetOf("incident", view.ID.String(), m, problems, only...); err != nil {
		return err
	}
	if !d.Officer {
		found, err := v.encountersOf(view.ID)
		if err != nil {
			return err
		}
		for _, e := range found {
			d.Encounters = append(d.Encounters, v.encounterLine(e))
		}
		if d.Approach, err = v.approaches(found); err != nil {
			return err
		}
	}
	at, err := v.placeTyped(view)
	if err != nil {
		return err
	}
	if d.Place, err = v.placeOf(at, d.Approach); err != nil {
		return err
	}
	if len(problems) > 0 && len(d.Missing) > 0 {
		d.Page.Error = v.t("clearMissing")
	}
	return v.show("call", d)
}

// encountersOf are the contacts of a call.
func (v *visit) encountersOf(call syncengine.ID) ([]*client.View, error) {
	return v.dev.List(v.ctx(), "encounter", client.Filter{Incident: call}, client.Oldest, 20)
}

func (v *visit) encounterLine(view *client.View) lineItem {
	l := lineItem{Href: "encounter/" + view.ID.String(), At: v.at(view.Origin.AtMS), Where: v.where(view), Badge: v.code("lifecycle_encounter", view.Lifecycle)}
	if m, ok := view.Message.(*tandemv1.Encounter); ok {
		l.Title = cmp.Or(v.personName(m.GetPersonId()), v.code("identity", m.GetIdentity()))
		l.About = join(v.code("presenting", m.GetPresentingPrimary()), v.code("disposition", m.GetDisposition()))
		if m.GetStartedAt() != nil {
			l.At = v.at(m.GetStartedAt().GetAtMs())
		}
	}
	return l
}

func instantOf(m proto.Message, name string) (*tandemv1.Instant, protoreflect.FieldDescriptor) {
	r := m.ProtoReflect()
	fd := r.Descriptor().Fields().ByName(protoreflect.Name(name))
	if fd == nil || !r.Has(fd) {
		return nil, fd
	}
	at, _ := r.Get(fd).Message().Interface().(*tandemv1.Instant)
	return at, fd
}

// tap sets a timer to now, where it is not set; a set one is edited on its own page.
func (v *visit) tap() error {
	field := v.r.PostFormValue("field")
	if !slices.Contains(taps, field) && field != "le_cleared_at" {
		return client.ErrNotFound
	}
	view, err := v.settled("incident")
	if err != nil {
		return err
	}
	after := proto.Clone(view.Message)
	at, fd := instantOf(after, field)
	if at != nil {
		return v.to("call/" + view.ID.String() + "/times")
	}
	if field == "cleared_at" {
		return v.clear(view, "contact_made")
	}
	after.ProtoReflect().Set(fd, protoreflect.ValueOfMessage(v.tapNow().ProtoReflect()))
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Set(view, after) }); err != nil {
		return err
	}
	v.did(view, v.domain().FieldLabel("incident", field, v.lang)+" "+v.now().Format("15:04"), field)
	return v.to("call/" + view.ID.String())
}

// result ends a call in one tap where there was no contact.
func (v *visit) result() error {
	view, err := v.settled("incident")
	if err != nil {
		return err
	}
	contact := v.r.PostFormValue("contact")
	if !v.domain().HasCode("contact", contact) {
		return client.ErrNotFound
	}
	return v.clear(view, contact)
}

// clear clears a call: at once for whoever reads it, and for ten seconds to be taken
// back. The call is closed after that.
func (v *visit) clear(view *client.View, contact string) error {
	m, ok := proto.Clone(view.Message).(*tandemv1.Incident)
	if !ok {
		return client.ErrNotFound
	}
	if m.Contact == nil || contact != "contact_made" {
		m.Contact = &contact
	}
	if m.ClearedAt == nil {
		m.ClearedAt = v.tapNow()
	}
	quiet := contact != "contact_made" && contact != "refused_contact"
	if m.LeInvolvement == nil {
		m.LeInvolvement = new(map[bool]string{true: "partner_on_team", false: "none"}[v.a.prefs.current().Police])
	}
	if quiet && m.GetLeInvolvement() != "none" {
		// The button says so.
		if len(m.LeActions) == 0 {
			m.LeActions = []string{"none"}
		}
		if m.ForceUsed == nil {
			m.ForceUsed = new("no")
		}
	}
	var problems []record.Problem
	for _, p := range v.validate(m, record.Entry{Before: view.Message, Target: record.Cleared, NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showCall(view, problems)
	}
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Set(view, m) }); err != nil {
		return err
	}
	v.did(view, v.tf("clearedAs", v.code("contact", m.GetContact())), "cleared_at", "contact", "le_involvement", "le_actions", "force_used")
	return v.to("today")
}

// closeCleared closes calls that were cleared and not taken back, those of an earlier
// run included.
func (a *App) closeCleared(ctx context.Context, dev *client.Client) {
	me, err := dev.Session()
	if err != nil || slices.Contains(me.Roles, "le_partner") {
		return
	}
	a.closing.Lock()
	defer a.closing.Unlock()
	if a.o.Now().Sub(a.looked) < 5*time.Second {
		return
	}
	a.looked = a.o.Now()
	open, err := dev.List(ctx, "incident", client.Filter{Lifecycle: "open", ToMS: a.o.Now().UnixMilli()}, client.Newest, 40)
	if err != nil {
		return
	}
	for _, view := range open {
		m, ok := view.Message.(*tandemv1.Incident)
		if !ok || m.GetClearedAt() == nil || m.GetContact() == "" || view.Origin.Device != me.Device || a.undo.open(view.ID, a.o.Now()) {
			continue
		}
		if a.o.Now().Sub(time.UnixMilli(m.GetClearedAt().GetAtMs())) < undoFor {
			continue
		}
		// One that lacks something stays open, and its page says what.
		if _, err := dev.Edit(ctx, func(e *client.Edit) error { return e.Close(view, m, record.Cleared) }); err != nil {
			a.o.Log.Debug().Err(err).Msg("a cleared call stays open")
		}
	}
}

type timesData struct {
	Page  *web.Page
	Call  callLine
	Sheet *sheet
}

// timesPage edits the times of a call.
func (v *visit) timesPage() error {
	view, err := v.get("incident")
	if err != nil {
		return err
	}
	d := &timesData{Page: v.page(v.t("secTimes")), Call: v.callLine(view)}
	d.Page.Record, d.Page.Hash = view.ID.String(), v.a.typing.remember(view)
	if d.Sheet, err = v.sheetOf("incident", view.ID.String(), view.Message, v.validate(view.Message, record.Entry{Before: view.Message, NowMS: v.a.o.Now().UnixMilli()}), "secTimes"); err != nil {
		return err
	}
	return v.show("times", d)
}

type callsData struct {
	Page  *web.Page
	Calls []callLine
}

// calls lists the last calls of the team.
func (v *visit) calls() error {
	views, err := v.dev.List(v.ctx(), "incident", client.Filter{}, client.Newest, 100)
	if err != nil {
		return err
	}
	d := &callsData{Page: v.page(v.t("allCalls"))}
	for _, view := range views {
		d.Calls = append(d.Calls, v.callLine(view))
	}
	return v.show("calls", d)
}
