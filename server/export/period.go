package export

import (
	"errors"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrPeriod says that a period is none.
var ErrPeriod = errors.New("a period is from one day to another, both as YYYY-MM-DD: the first is not after the last")

// period takes what happened in it.
type period struct {
	from, until string
	// people whom it is about, once they are noted.
	people map[syncengine.ID]struct{}
	noted  bool
	// into are those whom merged people are.
	into map[syncengine.ID]syncengine.ID
}

func (j *job) choosePeriod() error {
	from, until := j.o.From, j.o.Until
	if from == "" && until == "" {
		return nil
	}
	if from != "" && !isDay(from) || until != "" && !isDay(until) || from != "" && until != "" && from > until {
		return ErrPeriod
	}
	j.period = &period{from: from, until: until, people: map[syncengine.ID]struct{}{}, into: map[syncengine.ID]syncengine.ID{}}
	return nil
}

// happened are the fields that say when what a record is about happened, the first that is
// there. Of other kinds it is when they were recorded.
var happened = map[string][]protoreflect.Name{
	"incident": {"arrived_at", "dispatched_at", "received_at"}, "encounter": {"started_at"}, "episode": {"opened_at"},
	"follow_up": {"occurred_at", "due_at"}, "form_response": {"answered_at"}, "consent": {"given_on"}, "disclosure": {"at"},
	"safety_alert": {"approved_at"}, "review": {"at"}, "note": {"signed_at"},
}

// day is when a record's event was, where it was.
func day(r *row) string {
	for _, name := range happened[r.kind.Name] {
		f := r.msg.Descriptor().Fields().ByName(name)
		if f == nil || !r.msg.Has(f) {
			continue
		}
		if f.Kind() == protoreflect.StringKind {
			return r.msg.Get(f).String()
		}
		if at, ok := r.msg.Get(f).Message().Interface().(*tandemv1.Instant); ok && at.GetAtMs() != 0 {
			return dayOf(at.GetAtMs(), r)
		}
	}
	return dayOf(r.stamps.GetAtMs(), r)
}

func dayOf(ms int64, r *row) string {
	text, _ := local(instant(ms), r.zone).(string)
	return text[:min(len(text), len("2006-01-02"))]
}

// has reports whether a record is in the period.
func (p *period) has(r *row) bool {
	if r.kind.Compartment == tandemv1.Compartment_COMPARTMENT_REF {
		return true
	}
	if r.kind.Name == "person" {
		_, ok := p.people[r.rec.ID]
		return ok || !p.noted
	}
	on := day(r)
	return (p.from == "" || on >= p.from) && (p.until == "" || on <= p.until)
}

// note notes whom a record of the period is about.
func (p *period) note(_ []*table, r *row) error {
	if m, ok := r.msg.Interface().(*tandemv1.Person); ok {
		if into, err := syncengine.ParseID(m.GetMergedInto()); err == nil {
			p.into[r.rec.ID] = into
		}
	} else if id := personOf(r); !id.IsZero() {
		p.people[id] = struct{}{}
	}
	return nil
}

// settle ends the noting: who was merged since is there as the person that they are.
func (p *period) settle() {
	for _, id := range slices.Collect(maps.Keys(p.people)) {
		for range len(p.into) {
			into, ok := p.into[id]
			if !ok {
				break
			}
			p.people[into] = struct{}{}
			id = into
		}
	}
	p.noted, p.into = true, nil
}
