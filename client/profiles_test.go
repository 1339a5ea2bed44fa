package client

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	serverstore "github.com/tandem-response/tandem/server/store"
	"google.golang.org/protobuf/proto"
)

// withPassphrase opens a store as one who knows a passphrase.
func withPassphrase(words string) func(*Options) {
	return func(o *Options) {
		o.Passphrase = func(context.Context, bool) ([]byte, error) { return []byte(words), nil }
		o.Guess = cheapGuess
	}
}

// TestProfiles has two people share a laptop: each has a store, a key and a device of their
// own. No byte of one is in the other's reach, nor in anybody's who has the disk, and to
// the server they are two people on two devices.
func TestProfiles(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), filepath.Join(t.TempDir(), "laptop")
	for _, bad := range []string{"", "..", "a/b", "Ana", "-a", "ana ", ".", profilesFile + "/x", "abcdefghijklmnopqrstuvwxyz0123456789"} {
		if _, err := AddProfile(dir, bad); !errors.Is(err, ErrProfileName) {
			t.Errorf("a profile %q: %v", bad, err)
		}
	}
	people := map[string]string{"ana": "ana's five words nobody guesses", "ben": "ben's five words nobody guesses"}
	canaries := map[string]string{"ana": "canary-words-of-ana", "ben": "canary-words-of-ben"}
	open := map[string]*Client{}
	for name, words := range people {
		p, err := AddProfile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := AddProfile(dir, name); !errors.Is(err, ErrProfileThere) {
			t.Errorf("the same profile again: %v", err)
		}
		staff := o.clinician
		if name == "ben" {
			staff = o.second
		}
		// Nobody asked for a vault: a profile is in one.
		c := o.enrol(staff, p.Dir, withPassphrase(words))
		if !c.InVault() {
			t.Fatalf("%s's store is in the clear", name)
		}
		mustSync(t, c)
		o.away.Store(true)
		note(t, c, canaries[name])
		if err := c.SaveDraft(t.Context(), "form", []byte(canaries[name]+"-typed")); err != nil {
			t.Fatal(err)
		}
		o.away.Store(false)
		open[name] = c
	}
	if all, err := Profiles(dir); err != nil || len(all) != 2 || !all[0].Enrolled || !all[1].Enrolled || all[0].Chosen || all[1].Chosen {
		t.Errorf("listed: %+v, %v", all, err)
	}

	// Ana signs out: her key is gone from memory, and Ben works on.
	keys := open["ana"].store.vault.keys
	if err := open["ana"].SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys.CurrentKey() != nil {
		t.Error("the key is in memory after the sign-out")
	}
	if _, err := open["ana"].List(t.Context(), "incident", Filter{}, Newest, 10); !errors.Is(err, ErrClosed) {
		t.Errorf("a list after the sign-out: %v", err)
	}
	note(t, open["ben"], "another of ben's")
	if err := open["ben"].SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}

	// No file says a word, and no passphrase opens what is another's.
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v, %v", path, info.Mode(), err)
		}
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, secret := range []string{canaries["ana"], canaries["ben"], people["ana"], people["ben"], "SQLite format"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{"ana": "ben", "ben": "ana"} {
		opts := Options{}
		withPassphrase(people[other])(&opts)
		_, err := Open(t.Context(), filepath.Join(dir, name), opts)
		if _, wrong := errors.AsType[*vault.WrongPassphraseError](err); !wrong {
			t.Errorf("%s's store with %s's passphrase: %v", name, other, err)
		}
		// Nor with the other's key file, and its passphrase.
		copied := filepath.Join(t.TempDir(), "copied")
		if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(filepath.Join(dir, other, keyFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, keyFile), key, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Open(t.Context(), copied, opts); err == nil {
			t.Errorf("%s's store opens with %s's key", name, other)
			_ = c.Close()
		}
	}

	// Each comes back to what is theirs, and what they did is theirs in the log.
	for name, words := range people {
		c := newClient(t, filepath.Join(dir, name), withPassphrase(words))
		if d, err := c.Draft(t.Context(), "form"); err != nil || string(d.Body) != canaries[name]+"-typed" {
			t.Errorf("%s's draft: %v, %v", name, d, err)
		}
		mustSync(t, c)
		s, err := c.Session()
		if err != nil {
			t.Fatal(err)
		}
		signedOut := 0
		err = o.st.ReadAudit(t.Context(), o.org.ID, func(l *serverstore.AuditLog) error {
			return l.Each(0, func(_ int64, raw []byte) error {
				e, of := &tandemv1.AuditEntry{}, &tandemv1.AuditEntry{}
				if err := errors.Join(proto.Unmarshal(raw, e), proto.Unmarshal(e.GetEntry(), of)); err != nil {
					return err
				}
				if of.GetCode() == "signed_out" && bytes.Equal(e.GetReplica(), c.me.replica[:]) {
					signedOut++
				}
				return nil
			})
		})
		if err != nil || signedOut != 1 {
			t.Errorf("%s's sign-out is in the log %d times, %v", name, signedOut, err)
		}
		people[name] = s.Person.String() + s.Device.String()
	}
	if people["ana"] == people["ben"] || people["ana"][:26] == people["ben"][:26] || people["ana"][26:] == people["ben"][26:] {
		t.Error("two people are one to the server")
	}

	// Which is chosen is a name, and nothing else leads out of the directory.
	if err := ChooseProfile(dir, "ben"); err != nil {
		t.Fatal(err)
	}
	if got, err := ProfileDir(dir, ""); err != nil || got != filepath.Join(dir, "ben") {
		t.Errorf("chosen: %s, %v", got, err)
	}
	for _, bad := range []string{"carla", "..", "../elsewhere", profilesFile, "."} {
		if err := ChooseProfile(dir, bad); !errors.Is(err, ErrNoProfile) {
			t.Errorf("chosen %q: %v", bad, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, chosenFile), []byte("../elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ProfileDir(dir, ""); !errors.Is(err, ErrNoProfile) {
		t.Errorf("a chosen file that leads elsewhere: %v", err)
	}
	if _, err := AddProfile(filepath.Dir(dir), "carla"); !errors.Is(err, ErrNoProfiles) {
		t.Errorf("a directory of something else: %v", err)
	}
}
