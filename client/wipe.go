package client

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// The order to wipe a device is carried out in steps, each of which may be the last before
// the power goes:
//
//  1. The order comes with an answer, and stands in the store from the same transaction
//     on. Nothing is shown any more. Saves go on.
//  2. What the server does not have is sent: saves, entries of the audit chain, drafts.
//     Where the connection breaks, this begins anew at the next contact.
//  3. When every save is at the server, or stands in the sealed outbox and was offered,
//     the store takes no more, and the note of the wipe is written beside it. From here on
//     there is no way back: whoever opens the store ends what was begun.
//  4. The key is destroyed and the files are removed.
//  5. The receipt goes to the server. The key is gone by then, so the receipt was signed
//     before and stands in the note. It opens nothing.

// metaWipe holds the number of the order to wipe the store, in decimal digits; metaWipeBusy
// how often the server was too busy for what was noted.
const (
	metaWipe     = "wipe_order"
	metaWipeBusy = "wipe_busy"
)

// maxWipeBusy: a server that is too busy for what was noted so often does not hold up a wipe
// any longer.
const maxWipeBusy = 6

// wipeFile is the note of a wipe, in a store's directory.
const wipeFile = "device.wipe"

// wipeNote is what the note says. Nothing in it is secret.
type wipeNote struct {
	Version int    `json:"version"`
	Server  string `json:"server"`
	// Roots, Pin and OrgKey are what the server is known by.
	Roots  []byte `json:"roots,omitempty"`
	Pin    []byte `json:"pin,omitempty"`
	OrgKey []byte `json:"org_key,omitempty"`
	// Org and Replica are ids; Order is the order's number, Signature that of the receipt.
	Org       []byte `json:"org"`
	Replica   []byte `json:"replica"`
	Order     uint64 `json:"order"`
	Signature []byte `json:"signature"`
	// BegunMS is when the store was destroyed, ToldMS when the server had the receipt; 0
	// where it has not.
	BegunMS int64 `json:"begun_ms"`
	ToldMS  int64 `json:"told_ms,omitempty"`
}

// takeOrders notes an order to wipe the store.
func (c *Client) takeOrders(t *tx, orders []*tandemv1.Order) (wipe bool, err error) {
	i := slices.IndexFunc(orders, func(o *tandemv1.Order) bool { return o.GetAct() == syncengine.ActWipe })
	if i < 0 || c.ordered.Load() {
		return false, nil
	}
	if known, err := t.meta(metaWipe); err != nil || known != nil {
		return true, err
	}
	var unsent uint64
	if err := t.row(`SELECT (SELECT count(*) FROM outbox WHERE state IN (1, 7)) + (SELECT count(*) FROM draft)`, nil, &unsent); err != nil {
		return false, err
	}
	c.store.notes.add(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_WIPING, AtMs: c.opts.Now().UnixMilli(), Number: orders[i].GetNumber(), Count: unsent,
	})
	return true, t.setMeta(metaWipe, fmt.Append(nil, orders[i].GetNumber()))
}

// obey carries out the order to wipe the store, and returns ErrWiped when it has: with
// the reason, where the server could not be told. Another error leaves the store as it
// is, and the order in it.
func (c *Client) obey(ctx context.Context) error {
	select {
	case c.wiping <- struct{}{}:
		defer func() { <-c.wiping }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.wiped.Load() {
		return ErrWiped
	}
	order, err := c.wipeOrder(ctx)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		if tries == 8 {
			return errUnsent
		}
		if err := c.sendLast(ctx); err != nil {
			return err
		}
		offered, drafts, err := c.offerSealed(ctx)
		if err != nil {
			return err
		}
		shut, err := c.shut(ctx, offered, drafts)
		if err != nil {
			return err
		}
		if shut {
			break
		}
		// Something was saved meanwhile.
	}
	note, err := c.noteWipe(order)
	if errors.Is(err, ErrDiskFull) && c.store.reserve.release() {
		note, err = c.noteWipe(order)
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	if err := c.destroy(); err != nil {
		return fmt.Errorf("wiping the store: %w", err)
	}
	c.wiped.Store(true)
	c.log.Warn().Msg("the store was wiped by order")
	return told(ctx, c.store.base.FS, c.store.dir, note, &c.opts)
}

// wipeOrder is the number of the order that came.
func (c *Client) wipeOrder(ctx context.Context) (uint64, error) {
	const doing = "reading the order to wipe the store"
	var raw []byte
	err := c.store.read(ctx, doing, func(rtx *sql.Tx) error {
		return rtx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, metaWipe).Scan(&raw)
	})
	if err != nil {
		return 0, err
	}
	order, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, ErrDamaged)
	}
	return order, nil
}

// sendLast sends what waits, and what was noted for the audit log.
func (c *Client) sendLast(ctx context.Context) error {
	stalled, forks := 0, 0
	for stalled < 4 {
		if err := c.mend(ctx); err != nil {
			return err
		}
		r, err := c.round(ctx, want{push: true, last: true})
		switch {
		case smaller(err):
			continue
		case err != nil:
			return err
		case r.got.Forked:
			if forks++; forks > maxForks {
				return ErrForked
			}
			continue
		case !r.queued && (r.sent == 0 || !c.spoiled.Load()):
			c.sendLastFiles(ctx)
			return c.sendAuditOrLeave(ctx)
		case r.progress():
			stalled = 0
		default:
			// What gets no verdict is offered sealed.
			stalled++
		}
	}
	return c.sendAuditOrLeave(ctx)
}

// sendAuditOrLeave sends what was noted for the audit log. A server that is too busy for it
// puts off the wipe, but not without end: the words on the device weigh more than the entries.
func (c *Client) sendAuditOrLeave(ctx context.Context) error {
	busy := c.sendLastAudit(ctx)
	if !errors.Is(busy, ErrBusy) {
		return busy
	}
	var times uint64
	err := c.store.write(ctx, "noting that the server is busy", func(t *tx) error {
		raw, err := t.meta(metaWipeBusy)
		if err != nil {
			return err
		}
		times, _ = strconv.ParseUint(string(raw), 10, 64)
		times++
		return t.setMeta(metaWipeBusy, fmt.Append(nil, times))
	})
	switch {
	case err != nil:
		return err
	case times < maxWipeBusy:
		return busy
	}
	c.log.Warn().Err(busy).Msg("the store is wiped without what was noted for the audit log")
	return nil
}

// offerSealed offers the server what stands in the sealed outbox and is not known to be
// at the server, drafts too. It returns which own saves, still waiting, that were, and
// the version of each draft.
func (c *Client) offerSealed(ctx context.Context) (offered map[uint64]bool, drafts map[uint64]uint64, err error) {
	f := c.sealed()
	if f == nil {
		return nil, nil, nil
	}
	c.sealMissing(ctx)
	queued, err := c.queuedOps(ctx)
	if err != nil {
		return nil, nil, err
	}
	delivered, err := c.delivered(ctx)
	if err != nil {
		return nil, nil, err
	}
	issued, err := c.issuedBefore(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	c.sealDrafts(ctx)
	offered = map[uint64]bool{}
	drafts = f.draftsOf(f.me.replica)
	want := func(h *seal.Header) bool {
		own := h.Org == f.me.org && h.Replica == f.me.replica
		switch {
		case h.Kind == seal.KindDraft:
			n, version := seal.DraftOf(h.Number)
			return own && version == drafts[n] && version != seal.DraftDropped
		case h.Kind != seal.KindChange:
			return false
		case own:
			_, waits := slices.BinarySearch(queued, h.Number)
			return waits
		}
		return h.Org == f.me.org && !syncengine.HoldsOp(delivered[h.Replica], h.Number) && len(issued[h.Replica][h.Number]) == 0
	}
	if !f.any(want) {
		return offered, drafts, nil
	}
	done, err := c.deliver(ctx, f.path, want, func(d *tandemv1.Delivered, _ []byte) {
		id, _ := syncengine.IDFromBytes(d.GetReplica())
		if _, waits := slices.BinarySearch(queued, d.GetNumber()); waits && id == f.me.replica {
			offered[d.GetNumber()] = true
		}
	})
	if err != nil {
		return nil, nil, err
	}
	if done.Left() > 0 {
		c.log.Error().Int("left", done.Left()).Msg("the server did not take all of the sealed outbox: the rest stays in the file")
	}
	return offered, drafts, nil
}

// any reports whether an entry of the file is wanted.
func (s *sealedFile) any(want func(*seal.Header) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.entries, func(e sealedEntry) bool {
		h := &seal.Header{Kind: e.kind, Org: s.me.org, Replica: e.replica, Number: e.number}
		return want(h)
	})
}

// shut ends the use of the store for good, unless something waits that was not offered:
// then it reports false. Whoever saves afterwards is told that the store is closed.
func (c *Client) shut(ctx context.Context, offered map[uint64]bool, drafts map[uint64]uint64) (bool, error) {
	s, f := c.store, c.sealed()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false, ErrClosed
	}
	if err := s.reconnect(ctx); err != nil {
		return false, err
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT op FROM outbox WHERE state IN (1, 7)`)
	if err != nil {
		return false, storeError("reading the outbox", err)
	}
	fresh, stuck := 0, 0
	err = eachRow(rows, func(scan func(...any) error) error {
		var op uint64
		err := scan(&op)
		switch {
		case !offered[op]:
			fresh++
		case f == nil || !f.has(op):
			stuck++
		}
		return err
	})
	if err != nil {
		return false, storeError("reading the outbox", err)
	}
	if rows, err = s.conn.QueryContext(ctx, `SELECT n, version FROM draft`); err != nil {
		return false, storeError("reading drafts", err)
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		var n, version uint64
		err := scan(&n, &version)
		if f != nil && drafts[n] != version {
			fresh++
		}
		return err
	})
	switch {
	case err != nil:
		return false, storeError("reading drafts", err)
	case fresh > 0:
		return false, nil
	case stuck > 0:
		return false, errUnsent
	}
	s.closed.Store(true)
	return true, nil
}

// errUnsent: what is neither at the server nor in the sealed outbox is not destroyed.
var errUnsent = &ContactError{Kind: ErrRejected, Words: "an administrator has ordered this device to be wiped, and it holds saves that the server does not take and that cannot be sealed: free some space on its disk and sync again, or ask your administrator"}

// noteWipe writes the note of the wipe, with the receipt of the order.
func (c *Client) noteWipe(order uint64) (*wipeNote, error) {
	me, err := c.identity()
	if err != nil {
		return nil, err
	}
	org, _ := syncengine.IDFromBytes(me.answer.GetOrg())
	note := &wipeNote{
		Version: 1, Server: me.server, Roots: me.roots, Pin: me.pin, OrgKey: me.answer.GetOrgKey(),
		Org: org[:], Replica: me.replica[:], Order: order,
		Signature: syncengine.SignWiped(me.key, org, me.replica, order), BegunMS: c.opts.Now().UnixMilli(),
	}
	if len(c.opts.Roots) > 0 {
		note.Roots = c.opts.Roots
	}
	return note, note.write(c.store.base.FS, c.store.dir)
}

// write puts the note in the place of the one before, at once.
func (n *wipeNote) write(disk vfs.FS, dir string) (err error) {
	const doing = "noting the wipe"
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	path := filepath.Join(dir, wipeFile)
	f, err := disk.OpenFile(path+newSuffix, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fileError(doing, err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = disk.Rename(path+newSuffix, path)
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		return fileError(doing, err)
	}
	return nil
}

// readWipe reads the note of a wipe, nil where there is none. One that cannot be read is
// one all the same.
func readWipe(disk vfs.FS, dir string) (*wipeNote, error) {
	const doing = "reading the note of a wipe"
	path := filepath.Join(dir, wipeFile)
	size, err := disk.Size(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fileError(doing, err)
	}
	f, err := disk.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fileError(doing, err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, min(size, 1<<20))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fileError(doing, err)
	}
	note := &wipeNote{}
	if json.Unmarshal(b, note) != nil {
		return &wipeNote{}, nil
	}
	return note, nil
}

// finishWipe ends a wipe that was begun, and reports whether there was one. The caller
// has the store's lock.
func finishWipe(disk vfs.FS, dir string) (bool, error) {
	note, err := readWipe(disk, dir)
	if err != nil || note == nil {
		return false, err
	}
	k, err := vault.ReadKeyFile(disk, filepath.Join(dir, keyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, vault.ErrKeyFile):
		// There was none, or it opens nothing any more.
		err = nil
	case err == nil && !k.Erased():
		err = k.Erase()
	}
	if err = errors.Join(vaultError("wiping the store", err), removeStore(disk, dir)); err != nil {
		return true, fmt.Errorf("wiping the store: %w", err)
	}
	return true, nil
}

// told brings the receipt to the server, and returns ErrWiped: with the reason, where
// that failed.
func told(ctx context.Context, disk vfs.FS, dir string, note *wipeNote, o *Options) error {
	err := note.tell(ctx, o)
	if err == nil {
		note.ToldMS = o.Now().UnixMilli()
		err = note.write(disk, dir)
	}
	if err != nil {
		return fmt.Errorf("%w; the server does not know of it yet: run tandem sync here once more when there is a connection (%w)", ErrWiped, err)
	}
	return ErrWiped
}

// tell sends the receipt.
func (n *wipeNote) tell(ctx context.Context, o *Options) error {
	org, ok := syncengine.IDFromBytes(n.Org)
	if !ok {
		return errNoReceipt
	}
	u, err := parseServer(n.Server)
	if err != nil {
		return errNoReceipt
	}
	bare := &Client{opts: *o}
	v, err := bare.newTrust(u, n.Roots, n.Pin)
	if err != nil {
		return err
	}
	v.orgKey, v.org = n.OrgKey, org
	v.known = func() time.Time { return time.Time{} }
	way := newLink(u, o, nil, v, func() reading { return reading{} })
	defer way.close()
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	req := &tandemv1.WipedRequest{Org: n.Org, Replica: n.Replica, Order: n.Order, Signature: n.Signature}
	_, err = call(ctx, &contact{}, func(ctx context.Context) (*tandemv1.WipedResponse, error) { return way.enroll.Wiped(ctx, req) })
	return err
}

// errNoReceipt: the note cannot be read.
var errNoReceipt = errors.New("the receipt of the wipe is damaged: tell your administrator")

// AcknowledgeWipe tells the server that the store of a directory was wiped at its order,
// if it was and the server does not know. It returns nil where there is nothing to tell.
// Of the options Now, Transport, Dial, Roots and Version count.
func AcknowledgeWipe(ctx context.Context, dir string, o Options) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("reading the note of a wipe: %w", err)
	}
	disk := vfs.At(ctx).FS
	note, err := readWipe(disk, dir)
	if err != nil || note == nil || note.ToldMS != 0 {
		return err
	}
	o.complete()
	if err := told(ctx, disk, dir, note, &o); note.ToldMS == 0 {
		return err
	}
	return nil
}

// Wiped says of the store of a directory whether it was wiped by order, and whether the
// server knows.
func Wiped(dir string) (wiped, told bool, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return false, false, fmt.Errorf("reading the note of a wipe: %w", err)
	}
	note, err := readWipe(vfs.System{}, dir)
	if err != nil || note == nil {
		return false, false, err
	}
	return true, note.ToldMS != 0, nil
}
