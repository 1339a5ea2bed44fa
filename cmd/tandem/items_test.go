package main

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// TestItems: what was written by a clock that was years off is listed for the lead of its
// team, with the time as entered and as corrected; nobody else sees that it is there.
func TestItems(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(51, 7))}
	began := time.Now()
	wrong := &canaryDevice{name: "wrong", dir: t.TempDir(), answers: &answers{base: &http.Transport{}}, changed: make(chan []syncengine.ID, 1000)}
	var err error
	// The clock is set back by ten years once the device has enrolled.
	off := time.Duration(0)
	wrong.dev, err = o.enrol(t.Context(), o.clinician, "wrong", wrong.dir, client.Options{
		Transport: wrong.answers, Now: func() time.Time { return time.Now().Add(off) },
		Boot: func() ([]byte, time.Duration) { return []byte("bootboot"), time.Since(began) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wrong.dev.Close() })
	c.sync(wrong)
	c.create(wrong, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("by the right clock")})
	off = -10 * 365 * 24 * time.Hour
	incident := c.create(wrong, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("by the wrong clock")})
	c.sync(wrong)

	list := func(as syncengine.ID, more ...string) string {
		t.Helper()
		return must(t, "", append([]string{"admin", "items", "--data", o.dir, "--as", as.String()}, more...)...)
	}
	type item struct {
		Item, Record, Kind, Author string
		Words                      map[string]string
		Entered                    time.Time `json:"entered_at"`
		Corrected                  time.Time `json:"corrected_at"`
		Uncertainty                *int64    `json:"uncertainty_ms"`
	}
	lines := strings.Split(strings.TrimSpace(list(o.lead, "--kind", "time_suspect", "--json")), "\n")
	if len(lines) != 1 {
		t.Fatalf("the lead is told of %q", lines)
	}
	got := decode[item](t, lines[0])
	if got.Item != "time_suspect" || got.Record != incident.String() || got.Kind != "incident" || got.Author != o.clinician.String() || got.Words["en"] == got.Words["es"] {
		t.Errorf("got %+v", got)
	}
	if time.Since(got.Entered) < 9*365*24*time.Hour || time.Since(got.Corrected) > time.Hour || got.Uncertainty == nil {
		t.Errorf("entered %v, corrected %v", got.Entered, got.Corrected)
	}
	if out := list(o.lead); !strings.Contains(out, "clock of the device was wrong") || !strings.Contains(out, "give or take") {
		t.Errorf("the lead reads %s", out)
	}
	for name, as := range map[string]syncengine.ID{"a lead of no team": o.other, "an administrator": o.adm, "its author": o.clinician, "the partner": o.officer} {
		if out := list(as, "--all", "--json"); out != "" {
			t.Errorf("%s is told %s", name, out)
		}
	}
}
