package store

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// replicaEntry is a replica as a transaction sees it, nil r: unknown.
type replicaEntry struct {
	r     *syncengine.Replica
	dirty bool
}

// Replica implements syncengine.ServerView.
func (tx *Tx) Replica(id syncengine.ID) (*syncengine.Replica, error) {
	e := tx.replicas[id]
	if e == nil {
		r, err := tx.view.Replica(id)
		if err != nil {
			return nil, err
		}
		e = &replicaEntry{r: r}
		tx.replicas[id] = e
	}
	return e.r, nil
}

// SaveReplica implements syncengine.ServerTx. A replica keeps its first person
// and device.
func (tx *Tx) SaveReplica(r *syncengine.Replica) error {
	known, err := tx.replicaByID(r.ID)
	if err != nil {
		return err
	}
	tx.writes++
	if known == nil {
		if err := tx.addReplica(r); err != nil {
			return err
		}
	}
	tx.replicas[r.ID] = &replicaEntry{r: r, dirty: true}
	return nil
}

// addReplica gives a replica its number and its row.
func (tx *Tx) addReplica(r *syncengine.Replica) error {
	n, err := tx.ownNumbers()
	if err != nil {
		return err
	}
	row := &replicaNumber{num: 1, id: r.ID, person: r.Person, device: r.Device}
	for used := range n.replicaIDs {
		row.num = max(row.num, used+1)
	}
	err = tx.c.exec(`INSERT INTO replica (org, num, id, person, device, public_key, highest, highest_hash, forked, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0, 0)`,
		tx.org.num, row.num, r.ID[:], r.Person[:], r.Device[:], r.Key, make([]byte, len(syncengine.Hash{})))
	if err != nil {
		return err
	}
	n.addReplica(row)
	return nil
}

func (tx *Tx) flushReplicas() error {
	for _, e := range tx.replicas {
		if !e.dirty {
			continue
		}
		e.dirty = false
		r := e.r
		err := tx.c.exec(`UPDATE replica SET ranges = $1, highest = $2, highest_hash = $3, forked = $4, revoked = $5,
			unconfirmed = $6, replaces = $7, recovered = $8, epoch = $9, waits = $10, lost = $11, apart = $12, revised = $13, wipe_ms = $14, wiped_ms = $15, public_key = $16, former = $17,
			wipe_told_ms = $18, wipe_shut = $19 WHERE org = $20 AND id = $21`,
			bytesArg(packRanges(r.Ranges)), int64(r.Highest), r.HighestHash[:], boolArg(r.Forked), boolArg(r.Revoked),
			boolArg(r.Unconfirmed), idArg(r.Replaces), boolArg(r.Recovered), idArg(r.Epoch), int64(r.Waits), bytesArg(packRanges(r.Lost)),
			bytesArg(packRanges(r.Apart)), int64(r.Revised), r.WipeOrderedMS, r.WipedMS, r.Key, bytesArg(packFormer(r.Former)), r.WipeToldMS, boolArg(r.WipeShut), tx.org.num, r.ID[:])
		if err != nil {
			return err
		}
	}
	return nil
}

// packFormer packs the keys that a replica had before.
func packFormer(keys []syncengine.FormerKey) (packed []byte) {
	for _, k := range keys {
		key := make([]byte, ed25519.PublicKeySize)
		copy(key, k.Key)
		packed = append(binary.BigEndian.AppendUint64(packed, k.Ops), key...)
	}
	return packed
}

func unpackFormer(packed []byte) (keys []syncengine.FormerKey, err error) {
	const size = 8 + ed25519.PublicKeySize
	if len(packed)%size != 0 {
		return nil, fmt.Errorf("the former keys of a replica: %w", ErrDamaged)
	}
	for ; len(packed) > 0; packed = packed[size:] {
		keys = append(keys, syncengine.FormerKey{Ops: binary.BigEndian.Uint64(packed), Key: packed[8:size:size]})
	}
	return keys, nil
}

// OutcomesIn implements syncengine.ServerView.
func (tx *Tx) OutcomesIn(replica syncengine.ID, ops syncengine.OpRange, limit int) ([]*tandemv1.Outcome, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.view.OutcomesIn(replica, ops, limit)
}
