package client

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// clocks are a device's: the wall clock shows what it is set to.
type clocks struct {
	wall time.Time
	mono time.Duration
	boot byte
}

func (k *clocks) options(o *Options) {
	o.Now = func() time.Time { return k.wall }
	o.Boot = func() ([]byte, time.Duration) { return bytes.Repeat([]byte{k.boot}, bootSize), k.mono }
}

// pass lets time pass: by the monotonic clock, and by the wall clock unless it stands
// still.
func (k *clocks) pass(d time.Duration, frozen bool) {
	k.mono += d
	if !frozen {
		k.wall = k.wall.Add(d)
	}
}

const (
	year = 365 * 24 * time.Hour
	day  = 24 * time.Hour
)

func TestClockSamples(t *testing.T) {
	t.Parallel()
	var c clock
	boot := []byte("boot one")
	at := func(mono int64) reading { return reading{wallMS: 5_000_000 + mono, monoMS: mono, boot: boot} }
	// Round trips of 4 s, then of 200 ms, then of 4 s again: the best bound stays.
	c.sample(at(10_000), 1_000_000, 4*time.Second)
	if ms, off := c.at(at(10_000)); ms != 1_002_000 || off != 2001 {
		t.Errorf("got %d ± %d", ms, off)
	}
	c.sample(at(20_000), 1_011_500, 200*time.Millisecond)
	if ms, off := c.at(at(20_000)); ms != 1_011_600 || off != 101 {
		t.Errorf("a better sample: got %d ± %d", ms, off)
	}
	c.sample(at(30_000), 1_020_000, 4*time.Second)
	if ms, off := c.at(at(30_000)); ms != 1_021_600 || off != 102 {
		t.Errorf("a worse sample: got %d ± %d", ms, off)
	}
	// The monotonic clock runs off; another boot leaves no bound.
	if _, off := c.at(at(30_000 + 10*day.Milliseconds())); off < 86_000 || off > 87_000 {
		t.Errorf("after 10 days: ± %d", off)
	}
	next := at(50_000)
	next.boot = []byte("boot two")
	if ms, off := c.at(next); off != -1 || ms != 1_041_600 {
		t.Errorf("another boot: got %d ± %d", ms, off)
	}
	// A server that was set right is believed, however good the sample before.
	c.sample(at(60_000), 9_000_000, time.Second)
	if ms, off := c.at(at(60_000)); ms != 9_000_500 || off != 501 {
		t.Errorf("another server time: got %d ± %d", ms, off)
	}
}

// Saves carry what the clocks say, whatever that is: the server's time can be told
// from each, also where the wall clock jumps by years, stands still, or the device
// restarts.
func TestSavesAreDated(t *testing.T) {
	t.Parallel()
	k := &clocks{wall: time.UnixMilli(1_790_000_000_000), mono: time.Hour, boot: 1}
	dir := t.TempDir()
	e := newEdge(t)
	c := newClient(t, dir, k.options)
	if err := c.Enroll(t.Context(), e.url, "good-code"); err != nil {
		t.Fatal(err)
	}
	last := func() *tandemv1.ChangeTime {
		t.Helper()
		create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
		var raw []byte
		err := c.store.write(t.Context(), "reading", func(x *tx) error {
			return x.row(`SELECT raw FROM outbox_raw ORDER BY op DESC LIMIT 1`, nil, &raw)
		})
		if err != nil {
			t.Fatal(err)
		}
		change := &tandemv1.Change{}
		if err := proto.Unmarshal(raw, change); err != nil {
			t.Fatal(err)
		}
		return change.GetTime()
	}
	began := k.mono
	for name, jump := range map[string]time.Duration{"none": 0, "ten years ahead": 10 * year, "ten years back": -10 * year} {
		before := k.wall
		k.wall = k.wall.Add(jump)
		k.pass(time.Hour, jump < 0)
		at := last()
		if !at.GetOffsetKnown() || at.GetWallMs() != k.wall.UnixMilli() || len(at.GetContactBoot()) > 0 || at.GetUncertaintyMs() < 0 {
			t.Errorf("%s: got %v", name, at)
		}
		server := at.GetContactMs() + at.GetMonoMs() - at.GetContactMonoMs()
		if want := 1_790_000_000_000 + (k.mono - began).Milliseconds(); server < want-60_000 || server > want+60_000 {
			t.Errorf("%s: the server's time is %d, want about %d", name, server, want)
		}
		if s := mustStatus(t, c); s.Skewed != (jump != 0) {
			t.Errorf("%s: skewed %t by %d ± %d", name, s.Skewed, s.OffsetMS, s.UncertaintyMS)
		}
		k.wall = before.Add(time.Hour)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	k.boot, k.mono = 2, time.Minute
	c = newClient(t, dir, k.options)
	if at := last(); !at.GetOffsetKnown() || len(at.GetContactBoot()) != bootSize || at.GetContactMs() == 0 {
		t.Errorf("after a restart: got %v", at)
	}
}

// Charts close after 30 days without contact, by the time that the device ran and,
// where it was off, by the highest wall time seen. Saves and syncs go on.
func TestLease(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		run    func(k *clocks, restart func(off time.Duration))
		closed bool
	}{
		"29 days on":         {func(k *clocks, _ func(time.Duration)) { k.pass(29*day, false) }, false},
		"31 days on":         {func(k *clocks, _ func(time.Duration)) { k.pass(31*day, false) }, true},
		"31 days on, frozen": {func(k *clocks, _ func(time.Duration)) { k.pass(31*day, true) }, true},
		"a jump of ten years ahead while it runs": {func(k *clocks, _ func(time.Duration)) { k.wall = k.wall.Add(10 * year); k.pass(day, false) }, false},
		"a jump of ten years back": {func(k *clocks, restart func(off time.Duration)) {
			k.wall = k.wall.Add(-10 * year)
			k.pass(20*day, false)
			restart(time.Hour)
			k.pass(20*day, false)
		}, true},
		"31 days off": {func(_ *clocks, restart func(off time.Duration)) { restart(31 * day) }, true},
		"29 days off": {func(_ *clocks, restart func(off time.Duration)) { restart(29 * day) }, false},
		"on and off": {func(k *clocks, restart func(off time.Duration)) {
			for range 11 {
				k.pass(2*day, false)
				restart(day)
			}
		}, true},
		"off, and set back each time": {func(k *clocks, restart func(off time.Duration)) {
			for range 40 {
				k.pass(day, false)
				restart(-2 * day)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &clocks{wall: time.UnixMilli(1_790_000_000_000), mono: time.Hour, boot: 1}
			dir := t.TempDir()
			e := newEdge(t)
			c := newClient(t, dir, k.options)
			if err := c.Enroll(t.Context(), e.url, "good-code"); err != nil {
				t.Fatal(err)
			}
			restart := func(off time.Duration) {
				t.Helper()
				// A device that is in use notes that it is.
				create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				k.boot, k.mono, k.wall = k.boot+1, time.Minute, k.wall.Add(off)
				c = newClient(t, dir, k.options)
			}
			chart := create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
			// The server has it: from here on it is a chart.
			if err := c.store.write(t.Context(), "settling", func(x *tx) error {
				return x.exec(`UPDATE rec SET base_hash = 1`)
			}); err != nil {
				t.Fatal(err)
			}
			tc.run(k, restart)
			own := create(t, c, &tandemv1.Incident{CallType: new("outreach")})
			check := func(closed bool) {
				t.Helper()
				_, get := c.Get(t.Context(), chart)
				_, list := c.List(t.Context(), "incident", Filter{}, Newest, 0)
				_, search := c.Search(t.Context(), "12", 0)
				_, conflicts := c.Conflicts(t.Context())
				each := c.Each(t.Context(), func(*syncengine.Record) error { return nil })
				for what, err := range map[string]error{"Get": get, "List": list, "Search": search, "Conflicts": conflicts, "Each": each} {
					if errors.Is(err, ErrLease) != closed {
						t.Errorf("%s: got %v, want closed %t", what, err, closed)
					}
				}
				if s := mustStatus(t, c); s.Closed != closed || s.LeaseEndsMS == 0 || (s.LeaseEndsMS <= k.wall.UnixMilli()) != closed {
					t.Errorf("status: closed %t, ends %d", s.Closed, s.LeaseEndsMS)
				}
			}
			check(tc.closed)
			mustGet(t, c, own)
			pending, err := c.List(t.Context(), "incident", Filter{Pending: true}, Newest, 0)
			if err != nil || !slices.ContainsFunc(pending, func(v *View) bool { return v.ID == own }) {
				t.Errorf("unsent words: got %d, %v", len(pending), err)
			}
			if _, err := c.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := mustStatus(t, c); s.Queued != 0 {
				t.Errorf("%d saves are left", s.Queued)
			}
			check(false)
		})
	}
}

// Over TLS a server is known by its authority and name and, where the device's clock
// is years off, by the key that it had before.
func TestTrust(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.StartTLS()
	t.Cleanup(srv.Close)
	cert := srv.Certificate()
	state := connectionState(t, srv)
	in, before, after := cert.NotBefore.Add(time.Hour), cert.NotBefore.Add(-10*year), cert.NotAfter.Add(10*year)
	for name, tc := range map[string]struct {
		known, wall time.Time
		pinned      bool
		host        string
		ok          bool
	}{
		"right clocks":                          {in, in, false, "example.com", true},
		"a clock at 1970, and a known server":   {in, time.Unix(0, 0), false, "example.com", true},
		"a clock years ahead, a known server":   {in, after, false, "example.com", true},
		"off for long, a certificate since":     {before, in, false, "example.com", true},
		"a clock at 1960 that knows nothing":    {time.Time{}, time.Unix(-1e8, 0), false, "example.com", false},
		"the same, and the key is that of then": {time.Time{}, time.Unix(-1e8, 0), true, "example.com", true},
		"expired for all that is known":         {after, after, false, "example.com", false},
		"expired, and the key is that of then":  {after, after, true, "example.com", true},
		"another name":                          {in, in, true, "other.example", false},
	} {
		v := &trust{roots: pool(cert), host: tc.host, known: func() time.Time { return tc.known }, wall: func() time.Time { return tc.wall }}
		if tc.pinned {
			first := &trust{roots: v.roots, host: "example.com", known: func() time.Time { return in }, wall: v.wall}
			if err := first.verify(state); err != nil {
				t.Fatal(err)
			}
			v.key = first.pinned()
		}
		if err := v.verify(state); (err == nil) != tc.ok {
			t.Errorf("%s: got %v, want ok %t", name, err, tc.ok)
		}
		if tc.ok != (v.pinned() != nil) && !tc.pinned {
			t.Errorf("%s: a key is kept: %t", name, v.pinned() != nil)
		}
	}
	stranger := &trust{roots: nil, host: "example.com", known: func() time.Time { return in }, wall: func() time.Time { return in }}
	if err := stranger.verify(state); err == nil {
		t.Error("an unknown authority is trusted")
	}
}

func pool(cert *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(cert)
	return p
}

// connectionState is what a client sees of a server.
func connectionState(t *testing.T, srv *httptest.Server) tls.ConnectionState {
	t.Helper()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool(srv.Certificate()), MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	over, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatal("no TLS")
	}
	return over.ConnectionState()
}
