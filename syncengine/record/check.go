package record

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Limits of what Check takes, beside the size of a change.
const (
	// MaxRecords is the largest number of record writes in one change.
	MaxRecords = 100
	// MaxReason is the longest reason of an act, in characters.
	MaxReason = 500

	maxVersion = 64  // of an app, in bytes
	maxMapping = 200 // name of an import's mapping, in bytes
	maxBoot    = 64  // identity of a boot, in bytes
	maxFaults  = 32  // named in one refusal
)

// Check judges a change by itself: form, limits and single fields. Fields of the
// refusal are "record-index/field-name", dotted inside messages, or the name of a
// field of the change; never a value. A field that this version does not know must
// be canonical, and is else taken as it is.
func (d *Domain) Check(c *tandemv1.Change) *syncengine.Refusal {
	k := checker{domain: d, change: c, at: -1}
	k.envelope()
	if len(k.fields) > 0 {
		return k.refusal()
	}
	for i, w := range c.GetRecords() {
		k.at = i
		if k.kind = d.kinds[w.GetKind()]; k.kind == nil {
			return k.unknown()
		}
		k.act(w)
		k.reason(w)
		if w.GetAct() == tandemv1.Act_ACT_CREATE {
			k.create(w)
		} else {
			k.writes(w)
		}
	}
	k.at = -1
	k.repeats()
	return k.refusal()
}

// checker gathers the faults of one change.
type checker struct {
	domain *Domain
	change *tandemv1.Change
	kind   *kind
	at     int // of the record at hand; -1 for the change itself
	fields []string
}

func (c *checker) fault(field string) {
	if c.at >= 0 {
		field = strconv.Itoa(c.at) + "/" + field
	}
	if len(c.fields) < maxFaults && !slices.Contains(c.fields, field) {
		c.fields = append(c.fields, field)
	}
}

// faultAt names a field by number.
func (c *checker) faultAt(number uint32) {
	c.fault(fieldName(c.kind.table.at(number), uint64(number)))
}

func (c *checker) refusal() *syncengine.Refusal {
	if len(c.fields) == 0 {
		return nil
	}
	return &syncengine.Refusal{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: c.fields}
}

// unknown refuses a kind that is not here. A newer app may know it: then the
// change waits for a newer server.
func (c *checker) unknown() *syncengine.Refusal {
	code := tandemv1.Refusal_REFUSAL_UNKNOWN_KIND
	if c.change.GetSchema() > syncengine.Schema {
		code = tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA
	}
	return &syncengine.Refusal{Code: code, Fields: []string{strconv.Itoa(c.at) + "/kind"}}
}

// isID reports whether b is an id; the zero id is none.
func isID(b []byte) bool {
	id, ok := syncengine.IDFromBytes(b)
	return ok && !id.IsZero()
}

// envelope checks what a change says of itself. A change made at the server has no
// device.
func (c *checker) envelope() {
	change := c.change
	if !isID(change.GetId()) {
		c.fault("id")
	}
	if !isID(change.GetAuthor()) {
		c.fault("author")
	}
	if len(change.GetDevice()) != 0 && !isID(change.GetDevice()) {
		c.fault("device")
	}
	if n := len(change.GetGrant()); n != 0 && n != 8 {
		c.fault("grant")
	}
	if len(change.GetTime().GetBoot()) > maxBoot {
		c.fault("time")
	}
	if v := change.GetAppVersion(); len(v) > maxVersion || !Text(v) {
		c.fault("app_version")
	}
	if len(change.GetReplaces()) != 0 && (!isID(change.GetReplaces()) || bytes.Equal(change.GetReplaces(), change.GetId())) {
		c.fault("replaces")
	}
	// Without records it withdraws what it replaces.
	if n := len(change.GetRecords()); n < 1 && len(change.GetReplaces()) == 0 || n > MaxRecords {
		c.fault("records")
		return
	}
	for i, w := range change.GetRecords() {
		if c.at = i; !isID(w.GetRecord()) {
			c.fault("record")
		}
	}
	c.at = -1
}

// act checks that a write has what its act asks for and nothing else.
func (c *checker) act(w *tandemv1.RecordWrite) {
	if _, known := actCodes[w.GetAct()]; !known {
		c.fault("act")
		return
	}
	if w.GetAct() == tandemv1.Act_ACT_CREATE {
		if len(w.GetBody()) == 0 {
			c.fault("body")
		}
		if len(w.GetWrites()) > 0 {
			c.fault("writes")
		}
		if len(w.GetSeen()) > 0 {
			c.fault("seen")
		}
		if !c.kind.takes(w.GetCompartment()) {
			c.fault("compartment")
		}
		c.imported(w.GetImportedFrom())
		return
	}
	if len(w.GetBody()) > 0 {
		c.fault("body")
	}
	if w.GetCompartment() != tandemv1.Compartment_COMPARTMENT_UNSPECIFIED {
		c.fault("compartment")
	}
	if w.GetImportedFrom() != nil {
		c.fault("imported_from")
	}
	if syncengine.CheckSeen(w.GetSeen()) != nil {
		c.fault("seen")
	}
	switch w.GetAct() {
	case tandemv1.Act_ACT_SET, tandemv1.Act_ACT_APPEND, tandemv1.Act_ACT_RESOLVE:
		if len(w.GetWrites()) == 0 {
			c.fault("writes")
		}
	case tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_AMEND:
		if len(w.GetSeen()) == 0 {
			c.fault("seen")
		}
	}
}

func (c *checker) imported(from *tandemv1.Import) {
	if from == nil {
		return
	}
	m := from.GetMapping()
	if m == "" || len(m) > maxMapping || !Text(m) || len(from.GetFile()) != len(syncengine.Hash{}) || from.GetRow() == 0 {
		c.fault("imported_from")
	}
}

// takes reports whether a record may be created in a compartment: the kind's own,
// or a stricter one. Clinical kinds alone have stricter ones; a protocol alone is an
// attachment that everybody reads.
func (k *kind) takes(c tandemv1.Compartment) bool {
	switch c {
	case tandemv1.Compartment_COMPARTMENT_UNSPECIFIED, k.Compartment:
		return true
	case tandemv1.Compartment_COMPARTMENT_SUD:
		return k.Compartment == tandemv1.Compartment_COMPARTMENT_CLINICAL
	case tandemv1.Compartment_COMPARTMENT_PRIVATE:
		return k.Name == note
	case tandemv1.Compartment_COMPARTMENT_REF:
		return k.Name == attachment
	}
	return false
}

func (c *checker) reason(w *tandemv1.RecordWrite) {
	r := w.GetReason()
	switch w.GetAct() {
	case tandemv1.Act_ACT_VOID, tandemv1.Act_ACT_AMEND:
		if strings.TrimSpace(r) == "" {
			c.fault("reason")
			return
		}
	}
	if len(r) > MaxReason && utf8.RuneCountInString(r) > MaxReason || !Text(r) {
		c.fault("reason")
	}
}

// create checks the body of a new record.
func (c *checker) create(w *tandemv1.RecordWrite) {
	fields, err := syncengine.ParseBody(w.GetBody())
	if err != nil {
		c.fault("body")
		return
	}
	var lifecycle, team, sort []byte
	formed := true
	for _, f := range fields {
		formed = c.value(f.Path, f.Raw) && formed
		switch f.Path.Field {
		case syncengine.FieldLifecycle:
			lifecycle = f.Raw
		case syncengine.FieldTeam:
			team = f.Raw
		case noteType: // The same number as attachmentCategory.
			sort = f.Raw
		}
	}
	if lifecycle != nil && w.GetImportedFrom() == nil {
		c.lifecycle(w.GetAct(), lifecycle)
	}
	if team == nil && c.kind.ofTeam() && w.GetCompartment() != tandemv1.Compartment_COMPARTMENT_REF {
		c.fault("team_id")
	}
	if c.kind.Name == note {
		code, _ := syncengine.RawString(sort)
		if (code == privateNote) != (w.GetCompartment() == tandemv1.Compartment_COMPARTMENT_PRIVATE) {
			c.fault("compartment")
		}
	}
	if c.kind.Name == attachment {
		code, _ := syncengine.RawString(sort)
		if (code == protocol) != (w.GetCompartment() == tandemv1.Compartment_COMPARTMENT_REF) {
			c.fault("compartment")
		}
	}
	if formed {
		c.rules(w.GetBody())
	}
}

// ofTeam reports whether records of the kind belong to a team: all but reference
// data.
func (k *kind) ofTeam() bool {
	return k.Compartment != tandemv1.Compartment_COMPARTMENT_REF
}

// writes checks the writes of single paths.
func (c *checker) writes(w *tandemv1.RecordWrite) {
	var values []byte
	formed, lifecycle := true, false
	slow := c.kind.table.slow
	var taken paths
	for _, pw := range w.GetWrites() {
		path := syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}
		if !taken.add(path) || len(pw.GetBases())%8 != 0 || !keyed(path) {
			c.faultAt(path.Field)
			formed = false
			continue
		}
		if path.Field == syncengine.FieldLifecycle {
			lifecycle = true
			c.lifecycle(w.GetAct(), pw.GetValue())
		}
		if len(pw.GetValue()) == 0 {
			c.clears(path)
			continue
		}
		if syncengine.CheckRaw(path, pw.GetValue()) != nil {
			c.faultAt(path.Field)
			formed = false
			continue
		}
		formed = c.value(path, pw.GetValue()) && formed
		if slow {
			values = append(values, pw.GetValue()...)
		}
		if w.GetAct() == tandemv1.Act_ACT_APPEND && syncengine.ShapeOf(path.Field) != syncengine.ShapeAppend {
			c.faultAt(path.Field)
		}
		// The compartment is set once, at creation.
		if c.kind.Name == note && path.Field == noteType || c.kind.Name == attachment && path.Field == attachmentCategory {
			if code, _ := syncengine.RawString(pw.GetValue()); code == privateNote || code == protocol {
				c.faultAt(path.Field)
			}
		}
	}
	if actCodes[w.GetAct()].must && !lifecycle {
		c.fault("lifecycle")
	}
	if formed && len(values) > 0 {
		c.rules(values)
	}
}

// paths is a set of paths; most changes write few.
type paths struct {
	few  []syncengine.Path
	many map[syncengine.Path]bool
}

// add adds a path and reports whether it was new.
func (s *paths) add(p syncengine.Path) bool {
	if s.many == nil {
		if slices.Contains(s.few, p) {
			return false
		}
		if s.few = append(s.few, p); len(s.few) > 16 {
			s.many = make(map[syncengine.Path]bool, 2*len(s.few))
			for _, q := range s.few {
				s.many[q] = true
			}
		}
		return true
	}
	if s.many[p] {
		return false
	}
	s.many[p] = true
	return true
}

// keyed reports whether a path has the key that its shape asks for.
func keyed(p syncengine.Path) bool {
	switch syncengine.ShapeOf(p.Field) {
	case syncengine.ShapeSingular:
		return p.Key == ""
	case syncengine.ShapeCodeSet:
		return p.Key != "" && Text(p.Key)
	case syncengine.ShapeElementSet, syncengine.ShapeAppend:
		return len(p.Key) == syncengine.ElementKeySize
	}
	return false
}

// clears checks a write that clears a path or removes an element.
func (c *checker) clears(p syncengine.Path) {
	if syncengine.ShapeOf(p.Field) == syncengine.ShapeAppend || p.Field == syncengine.FieldTeam && c.kind.ofTeam() {
		c.faultAt(p.Field)
	}
}

// lifecycle checks that an act writes a lifecycle code that it may write. A code
// of a newer version is left to the transitions.
func (c *checker) lifecycle(act tandemv1.Act, raw []byte) {
	code, ok := syncengine.RawString(raw)
	list := c.kind.table.at(syncengine.FieldLifecycle).list
	_, known := list.place[code]
	if !ok || known && !slices.Contains(actCodes[act].codes, code) {
		c.fault("lifecycle")
	}
}

// value checks the form of one raw value that is canonical on the outside.
func (c *checker) value(p syncengine.Path, raw []byte) bool {
	f := c.kind.table.at(p.Field)
	if f == nil {
		if syncengine.ShapeOf(p.Field) == syncengine.ShapeCodeSet && !Text(p.Key) {
			c.faultAt(p.Field)
			return false
		}
		return true
	}
	if bad := f.faultName(raw); bad != "" {
		c.fault(bad)
		return false
	}
	return true
}

// rules applies the annotations that are the validator's alone.
func (c *checker) rules(values []byte) {
	if !c.kind.table.slow {
		return
	}
	msg := c.kind.message.New().Interface()
	if err := proto.Unmarshal(values, msg); err != nil {
		c.fault("body")
		return
	}
	for _, name := range c.domain.invalid(msg) {
		c.fault(name)
	}
}

// invalid returns the names of the fields that break their annotations.
func (d *Domain) invalid(msg proto.Message) []string {
	err := d.validator.Validate(msg)
	if err == nil {
		return nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return []string{"body"}
	}
	var names []string
	for _, v := range broken.Violations {
		var name strings.Builder
		for _, e := range v.Proto.GetField().GetElements() {
			if name.Len() > 0 {
				name.WriteByte('.')
			}
			name.WriteString(e.GetFieldName())
		}
		if !slices.Contains(names, name.String()) {
			names = append(names, name.String())
		}
	}
	return names
}

// repeats checks that records that stand in several writes are made once, and
// that no path of theirs is written twice.
func (c *checker) repeats() {
	records := c.change.GetRecords()
	for i, w := range records {
		again := false
		for _, e := range records[:i] {
			again = again || bytes.Equal(e.GetRecord(), w.GetRecord())
		}
		if again {
			c.at = i
			c.repeated(i)
		}
	}
	c.at = -1
}

// repeated checks write i against the earlier ones of its record.
func (c *checker) repeated(i int) {
	w := c.change.GetRecords()[i]
	var taken paths
	for _, e := range c.change.GetRecords()[:i] {
		if !bytes.Equal(e.GetRecord(), w.GetRecord()) {
			continue
		}
		if e.GetKind() != w.GetKind() {
			c.fault("kind")
			return
		}
		if w.GetAct() == tandemv1.Act_ACT_CREATE {
			c.fault("act")
		}
		for _, p := range pathsOf(e) {
			taken.add(p)
		}
	}
	c.kind = c.domain.kinds[w.GetKind()]
	for _, p := range pathsOf(w) {
		if !taken.add(p) {
			c.faultAt(p.Field)
		}
	}
}

// pathsOf returns the paths that a write writes.
func pathsOf(w *tandemv1.RecordWrite) []syncengine.Path {
	fields, err := syncengine.ParseBody(w.GetBody())
	if err != nil {
		return nil
	}
	paths := make([]syncengine.Path, 0, len(fields)+len(w.GetWrites()))
	for _, f := range fields {
		paths = append(paths, f.Path)
	}
	for _, pw := range w.GetWrites() {
		paths = append(paths, syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())})
	}
	return paths
}
