package fieldsync

import (
	"fmt"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// codes maps the workload's own codes to the contract's.
var codes = map[string]string{
	"SI.PASSIVE": "suicidal_ideation", "SI.ACTIVE": "suicide_attempt", "HI": "threat_to_others",
	"PSY.AH": "psychosis", "PSY.VH": "mania_agitation", "PSY.PARANOIA": "partner_violence",
	"MOOD.LOW": "depression", "MOOD.ELEVATED": "family_conflict", "ANX.PANIC": "anxiety_panic",
	"SUB.ALCOHOL": "intoxication", "SUB.OPIOID": "overdose", "SUB.STIM": "withdrawal",
	"MED.NONADHERENT": "medical", "TRAUMA.RECENT": "trauma", "HOUSING.NONE": "homelessness",
	"DEV.ASD": "developmental_disability", "COG.DEMENTIA": "cognitive_dementia", "GRIEF": "grief",

	"DEESC": "deescalation", "SAFETYPLAN": "safety_plan", "MEANS.RESTRICT": "means_safety",
	"NALOXONE": "naloxone", "MED.SUPPORT": "medical_triage", "PEER": "peer_support",
	"TRANSPORT": "transport", "WARM.HANDOFF": "resource_info", "FAMILY.CONTACT": "family_support",
	"FOOD": "basic_needs_items", "SHELTER.CALL": "mediation", "TELEPSYCH": "crisis_counseling",
	"ASSESS.CSSRS": "screening", "ASSESS.PHQ9": "hospital_prescreen",

	"resolved_on_scene": "resolved_on_scene", "transported_voluntary": "transport_ed_voluntary",
	"transported_hold": "transport_ed_involuntary", "referred": "left_with_support",
	"refused": "refused_services", "no_contact": "left_scene", "handed_to_ems": "transport_medical",
	"handed_to_police": "handed_to_responder", "safety_plan": "no_service_needed",
}

// Encounter returns the document as one encounter record, without envelope fields.
// What belongs to an incident, and the referrals, follow the narrative as one line of
// text, so that the bytes carried are the document's.
func Encounter(d Doc) (*tandemv1.Encounter, error) {
	arrived, err := instant(d.ArrivedAt)
	if err != nil {
		return nil, err
	}
	cleared, err := instant(d.ClearedAt)
	if err != nil {
		return nil, err
	}
	e := &tandemv1.Encounter{
		PersonId: new(d.Person), StartedAt: arrived, EndedAt: cleared,
		PresentingPrimary: new(codes[d.Presenting[0]]), Disposition: new(codes[d.Disposition]),
		Narrative: new(d.Narrative + "\n" + d.rest()),
	}
	for _, p := range d.Presenting[1:] {
		e.PresentingOther = append(e.PresentingOther, codes[p])
	}
	for _, i := range d.Interventions {
		e.Interventions = append(e.Interventions, codes[i])
	}
	return e, nil
}

func instant(s string) (*tandemv1.Instant, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, err
	}
	return &tandemv1.Instant{AtMs: new(t.UnixMilli())}, nil
}

// rest is the line of what has no field in an encounter.
func (d Doc) rest() string {
	return fmt.Sprintf("%s %d %.6f %.6f %s %s %s %s %s", d.CallType, d.Priority, d.Lat, d.Lon, d.Unit,
		strings.Join(d.Crew, " "), d.Address, d.DispatchedAt, strings.Join(d.Referrals, " "))
}
