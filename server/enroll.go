package server

import (
	"bytes"
	"context"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// enrolling implements the EnrollService.
type enrolling struct{ *Server }

// Enroll implements tandemv1connect.EnrollServiceHandler.
func (s *enrolling) Enroll(ctx context.Context, req *tandemv1.EnrollRequest) (*tandemv1.EnrollResponse, error) {
	answer, err := s.enroll(ctx, req)
	if err != nil {
		return nil, s.refuse(err)
	}
	return answer, nil
}

// maxApp bounds what a device says of itself, in bytes.
const maxApp = 64

func (s *Server) enroll(ctx context.Context, req *tandemv1.EnrollRequest) (*tandemv1.EnrollResponse, error) {
	if !s.guesses.Allowed() {
		return nil, ErrGuesses
	}
	replica, ok := syncengine.IDFromBytes(req.GetReplica())
	if !ok || replica.IsZero() || len(req.GetPlatform()) > maxApp || len(req.GetAppVersion()) > maxApp ||
		!auth.VerifyEnrolment(req.GetPublicKey(), req.GetProof(), req.GetCode(), replica) {
		return nil, ErrEnrolForm
	}
	code := auth.HashCode(req.GetCode())
	orgID, known, err := s.store.FindEnrolment(ctx, code)
	if err != nil {
		return nil, err
	}
	if !known {
		s.guesses.Wrong()
		return nil, ErrCode
	}
	org, err := s.store.Signer(ctx, orgID)
	if err != nil {
		return nil, err
	}
	e := &enrolment{
		Server: s, org: org, engine: s.engine(org), req: req, code: code,
		identity: auth.Identity{Org: orgID, Replica: replica, Key: bytes.Clone(req.GetPublicKey()), KeyID: org.KeyID()}, nowMS: s.now().UnixMilli(),
	}
	if err := s.store.Write(ctx, orgID, 1, e.run); err != nil {
		return nil, err
	}
	if e.refused != nil {
		s.guesses.Wrong()
		return nil, e.refused
	}
	return e.answer()
}

// enrolment is one use of a code.
type enrolment struct {
	*Server

	org      *store.Org
	engine   *syncengine.Server
	req      *tandemv1.EnrollRequest
	code     syncengine.Hash
	identity auth.Identity
	nowMS    int64

	// refused is a refusal that is counted, and therefore committed.
	refused   error
	stored    *store.Enrolment
	principal *syncengine.Principal
	programs  []syncengine.ID
	name      string
}

// run decides on the use of a code. Of several at once the first in the order of
// transactions wins.
func (e *enrolment) run(tx *store.Tx) error {
	e.refused = nil
	stored, err := tx.Enrolment(e.code)
	if err != nil {
		return err
	}
	switch {
	case stored == nil:
		return ErrCode
	case e.nowMS > stored.ExpiresMS:
		return ErrCodeExpired
	}
	e.stored = stored
	e.identity.Person, e.identity.Device = stored.Staff, stored.Device
	if err := e.who(tx); err != nil {
		return err
	}
	if stored.UsedKey != nil {
		if bytes.Equal(stored.UsedKey, e.identity.Key) && stored.UsedReplica == e.identity.Replica {
			return nil
		}
		stored.Attempts++
		e.refused = ErrCodeUsed
		return tx.SaveEnrolment(stored)
	}
	if err := e.outlived(tx); err != nil {
		return err
	}
	r, err := tx.Replica(e.identity.Replica)
	if err != nil {
		return err
	}
	same := r != nil && r.Person == stored.Staff && r.Device == stored.Device && bytes.Equal(r.Key, e.identity.Key) && !r.Revoked
	switch {
	case r != nil && r.Shut():
		// A code is no way around that.
		return syncengine.ErrSuspended
	case r == nil:
		r = &syncengine.Replica{ID: e.identity.Replica, Person: stored.Staff, Device: stored.Device, Key: e.identity.Key}
	case r.Unconfirmed && bytes.Equal(r.Key, e.identity.Key):
		return e.confirm(tx, r)
	case !same:
		// The same replica is there where an enrolment was interrupted after it had come
		// into the security journal.
		return ErrReplicaTaken
	}
	err = tx.Journal(&store.JournalEvent{
		What: store.EventEnrolled, Replica: r.ID.String(), Person: r.Person.String(), Device: r.Device.String(), Key: r.Key,
	})
	if err != nil {
		return err
	}
	made, err := newCreation(e.org.ID, stored.Device, e.device(), e.nowMS, e.rand, nobody)
	if err != nil {
		return err
	}
	if err := made.apply(e.engine, tx, e.nowMS); err != nil {
		return err
	}
	if err := tx.SaveReplica(r); err != nil {
		return err
	}
	err = tx.Audit(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_ENROLLED, Person: r.Person[:], Replica: r.ID[:], Subject: r.Device[:], Key: r.Key,
	})
	if err != nil {
		return err
	}
	stored.UsedKey, stored.UsedReplica, stored.UsedMS = e.identity.Key, e.identity.Replica, e.nowMS
	return tx.SaveEnrolment(stored)
}

// outlived refuses a code that was made before a device of its person was suspended, for as
// long as that is: whoever has the device might have the code.
func (e *enrolment) outlived(tx *store.Tx) error {
	suspended, err := tx.Suspensions()
	if err != nil || len(suspended) == 0 {
		return err
	}
	all, err := tx.Replicas()
	if err != nil {
		return err
	}
	for _, s := range suspended {
		if s.SinceMS >= e.stored.CreatedMS && slices.ContainsFunc(all, func(r *syncengine.Replica) bool { return r.Device == s.Device && r.Person == e.stored.Staff }) {
			return ErrCode
		}
	}
	return nil
}

// confirm ends the time in which a replica of the same person is write-only. The
// device stays the one that it was.
func (e *enrolment) confirm(tx *store.Tx, r *syncengine.Replica) error {
	if r.Person != e.stored.Staff {
		return ErrUnconfirmable
	}
	now := *r
	now.Unconfirmed = false
	e.identity.Generation = uint64(len(r.Former))
	tx.WakeAll()
	if err := tx.SaveReplica(&now); err != nil {
		return err
	}
	err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_REPLICA_CONFIRMED, Person: r.Person[:], Replica: r.ID[:], Subject: r.Device[:]})
	if err != nil {
		return err
	}
	e.identity.Device, e.stored.Device = r.Device, r.Device
	e.stored.UsedKey, e.stored.UsedReplica, e.stored.UsedMS = e.identity.Key, e.identity.Replica, e.nowMS
	return tx.SaveEnrolment(e.stored)
}

// who reads the person that the code is for, as of now.
func (e *enrolment) who(tx *store.Tx) (err error) {
	e.principal, err = e.engine.Principal(tx, &syncengine.Replica{ID: e.identity.Replica, Person: e.stored.Staff, Device: e.stored.Device})
	if err != nil {
		return err
	}
	staff, err := tx.Record(e.stored.Staff)
	if err != nil {
		return err
	}
	if staff == nil || len(e.principal.Roles) == 0 {
		return ErrStaffInactive
	}
	msg, err := record.New().Message(&staff.Record)
	if err != nil {
		return err
	}
	if person, ok := msg.(*tandemv1.Staff); ok {
		e.name = person.GetDisplayName()
	}
	e.programs = nil
	for _, team := range e.principal.Teams {
		rec, err := tx.Record(team)
		if err != nil {
			return err
		}
		var program syncengine.ID
		if rec != nil {
			// A team without a program keeps its place.
			program, _ = syncengine.ParseID(rec.Text(syncengine.FieldProgram))
		}
		e.programs = append(e.programs, program)
	}
	return nil
}

// device is the record of the device that enrols.
func (e *enrolment) device() *tandemv1.Device {
	d := &tandemv1.Device{
		Lifecycle: new("active"), Schema: new(uint32(syncengine.Schema)), Label: &e.stored.Label, PublicKey: e.identity.Key,
		State: new("enrolled"), AssignedStaffIds: []string{e.stored.Staff.String()},
	}
	if !e.principal.Agency.IsZero() {
		d.AgencyId = new(e.principal.Agency.String())
	}
	if p := record.CleanText(e.req.GetPlatform()); p != "" {
		d.Platform = &p
	}
	if v := record.CleanText(e.req.GetAppVersion()); v != "" {
		d.AppVersion = &v
	}
	return d
}

// answer certifies the replica. The same use of a code gets the same certificate.
func (e *enrolment) answer() (*tandemv1.EnrollResponse, error) {
	certificate, err := auth.Certify(e.org.Signing, &e.identity)
	if err != nil {
		return nil, err
	}
	return &tandemv1.EnrollResponse{
		Certificate: certificate, Org: e.org.ID[:], Person: e.identity.Person[:], Device: e.identity.Device[:],
		PersonName: e.name, Roles: slices.Clone(e.principal.Roles), Teams: wireIDs(e.principal.Teams), OrgKey: e.org.PublicKey(),
		ServerMs: e.nowMS, Schema: syncengine.Schema, Agency: e.principal.Agency[:], Programs: wireIDs(e.programs),
		DeviceLabel: e.stored.Label, SealKey: e.org.SealKey(), Successors: e.org.Successors(""),
	}, nil
}

func wireIDs(ids []syncengine.ID) [][]byte {
	out := make([][]byte, len(ids))
	for i := range ids {
		out[i] = ids[i][:]
	}
	return out
}
