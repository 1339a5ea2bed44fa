package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/tandem-response/tandem/syncengine"
)

// ErrNoPurge says that no purge of that id waits for a decision or to be done.
var ErrNoPurge = errors.New("there is no purge of that id that waits")

// Purge is one of what is past its retention.
type Purge struct {
	// ID of the purge, Agency for which AskedBy has asked for it at AskedMS, for a Reason.
	ID, Agency, AskedBy syncengine.ID
	AskedMS             int64
	Reason              string
	// Records are those that it is about, of so many People and Calls.
	Records       []syncengine.ID
	People, Calls int
	// DecidedBy has said at DecidedMS whether it is Approved; 0: nobody yet.
	DecidedBy syncengine.ID
	DecidedMS int64
	Approved  bool
	// DoneMS is when the records were gone from the database, 0: not yet. Erased is how
	// many records were erased, ByKind how many of each kind; alert cards and the like that
	// were made of them too. Kept is how many of Records had to stay.
	DoneMS       int64
	Erased, Kept int
	ByKind       map[uint32]int
}

// Open reports whether it waits for a decision, or, approved, to be done.
func (p *Purge) Open() bool { return p.DecidedMS == 0 || p.Approved && p.DoneMS == 0 }

// AddPurge stores one that nobody has decided on, at the time of the database's clock.
func (tx *Tx) AddPurge(p *Purge) (err error) {
	if p.AskedMS, err = tx.NowMS(); err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec(`INSERT INTO purge (org, id, agency, asked_by, asked_ms, reason, records, people, calls, decided_by, decided_ms, approved, done_ms, erased, kept, tally)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, 0, '{}')`,
		tx.org.num, p.ID[:], optional(p.Agency), optional(p.AskedBy), p.AskedMS, textArg(p.Reason), joinIDs(p.Records), int64(p.People), int64(p.Calls), []byte{})
}

// DecidePurge stores the word on one that waits for it.
func (tx *Tx) DecidePurge(p *Purge) (err error) {
	if p.DecidedMS, err = tx.NowMS(); err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("UPDATE purge SET decided_by = $3, decided_ms = $4, approved = $5 WHERE org = $1 AND id = $2 AND decided_ms = 0",
		tx.org.num, p.ID[:], optional(p.DecidedBy), p.DecidedMS, boolArg(p.Approved))
}

// AdvancePurge counts records that one has erased.
func (tx *Tx) AdvancePurge(id syncengine.ID, gone []syncengine.ID) error {
	p, err := tx.Purge(id)
	if err != nil || p == nil || len(gone) == 0 {
		return err
	}
	erased, keys := 0, make([]any, len(gone))
	for i := range gone {
		keys[i] = gone[i][:]
	}
	err = tx.c.eachIn(tx.s.dialect, "SELECT kind FROM erased WHERE org = $1 AND record IN", []any{tx.org.num}, keys, "", func(rows *sql.Rows) error {
		var kind int64
		err := rows.Scan(&kind)
		// Of an id whose record was not there nothing was erased.
		if kind != 0 {
			p.ByKind[uint32(kind)]++
			erased++
		}
		return err
	})
	if err != nil {
		return err
	}
	tally, err := json.Marshal(p.ByKind)
	if err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("UPDATE purge SET erased = erased + $3, tally = $4 WHERE org = $1 AND id = $2", tx.org.num, id[:], int64(erased), string(tally))
}

// EndPurge notes that one is done.
func (tx *Tx) EndPurge(id syncengine.ID) error {
	now, err := tx.NowMS()
	if err != nil {
		return err
	}
	p, err := tx.Purge(id)
	if err != nil || p == nil {
		return err
	}
	left, err := tx.Records(p.Records)
	if err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("UPDATE purge SET done_ms = $3, kept = $4 WHERE org = $1 AND id = $2", tx.org.num, id[:], now, int64(len(left)))
}

// OpenPurges counts those of an agency that wait for a decision, or to be done.
func (tx *Tx) OpenPurges(agency syncengine.ID) (n int64, err error) {
	_, err = tx.c.one("SELECT COUNT(*) FROM purge WHERE org = $1 AND agency = $2 AND (decided_ms = 0 OR approved = 1 AND done_ms = 0)",
		[]any{tx.org.num, optional(agency)}, &n)
	return n, err
}

// Purge returns one, nil where there is none.
func (tx *Tx) Purge(id syncengine.ID) (*Purge, error) {
	all, err := tx.purges("AND id = $2", id[:])
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// Purges returns those of an org, the newest first.
func (s *Store) Purges(ctx context.Context, org syncengine.ID) (all []*Purge, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.purges("ORDER BY asked_ms DESC, id")
		return err
	})
	return all, err
}

func (v *view) purges(tail string, args ...any) (all []*Purge, err error) {
	err = v.c.each(`SELECT id, agency, asked_by, asked_ms, reason, records, people, calls, decided_by, decided_ms, approved, done_ms, erased, kept, tally
		FROM purge WHERE org = $1 `+tail, append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
		p := &Purge{}
		var agency, asker, decider, records []byte
		var people, calls, approved, erased, kept int64
		var tally string
		err := rows.Scan((*scanID)(&p.ID), &agency, &asker, &p.AskedMS, &p.Reason, &records, &people, &calls, &decider, &p.DecidedMS, &approved, &p.DoneMS, &erased, &kept, &tally)
		if err != nil {
			return err
		}
		p.Agency, _ = syncengine.IDFromBytes(agency)
		p.AskedBy, _ = syncengine.IDFromBytes(asker)
		p.DecidedBy, _ = syncengine.IDFromBytes(decider)
		p.Records, p.People, p.Calls, p.Approved, p.Erased = splitIDs(records), int(people), int(calls), approved != 0, int(erased)
		p.Kept, p.ByKind = int(kept), map[uint32]int{}
		if json.Unmarshal([]byte(tally), &p.ByKind) != nil {
			return ErrDamaged
		}
		all = append(all, p)
		return nil
	})
	return all, err
}
