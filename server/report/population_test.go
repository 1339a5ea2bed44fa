package report_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
)

// Beside a table of who lives there stands who is left out: also a group of which nobody was
// helped, and not one that is too small to tell.
func TestWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	w := &world{tb: t}
	help := func(gender string, n int) {
		for range n {
			who := w.add(&tandemv1.Person{Lifecycle: new("active"), Gender: new(gender)})
			w.add(&tandemv1.Encounter{
				Lifecycle: new("signed"), Type: new("crisis_response"), StartedAt: clock(t, "03-05 14:00"), Disposition: new("resolved_on_scene"), PersonId: &who,
			})
		}
	}
	help("man", 40)
	help("woman", 20)
	// Who is in no group makes none look left out.
	help("unknown", 100)
	o := options(t)
	population, err := report.ReadPopulation(strings.NewReader("\ufeffbreakdown,group,people\ngender,man,1000\ngender,woman,2000\ngender,nonbinary,900\ngender,another,50\n"))
	if err != nil {
		t.Fatal(err)
	}
	o.Population = population
	r, err := report.ComputeOutcomes(w, o)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, b := range found(t, r, "M21.service_rate").Breakdowns {
		for _, g := range b.Groups {
			if g.Inhabitants == nil {
				continue
			}
			got[b.By+" "+g.Code] = fmt.Sprintf("%d of %d, %v, %v, %v", *g.Count.N, *g.Inhabitants, *g.PerThousand, *g.Ratio, g.UnderServed)
		}
	}
	// 60 of 3,950: 15.2 for each 1,000.
	for group, want := range map[string]string{
		"gender man": "40 of 1000, 40, 2.63, false", "gender woman": "20 of 2000, 10, 0.66, true",
		"gender nonbinary": "0 of 900, 0, 0, true", "gender another": "0 of 50, 0, 0, false",
	} {
		if got[group] != want {
			t.Errorf("%s: %s, want %s", group, got[group], want)
		}
	}
	for lang, says := range map[string][]string{"en": {"Inhabitants", "To all", "2,000", "below 0.8 of all"}, "es": {"Habitantes", "Frente a todos", "menos de 0,8 de todos"}} {
		var b strings.Builder
		if err := r.WriteBody(&b, lang); err != nil {
			t.Fatal(err)
		}
		for _, say := range says {
			if !strings.Contains(b.String(), say) {
				t.Errorf("in %s the page does not say %q", lang, say)
			}
		}
	}
}

// A group that is spelt otherwise is told, and is not taken for one of which nobody was
// helped.
func TestPopulationGroups(t *testing.T) {
	t.Parallel()
	const head = "breakdown,group,people\n"
	for _, line := range []string{
		"gender,women,10", "age_band,65-70,10", "zip,6182,10", "language,English,10", "hour_block,12-18,10", "race_ethnicity,unknown,10", "housing,x,10",
		"model,x,10", "income,high,10", "gender,woman,-1", "gender,woman,many", "gender,,10", "gender,woman", "gender,woman,1\ngender,woman,2",
	} {
		if _, err := report.ReadPopulation(strings.NewReader(head + line + "\n")); err == nil {
			t.Errorf("%q is taken", line)
		} else if strings.Contains(err.Error(), "women") {
			t.Errorf("the error echoes the file: %v", err)
		} else if wrong, ok := errors.AsType[*report.PopulationError](err); !ok || wrong.Line < 2 || !strings.HasPrefix(wrong.In("es"), "línea ") || wrong.Says.EN == wrong.Says.ES {
			t.Errorf("%q: not said in both languages: %v", line, err)
		}
	}
	for _, line := range []string{"gender,woman,10", "age_band,65+,10", "zip,61820,10", "language,ase,10", "hour_block,12-17,10", "race_ethnicity,two_or_more,10", "beat,North 3,10", "model,crt,10"} {
		if _, err := report.ReadPopulation(strings.NewReader(head + line + "\n")); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := report.ReadPopulation(strings.NewReader("group,people\n")); err == nil {
		t.Error("a file of other columns is taken")
	}
}

// The rate of all is of different people: who is of several races counts in each of them and
// among those of two or more, here as in the table, and once in the whole. Else those whom all
// others are compared with would be counted several times, and others look left out.
func TestSeveralRacesCountOnceInAll(t *testing.T) {
	t.Parallel()
	w := &world{tb: t}
	help := func(n int, races ...string) {
		for range n {
			who := w.add(&tandemv1.Person{Lifecycle: new("active"), RaceEthnicity: races})
			w.add(&tandemv1.Encounter{
				Lifecycle: new("signed"), Type: new("crisis_response"), StartedAt: clock(t, "03-05 14:00"), Disposition: new("resolved_on_scene"), PersonId: &who,
			})
		}
	}
	help(64, "white")
	help(6, "black")
	help(40, "white", "black")
	o := options(t)
	// 800 are white alone, 100 black alone, 100 both.
	table := "breakdown,group,people\nrace_ethnicity,white,900\nrace_ethnicity,black,200\nrace_ethnicity,two_or_more,100\n"
	population, err := report.ReadPopulation(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	o.Population = population
	r, err := report.ComputeOutcomes(w, o)
	if err != nil {
		t.Fatal(err)
	}
	// 110 of 1,000.
	want := map[string]string{"white": "104 of 900: 1.05, false", "black": "46 of 200: 2.09, false", "two_or_more": "40 of 100: 3.64, false"}
	for _, b := range found(t, r, "M21.service_rate").Breakdowns {
		for _, g := range b.Groups {
			if got := fmt.Sprintf("%d of %d: %v, %v", *g.Count.N, *g.Inhabitants, *g.Ratio, g.UnderServed); got != want[g.Code] {
				t.Errorf("%s: %s, want %s", g.Code, got, want[g.Code])
			}
			delete(want, g.Code)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
