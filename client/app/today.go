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

// learnt are the call types that the team takes most, counted now and then.
type learnt struct {
	mu    sync.Mutex
	at    time.Time
	team  string
	types []string
}

// usual are the first chips of a team that has taken no call yet.
var usual = []string{"behavioral_crisis", "welfare_check", "suicide_threat", "disturbance", "family_dispute", "unsheltered_person", "intoxicated_person", "overdose"}

// chips returns the eight call types that stand on the first page.
func (v *visit) chips() ([]string, error) {
	l := &v.a.learnt
	l.mu.Lock()
	defer l.mu.Unlock()
	team := v.a.prefs.current().Team
	if l.types != nil && l.team == team && v.a.o.Now().Sub(l.at) < 10*time.Minute {
		return l.types, nil
	}
	views, err := v.dev.List(v.ctx(), "incident", client.Filter{FromMS: v.a.o.Now().AddDate(0, 0, -60).UnixMilli()}, client.Newest, 150)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, view := range views {
		if m, ok := view.Message.(*tandemv1.Incident); ok && (team == "" || m.GetTeamId() == team) {
			counts[m.GetCallType()]++
		}
	}
	delete(counts, "")
	delete(counts, "not_recorded")
	types := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	for _, t := range usual {
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	l.types, l.team, l.at = types[:8], team, v.a.o.Now()
	return l.types, nil
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
	Page    *web.Page
	Shift   shift
	On      bool
	Chips   []web.Option
	More    []web.Option
	Open    []callLine
	Cleared []callLine
	Drafts  []draftLine
	Officer bool
	Due     []lineItem
}

// today is the page of a shift: the calls under way, a new one, what is not finished.
func (v *visit) today() error {
	s := v.a.prefs.current()
	d := &todayData{Page: v.page(v.t("navToday")), Shift: s, On: s.BeganMS != 0, Officer: v.officer()}
	open, err := v.dev.List(v.ctx(), "incident", client.Filter{Lifecycle: "open"}, client.Newest, 20)
	if err != nil {
		return err
	}
	for _, view := range open {
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
		chips, err := v.chips()
		if err != nil {
			return err
		}
		for _, o := range v.offered("call_type") {
			if slices.Contains(chips, o.Code) {
				d.Chips = append(d.Chips, o)
			} else {
				d.More = append(d.More, o)
			}
		}
		slices.SortStableFunc(d.Chips, func(a, b web.Option) int { return slices.Index(chips, a.Code) - slices.Index(chips, b.Code) })
	}
	d.Page.Undo = v.undoFor("")
	return v.show("today", d)
}

// unfinished lists drafts: encounters and notes that are not signed, and typing for which
// there is no record.
func (v *visit) unfinished() (out []draftLine, err error) {
	old := v.a.o.Now().Add(-12 * time.Hour)
	for _, kind := range []string{"encounter", "note", "form_response"} {
		views, err := v.dev.List(v.ctx(), kind, client.Filter{Lifecycle: "draft"}, client.Oldest, 50)
		if err != nil {
			return nil, err
		}
		for _, view := range views {
			if view.Origin.Author != v.me.Person {
				continue
			}
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
	kept, err := v.dev.Drafts(v.ctx())
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		kind, id, ok := strings.Cut(strings.TrimPrefix(k.Key, "sheet/"), "/")
		rid, err := parseID(id)
		if !ok || err != nil || kind == "encounter" {
			continue
		}
		if kind == "fix" {
			out = append(out, draftLine{Href: "tray/fix/" + id, Title: v.t("fixTitle"), About: v.t("notSavedYet"), At: v.at(k.AtMS), Old: v.at(k.AtMS).Before(old)})
			continue
		}
		if _, err := v.dev.Get(v.ctx(), rid); err == nil {
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
