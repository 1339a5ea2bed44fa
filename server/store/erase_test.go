package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// erase erases records, as one write.
func (w *world) erase(ids ...syncengine.ID) (gone []syncengine.ID) {
	w.tb.Helper()
	w.write(func(tx *store.Tx) error {
		gone = nil
		b, err := w.srv.Begin(tx, w.now)
		if err != nil {
			return err
		}
		for _, id := range ids {
			some, err := b.Erase(id)
			if err != nil {
				return err
			}
			gone = append(gone, some...)
		}
		_, err = b.Commit()
		return err
	})
	return gone
}

// rid takes what is left of erased records out of the log and the files.
func (w *world) rid() store.Scrubbed {
	w.tb.Helper()
	done, err := w.s.Scrub(w.tb.Context(), w.org.ID)
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := w.s.Compact(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
	return done
}

// where lists the places of the database in which a text stands: files of SQLite, columns
// of PostgreSQL.
func (w *world) where(text string) (found []string) {
	w.tb.Helper()
	if w.database != "" {
		return w.columnsWith(text)
	}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			found = append(found, d.Name())
		}
		return err
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return found
}

func (w *world) columnsWith(text string) (found []string) {
	w.tb.Helper()
	db, err := sql.Open("pgx", w.database)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(w.tb.Context(), `SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'tandem' AND data_type IN ('bytea', 'text')`)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer rows.Close()
	var columns [][3]string
	for rows.Next() {
		var c [3]string
		if err := rows.Scan(&c[0], &c[1], &c[2]); err != nil {
			w.tb.Fatal(err)
		}
		columns = append(columns, c)
	}
	for _, c := range columns {
		value, of := c[1], fmt.Sprintf("convert_to('%s', 'UTF8')", text)
		if c[2] == "text" {
			value = fmt.Sprintf("convert_to(%s, 'UTF8')", value)
		}
		var n int
		query := fmt.Sprintf("SELECT count(*) FROM tandem.%s WHERE position(%s IN %s) > 0", c[0], of, value)
		tx, err := db.BeginTx(w.tb.Context(), nil)
		if err != nil {
			w.tb.Fatal(err)
		}
		// The fence by org is forced on the owner of the tables too.
		if _, err := tx.ExecContext(w.tb.Context(), "SET LOCAL tandem.org = 1"); err != nil {
			w.tb.Fatal(err)
		}
		if err := tx.QueryRowContext(w.tb.Context(), query).Scan(&n); err != nil {
			w.tb.Fatalf("%s: %v", query, err)
		}
		_ = tx.Rollback()
		if n > 0 {
			found = append(found, c[0]+"."+c[1])
		}
	}
	if err := rows.Err(); err != nil {
		w.tb.Fatal(err)
	}
	// What the planner remembers of them, which the fence hides from its owner: values of
	// bytea are printed in hexadecimal.
	above, err := sql.Open("pgx", pgtest.Above(w.tb, w.database))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer above.Close()
	stats, err := above.QueryContext(w.tb.Context(), `SELECT tablename, attname FROM pg_stats WHERE schemaname = 'tandem' AND concat(most_common_vals, histogram_bounds) LIKE ANY (ARRAY[$1, $2])`,
		"%"+text+"%", fmt.Sprintf("%%%x%%", text))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer stats.Close()
	for stats.Next() {
		var table, column string
		if err := stats.Scan(&table, &column); err != nil {
			w.tb.Fatal(err)
		}
		found = append(found, "pg_stats of "+table+"."+column)
	}
	if err := stats.Err(); err != nil {
		w.tb.Fatal(err)
	}
	return found
}

// analyzed has PostgreSQL's planner remember what the tables hold.
func (w *world) analyzed() {
	w.tb.Helper()
	if w.database == "" {
		return
	}
	db, err := sql.Open("pgx", pgtest.Above(w.tb, w.database))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(w.tb.Context(), "ANALYZE"); err != nil {
		w.tb.Fatal(err)
	}
}

// An erased record leaves no word in the database: not in its row, its alternatives, its
// attachment, nor in any change, those that wrote other records too among them. What they
// say of other records stays as it was, and the whole holds together.
func TestErase(t *testing.T) { each(t, testErase) }

func testErase(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 61)
	const gone, stays = "PlantedMarkerGone", "PlantedMarkerStays"
	marked := func(text string) *tandemv1.Encounter {
		m := w.encounter()
		m.Narrative = new(strings.Repeat(text+" ", 40))
		return m
	}
	// One save wrote both.
	erased, other := w.id(), w.id()
	both := w.creation(w.staff, erased, marked(gone))
	both.Records = append(both.Records, w.creation(w.staff, other, marked(stays)).Records...)
	edit := w.edit(erased, encounterKind, 44, gone+" first", stampOf(both))
	beside := w.edit(erased, encounterKind, 44, gone+" at the same time", stampOf(both))
	later := w.edit(other, encounterKind, 44, stays+" later", stampOf(both))
	w.applied(w.push(both, edit))
	if out := w.push(beside); out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
		t.Fatal(out)
	}
	w.applied(w.push(later))
	otherBefore := w.record(other)
	w.verified()
	w.analyzed()
	if found := w.where(gone); len(found) == 0 || w.database != "" && !slices.ContainsFunc(found, func(at string) bool { return strings.HasPrefix(at, "pg_stats") }) {
		t.Fatalf("what is looked for is not found while it is there, but in %v", found)
	}

	if got := w.erase(erased); !slices.Equal(got, []syncengine.ID{erased}) {
		t.Fatalf("erased %v", got)
	}
	if again := w.erase(erased); len(again) != 0 {
		t.Errorf("erased twice: %v", again)
	}
	// The log is not rid of it yet, and holds together all the same.
	if r := w.verified(); r.Erased != 1 || r.Cut != 0 {
		t.Errorf("%+v", r)
	}
	if done := w.rid(); done.Changes != 3 || done.Kept != 0 {
		t.Errorf("%+v", done)
	}
	if r := w.verified(); r.Erased != 1 || r.Cut != 3 {
		t.Errorf("%+v", r)
	}
	if found := w.where(gone); len(found) > 0 {
		t.Errorf("words of the erased record are in %v", found)
	}
	if w.record(erased) != nil {
		t.Error("the record is there")
	}
	if cmpDiff(otherBefore.Body, w.record(other).Body) != "" || len(w.where(stays)) == 0 {
		t.Error("another record is not as it was")
	}
	if done := w.rid(); done.Changes != 0 {
		t.Errorf("cut out twice: %+v", done)
	}
	// The history of the other one is told without the erased one.
	var history []*syncengine.StoredChange
	if err := w.s.ReadDesk(t.Context(), w.org.ID, func(v store.DeskView) (err error) {
		history, err = v.History(w.record(other))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(history) != 2 {
		t.Fatalf("%d changes made the other record", len(history))
	}
	first := &tandemv1.Change{}
	if err := proto.Unmarshal(history[0].Body, first); err != nil || len(first.GetRecords()) != 1 || !bytes.Equal(first.GetRecords()[0].GetRecord(), other[:]) {
		t.Errorf("what is left of the change that made both: %v, %v", first, err)
	}

	// What is sent again has its verdict, and makes nothing.
	again := w.request()
	again.Runs[0] = &tandemv1.Run{FirstOp: 1, PrevHash: make([]byte, 32), Changes: [][]byte{w.marshal(both)}}
	w.op, w.last = 0, syncengine.Hash{}
	if out, err := w.apply(w.resign(again), again); err != nil || out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("%v, %v", out, err)
	}
	if w.record(erased) != nil || len(w.where(gone)) > 0 {
		t.Error("a change that came again brought the record back")
	}
}

// record returns a record as it stands, nil for none.
func (w *world) record(id syncengine.ID) (rec *syncengine.StoredRecord) {
	w.tb.Helper()
	if err := w.s.Snapshot(w.tb.Context(), w.org.ID, func(snap *store.Snapshot) (err error) {
		rec, err = snap.View().Record(id)
		return err
	}); err != nil {
		w.tb.Fatal(err)
	}
	return rec
}

// What arrives about an erased record after that is kept, whole, for somebody to decide on,
// and is applied by nobody: neither an edit from a device that was away, nor a record that
// is made under the id again, nor a lead's release. Once it is dismissed, the next way
// through the log takes it out.
func TestErasedStaysErased(t *testing.T) { each(t, testErasedStaysErased) }

func testErasedStaysErased(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 62)
	const late = "PlantedLateWords"
	id := w.id()
	made := w.creation(w.staff, id, w.encounter())
	w.applied(w.push(made))
	w.erase(id)
	w.rid()
	again := w.encounter()
	again.Narrative = new(late + " made again")
	fresh := w.id()
	out := w.push(w.edit(id, encounterKind, 44, late, stampOf(made)), w.creation(w.staff, id, again), w.creation(w.staff, fresh, w.encounter()))
	for _, o := range out[:2] {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED || o.GetRefusal() != tandemv1.Refusal_REFUSAL_NO_TARGET {
			t.Errorf("op %d: %v", o.GetOp(), o)
		}
	}
	w.applied(out[2:])
	if done := w.rid(); done.Kept != 2 || done.Changes != 0 || len(w.where(late)) == 0 {
		t.Errorf("words that nobody has decided on were not kept: %+v", done)
	}
	w.verified()
	kept, err := w.s.Quarantined(t.Context(), w.org.ID)
	if err != nil || len(kept) != 2 {
		t.Fatalf("%d in quarantine, %v", len(kept), err)
	}
	lead := w.id()
	agency, team := w.agency.String(), w.team.String()
	w.local(lead, &tandemv1.Staff{AgencyId: &agency, Lifecycle: new("active"), DisplayName: new("A. Lead"), Roles: []string{"lead"}, TeamIds: []string{team}})
	for _, c := range kept {
		w.decide(lead, func(b *syncengine.Batch, p *syncengine.Principal) error {
			_, err := b.Release(p, c.ID)
			if refused, ok := errors.AsType[*syncengine.RefusalError](err); !ok || !slices.Contains([]tandemv1.Refusal{tandemv1.Refusal_REFUSAL_NO_TARGET, tandemv1.Refusal_REFUSAL_BUNDLED}, refused.Code) {
				t.Errorf("released: %v", err)
			}
			return nil
		})
		w.decide(lead, func(b *syncengine.Batch, p *syncengine.Principal) error {
			_, err := b.Dismiss(p, c.ID, "it is about a record that was erased")
			return err
		})
	}
	if w.record(id) != nil || w.record(fresh) == nil {
		t.Error("the erased record is back, or another one is not there")
	}
	// Whoever looks once a day sees that there is something to cut out.
	if n := w.unscrubbed(); n == 0 {
		t.Error("nothing says that the log has words of what was erased")
	}
	if done := w.rid(); done.Changes != 2 || len(w.where(late)) > 0 || w.unscrubbed() != 0 {
		t.Errorf("what was dismissed is still there: %+v in %v", done, w.where(late))
	}
	w.verified()
}

// unscrubbed counts erased records of which the log may have words.
func (w *world) unscrubbed() (n int) {
	w.tb.Helper()
	if err := w.s.Snapshot(w.tb.Context(), w.org.ID, func(snap *store.Snapshot) error {
		return snap.EachErased(func(e *store.ErasedRecord) error {
			if e.ScrubbedMS == 0 {
				n++
			}
			return nil
		})
	}); err != nil {
		w.tb.Fatal(err)
	}
	return n
}

// decide does something as a member of staff.
func (w *world) decide(staff syncengine.ID, do func(*syncengine.Batch, *syncengine.Principal) error) {
	w.tb.Helper()
	err := w.s.Write(w.tb.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		p, err := w.srv.Principal(tx, &syncengine.Replica{Person: staff})
		if err != nil {
			return err
		}
		b, err := w.srv.Begin(tx, w.now)
		if err != nil {
			return err
		}
		if err := do(b, p); err != nil {
			return err
		}
		_, err = b.Commit()
		return err
	})
	if err != nil {
		w.tb.Error(err)
	}
}
