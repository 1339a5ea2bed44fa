package main

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// listedDevice is a line of admin device list --json.
type listedDevice struct {
	Device, State    string
	WipeOrdered      string `json:"wipe_ordered"`
	WipeAcknowledged string `json:"wipe_acknowledged"`
	Stores           int
	WipedStores      int `json:"wiped_stores"`
	Revoked          bool
}

// device is what the list says of one.
func listedAs(t *testing.T, dir, device string) listedDevice {
	t.Helper()
	for line := range strings.Lines(must(t, "", "admin", "device", "list", "--data", dir, "--json")) {
		if d := decode[listedDevice](t, line); d.Device == device {
			return d
		}
	}
	t.Fatalf("device %s is not listed", device)
	return listedDevice{}
}

// TestWipeDrill plays a lost laptop with the commands that people type: it is offline,
// with notes that nobody else has and one that is still being typed, when it is ordered
// to be wiped. At its next contact they reach the lead's quarantine, and then no byte of
// its directory is a key or a word in clear.
func TestWipeDrill(t *testing.T) {
	t.Parallel()
	for _, vaulted := range []bool{true, false} {
		t.Run(map[bool]string{true: "in a vault", false: "in the clear"}[vaulted], func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			dir, pass := filepath.Join(t.TempDir(), "car12"), filepath.Join(t.TempDir(), "pass")
			if err := os.WriteFile(pass, []byte("stapler correct horse battery moon\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			store := []string{"--store", dir}
			if vaulted {
				store = append(store, "--passphrase-file", pass)
			}
			on := func(args ...string) []string { return append(args, store...) }
			code, err := o.code(t.Context(), o.clinician, "Car 12 laptop")
			if err != nil {
				t.Fatal(err)
			}
			device := decode[struct{ Device string }](t, must(t, code, on("enroll", "--json", "--server", o.url)...)).Device
			must(t, "", on("sync")...)

			// A call is known to everybody. Then offline: two notes are saved, a third is being typed.
			o1 := client.Options{}
			if vaulted {
				o1.Passphrase = passphraseFlag{pass}.ask(&app{})
			}
			dev, err := client.Open(t.Context(), dir, o1)
			if err != nil {
				t.Fatal(err)
			}
			var incident syncengine.ID
			if _, err := dev.Edit(t.Context(), func(e *client.Edit) (err error) {
				incident, err = e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := dev.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, words := range []string{"unsent-words-one", "unsent-words-two"} {
				if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
					_, err := e.Create(&tandemv1.Encounter{Narrative: new(words)})
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := dev.SaveDraft(t.Context(), "note", []byte("words-still-typed")); err != nil {
				t.Fatal(err)
			}
			if err := dev.Close(); err != nil {
				t.Fatal(err)
			}

			// Ordered, and open until the device has acknowledged it.
			if r := tandem(t.Context(), "", "admin", "device", "wipe", "--data", o.dir, device); r.code != exitUsage || !strings.Contains(r.err, "--yes") {
				t.Errorf("without --yes: exit code %d, %s", r.code, r.err)
			}
			must(t, "", "admin", "device", "wipe", "--data", o.dir, "--json", "--yes", device)
			ordered := listedAs(t, o.dir, device)
			if ordered.State != "wipe_pending" || ordered.WipeOrdered == "" || ordered.WipeAcknowledged != "" || !ordered.Revoked {
				t.Errorf("ordered, it is listed as %+v", ordered)
			}
			must(t, "", "admin", "device", "wipe", "--data", o.dir, "--yes", device)
			if again := listedAs(t, o.dir, device); again != ordered {
				t.Errorf("ordered twice, it is listed as %+v", again)
			}

			// The next contact.
			for _, says := range []string{"was wiped at an administrator's order", "was wiped at an administrator's order"} {
				if r := tandem(t.Context(), "", on("sync")...); r.code != exitFailed || !strings.Contains(r.err, says) || strings.Contains(r.err, "once more") {
					t.Fatalf("the next contact: exit code %d\n%s%s", r.code, r.out, r.err)
				}
			}
			if got := listedAs(t, o.dir, device); got.State != "wiped" || got.WipeAcknowledged == "" || got.WipedStores != 1 {
				t.Errorf("wiped, it is listed as %+v", got)
			}
			if out := must(t, "", "admin", "device", "list", "--data", o.dir); !strings.Contains(out, "acknowledged") {
				t.Errorf("the list says %q", out)
			}
			if out := must(t, "", "vault", "status", "--store", dir); !strings.Contains(out, "the server knows") {
				t.Errorf("vault status says %q", out)
			}

			// What it held unsent is with the lead.
			shown, draft := "", ""
			for _, i := range items(t, must(t, "", "admin", "quarantine", "list", "--data", o.dir, "--as", o.lead.String(), "--json")) {
				shown += must(t, "", "admin", "quarantine", "show", "--data", o.dir, "--as", o.lead.String(), i.Change)
				if i.Code == "draft" {
					draft = i.Change
				}
			}
			// The draft is for the lead to read and to quote, and nothing that could be applied.
			if seen := items(t, must(t, "", "admin", "quarantine", "list", "--data", o.dir, "--as", o.other.String(), "--json")); len(seen) > 0 {
				t.Errorf("a lead of another team sees %+v", seen)
			}
			if r := tandem(t.Context(), "", "admin", "quarantine", "release", "--data", o.dir, "--as", o.lead.String(), draft); r.code != exitBadInput || !strings.Contains(r.err, "never saved") {
				t.Errorf("a draft is released: exit code %d, %s", r.code, r.err)
			}
			must(t, "", "admin", "quarantine", "quote", "--data", o.dir, "--as", o.lead.String(), "--on", incident.String(), draft)
			quoted := false
			if err := o.store.EachRecord(t.Context(), o.org.ID, record.New().KindByName("note").Number, func(rec *syncengine.StoredRecord) error {
				quoted = quoted || bytes.Contains(rec.Body, []byte("words-still-typed"))
				return nil
			}); err != nil || !quoted {
				t.Errorf("no note quotes the draft, %v", err)
			}
			if seen := items(t, must(t, "", "admin", "quarantine", "list", "--data", o.dir, "--as", o.lead.String(), "--json")); len(seen) != 2 {
				t.Errorf("the draft was quoted, and in quarantine are %+v", seen)
			}
			for _, words := range []string{"unsent-words-one", "unsent-words-two", "words-still-typed", "draft"} {
				if !strings.Contains(shown, words) {
					t.Errorf("the lead does not see %q", words)
				}
			}
			log := must(t, "", "admin", "audit", "list", "--data", o.dir)
			for _, act := range []string{"WIPE_ORDERED", "WIPING", "DRAFTS_KEPT", "WIPED"} {
				if !strings.Contains(log, act) {
					t.Errorf("the audit log has no %s:\n%s", act, log)
				}
			}
			must(t, "", "verify", "--data", o.dir)

			secrets := []string{"SQLite format", "unsent-words", "words-still-typed", "stapler", "Maya", "replica_key", "\"salt\"", "\"sealed\""}
			left := 0
			err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				left++
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				for _, s := range secrets {
					if bytes.Contains(b, []byte(s)) || bytes.Contains(b, []byte(hex.EncodeToString([]byte(s)))) {
						t.Errorf("%s holds %q", path, s)
					}
				}
				return nil
			})
			if err != nil || left < 2 {
				t.Errorf("%d files, %v", left, err)
			}
		})
	}
}
