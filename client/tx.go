package client

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// tx is one write transaction: what the engine sees of the store. Records are
// written when it ends, or when so many have gathered that memory asks for it, so
// that a record saved twice is written once and new ones go in together.
type tx struct {
	s   *store
	ctx context.Context //nolint:containedctx // A transaction lives within one call of write.
	// recs are the records read or saved here; dirty those to be written, in order.
	recs  map[syncengine.ID]*entry
	dirty []*entry
	// confirmed are records to be written without their bytes, places where they are.
	confirmed []confirmed
	places    map[syncengine.ID]int64
	// next is the next free rec.n, 0 while unknown.
	next int64
	// dropped: something has left the device, and must leave its files.
	dropped bool
	// known holds the own changes, the state and the scopes as the transaction sees
	// them; dirtyOps and stateDirty say what of them is to be written. settled are ops that
	// were settled. writes are the live ops on a record, where they are known.
	known

	dirtyOps   []*opEntry
	settled    []uint64
	stateDirty bool
	writes     map[syncengine.ID][]uint64
	// noneStaged: no row waits for the flip.
	noneStaged bool
	// captured is to be sealed after the commit; leaving are changes whose bytes leave
	// the store with it and are not sealed yet.
	captured captured
	leaving  []*syncengine.Op
	// failed is the fault of the storage that a statement met: SQLite may have rolled all of
	// the transaction back then, and a statement that followed would stand by itself.
	failed error
}

// flush writes what has gathered.
func (t *tx) flush() error {
	if err := t.flushRecords(); err != nil {
		return err
	}
	if err := t.flushOps(); err != nil {
		return err
	}
	if !t.stateDirty {
		return nil
	}
	t.stateDirty = false
	return t.writeState(t.state)
}

// relieve flushes and forgets where a transaction holds so much that memory asks
// for it.
func (t *tx) relieve() error {
	if len(t.recs) < maxEntries && len(t.ops) < maxOps {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	clear(t.recs)
	clear(t.ops)
	clear(t.writes)
	return nil
}

// remember is what the next transaction need not read: settled changes are not
// looked at again.
func (t *tx) remember() known {
	for _, number := range t.settled {
		if e := t.ops[number]; e != nil && e.op.State == syncengine.OpSettled {
			delete(t.ops, number)
		}
	}
	return t.known
}

var _ syncengine.DeviceTx = (*tx)(nil)

// stmt returns a prepared statement; none once the storage has failed.
func (t *tx) stmt(query string) (statement, error) {
	if t.failed != nil {
		return nil, t.failed
	}
	t.s.ran++
	st, err := t.s.stmt(t.ctx, query)
	return st, t.met(err)
}

// met passes an error on, and has nothing follow in a transaction in which the storage
// failed.
func (t *tx) met(err error) error {
	if failing(storeError("", err)) && t.failed == nil {
		t.failed = err
	}
	return err
}

func (t *tx) exec(query string, args ...any) error {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(t.ctx, args...)
	return t.met(err)
}

// row scans the only row; into stays as it is where there is none.
func (t *tx) row(query string, args []any, into ...any) error {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	err = st.QueryRowContext(t.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return t.met(err)
}

func (t *tx) rows(query string, args []any, each func(scan func(...any) error) error) error {
	st, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(t.ctx, args...)
	if err != nil {
		return t.met(err)
	}
	return t.met(eachRow(rows, each))
}

// eachRow calls each for every row and closes rows.
func eachRow(rows *sql.Rows, each func(scan func(...any) error) error) error {
	defer rows.Close()
	scan := rows.Scan
	for rows.Next() {
		if err := each(scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

const selectState = `SELECT org, replica, person, device, next_op, last_hash, known_op, staged,
	offset_ms, offset_known, contact_ms, forked, want, epoch, past, unconfirmed, recovering,
	repair_stage, repair_next, repair_tries, repair_found, repair_scopes, repair_from, verified_ms, kept_bytes, kept_from, oldest_kept, lost_ops, told_at FROM replica`

// State implements syncengine.DeviceTx.
func (t *tx) State() (*syncengine.DeviceState, error) {
	if t.state == nil {
		st, err := t.stmt(selectState)
		if err != nil {
			return nil, err
		}
		if t.state, err = scanState(st.QueryRowContext(t.ctx)); err != nil {
			t.state = nil
			return nil, t.met(err)
		}
	}
	state := *t.state
	return &state, nil
}

func scanState(row *sql.Row) (*syncengine.DeviceState, error) {
	st := &syncengine.DeviceState{}
	var want, past, scopes, toldAt []byte
	err := row.Scan((*idColumn)(&st.Org), (*idColumn)(&st.Replica), (*idColumn)(&st.Person), (*idColumn)(&st.Device),
		&st.NextOp, (*hashColumn)(&st.LastHash), &st.KnownOp, &st.Staged, &st.OffsetMS, &st.OffsetKnown, &st.LastContactMS, &st.Forked, &want,
		(*idColumn)(&st.Epoch), &past, &st.Unconfirmed, &st.Recovering, &st.Repair.Stage, &st.Repair.Next, &st.Repair.Tries, &st.Repair.Found, &scopes, &st.Repair.From,
		&st.VerifiedMS, &st.KeptBytes, &st.KeptFrom, &st.OldestKept, &st.LostOps, &toldAt)
	st.Want, st.Past, st.Repair.Scopes = decodeIDs(want), decodeIDs(past), decodeScopes(scopes)
	st.ToldAt = decodeBytes(toldAt)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotEnrolled
	}
	return st, err
}

// SaveState implements syncengine.DeviceTx.
func (t *tx) SaveState(st *syncengine.DeviceState) error {
	kept := *st
	t.state, t.stateDirty = &kept, true
	return nil
}

func (t *tx) writeState(st *syncengine.DeviceState) error {
	var epoch []byte
	if !st.Epoch.IsZero() {
		epoch = st.Epoch[:]
	}
	return t.exec(`INSERT INTO replica (one, org, replica, person, device, next_op, last_hash, known_op, staged,
			offset_ms, offset_known, contact_ms, forked, want, epoch, past, unconfirmed, recovering,
			repair_stage, repair_next, repair_tries, repair_found, repair_scopes, verified_ms, kept_bytes, kept_from, oldest_kept, lost_ops, repair_from, told_at)
		VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)
		ON CONFLICT (one) DO UPDATE SET org = $1, replica = $2, person = $3, device = $4, next_op = $5, last_hash = $6,
			known_op = $7, staged = $8, offset_ms = $9, offset_known = $10, contact_ms = $11, forked = $12, want = $13,
			epoch = $14, past = $15, unconfirmed = $16, recovering = $17, repair_stage = $18, repair_next = $19, repair_tries = $20,
			repair_found = $21, repair_scopes = $22, verified_ms = $23, kept_bytes = $24, kept_from = $25, oldest_kept = $26, lost_ops = $27,
			repair_from = $28, told_at = $29`,
		st.Org[:], st.Replica[:], st.Person[:], st.Device[:], int64(st.NextOp), st.LastHash[:], int64(st.KnownOp), st.Staged,
		st.OffsetMS, boolColumn(st.OffsetKnown), st.LastContactMS, boolColumn(st.Forked), encodeIDs(st.Want),
		epoch, encodeIDs(st.Past), boolColumn(st.Unconfirmed), boolColumn(st.Recovering), int64(st.Repair.Stage), int64(st.Repair.Next),
		int64(st.Repair.Tries), int64(st.Repair.Found), encodeScopes(st.Repair.Scopes), st.VerifiedMS,
		int64(st.KeptBytes), int64(st.KeptFrom), int64(st.OldestKept), int64(st.LostOps), st.Repair.From, encodeBytes(st.ToldAt))
}

const selectScopes = `SELECT bit, id, compartment, open, ready, position, sum, verified_ms FROM scope ORDER BY bit`

// Scopes implements syncengine.DeviceTx.
func (t *tx) Scopes() ([]syncengine.DeviceScope, error) {
	if t.scopes == nil {
		scopes := []syncengine.DeviceScope{}
		err := t.rows(selectScopes, nil, func(scan func(...any) error) error {
			sc, err := scanScope(scan)
			scopes = append(scopes, sc)
			return err
		})
		if err != nil {
			return nil, err
		}
		t.scopes = scopes
	}
	return slices.Clone(t.scopes), nil
}

func scanScope(scan func(...any) error) (sc syncengine.DeviceScope, err error) {
	var id, sum []byte
	var compartment int32
	if err := scan(&sc.Bit, &id, &compartment, &sc.Open, &sc.Ready, &sc.Position, &sum, &sc.VerifiedMS); err != nil {
		return sc, err
	}
	var ok bool
	sc.Sum, ok = syncengine.SumFromBytes(sum)
	if !ok || len(id) != len(sc.ID) {
		return sc, fmt.Errorf("a scope: %w", ErrDamaged)
	}
	sc.ID = syncengine.ScopeID(id)
	sc.Compartment = tandemv1.Compartment(compartment)
	return sc, nil
}

// SaveScope implements syncengine.DeviceTx.
func (t *tx) SaveScope(sc syncengine.DeviceScope) error {
	t.scopes = nil
	return t.exec(`INSERT INTO scope (bit, id, compartment, open, ready, position, sum, verified_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (bit) DO UPDATE SET id = $2, compartment = $3, open = $4, ready = $5, position = $6, sum = $7, verified_ms = $8`,
		int64(sc.Bit), sc.ID[:], int64(sc.Compartment), boolColumn(sc.Open), boolColumn(sc.Ready), sc.Position, sc.Sum.Bytes(), sc.VerifiedMS)
}

// DropScope implements syncengine.DeviceTx.
func (t *tx) DropScope(id syncengine.ScopeID) error {
	t.dropped = true
	t.scopes = nil
	return t.exec(`DELETE FROM scope WHERE id = $1`, id[:])
}

// meta returns a value of the meta table, nil where there is none.
func (t *tx) meta(key string) (value []byte, err error) {
	err = t.row(`SELECT value FROM meta WHERE key = $1`, []any{key}, &value)
	return value, err
}

func (t *tx) setMeta(key string, value []byte) error {
	return t.exec(`INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2`, key, value)
}

// idColumn scans a 16-byte id, no id from NULL.
type idColumn syncengine.ID

// Scan implements sql.Scanner.
func (c *idColumn) Scan(src any) error { return scanFixed(c[:], src) }

// hashColumn scans a SHA-256.
type hashColumn syncengine.Hash

// Scan implements sql.Scanner.
func (c *hashColumn) Scan(src any) error { return scanFixed(c[:], src) }

func scanFixed(into []byte, src any) error {
	b, ok := src.([]byte)
	if src != nil && (!ok || len(b) != len(into)) {
		return fmt.Errorf("a column of %d bytes: %w", len(into), ErrDamaged)
	}
	clear(into)
	copy(into, b)
	return nil
}

func boolColumn(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// blob keeps empty apart from NULL: a nil slice is an empty blob here.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// encodeIDs puts ids one after another; nil for none.
func encodeIDs(ids []syncengine.ID) []byte {
	var b []byte
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

// encodeBytes puts strings of at most 64 KiB one after another.
func encodeBytes(list [][]byte) (b []byte) {
	for _, s := range list {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

// decodeBytes is the inverse of encodeBytes.
func decodeBytes(b []byte) (list [][]byte) {
	for len(b) >= 2 {
		n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		list = append(list, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return list
}

// decodeIDs is the inverse of encodeIDs.
func decodeIDs(b []byte) (ids []syncengine.ID) {
	const size = len(syncengine.ID{})
	for ; len(b) >= size; b = b[size:] {
		ids = append(ids, syncengine.ID(b[:size]))
	}
	return ids
}
