package store

import (
	"database/sql"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// What waits for somebody keeps all that it names: nobody has decided yet whether its words
// are to stay.

// EachWaiting calls f for each id that is named by what waits for somebody: by a change in
// quarantine, a draft there, or a witness that is open, anywhere in it; and for each record
// with an open work item. It may name an id more than once, and ids of nothing.
func (s *Snapshot) EachWaiting(f func(syncengine.ID)) error { return s.v.eachWaiting(f) }

func (v *view) eachWaiting(f func(syncengine.ID)) error {
	if err := v.eachQuarantined(0, f); err != nil {
		return err
	}
	return v.eachOpen(f)
}

// eachQuarantined does so for what came into quarantine after a sequence.
func (v *view) eachQuarantined(after uint64, f func(syncengine.ID)) error {
	const some = 256
	for {
		changes, err := v.Quarantined(after, some)
		if err != nil {
			return err
		}
		for _, c := range changes {
			after = c.Seq
			eachNamed(c.Body, f)
		}
		if len(changes) < some {
			return nil
		}
	}
}

// eachOpen does so for open witnesses and work items.
func (v *view) eachOpen(f func(syncengine.ID)) error {
	err := v.c.each("SELECT record, body FROM witness WHERE org = $1 AND closed_ms IS NULL", []any{v.org.num}, func(rows *sql.Rows) error {
		var id syncengine.ID
		var body []byte
		err := rows.Scan((*scanID)(&id), &body)
		f(id)
		eachText(body, f)
		return err
	})
	if err != nil {
		return err
	}
	var ids []syncengine.ID
	err = v.c.each("SELECT DISTINCT record FROM item WHERE org = $1 AND closed_seq IS NULL", []any{v.org.num}, eachID(&ids))
	for _, id := range ids {
		f(id)
	}
	return err
}

// eachNamed calls f for each id that the bytes of a change name. Of bytes that are no change
// whatever could be one is taken for one.
func eachNamed(body []byte, f func(syncengine.ID)) {
	eachText(body, f)
	change := &tandemv1.Change{}
	if proto.Unmarshal(body, change) == nil {
		for _, w := range change.GetRecords() {
			if id, ok := syncengine.IDFromBytes(w.GetRecord()); ok {
				f(id)
			}
		}
		return
	}
	for i := range max(0, len(body)-len(syncengine.ID{})+1) {
		f(syncengine.ID(body[i : i+len(syncengine.ID{})]))
	}
}

// idText is how long an id is as text.
const idText = 26

// eachText calls f for each id that stands in bytes as text.
func eachText(body []byte, f func(syncengine.ID)) {
	run := 0
	for i, c := range body {
		if c < '0' || c > '9' && c < 'A' || c > 'Z' {
			run = 0
			continue
		}
		if run++; run < idText {
			continue
		}
		if id, err := syncengine.ParseID(string(body[i+1-idText : i+1])); err == nil {
			f(id)
		}
	}
}

// Named returns which of some ids are named by what waits for somebody now: by an open
// witness or work item, or by what came into quarantine after a sequence.
func (tx *Tx) Named(after uint64, ids map[syncengine.ID]bool) (found []syncengine.ID, err error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	take := func(id syncengine.ID) {
		if ids[id] && !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	if err := tx.eachQuarantined(after, take); err != nil {
		return nil, err
	}
	return found, tx.eachOpen(take)
}

// ChangedSince returns the records whose row in any scope is newer than a sequence.
func (tx *Tx) ChangedSince(seq uint64) (ids []syncengine.ID, err error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.changedSince(seq)
}

// ChangedSince returns the records whose row in any scope is newer than a sequence.
func (s *Snapshot) ChangedSince(seq uint64) ([]syncengine.ID, error) { return s.v.changedSince(seq) }

func (v *view) changedSince(seq uint64) (ids []syncengine.ID, err error) {
	// Scope by scope, since the index begins with it.
	err = v.c.each("SELECT DISTINCT record FROM scope_index WHERE org = $1 AND scope IN (SELECT num FROM scope WHERE org = $1) AND seq > $2",
		[]any{v.org.num, int64(seq)}, eachID(&ids))
	return ids, err
}

// AboutAny returns the records that are about one of some, in whatever scope or none.
func (tx *Tx) AboutAny(ids []syncengine.ID) (found []syncengine.ID, err error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	keys := make([]any, len(ids))
	for i := range ids {
		keys[i] = ids[i][:]
	}
	err = tx.c.eachIn(tx.s.dialect, "SELECT DISTINCT record FROM about WHERE org = $1 AND target IN", []any{tx.org.num}, keys, "", eachID(&found))
	return found, err
}

// SetBack reports whether the org's history was ever set back: another epoch came before
// this one.
func (tx *Tx) SetBack() (bool, error) {
	var one int
	return tx.c.one("SELECT 1 FROM epoch WHERE org = $1 LIMIT 1", []any{tx.org.num}, &one)
}

// WentOn reports whether this database was in a state, and a change was taken in since.
func (tx *Tx) WentOn(seq uint64, hash []byte) (bool, error) {
	if err := tx.flush(); err != nil {
		return false, err
	}
	var one int
	return tx.c.one(`SELECT 1 FROM history WHERE org = $1 AND seq = $2 AND hash = $3
		AND EXISTS (SELECT 1 FROM change c WHERE c.org = history.org AND c.seq > history.seq)`, []any{tx.org.num, int64(seq), hash}, &one)
}

// Since is what came after a time, by the server's clock.
type Since struct {
	// Named is when each of some ids was last named, by a change, whatever became of it, or
	// by a witness that is open; Written when a record of a kind was last written.
	Named   map[syncengine.ID]int64
	Written map[uint32]int64
	// Unread is when the last change came that cannot be put together; 0 for none.
	Unread int64
}

// Since reads the changes, and the open witnesses, that came after a time. It notes those of
// some ids that they name.
func (tx *Tx) Since(ms int64, ids map[syncengine.ID]bool) (*Since, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	s := &Since{Named: map[syncengine.ID]int64{}, Written: map[uint32]int64{}}
	take := func(body []byte, at int64) {
		eachNamed(body, func(id syncengine.ID) {
			if ids[id] {
				s.Named[id] = max(s.Named[id], at)
			}
		})
	}
	where, args := "received_ms > $2", []any{ms, int64(scrubPortion)}
	for {
		rows, err := tx.changes(where+" ORDER BY stamp, id LIMIT CAST($3 AS BIGINT)", args...)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if err := tx.whole(row); errors.Is(err, ErrDamaged) {
				s.Unread = max(s.Unread, row.ReceivedMS)
				continue
			} else if err != nil {
				return nil, err
			}
			take(row.Body, row.ReceivedMS)
			change := &tandemv1.Change{}
			if proto.Unmarshal(row.Body, change) == nil {
				for _, w := range change.GetRecords() {
					s.Written[w.GetKind()] = max(s.Written[w.GetKind()], row.ReceivedMS)
				}
			}
		}
		if len(rows) < scrubPortion {
			break
		}
		last := rows[len(rows)-1].ID
		where, args = "received_ms > $2 AND (stamp, id) > ($4, $5)", []any{ms, int64(scrubPortion), int64(syncengine.StampOf(last)), last[:]}
	}
	return s, tx.c.each("SELECT record, body, taken_ms FROM witness WHERE org = $1 AND closed_ms IS NULL AND taken_ms > $2", []any{tx.org.num, ms}, func(rows *sql.Rows) error {
		var id syncengine.ID
		var body []byte
		var at int64
		err := rows.Scan((*scanID)(&id), &body, &at)
		if ids[id] {
			s.Named[id] = max(s.Named[id], at)
		}
		eachText(body, func(id syncengine.ID) {
			if ids[id] {
				s.Named[id] = max(s.Named[id], at)
			}
		})
		return err
	})
}
