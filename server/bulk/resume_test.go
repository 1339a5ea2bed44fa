package bulk_test

import (
	"bufio"
	"bytes"
	"context"
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
// it stops for ever once it has kept the second part of one.
const (
	childEnv = "TANDEM_BULK_CHILD"
	hangEnv  = "TANDEM_BULK_HANGS"
)

// hanging takes a server's log and, where it hangs, says when the second part is kept, and no
// more.
type hanging struct{ hangs bool }

func (h hanging) Write(b []byte) (int, error) {
	if h.hangs && bytes.Contains(b, []byte(`"part":2`)) {
		fmt.Fprintln(os.Stdout, "kept")
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
	worker, err := jobs.New(st, jobs.Options{Log: zerolog.Nop(), Lease: time.Hour, Poll: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	log := zerolog.New(hanging{os.Getenv(hangEnv) != ""})
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
func (w *world) start(hangs bool) (lines *bufio.Reader, kill func()) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+w.place)
	if hangs {
		cmd.Env = append(cmd.Env, hangEnv+"=1")
	}
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
			for n := range []int{5000, 10, 5000}[i] {
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
)

// TestResume: an export that is killed in the middle is gone on with by another server, whose
// files are the same bytes as of one that nothing happened to. What was finished is not made
// again; where the database stands elsewhere by then, or a file is not what it was, all is.
func TestResume(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.fill()
		key, err := age.GenerateX25519Identity()
		w.ok(err)
		for _, c := range []struct {
			format  string
			happens meanwhile
			key     *age.X25519Identity
		}{
			{export.CSV, nothing, nil}, {export.Parquet, nothing, nil}, {export.FHIR, nothing, nil}, {export.CSV, nothing, key},
			{export.CSV, changed, nil}, {export.FHIR, damaged, nil},
		} {
			t.Run(fmt.Sprint(c.format, ", ", c.happens, ", ", c.key != nil), func(t *testing.T) { w.breakOff(t, c.format, c.happens, c.key) })
		}
	})
}

// askAll has everything asked for by one admin, whom a second one has approved.
func (w *world) askAll(format string, key *age.X25519Identity) (id syncengine.ID, who [2]syncengine.ID, ask bulk.Request) {
	w.t.Helper()
	var err error
	for i := range who {
		who[i], err = w.admin.AddStaff(w.t.Context(), server.StaffOptions{Name: "Testperson admin", Discipline: "other", Roles: []string{"admin"}, Agency: w.agency, Teams: []syncengine.ID{w.team}})
		w.ok(err)
	}
	ask = bulk.Request{Format: format, Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Approver: who[1].String(), ApprovedPeople: 1 << 20}
	if key != nil {
		ask.ToAge = []string{key.Recipient().String()}
	}
	id, err = w.exports.Ask(w.t.Context(), w.org, who[0], ask)
	w.ok(err)
	return id, who, ask
}

func (w *world) breakOff(t *testing.T, format string, happens meanwhile, key *age.X25519Identity) {
	w.t = t
	id, who, ask := w.askAll(format, key)
	lines, kill := w.start(true)
	if line, err := lines.ReadString('\n'); err != nil || line != "kept\n" {
		t.Fatalf("%q, %v", line, err)
	}
	kill()
	before := w.kept(t, id)
	w.free(id)
	switch happens {
	case changed:
		_, err := w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program[0]})
		w.ok(err)
	case damaged:
		name := filepath.Join(w.dir, id.String()+".unfinished", slices.Sorted(maps.Keys(before))[0])
		b, err := os.ReadFile(name)
		w.ok(err)
		b[len(b)-1] ^= 1
		w.ok(os.WriteFile(name, b, 0o600))
	}
	want := w.straight(t, export.Options{
		ID: id, Person: who[0], Approver: who[1], Purpose: ask.Purpose, Recipient: ask.Recipient, Basis: ask.Basis, Format: format, ExcelSafe: true, Generator: "test",
	}, key != nil)
	if _, both := want["Task.002.ndjson"]; both != (format == export.FHIR) {
		t.Fatal("no type of resource is of two parts", slices.Sorted(maps.Keys(want)))
	}
	_, kill = w.start(false)
	defer kill()
	var j *store.Job
	var done *bulk.Done
	for done == nil {
		time.Sleep(20 * time.Millisecond)
		var err error
		if j, _, done, err = w.exports.Get(t.Context(), w.org, who[0], id); err != nil || j.Attempt > 2 || j.Error != "" {
			t.Fatalf("%+v: %v", j, err)
		}
	}
	if j.Attempt != 2 || done.Kept != nil {
		t.Errorf("attempt %d, still kept: %v", j.Attempt, done.Kept != nil)
	}
	got := map[string][]byte{}
	for name := range want {
		got[name] = w.fetch(t, id, &ask, done, name, key)
	}
	for name, b := range want {
		if !bytes.Equal(got[name], b) {
			t.Errorf("%s: %d bytes, and %d of an export that nothing happened to", name, len(got[name]), len(b))
		}
	}
	for name, was := range before {
		is, err := os.Stat(filepath.Join(w.dir, id.String(), name))
		w.ok(err)
		if again := !is.ModTime().Equal(was.ModTime()); again != (happens != nothing) {
			t.Errorf("%s was made again: %v", name, again)
		}
	}
}

// free ends the lease of a server that was killed, which is so long that a busy machine loses no job.
func (w *world) free(id syncengine.ID) {
	w.t.Helper()
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		w.ok(err)
		j.LockedUntilMS = 0
		return tx.SaveJob(j)
	}))
}

// kept are the files that a killed attempt has left, as they lie there.
func (w *world) kept(t *testing.T, id syncengine.ID) map[string]os.FileInfo {
	t.Helper()
	j, err := w.s.Job(t.Context(), w.org.ID, id)
	w.ok(err)
	var done bulk.Done
	w.ok(json.Unmarshal(j.Result, &done))
	if j.Ended() || done.Kept == nil || done.Kept.Parts != 2 || len(done.Kept.Files) == 0 {
		t.Fatalf("%+v", j)
	}
	files := map[string]os.FileInfo{}
	for _, f := range done.Kept.Files {
		info, err := os.Stat(filepath.Join(w.dir, id.String()+".unfinished", f.Name+".age"))
		w.ok(err)
		files[f.Name+".age"] = info
	}
	return files
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

// parts is a log of exports, and calls a function when a part is kept.
type parts func(part int)

func (p parts) Write(b []byte) (int, error) {
	var line struct{ Part int }
	if json.Unmarshal(b, &line) == nil && line.Part > 0 {
		p(line.Part)
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
			first: func(end context.CancelFunc) { end() },
			between: func() {
				w.ok(w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
					j, err := tx.Job(id)
					w.ok(err)
					j.Attempt = jobs.Attempts - 1
					return tx.SaveJob(j)
				}))
			},
			second: func() {
				// In the way of a file that comes after the parts.
				w.ok(os.WriteFile(filepath.Join(w.dir, id.String()+".unfinished", "codebook.csv.age"), nil, 0o600))
			},
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
			id, who, _ = w.askAll(export.CSV, nil)
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
				w.kept(t, id)
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
