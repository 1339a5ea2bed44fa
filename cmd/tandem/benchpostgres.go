package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// tableSchema is where the server keeps its tables, rawSchema where the raw limits are
// measured.
const (
	tableSchema = "tandem"
	rawSchema   = "tandem_bench_raw"
)

// inDatabase runs fn on a connection.
func inDatabase(ctx context.Context, address string, fn func(*pgx.Conn) error) (err error) {
	if err := store.CheckAddress(address); err != nil {
		return exits(exitUsage, fmt.Errorf("--database: %w", err))
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return exits(exitNoAnswer, store.ErrUnreachable)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return fn(conn)
}

// emptyDatabase makes sure that what a bench drops at its end is its own, and returns
// the version of PostgreSQL.
func emptyDatabase(ctx context.Context, address string) (version string, err error) {
	err = inDatabase(ctx, address, func(conn *pgx.Conn) error {
		there := false
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname IN ($1, $2)), current_setting('server_version')`,
			tableSchema, rawSchema).Scan(&there, &version)
		if err == nil && there {
			return errNotEmpty
		}
		return err
	})
	return version, err
}

// dropTables removes the server's tables.
func dropTables(ctx context.Context, address string) error {
	return inDatabase(ctx, address, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+tableSchema+" CASCADE")
		return err
	})
}

// databaseSize is what the server's tables and their indexes take.
func databaseSize(ctx context.Context, address string) (bytes int64, err error) {
	err = inDatabase(ctx, address, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
			JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')`, tableSchema).Scan(&bytes)
	})
	return bytes, err
}

// postmaster is the process that all of PostgreSQL's are started by, where it is on this
// machine; else 0.
func postmaster(ctx context.Context, address string) (pid int, err error) {
	err = inDatabase(ctx, address, func(conn *pgx.Conn) error {
		if tcp, ok := conn.PgConn().Conn().RemoteAddr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			return nil
		}
		backend := 0
		if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
			return err
		}
		// What answers on loopback may be a tunnel to somewhere else.
		name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(backend), "comm"))
		if err == nil && strings.HasPrefix(string(name), "postgres") {
			pid, _, _ = statOf(backend)
		}
		return nil
	})
	return pid, err
}

// insertPostgres inserts rows into a table of its own by COPY, and again by inserts of
// many rows, and returns both rates.
func insertPostgres(ctx context.Context, address string, rows []syncengine.Record) (copied, inserted float64, err error) {
	err = inDatabase(ctx, address, func(conn *pgx.Conn) (err error) {
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+rawSchema); err != nil {
			return err
		}
		defer func() {
			_, dropped := conn.Exec(context.WithoutCancel(ctx), "DROP SCHEMA "+rawSchema+" CASCADE")
			err = errors.Join(err, dropped)
		}()
		for _, table := range []string{"copied", "inserted"} {
			if _, err := conn.Exec(ctx, "CREATE TABLE "+rawSchema+"."+table+" (id bytea PRIMARY KEY, body bytea NOT NULL)"); err != nil {
				return err
			}
		}
		began := time.Now()
		_, err = conn.CopyFrom(ctx, pgx.Identifier{rawSchema, "copied"}, []string{"id", "body"}, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			return []any{rows[i].ID[:], rows[i].Body}, nil
		}))
		if err != nil {
			return err
		}
		copied = float64(len(rows)) / time.Since(began).Seconds()
		began = time.Now()
		for part := range slices.Chunk(rows, rawBatch) {
			ids, bodies := make([][]byte, len(part)), make([][]byte, len(part))
			for i := range part {
				ids[i], bodies[i] = part[i].ID[:], part[i].Body
			}
			if _, err := conn.Exec(ctx, "INSERT INTO "+rawSchema+".inserted (id, body) SELECT * FROM unnest($1::bytea[], $2::bytea[])", ids, bodies); err != nil {
				return err
			}
		}
		inserted = float64(len(rows)) / time.Since(began).Seconds()
		return nil
	})
	return copied, inserted, err
}
