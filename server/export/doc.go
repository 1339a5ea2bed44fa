// Package export writes an org's records as files that other programs read: one state
// of the database, under one person's rights.
//
// # The package of files
//
// [Write] makes a directory: a CSV file for each kind of record, one more for each
// field that holds several values (the parent's id and an ordinal lead its rows; nothing
// is ever joined into one cell), codebook.csv with a row for each column, codes.csv with
// the code lists, README.txt, and manifest.json with the sequence of the state, what was
// asked for, what was left out, and rows, bytes and SHA-256 of each file. All tables come
// from the annotations of the contract, so that a new kind or field is exported without a
// line here.
//
// The same state and the same [Options] give the same bytes.
//
// # What is left out
//
// Drafts and void records unless asked for, notes unless asked for, records of a
// substance use program (42 CFR Part 2) unless asked for, and always what is private to
// its author. What the person may not read is not there and not counted. Values that were
// set aside in a conflict are not exported: the displayed value is.
//
// # Broken off
//
// Files are written under another name and renamed when all of them are on the disk, so
// that half an export never looks whole. What an export that was killed left behind is
// removed by the next one to the same place, which begins anew unless it is given what was
// kept (Options.Kept): where there is somebody to keep it (Options.Keep), the state is read once,
// into a sealed file, and all that follows is made of that. Memory does not grow with the number of records.
package export
