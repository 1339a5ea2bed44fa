package app_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// ownCodes adds codes of an agency to a list.
func (o *office) ownCodes(agency syncengine.ID, list string, entries ...*tandemv1.CodeEntry) (set, ada syncengine.ID) {
	o.tb.Helper()
	ada, err := o.admin.AddStaff(o.tb.Context(), server.StaffOptions{Name: "Ada Admin", Discipline: "other", Roles: []string{"admin"}, Agency: agency})
	if err != nil {
		o.tb.Fatal(err)
	}
	for i, e := range entries {
		e.Element = []byte{1, 2, 3, 4, 5, 6, 7, byte(i)}
	}
	if _, err := o.admin.Change(o.tb.Context(), ada, func(c *server.Composer) error {
		var err error
		set, err = c.Create(&tandemv1.CodeSet{AgencyId: new(agency.String()), Lifecycle: new("active"), Schema: new(uint32(syncengine.Schema)), List: &list, Entries: entries})
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
	return set, ada
}

func codeEntry(code, en, es, of string, retired bool) *tandemv1.CodeEntry {
	return &tandemv1.CodeEntry{Code: &code, En: &en, Es: &es, MapsTo: &of, Retired: &retired}
}

// A service is found by an agency's own need where it is for what that is a kind of.
func TestOwnNeedFindsPlaces(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.ownCodes(o.clinic, "need", codeEntry("x_ex_cot", "A cot", "Un catre", "shelter", false))
	if _, err := o.admin.ImportDirectory(t.Context(), o.clinic, []*tandemv1.Resource{{
		ServiceName: &tandemv1.LocalizedText{En: new("Harbor Beds")}, OrgName: new("Example House"), Category: []string{"shelter"}, Status: new("active"),
		HsdsIds: []*tandemv1.ExternalKey{{Element: []byte("kkkkkkkk"), Table: new("service"), Value: new("a")}},
	}}, false); err != nil {
		t.Fatal(err)
	}
	a := o.ask(o.maya)
	for need, found := range map[string]bool{"shelter": true, "x_ex_cot": true, "food": false} {
		if got := strings.Contains(a.get("directory?need="+need), "Harbor Beds"); got != found {
			t.Errorf("%s finds the place: %v", need, got)
		}
	}
}

// The codes that the person's own agency has added stand in the lists of the forms behind what
// they are a kind of, in both languages, and are read as words wherever they were chosen;
// those of another agency and those out of use are not offered.
func TestOwnCodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.ownCodes(o.clinic, "call_type", codeEntry("x_ex_river", "River call", "Llamada del río", "welfare_check", false), codeEntry("x_ex_old", "Old call", "Llamada vieja", "welfare_check", true))
	set, ada := o.ownCodes(o.clinic, "disposition", codeEntry("x_ex_tent", "Night tent", "Carpa nocturna", "left_with_support", false), codeEntry("x_ex_barn", "The barn", "El granero", "resolved_on_scene", false),
		codeEntry("x_ex_hold", "Own hold", "Retención propia", "transport_ed_involuntary", false))
	o.ownCodes(o.police, "disposition", codeEntry("x_po_cell", "Police matter", "Asunto policial", "resolved_on_scene", false))
	a := o.ask(o.maya)
	today := a.get("today")
	if !strings.Contains(today, "River call") || strings.Contains(today, "Old call") {
		t.Error("the first page does not offer the agency's own call type, or one out of use")
	}
	if got := a.post("call", url.Values{"type": {"x_ex_river"}}); got.Code != 303 {
		t.Fatalf("a call of that type: %d %s", got.Code, got.Body)
	}
	calls, err := a.dev.List(t.Context(), "incident", client.Filter{}, client.Newest, 5)
	if err != nil || len(calls) != 1 {
		t.Fatalf("%d calls, %v", len(calls), err)
	}
	m, _ := calls[0].Message.(*tandemv1.Incident)
	if m.GetCallType() != "x_ex_river" || !strings.Contains(a.get("today"), "River call") {
		t.Errorf("the call is %v", m)
	}
	at := &tandemv1.Instant{AtMs: new(int64(1790000000000)), Origin: new("tap")}
	met := a.make(&tandemv1.Encounter{IncidentId: new(calls[0].ID.String()), Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at, Disposition: new("x_ex_barn")}).String()
	if _, err := a.dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Encounter{IncidentId: new(calls[0].ID.String()), Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at, Disposition: new("x_po_cell")})
		return err
	}); err == nil {
		t.Error("a choice that another agency offers is taken")
	}
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := o.admin.Change(t.Context(), ada, func(c *server.Composer) error {
		rec, msg, err := c.Record(set)
		if m, ok := msg.(*tandemv1.CodeSet); ok {
			for _, e := range m.GetEntries() {
				e.Retired = new(e.GetCode() == "x_ex_barn")
			}
			return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	chips := func(page string) string {
		text := page[strings.Index(page, `id="f-disposition"`):]
		return text[:strings.Index(text, "</fieldset>")]
	}
	page := chips(a.get("encounter/" + met))
	order := regexp.MustCompile(`value="(left_with_support|x_ex_tent)"`).FindAllStringSubmatch(page, -1)
	if len(order) != 2 || order[0][1] != "left_with_support" || !strings.Contains(page, "<span>Night tent</span>") || strings.Contains(page, "Own hold") {
		t.Errorf("what is offered: %s", page)
	}
	// What stands there stays choosable, in its words.
	if !strings.Contains(page, `value="x_ex_barn" checked><span>The barn</span>`) {
		t.Errorf("what is not offered any more: %s", page)
	}
	a.post("settings/lang", url.Values{"lang": {"es"}})
	if page := chips(a.get("encounter/" + met)); !strings.Contains(page, "<span>Carpa nocturna</span>") {
		t.Errorf("in Spanish: %s", page)
	}
	// The server takes it, and keeps it.
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := a.dev.Status(t.Context()); err != nil || s.Queued != 0 || s.NotAccepted != 0 {
		t.Errorf("after the sync: %+v, %v", s, err)
	}
}
