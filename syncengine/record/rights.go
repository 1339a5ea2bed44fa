package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Acts, short.
const (
	create  = tandemv1.Act_ACT_CREATE
	set     = tandemv1.Act_ACT_SET
	appends = tandemv1.Act_ACT_APPEND
	void    = tandemv1.Act_ACT_VOID
	restore = tandemv1.Act_ACT_RESTORE
	resolve = tandemv1.Act_ACT_RESOLVE
	sign    = tandemv1.Act_ACT_SIGN
	amend   = tandemv1.Act_ACT_AMEND
	closes  = tandemv1.Act_ACT_CLOSE
	merge   = tandemv1.Act_ACT_MERGE
	approve = tandemv1.Act_ACT_APPROVE
)

// reach is how far a right goes.
type reach uint8

const (
	// ofTeams: every record in the scopes one holds, which is the engine's test.
	ofTeams reach = iota
	// ofOwn: the records one made.
	ofOwn
	// ofAgency: reference data of one's own agency.
	ofAgency
	// ofMember: the teams one is a member of.
	ofMember
	// ofAssigned: the records one made or is assigned to.
	ofAssigned
	// ofProposed: the records one made, while they are proposed.
	ofProposed
	// ofShared: the drafts of others about a call that one was at. Who was named there when
	// one was sealed the server writes down: see AllowedBeside.
	ofShared
	// ofAgencyProposed: the same as ofProposed, of reference data of one's own agency.
	ofAgencyProposed
)

// cell is one right of a role on a kind.
type cell struct {
	acts  []tandemv1.Act
	reach reach
	// fields that the right is limited to, by name; none: the whole kind, fields of
	// a newer version included.
	fields []string
	// values limits fields to codes; a field that is not written is no matter.
	values map[string][]string
	// stated: a create must write the fields that values limits.
	stated bool
	// without lists fields that the right stops at.
	without []string
	// except lists compartments that the right stops at; in, where it is not empty, the
	// only ones it holds in.
	except, in []tandemv1.Compartment
	// imported limits creation to imports.
	imported bool
	// opens limits creation to teams of which the person opens incidents.
	opens bool
}

type acts = []tandemv1.Act

// noSUD limits a peer, who sees such records by consent alone.
var noSUD = []tandemv1.Compartment{sud, private}

// leFields are what a police partner writes of an incident.
var leFields = []string{"le_involvement", "le_actions", "le_cleared_at", "force_used", "force_types", "weapon"}

// contactFields are what a peer writes of a person.
var contactFields = []string{"phones", "contacts", "address", "zip5", "city", "do_not_contact", "do_not_contact_reason"}

// matrix is who may do what: kind, role, cells. What is not here is forbidden;
// reading is the scopes' affair. A private note is its author's alone, whatever
// stands here. The author or a lead voids, with a reason, and restores.
var matrix = map[string]map[string][]cell{
	incident: {
		clinician: {
			{acts: acts{create, set, appends}},
			{acts: acts{closes}, values: toCleared},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{create}},
			{acts: acts{set, appends, void, restore}, reach: ofOwn},
			{acts: acts{closes}, reach: ofOwn, values: toCleared},
		},
		lePartner: {
			{acts: acts{set}, fields: leFields},
			{acts: acts{create}, opens: true},
		},
		lead: {
			{acts: acts{create}, imported: true},
			{acts: acts{set, appends, closes, amend, resolve, void, restore}},
		},
		// The janitor locks.
		operator: {
			{acts: acts{closes}},
		},
	},
	person: {
		clinician: {
			{acts: acts{create, set, appends}},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{set}, fields: contactFields, except: noSUD},
		},
		lead: {
			{acts: acts{set, appends, merge, resolve, void, restore}},
		},
	},
	encounter: {
		clinician: {
			{acts: acts{create}},
			{acts: acts{set, appends, resolve, sign, amend, void, restore}, reach: ofOwn},
			// Who was at the call writes on the draft, and its author signs it. What comes
			// after that stands beside what was signed, as a late edit.
			{acts: acts{set, appends}, reach: ofShared, without: []string{"lifecycle", "incident_id", "team_id", "program_id", "agency_id", "signed_by", "signed_at", "void_reason"}},
		},
		peer: {
			{acts: acts{create}, values: peerEncounters, except: noSUD},
			{acts: acts{set, appends, sign, amend, void, restore}, reach: ofOwn, values: peerEncounters, except: noSUD},
		},
		lead: {
			{acts: acts{resolve, amend, void, restore}},
		},
	},
	referral: {
		clinician: {
			{acts: acts{create, set, appends, closes}},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{create, set, appends, closes}, except: noSUD},
			{acts: acts{void, restore}, reach: ofOwn, except: noSUD},
		},
		lead: {
			{acts: acts{set, appends, closes, resolve, void, restore}},
		},
	},
	note: {
		clinician: {
			{acts: acts{create}},
			{acts: acts{set, appends, resolve, sign, amend, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{create}, values: map[string][]string{"type": {"peer"}}, except: noSUD},
			{acts: acts{set, appends, sign, amend, void, restore}, reach: ofOwn, values: map[string][]string{"type": {"peer"}}, except: noSUD},
		},
		lead: {
			{acts: acts{create}, values: map[string][]string{"type": {"addendum"}}},
			{acts: acts{set, appends, sign, amend}, reach: ofOwn, values: map[string][]string{"type": {"addendum"}}},
			{acts: acts{resolve, void, restore}},
		},
	},
	episode: {
		clinician: {
			{acts: acts{create, set, appends, closes}, without: extension},
			{acts: acts{resolve, void, restore}, reach: ofOwn, without: extension},
		},
		// A peer proposes that an episode be closed.
		peer: {
			{acts: acts{set}, fields: []string{"proposed_close_reason"}, except: noSUD},
		},
		// A lead extends, and opens a closed one again by a resolve with a reason.
		lead: {
			{acts: acts{set, appends, closes, resolve, void, restore}},
		},
	},
	followUp: {
		clinician: {
			{acts: acts{create, set, appends}},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{create}, except: noSUD},
			{acts: acts{set, appends}, reach: ofAssigned, except: noSUD},
			{acts: acts{void, restore}, reach: ofOwn, except: noSUD},
		},
		// A lead assigns.
		lead: {
			{acts: acts{set}, fields: []string{"staff_id", "due_at"}},
			{acts: acts{resolve, void, restore}},
		},
	},
	// What was agreed to does not change: it is revoked, or voided and recorded anew.
	consent: {
		clinician: {
			{acts: acts{create}},
			{acts: acts{set}, fields: []string{"lifecycle", "revoked_on"}, values: map[string][]string{"lifecycle": {Revoked}}},
			{acts: acts{set}, reach: ofOwn, fields: []string{"attachment_id"}},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
		peer: {
			{acts: acts{create}, values: map[string][]string{"type": {"contact"}}, stated: true, except: noSUD},
			{acts: acts{void, restore}, reach: ofOwn, except: noSUD},
		},
		lead: {
			{acts: acts{resolve, void, restore}},
		},
		operator: {
			{acts: acts{set}, fields: []string{"lifecycle"}, values: toExpired},
		},
	},
	disclosure: {
		clinician: {{acts: acts{create}}},
		lead:      {{acts: acts{create, resolve, void, restore}}},
		// An export's own.
		operator: {{acts: acts{create}}},
	},
	// What police partners see, a lead has approved as it stands: nobody else changes an
	// alert that is in force.
	safetyAlert: {
		clinician: {
			{acts: acts{create}, values: map[string][]string{"lifecycle": {Proposed}}, stated: true},
			{acts: acts{create}, values: map[string][]string{"lifecycle": {Active}, "audience": {"clinical"}}, stated: true},
			{acts: acts{set, resolve, void}, reach: ofProposed, values: proposedOrVoid},
		},
		peer: {
			{acts: acts{create}, values: map[string][]string{"lifecycle": {Proposed}}, stated: true, except: noSUD},
			{acts: acts{set, void}, reach: ofProposed, values: proposedOrVoid, except: noSUD},
		},
		lead: {
			{acts: acts{approve, set, closes, resolve, void, restore}},
		},
		operator: {
			{acts: acts{set}, fields: []string{"lifecycle"}, values: toExpired},
		},
	},
	// The server's own: see project.go.
	alertCard: {
		operator: {{acts: acts{create, set, resolve, closes, void, restore}}},
	},
	// Its bytes are named once, at creation.
	attachment: {
		clinician: {
			{acts: acts{create}, except: noRef},
			{acts: acts{set}, reach: ofOwn, fields: []string{"title", "lifecycle"}, except: noRef},
			{acts: acts{resolve, void, restore}, reach: ofOwn, except: noRef},
		},
		lead: {
			{acts: acts{resolve, void, restore}, except: noRef},
		},
		admin:    {{acts: acts{create, set, resolve, void, restore}, reach: ofAgency, in: noRef}},
		operator: {{acts: acts{create, set, resolve, void, restore}, in: noRef}},
	},
	review: {
		lead: {
			{acts: acts{create}},
			{acts: acts{resolve, void, restore}, reach: ofOwn},
		},
	},
	// Who works with the directory proposes, a lead approves or sets aside.
	resource: {
		clinician: proposals,
		peer:      proposals,
		lead: append([]cell{
			{acts: acts{approve, void, restore}, reach: ofAgency},
		}, proposals...),
		admin:    reference[admin],
		operator: reference[operator],
	},
	codeSet: reference,
	agency:  reference,
	program: reference,
	team: {
		operator: reference[operator],
		admin:    reference[admin],
		lead: {
			{acts: acts{set}, reach: ofMember, fields: []string{"member_ids"}},
		},
	},
	staff:        reference,
	device:       reference,
	form:         formRights,
	formResponse: formResponseRights,
}

// reference is the column of reference data: the operator at the server, and the
// admin of the agency that the data belongs to.
var reference = map[string][]cell{
	operator: {{acts: acts{create, set, appends, resolve, closes, void, restore}}},
	admin:    {{acts: acts{create, set, appends, resolve, void, restore}, reach: ofAgency}},
}

// proposals are the rights of those who propose entries of the directory.
var proposals = []cell{
	{acts: acts{create}, reach: ofAgency, values: map[string][]string{"lifecycle": {Proposed}}, stated: true},
	{acts: acts{set, void}, reach: ofAgencyProposed, values: proposedOrVoid},
}

// extension are the fields of an episode that a lead alone writes.
var extension = []string{"extended_to", "extension_reason", "extended_by"}

// noRef stands for protocols, which are reference data.
var noRef = []tandemv1.Compartment{ref}

var (
	toExpired      = map[string][]string{"lifecycle": {Expired}}
	proposedOrVoid = map[string][]string{"lifecycle": {Proposed, Void}}
	toCleared      = map[string][]string{"lifecycle": {Cleared}}
	peerEncounters = map[string][]string{"type": {"outreach", "follow_up_visit"}}
)

// ErrRoles says that roles exclude each other.
var ErrRoles = errors.New("a police partner holds no other role: give the person one or the other")

// CheckRoles refuses roles that this version does not know and combinations that
// must not be: le_partner stands alone.
func CheckRoles(roles []string) error {
	for _, r := range roles {
		if _, ok := holds[r]; !ok {
			return fmt.Errorf("there is no such role: the roles are %s",
				strings.Join([]string{clinician, peer, lePartner, lead, admin, auditor, analyst}, ", "))
		}
	}
	if clash(roles) {
		return ErrRoles
	}
	return nil
}

// MaxTeams is how many teams a person may be in: whatever their roles, their devices hold all
// records of so many, in the scopes that a device can hold.
const MaxTeams = 10

// ErrTeams says that somebody is to be in more teams than MaxTeams.
var ErrTeams = fmt.Errorf("a person is in %d teams at most: take them out of another one first", MaxTeams)

// clash reports whether le_partner stands beside another role.
func clash(roles []string) bool {
	return slices.Contains(roles, lePartner) && slices.ContainsFunc(roles, func(r string) bool { return r != lePartner })
}

// effective returns the roles that count.
func effective(p *syncengine.Principal) []string {
	switch {
	case p.Server:
		return []string{operator}
	case p.HasRole(lePartner):
		return []string{lePartner}
	}
	return p.Roles
}

// fillRights puts the matrix on the kinds and checks its names.
func (d *Domain) fillRights() error {
	for name, roles := range matrix {
		k := d.byName[name]
		if k == nil {
			return fmt.Errorf("rights name the kind %s, which the contract does not know", name)
		}
		for role, cells := range roles {
			if _, ok := holds[role]; !ok && role != operator {
				return fmt.Errorf("rights on %s name the role %s, which is none", name, role)
			}
			for _, c := range cells {
				k.shared = k.shared || c.reach == ofShared
				for _, f := range c.fields {
					if k.table.byName[f] == nil {
						return fmt.Errorf("rights of %s on %s name the field %s, which is none", role, name, f)
					}
				}
				for _, f := range c.without {
					if k.table.byName[f] == nil {
						return fmt.Errorf("rights of %s on %s stop at the field %s, which is none", role, name, f)
					}
				}
				for f := range c.values {
					if k.table.byName[f] == nil || k.table.byName[f].list == nil {
						return fmt.Errorf("rights of %s on %s name the field %s, which has no codes", role, name, f)
					}
				}
			}
		}
		k.rights = roles
	}
	return nil
}

// Allowed judges the right of a principal's roles to an act on a kind and to the
// fields it writes, before any look-up.
func (d *Domain) Allowed(p *syncengine.Principal, w *tandemv1.RecordWrite) bool {
	return d.anyCell(p, w, func(*cell) bool { return true })
}

// AllowedOn judges the right to act on the record as it stands; rec is nil for a
// create. A create that meets a record is an edit of it, unless both come from the same row
// of an import: the same file may be imported on two devices. What was sealed since is its
// author's.
func (d *Domain) AllowedOn(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record, look syncengine.Lookup) bool {
	k := d.kinds[w.GetKind()]
	if k == nil || rec != nil && rec.Kind != w.GetKind() {
		return false
	}
	if k.Name == staff && (rolesClash(k, w, rec) || tooManyTeams(k, w, rec) || foreignTeam(k, p, w, rec, look)) {
		return false
	}
	if rec == nil {
		return w.GetAct() == create && d.anyCell(p, w, func(c *cell) bool { return k.reaches(c, p, w, nil, nil) })
	}
	origin, err := rec.Origin()
	if err != nil {
		return false
	}
	held := rec.Compartment(&k.Kind)
	if !k.formAllows(w, rec, held) {
		return false
	}
	if held == private && origin.Author != p.Person {
		return false
	}
	if w.GetAct() == approve && rec.Lifecycle() == Void {
		return false // It is restored first.
	}
	if w.GetAct() == create {
		if sameRow(w.GetImportedFrom(), rec) && !k.Sealed[rec.Lifecycle()] {
			return d.anyCell(p, w, func(c *cell) bool { return c.holdsIn(held) })
		}
		if !d.Allowed(p, w) {
			return false
		}
		w = asSet(w)
	}
	if !d.anyCell(p, w, func(c *cell) bool {
		return c.holdsIn(held) && k.reaches(c, p, w, rec, func() bool { return d.wasAt(p.Person, rec, look) })
	}) {
		return false
	}
	return w.GetAct() != resolve || k.settles(p, w, rec)
}

// Staff reports whether records of a kind say what a person is granted.
func (d *Domain) Staff(kind uint32) bool {
	k := d.kinds[kind]
	return k != nil && k.Name == staff
}

// Supervises reports whether a principal is a lead. A police partner is none, whatever
// else a staff record may say.
func (*Domain) Supervises(p *syncengine.Principal) bool {
	return slices.Contains(effective(p), lead)
}

// Oversees reports whether a principal is an administrator, or the server's operator.
func (*Domain) Oversees(p *syncengine.Principal) bool {
	return p.Server || slices.Contains(effective(p), admin)
}

// anyCell reports whether a cell of the principal's roles fits the act, the fields
// and values it writes, and what else is asked.
func (d *Domain) anyCell(p *syncengine.Principal, w *tandemv1.RecordWrite, fits func(*cell) bool) bool {
	k := d.kinds[w.GetKind()]
	if k == nil {
		return false
	}
	for _, role := range effective(p) {
		cells := k.rights[role]
		for i := range cells {
			c := &cells[i]
			if slices.Contains(c.acts, w.GetAct()) && (!c.opens || opensIn(p, w)) && k.within(c, w) && fits(c) {
				return true
			}
		}
	}
	return false
}

// modelCIT is the model of a program whose officers answer calls without a clinician.
const modelCIT = "cit"

// opensIn reports whether a create names a team of which the person opens incidents.
func opensIn(p *syncengine.Principal, w *tandemv1.RecordWrite) bool {
	team, err := syncengine.ParseID((&syncengine.Record{Body: w.GetBody()}).Text(syncengine.FieldTeam))
	return err == nil && slices.Contains(p.Opens, team)
}

// within reports whether a write stays inside what a cell says of fields, values
// and compartment.
func (k *kind) within(c *cell, w *tandemv1.RecordWrite) bool {
	if w.GetAct() == create {
		in := w.GetCompartment()
		if in == tandemv1.Compartment_COMPARTMENT_UNSPECIFIED {
			in = k.Compartment
		}
		if !c.holdsIn(in) || c.imported && w.GetImportedFrom() == nil {
			return false
		}
	}
	if len(c.fields) == 0 && len(c.values) == 0 && len(c.without) == 0 {
		return true
	}
	fields, err := syncengine.ParseBody(w.GetBody())
	if err != nil {
		return false
	}
	limited := 0
	for _, f := range fields {
		if !k.mayWrite(c, f.Path.Field, f.Raw) {
			return false
		}
		if known := k.table.at(f.Path.Field); known != nil && c.values[known.name] != nil {
			limited++
		}
	}
	if c.stated && w.GetAct() == create && limited < len(c.values) {
		return false
	}
	for _, pw := range w.GetWrites() {
		if !k.mayWrite(c, pw.GetField(), pw.GetValue()) {
			return false
		}
	}
	return true
}

// holdsIn reports whether a right holds in a compartment.
func (c *cell) holdsIn(in tandemv1.Compartment) bool {
	return !slices.Contains(c.except, in) && (len(c.in) == 0 || slices.Contains(c.in, in))
}

func (k *kind) mayWrite(c *cell, number uint32, raw []byte) bool {
	name := ""
	if f := k.table.at(number); f != nil {
		name = f.name
	}
	if len(c.fields) > 0 && !slices.Contains(c.fields, name) || slices.Contains(c.without, name) {
		return false
	}
	codes, limited := c.values[name]
	if !limited || len(raw) == 0 {
		return true
	}
	code, _ := syncengine.RawString(raw)
	return slices.Contains(codes, code)
}

// CoAuthors implements syncengine.Rules: who is named as one who was at the call that a
// draft is about, where a role gives them a right by that.
func (d *Domain) CoAuthors(rec *syncengine.Record, look syncengine.Lookup) ([]syncengine.ID, error) {
	k := d.kinds[rec.Kind]
	if k == nil || !k.shared || rec.Lifecycle() != Draft {
		return nil, nil
	}
	names, err := d.wereAt(rec, look)
	if err != nil {
		return nil, err
	}
	var ids []syncengine.ID
	for _, name := range names {
		// They are compared as they are written.
		if id, err := syncengine.ParseID(name); err == nil && id.String() == name {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, syncengine.ID.Compare)
	if ids = slices.Compact(ids); len(ids) > syncengine.MaxCoAuthors {
		if ids, err = d.onStaff(ids[:min(len(ids), maxNamed)], look); err != nil {
			return nil, err
		}
	}
	return ids[:min(len(ids), syncengine.MaxCoAuthors)], nil
}

// maxNamed bounds the names at a call that are looked up, where there are more than are
// written down.
const maxNamed = 1024

// onStaff returns those of ids that are of members of staff: made-up ones crowd none out.
func (d *Domain) onStaff(ids []syncengine.ID, look syncengine.Lookup) ([]syncengine.ID, error) {
	var members []syncengine.ID
	for _, id := range ids {
		rec, err := look(id)
		if err != nil {
			return nil, err
		}
		if rec != nil && d.Staff(rec.Kind) {
			members = append(members, id)
		}
	}
	return members, nil
}

// AllowedBeside implements syncengine.Rules: what they may write on the draft, and no more.
func (d *Domain) AllowedBeside(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	k := d.kinds[w.GetKind()]
	if k == nil || rec.Kind != w.GetKind() || !k.Sealed[rec.Lifecycle()] {
		return false
	}
	held := rec.Compartment(&k.Kind)
	return held != private && k.formAllows(w, rec, held) &&
		d.anyCell(p, w, func(c *cell) bool { return c.reach == ofShared && c.holdsIn(held) })
}

// wereAt returns the staff ids that the call which a record is about names as those who were
// there.
func (d *Domain) wereAt(rec *syncengine.Record, look syncengine.Lookup) (names []string, err error) {
	field := d.kinds[rec.Kind].table.byName["incident_id"]
	if field == nil || look == nil {
		return nil, nil
	}
	id, err := syncengine.ParseID(rec.Text(field.number))
	if err != nil {
		return nil, nil //nolint:nilerr // What names no call is about none.
	}
	call, err := look(id)
	if err != nil {
		return nil, err
	}
	v := d.viewOf(call, incident)
	if v == nil {
		return nil, nil
	}
	staffID := v.kind.table.byName["responders"].message.byName["staff_id"].number
	for _, f := range v.raw("responders") {
		names = append(names, textIn(f.Raw, staffID))
	}
	return names, nil
}

// wasAt reports whether a person is one of those.
func (d *Domain) wasAt(person syncengine.ID, rec *syncengine.Record, look syncengine.Lookup) bool {
	names, err := d.wereAt(rec, look)
	return err == nil && slices.Contains(names, person.String())
}

// reaches reports whether a cell reaches a record; rec is nil for a create. wasAt says
// whether the person was at the call that it is about.
func (k *kind) reaches(c *cell, p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record, wasAt func() bool) bool {
	switch c.reach {
	case ofTeams:
		return true
	case ofOwn:
		return rec == nil || madeBy(rec, p.Person)
	case ofAssigned:
		if rec == nil || madeBy(rec, p.Person) {
			return true
		}
		to, err := syncengine.ParseID(rec.Text(k.table.byName["staff_id"].number))
		return err == nil && to == p.Person
	case ofShared:
		return rec != nil && rec.Lifecycle() == Draft && wasAt()
	case ofProposed:
		return rec != nil && rec.Lifecycle() == Proposed && madeBy(rec, p.Person)
	case ofAgencyProposed:
		return rec != nil && rec.Lifecycle() == Proposed && madeBy(rec, p.Person) &&
			!p.Agency.IsZero() && k.agency(w, rec) == p.Agency
	case ofMember:
		return rec != nil && slices.Contains(p.Teams, rec.ID)
	case ofAgency:
		return !p.Agency.IsZero() && k.agency(w, rec) == p.Agency
	}
	return false
}

func madeBy(rec *syncengine.Record, person syncengine.ID) bool {
	origin, err := rec.Origin()
	return err == nil && origin.Author == person
}

// agency returns the agency that reference data belongs to, zero where it has
// none. Data cannot be written into another agency than it is in.
func (k *kind) agency(w *tandemv1.RecordWrite, rec *syncengine.Record) syncengine.ID {
	if k.Name == agency {
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		return id
	}
	if rec == nil {
		id, _ := syncengine.ParseID((&syncengine.Record{Body: w.GetBody()}).Text(syncengine.FieldAgency))
		return id
	}
	text := rec.Text(syncengine.FieldAgency)
	for _, pw := range w.GetWrites() {
		if to, _ := syncengine.RawString(pw.GetValue()); pw.GetField() == syncengine.FieldAgency && to != text {
			return syncengine.ID{}
		}
	}
	id, _ := syncengine.ParseID(text)
	return id
}

// settles reports whether a resolve may write the codes it writes to state
// machines: one of those that stand there. A lead may choose any, with a reason:
// that is how a referral steps back.
func (k *kind) settles(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	if p.Server || p.HasRole(lead) && !p.HasRole(lePartner) && strings.TrimSpace(w.GetReason()) != "" {
		return true
	}
	for _, pw := range w.GetWrites() {
		rule := k.Fields[pw.GetField()]
		if rule == nil || rule.Legal == nil {
			continue
		}
		s, err := syncengine.Decode(rec)
		if err != nil {
			return false
		}
		heads, _ := s.Heads(syncengine.Path{Field: pw.GetField()})
		if !slices.ContainsFunc(heads, func(h syncengine.Head) bool { return string(h.Raw) == string(pw.GetValue()) }) {
			return false
		}
	}
	return true
}

// asSet returns the edit that a create is to a record that is there.
func asSet(w *tandemv1.RecordWrite) *tandemv1.RecordWrite {
	return &tandemv1.RecordWrite{Record: w.GetRecord(), Kind: w.GetKind(), Act: set, Body: w.GetBody()}
}

// rolesClash reports whether a write leaves a staff record with roles that exclude
// each other.
func rolesClash(k *kind, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	roles, changed := leaves(k, w, rec, "roles")
	return changed && clash(roles)
}

// tooManyTeams reports whether a write takes a member of staff into a team beyond the most
// that their devices can hold. One can always be taken out of a team.
func tooManyTeams(k *kind, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	teams, more := leaves(k, w, rec, "team_ids")
	slices.Sort(teams)
	return more && len(slices.Compact(teams)) > MaxTeams
}

// foreignTeam reports whether a write by anybody but the operator gives a member of staff a
// role or a team, and leaves them in a team of another agency with a role that sees more
// than operations. What one agency shows another one's clinicians is agreed between the two;
// an administrator of the one cannot take it. A right can always be taken away.
func foreignTeam(k *kind, p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record, look syncengine.Lookup) bool {
	roles, newRoles := leaves(k, w, rec, "roles")
	teams, newTeams := leaves(k, w, rec, "team_ids")
	if p.Server || look == nil || !newRoles && !newTeams || slices.Equal(roles, []string{lePartner}) {
		return false
	}
	for _, text := range teams {
		team := foundBy(look, text)
		if team == nil {
			return true
		}
		// A team is of the agency that leads its program.
		program := foundBy(look, team.Text(syncengine.FieldProgram))
		if program == nil || program.Text(syncengine.FieldAgency) != p.Agency.String() {
			return true
		}
	}
	return false
}

// foundBy is the record that an id in words names, nil where there is none.
func foundBy(look syncengine.Lookup, text string) *syncengine.Record {
	id, err := syncengine.ParseID(text)
	if err != nil {
		return nil
	}
	rec, err := look(id)
	if err != nil {
		return nil
	}
	return rec
}

// leaves returns the codes or ids that a write leaves in a set of a record, and whether it
// gives more than was there: one more, or one without the role of a police partner, which
// narrows all others.
func leaves(k *kind, w *tandemv1.RecordWrite, rec *syncengine.Record, field string) (all []string, changed bool) {
	number := k.table.byName[field].number
	all = (&syncengine.Record{Body: w.GetBody()}).Codes(number)
	if rec != nil {
		all = append(all, rec.Codes(number)...)
	}
	changed = len(w.GetBody()) > 0
	for _, pw := range w.GetWrites() {
		if pw.GetField() != number {
			continue
		}
		code := string(pw.GetKey())
		changed = changed || len(pw.GetValue()) > 0 || code == lePartner
		all = slices.DeleteFunc(all, func(c string) bool { return c == code })
		if len(pw.GetValue()) > 0 {
			all = append(all, code)
		}
	}
	return all, changed
}
