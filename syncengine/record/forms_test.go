package record_test

import (
	"os"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	questionnaire "github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
)

const (
	inRef  = tandemv1.Compartment_COMPARTMENT_REF
	inClin = tandemv1.Compartment_COMPARTMENT_CLINICAL
)

func formMessage(life string) *tandemv1.Form {
	return &tandemv1.Form{
		AgencyId: new(agencyA.String()), Lifecycle: new(life), Code: new("wellbeing"), Version: new(uint32(1)),
		Title: &tandemv1.LocalizedText{En: new("Wellbeing")}, Subject: new("person"), Category: new("custom"), AnswersIn: new("clinical"),
		Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{
			{LinkId: new("a"), Type: new("group"), Text: &tandemv1.FormText{En: new("A")}},
			{LinkId: new("a.1"), Parent: new("a"), Type: new("boolean"), Text: &tandemv1.FormText{En: new("Well?"), Es: new("¿Bien?")}},
		}},
	}
}

func responseMessage(subject string) *tandemv1.FormResponse {
	m := &tandemv1.FormResponse{
		Lifecycle: new(record.Draft), FormCode: new("wellbeing"), FormVersion: new(uint32(1)), Subject: new(subject),
		Answers: []*tandemv1.FormAnswer{{Element: []byte("aaaaaaaa"), LinkId: new("a.1"), Values: []*tandemv1.FormValue{{Boolean: new(true)}}}},
	}
	if !record.Impersonal(subject) {
		m.TeamId, m.PersonId = new(teamA.String()), new(personA.String())
	}
	return m
}

// everybodys makes a record where everybody reads it.
func everybodys(w *tandemv1.RecordWrite) { w.Compartment = inRef }

// Where a response stands follows from whom it is about, and what everybody reads names
// nobody.
func TestResponsesStandWhereTheirSubjectSays(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, tc := range []struct {
		name, subject string
		in            tandemv1.Compartment
		edit          func(*tandemv1.FormResponse)
		field         string // at fault; empty: none
	}{
		{name: "a person's, by default", subject: "person"},
		{name: "a person's", subject: "person", in: inClin},
		{name: "a person's, substance use", subject: "person", in: tandemv1.Compartment_COMPARTMENT_SUD},
		{name: "a person's for everybody", subject: "person", in: inRef, field: "0/compartment"},
		{name: "a program's", subject: "program", in: inRef},
		{name: "a program's as clinical", subject: "program", field: "0/team_id"},
		{name: "the community's", subject: "community", in: inRef},
		{name: "the community's in ops", subject: "community", in: tandemv1.Compartment_COMPARTMENT_OPS, field: "0/compartment"},
		{
			name: "the community's that names a person", subject: "community", in: inRef, field: "0/compartment",
			edit: func(m *tandemv1.FormResponse) { m.PersonId = new(personA.String()) },
		},
		{
			name: "the community's that names an episode", subject: "community", in: inRef, field: "0/compartment",
			edit: func(m *tandemv1.FormResponse) { m.EpisodeId = new(personA.String()) },
		},
		{
			name: "nobody's for everybody", subject: "community", in: inRef, field: "0/compartment",
			edit: func(m *tandemv1.FormResponse) { m.Subject = nil },
		},
		{
			name: "a person's without a team", subject: "person", field: "0/team_id",
			edit: func(m *tandemv1.FormResponse) { m.TeamId = nil },
		},
	} {
		m := responseMessage(tc.subject)
		if tc.edit != nil {
			tc.edit(m)
		}
		w := createOf(t, m)
		w.Compartment = tc.in
		var fields []string
		if r := d.Check(change(w)); r != nil {
			fields = r.Fields
		}
		if tc.field == "" && len(fields) > 0 || tc.field != "" && !slices.Contains(fields, tc.field) {
			t.Errorf("%s: at fault %v, want %q", tc.name, fields, tc.field)
		}
	}
	moved := actOn(t, tandemv1.Act_ACT_SET, responseMessage("community"), func(m *tandemv1.FormResponse) { m.Subject = new("person") })
	if r := d.Check(change(moved)); r == nil || !slices.Contains(r.Fields, "0/subject") {
		t.Errorf("writing the subject anew: got %v, want it refused", r)
	}
}

// A police partner answers surveys of the community, and has no part in any other
// response.
func TestPoliceAnswerSurveysAlone(t *testing.T) {
	t.Parallel()
	create := func(subject string, c tandemv1.Compartment) *tandemv1.RecordWrite {
		w := createOf(t, responseMessage(subject))
		w.Compartment = c
		return w
	}
	answer := func(m *tandemv1.FormResponse) { m.Answers[0].Values[0].Boolean = new(false) }
	edit := func(subject string) *tandemv1.RecordWrite {
		return actOn(t, tandemv1.Act_ACT_SET, responseMessage(subject), answer)
	}
	name := actOn(t, tandemv1.Act_ACT_SET, responseMessage("community"), func(m *tandemv1.FormResponse) { m.PersonId = new(personA.String()) })
	for _, tc := range []struct {
		name string
		who  *syncengine.Principal
		does *tandemv1.RecordWrite
		on   *syncengine.Record
		want bool
	}{
		{"police asks the community", someone("le_partner"), create("community", inRef), nil, true},
		{"police assesses no program", someone("le_partner"), create("program", inRef), nil, false},
		{"police asks nobody", someone("le_partner"), create("person", 0), nil, false},
		{"police asks nobody, stated", someone("le_partner"), create("person", inClin), nil, false},
		{"police edits their survey", theAuthor("le_partner"), edit("community"), storedBy(t, author, responseMessage("community"), everybodys), true},
		{"police edits no other's survey", someone("le_partner"), edit("community"), storedBy(t, author, responseMessage("community"), everybodys), false},
		{"police edits no clinical response", theAuthor("le_partner"), edit("person"), stored(t, responseMessage("person")), false},
		{"police names nobody in a survey", theAuthor("le_partner"), name, storedBy(t, author, responseMessage("community"), everybodys), false},
		{"a clinician names nobody in a survey", theAuthor("clinician"), name, storedBy(t, author, responseMessage("community"), everybodys), false},
		{"a clinician asks a person", someone("clinician"), create("person", 0), nil, true},
		{"a peer asks a person", someone("peer"), create("person", 0), nil, true},
		{"a peer asks nobody about substance use", someone("peer"), create("person", tandemv1.Compartment_COMPARTMENT_SUD), nil, false},
		{"an admin assesses the program", someone("admin"), create("program", inRef), nil, true},
		{"an admin asks nobody", someone("admin"), create("person", 0), nil, false},
		{"an analyst asks nobody", someone("analyst"), create("community", inRef), nil, false},
	} {
		if got := may(tc.who, tc.does, tc.on); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}

// A published form is retired or voided; nothing else of it is ever written, and a draft
// is published once.
func TestPublishedFormsDoNotChange(t *testing.T) {
	t.Parallel()
	d := record.New()
	server := &syncengine.Principal{Server: true}
	ask := func(m *tandemv1.Form) { m.Definition.Items[1].Text.En = new("Better?") }
	to := func(life string) func(*tandemv1.Form) { return func(m *tandemv1.Form) { m.Lifecycle = new(life) } }
	both := func(life string) func(*tandemv1.Form) {
		return func(m *tandemv1.Form) { ask(m); to(life)(m) }
	}
	act := func(a tandemv1.Act, from string, edit func(*tandemv1.Form)) *tandemv1.RecordWrite {
		return actOn(t, a, formMessage(from), edit)
	}
	const (
		set, sign, closes    = tandemv1.Act_ACT_SET, tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_CLOSE
		void, restore, amend = tandemv1.Act_ACT_VOID, tandemv1.Act_ACT_RESTORE, tandemv1.Act_ACT_AMEND
	)
	again := act(sign, "published", ask)
	again.Writes = append(again.Writes, &tandemv1.PathWrite{Field: syncengine.FieldLifecycle, Value: syncengine.StringField(syncengine.FieldLifecycle, "published")})
	for _, tc := range []struct {
		name, from string
		does       *tandemv1.RecordWrite
		want       bool
	}{
		{"an admin edits a draft", "draft", act(set, "draft", ask), true},
		{"an admin publishes a draft", "draft", act(sign, "draft", to("published")), true},
		{"an admin publishes twice", "published", again, false},
		{"an admin amends", "published", act(amend, "published", both("amended")), false},
		{"an admin retires", "published", act(closes, "published", to("retired")), true},
		{"an admin retires and edits", "published", act(closes, "published", both("retired")), false},
		{"an admin voids", "published", act(void, "published", to("void")), true},
		{"an admin voids and edits", "published", act(void, "published", both("void")), false},
		{"an admin restores and edits", "void", act(restore, "void", both("published")), false},
		{"an admin closes a draft otherwise", "draft", act(closes, "draft", to("cleared")), false},
	} {
		for who, p := range map[string]*syncengine.Principal{"admin": someone("admin"), "operator": server} {
			if got := may(p, tc.does, stored(t, formMessage(tc.from))); got != tc.want {
				t.Errorf("%s, as %s: got %t, want %t", tc.name, who, got, tc.want)
			}
		}
	}
	// A plain write that meets a published form stays beside it.
	for _, life := range []string{"published", "retired"} {
		rec := stored(t, formMessage(life))
		applied, err := syncengine.Apply(d.KindByName("form"), rec, act(set, life, ask), syncengine.Writer{Stamp: 2, Author: author}, noHistory{})
		if err != nil {
			t.Fatal(err)
		}
		if string(applied.Record.Body) != string(rec.Body) {
			t.Errorf("a %s form was edited", life)
		}
	}
	if may(someone("clinician"), createOf(t, formMessage("draft")), nil) {
		t.Error("a clinician makes a form")
	}
	if r := d.Check(creating(t, formMessage("published"))); r == nil {
		t.Error("a form is made as published: nobody signed it")
	}
	if r := d.Check(creating(t, formMessage("draft"))); r != nil {
		t.Errorf("a draft: %v", r)
	}
}

// A signed response whose answers do not fit its form, or come to something else than it
// says, is asked about; a draft is not.
func TestResponseFitsItsForm(t *testing.T) {
	t.Parallel()
	d := record.New()
	raw, err := os.ReadFile("../../docs/packs/cssrs-screener/questionnaire.json")
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := questionnaire.Import(raw)
	if err != nil {
		t.Fatal(err)
	}
	f.Version = new(uint32(1))
	asked := stored(t, f)
	asked.ID = recordA
	look := func(id syncengine.ID) (*syncengine.Record, error) {
		if id == recordA {
			return asked, nil
		}
		return nil, nil
	}
	for _, tc := range []struct {
		name string
		edit func(*tandemv1.FormResponse)
		want bool
	}{
		{"as it was answered", func(*tandemv1.FormResponse) {}, false},
		{"another band", func(m *tandemv1.FormResponse) { m.Band = new("low") }, true},
		{"a score that there is none of", func(m *tandemv1.FormResponse) { m.Score = new(3.0) }, true},
		{"an answer is missing", func(m *tandemv1.FormResponse) { m.Answers = m.GetAnswers()[1:] }, true},
		{"no answer to the question", func(m *tandemv1.FormResponse) { m.Answers[0] = questionnaire.Answer("1", questionnaire.Words("so")) }, true},
		{"another version", func(m *tandemv1.FormResponse) { m.FormVersion = new(uint32(2)) }, true},
		{"a draft", func(m *tandemv1.FormResponse) { m.Lifecycle, m.Answers = new(record.Draft), nil }, false},
		{"a form that is not here", func(m *tandemv1.FormResponse) { m.FormId, m.Answers = new(personA.String()), nil }, false},
	} {
		m := responseMessage("person")
		m.Lifecycle, m.FormId, m.FormCode, m.FormVersion = new(record.Signed), new(recordA.String()), f.Code, f.Version
		m.Answers, m.Score, m.Band = nil, nil, new("high")
		for _, link := range []string{"1", "2", "3", "4", "5", "6"} {
			m.Answers = append(m.Answers, questionnaire.Answer(link, questionnaire.Bool(link != "6")))
		}
		tc.edit(m)
		rec := stored(t, m)
		rec.ID = encounterA
		got, err := d.ReviewAmong(rec, look, func(syncengine.ID) ([]*syncengine.Record, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		if found := slices.Contains(got, syncengine.Finding{Record: encounterA, Rule: "rule_form"}); found != tc.want {
			t.Errorf("%s: asked about %t, want %t (%v)", tc.name, found, tc.want, got)
		}
	}
}
