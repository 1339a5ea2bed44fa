package client

import (
	"math/rand/v2"
	"time"
)

// Bounds of the pause after failures.
const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
)

// backoff counts failures in a row.
type backoff struct{ failures int }

// pause returns how long to wait after one more failure: anything up to a bound
// that doubles (full jitter, so that devices which lost the server together do not
// come back together), or what the server asked for and an eighth more: who is
// told the same does not come back at the same moment.
func (b *backoff) pause(hint time.Duration, src rand.Source) time.Duration {
	bound := maxPause
	if b.failures < 9 {
		bound = min(maxPause, firstPause<<b.failures)
	}
	b.failures++
	if hint > 0 {
		return hint + jitter(max(hint/8, firstPause), src)
	}
	return jitter(bound, src)
}

func (b *backoff) reset() { b.failures = 0 }

// jitter is anything from nothing to a bound.
func jitter(bound time.Duration, src rand.Source) time.Duration {
	return time.Duration(rand.New(src).Int64N(int64(bound) + 1)) //nolint:gosec // Jitter is no secret.
}

// Bounds of the retry budget: so many failures in a row are answered as the pauses
// say, after that one in so long, whatever wakes the loops.
const (
	retryBurst  = 12
	retryRefill = 10 * time.Second
)

// budget bounds the tries that come to nothing, of all loops together. A radio that
// finds and loses its network every second must not make every device ask every
// second.
type budget struct {
	// owed is the time at which all spent tries are given back.
	owed time.Time
}

// spend takes a try and returns how long to wait at least before the next.
func (b *budget) spend(now time.Time) time.Duration {
	if b.owed.Before(now) {
		b.owed = now
	}
	b.owed = b.owed.Add(retryRefill)
	return max(b.owed.Sub(now)-retryBurst*retryRefill, 0)
}
