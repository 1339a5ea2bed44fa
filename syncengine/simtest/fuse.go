package simtest

import (
	"errors"

	"github.com/tandem-response/tandem/internal/planted"
)

// errStorage is what a store returns once its fuse has blown.
var errStorage = errors.New("the simulated storage failed")

// fuse makes a store fail at its n-th call from now; 0 is never. undo holds how to
// take back what the running transaction did, oldest first.
type fuse struct {
	left  int
	blown bool
	undo  []func()
	// wrote counts the transactions that wrote and stayed.
	wrote int
}

// call is one call of the store.
func (f *fuse) call() error {
	if f.blown {
		return errStorage
	}
	if f.left > 0 {
		if f.left--; f.left == 0 {
			f.blown = true
			return errStorage
		}
	}
	return nil
}

// begin starts a transaction that fails at its n-th call; 0 is never.
func (f *fuse) begin(n int) {
	f.left, f.blown, f.undo = n, false, f.undo[:0]
}

// end ends the transaction: it stays, or is taken back.
func (f *fuse) end(commit bool) {
	f.left, f.blown = 0, false
	if commit && len(f.undo) > 0 {
		f.wrote++
	}
	if !commit {
		first := 0
		if planted.Is(planted.PartialApply) {
			first = len(f.undo) / 2
		}
		for i := len(f.undo) - 1; i >= first; i-- {
			f.undo[i]()
		}
	}
	f.undo = f.undo[:0]
}

// put sets m[k] until the transaction is taken back.
func put[K comparable, V any](f *fuse, m map[K]V, k K, v V) {
	old, had := m[k]
	f.undo = append(f.undo, func() {
		if had {
			m[k] = old
		} else {
			delete(m, k)
		}
	})
	m[k] = v
}

// remove deletes m[k] until the transaction is taken back.
func remove[K comparable, V any](f *fuse, m map[K]V, k K) {
	old, had := m[k]
	if !had {
		return
	}
	f.undo = append(f.undo, func() { m[k] = old })
	delete(m, k)
}
