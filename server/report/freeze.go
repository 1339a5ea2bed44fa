package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

const (
	// settled is how long after its end a period is frozen: when the longest time that a
	// metric follows somebody for is over (60 days, M13), and as long as a device works
	// without a network after that: what it sends then is counted still.
	settled = (60 + 15) * 24 * time.Hour
	// missed is how many periods of a length are made up for, where no server ran.
	missed = 12
)

// Frozen is what a run of Freeze did.
type Frozen struct {
	// Periods are those that were frozen, Programs of how many programs (one is all of
	// them together), Metrics how many sets of metrics that makes.
	Periods  []string `json:"periods"`
	Programs int      `json:"programs"`
	Metrics  int      `json:"metrics"`
}

// Freeze keeps the metrics of each month and quarter that has settled, for each program and
// for all of them, in the zone of the program's agency, as they may be published. What is
// frozen never changes, and is what Publish publishes of that period. The first run freezes
// the last month and the last quarter; later ones also what was missed.
func Freeze(ctx context.Context, st *store.Store, org *store.Org, now time.Time) (done Frozen, err error) {
	programs, err := programZones(ctx, st, org.ID)
	if err != nil {
		return done, err
	}
	done.Programs = len(programs)
	all, err := st.FrozenMetrics(ctx, org.ID)
	if err != nil {
		return done, err
	}
	there := map[[4]string]bool{}
	for _, f := range all {
		there[[4]string{f.Program.String(), f.FirstDay, f.EndDay, f.Zone}] = true
	}
	for _, p := range programs {
		for _, months := range []int{1, 3} {
			for _, from := range unfrozen(p, months, now, there) {
				o := OutcomeOptions{Zone: p.zone, From: from, To: from.AddDate(0, months, 0), AsOf: asOf(now, p.zone), Program: p.id}
				frozen, err := freeze(ctx, st, org, o, now)
				if err != nil {
					return done, err
				}
				if frozen {
					done.Metrics++
					done.Periods = append(done.Periods, from.Format(time.DateOnly)+" "+o.To.Format(time.DateOnly))
				}
			}
		}
	}
	return done, nil
}

// asOf is the beginning of the day that a moment is in.
func asOf(now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}

// zoned is a program, zero for all of them, with the zone of its days.
type zoned struct {
	id   syncengine.ID
	zone *time.Location
}

// unfrozen are the beginnings of the periods of a length that have settled and are not
// frozen, oldest first.
func unfrozen(p zoned, months int, now time.Time, there map[[4]string]bool) (due []time.Time) {
	y, m, _ := now.Add(-settled).In(p.zone).Date()
	from := time.Date(y, m-(m-1)%time.Month(months), 1, 0, 0, 0, 0, p.zone)
	for range missed {
		from = from.AddDate(0, -months, 0)
		if there[[4]string{p.id.String(), from.Format(time.DateOnly), from.AddDate(0, months, 0).Format(time.DateOnly), p.zone.String()}] {
			return due
		}
		due = append([]time.Time{from}, due...)
	}
	// None ever was: the past before the server is not made up for.
	return due[len(due)-1:]
}

func freeze(ctx context.Context, st *store.Store, org *store.Org, o OutcomeOptions, now time.Time) (frozen bool, err error) {
	p, err := publicOf(ctx, st, org.ID, o, now)
	if err != nil {
		return false, err
	}
	err = st.Write(ctx, org.ID, 1, func(tx *store.Tx) (err error) {
		if frozen, err = tx.FreezeMetrics(p); err != nil || !frozen {
			return err
		}
		e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_METRICS_FROZEN, Seq: p.Seq, Hash: p.Hash[:], Code: p.FirstDay + " " + p.EndDay}
		if !p.Program.IsZero() {
			e.Subject = p.Program[:]
		}
		return tx.Audit(e)
	})
	return frozen, err
}

// publicOf makes the report of a period, as it may be published. It leaves out records of a
// substance use program, as the figures do of staff who may not read them: those people could
// be told by subtracting the one from the other.
func publicOf(ctx context.Context, st *store.Store, org syncengine.ID, o OutcomeOptions, now time.Time) (*store.PublishedReport, error) {
	r, err := PublicOf(ctx, st, org, o)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := r.WriteJSON(&body); err != nil {
		return nil, err
	}
	return &store.PublishedReport{
		Program: o.Program, FirstDay: o.From.In(o.Zone).Format(time.DateOnly), EndDay: o.To.In(o.Zone).Format(time.DateOnly),
		Zone: o.Zone.String(), Seq: r.Seq, Hash: sha256.Sum256(body.Bytes()), CreatedMS: now.UnixMilli(), Body: body.Bytes(), WithoutSUD: true,
	}, nil
}

// programZones are the programs that run, and all of them together in the zone of the first
// agency.
func programZones(ctx context.Context, st *store.Store, org syncengine.ID) (all []zoned, err error) {
	domain := record.New()
	zones, first, firstID := map[string]*time.Location{}, (*time.Location)(nil), syncengine.ID{}
	err = st.EachRecord(ctx, org, domain.KindByName("agency").Number, func(rec *syncengine.StoredRecord) error {
		if rec.Lifecycle() == record.Void {
			return nil
		}
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Agency)
		zone, err := time.LoadLocation(m.GetAgencyTz())
		if err != nil {
			zone = time.UTC
		}
		zones[rec.ID.String()] = zone
		// They come in no order.
		if first == nil || rec.ID.Compare(firstID) < 0 {
			first, firstID = zone, rec.ID
		}
		return nil
	})
	if err != nil || first == nil {
		return nil, err
	}
	all = append(all, zoned{zone: first})
	err = st.EachRecord(ctx, org, domain.KindByName("program").Number, func(rec *syncengine.StoredRecord) error {
		if rec.Lifecycle() == record.Void {
			return nil
		}
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Program)
		zone := zones[m.GetAgencyId()]
		if zone == nil {
			zone = first
		}
		all = append(all, zoned{rec.ID, zone})
		return nil
	})
	return all, err
}

// PublicOf computes the metrics of an org as they may be published: small counts are hidden, and
// records of a substance use program are left out. No population is taken: from a group's rate and
// its ratio to all one could reckon how many are in the groups that are hidden. Errors are those of
// Of.
func PublicOf(ctx context.Context, st *store.Store, org syncengine.ID, o OutcomeOptions) (*Outcomes, error) {
	o.WithoutSUD, o.Population = true, nil
	r, err := Of(ctx, st, org, o)
	if err != nil {
		return nil, err
	}
	r.WithoutSUD = true
	return r.ForPublic(), nil
}
