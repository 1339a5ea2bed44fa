package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

const frozenColumns = "program, first_day, end_day, zone, seq, hash, created_ms, without_sud"

// FreezeMetrics keeps the metrics of a period as they are; the id of p says nothing. It
// reports false, and changes nothing, where there are some of that program and period.
func (tx *Tx) FreezeMetrics(p *PublishedReport) (frozen bool, err error) {
	var one int64
	there, err := tx.c.one("SELECT 1 FROM metric_snapshot WHERE org = $1 AND program = $2 AND first_day = $3 AND end_day = $4 AND zone = $5",
		[]any{tx.org.num, optional(p.Program), p.FirstDay, p.EndDay, p.Zone}, &one)
	if err != nil || there {
		return false, err
	}
	tx.writes++
	return true, tx.c.exec("INSERT INTO metric_snapshot (org, "+frozenColumns+", body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		tx.org.num, optional(p.Program), textArg(p.FirstDay), textArg(p.EndDay), textArg(p.Zone), int64(p.Seq), p.Hash[:], p.CreatedMS, boolArg(p.WithoutSUD), p.Body)
}

// FrozenMetrics returns the frozen metrics of an org without their bodies, the newest period
// first.
func (s *Store) FrozenMetrics(ctx context.Context, org syncengine.ID) (all []*PublishedReport, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT "+frozenColumns+" FROM metric_snapshot WHERE org = $1 ORDER BY end_day DESC, first_day DESC, program", []any{v.org.num},
			func(rows *sql.Rows) error {
				p, err := scanFrozen(rows)
				all = append(all, p)
				return err
			})
	})
	return all, err
}

// FrozenMetricsOf returns those of a program and period with their body; nil where there are
// none.
func (s *Store) FrozenMetricsOf(ctx context.Context, org, program syncengine.ID, firstDay, endDay, zone string) (found *PublishedReport, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT "+frozenColumns+", body FROM metric_snapshot WHERE org = $1 AND program = $2 AND first_day = $3 AND end_day = $4 AND zone = $5",
			[]any{v.org.num, optional(program), firstDay, endDay, zone}, func(rows *sql.Rows) error {
				var body []byte
				p, err := scanFrozen(rows, &body)
				p.Body, found = body, p
				return err
			})
	})
	return found, err
}

func scanFrozen(rows *sql.Rows, more ...any) (*PublishedReport, error) {
	p := &PublishedReport{}
	var program, hash []byte
	var seq, withoutSUD int64
	err := rows.Scan(append([]any{&program, &p.FirstDay, &p.EndDay, &p.Zone, &seq, &hash, &p.CreatedMS, &withoutSUD}, more...)...)
	p.Seq, p.WithoutSUD = uint64(seq), withoutSUD != 0
	p.Program, _ = syncengine.IDFromBytes(program)
	copy(p.Hash[:], hash)
	return p, err
}
