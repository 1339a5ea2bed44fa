package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// tokenFS is a file system in whose files the tokens of a dialect are replaced.
type tokenFS struct {
	fs.FS
	dialect *dialect
}

// Open implements fs.FS.
func (t tokenFS) Open(name string) (fs.File, error) {
	f, err := t.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return &tokenFile{File: f, text: bytes.NewReader([]byte(t.dialect.tokens.Replace(string(text))))}, nil
}

type tokenFile struct {
	fs.File
	text *bytes.Reader
}

// Read implements fs.File.
func (f *tokenFile) Read(p []byte) (int, error) { return f.text.Read(p) }

// migrate brings a database to the version of this program, and refuses one that
// is beyond it. Where there is anything to do, before is called first.
func migrate(ctx context.Context, d *dialect, db *sql.DB, before func() error) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(d.goose, db, tokenFS{files, d}, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	has, latest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the version of the database: %w", classify(err))
	}
	if has > latest {
		return ErrNewer
	}
	if has == latest {
		return nil
	}
	if err := before(); err != nil {
		return fmt.Errorf("bringing the database up to date: %w", classify(err))
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing the database up to date: %w", classify(err))
	}
	return nil
}
