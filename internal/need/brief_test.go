package need

import (
	"fmt"
	"testing"
	"time"
)

// noted is a testing.TB that notes an error.
type noted struct {
	testing.TB

	said string
}

func (*noted) Helper() {}

func (n *noted) Errorf(format string, args ...any) { n.said = fmt.Sprintf(format, args...) }

func TestBrief(t *testing.T) {
	t.Parallel()
	for took, ok := range map[time.Duration]bool{0: true, time.Second: true, time.Second + 1: false, time.Hour: false} {
		now := time.Duration(0)
		tb := &noted{TB: t}
		done := brief(tb, func() time.Duration { return now }, time.Second)
		now = took
		done()
		if (tb.said == "") != ok {
			t.Errorf("%v: %q", took, tb.said)
		}
	}
	began := cpuTime()
	x := 0
	for i := range 300_000_000 {
		x += i ^ x
	}
	if spent := cpuTime() - began; began != 0 && spent <= 0 && x != 0 {
		t.Errorf("work took %v of the processor", spent)
	}
}
