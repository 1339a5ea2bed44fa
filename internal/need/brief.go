package need

import (
	"testing"
	"time"
)

// briefly is what one hostile input may take of the processor: beyond it, whoever sent
// it has found a way to make the program hang.
const briefly = time.Second

// Brief bounds what the processor may spend from now to the call of what it returns:
//
//	defer need.Brief(t)()
//
// It is for fuzz targets, whose inputs run one after another: the time is that of the
// whole process, and none that it waits for.
func Brief(tb testing.TB) func() { return brief(tb, cpuTime, briefly*slower) }

func brief(tb testing.TB, spent func() time.Duration, most time.Duration) func() {
	tb.Helper()
	began := spent()
	return func() {
		tb.Helper()
		if took := spent() - began; took > most {
			tb.Errorf("this input took %v of the processor, at most %v is right", took, most)
		}
	}
}
