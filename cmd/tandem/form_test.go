package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// formPacks are the form packs of the repository.
var formPacks = filepath.Join("..", "..", "docs", "packs")

// TestForm: the screener comes without words, takes those of the agency, and once it is
// published nothing of it changes; a correction is its next version.
func TestForm(t *testing.T) {
	t.Parallel()
	_, dir := newHome(t, homeOptions{})
	admin := func(code int, stdin string, args ...string) string {
		t.Helper()
		r := tandem(t.Context(), stdin, append(append([]string{"admin", "form"}, args...), "--data", dir)...)
		if r.code != code {
			t.Fatalf("tandem admin form %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
		}
		return r.out + r.err
	}
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("it does not say %q:\n%s", w, out)
			}
		}
	}
	made := must(t, "", "admin", "agency", "create", "--name", "Example", "--type", "hospital", "--tz", "UTC", "--data", dir)
	agency := strings.TrimSpace(made)
	out := admin(exitOK, "", "import", filepath.Join(formPacks, "cssrs-screener"), "--agency", agency)
	says(out, "cssrs_screener, version 1, a draft of 7 items", "Research Foundation for Mental Hygiene", "item 6.recent: it has no wording")
	id := strings.Fields(out)[0]

	says(admin(exitBadInput, "", "publish", id), "item 1: it has no wording", "tandem admin form wording")
	says(admin(exitBadInput, "", "import", filepath.Join(formPacks, "cssrs-screener"), "--agency", agency), "has a draft of this form")
	blank := admin(exitOK, "", "wording", id, "--template")
	says(admin(exitBadInput, blank, "wording", id, "-"), "item 1: it has no words in the file")
	says(admin(exitOK, "", "show", id), "(no wording)", "Before it can be published")

	// Words of this test's own stand for those of a licensed copy.
	filled := strings.ReplaceAll(blank, ",,,", ",,Question,Pregunta")
	says(admin(exitOK, filled, "wording", id, "-"), "is worded")
	says(admin(exitOK, "", "show", id, "--lang", "es"), "6.recent  Pregunta * (asked under conditions)", "score risk: Nivel de riesgo")
	says(admin(exitOK, "", "publish", id), "is published")
	before := admin(exitOK, "", "export", id)
	for _, args := range [][]string{{"wording", id, "-"}, {"publish", id}} {
		says(admin(exitBadInput, filled, args...), "only a draft")
	}

	// The next version, from what was exported, and the first one steps back.
	next := filepath.Join(t.TempDir(), "next.json")
	if err := os.WriteFile(next, []byte(strings.Replace(before, `"Question"`, `"Better question"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	second := strings.Fields(admin(exitOK, "", "import", next, "--agency", agency))[0]
	admin(exitOK, "", "publish", second)
	if got, want := admin(exitOK, "", "export", id), strings.Replace(before, `"status": "active"`, `"status": "retired"`, 1); got != want || got == before {
		t.Errorf("the published form is another, or was not retired:\n%s", got)
	}
	says(admin(exitOK, "", "list"), "1  retired", "2  published")
	says(admin(exitBadInput, "", "retire", id), "only a published form is retired")
	says(admin(exitBadInput, "", "void", second, "--reason", " "), "say why")
	says(admin(exitOK, "", "void", second, "--reason", "entered twice"), "is void")

	// Bad files change nothing.
	count := strings.Count(admin(exitOK, "", "list"), "\n")
	says(admin(exitBadInput, `{"resourceType":"Questionnaire","name":"X","title":"X","status":"draft","item":[{"linkId":"1","type":"quantity"}]}`,
		"import", "-", "--agency", agency), `Questionnaire.item[0].type: items of the type "quantity"`)
	says(admin(exitBadInput, "", "import", t.TempDir(), "--agency", agency), "is no form pack")
	says(admin(exitBadInput, "", "import", "nowhere.json", "--agency", agency), "nowhere.json")
	says(admin(exitBadInput, "", "show", agency), "there is no such form")
	admin(exitUsage, "", "show", "x")
	admin(exitUsage, "", "wording", id)
	if got := strings.Count(admin(exitOK, "", "list"), "\n"); got != count {
		t.Errorf("%d forms, want %d", got, count)
	}
	var shown struct{ Items []struct{ Options []string } }
	if err := json.Unmarshal([]byte(admin(exitOK, "", "show", id, "--json")), &shown); err != nil || len(shown.Items) != 7 {
		t.Errorf("%d items, %v", len(shown.Items), err)
	}
}
