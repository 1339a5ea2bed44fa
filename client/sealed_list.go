package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// SealedList is what everybody can read of a sealed outbox, without any key.
type SealedList struct {
	// Bytes is its size, Damaged the number of places in it that could not be read;
	// Torn: the last one is what a power cut has left of an entry.
	Bytes   int64
	Damaged int
	Torn    bool
	// Replicas that its entries come from, in order of id.
	Replicas []SealedReplica
}

// SealedReplica is what a sealed outbox holds of one life of a store.
type SealedReplica struct {
	Org, Replica syncengine.ID
	// Changes by class, their Bytes, and the ops that they are.
	Changes map[tandemv1.Class]int
	Bytes   int64
	Ops     []syncengine.OpRange
	// Witnesses is the number of records kept from a server that was set back.
	Witnesses int
	// Drafts is the number of drafts that were neither dropped nor saved.
	Drafts int
	// Introduced: its certificate is there too.
	Introduced bool
}

// ListSealed reads a sealed outbox. It may be that of a store that is in use.
func ListSealed(path string) (*SealedList, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the sealed outbox: %w", err)
	}
	defer f.Close() //nolint:errcheck // It was only read.
	type of struct{ org, replica syncengine.ID }
	var drafts []sealedEntry
	list, found := &SealedList{}, map[of]*SealedReplica{}
	r := seal.NewReader(f)
	for {
		e, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the sealed outbox: %w", err)
		}
		list.Bytes += int64(len(e.Raw))
		rep := found[of{e.Org, e.Replica}]
		if rep == nil {
			rep = &SealedReplica{Org: e.Org, Replica: e.Replica, Changes: map[tandemv1.Class]int{}}
			found[of{e.Org, e.Replica}] = rep
		}
		switch e.Kind {
		case seal.KindReplica:
			rep.Introduced = true
		case seal.KindChange:
			if !syncengine.HoldsOp(rep.Ops, e.Number) {
				rep.Changes[e.Class]++
				rep.Ops = syncengine.AddOp(rep.Ops, e.Number)
			}
			rep.Bytes += int64(len(e.Raw))
		case seal.KindWitness:
			rep.Witnesses++
		case seal.KindDraft:
			drafts = append(drafts, sealedEntry{kind: e.Kind, replica: e.Replica, number: e.Number})
		}
	}
	for _, d := range r.Damage() {
		list.Bytes += d.Length
		list.Damaged++
		list.Torn = d.Tail
	}
	if len(found) == 0 && list.Bytes > 0 {
		return nil, ErrNoSealed
	}
	for _, rep := range found {
		for _, version := range newestDrafts(drafts, rep.Replica) {
			if version != seal.DraftDropped {
				rep.Drafts++
			}
		}
		list.Replicas = append(list.Replicas, *rep)
	}
	slices.SortFunc(list.Replicas, func(a, b SealedReplica) int {
		return cmp.Or(a.Org.Compare(b.Org), a.Replica.Compare(b.Replica))
	})
	return list, nil
}
