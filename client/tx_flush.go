package client

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// flushOps writes the own changes that were added or judged. Verdicts that are alike
// are written together.
func (t *tx) flushOps() error {
	var fresh []*opEntry
	judged := map[verdict][]*syncengine.Op{}
	var order []verdict
	var drop, back []*syncengine.Op
	encoded := map[tandemv1.OutcomeCode]string{}
	for _, e := range t.dirtyOps {
		e.dirty = false
		if e.fresh {
			e.fresh, e.hadRaw = false, true
			fresh = append(fresh, e)
			continue
		}
		outcome, err := outcomeOf(e.op.Outcome, encoded)
		if err != nil {
			return err
		}
		v := verdict{e.op.State, outcome}
		if judged[v] == nil {
			order = append(order, v)
		}
		judged[v] = append(judged[v], e.op)
		if e.op.State == syncengine.OpReoffered || e.op.State == syncengine.OpQueued {
			back = append(back, e.op)
		}
		if e.op.Raw == nil && e.hadRaw {
			e.hadRaw = false
			drop = append(drop, e.op)
		}
	}
	t.dirtyOps = t.dirtyOps[:0]
	if err := t.insertOps(fresh); err != nil {
		return err
	}
	for _, v := range order {
		var outcome []byte
		if v.outcome != "" {
			outcome = []byte(v.outcome)
		}
		if err := t.forOps(updateVerdicts, []any{int64(v.state), outcome}, judged[v]); err != nil {
			return err
		}
		if v.state == syncengine.OpSettled {
			for _, op := range judged[v] {
				t.settled = append(t.settled, op.Number)
			}
			if err := t.deleteWrites(judged[v]); err != nil {
				return err
			}
		}
	}
	for _, op := range back {
		if err := t.requeue(op); err != nil {
			return err
		}
	}
	return t.forOps(deleteRaws, nil, drop)
}

// verdict is how far changes have come, alike for many.
type verdict struct {
	state   syncengine.OpState
	outcome string
}

// outcomeOf is encodeOutcome. Nearly all outcomes say their code and nothing else: those
// are encoded once for each code.
func outcomeOf(o *tandemv1.Outcome, encoded map[tandemv1.OutcomeCode]string) (string, error) {
	plain := o != nil && o.GetRefusal() == 0 && len(o.GetFields()) == 0 && len(o.GetEnvelope()) == 0 && o.GetReason() == "" && len(o.ProtoReflect().GetUnknown()) == 0
	if s, ok := encoded[o.GetCode()]; ok && plain {
		return s, nil
	}
	b, err := encodeOutcome(o)
	if err == nil && plain {
		encoded[o.GetCode()] = string(b)
	}
	return string(b), err
}

// encodeOutcome leaves the op number out: it stands beside.
func encodeOutcome(o *tandemv1.Outcome) ([]byte, error) {
	if o == nil {
		return nil, nil
	}
	o = proto.CloneOf(o)
	o.Op = 0
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encoding an outcome: %w", err)
	}
	return blob(b), nil
}

var (
	many           = `(?` + strings.Repeat(`, ?`, fetchMany-1) + `)`
	updateVerdicts = `UPDATE OR FAIL outbox SET state = ?, outcome = ? WHERE op BETWEEN ? AND ?`
	deleteRaws     = `DELETE FROM outbox_raw WHERE op BETWEEN ? AND ?`
	deleteWrites   = `DELETE FROM outbox_write WHERE record IN ` + many + ` AND +op IN ` + many
	deleteNear     = `DELETE FROM outbox_write WHERE record BETWEEN ? AND ? AND op BETWEEN ? AND ?`
)

// forOps runs a statement that ends in a range of ops, once for each run of
// consecutive numbers: nearly always the ops of one push.
func (t *tx) forOps(query string, first []any, ops []*syncengine.Op) error {
	slices.SortFunc(ops, compareOps)
	args := make([]any, len(first)+2)
	copy(args, first)
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && ops[n].Number == ops[n-1].Number+1 {
			n++
		}
		args[len(first)], args[len(first)+1] = int64(ops[0].Number), int64(ops[n-1].Number)
		if err := t.exec(query, args...); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// deleteWrites removes the settled ops from the records they wrote. A pair of the
// product that is there is that of a settled op. The plus keeps SQLite from looking
// for each of the product.
func (t *tx) deleteWrites(ops []*syncengine.Op) error {
	for some := range slices.Chunk(ops, fetchMany) {
		if first, last, ok := together(some); ok {
			if err := t.exec(deleteNear, first[:], last[:], int64(some[0].Number), int64(some[len(some)-1].Number)); err != nil {
				return err
			}
			continue
		}
		var ids []syncengine.ID
		for _, op := range some {
			ids = append(ids, op.Records...)
		}
		args := make([]any, 2*fetchMany)
		for i, op := range some {
			args[fetchMany+i] = int64(op.Number)
		}
		for part := range slices.Chunk(ids, fetchMany) {
			clear(args[:fetchMany])
			for i, id := range part {
				args[i] = id[:]
			}
			if err := t.exec(deleteWrites, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// together reports whether consecutive ops have each written one record, and whether
// those were made within a short time, as new records are; it returns the first and the
// last of the records. Whatever stands between those two under one of the ops is
// settled, and little else stands there.
func together(ops []*syncengine.Op) (first, last syncengine.ID, ok bool) {
	for i, op := range ops {
		if len(op.Records) != 1 || i > 0 && op.Number != ops[i-1].Number+1 {
			return first, last, false
		}
		id := op.Records[0]
		if i == 0 || id.Compare(first) < 0 {
			first = id
		}
		if id.Compare(last) > 0 {
			last = id
		}
	}
	return first, last, madeAt(last)-madeAt(first) <= shortTime
}

// madeAt is the time in an id, in milliseconds.
func madeAt(id syncengine.ID) uint64 { return binary.BigEndian.Uint64(id[:8]) >> 16 }

// shortTime, in milliseconds: what else a device makes within it is few.
const shortTime = 600_000

var (
	opInsert      = []string{"op", "change", "class", "rank", "state", "at", "bytes", "envelope", "records", "needs", "outcome"}
	insertOp      = insertInto("outbox", opInsert, 1)
	insertManyOps = insertInto("outbox", opInsert, insertMany)
	insertRaw     = `INSERT INTO outbox_raw (op, raw) VALUES (?, ?)`
	insertManyRaw = insertRaw + strings.Repeat(`, (?, ?)`, insertMany-1)
	insertWrite   = `INSERT INTO outbox_write (record, op) VALUES (?, ?) ON CONFLICT DO NOTHING`
)

func (t *tx) insertOps(fresh []*opEntry) error {
	for len(fresh) > 0 {
		some, query, rawQuery := fresh[:1], insertOp, insertRaw
		if len(fresh) >= insertMany {
			some, query, rawQuery = fresh[:insertMany], insertManyOps, insertManyRaw
		}
		fresh = fresh[len(some):]
		args, raws := make([]any, 0, len(some)*len(opInsert)), make([]any, 0, len(some)*2)
		for _, e := range some {
			op := e.op
			outcome, err := encodeOutcome(op.Outcome)
			if err != nil {
				return err
			}
			args = append(args, int64(op.Number), op.Change[:], int64(op.Class), rankOf(op.Class), int64(op.State), op.AtMS, len(op.Raw),
				op.Envelope[:], blob(encodeIDs(op.Records)), encodeNeeds(op.Needs), outcome)
			raws = append(raws, int64(op.Number), blob(op.Raw))
			for _, id := range op.Records {
				if err := t.exec(insertWrite, id[:], int64(op.Number)); err != nil {
					return err
				}
			}
		}
		if err := t.exec(query, args...); err != nil {
			return err
		}
		if err := t.exec(rawQuery, raws...); err != nil {
			return err
		}
	}
	return nil
}
