package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// counting is that of the options where none is given: less than it takes until the browser
// is told that the page is not coming.
const counting = 25 * time.Second

type exportsData struct {
	Page *web.Page
	// Decide waits for this person, Own has been asked for by them and waits, or has had a
	// word; Made are their exports.
	Decide, Own, Made []row
	Form              exportForm
	Why               string
}

// exports lists what a person has exported and what waits, and asks for a new one.
func (v *visit) exports() error { return v.exportsPage(200, bulk.Request{}, "") }

func (v *visit) exportsPage(status int, ask bulk.Request, why string) error {
	if v.c.o.Exports == nil {
		return errAbsent
	}
	d := &exportsData{Page: v.page("navExports", "exports"), Why: why}
	theirs, own, err := v.c.o.Exports.Waiting(v.ctx(), v.who.Org, v.who.Staff)
	if err != nil {
		return err
	}
	made, err := v.c.o.Exports.List(v.ctx(), v.who.Org, v.who.Staff, 50)
	if err != nil {
		return err
	}
	err = v.look("exports", syncengine.ID{}, func(s *sight) error {
		for _, w := range theirs {
			d.Decide = append(d.Decide, row{
				Href: "approvals/" + w.ID.String(), Title: w.Request.Purpose, Sub: join(s.staffName(w.Person), s.t("to")+" "+w.Request.Recipient), When: s.moment(w.CreatedMS),
				Badges: []badge{{Word: sprintf(s.t("namesPeople"), w.People), Bad: true}},
			})
		}
		for _, w := range own {
			state := "waitsForSecond"
			switch {
			case w.Approved:
				continue
			case w.DecidedMS != 0:
				state = "wasRefused"
			case !w.Open(s.now()):
				state = "waitedOut"
			}
			sub := join(s.t("to")+" "+w.Request.Recipient, w.Reason)
			if w.DecidedMS != 0 {
				sub = join(sub, s.staffName(w.DecidedBy))
			}
			d.Own = append(d.Own, row{Title: w.Request.Purpose, Sub: sub, When: s.moment(w.CreatedMS), Badges: []badge{{Word: s.t(state), Bad: w.DecidedMS != 0}}})
		}
		for _, m := range made {
			d.Made = append(d.Made, row{
				Href: "exports/" + m.ID.String(), Title: m.Request.Purpose, Sub: join(s.t("to")+" "+m.Request.Recipient, s.t("format."+m.Request.Format)), When: s.moment(m.CreatedMS),
				Badges: []badge{{Word: s.t(exportState(m.Job)), Bad: m.Failed}},
			})
		}
		d.Form = s.exportForm(ask)
		// As they were typed, also where they cannot be read.
		d.Form.Since, d.Form.ToAge = v.form("since"), v.form("to_age")
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "exports", d)
}

func exportState(j *store.Job) string {
	switch {
	case j.Failed:
		return "exportFailed"
	case j.Ended():
		return "exportDone"
	case j.Attempt > 0:
		return "exportRuns"
	}
	return "exportWaits"
}

type countData struct {
	Page    *web.Page
	Terms   []fact
	Hidden  [][2]string
	Preview *export.Preview
	Tables  []export.PreviewTable
	// Many: it takes a second person.
	Many bool
}

// countExport says what an export would hold, before it is asked for.
func (v *visit) countExport() error {
	if v.c.o.Exports == nil {
		return errAbsent
	}
	ask, err := v.asked()
	if err != nil {
		return v.notExported(ask, err)
	}
	ctx, cancel := context.WithTimeout(v.ctx(), v.c.o.Counting)
	defer cancel()
	p, err := v.c.o.Exports.Count(ctx, v.who.Org, v.who.Staff, ask)
	if err != nil {
		return v.notExported(ask, err)
	}
	d := &countData{Page: v.page("countTitle", ""), Hidden: fieldsOf(ask), Preview: p, Many: p.NeedsApproval}
	if err := v.look("exports", syncengine.ID{}, func(s *sight) error {
		d.Terms = s.terms(ask)
		return nil
	}); err != nil {
		return err
	}
	d.Page.Here = "exports"
	for _, t := range p.Tables {
		if t.Rows > 0 {
			d.Tables = append(d.Tables, t)
		}
	}
	return v.show(200, "count", d)
}

// notExported shows the form again with why not.
func (v *visit) notExported(ask bulk.Request, err error) error {
	for of, key := range map[error]string{
		export.ErrPeriod: "errPeriod", export.ErrDrafts: "errDrafts", bulk.ErrKey: "errAgeKey", errSince: "errSince",
		export.ErrLeadFormat: "errLeadFormat", export.ErrAgreement: "errAgreement", export.ErrIdentified: "errIdentified", export.ErrResearch: "errResearch",
		bulk.ErrRunning: "errRunning", bulk.ErrWaiting: "errWaiting", bulk.ErrNeedless: "errNeedless", context.DeadlineExceeded: "errCounting",
	} {
		if errors.Is(err, of) {
			return v.exportsPage(http.StatusUnprocessableEntity, ask, v.t(key))
		}
	}
	if export.Refused(err) {
		return v.exportsPage(http.StatusUnprocessableEntity, ask, v.t("errExport"))
	}
	return err
}

// addExport has an export made or, where it names too many people, puts it before a second
// person.
func (v *visit) addExport() error {
	if v.c.o.Exports == nil {
		return errAbsent
	}
	ask, err := v.asked()
	if err != nil {
		return v.notExported(ask, err)
	}
	_, err = v.c.o.Exports.Ask(v.ctx(), v.who.Org, v.who.Staff, ask)
	if errors.Is(err, export.ErrApproval) {
		ctx, cancel := context.WithTimeout(v.ctx(), v.c.o.Counting)
		defer cancel()
		if _, err = v.c.o.Exports.AskApproval(ctx, v.who.Org, v.who.Staff, ask); err == nil {
			return v.to("exports?done=okApprovalAsked")
		}
	}
	if err != nil {
		return v.notExported(ask, err)
	}
	return v.to("exports?done=okExportAsked")
}

type exportData struct {
	Page     *web.Page
	ID       string
	Terms    []fact
	State    string
	Error    string
	Grown    bool
	Progress int64
	Second   string
	Files    []export.File
	Manifest string
	Seq      uint64
	Records  int64
	Until    string
	Ended    bool
}

// exportPage shows one of a person's exports: how far it is, and its files.
func (v *visit) exportPage() error {
	id, err := v.id()
	if err != nil || v.c.o.Exports == nil {
		return errAbsent
	}
	j, ask, done, err := v.c.o.Exports.Get(v.ctx(), v.who.Org, v.who.Staff, id)
	if errors.Is(err, bulk.ErrNone) {
		return errAbsent
	} else if err != nil {
		return err
	}
	d := &exportData{Page: v.page("navExports", "exports/"+id.String()), ID: id.String(), State: v.t(exportState(j)), Error: j.Error, Progress: j.Progress, Ended: j.Ended()}
	d.Page.Title, d.Manifest = ask.Purpose, ask.FileName("manifest.json")
	if d.Grown = d.Error == bulk.ErrGrown.Error(); d.Grown {
		d.Error = v.t("errGrown")
	}
	if done != nil {
		d.Records, d.Seq = done.Manifest.Records, done.Manifest.Seq
		for _, f := range done.Manifest.Files {
			f.Name = ask.FileName(f.Name)
			d.Files = append(d.Files, f)
		}
	}
	err = v.look("exports", syncengine.ID{}, func(s *sight) error {
		d.Terms = s.terms(*ask)
		if second, err := syncengine.ParseID(ask.Approver); err == nil {
			d.Second = s.staffName(second)
		}
		if j.Ended() {
			d.Until = s.moment(v.c.o.Exports.Until(j).UnixMilli())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "export", d)
}

func (v *visit) deleteExport() error {
	id, err := v.id()
	if err != nil || v.c.o.Exports == nil {
		return errAbsent
	}
	if err := v.c.o.Exports.Delete(v.ctx(), v.who.Org, v.who.Staff, id); errors.Is(err, bulk.ErrNone) {
		return errAbsent
	} else if err != nil {
		return err
	}
	return v.to("exports?done=okDeleted")
}

type approvalData struct {
	Page                  *web.Page
	ID, Who, Asked, Until string
	W                     *bulk.Waiting
	Terms                 []fact
	Why                   string
	Decisions             []verdict
	// Passkey: the person has one.
	Passkey bool
}

// verdict is a decision that can be taken on an export, in forms of its own: what confirms one
// confirms no other, and the Enter key takes the one that the words are for.
type verdict struct {
	ID, Act string
	Refuses bool
	// Reason of a refusal as it was typed.
	Reason string
	// Passkey is what one of the person's is asked; nil where they have none.
	Passkey *people.Challenge
}

// approvalPage shows a second person what they are asked to approve: to whom, why, and how
// much of what. It shows no record.
func (v *visit) approvalPage() error { return v.approvalShow(200, "") }

func (v *visit) approvalShow(status int, why string) error {
	id, err := v.id()
	if err != nil || v.c.o.Exports == nil {
		return errAbsent
	}
	w, err := v.c.o.Exports.Pending(v.ctx(), v.who.Org, v.who.Staff, id)
	if errors.Is(err, bulk.ErrNone) {
		return errAbsent
	} else if err != nil {
		return err
	}
	d := &approvalData{Page: v.page("approvalTitle", "approvals/"+id.String()), ID: id.String(), W: w, Why: why}
	for _, one := range []verdict{{Act: "approve"}, {Act: "refuse", Refuses: true, Reason: v.form("reason")}} {
		one.ID = d.ID
		if one.Passkey, err = v.c.people.Challenge(v.r, aboutExport(id, !one.Refuses)); err != nil {
			return err
		}
		d.Passkey = one.Passkey != nil
		d.Decisions = append(d.Decisions, one)
	}
	err = v.look("approvals", syncengine.ID{}, func(s *sight) error {
		d.Who, d.Asked, d.Until = s.staffName(w.Person), s.moment(w.CreatedMS), s.moment(w.ExpiresMS)
		d.Terms = s.terms(w.Request)
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "approval", d)
}

// aboutExport is what a passkey confirms: one decision on one export.
func aboutExport(id syncengine.ID, approve bool) string {
	if approve {
		return "export approve " + id.String()
	}
	return "export refuse " + id.String()
}

func (v *visit) approveExport() error { return v.decideExport(true) }

func (v *visit) refuseExport() error { return v.decideExport(false) }

func (v *visit) decideExport(approve bool) error {
	id, err := v.id()
	if err != nil || v.c.o.Exports == nil {
		return errAbsent
	}
	reason := v.form("reason")
	if !approve && (reason == "" || len([]rune(reason)) > 500) {
		return v.approvalShow(http.StatusUnprocessableEntity, v.t("errRefuseReason"))
	}
	err = v.c.o.Exports.Decide(v.ctx(), v.who.Org, v.who.Staff, id, approve, strings.TrimSpace(reason), func(do func(*store.Tx) error) error {
		if v.form("credential") != "" {
			return v.c.people.ConfirmPasskey(v.r, aboutExport(id, approve), do)
		}
		return v.c.people.Confirm(v.r, v.form("code"), do)
	})
	switch {
	case errors.Is(err, bulk.ErrNone):
		return errAbsent
	case errors.Is(err, bulk.ErrUnsettled):
		return v.approvalShow(http.StatusForbidden, v.t("errUnsettled"))
	case errors.Is(err, people.ErrNoFactor):
		return v.approvalShow(http.StatusForbidden, v.t("errNoFactor"))
	case errors.Is(err, people.ErrWrongCode):
		if v.form("credential") != "" {
			return v.approvalShow(http.StatusForbidden, v.t("noPasskey"))
		}
		return v.approvalShow(http.StatusForbidden, v.t("errWrongCode"))
	case errors.Is(err, people.ErrTooOften):
		return v.approvalShow(http.StatusTooManyRequests, v.t("errTooOften"))
	case errors.Is(err, bulk.ErrDecided):
		return v.exportsPage(http.StatusConflict, bulk.Request{}, v.t("errDecided"))
	case err != nil:
		return err
	}
	if approve {
		return v.to("exports?done=okExportApproved")
	}
	return v.to("exports?done=okExportRefused")
}
