package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of what a move has in memory, and sends at once.
const (
	moveRows  = 512
	moveBytes = 4 << 20
)

// layout is the tables with their columns that are moved, the same on both sides.
type layout struct {
	tables  []string
	columns map[string][]string
}

// readLayout reads the tables of both sides, which must be the same. The security
// journal goes another way.
func (m *mover) readLayout(ctx context.Context) error {
	var both [2]map[string][]string
	for i, s := range []*Store{m.from, m.to} {
		found := map[string][]string{}
		err := s.snapshot(ctx, noOrg, func(c *conn) error {
			return c.each(s.dialect.layout, nil, func(rows *sql.Rows) error {
				var table, column string
				err := rows.Scan(&table, &column)
				found[table] = append(found[table], column)
				return err
			})
		})
		if err != nil {
			return err
		}
		delete(found, "journal")
		for _, columns := range found {
			slices.Sort(columns)
		}
		both[i] = found
	}
	if !maps.EqualFunc(both[0], both[1], slices.Equal) {
		return ErrMoveLayout
	}
	m.tables, m.columns = slices.Sorted(maps.Keys(both[0])), both[0]
	return nil
}

// keyOf is the column that holds the org's number.
func keyOf(table string) string {
	if table == "org" {
		return "num"
	}
	return "org"
}

// count counts all rows.
func (m *mover) count(c *conn) (rows int, err error) {
	for _, o := range m.orgs {
		if err := m.from.enter(c, o.num); err != nil {
			return 0, err
		}
		for _, table := range m.tables {
			var n int64
			if _, err := c.one("SELECT count(*) FROM "+table+" WHERE "+keyOf(table)+" = $1", []any{o.num}, &n); err != nil {
				return 0, err
			}
			rows += int(n)
		}
	}
	return rows, nil
}

// clear removes what an earlier try has left.
func (m *mover) clear(to *conn) error {
	if err := m.to.enter(to, noOrg); err != nil {
		return err
	}
	var nums []int64
	err := to.each("SELECT num FROM org", nil, func(rows *sql.Rows) error {
		var num int64
		err := rows.Scan(&num)
		nums = append(nums, num)
		return err
	})
	if err != nil {
		return err
	}
	for _, num := range nums {
		if err := m.to.enter(to, num); err != nil {
			return err
		}
		for _, table := range m.tables {
			if err := to.exec("DELETE FROM "+table+" WHERE "+keyOf(table)+" = $1", num); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachRow calls f for each row of an org's in a table; f must not keep the values.
func (m *mover) eachRow(ctx context.Context, s *Store, c *conn, table string, o *Org, f func(values []any) error) error {
	if err := s.enter(c, o.num); err != nil {
		return err
	}
	columns := m.columns[table]
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	return c.each("SELECT "+strings.Join(columns, ", ")+" FROM "+table+" WHERE "+keyOf(table)+" = $1", []any{o.num}, func(rows *sql.Rows) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			// Bytes may be none, and are not NULL then.
			if b, ok := v.([]byte); ok && b == nil {
				values[i] = []byte{}
			}
		}
		return f(values)
	})
}

// copyTable copies the rows of an org.
func (m *mover) copyTable(ctx context.Context, from, to *conn, table string, o *Org) error {
	if err := m.to.enter(to, o.num); err != nil {
		return err
	}
	width, size := len(m.columns[table]), 0
	into := table + " (" + strings.Join(m.columns[table], ", ") + ")"
	args := make([]any, 0, moveRows*width)
	send := func() error {
		if err := m.to.insertMoved(to, into, width, args); err != nil {
			return fmt.Errorf("moving the table %s: %w", table, err)
		}
		m.o.Add(len(args) / width)
		args, size = args[:0], 0
		return nil
	}
	err := m.eachRow(ctx, m.from, from, table, o, func(values []any) error {
		for _, v := range values {
			switch v := v.(type) {
			case []byte:
				size += len(v)
			case string:
				size += len(v)
			}
		}
		if args = append(args, values...); len(args) >= moveRows*width || size >= moveBytes {
			return send()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return send()
}

// insertMoved inserts rows as they are.
func (s *Store) insertMoved(c *conn, into string, width int, args []any) error {
	if s.dialect.batches == nil {
		return c.insertColumns(s.remote.columns, into, "", width, args)
	}
	for _, size := range s.dialect.batches {
		text := s.dialect.values(into, size, 0, width, "")
		for ; len(args) >= size*width; args = args[size*width:] {
			if err := c.exec(text, args[:size*width]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// tableSum tells the rows of a table, in whatever order.
type tableSum struct {
	rows int
	sum  syncengine.Sum
}

// compare compares every value of every row on both sides.
func (m *mover) compare(ctx context.Context, from, to *conn) error {
	for _, o := range m.orgs {
		for _, table := range m.tables {
			here, err := m.sum(ctx, m.from, from, table, o)
			if err != nil {
				return err
			}
			there, err := m.sum(ctx, m.to, to, table, o)
			if err != nil {
				return err
			}
			if here != there {
				return fmt.Errorf("table %s: %w", table, ErrMoveDiffers)
			}
		}
	}
	return nil
}

func (m *mover) sum(ctx context.Context, s *Store, c *conn, table string, o *Org) (sum tableSum, err error) {
	var row []byte
	moved := -1
	if table == "org" {
		// That differs by what it says.
		moved = slices.Index(m.columns[table], "moved")
	}
	err = m.eachRow(ctx, s, c, table, o, func(values []any) error {
		row = row[:0]
		for i, v := range values {
			if i == moved {
				continue
			}
			if row, err = appendValue(row, v); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		hash := sha256.Sum256(row)
		one, _ := syncengine.SumFromBytes(hash[:16])
		sum.sum = sum.sum.Add(one)
		sum.rows++
		return nil
	})
	return sum, err
}

// appendValue appends a value, and what tells it from every other.
func appendValue(row []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(row, 0), nil
	case int64:
		return binary.BigEndian.AppendUint64(append(row, 1), uint64(v)), nil
	case []byte:
		return append(binary.BigEndian.AppendUint64(append(row, 2), uint64(len(v))), v...), nil
	case string:
		return append(binary.BigEndian.AppendUint64(append(row, 3), uint64(len(v))), v...), nil
	}
	return nil, fmt.Errorf("a value of the type %T: %w", v, ErrDamaged)
}
