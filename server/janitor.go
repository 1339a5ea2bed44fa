package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

const (
	// janitorEvery is how often the janitor looks.
	janitorEvery = time.Hour
	// markEvery is the time between two marks of where the history stands.
	markEvery = 12 * time.Hour
	// janitorBatch is how many records it looks at in one transaction.
	janitorBatch = 200
)

// ErrJanitorStopped says that the janitor of an org does nothing until an admin has
// looked at the server's clock.
var ErrJanitorStopped = errors.New("the janitor has stopped: the server's clock went back, or ahead by more than 48 hours, since it last ran; check the clock, then run tandem admin janitor --allow")

// Tidied is what the janitor did.
type Tidied struct {
	// Aged records have left the open tier, Locked ones were locked, and Expired are
	// consents and alerts whose last day is over.
	Aged, Locked, Expired int
}

// Tend runs the janitor of every org, now and each hour, until ctx ends.
func (s *Server) Tend(ctx context.Context) error {
	tick := time.NewTicker(janitorEvery)
	defer tick.Stop()
	for {
		orgs, err := s.store.Orgs(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("janitor failed")
		}
		for _, org := range orgs {
			done, err := s.Tidy(ctx, org.ID)
			if err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Stringer("org", org.ID).Msg("janitor did not run")
			} else if done != (Tidied{}) {
				s.log.Info().Stringer("org", org.ID).Int("aged", done.Aged).Int("locked", done.Locked).Int("expired", done.Expired).Msg("janitor ran")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Tidy turns the time that has passed into sequenced events: what has been quiet for
// long leaves the open tier, a call that was cleared is locked, a consent or an alert
// whose last day is over has expired. Quiet is told by marks
// of where the history stood, so that no clock but the server's has a say. Each event
// can be taken back and nothing is deleted. The error is ErrJanitorStopped where the
// server's clock is not to be trusted.
func (s *Server) Tidy(ctx context.Context, orgID syncengine.ID) (done Tidied, err error) {
	org, err := s.store.Org(ctx, orgID)
	if err != nil {
		return done, err
	}
	now := s.now().UnixMilli()
	t := &tidying{Server: s, org: org, domain: record.New(), now: now, quiet: map[int]uint64{}}
	if err := s.store.Write(ctx, orgID, 1, t.begin); err != nil {
		return done, err
	}
	if t.stopped {
		return done, ErrJanitorStopped
	}
	for _, scope := range t.scopes {
		t.at = syncengine.Member{}
		for more := true; more; {
			before := t.done
			err := s.store.Write(ctx, orgID, janitorBatch, func(tx *store.Tx) (err error) {
				// It may be run again.
				t.done = before
				more, err = t.some(tx, scope)
				return err
			})
			if err != nil {
				return t.done, err
			}
			t.at = t.next
		}
	}
	return t.done, t.expire(ctx)
}

// expire ends the consents and alerts whose last day is over.
func (t *tidying) expire(ctx context.Context) error {
	var due []syncengine.ID
	for _, name := range []string{"consent", "safety_alert"} {
		err := t.store.EachRecord(ctx, t.org.ID, t.domain.KindByName(name).Number, func(rec *syncengine.StoredRecord) error {
			if t.domain.Expired(&rec.Record, t.now) {
				due = append(due, rec.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for some := range slices.Chunk(due, janitorBatch) {
		before := t.done
		err := t.store.Write(ctx, t.org.ID, len(some), func(tx *store.Tx) error {
			// It may be run again.
			t.done = before
			return t.expireSome(tx, some)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tidying) expireSome(tx *store.Tx, ids []syncengine.ID) error {
	before := t.done
	batch, err := t.engine(t.org).Begin(tx, t.now)
	if err != nil {
		return err
	}
	for _, id := range ids {
		rec, err := tx.Record(id)
		if err != nil {
			return err
		}
		// Somebody may have revoked or prolonged it since.
		if rec == nil || !t.domain.Expired(&rec.Record, t.now) {
			continue
		}
		if err := t.apply(batch, rec, tandemv1.Act_ACT_SET, record.Expired, "janitor-expire"); err != nil {
			return err
		}
		t.done.Expired++
	}
	if _, err = batch.Commit(); err != nil || t.done == before {
		return err
	}
	return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_JANITOR, Count: uint64(t.done.Expired - before.Expired)})
}

// tidying is one run of the janitor over an org.
type tidying struct {
	*Server

	org     *store.Org
	domain  *record.Domain
	now     int64
	stopped bool
	scopes  []syncengine.ScopeKey
	// quiet is, by days, the sequence up to which nothing has changed for so long;
	// newest the largest of them.
	quiet  map[int]uint64
	newest uint64
	// at and next are how far a scope has been read.
	at, next syncengine.Member
	done     Tidied
}

// begin judges the clock, sets a mark and finds out what has been quiet for how long.
func (t *tidying) begin(tx *store.Tx) error {
	t.stopped, t.newest = false, 0
	j, err := tx.Janitor()
	if err != nil {
		return err
	}
	next, run := j.Look(t.now)
	if next != j {
		if err := tx.SaveJanitor(next); err != nil {
			return err
		}
	}
	if t.stopped = !run; t.stopped {
		return nil
	}
	head, err := tx.Head()
	if err != nil {
		return err
	}
	if at, _, ok, err := tx.MarkBefore(t.now); err != nil {
		return err
	} else if !ok || t.now-at >= markEvery.Milliseconds() {
		if err := tx.SaveMark(t.now, head.Seq); err != nil {
			return err
		}
	}
	for _, days := range []int{3, 30, 60} {
		_, seq, ok, err := tx.MarkBefore(t.now - int64(days)*24*time.Hour.Milliseconds())
		if err != nil {
			return err
		}
		if ok {
			t.quiet[days] = seq
			t.newest = max(t.newest, seq)
		}
	}
	if t.newest > 0 {
		t.scopes, err = tx.OpenScopes()
	}
	return err
}

// some looks at some records of a scope, the longest quiet first.
func (t *tidying) some(tx *store.Tx, scope syncengine.ScopeKey) (more bool, err error) {
	members, err := tx.Members(scope, t.at.Seq, t.at.Record, janitorBatch)
	if err != nil {
		return false, err
	}
	t.next = t.at
	before := t.done
	batch, err := t.engine(t.org).Begin(tx, t.now)
	if err != nil {
		return false, err
	}
	more = len(members) == janitorBatch
	for _, m := range members {
		if m.Seq > t.newest {
			more = false
			break
		}
		t.next = m
		if !m.Live {
			continue
		}
		if err := t.one(tx, batch, m.Record); err != nil {
			return false, err
		}
	}
	if _, err = batch.Commit(); err != nil || t.done == before {
		return more, err
	}
	return more, tx.Audit(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_JANITOR, Count: uint64(t.done.Aged - before.Aged + t.done.Locked - before.Locked),
	})
}

// one does what is due with one record.
func (t *tidying) one(tx *store.Tx, batch *syncengine.Batch, id syncengine.ID) error {
	rec, err := tx.Record(id)
	if err != nil || rec == nil {
		return err
	}
	due := t.domain.Ages(&rec.Record)
	if due.Days == 0 || rec.Seq > t.quiet[due.Days] {
		return nil
	}
	if !due.Lock {
		moved, err := batch.Age(id)
		if moved {
			t.done.Aged++
		}
		return err
	}
	if err := t.apply(batch, rec, tandemv1.Act_ACT_CLOSE, record.Locked, "janitor-lock"); err != nil {
		return err
	}
	t.done.Locked++
	return nil
}

// apply sets the status of a record as it stands. Made again of the same state it is the
// same change.
func (t *tidying) apply(batch *syncengine.Batch, rec *syncengine.StoredRecord, act tandemv1.Act, status, rule string) error {
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return err
	}
	path := syncengine.Path{Field: syncengine.FieldLifecycle}
	id := t.org.Secrets.DeriveID(rec.ID, rule, rec.Seq)
	w := &tandemv1.RecordWrite{
		Record: slices.Clone(rec.ID[:]), Kind: rec.Kind, Act: act,
		Writes: []*tandemv1.PathWrite{{
			Field: path.Field, Value: syncengine.StringField(path.Field, status),
			Bases: syncengine.EncodeStamps(state.Bases(path, false)),
		}},
	}
	if act != tandemv1.Act_ACT_SET {
		w.Seen = state.Seen()
	}
	raw, err := proto.Marshal(&tandemv1.Change{
		Id: id[:], Author: t.org.ID[:], Class: tandemv1.Class_CLASS_BULK, Schema: syncengine.Schema,
		Time: &tandemv1.ChangeTime{WallMs: t.now, OffsetKnown: true}, Records: []*tandemv1.RecordWrite{w},
	})
	if err != nil {
		return err
	}
	out, err := batch.Local(operator, raw)
	if err != nil {
		return err
	}
	if out.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		return fmt.Errorf("%w: %s", errNotApplied, out.GetRefusal())
	}
	return nil
}

// Janitor returns when the janitor last ran and, where it has stopped, what the clock
// showed then.
func (a *Admin) Janitor(ctx context.Context) (last, stopped time.Time, err error) {
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		j, err := tx.Janitor()
		if j.LastMS != 0 {
			last = time.UnixMilli(j.LastMS)
		}
		if j.StoppedMS != 0 {
			stopped = time.UnixMilli(j.StoppedMS)
		}
		return err
	})
	return last, stopped, err
}

// AllowJanitor lets the janitor go on from the clock as it stands now: an admin has
// looked at it. What is quiet is counted anew from here, since the marks may be of a
// clock that was wrong: by one of years ago everything would have been quiet for years.
func (a *Admin) AllowJanitor(ctx context.Context) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if err := tx.DropMarks(); err != nil {
			return err
		}
		if err := tx.SaveJanitor(syncengine.Janitor{LastMS: a.now().UnixMilli()}); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_JANITOR_ALLOWED})
	})
}
