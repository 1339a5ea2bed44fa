// Package mapping turns legacy spreadsheets into records. Every program arrives
// with a different one, so what its columns mean is written in a file of its own,
// the mapping, and not in the program.
//
//	m, err := mapping.Open("toronto.yaml")
//	file, err := m.File(ctx, csv)                 // encoding, size, hash, header
//	sum, err := file.Check(ctx, into, nil)        // every row, nothing kept
//	if sum.Bad > 0 && !keepGoing { … }            // all or nothing
//	for row, err := range file.Rows(ctx, into) {  // the same rows again
//		if bad, ok := errors.AsType[*mapping.RowError](err); ok { … continue }
//		if err != nil { … return }
//		use(row.Write)
//	}
//
// Rows are read one at a time; memory does not grow with the file, but for the 16
// bytes a row that tell a repeated key. No message holds a value of the file: a
// fault is told by line, column and reason.
//
// # The mapping file
//
// YAML, one document, read strictly: a key that is not listed here, a key that
// stands twice, an anchor or an alias is an error that names its line.
//
//	name: toronto-persons-in-crisis   # part of every record id: never change it
//	version: 1                        # count up with every change of the mapping
//	kind: incident
//	zone: America/Toronto             # IANA zone that the file's times are in
//	key: file_row                     # or the columns that identify a row: [call_no]
//	encoding: utf-8                   # or windows-1252; utf-8 may have a mark (BOM)
//	delimiter: ","                    # or ";" or tab
//	final_newline: required           # or optional, see below
//	empty_values: [NSA, N/A]          # cells that say as little as an empty one
//	fields:
//	  call_type: {column: event_type, values: {Overdose: overdose}, unknown: error}
//	ignore: [event_dow]               # columns that are left out on purpose
//
// name, version, kind, zone, key and fields must be there. Every column of the file
// must stand in fields, key or ignore, so that nothing is dropped unseen; a column
// that they name must be in the file. Cells lose the space around them.
//
// # Fields
//
// A field is named as the contract names it, with a dot inside messages
// (location.beat). Exactly one of these keys says where its value comes from:
//
//	constant: not_recorded            the same for every row; a list for a set
//	column: division                  a column
//	template: "TPS-{#file}-{#row}"    text; {name} is a column, {#row} the row in
//	                                  the file (the header is 1), {#file} the first
//	                                  8 digits of its SHA-256
//	date: {year: y, month: m}         parts of a date, see below
//	set: [{column: taser, …}, …]      for a set of codes, one entry a column
//	elements: [{name: {column: …}}]   for a list of messages, one entry an element
//
// With column may stand:
//
//	values:  {Yes: true, No: false}   what each value means; case is of no matter; ~
//	                                  sets nothing; a list for a set
//	unknown: error                    what to do with a value that is not listed:
//	                                  error (default), unset, or the value to take
//	split: ";"                        for sets: the column holds several values
//
// and with column, template and date:
//
//	empty: unset                      what to do with an empty cell: unset
//	                                  (default), error, or the value to take
//	empty_values: ["-"]               as above, for this field alone
//
// Codes are those of the contract; for a required code of which the source says
// nothing there is not_recorded. A column without values is taken as it stands:
// text, decimal number, or code.
//
// # Times
//
// date takes year, month, day, hour, minute, each a column or {constant: 2014}, or
// text with one column or several (joined by a space) and a layout of YYYY, MM, MON,
// DD, hh, mm, ss and AM. Months are numbers or English or Spanish names. The value
// is the start of the finest period that is known, in the mapping's zone, with the
// precision minute, hour, day or month beside it: a day that the source does not
// publish is not made up. Where finer parts are empty in a row, its precision is
// coarser. A local time that a zone skipped is an error; of one that came twice the
// first is meant.
//
// # Identity
//
// A record's id is the first 16 bytes of a SHA-256 over the mapping's name and
//
//   - key: [columns]: their values. The same key in another file is the same record,
//     and adds nothing. In one file a key may stand once.
//   - key: file_row: the file's SHA-256 and the row. The same file adds nothing, on
//     whichever device; rows that repeat another exactly stay records of their own;
//     a file that differs in one byte is another file. Use it only where the source
//     has no key. A compressed file is the file that it holds.
//
// # What is refused
//
// As a whole: UTF-16, workbooks, more than 1,000 columns or 1 MiB in a row, a
// quote that runs over line ends without an end, a compressed file that is damaged
// or expands beyond measure, a file without rows. By row: another number of cells
// than the header, a misplaced quote, bytes that are not in the encoding, control
// characters, values that the mapping or the contract does not take, a repeated
// key, and a last line without a line end, which may be half of one (final_newline:
// optional takes it, for programs that never write the last). Rows of empty cells
// are passed over. Formulas are text like any other.
package mapping
