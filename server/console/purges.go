package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// proposed is the newest proposal for an agency; nil where none was made.
func (v *visit) proposed(agency syncengine.ID) (p *proposal, atMS int64, err error) {
	runs, err := v.jobs(jobPropose, 10)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(runs, func(j *store.Job) bool { return j.Ended() && !j.Failed && !j.Cancelled })
	if i < 0 {
		return nil, 0, nil
	}
	var all proposals
	if err := json.Unmarshal(runs[i].Result, &all); err != nil {
		return nil, 0, err
	}
	return all.Agencies[agency.String()], all.AtMS, nil
}

type purgesData struct {
	Page *web.Page
	Why  string
	// Counted is when what may be purged was counted, empty for never; Says how much it is.
	Counted, Says string
	// Ask: there is something to ask for, and nothing is under way.
	Ask    bool
	Reason string
	Rows   []row
}

// purges shows what may be purged, and the purges of the person's agency.
func (v *visit) purges() error { return v.purgesShow(http.StatusOK, "") }

func (v *visit) purgesShow(status int, why string) error {
	d := &purgesData{Page: v.page("navPurges", "purges"), Why: why, Reason: v.form("reason")}
	agency, err := v.agency()
	if err != nil {
		return err
	}
	p, at, err := v.proposed(agency)
	if err != nil {
		return err
	}
	all, err := v.c.store.Purges(v.ctx(), v.who.Org.ID)
	if err != nil {
		return err
	}
	work, err := v.jobs(jobPurge, mostJobs)
	if err != nil {
		return err
	}
	err = v.look("purges", syncengine.ID{}, func(s *sight) error {
		open := false
		for _, one := range all {
			if one.Agency != agency {
				continue
			}
			open = open || one.Open()
			d.Rows = append(d.Rows, row{
				Href: "purges/" + one.ID.String(), Title: sprintf(s.t("purgeOf"), one.People, one.Calls, len(one.Records)),
				Sub: join(s.t(purgeState(one, jobOf(work, one.ID))), s.staffName(one.AskedBy)), When: s.moment(one.AskedMS),
			})
		}
		if p != nil {
			d.Counted = s.moment(at)
			d.Says = sprintf(s.t("purgeable"), p.Found.PurgePeople, p.Found.PurgeCalls, p.Purgeable, p.Found.Waiting, p.Found.Held, p.Found.Shared)
			d.Ask = p.Purgeable > 0 && !open
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "purges", d)
}

// purgeState is the word for how far a purge is, which a job does.
func purgeState(p *store.Purge, job *store.Job) string {
	switch {
	case p.DecidedMS == 0:
		return "purgeAsked"
	case !p.Approved:
		return "purgeRefused"
	case p.DoneMS != 0:
		return "purgeDone"
	case job != nil && job.Failed:
		return "purgeFailed"
	case brokenOff(p, job):
		return "purgeBroken"
	case job.Error != "":
		return "purgeAgain"
	}
	return "purgeApproved"
}

// purgeWrong are the errors of a purge that a person can do something about, each with its
// word.
var purgeWrong = []struct {
	err  error
	word string
}{
	{server.ErrNothingToPurge, "errPurgeNothing"}, {server.ErrPurgeOwn, "errPurgeOwn"}, {server.ErrPurgeOpen, "errPurgeOpen"}, {server.ErrPurgeAsker, "errPurgeAsker"},
	{server.ErrPurgeUnsettled, "errPurgeUnsettled"}, {server.ErrPurgeRecovering, "errPurgeRecovering"}, {server.ErrPurgeMoved, "errPurgeMoved"}, {store.ErrNoPurge, "errPurgeDecided"},
}

// wrongPurge says why nothing was done; nothing where that is not for a person to know.
func (v *visit) wrongPurge(err error) string {
	for _, one := range purgeWrong {
		if errors.Is(err, one.err) {
			return v.t(one.word)
		}
	}
	if errors.Is(err, server.ErrPurgeNobody) {
		return v.t("errArea")
	}
	return ""
}

// askPurge asks for a purge of what may be purged now. It removes nothing. All records are read
// for it: one of an org at a time.
func (v *visit) askPurge() error {
	if _, busy := v.c.asking.LoadOrStore(v.who.Org.ID, true); busy {
		return v.purgesShow(http.StatusConflict, v.t("errPurgeAsking"))
	}
	defer v.c.asking.Delete(v.who.Org.ID)
	p, err := v.office().AskPurge(v.ctx(), v.who.Staff, v.form("reason"))
	if why := v.wrongPurge(err); why != "" {
		return v.purgesShow(http.StatusConflict, why)
	}
	if invalid, ok := errors.AsType[*server.InvalidError](err); ok {
		return v.purgesShow(http.StatusUnprocessableEntity, invalid.Problems[0].Text(v.lang))
	}
	if err != nil {
		return err
	}
	return v.to("purges/" + p.ID.String() + "?done=okPurgeAsked")
}

type purgeData struct {
	Page  *web.Page
	ID    string
	Why   string
	Facts []fact
	// Next says how an approved purge goes on that has not come to its end.
	Next string
	Acts []string
	// Act is the one that is to be confirmed, empty for none yet.
	Act     string
	Confirm *confirmation
}

// purgePage shows one purge, with its certificate once it is done.
func (v *visit) purgePage() error {
	return v.purgeShow(http.StatusOK, v.r.URL.Query().Get("act"), "")
}

func (v *visit) purgeShow(status int, act, why string) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	all, err := v.c.store.Purges(v.ctx(), v.who.Org.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(p *store.Purge) bool { return p.ID == id })
	d := &purgeData{Page: v.page("purgeTitle", "purges/"+id.String()), ID: id.String(), Why: why}
	work, err := v.jobs(jobPurge, mostJobs)
	if err != nil {
		return err
	}
	job := jobOf(work, id)
	err = v.look("purge", id, func(s *sight) error {
		if i < 0 || all[i].Agency != s.p.Agency {
			return errAbsent
		}
		d.Facts, d.Acts = s.purgeFacts(all[i], job), purgeActs(all[i], job, v.who.Staff)
		switch {
		case brokenOff(all[i], job) && all[i].AskedBy == v.who.Staff:
			d.Next = v.t("purgeNextAsker")
		case brokenOff(all[i], job):
			d.Next = v.t("purgeNext")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if slices.Contains(d.Acts, act) {
		d.Act = act
		d.Confirm, err = v.confirmation("purges/"+d.ID, "purge "+act+" "+d.ID, v.t("purge."+act), act)
	}
	if err != nil {
		return err
	}
	return v.show(status, "purge", d)
}

// jobOf is the newest job that does a purge; nil where there is none.
func jobOf(work []*store.Job, id syncengine.ID) *store.Job {
	i := slices.IndexFunc(work, func(j *store.Job) bool { return bytes.Equal(j.Payload, id[:]) })
	if i < 0 {
		return nil
	}
	return work[i]
}

// purgeTrouble is why the newest attempt at a purge came to nothing, and how often it was tried.
// What no person at a console can do anything about is in the server's log.
func (s *sight) purgeTrouble(job *store.Job) string {
	why := s.t("purgeFault")
	for _, one := range purgeWrong {
		if strings.Contains(job.Error, one.err.Error()) {
			why = s.t(one.word)
		}
	}
	trouble := sprintf(s.t("purgeTried"), job.Attempt) + " " + why
	if !job.Ended() {
		trouble += " " + sprintf(s.t("purgeTries"), s.moment(job.RunAtMS))
	}
	return trouble
}

// brokenOff reports whether an approved purge is not done, and no job goes on with it.
func brokenOff(p *store.Purge, job *store.Job) bool {
	return p.Approved && p.DoneMS == 0 && (job == nil || job.Ended())
}

// purgeActs are what somebody can do with a purge. Nobody approves their own.
func purgeActs(p *store.Purge, job *store.Job, who syncengine.ID) []string {
	switch {
	case p.DecidedMS == 0 && p.AskedBy == who:
		return []string{"refuse"}
	case p.DecidedMS == 0:
		return []string{"approve", "refuse"}
	case brokenOff(p, job) && p.AskedBy != who:
		return []string{"approve"}
	}
	return nil
}

// purgeFacts are what is known of a purge, its certificate among it. It names nobody of whom
// something was purged.
func (s *sight) purgeFacts(p *store.Purge, job *store.Job) []fact {
	facts := []fact{
		{s.t("state"), s.t(purgeState(p, job))}, {s.t("askedBy"), s.staffName(p.AskedBy) + " · " + s.moment(p.AskedMS)}, {s.t("purgeReason"), p.Reason},
		{s.t("purgeWhat"), sprintf(s.t("purgeOf"), p.People, p.Calls, len(p.Records))},
	}
	if p.DecidedMS != 0 {
		facts = append(facts, fact{s.t("purgeDecided"), s.staffName(p.DecidedBy) + " · " + s.moment(p.DecidedMS)})
	}
	if !p.Approved {
		return facts
	}
	if p.DoneMS == 0 && job != nil && job.Error != "" {
		facts = append(facts, fact{s.t("purgeTrouble"), s.purgeTrouble(job)})
	}
	facts = append(facts, fact{s.t("purgeErased"), strconv.Itoa(p.Erased)})
	for _, number := range slices.Sorted(maps.Keys(p.ByKind)) {
		name := strconv.FormatUint(uint64(number), 10)
		if kind := s.c.domain.Kind(number); kind != nil {
			name = s.c.domain.KindLabel(kind.Name, s.lang)
		}
		facts = append(facts, fact{"· " + name, strconv.Itoa(p.ByKind[number])})
	}
	if p.DoneMS != 0 {
		facts = append(facts, fact{s.t("purgeKept"), strconv.Itoa(p.Kept)}, fact{s.t("purgeEnded"), s.moment(p.DoneMS)})
	}
	return facts
}

// decidePurge stores the person's word on a purge, with their second factor; what is approved
// a job does, which the same transaction adds.
func (v *visit) decidePurge() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	act := v.form("act")
	if act != "approve" && act != "refuse" || v.c.o.Jobs == nil {
		return errForm
	}
	approve := act == "approve"
	job, err := v.c.o.Jobs.New(jobPurge, "", v.who.Staff, id[:])
	if err != nil {
		return err
	}
	confirmed := v.confirmed("purge " + act + " " + id.String())
	_, err = v.office().WordOnPurge(v.ctx(), v.who.Staff, id, approve, func(do func(*store.Tx) error) error {
		return confirmed(func(tx *store.Tx) error {
			if err := do(tx); err != nil || !approve {
				return err
			}
			open, err := tx.OpenJobOf(jobPurge, id[:])
			if err == nil && open {
				err = store.ErrNoPurge
			}
			if err != nil {
				return err
			}
			_, err = tx.AddJob(job)
			return err
		})
	})
	if status, why := v.unconfirmed(err); why != "" {
		return v.purgeShow(status, act, why)
	}
	if why := v.wrongPurge(err); why != "" {
		return v.purgeShow(http.StatusConflict, "", why)
	}
	if err != nil {
		return err
	}
	v.c.o.Jobs.Wake()
	return v.to("purges/" + id.String() + "?done=okPurge." + act)
}
