package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Enrolment is a one-time code and what became of it. The code itself is stored
// nowhere.
type Enrolment struct {
	// CodeHash is SHA-256 of the code.
	CodeHash syncengine.Hash
	// Staff is the record id of the person; Device that of the device, which is made
	// when the code is used; Label is its name.
	Staff, Device syncengine.ID
	Label         string
	// CreatedMS and ExpiresMS bound its life.
	CreatedMS, ExpiresMS int64
	// Attempts counts the refused tries to use it.
	Attempts int
	// UsedKey is the public key that enrolled with it, nil while it is unused.
	UsedKey []byte
	// UsedReplica and UsedMS: by which replica and when.
	UsedReplica syncengine.ID
	UsedMS      int64
}

const enrolmentColumns = "code_hash, staff, device, label, created_ms, expires_ms, attempts, used_key, used_replica, used_ms"

func scanEnrolment(rows *sql.Rows) (*Enrolment, error) {
	e := &Enrolment{}
	var used sql.NullInt64
	err := rows.Scan((*scanHash)(&e.CodeHash), (*scanID)(&e.Staff), (*scanID)(&e.Device), &e.Label, &e.CreatedMS, &e.ExpiresMS,
		&e.Attempts, &e.UsedKey, (*scanID)(&e.UsedReplica), &used)
	e.UsedMS = used.Int64
	return e, err
}

// Enrolment returns the enrolment of a code, nil where there is none.
func (tx *Tx) Enrolment(code syncengine.Hash) (found *Enrolment, err error) {
	err = tx.c.each("SELECT "+enrolmentColumns+" FROM enrolment WHERE org = $1 AND code_hash = $2", []any{tx.org.num, code[:]},
		func(rows *sql.Rows) (err error) {
			found, err = scanEnrolment(rows)
			return err
		})
	return found, err
}

// SaveEnrolment adds an enrolment or stores what became of it.
func (tx *Tx) SaveEnrolment(e *Enrolment) error {
	tx.writes++
	var used any
	if e.UsedKey != nil {
		used = e.UsedMS
	}
	return tx.c.exec(`INSERT INTO enrolment (org, `+enrolmentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (org, code_hash) DO UPDATE SET device = excluded.device, attempts = excluded.attempts, used_key = excluded.used_key,
		used_replica = excluded.used_replica, used_ms = excluded.used_ms`,
		tx.org.num, e.CodeHash[:], e.Staff[:], e.Device[:], textArg(e.Label), e.CreatedMS, e.ExpiresMS, int64(e.Attempts),
		bytesArg(e.UsedKey), idArg(e.UsedReplica), used)
}

// FindEnrolment returns the org that a code belongs to; false where there is none.
func (s *Store) FindEnrolment(ctx context.Context, code syncengine.Hash) (org syncengine.ID, ok bool, err error) {
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return org, false, err
	}
	for _, o := range orgs {
		err := s.snapshot(ctx, o.num, func(c *conn) (err error) {
			var one int
			ok, err = c.one("SELECT 1 FROM enrolment WHERE org = $1 AND code_hash = $2", []any{o.num, code[:]}, &one)
			return err
		})
		if err != nil || ok {
			return o.ID, ok, err
		}
	}
	return org, false, nil
}

// Enrolments returns the enrolments of an org, oldest first.
func (s *Store) Enrolments(ctx context.Context, org syncengine.ID) ([]*Enrolment, error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	var all []*Enrolment
	err = s.snapshot(ctx, o.num, func(c *conn) error {
		return c.each("SELECT "+enrolmentColumns+" FROM enrolment WHERE org = $1 ORDER BY created_ms, code_hash", []any{o.num},
			func(rows *sql.Rows) error {
				e, err := scanEnrolment(rows)
				all = append(all, e)
				return err
			})
	})
	return all, err
}
