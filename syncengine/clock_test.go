package syncengine_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

func TestDate(t *testing.T) {
	t.Parallel()
	const (
		hour = int64(3600_000)
		year = 365 * 24 * hour
		at   = 1_790_000_000_000 // the last contact, by the server
	)
	// A save an hour after that contact, by the monotonic clock; the server gets it a
	// day later.
	made := func(wall, offset int64, change func(*tandemv1.ChangeTime)) *tandemv1.ChangeTime {
		c := &tandemv1.ChangeTime{
			WallMs: wall, MonoMs: 5 * hour, Boot: []byte("12345678"), OffsetMs: offset, OffsetKnown: true, UncertaintyMs: 400,
			ContactMs: at, ContactMonoMs: 4 * hour,
		}
		if change != nil {
			change(c)
		}
		return c
	}
	rebooted := func(c *tandemv1.ChangeTime) { c.ContactBoot, c.MonoMs = []byte("abcdefgh"), hour }
	for name, tc := range map[string]struct {
		time *tandemv1.ChangeTime
		want syncengine.Dated
	}{
		"a good clock":                {made(at+hour, 0, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760}},
		"an hour fast":                {made(at+2*hour, -hour, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760}},
		"ten years fast":              {made(at+hour+10*year, -10*year, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760, Suspect: true}},
		"ten years slow":              {made(at+hour-10*year, 10*year, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760, Suspect: true}},
		"set right since":             {made(at+hour, -10*year, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760, Suspect: true}},
		"set back by ten minutes":     {made(at+hour-10*60_000, 0, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760, Suspect: true}},
		"set forward by ten minutes":  {made(at+hour+10*60_000, 0, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760}},
		"frozen":                      {made(at, 0, nil), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: 760, Suspect: true}},
		"restarted, an hour fast":     {made(at+2*hour, -hour, rebooted), syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: -1}},
		"restarted, at 1970":          {made(0, 0, rebooted), syncengine.Dated{CorrectedMS: at, UncertaintyMS: -1, Suspect: true}},
		"restarted, years ahead":      {made(at+10*year, 0, rebooted), syncengine.Dated{CorrectedMS: at + 24*hour, UncertaintyMS: -1, Suspect: true}},
		"a monotonic clock that lies": {made(at+hour, 0, func(c *tandemv1.ChangeTime) { c.MonoMs = 100 * year }), syncengine.Dated{CorrectedMS: at + 24*hour, UncertaintyMS: -1, Suspect: true}},
		"no contact that told":        {&tandemv1.ChangeTime{WallMs: at + hour}, syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: -1}},
		"an older app":                {&tandemv1.ChangeTime{WallMs: at, OffsetMs: hour, OffsetKnown: true}, syncengine.Dated{CorrectedMS: at + hour, UncertaintyMS: -1}},
		"nothing at all":              {nil, syncengine.Dated{CorrectedMS: 0, UncertaintyMS: -1}},
	} {
		if got := syncengine.Date(tc.time, at+24*hour); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}
