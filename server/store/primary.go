package store

import (
	"context"
	"errors"
	"fmt"
	"net"
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
// not answer, settleWait how long a request waits for it.
const settleAgain, settleWait = 100 * time.Millisecond, 2 * time.Second

// settle compares the database with what this process knows of its histories, until
// that was possible, and begins a new epoch where something is missing.
func (s *Store) settle() {
	ctx, cancel := s.untilClosed()
	defer cancel()
	for {
		s.mu.Lock()
		doubts := s.doubts
		if len(doubts) == 0 {
			close(s.settling)
			s.settling = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := s.checkMarks(ctx, doubts); err == nil {
			s.mu.Lock()
			s.doubts = s.doubts[len(doubts):]
			s.mu.Unlock()
			continue
		}
		select {
		case <-time.After(settleAgain):
		case <-ctx.Done():
			return
		}
	}
}

// Settled returns when the database was compared with what this process knows, after a
// connection to it has broken. Nothing of it should be given out before: it may be
// another one. The error is ErrStorage where that could not be done yet.
func (s *Store) Settled(ctx context.Context) error {
	s.mu.Lock()
	settling := s.settling
	s.mu.Unlock()
	if settling == nil {
		return nil
	}
	patience := time.NewTimer(settleWait)
	defer patience.Stop()
	select {
	case <-settling:
		return nil
	case <-patience.C:
		return ErrUnreachable
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}
