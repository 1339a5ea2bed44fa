package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Saved is a save that is on the disk.
type Saved struct {
	// Change is its id, Op its number; zero where nothing had changed.
	Change syncengine.ID
	Op     uint64
	// Records are the ids it wrote.
	Records []syncengine.ID
}

// Edit captures one save: fn puts it together, then everything it wrote is stored
// with its place in the outbox in one transaction, or nothing is. Where the save
// itself is at fault the error is an *InvalidError; nothing of what a person typed
// is in it. When Edit returns nil error the save survives a power cut.
func (c *Client) Edit(ctx context.Context, fn func(*Edit) error) (*Saved, error) {
	return c.edit(ctx, fn, nil)
}

// edit is Edit, with something besides in the same transaction; nil for nothing.
func (c *Client) edit(ctx context.Context, fn func(*Edit) error, besides func(*tx) error) (*Saved, error) {
	if _, err := c.identity(); err != nil {
		return nil, err
	}
	e := c.newEdit()
	if err := fn(e); err != nil {
		return nil, err
	}
	saved := &Saved{}
	if e.empty() {
		return saved, nil
	}
	var made *captured
	err := c.store.write(ctx, "saving", func(t *tx) error {
		rights, err := c.rights(t)
		if err != nil {
			return err
		}
		if saved, err = c.capture(t, e, rights); err != nil {
			return err
		}
		made = &t.captured
		if besides == nil {
			return nil
		}
		return besides(t)
	})
	if err != nil {
		return nil, err
	}
	c.seal(ctx, made)
	c.log.Debug().Uint64("op", saved.Op).Int("records", len(saved.Records)).Msg("saved")
	c.yieldFiles(e.change.GetClass() == tandemv1.Class_CLASS_URGENT)
	signal(c.work)
	return saved, nil
}

// signal wakes whoever waits on a channel of one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Edit is one save being put together: writes to one or more records, all or
// nothing. Not safe for concurrent use.
type Edit struct {
	c      *Client
	change *tandemv1.Change
	// err is the first fault: a save with one is not stored.
	err error
}

func (c *Client) newEdit() *Edit {
	return &Edit{c: c, change: &tandemv1.Change{Class: tandemv1.Class_CLASS_NORMAL}}
}

func (e *Edit) empty() bool { return len(e.change.GetRecords()) == 0 && e.err == nil }

func (e *Edit) fail(err error) error {
	if e.err == nil {
		e.err = err
	}
	return err
}

// Class sets how urgently the save travels; normal unless set.
func (e *Edit) Class(class tandemv1.Class) { e.change.Class = class }

// CreateOption is an option of Create.
type CreateOption func(*tandemv1.RecordWrite)

// WithID gives the record an id of the caller's; otherwise it gets a new one.
func WithID(id syncengine.ID) CreateOption {
	return func(w *tandemv1.RecordWrite) { w.Record = slices.Clone(id[:]) }
}

// WithCompartment puts the record in a stricter compartment than it would be put in,
// which is that of what it hangs on, or its program's.
func WithCompartment(c tandemv1.Compartment) CreateOption {
	return func(w *tandemv1.RecordWrite) { w.Compartment = c }
}

// WithImport says where an imported record came from. It may then say not_recorded
// and lack what an entry by hand must have.
func WithImport(from *tandemv1.Import) CreateOption {
	return func(w *tandemv1.RecordWrite) { w.ImportedFrom = from }
}

// Create makes a record of a kind's message, and returns its id. Team, program,
// agency, time zone, schema and the first lifecycle code are filled in where msg
// lacks them and they are known; elements without an id get one. msg is the
// caller's again afterwards.
func (e *Edit) Create(msg proto.Message, options ...CreateOption) (syncengine.ID, error) {
	kind := e.c.domain.KindOf(msg)
	if kind == nil {
		return syncengine.ID{}, e.fail(record.ErrUnknownKind)
	}
	w := &tandemv1.RecordWrite{Kind: kind.Number, Act: tandemv1.Act_ACT_CREATE}
	for _, o := range options {
		o(w)
	}
	id, ok := syncengine.IDFromBytes(w.GetRecord())
	if !ok {
		var err error
		if id, err = e.c.newID(); err != nil {
			return id, e.fail(err)
		}
		w.Record = slices.Clone(id[:])
	}
	msg = proto.Clone(msg)
	if err := e.c.complete(kind, msg); err != nil {
		return id, e.fail(err)
	}
	if err := e.c.judge(kind, msg, record.Entry{Imported: w.GetImportedFrom() != nil}, nil); err != nil {
		return id, e.fail(err)
	}
	var err error
	if w.Body, err = e.c.domain.Body(msg); err != nil {
		return id, e.fail(err)
	}
	e.change.Records = append(e.change.Records, w)
	return id, nil
}

// Set writes the fields in which after differs from what v showed, and nothing
// where there are none. after is usually v.Message, changed.
func (e *Edit) Set(v *View, after proto.Message) error {
	return e.write(v, after, tandemv1.Act_ACT_SET, "", "")
}

// Append adds elements to append-only fields, and nothing else.
func (e *Edit) Append(v *View, after proto.Message) error {
	return e.write(v, after, tandemv1.Act_ACT_APPEND, "", "")
}

// Close ends the work on a record: lifecycle cleared or locked, or empty where
// another field of after says it.
func (e *Edit) Close(v *View, after proto.Message, lifecycle string) error {
	return e.write(v, after, tandemv1.Act_ACT_CLOSE, lifecycle, "")
}

// Sign signs exactly what v showed, with the changes that after makes.
func (e *Edit) Sign(v *View, after proto.Message) error {
	return e.write(v, after, tandemv1.Act_ACT_SIGN, record.Signed, "")
}

// Amend changes a signed or locked record, with a reason.
func (e *Edit) Amend(v *View, after proto.Message, reason string) error {
	lifecycle := record.Amended
	if v.Lifecycle == record.Locked {
		lifecycle = record.Locked
	}
	return e.write(v, after, tandemv1.Act_ACT_AMEND, lifecycle, reason)
}

// Approve puts a proposed record in force, as v showed it and with the changes that
// after makes.
func (e *Edit) Approve(v *View, after proto.Message) error {
	return e.write(v, after, tandemv1.Act_ACT_APPROVE, record.Active, "")
}

// Void voids a record, with a reason. Nothing is deleted.
func (e *Edit) Void(v *View, reason string) error {
	return e.write(v, v.Message, tandemv1.Act_ACT_VOID, record.Void, reason)
}

// Restore takes a void back, to the lifecycle that the record had before.
func (e *Edit) Restore(v *View, lifecycle, reason string) error {
	return e.write(v, v.Message, tandemv1.Act_ACT_RESTORE, lifecycle, reason)
}

// Resolve settles a path in conflict with one of its choices, or with another raw
// value of the same path; nil is absence. All values that v showed are settled.
func (e *Edit) Resolve(v *View, path syncengine.Path, raw []byte, reason string) error {
	if v.Kind == nil {
		return e.fail(record.ErrUnknownKind)
	}
	w := e.begin(v, tandemv1.Act_ACT_RESOLVE, reason)
	w.Writes = []*tandemv1.PathWrite{pathWrite(v, path, raw, true)}
	e.change.Records = append(e.change.Records, w)
	return nil
}

// write adds the writes of an act: the fields in which after differs from v, and the
// lifecycle code that the act leads to.
func (e *Edit) write(v *View, after proto.Message, act tandemv1.Act, lifecycle, reason string) error {
	if v.Kind == nil || e.c.domain.KindOf(after) != v.Kind {
		return e.fail(record.ErrUnknownKind)
	}
	after = proto.Clone(after)
	e.c.put(after, "lifecycle", lifecycle)
	switch act {
	case tandemv1.Act_ACT_SIGN:
		e.c.signature(after)
	case tandemv1.Act_ACT_AMEND:
		e.c.put(after, "amend_reason", reason)
	case tandemv1.Act_ACT_VOID:
		e.c.put(after, "void_reason", reason)
	}
	if err := e.c.domain.EnsureElements(after, randomReader{e.c}); err != nil {
		return e.fail(err)
	}
	body, err := e.c.domain.Body(after)
	if err != nil {
		return e.fail(err)
	}
	fields, err := record.DiffBodies(v.rec.Body, body)
	if err != nil {
		return e.fail(err)
	}
	if len(fields) == 0 && (act == tandemv1.Act_ACT_SET || act == tandemv1.Act_ACT_APPEND) {
		return nil
	}
	if act != tandemv1.Act_ACT_VOID && act != tandemv1.Act_ACT_RESTORE {
		touched := map[string]bool{}
		for _, f := range fields {
			touched[e.c.cols.fieldName(v.Kind, f.Path.Field)] = true
		}
		// v.Message is the caller's and may hold the new values by now.
		before, err := e.c.domain.Message(v.rec)
		if err != nil {
			return e.fail(err)
		}
		target := lifecycle
		if target == "" && touched["lifecycle"] {
			target = lifecycleOf(after)
		}
		if err := e.c.judge(v.Kind, after, record.Entry{Before: before, Target: target}, touched); err != nil {
			return e.fail(err)
		}
	}
	w := e.begin(v, act, reason)
	for _, f := range fields {
		w.Writes = append(w.Writes, pathWrite(v, f.Path, f.Raw, false))
	}
	if lifecycle != "" && !slices.ContainsFunc(fields, func(f syncengine.Field) bool { return f.Path.Field == syncengine.FieldLifecycle }) {
		// The act says its lifecycle even where the screen showed it already.
		path := syncengine.Path{Field: syncengine.FieldLifecycle}
		w.Writes = append(w.Writes, pathWrite(v, path, syncengine.StringField(path.Field, lifecycle), false))
	}
	e.change.Records = append(e.change.Records, w)
	return nil
}

// lifecycleOf returns the lifecycle code of a kind's message.
func lifecycleOf(msg proto.Message) string {
	m := msg.ProtoReflect()
	return m.Get(m.Descriptor().Fields().ByNumber(syncengine.FieldLifecycle)).String()
}

// begin starts the write of an act on what v showed.
func (e *Edit) begin(v *View, act tandemv1.Act, reason string) *tandemv1.RecordWrite {
	w := &tandemv1.RecordWrite{Record: slices.Clone(v.ID[:]), Kind: v.Kind.Number, Act: act, Reason: reason}
	switch act {
	case tandemv1.Act_ACT_SET, tandemv1.Act_ACT_APPEND, tandemv1.Act_ACT_RESOLVE:
	default:
		w.Seen = v.state.Seen()
	}
	return w
}

// pathWrite is a write of one path with the heads that v showed as its bases.
func pathWrite(v *View, path syncengine.Path, raw []byte, all bool) *tandemv1.PathWrite {
	w := &tandemv1.PathWrite{Field: path.Field, Value: raw, Bases: syncengine.EncodeStamps(v.state.Bases(path, all))}
	if path.Key != "" {
		w.Key = []byte(path.Key)
	}
	return w
}

// judge says what a form would not take. touched are the fields that the save
// writes, nil for all: what another author left undone stops nobody's edit, except
// where the save leads the record into a state that asks for it.
func (c *Client) judge(kind *syncengine.Kind, msg proto.Message, entry record.Entry, touched map[string]bool) error {
	entry.NowMS = c.opts.Now().UnixMilli()
	var fields []string
	for _, p := range c.validate(context.Background(), msg, entry) { // A short read of reference data, if any.
		if p.Warn {
			continue
		}
		mine := touched == nil || entry.Target != "" || slices.ContainsFunc(p.Fields, func(f string) bool {
			name, _, _ := strings.Cut(f, ".")
			return touched[name] && !p.Missing
		})
		if !mine {
			continue
		}
		if len(p.Fields) == 0 {
			fields = append(fields, kind.Name)
		}
		for _, f := range p.Fields {
			fields = append(fields, kind.Name+"/"+f)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	slices.Sort(fields)
	return &InvalidError{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: slices.Compact(fields)}
}

// capture stores a save. rights are the author's.
func (c *Client) capture(t *tx, e *Edit, rights *syncengine.Principal) (*Saved, error) {
	if e.err != nil {
		return nil, e.err
	}
	id, err := c.newID()
	if err != nil {
		return nil, err
	}
	scopes, err := t.Scopes()
	if err != nil {
		return nil, err
	}
	change := e.change
	change.Id, change.AppVersion = slices.Clone(id[:]), c.opts.Version
	change.Grant = grantHash(scopes)
	if change.Time, err = c.changeTime(t); err != nil {
		return nil, err
	}
	if err := c.house(t, change); err != nil {
		return nil, err
	}
	if err := c.allowed(t, change, rights); err != nil {
		return nil, err
	}
	op, err := c.device.Capture(t, change)
	if refused, ok := errors.AsType[*syncengine.RefusalError](err); ok {
		return nil, &InvalidError{Code: refused.Code, Fields: c.faultNames(refused.Fields, change)}
	}
	if errors.Is(err, syncengine.ErrNoRecord) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if err := c.among(t, change); err != nil {
		return nil, err
	}
	return &Saved{Change: id, Op: op.Number, Records: op.Records}, nil
}

// grantHash is the hash of the grants that the author held when writing.
func grantHash(scopes []syncengine.DeviceScope) []byte {
	if len(scopes) == 0 {
		return nil
	}
	ids := make([]syncengine.ScopeID, 0, len(scopes))
	for i := range scopes {
		ids = append(ids, scopes[i].ID)
	}
	return syncengine.HashScopeSet(ids)[:8]
}

// faultNames turns "index/field" of a refusal into "kind/field".
func (c *Client) faultNames(faults []string, change *tandemv1.Change) []string {
	names := make([]string, 0, len(faults))
	for _, f := range faults {
		index, field, ok := strings.Cut(f, "/")
		if n, err := strconv.Atoi(index); ok && err == nil && n >= 0 && n < len(change.GetRecords()) {
			if k := c.domain.Kind(change.GetRecords()[n].GetKind()); k != nil {
				f = k.Name + "/" + field
			}
		}
		names = append(names, f)
	}
	return names
}

// rights returns what the author may do: by the staff record, and until that has
// come, as the server said at enrolment.
func (c *Client) rights(t *tx) (*syncengine.Principal, error) {
	s, err := c.Session()
	if err != nil {
		return nil, err
	}
	p := &syncengine.Principal{Agency: s.Agency, Roles: s.Roles, Teams: s.Teams, Programs: s.Programs}
	staff, err := t.Record(s.Person)
	if err != nil {
		return nil, err
	}
	if staff != nil {
		look := func(id syncengine.ID) (*syncengine.Record, error) {
			r, err := t.Record(id)
			if err != nil || r == nil {
				return nil, err
			}
			return &r.Record, nil
		}
		if p, err = c.domain.Principal(&staff.Record, look); err != nil {
			return nil, fmt.Errorf("reading the author's rights: %w", err)
		}
	}
	p.Person, p.Device = s.Person, s.Device
	return p, nil
}

// allowed judges the author's right to a change, as the server will.
func (c *Client) allowed(t *tx, change *tandemv1.Change, p *syncengine.Principal) error {
	for _, w := range change.GetRecords() {
		kind := c.domain.Kind(w.GetKind())
		id, ok := syncengine.IDFromBytes(w.GetRecord())
		if kind == nil || !ok {
			continue
		}
		refused := &InvalidError{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN, Fields: []string{kind.Name + "/act"}}
		if !c.domain.Allowed(p, w) {
			return refused
		}
		held, err := t.Record(id)
		if err != nil {
			return err
		}
		var rec *syncengine.Record
		if held != nil {
			rec = &held.Record
		}
		if rec == nil && w.GetAct() != tandemv1.Act_ACT_CREATE {
			continue
		}
		if !c.domain.AllowedOn(p, w, rec, t.look) {
			return refused
		}
	}
	return nil
}

// complete fills in what a new record's author need not say.
func (c *Client) complete(kind *syncengine.Kind, msg proto.Message) error {
	s, err := c.Session()
	if err != nil {
		return err
	}
	if kind.Compartment != tandemv1.Compartment_COMPARTMENT_REF {
		c.fill(msg, "agency_id", idText(s.Agency))
		team, program := c.works(s)
		c.fill(msg, "team_id", idText(team))
		c.fill(msg, "program_id", idText(program))
		c.fill(msg, "tz", c.opts.Timezone)
	} else if kind.Name == "resource" || kind.Name == "code_set" {
		c.fill(msg, "agency_id", idText(s.Agency))
	}
	if codes := c.domain.Codes(c.domain.FieldCodes(kind.Name, "lifecycle")); len(codes) > 0 {
		c.fill(msg, "lifecycle", codes[0].Code)
	}
	return c.domain.EnsureElements(msg, randomReader{c})
}

// WorkFor says whose work is done from now on, where the person is in several teams: a record
// that is made belongs to that team and to its program, unless it says otherwise. It is not
// kept with the store.
func (c *Client) WorkFor(team syncengine.ID) { c.workFor.Store(&team) }

// works returns the team that a new record is of, and the program; no id for one that nobody
// has said.
func (c *Client) works(s *Session) (team, program syncengine.ID) {
	at := -1
	if chosen := c.workFor.Load(); chosen != nil {
		at = slices.Index(s.Teams, *chosen)
	}
	if len(s.Teams) == 1 {
		at = 0
	}
	if at >= 0 {
		team = s.Teams[at]
	}
	if at >= 0 && at < len(s.Programs) {
		program = s.Programs[at]
	}
	return team, program
}

func idText(id syncengine.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
