package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/syncengine"
)

var historyKills = flag.Int("historykills", 3, "how often TestHistory kills a server while it records what devices do")

// TestHistory records what devices do and see while their servers are killed, and lets a
// checker look for an order of all of it, one thing after the other, that explains what
// everybody saw: each save takes effect at one moment between its being made and its being
// acknowledged, once, whichever server took it; and who asks sees everything that had been
// acknowledged to anybody before, and nothing that nobody wrote.
//
//	go test ./cmd/tandem -run TestHistory -historykills 50 -timeout 30m -v
func TestHistory(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, bin)
		newHistory(t, r).record(func(*rand.Rand) {
			r.kill(r.server)
			r.serve()
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f := newFleet(t, bin, pgtest.Start(t).Database(t), 2)
		newHistory(t, f.rig).record(func(rng *rand.Rand) {
			down := rng.IntN(len(f.servers))
			f.kill(f.servers[down])
			f.up(down)
		})
	})
}

const (
	historyDevices = 3
	historyRecords = 3
	// all is the key of the set of records.
	all = -1
)

// history is devices at one server and what they did.
type history struct {
	t     *testing.T
	r     *rig
	began time.Time
	// contested are the records that all devices write.
	contested []syncengine.ID

	mu  sync.Mutex
	ops []porcupine.Operation
	// made numbers the records that were made meanwhile.
	made map[syncengine.ID]int
}

// did is what one device did: it wrote a value of a record over those that it saw there,
// it made a record, or it looked.
type did struct {
	// record is an index of contested, or all.
	record int
	looked bool
	value  string
	over   []string
}

func newHistory(t *testing.T, r *rig) *history {
	return &history{t: t, r: r, began: time.Now(), made: map[syncengine.ID]int{}}
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

// record lets devices work until servers have been killed so often, and checks what
// they did.
func (h *history) record(kill func(*rand.Rand)) {
	t := h.t
	var names []string
	for i := range historyDevices {
		names = append(names, fmt.Sprint("device", i))
	}
	h.r.enrol(names...)
	var devices []*client.Client
	for _, name := range names {
		dev, err := client.Open(t.Context(), h.r.path(name), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dev.Close() })
		devices = append(devices, dev)
	}
	for i := range historyRecords {
		id, err := h.create(t.Context(), devices[0], fmt.Sprint("contested_", i))
		if err != nil {
			t.Fatal(err)
		}
		h.contested = append(h.contested, id)
	}
	for _, dev := range devices {
		if _, err := dev.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for i, dev := range devices {
		working.Go(func() {
			if err := h.work(ctx, i, dev, rand.New(rand.NewPCG(*killSeed, uint64(i)))); err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(*killSeed, historyDevices))
	for range *historyKills {
		time.Sleep(time.Duration(rng.Int64N(int64(800 * time.Millisecond))))
		kill(rng)
	}
	time.Sleep(200 * time.Millisecond)
	stop()
	working.Wait()
	h.check()
}

func (h *history) create(ctx context.Context, dev *client.Client, note string) (id syncengine.ID, err error) {
	_, err = dev.Edit(ctx, func(e *client.Edit) (err error) {
		id, err = e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: &note})
		return err
	})
	return id, err
}

// work lets a device save, send and look until the end, and notes each thing as it was
// when it was over.
func (h *history) work(ended context.Context, number int, dev *client.Client, rng *rand.Rand) error {
	ctx := h.t.Context()
	for n := 0; ended.Err() == nil; n++ {
		var saved []porcupine.Operation
		for range rng.IntN(3) {
			var what did
			var err error
			call := h.now()
			if rng.IntN(4) == 0 {
				what, err = h.make(ctx, dev)
			} else {
				what, err = h.write(ctx, dev, rng.IntN(historyRecords), fmt.Sprintf("%d.%d.%d", number, n, len(saved)), rng.IntN(3) == 0)
			}
			if err != nil {
				return err
			}
			saved = append(saved, porcupine.Operation{ClientId: number, Input: what, Call: call, Output: ""})
		}
		// Several looks at one moment are one sync: all of it is there.
		call, err := h.sync(ctx, dev)
		if err != nil {
			return err
		}
		over := h.now()
		for i := range saved {
			saved[i].Return = over
		}
		looks, err := h.look(ctx, number, dev, call)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.ops = append(append(h.ops, saved...), looks...)
		h.mu.Unlock()
		time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
	}
	return nil
}

// sync syncs as often as it takes, and returns when the last time began.
func (h *history) sync(ctx context.Context, dev *client.Client) (call int64, err error) {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		call = h.now()
		_, err := dev.Sync(ctx)
		if contact, ok := errors.AsType[*client.ContactError](err); err == nil || !ok || errors.Is(contact, client.ErrRefused) || time.Since(begun) > 2*time.Minute {
			return call, err
		}
	}
}

// notes are the values that a device shows of a record, the displayed one first.
func (h *history) notes(ctx context.Context, dev *client.Client, record int) (v *client.View, path syncengine.Path, values []string, err error) {
	if v, err = dev.Get(ctx, h.contested[record]); err != nil {
		return nil, path, nil, err
	}
	path = syncengine.Path{Field: uint32((&tandemv1.Incident{}).ProtoReflect().Descriptor().Fields().ByName("notes_ops").Number())}
	text := func(m any) (string, error) {
		in, ok := m.(*tandemv1.Incident)
		if !ok || in.GetNotesOps() == "" {
			return "", fmt.Errorf("record %d shows no note", record)
		}
		return in.GetNotesOps(), nil
	}
	for _, c := range v.Conflicts {
		if c.Path == path {
			for _, choice := range c.Choices {
				value, err := text(choice.Message)
				if err != nil {
					return nil, path, nil, err
				}
				values = append(values, value)
			}
			return v, path, values, nil
		}
	}
	value, err := text(v.Message)
	return v, path, []string{value}, err
}

// write writes a value over the one that is displayed, or settles all that are there.
func (h *history) write(ctx context.Context, dev *client.Client, record int, value string, settle bool) (did, error) {
	v, path, values, err := h.notes(ctx, dev, record)
	if err != nil {
		return did{}, err
	}
	what := did{record: record, value: value, over: values[:1]}
	_, err = dev.Edit(ctx, func(e *client.Edit) error {
		if settle && len(values) > 1 {
			what.over = values
			return e.Resolve(v, path, syncengine.StringField(path.Field, value), "")
		}
		in, ok := v.Message.(*tandemv1.Incident)
		if !ok {
			return fmt.Errorf("record %d is no call", record)
		}
		in.NotesOps = &value
		return e.Set(v, in)
	})
	return what, err
}

func (h *history) make(ctx context.Context, dev *client.Client) (did, error) {
	// It has its number before anybody can see it.
	h.mu.Lock()
	defer h.mu.Unlock()
	id, err := h.create(ctx, dev, "made")
	h.made[id] = len(h.made)
	return did{record: all, value: fmt.Sprint(h.made[id])}, err
}

// look notes what a device shows after a sync that began at call.
func (h *history) look(ctx context.Context, number int, dev *client.Client, call int64) (looks []porcupine.Operation, err error) {
	for record := range historyRecords {
		_, _, values, err := h.notes(ctx, dev, record)
		if err != nil {
			return nil, err
		}
		looks = append(looks, porcupine.Operation{ClientId: number, Input: did{record: record, looked: true}, Call: call, Output: joined(values), Return: h.now()})
	}
	var there []string
	if err := dev.Each(ctx, func(rec *syncengine.Record) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if n, ok := h.made[rec.ID]; ok {
			there = append(there, fmt.Sprint(n))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return append(looks, porcupine.Operation{ClientId: number, Input: did{record: all, looked: true}, Call: call, Output: joined(there), Return: h.now()}), nil
}

// joined is values as a set.
func joined(values []string) string {
	values = slices.Clone(values)
	slices.Sort(values)
	return strings.Join(values, " ")
}

// recorded is a value of the checker's as what it is.
func recorded[T any](v any) T {
	is, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("%T in a history", v))
	}
	return is
}

// sequential is what one record does where one thing happens after the other: a write
// takes out what its author saw, and stands beside what else there is. Records are only
// ever added.
var sequential = porcupine.Model{
	Partition: func(ops []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := map[int][]porcupine.Operation{}
		for _, op := range ops {
			record := recorded[did](op.Input).record
			by[record] = append(by[record], op)
		}
		for _, part := range by {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "?" },
	Step: func(state, input, output any) (bool, any) {
		s, what, out := recorded[string](state), recorded[did](input), recorded[string](output)
		if s == "?" {
			// As it was before the first.
			s = ""
			if what.record != all {
				s = fmt.Sprintf("contested_%d", what.record)
			}
		}
		there := strings.Fields(s)
		if what.looked {
			return s == out, s
		}
		there = slices.DeleteFunc(there, func(v string) bool { return slices.Contains(what.over, v) })
		return true, joined(append(there, what.value))
	},
}

// check looks for an order that explains everything; and, so that it is known to look,
// for one of a history in which somebody has not seen what was acknowledged to them.
func (h *history) check() {
	t := h.t
	writes, looks, several := 0, 0, 0
	for _, op := range h.ops {
		switch what := recorded[did](op.Input); {
		case !what.looked:
			writes++
		case what.record != all && strings.Contains(fmt.Sprint(op.Output), " "):
			several++
			fallthrough
		default:
			looks++
		}
	}
	t.Logf("%d saves and %d looks, %d of them at several values, through %d kills", writes, looks, several, *historyKills)
	if writes == 0 || looks == 0 {
		t.Fatal("nothing happened")
	}
	const patience = 2 * time.Minute
	if got := porcupine.CheckOperationsTimeout(sequential, h.ops, patience); got != porcupine.Ok {
		t.Errorf("no order explains what the devices saw: %s", got)
		for _, part := range sequential.Partition(h.ops) {
			if porcupine.CheckOperationsTimeout(sequential, part, patience) != porcupine.Ok {
				slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
				for _, op := range part {
					t.Logf("%8d–%8d µs device %d: %+v → %v", op.Call/1000, op.Return/1000, op.ClientId, op.Input, op.Output)
				}
			}
		}
	}
	for _, record := range []int{0, all} {
		spoiled := slices.Clone(h.ops)
		i := len(spoiled) - 1
		for ; i >= 0; i-- {
			what := recorded[did](spoiled[i].Input)
			if what.looked && what.record == record && spoiled[i].Output != "" {
				break
			}
		}
		if i < 0 {
			t.Fatalf("nobody saw anything of record %d", record)
		}
		values := strings.Fields(fmt.Sprint(spoiled[i].Output))
		spoiled[i].Output = strings.Join(values[1:], " ")
		if got := porcupine.CheckOperationsTimeout(sequential, spoiled, patience); got != porcupine.Illegal {
			t.Errorf("a look that lacks a value of record %d: the checker says %s", record, got)
		}
	}
}
