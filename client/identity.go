package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// reinstanceContext is what the proof of possession of a new replica signs first.
const reinstanceContext = "tandem-reinstance-v1"

// Keys of the meta table for a replica that is being asked for.
const (
	metaNextKey     = "next_replica_key"
	metaNextReplica = "next_replica_id"
)

// mend does what a sync needs before it can go on: a replica id of its own for a
// store that is a copy or was set back, and the next steps of a comparison with the
// server. It returns when a sync is the next step.
func (c *Client) mend(ctx context.Context) error {
	if err := c.rescue(ctx); err != nil {
		return err
	}
	if err := c.clearBefore(ctx); err != nil {
		return err
	}
	if err := c.rekey(ctx); err != nil {
		return err
	}
	if !c.unwell.Load() {
		return nil
	}
	select {
	case c.mending <- struct{}{}:
		defer func() { <-c.mending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		forked, req, err := c.diagnose(ctx)
		switch {
		case err != nil:
			return err
		case forked:
			if err := c.reinstance(ctx); err != nil {
				return err
			}
			continue
		case req == nil:
			return nil
		}
		if going, err := c.compare(ctx, req); err != nil || !going {
			return err
		}
	}
}

// diagnose says what is to be mended now.
func (c *Client) diagnose(ctx context.Context) (forked bool, req *tandemv1.ReconcileRequest, err error) {
	c.mu.Lock()
	budget := uint32(c.pace.page)
	c.mu.Unlock()
	err = c.store.write(ctx, "planning a comparison", func(t *tx) error {
		st, err := t.State()
		if err != nil {
			return err
		}
		if forked = st.Forked; forked {
			return nil
		}
		c.unwell.Store(st.Repair.Stage == syncengine.RepairTotals || st.Repair.Stage == syncengine.RepairBuckets)
		req, err = c.device.PlanReconcile(t, budget)
		return err
	})
	return forked, req, err
}

// due reports whether there is something to be mended now.
func (c *Client) due(ctx context.Context) (bool, error) {
	if !c.unwell.Load() {
		return false, nil
	}
	forked, req, err := c.diagnose(ctx)
	return forked || req != nil, err
}

// compare makes one step of a comparison; going is false where a sync has to come
// before the next.
func (c *Client) compare(ctx context.Context, req *tandemv1.ReconcileRequest) (going bool, err error) {
	way, me, err := c.way()
	if err != nil {
		return false, err
	}
	call, cancel := context.WithTimeout(ctx, slack+time.Duration((proto.Size(req)+int(req.GetBudget()))/slowest)*time.Second)
	defer cancel()
	answer, err := way.compare(call, req)
	if err != nil {
		return false, err
	}
	var got *syncengine.Received
	err = c.store.write(context.WithoutCancel(ctx), "taking in a comparison", func(t *tx) error {
		st, err := t.State()
		if err != nil || st.Replica != me.replica {
			return err
		}
		got, err = c.device.ReceiveReconcile(t, req, answer)
		return err
	})
	if errors.Is(err, syncengine.ErrIncomplete) {
		return false, &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	if err != nil || got == nil {
		return false, err
	}
	if c.opts.OnChange != nil && len(got.Changed) > 0 {
		c.opts.OnChange(got.Changed)
	}
	return !got.Dropped, nil
}

// reinstance gives the store a replica id and key of its own. What it had not sent
// goes out under the new one; nothing that is shown changes, and saves go on.
func (c *Client) reinstance(ctx context.Context) error {
	select {
	case c.pushing <- struct{}{}:
		defer func() { <-c.pushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	way, me, err := c.way()
	if err != nil {
		return err
	}
	key, replica, err := c.prepare(ctx, metaNextKey, metaNextReplica)
	if err != nil {
		return err
	}
	req := &tandemv1.ReinstanceRequest{
		PublicKey: publicKey(key), Replica: replica[:], Follows: true,
		Proof: ed25519.Sign(key, append(append([]byte(reinstanceContext), me.replica[:]...), replica[:]...)),
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := call(limited, &contact{}, func(ctx context.Context) (*tandemv1.ReinstanceResponse, error) {
		return way.enroll.Reinstance(ctx, req)
	})
	if err != nil {
		return err
	}
	enrolment, err := followedOrg(me.answer, answer.GetSuccessors(), answer.GetCertificate(), key, replica)
	if err != nil {
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	return c.rename(ctx, me, key, replica, enrolment, "this store is a copy of another one or was set back: it has an id of its own now, and sends again under it what was not sent")
}

// rename makes the store that of another replica: what was not sent goes out under it. Who
// calls holds pushing.
func (c *Client) rename(ctx context.Context, me *identity, key ed25519.PrivateKey, replica syncengine.ID, enrolment *tandemv1.EnrollResponse, note string) error {
	kept, err := proto.Marshal(enrolment)
	if err != nil {
		return fmt.Errorf("keeping the new identity: %w", err)
	}
	err = c.store.write(context.WithoutCancel(ctx), "taking a new identity", func(t *tx) error {
		st, err := t.State()
		if err != nil || st.Replica != me.replica {
			return err
		}
		if err := t.enrolledAs(me); err != nil {
			return err
		}
		if err := c.device.Reinstance(t, replica); err != nil {
			return err
		}
		if st, err = t.State(); err != nil {
			return err
		}
		renamed := *st
		renamed.Device, _ = syncengine.IDFromBytes(enrolment.GetDevice())
		if err := t.SaveState(&renamed); err != nil {
			return err
		}
		seed := key.Seed()
		for _, m := range []struct {
			key   string
			value []byte
		}{{metaKey, seed}, {metaReplica, replica[:]}, {metaEnrolment, kept}, {metaKeyAt, millis(c.opts.Now())}} {
			if err := t.setMeta(m.key, m.value); err != nil {
				return err
			}
		}
		if err := t.exec(`DELETE FROM meta WHERE key IN ($1, $2)`, metaNextKey, metaNextReplica); err != nil {
			return err
		}
		return t.addEvent(&Event{AtMS: c.opts.Now().UnixMilli(), Note: note})
	})
	if errors.Is(err, errRenewed) {
		// It is asked again, as what the store is now.
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	if err != nil {
		return err
	}
	c.log.Warn().Stringer("replica", me.replica).Stringer("now", replica).Msg("the store has another replica id now")
	// The sealed outbox goes on under the new identity: what is unsent is sealed again.
	if f := c.store.sealed.Swap(nil); f != nil {
		if err := f.close(); err != nil {
			c.log.Error().Err(err).Msg("sealed outbox not closed")
		}
	}
	if err := c.loadIdentity(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	old := c.link
	c.link, c.asked = nil, false
	c.mu.Unlock()
	if old != nil {
		old.close()
	}
	signal(c.work)
	return nil
}

// Confirm ends the time in which the store only sends: after it was copied or set
// back it has a new identity, which a one-time code of the same person confirms. An
// admin may confirm it instead. A store whose key was replaced elsewhere gets another
// identity with the code, and sends under it what was not sent.
func (c *Client) Confirm(ctx context.Context, code string) error {
	way, me, err := c.way()
	if err != nil {
		return err
	}
	code = foldCode(code)
	req := &tandemv1.EnrollRequest{
		Code: code, PublicKey: publicKey(me.key), Proof: ed25519.Sign(me.key, append([]byte(enrollContext+code), me.replica[:]...)),
		Replica: me.replica[:], Platform: runtime.GOOS + "/" + runtime.GOARCH, AppVersion: c.opts.Version, Schema: syncengine.Schema,
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	met := &contact{}
	_, err = call(ctx, met, func(ctx context.Context) (*tandemv1.EnrollResponse, error) { return way.enroll.Enroll(ctx, req) })
	if met.status == http.StatusConflict {
		return c.enrolAgain(ctx, way, me, code)
	}
	return enrollError(err)
}

// enrolAgain makes the store that of another replica by a code: its own has another key at
// the server.
func (c *Client) enrolAgain(ctx context.Context, way *link, me *identity, code string) error {
	select {
	case c.pushing <- struct{}{}:
		defer func() { <-c.pushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	key, replica, err := c.prepare(ctx, metaNextKey, metaNextReplica)
	if err != nil {
		return err
	}
	req := &tandemv1.EnrollRequest{
		Code: code, PublicKey: publicKey(key), Proof: ed25519.Sign(key, append([]byte(enrollContext+code), replica[:]...)),
		Replica: replica[:], Platform: runtime.GOOS + "/" + runtime.GOARCH, AppVersion: c.opts.Version, Schema: syncengine.Schema,
	}
	answer, err := call(ctx, &contact{}, func(ctx context.Context) (*tandemv1.EnrollResponse, error) { return way.enroll.Enroll(ctx, req) })
	if err != nil {
		return enrollError(err)
	}
	if !bytes.Equal(answer.GetPerson(), me.answer.GetPerson()) || !bytes.Equal(answer.GetOrg(), me.answer.GetOrg()) {
		// That identity is the other person's: the key that it needs is forgotten.
		err := c.store.write(context.WithoutCancel(ctx), "forgetting a key", func(t *tx) error {
			return t.exec(`DELETE FROM meta WHERE key IN ($1, $2)`, metaNextKey, metaNextReplica)
		})
		if err != nil {
			return err
		}
		return &ContactError{Kind: ErrRefused, Words: "the code is for another person than this store: ask for one of your own"}
	}
	if _, err := acceptEnrolment(answer, key, replica); err != nil {
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	org, _ := syncengine.IDFromBytes(me.answer.GetOrg())
	newest, _, err := syncengine.FollowOrgKey(org, me.answer.GetOrgKey(), answer.GetSuccessors())
	if err != nil || !newest.Equal(ed25519.PublicKey(answer.GetOrgKey())) {
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: errOrgKey}
	}
	return c.rename(ctx, me, key, replica, answer, "this store was enrolled again, and sends under its new id what was not sent")
}

// Repair has everything that the store holds compared with the server's at the next
// sync, and what differs fetched again. Saves go on meanwhile.
func (c *Client) Repair(ctx context.Context) error {
	err := c.store.write(ctx, "preparing a comparison", func(t *tx) error { return c.device.Repair(t) })
	c.unwell.Store(true)
	return err
}

// noteOf says in words what an answer did beyond moving rows; empty for nothing.
func noteOf(got *syncengine.Received, found uint64) string {
	switch {
	case got.Forked:
		return "the server has seen another store under the id of this one: this one is a copy, or was set back"
	case got.Epoch:
		return fmt.Sprintf("the server was restored from a backup: %d saves that it had received before are sent again", got.Reoffered)
	case len(got.Differing) > 0:
		return "what was held here was not identical to the server's: it is compared and mended by itself"
	case got.Repaired && found > 0:
		return fmt.Sprintf("compared with the server's: %d records were fetched again", found)
	case got.Repaired:
		return "compared with the server's: identical"
	}
	return ""
}
