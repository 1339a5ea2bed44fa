package server

import (
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Errors of a purge. Nothing was removed.
var (
	// ErrNothingToPurge: nothing may be purged now.
	ErrNothingToPurge = errors.New("nothing that is past its retention may be purged now: what is under a legal hold or waits for somebody stays")
	// ErrPurgeOwn: who asked for a purge decides on it.
	ErrPurgeOwn = errors.New("a purge is decided on by somebody else than whoever asked for it")
	// ErrPurgeOpen: another one waits.
	ErrPurgeOpen = errors.New("a purge for this agency is open already: decide on that one first")
	// ErrPurgeAsker: whoever asked has lost the right to.
	ErrPurgeAsker = errors.New("whoever asked for this purge is no active admin of the agency any more: refuse it, and ask anew")
	// ErrPurgeUnsettled: the second person might be the first one's own making.
	ErrPurgeUnsettled = errors.New("the account of whoever approves is younger than 7 days, or whoever asked has changed it in that time: let another admin approve")
	// ErrPurgeRecovering: the database was set back, and words may be missing that would
	// keep something.
	ErrPurgeRecovering = errors.New("the server was restored, and not every device has reported since: nothing is purged before each has, or was shut out (see tandem admin recover status)")
	// ErrPurgeNobody: somebody is no active admin of the agency.
	ErrPurgeNobody = errors.New("a purge is asked for, and decided on, by active admins of the agency")
	// ErrPurgeMoved: what is to be purged has changed meanwhile.
	ErrPurgeMoved = errors.New("somebody has just written about what is to be purged, or placed a hold: try again")
)

// purgePortion is how many records are erased in one transaction, and named in one event of
// the security journal.
const purgePortion = 100

// AskPurge asks, as a member of staff, for a purge of what may be purged for their agency
// now. Nothing is removed before another admin of it approves (DecidePurge).
func (a *Admin) AskPurge(ctx context.Context, by syncengine.ID, reason string) (*store.Purge, error) {
	if n := len([]rune(reason)); n < 10 || n > 300 {
		return nil, &InvalidError{Problems: []record.Problem{{Fields: []string{"reason"}, EN: "The reason is of 10 to 300 characters.", ES: "El motivo tiene de 10 a 300 caracteres."}}}
	}
	// Before all records are read, and again after that.
	var agency syncengine.ID
	err := a.store.Write(ctx, a.org.ID, 0, func(tx *store.Tx) (err error) {
		agency, err = mayAsk(tx, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	found, err := a.Retention(ctx, agency)
	if err != nil {
		return nil, err
	}
	id, err := syncengine.NewID(a.now().UnixMilli(), a.rand)
	if err != nil {
		return nil, err
	}
	p := &store.Purge{ID: id, Agency: agency, AskedBy: by, Reason: reason, Records: found.Purgeable, People: found.PurgePeople, Calls: found.PurgeCalls}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		switch still, err := mayAsk(tx, by); {
		case err != nil:
			return err
		case still != agency:
			return ErrPurgeNobody
		case len(p.Records) == 0:
			return ErrNothingToPurge
		}
		if err := tx.AddPurge(p); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PURGE_ASKED, Person: by[:], Subject: id[:], Count: uint64(len(p.Records)), Seq: found.Seq})
	})
	return p, err
}

// mayAsk is the agency that somebody may ask for a purge of now.
func mayAsk(tx *store.Tx, by syncengine.ID) (agency syncengine.ID, err error) {
	if agency, err = purgerOf(tx, by); err != nil {
		return agency, err
	}
	if agency.IsZero() {
		return agency, ErrPurgeNobody
	}
	if err := reported(tx); err != nil {
		return agency, err
	}
	open, err := tx.OpenPurges(agency)
	if err == nil && open > 0 {
		err = ErrPurgeOpen
	}
	return agency, err
}

// DecidePurge stores a second person's word on a purge, and does it where it is approved:
// of the records that were asked for, those that may still be purged. Where it was broken
// off, any admin but the one who asked goes on with it by approving again. Who asked may
// take it back by refusing.
func (a *Admin) DecidePurge(ctx context.Context, by, id syncengine.ID, approve bool) (*store.Purge, error) {
	p, err := a.WordOnPurge(ctx, by, id, approve, func(do func(*store.Tx) error) error { return a.store.Write(ctx, a.org.ID, 1, do) })
	if err != nil || !approve {
		return p, err
	}
	return a.DoPurge(ctx, id)
}

// WordOnPurge stores that word alone, in a transaction that within makes; DoPurge does it.
func (a *Admin) WordOnPurge(ctx context.Context, by, id syncengine.ID, approve bool, within func(func(*store.Tx) error) error) (p *store.Purge, err error) {
	if approve {
		if err := a.settledFor(ctx, by, id); err != nil {
			return nil, err
		}
	}
	err = within(func(tx *store.Tx) (err error) {
		if p, err = tx.Purge(id); err != nil {
			return err
		}
		brokenOff := p != nil && approve && p.Approved && p.DoneMS == 0
		if p == nil || p.DecidedMS != 0 && !brokenOff {
			return store.ErrNoPurge
		}
		if err := mayDecide(tx, p, by, approve); err != nil {
			return err
		}
		code := "refused"
		switch {
		case brokenOff:
			code = "resumed"
		case approve:
			code = "approved"
		}
		if !brokenOff {
			p.DecidedBy, p.Approved = by, approve
			if err := tx.DecidePurge(p); err != nil {
				return err
			}
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PURGE_DECIDED, Person: by[:], Subject: id[:], Count: uint64(len(p.Records)), Code: code})
	})
	return p, err
}

// settledFor refuses whose account is too young to approve a purge, or the asker's work.
func (a *Admin) settledFor(ctx context.Context, by, id syncengine.ID) error {
	all, err := a.store.Purges(ctx, a.org.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(p *store.Purge) bool { return p.ID == id })
	if i < 0 {
		return store.ErrNoPurge
	}
	return a.store.ReadDesk(ctx, a.org.ID, func(view store.DeskView) error {
		settled, err := people.Settled(view, all[i].AskedBy, by, a.now())
		if err == nil && !settled {
			err = ErrPurgeUnsettled
		}
		return err
	})
}

// mayDecide refuses who may not decide so on a purge now.
func mayDecide(tx *store.Tx, p *store.Purge, by syncengine.ID, approve bool) error {
	if agency, err := purgerOf(tx, by); err != nil {
		return err
	} else if agency != p.Agency {
		return ErrPurgeNobody
	}
	if !approve {
		return nil
	}
	if p.AskedBy == by {
		return ErrPurgeOwn
	}
	if agency, err := purgerOf(tx, p.AskedBy); err != nil {
		return err
	} else if agency != p.Agency {
		return ErrPurgeAsker
	}
	return reported(tx)
}

// reported refuses where the history was set back and somebody may still bring what is
// missing: it could keep what looks past its time.
func reported(tx *store.Tx) error {
	head, err := tx.Head()
	if err != nil {
		return err
	}
	if head.Recovering {
		return ErrPurgeRecovering
	}
	if back, err := tx.SetBack(); err != nil || !back {
		return err
	}
	all, err := tx.Replicas()
	if err != nil {
		return err
	}
	replaced := map[syncengine.ID]bool{}
	for _, r := range all {
		replaced[r.Replaces] = true
	}
	if slices.ContainsFunc(all, func(r *syncengine.Replica) bool {
		return !r.Revoked && !r.Forked && r.WipedMS == 0 && !replaced[r.ID] && (r.Epoch != head.Epoch || r.Waits > 0)
	}) {
		return ErrPurgeRecovering
	}
	return nil
}

// purgerOf is the agency of which somebody is an active admin; zero for none.
func purgerOf(view syncengine.ServerView, by syncengine.ID) (agency syncengine.ID, err error) {
	rec, err := view.Record(by)
	if err != nil || rec == nil || rec.Lifecycle() != record.Active {
		return agency, err
	}
	p, err := (&syncengine.Server{Rules: record.New()}).Principal(view, &syncengine.Replica{Person: by})
	if err != nil || !slices.Contains(p.Roles, "admin") {
		return agency, err
	}
	return p.Agency, nil
}
