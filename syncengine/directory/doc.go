// Package directory is the directory of services: what is read into it, and what is
// shown of it. It is pure.
//
// [ReadJSON] and [ReadTables] read the Human Services Data Specification (HSDS) 3.0 of
// Open Referral: its JSON (services with what belongs to them, organizations with their
// services, places of a service, alone, in an array or as a page of an API), and its
// tables as CSV files, with or without a datapackage.json. Both come to the same rows and
// so to the same resources: one for each service at each of its places, one for a service
// without a place. What a resource cannot hold is left out and named; what is broken (a
// service of no organization, an id that stands twice, a status that HSDS does not know)
// is an error with its table and row, and then nothing is taken.
//
// [List] is what is shown. The 988 lifeline stands on top of it, whatever is asked for,
// and also where there is no directory at all.
package directory
