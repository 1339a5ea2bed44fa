package client

import (
	"slices"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

var _ syncengine.Confirmer = (*tx)(nil)

// confirmed is a record whose shown state has become the server's.
type confirmed struct {
	n      int64
	scopes uint64
}

var selectStandings = `SELECT n, id, scopes, pending, base_hash, hash FROM rec
	WHERE hash IS NOT NULL AND id IN (?` + strings.Repeat(`, ?`, fetchMany-1) + `)`

// Standings implements syncengine.Confirmer: for records as the tables have them,
// that show what this device has made.
func (t *tx) Standings(ids []syncengine.ID) (map[syncengine.ID]syncengine.Standing, error) {
	standings := make(map[syncengine.ID]syncengine.Standing, len(ids))
	args := make([]any, fetchMany)
	for some := range slices.Chunk(ids, fetchMany) {
		clear(args)
		for i := range some {
			if t.recs[some[i]] == nil {
				args[i] = some[i][:]
			}
		}
		err := t.rows(selectStandings, args, func(scan func(...any) error) error {
			var id syncengine.ID
			var st syncengine.Standing
			var n, scopes, shown int64
			var base *int64
			if err := scan(&n, (*idColumn)(&id), &scopes, &st.Pending, &base, &shown); err != nil {
				return err
			}
			st.Scopes, st.Shown = uint64(scopes), syncengine.RowHash(shown)
			if base != nil {
				st.HasBase, st.BaseHash = true, syncengine.RowHash(*base)
			}
			standings[id], t.places[id] = st, n
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return standings, nil
}

// Confirm implements syncengine.Confirmer.
func (t *tx) Confirm(id syncengine.ID, scopes uint64) error {
	t.confirmed = append(t.confirmed, confirmed{n: t.places[id], scopes: scopes})
	return nil
}

// OR FAIL: see insertInto.
const updateConfirmed = `UPDATE OR FAIL rec SET scopes = ?, pending = 0, base_hash = hash, hash = NULL WHERE n BETWEEN ? AND ?`

// flushConfirmed writes confirmed records, neighbours with one statement.
func (t *tx) flushConfirmed() error {
	slices.SortFunc(t.confirmed, func(a, b confirmed) int { return int(a.n - b.n) })
	for i := 0; i < len(t.confirmed); {
		first, last := t.confirmed[i], t.confirmed[i]
		for i++; i < len(t.confirmed) && t.confirmed[i].n == last.n+1 && t.confirmed[i].scopes == first.scopes; i++ {
			last = t.confirmed[i]
		}
		if err := t.exec(updateConfirmed, int64(first.scopes), first.n, last.n); err != nil {
			return err
		}
	}
	t.confirmed = t.confirmed[:0]
	return nil
}
