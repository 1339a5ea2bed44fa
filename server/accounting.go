package server

import (
	"context"
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// accountedYears is how far back a person may ask: 45 CFR 164.528(a)(1).
const accountedYears = 6

// Disclosed is one time that something about a person was passed on, as an accounting of
// disclosures states it: when, to whom, what, and why (45 CFR 164.528(b)(2), 42 CFR 2.25).
type Disclosed struct {
	// ID of the record. AtMS is when it was passed on.
	ID   syncengine.ID
	AtMS int64
	// Recipient and, where the directory knows it, their Address. Empty: not recorded.
	Recipient, Address string
	// What was passed on, in codes of disclosed_field.
	What []string
	// Basis is a code of disclosure_basis, empty where none was recorded. Purpose is the
	// rest of why, in words; of a referral Need says what for, a code of need.
	Basis, Purpose, Need string
	// By is who passed it on, in words; empty for the server's operator.
	By string
	// Consent, Referral and Export are the records it rests on, zero for none. An export
	// is of a team's records: the person's were among them, or may have been.
	Consent, Referral, Export syncengine.ID
	// Part2: it is of a substance use program (42 CFR Part 2).
	Part2 bool
	// Owed: an accounting that the person asks for must state it. What was passed on for
	// treatment, payment or operations, by consent or to the person need not be there
	// (164.528(a)(1)); of Part 2 records what was passed on by consent must (2.25).
	Owed bool
}

// Accounting is what was passed on about a person.
type Accounting struct {
	// Person asked about, and the records that were merged into theirs or theirs into.
	Person  syncengine.ID
	Records []syncengine.ID
	// FromMS and ToMS bound the time it is about.
	FromMS, ToMS int64
	// Disclosures, oldest first. What was recorded in error and voided is none.
	Disclosures []Disclosed
}

// notOwed are the bases of what an accounting need not state.
var notOwed = []string{"treatment", "payment_ops", "consent", "person_request"}

// Disclosures returns what was passed on about a person since a moment, zero for six
// years. as is the member of staff who asks, zero for the operator of the server; that it
// was asked is in the audit log before it is answered.
func (a *Admin) Disclosures(ctx context.Context, as, person syncengine.ID, since time.Time) (*Accounting, error) {
	now := a.now()
	if since.IsZero() {
		since = now.AddDate(-accountedYears, 0, 0)
	}
	out := &Accounting{Person: person, FromMS: since.UnixMilli(), ToMS: now.UnixMilli()}
	err := a.store.Snapshot(ctx, a.org.ID, func(snap *store.Snapshot) error {
		return (&accountant{Accounting: out, domain: record.New(), snap: snap}).run()
	})
	if err != nil {
		return nil, err
	}
	entry := &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_DISCLOSURES_READ, Subject: person[:], Kind: record.New().KindByName("person").Number, Count: uint64(len(out.Disclosures)),
	}
	if !as.IsZero() {
		entry.Person = as[:]
	}
	if err := a.note(ctx, entry); err != nil {
		return nil, err
	}
	return out, nil
}

// accountant draws up one accounting.
type accountant struct {
	*Accounting

	domain *record.Domain
	snap   *store.Snapshot
	// teams hold the person's records; madeMS is when the oldest was made.
	teams  []syncengine.ID
	madeMS int64
}

func (c *accountant) run() error {
	if err := c.find(); err != nil {
		return err
	}
	err := c.snap.Each(c.domain.KindByName("disclosure").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := c.domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Disclosure)
		if !ok || m.GetLifecycle() == record.Void || !c.about(m) {
			return nil
		}
		d, err := c.state(rec, m)
		if err == nil && d.AtMS >= c.FromMS && d.AtMS <= c.ToMS {
			c.Disclosures = append(c.Disclosures, d)
		}
		return err
	})
	slices.SortStableFunc(c.Disclosures, func(x, y Disclosed) int {
		if x.AtMS != y.AtMS {
			return int(min(max(x.AtMS-y.AtMS, -1), 1))
		}
		return x.ID.Compare(y.ID)
	})
	return err
}

// find finds the person's records: the one that is asked about, the one it was merged
// into, and those that were merged into either.
func (c *accountant) find() error {
	kind := c.domain.KindByName("person").Number
	into, known := map[syncengine.ID]syncengine.ID{}, map[syncengine.ID]*syncengine.StoredRecord{}
	if err := c.snap.Each(kind, func(rec *syncengine.StoredRecord) error {
		msg, err := c.domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		if m, ok := msg.(*tandemv1.Person); ok {
			if to, err := syncengine.ParseID(m.GetMergedInto()); err == nil {
				into[rec.ID] = to
			}
		}
		if rec.ID == c.Person || into[rec.ID] != (syncengine.ID{}) {
			known[rec.ID] = rec
		}
		return nil
	}); err != nil {
		return err
	}
	if known[c.Person] == nil {
		return &AbsentError{Kind: "person"}
	}
	end := func(id syncengine.ID) syncengine.ID {
		for range 16 {
			to, merged := into[id]
			if !merged {
				break
			}
			id = to
		}
		return id
	}
	last := end(c.Person)
	c.Records = []syncengine.ID{last}
	for id := range into {
		if id != last && end(id) == last {
			c.Records = append(c.Records, id)
		}
	}
	slices.SortFunc(c.Records, syncengine.ID.Compare)
	return c.belongs()
}

// belongs finds the teams that hold the person's records, and since when.
func (c *accountant) belongs() error {
	for _, id := range c.Records {
		rec, err := c.snap.View().Record(id)
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		for _, s := range rec.Scopes {
			if s.Owner == syncengine.OwnerTeam {
				c.teams = append(c.teams, s.OwnerID)
			}
		}
		if team, err := syncengine.ParseID(rec.Text(syncengine.FieldTeam)); err == nil {
			c.teams = append(c.teams, team)
		}
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		if c.madeMS == 0 || s.AtMS < c.madeMS {
			c.madeMS = s.AtMS
		}
	}
	return nil
}

// about reports whether a disclosure is of this person's records.
func (c *accountant) about(m *tandemv1.Disclosure) bool {
	if id, err := syncengine.ParseID(m.GetPersonId()); err == nil {
		return slices.Contains(c.Records, id)
	}
	team, err := syncengine.ParseID(m.GetTeamId())
	return err == nil && m.GetExportId() != "" && slices.Contains(c.teams, team) && m.GetAt().GetAtMs() >= c.madeMS
}

// state states one disclosure.
func (c *accountant) state(rec *syncengine.StoredRecord, m *tandemv1.Disclosure) (Disclosed, error) {
	d := Disclosed{
		ID: rec.ID, AtMS: m.GetAt().GetAtMs(), Recipient: m.GetRecipient(), What: m.GetWhat(), Basis: m.GetBasis(), Purpose: m.GetNote(),
		Part2: rec.Compartment(c.domain.KindByName("disclosure")) == tandemv1.Compartment_COMPARTMENT_SUD,
	}
	d.Consent, _ = syncengine.ParseID(m.GetConsentId())
	d.Export, _ = syncengine.ParseID(m.GetExportId())
	d.Referral, _ = syncengine.ParseID(m.GetReferralId())
	d.Part2 = d.Part2 || slices.Contains(d.What, "substance_use")
	d.Owed = !slices.Contains(notOwed, d.Basis) || d.Part2 && d.Basis == "consent"
	if s, err := c.message(m.GetBy()); err != nil {
		return d, err
	} else if by, ok := s.(*tandemv1.Staff); ok {
		d.By = by.GetDisplayName()
	}
	r, err := c.message(m.GetReferralId())
	if err != nil {
		return d, err
	}
	if of, ok := r.(*tandemv1.Referral); ok {
		d.Need = of.GetNeed()
		to, err := c.message(of.GetResourceId())
		if err != nil {
			return d, err
		}
		if at, ok := to.(*tandemv1.Resource); ok && strings.Contains(d.Recipient, at.GetOrgName()) {
			d.Address = strings.Join(slices.DeleteFunc([]string{at.GetAddress(), at.GetCity(), at.GetZip5()}, func(s string) bool { return s == "" }), ", ")
		}
	}
	return d, nil
}

// message reads a record that is named, nil where it is not there.
func (c *accountant) message(text string) (any, error) {
	id, err := syncengine.ParseID(text)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // A reference that is none names nothing.
	}
	rec, err := c.snap.View().Record(id)
	if err != nil || rec == nil {
		return nil, err
	}
	return c.domain.Message(&rec.Record)
}
