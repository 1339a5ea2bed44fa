package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Admin sets up an org: its agencies, programs, teams and staff, each as a change
// like any other, and the codes by which devices enrol. It may be used beside a
// running server. Not safe for concurrent use.
type Admin struct {
	store *store.Store
	org   *store.Org
	now   func() time.Time
	rand  io.Reader
	// by is whose acts these are, zero for the operator of the server.
	by syncengine.ID
}

// As returns an Admin whose acts on forms and the directory are those of a member of staff:
// made as changes of theirs, and judged by their rights.
func (a *Admin) As(staff syncengine.ID) *Admin {
	b := *a
	b.by = staff
	return &b
}

// AdminOptions are the seams of an Admin; the zero value is the system's clock and
// crypto/rand.
type AdminOptions struct {
	Clock func() time.Time
	Rand  io.Reader
}

// NewAdmin returns the administration of an org.
func NewAdmin(st *store.Store, org *store.Org, o AdminOptions) *Admin {
	a := &Admin{store: st, org: org, now: o.Clock, rand: o.Rand}
	if a.now == nil {
		a.now = time.Now
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	return a
}

// AbsentError says that a record which was named is not there, or is of another
// kind.
type AbsentError struct{ Kind string }

// Error implements error.
func (e *AbsentError) Error() string {
	return fmt.Sprintf("there is no such %s: \"tandem admin list\" shows their ids", e.Kind)
}

// AgencyOptions describe a new agency.
type AgencyOptions struct {
	// Name and Type, a code of agency_type.
	Name, Type string
	// TimeZone is an IANA name; Lang is en or es.
	TimeZone, Lang string
}

// AddAgency makes an agency and returns its id.
func (a *Admin) AddAgency(ctx context.Context, o AgencyOptions) (syncengine.ID, error) {
	return a.add(ctx, func(_ *store.Tx, id syncengine.ID) (proto.Message, error) {
		return &tandemv1.Agency{
			AgencyId: new(id.String()), Lifecycle: new("active"), Schema: schema(), Name: text(o.Name), Type: text(o.Type),
			AgencyTz: text(o.TimeZone), DefaultLang: text(o.Lang),
		}, nil
	})
}

// ProgramOptions describe a new program.
type ProgramOptions struct {
	// NameEN and NameES; Spanish may be empty.
	NameEN, NameES string
	// Model is a code of program_model, Variant one of program_variant or empty.
	Model, Variant string
	// Agency leads it, Partners take part.
	Agency   syncengine.ID
	Partners []syncengine.ID
}

// AddProgram makes a program and returns its id.
func (a *Admin) AddProgram(ctx context.Context, o ProgramOptions) (syncengine.ID, error) {
	return a.add(ctx, func(tx *store.Tx, id syncengine.ID) (proto.Message, error) {
		partners := make([]string, 0, len(o.Partners))
		for _, agency := range append([]syncengine.ID{o.Agency}, o.Partners...) {
			if _, err := a.find(tx, "agency", agency); err != nil {
				return nil, err
			}
		}
		for _, p := range o.Partners {
			partners = append(partners, p.String())
		}
		return &tandemv1.Program{
			AgencyId: new(o.Agency.String()), ProgramId: new(id.String()), Lifecycle: new("active"), Schema: schema(),
			Name: &tandemv1.LocalizedText{En: text(o.NameEN), Es: text(o.NameES)}, Model: text(o.Model), Variant: text(o.Variant),
			PartnerAgencyIds: partners,
		}, nil
	})
}

// TeamOptions describe a new team.
type TeamOptions struct {
	// Name, and the shift it works, which may be empty.
	Name, Shift string
	// Program it belongs to.
	Program syncengine.ID
}

// AddTeam makes a team of a program, and of the program's agency, and returns its id.
func (a *Admin) AddTeam(ctx context.Context, o TeamOptions) (syncengine.ID, error) {
	return a.add(ctx, func(tx *store.Tx, id syncengine.ID) (proto.Message, error) {
		program, err := a.find(tx, "program", o.Program)
		if err != nil {
			return nil, err
		}
		return &tandemv1.Team{
			AgencyId: text(program.Text(syncengine.FieldAgency)), ProgramId: new(o.Program.String()), TeamId: new(id.String()),
			Lifecycle: new("active"), Schema: schema(), Name: text(o.Name), Shift: text(o.Shift),
		}, nil
	})
}

// StaffOptions describe a new member of staff.
type StaffOptions struct {
	// Name, as colleagues see it.
	Name string
	// Discipline is a code of discipline; Roles are codes of staff_role.
	Discipline string
	Roles      []string
	// Agency that employs the person; Teams may be of other agencies.
	Agency syncengine.ID
	Teams  []syncengine.ID
}

// AddStaff makes a staff record and returns its id. A police partner holds no other
// role.
func (a *Admin) AddStaff(ctx context.Context, o StaffOptions) (syncengine.ID, error) {
	if len(o.Roles) == 0 {
		return syncengine.ID{}, errors.New("a person needs a role: give at least one")
	}
	if err := record.CheckRoles(o.Roles); err != nil {
		return syncengine.ID{}, err
	}
	if len(o.Teams) > record.MaxTeams {
		return syncengine.ID{}, record.ErrTeams
	}
	return a.add(ctx, func(tx *store.Tx, _ syncengine.ID) (proto.Message, error) {
		if _, err := a.find(tx, "agency", o.Agency); err != nil {
			return nil, err
		}
		teams := make([]string, 0, len(o.Teams))
		for _, team := range o.Teams {
			if _, err := a.find(tx, "team", team); err != nil {
				return nil, err
			}
			teams = append(teams, team.String())
		}
		return &tandemv1.Staff{
			AgencyId: new(o.Agency.String()), Lifecycle: new("active"), Schema: schema(), DisplayName: text(o.Name),
			Discipline: text(o.Discipline), Roles: o.Roles, TeamIds: teams,
		}, nil
	})
}

// Code is a one-time code as it is handed out; it cannot be read again.
type Code struct {
	// Code in groups for reading aloud.
	Code string
	// Expires is the end of its life.
	Expires time.Time
	// Device is the record id that the device will have.
	Device syncengine.ID
}

// Invitation is all that a device needs to enrol, in one line to be scanned: the address of
// the server, and behind it the code where no browser sends it. client.Invited reads it.
func (c *Code) Invitation(address string) string {
	return strings.TrimRight(address, "/") + "/#enroll=" + c.Code
}

// maxLabel is the longest label of a device, in bytes.
const maxLabel = 120

// IssueCode makes a code by which one device can enrol for a person. label names
// the device.
func (a *Admin) IssueCode(ctx context.Context, staff syncengine.ID, label string) (*Code, error) {
	label = strings.TrimSpace(label)
	if label == "" || len(label) > maxLabel || !record.Text(label) {
		return nil, errors.New("a device needs a label of 1 to 120 bytes, for example the number of the tablet")
	}
	now := a.now()
	code, err := auth.NewCode(a.rand)
	if err != nil {
		return nil, err
	}
	device, err := syncengine.NewID(now.UnixMilli(), a.rand)
	if err != nil {
		return nil, err
	}
	e := &store.Enrolment{
		CodeHash: auth.HashCode(code), Staff: staff, Device: device, Label: label,
		CreatedMS: now.UnixMilli(), ExpiresMS: now.Add(auth.CodeLife).UnixMilli(),
	}
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if _, err := a.find(tx, "staff", staff); err != nil {
			return err
		}
		p, err := engine.Principal(tx, &syncengine.Replica{Person: staff})
		if err != nil {
			return err
		}
		if len(p.Roles) == 0 {
			return ErrStaffInactive
		}
		if err := tx.SaveEnrolment(e); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CODE_ISSUED, Person: staff[:], Subject: device[:]})
	})
	if err != nil {
		return nil, err
	}
	return &Code{Code: code, Expires: now.Add(auth.CodeLife), Device: device}, nil
}

// add makes a record of what build returns for its id.
func (a *Admin) add(ctx context.Context, build func(tx *store.Tx, id syncengine.ID) (proto.Message, error)) (syncengine.ID, error) {
	now := a.now().UnixMilli()
	id, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return syncengine.ID{}, err
	}
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		msg, err := build(tx, id)
		if err != nil {
			return err
		}
		made, err := newCreation(a.org.ID, id, msg, now, a.rand, nobody)
		if err != nil {
			return err
		}
		if err := made.apply(engine, tx, now); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_SET_UP, Subject: id[:], Kind: record.New().KindOf(msg).Number,
		})
	})
	if err != nil {
		return syncengine.ID{}, err
	}
	return id, nil
}

// find returns a record of a kind that is in use.
func (a *Admin) find(tx *store.Tx, kind string, id syncengine.ID) (*syncengine.StoredRecord, error) {
	rec, err := tx.Record(id)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.Kind != record.New().KindByName(kind).Number || rec.Lifecycle() == record.Void {
		return nil, &AbsentError{Kind: kind}
	}
	return rec, nil
}

// text is a field that stays away where it is empty.
func text(s string) *string {
	if s = record.CleanText(strings.TrimSpace(s)); s == "" {
		return nil
	}
	return &s
}

func schema() *uint32 { return new(uint32(syncengine.Schema)) }
