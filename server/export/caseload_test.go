package export_test

import (
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

const clinical = tandemv1.Compartment_COMPARTMENT_CLINICAL

func at(minutes int64) *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(now + minutes*60_000), Origin: new("tap")}
}

func element(n byte) []byte { return []byte{n, n, n, n, n, n, n, n} }

// caseload puts a person's whole way there: the call, the contact, the episode and what
// came of it, each field as somebody would fill it in.
func (w *world) caseload(n int) {
	agency, program, team, tz := new(w.agency[0].String()), new(w.program[0].String()), new(w.team[0].String()), new("America/Chicago")
	clinician := new(w.staff["clinician"].String())
	one := func(in tandemv1.Compartment, m proto.Message) *string { return new(w.add(in, m)[0].String()) }

	resource := one(0, &tandemv1.Resource{
		AgencyId: agency, Lifecycle: new("active"), ServiceName: &tandemv1.LocalizedText{En: new("Walk-in clinic"), Es: new("Clínica")}, OrgName: new("Example clinic"),
		Category: []string{"mental_health"}, Status: new("active"), Address: new("1 Example Street"), City: new("Exampleville"), Zip5: new("61801"), Lat: new(40.1), Lon: new(-88.2),
		Phones: []*tandemv1.ResourcePhone{{Element: element(1), Number: new("+12175550199"), Type: new("voice")}}, Url: new("https://clinic.example"),
	})
	call := w.incident(0, fmt.Sprintf("A-%d", n))
	call.ArrivedAt, call.ClearedAt, call.CallType, call.PlaceType = at(9), at(70), new("behavioral_crisis"), new("home")
	call.Location = &tandemv1.Location{Zip5: new("61801"), City: new("Urbana"), Lat: new(40.11), Lon: new(-88.207), Address: new("=2+5")}
	call.Responders[0].StaffId, call.Responders[0].OnSceneRole = clinician, new("social_worker")
	incident := one(0, call)
	p := w.person(0, fmt.Sprintf("Testperson <%d> & \"co\"", n))
	p.Gender, p.RaceEthnicity, p.Zip5, p.City, p.Lang = new("woman"), []string{"hispanic", "white"}, new("61801"), new("Urbana"), new("es")
	p.Names[0].Given, p.Names[0].Use = new("María José"), new("legal")
	p.Phones = []*tandemv1.PersonPhone{{Element: element(2), Number: new("0012175550123"), SafeCall: new(true)}}
	p.Contacts = []*tandemv1.PersonContact{{Element: element(3), Name: new("A sister"), Relation: new("sister"), Phone: new("+12175550124")}}
	p.ExternalIds = []*tandemv1.ExternalId{{Element: element(4), System: new("County MRN"), Value: new("000123")}}
	person := w.add(clinical, p)[0]
	who := new(person.String())
	e := &tandemv1.Encounter{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("signed"), IncidentId: incident, PersonId: who, Identity: new("identified"),
		Type: new("crisis_response"), StartedAt: at(10), EndedAt: at(65), AgeYears: new(uint32(43)), PresentingPrimary: new("psychosis"),
		PresentingOther: []string{"homelessness", "basic_needs"}, Substance: new("none"), DangerSelf: new("low"), DangerOthers: new("none"), CannotCareForSelf: new("no"),
		Interventions: []string{"deescalation", "safety_plan"}, Disposition: new("left_with_support"), LegalStatus: new("voluntary"), CfEd: new("yes"), CfArrest: new("no"),
		CfHold: new("unknown"), CfSource: new("clinician_judgment"), FollowUpPlan: new("opened_episode"), Narrative: new("Line one\r\nline two, \"quoted\" _x0041_ ñ 火\t"),
		SignedBy: clinician, SignedAt: at(90), Housing: new("unsheltered"),
	}
	encounter := one(clinical, e)
	episode := one(clinical, &tandemv1.Episode{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("closed"), PersonId: who, OpenedAt: at(90), EncounterId: encounter, LeadStaffId: clinician,
		WindowDays: new(uint32(60)), Goals: new("A home"), RiskAtOpen: new("moderate"), ClosedAt: at(60 * 24 * 40), CloseReason: new("connected_to_care"), NeedsAtClose: new("met"),
	})
	for i, state := range []string{"done", "planned", "missed"} {
		f := &tandemv1.FollowUp{AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new(state), EpisodeId: episode, PersonId: who, DueAt: at(int64(1440 * (i + 1))), StaffId: clinician}
		if state == "done" {
			f.OccurredAt, f.Mode, f.Outcome, f.Note, f.Needs = at(1400), new("phone"), new("reached_person"), new("Doing well"), []string{"housing"}
		}
		w.add(clinical, f)
	}
	consent := one(clinical, &tandemv1.Consent{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("active"), PersonId: who, Type: new("release"), Decision: new("given"), Discloser: new("The team"),
		Purpose: new("Care"), InfoScope: new("Summary"), GivenOn: new("2023-11-14"), ExpiresOn: new("2024-11-14"), Method: new("esign"), Signer: new("person"), Lang: new("es"),
		Recipients: []*tandemv1.ConsentRecipient{{Element: element(5), ResourceId: resource}, {Element: element(6), Name: new("A cousin")}},
	})
	referral := func(state, outcome string) {
		r := &tandemv1.Referral{
			AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("active"), PersonId: who, EpisodeId: episode, EncounterId: encounter, Need: new("mental_health"),
			ResourceId: resource, Urgency: new("days_3"), State: new(state), ConsentId: consent, InfoShared: new("summary"), Barrier: []string{"transport"}, DoNotContactSubject: new(true),
			Events: []*tandemv1.ReferralEvent{{Element: element(7), At: at(95), By: clinician, State: new("sent")}, {Element: element(8), At: at(2000), By: clinician, State: new(state), Reason: new("as said")}},
		}
		if outcome != "" {
			r.Outcome, r.ConnectedOn = new(outcome), new("2023-11-20")
		}
		w.add(clinical, r)
	}
	for _, state := range []string{"draft", "offered", "sent", "acknowledged", "accepted", "waitlisted", "scheduled"} {
		referral(state, "")
	}
	for _, outcome := range []string{"connected", "no_capacity", "no_show", "expired"} {
		referral("closed", outcome)
	}
	note := &tandemv1.Note{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("signed"), Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: encounter},
		Type: new("addendum"), Text: new("One more thing"), SignedBy: clinician, SignedAt: at(200),
	}
	parent := one(clinical, note)
	w.add(clinical, &tandemv1.Note{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("amended"), Target: &tandemv1.RecordRef{Kind: new("person"), Id: who}, ParentId: new(*parent),
		Type: new("addendum"), Text: new("And another"), SignedBy: clinician, SignedAt: at(300),
	})
	w.add(clinical, &tandemv1.SafetyAlert{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("active"), PersonId: who, Category: new("deescalation_tip"), Text: new("Speak slowly"),
		Audience: new("clinical"), ExpiresOn: new("2024-02-14"), ApprovedBy: clinician, ApprovedAt: at(100),
	})
	w.add(clinical, &tandemv1.Disclosure{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("recorded"), PersonId: who, At: at(96), Recipient: new("Example clinic"), Basis: new("consent"),
		ConsentId: consent, By: clinician, EncounterId: encounter, What: []string{"identity", "presenting"},
	})
	w.add(clinical, &tandemv1.Review{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("recorded"), Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: encounter}, Rev: new(uint32(1)),
		StateHash: []byte{9, 9}, Decision: new("approved"), By: new(w.staff["lead"].String()), At: at(600),
	})
	form := one(0, &tandemv1.Form{
		AgencyId: agency, Lifecycle: new("published"), Code: new(fmt.Sprintf("screen_%d", n)), Version: new(uint32(1)), Title: &tandemv1.LocalizedText{En: new("A screen"), Es: new("Una prueba")},
		Subject: new("encounter"), Category: new("screening"), Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{
			{LinkId: new("g"), Type: new("group"), Text: &tandemv1.FormText{En: new("Questions")}},
			{LinkId: new("q1"), Parent: new("g"), Type: new("boolean"), Text: &tandemv1.FormText{En: new("Well?")}, Required: new(true)},
			{LinkId: new("q2"), Parent: new("g"), Type: new("choice"), Repeats: new(true), Text: &tandemv1.FormText{En: new("Which?")}, Options: []*tandemv1.FormOption{
				{Kind: new("coding"), Code: new("a"), Text: &tandemv1.FormText{En: new("A")}}, {Kind: new("string"), Code: new("b")}, {Kind: new("integer"), Code: new("3")},
			}},
			{LinkId: new("d"), Type: new("display"), Text: &tandemv1.FormText{En: new("Thank you")}},
		}},
	})
	w.add(clinical, &tandemv1.FormResponse{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("signed"), FormId: form, FormCode: new(fmt.Sprintf("screen_%d", n)), FormVersion: new(uint32(1)),
		Subject: new("encounter"), PersonId: who, EncounterId: encounter, Lang: new("es"), Respondent: new("self"), AnsweredAt: at(40), Score: new(2.5), Band: new("low"),
		SignedBy: clinician, SignedAt: at(91), Answers: []*tandemv1.FormAnswer{
			{Element: element(9), LinkId: new("q1"), Values: []*tandemv1.FormValue{{Boolean: new(false)}}},
			{Element: element(10), LinkId: new("q2"), Values: []*tandemv1.FormValue{{Code: new("a")}, {Integer: new(int64(3))}, {Decimal: new("-1.50")}, {Date: new("2024-01-02")}, {Text: new("b")}}},
			{Element: element(11), LinkId: new("q3")},
		},
	})
	w.add(clinical, &tandemv1.Attachment{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("active"), Owner: &tandemv1.RecordRef{Kind: new("person"), Id: who}, Category: new("consent_form"),
		Sha256: make([]byte, 32), MediaType: new("pdf"), Size: new(uint32(1234)), Title: new("Signed form"),
	})
	// Somebody who was not known, and a call at which nobody was.
	w.add(clinical, &tandemv1.Encounter{
		AgencyId: agency, ProgramId: program, TeamId: team, Tz: tz, Lifecycle: new("amended"), IncidentId: incident, Identity: new("unidentified"), Type: new("outreach"),
		StartedAt: &tandemv1.Instant{AtMs: new(int64(now)), Precision: new("day")}, Interventions: []string{"resource_info"}, Disposition: new("left_scene"), SignedBy: clinician, SignedAt: at(100),
	})
	w.add(0, w.incident(0, fmt.Sprintf("B-%d", n)))
}
