package export_test

import (
	"database/sql"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
	"google.golang.org/protobuf/proto"
)

var many = flag.Int("export.records", 6000, "records of TestMemory")

// mostMiB is what a process that exports may hold at most, whatever there is to export.
const mostMiB = 256

// TestMemory: what an export needs does not grow with the records. It says how much the
// process held at most, and how much processor time the export took beside reading the same rows
// raw.
func TestMemory(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	for i := 0; i < *many; i += 1000 {
		var calls []proto.Message
		for range min(1000, *many-i) {
			calls = append(calls, w.incident(0, strings.Repeat("x", 40)))
		}
		w.add(0, calls...)
	}
	for _, c := range []struct {
		format, set string
		// most MiB that it may hold, and bytes for each record.
		mib, each int64
	}{
		{export.CSV, export.Full, 5, 0},
		{export.XLSX, export.Full, 24, 0},
		{export.Parquet, export.Full, 80, 0},
		{export.FHIR, export.Full, 12, 0},
		{export.CSV, export.Limited, 40, 0},
		{export.CSV, export.SafeHarbor, 40, 150},
	} {
		for _, spooled := range []bool{false, true} {
			t.Run(c.format+" "+c.set+map[bool]string{true: ", spooled"}[spooled], func(t *testing.T) {
				raw := w.raw(t)
				before, most := heap(), uint64(0)
				o, read := w.options(), 0
				o.Format, o.Set, o.Agreement = c.format, c.set, "agreement 7 of 2026"
				var looking time.Duration
				o.Progress = func(n int) {
					if read += n; read%20000 < n || n < 1000 {
						start := need.CPU()
						most = max(most, heap())
						looking += need.CPU() - start
					}
				}
				to := filepath.Join(w.t.TempDir(), "out")
				// The blocks of a spool and its index.
				mib, start := c.mib, time.Duration(0)
				taken := func() time.Duration { return need.CPU() - start - looking }
				if spooled {
					mib += 12
					o.Keep = func(k *export.Kept) error {
						if k.Parts == 0 {
							info, err := os.Stat(to + ".spool")
							w.ok(err)
							t.Logf("spooled in %v, %.1f times reading the same rows raw: %d bytes for each record", taken(), float64(taken())/float64(raw), info.Size()/int64(*many))
						}
						return nil
					}
				}
				debug.FreeOSMemory()
				_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // Where there is none there is no peak to tell.
				start = need.CPU()
				m, err := export.Write(t.Context(), w.s, w.org, to, o)
				took := taken()
				w.ok(err)
				if read < *many || m.Records < int64(*many) {
					t.Errorf("%d of %d records", m.Records, *many)
				}
				if grown := int64(most) - int64(before); grown > mib<<20+c.each*int64(*many) {
					t.Errorf("an export of %d records holds %d MiB", m.Records, grown>>20)
				} else {
					t.Logf("%d records: %d KiB more than before", m.Records, grown>>10)
				}
				if mib := peak(t); mib > mostMiB && !need.Raced {
					t.Errorf("the process held %d MiB, of %d", mib, mostMiB)
				} else {
					t.Logf("the process held %d MiB at most; %v, %.1f times reading the same rows raw", mib, took, float64(took)/float64(raw))
				}
				w.ok(os.RemoveAll(to))
				w.ok(export.Discard(to))
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// peak is the most that the process held since that was last forgotten, in MiB; 0 where the
// system does not tell.
func peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// raw is how long it takes to read the rows and nothing else.
func (w *world) raw(t *testing.T) time.Duration {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "tandem.db")+"?mode=ro")
	w.ok(err)
	defer func() { w.ok(db.Close()) }()
	start := need.CPU()
	rows, err := db.QueryContext(t.Context(), "SELECT id, kind, seq, stamps, body FROM record ORDER BY id")
	w.ok(err)
	defer func() { w.ok(rows.Close()) }()
	n := 0
	for rows.Next() {
		var id, kind, seq, stamps, body sql.RawBytes
		w.ok(rows.Scan(&id, &kind, &seq, &stamps, &body))
		n++
	}
	w.ok(rows.Err())
	if n < *many {
		t.Fatalf("%d rows", n)
	}
	return need.CPU() - start
}
