package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// view reads one org in one transaction of its connection.
type view struct {
	s   *Store
	c   *conn
	org *Org
	// numbers known; loaded: as this transaction sees them.
	numbers *numbers
	loaded  bool
	// complete: no scope has been made that is not among them.
	complete bool
	// era is the store's when the view began: see forget.
	era uint64
}

var _ syncengine.ServerView = (*view)(nil)

// Read runs f over one snapshot of an org. The view must not be used after f
// returns.
func (s *Store) Read(ctx context.Context, org syncengine.ID, f func(view syncengine.ServerView) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error { return f(v) })
}

func (s *Store) viewing(ctx context.Context, org *Org, f func(*view) error) error {
	return s.snapshot(ctx, org.num, func(c *conn) error {
		v := &view{s: s, c: c, org: org}
		v.numbers, v.era = s.published(org)
		err := f(v)
		if v.loaded {
			s.publishNumbers(org, v.numbers, v.era)
		}
		return err
	})
}

// Org implements syncengine.ServerView.
func (v *view) Org() syncengine.ID { return v.org.ID }

// Head implements syncengine.ServerView.
func (v *view) Head() (h syncengine.HistoryHead, err error) {
	h, _, err = v.head("")
	return h, err
}

func (v *view) head(tail string) (h syncengine.HistoryHead, m moving, err error) {
	var seq, recovering int64
	ok, err := v.c.one("SELECT epoch, seq, hash, recovering, moved FROM org WHERE num = $1"+tail, []any{v.org.num},
		(*scanID)(&h.Epoch), &seq, (*scanHash)(&h.Hash), &recovering, &m)
	if err == nil && !ok {
		err = ErrUnknownOrg
	}
	h.Seq, h.Recovering = uint64(seq), recovering != 0
	return h, m, err
}

// CommitAt implements syncengine.ServerView.
func (v *view) CommitAt(seq uint64) (last uint64, hash syncengine.Hash, ok bool, err error) {
	var at int64
	ok, err = v.c.one("SELECT seq, hash FROM history WHERE org = $1 AND seq >= $2 ORDER BY seq LIMIT 1",
		[]any{v.org.num, int64(seq)}, &at, (*scanHash)(&hash))
	return uint64(at), hash, ok, err
}

// Members implements syncengine.ServerView.
func (v *view) Members(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, error) {
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return nil, err
	}
	var members []syncengine.Member
	err = v.c.each("SELECT seq, record, live FROM scope_index WHERE org = $1 AND scope = $2 AND (seq, record) > ($3, $4) ORDER BY seq, record LIMIT CAST($5 AS BIGINT)",
		[]any{v.org.num, num, int64(seq), record[:], int64(limit)}, func(rows *sql.Rows) error {
			var m syncengine.Member
			var at, live int64
			if err := rows.Scan(&at, (*scanID)(&m.Record), &live); err != nil {
				return err
			}
			m.Seq, m.Live = uint64(at), live != 0
			members = append(members, m)
			return nil
		})
	return members, err
}

// Digest implements syncengine.ServerView.
func (v *view) Digest(scope syncengine.ScopeKey) (*syncengine.Digest, error) {
	d := &syncengine.Digest{}
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return d, err
	}
	var sums []byte
	ok, err = v.c.one("SELECT sums FROM scope_digest WHERE org = $1 AND scope = $2", []any{v.org.num, num}, &sums)
	if err != nil || !ok {
		return d, err
	}
	return d, unpackDigest(d, sums)
}

func unpackDigest(d *syncengine.Digest, sums []byte) error {
	if len(sums) != 16*len(d) {
		return fmt.Errorf("a digest: %w", ErrDamaged)
	}
	for i := range d {
		d[i], _ = syncengine.SumFromBytes(sums[16*i : 16*i+16])
	}
	return nil
}

func packDigest(d *syncengine.Digest) []byte {
	b := make([]byte, 0, 16*len(d))
	for i := range d {
		b = append(b, d[i].Bytes()...)
	}
	return b
}

// Replica implements syncengine.ServerView.
func (v *view) Replica(id syncengine.ID) (*syncengine.Replica, error) {
	r := &syncengine.Replica{ID: id}
	var ranges, lost, apart, backed, former []byte
	var highest, forked, revoked, unconfirmed, recovered, waits, revised, shut, suspended int64
	ok, err := v.c.one(`SELECT person, device, public_key, ranges, highest, highest_hash, forked, revoked,
			unconfirmed, replaces, recovered, epoch, waits, lost, apart, revised, backed, wipe_ms, wiped_ms, former, wipe_told_ms, wipe_shut,
			(SELECT count(*) FROM suspension s WHERE s.org = replica.org AND s.device = replica.device) FROM replica WHERE org = $1 AND id = $2`,
		[]any{v.org.num, id[:]}, (*scanID)(&r.Person), (*scanID)(&r.Device), &r.Key, &ranges, &highest, (*scanHash)(&r.HighestHash), &forked, &revoked,
		&unconfirmed, (*scanID)(&r.Replaces), &recovered, (*scanID)(&r.Epoch), &waits, &lost, &apart, &revised, &backed, &r.WipeOrderedMS, &r.WipedMS, &former, &r.WipeToldMS, &shut, &suspended)
	if err != nil || !ok {
		return nil, err
	}
	r.Highest, r.Forked, r.Revoked, r.Revised = uint64(highest), forked != 0, revoked != 0, uint64(revised)
	r.Unconfirmed, r.Recovered, r.Waits, r.WipeShut = unconfirmed != 0, recovered != 0, uint64(waits), shut != 0
	r.Suspended = suspended != 0
	for _, packed := range []struct {
		from []byte
		into *[]syncengine.OpRange
	}{{ranges, &r.Ranges}, {lost, &r.Lost}, {apart, &r.Apart}, {backed, &r.BackedUp}} {
		if *packed.into, err = unpackRanges(packed.from); err != nil {
			return nil, err
		}
	}
	r.Former, err = unpackFormer(former)
	return r, err
}

// OutcomesIn implements syncengine.ServerView.
func (v *view) OutcomesIn(replica syncengine.ID, ops syncengine.OpRange, limit int) ([]*tandemv1.Outcome, error) {
	r, err := v.replicaByID(replica)
	if err != nil || r == nil {
		return nil, err
	}
	var out []*tandemv1.Outcome
	dismissed := map[int]syncengine.ID{}
	err = v.c.each("SELECT op, verdict, refusal, fields, envelope, id FROM change WHERE org = $1 AND replica = $2 AND op BETWEEN $3 AND $4 ORDER BY op LIMIT CAST($5 AS BIGINT)",
		[]any{v.org.num, r.num, int64(min(ops.First, maxOp)), int64(min(ops.Last, maxOp)), int64(limit)}, scanOutcomes(&out, dismissed))
	if err != nil {
		return nil, err
	}
	first := len(out)
	if err := v.reissuedIn(r.num, ops, limit, &out, dismissed); err != nil {
		return nil, err
	}
	for i, id := range dismissed {
		if err := v.because(out[i], id); err != nil {
			return nil, err
		}
	}
	if len(out) == first {
		return out, nil
	}
	slices.SortFunc(out, func(a, b *tandemv1.Outcome) int { return cmp.Compare(a.GetOp(), b.GetOp()) })
	return out[:min(limit, len(out))], nil
}

// scanOutcomes appends the verdicts of rows of op, verdict, refusal, fields, envelope and
// change id; of those that were dismissed it notes the change.
func scanOutcomes(out *[]*tandemv1.Outcome, dismissed map[int]syncengine.ID) func(rows *sql.Rows) error {
	return func(rows *sql.Rows) error {
		var op, verdict, refusal int64
		var fields sql.NullString
		var envelope syncengine.Hash
		var id syncengine.ID
		if err := rows.Scan(&op, &verdict, &refusal, &fields, (*scanHash)(&envelope), (*scanID)(&id)); err != nil {
			return err
		}
		if verdict == int64(tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED) {
			dismissed[len(*out)] = id
		}
		*out = append(*out, outcomeOf(op, verdict, refusal, fields, envelope))
		return nil
	}
}

// maxOp bounds op numbers from outside, so that they fit a column.
const maxOp = 1 << 62
