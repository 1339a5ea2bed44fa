package syncengine

import (
	"crypto/sha256"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Quarantine is a history that can also hand out the encoded change that lies in
// quarantine under a stamp, nil for none.
type Quarantine interface {
	History
	RawChange(s Stamp) []byte
}

// Stand does at a record what the server does when the change of by comes to lie
// in quarantine; nil where that changes nothing. The wider tests of the server
// drive the same code through a push.
func Stand(k *Kind, rec *Record, w *tandemv1.RecordWrite, by Writer, hist Quarantine) (*Record, error) {
	id := ID{}
	copy(id[8:], EncodeStamps([]Stamp{by.Stamp}))
	tx := &standTx{hist: hist, rec: &StoredRecord{Record: *rec, Hash: rec.Hash(), Seq: 1}}
	b := &Batch{
		srv: &Server{Rules: standRules{kind: k}}, tx: tx, hash: sha256.New(), touched: map[ScopeKey]bool{},
	}
	// Of somebody who may write it all.
	j := b.judge(&Principal{Server: true})
	if err := b.stand(j, &StoredChange{ID: id, Seq: 2}, w); err != nil {
		return nil, err
	}
	return tx.saved, nil
}

// standTx is as much of a transaction as one record needs.
type standTx struct {
	ServerTx

	hist  Quarantine
	rec   *StoredRecord
	saved *Record
}

func (t *standTx) Org() ID                           { return ID{} }
func (t *standTx) Record(ID) (*StoredRecord, error)  { return t.rec, nil }
func (t *standTx) Teams(ID) ([]ID, error)            { return nil, nil }
func (t *standTx) OpenItem(ID, Item, uint64) error   { return nil }
func (t *standTx) CloseItems(ID, Path, uint64) error { return nil }
func (t *standTx) SaveRecord(r *StoredRecord) error  { t.saved = &r.Record; return nil }
func (t *standTx) Await(_ ID, p Path, s Stamp) error { return t.hist.Await(p, s) }

func (t *standTx) Awaited(_ ID, p Path, s Stamp) (bool, error) { return t.hist.Awaited(p, s) }

// QuarantinedByStamp hands out as much of a change as is read of one in quarantine.
func (t *standTx) QuarantinedByStamp(s Stamp) (*StoredChange, error) {
	raw := t.hist.RawChange(s)
	if raw == nil {
		return nil, nil
	}
	return &StoredChange{Body: raw}, nil
}

// standRules knows one kind, whose records are in no scope.
type standRules struct {
	Rules

	kind *Kind
}

func (r standRules) Kind(uint32) *Kind { return r.kind }

func (r standRules) Scopes(ID, *Record, Lookup) ([]ScopeKey, []ID, error) { return nil, nil, nil }

func (r standRules) Grants(ID, *Principal) []ScopeKey { return nil }

func (r standRules) Allowed(*Principal, *tandemv1.RecordWrite) bool { return true }

func (r standRules) AllowedOn(*Principal, *tandemv1.RecordWrite, *Record, Lookup) bool { return true }

func (r standRules) Review(*Record) []string { return nil }

func (r standRules) CoAuthors(*Record, Lookup) ([]ID, error) { return nil, nil }

func (r standRules) About(*Record) []ID { return nil }
