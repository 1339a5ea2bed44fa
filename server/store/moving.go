package store

import (
	"context"
	"database/sql"
)

// moving says how an org stands to a move from one database to another.
type moving int64

const (
	// stays: it is here.
	stays moving = iota
	// arriving: it is being brought here, and may not be whole.
	arriving
	// away: it was here and has gone to another database.
	away
	// importing: an export is being read into it, and it may not be whole.
	importing
)

// refusal is why an org is not to be worked with; nil where it is here.
func (m moving) refusal() error {
	switch m {
	case stays:
		return nil
	case arriving:
		return ErrHalfMoved
	case importing:
		return ErrHalfImported
	case away:
	}
	return ErrMoved
}

// moving returns how the database stands: where not all its orgs are here, what is
// wrong with one that is not.
func (s *Store) moving(ctx context.Context) (state moving, err error) {
	err = s.snapshot(ctx, noOrg, func(c *conn) (err error) {
		state, _, err = c.moving()
		return err
	})
	return state, err
}

// moving is that of the store, and how many orgs there are.
func (c *conn) moving() (state moving, orgs int, err error) {
	err = c.each("SELECT moved FROM org", nil, func(rows *sql.Rows) error {
		var one moving
		err := rows.Scan(&one)
		if one != stays {
			state = one
		}
		orgs++
		return err
	})
	return state, orgs, err
}
