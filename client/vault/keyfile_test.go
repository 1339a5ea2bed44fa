package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/faultfs"
)

// cheap is what tests spend on a guess.
var cheap = vault.Cost{Time: 1, MemoryKiB: 64, Threads: 1}

const phrase = "correct horse battery staple lamp"

func newKeys(tb testing.TB, d *faultfs.Disk) (*vault.KeyFile, string) {
	tb.Helper()
	path := filepath.Join(filepath.Dir(tb.TempDir()), "device.key")
	k, err := vault.NewKeyFile(d, path, []byte(phrase), cheap)
	if err != nil {
		tb.Fatal(err)
	}
	if err := k.Settle(true); err != nil {
		tb.Fatal(err)
	}
	return k, path
}

func read(tb testing.TB, d *faultfs.Disk, path string) *vault.KeyFile {
	tb.Helper()
	k, err := vault.ReadKeyFile(d, path)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// The right passphrase opens the key, however it was typed, and the cost of a guess
// rises at an unlock.
func TestUnlock(t *testing.T) {
	t.Parallel()
	d := faultfs.New(1)
	k, path := newKeys(t, d)
	want := *k.CurrentKey()
	for _, weak := range []string{"", "short", "aaaaaaaaaaaaaaaaaaaa"} {
		if err := k.SetPassphrase([]byte(weak), cheap); !errors.Is(err, vault.ErrWeak) {
			t.Errorf("the passphrase %q is taken: %v", weak, err)
		}
	}
	if err := k.SetPassphrase([]byte("caf\u00e9 au lait du matin"), cheap); err != nil {
		t.Fatal(err)
	}
	k.Lock()
	if k.CurrentKey() != nil {
		t.Error("a locked key file has its key")
	}
	k = read(t, d, path)
	dearer := vault.Cost{Time: 2, MemoryKiB: 128, Threads: 1}
	if err := k.Unlock([]byte("cafe\u0301 au lait du matin"), dearer); err != nil || *k.CurrentKey() != want {
		t.Fatalf("typed on another keyboard: %v", err)
	}
	raw, err := d.Read(path)
	if err != nil || !bytes.Contains(raw, []byte(`"memory_kib":128`)) {
		t.Errorf("the cost was not raised: %s, %v", raw, err)
	}
	if got := fmt.Sprintf("%v %s %+v %#v %x", k.CurrentKey(), k.CurrentKey(), *k, k.CurrentKey(), k.CurrentKey()); got != "(key) (key) (key file) (key) (key)" {
		t.Errorf("a key prints as %s", got)
	}
}

// Ten wrong passphrases erase the key. Ending the program between them, or in the middle
// of one, gives no more.
func TestFailures(t *testing.T) {
	t.Parallel()
	d := faultfs.New(2)
	_, path := newKeys(t, d)
	for i := range vault.MostFailures - 1 {
		k := read(t, d, path)
		err := k.Unlock([]byte("not the passphrase, that"), cheap)
		if e, ok := errors.AsType[*vault.WrongPassphraseError](err); !ok || e.Left != vault.MostFailures-1-i {
			t.Fatalf("guess %d: got %v", i+1, err)
		}
	}
	right := d.Copy(1)
	if err := read(t, right, path).Unlock([]byte(phrase), cheap); err != nil {
		t.Fatalf("the right one after %d wrong ones: %v", vault.MostFailures-1, err)
	}
	if err := read(t, right, path).Unlock([]byte("not the passphrase, that"), cheap); !strings.Contains(fmt.Sprint(err), "after 9 more") {
		t.Errorf("after a right one: got %v", err)
	}
	if err := read(t, d, path).Unlock([]byte("not the passphrase, that"), cheap); !errors.Is(err, vault.ErrErased) {
		t.Fatalf("the tenth: got %v", err)
	}
	k := read(t, d, path)
	if err := k.Unlock([]byte(phrase), cheap); !errors.Is(err, vault.ErrErased) {
		t.Errorf("the right one after ten: got %v", err)
	}
	if raw, err := d.Read(path); err != nil || bytes.Contains(raw, []byte("sealed")) {
		t.Errorf("left of an erased key: %s, %v", raw, err)
	}
}

// A power cut in the middle of a change of passphrase leaves one of the two, and in the
// middle of an unlock costs at most one try.
func TestKeyFilePowerCuts(t *testing.T) {
	t.Parallel()
	const other = "an entirely different passphrase"
	for at := 1; ; at++ {
		d := faultfs.New(uint64(at))
		_, path := newKeys(t, d)
		d.Set(faultfs.Faults{CutAt: at})
		k := read(t, d, path)
		err := k.Unlock([]byte(phrase), cheap)
		if err == nil {
			err = k.SetPassphrase([]byte(other), cheap)
		}
		if err == nil {
			if at < 10 {
				t.Errorf("%d operations", at)
			}
			return
		}
		left := d.Restart()
		old, fresh := read(t, left, path).Unlock([]byte(phrase), cheap), read(t, left, path).Unlock([]byte(other), cheap)
		if (old == nil) == (fresh == nil) {
			t.Errorf("cut at operation %d: the old passphrase %v, the new one %v", at, old, fresh)
		}
	}
}

// A changed byte anywhere in the key file is noticed, and opens nothing else.
func TestKeyFileDamage(t *testing.T) {
	t.Parallel()
	d := faultfs.New(3)
	k, path := newKeys(t, d)
	want := *k.CurrentKey()
	raw, err := d.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		damaged := d.Copy(1)
		if err := damaged.Flip(path, int64(bit)); err != nil {
			t.Fatal(err)
		}
		k, err := vault.ReadKeyFile(damaged, path)
		if err == nil {
			err = k.Unlock([]byte(phrase), cheap)
		}
		if err == nil && *k.CurrentKey() != want {
			t.Errorf("bit %d of byte %d gives another key", bit%8, bit/8)
		}
	}
}
