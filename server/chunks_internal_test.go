package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Who waits for a chunk that another makes holds a snapshot: it makes its own where that
// takes long, and leaves the other's place alone.
func TestWaitForAChunkIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChunks(time.Now)
		made := c.Making(syncengine.ID{}, syncengine.ScopeKey{}, syncengine.Place{})
		began := time.Now()
		c.Making(syncengine.ID{}, syncengine.ScopeKey{}, syncengine.Place{})()
		if waited := time.Since(began); waited != chunkWait {
			t.Errorf("waited %v", waited)
		}
		go func() {
			time.Sleep(chunkWait / 2)
			made()
		}()
		began = time.Now()
		c.Making(syncengine.ID{}, syncengine.ScopeKey{}, syncengine.Place{})()
		if waited := time.Since(began); waited != chunkWait/2 {
			t.Errorf("waited %v for one that is made", waited)
		}
	})
}
