package need

import (
	"testing"
	"time"
)

// Briefly is Brief for one input where other tests run beside it, whose work counts as
// its own: what took too long is done again, up to twice, and the least counts. do must
// bear that.
func Briefly(tb testing.TB, input string, do func()) {
	tb.Helper()
	briefly3(tb, cpuTime, briefly*slower, input, do)
}

func briefly3(tb testing.TB, spent func() time.Duration, most time.Duration, input string, do func()) {
	tb.Helper()
	least := time.Duration(-1)
	for range 3 {
		began := spent()
		do()
		if took := spent() - began; least < 0 || took < least {
			least = took
		}
		if least <= most {
			return
		}
	}
	tb.Errorf("%s: this took %v of the processor, at most %v is right", input, least, most)
}

// CPU is the processor time that this process has used, for figures that say more on a busy
// machine than a clock does; 0 where it is not known.
func CPU() time.Duration { return cpuTime() }
