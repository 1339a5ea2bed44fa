package directory

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Result is what a source holds.
type Result struct {
	// Resources, in the order of the source; none has an agency or a lifecycle.
	Resources []*tandemv1.Resource
	// Notes name what was left out.
	Notes []string
}

// builder makes resources of rows.
type builder struct {
	rows
	day    string
	byID   map[string]map[string]*row
	of     map[string][]*row // children by table, foreign key and id
	faults FaultError
	out    Result
}

func build(all rows, day string) (*Result, error) {
	b := &builder{rows: all, day: day, byID: map[string]map[string]*row{}, of: map[string][]*row{}}
	for _, table := range mains {
		b.byID[table] = map[string]*row{}
		for _, r := range all[table] {
			id := r.get("id")
			switch {
			case id == "":
				b.fault(r, "a %s has an id", table)
			case b.byID[table][id] != nil:
				b.fault(r, "the id %s stands twice, the first time at %s", id, b.byID[table][id].place)
			}
			b.byID[table][id] = r
		}
	}
	for _, table := range []string{"service_at_location", "phone", "schedule", "language", "address", "cost_option"} {
		for _, r := range all[table] {
			for _, key := range []string{"service_at_location_id", "service_id", "location_id", "organization_id", "phone_id"} {
				if id := r.get(key); id != "" {
					b.of[table+" "+key+" "+id] = append(b.of[table+" "+key+" "+id], r)
				}
			}
		}
	}
	for _, r := range all["attribute"] {
		b.of["attribute "+r.get("link_id")] = append(b.of["attribute "+r.get("link_id")], r)
	}
	for _, s := range all["service"] {
		places := b.of["service_at_location service_id "+s.get("id")]
		if len(places) == 0 {
			b.resource(s, nil)
		}
		for _, p := range places {
			b.resource(s, p)
		}
		if len(b.out.Resources) > MaxResources {
			return nil, FaultError{fmt.Sprintf("the directory has more than %d entries: take the part that the team works in", MaxResources)}
		}
	}
	for _, p := range all["service_at_location"] {
		if b.byID["service"][p.get("service_id")] == nil {
			b.fault(p, "it is of the service %s, which is not there", quote(p.get("service_id")))
		}
	}
	if len(b.faults) > 0 {
		return nil, b.faults
	}
	return &b.out, nil
}

func (b *builder) fault(r *row, format string, args ...any) {
	b.faults = append(b.faults, r.place+": "+fmt.Sprintf(format, args...))
}

func (b *builder) note(r *row, format string, args ...any) {
	note := r.place + ": " + fmt.Sprintf(format, args...)
	if len(b.out.Notes) < maxNotes && !slices.Contains(b.out.Notes, note) {
		b.out.Notes = append(b.out.Notes, note)
	}
}

var statuses = map[string]string{
	"active": "active", "inactive": "inactive", "defunct": "defunct", "temporarily closed": "temporarily_closed", "temporarily_closed": "temporarily_closed",
}

// resource makes the resource of a service, at a place or at none.
func (b *builder) resource(s, place *row) {
	org := b.byID["organization"][s.get("organization_id")]
	loc := b.byID["location"][place.get("location_id")]
	status := statuses[strings.ToLower(s.get("status"))]
	switch {
	case s.get("name") == "":
		b.fault(s, "a service has a name")
	case org == nil:
		b.fault(s, "it is of the organization %s, which is not there", quote(s.get("organization_id")))
	case org.get("name") == "":
		b.fault(org, "an organization has a name")
	case status == "":
		b.fault(s, "its status is %s: HSDS knows active, inactive, defunct and temporarily closed", quote(s.get("status")))
	case place != nil && place.get("location_id") != "" && loc == nil:
		b.fault(place, "it is at the location %s, which is not there", quote(place.get("location_id")))
	}
	if len(b.faults) > 0 {
		return
	}
	res := &tandemv1.Resource{
		ServiceName: &tandemv1.LocalizedText{En: b.text(s, "name", s.get("name"), 200)},
		OrgName:     b.text(org, "name", org.get("name"), 200), OrgKey: b.text(org, "id", org.get("id"), 120),
		Description: b.text(s, "description", s.get("description"), 4000), Status: &status,
		Url:         b.text(s, "url", cmp.Or(s.get("url"), org.get("website"), org.get("url")), 500),
		Email:       b.text(s, "email", cmp.Or(s.get("email"), org.get("email")), 254),
		Eligibility: b.text(s, "eligibility_description", s.get("eligibility_description"), 2000),
		Alert:       b.text(s, "alert", s.get("alert"), 1000),
		MinAge:      b.age(s, "minimum_age"), MaxAge: b.age(s, "maximum_age"),
		AssuredOn: b.date(s, "assured_date"), Cost: new(b.cost(s)),
	}
	where := []*row{place, s, loc}
	b.address(res, loc)
	b.phones(res, where, org)
	b.hours(res, where)
	b.languages(res, where)
	b.categories(res, where, org)
	if words := strings.ToLower(s.get("application_process")); walkIn.MatchString(words) {
		res.AcceptsWalkIn = new(true)
	}
	for _, id := range []struct {
		table string
		row   *row
	}{{"service", s}, {"service_at_location", place}, {"location", loc}, {"organization", org}} {
		if v := id.row.get("id"); v != "" {
			res.HsdsIds = append(res.HsdsIds, &tandemv1.ExternalKey{Element: element(id.table), Table: new(id.table), Value: b.text(id.row, "id", v, 120)})
		}
	}
	b.out.Resources = append(b.out.Resources, res)
}

// Key names a resource in its source: the same in every import.
func Key(r *tandemv1.Resource) string {
	key := ""
	for _, id := range r.GetHsdsIds() {
		switch id.GetTable() {
		case "service_at_location":
			return "service_at_location " + id.GetValue()
		case "service":
			key = "service " + id.GetValue()
		}
	}
	return key
}

// element is an element id made of what the element says, so that the next import makes
// the same one.
func element(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:8]
}

// text is a text as records hold it: no control characters, and no longer than most.
func (b *builder) text(r *row, name, s string, most int) *string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "�"))
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	if utf8.RuneCountInString(s) > most {
		b.note(r, "%s was cut to %d characters", name, most)
		s = string([]rune(s)[:most-1]) + "…"
	}
	return &s
}

func (b *builder) age(r *row, name string) *uint32 {
	s := r.get(name)
	if s == "" {
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v > 120 {
		b.note(r, "%s was left out: it is no age", name)
		return nil
	}
	return new(uint32(v))
}

var isoDate = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])`)

func (b *builder) date(r *row, name string) *string {
	s := r.get(name)
	if s == "" {
		return nil
	}
	if !isoDate.MatchString(s) {
		b.note(r, "%s was left out: it is no date", name)
		return nil
	}
	return new(s[:10])
}

var (
	walkIn   = regexp.MustCompile(`walk[- ]?in|drop[- ]?in|no appointment|sin cita`)
	costless = regexp.MustCompile(`\b(free|no cost|no charge|sin costo|gratis|gratuito)\b`)
	sliding  = regexp.MustCompile(`sliding`)
	medicaid = regexp.MustCompile(`medicaid`)
	insured  = regexp.MustCompile(`insurance|private pay`)
	zip      = regexp.MustCompile(`^([0-9]{5})(-?[0-9]{4})?$`)
	dropOff  = regexp.MustCompile(`(police|law enforcement|officer).*drop[- ]?off|drop[- ]?off.*(police|law enforcement|officer)`)
)

// cost reads what is said of fees.
func (b *builder) cost(s *row) string {
	words := s.get("fees_description") + " " + s.get("fees")
	free := false
	for _, c := range b.of["cost_option service_id "+s.get("id")] {
		words += " " + c.get("option") + " " + c.get("amount_description")
		amount, err := strconv.ParseFloat(c.get("amount"), 64)
		free = free || err == nil && amount == 0
	}
	words = strings.ToLower(strings.TrimSpace(words))
	switch {
	case sliding.MatchString(words):
		return "sliding"
	case free || costless.MatchString(words):
		return "free"
	case medicaid.MatchString(words):
		return "medicaid"
	case insured.MatchString(words):
		return "private"
	case words != "":
		return "other"
	}
	return "unknown"
}

func (b *builder) address(res *tandemv1.Resource, loc *row) {
	if loc == nil {
		return
	}
	var best *row
	for _, a := range b.of["address location_id "+loc.get("id")] {
		if best == nil || a.get("address_type") == "physical" && best.get("address_type") != "physical" {
			best = a
		}
	}
	if best != nil {
		lines := []string{}
		for _, key := range []string{"address_1", "address_2"} {
			if s := best.get(key); s != "" {
				lines = append(lines, s)
			}
		}
		res.Address = b.text(best, "address", strings.Join(lines, ", "), 300)
		res.City = b.text(best, "city", best.get("city"), 100)
		if m := zip.FindStringSubmatch(best.get("postal_code")); m != nil {
			res.Zip5 = &m[1]
		} else if best.get("postal_code") != "" {
			b.note(best, "postal_code was left out: it is no ZIP code")
		}
	}
	lat, errLat := strconv.ParseFloat(loc.get("latitude"), 64)
	lon, errLon := strconv.ParseFloat(loc.get("longitude"), 64)
	switch {
	case loc.get("latitude") == "" && loc.get("longitude") == "":
	case errLat == nil && errLon == nil && lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180:
		res.Lat, res.Lon = &lat, &lon
	default:
		b.note(loc, "latitude and longitude were left out: they are nowhere on earth")
	}
}

// each returns the rows of a table that belong to one of the rows, the nearest first.
func (b *builder) each(table string, where []*row) (found [][]*row) {
	for i, key := range []string{"service_at_location_id", "service_id", "location_id"} {
		if id := where[i].get("id"); id != "" {
			found = append(found, b.of[table+" "+key+" "+id])
		}
	}
	return found
}

var phoneTypes = map[string]string{
	"": "voice", "voice": "voice", "text": "text", "sms": "text", "fax": "fax", "cell": "voice", "mobile": "voice", "pager": "",
	"textphone": "textphone", "tty": "textphone", "video": "video",
}

func (b *builder) phones(res *tandemv1.Resource, where []*row, org *row) {
	list := slices.Concat(b.each("phone", where)...)
	if len(list) == 0 {
		list = b.of["phone organization_id "+org.get("id")]
	}
	seen := map[string]bool{}
	for _, p := range list {
		number := strings.Trim(p.get("number"), "\"' ")
		kind, known := phoneTypes[strings.ToLower(p.get("type"))]
		key := number + "\x00" + p.get("extension") + "\x00" + kind
		switch {
		case number == "" || utf8.RuneCountInString(number) > 40 || !known || kind == "":
			b.note(p, "the phone was left out: it has no number, or is of a type that is not shown")
			continue
		case seen[key]:
			continue
		}
		seen[key] = true
		res.Phones = append(res.Phones, &tandemv1.ResourcePhone{
			Element: element("phone", key), Number: b.text(p, "number", number, 40), Type: new(kind),
			Label: b.text(p, "description", p.get("description"), 120), Extension: b.text(p, "extension", p.get("extension"), 20),
		})
		if strings.Trim(number, "+ -") == "988" {
			res.IsCrisisLine = new(true)
		}
	}
}

var weekdays = []string{"mo", "tu", "we", "th", "fr", "sa", "su"}

var clock = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])`)

// hours reads the schedules of the nearest row that has any.
func (b *builder) hours(res *tandemv1.Resource, where []*row) {
	for _, list := range b.each("schedule", where) {
		if len(list) == 0 {
			continue
		}
		seen, always := map[string]bool{}, map[string]bool{}
		for _, s := range list {
			for _, h := range b.week(s) {
				key := h[0] + h[1] + h[2]
				if seen[key] {
					continue
				}
				seen[key] = true
				if h[1] == "00:00" && (h[2] == "00:00" || h[2] == "23:59") {
					always[h[0]] = true
				}
				res.Hours = append(res.Hours, &tandemv1.ResourceHours{
					Element: element("hours", h[0], h[1], h[2]), Byday: new(h[0]), Opens: new(h[1]), Closes: new(h[2]),
				})
			}
		}
		if len(always) == len(weekdays) {
			res.Hours, res.Open_24_7 = nil, new(true)
		}
		return
	}
}

// week returns the days and hours of a weekly schedule.
func (b *builder) week(s *row) (hours [][3]string) {
	if end := cmp.Or(s.get("valid_to"), s.get("until")); end != "" && isoDate.MatchString(end) && end[:10] < b.day {
		b.note(s, "the schedule was left out: it has ended")
		return nil
	}
	opens, closes := clock.FindStringSubmatch(s.get("opens_at")), clock.FindStringSubmatch(s.get("closes_at"))
	freq := strings.ToUpper(s.get("freq"))
	interval := cmp.Or(s.get("interval"), "1")
	days := strings.Split(strings.ToLower(s.get("byday")), ",")
	if freq == "DAILY" && s.get("byday") == "" {
		days = weekdays
	}
	if opens == nil || closes == nil || freq != "" && freq != "WEEKLY" && freq != "DAILY" || interval != "1" {
		b.note(s, "the schedule was left out: it is not of each week, or has no hours")
		return nil
	}
	for _, d := range days {
		if d = strings.TrimSpace(d); !slices.Contains(weekdays, d) {
			b.note(s, "a day of the schedule was left out: %s is no day of the week", quote(d))
			continue
		}
		at := func(m []string) string { return strings.Replace(m[1], "24", "00", 1) + ":" + m[2] }
		hours = append(hours, [3]string{d, at(opens), at(closes)})
	}
	return hours
}

var langNames = map[string]string{
	"english": "en", "spanish": "es", "español": "es", "french": "fr", "haitian creole": "ht", "chinese": "zh", "mandarin": "zh",
	"cantonese": "yue", "vietnamese": "vi", "korean": "ko", "arabic": "ar", "russian": "ru", "ukrainian": "uk", "portuguese": "pt",
	"polish": "pl", "tagalog": "tl", "somali": "so", "nepali": "ne", "burmese": "my", "hindi": "hi", "urdu": "ur",
	"american sign language": "ase", "asl": "ase",
}

var langTag = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

func (b *builder) languages(res *tandemv1.Resource, where []*row) {
	for _, l := range slices.Concat(b.each("language", where)...) {
		code := l.get("code")
		name := strings.ToLower(cmp.Or(l.get("name"), l.get("language")))
		switch {
		case langTag.MatchString(code) && len(code) <= 35:
		case langNames[name] != "":
			code = langNames[name]
		default:
			b.note(l, "the language was left out: it has no code, and %s is not known by name", quote(name))
			continue
		}
		if !slices.Contains(res.GetLangs(), code) {
			res.Langs = append(res.Langs, code)
		}
	}
	slices.Sort(res.Langs)
}

// needs are the codes of needs by what names them.
var needs = []struct {
	code  string
	words *regexp.Regexp
}{
	{"crisis_bed", regexp.MustCompile(`crisis (bed|stabilization|residential|respite)|stabilization unit`)},
	{"detox", regexp.MustCompile(`detox|withdrawal management`)},
	{"substance_use", regexp.MustCompile(`substance|addiction|alcohol|opioid|recovery|drug (abuse|use|treatment)`)},
	{"harm_reduction", regexp.MustCompile(`harm reduction|syringe|needle exchange|naloxone`)},
	{"psychiatry_meds", regexp.MustCompile(`psychiatr|medication management`)},
	{"mental_health", regexp.MustCompile(`mental|behavioral health|counsel|therap|suicide`)},
	{"domestic_violence", regexp.MustCompile(`domestic violence|intimate partner|battered`)},
	{"shelter", regexp.MustCompile(`shelter|homeless|warming center|cooling center`)},
	{"housing", regexp.MustCompile(`housing|rent|eviction`)},
	{"food", regexp.MustCompile(`\bfood|pantry|meal|nutrition|\bsnap\b`)},
	{"clothing_hygiene", regexp.MustCompile(`cloth|hygiene|shower|laundry`)},
	{"transportation", regexp.MustCompile(`transport|bus pass|\brides?\b`)},
	{"benefits_insurance", regexp.MustCompile(`benefit|insurance|medicaid|social security|disability income`)},
	{"employment", regexp.MustCompile(`employment|\bjobs?\b|workforce|vocational`)},
	{"legal", regexp.MustCompile(`\blegal|attorney|lawyer`)},
	{"id_documents", regexp.MustCompile(`birth certificate|identification card|\bid cards?\b`)},
	{"veteran", regexp.MustCompile(`veteran`)},
	{"peer_support", regexp.MustCompile(`peer support|support group|warm ?line`)},
	{"case_management", regexp.MustCompile(`case management|care coordination`)},
	{"senior_disability", regexp.MustCompile(`senior|older adult|aging|disabilit`)},
	{"family_child", regexp.MustCompile(`\bfamil|child|parent|youth`)},
	{"primary_care", regexp.MustCompile(`primary care|medical clinic|health center|dental`)},
}

// categories reads the needs from the terms that a service is filed under, or from its
// name where it is filed under none.
func (b *builder) categories(res *tandemv1.Resource, where []*row, org *row) {
	var words strings.Builder
	for _, r := range append(slices.Clone(where), org) {
		for _, a := range b.of["attribute "+r.get("id")] {
			if r.get("id") == "" {
				continue
			}
			t := b.byID["taxonomy_term"][a.get("taxonomy_term_id")]
			words.WriteString(" | " + strings.ToLower(t.get("name")+" "+a.get("value")+" "+a.get("label")))
		}
	}
	if dropOff.MatchString(words.String()) {
		res.AcceptsPoliceDropoff = new(true)
	}
	found := func(words string) {
		for _, n := range needs {
			if n.words.MatchString(words) {
				res.Category = append(res.Category, n.code)
			}
		}
	}
	if found(words.String()); len(res.Category) == 0 {
		found(strings.ToLower(where[1].get("name")))
	}
	if len(res.Category) == 0 {
		res.Category = []string{"other"}
		b.note(where[1], "no need was found in its terms or its name: it is filed under other")
	}
	slices.Sort(res.Category)
}

func quote(s string) string {
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return strconv.Quote(s)
}
