package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
)

// On PostgreSQL the rows of an insert, and the keys of a list, travel as arrays, one a
// column: the same statement for any number of them, which is planned in no time.

// columnTypes are the types of the columns of all tables, as "table.column".
func columnTypes(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $1", schemaName)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	types := map[string]string{}
	for rows.Next() {
		var table, column, typ string
		if err := rows.Scan(&table, &column, &typ); err != nil {
			return nil, err
		}
		types[table+"."+column] = typ
	}
	return types, classify(rows.Err())
}

// insertColumns is insert with a column an array; into is "table (column, …)".
func (c *conn) insertColumns(types map[string]string, into, tail string, width int, args []any) error {
	if len(args) == 0 {
		return nil
	}
	table, list, ok := strings.Cut(strings.TrimSuffix(into, ")"), " (")
	columns := strings.Split(list, ",")
	if !ok || len(columns) != width {
		return fmt.Errorf("an insert of %d columns names %d", width, len(columns))
	}
	var text strings.Builder
	text.WriteString("INSERT INTO " + into + " SELECT * FROM unnest(")
	arrays := make([]any, width)
	for i, column := range columns {
		typ := types[table+"."+strings.TrimSpace(column)]
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString("$" + strconv.Itoa(i+1) + "::" + typ + "[]")
		array, err := arrayOf(typ, args[i:], width)
		if err != nil {
			return fmt.Errorf("column %s of %s: %w", column, table, err)
		}
		arrays[i] = array
	}
	text.WriteString(")" + tail)
	return c.exec(text.String(), arrays...)
}

// arrayOf gathers every width-th of some values.
func arrayOf(typ string, values []any, width int) (any, error) {
	n := (len(values) + width - 1) / width
	switch typ {
	case "bigint":
		array := make([]pgtype.Int8, 0, n)
		for i := 0; i < len(values); i += width {
			v, ok := values[i].(int64)
			if !ok && values[i] != nil {
				return nil, fmt.Errorf("%T is no number", values[i])
			}
			array = append(array, pgtype.Int8{Int64: v, Valid: ok})
		}
		return array, nil
	case "bytea":
		array := make([][]byte, 0, n)
		for i := 0; i < len(values); i += width {
			v, ok := values[i].([]byte)
			if !ok && values[i] != nil {
				return nil, fmt.Errorf("%T is no bytes", values[i])
			}
			if ok && v == nil {
				v = []byte{}
			}
			array = append(array, v)
		}
		return array, nil
	case "text":
		array := make([]pgtype.Text, 0, n)
		for i := 0; i < len(values); i += width {
			v, ok := values[i].(string)
			if !ok && values[i] != nil {
				return nil, fmt.Errorf("%T is no text", values[i])
			}
			array = append(array, pgtype.Text{String: v, Valid: ok})
		}
		return array, nil
	}
	return nil, fmt.Errorf("there is no column of the type %q", typ)
}

// eachAny is eachIn with the keys as one array.
func (c *conn) eachAny(head string, lead, keys []any, tail string, f func(*sql.Rows) error) error {
	if len(keys) == 0 {
		return nil
	}
	typ := "bytea"
	if _, number := keys[0].(int64); number {
		typ = "bigint"
	}
	array, err := arrayOf(typ, keys, 1)
	if err != nil {
		return err
	}
	text := strings.TrimSuffix(head, " IN") + " = ANY($" + strconv.Itoa(len(lead)+1) + "::" + typ + "[])" + tail
	return c.each(text, append(append(make([]any, 0, len(lead)+1), lead...), array), f)
}
