package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// Where several servers share a database, the security journal is a table of it, so
// that each of them knows at once what any of them has noted. A table is set back with
// its database; so every server keeps a copy too, in its own file, and puts back from
// there what the table lacks. An event is in the file of the process that makes it
// before it is committed. What is lost in a restore is only what every file has lost as
// well.
//
// The events of both have one order, by time: under the lock of the org a new event is
// later than every other, whatever the clock says.

// shared is an event with its place in that order.
type shared struct {
	*JournalEvent

	hash syncengine.Hash
	at   int64
}

// share returns an event as the table has it, wherever it stands in a file.
func (e *JournalEvent) share() (text []byte, hash syncengine.Hash, err error) {
	plain := *e
	plain.Number = 0
	text, err = json.Marshal(&plain)
	return text, sha256.Sum256(text), err
}

// sharedJournal reads the table.
func (c *conn) sharedJournal(org int64) (all []shared, err error) {
	err = c.each("SELECT at_ms, hash, event FROM journal WHERE org = $1 ORDER BY at_ms, hash", []any{org}, func(rows *sql.Rows) error {
		e := shared{JournalEvent: &JournalEvent{}}
		var text string
		if err := rows.Scan(&e.at, (*scanHash)(&e.hash), &text); err != nil {
			return err
		}
		if json.Unmarshal([]byte(text), e.JournalEvent) != nil {
			return fmt.Errorf("the security journal: %w", ErrDamaged)
		}
		all = append(all, e)
		return nil
	})
	return all, err
}

// shareEvent adds an event to the table, once.
func (tx *Tx) shareEvent(e *JournalEvent, at int64) error {
	text, hash, err := e.share()
	if err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("INSERT INTO journal (org, hash, at_ms, event) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		tx.org.num, hash[:], at, string(text))
}

// nextEvent is the time of a new event: later than all that there are.
func (tx *Tx) nextEvent() (at int64, err error) {
	_, err = tx.c.one("SELECT COALESCE(MAX(at_ms), 0) FROM journal WHERE org = $1", []any{tx.org.num}, &at)
	return max(at+1, tx.s.now().UnixMilli()), err
}

// JoinJournal makes this server's file and the table that all servers share equal, and
// returns all events of an org in their order. news are those that the table lacked:
// the database is to be made true to them. On SQLite the file is all there is.
func (s *Store) JoinJournal(ctx context.Context, org syncengine.ID) (events []*JournalEvent, news int, err error) {
	here, err := s.fileJournal(ctx, org)
	if err != nil {
		return nil, 0, err
	}
	if s.remote == nil {
		for _, e := range here {
			events = append(events, e.JournalEvent)
		}
		return events, 0, nil
	}
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, 0, err
	}
	var there []shared
	err = s.snapshot(ctx, o.num, func(c *conn) (err error) {
		there, err = c.sharedJournal(o.num)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the security journal: %w", err)
	}
	lacksTable := without(here, there)
	if err := s.copyEvents(ctx, without(there, here)); err != nil {
		return nil, 0, err
	}
	if len(lacksTable) > 0 {
		err := s.Write(ctx, org, len(lacksTable), func(tx *Tx) error {
			for _, e := range lacksTable {
				if err := tx.shareEvent(e.JournalEvent, e.at); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("writing the security journal: %w", err)
		}
	}
	all := append(there, lacksTable...)
	slices.SortStableFunc(all, func(a, b shared) int { return cmp.Compare(a.at, b.at) })
	for i, e := range all {
		e.Number = uint64(i) + 1
		events = append(events, e.JournalEvent)
	}
	return events, len(lacksTable), nil
}

// without returns the events of some that are not among others.
func without(some, others []shared) (left []shared) {
	known := map[syncengine.Hash]bool{}
	for _, e := range others {
		known[e.hash] = true
	}
	for _, e := range some {
		if !known[e.hash] {
			known[e.hash] = true
			left = append(left, e)
		}
	}
	return left
}

// copyEvents adds events to the file as they are.
func (s *Store) copyEvents(ctx context.Context, events []shared) error {
	for _, e := range events {
		if err := s.journal.append(ctx, e.JournalEvent); err != nil {
			return err
		}
	}
	return nil
}

// fileJournal reads the events of an org from the file, in its order.
func (s *Store) fileJournal(ctx context.Context, org syncengine.ID) (events []shared, err error) {
	err = s.journal.locked(ctx, func() error {
		all, _, _, err := s.journal.read()
		if err != nil {
			return err
		}
		events, err = sharedOf(all, org)
		return err
	})
	return events, err
}

// sharedOf gives the events of an org in a file their places.
func sharedOf(all []*JournalEvent, org syncengine.ID) (events []shared, err error) {
	last := int64(0)
	for _, e := range all {
		if e.Org != org.String() {
			continue
		}
		_, hash, err := e.share()
		if err != nil {
			return nil, err
		}
		// The order of the lines counts, not the clock.
		last = max(last+1, e.AtMS)
		events = append(events, shared{e, hash, last})
	}
	return events, nil
}

// journalSeen is how far file and table had come when they were last joined.
type journalSeen struct {
	size, rows int64
}

// JournalNews joins file and table where either has grown since the last time, and
// returns how many events the table lacked.
func (s *Store) JournalNews(ctx context.Context, org syncengine.ID) (news int, err error) {
	if s.remote == nil {
		return 0, nil
	}
	o, err := s.Org(ctx, org)
	if err != nil {
		return 0, err
	}
	look := func() (seen journalSeen, err error) {
		err = s.journal.locked(ctx, func() (err error) {
			seen.size, err = s.journal.length()
			return err
		})
		if err != nil {
			return seen, err
		}
		return seen, s.snapshot(ctx, o.num, func(c *conn) error {
			_, err := c.one("SELECT count(*) FROM journal WHERE org = $1", []any{o.num}, &seen.rows)
			return err
		})
	}
	seen, err := look()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	same := s.joined[org] == seen
	s.mu.Unlock()
	if same {
		return 0, nil
	}
	if _, news, err = s.JoinJournal(ctx, org); err != nil {
		return news, err
	}
	if seen, err = look(); err == nil {
		s.mu.Lock()
		s.joined[org] = seen
		s.mu.Unlock()
	}
	return news, err
}

// AddJournal takes the events of a copy of a security journal into this one.
func (s *Store) AddJournal(ctx context.Context, path string) error {
	all, _, _, err := (&journal{path: path}).read()
	if err != nil {
		return err
	}
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, o := range orgs {
		events, err := sharedOf(all, o.ID)
		if err != nil {
			return err
		}
		here, err := s.fileJournal(ctx, o.ID)
		if err != nil {
			return err
		}
		if err := s.copyEvents(ctx, without(events, here)); err != nil {
			return err
		}
		if _, _, err := s.JoinJournal(ctx, o.ID); err != nil {
			return err
		}
	}
	return nil
}
