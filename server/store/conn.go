package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tandem-response/tandem/syncengine"
)

// conn is one connection with the statements it has prepared. Not safe for
// concurrent use.
type conn struct {
	db *sql.DB
	d  *dialect
	// c is nil where the connection is made at the next transaction.
	c *sql.Conn
	// link is what the connections of a store to a remote database share, nil where it
	// is a file.
	link *link
	born uint64
	// ctx is never cancelled: a statement is not broken off half-way.
	ctx   context.Context //nolint:containedctx // It belongs to the connection, not to a call.
	stmts map[string]*sql.Stmt
	// under: a transaction is under way here. failed is what one of its statements met that
	// ends it: in PostgreSQL any error; in SQLite a fault of the storage, since it may have
	// rolled all of it back then, and a statement that followed would stand by itself.
	under  bool
	failed error
	// ran counts the statements of the store, nil where nobody counts.
	ran *atomic.Int64
}

func newConn(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, classify(err)
	}
	return &conn{db: db, d: &sqliteDialect, c: c, ctx: context.WithoutCancel(ctx), stmts: map[string]*sql.Stmt{}}, nil
}

// begin begins a transaction with a statement of the dialect, fenced to an org.
func (c *conn) begin(text string, org int64) error {
	var err error
	if c.d.remote {
		err = c.beginRemote(text + "; " + c.d.fence(org))
	} else {
		err = c.exec(text)
	}
	c.under = err == nil
	return err
}

func (c *conn) commit() error {
	var err error
	if c.d.remote {
		err = c.commitRemote()
	} else {
		err = c.exec("COMMIT")
	}
	c.under = err != nil
	return err
}

func (c *conn) rollback() error {
	c.under, c.failed = false, nil
	if c.d.remote {
		return c.rollbackRemote()
	}
	return c.exec("ROLLBACK")
}

func (c *conn) close() error {
	if c.c == nil {
		return nil
	}
	for _, s := range c.stmts {
		_ = s.Close()
	}
	return c.c.Close()
}

func (c *conn) prepared(text string) (*sql.Stmt, error) {
	if c.failed != nil {
		return nil, c.failed
	}
	if c.ran != nil {
		c.ran.Add(1)
	}
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	s, err := c.c.PrepareContext(c.ctx, text)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", c.met(err))
	}
	c.stmts[text] = s
	return s, nil
}

// met classifies an error of a statement, and has nothing follow in a transaction that
// it has ended.
func (c *conn) met(err error) error {
	err = classify(err)
	if c.under && err != nil && (c.d.remote || errors.Is(err, ErrStorage)) {
		c.failed = err
	}
	return err
}

func (c *conn) exec(text string, args ...any) error {
	s, err := c.prepared(text) //nolint:sqlclosecheck // Kept until the connection closes.
	if err != nil {
		return err
	}
	_, err = s.ExecContext(c.ctx, args...)
	return c.met(err)
}

// one scans the first row of a query; false where there is none.
func (c *conn) one(text string, args []any, dest ...any) (bool, error) {
	found := false
	err := c.each(text, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(dest...)
	})
	return found, err
}

// each calls f for each row of a query.
func (c *conn) each(text string, args []any, f func(*sql.Rows) error) error {
	s, err := c.prepared(text) //nolint:sqlclosecheck // Kept until the connection closes.
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(c.ctx, args...)
	if err != nil {
		return c.met(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return c.met(rows.Err())
}

// inSizes are the lengths of IN lists that are prepared; a shorter list repeats its
// last element.
var inSizes = []int{1, 8, 64, 128, 256}

// eachIn calls f for each row of a query that ends in IN, in pieces.
func (c *conn) eachIn(d *dialect, head string, lead []any, keys []any, tail string, f func(*sql.Rows) error) error {
	if d.batches == nil {
		return c.eachAny(head, lead, keys, tail, f)
	}
	for len(keys) > 0 {
		size := inSizes[len(inSizes)-1]
		for _, s := range inSizes {
			if s >= len(keys) {
				size = s
				break
			}
		}
		n := min(size, len(keys))
		args := append(make([]any, 0, len(lead)+size), lead...)
		args = append(args, keys[:n]...)
		for range size - n {
			args = append(args, keys[n-1])
		}
		if err := c.each(d.in(head, len(lead)+1, size, tail), args, f); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// nearby is how many ids are asked for together: see near.
const nearby = 64

// near returns those of ids, sorted, between whose neighbours a table has any
// row; probe asks for one between two ids. Ids made one after another stand together,
// so that of a bulk of new ones no other row is among them, and to ask once for many
// is a good deal cheaper than to look for each.
func (v *view) near(probe string, ids []syncengine.ID) ([]syncengine.ID, error) {
	const few = 4
	if !v.s.dialect.near || len(ids) < few {
		return ids, nil
	}
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, syncengine.ID.Compare)
	left := sorted[:0]
	for some := range slices.Chunk(sorted, nearby) {
		var one int64
		found, err := v.c.one(probe, []any{v.org.num, some[0][:], some[len(some)-1][:]}, &one)
		if err != nil {
			return nil, err
		}
		if found {
			left = append(left, some...)
		}
	}
	return left, nil
}

// scanID scans a 16-byte id; NULL is the zero id.
type scanID syncengine.ID

// Scan implements sql.Scanner.
func (d *scanID) Scan(src any) error { return scanFixed(d[:], src) }

// scanHash scans a 32-byte hash; NULL is the zero hash.
type scanHash syncengine.Hash

// Scan implements sql.Scanner.
func (d *scanHash) Scan(src any) error { return scanFixed(d[:], src) }

// scanInt scans a number; NULL is zero.
type scanInt int64

// Scan implements sql.Scanner.
func (d *scanInt) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d = 0
	case int64:
		*d = scanInt(v)
	default:
		return fmt.Errorf("a stored number is none: %w", ErrDamaged)
	}
	return nil
}

func scanFixed(dst []byte, src any) error {
	switch v := src.(type) {
	case nil:
		clear(dst)
		return nil
	case []byte:
		if copy(dst, v) == len(v) && len(v) == len(dst) {
			return nil
		}
	}
	return fmt.Errorf("a stored id or hash is not of %d bytes: %w", len(dst), ErrDamaged)
}

// idArg is an id as an argument: NULL for the zero id.
func idArg(id syncengine.ID) any {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// bytesArg is a value that may be empty: NULL then.
func bytesArg(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// textArg is a text as an argument: what not every engine holds in a text, a zero
// byte and broken UTF-8, becomes U+FFFD.
func textArg(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func boolArg(b bool) any {
	if b {
		return int64(1)
	}
	return int64(0)
}
