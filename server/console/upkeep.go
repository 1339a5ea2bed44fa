package console

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// The jobs that recur, and how often.
const (
	jobReminders, remindersEvery = "reminders", time.Hour
	jobSnapshots, snapshotsEvery = "snapshots", 24 * time.Hour
	jobRetention, retentionEvery = "retention", 24 * time.Hour
)

// upkeep has a worker do what recurs.
func (c *Console) upkeep(w *jobs.Worker) {
	w.Every(jobReminders, remindersEvery, c.remind)
	w.Every(jobSnapshots, snapshotsEvery, func(ctx context.Context, run *jobs.Run) error {
		done, err := report.Freeze(ctx, c.store, run.Org, c.o.Clock())
		return finish(ctx, run, done, err, nil)
	})
	w.Every(jobRetention, retentionEvery, func(ctx context.Context, run *jobs.Run) error {
		// It counts, and removes nothing: that is a person's act. Of what people have had
		// removed it sweeps up what was left.
		admin := server.NewAdmin(c.store, run.Org, server.AdminOptions{Clock: c.o.Clock, Rand: c.o.Rand})
		if swept, err := admin.KeepErased(ctx); err != nil {
			// Tomorrow again; it is no reason not to count.
			c.o.Log.Error().Err(err).Msg("erased records were not cut out of the change log or of the files")
		} else if swept.Damaged > 0 {
			c.o.Log.Error().Int("changes", swept.Damaged).Msg("changes are damaged, and may have words of erased records: see tandem verify")
		}
		done, err := admin.Retention(ctx, syncengine.ID{})
		return finish(ctx, run, done, err, func(tx *store.Tx) error {
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_RETENTION_COUNTED, Seq: done.Seq, Count: uint64(done.Records)})
		})
	})
}

// finish ends a job with what it did.
func finish(ctx context.Context, run *jobs.Run, done any, err error, do func(*store.Tx) error) error {
	if err != nil {
		return err
	}
	text, err := json.Marshal(done)
	if err != nil {
		return err
	}
	return run.Finish(ctx, text, do)
}

// reminded is what asks for leads, counted: what a run of the reminders came to.
type reminded struct {
	Desks     int `json:"desks"`
	FollowUps int `json:"follow_ups"`
	Drafts    int `json:"drafts"`
	Day45     int `json:"day_45"`
	Day55     int `json:"day_55"`
	Day60     int `json:"day_60"`
}

// remind works out the queues of all leads, so that none of them waits for a lead to look,
// and counts what asks by its time. A reminder is a row of the queue: nothing leaves the
// server.
func (c *Console) remind(ctx context.Context, run *jobs.Run) error {
	var desks []syncengine.ScopeKey
	err := c.store.Write(ctx, run.Org.ID, 1, func(tx *store.Tx) error {
		scopes, err := tx.OpenScopes()
		desks = slices.DeleteFunc(scopes, func(k syncengine.ScopeKey) bool { _, ok := deskOf(k); return !ok })
		return err
	})
	if err != nil {
		return err
	}
	lock := c.lock(run.Org.ID)
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err = c.takeIn(ctx, run.Org.ID, desks)
	<-lock
	if err != nil {
		return err
	}
	var done reminded
	err = c.store.ReadDesk(ctx, run.Org.ID, func(view store.DeskView) error {
		done = reminded{Desks: len(desks)}
		now := c.o.Clock().UnixMilli()
		for _, desk := range desks {
			for _, one := range []struct {
				into   *int
				reason int
				byMS   int64
			}{
				{&done.FollowUps, followUp, now},
				{&done.Drafts, draft, now},
				// An episode asks from 15 days before its window ends.
				{&done.Day45, episode, now},
				{&done.Day55, episode, now - 10*dayMS},
				{&done.Day60, episode, now - 15*dayMS},
			} {
				n, err := view.CountWork(desk, store.Asks{Reason: one.reason, ByMS: one.byMS}, mostCount)
				if err != nil {
					return err
				}
				*one.into += n
			}
		}
		return nil
	})
	return finish(ctx, run, done, err, nil)
}

type jobsData struct {
	Page      *web.Page
	Recurring []recurringRow
	Others    []jobRow
}

// recurringRow is what recurs, with its last run.
type recurringRow struct {
	Kind, Name, How, Last, Next, Did, Error string
	Bad                                     bool
}

// jobRow is a job that somebody asked for.
type jobRow struct {
	Name, Who, When, State string
	Attempts               int
	Bad                    bool
}

// mostJobs is how many jobs are looked at.
const mostJobs = 200

// jobsPage shows what recurs and what colleagues asked for.
func (v *visit) jobsPage() error {
	d := &jobsData{Page: v.page("navUpkeep", "jobs")}
	now, err := v.c.store.JobDue(v.ctx(), v.who.Org.ID)
	if err != nil {
		return err
	}
	all, err := v.jobs("", mostJobs)
	if err != nil {
		return err
	}
	var schedule []jobs.Recurring
	if v.c.o.Jobs != nil {
		schedule = v.c.o.Jobs.Schedule()
	}
	runs := map[string][]*store.Job{}
	for _, r := range schedule {
		if runs[r.Kind], err = v.jobs(r.Kind, 10); err != nil {
			return err
		}
		runs[r.Kind] = append([]*store.Job{}, runs[r.Kind]...)
	}
	err = v.look("jobs", syncengine.ID{}, func(s *sight) error {
		mine := s.colleagues()
		leads := slices.ContainsFunc(s.reference("program"), func(it *item) bool {
			m, ok := it.msg.(*tandemv1.Program)
			return ok && m.GetAgencyId() == s.p.Agency.String()
		})
		for _, r := range schedule {
			d.Recurring = append(d.Recurring, s.recurring(r, now.NowMS, leads, runs[r.Kind]))
		}
		for _, j := range all {
			if runs[j.Kind] == nil && mine[j.Person] {
				state, bad := s.jobState(j, now.NowMS)
				d.Others = append(d.Others, jobRow{Name: s.jobName(j.Kind), Who: s.staffName(j.Person), When: s.ago(j.CreatedMS), State: state, Attempts: j.Attempt, Bad: bad})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "jobs", d)
}

// jobs are those of a kind, the newest first.
func (v *visit) jobs(kind string, most int) (all []*store.Job, err error) {
	err = v.c.store.Jobs(v.ctx(), v.who.Org.ID, kind, most, func(j *store.Job) error {
		all = append(all, j)
		return nil
	})
	return all, err
}

// recurring is what recurs, as it stands. What it came to is told to agencies that lead a
// program: the counts are of their cases.
func (s *sight) recurring(r jobs.Recurring, nowMS int64, leads bool, runs []*store.Job) recurringRow {
	row := recurringRow{Kind: r.Kind, Name: s.jobName(r.Kind), How: s.t("jobHow." + r.Kind), Last: s.t("jobNever"), Next: s.moment(r.Next(nowMS).UnixMilli())}
	if len(runs) > 0 {
		if j := runs[0]; !j.Ended() || j.Failed || j.Error != "" {
			row.Error, row.Bad = s.jobState(j, nowMS)
			if !j.Ended() && j.RunAtMS > nowMS {
				row.Next = s.moment(j.RunAtMS)
			}
		}
	}
	if i := slices.IndexFunc(runs, func(j *store.Job) bool { return j.Ended() && !j.Failed && !j.Cancelled }); i >= 0 {
		row.Last = s.moment(runs[i].EndedMS)
		if leads {
			row.Did = s.did(runs[i])
		}
	}
	return row
}

// date is a day with its year, by the agency's clocks.
func (s *sight) date(ms int64) string {
	return sprintf("%s %d", web.Day(s.lang, s.at(ms)), s.at(ms).Year())
}

func (s *sight) jobName(kind string) string {
	if _, known := words["job."+kind]; known {
		return s.t("job." + kind)
	}
	return kind
}

// jobState is how far a job is. Its error is the server's, in English, without content.
func (s *sight) jobState(j *store.Job, nowMS int64) (state string, bad bool) {
	switch {
	case j.Failed:
		return sprintf(s.t("jobFailed"), j.Attempt) + " " + j.Error, true
	case j.Cancelled:
		return s.t("jobCancelled"), false
	case j.Ended():
		return s.t("jobDone"), false
	case j.LockedUntilMS > nowMS:
		return s.t("jobRuns"), false
	case j.Error != "":
		return sprintf(s.t("jobAgain"), j.Attempt) + " " + j.Error, true
	}
	return s.t("jobWaits"), false
}

// did is what a recurring job came to, in words.
func (s *sight) did(j *store.Job) string {
	switch j.Kind {
	case jobReminders:
		var r reminded
		if json.Unmarshal(j.Result, &r) == nil {
			return sprintf(s.t("didReminders"), r.FollowUps, r.Drafts, r.Day45, r.Day55, r.Day60)
		}
	case jobSnapshots:
		var r report.Frozen
		if json.Unmarshal(j.Result, &r) == nil {
			return sprintf(s.t("didSnapshots"), r.Metrics)
		}
	case jobPropose:
		var all proposals
		if json.Unmarshal(j.Result, &all) == nil && all.Agencies[s.p.Agency.String()] != nil {
			p := all.Agencies[s.p.Agency.String()]
			return sprintf(s.t("didPropose"), p.Found.PurgePeople, p.Found.PurgeCalls, p.Purgeable)
		}
	case jobRetention:
		var r server.Retention
		if json.Unmarshal(j.Result, &r) == nil {
			did := sprintf(s.t("didRetention"), r.People, r.Calls, r.Records, r.Held)
			if r.Incomplete > 0 {
				did += " " + sprintf(s.t("retIncomplete"), r.Incomplete)
			}
			return did
		}
	}
	return ""
}

// runJob has something that recurs done now.
func (v *visit) runJob() error {
	w, kind := v.c.o.Jobs, v.form("kind")
	if w == nil || !slices.ContainsFunc(w.Schedule(), func(r jobs.Recurring) bool { return r.Kind == kind }) {
		return errForm
	}
	j, err := w.New(kind, "", v.who.Staff, nil)
	if err != nil {
		return err
	}
	err = v.c.store.Write(v.ctx(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		// One after another: who presses often asks once.
		if open, err := tx.OpenJobs(kind, v.who.Staff); err != nil || open > 0 {
			return err
		}
		if _, err := tx.AddJob(j); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Person: v.who.Staff[:], Code: "job " + kind, Count: 1})
	})
	if err != nil {
		return err
	}
	w.Wake()
	if to := v.form("to"); to == "purges" || to == "retention" {
		return v.to(to + "?done=okAsked")
	}
	return v.to("jobs?done=okAsked")
}

type backupsData struct {
	Page     *web.Page
	State    string
	Bad      bool
	Drill    string
	DrillBad bool
	Rows     []backupRow
	Verified int
	Postgres bool
}

type backupRow struct {
	When, Size, Digest, Seq string
	Encrypted, Drill        bool
}

// Ages from which on a backup, and a drill, are old.
const (
	backupOld = 26 * time.Hour
	drillOld  = 92 * 24 * time.Hour
)

// backups shows when the database was last copied, and whether a copy was ever restored.
func (v *visit) backups() error {
	d := &backupsData{Page: v.page("navBackups", "backups")}
	all, err := v.c.store.BackupReports(v.ctx(), v.who.Org.ID)
	if err != nil {
		return err
	}
	kept, err := v.c.store.Backups(v.ctx(), v.who.Org.ID)
	if err != nil {
		return err
	}
	d.Verified = len(kept)
	err = v.look("backups", syncengine.ID{}, func(s *sight) error {
		var last, drill int64
		for _, r := range all {
			if r.Drill {
				drill = max(drill, r.AtMS)
			} else {
				last = max(last, r.AtMS)
			}
			row := backupRow{When: s.moment(r.AtMS), Size: s.t("unknown"), Digest: s.t("unknown"), Seq: strconv.FormatUint(r.Seq, 10), Encrypted: r.Encrypted, Drill: r.Drill}
			if r.Bytes > 0 {
				row.Size = megabytes(r.Bytes)
			}
			if r.Digest != (syncengine.Hash{}) {
				row.Digest = hex.EncodeToString(r.Digest[:])
			}
			d.Rows = append(d.Rows, row)
		}
		if last == 0 && len(kept) > 0 {
			// From before reports were kept.
			last = kept[0].MadeMS
		}
		d.State, d.Bad = s.age(last, backupOld, "backupNone", "backupOldSays", "backupFine")
		d.Drill, d.DrillBad = s.age(drill, drillOld, "drillNone", "drillOldSays", "drillFine")
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "backups", d)
}

// age says how old something is, and whether that is too old.
func (s *sight) age(ms int64, most time.Duration, none, old, fine string) (says string, bad bool) {
	switch {
	case ms == 0:
		return s.t(none), true
	case s.now().Sub(time.UnixMilli(ms)) > most:
		return sprintf(s.t(old), s.ago(ms)), true
	}
	return sprintf(s.t(fine), s.ago(ms)), false
}

func megabytes(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt((n+1023)>>10, 10) + " KiB"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
}

type retentionData struct {
	Page *web.Page
	// Found is what was counted, nil for not yet; Counted is when.
	Found   *server.Retention
	Counted string
	// Next is when the next one's time is over.
	Next                string
	Adult, Minor, Audit uint32
	Hash                string
	List                []expiredRow
	Holds               []holdRow
}

type expiredRow struct {
	ID, Kind, Last, Due string
	Records             int
	Held                bool
}

type holdRow struct {
	ID, Target, Reason, By, Placed, Lifted string
	Stands                                 bool
}

// retention shows what is past its time, the agency's policy and the legal holds.
func (v *visit) retention() error {
	d := &retentionData{Page: v.page("navRetention", "retention")}
	agency, err := v.agency()
	if err != nil {
		return err
	}
	holds, err := v.office().HoldsOf(v.ctx(), agency)
	if err != nil {
		return err
	}
	// Counted by a job: it reads all that there is.
	counted, at, err := v.proposed(agency)
	if err != nil {
		return err
	}
	if counted != nil {
		d.Found = counted.Found
	}
	err = v.look("retention", syncengine.ID{}, func(s *sight) error {
		it := s.see(agency)
		if it == nil {
			return errAbsent
		}
		m, _ := it.msg.(*tandemv1.Agency)
		policy := m.GetRetention()
		d.Adult, d.Minor, d.Audit = policy.GetAdultYears(), policy.GetMinorYearsAfter_18(), policy.GetAuditYears()
		d.Hash = strconv.FormatUint(uint64(it.rec.Hash), 16)
		for _, h := range holds {
			row := holdRow{ID: h.ID.String(), Target: s.t("holdAll"), Reason: h.Reason, By: s.staffName(h.PlacedBy), Placed: s.moment(h.PlacedMS), Stands: h.Stands()}
			if h.Target == agency {
				row.Target = m.GetName()
			} else if !h.Target.IsZero() {
				row.Target = h.Target.String()
			}
			if !h.Stands() {
				row.Lifted = s.moment(h.LiftedMS)
			}
			d.Holds = append(d.Holds, row)
		}
		if counted == nil {
			return nil
		}
		d.Counted = s.moment(at)
		if d.Found.NextMS > 0 {
			d.Next = s.date(d.Found.NextMS)
		}
		for _, e := range counted.List {
			kind := "person"
			if e.Call {
				kind = "incident"
			}
			d.List = append(d.List, expiredRow{ID: e.ID.String(), Kind: s.c.domain.KindLabel(kind, s.lang), Last: s.date(e.LastMS), Due: s.date(e.DueMS), Records: e.Records, Held: e.Held})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if counted != nil {
		// Who is past their time is named by id.
		if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_RETENTION_COUNTED, Seq: d.Found.Seq, Count: uint64(d.Found.Records), Code: "console"}); err != nil {
			return err
		}
	}
	return v.show(200, "retention", d)
}

// setRetention changes how long the person's agency keeps records.
func (v *visit) setRetention() error {
	var years [3]uint32
	for i, name := range []string{"adult", "minor", "audit"} {
		n, err := strconv.ParseUint(strings.TrimSpace(v.form(name)), 10, 32)
		if err != nil {
			return errForm
		}
		years[i] = uint32(n)
	}
	return v.write("retention?done=okSaved", func(c *server.Composer) error {
		rec, msg, err := c.Record(c.Principal.Agency)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Agency)
		if !ok {
			return errForm
		}
		if strconv.FormatUint(uint64(rec.Hash), 16) != v.form("hash") {
			return server.ErrMoved
		}
		m.Retention = &tandemv1.Retention{AdultYears: &years[0], MinorYearsAfter_18: &years[1], AuditYears: &years[2]}
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	})
}

// placeHold puts something under a legal hold.
func (v *visit) placeHold() error {
	agency, err := v.agency()
	if err != nil {
		return err
	}
	var target syncengine.ID
	switch what := v.form("what"); what {
	case "agency":
		target = agency
	default:
		if target, err = syncengine.ParseID(strings.TrimSpace(v.form("target"))); err != nil {
			return errForm
		}
	}
	if _, err := v.office().PlaceHold(v.ctx(), v.who.Staff, agency, target, strings.TrimSpace(v.form("reason"))); err != nil {
		return err
	}
	return v.to("retention?done=okSaved")
}

// liftHold ends a legal hold that is the own agency's affair.
func (v *visit) liftHold() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	agency, err := v.agency()
	if err != nil {
		return err
	}
	holds, err := v.office().HoldsOf(v.ctx(), agency)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(holds, func(h *store.Hold) bool { return h.ID == id }) {
		return errAbsent
	}
	if err := v.office().LiftHold(v.ctx(), v.who.Staff, id); errors.Is(err, store.ErrNoHold) {
		return errAbsent
	} else if err != nil {
		return err
	}
	return v.to("retention?done=okSaved")
}

// agency is the person's own.
func (v *visit) agency() (agency syncengine.ID, err error) {
	err = v.look("retention", syncengine.ID{}, func(s *sight) error {
		agency = s.p.Agency
		return nil
	})
	return agency, err
}
