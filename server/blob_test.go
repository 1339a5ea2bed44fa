package server_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// attached makes an attachment of a person's, whose file is text.
func attached(d *device, file []byte) syncengine.ID {
	d.w.t.Helper()
	hash := sha256.Sum256(file)
	return attachedAs(d, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(len(file))), MediaType: new("txt")})
}

func attachedAs(d *device, a *tandemv1.Attachment) syncengine.ID {
	d.w.t.Helper()
	return attachedIn(d, d.w.team, a)
}

func attachedIn(d *device, team syncengine.ID, a *tandemv1.Attachment) syncengine.ID {
	d.w.t.Helper()
	person := d.creation(&tandemv1.Person{AgencyId: new(d.w.agency.String()), TeamId: new(team.String()), Lifecycle: new("active"), Descriptor_: new("tall")})
	a.AgencyId, a.TeamId, a.Lifecycle = new(d.w.agency.String()), new(team.String()), new("active")
	a.Category = new("document")
	a.Owner = &tandemv1.RecordRef{Kind: new("person"), Id: new(syncengine.ID(person.Records[0].Record).String())}
	change := d.creation(a)
	answer := d.must(d.push(person, change))
	for _, o := range answer.GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			d.w.t.Fatalf("an attachment: %v", o)
		}
	}
	return syncengine.ID(change.Records[0].Record)
}

func (d *device) put(id syncengine.ID, offset int, data []byte) (*tandemv1.PutBlobChunkResponse, error) {
	return d.sync.PutBlobChunk(d.w.t.Context(), &tandemv1.PutBlobChunkRequest{Attachment: id[:], Offset: uint64(offset), Data: data})
}

// send brings all of a file.
func (d *device) send(id syncengine.ID, file []byte) {
	d.w.t.Helper()
	for at := 0; at < len(file); {
		a := must[*tandemv1.PutBlobChunkResponse](d.w.t)(d.put(id, at, file[at:min(at+6<<10, len(file))]))
		if !a.GetWanted() || int(a.GetHeld()) <= at || a.GetComplete() != (int(a.GetHeld()) == len(file)) {
			d.w.t.Fatalf("after %d of %d bytes: %v", at, len(file), a)
		}
		at = int(a.GetHeld())
	}
}

// fetch reads all of a file, in pieces that are not those in which it came; nil where there
// is none.
func (d *device) fetch(id syncengine.ID) (file []byte) {
	d.w.t.Helper()
	for {
		a := must[*tandemv1.GetBlobChunkResponse](d.w.t)(d.sync.GetBlobChunk(d.w.t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: id[:], Offset: uint64(len(file)), Limit: 5000}))
		if len(a.GetData()) > 5000 {
			d.w.t.Fatalf("%d bytes in one piece", len(a.GetData()))
		}
		if file = append(file, a.GetData()...); len(a.GetData()) == 0 || len(file) >= int(a.GetSize()) {
			return file
		}
	}
}

// TestBlobIsWhatWasAttached: the bytes of a file come in pieces, each once, and count when
// they have the hash that the record names; whatever else comes is not there.
func TestBlobIsWhatWasAttached(t *testing.T) { each(t, testBlobIsWhatWasAttached) }

func testBlobIsWhatWasAttached(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 81)
	d := w.enrolled(1, w.clinician)
	file := []byte(strings.Repeat("What the letter says, line after line.\n", 1000))
	id := attached(d, file)
	piece := file[:8<<10]
	held := func(want int) {
		t.Helper()
		if a, err := d.put(id, 0, nil); err != nil || !a.GetWanted() || int(a.GetHeld()) != want {
			t.Errorf("the server has come to %v (%v), not to %d", a, err, want)
		}
	}
	held(0)
	for range 3 {
		// The answer to the first was lost.
		if a, err := d.put(id, 0, piece); err != nil || int(a.GetHeld()) != len(piece) {
			t.Fatalf("%v: %v", a, err)
		}
	}
	if a, err := d.put(id, len(file)-5000, file[len(file)-5000:]); err != nil || int(a.GetHeld()) != len(piece) {
		t.Errorf("a piece ahead of its time: %v: %v", a, err)
	}
	for name, data := range map[string][]byte{"a tiny piece": file[:syncengine.MinChunk-1], "more than the file": make([]byte, len(file)), "a huge piece": make([]byte, syncengine.MaxChunk+1)} {
		if _, err := d.put(id, len(piece), data); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.sync.PutBlobChunk(t.Context(), &tandemv1.PutBlobChunkRequest{Attachment: []byte("short")}); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("no id: %v", err)
	}
	held(len(piece))
	if d.fetch(id) != nil {
		t.Error("a file that is not whole is there")
	}
	// Its end is another than was attached: none of it counts.
	bad := bytes.Clone(file)
	bad[len(bad)-2] ^= 1
	for at := len(piece); at < len(bad); at += 16 << 10 {
		must[*tandemv1.PutBlobChunkResponse](t)(d.put(id, at, bad[at:min(at+16<<10, len(bad))]))
	}
	held(0)
	if d.fetch(id) != nil {
		t.Error("bytes with another hash are there")
	}
	d.send(id, file)
	if got := d.fetch(id); !bytes.Equal(got, file) {
		t.Errorf("%d bytes are read of %d", len(got), len(file))
	}
	if a, err := d.put(id, 0, piece); err != nil || !a.GetComplete() || int(a.GetHeld()) != len(file) {
		t.Errorf("sent once more: %v: %v", a, err)
	}
	if a := must[*tandemv1.GetBlobChunkResponse](t)(d.sync.GetBlobChunk(t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: id[:], Offset: uint64(len(file) - 5000), Limit: 1})); len(a.GetData()) != syncengine.MinChunk {
		t.Errorf("a piece of %d bytes", len(a.GetData()))
	}
	if a := must[*tandemv1.GetBlobChunkResponse](t)(d.sync.GetBlobChunk(t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: id[:], Offset: 1 << 60})); len(a.GetData()) > 0 {
		t.Error("there is something behind the end")
	}
	// A picture that says where it was taken is not kept, whatever the device says of it.
	exif := append([]byte("\xff\xd8\xff\xe1\x00\x20Exif\x00\x00"), bytes.Repeat([]byte("x"), 24)...)
	exif = append(exif, "\xff\xc0\x00\x02\xff\xda\x00\x02data\xff\xd9"...)
	hash := sha256.Sum256(exif)
	unclean := attachedAs(d, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(len(exif))), MediaType: new("jpeg")})
	if a, err := d.put(unclean, 0, exif); err != nil || a.GetComplete() || a.GetHeld() != 0 {
		t.Errorf("a picture with EXIF: %v: %v", a, err)
	}

	// What is void is not there until it is restored.
	lifecycle := func(act tandemv1.Act, code, reason string) {
		t.Helper()
		var now *syncengine.State
		err := w.s.Read(t.Context(), w.org.ID, func(view syncengine.ServerView) error {
			rec, err := view.Record(id)
			if err == nil {
				now, err = syncengine.Decode(&rec.Record)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		change := w.id()
		c := &tandemv1.Change{
			Id: change[:], Author: d.person[:], Device: d.dev[:], Schema: 1, Time: &tandemv1.ChangeTime{WallMs: w.clock().UnixMilli()},
			Records: []*tandemv1.RecordWrite{{
				Record: id[:], Kind: 39, Act: act, Reason: reason, Seen: now.Seen(),
				Writes: []*tandemv1.PathWrite{{Field: syncengine.FieldLifecycle, Value: syncengine.StringField(syncengine.FieldLifecycle, code), Bases: syncengine.EncodeStamps(now.Bases(syncengine.Path{Field: syncengine.FieldLifecycle}, false))}},
			}},
		}
		for _, o := range d.must(d.push(c)).GetOutcomes() {
			if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				t.Fatalf("%v: %v", act, o)
			}
		}
	}
	lifecycle(tandemv1.Act_ACT_VOID, "void", "the wrong person")
	if d.fetch(id) != nil {
		t.Error("a void file is there")
	}
	lifecycle(tandemv1.Act_ACT_RESTORE, "active", "the right one after all")
	if !bytes.Equal(d.fetch(id), file) {
		t.Error("a restored file is not there")
	}

	w.pass(61 * time.Minute)
	_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	for range 2 {
		must[*tandemv1.GetBlobChunkResponse](t)(d.sync.GetBlobChunk(t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: id[:], Offset: 5000}))
	}

	// Each reading is in the log, with who read what, and so is what came.
	acts := map[tandemv1.AuditAct]int{}
	err := w.s.ReadAudit(t.Context(), w.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if acts[e.GetAct()]++; e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_READ {
				if !bytes.Equal(e.GetSubject(), id[:]) || !bytes.Equal(e.GetPerson(), d.person[:]) || !bytes.Equal(e.GetReplica(), d.replica[:]) || int(e.GetCount()) != len(file) {
					t.Errorf("a read is noted as %v", e)
				}
			}
			return nil
		})
	})
	// Two readings in many pieces each, one piece from the middle an hour later, and another
	// that still belongs to it.
	if err != nil || acts[tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_READ] != 3 || acts[tandemv1.AuditAct_AUDIT_ACT_ATTACHMENT_STORED] != 1 {
		t.Errorf("the log holds %v: %v", acts, err)
	}
	if r, err := w.s.Verify(t.Context(), w.org.ID); err != nil || r.Files != 1 || r.Awaited != 1 {
		t.Errorf("verified: %+v: %v", r, err)
	}
	w.quiet()
}

// TestBlobQuota: somebody who brings more than a day's worth is told to come later, and
// goes on with what was begun.
func TestBlobQuota(t *testing.T) { each(t, testBlobQuota) }

func testBlobQuota(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 82)
	d := w.enrolled(1, w.clinician)
	var ids []syncengine.ID
	for i := range 27 {
		hash := sha256.Sum256([]byte{byte(i)})
		ids = append(ids, attachedAs(d, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(10 << 20)), MediaType: new("txt")}))
	}
	piece := make([]byte, syncengine.MinChunk)
	begun := 0
	for _, id := range ids {
		if _, err := d.put(id, 0, piece); err != nil {
			if codeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), server.ErrAttached.Error()) {
				t.Fatal(err)
			}
			break
		}
		begun++
	}
	if begun != 25 {
		t.Errorf("%d files of 10 MiB were begun within a day", begun)
	}
	if _, err := d.put(ids[begun], 0, nil); codeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("who only asks is told: %v", err)
	}
	// Its bytes were others: begun anew it counts once.
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		b, err := tx.Blob(ids[0])
		if err != nil {
			return err
		}
		b.Held = 0
		return errors.Join(tx.DropBlobChunks(ids[0]), tx.SaveBlob(b))
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := d.put(ids[0], 0, piece); err != nil || int(a.GetHeld()) != len(piece) {
		t.Errorf("begun anew: %v: %v", a, err)
	}
	if a, err := d.put(ids[0], len(piece), piece); err != nil || int(a.GetHeld()) != 2*len(piece) {
		t.Errorf("what was begun goes on: %v: %v", a, err)
	}
	// What came and was not what was attached has come all the same.
	other := w.enrolled(2, w.second)
	hash, size := sha256.Sum256([]byte("what was attached")), syncengine.MaxChunk
	bad := attachedAs(other, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(size)), MediaType: new("txt")})
	wrong := bytes.Repeat([]byte("x"), size)
	waste := func(left int64) {
		t.Helper()
		for range 2 {
			if a, err := other.put(bad, 0, wrong); err != nil || a.GetComplete() || a.GetHeld() != 0 {
				t.Fatalf("wrong bytes: %v: %v", a, err)
			}
		}
		err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			b, err := tx.Blob(bad)
			if err != nil || b.Wasted != 2*int64(size) {
				return errors.Join(err, fmt.Errorf("%d bytes are counted", b.Wasted))
			}
			b.Wasted = 256<<20 - left
			return tx.SaveBlob(b)
		})
		if err != nil {
			t.Error(err)
		}
	}
	waste(int64(size))
	if _, err := other.put(bad, 0, wrong); err != nil {
		t.Errorf("the last that may come: %v", err)
	}
	if _, err := other.put(bad, 0, wrong); codeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	w.pass(25 * time.Hour)
	_, _ = other.call(t.Context(), &tandemv1.SyncRequest{})
	waste(0)
	_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	if a, err := d.put(ids[begun], 0, piece); err != nil || int(a.GetHeld()) != len(piece) {
		t.Errorf("a day later: %v: %v", a, err)
	}
}
