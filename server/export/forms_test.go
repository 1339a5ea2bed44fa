package export_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
)

// TestParquet: two readers that are not ours find in the files what is in our CSV.
func TestParquet(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(1)
	w.caseload(2)
	o := w.options()
	o.Notes = true
	plain, _ := w.write(o)
	want := w.read(plain)
	o.Format = export.Parquet
	dir, m := w.write(o)
	w.checkManifest(dir, m)
	again, _ := w.write(o)
	if diff := cmp.Diff(w.files(dir), w.files(again)); diff != "" {
		t.Errorf("the same state: %.300s", diff)
	}
	for _, reader := range []string{"duckdb", "hyparquet"} {
		var got map[string]json.RawMessage
		w.ok(json.Unmarshal(readers(t, "tables.mjs", reader, dir), &got))
		looked := 0
		for name, raw := range got {
			if strings.HasPrefix(name, "meta ") {
				if !strings.Contains(string(raw), "tandem.seq") || !strings.Contains(string(raw), "tandem.codebook_sha256") {
					t.Errorf("%s: %s", name, raw)
				}
				continue
			}
			var rows []map[string]any
			w.ok(json.Unmarshal(raw, &rows))
			if len(rows) != len(want[name+".csv"]) {
				t.Errorf("%s: %s has %d rows, want %d", reader, name, len(rows), len(want[name+".csv"]))
				continue
			}
			for i, r := range rows {
				id := want[name+".csv"][i]["id"]
				for column, cell := range r {
					looked++
					list, ok := cell.([]any)
					if !ok {
						if diff := cmp.Diff(want[name+".csv"][i][column], canonical(cell)); diff != "" {
							t.Errorf("%s: %s.%s: %s", reader, name, column, diff)
						}
						continue
					}
					if diff := cmp.Diff(children(want, name, column, id), canonicals(list)); diff != "" {
						t.Errorf("%s: %s.%s: %s", reader, name, column, diff)
					}
				}
			}
		}
		if looked < 2000 {
			t.Errorf("%s: %d cells: nothing was looked at", reader, looked)
		}
	}
}

// TestParquetCodebook: each file names the codebook that lies beside it.
func TestParquetCodebook(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	for _, begins := range []bool{false, true} {
		o := w.options()
		o.Format, o.BOM, o.ExcelSafe = export.Parquet, begins, begins
		dir, m := w.write(o)
		at := slices.IndexFunc(m.Files, func(f export.File) bool { return f.Name == "codebook.csv" })
		looked := 0
		for name, text := range w.files(dir) {
			if strings.HasSuffix(name, ".parquet") {
				// The metadata at the end of a file is not packed.
				if looked++; !strings.Contains(text, m.Files[at].SHA256) {
					t.Errorf("%s, with a byte order mark %t: another codebook than %s", name, begins, m.Files[at].SHA256)
				}
			}
		}
		if looked == 0 {
			t.Error("no file was looked at")
		}
	}
}

// TestParquetSets: a set of fewer fields has as many rows in its Parquet files as in its CSV,
// and in the same order.
func TestParquetSets(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.plantEverywhere(export.Alike + 1)
	for _, set := range []string{export.Limited, export.SafeHarbor} {
		o := w.options()
		o.Set, o.Agreement, o.Key, o.At = set, "agreement 7 of 2026", []byte("a key of a test"), time.UnixMilli(now)
		plain, _ := w.write(o)
		want := w.read(plain)
		o.Format = export.Parquet
		dir, m := w.write(o)
		w.checkManifest(dir, m)
		looked := 0
		for _, f := range m.Files {
			table, is := strings.CutSuffix(f.Name, ".parquet")
			if !is {
				continue
			}
			var ids []string
			rows, err := parquet.ReadFile[struct {
				ID string `parquet:"id,optional"`
			}](filepath.Join(dir, f.Name))
			if err != nil {
				t.Errorf("%s: %s: %v", set, f.Name, err)
			}
			for _, r := range rows {
				ids = append(ids, r.ID)
			}
			var as []string
			for _, r := range want[table+".csv"] {
				as = append(as, r["id"])
			}
			if diff := cmp.Diff(as, ids); diff != "" || int(f.Rows) != len(as) {
				t.Errorf("%s: %s, %d rows: %.300s", set, f.Name, f.Rows, diff)
			}
			looked += len(ids)
		}
		if looked < 100 {
			t.Errorf("%s: %d rows: nothing was looked at", set, looked)
		}
	}
}

// canonical is a value of a reader as the CSV has it.
func canonical(v any) string {
	s := fmt.Sprint(v)
	for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000Z", s); err == nil && strings.HasSuffix(s, "T00:00:00.000Z") && at.Year() > 2022 {
		return s[:10]
	}
	return s
}

func canonicals(list []any) (rows []string) {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			var cells []string
			for _, column := range slices.Sorted(maps.Keys(m)) {
				if c := canonical(m[column]); c != "" {
					cells = append(cells, column+"="+c)
				}
			}
			rows = append(rows, strings.Join(cells, ";"))
			continue
		}
		rows = append(rows, canonical(e))
	}
	return rows
}

// children are the rows of a record in the CSV file of a field.
func children(read map[string][]map[string]string, table, field, id string) (rows []string) {
	kind := map[string]string{"agencies": "agency", "people": "person", "staff": "staff"}[table]
	if kind == "" {
		kind = strings.TrimSuffix(table, "s")
	}
	name := kind + "_" + field
	switch name {
	case "incident_force_types":
		name = "incident_force"
	case "encounter_presenting_other":
		name = "encounter_presenting"
	case "form_response_answers":
		name = "form_answers"
	}
	for _, r := range read[name+".csv"] {
		if r[kind+"_id"] != id {
			continue
		}
		var cells []string
		for _, column := range slices.Sorted(maps.Keys(r)) {
			if column != kind+"_id" && column != "ordinal" && r[column] != "" {
				cells = append(cells, column+"="+r[column])
			}
		}
		rows = append(rows, strings.Join(cells, ";"))
	}
	return rows
}

// TestXLSX: a reader that is not ours finds in the workbook what is in our CSV.
func TestXLSX(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(1)
	w.caseload(2)
	w.add(0, w.incident(0, "control \x01 and _x0041_"))
	o := w.options()
	o.Notes, o.Labels = true, "en"
	plain, _ := w.write(o)
	want := w.read(plain)
	o.Format = export.XLSX
	dir, m := w.write(o)
	w.checkManifest(dir, m)
	again, _ := w.write(o)
	if diff := cmp.Diff(w.files(dir), w.files(again)); diff != "" {
		t.Error("the same state gives another workbook")
	}
	var got map[string]json.RawMessage
	w.ok(json.Unmarshal(readers(t, "tables.mjs", "exceljs", dir), &got))
	looked := 0
	for name, rows := range want {
		sheet := strings.TrimSuffix(name, ".csv")
		switch sheet {
		case "codebook":
			sheet = "Codebook"
		case "codes":
			sheet = "Codes"
		}
		sheet = sheet[:min(len(sheet), 31)]
		var found []map[string]string
		if err := json.Unmarshal(got[sheet], &found); err != nil {
			t.Fatalf("%s: %v: %.300s", sheet, err, got[sheet])
		}
		var head struct{ Frozen, Filter, Bold bool }
		w.ok(json.Unmarshal(got["head "+sheet], &head))
		if !head.Frozen || !head.Filter || !head.Bold {
			t.Errorf("%s: the header: %+v", sheet, head)
		}
		if len(found) != len(rows) {
			t.Errorf("%s: %d rows, want %d", sheet, len(found), len(rows))
			continue
		}
		for i, r := range rows {
			for column, cell := range r {
				looked++
				if !sameCell(cell, found[i][column]) {
					t.Errorf("%s.%s, row %d: %q, want %q", sheet, column, i+1, found[i][column], cell)
				}
			}
		}
	}
	if looked < 5000 {
		t.Errorf("%d cells: nothing was looked at", looked)
	}
}

// sameCell: numbers are the same however they are written, and a line end is one.
func sameCell(want, got string) bool {
	if want == got {
		return true
	}
	a, err1 := strconv.ParseFloat(want, 64)
	b, err2 := strconv.ParseFloat(got, 64)
	return err1 == nil && err2 == nil && a == b && !strings.HasPrefix(want, "0")
}
