package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	_ "time/tzdata" // Months are the same on a machine that has no zones.

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// CallOptions is what a report of calls is about.
type CallOptions struct {
	// Zone is the agency's; nil is UTC.
	Zone *time.Location
	// From and To bound the period [From, To); a zero one leaves it open.
	From, To time.Time
	// Own are the codes of agencies, which count as the core codes that they are kinds of.
	Own *record.OwnCodes
}

// CallReport counts calls. Its JSON is stable: keys are added, never renamed; maps
// are in order of their keys, and every code that occurs is a key of its own.
type CallReport struct {
	// Period that was asked for.
	Period Period `json:"period"`
	// Calls in the period. Of the maps below each adds up to it, ByPoliceAction
	// excepted: a call may have several.
	Calls int `json:"calls"`
	// ByType counts by the final type, or where there is none by the first.
	ByType map[string]int `json:"by_type"`
	// ByMonth counts by month, yyyy-mm; calls without any time are not_recorded.
	ByMonth map[string]int `json:"by_month"`
	// ByOutcome counts by what came of the contact.
	ByOutcome map[string]int `json:"by_outcome"`
	// ByPoliceAction counts the calls with each action.
	ByPoliceAction map[string]int `json:"by_police_action"`
	// ProtectiveCustody counts whether the police took somebody into protective
	// custody: an apprehension under a mental health act. No is an answer that names
	// other actions, or none.
	ProtectiveCustody YesNo `json:"protective_custody"`
	// Contacts is the number of calls on which somebody was met.
	Contacts int `json:"contacts"`
	// ContactRate is the share of contacts among calls with an arrival whose outcome
	// is recorded.
	ContactRate Rate `json:"contact_rate"`
	// NotRecorded says, by field, of how many calls nothing is known.
	NotRecorded map[string]Share `json:"not_recorded"`
	// Uncertain calls are not among Calls: their time is too coarse to tell whether
	// they are in the period. Undated ones have no time at all; they are among Calls
	// only where the period is open at both ends.
	Uncertain int `json:"uncertain"`
	Undated   int `json:"undated"`
}

// Period is the time that a report is about.
type Period struct {
	// From and To are moments in the zone, RFC 3339; nil is open.
	From *string `json:"from"`
	To   *string `json:"to"`
	// Zone is its IANA name.
	Zone string `json:"zone"`
}

// YesNo counts answers.
type YesNo struct {
	Yes         int `json:"yes"`
	No          int `json:"no"`
	NotRecorded int `json:"not_recorded"`
}

// Rate is a share with what it is a share of.
type Rate struct {
	Numerator   int `json:"numerator"`
	Denominator int `json:"denominator"`
	// Percent to the whole number; nil where the denominator is 0.
	Percent *int `json:"percent"`
	// Unreliable: the denominator is below 20.
	Unreliable bool `json:"unreliable"`
}

// Share is how many of the calls say nothing.
type Share struct {
	Count int `json:"count"`
	Of    int `json:"of"`
	// Percent to the whole number; nil where there are no calls.
	Percent *int `json:"percent"`
}

// fewCases is the denominator below which a rate is unreliable.
const fewCases = 20

func newRate(numerator, denominator int) Rate {
	return Rate{numerator, denominator, percent(numerator, denominator), denominator < fewCases}
}

func percent(part, whole int) *int {
	if whole == 0 {
		return nil
	}
	return new(int(math.Round(100 * float64(part) / float64(whole))))
}

// Records calls f with each record of a store, and ends with the first error, its
// own or f's.
type Records func(f func(*syncengine.Record) error) error

// Calls counts the incidents among the records; those of other kinds are passed
// over. It returns the error of the records, or that of a record that cannot be
// read.
func Calls(records Records, o CallOptions) (*CallReport, error) {
	kind := record.New().KindOf((*tandemv1.Incident)(nil))
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return nil, errors.New("the period is empty: its end must come after its start")
	}
	c := newCounter(o)
	var in tandemv1.Incident
	err := records(func(rec *syncengine.Record) error {
		if rec.Kind != kind.Number {
			return nil
		}
		if err := proto.Unmarshal(rec.Body, &in); err != nil {
			return fmt.Errorf("reading incident %s: %w", rec.ID, err)
		}
		c.add(&in)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.result(), nil
}

func (o CallOptions) moment(at time.Time) *string {
	if at.IsZero() {
		return nil
	}
	return new(at.In(o.Zone).Format(time.RFC3339))
}

// counter adds up calls.
type counter struct {
	options CallOptions
	zones   map[string]*time.Location
	report  CallReport
	silent  map[string]int
	// attended calls with a known outcome, and those of them with contact.
	attended, met int
}

// asked are the fields whose silence is counted; time is any of those of when.
var asked = []string{
	"time", "arrived_at", "source", "call_type", "response_mode", "contact", "place_type", "le_involvement", "le_actions",
}

func newCounter(o CallOptions) *counter {
	c := &counter{options: o, zones: map[string]*time.Location{}, silent: map[string]int{}, report: CallReport{
		Period:         Period{From: o.moment(o.From), To: o.moment(o.To), Zone: o.Zone.String()},
		ByType:         map[string]int{},
		ByMonth:        map[string]int{},
		ByOutcome:      map[string]int{},
		ByPoliceAction: map[string]int{},
		NotRecorded:    map[string]Share{},
	}}
	for _, field := range asked {
		c.silent[field] = 0
	}
	return c
}

func (c *counter) add(in *tandemv1.Incident) {
	if in.GetLifecycle() == record.Void {
		return
	}
	r := &c.report
	when, dated := c.when(in)
	bounded := !c.options.From.IsZero() || !c.options.To.IsZero()
	if !dated {
		if r.Undated++; bounded {
			return
		}
	} else {
		switch c.place(when) {
		case outside:
			return
		case across:
			r.Uncertain++
			return
		}
	}
	r.Calls++
	month := record.NotRecorded
	if dated {
		month = when.month()
	}
	r.ByMonth[month]++
	typ := in.GetCallTypeFinal()
	if !recorded(typ) {
		typ = in.GetCallType()
	}
	contact := c.options.Own.Core("contact", in.GetContact())
	c.count(r.ByType, "call_type", c.options.Own.Core("call_type", typ))
	c.count(r.ByOutcome, "contact", contact)
	c.police(in.GetLeActions())
	c.says("time", dated)
	c.says("arrived_at", in.GetArrivedAt() != nil)
	c.says("source", recorded(in.GetSource()))
	c.says("response_mode", recorded(in.GetResponseMode()))
	c.says("place_type", recorded(in.GetPlaceType()))
	c.says("le_involvement", recorded(in.GetLeInvolvement()))
	if contact == "contact_made" {
		r.Contacts++
	}
	if in.GetArrivedAt() != nil && recorded(contact) {
		c.attended++
		if contact == "contact_made" {
			c.met++
		}
	}
}

// recorded reports whether a code says anything.
func recorded(code string) bool { return code != "" && code != record.NotRecorded }

// count adds a code to a map.
func (c *counter) count(codes map[string]int, field, code string) {
	c.says(field, recorded(code))
	if !recorded(code) {
		code = record.NotRecorded
	}
	codes[code]++
}

// says counts the calls of which a field says nothing.
func (c *counter) says(field string, something bool) {
	if !something {
		c.silent[field]++
	}
}

// police counts the actions of one call.
func (c *counter) police(actions []string) {
	actions = slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return !recorded(a) })
	for i, a := range actions {
		actions[i] = c.options.Own.Core("le_action", a)
	}
	// Two that are kinds of one are one.
	slices.Sort(actions)
	actions = slices.Compact(actions)
	c.says("le_actions", len(actions) > 0)
	switch {
	case len(actions) == 0:
		c.report.ByPoliceAction[record.NotRecorded]++
		c.report.ProtectiveCustody.NotRecorded++
	case slices.Contains(actions, "protective_custody"):
		c.report.ProtectiveCustody.Yes++
	default:
		c.report.ProtectiveCustody.No++
	}
	for _, a := range actions {
		c.report.ByPoliceAction[a]++
	}
}

func (c *counter) result() *CallReport {
	r := &c.report
	r.ContactRate = newRate(c.met, c.attended)
	for field, n := range c.silent {
		r.NotRecorded[field] = Share{n, r.Calls, percent(n, r.Calls)}
	}
	return r
}
