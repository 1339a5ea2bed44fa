package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tandem-response/tandem/syncengine"
)

// ErrNoHold says that there is no legal hold of that id, or it was lifted.
var ErrNoHold = errors.New("there is no legal hold of that id that stands")

// Hold is an order to keep something whatever its age.
type Hold struct {
	ID syncengine.ID
	// Target is a person, a call or an agency; zero is everything.
	Target syncengine.ID
	// Reason is in the words of who placed it.
	Reason   string
	PlacedBy syncengine.ID
	PlacedMS int64
	LiftedBy syncengine.ID
	LiftedMS int64
}

// Stands reports whether it was not lifted.
func (h *Hold) Stands() bool { return h.LiftedMS == 0 }

// PlaceHold stores one, at the time of the database's clock.
func (tx *Tx) PlaceHold(h *Hold) (err error) {
	if h.PlacedMS, err = tx.NowMS(); err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("INSERT INTO legal_hold (org, id, target, reason, placed_by, placed_ms, lifted_by, lifted_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
		tx.org.num, h.ID[:], optional(h.Target), textArg(h.Reason), optional(h.PlacedBy), h.PlacedMS, []byte{})
}

// LiftHold ends one that stands, and returns it. It stays, for whoever asks.
func (tx *Tx) LiftHold(id, by syncengine.ID) (*Hold, error) {
	all, err := tx.legalHolds("AND id = $2 AND lifted_ms = 0", id[:])
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNoHold
	}
	now, err := tx.NowMS()
	if err != nil {
		return nil, err
	}
	tx.writes++
	return all[0], tx.c.exec("UPDATE legal_hold SET lifted_by = $3, lifted_ms = $4 WHERE org = $1 AND id = $2", tx.org.num, id[:], optional(by), now)
}

func (v *view) legalHolds(tail string, args ...any) (all []*Hold, err error) {
	err = v.c.each("SELECT id, target, reason, placed_by, placed_ms, lifted_by, lifted_ms FROM legal_hold WHERE org = $1 "+tail,
		append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
			h := &Hold{}
			var target, placed, lifted []byte
			err := rows.Scan((*scanID)(&h.ID), &target, &h.Reason, &placed, &h.PlacedMS, &lifted, &h.LiftedMS)
			h.Target, _ = syncengine.IDFromBytes(target)
			h.PlacedBy, _ = syncengine.IDFromBytes(placed)
			h.LiftedBy, _ = syncengine.IDFromBytes(lifted)
			all = append(all, h)
			return err
		})
	return all, err
}

// LegalHolds returns all of an org, those that stand first, then the newest first.
func (s *Snapshot) LegalHolds() ([]*Hold, error) { return s.v.LegalHolds() }

// LegalHolds returns all of an org, those that stand first, then the newest first.
func (v *view) LegalHolds() ([]*Hold, error) {
	return v.legalHolds("ORDER BY CASE WHEN lifted_ms = 0 THEN 0 ELSE 1 END, placed_ms DESC, id")
}

// LegalHolds returns all of an org, those that stand first, then the newest first.
func (s *Store) LegalHolds(ctx context.Context, org syncengine.ID) (all []*Hold, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.LegalHolds()
		return err
	})
	return all, err
}
