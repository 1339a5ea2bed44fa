package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// What a record is about is found, looked at before or not, and also where it came before
// the record that it is about.
func TestAbout(t *testing.T) { each(t, testAbout) }

func testAbout(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 41)
	draw := rand.New(rand.NewPCG(5, 6))
	records := []syncengine.ID{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}}
	want := map[syncengine.ID][]syncengine.ID{}
	for range 40 {
		w.write(func(tx *store.Tx) error {
			for range 1 + draw.IntN(8) {
				id, about := records[draw.IntN(len(records))], syncengine.ID{0xf0, byte(draw.IntN(9))}
				switch draw.IntN(4) {
				case 0, 1:
					got, err := tx.About(id, 100)
					if err != nil {
						return err
					}
					if diff := cmp.Diff(want[id], got); diff != "" {
						t.Errorf("record %d:\n%s", id[0], diff)
					}
				case 2:
					if err := tx.Prefetch(nil, records[:draw.IntN(len(records)+1)], nil); err != nil {
						return err
					}
				default:
					if err := tx.Link(id, about); err != nil {
						return err
					}
					if !slices.Contains(want[id], about) {
						want[id] = append(want[id], about)
						slices.SortFunc(want[id], syncengine.ID.Compare)
					}
				}
			}
			return nil
		})
	}
	w.write(func(tx *store.Tx) error {
		fresh, about := syncengine.ID{9}, syncengine.ID{0xf0}
		if err := tx.Prefetch(nil, []syncengine.ID{fresh}, nil); err != nil {
			return err
		}
		if err := tx.Link(fresh, about); err != nil {
			return err
		}
		got, err := tx.About(fresh, 100)
		if diff := cmp.Diff([]syncengine.ID{about}, got); diff != "" {
			t.Errorf("linked after it was looked at:\n%s", diff)
		}
		return err
	})
}
