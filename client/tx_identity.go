package client

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// Holdings implements syncengine.DeviceTx. The hashes are of the bytes as they are
// read now.
func (t *tx) Holdings(bit uint8, first, last byte) (held []syncengine.Holding, err error) {
	if err := t.flushRecords(); err != nil {
		return nil, err
	}
	err = t.rows(`SELECT `+recordColumns+` FROM rec WHERE scopes & $1 <> 0 AND base_hash IS NOT NULL AND substr(id, 16, 1) BETWEEN $2 AND $3`,
		[]any{int64(uint64(1) << bit), []byte{first}, []byte{last}}, func(scan func(...any) error) error {
			_, r, err := scanRecord(scan)
			if err != nil {
				return err
			}
			base := &r.Record
			if r.Base != nil {
				base = r.Base
			}
			held = append(held, syncengine.Holding{Record: r.ID, Scopes: r.Scopes, Base: r.BaseHash, Hash: base.Hash()})
			return nil
		})
	return held, err
}

// wrote reports whether an encoded list of ids has one of records.
func wrote(list []byte, records map[syncengine.ID]bool) bool {
	return slices.ContainsFunc(decodeIDs(list), func(id syncengine.ID) bool { return records[id] })
}

// Forget implements syncengine.DeviceTx.
func (t *tx) Forget(records map[syncengine.ID]bool) (bytes, newest uint64, err error) {
	if err := t.flushOps(); err != nil {
		return 0, 0, err
	}
	var ops []uint64
	err = t.rows(`SELECT o.op, o.records, o.bytes FROM outbox_raw w JOIN outbox o ON o.op = w.op WHERE o.state = 3 ORDER BY o.op`, nil,
		func(scan func(...any) error) error {
			var op, size uint64
			var list []byte
			if err := scan(&op, &list, &size); err != nil {
				return err
			}
			if wrote(list, records) {
				ops, bytes, newest = append(ops, op), bytes+size, op
			}
			return nil
		})
	if err != nil {
		return 0, 0, err
	}
	for _, op := range ops {
		if e := t.ops[op]; e != nil {
			kept := *e.op
			kept.Raw = nil
			e.op, e.hadRaw = &kept, false
		}
		if err := t.exec(`DELETE FROM outbox_raw WHERE op = $1`, int64(op)); err != nil {
			return 0, 0, err
		}
	}
	var old []uint64
	err = t.rows(`SELECT n, records, length(raw) FROM retired WHERE raw IS NOT NULL AND state = 3`, nil, func(scan func(...any) error) error {
		var n, size uint64
		var list []byte
		if err := scan(&n, &list, &size); err != nil {
			return err
		}
		if wrote(list, records) {
			old, bytes = append(old, n), bytes+size
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for _, n := range old {
		if err := t.Reissued(n); err != nil {
			return 0, 0, err
		}
	}
	t.dropped = t.dropped || len(ops)+len(old) > 0
	return bytes, newest, nil
}

// Retire implements syncengine.DeviceTx.
func (t *tx) Retire(replica syncengine.ID) error {
	if err := t.flushOps(); err != nil {
		return err
	}
	err := t.exec(`INSERT INTO retired (replica, op, change, class, state, at, envelope, records, needs, outcome, raw)
		SELECT $1, o.op, o.change, o.class, o.state, o.at, o.envelope, o.records, o.needs, o.outcome, w.raw
		FROM outbox o LEFT JOIN outbox_raw w ON w.op = o.op ORDER BY o.op`, replica[:])
	if err != nil {
		return err
	}
	clear(t.ops)
	clear(t.writes)
	return errors.Join(t.exec(`DELETE FROM outbox`), t.exec(`DELETE FROM outbox_raw`), t.exec(`DELETE FROM outbox_write`))
}

// Retired implements syncengine.DeviceTx.
func (t *tx) Retired(after uint64, limit int) (old []*syncengine.Retired, err error) {
	err = t.rows(`SELECT n, replica, op, change, class, state, at, envelope, records, needs, outcome, raw FROM retired
		WHERE raw IS NOT NULL AND n > $1 ORDER BY n LIMIT +$2`, []any{int64(after), limit}, func(scan func(...any) error) error {
		r := &syncengine.Retired{}
		op, err := scanOp(func(into ...any) error {
			return scan(append([]any{&r.N, (*idColumn)(&r.Replica)}, into...)...)
		})
		if err != nil {
			return err
		}
		r.Op = *op
		old = append(old, r)
		return nil
	})
	return old, err
}

// Reissued implements syncengine.DeviceTx.
func (t *tx) Reissued(n uint64) error {
	return t.exec(`UPDATE retired SET raw = NULL WHERE n = $1`, int64(n))
}

// requeue writes what an own change that goes back into the queue needs, and the
// records that it may come to stand on again.
func (t *tx) requeue(op *syncengine.Op) error {
	if err := t.exec(`UPDATE outbox SET needs = $1 WHERE op = $2`, encodeNeeds(op.Needs), int64(op.Number)); err != nil {
		return err
	}
	for _, id := range op.Records {
		if known, ok := t.writes[id]; ok && !slices.Contains(known, op.Number) {
			t.writes[id] = append(known, op.Number)
		}
		if err := t.exec(insertWrite, id[:], int64(op.Number)); err != nil {
			return err
		}
	}
	return nil
}

func encodeNeeds(needs []uint64) (b []byte) {
	for _, n := range needs {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func encodeScopes(ids []syncengine.ScopeID) (b []byte) {
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func decodeScopes(b []byte) (ids []syncengine.ScopeID) {
	const size = len(syncengine.ScopeID{})
	for ; len(b) >= size; b = b[size:] {
		ids = append(ids, syncengine.ScopeID(b[:size]))
	}
	return ids
}
