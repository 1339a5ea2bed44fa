package store_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// beside opens the world's store once more, as another server process would.
func (w *world) beside() *store.Store {
	w.tb.Helper()
	s, err := store.Open(w.ctx, w.dir, store.Options{Database: w.database, Volatile: true, Clock: func() time.Time { return time.UnixMilli(w.now) }})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = s.Close() })
	return s
}

// colleague is another replica of the same clinician, on a store of its own.
func (w *world) colleague(s *store.Store, seed byte) *world {
	w.tb.Helper()
	c := *w
	c.s, c.rand, c.op, c.last = s, rand.NewChaCha8([32]byte{seed, 1}), 0, syncengine.Hash{}
	c.key, c.replica, c.device = ed25519.NewKeyFromSeed(c.bytes(32)), c.id(), c.id()
	w.write(func(tx *store.Tx) error {
		return tx.SaveReplica(&syncengine.Replica{ID: c.replica, Person: c.staff, Device: c.device, Key: c.public()})
	})
	return &c
}

// writers is how many write at the same time, and each what it writes.
const (
	writers = 8
	writes  = 12
)

// stagger is how long a transaction dawdles before it ends, on some of its turns.
func stagger(draw *rand.Rand) {
	if draw.IntN(3) == 0 {
		time.Sleep(time.Duration(draw.IntN(4000)) * time.Microsecond)
	}
}

// A device that reads on from where it stands misses nothing, however eight writers in
// two server processes commit meanwhile, some of them slowly.
func TestNothingIsPassedOver(t *testing.T) { each(t, testNothingIsPassedOver) }

func testNothingIsPassedOver(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 51)
	stores := []*store.Store{w.s, w.beside()}
	var made sync.Map
	var wg, reading sync.WaitGroup
	ended := make(chan struct{})
	for i := range writers {
		c := w.colleague(stores[i%2], byte(100+i))
		draw := rand.New(rand.NewPCG(uint64(i), 5))
		wg.Go(func() {
			for range writes {
				id := c.id()
				push := c.pushing(c.creation(c.staff, id, c.encounter()))
				err := c.s.Write(t.Context(), c.org.ID, 1, func(tx *store.Tx) error {
					stagger(draw)
					err := push(tx)
					stagger(draw)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				made.Store(id, true)
			}
		})
	}
	scope := syncengine.ScopeKey{Owner: syncengine.OwnerTeam, OwnerID: w.team, Compartment: tandemv1.Compartment_COMPARTMENT_CLINICAL, Open: true}
	seen := map[syncengine.ID]bool{}
	reading.Go(func() {
		var seq uint64
		var last syncengine.ID
		for turn, more := 0, true; more; turn++ {
			select {
			case <-ended:
				more = false
			default:
			}
			for {
				var members []syncengine.Member
				err := stores[turn%2].Read(t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
					members, err = v.Members(scope, seq, last, 7)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				if len(members) == 0 {
					break
				}
				for _, m := range members {
					seen[m.Record], seq, last = true, m.Seq, m.Record
				}
			}
		}
	})
	wg.Wait()
	close(ended)
	reading.Wait()
	n := 0
	made.Range(func(id, _ any) bool {
		if n++; !seen[id.(syncengine.ID)] { //nolint:errcheck // Stored above.
			t.Errorf("record %v was acknowledged and never read", id)
		}
		return true
	})
	if n != writers*writes {
		t.Errorf("%d of %d writes succeeded", n, writers*writes)
	}
	w.verified()
}

// The control to the test above: what reads on by a plain sequence does pass over rows,
// under the same writers.
func TestAPlainSequencePassesOver(t *testing.T) {
	t.Parallel()
	db := place{t.TempDir(), postgres.Database(t)}.behind(t)
	run(t, db, "CREATE TABLE public.plain (seq BIGSERIAL PRIMARY KEY)")
	commit := func(f func(*sql.Tx) error) error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		return errors.Join(f(tx), tx.Commit())
	}
	insert := func(tx *sql.Tx) (seq int64, err error) {
		err = tx.QueryRowContext(t.Context(), "INSERT INTO public.plain DEFAULT VALUES RETURNING seq").Scan(&seq)
		return seq, err
	}
	seen := map[int64]bool{}
	var cursor int64
	read := func() error {
		rows, err := db.QueryContext(t.Context(), "SELECT seq FROM public.plain WHERE seq > $1 ORDER BY seq", cursor)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&cursor); err != nil {
				return err
			}
			seen[cursor] = true
		}
		return rows.Err()
	}
	// One is slow for certain, the others by chance.
	var slow int64
	begun, go1 := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for i := range writers {
		draw := rand.New(rand.NewPCG(uint64(i), 5))
		wg.Go(func() {
			if i > 0 {
				<-begun
			}
			for n := range writes {
				err := commit(func(tx *sql.Tx) error {
					seq, err := insert(tx)
					if i == 0 && n == 0 {
						slow = seq
						close(begun)
						<-go1
					}
					stagger(draw)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				total++
				mu.Unlock()
			}
		})
	}
	<-begun
	// Until another one has passed it.
	for cursor <= slow {
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	close(go1)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	if lost := total - len(seen); lost == 0 {
		t.Error("nothing was lost: the test above would show nothing")
	} else {
		t.Logf("%d of %d rows were never read", lost, total)
	}
}

// race runs two writes on two stores at the same time: each that has come to its end
// waits a moment for the other to have come there too, and commits then. Behind the
// lock of the org they never meet, and each runs once. Without it both have read what
// was there before either; that the second then finds its sequence taken, and is run
// again, would hide that.
func race(t *testing.T, org syncengine.ID, stores [2]*store.Store, do [2]func(*store.Tx) error) {
	t.Helper()
	var wg sync.WaitGroup
	var errs [2]error
	var ran [2]atomic.Int32
	ended := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	for i := range do {
		wg.Go(func() {
			errs[i] = stores[i].Write(context.WithoutCancel(t.Context()), org, 1, func(tx *store.Tx) error {
				if ran[i].Add(1) > 1 {
					return do[i](tx)
				}
				err := do[i](tx)
				close(ended[i])
				select {
				case <-ended[1-i]:
				case <-time.After(10 * time.Millisecond):
				}
				return err
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Errorf("write %d of two ran %d times: they did not come one after the other", i, n)
		}
	}
}

// pushing returns what pushes a change, which must be applied.
func (w *world) pushing(change *tandemv1.Change) func(*store.Tx) error {
	w.tb.Helper()
	req := w.request(change)
	pushed := w.prepare(req)
	return func(tx *store.Tx) error {
		b, err := w.srv.Begin(tx, w.now)
		if err != nil {
			return err
		}
		out, err := b.Push(w.replica, pushed, req)
		if err != nil {
			return err
		}
		if out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			return fmt.Errorf("not applied: %v", out[0])
		}
		_, err = b.Commit()
		return err
	}
}

// A child that is made by one server while another moves its parent ends up with the
// parent where both belong.
func TestChildBesideAMove(t *testing.T) { each(t, testChildBesideAMove) }

func testChildBesideAMove(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 52)
	stores := [2]*store.Store{w.s, w.beside()}
	agency := w.agency.String()
	teams := []syncengine.ID{w.team, w.id(), w.id()}
	for _, id := range teams[1:] {
		w.local(id, &tandemv1.Team{AgencyId: &agency, Lifecycle: new("active"), Name: new("Another")})
	}
	w.staff = w.id()
	w.local(w.staff, &tandemv1.Staff{AgencyId: &agency, Lifecycle: new("active"), DisplayName: new("B. Clinician"),
		Roles: []string{"clinician"}, TeamIds: []string{teams[0].String(), teams[1].String(), teams[2].String()}})
	mover, maker := w.colleague(stores[0], 1), w.colleague(stores[1], 2)
	for n := range 15 {
		person := w.id()
		made := w.creation(w.staff, person, &tandemv1.Person{AgencyId: &agency, TeamId: new(teams[0].String()), Lifecycle: new("active")})
		w.write(mover.pushing(made))
		child := w.encounter()
		child.TeamId, child.PersonId = new(teams[1].String()), new(person.String())
		about := w.creation(w.staff, w.id(), child)
		move := w.edit(person, made.Records[0].Kind, syncengine.FieldTeam, teams[2].String(), stampOf(made))
		do := [2]func(*store.Tx) error{maker.pushing(about), mover.pushing(move)}
		if n%2 == 1 {
			do[0], do[1] = do[1], do[0]
		}
		race(t, w.org.ID, stores, do)
		var want []syncengine.ScopeKey
		for _, team := range teams[1:] {
			want = append(want, syncengine.ScopeKey{Owner: syncengine.OwnerTeam, OwnerID: team, Compartment: tandemv1.Compartment_COMPARTMENT_CLINICAL, Open: true})
		}
		slices.SortFunc(want, syncengine.ScopeKey.Compare)
		err := stores[n%2].Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
			rec, err := v.Record(person)
			if err == nil && !slices.Equal(rec.Scopes, want) {
				t.Errorf("the person is in %v, want the team it moved to and the child's: %v", rec.Scopes, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.verified()
}

// A push that one server takes while another revokes its sender is either before the
// revocation, or refused.
func TestPushBesideARevocation(t *testing.T) { each(t, testPushBesideARevocation) }

func testPushBesideARevocation(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 53)
	stores := [2]*store.Store{w.s, w.beside()}
	verdicts := map[tandemv1.OutcomeCode]int{}
	for n := range 15 {
		c := w.colleague(stores[n%2], byte(150+n))
		req := c.request(c.creation(c.staff, c.id(), c.encounter()))
		pushed := c.prepare(req)
		var out []*tandemv1.Outcome
		var revoked uint64
		push := func(tx *store.Tx) error {
			b, err := c.srv.Begin(tx, c.now)
			if err != nil {
				return err
			}
			if out, err = b.Push(c.replica, pushed, req); err != nil {
				return err
			}
			_, err = b.Commit()
			return err
		}
		revoke := func(tx *store.Tx) error {
			r, err := tx.Replica(c.replica)
			if err != nil {
				return err
			}
			gone := *r
			gone.Revoked = true
			if err := tx.SaveReplica(&gone); err != nil {
				return err
			}
			if err := bump(tx); err != nil {
				return err
			}
			head, err := tx.Head()
			revoked = head.Seq
			return err
		}
		do := [2]func(*store.Tx) error{push, revoke}
		if n%2 == 1 {
			do[0], do[1] = revoke, push
		}
		race(t, w.org.ID, stores, do)
		err := stores[n%2].Write(t.Context(), w.org.ID, 0, func(tx *store.Tx) error {
			kept, err := tx.Change(pushed[0].ID)
			if err != nil || kept == nil {
				return errors.Join(err, errors.New("the change was not kept"))
			}
			applied := kept.Outcome.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED
			if applied != (kept.Seq < revoked) || kept.Outcome.GetCode() != out[0].GetCode() {
				t.Errorf("revoked at %d, pushed at %d: %v", revoked, kept.Seq, kept.Outcome)
			}
			verdicts[kept.Outcome.GetCode()]++
			r, err := tx.Replica(c.replica)
			if err == nil && !r.Revoked {
				t.Error("the push has taken the revocation back")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v", verdicts)
	w.verified()
}
