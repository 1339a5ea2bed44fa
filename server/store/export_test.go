package store

import "testing"

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
