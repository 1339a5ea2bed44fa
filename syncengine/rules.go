package syncengine

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Policy is a field's merge policy, as its annotation states it.
type Policy = tandemv1.MergePolicy

// Field numbers that mean the same in every kind.
const (
	FieldAgency     = 1
	FieldProgram    = 2
	FieldTeam       = 3
	FieldLifecycle  = 4
	FieldVoidReason = 5
	FieldTZ         = 6
	FieldSchema     = 7
)

// Kind is what the engine must know of a kind to merge its records. Immutable
// once built; safe for concurrent use.
type Kind struct {
	// Number and Name as the contract states them.
	Number uint32
	Name   string
	// Compartment of its records unless a stricter one is set at creation.
	Compartment tandemv1.Compartment
	// Fields by number. A field that is not here is kept, merged by its shape and
	// forwarded.
	Fields map[uint32]*FieldRule
	// Sealed holds the lifecycle codes under which plain writes are no longer
	// displayed: signed, amended, locked, void.
	Sealed map[string]bool
}

// FieldRule is what the engine must know of a field.
type FieldRule struct {
	// Number and Name as the contract states them.
	Number uint32
	Name   string
	// Policy decides which head is displayed and whether a human is asked.
	Policy Policy
	// Caution ranks a raw value of a safest-head field, and of a state machine whose
	// most cautious head is displayed; higher is more cautious. Nil for other fields. An
	// unknown code ranks above every reassuring one.
	Caution func(raw []byte) int
	// Legal reports whether a state machine may step from one raw value to
	// another (nil: absent); nil for other policies.
	Legal func(from, to []byte) bool
}

// policyOf returns the policy of a field, by its shape where the kind does not
// know it.
func (k *Kind) policyOf(field uint32) Policy {
	if r := k.Fields[field]; r != nil {
		return r.Policy
	}
	switch ShapeOf(field) {
	case ShapeCodeSet, ShapeElementSet:
		return tandemv1.MergePolicy_MERGE_POLICY_SET
	case ShapeAppend:
		return tandemv1.MergePolicy_MERGE_POLICY_APPEND
	}
	return tandemv1.MergePolicy_MERGE_POLICY_KEEP_BOTH
}

// OwnerKind says what owns a scope.
type OwnerKind uint8

// The owners of scopes.
const (
	OwnerOrg OwnerKind = iota + 1
	OwnerProgram
	OwnerTeam
	OwnerPerson
)

// ScopeKey is the meaning of a scope: an owner, a compartment and a tier. It is
// the unit of grant and of replication.
type ScopeKey struct {
	// Owner and OwnerID say whose it is; OwnerID is the org's own id for OwnerOrg.
	Owner   OwnerKind
	OwnerID ID
	// Compartment of the records in it.
	Compartment tandemv1.Compartment
	// Open holds work in hand; the other tier holds the rest.
	Open bool
}

// Refusal says why a change goes to quarantine, in a code and the fields at
// fault ("record-index/field-name"), never a value.
type Refusal struct {
	Code   tandemv1.Refusal
	Fields []string
}

// Principal is who stands behind a change or a page: one person on one device,
// with the rights in force in the transaction that asks.
type Principal struct {
	// Person, Device and Agency are record ids; Replica is the database's life.
	Person, Device, Agency, Replica ID
	// Roles are role codes (DOMAIN: clinician, peer, le_partner, lead, admin, …).
	Roles []string
	// Teams are the record ids of the person's teams.
	Teams []ID
	// Programs are the record ids of the programs of those teams.
	Programs []ID
	// Opens are those of the teams whose program has no clinician at the scene (model
	// cit): there a police partner opens incidents. Empty for other roles.
	Opens []ID
	// Server marks acts made at the server itself by its operator.
	Server bool
}

// HasRole reports whether the principal holds a role.
func (p *Principal) HasRole(role string) bool {
	return slices.Contains(p.Roles, role)
}

// Lookup reads other records inside the deciding transaction; nil where a record
// is not there.
type Lookup func(id ID) (*Record, error)

// MaxCoAuthors bounds how many are written down of those who might write on a record when
// it was sealed.
const MaxCoAuthors = 64

// LookAbout reads the records that are about one, as they name it themselves, inside the
// deciding transaction; there may be others, where there are very many.
type LookAbout func(id ID) ([]*Record, error)

// Finding is a rule over several records that one of them breaks.
type Finding struct {
	// Record is the one that a human is asked about: none of those that the rule reads is
	// in a stricter compartment.
	Record ID
	// Rule is its name (rule_V5 …).
	Rule string
}

// Rules is the domain, as far as the engine must know it. Implementations are
// pure, deterministic and safe for concurrent use.
type Rules interface {
	// Kind returns the kind of a number, nil where it is unknown.
	Kind(number uint32) *Kind
	// Check judges a change by itself: form, size, single fields. It reads nothing
	// else and runs on both ends.
	Check(c *tandemv1.Change) *Refusal
	// Allowed judges the right of a role to an act on a kind, before any look-up,
	// so that a refusal tells nothing about what exists.
	Allowed(p *Principal, w *tandemv1.RecordWrite) bool
	// AllowedOn judges the right to act on the record as it stands (nil for a
	// create): ownership and transitions. Reach into the record's scopes is the
	// engine's own test. look reads other records that a right rests on.
	AllowedOn(p *Principal, w *tandemv1.RecordWrite, rec *Record, look Lookup) bool
	// CoAuthors returns who may write on a record of somebody else's as it stands, because
	// of what another record says; at most MaxCoAuthors, ascending. For the moment at which
	// it is sealed.
	CoAuthors(rec *Record, look Lookup) ([]ID, error)
	// AllowedBeside judges the right of one of those to write beside the record, which is
	// sealed since, what they may have written before they knew.
	AllowedBeside(p *Principal, w *tandemv1.RecordWrite, rec *Record) bool
	// Principal returns who a staff record describes: roles, teams, agency, and the
	// programs of those teams. Device and Replica are left to the caller.
	Principal(staff *Record, look Lookup) (*Principal, error)
	// Scopes returns the scopes that a record belongs to by itself, and the records
	// that must follow it into those of its team (a person follows an encounter).
	Scopes(org ID, rec *Record, look Lookup) (own []ScopeKey, followers []ID, err error)
	// FollowScopes returns the scopes in which a follower joins a record of team.
	FollowScopes(follower *Record, team ID) []ScopeKey
	// Grants returns the scopes that a principal may hold.
	Grants(org ID, p *Principal) []ScopeKey
	// MayRead reports whether a principal may read what stands in scopes, be it only by
	// looking it up: what they hold, and what their role reaches beyond that.
	MayRead(org ID, p *Principal, scopes []ScopeKey, look Lookup) (bool, error)
	// BreaksGlass reports whether somebody's work is such that they may open a person's
	// record in an emergency; subject is that record, nil where it is not known.
	BreaksGlass(p *Principal, subject *Record) bool
	// MayReadInEmergency reports whether such a one may then read what stands in scopes.
	MayReadInEmergency(org ID, p *Principal, scopes []ScopeKey, look Lookup) (bool, error)
	// About returns the records that one is about (the person of a visit, the call), for
	// who looks for all there is about one.
	About(rec *Record) []ID
	// Project returns the records that the server keeps in step with rec, and with those
	// about it. by is the author of the change that brought rec to where it is, zero for
	// the server, and atMS its time.
	Project(rec *Record, look Lookup, about LookAbout, by ID, atMS int64) ([]Projection, error)
	// Staff reports whether records of a kind say what a person is granted.
	Staff(kind uint32) bool
	// Supervises reports whether a principal may look into what lies in quarantine and
	// decide on it, where their grants cover what it names.
	Supervises(p *Principal) bool
	// Oversees reports whether a principal may see that something lies in quarantine,
	// whatever it names: ids, sizes, codes and times.
	Oversees(p *Principal) bool
	// Review returns names of the rules over several fields (rule_V1 …) that the
	// merged state breaks, for a human to look at.
	Review(rec *Record) []string
	// ReviewAmong does so for rules over several records, after a change of rec: of rec
	// and what it names, and of those about rec that read it. Nothing of it is an answer
	// to the change's author.
	ReviewAmong(rec *Record, look Lookup, about LookAbout) ([]Finding, error)
}
