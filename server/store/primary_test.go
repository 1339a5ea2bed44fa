package store_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// A store goes to the promoted standby by itself though the old primary lives on, even
// in the middle of a commit that waits for ever; and it never goes back.
func TestOldPrimary(t *testing.T) {
	t.Parallel()
	for name, synchronous := range map[string]bool{"synchronous": true, "asynchronous": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := pgtest.Start(t)
			var standby *pgtest.Cluster
			alone := ""
			w := newWorld(t, engine{Name: "postgres", Database: func(tb testing.TB) string {
				alone = old.Database(tb)
				standby = old.Standby(tb)
				return pgtest.Across(tb, alone, old, standby)
			}}, 71)
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			w.s = place{w.dir, w.database}.open(t, store.Options{Serve: true})
			old.Synchronous(t, synchronous)
			w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
			before := w.head()
			standby.Stall(t)
			waits := make(chan error, 1)
			if synchronous {
				// This commit waits in vain.
				go func() { waits <- w.s.Write(t.Context(), w.org.ID, 1, bump) }()
				for stuck := ""; stuck != "true"; {
					var err error
					if stuck, err = old.Ask("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep')::text"); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				w.write(bump)
			}
			standby.Promote(t)
			if synchronous {
				select {
				case err := <-waits:
					if !errors.Is(err, store.ErrStorage) {
						t.Errorf("a commit that no standby has: %v", err)
					}
				case <-time.After(time.Minute):
					old.Kill()
					t.Fatal("a commit waits for a standby that will never come")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			there := place{w.dir, pgtest.Across(t, alone, standby)}.behind(t)
			var head syncengine.HistoryHead
			for ctx.Err() == nil {
				if err := w.s.Write(ctx, w.org.ID, 1, bump); err != nil {
					if !errors.Is(err, store.ErrStorage) {
						t.Fatalf("got %v, want ErrStorage", err)
					}
					continue
				}
				var seq uint64
				if err := there.QueryRowContext(ctx, "SELECT seq FROM org").Scan(&seq); err != nil {
					t.Fatal(err)
				}
				// A connection to the old one may still be among those that are kept.
				err := w.s.Read(ctx, w.org.ID, func(v syncengine.ServerView) (err error) {
					head, err = v.Head()
					return err
				})
				if err != nil && !errors.Is(err, store.ErrStorage) {
					t.Fatalf("got %v, want ErrStorage", err)
				}
				if err == nil && seq == head.Seq {
					break
				}
			}
			if ctx.Err() != nil {
				t.Fatal("it never came to the new primary")
			}
			if lost := !synchronous; (head.Epoch != before.Epoch) != lost || head.Recovering != lost {
				t.Errorf("the history stands at %v, before the standby was promoted at %v", head, before)
			}
			w.verified()
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			// Nor does the next process with this directory, though nobody tells it of another.
			err := opening(t, place{w.dir, alone}, store.Options{Database: alone})
			if !errors.Is(err, store.ErrSuperseded) || !errors.Is(err, store.ErrStorage) {
				t.Errorf("the old primary is opened: %v", err)
			}
			// Unless somebody says so.
			old.Synchronous(t, false)
			if err := opening(t, place{w.dir, alone}, store.Options{Database: alone, Replaced: true}); err != nil {
				t.Error(err)
			}
			if err := opening(t, place{w.dir, alone}, store.Options{Database: alone}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A database that was replaced by an older one is compared before anything is read from
// it: where it was away meanwhile, and where nobody has noticed.
func TestSetBackWhileItWasAway(t *testing.T) {
	t.Parallel()
	for name, noticed := range map[string]bool{"noticed": true, "unnoticed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary := pgtest.Start(t)
			var standby *pgtest.Cluster
			w := newWorld(t, engine{Name: "postgres", Database: func(tb testing.TB) string {
				database := primary.Database(tb)
				standby = primary.Standby(tb)
				return pgtest.Across(tb, database, primary, standby)
			}}, 72)
			before := w.head()
			standby.Stall(t)
			w.write(bump)
			primary.Kill()
			if noticed {
				if err := w.s.Write(t.Context(), w.org.ID, 1, bump); !errors.Is(err, store.ErrStorage) {
					t.Fatalf("a write while it is away: got %v, want ErrStorage", err)
				}
				if err := w.s.Read(t.Context(), w.org.ID, func(syncengine.ServerView) error { return nil }); !errors.Is(err, store.ErrStorage) {
					t.Fatalf("a read while it is away: got %v, want ErrStorage", err)
				}
			}
			standby.Promote(t)
			for err := store.ErrStorage; err != nil; {
				err = w.s.Read(t.Context(), w.org.ID, func(view syncengine.ServerView) error {
					head, err := view.Head()
					if err == nil && (head.Epoch == before.Epoch || !head.Recovering) {
						t.Errorf("it was read before anybody saw that a commit is missing: %v", head)
					}
					return err
				})
				if err != nil && !errors.Is(err, store.ErrStorage) {
					t.Fatal(err)
				}
			}
		})
	}
}

// A statement under which the connection was cut, as it is to a primary that was replaced,
// is one to be tried again, however the driver says it.
func TestCutConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&net.OpError{Op: "read", Net: "unix", Err: net.ErrClosed}, fmt.Errorf("a page: %w", io.ErrUnexpectedEOF), driver.ErrBadConn,
	} {
		if got := store.Classify(err); !errors.Is(got, store.ErrStorage) || !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	if got := store.Classify(errors.New("a fault of ours")); errors.Is(got, store.ErrStorage) {
		t.Errorf("got %v", got)
	}
}
