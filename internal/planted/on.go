//go:build plantedbugs

package planted

import "sync/atomic"

// On says that the bugs are part of this build.
const On = true

var now atomic.Uint32

// Is reports whether a bug is switched on.
func Is(b Bug) bool { return Bug(now.Load()) == b }

// Plant switches one bug on, and every other off; None is none. It must not be
// called while code that asks runs.
func Plant(b Bug) { now.Store(uint32(b)) }
