package server

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

const (
	// maxEmergencies is how many emergencies one person has in emergenciesWithin that open
	// anything. Reports of what was opened without signal are taken beyond that.
	maxEmergencies    = 12
	emergenciesWithin = 24 * time.Hour
	// alerts bounds how many that wait for review are counted for an answer.
	alerts = 100
)

// Errors of emergencies.
var (
	// ErrEmergency: the request is none.
	ErrEmergency = errors.New("an emergency needs an id, a person and a reason of 10 to 500 characters")
	// ErrEmergencies: one person has too many.
	ErrEmergencies = errors.New("too many emergencies within a day: ask a lead")
	// ErrNotYours: somebody else is to review it, or it is not there.
	ErrNotYours = errors.New("there is no such emergency that you are to review")
	// ErrFinding: a review needs words.
	ErrFinding = errors.New("say what you have found, in 3 to 500 characters")
	// ErrReviewed: that was done.
	ErrReviewed = errors.New("the emergency was reviewed before: a review stays as it is")
)

// BreakGlass implements tandemv1connect.SyncServiceHandler.
func (s *syncing) BreakGlass(ctx context.Context, req *tandemv1.BreakGlassRequest) (*tandemv1.BreakGlassResponse, error) {
	id, org, err := s.admittedCaller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := errors.Join(s.meet(ctx, org, id, nil), s.proved(ctx, org, id)); err != nil {
		return nil, s.refuse(err)
	}
	resp := &tandemv1.BreakGlassResponse{}
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		// A transaction may run twice.
		proto.Reset(resp)
		return s.breakGlass(tx, org, id, req, resp)
	})
	if errors.Is(err, syncengine.ErrNoEmergency) || errors.Is(err, ErrEmergencies) {
		noted := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
			return tx.Audit(&tandemv1.AuditEntry{
				Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Person: id.Person[:], Replica: id.Replica[:], Subject: req.GetPerson(), Code: "emergency", Count: 1,
			})
		})
		err = errors.Join(err, noted)
	}
	if err != nil {
		return nil, s.refuse(err)
	}
	return resp, nil
}

// breakGlass notes an emergency, and answers what is there as long as it lasts.
func (s *Server) breakGlass(tx *store.Tx, org *store.Org, id *auth.Identity, req *tandemv1.BreakGlassRequest, resp *tandemv1.BreakGlassResponse) error {
	key, ok := syncengine.IDFromBytes(req.GetId())
	subject, named := syncengine.IDFromBytes(req.GetPerson())
	reason := strings.TrimSpace(req.GetReason())
	if !ok || !named || key.IsZero() || utf8.RuneCountInString(reason) < syncengine.MinEmergencyReason || len(reason) > syncengine.MaxReason {
		return ErrEmergency
	}
	replica, err := tx.Replica(id.Replica)
	if err != nil {
		return err
	}
	opens, err := s.engine(org).Emergency(tx, replica, subject)
	if err != nil {
		return err
	}
	now := s.now().UnixMilli()
	e, err := tx.Emergency(key)
	if err != nil {
		return err
	}
	if e != nil && (e.Person != id.Person || e.Subject != subject) {
		return ErrEmergency
	}
	fresh := e == nil
	if fresh {
		n, err := tx.EmergenciesSince(id.Person, now-emergenciesWithin.Milliseconds())
		if err != nil {
			return err
		}
		if n >= maxEmergencies && req.GetRead() {
			return ErrEmergencies
		}
		e = &store.Emergency{
			ID: key, Person: id.Person, Replica: id.Replica, Subject: subject, Reason: reason,
			AtMS: req.GetAtMs(), ReceivedMS: now, UntilMS: now + syncengine.EmergencyMS, Opened: int(min(req.GetOpened(), 1<<20)),
		}
		if !req.GetRead() {
			// It is over, or the device keeps its time.
			e.UntilMS = now
		}
		if err := tx.AddEmergency(e); err != nil {
			return err
		}
	}
	resp.UntilMs = e.UntilMS
	entry := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_BROKE_GLASS, Person: id.Person[:], Replica: id.Replica[:], Subject: subject[:], Number: e.Num}
	if req.GetRead() && now < e.UntilMS {
		resp.Rows, resp.More = opens.Rows, opens.More
		entry.Count, entry.Records = uint64(len(opens.Found)), joinIDs(opens.Found)
		e.Found = max(e.Found, len(opens.Found))
		if err := tx.SaveEmergency(e); err != nil {
			return err
		}
	} else if !fresh {
		return nil
	}
	return tx.Audit(entry)
}

// alert counts, for a lead, the emergencies that wait for their review.
func (s *Server) alert(ctx context.Context, org *store.Org, id *auth.Identity, t *tandemv1.Trailer) error {
	engine, n := s.engine(org), uint32(0)
	var p *syncengine.Principal
	err := s.store.Emergencies(ctx, org.ID, true, alerts, func(view syncengine.ServerView, e *store.Emergency) (err error) {
		if p == nil {
			if p, err = engine.Principal(view, &syncengine.Replica{ID: id.Replica, Person: id.Person, Device: id.Device}); err != nil {
				return err
			}
		}
		mine, err := engine.Reviews(view, p, e.Person)
		if mine {
			n++
		}
		return err
	})
	t.Emergencies = n
	return err
}

// Emergencies calls f for the emergencies that a member of staff is to review, the newest
// first, at most limit; all: also those that were reviewed. With no member of staff it is
// everything: that is for whoever runs the server.
func (a *Admin) Emergencies(ctx context.Context, as syncengine.ID, all bool, limit int, f func(*store.Emergency) error) error {
	engine := a.engine()
	var p *syncengine.Principal
	var found []*store.Emergency
	err := a.store.Emergencies(ctx, a.org.ID, !all, limit, func(view syncengine.ServerView, e *store.Emergency) (err error) {
		if as.IsZero() {
			found = append(found, e)
			return nil
		}
		if p == nil {
			if p, err = a.staff(engine, view, as); err != nil {
				return err
			}
		}
		mine, err := engine.Reviews(view, p, e.Person)
		if mine {
			found = append(found, e)
		}
		return err
	})
	if err != nil {
		return err
	}
	note := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EMERGENCIES_READ, Count: uint64(len(found))}
	if !as.IsZero() {
		note.Person = as[:]
	}
	if err := a.note(ctx, note); err != nil {
		return err
	}
	for _, e := range found {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// ReviewEmergency notes what a lead has found of an emergency: whether it was justified,
// and why. It is done once.
func (a *Admin) ReviewEmergency(ctx context.Context, as, id syncengine.ID, justified bool, note string) error {
	note = strings.TrimSpace(note)
	if n := utf8.RuneCountInString(note); n < 3 || len(note) > syncengine.MaxReason {
		return ErrFinding
	}
	engine := a.engine()
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		p, err := a.staff(engine, tx, as)
		if err != nil {
			return err
		}
		e, err := tx.Emergency(id)
		if err != nil {
			return err
		}
		mine := false
		if e != nil {
			if mine, err = engine.Reviews(tx, p, e.Person); err != nil {
				return err
			}
		}
		switch {
		case !mine:
			return ErrNotYours
		case e.ReviewedMS != 0:
			return ErrReviewed
		}
		e.ReviewedMS, e.Reviewer, e.Justified, e.Note = a.now().UnixMilli(), as, justified, note
		if err := tx.SaveEmergency(e); err != nil {
			return err
		}
		code := "unjustified"
		if justified {
			code = "justified"
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_EMERGENCY_REVIEWED, Person: as[:], Subject: e.Subject[:], Number: e.Num, Code: code,
		})
	})
}
