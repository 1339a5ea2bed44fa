package report_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// world is a state of records, written down by hand or at random.
type world struct {
	tb    testing.TB
	rows  []row
	count uint64
}

type row struct {
	id  syncengine.ID
	msg proto.Message
	// open: it has a difference that nobody has settled.
	open bool
}

// Each implements report.Source.
func (w *world) Each(kind uint32, f func(*syncengine.StoredRecord) error) error {
	domain := record.New()
	for _, r := range w.rows {
		if domain.KindOf(r.msg).Number != kind {
			continue
		}
		body, err := domain.Body(r.msg)
		if err != nil {
			w.tb.Fatal(err)
		}
		rec := &syncengine.StoredRecord{Record: syncengine.Record{ID: r.id, Kind: kind, Body: body}, Plain: !r.open}
		if err := f(rec); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) add(msg proto.Message) string {
	w.count++
	var id syncengine.ID
	binary.BigEndian.PutUint64(id[8:], w.count)
	w.rows = append(w.rows, row{id: id, msg: msg})
	return id.String()
}

// The zone and period of these tests: March 2026 in Chicago, seen from May.
const chicago = "America/Chicago"

func options(tb testing.TB) report.OutcomeOptions {
	zone := mustZone(tb, chicago)
	return report.OutcomeOptions{
		Zone: zone, From: time.Date(2026, 3, 1, 0, 0, 0, 0, zone), To: time.Date(2026, 4, 1, 0, 0, 0, 0, zone),
		AsOf: time.Date(2026, 7, 1, 0, 0, 0, 0, zone),
	}
}

// clock reads "03-05 14:00" as a moment of 2026 in Chicago.
func clock(tb testing.TB, text string) *tandemv1.Instant {
	tb.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", "2026-"+text, mustZone(tb, chicago))
	if err != nil {
		tb.Fatal(err)
	}
	return &tandemv1.Instant{AtMs: new(at.UnixMilli())}
}

func el(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }

// found returns a measure by "M7.transported".
func found(tb testing.TB, r *report.Outcomes, name string) *report.Measure {
	tb.Helper()
	for i := range r.Metrics {
		for j := range r.Metrics[i].Measures {
			if m := &r.Metrics[i].Measures[j]; r.Metrics[i].ID+"."+m.Key == name {
				return m
			}
		}
	}
	tb.Fatalf("there is no measure %s", name)
	return nil
}

func one[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// some returns a value in most cases.
func some(r *rand.Rand, from ...string) *string {
	if r.IntN(8) == 0 {
		return nil
	}
	return new(one(r, from...))
}

// randomWorld makes a few months of two programs.
func randomWorld(tb testing.TB, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &world{tb: tb}
	zone := mustZone(tb, chicago)
	begin := time.Date(2025, 11, 1, 0, 0, 0, 0, zone)
	moment := func() time.Time {
		return begin.Add(time.Duration(r.Int64N(int64(230 * 24 * time.Hour)))).Truncate(time.Minute)
	}
	instant := func(at time.Time) *tandemv1.Instant { return &tandemv1.Instant{AtMs: new(at.UnixMilli())} }
	maybe := func(at time.Time) *tandemv1.Instant {
		if r.IntN(6) == 0 {
			return nil
		}
		return instant(at)
	}
	var programs, people, incidents, episodes []string
	for range 2 {
		programs = append(programs, w.add(&tandemv1.Program{
			Lifecycle: new("active"), Name: &tandemv1.LocalizedText{En: new("Example")}, Model: new(one(r, "crt", "mct", "cit", "community_responder")),
			ResponseTargetMin: new(uint32(one(r, 10, 30, 60))), FollowUpLadderHours: []string{"24", "72", "168"},
		}))
	}
	for range 12 {
		p := &tandemv1.Person{
			Lifecycle: new("active"), Gender: some(r, "woman", "man", "nonbinary"), Lang: some(r, "en", "es", "es-MX"), DoNotContact: new(r.IntN(8) == 0),
			RaceEthnicity: slices.Compact(slices.Sorted(slices.Values([]string{one(r, "black", "white"), one(r, "black", "asian")}))),
			Dob:           some(r, "1990-05-05", "2012-03-10", "1950-01-01"),
		}
		if r.IntN(12) == 0 {
			p.DeceasedOn = new("2026-03-20")
		}
		if len(people) > 2 && r.IntN(5) == 0 {
			p.MergedInto, p.Lifecycle = new(one(r, people...)), new("merged")
		}
		people = append(people, w.add(p))
	}
	for range 60 {
		sent := moment()
		arrived := sent.Add(time.Duration(r.IntN(90)-3) * time.Minute)
		in := &tandemv1.Incident{
			ProgramId: new(one(r, programs...)), Lifecycle: new(one(r, "open", "cleared", "locked", "void")), DispatchedAt: maybe(sent), ArrivedAt: maybe(arrived),
			ClearedAt: maybe(arrived.Add(time.Duration(r.IntN(200)) * time.Minute)), LeClearedAt: maybe(arrived.Add(time.Duration(r.IntN(100)) * time.Minute)),
			Contact:  some(r, "contact_made", "contact_made", "no_person_found", "cancelled_enroute", "team_unavailable", "not_recorded"),
			CallType: some(r, "welfare_check", "overdose"), LeInvolvement: some(r, "none", "partner_on_team", "requested_by_team", "backup_called", "not_recorded"),
			ForceUsed: some(r, "yes", "no", "unknown"), ResponseMode: some(r, "co_response", "telehealth"),
			Location: &tandemv1.Location{Zip5: some(r, "61820", "61821")},
		}
		if in.GetForceUsed() == "yes" {
			in.ForceTypes = one(r, []string{"handcuffs"}, []string{"handcuffs", "takedown"}, []string{"cew"}, nil)
		}
		if r.IntN(10) == 0 {
			in.Injuries = []*tandemv1.Injury{{Element: el(1), Party: new(one(r, "person", "officer"))}}
		}
		for n := range r.IntN(3) {
			resp := &tandemv1.Responder{Element: el(byte(n + 1)), OnSceneRole: new(one(r, "officer", "nurse"))}
			if r.IntN(3) > 0 {
				resp.CitTrained = new(r.IntN(2) == 0)
			}
			in.Responders = append(in.Responders, resp)
		}
		incidents = append(incidents, w.add(in))
	}
	for range 90 {
		at := moment()
		e := &tandemv1.Encounter{
			ProgramId: new(one(r, programs...)), Lifecycle: new(one(r, "signed", "signed", "signed", "amended", "draft", "void")), IncidentId: some(r, incidents...),
			PersonId: some(r, people...), Type: new(one(r, "crisis_response", "crisis_response", "outreach", "consult_only")), StartedAt: maybe(at),
			Disposition: some(r, "resolved_on_scene", "left_with_support", "transport_ed_voluntary", "transport_ed_involuntary", "transport_medical", "arrest_custody",
				"refused_services", "left_scene", "no_service_needed", "transport_psych_unit", "not_recorded"),
			LegalStatus: some(r, "voluntary", "involuntary_team", "not_recorded"), CfEd: some(r, "yes", "no", "unknown"), CfArrest: some(r, "yes", "no", "unknown"),
			CfHold: some(r, "yes", "no", "unknown"), CfSource: some(r, "officer_statement"), DangerSelf: some(r, "none", "moderate", "high"),
			Interventions: one(r, nil, []string{"safety_plan"}, []string{"screening", "means_safety"}, []string{"hospital_prescreen"}, []string{"transport"}),
			SignedAt:      maybe(at.Add(time.Duration(r.IntN(5000)) * time.Minute)), Housing: some(r, "housed", "unsheltered"),
		}
		w.add(e)
	}
	for range 30 {
		opened := moment()
		ep := &tandemv1.Episode{
			ProgramId: new(one(r, programs...)), PersonId: some(r, people...), Lifecycle: new(one(r, "active", "closed", "closed")), OpenedAt: maybe(opened),
			WindowDays: new(uint32(one(r, 30, 60))), Tz: new(chicago),
		}
		if ep.GetLifecycle() == "closed" {
			ep.ClosedAt = maybe(opened.Add(time.Duration(r.IntN(80*24)) * time.Hour))
			ep.CloseReason = new(one(r, "no_longer_needs_support", "connected_to_care", "declined", "deceased", "moved", "entered_in_error"))
		}
		if r.IntN(5) == 0 {
			ep.ExtendedTo = new(opened.AddDate(0, 0, 75).Format(time.DateOnly))
		}
		episodes = append(episodes, w.add(ep))
	}
	last := ""
	for range 80 {
		due := moment()
		fu := &tandemv1.FollowUp{
			ProgramId: new(one(r, programs...)), EpisodeId: some(r, episodes...), PersonId: some(r, people...), DueAt: maybe(due),
			Lifecycle: new(one(r, "planned", "done", "done", "missed", "cancelled")), TargetHours: new(uint32(one(r, 24, 72, 168, 100))),
		}
		if fu.GetLifecycle() == "done" {
			fu.OccurredAt = maybe(due.Add(time.Duration(r.IntN(200)-100) * time.Hour))
			fu.Outcome, fu.ServiceUse = some(r, "reached_person", "reached_collateral", "no_answer"), some(r, "yes", "no")
		}
		if last != "" && r.IntN(6) == 0 {
			fu.Supersedes = new(last)
		}
		last = w.add(fu)
	}
	for range 40 {
		at := moment()
		ref := &tandemv1.Referral{
			ProgramId: new(one(r, programs...)), PersonId: some(r, people...), Lifecycle: new("active"), State: new(one(r, "draft", "sent", "accepted", "closed", "closed")),
			Events: []*tandemv1.ReferralEvent{{Element: el(1), At: maybe(at), State: new("offered")}},
		}
		if r.IntN(3) > 0 {
			ref.Events = append(ref.Events, &tandemv1.ReferralEvent{Element: el(2), At: maybe(at.Add(time.Hour)), State: new("sent")})
		}
		if r.IntN(3) > 0 {
			ref.Events = append(ref.Events, &tandemv1.ReferralEvent{Element: el(3), At: maybe(at.Add(50 * time.Hour)), State: new("accepted")})
		}
		if ref.GetState() == "closed" {
			if ref.Outcome = some(r, "connected", "connected", "declined_by_person", "no_show"); ref.GetOutcome() == "connected" {
				ref.ConnectedOn = new(at.AddDate(0, 0, r.IntN(50)).Format(time.DateOnly))
			}
		}
		w.add(ref)
	}
	survey := w.add(surveyForm())
	for range 20 {
		w.add(&tandemv1.FormResponse{
			ProgramId: new(one(r, programs...)), Lifecycle: new("signed"), FormId: &survey, Subject: new("community"), Respondent: new("anonymous"), AnsweredAt: instant(moment()),
			Answers: []*tandemv1.FormAnswer{form.Answer("respect", form.Code(one(r, "1", "2", "5")))},
		})
	}
	return w
}

func surveyForm() *tandemv1.Form {
	options := []*tandemv1.FormOption{}
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		options = append(options, &tandemv1.FormOption{Kind: new("coding"), Code: new(n), Text: &tandemv1.FormText{En: new(n + " of 5"), Es: new(n + " de 5")}, Ordinal: new(float64(n[0] - '0'))})
	}
	return &tandemv1.Form{
		Lifecycle: new("published"), Code: new("experience"), Version: new(uint32(1)), Subject: new("community"), Category: new("survey"),
		Title: &tandemv1.LocalizedText{En: new("Your experience"), Es: new("Su experiencia")},
		Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{
			{LinkId: new("respect"), Type: new("choice"), Options: options, Text: &tandemv1.FormText{En: new("The team treated me with respect"), Es: new("El equipo me trató con respeto")}},
			{LinkId: new("again"), Type: new("boolean"), Text: &tandemv1.FormText{En: new("I would call again"), Es: new("Volvería a llamar")}},
		}},
	}
}

// rename makes the ids in a message those of a world of its own.
func rename(msg proto.Message, world byte) {
	m := msg.ProtoReflect()
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.StringKind || f.IsList() {
			return true
		}
		if id, err := syncengine.ParseID(v.String()); err == nil {
			id[0] = world
			m.Set(f, protoreflect.ValueOfString(id.String()))
		}
		return true
	})
}
