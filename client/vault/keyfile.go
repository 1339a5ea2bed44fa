package vault

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tandem-response/tandem/internal/vfs"
)

// MostFailures is how many wrong passphrases a key file takes before it is erased.
const MostFailures = 10

// Errors of a key file.
var (
	// ErrErased: the key is gone, by an order or after MostFailures wrong passphrases.
	ErrErased = errors.New("the key of this store was erased: what was in it cannot be read by anybody. Unsent saves stand in the sealed outbox beside it: deliver that with any enrolled device, then enrol this one anew in another directory")
	// ErrKeyFile: the key file cannot be read.
	ErrKeyFile = errors.New("the key file of the store is damaged: without it the store cannot be read. Unsent saves stand in the sealed outbox beside it: deliver that with any enrolled device")
)

// WrongPassphraseError says that a passphrase does not fit.
type WrongPassphraseError struct{ Left int }

// Error says how many more there may be.
func (e *WrongPassphraseError) Error() string {
	return fmt.Sprintf("the passphrase does not fit; after %d more that do not, the key is erased", e.Left)
}

// keyFileVersion is the version of the format.
const keyFileVersion = 1

// contents of a key file, in JSON. Nothing in it is secret.
type contents struct {
	Version int    `json:"version"`
	ID      []byte `json:"id"`
	KDF     string `json:"kdf,omitempty"`
	Cost    Cost   `json:"cost"`
	Salt    []byte `json:"salt,omitempty"`
	// Current is the data key, Next the one that is to take its place: which of the two
	// the database is sealed with, it says itself.
	Current *wrapped `json:"current,omitempty"`
	Next    *wrapped `json:"next,omitempty"`
	// Failures are the wrong passphrases since the last right one.
	Failures int `json:"failures,omitempty"`
	// Made: the database has held something. One that is empty has lost it.
	Made   bool `json:"made,omitempty"`
	Erased bool `json:"erased,omitempty"`
}

// KeyFile holds a store's data key, wrapped by a passphrase. Its keys are in memory
// from Unlock to Lock. Not safe for concurrent use.
type KeyFile struct {
	fs   vfs.FS
	path string
	file contents

	kek           []byte
	current, next *DataKey
}

// Format hides what it holds, whatever the verb.
func (KeyFile) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(key file)") }

// kdf is the name of Argon2id, version 1.3.
const kdf = "argon2id-19"

// ReadKeyFile reads a key file; the error wraps fs.ErrNotExist where there is none.
func ReadKeyFile(disk vfs.FS, path string) (*KeyFile, error) {
	k := &KeyFile{fs: disk, path: path}
	b, err := readFile(disk, path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &k.file); err != nil {
		return nil, ErrKeyFile
	}
	switch {
	case k.file.Version > keyFileVersion:
		return nil, errVersion
	case k.file.Erased:
	case k.file.Version != keyFileVersion, k.file.KDF != kdf, !k.file.Cost.valid(), len(k.file.Salt) < 16, k.file.Current == nil && k.file.Next == nil:
		return nil, ErrKeyFile
	}
	// What an interrupted write has left is not the file.
	if err := disk.Remove(path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return k, nil
}

func readFile(disk vfs.FS, path string) ([]byte, error) {
	size, err := disk.Size(path)
	if err != nil {
		return nil, err
	}
	const most = 64 << 10
	if size > most {
		return nil, ErrKeyFile
	}
	f, err := disk.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// NewKeyFile makes a key file with a random data key. The key is the next one: Settle
// makes it the current one when the database is sealed with it.
func NewKeyFile(disk vfs.FS, path string, passphrase []byte, cost Cost) (*KeyFile, error) {
	if err := strong(passphrase); err != nil {
		return nil, err
	}
	k := &KeyFile{fs: disk, path: path, file: contents{Version: keyFileVersion, ID: make([]byte, 16)}}
	_, _ = rand.Read(k.file.ID)
	k.next = NewDataKey()
	if err := k.rewrap(passphrase, cost); err != nil {
		return nil, err
	}
	return k, nil
}

// context is what the wrapped keys are bound to.
func (k *KeyFile) context() []byte {
	return fmt.Appendf(nil, "tandem vault key 1 %x %s %d %d %d %x", k.file.ID, k.file.KDF, k.file.Cost.Time, k.file.Cost.MemoryKiB, k.file.Cost.Threads, k.file.Salt)
}

// rewrap wraps the keys in memory anew and writes the file.
func (k *KeyFile) rewrap(passphrase []byte, cost Cost) error {
	k.file.KDF, k.file.Cost, k.file.Salt = kdf, cost, make([]byte, 16)
	_, _ = rand.Read(k.file.Salt)
	clear(k.kek)
	k.kek = stretch(folded(passphrase), k.file.Salt, cost)
	if err := k.wrapAll(); err != nil {
		return err
	}
	return k.write()
}

func (k *KeyFile) wrapAll() (err error) {
	k.file.Current, k.file.Next = nil, nil
	if k.current != nil {
		if k.file.Current, err = wrap(k.kek, k.current, k.context()); err != nil {
			return err
		}
	}
	if k.next != nil {
		k.file.Next, err = wrap(k.kek, k.next, k.context())
	}
	return err
}

// newSuffix is that of a file which takes another's place.
const newSuffix = ".new"

// write puts the file in the place of the one before, at once.
func (k *KeyFile) write() error {
	b, err := json.Marshal(&k.file)
	if err != nil {
		return err
	}
	f, err := k.fs.OpenFile(k.path+newSuffix, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("writing the key file: %w", err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = k.fs.Rename(k.path+newSuffix, k.path)
	}
	if err == nil {
		err = k.fs.SyncDir(filepath.Dir(k.path))
	}
	if err != nil {
		return fmt.Errorf("writing the key file: %w", err)
	}
	return nil
}

// Unlock opens the keys. Each try is counted on the disk before it is made, so that
// ending the program gives no more of them; after MostFailures the keys are erased.
// Where the cost that the file was made with is less than the one given, the keys are
// wrapped anew.
func (k *KeyFile) Unlock(passphrase []byte, cost Cost) error {
	if k.file.Erased {
		return ErrErased
	}
	if k.file.Failures >= MostFailures {
		return errors.Join(ErrErased, k.Erase())
	}
	k.file.Failures++
	if err := k.write(); err != nil {
		return err
	}
	kek := stretch(folded(passphrase), k.file.Salt, k.file.Cost)
	current, next, err := k.unwrap(kek)
	if errors.Is(err, errSeal) {
		if k.file.Failures >= MostFailures {
			return errors.Join(ErrErased, k.Erase())
		}
		return &WrongPassphraseError{Left: MostFailures - k.file.Failures}
	}
	if err != nil {
		return err
	}
	k.kek, k.current, k.next, k.file.Failures = kek, current, next, 0
	if k.file.Cost.below(cost) {
		return k.rewrap(passphrase, cost)
	}
	return k.write()
}

func (k *KeyFile) unwrap(kek []byte) (current, next *DataKey, err error) {
	if k.file.Current != nil {
		if current, err = k.file.Current.unwrap(kek, k.context()); err != nil {
			return nil, nil, err
		}
	}
	if k.file.Next != nil {
		if next, err = k.file.Next.unwrap(kek, k.context()); err != nil {
			return nil, nil, err
		}
	}
	return current, next, nil
}

// CurrentKey returns the data key in memory, nil where there is none.
func (k *KeyFile) CurrentKey() *DataKey { return k.current }

// NextKey returns the key that is to take the place of the current one.
func (k *KeyFile) NextKey() *DataKey { return k.next }

// Renew draws a next key where there is none, and writes it to the disk.
func (k *KeyFile) Renew() (*DataKey, error) {
	if k.kek == nil {
		return nil, ErrLocked
	}
	if k.next == nil {
		k.next = NewDataKey()
		if err := errors.Join(k.wrapAll(), k.write()); err != nil {
			k.next, k.file.Next = nil, nil
			return nil, err
		}
	}
	return k.next, nil
}

// Settle says which of the two keys the database is sealed with, and lets the other go.
func (k *KeyFile) Settle(next bool) error {
	if next {
		k.current.drop()
		k.current, k.file.Current = k.next, k.file.Next
	} else {
		k.next.drop()
	}
	k.next, k.file.Next = nil, nil
	return k.write()
}

// Made reports whether the database has held something: one that is empty has lost it.
func (k *KeyFile) Made() bool { return k.file.Made }

// Erased reports whether the keys are gone.
func (k *KeyFile) Erased() bool { return k.file.Erased }

// SetMade notes that the database holds something.
func (k *KeyFile) SetMade() error {
	if k.file.Made {
		return nil
	}
	k.file.Made = true
	return k.write()
}

// SetPassphrase wraps the keys by another passphrase.
func (k *KeyFile) SetPassphrase(passphrase []byte, cost Cost) error {
	if k.kek == nil {
		return ErrLocked
	}
	if err := strong(passphrase); err != nil {
		return err
	}
	return k.rewrap(passphrase, cost)
}

// Lock forgets the keys.
func (k *KeyFile) Lock() {
	clear(k.kek)
	k.kek = nil
	k.current.drop()
	k.next.drop()
	k.current, k.next = nil, nil
}

// Erase destroys the keys, on the disk and in memory: nobody can read the store any
// more. The bytes of the wrapped keys are written over first.
func (k *KeyFile) Erase() error {
	k.Lock()
	var errs []error
	if size, err := k.fs.Size(k.path); err == nil {
		f, err := k.fs.OpenFile(k.path, os.O_RDWR)
		if err == nil {
			over := make([]byte, size)
			_, _ = rand.Read(over)
			_, err = f.WriteAt(over, 0)
			errs = append(errs, err, f.Sync(), f.Close())
		} else {
			errs = append(errs, err)
		}
	}
	k.file = contents{Version: keyFileVersion, ID: k.file.ID, Erased: true}
	return errors.Join(append(errs, k.write())...)
}
