package main

import (
	"database/sql"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine/audit"

	_ "modernc.org/sqlite"
)

// audited is an office with a log of some entries, two devices that keep checkpoints of
// it, an export and a checkpoint in a file.
type audited struct {
	*office

	// maya and luis are the directories of their stores.
	maya, luis         string
	export, checkpoint string
	acts               map[string]int
}

const auditedWord = "a word that stands in no log"

func newAudited(t *testing.T) *audited {
	t.Helper()
	o := newOffice(t)
	a := &audited{office: o, acts: map[string]int{}}
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(3, 5))}
	maya, luis := c.device("maya", o.clinician), c.device("luis", o.second)
	a.maya, a.luis = maya.dir, luis.dir
	person := c.create(maya, &tandemv1.Person{Descriptor_: new(auditedWord)})
	for range 12 {
		c.create(maya, &tandemv1.Incident{CallType: new("welfare_check")})
		c.sync(maya, luis)
	}
	sign := func() {
		if err := o.store.SignAudit(t.Context(), o.org.ID); err != nil {
			t.Fatal(err)
		}
	}
	sign()
	c.sync(maya)
	for range 2 {
		// The second time is covered by the entry of the first.
		if _, err := luis.dev.Get(t.Context(), person); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := luis.dev.Search(t.Context(), "word", 10); err != nil || len(found) != 1 {
		t.Fatalf("found %d: %v", len(found), err)
	}
	c.create(maya, &tandemv1.Incident{CallType: new("welfare_check")})
	c.sync(luis, maya, luis)
	sign()
	// An anchor and a proof each.
	c.sync(maya, luis)
	for _, d := range []*canaryDevice{maya, luis} {
		kept, err := d.dev.Audit(t.Context())
		if err != nil || kept.Rewritten != "" || kept.Unsent != 0 || len(kept.Checkpoints) == 0 {
			t.Fatalf("%s keeps %+v: %v", d.name, kept, err)
		}
		if err := d.dev.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	a.export, a.checkpoint = filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "checkpoint.txt")
	if err := os.WriteFile(a.checkpoint, []byte(must(t, "", "admin", "audit", "checkpoint", "--data", o.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "admin", "audit", "export", "--data", o.dir, "--to", a.export)
	for line := range strings.Lines(must(t, "", "admin", "audit", "list", "--data", o.dir, "--limit", "0", "--json")) {
		l := decode[audit.Line](t, line)
		a.acts[l.Act]++
		if l.Device != nil {
			a.acts["device "+l.Device.Act]++
		}
	}
	return a
}

// TestAudit: what was done stands in the log, once, and the log holds.
func TestAudit(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	for act, want := range map[string]int{
		"BEGAN": 1, "SET_UP": 11, "CODE_ISSUED": 2, "ENROLLED": 2, "SCOPED": 2, "PUSHED": 13, "PULLED": 14, "CHAIN": 1,
		"device READ": 1, "device SEARCHED": 1, "AUDIT_READ": 3,
	} {
		if got := a.acts[act]; got != want && (act != "PULLED" || got < 13) {
			t.Errorf("%d entries of %s, want %d", got, act, want)
		}
	}
	text, err := os.ReadFile(a.export)
	if err != nil || strings.Contains(string(text), auditedWord) || strings.Contains(string(text), "welfare_check") {
		t.Errorf("a value of a field stands in the log: %v", err)
	}
	kept, err := os.ReadFile(a.checkpoint)
	note := decode[map[string]string](t, must(t, "", "admin", "audit", "checkpoint", "--data", a.dir, "--json"))["checkpoint"]
	if origin, _, _ := strings.Cut(string(kept), "\n"); err != nil || origin == "" || !strings.HasPrefix(note, origin+"\n") {
		t.Errorf("as JSON the checkpoint is %q, %v", note, err)
	}
	for _, args := range [][]string{
		{"--data", a.dir}, {"--data", a.dir, "--store", a.maya, "--store", a.luis, "--checkpoint", a.checkpoint},
		{"--file", a.export, "--store", a.maya, "--checkpoint", a.checkpoint},
	} {
		v := decode[verifiedAudit](t, must(t, "", append([]string{"verify", "audit", "--json"}, args...)...))
		if !v.OK || v.Checkpoints < 2 || v.Chains != 1 || v.Signed == 0 {
			t.Errorf("%v: %+v", args, v)
		}
	}
}

// behind runs statements on the file of a server's database.
func behind(t *testing.T, dir string, do func(exec func(query string, args ...any))) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "tandem.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do(func(query string, args ...any) {
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAuditTamper alters the log in the database, and in an export, in each way; the
// offline check finds each. Who writes it anew with the server's own key is found by what
// a device, or a person, has kept.
func TestAuditTamper(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.stop()
	err := <-a.ended
	// It is waited for once more when the test ends.
	a.ended <- err
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		do   func(t *testing.T, dir string)
		args []string
		want string
	}{
		"edit": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) {
				raw, err := audit.Encode(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_LOOKED_UP})
				if err != nil {
					t.Fatal(err)
				}
				exec("UPDATE audit SET entry = ? WHERE n = 9", raw)
			})
		}, nil, "not those that were signed"},
		"delete": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) { exec("DELETE FROM audit WHERE n = 20") })
		}, nil, "entries 20 to 20 are missing"},
		"delete and close the gap": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) {
				exec("DELETE FROM audit WHERE n = 20")
				exec("UPDATE audit SET n = n - 1000000 WHERE n > 20")
				exec("UPDATE audit SET n = n + 999999 WHERE n < 0")
			})
		}, nil, "not those that were signed"},
		"reorder": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) {
				exec("UPDATE audit SET n = -1 WHERE n = 20")
				exec("UPDATE audit SET n = 20 WHERE n = 21")
				exec("UPDATE audit SET n = 21 WHERE n = -1")
			})
		}, nil, "not those that were signed"},
		"truncate": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) { exec("DELETE FROM audit WHERE n >= 30") })
		}, nil, "entries were cut off"},
		"written anew and shorter, found by a device":           {rewrite, []string{"--store", a.maya}, "entries were cut off"},
		"written anew and shorter, found by a saved checkpoint": {rewrite, []string{"--checkpoint", a.checkpoint}, "entries were cut off"},
		"a change behind the log's back": {func(t *testing.T, dir string) {
			behind(t, dir, func(exec func(string, ...any)) {
				exec("UPDATE history SET hash = zeroblob(32) WHERE seq = (SELECT max(seq) FROM history)")
			})
		}, nil, "is in no entry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			copyData(t, dir, a.dir)
			must(t, "", "verify", "audit", "--data", dir)
			tc.do(t, dir)
			tampered(t, tc.want, append([]string{"--data", dir}, tc.args...)...)
		})
	}
	t.Run("written anew, unseen without a witness", func(t *testing.T) {
		t.Parallel()
		// This is why devices keep checkpoints.
		dir := t.TempDir()
		copyData(t, dir, a.dir)
		rewrite(t, dir)
		must(t, "", "verify", "audit", "--data", dir)
	})
	text, err := os.ReadFile(a.export)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(string(text)))
	for name, tc := range map[string]struct {
		do   func(lines []string) []string
		args []string
		want string
	}{
		"edit the words": {func(l []string) []string {
			l[20] = strings.Replace(l[20], `"at_ms":1`, `"at_ms":2`, 1)
			return l
		}, nil, "its words do not say what its bytes say"},
		"delete":   {func(l []string) []string { return slices.Delete(l, 20, 21) }, nil, "are missing"},
		"reorder":  {func(l []string) []string { l[20], l[21] = l[21], l[20]; return l }, nil, "wrong place"},
		"truncate": {func(l []string) []string { return l[:30] }, nil, "entries were cut off"},
		"truncate, with the header": {func(l []string) []string {
			var h map[string]any
			if err := json.Unmarshal([]byte(l[0]), &h); err != nil {
				panic(err)
			}
			h["size"], h["checkpoints"] = 29, []string{}
			head, err := json.Marshal(h)
			if err != nil {
				panic(err)
			}
			return append([]string{string(head) + "\n"}, l[1:30]...)
		}, []string{"--store", a.luis}, "entries were cut off"},
	} {
		t.Run("export/"+name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := os.WriteFile(path, []byte(strings.Join(tc.do(slices.Clone(lines)), "")), 0o600); err != nil {
				t.Fatal(err)
			}
			tampered(t, tc.want, append([]string{"--file", path}, tc.args...)...)
		})
	}
}

// copyData copies a server's directory; what only its owner may read stays so.
func copyData(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "keys.json"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stores of devices are opened by one check at a time.
var auditStores = make(chan struct{}, 1)

func tampered(t *testing.T, want string, args ...string) {
	t.Helper()
	auditStores <- struct{}{}
	defer func() { <-auditStores }()
	r := tandem(t.Context(), "", append([]string{"verify", "audit"}, args...)...)
	if r.code != exitDiffers || !strings.Contains(r.out, want) {
		t.Errorf("exit code %d, want %d and %q:\n%s%s", r.code, exitDiffers, want, r.out, r.err)
	}
}

// rewrite takes out who read what and writes the rest of the log anew, as whoever has
// the server's files and keys can: another tree, and the checkpoints of the old one gone.
func rewrite(t *testing.T, dir string) {
	t.Helper()
	tree, left := &audit.Tree{}, [][]byte{}
	st, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	orgs, err := st.Orgs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hidden := []tandemv1.AuditAct{tandemv1.AuditAct_AUDIT_ACT_PULLED, tandemv1.AuditAct_AUDIT_ACT_SCOPED}
	if err := st.ReadAudit(t.Context(), orgs[0].ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			if e, err := audit.Decode(raw); err != nil || !slices.Contains(hidden, e.GetAct()) {
				tree.Append(raw)
				left = append(left, raw)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	behind(t, dir, func(exec func(string, ...any)) {
		exec("DELETE FROM audit")
		for n, raw := range left {
			exec("INSERT INTO audit (org, n, entry) VALUES (1, ?, ?)", n, raw)
		}
		exec("DELETE FROM audit_checkpoint")
		exec("UPDATE audit_head SET size = ?, edge = ?, signed_ms = 0, signed_size = 0", len(left), tree.Edge())
	})
	if err := st.SignAudit(t.Context(), orgs[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAuditRewritten: a server that has written its log anew is found by the device that
// keeps a checkpoint of it, at its next proof, and the device says so.
func TestAuditRewritten(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(4, 5))}
	maya := c.device("maya", o.clinician)
	work := func(n int) {
		for range n {
			c.create(maya, &tandemv1.Incident{CallType: new("welfare_check")})
			c.sync(maya)
		}
		if err := o.store.SignAudit(t.Context(), o.org.ID); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() *client.AuditKept {
		k, err := maya.dev.Audit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	work(20)
	c.sync(maya)
	before := kept()
	if n := before.Checkpoints[len(before.Checkpoints)-1].Size; n < 32 || before.Rewritten != "" {
		t.Fatalf("the device keeps a checkpoint of %d entries: %q", n, before.Rewritten)
	}
	rewrite(t, o.dir)
	work(30)
	if err := maya.dev.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if maya.dev, err = client.Open(t.Context(), maya.dir, client.Options{}); err != nil {
		t.Fatal(err)
	}
	c.sync(maya, maya)
	after := kept()
	if after.Rewritten == "" || after.Unsent != 0 {
		t.Fatalf("the device has not seen it: %+v", after)
	}
	if !slices.ContainsFunc(after.Checkpoints, func(cp *audit.Checkpoint) bool { return cp.Size == before.Checkpoints[0].Size }) {
		t.Error("the device has let go of what proves it")
	}
	if s, err := maya.dev.Status(t.Context()); err != nil || s.AuditRewritten != after.Rewritten {
		t.Errorf("its status says %q, %v", s.AuditRewritten, err)
	}
	// It has told the server too.
	if log := must(t, "", "admin", "audit", "list", "--data", o.dir, "--act", "LOG_REWRITTEN"); !strings.Contains(log, "LOG_REWRITTEN") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}
