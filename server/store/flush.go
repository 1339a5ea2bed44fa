package store

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// flush writes what has been gathered. The transaction goes on, unless that fails:
// then nothing of it may be committed, and every further flush fails too.
func (tx *Tx) flush() error {
	if tx.failed != nil {
		return tx.failed
	}
	for _, step := range []func() error{
		tx.flushMembers, tx.flushChanges, tx.flushRecords, tx.flushFollows, tx.flushLinks, tx.flushDigests, tx.flushReplicas, tx.flushHead,
	} {
		if err := step(); err != nil {
			tx.failed = err
			return err
		}
	}
	return nil
}

// insert writes rows of width columns with as few statements as there are sizes.
func (tx *Tx) insert(into, tail string, width int, args []any) error {
	if tx.s.dialect.batches == nil {
		return tx.insertColumns(into, tail, width, args)
	}
	rows := len(args) / width
	for _, size := range tx.s.dialect.batches {
		text := ""
		for ; rows >= size; rows -= size {
			if text == "" {
				text = tx.s.dialect.values(into, size, width, tail)
			}
			if err := tx.c.exec(text, args[:size*width]...); err != nil {
				return err
			}
			args = args[size*width:]
		}
	}
	return nil
}

// flushChanges adds to the change log. It comes before the records, which tell
// whose body a change may leave out.
func (tx *Tx) flushChanges() error {
	if len(tx.log.fresh) == 0 {
		return nil
	}
	made := map[syncengine.Stamp][]*recordEntry{}
	for _, e := range tx.dirty {
		if e.was != nil {
			continue
		}
		if origin, err := e.rec.Origin(); err == nil {
			made[origin.Created] = append(made[origin.Created], e)
		}
	}
	const width = 20
	args := make([]any, 0, width*len(tx.log.fresh))
	for _, e := range tx.log.fresh {
		row, err := tx.changeArgs(e.c, made[syncengine.StampOf(e.c.ID)])
		if err != nil {
			return err
		}
		args = append(args, row[:]...)
	}
	tx.log.fresh = nil
	return tx.insert(`change (org, replica, op, stamp, seq, verdict, refusal, at_ms, received_ms,
		id, body_hash, envelope, prev, author, device, fields, holes, body, corrected_ms, uncertainty_ms)`, "", width, args)
}

// changeArgs returns the columns of a new entry.
func (tx *Tx) changeArgs(c *syncengine.StoredChange, made []*recordEntry) (row [20]any, err error) {
	row = [20]any{
		tx.org.num, nil, nil, int64(syncengine.StampOf(c.ID)), int64(c.Seq),
		int64(c.Outcome.GetCode()), int64(c.Outcome.GetRefusal()), c.AtMS, c.ReceivedMS,
		c.ID[:], c.BodyHash[:], nil, nil, c.Author[:], c.Device[:], fieldsArg(c), nil, bytesArg(c.Body), c.CorrectedMS, c.UncertaintyMS,
	}
	if !c.Replica.IsZero() {
		r, err := tx.replicaByID(c.Replica)
		if err != nil {
			return row, err
		}
		if r == nil {
			return row, syncengine.ErrUnknownReplica
		}
		row[1], row[2], row[11] = r.num, int64(c.Op), c.Envelope[:]
		before := tx.log.ops[opKey{c.Replica, c.Op - 1}]
		if c.Op > 1 && (before == nil || before.again || before.c.Envelope != c.Prev) {
			row[12] = c.Prev[:]
		}
		if c.Author == r.person {
			row[13] = nil
		}
		if c.Device == r.device {
			row[14] = nil
		}
	}
	rest, holes, fillers := cut(c.Body, made)
	if len(fillers) > 0 {
		row[16], row[17] = holes, bytesArg(rest)
		for _, e := range fillers {
			e.shared = true
		}
	}
	return row, nil
}

// flushRecords writes the records that have changed.
func (tx *Tx) flushRecords() error {
	if len(tx.dirty) == 0 {
		return nil
	}
	const width = 14
	var fresh, known []any
	for _, e := range tx.dirty {
		if e.was != nil && e.shared && !bytes.Equal(e.was.Body, e.rec.Body) {
			if err := tx.restore(e); err != nil {
				return err
			}
			e.shared = false
		}
		row, err := tx.recordArgs(e)
		if err != nil {
			return err
		}
		if e.was != nil {
			known = append(known, row[:]...)
		} else {
			fresh = append(fresh, row[:]...)
		}
		e.dirty, e.was = false, e.rec
		tx.saved = append(tx.saved, e.rec)
	}
	tx.dirty = nil
	const head = `record (org, kind, seq, hash, plain, shared, run_replica, run_base, touch_base, id, scopes, touches, stamps, body)`
	if err := tx.insert(head, "", width, fresh); err != nil {
		return err
	}
	return tx.insert(head, ` ON CONFLICT (org, id) DO UPDATE SET kind = excluded.kind, seq = excluded.seq, hash = excluded.hash,
		plain = excluded.plain, shared = excluded.shared, run_replica = excluded.run_replica, run_base = excluded.run_base,
		touch_base = excluded.touch_base, scopes = excluded.scopes, touches = excluded.touches, stamps = excluded.stamps,
		body = excluded.body`, width, known)
}

func (tx *Tx) recordArgs(e *recordEntry) (row [14]any, err error) {
	rec := e.rec
	nums := make([]int64, 0, 4)
	for _, k := range rec.Scopes {
		num, err := tx.mustScope(k)
		if err != nil {
			return row, err
		}
		nums = append(nums, num)
	}
	row = [14]any{
		tx.org.num, int64(rec.Kind), int64(rec.Seq), int64(rec.Hash), boolArg(rec.Plain), boolArg(e.shared), nil,
		int64(rec.RunBase), int64(rec.TouchBase), rec.ID[:], bytesArg(packNumbers(nums)), bytesArg(packTouches(rec.Touches)),
		bytesArg(rec.Stamps), bytesArg(rec.Body),
	}
	if !rec.RunReplica.IsZero() {
		r, err := tx.replicaByID(rec.RunReplica)
		if err != nil {
			return row, err
		}
		if r == nil {
			return row, syncengine.ErrUnknownReplica
		}
		row[6] = r.num
	}
	return row, nil
}

// flushMembers writes the scope index, in its own order. It comes before the records:
// where they stand in the database tells where their rows of the index are.
func (tx *Tx) flushMembers() error {
	if len(tx.members) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(tx.members), func(a, b memberKey) int {
		return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(tx.members[a].Seq, tx.members[b].Seq), a.record.Compare(b.record))
	})
	const width = 5
	rows := make([]any, 0, width*len(keys))
	for _, k := range keys {
		m := tx.members[k]
		e, err := tx.record(k.record)
		if err != nil {
			return err
		}
		if e.was != nil {
			if err := tx.removeMember(k, e.was); err != nil {
				return err
			}
		}
		rows = append(rows, tx.org.num, k.scope, int64(m.Seq), m.Record[:], boolArg(m.Live))
	}
	clear(tx.members)
	return tx.insert("scope_index (org, scope, seq, record, live)", "", width, rows)
}

// removeMember removes the row of a scope that a record has in the database, if any:
// a live one, which stands at the record's sequence, or that of a scope it has left.
func (tx *Tx) removeMember(k memberKey, was *syncengine.StoredRecord) error {
	for _, scope := range was.Scopes {
		num, err := tx.mustScope(scope)
		if err != nil {
			return err
		}
		if num == k.scope {
			return tx.c.exec("DELETE FROM scope_index WHERE org = $1 AND scope = $2 AND seq = $3 AND record = $4",
				tx.org.num, k.scope, int64(was.Seq), k.record[:])
		}
	}
	return tx.c.exec("DELETE FROM scope_index WHERE org = $1 AND scope = $2 AND record = $3 AND live = 0", tx.org.num, k.scope, k.record[:])
}

func (tx *Tx) flushDigests() error {
	for k, e := range tx.digests {
		if !e.dirty {
			continue
		}
		e.dirty = false
		num, err := tx.mustScope(k)
		if err != nil {
			return err
		}
		err = tx.c.exec("INSERT INTO scope_digest (org, scope, sums) VALUES ($1, $2, $3) ON CONFLICT (org, scope) DO UPDATE SET sums = excluded.sums",
			tx.org.num, num, packDigest(&e.sums))
		if err != nil {
			return err
		}
	}
	return nil
}

// flushHead stores where the history stands, and the commits that led there.
func (tx *Tx) flushHead() error {
	if !tx.headDirty {
		return nil
	}
	tx.headDirty, tx.headWritten = false, true
	for _, h := range tx.commits {
		if err := tx.c.exec("INSERT INTO history (org, seq, hash) VALUES ($1, $2, $3)", tx.org.num, int64(h.Seq), h.Hash[:]); err != nil {
			return err
		}
	}
	tx.commits = nil
	h := tx.head
	return tx.c.exec("UPDATE org SET epoch = $1, seq = $2, hash = $3, recovering = $4 WHERE num = $5",
		h.Epoch[:], int64(h.Seq), h.Hash[:], boolArg(h.Recovering), tx.org.num)
}
