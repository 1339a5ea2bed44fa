package client

import (
	"context"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// KeepWitness keeps the server's state of records, sealed, as this device last had
// it: it is to be called before a state that the device has not confirmed by hash is
// replaced or dropped because the server was set back. When it returns nil they are on
// the disk; [ErrNotSealed] says that there is no sealed outbox to keep them in. It
// waits for no transaction of the store, so it may be called inside one.
func (c *Client) KeepWitness(records ...*syncengine.Record) error {
	f := c.sealed()
	if f == nil {
		return ErrNotSealed
	}
	ws := make([]*seal.Witness, 0, len(records))
	for _, r := range records {
		ws = append(ws, &seal.Witness{Record: r.ID, Kind: r.Kind, Hash: r.Hash(), Body: r.Body, Stamps: r.Stamps})
	}
	if len(ws) == 0 {
		return nil
	}
	if err := f.witness(ws); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.offers == nil {
		f.offers = map[uint64]*tandemv1.WitnessOffer{}
	}
	for _, w := range ws {
		f.offers[w.Serial] = &tandemv1.WitnessOffer{Serial: w.Serial, Record: slices.Clone(w.Record[:]), Hash: uint64(w.Hash)}
	}
	return nil
}

// maxOffers is how many witnesses are offered at once.
const maxOffers = 1000

// OfferWitnesses brings the kept witnesses to the server: their names first, then the
// bytes of those that it wants, and of those whose names this process does not know
// any more. What the server has, or does not want, leaves the file when that is
// rewritten. It is of the lowest urgency: to be called when nothing else waits.
func (c *Client) OfferWitnesses(ctx context.Context) (*Delivery, error) {
	f := c.sealed()
	if f == nil {
		return &Delivery{}, nil
	}
	way, _, err := c.way()
	if err != nil {
		return nil, err
	}
	offers, wanted := f.unsettledWitnesses()
	if len(offers)+len(wanted) == 0 {
		return &Delivery{}, nil
	}
	for some := range slices.Chunk(offers, maxOffers) {
		answer, err := way.deliver(ctx, &tandemv1.DeliverRequest{Offers: some})
		if err != nil {
			return nil, err
		}
		for _, serial := range answer.GetWanted() {
			wanted[serial] = true
		}
	}
	done, err := c.deliver(ctx, f.path, func(h *seal.Header) bool {
		return h.Kind == seal.KindWitness && h.Org == f.me.org && h.Replica == f.me.replica && wanted[h.Number]
	}, nil)
	if err != nil || done.Left() > 0 {
		return done, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for serial := range wanted {
		f.unwanted = syncengine.AddOp(f.unwanted, serial)
	}
	for _, o := range offers {
		f.unwanted = syncengine.AddOp(f.unwanted, o.GetSerial())
	}
	return done, nil
}

// unsettledWitnesses returns the witnesses that can be offered by name, and the
// serial numbers of those that cannot.
func (s *sealedFile) unsettledWitnesses() (offers []*tandemv1.WitnessOffer, unnamed map[uint64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unnamed = map[uint64]bool{}
	for i := range s.entries {
		e := &s.entries[i]
		switch {
		case !e.own || e.kind != seal.KindWitness || syncengine.HoldsOp(s.unwanted, e.number):
		case s.offers[e.number] != nil:
			offers = append(offers, s.offers[e.number])
		default:
			unnamed[e.number] = true
		}
	}
	return offers, unnamed
}
