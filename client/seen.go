package client

import (
	"context"
	"database/sql"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Seen is when a lead has opened a record at the server.
type Seen struct {
	// AtMS is when, by the server's clock.
	AtMS int64
	// Current: what the lead saw is what this device shows. Otherwise the record has
	// changed since, here or there.
	Current bool
}

// SeenByLead returns, of some records, those of this person that a lead has opened, as far
// as the server has told.
func (c *Client) SeenByLead(ctx context.Context, ids ...syncengine.ID) (map[syncengine.ID]Seen, error) {
	found := map[syncengine.ID]Seen{}
	err := c.store.read(ctx, "reading what leads have seen", func(rtx *sql.Tx) error {
		for _, id := range ids {
			var s Seen
			err := rtx.QueryRowContext(ctx, `SELECT s.at, coalesce(s.hash = r.base_hash AND r.pending = 0, 0)
				FROM seen_by_lead s LEFT JOIN rec r ON r.id = s.record WHERE s.record = $1`, id[:]).Scan(&s.AtMS, &s.Current)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			found[id] = s
		}
		return nil
	})
	return found, err
}

// askSeen says in a request which of them the device knows.
func (t *tx) askSeen(req *tandemv1.SyncRequest) error {
	return t.row(`SELECT coalesce(max(n), 0) + 1 FROM seen_by_lead`, nil, &req.SeenAfter)
}

// noteSeen keeps what an answer says of them. A server whose history was set back counts
// anew: all are asked for again.
func (t *tx) noteSeen(trailer *tandemv1.Trailer, epoch bool) error {
	if epoch {
		return t.exec(`DELETE FROM seen_by_lead`)
	}
	for _, s := range trailer.GetSeen() {
		if err := t.exec(`INSERT INTO seen_by_lead (record, n, at, hash) VALUES ($1, $2, $3, $4)
			ON CONFLICT (record) DO UPDATE SET n = $2, at = $3, hash = $4 WHERE n < $2`,
			s.GetRecord(), int64(s.GetNumber()), s.GetAtMs(), int64(s.GetRowHash())); err != nil {
			return err
		}
	}
	return nil
}
