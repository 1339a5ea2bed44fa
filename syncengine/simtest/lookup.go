package simtest

import (
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

func init() {
	actions = append(actions,
		action{"look up", 4, false, (*World).lookUp},
		action{"a day passes", 1, false, (*World).dayPasses},
	)
	Rare = append(Rare, "looked up", "looked up beyond the scopes", "lookup found nothing", "lookup forgotten", "lookup expired")
}

// lookUp is a person who asks for a record, whatever their device holds of it.
func (w *World) lookUp() error {
	d := w.pick()
	if d == nil || len(d.out) >= w.habits.inFlight {
		return nil
	}
	id := one(w, w.server.ids)
	if w.odds(8) {
		id = w.newID()
	}
	o := syncengine.PlanOptions{WallMS: w.wall(d), Lookup: &tandemv1.Lookup{Record: id[:], About: w.odds(2), Reason: "continuity"}}
	if w.odds(3) {
		o.PageBytes = one(w, w.habits.pageBytes)
	}
	w.event("%s looks up %s", d.name, id)
	return w.send(d, o)
}

// dayPasses lets a day go by.
func (w *World) dayPasses() error {
	w.event("a day passes")
	w.nowMS += 25 * 3_600_000
	return nil
}

// serverNow is the server's time as a device knows it.
func (w *World) serverNow(d *device) int64 { return w.wall(d) + d.store.state.OffsetMS }

// mayRead is what a person may read: what is in the scopes that they hold, and what is
// clinical in every team of the programs they work in; for a lead, calls too.
func (w *World) mayRead(p *syncengine.Principal, grants, scopes []syncengine.ScopeKey) bool {
	if reaches(grants, scopes) {
		return true
	}
	return slices.ContainsFunc(scopes, func(s syncengine.ScopeKey) bool {
		wide := s.Compartment == tandemv1.Compartment_COMPARTMENT_CLINICAL && (p.HasRole("clinician") || p.HasRole("lead")) ||
			s.Compartment == tandemv1.Compartment_COMPARTMENT_OPS && p.HasRole("lead")
		i := slices.Index(w.office.teams, s.OwnerID)
		return wide && s.Owner == syncengine.OwnerTeam && i >= 0 && slices.Contains(p.Programs, w.office.programs[i])
	})
}

// finds checks that an answer's finds are what its reader may read, as it stands.
func (w *World) finds(m *message, a *tandemv1.SyncAnswer) error {
	if len(a.GetForget()) > 0 {
		w.seen("lookup forgotten")
	}
	if m.call.req.GetLookup() == nil || w.revoked(m.call.replica) {
		if len(a.GetLookedUp()) > 0 {
			return &ViolationError{"I5", "an answer to " + m.device.name + " holds what it did not look up"}
		}
		return nil
	}
	if len(a.GetLookedUp()) == 0 {
		w.seen("lookup found nothing")
		return nil
	}
	replica := w.server.replicas[m.call.replica]
	p, err := w.engine.Principal(w.server, replica)
	if err != nil {
		return err
	}
	grants, err := w.grants(m.device, m.call.replica)
	if err != nil {
		return err
	}
	w.seen("looked up")
	for _, row := range a.GetLookedUp() {
		id := syncengine.ID(row.GetRecord())
		rec := w.server.records[id]
		if rec == nil || !w.mayRead(p, grants, rec.Scopes) {
			return &ViolationError{"I5", fmt.Sprintf("%s has looked up %s, which its person may not read", m.device.name, id)}
		}
		if (&syncengine.Record{ID: id, Kind: row.GetKind(), Body: row.GetBody(), Stamps: row.GetStamps()}).Hash() != rec.Hash || row.GetScopes() != 0 {
			return &ViolationError{"I6", fmt.Sprintf("%s has looked up %s and is sent another state", m.device.name, id)}
		}
		if !reaches(grants, rec.Scopes) {
			w.seen("looked up beyond the scopes")
		}
	}
	return nil
}

// expire ends what a device has looked up a day ago.
func (w *World) expire(d *device, tx syncengine.DeviceTx) error {
	st, err := tx.State()
	if err != nil {
		return err
	}
	n, err := w.client.Expire(tx, w.wall(d)+st.OffsetMS)
	if n > 0 {
		w.seen("lookup expired")
	}
	return err
}

// keepsFinds checks, at rest, that a device keeps of its lookups what its person may
// still read, for a day, and no more than there is room for.
func (w *World) keepsFinds(d *device) error {
	if len(d.store.finds) > syncengine.MaxLookedUp {
		return &ViolationError{"I21", fmt.Sprintf("%s keeps %d lookups", d.name, len(d.store.finds))}
	}
	if len(d.store.finds) == 0 {
		return nil
	}
	p, err := w.engine.Principal(w.server, w.server.replicas[d.replica])
	if err != nil {
		return err
	}
	grants, err := w.grants(d, d.replica)
	if err != nil {
		return err
	}
	for id, l := range d.store.finds {
		rec := w.server.records[id]
		if rec == nil || !w.mayRead(p, grants, rec.Scopes) {
			return &ViolationError{"I5", fmt.Sprintf("%s keeps %s, which it has looked up and its person may no longer read", d.name, id)}
		}
		if l.Expired(w.serverNow(d)) {
			return &ViolationError{"I22", fmt.Sprintf("%s keeps %s, which it has looked up more than a day ago", d.name, id)}
		}
	}
	return nil
}
