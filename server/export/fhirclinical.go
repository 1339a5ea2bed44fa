package export

import (
	"encoding/json"
	"fmt"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Resources of people and of what was done.

func formURL(code string) string { return "urn:tandem:form:" + code }

func versionText(n uint32) string { return fmt.Sprint(n) }

// jsonNumber is a number as it was written.
func jsonNumber(s string) any { return json.Number(s) }

const (
	raceURL      = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
	ethnicityURL = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity"
	cdcRace      = "urn:oid:2.16.840.1.113883.6.238"
)

// ombRaces are the codes of the races of OMB's directive that US Core knows.
var ombRaces = map[string]string{"aian": "1002-5", "asian": "2028-9", "black": "2054-5", "nhpi": "2076-8", "white": "2106-3"}

func (f *fhirForm) race(m *tandemv1.Person) (extensions []any) {
	var coded []any
	var said []string
	for _, c := range m.GetRaceEthnicity() {
		label := f.job.domain.Label("race_ethnicity", c, f.lang())
		if c == "hispanic" {
			extensions = append(extensions, resource{"url": ethnicityURL, "extension": []any{
				resource{"url": "ombCategory", "valueCoding": resource{"system": cdcRace, "code": "2135-2"}}, resource{"url": "text", "valueString": label},
			}})
			continue
		}
		if omb := ombRaces[c]; omb != "" {
			coded = append(coded, resource{"url": "ombCategory", "valueCoding": resource{"system": cdcRace, "code": omb}})
		}
		said = append(said, label)
	}
	if len(said) > 0 {
		extensions = append(extensions, resource{"url": raceURL, "extension": append(coded, resource{"url": "text", "valueString": strings.Join(said, ", ")})})
	}
	return extensions
}

var genders = map[string]string{"woman": "female", "man": "male", "nonbinary": "other", "another": "other"}

func (f *fhirForm) patient(id string, r *row, m *tandemv1.Person) error {
	var names, telecom, contacts, links []any
	uses := map[string]string{"legal": "official", "chosen": "usual", "alias": "nickname"}
	for _, n := range m.GetNames() {
		names = append(names, resource{"use": uses[n.GetUse()], "family": n.GetFamily(), "given": []any{n.GetGiven()}})
	}
	if len(names) == 0 && m.GetDescriptor_() != "" {
		names = []any{resource{"text": m.GetDescriptor_()}}
	}
	for _, p := range m.GetPhones() {
		telecom = append(telecom, contact4("phone", p.GetNumber()))
	}
	for _, c := range m.GetContacts() {
		contacts = append(contacts, resource{
			"name": resource{"text": c.GetName()}, "relationship": []any{resource{"text": c.GetRelation()}}, "telecom": []any{contact4("phone", c.GetPhone())},
		})
	}
	identifiers := []any{resource{"system": oursID, "value": id}}
	for _, x := range m.GetExternalIds() {
		identifiers = append(identifiers, resource{"system": "urn:tandem:external:" + escapeURI(x.GetSystem()), "value": x.GetValue()})
	}
	if into := f.ref("person", "Patient", m.GetMergedInto()); into != nil {
		links = []any{resource{"type": "replaced-by", "other": into}}
	}
	gender := genders[m.GetGender()]
	if gender == "" {
		gender = "unknown"
	}
	communication := any(nil)
	if m.GetLang() != "" {
		communication = resource{"language": resource{"coding": []any{code("urn:ietf:bcp:47", m.GetLang())}}}
	}
	res := resource{
		"identifier": identifiers, "active": m.GetLifecycle() == "active", "name": names, "telecom": telecom, "gender": gender, "birthDate": birth(m),
		"deceasedDateTime": date(m.GetDeceasedOn()), "contact": contacts, "link": links, "extension": f.race(m), "communication": []any{communication},
		"address": []any{resource{"line": []any{m.GetAddress()}, "city": m.GetCity(), "postalCode": m.GetZip5()}},
	}
	res["managingOrganization"] = f.ref("agency", "Organization", m.GetAgencyId())
	return f.put("Patient", id, r, res)
}

// escapeURI keeps what may stand in the name of a system.
func escapeURI(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`"<>\^{|}`+"`", r) {
			return r
		}
		return '-'
	}, s)
}

// birth is the day of birth as far as it is known.
func birth(m *tandemv1.Person) any {
	dob := m.GetDob()
	if bornOn(dob).IsZero() {
		return nil
	}
	switch m.GetDobPrecision() {
	case "none":
		return nil
	case "year":
		return dob[:4]
	case "month":
		return dob[:min(len(dob), 7)]
	}
	return dob
}

// dischargeTo is where HL7 says that a person went.
var dischargeTo = map[string]string{
	"resolved_on_scene": "home", "left_with_support": "home", "transport_ed_voluntary": "hosp", "transport_ed_involuntary": "hosp", "transport_medical": "hosp",
	"transport_psych_unit": "psy", "transport_crisis_center": "other-hcf", "transport_detox": "other-hcf", "refused_services": "aadvice", "left_scene": "aadvice",
	"deceased": "exp",
}

// incident is the call that an encounter was on, where it is in the set too.
func (f *fhirForm) incident(id string) *tandemv1.Incident {
	at, err := syncengine.ParseID(id)
	if err != nil || !f.hasRecord("incident", at) {
		return nil
	}
	rec, err := f.from.Record(at)
	if err != nil || rec == nil {
		return nil
	}
	msg, err := f.job.domain.Message(&rec.Record)
	if err != nil {
		return nil
	}
	m, _ := msg.(*tandemv1.Incident)
	return m
}

// hasRecord is has for what is no resource.
func (f *fhirForm) hasRecord(kind string, id syncengine.ID) bool {
	types := f.job.o.Types
	f.job.o.Types = nil
	defer func() { f.job.o.Types = types }()
	return f.has(kind, "", id)
}

func (f *fhirForm) class(m *tandemv1.Encounter, call *tandemv1.Incident) any {
	class := "FLD"
	switch m.GetType() {
	case "telehealth", "consult_only":
		class = "VR"
	case "office":
		class = "AMB"
	default:
		if f.job.own.Core("place_type", call.GetPlaceType()) == "home" {
			class = "HH"
		}
	}
	return code(actCode, class)
}

func (f *fhirForm) encounter(id string, r *row, m *tandemv1.Encounter) error {
	call := f.incident(m.GetIncidentId())
	status := signedStatus(m.GetLifecycle(), "in-progress", "finished", "finished")
	identifiers := []any{resource{"system": oursID, "value": id}}
	var participants []any
	if m.GetIncidentId() != "" {
		identifiers = append(identifiers, resource{"system": "urn:tandem:incident", "value": m.GetIncidentId()})
	}
	if by := f.ref("staff", "Practitioner", m.GetSignedBy()); by != nil {
		participants = append(participants, resource{"individual": by})
	}
	for _, p := range call.GetResponders() {
		who := f.ref("staff", "Practitioner", p.GetStaffId())
		if who == nil {
			who = named("Practitioner", p.GetName())
		}
		participants = append(participants, resource{"individual": who, "type": []any{f.concept("discipline", p.GetOnSceneRole())}})
	}
	reasons := append([]any{f.concept("presenting", m.GetPresentingPrimary())}, f.concepts("presenting", m.GetPresentingOther())...)
	hospitalization := any(nil)
	if d := m.GetDisposition(); d != "" {
		to := dischargeTo[f.job.own.Core("disposition", d)]
		if to == "" {
			to = "oth"
		}
		hospitalization = resource{"dischargeDisposition": f.concept("disposition", d, code(hl7+"discharge-disposition", to))}
	}
	episode := f.ref("episode", "EpisodeOfCare", m.GetEpisodeId())
	if err := f.put("Encounter", id, r, resource{
		"identifier": identifiers, "status": status, "class": f.class(m, call), "type": []any{f.concept("encounter_type", m.GetType())},
		"subject": f.subject(m.GetPersonId()), "episodeOfCare": []any{episode}, "participant": participants,
		"period": span(moment(m.GetStartedAt(), r), moment(m.GetEndedAt(), r)), "reasonCode": reasons, "hospitalization": hospitalization,
		"serviceProvider": f.ref("agency", "Organization", m.GetAgencyId()),
	}); err != nil {
		return err
	}
	return f.contact(id, r, m)
}

// contact writes what hangs on an encounter.
func (f *fhirForm) contact(id string, r *row, m *tandemv1.Encounter) error {
	status := signedStatus(m.GetLifecycle(), "preliminary", "final", "amended")
	subject, at := func() any { return f.subject(m.GetPersonId()) }, func() any { return f.ref("encounter", "Encounter", id) }
	for _, o := range []struct{ name, list, value string }{
		{"danger_self", "danger", m.GetDangerSelf()},
		{"danger_others", "danger", m.GetDangerOthers()},
		{"cannot_care_for_self", "no_unknown_yes", m.GetCannotCareForSelf()},
		{"substance", "substance", m.GetSubstance()},
		{"housing", "housing", m.GetHousing()},
		{"legal_status", "legal_status", m.GetLegalStatus()},
		{"cf_ed", "counterfactual", m.GetCfEd()},
		{"cf_arrest", "counterfactual", m.GetCfArrest()},
		{"cf_hold", "counterfactual", m.GetCfHold()},
	} {
		if o.value == "" {
			continue
		}
		if err := f.put("Observation", id+"-"+strings.ReplaceAll(o.name, "_", "-"), r, resource{
			"status": status, "code": f.field("encounter", o.name), "subject": subject(), "encounter": at(), "effectiveDateTime": moment(m.GetStartedAt(), r),
			"valueCodeableConcept": f.concept(o.list, o.value),
		}); err != nil {
			return err
		}
	}
	done := signedStatus(m.GetLifecycle(), "in-progress", "completed", "completed")
	for _, c := range m.GetInterventions() {
		if err := f.put("Procedure", id+"-"+idPart(c), r, resource{
			"status": done, "code": f.concept("intervention", c), "subject": subject(), "encounter": at(), "performedDateTime": moment(m.GetStartedAt(), r),
		}); err != nil {
			return err
		}
	}
	if m.GetNarrative() != "" {
		if err := f.document(id+"-narrative", r, m.GetLifecycle(), resource{
			"type": f.field("encounter", "narrative"), "subject": subject(), "context": resource{"encounter": []any{at()}},
		}, "text/plain; charset=utf-8", m.GetNarrative()); err != nil {
			return err
		}
	}
	return f.provenance("Encounter", "encounter", id, r, m.GetSignedBy(), m.GetSignedAt())
}

// idPart is a code as it may stand in an id.
func idPart(code string) string {
	s := strings.ReplaceAll(code, "_", "-")
	return s[:min(len(s), 36)]
}

// field names a field of ours as a code.
func (f *fhirForm) field(kind, field string) any {
	return resource{
		"coding": []any{resource{"system": "urn:tandem:field:" + kind, "code": field}},
		"text":   f.job.domain.FieldLabel(kind, field, f.lang()),
	}
}

// document writes a text.
func (f *fhirForm) document(id string, r *row, state string, res resource, media, content string) error {
	res["status"], res["date"] = "current", exactly(&tandemv1.Instant{AtMs: new(r.stamps.GetAtMs())}, r)
	if state == "void" {
		res["status"] = "entered-in-error"
	}
	switch state {
	case "draft":
		res["docStatus"] = "preliminary"
	case "amended":
		res["docStatus"] = "amended"
	case "signed":
		res["docStatus"] = "final"
	}
	res["content"] = []any{resource{"attachment": resource{"contentType": media, "data": base64Text(content)}}}
	return f.put("DocumentReference", id, r, res)
}

// provenance says who signed the revision that the set holds.
func (f *fhirForm) provenance(typ, kind, id string, r *row, by string, at *tandemv1.Instant) error {
	who := f.ref("staff", "Practitioner", by)
	if r.stamps.GetRev() == 0 || who == nil || at.GetAtMs() == 0 {
		return nil
	}
	activity := "CREATE"
	if r.stamps.GetRev() > 1 {
		activity = "UPDATE"
	}
	return f.put("Provenance", fmt.Sprintf("%s-rev-%d", id, r.stamps.GetRev()), r, resource{
		"target": []any{f.ref(kind, typ, id)}, "recorded": exactly(at, r), "agent": []any{resource{"who": who}},
		"activity": resource{"coding": []any{code(hl7+"v3-DataOperation", activity)}},
	})
}

func (f *fhirForm) episode(id string, r *row, m *tandemv1.Episode) error {
	status := "active"
	switch m.GetLifecycle() {
	case "on_hold":
		status = "onhold"
	case "closed":
		status = "finished"
	case "void":
		status = "entered-in-error"
	}
	if m.GetCloseReason() == "entered_in_error" {
		status = "entered-in-error"
	}
	period := func() any { return span(moment(m.GetOpenedAt(), r), moment(m.GetClosedAt(), r)) }
	if err := f.put("EpisodeOfCare", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}}, "status": status, "patient": f.subject(m.GetPersonId()), "period": period(),
		"managingOrganization": f.ref("agency", "Organization", m.GetAgencyId()), "careManager": f.ref("staff", "Practitioner", m.GetLeadStaffId()),
		"type": []any{f.concept("risk_level", m.GetRiskAtOpen())},
	}); err != nil || m.GetGoals() == "" {
		return err
	}
	plans := map[string]string{"active": "active", "onhold": "on-hold", "finished": "completed", "entered-in-error": "entered-in-error"}
	return f.put("CarePlan", id, r, resource{
		"status": plans[status], "intent": "plan", "subject": f.subject(m.GetPersonId()), "description": m.GetGoals(), "period": period(),
	})
}

func (f *fhirForm) followUp(id string, r *row, m *tandemv1.FollowUp) error {
	status := map[string]string{"planned": "requested", "done": "completed", "missed": "failed", "cancelled": "cancelled", "void": "entered-in-error"}[m.GetLifecycle()]
	if status == "" {
		status = "requested"
	}
	if err := f.put("Task", id, r, resource{
		"status": status, "businessStatus": f.concept("lifecycle_follow_up", m.GetLifecycle()), "intent": "plan", "description": "Follow-up",
		"focus": f.ref("episode", "EpisodeOfCare", m.GetEpisodeId()), "for": f.subject(m.GetPersonId()), "authoredOn": created(r),
		"owner": f.ref("staff", "Practitioner", m.GetStaffId()), "executionPeriod": span(moment(m.GetOccurredAt(), r), moment(m.GetOccurredAt(), r)),
		"restriction": resource{"period": resource{"end": moment(m.GetDueAt(), r)}}, "statusReason": f.concept("follow_up_outcome", m.GetOutcome()),
	}); err != nil || m.GetLifecycle() != "done" {
		return err
	}
	var payload []any
	if m.GetNote() != "" {
		payload = []any{resource{"contentString": m.GetNote()}}
	}
	return f.put("Communication", id, r, resource{
		"status": "completed", "basedOn": []any{f.ref("follow_up", "Task", id)}, "subject": f.subject(m.GetPersonId()), "sent": moment(m.GetOccurredAt(), r),
		"medium": []any{f.concept("follow_up_mode", m.GetMode())}, "sender": f.ref("staff", "Practitioner", m.GetStaffId()),
		"reasonCode": []any{f.concept("follow_up_outcome", m.GetOutcome())}, "payload": payload,
	})
}

// requestStatus is what a referral's state and outcome are as ServiceRequest and Task.
func requestStatus(m *tandemv1.Referral) (request, task, ours string) {
	if m.GetLifecycle() == "void" {
		return "entered-in-error", "entered-in-error", "void"
	}
	switch m.GetState() {
	case "sent", "acknowledged":
		return "active", "requested", m.GetState()
	case "accepted":
		return "active", "accepted", m.GetState()
	case "waitlisted":
		return "on-hold", "on-hold", m.GetState()
	case "scheduled":
		return "active", "in-progress", m.GetState()
	case "closed":
		switch m.GetOutcome() {
		case "connected":
			return "completed", "completed", m.GetOutcome()
		case "declined_by_provider", "ineligible", "no_capacity":
			return "revoked", "rejected", m.GetOutcome()
		case "declined_by_person", "withdrawn", "expired":
			return "revoked", "cancelled", m.GetOutcome()
		}
		return "revoked", "failed", m.GetOutcome()
	}
	return "draft", "draft", m.GetState()
}

func (f *fhirForm) referral(id string, r *row, m *tandemv1.Referral) error {
	request, task, ours := requestStatus(m)
	to := f.ref("resource", "HealthcareService", m.GetResourceId())
	if to == nil {
		to = named("HealthcareService", m.GetTargetText())
	}
	authored := created(r)
	for _, e := range m.GetEvents() {
		if at := moment(e.GetAt(), r); at != nil {
			authored = at
			break
		}
	}
	detail := []any(nil)
	if m.GetDoNotContactSubject() {
		detail = []any{f.field("referral", "do_not_contact_subject")}
	}
	priority := map[string]string{"now": "stat", "days_3": "urgent"}[m.GetUrgency()]
	if priority == "" {
		priority = "routine"
	}
	if err := f.put("ServiceRequest", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}}, "status": request, "intent": "order", "priority": priority,
		"code": f.concept("need", m.GetNeed()), "subject": f.subject(m.GetPersonId()), "encounter": f.ref("encounter", "Encounter", m.GetEncounterId()),
		"authoredOn": authored, "performer": []any{to}, "supportingInfo": []any{f.ref("consent", "Consent", m.GetConsentId())}, "orderDetail": detail,
	}); err != nil {
		return err
	}
	list := "referral_state"
	switch {
	case ours == "void":
		list = "lifecycle_referral"
	case m.GetState() == "closed":
		list = "referral_outcome"
	}
	reason := any(nil)
	if task == "rejected" || task == "cancelled" || task == "failed" || task == "on-hold" {
		reason = resource{"text": f.job.domain.Label(list, ours, f.lang())}
		if ours == "" {
			reason = resource{"text": f.job.domain.Label("referral_outcome", "unknown", f.lang())}
		}
	}
	return f.put("Task", id, r, resource{
		"status": task, "businessStatus": f.concept(list, ours), "statusReason": reason, "intent": "order",
		"code":  resource{"coding": []any{code("http://hl7.org/fhir/CodeSystem/task-code", "fulfill")}},
		"focus": f.ref("referral", "ServiceRequest", id), "for": f.subject(m.GetPersonId()), "authoredOn": authored, "owner": to,
		"requester": f.ref("agency", "Organization", m.GetAgencyId()),
	})
}

func (f *fhirForm) note(id string, r *row, m *tandemv1.Note) error {
	res := resource{"type": f.concept("note_type", m.GetType()), "author": []any{f.ref("staff", "Practitioner", m.GetSignedBy())}}
	switch target := m.GetTarget(); target.GetKind() {
	case "person":
		res["subject"] = f.subject(target.GetId())
	case "encounter":
		res["context"] = resource{"encounter": []any{f.ref("encounter", "Encounter", target.GetId())}}
	case "episode":
		res["context"] = resource{"encounter": []any{f.ref("episode", "EpisodeOfCare", target.GetId())}}
	}
	if to := f.ref("note", "DocumentReference", m.GetParentId()); to != nil {
		res["relatesTo"] = []any{resource{"code": "appends", "target": to}}
	}
	if err := f.document(id, r, m.GetLifecycle(), res, "text/plain; charset=utf-8", m.GetText()); err != nil {
		return err
	}
	return f.provenance("DocumentReference", "note", id, r, m.GetSignedBy(), m.GetSignedAt())
}

// mediaTypes are those of attachments.
var mediaTypes = map[string]string{"pdf": "application/pdf", "jpeg": "image/jpeg", "png": "image/png", "m4a": "audio/mp4", "txt": "text/plain"}

func (f *fhirForm) attachment(id string, r *row, m *tandemv1.Attachment) error {
	status := map[string]string{"void": "entered-in-error", "superseded": "superseded"}[m.GetLifecycle()]
	if status == "" {
		status = "current"
	}
	res := resource{
		"status": status, "type": f.concept("attachment_category", m.GetCategory()), "date": exactly(&tandemv1.Instant{AtMs: new(r.stamps.GetAtMs())}, r),
		"content": []any{resource{"attachment": resource{"contentType": mediaTypes[m.GetMediaType()], "title": m.GetTitle(), "size": m.GetSize()}}},
	}
	switch owner := m.GetOwner(); owner.GetKind() {
	case "person":
		res["subject"] = f.subject(owner.GetId())
	case "encounter":
		res["context"] = resource{"encounter": []any{f.ref("encounter", "Encounter", owner.GetId())}}
	}
	return f.put("DocumentReference", id, r, res)
}

func (f *fhirForm) response(id string, r *row, m *tandemv1.FormResponse) error {
	var items []any
	for _, a := range m.GetAnswers() {
		var answers []any
		for _, v := range a.GetValues() {
			answers = append(answers, answer(v))
		}
		items = append(items, resource{"linkId": a.GetLinkId(), "answer": answers})
	}
	subject := any(nil)
	switch {
	case m.GetPersonId() != "":
		subject = f.subject(m.GetPersonId())
	case m.GetSubject() == "program":
		subject = f.ref("program", "HealthcareService", m.GetProgramId())
	case m.GetStaffId() != "":
		subject = f.ref("staff", "Practitioner", m.GetStaffId())
	}
	at := moment(m.GetAnsweredAt(), r)
	encounter := func() any { return f.ref("encounter", "Encounter", m.GetEncounterId()) }
	canonical := any(nil)
	if m.GetFormCode() != "" {
		canonical = formURL(escapeURI(m.GetFormCode())) + "|" + versionText(m.GetFormVersion())
	}
	if err := f.put("QuestionnaireResponse", id, r, resource{
		"identifier": resource{"system": oursID, "value": id}, "questionnaire": canonical,
		"status":  signedStatus(m.GetLifecycle(), "in-progress", "completed", "amended"),
		"subject": subject, "encounter": encounter(), "authored": at, "author": f.ref("staff", "Practitioner", m.GetSignedBy()), "item": items,
	}); err != nil {
		return err
	}
	if m.Score != nil {
		interpretation := []any(nil)
		if m.GetBand() != "" {
			interpretation = []any{resource{"text": m.GetBand()}}
		}
		if err := f.put("Observation", id+"-score", r, resource{
			"status": signedStatus(m.GetLifecycle(), "preliminary", "final", "amended"), "code": f.field("form_response", "score"), "subject": subject,
			"encounter": encounter(), "effectiveDateTime": at, "valueQuantity": resource{"value": m.GetScore()}, "interpretation": interpretation,
			"derivedFrom": []any{f.ref("form_response", "QuestionnaireResponse", id)},
		}); err != nil {
			return err
		}
	}
	return f.provenance("QuestionnaireResponse", "form_response", id, r, m.GetSignedBy(), m.GetSignedAt())
}

// answer is one value that was answered.
func answer(v *tandemv1.FormValue) any {
	switch {
	case v.Boolean != nil:
		return resource{"valueBoolean": v.GetBoolean()}
	case v.Integer != nil:
		if n := v.GetInteger(); n == int64(int32(n)) {
			return resource{"valueInteger": n}
		}
		return resource{"valueString": fmt.Sprint(v.GetInteger())}
	case v.Decimal != nil:
		if json.Valid([]byte(v.GetDecimal())) && strings.Trim(v.GetDecimal(), "-0123456789.eE") == "" {
			return resource{"valueDecimal": json.Number(v.GetDecimal())}
		}
		return resource{"valueString": v.GetDecimal()}
	case v.Date != nil:
		if date(v.GetDate()) != nil {
			return resource{"valueDate": v.GetDate()}
		}
		return resource{"valueString": v.GetDate()}
	case v.DateTime != nil:
		return resource{"valueString": v.GetDateTime()}
	case v.Code != nil:
		return resource{"valueCoding": resource{"code": v.GetCode()}}
	case v.Text != nil:
		return resource{"valueString": v.GetText()}
	}
	return nil
}

func (f *fhirForm) consent(id string, r *row, m *tandemv1.Consent) error {
	status := map[string]string{"active": "active", "declined": "rejected", "expired": "inactive", "revoked": "inactive", "void": "entered-in-error"}[m.GetLifecycle()]
	if status == "" {
		status = "active"
	}
	scope := "patient-privacy"
	if m.GetType() == "treatment" {
		scope = "treatment"
	}
	decision := map[string]string{"given": "permit", "declined": "deny"}[m.GetDecision()]
	var actors []any
	for _, to := range m.GetRecipients() {
		who := f.ref("agency", "Organization", to.GetAgencyId())
		if who == nil {
			who = f.ref("resource", "HealthcareService", to.GetResourceId())
		}
		if who == nil {
			who = named("Organization", to.GetName())
		}
		actors = append(actors, resource{"role": resource{"coding": []any{code(hl7+"v3-ParticipationType", "IRCP")}}, "reference": who})
	}
	purpose := []any(nil)
	if m.GetPurpose() != "" {
		purpose = []any{resource{"system": "urn:tandem:purpose", "display": m.GetPurpose()}}
	}
	return f.put("Consent", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}}, "status": status, "scope": resource{"coding": []any{code(hl7+"consentscope", scope)}},
		"category": []any{f.concept("consent_type", m.GetType(), code(loinc, "59284-0"))}, "patient": f.subject(m.GetPersonId()), "dateTime": date(m.GetGivenOn()),
		"organization": []any{f.ref("agency", "Organization", m.GetAgencyId())}, "policyRule": resource{"coding": []any{code(actCode, "OPTIN")}},
		"provision": resource{"type": decision, "period": span(date(m.GetGivenOn()), date(m.GetExpiresOn())), "actor": actors, "purpose": purpose},
	})
}

func (f *fhirForm) disclosure(id string, r *row, m *tandemv1.Disclosure) error {
	agent := resource{"requestor": true, "who": f.ref("staff", "Practitioner", m.GetBy())}
	to := resource{"requestor": false, "name": m.GetRecipient()}
	entity := any(nil)
	if m.GetPersonId() != "" {
		entity = resource{"what": f.subject(m.GetPersonId())}
	}
	return f.put("AuditEvent", id, r, resource{
		"type": code("http://dicom.nema.org/resources/ontology/DCM", "110106"), "subtype": f.codings("disclosed_field", m.GetWhat()), "action": "R", "outcome": "0",
		"recorded": exactly(orCreated(m.GetAt(), r), r), "agent": []any{agent, to}, "source": resource{"observer": resource{"display": "Tandem"}},
		"purposeOfEvent": []any{f.concept("disclosure_basis", m.GetBasis())}, "entity": []any{entity},
	})
}

func (f *fhirForm) codings(list string, codes []string) (all []any) {
	for _, c := range codes {
		all = append(all, f.coding(list, c))
	}
	return all
}

// orCreated is a moment, or that in which the record was made.
func orCreated(at *tandemv1.Instant, r *row) *tandemv1.Instant {
	if at.GetAtMs() != 0 {
		return at
	}
	return &tandemv1.Instant{AtMs: new(r.stamps.GetAtMs())}
}

func (f *fhirForm) flag(id string, r *row, m *tandemv1.SafetyAlert) error {
	status := map[string]string{"active": "active", "void": "entered-in-error"}[m.GetLifecycle()]
	if status == "" {
		status = "inactive"
	}
	about, _ := f.concept("alert_category", m.GetCategory()).(resource)
	if about == nil {
		about = resource{}
	}
	about["text"] = m.GetText()
	if m.GetText() == "" && m.GetCategory() == "" {
		about["text"] = f.job.domain.KindLabel("safety_alert", f.lang())
	}
	return f.put("Flag", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}}, "status": status, "code": about, "subject": f.subject(m.GetPersonId()),
		"category": []any{resource{"coding": []any{code(hl7+"flag-category", "safety")}}}, "period": span(moment(m.GetApprovedAt(), r), date(m.GetExpiresOn())),
		"author": f.ref("staff", "Practitioner", m.GetApprovedBy()),
	})
}
