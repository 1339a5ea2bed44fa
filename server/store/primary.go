package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Which of several PostgreSQL servers is the primary.
//
// A standby that is promoted writes a new timeline, whose number is higher than any
// that its cluster had before, and the cluster's identifier is the same on all of its
// servers. So a process that has once met a timeline goes back to no lower one: an old
// primary that comes back, or that nobody has stopped, gets nothing written and is
// asked for nothing, whatever it says of itself. The newest timeline is kept in the
// file of the high-water mark too, for the next start.
//
// A process learns of a promotion when it connects, so it looks around: through every
// host of its address, at start, after each connection that broke, before it believes a
// device that the database was set back, and every few seconds. Connections to an older
// timeline are cut then, even in the middle of a commit that waits for a standby which
// will never come. What a commit that was cut has done is not known, so it was not
// acknowledged.
//
// A promotion by itself begins no new epoch. A new epoch stops all pages until an admin
// has looked, and the standby that commits waited for has everything. Where something
// is missing, the marks of the processes show it at once, or else the first device.

const (
	// surveyEvery is how often a server looks around, surveyTime how long that may take.
	surveyEvery, surveyTime = 2 * time.Second, 2 * time.Second
	// surveyFresh is how long what was found is good enough for further connections.
	surveyFresh = 500 * time.Millisecond
)

// place is which PostgreSQL a connection leads to: the identifier of its cluster, empty
// where it is not known, and the timeline that it writes.
type place struct {
	system   string
	timeline uint32
}

// primaries knows where the primary is. Safe for concurrent use.
type primaries struct {
	config *pgx.ConnConfig
	// moved is told that a newer timeline, or another cluster, was met.
	moved func(place)

	mu     sync.Mutex
	newest place
	// best is the host at which it is, empty for not known.
	best string
	open map[*pgconn.PgConn]place

	surveying sync.Mutex
	surveyed  time.Time
}

// newPrimaries watches over the connections that are made with config from now on.
func newPrimaries(config *pgx.ConnConfig, known place, moved func(place)) *primaries {
	p := &primaries{config: config, newest: known, moved: moved, open: map[*pgconn.PgConn]place{}}
	validate := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if err := validate(ctx, c); err != nil {
			return err
		}
		return p.meet(ctx, c)
	}
	return p
}

// where returns the place that a connection leads to.
func where(ctx context.Context, c *pgconn.PgConn) (at place, err error) {
	// What the control file says of the timeline may be minutes old.
	results, err := c.Exec(ctx, `SELECT (SELECT system_identifier FROM pg_control_system()),
		CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END`).ReadAll()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42501" {
		// Somebody has taken the right to ask: there is one server then, as far as we know.
		return at, nil
	}
	if err != nil {
		return at, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return at, nil
	}
	row := results[0].Rows[0]
	timeline, err := strconv.ParseUint(string(row[1]), 16, 32)
	if err != nil {
		return at, nil //nolint:nilerr // It is a standby, which somebody wants for once.
	}
	return place{string(row[0]), uint32(timeline)}, nil
}

// meet judges a new connection: it refuses one to a primary that was replaced, and
// where it leads to a newer one than all before it cuts those.
func (p *primaries) meet(ctx context.Context, c *pgconn.PgConn) error {
	at, err := where(ctx, c)
	if err != nil || at.system == "" {
		return err
	}
	var old []*pgconn.PgConn
	p.mu.Lock()
	if at.system == p.newest.system && at.timeline < p.newest.timeline {
		defer p.mu.Unlock()
		return fmt.Errorf("%w (timeline %d, known is %d)", ErrSuperseded, at.timeline, p.newest.timeline)
	}
	moved := at != p.newest
	p.newest = at
	for o, was := range p.open {
		select {
		case <-o.CleanupDone():
			delete(p.open, o)
			continue
		default:
		}
		if was != at {
			old = append(old, o)
			delete(p.open, o)
		}
	}
	p.open[c] = at
	p.mu.Unlock()
	for _, o := range old {
		_ = o.Conn().Close()
	}
	if moved {
		p.moved(at)
	}
	return nil
}

// hosts are the ways to connect, by host; those to one host are tried in turn.
func (p *primaries) hosts() map[string][]*pgx.ConnConfig {
	hosts := map[string][]*pgx.ConnConfig{}
	add := func(host string, port uint16, change func(*pgx.ConnConfig)) {
		one := p.config.Copy()
		one.Fallbacks = nil
		change(one)
		key := net.JoinHostPort(host, strconv.Itoa(int(port)))
		hosts[key] = append(hosts[key], one)
	}
	add(p.config.Host, p.config.Port, func(*pgx.ConnConfig) {})
	for _, f := range p.config.Fallbacks {
		add(f.Host, f.Port, func(one *pgx.ConnConfig) { one.Host, one.Port, one.TLSConfig = f.Host, f.Port, f.TLSConfig })
	}
	return hosts
}

// survey connects to every host, unless that was done just now.
func (p *primaries) survey(ctx context.Context, fresh time.Duration) {
	p.surveying.Lock()
	defer p.surveying.Unlock()
	if !p.surveyed.IsZero() && time.Since(p.surveyed) < fresh {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), surveyTime)
	defer cancel()
	var all sync.WaitGroup
	for host, ways := range p.hosts() {
		all.Go(func() {
			for _, way := range ways {
				c, err := pgx.ConnectConfig(ctx, way)
				if err != nil {
					continue
				}
				p.mu.Lock()
				if p.open[c.PgConn()] == p.newest {
					p.best = host
				}
				p.mu.Unlock()
				_ = c.Close(ctx)
				return
			}
		})
	}
	all.Wait()
	p.surveyed = time.Now()
}

// aim lets a connection be tried first where the primary is.
func (p *primaries) aim(ctx context.Context, c *pgx.ConnConfig) error {
	hosts := p.hosts()
	if len(hosts) == 1 {
		return nil
	}
	p.survey(ctx, surveyFresh)
	p.mu.Lock()
	best := hosts[p.best]
	p.mu.Unlock()
	if len(best) == 0 {
		return nil
	}
	first := best[0]
	rest := []*pgconn.FallbackConfig{}
	for _, way := range best[1:] {
		rest = append(rest, &pgconn.FallbackConfig{Host: way.Host, Port: way.Port, TLSConfig: way.TLSConfig})
	}
	rest = append(rest, &pgconn.FallbackConfig{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig})
	c.Fallbacks = append(rest, c.Fallbacks...)
	c.Host, c.Port, c.TLSConfig = first.Host, first.Port, first.TLSConfig
	return nil
}

// lookAround looks for a newer primary until the store closes.
func (s *Store) lookAround() {
	ctx, cancel := s.untilClosed()
	defer cancel()
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.remote.primaries.survey(ctx, surveyFresh)
		case <-ctx.Done():
			return
		}
	}
}

// Confirm makes sure that the database is not that of a primary which was replaced,
// before it is said to have been set back. The error is ErrStorage where it was: what
// was asked for is to be tried again, at the new one.
func (s *Store) Confirm(ctx context.Context) error {
	if s.remote == nil {
		return nil
	}
	era := s.Era()
	s.remote.primaries.survey(ctx, 0)
	if s.Era() != era {
		return ErrSuperseded
	}
	return nil
}

// moved begins a new era at a newer primary.
func (s *Store) moved(to place) {
	s.mark.move(to)
	s.mu.Lock()
	running, era := s.running, s.era
	s.mu.Unlock()
	if running {
		s.forget(era)
	}
}

// settleAgain is how long a store waits before it looks again at a database that does
// not answer.
const settleAgain = 100 * time.Millisecond

// settling is the comparison of a database with what this process knows of it, after a
// connection has broken. Until it is done nothing else is read or written: the database
// may be a standby that was promoted and lacks what was committed last.
type settling struct {
	// doubts are the marks that it is compared with.
	doubts []markOrg
	done   chan struct{}
	// tried is closed after each attempt that failed, with err.
	tried chan struct{}
	err   error
}

// settlesKey marks the context of who settles.
type settlesKey struct{}

// doubt begins to compare. The caller holds the lock.
func (s *Store) doubt(marks []markOrg) {
	if s.settling == nil {
		s.settling = &settling{done: make(chan struct{}), tried: make(chan struct{})}
		s.done.Go(s.settle)
	}
	for _, m := range marks {
		if !slices.Contains(s.settling.doubts, m) {
			s.settling.doubts = append(s.settling.doubts, m)
		}
	}
}

// settle compares until that was possible. A new epoch begins where something is missing,
// and whoever the store is for does its part, before anything else happens.
func (s *Store) settle() {
	ctx, cancel := s.untilClosed()
	defer cancel()
	ctx = context.WithValue(ctx, settlesKey{}, true)
	for {
		s.mu.Lock()
		one, era, renewed := s.settling, s.era, s.renewed
		doubts := slices.Clone(one.doubts)
		s.mu.Unlock()
		err := s.checkMarks(ctx, doubts)
		if err == nil && renewed != nil {
			err = renewed(ctx)
		}
		s.mu.Lock()
		switch {
		case err == nil && s.era == era:
			s.settling = nil
			close(one.done)
			s.mu.Unlock()
			return
		case err == nil:
			// It has moved again meanwhile.
			s.mu.Unlock()
			continue
		}
		one.err = err
		close(one.tried)
		one.tried = make(chan struct{})
		s.mu.Unlock()
		select {
		case <-time.After(settleAgain):
		case <-ctx.Done():
			return
		}
	}
}

// settled returns when there is no doubt about the database. The error is that of the
// last attempt to make sure.
func (s *Store) settled(ctx context.Context) error {
	if ctx.Value(settlesKey{}) != nil {
		return nil
	}
	s.mu.Lock()
	one := s.settling
	if one == nil {
		s.mu.Unlock()
		return nil
	}
	tried := one.tried
	s.mu.Unlock()
	select {
	case <-one.done:
		return nil
	case <-tried:
		s.mu.Lock()
		defer s.mu.Unlock()
		return classify(one.err)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

// doubtful reports whether who has this context is to wait: a connection has broken
// since it looked.
func (s *Store) doubtful(ctx context.Context) bool {
	if s.remote == nil || ctx.Value(settlesKey{}) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settling != nil
}

// errDoubtful: a transaction was begun on a database that is to be compared first.
var errDoubtful = fmt.Errorf("%w: it is another one than before", ErrStorage)

// Renewed calls f whenever the database may have become another one under the store's
// feet, when that was looked at and before anything else is read or written. f uses the
// store with the context that it is given; an error lets it be called again.
func (s *Store) Renewed(f func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = f
}
