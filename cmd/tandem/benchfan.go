package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
)

// fanTries is how often a device asks again before the step has failed, and fanPause
// how long it waits in between.
const (
	fanTries = 50
	fanPause = 50 * time.Millisecond
)

// fanIn is step 5: many devices that have been off line find the network in the same
// moment, until every save of all of them is durable. Each is of a team of its own and
// so reads nothing but its own: what is measured is how the server takes in.
func (b *bench) fanIn() (err error) {
	if b.cmd.Crews == 0 {
		return nil
	}
	var devs []*benchDevice
	defer func() {
		for _, d := range devs {
			err = errors.Join(err, d.dev.Close())
		}
	}()
	add, done := b.a.progress(b.cmd.Crews, "devices")
	defer done()
	for i := range b.cmd.Crews {
		staff, err := b.place.crew(b.a.ctx, i)
		if err != nil {
			return err
		}
		d, err := b.device(fmt.Sprintf("crew-%d", i+1), staff)
		if err != nil {
			return err
		}
		devs = append(devs, d)
		if _, err := d.dev.Sync(b.a.ctx); err != nil {
			return err
		}
		first := b.records + b.cmd.Live + warmUp + i*b.cmd.Each
		if _, err := b.write(d, first, first+b.cmd.Each, func(int) {}); err != nil {
			return err
		}
		add(1)
	}
	type end struct {
		ms     float64
		failed int
		err    error
	}
	ends := make([]end, len(devs))
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, d := range devs {
		wg.Go(func() {
			<-begin
			began := time.Now()
			ends[i].failed, ends[i].err = b.arrive(d)
			ends[i].ms = ms(time.Since(began))
		})
	}
	m := b.start(devs...)
	close(begin)
	wg.Wait()
	f := &benchFan{benchStep: m.step(b.cmd.Crews * b.cmd.Each), Crews: b.cmd.Crews}
	var times []float64
	for _, e := range ends {
		err = errors.Join(err, e.err)
		f.Errors += e.failed
		times = append(times, e.ms)
	}
	f.P50, f.P99 = quantiles(times)
	b.res.FanIn = f
	return err
}

// arrive syncs until everything of a device is at the server. A refusal is counted, and
// asked again after.
func (b *bench) arrive(d *benchDevice) (failed int, err error) {
	applied := 0
	for {
		moved, err := d.dev.Sync(b.a.ctx)
		if moved != nil {
			applied += moved.Applied
		}
		if err == nil && applied == b.cmd.Each {
			return failed, nil
		}
		if err == nil {
			return failed, fmt.Errorf("the server applied %d of %d documents", applied, b.cmd.Each)
		}
		if failed++; failed > fanTries || (!errors.Is(err, client.ErrBusy) && !errors.Is(err, client.ErrNetwork)) {
			return failed, err
		}
		select {
		case <-time.After(fanPause):
		case <-b.a.ctx.Done():
			return failed, b.a.ctx.Err()
		}
	}
}
