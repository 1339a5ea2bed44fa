package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tandem-response/tandem/syncengine"
)

// settingPrefix keeps the settings of an app apart from what the client keeps.
const settingPrefix = "app:"

// Setting returns what SetSetting has kept under a key, nil where there is nothing. It
// answers also while the screens are hidden: a setting is no place for what a person
// said.
func (c *Client) Setting(ctx context.Context, key string) (value []byte, err error) {
	err = c.store.read(ctx, "reading a setting", func(rtx *sql.Tx) error {
		err := rtx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, settingPrefix+key).Scan(&value)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return value, err
}

// SetSetting keeps a setting of the app on this device: language, theme, the shift that
// was begun. It travels nowhere.
func (c *Client) SetSetting(ctx context.Context, key string, value []byte) error {
	return c.store.write(ctx, "keeping a setting", func(t *tx) error { return t.setMeta(settingPrefix+key, blob(value)) })
}

// Shown returns the view of a record as a screen showed it earlier: View.Record, kept
// while somebody typed. A save upon it names what that screen showed, so that what has
// arrived since is not written over unseen.
func (c *Client) Shown(rec *syncengine.Record) (*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	v, err := c.newView(&syncengine.DeviceRecord{Record: *rec, HasBase: true})
	if err != nil {
		return nil, fmt.Errorf("what a screen showed: %w", err)
	}
	return v, nil
}

// NewID draws the id of a record that is to be made with WithID: what is typed of it
// until then has its name already.
func (c *Client) NewID() (syncengine.ID, error) { return c.newID() }
