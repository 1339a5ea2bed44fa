// Package simtest is the simulator: the product's own protocol code, both ends of
// it, in a small world of one server, a few devices and a bad network. A world
// runs in one goroutine, without clock, I/O or chance of its own: everything that
// happens follows from a seed: what a seed breaks once, it breaks every time.
//
// A run has two phases. In the first, each step is one action of a table
// (actions.go): somebody writes (edits.go), a device asks, the network delivers,
// loses, doubles or reorders (network.go), something dies, the office changes who
// may see what (office.go). After every transaction of a device its screens are
// compared with what the server's history says they must show (check.go). In the
// second phase the faults stop, everyone syncs until nothing moves, and what must
// hold then is checked (quiet.go).
//
// Every step draws from a source of its own, so that steps can be left out and the
// others still do what they did: Shrink uses that to find a short run that fails.
// To add a fault, add a row to actions; to add an invariant, add a row to checks and
// to Invariants; to add a story, a file to testdata and run TestScripts with
// -sim.rewrite. With the tag plantedbugs TestPlantedBugs switches on the bugs of
// internal/planted one by one and hunts them.
// Both stores (server.go, device.go) fail on demand at any call.
//
// With a Dir, every transaction also runs on the product's own stores, on disks whose
// power goes (mirror.go): what the engine reads is theirs, and must be what the
// world's hold.
package simtest
