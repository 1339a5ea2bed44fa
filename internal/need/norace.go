//go:build !race

package need

// slower is 1: nothing slows the program down.
const slower = 1
