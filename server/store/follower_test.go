package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// However teams are added to a follower, looked at before or not, each counts once and
// none is lost.
func TestFollow(t *testing.T) { each(t, testFollow) }

func testFollow(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 37)
	draw := rand.New(rand.NewPCG(3, 4))
	followers := []syncengine.ID{{1}, {2}, {3}, {4}, {5}, {6}}
	want := map[syncengine.ID][]syncengine.ID{}
	for range 40 {
		w.write(func(tx *store.Tx) error {
			for range 1 + draw.IntN(8) {
				id, team := followers[draw.IntN(len(followers))], syncengine.ID{0xf0, byte(draw.IntN(5))}
				switch draw.IntN(6) {
				case 0:
					got, err := tx.Teams(id)
					if err != nil {
						return err
					}
					if diff := cmp.Diff(want[id], slices.Clone(got)); diff != "" {
						t.Errorf("follower %d:\n%s", id[0], diff)
					}
				case 1:
					if err := tx.Prefetch(nil, followers[:draw.IntN(len(followers))], followers); err != nil {
						return err
					}
				default:
					if err := tx.Follow(id, team); err != nil {
						return err
					}
					if !slices.Contains(want[id], team) {
						want[id] = append(want[id], team)
						slices.SortFunc(want[id], syncengine.ID.Compare)
					}
				}
			}
			return nil
		})
	}
}
