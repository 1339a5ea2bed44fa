package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

// auditPush adds the entry of a push: what of it was judged now, and not before.
func auditPush(tx *store.Tx, before *syncengine.Replica, pushed []syncengine.Prepared, outcomes []*tandemv1.Outcome) error {
	if before == nil {
		return nil
	}
	after, err := tx.Replica(before.ID)
	if err != nil {
		return err
	}
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PUSHED, Person: before.Person[:], Replica: before.ID[:]}
	if after.Forked && !before.Forked {
		e.Act, e.Code, e.Count = tandemv1.AuditAct_AUDIT_ACT_REFUSED, "fork", uint64(len(pushed))
		return tx.Audit(e)
	}
	verdicts := make(map[uint64]*tandemv1.Outcome, len(outcomes))
	for _, o := range outcomes {
		verdicts[o.GetOp()] = o
	}
	var ops []syncengine.OpRange
	newest := uint64(0)
	for i := range pushed {
		op := pushed[i].Op
		if syncengine.HoldsOp(before.Ranges, op) || !syncengine.HoldsOp(after.Ranges, op) {
			continue
		}
		ops = syncengine.AddOp(ops, op)
		e.Count++
		if op >= newest {
			newest, e.Hash = op, bytes.Clone(pushed[i].Hash[:])
		}
		if o := verdicts[op]; o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED && o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
			e.Refused = append(e.Refused, &tandemv1.AuditRefusal{Op: op, Verdict: o.GetCode(), Refusal: o.GetRefusal()})
		}
	}
	if e.GetCount() == 0 {
		return nil
	}
	for _, r := range ops {
		e.Ops = append(e.Ops, &tandemv1.OpRange{First: r.First, Last: r.Last})
	}
	return tx.Audit(e)
}

// logAnswer notes, before an answer is sent, what of records it holds: what is not in
// the log has not left the server. What only confirms a device's own changes is none.
func (s *Server) logAnswer(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, answer *syncengine.Answer) error {
	page, rows := answer.Message.GetPage(), 0
	for _, row := range page.GetRows() {
		if !row.GetEcho() && row.GetScopes() != 0 {
			rows++
		}
	}
	for _, c := range answer.Chunks {
		rows += c.Rows
	}
	if rows == 0 && page.GetScopeSet() == nil && answer.Lookup == nil {
		return nil
	}
	refused := false
	err := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) (err error) {
		if rows > 0 {
			err := tx.Audit(&tandemv1.AuditEntry{
				Act: tandemv1.AuditAct_AUDIT_ACT_PULLED, Person: id.Person[:], Replica: id.Replica[:],
				Count: uint64(rows), FirstSeq: answer.First, Seq: answer.Seq, Scopes: req.GetScopeSet(),
			})
			if err != nil {
				return err
			}
		}
		if page.GetScopeSet() != nil {
			var held []syncengine.ScopeID
			for _, scope := range page.GetScopeSet().GetScopes() {
				held = append(held, syncengine.ScopeID(scope.GetId()))
			}
			err := tx.Audit(&tandemv1.AuditEntry{
				Act: tandemv1.AuditAct_AUDIT_ACT_SCOPED, Person: id.Person[:], Replica: id.Replica[:],
				Count: uint64(len(held)), Scopes: syncengine.HashScopeSet(held),
			})
			if err != nil {
				return err
			}
		}
		if answer.Lookup != nil {
			refused, err = s.logLookup(tx, answer.Lookup)
		}
		return err
	})
	if err == nil && refused {
		err = ErrLookups
	}
	return err
}

func joinIDs(ids []syncengine.ID) []byte {
	b := make([]byte, 0, len(ids)*len(syncengine.ID{}))
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

// checkpoint puts the newest checkpoint of the audit log into an answer, where the
// device has an older one or none.
func (s *Server) checkpoint(ctx context.Context, org *store.Org, req *tandemv1.SyncRequest, t *tandemv1.Trailer) error {
	c, err := s.store.Checkpoint(ctx, org.ID)
	if err != nil || c == nil || !bytes.Equal(c.Epoch[:], t.GetEpoch()) {
		return err
	}
	if !bytes.Equal(req.GetEpoch(), t.GetEpoch()) || c.Size > int64(min(req.GetAuditSize(), 1<<62)) {
		t.Audit = c.Pack()
	}
	return nil
}

// Checkpoints signs, each minute until ctx ends, a checkpoint of each org's audit log
// over what has been added since the last, and notes refusals that nobody has noted yet.
func (s *Server) Checkpoints(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.noteRefusals(ctx, true)
		orgs, err := s.store.Orgs(ctx)
		for _, org := range orgs {
			err = errors.Join(err, s.store.SignAudit(ctx, org.ID))
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("audit log not signed")
		}
	}
}

// ErrAudit refuses entries of a device's audit chain.
var ErrAudit = errors.New("the audit entries are not a chain that this device has signed")

// Audit implements tandemv1connect.SyncServiceHandler.
func (s *syncing) Audit(ctx context.Context, req *tandemv1.AuditRequest) (*tandemv1.AuditResponse, error) {
	id, org, err := s.admittedCaller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := errors.Join(s.meet(ctx, org, id, nil), s.proved(ctx, org, id)); err != nil {
		return nil, s.refuse(err)
	}
	resp := &tandemv1.AuditResponse{}
	var presented *audit.Checkpoint
	if len(req.GetCheckpoint()) > 0 {
		epoch, ok := syncengine.IDFromBytes(req.GetEpoch())
		if presented, err = audit.Unpack(org.ID, epoch, req.GetCheckpoint()); err != nil || !ok || !org.Signed(presented.Signed) {
			return nil, s.refuse(ErrAudit)
		}
	}
	if len(req.GetEntries()) > 0 {
		d := &chained{org: org, id: id, req: req}
		if err := d.check(); err != nil {
			return nil, s.refuse(err)
		}
		if err := s.store.Write(ctx, org.ID, len(req.GetEntries()), d.take); err != nil {
			return nil, s.refuse(err)
		}
		resp.Kept = d.kept
	}
	if presented != nil {
		if err := s.prove(ctx, id, presented, resp); err != nil {
			return nil, s.refuse(err)
		}
	}
	return resp, nil
}

// prove proves the newest checkpoint to extend one that a device keeps. That the log
// does not hold it is an entry itself.
func (s *Server) prove(ctx context.Context, id *auth.Identity, presented *audit.Checkpoint, resp *tandemv1.AuditResponse) error {
	newest, proof, known, err := s.store.ProveAudit(ctx, presented)
	if err != nil {
		return err
	}
	resp.Unknown, resp.Proof = !known, proof
	if newest != nil {
		resp.Checkpoint, resp.Epoch = newest.Pack(), newest.Epoch[:]
	}
	if known {
		return nil
	}
	return s.store.Write(ctx, presented.Org, 1, func(tx *store.Tx) error {
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_CHECKPOINT_LOST, Person: id.Person[:], Replica: id.Replica[:],
			Checkpoint: presented.Pack(), Epoch: presented.Epoch[:],
		})
	})
}

// chained is one delivery of a device's audit chain.
type chained struct {
	org *store.Org
	id  *auth.Identity
	req *tandemv1.AuditRequest
	// hashes of the chain, the first before the first entry; last is the number of the
	// last entry.
	hashes []syncengine.Hash
	last   uint64
	kept   uint64
}

// check recomputes the chain and looks at the signature.
func (d *chained) check() error {
	n, first := len(d.req.GetEntries()), d.req.GetFirst()
	if n > audit.MaxEntries || first == 0 || first > 1<<62 || len(d.req.GetPrev()) != len(syncengine.Hash{}) {
		return ErrAudit
	}
	at := syncengine.Hash(d.req.GetPrev())
	d.hashes = append(d.hashes, at)
	for i, raw := range d.req.GetEntries() {
		if !audit.FromDevice(raw) {
			return ErrAudit
		}
		at = audit.ChainHash(d.id.Replica, first+uint64(i), at, raw)
		d.hashes = append(d.hashes, at)
	}
	d.last = first + uint64(n) - 1
	if !audit.ChainSigned(d.id.Key, d.id.Replica, d.last, at, d.req.GetSignature()) {
		return ErrAudit
	}
	return nil
}

// take appends what is new of the chain. What does not fit is taken too, behind an entry
// that says so: an entry that is refused would be one that nobody sees.
func (d *chained) take(tx *store.Tx) error {
	d.kept = d.last
	replica, first := d.id.Replica, d.req.GetFirst()
	number, hash, err := tx.ChainHead(replica)
	if err != nil {
		return err
	}
	from := max(first, number+1)
	switch {
	case d.last <= number:
		// It came before, or it is another one under the same numbers.
		at, known, err := tx.ChainAt(replica, d.last)
		if err != nil || known && at == d.hashes[len(d.hashes)-1] {
			return err
		}
		return d.fork(tx)
	case first > number+1:
		err := tx.Audit(d.entry(tandemv1.AuditAct_AUDIT_ACT_CHAIN_GAP, number+1, first-1))
		if err != nil {
			return err
		}
	case d.hashes[number+1-first] != hash:
		if err := d.fork(tx); err != nil {
			return err
		}
	}
	for i := from; i <= d.last; i++ {
		e := &tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE, Person: d.id.Person[:], Replica: replica[:],
			Number: i, Entry: d.req.GetEntries()[i-first],
		}
		if i == from && (first > number+1 || d.hashes[i-first] != hash) {
			// What comes before it is not in the log.
			e.Hash = d.hashes[i-first][:]
		}
		if err := tx.Audit(e); err != nil {
			return err
		}
	}
	if err := tx.SaveChain(replica, d.last, d.hashes[len(d.hashes)-1]); err != nil {
		return err
	}
	e := d.entry(tandemv1.AuditAct_AUDIT_ACT_CHAIN, from, d.last)
	e.Number, e.Hash, e.Signature = d.last, d.hashes[len(d.hashes)-1][:], d.req.GetSignature()
	return tx.Audit(e)
}

func (d *chained) entry(act tandemv1.AuditAct, first, last uint64) *tandemv1.AuditEntry {
	return &tandemv1.AuditEntry{Act: act, Person: d.id.Person[:], Replica: d.id.Replica[:], Ops: []*tandemv1.OpRange{{First: first, Last: last}}}
}

// fork notes that a chain does not go on from what came before, with its hash as signed.
func (d *chained) fork(tx *store.Tx) error {
	e := d.entry(tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK, d.req.GetFirst(), d.last)
	e.Hash, e.Signature, e.Number = d.hashes[len(d.hashes)-1][:], d.req.GetSignature(), d.last
	return tx.Audit(e)
}

// refusals counts calls that were refused, so that a flood of them is one entry a
// minute for each reason. Safe for concurrent use.
type refusals struct {
	mu    sync.Mutex
	kinds map[refusal]*refusedCount
}

// refusal is one reason; org and replica are zero where nobody has been let in.
type refusal struct {
	org, replica, person syncengine.ID
	code                 string
}

type refusedCount struct {
	n     uint64
	noted time.Time
}

// maxRefusals bounds the reasons that are counted apart.
const maxRefusals = 512

// add counts a refusal, and reports whether one is to be noted now.
func (r *refusals) add(k refusal, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kinds == nil {
		r.kinds = map[refusal]*refusedCount{}
	}
	c := r.kinds[k]
	if c == nil {
		if len(r.kinds) >= maxRefusals {
			k.replica, k.person = syncengine.ID{}, syncengine.ID{}
			c = r.kinds[k]
		}
		if c == nil {
			c = &refusedCount{}
			r.kinds[k] = c
		}
	}
	c.n++
	return now.Sub(c.noted) >= time.Minute
}

// due takes those that are to be noted: all, or those that were not within a minute.
func (r *refusals) due(now time.Time) map[refusal]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[refusal]uint64{}
	for k, c := range r.kinds {
		switch {
		case c.n > 0 && now.Sub(c.noted) >= time.Minute:
			out[k], c.n, c.noted = c.n, 0, now
		case c.n == 0 && now.Sub(c.noted) >= time.Minute:
			delete(r.kinds, k)
		}
	}
	return out
}

// back puts back what could not be noted.
func (r *refusals) back(counts map[refusal]uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, n := range counts {
		if c := r.kinds[k]; c != nil {
			c.n += n
		}
	}
}

// refused notes a call that was not let through: without a valid certificate and proof,
// without the right, or too often. Nonces that a device has yet to be told are none.
func (s *Server) refused(ctx context.Context, h http.Header, status int, route string, note *requestNote) {
	if strings.HasPrefix(route, signInRoute) {
		// They have entries of their own.
		return
	}
	var code string
	switch status {
	case http.StatusUnauthorized:
		_, code, _ = strings.Cut(h.Get("WWW-Authenticate"), `error="`)
		if code, _, _ = strings.Cut(code, `"`); code == "use_dpop_nonce" {
			return
		}
		code = "unauthenticated " + code
	case http.StatusForbidden:
		code = "forbidden"
	case http.StatusTooManyRequests:
		code = "too many"
	default:
		return
	}
	k := refusal{org: note.orgID, replica: note.replicaID, person: note.personID, code: strings.TrimSpace(code) + " " + strings.TrimPrefix(route, "/tandem.v1.")}
	if s.refusals.add(k, s.now()) {
		s.noteRefusals(ctx, false)
	}
}

// refusedSignIn counts a sign-in with a browser that concerns no account, or came too fast.
func (s *Server) refusedSignIn(ctx context.Context, code string) {
	if s.refusals.add(refusal{code: code}, s.now()) {
		s.noteRefusals(ctx, false)
	}
}

// noteRefusals adds entries for what was refused. Where nobody was let in every org is
// told: it was its door too.
func (s *Server) noteRefusals(ctx context.Context, quiet bool) {
	counts := s.refusals.due(s.now())
	if len(counts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxQueued)
	defer cancel()
	orgs, err := s.store.Orgs(ctx)
	for _, org := range orgs {
		err = errors.Join(err, s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
			for k, n := range counts {
				if !k.org.IsZero() && k.org != org.ID {
					continue
				}
				e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Code: k.code, Count: n}
				if !k.replica.IsZero() {
					e.Person, e.Replica = k.person[:], k.replica[:]
				}
				if err := tx.Audit(e); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if err != nil {
		s.refusals.back(counts)
		s.log.Error().Err(err).Bool("quiet", quiet).Msg("refusals not noted in the audit log")
	}
}

// note adds one entry to the audit log, for an act that changes nothing else.
func (a *Admin) note(ctx context.Context, e *tandemv1.AuditEntry) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error { return tx.Audit(e) })
}

// Exported notes that records were counted or copied out: what, and how many records
// were gone through. It is called before the result is shown.
func (a *Admin) Exported(ctx context.Context, what string, records int) error {
	return a.note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EXPORTED, Code: what, Count: uint64(records)})
}

// AuditLog calls f over a snapshot of the audit log, all of which is signed first. That
// it was read is an entry itself.
func (a *Admin) AuditLog(ctx context.Context, f func(*store.AuditLog) error) error {
	if err := a.note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_AUDIT_READ}); err != nil {
		return err
	}
	if err := a.store.SignAudit(ctx, a.org.ID); err != nil {
		return err
	}
	return a.store.ReadAudit(ctx, a.org.ID, f)
}

// ExportAudit writes the audit log in the open form that [audit.ReadExport] reads. The
// whole of it is signed first.
func (a *Admin) ExportAudit(ctx context.Context, w io.Writer) error {
	return a.AuditLog(ctx, func(l *store.AuditLog) error {
		keys, err := l.Keys()
		if err != nil {
			return err
		}
		out, err := audit.NewExport(w, a.org.ID, a.org.PublicKey(), a.org.Successors(""), keys, l.Size, l.Checkpoints)
		if err != nil {
			return err
		}
		if err := l.Each(0, out.Add); err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
		return out.Flush()
	})
}

// CheckAudit checks the audit log where it stands, against what devices and people have
// kept of it too. It changes nothing.
func (a *Admin) CheckAudit(ctx context.Context, witnesses []audit.Witness) (r *audit.Report, err error) {
	err = a.store.ReadAudit(ctx, a.org.ID, func(l *store.AuditLog) error {
		r, err = l.Check(witnesses)
		return err
	})
	return r, err
}
