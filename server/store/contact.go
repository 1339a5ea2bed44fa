package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Contact is how a device stood when it was last in contact with a server of this
// database.
type Contact struct {
	Replica syncengine.ID
	// AtMS is when that was, and Cut how far the device had read.
	AtMS int64
	Cut  uint64
	// Unsent is how many changes it had that the server had not, and SinceMS from when on
	// it has had some; 0 where it has none.
	Unsent  uint64
	SinceMS int64
	// AheadMS is how far its clock was before the server's.
	AheadMS int64
	// Sealed: what it has unsent it keeps sealed to the org as well.
	Sealed bool
}

// Contacts returns the last contact of each device of an org that was noted, in no order.
func (s *Store) Contacts(ctx context.Context, org syncengine.ID) (all []Contact, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all = nil
		return v.c.each("SELECT replica, at_ms, cut, unsent, since_ms, ahead_ms, sealed FROM contact WHERE org = $1", []any{v.org.num}, func(rows *sql.Rows) error {
			var c Contact
			var cut, unsent, sealed int64
			err := rows.Scan((*scanID)(&c.Replica), &c.AtMS, &cut, &unsent, &c.SinceMS, &c.AheadMS, &sealed)
			c.Cut, c.Unsent, c.Sealed = uint64(cut), uint64(unsent), sealed != 0
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// NoteContacts notes contacts of devices, each once, in one transaction: where there is a
// later one it stays.
func (s *Store) NoteContacts(ctx context.Context, org syncengine.ID, some []Contact) error {
	return s.Write(ctx, org, len(some), func(tx *Tx) error {
		tx.writes++
		const width = 8
		args := make([]any, 0, len(some)*width)
		for i := range some {
			c := &some[i]
			args = append(args, tx.org.num, c.Replica[:], c.AtMS, int64(c.Cut), int64(c.Unsent), c.SinceMS, c.AheadMS, boolArg(c.Sealed))
		}
		return tx.insert("contact (org, replica, at_ms, cut, unsent, since_ms, ahead_ms, sealed)", ` ON CONFLICT (org, replica) DO UPDATE SET
			at_ms = excluded.at_ms, cut = excluded.cut, unsent = excluded.unsent, since_ms = excluded.since_ms, ahead_ms = excluded.ahead_ms, sealed = excluded.sealed
			WHERE excluded.at_ms > contact.at_ms`, 1, width, args)
	})
}
