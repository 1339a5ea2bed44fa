package client

import (
	"math/rand/v2"
	"time"
)

// How long a request waits at the server for news, and what is done where something
// on the way does not let it.
const (
	// longWait is what is asked for at first, shortWait what is still worth it.
	longWait, shortWait = 50 * time.Second, 8 * time.Second
	// waited is how long a request must have waited for its end to tell of a proxy
	// rather than of the network.
	waited = 3 * time.Second
	// plainPause is the mean time between two plain polls, plainFor how long it is
	// polled plainly until waiting is tried again.
	plainPause, plainFor = 30 * time.Second, 10 * time.Minute
	// steady is how many waits go through before a longer one is tried.
	steady = 20
	// late is by how much an answer may come later than the link explains.
	late = 5 * time.Second
	// oddities is how many answers in a row that no honest link explains make it plain
	// polling.
	oddities = 3
)

// poll decides how a device waits for news: by requests that wait at the server, as
// long as they come back; by plain requests at intervals where something on the way
// ends them early, answers in the server's place or holds answers back.
type poll struct {
	wait time.Duration
	// passed counts waits that went through, odd answers in a row that were no waits.
	passed, odd int
	// plainUntil is the end of plain polling, zero for none.
	plainUntil time.Time
}

// next returns how long the next request is to wait at the server, and how long to
// pause before it is made.
func (p *poll) next(now time.Time, src rand.Source) (wait, pause time.Duration) {
	if p.wait == 0 {
		p.wait = longWait
	}
	if now.Before(p.plainUntil) {
		return 0, plainPause/2 + jitter(plainPause, src)
	}
	if !p.plainUntil.IsZero() {
		p.plainUntil, p.odd, p.wait = time.Time{}, 0, max(p.wait, 2*shortWait)
	}
	return p.wait, 0
}

// cut notes a waiting request that ended without an answer after a time, and reports
// whether that was its wait's end rather than the network's.
func (p *poll) cut(now time.Time, wait, after time.Duration) bool {
	if p == nil || wait == 0 || after < waited || after >= wait+slack/2 {
		return false
	}
	p.passed = 0
	if p.wait <= shortWait || after < shortWait {
		p.plain(now)
		return true
	}
	// A little less than what was not let through.
	p.wait = max(min(after, p.wait)*3/4, shortWait)
	return true
}

// came notes the answer to a waiting request: whether it brought news, and what was
// measured of it.
func (p *poll) came(now time.Time, wait time.Duration, news bool, s sample, rtt time.Duration) {
	if wait == 0 {
		return
	}
	early := !news && s.took < wait/2
	buffered := s.held > 0 && s.up+s.down <= small && s.took-s.held > 2*rtt+late
	switch {
	case early || buffered:
		p.passed = 0
		if p.odd++; p.odd >= oddities {
			p.plain(now)
		}
	case !news:
		p.odd = 0
		if p.passed++; p.passed >= steady && p.wait < longWait {
			p.passed, p.wait = 0, min(p.wait*3/2, longWait)
		}
	default:
		p.odd = 0
	}
}

// plain turns to plain polling for a while.
func (p *poll) plain(now time.Time) {
	p.plainUntil, p.passed, p.odd = now.Add(plainFor), 0, 0
}

// fresh forgets what an earlier network did.
func (p *poll) fresh() { *p = poll{} }
