package client

import (
	"math/rand/v2"
	"time"
)

// Bounds of what one request carries and of how long it may take.
const (
	minPush, firstPush, maxPush = 4 << 10, 64 << 10, 1 << 20
	minPage, firstPage, maxPage = 16 << 10, 128 << 10, 1 << 20
	// pollWait is how long a request waits at the server for news.
	pollWait = 50 * time.Second
	// slack is what a request may take beside its bytes and its wait; slowest is the
	// link, in bytes a second, that is still waited for.
	slack   = 45 * time.Second
	slowest = 600
	// quick and slow are the times between which sizes are left as they are.
	quick, slow = time.Second, 10 * time.Second
)

// pace fits the size of requests to the link.
type pace struct{ push, page int }

func (p *pace) reset() { p.push, p.page = firstPush, firstPage }

// took learns from a request that went through.
func (p *pace) took(d time.Duration, pushed, paged bool) {
	for size, bounds := range map[*int]struct {
		used        bool
		least, most int
	}{&p.push: {pushed, minPush, maxPush}, &p.page: {paged, minPage, maxPage}} {
		switch {
		case bounds.used && d < quick:
			*size = min(*size*2, bounds.most)
		case bounds.used && d > slow:
			*size = max(*size/2, bounds.least)
		}
	}
}

// broke learns from a request that did not.
func (p *pace) broke() {
	p.push, p.page = max(p.push/4, minPush), max(p.page/4, minPage)
}

// Bounds of the pause after failures.
const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
)

// backoff counts failures in a row.
type backoff struct{ failures int }

// pause returns how long to wait after one more failure: anything up to a bound
// that doubles (full jitter, so that devices which lost the server together do not
// come back together), or what the server asked for.
func (b *backoff) pause(hint time.Duration, src rand.Source) time.Duration {
	bound := maxPause
	if b.failures < 9 {
		bound = min(maxPause, firstPause<<b.failures)
	}
	b.failures++
	jitter := time.Duration(rand.New(src).Int64N(int64(bound) + 1)) //nolint:gosec // Jitter is no secret.
	if hint > 0 {
		return hint + jitter/8
	}
	return jitter
}

func (b *backoff) reset() { b.failures = 0 }
