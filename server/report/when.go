package report

import (
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// span is the stretch of time in which a call happened, [start, end).
type span struct {
	start, end time.Time
	// date: start and end are what a calendar shows, as if in UTC, whatever the zone.
	date bool
}

func (s span) month() string { return s.start.Format("2006-01") }

// when returns the stretch that the moment of a call is exact to.
func (c *counter) when(in *tandemv1.Incident) (span, bool) {
	at := in.GetArrivedAt()
	if at == nil {
		at = in.GetDispatchedAt()
	}
	if at == nil {
		at = in.GetReceivedAt()
	}
	return c.stretch(at, in.GetTz())
}

// stretch returns the stretch that an instant is exact to, which was written in a zone.
func (c *counter) stretch(at *tandemv1.Instant, tz string) (span, bool) {
	if at == nil || at.AtMs == nil {
		return span{}, false
	}
	start := time.UnixMilli(at.GetAtMs())
	switch at.GetPrecision() {
	case "month":
		y, m, _ := start.In(c.zone(tz)).Date()
		return span{day(y, m, 1), day(y, m+1, 1), true}, true
	case "day":
		y, m, d := start.In(c.zone(tz)).Date()
		return span{day(y, m, d), day(y, m, d+1), true}, true
	}
	start = start.In(c.options.Zone)
	end := start.Add(time.Millisecond)
	if at.GetPrecision() == "hour" {
		end = start.Add(time.Hour)
	}
	return span{start, end, false}, true
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// zone returns a zone by name, the report's own where there is none of that name.
func (c *counter) zone(name string) *time.Location {
	if z := c.zones[name]; z != nil {
		return z
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		z = c.options.Zone
	}
	c.zones[name] = z
	return z
}

// place says where a call lies to the period.
type place uint8

const (
	inside place = iota
	outside
	across
)

// place compares dates with what clocks show at the ends of the period, and moments
// with moments.
func (c *counter) place(s span) place {
	from, to := c.options.From, c.options.To
	if s.date {
		from, to = c.shown(from), c.shown(to)
	}
	switch {
	case !from.IsZero() && !s.end.After(from), !to.IsZero() && !s.start.Before(to):
		return outside
	case !from.IsZero() && s.start.Before(from), !to.IsZero() && s.end.After(to):
		return across
	}
	return inside
}

// shown returns what the clocks of the report's zone show, as if in UTC.
func (c *counter) shown(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	at = at.In(c.options.Zone)
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
}
