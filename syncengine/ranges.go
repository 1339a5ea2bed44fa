package syncengine

import "slices"

// HoldsOp reports whether op lies in ranges, which are ascending and disjoint.
func HoldsOp(ranges []OpRange, op uint64) bool { return holds(ranges, op) }

// AddOp adds op to ranges, which stay ascending, disjoint and as few as can be. The
// result may share memory with ranges.
func AddOp(ranges []OpRange, op uint64) []OpRange { return addOp(ranges, op) }

// MergeRanges returns the ranges in order, those that meet or overlap as one.
func MergeRanges(all ...[]OpRange) []OpRange {
	ranges := slices.Concat(all...)
	slices.SortFunc(ranges, func(a, b OpRange) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	var out []OpRange
	for _, r := range ranges {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// CountOps returns how many ops the ranges hold.
func CountOps(ranges []OpRange) (n uint64) {
	for _, r := range ranges {
		n += r.Last - r.First + 1
	}
	return n
}
