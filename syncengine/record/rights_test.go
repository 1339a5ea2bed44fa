package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func someone(roles ...string) *syncengine.Principal {
	return &syncengine.Principal{
		Person: other, Device: tablet, Agency: agencyA, Roles: roles,
		Teams: []syncengine.ID{teamA}, Programs: []syncengine.ID{programA},
	}
}

func theAuthor(roles ...string) *syncengine.Principal {
	p := someone(roles...)
	p.Person = author
	return p
}

// may reports whether both judgements allow a write.
func may(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	d := record.New()
	return d.Allowed(p, w) && d.AllowedOn(p, w, rec, nil)
}

func TestRights(t *testing.T) {
	t.Parallel()
	const (
		set     = tandemv1.Act_ACT_SET
		resolve = tandemv1.Act_ACT_RESOLVE
		void    = tandemv1.Act_ACT_VOID
	)
	inc, enc, per, ref, not := incidentMessage(t), encounterMessage(t), personMessage(t), referralMessage(t), noteMessage(t)
	inc.Lifecycle = new(record.Open)
	outreach := encounterMessage(t)
	outreach.Type = new("outreach")
	peerNote := noteMessage(t)
	peerNote.Type = new("peer")
	private := &tandemv1.Note{TeamId: new(teamA.String()), Type: new("private_psychotherapy"), Text: new("x")}
	toPrivate := func(w *tandemv1.RecordWrite) { w.Compartment = tandemv1.Compartment_COMPARTMENT_PRIVATE }
	toSUD := func(w *tandemv1.RecordWrite) { w.Compartment = tandemv1.Compartment_COMPARTMENT_SUD }
	asImport := func(w *tandemv1.RecordWrite) {
		w.ImportedFrom = &tandemv1.Import{Mapping: "m", File: make([]byte, 32), Row: 2}
	}
	from := func(mapping string, file byte, row uint64) func(*tandemv1.RecordWrite) {
		return func(w *tandemv1.RecordWrite) {
			w.ImportedFrom = &tandemv1.Import{Mapping: mapping, File: bytes.Repeat([]byte{file}, 32), Row: row}
		}
	}
	signedVisit := proto.CloneOf(enc)
	signedVisit.Lifecycle = new(record.Signed)
	stateMessage := func(state string) *tandemv1.Referral {
		m := referralMessage(t)
		m.State = new(state)
		return m
	}
	backStep := actOn(t, resolve, stateMessage("accepted"), func(m *tandemv1.Referral) { m.State = new("sent") })
	backStep.Reason = "The provider took it back."
	wordless := proto.CloneOf(backStep)
	wordless.Reason = ""
	again := actOn(t, resolve, stateMessage("accepted"), func(m *tandemv1.Referral) { m.State = new("sent") })
	again.Writes[0].Value = syncengine.StringField(27, "accepted")
	create := func(m proto.Message, f func(*tandemv1.RecordWrite)) *tandemv1.RecordWrite {
		w := createOf(t, m)
		if f != nil {
			f(w)
		}
		return w
	}
	notes := actOn(t, set, inc, func(m *tandemv1.Incident) { m.NotesOps = new("x") })
	police := actOn(t, set, inc, func(m *tandemv1.Incident) {
		m.ForceUsed, m.ForceTypes, m.LeClearedAt, m.LeActions = new("yes"), []string{"hands_on"}, at(90), []string{"transport"}
		m.Weapon, m.LeInvolvement = new("edged"), new("backup_called")
	})
	policeAndMore := actOn(t, set, inc, func(m *tandemv1.Incident) { m.ForceUsed, m.RiskLevel = new("yes"), new("low") })
	toClear := actOn(t, tandemv1.Act_ACT_CLOSE, inc, func(m *tandemv1.Incident) { m.Lifecycle = new("cleared") })
	lock := actOn(t, tandemv1.Act_ACT_CLOSE, inc, func(m *tandemv1.Incident) { m.Lifecycle = new("locked") })
	newer := proto.CloneOf(notes)
	newer.Writes[0] = &tandemv1.PathWrite{Field: 190, Value: syncengine.StringField(190, "x")}
	signed := actOn(t, tandemv1.Act_ACT_SIGN, enc, func(m *tandemv1.Encounter) { m.Lifecycle = new("signed") })
	amended := actOn(t, tandemv1.Act_ACT_AMEND, enc, func(m *tandemv1.Encounter) { m.Lifecycle = new("amended") })
	voided := actOn(t, void, enc, func(m *tandemv1.Encounter) { m.Lifecycle = new("void") })
	merged := actOn(t, tandemv1.Act_ACT_MERGE, per, func(m *tandemv1.Person) { m.Lifecycle = new("merged") })
	phone := actOn(t, set, per, func(m *tandemv1.Person) { m.Phones[0].Number = new("+15855550101") })
	name := actOn(t, set, per, func(m *tandemv1.Person) { m.Names[0].Given = new("Anna") })
	team := &tandemv1.Team{Name: new("Nights"), AgencyId: new(agencyA.String()), ProgramId: new(programA.String())}
	member := actOn(t, set, team, func(m *tandemv1.Team) { m.MemberIds = []string{other.String()} })
	renamed := actOn(t, set, team, func(m *tandemv1.Team) { m.Name = new("Days") })
	moved := actOn(t, set, team, func(m *tandemv1.Team) { m.AgencyId = new(org.String()) })
	ourTeam := stored(t, team)
	ourTeam.ID = teamA
	foreign := proto.CloneOf(team)
	foreign.AgencyId = new(org.String())
	them := proto.CloneOf(enc)
	wideOpen := &syncengine.Principal{Person: other, Server: true}
	for _, tc := range []struct {
		name string
		who  *syncengine.Principal
		does *tandemv1.RecordWrite
		on   *syncengine.Record
		want bool
	}{
		{"clinician opens a call", someone("clinician"), create(inc, nil), nil, true},
		{"peer opens a call", someone("peer"), create(inc, nil), nil, true},
		{"lead opens no call", someone("lead"), create(inc, nil), nil, false},
		{"lead imports calls", someone("lead"), create(inc, asImport), nil, true},
		{"analyst imports no calls", someone("analyst"), create(inc, asImport), nil, false},
		{"police opens no call", someone("le_partner"), create(inc, nil), nil, false},
		{"nobody opens no call", someone(), create(inc, nil), nil, false},
		{"an unknown role opens no call", someone("chief"), create(inc, nil), nil, false},
		{"clinician edits a colleague's call", someone("clinician"), notes, stored(t, inc), true},
		{"clinician writes a newer version's field", someone("clinician"), newer, stored(t, inc), true},
		{"peer edits no colleague's call", someone("peer"), notes, stored(t, inc), false},
		{"peer edits their call", theAuthor("peer"), notes, stored(t, inc), true},
		{"police edits police fields", someone("le_partner"), police, stored(t, inc), true},
		{"police edits nothing else", someone("le_partner"), notes, stored(t, inc), false},
		{"police edits nothing else beside", someone("le_partner"), policeAndMore, stored(t, inc), false},
		{"police edits no newer version's field", someone("le_partner"), newer, stored(t, inc), false},
		{"police with another role stays police", someone("le_partner", "clinician"), notes, stored(t, inc), false},
		{"clinician clears", someone("clinician"), toClear, stored(t, inc), true},
		{"clinician does not lock", someone("clinician"), lock, stored(t, inc), false},
		{"the janitor locks", wideOpen, lock, stored(t, inc), true},
		{"the operator edits no call", wideOpen, notes, stored(t, inc), false},
		{"lead edits a call", someone("lead"), notes, stored(t, inc), true},
		{"admin edits no call", someone("admin"), notes, stored(t, inc), false},

		{"clinician signs their own", theAuthor("clinician"), signed, stored(t, enc), true},
		{"clinician signs no other's", someone("clinician"), signed, stored(t, enc), false},
		{"lead signs nobody's", someone("lead"), signed, stored(t, enc), false},
		{"lead amends", someone("lead"), amended, stored(t, enc), true},
		{"lead voids", someone("lead"), voided, stored(t, enc), true},
		{"clinician voids no other's", someone("clinician"), voided, stored(t, enc), false},
		{"peer makes no crisis response", someone("peer"), create(enc, nil), nil, false},
		{"peer makes an outreach", someone("peer"), create(outreach, nil), nil, true},
		{"peer makes no sud outreach", someone("peer"), create(outreach, toSUD), nil, false},
		{"peer does not turn it into a crisis response", theAuthor("peer"),
			actOn(t, set, outreach, func(m *tandemv1.Encounter) { m.Type = new("crisis_response") }), stored(t, outreach), false},
		{"peer edits their outreach", theAuthor("peer"),
			actOn(t, set, outreach, func(m *tandemv1.Encounter) { m.Narrative = new("x") }), stored(t, outreach), true},
		{"a create over another's is an edit of it", someone("clinician"), create(them, nil), stored(t, enc), false},
		{"a create over one's own", theAuthor("clinician"), create(them, nil), stored(t, enc), true},
		{"an import over an import", someone("clinician"), create(inc, asImport), storedBy(t, author, inc, asImport), true},
		{"a visit imported again by somebody else", someone("clinician"), create(enc, asImport), storedBy(t, author, enc, asImport), true},
		{"another row over it", someone("clinician"), create(enc, from("m", 0, 3)), storedBy(t, author, enc, asImport), false},
		{"another file over it", someone("clinician"), create(enc, from("m", 1, 2)), storedBy(t, author, enc, asImport), false},
		{"another mapping over it", someone("clinician"), create(enc, from("n", 0, 2)), storedBy(t, author, enc, asImport), false},
		{"an import over what was not imported", someone("clinician"), create(enc, asImport), stored(t, enc), false},
		{"a visit that was signed since imported again", someone("clinician"), create(enc, asImport), storedBy(t, author, signedVisit, asImport), false},
		{"by its author", theAuthor("clinician"), create(enc, asImport), storedBy(t, author, signedVisit, asImport), true},
		{"another kind's act", someone("lead"), voided, stored(t, inc), false},

		{"clinician edits a person", someone("clinician"), name, stored(t, per), true},
		{"peer edits contact fields", someone("peer"), phone, stored(t, per), true},
		{"peer edits no name", someone("peer"), name, stored(t, per), false},
		{"lead merges", someone("lead"), merged, stored(t, per), true},
		{"clinician merges not", someone("clinician"), merged, stored(t, per), false},

		{"peer writes a peer note", someone("peer"), create(peerNote, nil), nil, true},
		{"peer writes no case note", someone("peer"), create(not, nil), nil, false},
		{"author edits a private note", theAuthor("clinician"),
			actOn(t, set, private, func(m *tandemv1.Note) { m.Text = new("y") }), storedBy(t, author, private, toPrivate), true},
		{"lead voids no private note", someone("lead", "clinician"),
			actOn(t, void, private, func(m *tandemv1.Note) { m.Lifecycle = new("void") }), storedBy(t, author, private, toPrivate), false},

		{"clinician moves a colleague's referral", someone("clinician"),
			actOn(t, set, ref, func(m *tandemv1.Referral) { m.State = new("accepted") }), stored(t, ref), true},
		{"peer moves no sud referral", someone("peer"),
			actOn(t, set, ref, func(m *tandemv1.Referral) { m.State = new("accepted") }), storedBy(t, author, ref, toSUD), false},
		{"lead steps back with a reason", someone("lead"), backStep, stored(t, stateMessage("accepted")), true},
		{"lead steps back wordlessly", someone("lead"), wordless, stored(t, stateMessage("accepted")), false},
		{"author does not step back", theAuthor("clinician"), backStep, stored(t, stateMessage("accepted")), false},
		{"author chooses what stands there", theAuthor("clinician"), again, stored(t, stateMessage("accepted")), true},

		{"the operator makes a team", wideOpen, create(team, nil), nil, true},
		{"admin makes a team", someone("admin"), create(team, nil), nil, true},
		{"admin makes no other agency's team", someone("admin"), create(foreign, nil), nil, false},
		{"admin edits no other agency's team", someone("admin"), renamed, stored(t, foreign), false},
		{"admin moves no team to another agency", someone("admin"), moved, stored(t, team), false},
		{"clinician makes no team", someone("clinician"), create(team, nil), nil, false},
		{"lead adds a member to their team", someone("lead"), member, ourTeam, true},
		{"lead adds no member elsewhere", someone("lead"), member, stored(t, team), false},
		{"lead renames no team", someone("lead"), renamed, ourTeam, false},
	} {
		if got := may(tc.who, tc.does, tc.on); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}

// A police partner has no right to any field of any clinical kind by any act, and
// to none but the police fields of an incident.
func TestPolicePartnerHasNoClinicalCell(t *testing.T) {
	t.Parallel()
	d := record.New()
	allowed := map[string]bool{
		"le_involvement": true, "le_actions": true, "le_cleared_at": true, "force_used": true, "force_types": true, "weapon": true,
	}
	survey := map[string]bool{}
	for _, c := range record.MatrixCells() {
		for _, f := range c.Fields {
			survey[f] = survey[f] || c.Kind == "form_response"
		}
		if c.Role != "le_partner" {
			continue
		}
		if c.Kind == "form_response" && slices.Equal(c.Only, []tandemv1.Compartment{tandemv1.Compartment_COMPARTMENT_REF}) {
			continue // Surveys of the community: TestPoliceAnswerSurveysAlone.
		}
		if got := d.KindByName(c.Kind).Compartment; got != tandemv1.Compartment_COMPARTMENT_OPS {
			t.Errorf("le_partner has a right on %s, which is %s", c.Kind, got)
		}
		if c.Opens && c.Kind == "incident" {
			continue // In a program without clinicians an officer opens the call.
		}
		if len(c.Fields) == 0 || slices.ContainsFunc(c.Fields, func(f string) bool { return !allowed[f] }) {
			t.Errorf("le_partner may write %v of %s", c.Fields, c.Kind)
		}
	}
	judged := 0
	for _, k := range d.Kinds() {
		for act := range tandemv1.Act_name {
			for number := uint32(1); number < 500; number++ {
				w := &tandemv1.RecordWrite{
					Kind: k.Number, Act: tandemv1.Act(act),
					Writes: []*tandemv1.PathWrite{{Field: number, Value: syncengine.StringField(number, "x")}},
				}
				if tandemv1.Act(act) == tandemv1.Act_ACT_CREATE {
					w.Writes, w.Body = nil, syncengine.StringField(number, "x")
				}
				judged++
				if !d.Allowed(someone("le_partner"), w) {
					continue
				}
				f := k.Fields[number]
				if k.Name == "form_response" && f != nil && survey[f.Name] && tandemv1.Act(act) != tandemv1.Act_ACT_CREATE {
					continue // Of those that everybody reads: TestPoliceAnswerSurveysAlone.
				}
				if k.Name != "incident" || f == nil || !allowed[f.Name] {
					t.Errorf("le_partner may %s field %d of %s", tandemv1.Act(act), number, k.Name)
				}
			}
		}
	}
	if judged < 50_000 {
		t.Errorf("judged %d writes, want every kind, act and field", judged)
	}
	for _, key := range d.Grants(org, someone("le_partner", "clinician", "lead")) {
		if key.Compartment != tandemv1.Compartment_COMPARTMENT_OPS && key.Compartment != tandemv1.Compartment_COMPARTMENT_REF {
			t.Errorf("le_partner holds a scope of %s", key.Compartment)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		roles []string
		clash bool
	}{
		{[]string{"le_partner"}, false},
		{[]string{"clinician", "lead", "admin"}, false},
		{[]string{"le_partner", "clinician"}, true},
		{[]string{"analyst", "le_partner"}, true},
	} {
		if err := record.CheckRoles(tc.roles); errors.Is(err, record.ErrRoles) != tc.clash {
			t.Errorf("%v: got %v, want clash %t", tc.roles, err, tc.clash)
		}
		m := &tandemv1.Staff{DisplayName: new("A"), AgencyId: new(agencyA.String()), Roles: tc.roles}
		if got := may(someone("admin"), createOf(t, m), nil); got == tc.clash {
			t.Errorf("a staff record of %v: allowed %t, want %t", tc.roles, got, !tc.clash)
		}
	}
	if err := record.CheckRoles([]string{"chief"}); err == nil || errors.Is(err, record.ErrRoles) {
		t.Errorf("an unknown role: got %v, want it refused as unknown", err)
	}
	officer := &tandemv1.Staff{DisplayName: new("A"), AgencyId: new(agencyA.String()), Roles: []string{"le_partner"}}
	add := actOn(t, tandemv1.Act_ACT_SET, officer, func(m *tandemv1.Staff) { m.Roles = append(m.Roles, "clinician") })
	if may(&syncengine.Principal{Server: true}, add, stored(t, officer)) {
		t.Error("the operator gives a police partner a second role")
	}
	swap := actOn(t, tandemv1.Act_ACT_SET, officer, func(m *tandemv1.Staff) { m.Roles = []string{"clinician"} })
	if !may(someone("admin"), swap, stored(t, officer)) {
		t.Error("the admin cannot change a police partner into a clinician")
	}
}

// Who might write on a draft is told by one look at its call, however often that names
// anybody, and what they may write once it is sealed by none.
func TestCoAuthors(t *testing.T) {
	t.Parallel()
	d := record.New()
	call, visit, note := incidentMessage(t), encounterMessage(t), noteMessage(t)
	visit.Lifecycle, note.Lifecycle = new(record.Draft), new(record.Draft)
	call.Responders = nil
	for i := range 2000 {
		call.Responders = append(call.Responders, &tandemv1.Responder{Element: fmt.Appendf(nil, "%08d", i), StaffId: new(other.String())})
	}
	words := func(m *tandemv1.Encounter) { m.Narrative = new("I was there too.") }
	edit := actOn(t, tandemv1.Act_ACT_SET, visit, words)
	looks, broken := 0, error(nil)
	look := func(syncengine.ID) (*syncengine.Record, error) {
		looks++
		return stored(t, call), broken
	}
	named := func(msg proto.Message) []syncengine.ID {
		t.Helper()
		ids, err := d.CoAuthors(stored(t, msg), look)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := named(visit); len(got) != 1 || got[0] != other || looks != 1 {
		t.Errorf("2,000 namings of one: %v at %d looks", got, looks)
	}
	for _, r := range call.Responders {
		r.StaffId = new(strings.ToLower(other.String()))
	}
	if got := named(visit); got != nil || d.AllowedOn(someone("clinician"), edit, stored(t, visit), look) {
		t.Errorf("by another way to write an id, which names nobody on the draft: %v", got)
	}
	for i, r := range call.Responders {
		r.StaffId = new(syncengine.ID{9, byte(i >> 8), byte(i)}.String())
	}
	there := look
	members := map[syncengine.ID]bool{{9, 0, 70}: true}
	look = func(id syncengine.ID) (*syncengine.Record, error) {
		rec, err := there(id)
		if members[id] {
			rec = stored(t, &tandemv1.Staff{DisplayName: new("A")})
		} else if id[0] == 9 {
			rec = nil
		}
		return rec, err
	}
	if got := named(visit); len(got) != 1 || !members[got[0]] || looks > 1100 {
		t.Errorf("one of the staff among very many that are nobody: %v at %d looks", got, looks)
	}
	for i := range 1000 {
		members[syncengine.ID{9, byte(i >> 8), byte(i)}] = true
	}
	got := named(visit)
	if len(got) != syncengine.MaxCoAuthors || !slices.IsSortedFunc(got, syncengine.ID.Compare) {
		t.Errorf("%d of very many, or in no order", len(got))
	}
	if got := named(note); got != nil {
		t.Errorf("on a note, which is its author's: %v", got)
	}
	look, broken = there, io.ErrUnexpectedEOF
	if _, err := d.CoAuthors(stored(t, visit), look); !errors.Is(err, broken) {
		t.Errorf("a call that cannot be read: %v", err)
	}
	broken = nil

	beside := func(life string, w *tandemv1.RecordWrite, who *syncengine.Principal) bool {
		visit := proto.CloneOf(visit)
		visit.Lifecycle = new(life)
		return d.AllowedBeside(who, w, stored(t, visit))
	}
	for life, want := range map[string]bool{record.Draft: false, record.Signed: true, record.Amended: true, record.Void: true} {
		if got := beside(life, edit, someone("clinician")); got != want {
			t.Errorf("beside what is %s: %t", life, got)
		}
	}
	signedVisit := proto.CloneOf(visit)
	signedVisit.Lifecycle = new(record.Signed)
	for want, visit := range []*tandemv1.Encounter{signedVisit, visit} {
		looks = 0
		if d.AllowedOn(someone("clinician"), edit, stored(t, visit), look); looks != want {
			t.Errorf("%d looks at an edit of what is %s, want %d", looks, visit.GetLifecycle(), want)
		}
	}
	for _, role := range []string{"peer", "lead", "le_partner", "admin"} {
		if beside(record.Signed, edit, someone(role)) {
			t.Errorf("a %s writes beside", role)
		}
	}
	elsewhere := actOn(t, tandemv1.Act_ACT_SET, visit, func(m *tandemv1.Encounter) { m.IncidentId = new(other.String()) })
	for name, w := range map[string]*tandemv1.RecordWrite{
		"signs": actOn(t, tandemv1.Act_ACT_SIGN, visit, words), "amends": actOn(t, tandemv1.Act_ACT_AMEND, visit, words),
		"voids": actOn(t, tandemv1.Act_ACT_VOID, visit, words), "settles": actOn(t, tandemv1.Act_ACT_RESOLVE, visit, words),
		"makes it anew": createOf(t, visit), "takes it elsewhere": elsewhere,
	} {
		if beside(record.Signed, w, someone("clinician")) {
			t.Errorf("who writes beside %s", name)
		}
	}
}

// Nothing that a device sends makes the judgements panic.
func TestRightsOfGarbage(t *testing.T) {
	t.Parallel()
	d := record.New()
	rec := stored(t, incidentMessage(t))
	for _, w := range []*tandemv1.RecordWrite{
		nil, {}, {Kind: 20, Act: tandemv1.Act_ACT_SET}, {Kind: 999, Act: tandemv1.Act_ACT_CREATE},
		{Kind: 20, Act: tandemv1.Act_ACT_CREATE, Body: []byte{0xff}},
		{Kind: 4, Act: tandemv1.Act_ACT_CREATE, Body: protowire.AppendVarint(nil, 1<<60)},
	} {
		for _, role := range []string{"clinician", "peer", "le_partner", "lead", "admin", ""} {
			d.Allowed(someone(role), w)
			d.AllowedOn(someone(role), w, nil, nil)
			d.AllowedOn(someone(role), w, rec, nil)
			d.AllowedBeside(someone(role), w, rec)
			d.AllowedOn(someone(role), w, &syncengine.Record{Kind: 20, Body: []byte{1}, Stamps: []byte{9}}, nil)
		}
	}
}
