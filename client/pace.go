package client

import (
	"encoding/json"
	"time"
)

// Bounds of what one request carries and of how long it may take, in bytes.
const (
	minPush, firstPush, maxPush = 4 << 10, 16 << 10, 256 << 10
	minPage, firstPage, maxPage = 4 << 10, 32 << 10, 256 << 10
	// wireSpeed is the rate, in bytes a second, from which on the link is no radio and
	// sizes go up to maxFast: larger commits cost a server less.
	wireSpeed = 2 << 20
	maxFast   = 1 << 20
	// slack is what a request may take beside its bytes and its wait; slowest is the
	// link, in bytes a second, that is still waited for.
	slack   = 45 * time.Second
	slowest = 600
	// A request is made as large as the link carries in a window: long beside a round
	// trip, so that those cost little; short beside the stretches for which a car has
	// signal, so that little is lost where one ends.
	leastWindow, mostWindow = 4 * time.Second, 10 * time.Second
	// small is the sum of bytes, both ways, up to which a request tells of the round
	// trip alone.
	small = 4 << 10
	// headUp and headDown are about what a request and its answer weigh beside their
	// bodies: certificate, proof, nonce.
	headUp, headDown = 1300, 400
	// growth bounds how much larger than the last a request may be; leap where the last
	// has gone within quick, so that one as much larger takes less than half a window.
	growth, leap = 4, 16
	quick        = 100 * time.Millisecond
	// trusted is how many pushes pass under a ceiling until a larger one is tried.
	trusted = 32
)

// pace fits what a request carries to the link as it was measured.
type pace struct {
	// rtt is what a request takes that carries next to nothing, 0 while unknown.
	rtt time.Duration
	// up and down are rates in bytes a second, 0 while unknown.
	up, down float64
	// ratio is how many bytes of body a byte of changes becomes on the wire.
	ratio float64
	// push is the sum of changes, page the page, that a request carries.
	push, page int
	// ceiling is the largest sum of changes that something on the way lets through, 0
	// for none; passed counts the pushes that went through under it.
	ceiling, passed int
	// step is how much larger than the last the next request may be.
	step int
}

func (p *pace) reset() { *p = pace{ratio: 1, push: firstPush, page: firstPage, step: growth} }

// sample is a request that went through.
type sample struct {
	// took is its time, held what of it passed at the server.
	took, held time.Duration
	// up and down are the bytes of the bodies as they went over the wire, raw those of
	// the changes.
	up, down int64
	raw      int
}

// learn takes in a measurement.
func (p *pace) learn(s sample) {
	took := max(s.took-s.held, time.Millisecond)
	up, down := s.up+headUp, s.down+headDown
	switch {
	case up+down <= small && (p.rtt == 0 || took < p.rtt):
		p.rtt = took
	case up+down <= small:
		p.rtt += (took - p.rtt) / 4
	default:
		// The round trip may have got shorter since it was measured.
		carrying := max(took-p.rtt, took/4)
		if up > down/2 {
			p.up = blend(p.up, up, carrying)
		}
		if down > up/2 {
			p.down = blend(p.down, down, carrying)
		}
	}
	if s.raw >= minPush/2 {
		p.ratio += (float64(s.up)/float64(s.raw) - p.ratio) / 2
	}
	if s.raw > 0 && p.ceiling > 0 {
		if p.passed++; p.passed >= trusted {
			p.passed = 0
			if p.ceiling *= 2; p.ceiling > maxFast {
				p.ceiling = 0
			}
		}
	}
	p.step = growth
	if up+down > small && took <= quick {
		p.step = leap
	}
	p.size()
}

// size makes requests fit what is known. A direction that nothing is known of is taken
// to be like the other.
func (p *pace) size() {
	up, down := p.up, p.down
	if up == 0 {
		up = down
	}
	if down == 0 {
		down = up
	}
	p.push = p.fit(p.push, up/max(p.ratio, 0.05), minPush, maxPush)
	p.page = p.fit(p.page, down, minPage, maxPage)
	if p.ceiling > 0 {
		p.push = min(p.push, p.ceiling)
	}
}

// blend takes a measurement of a rate into account.
func blend(rate float64, n int64, took time.Duration) float64 {
	got := float64(n) / took.Seconds()
	if rate == 0 {
		return got
	}
	return rate + (got-rate)/2
}

// window is how long a request may take to be carried.
func (p *pace) window() time.Duration { return min(max(4*p.rtt, leastWindow), mostWindow) }

// fit is the size that a link of a rate carries in a window, from the size before.
func (p *pace) fit(before int, rate float64, least, most int) int {
	if rate >= wireSpeed {
		most = maxFast
	}
	want := float64(most)
	if rate > 0 {
		want = min(rate*p.window().Seconds(), want)
	} else {
		want = float64(before)
	}
	return min(max(int(want), least), max(before, least)*p.step, most)
}

// broke learns from a request that did not go through.
func (p *pace) broke() {
	p.push, p.page = max(p.push/2, minPush), max(p.page/2, minPage)
}

// tooLarge learns that something on the way refuses a push of that many bytes. It
// reports whether a smaller one is worth trying.
func (p *pace) tooLarge(raw int) bool {
	p.ceiling, p.passed = max(raw/2, minPush), 0
	p.push = min(p.push, p.ceiling)
	return raw > minPush
}

// fast reports whether the link is no concern.
func (p *pace) fast() bool { return p.up >= wireSpeed/16 && p.rtt > 0 && p.rtt < 500*time.Millisecond }

// wire is about what changes of that many bytes weigh on the wire.
func (p *pace) wire(raw int64) int64 {
	return int64(float64(raw)*p.ratio) + headUp*p.requests(raw)
}

// requests is how many requests it takes to carry changes of that many bytes.
func (p *pace) requests(raw int64) int64 { return 1 + (raw-1)/int64(max(p.push, minPush)) }

// eta is how long it takes until changes of that many bytes have their verdicts, 0
// where the link is not known.
func (p *pace) eta(raw int64) time.Duration {
	if raw == 0 || p.rtt == 0 {
		return 0
	}
	rate := p.up
	if rate == 0 {
		// Only small requests have gone through: what they took bounds the rate.
		rate = small / 2 / p.rtt.Seconds()
	}
	return time.Duration(p.requests(raw))*p.rtt + time.Duration(float64(raw)*p.ratio/rate*float64(time.Second))
}

// metaLink is where the measurements are kept from one start to the next.
const metaLink = "link"

// keptPace is what is kept of a pace.
type keptPace struct {
	RTT     int64   `json:"rtt_ms"`
	Up      float64 `json:"up"`
	Down    float64 `json:"down"`
	Ratio   float64 `json:"ratio"`
	Ceiling int     `json:"ceiling,omitempty"`
}

// save stores the measurements where they have moved.
func (p *pace) save(t *tx, last *pace) error {
	if near(p.rtt.Seconds(), last.rtt.Seconds()) && near(p.up, last.up) && near(p.down, last.down) && near(p.ratio, last.ratio) && p.ceiling == last.ceiling {
		return nil
	}
	*last = *p
	kept, err := json.Marshal(keptPace{RTT: p.rtt.Milliseconds(), Up: p.up, Down: p.down, Ratio: p.ratio, Ceiling: p.ceiling})
	if err != nil {
		return err
	}
	return t.setMeta(metaLink, kept)
}

func near(a, b float64) bool { return a == b || (a < 1.5*b && b < 1.5*a) }

// load takes over what an earlier start has measured; the sizes begin as ever, for
// the link may be another.
func (p *pace) load(raw []byte) {
	p.reset()
	var kept keptPace
	if len(raw) == 0 || json.Unmarshal(raw, &kept) != nil || kept.RTT < 0 || kept.Up < 0 || kept.Down < 0 || kept.Ratio <= 0 || kept.Ceiling < 0 {
		return
	}
	p.rtt, p.up, p.down, p.ratio = time.Duration(kept.RTT)*time.Millisecond, kept.Up, kept.Down, kept.Ratio
	if kept.Ceiling >= minPush {
		p.ceiling = kept.Ceiling
	}
	p.size()
	p.push, p.page = min(p.push, firstPush), min(p.page, firstPage)
}
