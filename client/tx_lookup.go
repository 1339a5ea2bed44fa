package client

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

const selectLookedUp = `SELECT id, kind, at, until, body, stamps FROM looked_up`

func scanLookedUp(scan func(...any) error) (*syncengine.LookedUp, error) {
	l := &syncengine.LookedUp{}
	err := scan((*idColumn)(&l.ID), &l.Kind, &l.AtMS, &l.UntilMS, &l.Body, &l.Stamps)
	return l, err
}

// LookedUp implements syncengine.DeviceTx.
func (t *tx) LookedUp() ([]*syncengine.LookedUp, error) {
	if t.finds == nil {
		finds := []*syncengine.LookedUp{}
		err := t.rows(selectLookedUp+` ORDER BY id`, nil, func(scan func(...any) error) error {
			l, err := scanLookedUp(scan)
			finds = append(finds, l)
			return err
		})
		if err != nil {
			return nil, err
		}
		t.finds = finds
	}
	return slices.Clone(t.finds), nil
}

// SaveLookedUp implements syncengine.DeviceTx.
func (t *tx) SaveLookedUp(l *syncengine.LookedUp) error {
	// An earlier state of it leaves.
	t.finds, t.dropped = nil, true
	return t.exec(`INSERT INTO looked_up (id, kind, at, until, body, stamps) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET kind = $2, at = $3, until = $4, body = $5, stamps = $6`,
		l.ID[:], int64(l.Kind), l.AtMS, l.UntilMS, blob(l.Body), blob(l.Stamps))
}

// DropLookedUp implements syncengine.DeviceTx.
func (t *tx) DropLookedUp(record syncengine.ID) error {
	finds, err := t.LookedUp()
	if err != nil || !slices.ContainsFunc(finds, func(l *syncengine.LookedUp) bool { return l.ID == record }) {
		return err
	}
	t.finds, t.dropped = nil, true
	return t.exec(`DELETE FROM looked_up WHERE id = $1`, record[:])
}
