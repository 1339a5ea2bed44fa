package simtest

import (
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

func init() {
	actions = append(actions,
		action{"weeks pass", 1, false, (*World).weeksPass},
		action{"the server's clock", 1, false, (*World).turnServerClock},
	)
	Rare = append(Rare, "aged", "locked", "janitor stopped")
}

const day = 86_400_000

// janitor is what turns time into events, and what the world knows of true time.
type janitor struct {
	syncengine.Janitor

	// skewMS is by how much the server's clock is wrong.
	skewMS int64
	// marks are where the history stood when, by the server's clock.
	marks []timeMark
	// backup is what of this is in the copy of the database.
	backup *janitor
	// since is, of each state of a record, when it was first seen, by true time. A server
	// that is set back has earlier ones again.
	since map[stateKey]int64
	// aged are the records that left the open tier, with the sequence of that.
	aged map[syncengine.ID]uint64
}

type timeMark struct {
	atMS int64
	seq  uint64
}

type stateKey struct {
	record syncengine.ID
	seq    uint64
}

// keep notes what is in a copy of the database, and setBack puts that back.
func (j *janitor) keep() { j.backup = &janitor{Janitor: j.Janitor, marks: slices.Clone(j.marks)} }

func (j *janitor) setBack() { j.Janitor, j.marks = j.backup.Janitor, slices.Clone(j.backup.marks) }

// weeksPass lets weeks go by in which nobody does anything but the janitor.
func (w *World) weeksPass() error {
	days := 1 + w.rng.IntN(70)
	w.event("%d days pass", days)
	for range days {
		w.lookAround()
		w.nowMS += day
		if err := w.tidyUp(); err != nil {
			return err
		}
		if w.janitor.StoppedMS != 0 && w.odds(8) {
			w.allow()
		}
	}
	return nil
}

// allow is an admin who has set the server's clock right and lets the janitor go on: what
// is quiet is counted anew.
func (w *World) allow() {
	w.event("the janitor is allowed to go on")
	w.janitor.skewMS, w.janitor.marks = 0, nil
	w.janitor.Janitor = syncengine.Janitor{LastMS: w.nowMS}
}

// turnServerClock sets the server's clock wrong by years, one way or the other; the
// janitor runs, and an admin looks at the clock.
func (w *World) turnServerClock() error {
	w.lookAround()
	w.janitor.skewMS = (w.rng.Int64N(21) - 10) * 365 * day
	w.event("the server's clock is wrong by %d", w.janitor.skewMS)
	if err := w.tidyUp(); err != nil {
		return err
	}
	if w.janitor.skewMS = 0; w.janitor.StoppedMS != 0 && w.odds(2) {
		w.allow()
	}
	return nil
}

// lookAround notes which records have changed since it last did.
func (w *World) lookAround() {
	if w.janitor.since == nil {
		w.janitor.since, w.janitor.aged = map[stateKey]int64{}, map[syncengine.ID]uint64{}
	}
	for _, id := range w.server.ids {
		key := stateKey{id, w.server.records[id].Seq}
		if _, known := w.janitor.since[key]; !known {
			w.janitor.since[key] = w.nowMS
		}
	}
}

// tidyUp is one run of the janitor, as the server's.
func (w *World) tidyUp() error {
	j := &w.janitor
	now := w.nowMS + j.skewMS
	next, run := j.Look(now)
	j.Janitor = next
	if !run {
		w.seen("janitor stopped")
		return nil
	}
	if n := len(j.marks); n == 0 || now-j.marks[n-1].atMS >= day/2 {
		j.marks = append(j.marks, timeMark{now, w.server.head.Seq})
	}
	for _, id := range slices.Clone(w.server.ids) {
		rec := w.server.records[id]
		due := w.rules.Ages(&rec.Record)
		if due.Days == 0 || rec.Seq > j.quiet(now-int64(due.Days)*day) {
			continue
		}
		since, known := j.since[stateKey{id, rec.Seq}]
		if !known || w.nowMS-since < int64(due.Days)*day {
			return &ViolationError{"I19", fmt.Sprintf("the janitor takes %s for quiet, and it was not for %d days", id, due.Days)}
		}
		if err := w.settle(id, due, rec); err != nil {
			return err
		}
	}
	return nil
}

// quiet returns the sequence at which the history stood at a time, 0 where that is not
// known.
func (j *janitor) quiet(atMS int64) (seq uint64) {
	newest := int64(-1)
	for _, m := range j.marks {
		if m.atMS <= atMS && m.atMS > newest {
			newest, seq = m.atMS, m.seq
		}
	}
	return seq
}

// settle does what is due with one record.
func (w *World) settle(id syncengine.ID, due record.Aging, rec *syncengine.StoredRecord) error {
	if due.Lock {
		out, err := w.local(w.lockOf(rec))
		if err == nil && out.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
			err = fmt.Errorf("the janitor locks %s: %v", id, out)
		}
		w.seen("locked")
		return err
	}
	fail, stay := w.mishap(), w.stays(30)
	moved := false
	var done *syncengine.Committed
	err := w.write(fail, stay, func(tx syncengine.ServerTx) error {
		b, err := w.engine.Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		if moved, err = b.Age(id); err != nil {
			return err
		}
		done, err = b.Commit()
		return err
	})
	if errors.Is(err, errStorage) || err == nil && (!stay || !moved) {
		return nil
	}
	if err != nil {
		return err
	}
	w.seen("aged")
	w.committed(done)
	now := w.server.records[id]
	w.janitor.aged[id] = now.Seq
	if now.Record.Hash() != rec.Hash || now.Hash != rec.Hash {
		return &ViolationError{"I14", fmt.Sprintf("by ageing %s has changed", id)}
	}
	return nil
}

// lockOf is a write that locks a record as it stands.
func (w *World) lockOf(rec *syncengine.StoredRecord) *tandemv1.RecordWrite {
	s, err := syncengine.Decode(&rec.Record)
	if err != nil {
		panic(err)
	}
	path := syncengine.Path{Field: syncengine.FieldLifecycle}
	return &tandemv1.RecordWrite{
		Record: slices.Clone(rec.ID[:]), Kind: rec.Kind, Act: tandemv1.Act_ACT_CLOSE, Seen: s.Seen(),
		Writes: []*tandemv1.PathWrite{{
			Field: path.Field, Value: syncengine.StringField(path.Field, record.Locked), Bases: syncengine.EncodeStamps(s.Bases(path, false)),
		}},
	}
}

// atHome reports whether a record is in the scopes where it belongs; one that was quiet
// for long is in the rest of them until the next change.
func (w *World) atHome(r *syncengine.StoredRecord, belongs []syncengine.ScopeKey) bool {
	if slices.Equal(r.Scopes, belongs) {
		return true
	}
	rest := slices.Clone(belongs)
	for i := range rest {
		rest[i].Open = rest[i].Open && !rest[i].Tiered()
	}
	slices.SortFunc(rest, syncengine.ScopeKey.Compare)
	return w.janitor.aged[r.ID] == r.Seq && slices.Equal(r.Scopes, slices.Compact(rest))
}
