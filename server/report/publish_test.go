package report_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Two reports overlap where they share a moment, by the clocks of whatever zone each has, or
// a day: what is known by its day alone would be in both.
func TestOverlapAcrossZones(t *testing.T) {
	t.Parallel()
	published := []*store.PublishedReport{{Program: syncengine.ID{1}, FirstDay: "2026-01-01", EndDay: "2026-02-01", Zone: "America/Chicago"}}
	unknown := []*store.PublishedReport{{Program: syncengine.ID{1}, FirstDay: "2026-01-01", EndDay: "2026-02-01", Zone: "Nowhere/Known"}}
	for _, c := range []struct {
		beside     []*store.PublishedReport
		zone       string
		first, end string
		want       error
	}{
		{published, "America/Chicago", "2026-02-01", "2026-03-01", nil},
		{published, "America/Chicago", "2025-12-01", "2026-01-01", nil},
		{published, "America/Chicago", "2026-01-31", "2026-03-01", report.ErrOverlap},
		// February begins an hour earlier in New York, and January later in Los Angeles.
		{published, "America/New_York", "2026-02-01", "2026-03-01", report.ErrOverlap},
		{published, "America/New_York", "2026-02-02", "2026-03-01", nil},
		{published, "America/Los_Angeles", "2026-02-01", "2026-03-01", nil},
		{published, "America/Los_Angeles", "2025-12-01", "2026-01-01", report.ErrOverlap},
		{published, "America/New_York", "2025-12-01", "2026-01-01", nil},
		// It is over where it is, and the day is the same.
		{published, "Pacific/Kiritimati", "2026-02-01", "2026-03-01", report.ErrOverlap},
		{[]*store.PublishedReport{{FirstDay: "2026-01-01", EndDay: "2026-02-01", Zone: "Pacific/Kiritimati"}}, "Pacific/Pago_Pago", "2026-01-31", "2026-03-01", report.ErrOverlap},
		{unknown, "UTC", "2026-02-01", "2026-03-01", report.ErrOverlap},
		{unknown, "UTC", "2026-02-02", "2026-03-01", nil},
		{[]*store.PublishedReport{{Program: syncengine.ID{2}, FirstDay: "2026-01-01", EndDay: "2026-02-01", Zone: "America/Chicago"}}, "America/New_York", "2026-02-01", "2026-03-01", nil},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		day := func(text string) time.Time {
			at, err := time.ParseInLocation(time.DateOnly, text, zone)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		o := report.OutcomeOptions{Zone: zone, From: day(c.first), To: day(c.end), Program: syncengine.ID{1}}
		if err := report.MayPublish(o, c.beside, day("2026-06-01")); !errors.Is(err, c.want) {
			t.Errorf("%s to %s in %s beside %s: %v, want %v", c.first, c.end, c.zone, c.beside[0].Zone, err, c.want)
		}
	}
}
