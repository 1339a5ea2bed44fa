package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// Keys of the meta table that are about the sealed outbox.
const (
	// metaSealKey is the org's public key, where it is not that of the enrolment.
	metaSealKey = "seal_key"
	// metaDelivered lists what of earlier stores the server has: for each range of ops
	// the replica (16 bytes), first and last op (8 each).
	metaDelivered = "sealed_delivered"
	// metaBacked lists the own ops that two verified backups of the server hold, in the
	// same form; metaBackedBefore those of earlier replicas of the store.
	metaBacked       = "sealed_backed"
	metaBackedBefore = "sealed_backed_before"
)

const (
	// defaultSealedBytes is the size from which on acknowledged saves leave the sealed
	// outbox although no backup is known to hold them.
	defaultSealedBytes = 64 << 20
	// minCompact is the smallest file that is rewritten.
	minCompact = 1 << 20
	// sealGroup is about how many bytes of changes are sealed with one sync.
	sealGroup = 1 << 20
	// maxCaptured bounds the captured changes that a transaction keeps in memory for
	// sealing; beyond it they are read again.
	maxCaptured = 16 << 20
)

// captured is what a transaction has captured, to be sealed after its commit.
type captured struct {
	ops   []*syncengine.Op
	bytes int
	// more: they were too many to keep.
	more bool
}

func (c *captured) add(op *syncengine.Op) {
	if c.bytes += len(op.Raw); c.bytes > maxCaptured {
		c.ops, c.more = nil, true
		return
	}
	kept := *op
	c.ops = append(c.ops, &kept)
}

// sealed returns the sealed outbox, nil where there is none: the store is not
// enrolled, the server gave no key, or the file cannot be opened.
func (c *Client) sealed() *sealedFile { return c.store.sealed.Load() }

// beginSealed opens the sealed outbox where the device has a key for it, and seals
// what an interrupted save has left out. Where the file cannot be opened the device
// works without it, and says so in its status.
func (c *Client) beginSealed(ctx context.Context) {
	me, err := c.identity()
	if err != nil || len(me.sealKey) == 0 || c.sealed() != nil {
		return
	}
	who := sealer{key: me.key, certificate: me.certificate, public: me.sealKey}
	who.org, _ = syncengine.IDFromBytes(me.answer.GetOrg())
	who.replica = me.replica
	f, err := openSealed(c.store.dir, who, c.opts.SealedBytes)
	c.mu.Lock()
	c.sealFault = err
	c.mu.Unlock()
	if err != nil {
		c.log.Error().Err(err).Msg("sealed outbox not opened")
		return
	}
	if err := c.recallBacked(ctx, f); err != nil {
		c.log.Error().Err(err).Msg("what is backed up is not known")
	}
	c.store.sealed.Store(f)
	if f.damaged > 0 {
		c.log.Error().Int("places", f.damaged).Msg("sealed outbox damaged")
	}
	c.sealMissing(ctx)
	if err := c.store.write(ctx, "numbering drafts", func(t *tx) error { return t.numberDrafts() }); err != nil {
		c.log.Error().Err(err).Msg("drafts not numbered")
	}
	c.sealDrafts(ctx)
}

// seal seals what a transaction has captured. What cannot be sealed is in the store
// all the same, so the save stands; it is tried again with the next one.
func (c *Client) seal(ctx context.Context, what *captured) {
	f := c.sealed()
	if f == nil {
		return
	}
	if what.more || f.failed() {
		c.sealMissing(ctx)
		return
	}
	for ops := what.ops; len(ops) > 0; {
		n, size := 0, 0
		for n < len(ops) && (n == 0 || size < sealGroup) {
			size += len(ops[n].Raw)
			n++
		}
		if err := f.add(ops[:n:n]); err != nil {
			c.log.Error().Err(err).Msg("saves not sealed")
			return
		}
		ops = ops[n:]
	}
}

// sealMissing seals the unacknowledged changes that the file lacks.
func (c *Client) sealMissing(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	f := c.sealed()
	queued, err := c.queuedOps(ctx)
	for err == nil {
		missing := slices.DeleteFunc(queued, f.has)
		if len(missing) == 0 {
			return
		}
		var ops []*syncengine.Op
		if ops, err = c.readOps(ctx, missing); err != nil || len(ops) == 0 {
			break
		}
		if err = f.add(ops); err == nil {
			queued = missing
		}
	}
	if err != nil {
		c.log.Error().Err(err).Msg("saves not sealed")
	}
}

// selectUnknown selects what the server is not known to have: what is to be sent, once
// more or for the first time, and what is damaged here and not delivered.
const selectUnknown = `SELECT op FROM outbox WHERE state IN (1, 7) UNION ALL SELECT op FROM outbox WHERE state = 8 AND outcome IS NULL`

// queuedOps returns the numbers of the unacknowledged changes, ascending.
func (c *Client) queuedOps(ctx context.Context) (ops []uint64, err error) {
	err = c.store.read(ctx, "reading the outbox", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, selectUnknown)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			var op uint64
			err := scan(&op)
			ops = append(ops, op)
			return err
		})
	})
	slices.Sort(ops)
	return ops, err
}

// readOps reads the first of some changes, ascending, with their bytes: as many as are
// sealed with one sync. Those that are settled by now are left out, and those whose bytes
// do not have their hash any more: a sealed copy of them would prove nothing.
func (c *Client) readOps(ctx context.Context, numbers []uint64) (ops []*syncengine.Op, err error) {
	size := 0
	enough := errors.New("enough")
	err = c.store.read(ctx, "reading the outbox", func(rtx *sql.Tx) error {
		st, err := scanState(rtx.QueryRowContext(ctx, selectState))
		if err != nil {
			return err
		}
		// One after the other where they follow each other, which they mostly do.
		for from := 0; from < len(numbers) && size < sealGroup; {
			to := from + 1
			for to < len(numbers) && numbers[to] == numbers[to-1]+1 {
				to++
			}
			before := syncengine.Op{Number: numbers[from] - 1}
			err := rtx.QueryRowContext(ctx, `SELECT coalesce((SELECT envelope FROM outbox WHERE op = $1), $2)`, int64(before.Number), before.Envelope[:]).
				Scan((*hashColumn)(&before.Envelope))
			if err != nil {
				return err
			}
			rows, err := rtx.QueryContext(ctx, `SELECT `+opColumns+opTables+`WHERE o.op BETWEEN $1 AND $2 ORDER BY o.op`,
				int64(numbers[from]), int64(numbers[to-1]))
			if err != nil {
				return err
			}
			err = eachRow(rows, func(scan func(...any) error) error {
				if size >= sealGroup {
					return enough
				}
				op, err := scanOp(scan)
				if err != nil {
					return err
				}
				op.Prev, before = before.Envelope, *op
				if op.Raw != nil && syncengine.HashEnvelope(st.Replica, op.Number, op.Prev, sha256.Sum256(op.Raw)) == op.Envelope {
					ops, size = append(ops, op), size+len(op.Raw)
				}
				return nil
			})
			if err != nil && !errors.Is(err, enough) {
				return err
			}
			from = to
		}
		return nil
	})
	return ops, err
}

// failed reports whether the newest write failed.
func (s *sealedFile) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault != nil
}

// keepLeaving seals changes whose bytes are about to leave the store, where the file
// lacks them. The server has them, so a file that cannot be written stops nothing: the
// status counts what it lacks.
func (s *store) keepLeaving(ops []*syncengine.Op) {
	if f := s.sealed.Load(); f != nil {
		_ = f.add(slices.DeleteFunc(ops, func(op *syncengine.Op) bool { return f.has(op.Number) }))
	}
}

// heard takes in what an answer says about the org's keys and the sealed outbox, and how
// many own changes it has acknowledged.
func (c *Client) heard(ctx context.Context, trailer *tandemv1.Trailer, news acknowledged) {
	if err := c.takeRenewal(ctx, trailer.GetRenewal()); err != nil {
		c.log.Error().Err(err).Msg("the organization's new key is not taken")
	}
	if key := trailer.GetSealKey(); len(key) > 0 {
		if err := c.newSealKey(ctx, key); err != nil {
			c.log.Error().Err(err).Msg("key of the sealed outbox not kept")
		}
	}
	f := c.sealed()
	if f == nil {
		return
	}
	backed := rangesOf(trailer.GetBackedUp())
	changed, due := f.learn(backed, news)
	if changed {
		c.askBefore.Store(true)
		err := c.setRanges(ctx, metaBacked, map[syncengine.ID][]syncengine.OpRange{f.me.replica: backed})
		if err != nil {
			c.log.Error().Err(err).Msg("what is backed up is not noted")
		}
	}
	if !due {
		return
	}
	if err := c.compact(ctx, f); err != nil {
		c.log.Error().Err(err).Msg("sealed outbox not rewritten")
	}
}

// newSealKey seals to another key from now on.
func (c *Client) newSealKey(ctx context.Context, key []byte) error {
	me, err := c.identity()
	if err != nil || slices.Equal(me.sealKey, key) {
		return err
	}
	if _, err := seal.NewSession(key, syncengine.ID{}, syncengine.ID{}); err != nil {
		return err
	}
	err = c.store.write(context.WithoutCancel(ctx), "keeping a key", func(t *tx) error { return t.setMeta(metaSealKey, key) })
	if err != nil {
		return err
	}
	c.mu.Lock()
	next := *c.me
	next.sealKey = slices.Clone(key)
	c.me = &next
	c.mu.Unlock()
	if f := c.sealed(); f != nil {
		f.rekey(next.sealKey)
		return nil
	}
	c.beginSealed(ctx)
	return nil
}

func rangesOf(wire []*tandemv1.OpRange) []syncengine.OpRange {
	out := make([]syncengine.OpRange, 0, len(wire))
	for _, r := range wire {
		out = append(out, syncengine.OpRange{First: r.GetFirst(), Last: r.GetLast()})
	}
	return out
}

// recallBacked reads which own ops are in two verified backups, as far as was heard.
func (c *Client) recallBacked(ctx context.Context, f *sealedFile) error {
	all, err := c.ranges(ctx, metaBacked)
	f.backed = all[f.me.replica]
	return err
}

// acknowledged is what an answer brought for own changes.
type acknowledged struct {
	// ops that got their verdict; drained: none waits for one any more.
	ops     int
	drained bool
}

// lookShare is the share of the entries, or of the file's size, that has to be news
// since a look at the whole file until the next: so looks cost a fixed share of what
// the file has taken in, however long a push is.
const lookShare = 8

// learn notes which own ops are in two verified backups, and what was acknowledged. It
// reports whether the first has changed, and whether it may be time to rewrite the file.
func (s *sealedFile) learn(backed []syncengine.OpRange, news acknowledged) (changed, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = !slices.Equal(s.backed, backed)
	s.backed = backed
	s.acked += news.ops
	least := min(minCompact, s.limit)
	if s.size < least {
		return changed, false
	}
	grown := s.size > s.looked+max(least, s.looked/lookShare)
	spare := s.size > s.limit && s.acked > 0 && (news.drained || s.acked >= len(s.entries)/lookShare)
	if due = changed || grown || spare; due {
		s.looked, s.acked = s.size, 0
	}
	return changed, due
}

// compact rewrites the file where more than half of it is in two backups, or where it
// has outgrown its limit. One at a time: what is to go is told by its place in the file.
func (c *Client) compact(ctx context.Context, f *sealedFile) error {
	f.compacting.Lock()
	defer f.compacting.Unlock()
	if !f.wasteful() {
		// As ever between a backup and the next: what waits need not be read for that.
		return nil
	}
	// What is sealed from here on may not be among what is read next as waiting.
	before := f.length()
	queued, err := c.queuedOps(ctx)
	if err != nil {
		return err
	}
	delivered, err := c.delivered(ctx)
	if err != nil {
		return err
	}
	safe, err := c.safeBefore(ctx, f)
	if err != nil {
		return err
	}
	gone := f.disposable(before, queued, delivered, safe)
	if gone == nil {
		return nil
	}
	err = f.rewrite(func(e *sealedEntry) bool { return gone[e.offset] })
	if err == nil {
		c.log.Info().Int64("bytes_before", before).Int64("bytes_after", f.length()).Msg("sealed outbox rewritten")
	}
	return err
}

func (s *sealedFile) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// wasteful reports whether there may be entries to leave out.
func (s *sealedFile) wasteful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > s.limit || len(staleDrafts(s.entries, true)) > 0 || slices.ContainsFunc(s.entries, func(e sealedEntry) bool {
		// What an earlier replica has left may be backed up by now.
		return s.unneeded(e) || e.kind == seal.KindChange && !e.own
	})
}

// unneeded reports whether an entry says what is kept elsewhere.
func (s *sealedFile) unneeded(e sealedEntry) bool {
	return e.own && (e.kind == seal.KindWitness && syncengine.HoldsOp(s.unwanted, e.number) ||
		e.kind == seal.KindChange && syncengine.HoldsOp(s.backed, e.number))
}

// disposable returns the entries to leave out, by their place in the file; nil where
// a rewrite is not worth its while. queued are the own ops that waited when the file had
// its first bytes, safe those of earlier replicas that two backups hold.
//
// While changes wait, a rewrite frees as much as it copies; then a third as much, which
// is what a file that has just outgrown its limit gives. So the file is at most twice
// what has to stay or half as large again as its limit, and with nothing waiting as
// large as its limit, or a third larger than what has to stay.
func (s *sealedFile) disposable(first int64, queued []uint64, delivered, safe map[syncengine.ID][]syncengine.OpRange) map[int64]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Who said that a draft is no more needs to say so only while an older version is there.
	gone := staleDrafts(s.entries, true)
	dead := int64(0)
	var spare []*sealedEntry
	for i := range s.entries {
		e := &s.entries[i]
		switch {
		case gone[e.offset]:
			dead += e.size
		case e.kind == seal.KindReplica:
			dead += e.size
		case s.unneeded(*e), e.kind == seal.KindChange && !e.own && syncengine.HoldsOp(safe[e.replica], e.number):
			gone[e.offset] = true
			dead += e.size
		case e.kind != seal.KindChange:
		case e.own:
			if _, waits := slices.BinarySearch(queued, e.number); !waits && e.offset < first {
				spare = append(spare, e)
			}
		case syncengine.HoldsOp(delivered[e.replica], e.number):
			spare = append(spare, e)
		}
	}
	if live := s.size - dead; live > s.limit {
		// The oldest first: what an earlier store has left, then own saves as they were
		// made.
		slices.SortStableFunc(spare, func(a, b *sealedEntry) int {
			return cmp.Or(cmp.Compare(boolColumn(a.own), boolColumn(b.own)), cmp.Compare(a.number, b.number))
		})
		for _, e := range spare {
			if live <= s.limit-s.limit/4 {
				break
			}
			gone[e.offset] = true
			live -= e.size
			dead += e.size
		}
	}
	least := s.size / 2
	if s.size > s.limit && len(queued) == 0 {
		least = s.size / 4
	}
	if len(gone) == 0 || dead < least {
		return nil
	}
	return gone
}

// delivered returns what of earlier stores the server has, by replica.
func (c *Client) delivered(ctx context.Context) (map[syncengine.ID][]syncengine.OpRange, error) {
	return c.ranges(ctx, metaDelivered)
}

// ranges reads ranges of ops by replica from the meta table.
func (c *Client) ranges(ctx context.Context, key string) (out map[syncengine.ID][]syncengine.OpRange, err error) {
	var raw []byte
	err = c.store.read(ctx, "reading about the sealed outbox", func(rtx *sql.Tx) error {
		return rtx.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM meta WHERE key = $1), x'')`, key).Scan(&raw)
	})
	if err != nil {
		return nil, err
	}
	out = map[syncengine.ID][]syncengine.OpRange{}
	const size = 16 + 8 + 8
	if len(raw)%size != 0 {
		return nil, fmt.Errorf("reading about the sealed outbox: %w", ErrDamaged)
	}
	for ; len(raw) >= size; raw = raw[size:] {
		id := syncengine.ID(raw)
		out[id] = append(out[id], syncengine.OpRange{First: binary.BigEndian.Uint64(raw[16:]), Last: binary.BigEndian.Uint64(raw[24:])})
	}
	return out, nil
}

// noteDelivered notes what of earlier stores the server has taken.
func (c *Client) noteDelivered(ctx context.Context, taken map[syncengine.ID][]syncengine.OpRange) error {
	known, err := c.delivered(ctx)
	if err != nil || len(taken) == 0 {
		return err
	}
	for id, ranges := range taken {
		known[id] = syncengine.MergeRanges(known[id], ranges)
	}
	return c.setRanges(ctx, metaDelivered, known)
}

// setRanges is the inverse of ranges.
func (c *Client) setRanges(ctx context.Context, key string, known map[syncengine.ID][]syncengine.OpRange) error {
	raw := []byte{}
	for id, ranges := range known {
		for _, r := range ranges {
			raw = append(raw, id[:]...)
			raw = binary.BigEndian.AppendUint64(raw, r.First)
			raw = binary.BigEndian.AppendUint64(raw, r.Last)
		}
	}
	return c.store.write(context.WithoutCancel(ctx), "noting about the sealed outbox", func(t *tx) error { return t.setMeta(key, raw) })
}

// SealedStatus is how the sealed outbox of a device stands.
type SealedStatus struct {
	// On: saves are sealed. Off before enrolment, with a server that gives no key, and
	// where the file cannot be opened.
	On bool
	// Bytes of the file, Entries in it.
	Bytes   int64
	Entries int
	// Behind is the number of unacknowledged saves that are not in it.
	Behind int
	// Waiting is the number of acknowledged saves in it that are not known to be in two
	// verified backups of the server.
	Waiting int
	// LetGo is the number of acknowledged saves that are neither in it nor known to be
	// in two verified backups: it had outgrown its limit.
	LetGo int
	// Earlier is the number of saves of earlier stores in it that the server is not
	// known to have: see Client.Deliver.
	Earlier int
	// Damaged is the number of places that could not be read.
	Damaged int
	// Fault says, in words, why the newest save was not sealed; empty where it was.
	Fault string
}

// sealedStatus returns how the sealed outbox stands.
func (c *Client) sealedStatus(ctx context.Context, next uint64) (out SealedStatus, err error) {
	c.mu.Lock()
	if c.sealFault != nil {
		out.Fault = c.sealFault.Error()
	}
	c.mu.Unlock()
	f := c.sealed()
	if f == nil {
		return out, nil
	}
	queued, err := c.queuedOps(ctx)
	if err != nil {
		return out, err
	}
	delivered, err := c.delivered(ctx)
	if err != nil {
		return out, err
	}
	issued, err := c.issuedBefore(ctx, f)
	if err != nil {
		return out, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out.On, out.Bytes, out.Entries, out.Damaged = true, f.size, len(f.entries), f.damaged
	if f.fault != nil {
		out.Fault = f.fault.Error()
	}
	waiting := map[uint64]bool{}
	for _, e := range f.entries {
		switch {
		case e.kind != seal.KindChange:
		case e.own:
			if _, waits := slices.BinarySearch(queued, e.number); !waits && !syncengine.HoldsOp(f.backed, e.number) {
				waiting[e.number] = true
			}
		case !syncengine.HoldsOp(delivered[e.replica], e.number) && len(issued[e.replica][e.number]) == 0:
			out.Earlier++
		}
	}
	out.Waiting = len(waiting)
	safe := syncengine.MergeRanges(f.present, f.backed)
	for _, op := range queued {
		if !syncengine.HoldsOp(f.present, op) {
			out.Behind++
			safe = syncengine.AddOp(safe, op)
		}
	}
	if all := next - 1; all > 0 {
		out.LetGo = int(all - min(all, syncengine.CountOps(safe)))
	}
	return out, nil
}

// SealedPath returns where the sealed outbox of a store's directory stands.
func SealedPath(store string) string { return filepath.Join(store, SealedFile) }
