package client

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Filter narrows a list. Zero fields do not narrow.
type Filter struct {
	// Incident, Person and Parent are what a record refers to; Parent is the target
	// of a note and the encounter of a referral.
	Incident, Person, Parent syncengine.ID
	// Lifecycle is a lifecycle code.
	Lifecycle string
	// FromMS and ToMS bound the record's time, ToMS excluded.
	FromMS, ToMS int64
	// Conflicts, Pending: only records with open conflicts, with own unsettled
	// changes.
	Conflicts, Pending bool
	// NoPerson: only records that refer to no person.
	NoPerson bool
	// Unknown: only records in a state of their lifecycle that this version does not know,
	// as of a newer one.
	Unknown bool
	// Skip is how many of the first are left out: a list is read page by page.
	Skip int
}

// Order of a list. The time of a record is when what it tells of began (a call was
// received, an encounter started), else when it was created.
type Order int

// Orders.
const (
	// Newest first.
	Newest Order = iota
	// Oldest first.
	Oldest
)

// List returns records of a kind, at most limit (0: all). ErrLease where charts are
// closed; Pending lists what was made here and is unsent even then.
func (c *Client) List(ctx context.Context, kind string, f Filter, order Order, limit int) ([]*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	k := c.domain.KindByName(kind)
	if k == nil {
		return nil, fmt.Errorf("there is no kind of record called %q", kind)
	}
	where, args := f.where()
	where = append(where, "rec.kind = ?")
	args = append(args, int64(k.Number))
	if f.Unknown {
		known := c.domain.Codes(c.domain.FieldCodes(kind, "lifecycle"))
		for _, code := range known {
			args = append(args, code.Code)
		}
		where = append(where, "rec.lifecycle NOT IN (?"+strings.Repeat(", ?", len(known))+")")
		args = append(args, "") // One of a kind without a lifecycle has none.
	}
	by := " ORDER BY rec.at DESC, rec.id DESC"
	if order == Oldest {
		by = " ORDER BY rec.at, rec.id"
	}
	if f.Skip > 0 {
		if limit <= 0 {
			limit = math.MaxInt32
		}
		by += " LIMIT +? OFFSET +?"
		args = append(args, limit, f.Skip)
		limit = 0
	}
	views, err := c.views(ctx, f.Pending, strings.Join(where, " AND ")+by, limit, args...)
	if err != nil {
		return nil, err
	}
	return views, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_LISTED, views...)
}

func (f *Filter) where() (where []string, args []any) {
	add := func(condition string, arg any) {
		where, args = append(where, condition), append(args, arg)
	}
	for _, ref := range []struct {
		column string
		id     syncengine.ID
	}{{"incident", f.Incident}, {"person", f.Person}, {"parent", f.Parent}} {
		if !ref.id.IsZero() {
			add("rec."+ref.column+" = ?", ref.id[:])
		}
	}
	if f.Lifecycle != "" {
		add("rec.lifecycle = ?", f.Lifecycle)
	}
	if f.FromMS != 0 {
		add("rec.at >= ?", f.FromMS)
	}
	if f.ToMS != 0 {
		add("rec.at < ?", f.ToMS)
	}
	if f.Conflicts {
		where = append(where, "rec.conflicts > 0")
	}
	if f.Pending {
		where = append(where, "rec.pending > 0")
	}
	if f.NoPerson {
		where = append(where, "rec.person IS NULL")
	}
	return where, args
}

// views returns the shown records that fit a condition with its order; own allows
// those that were made here and are unsent also where charts are closed.
func (c *Client) views(ctx context.Context, own bool, condition string, limit int, args ...any) (views []*View, err error) {
	which := visible
	if err := c.leased(); err != nil {
		if !own {
			return nil, err
		}
		which += ` AND rec.base_hash IS NULL`
	}
	if limit > 0 {
		condition += ` LIMIT +?`
		args = append(args, limit)
	}
	return c.shown(ctx, which+` AND `+condition, args...)
}

// shown returns the records that fit a condition with its order, whether or not charts are
// closed.
func (c *Client) shown(ctx context.Context, condition string, args ...any) (views []*View, err error) {
	err = c.store.read(ctx, "listing records", func(rtx *sql.Tx) error {
		//nolint:gosec // The condition is this package's text; values are arguments.
		rows, err := rtx.QueryContext(ctx, `SELECT `+recordColumns+` FROM rec WHERE `+condition, args...)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			_, r, err := scanRecord(scan)
			if err != nil {
				return err
			}
			v, err := c.newView(r)
			views = append(views, v)
			return err
		})
	})
	return views, err
}

// Each calls fn with every shown record in order of id, until it returns an error.
// It reads one snapshot; fn must not save. ErrLease where charts are closed.
func (c *Client) Each(ctx context.Context, fn func(*syncengine.Record) error) error {
	if err := c.hidden(); err != nil {
		return err
	}
	if err := c.leased(); err != nil {
		return err
	}
	if err := c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_GONE_THROUGH, Code: "each"}); err != nil {
		return err
	}
	return c.store.read(ctx, "reading records", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT `+recordColumns+` FROM rec WHERE `+visible+` ORDER BY id`)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			_, r, err := scanRecord(scan)
			if err != nil {
				return err
			}
			return fn(&r.Record)
		})
	})
}

// Counts returns the number of shown records by kind; kinds that this version does
// not know count under "unknown".
func (c *Client) Counts(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := c.store.read(ctx, "counting records", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT kind, count(*) FROM rec WHERE `+visible+` GROUP BY kind`)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			var number uint32
			var n int
			if err := scan(&number, &n); err != nil {
				return err
			}
			name := "unknown"
			if k := c.domain.Kind(number); k != nil {
				name = k.Name
			}
			counts[name] += n
			return nil
		})
	})
	return counts, err
}

// Conflicts returns the records with values that a human is to settle, newest
// first.
func (c *Client) Conflicts(ctx context.Context) ([]*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	views, err := c.views(ctx, false, "rec.conflicts > 0 ORDER BY rec.at DESC, rec.id DESC", 0)
	if err != nil {
		return nil, err
	}
	return views, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_LISTED, views...)
}

// Quarantined returns the own saves that the server keeps and did not apply, oldest
// first.
func (c *Client) Quarantined(ctx context.Context) (out []NotAccepted, err error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	err = c.store.read(ctx, "reading what was not accepted", func(rtx *sql.Tx) error {
		if out, err = c.notAccepted(ctx, rtx, `o.state = 4 AND o.state IN (2, 4)`); err != nil || len(out) == 0 {
			return err
		}
		return c.corrected(ctx, rtx, out)
	})
	return out, err
}

// corrected marks the saves in whose place another waits to be sent: one that writes what
// they wrote, or one that takes them back and writes nothing. Thousands may wait, so that
// they are asked for by what they write.
func (c *Client) corrected(ctx context.Context, rtx *sql.Tx, refused []NotAccepted) error {
	replaced := map[syncengine.ID]bool{}
	waits := func(where string, args ...any) error {
		waiting, err := c.notAccepted(ctx, rtx, `o.state = 1 AND o.op > $1 AND `+where, args...)
		for i := range waiting {
			if old, ok := syncengine.IDFromBytes(waiting[i].Decoded.GetReplaces()); ok {
				replaced[old] = true
			}
		}
		return err
	}
	if err := waits(`length(o.records) = 0`, int64(refused[0].Op)); err != nil {
		return err
	}
	for k := range refused {
		n := &refused[k]
		if len(n.Records) > 0 && !replaced[n.Change] {
			if err := waits(`o.op IN (SELECT op FROM outbox_write WHERE record = $2 AND op > $1)`, int64(n.Op), n.Records[0][:]); err != nil {
				return err
			}
		}
		n.Corrected = replaced[n.Change]
	}
	return nil
}
