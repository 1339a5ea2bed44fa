package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Reasons for which a record asks for a lead. The numbers stand in the database.
const (
	unreviewed = iota + 1
	returned
	flagged
	danger
	force
	draft
	followUp
	episode
	conflict
	alert
	referral
	twin
)

// What was done, with when: no reason to look at it.
const (
	didCall = iota + 101
	didCrisis
	didFollowUp
	didReferral
)

// lately is how far back what was done is kept at hand: what is older goes when a desk is worked out.
const lately = 35 * dayMS

// dayMS is a day in milliseconds.
const dayMS = int64(24 * time.Hour / time.Millisecond)

// Bounds of working out: so many rows in one transaction, so long before a page is shown
// with what there is.
const (
	portion  = 400
	patience = 2 * time.Second
)

// reviewable are the kinds that a lead reviews: signed ones, and calls where force was
// used.
var reviewable = []string{"encounter", "note", "form_response", "incident"}

// asking are the kinds that may ask for a lead.
var asking = append([]string{"follow_up", "episode", "safety_alert", "referral", "person", "consent"}, reviewable...)

// deskOf is the desk of a scope, and whether it belongs to one.
func deskOf(k syncengine.ScopeKey) (syncengine.ScopeKey, bool) {
	k.Open = true
	return k, k.Owner == syncengine.OwnerTeam && k.Compartment != tandemv1.Compartment_COMPARTMENT_PRIVATE
}

// errSorting says that the queue could not be brought up to date.
var errSorting = errors.New("the queue could not be sorted")

// workOut takes in what has changed at some desks. Where that takes long it goes on by
// itself, and behind says so.
func (c *Console) workOut(ctx context.Context, org syncengine.ID, desks []syncengine.ScopeKey) (behind bool, err error) {
	left, err := c.left(ctx, org, desks)
	if err != nil || !left {
		return false, err
	}
	lock := c.lock(org)
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case lock <- struct{}{}:
	case <-wait.C:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// It goes on without the page.
	done := make(chan error, 1)
	go func() {
		defer func() { <-lock }()
		defer func() {
			// It is on no request's own goroutine: a record that nobody can read ends no server.
			if fault := recover(); fault != nil {
				c.o.Log.Error().Str("panic", fmt.Sprintf("%T", fault)).Bytes("stack", debug.Stack()).Msg("sorting the queue failed")
				done <- errSorting
			}
		}()
		err := c.takeIn(context.WithoutCancel(ctx), org, desks)
		if err != nil {
			c.o.Log.Error().Err(err).Msg("the queue was not sorted to its end")
		}
		done <- err
	}()
	select {
	case err := <-done:
		return false, err
	case <-wait.C:
		return true, nil
	}
}

func (c *Console) lock(org syncengine.ID) chan struct{} {
	c.workingMu.Lock()
	defer c.workingMu.Unlock()
	if c.working[org] == nil {
		c.working[org] = make(chan struct{}, 1)
	}
	return c.working[org]
}

// tiers are the two scopes of a desk.
func tiers(desk syncengine.ScopeKey) []syncengine.ScopeKey {
	rest := desk
	rest.Open = false
	return []syncengine.ScopeKey{desk, rest}
}

// left reports whether something has changed at a desk that is not worked out.
func (c *Console) left(ctx context.Context, org syncengine.ID, desks []syncengine.ScopeKey) (left bool, err error) {
	err = c.store.ReadDesk(ctx, org, func(view store.DeskView) error {
		for _, desk := range desks {
			for _, scope := range tiers(desk) {
				seq, rec, err := view.Worked(scope)
				if err != nil {
					return err
				}
				members, err := view.Members(scope, seq, rec, 1)
				if err != nil || len(members) > 0 {
					left = true
					return err
				}
			}
		}
		return nil
	})
	return left, err
}

// takeIn works desks out to the end, portion by portion.
func (c *Console) takeIn(ctx context.Context, org syncengine.ID, desks []syncengine.ScopeKey) error {
	for _, desk := range desks {
		for _, scope := range tiers(desk) {
			for more := true; more; {
				select {
				case <-c.srv.Ending().Done():
					return nil
				default:
				}
				err := c.store.Write(ctx, org, portion, func(tx *store.Tx) (err error) {
					more, err = c.portion(tx, desk, scope)
					return err
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// portion works out the next rows of a scope.
func (c *Console) portion(tx *store.Tx, desk, scope syncengine.ScopeKey) (more bool, err error) {
	seq, last, err := tx.Worked(scope)
	if err != nil {
		return false, err
	}
	members, err := tx.Members(scope, seq, last, portion)
	if err != nil || len(members) == 0 {
		return false, err
	}
	ids := make([]syncengine.ID, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.Record)
	}
	recs, err := tx.Records(ids)
	if err != nil {
		return false, err
	}
	for _, rec := range recs {
		if err := c.recordWork(tx, desk, rec); err != nil {
			return false, err
		}
		if kind := c.domain.Kind(rec.Kind); kind == nil || kind.Name != "review" {
			continue
		}
		// A review is about another record, which it takes off the list.
		for _, id := range c.domain.About(&rec.Record) {
			target, err := tx.Record(id)
			if err != nil {
				return false, err
			}
			if target != nil {
				if err := c.recordWork(tx, desk, target); err != nil {
					return false, err
				}
			}
		}
	}
	for reason := didCall; reason <= didReferral; reason++ {
		if err := tx.DropWork(desk, reason, c.o.Clock().UnixMilli()-lately); err != nil {
			return false, err
		}
	}
	end := members[len(members)-1]
	return len(members) == portion, tx.SetWorked(scope, end.Seq, end.Record)
}

// recordWork works one record out, at each desk that it is at, and at one that it may have
// left.
func (c *Console) recordWork(tx *store.Tx, desk syncengine.ScopeKey, rec *syncengine.StoredRecord) error {
	kind := c.domain.Kind(rec.Kind)
	if kind == nil || !slices.Contains(asking, kind.Name) {
		return nil
	}
	reviews, err := c.reviewsOf(tx, rec, kind)
	if err != nil {
		return err
	}
	at := map[syncengine.ScopeKey]bool{desk: false}
	for _, k := range rec.Scopes {
		if d, ok := deskOf(k); ok {
			at[d] = true
		}
	}
	for d, here := range at {
		if kind.Name == "person" {
			if err := c.liken(tx, d, rec, here); err != nil {
				return err
			}
		}
		if err := c.placeWork(tx, d, rec, here, reviews); err != nil {
			return err
		}
	}
	return nil
}

// placeWork puts what a record asks for at a desk in the place of what it asked for.
func (c *Console) placeWork(tx *store.Tx, d syncengine.ScopeKey, rec *syncengine.StoredRecord, here bool, reviews []decision) error {
	var rows []store.Work
	if here {
		kind := c.domain.Kind(rec.Kind)
		rows = c.reasons(rec, kind, reviews)
		if kind.Name == "person" {
			twins, err := c.twins(tx, d, rec)
			if err != nil {
				return err
			}
			if len(twins) > 0 {
				made, err := rec.Origin()
				if err != nil {
					return err
				}
				rows = append(rows, store.Work{Reason: twin, DueMS: made.AtMS, Record: rec.ID, Person: made.Author})
			}
		}
	}
	old, err := tx.WorkOf(d, rec.ID)
	if err != nil || len(old) == 0 && len(rows) == 0 {
		return err
	}
	return tx.SetWork(d, rec.ID, rows)
}

// decision is a review of a record.
type decision struct {
	id       syncengine.ID
	seq      uint64
	rev      uint32
	hash     []byte
	decision string
	msg      *tandemv1.Review
}

// reviewsOf returns the reviews of a record by leads of a team that it is with, in the
// order in which the server took them.
func (c *Console) reviewsOf(view syncengine.ServerView, rec *syncengine.StoredRecord, kind *syncengine.Kind) (out []decision, err error) {
	if !slices.Contains(reviewable, kind.Name) {
		return nil, nil
	}
	ids, err := view.About(rec.ID, math.MaxInt32)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	recs, err := view.Records(ids)
	if err != nil {
		return nil, err
	}
	number := c.domain.KindByName("review").Number
	for _, r := range recs {
		if r.Kind != number || r.Lifecycle() == record.Void || !together(rec, r) || !slices.Contains(c.domain.About(&r.Record), rec.ID) {
			continue
		}
		msg, err := c.domain.Message(&r.Record)
		if err != nil {
			return nil, err
		}
		m, ok := msg.(*tandemv1.Review)
		if !ok {
			continue
		}
		out = append(out, decision{id: r.ID, seq: r.Seq, rev: m.GetRev(), hash: m.GetStateHash(), decision: m.GetDecision(), msg: m})
	}
	slices.SortFunc(out, func(a, b decision) int { return int(int64(a.seq) - int64(b.seq)) })
	return out, nil
}

// together reports whether two records are of one team.
func together(a, b *syncengine.StoredRecord) bool {
	return slices.ContainsFunc(a.Scopes, func(x syncengine.ScopeKey) bool {
		return x.Owner == syncengine.OwnerTeam && slices.ContainsFunc(b.Scopes, func(y syncengine.ScopeKey) bool {
			return y.Owner == syncengine.OwnerTeam && x.OwnerID == y.OwnerID
		})
	})
}

// standing is the latest decision on the state that a record is in, empty for none: on its
// revision for a signed kind, on exactly what stands there for any other.
func standing(state *syncengine.State, kind *syncengine.Kind, reviews []decision) string {
	hash := syncengine.HashSeen(state.Seen())
	for _, d := range slices.Backward(reviews) {
		if kind.Name != "incident" && d.rev == state.Rev && state.Rev > 0 || kind.Name == "incident" && bytes.Equal(d.hash, hash[:]) {
			return d.decision
		}
	}
	return ""
}

// reasons says why a record asks for a lead, and from when on.
func (c *Console) reasons(rec *syncengine.StoredRecord, kind *syncengine.Kind, reviews []decision) (work []store.Work) {
	life := rec.Lifecycle()
	if life == record.Void || life == record.Merged {
		return nil
	}
	msg, err := c.domain.Message(&rec.Record)
	if err != nil {
		return nil
	}
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return nil
	}
	with := staffOf(msg, state.Author)
	add := func(reason int, dueMS int64) {
		work = append(work, store.Work{Reason: reason, DueMS: dueMS, Record: rec.ID, Person: with})
	}
	if reason, atMS := did(msg, life); reason != 0 && atMS > c.o.Clock().UnixMilli()-lately {
		add(reason, atMS)
	}
	if !rec.Plain && len(state.Conflicts(kind)) > 0 {
		add(conflict, state.AtMS)
	}
	decided := standing(state, kind, reviews)
	if kind.Name != "incident" && slices.Contains(reviewable, kind.Name) && state.Import == nil {
		switch {
		case life == record.Draft:
			add(draft, state.AtMS+dayMS)
		case decided == "":
			add(unreviewed, signedAt(msg, state.AtMS))
		}
	}
	switch decided {
	case "returned":
		add(returned, state.AtMS)
	case "flagged":
		add(flagged, state.AtMS)
	}
	switch m := msg.(type) {
	case *tandemv1.Encounter:
		if decided == "" && state.Import == nil && (m.GetDangerSelf() == "high" || m.GetDangerOthers() == "high") {
			add(danger, state.AtMS)
		}
	case *tandemv1.Incident:
		if decided == "" && state.Import == nil && m.GetForceUsed() == "yes" {
			add(force, state.AtMS)
		}
	case *tandemv1.FollowUp:
		if life == record.Planned && m.GetDueAt().GetAtMs() > 0 {
			add(followUp, m.GetDueAt().GetAtMs())
		}
	case *tandemv1.Episode:
		if life == record.Active || life == record.OnHold {
			add(episode, endsMS(m, state.AtMS)-15*dayMS)
		}
	case *tandemv1.SafetyAlert:
		if life == record.Proposed && m.GetAudience() == "team_with_le" {
			add(alert, state.AtMS)
		}
	case *tandemv1.Referral:
		if m.GetState() != "closed" {
			add(referral, state.AtMS)
		}
	}
	return work
}

// staffOf is the staff member that a record is with: whom a follow-up was given to, who
// leads an episode, zero for nobody; who made it of every other kind.
func staffOf(msg proto.Message, author syncengine.ID) syncengine.ID {
	var with string
	switch m := msg.(type) {
	case *tandemv1.FollowUp:
		with = m.GetStaffId()
	case *tandemv1.Episode:
		with = m.GetLeadStaffId()
	default:
		return author
	}
	id, err := syncengine.ParseID(with)
	if err != nil {
		return syncengine.ID{}
	}
	return id
}

// did is what was done by a record, and when; 0 for nothing that weeks are compared by.
func did(msg proto.Message, life string) (reason int, atMS int64) {
	at := func(moments ...*tandemv1.Instant) int64 {
		for _, i := range moments {
			if i.GetAtMs() > 0 && i.GetPrecision() != "month" {
				return i.GetAtMs()
			}
		}
		return 0
	}
	switch m := msg.(type) {
	case *tandemv1.Incident:
		return didCall, at(m.GetArrivedAt(), m.GetDispatchedAt(), m.GetReceivedAt())
	case *tandemv1.Encounter:
		if m.GetType() == "crisis_response" && (life == record.Signed || life == record.Amended) {
			return didCrisis, at(m.GetStartedAt())
		}
	case *tandemv1.FollowUp:
		if life == record.Done {
			return didFollowUp, at(m.GetOccurredAt())
		}
	case *tandemv1.Referral:
		if day, err := time.Parse(time.DateOnly, m.GetConnectedOn()); err == nil && m.GetState() == "closed" && m.GetOutcome() == "connected" {
			// The middle of the day lies in it by the clocks of nearly every zone.
			return didReferral, day.UnixMilli() + dayMS/2
		}
	}
	return 0, 0
}

// window is how many days an episode lasts.
func window(m *tandemv1.Episode) int {
	if d := m.GetWindowDays(); d > 0 {
		return int(min(d, 3650))
	}
	return 60
}

// endsMS is when the window of an episode is over: by its days, or with the day that it was
// extended to.
func endsMS(m *tandemv1.Episode, created int64) int64 {
	ends := openedMS(m, created) + int64(window(m))*dayMS
	if to, err := time.Parse(time.DateOnly, m.GetExtendedTo()); err == nil {
		ends = max(ends, to.UnixMilli()+dayMS)
	}
	return ends
}

func openedMS(m *tandemv1.Episode, created int64) int64 {
	if at := m.GetOpenedAt().GetAtMs(); at > 0 {
		return at
	}
	return created
}

// signedAt is when a record was signed; when it was made where it does not say.
func signedAt(msg proto.Message, created int64) int64 {
	if m, ok := msg.(interface{ GetSignedAt() *tandemv1.Instant }); ok && m.GetSignedAt().GetAtMs() > 0 {
		return m.GetSignedAt().GetAtMs()
	}
	return created
}
