package simtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// clinicalMark stands in every clinical text, and in no other.
const clinicalMark = "clinical:"

// fieldOf returns the number of a field of the contract.
func fieldOf(kind, name string) uint32 {
	for _, f := range record.New().KindByName(kind).Fields {
		if f.Name == name {
			return f.Number
		}
	}
	panic("the contract has no field " + kind + "." + name)
}

// edit is one write that somebody makes on their screen; raw nil clears.
type edit struct {
	path syncengine.Path
	raw  []byte
}

// act is an act on a record as a screen shows it: the heads it shows are the bases.
func act(a tandemv1.Act, s *syncengine.State, id syncengine.ID, kind uint32, edits ...edit) *tandemv1.RecordWrite {
	slices.SortFunc(edits, func(a, b edit) int { return a.path.Compare(b.path) })
	w := &tandemv1.RecordWrite{Record: id[:], Kind: kind, Act: a}
	for _, e := range edits {
		w.Writes = append(w.Writes, &tandemv1.PathWrite{
			Field: e.path.Field, Key: []byte(e.path.Key), Value: e.raw,
			Bases: syncengine.EncodeStamps(s.Bases(e.path, a == tandemv1.Act_ACT_RESOLVE)),
		})
	}
	return w
}

// setOf is a plain edit.
func setOf(s *syncengine.State, id syncengine.ID, kind uint32, edits ...edit) *tandemv1.RecordWrite {
	return act(tandemv1.Act_ACT_SET, s, id, kind, edits...)
}

// input is a field of a form: what somebody may type there.
type input struct {
	kind  string
	field string
	typed func(w *World, s *syncengine.State, field uint32) edit
}

// inputs are the fields of the forms: each merge policy and each shape is there.
var inputs = []input{
	{"incident", "number", text("", 20)},
	{"incident", "notes_ops", text("", 200)},
	{"incident", "risk_level", code("low", "moderate", "high", "unheard_of")},
	{"incident", "weapon", code("none", "unknown", "firearm")},
	{"incident", "call_type", code("welfare_check", "suicide_threat")},
	{"incident", "le_involvement", code("none", "partner_on_team")},
	{"incident", "le_actions", member("standby", "transport", "unheard_of")},
	{"incident", "force_used", code("no", "yes")},
	{"incident", "responders", element(3)},
	{"person", "descriptor", text(clinicalMark, 60)},
	{"person", "housing", code("housed", "unstable")},
	{"person", "phones", element(2)},
	{"encounter", "narrative", text(clinicalMark, 1500)},
	{"encounter", "danger_self", code("none", "low", "high", "unheard_of")},
	{"encounter", "housing", code("housed", "unstable", "unsheltered")},
	{"encounter", "interventions", member("crisis_counseling", "deescalation", "safety_plan")},
	{"encounter", "incident_id", reference("incident")},
	{"referral", "state", code("draft", "offered", "sent", "accepted", "scheduled", "closed")},
	{"referral", "target_text", text(clinicalMark, 60)},
	{"referral", "barrier", member("transport", "cost")},
	{"note", "text", text(clinicalMark, 300)},
}

// text types a text, or clears it.
func text(mark string, size int) func(*World, *syncengine.State, uint32) edit {
	return func(w *World, _ *syncengine.State, field uint32) edit {
		e := edit{path: syncengine.Path{Field: field}}
		if !w.odds(8) {
			e.raw = syncengine.StringField(field, mark+strings.Repeat("x", w.rng.IntN(size))+fmt.Sprint(w.rng.IntN(1000)))
		}
		return e
	}
}

// code picks a code, or clears it.
func code(codes ...string) func(*World, *syncengine.State, uint32) edit {
	return func(w *World, _ *syncengine.State, field uint32) edit {
		e := edit{path: syncengine.Path{Field: field}}
		if !w.odds(12) {
			e.raw = syncengine.StringField(field, one(w, codes))
		}
		return e
	}
}

// member adds a code to a set, or takes it out.
func member(codes ...string) func(*World, *syncengine.State, uint32) edit {
	return func(w *World, _ *syncengine.State, field uint32) edit {
		key := one(w, codes)
		e := edit{path: syncengine.Path{Field: field, Key: key}}
		if !w.odds(3) {
			e.raw = syncengine.StringField(field, key)
		}
		return e
	}
}

// element adds a message to a set, changes one, or takes it out; inner is the
// number of a text inside.
func element(inner protowire.Number) func(*World, *syncengine.State, uint32) edit {
	return func(w *World, s *syncengine.State, field uint32) edit {
		var keys []string
		for i := range s.Paths {
			if s.Paths[i].Path.Field == field {
				keys = append(keys, s.Paths[i].Path.Key)
			}
		}
		if len(keys) == 0 || w.odds(3) {
			keys = []string{string(w.bytes(syncengine.ElementKeySize))}
		}
		key := one(w, keys)
		e := edit{path: syncengine.Path{Field: field, Key: key}}
		if !w.odds(4) {
			msg := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
			msg = protowire.AppendString(protowire.AppendTag(msg, inner, protowire.BytesType), fmt.Sprint(w.rng.IntN(1000)))
			e.raw = protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(field), protowire.BytesType), msg)
		}
		return e
	}
}

// reference names a record of a kind, whether it is there or not.
func reference(kind string) func(*World, *syncengine.State, uint32) edit {
	return func(w *World, _ *syncengine.State, field uint32) edit {
		id := w.newID()
		if ids := w.known(kind); len(ids) > 0 && !w.odds(4) {
			id = one(w, ids)
		}
		return edit{syncengine.Path{Field: field}, syncengine.StringField(field, id.String())}
	}
}

// known lists the records of a kind anywhere: the server's first.
func (w *World) known(kind string) []syncengine.ID {
	number := w.rules.KindByName(kind).Number
	var ids []syncengine.ID
	for _, id := range w.server.ids {
		if w.server.records[id].Kind == number {
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *World) bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = w.Read(b)
	return b
}

// shown lists the records on a device's screens, in order of id.
func (w *World) shown(d *device, kinds ...string) []*syncengine.DeviceRecord {
	if d.store == nil {
		return nil
	}
	ready := readyMask(d.store.scopes)
	var out []*syncengine.DeviceRecord
	for _, id := range d.store.sorted() {
		r := d.store.records[id]
		k := w.rules.Kind(r.Kind)
		if (r.Pending > 0 || r.Scopes&ready != 0) && k != nil && slices.Contains(kinds, k.Name) {
			out = append(out, r)
		}
	}
	return out
}

func readyMask(scopes []syncengine.DeviceScope) (mask uint64) {
	for _, s := range scopes {
		if s.Ready {
			mask |= 1 << s.Bit
		}
	}
	return mask
}

// teamOf returns a team to write a new record for: mostly one's own.
func (w *World) teamOf(d *device) string {
	if w.odds(12) {
		return one(w, w.office.teams).String()
	}
	return one(w, d.person.teams).String()
}

// visit is a new call: an incident, and for a clinician a person, an encounter and
// perhaps a referral, in any order in one save.
func (w *World) visit(d *device) ([]*tandemv1.RecordWrite, error) {
	incident, person := w.newID(), w.newID()
	team := new(w.teamOf(d))
	msgs := map[syncengine.ID]proto.Message{incident: &tandemv1.Incident{
		TeamId: team, Lifecycle: new(record.Open), CallType: new("welfare_check"), RiskLevel: new("low"),
		LeActions: []string{"standby"}, ReceivedAt: &tandemv1.Instant{AtMs: new(w.wall(d)), Origin: new("tap")},
	}}
	if w.script != nil || !w.odds(6) {
		if people := w.shown(d, "person"); len(people) > 0 && w.odds(2) {
			person = one(w, people).ID
		} else {
			home := team
			if w.odds(4) {
				home = new(w.teamOf(d))
			}
			msgs[person] = &tandemv1.Person{TeamId: home, Lifecycle: new(record.Active), Descriptor_: new(clinicalMark + "tall")}
		}
		msgs[w.newID()] = &tandemv1.Encounter{
			TeamId: team, Lifecycle: new(record.Draft), IncidentId: new(incident.String()), PersonId: new(person.String()),
			Type: new("crisis_response"), DangerSelf: new("none"), Narrative: new(clinicalMark + strings.Repeat("long ", w.rng.IntN(100))),
		}
		if w.odds(3) {
			msgs[w.newID()] = &tandemv1.Referral{
				TeamId: new(w.teamOf(d)), Lifecycle: new(record.Active), PersonId: new(person.String()),
				Need: new("housing"), State: new("draft"),
			}
		}
	}
	var writes []*tandemv1.RecordWrite
	for _, id := range sortedIDs(msgs) {
		c, err := w.createOf(id, msgs[id])
		if err != nil {
			return nil, err
		}
		writes = append(writes, c)
	}
	w.rng.Shuffle(len(writes), func(i, k int) { writes[i], writes[k] = writes[k], writes[i] })
	return writes, nil
}

func (w *World) createOf(id syncengine.ID, msg proto.Message) (*tandemv1.RecordWrite, error) {
	body, err := w.rules.Body(msg)
	if err == nil && w.script == nil && w.odds(8) {
		body = newer(body, w.newerEdit(nil))
		w.seen("a newer app's field")
	}
	return &tandemv1.RecordWrite{
		Record: id[:], Kind: w.rules.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
	}, err
}

// newerEdit writes a field that only a newer app knows.
func (w *World) newerEdit(s *syncengine.State) edit {
	switch w.rng.IntN(3) {
	case 0:
		return text("", 40)(w, s, 198)
	case 1:
		return member("here", "there")(w, s, 298)
	}
	if s == nil {
		s = &syncengine.State{}
	}
	return element(2)(w, s, 398)
}

// newer puts a field into a body, in its place.
func newer(body []byte, e edit) []byte {
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		return body
	}
	var out []byte
	for _, f := range fields {
		if e.raw != nil && f.Path.Compare(e.path) > 0 {
			out, e.raw = append(out, e.raw...), nil
		}
		out = append(out, f.Raw...)
	}
	return append(out, e.raw...)
}

// jot is a new note on something on the screen; one in three is private.
func (w *World) jot(d *device) ([]*tandemv1.RecordWrite, error) {
	about := w.shown(d, "person", "encounter", "referral")
	if len(about) == 0 {
		return nil, nil
	}
	on := one(w, about)
	msg := &tandemv1.Note{
		TeamId: new(w.teamOf(d)), Lifecycle: new(record.Draft), Type: new("case"), Text: new(clinicalMark + "called back"),
		Target: &tandemv1.RecordRef{Kind: new(w.rules.Kind(on.Kind).Name), Id: new(on.ID.String())},
	}
	if w.odds(3) {
		msg.Type = new("private_psychotherapy")
	}
	c, err := w.createOf(w.newID(), msg)
	if msg.GetType() != "case" {
		c.Compartment = tandemv1.Compartment_COMPARTMENT_PRIVATE
	}
	return []*tandemv1.RecordWrite{c}, err
}

var forms = []string{"incident", "person", "encounter", "referral", "note"}

// revise is one save over one or two records on the screen.
func (w *World) revise(d *device) ([]*tandemv1.RecordWrite, error) {
	all := w.shown(d, forms...)
	if w.script == nil && w.odds(4) {
		all = w.shown(d, careForms...)
	}
	var writes []*tandemv1.RecordWrite
	for range 1 + w.rng.IntN(2) {
		if len(all) == 0 {
			break
		}
		i := w.rng.IntN(len(all))
		if w.odds(2) {
			// What everybody works on.
			i = w.rng.IntN(min(len(all), 3))
		}
		rec := all[i]
		all = slices.Delete(all, i, i+1)
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return nil, err
		}
		if name := w.rules.Kind(rec.Kind).Name; (name == "encounter" || name == "note" || name == "form_response" || name == "attachment") && s.Author != d.person.id && !w.odds(5) {
			continue // another's words: nearly nobody tries
		}
		if wr := w.reviseOne(d, rec, s); wr != nil {
			writes = append(writes, wr)
		}
	}
	return writes, nil
}

func (w *World) reviseOne(d *device, rec *syncengine.DeviceRecord, s *syncengine.State) *tandemv1.RecordWrite {
	kind := w.rules.Kind(rec.Kind)
	life := func(to string) edit {
		return edit{syncengine.Path{Field: syncengine.FieldLifecycle}, syncengine.StringField(syncengine.FieldLifecycle, to)}
	}
	whole := func(a tandemv1.Act, edits ...edit) *tandemv1.RecordWrite {
		wr := act(a, s, rec.ID, rec.Kind, edits...)
		wr.Seen, wr.Reason = s.Seen(), "because"
		return wr
	}
	now := s.Lifecycle()
	switch n := w.rng.IntN(20); {
	case n == 0 && now != record.Void:
		return whole(tandemv1.Act_ACT_VOID, life(record.Void))
	case n <= 3 && now == record.Void:
		to := restored[kind.Name]
		if to == "" {
			to = record.Active
		}
		return whole(tandemv1.Act_ACT_RESTORE, life(to))
	case n <= 3 && kind.Name == "incident" && now == record.Open:
		return whole(tandemv1.Act_ACT_CLOSE, life(record.Cleared))
	case n <= 3 && now == record.Draft && kind.Name != "referral":
		edits := []edit{life(record.Signed)}
		if kind.Name == "encounter" && w.odds(2) {
			edits = append(edits, w.type1(rec, s))
		}
		return whole(tandemv1.Act_ACT_SIGN, edits...)
	case n <= 4 && (now == record.Signed || now == record.Amended):
		return whole(tandemv1.Act_ACT_AMEND, life(record.Amended), w.type1(rec, s))
	case n == 5:
		team := one(w, w.office.teams).String()
		return setOf(s, rec.ID, rec.Kind, edit{syncengine.Path{Field: syncengine.FieldTeam}, syncengine.StringField(syncengine.FieldTeam, team)})
	case n <= 9:
		if wr := w.resolve(rec, s); wr != nil {
			return wr
		}
	case n <= 11 && kind.Name == "referral":
		field := fieldOf("referral", "events")
		e := element(5)(w, &syncengine.State{}, field)
		if e.raw == nil {
			return nil
		}
		return act(tandemv1.Act_ACT_APPEND, s, rec.ID, rec.Kind, e)
	}
	if d.person.police() && kind.Name == "incident" && !w.odds(6) {
		return setOf(s, rec.ID, rec.Kind, w.typed(s, input{"incident", "le_actions", member("standby", "transport")}))
	}
	edits := []edit{w.type1(rec, s)}
	if more := w.type1(rec, s); more.path != edits[0].path {
		edits = append(edits, more)
	}
	return setOf(s, rec.ID, rec.Kind, edits...)
}

func (w *World) typed(s *syncengine.State, in input) edit {
	return in.typed(w, s, fieldOf(in.kind, in.field))
}

// type1 types into one field of a record's form.
func (w *World) type1(rec *syncengine.DeviceRecord, s *syncengine.State) edit {
	if w.odds(10) {
		w.seen("a newer app's field")
		return w.newerEdit(s)
	}
	name := w.rules.Kind(rec.Kind).Name
	var mine []input
	for _, in := range slices.Concat(inputs, careInputs) {
		if in.kind == name {
			mine = append(mine, in)
		}
	}
	return w.typed(s, one(w, mine))
}

// resolve settles one open path by one of its values.
func (w *World) resolve(rec *syncengine.DeviceRecord, s *syncengine.State) *tandemv1.RecordWrite {
	open := s.Conflicts(w.rules.Kind(rec.Kind))
	open = slices.DeleteFunc(open, func(p syncengine.Path) bool {
		return p.Field == syncengine.FieldLifecycle || p.Field == syncengine.FieldTeam
	})
	if len(open) == 0 {
		return nil
	}
	w.seen("resolve")
	path := one(w, open)
	heads, _ := s.Heads(path)
	wr := act(tandemv1.Act_ACT_RESOLVE, s, rec.ID, rec.Kind, edit{path, one(w, heads).Raw})
	wr.Reason = "looked at both"
	return wr
}

// capture is somebody who saves.
func (w *World) capture() error {
	d := w.pick()
	if d == nil || len(d.store.ops) > 60 {
		return nil
	}
	return w.captureOn(d)
}

// captureOn is whoever has a device that saves.
func (w *World) captureOn(d *device) error {
	var writes []*tandemv1.RecordWrite
	var err error
	switch n := w.rng.IntN(10); {
	case !slices.Contains(d.person.roles, "clinician") && !w.odds(8):
		writes, err = w.revise(d)
	case n < 3:
		writes, err = w.visit(d)
	case n < 4:
		writes, err = w.jot(d)
	case n < 5 && w.script == nil && w.odds(4):
		writes, err = w.review(d)
	case n < 5 && w.script == nil:
		writes, err = w.care(d)
	default:
		writes, err = w.revise(d)
	}
	if err != nil || len(writes) == 0 {
		return err
	}
	return w.save(d, writes)
}

// save captures writes, unless something comes in between.
func (w *World) save(d *device, writes []*tandemv1.RecordWrite) error {
	class := one(w, []tandemv1.Class{1, 1, 2, 2, 2, 2, 2, 3, 0})
	if w.class != 0 {
		class, w.class = w.class, 0
	}
	return w.saveChange(d, &tandemv1.Change{Records: writes, Class: class})
}

// saveChange captures a change, likewise.
func (w *World) saveChange(d *device, c *tandemv1.Change) error {
	id := w.newID()
	writes, class := c.GetRecords(), c.GetClass()
	c.Id, c.AppVersion, c.Grant = id[:], "sim", grantOf(d)
	c.Time = &tandemv1.ChangeTime{WallMs: w.wall(d), Boot: w.bytes(8)}
	var op *syncengine.Op
	fail, stay := w.mishap(), w.stays(20)
	w.watch(d, id, writes)
	err := d.transact(fail, stay, func(tx syncengine.DeviceTx) (err error) {
		op, err = w.client.Capture(tx, c)
		if err == nil {
			w.bodies[op.Change] = sha(op.Raw)
		}
		return err
	})
	switch refused, is := errors.AsType[*syncengine.RefusalError](err); {
	case errors.Is(err, errStorage):
		w.event("%s could not save: its disk failed", d.name)
		w.seen("disk failed at a save")
		return w.check(d)
	case errors.Is(err, syncengine.ErrNoRecord), errors.Is(err, syncengine.ErrExists), errors.Is(err, syncengine.ErrWaiting):
		if len(c.GetReplaces()) == 0 {
			return fmt.Errorf("%s captures: %w", d.name, err)
		}
		w.event("%s cannot fix that here: %v", d.name, err)
		return w.check(d)
	case is:
		w.event("%s could not save: %v", d.name, refused)
		w.seen("form refused")
		return w.check(d)
	case err != nil:
		return fmt.Errorf("%s captures: %w", d.name, err)
	case !stay:
		w.event("%s died in a save", d.name)
		w.kill(d)
		return w.check(d)
	}
	w.event("%s saves %s as op %d, %v%s", d.name, id, op.Number, class, w.tell(writes))
	return w.check(d)
}

// watch notes what the signer of a change sees.
func (w *World) watch(d *device, change syncengine.ID, writes []*tandemv1.RecordWrite) {
	for _, wr := range writes {
		if a := wr.GetAct(); a != tandemv1.Act_ACT_SIGN && a != tandemv1.Act_ACT_AMEND {
			continue
		}
		id, _ := syncengine.IDFromBytes(wr.GetRecord())
		rec := d.store.records[id]
		if rec == nil {
			continue // Made by a change that was not accepted: there is nothing to be seen.
		}
		if s, err := syncengine.Decode(&rec.Record); err == nil {
			w.screens[signature{change, id}] = screenOf(s)
		}
	}
}

// tell describes writes.
func (w *World) tell(writes []*tandemv1.RecordWrite) string {
	if !w.Log {
		return ""
	}
	var b strings.Builder
	for _, wr := range writes {
		id, _ := syncengine.IDFromBytes(wr.GetRecord())
		fmt.Fprintf(&b, "; %v %s %s", wr.GetAct(), w.rules.Kind(wr.GetKind()).Name, id)
		for _, pw := range wr.GetWrites() {
			fmt.Fprintf(&b, " %d%q=%.40q", pw.GetField(), pw.GetKey(), pw.GetValue())
		}
	}
	return b.String()
}

// mishap says at which call the store is to fail; mostly never.
func (w *World) mishap() int {
	if w.script != nil {
		defer func() { w.script.fail = 0 }()
		return w.script.fail
	}
	if w.fault(25) {
		return 1 + w.rng.IntN(30)
	}
	return 0
}

func sortedIDs[V any](m map[syncengine.ID]V) []syncengine.ID {
	ids := make([]syncengine.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, syncengine.ID.Compare)
	return ids
}

// decoded keeps decoded changes by a hash that commits to their bytes.
type decoded map[syncengine.Hash]*tandemv1.Change

// of decodes a change; what cannot be decoded is empty.
func (all decoded) of(h syncengine.Hash, raw []byte) *tandemv1.Change {
	c := all[h]
	if c == nil {
		c = &tandemv1.Change{}
		if proto.Unmarshal(raw, c) != nil {
			c = &tandemv1.Change{}
		}
		all[h] = c
	}
	return c
}
