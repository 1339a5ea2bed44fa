package simtest

import "maps"

// maxTries bounds the runs that Shrink makes.
const maxTries = 600

// Shrink leaves steps out of a run that fails, as many as it can find in a bounded
// number of runs, while the same invariant breaks. It returns the report of the
// shortest run, with its events.
func Shrink(o Options) *Report {
	first := Run(o)
	if first.Failed == nil {
		return first
	}
	best := o
	best.Skip = maps.Clone(o.Skip)
	if best.Skip == nil {
		best.Skip = map[int]bool{}
	}
	best.Steps = min(o.Steps, first.At+1)
	fails := func(o Options) bool {
		r := Run(o)
		return r.Failed != nil && r.Failed.Invariant == first.Failed.Invariant
	}
	if !fails(best) {
		best.Steps = o.Steps
	}
	tries := 0
	for size := best.Steps / 2; size > 0 && tries < maxTries; {
		shorter := false
		for at := 0; at < best.Steps && tries < maxTries; at += size {
			next := best
			next.Skip = maps.Clone(best.Skip)
			for i := at; i < min(at+size, best.Steps); i++ {
				next.Skip[i] = true
			}
			if len(next.Skip) == len(best.Skip) {
				continue
			}
			if tries++; fails(next) {
				best, shorter = next, true
			}
		}
		if !shorter || size > 1 {
			size /= 2
		}
	}
	best.Log = true
	return Run(best)
}
