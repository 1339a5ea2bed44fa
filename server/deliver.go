package server

import (
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// Bounds of one delivery, beside that of its bytes.
const (
	maxEntries = syncengine.MaxPushChanges
	maxOffers  = 4096
)

// ErrDelivery refuses a delivery as a whole.
var ErrDelivery = errors.New("the delivery holds more entries than the server takes at once: send fewer")

// Deliver implements tandemv1connect.SyncServiceHandler.
func (s *syncing) Deliver(ctx context.Context, req *tandemv1.DeliverRequest) (*tandemv1.DeliverResponse, error) {
	id, org, err := s.admittedCaller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if len(req.GetEntries()) > maxEntries || len(req.GetOffers()) > maxOffers {
		return nil, s.refuse(ErrDelivery)
	}
	if err := s.proved(ctx, org, id); err != nil {
		return nil, s.refuse(err)
	}
	d := &delivery{Server: s.Server, org: org, by: id, answer: &tandemv1.DeliverAnswer{}, parcels: map[syncengine.ID]*parcel{}}
	if err := d.take(ctx, req); err != nil {
		return nil, s.refuse(err)
	}
	resp, err := syncengine.FrameDelivery(d.answer)
	if err != nil {
		return nil, s.refuse(err)
	}
	return resp, nil
}

// delivery is one call of Deliver.
type delivery struct {
	*Server

	org    *store.Org
	by     *auth.Identity
	answer *tandemv1.DeliverAnswer
	// parcels are the entries by replica, order the replicas as they first came.
	parcels map[syncengine.ID]*parcel
	order   []syncengine.ID
}

// parcel is what a delivery holds of one replica.
type parcel struct {
	replica syncengine.ID
	// named is what the replica's introduction says, nil where none came.
	named *auth.Identity
	// changes, and for each the place of its answer; witnesses likewise.
	changes   []syncengine.Delivered
	changeAt  []int
	witnesses []*seal.Witness
	witnessAt []int
	drafts    []*seal.Draft
	draftAt   []int
}

// take opens the entries, judges them and answers each.
func (d *delivery) take(ctx context.Context, req *tandemv1.DeliverRequest) error {
	opener := seal.NewOpener(d.org.Seal...)
	for i, raw := range req.GetEntries() {
		d.answer.Delivered = append(d.answer.Delivered, &tandemv1.Delivered{})
		result, err := d.open(ctx, opener, i, raw)
		if err != nil {
			return err
		}
		d.answer.Delivered[i].Result = result
	}
	for _, replica := range d.order {
		if err := d.judge(ctx, d.parcels[replica]); err != nil {
			return err
		}
	}
	if err := d.told(ctx); err != nil {
		return err
	}
	if err := d.backed(ctx, req.GetBackedOf()); err != nil {
		return err
	}
	return d.offers(ctx, req.GetOffers())
}

// told says where the outcomes were told: a server that is set back to before that is seen
// by it.
func (d *delivery) told(ctx context.Context) error {
	if !slices.ContainsFunc(d.answer.GetDelivered(), func(a *tandemv1.Delivered) bool { return a.GetOutcome() != nil }) {
		return nil
	}
	return d.store.Read(ctx, d.org.ID, func(view syncengine.ServerView) (err error) {
		d.answer.ToldAt, err = d.engine(d.org).ToldAt(view, d.by.Replica)
		return err
	})
}

// maxBackedOf bounds the earlier replicas that a request may name.
const maxBackedOf = 64

// backed says what two verified backups hold of earlier replicas of the caller's store.
// Nobody is told of another's.
func (d *delivery) backed(ctx context.Context, replicas [][]byte) error {
	if len(replicas) == 0 {
		return nil
	}
	return d.store.Read(ctx, d.org.ID, func(view syncengine.ServerView) error {
		d.answer.Backed = nil
		me, err := view.Replica(d.by.Replica)
		if err != nil || me == nil {
			return err
		}
		for _, raw := range replicas[:min(len(replicas), maxBackedOf)] {
			id, ok := syncengine.IDFromBytes(raw)
			if !ok {
				continue
			}
			r, err := view.Replica(id)
			if err != nil {
				return err
			}
			if r == nil || r.Person != me.Person || r.Device != me.Device {
				continue
			}
			ops := &tandemv1.ReplicaOps{Replica: raw}
			for _, b := range r.BackedUp {
				ops.Ops = append(ops.Ops, &tandemv1.OpRange{First: b.First, Last: b.Last})
			}
			d.answer.Backed = append(d.answer.Backed, ops)
		}
		return nil
	})
}

// open opens one entry and puts it with those of its replica. The result is
// unspecified where that is still to be judged.
func (d *delivery) open(ctx context.Context, opener *seal.Opener, i int, raw []byte) (tandemv1.Delivery, error) {
	e, err := seal.Parse(raw)
	if err != nil {
		return tandemv1.Delivery_DELIVERY_DAMAGED, nil //nolint:nilerr // The answer says so.
	}
	d.answer.Delivered[i].Replica, d.answer.Delivered[i].Number = slices.Clone(e.Replica[:]), e.Number
	if e.Kind != 0 && e.Org != d.org.ID {
		return tandemv1.Delivery_DELIVERY_FOREIGN, nil
	}
	p := d.parcels[e.Replica]
	if p == nil {
		p = &parcel{replica: e.Replica}
		d.parcels[e.Replica] = p
		d.order = append(d.order, e.Replica)
	}
	switch e.Kind {
	case seal.KindReplica:
		return d.introduce(ctx, p, &e)
	case seal.KindChange:
		c, err := opener.OpenChange(&e)
		if err != nil {
			return unopened(err), nil
		}
		p.changes = append(p.changes, syncengine.Delivered{Op: c.Op, Prev: c.Prev, Signature: c.Signature, Raw: c.Raw})
		p.changeAt = append(p.changeAt, i)
	case seal.KindWitness:
		w, err := opener.OpenWitness(&e)
		if err != nil {
			return unopened(err), nil
		}
		p.witnesses, p.witnessAt = append(p.witnesses, w), append(p.witnessAt, i)
	case seal.KindDraft:
		c, err := opener.OpenDraft(&e)
		if err != nil {
			return unopened(err), nil
		}
		p.drafts, p.draftAt = append(p.drafts, c), append(p.draftAt, i)
	default:
		return tandemv1.Delivery_DELIVERY_UNKNOWN_KIND, nil
	}
	return tandemv1.Delivery_DELIVERY_UNSPECIFIED, nil
}

func unopened(err error) tandemv1.Delivery {
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return tandemv1.Delivery_DELIVERY_NO_KEY
	case errors.Is(err, seal.ErrForged):
		return tandemv1.Delivery_DELIVERY_FORGED
	}
	return tandemv1.Delivery_DELIVERY_DAMAGED
}

// introduce takes in what an entry says of its replica, if the org has certified it.
func (d *delivery) introduce(ctx context.Context, p *parcel, e *seal.Entry) (tandemv1.Delivery, error) {
	key, certificate, err := e.Introduction()
	if err != nil {
		return tandemv1.Delivery_DELIVERY_DAMAGED, nil //nolint:nilerr // The answer says so.
	}
	named, err := d.auth.Certified(ctx, certificate, key)
	switch {
	case errors.Is(err, auth.ErrCertificate):
		return tandemv1.Delivery_DELIVERY_FORGED, nil
	case err != nil:
		return 0, err
	case named.Org != d.org.ID || named.Replica != p.replica:
		return tandemv1.Delivery_DELIVERY_FORGED, nil
	}
	p.named = named
	return tandemv1.Delivery_DELIVERY_TAKEN, nil
}

// judge judges what came of one replica.
func (d *delivery) judge(ctx context.Context, p *parcel) error {
	if len(p.changes)+len(p.witnesses)+len(p.drafts) == 0 {
		return nil
	}
	var by *syncengine.Replica
	read := func() error {
		return d.store.Read(ctx, d.org.ID, func(view syncengine.ServerView) error {
			r, err := view.Replica(p.replica)
			by = r
			return err
		})
	}
	if err := read(); err != nil {
		return err
	}
	if by == nil && p.named != nil {
		known, err := d.readmit(ctx, d.org, p.named)
		if err != nil {
			return err
		}
		if known {
			if err := read(); err != nil {
				return err
			}
		}
	}
	if by == nil {
		for _, i := range slices.Concat(p.changeAt, p.witnessAt, p.draftAt) {
			d.answer.Delivered[i].Result = tandemv1.Delivery_DELIVERY_UNKNOWN_REPLICA
		}
		return nil
	}
	err := syncengine.ErrSuspended
	if !by.Shut() {
		err = d.push(ctx, p, by)
	}
	if errors.Is(err, syncengine.ErrSuspended) {
		// Since it was read, maybe: it is not the caller's device that is, or they hear of
		// that with their next call.
		for _, i := range slices.Concat(p.changeAt, p.witnessAt, p.draftAt) {
			d.answer.Delivered[i].Result, d.answer.Delivered[i].Outcome = tandemv1.Delivery_DELIVERY_SUSPENDED, nil
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.witness(ctx, p, by); err != nil {
		return err
	}
	return d.draft(ctx, p, by)
}

// draft keeps the drafts of a replica in quarantine: of each the newest version that the
// delivery holds, and nothing of one that is no more. A key that the replica had before
// still proves a draft: nobody applies it, and a lead reads it.
func (d *delivery) draft(ctx context.Context, p *parcel, by *syncengine.Replica) error {
	newest := map[uint64]uint64{}
	for _, dr := range p.drafts {
		n, version := seal.DraftOf(dr.Number)
		if by.Signed(0, dr.Signed) {
			newest[n] = max(newest[n], version)
		}
	}
	var raws [][]byte
	var at []int
	for i, dr := range p.drafts {
		answer := d.answer.Delivered[p.draftAt[i]]
		if !by.Signed(0, dr.Signed) {
			answer.Result = tandemv1.Delivery_DELIVERY_UNPROVED
			continue
		}
		answer.Result = tandemv1.Delivery_DELIVERY_TAKEN
		if n, version := seal.DraftOf(dr.Number); version == newest[n] && version != seal.DraftDropped {
			raws, at = append(raws, dr.Raw), append(at, p.draftAt[i])
		}
	}
	if len(raws) == 0 {
		return nil
	}
	return d.store.Write(ctx, d.org.ID, len(raws), func(tx *store.Tx) error {
		batch, err := d.engine(d.org).Begin(tx, d.now().UnixMilli())
		if err != nil {
			return err
		}
		kept, fresh, err := batch.Drafts(p.replica, raws)
		if err != nil {
			return err
		}
		for i, ok := range kept {
			d.answer.Delivered[at[i]].Result = tandemv1.Delivery_DELIVERY_TAKEN
			if !ok {
				d.answer.Delivered[at[i]].Result = tandemv1.Delivery_DELIVERY_UNPROVED
			}
		}
		if _, err = batch.Commit(); err != nil || fresh == 0 {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_DRAFTS_KEPT, Person: d.by.Person[:], Replica: p.replica[:], Count: uint64(fresh),
		})
	})
}

// push judges the changes of a replica on the same path as its own push.
func (d *delivery) push(ctx context.Context, p *parcel, by *syncengine.Replica) error {
	if len(p.changes) == 0 {
		return nil
	}
	changes := syncengine.PrepareDeliveredBy(d.rules, by, p.changes)
	if slices.ContainsFunc(changes, func(c syncengine.DeliveredChange) bool { return !c.Proved }) {
		err := d.store.Write(ctx, d.org.ID, 0, func(tx *store.Tx) error {
			batch, err := d.engine(d.org).Begin(tx, d.now().UnixMilli())
			if err != nil {
				return err
			}
			return batch.Prove(p.replica, changes)
		})
		if err != nil {
			return err
		}
	}
	verdicts := map[syncengine.Hash]*tandemv1.Outcome{}
	as := &auth.Identity{Org: d.org.ID, Replica: p.replica, Key: by.Key}
	for _, round := range syncengine.Rounds(changes) {
		outcomes, err := d.Server.push(ctx, d.org, as, round, &tandemv1.SyncRequest{})
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			verdicts[round[i].Hash] = o
		}
	}
	for i, at := range p.changeAt {
		c := &p.changes[i]
		answer := d.answer.Delivered[at]
		o := verdicts[syncengine.HashEnvelope(p.replica, c.Op, c.Prev, syncengine.HashBody(c.Raw))]
		switch {
		case o == nil:
			answer.Result = tandemv1.Delivery_DELIVERY_UNPROVED
		case o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_FORK:
			answer.Result = tandemv1.Delivery_DELIVERY_FORK
		default:
			answer.Result = tandemv1.Delivery_DELIVERY_TAKEN
			if p.replica == d.by.Replica {
				// What became of another's words would tell of records that the caller may
				// not read.
				answer.Outcome = o
			}
		}
	}
	return nil
}

// witness keeps the witnesses of a replica.
func (d *delivery) witness(ctx context.Context, p *parcel, by *syncengine.Replica) error {
	var kept []*store.Witness
	now := d.now().UnixMilli()
	for i, w := range p.witnesses {
		answer := d.answer.Delivered[p.witnessAt[i]]
		if !by.Signed(0, w.Signed) {
			answer.Result = tandemv1.Delivery_DELIVERY_UNPROVED
			continue
		}
		answer.Result = tandemv1.Delivery_DELIVERY_TAKEN
		kept = append(kept, &store.Witness{
			Record: syncengine.Record{ID: w.Record, Kind: w.Kind, Body: w.Body, Stamps: w.Stamps},
			Hash:   w.Hash, Replica: p.replica, TakenMS: now,
		})
	}
	if len(kept) == 0 {
		return nil
	}
	return d.store.Write(ctx, d.org.ID, len(kept), func(tx *store.Tx) error {
		for _, w := range kept {
			if err := tx.SaveWitness(w); err != nil {
				return err
			}
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_WITNESSED, Person: d.by.Person[:], Replica: p.replica[:], Count: uint64(len(kept)),
		})
	})
}

// offers says which of the offered witnesses are wanted: those that differ from what
// the caller may read here. What the caller may not read is wanted in any case, so
// that the answer tells nothing of it.
func (d *delivery) offers(ctx context.Context, offers []*tandemv1.WitnessOffer) error {
	if len(offers) == 0 {
		return nil
	}
	engine := d.engine(d.org)
	return d.store.Write(ctx, d.org.ID, 0, func(tx *store.Tx) error {
		d.answer.Wanted = nil
		r, err := tx.Replica(d.by.Replica)
		if err != nil {
			return err
		}
		var grants []syncengine.ScopeKey
		if r != nil && !r.Revoked {
			p, err := engine.Principal(tx, r)
			if err != nil {
				return err
			}
			grants = engine.Rules.Grants(d.org.ID, p)
		}
		for _, o := range offers {
			id, ok := syncengine.IDFromBytes(o.GetRecord())
			if !ok {
				continue
			}
			rec, err := tx.Record(id)
			if err != nil {
				return err
			}
			known := rec != nil && uint64(rec.Hash) == o.GetHash() &&
				slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool { return slices.Contains(grants, k) })
			if !known {
				if known, err = tx.KeepsWitness(d.by.Replica, id, syncengine.RowHash(o.GetHash())); err != nil {
					return err
				}
			}
			if !known {
				d.answer.Wanted = append(d.answer.Wanted, o.GetSerial())
			}
		}
		return nil
	})
}
