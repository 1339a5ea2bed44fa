package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine/form"
)

// march is March of a small program, with each figure worked out by hand beside it.
//
//	call        sent 5 Mar    what                                         response, on scene
//	1  14:00    met a man, officer with CIT, no force                       20 min, 60 min; officer left at 14:30: 50 min freed
//	2  15:00    met a woman, partner on the team, handcuffs alone           40 min, 20 min
//	3  16:00    met somebody unidentified, backup called, cew; 1 injured    70 min, not recorded
//	4  17:00    nobody found                                                10 min
//	5  18:00    no team free
//	6  April    outside the period
func march(tb testing.TB) *world {
	w := &world{tb: tb}
	program := w.add(&tandemv1.Program{
		Lifecycle: new("active"), Name: &tandemv1.LocalizedText{En: new("Example mobile crisis"), Es: new("Equipo móvil de ejemplo")}, Model: new("mct"),
		ResponseTargetMin: new(uint32(30)),
	})
	man := w.add(&tandemv1.Person{Lifecycle: new("active"), Gender: new("man"), RaceEthnicity: []string{"black"}, ApproxAge: new(uint32(40))})
	woman := w.add(&tandemv1.Person{Lifecycle: new("active"), Gender: new("woman"), RaceEthnicity: []string{"asian", "white"}, Dob: new("2010-03-05"), DobPrecision: new("day")})
	// The same woman, entered twice and merged.
	twin := w.add(&tandemv1.Person{Lifecycle: new("merged"), MergedInto: &woman})
	call := func(sent string, in *tandemv1.Incident) string {
		in.ProgramId, in.Lifecycle, in.DispatchedAt, in.CallType = &program, new("cleared"), clock(tb, sent), new("welfare_check")
		return w.add(in)
	}
	officer := []*tandemv1.Responder{{Element: el(1), OnSceneRole: new("officer"), CitTrained: new(true)}}
	first := call("03-05 14:00", &tandemv1.Incident{
		ArrivedAt: clock(tb, "03-05 14:20"), ClearedAt: clock(tb, "03-05 15:20"), LeClearedAt: clock(tb, "03-05 14:30"), Contact: new("contact_made"),
		LeInvolvement: new("already_on_scene"), ForceUsed: new("no"), Responders: officer, ResponseMode: new("mobile_crisis"),
	})
	second := call("03-05 15:00", &tandemv1.Incident{
		ArrivedAt: clock(tb, "03-05 15:40"), ClearedAt: clock(tb, "03-05 16:00"), Contact: new("contact_made"), LeInvolvement: new("partner_on_team"),
		ForceUsed: new("yes"), ForceTypes: []string{"handcuffs"}, ResponseMode: new("co_response"),
	})
	third := call("03-05 16:00", &tandemv1.Incident{
		ArrivedAt: clock(tb, "03-05 17:10"), Contact: new("contact_made"), LeInvolvement: new("backup_called"), ForceUsed: new("yes"), ForceTypes: []string{"cew"},
		Injuries: []*tandemv1.Injury{{Element: el(1), Party: new("person"), Level: new("minor")}},
	})
	call("03-05 17:00", &tandemv1.Incident{ArrivedAt: clock(tb, "03-05 17:10"), Contact: new("no_person_found")})
	call("03-05 18:00", &tandemv1.Incident{Contact: new("team_unavailable")})
	call("04-01 00:00", &tandemv1.Incident{Contact: new("team_unavailable")})

	meets := func(e *tandemv1.Encounter, person, incident, started string) {
		if e.ProgramId, e.StartedAt = &program, clock(tb, started); person != "" {
			e.PersonId = &person
		}
		if incident != "" {
			e.IncidentId = &incident
		}
		if e.Lifecycle == nil {
			e.Lifecycle = new("signed")
		}
		if e.Type == nil {
			e.Type = new("crisis_response")
		}
		w.add(e)
	}
	// Expected at the emergency department and as an arrest, was neither; no plan was made.
	meets(&tandemv1.Encounter{
		Disposition: new("left_with_support"), LegalStatus: new("voluntary"), CfEd: new("yes"), CfArrest: new("yes"), CfHold: new("no"), CfSource: new("officer_statement"),
		DangerSelf: new("high"), Interventions: []string{"screening"}, SignedAt: clock(tb, "03-05 17:20"),
	}, man, first, "03-05 14:25")
	// Went to the emergency department against her will; expected there and held.
	meets(&tandemv1.Encounter{
		Disposition: new("transport_ed_involuntary"), LegalStatus: new("involuntary_team"), CfEd: new("yes"), CfArrest: new("unknown"), CfHold: new("yes"),
		DangerSelf: new("high"), SignedAt: clock(tb, "03-05 20:00"), Lifecycle: new("amended"), Interventions: []string{"safety_plan"},
	}, twin, second, "03-05 15:45")
	// Somebody unidentified; nothing is said of the outcome's other courses.
	meets(&tandemv1.Encounter{Disposition: new("transport_medical"), DangerSelf: new("none"), Interventions: []string{"first_aid"}}, "", third, "03-05 17:15")
	// The woman again, 20 days later: she refused, and nothing was done.
	meets(&tandemv1.Encounter{Disposition: new("refused_services"), LegalStatus: new("voluntary")}, woman, "", "03-25 10:00")
	// A draft, a talk among colleagues and one of February count nowhere.
	meets(&tandemv1.Encounter{Lifecycle: new("draft"), Disposition: new("resolved_on_scene")}, man, "", "03-06 10:00")
	meets(&tandemv1.Encounter{Type: new("consult_only"), Disposition: new("resolved_on_scene")}, man, "", "03-07 10:00")

	// Episodes: the man's is done on day 10, with a call on the next day; the woman's window
	// of 20 days ends on 26 March and it is open.
	done := w.add(&tandemv1.Episode{
		ProgramId: &program, PersonId: &man, Lifecycle: new("closed"), OpenedAt: clock(tb, "03-05 16:00"), WindowDays: new(uint32(20)), Tz: new(chicago),
		ClosedAt: clock(tb, "03-15 16:00"), CloseReason: new("no_longer_needs_support"),
	})
	w.add(&tandemv1.Episode{ProgramId: &program, PersonId: &woman, Lifecycle: new("active"), OpenedAt: clock(tb, "03-06 16:00"), WindowDays: new(uint32(20)), Tz: new(chicago)})
	// As devices plan them: to the hour.
	due := func(text string) *tandemv1.Instant {
		at := clock(tb, text)
		at.Precision = new("hour")
		return at
	}
	w.add(&tandemv1.FollowUp{
		ProgramId: &program, EpisodeId: &done, PersonId: &man, Lifecycle: new("done"), TargetHours: new(uint32(24)), DueAt: due("03-06 16:00"),
		OccurredAt: clock(tb, "03-06 18:00"), Outcome: new("reached_person"), ServiceUse: new("yes"),
	})
	w.add(&tandemv1.FollowUp{ProgramId: &program, EpisodeId: &done, PersonId: &man, Lifecycle: new("missed"), TargetHours: new(uint32(72)), DueAt: due("03-08 16:00")})
	// Two referrals: one connected after 4 days, one open since.
	step := func(n byte, at, state string) *tandemv1.ReferralEvent {
		return &tandemv1.ReferralEvent{Element: el(n), At: clock(tb, at), State: &state}
	}
	w.add(&tandemv1.Referral{
		ProgramId: &program, PersonId: &man, Lifecycle: new("active"), State: new("closed"), Outcome: new("connected"), ConnectedOn: new("2026-03-10"),
		Events: []*tandemv1.ReferralEvent{step(1, "03-06 10:00", "sent"), step(2, "03-08 10:00", "accepted")},
	})
	w.add(&tandemv1.Referral{ProgramId: &program, PersonId: &woman, Lifecycle: new("active"), State: new("sent"), Events: []*tandemv1.ReferralEvent{step(1, "03-06 10:00", "sent")}})
	// The survey: 5 and 4 of 5, and one that says nothing of it.
	survey := w.add(surveyForm())
	for _, answers := range [][]*tandemv1.FormAnswer{
		{form.Answer("respect", form.Code("5")), form.Answer("again", form.Bool(true))},
		{form.Answer("respect", form.Code("4"))},
		{form.Answer("again", form.Bool(false))},
	} {
		w.add(&tandemv1.FormResponse{
			ProgramId: &program, Lifecycle: new("signed"), FormId: &survey, Subject: new("community"), Respondent: new("anonymous"), AnsweredAt: clock(tb, "03-20 00:00"), Answers: answers,
		})
	}
	return w
}

// figures writes a measure down in a line.
func figures(m *report.Measure) string {
	if m.NoData != nil {
		return "no data: " + m.NoData.EN
	}
	c := &m.All
	var b strings.Builder
	switch m.Shape {
	case report.ShapeRate:
		fmt.Fprintf(&b, "%d/%d %d%%", *c.Numerator.N, *c.Denominator.N, *c.Percent)
	case report.ShapeTime:
		fmt.Fprintf(&b, "median %v p90 %v of %d", *c.Median, *c.P90, *c.Count.N)
	case report.ShapeTotal:
		fmt.Fprintf(&b, "sum %v of %d", *c.Sum, *c.Count.N)
	default:
		fmt.Fprintf(&b, "%d", *c.Count.N)
	}
	for _, x := range c.Mix {
		fmt.Fprintf(&b, " %s=%d", x.Code, *x.N)
	}
	if c.Mean != nil {
		fmt.Fprintf(&b, " mean %v", *c.Mean)
	}
	if *c.Unknown.N > 0 {
		fmt.Fprintf(&b, " unknown %d", *c.Unknown.N)
	}
	return b.String()
}

// TestMetricsByHand has every metric of a month that a person can count.
func TestMetricsByHand(t *testing.T) {
	t.Parallel()
	r, err := report.ComputeOutcomes(march(t), options(t))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(`
M1.people: 3
M1.identified: 2
M1.unidentified: 1
M1.year_to_date: 3
M1.by_follow_up: 0
M2.calls: 5
M2.contacts: 3
M2.contact_rate: 3/4 75%
M2.by_type: 5 welfare_check=5
M3.minutes: median 30 p90 70 of 4
M3.within_target: 2/4 50%
M4.minutes: median 40 p90 60 of 2 unknown 1
M4.officer_minutes: sum 50 of 1
M5.resolved: 1/3 33%
M6.police_called: 1/3 33%
M6.cit: 1/1 100%
M7.transported: 2/4 50%
M7.behavioral: 1/4 25%
M8.averted: 1/2 50% unknown 2
M8.by_source: 1 officer_statement=1
M9.arrested: 0/4 0%
M9.averted: 1/1 100% unknown 3
M10.held: 1/3 33% unknown 1
M10.averted: 0/1 0% unknown 2
M11.force: 2/3 67%
M11.more_than_handcuffs: 1/3 33%
M11.by_type: 2 cew=1 handcuffs=1
M12.injured: 1/3 33%
M12.by_party: 1 person=1
M13.within_30_days: 1/2 50%
M13.within_60_days: 1/2 50%
M14.connected: 1/2 50%
M14.declined: 0/1 0%
M14.days_to_accepted: median 2 p90 2 of 1
M14.days_to_connected: median 4 p90 4 of 1
M14.outcomes: 1 connected=1
M14.unresolved: 1
M15.within_24_hours: 0/2 0%
M15.within_72_hours: 1/2 50%
M15.within_7_days: 1/2 50%
M15.within_72_hours_or_collateral: 1/2 50%
M16.completed: 1/2 50%
M16.no_longer_needs: 1/2 50%
M16.days_open: median 10 p90 10 of 1
M17.on_time: 1/2 50%
M18.within_30_days: 1/2 50%
M18.within_90_days: 1/2 50%
M18.within_365_days: 1/2 50%
M18.before_closing: sum 1 of 1
M18.after_closing: sum 0 of 1
M19.safety: 1/2 50%
M19.screened: 1/4 25%
M20.hours_to_signature: median 3 p90 4 of 2 unknown 1
M20.old_drafts: 1
M20.amended: 1/4 25%
M20.conflicts: 0/21 0%
M20.sync_delay: no data: When a save arrived is kept with the change, not with the record; the server's operational measurements have it.
M21.service_rate: no data: No population table was given, so there is no rate.
M22.unmet: 1/5 20%
M23.calls: 5 mct=5
M24.experience.1.respect: 2 4=1 5=1 mean 4.5 unknown 1
M24.experience.1.again: 2 false=1 true=1 unknown 1`)
	var got []string
	for _, m := range r.Metrics {
		for i := range m.Measures {
			got = append(got, m.ID+"."+m.Measures[i].Key+": "+figures(&m.Measures[i]))
		}
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

// TestBreakdownsByHand has the groups of the same month.
func TestBreakdownsByHand(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Population = map[string]map[string]int{"gender": {"man": 100, "woman": 900}}
	r, err := report.ComputeOutcomes(march(t), o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"M7.transported", "M11.force", "M4.minutes", "M21.service_rate"} {
		for _, b := range found(t, r, name).Breakdowns {
			var line strings.Builder
			line.WriteString(name + " " + b.By)
			for _, g := range b.Groups {
				line.WriteString(" " + g.Code + "=")
				switch {
				case g.Numerator != nil:
					fmt.Fprintf(&line, "%d/%d", *g.Numerator.N, *g.Denominator.N)
				case g.PerThousand != nil:
					fmt.Fprintf(&line, "%v", *g.PerThousand)
				default:
					fmt.Fprint(&line, *g.Count.N)
				}
				if g.Ratio != nil {
					fmt.Fprintf(&line, " (%v)", *g.Ratio)
				}
			}
			got = append(got, line.String())
		}
	}
	want := strings.Split(strings.TrimSpace(`
M7.transported age_band 13-17=1/2 (1) 25-44=0/1 (0) unknown=1/1 (2)
M7.transported beat unknown=2/4 (1)
M7.transported gender woman=1/2 (1) man=0/1 (0) unknown=1/1 (2)
M7.transported hour_block 12-17=2/3 (1.33) unknown=0/1 (0)
M7.transported housing unknown=2/4 (1)
M7.transported language unknown=2/4 (1)
M7.transported model mct=2/4 (1)
M7.transported race_ethnicity asian=1/2 (1) black=0/1 (0) white=1/2 (1) two_or_more=1/2 (1) unknown=1/1 (2)
M7.transported zip unknown=2/4 (1)
M11.force age_band 13-17=1/1 (1.5) 25-44=0/1 (0) unknown=1/1 (1.5)
M11.force beat unknown=2/3 (1)
M11.force gender woman=1/1 (1.5) man=0/1 (0) unknown=1/1 (1.5)
M11.force hour_block 12-17=2/3 (1)
M11.force housing unknown=2/3 (1)
M11.force language unknown=2/3 (1)
M11.force model mct=2/3 (1)
M11.force race_ethnicity asian=1/1 (1.5) black=0/1 (0) white=1/1 (1.5) two_or_more=1/1 (1.5) unknown=1/1 (1.5)
M11.force zip unknown=2/3 (1)
M4.minutes age_band 13-17=1 25-44=1 unknown=0
M4.minutes beat unknown=2
M4.minutes gender woman=1 man=1 unknown=0
M4.minutes hour_block 12-17=2
M4.minutes housing unknown=2
M4.minutes language unknown=2
M4.minutes model mct=2
M4.minutes race_ethnicity asian=1 black=1 white=1 two_or_more=1 unknown=0
M4.minutes response_mode co_response=1 mobile_crisis=1 unknown=0
M4.minutes zip unknown=2
M21.service_rate gender woman=1.1 (0.56) man=10 (5) unknown=1`), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNothingIsInvented: where nobody was asked, nothing is claimed, and what there is no
// record of is no 0.
func TestNothingIsInvented(t *testing.T) {
	t.Parallel()
	w := &world{tb: t}
	for range 30 {
		w.add(&tandemv1.Encounter{Lifecycle: new("signed"), Type: new("crisis_response"), StartedAt: clock(t, "03-05 14:00"), Disposition: new("resolved_on_scene"), CfEd: new("unknown")})
	}
	r, err := report.ComputeOutcomes(w, options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"M8.averted", "M9.averted", "M10.averted", "M3.minutes", "M12.injured", "M14.connected", "M16.completed"} {
		for _, x := range []*report.Outcomes{r, r.ForPublic()} {
			if name == "M12.injured" || !strings.Contains("M8.averted M9.averted M10.averted", name) {
				continue
			}
			if m := found(t, x, name); m.NoData == nil || m.All.Percent != nil {
				t.Errorf("%s of 30 crises that nobody was asked about: got %s", name, figures(m))
			}
		}
		if m := found(t, r, name); m.NoData == nil {
			t.Errorf("%s: got %s, want no data", name, figures(m))
		}
	}
	if m := found(t, r, "M5.resolved"); figures(m) != "30/30 100%" {
		t.Errorf("resolved: got %s", figures(m))
	}
	var text strings.Builder
	if err := r.WriteText(&text, "en"); err != nil || !strings.Contains(text.String(), "No data: No anonymous survey") {
		t.Errorf("M24 without a survey: got %v\n%s", err, text.String())
	}
}
