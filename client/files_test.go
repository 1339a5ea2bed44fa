package client

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/media"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// photo is a PNG with noise in it, so that it has some size, and words that no file that
// is kept may hold.
func photo(tb testing.TB, side int) []byte {
	tb.Helper()
	rng := rand.New(rand.NewPCG(uint64(side), 5))
	img := image.NewGray(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = byte(rng.Uint32())
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		tb.Fatal(err)
	}
	return append(b.Bytes(), whereTaken...)
}

const whereTaken = "41.8781N87.6298W"

// cutter lies between device and server, and loses every so-manieth piece of a file: on
// its way up, or the answer to it on its way down.
type cutter struct {
	next http.Handler

	mu sync.Mutex
	// every is after how many pieces one is lost, 0 for never.
	every, seen int
	// asked counts questions how far the server is; up the bytes of pieces that were sent,
	// lost those of requests and answers that were lost; largest is the largest piece.
	asked             int
	up, lost, largest int64
	cuts              int
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/PutBlobChunk") {
		c.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	size := int64(len(body))
	cut, after := false, false
	if size < 64 {
		c.asked++
	} else {
		c.seen++
		c.up, c.largest = c.up+size, max(c.largest, size)
		if cut = c.every > 0 && c.seen%c.every == 0; cut {
			c.cuts++
			c.lost += size
			after = c.cuts%2 == 0
		}
	}
	c.mu.Unlock()
	switch {
	case cut && after:
		// The server has it, and the device does not learn of that.
		c.next.ServeHTTP(&nowhere{head: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case cut:
		panic(http.ErrAbortHandler)
	}
	c.next.ServeHTTP(w, r)
}

// nowhere is where lost answers go.
type nowhere struct{ head http.Header }

func (n *nowhere) Header() http.Header         { return n.head }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// between puts a cutter before the server.
func (o *office) between() *cutter {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &cutter{next: o.srv}
	o.front = c
	return c
}

// attach makes a person with a file.
func attach(tb testing.TB, c *Client, raw []byte) syncengine.ID {
	tb.Helper()
	owner := create(tb, c, &tandemv1.Person{Descriptor_: new("tall, grey coat")})
	v, err := c.Get(tb.Context(), owner)
	if err != nil {
		tb.Fatal(err)
	}
	id, err := c.Attach(tb.Context(), NewFile{Owner: v, Category: "photo", Title: "Left arm", Raw: raw})
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// state is how far a file has come.
func state(tb testing.TB, c *Client, id syncengine.ID) *File {
	tb.Helper()
	v, err := c.Get(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := c.FileOf(tb.Context(), v)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// TestFilesAreSentOnce: a file travels in pieces over a link that loses some, and over
// restarts of the app; each loss costs the piece that was under way. What arrives is what
// was attached, without what a camera adds, on every device that may read it; another's
// device fetches it in pieces too.
func TestFilesAreSentOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	way := o.between()
	raw := photo(t, 1200)
	id := attach(t, c, raw)
	want, err := media.Clean(raw)
	if err != nil {
		t.Fatal(err)
	}
	if f := state(t, c, id); f.Size != int64(len(want.Bytes)) || f.Held != f.Size || f.Sent != 0 || f.Stored || !f.Own || len(f.Thumb) == 0 {
		t.Errorf("attached: %+v", f)
	}
	if w, err := c.WaitingFiles(t.Context()); err != nil || w.Files != 1 || w.Bytes != int64(len(want.Bytes)) || !w.ForLink {
		t.Errorf("what waits: %+v: %v", w, err)
	}
	way.mu.Lock()
	way.every = 3
	way.mu.Unlock()
	for tries := 0; !state(t, c, id).Stored; tries++ {
		if tries > 100 {
			t.Fatalf("it does not come through: %+v", state(t, c, id))
		}
		if _, err := c.Sync(t.Context()); err != nil && !errors.Is(err, ErrNetwork) {
			t.Fatal(err)
		}
		if err := c.SendFiles(t.Context()); err != nil && !errors.Is(err, ErrNetwork) {
			t.Fatal(err)
		}
		if tries%2 == 0 {
			shut(t, c)
			c = newClient(t, dir)
		}
	}
	way.mu.Lock()
	size := int64(len(want.Bytes))
	t.Logf("%d bytes in %d pieces up to %d bytes, %d cuts cost %d bytes, %d questions", size, way.seen, way.largest, way.cuts, way.lost, way.asked)
	// A piece weighs a little more on the wire than its bytes.
	if way.cuts < 3 || way.up > size+way.lost+64*int64(way.seen) {
		t.Errorf("%d bytes went up for a file of %d, %d of them in %d cuts", way.up, size, way.lost, way.cuts)
	}
	way.every = 0
	way.mu.Unlock()

	other := o.enrol(o.second, t.TempDir())
	mustSync(t, other)
	if f := state(t, other, id); f.Held != 0 || f.Own || f.Size != size {
		t.Errorf("before it is fetched: %+v", f)
	}
	for range 2 {
		got, err := other.ReadFile(t.Context(), id)
		if err != nil || !bytes.Equal(got.Bytes, want.Bytes) || got.Type != media.PNG {
			t.Fatalf("a colleague reads %v", err)
		}
		// The second time it is here.
		o.away.Store(true)
	}
	o.away.Store(false)
	if f := state(t, other, id); f.Held != size || len(f.Thumb) == 0 {
		t.Errorf("after it was fetched: %+v", f)
	}
	// Nothing but the picture has ever been on a disk.
	for _, d := range []string{dir, o.dir} {
		scan(t, d, whereTaken, false)
	}

	// The grant ends: the bytes leave with the record.
	piece := string(want.Bytes[4000:4032])
	shut(t, other)
	other = newClient(t, other.store.dir)
	scan(t, other.store.dir, piece, true)
	o.leave(o.second)
	mustSync(t, other)
	if _, err := other.ReadFile(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the grant: %v", err)
	}
	shut(t, other)
	scan(t, other.store.dir, piece, false)
}

// leave takes somebody out of the team.
func (o *office) leave(staff syncengine.ID) {
	o.t.Helper()
	engine := &syncengine.Server{Rules: record.New(), Secrets: o.org.Secrets}
	err := o.st.Write(o.t.Context(), o.org.ID, 1, func(tx *serverstore.Tx) error {
		rec, err := tx.Record(staff)
		if err != nil {
			return err
		}
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		field := uint32(0)
		for _, f := range record.New().KindByName("staff").Fields {
			if f.Name == "team_ids" {
				field = f.Number
			}
		}
		path := syncengine.Path{Field: field, Key: o.team.String()}
		id, err := syncengine.NewID(time.Now().UnixMilli(), crand.Reader)
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(&tandemv1.Change{Id: id[:], Author: o.org.ID[:], Schema: 1, Time: &tandemv1.ChangeTime{}, Records: []*tandemv1.RecordWrite{{
			Record: staff[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET,
			Writes: []*tandemv1.PathWrite{{Field: path.Field, Key: []byte(path.Key), Bases: syncengine.EncodeStamps(s.Bases(path, false))}},
		}}})
		if err != nil {
			return err
		}
		batch, err := engine.Begin(tx, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		outcome, err := batch.Local(&syncengine.Principal{Server: true}, raw)
		if err != nil {
			return err
		}
		if outcome.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			o.t.Errorf("leaving the team: %v", outcome)
		}
		_, err = batch.Commit()
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

// scan looks for bytes in the files of a directory.
func scan(t *testing.T, dir, word string, want bool) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(word))
		return err
	})
	if err != nil || found != want {
		t.Errorf("bytes in %s: %t, want %t (%v)", dir, found, want, err)
	}
}

// TestAttachRefuses: what is no picture leaves nothing behind; a file that was not sent
// can be taken back, and its bytes go.
func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	o.away.Store(true)
	owner := create(t, c, &tandemv1.Person{Descriptor_: new("tall, grey coat")})
	v, err := c.Get(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	for want, raw := range map[error][]byte{
		media.ErrType: []byte("GIF89a\x01\x00\x01\x00\x00"), media.ErrActive: []byte("%PDF-1.7 <</JS (x)>> %%EOF"), media.ErrSealed: []byte("%PDF-1.7 <</Encrypt 1 0 R>> %%EOF"), media.ErrDamaged: photo(t, 40)[:300], media.ErrEmpty: nil, media.ErrLarge: make([]byte, media.MaxBytes+1),
	} {
		if _, err := c.Attach(t.Context(), NewFile{Owner: v, Category: "photo", Raw: raw}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if len(mustList(t, c, "attachment")) != 0 {
		t.Error("a refused file has a record")
	}
	raw := photo(t, 300)
	id := attach(t, c, raw)
	piece := string(raw[4000:4032])
	if err := c.RemoveFile(t.Context(), id, "the wrong picture"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("taken back: %v", err)
	}
	if w, err := c.WaitingFiles(t.Context()); err != nil || w.Files != 0 {
		t.Errorf("what waits: %+v: %v", w, err)
	}
	scan(t, c.store.dir, piece, false)
	o.away.Store(false)
	kept := attach(t, c, raw)
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveFile(t.Context(), kept, "the wrong picture"); !errors.Is(err, ErrSentFile) {
		t.Errorf("taken back after it was sent: %v", err)
	}
	if f := state(t, c, kept); !f.Stored {
		t.Errorf("it is %+v", f)
	}
}

// TestFilesGiveWay: while anything that was written waits no file goes, and what is urgent
// ends the piece under way; on a slow link files wait until somebody wants them sent.
func TestFilesGiveWay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	way := o.between()
	id := attach(t, c, photo(t, 600))
	sent := func() int64 {
		way.mu.Lock()
		defer way.mu.Unlock()
		return way.up
	}
	// The record itself waits.
	if err := c.SendFiles(t.Context()); err != nil || sent() != 0 {
		t.Fatalf("a file goes before its record: %d bytes, %v", sent(), err)
	}
	c.mu.Lock()
	c.pace.rtt, c.pace.up, c.pace.down, c.files.probed = 2*time.Second, 1200, 1200, time.Now()
	c.mu.Unlock()
	for range 2 {
		if _, err := c.round(t.Context(), want{push: true, page: true}); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, c)
	c.mu.Lock()
	c.pace.rtt, c.pace.up, c.pace.down = 2*time.Second, 1200, 1200
	c.mu.Unlock()
	before := sent()
	if err := c.sendFiles(t.Context(), false); err != nil || sent() != before {
		t.Errorf("on a slow link %d bytes go: %v", sent()-before, err)
	}
	if w, err := c.WaitingFiles(t.Context()); err != nil || !w.ForLink || w.Takes < time.Minute {
		t.Errorf("what waits: %+v: %v", w, err)
	}
	// An urgent save gives up the piece that is under way.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.setDrop(cancel)
	if _, err := c.Edit(t.Context(), func(e *Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	}); err != nil || ctx.Err() == nil {
		t.Errorf("the piece under way goes on: %v", err)
	}
	c.setDrop(nil)
	if err := c.SendFiles(t.Context()); err != nil || sent() != before {
		t.Errorf("a file goes before what is urgent: %d bytes, %v", sent()-before, err)
	}
	for range 2 {
		if _, err := c.round(t.Context(), want{push: true, page: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SendFiles(t.Context()); err != nil || !state(t, c, id).Stored {
		t.Errorf("wanted: %+v: %v", state(t, c, id), err)
	}
}

// TestFilesOfARefusedSaveStay: while the save that makes the record of a file lies in
// quarantine, this device has the only copy of its bytes. They go when a lead has dismissed it.
func TestFilesOfARefusedSaveStay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	staff := func(name, discipline, role string) syncengine.ID {
		id, err := o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: name, Discipline: discipline, Roles: []string{role}, Agency: o.agency, Teams: []syncengine.ID{o.team},
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	lead := staff("Lea", "supervisor", "lead")
	c := o.enrol(staff("Leo", "officer", "le_partner"), t.TempDir())
	// His app takes him for a clinician, which he is not.
	c.me.answer.Roles = []string{"clinician"}
	id := attach(t, c, photo(t, 100))
	mustSync(t, c)
	if _, err := c.Get(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the record of a save in quarantine: %v", err)
	}
	waits := func(files int) {
		t.Helper()
		if err := c.SendFiles(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w, err := c.WaitingFiles(t.Context()); err != nil || w.Files != files {
			t.Errorf("%+v wait, want %d: %v", w, files, err)
		}
	}
	waits(1)
	items, err := o.admin.Quarantine(t.Context(), lead)
	if err != nil || len(items) == 0 {
		t.Fatalf("%d saves wait for a lead: %v", len(items), err)
	}
	for _, item := range items {
		if _, err := o.admin.Dismiss(t.Context(), lead, item.Change.ID, "not his to write"); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, c)
	waits(0)
}

// TestFilesDamagedStopNothing: a file whose bytes the disk has changed stops neither the
// next one nor words, nothing of it goes up, and it is kept.
func TestFilesDamagedStopNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	bad, good := attach(t, c, photo(t, 100)), attach(t, c, photo(t, 120))
	err := c.store.write(t.Context(), "damaging a file", func(x *tx) error {
		return x.exec(`UPDATE blob_part SET data = zeroblob(length(data)) WHERE record = $1`, bad[:])
	})
	if err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := state(t, c, good); !f.Stored {
		t.Errorf("the next one: %+v", f)
	}
	if f := state(t, c, bad); f.Stored || f.Sent != 0 || f.Held != f.Size {
		t.Errorf("the damaged one: %+v", f)
	}
	c.mu.Lock()
	left := time.Until(c.files.later[bad].until)
	c.mu.Unlock()
	if left < 50*time.Minute {
		t.Errorf("it is left alone for %v", left)
	}
}

// TestFilesOfVoidRecordsStay: who voids a record whose file was not sent, and restores it,
// has the file still. Thirty days after the server has it as void the bytes go.
func TestFilesOfVoidRecordsStay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	id := attach(t, c, photo(t, 100))
	becomes := func(void bool) {
		t.Helper()
		v, err := c.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Edit(t.Context(), func(e *Edit) error {
			if void {
				return e.Void(v, "the wrong person")
			}
			return e.Restore(v, "active", "the right one")
		}); err != nil {
			t.Fatal(err)
		}
		mustSync(t, c)
		if err := c.SendFiles(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	held := func() (state, parts int64) {
		t.Helper()
		err := c.store.write(t.Context(), "looking at a file", func(x *tx) error {
			return errors.Join(x.row(`SELECT state FROM blob WHERE record = $1`, []any{id[:]}, &state),
				x.row(`SELECT count(*) FROM blob_part WHERE record = $1`, []any{id[:]}, &parts))
		})
		if err != nil {
			t.Fatal(err)
		}
		return state, parts
	}
	becomes(true)
	if state, parts := held(); state != fileVoid || parts == 0 {
		t.Errorf("void: state %d, %d parts", state, parts)
	}
	becomes(false)
	if state, parts := held(); state != fileStored || parts == 0 {
		t.Errorf("restored: state %d, %d parts", state, parts)
	}
	id = attach(t, c, photo(t, 110))
	becomes(true)
	age := func(days int) {
		t.Helper()
		at := c.opts.Now().Add(-time.Duration(days) * 24 * time.Hour).UnixMilli()
		if err := c.store.write(t.Context(), "time passes", func(x *tx) error {
			return x.exec(`UPDATE blob SET at = $2 WHERE record = $1`, id[:], at)
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.SendFiles(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	age(29)
	if _, parts := held(); parts == 0 {
		t.Error("after 29 days it is gone")
	}
	age(31)
	if _, parts := held(); parts != 0 {
		t.Error("after 31 days it is here")
	}
}

// TestFilesAfterRestore: a server that was set back to before a file gets it again.
func TestFilesAfterRestore(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	restore := o.copyAway()
	id := attach(t, c, photo(t, 200))
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil || !state(t, c, id).Stored {
		t.Fatalf("sent: %+v: %v", state(t, c, id), err)
	}
	restore()
	mustSync(t, c)
	if _, err := o.admin.ConfirmRecovery(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := o.st.Verify(t.Context(), o.org.ID); err != nil || r.Files != 1 || r.Awaited != 0 {
		t.Errorf("at the server: %+v: %v", r, err)
	}
}
