package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// metaDerived says by which version's knowledge of kinds and fields the columns
// beside the bodies were made.
const metaDerived = "derived_by"

// fingerprint stands for all that columns, words and counts of conflicts depend on.
func (c *columns) fingerprint() []byte {
	h := sha256.New()
	for _, kind := range c.domain.Kinds() {
		fmt.Fprintln(h, kind.Number, c.kinds[kind.Number])
		for _, number := range slices.Sorted(maps.Keys(kind.Fields)) {
			fmt.Fprintln(h, number, kind.Fields[number].Policy)
		}
	}
	return h.Sum(nil)[:16]
}

// rederive brings columns, words and counts of conflicts up to this version's
// knowledge where another version has made them. Rows of a kind that the other did
// not know are here, whole: they are found from now on, without a pull.
func (c *Client) rederive(ctx context.Context) error {
	now := c.cols.fingerprint()
	return c.store.write(ctx, "bringing the store up to this version", func(t *tx) error {
		before, err := t.meta(metaDerived)
		if err != nil || bytes.Equal(before, now) {
			return err
		}
		for after := int64(0); ; {
			last, err := c.rederiveSome(t, after)
			if err != nil {
				return err
			}
			if last == after {
				return t.setMeta(metaDerived, now)
			}
			after = last
		}
	})
}

// rederiveSome does so for a few hundred rows beyond one, and returns the last.
func (c *Client) rederiveSome(t *tx, after int64) (last int64, err error) {
	records := map[int64]*syncengine.DeviceRecord{}
	err = t.rows(`SELECT `+recordColumns+` FROM rec WHERE n > $1 ORDER BY n LIMIT 500`, []any{after}, func(scan func(...any) error) error {
		n, r, err := scanRecord(scan)
		records[n] = r
		return err
	})
	if err != nil {
		return after, err
	}
	last = after
	for n, r := range records {
		if err := c.rederiveOne(t, n, r); err != nil {
			return last, err
		}
		last = max(last, n)
	}
	return last, nil
}

func (c *Client) rederiveOne(t *tx, n int64, r *syncengine.DeviceRecord) error {
	p, err := c.cols.promote(&r.Record)
	state, derr := syncengine.Decode(&r.Record)
	if err != nil || derr != nil {
		// One record that cannot be read does not keep the store shut: Verify tells of it.
		return nil //nolint:nilerr // It stays as it is.
	}
	conflicts := 0
	if kind := c.device.Rules.Kind(r.Kind); kind != nil {
		conflicts = len(state.Conflicts(kind))
	}
	if err := t.exec(`UPDATE rec SET conflicts = $2, at = $3, lifecycle = $4, incident = $5, person = $6, parent = $7, number = $8, cad_number = $9 WHERE n = $1`,
		n, conflicts, p.at, p.lifecycle, p.incident, p.person, p.parent, p.number, p.cadNumber); err != nil {
		return err
	}
	var words string
	if err := t.row(`SELECT words FROM name WHERE rowid = $1`, []any{n}, &words); err != nil || words == p.words {
		return err
	}
	if err := t.exec(`DELETE FROM name WHERE rowid = $1`, n); err != nil || p.words == "" {
		return err
	}
	return t.exec(`INSERT INTO name (rowid, words) VALUES ($1, $2)`, n, p.words)
}
