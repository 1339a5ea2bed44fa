package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// MoveOptions say what is moved where.
type MoveOptions struct {
	// Database is the address of the PostgreSQL database.
	Database string
	// Back moves from PostgreSQL into the data directory; else it is the other way.
	Back bool
	// Volatile is that of Options.
	Volatile bool
	// Begin is told how many rows there are to move, Add how many were moved since it was
	// told the last time. Nil: nobody.
	Begin, Add func(rows int)
}

// Moved is what Move has moved of an org.
type Moved struct {
	Org syncengine.ID
	// Seq is where its history stands.
	Seq uint64
	// Report is what Verify found on both sides.
	Report *Report
}

// Move moves everything that a stopped server has in its database to another one, which
// must be empty: from the file in a data directory to PostgreSQL, or back. Keys and
// security journal stay in the directory. History and epoch go on: devices notice
// nothing but another address, if it is another one.
//
// What is moved from stands still meanwhile, and is marked as gone at the end: it is
// refused by servers then. What is moved to is refused as long as the move has not
// ended. Where Move is interrupted, running it again begins anew, or ends it.
func Move(ctx context.Context, dir string, o MoveOptions) (moved []Moved, err error) {
	m := &mover{o: o}
	if m.o.Begin == nil {
		m.o.Begin = func(int) {}
	}
	if m.o.Add == nil {
		m.o.Add = func(int) {}
	}
	from, to := Options{Serve: true, Moved: true}, Options{Serve: true, Moved: true, Create: true, receive: true}
	remote := &to
	if o.Back {
		remote = &from
	}
	remote.Database, remote.Volatile = o.Database, o.Volatile
	if m.from, err = Open(ctx, dir, from); err != nil {
		return nil, fmt.Errorf("what is to be moved: %w", err)
	}
	defer func() { err = errors.Join(err, m.from.Close()) }()
	if m.orgs, err = m.from.Orgs(ctx); err != nil {
		return nil, err
	}
	if m.to, err = Open(ctx, dir, to); err != nil {
		return nil, fmt.Errorf("what it is to be moved to: %w", err)
	}
	defer func() { err = errors.Join(err, m.to.Close()) }()
	if err := m.readLayout(ctx); err != nil {
		return nil, err
	}
	// From here on nobody else writes there.
	err = m.from.raw(ctx, func(from *conn) error {
		if err := m.from.hold(from); err != nil {
			return err
		}
		moved, err = m.move(ctx, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	return moved, m.arrive(ctx)
}

// mover is one move.
type mover struct {
	o        MoveOptions
	from, to *Store
	orgs     []*Org
	layout
}

// hold keeps everybody else from writing until the transaction is over.
func (s *Store) hold(c *conn) error {
	if s.dialect.hold == "" {
		return nil
	}
	_, err := c.script(s.dialect.hold)
	return err
}

// move moves everything and marks it as gone, or finds that this was done before.
func (m *mover) move(ctx context.Context, from *conn) (moved []Moved, err error) {
	state, orgs, err := from.moving()
	if err != nil {
		return nil, err
	}
	there, arrived, err := m.target(ctx)
	switch {
	case err != nil:
		return nil, err
	case state == arriving:
		return nil, fmt.Errorf("what is to be moved: %w", ErrHalfMoved)
	case state == away && there != arriving:
		return nil, fmt.Errorf("what is to be moved: %w", ErrMoved)
	case there == away:
		return nil, fmt.Errorf("what it is to be moved to: %w", ErrMoved)
	case there == stays && arrived > 0:
		return nil, ErrMoveTarget
	case orgs == 0:
		return nil, ErrMoveNothing
	}
	if state == stays {
		if err := m.copyAll(ctx, from); err != nil {
			return nil, err
		}
	} else if err := m.to.raw(ctx, func(to *conn) error { return m.compare(ctx, from, to) }); err != nil {
		return nil, err
	}
	if moved, err = m.verify(ctx); err != nil {
		return nil, err
	}
	if err := m.moveJournal(ctx, from); err != nil {
		return nil, err
	}
	for _, o := range m.orgs {
		if err := m.from.setMoving(from, o, away); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// target returns how what is moved to stands. What another move has left there is not
// this one's to remove.
func (m *mover) target(ctx context.Context) (state moving, orgs int, err error) {
	err = m.to.snapshot(ctx, noOrg, func(c *conn) (err error) {
		if state, orgs, err = c.moving(); err != nil {
			return err
		}
		return c.each("SELECT id FROM org", nil, func(rows *sql.Rows) error {
			var id syncengine.ID
			if err := rows.Scan((*scanID)(&id)); err != nil {
				return err
			}
			if !slices.ContainsFunc(m.orgs, func(o *Org) bool { return o.ID == id }) {
				return ErrMoveTarget
			}
			return nil
		})
	})
	return state, orgs, err
}

// copyAll makes what is moved to a copy. It is marked as unfinished before anything
// else, and what an earlier try has left there is removed.
func (m *mover) copyAll(ctx context.Context, from *conn) error {
	rows, err := m.count(from)
	if err != nil {
		return err
	}
	m.o.Begin(rows)
	err = m.to.raw(ctx, func(to *conn) error {
		if err := m.to.hold(to); err != nil {
			return err
		}
		if err := m.clear(to); err != nil {
			return err
		}
		for _, o := range m.orgs {
			if err := m.copyTable(ctx, from, to, "org", o); err != nil {
				return err
			}
			if err := m.to.setMoving(to, o, arriving); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.to.raw(ctx, func(to *conn) error {
		if err := m.to.hold(to); err != nil {
			return err
		}
		for _, o := range m.orgs {
			for _, table := range m.tables {
				if table == "org" {
					continue
				}
				if err := m.copyTable(ctx, from, to, table, o); err != nil {
					return err
				}
			}
		}
		return m.compare(ctx, from, to)
	})
}

// setMoving notes how an org stands.
func (s *Store) setMoving(c *conn, o *Org, state moving) error {
	if err := s.enter(c, o.num); err != nil {
		return err
	}
	return c.exec("UPDATE org SET moved = $1 WHERE num = $2", int64(state), o.num)
}

// enter makes the rest of a transaction one of an org, for the second fence.
func (s *Store) enter(c *conn, org int64) error {
	if s.dialect.fence == nil {
		return nil
	}
	_, err := c.script(s.dialect.fence(org))
	return err
}

// verify recomputes on both sides what can be recomputed, and compares.
func (m *mover) verify(ctx context.Context) (moved []Moved, err error) {
	for _, o := range m.orgs {
		var reports [2]*Report
		var heads [2]syncengine.HistoryHead
		for i, s := range []*Store{m.from, m.to} {
			r, err := s.Verify(ctx, o.ID)
			if err != nil {
				return nil, err
			}
			if len(r.Faults) > 0 {
				where := "what is to be moved"
				if i == 1 {
					where = "what has arrived"
				}
				return nil, fmt.Errorf("%s: %w (%s)", where, ErrDamaged, r.Faults[0])
			}
			st, err := s.Stats(ctx, o.ID)
			if err != nil {
				return nil, err
			}
			reports[i], heads[i] = r, st.Head
		}
		a, b := reports[0], reports[1]
		if heads[0] != heads[1] || !maps.Equal(a.Digests, b.Digests) || a.Records != b.Records || a.Changes != b.Changes || a.Scopes != b.Scopes || a.Commits != b.Commits {
			return nil, ErrMoveDiffers
		}
		moved = append(moved, Moved{Org: o.ID, Seq: heads[1].Seq, Report: b})
	}
	return moved, nil
}

// moveJournal brings the security journal along. What PostgreSQL alone has goes into
// the file; what the file has, into PostgreSQL.
func (m *mover) moveJournal(ctx context.Context, from *conn) error {
	for _, o := range m.orgs {
		if !m.o.Back {
			if _, _, err := m.to.JoinJournal(ctx, o.ID); err != nil {
				return err
			}
			continue
		}
		if err := m.from.enter(from, o.num); err != nil {
			return err
		}
		there, err := from.sharedJournal(o.num)
		if err != nil {
			return err
		}
		here, err := m.to.fileJournal(ctx, o.ID)
		if err != nil {
			return err
		}
		if err := m.to.copyEvents(ctx, without(there, here)); err != nil {
			return err
		}
	}
	return nil
}

// arrive ends the move.
func (m *mover) arrive(ctx context.Context) error {
	return m.to.raw(ctx, func(to *conn) error {
		for _, o := range m.orgs {
			if err := m.to.setMoving(to, o, stays); err != nil {
				return err
			}
		}
		return nil
	})
}
