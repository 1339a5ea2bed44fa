// Package tandem is the root of a record system for mobile crisis teams: field
// devices that work without a signal, a server that they meet when there is one,
// and a sync protocol that loses nothing in between.
//
// It holds no code, only the tests of the repository as a whole. Start at
// syncengine for the protocol, at client for a device, at server for the server,
// and at cmd/tandem for the program.
package tandem
