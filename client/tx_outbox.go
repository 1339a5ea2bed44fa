package client

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

const opColumns = `o.op, o.change, o.class, o.state, o.at, o.envelope, o.records, o.needs, o.outcome, w.raw`

const opTables = ` FROM outbox o LEFT JOIN outbox_raw w ON w.op = o.op `

// opScanner reads rows of opColumns, one after another. Of numbers database/sql hands
// on an int64 as it is, and others by way of their text.
type opScanner struct {
	number, class, state, at int64
	change                   idColumn
	envelope                 hashColumn
	records, needs, outcome  []byte
	raw                      []byte
	into                     []any
}

func newOpScanner() *opScanner {
	s := &opScanner{}
	s.into = []any{&s.number, &s.change, &s.class, &s.state, &s.at, &s.envelope, &s.records, &s.needs, &s.outcome, &s.raw}
	return s
}

// scanOp reads one row of opColumns.
func scanOp(scan func(...any) error) (*syncengine.Op, error) { return newOpScanner().op(scan) }

// op reads a row. Prev is left to the caller.
func (s *opScanner) op(scan func(...any) error) (*syncengine.Op, error) {
	if err := scan(s.into...); err != nil {
		return nil, err
	}
	op := &syncengine.Op{
		Number: uint64(s.number), Change: syncengine.ID(s.change), Class: tandemv1.Class(s.class), State: syncengine.OpState(s.state),
		AtMS: s.at, Envelope: syncengine.Hash(s.envelope), Records: decodeIDs(s.records), Needs: decodeOps(s.needs), Raw: s.raw,
	}
	if s.outcome != nil {
		op.Outcome = &tandemv1.Outcome{}
		if err := proto.Unmarshal(s.outcome, op.Outcome); err != nil {
			return nil, fmt.Errorf("the outcome of an own change: %w", ErrDamaged)
		}
		op.Outcome.Op = op.Number
	}
	return op, nil
}

// decodeOps reads op numbers of 8 bytes each.
func decodeOps(raw []byte) (ops []uint64) {
	for ; len(raw) >= 8; raw = raw[8:] {
		ops = append(ops, binary.BigEndian.Uint64(raw))
	}
	return ops
}

// opEntry is an own change within one transaction.
type opEntry struct {
	op *syncengine.Op
	// fresh: the tables do not have it. hadRaw: they have its bytes.
	fresh, hadRaw, dirty bool
}

// readAhead is how many ops are read with one that is asked for: they are asked for
// in order.
const readAhead = 128

// readOps reads a range of ops that the transaction does not have yet.
func (t *tx) readOps(from, to uint64) error {
	var before syncengine.Op
	row := newOpScanner()
	query := `SELECT ` + opColumns + opTables + `WHERE o.op >= $1 AND o.op < $2 ORDER BY o.op`
	return t.rows(query, []any{int64(from), int64(to)}, func(scan func(...any) error) error {
		op, err := row.op(scan)
		if err != nil {
			return err
		}
		if before.Number+1 == op.Number {
			op.Prev = before.Envelope
		} else if err := t.row(`SELECT envelope FROM outbox WHERE op = $1`, []any{int64(op.Number - 1)}, (*hashColumn)(&op.Prev)); err != nil {
			return err
		}
		before = syncengine.Op{Number: op.Number, Envelope: op.Envelope}
		if t.ops[op.Number] == nil {
			t.ops[op.Number] = &opEntry{op: op, hadRaw: op.Raw != nil}
			if op.State == syncengine.OpSettled {
				t.settled = append(t.settled, op.Number)
			}
		}
		return nil
	})
}

// rankOf orders the queue: urgent, normal, bulk; what is not stated is normal.
func rankOf(class tandemv1.Class) int64 {
	switch class {
	case tandemv1.Class_CLASS_URGENT:
		return 1
	case tandemv1.Class_CLASS_BULK:
		return 3
	}
	return 2
}

// AddOp implements syncengine.DeviceTx.
func (t *tx) AddOp(op *syncengine.Op) error {
	t.captured.add(op)
	kept := *op
	e := &opEntry{op: &kept, fresh: true}
	t.ops[op.Number] = e
	for _, id := range op.Records {
		if known, ok := t.writes[id]; ok {
			t.writes[id] = append(known, op.Number)
		}
	}
	return t.markOp(e)
}

// SaveOp implements syncengine.DeviceTx. Raw bytes are dropped where op has none;
// they never change.
func (t *tx) SaveOp(op *syncengine.Op) error {
	e, err := t.loadOp(op.Number)
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("own change %d is not in the outbox: %w", op.Number, ErrDamaged)
	}
	if f := t.s.sealed.Load(); f != nil && op.Raw == nil && e.op.Raw != nil && e.op.State != syncengine.OpDamaged && !f.has(op.Number) {
		t.leaving = append(t.leaving, e.op)
	}
	kept := *op
	e.op = &kept
	return t.markOp(e)
}

func (t *tx) markOp(e *opEntry) error {
	if !e.dirty {
		e.dirty = true
		t.dirtyOps = append(t.dirtyOps, e)
	}
	return t.relieve()
}

func (t *tx) loadOp(number uint64) (*opEntry, error) {
	if e := t.ops[number]; e != nil {
		return e, nil
	}
	err := t.readOps(number, number+readAhead)
	return t.ops[number], err
}

// Op implements syncengine.DeviceTx.
func (t *tx) Op(number uint64) (*syncengine.Op, error) {
	e, err := t.loadOp(number)
	if err != nil || e == nil {
		return nil, err
	}
	return e.op, nil
}

// Envelope implements syncengine.Enveloper: an op that is asked for this alone is mostly
// the newest that the server has, and none after it is wanted with it.
func (t *tx) Envelope(number uint64) (h syncengine.Hash, ok bool, err error) {
	if e := t.ops[number]; e != nil {
		return e.op.Envelope, true, nil
	}
	err = t.rows(`SELECT envelope FROM outbox WHERE op = $1`, []any{int64(number)}, func(scan func(...any) error) error {
		ok = true
		return scan((*hashColumn)(&h))
	})
	return h, ok, err
}

// The queue is read in pieces, by its index alone: see Queued. Its condition is that of
// the index, so that no row is visited.
const (
	queuePiece  = 256
	selectQueue = `SELECT op FROM outbox INDEXED BY outbox_queue WHERE state IN (1, 7) AND rank = ? AND op BETWEEN ? AND ? ORDER BY op LIMIT +?`
)

// Queued implements syncengine.DeviceTx. What is under way, mostly the front of the
// queue, is stepped over, and no more is read than is returned.
func (t *tx) Queued(but map[uint64]bool, limit, maxBytes int) ([]*syncengine.Op, error) {
	if err := t.flushOps(); err != nil {
		return nil, err
	}
	spans := between(but)
	var ops []*syncengine.Op
	size := 0
	for rank := int64(1); rank <= 3; rank++ {
		for _, span := range spans {
			for from := span.First; from <= span.Last; {
				numbers, err := t.queue(rank, from, span.Last, min(queuePiece, limit-len(ops)))
				if err != nil {
					return nil, err
				}
				for _, number := range numbers {
					e, err := t.loadOp(number)
					if err != nil {
						return nil, err
					}
					if e == nil {
						continue
					}
					ops, size = append(ops, e.op), size+len(e.op.Raw)
					if len(ops) == limit || size > maxBytes {
						return ops, nil
					}
				}
				if len(numbers) < queuePiece {
					break
				}
				from = numbers[len(numbers)-1] + 1
			}
		}
	}
	return ops, nil
}

// queue returns the numbers of the first queued ops of a rank in a range.
func (t *tx) queue(rank int64, from, to uint64, limit int) (numbers []uint64, err error) {
	var number int64
	into := []any{&number}
	err = t.rows(selectQueue, []any{rank, int64(from), int64(to), limit}, func(scan func(...any) error) error {
		err := scan(into...)
		numbers = append(numbers, uint64(number))
		return err
	})
	return numbers, err
}

// between returns the ranges of op numbers that hold none of some.
func between(some map[uint64]bool) []syncengine.OpRange {
	spans := make([]syncengine.OpRange, 0, 4)
	from := uint64(1)
	for _, op := range slices.Sorted(maps.Keys(some)) {
		if op > from {
			spans = append(spans, syncengine.OpRange{First: from, Last: op - 1})
		}
		from = op + 1
	}
	return append(spans, syncengine.OpRange{First: from, Last: math.MaxInt64})
}

// OpsIn implements syncengine.DeviceTx. Most of what is asked for is at hand, with
// its bytes: so the numbers are read first.
func (t *tx) OpsIn(state syncengine.OpState, after uint64, limit int) ([]*syncengine.Op, error) {
	numbers, err := t.OpNumbers(state, after, limit)
	if err != nil {
		return nil, err
	}
	ops := make([]*syncengine.Op, 0, len(numbers))
	for _, number := range numbers {
		e, err := t.loadOp(number)
		if err != nil {
			return nil, err
		}
		if e == nil {
			return nil, fmt.Errorf("own change %d is not in the outbox: %w", number, ErrDamaged)
		}
		ops = append(ops, e.op)
	}
	return ops, nil
}

// Statements of OpNumbers. The second condition of the first two lets the partial
// index serve; the plus of the last keeps the order that of the numbers.
const (
	selectJudged = `SELECT op FROM outbox WHERE state = $1 AND state IN (2, 4) AND op > $2 ORDER BY op LIMIT +$3`
	selectQueued = `SELECT op FROM outbox INDEXED BY outbox_queue WHERE state = $1 AND state IN (1, 7) AND op > $2 ORDER BY op LIMIT +$3`
	selectClosed = `SELECT op FROM outbox WHERE state = $1 AND state IN (5, 6) AND op > $2 ORDER BY op LIMIT +$3`
	// The first condition is met by every row of the second.
	selectDamaged = `SELECT op FROM outbox WHERE +state = $1 AND state = 8 AND op > $2 ORDER BY op LIMIT +$3`
	selectIn      = `SELECT op FROM outbox WHERE +state = $1 AND op > $2 ORDER BY op LIMIT +$3`
)

// OpNumbers implements syncengine.OpLister.
func (t *tx) OpNumbers(state syncengine.OpState, after uint64, limit int) ([]uint64, error) {
	query := selectIn
	switch state {
	case syncengine.OpApplied, syncengine.OpQuarantined:
		query = selectJudged
	case syncengine.OpReoffered:
		query = selectQueued
	case syncengine.OpDismissed, syncengine.OpReplaced:
		query = selectClosed
	case syncengine.OpDamaged:
		query = selectDamaged
	}
	// What this transaction has changed stands in for what the tables still say.
	var numbers []uint64
	for _, e := range t.dirtyOps {
		if e.op.State == state && e.op.Number > after {
			numbers = append(numbers, e.op.Number)
		}
	}
	err := t.rows(query, []any{int64(state), int64(after), limit + len(t.dirtyOps)}, func(scan func(...any) error) error {
		var number uint64
		err := scan(&number)
		if e := t.ops[number]; err == nil && (e == nil || !e.dirty) {
			numbers = append(numbers, number)
		}
		return err
	})
	slices.Sort(numbers)
	return numbers[:min(limit, len(numbers))], err
}

func compareOps(a, b *syncengine.Op) int { return cmp.Compare(a.Number, b.Number) }

var selectWrites = `SELECT record, op FROM outbox_write WHERE record IN (?` + strings.Repeat(`, ?`, fetchMany-1) + `)`

// prefetchWrites reads which own changes stand on records.
func (t *tx) prefetchWrites(records []syncengine.ID) error {
	var ids []syncengine.ID
	for _, id := range records {
		if _, known := t.writes[id]; !known {
			t.writes[id] = nil
			ids = append(ids, id)
		}
	}
	for _, e := range t.dirtyOps {
		if !e.fresh {
			continue
		}
		for _, id := range e.op.Records {
			if slices.Contains(ids, id) {
				t.writes[id] = append(t.writes[id], e.op.Number)
			}
		}
	}
	// A page of a first pull asks for a thousand records that nobody here has seen.
	if none, err := t.noneBetween(`SELECT 1 FROM outbox_write WHERE record BETWEEN $1 AND $2 LIMIT 1`, ids); none || err != nil {
		return err
	}
	args := make([]any, fetchMany)
	for some := range slices.Chunk(ids, fetchMany) {
		clear(args)
		for i, id := range some {
			args[i] = id[:]
		}
		err := t.rows(selectWrites, args, func(scan func(...any) error) error {
			var id syncengine.ID
			var op uint64
			err := scan((*idColumn)(&id), &op)
			t.writes[id] = append(t.writes[id], op)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OpsOn implements syncengine.DeviceTx.
func (t *tx) OpsOn(record syncengine.ID) ([]*syncengine.Op, error) {
	if _, known := t.writes[record]; !known {
		if err := t.prefetchWrites([]syncengine.ID{record}); err != nil {
			return nil, err
		}
	}
	var ops []*syncengine.Op
	for _, number := range t.writes[record] {
		op, err := t.Op(number)
		if err != nil {
			return nil, err
		}
		if op != nil && (op.State == syncengine.OpQueued || op.State == syncengine.OpApplied) {
			ops = append(ops, op)
		}
	}
	slices.SortFunc(ops, compareOps)
	return ops, nil
}

// Stage implements syncengine.DeviceTx.
func (t *tx) Stage(in *syncengine.Incoming) error {
	t.noneStaged = false
	t.dropped = t.dropped || in.Scopes == 0
	return t.exec(`INSERT INTO incoming (id, kind, scopes, body, stamps) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET kind = $2, scopes = $3, body = $4, stamps = $5`,
		in.ID[:], int64(in.Kind), int64(in.Scopes), blob(in.Body), blob(in.Stamps))
}

const incomingColumns = `id, kind, scopes, body, stamps`

func scanIncoming(scan func(...any) error) (*syncengine.Incoming, error) {
	in := &syncengine.Incoming{}
	var scopes int64
	err := scan((*idColumn)(&in.ID), &in.Kind, &scopes, &in.Body, &in.Stamps)
	in.Scopes = uint64(scopes)
	return in, err
}

// Staged implements syncengine.DeviceTx.
func (t *tx) Staged(after syncengine.ID, limit int) ([]*syncengine.Incoming, error) {
	staged, err := t.incoming(`WHERE id > $1 ORDER BY id LIMIT +$2`, after[:], limit)
	t.noneStaged = err == nil && len(staged) == 0 && after.IsZero()
	return staged, err
}

// StagedRow implements syncengine.DeviceTx.
func (t *tx) StagedRow(record syncengine.ID) (*syncengine.Incoming, error) {
	if t.noneStaged {
		return nil, nil
	}
	staged, err := t.incoming(`WHERE id = $1`, record[:])
	if err != nil || len(staged) == 0 {
		return nil, err
	}
	return staged[0], nil
}

func (t *tx) incoming(where string, args ...any) (staged []*syncengine.Incoming, err error) {
	err = t.rows(`SELECT `+incomingColumns+` FROM incoming `+where, args, func(scan func(...any) error) error {
		in, err := scanIncoming(scan)
		staged = append(staged, in)
		return err
	})
	return staged, err
}

// Unstage implements syncengine.DeviceTx.
func (t *tx) Unstage() error { return t.exec(`DELETE FROM incoming`) }
