package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
)

// Rows come out as they went in, whichever columns they share with their neighbours.
func TestInsertAlike(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "data"), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var want, got []string
	err = s.raw(t.Context(), func(c *conn) error {
		tx := &Tx{view: view{s: s, c: c}}
		if err := c.exec("CREATE TABLE t (a, b, c, d)"); err != nil {
			return err
		}
		var args []any
		n := 0
		add := func(rows int, a, b any) {
			id := func() any { return []byte{byte(n)} }
			for range rows {
				n++
				args = append(args, a, b, int64(n), id())
				want = append(want, fmt.Sprint(a, b, n, id()))
			}
		}
		// Long runs of rows that are alike, short ones between them, and at both ends.
		add(1, int64(1), nil)
		add(200, int64(1), []byte{1, 2})
		for i := range 30 {
			add(1, int64(i), []byte{})
		}
		add(9, nil, nil)
		add(8, "text", int64(3))
		add(7, "text", int64(4))
		add(64, int64(2), []byte{1})
		add(3, int64(2), nil)
		if err := tx.insert("t (a, b, c, d)", "", 2, 4, args); err != nil {
			return err
		}
		rows, err := c.c.QueryContext(c.ctx, "SELECT a, b, c, d FROM t ORDER BY rowid")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var a, b, n, d any
			if err := rows.Scan(&a, &b, &n, &d); err != nil {
				return err
			}
			got = append(got, fmt.Sprint(a, b, n, d))
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d rows\n%v\nwant %d\n%v", len(got), got, len(want), want)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	numbered := dialect{insert: "INSERT INTO "}
	for _, tc := range []struct {
		d      *dialect
		shared int
		want   string
	}{
		{&sqliteDialect, 0, "INSERT OR FAIL INTO t VALUES (?,?,?),(?,?,?)"},
		{&sqliteDialect, 2, "INSERT OR FAIL INTO t VALUES (?1,?2,?),(?1,?2,?)"},
		{&numbered, 0, "INSERT INTO t VALUES ($1,$2,$3),($4,$5,$6)"},
		{&numbered, 1, "INSERT INTO t VALUES ($1,$2,$3),($1,$4,$5)"},
	} {
		if got := tc.d.values("t", 2, tc.shared, 3, ""); got != tc.want {
			t.Errorf("%d shared: got %s, want %s", tc.shared, got, tc.want)
		}
	}
}

// What may be there is looked for, and what cannot be is not.
func TestNear(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "data"), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const probe = "SELECT 1 FROM follower WHERE org = $1 AND record BETWEEN $2 AND $3 LIMIT 1"
	id := func(n int) syncengine.ID { return syncengine.ID{0: byte(n >> 8), 1: byte(n), 15: 1} }
	ids := func(from, to int) (ids []syncengine.ID) {
		for n := from; n < to; n++ {
			ids = append(ids, id(n))
		}
		return ids
	}
	err = s.raw(t.Context(), func(c *conn) error {
		for _, n := range []int{70, 300} {
			known := id(n)
			if err := c.exec("INSERT INTO follower (org, record, team) VALUES (7, $1, x'01')", known[:]); err != nil {
				return err
			}
		}
		v := &view{s: s, c: c, org: &Org{num: 7}}
		for _, tc := range []struct{ ids, want []syncengine.ID }{
			{ids(0, 64), nil}, {ids(100, 290), nil}, {ids(0, 2*nearby), ids(nearby, 2*nearby)}, {ids(300, 303), ids(300, 303)},
			{append(ids(290, 310), ids(20, 20+nearby)...), append(ids(20, 20+nearby), ids(290, 310)...)},
		} {
			got, err := v.near(probe, tc.ids)
			if err != nil {
				return err
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%d from %v: got %d, want %d", len(tc.ids), tc.ids[0], len(got), len(tc.want))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
