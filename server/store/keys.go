package store

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// keysFile is the content of keys.json: what must not be in the database, nor in
// its backups.
type keysFile struct {
	Version int       `json:"version"`
	Orgs    []orgKeys `json:"orgs"`
	// Journal is where the security journal is, empty for beside this file.
	Journal string `json:"journal,omitempty"`
	// Nonce makes the nonces of proofs, which every server behind one address knows.
	Nonce []byte `json:"nonce,omitempty"`
}

// orgKeys are the keys of one org.
type orgKeys struct {
	ID string `json:"id"`
	// SigningSeed is that of the Ed25519 key which certifies replicas. Those before it are
	// not kept.
	SigningSeed []byte `json:"signing_seed"`
	// Successors are how it followed from the org's first: an encoded OrgRenewal without a
	// certificate.
	Successors []byte `json:"successors,omitempty"`
	// Secret is what the engine derives its keys from.
	Secret []byte `json:"secret"`
	// Seal are the keys that sealed outboxes are opened with, the newest last. None is
	// ever removed: a sealed outbox may turn up years later.
	Seal []sealKey `json:"seal,omitempty"`
}

// sealKey is one key of sealed outboxes.
type sealKey struct {
	// Seed of the X25519 key.
	Seed []byte `json:"seed"`
	// MadeMS is when it was made.
	MadeMS int64 `json:"made_ms"`
}

// keysVersion is 2 since the file holds keys of sealed outboxes, and 3 since it holds how
// signing keys followed from one another: a program that knows less would drop them.
const keysVersion = 3

// readKeys reads the keys file; one that is not there holds none.
func readKeys(dir string) (*keysFile, error) {
	keys := &keysFile{Version: keysVersion}
	f, err := os.Open(filepath.Join(dir, keysName))
	if errors.Is(err, os.ErrNotExist) {
		return keys, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the keys file: %w", err)
	}
	defer f.Close() //nolint:errcheck // It was only read.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the keys file: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, ErrKeysExposed
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading the keys file: %w", err)
	}
	// The error of json would quote the content.
	if json.Unmarshal(text, keys) != nil || keys.Version < 1 {
		return nil, ErrKeysUnreadable
	}
	if keys.Version > keysVersion {
		return nil, fmt.Errorf("the keys file: %w", ErrNewer)
	}
	keys.Version = keysVersion
	return keys, nil
}

// writeKeys replaces the keys file; it is on disk when writeKeys returns.
func writeKeys(dir string, keys *keysFile) (err error) {
	text, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the keys file: %w", err)
	}
	tmp, err := os.CreateTemp(dir, keysName+".*")
	if err != nil {
		return fmt.Errorf("writing the keys file: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the keys file: %w", err)
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := tmp.Chmod(0o600); err != nil && runtime.GOOS != "windows" {
		return err
	}
	if _, err := tmp.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, keysName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // It was only opened to be synced.
	return d.Sync()
}

// newKeys makes the keys of a new org.
func newKeys(id syncengine.ID, rand io.Reader, nowMS int64) (orgKeys, error) {
	k := orgKeys{ID: id.String(), SigningSeed: make([]byte, ed25519.SeedSize), Secret: make([]byte, 32)}
	for _, b := range [][]byte{k.SigningSeed, k.Secret} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return orgKeys{}, fmt.Errorf("making the keys of an organization: %w", err)
		}
	}
	return k, k.addSeal(rand, nowMS)
}

// addSeal makes the next key of sealed outboxes.
func (k *orgKeys) addSeal(rand io.Reader, nowMS int64) error {
	next := sealKey{Seed: make([]byte, seal.SeedSize), MadeMS: nowMS}
	if _, err := io.ReadFull(rand, next.Seed); err != nil {
		return fmt.Errorf("making a key of sealed outboxes: %w", err)
	}
	k.Seal = append(k.Seal, next)
	return nil
}

// find returns the keys of an org.
func (f *keysFile) find(id syncengine.ID) (*orgKeys, error) {
	for i := range f.Orgs {
		k := &f.Orgs[i]
		if k.ID != id.String() {
			continue
		}
		if len(k.SigningSeed) != ed25519.SeedSize || len(k.Secret) != 32 {
			return nil, ErrKeysUnreadable
		}
		return k, nil
	}
	return nil, ErrKeysMissing
}

// NonceKey returns the key of nonces that all servers with these keys share; it is made
// where there is none yet.
func (s *Store) NonceKey(ctx context.Context) (key []byte, err error) {
	file, err := readKeys(s.dir)
	if err != nil {
		return nil, err
	}
	if len(file.Nonce) > 0 {
		return file.Nonce, nil
	}
	err = s.changeKeys(ctx, func(file *keysFile) error {
		if len(file.Nonce) == 0 {
			file.Nonce = make([]byte, 32)
			if _, err := io.ReadFull(s.rand, file.Nonce); err != nil {
				return err
			}
		}
		key = file.Nonce
		return nil
	})
	return key, err
}
