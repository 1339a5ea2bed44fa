package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/klauspost/compress/zstd"
)

// chunked is step 2 by devices that take rows made for several: the server makes them
// for the first, and sends them to the second as they are.
func (b *bench) chunked() error {
	if b.cmd.Server != "" {
		// Its codes are for the other steps.
		return nil
	}
	for i, into := range []**benchStep{&b.res.Making, &b.res.Chunked} {
		step, err := b.first(fmt.Sprintf("chunked-%d", i+1))
		if err != nil {
			return err
		}
		*into = &step
	}
	return nil
}

// bootstrap is the same once more, after the edits: what is kept, then the tail.
func (b *bench) bootstrap() error {
	if b.cmd.Server != "" {
		return nil
	}
	step, err := b.first("bootstrap")
	b.res.Bootstrap = &step
	return err
}

// first is the first download of a device that takes rows made for several.
func (b *bench) first(name string) (step benchStep, err error) {
	d, err := b.device(name, nil)
	if err != nil {
		return step, err
	}
	step, err = b.fetch(d)
	return step, errors.Join(err, d.dev.Close())
}

// restoreRaw is the raw limit of a first download: a compressed file of finished tables,
// inflated, written, synced, opened and counted, in documents a second. The database at
// path is closed.
func restoreRaw(ctx context.Context, path string, n int) (rate float64, err error) {
	plain, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	e, err := zstd.NewWriter(nil)
	if err != nil {
		return 0, err
	}
	packed := e.EncodeAll(plain, nil)
	d, err := zstd.NewReader(nil)
	if err != nil {
		return 0, errors.Join(err, e.Close())
	}
	defer func() { d.Close(); err = errors.Join(err, e.Close()) }()
	copied := path + ".copy"
	began := time.Now()
	if plain, err = d.DecodeAll(packed, plain[:0]); err != nil {
		return 0, err
	}
	if err := writeSynced(copied, plain); err != nil {
		return 0, err
	}
	db, err := sql.Open("sqlite", "file:"+copied)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close(), os.Remove(copied)) }()
	held := 0
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM doc`).Scan(&held); err != nil {
		return 0, err
	}
	if held != n {
		return 0, fmt.Errorf("the copy holds %d of %d documents", held, n)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// profiled runs a step, and writes its profiles where they are asked for.
func (b *bench) profiled(name string, step func() error) error {
	if b.cmd.Profile == "" {
		return step()
	}
	file := filepath.Join(b.cmd.Profile, fmt.Sprintf("%s-%d", name, b.records))
	stop, err := profile(file + ".cpu.pprof")
	if err != nil {
		return err
	}
	if err := errors.Join(step(), stop()); err != nil {
		return err
	}
	f, err := os.Create(file + ".memory.pprof")
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
