package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-response/tandem/syncengine"
	"golang.org/x/net/http2/hpack"
	_ "modernc.org/sqlite" // the driver that client and server use
)

// raw measures the raw limit: the same bodies into one table of the same driver, 500 a
// transaction, synchronous=FULL. What a machine can do changes from one second to the
// next, so that it is measured several times over the run; the median counts.
func (b *bench) raw() error {
	var rows []syncengine.Record
	total := 0
	err := b.devs[0].dev.Each(b.a.ctx, func(r *syncengine.Record) error {
		if len(rows) < b.cmd.Records {
			rows = append(rows, *r)
			total += len(r.Body) + len(r.Stamps)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.res.BodyBytes = per(int64(total), len(rows))
	for range 3 {
		rate, err := insertRaw(b.a.ctx, filepath.Join(b.dir, fmt.Sprintf("raw-%d.db", len(b.rates))), rows)
		if err != nil {
			return err
		}
		b.rates = append(b.rates, rate)
	}
	sorted := slices.Sorted(slices.Values(b.rates))
	b.res.RawInsert = sorted[len(sorted)/2]
	return nil
}

func insertRaw(ctx context.Context, path string, rows []syncengine.Record) (rate float64, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE doc (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL)`); err != nil {
		return 0, err
	}
	began := time.Now()
	for part := range slices.Chunk(rows, 500) {
		if err := insertPart(ctx, db, part); err != nil {
			return 0, err
		}
	}
	return float64(len(rows)) / time.Since(began).Seconds(), nil
}

func insertPart(ctx context.Context, db *sql.DB, part []syncengine.Record) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO doc (id, body) VALUES ($1, $2)`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for i := range part {
		if _, err := stmt.ExecContext(ctx, part[i].ID[:], part[i].Body); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// proofMeter is an HTTP/2 transport through a gate that counts the bytes of the
// headers that prove who asks, as HPACK writes them: Huffman coded, and the
// certificate once a connection.
type proofMeter struct {
	base            http.RoundTripper
	gate            *gate
	seen            atomic.Int64
	bytes, requests atomic.Int64
}

func newProofMeter(g *gate) *proofMeter {
	t := &http.Transport{DialContext: g.dial, Protocols: new(http.Protocols), DisableCompression: true}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &proofMeter{base: t, gate: g}
}

func (p *proofMeter) RoundTrip(r *http.Request) (*http.Response, error) {
	p.requests.Add(1)
	p.bytes.Add(int64(hpack.HuffmanEncodeLength(r.Header.Get("DPoP"))) + 4)
	if dials := p.gate.dials.Load(); p.seen.Swap(dials+1) != dials+1 {
		p.bytes.Add(int64(hpack.HuffmanEncodeLength(r.Header.Get("Authorization"))) + 4)
	}
	return p.base.RoundTrip(r)
}
