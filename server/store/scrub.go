package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
)

// errLeft says that what is left of a change is not what was left of it.
var errLeft = fmt.Errorf("what is left of a change, of which erased records were cut out, is something else: %w", ErrDamaged)

// Scrubbed is what one way through the change log has done.
type Scrubbed struct {
	// Changes are those of which something was cut out now, Kept those that speak of an
	// erased record and lie in quarantine, where nobody has decided on them yet: they stay
	// as they are until then.
	Changes, Kept int
	// Damaged are those that cannot be put together, which Verify names: whether they speak of
	// an erased record nobody knows, so they stay as they are.
	Damaged int
}

// Fields of a Change that hold what was written.
const (
	fieldRecords protowire.Number = 2
	fieldDraft   protowire.Number = 11
	// Of a RecordWrite, and of a TypedDraft.
	fieldRecord   protowire.Number = 1
	fieldDraftKey protowire.Number = 1
)

// Scrub goes through the change log of an org once and cuts out of each change what it says
// of erased records: the change keeps its id, its hashes, its verdict and its place, and
// what it says of other records, byte for byte. It works in portions, each of which is a
// write of its own, and may be broken off and repeated. Changes that wait in quarantine are
// left alone, and so are damaged ones: while there is one, no record counts as cut out.
func (s *Store) Scrub(ctx context.Context, org syncengine.ID) (done Scrubbed, err error) {
	gone, texts := map[syncengine.ID]bool{}, []string(nil)
	var todo []syncengine.ID
	err = s.Snapshot(ctx, org, func(snap *Snapshot) error {
		return snap.EachErased(func(e *ErasedRecord) error {
			gone[e.ID] = true
			texts = append(texts, e.ID.String())
			if e.ScrubbedMS == 0 {
				todo = append(todo, e.ID)
			}
			return nil
		})
	})
	if err != nil || len(gone) == 0 {
		return done, err
	}
	c := &scrubbing{gone: gone, texts: texts}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		before := *c
		err := s.Write(ctx, org, 1, func(tx *Tx) (err error) {
			// It may run twice.
			at := before
			more, err = at.portion(tx)
			*c = at
			return err
		})
		if err != nil {
			return done, err
		}
	}
	if c.done.Damaged > 0 {
		return c.done, nil
	}
	return c.done, s.Write(ctx, org, 1, func(tx *Tx) error {
		tx.writes++
		for _, id := range todo {
			if err := tx.c.exec("UPDATE erased SET scrubbed_ms = $3 WHERE org = $1 AND record = $2 AND scrubbed_ms = 0", tx.org.num, id[:], tx.s.now().UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}

// unscrub notes of the erased records that a change speaks of, and that nobody waits for any
// more, that the change log is to be rid of them once more.
func (tx *Tx) unscrub(c *syncengine.StoredChange) error {
	if some, err := tx.hasRows(tableErased); err != nil || !some {
		return err
	}
	ids := map[syncengine.ID]bool{}
	eachNamed(c.Body, func(id syncengine.ID) { ids[id] = true })
	for id := range ids {
		if err := tx.c.exec("UPDATE erased SET scrubbed_ms = 0 WHERE org = $1 AND record = $2", tx.org.num, id[:]); err != nil {
			return err
		}
	}
	return nil
}

// scrubPortion is how many changes are looked at in one transaction.
const scrubPortion = 500

// scrubbing is how far a way through the change log has come.
type scrubbing struct {
	gone  map[syncengine.ID]bool
	texts []string
	// begun: stamp and id are those of the change that was looked at last.
	begun bool
	stamp int64
	id    syncengine.ID
	done  Scrubbed
}

func (c *scrubbing) portion(tx *Tx) (more bool, err error) {
	where, args := "", []any{int64(scrubPortion)}
	if c.begun {
		where, args = "(stamp, id) > ($3, $4) AND ", append(args, c.stamp, c.id[:])
	}
	rows, err := tx.changes(where+"1 = 1 ORDER BY stamp, id LIMIT CAST($2 AS BIGINT)", args...)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		c.begun, c.stamp, c.id = true, int64(syncengine.StampOf(row.ID)), row.ID
		if err := tx.whole(row); errors.Is(err, ErrDamaged) {
			c.done.Damaged++
			continue
		} else if err != nil {
			return false, err
		}
		rest, cut := c.cut(row.Body)
		if !cut {
			continue
		}
		if row.Outcome.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
			c.done.Kept++
			continue
		}
		left := sha256.Sum256(rest)
		tx.writes++
		if err := tx.c.exec("UPDATE change SET body = $1, holes = NULL, left_hash = $2 WHERE org = $3 AND stamp = $4 AND id = $5",
			bytesArg(rest), left[:], tx.org.num, c.stamp, row.ID[:]); err != nil {
			return false, err
		}
		c.done.Changes++
	}
	return len(rows) == scrubPortion, nil
}

// cut returns an encoded change without what it says of erased records, and whether it said
// anything. What cannot be read names no record.
func (c *scrubbing) cut(body []byte) (rest []byte, cut bool) {
	if len(c.gone) == 0 {
		return body, false
	}
	for at := body; len(at) > 0; {
		number, _, n := protowire.ConsumeField(at)
		if n < 0 {
			return body, false
		}
		switch speaks := c.speaks(number, at[:n]); {
		case speaks && !cut:
			rest, cut = slices.Clone(body[:len(body)-len(at)]), true
		case cut && !speaks:
			rest = append(rest, at[:n]...)
		}
		at = at[n:]
	}
	if !cut {
		return body, false
	}
	return rest, true
}

// speaks reports whether a field of a change is a write to an erased record, or what was
// typed about one and never saved.
func (c *scrubbing) speaks(number protowire.Number, field []byte) bool {
	switch number {
	case fieldRecords:
		id, ok := syncengine.IDFromBytes(bytesIn(field, fieldRecord))
		return ok && c.gone[id]
	case fieldDraft:
		key := string(bytesIn(field, fieldDraftKey))
		return slices.ContainsFunc(c.texts, func(id string) bool { return strings.Contains(key, id) })
	}
	return false
}

// bytesIn returns the bytes that a field holds of those that a message field holds, the
// last of them as every reader takes it; nil for none.
func bytesIn(field []byte, wanted protowire.Number) (found []byte) {
	_, typ, n := protowire.ConsumeTag(field)
	if typ != protowire.BytesType {
		return nil
	}
	inner, _ := protowire.ConsumeBytes(field[n:])
	for len(inner) > 0 {
		number, typ, n := protowire.ConsumeField(inner)
		if n < 0 {
			return nil
		}
		if number == wanted && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(inner)
			found, _ = protowire.ConsumeBytes(inner[tag:])
		}
		inner = inner[n:]
	}
	return found
}
