package record

import (
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Project implements syncengine.Rules. A safety alert that a lead has approved for police
// partners has a card in the team's operational scope: name, year of birth, address,
// category, text, last day. It follows the alert as displayed, so that the narrower of two
// audiences counts, and the person. A card of an alert that is no longer theirs to see
// says nothing any more. Nothing of a substance use program or of a private note is ever
// projected to them.
//
// A card that is shown to police partners is a disclosure, and so is a referral that is
// sent with somebody's name: both are recorded by the act itself.
func (d *Domain) Project(rec *syncengine.Record, look syncengine.Lookup, about syncengine.LookAbout, by syncengine.ID, atMS int64) ([]syncengine.Projection, error) {
	k := d.kinds[rec.Kind]
	if k == nil {
		return nil, nil
	}
	switch k.Name {
	case safetyAlert:
		return d.cards(rec, look, by, atMS)
	case referral:
		return d.referred(rec, look, by, atMS)
	case person:
		recs, err := about(rec.ID)
		if err != nil {
			return nil, err
		}
		var out []syncengine.Projection
		for _, r := range recs {
			if r.Kind != d.byName[safetyAlert].Number {
				continue
			}
			// Who writes of the person has not shown the card to anybody.
			p, err := d.cards(r, look, syncengine.ID{}, atMS)
			if err != nil {
				return nil, err
			}
			out = append(out, p...)
		}
		return out, nil
	}
	return nil, nil
}

// cards returns the card of a safety alert and, where police partners are shown it, the
// disclosure that this is.
func (d *Domain) cards(rec *syncengine.Record, look syncengine.Lookup, by syncengine.ID, atMS int64) ([]syncengine.Projection, error) {
	p, card, alert, err := d.card(rec, look)
	if err != nil || p.Quiet {
		return []syncengine.Projection{p}, err
	}
	told, err := d.shown(rec, card, alert, look, by, atMS)
	return []syncengine.Projection{p, told}, err
}

// card returns the card of a safety alert.
func (d *Domain) card(rec *syncengine.Record, look syncengine.Lookup) (p syncengine.Projection, card *tandemv1.AlertCard, alert *tandemv1.SafetyAlert, err error) {
	p = syncengine.Projection{Source: rec.ID, Rule: alertCard, Kind: d.byName[alertCard].Number, Quiet: true}
	msg, err := d.Message(rec)
	if err != nil {
		return p, nil, nil, err
	}
	alert, _ = msg.(*tandemv1.SafetyAlert)
	card = &tandemv1.AlertCard{
		AgencyId: alert.AgencyId, ProgramId: alert.ProgramId, TeamId: alert.TeamId, Lifecycle: new(Retired),
	}
	var of *tandemv1.Person
	if id, err := syncengine.ParseID(alert.GetPersonId()); err == nil {
		who, err := look(id)
		if err != nil {
			return p, nil, nil, err
		}
		// Nothing about who is known to a substance use program alone is shown, whatever
		// compartment the alert was put in.
		if v := d.viewOf(who, person); v != nil && who.Compartment(&d.byName[person].Kind) == clinical {
			if msg, err = d.Message(who); err != nil {
				return p, nil, nil, err
			}
			of, _ = msg.(*tandemv1.Person)
		}
	}
	if of != nil && d.forPolice(rec, alert) {
		p.Quiet = false
		card.Lifecycle = new(Active)
		card.Category, card.Text, card.ExpiresOn, card.Address = alert.Category, alert.Text, alert.ExpiresOn, alert.Address
		if name := calledName(of); name != "" {
			card.Name = new(name)
		}
		if year, err := strconv.ParseUint(of.GetDob()[:min(4, len(of.GetDob()))], 10, 32); err == nil {
			card.BirthYear = new(uint32(year))
		}
	}
	p.Body, err = d.Body(card)
	return p, card, alert, err
}

// forPolice reports whether police partners may see an alert: it is in force for them,
// with all that V22 asks for.
func (d *Domain) forPolice(rec *syncengine.Record, alert *tandemv1.SafetyAlert) bool {
	return rec.Compartment(&d.byName[safetyAlert].Kind) == clinical &&
		alert.GetLifecycle() == Active && alert.GetAudience() == "team_with_le" &&
		alert.GetBasis() != "" && alert.GetExpiresOn() != "" && alert.GetApprovedBy() != ""
}

// calledName returns what to call a person: the chosen name, else the first, else the
// description.
func calledName(p *tandemv1.Person) string {
	var first string
	for _, n := range p.GetNames() {
		name := strings.TrimSpace(n.GetGiven() + " " + n.GetFamily())
		if n.GetUse() == "chosen" && name != "" {
			return name
		}
		if first == "" {
			first = name
		}
	}
	if first == "" {
		return p.GetDescriptor_()
	}
	return first
}
