package directory

import (
	"cmp"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Entry is a resource with the id of its record, empty for the lifeline.
type Entry struct {
	ID string
	*tandemv1.Resource
}

// Query is what is asked for; the zero value is everything.
type Query struct {
	// Need is a code of need, Lang a language; empty for any.
	Need, Lang string
	// Words that stand in name, organization, description or town, all of them.
	Words string
	// OpenNow: only what is known to be open at Day, 0 for Monday, and Minute of the day,
	// in the time zone of the agency.
	OpenNow     bool
	Day, Minute int
	// PoliceDropoff: it takes people whom the police bring. WalkIn: without appointment.
	PoliceDropoff, WalkIn bool
}

// Lifeline is the 988 Suicide & Crisis Lifeline, which needs no directory.
func Lifeline() *tandemv1.Resource {
	phone := func(kind, label string) *tandemv1.ResourcePhone {
		return &tandemv1.ResourcePhone{Element: element("lifeline", kind, label), Number: new("988"), Type: &kind, Label: &label}
	}
	return &tandemv1.Resource{
		Lifecycle: new("active"), Status: new("active"), IsCrisisLine: new(true), Open_24_7: new(true), Cost: new("free"),
		ServiceName: &tandemv1.LocalizedText{En: new("988 Suicide & Crisis Lifeline"), Es: new("988 Línea de Prevención del Suicidio y Crisis")},
		OrgName:     new("988"), Url: new("https://988lifeline.org"), Category: []string{"mental_health"}, Langs: []string{"ase", "en", "es"},
		Phones: []*tandemv1.ResourcePhone{
			phone("voice", "24/7; español: 2"), phone("text", "24/7; español: AYUDA"), phone("video", "ASL"),
		},
	}
}

// List returns what is shown of a directory: the lifeline first, whatever is asked for,
// then the other crisis lines that fit, then what else fits: open before closed, then by
// name. What is not to be had, proposed, retired or void is left out.
func List(entries []Entry, q Query) []Entry {
	out := []Entry{{Resource: Lifeline()}}
	for _, e := range entries {
		if shown(e.Resource) && !isLifeline(e.Resource) && q.fits(e.Resource) {
			out = append(out, e)
		}
	}
	rest := out[1:]
	rank := func(e Entry) int {
		switch {
		case e.GetIsCrisisLine():
			return 0
		case OpenAt(e.Resource, q.Day, q.Minute):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(rest, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), strings.Compare(nameOf(x), nameOf(y)), strings.Compare(x.ID, y.ID))
	})
	return out
}

func nameOf(e Entry) string { return strings.ToLower(e.GetServiceName().GetEn()) }

func shown(r *tandemv1.Resource) bool {
	life := r.GetLifecycle()
	return (life == "active" || life == "") && r.GetProposedFor() == "" && r.GetStatus() == "active"
}

// isLifeline reports whether an entry of a directory is the lifeline again.
func isLifeline(r *tandemv1.Resource) bool {
	return len(r.GetPhones()) > 0 && !slices.ContainsFunc(r.GetPhones(), func(p *tandemv1.ResourcePhone) bool {
		return strings.Trim(p.GetNumber(), "+ -") != "988"
	})
}

func (q *Query) fits(r *tandemv1.Resource) bool {
	if q.Need != "" && !slices.Contains(r.GetCategory(), q.Need) ||
		q.PoliceDropoff && !r.GetAcceptsPoliceDropoff() || q.WalkIn && !r.GetAcceptsWalkIn() ||
		q.OpenNow && !OpenAt(r, q.Day, q.Minute) {
		return false
	}
	if q.Lang != "" && !slices.ContainsFunc(r.GetLangs(), func(l string) bool {
		return l == q.Lang || strings.HasPrefix(l, q.Lang+"-")
	}) {
		return false
	}
	all := strings.ToLower(strings.Join([]string{
		r.GetServiceName().GetEn(), r.GetServiceName().GetEs(), r.GetOrgName(), r.GetDescription(), r.GetCity(),
	}, " "))
	for word := range strings.FieldsSeq(strings.ToLower(q.Words)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

// OpenAt reports whether a resource is known to be open on a day, 0 for Monday, at a
// minute of the day. Hours that end on the next day count for both.
func OpenAt(r *tandemv1.Resource, day, minute int) bool {
	if r.GetOpen_24_7() {
		return true
	}
	for _, h := range r.GetHours() {
		at := slices.Index(weekdays, h.GetByday())
		opens, ok1 := minuteOf(h.GetOpens())
		closes, ok2 := minuteOf(h.GetCloses())
		if at < 0 || !ok1 || !ok2 {
			continue
		}
		over := closes <= opens
		switch {
		case at == day && minute >= opens && (over || minute < closes):
			return true
		case over && (at+1)%7 == day && minute < closes:
			return true
		}
	}
	return false
}

func minuteOf(s string) (int, bool) {
	if len(s) != 5 || !clock.MatchString(s) {
		return 0, false
	}
	return (int(s[0]-'0')*10+int(s[1]-'0'))*60 + int(s[3]-'0')*10 + int(s[4]-'0'), true
}
