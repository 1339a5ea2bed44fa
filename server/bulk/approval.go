package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Waits is how long an export waits for a second person's word: over a long weekend.
const Waits = 4 * 24 * time.Hour

// maxWaiting is how many exports of one person wait at once.
const maxWaiting = 5

// Errors of exports that wait for a second person.
var (
	// ErrNeedless says that the export may be made without a second person.
	ErrNeedless = errors.New("this export needs no second person: ask for it at once")
	// ErrWaiting says that too many of the person's exports wait.
	ErrWaiting = errors.New("several exports that you asked for wait for a second person already: let them be decided on first")
	// ErrDecided says that somebody was faster.
	ErrDecided = errors.New("this export was decided on meanwhile")
	// ErrUnsettled says that the second person's account is too young, or the asker's work.
	ErrUnsettled = errors.New("your account is younger than 7 days, or the one who asks has changed it in that time: let another lead or admin approve this export")
	// ErrGrown says that an approval does not cover what there is by now.
	ErrGrown = errors.New("the export names many more people by now than were approved: nothing was exported, ask for it again")
)

// Waiting is an export that was asked for, and waits for a second person's word or has had it.
type Waiting struct {
	*store.Approval `json:"-"`

	// Request is what was asked for.
	Request Request `json:"request"`
	// Seq, Records, People and Tables are what it came to when it was asked for.
	Seq     uint64       `json:"seq"`
	Records int64        `json:"records"`
	People  int          `json:"people"`
	Tables  []WaitingRow `json:"tables,omitempty"`
}

// WaitingRow is a file that the export would have.
type WaitingRow struct {
	Name    string `json:"name"`
	Rows    int64  `json:"rows"`
	Columns int    `json:"columns"`
}

// Count goes through what an export would hold, under the person's rights.
func (e *Exports) Count(ctx context.Context, org *store.Org, person syncengine.ID, r Request) (*export.Preview, error) {
	o, err := r.options(syncengine.ID{}, person)
	if err != nil {
		return nil, err
	}
	if err := r.note(syncengine.ID{}, person).CheckExport(); err != nil {
		return nil, err
	}
	p, err := export.Count(ctx, e.store, org, o)
	if err != nil {
		return nil, err
	}
	return p, e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EXPORTED, Person: person[:], Code: "export preview", Count: uint64(max(p.Records, 0))})
	})
}

// AskApproval puts an export that names more people than one person may pass on before
// whoever may approve it. It is made once somebody has.
func (e *Exports) AskApproval(ctx context.Context, org *store.Org, person syncengine.ID, r Request) (syncengine.ID, error) {
	r.Approver, r.ApprovedPeople = "", 0
	p, err := e.Count(ctx, org, person, r)
	if err != nil {
		return syncengine.ID{}, err
	}
	if !p.NeedsApproval {
		return syncengine.ID{}, ErrNeedless
	}
	w := &Waiting{Request: r, Seq: p.Seq, Records: p.Records, People: p.People}
	for _, t := range p.Tables {
		if t.Rows > 0 {
			w.Tables = append(w.Tables, WaitingRow{t.Name, t.Rows, len(t.Columns)})
		}
	}
	payload, err := json.Marshal(w)
	if err != nil {
		return syncengine.ID{}, err
	}
	j, err := e.worker.New(Kind, "", person, nil)
	if err != nil {
		return syncengine.ID{}, err
	}
	now := e.o.Clock()
	a := &store.Approval{ID: j.ID, Person: person, Payload: payload, CreatedMS: now.UnixMilli(), ExpiresMS: now.Add(Waits).UnixMilli()}
	return a.ID, e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		open, err := tx.OpenApprovals(person, now.UnixMilli())
		if err != nil {
			return err
		}
		if open >= maxWaiting {
			return ErrWaiting
		}
		if err := tx.AddApproval(a); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EXPORT_ASKED, Person: person[:], Subject: a.ID[:], Code: r.Format, Count: uint64(max(w.People, 0))})
	})
}

// Waiting returns what waits for the word of a person, who may give it, and what the person
// has asked for, with the word on it; the newest first.
func (e *Exports) Waiting(ctx context.Context, org *store.Org, person syncengine.ID) (theirs, own []*Waiting, err error) {
	now := e.o.Clock()
	all, err := e.store.Approvals(ctx, org.ID, now.Add(-Waits).UnixMilli(), 1000)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all {
		w, err := waiting(a)
		if err != nil {
			return nil, nil, err
		}
		if a.Person == person {
			own = append(own, w)
			continue
		}
		if !w.Open(now) {
			continue
		}
		may, err := e.mayDecide(ctx, org, person, w)
		if err != nil {
			return nil, nil, err
		}
		if may {
			theirs = append(theirs, w)
		}
	}
	return theirs, own, nil
}

// settled refuses, with ErrUnsettled, the word of an account that is young, or whose sign-in
// code, devices or staff record the asker has set lately: it might be the asker's own.
func (e *Exports) settled(ctx context.Context, org *store.Org, asker, second syncengine.ID) error {
	return e.store.ReadDesk(ctx, org.ID, func(view store.DeskView) error {
		settled, err := people.Settled(view, asker, second, e.o.Clock())
		if err == nil && !settled {
			err = ErrUnsettled
		}
		return err
	})
}

// Open reports whether somebody may still decide.
func (w *Waiting) Open(now time.Time) bool { return w.DecidedMS == 0 && now.UnixMilli() < w.ExpiresMS }

func waiting(a *store.Approval) (*Waiting, error) {
	w := &Waiting{}
	err := json.Unmarshal(a.Payload, w)
	w.Approval = a
	return w, err
}

// mayDecide reports whether a person may be the second one of an export.
func (e *Exports) mayDecide(ctx context.Context, org *store.Org, person syncengine.ID, w *Waiting) (bool, error) {
	o, err := w.Request.options(w.ID, w.Person)
	if err != nil {
		return false, err
	}
	o.Approver = person
	err = export.Allowed(ctx, e.store, org, o)
	if export.Refused(err) {
		// The one who asked may have lost the right too: then there is nothing to approve.
		return false, nil
	}
	return err == nil, err
}

// Pending returns one export that a person may decide on. The error is ErrNone where there
// is none, or it is not theirs to decide on: never one's own.
func (e *Exports) Pending(ctx context.Context, org *store.Org, person, id syncengine.ID) (*Waiting, error) {
	theirs, _, err := e.Waiting(ctx, org, person)
	if err != nil {
		return nil, err
	}
	for _, w := range theirs {
		if w.ID == id {
			return w, nil
		}
	}
	return nil, ErrNone
}

// outgrown reports whether an export names more people than its approval covers: a tenth and
// twenty more than there were are the work of the days in which it waited.
func (r *Request) outgrown(named int) bool {
	return r.Approver != "" && named > r.ApprovedPeople+r.ApprovedPeople/10+20
}

// Decide gives the word of a second person on an export. within runs what it is given in a
// transaction in which the person has shown their second factor ([people.People.Confirm]).
// An export that is approved is made at once, as a job of the id that it waited under; it
// fails with ErrGrown where it would name many more people than were approved.
func (e *Exports) Decide(ctx context.Context, org *store.Org, person, id syncengine.ID, approve bool, reason string, within func(func(*store.Tx) error) error) error {
	w, err := e.Pending(ctx, org, person, id)
	if err != nil {
		return err
	}
	if approve {
		if err := e.settled(ctx, org, w.Person, person); err != nil {
			return err
		}
	}
	w.Request.Approver, w.Request.ApprovedPeople = person.String(), w.People
	payload, err := json.Marshal(w.Request)
	if err != nil {
		return err
	}
	j, err := e.worker.New(Kind, "", w.Person, payload)
	if err != nil {
		return err
	}
	j.ID = id
	err = within(func(tx *store.Tx) error {
		a, err := tx.Approval(id)
		if err != nil {
			return err
		}
		now := e.o.Clock().UnixMilli()
		if a == nil || a.Person == person || now >= a.ExpiresMS {
			return ErrNone
		}
		if a.DecidedMS != 0 {
			return ErrDecided
		}
		a.DecidedMS, a.DecidedBy, a.Approved, a.Reason = now, person, approve, reason
		if err := tx.DecideApproval(a); err != nil {
			return err
		}
		act := tandemv1.AuditAct_AUDIT_ACT_EXPORT_REFUSED
		if approve {
			act = tandemv1.AuditAct_AUDIT_ACT_EXPORT_APPROVED
			if _, err := tx.AddJob(j); err != nil {
				return err
			}
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: act, Person: person[:], Subject: id[:], Code: w.Request.Format, Count: uint64(max(w.People, 0))})
	})
	e.worker.Wake()
	return err
}

// Listed is an export of a person's.
type Listed struct {
	*store.Job

	Request Request
}

// List returns a person's exports that can be looked at, the newest first.
func (e *Exports) List(ctx context.Context, org *store.Org, person syncengine.ID, limit int) (all []Listed, err error) {
	err = e.store.Jobs(ctx, org.ID, Kind, 10_000, func(j *store.Job) error {
		if j.Person != person || j.Cancelled || e.expired(j) || len(all) >= limit {
			return nil
		}
		l := Listed{Job: j}
		all = append(all, l)
		return json.Unmarshal(j.Payload, &all[len(all)-1].Request)
	})
	return all, err
}

// Until is until when an export that has ended can be fetched.
func (e *Exports) Until(j *store.Job) time.Time { return time.UnixMilli(j.EndedMS).Add(e.o.Keep) }
