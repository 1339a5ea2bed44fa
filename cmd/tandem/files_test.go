package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/tandem-response/tandem/client"
)

// TestImportOfBadFiles: a file that cannot be a spreadsheet of this mapping is
// refused with exit code 4 and a reason, nothing of it is imported, and nothing that
// stands in it is repeated.
func TestImportOfBadFiles(t *testing.T) {
	t.Parallel()
	const (
		secret = "Zanzibar"
		header = "event_year,event_month,event_dow,event_hour,event_type,division,apprehension_made,hood_140\n"
		good   = "2015,January,Monday,3,Overdose,D51,No,73\n"
	)
	h, _ := newHome(t, homeOptions{})
	store := t.TempDir()
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", store, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	wide := make([]string, 10_000)
	for i := range wide {
		wide[i] = fmt.Sprintf("%s%d", secret, i)
	}
	wide[9999] = "event_year"
	cut := packed(t, header+strings.Repeat(good, 1000))
	for name, tc := range map[string]struct {
		data []byte
		code int
		want string // part of the message
	}{
		"empty":                   {nil, exitBadInput, ""},
		"a header alone":          {[]byte(header), exitBadInput, "no rows"},
		"good":                    {[]byte(header + good), exitOK, ""},
		"with a byte order mark":  {[]byte("\ufeff" + header + good), exitOK, ""},
		"with CR LF":              {[]byte(strings.ReplaceAll(header+good, "\n", "\r\n")), exitOK, ""},
		"UTF-16":                  {wideText(header + good + secret), exitBadInput, "UTF-8"},
		"unbalanced quotes":       {[]byte(header + good + `2015,January,Monday,3,"` + secret + ",D51,No,73\n" + good), exitBadInput, "line 3"},
		"a quote in a bare cell":  {[]byte(header + good + `2015,January,Mon"` + secret + "day,3,Overdose,D51,No,73\n"), exitBadInput, "line 3"},
		"too few cells":           {[]byte(header + good + secret + ",2\n"), exitBadInput, "line 3"},
		"too many cells":          {[]byte(header + good[:len(good)-1] + "," + secret + "\n"), exitBadInput, "line 2"},
		"10,000 columns":          {[]byte(strings.Join(wide, ",") + "\n" + good), exitBadInput, "columns"},
		"a column twice":          {[]byte(strings.Replace(header, "hood_140", "event_year", 1) + good), exitBadInput, "event_year"},
		"a column missing":        {[]byte("event_year,event_month\n2015,January\n"), exitBadInput, "event_"},
		"a formula":               {[]byte(header + strings.Replace(good, "Overdose", "=cmd|"+secret, 1)), exitBadInput, "line 2"},
		"NUL":                     {[]byte(header + strings.Replace(good, "Monday", secret+"\x00", 1)), exitBadInput, ""},
		"no UTF-8":                {[]byte(header + strings.Replace(good, "Monday", secret+"\xff", 1)), exitBadInput, ""},
		"cut off":                 {[]byte(header + good + "2015,January,Mon"), exitBadInput, "line 3"},
		"a month that is none":    {[]byte(header + strings.Replace(good, "January", secret, 1)), exitBadInput, "line 2"},
		"a year beyond reason":    {[]byte(header + strings.Replace(good, "2015", "99999999999999999999", 1)), exitBadInput, "line 2"},
		"gzip, cut off":           {cut[:len(cut)/2], exitBadInput, ""},
		"gzip, of another thing":  {packed(t, secret), exitBadInput, ""},
		"gzip, and rubbish after": {append(packed(t, header+good), secret...), exitBadInput, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "calls.csv")
			if err := os.WriteFile(file, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			queued := func() any {
				return decode[map[string]any](t, must(t, "", "status", "--store", store, "--json"))["queued"]
			}
			before := queued()
			r := tandem(t.Context(), "", "import", "--store", store, "--mapping", toronto, file)
			if r.code != tc.code {
				t.Fatalf("exit code %d, want %d\n%s%s", r.code, tc.code, r.out, r.err)
			}
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("the message repeats what stands in the file: %s", r.err)
			}
			if r.code == exitOK {
				return
			}
			if r.out != "" || len(r.err) > 2000 || !strings.Contains(r.err, tc.want) || !strings.HasPrefix(lastLine(r.err), "tandem: ") {
				t.Errorf("got %q on standard output, %d bytes of errors:\n%.2000s", r.out, len(r.err), r.err)
			}
			if after := queued(); after != before {
				t.Errorf("%v saves waited before, %v after", before, after)
			}
		})
	}
}

// wideText is text as UTF-16 with its mark.
func wideText(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
