package app

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

func parseID(s string) (syncengine.ID, error) { return syncengine.ParseID(s) }

// learnt are the codes that the team uses most in new calls, by list, counted now and then.
type learnt struct {
	mu    sync.Mutex
	at    time.Time
	team  string
	codes map[string][]string
}

// mostChips is how many chips stand at hand.
const mostChips = 8

// usual are the first chips of a team that has taken no call yet.
var usual = map[string][]string{
	"call_type":       {"behavioral_crisis", "welfare_check", "suicide_threat", "disturbance", "family_dispute", "unsheltered_person", "intoxicated_person", "overdose"},
	"incident_source": {"dispatch_911", "dispatch_988", "officer_request", "ems_fire_request", "self_initiated", "family_community", "provider_request", "walk_in"},
}

// chips returns the eight codes of a list that stand at hand for a new call: those that the
// team used most, of those that are offered.
func (v *visit) chips(list string) ([]string, error) {
	l := &v.a.learnt
	l.mu.Lock()
	defer l.mu.Unlock()
	team := v.a.prefs.current().Team
	if l.codes != nil && l.team == team && v.a.o.Now().Sub(l.at) < 10*time.Minute {
		return l.codes[list], nil
	}
	// The calls of another team that the same person is in are not counted, however many.
	calls, err := v.first("incident", client.Filter{FromMS: v.a.o.Now().AddDate(0, 0, -60).UnixMilli()}, client.Newest, 150, func(view *client.View) bool {
		m, ok := view.Message.(*tandemv1.Incident)
		return ok && (team == "" || m.GetTeamId() == team)
	})
	if err != nil {
		return nil, err
	}
	codes := map[string][]string{}
	for name, said := range map[string]func(*tandemv1.Incident) string{"call_type": (*tandemv1.Incident).GetCallType, "incident_source": (*tandemv1.Incident).GetSource} {
		counts := map[string]int{}
		for _, view := range calls {
			if m, ok := view.Message.(*tandemv1.Incident); ok {
				counts[said(m)]++
			}
		}
		offered := map[string]bool{}
		for _, o := range v.offered(name) {
			offered[o.Code] = true
		}
		most := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
		for _, code := range append(most, usual[name]...) {
			if offered[code] && !slices.Contains(codes[name], code) && len(codes[name]) < mostChips {
				codes[name] = append(codes[name], code)
			}
		}
	}
	l.codes, l.team, l.at = codes, team, v.a.o.Now()
	return l.codes[list], nil
}

// atHand splits the choices of a list: those that the team uses most, the first at the
// beginning, and the others.
func (v *visit) atHand(list string) (first, more []web.Option, err error) {
	chips, err := v.chips(list)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range v.offered(list) {
		if slices.Contains(chips, o.Code) {
			first = append(first, o)
		} else {
			more = append(more, o)
		}
	}
	slices.SortStableFunc(first, func(a, b web.Option) int { return slices.Index(chips, a.Code) - slices.Index(chips, b.Code) })
	return first, more, nil
}

type callLine struct {
	ID, Number, Type, Place string
	// At is when it began; Since in ms for the clock that runs.
	At    time.Time
	Since int64
	State string
	Where web.Status
	Open  bool
	// Seen says when a lead has opened it, empty for never.
	Seen string
}

type draftLine struct {
	Href, Title, About string
	At                 time.Time
	// Seen says when a lead has opened it, empty for never.
	Seen string
	// Old drafts are older than twelve hours.
	Old bool
}

type todayData struct {
	Page  *web.Page
	Shift shift
	On    bool
	Chips []web.Option
	More  []web.Option
	// Source is where the next call comes from, unless somebody says otherwise the usual
	// one, which Source.Value says.
	Source  web.Field
	Open    []callLine
	Cleared []callLine
	Drafts  []draftLine
	Officer bool
	// Opens: it is a police partner who opens calls.
	Opens bool
	Due   []lineItem
	// DueMore are those that follow, folded up behind their number.
	DueMore []lineItem
}

// today is the page of a shift: the calls under way, a new one, what is not finished.
func (v *visit) today() error {
	s := v.a.prefs.current()
	d := &todayData{Page: v.page(v.t("navToday")), Shift: s, On: s.BeganMS != 0, Officer: v.officer()}
	open, err := v.dev.List(v.ctx(), "incident", client.Filter{Lifecycle: "open"}, client.Newest, 20)
	if err != nil {
		return err
	}
	// What a newer app has made of a call may be work: it stands with what is under way.
	unknown, err := v.dev.List(v.ctx(), "incident", client.Filter{Unknown: true}, client.Newest, 20)
	if err != nil {
		return err
	}
	for _, view := range append(open, unknown...) {
		d.Open = append(d.Open, v.callLine(view))
	}
	cleared, err := v.dev.List(v.ctx(), "incident", client.Filter{Lifecycle: "cleared", FromMS: v.a.o.Now().Add(-16 * time.Hour).UnixMilli()}, client.Newest, 8)
	if err != nil {
		return err
	}
	for _, view := range cleared {
		d.Cleared = append(d.Cleared, v.callLine(view))
	}
	if !d.Officer {
		if d.Drafts, err = v.unfinished(); err != nil {
			return err
		}
		if d.Due, err = v.due(); err != nil {
			return err
		}
		shown := min(len(d.Due), mostDue)
		d.Due, d.DueMore = d.Due[:shown], d.Due[shown:]
		if d.Chips, d.More, err = v.atHand("call_type"); err != nil {
			return err
		}
		if d.Source, err = v.sourceField(s); err != nil {
			return err
		}
	}
	if _, team := v.opensCalls(); team != nil {
		d.Opens = true
		if d.Drafts, err = v.typedAlone(v.a.o.Now().Add(-12 * time.Hour)); err != nil {
			return err
		}
	}
	d.Page.Undo = v.undoFor("")
	return v.show("today", d)
}

// sourceField asks where the next call comes from: what the shift says is chosen.
func (v *visit) sourceField(s shift) (web.Field, error) {
	f := v.field("incident", spec{name: "source"})
	usual := cmp.Or(s.Source, "dispatch_911")
	first, more, err := v.atHand("incident_source")
	if err != nil {
		return f, err
	}
	f.Options = append(first, more...)
	f.Fill([]string{usual})
	f.Value = v.code("incident_source", usual)
	return f, nil
}

// unfinished lists drafts: encounters and notes that are not signed, and typing for which
// there is no record.
func (v *visit) unfinished() (out []draftLine, err error) {
	old := v.a.o.Now().Add(-12 * time.Hour)
	for _, kind := range draftKinds {
		views, err := v.ownDrafts(kind, client.Filter{Lifecycle: "draft"})
		if err != nil {
			return nil, err
		}
		for _, view := range views {
			at := v.at(view.Origin.AtMS)
			line := draftLine{Href: pageOf(kind) + "/" + view.ID.String(), Title: v.domain().KindLabel(kind, v.lang), At: at, Old: at.Before(old), Seen: v.seen(view.ID)}
			if m, ok := view.Message.(*tandemv1.Encounter); ok {
				line.About = join(v.personName(m.GetPersonId()), v.code("presenting", m.GetPresentingPrimary()))
			}
			if m, ok := view.Message.(*tandemv1.Note); ok {
				line.About = clip(m.GetText(), 60)
			}
			if m, ok := view.Message.(*tandemv1.FormResponse); ok {
				line.Title, line.About = v.responseLine(view).Title, v.personName(m.GetPersonId())
			}
			out = append(out, line)
		}
	}
	alone, err := v.typedAlone(old)
	return append(out, alone...), err
}

// draftKinds are the kinds that are signed.
var draftKinds = []string{"encounter", "note", "form_response"}

// mostDrafts bounds the drafts of a kind that a page lists, the oldest first.
const mostDrafts = 50

// ownDrafts are the oldest records that fit of who works here: those of colleagues are on the
// device too.
func (v *visit) ownDrafts(kind string, f client.Filter) ([]*client.View, error) {
	return v.first(kind, f, client.Oldest, mostDrafts, func(view *client.View) bool { return view.Origin.Author == v.me.Person })
}

// first returns the first records of a list that fit, at most a number of them. However many
// stand before them that do not fit, none is missed, and no more is read than that takes.
func (v *visit) first(kind string, f client.Filter, order client.Order, most int, fits func(*client.View) bool) ([]*client.View, error) {
	for read := most; ; read *= 4 {
		views, err := v.dev.List(v.ctx(), kind, f, order, read)
		if err != nil {
			return nil, err
		}
		all := len(views) < read
		views = slices.DeleteFunc(views, func(view *client.View) bool { return !fits(view) })
		if all || len(views) >= most {
			return views[:min(len(views), most)], nil
		}
	}
}

// stale counts the drafts of who works here that are older than a day: they need their author.
func (v *visit) stale() (n int) {
	if v.officer() {
		return 0
	}
	day := v.a.o.Now().Add(-24 * time.Hour)
	for _, kind := range draftKinds {
		// What a record tells of began before it was made.
		views, err := v.ownDrafts(kind, client.Filter{Lifecycle: "draft", ToMS: day.UnixMilli()})
		if err != nil {
			return n
		}
		for _, view := range views {
			if v.at(view.Origin.AtMS).Before(day) {
				n++
			}
		}
	}
	alone, err := v.typedAlone(day)
	if err != nil {
		return n
	}
	for _, d := range alone {
		// A save that is being corrected is counted as one that was not accepted.
		if d.Old && !strings.HasPrefix(d.Href, "tray/fix/") {
			n++
		}
	}
	return n
}

// typedAlone lists the typing for which there is no record, and what was typed into one after
// it was signed; what began before a time is old.
func (v *visit) typedAlone(old time.Time) (out []draftLine, err error) {
	kept, err := v.dev.Drafts(v.ctx())
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		kind, id, ok := strings.Cut(strings.TrimPrefix(k.Key, "sheet/"), "/")
		rid, err := parseID(id)
		if !ok || err != nil {
			continue
		}
		if kind == "fix" {
			out = append(out, draftLine{Href: "tray/fix/" + id, Title: v.t("fixTitle"), About: v.t("notSavedYet"), At: v.at(k.AtMS), Old: v.at(k.AtMS).Before(old)})
			continue
		}
		if view, err := v.dev.Get(v.ctx(), rid); err == nil && view.Kind != nil && view.Kind.Name == kind {
			if l, err := v.late(kind, view); err != nil {
				return nil, err
			} else if l != nil {
				out = append(out, draftLine{Href: pageOf(kind) + "/" + id, Title: v.domain().KindLabel(kind, v.lang), About: v.t("lateTyped"), At: v.at(k.AtMS), Old: v.at(k.AtMS).Before(old)})
			}
			continue
		} else if err == nil || kind == "encounter" {
			continue
		}
		typing, err := v.typedIn(kind, id)
		if err != nil {
			return nil, err
		}
		if typing == nil {
			continue
		}
		q := url.Values{"id": {id}}
		for name, value := range typing.Of {
			q.Set(name, value)
		}
		out = append(out, draftLine{
			Href: pageOf(kind) + "/new?" + q.Encode(), Title: v.domain().KindLabel(kind, v.lang), About: join(v.personName(typing.Of["person"]), v.t("notSavedYet")),
			At: v.at(k.AtMS), Old: v.at(k.AtMS).Before(old),
		})
	}
	return out, nil
}

// overdue are the drafts of who works here that are older than twelve hours.
func (v *visit) overdue() ([]draftLine, error) {
	if v.officer() {
		return nil, nil
	}
	drafts, err := v.unfinished()
	return slices.DeleteFunc(drafts, func(d draftLine) bool { return !d.Old }), err
}

func (v *visit) code(list, code string) string {
	if code == "" {
		return ""
	}
	if v.domain().HasCode(list, code) {
		return v.domain().Label(list, code, v.lang)
	}
	return v.own().Label(v.domain(), list, code, v.lang)
}

// seen says that a lead has opened a record, and when; empty where none has, as far as the
// server has told.
func (v *visit) seen(id syncengine.ID) string {
	found, err := v.dev.SeenByLead(v.ctx(), id)
	at, ok := found[id]
	switch {
	case err != nil || !ok:
		return ""
	case at.Current:
		return v.t("seenByLead") + " " + moment(v.lang, v.at(at.AtMS))
	}
	return v.t("seenEarlier") + " " + moment(v.lang, v.at(at.AtMS))
}

func moment(lang string, at time.Time) string { return web.Day(lang, at) + " " + at.Format("15:04") }

func (v *visit) callLine(view *client.View) callLine {
	l := callLine{ID: view.ID.String(), Where: v.where(view), Open: view.Lifecycle == "open", At: v.at(view.Origin.AtMS), Seen: v.seen(view.ID)}
	m, ok := view.Message.(*tandemv1.Incident)
	if !ok {
		return l
	}
	l.Number, l.Type = m.GetNumber(), v.code("call_type", cmp.Or(m.GetCallTypeFinal(), m.GetCallType()))
	l.Place = join(v.code("place_type", m.GetPlaceType()), m.GetLocation().GetAddress())
	l.Since = view.Origin.AtMS
	for _, t := range []*tandemv1.Instant{m.GetDispatchedAt(), m.GetReceivedAt()} {
		if t != nil {
			l.At, l.Since = v.at(t.GetAtMs()), t.GetAtMs()
			break
		}
	}
	switch {
	case !v.domain().HasCode("lifecycle_incident", view.Lifecycle):
		l.State = v.tf("stateNewer", view.Lifecycle)
	case m.GetContact() != "" && !l.Open:
		l.State = v.code("contact", m.GetContact())
	case m.GetClearedAt() != nil:
		l.State = v.domain().FieldLabel("incident", "cleared_at", v.lang)
	case m.GetArrivedAt() != nil:
		l.State = v.domain().FieldLabel("incident", "arrived_at", v.lang)
	case m.GetEnrouteAt() != nil:
		l.State = v.domain().FieldLabel("incident", "enroute_at", v.lang)
	default:
		l.State = v.domain().FieldLabel("incident", "dispatched_at", v.lang)
	}
	return l
}
