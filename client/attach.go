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
	"github.com/tandem-response/tandem/syncengine/record"
)

const (
	// partSize is the size of the parts in which a file is stored.
	partSize = 64 << 10
	// keptFiles is how many bytes of files that the server has are kept here: beyond it,
	// those go that nobody has looked at for longest, and are fetched again when wanted.
	keptFiles = 128 << 20
	// thumbSide is the longer side of a thumbnail, in pixels.
	thumbSide = 192
)

// attachmentKind is the number of the kind of attachments.
var attachmentKind = record.New().KindByName("attachment").Number

// States of a file, as in the schema.
const (
	fileWaits  = 1
	fileStored = 2
	// fileVoid: it waited when its record was void at the server, and at is since when that
	// is known. It waits again if somebody restores the record.
	fileVoid = 3

	// voidFiles is how long such a file is kept.
	voidFiles = 30 * 24 * time.Hour
)

// ErrNotHere says that the bytes of an attachment are not on this device.
var ErrNotHere = errors.New("the file is not on this device: it is fetched when there is signal")

// ErrSentFile says that a file cannot be taken back here.
var ErrSentFile = errors.New("the file is at the server already: void the attachment, with a reason")

// File is how far the file of an attachment has come.
type File struct {
	// Size of it; Held of these bytes are here, Sent are known to be at the server.
	Size, Held, Sent int64
	// Own: this device has attached it. Stored: it is whole at the server.
	Own, Stored bool
	// Thumb is a small picture of it, a JPEG; empty for none.
	Thumb []byte
}

// NewFile is a file to be attached.
type NewFile struct {
	// Owner is the record that it belongs to.
	Owner *View
	// Category is its code, photo or document; Title may be empty.
	Category, Title string
	// Raw is the file as it was given.
	Raw []byte
}

// Attach attaches a file to a record. What is of no type that is taken, or too large, is
// refused with an error of package media and nothing is changed. Of a picture the picture
// is kept and nothing else: not where it was taken, when, or with what. The record and its
// bytes are stored in one transaction; when Attach returns nil error both survive a power
// cut, and are sent by themselves.
func (c *Client) Attach(ctx context.Context, f NewFile) (syncengine.ID, error) {
	var id syncengine.ID
	if f.Owner == nil || f.Owner.Kind == nil {
		return id, ErrNotFound
	}
	clean, thumb, err := cleanOne(ctx, f.Raw)
	if err != nil {
		return id, err
	}
	hash := sha256.Sum256(clean.Bytes)
	_, err = c.edit(ctx, func(e *Edit) (err error) {
		a := &tandemv1.Attachment{
			Owner:    &tandemv1.RecordRef{Kind: &f.Owner.Kind.Name, Id: new(f.Owner.ID.String())},
			Category: &f.Category, Sha256: hash[:], MediaType: &clean.Type, Size: new(uint32(len(clean.Bytes))),
		}
		if f.Title != "" {
			a.Title = &f.Title
		}
		e.c.sameTeam(a, f.Owner.Message)
		id, err = e.Create(a)
		return err
	}, func(t *tx) error { return t.addFile(id, clean.Bytes, thumb, c.opts.Now().UnixMilli()) })
	return id, err
}

// decoding is held over decoding a picture: one at a time in a process, for each may take
// media.MaxMemory.
var decoding = make(chan struct{}, 1)

// cleanOne returns what is kept of a file, and its small picture, in its turn.
func cleanOne(ctx context.Context, raw []byte) (clean *media.File, thumb []byte, err error) {
	select {
	case decoding <- struct{}{}:
		defer func() { <-decoding }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if clean, err = media.Clean(raw); err != nil {
		return nil, nil, err
	}
	thumb, err = media.Thumbnail(clean, thumbSide)
	return clean, thumb, err
}

// sameTeam puts an attachment in the team of what it hangs on.
func (c *Client) sameTeam(a *tandemv1.Attachment, owner any) {
	of, ok := owner.(interface {
		GetTeamId() string
		GetProgramId() string
	})
	if !ok {
		return
	}
	if team := of.GetTeamId(); team != "" {
		a.TeamId = &team
	}
	if program := of.GetProgramId(); program != "" {
		a.ProgramId = &program
	}
}

func (t *tx) addFile(id syncengine.ID, raw, thumb []byte, atMS int64) error {
	err := t.exec(`INSERT INTO blob (record, size, held, sent, own, state, at, thumb) VALUES ($1, $2, $2, 0, 1, $3, $4, $5)`,
		id[:], int64(len(raw)), int64(fileWaits), atMS, blob(thumb))
	for at := 0; at < len(raw) && err == nil; at += partSize {
		err = t.addPart(id, int64(at), raw[at:min(at+partSize, len(raw))])
	}
	return err
}

func (t *tx) addPart(id syncengine.ID, at int64, data []byte) error {
	return t.exec(`INSERT INTO blob_part (record, at, data) VALUES ($1, $2, $3)`, id[:], at, data)
}

// dropFile removes what is here of a file.
func (t *tx) dropFile(id syncengine.ID) error {
	t.dropped = true
	return errors.Join(t.exec(`DELETE FROM blob_part WHERE record = $1`, id[:]), t.exec(`DELETE FROM blob WHERE record = $1`, id[:]))
}

// purgeFile removes what is here of the file of a record that has left the device; what
// waits to be sent is its author's unsent words, and goes when the server has it.
func (t *tx) purgeFile(id syncengine.ID) error {
	var state int64
	if err := t.row(`SELECT state FROM blob WHERE record = $1`, []any{id[:]}, &state); err != nil || state != fileStored {
		return err
	}
	return t.dropFile(id)
}

// fewerFiles removes files beyond what is kept; keep stays.
func (t *tx) fewerFiles(keep syncengine.ID) error {
	var drop []syncengine.ID
	sum := int64(0)
	err := t.rows(`SELECT record, held FROM blob WHERE state = 2 ORDER BY record <> $1, at DESC`, []any{keep[:]}, func(scan func(...any) error) error {
		var id syncengine.ID
		var held int64
		err := scan((*idColumn)(&id), &held)
		if sum += held; sum > keptFiles && id != keep {
			drop = append(drop, id)
		}
		return err
	})
	for _, id := range drop {
		err = errors.Join(err, t.dropFile(id))
	}
	return err
}

// FileOf returns how far the file of an attachment has come. Of one that was never here
// all is zero but what its record says.
func (c *Client) FileOf(ctx context.Context, v *View) (*File, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	a, ok := v.Message.(*tandemv1.Attachment)
	if !ok {
		return nil, ErrNotFound
	}
	f := &File{Size: int64(a.GetSize())}
	err := c.store.read(ctx, "reading a file's state", func(rtx *sql.Tx) error {
		state := 0
		err := rtx.QueryRowContext(ctx, `SELECT held, sent, own, state, thumb FROM blob WHERE record = $1`, v.ID[:]).Scan(&f.Held, &f.Sent, &f.Own, &state, &f.Thumb)
		if errors.Is(err, sql.ErrNoRows) {
			// It was attached elsewhere.
			return nil
		}
		f.Stored = state == fileStored
		return err
	})
	return f, err
}

// ReadFile returns the bytes of an attachment, as they were attached: those that are here,
// else it fetches them, which goes on where an earlier try was cut. What is void has none.
// The error is a *ContactError without signal, ErrNothing where the server has none that
// its person may read now.
func (c *Client) ReadFile(ctx context.Context, id syncengine.ID) (*media.File, error) {
	v, a, err := c.attachment(ctx, id)
	if err != nil {
		return nil, err
	}
	raw, err := c.fileHere(ctx, id, a)
	if errors.Is(err, ErrNotHere) {
		raw, err = c.fetchFile(ctx, v, a)
	}
	if err != nil {
		return nil, err
	}
	return &media.File{Type: a.GetMediaType(), Bytes: raw}, nil
}

// attachment reads the record of a file, and notes that it was.
func (c *Client) attachment(ctx context.Context, id syncengine.ID) (*View, *tandemv1.Attachment, error) {
	v, err := c.Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	a, ok := v.Message.(*tandemv1.Attachment)
	if !ok || v.Lifecycle == record.Void {
		return nil, nil, ErrNotFound
	}
	return v, a, nil
}

// fileHere returns the bytes of a file that are whole here.
func (c *Client) fileHere(ctx context.Context, id syncengine.ID, a *tandemv1.Attachment) ([]byte, error) {
	var raw []byte
	err := c.store.read(ctx, "reading a file", func(rtx *sql.Tx) (err error) {
		raw, err = readParts(ctx, rtx, id, 0, int(a.GetSize()))
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(raw) != int(a.GetSize()) {
		return nil, ErrNotHere
	}
	if hash := sha256.Sum256(raw); !bytes.Equal(hash[:], a.GetSha256()) {
		return nil, fmt.Errorf("the bytes of an attachment: %w", ErrDamaged)
	}
	return raw, nil
}

// readParts reads up to limit bytes of a file from an offset on.
func readParts(ctx context.Context, rtx *sql.Tx, id syncengine.ID, offset int64, limit int) (data []byte, err error) {
	rows, err := rtx.QueryContext(ctx, `SELECT at, data FROM blob_part WHERE record = $1 AND at < $3
		AND at >= coalesce((SELECT max(at) FROM blob_part WHERE record = $1 AND at <= $2), 0) ORDER BY at`, id[:], offset, offset+int64(limit))
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		var at int64
		var part []byte
		if err := scan(&at, &part); err != nil {
			return err
		}
		from := offset + int64(len(data)) - at
		if from < 0 {
			return fmt.Errorf("the bytes of an attachment: %w", ErrDamaged)
		}
		if from < int64(len(part)) {
			data = append(data, part[from:min(int64(len(part)), from+int64(limit-len(data)))]...)
		}
		return nil
	})
	return data, err
}

// RemoveFile takes back an attachment whose bytes have not been sent: its record is void,
// for the reason given, and its bytes leave the device. The error is ErrSentFile where the
// server is known to have any of them; of a piece whose answer was lost nobody reads a byte,
// for the record is void.
func (c *Client) RemoveFile(ctx context.Context, id syncengine.ID, reason string) error {
	v, _, err := c.attachment(ctx, id)
	if err != nil {
		return err
	}
	if err := c.holdFiles(ctx); err != nil {
		return err
	}
	defer func() { <-c.files.sending }()
	_, err = c.edit(ctx, func(e *Edit) error { return e.Void(v, reason) }, func(t *tx) error {
		var state, sent, own int64
		if err := t.row(`SELECT state, sent, own FROM blob WHERE record = $1`, []any{id[:]}, &state, &sent, &own); err != nil {
			return err
		}
		if own == 0 || state != fileWaits || sent > 0 {
			return ErrSentFile
		}
		return t.dropFile(id)
	})
	return err
}

// holdFiles ends the piece under way and keeps others from going, until sending is given
// back.
func (c *Client) holdFiles(ctx context.Context) error {
	const again = 50 * time.Millisecond
	for {
		c.mu.Lock()
		if c.files.drop != nil {
			c.files.drop()
		}
		c.mu.Unlock()
		select {
		case c.files.sending <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}
