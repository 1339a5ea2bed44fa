package server

import (
	"context"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// PlaceHold keeps a person or a call with all that is about it, or all of the agency (zero),
// whatever its age. by is who orders it, for whose own agency: what is of another
// one is not there. reason says why, in words without names.
func (a *Admin) PlaceHold(ctx context.Context, by, agency, target syncengine.ID, reason string) (*store.Hold, error) {
	if n := len([]rune(reason)); n < 10 || n > 300 {
		return nil, &InvalidError{Problems: []record.Problem{{Fields: []string{"reason"}, EN: "The reason is of 10 to 300 characters.", ES: "El motivo tiene de 10 a 300 caracteres."}}}
	}
	id, err := syncengine.NewID(a.now().UnixMilli(), a.rand)
	if err != nil {
		return nil, err
	}
	if target.IsZero() {
		target = agency
	}
	h := &store.Hold{ID: id, Target: target, Reason: reason, PlacedBy: by}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if ok, err := holdable(tx, agency, target); err != nil {
			return err
		} else if !ok {
			return &InvalidError{Problems: []record.Problem{{Fields: []string{"target"}, EN: "That is the id of no person and no call of your agency.", ES: "Ese no es el identificador de una persona ni de una llamada de su agencia."}}}
		}
		if err := tx.PlaceHold(h); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_HOLD_PLACED, Person: by[:], Subject: idBytes(target), Code: h.ID.String()})
	})
	return h, err
}

// holdable reports whether somebody of an agency may put a target under a legal hold.
func holdable(tx *store.Tx, agency, target syncengine.ID) (bool, error) {
	if target == agency {
		return true, nil
	}
	domain := record.New()
	rec, err := tx.Record(target)
	if err != nil || rec == nil {
		return false, err
	}
	if kind := domain.Kind(rec.Kind); kind == nil || kind.Name != "person" && kind.Name != "incident" {
		return false, nil
	}
	return with(tx, domain, rec, agency)
}

// with reports whether a record is with a team of an agency.
func with(view syncengine.ServerView, domain *record.Domain, rec *syncengine.StoredRecord, agency syncengine.ID) (bool, error) {
	for _, s := range rec.Scopes {
		owner, err := ownerOf(view, domain, s)
		if err != nil || owner == agency {
			return err == nil, err
		}
	}
	return false, nil
}

// HoldsOf returns the legal holds that are an agency's own affair, to be seen and lifted: on
// the agency itself; on a person or call of its teams, unless whoever placed it is of another
// agency that has them too; and those on everything, which are anybody's. A hold so stays
// with the agency whose records it keeps when the person who placed it goes to another one.
func (a *Admin) HoldsOf(ctx context.Context, agency syncengine.ID) (all []*store.Hold, err error) {
	domain := record.New()
	err = a.store.Snapshot(ctx, a.org.ID, func(snap *store.Snapshot) error {
		holds, err := snap.LegalHolds()
		if err != nil {
			return err
		}
		for _, h := range holds {
			ok, err := affairOf(snap.View(), domain, h, agency)
			if err != nil {
				return err
			}
			if ok {
				all = append(all, h)
			}
		}
		return nil
	})
	return all, err
}

func affairOf(view syncengine.ServerView, domain *record.Domain, h *store.Hold, agency syncengine.ID) (bool, error) {
	if h.Target.IsZero() || h.Target == agency {
		return true, nil
	}
	rec, err := view.Record(h.Target)
	if err != nil || rec == nil {
		return false, err
	}
	if mine, err := with(view, domain, rec, agency); err != nil || !mine {
		return false, err
	}
	placer, err := view.Record(h.PlacedBy)
	if err != nil || placer == nil {
		return err == nil, err
	}
	msg, err := domain.Message(&placer.Record)
	if err != nil {
		return false, err
	}
	m, _ := msg.(*tandemv1.Staff)
	of, err := syncengine.ParseID(m.GetAgencyId())
	if err != nil || of == agency {
		return true, nil //nolint:nilerr // Who is of no agency is of no other one.
	}
	theirs, err := with(view, domain, rec, of)
	return !theirs, err
}

// ownerOf is the agency that a team's scope is of; zero for any other scope.
func ownerOf(view syncengine.ServerView, domain *record.Domain, s syncengine.ScopeKey) (agency syncengine.ID, err error) {
	if s.Owner != syncengine.OwnerTeam {
		return agency, nil
	}
	team, err := view.Record(s.OwnerID)
	if err != nil || team == nil {
		return agency, err
	}
	msg, err := domain.Message(&team.Record)
	if err != nil {
		return agency, err
	}
	m, _ := msg.(*tandemv1.Team)
	id, _ := syncengine.ParseID(m.GetProgramId())
	program, err := view.Record(id)
	if err != nil || program == nil {
		return agency, err
	}
	if msg, err = domain.Message(&program.Record); err != nil {
		return agency, err
	}
	p, _ := msg.(*tandemv1.Program)
	agency, _ = syncengine.ParseID(p.GetAgencyId())
	return agency, nil
}

func idBytes(id syncengine.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// LiftHold ends a legal hold. The error is store.ErrNoHold where none of that id stands.
func (a *Admin) LiftHold(ctx context.Context, by, id syncengine.ID) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		h, err := tx.LiftHold(id, by)
		if err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_HOLD_LIFTED, Person: by[:], Subject: idBytes(h.Target), Code: id.String()})
	})
}
