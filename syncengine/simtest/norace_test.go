//go:build !race

package simtest_test

// slow: the race detector is on.
const slow = false
