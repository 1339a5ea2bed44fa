package syncengine

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Device is a device's end of the protocol: it captures changes, plans what to
// send and takes in what comes back. It holds no state of its own; safe for
// concurrent use.
type Device struct {
	// Rules is the domain.
	Rules Rules
	// Keep bounds the bytes of settled changes that are kept for a server that has to
	// heal; 0 is [KeptBytes].
	Keep uint64
}

// RefusalError says that a change cannot be captured as it is. Nothing was stored.
type RefusalError struct{ Refusal }

// Error names the code and the fields at fault, never a value.
func (e *RefusalError) Error() string {
	code := strings.ToLower(strings.TrimPrefix(e.Code.String(), "REFUSAL_"))
	if len(e.Fields) == 0 {
		return "not saved: " + code
	}
	return fmt.Sprintf("not saved: %s (%s)", code, strings.Join(e.Fields, ", "))
}

// Errors of captures.
var (
	// ErrNoRecord: the record to write is not on this device.
	ErrNoRecord = errors.New("the record is not on this device")
	// ErrExists: a record of that id is already on this device.
	ErrExists = errors.New("a record with that id is already on this device")
)

// Capture captures a save: it completes the change with the replica's author and
// device, judges it by the same rules as the server, puts it on top of the records
// it writes and appends it to the outbox. Nothing of c may be changed afterwards.
func (d *Device) Capture(tx DeviceTx, c *tandemv1.Change) (*Op, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	c.Author, c.Device, c.Schema = slices.Clone(st.Person[:]), slices.Clone(st.Device[:]), Schema
	id, ok := IDFromBytes(c.GetId())
	if !ok || StampOf(id) == 0 {
		return nil, &RefusalError{Refusal{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: []string{"id"}}}
	}
	if refusal := d.Rules.Check(c); refusal != nil {
		return nil, &RefusalError{*refusal}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxChange {
		return nil, &RefusalError{Refusal{Code: tandemv1.Refusal_REFUSAL_OVERSIZE}}
	}
	op := &Op{
		Number: st.NextOp, Change: id, Class: c.GetClass(), Raw: raw, Prev: st.LastHash,
		State: OpQueued, AtMS: c.GetTime().GetWallMs(),
	}
	op.Envelope = HashEnvelope(st.Replica, op.Number, op.Prev, sha256.Sum256(raw))
	by := writerOf(id, c)
	for _, w := range c.GetRecords() {
		if err := d.put(tx, op, w, by, len(c.GetReplaces()) > 0); err != nil {
			return nil, err
		}
	}
	slices.Sort(op.Needs)
	op.Needs = slices.Compact(op.Needs)
	next := *st
	next.NextOp, next.LastHash = op.Number+1, op.Envelope
	if err := tx.SaveState(&next); err != nil {
		return nil, err
	}
	return op, tx.AddOp(op)
}

func writerOf(id ID, c *tandemv1.Change) Writer {
	by := Writer{Stamp: StampOf(id), AtMS: c.GetTime().GetWallMs()}
	by.Author, _ = IDFromBytes(c.GetAuthor())
	by.Device, _ = IDFromBytes(c.GetDevice())
	return by
}

// put puts the writes to one record on top of what the device shows of it. again: the
// change stands in place of one that was not accepted.
func (d *Device) put(tx DeviceTx, op *Op, w *tandemv1.RecordWrite, by Writer, again bool) error {
	id, _ := IDFromBytes(w.GetRecord())
	kind := d.Rules.Kind(w.GetKind())
	rec, err := tx.Record(id)
	if err != nil {
		return err
	}
	create := w.GetAct() == tandemv1.Act_ACT_CREATE
	mine := slices.Contains(op.Records, id)
	switch {
	case create && rec != nil && !mine:
		return ErrExists
	case !create && (rec == nil || rec.Kind != w.GetKind()):
		return ErrNoRecord
	}
	next := &DeviceRecord{}
	var shown *Record
	if rec != nil {
		*next = *rec
		shown = &rec.Record
		if rec.HasBase && rec.Pending == 0 {
			base := rec.Record
			next.Base = &base
		}
		if rec.Pending > 0 && !mine {
			if err := d.needs(tx, op, id); err != nil {
				return err
			}
		}
	}
	if rec == nil && again {
		// Own changes may wait for the record that is made again.
		under, err := tx.OpsOn(id)
		if err != nil {
			return err
		}
		next.Pending = len(under)
	}
	hist := &outboxHistory{tx: tx, record: id}
	applied, err := Apply(kind, shown, w, by, hist)
	if err = errors.Join(err, hist.err); err != nil {
		return err
	}
	next.Record, next.Conflicts = *applied.Record, len(applied.State.Conflicts(kind))
	if !mine {
		next.Pending++
		op.Records = append(op.Records, id)
	}
	if err := d.named(tx, op, w); err != nil {
		return err
	}
	return tx.SaveRecord(next)
}

// needs notes that op must not arrive before the own changes under it.
func (d *Device) needs(tx DeviceTx, op *Op, record ID) error {
	ops, err := tx.OpsOn(record)
	if err != nil {
		return err
	}
	for _, o := range ops {
		if o.Number != op.Number {
			op.Needs = append(op.Needs, o.Number)
		}
	}
	return nil
}

// named notes the own creations that the written values refer to, so that
// what is urgent takes along what it names. A reference is any text that is the id
// of a record which the server does not have yet.
func (d *Device) named(tx DeviceTx, op *Op, w *tandemv1.RecordWrite) error {
	for _, id := range references(w) {
		if slices.Contains(op.Records, id) {
			continue
		}
		rec, err := tx.Record(id)
		if err != nil {
			return err
		}
		if rec == nil || rec.HasBase {
			continue
		}
		if err := d.needs(tx, op, id); err != nil {
			return err
		}
	}
	return nil
}

// references returns the ids that the values of a write hold as text, known fields
// or not.
func references(w *tandemv1.RecordWrite) (ids []ID) {
	collect := func(raw []byte) {
		for len(raw) > 0 {
			_, _, field, err := splitField(raw)
			if err != nil {
				return
			}
			raw = raw[len(field):]
			if id, ok := reference(field); ok {
				ids = append(ids, id)
			}
		}
	}
	collect(w.GetBody())
	for _, pw := range w.GetWrites() {
		collect(pw.GetValue())
	}
	return ids
}

// idTextSize is the size of an id's text form.
const idTextSize = 26

// reference returns the id that a raw field holds as text, or as the last text of a
// small message (a kind and an id).
func reference(raw []byte) (ID, bool) {
	if len(raw) < idTextSize {
		return ID{}, false
	}
	_, typ, n := protowire.ConsumeTag(raw)
	if n < 0 || typ != protowire.BytesType || len(raw) > 4*idTextSize {
		return ID{}, false
	}
	id, err := ParseID(string(raw[len(raw)-idTextSize:]))
	return id, err == nil
}

// outboxHistory is History for one record on a device. Of what others wrote it
// holds no more than the record; what it cannot tell the server's answer will.
type outboxHistory struct {
	tx     DeviceTx
	record ID
	// err is the first error of the store.
	err error
}

// Awaited reports nothing: own changes stand in order.
func (*outboxHistory) Awaited(Path, Stamp) (bool, error) { return false, nil }

// Await has nowhere to note it.
func (*outboxHistory) Await(Path, Stamp) error { return nil }

// Written knows of no head but those of the record.
func (*outboxHistory) Written(Path, Stamp) (Head, bool, error) { return Head{}, false, nil }

// QuarantinedBases looks among the own changes that the server keeps apart, or kept
// apart before it lost them.
func (h *outboxHistory) QuarantinedBases(p Path, s Stamp) ([]Stamp, error) {
	for _, state := range []OpState{OpQuarantined, OpDismissed, OpReplaced, OpReoffered} {
		after := uint64(0)
		for more := true; more; {
			ops, err := h.tx.OpsIn(state, after, 100)
			if err != nil {
				h.err = cmp.Or(h.err, err)
				return nil, err
			}
			for _, op := range ops {
				after = op.Number
				if StampOf(op.Change) == s && !isApplied(op.Outcome) {
					w, _ := writeIn(op.Raw, h.record, p)
					return w.Bases, nil
				}
			}
			more = len(ops) == 100
		}
	}
	return nil, nil
}
