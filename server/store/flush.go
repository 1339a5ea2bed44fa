package store

import (
	"bytes"
	"cmp"
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

// insert writes rows of width columns with as few statements as there are sizes. The
// first alike columns are most often the same in rows that follow each other: of those
// a statement gets one value for all its rows, since to bind a value costs a good part
// of what it costs to store it.
func (tx *Tx) insert(into, tail string, alike, width int, args []any) error {
	if tx.s.dialect.batches == nil {
		return tx.c.insertColumns(tx.s.remote.columns, into, tail, width, args)
	}
	least := tx.s.dialect.batches[1]
	for len(args) > 0 {
		rows, shared := rowsAlike(args, alike, width), alike
		if rows < least {
			for shared = 0; rows*width < len(args); {
				next := rowsAlike(args[rows*width:], alike, width)
				if next >= least {
					break
				}
				rows += next
			}
		}
		if err := tx.insertRows(into, tail, shared, width, args[:rows*width]); err != nil {
			return err
		}
		args = args[rows*width:]
	}
	return nil
}

// rowsAlike returns how many rows begin with the same values as the first.
func rowsAlike(args []any, alike, width int) int {
	rows := 1
	for rows*width < len(args) && slices.EqualFunc(args[:alike], args[rows*width:rows*width+alike], equalArg) {
		rows++
	}
	return rows
}

// insertRows is insert of rows whose first shared columns are the same.
func (tx *Tx) insertRows(into, tail string, shared, width int, args []any) error {
	rows := len(args) / width
	var bound []any
	for _, size := range tx.s.dialect.batches {
		text := ""
		for ; rows >= size; rows -= size {
			if text == "" {
				text = tx.s.dialect.values(into, size, shared, width, tail)
			}
			some := args[:size*width]
			if shared > 0 {
				bound = append(bound[:0], args[:shared]...)
				for at := 0; at < len(some); at += width {
					bound = append(bound, some[at+shared:at+width]...)
				}
				some = bound
			}
			if err := tx.c.exec(text, some...); err != nil {
				return err
			}
			args = args[size*width:]
		}
	}
	return nil
}

func equalArg(a, b any) bool {
	x, ok := a.([]byte)
	y, also := b.([]byte)
	if ok || also {
		return ok && also && bytes.Equal(x, y)
	}
	return a == b
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
	return tx.insert(`change (org, replica, verdict, refusal, received_ms, prev, author, device, fields,
		op, stamp, seq, at_ms, id, body_hash, envelope, holes, body, corrected_ms, uncertainty_ms)`, "", 9, width, args)
}

// changeArgs returns the columns of a new entry.
func (tx *Tx) changeArgs(c *syncengine.StoredChange, made []*recordEntry) (row [20]any, err error) {
	const replica, prev, author, device, op, envelope, gaps, body = 1, 5, 6, 7, 9, 15, 16, 17
	row = [20]any{
		tx.org.num, nil, int64(c.Outcome.GetCode()), int64(c.Outcome.GetRefusal()), c.ReceivedMS, nil, nil, nil, fieldsArg(c),
		nil, int64(syncengine.StampOf(c.ID)), int64(c.Seq), c.AtMS, c.ID[:], c.BodyHash[:], nil, nil, bytesArg(c.Body), c.CorrectedMS, c.UncertaintyMS,
	}
	row[author], row[device] = c.Author[:], c.Device[:]
	if !c.Replica.IsZero() {
		r, err := tx.replicaByID(c.Replica)
		if err != nil {
			return row, err
		}
		if r == nil {
			return row, syncengine.ErrUnknownReplica
		}
		row[replica], row[op], row[envelope] = r.num, int64(c.Op), c.Envelope[:]
		before := tx.log.ops[opKey{c.Replica, c.Op - 1}]
		if c.Op > 1 && (before == nil || before.again || before.c.Envelope != c.Prev) {
			row[prev] = c.Prev[:]
		}
		if c.Author == r.person {
			row[author] = nil
		}
		if c.Device == r.device {
			row[device] = nil
		}
	}
	rest, holes, fillers := cut(c.Body, made)
	if len(fillers) > 0 {
		row[gaps], row[body] = holes, bytesArg(rest)
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
	const width = 15
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
	const head = `record (org, kind, plain, shared, run_replica, run_base, scopes, touches, co_authors, seq, hash, touch_base, id, stamps, body)`
	const alike = 9
	if err := tx.insert(head, "", alike, width, fresh); err != nil {
		return err
	}
	return tx.insert(head, ` ON CONFLICT (org, id) DO UPDATE SET kind = excluded.kind, seq = excluded.seq, hash = excluded.hash,
		plain = excluded.plain, shared = excluded.shared, run_replica = excluded.run_replica, run_base = excluded.run_base,
		touch_base = excluded.touch_base, scopes = excluded.scopes, touches = excluded.touches,
		co_authors = excluded.co_authors, stamps = excluded.stamps,
		body = excluded.body`, alike, width, known)
}

func (tx *Tx) recordArgs(e *recordEntry) (row [15]any, err error) {
	rec := e.rec
	nums := make([]int64, 0, 4)
	for _, k := range rec.Scopes {
		num, err := tx.mustScope(k)
		if err != nil {
			return row, err
		}
		nums = append(nums, num)
	}
	row = [15]any{
		tx.org.num, int64(rec.Kind), boolArg(rec.Plain), boolArg(e.shared), nil, int64(rec.RunBase), bytesArg(packNumbers(nums)),
		bytesArg(packTouches(rec.Touches)), bytesArg(joinIDs(rec.CoAuthors)), int64(rec.Seq), int64(rec.Hash), int64(rec.TouchBase), rec.ID[:],
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
		row[4] = r.num
	}
	return row, nil
}

// flushMembers writes the scope index, in its own order. It comes before the records:
// where they stand in the database tells where their rows of the index are.
func (tx *Tx) flushMembers() error {
	if len(tx.members) == 0 {
		return nil
	}
	type member struct {
		memberKey
		syncengine.Member
	}
	members := make([]member, 0, len(tx.members))
	for k, m := range tx.members {
		members = append(members, member{k, m})
	}
	slices.SortFunc(members, func(a, b member) int {
		if c := cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.Seq, b.Seq)); c != 0 {
			return c
		}
		return a.record.Compare(b.record)
	})
	const width = 5
	rows := make([]any, 0, width*len(members))
	for i := range members {
		k, m := members[i].memberKey, &members[i].Member
		e, err := tx.record(k.record)
		if err != nil {
			return err
		}
		if e.was != nil {
			if err := tx.removeMember(k, e.was); err != nil {
				return err
			}
		}
		rows = append(rows, tx.org.num, k.scope, boolArg(m.Live), int64(m.Seq), m.Record[:])
	}
	clear(tx.members)
	return tx.insert("scope_index (org, scope, live, seq, record)", "", 3, width, rows)
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
