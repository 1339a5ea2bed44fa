package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// View is a record as a screen shows it: the server's state with the device's own
// unsettled changes on top. It is what a later save names as seen; it does not
// change when the record does.
type View struct {
	// ID and Kind. Kind is nil where this version does not know it.
	ID   syncengine.ID
	Kind *syncengine.Kind
	// Message holds the displayed values; nil for an unknown kind. It is the
	// caller's to change and to hand to a save.
	Message proto.Message
	// Origin is who created it, on which device, and when.
	Origin syncengine.Origin
	// Rev counts signed and amended states; 0 is a draft.
	Rev uint32
	// Lifecycle is the displayed lifecycle code.
	Lifecycle string
	// Pending is the number of own changes on top; AtServer: the server has the
	// record.
	Pending  int
	AtServer bool
	// LookedUpMS is the server's time when the record was looked up, 0 where this device
	// holds it: what was looked up is read and not written.
	LookedUpMS int64
	// Conflicts are what a human is to settle.
	Conflicts []Conflict
	// NotAccepted are own values that the server keeps and did not apply; only Get
	// fills it.
	NotAccepted []NotAccepted

	rec   *syncengine.Record
	state *syncengine.State
}

// Record returns body and stamps, which must not be changed.
func (v *View) Record() *syncengine.Record { return v.rec }

// Conflict is one path with several values.
type Conflict struct {
	// Path and the field's name.
	Path  syncengine.Path
	Field string
	// Choices are the values, the displayed one first where Displayed.
	Choices   []Choice
	Displayed bool
}

// Choice is one value of a path in conflict.
type Choice struct {
	// Stamp identifies it.
	Stamp syncengine.Stamp
	// Raw is the raw field, nil for an absence; Message is a message of the kind
	// that holds that field alone.
	Raw     []byte
	Message proto.Message
	// Author and Device are record ids, AtMS the device's clock, ReceivedMS the
	// server's; zero where they are not known here.
	Author, Device   syncengine.ID
	AtMS, ReceivedMS int64
}

// NotAccepted is an own save that the server did not apply. Its bytes are kept on
// both sides.
type NotAccepted struct {
	// Op is its number, Change its id, AtMS when it was saved.
	Op     uint64
	Change syncengine.ID
	AtMS   int64
	// Code says why, Words the same for people; neither once somebody has decided.
	Code  tandemv1.Refusal
	Words string
	// Verdict is how it stands: in quarantine, dismissed, or replaced. Reason is that of
	// a lead who has dismissed it.
	Verdict tandemv1.OutcomeCode
	Reason  string
	// Fields at fault, as "kind/field".
	Fields []string
	// Records are the ids it would have written; Decoded is the change.
	Records []syncengine.ID
	Decoded *tandemv1.Change
	// Values are what it would have written, field by field.
	Values []RefusedValue
	// Corrected: a save that takes its place waits to be sent. Quarantined alone says so.
	Corrected bool
}

// newView opens a stored record.
func (c *Client) newView(r *syncengine.DeviceRecord) (*View, error) {
	state, err := syncengine.Decode(&r.Record)
	if err != nil {
		return nil, fmt.Errorf("opening record %s: %w", r.ID, err)
	}
	v := &View{
		ID: r.ID, Kind: c.domain.Kind(r.Kind), Origin: state.Origin, Rev: state.Rev, Lifecycle: state.Lifecycle(),
		Pending: r.Pending, AtServer: r.HasBase, rec: &r.Record, state: state,
	}
	if v.Kind == nil {
		return v, nil
	}
	if v.Message, err = c.domain.Message(&r.Record); err != nil {
		return nil, fmt.Errorf("opening record %s: %w", r.ID, err)
	}
	for _, path := range state.Conflicts(v.Kind) {
		v.Conflicts = append(v.Conflicts, c.conflict(v.Kind, state, path))
	}
	return v, nil
}

func (c *Client) conflict(kind *syncengine.Kind, state *syncengine.State, path syncengine.Path) Conflict {
	heads, displayed := state.Heads(path)
	out := Conflict{Path: path, Field: c.cols.fieldName(kind, path.Field), Displayed: displayed}
	for _, h := range heads {
		choice := Choice{Stamp: h.Stamp, Raw: h.Raw, Author: h.Author, Device: h.Device, AtMS: h.AtMS, ReceivedMS: h.ReceivedMS}
		if msg := c.domain.NewMessage(kind.Number); h.Raw != nil && proto.Unmarshal(h.Raw, msg) == nil {
			choice.Message = msg
		}
		out.Choices = append(out.Choices, choice)
	}
	return out
}

// visible is the condition under which a record is shown: it is in a ready scope,
// or has own changes.
const visible = `(rec.pending > 0 OR rec.scopes & (SELECT coalesce(sum(1 << bit), 0) FROM scope WHERE ready) <> 0)`

// Get returns a record. ErrNotFound where it is not shown on this device and was not
// looked up; ErrLease where charts are closed, and it is not one that was made
// here and is unsent, nor opened in an emergency.
func (c *Client) Get(ctx context.Context, id syncengine.ID) (*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	var v *View
	closed := false
	err := c.store.read(ctx, "reading a record", func(rtx *sql.Tx) error {
		r, err := readRecord(ctx, rtx, id)
		if err != nil {
			return err
		}
		if r == nil {
			return ErrNotFound
		}
		closed = r.HasBase && c.leased() != nil
		if v, err = c.newView(r); err != nil {
			return err
		}
		v.NotAccepted, err = c.notAccepted(ctx, rtx, `o.op IN (SELECT op FROM outbox_write WHERE record = $1) AND o.state = 4`, id[:])
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return c.lookedUp(ctx, id)
	}
	if err == nil && closed {
		err = c.opened(ctx, id)
	}
	if err == nil {
		err = c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_READ, v)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// readRecord returns a shown record, nil where there is none.
func readRecord(ctx context.Context, rtx *sql.Tx, id syncengine.ID) (*syncengine.DeviceRecord, error) {
	rows, err := rtx.QueryContext(ctx, selectRecord+` AND `+visible, id[:])
	if err != nil {
		return nil, err
	}
	var found *syncengine.DeviceRecord
	err = eachRow(rows, func(scan func(...any) error) error {
		_, r, err := scanRecord(scan)
		found = r
		return err
	})
	return found, err
}

// notAccepted returns the quarantined changes that fit a condition.
func (c *Client) notAccepted(ctx context.Context, rtx *sql.Tx, where string, args ...any) (out []NotAccepted, err error) {
	//nolint:gosec // The condition is this package's text; values are arguments.
	rows, err := rtx.QueryContext(ctx, `SELECT `+opColumns+opTables+`WHERE `+where+` ORDER BY o.op`, args...)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		op, err := scanOp(scan)
		if err != nil {
			return err
		}
		n := NotAccepted{
			Op: op.Number, Change: op.Change, AtMS: op.AtMS, Code: op.Outcome.GetRefusal(),
			Words: RefusalWords(op.Outcome.GetRefusal()), Records: op.Records, Decoded: &tandemv1.Change{},
			Verdict: op.Outcome.GetCode(), Reason: op.Outcome.GetReason(),
		}
		if err := proto.Unmarshal(op.Raw, n.Decoded); err != nil {
			n.Decoded = nil
		}
		n.Fields = c.faultNames(op.Outcome.GetFields(), n.Decoded)
		n.Values = c.values(&n)
		out = append(out, n)
		return nil
	})
	return out, err
}
