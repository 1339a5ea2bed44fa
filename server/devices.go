package server

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// forgotten is how long a device is counted after its last contact: as long as its lease.
const forgotten = 30 * 24 * time.Hour

// devices is what their requests have told of the devices, for metrics and for who looks
// after them: it decides nothing. KeepContacts shares it with the database. Safe for
// concurrent use.
type devices struct {
	mu   sync.Mutex
	seen map[syncengine.ID]*deviceSeen
}

// deviceSeen is one device.
type deviceSeen struct {
	org, replica syncengine.ID
	at           time.Time
	// cut is how far it has read.
	cut uint64
	// unsent changes it said that it has, and since when it has had some.
	unsent uint64
	since  time.Time
	// sealed: it seals what is unsent to the org as well.
	sealed bool
	// ahead is how far its clock was before the server's, the way of the request included.
	ahead time.Duration
	// noted is what of it the database has.
	noted store.Contact
}

// devicesSeen is how the devices of an org stand.
type devicesSeen struct {
	count   int
	horizon uint64
	// oldest are those with unsent changes, the longest first.
	oldest []deviceSeen
}

// note takes in what a request and its answer say of a device.
func (d *devices) note(org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, t *tandemv1.Trailer, now time.Time) {
	unsent := uint64(0)
	if first, last := max(req.GetOldestKept(), 1), req.GetNewestOp(); last >= first {
		unsent = last - first + 1
		for _, r := range t.GetProcessed() {
			if from, to := max(r.GetFirst(), first), min(r.GetLast(), last); to >= from {
				unsent -= min(unsent, to-from+1)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.seen[id.Replica]
	if one == nil {
		if d.seen == nil {
			d.seen = map[syncengine.ID]*deviceSeen{}
		}
		one = &deviceSeen{org: id.Org, replica: id.Replica}
		d.seen[id.Replica] = one
	}
	one.at, one.sealed = now, req.GetSealKey() != 0
	if ms := req.GetWallMs(); ms != 0 {
		one.ahead = time.UnixMilli(ms).Sub(now)
	}
	switch {
	case unsent == 0:
		one.since = time.Time{}
	case one.unsent == 0:
		one.since = now
	}
	one.unsent = unsent
	for _, p := range req.GetPositions() {
		if len(p.GetScope()) > 0 {
			continue
		}
		if at, err := org.Secrets.Open(id.Replica, p.GetPosition()); err == nil {
			one.cut = at.Cut
		}
	}
}

// of returns how the devices of an org stand, without those that are gone for long.
func (d *devices) of(org syncengine.ID, now time.Time, most int) devicesSeen {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := devicesSeen{horizon: math.MaxUint64}
	for _, one := range d.seen {
		if one.org != org || now.Sub(one.at) > forgotten {
			continue
		}
		seen.count++
		seen.horizon = min(seen.horizon, one.cut)
		if one.unsent > 0 {
			seen.oldest = append(seen.oldest, *one)
		}
	}
	slices.SortFunc(seen.oldest, func(a, b deviceSeen) int {
		return cmp.Or(a.since.Compare(b.since), a.replica.Compare(b.replica))
	})
	seen.oldest = seen.oldest[:min(most, len(seen.oldest))]
	return seen
}

// DeviceSeen is how a device stood at its last contact.
type DeviceSeen struct {
	// At is when that was, Unsent how many changes it had that the server had not, and
	// Since from when on it has had some. Ahead is how far its clock was before the server's.
	At     time.Time
	Unsent uint64
	Since  time.Time
	Ahead  time.Duration
	// Sealed: what it has unsent it keeps sealed to the org as well, in a file from which it
	// can be handed in without the device.
	Sealed bool
}

// Seen returns how the replicas of an org stood at their last contact: with this process,
// or as of the last round of KeepContacts with any other.
func (s *Server) Seen(org syncengine.ID) map[syncengine.ID]DeviceSeen {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	out := map[syncengine.ID]DeviceSeen{}
	for id, one := range s.devices.seen {
		if one.org == org {
			out[id] = DeviceSeen{At: one.at, Unsent: one.unsent, Since: one.since, Ahead: one.ahead, Sealed: one.sealed}
		}
	}
	return out
}
