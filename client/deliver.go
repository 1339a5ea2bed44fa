package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// Delivery is what became of the entries of a sealed outbox.
type Delivery struct {
	// Taken changes and witnesses are at the server, in this delivery or before.
	Taken int
	// NotTaken counts the others by reason.
	NotTaken map[tandemv1.Delivery]int
	// Damaged is the number of places in the file that could not be read.
	Damaged int
}

// Left is the number of entries that the server has not taken.
func (d *Delivery) Left() (n int) {
	for _, count := range d.NotTaken {
		n += count
	}
	return n
}

// DeliveryWords says in plain words why an entry was not taken, and what to do.
func DeliveryWords(code tandemv1.Delivery) string {
	switch code {
	case tandemv1.Delivery_DELIVERY_DAMAGED:
		return "their bytes are damaged; keep the file and ask your administrator"
	case tandemv1.Delivery_DELIVERY_FOREIGN:
		return "they belong to another organization: deliver the file with a device of that organization"
	case tandemv1.Delivery_DELIVERY_NO_KEY:
		return "they are sealed to a key that the server does not hold: its administrator must restore the keys file from its backup; keep the file and deliver it again"
	case tandemv1.Delivery_DELIVERY_FORGED:
		return "they do not open under the key that they name: they were altered"
	case tandemv1.Delivery_DELIVERY_UNPROVED:
		return "nothing proves who wrote them, because entries next to them are missing; keep the file and ask your administrator"
	case tandemv1.Delivery_DELIVERY_UNKNOWN_REPLICA:
		return "the server does not know the store that they come from; keep the file and deliver it again when the server has been set right"
	case tandemv1.Delivery_DELIVERY_FORK:
		return "the server holds another history of the store that they come from; keep the file and ask your administrator"
	case tandemv1.Delivery_DELIVERY_SUSPENDED:
		return "the device that they come from is suspended; keep the file and deliver it again once an administrator has lifted that"
	case tandemv1.Delivery_DELIVERY_UNKNOWN_KIND:
		return "the server does not know this kind of entry: it needs an update; keep the file and deliver it again"
	}
	return "the server did not say what became of them; deliver the file again"
}

// Deliver brings the entries of a sealed outbox, this store's or another's of the same
// organization, to the server: saves, and another's drafts, which go to a lead. The file is only read. Repeating it has the effect of
// once. What was delivered before an error is in the Delivery.
func (c *Client) Deliver(ctx context.Context, path string) (*Delivery, error) {
	// The own drafts are not left behind: whoever types them has them here.
	var replica syncengine.ID
	if me, err := c.identity(); err == nil {
		replica = me.replica
	}
	return c.deliver(ctx, path, func(h *seal.Header) bool { return h.Kind != seal.KindDraft || h.Replica != replica }, nil)
}

// Reoffer delivers the own changes that the server lacks: processed are the ops that
// it states to hold. It is for a server that was set back; what it gets it judges as
// it would have the first time, under the ids that the changes have.
func (c *Client) Reoffer(ctx context.Context, processed []syncengine.OpRange) (*Delivery, error) {
	f := c.sealed()
	if f == nil {
		return &Delivery{}, nil
	}
	return c.deliver(ctx, f.path, func(h *seal.Header) bool {
		return h.Kind == seal.KindChange && h.Org == f.me.org && h.Replica == f.me.replica && !syncengine.HoldsOp(processed, h.Number)
	}, nil)
}

// batchBytes is about how much is delivered at once, batchEntries at most how many.
const (
	batchBytes   = 1 << 20
	batchEntries = 1000
)

// deliver brings the entries of a file that pick names, and those whose signatures
// speak for them. told gets what became of each; it may be nil.
func (c *Client) deliver(ctx context.Context, path string, pick func(*seal.Header) bool, told func(d *tandemv1.Delivered, at []byte)) (*Delivery, error) {
	out := &Delivery{NotTaken: map[tandemv1.Delivery]int{}}
	way, _, err := c.way()
	if err != nil {
		return out, err
	}
	f, entries, damaged, err := openEntries(path, pick)
	if err != nil {
		return out, err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	out.Damaged = damaged
	taken := map[syncengine.ID][]syncengine.OpRange{}
	defer func() {
		if err := c.noteDelivered(ctx, taken); err != nil {
			c.log.Error().Err(err).Msg("delivery not noted")
		}
	}()
	for len(entries) > 0 {
		n := batch(entries)
		req := &tandemv1.DeliverRequest{}
		for _, e := range entries[:n] {
			raw := make([]byte, e.size)
			if _, err := f.ReadAt(raw, e.offset); err != nil {
				return out, fmt.Errorf("reading the sealed outbox: %w", err)
			}
			req.Entries = append(req.Entries, raw)
		}
		answer, err := way.deliver(ctx, req)
		if err != nil {
			return out, err
		}
		for i, d := range answer.GetDelivered() {
			e := &entries[i]
			if told != nil {
				told(d, answer.GetToldAt())
			}
			switch {
			case e.kind == seal.KindReplica:
			case d.GetResult() == tandemv1.Delivery_DELIVERY_TAKEN:
				out.Taken++
				if e.kind == seal.KindChange {
					taken[e.replica] = syncengine.AddOp(taken[e.replica], e.number)
				}
			default:
				out.NotTaken[d.GetResult()]++
			}
		}
		entries = entries[n:]
	}
	c.log.Info().Int("taken", out.Taken).Int("left", out.Left()).Msg("sealed outbox delivered")
	signal(c.wakePull)
	return out, nil
}

// openEntries reads which entries of a file are to be delivered, each replica's after
// its introduction and in order of op.
func openEntries(path string, pick func(*seal.Header) bool) (f *os.File, entries []sealedEntry, damaged int, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, nil, 0, fmt.Errorf("opening the sealed outbox: %w", err)
	}
	var all []sealedEntry
	picked := map[int64]bool{}
	r := seal.NewReader(f)
	for {
		e, offset, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, 0, errors.Join(fmt.Errorf("reading the sealed outbox: %w", err), f.Close())
		}
		all = append(all, sealedEntry{kind: e.Kind, signed: e.Signed, replica: e.Replica, number: e.Number, offset: offset, size: int64(len(e.Raw))})
		picked[offset] = pick(&e.Header)
	}
	stale := staleDrafts(all, true)
	keep := keptEntries(all, func(e *sealedEntry) bool { return !picked[e.offset] || stale[e.offset] })
	for i := range all {
		if keep[i] {
			entries = append(entries, all[i])
		}
	}
	rank := func(k seal.Kind) int {
		if k == seal.KindReplica {
			return 0
		}
		return int(k)
	}
	slices.SortStableFunc(entries, func(a, b sealedEntry) int {
		return cmp.Or(a.replica.Compare(b.replica), cmp.Compare(rank(a.kind), rank(b.kind)), cmp.Compare(a.number, b.number))
	})
	return f, entries, len(r.Damage()), nil
}

// batch returns how many of the entries are delivered next: a batch ends where a
// signature speaks for all before, unless it would grow too large.
func batch(entries []sealedEntry) int {
	size := int64(0)
	for i := range entries {
		size += entries[i].size
		full := size >= batchBytes || i+1 >= batchEntries
		if full && (entries[i].signed || size >= 2*batchBytes || i+1 >= batchEntries+seal.SignEvery) {
			return i + 1
		}
	}
	return len(entries)
}

// deliver sends entries and returns the complete answer.
func (l *link) deliver(ctx context.Context, req *tandemv1.DeliverRequest) (*tandemv1.DeliverAnswer, error) {
	size := 0
	for _, raw := range req.GetEntries() {
		size += len(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, slack+time.Duration(size/slowest)*time.Second)
	defer cancel()
	resp, err := call(ctx, &contact{brings: true}, func(ctx context.Context) (*tandemv1.DeliverResponse, error) { return l.sync.Deliver(ctx, req) })
	if err != nil {
		return nil, err
	}
	answer, err := syncengine.UnframeDelivery(resp)
	if err == nil && len(answer.GetDelivered()) != len(req.GetEntries()) {
		err = syncengine.ErrIncomplete
	}
	if err != nil {
		return nil, &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	return answer, nil
}
