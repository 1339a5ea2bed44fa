package report

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Errors of publishing.
var (
	// ErrOpenPeriod: what may go on growing is not published.
	ErrOpenPeriod = errors.New("only a period that has a beginning and an end, and is over, is published")
	// ErrOverlap: two reports of overlapping periods could be subtracted.
	ErrOverlap = errors.New("a report on some of these days is published already, and the two could be subtracted from each other: publish other days, or show the one that there is (tandem report list)")
	// ErrNotAdmin: who publishes is no admin, or not of the program's agency.
	ErrNotAdmin = errors.New("only an admin of the program's agency publishes its report")
	// ErrNoReport: there is no published report of that id.
	ErrNoReport = errors.New("there is no published report of that id: \"tandem report list\" shows them")
)

// Of computes the metrics over the newest state of an org, which it names in Seq.
func Of(ctx context.Context, st *store.Store, org syncengine.ID, o OutcomeOptions) (r *Outcomes, err error) {
	err = st.Snapshot(ctx, org, func(snap *store.Snapshot) error {
		head, err := snap.Head()
		if err != nil {
			return err
		}
		if r, err = ComputeOutcomes(snap, o); err != nil {
			return err
		}
		r.Seq = head.Seq
		return nil
	})
	return r, err
}

// Publish makes the public report of a period, and keeps it as it is. A published report
// never changes, and none overlaps another of the same program, or one of all programs: what
// two differ by could be read from them.
func Publish(ctx context.Context, st *store.Store, org *store.Org, o OutcomeOptions, id syncengine.ID, now time.Time) (*store.PublishedReport, error) {
	p, err := Prepare(ctx, st, org, o, now)
	if err != nil {
		return nil, err
	}
	p.ID, p.CreatedMS = id, now.UnixMilli()
	if err := st.Write(ctx, org.ID, 1, func(tx *store.Tx) error { return Keep(tx, p, syncengine.ID{}) }); err != nil {
		return nil, err
	}
	return p, nil
}

// Prepare makes the public report that Publish would keep now: of the frozen metrics (Freeze)
// where the period has some, of the newest state else. It refuses
// what Publish refuses.
func Prepare(ctx context.Context, st *store.Store, org *store.Org, o OutcomeOptions, now time.Time) (*store.PublishedReport, error) {
	others, err := st.PublishedReports(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	if err := MayPublish(o, others, now); err != nil {
		return nil, err
	}
	return frozenOr(ctx, st, org.ID, o, now)
}

// MayPublish says why a period is not published, beside the reports that are: it is not over,
// or could be subtracted from one of them.
func MayPublish(o OutcomeOptions, published []*store.PublishedReport, now time.Time) error {
	if o.From.IsZero() || o.To.IsZero() || o.To.After(now) || !o.From.Before(o.To) {
		return ErrOpenPeriod
	}
	of := &store.PublishedReport{Program: o.Program, FirstDay: o.From.In(o.Zone).Format(time.DateOnly), EndDay: o.To.In(o.Zone).Format(time.DateOnly), Zone: o.Zone.String()}
	if overlaps(of, published) {
		return ErrOverlap
	}
	return nil
}

// overlaps reports whether a report could be subtracted from one of others: they share a
// moment, or a day, which some records have alone, by the clocks of whatever zone.
func overlaps(p *store.PublishedReport, others []*store.PublishedReport) bool {
	first, end := moments(p)
	return slices.ContainsFunc(others, func(other *store.PublishedReport) bool {
		same := other.Program == p.Program || other.Program.IsZero() || p.Program.IsZero()
		otherFirst, otherEnd := moments(other)
		return same && (otherFirst.Before(end) && first.Before(otherEnd) || other.FirstDay < p.EndDay && p.FirstDay < other.EndDay)
	})
}

// moments are when the days of a report begin and end. Of a zone that is not known here they
// are the widest there can be.
func moments(p *store.PublishedReport) (first, end time.Time) {
	zone, err := time.LoadLocation(p.Zone)
	var wide time.Duration
	if err != nil {
		zone, wide = time.UTC, 14*time.Hour
	}
	if first, err = time.ParseInLocation(time.DateOnly, p.FirstDay, zone); err != nil {
		first = time.Unix(0, 0)
	}
	if end, err = time.ParseInLocation(time.DateOnly, p.EndDay, zone); err != nil {
		end = time.Unix(1<<40, 0)
	}
	return first.Add(-wide), end.Add(wide)
}

// Keep publishes a report that Prepare has made, with its ID and CreatedMS, in the name of a
// person; zero is the operator.
func Keep(tx *store.Tx, p *store.PublishedReport, person syncengine.ID) error {
	if !person.IsZero() {
		if err := mayKeep(tx, p.Program, person); err != nil {
			return err
		}
	}
	others, err := tx.PublishedReports()
	if err != nil {
		return err
	}
	if overlaps(p, others) {
		return ErrOverlap
	}
	if err := tx.AddPublishedReport(p); err != nil {
		return err
	}
	e := &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_REPORT_PUBLISHED, Subject: p.ID[:], Seq: p.Seq, Hash: p.Hash[:], Code: p.FirstDay + " " + p.EndDay,
	}
	if !person.IsZero() {
		e.Person = person[:]
	}
	return tx.Audit(e)
}

// mayKeep refuses who is not, at this moment, an admin of the agency of a program.
func mayKeep(view syncengine.ServerView, program, person syncengine.ID) error {
	rec, err := view.Record(person)
	if err != nil {
		return err
	}
	if rec == nil || rec.Lifecycle() != record.Active {
		return ErrNotAdmin
	}
	domain := record.New()
	who, err := (&syncengine.Server{Rules: domain}).Principal(view, &syncengine.Replica{Person: person})
	if err != nil {
		return err
	}
	if !slices.Contains(who.Roles, "admin") {
		return ErrNotAdmin
	}
	ids := []syncengine.ID{program}
	if program.IsZero() {
		if ids, err = programsOf(view, domain.Grants(view.Org(), who)); err != nil {
			return err
		}
	}
	for _, id := range ids {
		of, err := view.Record(id)
		if err != nil {
			return err
		}
		if of == nil {
			return ErrNoProgram
		}
		msg, err := domain.Message(&of.Record)
		if err != nil {
			return err
		}
		if m, ok := msg.(*tandemv1.Program); !ok || m.GetAgencyId() != who.Agency.String() {
			return ErrNotAdmin
		}
	}
	return nil
}

// programsOf are the programs in some scopes, but for those that are void.
func programsOf(view syncengine.ServerView, scopes []syncengine.ScopeKey) (ids []syncengine.ID, err error) {
	kind := record.New().KindByName("program").Number
	for _, k := range scopes {
		if k.Compartment != tandemv1.Compartment_COMPARTMENT_REF {
			continue
		}
		const some = 512
		for seq, last, n := uint64(0), (syncengine.ID{}), some; n == some; {
			members, err := view.Members(k, seq, last, some)
			if err != nil {
				return nil, err
			}
			var found []syncengine.ID
			for _, m := range members {
				if seq, last = m.Seq, m.Record; m.Live {
					found = append(found, m.Record)
				}
			}
			recs, err := view.Records(found)
			if err != nil {
				return nil, err
			}
			for _, rec := range recs {
				if rec.Kind == kind && rec.Lifecycle() != record.Void {
					ids = append(ids, rec.ID)
				}
			}
			n = len(members)
		}
	}
	return ids, nil
}

// frozenOr returns the frozen metrics of a period; where there are none that were taken after
// it had settled and leave out records of a substance use program, the newest.
func frozenOr(ctx context.Context, st *store.Store, org syncengine.ID, o OutcomeOptions, now time.Time) (*store.PublishedReport, error) {
	p, err := st.FrozenMetricsOf(ctx, org, o.Program, o.From.In(o.Zone).Format(time.DateOnly), o.To.In(o.Zone).Format(time.DateOnly), o.Zone.String())
	if err != nil {
		return nil, err
	}
	if p != nil && p.WithoutSUD && time.UnixMilli(p.CreatedMS).Sub(o.To) >= settled {
		_, err := ReadPublished(p)
		return p, err
	}
	return publicOf(ctx, st, org, o, now)
}

// ReadPublished returns a published report after its hash was checked.
func ReadPublished(p *store.PublishedReport) (*Outcomes, error) {
	if p == nil {
		return nil, ErrNoReport
	}
	if syncengine.Hash(sha256.Sum256(p.Body)) != p.Hash {
		return nil, fmt.Errorf("the published report %s is not what was published: its hash differs; restore it from a backup", p.ID)
	}
	return ReadOutcomes(p.Body)
}
