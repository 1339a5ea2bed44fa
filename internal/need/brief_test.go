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

// One slow turn of three is another test's; three are the input's.
func TestBriefly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		took  []time.Duration
		turns int
		ok    bool
	}{
		{[]time.Duration{time.Second}, 1, true},
		{[]time.Duration{time.Hour, time.Second}, 2, true},
		{[]time.Duration{time.Hour, time.Minute, 0}, 3, true},
		{[]time.Duration{time.Hour, time.Minute, time.Second + 1}, 3, false},
	} {
		now, turns := time.Duration(0), 0
		tb := &noted{TB: t}
		briefly3(tb, func() time.Duration { return now }, time.Second, "input", func() { now += tc.took[turns]; turns++ })
		if (tb.said == "") != tc.ok || turns != tc.turns {
			t.Errorf("%v: %d turns, %q", tc.took, turns, tb.said)
		}
	}
}
