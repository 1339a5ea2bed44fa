package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 9)
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), w.dir, store.Options{MaxPages: 140, Rand: w.rand})
	if err != nil {
		t.Fatal(err)
	}
	w.s = s
	var full error
	var acknowledged []*tandemv1.Change
	for range 500 {
		c := w.creation(w.staff, w.id(), w.encounter())
		op, last := w.op, w.last
		req := w.request(c)
		if _, err := w.apply(w.prepare(req), req); err != nil {
			full, w.op, w.last = err, op, last
			break
		}
		acknowledged = append(acknowledged, c)
	}
	if !errors.Is(full, store.ErrDisk) || !errors.Is(full, store.ErrStorage) {
		t.Fatalf("got %v, want ErrDisk", full)
	}
	if len(acknowledged) == 0 {
		t.Fatal("the disk was full from the start")
	}
	w.verified()
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	// With space again the next push is taken, and nothing acknowledged is missing.
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	st := w.state(acknowledged)
	for i, c := range st.changes {
		if c == nil || string(c.Body) != string(w.marshal(acknowledged[i])) {
			t.Errorf("acknowledged change %d is not there", i)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		statement, want string
	}{
		"a body":               {"UPDATE record SET body = x'0a' WHERE kind = $1", "row hash"},
		"a shared body":        {"UPDATE record SET body = CAST(substr(body, 1, length(body) - 1) || x'7a' AS BLOB) WHERE kind = $1", "change"},
		"stamps":               {"UPDATE record SET stamps = x'0102' WHERE kind = $1", "canonical"},
		"a digest":             {"UPDATE scope_digest SET sums = zeroblob(4096)", "digest"},
		"a digest cut short":   {"UPDATE scope_digest SET sums = x'00'", "damaged"},
		"a row of the index":   {"DELETE FROM scope_index WHERE live = 1", "scopes, the index"},
		"a row that left":      {"UPDATE scope_index SET live = 0", "differ about scope"},
		"a sequence":           {"UPDATE scope_index SET seq = seq + 100", "its sequence is"},
		"a record":             {"DELETE FROM record WHERE kind = $1", "the records do not"},
		"an envelope":          {"UPDATE change SET envelope = zeroblob(32) WHERE op = 2", "envelope"},
		"a change":             {"UPDATE change SET body = x'ff', holes = NULL WHERE op = 1", "damaged"},
		"the end of history":   {"UPDATE org SET hash = zeroblob(32)", "last commit"},
		"a quarantine emptied": {"DELETE FROM quarantine", "not in it"},
		"a verdict":            {"UPDATE change SET verdict = 1", "not its verdict"},
		"a file":               {"UPDATE blob_chunk SET data = CAST(replace(CAST(data AS TEXT), 'letter', 'settle') AS BLOB)", "not those that were attached"},
		"a piece of a file":    {"DELETE FROM blob_chunk WHERE at = 500", "damaged"},
		"the end of a file":    {"DELETE FROM blob_chunk WHERE at = 4000", "bytes are there"},
		"a file of no record":  {"UPDATE blob SET record = zeroblob(16)", "no record names it"},
		"bytes of no file":     {"DELETE FROM blob", "nothing is known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqlite, 10)
			w.file()
			bad := w.encounter()
			bad.Disposition = new("Not A Code")
			w.push(w.creation(w.staff, w.id(), w.encounter()), w.creation(w.staff, w.id(), w.encounter()), w.creation(w.staff, w.id(), bad))
			w.verified()
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, database(t, w.dir), strings.ReplaceAll(tc.statement, "$1", strconv.Itoa(int(encounterKind))))
			w.open()
			r, err := w.s.Verify(t.Context(), w.org.ID)
			got := fmt.Sprint(err)
			if err == nil {
				got = strings.Join(r.Faults, "\n")
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want a fault that says %q", got, tc.want)
			}
			if strings.Contains(got, "client") {
				t.Error("a fault quotes what a person wrote")
			}
		})
	}
}

// file stores an attachment with all of its bytes.
func (w *world) file() {
	w.tb.Helper()
	c := &cutWorld{world: w}
	c.attach()
	for l := (&load{w: c}); int(l.held) < len(c.bytes); {
		if l.piece(); l.failed != nil {
			w.tb.Fatal(l.failed)
		}
	}
	if r := w.verified(); r.Files != 1 || r.Awaited != 0 {
		w.tb.Errorf("%+v", r)
	}
}

func TestBodiesAreStoredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 11)
	const marker = "a sentence that stands in the database as often as it must"
	e := w.encounter()
	e.Narrative = new(marker + strings.Repeat(" and more", 20))
	c := w.creation(w.staff, w.id(), e)
	w.applied(w.push(c))
	count := func() (n int) {
		t.Helper()
		const q = `SELECT (SELECT count(*) FROM record WHERE instr(body, CAST($1 AS BLOB))) + (SELECT count(*) FROM change WHERE instr(body, CAST($1 AS BLOB)))`
		if err := database(t, w.dir).QueryRowContext(t.Context(), q, marker).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count(); got != 1 {
		t.Errorf("a new record's body is stored %d times, want once", got)
	}
	// The first edit puts it back into the log; later ones find it there.
	first := w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 37, "elsewhere", 0)
	w.applied(w.push(first))
	if got := count(); got != 2 {
		t.Errorf("after an edit of another field it is stored %d times, want in record and log", got)
	}
	w.applied(w.push(w.edit(syncengine.ID(c.Records[0].Record), c.Records[0].Kind, 44, "something else", stampOf(c))))
	if got := count(); got != 1 {
		t.Errorf("after it was written over it is stored %d times, want in the log alone", got)
	}
	if got := w.state([]*tandemv1.Change{c}).changes[0].Body; string(got) != string(w.marshal(c)) {
		t.Error("the log does not hold what was sent")
	}
	if matches, err := filepath.Glob(filepath.Join(w.dir, "*.db-journal")); err != nil || len(matches) > 0 {
		t.Errorf("a rollback journal beside a database in WAL mode: %v, %v", matches, err)
	}
}

// What a database is made of fits its rows: six of a kilobyte to a page, not three. The
// driver takes settings in an order of its own, in which this one once came too late.
func TestPagesFitRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 12)
	var size int
	if err := database(t, w.dir).QueryRowContext(t.Context(), "PRAGMA page_size").Scan(&size); err != nil || size != 8192 {
		t.Errorf("a page has %d bytes, %v, want 8192", size, err)
	}
}
