package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// PublishedReport is a report as it was published.
type PublishedReport struct {
	ID syncengine.ID
	// Program it is about; zero for all.
	Program syncengine.ID
	// FirstDay is the first day of its period, EndDay the one after the last, yyyy-mm-dd, by
	// the clocks of Zone; empty is open.
	FirstDay, EndDay, Zone string
	// Seq is the sequence of the state that was counted.
	Seq uint64
	// Hash is SHA-256 of Body.
	Hash syncengine.Hash
	// CreatedMS is when it was published.
	CreatedMS int64
	// Body is the report in JSON; nil in lists.
	Body []byte
	// WithoutSUD is of frozen metrics: no record of a substance use program is in them.
	WithoutSUD bool
}

const publishedColumns = "id, program, first_day, end_day, zone, seq, hash, created_ms"

func scanPublished(rows *sql.Rows, more ...any) (*PublishedReport, error) {
	p := &PublishedReport{}
	var program, hash []byte
	var seq int64
	err := rows.Scan(append([]any{(*scanID)(&p.ID), &program, &p.FirstDay, &p.EndDay, &p.Zone, &seq, &hash, &p.CreatedMS}, more...)...)
	p.Seq = uint64(seq)
	p.Program, _ = syncengine.IDFromBytes(program)
	copy(p.Hash[:], hash)
	return p, err
}

// AddPublishedReport stores a report.
func (tx *Tx) AddPublishedReport(p *PublishedReport) error {
	tx.writes++
	return tx.c.exec("INSERT INTO published_report (org, "+publishedColumns+", body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		tx.org.num, p.ID[:], optional(p.Program), textArg(p.FirstDay), textArg(p.EndDay), textArg(p.Zone), int64(p.Seq), p.Hash[:], p.CreatedMS, p.Body)
}

// optional is an id as it is stored where there may be none.
func optional(id syncengine.ID) []byte {
	if id.IsZero() {
		return []byte{}
	}
	return id[:]
}

// PublishedReports returns the published reports without their bodies, the newest first.
func (v *view) PublishedReports() (all []*PublishedReport, err error) {
	err = v.c.each("SELECT "+publishedColumns+" FROM published_report WHERE org = $1 ORDER BY created_ms DESC, id", []any{v.org.num}, func(rows *sql.Rows) error {
		p, err := scanPublished(rows)
		all = append(all, p)
		return err
	})
	return all, err
}

// PublishedReports returns the published reports of an org without their bodies, the newest
// first.
func (s *Store) PublishedReports(ctx context.Context, org syncengine.ID) (all []*PublishedReport, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.PublishedReports()
		return err
	})
	return all, err
}

// PublishedReport returns a published report of an org with its body; nil where there is
// none of that id.
func (s *Store) PublishedReport(ctx context.Context, org, id syncengine.ID) (found *PublishedReport, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT "+publishedColumns+", body FROM published_report WHERE org = $1 AND id = $2", []any{v.org.num, id[:]}, func(rows *sql.Rows) error {
			var body []byte
			p, err := scanPublished(rows, &body)
			p.Body, found = body, p
			return err
		})
	})
	return found, err
}

// SurveyLink is an address under which anybody answers a form without a name.
type SurveyLink struct {
	// Token is what the address ends in.
	Token string
	// Program is asked about, with Form.
	Program, Form syncengine.ID
	// CreatedMS is when it was opened, ClosedMS when it was closed; 0 for open.
	CreatedMS, ClosedMS int64
	// Answers counts what came in under it.
	Answers int
}

func (v *view) surveyLinks(tail string, args ...any) (all []*SurveyLink, err error) {
	err = v.c.each("SELECT token, program, form, created_ms, closed_ms, answers FROM survey_link WHERE org = $1 "+tail,
		append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
			l := &SurveyLink{}
			var answers int64
			err := rows.Scan(&l.Token, (*scanID)(&l.Program), (*scanID)(&l.Form), &l.CreatedMS, &l.ClosedMS, &answers)
			l.Answers = int(answers)
			all = append(all, l)
			return err
		})
	return all, err
}

// SurveyLinks returns the links of an org, the newest first.
func (v *view) SurveyLinks() ([]*SurveyLink, error) {
	return v.surveyLinks("ORDER BY created_ms DESC, token")
}

// SurveyLinks returns the links of an org, the newest first.
func (s *Store) SurveyLinks(ctx context.Context, org syncengine.ID) (all []*SurveyLink, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		all, err = v.SurveyLinks()
		return err
	})
	return all, err
}

// SurveyLink returns a link by its token; nil where there is none.
func (v *view) SurveyLink(token string) (*SurveyLink, error) {
	all, err := v.surveyLinks("AND token = $2", textArg(token))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// FindSurvey returns the open link of a token with its org, whichever that is; nil where
// there is none.
func (s *Store) FindSurvey(ctx context.Context, token string) (*Org, *SurveyLink, error) {
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range orgs {
		var found *SurveyLink
		err := s.viewing(ctx, o, func(v *view) (err error) {
			found, err = v.SurveyLink(token)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if found != nil && found.ClosedMS == 0 {
			return o, found, nil
		}
	}
	return nil, nil, nil
}

// SaveSurveyLink stores a link as it is now.
func (tx *Tx) SaveSurveyLink(l *SurveyLink) error {
	tx.writes++
	if err := tx.c.exec("DELETE FROM survey_link WHERE org = $1 AND token = $2", tx.org.num, textArg(l.Token)); err != nil {
		return err
	}
	return tx.c.exec("INSERT INTO survey_link (org, token, program, form, created_ms, closed_ms, answers) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		tx.org.num, textArg(l.Token), l.Program[:], l.Form[:], l.CreatedMS, l.ClosedMS, int64(l.Answers))
}
