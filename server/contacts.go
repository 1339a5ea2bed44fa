package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

const (
	// contactsEvery is how often a server shares what it has heard of devices.
	contactsEvery = time.Minute
	// contactsLag is how much later a contact has to be that tells nothing else: a device
	// that waits for news is in contact all the time.
	contactsLag = 5 * time.Minute
	// contactsBatch is how many are noted in one transaction.
	contactsBatch = 500
)

// KeepContacts notes in the database, each minute until ctx ends and then once more, how
// devices stood at their last contact, and takes over what other servers have noted and
// what was noted before this process began.
func (s *Server) KeepContacts(ctx context.Context) error {
	tick := time.NewTicker(contactsEvery)
	defer tick.Stop()
	for {
		if err := s.shareContacts(ctx, contactsLag); err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("contacts of devices could not be noted")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(ctx.Err(), s.ShareContacts(last))
		}
	}
}

// ShareContacts is the last round of KeepContacts, of all that is news.
func (s *Server) ShareContacts(ctx context.Context) error { return s.shareContacts(ctx, 0) }

// shareContacts is one round, without those that only say that a device is still there,
// unless that is news by so much.
func (s *Server) shareContacts(ctx context.Context, lag time.Duration) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		known, err := s.store.Contacts(ctx, org.ID)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(s.devices.share(org.ID, known, lag), contactsBatch) {
			if err := s.store.NoteContacts(ctx, org.ID, some); err != nil {
				return err
			}
			s.devices.noted(some)
		}
	}
	return nil
}

// share takes in the contacts that are noted, and returns those of an org that have to be.
func (d *devices) share(org syncengine.ID, known []store.Contact, lag time.Duration) (news []store.Contact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[syncengine.ID]*deviceSeen{}
	}
	for _, c := range known {
		one := d.seen[c.Replica]
		if one == nil {
			one = &deviceSeen{org: org, replica: c.Replica}
			d.seen[c.Replica] = one
		}
		one.adopt(c)
	}
	for _, one := range d.seen {
		if c := one.contact(); one.org == org && worthNoting(one.noted, c, lag) {
			news = append(news, c)
		}
	}
	return news
}

func (d *devices) noted(some []store.Contact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range some {
		d.seen[c.Replica].noted = c
	}
}

// adopt takes over what is noted, where that is later, and from when on there were unsent
// changes where this process has met the device with some only since.
func (one *deviceSeen) adopt(c store.Contact) {
	met := one.noted.AtMS == 0 && one.unsent > 0
	one.noted = c
	since := time.Time{}
	if c.SinceMS != 0 {
		since = time.UnixMilli(c.SinceMS)
	}
	switch {
	case c.AtMS > one.at.UnixMilli():
		one.at, one.cut, one.unsent, one.since = time.UnixMilli(c.AtMS), c.Cut, c.Unsent, since
		one.ahead, one.sealed = time.Duration(c.AheadMS)*time.Millisecond, c.Sealed
	case met && c.Unsent > 0 && since.Before(one.since):
		one.since = since
	}
}

func (one *deviceSeen) contact() store.Contact {
	c := store.Contact{Replica: one.replica, AtMS: one.at.UnixMilli(), Cut: one.cut, Unsent: one.unsent, AheadMS: one.ahead.Milliseconds(), Sealed: one.sealed}
	if one.unsent > 0 {
		c.SinceMS = one.since.UnixMilli()
	}
	return c
}

// worthNoting reports whether a contact says more than what is noted: not merely that the
// device is still there, or has a few changes more.
func worthNoting(noted, c store.Contact, lag time.Duration) bool {
	return c.AtMS > noted.AtMS && ((c.Unsent > 0) != (noted.Unsent > 0) || c.SinceMS != noted.SinceMS ||
		c.AtMS-noted.AtMS >= lag.Milliseconds())
}
