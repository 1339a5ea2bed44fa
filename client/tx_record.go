package client

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

// entry is a record within one transaction.
type entry struct {
	id syncengine.ID
	// n is its row, 0 where it has none yet.
	n int64
	// old is what the table holds, cur what the transaction sees; nil for nothing.
	old, cur *syncengine.DeviceRecord
	dirty    bool
}

// Bounds of what a transaction keeps in memory, and of its multi-row statements.
const (
	maxEntries = 2048
	maxOps     = 8192
	fetchMany  = 64
	insertMany = 25
)

const recordColumns = `n, id, kind, scopes, pending, conflicts, base_hash, body, stamps, base_body, base_stamps`

// scanRecord reads recordColumns.
func scanRecord(scan func(...any) error) (n int64, r *syncengine.DeviceRecord, err error) {
	r = &syncengine.DeviceRecord{}
	var scopes int64
	var hash *int64
	var baseBody, baseStamps []byte
	if err := scan(&n, (*idColumn)(&r.ID), &r.Kind, &scopes, &r.Pending, &r.Conflicts, &hash, &r.Body, &r.Stamps, &baseBody, &baseStamps); err != nil {
		return 0, nil, err
	}
	r.Scopes = uint64(scopes)
	if hash != nil {
		r.HasBase, r.BaseHash = true, syncengine.RowHash(*hash)
	}
	if baseBody != nil {
		r.Base = &syncengine.Record{ID: r.ID, Kind: r.Kind, Body: baseBody, Stamps: baseStamps}
	}
	return n, r, nil
}

var (
	selectRecord  = `SELECT ` + recordColumns + ` FROM rec WHERE id = $1`
	selectRecords = `SELECT ` + recordColumns + ` FROM rec WHERE id IN (?` + strings.Repeat(`, ?`, fetchMany-1) + `)`
)

// Prefetch implements syncengine.DeviceTx.
func (t *tx) Prefetch(records []syncengine.ID) error {
	if err := t.flushConfirmed(); err != nil {
		return err
	}
	if err := t.prefetchWrites(records); err != nil {
		return err
	}
	var ids []syncengine.ID
	for _, id := range records {
		if t.recs[id] == nil {
			t.recs[id] = &entry{id: id}
			ids = append(ids, id)
		}
	}
	if none, err := t.noneBetween(`SELECT 1 FROM rec WHERE id BETWEEN $1 AND $2 LIMIT 1`, ids); none || err != nil {
		return err
	}
	args := make([]any, fetchMany)
	for len(ids) > 0 {
		some := ids[:min(fetchMany, len(ids))]
		ids = ids[len(some):]
		clear(args)
		for i, id := range some {
			args[i] = id[:]
		}
		err := t.rows(selectRecords, args, func(scan func(...any) error) error {
			n, r, err := scanRecord(scan)
			if err != nil {
				return err
			}
			e := t.recs[r.ID]
			e.n, e.old, e.cur = n, r, r
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noneBetween asks once whether a table has anything between the least and the
// greatest of ids. Ids of records made one after another are neighbours, so that a
// page of new ones needs no look-up of each.
func (t *tx) noneBetween(query string, ids []syncengine.ID) (none bool, err error) {
	if len(ids) == 0 {
		return true, nil
	}
	least, greatest := slices.MinFunc(ids, syncengine.ID.Compare), slices.MaxFunc(ids, syncengine.ID.Compare)
	var found int
	err = t.row(query, []any{least[:], greatest[:]}, &found)
	return found == 0, err
}

// load returns the entry of a record.
func (t *tx) load(id syncengine.ID) (*entry, error) {
	if e := t.recs[id]; e != nil {
		return e, nil
	}
	if err := t.flushConfirmed(); err != nil {
		return nil, err
	}
	e := &entry{id: id}
	err := t.rows(selectRecord, []any{id[:]}, func(scan func(...any) error) error {
		n, r, err := scanRecord(scan)
		e.n, e.old, e.cur = n, r, r
		return err
	})
	if err != nil {
		return nil, err
	}
	t.recs[id] = e
	return e, nil
}

// Record implements syncengine.DeviceTx.
func (t *tx) Record(id syncengine.ID) (*syncengine.DeviceRecord, error) {
	e, err := t.load(id)
	if err != nil || e.cur == nil {
		return nil, err
	}
	r := *e.cur
	return &r, nil
}

// SaveRecord implements syncengine.DeviceTx.
func (t *tx) SaveRecord(r *syncengine.DeviceRecord) error {
	e, err := t.load(r.ID)
	if err != nil {
		return err
	}
	kept := *r
	// Its state at the server may have to leave the device under own changes.
	t.dropped = t.dropped || e.cur != nil && e.cur.HasBase && !r.HasBase
	e.cur = &kept
	return t.mark(e)
}

// DropRecord implements syncengine.DeviceTx.
func (t *tx) DropRecord(id syncengine.ID) error {
	e, err := t.load(id)
	if err != nil {
		return err
	}
	t.dropped = t.dropped || e.n != 0
	e.cur = nil
	return t.mark(e)
}

// mark notes that an entry is to be written.
func (t *tx) mark(e *entry) error {
	if !e.dirty {
		e.dirty = true
		t.dirty = append(t.dirty, e)
	}
	return t.relieve()
}

// flushRecords writes the dirty records.
func (t *tx) flushRecords() error {
	if err := t.flushConfirmed(); err != nil {
		return err
	}
	var fresh, light []*entry
	for _, e := range t.dirty {
		e.dirty = false
		switch {
		case e.cur == nil && e.n == 0:
		case e.cur == nil:
			if err := t.deleteRecord(e); err != nil {
				return err
			}
		case e.n == 0:
			fresh = append(fresh, e)
		case e.sameBody():
			light = append(light, e)
		default:
			if err := t.updateRecord(e); err != nil {
				return err
			}
		}
	}
	t.dirty = t.dirty[:0]
	if err := t.updateLight(light); err != nil {
		return err
	}
	return t.insertRecords(fresh)
}

// sameBody reports whether only what stands beside the body has changed.
func (e *entry) sameBody() bool {
	return e.cur.Base == nil && e.old.Base == nil && bytes.Equal(e.cur.Body, e.old.Body) && bytes.Equal(e.cur.Stamps, e.old.Stamps)
}

const lightUpdate = ` UPDATE rec SET scopes = v.scopes, pending = v.pending, conflicts = v.conflicts, base_hash = v.base_hash, hash = v.hash FROM v WHERE rec.n = v.n`

var updateLight, updateManyLight = lightValues(1) + lightUpdate, lightValues(insertMany) + lightUpdate

func lightValues(rows int) string {
	return `WITH v (n, scopes, pending, conflicts, base_hash, hash) AS (VALUES (?, ?, ?, ?, ?, ?)` + strings.Repeat(`, (?, ?, ?, ?, ?, ?)`, rows-1) + `)`
}

// updateLight writes what stands beside the bodies of records.
func (t *tx) updateLight(light []*entry) error {
	args := make([]any, 0, 6*insertMany)
	for len(light) > 0 {
		some, query := light[:1], updateLight
		if len(light) >= insertMany {
			some, query = light[:insertMany], updateManyLight
		}
		light = light[len(some):]
		args = args[:0]
		for _, e := range some {
			e.old = e.cur
			args = append(args, e.n, int64(e.cur.Scopes), int64(e.cur.Pending), int64(e.cur.Conflicts), baseHash(e.cur), shownHash(e.cur))
		}
		if err := t.exec(query, args...); err != nil {
			return err
		}
	}
	return nil
}

var (
	insertRecord      = insertInto("rec", recordInsert, 1)
	insertManyRecords = insertInto("rec", recordInsert, insertMany)
	recordInsert      = []string{
		"n", "id", "kind", "scopes", "pending", "conflicts", "base_hash", "hash", "at", "lifecycle", "incident", "person", "parent",
		"number", "cad_number", "body", "stamps", "base_body", "base_stamps",
	}
	// What comes in a page has nothing of this device on top, nor beside it: what is
	// the same in every such row costs as much to bind as what is not.
	insertManyPlain = strings.ReplaceAll(insertInto("rec", append([]string{"pending", "conflicts"}, plainInsert...), insertMany), "(?, ?, ", "(0, 0, ")
	plainInsert     = []string{
		"n", "id", "kind", "scopes", "base_hash", "at", "lifecycle", "incident", "person", "parent", "number", "cad_number", "body", "stamps",
	}
)

// insertInto is an insert of several rows. OR FAIL: a statement that fails leaves its
// first rows standing, which does no harm, because the transaction is rolled back, and
// it spares SQLite a copy of every page that the statement touches.
func insertInto(table string, columns []string, rows int) string {
	one := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
	return "INSERT OR FAIL INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + one + strings.Repeat(", "+one, rows-1)
}

// ownOrBeside reports whether a record has own changes on top, alternatives, or another
// state at the server.
func (e *entry) ownOrBeside() bool {
	return e.cur.Pending != 0 || e.cur.Conflicts != 0 || e.cur.Base != nil
}

func (t *tx) insertRecords(fresh []*entry) error {
	if len(fresh) == 0 {
		return nil
	}
	if t.next == 0 {
		if err := t.row(`SELECT coalesce(max(n), 0) + 1 FROM rec`, nil, &t.next); err != nil {
			return err
		}
	}
	args := make([]any, 0, insertMany*len(recordInsert))
	for len(fresh) > 0 {
		some, query, plain := fresh[:1], insertRecord, false
		if len(fresh) >= insertMany {
			some, query = fresh[:insertMany], insertManyRecords
			if plain = !slices.ContainsFunc(some, (*entry).ownOrBeside); plain {
				query = insertManyPlain
			}
		}
		fresh = fresh[len(some):]
		args = args[:0]
		for _, e := range some {
			e.n, e.old = t.next, e.cur
			t.next++
			p, err := t.s.cols.promote(&e.cur.Record)
			if err != nil {
				return err
			}
			if p.words != "" {
				if err := t.exec(`INSERT INTO name (rowid, words) VALUES ($1, $2)`, e.n, p.words); err != nil {
					return err
				}
			}
			r := e.cur
			if plain {
				args = append(args, e.n, r.ID[:], int64(r.Kind), int64(r.Scopes), baseHash(r),
					p.at, p.lifecycle, p.incident, p.person, p.parent, p.number, p.cadNumber, blob(r.Body), blob(r.Stamps))
				continue
			}
			baseBody, baseStamps := baseOf(r)
			args = append(args, e.n, r.ID[:], int64(r.Kind), int64(r.Scopes), int64(r.Pending), int64(r.Conflicts), baseHash(r), shownHash(r),
				p.at, p.lifecycle, p.incident, p.person, p.parent, p.number, p.cadNumber, blob(r.Body), blob(r.Stamps), baseBody, baseStamps)
		}
		if err := t.exec(query, args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) updateRecord(e *entry) error {
	r, old := e.cur, e.old
	p, err := t.s.cols.promote(&r.Record)
	if err != nil {
		return err
	}
	before, err := t.s.cols.words(&old.Record)
	if err != nil {
		return err
	}
	if before != p.words {
		if err := t.exec(`DELETE FROM name WHERE rowid = $1`, e.n); err != nil {
			return err
		}
		if p.words != "" {
			if err := t.exec(`INSERT INTO name (rowid, words) VALUES ($1, $2)`, e.n, p.words); err != nil {
				return err
			}
		}
	}
	e.old = r
	baseBody, baseStamps := baseOf(r)
	return t.exec(`UPDATE rec SET kind = $2, scopes = $3, pending = $4, conflicts = $5, base_hash = $6, at = $7, lifecycle = $8,
			incident = $9, person = $10, parent = $11, number = $12, cad_number = $13,
			body = $14, stamps = $15, base_body = $16, base_stamps = $17, hash = $18 WHERE n = $1`,
		e.n, int64(r.Kind), int64(r.Scopes), int64(r.Pending), int64(r.Conflicts), baseHash(r), p.at, p.lifecycle,
		p.incident, p.person, p.parent, p.number, p.cadNumber, blob(r.Body), blob(r.Stamps), baseBody, baseStamps, shownHash(r))
}

func (t *tx) deleteRecord(e *entry) error {
	if err := t.exec(`DELETE FROM name WHERE rowid = $1`, e.n); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM rec WHERE n = $1`, e.n); err != nil {
		return err
	}
	if e.old != nil && e.old.Kind == attachmentKind {
		if err := t.purgeFile(e.old.ID); err != nil {
			return err
		}
	}
	e.n, e.old = 0, nil
	return nil
}

func baseHash(r *syncengine.DeviceRecord) any {
	if !r.HasBase {
		return nil
	}
	return int64(r.BaseHash)
}

// shownHash is the column hash: see the schema.
func shownHash(r *syncengine.DeviceRecord) any {
	if r.Pending == 0 || r.Base != nil {
		return nil
	}
	return int64(r.Hash())
}

func baseOf(r *syncengine.DeviceRecord) (body, stamps []byte) {
	if r.Base == nil {
		return nil, nil
	}
	return blob(r.Base.Body), blob(r.Base.Stamps)
}

// InScope implements syncengine.DeviceTx.
func (t *tx) InScope(bit uint8, after syncengine.ID, limit int) (ids []syncengine.ID, err error) {
	if bit > 63 {
		return nil, fmt.Errorf("scope bit %d: there are 64", bit)
	}
	if err := t.flush(); err != nil {
		return nil, err
	}
	err = t.rows(`SELECT id FROM rec WHERE scopes & $1 <> 0 AND id > $2 ORDER BY id LIMIT +$3`,
		[]any{int64(uint64(1) << bit), after[:], limit}, func(scan func(...any) error) error {
			var id syncengine.ID
			err := scan((*idColumn)(&id))
			ids = append(ids, id)
			return err
		})
	return ids, err
}
