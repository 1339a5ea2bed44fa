package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ErrMoved says that a record is not what stood on the screen any more.
var ErrMoved = errors.New("the record has changed since it was shown: look at it again, nothing was saved")

// RefusedError says that a change was not made. Nothing was kept.
type RefusedError struct {
	Code   tandemv1.Refusal
	Fields []string
}

// Error implements error.
func (e *RefusedError) Error() string {
	why := "it is not in a form that can be kept"
	switch e.Code {
	case tandemv1.Refusal_REFUSAL_FORBIDDEN:
		why = "your role does not allow it"
	case tandemv1.Refusal_REFUSAL_NO_TARGET:
		why = "the record is not there, or not yours to change"
	}
	if len(e.Fields) > 0 {
		why += " (" + strings.Join(e.Fields, ", ") + ")"
	}
	return "not saved: " + why
}

// Composer puts a change together inside the transaction that will judge it. Not safe for
// concurrent use.
type Composer struct {
	// Tx is the transaction, Principal who makes the change, with the rights of now.
	Tx        *store.Tx
	Principal *syncengine.Principal

	domain *record.Domain
	change *tandemv1.Change
	made   map[syncengine.ID]tandemv1.Compartment
	held   map[syncengine.ScopeKey]bool
	now    int64
	rand   io.Reader
}

// Change makes a change of a member of staff's at the server: judged by their rights as
// one of a device would be, applied whole or not at all, and noted in the audit log. A
// change that is refused leaves nothing but an entry there; the error is a *RefusedError
// then. It returns the id of the change.
func (a *Admin) Change(ctx context.Context, as syncengine.ID, build func(*Composer) error) (syncengine.ID, error) {
	now, engine := a.now().UnixMilli(), a.engine()
	id, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return id, err
	}
	var refused *RefusedError
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		refused = nil
		p, err := a.staff(engine, tx, as)
		if err != nil {
			return err
		}
		c := &Composer{
			Tx: tx, Principal: p, domain: record.New(), now: now, rand: a.rand, made: map[syncengine.ID]tandemv1.Compartment{}, held: map[syncengine.ScopeKey]bool{},
			change: &tandemv1.Change{Id: id[:], Author: as[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true}},
		}
		for _, k := range engine.Rules.Grants(tx.Org(), p) {
			c.held[k] = true
		}
		if err := build(c); err != nil {
			return err
		}
		if len(c.change.GetRecords()) == 0 {
			return nil
		}
		raw, err := proto.Marshal(c.change)
		if err != nil {
			return fmt.Errorf("encoding a change: %w", err)
		}
		batch, err := engine.Begin(tx, now)
		if err != nil {
			return err
		}
		out, err := batch.Local(p, raw)
		if err != nil {
			return err
		}
		if code := out.GetCode(); code != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED && code != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
			refused = &RefusedError{Code: out.GetRefusal(), Fields: c.named(out.GetFields())}
			return refused
		}
		if _, err := batch.Commit(); err != nil {
			return err
		}
		first := c.change.GetRecords()[0]
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Person: as[:], Subject: first.GetRecord(), Kind: first.GetKind(),
			Code: strings.ToLower(strings.TrimPrefix(first.GetAct().String(), "ACT_")), Count: uint64(len(c.change.GetRecords())),
		})
	})
	if refused != nil {
		return id, errors.Join(refused, a.note(ctx, &tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Person: as[:], Code: "change " + refused.Code.String(), Count: 1,
		}))
	}
	return id, err
}

// named are fields of a refusal without the place of the record.
func (*Composer) named(fields []string) (names []string) {
	for _, f := range fields {
		if _, name, ok := strings.Cut(f, "/"); ok {
			f = name
		}
		names = append(names, f)
	}
	return names
}

// NowMS is when the change is made.
func (c *Composer) NowMS() int64 { return c.now }

// Record returns a record that the person may read, with its message: an *AbsentError for
// one that is not there and for one that they may not.
func (c *Composer) Record(id syncengine.ID) (*syncengine.StoredRecord, proto.Message, error) {
	rec, err := c.Tx.Record(id)
	if err != nil {
		return nil, nil, err
	}
	if rec == nil || !slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool { return c.held[k] }) {
		return nil, nil, &AbsentError{Kind: "record"}
	}
	msg, err := c.domain.Message(&rec.Record)
	return rec, msg, err
}

// NewID makes an id for a record that is to be made.
func (c *Composer) NewID() (syncengine.ID, error) { return syncengine.NewID(c.now, c.rand) }

// Create adds a record, in the compartment of what it hangs on, and returns its id.
func (c *Composer) Create(msg proto.Message) (syncengine.ID, error) {
	id, err := c.NewID()
	if err != nil {
		return id, err
	}
	return id, c.CreateAs(id, msg)
}

// CreateAs is Create with an id of the caller's.
func (c *Composer) CreateAs(id syncengine.ID, msg proto.Message) error {
	if err := c.domain.EnsureElements(msg, c.rand); err != nil {
		return err
	}
	var faults []record.Problem
	for _, p := range c.domain.Validate(msg, record.Entry{NowMS: c.now}) {
		if !p.Warn {
			faults = append(faults, p)
		}
	}
	if len(faults) > 0 {
		return &InvalidError{Problems: faults}
	}
	body, err := c.domain.Body(msg)
	if err != nil {
		return err
	}
	kind := c.domain.KindOf(msg)
	w := &tandemv1.RecordWrite{Record: id[:], Kind: kind.Number, Act: tandemv1.Act_ACT_CREATE, Body: body}
	look := func(id syncengine.ID) (*syncengine.Record, error) {
		rec, err := c.Tx.Record(id)
		if err != nil || rec == nil {
			return nil, err
		}
		return &rec.Record, nil
	}
	in, err := c.domain.Inherited(kind.Number, body, look, c.made)
	if err != nil {
		return err
	}
	if in != kind.Compartment {
		w.Compartment = in
	}
	c.made[id] = in
	c.change.Records = append(c.change.Records, w)
	return nil
}

// wholes are the acts on a whole record: they name what the actor saw.
var wholes = []tandemv1.Act{
	tandemv1.Act_ACT_VOID, tandemv1.Act_ACT_RESTORE, tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_AMEND, tandemv1.Act_ACT_CLOSE, tandemv1.Act_ACT_MERGE, tandemv1.Act_ACT_APPROVE,
}

// Write adds an act on a record: the fields in which after differs from it.
func (c *Composer) Write(rec *syncengine.StoredRecord, act tandemv1.Act, after proto.Message, reason string) error {
	return c.WriteOver(rec, act, after, reason)
}

// WriteOver is Write that settles every value of some paths besides.
func (c *Composer) WriteOver(rec *syncengine.StoredRecord, act tandemv1.Act, after proto.Message, reason string, over ...syncengine.Path) error {
	if err := c.domain.EnsureElements(after, c.rand); err != nil {
		return err
	}
	body, err := c.domain.Body(after)
	if err != nil {
		return err
	}
	fields, err := record.DiffBodies(rec.Body, body)
	if err != nil || len(fields) == 0 {
		return err
	}
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return err
	}
	w := &tandemv1.RecordWrite{Record: rec.ID[:], Kind: rec.Kind, Act: act, Reason: reason}
	if slices.Contains(wholes, act) {
		w.Seen = state.Seen()
	}
	for _, f := range fields {
		w.Writes = append(w.Writes, writeOf(state, f.Path, f.Raw, act == tandemv1.Act_ACT_RESOLVE || slices.Contains(over, f.Path)))
	}
	c.change.Records = append(c.change.Records, w)
	return nil
}

// Resolve settles a path of a record with a raw value; nil is absence. Every value that
// stands there now is settled.
func (c *Composer) Resolve(rec *syncengine.StoredRecord, path syncengine.Path, raw []byte, reason string) error {
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return err
	}
	c.change.Records = append(c.change.Records, &tandemv1.RecordWrite{
		Record: rec.ID[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_RESOLVE, Reason: reason,
		Writes: []*tandemv1.PathWrite{writeOf(state, path, raw, true)},
	})
	return nil
}

func writeOf(state *syncengine.State, path syncengine.Path, raw []byte, all bool) *tandemv1.PathWrite {
	w := &tandemv1.PathWrite{Field: path.Field, Value: raw, Bases: syncengine.EncodeStamps(state.Bases(path, all))}
	if path.Key != "" {
		w.Key = []byte(path.Key)
	}
	return w
}
