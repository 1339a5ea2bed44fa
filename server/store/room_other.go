//go:build !linux && !darwin

package store

// freeSpace is how many bytes of the file system that a directory is on are free for this
// process. ok is false where the system does not tell.
func freeSpace(string) (free uint64, ok bool) { return 0, false }
