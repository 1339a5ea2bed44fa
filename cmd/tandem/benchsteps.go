package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/fieldsync"
	"github.com/tandem-response/tandem/syncengine"
)

// bench is one run.
type bench struct {
	a       *app
	cmd     *benchSyncCmd
	records int
	dir     string
	// database is that of the server, empty for a file.
	database string

	res   *benchResult
	place *benchPlace
	// devs are the devices, devs[0] the one that pushes.
	devs []*benchDevice
	ids  []syncengine.ID
	raws rawSamples
}

type benchDevice struct {
	dev  *client.Client
	dir  string
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

// run takes all steps.
func (b *bench) run() (err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(); err != nil {
		return err
	}
	// The raw limits are taken before, between and after the steps that are set against
	// them.
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"save", b.save},
		{"raw-1", b.raw},
		{"push", b.push},
		{"settle", b.settle},
		{"raw-2", b.raw},
		{"pull", b.pull},
		{"chunks", b.chunked},
		{"raw-3", b.raw},
		{"disk", b.disk},
		{"edit", b.edit},
		{"bootstrap", b.bootstrap},
		{"live", b.live},
		{"fan-in", b.fanIn},
		{"no-op", b.noOp},
	} {
		if err := b.profiled(step.name, step.do); err != nil {
			return err
		}
		if err := b.a.ctx.Err(); err != nil {
			return err
		}
	}
	b.ratios()
	return nil
}

func (b *bench) open() (err error) {
	if b.place, err = openPlace(b.a, b.cmd, b.dir, b.database); err != nil {
		return err
	}
	for i := range b.cmd.Devices {
		d, err := b.device(fmt.Sprintf("device-%d", i+1), nil, func(o *client.Options) { o.PlainPull = true })
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

// device makes a device of a person, nil for the clinician of the team.
func (b *bench) device(name string, staff *syncengine.ID, options ...func(*client.Options)) (*benchDevice, error) {
	d := &benchDevice{gate: newGate(), dir: filepath.Join(b.dir, name)}
	d.wire = newProofMeter(d.gate)
	code, err := b.place.code(b.a.ctx, staff, name)
	if err != nil {
		return nil, err
	}
	opts := client.Options{Transport: d.wire, OnChange: d.onChange, Logger: b.a.log}
	if b.cmd.Vault {
		options = append(options, inVault)
	}
	for _, set := range options {
		set(&opts)
	}
	if d.dev, err = client.Open(b.a.ctx, d.dir, opts); err != nil {
		return nil, err
	}
	if err := d.dev.Enroll(b.a.ctx, b.place.url, code); err != nil {
		return nil, errors.Join(err, d.dev.Close())
	}
	return d, nil
}

func (b *bench) close() (err error) {
	for _, d := range b.devs {
		err = errors.Join(err, d.dev.Close())
	}
	if b.place != nil {
		err = errors.Join(err, b.place.close(b.a))
	}
	return err
}

// saveAtOnce is how many documents are saved in a transaction on the device.
const saveAtOnce = 10_000

// write saves documents from..to of the seed on a device, off line, a save each.
func (b *bench) write(d *benchDevice, from, to int, add func(int)) (ids []syncengine.ID, err error) {
	for ; from < to; from += saveAtOnce {
		_, err := d.dev.Bulk(b.a.ctx, func(bulk *client.Bulk) error {
			for i := from; i < min(to, from+saveAtOnce); i++ {
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
				ids = append(ids, saved.Records[0])
				add(1)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// save captures the documents on the first device.
func (b *bench) save() (err error) {
	add, done := b.a.progress(b.records, "saving")
	defer done()
	m := b.start(b.devs[0])
	b.ids, err = b.write(b.devs[0], 0, b.records, add)
	b.res.Save = m.step(b.records)
	return err
}

// push is step 1: until every document is committed at the server, and shown as such
// on the device.
func (b *bench) push() error {
	m := b.start(b.devs[0])
	moved, err := b.devs[0].dev.Sync(b.a.ctx)
	if err != nil {
		return err
	}
	b.res.Push = m.step(b.records)
	if moved.Applied != b.records {
		return fmt.Errorf("the server applied %d of %d documents", moved.Applied, b.records)
	}
	return nil
}

// settle is step 1b: what comes after the push.
func (b *bench) settle() error {
	m := b.start(b.devs[0])
	if _, err := b.devs[0].dev.Sync(b.a.ctx); err != nil {
		return err
	}
	b.res.Settle = m.step(b.records)
	return nil
}

// pull is step 2: each other device fetches everything, in pages that are made for it
// alone; the median is kept.
func (b *bench) pull() error {
	steps := make([]benchStep, 0, len(b.devs)-1)
	for _, d := range b.devs[1:] {
		step, err := b.fetch(d)
		if err != nil {
			return err
		}
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(x, y benchStep) int { return cmp.Compare(x.MS, y.MS) })
	b.res.Pull = steps[len(steps)/2]
	return nil
}

// fetch has a device fetch everything.
func (b *bench) fetch(d *benchDevice) (step benchStep, err error) {
	m := b.start(d)
	if _, err := d.dev.Sync(b.a.ctx); err != nil {
		return step, err
	}
	step = m.step(b.records)
	counts, err := d.dev.Counts(b.a.ctx)
	if err == nil && counts["encounter"] != b.records {
		err = fmt.Errorf("a device holds %d encounters, and %d documents were pushed: a bench begins with a server that holds none", counts["encounter"], b.records)
	}
	return step, err
}

// edit is step 3: one field of 1 % of the documents, from the first device to the
// second.
func (b *bench) edit() error {
	from, to := b.devs[0], b.devs[1]
	n := max(1, b.records/100)
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
	m := b.start(from, to)
	if _, err := from.dev.Sync(b.a.ctx); err != nil {
		return err
	}
	if _, err := to.dev.Sync(b.a.ctx); err != nil {
		return err
	}
	b.res.Edit = m.step(n)
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
	var m *meter
	for i := range b.cmd.Live + warmUp {
		if i == warmUp {
			m = b.start(from, to)
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
	l := &b.res.Live
	l.benchStep = m.step(b.cmd.Live)
	l.P50, l.P99 = quantiles(times)
	l.Bytes = l.Up + l.Down
	return nil
}

// quantiles returns the median and the 99th of 100.
func quantiles(of []float64) (p50, p99 float64) {
	slices.Sort(of)
	return of[len(of)/2], of[len(of)*99/100]
}

// warmUp is the number of live documents that are not counted; liveLimit is how
// long one may take before the step has failed.
const (
	warmUp    = 5
	liveLimit = 30 * time.Second
)

// one saves one document and waits until the other device has it.
func (b *bench) one(from *benchDevice, arrived *sync.Map, i int) (float64, error) {
	e, err := fieldsync.Encounter(fieldsync.Gen(b.cmd.Seed, b.records+i))
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
	var times, bytes, net []float64
	for range rounds {
		before, began := d.traffic(), time.Now()
		if _, err := d.dev.Sync(b.a.ctx); err != nil {
			return err
		}
		times = append(times, ms(time.Since(began)))
		t := d.traffic().since(before)
		bytes, net = append(bytes, float64(t.up+t.down)), append(net, float64(t.up+t.down-t.proof))
	}
	n := &b.res.NoOp
	n.MS, _ = quantiles(times)
	n.Bytes, _ = quantiles(bytes)
	n.Net, _ = quantiles(net)
	b.res.Proof = float64(d.wire.bytes.Load()) / float64(d.wire.requests.Load())
	return nil
}
