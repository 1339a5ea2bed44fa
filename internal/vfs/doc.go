// Package vfs is where the stores meet the disk: a small file system in Go, and a
// way to put SQLite on it.
//
// A store asks [At] for the file system of its context, makes and removes files
// through it, and names it in the address of its database. Without [Mount.Use] that
// is the system's own file system, under SQLite's own driver: nothing of this
// package is then between the store and the disk. The only other ways to set it are
// in this module, so that no user, flag or address can.
//
// What stands on the seam implements [FS], and its files of databases [Shared]
// besides. One that wraps another passes on what it has no part in; it may keep
// locks and shared memory to the one below.
//
// # What SQLite is told
//
// Writes are as safe as on a real disk: a write may tear, but touches no byte beside
// its own (SQLITE_IOCAP_POWERSAFE_OVERWRITE), and nothing else is promised: no
// atomic write, no order. Memory-mapped reading is off. A new log or journal has its
// directory synced with its own first sync, as SQLite's driver for Unix does.
//
// An error that is a [CodeError] reaches SQLite as it is. Others become the code that
// the driver for Unix would give: ENOSPC at a write is SQLITE_FULL, and what is left
// is the I/O error of the call.
package vfs
