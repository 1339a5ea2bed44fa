package store_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// bump moves the head of the history, which is a write of its own.
func bump(tx *store.Tx) error {
	h, err := tx.Head()
	if err != nil {
		return err
	}
	h.Seq++
	return tx.SetHead(h)
}

func (w *world) head() (h syncengine.HistoryHead) {
	w.tb.Helper()
	err := w.s.Read(w.tb.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		h, err = v.Head()
		return err
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return h
}

// together holds the writer until n jobs wait behind it, so that they share a
// commit.
func (w *world) together(jobs ...func(*store.Tx) error) []error {
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		w.write(func(*store.Tx) error {
			once.Do(func() { close(held) })
			<-release
			return nil
		})
	})
	<-held
	errs := make([]error, len(jobs))
	for i, do := range jobs {
		wg.Go(func() { errs[i] = w.s.Write(w.tb.Context(), w.org.ID, 1, do) })
		// In this order.
		for w.s.Waiting() <= i {
			runtime.Gosched()
		}
	}
	close(release)
	wg.Wait()
	return errs
}

func TestAFailedStatementIsOfOneWrite(t *testing.T) { each(t, testAFailedStatementIsOfOneWrite) }

// A statement that fails, for no fault of the storage, is told to whoever asked for it and
// to nobody that shared a commit with it: PostgreSQL ends the transaction there.
func testAFailedStatementIsOfOneWrite(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 26)
	before := w.head().Seq
	held, behind := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		<-held
		behind <- w.s.Write(t.Context(), w.org.ID, 1, bump)
	}()
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		once.Do(func() {
			close(held)
			for w.s.Waiting() == 0 {
				runtime.Gosched()
			}
		})
		return tx.Exec("INSERT INTO nowhere (org) VALUES (1)")
	})
	if err == nil || errors.Is(err, store.ErrStorage) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the write whose statement failed was told %v", err)
	}
	if err := <-behind; err != nil {
		t.Errorf("the write behind it was told %v", err)
	}
	if got := w.head().Seq - before; got != 1 {
		t.Errorf("%d of 1 write is there", got)
	}
	w.verified()
}

func TestWritesShareACommit(t *testing.T) { each(t, testWritesShareACommit) }

func testWritesShareACommit(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 2)
	before := w.head().Seq
	transactions := map[*store.Tx]bool{}
	jobs := make([]func(*store.Tx) error, 40)
	for i := range jobs {
		jobs[i] = func(tx *store.Tx) error {
			transactions[tx] = true
			return bump(tx)
		}
	}
	if err := errors.Join(w.together(jobs...)...); err != nil {
		t.Fatal(err)
	}
	if got, want := w.head().Seq, before+40; got != want {
		t.Errorf("got sequence %d, want %d", got, want)
	}
	if len(transactions) > len(jobs)/2 {
		t.Errorf("%d writes that waited together took %d transactions", len(jobs), len(transactions))
	}
}

var errCause = errors.New("the cause")

func TestAWriteThatFailsLeavesTheOthers(t *testing.T) { each(t, testAWriteThatFailsLeavesTheOthers) }

func testAWriteThatFailsLeavesTheOthers(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 3)
	before := w.head().Seq
	for name, tc := range map[string]struct {
		bad func(*store.Tx) error
		is  []error
		not error
	}{
		"before it wrote": {func(*store.Tx) error { return errCause }, []error{errCause}, store.ErrFailedTwice},
		"after it wrote": {func(tx *store.Tx) error {
			if err := bump(tx); err != nil {
				return err
			}
			return errCause
		}, []error{errCause, store.ErrFailedTwice}, store.ErrStorage},
		"by a panic": {func(*store.Tx) error { panic("poison") }, []error{store.ErrFailedTwice}, store.ErrStorage},
		"at the end, in a flush": {func(tx *store.Tx) error {
			c := &syncengine.StoredChange{ID: w.id(), Replica: syncengine.ID{9}, Op: 1, Outcome: &tandemv1.Outcome{}}
			return tx.SaveChange(c)
		}, []error{store.ErrFailedTwice, syncengine.ErrUnknownReplica}, store.ErrStorage},
	} {
		errs := w.together(bump, tc.bad, bump, bump)
		before += 3
		for i, err := range errs {
			if i != 1 && err != nil {
				t.Errorf("%s: job %d: %v", name, i, err)
			}
		}
		for _, want := range tc.is {
			if !errors.Is(errs[1], want) {
				t.Errorf("%s: got %v, want %v", name, errs[1], want)
			}
		}
		if errors.Is(errs[1], tc.not) {
			t.Errorf("%s: got %v, which is %v", name, errs[1], tc.not)
		}
		if got := w.head().Seq; got != before {
			t.Errorf("%s: got sequence %d, want %d", name, got, before)
		}
	}
}

func TestACancelledWriteIsNotDone(t *testing.T) { each(t, testACancelledWriteIsNotDone) }

func testACancelledWriteIsNotDone(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 4)
	before := w.head().Seq
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.s.Write(ctx, w.org.ID, 1, bump); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := w.head().Seq; got != before {
		t.Errorf("got sequence %d, want %d", got, before)
	}
}

func TestWatchTellsOfTouchedScopes(t *testing.T) { each(t, testWatchTellsOfTouchedScopes) }

func testWatchTellsOfTouchedScopes(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 5)
	ours := syncengine.ScopeKey{Owner: syncengine.OwnerTeam, OwnerID: w.team, Compartment: tandemv1.Compartment_COMPARTMENT_CLINICAL, Open: true}
	other := ours
	other.OwnerID = w.id()
	mine, theirs := w.s.Watch(w.org.ID), w.s.Watch(w.org.ID)
	defer mine.Close()
	defer theirs.Close()
	mine.Only([]syncengine.ScopeKey{ours})
	theirs.Only([]syncengine.ScopeKey{other})
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	select {
	case <-mine.C:
	default:
		t.Error("the commit had returned before who waits for its scope was told")
	}
	select {
	case <-theirs.C:
		t.Error("a commit woke who waits for another scope")
	default:
	}
}

// state is all that the engine can read of an org.
type state struct {
	records []*syncengine.StoredRecord
	members map[syncengine.ScopeKey][]syncengine.Member
	digests map[syncengine.ScopeKey]syncengine.Digest
	changes []*syncengine.StoredChange
	items   []store.WorkItem
	replica *syncengine.Replica
}

func (w *world) state(changes []*tandemv1.Change) (s state) {
	w.tb.Helper()
	s.members, s.digests = map[syncengine.ScopeKey][]syncengine.Member{}, map[syncengine.ScopeKey]syncengine.Digest{}
	err := w.s.EachRecord(w.tb.Context(), w.org.ID, 0, func(r *syncengine.StoredRecord) error {
		s.records = append(s.records, r)
		return nil
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	slices.SortFunc(s.records, func(a, b *syncengine.StoredRecord) int { return a.ID.Compare(b.ID) })
	scopes := w.verified().Digests
	err = w.s.Read(w.tb.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		for k := range scopes {
			if s.members[k], err = v.Members(k, 0, syncengine.ID{}, 1000); err != nil {
				return err
			}
			d, err := v.Digest(k)
			if err != nil {
				return err
			}
			s.digests[k] = *d
		}
		s.replica, err = v.Replica(w.replica)
		return err
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	if s.items, err = w.s.Items(w.tb.Context(), w.org.ID, false); err != nil {
		w.tb.Fatal(err)
	}
	w.write(func(tx *store.Tx) error {
		for _, c := range changes {
			got, err := tx.ChangeByStamp(stampOf(c))
			if err != nil {
				return err
			}
			s.changes = append(s.changes, got)
		}
		return nil
	})
	return s
}

// history makes changes of every kind: creations, edits at once and later, edits of
// one's own, conflicts, refusals, quarantined creations with what depends on them.
func (w *world) history() (changes []*tandemv1.Change) {
	var made []*tandemv1.Change
	add := func(c *tandemv1.Change) { changes = append(changes, c) }
	pick := func() *tandemv1.Change { return made[w.rand.Uint64()%uint64(len(made))] }
	for range 150 {
		switch n := w.rand.Uint64() % 10; {
		case n < 4 || len(made) == 0:
			c := w.creation(w.staff, w.id(), w.encounter())
			if w.rand.Uint64()%3 == 0 {
				// Two records in one change, one of them small.
				more := w.creation(w.staff, w.id(), &tandemv1.Person{TeamId: new(w.team.String()), Lifecycle: new("active")})
				c.Records = append(c.Records, more.Records...)
			}
			made = append(made, c)
			add(c)
		case n < 7:
			c := pick()
			add(w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 44, "narrative "+w.id().String(), stampOf(c)))
		case n < 8:
			c := pick()
			add(w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 37, "at "+w.id().String(), 0))
		case n < 9:
			// A code with a capital is refused, and so is an edit of what it makes.
			bad := w.encounter()
			bad.Disposition = new("Not A Code")
			c := w.creation(w.staff, w.id(), bad)
			add(c)
			add(w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 44, "on top", stampOf(c)))
		default:
			add(w.edit(w.id(), encounterKind, 44, "of nothing", 0))
		}
	}
	return changes
}

func TestGroupsDoNotMatter(t *testing.T) { each(t, testGroupsDoNotMatter) }

func testGroupsDoNotMatter(t *testing.T, on engine) {
	t.Parallel()
	// The same seed gives two worlds with the same ids.
	one, many := newWorld(t, on, 6), newWorld(t, on, 6)
	changes := one.history()
	if got := many.history(); !proto.Equal(got[len(got)-1], changes[len(changes)-1]) {
		t.Fatal("the two worlds differ before they begin")
	}
	var verdicts [2][]*tandemv1.Outcome
	for _, c := range changes {
		verdicts[0] = append(verdicts[0], one.push(c)...)
	}
	for part := range slices.Chunk(changes, 40) {
		verdicts[1] = append(verdicts[1], many.push(part...)...)
	}
	codes := map[tandemv1.OutcomeCode]int{}
	for i, v := range verdicts[0] {
		codes[v.GetCode()]++
		if !proto.Equal(v, verdicts[1][i]) {
			t.Fatalf("op %d: one by one %v, in groups %v", i+1, v, verdicts[1][i])
		}
	}
	if len(codes) != 3 {
		t.Fatalf("the history reaches the verdicts %v, want applied, conflict and quarantine", codes)
	}
	a, b := one.state(changes), many.state(changes)
	compare(t, a, b)
	for i, c := range a.changes {
		if got, want := c.Body, one.marshal(changes[i]); string(got) != string(want) {
			t.Fatalf("change %d: the log does not hold what was sent", i)
		}
	}
	if err := many.s.Close(); err != nil {
		t.Fatal(err)
	}
	many.open()
	compare(t, a, many.state(changes))
}

func compare(t *testing.T, a, b state) {
	t.Helper()
	if diff := cmpDiff(a.records, b.records); diff != "" {
		t.Fatalf("records:\n%s", diff)
	}
	if diff := cmpDiff(a.members, b.members); diff != "" {
		t.Fatalf("scope index:\n%s", diff)
	}
	if diff := cmpDiff(a.digests, b.digests); diff != "" {
		t.Fatalf("digests:\n%s", diff)
	}
	if diff := cmpDiff(a.changes, b.changes); diff != "" {
		t.Fatalf("change log:\n%s", diff)
	}
	if diff := cmpDiff(a.items, b.items); diff != "" {
		t.Fatalf("work items:\n%s", diff)
	}
	if diff := cmpDiff(a.replica, b.replica); diff != "" {
		t.Fatalf("replica:\n%s", diff)
	}
}

func TestAnswersAreRepeated(t *testing.T) { each(t, testAnswersAreRepeated) }

func testAnswersAreRepeated(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 7)
	req := w.request(w.history()...)
	pushed := w.prepare(req)
	first, err := w.apply(pushed, req)
	if err != nil {
		t.Fatal(err)
	}
	head := w.head()
	again, err := w.apply(pushed, req)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmpDiff(first, again); diff != "" {
		t.Errorf("the second answer differs:\n%s", diff)
	}
	if got := w.head(); got != head {
		t.Errorf("a repeated push moved the history from %v to %v", head, got)
	}
	var read []*tandemv1.Outcome
	err = w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		read, err = v.OutcomesIn(w.replica, syncengine.OpRange{First: 3, Last: 9}, 5)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmpDiff(first[2:7], read); diff != "" {
		t.Errorf("verdicts on ops 3 to 7:\n%s", diff)
	}
}

func TestQuarantineKeepsTheBytes(t *testing.T) { each(t, testQuarantineKeepsTheBytes) }

func testQuarantineKeepsTheBytes(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 8)
	bad := w.encounter()
	bad.Disposition = new("Not A Code")
	c := w.creation(w.staff, w.id(), bad)
	follow := w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 44, "on top", stampOf(c))
	req := w.request(c, follow)
	// Bytes that are no change at all.
	req.Runs[0].Changes = append(req.Runs[0].Changes, []byte("\xff\xff\xff"))
	w.op++
	req.Signature = nil
	pushed := w.resign(req)
	out, err := w.apply(pushed, req)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := w.s.Quarantined(t.Context(), w.org.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 3 || len(out) != 3 {
		t.Fatalf("got %d changes in quarantine and %d verdicts, want 3", len(kept), len(out))
	}
	for i, refusal := range []tandemv1.Refusal{tandemv1.Refusal_REFUSAL_INVALID, tandemv1.Refusal_REFUSAL_BUNDLED, tandemv1.Refusal_REFUSAL_UNDECODABLE} {
		if got := kept[i].Outcome.GetRefusal(); got != refusal || out[i].GetRefusal() != refusal {
			t.Errorf("change %d: got %v, want %v", i, got, refusal)
		}
		if string(kept[i].Body) != string(req.Runs[0].Changes[i]) {
			t.Errorf("change %d: quarantine does not hold its bytes", i)
		}
	}
	w.verified()
}
