package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/media"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Bounds of the files that one person begins to bring in such a time.
const (
	maxAttached    = 256 << 20
	attachedWithin = 24 * time.Hour
	// readingNoted is how often it is noted that a file is still being read.
	readingNoted = time.Hour
)

// ErrAttached says that a person has brought too much.
var ErrAttached = errors.New("too many files within a day: they stay on the device, and are sent by themselves later")

// PutBlobChunk implements tandemv1connect.SyncServiceHandler.
func (s *syncing) PutBlobChunk(ctx context.Context, req *tandemv1.PutBlobChunkRequest) (*tandemv1.PutBlobChunkResponse, error) {
	id, org, err := s.caller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := errors.Join(s.meet(ctx, org, id, nil), s.proved(ctx, org, id)); err != nil {
		return nil, s.refuse(err)
	}
	resp := &tandemv1.PutBlobChunkResponse{}
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		// A transaction may run twice.
		proto.Reset(resp)
		return s.putBlobChunk(tx, org, id, req, resp)
	})
	if err != nil {
		return nil, s.refuse(err)
	}
	return resp, nil
}

// attachment is a record of an attachment that somebody may do something with.
type attachment struct {
	*syncengine.Attached
	*tandemv1.Attachment
}

// attachment returns the attachment of an id; nil where there is none with bytes of its
// own that the caller may do anything with.
func (s *Server) attachment(tx *store.Tx, org *store.Org, id *auth.Identity, raw []byte) (*attachment, error) {
	key, ok := syncengine.IDFromBytes(raw)
	if !ok {
		return nil, syncengine.ErrChunk
	}
	replica, err := tx.Replica(id.Replica)
	if err != nil {
		return nil, err
	}
	may, err := s.engine(org).Attached(tx, replica, key)
	if err != nil || may.Record == nil {
		return nil, err
	}
	msg, err := record.New().Message(&may.Record.Record)
	if err != nil {
		return nil, err
	}
	m, ok := msg.(*tandemv1.Attachment)
	// A text that stands in the record has no bytes beside it; what is void is as good as
	// not there until somebody restores it.
	if !ok || m.GetLifecycle() == record.Void || m.Text != nil || len(m.GetSha256()) != len(syncengine.Hash{}) || m.GetSize() == 0 || m.GetSize() > media.MaxBytes {
		return nil, nil
	}
	return &attachment{may, m}, nil
}

func (s *Server) putBlobChunk(tx *store.Tx, org *store.Org, id *auth.Identity, req *tandemv1.PutBlobChunkRequest, resp *tandemv1.PutBlobChunkResponse) error {
	if len(req.GetData()) > syncengine.MaxChunk {
		return syncengine.ErrChunk
	}
	a, err := s.attachment(tx, org, id, req.GetAttachment())
	if err != nil || a == nil || !a.Sends || !media.Takes(a.GetMediaType()) {
		return err
	}
	resp.Wanted = true
	key, size := a.Record.ID, int64(a.GetSize())
	b, err := tx.Blob(key)
	if err != nil {
		return err
	}
	if b == nil {
		b = &store.Blob{Record: key, Size: size, Person: id.Person, BegunMS: s.now().UnixMilli()}
	}
	if b.Held == 0 && !b.Complete {
		// Who only asks is told so too, and sends nothing in vain.
		since := s.now().Add(-attachedWithin).UnixMilli()
		if b.BegunMS < since {
			b.BegunMS, b.Wasted = s.now().UnixMilli(), 0
		}
		brought, err := tx.BlobBytesSince(id.Person, key, since)
		if err != nil {
			return err
		}
		if brought+size > maxAttached {
			return ErrAttached
		}
	}
	resp.Held, resp.Complete = uint64(b.Held), b.Complete
	if b.Complete || len(req.GetData()) == 0 || req.GetOffset() != uint64(b.Held) {
		return nil
	}
	next := b.Held + int64(len(req.GetData()))
	if next > size || next < size && len(req.GetData()) < syncengine.MinChunk {
		return syncengine.ErrChunk
	}
	if err := tx.AddBlobChunk(key, b.Held, req.GetData()); err != nil {
		return err
	}
	b.Held = next
	if next == size {
		if err := s.completed(tx, id, a, b); err != nil {
			return err
		}
	}
	resp.Held, resp.Complete = uint64(b.Held), b.Complete
	return tx.SaveBlob(b)
}

// completed judges the bytes of a file that are all there: those whose hash is another, or
// that hold more than what is kept of their type, are removed, and may be sent anew. They
// count for what a person may bring within a day.
func (s *Server) completed(tx *store.Tx, id *auth.Identity, a *attachment, b *store.Blob) error {
	raw, err := tx.BlobRange(b.Record, 0, int(b.Size))
	if err != nil {
		return err
	}
	hash := syncengine.Hash(sha256.Sum256(raw))
	e := &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_STORED, Person: id.Person[:], Replica: id.Replica[:],
		Subject: b.Record[:], Kind: a.Record.Kind, Count: uint64(b.Size), Hash: hash[:],
	}
	if int64(len(raw)) == b.Size && bytes.Equal(hash[:], a.GetSha256()) && media.Checked(a.GetMediaType(), raw) == nil {
		b.Complete = true
		return tx.Audit(e)
	}
	b.Held, b.Wasted = 0, b.Wasted+b.Size
	e.Act, e.Code = tandemv1.AuditAct_AUDIT_ACT_REFUSED, "attachment"
	return errors.Join(tx.DropBlobChunks(b.Record), tx.Audit(e))
}

// GetBlobChunk implements tandemv1connect.SyncServiceHandler.
func (s *syncing) GetBlobChunk(ctx context.Context, req *tandemv1.GetBlobChunkRequest) (*tandemv1.GetBlobChunkResponse, error) {
	id, org, err := s.caller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := errors.Join(s.meet(ctx, org, id, nil), s.proved(ctx, org, id)); err != nil {
		return nil, s.refuse(err)
	}
	resp := &tandemv1.GetBlobChunkResponse{}
	// What is not in the log does not leave the server.
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		proto.Reset(resp)
		return s.getBlobChunk(tx, org, id, req, resp)
	})
	if err != nil {
		return nil, s.refuse(err)
	}
	return resp, nil
}

func (s *Server) getBlobChunk(tx *store.Tx, org *store.Org, id *auth.Identity, req *tandemv1.GetBlobChunkRequest, resp *tandemv1.GetBlobChunkResponse) error {
	a, err := s.attachment(tx, org, id, req.GetAttachment())
	if err != nil || a == nil || !a.Reads {
		return err
	}
	b, err := tx.Blob(a.Record.ID)
	if err != nil || b == nil || !b.Complete {
		return err
	}
	resp.Size = uint64(b.Size)
	if req.GetOffset() >= resp.GetSize() {
		return nil
	}
	limit := int(req.GetLimit())
	if limit == 0 || limit > syncengine.MaxChunk {
		limit = syncengine.MaxChunk
	}
	limit = max(limit, syncengine.MinChunk)
	if resp.Data, err = tx.BlobRange(b.Record, int64(req.GetOffset()), limit); err != nil {
		return err
	}
	// Each reading is noted when it begins, and hourly while it lasts: not each piece.
	now := s.now()
	noted, err := tx.BlobReading(b.Record, id.Replica, req.GetOffset() == 0, now.UnixMilli(), now.Add(-readingNoted).UnixMilli())
	if err != nil || noted {
		return err
	}
	return tx.Audit(&tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_READ, Person: id.Person[:], Replica: id.Replica[:],
		Subject: b.Record[:], Kind: a.Record.Kind, Count: uint64(b.Size), Number: req.GetOffset(),
	})
}
