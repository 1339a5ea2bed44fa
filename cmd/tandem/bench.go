package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/fieldsync"
	"github.com/tandem-response/tandem/syncengine"
)

type benchCmd struct {
	Sync benchSyncCmd `cmd:"" help:"Push, pull, edit, live and no-op sync between devices and a server in this process."`
}

func (benchCmd) Help() string {
	return `For example:

  tandem bench sync --records 10000 --devices 2`
}

type benchSyncCmd struct {
	Records int    `default:"1000" help:"Documents to push and pull."`
	Devices int    `default:"2" help:"Devices: the first pushes, each other one pulls everything."`
	Live    int    `default:"200" help:"Documents written one at a time in the live step."`
	Seed    int64  `default:"1" help:"Seed of the documents."`
	Dir     string `placeholder:"DIR" help:"Where the databases go, on the disk to be measured; a temporary directory otherwise."`
	Profile string `placeholder:"FILE" help:"Write a CPU profile of the run, for go tool pprof."`
	databaseFlag

	JSON bool `help:"Print one line of JSON."`
}

func (benchSyncCmd) Help() string {
	return `Runs steps 1, 2, 3, 4 and 6 of the workload field-sync-1 with durable writes on both ends
(SQLite, WAL, synchronous=FULL), sign-in, validation and merging on, over loopback HTTP/2,
and counts every byte on the wire. In the same run it measures what the machine can do at
most: the same bodies inserted into SQLite by the same driver, 500 a transaction, before,
between and after push and pull; the median counts. Compare ratios of one run; times
depend on the machine and the hour. With --database the server's tables go into an empty
PostgreSQL database instead, and stay there; the raw limit is that of SQLite all the same.

  tandem bench sync --records 10000 --devices 2 --json
  tandem bench sync --records 10000 --database postgres://tandem@db.example/tandem_bench`
}

// benchResult is what a run measured.
type benchResult struct {
	Records int `json:"records"`
	Devices int `json:"devices"`
	// BodyBytes is the mean size of a record's body and stamps.
	BodyBytes float64 `json:"body_bytes"`
	// RawInsert is the raw limit, documents a second.
	RawInsert float64 `json:"raw_insert_per_s"`
	// Save is local capture before the push, documents a second.
	Save  benchStep `json:"save"`
	Push  benchStep `json:"push"`
	Pull  benchStep `json:"pull"`
	Edit  benchStep `json:"edit"`
	Live  benchLive `json:"live"`
	NoOp  benchNoOp `json:"no_op"`
	Proof float64   `json:"proof_bytes_per_request"`
}

// benchStep is one bulk step.
type benchStep struct {
	Documents int     `json:"documents"`
	MS        float64 `json:"ms"`
	PerSecond float64 `json:"per_s"`
	// OfRaw is the rate as a fraction of the raw limit.
	OfRaw float64 `json:"of_raw_insert,omitempty"`
	// CPU is what both ends and the collector used, microseconds a document; 0 where
	// the system does not tell.
	CPU float64 `json:"cpu_us,omitempty"`
	// Up and Down are bytes a document on the wire, everything counted; Net are
	// both without the proof headers.
	Up       float64 `json:"bytes_up,omitempty"`
	Down     float64 `json:"bytes_down,omitempty"`
	Net      float64 `json:"bytes_without_proof,omitempty"`
	Requests int64   `json:"requests,omitempty"`
}

type benchLive struct {
	Documents int     `json:"documents"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Bytes     float64 `json:"bytes"`
	Net       float64 `json:"bytes_without_proof"`
}

type benchNoOp struct {
	MS    float64 `json:"ms"`
	Bytes float64 `json:"bytes"`
	Net   float64 `json:"bytes_without_proof"`
}

func (c *benchSyncCmd) Run(a *app) (err error) {
	if c.Records < 1 || c.Devices < 2 || c.Live < 1 {
		return exits(exitUsage, errors.New("--records and --live must be at least 1, --devices at least 2"))
	}
	database, err := c.address()
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if c.Profile != "" {
		stop, err := profile(c.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	b := &bench{a: a, cmd: c, dir: dir, database: database, res: &benchResult{Records: c.Records, Devices: c.Devices}}
	if err := b.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	// The raw limit is taken before, between and after the steps that are set against it.
	for _, step := range []func() error{b.save, b.raw, b.push, b.raw, b.pull, b.raw, b.edit, b.live, b.noOp} {
		if err := step(); err != nil {
			return err
		}
		if err := a.ctx.Err(); err != nil {
			return err
		}
	}
	b.ratios()
	if c.JSON {
		return a.json(b.res)
	}
	return b.table()
}

// bench is one run.
type bench struct {
	a   *app
	cmd *benchSyncCmd
	dir string
	// database is that of the server, empty for a file.
	database string

	res  *benchResult
	home *home
	// devs are the devices, devs[0] the one that pushes.
	devs []*benchDevice
	ids  []syncengine.ID
	// rates are what was measured of the raw limit so far.
	rates []float64
}

type benchDevice struct {
	dev  *client.Client
	gate *gate
	wire *proofMeter
	// changed gets the records that an answer changed, where a step listens.
	mu      sync.Mutex
	changed func([]syncengine.ID)
}

func (d *benchDevice) onChange(ids []syncengine.ID) {
	d.mu.Lock()
	f := d.changed
	d.mu.Unlock()
	if f != nil {
		f(ids)
	}
}

func (d *benchDevice) listen(f func([]syncengine.ID)) {
	d.mu.Lock()
	d.changed = f
	d.mu.Unlock()
}

func (b *bench) open() (err error) {
	if b.home, err = openHome(b.a, filepath.Join(b.dir, "server"), homeOptions{database: b.database}); err != nil {
		return err
	}
	for i := range b.cmd.Devices {
		d := &benchDevice{gate: newGate()}
		d.wire = newProofMeter(d.gate)
		label := fmt.Sprintf("bench %d", i+1)
		d.dev, err = b.home.enrol(b.a.ctx, b.home.clinician, label, filepath.Join(b.dir, fmt.Sprintf("device-%d", i+1)),
			client.Options{Transport: d.wire, OnChange: d.onChange, Logger: b.a.log})
		if err != nil {
			return err
		}
		b.devs = append(b.devs, d)
		if i == 0 {
			// The pushing device holds its scopes; the others start with nothing.
			if _, err := d.dev.Sync(b.a.ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) close() (err error) {
	for _, d := range b.devs {
		err = errors.Join(err, d.dev.Close())
	}
	return errors.Join(err, b.home.close())
}

// meter reads the wire before and after.
type meter struct {
	d               *benchDevice
	up, down, proof int64
	requests        int64
	began           time.Time
	cpu             time.Duration
}

func (d *benchDevice) start() *meter {
	return &meter{d: d, up: d.gate.up.Load(), down: d.gate.down.Load(), proof: d.wire.bytes.Load(), requests: d.wire.requests.Load(), began: time.Now(), cpu: cpuTime()}
}

func (m *meter) step(n int) benchStep {
	took := time.Since(m.began)
	up, down := m.d.gate.up.Load()-m.up, m.d.gate.down.Load()-m.down
	proof := m.d.wire.bytes.Load() - m.proof
	return benchStep{
		Documents: n, MS: ms(took), PerSecond: float64(n) / took.Seconds(),
		CPU: float64((cpuTime() - m.cpu).Microseconds()) / float64(n),
		Up:  per(up, n), Down: per(down, n), Net: per(up+down-proof, n), Requests: m.d.wire.requests.Load() - m.requests,
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func per(bytes int64, n int) float64 { return float64(bytes) / float64(n) }

// save captures the documents on the first device, off line, a save each.
func (b *bench) save() error {
	add, done := b.a.progress(b.cmd.Records, "saving")
	defer done()
	began := time.Now()
	_, err := b.devs[0].dev.Bulk(b.a.ctx, func(bulk *client.Bulk) error {
		for i := range b.cmd.Records {
			e, err := fieldsync.Encounter(fieldsync.Gen(b.cmd.Seed, i))
			if err != nil {
				return err
			}
			saved, err := bulk.Edit(func(edit *client.Edit) error {
				edit.Class(tandemv1.Class_CLASS_NORMAL)
				_, err := edit.Create(e)
				return err
			})
			if err != nil {
				return err
			}
			b.ids = append(b.ids, saved.Records[0])
			add(1)
		}
		return nil
	})
	took := time.Since(began)
	b.res.Save = benchStep{Documents: b.cmd.Records, MS: ms(took), PerSecond: float64(b.cmd.Records) / took.Seconds()}
	return err
}

// push is step 1, and 1b: until every document is committed at the server, and the
// device has settled.
func (b *bench) push() error {
	m := b.devs[0].start()
	moved, err := b.devs[0].dev.Sync(b.a.ctx)
	if err != nil {
		return err
	}
	b.res.Push = m.step(b.cmd.Records)
	if moved.Applied != b.cmd.Records {
		return fmt.Errorf("the server applied %d of %d documents", moved.Applied, b.cmd.Records)
	}
	return nil
}

// pull is step 2: each other device fetches everything; the median is kept.
func (b *bench) pull() error {
	steps := make([]benchStep, 0, len(b.devs)-1)
	for _, d := range b.devs[1:] {
		m := d.start()
		if _, err := d.dev.Sync(b.a.ctx); err != nil {
			return err
		}
		steps = append(steps, m.step(b.cmd.Records))
		counts, err := d.dev.Counts(b.a.ctx)
		if err != nil {
			return err
		}
		if counts["encounter"] != b.cmd.Records {
			return fmt.Errorf("a device holds %d of %d documents", counts["encounter"], b.cmd.Records)
		}
	}
	slices.SortFunc(steps, func(x, y benchStep) int { return int(x.MS - y.MS) })
	b.res.Pull = steps[len(steps)/2]
	return nil
}

// edit is step 3: one field of 1 % of the documents, from the first device to the
// second.
func (b *bench) edit() error {
	from, to := b.devs[0], b.devs[1]
	n := max(1, b.cmd.Records/100)
	for i := range n {
		v, err := from.dev.Get(b.a.ctx, b.ids[i*100%len(b.ids)])
		if err != nil {
			return err
		}
		e, ok := v.Message.(*tandemv1.Encounter)
		if !ok {
			return errors.New("a document is no encounter")
		}
		e.Substance = new("alcohol")
		if _, err := from.dev.Edit(b.a.ctx, func(edit *client.Edit) error { return edit.Set(v, e) }); err != nil {
			return err
		}
	}
	up, down := from.start(), to.start()
	if _, err := from.dev.Sync(b.a.ctx); err != nil {
		return err
	}
	if _, err := to.dev.Sync(b.a.ctx); err != nil {
		return err
	}
	first, second := up.step(n), down.step(n)
	b.res.Edit = benchStep{
		Documents: n, MS: first.MS, PerSecond: first.PerSecond, Up: first.Up + second.Up, Down: first.Down + second.Down,
		Net: first.Net + second.Net, Requests: first.Requests + second.Requests,
	}
	return nil
}

// live is step 4: both on line, one document at a time, until the second device has
// it on its disk.
func (b *bench) live() error {
	from, to := b.devs[0], b.devs[1]
	ctx, stop := context.WithCancel(b.a.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var arrived sync.Map
	to.listen(func(ids []syncengine.ID) {
		for _, id := range ids {
			if ch, ok := arrived.Load(id); ok {
				if ch, ok := ch.(chan struct{}); ok {
					select {
					case ch <- struct{}{}:
					default:
					}
				}
			}
		}
	})
	defer to.listen(nil)
	for _, d := range []*benchDevice{from, to} {
		wg.Go(func() {
			if err := d.dev.Run(ctx); err != nil && ctx.Err() == nil {
				b.a.log.Error().Err(err).Msg("sync stopped")
			}
		})
	}
	add, done := b.a.progress(b.cmd.Live, "live")
	defer done()
	var times []float64
	var up, down *meter
	for i := range b.cmd.Live + warmUp {
		if i == warmUp {
			up, down = from.start(), to.start()
		}
		took, err := b.one(from, &arrived, i)
		if err != nil {
			return err
		}
		if i >= warmUp {
			times = append(times, took)
			add(1)
		}
	}
	first, second := up.step(b.cmd.Live), down.step(b.cmd.Live)
	slices.Sort(times)
	b.res.Live = benchLive{
		Documents: b.cmd.Live, P50: times[len(times)/2], P99: times[len(times)*99/100],
		Bytes: first.Up + first.Down + second.Up + second.Down, Net: first.Net + second.Net,
	}
	return nil
}

// warmUp is the number of live documents that are not counted; liveLimit is how
// long one may take before the step has failed.
const (
	warmUp    = 5
	liveLimit = 30 * time.Second
)

// one saves one document and waits until the other device has it.
func (b *bench) one(from *benchDevice, arrived *sync.Map, i int) (float64, error) {
	e, err := fieldsync.Encounter(fieldsync.Gen(b.cmd.Seed, b.cmd.Records+i))
	if err != nil {
		return 0, err
	}
	var raw [16]byte
	copy(raw[:], fmt.Sprintf("%016d", i))
	id, err := syncengine.NewID(time.Now().UnixMilli(), randFor(uint64(b.cmd.Seed), "live"+string(raw[:])))
	if err != nil {
		return 0, err
	}
	ch := make(chan struct{}, 1)
	arrived.Store(id, ch)
	defer arrived.Delete(id)
	began := time.Now()
	if _, err := from.dev.Edit(b.a.ctx, func(edit *client.Edit) error {
		_, err := edit.Create(e, client.WithID(id))
		return err
	}); err != nil {
		return 0, err
	}
	limit := time.NewTimer(liveLimit)
	defer limit.Stop()
	select {
	case <-ch:
		return ms(time.Since(began)), nil
	case <-limit.C:
		return 0, fmt.Errorf("live document %d has not arrived after %s", i, liveLimit)
	case <-b.a.ctx.Done():
		return 0, b.a.ctx.Err()
	}
}

// noOp is step 6: a sync with nothing new on a warm connection.
func (b *bench) noOp() error {
	d := b.devs[0]
	if _, err := d.dev.Sync(b.a.ctx); err != nil {
		return err
	}
	const rounds = 21
	var steps []benchStep
	for range rounds {
		m := d.start()
		if _, err := d.dev.Sync(b.a.ctx); err != nil {
			return err
		}
		steps = append(steps, m.step(1))
	}
	slices.SortFunc(steps, func(x, y benchStep) int { return int((x.Up + x.Down) - (y.Up + y.Down)) })
	mid := steps[rounds/2]
	slices.SortFunc(steps, func(x, y benchStep) int { return int((x.MS - y.MS) * 1000) })
	b.res.NoOp = benchNoOp{MS: steps[rounds/2].MS, Bytes: mid.Up + mid.Down, Net: mid.Net}
	b.res.Proof = float64(d.wire.bytes.Load()) / float64(d.wire.requests.Load())
	return nil
}

func (b *bench) ratios() {
	for _, s := range []*benchStep{&b.res.Save, &b.res.Push, &b.res.Pull} {
		s.OfRaw = s.PerSecond / b.res.RawInsert
	}
}

// table prints the run for people, beside what is aimed at.
func (b *bench) table() error {
	r := b.res
	b.a.say("%d documents of %.0f bytes, %d devices. Raw insert limit of this run: %.0f documents/s.", r.Records, r.BodyBytes, r.Devices, r.RawInsert)
	w := tabwriter.NewWriter(b.a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tms\tdocs/s\tof raw\tCPU µs/doc\tup B/doc\tdown B/doc\trequests\taim")
	for _, row := range []struct {
		name string
		s    benchStep
		aim  string
	}{
		{"save", r.Save, ""},
		{"push", r.Push, "of raw ≥ 0.15, up ≤ 400 B"},
		{"pull", r.Pull, "of raw ≥ 0.35, down ≤ 400 B"},
		{"edit 1 %", r.Edit, "≤ 300 B without proof, both legs"},
	} {
		fmt.Fprintf(w, "%s\t%.1f\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%d\t%s\n", row.name, row.s.MS, row.s.PerSecond, row.s.OfRaw, row.s.CPU, row.s.Up, row.s.Down, row.s.Requests, row.aim)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	b.a.say("edit: %.0f B a document without proof headers, both legs.", r.Edit.Net)
	b.a.say("live: p50 %.1f ms, p99 %.1f ms, %.0f B a document (%.0f without proof headers).", r.Live.P50, r.Live.P99, r.Live.Bytes, r.Live.Net)
	b.a.say("no-op: %.2f ms, %.0f B (%.0f without proof headers; aim ≤ 500). Proof headers: %.0f B a request.", r.NoOp.MS, r.NoOp.Bytes, r.NoOp.Net, r.Proof)
	return nil
}

// profile writes a CPU profile until stop.
func profile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
