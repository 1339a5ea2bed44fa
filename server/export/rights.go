package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// ManyPeople is how many people an export may name before it needs a second person's
// approval.
const ManyPeople = 500

// Errors of an export that is not to be.
var (
	// ErrForbidden says that a person's roles allow no export of records.
	ErrForbidden = errors.New("this person may not export records: a lead exports the records of their program, an admin those of their agency")
	// ErrLeadFormat says that a lead's form is CSV.
	ErrLeadFormat = errors.New("a lead exports CSV: let an admin export another form")
	// ErrInactive says that a staff record is not there or not active.
	ErrInactive = errors.New("no such active member of staff: \"tandem admin list\" shows their ids")
	// ErrProgram says that a program is not there.
	ErrProgram = errors.New("there is no such program: \"tandem admin list\" shows their ids")
	// ErrApproval says that a second person has to approve.
	ErrApproval = fmt.Errorf("an export that names more than %d people needs a second person's approval: let another lead or admin approve it", ManyPeople)
	// ErrApprover says that the second person may not approve.
	ErrApprover = errors.New("who approves an export is another active lead or admin of the same agency than the one who makes it")
)

// rights decide record by record.
type rights struct {
	org    syncengine.ID
	domain *record.Domain
	// p is nil for the operator of the server.
	p *syncengine.Principal
	// second is who approved, nil where nobody did.
	second *syncengine.Principal
	from   source
	look   syncengine.Lookup
	// teams are those that records were in, as far as they were looked up.
	teams map[syncengine.ID]*syncengine.Record
	sud   bool
	// nameless: nobody is named in the export.
	nameless bool
}

// roles that export records; what else a person is changes nothing.
const (
	lead  = "lead"
	admin = "admin"
	// analyst exports the de-identified set alone.
	analyst = "analyst"
)

func newRights(from source, org *store.Org, domain *record.Domain, o *Options) (*rights, error) {
	r := &rights{org: org.ID, domain: domain, from: from, teams: map[syncengine.ID]*syncengine.Record{}, sud: o.SUD, nameless: o.Set == SafeHarbor, look: func(id syncengine.ID) (*syncengine.Record, error) {
		rec, err := from.Record(id)
		if err != nil || rec == nil {
			return nil, err
		}
		return &rec.Record, nil
	}}
	if o.Person.IsZero() {
		return r, nil
	}
	var err error
	if r.p, err = r.principal(o.Person); err != nil {
		return nil, err
	}
	if !r.p.HasRole(lead) && !r.agency() {
		return nil, ErrForbidden
	}
	if !r.agency() && o.Format != CSV {
		return nil, ErrLeadFormat
	}
	if o.Approver.IsZero() {
		return r, nil
	}
	second, err := r.principal(o.Approver)
	if err != nil && !errors.Is(err, ErrInactive) {
		return nil, err
	}
	if err != nil || o.Approver == o.Person || second.Agency != r.p.Agency || !second.HasRole(lead) && !second.HasRole(admin) {
		return nil, ErrApprover
	}
	r.second = second
	return r, nil
}

// digest tells these rights from others: by what the two people are, and by which teams a lead
// looks into.
func (r *rights) digest() (string, error) {
	teams := []string{}
	if r.p != nil && r.p.HasRole(lead) {
		if err := r.from.EachOf([]uint32{r.domain.KindByName("team").Number}, func(rec *syncengine.StoredRecord) error {
			program, err := syncengine.ParseID(rec.Text(syncengine.FieldProgram))
			if err == nil && slices.Contains(r.p.Programs, program) {
				teams = append(teams, rec.ID.String(), program.String())
			}
			return nil
		}); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal([]any{r.p, r.second, teams})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// agency reports whether the person exports the records of the whole agency.
func (r *rights) agency() bool {
	return r.p.HasRole(admin) || r.nameless && r.p.HasRole(analyst)
}

func (r *rights) principal(person syncengine.ID) (*syncengine.Principal, error) {
	staff, err := r.look(person)
	if err != nil {
		return nil, err
	}
	if staff == nil || staff.Kind != r.domain.KindByName("staff").Number {
		return nil, ErrInactive
	}
	p, err := r.domain.Principal(staff, r.look)
	if err != nil {
		return nil, err
	}
	if len(p.Roles) == 0 {
		return nil, ErrInactive
	}
	p.Person = person
	return p, nil
}

// reads reports whether a record may be in the export. What is private to its author
// never is.
func (r *rights) reads(rec *syncengine.StoredRecord, in tandemv1.Compartment) (bool, error) {
	switch {
	case r.never(in):
		return false, nil
	case r.p == nil, in == tandemv1.Compartment_COMPARTMENT_REF:
		return true, nil
	case in != tandemv1.Compartment_COMPARTMENT_SUD && r.agency() && !r.p.Agency.IsZero() &&
		rec.Text(syncengine.FieldAgency) == r.p.Agency.String():
		return true, nil
	case r.p.HasRole(lead):
		return r.domain.MayRead(r.org, r.p, rec.Scopes, r.team)
	}
	return false, nil
}

// team looks a team up, once.
func (r *rights) team(id syncengine.ID) (rec *syncengine.Record, err error) {
	rec, ok := r.teams[id]
	if !ok {
		if rec, err = r.look(id); err == nil {
			r.teams[id] = rec
		}
	}
	return rec, err
}

// never reports whether nothing of a compartment is in the export, whoever makes it.
func (r *rights) never(in tandemv1.Compartment) bool {
	switch in {
	case tandemv1.Compartment_COMPARTMENT_PRIVATE, tandemv1.Compartment_COMPARTMENT_SYSTEM, tandemv1.Compartment_COMPARTMENT_UNSPECIFIED:
		return true
	}
	return in == tandemv1.Compartment_COMPARTMENT_SUD && !r.sud
}
