package simtest

import (
	"cmp"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// apart is the server's tables about quarantine.
type apart struct {
	// refused are the changes that were refused and not applied since, closed ones
	// included; lying those in quarantine; targets the records that those would write.
	refused map[syncengine.Stamp]syncengine.ID
	lying   map[syncengine.ID]bool
	targets map[syncengine.ID][]syncengine.ID
	grants  map[syncengine.ID][]*syncengine.HeldGrant
	holders map[syncengine.ID][]syncengine.Holder
	revised map[opKey]revision
	acts    []syncengine.QuarantineAct
}

type revision struct {
	change   syncengine.ID
	envelope syncengine.Hash
	seq      uint64
}

func newApart() apart {
	return apart{
		refused: map[syncengine.Stamp]syncengine.ID{},
		lying:   map[syncengine.ID]bool{},
		targets: map[syncengine.ID][]syncengine.ID{},
		grants:  map[syncengine.ID][]*syncengine.HeldGrant{},
		holders: map[syncengine.ID][]syncengine.Holder{},
		revised: map[opKey]revision{},
	}
}

// image copies the tables. What they hold is never changed in place.
func (a *apart) image() apart {
	return apart{
		refused: maps.Clone(a.refused), lying: maps.Clone(a.lying), targets: maps.Clone(a.targets), grants: maps.Clone(a.grants),
		holders: maps.Clone(a.holders), revised: maps.Clone(a.revised), acts: slices.Clone(a.acts),
	}
}

// Quarantined returns changes in quarantine, in order of sequence.
func (s *serverStore) Quarantined(after uint64, limit int) ([]*syncengine.StoredChange, error) {
	var out []*syncengine.StoredChange
	for id := range s.lying {
		if c := s.changes[id]; c.Seq > after {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, bySeq)
	return out[:min(limit, len(out))], s.call()
}

func bySeq(a, b *syncengine.StoredChange) int { return cmp.Compare(a.Seq, b.Seq) }

// QuarantinedOn returns those that would write a record.
func (s *serverStore) QuarantinedOn(record syncengine.ID) ([]*syncengine.StoredChange, error) {
	var out []*syncengine.StoredChange
	for _, id := range s.targets[record] {
		if s.lying[id] {
			out = append(out, s.changes[id])
		}
	}
	slices.SortFunc(out, bySeq)
	return out, s.call()
}

// Held returns what a person was ever granted.
func (s *serverStore) Held(person syncengine.ID) ([]*syncengine.HeldGrant, error) {
	return s.grants[person], s.call()
}

// EverIn reports whether a record is or was in one of the scopes.
func (s *serverStore) EverIn(record syncengine.ID, scopes []syncengine.ScopeKey) (bool, error) {
	for _, k := range scopes {
		if slices.ContainsFunc(s.members[k], func(m syncengine.Member) bool { return m.Record == record }) {
			return true, s.call()
		}
	}
	return false, s.call()
}

// Revised returns the verdicts that have changed.
func (s *serverStore) Revised(replica syncengine.ID, after uint64) ([]*tandemv1.Outcome, error) {
	var out []*tandemv1.Outcome
	for key, r := range s.revised {
		if key.replica != replica || r.seq <= after {
			continue
		}
		o := proto.CloneOf(s.changes[r.change].Outcome)
		short := r.envelope.Short()
		o.Op, o.Envelope = key.op, short[:]
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *tandemv1.Outcome) int { return cmp.Compare(a.GetOp(), b.GetOp()) })
	return out, s.call()
}

// Quarantine notes that a change lies in quarantine.
func (s *serverStore) Quarantine(c *syncengine.StoredChange, targets []syncengine.ID) error {
	put(&s.fuse, s.refused, syncengine.StampOf(c.ID), c.ID)
	put(&s.fuse, s.lying, c.ID, true)
	for _, id := range targets {
		old := s.targets[id]
		put(&s.fuse, s.targets, id, append(old[:len(old):len(old)], c.ID))
	}
	return s.call()
}

// verdict moves a change whose verdict is another now.
func (s *serverStore) verdict(c *syncengine.StoredChange) {
	switch c.Outcome.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		return
	case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED, tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
		remove(&s.fuse, s.refused, syncengine.StampOf(c.ID))
	}
	remove(&s.fuse, s.lying, c.ID)
}

// QuarantinedByStamp returns a change that is refused still.
func (s *serverStore) QuarantinedByStamp(stamp syncengine.Stamp) (*syncengine.StoredChange, error) {
	id, ok := s.refused[stamp]
	if !ok {
		return nil, s.call()
	}
	return s.changes[id], s.call()
}

// QuarantineUse counts what a replica has in quarantine.
func (s *serverStore) QuarantineUse(replica syncengine.ID) (count int, bytes int64, err error) {
	for id := range s.lying {
		if c := s.changes[id]; c.Replica == replica {
			count, bytes = count+1, bytes+int64(len(c.Body))
		}
	}
	return count, bytes, s.call()
}

// Hold notes a grant.
func (s *serverStore) Hold(g *syncengine.HeldGrant) error {
	old := s.grants[g.Person]
	for _, o := range old {
		if o.Hash == g.Hash && slices.Equal(o.Roles, g.Roles) && slices.Equal(o.Teams, g.Teams) {
			return s.call()
		}
	}
	kept := *g
	put(&s.fuse, s.grants, g.Person, append(old[:len(old):len(old)], &kept))
	return s.call()
}

// AddHolder notes another holder.
func (s *serverStore) AddHolder(change syncengine.ID, h syncengine.Holder) error {
	if old := s.holders[change]; !slices.Contains(old, h) {
		put(&s.fuse, s.holders, change, append(old[:len(old):len(old)], h))
	}
	return s.call()
}

// Holders returns them, the first one included.
func (s *serverStore) Holders(change syncengine.ID) ([]syncengine.Holder, error) {
	c := s.changes[change]
	out := slices.Clone(s.holders[change])
	if c != nil && !c.Replica.IsZero() {
		out = append([]syncengine.Holder{{Replica: c.Replica, Op: c.Op, Envelope: c.Envelope}}, out...)
	}
	return out, s.call()
}

// Revise notes a changed verdict.
func (s *serverStore) Revise(change syncengine.ID, h syncengine.Holder, seq uint64) error {
	put(&s.fuse, s.revised, opKey{h.Replica, h.Op}, revision{change, h.Envelope, seq})
	return s.call()
}

// SaveAct keeps an act.
func (s *serverStore) SaveAct(a *syncengine.QuarantineAct) error {
	n := len(s.acts)
	s.acts = append(s.acts, *a)
	s.undo = append(s.undo, func() { s.acts = s.acts[:n] })
	return s.call()
}

// lyingIDs lists what is in quarantine, in order of id.
func (s *serverStore) lyingIDs() []syncengine.ID {
	return slices.SortedFunc(maps.Keys(s.lying), syncengine.ID.Compare)
}
