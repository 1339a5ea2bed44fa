package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// However records come, go and come back, a scope has one row of each that was ever
// in it, at its latest sequence.
func TestMembersMove(t *testing.T) { each(t, testMembersMove) }

func testMembersMove(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 31)
	draw := rand.New(rand.NewPCG(1, 2))
	var scopes []syncengine.ScopeKey
	for i := range 3 {
		scopes = append(scopes, syncengine.ScopeKey{
			Owner: syncengine.OwnerTeam, OwnerID: syncengine.ID{byte(i + 1)}, Compartment: tandemv1.Compartment_COMPARTMENT_CLINICAL,
		})
	}
	ids := []syncengine.ID{{1}, {2}, {3}, {4}}
	want := map[syncengine.ScopeKey]map[syncengine.ID]syncengine.Member{}
	for _, k := range scopes {
		want[k] = map[syncengine.ID]syncengine.Member{}
	}
	seq := uint64(1000)
	for range 60 {
		w.write(func(tx *store.Tx) error {
			for range 1 + draw.IntN(3) {
				seq++
				id := ids[draw.IntN(len(ids))]
				old, err := tx.Record(id)
				if err != nil {
					return err
				}
				next := &syncengine.StoredRecord{Record: syncengine.Record{ID: id, Kind: 31, Body: []byte{1}}, Seq: seq}
				for _, k := range scopes {
					if draw.IntN(2) == 0 {
						next.Scopes = append(next.Scopes, k)
					}
				}
				for _, k := range scopes {
					m := syncengine.Member{Record: id, Seq: seq, Live: slices.Contains(next.Scopes, k)}
					if !m.Live && (old == nil || !slices.Contains(old.Scopes, k)) {
						continue
					}
					want[k][id] = m
					if err := tx.SaveMember(k, m); err != nil {
						return err
					}
				}
				if err := tx.SaveRecord(next); err != nil {
					return err
				}
				if draw.IntN(3) == 0 {
					// What asks for members makes the transaction write what it has gathered.
					if _, err := tx.Members(scopes[0], 0, syncengine.ID{}, 1); err != nil {
						return err
					}
				}
			}
			return nil
		})
		err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
			for _, k := range scopes {
				got, err := v.Members(k, 0, syncengine.ID{}, 100)
				if err != nil {
					return err
				}
				var rows []syncengine.Member
				for _, m := range want[k] {
					rows = append(rows, m)
				}
				slices.SortFunc(rows, func(a, b syncengine.Member) int { return int(a.Seq) - int(b.Seq) })
				if d := cmp.Diff(rows, got); d != "" {
					t.Fatalf("the members of a scope (-want +got):\n%s", d)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A server reads what another one has put into a scope that it did not know, and into no
// scope that there is not.
func TestScopeOfAnotherServer(t *testing.T) { each(t, testScopeOfAnotherServer) }

func testScopeOfAnotherServer(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 32)
	other := w.beside()
	scope := func(n byte) syncengine.ScopeKey {
		return syncengine.ScopeKey{Owner: syncengine.OwnerTeam, OwnerID: syncengine.ID{n}, Compartment: tandemv1.Compartment_COMPARTMENT_OPS}
	}
	for n := byte(1); n < 4; n++ {
		members := func() (found int) {
			t.Helper()
			err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
				for _, k := range []syncengine.ScopeKey{scope(200), scope(n)} {
					got, err := v.Members(k, 0, syncengine.ID{}, 10)
					if err != nil {
						return err
					}
					found += len(got)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		if got := members(); got != 0 {
			t.Errorf("a scope that nobody has made holds %d records", got)
		}
		err := other.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			return tx.SaveMember(scope(n), syncengine.Member{Record: syncengine.ID{n}, Seq: uint64(n), Live: true})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := members(); got != 1 {
			t.Errorf("the scope that another server has made holds %d records, want 1", got)
		}
	}
}
