package record

import (
	"fmt"
	"slices"
	"strings"
)

// anyState stands for every save, whatever the lifecycle.
const anyState = ""

// need is a field that a record must hold.
type need struct {
	// field, or one of several.
	field []string
	// when says that the record is asked for it; nil is always.
	when func(v *view) bool
	// warn: a save without it is taken, and the form says what will be asked.
	warn bool
}

// needs lists what a record must hold, by kind and by the lifecycle code that it
// is to enter; anyState asks at every save. Imports are asked for nothing: they
// claim what their source said and no more.
var needs = map[string]map[string][]need{
	agency:  {anyState: all("name", "type", "agency_tz", "default_lang")},
	program: {anyState: all("name", "model", "agency_id")},
	team:    {anyState: all("name", "program_id")},
	staff:   {anyState: all("display_name", "agency_id", "roles", "discipline")},
	device:  {anyState: all("label", "state")},
	incident: {
		// A call begins with one tap: what it needs it may get later.
		anyState: later(incidentNeeds),
		Cleared: slices.Concat(incidentNeeds, all("cleared_at", "contact", "le_involvement"), []need{
			{field: []string{"le_actions"}, when: policePresent},
			{field: []string{"force_used"}, when: policePresent},
		}),
	},
	person: {anyState: {{field: []string{"names", "descriptor"}}}},
	encounter: {
		Signed: slices.Concat(
			all("identity", "type", "started_at", "ended_at", "presenting_primary", "substance",
				"danger_self", "danger_others", "cannot_care_for_self", "disposition", "legal_status", "follow_up_plan"),
			[]need{
				{field: []string{"incident_id"}, when: is("type", "crisis_response", "outreach")},
				{field: []string{"person_id"}, when: is("identity", "identified", "partial")},
				{field: []string{"interventions"}, when: isNot("disposition", "refused_services")},
				{field: []string{"transport_by"}, when: transported},
				{field: []string{"cf_ed"}, when: is("type", "crisis_response")},
				{field: []string{"cf_arrest"}, when: is("type", "crisis_response")},
				{field: []string{"cf_hold"}, when: is("type", "crisis_response")},
				{field: []string{"cf_source"}, when: func(v *view) bool {
					return v.code("cf_ed") == "yes" || v.code("cf_arrest") == "yes" || v.code("cf_hold") == "yes"
				}},
			},
		),
	},
	referral: {anyState: slices.Concat(all("person_id", "need", "urgency", "state"),
		[]need{{field: []string{"resource_id", "target_text"}, warn: true}})},
	note: {Signed: all("target", "type", "text")},
	episode: {
		anyState: all("person_id", "program_id", "opened_at", "window_days"),
		Closed:   slices.Concat(all("closed_at", "close_reason"), later(all("needs_at_close"))),
	},
	followUp: {
		anyState: all("episode_id", "person_id"),
		Done:     all("occurred_at", "mode", "outcome"),
	},
	consent: {
		anyState: slices.Concat(
			all("person_id", "type", "decision", "given_on", "method", "signer"),
			[]need{
				{field: []string{"expires_on", "no_expiry"}, when: is("decision", "given")},
				{field: []string{"witness"}, when: is("method", "verbal_witnessed")},
				{field: []string{"signer_name"}, when: is("signer", "guardian", "agent")},
				{field: []string{"discloser"}, when: released},
				{field: []string{"recipients"}, when: released},
				{field: []string{"info_scope"}, when: released},
				{field: []string{"purpose"}, when: released},
			},
		),
		Revoked: all("revoked_on"),
	},
	disclosure: {anyState: slices.Concat(
		[]need{{field: []string{"person_id", "export_id"}}},
		all("at", "recipient", "basis", "what"),
		[]need{{field: []string{"consent_id"}, when: is("basis", "consent")}},
	)},
	safetyAlert: {
		anyState: slices.Concat(
			all("person_id", "category", "text", "audience", "expires_on"),
			[]need{{field: []string{"basis"}, when: is("audience", "team_with_le")}},
		),
		Active: {{field: []string{"approved_by"}, when: is("audience", "team_with_le")}},
	},
	alertCard: {anyState: all("category", "text", "expires_on")},
	attachment: {anyState: slices.Concat(
		[]need{{field: []string{"owner"}, when: isNot("category", protocol)}},
		all("category", "sha256", "media_type", "size"),
	)},
	review: {anyState: slices.Concat(
		all("target", "rev", "decision", "by", "at"),
		[]need{{field: []string{"comment"}, when: is("decision", "returned", "flagged")}},
	)},
	resource: {anyState: all("service_name", "org_name", "category", "status")},
	codeSet:  {anyState: all("list")},
}

// released reports whether a consent lets something be passed on: then it says who may
// pass what on to whom and what for (42 CFR 2.31).
func released(v *view) bool {
	if v.code("decision") != "given" {
		return false
	}
	switch t := v.code("type"); t {
	case "release", "network_sharing", "le_sharing":
		return true
	default:
		return strings.HasPrefix(t, "part2_")
	}
}

var incidentNeeds = slices.Concat(
	all("number", "source", "call_type", "response_mode", "responders", "place_type"),
	[]need{{field: []string{"dispatched_at", "arrived_at"}}},
)

// entered maps a lifecycle code to the one whose needs hold there too.
var entered = map[string]string{
	Cleared: Cleared, Locked: Cleared, Signed: Signed, Amended: Signed,
	Closed: Closed, Done: Done, Revoked: Revoked, Active: Active,
}

// all needs each of the fields.
func all(fields ...string) []need {
	out := make([]need, 0, len(fields))
	for _, f := range fields {
		out = append(out, need{field: []string{f}})
	}
	return out
}

// later makes needs into warnings.
func later(needs []need) []need {
	out := slices.Clone(needs)
	for i := range out {
		out[i].warn = true
	}
	return out
}

func is(field string, codes ...string) func(*view) bool {
	return func(v *view) bool { return slices.Contains(codes, v.code(field)) }
}

func isNot(field string, codes ...string) func(*view) bool {
	return func(v *view) bool { return !slices.Contains(codes, v.code(field)) }
}

func policePresent(v *view) bool {
	switch v.code("le_involvement") {
	case "", "none", NotRecorded:
		return false
	}
	return true
}

func transported(v *view) bool { return strings.HasPrefix(v.code("disposition"), "transport_") }

// missing returns the needs of a lifecycle code that the record does not meet.
func (v *view) missing(state string) []need {
	var out []need
	for _, n := range v.kind.required[state] {
		if n.when != nil && !n.when(v) || slices.ContainsFunc(n.field, v.has) {
			continue
		}
		out = append(out, n)
	}
	return out
}

// fillRequired puts the needs on the kinds and checks their names.
func (d *Domain) fillRequired() error {
	for name, states := range needs {
		k := d.byName[name]
		if k == nil {
			return fmt.Errorf("needs name the kind %s, which the contract does not know", name)
		}
		for state, list := range states {
			if _, known := d.lists[k.rules.GetLifecycle()].place[state]; !known && state != anyState {
				return fmt.Errorf("needs of %s name the lifecycle code %s, which is none", name, state)
			}
			for _, n := range list {
				for _, f := range n.field {
					if k.table.byName[f] == nil {
						return fmt.Errorf("needs of %s name the field %s, which is none", name, f)
					}
				}
			}
		}
		k.required = states
	}
	return nil
}
