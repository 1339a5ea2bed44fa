package vault_test

import (
	"math"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/faultfs"
)

// TestGuessRate measures what a thief can try who has the key file and machines like
// this one: a guess costs at least what is asked of a hash of passwords (19 MiB, twice
// over), and five words out of a list of 7,776 are out of reach.
func TestGuessRate(t *testing.T) {
	if c := vault.DefaultCost; c.MemoryKiB < 19<<10 || c.Time < 2 {
		t.Errorf("a guess costs %+v", c)
	}
	d := faultfs.New(1)
	_, path := newKeys(t, d)
	k := read(t, d, path)
	if err := k.Unlock([]byte(phrase), vault.DefaultCost); err != nil {
		t.Fatal(err)
	}
	const guesses = 1
	began := time.Now()
	for range guesses {
		// A thief puts the file back, so that none of them is counted.
		if err := read(t, d.Copy(1), path).Unlock([]byte("what a thief would guess"), vault.DefaultCost); err == nil {
			t.Fatal("a wrong passphrase opens it")
		}
	}
	rate := guesses / time.Since(began).Seconds()
	const machines = 1000
	years := math.Pow(7776, 5) / 2 / (rate * machines) / (365 * 24 * 3600)
	t.Logf("%.1f guesses a second, %d MiB each: five random words take %d such machines %.2g years on average", rate, vault.DefaultCost.MemoryKiB>>10, machines, years)
	if years < 1000 {
		t.Errorf("five words last %.2g years", years)
	}
}
