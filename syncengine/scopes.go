package syncengine

import (
	"bytes"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// maxScopes is the largest number of scopes a device holds: bits of a word.
const maxScopes = 64

// scopeSet takes over the set of scopes that the device may hold. A scope that is
// no longer listed goes, with every record that is in no other; a new one starts
// its backfill. Own unsettled changes stay in the outbox.
func (in *intake) scopeSet(set *tandemv1.ScopeSet) error {
	in.got.Scopes, in.got.More = true, true
	listed := map[ScopeID]*tandemv1.Scope{}
	for _, s := range set.GetScopes() {
		if len(s.GetId()) != len(ScopeID{}) {
			return ErrIncomplete
		}
		listed[ScopeID(s.GetId())] = s
	}
	var gone []DeviceScope
	in.scopes = slices.DeleteFunc(slices.Clone(in.scopes), func(s DeviceScope) bool {
		if listed[s.ID] == nil {
			gone = append(gone, s)
		}
		return listed[s.ID] == nil
	})
	for _, s := range gone {
		if err := in.purge(s); err != nil {
			return err
		}
	}
	if len(in.scopes) == 0 {
		// What waited for the flip waits for nothing, and nothing is left to compare.
		in.attest(in.st.Repair.From)
		in.st.Repair, in.st.Want = Repair{}, nil
		if err := in.tx.Unstage(); err != nil {
			return err
		}
	}
	for _, s := range set.GetScopes() {
		if err := in.hold(s); err != nil {
			return err
		}
	}
	return nil
}

// hold adds a scope under a free bit.
func (in *intake) hold(s *tandemv1.Scope) error {
	if in.scope(ScopeID(s.GetId())) != nil {
		return nil
	}
	for bit := range uint8(maxScopes) {
		if slices.ContainsFunc(in.scopes, func(h DeviceScope) bool { return h.Bit == bit }) {
			continue
		}
		in.scopes = append(in.scopes, DeviceScope{
			ID: ScopeID(s.GetId()), Bit: bit, Compartment: s.GetCompartment(), Open: s.GetOpen(),
			Ready: planted.Is(planted.BackfillSkipped),
		})
		return nil
	}
	return ErrIncomplete
}

// purge takes a scope's records out of it, and off the device where they are in no
// other.
func (in *intake) purge(s DeviceScope) error {
	if err := in.purgeStaged(s); err != nil {
		return err
	}
	var after ID
	for {
		ids, err := in.tx.InScope(s.Bit, after, 256)
		if err != nil {
			return err
		}
		for _, id := range ids {
			after = id
			if err := in.purgeRecord(id, s); err != nil {
				return err
			}
		}
		if len(ids) < 256 {
			return in.tx.DropScope(s.ID)
		}
	}
}

// purgeStaged does the same for the rows that wait for the flip.
func (in *intake) purgeStaged(s DeviceScope) error {
	var after ID
	for {
		rows, err := in.tx.Staged(after, 256)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if row.Scopes&(1<<s.Bit) == 0 {
				continue
			}
			next := *row
			next.Scopes &^= 1 << s.Bit
			if next.Scopes == 0 && !planted.Is(planted.PurgeKeepsStaged) {
				next.Body, next.Stamps = nil, nil
			}
			if err := in.tx.Stage(&next); err != nil {
				return err
			}
		}
		if len(rows) < 256 {
			return nil
		}
	}
}

func (in *intake) purgeRecord(id ID, s DeviceScope) error {
	rec, err := in.tx.Record(id)
	if err != nil || rec == nil {
		return err
	}
	if rest := rec.Scopes &^ (1 << s.Bit); rest != 0 || planted.Is(planted.PurgeKeepsRows) {
		next := *rec
		next.Scopes = rest
		in.got.Changed = append(in.got.Changed, id)
		return in.tx.SaveRecord(&next)
	}
	return in.leave(id, rec)
}

// saveScopes stores the scopes that the answer changed.
func (in *intake) saveScopes() error {
	for i := range in.scopes {
		s := &in.scopes[i]
		// As a rule each stands where it stood.
		if i < len(in.before) && sameScope(&in.before[i], s) || slices.ContainsFunc(in.before, func(b DeviceScope) bool { return sameScope(&b, s) }) {
			continue
		}
		if err := in.tx.SaveScope(*s); err != nil {
			return err
		}
	}
	return nil
}

func sameScope(a, b *DeviceScope) bool {
	return a.ID == b.ID && a.Bit == b.Bit && a.Ready == b.Ready && a.Sum == b.Sum && a.VerifiedMS == b.VerifiedMS &&
		bytes.Equal(a.Position, b.Position)
}
