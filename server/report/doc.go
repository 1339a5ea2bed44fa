// Package report counts what happened. It reads records one at a time from
// whatever holds them, and keeps counts alone.
//
// [Calls] answers how many calls there were, of which type, in which month, how
// they ended, and how often somebody was met. Counts are of a program's own staff
// to see: they are not suppressed, and no output of this package is for publication.
//
// # What counts
//
// Void records do not count. The moment of a call is when the team arrived, else
// when it was sent, else when the call came in: a call that ended has one of the
// first two, and an import often knows the third alone.
//
// A moment that is exact to the month or the day is a date in the zone that it was
// written in, and stays in that month wherever the report is made. No count is
// broken down finer than by month. A period that begins or ends inside the month,
// or day, of such a call cannot say whether the call is in it: the call is counted
// apart, as uncertain.
//
// A field that is not there and the code not_recorded both say nothing. They are
// counted as not_recorded, beside the codes, and as a share of their own; no rate
// takes them for a no.
package report
