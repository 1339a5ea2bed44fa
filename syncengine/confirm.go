package syncengine

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Standing is how a record that this device made or wrote stands, without its bytes.
type Standing struct {
	// Scopes, HasBase, BaseHash and Pending are those of DeviceRecord.
	Scopes   uint64
	HasBase  bool
	BaseHash RowHash
	Pending  int
	// Shown is the row hash of what screens show.
	Shown RowHash
}

// Confirmer is what a DeviceTx may be besides: one that makes what a record shows
// the server's state of it, without reading or writing its bytes. After a push that
// is what nearly every row of the answer asks for, and reading and writing each
// record again was a third of the device's work.
type Confirmer interface {
	// Standings returns how records stand, of those that have own changes on top and
	// of which it can tell. The others are taken in by way of their bytes.
	Standings(ids []ID) (map[ID]Standing, error)
	// Confirm makes what a record shows the server's state, with nothing pending on
	// top, in a set of scopes. Its standing has been returned in this transaction.
	Confirm(id ID, scopes uint64) error
}

// confirm takes in those rows of a closing page that say of a record: what you show
// is what the server has, and nothing of yours is outstanding on it. It returns the
// other rows, and what is to be run once they are known to be whole.
func (in *intake) confirm(p *tandemv1.Page) (others []*tandemv1.Row, run func() error, err error) {
	nothing := func() error { return nil }
	tx, ok := in.tx.(Confirmer)
	if !ok {
		return p.GetRows(), nothing, nil
	}
	ids := make([]ID, 0, len(p.GetRows()))
	named := make(map[ID]bool, len(p.GetRows()))
	for _, row := range p.GetRows() {
		id, ok := IDFromBytes(row.GetRecord())
		if !ok || named[id] {
			// Of two rows of one record the second builds on the first.
			return p.GetRows(), nothing, nil
		}
		named[id] = true
		if row.GetEcho() && len(in.settling[id]) > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return p.GetRows(), nothing, nil
	}
	standings, err := tx.Standings(ids)
	if err != nil {
		return nil, nil, err
	}
	confirmed := make([]Incoming, 0, len(standings))
	for _, row := range p.GetRows() {
		id := ID(row.GetRecord())
		st, ok := standings[id]
		scopes, err := in.scopesOf(row)
		if err != nil {
			return nil, nil, err
		}
		if !ok || !row.GetEcho() || scopes == 0 || uint64(st.Shown) != row.GetHash() || st.Pending != len(in.settling[id]) {
			others = append(others, row)
			continue
		}
		confirmed = append(confirmed, Incoming{Record: Record{ID: id}, Scopes: scopes})
	}
	return others, func() error {
		for i := range confirmed {
			id := confirmed[i].ID
			st := standings[id]
			in.account(&DeviceRecord{Record: Record{ID: id}, Scopes: st.Scopes, HasBase: st.HasBase, BaseHash: st.BaseHash}, -1)
			in.account(&DeviceRecord{Record: Record{ID: id}, Scopes: confirmed[i].Scopes, HasBase: true, BaseHash: st.Shown}, +1)
			in.got.Changed = append(in.got.Changed, id)
			delete(in.settling, id)
			if err := tx.Confirm(id, confirmed[i].Scopes); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
