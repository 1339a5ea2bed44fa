package fieldsync

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The checksum that the workload was published with, at 1,000 documents of seed 1.
const frozen = "68ecd55fda735c87"

func TestGeneratorIsFrozen(t *testing.T) {
	h := sha256.New()
	for i := range 1000 {
		b, err := JSON(Gen(1, i))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(append(b, '\n'))
	}
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != frozen {
		t.Errorf("first 8 bytes of SHA-256 over 1,000 documents: got %s, want %s: the generator must not change", got, frozen)
	}
}

func TestEncounterCarriesTheDocument(t *testing.T) {
	for i := range 500 {
		d := Gen(7, i)
		e, err := Encounter(d)
		if err != nil {
			t.Fatal(err)
		}
		if e.GetPresentingPrimary() == "" || e.GetDisposition() == "" {
			t.Fatalf("document %d: a code has no place in the table", i)
		}
		if got, want := len(e.GetPresentingOther())+1, len(d.Presenting); got != want {
			t.Fatalf("document %d: %d presenting codes, want %d", i, got, want)
		}
		if len(e.GetNarrative()) <= len(d.Narrative)+50 {
			t.Fatalf("document %d: the incident's line is missing", i)
		}
	}
}
