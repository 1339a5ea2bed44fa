package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

func keyID(tb testing.TB, c *Client) string {
	tb.Helper()
	id, err := c.KeyID()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// thief is the way to the server of one who has a device's key and certificate.
func thief(tb testing.TB, c *Client, me *identity) *link {
	tb.Helper()
	u, err := parseServer(me.server)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := newProver(me.key, me.certificate, c.opts.Now)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := c.newTrust(u, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return newLink(u, &c.opts, p, v, c.read)
}

// A device gets another key at the contact after an unlock, when the one before is old
// enough, or when it is asked for. What was saved before and after arrives; who has the old
// key has nothing.
func TestRekey(t *testing.T) {
	t.Parallel()
	for name, inVault := range map[string]bool{"in a vault": true, "in the clear": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, dir := newOffice(t), t.TempDir()
			var now atomic.Int64
			wall := func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(now.Load())) } }
			change := []func(*Options){wall}
			if inVault {
				change = append([]func(*Options){boxed(&atomic.Int64{})}, wall)
			}
			c := o.enrol(o.clinician, dir, change...)
			mustSync(t, c)
			seed := bytes.Clone(c.me.key.Seed())
			old, first := *c.me, keyID(t, c)
			before := incident(t, c, "before")
			if err := c.SaveDraft(t.Context(), "form", []byte(typedWords)); err != nil {
				t.Fatal(err)
			}
			shut(t, c)

			// Not old enough yet.
			now.Store(int64(89 * 24 * time.Hour))
			c = newClient(t, dir, change...)
			o.away.Store(true)
			if _, err := c.Sync(t.Context()); !errors.Is(err, ErrNetwork) {
				t.Errorf("without a connection: %v", err)
			}
			if c.rekeying.Load() {
				t.Error("a key of 89 days is replaced")
			}
			shut(t, c)
			now.Store(int64(91 * 24 * time.Hour))
			c = newClient(t, dir, change...)
			if !c.rekeying.Load() {
				t.Error("a key of 91 days is not replaced")
			}
			o.away.Store(false)
			mustSync(t, c)
			second := keyID(t, c)
			if second == first || !o.has(before) {
				t.Fatalf("key replaced: %t, what was saved before has arrived: %t", second != first, o.has(before))
			}
			after := incident(t, c, "after")
			mustSync(t, c)
			if !o.has(after) {
				t.Error("what was saved with the new key has not arrived")
			}
			if !inVault {
				for _, file := range []string{databaseFile, databaseFile + "-wal"} {
					if b, err := os.ReadFile(filepath.Join(dir, file)); err == nil && bytes.Contains(b, seed) {
						t.Errorf("%s holds the old key still", file)
					}
				}
			}

			// Whoever has the old key.
			if _, _, err := thief(t, c, &old).exchange(t.Context(), &tandemv1.SyncRequest{Budget: 1 << 16}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), syncengine.ErrFormerKey.Error()) {
				t.Errorf("with the old key: %v", err)
			}

			// At will, and while it runs.
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			running := incident(t, c, "running")
			for !o.has(running) {
				time.Sleep(5 * time.Millisecond)
			}
			if err := c.RenewKey(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Wake()
			for keyID(t, c) == second {
				c.Wake()
				time.Sleep(5 * time.Millisecond)
			}
			last := incident(t, c, "at last")
			for !o.has(last) {
				time.Sleep(5 * time.Millisecond)
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
			events, err := c.Events(t.Context(), 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if strings.Contains(e.Fault, "refuses") {
					t.Errorf("a refusal was noted: %s", e.Fault)
				}
			}
			// What was sealed under three keys is deliverable.
			d := o.enrol(o.second, t.TempDir())
			sum, err := d.Deliver(t.Context(), SealedPath(dir))
			if err != nil || sum.Damaged+sum.NotTaken[tandemv1.Delivery_DELIVERY_UNPROVED]+sum.NotTaken[tandemv1.Delivery_DELIVERY_FORGED] > 0 {
				t.Errorf("the sealed outbox is delivered: %+v, %v", sum, err)
			}
			o.audited()
		})
	}
}

// cutting lets a request through and loses its answer.
type cutting struct {
	base http.RoundTripper
	lose atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(r)
	if err == nil && c.lose.Load() && strings.HasSuffix(r.URL.Path, "/Rekey") {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

// The answer is lost, the app is closed, the database of the server is set back: the device
// comes to its key all the same.
func TestRekeyAnswerLost(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	lossy := &cutting{base: http.DefaultTransport}
	through := func(o *Options) { o.Transport = lossy }
	c := o.enrol(o.clinician, dir, through)
	mustSync(t, c)
	first := keyID(t, c)
	word := incident(t, c, "unsent")
	lossy.lose.Store(true)
	if err := c.RenewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Sync(t.Context()); err == nil {
			t.Error("a sync went through without a key that is good")
		}
	}
	if keyID(t, c) != first {
		t.Error("the key was replaced without a certificate")
	}
	shut(t, c)
	lossy.lose.Store(false)
	c = newClient(t, dir, through)
	mustSync(t, c)
	if keyID(t, c) == first || !o.has(word) {
		t.Errorf("after it was opened again: key replaced %t, word arrived %t", keyID(t, c) != first, o.has(word))
	}
}

// A store that was set back to before its key was replaced is refused; its words reach a
// lead when it is enrolled again.
func TestRekeyedElsewhere(t *testing.T) {
	t.Parallel()
	o, dir, copied := newOffice(t), t.TempDir(), t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, "first")
	if _, err := c.List(t.Context(), "incident", Filter{}, Newest, 10); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	shut(t, c)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir)
	if err := c.RenewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	set := newClient(t, copied)
	word := incident(t, set, "of the copy")
	if _, err := set.Sync(t.Context()); !errors.Is(err, ErrRefused) {
		t.Fatalf("the copy syncs: %v", err)
	}
	code, err := o.admin.IssueCode(t.Context(), o.second, "tablet")
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Confirm(t.Context(), code.Code); !errors.Is(err, ErrRefused) {
		t.Errorf("with another person's code: %v", err)
	}
	if code, err = o.admin.IssueCode(t.Context(), o.clinician, "tablet"); err != nil {
		t.Fatal(err)
	}
	if err := set.Confirm(t.Context(), code.Code); err != nil {
		t.Fatal(err)
	}
	mustSync(t, set)
	// It was made on what the server knows as another device: a lead decides.
	if o.has(word) || !bytes.Contains(o.words(), []byte("of the copy")) {
		t.Errorf("the copy's word has not reached a lead; in quarantine: %v", o.quarantined())
	}
	mustSync(t, set)
	later := incident(t, set, "later")
	mustSync(t, set)
	if !o.has(later) {
		t.Error("what the copy saves under its new identity has not arrived")
	}
	// The chain of what was read here goes on under the new id, and says after which.
	if !slices.Contains(o.audited(), tandemv1.AuditAct_AUDIT_ACT_CHAIN_MOVED) {
		t.Error("the audit log does not say that the store has another id")
	}
	// The other one goes on.
	own := incident(t, c, "own")
	mustSync(t, c)
	if !o.has(own) {
		t.Error("the store with the new key is shut out")
	}
}

// The power may go at any operation of either disk while a device gets another key: it
// comes to one that is good, no word is lost, and the key before is good for nothing.
func TestRekeyInterrupted(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"the device", "the server"} {
		t.Run("cut at "+of, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, of == "the device")
			// It stands beside the disk of the database, as it was when that was copied.
			journal, err := os.ReadFile(filepath.Join(w.serverDir, "security.journal"))
			w.must(err)
			stages, step := map[string]int{}, 2
			if need.All() {
				step = 1
			}
			for at := 1; ; at += step {
				w.must(os.WriteFile(filepath.Join(w.serverDir, "security.journal"), journal, 0o600))
				stage := w.rekeyedAt(at, byte(at), of == "the device")
				if stage == "" {
					break
				}
				stages[stage]++
			}
			if len(stages) < 2 {
				t.Errorf("the power went at one stage alone: %v", stages)
			}
		})
	}
}

// rekeyedAt gives a device another key while the power of a disk goes at an operation of
// it, and says how far it had come; empty where the power stayed on.
func (w *disked) rekeyedAt(at int, seed byte, device bool) (stage string) {
	w.tb.Helper()
	ctx := w.tb.Context()
	l := w.start(w.device.Copy(uint64(at)), w.server.Copy(uint64(at)), seed)
	defer func() { _ = l.stop() }()
	old := *l.c.me
	first := keyID(w.tb, l.c)
	word := create(w.tb, l.c, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(unsentWords)})
	disk := l.device
	if !device {
		disk = l.server
	}
	disk.Set(faultfs.Faults{CutAt: at})
	if err := l.c.RenewKey(ctx); err == nil {
		_, _ = l.c.Sync(ctx)
	}
	cut := disk.Out()
	disk.Set(faultfs.Faults{})
	if cut {
		_ = l.stop()
		var err error
		if device {
			l, err = w.tryStart(l.device.Restart(), l.server, seed)
		} else {
			l, err = w.tryStart(l.device, l.server.Restart(), seed)
		}
		w.must(err)
		stage = "before or after"
		if l.c.rekeying.Load() {
			stage = "under way"
		}
	}
	if keyID(w.tb, l.c) == first {
		w.must(l.c.RenewKey(ctx))
	}
	if _, err := l.c.Sync(ctx); err != nil {
		w.tb.Fatalf("cut at %d (%s): %v", at, stage, err)
	}
	if keyID(w.tb, l.c) == first {
		w.tb.Errorf("cut at %d (%s): the key is the one before", at, stage)
	}
	found := false
	w.must(l.st.Read(ctx, w.org, func(v syncengine.ServerView) error {
		r, err := v.Record(word)
		found = r != nil
		return err
	}))
	if !found {
		w.tb.Errorf("cut at %d (%s): a word is lost", at, stage)
	}
	if _, _, err := thief(w.tb, l.c, &old).exchange(ctx, &tandemv1.SyncRequest{}); !errors.Is(err, ErrRefused) {
		w.tb.Errorf("cut at %d (%s): the old key: %v", at, stage, err)
	}
	return stage
}
