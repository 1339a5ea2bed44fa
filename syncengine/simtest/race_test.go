//go:build race

package simtest_test

// slow: the race detector is on. A world has one goroutine; a few are enough.
const slow = true
