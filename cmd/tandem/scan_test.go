package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestScannedCode enrols a device by what a scanner reads from an admin's QR code: the code
// and the address, once, and not for another server.
func TestScannedCode(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	issue := func(args ...string) ran {
		return tandem(t.Context(), "", append([]string{"admin", "code", "--data", o.dir, "--staff", o.clinician.String(), "--label", "Car 12 laptop", "--qr", o.url + "/"}, args...)...)
	}
	shown := issue()
	if lines := strings.Split(shown.out, "\n"); shown.code != exitOK || len(lines) < 20 || !strings.Contains(lines[0], "good until") || !strings.HasPrefix(lines[2], "████") {
		t.Errorf("no QR code is drawn: exit code %d\n%s%s", shown.code, shown.out, shown.err)
	}
	scanned := decode[struct{ Code, Invitation string }](t, must(t, "", append([]string{}, "admin", "code", "--data", o.dir, "--staff", o.clinician.String(), "--label", "Car 12 laptop", "--qr", o.url, "--json")...))
	u, err := url.Parse(scanned.Invitation)
	if err != nil || u.Fragment != "enroll="+scanned.Code || u.RawQuery != "" || u.Path != "/" || !strings.HasPrefix(scanned.Invitation, o.url) {
		t.Fatalf("the invitation is %q, %v", scanned.Invitation, err)
	}
	first, second := filepath.Join(t.TempDir(), "car12"), filepath.Join(t.TempDir(), "car13")
	if r := tandem(t.Context(), scanned.Invitation+"\n", "enroll", "--store", first, "--server", "https://elsewhere.example"); r.code != exitUsage || !strings.Contains(r.err, "leave it out") || strings.Contains(r.err, scanned.Code) {
		t.Errorf("for another server: exit code %d, %s", r.code, r.err)
	}
	if r := tandem(t.Context(), "http://tandem.example/#enroll="+scanned.Code, "enroll", "--store", first); r.code == exitOK || strings.Contains(r.err, scanned.Code) {
		t.Errorf("over a connection in clear: exit code %d, %s", r.code, r.err)
	}
	must(t, scanned.Invitation+"\r\n", "enroll", "--store", first)
	must(t, "", "sync", "--store", first)
	if r := tandem(t.Context(), scanned.Invitation, "enroll", "--store", second); r.code != exitFailed {
		t.Errorf("scanned twice: exit code %d, %s", r.code, r.err)
	}
}

// secretWords are parts of a flag's name by which it would take a secret itself.
var secretWords = []string{"secret", "pass", "pin", "token", "key", "code", "credential"}

// TestNoSecretIsAnArgument goes through all flags and arguments of all commands: what is
// called after a secret takes the name of a file, for everybody on a machine reads the
// arguments of all its processes.
func TestNoSecretIsAnArgument(t *testing.T) {
	t.Parallel()
	asked := 0
	for _, command := range commands(t) {
		values := slices.Clone(command.Positional)
		for _, f := range command.Flags {
			values = append(values, f.Value)
		}
		for _, v := range values {
			named := slices.ContainsFunc(strings.Split(v.Name, "-"), func(part string) bool {
				return slices.ContainsFunc(secretWords, func(w string) bool { return strings.HasPrefix(part, w) })
			})
			if !named || v.IsBool() {
				continue
			}
			asked++
			if !strings.HasSuffix(v.Name, "-file") && v.Tag.Type != "existingfile" && v.Tag.Type != "path" && v.Tag.PlaceHolder != "FILE" {
				t.Errorf("%s takes --%s itself: let it name a file, or read it from standard input", strings.Join(path(command), " "), v.Name)
			}
		}
	}
	if asked < 4 {
		t.Errorf("%d flags are called after a secret: the search would find none", asked)
	}
}
