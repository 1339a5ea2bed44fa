package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

const (
	// drift is how far a monotonic clock may run off, in parts of what has passed.
	drift = 10_000
	// skewed is the offset of the wall clock from which on a person is told.
	skewed = 2 * time.Minute
	// leaseDays is how long charts stay open without contact.
	leaseDays = 30
	lease     = leaseDays * 24 * time.Hour
	// noted is how much time may pass until the use of the lease is stored again.
	noted = 10 * time.Minute
)

// ErrLease says that the device has been without contact for so long that charts are
// closed. What is unsent stays open, saves go on, and so does syncing, which opens
// the charts again.
var ErrLease = errors.New("this device has had no contact with the server for 30 days: charts open again after the next sync. New records can be made and what is unsent can be read")

// reading is what the device's clocks say at one moment.
type reading struct {
	wallMS, monoMS int64
	boot           []byte
}

// clock is what the device knows of time. The wall clock may be set to anything at
// any time; the monotonic one runs evenly from boot to boot. No order comes from
// either. Safe for concurrent use.
type clock struct {
	mu sync.Mutex
	clockState

	// kept is what is stored.
	kept clockState
}

// clockState is what is stored of a clock.
type clockState struct {
	// The contact that told the server's time best: server time, readings of the
	// device then, half the round trip. ServerMS is 0 before any.
	ServerMS      int64  `json:"server_ms"`
	WallMS        int64  `json:"wall_ms"`
	MonoMS        int64  `json:"mono_ms"`
	Boot          []byte `json:"boot,omitempty"`
	UncertaintyMS int64  `json:"uncertainty_ms"`
	// The lease: time since the last contact as far as it was noted, and where the
	// clocks stood then; HighMS is the highest wall time seen.
	SpentMS    int64  `json:"spent_ms"`
	LastMonoMS int64  `json:"last_mono_ms"`
	LastBoot   []byte `json:"last_boot,omitempty"`
	HighMS     int64  `json:"high_ms"`
}

// metaClock is where a clock is kept.
const metaClock = "clock"

// read takes a reading of the device's clocks.
func (c *Client) read() reading {
	id, since := c.opts.Boot()
	return reading{wallMS: c.opts.Now().UnixMilli(), monoMS: since.Milliseconds(), boot: id}
}

// at returns the server's time as far as the clock knows it, and how far that may be
// off; -1 where nothing bounds it, since the device has been off in between.
func (s *clockState) at(r reading) (serverMS, uncertaintyMS int64) {
	if since := r.monoMS - s.MonoMS; bytes.Equal(s.Boot, r.boot) && since >= 0 {
		return s.ServerMS + since, s.UncertaintyMS + since/drift
	}
	return r.wallMS + s.ServerMS - s.WallMS, -1
}

// sample takes in a contact: the server's time at its answer, and the round trip less
// what the server held the request. Of two samples the better one is kept.
func (c *clock) sample(r reading, serverMS int64, trip time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SpentMS, c.LastMonoMS, c.LastBoot, c.HighMS = 0, r.monoMS, r.boot, r.wallMS
	bound := trip.Milliseconds()/2 + 1
	now := serverMS + trip.Milliseconds()/2
	if c.ServerMS != 0 {
		was, off := c.at(r)
		apart := max(was-now, now-was)
		if off >= 0 && off <= bound && apart <= bound+off {
			// Better known than this contact tells, but for where the wall clock stands.
			c.ServerMS, c.MonoMS, c.WallMS, c.UncertaintyMS = was, r.monoMS, r.wallMS, off
			return
		}
	}
	c.ServerMS, c.MonoMS, c.WallMS, c.Boot, c.UncertaintyMS = now, r.monoMS, r.wallMS, r.boot, bound
}

// offset is server time minus wall clock at the last contact.
func (s *clockState) offset() int64 { return s.ServerMS - s.WallMS }

// spent is the time without contact: by the monotonic clock as long as the device
// runs, and by the highest wall time seen where it was off. A wall clock that jumps
// while the device runs takes nothing off it and adds nothing to it.
func (s *clockState) spent(r reading) time.Duration {
	passed := r.monoMS - s.LastMonoMS
	if !bytes.Equal(s.LastBoot, r.boot) || passed < 0 {
		passed = max(r.monoMS, r.wallMS-s.HighMS, 0)
	}
	return time.Duration(s.SpentMS+passed) * time.Millisecond
}

// tick notes the use of the lease, and reports whether that is worth storing.
func (c *clock) tick(r reading) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ServerMS == 0 {
		return false
	}
	before, rebooted := c.SpentMS, !bytes.Equal(c.LastBoot, r.boot)
	spent := c.spent(r).Milliseconds()
	if !rebooted && spent-before < noted.Milliseconds() {
		return false
	}
	c.SpentMS, c.LastMonoMS, c.LastBoot, c.HighMS = spent, r.monoMS, r.boot, max(c.HighMS, r.wallMS)
	return true
}

// now returns a copy.
func (c *clock) now() clockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clockState
}

// load takes over what was stored.
func (c *clock) load(raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s clockState
	if len(raw) > 0 && json.Unmarshal(raw, &s) == nil {
		c.clockState = s
	}
}

// due reports whether a clock differs from what is stored by more than a moment.
func (c *clock) due(s clockState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := s.MonoMS - c.kept.MonoMS
	if bytes.Equal(s.Boot, c.kept.Boot) && since >= 0 && since < 1000 && s.SpentMS == c.kept.SpentMS && near(float64(s.UncertaintyMS), float64(c.kept.UncertaintyMS)) {
		return false
	}
	c.kept = s
	return true
}

// keepClock stores the clock.
func (t *tx) keepClock(s clockState) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return t.setMeta(metaClock, raw)
}

// changeTime is the time of a save, as the device's clocks tell it.
func (c *Client) changeTime(t *tx) (*tandemv1.ChangeTime, error) {
	r := c.read()
	if c.clock.tick(r) {
		if err := t.keepClock(c.clock.now()); err != nil {
			return nil, err
		}
	}
	out := &tandemv1.ChangeTime{WallMs: r.wallMS, MonoMs: r.monoMS, Boot: r.boot}
	s := c.clock.now()
	if s.ServerMS == 0 {
		return out, nil
	}
	out.OffsetMs, out.OffsetKnown, out.UncertaintyMs = s.offset(), true, s.UncertaintyMS
	out.ContactMs, out.ContactMonoMs = s.ServerMS, s.MonoMS
	if !bytes.Equal(s.Boot, r.boot) {
		out.ContactBoot = s.Boot
	}
	return out, nil
}

// leased returns ErrLease where charts are closed.
func (c *Client) leased() error {
	s := c.clock.now()
	if s.ServerMS != 0 && s.spent(c.read()) >= lease {
		return ErrLease
	}
	return nil
}

// serverNow is the server's time as far as it is known, and never before this
// program was built: certificates are judged by it, so that a device whose clock is
// years off can still send.
func (c *Client) serverNow() time.Time {
	now := built
	if s := c.clock.now(); s.ServerMS != 0 {
		r := c.read()
		known, bound := s.at(r)
		if bound < 0 {
			// Since the contact the device was off: its wall clock may be anything.
			known = s.ServerMS
		}
		if at := time.UnixMilli(known); at.After(now) {
			now = at
		}
	}
	return now
}
