package export_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
)

// readers runs a program of tools/readers.
func readers(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	node := need.Program(t, "node", "apt-get install nodejs npm")
	dir, err := filepath.Abs("../../tools/readers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@duckdb")); err != nil {
		need.Missing(t, "programs that read exports: npm install --no-save in tools/readers")
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{filepath.Join(dir, program)}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return out
}

// validated is what validators say of a directory.
type validated struct {
	Counts     map[string]int
	References int
	Faults     []string
	All        int
}

func validate(t *testing.T, dirs ...string) (v []validated) {
	t.Helper()
	if err := json.Unmarshal(readers(t, "fhir.mjs", dirs...), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFHIR: two validators that are not ours find nothing in what people would write, and
// in what is planted in every field; references resolve within the set.
func TestFHIR(t *testing.T) {
	w, planted := newWorld(t, storetest.SQLite), newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(1)
	w.add(clinical, w.person(1, "Elsewhere"))
	planted.plantEverywhere(2)
	o := w.options()
	o.Format, o.Notes, o.Types = export.FHIR, true, export.Resources
	dir, m := w.write(o)
	everywhere, _ := planted.write(o)
	w.checkManifest(dir, m)
	again, _ := w.write(o)
	if diff := cmp.Diff(w.files(dir), w.files(again)); diff != "" {
		t.Error(diff)
	}
	// Of a set without people the references are identifiers.
	o.Types = []string{"Encounter"}
	some, _ := w.write(o)
	o.Types = []string{"Binary"}
	if _, err := export.Write(t.Context(), w.s, w.org, filepath.Join(t.TempDir(), "out"), o); err == nil || !strings.Contains(err.Error(), "Binary") {
		t.Errorf("a type that is none: %v", err)
	}

	for i, v := range validate(t, dir, everywhere, some) {
		for _, fault := range v.Faults[:min(len(v.Faults), 30)] {
			t.Errorf("%d: %s", i, fault)
		}
		switch i {
		case 0:
			checkResources(t, v)
		case 1:
			if v.Counts["Patient"] != 4 {
				t.Errorf("%d people", v.Counts["Patient"])
			}
		case 2:
			if v.References != 0 || v.Counts["Encounter"] != 2 || len(v.Counts) != 1 {
				t.Errorf("encounters alone: %+v", v)
			}
		}
	}
}

// checkResources looks whether what stands for a caseload is all there.
func checkResources(t *testing.T, v validated) {
	t.Helper()
	want := map[string]int{
		"AuditEvent": 1, "CarePlan": 1, "CareTeam": 2, "Communication": 1, "Consent": 1, "DocumentReference": 4, "Encounter": 2, "EpisodeOfCare": 1, "Flag": 1,
		"HealthcareService": 3, "Location": 1, "Observation": 10, "Organization": 2, "Patient": 2, "Practitioner": 9, "PractitionerRole": 9, "Procedure": 3, "Provenance": 5,
		"Questionnaire": 1, "QuestionnaireResponse": 1, "ServiceRequest": 11, "Task": 14,
	}
	delete(v.Counts, "CodeSystem")
	if diff := cmp.Diff(want, v.Counts); diff != "" {
		t.Error(diff)
	}
	if v.References < 100 {
		t.Errorf("%d references: nothing was looked at", v.References)
	}
}
