package record_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

var (
	episodeA, consentA = id(61), id(62)
	serviceA, serviceB = id(63), id(64)
)

func episodeMessage() *tandemv1.Episode {
	return &tandemv1.Episode{
		TeamId: new(teamA.String()), ProgramId: new(programA.String()), Lifecycle: new(record.Active),
		PersonId: new(personA.String()), OpenedAt: at(0), WindowDays: new(uint32(60)),
	}
}

func followUpMessage() *tandemv1.FollowUp {
	return &tandemv1.FollowUp{
		TeamId: new(teamA.String()), Lifecycle: new(record.Done), EpisodeId: new(episodeA.String()), PersonId: new(personA.String()),
		OccurredAt: at(60), Mode: new("phone"), Outcome: new("reached_person"),
	}
}

func consentMessage() *tandemv1.Consent {
	return &tandemv1.Consent{
		AgencyId: new(agencyA.String()), TeamId: new(teamA.String()), Lifecycle: new(record.Active), PersonId: new(personA.String()),
		Type: new("release"), Decision: new("given"), GivenOn: new("2026-09-14"), ExpiresOn: new("2027-09-14"),
		Method: new("esign"), Signer: new("person"), Discloser: new("The team"), Purpose: new("A bed"), InfoScope: new("Name and need"),
		Recipients: []*tandemv1.ConsentRecipient{{Element: []byte("rrrrrrrr"), ResourceId: new(serviceA.String())}},
	}
}

func disclosureMessage() *tandemv1.Disclosure {
	return &tandemv1.Disclosure{
		TeamId: new(teamA.String()), Lifecycle: new(record.Recorded), PersonId: new(personA.String()), At: at(0),
		Recipient: new("The house"), Basis: new("consent"), ConsentId: new(consentA.String()), What: []string{"contact"},
	}
}

func alertMessage() *tandemv1.SafetyAlert {
	return &tandemv1.SafetyAlert{
		TeamId: new(teamA.String()), Lifecycle: new(record.Active), PersonId: new(personA.String()), Category: new("animal"),
		Text: new("A large dog. Call from the gate."), Audience: new("team_with_le"), Basis: new("observed_in_public"),
		ExpiresOn: new("2026-11-30"), ApprovedBy: new(other.String()),
	}
}

// sharing is a referral that has been sent with the person's name, on a consent.
func sharing(t *testing.T) *tandemv1.Referral {
	m := referralMessage(t)
	m.InfoShared, m.ConsentId, m.TargetText, m.ResourceId = new("summary"), new(consentA.String()), nil, new(serviceA.String())
	return m
}

func with[M proto.Message](m M, edits ...func(M)) M {
	for _, edit := range edits {
		edit(m)
	}
	return m
}

// ruleCase is an entry and the records around it. taken says that the rule is kept,
// otherwise it is broken, as a warning or as an error.
type ruleCase struct {
	rule, name string
	taken      bool
	warn       bool
	msg        proto.Message
	entry      record.Entry
	in         tandemv1.Compartment
	around     map[syncengine.ID]proto.Message
	// server: the server opens a work item for it; what it does not is asked at entry alone.
	server bool
}

func ruleCases(t *testing.T) []ruleCase {
	call := func(edits ...func(*tandemv1.Incident)) *tandemv1.Incident { return with(incidentMessage(t), edits...) }
	visit := func(edits ...func(*tandemv1.Encounter)) *tandemv1.Encounter {
		m := encounterMessage(t)
		m.Lifecycle, m.IncidentId = new(record.Signed), new(incidentA.String())
		return with(m, edits...)
	}
	who := func(edits ...func(*tandemv1.Person)) *tandemv1.Person { return with(personMessage(t), edits...) }
	refer := func(edits ...func(*tandemv1.Referral)) *tandemv1.Referral { return with(sharing(t), edits...) }
	agree := func(edits ...func(*tandemv1.Consent)) *tandemv1.Consent { return with(consentMessage(), edits...) }
	told := func(edits ...func(*tandemv1.Disclosure)) *tandemv1.Disclosure {
		return with(disclosureMessage(), edits...)
	}
	stay := func(edits ...func(*tandemv1.Episode)) *tandemv1.Episode { return with(episodeMessage(), edits...) }
	attempt := func(edits ...func(*tandemv1.FollowUp)) *tandemv1.FollowUp { return with(followUpMessage(), edits...) }
	alert := func(edits ...func(*tandemv1.SafetyAlert)) *tandemv1.SafetyAlert {
		return with(alertMessage(), edits...)
	}
	around := func(m proto.Message, at syncengine.ID) map[syncengine.ID]proto.Message {
		return map[syncengine.ID]proto.Message{at: m}
	}
	revoked := agree(func(m *tandemv1.Consent) { m.Lifecycle, m.RevokedOn = new(record.Revoked), new("2026-09-01") })
	forSUD := agree(func(m *tandemv1.Consent) { m.Type = new("part2_tpo") })
	codes := func(core string) *tandemv1.CodeSet {
		return &tandemv1.CodeSet{Lifecycle: new(record.Active), List: new("need"), Entries: []*tandemv1.CodeEntry{{
			Element: []byte("cccccccc"), Code: new("x_rock_tiny_homes"), En: new("Tiny homes"), Es: new("Casas pequeñas"), MapsTo: new(core),
		}}}
	}
	minor := who(func(m *tandemv1.Person) { m.Dob, m.ApproxAge = new("2010-05-05"), nil })
	minorHere := around(minor, personA)
	minorTaken := map[syncengine.ID]proto.Message{personA: minor, agencyA: &tandemv1.Agency{MinorConsent: new(true)}}
	planned := attempt(func(m *tandemv1.FollowUp) {
		m.Lifecycle, m.OccurredAt, m.Mode, m.Outcome = new(record.Planned), nil, nil, nil
	})
	return []ruleCase{
		{rule: "V1", taken: true, msg: call(), server: true},
		{rule: "V1", msg: call(func(m *tandemv1.Incident) { m.ArrivedAt = at(1) }), warn: true, server: true},
		{rule: "V2", taken: true, msg: call(), server: true},
		{rule: "V2", msg: call(func(m *tandemv1.Incident) { m.Contact = nil }), server: true},
		{rule: "V3", taken: true, msg: call(func(m *tandemv1.Incident) { m.ClearedAt = at(11 * 60) })},
		{rule: "V3", name: "13 hours", msg: call(func(m *tandemv1.Incident) { m.ClearedAt = at(14 * 60) }), warn: true},
		{rule: "V3", name: "49 hours", msg: call(func(m *tandemv1.Incident) { m.ClearedAt = at(50 * 60) }), warn: true, server: true},
		{rule: "V4", taken: true, msg: call()},
		{rule: "V4", msg: call(func(m *tandemv1.Incident) { m.ClearedAt = &tandemv1.Instant{AtMs: new(int64(nowMS + 6*60_000))} }), warn: true},
		{rule: "V4", name: "follow-up", msg: attempt(func(m *tandemv1.FollowUp) { m.OccurredAt = &tandemv1.Instant{AtMs: new(int64(nowMS + 6*60_000))} }), warn: true},
		{rule: "V5", taken: true, msg: visit(), around: around(call(), incidentA), server: true},
		{rule: "V5", msg: visit(), around: around(call(func(m *tandemv1.Incident) { m.Contact = new("no_person_found") }), incidentA), server: true},
		{rule: "V6", taken: true, msg: call(func(m *tandemv1.Incident) { m.ForceUsed, m.ForceTypes = new("yes"), []string{"hands_on"} }), server: true},
		{rule: "V6", msg: call(func(m *tandemv1.Incident) { m.ForceUsed = new("yes") }), server: true},
		{rule: "V7", taken: true, msg: call(func(m *tandemv1.Incident) {
			m.LeInvolvement, m.LeActions, m.ForceUsed = new("none"), []string{"none"}, nil
		}), server: true},
		{rule: "V7", msg: call(func(m *tandemv1.Incident) { m.LeInvolvement = new("none") }), server: true},
		{rule: "V8", taken: true, msg: visit(func(m *tandemv1.Encounter) { m.Disposition = new("arrest_custody") }),
			around: around(call(func(m *tandemv1.Incident) { m.LeActions = []string{"arrest_custody"} }), incidentA), server: true},
		{rule: "V8", msg: visit(func(m *tandemv1.Encounter) { m.Disposition = new("arrest_custody") }), around: around(call(), incidentA), warn: true, server: true},
		{rule: "V9", taken: true, msg: visit(), around: around(call(), incidentA), server: true},
		{rule: "V9", msg: visit(func(m *tandemv1.Encounter) { m.EndedAt = at(80 + 61) }), around: around(call(), incidentA), warn: true, server: true},
		{rule: "V9", name: "before the arrival", msg: visit(func(m *tandemv1.Encounter) { m.StartedAt = at(-1) }), around: around(call(), incidentA), warn: true, server: true},
		{rule: "V10", taken: true, msg: visit(func(m *tandemv1.Encounter) { m.Disposition, m.TransportBy = new("transport_detox"), new("team") }), server: true},
		{rule: "V10", msg: visit(func(m *tandemv1.Encounter) { m.Disposition = new("transport_detox") }), server: true},
		{rule: "V11", taken: true, msg: visit(func(m *tandemv1.Encounter) {
			m.Disposition, m.TransportBy, m.LegalStatus = new("transport_ed_involuntary"), new("police"), new("involuntary_police")
		}), server: true},
		{rule: "V11", msg: visit(func(m *tandemv1.Encounter) {
			m.Disposition, m.TransportBy = new("transport_ed_involuntary"), new("police")
		}), server: true},
		{rule: "V12", taken: true, msg: visit(), server: true},
		{rule: "V12", msg: visit(func(m *tandemv1.Encounter) { m.Interventions = []string{"screening"} }), server: true},
		{rule: "V13", taken: true, msg: who()},
		{rule: "V13", msg: who(func(m *tandemv1.Person) { m.Dob = new("2031-01-01") }), warn: true},
		{rule: "V14", taken: true, name: "a guardian signs", msg: agree(func(m *tandemv1.Consent) { m.Signer, m.SignerName = new("guardian"), new("A") }), around: minorHere, server: true},
		{rule: "V14", taken: true, name: "the agency takes it", msg: agree(), around: minorTaken, server: true},
		{rule: "V14", taken: true, name: "an adult", msg: agree(), around: around(who(), personA), server: true},
		{rule: "V14", msg: agree(), around: minorHere, server: true},
		{rule: "V15", taken: true, msg: stay(), around: around(stay(func(m *tandemv1.Episode) { m.Lifecycle = new(record.Closed) }), episodeA), server: true},
		{rule: "V15", taken: true, name: "another program", msg: stay(), around: around(stay(func(m *tandemv1.Episode) { m.ProgramId = new(org.String()) }), episodeA), server: true},
		{rule: "V15", msg: stay(), around: around(stay(), episodeA), server: true},
		{rule: "V16", taken: true, msg: stay(func(m *tandemv1.Episode) {
			m.ExtendedTo, m.ExtensionReason, m.ExtendedBy = new("2027-09-01"), new("A bed is coming."), new(other.String())
		}), server: true},
		{rule: "V16", msg: stay(func(m *tandemv1.Episode) {
			m.ExtendedTo, m.ExtensionReason, m.ExtendedBy = new("2027-12-01"), new("A bed is coming."), new(other.String())
		}), server: true},
		{rule: "V16", name: "nobody's", msg: stay(func(m *tandemv1.Episode) { m.ExtendedTo = new("2026-12-01") }), server: true},
		{rule: "V17", taken: true, msg: attempt(), around: around(stay(), episodeA), server: true},
		{rule: "V17", msg: attempt(func(m *tandemv1.FollowUp) { m.OccurredAt = at(-60) }), around: around(stay(), episodeA), warn: true, server: true},
		{rule: "V26", name: "V17: what was done says how", msg: attempt(func(m *tandemv1.FollowUp) { m.Outcome = nil }), server: true},
		{rule: "V18", taken: true, msg: refer(func(m *tandemv1.Referral) {
			m.State, m.Outcome, m.VerifiedBy, m.ConnectedOn = new("closed"), new("connected"), new("provider"), new("2026-09-20")
		}), server: true},
		{rule: "V18", msg: refer(func(m *tandemv1.Referral) { m.State = new("closed") }), server: true},
		{rule: "V18", name: "connected before it was sent", msg: refer(func(m *tandemv1.Referral) {
			m.State, m.Outcome, m.VerifiedBy, m.ConnectedOn = new("closed"), new("connected"), new("provider"), new("2026-09-02")
			m.Events = []*tandemv1.ReferralEvent{{Element: []byte("eeeeeeee"), At: at(0), State: new("sent")}}
		}), warn: true, server: true},
		{rule: "V19", taken: true, msg: refer(), around: around(agree(), consentA), server: true},
		{rule: "V19", taken: true, name: "another basis", msg: refer(func(m *tandemv1.Referral) { m.ConsentId, m.ShareBasis = nil, new("treatment") }), server: true},
		{rule: "V19", name: "neither consent nor basis", msg: refer(func(m *tandemv1.Referral) { m.ConsentId = nil }), server: true},
		{rule: "V19", name: "another recipient", msg: refer(func(m *tandemv1.Referral) { m.ResourceId = new(serviceB.String()) }), around: around(agree(), consentA), server: true},
		{rule: "V19", name: "another person's", msg: refer(), around: around(agree(func(m *tandemv1.Consent) { m.PersonId = new(other.String()) }), consentA), server: true},
		{rule: "V19", name: "a consent to be photographed", msg: refer(), around: around(agree(func(m *tandemv1.Consent) { m.Type = new("photo") }), consentA), server: true},
		{rule: "V20", taken: true, msg: told(), in: sud, around: around(forSUD, consentA), server: true},
		{rule: "V20", taken: true, name: "clinical", msg: told(), around: around(agree(), consentA), server: true},
		{rule: "V20", msg: told(), in: sud, around: around(agree(), consentA), server: true},
		{rule: "V20", name: "referral", msg: refer(), in: sud, around: around(agree(), consentA), server: true},
		{rule: "V20", name: "spoken", msg: agree(func(m *tandemv1.Consent) {
			m.Type, m.Method, m.Witness = new("part2_tpo"), new("verbal_witnessed"), new("B")
		}), server: true},
		{rule: "V21", taken: true, msg: told(), around: around(agree(), consentA), server: true},
		{rule: "V21", msg: told(), around: around(revoked, consentA), server: true},
		{rule: "V21", taken: true, name: "revoked later", msg: told(func(m *tandemv1.Disclosure) { m.At = &tandemv1.Instant{AtMs: new(int64(1_755_000_000_000))} }),
			around: around(revoked, consentA), server: true},
		{rule: "V21", name: "referral", msg: refer(), around: around(revoked, consentA), server: true},
		{rule: "V21", name: "expired before it was given", msg: agree(func(m *tandemv1.Consent) { m.ExpiresOn = new("2026-09-01") }), warn: true, server: true},
		{rule: "V22", taken: true, msg: alert(), server: true},
		{rule: "V22", name: "nobody approved it", msg: alert(func(m *tandemv1.SafetyAlert) { m.ApprovedBy = nil }), server: true},
		{rule: "V22", name: "no basis", msg: alert(func(m *tandemv1.SafetyAlert) { m.Basis = nil }), server: true},
		{rule: "V22", name: "half a year and more", msg: alert(func(m *tandemv1.SafetyAlert) { m.ExpiresOn = new("2027-06-30") })},
		{rule: "V22", name: "a diagnosis", msg: alert(func(m *tandemv1.SafetyAlert) { m.Text = new("Has Esquizofrenia.") }), warn: true},
		{rule: "V22", taken: true, name: "a diagnosis among clinicians", msg: alert(func(m *tandemv1.SafetyAlert) { m.Text, m.Audience = new("Has PTSD."), new("clinical") })},
		{rule: "V23", taken: true, msg: planned, around: around(who(), personA), server: true},
		{rule: "V23", msg: planned, around: around(who(func(m *tandemv1.Person) { m.DoNotContact = new(true) }), personA), server: true},
		{rule: "V24", taken: true, msg: call(func(m *tandemv1.Incident) { m.NotesOps = new(strings.Repeat("ñ", 500)) })},
		{rule: "V24", msg: call(func(m *tandemv1.Incident) { m.NotesOps = new(strings.Repeat("n", 501)) })},
		{rule: "V24", name: "a control character", msg: call(func(m *tandemv1.Incident) { m.NotesOps = new("a\x1bb") })},
		{rule: "V24", name: "five other reasons", msg: visit(func(m *tandemv1.Encounter) {
			m.PresentingOther = []string{"anxiety_panic", "depression", "grief", "medical", "trauma"}
		})},
		{rule: "V25", taken: true, msg: call()},
		{rule: "V25", msg: call(func(m *tandemv1.Incident) { m.CallType = new("from_tomorrow") })},
		{rule: "V25", taken: true, name: "it stood there", msg: call(func(m *tandemv1.Incident) { m.CallType = new("from_tomorrow") }),
			entry: record.Entry{Before: call(func(m *tandemv1.Incident) { m.CallType = new("from_tomorrow") })}},
		{rule: "V26", taken: true, msg: visit(), server: true},
		{rule: "V26", msg: visit(func(m *tandemv1.Encounter) { m.Substance = nil }), server: true},
		{rule: "V29", taken: true, msg: who()},
		{rule: "V29", msg: who(func(m *tandemv1.Person) { m.Phones[0].Number = new("555") }), warn: true},
		{rule: "V24", name: "V30: a ZIP code", taken: true, msg: who(func(m *tandemv1.Person) { m.Zip5 = new("14604") })},
		{rule: "V24", name: "V30: no ZIP code", msg: who(func(m *tandemv1.Person) { m.Zip5 = new("1460") })},
		{rule: "V4", name: "a contact", taken: true, msg: visit()},
		{rule: "V4", name: "a contact", msg: visit(func(m *tandemv1.Encounter) { m.EndedAt = &tandemv1.Instant{AtMs: new(int64(nowMS + 6*60_000))} }), warn: true},
		{rule: "V4", name: "a follow-up", taken: true, msg: attempt()},
		{rule: "V4", name: "an episode", taken: true, msg: stay()},
		{rule: "V4", name: "an episode", msg: stay(func(m *tandemv1.Episode) { m.OpenedAt = &tandemv1.Instant{AtMs: new(int64(nowMS + 6*60_000))} }), warn: true},
		{rule: "V6", name: "a discharge", msg: call(func(m *tandemv1.Incident) { m.ForceUsed, m.ForceTypes = new("yes"), []string{"firearm_discharged"} }), server: true},
		{rule: "V9", name: "it ends before it starts", msg: visit(func(m *tandemv1.Encounter) { m.EndedAt = at(19) }), warn: true, server: true},
		{rule: "V11", name: "the reverse", msg: visit(func(m *tandemv1.Encounter) {
			m.Disposition, m.TransportBy, m.LegalStatus = new("transport_ed_voluntary"), new("team"), new("involuntary_team")
		}), warn: true},
		{rule: "V13", name: "the age differs", msg: who(func(m *tandemv1.Person) { m.ApproxAge = new(uint32(50)) }), warn: true},
		{rule: "V18", name: "nobody verified it", msg: refer(func(m *tandemv1.Referral) { m.State, m.Outcome = new("closed"), new("connected") }), server: true},
		{rule: "V20", name: "signed", taken: true, msg: forSUD, server: true},
		{rule: "V20", name: "a referral", taken: true, msg: refer(), in: sud, around: around(forSUD, consentA), server: true},
		{rule: "V21", name: "a consent", taken: true, msg: agree(), server: true},
		{rule: "V21", name: "a referral", taken: true, msg: refer(), around: around(agree(), consentA), server: true},
		{rule: "V24", name: "two other reasons", taken: true, msg: visit()},
		{rule: "maps_to", taken: true, msg: codes("housing"), server: true},
		{rule: "maps_to", msg: codes("from_tomorrow"), server: true},
		{rule: "decision", taken: true, msg: agree(func(m *tandemv1.Consent) { m.Decision, m.Lifecycle = new("declined"), new(record.Declined) }), server: true},
		{rule: "decision", msg: agree(func(m *tandemv1.Consent) { m.Decision = new("declined") }), server: true},
	}
}

// Every rule of the table is kept by one entry and broken by another, in a form; and the
// server opens a work item for those that it judges.
func TestRulesTakeAndRefuse(t *testing.T) {
	t.Parallel()
	d := record.New()
	seen := map[string]int{}
	for _, c := range ruleCases(t) {
		rec := storedBy(t, author, c.msg, func(w *tandemv1.RecordWrite) { w.Compartment = c.in })
		rec.ID = recordA
		others := map[syncengine.ID]*syncengine.Record{}
		for at, m := range c.around {
			others[at] = stored(t, m)
			others[at].ID = at
		}
		look := func(id syncengine.ID) (*syncengine.Record, error) { return others[id], nil }
		about := func(of syncengine.ID) (recs []*syncengine.Record, err error) {
			for _, r := range others {
				if slices.Contains(d.About(r), of) {
					recs = append(recs, r)
				}
			}
			return recs, nil
		}
		c.entry.NowMS = nowMS
		problems := d.Validate(c.msg, c.entry)
		more, err := d.ValidateAmong(rec, nowMS, look, about)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(append(problems, more...), func(p record.Problem) bool { return p.Rule == c.rule })
		name := c.rule + " " + c.name
		if (at < 0) != c.taken {
			t.Errorf("%s: broken %t, want %t", name, at >= 0, !c.taken)
			continue
		}
		if at >= 0 {
			p := append(problems, more...)[at]
			if p.Warn != c.warn || len(p.Fields) == 0 || p.EN == "" || p.ES == "" {
				t.Errorf("%s: got %+v, want warn %t, fields and words", name, p, c.warn)
			}
		}
		if c.server {
			items := d.Review(rec)
			found, err := d.ReviewAmong(rec, look, about)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if f.Record != rec.ID {
					t.Errorf("%s: the item is about %v", name, f.Record)
				}
				items = append(items, f.Rule)
			}
			if slices.Contains(items, "rule_"+c.rule) == c.taken {
				t.Errorf("%s: at the server got %v", name, items)
			}
			if en, es := d.ItemWords(syncengine.ItemKind("rule_"+c.rule), rec.Kind); en == "" || es == "" || en == "rule_"+c.rule {
				t.Errorf("%s: the item has no words", name)
			}
		}
		if c.taken {
			seen[c.rule] |= 1
		} else {
			seen[c.rule] |= 2
		}
		if strings.HasPrefix(c.name, "V30") {
			seen["V30"] |= seen[c.rule] & 3
		}
	}
	for n := 1; n <= 30; n++ {
		rule := fmt.Sprintf("V%d", n)
		switch rule {
		case "V27", "V28":
			continue // TestLikeness, and the client's TestVoidTakesNothingWithIt.
		}
		if seen[rule] != 3 {
			t.Errorf("%s is not both kept and broken here", rule)
		}
	}
}

// A change of what a rule reads has the records that name it judged anew.
func TestReviewAmongFollowsWhatIsRead(t *testing.T) {
	t.Parallel()
	d := record.New()
	call := incidentMessage(t)
	call.Contact = new("no_person_found")
	visit := encounterMessage(t)
	visit.Lifecycle, visit.IncidentId = new(record.Signed), new(incidentA.String())
	who := personMessage(t)
	who.DoNotContact = new(true)
	planned := followUpMessage()
	planned.Lifecycle = new(record.Planned)
	recs := map[syncengine.ID]*syncengine.Record{}
	for at, m := range map[syncengine.ID]proto.Message{incidentA: call, encounterA: visit, personA: who, recordA: planned} {
		recs[at] = stored(t, m)
		recs[at].ID = at
	}
	look := func(id syncengine.ID) (*syncengine.Record, error) { return recs[id], nil }
	about := func(of syncengine.ID) (out []*syncengine.Record, err error) {
		for _, r := range recs {
			if slices.Contains(d.About(r), of) {
				out = append(out, r)
			}
		}
		return out, nil
	}
	for _, tc := range []struct {
		changed syncengine.ID
		want    syncengine.Finding
	}{
		{incidentA, syncengine.Finding{Record: encounterA, Rule: "rule_V5"}},
		{personA, syncengine.Finding{Record: recordA, Rule: "rule_V23"}},
	} {
		got, err := d.ReviewAmong(recs[tc.changed], look, about)
		if err != nil || !slices.Contains(got, tc.want) {
			t.Errorf("got %v %v, want %v", got, err, tc.want)
		}
	}
}

func TestLikeness(t *testing.T) {
	t.Parallel()
	p := func(given, family, dob, phone string) *tandemv1.Person {
		m := &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new(given), Family: new(family)}}}
		if dob != "" {
			m.Dob = new(dob)
		}
		if phone != "" {
			m.Phones = []*tandemv1.PersonPhone{{Number: new(phone)}}
		}
		return m
	}
	ana := p("Ana", "Núñez", "1992-03-04", "+1 585 555 0100")
	for _, tc := range []struct {
		name string
		as   *tandemv1.Person
		same bool
	}{
		{"herself", ana, true},
		{"without accents", p("ANA", "Nunez", "1992-03-04", ""), true},
		{"the other way round", p("Nunez", "Ana", "1992-03-04", ""), true},
		{"a slip of the pen", p("Anna", "Nunez", "1992-03-04", ""), true},
		{"by phone", p("Ana", "Nuñez", "", "(585) 555-0100"), true},
		{"by name alone", p("Ana", "Núñez", "", ""), false},
		{"by name and year", p("Ana", "Núñez", "1992", ""), false},
		{"another date", p("Ana", "Núñez", "1993-03-04", ""), false},
		{"another name", p("Rosa", "Delgado", "1992-03-04", "+1 585 555 0100"), false},
		{"nobody", &tandemv1.Person{}, false},
	} {
		got, back := record.Likeness(ana, tc.as), record.Likeness(tc.as, ana)
		if (got >= record.LikelySame) != tc.same || got != back || got < 0 || got > 1 {
			t.Errorf("%s: got %.2f and %.2f, want the same: %t", tc.name, got, back, tc.same)
		}
		// Who looks like somebody is found by one of their keys.
		shared := slices.ContainsFunc(record.LikenessKeys(tc.as), func(k string) bool { return slices.Contains(record.LikenessKeys(ana), k) })
		if tc.same && !shared {
			t.Errorf("%s: not found by %q", tc.name, record.LikenessKeys(tc.as))
		}
	}
}
