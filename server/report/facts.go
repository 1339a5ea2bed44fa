package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Source is what metrics are computed from: one state of an org. [store.Snapshot] is one.
type Source interface {
	// Each calls f for each record of a kind, always in the same order.
	Each(kind uint32, f func(*syncengine.StoredRecord) error) error
}

// none stands where a fact names nothing.
const none = int32(-1)

// fact is what every row of the book says of itself: where and when it happened, and whom
// it is about.
type fact struct {
	program int32 // in book.programs
	person  int32 // in book.people, after merges
	at      span
	dated   bool
}

// incidentFact is a call.
type incidentFact struct {
	fact

	place                     place
	contact, mode             string
	involvement, force        string
	zip, beat, hour, callType string
	forceTypes, parties       []string
	arrived                   bool
	// response, onScene and officerFree are minutes, each with whether both ends are
	// recorded to the minute.
	response, onScene, officerFree minutes
	// officer and trained: an officer was among the responders, one with CIT training;
	// trainingKnown: of one at least it is recorded.
	officer, trained, trainingKnown bool
	cleared                         int64 // ms, 0 for none
	// encounters on it, in book.encounters.
	encounters []int32
}

type minutes struct {
	value float32
	known bool
}

type encounterFact struct {
	fact

	place                         place
	incident                      int32
	age                           int16 // -1: not recorded
	typ, lifecycle                string
	housing, disposition, legal   string
	dangerSelf                    string
	cfED, cfArrest, cfHold        string
	cfSource                      string
	anything                      bool // any intervention
	planned, means, screened, pre bool // safety_plan, means_safety, screening, hospital_prescreen
	signed                        int64
}

// counts reports whether it is among E: signed, and more than advice among colleagues.
func (e *encounterFact) counts() bool {
	return (e.lifecycle == record.Signed || e.lifecycle == record.Amended) && e.typ != "consult_only"
}

func (e *encounterFact) crisis() bool { return e.counts() && e.typ == "crisis_response" }

type episodeFact struct {
	fact

	id             syncengine.ID
	opened, closed int64  // ms, 0 for none
	windowEnd      string // the last day, yyyy-mm-dd; empty where it is not known
	closedOn       string
	extendedTo     string
	reason         string
	state          string
	followUps      []int32
}

type followUpFact struct {
	fact

	id, supersedes          syncengine.ID
	due, occurred           int64
	target                  uint32
	state, outcome, service string
	episode                 int32
	replaced                bool
}

type referralFact struct {
	fact

	sent, accepted int64
	state, outcome string
	connectedOn    string
	// first is when the earliest step was made.
	first int64
}

type personFact struct {
	merged                          syncengine.ID
	id                              syncengine.ID
	races                           []string
	gender, lang, housing           string
	birthYear, birthMonth, birthDay int16
	approxAge                       int16 // -1: none
	doNotContact, dead              bool
	encounters                      []int32 // of E, by time
	followUps, referrals            []int32
}

type programFact struct {
	id                syncengine.ID
	name              Text
	model, yearStart  string
	k, target, window int
	ladder            []uint32
}

type responseFact struct {
	fact

	place   place
	form    syncengine.ID
	answers []answerFact
}

type answerFact struct {
	link, value string
}

// book is all that metrics are computed from: short rows, no bodies, no names.
type book struct {
	o         *OutcomeOptions
	asOf      int64
	words     map[string]string
	programs  []programFact
	byProgram map[syncengine.ID]int32
	teams     map[syncengine.ID]int32
	people    []personFact
	byPerson  map[syncengine.ID]int32

	incidents  []incidentFact
	byIncident map[syncengine.ID]int32
	encounters []encounterFact
	episodes   []episodeFact
	byEpisode  map[syncengine.ID]int32
	followUps  []followUpFact
	referrals  []referralFact
	responses  []responseFact
	forms      map[syncengine.ID]*tandemv1.Form
	firsts     []firstFact

	// open conflicts among, and records of, the kinds that staff write in the field.
	conflicted, written int
	// seen are the people whom a counted record is about, persons all records of people.
	seen               map[int32]bool
	persons            []personRecord
	uncertain, undated int
	// clock places rows to the period, year to what of the reporting year has passed.
	clock, year *counter
	// own are the codes of agencies, which count as what they are a kind of.
	own record.OwnCodes
}

// personRecord is the record of a person, which is counted where it is of the report's
// programs or what they have written is about that person.
type personRecord struct {
	id               syncengine.ID
	ours, conflicted bool
}

// firstFact is a person's first encounter in a program.
type firstFact struct {
	fact
	encounter int32
}

func newBook(o *OutcomeOptions) *book {
	return &book{
		o: o, asOf: o.AsOf.UnixMilli(), words: map[string]string{}, byProgram: map[syncengine.ID]int32{}, teams: map[syncengine.ID]int32{},
		byPerson: map[syncengine.ID]int32{}, byIncident: map[syncengine.ID]int32{}, seen: map[int32]bool{}, byEpisode: map[syncengine.ID]int32{},
		forms: map[syncengine.ID]*tandemv1.Form{}, clock: newCounter(CallOptions{Zone: o.Zone, From: o.From, To: o.To}),
	}
}

// read takes the rows of all kinds in, the ones that others name first.
func (b *book) read(src Source) error {
	for _, step := range []struct {
		kind string
		add  func(*syncengine.StoredRecord, proto.Message) error
	}{
		{"code_set", typed(b.codeSet)}, {"team", typed(b.team)}, {"person", typed(b.person)}, {"incident", typed(b.incident)}, {"episode", typed(b.episode)},
		{"encounter", typed(b.encounter)}, {"follow_up", typed(b.followUp)}, {"referral", typed(b.referral)}, {"form", typed(b.form)},
		{"form_response", typed(b.response)},
	} {
		if err := b.each(src, step.kind, step.add); err != nil {
			return err
		}
		if step.kind == "person" {
			b.merge()
		}
	}
	b.writesPeople()
	b.link()
	return nil
}

// typed takes messages of one kind.
func typed[T proto.Message](add func(*syncengine.StoredRecord, T) error) func(*syncengine.StoredRecord, proto.Message) error {
	return func(rec *syncengine.StoredRecord, msg proto.Message) error {
		m, ok := msg.(T)
		if !ok {
			return fmt.Errorf("record %s is no %T", rec.ID, m)
		}
		return add(rec, m)
	}
}

func (b *book) each(src Source, kind string, add func(*syncengine.StoredRecord, proto.Message) error) error {
	domain := record.New()
	k := domain.KindByName(kind)
	return src.Each(k.Number, func(rec *syncengine.StoredRecord) error {
		if b.o.Read != nil {
			b.o.Read.Add(1)
		}
		if b.o.WithoutSUD && rec.Compartment(k) == tandemv1.Compartment_COMPARTMENT_SUD {
			return nil
		}
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return fmt.Errorf("reading %s %s: %w", kind, rec.ID, err)
		}
		if rec.Lifecycle() == record.Void {
			return nil
		}
		return add(rec, msg)
	})
}

// word returns one copy of a code, however many rows have it.
func (b *book) word(code string) string {
	w, ok := b.words[code]
	if !ok {
		w = strings.Clone(code)
		b.words[w] = w
	}
	return w
}

func id(text string) syncengine.ID {
	parsed, err := syncengine.ParseID(text)
	if err != nil {
		return syncengine.ID{}
	}
	return parsed
}

func at(table map[syncengine.ID]int32, text string) int32 {
	if i, ok := table[id(text)]; ok && text != "" {
		return i
	}
	return none
}

// enveloped is what every record says of where it belongs.
type enveloped interface {
	GetProgramId() string
	GetTeamId() string
}

// of returns the program of a record, and whether it is in the report.
func (b *book) of(msg enveloped) (int32, bool) {
	program := at(b.byProgram, msg.GetProgramId())
	if program == none {
		program = at(b.teams, msg.GetTeamId())
	}
	return program, b.about(program)
}

// about reports whether the report is about a program; none is that of records without one.
func (b *book) about(program int32) bool {
	switch {
	case !b.o.Program.IsZero():
		return program != none && b.programs[program].id == b.o.Program
	case len(b.o.Programs) > 0:
		return program != none && slices.Contains(b.o.Programs, b.programs[program].id)
	}
	return true
}

// moment returns the stretch that an instant is exact to.
func (b *book) moment(i *tandemv1.Instant, tz string) (span, bool) { return b.clock.stretch(i, tz) }

// exact returns an instant in ms; 0 where it is not there or coarser than a minute.
func exact(i *tandemv1.Instant) int64 {
	if i == nil || i.AtMs == nil || i.GetPrecision() != "" && i.GetPrecision() != "minute" {
		return 0
	}
	return i.GetAtMs()
}

func between(from, to *tandemv1.Instant) minutes {
	a, z := exact(from), exact(to)
	if a == 0 || z == 0 {
		return minutes{}
	}
	return minutes{float32(float64(z-a) / 60_000), true}
}

// lies places a row to the period; a row without any time is in an open one alone.
func (b *book) lies(f *fact) place {
	if !f.dated {
		if b.o.From.IsZero() && b.o.To.IsZero() {
			return inside
		}
		return outside
	}
	return b.clock.place(f.at)
}

// in reports whether a moment is in the period.
func (b *book) in(ms int64) bool {
	return ms != 0 && (b.o.From.IsZero() || ms >= b.o.From.UnixMilli()) && (b.o.To.IsZero() || ms < b.o.To.UnixMilli())
}

// inDays reports whether a day is one of the period's, as the clocks of its zone show it.
func (b *book) inDays(day string) bool {
	return day != "" && (b.o.From.IsZero() || day >= b.o.From.In(b.o.Zone).Format(time.DateOnly)) &&
		(b.o.To.IsZero() || day < b.o.To.In(b.o.Zone).Format(time.DateOnly))
}

func (b *book) program(rec *syncengine.StoredRecord, m *tandemv1.Program) error {
	p := programFact{
		id: rec.ID, name: Text{m.GetName().GetEn(), m.GetName().GetEs()}, model: b.word(m.GetModel()), yearStart: m.GetReportYearStart(),
		k: int(m.GetSuppressK()), target: int(m.GetResponseTargetMin()), window: int(m.GetWindowDays()),
	}
	for _, h := range m.GetFollowUpLadderHours() {
		var n uint32
		if _, err := fmt.Sscan(h, &n); err == nil {
			p.ladder = append(p.ladder, n)
		}
	}
	slices.Sort(p.ladder)
	if p.name.ES == "" {
		p.name.ES = p.name.EN
	}
	if p.k == 0 {
		p.k = DefaultK
	}
	if p.target == 0 {
		p.target = 60
	}
	if p.window == 0 {
		p.window = 60
	}
	if p.yearStart == "" {
		p.yearStart = "01-01"
	}
	if len(p.ladder) == 0 {
		p.ladder = []uint32{24, 72, 168, 336, 720, 1440}
	}
	b.byProgram[rec.ID] = int32(len(b.programs))
	b.programs = append(b.programs, p)
	return nil
}

func (b *book) codeSet(rec *syncengine.StoredRecord, m *tandemv1.CodeSet) error {
	if rec.Lifecycle() == record.Active {
		b.own.Add(m)
	}
	return nil
}

// core is one copy of the core code that a code counts as.
func (b *book) core(list, code string) string { return b.word(b.own.Core(list, code)) }

func (b *book) team(rec *syncengine.StoredRecord, m *tandemv1.Team) error {
	if p := at(b.byProgram, m.GetProgramId()); p != none {
		b.teams[rec.ID] = p
	}
	return nil
}

func (b *book) person(rec *syncengine.StoredRecord, m *tandemv1.Person) error {
	_, ours := b.of(m)
	b.persons = append(b.persons, personRecord{rec.ID, ours, !rec.Plain})
	p := personFact{
		id: rec.ID, gender: b.word(m.GetGender()), lang: b.word(strings.ToLower(m.GetLang())), housing: b.word(m.GetHousing()), approxAge: -1,
		doNotContact: m.GetDoNotContact(), dead: m.GetDeceasedOn() != "",
	}
	if m.GetMergedInto() != "" {
		p.merged = id(m.GetMergedInto())
	}
	for _, r := range m.GetRaceEthnicity() {
		p.races = append(p.races, b.word(r))
	}
	slices.Sort(p.races)
	if m.ApproxAge != nil {
		p.approxAge = int16(min(m.GetApproxAge(), 150))
	}
	if born, err := time.Parse(time.DateOnly, m.GetDob()); err == nil && m.GetDobPrecision() != "none" {
		p.birthYear, p.birthMonth, p.birthDay = int16(born.Year()), int16(born.Month()), int16(born.Day())
	}
	b.byPerson[rec.ID] = int32(len(b.people))
	b.people = append(b.people, p)
	return nil
}

// merge points the id of each person that was merged at the one that is left. A ring of
// merges, which nobody should be able to make, ends where it began.
func (b *book) merge() {
	to := make(map[syncengine.ID]int32, len(b.byPerson))
	for i := range b.people {
		at := int32(i)
		for range 100 {
			next, ok := b.byPerson[b.people[at].merged]
			if !ok || b.people[at].merged.IsZero() || next == int32(i) {
				break
			}
			at = next
		}
		to[b.people[i].id] = at
	}
	b.byPerson = to
}

// writesPeople counts the records of the people whom the report's programs know.
func (b *book) writesPeople() {
	for _, p := range b.persons {
		if !p.ours && !b.seen[b.byPerson[p.id]] {
			continue
		}
		b.written++
		if p.conflicted {
			b.conflicted++
		}
	}
}

func (b *book) writes(rec *syncengine.StoredRecord) {
	b.written++
	if !rec.Plain {
		b.conflicted++
	}
}

func (b *book) incident(rec *syncengine.StoredRecord, m *tandemv1.Incident) error {
	program, ok := b.of(m)
	if !ok {
		return nil
	}
	b.writes(rec)
	in := incidentFact{
		fact: fact{program: program, person: none}, contact: b.word(m.GetContact()), mode: b.word(m.GetResponseMode()),
		involvement: b.word(m.GetLeInvolvement()), force: b.word(m.GetForceUsed()), arrived: m.GetArrivedAt() != nil,
		zip: b.word(m.GetLocation().GetZip5()), beat: b.word(m.GetLocation().GetBeat()),
		response: between(m.GetDispatchedAt(), m.GetArrivedAt()), onScene: between(m.GetArrivedAt(), m.GetClearedAt()),
		officerFree: between(m.GetLeClearedAt(), m.GetClearedAt()), cleared: exact(m.GetClearedAt()),
	}
	in.at, in.dated = b.clock.when(m)
	in.place = b.lies(&in.fact)
	if in.dated && !in.at.date && in.at.end.Sub(in.at.start) <= time.Hour {
		in.hour = b.word(hourBlock(in.at.start.In(b.o.Zone).Hour()))
	}
	in.callType = b.core("call_type", m.GetCallTypeFinal())
	if !recorded(in.callType) {
		in.callType = b.core("call_type", m.GetCallType())
	}
	switch {
	case !in.dated && in.place == outside:
		b.undated++
	case in.place == across:
		b.uncertain++
	}
	for _, f := range m.GetForceTypes() {
		in.forceTypes = append(in.forceTypes, b.word(f))
	}
	slices.Sort(in.forceTypes)
	for _, hurt := range m.GetInjuries() {
		party := hurt.GetParty()
		if party == "" {
			party = record.NotRecorded
		}
		in.parties = append(in.parties, b.word(party))
	}
	slices.Sort(in.parties)
	for _, r := range m.GetResponders() {
		if r.GetOnSceneRole() != "officer" {
			continue
		}
		in.officer = true
		in.trainingKnown = in.trainingKnown || r.CitTrained != nil
		in.trained = in.trained || r.GetCitTrained()
	}
	b.byIncident[rec.ID] = int32(len(b.incidents))
	b.incidents = append(b.incidents, in)
	return nil
}

func hourBlock(hour int) string {
	from := hour / 6 * 6
	return fmt.Sprintf("%02d-%02d", from, from+5)
}

func (b *book) encounter(rec *syncengine.StoredRecord, m *tandemv1.Encounter) error {
	program, ok := b.of(m)
	if !ok {
		return nil
	}
	b.writes(rec)
	e := encounterFact{
		fact: fact{program: program, person: at(b.byPerson, m.GetPersonId())}, incident: at(b.byIncident, m.GetIncidentId()), age: -1,
		typ: b.word(m.GetType()), lifecycle: b.word(m.GetLifecycle()), housing: b.word(m.GetHousing()), disposition: b.core("disposition", m.GetDisposition()),
		legal: b.word(m.GetLegalStatus()), dangerSelf: b.word(m.GetDangerSelf()), cfED: b.word(m.GetCfEd()), cfArrest: b.word(m.GetCfArrest()),
		cfHold: b.word(m.GetCfHold()), cfSource: b.word(m.GetCfSource()), anything: len(m.GetInterventions()) > 0,
		planned: b.did(m, "safety_plan"), means: b.did(m, "means_safety"), screened: b.did(m, "screening"), pre: b.did(m, "hospital_prescreen"),
		signed: exact(m.GetSignedAt()),
	}
	e.at, e.dated = b.moment(m.GetStartedAt(), m.GetTz())
	e.place = b.lies(&e.fact)
	if m.AgeYears != nil {
		e.age = int16(min(m.GetAgeYears(), 150))
	}
	b.seen[e.person] = true
	b.encounters = append(b.encounters, e)
	return nil
}

// did reports whether an encounter has an intervention, or one that is a kind of it.
func (b *book) did(m *tandemv1.Encounter, core string) bool {
	return slices.ContainsFunc(m.GetInterventions(), func(code string) bool { return b.own.Core("intervention", code) == core })
}

func (b *book) episode(rec *syncengine.StoredRecord, m *tandemv1.Episode) error {
	program, ok := b.of(m)
	if !ok || m.GetCloseReason() == "entered_in_error" {
		return nil
	}
	b.writes(rec)
	e := episodeFact{
		fact: fact{program: program, person: at(b.byPerson, m.GetPersonId())}, id: rec.ID, opened: exact(m.GetOpenedAt()), closed: exact(m.GetClosedAt()),
		reason: b.word(m.GetCloseReason()), state: b.word(m.GetLifecycle()), extendedTo: strings.Clone(m.GetExtendedTo()),
	}
	e.at, e.dated = b.moment(m.GetOpenedAt(), m.GetTz())
	days := int(m.GetWindowDays())
	if days == 0 && program != none {
		days = b.programs[program].window
	}
	zone := b.clock.zone(m.GetTz())
	if e.opened != 0 && days > 0 {
		e.windowEnd = time.UnixMilli(e.opened).In(zone).AddDate(0, 0, days).Format(time.DateOnly)
	}
	if e.closed != 0 {
		e.closedOn = time.UnixMilli(e.closed).In(zone).Format(time.DateOnly)
	}
	b.byEpisode[rec.ID] = int32(len(b.episodes))
	b.seen[e.person] = true
	b.episodes = append(b.episodes, e)
	return nil
}

func (b *book) followUp(rec *syncengine.StoredRecord, m *tandemv1.FollowUp) error {
	program, ok := b.of(m)
	if !ok {
		return nil
	}
	b.writes(rec)
	f := followUpFact{
		fact: fact{program: program, person: at(b.byPerson, m.GetPersonId())}, id: rec.ID, due: m.GetDueAt().GetAtMs(), occurred: exact(m.GetOccurredAt()),
		target: m.GetTargetHours(), state: b.word(m.GetLifecycle()), outcome: b.word(m.GetOutcome()), service: b.word(m.GetServiceUse()),
		episode: at(b.byEpisode, m.GetEpisodeId()),
	}
	if m.GetSupersedes() != "" {
		f.supersedes = id(m.GetSupersedes())
	}
	f.at, f.dated = b.moment(m.GetOccurredAt(), m.GetTz())
	b.seen[f.person] = true
	b.followUps = append(b.followUps, f)
	return nil
}

func (b *book) referral(rec *syncengine.StoredRecord, m *tandemv1.Referral) error {
	program, ok := b.of(m)
	if !ok || m.GetState() == "draft" {
		return nil
	}
	b.writes(rec)
	r := referralFact{
		fact: fact{program: program, person: at(b.byPerson, m.GetPersonId())}, state: b.word(m.GetState()), outcome: b.word(m.GetOutcome()),
		connectedOn: strings.Clone(m.GetConnectedOn()),
	}
	earliest := func(into *int64, ms int64) {
		if ms != 0 && (*into == 0 || ms < *into) {
			*into = ms
		}
	}
	for _, e := range m.GetEvents() {
		ms := exact(e.GetAt())
		switch e.GetState() {
		case "draft":
			continue
		case "sent":
			earliest(&r.sent, ms)
		case "accepted":
			earliest(&r.accepted, ms)
		}
		earliest(&r.first, ms)
	}
	if r.sent != 0 {
		r.first = r.sent
	}
	b.seen[r.person] = true
	b.referrals = append(b.referrals, r)
	return nil
}

func (b *book) form(rec *syncengine.StoredRecord, f *tandemv1.Form) error {
	if f.GetSubject() == "community" {
		b.forms[rec.ID] = f
	}
	return nil
}

func (b *book) response(_ *syncengine.StoredRecord, m *tandemv1.FormResponse) error {
	program, ok := b.of(m)
	form := id(m.GetFormId())
	if !ok || m.GetSubject() != "community" || m.GetRespondent() != "anonymous" || b.forms[form] == nil {
		return nil
	}
	r := responseFact{fact: fact{program: program, person: none}, form: form}
	r.at, r.dated = b.moment(m.GetAnsweredAt(), m.GetTz())
	r.place = b.lies(&r.fact)
	for _, a := range m.GetAnswers() {
		for _, v := range a.GetValues() {
			if text := codedAnswer(v); text != "" {
				r.answers = append(r.answers, answerFact{b.word(a.GetLinkId()), b.word(text)})
			}
		}
	}
	b.responses = append(b.responses, r)
	return nil
}

// codedAnswer returns an answer that can be counted: a choice, yes or no, a whole number.
// Words are never read.
func codedAnswer(v *tandemv1.FormValue) string {
	switch {
	case v.Code != nil:
		return v.GetCode()
	case v.Boolean != nil:
		return fmt.Sprint(v.GetBoolean())
	case v.Integer != nil:
		return fmt.Sprint(v.GetInteger())
	}
	return ""
}

// link ties the rows to each other once all are there.
func (b *book) link() {
	order := make([]int32, len(b.encounters))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(x, y int32) int { return b.encounters[x].at.start.Compare(b.encounters[y].at.start) })
	type pair struct{ person, program int32 }
	seen := map[pair]bool{}
	for _, i := range order {
		e := &b.encounters[i]
		if !e.counts() {
			continue
		}
		if e.incident != none {
			in := &b.incidents[e.incident]
			in.encounters = append(in.encounters, i)
		}
		if e.person == none || !e.dated {
			continue
		}
		p := &b.people[e.person]
		p.encounters = append(p.encounters, i)
		if k := (pair{e.person, e.program}); !seen[k] {
			seen[k] = true
			b.firsts = append(b.firsts, firstFact{e.fact, i})
		}
	}
	replaced := map[syncengine.ID]bool{}
	for i := range b.followUps {
		f := &b.followUps[i]
		if !f.supersedes.IsZero() {
			replaced[f.supersedes] = true
		}
		if f.person != none {
			b.people[f.person].followUps = append(b.people[f.person].followUps, int32(i))
		}
		if f.episode != none {
			b.episodes[f.episode].followUps = append(b.episodes[f.episode].followUps, int32(i))
		}
	}
	for i := range b.followUps {
		b.followUps[i].replaced = replaced[b.followUps[i].id]
	}
	for i := range b.referrals {
		if p := b.referrals[i].person; p != none {
			b.people[p].referrals = append(b.people[p].referrals, int32(i))
		}
	}
}
