//go:build race

package need

// slower is how much longer everything takes under the race detector.
const slower = 15
