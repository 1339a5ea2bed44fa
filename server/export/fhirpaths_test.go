package export_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// TestCodebook: the codebook says of each column where in the FHIR resources it is seen, which is
// where those change when it does, and which schema it came with.
func TestCodebook(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(1)
	var all []*syncengine.StoredRecord
	w.ok(w.s.Snapshot(t.Context(), w.org.ID, func(s *store.Snapshot) error {
		return s.Each(0, func(rec *syncengine.StoredRecord) error {
			all = append(all, rec)
			return nil
		})
	}))
	said := map[string]string{}
	o := w.options()
	o.Notes = true
	dir, _ := w.write(o)
	for _, c := range w.read(dir)["codebook.csv"] {
		if c["fhir_path"] != "" {
			said[c["table"]+"."+c["column"]] = c["fhir_path"]
		}
		if c["since_schema"] != "1" {
			t.Errorf("%s.%s: schema %s", c["table"], c["column"], c["since_schema"])
		}
	}
	if diff := cmp.Diff(export.FHIRPaths(t, all), said); diff != "" {
		t.Error(diff)
	}
	if syncengine.Schema != 1 {
		t.Error("say which columns came with the second schema")
	}
}
