package vfs

import (
	"slices"
	"sync"
)

// Sharing is what the connections of one process share of a database file: its locks
// and the memory about its log. The zero value is fit for use. Other processes must be
// kept out by other means.
type Sharing struct {
	mu      sync.Mutex
	seats   map[*Seat]bool
	regions [][]byte
}

// Join seats a connection.
func (s *Sharing) Join() *Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seats == nil {
		s.seats = map[*Seat]bool{}
	}
	seat := &Seat{of: s}
	s.seats[seat] = true
	return seat
}

// Regions returns how many regions of memory there are, and their bytes in all.
func (s *Sharing) Regions() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.regions {
		bytes += int64(len(r))
	}
	return len(s.regions), bytes
}

// Seat is one connection: what a Shared file needs besides its bytes.
type Seat struct {
	of    *Sharing
	level Level
	// shared and exclusive are the slots of shared memory that it has locked; mapped:
	// it uses the memory.
	shared, exclusive uint8
	mapped            bool
}

// Leave lets go of everything.
func (c *Seat) Leave() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.unmap()
	delete(c.of.seats, c)
}

// others returns the highest level that another connection holds.
func (c *Seat) others() (highest Level) {
	for o := range c.of.seats {
		if o != c {
			highest = max(highest, o.level)
		}
	}
	return highest
}

// Lock is that of Shared.
func (c *Seat) Lock(to Level) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.level >= to {
		return nil
	}
	others := c.others()
	switch {
	case to == ReadLock && others >= PendingLock, to >= ReservedLock && others >= ReservedLock:
		return ErrBusy
	case to == ExclusiveLock && others >= ReadLock:
		// No reader comes in any more; those that are there go in time.
		c.level = PendingLock
		return ErrBusy
	}
	c.level = to
	return nil
}

// Unlock is that of Shared.
func (c *Seat) Unlock(to Level) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.level = min(c.level, to)
	return nil
}

// Reserved is that of Shared.
func (c *Seat) Reserved() (bool, error) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	return max(c.level, c.others()) >= ReservedLock, nil
}

// ShmMap is that of Shared.
func (c *Seat) ShmMap(n, size int, extend bool) ([]byte, error) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.mapped = true
	if len(c.of.regions) <= n && !extend {
		return nil, nil
	}
	for len(c.of.regions) <= n {
		c.of.regions = append(c.of.regions, NewRegion(size))
	}
	return c.of.regions[n], nil
}

// ShmLock is that of Shared.
func (c *Seat) ShmLock(first, n int, lock, exclusive bool) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	mask := uint8((1<<n - 1) << first)
	if !lock {
		c.shared &^= mask
		c.exclusive &^= mask
		return nil
	}
	for o := range c.of.seats {
		if o != c && (o.exclusive&mask != 0 || exclusive && o.shared&mask != 0) {
			return ErrBusy
		}
	}
	if exclusive {
		c.exclusive |= mask
	} else {
		c.shared |= mask
	}
	return nil
}

// ShmUnmap is that of Shared.
func (c *Seat) ShmUnmap(bool) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.unmap()
	return nil
}

// unmap lets go of the memory; the last one gives it back.
func (c *Seat) unmap() {
	if !c.mapped {
		return
	}
	c.mapped, c.shared, c.exclusive = false, 0, 0
	for o := range c.of.seats {
		if o.mapped {
			return
		}
	}
	for r := range slices.Values(c.of.regions) {
		FreeRegion(r)
	}
	c.of.regions = nil
}
