package record

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	questionnaire "github.com/tandem-response/tandem/syncengine/form"
	"google.golang.org/protobuf/proto"
)

// Numbers of FormResponse: its subject, and the fields that name somebody.
const (
	responseForm      = 20
	responseSubject   = 23
	responsePerson    = 24
	responseEncounter = 25
	responseEpisode   = 26
	responseStaff     = 27
)

// impersonal are the subjects of responses that name nobody served: everyone enrolled
// reads them, and they are of no team.
var impersonal = []string{"program", "community"}

// Impersonal reports whether responses about a subject name nobody served and stand in
// the compartment that everyone enrolled reads.
func Impersonal(subject string) bool { return slices.Contains(impersonal, subject) }

// formRights: an admin of the agency and the operator write forms. What is published is
// retired or voided and never edited; a sign publishes, once.
var formRights = map[string][]cell{
	operator: formCells(ofTeams),
	admin:    formCells(ofAgency),
}

func formCells(r reach) []cell {
	return []cell{
		{acts: acts{create, set, appends, resolve, sign}, reach: r},
		{acts: acts{closes}, reach: r, fields: []string{"lifecycle"}, values: map[string][]string{"lifecycle": {Retired}}},
		{acts: acts{void, restore}, reach: r, fields: []string{"lifecycle", "void_reason"}},
	}
}

// formResponseRights: clinicians and peers ask and sign, a police partner takes part in
// surveys of the community, an admin assesses the program.
var formResponseRights = map[string][]cell{
	// What comes in under the link of a survey, of nobody.
	operator: {
		{acts: acts{create}, fields: surveyFields, values: about("community"), stated: true, in: inRef},
		{acts: acts{sign}, reach: ofTeams, fields: []string{"lifecycle"}, in: inRef},
	},
	clinician: {
		{acts: acts{create}},
		{acts: acts{set, appends, resolve, sign, amend, void, restore}, reach: ofOwn},
	},
	peer: {
		{acts: acts{create}, except: noSUD},
		{acts: acts{set, appends, sign, amend, void, restore}, reach: ofOwn, except: noSUD},
	},
	lePartner: {
		{acts: acts{create}, fields: surveyFields, values: about("community"), stated: true, in: inRef},
		{acts: acts{set, sign, amend, void, restore}, reach: ofOwn, fields: surveyFields, in: inRef},
	},
	lead: {
		{acts: acts{resolve, void, restore}},
	},
	admin: {
		{acts: acts{create}, values: about("program"), stated: true, in: inRef},
		{acts: acts{set, appends, resolve, sign, amend, void, restore}, reach: ofOwn, in: inRef},
	},
}

// surveyFields are what a police partner writes of a survey of the community: none that
// could name somebody.
var surveyFields = []string{
	"agency_id", "program_id", "team_id", "lifecycle", "void_reason", "tz", "schema", "form_id", "form_code", "form_version", "subject",
	"lang", "respondent", "answered_at", "score", "band", "signed_by", "signed_at", "amend_reason", "answers",
}

var inRef = []tandemv1.Compartment{ref}

func about(subject string) map[string][]string { return map[string][]string{"subject": {subject}} }

// formResponseNeeds is what a response must hold in order to be signed.
var formResponseNeeds = map[string][]need{
	anyState: all("form_code", "form_version", "subject"),
	Signed: slices.Concat(all("form_code", "form_version", "subject", "respondent", "answers"), []need{
		{field: []string{"person_id"}, when: is("subject", "person")},
		{field: []string{"encounter_id"}, when: is("subject", "encounter")},
		{field: []string{"episode_id"}, when: is("subject", "episode")},
		{field: []string{"staff_id"}, when: is("subject", "staff")},
		{field: []string{"program_id"}, when: is("subject", "program")},
	}),
}

// namesSomebody reports whether a field of a response names somebody.
func namesSomebody(number uint32) bool {
	return number >= responsePerson && number <= responseStaff
}

// response checks the compartment of a new response: those about a program or the
// community stand where everyone reads, and name nobody; no other stands there.
func (c *checker) response(in tandemv1.Compartment, fields []syncengine.Field) {
	subject, names := "", false
	for _, f := range fields {
		if f.Path.Field == responseSubject {
			subject, _ = syncengine.RawString(f.Raw)
		}
		names = names || namesSomebody(f.Path.Field)
	}
	if Impersonal(subject) != (in == ref) || names && in == ref {
		c.fault("compartment")
	}
}

// formAllows judges what no cell can say: that a form is published once, by a sign of its
// draft, and that a response that everyone reads never comes to name somebody.
func (k *kind) formAllows(w *tandemv1.RecordWrite, rec *syncengine.Record, held tandemv1.Compartment) bool {
	switch k.Name {
	case form:
		return w.GetAct() != sign || rec.Lifecycle() == Draft
	case formResponse:
		return held != ref || !slices.ContainsFunc(w.GetWrites(), func(pw *tandemv1.PathWrite) bool { return namesSomebody(pw.GetField()) })
	}
	return true
}

// unlikeForm returns what of a signed response does not fit its form: that it is of the
// version it names, that what must be answered is, and that score and band are those of
// the answers. A form that is not here says nothing.
func (o *others) unlikeForm(v *view) (fields []string) {
	id, err := syncengine.ParseID(v.code("form_id"))
	if err != nil {
		return nil
	}
	of, err := o.look(id)
	if err != nil || of == nil || o.domain.kinds[of.Kind] == nil || o.domain.kinds[of.Kind].Name != form {
		o.err = err
		return nil
	}
	msg, err := o.domain.Message(of)
	if err != nil {
		return nil
	}
	said, err := o.domain.Message(o.rec)
	if err != nil {
		return nil
	}
	f, ok := msg.(*tandemv1.Form)
	r, ok2 := said.(*tandemv1.FormResponse)
	if !ok || !ok2 || len(questionnaire.Check(f.GetDefinition())) > 0 {
		return nil
	}
	if r.GetFormCode() != f.GetCode() || r.GetFormVersion() != f.GetVersion() || r.GetSubject() != f.GetSubject() {
		fields = append(fields, "form_id")
	}
	res := questionnaire.Evaluate(f.GetDefinition(), questionnaire.Of(r))
	if !res.Complete {
		fields = append(fields, "answers")
	}
	total := proto.CloneOf(r)
	questionnaire.Total(total, res)
	if total.GetBand() != r.GetBand() || (total.Score == nil) != (r.Score == nil) || total.GetScore() != r.GetScore() {
		fields = append(fields, "band", "score")
	}
	return fields
}
