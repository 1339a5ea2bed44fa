package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// ErrType says that a type of resource is none that is exported.
var ErrType = errors.New("resources of that type are not exported")

// Resources are the types of FHIR resources that an export may hold.
var Resources = strings.Fields(`AuditEvent CarePlan CareTeam CodeSystem Communication Consent DocumentReference Encounter EpisodeOfCare Flag HealthcareService
	Location Observation Organization Patient Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse ServiceRequest Task`)

// Limits of one file of resources.
const (
	fileLines = 100_000
	fileBytes = 256 << 20
)

// resource is one, as JSON.
type resource = map[string]any

// fhirForm is one NDJSON file, or several, for each type of resource.
type fhirForm struct {
	job   *job
	from  source
	zones map[string]*time.Location
	files map[string]*fhirFile
	// made counts the files of each type, those of earlier parts too.
	made map[string]int
	// open are the files of a part that was broken off, by type.
	open map[string]string
	// here remembers whether records are in the set, some of them.
	here  map[syncengine.ID]bool
	lists map[string]bool
	gone  []any
}

type fhirFile struct {
	*file

	bytes int64
}

func (j *job) newFHIR(from source) *fhirForm {
	return &fhirForm{
		job: j, from: from, zones: map[string]*time.Location{}, files: map[string]*fhirFile{}, made: map[string]int{}, here: map[syncengine.ID]bool{}, lists: map[string]bool{},
	}
}

func (*fhirForm) tabular() bool { return false }

// begin goes on with the files of a part that was broken off.
func (f *fhirForm) begin([]*table) error {
	for typ, name := range f.open {
		if at := f.job.dir.open(name); at != nil {
			f.files[typ] = &fhirFile{file: at, bytes: at.size}
		}
	}
	f.open = nil
	return nil
}

// part closes the files: the next part begins new ones, so that those are whole.
func (f *fhirForm) part() error {
	clear(f.files)
	return nil
}

// fhirKept is what it has to know of the parts before.
type fhirKept struct {
	Made  map[string]int  `json:"made"`
	Lists map[string]bool `json:"lists"`
	Gone  []any           `json:"gone,omitempty"`
	// Open are the files of a part that is not whole yet, by type.
	Open map[string]string `json:"open,omitempty"`
}

func (f *fhirForm) save() (json.RawMessage, error) {
	open := map[string]string{}
	for typ, at := range f.files {
		open[typ] = at.name
	}
	return json.Marshal(fhirKept{f.made, f.lists, f.gone, open})
}

func (f *fhirForm) restore(text json.RawMessage) error {
	if text == nil {
		return nil
	}
	k := fhirKept{f.made, f.lists, f.gone, nil}
	err := json.Unmarshal(text, &k)
	f.made, f.lists, f.gone, f.open = k.Made, k.Lists, k.Gone, k.Open
	return err
}

// put writes a resource: one line, its members in the order of their names.
func (f *fhirForm) put(typ, id string, r *row, res resource) error {
	if len(f.job.o.Types) > 0 && !slices.Contains(f.job.o.Types, typ) {
		return nil
	}
	res["resourceType"], res["id"] = typ, id
	if r != nil {
		res["meta"] = f.meta(r)
	}
	prune(res)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(res); err != nil {
		return fmt.Errorf("%s/%s: %w", typ, id, err)
	}
	at := f.files[typ]
	if at == nil || at.rows == fileLines || at.bytes+int64(b.Len()) > fileBytes {
		f.made[typ]++
		name := typ + ".ndjson"
		if f.made[typ] > 1 {
			name = fmt.Sprintf("%s.%03d.ndjson", typ, f.made[typ])
		}
		file, err := f.job.dir.create(name)
		if err != nil {
			return err
		}
		at = &fhirFile{file: file}
		f.files[typ] = at
	}
	at.rows++
	at.bytes += int64(b.Len())
	_, err := at.b.Write(b.Bytes())
	return err
}

// prune removes what is empty, which FHIR forbids.
func prune(v any) (empty bool) {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		for name, member := range v {
			if list, ok := member.([]any); ok {
				member = slices.DeleteFunc(list, prune)
				v[name] = member
			}
			if prune(member) {
				delete(v, name)
			}
		}
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// Systems of codes and identifiers.
const (
	ours    = "urn:tandem:codes:"
	oursID  = "urn:tandem:record"
	hl7     = "http://terminology.hl7.org/CodeSystem/"
	loinc   = "http://loinc.org"
	actCode = hl7 + "v3-ActCode"
)

// meta says which revision it is and who may see it.
func (f *fhirForm) meta(r *row) resource {
	var security []any
	label := func(system, code string) { security = append(security, resource{"system": system, "code": code}) }
	switch r.rec.Compartment(r.kind) {
	case tandemv1.Compartment_COMPARTMENT_CLINICAL:
		label(hl7+"v3-Confidentiality", "R")
		label(actCode, "PSY")
	case tandemv1.Compartment_COMPARTMENT_SUD:
		label(hl7+"v3-Confidentiality", "R")
		label(actCode, "PSY")
		label(actCode, "ETH")
		label(actCode, "42CFRPart2")
		label(actCode, "NODSCLCD")
	}
	return resource{"versionId": fmt.Sprint(r.stamps.GetRev()), "security": security}
}

// coding is a code of ours; its list is shipped along.
func (f *fhirForm) coding(list, code string) any {
	if code == "" {
		return nil
	}
	f.lists[list] = true
	c := resource{"system": ours + list, "code": code}
	if f.job.domain.HasCode(list, code) || f.job.own.Has(list, code) {
		c["display"] = f.job.own.Label(f.job.domain, list, code, f.lang())
	}
	return c
}

func (f *fhirForm) lang() string {
	if f.job.o.Labels == record.Spanish {
		return record.Spanish
	}
	return record.English
}

// concept is a code of ours, with codes of others after it.
func (f *fhirForm) concept(list, code string, more ...any) any {
	if code == "" && len(more) == 0 {
		return nil
	}
	return resource{"coding": append([]any{f.coding(list, code)}, more...)}
}

func code(system, value string) any { return resource{"system": system, "code": value} }

func (f *fhirForm) concepts(list string, codes []string) (all []any) {
	for _, c := range codes {
		all = append(all, f.concept(list, c))
	}
	return all
}

// ref is a reference to a record: one that can be followed where the record is in the set,
// an identifier otherwise.
func (f *fhirForm) ref(kind, typ, id string) any {
	at, err := syncengine.ParseID(id)
	if err != nil {
		return nil
	}
	if f.has(kind, typ, at) {
		return resource{"reference": typ + "/" + id}
	}
	return resource{"type": typ, "identifier": resource{"system": oursID, "value": id}}
}

// subject is a reference to the person, who may be nobody that is known.
func (f *fhirForm) subject(id string) any {
	if to := f.ref("person", "Patient", id); to != nil {
		return to
	}
	return resource{"display": "Unidentified person"}
}

// remembered is of how many records it is known whether they are in the set.
const remembered = 50_000

// has reports whether a record is in the set.
func (f *fhirForm) has(kind, typ string, id syncengine.ID) bool {
	if types := f.job.o.Types; len(types) > 0 && !slices.Contains(types, typ) {
		return false
	}
	if here, ok := f.here[id]; ok {
		return here
	}
	if len(f.here) >= remembered {
		clear(f.here)
	}
	here := false
	if rec, err := f.from.Record(id); err == nil && rec != nil && rec.Kind == f.job.domain.KindByName(kind).Number {
		// What is left out is counted where it is met.
		left, gone := f.job.left, f.gone
		r, err := f.job.row(rec, f.zones)
		here = err == nil && r != nil
		f.job.left, f.gone = left, gone
	}
	f.here[id] = here
	return here
}

// moment is an instant as exact as it is known.
func moment(at *tandemv1.Instant, r *row) any {
	if at.GetAtMs() == 0 {
		return nil
	}
	t := time.UnixMilli(at.GetAtMs()).In(r.zone)
	if y := t.Year(); y < 1 || y > 9999 {
		return nil
	}
	switch at.GetPrecision() {
	case "month":
		return t.Format("2006-01")
	case "day":
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02T15:04:05.000Z07:00")
}

// exactly is an instant where FHIR takes nothing less.
func exactly(at *tandemv1.Instant, r *row) any {
	return moment(&tandemv1.Instant{AtMs: at.AtMs}, r)
}

func created(r *row) any { return moment(&tandemv1.Instant{AtMs: new(r.stamps.GetAtMs())}, r) }

func span(from, to any) any { return resource{"start": from, "end": to} }

// date is a day, nothing where it is none.
func date(s string) any {
	if !isDay(s) {
		return nil
	}
	return s
}

// signedStatus maps the states of what is signed to those of a resource.
func signedStatus(state, draft, signed, amended string) string {
	switch state {
	case record.Draft:
		return draft
	case record.Void:
		return "entered-in-error"
	case "amended":
		return amended
	}
	return signed
}

// write writes the resources of a record.
func (f *fhirForm) write(_ []*table, r *row, _ *entry) error {
	id := r.rec.ID.String()
	switch m := r.msg.Interface().(type) {
	case *tandemv1.Agency:
		return f.agency(id, r, m)
	case *tandemv1.Program:
		return f.put("HealthcareService", id, r, resource{
			"active": m.GetLifecycle() == "active", "name": words(m.GetName(), f.lang()), "type": []any{f.concept("program_model", m.GetModel())},
			"providedBy": f.ref("agency", "Organization", m.GetAgencyId()), "comment": m.GetArea(),
		})
	case *tandemv1.Team:
		return f.team(id, r, m)
	case *tandemv1.Staff:
		return f.staff(id, r, m)
	case *tandemv1.Resource:
		return f.service(id, r, m)
	case *tandemv1.Form:
		return f.questionnaire(id, r, m)
	case *tandemv1.Person:
		return f.patient(id, r, m)
	case *tandemv1.Encounter:
		return f.encounter(id, r, m)
	case *tandemv1.Episode:
		return f.episode(id, r, m)
	case *tandemv1.FollowUp:
		return f.followUp(id, r, m)
	case *tandemv1.Referral:
		return f.referral(id, r, m)
	case *tandemv1.Note:
		return f.note(id, r, m)
	case *tandemv1.FormResponse:
		return f.response(id, r, m)
	case *tandemv1.Consent:
		return f.consent(id, r, m)
	case *tandemv1.Disclosure:
		return f.disclosure(id, r, m)
	case *tandemv1.SafetyAlert:
		return f.flag(id, r, m)
	case *tandemv1.Attachment:
		return f.attachment(id, r, m)
	}
	return nil
}

func words(t *tandemv1.LocalizedText, lang string) string {
	if lang == record.Spanish && t.GetEs() != "" {
		return t.GetEs()
	}
	if t.GetEn() == "" {
		return t.GetEs()
	}
	return t.GetEn()
}

// end ships the codes of ours that are used.
func (f *fhirForm) end() error {
	for _, list := range slices.Sorted(keysOf(f.lists)) {
		var concepts []any
		for _, c := range slices.Concat(f.job.domain.Codes(list), f.job.own.Of(list, "")) {
			concepts = append(concepts, resource{
				"code": c.Code, "display": c.EN, "designation": []any{resource{"language": record.Spanish, "value": c.ES}},
			})
		}
		if len(concepts) == 0 {
			continue
		}
		if err := f.put("CodeSystem", strings.ReplaceAll(list, "_", "-"), nil, resource{
			"url": ours + list, "name": "Tandem" + camel(list), "status": "active", "content": "complete", "caseSensitive": true, "concept": concepts,
		}); err != nil {
			return err
		}
	}
	if len(f.gone) == 0 {
		return nil
	}
	return f.deleted()
}

// camel is a name as FHIR wants those of its own.
func camel(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "_") {
		b.WriteString(strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):])
	}
	return b.String()
}

// typesOf are the resources that a record of a kind becomes under its own id.
var typesOf = map[string]string{
	"agency": "Organization", "program": "HealthcareService", "team": "CareTeam", "staff": "Practitioner", "resource": "HealthcareService",
	"form": "Questionnaire", "person": "Patient", "encounter": "Encounter", "episode": "EpisodeOfCare", "follow_up": "Task", "referral": "ServiceRequest",
	"note": "DocumentReference", "form_response": "QuestionnaireResponse", "consent": "Consent", "safety_alert": "Flag", "attachment": "DocumentReference",
}

// void notes that a record that was in an earlier set is void now.
func (f *fhirForm) void(kind string, id syncengine.ID) {
	typ := typesOf[kind]
	if typ == "" || len(f.job.o.Types) > 0 && !slices.Contains(f.job.o.Types, typ) {
		return
	}
	f.gone = append(f.gone, resource{"request": resource{"method": "DELETE", "url": typ + "/" + id.String()}})
}

// deletedFile is where they stand.
const deletedFile = "deleted.ndjson"

// deleted writes them, some hundred in a bundle.
func (f *fhirForm) deleted() error {
	file, err := f.job.dir.create(deletedFile)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(f.gone, 500) {
		line, err := json.Marshal(resource{"resourceType": "Bundle", "type": "transaction", "entry": some})
		if err != nil {
			return err
		}
		if _, err := file.b.Write(append(line, '\n')); err != nil {
			return err
		}
		file.rows++
	}
	return nil
}
