package mobile

import (
	"context"

	"github.com/tandem-response/tandem/client"
)

// Status is how a device stands.
type Status struct {
	// Enrolled; Locked: the store hides what it holds; Closed: charts are, until there is
	// contact with the server.
	Enrolled, Locked, Closed bool
	// WipeOrdered: an administrator has ordered the store to be wiped.
	WipeOrdered bool
	// Suspended: an administrator has suspended the device, by the newest word of the server's.
	Suspended bool
	// Queued saves are not known to be at the server, and the oldest was made at
	// OldestMS, 0 for none. Applied ones are there and not in a cut that is shown yet.
	Queued, Applied int
	OldestMS        int64
	// NotAccepted saves are kept at the server and were not applied.
	NotAccepted int
	// Records that are shown; Conflicts of them are for a human to settle.
	Records, Conflicts, Drafts int
	// LastContactMS is the wall clock at the last complete answer, 0 for never;
	// LeaseEndsMS when charts close without another.
	LastContactMS, LeaseEndsMS int64
	// VerifiedMS is when everything here was last proved identical to the server's, 0
	// where it is not.
	VerifiedMS int64
	// Skewed: the wall clock is more than two minutes off.
	Skewed bool
	// Fault says why the newest contact came to nothing, Note the newest thing to be said
	// of one, Update that the server asks for a newer app; words for the person, empty for
	// none.
	Fault, Note, Update string
}

// Status returns how the device stands, without asking anybody.
func (d *Device) Status() (*Status, error) {
	s, err := d.c.Status(context.Background())
	if err != nil {
		return nil, fail(err)
	}
	return &Status{
		Enrolled: s.Enrolled, Locked: s.Locked, Closed: s.Closed, WipeOrdered: s.WipeOrdered, Suspended: s.Suspended,
		Queued: s.Queued, Applied: s.Applied, OldestMS: s.OldestMS, NotAccepted: s.NotAccepted,
		Records: s.Records, Conflicts: s.Conflicts, Drafts: s.Drafts,
		LastContactMS: s.LastContactMS, LeaseEndsMS: s.LeaseEndsMS, VerifiedMS: s.VerifiedMS,
		Skewed: s.Skewed, Fault: s.LastFault, Note: s.Note, Update: s.Update,
	}, nil
}

// Moved is what a round moved.
type Moved struct {
	// Sent own saves are at the server, NotAccepted of them were not applied; Received is
	// rows of record state that came.
	Sent, NotAccepted, Received int
	// BytesUp and BytesDown are those of the bodies, as they went over the wire.
	BytesUp, BytesDown int64
}

// SyncOnce sends and reads until nothing is left to do, in a time that the system has
// given out. What did not fit in goes with the next contact. It may run beside the loop.
// It meets the server.
func (d *Device) SyncOnce(timeoutMS int64) (*Moved, error) {
	ctx, cancel := within(timeoutMS)
	defer cancel()
	m, err := d.c.Sync(ctx)
	if err != nil {
		return nil, fail(err)
	}
	return newMoved(m), nil
}

func newMoved(m *client.Moved) *Moved {
	return &Moved{Sent: m.Applied + m.NotAccepted, NotAccepted: m.NotAccepted, Received: m.Rows, BytesUp: m.BytesUp, BytesDown: m.BytesDown}
}
