package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// keptBackups is how many verified backups are remembered; what the last of them
// holds is safe to forget elsewhere.
const keptBackups = 2

// Errors of backups.
var (
	// ErrBackupSeq: the history does not reach that far.
	ErrBackupSeq = errors.New("the history has no commit that ends at that sequence: give the sequence that the copy's history ends at")
	// ErrBackupHash: the copy is of another history.
	ErrBackupHash = errors.New("the copy is of another history than this database's: it does not count as its backup")
	// ErrBackupBad: the copy does not hold what it should.
	ErrBackupBad = errors.New("the copy is damaged: it does not count as a backup; make another one")
	// ErrBackupThere: a file stands where the copy should go.
	ErrBackupThere = errors.New("there is a file of that name already: name another one")
)

// Backup is a verified copy of the history of an org.
type Backup struct {
	Org syncengine.ID
	// Seq and Hash are where the copy's history ends.
	Seq  uint64
	Hash syncengine.Hash
	// MadeMS is when it was reported.
	MadeMS int64
	// File is what is known of the file.
	File BackupReport
}

// MarkBackup notes that a verified copy holds the org's history up to a sequence, which
// must be that of a commit. What the second-newest such copy holds, devices need not
// keep any more. A zero hash is not compared. file is what is known of the copy's file.
func (s *Store) MarkBackup(ctx context.Context, org syncengine.ID, seq uint64, hash syncengine.Hash, file BackupReport) error {
	file.Seq = seq
	return s.Write(ctx, org, 1, func(tx *Tx) error {
		at, err := tx.ofHistory(seq, hash)
		if err != nil {
			return err
		}
		if err := tx.markBackup(seq, at); err != nil {
			return err
		}
		if err := tx.reportBackup(file); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_BACKED_UP, Number: seq, Hash: at[:]})
	})
}

func (tx *Tx) markBackup(seq uint64, hash syncengine.Hash) error {
	tx.writes++
	err := tx.c.exec("INSERT INTO backup (org, seq, hash, made_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (org, seq) DO UPDATE SET hash = excluded.hash",
		tx.org.num, int64(seq), hash[:], tx.s.now().UnixMilli())
	if err != nil {
		return err
	}
	held, err := tx.opsUpTo(seq)
	if err != nil {
		return err
	}
	for num, ranges := range held {
		err := tx.c.exec("INSERT INTO backup_op (org, seq, replica, ranges) VALUES ($1, $2, $3, $4) ON CONFLICT (org, seq, replica) DO UPDATE SET ranges = excluded.ranges",
			tx.org.num, int64(seq), num, bytesArg(packRanges(ranges)))
		if err != nil {
			return err
		}
	}
	all, err := tx.backups()
	if err != nil {
		return err
	}
	for _, b := range all[min(len(all), keptBackups):] {
		for _, text := range []string{"DELETE FROM backup WHERE org = $1 AND seq = $2", "DELETE FROM backup_op WHERE org = $1 AND seq = $2"} {
			if err := tx.c.exec(text, tx.org.num, int64(b.Seq)); err != nil {
				return err
			}
		}
	}
	if len(all) < keptBackups {
		return nil
	}
	clear(tx.replicas)
	return tx.c.exec(`UPDATE replica SET backed = (SELECT ranges FROM backup_op b WHERE b.org = replica.org AND b.seq = $1 AND b.replica = replica.num) WHERE org = $2`,
		int64(all[keptBackups-1].Seq), tx.org.num)
}

// opsUpTo returns the ops that were judged at a sequence or before, by the number of
// their replica.
func (tx *Tx) opsUpTo(seq uint64) (map[int64][]syncengine.OpRange, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	held := map[int64][]syncengine.OpRange{}
	err := tx.c.each("SELECT replica, op FROM change WHERE org = $1 AND replica IS NOT NULL AND seq <= $2 ORDER BY replica, op",
		[]any{tx.org.num, int64(seq)}, func(rows *sql.Rows) error {
			var num, op int64
			err := rows.Scan(&num, &op)
			held[num] = syncengine.AddOp(held[num], uint64(op))
			return err
		})
	return held, err
}

// backups returns the remembered backups, the newest first.
func (v *view) backups() (all []*Backup, err error) {
	err = v.c.each("SELECT seq, hash, made_ms FROM backup WHERE org = $1 ORDER BY seq DESC", []any{v.org.num}, func(rows *sql.Rows) error {
		b := &Backup{Org: v.org.ID}
		var seq int64
		err := rows.Scan(&seq, (*scanHash)(&b.Hash), &b.MadeMS)
		b.Seq = uint64(seq)
		all = append(all, b)
		return err
	})
	return all, err
}

// Backups returns the remembered verified backups of an org, the newest first.
func (s *Store) Backups(ctx context.Context, org syncengine.ID) (all []*Backup, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.backups()
		return err
	})
	return all, err
}

// BackUp copies the database to a new file, verifies the copy (its own integrity, each
// org's digests and history) and notes it as a backup of every org. Keys and security
// journal are not in it: they are to be copied by themselves, to somewhere else. Reads
// and writes go on meanwhile.
func (s *Store) BackUp(ctx context.Context, to string) (made []*Backup, err error) {
	return s.BackUpThrough(ctx, to, nil)
}

// plainCopy is the name, in the data directory, of the copy that is verified before it is
// encrypted.
const plainCopy = "backup.tmp"

// BackUpThrough is BackUp where what is written goes through a writer that encrypts it;
// nil for none. The copy in the clear that is verified stands in the data directory
// meanwhile, beside the database that it is of, and nowhere else.
func (s *Store) BackUpThrough(ctx context.Context, to string, encrypt func(io.Writer) (io.WriteCloser, error)) (made []*Backup, err error) {
	if s.remote != nil {
		return nil, ErrFileOnly
	}
	if _, err := os.Lstat(to); err == nil {
		return nil, ErrBackupThere
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("making a backup: %w", err)
	}
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(to)
		}
	}()
	plain := to
	if encrypt != nil {
		plain = filepath.Join(s.dir, plainCopy)
		// What an interrupted backup has left.
		if err := os.Remove(plain); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("making a backup: %w", err)
		}
		defer os.Remove(plain) //nolint:errcheck // The next backup removes it.
	}
	if err := s.vacuumInto(ctx, plain); err != nil {
		return nil, err
	}
	for _, o := range orgs {
		b, err := s.checkCopy(ctx, plain, o)
		if err != nil {
			return nil, err
		}
		made = append(made, b)
	}
	if encrypt != nil {
		if err := encryptTo(plain, to, encrypt); err != nil {
			return nil, err
		}
	}
	file, err := MeasureBackup(to)
	if err != nil {
		return nil, err
	}
	file.Encrypted = encrypt != nil
	for _, b := range made {
		b.File = file
		if b.Seq == 0 {
			continue
		}
		if err := s.MarkBackup(ctx, b.Org, b.Seq, b.Hash, file); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// MeasureBackup reads the file of a copy for its size and digest.
func MeasureBackup(path string) (r BackupReport, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, fmt.Errorf("reading the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // It was only read.
	h := sha256.New()
	if r.Bytes, err = io.Copy(h, f); err != nil {
		return r, fmt.Errorf("reading the backup: %w", err)
	}
	copy(r.Digest[:], h.Sum(nil))
	return r, nil
}

// encryptTo writes a file through a writer, and reads back what came of it: nobody here can
// open it, but it is what was written.
func encryptTo(from, to string, encrypt func(io.Writer) (io.WriteCloser, error)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("encrypting the backup: %w", err)
		}
	}()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // It was only read.
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // It is synced before.
	wrote := sha256.New()
	sealed, err := encrypt(io.MultiWriter(out, wrote))
	if err != nil {
		return err
	}
	if _, err := io.Copy(sealed, in); err != nil {
		return err
	}
	if err := sealed.Close(); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	read := sha256.New()
	if _, err := io.Copy(read, out); err != nil {
		return err
	}
	if !bytes.Equal(read.Sum(nil), wrote.Sum(nil)) {
		return ErrBackupBad
	}
	return syncDir(filepath.Dir(to))
}

// vacuumInto writes a copy and syncs it.
func (s *Store) vacuumInto(ctx context.Context, to string) error {
	db, err := sql.Open("sqlite", s.dsn(filepath.Join(s.dir, databaseName), "temp_store(memory)"))
	if err != nil {
		return fmt.Errorf("making a backup: %w", err)
	}
	defer db.Close() //nolint:errcheck // It was only read.
	// A file that only its owner can read.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("making a backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // It is synced before.
	if _, err := db.ExecContext(ctx, "VACUUM INTO $1", to); err != nil {
		return fmt.Errorf("making a backup: %w", classify(err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("making a backup: %w", err)
	}
	return syncDir(filepath.Dir(to))
}

// checkCopy verifies the copy of an org, and returns where its history ends.
func (s *Store) checkCopy(ctx context.Context, path string, o *Org) (*Backup, error) {
	db, err := sql.Open("sqlite", s.dsn(path, "mode=ro", "query_only(1)"))
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	defer db.Close() //nolint:errcheck // It was only read.
	c, err := newConn(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	defer c.close() //nolint:errcheck // It was only read.
	v := &view{s: s, c: c, org: o, numbers: noNumbers()}
	r, err := v.verify(ctx)
	if err != nil {
		return nil, errors.Join(ErrBackupBad, err)
	}
	if len(r.Faults) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrBackupBad, r.Faults[0])
	}
	head, err := v.Head()
	if err != nil {
		return nil, err
	}
	return &Backup{Org: o.ID, Seq: head.Seq, Hash: head.Hash, MadeMS: s.now().UnixMilli()}, nil
}
