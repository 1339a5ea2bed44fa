package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tandem-response/tandem/internal/vfs"
)

// KeySize is that of a data key.
const KeySize = 32

// DataKey is what a store is sealed with. It prints as nothing.
type DataKey struct{ b [KeySize]byte }

// NewDataKey draws one.
func NewDataKey() *DataKey {
	k := &DataKey{}
	_, _ = rand.Read(k.b[:])
	return k
}

// drop forgets it.
func (k *DataKey) drop() {
	if k != nil {
		clear(k.b[:])
	}
}

// Format hides it, whatever the verb.
func (*DataKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(key)") }

// Probe says how a database file is kept: sealed with a key (nil for none to try), in
// the clear, or neither; empty is a file with nothing in it, or none.
func Probe(disk vfs.FS, path string, key *DataKey) (sealed, plain, empty bool, err error) {
	size, err := disk.Size(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && size == 0 {
		return false, false, true, nil
	}
	if err != nil {
		return false, false, false, err
	}
	f, err := disk.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return false, false, false, err
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, 16)
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, false, false, err
	}
	if string(magic) == string(emptyPage[:16]) {
		return false, true, false, nil
	}
	if key == nil {
		return false, false, false, nil
	}
	s, err := newSealer(key)
	if err != nil {
		return false, false, false, err
	}
	h := head{kind: kindPageSlot}
	err = h.read(s, f)
	return h.at >= 0, false, h.at < 0 && h.spoiled == 0 && size <= headSize, err
}
