package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestEnrolRace: of several devices that try one code at once, one gets it.
func TestEnrolRace(t *testing.T) {
	t.Parallel()
	h, _ := newHome(t, homeOptions{})
	for round := range 6 {
		code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
		if err != nil {
			t.Fatal(err)
		}
		results := make([]ran, 2+round%2)
		stores := make([]string, len(results))
		var all sync.WaitGroup
		for i := range results {
			stores[i] = filepath.Join(t.TempDir(), fmt.Sprintf("car-%d-%d", round, i))
			all.Go(func() { results[i] = tandem(t.Context(), code, "enroll", "--server", h.url, "--store", stores[i]) })
		}
		all.Wait()
		won := 0
		for i, r := range results {
			enrolled := decode[struct{ Enrolled bool }](t, must(t, "", "status", "--store", stores[i], "--json")).Enrolled
			switch {
			case r.code == exitOK && enrolled:
				won++
				must(t, "", "sync", "--store", stores[i])
			case r.code == exitFailed && !enrolled && strings.Contains(r.err, "did not take the code"):
			default:
				t.Errorf("exit code %d, enrolled %v\n%s", r.code, enrolled, r.err)
			}
			if strings.Contains(r.out+r.err, code) {
				t.Error("the code is printed")
			}
		}
		if won != 1 {
			t.Errorf("one code enrolled %d devices of %d", won, len(results))
		}
	}
}

// TestEnrolLate: a code lives for 15 minutes by the server's clock, and a device that
// has enrolled stays.
func TestEnrolLate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Date(2026, 3, 14, 22, 0, 0, 0, time.UTC)
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	h, _ := newHome(t, homeOptions{clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	enroll := func(code, store string) ran {
		return tandem(t.Context(), code, "enroll", "--server", h.url, "--store", store)
	}
	early, late := filepath.Join(t.TempDir(), "early"), filepath.Join(t.TempDir(), "late")
	for _, tc := range []struct {
		store string
		after time.Duration
		code  int
	}{
		{early, 15*time.Minute - time.Second, exitOK},
		{late, 15*time.Minute + time.Second, exitFailed},
	} {
		code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
		if err != nil {
			t.Fatal(err)
		}
		pass(tc.after)
		if r := enroll(code, tc.store); r.code != tc.code {
			t.Errorf("after %v: exit code %d\n%s", tc.after, r.code, r.err)
		}
	}
	pass(1000 * time.Hour)
	must(t, "", "sync", "--store", early)

	// The store that was refused takes the next code.
	code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	if r := enroll(code, late); r.code != exitOK {
		t.Errorf("a new code: exit code %d\n%s", r.code, r.err)
	}
	must(t, "", "sync", "--store", late)
}
