package export_test

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
)

// TestLibreOffice: LibreOffice opens a workbook without a screen and saves each sheet as CSV
// in which every cell is that of our own CSV, but for how it writes what is true and moments.
func TestLibreOffice(t *testing.T) {
	office := need.Program(t, "soffice", "apt-get install libreoffice-calc-nogui")
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(7)
	o := w.options()
	o.Labels, o.ExcelSafe = "en", false
	plain, m := w.write(o)
	o.Format = export.XLSX
	book, _ := w.write(o)
	to := t.TempDir()
	// Commas, quotes, UTF-8, from the first row, text quoted, as shown, every sheet.
	cmd := exec.CommandContext(t.Context(), office, "-env:UserInstallation=file://"+t.TempDir(), "--headless", "--norestore",
		"--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1", "--outdir", to, filepath.Join(book, "records.xlsx"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := func(path string) [][]string {
		t.Helper()
		f, err := os.Open(path)
		w.ok(err)
		defer f.Close()
		all, err := csv.NewReader(f).ReadAll()
		w.ok(err)
		return all
	}
	sheets, cells := 0, 0
	for _, f := range m.Files {
		name, ok := strings.CutSuffix(f.Name, ".csv")
		if !ok || f.Rows == 0 || name == "codebook" || name == "codes" {
			continue
		}
		want, got := read(filepath.Join(plain, f.Name)), read(filepath.Join(to, "records-"+name+".csv"))
		sheets++
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
			continue
		}
		for i, row := range want {
			for j, cell := range row {
				cells++
				if cell == "true" || cell == "false" {
					cell = strings.ToUpper(cell)
				}
				if at, err := time.Parse("2006-01-02T15:04:05.000Z", cell); err == nil && !strings.HasSuffix(want[0][j], "_local") {
					cell = at.Format("2006-01-02 15:04:05.000")
				}
				if j >= len(got[i]) || got[i][j] != cell {
					t.Errorf("%s, row %d, %s: %q, want %q", name, i+1, want[0][j], slices.Concat(got[i], make([]string, len(row)))[j], cell)
				}
			}
		}
	}
	if sheets < 10 || cells < 1000 {
		t.Errorf("only %d cells of %d sheets were compared", cells, sheets)
	}
}
