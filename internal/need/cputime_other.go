//go:build !unix

package need

import "time"

// cpuTime is not known here: nothing is bounded by it.
func cpuTime() time.Duration { return 0 }
