package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/vfs"
)

// Erase wipes the store: what waits unsent is sealed where it is not yet, the key is
// destroyed, on the disk and in memory, and the files are removed. The sealed outbox
// stays, since nobody but the organization's server can read it: delivered, it brings
// there every word that was not sent. The client is closed.
func (c *Client) Erase(ctx context.Context) error {
	if f := c.sealed(); f != nil {
		c.sealMissing(ctx)
	}
	if err := c.destroy(); err != nil {
		return fmt.Errorf("erasing the store: %w", err)
	}
	return nil
}

// Erase wipes the store of a directory without opening it: for who has not its
// passphrase. Of a store in the clear what was not sealed is lost, so that is refused:
// open it.
func Erase(dir string) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("erasing the store: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("locking the store: %w", err)
	}
	if !locked {
		return fmt.Errorf("erasing the store in %s: %w", dir, ErrInUse)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	disk := vfs.System{}
	k, err := vault.ReadKeyFile(disk, filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoVault
	}
	if errors.Is(err, vault.ErrKeyFile) {
		// It opens nothing any more.
		err = nil
	} else if err == nil {
		err = k.Erase()
	}
	return errors.Join(vaultError("erasing the store", err), removeStore(disk, dir))
}

// destroy destroys the key, on the disk and in memory, and removes the files. The key
// goes first: then nothing that is left of the files can be read.
func (c *Client) destroy() error {
	var errs []error
	if v := c.store.vault; v != nil {
		c.store.mu.Lock()
		errs = append(errs, v.keys.Erase())
		c.store.mu.Unlock()
	}
	errs = append(errs, c.Close(), removeStore(c.store.base.FS, c.store.dir))
	c.mu.Lock()
	if c.me != nil {
		clear(c.me.key)
	}
	c.mu.Unlock()
	return errors.Join(errs...)
}

// removeStore removes the files of a store, all but the sealed outbox and what says
// that the key is gone.
func removeStore(disk vfs.FS, dir string) error {
	var errs []error
	path := filepath.Join(dir, databaseFile)
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-journal", path + newSuffix, filepath.Join(dir, reserveFile)} {
		if f, err := disk.OpenFile(name, os.O_RDWR); err == nil {
			overwrite(f)
			errs = append(errs, f.Close())
		}
		if err := disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, disk.SyncDir(dir))...)
}
