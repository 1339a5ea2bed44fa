package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// Witness is a record as a device last had it, from a history that this one has lost
// part of.
type Witness struct {
	syncengine.Record
	// Hash is the row hash.
	Hash syncengine.RowHash
	// Replica that kept it.
	Replica syncengine.ID
	// TakenMS is when it came.
	TakenMS int64
}

// stampsOf returns the stamps that a record names, nil where it cannot be read.
func stampsOf(rec *syncengine.Record) []syncengine.Stamp {
	s, err := syncengine.Decode(rec)
	if err != nil {
		return nil
	}
	stamps := []syncengine.Stamp{s.Created}
	for i := range s.Paths {
		for _, h := range s.Paths[i].Heads {
			stamps = append(stamps, h.Stamp)
		}
	}
	slices.Sort(stamps)
	return slices.Compact(stamps)
}

// told reports whether the change log has every stamp of a record: then the record
// says nothing that is not there already.
func (v *view) told(rec *syncengine.Record) (bool, error) {
	stamps := stampsOf(rec)
	if len(stamps) == 0 {
		return false, nil
	}
	found := map[int64]bool{}
	keys := make([]any, 0, len(stamps))
	for _, s := range stamps {
		keys = append(keys, int64(s))
	}
	err := v.c.eachIn(v.s.dialect, "SELECT stamp FROM change WHERE org = $1 AND stamp IN", []any{v.org.num}, keys, " GROUP BY stamp", func(rows *sql.Rows) error {
		var s int64
		err := rows.Scan(&s)
		found[s] = true
		return err
	})
	return len(found) == len(stamps), err
}

// KeepsWitness reports whether a witness of a replica is kept, open or closed.
func (tx *Tx) KeepsWitness(replica, record syncengine.ID, row syncengine.RowHash) (bool, error) {
	r, err := tx.replicaByID(replica)
	if err != nil || r == nil {
		return false, err
	}
	var one int
	return tx.c.one("SELECT 1 FROM witness WHERE org = $1 AND record = $2 AND hash = $3 AND replica = $4", []any{tx.org.num, record[:], int64(row), r.num}, &one)
}

// SaveWitness keeps a witness: closed at once where the change log has all of its
// stamps, else open for a lead.
func (tx *Tx) SaveWitness(w *Witness) error {
	if err := tx.flush(); err != nil {
		return err
	}
	r, err := tx.replicaByID(w.Replica)
	if err != nil {
		return err
	}
	if r == nil {
		return syncengine.ErrUnknownReplica
	}
	told, err := tx.told(&w.Record)
	if err != nil {
		return err
	}
	if !told {
		// Of what was erased by law nobody is a witness.
		if told, err = tx.Erased(w.ID); err != nil {
			return err
		}
	}
	tx.writes++
	var closed, stamps, body any
	if told {
		closed = w.TakenMS
	} else {
		stamps, body = bytesArg(w.Stamps), bytesArg(w.Body)
	}
	return tx.c.exec(`INSERT INTO witness (org, record, hash, kind, replica, taken_ms, closed_ms, stamps, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		tx.org.num, w.ID[:], int64(w.Hash), int64(w.Kind), r.num, w.TakenMS, closed, stamps, body)
}

// Witnesses returns the open witnesses, oldest first. Those whose stamps have all
// come into the change log since are closed first.
func (s *Store) Witnesses(ctx context.Context, org syncengine.ID) ([]*Witness, error) {
	var open []*Witness
	err := s.Write(ctx, org, 0, func(tx *Tx) error {
		open = nil
		all, err := tx.openWitnesses()
		if err != nil {
			return err
		}
		for _, w := range all {
			told, err := tx.told(&w.Record)
			if err != nil {
				return err
			}
			if !told {
				open = append(open, w)
				continue
			}
			if err := tx.CloseWitness(w.ID, w.Hash); err != nil {
				return err
			}
		}
		return nil
	})
	return open, err
}

func (tx *Tx) openWitnesses() (all []*Witness, err error) {
	var nums []int64
	err = tx.c.each(`SELECT record, hash, kind, replica, taken_ms, stamps, body FROM witness
		WHERE org = $1 AND closed_ms IS NULL ORDER BY taken_ms, record, hash`, []any{tx.org.num}, func(rows *sql.Rows) error {
		w := &Witness{}
		var hash, kind, num int64
		if err := rows.Scan((*scanID)(&w.ID), &hash, &kind, &num, &w.TakenMS, &w.Stamps, &w.Body); err != nil {
			return err
		}
		w.Hash, w.Kind = syncengine.RowHash(hash), uint32(kind)
		all, nums = append(all, w), append(nums, num)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, w := range all {
		r, err := tx.replicaByNum(nums[i])
		if err != nil {
			return nil, err
		}
		w.Replica = r.id
	}
	return all, nil
}

// CloseWitness closes a witness: a lead has settled it, or all of it is known. Its
// bytes go.
func (tx *Tx) CloseWitness(record syncengine.ID, row syncengine.RowHash) error {
	tx.writes++
	return tx.c.exec("UPDATE witness SET closed_ms = $1, stamps = NULL, body = NULL WHERE org = $2 AND record = $3 AND hash = $4 AND closed_ms IS NULL",
		tx.s.now().UnixMilli(), tx.org.num, record[:], int64(row))
}
