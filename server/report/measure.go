package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Shape is what a measure comes to.
type Shape string

// The shapes of measures.
const (
	// ShapeCount is a number of things, or of different people.
	ShapeCount Shape = "count"
	// ShapeRate is a share, with what it is a share of.
	ShapeRate Shape = "rate"
	// ShapeTime is a length of time: median and 90th percentile.
	ShapeTime Shape = "time"
	// ShapeTotal is a sum.
	ShapeTotal Shape = "total"
	// ShapeMix counts codes.
	ShapeMix Shape = "mix"
)

// base is what a measure goes through, one by one.
type base uint8

const (
	ofIncidents base = iota
	ofEncounters
	ofEpisodes
	ofFollowUps
	ofReferrals
	ofPeople
	ofFirsts
	ofResponses
)

// measure is one number of a metric: a rule that judges one row at a time.
type measure struct {
	key    string
	label  Text
	unit   Text
	shape  Shape
	base   base
	list   string // the code list of a mix
	judge  func(b *book, i int32) verdict
	better bool // of a rate: more of it is better, so that less of it may be too little service
	// published in a public report; what is not can be subtracted from what is.
	published bool
	// perThousand: counted against the population where there is a table of it.
	perThousand bool
	// dims beside those of the base.
	dims []string
	// absent says why there is no such number at all.
	absent *Text
}

// verdict is what a rule says of one row.
type verdict struct {
	// in: it is one of those that the measure is about. unknown: it is, and says nothing.
	in, unknown, hit bool
	value            float64
	codes            []string
	// who is counted once where it is not 0.
	who int64
}

// tally is what verdicts add up to.
type tally struct {
	of, hit, unknown int
	sum              float64
	values           []float32
	codes            map[string]int
	seen             map[int64]bool
}

func (t *tally) add(v verdict) {
	switch {
	case !v.in:
		return
	case v.unknown:
		t.unknown++
		return
	case v.who != 0:
		if t.seen == nil {
			t.seen = map[int64]bool{}
		}
		if t.seen[v.who] {
			return
		}
		t.seen[v.who] = true
	}
	t.of++
	if v.hit {
		t.hit++
	}
	t.sum += v.value
	for _, code := range v.codes {
		if t.codes == nil {
			t.codes = map[string]int{}
		}
		t.codes[code]++
	}
}

// evaluate goes through the rows of a measure once, for all breakdowns.
func (b *book) evaluate(m *measure, sets *rowSets) (all *tally, by map[string]map[string]*tally) {
	all, by = &tally{}, map[string]map[string]*tally{}
	dims := slices.Concat(dimsOf(m.base), m.dims)
	for _, d := range dims {
		by[d] = map[string]*tally{}
	}
	if m.absent != nil {
		return all, by
	}
	add := func(t *tally, v verdict) {
		before := t.of
		t.add(v)
		if m.shape == ShapeTime && t.of > before {
			t.values = append(t.values, float32(v.value))
		}
	}
	for i := range int32(b.size(m.base)) {
		v := m.judge(b, i)
		if !v.in {
			continue
		}
		// Of different people no row is one: those that M1 counts are shown alone.
		if m.published && v.who == 0 {
			sets.add(i, v)
		}
		add(all, v)
		for _, d := range dims {
			for _, g := range b.groups(m.base, i, d) {
				t := by[d][g]
				if t == nil {
					t = &tally{}
					by[d][g] = t
				}
				add(t, v)
			}
		}
	}
	return all, by
}

func (b *book) size(of base) int {
	switch of {
	case ofIncidents:
		return len(b.incidents)
	case ofEncounters:
		return len(b.encounters)
	case ofEpisodes:
		return len(b.episodes)
	case ofFollowUps:
		return len(b.followUps)
	case ofReferrals:
		return len(b.referrals)
	case ofPeople:
		return len(b.people)
	default:
		return len(b.firsts)
	}
}

// The breakdowns.
const (
	byRace    = "race_ethnicity"
	byAge     = "age_band"
	byGender  = "gender"
	byLang    = "language"
	byHousing = "housing"
	byZIP     = "zip"
	byBeat    = "beat"
	byHour    = "hour_block"
	byModel   = "model"
	byMode    = "response_mode"
)

// Groups that are no codes of a list.
const (
	groupUnknown = "unknown"
	groupSeveral = "two_or_more"
)

var (
	ofPersons = []string{byRace, byAge, byGender, byLang, byHousing}
	ofCalls   = []string{byRace, byAge, byGender, byLang, byHousing, byZIP, byBeat, byHour}
)

// dimsOf are the breakdowns that rows of a base can have: where and when is known of calls
// and what happened on them.
func dimsOf(of base) []string {
	switch of {
	case ofIncidents, ofEncounters, ofFirsts:
		return append(slices.Clone(ofCalls), byModel)
	default:
		return append(slices.Clone(ofPersons), byModel)
	}
}

// groups are those that a row is in.
func (b *book) groups(of base, i int32, dim string) []string {
	switch dim {
	case byModel:
		return b.models(of, i)
	case byZIP, byBeat, byHour, byMode:
		return []string{b.scene(of, i, dim)}
	}
	if of != ofIncidents {
		return b.traits(of, i, dim)
	}
	var all []string
	for _, e := range b.incidents[i].encounters {
		for _, g := range b.traits(ofEncounters, e, dim) {
			if !slices.Contains(all, g) {
				all = append(all, g)
			}
		}
	}
	if len(all) == 0 {
		return []string{groupUnknown}
	}
	return all
}

func (b *book) models(of base, i int32) []string {
	program := none
	switch of {
	default:
		if f := b.factOf(of, i); f != nil {
			program = f.program
		}
	case ofPeople:
		var all []string
		for _, e := range b.people[i].encounters {
			x := &b.encounters[e]
			if x.place == inside && x.program != none && !slices.Contains(all, b.programs[x.program].model) {
				all = append(all, b.programs[x.program].model)
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	if program == none || b.programs[program].model == "" {
		return []string{groupUnknown}
	}
	return []string{b.programs[program].model}
}

// scene says where or when the call was that a row belongs to.
func (b *book) scene(of base, i int32, dim string) string {
	call := i
	switch of {
	case ofEncounters:
		call = b.encounters[i].incident
	case ofFirsts:
		call = b.encounters[b.firsts[i].encounter].incident
	}
	if call == none {
		return groupUnknown
	}
	in := &b.incidents[call]
	word := map[string]string{byZIP: in.zip, byBeat: in.beat, byHour: in.hour, byMode: in.mode}[dim]
	if !recorded(word) {
		return groupUnknown
	}
	return word
}

// traits says what the person of a row is; what the encounter says of age and housing goes
// before what the person's record says.
func (b *book) traits(of base, i int32, dim string) []string {
	who, enc := none, none
	switch of {
	case ofEncounters:
		enc = i
	case ofPeople:
		who = i
	case ofFirsts:
		enc = b.firsts[i].encounter
	}
	if f := b.factOf(of, i); f != nil {
		who = f.person
	}
	var p *personFact
	if who != none {
		p = &b.people[who]
	}
	word := ""
	switch dim {
	case byAge:
		return []string{b.ageBand(p, of, i, enc)}
	case byHousing:
		if enc != none {
			word = b.encounters[enc].housing
		}
		if !recorded(word) && p != nil {
			word = p.housing
		}
	case byRace:
		if p == nil || len(p.races) == 0 {
			return []string{groupUnknown}
		}
		if len(p.races) > 1 {
			return append(slices.Clone(p.races), groupSeveral)
		}
		return p.races
	case byGender:
		if p != nil {
			word = p.gender
		}
	case byLang:
		if p != nil {
			word, _, _ = strings.Cut(p.lang, "-")
		}
	}
	if !recorded(word) {
		word = groupUnknown
	}
	return []string{word}
}

var bands = []struct {
	least int
	name  string
}{{65, "65+"}, {45, "45-64"}, {25, "25-44"}, {18, "18-24"}, {13, "13-17"}, {0, "0-12"}}

func (b *book) ageBand(p *personFact, of base, i, enc int32) string {
	age := int16(-1)
	if enc != none {
		age = b.encounters[enc].age
	}
	if age < 0 && p != nil && p.birthYear != 0 {
		on := b.o.To
		if on.IsZero() {
			on = b.o.AsOf
		}
		if f := b.factOf(of, i); f != nil && f.dated {
			on = f.at.start
		}
		age = int16(on.Year()) - p.birthYear
		if int16(on.Month()) < p.birthMonth || int16(on.Month()) == p.birthMonth && int16(on.Day()) < p.birthDay {
			age--
		}
	}
	if age < 0 && p != nil {
		age = p.approxAge
	}
	if age < 0 {
		return groupUnknown
	}
	for _, band := range bands {
		if int(age) >= band.least {
			return band.name
		}
	}
	return groupUnknown
}

func (b *book) factOf(of base, i int32) *fact {
	switch of {
	case ofIncidents:
		return &b.incidents[i].fact
	case ofEncounters:
		return &b.encounters[i].fact
	case ofEpisodes:
		return &b.episodes[i].fact
	case ofFollowUps:
		return &b.followUps[i].fact
	case ofReferrals:
		return &b.referrals[i].fact
	case ofFirsts:
		return &b.firsts[i].fact
	}
	return nil
}

// quantile returns the middle of sorted values for 0.5 (the mean of the two in the middle
// where they are even), else the smallest that a share of them does not exceed.
func quantile(sorted []float32, q float64) float64 {
	n := len(sorted)
	if q == 0.5 && n%2 == 0 {
		return (float64(sorted[n/2-1]) + float64(sorted[n/2])) / 2
	}
	return float64(sorted[max(int(math.Ceil(q*float64(n)))-1, 0)])
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// sortGroups puts groups in the order of their list, what is none of it by name, and what
// is not known last.
func sortGroups(dim string, groups []string) {
	rank := map[string]int{}
	for i, band := range bands {
		rank[band.name] = len(bands) - i
	}
	if list := groupList(dim); list != "" {
		for i, c := range record.New().Codes(list) {
			rank[c.Code] = i + 1
		}
	}
	of := func(g string) int {
		switch g {
		case groupUnknown, record.NotRecorded:
			return 1 << 20
		case "declined":
			return 1<<20 - 1
		case groupSeveral:
			return 1<<20 - 2
		}
		return cmp.Or(rank[g], 1<<16)
	}
	slices.SortFunc(groups, func(x, y string) int { return cmp.Or(cmp.Compare(of(x), of(y)), strings.Compare(x, y)) })
}

// groupList is the code list of a breakdown, empty where its groups are none.
func groupList(dim string) string {
	return map[string]string{byRace: "race_ethnicity", byGender: "gender", byHousing: "housing", byModel: "program_model", byMode: "response_mode"}[dim]
}

// itemText is the wording of a question.
func itemText(t *tandemv1.FormText) Text {
	es := t.GetEs()
	if es == "" {
		es = t.GetEn()
	}
	return Text{t.GetEn(), es}
}

// worth is what an answer counts in a mean.
func worth(options []*tandemv1.FormOption, code string) (float64, bool) {
	for _, o := range options {
		if o.GetCode() == code {
			return o.GetOrdinal(), o.Ordinal != nil
		}
	}
	n, err := strconv.Atoi(code)
	return float64(n), err == nil && len(options) == 0
}

// answerText is the wording of an answer.
func answerText(options []*tandemv1.FormOption, code string) Text {
	for _, o := range options {
		if o.GetCode() == code {
			return itemText(o.GetText())
		}
	}
	switch code {
	case "true":
		return Text{"Yes", "Sí"}
	case "false":
		return Text{"No", "No"}
	}
	return Text{code, code}
}
