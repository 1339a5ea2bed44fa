package report_test

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"google.golang.org/protobuf/proto"
)

var naiveWorlds = flag.Int("report.worlds", 40, "random worlds of TestMetricsTwice")

// naive counts as the manual says, over whole messages, one metric after the other: slow,
// and written a second time on purpose.
type naive struct {
	o        report.OutcomeOptions
	messages map[string]proto.Message
	ids      []string
}

func all[T proto.Message](n *naive) (ids []string, out []T) {
	for _, id := range n.ids {
		if m, ok := n.messages[id].(T); ok {
			if l, ok := any(m).(interface{ GetLifecycle() string }); !ok || l.GetLifecycle() != "void" {
				ids, out = append(ids, id), append(out, m)
			}
		}
	}
	return ids, out
}

// as returns a message of a kind; nil for another.
func as[T proto.Message](n *naive, id string) T {
	m, _ := n.messages[id].(T)
	return m
}

func (n *naive) inside(i *tandemv1.Instant) bool {
	if i == nil {
		return false
	}
	at := time.UnixMilli(i.GetAtMs())
	return !at.Before(n.o.From) && at.Before(n.o.To)
}

func (n *naive) canon(person *string) string {
	id := ""
	if person != nil {
		id = *person
	}
	for id != "" {
		p := as[*tandemv1.Person](n, id)
		if p.GetMergedInto() == "" {
			break
		}
		id = p.GetMergedInto()
	}
	return id
}

func when(in *tandemv1.Incident) *tandemv1.Instant {
	if in.ArrivedAt != nil {
		return in.ArrivedAt
	}
	return in.DispatchedAt
}

type result struct{ num, den, unknown int }

func (r result) String() string { return fmt.Sprintf("%d/%d, %d unknown", r.num, r.den, r.unknown) }

// tally3 adds one judgement: 1 yes, 0 no, -1 unknown.
func (r *result) tally3(judged int) {
	switch judged {
	case -1:
		r.unknown++
	case 1:
		r.num++
		r.den++
	default:
		r.den++
	}
}

func code(s string, yes ...string) int {
	switch {
	case s == "" || s == "not_recorded":
		return -1
	case slices.Contains(yes, s):
		return 1
	}
	return 0
}

// rates counts every rate.
func (n *naive) rates() map[string]*result {
	out := map[string]*result{}
	add := func(name string, judged int) {
		if out[name] == nil {
			out[name] = &result{}
		}
		out[name].tally3(judged)
	}
	ask := func(s string) int {
		return map[string]int{"yes": 1, "no": 0}[s] - map[bool]int{true: 1}[s != "yes" && s != "no"]
	}
	_, incidents := all[*tandemv1.Incident](n)
	for _, in := range incidents {
		if !n.inside(when(in)) {
			continue
		}
		add("M22.unmet", code(in.GetContact(), "team_unavailable", "cancelled_enroute"))
		program := as[*tandemv1.Program](n, in.GetProgramId())
		if in.ArrivedAt != nil {
			add("M2.contact_rate", code(in.GetContact(), "contact_made"))
			took := float64(in.GetArrivedAt().GetAtMs()-in.GetDispatchedAt().GetAtMs()) / 60000
			switch {
			case in.DispatchedAt == nil || took < 0:
				add("M3.within_target", -1)
			case took <= float64(program.GetResponseTargetMin()):
				add("M3.within_target", 1)
			default:
				add("M3.within_target", 0)
			}
		}
		if in.GetContact() != "contact_made" {
			continue
		}
		if m := program.GetModel(); m == "mct" || m == "community_responder" {
			add("M6.police_called", code(in.GetLeInvolvement(), "requested_by_team", "backup_called"))
		}
		officers, trained, told := 0, 0, 0
		for _, r := range in.GetResponders() {
			if r.GetOnSceneRole() == "officer" {
				officers++
				if r.CitTrained != nil {
					told++
				}
				if r.GetCitTrained() {
					trained++
				}
			}
		}
		if officers > 0 {
			switch {
			case told == 0:
				add("M6.cit", -1)
			case trained > 0:
				add("M6.cit", 1)
			default:
				add("M6.cit", 0)
			}
		}
		if le := in.GetLeInvolvement(); le != "" && le != "none" && le != "not_recorded" {
			add("M11.force", ask(in.GetForceUsed()))
			judged := ask(in.GetForceUsed())
			if judged == 1 && len(in.GetForceTypes()) == 1 && in.GetForceTypes()[0] == "handcuffs" {
				judged = 0
			}
			add("M11.more_than_handcuffs", judged)
		}
		if len(in.GetInjuries()) > 0 {
			add("M12.injured", 1)
		} else {
			add("M12.injured", 0)
		}
	}
	n.clinical(add)
	n.care(add)
	return out
}

func (n *naive) clinical(add func(string, int)) {
	bit := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	emergency := []string{"transport_ed_voluntary", "transport_ed_involuntary", "transport_medical"}
	_, encounters := all[*tandemv1.Encounter](n)
	for _, e := range encounters {
		if e.GetLifecycle() == "draft" || e.GetType() == "consult_only" || !n.inside(e.StartedAt) {
			continue
		}
		d := e.GetDisposition()
		known := d != "" && d != "not_recorded"
		add("M20.amended", bit(e.GetLifecycle() == "amended"))
		if s := e.GetDangerSelf(); s == "moderate" || s == "high" {
			done := slices.Contains(e.Interventions, "safety_plan") || slices.Contains(e.Interventions, "means_safety") || slices.Contains(e.Interventions, "hospital_prescreen")
			add("M19.safety", bit(done || slices.Contains(emergency, d) || d == "transport_psych_unit"))
		}
		if e.GetType() != "crisis_response" {
			continue
		}
		add("M19.screened", bit(slices.Contains(e.Interventions, "screening")))
		if d != "refused_services" && d != "left_scene" && d != "deceased" {
			add("M5.resolved", code(d, "resolved_on_scene", "left_with_support", "transport_crisis_center", "transport_detox", "transport_shelter", "transport_other", "no_service_needed"))
		}
		add("M7.transported", code(d, emergency...))
		add("M7.behavioral", code(d, "transport_ed_voluntary", "transport_ed_involuntary"))
		add("M9.arrested", code(d, "arrest_custody"))
		legal := e.GetLegalStatus()
		lawful := legal != "" && legal != "not_recorded"
		if lawful {
			add("M10.held", bit(legal != "voluntary"))
		} else {
			add("M10.held", -1)
		}
		for _, q := range []struct {
			name, answer    string
			happened, known bool
		}{
			{"M8.averted", e.GetCfEd(), slices.Contains(emergency, d), known},
			{"M9.averted", e.GetCfArrest(), d == "arrest_custody", known},
			{"M10.averted", e.GetCfHold(), legal != "voluntary", lawful},
		} {
			switch {
			case q.answer == "no":
			case q.answer == "yes" && q.known:
				add(q.name, bit(!q.happened))
			default:
				add(q.name, -1)
			}
		}
	}
	// People: first contacts, and repeats.
	type first struct {
		at      int64
		program string
	}
	firsts, crises := map[string]map[string]first{}, map[string][]int64{}
	for _, e := range encounters {
		who := n.canon(e.PersonId)
		if e.GetLifecycle() == "draft" || e.GetType() == "consult_only" || e.StartedAt == nil || who == "" {
			continue
		}
		at := e.GetStartedAt().GetAtMs()
		if firsts[who] == nil {
			firsts[who] = map[string]first{}
		}
		if f, ok := firsts[who][e.GetProgramId()]; !ok || at < f.at {
			firsts[who][e.GetProgramId()] = first{at, e.GetProgramId()}
		}
		if e.GetType() == "crisis_response" {
			crises[who] = append(crises[who], at)
		}
	}
	const day = int64(86_400_000)
	_, referrals := all[*tandemv1.Referral](n)
	_, followUps := all[*tandemv1.FollowUp](n)
	for who, by := range firsts {
		for _, f := range by {
			for name, days := range map[string]int64{"M13.within_30_days": 30, "M13.within_60_days": 60} {
				if !n.inside(&tandemv1.Instant{AtMs: &f.at}) || f.at+days*day > n.o.AsOf.UnixMilli() {
					continue
				}
				linked := 0
				for _, r := range referrals {
					from, to := time.UnixMilli(f.at).In(n.o.Zone).Format(time.DateOnly), time.UnixMilli(f.at+days*day).In(n.o.Zone).Format(time.DateOnly)
					if n.canon(r.PersonId) == who && r.GetState() != "draft" && r.GetConnectedOn() >= from && r.GetConnectedOn() <= to {
						linked = 1
					}
				}
				for _, u := range followUps {
					if n.canon(u.PersonId) == who && u.GetServiceUse() == "yes" && u.GetOccurredAt().GetAtMs() >= f.at && u.GetOccurredAt().GetAtMs() <= f.at+days*day {
						linked = 1
					}
				}
				add(name, linked)
			}
		}
	}
	for _, times := range crises {
		slices.Sort(times)
		for name, days := range map[string]int64{"M18.within_30_days": 30, "M18.within_90_days": 90, "M18.within_365_days": 365} {
			in, again := false, 0
			for i, at := range times {
				if !n.inside(&tandemv1.Instant{AtMs: &at}) {
					continue
				}
				in = true
				if i > 0 && at-times[i-1] <= days*day {
					again = 1
				}
			}
			if in {
				add(name, again)
			}
		}
	}
}

func (n *naive) care(add func(string, int)) {
	asOf, hour := n.o.AsOf.UnixMilli(), int64(3_600_000)
	_, followUps := all[*tandemv1.FollowUp](n)
	ids, episodes := all[*tandemv1.Episode](n)
	for i, e := range episodes {
		reason := e.GetCloseReason()
		if reason == "entered_in_error" || e.OpenedAt == nil {
			continue
		}
		opened := e.GetOpenedAt().GetAtMs()
		gone := reason == "deceased"
		if who := n.canon(e.PersonId); who != "" {
			p := as[*tandemv1.Person](n, who)
			gone = gone || p.GetDoNotContact() || p.GetDeceasedOn() != ""
		}
		for name, hours := range map[string]int64{"M15.within_24_hours": 24, "M15.within_72_hours": 72, "M15.within_7_days": 168, "M15.within_72_hours_or_collateral": 72} {
			if !n.inside(e.OpenedAt) || gone || opened+hours*hour > asOf {
				continue
			}
			reached := 0
			for _, f := range followUps {
				ok := f.GetOutcome() == "reached_person" || strings.HasSuffix(name, "collateral") && f.GetOutcome() == "reached_collateral"
				if f.GetEpisodeId() == ids[i] && ok && f.OccurredAt != nil && f.GetOccurredAt().GetAtMs() <= opened+hours*hour {
					reached = 1
				}
			}
			add(name, reached)
		}
		y, m, d := time.UnixMilli(opened).In(n.o.Zone).Date()
		end := time.Date(y, m, d+int(e.GetWindowDays()), 12, 0, 0, 0, n.o.Zone)
		if end.Before(n.o.From) || !end.Before(n.o.To) || reason == "deceased" || reason == "moved" {
			continue
		}
		last := end.Format(time.DateOnly)
		if e.ExtendedTo != nil {
			last = e.GetExtendedTo()
		}
		inTime := e.GetLifecycle() == "closed" && e.ClosedAt != nil && time.UnixMilli(e.GetClosedAt().GetAtMs()).In(n.o.Zone).Format(time.DateOnly) <= last
		add("M16.completed", map[bool]int{true: 1}[inTime && (reason == "connected_to_care" || reason == "no_longer_needs_support")])
		add("M16.no_longer_needs", map[bool]int{true: 1}[inTime && reason == "no_longer_needs_support"])
	}
	fids, _ := all[*tandemv1.FollowUp](n)
	replaced := map[string]bool{}
	for _, f := range followUps {
		replaced[f.GetSupersedes()] = true
	}
	for i, f := range followUps {
		slack := 72 * hour
		if f.GetTargetHours() == 24 || f.GetTargetHours() == 72 {
			slack = 24 * hour
		}
		due, made := f.GetDueAt().GetAtMs(), f.GetOccurredAt().GetAtMs()
		if !n.inside(f.DueAt) || due+slack > asOf || f.GetLifecycle() == "cancelled" || replaced[fids[i]] {
			continue
		}
		add("M17.on_time", map[bool]int{true: 1}[f.GetLifecycle() == "done" && f.OccurredAt != nil && math.Abs(float64(made-due)) <= float64(slack)])
	}
	_, referrals := all[*tandemv1.Referral](n)
	for _, r := range referrals {
		if r.GetState() == "draft" {
			continue
		}
		var first, sent *tandemv1.Instant
		for _, e := range r.GetEvents() {
			if e.At != nil && (first == nil || e.At.GetAtMs() < first.GetAtMs()) {
				first = e.At
			}
			if e.GetState() == "sent" && e.At != nil {
				sent = e.At
			}
		}
		if sent != nil {
			first = sent
		}
		on := r.GetConnectedOn()
		if !n.inside(first) && (first != nil || on == "" || on < "2026-03-01" || on >= "2026-04-01") {
			continue
		}
		closed := r.GetState() == "closed"
		switch {
		case closed && r.Outcome == nil:
			add("M14.connected", -1)
			add("M14.declined", -1)
		case closed:
			add("M14.connected", map[bool]int{true: 1}[r.GetOutcome() == "connected"])
			add("M14.declined", map[bool]int{true: 1}[r.GetOutcome() == "declined_by_person"])
		case first != nil && first.GetAtMs()+30*24*hour < asOf:
			add("M14.connected", 0)
		}
	}
}

// people counts M1.
func (n *naive) people() int {
	who, unknown := map[string]bool{}, 0
	_, encounters := all[*tandemv1.Encounter](n)
	for _, e := range encounters {
		if e.GetLifecycle() == "draft" || e.GetType() == "consult_only" || !n.inside(e.StartedAt) {
			continue
		}
		switch d := e.GetDisposition(); {
		case d == "" || d == "not_recorded" || d == "no_service_needed" || d == "refused_services" && len(e.Interventions) == 0:
		case n.canon(e.PersonId) == "":
			unknown++
		default:
			who[n.canon(e.PersonId)] = true
		}
	}
	return len(who) + unknown
}

// TestMetricsTwice computes every rate of random worlds a second time, in another way.
func TestMetricsTwice(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(*naiveWorlds) {
		w := randomWorld(t, seed)
		n := &naive{o: options(t), messages: map[string]proto.Message{}}
		for _, r := range w.rows {
			n.messages[r.id.String()] = r.msg
			n.ids = append(n.ids, r.id.String())
		}
		got, err := report.ComputeOutcomes(w, options(t))
		if err != nil {
			t.Fatal(err)
		}
		want := n.rates()
		for _, metric := range got.Metrics {
			for _, m := range metric.Measures {
				name := metric.ID + "." + m.Key
				if m.Shape != report.ShapeRate || name == "M20.conflicts" {
					continue
				}
				w := want[name]
				if w == nil {
					w = &result{}
				}
				g := &result{*m.All.Numerator.N, *m.All.Denominator.N, *m.All.Unknown.N}
				if *g != *w {
					t.Errorf("world %d: %s: got %s, want %s", seed, name, g, w)
				}
				if (w.den == 0) != (m.NoData != nil) {
					t.Errorf("world %d: %s of %s: no data is %v", seed, name, w, m.NoData)
				}
				seen[name] += w.num
				// Each breakdown in groups that exclude each other adds up.
				for _, b := range m.Breakdowns {
					num, den := 0, 0
					for _, g := range b.Groups {
						num, den = num+*g.Numerator.N, den+*g.Denominator.N
					}
					if !b.Overlapping && (num != w.num || den != w.den) || num < w.num || den < w.den {
						t.Errorf("world %d: %s by %s: groups add up to %d/%d, want %s", seed, name, b.By, num, den, w)
					}
				}
			}
		}
		if people := found(t, got, "M1.people"); *people.All.Count.N != n.people() {
			t.Errorf("world %d: got %d people, want %d", seed, *people.All.Count.N, n.people())
		}
	}
	for name, hits := range seen {
		if hits == 0 {
			t.Errorf("no world has a case of %s: the test proves nothing of it", name)
		}
	}
}
