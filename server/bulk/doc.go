// Package bulk makes exports as jobs, and answers the FHIR Bulk Data Access API with them.
//
// An export that is asked for ([Exports.Ask]) is a job of package jobs: whichever server
// comes first makes it; where that one is killed another one goes on with it, at the same
// sequence, from the state that was read and the files that were whole. They lie in
// a directory of the export's own, encrypted with a key that is in the database alone, so
// that neither the disk nor the database gives them away; they are decrypted on the way to
// who asked. After [Options.Keep] they are removed.
//
// Servers that share a database hand out each other's exports where they share the
// directory; else the one that made an export must be asked for its files.
//
// # The API
//
// [Exports.Handler] has the routes under /fhir/: $export of everything that the person may
// export, of people (Patient/$export) and of one program (Group/{id}/$export). The person
// has signed in, as for every page; the header "Prefer: respond-async", which no form of
// another site can send, must be there. Since nothing is exported without it being said to
// whom and why, purpose, recipient and basis are parameters beside those of the standard.
package bulk
