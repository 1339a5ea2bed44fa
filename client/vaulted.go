package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/vfs"
)

// keeping says how a store is to be kept.
type keeping struct {
	// vault: in one, and moved there where it is not.
	vault bool
	// renew: with a new data key.
	renew bool
	// passphrase asks for it; fresh: for one that is new.
	passphrase func(ctx context.Context, fresh bool) ([]byte, error)
	cost       vault.Cost
}

// vaulted is the vault of an open store. A nil one is none.
type vaulted struct {
	keys  *vault.KeyFile
	fs    *vault.FS
	mount *vfs.Mount
}

// made notes that the database holds something.
func (v *vaulted) made() error {
	if v == nil {
		return nil
	}
	return vaultError("opening the store", v.keys.SetMade())
}

// close forgets the keys. Safe to call twice.
func (v *vaulted) close() {
	if v == nil || v.mount == nil {
		return
	}
	v.keys.Lock()
	v.fs.Drop()
	v.mount.Close()
	v.mount = nil
}

// vaultError turns an error of the vault into one of the store's.
func vaultError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*vault.DamageError](err); ok {
		return fmt.Errorf("%s: %w (%w)", doing, ErrDamaged, err)
	}
	if _, ok := errors.AsType[*vault.WrongPassphraseError](err); ok {
		return err
	}
	for _, known := range []error{ErrLocked, vault.ErrErased, vault.ErrKeyFile, vault.ErrWeak, ErrDamaged, ErrDiskFull, ErrStorage} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fileError(doing, err)
}

// openVault unlocks the vault of the store, makes it for a new one, and brings to its
// end what an interrupted move has left. Without a vault it does nothing.
func (s *store) openVault(ctx context.Context, k keeping) error {
	const doing = "opening the vault"
	path, keyPath := filepath.Join(s.dir, databaseFile), filepath.Join(s.dir, keyFile)
	base := s.disk.FS
	keys, err := vault.ReadKeyFile(base, keyPath)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !k.vault:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		passphrase, err := k.ask(ctx, true)
		if err != nil {
			return err
		}
		keys, err = vault.NewKeyFile(base, keyPath, passphrase, k.cost)
		clear(passphrase)
		if err != nil {
			return vaultError(doing, err)
		}
	case err != nil:
		return vaultError(doing, err)
	default:
		_, plain, _, err := vault.Probe(base, path, nil)
		if err != nil {
			return vaultError(doing, err)
		}
		if plain && !k.vault {
			// It was to be moved into a vault, and is not yet.
			return nil
		}
		passphrase, err := k.ask(ctx, false)
		if err != nil {
			return err
		}
		err = keys.Unlock(passphrase, k.cost)
		clear(passphrase)
		if err != nil {
			return vaultError(doing, err)
		}
	}
	if err := s.enterVault(ctx, path, keys, k.renew); err != nil {
		keys.Lock()
		return vaultError(doing, err)
	}
	return nil
}

// ask asks for the passphrase; ErrLocked where nobody is there to answer.
func (k *keeping) ask(ctx context.Context, fresh bool) ([]byte, error) {
	if k.passphrase == nil {
		return nil, ErrLocked
	}
	p, err := k.passphrase(ctx, fresh)
	if err == nil && len(p) == 0 {
		err = ErrLocked
	}
	return p, err
}

// enterVault puts the store on its vault.
func (s *store) enterVault(ctx context.Context, path string, keys *vault.KeyFile, renew bool) error {
	base := s.disk
	if keys.NextKey() != nil {
		if err := s.settle(ctx, path, keys); err != nil {
			return err
		}
	}
	if renew {
		next, err := keys.Renew()
		if err != nil {
			return err
		}
		if err := s.reseal(ctx, path, keys.CurrentKey(), next); err != nil {
			return err
		}
		if err := keys.Settle(true); err != nil {
			return err
		}
	}
	if _, _, empty, err := vault.Probe(base.FS, path, keys.CurrentKey()); err != nil || empty && keys.Made() {
		if err == nil {
			err = fmt.Errorf("%w (device.db is empty, and was not)", ErrDamaged)
		}
		return err
	}
	v := &vaulted{keys: keys}
	var err error
	if v.fs, v.mount, err = mountVault(base.FS, path, keys.CurrentKey(), vault.New); err != nil {
		return err
	}
	s.vault, s.disk = v, v.mount
	return nil
}

// mountVault mounts the file system of a database.
func mountVault(base vfs.FS, path string, key *vault.DataKey, of func(vfs.FS, string, *vault.DataKey) (*vault.FS, error)) (*vault.FS, *vfs.Mount, error) {
	f, err := of(base, path, key)
	if err != nil {
		return nil, nil, err
	}
	m, err := vfs.New(f)
	return f, m, err
}

// settle finds with which of two keys the database is sealed, and moves it where it is
// in the clear.
func (s *store) settle(ctx context.Context, path string, keys *vault.KeyFile) error {
	sealed, plain, empty, err := vault.Probe(s.disk.FS, path, keys.NextKey())
	if err != nil {
		return err
	}
	switch {
	case plain:
		if err := s.move(ctx, path, s.disk, keys.NextKey()); err != nil {
			return err
		}
		return keys.Settle(true)
	case sealed, empty && keys.CurrentKey() == nil:
		return keys.Settle(true)
	case keys.CurrentKey() == nil:
		return fmt.Errorf("%w (device.db is sealed with another key)", ErrDamaged)
	}
	// The new key was drawn, and the database not sealed with it.
	return keys.Settle(false)
}

// reseal seals the database with another key.
func (s *store) reseal(ctx context.Context, path string, from, to *vault.DataKey) error {
	if _, _, empty, err := vault.Probe(s.disk.FS, path, from); err != nil || empty {
		return err
	}
	f, m, err := mountVault(s.disk.FS, path, from, vault.New)
	if err != nil {
		return err
	}
	defer m.Close()
	defer f.Drop()
	return s.move(ctx, path, m, to)
}

// move copies the database into a vault and puts the copy in its place, at once: a
// power cut leaves the one or the other, and the key file has the keys of both.
func (s *store) move(ctx context.Context, path string, from *vfs.Mount, to *vault.DataKey) (err error) {
	base, fresh := s.disk.FS, path+newSuffix
	if err := base.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, m, err := mountVault(base, fresh, to, vault.NewCopy)
	if err != nil {
		return err
	}
	defer m.Close()
	defer f.Drop()
	source := &store{dir: s.dir, disk: from}
	if err := source.inspect(ctx, path); err != nil {
		return err
	}
	if err := source.copyTo(ctx, path, (&store{disk: m}).dsn(fresh)); err != nil {
		return err
	}
	if err := f.Finish(); err != nil {
		return err
	}
	if err := checkCopy(ctx, base, fresh, to); err != nil {
		return err
	}
	if size, err := base.Size(path + "-wal"); err == nil && size > 0 {
		return fmt.Errorf("%w (the log of device.db was not written back)", ErrStorage)
	}
	old, err := base.OpenFile(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	if runtime.GOOS == "windows" {
		// A file that is open keeps its name there.
		_ = old.Close()
	}
	// The log must be gone before another database has this name.
	if err := base.SyncDir(s.dir); err != nil {
		return err
	}
	if err := base.Rename(fresh, path); err != nil {
		return err
	}
	if err := base.SyncDir(s.dir); err != nil {
		return err
	}
	overwrite(old)
	return nil
}

// overwrite writes over a file that has no name any more, as far as a disk lets one.
func overwrite(f vfs.File) {
	size, err := f.Size()
	if err != nil {
		return
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at); err != nil {
			return
		}
	}
	_ = f.Sync()
}

// copyTo writes the log back and copies the database to an address.
func (s *store) copyTo(ctx context.Context, path, address string) (err error) {
	const doing = "copying the store"
	db, err := sql.Open("sqlite", s.dsn(path, "mode=rw", "_pragma=page_size("+fmt.Sprint(vault.PageSize)+")", "_pragma=temp_store(memory)", "_pragma=synchronous(full)"))
	if err != nil {
		return storeError(doing, err)
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if cerr := db.Close(); err == nil {
			err = storeError(doing, cerr)
		}
	}()
	var busy, log, done int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done); err != nil {
		return storeError(doing, err)
	}
	if busy != 0 {
		return fmt.Errorf("%s: %w", doing, ErrInUse)
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO $1", address)
	return storeError(doing, err)
}

// checkCopy reads a copy through before it takes the place of what it was made of.
func checkCopy(ctx context.Context, base vfs.FS, path string, key *vault.DataKey) error {
	const doing = "checking the copy of the store"
	f, m, err := mountVault(base, path, key, vault.New)
	if err != nil {
		return err
	}
	defer m.Close()
	defer f.Drop()
	s := &store{disk: m}
	db, err := sql.Open("sqlite", s.dsn(path, "mode=rw", "_pragma=temp_store(memory)"))
	if err != nil {
		return storeError(doing, err)
	}
	defer func() { _ = db.Close() }()
	var line string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&line); err != nil {
		return storeError(doing, err)
	}
	faults, err := f.Check()
	if err == nil && (line != "ok" || len(faults) > 0) {
		err = fmt.Errorf("%s: %w (%s %q)", doing, ErrDamaged, line, faults)
	}
	return err
}

// InVault reports whether the store is kept in a vault.
func (c *Client) InVault() bool { return c.store.vault != nil }

// SetPassphrase wraps the store's key by another passphrase; ErrNoVault where the store
// is not in a vault, vault.ErrWeak where it is too short.
func (c *Client) SetPassphrase(passphrase []byte) error {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	switch {
	case c.store.closed.Load():
		return ErrClosed
	case c.store.vault == nil:
		return ErrNoVault
	}
	return vaultError("changing the passphrase", c.store.vault.keys.SetPassphrase(passphrase, c.opts.Guess))
}

// Sealed says how the store of a directory is kept, without opening it: in a vault, or
// with its key erased.
func Sealed(dir string) (inVault, erased bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return false, false, err
	}
	k, err := vault.ReadKeyFile(vfs.System{}, filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, vaultError("reading the key file", err)
	}
	return true, k.Erased(), nil
}
