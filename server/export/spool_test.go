package export_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
)

// asWritten reports whether a file in the clear is what it was.
func asWritten(path string, f export.File) bool {
	b, err := os.ReadFile(path)
	sum := sha256.Sum256(b)
	return err == nil && hex.EncodeToString(sum[:]) == f.SHA256
}

// TestSpool: an export that reads its state once, and is broken off after that, goes on at the
// same sequence with the same bytes as one that reads the database, whoever makes it and in
// whichever form, though records are added meanwhile; and nobody can read what lies on the disk.
func TestSpool(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.caseload(2)
		w.add(tandemv1.Compartment_COMPARTMENT_PRIVATE, w.person(0, "PRIVATEPERSON"))
		w.add(tandemv1.Compartment_COMPARTMENT_SUD, w.person(0, "SUDPERSON"))
		for _, c := range []struct {
			format, set      string
			person, approver string
			with             func(*export.Options)
		}{
			{export.CSV, export.Full, "", "", nil},
			{export.XLSX, export.Full, "", "", nil},
			{export.Parquet, export.Full, "", "", nil},
			{export.FHIR, export.Full, "", "", nil},
			{export.FHIR, export.Full, "admin", "lead", func(o *export.Options) { o.Since = 9 }},
			{export.CSV, export.Full, "lead", "admin", nil},
			{export.CSV, export.Full, "lead", "", func(o *export.Options) { o.SUD, o.Basis = true, "treatment" }},
			{export.CSV, export.Full, "admin", "", func(o *export.Options) { o.From, o.Until, o.Notes, o.Void = "2023-01-01", "2024-12-31", true, true }},
			{export.Parquet, export.Limited, "admin", "", nil},
			{export.CSV, export.SafeHarbor, "analyst", "", nil},
		} {
			t.Run(fmt.Sprint(c.format, " ", c.set, " ", c.person, " ", c.approver), func(t *testing.T) {
				w.t = t
				o := w.options()
				o.Format, o.Set, o.Agreement, o.Key, o.At = c.format, c.set, "agreement 7", []byte("a key of the test"), time.UnixMilli(now)
				o.Person, o.Approver = w.staff[c.person], w.staff[c.approver]
				if c.with != nil {
					c.with(&o)
				}
				dir, m := w.write(o)
				if m.Records == 0 {
					t.Fatal("nothing is exported")
				}
				want := w.files(dir)
				to := filepath.Join(t.TempDir(), "out")
				stopped := errors.New("stopped")
				var kept *export.Kept
				o.Keep = func(k *export.Kept) error { kept = k; return nil }
				o.Whole = asWritten
				o.Begin = func(cut export.Cut) error {
					if cut.Seq != m.Seq {
						t.Errorf("begins at %d, not at %d", cut.Seq, m.Seq)
					}
					return stopped
				}
				for range 2 {
					o.Kept = kept
					if _, err := export.Write(t.Context(), w.s, w.org, to, o); !errors.Is(err, stopped) || kept == nil || kept.Parts != 0 {
						t.Fatalf("%v: %+v", err, kept)
					}
					w.add(0, w.incident(0, "LATECALL"))
					_, err := w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program[1]})
					w.ok(err)
				}
				text, err := os.ReadFile(to + ".spool")
				w.ok(err)
				for _, word := range []string{"PRIVATEPERSON", "Testperson", "America"} {
					if strings.Contains(string(text), word) {
						t.Errorf("%s is in the clear", word)
					}
				}
				plain := export.SpoolText(t, to+".spool", kept.Key)
				if strings.Contains(plain, "PRIVATEPERSON") || strings.Contains(plain, "SUDPERSON") != o.SUD || !strings.Contains(plain, "America") {
					t.Error("what nobody may export is there, or nothing is")
				}
				o.Begin, o.Kept = nil, kept
				_, err = export.Write(t.Context(), w.s, w.org, to, o)
				w.ok(err)
				if diff := cmp.Diff(want, w.files(to)); diff != "" {
					t.Error(diff)
				}
				w.ok(export.Discard(to))
				if left, err := filepath.Glob(to + ".*"); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	})
}

// TestSpoolNot: an export that is refused, or meets a full disk, leaves nothing behind.
func TestSpoolNot(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	for range export.ManyPeople + 1 {
		w.add(0, w.person(0, "ONEOFMANY"))
	}
	to := filepath.Join(t.TempDir(), "out")
	for name, c := range map[string]struct {
		person string
		begin  error
		want   error
	}{
		"who may not":         {"clinician", nil, export.ErrForbidden},
		"more than one alone": {"admin", nil, export.ErrApproval},
		"no room":             {"", store.ErrDisk, store.ErrDisk},
	} {
		o := w.options()
		o.Person = w.staff[c.person]
		o.Keep = func(*export.Kept) error { return nil }
		begun := false
		o.Begin = func(export.Cut) error { begun = true; return c.begin }
		_, err := export.Write(t.Context(), w.s, w.org, to, o)
		if !errors.Is(err, c.want) || begun != (c.begin != nil) {
			t.Errorf("%s: %v; begun: %v", name, err, begun)
		}
		if left, err := filepath.Glob(to + "*"); err != nil || len(left) > 0 {
			t.Errorf("%s left behind: %v, %v", name, left, err)
		}
	}
}
