package store

import (
	"testing"
	"time"
)

// Writer runs a statement on the writing connection, while nothing else does.
func (s *Store) Writer(tb testing.TB, statement string) {
	tb.Helper()
	if _, err := s.writer.c.ExecContext(tb.Context(), statement); err != nil {
		tb.Fatal(err)
	}
}

// Waiting returns the number of jobs that wait for the writer.
func (s *Store) Waiting() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.jobs)
}

// Exec runs a statement in a transaction.
func (tx *Tx) Exec(statement string, args ...any) error { return tx.c.exec(statement, args...) }

// Number returns the first number that a query answers.
func (tx *Tx) Number(query string, args ...any) (n int64, err error) {
	_, err = tx.c.one(query, args, &n)
	return n, err
}

// OrgNumber is the number of the transaction's org.
func (tx *Tx) OrgNumber() int64 { return tx.org.num }

// PollEvery sets how often a store looks for commits of other processes, from its first
// watcher on.
func (s *Store) PollEvery(d time.Duration) { s.watch.every = d }

// Deafen lets a store hear nothing of other processes.
func (s *Store) Deafen() { s.watch.listening = true }

// Listens reports whether a store is told of other processes' commits.
func (s *Store) Listens(tb testing.TB) (n int) {
	tb.Helper()
	if err := s.readerDB.QueryRowContext(tb.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND query = 'LISTEN tandem'`).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// Told is told, and whether watchers were told of all up to a sequence.
func Told(intervals ...[2]uint64) (upTo uint64, ahead int) {
	t := told{ahead: map[uint64]uint64{}}
	for _, i := range intervals {
		t.add(i[0], i[1])
	}
	return t.seq, len(t.ahead)
}

// Classify is classify.
func Classify(err error) error { return classify(err) }
