//go:build linux || darwin

package export

import "golang.org/x/sys/unix"

// diskRoom is how many bytes may still be written to a disk.
func diskRoom(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // They are of other types elsewhere.
}
