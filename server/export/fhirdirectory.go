package export

import (
	"encoding/base64"
	"iter"
	"maps"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Resources of reference data.

func keysOf(m map[string]bool) iter.Seq[string] { return maps.Keys(m) }

func (f *fhirForm) agency(id string, r *row, m *tandemv1.Agency) error {
	return f.put("Organization", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}},
		"active":     m.GetLifecycle() == "active", "name": m.GetName(), "type": []any{f.concept("agency_type", m.GetType())},
		"address": []any{resource{"state": m.GetState()}},
	})
}

func (f *fhirForm) team(id string, r *row, m *tandemv1.Team) error {
	var members []any
	for _, who := range m.GetMemberIds() {
		members = append(members, resource{"member": f.ref("staff", "Practitioner", who)})
	}
	status := "active"
	if m.GetLifecycle() != "active" {
		status = "inactive"
	}
	return f.put("CareTeam", id, r, resource{
		"status": status, "name": m.GetName(), "participant": members, "managingOrganization": []any{f.ref("agency", "Organization", m.GetAgencyId())},
	})
}

func (f *fhirForm) staff(id string, r *row, m *tandemv1.Staff) error {
	active := m.GetLifecycle() == "active"
	if err := f.put("Practitioner", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}}, "active": active, "name": []any{resource{"text": m.GetDisplayName()}},
	}); err != nil {
		return err
	}
	codes := []any{f.concept("discipline", m.GetDiscipline())}
	return f.put("PractitionerRole", id, r, resource{
		"active": active, "practitioner": f.ref("staff", "Practitioner", id), "organization": f.ref("agency", "Organization", m.GetAgencyId()),
		"code": append(codes, f.concepts("staff_role", m.GetRoles())...),
	})
}

func (f *fhirForm) service(id string, r *row, m *tandemv1.Resource) error {
	at := any(nil)
	if m.GetAddress() != "" || m.GetCity() != "" || m.GetLat() != 0 {
		position := any(nil)
		if m.Lat != nil && m.Lon != nil {
			position = resource{"latitude": m.GetLat(), "longitude": m.GetLon()}
		}
		if err := f.put("Location", id, r, resource{
			"status": "active", "name": m.GetOrgName(), "position": position,
			"address": resource{"line": []any{m.GetAddress()}, "city": m.GetCity(), "postalCode": m.GetZip5()},
		}); err != nil {
			return err
		}
		at = f.ref("resource", "Location", id)
	}
	var telecom []any
	for _, p := range m.GetPhones() {
		system := "phone"
		switch p.GetType() {
		case "fax":
			system = "fax"
		case "text":
			system = "sms"
		}
		telecom = append(telecom, contact4(system, p.GetNumber()))
	}
	telecom = append(telecom, contact4("email", m.GetEmail()), contact4("url", m.GetUrl()))
	return f.put("HealthcareService", id, r, resource{
		"identifier": []any{resource{"system": oursID, "value": id}},
		"active":     m.GetLifecycle() == "active" && m.GetStatus() != "defunct", "name": words(m.GetServiceName(), f.lang()),
		"type": f.concepts("need", m.GetCategory()), "providedBy": named("Organization", m.GetOrgName()), "location": []any{at},
		"comment": m.GetDescription(), "extraDetails": m.GetAlert(), "telecom": telecom,
	})
}

// named is a reference to what is no resource of the set.
func named(typ, name string) any {
	if name == "" {
		return nil
	}
	return resource{"type": typ, "display": name}
}

// contact4 is a ContactPoint.
func contact4(system, value string) any {
	if value == "" {
		return nil
	}
	return resource{"system": system, "value": value}
}

// itemTypes are FHIR's names of the types of questions.
var itemTypes = map[string]string{"date_time": "dateTime", "open_choice": "open-choice"}

func (f *fhirForm) questionnaire(id string, r *row, m *tandemv1.Form) error {
	status := "active"
	switch m.GetLifecycle() {
	case "draft":
		status = "draft"
	case "retired", "void":
		status = "retired"
	}
	return f.put("Questionnaire", id, r, resource{
		"url": formURL(escapeURI(m.GetCode())), "version": versionText(m.GetVersion()), "status": status, "title": words(m.GetTitle(), f.lang()),
		"description": formText(m.GetDescription(), f.lang()), "copyright": m.GetLicence(), "item": f.items(m.GetDefinition().GetItems(), ""),
	})
}

// items are those below a group, in their order.
func (f *fhirForm) items(all []*tandemv1.FormItem, parent string) (items []any) {
	for _, i := range all {
		if i.GetParent() != parent || i.GetLinkId() == "" || i.GetLinkId() == parent {
			continue
		}
		typ := i.GetType()
		if t, ok := itemTypes[typ]; ok {
			typ = t
		} else if !f.job.domain.HasCode("form_item_type", typ) {
			typ = "string"
		}
		item := resource{"linkId": i.GetLinkId(), "text": formText(i.GetText(), f.lang()), "prefix": i.GetPrefix(), "type": typ, "item": f.items(all, i.GetLinkId())}
		if typ != "display" {
			item["required"] = i.GetRequired()
		}
		if i.GetRepeats() && typ != "display" {
			item["repeats"] = true
		}
		if n := i.GetMaxLength(); n > 0 && (typ == "string" || typ == "text" || typ == "open-choice") {
			item["maxLength"] = n
		}
		if strings.Contains(typ, "choice") {
			var options []any
			for _, o := range i.GetOptions() {
				options = append(options, f.option(m4(o)))
			}
			item["answerOption"] = options
		}
		items = append(items, item)
	}
	return items
}

func m4(o *tandemv1.FormOption) (string, string, string, *tandemv1.FormText) {
	return o.GetKind(), o.GetSystem(), o.GetCode(), o.GetText()
}

func (f *fhirForm) option(kind, system, value string, text *tandemv1.FormText) any {
	switch kind {
	case "string":
		return resource{"valueString": value}
	case "date":
		if date(value) != nil {
			return resource{"valueDate": value}
		}
	case "integer":
		if n := digits(value); n > 0 && n < 10 {
			return resource{"valueInteger": jsonNumber(value)}
		}
	}
	return resource{"valueCoding": resource{"system": system, "code": value, "display": formText(text, f.lang())}}
}

func formText(t *tandemv1.FormText, lang string) string {
	return words(&tandemv1.LocalizedText{En: new(t.GetEn()), Es: new(t.GetEs())}, lang)
}

// base64Text is a text as an attachment holds it.
func base64Text(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
