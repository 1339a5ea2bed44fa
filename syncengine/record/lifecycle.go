package record

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Lifecycle codes that several kinds share.
const (
	Active     = "active"
	Draft      = "draft"
	Open       = "open"
	Cleared    = "cleared"
	Signed     = "signed"
	Amended    = "amended"
	Locked     = "locked"
	Closed     = "closed"
	Merged     = "merged"
	Retired    = "retired"
	Void       = "void"
	OnHold     = "on_hold"
	Planned    = "planned"
	Done       = "done"
	Missed     = "missed"
	Cancelled  = "cancelled"
	Declined   = "declined"
	Expired    = "expired"
	Revoked    = "revoked"
	Proposed   = "proposed"
	Superseded = "superseded"
	Recorded   = "recorded"
	Published  = "published"
)

// sealed lists the lifecycle codes under which plain writes are kept and no
// longer displayed.
var sealed = map[string]bool{Signed: true, Amended: true, Locked: true, Void: true, Merged: true, Published: true}

// done lists the codes, of lifecycle and state, that end the work on a record: it
// leaves the open tier. Signed encounters stay open, since their follow-up runs.
var done = map[string]bool{
	Locked: true, Closed: true, Void: true, Merged: true,
	Done: true, Missed: true, Cancelled: true,
	Declined: true, Expired: true, Revoked: true,
	Retired: true, Superseded: true,
}

// safest lists, for lifecycles of which the most cautious head is displayed, the codes
// from the least to the most cautious: a consent that somebody revoked is revoked,
// whatever else was written meanwhile, and an alert that somebody keeps up is shown.
var safest = map[string][]string{
	"lifecycle_consent":      {Active, Expired, Declined, Revoked, Void},
	"lifecycle_safety_alert": {Void, Retired, Expired, Proposed, Active},
}

// steps are the transitions of one state machine: from a code to the codes that
// may follow it.
type steps map[string][]string

// transitions holds a table for each code list that is a state machine. Staying
// is always legal, void is reached from everywhere that knows it, and a restore
// leads from void back to any code: which one, the record's history says. The
// amendment of a locked incident leaves it locked.
var transitions = map[string]steps{
	"lifecycle_reference": {
		Active:  {Retired},
		Retired: {Active},
		Void:    {},
	},
	"lifecycle_device": {
		Active: {},
		Void:   {},
	},
	"lifecycle_incident": {
		Open:    {Cleared},
		Cleared: {Locked},
		Locked:  {},
		Void:    {},
	},
	// A merge can be taken back.
	"lifecycle_person": {
		Active: {Merged},
		Merged: {Active},
		Void:   {},
	},
	// What is proposed is not for use until somebody has approved it.
	"lifecycle_resource": {
		Active:   {Retired},
		Proposed: {Active, Retired},
		Retired:  {Active},
		Void:     {},
	},
	"lifecycle_alert_card": {
		Active:  {Retired},
		Retired: {Active},
		Void:    {},
	},
	// A lead's resolve alone, with a reason, opens a closed one again.
	"lifecycle_episode": {
		Active: {OnHold, Closed},
		OnHold: {Active, Closed},
		Closed: {},
		Void:   {},
	},
	// A new date is a new record.
	"lifecycle_follow_up": {
		Planned:   {Done, Missed, Cancelled},
		Done:      {},
		Missed:    {},
		Cancelled: {},
		Void:      {},
	},
	"lifecycle_consent": {
		Active:   {Expired, Revoked},
		Expired:  {Revoked},
		Declined: {},
		Revoked:  {},
		Void:     {},
	},
	// An alert that has expired or was retired may be put up again, by a new approval.
	"lifecycle_safety_alert": {
		Proposed: {Active, Retired},
		Active:   {Expired, Retired},
		Expired:  {Active, Retired},
		Retired:  {Active},
		Void:     {},
	},
	"lifecycle_attachment": {
		Active:     {Superseded},
		Superseded: {Active},
		Void:       {},
	},
	"lifecycle_recorded": {
		Recorded: {},
		Void:     {},
	},
	"lifecycle_encounter": signedKind,
	"lifecycle_note":      signedKind,
	"lifecycle_form": {
		Draft:     {Published},
		Published: {Retired},
		Retired:   {},
		Void:      {},
	},
	"lifecycle_form_response": signedKind,
	"lifecycle_referral": {
		Active: {},
		Void:   {},
	},
	// Skips forward are legal, closing is legal from everywhere. Backward leads a
	// lead's resolve alone, with a reason: see rights.go.
	"referral_state": {
		Draft:          {"offered", "sent", "acknowledged", "accepted", "waitlisted", "scheduled", Closed},
		"offered":      {"sent", "acknowledged", "accepted", "waitlisted", "scheduled", Closed},
		"sent":         {"acknowledged", "accepted", "waitlisted", "scheduled", Closed},
		"acknowledged": {"accepted", "waitlisted", "scheduled", Closed},
		"accepted":     {"waitlisted", "scheduled", Closed},
		"waitlisted":   {"scheduled", Closed},
		"scheduled":    {Closed},
		Closed:         {},
	},
	// A device that was revoked or wiped may be enrolled anew.
	"device_state": {
		"enrolled":  {Active, "suspended", "revoked", "wipe_pending"},
		Active:      {"suspended", "revoked", "wipe_pending"},
		"suspended": {Active, "revoked", "wipe_pending"},
		"revoked":   {"enrolled", "wipe_pending"},
		// An order that was taken back before it was told.
		"wipe_pending": {"wiped", Active, "suspended", "revoked"},
		"wiped":        {"enrolled"},
	},
}

var signedKind = steps{
	Draft:   {Signed},
	Signed:  {Amended},
	Amended: {},
	Void:    {},
}

// legal reports whether a state machine may step from one raw value to another. A
// value that is absent may become any known one; none may become absent.
func (s steps) legal(from, to []byte) bool {
	next, ok := syncengine.RawString(to)
	if _, known := s[next]; !ok || !known {
		return false
	}
	if from == nil {
		return true
	}
	now, _ := syncengine.RawString(from)
	follow, known := s[now]
	return known && (now == next || now == Void || next == Void || slices.Contains(follow, next))
}

// Next returns the codes that may follow a code in a state machine, in the order
// of its code list; voiding and restoring, which are acts of their own, left out.
func (d *Domain) Next(list, code string) []string {
	l := d.lists[list]
	if l == nil {
		return nil
	}
	var next []string
	for _, c := range l.codes {
		if slices.Contains(transitions[list][code], c.GetCode()) {
			next = append(next, c.GetCode())
		}
	}
	return next
}

// plain are the lifecycle codes that need no act of their own.
var plain = []string{
	Active, Retired, Draft, Open, Cleared, OnHold, Planned, Done, Missed, Cancelled, Declined, Expired, Revoked, Superseded,
}

// actCodes lists, for each act, the lifecycle codes that it may write. An act on
// the whole record must write one; the others may leave the lifecycle alone. Plain
// writes never seal a record.
var actCodes = map[tandemv1.Act]struct {
	codes []string
	must  bool
}{
	tandemv1.Act_ACT_CREATE:  {codes: slices.Concat(plain, []string{Proposed, Recorded})},
	tandemv1.Act_ACT_SET:     {codes: plain},
	tandemv1.Act_ACT_APPEND:  {},
	tandemv1.Act_ACT_VOID:    {codes: []string{Void}, must: true},
	tandemv1.Act_ACT_RESTORE: {codes: slices.Concat(plain, []string{Proposed, Recorded, Closed, Locked, Signed, Amended, Merged, Published}), must: true},
	tandemv1.Act_ACT_RESOLVE: {codes: slices.Concat(plain, []string{Proposed, Recorded, Closed, Locked, Signed, Amended, Merged, Void, Published})},
	tandemv1.Act_ACT_SIGN:    {codes: []string{Signed, Published}, must: true},
	tandemv1.Act_ACT_AMEND:   {codes: []string{Amended, Locked}, must: true},
	tandemv1.Act_ACT_CLOSE:   {codes: []string{Cleared, Locked, Closed, Retired}},
	tandemv1.Act_ACT_MERGE:   {codes: []string{Merged}, must: true},
	tandemv1.Act_ACT_APPROVE: {codes: []string{Active}, must: true},
	tandemv1.Act_ACT_REVIEW:  {},
	tandemv1.Act_ACT_SHARE:   {},
}
