package client

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// order has the device of a client wiped.
func (o *office) order(c *Client) syncengine.ID {
	o.t.Helper()
	s, err := c.Session()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.admin.WipeDevice(o.t.Context(), s.Device); err != nil {
		o.t.Fatal(err)
	}
	return s.Device
}

// device is how the admin sees a device.
func (o *office) device(id syncengine.ID) *server.DeviceState {
	o.t.Helper()
	all, err := o.admin.Devices(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(d *server.DeviceState) bool { return d.ID == id })
	if i < 0 {
		o.t.Fatalf("device %s is not listed", id)
	}
	return all[i]
}

// words are the bodies of what lies in quarantine, one after another.
func (o *office) words() (all []byte) {
	o.t.Helper()
	changes, err := o.st.Quarantined(o.t.Context(), o.org.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, c := range changes {
		all = append(all, c.Body...)
	}
	return all
}

// audited are the acts in the audit log of the server, those by devices too.
func (o *office) audited() (acts []tandemv1.AuditAct) {
	o.t.Helper()
	err := o.st.ReadAudit(o.t.Context(), o.org.ID, func(l *serverstore.AuditLog) error {
		if r, err := l.Check(nil); err != nil || len(r.Faults) > 0 {
			o.t.Errorf("the audit log: %v, %v", r, err)
		}
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			acts = append(acts, e.GetAct())
			of := &tandemv1.AuditEntry{}
			err := proto.Unmarshal(e.GetEntry(), of)
			acts = append(acts, of.GetAct())
			return err
		})
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return acts
}

// nothingLeft looks through every byte of a directory.
func nothingLeft(t *testing.T, dir string, secrets ...[]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Base(path) {
		case SealedFile, lockFile, keyFile, wipeFile:
		default:
			t.Errorf("left: %s", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if len(s) < 6 {
				t.Fatalf("%q is too short to be looked for", s)
			}
			if bytes.Contains(b, s) || bytes.Contains(b, fmt.Appendf(nil, "%x", s)) {
				t.Errorf("%s holds %q", path, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const (
	heldWords   = "words-of-a-colleague"
	unsentWords = "words-nobody-has-sent"
	typedWords  = "words-still-being-typed"
)

func note(tb testing.TB, c *Client, words string) {
	tb.Helper()
	create(tb, c, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(words)})
}

// A device that was offline when it was ordered to be wiped does so at its next contact:
// what it had not sent reaches a lead first, and then neither a key nor a word is on its
// disk. Both in a vault and in the clear.
func TestWipe(t *testing.T) {
	t.Parallel()
	for name, inVault := range map[string]bool{"in a vault": true, "in the clear": false} {
		for how, contact := range map[string]func(*Client) error{
			"by a sync":     func(c *Client) error { _, err := c.Sync(t.Context()); return err },
			"while it runs": func(c *Client) error { return c.Run(t.Context()) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				o, dir := newOffice(t), t.TempDir()
				var now atomic.Int64
				var change []func(*Options)
				if inVault {
					change = append(change, boxed(&now))
				}
				other := o.enrol(o.second, t.TempDir())
				note(t, other, heldWords)
				mustSync(t, other)
				c := o.enrol(o.clinician, dir, change...)
				mustSync(t, c)
				seed := bytes.Clone(c.me.key.Seed())
				o.away.Store(true)
				note(t, c, unsentWords)
				attach(t, c, []byte(unsentWords))
				if err := c.SaveDraft(t.Context(), "form", []byte(typedWords)); err != nil {
					t.Fatal(err)
				}
				device := o.order(c)
				if d := o.device(device); d.State != "wipe_pending" || d.OrderedMS == 0 || d.WipedMS != 0 || !d.Revoked {
					t.Errorf("ordered: %+v", d)
				}
				if _, err := c.Sync(t.Context()); !errors.Is(err, ErrNetwork) {
					t.Errorf("without a connection: %v", err)
				}
				o.away.Store(false)
				if err := contact(c); !errors.Is(err, ErrWiped) {
					t.Fatalf("at its next contact: %v", err)
				}
				if d := o.device(device); d.State != "wiped" || d.WipedMS == 0 || d.Wiped != 1 || d.Stores != 1 {
					t.Errorf("acknowledged: %+v", d)
				}
				if got := o.quarantined(); !slices.Contains(got, "REVOKED") || !slices.Contains(got, "DRAFT") || !bytes.Contains(o.words(), []byte(typedWords)) || !bytes.Contains(o.words(), []byte(unsentWords)) {
					t.Errorf("in quarantine are %v", got)
				}
				nothingLeft(t, dir, []byte(heldWords), []byte(unsentWords), []byte(typedWords), seed, []byte("SQLite format"), []byte(passphrase))
				if wiped, told, err := Wiped(dir); !wiped || !told || err != nil {
					t.Errorf("the directory says: wiped %t, told %t, %v", wiped, told, err)
				}
				if _, err := c.Sync(t.Context()); !errors.Is(err, ErrWiped) {
					t.Errorf("again: %v", err)
				}
				if _, err := Open(t.Context(), dir, Options{Passphrase: knows, Guess: cheapGuess}); !errors.Is(err, ErrWiped) {
					t.Errorf("opened: %v", err)
				}
				acts := o.audited()
				for _, want := range []tandemv1.AuditAct{tandemv1.AuditAct_AUDIT_ACT_WIPE_ORDERED, tandemv1.AuditAct_AUDIT_ACT_WIPING, tandemv1.AuditAct_AUDIT_ACT_FILES_LEFT, tandemv1.AuditAct_AUDIT_ACT_WIPED} {
					if !slices.Contains(acts, want) {
						t.Errorf("the audit log has no %s", want)
					}
				}
			})
		}
	}
}

// What is saved or typed while a store is being wiped goes to the server like all before:
// the store is shut only when nothing is left that was not sent or offered. What comes after
// that is not taken for saved.
func TestWipeWhileSaving(t *testing.T) {
	t.Parallel()
	for name, save := range map[string]func(c *Client) error{
		"a note": func(c *Client) error {
			_, err := c.Edit(t.Context(), func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(unsentWords)})
				return err
			})
			return err
		},
		"a draft": func(c *Client) error { return c.SaveDraft(t.Context(), "form", []byte(unsentWords)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, dir := newOffice(t), t.TempDir()
			var now atomic.Int64
			c := o.enrol(o.clinician, dir, boxed(&now))
			mustSync(t, c)
			if err := c.SaveDraft(t.Context(), "form", []byte(typedWords)); err != nil {
				t.Fatal(err)
			}
			o.order(c)
			var offered, told atomic.Int64
			o.mu.Lock()
			front := o.front
			o.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case tandemv1connect.SyncServiceDeliverProcedure:
					// The drafts are offered now, the last thing before the store is shut.
					if offered.Add(1) == 1 {
						if err := save(c); err != nil {
							t.Errorf("while the store is wiped: %v", err)
						}
					}
				case tandemv1connect.EnrollServiceWipedProcedure:
					told.Add(1)
					if err := save(c); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrWiped) {
						t.Errorf("after it was shut: %v", err)
					}
				}
				front.ServeHTTP(w, r)
			})
			o.mu.Unlock()
			if _, err := c.Sync(t.Context()); !errors.Is(err, ErrWiped) {
				t.Fatal(err)
			}
			if offered.Load() == 0 || told.Load() == 0 {
				t.Fatalf("the drafts were offered %d times, the receipt was sent %d times", offered.Load(), told.Load())
			}
			for _, words := range []string{typedWords, unsentWords} {
				if !bytes.Contains(o.words(), []byte(words)) {
					t.Errorf("%q is not at the server", words)
				}
			}
		})
	}
}

// A wipe that is broken off and tried again says once which files go with it.
func TestWipeTriedAgain(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	var now atomic.Int64
	c := o.enrol(o.clinician, dir, boxed(&now))
	mustSync(t, c)
	attach(t, c, []byte(unsentWords))
	o.order(c)
	// What was noted does not come through, three times.
	var cut atomic.Bool
	cut.Store(true)
	o.mu.Lock()
	front := o.front
	o.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tandemv1connect.SyncServiceAuditProcedure && cut.Load() {
			panic(http.ErrAbortHandler)
		}
		front.ServeHTTP(w, r)
	})
	o.mu.Unlock()
	for range 3 {
		if _, err := c.Sync(t.Context()); !errors.Is(err, ErrNetwork) {
			t.Fatalf("with what was noted still here: %v", err)
		}
	}
	cut.Store(false)
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrWiped) {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(o.audited(), func(a tandemv1.AuditAct) bool { return a != tandemv1.AuditAct_AUDIT_ACT_FILES_LEFT })
	if len(left) != 1 {
		t.Errorf("the files that are left were noted %d times", len(left))
	}
}

// A server that is too busy for what was noted, and for that alone, puts a wipe off, but not
// without end.
func TestWipeOfABusyServer(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	note(t, c, unsentWords)
	o.order(c)
	o.mu.Lock()
	front := o.front
	o.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tandemv1connect.SyncServiceAuditProcedure {
			w.Header().Set(schemaHeader, "1")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		front.ServeHTTP(w, r)
	})
	o.mu.Unlock()
	for range maxWipeBusy - 1 {
		if _, err := c.Sync(t.Context()); !errors.Is(err, ErrBusy) {
			t.Fatalf("while the server is busy: %v", err)
		}
	}
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrWiped) {
		t.Fatalf("after %d times: %v", maxWipeBusy, err)
	}
	if !bytes.Contains(o.words(), []byte(unsentWords)) {
		t.Error("what was saved is not at the server")
	}
}

// The receipt is that of the order which came, whatever its number is.
func TestWipeOfAnotherNumber(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	me, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	public := bytes.Clone(me.key[ed25519.SeedSize:])
	const order = syncengine.WipeOrder + 6
	err = c.store.write(t.Context(), "ordering", func(t *tx) error {
		_, err := c.takeOrders(t, []*tandemv1.Order{{Number: order, Act: syncengine.ActWipe}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.ordered.Store(true)
	// This server has given no order of that number.
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrWiped) || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("got %v", err)
	}
	note, err := readWipe(vfs.System{}, dir)
	if err != nil || note.Order != order || !syncengine.VerifyWiped(public, note.Signature, o.org.ID, me.replica, order) {
		t.Errorf("the note says %+v, %v", note, err)
	}
}

// The power may go at any operation of the disk while a store is wiped: what is there
// afterwards ends what was begun, no word is lost, and the server hears of it.
func TestWipeInterrupted(t *testing.T) {
	t.Parallel()
	for name, inVault := range map[string]bool{"in a vault": true, "in the clear": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, inVault)
			sealed, err := os.ReadFile(SealedPath(w.dir))
			w.must(err)
			stages, step := map[string]int{}, 5
			if need.All() {
				step = 1
			}
			for at := 1; ; at += step {
				w.must(os.WriteFile(SealedPath(w.dir), sealed, 0o600))
				stage := w.wipedAt(at, byte(at))
				if stage == "" {
					break
				}
				stages[stage]++
			}
			for _, stage := range []string{"before the order", "ordered", "begun"} {
				if stages[stage] == 0 {
					t.Errorf("the power never went at: %s (%v)", stage, stages)
				}
			}
		})
	}
}

// wipedAt has a device wiped whose power goes at an operation of its disk, and says how
// far it had come; empty where the power stayed on.
func (w *disked) wipedAt(at int, seed byte) (stage string) {
	w.tb.Helper()
	ctx := w.tb.Context()
	l := w.start(w.device.Copy(uint64(at)), w.server.Copy(1), seed)
	defer func() { _ = l.stop() }()
	note(w.tb, l.c, unsentWords)
	s, err := l.c.Session()
	w.must(err)
	org, err := l.st.Org(ctx, w.org)
	w.must(err)
	w.must(server.NewAdmin(l.st, org, server.AdminOptions{}).WipeDevice(ctx, s.Device))
	l.device.Set(faultfs.Faults{CutAt: at})
	_, err = l.c.Sync(ctx)
	if l.device.Out() {
		_ = l.c.Close()
		l.dm.Close()
		l.device = l.device.Restart()
		l.dm = w.mount(l.device)
		err = l.open(seed)
		switch {
		case errors.Is(err, ErrWiped):
			stage = "begun"
			w.must(AcknowledgeWipe(l.dm.Use(ctx), w.dir, Options{Transport: l}))
		case err != nil:
			w.tb.Fatalf("cut at %d: opening: %v", at, err)
		case l.c.ordered.Load():
			stage = "ordered"
			if _, err := l.c.List(ctx, "incident", Filter{}, Newest, 10); !errors.Is(err, ErrWipeOrdered) {
				w.tb.Errorf("cut at %d: a list shows something: %v", at, err)
			}
			_, err = l.c.Sync(ctx)
		default:
			stage = "before the order"
			_, err = l.c.Sync(ctx)
		}
	}
	if !errors.Is(err, ErrWiped) {
		w.tb.Fatalf("cut at %d (%s): %v", at, stage, err)
	}
	for _, name := range []string{databaseFile, databaseFile + "-wal", reserveFile, wipeFile + newSuffix} {
		if b, err := l.device.Read(filepath.Join(w.dir, name)); err == nil {
			w.tb.Errorf("cut at %d (%s): left: %s, %d bytes", at, stage, name, len(b))
		}
	}
	if b, err := l.device.Read(filepath.Join(w.dir, keyFile)); w.vault && (err != nil || bytes.Contains(b, []byte("salt"))) {
		w.tb.Errorf("cut at %d (%s): the key: %s, %v", at, stage, b, err)
	}
	found := false
	changes, err := l.st.Quarantined(ctx, w.org)
	w.must(err)
	for _, c := range changes {
		found = found || bytes.Contains(c.Body, []byte(unsentWords))
	}
	if !found {
		w.tb.Errorf("cut at %d (%s): a word is lost", at, stage)
	}
	all, err := l.st.Replicas(ctx, w.org)
	w.must(err)
	if len(all) != 1 || all[0].WipedMS == 0 {
		w.tb.Errorf("cut at %d (%s): the server does not know", at, stage)
	}
	return stage
}

// Between the last look at what waits and the end of the key no save is taken for saved.
func TestShutTakesNoMore(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var now atomic.Int64
	c := o.enrol(o.clinician, t.TempDir(), boxed(&now))
	mustSync(t, c)
	note(t, c, unsentWords)
	if done, err := c.shut(t.Context(), nil, nil); done || err != nil {
		t.Errorf("with words unsent: shut %t, %v", done, err)
	}
	mustSync(t, c)
	if done, err := c.shut(t.Context(), nil, nil); !done || err != nil {
		t.Fatalf("with nothing unsent: shut %t, %v", done, err)
	}
	if _, err := c.Edit(t.Context(), func(e *Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(unsentWords)})
		return err
	}); !errors.Is(err, ErrClosed) {
		t.Errorf("a save: %v", err)
	}
	if err := c.SaveDraft(t.Context(), "form", []byte(typedWords)); !errors.Is(err, ErrClosed) {
		t.Errorf("a draft: %v", err)
	}
}
