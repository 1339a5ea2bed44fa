package store

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Commit is what one durable commit held.
type Commit struct {
	// Writes that shared it, and about how many changes they made.
	Writes, Changes int
	// Took is the time from its beginning until it was durable.
	Took time.Duration
}

// Stats is how an org stands, for whoever watches the server.
type Stats struct {
	Head syncengine.HistoryHead
	// Quarantined changes wait for a decision.
	Quarantined int
	// Backups that are remembered, the newest first.
	Backups []*Backup
	Janitor syncengine.Janitor
}

// Stats reads how an org stands.
func (s *Store) Stats(ctx context.Context, org syncengine.ID) (st *Stats, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	st = &Stats{}
	err = s.viewing(ctx, o, func(v *view) error {
		var n int64
		_, qerr := v.c.one("SELECT count(*) FROM quarantine WHERE org = $1 AND closed = 0", []any{o.num}, &n)
		st.Quarantined = int(n)
		var herr, berr, jerr error
		st.Head, herr = v.Head()
		st.Backups, berr = v.backups()
		st.Janitor, jerr = v.Janitor()
		return errors.Join(qerr, herr, berr, jerr)
	})
	return st, err
}

// CanWrite makes a durable commit that nobody reads, and so finds a disk that is full or
// may not be written. Where there is no org yet it only takes the lock of writers.
func (s *Store) CanWrite(ctx context.Context) error {
	if s.remote != nil && s.monotonic() < time.Duration(s.fullUntil.Load()) {
		return ErrDisk
	}
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return err
	}
	if len(orgs) == 0 {
		return s.raw(ctx, func(*conn) error { return nil })
	}
	return s.Write(ctx, orgs[0].ID, 0, func(tx *Tx) error {
		return tx.c.exec("INSERT INTO probe (org, n) VALUES ($1, 1) ON CONFLICT (org) DO UPDATE SET n = probe.n + 1", tx.org.num)
	})
}
