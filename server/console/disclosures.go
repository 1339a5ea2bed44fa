package console

import (
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type disclosuresData struct {
	Page *web.Page
	// Name of the person, and the address of the case.
	Name, Case, ID    string
	From, To, Printed string
	Since             string
	Owed              bool
	Lines             []disclosedLine
}

// disclosedLine is one time that something was passed on.
type disclosedLine struct {
	When, Recipient, Address, What, Why, By string
	Owed                                    bool
}

// disclosures is the accounting of what was passed on about a person, for whoever leads a
// team that holds them: as much of it as this lead may read.
func (v *visit) disclosures() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	d := &disclosuresData{Page: v.page("disclosuresTitle", "disclosures/"+id.String()), Case: "case/" + id.String(), ID: id.String(), Since: q.Get("since"), Owed: q.Get("owed") != ""}
	var since time.Time
	if d.Since != "" {
		if since, err = time.Parse(time.DateOnly, d.Since); err != nil {
			return errForm
		}
	}
	// Whether the person is theirs is found out before anything is drawn up.
	if err := v.look("disclosures", id, func(s *sight) error {
		it := s.see(id)
		if it == nil || it.kind.Name != "person" {
			return errAbsent
		}
		d.Name = s.title(it)
		s.show(it)
		return nil
	}); err != nil {
		return err
	}
	all, err := v.office().Disclosures(v.ctx(), v.who.Staff, id, since)
	if err != nil {
		return err
	}
	err = v.look("disclosures", id, func(s *sight) error {
		d.From, d.To = s.day(all.FromMS), s.day(all.ToMS)
		d.Printed = s.moment(s.now().UnixMilli())
		for i := range all.Disclosures {
			one := &all.Disclosures[i]
			it := s.see(one.ID)
			if it == nil || d.Owed && !one.Owed {
				continue
			}
			s.show(it)
			d.Lines = append(d.Lines, s.disclosed(one))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "disclosures", d)
}

// disclosed says one disclosure in words.
func (s *sight) disclosed(d *server.Disclosed) disclosedLine {
	label := func(list, code string) string {
		if code == "" {
			return ""
		}
		return s.c.domain.Label(list, code, s.lang)
	}
	what := make([]string, 0, len(d.What))
	for _, code := range d.What {
		what = append(what, label("disclosed_field", code))
	}
	why := []string{label("disclosure_basis", d.Basis)}
	if s.see(d.Referral) != nil {
		why = append(why, label("need", d.Need))
	}
	why = append(why, d.Purpose)
	if !d.Export.IsZero() {
		why = append(why, s.t("anExport")+" "+d.Export.String())
	}
	if d.Part2 {
		why = append(why, "42 CFR Part 2")
	}
	by := d.By
	if by == "" {
		by = s.t("theServer")
	}
	return disclosedLine{
		When: s.day(d.AtMS) + " " + s.at(d.AtMS).Format("15:04"), Recipient: d.Recipient, Address: d.Address, What: strings.Join(what, ", "), By: by, Owed: d.Owed,
		Why: strings.Join(slices.DeleteFunc(why, func(w string) bool { return w == "" }), " · "),
	}
}

// day is a date with its year, as a paper needs it.
func (s *sight) day(ms int64) string { return s.at(ms).Format(time.DateOnly) }

type passedData struct {
	Page  *web.Page
	Lines []disclosedLine
	More  bool
}

// mostPassed is how many disclosures by export are shown.
const mostPassed = 500

// passedOn lists what the agency has passed on by export: to whom, why, and by whom. Of
// whom, and what clinicians passed on, an admin does not see here.
func (v *visit) passedOn() error {
	d := &passedData{Page: v.page("navPassedOn", "passed-on")}
	type passed struct {
		*tandemv1.Disclosure

		at   int64
		what []string
	}
	byExport := map[string]*passed{}
	err := v.c.store.Snapshot(v.ctx(), v.who.Org.ID, func(snap *store.Snapshot) error {
		return snap.Each(v.c.domain.KindByName("disclosure").Number, func(rec *syncengine.StoredRecord) error {
			msg, err := v.c.domain.Message(&rec.Record)
			if err != nil {
				return err
			}
			m, ok := msg.(*tandemv1.Disclosure)
			if !ok || m.GetExportId() == "" || m.GetPersonId() != "" || m.GetLifecycle() == record.Void || m.GetAgencyId() != v.who.Principal.Agency.String() {
				return nil
			}
			// One for each team.
			if known := byExport[m.GetExportId()]; known != nil {
				known.what = append(known.what, m.GetWhat()...)
				return nil
			}
			byExport[m.GetExportId()] = &passed{Disclosure: m, at: m.GetAt().GetAtMs(), what: m.GetWhat()}
			return nil
		})
	})
	if err != nil {
		return err
	}
	err = v.look("passed-on", syncengine.ID{}, func(s *sight) error {
		var all []*passed
		for _, p := range byExport {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b *passed) int { return int(min(max(b.at-a.at, -1), 1)) })
		d.More = len(all) > mostPassed
		for _, p := range all[:min(len(all), mostPassed)] {
			one := &server.Disclosed{AtMS: p.at, Recipient: p.GetRecipient(), What: slices.Compact(slices.Sorted(slices.Values(p.what))), Basis: p.GetBasis(), Purpose: p.GetNote()}
			one.Export, _ = syncengine.ParseID(p.GetExportId())
			if by, err := syncengine.ParseID(p.GetBy()); err == nil {
				one.By = s.staffName(by)
			}
			d.Lines = append(d.Lines, s.disclosed(one))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "passed-on", d)
}
