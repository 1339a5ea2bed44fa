package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Emergency is one in which somebody opened a person's record.
type Emergency struct {
	// ID is the device's, Num its number among the org's.
	ID  syncengine.ID
	Num uint64
	// Person opened the record of Subject, on a replica, for Reason.
	Person, Replica, Subject syncengine.ID
	Reason                   string
	// AtMS is when by the device's clock, ReceivedMS when the server learned of it, and
	// UntilMS when it is over, by the server's.
	AtMS, ReceivedMS, UntilMS int64
	// Opened counts the records that the device held, Found those that it was sent.
	Opened, Found int
	// ReviewedMS is when Reviewer looked at it, 0 for not yet; Justified and Note are what
	// they found.
	ReviewedMS int64
	Reviewer   syncengine.ID
	Justified  bool
	Note       string
}

const selectEmergency = `SELECT id, num, person, replica, subject, at_ms, received_ms, until_ms, opened, found, reason,
	reviewed_ms, reviewer, justified, note FROM emergency WHERE org = $1 `

// eachEmergency calls f for those that fit a condition with its order.
func (v *view) eachEmergency(tail string, args []any, f func(*Emergency) error) error {
	return v.c.each(selectEmergency+tail, append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
		e := &Emergency{}
		var num, opened, found, justified int64
		var reviewer []byte
		err := rows.Scan((*scanID)(&e.ID), &num, (*scanID)(&e.Person), (*scanID)(&e.Replica), (*scanID)(&e.Subject), &e.AtMS, &e.ReceivedMS, &e.UntilMS,
			&opened, &found, &e.Reason, &e.ReviewedMS, &reviewer, &justified, &e.Note)
		if err != nil {
			return err
		}
		e.Num, e.Opened, e.Found, e.Justified = uint64(num), int(opened), int(found), justified != 0
		e.Reviewer, _ = syncengine.IDFromBytes(reviewer)
		return f(e)
	})
}

// Emergency returns one; nil where there is none.
func (tx *Tx) Emergency(id syncengine.ID) (found *Emergency, err error) {
	err = tx.eachEmergency("AND id = $2", []any{id[:]}, func(e *Emergency) error {
		found = e
		return nil
	})
	return found, err
}

// AddEmergency stores a new one and gives it its number.
func (tx *Tx) AddEmergency(e *Emergency) error {
	var last int64
	if _, err := tx.c.one("SELECT COALESCE(MAX(num), 0) FROM emergency WHERE org = $1", []any{tx.org.num}, &last); err != nil {
		return err
	}
	e.Num = uint64(last + 1)
	tx.writes++
	return tx.c.exec(`INSERT INTO emergency (org, id, num, person, replica, subject, at_ms, received_ms, until_ms, opened, found, reason,
		reviewed_ms, reviewer, justified, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, 0, '')`,
		tx.org.num, e.ID[:], last+1, e.Person[:], e.Replica[:], e.Subject[:], e.AtMS, e.ReceivedMS, e.UntilMS, int64(e.Opened), int64(e.Found), e.Reason, []byte{})
}

// SaveEmergency stores what an emergency has come to: what was found, and its review.
func (tx *Tx) SaveEmergency(e *Emergency) error {
	reviewer := []byte{}
	if !e.Reviewer.IsZero() {
		reviewer = e.Reviewer[:]
	}
	tx.writes++
	return tx.c.exec("UPDATE emergency SET found = $3, reviewed_ms = $4, reviewer = $5, justified = $6, note = $7 WHERE org = $1 AND id = $2",
		tx.org.num, e.ID[:], int64(e.Found), e.ReviewedMS, reviewer, boolArg(e.Justified), e.Note)
}

// EmergenciesSince counts those of a person since a time of the server's.
func (tx *Tx) EmergenciesSince(person syncengine.ID, ms int64) (n int, err error) {
	var count int64
	_, err = tx.c.one("SELECT COUNT(*) FROM emergency WHERE org = $1 AND person = $2 AND received_ms >= $3", []any{tx.org.num, person[:], ms}, &count)
	return int(count), err
}

// Emergencies calls f for those of an org, the newest first, at most limit; open: only those
// that nobody has reviewed. The view is that of the same snapshot.
func (s *Store) Emergencies(ctx context.Context, org syncengine.ID, open bool, limit int, f func(syncengine.ServerView, *Emergency) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error {
		tail := "ORDER BY num DESC LIMIT CAST($2 AS BIGINT)"
		if open {
			tail = "AND reviewed_ms = 0 " + tail
		}
		var all []*Emergency
		err := v.eachEmergency(tail, []any{int64(limit)}, func(e *Emergency) error {
			all = append(all, e)
			return nil
		})
		if err != nil {
			return err
		}
		for _, e := range all {
			if err := f(v, e); err != nil {
				return err
			}
		}
		return nil
	})
}
