package syncengine

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// Writer is the change that is being applied.
type Writer struct {
	// Stamp of the change.
	Stamp Stamp
	// Author and Device are record ids.
	Author, Device ID
	// AtMS is the device's wall clock, ReceivedMS the server's time of receipt.
	AtMS, ReceivedMS int64
	// Beside: what it writes beside a sealed record takes no head out but its author's.
	Beside bool
}

// Write is a write of one path.
type Write struct {
	Path Path
	// Raw is the new value; nil clears the path or removes the element.
	Raw []byte
	// Bases are the stamps of the heads its author saw; zero for none.
	Bases []Stamp
}

// History answers, for one record, what its state does not hold. At the server it
// is the change log and the list of awaited stamps; on a device, the outbox.
type History interface {
	// Awaited reports whether an accepted write of p has named s as a base before s
	// arrived.
	Awaited(p Path, s Stamp) (bool, error)
	// Await notes that an accepted write of p named s as a base and s is no head.
	Await(p Path, s Stamp) error
	// QuarantinedBases returns the bases that the change of s names for p, where
	// that change lies in quarantine; nil otherwise.
	QuarantinedBases(p Path, s Stamp) ([]Stamp, error)
	// Written returns the head that the accepted change of s wrote at p, with its
	// author and times; ok is false where no accepted change of that stamp wrote p.
	Written(p Path, s Stamp) (h Head, ok bool, err error)
}

// merger applies one change to one record.
type merger struct {
	kind *Kind
	s    *State
	by   Writer
	hist History
	// settle: the write is a human's choice, so no transition is illegal.
	settle bool
	// body is that of the state, where it is known without splicing it, fields what it
	// consists of.
	body   []byte
	fields []Field
	// closedByPolicy lists paths where a last-accepted field displaced a value its
	// author had not seen.
	closedByPolicy []Path
}

// write applies one write by the algorithm of the package documentation: take the
// bases out of the heads, note those that are not there, add the new head unless
// somebody has already written over it.
func (m *merger) write(w Write) error {
	p := m.s.ensure(w.Path)
	if !m.illegal(p, w) {
		if err := m.leave(p, w.Bases, 0); err != nil {
			return err
		}
	}
	awaited, err := m.hist.Awaited(w.Path, m.by.Stamp)
	if err != nil {
		return err
	}
	if planted.Is(planted.LostUpdate) {
		p.Heads, p.Displayed = nil, noneDisplayed
	}
	if !awaited && p.find(m.by.Stamp) < 0 {
		if err := m.join(p, m.head(w)); err != nil {
			return err
		}
	}
	p.Displayed = m.kind.choose(p.Path.Field, p.Heads)
	if len(p.Heads) == 0 {
		m.s.drop(w.Path)
	}
	return nil
}

// head is the head that w adds.
func (m *merger) head(w Write) Head {
	return Head{
		Stamp: m.by.Stamp, Raw: w.Raw, Author: m.by.Author, Device: m.by.Device,
		AtMS: m.by.AtMS, ReceivedMS: m.by.ReceivedMS,
	}
}

// leave takes bases out of the heads. A base that is no head is awaited; where its
// change lies in quarantine, that change's own bases for the path leave too. The
// held head of a sealed record stays.
func (m *merger) leave(p *PathState, bases []Stamp, held Stamp) error {
	left := slices.Clone(bases)
	for n := 0; n < len(left); n++ {
		b := left[n]
		if b == 0 || b == m.by.Stamp || slices.Contains(left[:n], b) {
			continue
		}
		if i := p.find(b); i >= 0 {
			if b != held {
				m.remove(p, i)
			}
			continue
		}
		if planted.Is(planted.AwaitedDropped) {
			continue
		}
		if err := m.hist.Await(p.Path, b); err != nil {
			return err
		}
		more, err := m.hist.QuarantinedBases(p.Path, b)
		if err != nil {
			return err
		}
		if planted.Is(planted.BasesLost) {
			continue
		}
		left = append(left, more...)
	}
	return nil
}

// illegal reports whether w is a step that its field's state machine does not know
// from any of the values it names. Such a step takes nothing out of the heads, now
// or later.
func (m *merger) illegal(p *PathState, w Write) bool {
	rule := m.kind.Fields[w.Path.Field]
	if m.settle || rule == nil || rule.Legal == nil {
		return false
	}
	named := false
	for _, b := range w.Bases {
		if i := p.find(b); i >= 0 {
			named = true
			if rule.Legal(p.Heads[i].Raw, w.Raw) {
				return false
			}
		}
	}
	return named
}

// join adds a head, by the field's policy.
func (m *merger) join(p *PathState, head Head) error {
	if m.kind.policyOf(p.Path.Field) == tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED && len(p.Heads) > 0 {
		if slices.ContainsFunc(p.Heads, func(h Head) bool { return !sameValue(h.Raw, head.Raw) }) {
			m.closedByPolicy = append(m.closedByPolicy, p.Path)
		}
		p.Heads, p.Displayed = nil, noneDisplayed
	}
	if len(p.Heads) == 1 {
		if err := m.describe(p.Path, &p.Heads[0]); err != nil {
			return err
		}
	}
	p.Heads = append(p.Heads, head)
	return nil
}

// describe fills in author and times of a head that stood alone until now.
func (m *merger) describe(p Path, h *Head) error {
	if h.ReceivedMS != 0 {
		return nil
	}
	known, ok, err := m.hist.Written(p, h.Stamp)
	if err != nil || !ok {
		return err
	}
	h.Author, h.Device, h.AtMS, h.ReceivedMS = known.Author, known.Device, known.AtMS, known.ReceivedMS
	return nil
}

// remove takes out head i and keeps Displayed on the head it was on.
func (m *merger) remove(p *PathState, i int) {
	p.Heads = slices.Delete(slices.Clone(p.Heads), i, i+1)
	switch {
	case p.Displayed == i:
		p.Displayed = noneDisplayed
	case p.Displayed > i:
		p.Displayed--
	}
}

// choose returns the index of the head that a policy displays: the one accepted
// first, or the most cautious, or the present one.
func (k *Kind) choose(field uint32, heads []Head) int {
	if len(heads) == 0 {
		return noneDisplayed
	}
	best := 0
	for i := range heads {
		if planted.Is(planted.ClockDecides) && heads[i].AtMS > heads[best].AtMS {
			best = i
		}
	}
	switch k.policyOf(field) {
	case tandemv1.MergePolicy_MERGE_POLICY_SAFEST_HEAD, tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE:
		// A state machine without an order of caution ranks every head alike.
		rule := k.Fields[field]
		for i := range heads {
			if rule.caution(heads[i].Raw) > rule.caution(heads[best].Raw) {
				best = i
			}
		}
	case tandemv1.MergePolicy_MERGE_POLICY_SET, tandemv1.MergePolicy_MERGE_POLICY_APPEND:
		best = max(0, slices.IndexFunc(heads, func(h Head) bool { return h.Raw != nil }))
	}
	return best
}

// caution ranks a raw value; an absence is the least cautious.
func (r *FieldRule) caution(raw []byte) int {
	if raw == nil || r.Caution == nil {
		return -1
	}
	return r.Caution(raw)
}

// writtenBy returns those of stamps that are heads which somebody wrote.
func (p *PathState) writtenBy(author ID, stamps []Stamp) (own []Stamp) {
	for _, h := range p.Heads {
		if h.Author == author && slices.Contains(stamps, h.Stamp) {
			own = append(own, h.Stamp)
		}
	}
	return own
}

// late applies a write that meets a sealed record: the displayed heads stay, the
// value stands beside them. A base that is an alternative leaves; of who writes only
// beside it, their own.
func (m *merger) late(w Write, join bool) error {
	p := m.s.ensure(w.Path)
	held, bases := p.held(), w.Bases
	if m.by.Beside && !planted.Is(planted.BesideSettles) {
		bases = p.writtenBy(m.by.Author, bases)
	}
	if err := m.leave(p, bases, held); err != nil {
		return err
	}
	awaited, err := m.hist.Awaited(w.Path, m.by.Stamp)
	if err != nil {
		return err
	}
	if join && !awaited && p.find(m.by.Stamp) < 0 {
		if len(p.Heads) == 1 {
			if err := m.describe(w.Path, &p.Heads[0]); err != nil {
				return err
			}
		}
		p.Heads = append(p.Heads, m.head(w))
	}
	p.Displayed = noneDisplayed
	if held != 0 {
		p.Displayed = p.find(held)
	}
	if planted.Is(planted.LateEditShown) {
		p.Displayed = len(p.Heads) - 1
	}
	if len(p.Heads) == 0 {
		m.s.drop(w.Path)
	}
	return nil
}
