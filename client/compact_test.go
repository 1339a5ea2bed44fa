package client

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// entriesOf returns the own ops that stand in the sealed outbox.
func entriesOf(c *Client) (ops []uint64) {
	f := c.sealed()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.entries {
		if e.own && e.kind == seal.KindChange {
			ops = append(ops, e.number)
		}
	}
	slices.Sort(ops)
	return ops
}

// A push of many messages over a file that has outgrown its limit: the whole file is
// looked at, and what is rewritten is copied, a fixed number of times, however many
// messages it is.
func TestALongPushRewritesSeldom(t *testing.T) {
	t.Parallel()
	for _, messages := range []int{30, 120} {
		t.Run(fmt.Sprint(messages, " messages"), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			c := o.enrol(o.clinician, t.TempDir(), func(o *Options) { o.SealedBytes = 8_000 })
			mustSync(t, c)
			bulk(t, c, 1, 5*messages)
			f := c.sealed()
			// What the replica says of itself is left out of the count.
			const introduced = 1_000
			whole, looks, rewrites := f.length(), 0, 0
			copied, sent, longest := int64(0), 0, int64(0)
			for queued := true; queued; {
				c.mu.Lock()
				c.pace.push = 600
				c.mu.Unlock()
				at := f.f
				r, err := c.round(t.Context(), want{push: true})
				if err != nil {
					t.Fatal(err)
				}
				queued = r.queued
				if r.sent == 0 {
					continue
				}
				sent++
				if f.acked == 0 {
					looks++
				}
				if f.f != at {
					rewrites++
					copied += f.size
				}
				waits, err := c.queuedOps(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				stays := int64(len(waits)) * whole / int64(5*messages)
				longest = max(longest, f.size-2*stays)
			}
			if sent < messages/2 {
				t.Fatalf("%d messages, which is too few to tell", sent)
			}
			if looks > 5*lookShare || rewrites > 6 || copied > 2*whole {
				t.Errorf("%d messages: looked %d times, rewrote %d times and copied %d bytes of a file of %d", sent, looks, rewrites, copied, whole)
			}
			if f.size > 8_000+introduced || longest > 8_000+8_000/2+introduced+whole/lookShare {
				t.Errorf("the file has %d bytes in the end, and had %d more than twice what had to stay", f.size, longest)
			}
		})
	}
}

// Two lanes of a push that rewrite at the same moment: what one has moved in the file is
// not what the other meant. All entries are of one size here, so that each place in the
// file is that of another entry after the first rewrite.
func TestTwoRewritesAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir(), func(o *Options) { o.SealedBytes = 1 << 30 })
	bulk(t, c, 10, 40)
	mustSync(t, c)
	bulk(t, c, 50, 40)
	f := c.sealed()
	f.limit = 8_000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := c.compact(t.Context(), f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := slices.DeleteFunc(entriesOf(c), func(op uint64) bool { return op <= 40 })
	if len(got) != 40 {
		t.Errorf("of 40 unacknowledged saves the file holds %v", got)
	}
}

// A save that is sealed between the reading of what waits and the look at the file stays,
// and so does what is to be sent again, and what is damaged and nowhere else whole.
func TestWhatARewriteDoesNotKnow(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir(), func(o *Options) { o.SealedBytes = 1 << 30 })
	bulk(t, c, 10, 40)
	mustSync(t, c)
	f := c.sealed()
	first := f.length()
	bulk(t, c, 50, 40)
	f.limit = 1
	gone := f.disposable(first, nil, nil, map[syncengine.ID][]syncengine.OpRange{})
	for _, e := range f.entries {
		if e.kind == seal.KindChange && gone[e.offset] != (e.number <= 40) {
			t.Errorf("op %d goes: %v", e.number, gone[e.offset])
		}
	}
	f.limit = 1 << 30
	mustSync(t, c)
	f.limit = 1
	err := c.store.write(t.Context(), "standing elsewhere", func(t *tx) error {
		if err := t.exec(`UPDATE outbox SET state = 7 WHERE op = 3`); err != nil {
			return err
		}
		return t.exec(`UPDATE outbox SET state = 8, outcome = NULL WHERE op = 5`)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.compact(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if got := entriesOf(c); !slices.Contains(got, 3) || !slices.Contains(got, 5) || len(got) > 40 {
		t.Errorf("the file holds ops %v", got)
	}
}
