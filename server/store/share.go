package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tandem-response/tandem/syncengine"
)

// A change that makes a record carries its body, and until somebody edits the
// record its row holds the very same bytes. They are stored once: the change log
// leaves them out and notes where they were (a hole). Before the record is first
// rewritten they are put back, in the same transaction, and checked against the hash
// of what was received. What is read from the change log is whole at all times.

// minShare is the shortest body worth a hole.
const minShare = 64

// cut leaves the bodies of records out of the body of the change that made them.
// It returns what remains, the holes, and the records that fill them.
func cut(body []byte, made []*recordEntry) (rest, holes []byte, fillers []*recordEntry) {
	at := 0
	for _, e := range made {
		rec := e.rec
		if len(rec.Body) < minShare {
			continue
		}
		i := bytes.Index(body[at:], rec.Body)
		if i < 0 {
			continue
		}
		rest = append(rest, body[at:at+i]...)
		holes = binary.AppendUvarint(holes, uint64(i))
		holes = binary.AppendUvarint(holes, uint64(len(rec.Body)))
		holes = append(holes, rec.ID[:]...)
		at += i + len(rec.Body)
		fillers = append(fillers, e)
	}
	return append(rest, body[at:]...), holes, fillers
}

// fill is the inverse of cut.
func fill(rest, holes []byte, bodyOf func(syncengine.ID) ([]byte, error)) ([]byte, error) {
	if len(holes) == 0 {
		return rest, nil
	}
	var body []byte
	u := unpack(holes)
	for u.more() {
		before, size, id := u.uint(), u.uint(), u.take(16)
		if !u.ok || before > uint64(len(rest)) {
			return nil, fmt.Errorf("the holes of a change: %w", ErrDamaged)
		}
		body = append(body, rest[:before]...)
		rest = rest[before:]
		piece, err := bodyOf(syncengine.ID(id))
		if err != nil {
			return nil, err
		}
		if uint64(len(piece)) != size {
			return nil, fmt.Errorf("the body that a change shares: %w", ErrDamaged)
		}
		body = append(body, piece...)
	}
	if err := u.err(); err != nil {
		return nil, err
	}
	return append(body, rest...), nil
}

// restore puts back what the creating change of a record has left to it, before
// the record is rewritten.
func (tx *Tx) restore(e *recordEntry) error {
	origin, err := e.rec.Origin()
	if err != nil {
		return err
	}
	rows, err := tx.changes("stamp = $2 AND holes IS NOT NULL", int64(origin.Created))
	if err != nil {
		return err
	}
	for _, row := range rows {
		// The whole body is checked against its hash, so a wrong one is never stored.
		if err := tx.whole(row); err != nil {
			return err
		}
		if err := tx.c.exec("UPDATE change SET body = $1, holes = NULL WHERE org = $2 AND stamp = $3 AND id = $4",
			row.Body, tx.org.num, int64(origin.Created), row.ID[:]); err != nil {
			return err
		}
		// An entry read earlier in this transaction must not look for its holes again.
		if e := tx.log.ids[row.ID]; e != nil {
			e.c.Body = row.Body
		}
	}
	return nil
}
