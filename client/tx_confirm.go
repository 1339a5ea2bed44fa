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

// Standings are read of records that stand together, as those do that were made one
// after another, or one by one. What was made within one millisecond is in no order.
var (
	standingColumns = `SELECT n, id, scopes, pending, base_hash, hash FROM rec WHERE hash IS NOT NULL AND `
	selectNear      = standingColumns + `n >= (SELECT n - 16 FROM rec WHERE id = ?1)
		AND n <= min((SELECT n + 16 FROM rec WHERE id = ?2), (SELECT n FROM rec WHERE id = ?1) + ?3)`
	selectStandings = standingColumns + `id IN (?` + strings.Repeat(`, ?`, fetchMany-1) + `)`
)

// nearMany is how many that stand together are read at once.
const nearMany = 8 * fetchMany

// Standings implements syncengine.Confirmer: for records as the tables have them,
// that show what this device has made.
func (t *tx) Standings(ids []syncengine.ID) (map[syncengine.ID]syncengine.Standing, error) {
	standings := make(map[syncengine.ID]syncengine.Standing, len(ids))
	wanted := make([]syncengine.ID, 0, len(ids))
	for _, id := range ids {
		if t.recs[id] == nil {
			wanted = append(wanted, id)
		}
	}
	slices.SortFunc(wanted, syncengine.ID.Compare)
	row := newStandingScanner()
	for some := range slices.Chunk(wanted, nearMany) {
		note := func(scan func(...any) error) error {
			id, n, st, err := row.standing(scan)
			if _, asked := slices.BinarySearchFunc(some, id, syncengine.ID.Compare); asked && err == nil {
				standings[id], t.places[id] = st, n
			}
			return err
		}
		before := len(standings)
		if err := t.rows(selectNear, []any{some[0][:], some[len(some)-1][:], int64(2*len(some) + 16)}, note); err != nil {
			return nil, err
		}
		if len(standings) == before+len(some) {
			continue
		}
		var left []any
		for i := range some {
			if _, told := standings[some[i]]; !told {
				left = append(left, some[i][:])
			}
		}
		for part := range slices.Chunk(left, fetchMany) {
			if err := t.rows(selectStandings, append(part, make([]any, fetchMany-len(part))...), note); err != nil {
				return nil, err
			}
		}
	}
	return standings, nil
}

// standingScanner reads rows of standingColumns, one after another.
type standingScanner struct {
	n, scopes, pending, shown int64
	id                        idColumn
	base                      any
	into                      []any
}

func newStandingScanner() *standingScanner {
	s := &standingScanner{}
	s.into = []any{&s.n, &s.id, &s.scopes, &s.pending, &s.base, &s.shown}
	return s
}

func (s *standingScanner) standing(scan func(...any) error) (id syncengine.ID, n int64, st syncengine.Standing, err error) {
	if err := scan(s.into...); err != nil {
		return id, 0, st, err
	}
	st = syncengine.Standing{Scopes: uint64(s.scopes), Pending: int(s.pending), Shown: syncengine.RowHash(s.shown)}
	if base, ok := s.base.(int64); ok {
		st.HasBase, st.BaseHash = true, syncengine.RowHash(base)
	}
	return syncengine.ID(s.id), s.n, st, nil
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
