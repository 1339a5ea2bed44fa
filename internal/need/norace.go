//go:build !race

package need

// slower is 1: nothing slows the program down.
const slower = 1

// Raced reports that the race detector watches: what the process holds is then no figure of the program.
const Raced = false
