package report

import (
	"bytes"
	"context"
	"net/http"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// listed is a published report in the list of them.
type listed struct {
	ID, Name, Days string
}

// reports lists what was published.
func (p *Public) reports(w http.ResponseWriter, r *http.Request) {
	orgs, err := p.store.Orgs(r.Context())
	if err != nil {
		p.fail(w, err)
		return
	}
	lang := langOf(r)
	var all []listed
	for _, org := range orgs {
		found, err := p.store.PublishedReports(r.Context(), org.ID)
		if err != nil {
			p.fail(w, err)
			return
		}
		for _, f := range found {
			about, err := p.about(r.Context(), org.ID, f)
			if err != nil {
				// The others are as they were.
				p.o.Log.Error().Err(err).Stringer("report", f.ID).Msg("published report not listed")
				continue
			}
			all = append(all, listed{f.ID.String(), about.ProgramName.In(lang), about.Period.days(lang)})
		}
	}
	var b bytes.Buffer
	if err := p.survey[lang].Execute(&b, map[string]any{"Kind": "reports", "Reports": all, "Here": "/outcomes", "Program": "", "Title": Text{}}); err != nil {
		p.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// The error of writing is that of the connection.
	_, _ = w.Write(b.Bytes())
}

// about is what the list says of a published report. A report never changes: each is read
// once.
func (p *Public) about(ctx context.Context, org syncengine.ID, f *store.PublishedReport) (*Outcomes, error) {
	key := p.hash("report", string(f.ID[:])+string(f.Hash[:]))
	p.mu.Lock()
	known := p.listed[key]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	full, err := p.store.PublishedReport(ctx, org, f.ID)
	if err != nil {
		return nil, err
	}
	report, err := ReadPublished(full)
	if err != nil {
		return nil, err
	}
	known = &Outcomes{ProgramName: report.ProgramName, Period: report.Period}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed[key] = known
	return known, nil
}

// report shows a published report: as a page, as CSV, or the bytes that were published.
func (p *Public) report(w http.ResponseWriter, r *http.Request) {
	found, err := p.find(r)
	if err != nil {
		p.fail(w, err)
		return
	}
	if found == nil {
		http.NotFound(w, r)
		return
	}
	report, err := ReadPublished(found)
	if err != nil {
		p.fail(w, err)
		return
	}
	var b bytes.Buffer
	lang, at := langOf(r), "/outcomes/"+found.ID.String()
	switch r.PathValue("file") {
	case "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		other := Text{"es", "en"}.In(lang)
		err = report.WriteHTML(&b, HTMLOptions{
			Lang: lang, Snapshot: found.ID.String(), Other: at + "?lang=" + other, CSV: at + "/outcomes.csv?lang=" + lang, JSON: at + "/outcomes.json",
		})
	case "outcomes.csv":
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		err = report.WriteCSV(&b, lang)
	case "outcomes.json":
		w.Header().Set("Content-Type", "application/json")
		b.Write(found.Body)
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		p.fail(w, err)
		return
	}
	// The error of writing is that of the connection.
	_, _ = w.Write(b.Bytes())
}

// find returns the published report that a request names; nil where there is none.
func (p *Public) find(r *http.Request) (*store.PublishedReport, error) {
	id, err := syncengine.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, nil //nolint:nilerr // What is no id names no report.
	}
	orgs, err := p.store.Orgs(r.Context())
	if err != nil {
		return nil, err
	}
	for _, org := range orgs {
		found, err := p.store.PublishedReport(r.Context(), org.ID, id)
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}
