package bulk_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// childEnv makes the test's own program a server of its own that makes exports. With hangEnv
// it stops for ever once its log says that.
const (
	childEnv = "TANDEM_BULK_CHILD"
	hangEnv  = "TANDEM_BULK_HANGS"
)

// Places to stop at.
const (
	spooled = `"part":0`
	kept    = `"part":2`
	// under way: most records are read from the spool, and not all.
	underway = `"records":9000`
	// within: in the middle of the first kind, at its place that is kept, and some way after it.
	within    = `"held":10000`
	wellafter = `"records":11000`
)

// longest is how long a test waits for another process, which takes seconds.
const longest = 5 * time.Minute

// hanging takes a server's log and, where it hangs, says that it has come there, and no more.
type hanging struct{ at string }

func (h hanging) Write(b []byte) (int, error) {
	if h.at != "" && bytes.Contains(b, []byte(h.at)) {
		fmt.Fprintln(os.Stdout, "there")
		select {}
	}
	return len(b), nil
}

// child makes exports until its standard input ends.
func child(place string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	at := strings.Split(place, "\n")
	st, err := store.Open(ctx, at[0], store.Options{Database: at[1], Volatile: true})
	if err != nil {
		return err
	}
	defer st.Close()
	if how := os.Getenv(hereEnv); how != "" {
		return hereUntil(ctx, st, strings.Split(how, "\n"))
	}
	worker, err := jobs.New(st, jobs.Options{Log: zerolog.Nop(), Lease: time.Hour, Poll: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	log := zerolog.New(hanging{os.Getenv(hangEnv)})
	if _, err := bulk.New(st, worker, bulk.Options{Dir: at[2], Generator: "test", Log: log}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	worker.Work(ctx)
	return nil
}

// start begins a server; what it says comes out of lines, and kill ends it as a power cut does.
func (w *world) start(hangs string, env ...string) (lines *bufio.Reader, kill func()) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+w.place)
	cmd.Env = append(append(cmd.Env, hangEnv+"="+hangs), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	w.ok(err)
	out, err := cmd.StdoutPipe()
	w.ok(err)
	w.ok(cmd.Start())
	kill = func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	}
	w.t.Cleanup(kill)
	return bufio.NewReader(out), kill
}

// fill keeps so many records of two kinds that an export has several parts.
func (w *world) fill() {
	w.t.Helper()
	domain := record.New()
	msgs := []proto.Message{
		&tandemv1.Person{AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), Lifecycle: new("active"), Tz: new("America/Chicago")},
		&tandemv1.FollowUp{AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), Lifecycle: new("planned"), Tz: new("America/Chicago"), PersonId: new(syncengine.ID{9, 0, 0, 1}.String())},
		&tandemv1.Referral{AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), Lifecycle: new("active"), Tz: new("America/Chicago"), PersonId: new(syncengine.ID{9, 0, 0, 1}.String()), State: new("sent")},
	}
	for i, msg := range msgs {
		body, err := domain.Body(msg)
		w.ok(err)
		w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			for n := range []int{11_500, 10, 5000}[i] {
				if err := w.save(tx, syncengine.ID{9, byte(i), byte(n >> 8), byte(n)}, msg, body, 1); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// meanwhile is what happens while no server makes the export.
type meanwhile string

const (
	nothing meanwhile = "nothing"
	changed meanwhile = "the database has changed"
	damaged meanwhile = "a file is damaged"
	spoilt  meanwhile = "the spool is damaged"
	torn    meanwhile = "the journal is damaged"
	erased  meanwhile = "a record was erased by law"
	moved   meanwhile = "who approved has another role"
)

// anew reports whether the export begins anew, as of a later moment.
func (m meanwhile) anew() bool { return m == spoilt || m == erased || m == moved }

// broken is how an export is broken off.
type broken struct {
	format, set string
	// at is where it is killed.
	at      string
	happens meanwhile
	key     *age.X25519Identity
}

// TestResume: an export that is killed in the middle is gone on with by another server, whose
// files are the same bytes as of one that nothing happened to at the moment of the first one, while
// the database takes changes. What was finished is not made again. Where what was read is not what
// it was, something was erased or rights are others, all is made anew as of that later moment.
func TestResume(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.fill()
		key, err := age.GenerateX25519Identity()
		w.ok(err)
		for _, c := range []broken{
			{export.CSV, export.Full, kept, nothing, nil},
			{export.CSV, export.Full, kept, changed, nil},
			{export.Parquet, export.Full, kept, changed, nil},
			{export.FHIR, export.Full, kept, changed, nil},
			{export.CSV, export.Full, kept, changed, key},
			{export.CSV, export.Full, spooled, changed, nil},
			{export.CSV, export.Full, within, changed, nil},
			{export.CSV, export.Full, wellafter, changed, key},
			{export.FHIR, export.Full, wellafter, changed, nil},
			{export.FHIR, export.Full, wellafter, torn, nil},
			{export.CSV, export.Full, wellafter, erased, nil},
			{export.XLSX, export.Full, underway, changed, nil},
			{export.CSV, export.Limited, underway, changed, nil},
			{export.Parquet, export.SafeHarbor, underway, changed, nil},
			{export.FHIR, export.Full, kept, damaged, nil},
			{export.CSV, export.Full, kept, spoilt, nil},
			{export.CSV, export.Full, kept, erased, nil},
			{export.CSV, export.Full, kept, moved, nil},
		} {
			t.Run(fmt.Sprint(c.format, " ", c.set, ", ", c.at, ", ", c.happens, ", ", c.key != nil), func(t *testing.T) { w.breakOff(t, c) })
		}
	})
}

// askAll has everything asked for by one admin, whom a second one has approved.
func (w *world) askAll(format, set string, key *age.X25519Identity) (id syncengine.ID, who [2]syncengine.ID, ask bulk.Request) {
	w.t.Helper()
	var err error
	for i := range who {
		who[i], err = w.admin.AddStaff(w.t.Context(), server.StaffOptions{Name: "Testperson admin", Discipline: "other", Roles: []string{"admin"}, Agency: w.agency, Teams: []syncengine.ID{w.team}})
		w.ok(err)
	}
	ask = bulk.Request{Format: format, Set: set, Agreement: "agreement 7", Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Approver: who[1].String(), ApprovedPeople: 1 << 20}
	if key != nil {
		ask.ToAge = []string{key.Recipient().String()}
	}
	id, err = w.exports.Ask(w.t.Context(), w.org, who[0], ask)
	w.ok(err)
	return id, who, ask
}

func (w *world) breakOff(t *testing.T, c broken) {
	w.t = t
	id, who, ask := w.askAll(c.format, c.set, c.key)
	lines, kill := w.start(c.at)
	if line, err := lines.ReadString('\n'); err != nil || line != "there\n" {
		t.Fatalf("%q, %v", line, err)
	}
	kill()
	before, k := w.kept(t, id, map[string]int{kept: 2}[c.at])
	if (k.Within != nil) != (c.at == within || c.at == wellafter) || k.Within != nil && k.Records != 10_000 {
		t.Fatalf("kept: %+v", k)
	}
	w.free(id)
	o := export.Options{
		ID: id, Person: who[0], Approver: who[1], Purpose: ask.Purpose, Recipient: ask.Recipient, Basis: ask.Basis, Format: c.format, Set: c.set, Agreement: ask.Agreement,
		ExcelSafe: true, Generator: "test",
	}
	if c.set != export.Full {
		o.Key, o.At = w.secrets(id, k)
	}
	want := map[string][]byte{}
	if !c.happens.anew() {
		want = w.straight(t, o, c.key != nil)
	}
	w.happen(c.happens, id, who, before, k)
	if c.happens.anew() {
		want = w.straight(t, o, c.key != nil)
	}
	if _, both := want["Task.002.ndjson"]; both != (c.format == export.FHIR) {
		t.Fatal("no type of resource is of two parts", slices.Sorted(maps.Keys(want)))
	}
	_, kill = w.start("")
	defer kill()
	var j *store.Job
	var done *bulk.Done
	ctx, end := context.WithTimeout(t.Context(), longest)
	defer end()
	for done == nil {
		if ctx.Err() != nil {
			t.Fatal("not done")
		}
		time.Sleep(20 * time.Millisecond)
		if c.happens == changed {
			w.change(0)
		}
		var err error
		if j, _, done, err = w.exports.Get(t.Context(), w.org, who[0], id); err != nil || j.Attempt > 2 || j.Error != "" {
			t.Fatalf("%+v: %v", j, err)
		}
	}
	if j.Attempt != 2 || done.Kept != nil {
		t.Errorf("attempt %d, still kept: %v", j.Attempt, done.Kept != nil)
	}
	for name, b := range want {
		if got := w.fetch(t, id, &ask, done, name, c.key); !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, and %d of an export that nothing happened to", name, len(got), len(b))
		}
	}
	for name, was := range before {
		is, err := os.Stat(filepath.Join(w.dir, id.String(), name))
		w.ok(err)
		if again := !is.ModTime().Equal(was.ModTime()); again != (c.happens.anew() || c.happens == damaged) {
			t.Errorf("%s was made again: %v", name, again)
		}
	}
	// It goes once the job is done.
	for left := []string{""}; len(left) > 0; time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("left behind", left)
		}
		var err error
		left, err = filepath.Glob(filepath.Join(w.dir, id.String()+".*"))
		w.ok(err)
	}
}

// change changes one of the people that fill has kept.
func (w *world) change(n int) {
	w.t.Helper()
	msg := &tandemv1.Person{}
	w.edit(syncengine.ID{9, 0, 0, byte(n)}, msg, func() {
		msg.Tz = new(map[bool]string{true: "America/New_York", false: "America/Chicago"}[msg.GetTz() == "America/Chicago"])
	})
}

// edit changes a record where it lies.
func (w *world) edit(id syncengine.ID, msg proto.Message, change func()) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		rec, err := tx.Record(id)
		if err != nil {
			return err
		}
		next := *rec
		w.ok(proto.Unmarshal(rec.Body, msg))
		change()
		if next.Body, err = record.New().Body(msg); err != nil {
			return err
		}
		next.Hash = next.Record.Hash()
		return tx.SaveRecord(&next)
	}))
}

func (w *world) happen(what meanwhile, id syncengine.ID, who [2]syncengine.ID, before map[string]os.FileInfo, k *export.Kept) {
	w.t.Helper()
	flip := func(name string, at func(size int) int) {
		name = filepath.Join(w.dir, name)
		b, err := os.ReadFile(name)
		w.ok(err)
		b[at(len(b))] ^= 1
		w.ok(os.WriteFile(name, b, 0o600))
	}
	switch what {
	case changed:
		_, err := w.admin.AddTeam(w.t.Context(), server.TeamOptions{Name: "Day", Program: w.program[0]})
		w.ok(err)
		w.change(7)
	case damaged:
		flip(filepath.Join(id.String()+".unfinished", slices.Sorted(maps.Keys(before))[0]), func(size int) int { return size - 1 })
	case torn:
		flip(filepath.Join(id.String()+".unfinished", "journal"), func(int) int { return 20_000 })
	case spoilt:
		flip(id.String()+".spool", func(size int) int { return size / 2 })
	case erased:
		w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error { return tx.Erase(syncengine.ID{9, 0, 0, byte(200 + k.Parts)}, nil, 1) }))
	case moved:
		msg := &tandemv1.Staff{}
		w.edit(who[1], msg, func() { msg.Roles = []string{"lead"} })
	}
}

// secrets are what the ids and the ages of a set come from. They are in the spool alone.
func (w *world) secrets(id syncengine.ID, k *export.Kept) ([]byte, time.Time) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, id.String()+".spool"))
	w.ok(err)
	block, err := aes.NewCipher(k.Key)
	w.ok(err)
	seal, err := cipher.NewGCM(block)
	w.ok(err)
	last := len(b) - 8
	text, err := seal.Open(nil, append(make([]byte, 4), bytes.Repeat([]byte{255}, 8)...), b[binary.BigEndian.Uint64(b[last:]):last], nil)
	w.ok(err)
	var says struct {
		IDs []byte    `json:"ids"`
		On  time.Time `json:"on"`
	}
	w.ok(json.Unmarshal(text, &says))
	if len(says.IDs) != 32 || says.On.IsZero() {
		w.t.Fatalf("a key of %d bytes, ages as of %v", len(says.IDs), says.On)
	}
	return says.IDs, says.On
}

// free ends the lease of a server that was killed, which is so long that a busy machine loses no job.
func (w *world) free(id syncengine.ID) {
	w.t.Helper()
	w.touch(id, func(j *store.Job) { j.LockedUntilMS = 0 })
}

// touch changes a job where it lies.
func (w *world) touch(id syncengine.ID, change func(*store.Job)) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		w.ok(err)
		change(j)
		return tx.SaveJob(j)
	}))
}

// kept are the files that a killed attempt has left, as they lie there, and what its job says of
// them.
func (w *world) kept(t *testing.T, id syncengine.ID, parts int) (map[string]os.FileInfo, *export.Kept) {
	t.Helper()
	j, err := w.s.Job(t.Context(), w.org.ID, id)
	w.ok(err)
	var done bulk.Done
	w.ok(json.Unmarshal(j.Result, &done))
	if j.Ended() || done.Kept == nil || done.Kept.Parts != parts || (len(done.Kept.Files) == 0) != (parts == 0) {
		t.Fatalf("%+v", j)
	}
	files := map[string]os.FileInfo{}
	for _, f := range done.Kept.Files {
		info, err := os.Stat(filepath.Join(w.dir, id.String()+".unfinished", f.Name+".age"))
		w.ok(err)
		files[f.Name+".age"] = info
	}
	if _, err := os.Stat(filepath.Join(w.dir, id.String()+".spool")); err != nil {
		t.Error(err)
	}
	return files, done.Kept
}

// straight makes the export at once, in the clear, and returns its files.
func (w *world) straight(t *testing.T, o export.Options, encrypted bool) map[string][]byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	if encrypted {
		// The manifest says so; what it says of the files is of them in the clear.
		o.Encrypt = func(_ string, w io.Writer) (io.WriteCloser, error) { return plain{w}, nil }
	}
	m, err := export.Write(t.Context(), w.s, w.org, to, o)
	w.ok(err)
	files := map[string][]byte{}
	for _, f := range append(m.Files, export.File{Name: "manifest.json"}) {
		at := filepath.Join(to, f.Name)
		if encrypted {
			at += ".age"
		}
		files[f.Name], err = os.ReadFile(at)
		w.ok(err)
	}
	return files
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// fetch is a file as its recipient has it in the end.
func (w *world) fetch(t *testing.T, id syncengine.ID, ask *bulk.Request, done *bulk.Done, name string, key *age.X25519Identity) []byte {
	t.Helper()
	f, err := w.exports.Open(id, ask, done, ask.FileName(name))
	w.ok(err)
	defer f.Close()
	in := io.Reader(f)
	if key != nil {
		in, err = age.Decrypt(in, key)
		w.ok(err)
	}
	b, err := io.ReadAll(in)
	w.ok(err)
	return b
}

// parts is a log of exports, and calls a function when a part is kept, with 0 when the state is.
type parts func(part int)

func (p parts) Write(b []byte) (int, error) {
	var line struct{ Part *int }
	if json.Unmarshal(b, &line) == nil && line.Part != nil {
		p(*line.Part)
	}
	return len(b), nil
}

// TestKeptGone: of an export that comes to nothing neither the files that were kept are left, nor
// their key.
func TestKeptGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.fill()
	var id syncengine.ID
	var who [2]syncengine.ID
	for name, c := range map[string]struct {
		// first is called when the second part is kept, second when one more is.
		first     func(end context.CancelFunc)
		second    func()
		between   func()
		cancelled bool
	}{
		"who asked is no longer there": {
			first:   func(end context.CancelFunc) { end() },
			between: func() { w.ok(w.admin.RevokePerson(t.Context(), who[0])) },
		},
		"the last attempt fails": {
			first:   func(end context.CancelFunc) { end() },
			between: func() { w.touch(id, func(j *store.Job) { j.Attempt = jobs.Attempts - 1 }) },
			second: func() {
				// In the way of a file that comes after the parts.
				w.ok(os.WriteFile(filepath.Join(w.dir, id.String()+".unfinished", "codebook.csv.age"), nil, 0o600))
			},
		},
		"it was taken up too often": {
			first:   func(end context.CancelFunc) { end() },
			between: func() { w.touch(id, func(j *store.Job) { j.Attempt = jobs.Attempts }) },
		},
		"it was cancelled while nobody was at it": {
			first:     func(end context.CancelFunc) { end() },
			between:   func() { w.touch(id, func(j *store.Job) { j.Cancelled = true }) },
			cancelled: true,
		},
		"it is deleted while it is made": {first: func(context.CancelFunc) { w.ok(w.exports.Delete(t.Context(), w.org, who[0], id)) }, cancelled: true},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			ctx, end := context.WithCancel(t.Context())
			defer end()
			log := parts(func(part int) {
				if part == 2 {
					c.first(end)
				} else if part == 3 && c.second != nil {
					c.second()
				}
			})
			var err error
			w.exports, err = bulk.New(w.s, w.worker, bulk.Options{Dir: w.dir, Generator: "test", Log: zerolog.New(log), Clock: w.now})
			w.ok(err)
			id, who, _ = w.askAll(export.CSV, export.Full, nil)
			once := func(ctx context.Context) *store.Job {
				if n, err := w.worker.Once(ctx); n != 1 || err != nil {
					t.Fatalf("%d jobs: %v", n, err)
				}
				j, err := w.s.Job(t.Context(), w.org.ID, id)
				w.ok(err)
				return j
			}
			j := once(ctx)
			if c.between != nil {
				w.kept(t, id, 2)
				c.between()
				j = once(t.Context())
			}
			if !j.Ended() || j.Cancelled != c.cancelled || j.Failed == c.cancelled || len(j.Result) > 0 {
				t.Errorf("ended %v, cancelled %v, failed %v, %d bytes of a result: %s", j.Ended(), j.Cancelled, j.Failed, len(j.Result), j.Error)
			}
			if left, err := os.ReadDir(w.dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// fullDisk is one on which there is no room left once so many parts are kept.
type fullDisk struct {
	io.Writer

	kept *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if *f.kept > 1 {
		return 0, &os.PathError{Op: "write", Path: "a file", Err: syscall.ENOSPC}
	}
	return f.Writer.Write(b)
}

func (fullDisk) Close() error { return nil }

// TestRoom: what was kept is not left on a full disk, where it would stand in the way of what
// devices send; what is broken off otherwise is.
func TestRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.fill()
	to := filepath.Join(t.TempDir(), "out")
	broken := errors.New("broken off")
	for _, meets := range []error{broken, syscall.ENOSPC, store.ErrDisk} {
		kept := 0
		_, err := export.Write(t.Context(), w.s, w.org, to, export.Options{
			ID: syncengine.ID{1}, Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Generator: "test",
			Encrypt: func(_ string, to io.Writer) (io.WriteCloser, error) { return fullDisk{to, &kept}, nil },
			Keep: func(k *export.Kept) error {
				if k.Parts > 1 && !errors.Is(meets, syscall.ENOSPC) {
					return meets
				}
				kept = k.Parts
				return nil
			},
		})
		_, left := os.Stat(to + ".unfinished")
		if !errors.Is(err, meets) || os.IsNotExist(left) != !errors.Is(err, broken) {
			t.Errorf("ended with %v; what was kept is there: %v", err, left == nil)
		}
	}
}

// TestToAge: a manifest names the files that are encrypted to somebody as they are, and keys
// that do not go together are refused before anything is made.
func TestToAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.person(syncengine.ID{1, 1}, "Firstperson", "active", 1, 0)
	key, err := age.GenerateX25519Identity()
	w.ok(err)
	hybrid, err := age.GenerateHybridIdentity()
	w.ok(err)
	boss := w.signIn("admin")
	for says, keys := range map[string]string{"do not go together": key.Recipient().String() + "," + hybrid.Recipient().String(), "no public key of age": "age1nothing"} {
		if _, text := boss.do(http.MethodGet, "/fhir/$export?"+why+"&to_age="+keys, http.StatusBadRequest); !strings.Contains(text, says) {
			t.Errorf("%s: %s", says, text)
		}
	}
	for _, to := range []string{key.Recipient().String(), hybrid.Recipient().String()} {
		m := boss.export("/fhir/$export?" + why + "&manifest=stu4&to_age=" + to)
		f := m.of("Patient")
		_, text := boss.do(http.MethodGet, f.URL, http.StatusOK)
		if !strings.HasSuffix(f.URL, "/Patient.ndjson.age") || len(text) != f.FileSize {
			t.Errorf("%d bytes: %+v", len(text), f)
		}
		plain, err := age.Decrypt(strings.NewReader(text), key, hybrid)
		w.ok(err)
		if text, err := io.ReadAll(plain); err != nil || !strings.Contains(string(text), "Firstperson") {
			t.Errorf("%v: %s", err, text)
		}
	}
}
