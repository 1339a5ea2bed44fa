package server_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"runtime"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// TestFilesAreJudgedBeside: while a file is judged others write; of two who have it judged
// one says so, and what was found of bytes is not said of others in their place.
func TestFilesAreJudgedBeside(t *testing.T) { each(t, testFilesAreJudgedBeside) }

func testFilesAreJudgedBeside(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 84)
	d := w.enrolled(1, w.clinician)
	good := bytes.Repeat([]byte("a line of it\n"), 500)
	bad := bytes.Repeat([]byte("another line\n"), 500)
	hash := sha256.Sum256([]byte("/JS"))
	script := []byte("%PDF-1.7\n1 0 obj<</S/JavaScript>>endobj\n%%EOF\n")
	scriptHash := sha256.Sum256(script)
	stored, refused := attached(d, good), attachedAs(d, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(len(bad))), MediaType: new("txt")})
	active := attachedAs(d, &tandemv1.Attachment{Sha256: scriptHash[:], Size: new(uint32(len(script))), MediaType: new("pdf")})
	replaced, left := attached(d, good), attached(d, good)

	blob := func(id syncengine.ID) (b *store.Blob) {
		t.Helper()
		err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) (err error) {
			b, err = tx.Blob(id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// judged sends a whole file and asks about it at once; it is judged after between has run.
	judged := func(id syncengine.ID, file []byte, between func()) {
		t.Helper()
		release := server.HoldJudging(w.srv)
		done := make(chan error, 2)
		put := func(data []byte) {
			_, err := d.put(id, 0, data)
			done <- err
		}
		go put(file)
		for b := blob(id); b == nil || b.Held != int64(len(file)); b = blob(id) {
			runtime.Gosched()
		}
		go put(nil)
		// It mostly has come as far as the first by then.
		for range 200 {
			_ = blob(id)
		}
		between()
		release()
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	none := func() {}
	judged(stored, good, none)
	if b := blob(stored); !b.Complete || b.Held != b.Size || b.Wasted != 0 {
		t.Errorf("a file as it was attached: %+v", b)
	}
	judged(refused, bad, none)
	judged(active, script, none)
	for _, id := range []syncengine.ID{refused, active} {
		if b := blob(id); b.Complete || b.Held != 0 || b.Wasted != b.Size {
			t.Errorf("other bytes, or such as are not kept: %+v", b)
		}
	}
	judged(replaced, bad[:len(good)], func() {
		err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			b, err := tx.Blob(replaced)
			if err != nil {
				return err
			}
			b.Held = syncengine.MinChunk
			return errors.Join(tx.DropBlobChunks(replaced), tx.AddBlobChunk(replaced, 0, good[:b.Held]), tx.SaveBlob(b))
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if b := blob(replaced); b.Complete || b.Wasted != 0 || b.Held != syncengine.MinChunk {
		t.Errorf("other bytes came in the place of those: %+v", b)
	}
	if a, err := d.put(replaced, syncengine.MinChunk, good[syncengine.MinChunk:]); err != nil || !a.GetComplete() {
		t.Errorf("its rest: %v: %v", a, err)
	}
	// The server went before it had judged what it holds: whoever asks has it judged.
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		b := &store.Blob{Record: left, Size: int64(len(good)), Held: int64(len(good)), Person: d.person, BegunMS: w.clock().UnixMilli()}
		return errors.Join(tx.AddBlobChunk(left, 0, good), tx.SaveBlob(b))
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := d.put(left, 0, nil); err != nil || !a.GetComplete() || !bytes.Equal(d.fetch(left), good) {
		t.Errorf("whole, and not judged: %v: %v", a, err)
	}
	acts := map[tandemv1.AuditAct]int{}
	err = w.s.ReadAudit(t.Context(), w.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			err := proto.Unmarshal(raw, e)
			acts[e.GetAct()]++
			return err
		})
	})
	if err != nil || acts[tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_STORED] != 3 || acts[tandemv1.AuditAct_AUDIT_ACT_REFUSED] != 2 {
		t.Errorf("the log holds %v: %v", acts, err)
	}
	if r, err := w.s.Verify(t.Context(), w.org.ID); err != nil || r.Files != 3 {
		t.Errorf("verified: %+v: %v", r, err)
	}
	w.quiet()
}
