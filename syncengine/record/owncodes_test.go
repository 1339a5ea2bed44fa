package record_test

import (
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
)

// An agency's own codes are offered behind what they are a kind of, to its own people alone,
// while they are in use; they keep their words and count as the core code in any case.
func TestOwnCodes(t *testing.T) {
	t.Parallel()
	d := record.New()
	entry := func(code, en, es, of string, retired bool) *tandemv1.CodeEntry {
		return &tandemv1.CodeEntry{Code: &code, En: &en, Es: &es, MapsTo: &of, Retired: &retired}
	}
	own := &record.OwnCodes{}
	own.Add(&tandemv1.CodeSet{AgencyId: new("A"), List: new("disposition"), Entries: []*tandemv1.CodeEntry{
		entry("x_a_tent", "Night tent", "Carpa nocturna", "transport_shelter", false), entry("x_a_gone", "Old tent", "", "transport_shelter", true),
	}})
	own.Add(&tandemv1.CodeSet{AgencyId: new("B"), List: new("disposition"), Entries: []*tandemv1.CodeEntry{
		entry("x_b_home", "", "A casa", "resolved_on_scene", false), entry("x_a_tent", "Another", "", "resolved_on_scene", false),
	}})
	offered := func(o *record.OwnCodes, agency string) string {
		var codes []string
		for _, c := range o.Offered(d, "disposition", agency) {
			codes = append(codes, c.Code)
		}
		return " " + strings.Join(codes, " ") + " "
	}
	none := offered(nil, "A")
	if got := offered(own, "A"); got != strings.Replace(none, " transport_shelter ", " transport_shelter x_a_tent ", 1) || strings.Contains(none, record.NotRecorded) {
		t.Errorf("offered in A:%s", got)
	}
	if got := offered(own, "C"); got != none {
		t.Errorf("offered in C:%s", got)
	}
	for code, want := range map[string][3]string{
		"x_a_tent": {"Night tent", "Carpa nocturna", "transport_shelter"}, "x_a_gone": {"Old tent", "Old tent", "transport_shelter"}, "x_b_home": {"A casa", "A casa", "resolved_on_scene"},
		"x_c": {"other (x_c)", "otro (x_c)", "x_c"}, "transport_shelter": {d.Label("disposition", "transport_shelter", "en"), d.Label("disposition", "transport_shelter", "es"), "transport_shelter"},
	} {
		if got := [3]string{own.Label(d, "disposition", code, "en"), own.Label(d, "disposition", code, "es"), own.Core("disposition", code)}; got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	var nobody *record.OwnCodes
	if nobody.Core("disposition", "x_a_tent") != "x_a_tent" || nobody.Of("disposition", "") != nil || len(own.Of("disposition", "")) != 3 {
		t.Error("of nobody, or of all")
	}
}
