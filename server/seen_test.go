package server_test

import (
	"bytes"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// What a person may no longer read, however much there is of it, keeps nothing from their
// device that leads have opened since.
func TestSeenBehindWhatIsNotRead(t *testing.T) { each(t, testSeenBehindWhatIsNotRead) }

func testSeenBehindWhatIsNotRead(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 98)
	author := w.enrolled(1, w.clinician)
	visit := author.creation(encounter(w, marker))
	author.must(author.push(visit))
	record := syncengine.ID(visit.Records[0].Record)
	if err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for i := range 1200 {
			if err := tx.SeenByLead(author.person, syncengine.ID{0x7f, byte(i >> 8), byte(i)}, 1, 1); err != nil {
				return err
			}
		}
		return tx.SeenByLead(author.person, record, 1, 2)
	}); err != nil {
		t.Fatal(err)
	}
	seen := author.must(&tandemv1.SyncRequest{Budget: 1 << 20, SeenAfter: 1, Positions: []*tandemv1.ScopePosition{{}}}).GetTrailer().GetSeen()
	if len(seen) != 1 || !bytes.Equal(seen[0].GetRecord(), record[:]) || seen[0].GetNumber() != 1201 {
		t.Errorf("the device is told %v", seen)
	}
}
