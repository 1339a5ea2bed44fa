package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Suspension says that a device is suspended: by whom, zero for whoever runs the server, and
// since when.
type Suspension struct {
	Device, By syncengine.ID
	SinceMS    int64
}

// Suspend notes that a device is suspended. Where it is already that stays as it was.
func (tx *Tx) Suspend(device, by syncengine.ID) error {
	now, err := tx.NowMS()
	if err != nil {
		return err
	}
	tx.writes++
	tx.setSuspended(device, true)
	return tx.c.exec("INSERT INTO suspension (org, device, by_staff, since_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		tx.org.num, device[:], optional(by), now)
}

// LiftSuspension ends it. Of a device that is not suspended it changes nothing.
func (tx *Tx) LiftSuspension(device syncengine.ID) error {
	tx.writes++
	tx.setSuspended(device, false)
	return tx.c.exec("DELETE FROM suspension WHERE org = $1 AND device = $2", tx.org.num, device[:])
}

// setSuspended has the replicas that this transaction has seen say so too.
func (tx *Tx) setSuspended(device syncengine.ID, is bool) {
	for _, e := range tx.replicas {
		if e.r != nil && e.r.Device == device {
			next := *e.r
			next.Suspended = is
			e.r = &next
		}
	}
}

// Suspensions returns those that stand.
func (v *view) Suspensions() (all []Suspension, err error) {
	err = v.c.each("SELECT device, by_staff, since_ms FROM suspension WHERE org = $1 ORDER BY device", []any{v.org.num}, func(rows *sql.Rows) error {
		var one Suspension
		var by []byte
		err := rows.Scan((*scanID)(&one.Device), &by, &one.SinceMS)
		one.By, _ = syncengine.IDFromBytes(by)
		all = append(all, one)
		return err
	})
	return all, err
}

// Suspensions returns those of an org that stand.
func (s *Store) Suspensions(ctx context.Context, org syncengine.ID) (all []Suspension, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.Suspensions()
		return err
	})
	return all, err
}
