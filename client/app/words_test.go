package app

import (
	"regexp"

	"strings"
	"testing"
)

// Every text that a page asks for is there in both languages, and as many places to fill
// in one as in the other.
func TestWords(t *testing.T) {
	t.Parallel()
	used := regexp.MustCompile(`\{\{[^}]*?\bt[f]? "([^"]+)"`)
	entries, err := files.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		b, err := files.ReadFile("pages/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(b), -1) {
			n++
			if _, ok := allWords[m[1]]; !ok {
				t.Errorf("%s: there are no words for %q", e.Name(), m[1])
			}
		}
	}
	if n < 100 {
		t.Fatalf("only %d texts were found: the test looks for them in the wrong way", n)
	}
	for key, w := range allWords {
		if w[0] == "" || w[1] == "" {
			t.Errorf("%s lacks a language", key)
		}
		if strings.Count(w[0], "%") != strings.Count(w[1], "%") {
			t.Errorf("%s fills in other places in English than in Spanish", key)
		}
	}
	for kind, sections := range sheets {
		for _, s := range sections {
			if _, ok := allWords[s.key]; !ok {
				t.Errorf("%s: there are no words for %q", kind, s.key)
			}
		}
	}
}
