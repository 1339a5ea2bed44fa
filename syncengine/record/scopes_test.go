package record_test

import (
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

const (
	ref      = tandemv1.Compartment_COMPARTMENT_REF
	ops      = tandemv1.Compartment_COMPARTMENT_OPS
	clinical = tandemv1.Compartment_COMPARTMENT_CLINICAL
	sud      = tandemv1.Compartment_COMPARTMENT_SUD
	private  = tandemv1.Compartment_COMPARTMENT_PRIVATE
	system   = tandemv1.Compartment_COMPARTMENT_SYSTEM
)

func key(owner syncengine.OwnerKind, id syncengine.ID, c tandemv1.Compartment, open bool) syncengine.ScopeKey {
	return syncengine.ScopeKey{Owner: owner, OwnerID: id, Compartment: c, Open: open}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	d := record.New()
	inLife := func(m proto.Message, life string) *syncengine.Record {
		m = proto.Clone(m)
		f := m.ProtoReflect().Descriptor().Fields().ByNumber(syncengine.FieldLifecycle)
		v := m.ProtoReflect().NewField(f)
		_ = v
		m.ProtoReflect().Set(f, protoString(life))
		return stored(t, m)
	}
	in := func(c tandemv1.Compartment) func(*tandemv1.RecordWrite) {
		return func(w *tandemv1.RecordWrite) { w.Compartment = c }
	}
	closed := referralMessage(t)
	closed.State, closed.Outcome = new("closed"), new("no_capacity")
	about := func(kind string, id syncengine.ID) *tandemv1.Note {
		m := noteMessage(t)
		m.Target = &tandemv1.RecordRef{Kind: new(kind), Id: new(id.String())}
		return m
	}
	unidentified := encounterMessage(t)
	unidentified.PersonId = nil
	looked := stored(t, encounterMessage(t))
	look := func(id syncengine.ID) (*syncengine.Record, error) {
		if id == encounterA {
			return looked, nil
		}
		return nil, nil //nolint:nilnil // A lookup answers nil for a record that is not there.
	}
	team := func(c tandemv1.Compartment, open bool) syncengine.ScopeKey {
		return key(syncengine.OwnerTeam, teamA, c, open)
	}
	for _, tc := range []struct {
		name   string
		rec    *syncengine.Record
		want   syncengine.ScopeKey
		follow []syncengine.ID
	}{
		{"incident", inLife(incidentMessage(t), "open"), team(ops, true), nil},
		{"cleared incident", inLife(incidentMessage(t), "cleared"), team(ops, true), nil},
		{"void incident", inLife(incidentMessage(t), "void"), team(ops, false), nil},
		{"imported incident", inLife(incidentMessage(t), "locked"), team(ops, false), nil},
		{"encounter", inLife(encounterMessage(t), "draft"), team(clinical, true), []syncengine.ID{personA}},
		{"signed encounter", inLife(encounterMessage(t), "signed"), team(clinical, true), []syncengine.ID{personA}},
		{"amended encounter", inLife(encounterMessage(t), "amended"), team(clinical, true), []syncengine.ID{personA}},
		{"void encounter", inLife(encounterMessage(t), "void"), team(clinical, false), []syncengine.ID{personA}},
		{"sud encounter", storedBy(t, author, encounterMessage(t), in(sud)), team(sud, true), []syncengine.ID{personA}},
		{"encounter with nobody", stored(t, unidentified), team(clinical, true), nil},
		{"person", stored(t, personMessage(t)), team(clinical, true), nil},
		{"merged person", inLife(personMessage(t), "merged"), team(clinical, false), nil},
		{"referral", stored(t, referralMessage(t)), team(clinical, true), []syncengine.ID{personA}},
		{"closed referral", stored(t, closed), team(clinical, false), []syncengine.ID{personA}},
		{"note on a person", stored(t, about("person", personA)), team(clinical, true), []syncengine.ID{personA}},
		{"note on an encounter", stored(t, about("encounter", encounterA)), team(clinical, true), []syncengine.ID{personA}},
		{"note on an encounter that is not there", stored(t, about("encounter", id(77))), team(clinical, true), nil},
		{"note that calls an encounter a referral", stored(t, about("referral", encounterA)), team(clinical, true), nil},
		{
			"private note", storedBy(t, author, about("person", personA), in(private)),
			key(syncengine.OwnerPerson, author, private, true), nil,
		},
		{
			"agency", stored(t, &tandemv1.Agency{Name: new("A"), Lifecycle: new("retired")}),
			key(syncengine.OwnerOrg, org, ref, true), nil,
		},
	} {
		own, follow, err := d.Scopes(org, tc.rec, look)
		if err != nil || !slices.Equal(own, []syncengine.ScopeKey{tc.want}) || !slices.Equal(follow, tc.follow) {
			t.Errorf("%s: got %v %v %v, want %v %v", tc.name, own, follow, err, tc.want, tc.follow)
		}
	}
	astray := incidentMessage(t)
	astray.TeamId = nil
	if own, follow, err := d.Scopes(org, stored(t, astray), look); len(own)+len(follow) > 0 || err != nil {
		t.Errorf("a record without a team: got %v %v %v, want no scope", own, follow, err)
	}
	if own, _, err := d.Scopes(org, &syncengine.Record{Kind: 4000}, look); len(own) > 0 || err != nil {
		t.Errorf("an unknown kind: got %v %v, want no scope", own, err)
	}
	if got, want := d.FollowScopes(stored(t, personMessage(t)), teamB),
		[]syncengine.ScopeKey{key(syncengine.OwnerTeam, teamB, clinical, true)}; !slices.Equal(got, want) {
		t.Errorf("a person follows into %v, want %v", got, want)
	}
	if got := d.FollowScopes(stored(t, &tandemv1.Agency{Name: new("A")}), teamB); got != nil {
		t.Errorf("reference data follows into %v, want nowhere", got)
	}
}

// TestReviewsAreOwn: a review is read by the leads of its team and by who made what was
// reviewed, in no scope that a colleague or a police partner holds.
func TestReviewsAreOwn(t *testing.T) {
	t.Parallel()
	d := record.New()
	as := func(c tandemv1.Compartment) func(*tandemv1.RecordWrite) {
		return func(w *tandemv1.RecordWrite) { w.Compartment = c }
	}
	reviewer, visit, call := id(61), storedBy(t, author, encounterMessage(t), as(clinical)), storedBy(t, author, incidentMessage(t), as(ops))
	use := storedBy(t, author, encounterMessage(t), as(sud))
	visit.ID, call.ID, use.ID = id(62), id(63), id(66)
	recs := map[syncengine.ID]*syncengine.Record{visit.ID: visit, call.ID: call, use.ID: use}
	look := func(id syncengine.ID) (*syncengine.Record, error) { return recs[id], nil }
	of := func(kind string, target syncengine.ID, c tandemv1.Compartment) *syncengine.Record {
		return storedBy(t, reviewer, &tandemv1.Review{
			TeamId: new(teamA.String()), Lifecycle: new("recorded"), Target: &tandemv1.RecordRef{Kind: &kind, Id: new(target.String())},
		}, as(c))
	}
	leads := key(syncengine.OwnerTeam, teamA, system, true)
	for name, tc := range map[string]struct {
		rec  *syncengine.Record
		want []syncengine.ScopeKey
	}{
		"a visit":             {of("encounter", visit.ID, clinical), []syncengine.ScopeKey{leads, key(syncengine.OwnerPerson, author, system, true)}},
		"a visit, sud":        {of("encounter", use.ID, sud), []syncengine.ScopeKey{key(syncengine.OwnerTeam, teamA, sud, true)}},
		"beside the wall":     {of("encounter", use.ID, clinical), []syncengine.ScopeKey{key(syncengine.OwnerTeam, teamA, sud, true)}},
		"a call":              {of("incident", call.ID, clinical), []syncengine.ScopeKey{leads, key(syncengine.OwnerPerson, author, system, true)}},
		"what is not there":   {of("encounter", id(64), clinical), []syncengine.ScopeKey{leads}},
		"nothing":             {stored(t, &tandemv1.Review{TeamId: new(teamA.String())}), []syncengine.ScopeKey{leads}},
		"a visit, of no team": {stored(t, &tandemv1.Review{Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(visit.ID.String())}}), nil},
	} {
		own, follow, err := d.Scopes(org, tc.rec, look)
		if err != nil || !slices.Equal(own, tc.want) || len(follow) > 0 {
			t.Errorf("of %s: %v, %v follow, %v, want %v", name, own, follow, err, tc.want)
		}
		if name != "beside the wall" && d.StaleReview(&syncengine.StoredRecord{Record: *tc.rec, Scopes: own}) {
			t.Errorf("of %s: of an earlier version", name)
		}
	}
	for _, tc := range []struct {
		in    tandemv1.Compartment
		scope syncengine.ScopeKey
	}{
		{clinical, key(syncengine.OwnerTeam, teamA, clinical, true)},
		{clinical, key(syncengine.OwnerTeam, teamA, system, false)},
		{clinical, key(syncengine.OwnerPerson, author, clinical, true)},
		{sud, key(syncengine.OwnerTeam, teamA, system, true)},
		{sud, key(syncengine.OwnerPerson, author, sud, true)},
	} {
		if !d.StaleReview(&syncengine.StoredRecord{Record: *of("encounter", visit.ID, tc.in), Scopes: []syncengine.ScopeKey{tc.scope}}) {
			t.Errorf("%v of an earlier version is not told apart", tc.scope)
		}
	}
	own, _, err := d.Scopes(org, recs[visit.ID], look)
	if err != nil {
		t.Fatal(err)
	}
	review, _, err := d.Scopes(org, of("encounter", visit.ID, clinical), look)
	if err != nil {
		t.Fatal(err)
	}
	behind, _, err := d.Scopes(org, of("encounter", use.ID, sud), look)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"clinician", "lead", "peer"} {
		p := theAuthor(role)
		if ok, err := d.MayRead(org, p, behind, look); err != nil || ok != (role != "peer") {
			t.Errorf("a %s who made it, in the team, reads the review of a sud visit: %t, %v", role, ok, err)
		}
		p.Teams = []syncengine.ID{teamB}
		if ok, err := d.MayRead(org, p, behind, look); err != nil || ok {
			t.Errorf("a %s who made it and has left the team reads the review of a sud visit: %t, %v", role, ok, err)
		}
	}
	for _, tc := range []struct {
		who   syncengine.ID
		role  string
		reads bool
	}{
		{author, "clinician", true}, {author, "peer", true}, {id(65), "clinician", false}, {id(65), "peer", false}, {id(65), "lead", true},
		{author, "le_partner", false}, {author, "admin", false}, {author, "auditor", false}, {author, "analyst", false},
	} {
		p := someone(tc.role)
		p.Person, p.Teams = tc.who, []syncengine.ID{teamA}
		if ok, err := d.MayRead(org, p, review, look); err != nil || ok != tc.reads {
			t.Errorf("a %s (who made it: %t) reads the review: %t, %v", tc.role, tc.who == author, ok, err)
		}
		if ok, err := d.MayRead(org, p, own, look); err != nil || ok != slices.Contains([]string{"clinician", "peer", "lead"}, tc.role) {
			t.Errorf("a %s reads the visit: %t, %v", tc.role, ok, err)
		}
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	d := record.New()
	count := func(keys []syncengine.ScopeKey) map[tandemv1.Compartment]int {
		n := map[tandemv1.Compartment]int{}
		for _, k := range keys {
			n[k.Compartment]++
		}
		return n
	}
	for _, tc := range []struct {
		roles []string
		want  map[tandemv1.Compartment]int
	}{
		{[]string{"clinician"}, map[tandemv1.Compartment]int{ref: 1, ops: 4, clinical: 4, sud: 4, private: 2, system: 1}},
		{[]string{"lead"}, map[tandemv1.Compartment]int{ref: 1, ops: 4, clinical: 4, sud: 4, system: 3}},
		{[]string{"clinician", "lead", "admin"}, map[tandemv1.Compartment]int{ref: 1, ops: 4, clinical: 4, sud: 4, system: 3, private: 2}},
		{[]string{"peer"}, map[tandemv1.Compartment]int{ref: 1, ops: 4, clinical: 4, system: 1}},
		{[]string{"le_partner"}, map[tandemv1.Compartment]int{ref: 1, ops: 4}},
		{[]string{"admin"}, map[tandemv1.Compartment]int{ref: 1}},
		{[]string{"auditor"}, map[tandemv1.Compartment]int{ref: 1}},
		{[]string{"analyst"}, map[tandemv1.Compartment]int{ref: 1}},
		{[]string{"chief"}, map[tandemv1.Compartment]int{}},
		{nil, map[tandemv1.Compartment]int{}},
	} {
		p := someone(tc.roles...)
		p.Teams = []syncengine.ID{teamB, teamA, teamB}
		got := d.Grants(org, p)
		if n := count(got); !equalCounts(n, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.roles, n, tc.want)
		}
		if !slices.IsSortedFunc(got, func(a, b syncengine.ScopeKey) int {
			switch {
			case a.Open == b.Open:
				return 0
			case a.Open:
				return -1
			}
			return 1
		}) {
			t.Errorf("%v: open work does not come first: %v", tc.roles, got)
		}
		slices.Reverse(p.Teams)
		slices.Reverse(p.Roles)
		if again := d.Grants(org, p); !slices.Equal(got, again) {
			t.Errorf("%v: the order of teams and roles changes the grants", tc.roles)
		}
	}
}

// TestHolds: a device can hold all records of as many teams as a person may be in, whatever
// their roles, and what is granted beyond that is left out, always the same.
func TestHolds(t *testing.T) {
	t.Parallel()
	const most = 64
	d := record.New()
	srv := &syncengine.Server{Rules: d}
	roles := []string{"clinician", "lead", "peer", "le_partner", "admin", "auditor", "analyst"}
	for with := range 1 << len(roles) {
		var some []string
		for i, r := range roles {
			if with&(1<<i) != 0 {
				some = append(some, r)
			}
		}
		for _, n := range []int{0, 1, 8, record.MaxTeams, record.MaxTeams + 1, 40} {
			p := someone(some...)
			p.Teams = nil
			for i := range n {
				p.Teams = append(p.Teams, id(byte(100+i)))
			}
			all := d.Grants(org, p)
			held, over := srv.Holds(org, p)
			if len(held) > most || len(held)+len(over) != len(all) || len(over) > 0 && len(held) < most {
				t.Fatalf("%v in %d teams: holds %d scopes, not %d, of %d", some, n, len(held), len(over), len(all))
			}
			if n <= 8 && len(over) > 0 {
				t.Errorf("%v in %d teams: %v are not held", some, n, over)
			}
			for _, k := range over {
				if n <= record.MaxTeams && (k.Compartment != system || k.Owner != syncengine.OwnerTeam) {
					t.Errorf("%v in %d teams: %v is not held", some, n, k)
				}
			}
			slices.Reverse(p.Teams)
			if again, _ := srv.Holds(org, p); !slices.Equal(again, held) {
				t.Errorf("%v in %d teams: the order of teams changes what is held", some, n)
			}
		}
	}
}

// TestTeamsAreBounded: nobody is taken into more teams than their devices can hold; one can
// always be taken out.
func TestTeamsAreBounded(t *testing.T) {
	t.Parallel()
	d := record.New()
	teams := func(n int) (all []string) {
		for i := range n {
			all = append(all, id(byte(100+i)).String())
		}
		return all
	}
	of := func(n int) *tandemv1.Staff {
		return &tandemv1.Staff{AgencyId: new(agencyA.String()), Lifecycle: new(record.Active), Roles: []string{"clinician"}, TeamIds: teams(n)}
	}
	operator := &syncengine.Principal{Server: true}
	for n, want := range map[int]bool{record.MaxTeams: true, record.MaxTeams + 1: false} {
		body, err := d.Body(of(n))
		if err != nil {
			t.Fatal(err)
		}
		w := &tandemv1.RecordWrite{Kind: d.KindByName("staff").Number, Act: tandemv1.Act_ACT_CREATE, Body: body}
		if got := d.AllowedOn(operator, w, nil, nil); got != want {
			t.Errorf("somebody new in %d teams: %t", n, got)
		}
	}
	number := uint32(201)
	for _, tc := range []struct {
		name string
		n    int
		in   bool
		want bool
	}{
		{"into the last", record.MaxTeams - 1, true, true},
		{"into one too many", record.MaxTeams, true, false},
		{"out of one of too many", record.MaxTeams + 3, false, true},
	} {
		pw := &tandemv1.PathWrite{Field: number, Key: []byte(teams(1)[0])}
		if tc.in {
			pw.Key = []byte(id(200).String())
			pw.Value = syncengine.StringField(number, string(pw.Key))
		}
		w := &tandemv1.RecordWrite{Kind: d.KindByName("staff").Number, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{pw}}
		if got := d.AllowedOn(operator, w, stored(t, of(tc.n)), nil); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}

func equalCounts(a, b map[tandemv1.Compartment]int) bool {
	for _, c := range []tandemv1.Compartment{ref, ops, clinical, sud, private, system} {
		if a[c] != b[c] {
			return false
		}
	}
	return true
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	d := record.New()
	teams := map[syncengine.ID]*syncengine.Record{
		teamA: stored(t, &tandemv1.Team{Name: new("A"), ProgramId: new(programA.String())}),
		teamB: stored(t, &tandemv1.Team{Name: new("B"), Lifecycle: new("void")}),
	}
	look := func(id syncengine.ID) (*syncengine.Record, error) { return teams[id], nil }
	m := &tandemv1.Staff{
		DisplayName: new("Ana"), AgencyId: new(agencyA.String()), Lifecycle: new(record.Active),
		Roles: []string{"clinician", "lead"}, TeamIds: []string{teamA.String(), teamB.String()},
	}
	rec := stored(t, m)
	p, err := d.Principal(rec, look)
	if err != nil {
		t.Fatal(err)
	}
	if p.Person != rec.ID || p.Agency != agencyA || !slices.Equal(p.Roles, []string{"clinician", "lead"}) ||
		!slices.Equal(p.Teams, []syncengine.ID{teamA}) || !slices.Equal(p.Programs, []syncengine.ID{programA}) {
		t.Errorf("got %+v, want the roles, agency, live team and program of the record", p)
	}
	for _, life := range []string{record.Retired, record.Void} {
		m.Lifecycle = new(life)
		p, err := d.Principal(stored(t, m), look)
		if err != nil || len(p.Roles)+len(p.Teams) > 0 || len(d.Grants(org, p)) > 0 {
			t.Errorf("%s staff: got %+v %v, want neither role nor team", life, p, err)
		}
	}
	if _, err := d.Principal(stored(t, incidentMessage(t)), look); err == nil {
		t.Error("an incident is a principal")
	}
}

func TestInherited(t *testing.T) {
	t.Parallel()
	d := record.New()
	agencyOf := func(part2 bool) map[syncengine.ID]*syncengine.Record {
		recs := map[syncengine.ID]*syncengine.Record{
			agencyA:  stored(t, &tandemv1.Agency{Name: new("A"), Part2Program: new(part2)}),
			programA: stored(t, &tandemv1.Program{AgencyId: new(agencyA.String())}),
			teamA:    stored(t, &tandemv1.Team{Name: new("A"), ProgramId: new(programA.String())}),
			personA:  stored(t, personMessage(t)),
		}
		return recs
	}
	hidden := storedBy(t, author, personMessage(t), func(w *tandemv1.RecordWrite) { w.Compartment = sud })
	protocol := &tandemv1.Attachment{Category: new("protocol")}
	underForm := responseMessage("person")
	underForm.FormId = new(recordA.String())
	for _, tc := range []struct {
		name  string
		msg   proto.Message
		part2 bool
		hides bool
		want  tandemv1.Compartment
	}{
		{"a contact", encounterMessage(t), false, false, clinical},
		{"a contact of a substance use program", encounterMessage(t), true, false, sud},
		{"a referral of its team", referralMessage(t), true, false, sud},
		{"a referral of somebody there", referralMessage(t), false, true, sud},
		{"a call of a substance use program", incidentMessage(t), true, true, ops},
		{"a private note", &tandemv1.Note{Type: new("private_psychotherapy")}, true, false, private},
		{"a protocol", protocol, true, false, ref},
		{"answers about a person", responseMessage("person"), false, false, clinical},
		{"answers about a person of a substance use program", responseMessage("person"), true, false, sud},
		{"answers about somebody there", responseMessage("person"), false, true, sud},
		{"answers of the community", responseMessage("community"), true, false, ref},
		{"answers about the program", responseMessage("program"), true, false, ref},
		{"answers to a form about substance use", underForm, false, false, sud},
	} {
		recs := agencyOf(tc.part2)
		recs[recordA] = stored(t, &tandemv1.Form{Code: new("use"), AnswersIn: new("sud")})
		if tc.hides {
			recs[personA] = hidden
		}
		body, err := d.Body(tc.msg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Inherited(d.KindOf(tc.msg).Number, body, func(id syncengine.ID) (*syncengine.Record, error) { return recs[id], nil }, nil)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %v %v, want %v", tc.name, got, err, tc.want)
		}
	}
}

// A record that somebody put beside the wall that it is to stand behind is found by the
// server, and asked about where only those behind the wall see it.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	d := record.New()
	visit := stored(t, encounterMessage(t))
	visit.ID = encounterA
	for _, tc := range []struct {
		name   string
		hides  bool
		part2  bool
		behind bool
		want   syncengine.ID
	}{
		{name: "where it belongs"},
		{name: "of somebody behind the wall", hides: true, want: personA},
		{name: "of a substance use program", part2: true, want: encounterA},
		{name: "behind the wall too", hides: true, part2: true, behind: true},
	} {
		who := func(w *tandemv1.RecordWrite) {
			if tc.hides {
				w.Compartment = sud
			}
		}
		rec := visit
		if tc.behind {
			rec = storedBy(t, author, encounterMessage(t), who)
			rec.ID = encounterA
		}
		recs := map[syncengine.ID]*syncengine.Record{
			agencyA:  stored(t, &tandemv1.Agency{Name: new("A"), Part2Program: new(tc.part2)}),
			programA: stored(t, &tandemv1.Program{AgencyId: new(agencyA.String())}),
			personA:  storedBy(t, author, personMessage(t), who),
		}
		none := func(syncengine.ID) ([]*syncengine.Record, error) { return nil, nil }
		got, err := d.ReviewAmong(rec, func(id syncengine.ID) (*syncengine.Record, error) { return recs[id], nil }, none)
		if err != nil {
			t.Fatal(err)
		}
		var at syncengine.ID
		for _, f := range got {
			if f.Rule == "rule_compartment" {
				at = f.Record
			}
		}
		if at != tc.want {
			t.Errorf("%s: asked about %v, want %v", tc.name, at, tc.want)
		}
	}
}
