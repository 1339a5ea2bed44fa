package console

import (
	"bytes"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// zoneOf is the time zone of an agency; that of the person's own where it has none that is
// known here.
func (s *sight) zoneOf(agency string) *time.Location {
	if it := s.seeText(agency); it != nil {
		if m, ok := it.msg.(*tandemv1.Agency); ok && m.GetAgencyTz() != "" {
			if zone, err := time.LoadLocation(m.GetAgencyTz()); err == nil {
				return zone
			}
		}
	}
	return s.zone
}

// populationOf is the table of who lives where an agency works; nil where there is none.
func (s *sight) populationOf(agency string) (*store.Population, error) {
	id, err := syncengine.ParseID(agency)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // What is no id is no agency.
	}
	return s.view.Population(id)
}

// populated says to an admin since when there is a table of their agency.
func (v *visit) populated(d *outcomesData) error {
	if !v.admin {
		return nil
	}
	return v.look("outcomes", syncengine.ID{}, func(s *sight) error {
		p, err := s.view.Population(s.p.Agency)
		if err == nil && p != nil {
			d.Populated = s.moment(p.LoadedMS)
		}
		return err
	})
}

// setPopulation loads the table of who lives where the admin's agency works, instead of the
// one that there was; one without a group removes it.
func (v *visit) setPopulation() error {
	raw, _, err := v.file("file")
	if err != nil {
		return err
	}
	if len(raw) > maxForm {
		return errLong
	}
	table, err := report.ReadPopulation(bytes.NewReader(raw))
	if wrong, ok := errors.AsType[*report.PopulationError](err); ok {
		return v.outcomesShow(wrong.In(v.lang))
	} else if err != nil {
		return err
	}
	groups := 0
	for _, of := range table {
		groups += len(of)
	}
	if groups == 0 {
		raw = nil
	}
	agency, err := v.agency()
	if err != nil {
		return err
	}
	err = v.noteThen(func(tx *store.Tx) error {
		return tx.SavePopulation(&store.Population{Agency: agency, By: v.who.Staff, Body: raw})
	}, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_POPULATION_LOADED, Subject: agency[:], Count: uint64(groups)})
	if err != nil {
		return err
	}
	if groups == 0 {
		return v.to("outcomes?done=okUnpopulated")
	}
	return v.to("outcomes?done=okPopulated")
}
