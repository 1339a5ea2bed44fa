package syncengine

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// HoldsOp reports whether op lies in ranges, which are ascending and disjoint.
func HoldsOp(ranges []OpRange, op uint64) bool {
	_, ok := slices.BinarySearchFunc(ranges, op, compareRange)
	return ok
}

// AddOp adds op to ranges, which stay ascending, disjoint and as few as can be. The
// result may share memory with ranges.
func AddOp(ranges []OpRange, op uint64) []OpRange {
	i, ok := slices.BinarySearchFunc(ranges, op, compareRange)
	if ok {
		return ranges
	}
	left := i > 0 && ranges[i-1].Last+1 == op
	right := i < len(ranges) && ranges[i].First == op+1
	switch {
	case left && right:
		ranges[i-1].Last = ranges[i].Last
		return slices.Delete(ranges, i, i+1)
	case left:
		ranges[i-1].Last = op
		return ranges
	case right:
		ranges[i].First = op
		return ranges
	}
	return slices.Insert(ranges, i, OpRange{First: op, Last: op})
}

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

func compareRange(r OpRange, op uint64) int {
	switch {
	case r.Last < op:
		return -1
	case r.First > op:
		return 1
	}
	return 0
}

// removeOp takes op out of ranges.
func removeOp(ranges []OpRange, op uint64) []OpRange {
	i, ok := slices.BinarySearchFunc(ranges, op, compareRange)
	if !ok {
		return ranges
	}
	r := ranges[i]
	var rest []OpRange
	if r.First < op {
		rest = append(rest, OpRange{First: r.First, Last: op - 1})
	}
	if op < r.Last {
		rest = append(rest, OpRange{First: op + 1, Last: r.Last})
	}
	return slices.Replace(slices.Clone(ranges), i, i+1, rest...)
}

// less returns the ranges of a without those of b.
func less(a, b []OpRange) []OpRange {
	for _, cut := range b {
		var rest []OpRange
		for _, r := range a {
			if cut.Last < r.First || r.Last < cut.First {
				rest = append(rest, r)
				continue
			}
			if r.First < cut.First {
				rest = append(rest, OpRange{First: r.First, Last: cut.First - 1})
			}
			if cut.Last < r.Last {
				rest = append(rest, OpRange{First: cut.Last + 1, Last: r.Last})
			}
		}
		a = rest
	}
	return a
}

// both returns the ops that are in both lists of ranges, each in order.
func both(a, b []OpRange) (out []OpRange) {
	for len(a) > 0 && len(b) > 0 {
		first, last := max(a[0].First, b[0].First), min(a[0].Last, b[0].Last)
		if first <= last {
			out = append(out, OpRange{First: first, Last: last})
		}
		if a[0].Last < b[0].Last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

func rangesFromWire(wire []*tandemv1.OpRange) []OpRange {
	out := make([]OpRange, 0, len(wire))
	for _, r := range wire {
		out = append(out, OpRange{First: r.GetFirst(), Last: r.GetLast()})
	}
	return out
}

func rangesToWire(ranges []OpRange) []*tandemv1.OpRange {
	out := make([]*tandemv1.OpRange, 0, len(ranges))
	for _, r := range ranges {
		out = append(out, &tandemv1.OpRange{First: r.First, Last: r.Last})
	}
	return out
}

// gaps returns what ranges leave out of 1 to newest.
func gaps(ranges []OpRange, newest uint64) (out []OpRange) {
	next := uint64(1)
	for _, r := range ranges {
		if r.First > newest {
			break
		}
		if r.First > next {
			out = append(out, OpRange{First: next, Last: r.First - 1})
		}
		next = r.Last + 1
	}
	if next <= newest {
		out = append(out, OpRange{First: next, Last: newest})
	}
	return out
}
