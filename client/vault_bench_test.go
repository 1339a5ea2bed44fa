package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// pair is a device in the clear and one in a vault, with the time that each has taken.
type pair struct {
	devices [2]*Client
	took    [2][]time.Duration
}

// both does the same with the two, the one that is first by turns.
func (p *pair) both(b *testing.B, n int, do func(c *Client) error) {
	b.Helper()
	for i := range p.devices {
		i = (i + n) % 2
		began := time.Now()
		if err := do(p.devices[i]); err != nil {
			b.Fatal(err)
		}
		p.took[i] = append(p.took[i], time.Since(began))
	}
}

func (p *pair) report(b *testing.B, per int) {
	b.Helper()
	// Medians: a disk that others use has moods, which a mean would tell of.
	for i := range p.took {
		slices.Sort(p.took[i])
	}
	plain, vaulted := p.took[0][len(p.took[0])/2], p.took[1][len(p.took[1])/2]
	b.ReportMetric(float64(vaulted)/float64(plain), "vault/plain")
	b.ReportMetric(float64(plain.Nanoseconds())/1e3/float64(per), "plain-µs")
	b.ReportMetric(float64(vaulted.Nanoseconds())/1e3/float64(per), "vault-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkVault measures what a vault costs, as a ratio to a store in the clear: both
// do the same in turns, in one run.
func BenchmarkVault(b *testing.B) {
	o := newOffice(b)
	quiet := func(opts *Options) { opts.Logger = opts.Logger.Level(5) }
	p := &pair{}
	p.devices[0] = o.enrol(o.clinician, b.TempDir(), quiet)
	p.devices[1] = o.enrol(o.clinician, b.TempDir(), quiet, func(opts *Options) {
		opts.Vault, opts.Passphrase, opts.Guess, opts.Idle = true, knows, cheapGuess, time.Hour
	})
	source := o.enrol(o.second, b.TempDir(), quiet)
	rng := rand.New(rand.NewPCG(1, 1))
	note := func() *tandemv1.Incident {
		return &tandemv1.Incident{CallType: new("welfare_check"), Number: new(fmt.Sprint(rng.Uint32())), NotesOps: new(words(rng, 490))}
	}
	bulk := func(c *Client, n int) error {
		_, err := c.Bulk(b.Context(), func(bulk *Bulk) error {
			for range n {
				if _, err := bulk.Edit(func(e *Edit) error {
					_, err := e.Create(note())
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	sync := func(c *Client) error {
		_, err := c.Sync(b.Context())
		return err
	}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	const held = 20_000
	for range held / 500 {
		must(bulk(source, 500))
		must(sync(source))
	}
	for _, c := range p.devices {
		must(sync(c))
	}
	ids := map[*Client][]syncengine.ID{}
	for _, c := range p.devices {
		must(c.Each(b.Context(), func(r *syncengine.Record) error {
			ids[c] = append(ids[c], r.ID)
			return nil
		}))
	}
	b.Run("save", func(b *testing.B) {
		p.took = [2][]time.Duration{}
		for n := 0; b.Loop(); n++ {
			msg := note()
			p.both(b, n, func(c *Client) error {
				_, err := c.Edit(b.Context(), func(e *Edit) error {
					_, err := e.Create(msg)
					return err
				})
				return err
			})
		}
		p.report(b, 1)
	})
	for _, c := range p.devices {
		must(sync(c))
	}
	b.Run("push", func(b *testing.B) {
		p.took = [2][]time.Duration{}
		const each = 200
		for n := 0; b.Loop(); n++ {
			for _, c := range p.devices {
				must(bulk(c, each))
			}
			p.both(b, n, sync)
			for _, c := range p.devices {
				must(sync(c))
			}
		}
		p.report(b, each)
	})
	b.Run("pull", func(b *testing.B) {
		p.took = [2][]time.Duration{}
		const each = 500
		for n := 0; b.Loop(); n++ {
			must(bulk(source, each))
			must(sync(source))
			p.both(b, n, sync)
		}
		p.report(b, each)
	})
	b.Run("open", func(b *testing.B) {
		p.took = [2][]time.Duration{}
		for n := 0; b.Loop(); n++ {
			at := rng.IntN(held)
			p.both(b, n, func(c *Client) error {
				_, err := c.Get(b.Context(), ids[c][at])
				return err
			})
		}
		p.report(b, 1)
	})
	b.Run("scan", func(b *testing.B) {
		p.took = [2][]time.Duration{}
		for n := 0; b.Loop(); n++ {
			p.both(b, n, func(c *Client) error {
				return c.Each(b.Context(), func(*syncengine.Record) error { return nil })
			})
		}
		p.report(b, held)
	})
}
