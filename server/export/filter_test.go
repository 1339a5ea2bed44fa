package export_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
)

// TestFilters: a period by the day where it was, whom it is about, what has changed since,
// one program.
func TestFilters(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	// 2023-11-14 16:13 in Chicago. Seven hours later it is the 15th in UTC and still the
	// 14th there; eight hours later it is not.
	call := func(number string, ms int64, program int) {
		c := w.incident(program, number)
		c.DispatchedAt = &tandemv1.Instant{AtMs: new(ms), Origin: new("cad")}
		w.add(0, c)
	}
	call("BEFORE", now-24*3600*1000, 0)
	call("EVENING", now+7*3600*1000, 0)
	call("AFTER", now+8*3600*1000, 0)
	call("ELSEWHERE", now, 1)
	inside, outside := w.add(clinical, w.person(0, "INSIDE"))[0], w.add(clinical, w.person(0, "OUTSIDE"))[0]
	for i, id := range []string{inside.String(), outside.String()} {
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Lifecycle: new("signed"), Tz: new("America/Chicago"),
			PersonId: new(id), StartedAt: &tandemv1.Instant{AtMs: new(now + int64(i)*48*3600*1000)},
		})
	}
	// Who was entered twice and met as the one that is no more: the one they are, is there too.
	target := w.add(clinical, w.person(0, "CANONICAL"))[0]
	twin := func(into string) string {
		p := w.person(0, "")
		p.Lifecycle, p.MergedInto, p.Names = new("merged"), new(into), nil
		return w.add(clinical, p)[0].String()
	}
	w.add(clinical, &tandemv1.Encounter{
		AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Lifecycle: new("signed"), Tz: new("America/Chicago"),
		PersonId: new(twin(twin(target.String()))), StartedAt: &tandemv1.Instant{AtMs: new(int64(now))},
	})
	words := strings.Fields("BEFORE EVENING AFTER ELSEWHERE INSIDE OUTSIDE CANONICAL")
	for _, c := range []struct {
		with func(*export.Options)
		want string
	}{
		{func(*export.Options) {}, "BEFORE EVENING AFTER ELSEWHERE INSIDE OUTSIDE CANONICAL"},
		{func(o *export.Options) { o.From, o.Until = "2023-11-14", "2023-11-14" }, "EVENING ELSEWHERE INSIDE CANONICAL"},
		{func(o *export.Options) { o.From = "2023-11-15" }, "AFTER OUTSIDE"},
		{func(o *export.Options) { o.Until = "2023-11-13" }, "BEFORE"},
		{func(o *export.Options) { o.Since = w.seq - 8 }, "INSIDE OUTSIDE CANONICAL"},
		{func(o *export.Options) { o.Program = w.program[1] }, "ELSEWHERE"},
		{func(o *export.Options) { o.Kinds = []string{"person"} }, "INSIDE OUTSIDE CANONICAL"},
	} {
		for _, format := range []string{export.CSV, export.Parquet} {
			o := w.options()
			o.Format = format
			c.with(&o)
			dir, m := w.write(o)
			text := joined(w.files(dir))
			if format == export.Parquet {
				// Its pages are packed: the manifest's count says the same.
				o.Format = export.CSV
				if _, plain := w.write(o); plain.Records != m.Records {
					t.Errorf("%q: %d records, %d in CSV", c.want, m.Records, plain.Records)
				}
				continue
			}
			var got []string
			for _, word := range words {
				if strings.Contains(text, word) {
					got = append(got, word)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if p, err := export.Count(t.Context(), w.s, w.org, o); err != nil || p.Records != m.Records {
				t.Errorf("counted %+v, exported %d: %v", p, m.Records, err)
			}
		}
	}
	for _, wrong := range [][2]string{{"2023-11-15", "2023-11-14"}, {"yesterday", ""}, {"", "2023-02-30"}} {
		o := w.options()
		o.From, o.Until = wrong[0], wrong[1]
		if _, err := export.Write(t.Context(), w.s, w.org, filepath.Join(t.TempDir(), "out"), o); !errors.Is(err, export.ErrPeriod) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// TestEncrypted: every file of every form opens with the recipient's key alone, and is then
// what it would have been; nothing else is left.
func TestEncrypted(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	t.Parallel()
	w.caseload(1)
	key, err := age.GenerateX25519Identity()
	w.ok(err)
	stranger, err := age.GenerateX25519Identity()
	w.ok(err)
	for _, format := range export.Formats {
		o := w.options()
		o.Format = format
		plain, _ := w.write(o)
		o.Encrypt = func(_ string, to io.Writer) (io.WriteCloser, error) { return age.Encrypt(to, key.Recipient()) }
		dir, m := w.write(o)
		if !m.Encrypted {
			t.Errorf("%s: the manifest does not say so", format)
		}
		got := map[string]string{}
		for name, text := range w.files(dir) {
			of, ok := strings.CutSuffix(name, ".age")
			if !ok || strings.Contains(text, "Testperson") {
				t.Errorf("%s: %s is in the clear", format, name)
				continue
			}
			if _, err := age.Decrypt(strings.NewReader(text), stranger); err == nil {
				t.Errorf("%s: another key opens %s", format, name)
			}
			r, err := age.Decrypt(strings.NewReader(text), key)
			w.ok(err)
			var b bytes.Buffer
			_, err = b.ReadFrom(r)
			w.ok(err)
			got[of] = b.String()
		}
		want := w.files(plain)
		delete(got, "manifest.json")
		delete(want, "manifest.json")
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s: %s is another file once it is opened", format, name)
			}
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*unfinished*")); err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	}
}
