package server_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// TestMatrix plays every cell of testdata/matrix.txt against a running server: each act
// of each role on what is their own, their team's, another team's, another program's and
// void. What the table does not name must be refused, and what a person may not read
// must come in no page and no lookup.
func TestMatrix(t *testing.T) { each(t, testMatrix) }

func testMatrix(t *testing.T, on engine) {
	t.Parallel()
	table := readMatrix(t)
	m := newMatrixWorld(t, on)
	cells := m.plan(table)
	m.make(cells)
	m.takeRoles()
	m.readAll()
	for _, c := range cells {
		if c.play%100 == 99 {
			m.later()
		}
		if testing.Short() && c.play%7 != 0 {
			continue // Under the race detector a share will do.
		}
		t.Run(c.name(), func(t *testing.T) {
			if got := m.play(t, c); got != c.want {
				t.Errorf("allowed: %t, the table says %t", got, c.want)
			}
		})
	}
}

// TestMatrixCovers fails where a kind, a role or a right of the code has no line in the
// table, so that neither grows without the other.
func TestMatrixCovers(t *testing.T) {
	t.Parallel()
	table := readMatrix(t)
	for _, k := range record.New().Kinds() {
		for _, act := range []string{"edit", "read"} {
			if _, ok := table[k.Name+" "+act]; !ok {
				t.Errorf("%s %s has no line", k.Name, act)
			}
		}
	}
	for _, code := range record.New().Codes("staff_role") {
		if !slices.Contains(matrixRoles, code.Code) {
			t.Errorf("the role %s has no column", code.Code)
		}
	}
	for line := range table {
		kind, act, _ := strings.Cut(line, " ")
		if record.New().KindByName(kind) == nil {
			t.Errorf("%s: there is no such kind", line)
		}
		if _, ok := matrixActs[line]; !ok && act != "read" && act != "lookup" {
			t.Errorf("%s: there is no such act", line)
		}
	}
	for line := range matrixActs {
		if _, ok := table[line]; !ok {
			t.Errorf("%s has no line", line)
		}
	}
}

var matrixRoles = []string{"clinician", "peer", "le_partner", "lead", "admin", "auditor", "analyst", "none"}

// matrixTable is, by "kind act" and role, the objects.
type matrixTable map[string]map[string]string

func readMatrix(t *testing.T) matrixTable {
	t.Helper()
	table := matrixTable{}
	for line := range strings.Lines(string(must[[]byte](t)(os.ReadFile("testdata/matrix.txt")))) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(words) != 2+len(matrixRoles) {
			t.Fatalf("a line of %d words: %s", len(words), line)
		}
		row := map[string]string{}
		for i, role := range matrixRoles {
			row[role] = strings.Trim(words[2+i], "-")
		}
		table[words[0]+" "+words[1]] = row
	}
	if len(table) < 50 {
		t.Fatalf("only %d lines", len(table))
	}
	return table
}

// matrixAct is what a line of the table does: the act, what it writes in prototext,
// and in which compartment and state the object is.
type matrixAct struct {
	act    tandemv1.Act
	text   string
	reason string
	// sign: the object is signed first; closed: it is closed first. in: the compartment,
	// if not the kind's own. base: more of what the object is made of.
	sign, closed bool
	in           tandemv1.Compartment
	base         string
}

const (
	mCreate  = tandemv1.Act_ACT_CREATE
	mSet     = tandemv1.Act_ACT_SET
	mSign    = tandemv1.Act_ACT_SIGN
	mAmend   = tandemv1.Act_ACT_AMEND
	mVoid    = tandemv1.Act_ACT_VOID
	mRestore = tandemv1.Act_ACT_RESTORE
	mClose   = tandemv1.Act_ACT_CLOSE
	mMerge   = tandemv1.Act_ACT_MERGE
	mApprove = tandemv1.Act_ACT_APPROVE
	mResolve = tandemv1.Act_ACT_RESOLVE

	mRef     = tandemv1.Compartment_COMPARTMENT_REF
	mSUD     = tandemv1.Compartment_COMPARTMENT_SUD
	mPrivate = tandemv1.Compartment_COMPARTMENT_PRIVATE
)

const voided = `lifecycle: "void" void_reason: "entered twice"`

var matrixActs = map[string]matrixAct{
	"incident create":  {act: mCreate},
	"incident edit":    {act: mSet, text: `notes_ops: "two dogs"`},
	"incident police":  {act: mSet, text: `force_used: "no"`},
	"incident clear":   {act: mClose, text: `lifecycle: "cleared"`},
	"incident lock":    {act: mClose, text: `lifecycle: "locked"`},
	"incident void":    {act: mVoid, text: voided, reason: "entered twice"},
	"incident restore": {act: mRestore, text: `lifecycle: "open"`, reason: "it was none"},

	"person create":  {act: mCreate},
	"person edit":    {act: mSet, text: `gender: "female"`},
	"person contact": {act: mSet, text: `city: "Exampleton"`},
	"person merge":   {act: mMerge, text: `lifecycle: "merged" merged_into: "$other"`, reason: "the same person"},
	"person void":    {act: mVoid, text: voided, reason: "entered twice"},
	"person restore": {act: mRestore, text: `lifecycle: "active"`, reason: "it was none"},

	"encounter create":    {act: mCreate},
	"encounter outreach":  {act: mCreate, text: `type: "outreach"`},
	"encounter sud":       {act: mCreate, text: `type: "outreach"`, in: mSUD},
	"encounter edit":      {act: mSet, text: `narrative: "seen again"`},
	"encounter sign":      {act: mSign, text: `lifecycle: "signed"`},
	"encounter amend":     {act: mAmend, text: `lifecycle: "amended" amend_reason: "a slip"`, reason: "a slip", sign: true},
	"encounter void":      {act: mVoid, text: voided, reason: "entered twice"},
	"encounter restore":   {act: mRestore, text: `lifecycle: "draft"`, reason: "it was none"},
	"encounter readsud":   {in: mSUD},
	"encounter lookupsud": {in: mSUD},

	"note create":        {act: mCreate},
	"note peer":          {act: mCreate, text: `type: "peer"`},
	"note addendum":      {act: mCreate, text: `type: "addendum"`},
	"note edit":          {act: mSet, text: `text: "seen again"`},
	"note sign":          {act: mSign, text: `lifecycle: "signed"`},
	"note amend":         {act: mAmend, text: `lifecycle: "amended" amend_reason: "a slip"`, reason: "a slip", sign: true},
	"note void":          {act: mVoid, text: voided, reason: "entered twice"},
	"note restore":       {act: mRestore, text: `lifecycle: "draft"`, reason: "it was none"},
	"note private":       {act: mCreate, text: `type: "private_psychotherapy"`, in: mPrivate},
	"note readprivate":   {in: mPrivate},
	"note lookupprivate": {in: mPrivate},

	"referral create":  {act: mCreate},
	"referral edit":    {act: mSet, text: `method: "phone"`},
	"referral close":   {act: mClose, text: `state: "closed" outcome: "declined"`},
	"referral void":    {act: mVoid, text: voided, reason: "entered twice"},
	"referral restore": {act: mRestore, text: `lifecycle: "active"`, reason: "it was none"},

	"episode create":  {act: mCreate},
	"episode edit":    {act: mSet, text: `goals: "a place of one's own"`},
	"episode propose": {act: mSet, text: `proposed_close_reason: "moved"`},
	"episode extend":  {act: mSet, text: `extended_to: "2026-12-31" extension_reason: "waiting for a bed"`},
	"episode close":   {act: mClose, text: `lifecycle: "closed" close_reason: "moved"`},
	"episode reopen":  {act: mResolve, text: `lifecycle: "active"`, reason: "back in town", closed: true},
	"episode void":    {act: mVoid, text: voided, reason: "entered twice"},
	"episode restore": {act: mRestore, text: `lifecycle: "active"`, reason: "it was none"},

	"follow_up create":   {act: mCreate},
	"follow_up edit":     {act: mSet, text: `lifecycle: "done" outcome: "no_answer"`},
	"follow_up assigned": {act: mSet, text: `lifecycle: "done" outcome: "no_answer"`, base: `staff_id: "$self"`},
	"follow_up assign":   {act: mSet, text: `staff_id: "$new"`},
	"follow_up void":     {act: mVoid, text: voided, reason: "entered twice"},
	"follow_up restore":  {act: mRestore, text: `lifecycle: "planned"`, reason: "it was none"},

	"consent create":  {act: mCreate},
	"consent contact": {act: mCreate, text: `type: "contact"`},
	"consent edit":    {act: mSet, text: `purpose: "another"`},
	"consent revoke":  {act: mSet, text: `lifecycle: "revoked" revoked_on: "2026-11-22"`},
	"consent attach":  {act: mSet, text: `attachment_id: "$new"`},
	"consent void":    {act: mVoid, text: voided, reason: "entered twice"},
	"consent restore": {act: mRestore, text: `lifecycle: "active"`, reason: "it was none"},

	"disclosure create":  {act: mCreate},
	"disclosure edit":    {act: mSet, text: `note: "another"`},
	"disclosure void":    {act: mVoid, text: voided, reason: "entered twice"},
	"disclosure restore": {act: mRestore, text: `lifecycle: "recorded"`, reason: "it was none"},

	"safety_alert create":   {act: mCreate},
	"safety_alert clinical": {act: mCreate, text: `lifecycle: "active"`},
	"safety_alert police":   {act: mCreate, text: `lifecycle: "active" audience: "team_with_le" basis: "consent"`},
	"safety_alert edit":     {act: mSet, text: `text: "two dogs"`},
	"safety_alert inforce":  {act: mSet, text: `text: "two dogs"`, base: `lifecycle: "active"`},
	"safety_alert activate": {act: mApprove, text: `lifecycle: "active" audience: "team_with_le" basis: "consent"`},
	"safety_alert approve":  {act: mApprove, text: `lifecycle: "active"`},
	"safety_alert retire":   {act: mClose, text: `lifecycle: "retired"`},
	"safety_alert void":     {act: mVoid, text: voided, reason: "entered twice"},
	"safety_alert restore":  {act: mRestore, text: `lifecycle: "proposed"`, reason: "it was none"},

	"alert_card create": {act: mCreate},
	"alert_card edit":   {act: mSet, text: `text: "two dogs"`},
	"alert_card void":   {act: mVoid, text: voided, reason: "entered twice"},

	"attachment create":       {act: mCreate},
	"attachment edit":         {act: mSet, text: `title: "page 2"`},
	"attachment void":         {act: mVoid, text: voided, reason: "entered twice"},
	"attachment restore":      {act: mRestore, text: `lifecycle: "active"`, reason: "it was none"},
	"attachment protocol":     {act: mCreate, text: `category: "protocol"`, in: mRef},
	"attachment editprotocol": {act: mSet, text: `title: "page $n"`, in: mRef},
	"attachment readprotocol": {in: mRef},

	"review create":  {act: mCreate},
	"review edit":    {act: mSet, text: `comment: "another"`},
	"review void":    {act: mVoid, text: voided, reason: "entered twice"},
	"review restore": {act: mRestore, text: `lifecycle: "recorded"`, reason: "it was none"},

	"resource create":  {act: mCreate, text: `lifecycle: "active"`},
	"resource propose": {act: mCreate},
	"resource edit":    {act: mSet, text: `org_name: "Another"`},
	"resource approve": {act: mApprove, text: `lifecycle: "active"`},
	"resource void":    {act: mVoid, text: voided, reason: "entered twice"},
	"resource restore": {act: mRestore, text: `lifecycle: "proposed"`, reason: "it was none"},

	"code_set create": {act: mCreate},
	"code_set edit":   {act: mSet, text: `list: "need_$n"`},
	"agency edit":     {act: mSet, text: `name: "Example $n"`},
	"program create":  {act: mCreate},
	"program edit":    {act: mSet, text: `area: "north $n"`},
	"team create":     {act: mCreate},
	"team edit":       {act: mSet, text: `area: "north $n"`},
	"team members":    {act: mSet, text: `member_ids: "$new"`},
	"staff create":    {act: mCreate},
	"staff edit":      {act: mSet, text: `display_name: "Person $n"`},
	"device create":   {act: mCreate},
	"device edit":     {act: mSet, text: `label: "car $n"`},
}

// matrixBases are the messages that objects are made of.
var matrixBases = map[string]string{
	"incident":     `agency_id: "$agency" team_id: "$team" lifecycle: "open" call_type: "welfare_check"`,
	"person":       `agency_id: "$agency" team_id: "$team" lifecycle: "active" descriptor: "grey coat"`,
	"encounter":    `agency_id: "$agency" team_id: "$team" lifecycle: "draft" type: "crisis_response" narrative: "seen"`,
	"note":         `agency_id: "$agency" team_id: "$team" lifecycle: "draft" type: "case" text: "seen"`,
	"referral":     `agency_id: "$agency" team_id: "$team" lifecycle: "active" need: "crisis_bed" state: "offered" target_text: "the house"`,
	"episode":      `agency_id: "$agency" team_id: "$team" lifecycle: "active" window_days: 60`,
	"follow_up":    `agency_id: "$agency" team_id: "$team" lifecycle: "planned" target_hours: 24`,
	"consent":      `agency_id: "$agency" team_id: "$team" lifecycle: "active" type: "treatment" decision: "given"`,
	"disclosure":   `agency_id: "$agency" team_id: "$team" lifecycle: "recorded" basis: "treatment" recipient: "the house"`,
	"safety_alert": `agency_id: "$agency" team_id: "$team" lifecycle: "proposed" category: "animal" text: "a dog" audience: "clinical"`,
	"alert_card":   `agency_id: "$agency" team_id: "$team" lifecycle: "active" category: "animal" text: "a dog"`,
	"attachment":   `agency_id: "$agency" team_id: "$team" lifecycle: "active" category: "document" title: "page 1"`,
	"review":       `agency_id: "$agency" team_id: "$team" lifecycle: "recorded" decision: "noted" comment: "well done"`,
	"resource":     `agency_id: "$agency" lifecycle: "proposed" org_name: "The house" status: "active"`,
	"code_set":     `agency_id: "$agency" lifecycle: "active" list: "need"`,
	"program":      `agency_id: "$agency" lifecycle: "active" name: {en: "Another"} model: "crt"`,
	"team":         `agency_id: "$agency" lifecycle: "active" name: "Another"`,
	"staff":        `agency_id: "$agency" lifecycle: "active" display_name: "Another" discipline: "nurse"`,
	"device":       `agency_id: "$agency" lifecycle: "active" label: "car 1"`,
}

var matrixReference = []string{"agency", "program", "team", "staff", "device", "code_set"}

// cell is one cell: an act of a role on an object.
type matrixCell struct {
	kind, act, role string
	on              byte
	want            bool
	object          syncengine.ID
	play            int
}

func (c *matrixCell) name() string {
	word := map[byte]string{'o': "own", 't': "team", 'p': "program", 'f': "foreign", 'd': "void"}[c.on]
	return c.kind + "/" + c.act + "/" + c.role + "/" + word
}

// matrixWorld is a world with a person of every role, all in one team.
type matrixWorld struct {
	w     *world
	teams map[byte]syncengine.ID // t, p, f
	// role are the people and their devices; other are those who make what is not
	// the person's own, by team; admin sets up.
	role, other map[string]*device
	admin       *device
	far         *device       // someone of another agency
	person      syncengine.ID // someone to merge into
	// held are, by role, the records that their pages have brought.
	held map[string]map[syncengine.ID]bool
	// reference are, by kind or by line, the record of the own agency and a foreign one.
	reference map[string]map[byte]syncengine.ID
}

func newMatrixWorld(t *testing.T, on engine) *matrixWorld {
	t.Helper()
	w := newWorld(t, on, 71)
	ctx, id := t.Context(), must[syncengine.ID](t)
	m := &matrixWorld{w: w, role: map[string]*device{}, other: map[string]*device{}, held: map[string]map[syncengine.ID]bool{}, reference: map[string]map[byte]syncengine.ID{}}
	foreign := id(w.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Elsewhere", Model: "crt", Agency: w.police}))
	m.teams = map[byte]syncengine.ID{
		't': w.team,
		'p': id(w.admin.AddTeam(ctx, server.TeamOptions{Name: "Day", Program: w.program})),
		'f': id(w.admin.AddTeam(ctx, server.TeamOptions{Name: "Far", Program: foreign})),
	}
	fill := byte(0)
	enrol := func(agency, team syncengine.ID, roles ...string) *device {
		fill++
		return w.enrolled(fill, id(w.admin.AddStaff(ctx, server.StaffOptions{
			Name: "Person " + roles[0], Discipline: "nurse", Roles: roles, Agency: agency, Teams: []syncengine.ID{team},
		})))
	}
	m.admin = enrol(w.agency, w.team, "admin")
	// Until they take their roles, everybody is what it takes to make the objects.
	for _, role := range matrixRoles {
		m.role[role] = enrol(w.agency, w.team, "clinician", "lead")
	}
	for on, team := range m.teams {
		m.other[string(on)] = enrol(w.agency, team, "clinician", "lead")
	}
	m.far = enrol(w.police, m.teams['f'], "clinician")
	m.reference = map[string]map[byte]syncengine.ID{
		"agency":  {'o': w.agency, 'f': w.police},
		"program": {'o': w.program, 'f': foreign},
		"team":    {'o': m.teams['p'], 't': w.team, 'f': m.teams['f']},
		"staff":   {'o': w.clinician, 'f': w.partner},
		"device": {
			'o': m.admin.dev,
			'f': w.enrolled(fill+1, w.partner).dev,
		},
	}
	made := func(kind, more string, in tandemv1.Compartment) map[byte]syncengine.ID {
		change := m.admin.change(w.id(), kind, mCreate, m.text(kind, w.team, more)...)
		change.Records[0].Compartment = in
		for _, o := range m.admin.must(m.admin.push(change)).GetOutcomes() {
			if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				t.Fatalf("making a %s: %v", kind, o)
			}
		}
		return map[byte]syncengine.ID{'o': syncengine.ID(change.GetRecords()[0].GetRecord())}
	}
	m.reference["code_set"] = made("code_set", "", 0)
	m.reference["attachment editprotocol"] = made("attachment", `category: "protocol"`, mRef)
	m.reference["attachment readprotocol"] = m.reference["attachment editprotocol"]
	change := m.admin.change(w.id(), "person", mCreate, m.text("person", w.team, "")...)
	m.other["t"].must(m.other["t"].push(m.other["t"].authored(change)))
	m.person = syncengine.ID(change.GetRecords()[0].GetRecord())
	return m
}

// plan lists the cells of the table.
func (m *matrixWorld) plan(table matrixTable) (cells []*matrixCell) {
	for _, line := range slices.Sorted(maps.Keys(table)) {
		kind, act, _ := strings.Cut(line, " ")
		for _, role := range matrixRoles {
			for _, on := range []byte("otpfd") {
				c := &matrixCell{kind: kind, act: act, role: role, on: on, play: len(cells), want: strings.IndexByte(table[line][role], on) >= 0}
				if !m.applies(c) {
					if c.want {
						m.w.t.Errorf("%s is in the table, and means nothing", c.name())
					}
					continue
				}
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// applies reports whether a cell means something: what is made has no author yet, and
// reference data belongs to agencies.
func (m *matrixWorld) applies(c *matrixCell) bool {
	spec := matrixActs[c.kind+" "+c.act]
	switch {
	case slices.Contains(matrixReference, c.kind) || spec.in == mRef || c.kind == "resource" && spec.act == mCreate:
		if spec.act == mCreate {
			return c.on == 'o' || c.on == 'f'
		}
		return !m.shared(c)[c.on].IsZero()
	case c.kind == "resource" && c.on == 'p':
		return false
	case c.kind == "alert_card" && (c.on == 'o' || c.on == 'd'):
		return false
	case spec.act == mCreate:
		return strings.IndexByte("tpf", c.on) >= 0
	case spec.act == mRestore:
		return c.on == 'd'
	case spec.act == mVoid || spec.act == mSign || spec.act == mAmend || spec.act == mClose || spec.act == mMerge:
		return c.on != 'd'
	}
	return true
}

// shared are the objects of reference data that every cell of a line plays on.
func (m *matrixWorld) shared(c *matrixCell) map[byte]syncengine.ID {
	if of, ok := m.reference[c.kind+" "+c.act]; ok {
		return of
	}
	return m.reference[c.kind]
}

// text is the message that an object of a kind is made of, a part of it after another.
func (m *matrixWorld) text(kind string, team syncengine.ID, more string) []string {
	agency := m.w.agency
	if (slices.Contains(matrixReference, kind) || kind == "resource" || kind == "attachment" && strings.Contains(more, "protocol")) && team == m.teams['f'] {
		agency = m.w.police
	}
	fill := strings.NewReplacer("$agency", agency.String(), "$team", team.String(), "$other", m.person.String())
	return []string{fill.Replace(matrixBases[kind]), fill.Replace(more)}
}

// make makes the objects of the cells: each has its own.
func (m *matrixWorld) make(cells []*matrixCell) {
	m.w.t.Helper()
	changes := map[*device][]*tandemv1.Change{}
	signed, closed, voids := map[*device][]*matrixCell{}, map[*device][]*matrixCell{}, map[*device][]*matrixCell{}
	for _, c := range cells {
		spec := matrixActs[c.kind+" "+c.act]
		if shared := m.shared(c); shared != nil {
			c.object = shared[c.on]
			continue
		}
		if spec.act == mCreate {
			continue
		}
		by, team := m.role[c.role], m.w.team
		if other := m.other[string(c.on)]; other != nil {
			by, team = other, m.teams[c.on]
		}
		if c.kind == "resource" && c.on == 'f' {
			by = m.far
		}
		c.object = m.w.id()
		if c.kind == "alert_card" {
			m.card(c.object, team)
			continue
		}
		// What a role writes of its own is of a type that it may write.
		more := ""
		switch own := c.on == 'o' || c.on == 'd'; {
		case spec.in == mPrivate:
			more = `type: "private_psychotherapy"`
		case own && c.kind == "encounter" && c.role == "peer":
			more = `type: "outreach"`
		case own && c.kind == "note" && c.role == "peer":
			more = `type: "peer"`
		case own && c.kind == "note" && c.role == "lead":
			more = `type: "addendum"`
		}
		more += strings.ReplaceAll(spec.base, "$self", m.role[c.role].person.String())
		change := by.change(c.object, c.kind, mCreate, m.text(c.kind, team, more)...)
		change.Records[0].Compartment = spec.in
		changes[by] = append(changes[by], change)
		if spec.sign {
			signed[by] = append(signed[by], c)
		}
		if spec.closed {
			closed[by] = append(closed[by], c)
		}
		if c.on == 'd' {
			voids[by] = append(voids[by], c)
		}
	}
	all := func(d *device, changes []*tandemv1.Change) {
		for some := range slices.Chunk(changes, 100) {
			for i, o := range d.must(d.push(some...)).GetOutcomes() {
				if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
					m.w.t.Fatalf("making a %d: %v", some[i].GetRecords()[0].GetKind(), o)
				}
			}
		}
	}
	for d, list := range changes {
		all(d, list)
	}
	for d, list := range signed {
		changes := make([]*tandemv1.Change, 0, len(list))
		for _, c := range list {
			changes = append(changes, m.write(d, c, matrixAct{act: mSign, text: `lifecycle: "signed"`}))
		}
		all(d, changes)
	}
	for d, list := range closed {
		changes := make([]*tandemv1.Change, 0, len(list))
		for _, c := range list {
			changes = append(changes, m.write(d, c, matrixAct{act: mClose, text: `lifecycle: "closed"`}))
		}
		all(d, changes)
	}
	for d, list := range voids {
		changes := make([]*tandemv1.Change, 0, len(list))
		for _, c := range list {
			changes = append(changes, m.write(d, c, matrixAct{act: mVoid, text: voided, reason: "entered twice"}))
		}
		all(d, changes)
	}
}

// card makes an alert card as the server does.
func (m *matrixWorld) card(id, team syncengine.ID) {
	m.w.t.Helper()
	change := m.admin.change(id, "alert_card", mCreate, m.text("alert_card", team, "")...)
	change.Author, change.Device = m.w.org.ID[:], nil
	raw := must[[]byte](m.w.t)(proto.Marshal(change))
	if err := m.w.s.Write(m.w.t.Context(), m.w.org.ID, 1, func(tx *store.Tx) error {
		b, err := (&syncengine.Server{Rules: record.New(), Secrets: m.w.org.Secrets}).Begin(tx, m.w.clock().UnixMilli())
		if err != nil {
			return err
		}
		out, err := b.Local(&syncengine.Principal{Server: true}, raw)
		if err == nil && out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			m.w.t.Fatalf("making a card: %v", out)
		}
		if err == nil {
			_, err = b.Commit()
		}
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
}

// takeRoles gives everybody, clinicians and leads until now, the role they are here for.
func (m *matrixWorld) takeRoles() {
	m.w.t.Helper()
	const roles = 200
	for _, role := range matrixRoles {
		d := m.role[role]
		c := &matrixCell{kind: "staff", object: d.person}
		change := m.write(m.admin, c, matrixAct{act: mSet})
		state := m.state(d.person)
		write := func(code string, raw []byte) {
			change.Records[0].Writes = append(change.Records[0].Writes, &tandemv1.PathWrite{
				Field: roles, Key: []byte(code), Value: raw,
				Bases: syncengine.EncodeStamps(state.Bases(syncengine.Path{Field: roles, Key: code}, false)),
			})
		}
		for _, had := range []string{"clinician", "lead"} {
			if had != role {
				write(had, nil)
			}
		}
		if role != "none" && role != "clinician" && role != "lead" {
			write(role, syncengine.StringField(roles, role))
		}
		for _, o := range m.admin.must(m.admin.push(change)).GetOutcomes() {
			if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				m.w.t.Fatalf("making a person %s: %v", role, o)
			}
		}
	}
}

// readAll reads everything that the device of each role gets.
func (m *matrixWorld) readAll() {
	m.w.t.Helper()
	for role, d := range m.role {
		m.held[role] = map[syncengine.ID]bool{}
		if role == "none" {
			answer := d.must(&tandemv1.SyncRequest{Budget: 1 << 22, Positions: []*tandemv1.ScopePosition{{}}})
			if len(answer.GetPage().GetRows()) > 0 || len(answer.GetPage().GetScopeSet().GetScopes()) > 0 {
				m.w.t.Error("someone without a role is sent records")
			}
			continue
		}
		for _, row := range d.readLong() {
			if row.GetScopes() != 0 {
				m.held[role][syncengine.ID(row.GetRecord())] = true
			}
		}
	}
}

// later lets the hour pass in which lookups are counted. Devices fetch a fresh nonce.
func (m *matrixWorld) later() {
	m.w.t.Helper()
	m.w.pass(2 * time.Hour)
	for _, d := range append(slices.Collect(maps.Values(m.role)), m.admin) {
		_, _ = d.sync.Sync(m.w.t.Context(), &tandemv1.SyncRequest{})
	}
}

// readLong is read, over as many pages as it takes.
func (d *device) readLong() (rows []*tandemv1.Row) {
	d.w.t.Helper()
	const budget = 1 << 20
	first := d.must(&tandemv1.SyncRequest{Budget: budget, Positions: []*tandemv1.ScopePosition{{}}})
	var held []syncengine.ScopeID
	req := &tandemv1.SyncRequest{Budget: budget, Positions: []*tandemv1.ScopePosition{{}}}
	for _, s := range first.GetPage().GetScopeSet().GetScopes() {
		held = append(held, syncengine.ScopeID(s.GetId()))
		req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
	}
	req.ScopeSet = syncengine.HashScopeSet(held)
	for {
		answer := d.must(req)
		rows = append(rows, answer.GetPage().GetRows()...)
		if answer.GetPage().GetClosing() {
			return rows
		}
		for _, to := range answer.GetPage().GetTo() {
			for _, p := range req.GetPositions() {
				if bytes.Equal(p.GetScope(), to.GetScope()) {
					p.Position = to.GetPosition()
				}
			}
		}
	}
}

// play plays a cell and reports whether it was allowed. A refusal must be one that a
// person without the right gets: forbidden, or as if there were no such record.
func (m *matrixWorld) play(t *testing.T, c *matrixCell) bool {
	t.Helper()
	d, spec := m.role[c.role], matrixActs[c.kind+" "+c.act]
	switch {
	case strings.HasPrefix(c.act, "read"):
		return m.held[c.role][c.object]
	case strings.HasPrefix(c.act, "lookup"):
		answer := d.must(lookFor(c.object[:], false))
		if len(answer.GetLookedUp()) > 0 && syncengine.ID(answer.GetLookedUp()[0].GetRecord()) != c.object {
			t.Error("another record is found")
		}
		return len(answer.GetLookedUp()) > 0
	}
	var change *tandemv1.Change
	if spec.act == mCreate {
		team, ok := m.teams[c.on]
		if !ok {
			team = m.w.team
		}
		change = d.change(m.w.id(), c.kind, mCreate, m.text(c.kind, team, spec.text)...)
		change.Records[0].Compartment = spec.in
	} else {
		change = m.write(d, c, spec)
	}
	before := m.stored(c.object)
	outcomes := d.must(d.push(change)).GetOutcomes()
	if len(outcomes) != 1 {
		t.Fatalf("%d outcomes", len(outcomes))
	}
	switch o := outcomes[0]; o.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED, tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
		return true
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		switch o.GetRefusal() {
		case tandemv1.Refusal_REFUSAL_FORBIDDEN, tandemv1.Refusal_REFUSAL_NO_TARGET, tandemv1.Refusal_REFUSAL_REVOKED:
		default:
			t.Errorf("refused for another reason: %v", o)
		}
	default:
		t.Errorf("got %v", o)
	}
	if m.stored(c.object) != before {
		t.Error("it was refused, and the record is another")
	}
	return false
}

// write is the change by which a device does an act on the object of a cell, knowing
// the record as it stands.
func (m *matrixWorld) write(d *device, c *matrixCell, spec matrixAct) *tandemv1.Change {
	m.w.t.Helper()
	change := d.change(c.object, c.kind, spec.act)
	rec, state := m.record(c.object), m.state(c.object)
	msg := must[proto.Message](m.w.t)(record.New().Message(rec))
	more := proto.Clone(msg)
	proto.Reset(more)
	if err := prototext.Unmarshal([]byte(strings.NewReplacer("$other", m.person.String(), "$new", m.w.id().String(), "$n", strconv.Itoa(c.play)).Replace(spec.text)), more); err != nil {
		m.w.t.Fatal(err)
	}
	proto.Merge(msg, more)
	after := must[[]byte](m.w.t)(record.New().Body(msg))
	w := change.GetRecords()[0]
	w.Body, w.Reason = nil, spec.reason
	for _, f := range must[[]syncengine.Field](m.w.t)(record.DiffBodies(rec.Body, after)) {
		w.Writes = append(w.Writes, &tandemv1.PathWrite{
			Field: f.Path.Field, Key: []byte(f.Path.Key), Value: f.Raw, Bases: syncengine.EncodeStamps(state.Bases(f.Path, false)),
		})
	}
	if spec.act != mSet {
		w.Seen = state.Seen()
	}
	return change
}

func (m *matrixWorld) record(id syncengine.ID) (rec *syncengine.Record) {
	m.w.t.Helper()
	if err := m.w.s.Read(m.w.t.Context(), m.w.org.ID, func(v syncengine.ServerView) error {
		stored, err := v.Record(id)
		if err == nil && stored != nil {
			rec = &stored.Record
		}
		return err
	}); err != nil {
		m.w.t.Fatal(err)
	}
	return rec
}

func (m *matrixWorld) state(id syncengine.ID) *syncengine.State {
	m.w.t.Helper()
	return must[*syncengine.State](m.w.t)(syncengine.Decode(m.record(id)))
}

// stored is a record as it stands, empty where there is none.
func (m *matrixWorld) stored(id syncengine.ID) string {
	rec := m.record(id)
	if rec == nil {
		return ""
	}
	return hex.EncodeToString(rec.Body) + " " + hex.EncodeToString(rec.Stamps)
}

// change is a change of one record by this device; texts are the body of a creation, of
// which later ones replace what earlier ones say.
func (d *device) change(id syncengine.ID, kind string, act tandemv1.Act, texts ...string) *tandemv1.Change {
	d.w.t.Helper()
	k := record.New().KindByName(kind)
	w := &tandemv1.RecordWrite{Record: id[:], Kind: k.Number, Act: act}
	if len(texts) > 0 {
		msg := record.New().NewMessage(k.Number)
		for _, text := range texts {
			part := record.New().NewMessage(k.Number)
			if err := prototext.Unmarshal([]byte(text), part); err != nil {
				d.w.t.Fatal(fmt.Errorf("%s: %w", text, err))
			}
			proto.Merge(msg, part)
		}
		w.Body = must[[]byte](d.w.t)(record.New().Body(msg))
	}
	c := d.w.id()
	return d.authored(&tandemv1.Change{
		Id: c[:], Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: d.w.clock().UnixMilli()}, Records: []*tandemv1.RecordWrite{w},
	})
}

// authored makes a change this device's own.
func (d *device) authored(c *tandemv1.Change) *tandemv1.Change {
	c.Author, c.Device = d.person[:], d.dev[:]
	return c
}
