package client

import (
	"context"
	"database/sql"
	"errors"
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

// SaveDraft keeps typing that is no change yet, as durably as a save.
func (c *Client) SaveDraft(ctx context.Context, key string, body []byte) error {
	return c.store.write(ctx, "saving a draft", func(t *tx) error {
		return t.exec(`INSERT INTO draft (key, at, body) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET at = $2, body = $3`,
			key, c.opts.Now().UnixMilli(), blob(body))
	})
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
	return c.store.write(ctx, "dropping a draft", func(t *tx) error {
		return t.exec(`DELETE FROM draft WHERE key = $1`, key)
	})
}
