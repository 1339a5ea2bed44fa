package syncengine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Fields of the synthetic kind: one of each policy, and one of each shape that it
// does not know.
const (
	fLifecycle = syncengine.FieldLifecycle
	fText      = 20  // keep-both
	fRisk      = 21  // safest-head
	fState     = 22  // state machine
	fLabel     = 23  // last-accepted
	fNew       = 60  // unknown
	fCodes     = 200 // set of codes
	fNewCodes  = 230 // unknown
	fPhones    = 300 // set of messages
	fNewParts  = 330 // unknown
	fEvents    = 400 // append-only
	fNewEvents = 430 // unknown
)

const kindNumber = 77

// kind is the synthetic kind.
var kind = &syncengine.Kind{
	Number:      kindNumber,
	Name:        "sample",
	Compartment: tandemv1.Compartment_COMPARTMENT_OPS,
	Fields: map[uint32]*syncengine.FieldRule{
		fLifecycle: {
			Number: fLifecycle, Name: "lifecycle", Policy: tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE,
			Legal: legalIn(map[string][]string{"draft": {"signed"}, "signed": {"amended"}, "amended": {"amended"}}),
		},
		fText: {Number: fText, Name: "text", Policy: tandemv1.MergePolicy_MERGE_POLICY_KEEP_BOTH},
		fRisk: {Number: fRisk, Name: "risk", Policy: tandemv1.MergePolicy_MERGE_POLICY_SAFEST_HEAD, Caution: caution},
		fState: {
			Number: fState, Name: "state", Policy: tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE,
			Legal: legalIn(map[string][]string{"offered": {"sent"}, "sent": {"accepted"}, "accepted": {"closed"}, "closed": {}}),
		},
		fLabel:  {Number: fLabel, Name: "label", Policy: tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED},
		fCodes:  {Number: fCodes, Name: "codes", Policy: tandemv1.MergePolicy_MERGE_POLICY_SET},
		fPhones: {Number: fPhones, Name: "phones", Policy: tandemv1.MergePolicy_MERGE_POLICY_SET},
		fEvents: {Number: fEvents, Name: "events", Policy: tandemv1.MergePolicy_MERGE_POLICY_APPEND},
	},
	Sealed: map[string]bool{"signed": true, "amended": true, "locked": true, "void": true},
}

// legalIn returns the transitions of a table. Void is reached from everywhere and
// left for anything; an absence may become anything, nothing may become absent.
func legalIn(table map[string][]string) func(from, to []byte) bool {
	return func(from, to []byte) bool {
		now, _ := syncengine.RawString(from)
		next, ok := syncengine.RawString(to)
		if !ok || from == nil {
			return ok
		}
		return now == next || next == "void" || now == "void" || slices.Contains(table[now], next)
	}
}

// caution ranks risks; a code that is not known ranks above the reassuring ones.
func caution(raw []byte) int {
	code, _ := syncengine.RawString(raw)
	return map[string]int{"none": 1, "low": 2, "high": 9}[code] + 3*btoi(!slices.Contains([]string{"none", "low", "high"}, code))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// policy of a path of the synthetic kind, by its table and not by the engine's.
func policy(field uint32) tandemv1.MergePolicy {
	if r := kind.Fields[field]; r != nil {
		return r.Policy
	}
	switch {
	case field < 200:
		return tandemv1.MergePolicy_MERGE_POLICY_KEEP_BOTH
	case field < 400:
		return tandemv1.MergePolicy_MERGE_POLICY_SET
	}
	return tandemv1.MergePolicy_MERGE_POLICY_APPEND
}

// edit is one write of a path as a test states it: text is the singular value, or
// what an element says beside its key; absent clears.
type edit struct {
	path   syncengine.Path
	text   string
	absent bool
	bases  []syncengine.Stamp
}

// raw is the field's bytes, nil for an absence.
func (e edit) raw() []byte {
	if e.absent {
		return nil
	}
	switch field := e.path.Field; {
	case field < 200:
		return syncengine.StringField(field, e.text)
	case field < 300:
		return syncengine.StringField(field, e.path.Key)
	default:
		msg := protowire.AppendTag(nil, 1, protowire.BytesType)
		msg = protowire.AppendString(msg, e.path.Key)
		msg = protowire.AppendTag(msg, 2, protowire.BytesType)
		msg = protowire.AppendString(msg, e.text)
		return protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(field), protowire.BytesType), msg)
	}
}

// change is one change of the sample record.
type change struct {
	stamp syncengine.Stamp
	act   tandemv1.Act
	edits []edit
	seen  []byte
}

// writer of a change: everything about it follows from the stamp.
func writerOf(s syncengine.Stamp) syncengine.Writer {
	return syncengine.Writer{
		Stamp: s, Author: idOf('a', uint64(s)), Device: idOf('d', uint64(s)),
		AtMS: 1_000_000 + int64(s), ReceivedMS: 2_000_000 + int64(s),
	}
}

func idOf(kind byte, n uint64) (id syncengine.ID) {
	id[0] = kind
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

var sampleID = idOf('r', 0x1122334455667788)

// message is the change in its wire form.
func (c *change) message() *tandemv1.RecordWrite {
	w := &tandemv1.RecordWrite{Record: sampleID[:], Kind: kindNumber, Act: c.act, Seen: c.seen}
	edits := slices.Clone(c.edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.path.Compare(b.path) })
	for _, e := range edits {
		if c.act == tandemv1.Act_ACT_CREATE {
			w.Body = append(w.Body, e.raw()...)
			continue
		}
		w.Writes = append(w.Writes, &tandemv1.PathWrite{
			Field: e.path.Field, Key: []byte(e.path.Key), Value: e.raw(), Bases: syncengine.EncodeStamps(e.bases),
		})
	}
	return w
}

// write returns what the change writes at a path.
func (c *change) write(p syncengine.Path) (edit, bool) {
	i := slices.IndexFunc(c.edits, func(e edit) bool { return e.path == p })
	if i < 0 {
		return edit{}, false
	}
	return c.edits[i], true
}

type awaitedKey struct {
	path  syncengine.Path
	stamp syncengine.Stamp
}

// shelf is one record with all that a server keeps about it. It is a History, and
// takes no change twice.
type shelf struct {
	rec        *syncengine.Record
	log        map[syncengine.Stamp]*change
	quarantine map[syncengine.Stamp]*change
	awaited    map[awaitedKey]bool
}

func newShelf() *shelf {
	return &shelf{
		log:        map[syncengine.Stamp]*change{},
		quarantine: map[syncengine.Stamp]*change{},
		awaited:    map[awaitedKey]bool{},
	}
}

// clone copies the shelf; records and changes are never altered.
func (s *shelf) clone() *shelf {
	return &shelf{rec: s.rec, log: maps.Clone(s.log), quarantine: maps.Clone(s.quarantine), awaited: maps.Clone(s.awaited)}
}

// accept applies a change, once. What waits for a value lies in quarantine.
func (s *shelf) accept(c *change) (*syncengine.Applied, error) {
	if s.log[c.stamp] != nil {
		return nil, nil
	}
	var before syncengine.Record
	if s.rec != nil {
		before = syncengine.Record{Body: slices.Clone(s.rec.Body), Stamps: slices.Clone(s.rec.Stamps)}
	}
	applied, err := syncengine.Apply(kind, s.rec, c.message(), writerOf(c.stamp), s)
	if s.rec != nil && (!slices.Equal(before.Body, s.rec.Body) || !slices.Equal(before.Stamps, s.rec.Stamps)) {
		return nil, errors.New("Apply altered the record that it was given")
	}
	if errors.Is(err, syncengine.ErrWaiting) {
		return nil, errors.Join(err, s.hold(c))
	}
	if err != nil {
		return nil, err
	}
	delete(s.quarantine, c.stamp)
	s.log[c.stamp] = c
	s.rec = applied.Record
	return applied, nil
}

// hold puts a change into quarantine.
func (s *shelf) hold(c *change) error {
	if s.log[c.stamp] != nil || s.quarantine[c.stamp] != nil {
		return nil
	}
	s.quarantine[c.stamp] = c
	if s.rec == nil {
		return nil
	}
	rec, err := syncengine.Stand(kind, s.rec, c.message(), writerOf(c.stamp), s)
	if err == nil && rec != nil {
		s.rec = rec
	}
	return err
}

// state takes the record apart, from its bytes.
func (s *shelf) state() *syncengine.State {
	st, err := syncengine.Decode(s.rec)
	if err != nil {
		panic(fmt.Sprintf("a merged record does not decode: %v", err))
	}
	return st
}

// Awaited, Await, QuarantinedBases and Written make the shelf a History.
func (s *shelf) Awaited(p syncengine.Path, stamp syncengine.Stamp) (bool, error) {
	return s.awaited[awaitedKey{p, stamp}], nil
}

// Await notes a base that is no head.
func (s *shelf) Await(p syncengine.Path, stamp syncengine.Stamp) error {
	s.awaited[awaitedKey{p, stamp}] = true
	return nil
}

// QuarantinedBases returns what a quarantined change names.
func (s *shelf) QuarantinedBases(p syncengine.Path, stamp syncengine.Stamp) ([]syncengine.Stamp, error) {
	if c := s.quarantine[stamp]; c != nil {
		e, _ := c.write(p)
		return e.bases, nil
	}
	return nil, nil
}

// Written returns the head that an accepted change wrote.
func (s *shelf) Written(p syncengine.Path, stamp syncengine.Stamp) (syncengine.Head, bool, error) {
	c := s.log[stamp]
	if c == nil {
		return syncengine.Head{}, false, nil
	}
	e, ok := c.write(p)
	if !ok {
		return syncengine.Head{}, false, nil
	}
	return headOf(stamp, e.raw()), true, nil
}

// RawChange is the encoded change that lies in quarantine under a stamp.
func (s *shelf) RawChange(stamp syncengine.Stamp) []byte {
	c := s.quarantine[stamp]
	if c == nil {
		return nil
	}
	raw, err := proto.Marshal(&tandemv1.Change{Records: []*tandemv1.RecordWrite{c.message()}})
	if err != nil {
		panic(err)
	}
	return raw
}

// headOf is the whole head that a stamp's change wrote.
func headOf(s syncengine.Stamp, raw []byte) syncengine.Head {
	by := writerOf(s)
	return syncengine.Head{Stamp: s, Raw: raw, Author: by.Author, Device: by.Device, AtMS: by.AtMS, ReceivedMS: by.ReceivedMS}
}
