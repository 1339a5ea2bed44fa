package export_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/client/mapping"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/store"
)

// counter counts calls with Python's own library.
const counter = `
import collections, csv, json, sys
calls, actions = {}, {}
with open(sys.argv[1] + "/incident_le_actions.csv", encoding="utf-8", newline="") as f:
    for r in csv.DictReader(f, strict=True):
        actions[r["incident_id"]] = r["value"]
with open(sys.argv[1] + "/incidents.csv", encoding="utf-8", newline="") as f:
    calls = collections.Counter(" ".join([r["received_at_local"][:7], r["received_at_precision"], r["call_type"], r["location_beat"], actions[r["id"]]])
        for r in csv.DictReader(f, strict=True))
print(json.dumps(calls))
`

// TestToronto: the calls of a year, imported and exported, are the file's: by month,
// type, division and apprehension together.
func TestToronto(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	testdata := filepath.Join("..", "..", "testdata")
	packed, err := os.ReadFile(filepath.Join(testdata, "toronto-2014.csv.gz"))
	w.ok(err)
	m, err := mapping.Open(filepath.Join(testdata, "mappings", "toronto.yaml"))
	w.ok(err)
	source, err := m.File(t.Context(), bytes.NewReader(packed))
	w.ok(err)
	w.ok(w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for row, err := range source.Rows(t.Context(), mapping.Envelope{Agency: w.agency[0], Program: w.program[0], Team: w.team[0]}) {
			if err != nil {
				return err
			}
			row.Write.Record = row.Record[:]
			if err := w.save(tx, row.Write); err != nil {
				return err
			}
		}
		return nil
	}))
	o := w.options()
	o.Person, o.Kinds = w.staff["lead"], []string{"incident"}
	dir, done := w.write(o)
	if done.Records != 22176 {
		t.Errorf("%d calls, want 22176", done.Records)
	}

	text, err := gzip.NewReader(bytes.NewReader(packed))
	w.ok(err)
	rows, err := csv.NewReader(text).ReadAll()
	w.ok(err)
	types := map[string]string{"Person in Crisis": "behavioral_crisis", "Suicide-related": "suicide_threat", "Overdose": "overdose"}
	actions := map[string]string{"Yes": "protective_custody", "No": "none"}
	want := map[string]int{}
	for _, r := range rows[1:] {
		month, err := time.Parse("2006 January", r[0]+" "+r[1])
		w.ok(err)
		want[month.Format("2006-01")+" month "+types[r[4]]+" "+r[5]+" "+actions[r[6]]]++
	}
	out, err := exec.CommandContext(t.Context(), need.Program(t, "python3", "apt-get install python3"), "-c", counter, dir).Output()
	w.ok(err)
	var got map[string]int
	w.ok(json.Unmarshal(out, &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
