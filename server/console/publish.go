package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// everyProgram is how a form asks for a report of all programs together.
const everyProgram = "every"

// publicPeriods are those that are over, by name, and own days.
var publicPeriods = []string{"last_month", "last_quarter", "own"}

// publicAsk is a public report that an admin asks for.
type publicAsk struct {
	options           report.OutcomeOptions
	query             url.Values
	programs, periods []web.Option
	from, until       string
	seq               uint64
}

// ours are the programs of an admin's agency, and whether there are no others: who answers
// for all of them may publish a report of all.
func (s *sight) ours() (programs []*item, all bool) {
	all = true
	for _, it := range s.reference("program") {
		m, ok := it.msg.(*tandemv1.Program)
		switch {
		case !ok || it.rec.Lifecycle() == record.Void:
		case m.GetAgencyId() == s.p.Agency.String():
			programs = append(programs, it)
		default:
			all = false
		}
	}
	return programs, all
}

// publicAsk reads what report is asked for; a program that is not the admin's is absent.
func (s *sight) publicAsk(form url.Values) (*publicAsk, error) {
	a := &publicAsk{query: url.Values{}, from: strings.TrimSpace(form.Get("from")), until: strings.TrimSpace(form.Get("until"))}
	program, period := form.Get("program"), form.Get("period")
	head, err := s.view.Head()
	if err != nil {
		return nil, err
	}
	a.seq = head.Seq
	mine, all := s.ours()
	for _, it := range mine {
		id := it.rec.ID.String()
		a.programs = append(a.programs, web.Option{Code: id, Label: s.title(it), On: id == program})
	}
	if all && len(mine) > 1 {
		a.programs = append(a.programs, web.Option{Code: everyProgram, Label: s.t("everyProgram"), On: program == everyProgram})
	}
	y, m, d := s.now().In(s.zone).Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, s.zone)
	a.options.Zone, a.options.AsOf = s.zone, today
	for _, p := range publicPeriods {
		a.periods = append(a.periods, web.Option{Code: p, Label: s.t("period." + p), On: p == period})
	}
	if program == "" {
		return a, nil
	}
	if !slices.ContainsFunc(a.programs, func(o web.Option) bool { return o.Code == program }) {
		return nil, errAbsent
	}
	if program != everyProgram {
		if a.options.Program, err = syncengine.ParseID(program); err != nil {
			return nil, errAbsent
		}
	}
	a.query.Set("program", program)
	a.query.Set("period", period)
	if period == "own" {
		a.query.Set("from", a.from)
		a.query.Set("until", a.until)
	}
	if !slices.Contains(publicPeriods, period) {
		return a, errDays
	}
	a.options.From, a.options.To, err = days(period, a.from, a.until, today)
	return a, err
}

type publishData struct {
	Page *web.Page
	Tabs string
	Why  string
	// Admin is true: the page is an admin's.
	Admin bool
	// Programs, Periods, From and Until are the form.
	Programs, Periods []web.Option
	From, Until       string
	// Published and Frozen are what there is.
	Published, Frozen []publishedRow
	// Counting says that the preview is not there yet; Self is its address.
	Counting, Self string
	// Name and Days are those of the preview, Body its figures, Withheld how many are not
	// shown. FromFrozen: it is what was frozen, at Seq.
	Name, Days string
	Body       template.HTML
	Withheld   int
	FromFrozen bool
	Seq        uint64
	// Hash is that of the bytes that would be published, Hidden the fields that ask for them.
	Hash    string
	Hidden  [][2]string
	Passkey *people.Challenge
}

// publishedRow is a report that was published, or frozen metrics.
type publishedRow struct {
	Name, Days, When, Href string
	Seq                    uint64
	// SUD: frozen while records of a substance use program were counted.
	SUD bool
}

// publishPage lists what is published and frozen and, where a period is asked for, shows
// what would be published.
func (v *visit) publishPage() error { return v.publishShow(200, v.r.URL.Query(), "") }

func (v *visit) publishShow(status int, form url.Values, why string) error {
	d := &publishData{Page: v.page("navPublish", "publish"), Tabs: "publish", Admin: true, Why: why}
	if v.r.Method == http.MethodPost {
		d.Page.Here = "publish"
	}
	ask, err := v.publicAsk(form, d)
	if ask == nil {
		return err
	}
	d.Programs, d.Periods, d.From, d.Until = ask.programs, ask.periods, ask.from, ask.until
	for _, name := range []string{"program", "period", "from", "until"} {
		if value := ask.query.Get(name); value != "" {
			d.Hidden = append(d.Hidden, [2]string{name, value})
		}
	}
	d.Self = "publish?" + ask.query.Encode()
	if err == nil && ask.query.Get("program") != "" {
		err = v.preview(d, ask)
	}
	if err != nil {
		wrong, key := v.publishWrong(err)
		if key == "" {
			return err
		}
		if d.Why == "" {
			status, d.Why = wrong, v.t(key)
		}
	}
	return v.show(status, "publish", d)
}

// publishWrong says what is wrong with what is to be published; empty for what is no fault
// of the form.
func (*visit) publishWrong(err error) (status int, key string) {
	switch {
	case errors.Is(err, errDays):
		return http.StatusUnprocessableEntity, "errDays"
	case errors.Is(err, report.ErrOpenPeriod):
		return http.StatusUnprocessableEntity, "errOpenPeriod"
	case errors.Is(err, report.ErrOverlap):
		return http.StatusConflict, "errOverlap"
	case errors.Is(err, errCounting), errors.Is(err, errCountLong):
		return http.StatusServiceUnavailable, uncounted(err)
	}
	return 0, ""
}

// publicAsk reads what report is asked for, and what there is.
func (v *visit) publicAsk(form url.Values, d *publishData) (ask *publicAsk, err error) {
	published, perr := v.c.store.PublishedReports(v.ctx(), v.who.Org.ID)
	if perr != nil {
		return nil, perr
	}
	frozen, perr := v.c.store.FrozenMetrics(v.ctx(), v.who.Org.ID)
	if perr != nil {
		return nil, perr
	}
	lerr := v.look("publish", syncengine.ID{}, func(s *sight) error {
		if ask, err = s.publicAsk(form); err != nil && !errors.Is(err, errDays) {
			return err
		}
		rows := func(all []*store.PublishedReport, link bool) (out []publishedRow) {
			for _, p := range all {
				var name string
				code := p.Program.String()
				if p.Program.IsZero() {
					code = everyProgram
				}
				i := slices.IndexFunc(ask.programs, func(o web.Option) bool { return o.Code == code })
				switch {
				case i >= 0:
					name = ask.programs[i].Label
				case p.Program.IsZero() && link:
					// It keeps a period from being published.
					name = s.t("everyProgram")
				default:
					continue
				}
				row := publishedRow{Name: name, Days: p.FirstDay + " – " + dayBefore(p.EndDay), When: s.moment(p.CreatedMS), Seq: p.Seq, SUD: !link && !p.WithoutSUD}
				if link {
					row.Href = "/outcomes/" + p.ID.String() + "?lang=" + s.lang
				}
				out = append(out, row)
			}
			return out
		}
		d.Published, d.Frozen = rows(published, true), rows(frozen, false)
		return nil
	})
	if lerr != nil {
		return nil, lerr
	}
	if err == nil && ask.query.Get("program") != "" {
		err = report.MayPublish(ask.options, published, v.now())
	}
	return ask, err
}

// dayBefore is the last day of a period that ends before a day.
func dayBefore(day string) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return at.AddDate(0, 0, -1).Format(time.DateOnly)
}

// previewed returns the count of what would be published.
func (v *visit) previewed(ask *publicAsk) (*count, error) {
	o, now := ask.options, v.now()
	question := strings.Join([]string{"public", v.who.Org.ID.String(), o.Program.String(), o.Zone.String(), o.From.Format(time.DateOnly), o.To.Format(time.DateOnly), o.AsOf.Format(time.DateOnly)}, " ")
	org := v.who.Org
	return v.c.counts.of(v.ctx(), v.asker(), question, ask.seq, false, func(ctx context.Context, read *atomic.Int64) (any, error) {
		o.Read = read
		p, err := report.Prepare(ctx, v.c.store, org, o, now)
		if err != nil {
			return nil, err
		}
		// What is frozen was made before.
		return &store.Preview{Report: p, Frozen: p.CreatedMS != now.UnixMilli()}, nil
	})
}

// preview shows what would be published, and keeps it: that is what will be. A form that was
// sent in vain shows what it was about.
func (v *visit) preview(d *publishData, ask *publicAsk) error {
	p, err := v.shown(ask)
	if err != nil {
		return err
	}
	if p == nil {
		n, err := v.previewed(ask)
		if err != nil {
			return err
		}
		if !n.ended() {
			d.Counting = v.lookAgain("publish", ask.query, n)
			return nil
		}
		p, _ = n.value.(*store.Preview)
		if err := v.c.store.Write(v.ctx(), v.who.Org.ID, 1, func(tx *store.Tx) error { return tx.KeepPreview(v.who.Staff, p) }); err != nil {
			return err
		}
	}
	r, err := report.ReadPublished(p.Report)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := r.WriteBody(&b, v.lang); err != nil {
		return err
	}
	d.Hash, d.FromFrozen, d.Seq = hex.EncodeToString(p.Report.Hash[:]), p.Frozen, p.Report.Seq
	if d.Passkey, err = v.c.people.Challenge(v.r, aboutReport(d.Hash)); err != nil {
		return err
	}
	d.Name, d.Days, d.Withheld = r.ProgramName.In(v.lang), r.Days(v.lang), r.Withheld
	d.Body = template.HTML(b.String()) //nolint:gosec // A template of its own has escaped it.
	return nil
}

// shown is the preview that the form is about, of the report that it asks for; nil where this
// person was not shown one within the hour.
func (v *visit) shown(ask *publicAsk) (p *store.Preview, err error) {
	raw, err := hex.DecodeString(v.form("hash"))
	if err != nil || len(raw) != len(syncengine.Hash{}) {
		return nil, nil //nolint:nilnil // Said above.
	}
	err = v.c.store.ReadDesk(v.ctx(), v.who.Org.ID, func(view store.DeskView) error {
		p, err = view.Preview(v.who.Staff, syncengine.Hash(raw))
		return err
	})
	o := ask.options
	day := func(at time.Time) string { return at.In(o.Zone).Format(time.DateOnly) }
	if p == nil || p.Report.Program != o.Program || p.Report.FirstDay != day(o.From) || p.Report.EndDay != day(o.To) || p.Report.Zone != o.Zone.String() {
		return nil, err
	}
	return p, err
}

// aboutReport is what a passkey confirms: the bytes of one report.
func aboutReport(hash string) string { return "report publish " + hash }

// publish publishes the report that stood on the screen, once the admin has confirmed it.
func (v *visit) publish() error {
	form := v.r.PostForm
	ask, err := v.publicAsk(form, &publishData{})
	if ask == nil || ask.query.Get("program") == "" {
		if err == nil {
			err = errForm
		}
		return err
	}
	if err != nil {
		return v.publishShow(http.StatusUnprocessableEntity, form, "")
	}
	p, err := v.shown(ask)
	if err != nil {
		return err
	}
	if p == nil {
		return v.publishShow(http.StatusConflict, form, v.t("errOtherPreview"))
	}
	hash := hex.EncodeToString(p.Report.Hash[:])
	chance := v.c.o.Rand
	if chance == nil {
		chance = rand.Reader
	}
	id, err := syncengine.NewID(v.now().UnixMilli(), chance)
	if err != nil {
		return err
	}
	one := *p.Report
	one.ID, one.CreatedMS = id, v.now().UnixMilli()
	do := func(tx *store.Tx) error { return report.Keep(tx, &one, v.who.Staff) }
	if v.form("credential") != "" {
		err = v.c.people.ConfirmPasskey(v.r, aboutReport(hash), do)
	} else {
		err = v.c.people.Confirm(v.r, v.form("code"), do)
	}
	switch {
	case errors.Is(err, people.ErrNoFactor):
		return v.publishShow(http.StatusForbidden, form, v.t("errNoFactor"))
	case errors.Is(err, people.ErrWrongCode):
		if v.form("credential") != "" {
			return v.publishShow(http.StatusForbidden, form, v.t("noPasskey"))
		}
		return v.publishShow(http.StatusForbidden, form, v.t("errWrongCode"))
	case errors.Is(err, people.ErrTooOften):
		return v.publishShow(http.StatusTooManyRequests, form, v.t("errTooOften"))
	case errors.Is(err, report.ErrNotAdmin):
		return errArea
	case errors.Is(err, report.ErrOverlap):
		return v.publishShow(http.StatusConflict, form, v.t("errOverlap"))
	case err != nil:
		return err
	}
	return v.to("publish?done=okReported")
}
