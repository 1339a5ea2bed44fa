//go:build !plantedbugs

package planted

// On says that the bugs are part of this build.
const On = false

// Is reports whether a bug is switched on: never.
func Is(Bug) bool { return On }
