package syncengine

import (
	"errors"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Loaded is a record as another server of the org held it: its displayed values, and who
// made it. What else there was of it is not known.
type Loaded struct {
	// Write creates the record: id, kind, body, compartment, where it was imported from.
	Write *tandemv1.RecordWrite
	// Author and Device of its creation, and AtMS, when by the device's clock.
	Author, Device ID
	AtMS           int64
	// Rev is how many signed or amended states it has had.
	Rev uint32
}

// Errors of a record that cannot be loaded.
var (
	// ErrLoadThere: there is a record of that id, which this did not make.
	ErrLoadThere = errors.New("there is a record of that id already")
	// ErrLoadForm: it is in no form that could be kept.
	ErrLoadForm = errors.New("it is not in a form that can be kept")
)

// Load stores a record as another server held it, by a change of its own that bears author,
// device and time of the record's creation. Who may write what was judged there, and is not
// judged again: any state is taken, signed and void ones too. What follows from the record
// (disclosures, alert cards) is loaded itself, and not made anew. Records that it names
// come first, as far as they are there. Loading it again has the effect of once; loaded is
// false then.
func (b *Batch) Load(l *Loaded) (loaded bool, err error) {
	id, ok := IDFromBytes(l.Write.GetRecord())
	kind := b.srv.Rules.Kind(l.Write.GetKind())
	if !ok || id.IsZero() || kind == nil || l.Write.GetAct() != tandemv1.Act_ACT_CREATE {
		return false, ErrLoadForm
	}
	made := b.srv.Secrets.DeriveID(id, "loaded", 0)
	if known, err := b.tx.Change(made); err != nil || known != nil {
		return false, err
	}
	if there, err := b.tx.Record(id); err != nil || there != nil {
		return false, errors.Join(err, ErrLoadThere)
	}
	if erased, err := b.erased(id); err != nil || erased {
		return false, errors.Join(err, ErrLoadThere)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&tandemv1.Change{
		Id: made[:], Author: idBytes(l.Author), Device: idBytes(l.Device), Class: tandemv1.Class_CLASS_BULK, Schema: Schema,
		Time: &tandemv1.ChangeTime{WallMs: l.AtMS}, Records: []*tandemv1.RecordWrite{l.Write},
	})
	if err != nil {
		return false, fmt.Errorf("encoding a change: %w", err)
	}
	c := &StoredChange{
		ID: made, BodyHash: HashBody(raw), Body: raw, ReceivedMS: b.now, CorrectedMS: l.AtMS,
		Author: l.Author, Device: l.Device, AtMS: l.AtMS,
	}
	applied, err := create(kind, l.Write, Writer{Stamp: StampOf(made), Author: l.Author, Device: l.Device, AtMS: l.AtMS, ReceivedMS: b.now},
		&serverHistory{tx: b.tx, record: id})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrLoadForm, err)
	}
	applied.State.Rev = l.Rev
	applied.Record.Stamps = applied.State.encodeStamps(false)
	res := &result{Applied: applied, kind: kind}
	if res.scopes, res.followers, err = b.scopesOf(res.Record); err != nil {
		return false, err
	}
	b.conclude(c, []*result{res}, nil)
	if err := b.tx.SaveChange(c); err != nil {
		return false, err
	}
	if err := b.save(res, c); err != nil {
		return false, err
	}
	if err := b.arrived([]*result{res}, c.Seq); err != nil {
		return false, err
	}
	if err := b.lead(res, c.Seq); err != nil {
		return false, err
	}
	return true, b.holdStaff(res)
}
