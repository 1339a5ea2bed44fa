package store

import (
	"bytes"
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// maxHistory bounds the changes of one record that are read at once.
const maxHistory = 4096

// History implements DeskView. Each write names the values that it stands in the place
// of, so the changes are found from the values that stand there now, back to the one that
// made the record: no table lists them. What a policy let go without a name
// (last-accepted fields of reference data) is not led to.
func (v *view) History(rec *syncengine.StoredRecord) ([]*syncengine.StoredChange, error) {
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return nil, err
	}
	wanted := []syncengine.Stamp{state.Created}
	for i := range state.Paths {
		for _, h := range state.Paths[i].Heads {
			wanted = append(wanted, h.Stamp)
		}
	}
	seen := map[syncengine.Stamp]bool{0: true}
	var found []*syncengine.StoredChange
	for len(wanted) > 0 && len(found) < maxHistory {
		stamp := wanted[len(wanted)-1]
		wanted = wanted[:len(wanted)-1]
		if seen[stamp] {
			continue
		}
		seen[stamp] = true
		rows, err := v.changes("stamp = $2 ORDER BY seq", int64(stamp))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if code := row.Outcome.GetCode(); code != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED && code != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
				continue
			}
			if err := v.whole(row); err != nil {
				return nil, err
			}
			change := &tandemv1.Change{}
			if err := proto.Unmarshal(row.Body, change); err != nil {
				return nil, ErrDamaged
			}
			wrote := false
			for _, w := range change.GetRecords() {
				if !bytes.Equal(w.GetRecord(), rec.ID[:]) {
					continue
				}
				wrote = true
				for _, pw := range w.GetWrites() {
					wanted = append(wanted, syncengine.DecodeStamps(pw.GetBases())...)
				}
			}
			if wrote {
				found = append(found, row.StoredChange)
			}
		}
	}
	slices.SortFunc(found, func(a, b *syncengine.StoredChange) int { return cmp.Compare(a.Seq, b.Seq) })
	return found, nil
}
