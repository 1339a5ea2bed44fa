package client

import (
	"slices"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
)

// A confirmed record is what it was, settled; its neighbours stay as they are.
func TestConfirm(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	next := someRecords(t)
	var all []*syncengine.DeviceRecord
	for range 9 {
		r := next()
		r.Scopes, r.HasBase, r.BaseHash, r.Pending, r.Conflicts = 0, false, 0, 1, 2
		all = append(all, r)
	}
	// The server has the last three in another state already, or they wait for nothing.
	all[6].HasBase, all[6].Base = true, &all[0].Record
	all[7].HasBase, all[7].BaseHash, all[7].Scopes = true, 5, 2
	all[8].HasBase, all[8].BaseHash, all[8].Pending = true, all[8].Hash(), 0
	ids := make([]syncengine.ID, 0, len(all))
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	write(t, s, func(x *tx) error {
		for _, r := range all {
			if err := x.SaveRecord(r); err != nil {
				return err
			}
		}
		return nil
	})
	confirmed := map[int]uint64{0: 1, 1: 1, 3: 1, 4: 4, 7: 4}
	write(t, s, func(x *tx) error {
		// What the transaction has in hand is not in the tables.
		if _, err := x.Record(ids[5]); err != nil {
			return err
		}
		got, err := x.Standings(append(ids, syncengine.ID{7}))
		if err != nil {
			return err
		}
		for i, r := range all {
			st, told := got[r.ID]
			if want := r.Pending > 0 && r.Base == nil && i != 5; told != want {
				t.Errorf("record %d: told %v, want %v", i, told, want)
			}
			want := syncengine.Standing{Scopes: r.Scopes, HasBase: r.HasBase, BaseHash: r.BaseHash, Pending: 1, Shown: r.Hash()}
			if told && st != want {
				t.Errorf("record %d: got %+v, want %+v", i, st, want)
			}
		}
		if len(got) != 6 {
			t.Errorf("told of %d records, want 6", len(got))
		}
		for i, scopes := range confirmed {
			if err := x.Confirm(ids[i], scopes); err != nil {
				return err
			}
		}
		// It is seen at once.
		r, err := x.Record(ids[0])
		if err != nil || r.Pending != 0 || !r.HasBase {
			t.Errorf("just confirmed: got %+v, %v", r, err)
		}
		return nil
	})
	write(t, s, func(x *tx) error {
		left, err := x.Standings(ids)
		if err != nil {
			return err
		}
		for i, want := range all {
			got, err := x.Record(want.ID)
			if err != nil {
				return err
			}
			scopes, settled := confirmed[i]
			if settled {
				want.Scopes, want.HasBase, want.BaseHash, want.Pending = scopes, true, want.Hash(), 0
			}
			if got.Hash() != want.Hash() || got.Scopes != want.Scopes || got.HasBase != want.HasBase || got.BaseHash != want.BaseHash ||
				got.Pending != want.Pending || got.Conflicts != 2 || (got.Base == nil) != (want.Base == nil) {
				t.Errorf("record %d: got %+v, want %+v", i, got, want)
			}
			if _, told := left[want.ID]; told != (i == 2 || i == 5) {
				t.Errorf("record %d: told %v afterwards", i, told)
			}
		}
		return nil
	})
}

// The standings of many are those of each, in whatever order they were made and
// whatever stands between them.
func TestStandingsTogether(t *testing.T) {
	t.Parallel()
	s := openTestStore(t)
	next := someRecords(t)
	want := map[syncengine.ID]syncengine.RowHash{}
	var ids []syncengine.ID
	write(t, s, func(x *tx) error {
		for i := range 700 {
			r := next()
			r.Scopes, r.HasBase, r.BaseHash, r.Pending = 0, false, 0, 1
			if i%50 == 7 {
				r.HasBase, r.BaseHash, r.Pending = true, r.Hash(), 0
			}
			if err := x.SaveRecord(r); err != nil {
				return err
			}
			// Some are not asked for; of a long stretch only the two ends are.
			if i%9 == 0 || i > 300 && i < 600 {
				continue
			}
			ids = append(ids, r.ID)
			if r.Pending > 0 {
				want[r.ID] = r.Hash()
			}
		}
		return nil
	})
	slices.Reverse(ids)
	write(t, s, func(x *tx) error {
		got, err := x.Standings(ids)
		if err != nil {
			return err
		}
		for id, hash := range want {
			if got[id].Shown != hash || got[id].Pending != 1 || got[id].HasBase {
				t.Errorf("record %s: got %+v, want %v", id, got[id], hash)
			}
		}
		if len(got) != len(want) {
			t.Errorf("told of %d records, want %d", len(got), len(want))
		}
		return nil
	})
}
