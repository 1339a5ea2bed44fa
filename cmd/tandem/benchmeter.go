package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// traffic is what went over a device's wire, in bytes and requests.
type traffic struct{ up, down, proof, requests int64 }

func (d *benchDevice) traffic() traffic {
	return traffic{up: d.gate.up.Load(), down: d.gate.down.Load(), proof: d.wire.bytes.Load(), requests: d.wire.requests.Load()}
}

func (t traffic) since(before traffic) traffic {
	return traffic{up: t.up - before.up, down: t.down - before.down, proof: t.proof - before.proof, requests: t.requests - before.requests}
}

func (t traffic) and(other traffic) traffic {
	return traffic{up: t.up + other.up, down: t.down + other.down, proof: t.proof + other.proof, requests: t.requests + other.requests}
}

// meter reads wires, processes and the machine before and after a step.
type meter struct {
	b       *bench
	devs    []*benchDevice
	before  traffic
	used    used
	machine time.Duration
	began   time.Time
}

func trafficOf(devs []*benchDevice) (t traffic) {
	for _, d := range devs {
		t = t.and(d.traffic())
	}
	return t
}

// start begins a step of some devices.
func (b *bench) start(devs ...*benchDevice) *meter {
	b.place.resetPeak()
	return &meter{b: b, devs: devs, before: trafficOf(devs), used: b.place.used(), machine: machineBusy(), began: time.Now()}
}

// step ends a step of n documents.
func (m *meter) step(n int) benchStep {
	took := time.Since(m.began)
	t, now := trafficOf(m.devs).since(m.before), m.b.place.used()
	busy := machineBusy()
	s := benchStep{
		Documents: n, MS: ms(took), PerSecond: float64(n) / took.Seconds(),
		Up: per(t.up, n), Down: per(t.down, n), Net: per(t.up+t.down-t.proof, n), Requests: t.requests,
		ServerPeak: m.b.place.peakMB(), DatabaseMB: m.b.place.databaseMB(),
	}
	server, database := now.server-m.used.server, now.database-m.used.database
	own := now.own - m.used.own + server
	s.CPU, s.ServerCPU, s.DatabaseCPU = micros(own, n), micros(server, n), micros(database, n)
	if busy > 0 {
		s.Elsewhere = max(0, (busy-m.machine-own-database).Seconds()/took.Seconds())
	}
	return s
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func per(bytes int64, n int) float64 { return float64(bytes) / float64(n) }

func micros(d time.Duration, n int) float64 { return float64(d.Microseconds()) / float64(n) }

// proofMeter is an HTTP/2 transport through a gate that counts the bytes of the
// headers that prove who asks, as HPACK writes them: Huffman coded, and the
// certificate once a connection.
type proofMeter struct {
	base            http.RoundTripper
	gate            *gate
	seen            atomic.Int64
	bytes, requests atomic.Int64
}

func newProofMeter(g *gate) *proofMeter {
	t := &http.Transport{DialContext: g.dial, Protocols: new(http.Protocols), DisableCompression: true,
		// As the client sets it.
		HTTP2: &http.HTTP2Config{MaxEncoderHeaderTableSize: 16 << 10}}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	return &proofMeter{base: t, gate: g}
}

func (p *proofMeter) RoundTrip(r *http.Request) (*http.Response, error) {
	p.requests.Add(1)
	p.bytes.Add(int64(hpack.HuffmanEncodeLength(r.Header.Get("DPoP"))) + 4)
	if dials := p.gate.dials.Load(); p.seen.Swap(dials+1) != dials+1 {
		p.bytes.Add(int64(hpack.HuffmanEncodeLength(r.Header.Get("Authorization"))) + 4)
	}
	return p.base.RoundTrip(r)
}
