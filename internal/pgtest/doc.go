// Package pgtest gives tests a PostgreSQL of their own: started once for a test
// binary, by an unprivileged user, on a private socket, and ended with it. Each test
// gets its own database, copied from a template where the test names one. It is for
// tests alone.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// PostgreSQL is looked for on the PATH and where Debian puts it; where it is missing
// the test ends as package need says.
package pgtest
