package record

import (
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
)

// Compartments, short.
const (
	ref      = tandemv1.Compartment_COMPARTMENT_REF
	ops      = tandemv1.Compartment_COMPARTMENT_OPS
	clinical = tandemv1.Compartment_COMPARTMENT_CLINICAL
	sud      = tandemv1.Compartment_COMPARTMENT_SUD
	private  = tandemv1.Compartment_COMPARTMENT_PRIVATE
	// system holds no record of ours; a team's scope in it is that of its leads, a person's
	// that of the reviews of what they made. Scopes in it have one tier.
	system = tandemv1.Compartment_COMPARTMENT_SYSTEM
)

// holds lists, by role, the compartments whose scopes a person holds: those of
// their teams, except ref, which is the org's, and private, which is their own. Who holds
// clinical records of their teams holds the reviews of what they made themselves besides,
// in one scope of their own.
// What a peer may see of sud by consent is finer than a scope and never leaves the
// server; what admin, auditor and analyst see of records neither.
var holds = map[string][]tandemv1.Compartment{
	clinician: {ref, ops, clinical, sud, private},
	lead:      {ref, ops, clinical, sud, system},
	peer:      {ref, ops, clinical},
	lePartner: {ref, ops},
	admin:     {ref},
	auditor:   {ref},
	analyst:   {ref},
}

// looks lists, by role, the compartments that a person may look up in every team of
// their programs, beyond the teams that they are of. Nobody looks up what is private, or
// of a substance use program (42 CFR Part 2) they do not work in.
var looks = map[string][]tandemv1.Compartment{
	clinician: {clinical},
	lead:      {ops, clinical, system},
}

// MayRead reports whether a principal may read what stands in scopes: they hold one of
// them, or one is of a team of one of their programs and their role looks beyond its own teams.
func (d *Domain) MayRead(org syncengine.ID, p *syncengine.Principal, scopes []syncengine.ScopeKey, look syncengine.Lookup) (bool, error) {
	grants := d.Grants(org, p)
	if slices.ContainsFunc(scopes, func(s syncengine.ScopeKey) bool { return slices.Contains(grants, s) }) {
		return true, nil
	}
	for _, s := range scopes {
		if s.Owner != syncengine.OwnerTeam || !looksInto(p, s.Compartment) {
			continue
		}
		team, err := look(s.OwnerID)
		if err != nil {
			return false, err
		}
		if team == nil {
			continue
		}
		program, err := syncengine.ParseID(team.Text(syncengine.FieldProgram))
		if err == nil && slices.Contains(p.Programs, program) {
			return true, nil
		}
	}
	return false, nil
}

func looksInto(p *syncengine.Principal, c tandemv1.Compartment) bool {
	return slices.ContainsFunc(effective(p), func(role string) bool { return slices.Contains(looks[role], c) })
}

// glass lists, by role, the compartments that somebody may read of one person in an
// emergency, in every team of their agency. What is private, and what is of a substance
// use program they do not work in, stays closed: 42 CFR 2.51 lets the program itself
// disclose that in a medical emergency.
var glass = map[string][]tandemv1.Compartment{
	clinician: {ops, clinical},
	lead:      {ops, clinical},
	peer:      {ops, clinical},
}

// BreaksGlass implements syncengine.Rules: clinicians, peers and leads, for a person.
func (d *Domain) BreaksGlass(p *syncengine.Principal, subject *syncengine.Record) bool {
	if subject != nil && (d.kinds[subject.Kind] == nil || d.kinds[subject.Kind].Name != person) {
		return false
	}
	return slices.ContainsFunc(effective(p), func(role string) bool { return glass[role] != nil })
}

// MayReadInEmergency implements syncengine.Rules: what MayRead lets them read, and more of
// the teams of their agency.
func (d *Domain) MayReadInEmergency(org syncengine.ID, p *syncengine.Principal, scopes []syncengine.ScopeKey, look syncengine.Lookup) (bool, error) {
	if ok, err := d.MayRead(org, p, scopes, look); ok || err != nil {
		return ok, err
	}
	for _, s := range scopes {
		opens := slices.ContainsFunc(effective(p), func(role string) bool { return slices.Contains(glass[role], s.Compartment) })
		if s.Owner != syncengine.OwnerTeam || !opens || p.Agency.IsZero() {
			continue
		}
		team, err := look(s.OwnerID)
		if err != nil {
			return false, err
		}
		if team == nil {
			continue
		}
		of, err := agencyOf(team, look)
		if err != nil {
			return false, err
		}
		if of == p.Agency {
			return true, nil
		}
	}
	return false, nil
}

// agencyOf returns the agency that leads a team's program, zero where that is not known.
func agencyOf(team *syncengine.Record, look syncengine.Lookup) (syncengine.ID, error) {
	id, err := syncengine.ParseID(team.Text(syncengine.FieldProgram))
	if err != nil {
		return id, nil //nolint:nilerr // A reference that is no id is none.
	}
	program, err := look(id)
	if err != nil || program == nil {
		return syncengine.ID{}, err
	}
	agency, err := syncengine.ParseID(program.Text(syncengine.FieldAgency))
	if err != nil {
		return syncengine.ID{}, nil //nolint:nilerr // See above.
	}
	return agency, nil
}

// About returns the records that one is about: person, call and visit, as it names them
// itself.
func (d *Domain) About(rec *syncengine.Record) (ids []syncengine.ID) {
	k := d.kinds[rec.Kind]
	if k == nil || !k.ofTeam() {
		return nil
	}
	for _, f := range k.about {
		id, err := syncengine.ParseID(rec.Text(f))
		if err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if f := k.target(); f != nil {
		if _, id := noteTarget(rec.Field(f.number)); !id.IsZero() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Links returns the body of a record with no more in it than what [Domain.About] reads.
func (d *Domain) Links(rec *syncengine.Record) (body []byte, err error) {
	k := d.kinds[rec.Kind]
	if k == nil || !k.ofTeam() {
		return nil, nil
	}
	fields, err := rec.Fields()
	if err != nil {
		return nil, err
	}
	target := k.target()
	for _, f := range fields {
		if slices.Contains(k.about, f.Path.Field) || target != nil && f.Path.Field == target.number {
			body = append(body, f.Raw...)
		}
	}
	return body, nil
}

// Scopes returns the scopes that a record belongs to by itself, and the records
// that follow it into those of its team. Reference data belongs to the org, a
// private note to its author, everything else to its team; a record without a team
// is in no scope. An encounter, a referral and a note bring their person along.
func (d *Domain) Scopes(org syncengine.ID, rec *syncengine.Record, look syncengine.Lookup) (own []syncengine.ScopeKey, followers []syncengine.ID, err error) {
	k := d.kinds[rec.Kind]
	if k == nil {
		return nil, nil, nil
	}
	key := syncengine.ScopeKey{Compartment: rec.Compartment(&k.Kind), Open: k.open(rec)}
	switch key.Compartment {
	case ref:
		// Retired reference data still names what old records refer to.
		key.Owner, key.OwnerID, key.Open = syncengine.OwnerOrg, org, true
		return []syncengine.ScopeKey{key}, nil, nil
	case private:
		origin, err := rec.Origin()
		if err != nil {
			return nil, nil, err
		}
		// Nobody follows: that would tell the team of the note.
		key.Owner, key.OwnerID = syncengine.OwnerPerson, origin.Author
		return []syncengine.ScopeKey{key}, nil, nil
	}
	team, err := syncengine.ParseID(rec.Text(syncengine.FieldTeam))
	if err != nil {
		return nil, nil, nil //nolint:nilerr // A team that is no id is no team.
	}
	key.Owner, key.OwnerID = syncengine.OwnerTeam, team
	if k.Name == review {
		own, err = d.reviewScopes(k, key, rec, look)
		return own, nil, err
	}
	person, err := d.subject(k, rec, look)
	if err != nil {
		return nil, nil, err
	}
	if !person.IsZero() {
		followers = []syncengine.ID{person}
	}
	return []syncengine.ScopeKey{key}, followers, nil
}

// StaleReview reports whether a review is in a scope in which this version puts no review
// of its compartment.
func (d *Domain) StaleReview(rec *syncengine.StoredRecord) bool {
	in := system
	if rec.Compartment(&d.byName[review].Kind) == sud {
		in = sud
	}
	return slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool {
		return k.Compartment != in || in == system && !k.Open || in == sud && k.Owner != syncengine.OwnerTeam
	})
}

// reviewScopes returns the scopes of a review, of which key is that of its team: that of
// the team's leads, and that of who made what was reviewed. What is behind the wall of a
// substance use program stays with who works there: the review of it is read by the team's
// members who read what it is about, and leaves who leaves them. Nobody follows: what was
// reviewed has brought its person along.
func (d *Domain) reviewScopes(k *kind, key syncengine.ScopeKey, rec *syncengine.Record, look syncengine.Lookup) ([]syncengine.ScopeKey, error) {
	if key.Compartment == sud {
		return []syncengine.ScopeKey{key}, nil
	}
	leads := key
	leads.Compartment, leads.Open = system, true
	scopes := []syncengine.ScopeKey{leads}
	_, id := noteTarget(rec.Field(k.target().number))
	if id.IsZero() || look == nil {
		return scopes, nil
	}
	target, err := look(id)
	if err != nil || target == nil {
		return scopes, err
	}
	if of := d.kinds[target.Kind]; of != nil && target.Compartment(&of.Kind) == sud {
		key.Compartment = sud
		return []syncengine.ScopeKey{key}, nil
	}
	origin, err := target.Origin()
	if err != nil || origin.Author.IsZero() {
		return scopes, nil //nolint:nilerr // Nobody is known to have made it.
	}
	own := leads
	own.Owner, own.OwnerID = syncengine.OwnerPerson, origin.Author
	return append(scopes, own), nil
}

// FollowScopes returns the scopes in which a follower joins a record of team: the
// team's, in the follower's own compartment.
func (d *Domain) FollowScopes(follower *syncengine.Record, team syncengine.ID) []syncengine.ScopeKey {
	k := d.kinds[follower.Kind]
	if k == nil || !k.ofTeam() || team.IsZero() {
		return nil
	}
	key := syncengine.ScopeKey{
		Owner: syncengine.OwnerTeam, OwnerID: team,
		Compartment: follower.Compartment(&k.Kind), Open: k.open(follower),
	}
	if key.Compartment == private {
		return nil
	}
	if planted.Is(planted.WallLeak) {
		key.Compartment = ops
	}
	return []syncengine.ScopeKey{key}
}

// open reports whether the work on a record is in hand.
func (k *kind) open(rec *syncengine.Record) bool {
	if done[rec.Lifecycle()] {
		return false
	}
	return k.Name != referral || !done[rec.Text(k.table.byName["state"].number)]
}

// target returns the field that says what a record hangs on, nil for a kind that hangs
// on none.
func (k *kind) target() *field {
	switch k.Name {
	case note, review:
		return k.table.byName["target"]
	case attachment:
		return k.table.byName["owner"]
	}
	return nil
}

// subject returns the person that a record is about, zero for none: for what hangs on
// another record of a person, theirs.
func (d *Domain) subject(k *kind, rec *syncengine.Record, look syncengine.Lookup) (syncengine.ID, error) {
	if f := k.target(); f != nil {
		about, id := noteTarget(rec.Field(f.number))
		if about == person {
			return id, nil
		}
		if on := d.byName[about]; id.IsZero() || on == nil || on.table.byName["person_id"] == nil || look == nil {
			return syncengine.ID{}, nil
		}
		target, err := look(id)
		if err != nil || target == nil || d.kinds[target.Kind] == nil || d.kinds[target.Kind].Name != about {
			return syncengine.ID{}, err
		}
		k, rec = d.kinds[target.Kind], target
	}
	f := k.table.byName["person_id"]
	if f == nil {
		return syncengine.ID{}, nil
	}
	id, err := syncengine.ParseID(rec.Text(f.number))
	if err != nil {
		return syncengine.ID{}, nil //nolint:nilerr // A reference that is no id is none.
	}
	return id, nil
}

// noteTarget reads a raw RecordRef; zero where it names no record.
func noteTarget(raw []byte) (kind string, id syncengine.ID) {
	msg, _ := syncengine.RawString(raw)
	for b := []byte(msg); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ != protowire.BytesType {
			return "", syncengine.ID{}
		}
		v, m := protowire.ConsumeString(b[n:])
		if m < 0 {
			return "", syncengine.ID{}
		}
		switch b = b[n+m:]; num {
		case 1:
			kind = v
		case 2:
			parsed, err := syncengine.ParseID(v)
			if err != nil {
				return "", syncengine.ID{}
			}
			id = parsed
		}
	}
	return kind, id
}

// Principal returns who a staff record describes. Someone whose record is retired
// or void has no role and no team; a void team is none.
func (d *Domain) Principal(rec *syncengine.Record, look syncengine.Lookup) (*syncengine.Principal, error) {
	k := d.kinds[rec.Kind]
	if k == nil || k.Name != staff {
		return nil, ErrUnknownKind
	}
	p := &syncengine.Principal{Person: rec.ID}
	p.Agency, _ = syncengine.ParseID(rec.Text(syncengine.FieldAgency))
	if life := rec.Lifecycle(); life == Retired || life == Void {
		return p, nil
	}
	p.Roles = rec.Codes(k.table.byName["roles"].number)
	for _, text := range rec.Codes(k.table.byName["team_ids"].number) {
		id, err := syncengine.ParseID(text)
		if err != nil {
			continue
		}
		t, err := look(id)
		if err != nil {
			return nil, err
		}
		if t != nil && t.Lifecycle() == Void {
			continue
		}
		p.Teams = append(p.Teams, id)
		if t == nil {
			continue
		}
		program, err := syncengine.ParseID(t.Text(syncengine.FieldProgram))
		if err == nil && !slices.Contains(p.Programs, program) {
			p.Programs = append(p.Programs, program)
		}
		if err != nil || !slices.Contains(p.Roles, lePartner) {
			continue
		}
		of, err := look(program)
		if err != nil {
			return nil, err
		}
		if of != nil && of.Lifecycle() != Void && of.Text(d.byName["program"].table.byName["model"].number) == modelCIT {
			p.Opens = append(p.Opens, id)
		}
	}
	return p, nil
}

// Grants returns the scopes that a principal may hold: open work first, then by
// compartment, then by owner. Roles add up, except that a police partner holds what
// a police partner holds, whatever else a staff record may say.
func (d *Domain) Grants(org syncengine.ID, p *syncengine.Principal) []syncengine.ScopeKey {
	keys := make([]syncengine.ScopeKey, 0, 16)
	one := func(owner syncengine.OwnerKind, id syncengine.ID, c tandemv1.Compartment) {
		keys = append(keys, syncengine.ScopeKey{Owner: owner, OwnerID: id, Compartment: c, Open: true})
	}
	add := func(owner syncengine.OwnerKind, id syncengine.ID, c tandemv1.Compartment) {
		one(owner, id, c)
		keys = append(keys, syncengine.ScopeKey{Owner: owner, OwnerID: id, Compartment: c})
	}
	for _, role := range effective(p) {
		for _, c := range holds[role] {
			switch c {
			case ref:
				one(syncengine.OwnerOrg, org, c)
			case private:
				add(syncengine.OwnerPerson, p.Person, c)
			case system:
				for _, team := range p.Teams {
					one(syncengine.OwnerTeam, team, c)
				}
			default:
				for _, team := range p.Teams {
					add(syncengine.OwnerTeam, team, c)
				}
				if c == clinical {
					one(syncengine.OwnerPerson, p.Person, system)
				}
			}
		}
	}
	slices.SortFunc(keys, compareScopes)
	return slices.Compact(keys)
}

func compareScopes(a, b syncengine.ScopeKey) int {
	switch {
	case a.Open != b.Open:
		if a.Open {
			return -1
		}
		return 1
	case a.Compartment != b.Compartment:
		return cmp.Compare(a.Compartment, b.Compartment)
	case a.Owner != b.Owner:
		return cmp.Compare(a.Owner, b.Owner)
	}
	return a.OwnerID.Compare(b.OwnerID)
}

// Inherited returns the compartment to create a record of a body in: that of its kind, or
// the stricter one of what it hangs on (its target or owner, its person, contact, episode
// or referral) and of its program, which is sud where a substance use disorder program
// under 42 CFR Part 2 leads it. A private note is private, a protocol reference data; a
// response stands where its form says.
// made are the compartments of records that look does not find yet.
func (d *Domain) Inherited(kind uint32, body []byte, look syncengine.Lookup, made map[syncengine.ID]tandemv1.Compartment) (tandemv1.Compartment, error) {
	in, _, err := d.inherited(kind, body, look, made)
	return in, err
}

// inherited is Inherited, with the record in a stricter compartment that it comes from;
// zero where it comes from reference data.
func (d *Domain) inherited(kind uint32, body []byte, look syncengine.Lookup, made map[syncengine.ID]tandemv1.Compartment) (in tandemv1.Compartment, from syncengine.ID, err error) {
	k := d.kinds[kind]
	if k == nil {
		return tandemv1.Compartment_COMPARTMENT_UNSPECIFIED, from, nil
	}
	rec := &syncengine.Record{Kind: kind, Body: body}
	if k.Compartment != clinical {
		return k.Compartment, from, nil
	}
	switch {
	case k.Name == note && rec.Text(noteType) == privateNote:
		return private, from, nil
	case k.Name == attachment && rec.Text(attachmentCategory) == protocol, k.Name == formResponse && Impersonal(rec.Text(responseSubject)):
		return ref, from, nil
	case k.Name == formResponse:
		// Its form may say that the answers are of substance use.
		by := &others{domain: d, rec: rec, look: look}
		if of := by.record(rec.Text(responseForm), form); of != nil && of.code("answers_in") == "sud" || by.err != nil {
			return sud, from, by.err
		}
	}
	on := d.About(rec)
	for _, name := range []string{"episode_id", "referral_id"} {
		if f := k.table.byName[name]; f != nil {
			if id, err := syncengine.ParseID(rec.Text(f.number)); err == nil {
				on = append(on, id)
			}
		}
	}
	for _, id := range on {
		c, known := made[id]
		if !known {
			of, err := look(id)
			if err != nil {
				return clinical, from, err
			}
			if of == nil || d.kinds[of.Kind] == nil {
				continue
			}
			c = of.Compartment(&d.kinds[of.Kind].Kind)
		}
		if c == sud {
			return sud, id, nil
		}
	}
	in, err = d.ofProgram(rec, look)
	return in, from, err
}

// ofProgram returns the compartment of clinical records of a record's program.
func (d *Domain) ofProgram(rec *syncengine.Record, look syncengine.Lookup) (tandemv1.Compartment, error) {
	by := &others{domain: d, rec: rec, look: look}
	of := by.record(rec.Text(syncengine.FieldProgram), program)
	if of == nil {
		if t := by.record(rec.Text(syncengine.FieldTeam), team); t != nil {
			of = by.named(t, "program_id", program)
		}
	}
	if of == nil || by.err != nil {
		return clinical, by.err
	}
	if leads := by.named(of, "agency_id", agency); leads != nil && leads.yes("part2_program") {
		return sud, by.err
	}
	return clinical, by.err
}
