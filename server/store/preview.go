package store

import (
	"database/sql"
	"slices"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of what was previewed: for how long, and how many of one person.
const (
	previewKept  = time.Hour
	mostPreviews = 20
)

// Preview is a public report that somebody was shown before publishing it.
type Preview struct {
	// Report has no ID yet; CreatedMS is when it was shown.
	Report *PublishedReport
	// Frozen: it is what was frozen.
	Frozen bool
}

// KeepPreview keeps what a person is shown, for an hour. What was kept longer is forgotten,
// and the oldest of many of that person's.
func (tx *Tx) KeepPreview(person syncengine.ID, p *Preview) error {
	now, err := tx.NowMS()
	if err != nil {
		return err
	}
	type kept struct{ person, hash []byte }
	var gone, mine []kept
	if err := tx.c.each("SELECT person, hash, shown_ms FROM report_preview WHERE org = $1 ORDER BY shown_ms, hash", []any{tx.org.num}, func(rows *sql.Rows) error {
		var k kept
		var shown int64
		if err := rows.Scan(&k.person, &k.hash, &shown); err != nil {
			return err
		}
		switch {
		case slices.Equal(k.person, person[:]) && slices.Equal(k.hash, p.Report.Hash[:]), shown <= now-previewKept.Milliseconds():
			gone = append(gone, k)
		case slices.Equal(k.person, person[:]):
			mine = append(mine, k)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, k := range append(gone, mine[:max(0, len(mine)-mostPreviews+1)]...) {
		tx.writes++
		if err := tx.c.exec("DELETE FROM report_preview WHERE org = $1 AND person = $2 AND hash = $3", tx.org.num, k.person, k.hash); err != nil {
			return err
		}
	}
	tx.writes++
	return tx.c.exec(`INSERT INTO report_preview (org, person, hash, program, first_day, end_day, zone, seq, frozen, shown_ms, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, tx.org.num, person[:], p.Report.Hash[:], optional(p.Report.Program),
		textArg(p.Report.FirstDay), textArg(p.Report.EndDay), textArg(p.Report.Zone), int64(p.Report.Seq), boolArg(p.Frozen), now, p.Report.Body)
}

// Preview returns what a person was shown within the hour; nil where they were not.
func (v *view) Preview(person syncengine.ID, hash syncengine.Hash) (found *Preview, err error) {
	now, err := v.NowMS()
	if err != nil {
		return nil, err
	}
	err = v.c.each(`SELECT program, first_day, end_day, zone, seq, frozen, shown_ms, body FROM report_preview
		WHERE org = $1 AND person = $2 AND hash = $3 AND shown_ms > $4`, []any{v.org.num, person[:], hash[:], now - previewKept.Milliseconds()}, func(rows *sql.Rows) error {
		p := &PublishedReport{Hash: hash, WithoutSUD: true}
		var program []byte
		var seq, frozen int64
		err := rows.Scan(&program, &p.FirstDay, &p.EndDay, &p.Zone, &seq, &frozen, &p.CreatedMS, &p.Body)
		p.Seq = uint64(seq)
		p.Program, _ = syncengine.IDFromBytes(program)
		found = &Preview{Report: p, Frozen: frozen != 0}
		return err
	})
	return found, err
}
