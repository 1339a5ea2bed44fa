package bulk_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// hereEnv makes the test's own program the operator's, who exports to a place in a form, to a key
// where one is named, and stops for ever in the middle of a kind.
const hereEnv = "TANDEM_BULK_HERE"

func here(st *store.Store, org *store.Org, to, key string) *bulk.Here {
	h := &bulk.Here{
		Store: st, Org: org, Admin: server.NewAdmin(st, org, server.AdminOptions{}), To: to,
		Note: &server.ExportNote{Recipient: "nobody", Purpose: "a test", Basis: "payment_ops", What: []string{"other"}, Form: "csv"},
	}
	if key != "" {
		h.Keys = []string{key}
	}
	return h
}

func hereOptions(n byte, format, key string) (o export.Options, err error) {
	o = export.Options{ID: syncengine.ID{7, n}, At: time.UnixMilli(int64(n)), Purpose: "a test", Recipient: "nobody", Basis: "payment_ops", Format: format, Generator: "test"}
	if key == "" {
		return o, nil
	}
	to, err := age.ParseX25519Recipient(key)
	o.Encrypt = func(_ string, w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, to) }
	return o, err
}

func hereUntil(ctx context.Context, st *store.Store, how []string) error {
	orgs, err := st.Orgs(ctx)
	if err != nil {
		return err
	}
	h := here(st, orgs[0], how[0], how[2])
	o, err := hereOptions(1, how[1], how[2])
	if err != nil {
		return err
	}
	at, err := strconv.Atoi(how[3])
	if err != nil {
		return err
	}
	read := 0
	o.Progress = func(n int) {
		if read += n; read >= at {
			fmt.Fprintln(os.Stdout, "there")
			select {}
		}
	}
	_, _, err = h.Write(ctx, o)
	return err
}

// TestHere: an operator's export that is killed goes on when the same is asked for once more, under
// its id and of its moment, and is accounted for once; another one begins anew. Nothing is left
// behind.
func TestHere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.fill()
		w.ok(os.MkdirAll(w.dir, 0o700))
		key, err := age.GenerateX25519Identity()
		w.ok(err)
		for name, c := range map[string]struct {
			format, key string
			// again is what is asked for the second time.
			again string
			anew  bool
			// at is how many records are read by the time of the kill, 11000 where it is 0; of those
			// are done, which nobody makes again, 10000 where it is 0.
			at, done int
		}{
			"csv":          {format: export.CSV, again: export.CSV},
			"csv to a key": {format: export.CSV, key: key.Recipient().String(), again: export.CSV, at: 16_000, done: 11_500},
			"fhir":         {format: export.FHIR, again: export.FHIR},
			"another form": {format: export.CSV, again: export.FHIR, anew: true},
		} {
			t.Run(name, func(t *testing.T) {
				w.t = t
				to := filepath.Join(w.dir, "here "+name)
				o, err := hereOptions(1, c.format, c.key)
				w.ok(err)
				before := w.disclosures()
				want := w.straight(t, o, c.key != "")
				all := 0
				o.Encrypt, o.Progress = nil, func(n int) { all += n }
				_, err = export.Write(t.Context(), w.s, w.org, filepath.Join(t.TempDir(), "count"), o)
				w.ok(err)
				lines, kill := w.start("", hereEnv+"="+to+"\n"+c.format+"\n"+c.key+"\n"+fmt.Sprint(cmp.Or(c.at, 11_000)))
				if line, err := lines.ReadString('\n'); err != nil || line != "there\n" {
					t.Fatalf("%q, %v", line, err)
				}
				kill()
				w.change(7)
				o, err = hereOptions(2, c.again, c.key)
				w.ok(err)
				read := 0
				o.Progress = func(n int) { read += n }
				h := here(w.s, w.org, to, c.key)
				m, digest, err := h.Write(t.Context(), o)
				w.ok(err)
				if left, err := filepath.Glob(to + ".*"); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				w.ok(w.s.Jobs(t.Context(), w.org.ID, "export.here", 10, func(*store.Job) error {
					t.Error("the key is left behind")
					return nil
				}))
				if c.anew {
					if m.ID == (syncengine.ID{7, 1}).String() || w.disclosures() != before+2 {
						t.Errorf("%s, %d disclosures", m.ID, w.disclosures()-before)
					}
					return
				}
				if m.ID != (syncengine.ID{7, 1}).String() || digest == (syncengine.Hash{}) || w.disclosures() != before+1 {
					t.Errorf("%s, %d disclosures", m.ID, w.disclosures()-before)
				}
				if read > all-cmp.Or(c.done, 10_000) {
					t.Errorf("%d records read of %d", read, all)
				}
				for name, b := range want {
					if got := w.received(filepath.Join(to, name), key, c.key != ""); !bytes.Equal(got, b) {
						t.Errorf("%s: %d bytes, and %d of an export that nothing happened to", name, len(got), len(b))
					}
				}
			})
		}
	})
}

// TestHereStrayed: what was erased while an operator's export is made is not handed out, and what
// was made goes.
func TestHereStrayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.person(someone(1), "Testperson", "active", 1, 0)
	w.ok(os.MkdirAll(w.dir, 0o700))
	for erases, want := range map[bool]error{true: bulk.ErrStrayed, false: nil} {
		to := filepath.Join(w.dir, fmt.Sprint("here ", erases))
		o, err := hereOptions(1, export.CSV, "")
		w.ok(err)
		o.Progress = func(int) {
			if erases {
				w.eraseNow(someone(1))
				erases = false
			}
		}
		h := here(w.s, w.org, to, "")
		_, _, err = h.Write(t.Context(), o)
		if left, _ := filepath.Glob(to + "*"); !errors.Is(err, want) || len(left) != map[bool]int{true: 1}[want == nil] {
			t.Errorf("%v, want %v; there is %v", err, want, left)
		}
	}
}

// received is a file as its recipient has it.
func (w *world) received(path string, key age.Identity, encrypted bool) []byte {
	w.t.Helper()
	if !encrypted {
		b, err := os.ReadFile(path)
		w.ok(err)
		return b
	}
	b, err := os.ReadFile(path + ".age")
	w.ok(err)
	r, err := age.Decrypt(bytes.NewReader(b), key)
	w.ok(err)
	b, err = io.ReadAll(r)
	w.ok(err)
	return b
}
