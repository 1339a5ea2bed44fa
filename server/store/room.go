package store

import (
	"fmt"
	"os"
)

// RoomError says that a directory has not the room that something needs. Nothing was done.
type RoomError struct {
	Dir        string
	Need, Free uint64
}

// Error implements error.
func (e *RoomError) Error() string {
	return fmt.Sprintf("%s has %d MiB free, and this needs about %d MiB: free some space there and try again; nothing was done", e.Dir, e.Free>>20, (e.Need+1<<20-1)>>20)
}

// drillSpare is what a restored copy takes besides its own size: a log while it is opened and
// brought up to date.
const drillSpare = 64 << 20

// RoomToDrill returns a [*RoomError] where a copy cannot be restored in a data directory for
// want of space, before anything of it is read. Of one that is encrypted a plain one is made
// there as well. Where the system does not tell what is free it returns nil.
func RoomToDrill(dir, from string, encrypted bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	need := uint64(max(info.Size(), 0))
	if encrypted {
		need *= 2
	}
	need += drillSpare
	if free, ok := freeSpace(dir); ok && free < need {
		return &RoomError{Dir: dir, Need: need, Free: free}
	}
	return nil
}
