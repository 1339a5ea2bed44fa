package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/fieldsync"
	"github.com/tandem-response/tandem/syncengine"
)

type benchVaultCmd struct {
	Records int    `default:"5000" help:"Documents that each device holds."`
	Rounds  int    `default:"20" help:"Rounds of each step; in each, both stores take a turn, or several short ones."`
	Seed    int64  `default:"1" help:"Seed of the documents."`
	Dir     string `placeholder:"DIR" help:"Where the databases go, on the disk to be measured; a temporary directory otherwise."`
	Profile string `placeholder:"FILE" help:"Write a CPU profile of the devices, for go tool pprof."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (benchVaultCmd) Help() string {
	return `Two devices of one person, one in the clear and one in a vault, do the same by turns in one
run: save, push, pull, open a record, and read everything. What counts is the ratio, of the
time that passed (medians of the turns) and of the processor time of the device (all
turns), whose server is another process.

  tandem bench vault
  tandem bench vault --records 20000 --json`
}

// vaultReport is what a vault costs.
type vaultReport struct {
	Version string       `json:"version"`
	Seed    int64        `json:"seed"`
	Began   time.Time    `json:"began"`
	Machine benchMachine `json:"machine"`
	Records int          `json:"records"`
	Rounds  int          `json:"rounds"`
	Steps   []vaultStep  `json:"steps"`
}

// vaultStep is one step, in the clear and in a vault.
type vaultStep struct {
	Name string `json:"name"`
	// Each is how many documents a turn is about.
	Each int `json:"documents_per_turn"`
	// Plain and Vault are microseconds a document that passed, PlainCPU and VaultCPU of
	// the processor; 0 where the system does not tell.
	Plain    float64 `json:"plain_us"`
	Vault    float64 `json:"vault_us"`
	PlainCPU float64 `json:"plain_cpu_us,omitempty"`
	VaultCPU float64 `json:"vault_cpu_us,omitempty"`
	// Ratio and RatioCPU are vault to plain, Most is what is aimed at.
	Ratio    float64 `json:"ratio"`
	RatioCPU float64 `json:"ratio_cpu,omitempty"`
	Most     float64 `json:"aim"`
}

const (
	vaultAim     = 1.3
	vaultScanAim = 1.6
	// short is how many turns of a short step there are in a round: what else the
	// machine does falls upon both.
	short = 10
)

func (c *benchVaultCmd) Run(a *app) (err error) {
	if c.Records < 1 || c.Rounds < 1 {
		return exits(exitUsage, errors.New("--records and --rounds must be at least 1"))
	}
	dir, done, err := benchIn(c.Dir, c.Profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	r := &vaultReport{Version: version(), Seed: c.Seed, Began: time.Now().UTC(), Machine: thisMachine(), Records: c.Records, Rounds: c.Rounds}
	b := &vaultBench{
		bench:  &bench{a: a, cmd: &benchSyncCmd{Seed: c.Seed}, records: c.Records, dir: dir},
		rounds: c.Rounds, report: r, rng: rand.New(rand.NewPCG(uint64(c.Seed), 1)), //nolint:gosec // Which records are opened is no secret.
	}
	if err := b.run(); err != nil {
		return err
	}
	if c.JSON {
		return a.json(r)
	}
	return r.table(a)
}

// benchPassphrase is that of the store in a vault, which goes when the run ends.
func benchPassphrase(context.Context, bool) ([]byte, error) {
	return []byte("what the bench writes is made up"), nil
}

// inVault has a device keep its store in a vault.
func inVault(o *client.Options) {
	// It is not guessed here, so what a guess costs does not matter.
	o.Vault, o.Passphrase, o.Guess, o.Idle = true, benchPassphrase, vault.Cost{Time: 1, MemoryKiB: 64, Threads: 1}, 24*time.Hour
}

// vaultBench is one run.
type vaultBench struct {
	*bench

	rounds int
	report *vaultReport
	rng    *rand.Rand
	// source writes what the two pull.
	source *benchDevice
	pair   [2]*benchDevice
	// next is the next document of the seed.
	next int
}

func (b *vaultBench) run() (err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	if b.place, err = openPlace(b.a, b.cmd, b.dir, ""); err != nil {
		return err
	}
	for i, options := range [][]func(*client.Options){nil, nil, {inVault}} {
		d, err := b.device(fmt.Sprintf("device-%d", i+1), nil, options...)
		if err != nil {
			return err
		}
		b.devs = append(b.devs, d)
	}
	b.source, b.pair = b.devs[0], [2]*benchDevice{b.devs[1], b.devs[2]}
	if b.pair[0].dev.InVault() || !b.pair[1].dev.InVault() {
		return errors.New("of the two stores one is to be in a vault")
	}
	if err := b.fill(); err != nil {
		return err
	}
	for _, step := range []func() error{b.save, b.push, b.pull, b.openOne, b.scan} {
		if err := step(); err != nil {
			return err
		}
		if err := b.a.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// fill has all three hold the documents.
func (b *vaultBench) fill() error {
	add, done := b.a.progress(b.records, "saving")
	defer done()
	var err error
	if b.ids, err = b.write(b.source, 0, b.records, add); err != nil {
		return err
	}
	b.next = b.records
	return b.sync(b.source, b.pair[0], b.pair[1])
}

func (b *vaultBench) sync(devices ...*benchDevice) error {
	for _, d := range devices {
		if _, err := d.dev.Sync(b.a.ctx); err != nil {
			return err
		}
	}
	return nil
}

// more saves further documents on a device, n of them.
func (b *vaultBench) more(d *benchDevice, n int) error {
	_, err := b.write(d, b.next, b.next+n, func(int) {})
	b.next += n
	return err
}

// turns has both do the same in each round, the one that is first by turns, and keeps
// what it took. before, where it is set, comes before each round.
func (b *vaultBench) turns(name string, rounds, each int, aim float64, before func(round int) error, do func(d *benchDevice, round int) error) error {
	var took [2][]time.Duration
	var cpu [2]time.Duration
	for round := range rounds {
		if before != nil {
			if err := before(round); err != nil {
				return err
			}
		}
		for i := range b.pair {
			i = (i + round) % 2
			// What the turn before has left to be collected is not this one's.
			runtime.GC()
			spent, began := cpuTime(), time.Now()
			if err := do(b.pair[i], round); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(began))
			cpu[i] += cpuTime() - spent
		}
	}
	s := vaultStep{Name: name, Each: each, Most: aim}
	// Medians: a disk that others use has moods, which a mean would tell of.
	median := func(d []time.Duration) float64 {
		slices.SortFunc(d, cmp.Compare[time.Duration])
		return float64(d[len(d)/2].Nanoseconds()) / 1000 / float64(each)
	}
	s.Plain, s.Vault = median(took[0]), median(took[1])
	s.PlainCPU, s.VaultCPU = micros(cpu[0], rounds*each), micros(cpu[1], rounds*each)
	s.Ratio = s.Vault / s.Plain
	if s.PlainCPU > 0 {
		s.RatioCPU = s.VaultCPU / s.PlainCPU
	}
	b.report.Steps = append(b.report.Steps, s)
	return nil
}

// save is a document at a time, each synced to the disk.
func (b *vaultBench) save() error {
	const each = 4
	return b.turns("save", short*b.rounds, each, vaultAim, func(int) error { b.next += each; return nil }, func(d *benchDevice, _ int) error {
		for i := b.next - each; i < b.next; i++ {
			e, err := fieldsync.Encounter(fieldsync.Gen(b.cmd.Seed, i))
			if err != nil {
				return err
			}
			if _, err := d.dev.Edit(b.a.ctx, func(edit *client.Edit) error {
				edit.Class(tandemv1.Class_CLASS_NORMAL)
				_, err := edit.Create(e)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// push sends what was saved off line, and each has got what the other sent before.
func (b *vaultBench) push() error {
	const each = 200
	before := func(int) error {
		// Twice: what the second sends the first has to get too.
		if err := b.sync(b.pair[0], b.pair[1], b.pair[0]); err != nil {
			return err
		}
		for _, d := range b.pair {
			if err := b.more(d, each); err != nil {
				return err
			}
		}
		return nil
	}
	return b.turns("push", b.rounds, each, vaultAim, before, func(d *benchDevice, _ int) error { return b.sync(d) })
}

// pull fetches what another device has sent.
func (b *vaultBench) pull() error {
	const each = 250
	before := func(round int) error {
		if round == 0 {
			if err := b.sync(b.pair[0], b.pair[1], b.pair[0]); err != nil {
				return err
			}
		}
		if err := b.more(b.source, each); err != nil {
			return err
		}
		return b.sync(b.source)
	}
	return b.turns("pull", b.rounds, each, vaultAim, before, func(d *benchDevice, _ int) error { return b.sync(d) })
}

// openOne opens records anywhere in the store.
func (b *vaultBench) openOne() error {
	const each = 20
	var which [each]syncengine.ID
	choose := func(int) error {
		for i := range which {
			which[i] = b.ids[b.rng.IntN(len(b.ids))]
		}
		return nil
	}
	return b.turns("open", short*b.rounds, each, vaultAim, choose, func(d *benchDevice, _ int) error {
		for _, id := range which {
			if _, err := d.dev.Get(b.a.ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// scan reads everything.
func (b *vaultBench) scan() error {
	held := 0
	if err := b.pair[0].dev.Each(b.a.ctx, func(*syncengine.Record) error { held++; return nil }); err != nil {
		return err
	}
	return b.turns("scan", b.rounds, held, vaultScanAim, nil, func(d *benchDevice, _ int) error {
		n := 0
		err := d.dev.Each(b.a.ctx, func(*syncengine.Record) error { n++; return nil })
		if err == nil && n != held {
			err = fmt.Errorf("one store holds %d records, the other %d", n, held)
		}
		return err
	})
}

func (r *vaultReport) table(a *app) error {
	a.say("%d documents held, %d rounds, vault and plain store by turns; µs a document.", r.Records, r.Rounds)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tplain\tvault\tratio\tplain CPU\tvault CPU\tratio CPU\taim")
	for _, s := range r.Steps {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t%.1f\t%.1f\t%.2f\t≤ %.1f\n", s.Name, s.Plain, s.Vault, s.Ratio, s.PlainCPU, s.VaultCPU, s.RatioCPU, s.Most)
	}
	return w.Flush()
}
