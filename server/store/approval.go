package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Approval is an export that waits for a second person's word, and the word.
type Approval struct {
	// ID is that which the export will have. Person asks for it.
	ID, Person syncengine.ID
	// Payload says what exactly, in a form of the caller's own.
	Payload []byte
	// CreatedMS and ExpiresMS bound the time in which somebody may decide. DecidedMS is 0
	// until DecidedBy has said whether it is Approved, and for what Reason if not.
	CreatedMS, ExpiresMS, DecidedMS int64
	DecidedBy                       syncengine.ID
	Approved                        bool
	Reason                          string
}

const selectApproval = "SELECT id, person, payload, created_ms, expires_ms, decided_ms, decided_by, approved, reason FROM approval WHERE org = $1 "

func (v *view) eachApproval(tail string, args []any, f func(*Approval) error) error {
	return v.c.each(selectApproval+tail, append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
		a := &Approval{}
		var by []byte
		var approved int64
		if err := rows.Scan((*scanID)(&a.ID), (*scanID)(&a.Person), &a.Payload, &a.CreatedMS, &a.ExpiresMS, &a.DecidedMS, &by, &approved, &a.Reason); err != nil {
			return err
		}
		a.DecidedBy, _ = syncengine.IDFromBytes(by)
		a.Approved = approved != 0
		return f(a)
	})
}

// AddApproval stores one that nobody has decided on.
func (tx *Tx) AddApproval(a *Approval) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO approval (org, id, person, payload, created_ms, expires_ms, decided_ms, decided_by, approved, reason)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0, '')`, tx.org.num, a.ID[:], a.Person[:], a.Payload, a.CreatedMS, a.ExpiresMS, []byte{})
}

// Approval returns one; nil where there is none.
func (tx *Tx) Approval(id syncengine.ID) (found *Approval, err error) {
	err = tx.eachApproval("AND id = $2", []any{id[:]}, func(a *Approval) error {
		found = a
		return nil
	})
	return found, err
}

// OpenApprovals counts those of a person that wait at a time.
func (tx *Tx) OpenApprovals(person syncengine.ID, nowMS int64) (n int, err error) {
	var count int64
	_, err = tx.c.one("SELECT COUNT(*) FROM approval WHERE org = $1 AND person = $2 AND decided_ms = 0 AND expires_ms > $3", []any{tx.org.num, person[:], nowMS}, &count)
	return int(count), err
}

// DecideApproval stores the word on one.
func (tx *Tx) DecideApproval(a *Approval) error {
	tx.writes++
	return tx.c.exec("UPDATE approval SET decided_ms = $3, decided_by = $4, approved = $5, reason = $6 WHERE org = $1 AND id = $2",
		tx.org.num, a.ID[:], a.DecidedMS, a.DecidedBy[:], boolArg(a.Approved), a.Reason)
}

// DropApprovals forgets those that expired before a time.
func (tx *Tx) DropApprovals(beforeMS int64) error {
	tx.writes++
	return tx.c.exec("DELETE FROM approval WHERE org = $1 AND expires_ms < $2", tx.org.num, beforeMS)
}

// Approvals returns those of an org that have not expired before a time, the newest first,
// at most limit.
func (s *Store) Approvals(ctx context.Context, org syncengine.ID, sinceMS int64, limit int) (all []*Approval, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.eachApproval("AND expires_ms >= $2 ORDER BY created_ms DESC, id LIMIT CAST($3 AS BIGINT)", []any{sinceMS, int64(limit)}, func(a *Approval) error {
			all = append(all, a)
			return nil
		})
	})
	return all, err
}
