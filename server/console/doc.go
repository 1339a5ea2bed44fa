// Package console is where leads and admins work: pages at the server, for a browser that
// has signed in (package people).
//
// # What a person sees
//
// A page reads one snapshot of the org, with the rights that the person has in it. A lead
// sees a record that stands in a scope which the lead holds, team by compartment, as a
// device of theirs would; nobody sees a private note. A record that is not there and one
// that is not theirs get the same answer. What pages tell of news is a hash of what the
// person may read, so that a commit elsewhere is not told. Admins see reference data,
// devices and the audit log, and no record of a person.
//
// Each page that shows records is noted in the audit log before it is sent, and each
// refusal too.
//
// # What a person changes
//
// Every change is one as a device would send it, made by [server.Admin.Change] or by the
// decisions on quarantine: judged by the person's rights, merged, logged. It names what
// stood on the screen; where that has moved, nothing is saved and the page says so.
//
// # The queue
//
// What asks for a lead's attention follows from the records, and is kept worked out in
// tables (desk.go): each page first takes in what has changed in the scopes that it reads,
// by sequence, so devices do nothing for it and an old database needs no conversion. What
// depends on the time of day is stored with the time from which on it asks.
//
// # Following
//
// A page waits for the store's wake-up and takes its own new text. That keeps no session
// alive: who goes away from the desk is signed out, and the page with them.
package console
