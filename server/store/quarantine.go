package store

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Quarantine implements syncengine.QuarantineTx.
func (tx *Tx) Quarantine(c *syncengine.StoredChange, targets []syncengine.ID) error {
	tx.writes++
	tx.fill(tableQuarantine)
	var replica any
	if !c.Replica.IsZero() {
		r, err := tx.replicaByID(c.Replica)
		if err != nil {
			return err
		}
		if r == nil {
			return syncengine.ErrUnknownReplica
		}
		replica = r.num
	}
	err := tx.c.exec("INSERT INTO quarantine (org, stamp, id, replica, bytes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		tx.org.num, int64(syncengine.StampOf(c.ID)), c.ID[:], replica, int64(len(c.Body)))
	if err != nil {
		return err
	}
	if u := tx.used[c.Replica]; u != nil {
		u.count, u.bytes = u.count+1, u.bytes+int64(len(c.Body))
	}
	makes := map[syncengine.ID]bool{}
	if change := (&tandemv1.Change{}); proto.Unmarshal(c.Body, change) == nil {
		for _, w := range change.GetRecords() {
			if id, ok := syncengine.IDFromBytes(w.GetRecord()); ok && w.GetAct() == tandemv1.Act_ACT_CREATE {
				makes[id] = true
			}
		}
	}
	for _, target := range targets {
		err := tx.c.exec("INSERT INTO quarantine_target (org, record, id, makes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			tx.org.num, target[:], c.ID[:], boolArg(makes[target]))
		if err != nil {
			return err
		}
	}
	return nil
}

// release takes a change out of quarantine where a new verdict says so. One that is
// closed stays known by its stamp: who wrote over it had seen it.
func (tx *Tx) release(c *syncengine.StoredChange) error {
	clear(tx.used)
	query := "DELETE FROM quarantine WHERE org = $1 AND stamp = $2 AND id = $3"
	switch c.Outcome.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		return nil
	case tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED, tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:
		query = "UPDATE quarantine SET closed = 1 WHERE org = $1 AND stamp = $2 AND id = $3"
		if err := tx.unscrub(c); err != nil {
			return err
		}
	}
	if err := tx.c.exec(query, tx.org.num, int64(syncengine.StampOf(c.ID)), c.ID[:]); err != nil {
		return err
	}
	return tx.c.exec("DELETE FROM quarantine_target WHERE org = $1 AND id = $2", tx.org.num, c.ID[:])
}

// wholes puts the bodies of entries together.
func (v *view) wholes(rows []*changeRow) ([]*syncengine.StoredChange, error) {
	out := make([]*syncengine.StoredChange, 0, len(rows))
	for _, row := range rows {
		if err := v.whole(row); err != nil {
			return nil, err
		}
		out = append(out, row.StoredChange)
	}
	return out, nil
}

// Quarantined implements syncengine.QuarantineView.
func (v *view) Quarantined(after uint64, limit int) ([]*syncengine.StoredChange, error) {
	// By stamp first, which is indexed: the log is long and quarantine is not.
	rows, err := v.changes(`stamp IN (SELECT q.stamp FROM quarantine q WHERE q.org = $1 AND q.closed = 0)
		AND EXISTS (SELECT 1 FROM quarantine q WHERE q.org = change.org AND q.stamp = change.stamp AND q.id = change.id AND q.closed = 0)
		AND seq > $2 ORDER BY seq LIMIT CAST($3 AS BIGINT)`, int64(min(after, maxOp)), int64(limit))
	if err != nil {
		return nil, err
	}
	return v.wholes(rows)
}

// QuarantinedOn implements syncengine.QuarantineView.
func (v *view) QuarantinedOn(record syncengine.ID) ([]*syncengine.StoredChange, error) {
	var ids []any
	err := v.c.each("SELECT id FROM quarantine_target WHERE org = $1 AND record = $2", []any{v.org.num, record[:]}, func(rows *sql.Rows) error {
		var id syncengine.ID
		err := rows.Scan((*scanID)(&id))
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []*changeRow
	for _, id := range ids {
		id := id.(syncengine.ID) //nolint:forcetypeassert,errcheck // Made above.
		rows, err := v.changes("stamp = $2 AND id = $3", int64(syncengine.StampOf(id)), id[:])
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	slices.SortFunc(found, func(a, b *changeRow) int { return cmp.Compare(a.Seq, b.Seq) })
	return v.wholes(found)
}

// Held implements syncengine.QuarantineView.
func (v *view) Held(person syncengine.ID) ([]*syncengine.HeldGrant, error) {
	var out []*syncengine.HeldGrant
	err := v.c.each("SELECT hash, roles, teams, programs, agency FROM held WHERE org = $1 AND person = $2 ORDER BY hash, roles, teams",
		[]any{v.org.num, person[:]}, func(rows *sql.Rows) error {
			g := &syncengine.HeldGrant{Person: person}
			var hash, teams, programs []byte
			var roles string
			if err := rows.Scan(&hash, &roles, &teams, &programs, (*scanID)(&g.Agency)); err != nil {
				return err
			}
			if len(hash) != len(g.Hash) {
				return ErrDamaged
			}
			copy(g.Hash[:], hash)
			if roles != "" {
				g.Roles = strings.Split(roles, "\n")
			}
			g.Teams, g.Programs = splitIDs(teams), splitIDs(programs)
			out = append(out, g)
			return nil
		})
	return out, err
}

// joinIDs puts ids one after another; splitIDs takes them apart.
func joinIDs(ids []syncengine.ID) []byte {
	b := []byte{}
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func splitIDs(b []byte) (ids []syncengine.ID) {
	for part := range slices.Chunk(b, len(syncengine.ID{})) {
		if id, ok := syncengine.IDFromBytes(part); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// EverIn implements syncengine.QuarantineView.
func (v *view) EverIn(record syncengine.ID, scopes []syncengine.ScopeKey) (bool, error) {
	for _, k := range scopes {
		num, ok, err := v.scopeNumber(k)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		var one int
		found, err := v.c.one("SELECT 1 FROM scope_index WHERE org = $1 AND scope = $2 AND record = $3", []any{v.org.num, num, record[:]}, &one)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// Revised implements syncengine.QuarantineView.
func (v *view) Revised(replica syncengine.ID, after uint64) ([]*tandemv1.Outcome, error) {
	r, err := v.replicaByID(replica)
	if err != nil || r == nil {
		return nil, err
	}
	type revision struct {
		op       int64
		stamp    int64
		id       syncengine.ID
		envelope syncengine.Hash
	}
	var found []revision
	err = v.c.each("SELECT op, stamp, id, envelope FROM revised WHERE org = $1 AND replica = $2 AND seq > $3 ORDER BY op",
		[]any{v.org.num, r.num, int64(min(after, maxOp))}, func(rows *sql.Rows) error {
			var f revision
			err := rows.Scan(&f.op, &f.stamp, (*scanID)(&f.id), (*scanHash)(&f.envelope))
			found = append(found, f)
			return err
		})
	if err != nil {
		return nil, err
	}
	var out []*tandemv1.Outcome
	for _, f := range found {
		var verdict, refusal int64
		var fields sql.NullString
		ok, err := v.c.one("SELECT verdict, refusal, fields FROM change WHERE org = $1 AND stamp = $2 AND id = $3",
			[]any{v.org.num, f.stamp, f.id[:]}, &verdict, &refusal, &fields)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, ErrDamaged
		}
		o := outcomeOf(f.op, verdict, refusal, fields, f.envelope)
		if err := v.because(o, f.id); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// because completes the verdict on a dismissed change with the reason.
func (v *view) because(o *tandemv1.Outcome, id syncengine.ID) error {
	if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED {
		return nil
	}
	_, err := v.c.one("SELECT reason FROM quarantine_act WHERE org = $1 AND id = $2 ORDER BY seq DESC LIMIT 1", []any{v.org.num, id[:]}, &o.Reason)
	return err
}

// none reports that nothing was ever refused, so that looking is not worth while.
// Otherwise what has gathered is written, so that it is found.
func (tx *Tx) none() (bool, error) {
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return true, err
	}
	return false, tx.flush()
}

// Quarantined implements syncengine.QuarantineView.
func (tx *Tx) Quarantined(after uint64, limit int) ([]*syncengine.StoredChange, error) {
	if none, err := tx.none(); none || err != nil {
		return nil, err
	}
	return tx.view.Quarantined(after, limit)
}

// QuarantinedOn implements syncengine.QuarantineView.
func (tx *Tx) QuarantinedOn(record syncengine.ID) ([]*syncengine.StoredChange, error) {
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return nil, err
	}
	var one int
	if found, err := tx.c.one("SELECT 1 FROM quarantine_target WHERE org = $1 AND record = $2", []any{tx.org.num, record[:]}, &one); err != nil || !found {
		return nil, err
	}
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.view.QuarantinedOn(record)
}

// EverIn implements syncengine.QuarantineView.
func (tx *Tx) EverIn(record syncengine.ID, scopes []syncengine.ScopeKey) (bool, error) {
	if err := tx.flush(); err != nil {
		return false, err
	}
	return tx.view.EverIn(record, scopes)
}

// Revised implements syncengine.QuarantineView.
func (tx *Tx) Revised(replica syncengine.ID, after uint64) ([]*tandemv1.Outcome, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.view.Revised(replica, after)
}

// QuarantinedByStamp implements syncengine.QuarantineTx.
func (tx *Tx) QuarantinedByStamp(s syncengine.Stamp) (*syncengine.StoredChange, error) {
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return nil, err
	}
	var one int
	if found, err := tx.c.one("SELECT 1 FROM quarantine WHERE org = $1 AND stamp = $2", []any{tx.org.num, int64(s)}, &one); err != nil || !found {
		return nil, err
	}
	return tx.ChangeByStamp(s)
}

// heldOf counts what a replica has in quarantine. By the replica's index alone: what is closed stays
// in the table, and SQLite would go through it.
const heldOf = `SELECT count(*), CAST(COALESCE(sum(bytes), 0) AS BIGINT) FROM quarantine
	WHERE org = $1 AND (stamp, id) IN (SELECT stamp, id FROM quarantine WHERE org = $1 AND replica = $2 AND closed = 0)`

// QuarantineUse implements syncengine.QuarantineTx.
func (tx *Tx) QuarantineUse(replica syncengine.ID) (count int, bytes int64, err error) {
	if u := tx.used[replica]; u != nil {
		return u.count, u.bytes, nil
	}
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return 0, 0, err
	}
	r, err := tx.replicaByID(replica)
	if err != nil || r == nil {
		return 0, 0, err
	}
	_, err = tx.c.one(heldOf, []any{tx.org.num, r.num}, &count, &bytes)
	if err == nil {
		tx.used[replica] = &quarantineUse{count, bytes}
	}
	return count, bytes, err
}

// quarantineUse is what a replica has in quarantine.
type quarantineUse struct {
	count int
	bytes int64
}

// Hold implements syncengine.QuarantineTx.
func (tx *Tx) Hold(g *syncengine.HeldGrant) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO held (org, person, hash, roles, teams, programs, agency) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT DO NOTHING`,
		tx.org.num, g.Person[:], g.Hash[:], textArg(strings.Join(g.Roles, "\n")), joinIDs(g.Teams), joinIDs(g.Programs), g.Agency[:])
}

// AddHolder implements syncengine.QuarantineTx.
func (tx *Tx) AddHolder(change syncengine.ID, h syncengine.Holder) error {
	r, err := tx.replicaByID(h.Replica)
	if err != nil {
		return err
	}
	if r == nil {
		return syncengine.ErrUnknownReplica
	}
	tx.writes++
	return tx.c.exec("INSERT INTO holder (org, id, replica, op, envelope) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		tx.org.num, change[:], r.num, int64(h.Op), h.Envelope[:])
}

// Holders implements syncengine.QuarantineTx.
func (tx *Tx) Holders(change syncengine.ID) ([]syncengine.Holder, error) {
	c, err := tx.Change(change)
	if err != nil || c == nil {
		return nil, err
	}
	var out []syncengine.Holder
	if !c.Replica.IsZero() {
		out = append(out, syncengine.Holder{Replica: c.Replica, Op: c.Op, Envelope: c.Envelope})
	}
	var more []syncengine.Holder
	var numbers []int64
	err = tx.c.each("SELECT replica, op, envelope FROM holder WHERE org = $1 AND id = $2 ORDER BY replica, op", []any{tx.org.num, change[:]},
		func(rows *sql.Rows) error {
			var h syncengine.Holder
			var num, op int64
			err := rows.Scan(&num, &op, (*scanHash)(&h.Envelope))
			h.Op = uint64(op)
			more, numbers = append(more, h), append(numbers, num)
			return err
		})
	if err != nil {
		return nil, err
	}
	for i, num := range numbers {
		r, err := tx.replicaByNum(num)
		if err != nil {
			return nil, err
		}
		more[i].Replica = r.id
	}
	return append(out, more...), nil
}

// Revise implements syncengine.QuarantineTx.
func (tx *Tx) Revise(change syncengine.ID, h syncengine.Holder, seq uint64) error {
	r, err := tx.replicaByID(h.Replica)
	if err != nil {
		return err
	}
	if r == nil {
		return syncengine.ErrUnknownReplica
	}
	tx.writes++
	tx.touched[syncengine.VerdictScope(r.person)] = true
	return tx.c.exec(`INSERT INTO revised (org, replica, op, seq, stamp, id, envelope) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (org, replica, op) DO UPDATE SET seq = $4, stamp = $5, id = $6, envelope = $7`,
		tx.org.num, r.num, int64(h.Op), int64(seq), int64(syncengine.StampOf(change)), change[:], h.Envelope[:])
}

// SaveAct implements syncengine.QuarantineTx.
func (tx *Tx) SaveAct(a *syncengine.QuarantineAct) error {
	tx.writes++
	return tx.c.exec("INSERT INTO quarantine_act (org, seq, id, kind, person, by_change, reason, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		tx.org.num, int64(a.Seq), a.Change[:], int64(a.Kind), idArg(a.By), idArg(a.With), textArg(a.Reason), a.AtMS)
}

// Acts returns what was done about changes in quarantine, oldest first; about one
// change, unless it is zero.
func (s *Store) Acts(ctx context.Context, org, change syncengine.ID) (acts []syncengine.QuarantineAct, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT seq, id, kind, person, by_change, reason, at_ms FROM quarantine_act WHERE org = $1 ORDER BY seq", []any{o.num},
			func(rows *sql.Rows) error {
				var a syncengine.QuarantineAct
				var seq, kind int64
				if err := rows.Scan(&seq, (*scanID)(&a.Change), &kind, (*scanID)(&a.By), (*scanID)(&a.With), &a.Reason, &a.AtMS); err != nil {
					return err
				}
				a.Seq, a.Kind = uint64(seq), syncengine.ActKind(kind)
				if change.IsZero() || a.Change == change {
					acts = append(acts, a)
				}
				return nil
			})
	})
	return acts, err
}

// Quarantined returns the changes that lie in quarantine, oldest first, whole: raw
// bytes, code and fields.
func (s *Store) Quarantined(ctx context.Context, org syncengine.ID) (out []*syncengine.StoredChange, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		out, err = v.Quarantined(0, math.MaxInt32)
		return err
	})
	return out, err
}

// scanInto gathers rows of the change log.
func scanInto(found *[]*changeRow) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		row, err := scanChange(rows)
		*found = append(*found, row)
		return err
	}
}
