package export

import (
	"context"
	"errors"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Preview says what an export would hold.
type Preview struct {
	// Seq of the state that was counted.
	Seq     uint64  `json:"seq"`
	Records int64   `json:"records"`
	LeftOut LeftOut `json:"left_out"`
	// People whom it is about, counted where a person exports.
	People int `json:"people,omitempty"`
	// NeedsApproval: a second person has to approve it.
	NeedsApproval bool           `json:"needs_approval"`
	Tables        []PreviewTable `json:"tables"`
}

// PreviewTable is one file that an export would have.
type PreviewTable struct {
	Name    string   `json:"name"`
	Rows    int64    `json:"rows"`
	Columns []string `json:"columns"`
}

// Count goes through the records that [Write] would export with the same options, under
// the same rights, and writes nothing. Of a de-identified set it counts what there is before
// records are dropped that too few are like.
func Count(ctx context.Context, st *store.Store, org *store.Org, o Options) (*Preview, error) {
	j, p := newJob(o), &Preview{}
	if err := j.choose(); err != nil {
		return nil, err
	}
	rows := map[*table]int64{}
	err := st.Snapshot(ctx, org.ID, func(snap *store.Snapshot) error {
		if err := j.allow(snap, org); err != nil {
			return err
		}
		if err := j.survey(snap); err != nil {
			return err
		}
		if err := j.settle(snap); err != nil {
			return err
		}
		all := whom{}
		err := j.read(snap, syncengine.ID{}, func(of []*table, r *row) error {
			if j.counts() {
				if err := j.name(all, r.rec); err != nil {
					return err
				}
			}
			for _, t := range of {
				if err := t.each(r, func(*row) error {
					rows[t]++
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
		p.NeedsApproval = errors.Is(j.approved(all), ErrApproval)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.Seq, p.Records, p.LeftOut, p.People = j.cut.Seq, j.n, j.left, j.cut.People
	for _, t := range j.tables {
		of := PreviewTable{Name: t.name, Rows: rows[t]}
		for _, c := range t.columns {
			of.Columns = append(of.Columns, c.name)
		}
		p.Tables = append(p.Tables, of)
	}
	return p, nil
}
