package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

var cuts = flag.Int("cuts", 60, "how often TestPowerCuts cuts the power")

// cutWorld is a world whose store is on a disk that fails.
type cutWorld struct {
	*world

	base  *faultfs.Disk
	first uint64
	hash  syncengine.Hash
	// file is an attachment, bytes are those that its record names.
	file  syncengine.ID
	bytes []byte
}

// filePiece is how much of the file comes at once.
const filePiece = 500

// newCutWorld makes the store that every run starts from a copy of.
func newCutWorld(tb testing.TB, seed byte) *cutWorld {
	tb.Helper()
	d := faultfs.New(uint64(seed))
	m, err := vfs.New(d)
	if err != nil {
		tb.Fatal(err)
	}
	w := newWorldAt(m.Use(tb.Context()), tb, sqlite, seed)
	c := &cutWorld{world: w, base: d}
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	c.attach()
	if err := w.s.Close(); err != nil {
		tb.Fatal(err)
	}
	m.Close()
	c.first, c.hash = w.op, w.last
	return c
}

// attach makes the attachment.
func (w *cutWorld) attach() {
	w.tb.Helper()
	w.file, w.bytes = w.id(), bytes.Repeat([]byte("What the letter says.\n"), 200)
	sum := sha256.Sum256(w.bytes)
	w.applied(w.push(w.creation(w.staff, w.file, &tandemv1.Attachment{
		AgencyId: new(w.agency.String()), TeamId: new(w.team.String()), Lifecycle: new("active"), Category: new("document"), MediaType: new("txt"),
		Sha256: sum[:], Size: new(uint32(len(w.bytes))), Owner: &tandemv1.RecordRef{Kind: new("person"), Id: new(w.id().String())},
	})))
}

// open opens the store on a disk; done forgets the disk.
func (w *cutWorld) open(d *faultfs.Disk) (done func(), err error) {
	w.tb.Helper()
	m, err := vfs.New(d)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.s, err = store.Open(m.Use(w.tb.Context()), w.dir, store.Options{Rand: w.rand, Clock: func() time.Time { return time.UnixMilli(w.now) }})
	if err != nil {
		m.Close()
		return nil, err
	}
	return func() {
		_ = w.s.Close()
		m.Close()
	}, nil
}

// load is what a store was asked to keep, and said that it did.
type load struct {
	w    *cutWorld
	rng  *rand.Rand
	kept []*tandemv1.Change
	// under are the changes of the push that failed, failed is how.
	under  []*tandemv1.Change
	failed error
	// held is how much of the file is there.
	held int64
}

// piece brings a piece of the file.
func (l *load) piece() {
	w, held := l.w, int64(0)
	err := w.s.Write(w.tb.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		b, err := tx.Blob(w.file)
		if err != nil {
			return err
		}
		if b == nil {
			b = &store.Blob{Record: w.file, Size: int64(len(w.bytes)), Person: w.staff, BegunMS: w.now}
		}
		held = b.Held
		if b.Complete {
			return nil
		}
		piece := w.bytes[b.Held:min(b.Held+filePiece, b.Size)]
		held = b.Held + int64(len(piece))
		err = tx.AddBlobChunk(w.file, b.Held, piece)
		// What follows a statement that the storage failed is not to stand by itself.
		b.Held, b.Complete = held, held == b.Size
		return errors.Join(err, tx.SaveBlob(b))
	})
	if err != nil {
		l.failed = err
		return
	}
	l.held = held
}

// push sends changes: new ones, and edits of those that are kept.
func (l *load) push(n int) {
	w := l.w
	op, last := w.op, w.last
	var changes []*tandemv1.Change
	for range n {
		if len(l.kept) > 0 && l.rng.IntN(3) == 0 {
			c := l.kept[l.rng.IntN(len(l.kept))]
			if r := c.GetRecords()[0]; r.GetAct() == tandemv1.Act_ACT_CREATE {
				changes = append(changes, w.edit(syncengine.ID(r.GetRecord()), encounterKind, 44, "something else", stampOf(c)))
				continue
			}
		}
		changes = append(changes, w.creation(w.staff, w.id(), w.encounter()))
	}
	req := w.request(changes...)
	if _, err := w.apply(w.prepare(req), req); err != nil {
		l.failed, l.under = err, changes
		w.op, w.last = op, last
		return
	}
	l.kept = append(l.kept, changes...)
}

// untilFailed pushes until the disk gives up or pushes are done.
func (w *cutWorld) untilFailed(d *faultfs.Disk, rng *rand.Rand, pushes int, prepare func()) (l *load, done func()) {
	w.tb.Helper()
	w.op, w.last = w.first, w.hash
	l = &load{w: w, rng: rng}
	done, l.failed = w.open(d)
	if l.failed != nil {
		return l, func() {}
	}
	if prepare != nil {
		prepare()
	}
	for i := 0; i < pushes && l.failed == nil; i++ {
		if l.push(1 + l.rng.IntN(12)); l.failed == nil {
			l.piece()
		}
	}
	return l, done
}

// loss says what the store on a disk lacks; empty where it has all and is whole.
func (l *load) loss(d *faultfs.Disk) (what string, err error) {
	w := l.w
	done, err := w.open(d)
	if err != nil {
		return "", fmt.Errorf("opening: %w", err)
	}
	defer done()
	return l.check()
}

func (l *load) check() (what string, err error) {
	w := l.w
	r, err := w.s.Verify(w.tb.Context(), w.org.ID)
	if err != nil {
		return "", fmt.Errorf("verifying: %w", err)
	}
	if len(r.Faults) > 0 {
		return fmt.Sprintf("verify: %q", r.Faults), nil
	}
	missing, under, held := 0, 0, int64(0)
	err = w.s.Write(w.tb.Context(), w.org.ID, 0, func(tx *store.Tx) error {
		missing, under, held = 0, 0, 0
		if b, err := tx.Blob(w.file); err != nil {
			return err
		} else if b != nil {
			held = b.Held
		}
		for _, c := range l.kept {
			got, err := tx.Change(syncengine.ID(c.GetId()))
			if err != nil {
				return err
			}
			rec, err := tx.Record(syncengine.ID(c.GetRecords()[0].GetRecord()))
			if err != nil {
				return err
			}
			if got == nil || rec == nil {
				missing++
			}
		}
		for _, c := range l.under {
			got, err := tx.Change(syncengine.ID(c.GetId()))
			if err != nil {
				return err
			}
			if got != nil {
				under++
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("looking: %w", err)
	case held < l.held || held > l.held+filePiece:
		return fmt.Sprintf("%d bytes of a file are there, %d were acknowledged", held, l.held), nil
	case missing > 0:
		return fmt.Sprintf("%d of %d acknowledged changes are gone", missing, len(l.kept)), nil
	case under != 0 && under != len(l.under):
		return fmt.Sprintf("%d of %d changes of one commit are there", under, len(l.under)), nil
	}
	// It goes on: what was under way is sent again, whole.
	if under == 0 {
		l.failed, l.under = nil, nil
		if l.push(3); l.failed != nil {
			return "", fmt.Errorf("going on: %w", l.failed)
		}
		if l.piece(); l.failed != nil {
			return "", fmt.Errorf("going on with the file: %w", l.failed)
		}
	}
	return "", nil
}

// TestPowerCuts cuts the power of the server, anywhere in a load of pushes, and
// opens what the drive kept: no acknowledged change is lost, one commit is there
// whole or not at all, and everything that can be computed again is equal. -cuts
// says how often. Where the log is not synced at each commit, or the drive lies
// about it, changes must be lost.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rounds      int
		pragma      string
		lies, loses bool
	}{
		"full":   {rounds: *cuts},
		"normal": {rounds: 25, pragma: "PRAGMA synchronous=normal", loses: true},
		"a liar": {rounds: 25, lies: true, loses: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCutWorld(t, 21)
			lost, kept := 0, 0
			for round := range uint64(tc.rounds) {
				rng := rand.New(rand.NewPCG(round, 22))
				d := w.base.Copy(round)
				d.Set(faultfs.Faults{Lies: tc.lies, CutAt: 1 + rng.IntN(500)})
				// Every other run checkpoints often, so that cuts fall into that as well.
				often := round%2 == 0
				l, done := w.untilFailed(d, rng, 1<<20, func() {
					if tc.pragma != "" {
						w.s.Writer(t, tc.pragma)
					}
					if often {
						w.s.Writer(t, "PRAGMA wal_autocheckpoint=30")
					}
				})
				if !d.Out() {
					t.Fatalf("with the power on: %v", l.failed)
				}
				done()
				kept += len(l.kept)
				what, err := l.loss(d.Restart())
				if what == "" && err == nil {
					continue
				}
				lost++
				if !tc.loses {
					t.Errorf("round %d: after %d changes (%v): %s, error %v", round, len(l.kept), l.failed, what, err)
				}
			}
			if tc.loses && lost == 0 {
				t.Errorf("%d cuts lost nothing: they do not bite", tc.rounds)
			}
			t.Logf("%d cuts, %d changes acknowledged, %d cuts lost some", tc.rounds, kept, lost)
		})
	}
}

// stride is how far apart the faults of a sweep are: every one where time allows.
func stride() int {
	switch {
	case testing.Short():
		return 29
	case need.All() || *cuts >= 1000:
		return 1
	}
	return 7
}

// TestEveryOperation cuts the power at each operation of a short load in turn.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	w := newCutWorld(t, 23)
	for at := 1; ; at += stride() {
		d := w.base.Copy(uint64(at))
		d.Set(faultfs.Faults{CutAt: at})
		l, done := w.untilFailed(d, rand.New(rand.NewPCG(1, 1)), 6, nil)
		done()
		if !d.Out() {
			if ops, _, _ := d.Counts(); ops < 60 || l.failed != nil {
				t.Errorf("the load took %d operations, error %v", ops, l.failed)
			}
			return
		}
		if what, err := l.loss(d.Restart()); what != "" || err != nil {
			t.Fatalf("cut at operation %d, after %d changes (%v): %s, error %v", at, len(l.kept), l.failed, what, err)
		}
	}
}

// TestEveryCall lets each call of a short load fail in turn.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ err, kind error }{
		"input and output": {syscall.EIO, store.ErrStorage},
		"no room":          {syscall.ENOSPC, store.ErrStorage},
		"half":             {faultfs.ErrHalf, store.ErrStorage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCutWorld(t, 24)
			for at := 1; ; at += stride() {
				d := w.base.Copy(uint64(at))
				d.Set(faultfs.Faults{FailAt: at, Err: tc.err})
				l, done := w.untilFailed(d, rand.New(rand.NewPCG(1, 1)), 6, nil)
				_, calls, room := d.Counts()
				if reached := calls; errors.Is(tc.err, syscall.ENOSPC) && room < at || reached < at {
					done()
					return
				}
				if l.failed != nil && !errors.Is(l.failed, tc.kind) {
					t.Errorf("call %d: got %v", at, l.failed)
				}
				d.Set(faultfs.Faults{})
				if w.s != nil && l.failed != nil && len(l.under) > 0 {
					// The same process goes on.
					if what, err := l.check(); what != "" || err != nil {
						t.Fatalf("call %d: %s, error %v", at, what, err)
					}
				}
				done()
				if what, err := l.loss(d.Restart()); what != "" || err != nil {
					t.Fatalf("call %d (%v), reopened: %s, error %v", at, l.failed, what, err)
				}
			}
		})
	}
}

// A statement that the storage fails ends the transaction that its write shares with others:
// they are done all the same.
func TestAStorageFaultIsOfOneWrite(t *testing.T) {
	t.Parallel()
	w := newCutWorld(t, 25)
	d := w.base.Copy(1)
	done, err := w.open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	before := w.head().Seq
	once := false
	errs := w.together(bump, func(tx *store.Tx) error {
		if once {
			return nil
		}
		once = true
		d.Set(faultfs.Faults{FailAt: 1, Err: syscall.EIO})
		_, err := tx.Number("SELECT count(*) FROM scope_index")
		if !errors.Is(err, store.ErrStorage) {
			t.Errorf("the storage did not fail: %v", err)
		}
		return err
	}, bump)
	if err := errors.Join(errs...); err != nil || !once {
		t.Errorf("three writes, one of which met a fault of the storage: %v", errs)
	}
	if got := w.head().Seq - before; got != 2 {
		t.Errorf("%d of 2 writes are there", got)
	}
	if r, err := w.s.Verify(t.Context(), w.org.ID); err != nil || len(r.Faults) > 0 {
		t.Errorf("verify: %v, error %v", r, err)
	}
}
