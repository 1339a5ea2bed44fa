package syncengine

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Drafts puts drafts of a replica, out of its sealed outbox, into quarantine: encoded
// changes that hold a draft, whose signatures have been checked. It reports for each
// whether it is kept now, or was before: one that is not the replica's, or for which
// there is no room, is not. Repeating it has the effect of once.
func (b *Batch) Drafts(replica ID, drafts [][]byte) (kept []bool, fresh int, err error) {
	kept = make([]bool, len(drafts))
	r, err := b.live(replica)
	if err != nil || r == nil {
		return kept, 0, err
	}
	p, err := b.srv.Principal(b.tx, r)
	if err != nil {
		return nil, 0, err
	}
	j := b.judge(p)
	count, size, err := b.draftsOf(r.Person)
	if err != nil {
		return nil, 0, err
	}
	for i, raw := range drafts {
		change := decodeBody(raw)
		id, ok := IDFromBytes(change.GetId())
		if !ok || StampOf(id) == 0 || change.GetDraft() == nil || len(change.GetRecords()) > 0 {
			continue
		}
		c := &StoredChange{ID: id, BodyHash: HashBody(raw), Body: raw, ReceivedMS: b.now}
		if c.describe(change); c.Author != r.Person || c.Device != r.Device {
			continue
		}
		known, err := b.tx.Change(c.ID)
		if err != nil {
			return nil, 0, err
		}
		if known != nil {
			kept[i] = known.BodyHash == c.BodyHash
			continue
		}
		count, size = count+1, size+len(raw)
		if count > MaxApart || size > MaxApartBytes {
			continue
		}
		refusal := &Refusal{Code: tandemv1.Refusal_REFUSAL_DRAFT}
		b.conclude(c, nil, refusal)
		if err := b.keep(j, c, change, nil, refusal); err != nil {
			return nil, 0, err
		}
		kept[i], fresh = true, fresh+1
	}
	return kept, fresh, nil
}

// draftsOf counts the drafts of a person that lie in quarantine.
func (b *Batch) draftsOf(person ID) (count, size int, err error) {
	after := uint64(0)
	for {
		const some = 256
		changes, err := b.tx.Quarantined(after, some)
		if err != nil {
			return 0, 0, err
		}
		for _, c := range changes {
			if after = c.Seq; c.Author == person && c.Outcome.GetRefusal() == tandemv1.Refusal_REFUSAL_DRAFT {
				count, size = count+1, size+len(c.Body)
			}
		}
		if len(changes) < some {
			return count, size, nil
		}
	}
}
