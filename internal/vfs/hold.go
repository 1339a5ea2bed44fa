package vfs

import (
	"errors"
	"fmt"
	"os"
)

// ErrMoved says that a name no longer stands for the file that it stood for.
var ErrMoved = errors.New("the file was moved, replaced or removed while it was open")

// Held is the files of an open database, by the names that they have. Whoever has a file
// open keeps it when its name goes: SQLite would go on and commit into a file that nobody
// finds again. The zero value holds nothing. Safe for concurrent use.
type Held struct {
	names []string
	files []os.FileInfo
}

// Hold takes note of files that are open. Only the system's own file system tells: on
// another mount nothing is held. A name that is not there is not held.
func (m *Mount) Hold(names ...string) (h Held) {
	if m.Name != "" {
		return h
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			h.names, h.files = append(h.names, name), append(h.files, info)
		}
	}
	return h
}

// Check returns ErrMoved where one of the names stands for another file than it did, or
// for none.
func (h Held) Check() error {
	for i, name := range h.names {
		info, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(info, h.files[i]) {
			return ErrMoved
		}
		if err != nil {
			return fmt.Errorf("looking for the database file: %w", err)
		}
	}
	return nil
}
