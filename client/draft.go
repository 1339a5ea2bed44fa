package client

import (
	"context"
	"database/sql"
	"errors"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Draft is typing that is no change yet.
type Draft struct {
	// Key is the caller's name for it: a form, or a record and a field.
	Key string
	// AtMS is when it was last saved.
	AtMS int64
	// Body is the caller's.
	Body []byte
}

// MaxDraft is the largest draft, key and body together, in bytes.
const MaxDraft = 2 << 20

// SaveDraft keeps typing that is no change yet, as durably as a save: in the store, and
// in the sealed outbox, from where a lead gets it if this device is lost, wiped or never
// unlocked again. Larger than MaxDraft it is an *InvalidError.
func (c *Client) SaveDraft(ctx context.Context, key string, body []byte) error {
	if len(key)+len(body) > MaxDraft || !utf8.ValidString(key) {
		return &InvalidError{Code: tandemv1.Refusal_REFUSAL_OVERSIZE}
	}
	err := c.store.write(ctx, "saving a draft", func(t *tx) error {
		err := t.exec(`INSERT INTO draft (key, at, body, version) VALUES ($1, $2, $3, 1)
			ON CONFLICT (key) DO UPDATE SET at = $2, body = $3, version = version + 1`,
			key, c.opts.Now().UnixMilli(), blob(body))
		if err != nil {
			return err
		}
		return t.numberDrafts()
	})
	if err == nil {
		c.sealDrafts(ctx)
	}
	return err
}

// Draft returns a draft, nil where there is none.
func (c *Client) Draft(ctx context.Context, key string) (*Draft, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	d := &Draft{Key: key}
	err := c.store.read(ctx, "reading a draft", func(rtx *sql.Tx) error {
		err := rtx.QueryRowContext(ctx, `SELECT at, body FROM draft WHERE key = $1`, key).Scan(&d.AtMS, &d.Body)
		if errors.Is(err, sql.ErrNoRows) {
			d = nil
			return nil
		}
		return err
	})
	return d, err
}

// Drafts returns every draft, the oldest first.
func (c *Client) Drafts(ctx context.Context) (drafts []Draft, err error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	err = c.store.read(ctx, "reading drafts", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT key, at, body FROM draft ORDER BY at, key`)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			var d Draft
			err := scan(&d.Key, &d.AtMS, &d.Body)
			drafts = append(drafts, d)
			return err
		})
	})
	return drafts, err
}

// DropDraft forgets a draft, if there is one.
func (c *Client) DropDraft(ctx context.Context, key string) error {
	err := c.store.write(ctx, "dropping a draft", func(t *tx) error {
		return t.exec(`DELETE FROM draft WHERE key = $1`, key)
	})
	if err == nil {
		c.sealDrafts(ctx)
	}
	return err
}
