package store

import (
	"slices"
	"sync"

	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of what is kept of the latest commits.
const (
	recentRecords = 4096
	recentBytes   = 4 << 20
)

// recent keeps the records of the latest commits: their writer is about to ask for
// their sequences, and everybody else for the records. A record has one state at a
// sequence, so what is kept under both holds in every snapshot in which the scope
// index has the record live at that sequence.
type recent struct {
	mu sync.Mutex
	// kept is the latest state of each; order lists what has been kept, oldest first,
	// replaced states among them.
	kept  map[recentKey]*syncengine.StoredRecord
	order []recentEntry
	bytes int
	// era is the store's: see forget.
	era uint64
}

type recentKey struct {
	org    int64
	record syncengine.ID
}

type recentEntry struct {
	key recentKey
	rec *syncengine.StoredRecord
}

func sizeOf(rec *syncengine.StoredRecord) int { return len(rec.Body) + len(rec.Stamps) }

// forget drops everything, and what is kept later of a transaction from before.
func (c *recent) forget(era uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.order, c.bytes, c.era = nil, nil, 0, era
}

// keep adds what a commit has made durable.
func (c *recent) keep(org *Org, recs []*syncengine.StoredRecord, era uint64) {
	if len(recs) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return
	}
	if c.kept == nil {
		c.kept = map[recentKey]*syncengine.StoredRecord{}
	}
	for _, rec := range recs {
		key := recentKey{org.num, rec.ID}
		c.kept[key] = rec
		c.order = append(c.order, recentEntry{key, rec})
		c.bytes += sizeOf(rec)
	}
	drop := 0
	for ; drop < len(c.order) && (len(c.order)-drop > recentRecords || c.bytes > recentBytes); drop++ {
		e := c.order[drop]
		c.bytes -= sizeOf(e.rec)
		if c.kept[e.key] == e.rec {
			delete(c.kept, e.key)
		}
	}
	clear(c.order[:drop])
	c.order = c.order[drop:]
}

// drop forgets records that were erased, also what they were earlier.
func (c *recent) drop(org *Org, ids []syncengine.ID) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = slices.DeleteFunc(c.order, func(e recentEntry) bool {
		if e.key.org != org.num || !slices.Contains(ids, e.key.record) {
			return false
		}
		c.bytes -= sizeOf(e.rec)
		delete(c.kept, e.key)
		return true
	})
}

// records returns the members that are kept in the state of their sequence, and the
// ids of the others.
func (c *recent) records(org *Org, members []syncengine.Member) (found []*syncengine.StoredRecord, missing []syncengine.ID) {
	found = make([]*syncengine.StoredRecord, 0, len(members))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		if rec := c.kept[recentKey{org.num, m.Record}]; rec != nil && m.Live && rec.Seq == m.Seq {
			found = append(found, rec)
			continue
		}
		missing = append(missing, m.Record)
	}
	return found, missing
}
