package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

const (
	// coalesce is how long one entry stands for further reads of the same record.
	coalesce = 15 * time.Minute
	// keptNotes is how many entries that the server has are kept, against its being
	// set back.
	keptNotes = 2000
	// proveEvery is how often the server is asked to prove its log.
	proveEvery = time.Hour
	// auditEvery is how often a running client delivers what it has noted.
	auditEvery = time.Minute
)

// notes are entries that wait for a transaction, and what has been read lately. Safe
// for concurrent use.
type notes struct {
	mu      sync.Mutex
	pending []*tandemv1.AuditEntry
	// read is when a record was last noted as read.
	read map[syncengine.ID]time.Time
}

// maxRead bounds what is remembered of reads; beyond it, one more entry is made.
const maxRead = 20_000

// fresh returns those records whose reading is not covered by an entry, and remembers
// them.
func (n *notes) fresh(ids []syncengine.ID, now time.Time) (out []syncengine.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.read == nil || len(n.read)+len(ids) > maxRead {
		n.read = map[syncengine.ID]time.Time{}
	}
	for _, id := range ids {
		// A clock that was set back covers nothing.
		if at, ok := n.read[id]; ok && now.Sub(at) < coalesce && !now.Before(at) {
			continue
		}
		n.read[id] = now
		out = append(out, id)
	}
	return out
}

func (n *notes) add(e *tandemv1.AuditEntry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = append(n.pending, e)
}

func (n *notes) waiting() []*tandemv1.AuditEntry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.pending)
}

func (n *notes) any() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.pending) > 0
}

// done takes away the first of those that wait.
func (n *notes) done(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = n.pending[count:]
}

// Note adds an entry to the device's audit chain: an unlock, a lock, a wrong PIN, what
// was gone through and what for. It is on the disk when Note returns nil, except while
// another transaction is under way, which takes it along.
func (c *Client) Note(ctx context.Context, e *tandemv1.AuditEntry) error {
	e.AtMs = c.opts.Now().UnixMilli()
	c.store.notes.add(e)
	if !c.store.mu.TryLock() {
		// Perhaps the caller's own.
		return nil
	}
	c.store.mu.Unlock()
	err := c.store.write(context.WithoutCancel(ctx), "noting for the audit log", func(*tx) error { return nil })
	if errors.Is(err, ErrDiskFull) || errors.Is(err, ErrStorage) {
		// Whoever stands at a bed needs the chart: the entry waits for room.
		c.log.Error().Err(err).Msg("audit entry waits: the disk takes nothing")
		return nil
	}
	return err
}

// noteReads notes which case records are handed out.
func (c *Client) noteReads(ctx context.Context, act tandemv1.AuditAct, views ...*View) error {
	var ids []syncengine.ID
	for _, v := range views {
		if v != nil && (v.Kind == nil || v.rec.Compartment(v.Kind) > tandemv1.Compartment_COMPARTMENT_REF) {
			ids = append(ids, v.ID)
		}
	}
	// A search is an entry though it finds nothing, or nothing that was not just seen.
	search := act == tandemv1.AuditAct_AUDIT_ACT_SEARCHED
	found := len(ids)
	if ids = c.store.notes.fresh(ids, c.opts.Now()); len(ids) == 0 && !search {
		return nil
	}
	for first := true; first || len(ids) > 0; first = false {
		const most = 500
		some := ids[:min(len(ids), most)]
		ids = ids[len(some):]
		e := &tandemv1.AuditEntry{Act: act, Count: uint64(len(some)), Records: encodeIDs(some)}
		if search {
			e.Count = uint64(found)
		}
		if act == tandemv1.AuditAct_AUDIT_ACT_READ {
			e.Subject, e.Records, e.Count = some[0][:], nil, 0
			if k := views[0].Kind; k != nil {
				e.Kind = k.Number
			}
		}
		if err := c.Note(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// auditChain is where the chain of this store stands.
type auditChain struct {
	replica      syncengine.ID
	number, kept uint64
	hash         syncengine.Hash
}

func (t *tx) auditChain() (*auditChain, error) {
	ch := &auditChain{}
	err := t.row(`SELECT replica, number, hash, kept FROM audit_chain`, nil, (*idColumn)(&ch.replica), &ch.number, (*hashColumn)(&ch.hash), &ch.kept)
	return ch, err
}

func (t *tx) saveAuditChain(ch *auditChain) error {
	return t.exec(`INSERT INTO audit_chain (one, replica, number, hash, kept) VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (one) DO UPDATE SET replica = $1, number = $2, hash = $3, kept = $4`, ch.replica[:], int64(ch.number), ch.hash[:], int64(ch.kept))
}

func (t *tx) addAudit(ch *auditChain, raw []byte) error {
	ch.number++
	ch.hash = audit.ChainHash(ch.replica, ch.number, ch.hash, raw)
	return t.exec(`INSERT INTO audit_entry (n, entry) VALUES ($1, $2)`, int64(ch.number), raw)
}

// noteAll puts what waits into the chain, and returns how many that were. Before
// enrolment nobody has read anything.
func (t *tx) noteAll() (int, error) {
	entries := t.s.notes.waiting()
	if len(entries) == 0 {
		return 0, nil
	}
	st, err := t.State()
	if errors.Is(err, ErrNotEnrolled) {
		return len(entries), nil
	}
	if err != nil {
		return 0, err
	}
	ch, err := t.chainOf(st)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		e.Person = st.Person[:]
		raw, err := audit.Encode(e)
		if err != nil {
			return 0, fmt.Errorf("encoding an audit entry: %w", err)
		}
		if err := t.addAudit(ch, raw); err != nil {
			return 0, err
		}
	}
	return len(entries), t.saveAuditChain(ch)
}

// chainOf returns the chain of the present replica. Where the store has got another name
// since, what the server does not have yet begins a chain under that one, behind an entry
// that says where it comes from.
func (t *tx) chainOf(st *syncengine.DeviceState) (*auditChain, error) {
	was, err := t.auditChain()
	if err != nil || was.replica == st.Replica {
		return was, err
	}
	ch := &auditChain{replica: st.Replica}
	if was.number == 0 {
		return ch, nil
	}
	moved, err := audit.Encode(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_CHAIN_MOVED, AtMs: st.LastContactMS, Person: st.Person[:],
		Replica: was.replica[:], Number: was.number, Hash: was.hash[:],
	})
	if err != nil {
		return nil, fmt.Errorf("encoding an audit entry: %w", err)
	}
	left, err := t.auditEntries(was.kept, -1)
	if err != nil {
		return nil, err
	}
	if err := t.exec(`DELETE FROM audit_entry`); err != nil {
		return nil, err
	}
	if err := t.exec(`DELETE FROM meta WHERE key = $1`, metaAuditHash); err != nil {
		return nil, err
	}
	for _, raw := range append([][]byte{moved}, left...) {
		if err := t.addAudit(ch, raw); err != nil {
			return nil, err
		}
	}
	return ch, t.saveAuditChain(ch)
}

// auditEntries returns the entries beyond one, at most limit, all for -1.
func (t *tx) auditEntries(after uint64, limit int) (entries [][]byte, err error) {
	err = t.rows(`SELECT entry FROM audit_entry WHERE n > $1 ORDER BY n LIMIT +$2`, []any{int64(after), int64(limit)}, func(scan func(...any) error) error {
		var raw []byte
		err := scan(&raw)
		entries = append(entries, raw)
		return err
	})
	return entries, err
}

// keepCheckpoint keeps the checkpoint that came with an answer. Of those that are not
// proved yet the newest is enough.
func (c *Client) keepCheckpoint(t *tx, me *identity, st *syncengine.DeviceState, trailer *tandemv1.Trailer, epoch bool) error {
	if epoch {
		// What the server had may be lost with its database.
		if err := t.exec(`UPDATE audit_chain SET kept = coalesce((SELECT min(n) - 1 FROM audit_entry), kept)`); err != nil {
			return err
		}
	}
	if len(trailer.GetAudit()) == 0 {
		return nil
	}
	now, _ := syncengine.IDFromBytes(trailer.GetEpoch())
	cp, err := audit.Unpack(st.Org, now, trailer.GetAudit())
	keys := orgKeys(me, trailer.GetRenewal())
	if err == nil && !cp.Signed(keys[len(keys)-1]) && slices.ContainsFunc(keys, cp.Signed) {
		// It is of a time before: the next one is signed with the newest key.
		return nil
	}
	if err != nil || !cp.Signed(keys[len(keys)-1]) {
		c.log.Error().Msg("the server has sent a checkpoint of its audit log that is not signed by the organization's key")
		return nil //nolint:nilerr // It proves nothing, and is not kept.
	}
	newest, err := t.newestCheckpoint(st.Org, now)
	if err != nil || newest != nil && newest.Size >= cp.Size {
		return err
	}
	if newest != nil {
		if err := t.exec(`DELETE FROM audit_checkpoint WHERE epoch = $1 AND linked = 0`, now[:]); err != nil {
			return err
		}
	}
	return t.saveCheckpoint(cp, boolColumn(newest == nil))
}

// nameCheckpoint says in a request which checkpoint the device has.
func (t *tx) nameCheckpoint(req *tandemv1.SyncRequest) error {
	return t.row(`SELECT coalesce(max(size), 0) FROM audit_checkpoint WHERE epoch = $1`, []any{req.GetEpoch()}, &req.AuditSize)
}

func (t *tx) saveCheckpoint(cp *audit.Checkpoint, linked int64) error {
	return t.exec(`INSERT INTO audit_checkpoint (epoch, size, at, root, signature, linked) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (epoch, size) DO UPDATE SET linked = max(linked, $6)`, cp.Epoch[:], cp.Size, cp.AtMS, cp.Root[:], cp.Signature, linked)
}

func (t *tx) newestCheckpoint(org, epoch syncengine.ID) (*audit.Checkpoint, error) {
	some, err := t.checkpoints(org, `WHERE epoch = $1 ORDER BY size DESC LIMIT 1`, epoch[:])
	if err != nil || len(some) == 0 {
		return nil, err
	}
	return some[0], nil
}

func (t *tx) checkpoints(org syncengine.ID, tail string, args ...any) (all []*audit.Checkpoint, err error) {
	err = t.rows(`SELECT epoch, size, at, root, signature FROM audit_checkpoint `+tail, args, func(scan func(...any) error) error {
		cp := &audit.Checkpoint{Org: org}
		var root syncengine.Hash
		err := scan((*idColumn)(&cp.Epoch), &cp.Size, &cp.AtMS, (*hashColumn)(&root), &cp.Signature)
		cp.Root = audit.Hash(root)
		all = append(all, cp)
		return err
	})
	return all, err
}

// metaRewritten holds, in words, that the server's audit log was rewritten.
const metaRewritten = "audit_rewritten"

// AuditKept is what a device keeps of the server's audit log, and of its own chain.
type AuditKept struct {
	Org syncengine.ID
	Key ed25519.PublicKey
	// Successors are how Key followed from the org's first.
	Successors []*tandemv1.OrgSuccessor
	// Checkpoints as the server signed them.
	Checkpoints []*audit.Checkpoint
	// Rewritten says in words that the server's log does not hold one of them; empty
	// where that is not so.
	Rewritten string
	// Entries of the device's own chain, Unsent of those that are not at the server.
	Entries, Unsent uint64
}

// Audit returns what the device keeps of the audit log.
func (c *Client) Audit(ctx context.Context) (*AuditKept, error) {
	me, err := c.identity()
	if err != nil {
		return nil, err
	}
	out := &AuditKept{Key: me.answer.GetOrgKey(), Successors: me.answer.GetSuccessors()}
	err = c.store.write(ctx, "reading what is kept of the audit log", func(t *tx) error {
		st, err := t.State()
		if err != nil {
			return err
		}
		out.Org = st.Org
		if out.Checkpoints, err = t.checkpoints(st.Org, `ORDER BY at`); err != nil {
			return err
		}
		ch, err := t.auditChain()
		if err != nil {
			return err
		}
		out.Entries, out.Unsent = ch.number, ch.number-ch.kept
		words, err := t.meta(metaRewritten)
		out.Rewritten = string(words)
		return err
	})
	return out, err
}

// sendAudit delivers emergencies and audit entries beside a sync: what cannot be delivered
// now waits.
func (c *Client) sendAudit(ctx context.Context) error {
	return c.auditWaits(c.bringAudit(ctx))
}

// sendLastAudit is sendAudit before a wipe: what a broken connection holds back does not go
// with the store, but with the next contact.
func (c *Client) sendLastAudit(ctx context.Context) error {
	err := c.bringAudit(ctx)
	if errors.Is(err, ErrNetwork) || errors.Is(err, ErrBusy) {
		return err
	}
	return c.auditWaits(err)
}

func (c *Client) bringAudit(ctx context.Context) error {
	if err := c.reportEmergencies(ctx); err != nil {
		return err
	}
	return c.deliverAudit(ctx)
}

// auditWaits takes it that the server did not take what was noted.
func (c *Client) auditWaits(err error) error {
	if contact, ok := errors.AsType[*ContactError](err); ok {
		c.log.Warn().Err(contact).Msg("audit entries wait")
		return nil
	}
	return err
}

// deliverAudit brings what was noted to the server, and has its log proved now and
// then. There is most often nothing to do.
func (c *Client) deliverAudit(ctx context.Context) error {
	way, me, err := c.way()
	if err != nil {
		return err
	}
	for {
		req, anchor, more, err := c.planAudit(ctx, me)
		if err != nil || req == nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, slack+lookupTime)
		resp, err := way.audit(call, req)
		cancel()
		if err != nil {
			return err
		}
		if err := c.store.write(context.WithoutCancel(ctx), "noting what the audit log holds", func(t *tx) error {
			return c.audited(t, me, req, anchor, resp)
		}); err != nil || !more {
			return err
		}
	}
}

// planAudit makes the next request; nil where there is nothing to say.
func (c *Client) planAudit(ctx context.Context, me *identity) (req *tandemv1.AuditRequest, anchor *audit.Checkpoint, more bool, err error) {
	now := c.opts.Now()
	c.mu.Lock()
	due := now.Sub(c.proved) >= proveEvery || now.Before(c.proved)
	c.mu.Unlock()
	err = c.store.write(ctx, "planning a delivery to the audit log", func(t *tx) error {
		st, err := t.State()
		if err != nil || st.Unconfirmed || st.Forked || st.Replica != me.replica {
			return err
		}
		ch, err := t.chainOf(st)
		if err != nil {
			return err
		}
		all, err := t.auditEntries(ch.kept, audit.MaxEntries)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			prev, err := t.chainBefore(ch)
			if err != nil {
				return err
			}
			at := prev
			for i, raw := range all {
				at = audit.ChainHash(ch.replica, ch.kept+1+uint64(i), at, raw)
			}
			last := ch.kept + uint64(len(all))
			req = &tandemv1.AuditRequest{First: ch.kept + 1, Prev: prev[:], Entries: all, Signature: audit.SignChain(me.key, ch.replica, last, at)}
			more = last < ch.number
		}
		if !due && req == nil {
			return nil
		}
		linked, err := t.checkpoints(st.Org, `WHERE linked = 1 AND epoch = (SELECT epoch FROM audit_checkpoint ORDER BY at DESC LIMIT 1) ORDER BY size DESC LIMIT 1`)
		if err != nil || len(linked) == 0 {
			return err
		}
		newest, err := t.newestCheckpoint(st.Org, linked[0].Epoch)
		if err != nil || newest.Size == linked[0].Size {
			return err
		}
		if req == nil {
			req = &tandemv1.AuditRequest{}
		}
		anchor = linked[0]
		req.Checkpoint, req.Epoch = anchor.Pack(), anchor.Epoch[:]
		return nil
	})
	return req, anchor, more, err
}

// chainBefore returns the hash of the chain before the first entry that is to be sent.
func (t *tx) chainBefore(ch *auditChain) (syncengine.Hash, error) {
	if ch.kept == 0 {
		return syncengine.Hash{}, nil
	}
	var hash syncengine.Hash
	raw, err := t.meta(metaAuditHash)
	if err != nil {
		return hash, err
	}
	const size = 8 + len(hash)
	for ; len(raw) >= size; raw = raw[size:] {
		if binary.BigEndian.Uint64(raw) == ch.kept {
			return syncengine.Hash(raw[8:size]), nil
		}
	}
	return hash, fmt.Errorf("the audit chain: %w", ErrDamaged)
}

// metaAuditHash holds numbers of the chain with its hash there: 8 bytes big endian and
// 32 each, of the oldest entry that is kept and of the newest that the server has.
const metaAuditHash = "audit_hash"

// audited takes in what the server says.
func (c *Client) audited(t *tx, me *identity, req *tandemv1.AuditRequest, anchor *audit.Checkpoint, resp *tandemv1.AuditResponse) error {
	st, err := t.State()
	if err != nil {
		return err
	}
	ch, err := t.auditChain()
	if err != nil || len(req.GetEntries()) > 0 && ch.replica != me.replica {
		return err
	}
	if kept := resp.GetKept(); len(req.GetEntries()) > 0 && kept >= req.GetFirst() && kept < req.GetFirst()+uint64(len(req.GetEntries())) {
		if err := t.settleAudit(ch, req, kept); err != nil {
			return err
		}
	}
	if anchor == nil {
		return nil
	}
	c.mu.Lock()
	c.proved = c.opts.Now()
	c.mu.Unlock()
	epoch, _ := syncengine.IDFromBytes(resp.GetEpoch())
	cp, err := audit.Unpack(st.Org, epoch, resp.GetCheckpoint())
	if err != nil || !cp.Signed(me.answer.GetOrgKey()) {
		return nil //nolint:nilerr // No answer to what was asked; it is asked again.
	}
	if cp.Epoch != anchor.Epoch {
		// The server was set back. What it had signed before stays here, for whoever
		// verifies the log.
		return t.exec(`UPDATE audit_checkpoint SET linked = 2 WHERE epoch = $1`, anchor.Epoch[:])
	}
	bad := resp.GetUnknown() || !audit.Extends(cp, anchor, resp.GetProof())
	if newest, err := t.newestCheckpoint(st.Org, anchor.Epoch); err != nil {
		return err
	} else if !bad && newest.Size == cp.Size {
		bad = newest.Root != cp.Root
	}
	if !bad {
		return t.saveCheckpoint(cp, 1)
	}
	words := fmt.Sprintf("the server's audit log does not extend the checkpoint of %d entries that this device keeps: it was rewritten", anchor.Size)
	before, err := t.meta(metaRewritten)
	if err != nil || bytes.Equal(before, []byte(words)) {
		return err
	}
	c.log.Error().Int64("size", anchor.Size).Msg("the server's audit log was rewritten")
	if err := t.setMeta(metaRewritten, []byte(words)); err != nil {
		return err
	}
	raw, err := audit.Encode(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_LOG_REWRITTEN, AtMs: c.opts.Now().UnixMilli(), Person: st.Person[:],
		Checkpoint: anchor.Pack(), Epoch: anchor.Epoch[:],
	})
	if err != nil {
		return fmt.Errorf("encoding an audit entry: %w", err)
	}
	if err := t.addAudit(ch, raw); err != nil {
		return err
	}
	return t.saveAuditChain(ch)
}

// settleAudit notes what the server has, and lets go of what it has had for long.
func (t *tx) settleAudit(ch *auditChain, req *tandemv1.AuditRequest, kept uint64) error {
	marks := func(number uint64, hash syncengine.Hash) []byte {
		return append(binary.BigEndian.AppendUint64(nil, number), hash[:]...)
	}
	raw, err := t.meta(metaAuditHash)
	if err != nil {
		return err
	}
	oldest := raw[:min(len(raw), 8+len(ch.hash))]
	at := syncengine.Hash(req.GetPrev())
	for i, entry := range req.GetEntries() {
		number := req.GetFirst() + uint64(i)
		if number > kept {
			break
		}
		at = audit.ChainHash(ch.replica, number, at, entry)
	}
	if len(oldest) == 0 || kept > keptNotes && binary.BigEndian.Uint64(oldest) < kept-keptNotes {
		// All that came before this delivery has been there for long.
		if len(oldest) > 0 {
			if err := t.exec(`DELETE FROM audit_entry WHERE n < $1`, int64(req.GetFirst())); err != nil {
				return err
			}
			oldest = marks(req.GetFirst()-1, syncengine.Hash(req.GetPrev()))
		} else {
			oldest = marks(0, syncengine.Hash{})
		}
	}
	ch.kept = kept
	if err := t.setMeta(metaAuditHash, append(slices.Clone(oldest), marks(kept, at)...)); err != nil {
		return err
	}
	return t.saveAuditChain(ch)
}

// auditLoop delivers, while Run runs, what was noted. Where the last try of another loop
// came to nothing it makes none of its own: it would cost a battery what it cannot bring,
// and when the signal is back, what somebody waits for goes first.
func (c *Client) auditLoop(ctx context.Context) error {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.unsent.Load() || c.unheard.Load() {
			continue
		}
		if err := c.pushed(ctx); err != nil {
			return err
		}
		if err := c.sendAudit(ctx); fatal(ctx, err) {
			return err
		}
	}
}

// audit sends entries and returns the answer.
func (l *link) audit(ctx context.Context, req *tandemv1.AuditRequest) (*tandemv1.AuditResponse, error) {
	return call(ctx, &contact{}, func(ctx context.Context) (*tandemv1.AuditResponse, error) { return l.sync.Audit(ctx, req) })
}
