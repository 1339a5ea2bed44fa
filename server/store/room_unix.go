//go:build linux || darwin

package store

import "golang.org/x/sys/unix"

// freeSpace is how many bytes of the file system that a directory is on are free for this
// process. ok is false where the system does not tell.
func freeSpace(dir string) (free uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true // Their types are each system's own.
}
