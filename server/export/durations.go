package export

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A de-identified set has no moments, but it has what lies between them.

// between is a duration that a record has.
type between struct {
	kind, name, en, es, about string
	// unit in ms, and the most of them that is counted.
	unit int64
	most int
	of   func(v *veil, r *row) (from, to *tandemv1.Instant)
}

const (
	minuteMS = 60_000
	dayMS    = 24 * 60 * minuteMS
)

var durations = []between{
	{"incident", "response_minutes", "Minutes to arrive", "Minutos hasta llegar", "Minutes from dispatch to arrival.", minuteMS, 2880,
		func(_ *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.Incident)
			return m.GetDispatchedAt(), m.GetArrivedAt()
		}},
	{"incident", "scene_minutes", "Minutes on scene", "Minutos en el lugar", "Minutes from arrival to clearing.", minuteMS, 2880,
		func(_ *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.Incident)
			return m.GetArrivedAt(), m.GetClearedAt()
		}},
	{"encounter", "minutes", "Minutes", "Minutos", "Minutes from start to end.", minuteMS, 2880,
		func(_ *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.Encounter)
			return m.GetStartedAt(), m.GetEndedAt()
		}},
	{"encounter", "episode_day", "Day of the episode", "Día del episodio", "Days from the start of the episode.", dayMS, 3660,
		func(v *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.Encounter)
			return v.opened(m.GetEpisodeId()), m.GetStartedAt()
		}},
	{"follow_up", "episode_day", "Day of the episode", "Día del episodio", "Days from the start of the episode.", dayMS, 3660,
		func(v *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.FollowUp)
			return v.opened(m.GetEpisodeId()), m.GetOccurredAt()
		}},
	{"episode", "days_open", "Days open", "Días abierto", "Days from opening to closing.", dayMS, 3660,
		func(_ *veil, r *row) (_, _ *tandemv1.Instant) {
			m, _ := r.msg.Interface().(*tandemv1.Episode)
			return m.GetOpenedAt(), m.GetClosedAt()
		}},
}

// opened is when an episode was opened, where that may be passed on.
func (v *veil) opened(id string) *tandemv1.Instant {
	episode, err := syncengine.ParseID(id)
	if err != nil {
		return nil
	}
	rec, err := v.job.rights.from.Record(episode)
	if err != nil || rec == nil || rec.Kind != v.job.domain.KindByName("episode").Number {
		return nil
	}
	if ok, err := v.job.rights.reads(rec, rec.Compartment(v.job.domain.Kind(rec.Kind))); err != nil || !ok {
		return nil
	}
	msg, err := v.job.domain.Message(&rec.Record)
	if err != nil {
		return nil
	}
	m, _ := msg.(*tandemv1.Episode)
	return m.GetOpenedAt()
}

// fine reports whether a moment is known well enough for the unit: minutes to the minute, days
// to the day.
func (d *between) fine(at *tandemv1.Instant) bool {
	switch at.GetPrecision() {
	case "", "minute":
		return true
	case "hour", "day":
		return d.unit >= dayMS
	}
	return false
}

// count is the duration in whole units; false where it is not known or cannot be.
func (d *between) count(v *veil, r *row) (int, bool) {
	from, to := d.of(v, r)
	if !d.fine(from) || !d.fine(to) || from.GetAtMs() == 0 || to.GetAtMs() == 0 || to.GetAtMs() < from.GetAtMs() {
		return 0, false
	}
	return int(min((to.GetAtMs()-from.GetAtMs())/d.unit, int64(d.most))), true
}

// durations are the columns of a kind. What only one in a hundred exceeds is cut to that.
func (v *veil) durations(kind string) (columns []column) {
	for i := range durations {
		d := &durations[i]
		if d.kind != kind {
			continue
		}
		h := &histogram{of: d, counts: make([]int64, d.most+1)}
		v.top[kind+"."+d.name] = h
		columns = append(columns, column{name: d.name, typ: typeInteger, en: d.en, es: d.es, about: d.about + " Cut to what one in a hundred exceeds.",
			value: func(r *row) any {
				n, ok := d.count(v, r)
				if !ok {
					return nil
				}
				return int64(min(n, h.p99()))
			}})
	}
	return columns
}

// histogram counts durations.
type histogram struct {
	of     *between
	counts []int64
	all    int64
	top    int
	known  bool
}

func (h *histogram) add(n int) {
	h.counts[n]++
	h.all++
}

// p99 is the least duration that at most one in a hundred exceeds.
func (h *histogram) p99() int {
	if h.known {
		return h.top
	}
	left := h.all / 100
	for h.top = len(h.counts) - 1; h.top > 0; h.top-- {
		if left -= h.counts[h.top]; left < 0 {
			break
		}
	}
	h.known = true
	return h.top
}
