// Package vault keeps a device's store so that it says nothing to who has its files
// and not its passphrase.
//
// [FS] is the file system that SQLite is given: one database and its log, sealed block
// by block with AES-256-GCM under a data key that only memory holds. There are no other
// files: temporary ones stay in memory, and the index of the log too.
//
// # What is found
//
// A page or a frame of the log that was changed, moved or emptied does not open, and
// is refused where it is read. Beyond that:
//
//   - The head of the database holds a sum over the tags of all pages, written when a
//     checkpoint is done. [FS.Check] makes it anew: a page put back as it was earlier
//     is found whatever stands on it.
//   - Each frame of the log says how many frames were on the disk when it was written.
//     A log whose whole transactions end sooner is damaged; SQLite alone would take
//     what a changed bit makes of it for its end. Behind the last transaction there is
//     nothing to say so: there damage looks like a torn write, and the server, which
//     knows how far the device's outbox went, finds it at the next contact.
//   - The head of the database knows which log its pages came from, and how much of
//     it: an older log is refused.
//
// All the files put back together are the store of an earlier day. That, too, the
// server finds at the next contact, and nothing of it is applied.
//
// # What a power cut leaves
//
// The head of each file is two sectors, written by turns. Pages are written by a
// checkpoint alone, from a log that is on the disk and stays until they are; before the
// first and after the last of them the head says so. What is torn of the log is its
// end. So a cut costs what it costs SQLite: nothing that was acknowledged.
package vault
