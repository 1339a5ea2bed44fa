package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// TestVerifyFiles: bytes of files that the disk has changed or lost are found, and so are
// those that are not here.
func TestVerifyFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ damage, want string }{
		"changed":           {`UPDATE blob_part SET data = zeroblob(length(data)) WHERE at = 0`, "not those that were attached"},
		"a part lost":       {`DELETE FROM blob_part WHERE at = 0`, "bytes are here"},
		"the last part":     {`DELETE FROM blob_part WHERE at > 0`, "bytes are here"},
		"not whole":         {`UPDATE blob SET held = 65536; DELETE FROM blob_part WHERE at > 0`, "bytes are missing"},
		"of nothing known":  {`DELETE FROM blob`, "nothing is known"},
		"fetched, in part":  {`UPDATE blob SET state = 2, held = 65536; DELETE FROM blob_part WHERE at > 0`, ""},
		"not fetched":       {`DELETE FROM blob; DELETE FROM blob_part`, ""},
		"whole, as it came": {``, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := newEnrolled(t)
			attach(t, c, []byte(strings.Repeat("What the letter says.\n", 4000)))
			if v, err := c.Verify(t.Context()); err != nil || !v.OK() || v.Files != 1 || v.Elsewhere != 0 {
				t.Fatalf("%+v: %v", v, err)
			}
			if _, err := c.store.conn.ExecContext(t.Context(), tc.damage); err != nil {
				t.Fatal(err)
			}
			v, err := c.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(v.Faults, "\n")
			if v.OK() != (tc.want == "") || !strings.Contains(all, tc.want) || v.Files+v.Elsewhere != 1 || (v.Files == 1) != (tc.damage == "") {
				t.Errorf("%d files, %d elsewhere, %q, want %q", v.Files, v.Elsewhere, all, tc.want)
			}
		})
	}
}

// TestFetchGivesWay: a piece of a file that is being fetched is given up for an urgent
// save, and the next one goes when that was sent. A file that this person attached is
// their own also where it was fetched again.
func TestFetchGivesWay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	id := attach(t, c, photo(t, 200))
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil || !state(t, c, id).Stored {
		t.Fatalf("sent: %v", err)
	}
	if err := c.store.write(t.Context(), "making room", func(x *tx) error { return x.dropFile(id) }); err != nil {
		t.Fatal(err)
	}
	var pieces, early atomic.Int64
	var pushed atomic.Bool
	begun, given := make(chan struct{}), make(chan struct{})
	o.mu.Lock()
	next := o.front
	o.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/GetBlobChunk") && pieces.Add(1) == 1:
			close(begun)
			<-r.Context().Done()
			close(given)
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "/GetBlobChunk") && !pushed.Load():
			early.Add(1)
		case strings.HasSuffix(r.URL.Path, "/Sync"):
			defer pushed.Store(true)
		}
		next.ServeHTTP(w, r)
	})
	o.mu.Unlock()
	got := make(chan error, 1)
	go func() {
		_, err := c.ReadFile(t.Context(), id)
		got <- err
	}()
	<-begun
	if _, err := c.Edit(t.Context(), func(e *Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	<-given
	mustSync(t, c)
	if err := <-got; err != nil || early.Load() > 0 {
		t.Errorf("%d pieces before what is urgent: %v", early.Load(), err)
	}
	if f := state(t, c, id); !f.Own || !f.Stored || f.Held != f.Size || len(f.Thumb) == 0 {
		t.Errorf("fetched again: %+v", f)
	}
}

// TestTakenBackWhileItIsSent: somebody takes a file back while it is on its way. Either it
// was taken back, and nobody ever reads a byte of it, or it was not, and is whole.
func TestTakenBackWhileItIsSent(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	taken := map[syncengine.ID]bool{}
	for i := range 12 {
		id := attach(t, c, photo(t, 60+40*(i%3)))
		mustSync(t, c)
		var sending sync.WaitGroup
		sending.Go(func() {
			if err := c.SendFiles(t.Context()); err != nil {
				t.Error(err)
			}
		})
		err := c.RemoveFile(t.Context(), id, fmt.Sprint("the wrong picture ", i))
		if err != nil && !errors.Is(err, ErrSentFile) {
			t.Error(err)
		}
		taken[id] = err == nil
		sending.Wait()
	}
	mustSync(t, c)
	if err := c.SendFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, c)
	other := o.enrol(o.second, t.TempDir())
	mustSync(t, other)
	kept := 0
	for id, gone := range taken {
		_, err := other.ReadFile(t.Context(), id)
		if gone != errors.Is(err, ErrNotFound) || !gone && err != nil {
			t.Errorf("taken back %t, read: %v", gone, err)
		}
		if !gone {
			kept++
		}
	}
	t.Logf("%d of %d were taken back", len(taken)-kept, len(taken))
}
