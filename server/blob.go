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
	// maxJudged is how many files are judged at a time: each takes some times its size.
	maxJudged = 2
)

// ErrAttached says that a person has brought too much.
var ErrAttached = errors.New("too many files within a day: they stay on the device, and are sent by themselves later")

// PutBlobChunk implements tandemv1connect.SyncServiceHandler.
func (s *syncing) PutBlobChunk(ctx context.Context, req *tandemv1.PutBlobChunkRequest) (*tandemv1.PutBlobChunkResponse, error) {
	id, org, err := s.admittedCaller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := errors.Join(s.meet(ctx, org, id, nil), s.proved(ctx, org, id)); err != nil {
		return nil, s.refuse(err)
	}
	resp := &tandemv1.PutBlobChunkResponse{}
	whole := false
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) (err error) {
		// A transaction may run twice.
		proto.Reset(resp)
		whole, err = s.putBlobChunk(tx, org, id, req, resp)
		return err
	})
	// Whoever asks about a file that is whole and was not judged has it judged: the one who
	// brought its last piece may be gone.
	if err == nil && whole {
		err = s.judge(ctx, org, id, req.GetAttachment(), resp)
	}
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

// putBlobChunk takes a piece, and reports whether all are there and wait to be judged.
func (s *Server) putBlobChunk(tx *store.Tx, org *store.Org, id *auth.Identity, req *tandemv1.PutBlobChunkRequest, resp *tandemv1.PutBlobChunkResponse) (whole bool, err error) {
	if len(req.GetData()) > syncengine.MaxChunk {
		return false, syncengine.ErrChunk
	}
	a, err := s.attachment(tx, org, id, req.GetAttachment())
	if err != nil || a == nil || !a.Sends || !media.Takes(a.GetMediaType()) {
		return false, err
	}
	resp.Wanted = true
	key, size := a.Record.ID, int64(a.GetSize())
	b, err := tx.Blob(key)
	if err != nil {
		return false, err
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
			return false, err
		}
		if brought+size > maxAttached {
			return false, ErrAttached
		}
	}
	resp.Held, resp.Complete = uint64(b.Held), b.Complete
	if b.Complete || len(req.GetData()) == 0 || req.GetOffset() != uint64(b.Held) {
		return !b.Complete && b.Held >= size, nil
	}
	next := b.Held + int64(len(req.GetData()))
	if next > size || next < size && len(req.GetData()) < syncengine.MinChunk {
		return false, syncengine.ErrChunk
	}
	if err := tx.AddBlobChunk(key, b.Held, req.GetData()); err != nil {
		return false, err
	}
	b.Held = next
	resp.Held = uint64(b.Held)
	return next == size, tx.SaveBlob(b)
}

// judged is what was found of the bytes of a file outside of a transaction.
type judged struct {
	hash  syncengine.Hash
	size  int64
	kind  string
	clean bool
}

// judge looks at the bytes of a file that are all there while others write, and then says
// so of those same bytes.
func (s *Server) judge(ctx context.Context, org *store.Org, id *auth.Identity, key []byte, resp *tandemv1.PutBlobChunkResponse) error {
	select {
	case s.judging <- struct{}{}:
		defer func() { <-s.judging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	raw, err := s.store.BlobBytes(ctx, org.ID, syncengine.ID(key))
	if err != nil {
		return err
	}
	found := judged{hash: sha256.Sum256(raw), size: int64(len(raw)), kind: media.Sniff(raw)}
	found.clean = media.Checked(found.kind, raw) == nil
	return s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		proto.Reset(resp)
		return s.completed(tx, org, id, key, found, resp)
	})
}

// completed writes what was found of a file where its bytes are those still: those whose
// hash is another, or that hold more than what is kept of their type, are removed, and may
// be sent anew. They count for what a person may bring within a day.
func (s *Server) completed(tx *store.Tx, org *store.Org, id *auth.Identity, key []byte, found judged, resp *tandemv1.PutBlobChunkResponse) error {
	a, err := s.attachment(tx, org, id, key)
	if err != nil || a == nil || !a.Sends {
		return err
	}
	resp.Wanted = true
	b, err := tx.Blob(a.Record.ID)
	if err != nil || b == nil {
		return err
	}
	resp.Held, resp.Complete = uint64(b.Held), b.Complete
	// Another may have refused these, and others may have come in their place.
	if b.Complete || b.Held < int64(a.GetSize()) || b.Held != found.size {
		return nil
	}
	if hash, _, err := tx.BlobHash(b.Record); err != nil || hash != found.hash {
		return err
	}
	e := &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_STORED, Person: id.Person[:], Replica: id.Replica[:],
		Subject: b.Record[:], Kind: a.Record.Kind, Count: uint64(b.Size), Hash: found.hash[:],
	}
	if found.size == b.Size && bytes.Equal(found.hash[:], a.GetSha256()) && found.clean && found.kind == a.GetMediaType() {
		b.Complete, resp.Complete = true, true
		return errors.Join(tx.Audit(e), tx.SaveBlob(b))
	}
	b.Held, b.Wasted, resp.Held = 0, b.Wasted+b.Size, 0
	e.Act, e.Code = tandemv1.AuditAct_AUDIT_ACT_REFUSED, "attachment"
	return errors.Join(tx.DropBlobChunks(b.Record), tx.Audit(e), tx.SaveBlob(b))
}

// GetBlobChunk implements tandemv1connect.SyncServiceHandler.
func (s *syncing) GetBlobChunk(ctx context.Context, req *tandemv1.GetBlobChunkRequest) (*tandemv1.GetBlobChunkResponse, error) {
	id, org, err := s.admittedCaller(ctx)
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
