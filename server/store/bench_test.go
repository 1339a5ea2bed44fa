package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// BenchmarkPush stores new records in pushes of 500, as a whole: engine, change
// log, records, scopes, digests, one durable commit each.
func BenchmarkPush(b *testing.B) { benchEach(b, benchmarkPush) }

// benchEach measures on both engines, PostgreSQL with its own defaults.
func benchEach(b *testing.B, bench func(b *testing.B, on engine)) {
	b.Helper()
	b.Run("sqlite", func(b *testing.B) { bench(b, sqlite) })
	b.Run("postgres", func(b *testing.B) {
		c := pgtest.Start(b, "shared_buffers=128MB")
		bench(b, engine{Name: "postgres", Database: func(tb testing.TB) string { return c.Database(tb) }})
	})
}

func benchmarkPush(b *testing.B, on engine) {
	w := newWorld(b, on, 1)
	const batch = 500
	type pushed struct {
		req *tandemv1.SyncRequest
		p   []syncengine.Prepared
	}
	var all []pushed
	for range 20 {
		changes := make([]*tandemv1.Change, batch)
		for i := range changes {
			changes[i] = w.creation(w.staff, w.id(), w.encounter())
		}
		req := w.request(changes...)
		all = append(all, pushed{req, w.prepare(req)})
	}
	size := 0
	for _, p := range all[0].p {
		size += len(p.Raw)
	}
	n := 0
	for b.Loop() {
		if n == len(all) {
			b.Fatal("more iterations than prepared: run with -benchtime 20x")
		}
		out, err := w.apply(all[n].p, all[n].req)
		if err != nil {
			b.Fatal(err)
		}
		w.applied(out)
		n++
	}
	b.ReportMetric(float64(size)/batch, "B/change")
	b.ReportMetric(float64(n*batch)/b.Elapsed().Seconds(), "docs/s")
	if w.database == "" {
		b.ReportMetric(w.diskPerRecord(n*batch), "disk-B/doc")
	}
}

// BenchmarkPull reads the state of 10,000 records in pages, as a new device does.
func BenchmarkPull(b *testing.B) { benchEach(b, benchmarkPull) }

func benchmarkPull(b *testing.B, on engine) {
	w := newWorld(b, on, 1)
	const records = 10_000
	for range records / 500 {
		changes := make([]*tandemv1.Change, 500)
		for i := range changes {
			changes[i] = w.creation(w.staff, w.id(), w.encounter())
		}
		w.applied(w.push(changes...))
	}
	reader := w.id()
	w.write(func(tx *store.Tx) error {
		return tx.SaveReplica(&syncengine.Replica{ID: reader, Person: w.staff, Device: w.device, Key: w.public()})
	})
	answer := func(req *tandemv1.SyncRequest) (a *syncengine.Answer) {
		err := w.s.Read(b.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
			a, err = w.srv.Answer(v, reader, req, nil, w.now)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	set := answer(&tandemv1.SyncRequest{Budget: 1 << 20}).Message.GetPage().GetScopeSet().GetScopes()
	first := &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}
	var held []syncengine.ScopeID
	for _, s := range set {
		held = append(held, syncengine.ScopeID(s.GetId()))
		first.Positions = append(first.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
	}
	first.ScopeSet = syncengine.HashScopeSet(held)
	n := 0
	for b.Loop() {
		req := proto.CloneOf(first)
		for more := true; more; {
			a := answer(req)
			page := a.Message.GetPage()
			n += len(page.GetRows())
			more = a.Message.GetTrailer().GetMore()
			for i, to := range page.GetTo() {
				req.Positions[i].Position = to.GetPosition()
			}
			// What is read to the end is ready, and comes with the first position.
			done := map[string]bool{}
			for _, r := range page.GetReady() {
				done[string(page.GetScopes()[r])] = true
			}
			req.Positions = slices.DeleteFunc(req.Positions, func(p *tandemv1.ScopePosition) bool { return done[string(p.GetScope())] })
		}
	}
	if n < records*b.N {
		b.Fatalf("read %d rows, want %d", n, records*b.N)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
}

func (w *world) diskPerRecord(n int) float64 {
	if err := w.s.Close(); err != nil {
		w.tb.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(w.dir, "tandem.db"))
	if err != nil {
		w.tb.Fatal(err)
	}
	return float64(info.Size()) / float64(n)
}

// BenchmarkRaw is what push is measured against: the same bodies through the same
// driver into one table, 500 a transaction, durable.
func BenchmarkRaw(b *testing.B) {
	w := newWorld(b, sqlite, 1)
	var bodies [][]byte
	for range 500 {
		bodies = append(bodies, w.creation(w.staff, w.id(), w.encounter()).GetRecords()[0].GetBody())
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "raw.db")+"?_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(b.Context(), "CREATE TABLE doc (id BLOB NOT NULL UNIQUE, body BLOB NOT NULL)"); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		tx, err := db.BeginTx(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		stmt, err := tx.PrepareContext(b.Context(), "INSERT INTO doc VALUES ($1, $2)")
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		for _, body := range bodies {
			id := w.id()
			if _, err := stmt.ExecContext(b.Context(), id[:], body); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n*len(bodies))/b.Elapsed().Seconds(), "docs/s")
}
