package record_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
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
		entry("x_a_tent", "Night tent", "Carpa nocturna", "left_with_support", false), entry("x_a_gone", "Old tent", "", "left_with_support", true),
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
	if got := offered(own, "A"); got != strings.Replace(none, " left_with_support ", " left_with_support x_a_tent ", 1) || strings.Contains(none, record.NotRecorded) {
		t.Errorf("offered in A:%s", got)
	}
	if got := offered(own, "C"); got != none {
		t.Errorf("offered in C:%s", got)
	}
	for code, want := range map[string][3]string{
		"x_a_tent": {"Night tent", "Carpa nocturna", "left_with_support"}, "x_a_gone": {"Old tent", "Old tent", "left_with_support"}, "x_b_home": {"A casa", "A casa", "resolved_on_scene"},
		"x_c": {"other (x_c)", "otro (x_c)", "x_c"}, "left_with_support": {d.Label("disposition", "left_with_support", "en"), d.Label("disposition", "left_with_support", "es"), "left_with_support"},
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

// What the rules name has no kinds of an agency's own, for the rules would not see them: such
// codes, where an agency has them, are neither offered nor taken, and count all the same.
func TestRulesSeeEveryCode(t *testing.T) {
	t.Parallel()
	d, own, list := record.New(), &record.OwnCodes{}, "disposition"
	own.Add(&tandemv1.CodeSet{AgencyId: new("A"), List: &list, Entries: []*tandemv1.CodeEntry{
		{Code: new("x_a_hold"), En: new("Hold"), MapsTo: new("transport_ed_involuntary")}, {Code: new("x_a_home"), En: new("Home"), MapsTo: new("resolved_on_scene")},
	}})
	for code, taken := range map[string]bool{"x_a_hold": false, "x_a_home": true, "transport_ed_involuntary": true} {
		if got := slices.ContainsFunc(own.Offered(d, list, "A"), func(c record.Code) bool { return c.Code == code }); got != taken {
			t.Errorf("%s is offered: %v", code, got)
		}
		problems := d.Validate(&tandemv1.Encounter{Disposition: &code, LegalStatus: new("voluntary")}, record.Entry{Own: own, Agency: "A"})
		if got := !slices.ContainsFunc(problems, func(p record.Problem) bool { return p.Rule == record.RuleOffered }); got != taken {
			t.Errorf("%s is taken: %v", code, got)
		}
	}
	if own.Core(list, "x_a_hold") != "transport_ed_involuntary" {
		t.Error("what stands there does not count")
	}
	// The words of the rules themselves.
	seen := map[string]bool{}
	for _, name := range []string{"review.go", "required.go", "among.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				seen[text] = true
			}
			return true
		})
	}
	// What the rules name of another list, or as words.
	elsewhere := []string{"call_type.transport_request", "call_type.outreach", "presenting.psychosis"}
	for _, list := range record.Extendable {
		for _, c := range d.Codes(list) {
			named := seen[c.Code]
			for text := range seen {
				named = named || strings.HasSuffix(text, "_") && strings.HasPrefix(c.Code, text)
			}
			if named != record.Ruled(list, c.Code) && !slices.Contains(elsewhere, list+"."+c.Code) {
				t.Errorf("%s of the list %s: rules name it: %v", c.Code, list, named)
			}
		}
	}
}
