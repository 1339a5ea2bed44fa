package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/media"
)

// Bounds of the pieces in which files travel.
const (
	minPiece = 16 << 10
	// probe is the size of a piece that finds out what the link carries.
	probe = 8 << 10
	// pieceTime is about how long a piece is under way.
	pieceTime = 2 * time.Second
	// probeEvery is how often a link that is known to be slow is tried, where nobody has
	// said that it is another.
	probeEvery = 10 * time.Minute
	// filesEvery is how often a running client looks for files that wait.
	filesEvery = time.Minute
	// nearRTT is the round trip up to which a link of which no more is known is tried.
	nearRTT = 400 * time.Millisecond
	// lastFiles is how long a store that is to be wiped tries to send its files.
	lastFiles = time.Minute
	// urgentTime is how long fetching a file waits for what is urgent.
	urgentTime = 20 * time.Second
	// leastLater and mostLater bound how long a file is left alone that cannot be sent.
	leastLater, mostLater = time.Hour, 24 * time.Hour
)

// errHash says that the server keeps finding other bytes than were sent.
var errHash = &ContactError{Kind: ErrRejected, Words: "the server found other bytes of a file than were sent: it will be tried again by itself"}

// fileQueue is what sending files has in memory.
type fileQueue struct {
	// sending is held over sending files.
	sending chan struct{}
	// wake is signalled when there may be something to send.
	wake chan struct{}
	// drop ends the piece under way, nil where there is none; fetch those of files that are
	// being fetched.
	drop  context.CancelFunc
	fetch map[*context.CancelFunc]bool
	// probed is when a slow link was tried last; later is until when a file that the
	// server did not want, or that cannot be sent, is left alone.
	probed time.Time
	later  map[syncengine.ID]later
}

// later is until when a file is left alone, and how long it was.
type later struct {
	until time.Time
	pause time.Duration
}

func newFileQueue() fileQueue {
	return fileQueue{sending: make(chan struct{}, 1), wake: make(chan struct{}, 1), fetch: map[*context.CancelFunc]bool{}, later: map[syncengine.ID]later{}}
}

// WaitingFiles is what of this device's files is not whole at the server yet.
type WaitingFiles struct {
	Files int
	// Bytes are those that are not there.
	Bytes int64
	// ForLink: they wait for a better link; SendFiles does not.
	ForLink bool
	// Takes is about how long they take once they go, 0 while nothing is known of the link.
	Takes time.Duration
}

// WaitingFiles returns what waits.
func (c *Client) WaitingFiles(ctx context.Context) (*WaitingFiles, error) {
	w := &WaitingFiles{}
	err := c.store.read(ctx, "counting files that wait", func(rtx *sql.Tx) error {
		return rtx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(size - sent), 0) FROM blob WHERE state = 1`).Scan(&w.Files, &w.Bytes)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.Files > 0 && c.pace.up > 0 {
		w.Takes = time.Duration(float64(w.Bytes) / c.pace.up * float64(time.Second))
	}
	w.ForLink = w.Files > 0 && !c.pace.fast()
	return w, err
}

// SendFiles sends the files that wait, whatever the link. What is written goes first.
func (c *Client) SendFiles(ctx context.Context) error {
	if c.ordered.Load() {
		return ErrWipeOrdered
	}
	return c.sendFiles(ctx, true)
}

// filesLoop sends, while Run runs, the files that wait: after all that is written, and
// when the link is good. Where the last try of another loop came to nothing it makes none.
func (c *Client) filesLoop(ctx context.Context) error {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.files.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.unsent.Load() || c.unheard.Load() {
			continue
		}
		if err := c.pushed(ctx); err != nil {
			return err
		}
		// What is wrong with files stops no words.
		if err := c.sendFiles(ctx, false); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			c.log.Warn().Err(err).Msg("files wait")
		}
	}
}

// yieldFiles lets what was just written go first: on a link that is slow, or where it is
// urgent, the piece of a file that is under way is given up. One that is fetched, because
// somebody waits for it, gives way to what is urgent alone.
func (c *Client) yieldFiles(urgent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for drop := range c.files.fetch {
		if urgent {
			(*drop)()
		}
	}
	if c.files.drop != nil && (urgent || !c.pace.fast()) {
		c.files.drop()
	}
}

// waitingFile is a file that is to be sent.
type waitingFile struct {
	id         syncengine.ID
	size, sent int64
}

// ownUnsettled: an own save that writes a record may yet be applied, or is applied and not
// in the cut that is shown.
const ownUnsettled = `SELECT EXISTS (SELECT 1 FROM outbox_write w JOIN outbox o ON o.op = w.op WHERE w.record = $1 AND o.state IN (1, 2, 4, 7, 8))`

// errYield says that something else goes first.
var errYield = errors.New("what is written goes first")

// sendFiles sends the files that wait. always: whatever the link. It returns nil where
// something that was written goes first.
func (c *Client) sendFiles(ctx context.Context, always bool) error {
	select {
	case c.files.sending <- struct{}{}:
		defer func() { <-c.files.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	waiting, err := c.filesWaiting(ctx)
	if err != nil {
		return err
	}
	// Of files that somebody wants sent the first that the server did not take is told of.
	var first error
	for _, w := range waiting {
		c.mu.Lock()
		until := c.files.later[w.id].until
		c.mu.Unlock()
		if !always && time.Now().Before(until) {
			continue
		}
		err := c.sendFile(ctx, w, always)
		if errors.Is(err, errYield) {
			return nil
		}
		if err != nil && !itsOwn(ctx, err) {
			return err
		}
		if err != nil {
			c.log.Warn().Err(err).Msg("a file cannot be sent now: the next one is")
			c.leave(w.id)
			if _, ok := errors.AsType[*ContactError](err); ok && always && first == nil {
				first = err
			}
		}
	}
	return first
}

// itsOwn reports whether an error of sending a file is that file's alone, so that others
// may go: not one of the contact with the server, nor of the disk.
func itsOwn(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, ErrDiskFull) {
		return false
	}
	contact, ok := errors.AsType[*ContactError](err)
	// A server that is crowded says when to come back; one that has had enough of a
	// person's files does not.
	return !ok || errors.Is(err, ErrRejected) || contact.quota
}

// leave leaves a file alone that cannot be sent, for longer each time.
func (c *Client) leave(id syncengine.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := min(max(2*c.files.later[id].pause, leastLater), mostLater)
	c.files.later[id] = later{until: time.Now().Add(pause), pause: pause}
}

// filesWaiting returns the files that can be sent: their records are at the server, as far
// as the device knows, the oldest first. Those of void records stay here, for whoever
// restores the record.
func (c *Client) filesWaiting(ctx context.Context) (waiting []waitingFile, err error) {
	void := false
	err = c.store.read(ctx, "reading files that wait", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT b.record, b.size, b.sent, coalesce(r.lifecycle, '') FROM blob b LEFT JOIN rec r ON r.id = b.record
			WHERE b.state = 1 AND (r.n IS NULL OR r.base_hash IS NOT NULL) ORDER BY b.at, b.record`)
		if err != nil {
			return err
		}
		err = eachRow(rows, func(scan func(...any) error) error {
			var w waitingFile
			var lifecycle string
			if err := scan((*idColumn)(&w.id), &w.size, &w.sent, &lifecycle); err != nil {
				return err
			}
			if lifecycle == "void" {
				void = true
			} else {
				waiting = append(waiting, w)
			}
			return nil
		})
		if err != nil || void {
			return err
		}
		return rtx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM blob WHERE state = 3)`).Scan(&void)
	})
	if err != nil || !void {
		return waiting, err
	}
	return waiting, c.store.write(ctx, "looking at files of void records", func(t *tx) error { return t.voidFiles(c.opts.Now()) })
}

// voidFiles notes which files are of records that are void at the server, has those wait
// again that are not any more, and removes those that were for long.
func (t *tx) voidFiles(now time.Time) error {
	err := errors.Join(
		t.exec(`UPDATE blob SET state = 3, at = $1 WHERE state = 1 AND EXISTS (SELECT 1 FROM rec WHERE id = record AND lifecycle = 'void' AND pending = 0 AND base_hash IS NOT NULL)`, now.UnixMilli()),
		t.exec(`UPDATE blob SET state = 1 WHERE state = 3 AND EXISTS (SELECT 1 FROM rec WHERE id = record AND lifecycle <> 'void')`))
	if err != nil {
		return err
	}
	var drop []syncengine.ID
	err = t.rows(`SELECT record FROM blob WHERE state = 3 AND at < $1`, []any{now.Add(-voidFiles).UnixMilli()}, func(scan func(...any) error) error {
		var id syncengine.ID
		err := scan((*idColumn)(&id))
		drop = append(drop, id)
		return err
	})
	for _, id := range drop {
		err = errors.Join(err, t.dropFile(id))
	}
	return err
}

// sendFile sends what the server has not of a file.
func (c *Client) sendFile(ctx context.Context, w waitingFile, always bool) error {
	at, err := c.onePiece(ctx, w, 0, true, always)
	if err != nil || at < 0 {
		return err
	}
	if err := c.whole(ctx, w); err != nil {
		return err
	}
	for restarts := 0; at >= 0; {
		next, err := c.onePiece(ctx, w, at, false, always)
		if err != nil {
			return err
		}
		if next >= 0 && next <= at {
			// It has come to another place, or found another hash.
			if restarts++; restarts > 2 {
				return errHash
			}
		}
		at = next
	}
	return nil
}

// whole says whether the bytes of a file are those that were attached, as far as its
// record is here to tell. Others would go all the way up for nothing.
func (c *Client) whole(ctx context.Context, w waitingFile) error {
	return c.store.read(ctx, "checking a file", func(rtx *sql.Tx) error {
		r, err := readRecord(ctx, rtx, w.id)
		if err != nil || r == nil {
			return err
		}
		v, err := c.newView(r)
		if err != nil {
			return err
		}
		a, ok := v.Message.(*tandemv1.Attachment)
		if !ok {
			return nil
		}
		raw, err := readParts(ctx, rtx, w.id, 0, int(w.size))
		if err != nil {
			return err
		}
		if hash := sha256.Sum256(raw); len(raw) > 0 && !bytes.Equal(hash[:], a.GetSha256()) {
			return fmt.Errorf("the bytes of an attachment: %w", ErrDamaged)
		}
		return nil
	})
}

// onePiece sends one piece of a file, or asks how far the server has come, and can be made
// to yield before it looks whether anything was written: what is written later ends it.
func (c *Client) onePiece(ctx context.Context, w waitingFile, at int64, ask, always bool) (next int64, err error) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	c.setDrop(cancel)
	defer c.setDrop(nil)
	size, err := c.piece(call, always)
	if ask {
		size = 0
	}
	if err == nil {
		next, err = c.putPiece(call, w, at, size)
	}
	if err != nil && call.Err() != nil && ctx.Err() == nil {
		return 0, errYield
	}
	return next, err
}

// piece says how large the next piece of a file may be, errYield where none may go now.
func (c *Client) piece(ctx context.Context, always bool) (int, error) {
	queued := false
	err := c.store.read(ctx, "reading what waits", func(rtx *sql.Tx) error { return rtx.QueryRowContext(ctx, anyQueued).Scan(&queued) })
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.pace
	size := probe
	if p.up > 0 {
		size = min(max(int(p.up*pieceTime.Seconds()), probe), syncengine.MaxChunk)
	}
	switch {
	case queued:
		return 0, errYield
	case p.fast():
		return max(size, minPiece), nil
	case always:
		return size, nil
	case p.up == 0 && p.rtt > 0 && p.rtt < nearRTT, time.Since(c.files.probed) >= probeEvery && p.rtt > 0:
		c.files.probed = time.Now()
		return probe, nil
	}
	return 0, errYield
}

// putPiece sends a piece of a file, none to ask how far the server has come. It returns
// where the next one begins, -1 where there is none to send.
func (c *Client) putPiece(ctx context.Context, w waitingFile, at int64, size int) (next int64, err error) {
	way, me, err := c.way()
	if err != nil {
		return 0, err
	}
	req := &tandemv1.PutBlobChunkRequest{Attachment: w.id[:], Offset: uint64(at)}
	if size > 0 {
		// The last piece alone may be smaller than others.
		if left := w.size - at; left-int64(size) < syncengine.MinChunk && left <= syncengine.MaxChunk {
			size = int(left)
		}
		err := c.store.read(ctx, "reading a file", func(rtx *sql.Tx) (err error) {
			req.Data, err = readParts(ctx, rtx, w.id, at, size)
			return err
		})
		if err != nil {
			return 0, err
		}
		if len(req.Data) == 0 {
			// It has been taken back.
			return -1, nil
		}
	}
	call, cancel := context.WithTimeout(ctx, slack+time.Duration(size/slowest)*time.Second)
	defer cancel()
	resp, s, err := way.putBlob(call, req)
	switch {
	case c.superseded(ctx, me, err):
		return 0, errYield
	case err != nil:
		if size > 0 && errors.Is(err, ErrNetwork) {
			c.mu.Lock()
			// What was known of the link held for another.
			c.pace.broke()
			c.mu.Unlock()
		}
		return 0, err
	}
	if size > 0 {
		c.mu.Lock()
		c.pace.learn(s)
		c.mu.Unlock()
	}
	return c.putDone(context.WithoutCancel(ctx), w, resp)
}

func (c *Client) setDrop(drop context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files.drop = drop
}

// putDone takes in how far the server has come.
func (c *Client) putDone(ctx context.Context, w waitingFile, resp *tandemv1.PutBlobChunkResponse) (next int64, err error) {
	err = c.store.write(ctx, "noting what of a file is sent", func(t *tx) error {
		gone := false
		if err := t.row(`SELECT NOT EXISTS (SELECT 1 FROM rec WHERE id = $1)`, []any{w.id[:]}, &gone); err != nil {
			return err
		}
		unsettled := false
		if err := t.row(ownUnsettled, []any{w.id[:]}, &unsettled); err != nil {
			return err
		}
		switch {
		case gone && (resp.GetComplete() || !resp.GetWanted() && !unsettled):
			// Its record has left the device, and the server has the file, or wants none.
			// While a save that makes the record may yet be accepted the file stays.
			return t.dropFile(w.id)
		case !resp.GetWanted():
			return nil
		case resp.GetComplete():
			if err := t.exec(`UPDATE blob SET sent = size, state = 2 WHERE record = $1`, w.id[:]); err != nil {
				return err
			}
			return t.fewerFiles(w.id)
		}
		return t.exec(`UPDATE blob SET sent = min(size, $2) WHERE record = $1`, w.id[:], int64(resp.GetHeld()))
	})
	switch {
	case err != nil:
		return 0, err
	case !resp.GetWanted():
		c.mu.Lock()
		c.files.later[w.id] = later{until: time.Now().Add(probeEvery)}
		c.mu.Unlock()
		return -1, nil
	case resp.GetComplete():
		c.log.Info().Int64("bytes", w.size).Msg("a file is at the server")
		if c.opts.OnChange != nil {
			c.opts.OnChange([]syncengine.ID{w.id})
		}
		return -1, nil
	case int64(resp.GetHeld()) >= w.size:
		return 0, errHash
	}
	return int64(resp.GetHeld()), nil
}

// fetchFile fetches what is not here of a file. Of a record that was only looked up
// nothing is kept.
func (c *Client) fetchFile(ctx context.Context, v *View, a *tandemv1.Attachment) ([]byte, error) {
	if a.GetSize() == 0 || a.GetSize() > media.MaxBytes {
		return nil, ErrNothing
	}
	way, _, err := c.way()
	if err != nil {
		return nil, err
	}
	var raw []byte
	keep := v.LookedUpMS == 0
	if keep {
		err := c.store.read(ctx, "reading a file", func(rtx *sql.Tx) (err error) {
			raw, err = readParts(ctx, rtx, v.ID, 0, int(a.GetSize()))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for len(raw) < int(a.GetSize()) {
		resp, err := c.fetchPiece(ctx, way, v.ID, len(raw))
		if errors.Is(err, errYield) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if resp.GetSize() != uint64(a.GetSize()) || len(resp.GetData()) == 0 || len(raw)+len(resp.GetData()) > int(a.GetSize()) {
			return nil, ErrNothing
		}
		if keep {
			if err := c.keepPart(ctx, v.ID, int64(a.GetSize()), int64(len(raw)), resp.GetData()); err != nil && !errors.Is(err, ErrDiskFull) {
				return nil, err
			} else if err != nil {
				// It can be looked at all the same.
				keep = false
			}
		}
		raw = append(raw, resp.GetData()...)
	}
	if hash := sha256.Sum256(raw); !bytes.Equal(hash[:], a.GetSha256()) {
		err := c.store.write(ctx, "removing a file that is another", func(t *tx) error { return t.dropFile(v.ID) })
		return nil, errors.Join(fmt.Errorf("fetching a file: %w", errHash), err)
	}
	if keep {
		err = c.fetched(ctx, v.ID, &media.File{Type: a.GetMediaType(), Bytes: raw})
	}
	return raw, err
}

// fetchPiece fetches the next piece of a file, after what is urgent; errYield where
// something urgent was written meanwhile.
func (c *Client) fetchPiece(ctx context.Context, way *link, id syncengine.ID, at int) (*tandemv1.GetBlobChunkResponse, error) {
	if err := c.urgentFirst(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	size := uint32(probe)
	if c.pace.down > 0 {
		size = uint32(min(max(int(c.pace.down*pieceTime.Seconds()), probe), syncengine.MaxChunk))
	}
	call, cancel := context.WithTimeout(ctx, slack+time.Duration(size/slowest)*time.Second)
	c.files.fetch[&cancel] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.files.fetch, &cancel)
		c.mu.Unlock()
		cancel()
	}()
	resp, s, err := way.getBlob(call, &tandemv1.GetBlobChunkRequest{Attachment: id[:], Offset: uint64(at), Limit: size})
	if err != nil && errors.Is(call.Err(), context.Canceled) && ctx.Err() == nil {
		return nil, errYield
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.pace.learn(s)
	c.mu.Unlock()
	return resp, nil
}

// urgentFirst waits while something urgent is to be sent, but no longer than it may take:
// it may be that nobody sends.
func (c *Client) urgentFirst(ctx context.Context) error {
	const again = 100 * time.Millisecond
	for waited := time.Duration(0); waited < urgentTime; waited += again {
		urgent := false
		err := c.store.read(ctx, "reading what is urgent", func(rtx *sql.Tx) error {
			return rtx.QueryRowContext(ctx, anyUrgent).Scan(&urgent)
		})
		if err != nil || !urgent {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
	return nil
}

// isMe reports whether an id is that of the device's own person.
func (c *Client) isMe(id syncengine.ID) bool {
	me, err := c.identity()
	return err == nil && bytes.Equal(me.answer.GetPerson(), id[:])
}

// keepPart stores bytes of a file that were fetched, where its record is still here.
func (c *Client) keepPart(ctx context.Context, id syncengine.ID, size, at int64, data []byte) error {
	return c.store.write(ctx, "storing a part of a file", func(t *tx) error {
		r, err := t.Record(id)
		if err != nil {
			return err
		}
		if r == nil {
			return ErrNotFound
		}
		held := int64(0)
		if err := t.row(`SELECT held FROM blob WHERE record = $1`, []any{id[:]}, &held); err != nil || held != at {
			// Another has fetched it meanwhile.
			return err
		}
		// What this person attached may be wanted from here by a server that was set back.
		own := int64(0)
		if by, err := r.Origin(); err == nil && c.isMe(by.Author) {
			own = 1
		}
		err = t.exec(`INSERT INTO blob (record, size, held, sent, own, state, at, thumb) VALUES ($1, $2, $3, $2, $5, 2, $4, x'')
			ON CONFLICT (record) DO UPDATE SET held = $3`, id[:], size, at+int64(len(data)), c.opts.Now().UnixMilli(), own)
		return errors.Join(err, t.addPart(id, at, data))
	})
}

// fetched notes that a file is whole here.
func (c *Client) fetched(ctx context.Context, id syncengine.ID, f *media.File) error {
	select {
	case decoding <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	// What cannot be shown small is shown when it is opened.
	thumb, _ := media.Thumbnail(f, thumbSide)
	<-decoding
	return c.store.write(ctx, "storing a file", func(t *tx) error {
		if err := t.exec(`UPDATE blob SET at = $2, thumb = $3 WHERE record = $1`, id[:], c.opts.Now().UnixMilli(), blob(thumb)); err != nil {
			return err
		}
		return t.fewerFiles(id)
	})
}

// sendLastFiles sends what it can of the files of a store that is to be wiped, and notes
// for the audit log what is left: it goes with the store.
func (c *Client) sendLastFiles(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, lastFiles)
	err := c.sendFiles(call, true)
	cancel()
	if err != nil {
		c.log.Warn().Err(err).Msg("files could not be sent before the wipe")
	}
	left, err := c.WaitingFiles(ctx)
	if err == nil && left.Files > 0 {
		c.log.Warn().Int("files", left.Files).Int64("bytes", left.Bytes).Msg("files go with the wipe: the server has not got them")
		err = c.noteLeft(ctx, left)
	}
	if err != nil {
		// That stops no wipe.
		c.log.Error().Err(err).Msg("files that go with the wipe could not be noted")
	}
}

// metaFilesLeft holds how many files and bytes were last noted as left by a wipe.
const metaFilesLeft = "wipe_files_left"

// noteLeft notes for the audit log what a wipe leaves of files: once, however often the wipe
// is tried, and anew where it is not the same any more.
func (c *Client) noteLeft(ctx context.Context, left *WaitingFiles) error {
	return c.store.write(ctx, "noting files that are lost", func(t *tx) error {
		now := fmt.Appendf(nil, "%d %d", left.Files, left.Bytes)
		noted, err := t.meta(metaFilesLeft)
		if err != nil || bytes.Equal(noted, now) {
			return err
		}
		if err := t.setMeta(metaFilesLeft, now); err != nil {
			return err
		}
		c.store.notes.add(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_FILES_LEFT, AtMs: c.opts.Now().UnixMilli(), Count: uint64(left.Files), Number: uint64(left.Bytes),
		})
		return nil
	})
}

// resendFiles has every file that this device has attached, and still has, asked for again:
// the server was set back.
func (t *tx) resendFiles() error {
	return t.exec(`UPDATE blob SET state = 1, sent = 0 WHERE own = 1 AND held = size AND state = 2`)
}

// putBlob sends a piece of a file.
func (l *link) putBlob(ctx context.Context, req *tandemv1.PutBlobChunkRequest) (*tandemv1.PutBlobChunkResponse, sample, error) {
	met := &contact{began: time.Now()}
	if err := l.greet(ctx, met); err != nil {
		return nil, sample{}, met.verdict(ctx, err)
	}
	resp, err := call(ctx, met, func(ctx context.Context) (*tandemv1.PutBlobChunkResponse, error) {
		return l.sync.PutBlobChunk(ctx, req)
	})
	return resp, sample{took: time.Since(met.began), up: met.up.Load(), down: met.down.Load()}, err
}

// getBlob fetches a piece of a file.
func (l *link) getBlob(ctx context.Context, req *tandemv1.GetBlobChunkRequest) (*tandemv1.GetBlobChunkResponse, sample, error) {
	met := &contact{began: time.Now()}
	if err := l.greet(ctx, met); err != nil {
		return nil, sample{}, met.verdict(ctx, err)
	}
	resp, err := call(ctx, met, func(ctx context.Context) (*tandemv1.GetBlobChunkResponse, error) {
		return l.sync.GetBlobChunk(ctx, req)
	})
	return resp, sample{took: time.Since(met.began), up: met.up.Load(), down: met.down.Load()}, err
}
