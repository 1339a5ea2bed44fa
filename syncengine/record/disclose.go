package record

import (
	"cmp"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Part2Notice is the statement that goes with each disclosure of records of a substance use
// program (42 CFR 2.32(a)(2)). It is the law's own text, and English in both languages.
const Part2Notice = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."

// How much of a referral's person was passed on, in codes of disclosed_field, by the
// codes of info_shared that pass anything on.
var sharedFields = map[string][]string{
	"name_phone": {"contact", "identity", "referrals"},
	"summary":    {"contact", "danger", "disposition", "identity", "presenting", "referrals"},
	"full":       {"contact", "danger", "disposition", "episode", "identity", "narrative", "presenting", "referrals", "screening"},
}

// left are the states of a referral that has gone to whom it is addressed.
var left = []string{"sent", "acknowledged", "accepted", "waitlisted", "scheduled"}

// referred returns the disclosure that a referral has made by being sent: to whom, what,
// on which basis. It is made once for each recipient, extent and basis, and stays as it is
// whatever becomes of the referral. Nothing is claimed of an imported one: its source
// accounts for it.
func (d *Domain) referred(rec *syncengine.Record, look syncengine.Lookup, by syncengine.ID, atMS int64) ([]syncengine.Projection, error) {
	msg, err := d.Message(rec)
	if err != nil {
		return nil, err
	}
	m, _ := msg.(*tandemv1.Referral)
	what := slices.Clone(sharedFields[m.GetInfoShared()])
	gone := slices.Contains(left, m.GetState()) || m.GetState() == Closed && slices.ContainsFunc(m.GetEvents(), func(e *tandemv1.ReferralEvent) bool {
		return slices.Contains(left, e.GetState())
	})
	if !gone || len(what) == 0 || m.GetLifecycle() == Void || imported(rec) {
		return nil, nil
	}
	// An entry of the directory that has a name says to whom; otherwise the words do.
	recipient, words := m.GetTargetText(), m.GetTargetText()
	if id, err := syncengine.ParseID(m.GetResourceId()); err == nil {
		to, err := look(id)
		if err != nil {
			return nil, err
		}
		if to != nil && d.kinds[to.Kind] != nil && d.kinds[to.Kind].Name == resource {
			if msg, err = d.Message(to); err != nil {
				return nil, err
			}
			if r, ok := msg.(*tandemv1.Resource); ok {
				if known := named(r.GetOrgName(), r.GetServiceName().GetEn()); known != "" {
					recipient, words = known, ""
				}
			}
		}
	}
	basis := m.GetShareBasis()
	if basis == "" && m.GetConsentId() != "" {
		basis = consent
	}
	if rec.Compartment(&d.byName[referral].Kind) == sud {
		what = append(what, "substance_use")
	}
	out := &tandemv1.Disclosure{
		AgencyId: m.AgencyId, ProgramId: m.ProgramId, TeamId: m.TeamId,
		PersonId: m.PersonId, EncounterId: m.EncounterId, ReferralId: new(rec.ID.String()), ConsentId: m.ConsentId, What: what,
	}
	key := strings.Join([]string{disclosure, m.GetResourceId(), words, m.GetInfoShared(), basis, m.GetConsentId()}, "\x00")
	p, err := d.made(rec, referral, out, key, recipient, basis, by, atMS)
	return []syncengine.Projection{p}, err
}

// shown returns the disclosure that an alert has made by its card being shown to police
// partners: once for each text, audience and basis.
func (d *Domain) shown(rec *syncengine.Record, card *tandemv1.AlertCard, alert *tandemv1.SafetyAlert, look syncengine.Lookup, by syncengine.ID, atMS int64) (syncengine.Projection, error) {
	basis, note := alert.GetBasis(), ""
	if basis == "observed_in_public" {
		// The list of the law's bases has no such word.
		basis, note = "le_limited", "Observed in public"
	}
	recipient, ids, err := d.partners(rec, look)
	if err != nil {
		return syncengine.Projection{}, err
	}
	what := []string{"identity", "safety"}
	if card.GetAddress() != "" {
		what = []string{"identity", "location", "safety"}
	}
	out := &tandemv1.Disclosure{AgencyId: alert.AgencyId, ProgramId: alert.ProgramId, TeamId: alert.TeamId, PersonId: alert.PersonId, What: what}
	if note != "" {
		out.Note = &note
	}
	key := strings.Join([]string{disclosure, alert.GetBasis(), alert.GetCategory(), alert.GetText(), alert.GetAddress(), strings.Join(ids, " ")}, "\x00")
	return d.made(rec, safetyAlert, out, key, recipient, basis, by, atMS)
}

// made is the projection of a disclosure of rec, a record of a kind.
func (d *Domain) made(rec *syncengine.Record, of string, m *tandemv1.Disclosure, key, recipient, basis string, by syncengine.ID, atMS int64) (p syncengine.Projection, err error) {
	p = syncengine.Projection{Source: rec.ID, Rule: key, Kind: d.byName[disclosure].Number, Once: true}
	if c := rec.Compartment(&d.byName[of].Kind); c != d.byName[disclosure].Compartment {
		p.Compartment = c
	}
	m.Lifecycle, m.At = new("recorded"), &tandemv1.Instant{AtMs: &atMS, Origin: new("tap")}
	if !by.IsZero() {
		m.By = new(by.String())
	}
	if recipient = clipped(recipient, 300); recipient != "" {
		m.Recipient = &recipient
	}
	if basis != "" {
		m.Basis = &basis
	}
	p.Body, err = d.Body(m)
	return p, err
}

// partners names the police agencies that are partners in a record's program, and returns
// their ids: a name may change, and nothing is disclosed by that.
func (d *Domain) partners(rec *syncengine.Record, look syncengine.Lookup) (recipient string, ids []string, err error) {
	by := &others{domain: d, rec: rec, look: look}
	of := by.record(rec.Text(syncengine.FieldProgram), program)
	if of == nil {
		if t := by.record(rec.Text(syncengine.FieldTeam), team); t != nil {
			of = by.named(t, "program_id", program)
		}
	}
	var names []string
	if of != nil {
		for _, f := range of.raw("partner_agency_ids") {
			id, _ := syncengine.RawString(f.Raw)
			a := by.record(id, agency)
			if a == nil || a.code("type") != "law_enforcement" {
				continue
			}
			ids = append(ids, id)
			if a.code("name") != "" {
				names = append(names, a.code("name"))
			}
		}
	}
	slices.Sort(ids)
	if len(names) == 0 {
		return "Police partners of the team", ids, by.err
	}
	slices.Sort(names)
	return strings.Join(names, ", "), ids, by.err
}

// named joins the names of a service, the first of them that is there and its service.
func named(org, service string) string {
	if org != "" && service != "" && org != service {
		return org + ", " + service
	}
	return cmp.Or(org, service)
}

// clipped shortens a text to so many characters.
func clipped(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}
