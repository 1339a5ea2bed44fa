package syncengine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// What two lists of ranges have in common is what a set of numbers says.
func TestBoth(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 1))
	drawn := func() (ranges []OpRange, holds [40]bool) {
		for range rng.IntN(6) {
			first := 1 + rng.Uint64N(30)
			ranges = append(ranges, OpRange{First: first, Last: first + rng.Uint64N(8)})
		}
		ranges = MergeRanges(ranges)
		for _, r := range ranges {
			for op := r.First; op <= r.Last; op++ {
				holds[op] = true
			}
		}
		return ranges, holds
	}
	for range 2000 {
		a, inA := drawn()
		b, inB := drawn()
		got := both(a, b)
		for op := range uint64(40) {
			if HoldsOp(got, op) != (inA[op] && inB[op]) {
				t.Fatalf("%v and %v have %v in common: wrong of %d", a, b, got, op)
			}
		}
	}
	whole := []OpRange{{First: 0, Last: math.MaxUint64}}
	if got := both(whole, []OpRange{{First: 3, Last: 5}}); !slices.Equal(got, []OpRange{{First: 3, Last: 5}}) {
		t.Errorf("of everything: %v", got)
	}
	if got := both([]OpRange{{First: 9, Last: 4}}, whole); len(got) != 0 {
		t.Errorf("of a range that is none: %v", got)
	}
}
