package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Errors of forms.
var (
	// ErrFormDraft: the agency has a draft of the form already.
	ErrFormDraft = errors.New("the agency has a draft of this form: publish it, or void it, before the next version is imported")
	// ErrFormSettled: the form is published, retired or void, and does not change.
	ErrFormSettled = errors.New("only a draft may be edited or published: import the corrected form as its next version")
	// ErrFormNotPublished: only what is published is retired.
	ErrFormNotPublished = errors.New("only a published form is retired; a draft is voided")
	// ErrFormReason: voiding takes a reason.
	ErrFormReason = errors.New("say why, in at most 500 characters")
	// ErrFormSize: a form does not fit into one change.
	ErrFormSize = errors.New("the form is too long to be stored: split it into several")
)

// FormState is a form as it stands.
type FormState struct {
	ID   syncengine.ID
	Form *tandemv1.Form
}

// Forms returns all forms: by code, then by version.
func (a *Admin) Forms(ctx context.Context) (forms []FormState, err error) {
	domain := record.New()
	err = a.store.EachRecord(ctx, a.org.ID, domain.KindByName("form").Number, func(rec *syncengine.StoredRecord) error {
		f, err := formOf(rec)
		if err == nil {
			forms = append(forms, FormState{ID: rec.ID, Form: f})
		}
		return err
	})
	slices.SortFunc(forms, func(x, y FormState) int {
		return cmp.Or(
			strings.Compare(x.Form.GetCode(), y.Form.GetCode()),
			cmp.Compare(x.Form.GetVersion(), y.Form.GetVersion()), x.ID.Compare(y.ID))
	})
	return forms, err
}

// Form returns one form.
func (a *Admin) Form(ctx context.Context, id syncengine.ID) (f *tandemv1.Form, err error) {
	err = a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(id)
		if err != nil {
			return err
		}
		if rec == nil || rec.Kind != record.New().KindByName("form").Number {
			return &AbsentError{Kind: "form"}
		}
		f, err = formOf(rec)
		return err
	})
	return f, err
}

func formOf(rec *syncengine.StoredRecord) (*tandemv1.Form, error) {
	msg, err := record.New().Message(&rec.Record)
	if err != nil {
		return nil, err
	}
	f, ok := msg.(*tandemv1.Form)
	if !ok {
		return nil, &AbsentError{Kind: "form"}
	}
	return f, nil
}

// AddForm makes a draft of a form for an agency and returns its id. Its version is the
// next of the forms of that code in the agency. The error is form.FaultError where the form
// cannot be played.
func (a *Admin) AddForm(ctx context.Context, agency syncengine.ID, f *tandemv1.Form) (syncengine.ID, error) {
	if faults := form.Check(f.GetDefinition()); len(faults) > 0 {
		return syncengine.ID{}, faults
	}
	if proto.Size(f) > syncengine.MaxChange*3/4 {
		return syncengine.ID{}, ErrFormSize
	}
	all, err := a.Forms(ctx)
	if err != nil {
		return syncengine.ID{}, err
	}
	version := uint32(1)
	for _, o := range all {
		if o.Form.GetCode() != f.GetCode() || o.Form.GetAgencyId() != agency.String() {
			continue
		}
		if o.Form.GetLifecycle() == record.Draft {
			return syncengine.ID{}, ErrFormDraft
		}
		version = max(version, o.Form.GetVersion()+1)
	}
	draft := proto.CloneOf(f)
	draft.AgencyId, draft.Lifecycle, draft.Schema, draft.Version = new(agency.String()), new(record.Draft), schema(), &version
	if !a.by.IsZero() {
		var id syncengine.ID
		_, err := a.Change(ctx, a.by, func(c *Composer) (err error) {
			id, err = c.Create(draft)
			return err
		})
		return id, err
	}
	return a.add(ctx, func(tx *store.Tx, _ syncengine.ID) (proto.Message, error) {
		_, err := a.find(tx, "agency", agency)
		return draft, err
	})
}

// EditForm changes a draft by edit. The error is form.FaultError where the form could then
// not be played; nothing is changed.
func (a *Admin) EditForm(ctx context.Context, id syncengine.ID, edit func(*tandemv1.Form) error) error {
	return a.formAct(ctx, id, tandemv1.Act_ACT_SET, "", func(f *tandemv1.Form) error {
		if f.GetLifecycle() != record.Draft {
			return ErrFormSettled
		}
		if err := edit(f); err != nil {
			return err
		}
		if faults := form.Check(f.GetDefinition()); len(faults) > 0 {
			return faults
		}
		if proto.Size(f) > syncengine.MaxChange*3/4 {
			return ErrFormSize
		}
		return nil
	})
}

// PublishForm publishes a draft as it stands, for good, and retires the version before.
// The error is form.FaultError where something is missing.
func (a *Admin) PublishForm(ctx context.Context, id syncengine.ID) error {
	return a.PublishFormSeen(ctx, id, func(*tandemv1.Form) error { return nil })
}

// PublishFormSeen is PublishForm of a draft that seen does not refuse: what stood on a screen.
func (a *Admin) PublishFormSeen(ctx context.Context, id syncengine.ID, seen func(*tandemv1.Form) error) error {
	var now *tandemv1.Form
	err := a.formAct(ctx, id, tandemv1.Act_ACT_SIGN, "", func(f *tandemv1.Form) error {
		if f.GetLifecycle() != record.Draft {
			return ErrFormSettled
		}
		if err := seen(f); err != nil {
			return err
		}
		if faults := form.Publishable(f); len(faults) > 0 {
			return faults
		}
		f.Lifecycle = new(record.Published)
		now = f
		return nil
	})
	if err != nil {
		return err
	}
	all, err := a.Forms(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.ID != id && o.Form.GetCode() == now.GetCode() && o.Form.GetAgencyId() == now.GetAgencyId() &&
			o.Form.GetLifecycle() == record.Published && o.Form.GetVersion() < now.GetVersion() {
			if err := a.RetireForm(ctx, o.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// RetireForm takes a published form out of use: it is offered no more, and what was
// answered in it can still be read.
func (a *Admin) RetireForm(ctx context.Context, id syncengine.ID) error {
	return a.RetireFormSeen(ctx, id, func(*tandemv1.Form) error { return nil })
}

// RetireFormSeen is RetireForm of a form that seen does not refuse: what stood on a screen.
func (a *Admin) RetireFormSeen(ctx context.Context, id syncengine.ID, seen func(*tandemv1.Form) error) error {
	return a.formAct(ctx, id, tandemv1.Act_ACT_CLOSE, "", func(f *tandemv1.Form) error {
		if f.GetLifecycle() != record.Published {
			return ErrFormNotPublished
		}
		if err := seen(f); err != nil {
			return err
		}
		f.Lifecycle = new(record.Retired)
		return nil
	})
}

// VoidForm says that a form was a mistake.
func (a *Admin) VoidForm(ctx context.Context, id syncengine.ID, reason string) error {
	return a.VoidFormSeen(ctx, id, reason, func(*tandemv1.Form) error { return nil })
}

// VoidFormSeen is VoidForm of a form that seen does not refuse: what stood on a screen.
func (a *Admin) VoidFormSeen(ctx context.Context, id syncengine.ID, reason string, seen func(*tandemv1.Form) error) error {
	reason = record.CleanText(strings.TrimSpace(reason))
	if reason == "" || len([]rune(reason)) > record.MaxReason {
		return ErrFormReason
	}
	return a.formAct(ctx, id, tandemv1.Act_ACT_VOID, reason, func(f *tandemv1.Form) error {
		if err := seen(f); err != nil {
			return err
		}
		f.Lifecycle, f.VoidReason = new(record.Void), &reason
		return nil
	})
}

// formAct applies one act of the operator to a form, with the writes that edit makes.
func (a *Admin) formAct(ctx context.Context, id syncengine.ID, act tandemv1.Act, reason string, edit func(*tandemv1.Form) error) error {
	return a.edit(ctx, "form", id, act, reason, func(msg proto.Message) error {
		f, ok := msg.(*tandemv1.Form)
		if !ok {
			return &AbsentError{Kind: "form"}
		}
		return edit(f)
	})
}

// editAs is edit as a change of the member of staff's.
func (a *Admin) editAs(ctx context.Context, kind string, id syncengine.ID, act tandemv1.Act, reason string, do func(proto.Message) error) error {
	_, err := a.Change(ctx, a.by, func(c *Composer) error {
		rec, before, err := c.Record(id)
		if err != nil {
			return err
		}
		if rec.Kind != c.domain.KindByName(kind).Number {
			return &AbsentError{Kind: kind}
		}
		after := proto.Clone(before)
		if err := do(after); err != nil {
			return err
		}
		if err := a.sound(after, before, c.now); err != nil {
			return err
		}
		return c.Write(rec, act, after, reason)
	})
	return err
}

// sound refuses what a form would not take.
func (*Admin) sound(after, before proto.Message, nowMS int64) error {
	var faults []record.Problem
	for _, p := range record.New().Validate(after, record.Entry{Before: before, NowMS: nowMS}) {
		if !p.Warn {
			faults = append(faults, p)
		}
	}
	if len(faults) > 0 {
		return &InvalidError{Problems: faults}
	}
	return nil
}

// edit applies one act of the operator to a record of a kind, with the writes that do
// makes.
func (a *Admin) edit(ctx context.Context, kind string, id syncengine.ID, act tandemv1.Act, reason string, do func(proto.Message) error) error {
	if !a.by.IsZero() {
		return a.editAs(ctx, kind, id, act, reason, do)
	}
	now := a.now().UnixMilli()
	change, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	engine, domain := a.engine(), record.New()
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		rec, err := a.find(tx, kind, id)
		if err != nil {
			return err
		}
		before, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		after := proto.Clone(before)
		if err := do(after); err != nil {
			return err
		}
		if err := a.sound(after, before, now); err != nil {
			return err
		}
		fields, err := domain.Diff(before, after)
		if err != nil {
			return err
		}
		if len(fields) == 0 {
			return nil
		}
		state, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		w := &tandemv1.RecordWrite{Record: id[:], Kind: rec.Kind, Act: act, Reason: reason}
		for _, f := range fields {
			w.Writes = append(w.Writes, &tandemv1.PathWrite{
				Field: f.Path.Field, Key: []byte(f.Path.Key), Value: f.Raw,
				Bases: syncengine.EncodeStamps(state.Bases(f.Path, true)),
			})
		}
		if act != tandemv1.Act_ACT_SET {
			w.Seen = state.Seen()
		}
		encoded, err := proto.Marshal(&tandemv1.Change{
			Id: change[:], Author: a.org.ID[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema,
			Time: &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true}, Records: []*tandemv1.RecordWrite{w},
		})
		if err != nil {
			return fmt.Errorf("encoding a change: %w", err)
		}
		if err := applyLocal(engine, tx, encoded, now); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SET_UP, Subject: id[:], Kind: rec.Kind})
	})
}
