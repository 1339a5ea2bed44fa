//go:build race

package need

// slower is how much longer everything takes under the race detector.
const slower = 15

// Raced reports that the race detector watches: what the process holds is then no figure of the program.
const Raced = true
