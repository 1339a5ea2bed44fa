// Package faultfs is a disk that fails: the file system under a store in tests of
// what it promises about storage.
//
// A [Disk] keeps its files in memory and knows of each what is durable and what
// still waits to be. [Disk.Restart] cuts the power: it returns the disk as a drive
// could have left it. Of what was written and not synced, each sector of 512 bytes
// came through or did not, in any order; room that a file had gained and lost may
// read as rubbish; a name that was made or removed is as it was or as it became,
// unless its directory was synced. What a sync had covered is there, whole.
//
// Everything is drawn from the seed of the disk: the same calls on the same seed
// leave the same bytes.
//
// [Faults] say what else goes wrong, and when: the power goes at the n-th operation
// that changes something, a call fails, the disk has no room, a sync lies. A disk
// whose power is out answers every call with an error, so that what a store still
// does on its way out comes to nothing; what it says then is for the test to
// compare with what Restart left.
//
// [Disk.Flip] and [Disk.Swap] damage what lies still: bits that rot, a page that
// goes back to what it was.
//
// # Operations and calls
//
// A call is any use of the disk: open, read, write, truncate, sync, size, remove,
// the sync of a directory, a lock, a region of shared memory. An operation is a
// call that changes what is on the disk: a write, a truncation, a sync, a name made
// or removed, the sync of a directory. Both are counted from 1 in the order in
// which they come, so with one goroutine at work their numbers are the same at
// every run; a fault is aimed by number.
package faultfs
