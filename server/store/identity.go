package store

import (
	"context"
	"database/sql"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Reissue implements syncengine.ServerTx.
func (tx *Tx) Reissue(c *syncengine.StoredChange) error {
	tx.writes++
	r, err := tx.replicaByID(c.Replica)
	if err != nil {
		return err
	}
	if r == nil {
		return syncengine.ErrUnknownReplica
	}
	tx.log.ops[opKey{c.Replica, c.Op}] = &logEntry{c: c, again: true}
	return tx.c.exec(`INSERT INTO reissue (org, replica, op, stamp, id, envelope, prev) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		tx.org.num, r.num, int64(c.Op), int64(syncengine.StampOf(c.ID)), c.ID[:], c.Envelope[:], c.Prev[:])
}

// reissued returns the entry of a change that came once more under a replica and op,
// nil where none did.
func (tx *Tx) reissued(r *replicaNumber, op uint64) (*logEntry, error) {
	var id syncengine.ID
	var envelope, prev syncengine.Hash
	found, err := tx.c.one("SELECT id, envelope, prev FROM reissue WHERE org = $1 AND replica = $2 AND op = $3",
		[]any{tx.org.num, r.num, int64(min(op, maxOp))}, (*scanID)(&id), (*scanHash)(&envelope), (*scanHash)(&prev))
	if err != nil || !found {
		return nil, err
	}
	c, err := tx.Change(id)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("a reissued change: %w", ErrDamaged)
	}
	again := *c
	again.Replica, again.Op, again.Envelope, again.Prev = r.id, op, envelope, prev
	return &logEntry{c: &again, again: true}, nil
}

// reissuedIn appends the verdicts on reissued changes in a range of ops, as
// scanOutcomes does.
func (v *view) reissuedIn(replica int64, ops syncengine.OpRange, limit int, out *[]*tandemv1.Outcome, dismissed map[int]syncengine.ID) error {
	return v.c.each(`SELECT r.op, c.verdict, c.refusal, c.fields, r.envelope, r.id FROM reissue r
		JOIN change c ON c.org = r.org AND c.stamp = r.stamp AND c.id = r.id
		WHERE r.org = $1 AND r.replica = $2 AND r.op BETWEEN $3 AND $4 ORDER BY r.op LIMIT CAST($5 AS BIGINT)`,
		[]any{v.org.num, replica, int64(min(ops.First, maxOp)), int64(min(ops.Last, maxOp)), int64(limit)}, scanOutcomes(out, dismissed))
}

// Live implements syncengine.ServerView.
func (v *view) Live(scope syncengine.ScopeKey, first, last byte) (held []syncengine.Held, err error) {
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return nil, err
	}
	err = v.c.each(`SELECT s.record, r.hash FROM scope_index s JOIN record r ON r.org = s.org AND r.id = s.record
		WHERE s.org = $1 AND s.scope = $2 AND s.live = 1 AND substr(s.record, 16, 1) BETWEEN $3 AND $4`,
		[]any{v.org.num, num, []byte{first}, []byte{last}}, func(rows *sql.Rows) error {
			var h syncengine.Held
			var hash int64
			err := rows.Scan((*scanID)(&h.Record), &hash)
			h.Hash = syncengine.RowHash(hash)
			held = append(held, h)
			return err
		})
	return held, err
}

// Live implements syncengine.ServerView.
func (tx *Tx) Live(scope syncengine.ScopeKey, first, last byte) ([]syncengine.Held, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.view.Live(scope, first, last)
}

// EarlierEpoch implements syncengine.ServerView.
func (v *view) EarlierEpoch(epoch syncengine.ID) (bool, error) {
	var one int
	return v.c.one("SELECT 1 FROM epoch WHERE org = $1 AND id = $2", []any{v.org.num, epoch[:]}, &one)
}

// NewEpoch implements syncengine.ServerTx.
func (tx *Tx) NewEpoch(h syncengine.HistoryHead, earlier ...syncengine.ID) error {
	for _, id := range earlier {
		if err := tx.c.exec("INSERT INTO epoch (org, id) VALUES ($1, $2) ON CONFLICT DO NOTHING", tx.org.num, id[:]); err != nil {
			return err
		}
	}
	if err := tx.SetHead(h); err != nil {
		return err
	}
	return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EPOCH, Epoch: h.Epoch[:]})
}

// pruneEvery is how many sequences pass between two prunings.
const pruneEvery = 4096

// Prune implements syncengine.ServerTx. It is done once in a while, since what is
// kept longer does no harm.
func (tx *Tx) Prune(before uint64) error {
	if last := tx.s.pruned[tx.org.num]; last != 0 && before < last+pruneEvery {
		return nil
	}
	tx.s.pruned[tx.org.num] = before
	if err := tx.c.exec("DELETE FROM history WHERE org = $1 AND seq < $2", tx.org.num, int64(before)); err != nil {
		return err
	}
	return tx.c.exec("DELETE FROM scope_index WHERE org = $1 AND seq < $2 AND live = 0", tx.org.num, int64(before))
}

// MintEpoch begins a new epoch of an org: for whoever restores its database. It
// returns where the history stands then.
func (s *Store) MintEpoch(ctx context.Context, org syncengine.ID) (head syncengine.HistoryHead, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return head, err
	}
	if err := s.mint(ctx, o, func(*Tx) (bool, error) { return true, nil }); err != nil {
		return head, err
	}
	err = s.viewing(ctx, o, func(v *view) (err error) {
		head, err = v.Head()
		return err
	})
	return head, err
}

// mint begins a new epoch if it must; lost are epochs known to have been.
func (s *Store) mint(ctx context.Context, org *Org, must func(*Tx) (bool, error), lost ...syncengine.ID) error {
	epoch, err := org.Secrets.NewEpoch(s.rand)
	if err != nil {
		return err
	}
	return s.Write(ctx, org.ID, 1, func(tx *Tx) error {
		if yes, err := must(tx); err != nil || !yes {
			return err
		}
		was, err := tx.Head()
		if err != nil {
			return err
		}
		// What begins anew may go another way than what was moved.
		if err := tx.c.exec("UPDATE org SET moved = $1 WHERE num = $2 AND moved = $3", int64(stays), org.num, int64(away)); err != nil {
			return err
		}
		return tx.NewEpoch(syncengine.NextEpoch(was, epoch), append(lost, was.Epoch)...)
	})
}

// ConfirmRecovery ends the recovery of an org: people, devices and grants have been
// checked. false where there was none.
func (s *Store) ConfirmRecovery(ctx context.Context, org syncengine.ID) (was bool, err error) {
	err = s.Write(ctx, org, 1, func(tx *Tx) error {
		head, err := tx.Head()
		if err != nil {
			return err
		}
		if was = head.Recovering; !was {
			return nil
		}
		head.Recovering = false
		tx.WakeAll()
		tx.head, tx.headDirty = &head, true
		tx.writes++
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_RECOVERY_CONFIRMED, Epoch: head.Epoch[:]})
	})
	return was, err
}

// Replicas returns all replicas of an org, in the order of their enrolment.
func (s *Store) Replicas(ctx context.Context, org syncengine.ID) (all []*syncengine.Replica, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		var ids []syncengine.ID
		err := v.c.each("SELECT id FROM replica WHERE org = $1 ORDER BY num", []any{o.num}, func(rows *sql.Rows) error {
			var id syncengine.ID
			err := rows.Scan((*scanID)(&id))
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := v.Replica(id)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}
