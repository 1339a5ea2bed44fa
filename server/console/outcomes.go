package console

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// errDays says that the days of a period are none.
var errDays = errors.New("the days are no period")

// mostLooks is how often a page asks again by itself how far a count is: a page that only
// follows keeps no session alive for long.
const (
	mostLooks = 200
	lookEvery = 3
)

// periods are those that a report is asked for by name; own is of days that are given.
var periods = []string{"quarter", "last_quarter", "month", "last_month", "year", "own"}

// days are the first day of a period and the day after its last one.
func days(period, from, until string, today time.Time) (first, end time.Time, err error) {
	y, m, d := today.Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, today.Location()) }
	quarter := m - (m-1)%3
	switch period {
	case "", "quarter":
		return day(y, quarter, 1), day(y, quarter+3, 1), nil
	case "last_quarter":
		return day(y, quarter-3, 1), day(y, quarter, 1), nil
	case "month":
		return day(y, m, 1), day(y, m+1, 1), nil
	case "last_month":
		return day(y, m-1, 1), day(y, m, 1), nil
	case "year":
		return day(y, 1, 1), day(y, m, d+1), nil
	case "own":
		if first, err = time.ParseInLocation(time.DateOnly, from, today.Location()); err != nil {
			return first, end, errDays
		}
		last, err := time.ParseInLocation(time.DateOnly, until, today.Location())
		if err != nil || last.Before(first) || first.Year() < 1990 || last.Year() > y+1 {
			return first, end, errDays
		}
		ly, lm, ld := last.Date()
		return first, day(ly, lm, ld+1), nil
	}
	return first, end, errDays
}

// measured are the programs whose metrics the person reads: those whose teams they lead,
// and of an admin those of the agency; led are the former.
func (s *sight) measured() (programs []*item, led map[string]bool) {
	led = map[string]bool{}
	if s.lead {
		for _, team := range s.p.Teams {
			if it := s.see(team); it != nil && it.rec.Lifecycle() != record.Void {
				led[it.rec.Text(syncengine.FieldProgram)] = true
			}
		}
	}
	for _, it := range s.reference("program") {
		m, ok := it.msg.(*tandemv1.Program)
		if ok && it.rec.Lifecycle() != record.Void && (led[it.rec.ID.String()] || s.admin && m.GetAgencyId() == s.p.Agency.String()) {
			programs = append(programs, it)
		}
	}
	return programs, led
}

// asked is a report that somebody asks for, as they may have it.
type metricsAsk struct {
	options report.OutcomeOptions
	// query is the address of it, programs and periods the choices of the form.
	query             url.Values
	programs, periods []web.Option
	from, until       string
	// seq is the state that there is.
	seq uint64
	// withheld: records of a substance use program are left out.
	withheld bool
	// population is the table of who lives where the agency of all these programs works; nil
	// for none.
	population *store.Population
}

// question tells what is counted from all else that is.
func (a *metricsAsk) question(org syncengine.ID) string {
	o := a.options
	parts := []string{org.String(), o.Zone.String(), o.From.Format(time.DateOnly), o.To.Format(time.DateOnly), o.AsOf.Format(time.DateOnly), strconv.FormatBool(o.WithoutSUD)}
	if a.population != nil {
		parts = append(parts, a.population.Agency.String(), strconv.FormatInt(a.population.LoadedMS, 10))
	}
	for _, id := range o.Programs {
		parts = append(parts, id.String())
	}
	return strings.Join(parts, " ")
}

// metricsAsk reads what report is asked for; with errDays the choices are those of the form
// still.
func (s *sight) metricsAsk(form url.Values) (*metricsAsk, error) {
	a := &metricsAsk{query: url.Values{}, from: strings.TrimSpace(form.Get("from")), until: strings.TrimSpace(form.Get("until"))}
	program, period := form.Get("program"), form.Get("period")
	head, err := s.view.Head()
	if err != nil {
		return nil, err
	}
	a.seq = head.Seq
	part2 := map[string]bool{}
	for _, it := range s.reference("agency") {
		m, ok := it.msg.(*tandemv1.Agency)
		part2[it.rec.ID.String()] = ok && m.GetPart2Program()
	}
	programs, led := s.measured()
	agencies := map[string]bool{}
	for _, it := range programs {
		id := it.rec.ID.String()
		a.programs = append(a.programs, web.Option{Code: id, Label: s.title(it), On: id == program})
		if program != "" && id != program {
			continue
		}
		a.options.Programs = append(a.options.Programs, it.rec.ID)
		m, _ := it.msg.(*tandemv1.Program)
		agencies[m.GetAgencyId()] = true
		// Who reads these records as a lead counts them; all of a report, or none.
		if !led[id] || m.GetAgencyId() != s.p.Agency.String() || !s.part2() {
			a.options.WithoutSUD = true
		}
		a.withheld = a.withheld || part2[m.GetAgencyId()]
	}
	a.withheld = a.withheld && a.options.WithoutSUD
	if len(a.options.Programs) == 0 && (program != "" || len(a.programs) > 0) {
		return nil, errAbsent
	}
	zone := s.zone
	if len(agencies) == 1 {
		for text := range agencies {
			zone = s.zoneOf(text)
			if a.population, err = s.populationOf(text); err != nil {
				return nil, err
			}
		}
	}
	if period == "" {
		period = periods[0]
	}
	for _, p := range periods {
		a.periods = append(a.periods, web.Option{Code: p, Label: s.t("period." + p), On: p == period})
	}
	y, m, d := s.now().In(zone).Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, zone)
	a.options.Zone, a.options.AsOf = zone, today
	for name, value := range map[string]string{"program": program, "period": period, "from": a.from, "until": a.until} {
		if value != "" && (period == "own" || name == "program" || name == "period") {
			a.query.Set(name, value)
		}
	}
	a.options.From, a.options.To, err = days(period, a.from, a.until, today)
	return a, err
}

type outcomesData struct {
	Page *web.Page
	Tabs string
	Ask  *metricsAsk
	Why  string
	// Programs, Periods, From and Until are the form.
	Programs, Periods []web.Option
	From, Until       string
	// Self, CSV and JSON are the addresses of what was asked for; Hidden are the fields of a
	// form that asks for the same.
	Self, CSV, JSON string
	Hidden          [][2]string
	// Counting says that it is not there yet; empty where it is.
	Counting string
	// Name, Days, Seq and When are those of the report, Body its figures. Moved: there is a
	// newer state. Withheld as in metricsAsk.
	Name, Days, When string
	Seq              uint64
	Moved, Withheld  bool
	Body             template.HTML
	// Metrics are links to the parts of the report.
	Metrics []row
	// Admin: there is a public report to make, and a table of population to load. Populated is
	// since when there is one; PopWhy what is wrong with what was sent.
	Admin             bool
	Populated, PopWhy string
}

// outcomes shows the metrics of the programs that a person reads them of.
func (v *visit) outcomes() error {
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	return v.outcomesShow("")
}

// outcomesShow is the page. With what is wrong with a table that was sent it shows no report:
// nobody asked for one, and the reason stands there until it is read.
func (v *visit) outcomesShow(popWhy string) error {
	d, status := &outcomesData{Page: v.page("navOutcomes", "outcomes"), Tabs: "outcomes", Admin: v.admin, PopWhy: popWhy}, http.StatusOK
	if popWhy != "" {
		d.Page.Here, status = "outcomes", http.StatusUnprocessableEntity
	}
	if err := v.populated(d); err != nil {
		return err
	}
	ask, err := v.metricsAsk(v.r.URL.Query())
	if ask == nil {
		return err
	}
	d.Programs, d.Periods, d.From, d.Until = ask.programs, ask.periods, ask.from, ask.until
	switch {
	case err != nil:
		d.Why = v.t("errDays")
		return v.show(http.StatusUnprocessableEntity, "outcomes", d)
	case len(ask.programs) == 0, popWhy != "":
		return v.show(status, "outcomes", d)
	}
	query := ask.query.Encode()
	d.Self, d.CSV, d.JSON, d.Withheld = "outcomes?"+query, "outcomes.csv?"+query, "outcomes.json?"+query, ask.withheld
	for _, name := range []string{"program", "period", "from", "until"} {
		if value := ask.query.Get(name); value != "" {
			d.Hidden = append(d.Hidden, [2]string{name, value})
		}
	}
	n, err := v.counted(ask, false)
	switch {
	case errors.Is(err, errCounting), errors.Is(err, errCountLong):
		return v.notCounted(ask, err)
	case err != nil:
		return err
	case !n.ended():
		d.Counting = v.lookAgain("outcomes", ask.query, n)
		return v.show(status, "outcomes", d)
	}
	r, _, err := v.staffReport(n, ask, "page")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := r.WriteBody(&b, v.lang); err != nil {
		return err
	}
	d.Body = template.HTML(b.String()) //nolint:gosec // A template of its own has escaped it.
	d.Name, d.Days, d.Seq, d.Moved = r.ProgramName.In(v.lang), r.Days(v.lang), r.Seq, r.Seq != ask.seq
	for _, m := range r.Metrics {
		d.Metrics = append(d.Metrics, row{Href: d.Self + "#h-" + m.ID, Title: m.ID + " " + m.Title.In(v.lang)})
	}
	d.When = n.begun.In(ask.options.Zone).Format("15:04")
	return v.show(status, "outcomes", d)
}

// asker is who asks for a count; a page that only looks again follows what it asked for.
func (v *visit) asker() asker {
	return asker{org: v.who.Org.ID, person: v.who.Staff, follows: v.r.URL.Query().Get("look") != ""}
}

// lookAgain has the browser ask for a page again by itself, a number of times, and says how
// far its count is. One that waits long in line outlasts that: then the person is told to ask,
// since a count that nobody asks for ends.
func (v *visit) lookAgain(page string, query url.Values, of *count) string {
	n, err := strconv.Atoi(v.r.URL.Query().Get("look"))
	if err != nil || n < 0 {
		n = 0
	}
	if n >= mostLooks {
		return sprintf(v.t("isCountingStill"), of.read.Load())
	}
	query.Set("look", strconv.Itoa(n+1))
	v.w.Header().Set("Refresh", sprintf("%d; url=%s%s?%s", lookEvery, base, page, query.Encode()))
	return sprintf(v.t("isCounting"), of.read.Load())
}

// metricsAsk reads what report is asked for.
func (v *visit) metricsAsk(form url.Values) (ask *metricsAsk, err error) {
	lerr := v.look("outcomes", syncengine.ID{}, func(s *sight) error {
		if ask, err = s.metricsAsk(form); err != nil && !errors.Is(err, errDays) {
			return err
		}
		return nil
	})
	if lerr != nil {
		return nil, lerr
	}
	return ask, err
}

// counted returns the count of a report, which may be under way.
func (v *visit) counted(ask *metricsAsk, anew bool) (*count, error) {
	org, o := v.who.Org.ID, ask.options
	return v.c.counts.of(v.ctx(), v.asker(), "staff "+ask.question(org), ask.seq, anew, func(ctx context.Context, read *atomic.Int64) (any, error) {
		o.Read = read
		if ask.population != nil {
			var err error
			if o.Population, err = report.ReadPopulation(bytes.NewReader(ask.population.Body)); err != nil {
				return nil, err
			}
		}
		r, err := report.Of(ctx, v.c.store, org, o)
		if err != nil {
			return nil, err
		}
		// What is kept is the words and figures alone, and not the rows that they count.
		var b bytes.Buffer
		err = r.WriteJSON(&b)
		return b.Bytes(), err
	})
}

// staffReport is a report that was counted, once it is noted who reads it.
func (v *visit) staffReport(n *count, ask *metricsAsk, form string) (*report.Outcomes, []byte, error) {
	text, _ := n.value.([]byte)
	r, err := report.ReadOutcomes(text)
	if err != nil {
		return nil, nil, err
	}
	e := &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_METRICS_READ, Seq: r.Seq, Count: uint64(len(r.Metrics)),
		Code: form + " " + ask.options.From.Format(time.DateOnly) + " " + ask.options.To.Format(time.DateOnly),
	}
	// Whether those of a substance use program were counted.
	if ask.options.WithoutSUD {
		e.Code += " no"
	}
	e.Code += " sud"
	for _, program := range ask.options.Programs {
		e.Records = append(e.Records, program[:]...)
	}
	if len(ask.options.Programs) == 1 {
		e.Subject = slices.Clone(ask.options.Programs[0][:])
	}
	return r, text, v.note(e)
}

// countOutcomes has a report counted anew over the state that there is now.
func (v *visit) countOutcomes() error {
	ask, err := v.metricsAsk(v.r.PostForm)
	if err != nil {
		if errors.Is(err, errDays) {
			return errForm
		}
		return err
	}
	if len(ask.programs) == 0 {
		return errAbsent
	}
	if _, err := v.counted(ask, true); errors.Is(err, errCounting) || errors.Is(err, errCountLong) {
		// What there is of an older state would seem to be the new one.
		return v.notCounted(ask, err)
	} else if err != nil {
		return err
	}
	return v.to("outcomes?" + ask.query.Encode())
}

// notCounted says why a report is not counted: too much is, or it took too long.
func (v *visit) notCounted(ask *metricsAsk, err error) error {
	d := &outcomesData{
		Page: v.page("navOutcomes", "outcomes"), Tabs: "outcomes", Admin: v.admin, Why: v.t(uncounted(err)),
		Programs: ask.programs, Periods: ask.periods, From: ask.from, Until: ask.until,
	}
	v.w.Header().Set("Retry-After", "30")
	return v.show(http.StatusServiceUnavailable, "outcomes", d)
}

// uncounted is the word that says so.
func uncounted(err error) string {
	if errors.Is(err, errCountLong) {
		return "errCountLong"
	}
	return "errBusy"
}

func (v *visit) outcomesCSV() error { return v.outcomesFile("csv", "text/csv; charset=utf-8") }

func (v *visit) outcomesJSON() error { return v.outcomesFile("json", "application/json") }

// outcomesFile sends a report as a file; where it is not counted yet the page says how far
// it is.
func (v *visit) outcomesFile(form, media string) error {
	ask, err := v.metricsAsk(v.r.URL.Query())
	if err != nil {
		if errors.Is(err, errDays) {
			return errForm
		}
		return err
	}
	if len(ask.programs) == 0 {
		return errAbsent
	}
	n, err := v.counted(ask, false)
	if errors.Is(err, errCounting) || errors.Is(err, errCountLong) {
		return v.notCounted(ask, err)
	}
	if err == nil && !n.ended() {
		return v.to("outcomes?" + ask.query.Encode())
	}
	if err != nil {
		return err
	}
	r, text, err := v.staffReport(n, ask, form)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if form == "json" {
		b.Write(text)
	} else if err := r.WriteCSV(&b, v.lang); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", media)
	v.w.Header().Set("Content-Disposition", `attachment; filename="outcomes-for-staff.`+form+`"`)
	// Who has gone away gets nothing.
	_, _ = v.w.Write(b.Bytes())
	return nil
}
