package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Report is what Verify found.
type Report struct {
	// Records, Changes, Scopes and Commits are how many were checked.
	Records, Changes, Scopes, Commits int
	// Files whose bytes are there and were checked; Awaited are those of attachments that no
	// device has brought whole yet.
	Files, Awaited int
	// Erased is how many records were erased by law, Cut of how many changes something was
	// cut out therefore: of those the rest was checked against its hash, and the envelope
	// against the hash of what was received.
	Erased, Cut int
	// Digests are the totals of the scopes as recomputed.
	Digests map[syncengine.ScopeKey]syncengine.Sum
	// Faults says what does not hold, at most MaxFaults of them; empty where all is
	// well.
	Faults []string
	// More is the number of faults beyond those.
	More int
}

// MaxFaults is how many faults a report lists.
const MaxFaults = 100

func (r *Report) fault(format string, args ...any) {
	if len(r.Faults) < MaxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
		return
	}
	r.More++
}

// Verify recomputes in one snapshot what can be recomputed: the integrity of the
// file, where the database is one; row hashes; the scopes of each record against the scope index;
// digests; the body hash and envelope hash of each change; references; the bytes of files
// against the hashes that their records name; and that the
// commits are in order and end where the history stands. What a commit hash was
// made of is not kept whole, so hashes of commits are compared, not recomputed.
func (s *Store) Verify(ctx context.Context, org syncengine.ID) (*Report, error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	var r *Report
	err = s.viewing(ctx, o, func(v *view) (err error) {
		r, err = v.verify(ctx)
		return err
	})
	return r, err
}

// verify is Verify of a view.
func (v *view) verify(ctx context.Context) (*Report, error) {
	r := &Report{Digests: map[syncengine.ScopeKey]syncengine.Sum{}}
	c := &check{view: v, r: r, rows: map[syncengine.ID]checkedRecord{}, files: map[syncengine.ID]*tandemv1.Attachment{}}
	for _, step := range []func() error{c.file, c.erased, c.allRecords, c.index, c.log, c.history, c.quarantine, c.blobs} {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if err := step(); err != nil {
			return r, err
		}
	}
	return r, nil
}

type check struct {
	*view
	r    *Report
	rows map[syncengine.ID]checkedRecord
	// files are the attachments whose bytes were not found to be there yet.
	files map[syncengine.ID]*tandemv1.Attachment
	// gone are the records that were erased.
	gone map[syncengine.ID]bool
	// cutOut looks for those of which no applied change may say anything.
	cutOut scrubbing
}

type checkedRecord struct {
	hash   syncengine.RowHash
	seq    uint64
	scopes []syncengine.ScopeKey
	// seen counts the scopes in which the index has it.
	seen int
}

// file lets the engine check its own structures.
func (c *check) file() error {
	if c.s.dialect.check == "" {
		return nil
	}
	return c.c.each(c.s.dialect.check, nil, func(rows *sql.Rows) error {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			c.r.fault("database file: %s", line)
		}
		return nil
	})
}

// erased reads which records were.
func (c *check) erased() error {
	c.gone, c.cutOut.gone = map[syncengine.ID]bool{}, map[syncengine.ID]bool{}
	return c.erasedRecords(func(e *ErasedRecord) error {
		c.gone[e.ID] = true
		c.r.Erased++
		if e.ScrubbedMS != 0 {
			c.cutOut.gone[e.ID] = true
		}
		return nil
	})
}

func (c *check) allRecords() error {
	return c.eachRecord(0, func(rec *syncengine.StoredRecord) error {
		c.r.Records++
		if c.gone[rec.ID] {
			c.r.fault("record %s: it was erased, yet it is there", rec.ID)
		}
		if rec.Record.Hash() != rec.Hash {
			c.r.fault("record %s: its bytes do not have the row hash %016x", rec.ID, uint64(rec.Hash))
		}
		if _, err := syncengine.Decode(&rec.Record); err != nil {
			c.r.fault("record %s: %v", rec.ID, err)
		}
		if !slices.IsSortedFunc(rec.Scopes, syncengine.ScopeKey.Compare) {
			c.r.fault("record %s: its scopes are not in order", rec.ID)
		}
		c.attachment(rec)
		c.rows[rec.ID] = checkedRecord{hash: rec.Hash, seq: rec.Seq, scopes: rec.Scopes}
		return nil
	})
}

// index compares the scope index with the records, and the digests with both.
func (c *check) index() error {
	sums := map[syncengine.ScopeKey]*syncengine.Digest{}
	for k := range c.numbers.scopes {
		sums[k] = &syncengine.Digest{}
	}
	c.r.Scopes = len(sums)
	err := c.c.each("SELECT scope, seq, record, live FROM scope_index WHERE org = $1", []any{c.org.num}, func(rows *sql.Rows) error {
		var num, seq, live int64
		var id syncengine.ID
		if err := rows.Scan(&num, &seq, (*scanID)(&id), &live); err != nil {
			return err
		}
		k, ok := c.numbers.scopeKeys[num]
		if !ok {
			c.r.fault("record %s: the index has it in a scope that is not there", id)
			return nil
		}
		rec, there := c.rows[id]
		in := there && slices.Contains(rec.scopes, k)
		switch {
		case !there && live == 0 && c.gone[id]:
			// It has left every scope for good.
		case !there:
			c.r.fault("record %s: the index has it, the records do not", id)
		case in != (live != 0):
			c.r.fault("record %s: record and index differ about scope %d", id, num)
		case in && uint64(seq) != rec.seq:
			c.r.fault("record %s: its sequence is %d, the index of scope %d says %d", id, rec.seq, num, seq)
		case in:
			b := syncengine.Bucket(id)
			sums[k][b] = sums[k][b].Add(syncengine.Term(id, rec.hash))
			rec.seen++
			c.rows[id] = rec
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, rec := range c.rows {
		if rec.seen < len(rec.scopes) {
			c.r.fault("record %s: it is in %d scopes, the index has it in %d", id, len(rec.scopes), rec.seen)
		}
	}
	for k, want := range sums {
		c.r.Digests[k] = want.Total()
		got, err := c.Digest(k)
		if err != nil {
			return err
		}
		if *got != *want {
			c.r.fault("scope %d: its digest is %s, its records give %s", c.numbers.scopes[k], got.Total(), want.Total())
		}
	}
	return nil
}

// log checks every change, in portions, so that a log of any length fits in memory.
func (c *check) log() error {
	head, err := c.Head()
	if err != nil {
		return err
	}
	const portion = 1000
	for from := int64(math.MinInt64); ; {
		rows, err := c.changes("stamp >= $2 ORDER BY stamp LIMIT CAST($3 AS BIGINT)", from, int64(portion))
		if err != nil || len(rows) == 0 {
			return err
		}
		last := int64(syncengine.StampOf(rows[len(rows)-1].ID))
		more := len(rows) == portion
		for _, row := range rows {
			// What shares the last stamp of a full portion comes with the next.
			if more && int64(syncengine.StampOf(row.ID)) == last && int64(syncengine.StampOf(rows[0].ID)) != last {
				break
			}
			c.r.Changes++
			c.change(row)
			if row.Seq > head.Seq {
				c.r.fault("change %s: its sequence lies beyond the head of the history", row.ID)
			}
		}
		if !more {
			return nil
		}
		from = last
		if int64(syncengine.StampOf(rows[0].ID)) == last {
			from++
		}
	}
}

func (c *check) change(row *changeRow) {
	if err := c.whole(row); err != nil {
		c.r.fault("change %s: %v", row.ID, err)
		return
	}
	if row.left != nil {
		c.r.Cut++
	}
	if _, speaks := c.cutOut.cut(row.Body); speaks && row.Outcome.GetCode() <= tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
		c.r.fault("change %s: it speaks of a record that was erased", row.ID)
	}
	if !row.Replica.IsZero() && syncengine.HashEnvelope(row.Replica, row.Op, row.Prev, row.BodyHash) != row.Envelope {
		c.r.fault("change %s: its envelope hash does not fit", row.ID)
	}
}

// history checks the order of the commits and their end.
func (c *check) history() error {
	head, err := c.Head()
	if err != nil {
		return err
	}
	var last syncengine.HistoryHead
	err = c.c.each("SELECT seq, hash FROM history WHERE org = $1 ORDER BY seq", []any{c.org.num}, func(rows *sql.Rows) error {
		c.r.Commits++
		var seq int64
		if err := rows.Scan(&seq, (*scanHash)(&last.Hash)); err != nil {
			return err
		}
		last.Seq = uint64(seq)
		return nil
	})
	if err != nil {
		return err
	}
	if c.r.Commits > 0 && (last.Seq != head.Seq || last.Hash != head.Hash) {
		c.r.fault("history: the last commit is not where the history stands")
	}
	return nil
}

// quarantine compares the quarantine with the verdicts.
func (c *check) quarantine() error {
	verdicts := func(codes ...tandemv1.OutcomeCode) []any {
		args := []any{c.org.num}
		for _, code := range codes {
			args = append(args, int64(code))
		}
		return args
	}
	in := verdicts(tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED)
	closed := verdicts(tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED, tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED)
	for _, q := range []struct {
		sql  string
		args []any
		says string
	}{
		{`SELECT id FROM change WHERE org = $1 AND verdict = $2 AND NOT EXISTS
			(SELECT 1 FROM quarantine q WHERE q.org = change.org AND q.stamp = change.stamp AND q.id = change.id AND q.closed = 0)`, in, "its verdict is quarantine, yet it is not in it"},
		{`SELECT id FROM quarantine WHERE org = $1 AND closed = 0 AND NOT EXISTS
			(SELECT 1 FROM change c WHERE c.org = quarantine.org AND c.stamp = quarantine.stamp AND c.id = quarantine.id AND c.verdict = $2)`, in,
			"it is in quarantine, yet that is not its verdict"},
		{`SELECT id FROM quarantine WHERE org = $1 AND closed = 1 AND NOT EXISTS
			(SELECT 1 FROM change c WHERE c.org = quarantine.org AND c.stamp = quarantine.stamp AND c.id = quarantine.id AND c.verdict IN ($2, $3))`, closed,
			"it is closed, yet that is not its verdict"},
	} {
		err := c.c.each(q.sql, q.args, func(rows *sql.Rows) error {
			var id syncengine.ID
			if err := rows.Scan((*scanID)(&id)); err != nil {
				return err
			}
			c.r.fault("change %s: %s", id, q.says)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
