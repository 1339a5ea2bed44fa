package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// keptReports is how many reports of backups are kept.
const keptReports = 50

// BackupReport is what was reported of a verified copy, or of its restore as a drill.
type BackupReport struct {
	// AtMS is when, Seq where the copy's history ends.
	AtMS int64
	Seq  uint64
	// Bytes and Digest (SHA-256) are those of the file; 0 and zero where another tool made
	// it and did not say. Encrypted: to a key that the server does not have.
	Bytes     int64
	Digest    syncengine.Hash
	Encrypted bool
	// Drill: the copy was restored, beside the server, and holds what it should.
	Drill bool
}

// reportBackup adds a report, and drops those of long ago; the newest drill stays.
func (tx *Tx) reportBackup(r BackupReport) (err error) {
	if r.AtMS, err = tx.NowMS(); err != nil {
		return err
	}
	var last int64
	if _, err := tx.c.one("SELECT COALESCE(MAX(n), 0) FROM backup_report WHERE org = $1", []any{tx.org.num}, &last); err != nil {
		return err
	}
	tx.writes += 2
	err = tx.c.exec("INSERT INTO backup_report (org, n, at_ms, seq, bytes, digest, encrypted, drill) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		tx.org.num, last+1, r.AtMS, int64(r.Seq), r.Bytes, r.Digest[:], boolArg(r.Encrypted), boolArg(r.Drill))
	if err != nil {
		return err
	}
	return tx.c.exec(`DELETE FROM backup_report WHERE org = $1 AND n <= $2
		AND n < (SELECT COALESCE(MAX(d.n), 0) FROM backup_report d WHERE d.org = backup_report.org AND d.drill = backup_report.drill)`, tx.org.num, last+1-keptReports)
}

// drillName is the directory, in the data directory, that a drill restores to.
const drillName = "drill.tmp"

// Drill restores copies as Restore does, beside this database and in its directory, compares
// what came of them with the history here, notes that it was done, and removes it. What o
// does not name of keys and journal is that of this server.
func (s *Store) Drill(ctx context.Context, o RestoreOptions, file BackupReport) (made []*Backup, err error) {
	if s.remote != nil {
		return nil, ErrFileOnly
	}
	dir := filepath.Join(s.dir, drillName)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("making room for the drill: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // The next drill removes it.
	if o.Keys == "" {
		o.Keys = filepath.Join(s.dir, keysName)
	}
	if o.Journal == "" {
		// The drill gets a copy, never the one that is written to; an empty one where
		// nothing was ever written.
		if o.Journal = s.journal.path; !exists(o.Journal) {
			o.Journal = filepath.Join(s.dir, drillName+".journal")
			if err := os.WriteFile(o.Journal, nil, 0o600); err != nil {
				return nil, fmt.Errorf("making room for the drill: %w", err)
			}
			defer os.Remove(o.Journal) //nolint:errcheck // It is empty.
		}
	}
	restored, err := Restore(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	for _, r := range restored {
		org, err := s.Org(ctx, r.Org)
		if err != nil {
			return nil, err
		}
		b, err := s.checkCopy(ctx, o.From, org)
		if err != nil {
			return nil, err
		}
		b.File = file
		if err := s.MarkDrill(ctx, b.Org, b.Seq, b.Hash, file); err != nil {
			return nil, err
		}
		made = append(made, b)
	}
	return made, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// MarkDrill notes that a copy, which holds the org's history up to a sequence, was restored
// beside the server and holds what it should.
func (s *Store) MarkDrill(ctx context.Context, org syncengine.ID, seq uint64, hash syncengine.Hash, file BackupReport) error {
	file.Seq, file.Drill = seq, true
	return s.Write(ctx, org, 1, func(tx *Tx) error {
		at, err := tx.ofHistory(seq, hash)
		if err != nil {
			return err
		}
		if err := tx.reportBackup(file); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_BACKUP_DRILLED, Number: seq, Hash: at[:]})
	})
}

// ofHistory returns the hash of the commit that ends at a sequence, and refuses a copy of
// another history. A zero hash is not compared.
func (tx *Tx) ofHistory(seq uint64, hash syncengine.Hash) (at syncengine.Hash, err error) {
	last, at, ok, err := tx.CommitAt(seq)
	switch {
	case err != nil:
		return at, err
	case !ok || last != seq:
		return at, ErrBackupSeq
	case hash != (syncengine.Hash{}) && hash != at:
		return at, ErrBackupHash
	}
	return at, nil
}

// BackupReports returns what was reported of an org's backups, the newest first.
func (s *Store) BackupReports(ctx context.Context, org syncengine.ID) (all []BackupReport, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT at_ms, seq, bytes, digest, encrypted, drill FROM backup_report WHERE org = $1 ORDER BY n DESC", []any{v.org.num}, func(rows *sql.Rows) error {
			var r BackupReport
			var seq, encrypted, drill int64
			err := rows.Scan(&r.AtMS, &seq, &r.Bytes, (*scanHash)(&r.Digest), &encrypted, &drill)
			r.Seq, r.Encrypted, r.Drill = uint64(seq), encrypted != 0, drill != 0
			all = append(all, r)
			return err
		})
	})
	return all, err
}
