package store

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

// signEvery is the time between two checkpoints of the audit log, at least.
const signEvery = time.Minute

// auditing is what a transaction adds to the audit log.
type auditing struct {
	entries [][]byte
	// unnamed are commits of the transaction that no entry names yet.
	unnamed []syncengine.HistoryHead
	// from is where the history stood when the transaction began.
	from syncengine.HistoryHead
	// sign asks for a checkpoint, whatever the time. signed is the one that was made.
	sign   bool
	signed *audit.Checkpoint
}

// Audit adds an entry to the audit log, which is committed with the transaction, or
// not at all. Its time is the store's where it has none. It names the newest commit of
// the history that the transaction has made, if no entry does yet. A commit that none
// names when the transaction ends gets an entry of its own, so that none goes without.
func (tx *Tx) Audit(e *tandemv1.AuditEntry) error {
	tx.writes++
	a := &tx.audit
	if last := len(a.unnamed) - 1; last >= 0 {
		if err := tx.committed(a.unnamed[:last]); err != nil {
			return err
		}
		nameCommit(e, a.unnamed[last])
		a.unnamed = nil
	}
	return tx.addAudit(e)
}

func nameCommit(e *tandemv1.AuditEntry, h syncengine.HistoryHead) {
	e.Seq, e.Commit = h.Seq, h.Hash[:]
}

func (tx *Tx) addAudit(e *tandemv1.AuditEntry) error {
	if e.GetAtMs() == 0 {
		e.AtMs = tx.s.now().UnixMilli()
	}
	raw, err := audit.Encode(e)
	if err != nil {
		return fmt.Errorf("encoding an audit entry: %w", err)
	}
	tx.audit.entries = append(tx.audit.entries, raw)
	return nil
}

func (tx *Tx) committed(heads []syncengine.HistoryHead) error {
	for _, h := range heads {
		e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_COMMITTED}
		nameCommit(e, h)
		if err := tx.addAudit(e); err != nil {
			return err
		}
	}
	return nil
}

// flushAudit appends what the transaction has gathered to the tree.
func (tx *Tx) flushAudit() error {
	a := &tx.audit
	if err := tx.committed(a.unnamed); err != nil {
		return err
	}
	a.unnamed = nil
	if len(a.entries) == 0 && !a.sign {
		return nil
	}
	tree, signedMS, signedSize, err := tx.auditHead()
	if err != nil {
		return err
	}
	if tree.Size() == 0 {
		first := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_BEGAN, AtMs: tx.s.now().UnixMilli(), Epoch: a.from.Epoch[:]}
		nameCommit(first, a.from)
		raw, err := audit.Encode(first)
		if err != nil {
			return fmt.Errorf("encoding an audit entry: %w", err)
		}
		began := [][]byte{raw}
		for _, step := range tx.org.ring.chain[:tx.org.ring.told] {
			// The log of an org that had keys before, as after an import, tells of them too.
			entry, err := keyedEntry(step, tx.s.now().UnixMilli())
			if err != nil {
				return err
			}
			if raw, err = audit.Encode(entry); err != nil {
				return fmt.Errorf("encoding an audit entry: %w", err)
			}
			began = append(began, raw)
		}
		a.entries = append(began, a.entries...)
	}
	const width = 3
	rows := make([]any, 0, width*len(a.entries))
	for _, raw := range a.entries {
		rows = append(rows, tx.org.num, tree.Size(), raw)
		for _, node := range tree.Append(raw) {
			err := tx.c.exec("INSERT INTO audit_node (org, level, n, hash) VALUES ($1, $2, $3, $4)", tx.org.num, int64(node.Level), node.N, node.Hash[:])
			if err != nil {
				return err
			}
		}
	}
	a.entries = nil
	if err := tx.insert("audit (org, n, entry)", "", 1, width, rows); err != nil {
		return err
	}
	now := tx.s.now().UnixMilli()
	if tree.Size() > signedSize && (a.sign || now-signedMS >= signEvery.Milliseconds() || now < signedMS) {
		signed, err := tx.signAudit(tree, now, signedMS)
		if err != nil {
			return err
		}
		if signed {
			signedMS, signedSize = now, tree.Size()
		}
	}
	return tx.c.exec(`INSERT INTO audit_head (org, size, edge, signed_ms, signed_size) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (org) DO UPDATE SET size = excluded.size, edge = excluded.edge, signed_ms = excluded.signed_ms, signed_size = excluded.signed_size`,
		tx.org.num, tree.Size(), bytesArgOrEmpty(tree.Edge()), signedMS, signedSize)
}

// bytesArgOrEmpty keeps an empty value apart from NULL.
func bytesArgOrEmpty(b []byte) any {
	if b == nil {
		return []byte{}
	}
	return b
}

// signAudit signs and keeps a checkpoint, and lets go of those that one of the same
// hour stands for. A server that has not the org's newest key leaves it to others.
func (tx *Tx) signAudit(tree *audit.Tree, now, before int64) (signed bool, err error) {
	head, err := tx.Head()
	if err != nil {
		return false, err
	}
	if signs, err := tx.signs(); err != nil || !signs {
		return false, err
	}
	c := &audit.Checkpoint{Org: tx.org.ID, Epoch: head.Epoch, Size: tree.Size(), Root: tree.Root(), AtMS: now}
	c.Sign(tx.org.Signing)
	err = tx.c.exec("INSERT INTO audit_checkpoint (org, size, at_ms, epoch, root, signature) VALUES ($1, $2, $3, $4, $5, $6)",
		tx.org.num, c.Size, c.AtMS, c.Epoch[:], c.Root[:], c.Signature)
	if err != nil {
		return false, err
	}
	tx.audit.signed = c
	hour, day := time.Hour.Milliseconds(), 24*time.Hour.Milliseconds()
	if now/hour == before/hour {
		return true, nil
	}
	return true, tx.c.exec(`DELETE FROM audit_checkpoint WHERE org = $1 AND at_ms < $2 AND EXISTS (SELECT 1 FROM audit_checkpoint later
		WHERE later.org = audit_checkpoint.org AND later.size > audit_checkpoint.size AND later.epoch = audit_checkpoint.epoch
		AND later.at_ms / $3 = audit_checkpoint.at_ms / $3)`, tx.org.num, now-day, hour)
}

// auditHead reads the edge of the tree.
func (v *view) auditHead() (tree *audit.Tree, signedMS, signedSize int64, err error) {
	var size int64
	var edge []byte
	if _, err = v.c.one("SELECT size, edge, signed_ms, signed_size FROM audit_head WHERE org = $1", []any{v.org.num}, &size, &edge, &signedMS, &signedSize); err != nil {
		return nil, 0, 0, err
	}
	if tree, err = audit.OpenTree(size, edge); err != nil {
		return nil, 0, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return tree, signedMS, signedSize, nil
}

// checkpoints are the newest ones by org, as far as this process knows.
type newestCheckpoint struct {
	*audit.Checkpoint

	seen time.Duration
}

// checkpointFor is how long what is known of a checkpoint is good for: another process
// may have signed a newer one.
const checkpointFor = 10 * time.Second

// Checkpoint returns the newest checkpoint of an org, or one that was so a few seconds
// ago; nil where there is none.
func (s *Store) Checkpoint(ctx context.Context, org syncengine.ID) (*audit.Checkpoint, error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	known, ok := s.checkpoints[o.num]
	s.mu.Unlock()
	if ok && s.monotonic()-known.seen < checkpointFor {
		return known.Checkpoint, nil
	}
	var newest *audit.Checkpoint
	err = s.viewing(ctx, o, func(v *view) (err error) {
		newest, err = v.newestCheckpoint()
		return err
	})
	if err == nil {
		s.knowCheckpoint(o, newest)
	}
	return newest, err
}

func (s *Store) knowCheckpoint(o *Org, c *audit.Checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints[o.num] = newestCheckpoint{c, s.monotonic()}
}

func (v *view) newestCheckpoint() (newest *audit.Checkpoint, err error) {
	err = v.eachCheckpoint(" ORDER BY size DESC LIMIT 1", func(c *audit.Checkpoint) { newest = c })
	return newest, err
}

func (v *view) eachCheckpoint(tail string, f func(*audit.Checkpoint)) error {
	return v.c.each("SELECT size, at_ms, epoch, root, signature FROM audit_checkpoint WHERE org = $1"+tail, []any{v.org.num}, func(rows *sql.Rows) error {
		c := &audit.Checkpoint{Org: v.org.ID}
		var root syncengine.Hash
		err := rows.Scan(&c.Size, &c.AtMS, (*scanID)(&c.Epoch), (*scanHash)(&root), &c.Signature)
		c.Root = audit.Hash(root)
		f(c)
		return err
	})
}

// SignAudit signs a checkpoint over all entries there are, where that is not done yet.
func (s *Store) SignAudit(ctx context.Context, org syncengine.ID) error {
	due := false
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		tree, _, size, err := v.auditHead()
		due = err == nil && tree.Size() > size
		return err
	})
	if err != nil || !due {
		return err
	}
	return s.Write(ctx, org, 0, func(tx *Tx) error {
		tx.writes++
		tx.audit.sign = true
		return nil
	})
}

// source reads nodes and entries for proofs.
func (v *view) source() audit.Source {
	return audit.Source{
		Node: func(level int, n int64) (audit.Hash, error) {
			var h syncengine.Hash
			found, err := v.c.one("SELECT hash FROM audit_node WHERE org = $1 AND level = $2 AND n = $3", []any{v.org.num, int64(level), n}, (*scanHash)(&h))
			if err == nil && !found {
				err = audit.ErrTree
			}
			return audit.Hash(h), err
		},
		Entries: func(from, to int64) (entries [][]byte, err error) {
			err = v.eachAudit(from, to, func(_ int64, raw []byte) error {
				entries = append(entries, raw)
				return nil
			})
			return entries, err
		},
	}
}

// eachAudit calls f for the entries from one on, up to another, which is excluded.
func (v *view) eachAudit(from, to int64, f func(n int64, raw []byte) error) error {
	return v.c.each("SELECT n, entry FROM audit WHERE org = $1 AND n >= $2 AND n < $3 ORDER BY n", []any{v.org.num, from, to}, eachEntry(f))
}

// eachEntry reads rows of numbers and entries.
func eachEntry(f func(n int64, raw []byte) error) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var n int64
		var raw []byte
		if err := rows.Scan(&n, &raw); err != nil {
			return err
		}
		return f(n, raw)
	}
}

// ProveAudit returns the newest checkpoint and the proof that it extends an older one.
// known is false where the log does not hold that one: it is of another epoch, or
// longer.
func (s *Store) ProveAudit(ctx context.Context, older *audit.Checkpoint) (newest *audit.Checkpoint, proof [][]byte, known bool, err error) {
	o, err := s.Org(ctx, older.Org)
	if err != nil {
		return nil, nil, false, err
	}
	err = s.viewing(ctx, o, func(v *view) (err error) {
		if newest, err = v.newestCheckpoint(); err != nil || newest == nil {
			return err
		}
		known = newest.Epoch == older.Epoch && older.Size <= newest.Size
		if known {
			proof, err = audit.ProveExtends(newest.Size, older.Size, v.source())
		}
		return err
	})
	return newest, proof, known, err
}

// AuditLog is one snapshot of an audit log.
type AuditLog struct {
	v *view
	// Size is the number of entries.
	Size int64
	// Checkpoints that are kept, the smallest first.
	Checkpoints []*audit.Checkpoint
	tree        *audit.Tree
}

// ReadAudit runs f over one snapshot of the audit log.
func (s *Store) ReadAudit(ctx context.Context, org syncengine.ID, f func(*AuditLog) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error {
		l := &AuditLog{v: v}
		if l.tree, _, _, err = v.auditHead(); err != nil {
			return err
		}
		l.Size = l.tree.Size()
		if err := v.eachCheckpoint(" ORDER BY size", func(c *audit.Checkpoint) { l.Checkpoints = append(l.Checkpoints, c) }); err != nil {
			return err
		}
		return f(l)
	})
}

// Each calls f for the entries from one on, in order, a portion of them in memory at a
// time. It does not ask how many there should be.
func (l *AuditLog) Each(from int64, f func(n int64, raw []byte) error) error {
	const portion = 4096
	for {
		some, next := int64(0), from
		err := l.v.c.each("SELECT n, entry FROM audit WHERE org = $1 AND n >= $2 ORDER BY n LIMIT CAST($3 AS BIGINT)", []any{l.v.org.num, from, int64(portion)}, eachEntry(func(n int64, raw []byte) error {
			some, next = some+1, n+1
			return f(n, raw)
		}))
		if err != nil || some < portion {
			return err
		}
		from = next
	}
}

// Check checks the log: the entries against the tree, the checkpoints and witnesses,
// the chains of devices, and each commit of the history that is still kept against the
// entry that names it.
func (l *AuditLog) Check(witnesses []audit.Witness) (*audit.Report, error) {
	for _, c := range l.Checkpoints {
		witnesses = append(witnesses, audit.Witness{Checkpoint: c, From: "the server's own"})
	}
	keys, err := l.Keys()
	if err != nil {
		return nil, err
	}
	c := audit.NewCheck(l.v.org.ID, l.v.org.Keys(), keys, witnesses)
	if err := l.Each(0, func(n int64, raw []byte) error { c.Add(n, raw); return nil }); err != nil {
		return nil, err
	}
	err = l.v.c.each("SELECT seq, hash FROM history WHERE org = $1 ORDER BY seq", []any{l.v.org.num}, func(rows *sql.Rows) error {
		var seq int64
		var hash syncengine.Hash
		err := rows.Scan(&seq, (*scanHash)(&hash))
		c.Commit(uint64(seq), hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	same := c.Tree().Size() == l.Size && c.Tree().Root() == l.tree.Root()
	r := c.End()
	if !same {
		r.Faults = append(r.Faults, fmt.Sprintf("the log has %d entries and the tree that is kept of it has %d, or another root", r.Entries, l.Size))
	}
	return r, nil
}

// Keys returns the public keys of the replicas that the database knows.
func (l *AuditLog) Keys() (map[syncengine.ID]ed25519.PublicKey, error) {
	keys := map[syncengine.ID]ed25519.PublicKey{}
	err := l.v.c.each("SELECT id, public_key, former FROM replica WHERE org = $1", []any{l.v.org.num}, func(rows *sql.Rows) error {
		var id syncengine.ID
		var key, packed []byte
		if err := rows.Scan((*scanID)(&id), &key, &packed); err != nil {
			return err
		}
		former, err := unpackFormer(packed)
		if len(former) > 0 {
			// The log says itself from where on another one holds.
			key = former[0].Key
		}
		keys[id] = key
		return err
	})
	return keys, err
}

// ChainHead returns where the chain of a replica stands: the number of its newest
// entry and the hash there. 0 where none came.
func (tx *Tx) ChainHead(replica syncengine.ID) (number uint64, hash syncengine.Hash, err error) {
	var n int64
	_, err = tx.c.one("SELECT number, hash FROM audit_chain WHERE org = $1 AND replica = $2 ORDER BY number DESC LIMIT 1",
		[]any{tx.org.num, replica[:]}, &n, (*scanHash)(&hash))
	return uint64(n), hash, err
}

// ChainAt returns the hash of a replica's chain at the end of a delivery.
func (tx *Tx) ChainAt(replica syncengine.ID, number uint64) (hash syncengine.Hash, ok bool, err error) {
	ok, err = tx.c.one("SELECT hash FROM audit_chain WHERE org = $1 AND replica = $2 AND number = $3",
		[]any{tx.org.num, replica[:], int64(min(number, maxOp))}, (*scanHash)(&hash))
	return hash, ok, err
}

// SaveChain notes the end of a delivery.
func (tx *Tx) SaveChain(replica syncengine.ID, number uint64, hash syncengine.Hash) error {
	tx.writes++
	return tx.c.exec("INSERT INTO audit_chain (org, replica, number, hash) VALUES ($1, $2, $3, $4)", tx.org.num, replica[:], int64(number), hash[:])
}
