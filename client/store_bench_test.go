package client

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

const perTransaction = 500

// BenchmarkRawInsert is the limit that the store is measured against: the same
// bodies into the smallest table that could hold them.
func BenchmarkRawInsert(b *testing.B) {
	db, err := sql.Open("sqlite", (&store{disk: vfs.At(b.Context())}).dsn(filepath.Join(b.TempDir(), "raw.db"),
		"_pragma=journal_mode(wal)", "_pragma=synchronous(full)", "_txlock=immediate"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(b.Context(), `CREATE TABLE doc (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	next := someRecords(b)
	batch := make([]*syncengine.DeviceRecord, perTransaction)
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = next()
		}
		b.StartTimer()
		tx, err := db.BeginTx(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		st, err := tx.PrepareContext(context.WithoutCancel(b.Context()), `INSERT INTO doc (id, body) VALUES (?, ?)`)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		for _, r := range batch {
			if _, err := st.ExecContext(context.WithoutCancel(b.Context()), r.ID[:], r.Body); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*perTransaction)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkStoreInsert(b *testing.B) {
	s := openTestStore(b)
	next := someRecords(b)
	batch := make([]*syncengine.DeviceRecord, perTransaction)
	ids := make([]syncengine.ID, perTransaction)
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = next()
			ids[i] = batch[i].ID
		}
		b.StartTimer()
		err := s.write(b.Context(), "inserting", func(t *tx) error {
			if err := t.Prefetch(ids); err != nil {
				return err
			}
			for _, r := range batch {
				if _, err := t.Record(r.ID); err != nil {
					return err
				}
				if err := t.SaveRecord(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*perTransaction)/b.Elapsed().Seconds(), "records/s")
}

// openTestStore opens a store in a temporary directory.
func openTestStore(tb testing.TB) *store {
	tb.Helper()
	cols, err := newColumns(record.New())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := openStore(tb.Context(), tb.TempDir(), cols, keeping{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// someRecords returns a source of encounters of about a kilobyte, as the server
// sends them.
func someRecords(tb testing.TB) func() *syncengine.DeviceRecord {
	tb.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	chance := rand.NewChaCha8([32]byte{1})
	n := 0
	newID := func() syncengine.ID {
		id, err := syncengine.NewID(1_790_000_000_000+int64(n), chance)
		if err != nil {
			tb.Fatal(err)
		}
		return id
	}
	team, author := newID(), newID()
	var words []string
	for i := range 400 {
		words = append(words, fmt.Sprintf("w%xo%d", rnd.Uint32()%4096, i))
	}
	return func() *syncengine.DeviceRecord {
		n++
		var text strings.Builder
		for range 80 {
			text.WriteString(words[rnd.IntN(len(words))])
			text.WriteByte(' ')
		}
		msg := &tandemv1.Encounter{
			TeamId: new(team.String()), Lifecycle: new("draft"), IncidentId: new(newID().String()), PersonId: new(newID().String()),
			Type: new("crisis_response"), StartedAt: &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000 + n*60_000)), Origin: new("tap")},
			Disposition: new("resolved_on_scene"), Narrative: new(text.String()),
		}
		body, err := record.New().Body(msg)
		if err != nil {
			tb.Fatal(err)
		}
		stamps, err := proto.MarshalOptions{Deterministic: true}.Marshal(&tandemv1.Stamps{
			Created: rnd.Uint64() | 1, Author: author[:], Device: team[:], AtMs: int64(1_790_000_000_000 + n),
		})
		if err != nil {
			tb.Fatal(err)
		}
		rec := syncengine.Record{ID: newID(), Kind: record.New().KindByName("encounter").Number, Body: body, Stamps: stamps}
		return &syncengine.DeviceRecord{Record: rec, Scopes: 1, HasBase: true, BaseHash: rec.Hash()}
	}
}
