package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ErrQuarantineFull says that a device has as much in quarantine as it may: what would
// go there stays with it.
var ErrQuarantineFull = errors.New("this device has as much in quarantine as a server keeps of one: a lead must decide on some of it; nothing was lost")

// UndecidedError says why a decision on a change in quarantine was not carried out.
// Nothing has changed.
type UndecidedError struct {
	Code   tandemv1.Refusal
	Fields []string
}

// Error says it in plain words, with what to do instead.
func (e *UndecidedError) Error() string {
	why := "the change cannot be applied as it is"
	switch e.Code {
	case tandemv1.Refusal_REFUSAL_FORBIDDEN:
		why = "its author never held the right to it, or it reaches beyond what you lead"
	case tandemv1.Refusal_REFUSAL_NO_TARGET, tandemv1.Refusal_REFUSAL_BUNDLED:
		why = "the record that it belongs to is not there; if its creation is in quarantine too, release that"
	case tandemv1.Refusal_REFUSAL_DRAFT:
		why = "it is a draft, which its author never saved: quote it at a record (--on), or dismiss it"
	case tandemv1.Refusal_REFUSAL_WAITING:
		why = "it signs over a value that has not arrived"
	case tandemv1.Refusal_REFUSAL_UNKNOWN_KIND, tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA:
		why = "this server is too old to know what it holds"
	}
	if len(e.Fields) > 0 {
		why += " (" + strings.Join(e.Fields, ", ") + ")"
	}
	return why + ": nothing was changed; dismiss it with a reason, or replace it"
}

// Quarantine returns what a member of staff may see of quarantine, oldest first: see
// syncengine.Server.Quarantined.
func (a *Admin) Quarantine(ctx context.Context, as syncengine.ID) (items []*syncengine.QuarantineItem, err error) {
	engine := a.engine()
	err = a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error {
		p, err := a.staff(engine, view, as)
		if err != nil {
			return err
		}
		items, err = engine.Quarantined(view, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_QUARANTINE_READ, Person: as[:], Count: uint64(len(items))}
	for _, item := range items {
		e.Records = append(e.Records, item.Change.ID[:]...)
	}
	if err := a.note(ctx, e); err != nil {
		return nil, err
	}
	return items, nil
}

// Release applies a change in quarantine as it is, for a lead, with those that wait for
// it. The error is syncengine.ErrNoItem or an *UndecidedError where it cannot be.
func (a *Admin) Release(ctx context.Context, as, change syncengine.ID) (*tandemv1.Outcome, error) {
	return a.decide(ctx, as, change, tandemv1.AuditAct_AUDIT_ACT_RELEASED, func(b *syncengine.Batch, p *syncengine.Principal) (*tandemv1.Outcome, error) {
		return b.Release(p, change)
	})
}

// Dismiss closes a change in quarantine without applying it, for a lead. Its author is
// told the reason.
func (a *Admin) Dismiss(ctx context.Context, as, change syncengine.ID, reason string) (*tandemv1.Outcome, error) {
	return a.decide(ctx, as, change, tandemv1.AuditAct_AUDIT_ACT_DISMISSED, func(b *syncengine.Batch, p *syncengine.Principal) (*tandemv1.Outcome, error) {
		return b.Dismiss(p, change, reason)
	})
}

// Draft is one write of a change that is to be replaced.
type Draft struct {
	// Record, its kind, and what is done to it.
	Record syncengine.ID
	Kind   *syncengine.Kind
	Act    tandemv1.Act
	// Message holds the values: the whole record where it is to be made, the written
	// fields else. It is for the caller to change.
	Message proto.Message
}

// Replace writes a change in quarantine again as a lead's own, with the values that edit
// has corrected, and closes the old one. It returns the id of the new change.
func (a *Admin) Replace(ctx context.Context, as, change syncengine.ID, edit func([]Draft) error) (syncengine.ID, error) {
	now := a.now().UnixMilli()
	id, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return id, err
	}
	items, err := a.Quarantine(ctx, as)
	if err != nil {
		return id, err
	}
	var old *tandemv1.Change
	for _, item := range items {
		if item.Change.ID == change && item.Decoded != nil {
			old = item.Decoded
		}
	}
	if old == nil {
		return id, syncengine.ErrNoItem
	}
	next, domain := syncengine.Supersede(old), record.New()
	next.Id, next.Author, next.Replaces, next.Schema = id[:], as[:], change[:], syncengine.Schema
	next.Time = &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true}
	drafts := make([]Draft, 0, len(next.GetRecords()))
	for _, w := range next.GetRecords() {
		d := Draft{Kind: domain.Kind(w.GetKind()), Act: w.GetAct()}
		d.Record, _ = syncengine.IDFromBytes(w.GetRecord())
		if d.Message, err = domain.Values(w); err != nil {
			return id, err
		}
		drafts = append(drafts, d)
	}
	if err := edit(drafts); err != nil {
		return id, err
	}
	for i, w := range next.GetRecords() {
		if err := domain.SetValues(w, drafts[i].Message); err != nil {
			return id, err
		}
	}
	raw, err := proto.Marshal(next)
	if err != nil {
		return id, fmt.Errorf("encoding a change: %w", err)
	}
	_, err = a.decide(ctx, as, change, tandemv1.AuditAct_AUDIT_ACT_REPLACED, func(b *syncengine.Batch, p *syncengine.Principal) (*tandemv1.Outcome, error) {
		return b.Replace(p, raw)
	})
	return id, err
}

// decide carries out a decision of a member of staff, with the rights that they have in
// that transaction.
func (a *Admin) decide(ctx context.Context, as, change syncengine.ID, act tandemv1.AuditAct, do func(*syncengine.Batch, *syncengine.Principal) (*tandemv1.Outcome, error)) (out *tandemv1.Outcome, err error) {
	engine := a.engine()
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		p, err := a.staff(engine, tx, as)
		if err != nil {
			return err
		}
		batch, err := engine.Begin(tx, a.now().UnixMilli())
		if err != nil {
			return err
		}
		if out, err = do(batch, p); err != nil {
			return err
		}
		if _, err = batch.Commit(); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: act, Person: as[:], Subject: change[:]})
	})
	if refused, ok := errors.AsType[*syncengine.RefusalError](err); ok {
		if err := a.note(ctx, &tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Person: as[:], Subject: change[:], Code: "decision " + refused.Code.String(), Count: 1,
		}); err != nil {
			return nil, err
		}
		return nil, &UndecidedError{Code: refused.Code, Fields: refused.Fields}
	}
	return out, err
}

// staff returns the rights of a member of staff.
func (*Admin) staff(engine *syncengine.Server, view syncengine.ServerView, id syncengine.ID) (*syncengine.Principal, error) {
	rec, err := view.Record(id)
	if err != nil {
		return nil, err
	}
	if rec == nil || !engine.Rules.Staff(rec.Kind) {
		return nil, &AbsentError{Kind: "staff"}
	}
	p, err := engine.Principal(view, &syncengine.Replica{Person: id})
	if err != nil {
		return nil, err
	}
	if len(p.Roles) == 0 {
		return nil, ErrStaffInactive
	}
	return p, nil
}

func (a *Admin) engine() *syncengine.Server {
	return &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
}

// retry judges again what an older version of this server did not know.
func (s *Server) retry(ctx context.Context) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		applied := 0
		err := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
			batch, err := s.engine(org).Begin(tx, s.now().UnixMilli())
			if err != nil {
				return err
			}
			if applied, err = batch.Retry(); err != nil {
				return err
			}
			if _, err = batch.Commit(); err != nil || applied == 0 {
				return err
			}
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_RETRIED, Count: uint64(applied)})
		})
		if err != nil {
			return err
		}
		if applied > 0 {
			s.log.Info().Stringer("org", org.ID).Int("changes", applied).Msg("changes that this version knows were taken out of quarantine")
		}
	}
	return nil
}
