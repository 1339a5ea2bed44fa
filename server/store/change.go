package store

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// changeColumns are read by scanChange, in this order. A prev that is not stored is
// the envelope hash of the op before.
const changeColumns = `replica, op, seq, verdict, refusal, at_ms, received_ms, id, body_hash, envelope,
	COALESCE(prev, (SELECT p.envelope FROM change p WHERE p.org = change.org AND p.replica = change.replica AND p.op = change.op - 1)),
	author, device, fields, holes, body, COALESCE(corrected_ms, at_ms), COALESCE(uncertainty_ms, -1), left_hash`

// changeRow is a row of the change log.
type changeRow struct {
	*syncengine.StoredChange
	// body is what is stored of the body, holes what is left out of it.
	body, holes []byte
	// left is the hash of the body where erased records were cut out of it.
	left    []byte
	replica sql.NullInt64
	// author and device are NULL where they are the replica's own, and zero where the
	// body could not be decoded.
	author, device []byte
}

// scanChange reads a row; resolveChange completes it all but the body.
func scanChange(rows *sql.Rows) (*changeRow, error) {
	c := &syncengine.StoredChange{}
	row := &changeRow{StoredChange: c}
	var op sql.NullInt64
	var seq, verdict, refusal int64
	var fields sql.NullString
	err := rows.Scan(&row.replica, &op, &seq, &verdict, &refusal, &c.AtMS, &c.ReceivedMS, (*scanID)(&c.ID), (*scanHash)(&c.BodyHash),
		(*scanHash)(&c.Envelope), (*scanHash)(&c.Prev), &row.author, &row.device, &fields, &row.holes, &row.body,
		&c.CorrectedMS, &c.UncertaintyMS, &row.left)
	if err != nil {
		return nil, err
	}
	c.Author, _ = syncengine.IDFromBytes(row.author)
	c.Device, _ = syncengine.IDFromBytes(row.device)
	c.Op, c.Seq = uint64(op.Int64), uint64(seq)
	c.Outcome = outcomeOf(op.Int64, verdict, refusal, fields, c.Envelope)
	return row, nil
}

func outcomeOf(op, verdict, refusal int64, fields sql.NullString, envelope syncengine.Hash) *tandemv1.Outcome {
	out := &tandemv1.Outcome{Op: uint64(op), Code: tandemv1.OutcomeCode(verdict), Refusal: tandemv1.Refusal(refusal)}
	if fields.Valid {
		out.Fields = strings.Split(fields.String, "\n")
	}
	if envelope != (syncengine.Hash{}) {
		short := envelope.Short()
		out.Envelope = short[:]
	}
	return out
}

// changes returns the entries that a condition names, without their bodies put
// together.
func (v *view) changes(where string, args ...any) ([]*changeRow, error) {
	var found []*changeRow
	err := v.c.each("SELECT "+changeColumns+" FROM change WHERE org = $1 AND "+where, append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
		row, err := scanChange(rows)
		found = append(found, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, row := range found {
		if err := v.resolveChange(row); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// resolveChange puts the replica, and what it stands for, in place of its number.
func (v *view) resolveChange(row *changeRow) error {
	if err := v.because(row.Outcome, row.ID); err != nil {
		return err
	}
	if !row.replica.Valid {
		return nil
	}
	r, err := v.replicaByNum(row.replica.Int64)
	if err != nil {
		return err
	}
	row.Replica = r.id
	if row.author == nil {
		row.Author = r.person
	}
	if row.device == nil {
		row.Device = r.device
	}
	return nil
}

// whole puts the body of an entry together: of what was received, or of what is left of
// it.
func (v *view) whole(row *changeRow) error {
	if row.Body != nil {
		return nil
	}
	if row.left != nil {
		return row.wholeLeft()
	}
	body, err := fill(row.body, row.holes, func(id syncengine.ID) (body []byte, err error) {
		_, err = v.c.one("SELECT body FROM record WHERE org = $1 AND id = $2", []any{v.org.num, id[:]}, &body)
		return body, err
	})
	if err != nil {
		return err
	}
	if sha256.Sum256(body) != row.BodyHash {
		return fmt.Errorf("a change is not the one that was received: %w", ErrDamaged)
	}
	row.Body = body
	return nil
}
