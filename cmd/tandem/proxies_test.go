package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server/store"
)

// TestProxies: a device enrols and sends what it has through proxies as agencies run
// them, and where one asks for a password that the device does not have, it says so and
// keeps what it has.
func TestProxies(t *testing.T) {
	t.Parallel()
	const how = "apt-get install squid tinyproxy"
	squid, tinyproxy := need.Program(t, "squid", how), need.Program(t, "tinyproxy", how)
	dir := t.TempDir()
	// Squid reads its names as another user.
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addr := func() string {
		t.Helper()
		a, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}

	cert, key := pair(t, 1)
	ca, serving := file("cert.pem", string(cert), 0o600), addr()
	h := &home{}
	var err error
	if h.store, err = store.Open(t.Context(), filepath.Join(dir, "server"), store.Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.people(t.Context(), homeOptions{}); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(serving)
	h.url = "https://" + net.JoinHostPort("tandem.example", port)
	serve(t, "--data", filepath.Join(dir, "server"), "--listen", serving, "--origin", h.url, "--tls-cert", ca, "--tls-key", file("key.pem", string(key), 0o600))

	// The proxies alone know where tandem.example is.
	first, second := addr(), addr()
	proxy(t, first, squid, "-N", "-f", file("squid.conf", fmt.Sprintf(
		"http_port %s\nhosts_file %s\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nmax_filedescriptors 256\nshutdown_lifetime 0 seconds\n",
		first, file("hosts", "127.0.0.1 tandem.example\n", 0o644)), 0o600))
	proxy(t, second, tinyproxy, "-d", "-c", file("tinyproxy.conf", fmt.Sprintf(
		"Listen 127.0.0.1\nPort %s\nTimeout 60\nBasicAuth car12 %s\nUpstream http %s\nLogLevel Critical\n",
		second[strings.LastIndex(second, ":")+1:], "open-sesame", first), 0o600))

	for name, tc := range map[string]struct{ way, refused string }{
		"squid":                   {way: "http://" + first},
		"tinyproxy with password": {way: "http://car12:open-sesame@" + second, refused: "http://" + second},
	} {
		t.Run(name, func(t *testing.T) {
			place := t.TempDir()
			code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
			if err != nil {
				t.Fatal(err)
			}
			enrol := []string{"enroll", "--server", h.url, "--ca", ca, "--store", place}
			if tc.refused != "" {
				if exit, said := through(t, tc.refused, code, enrol...); exit != exitNoAnswer || !strings.Contains(said, "HTTPS_PROXY") {
					t.Errorf("without the proxy's password, enrolment ends with %d: %s", exit, said)
				}
			}
			if exit, said := through(t, tc.way, code, enrol...); exit != exitOK {
				t.Fatalf("enrolment: exit code %d: %s", exit, said)
			}
			dev, err := client.Open(t.Context(), place, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
					_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := dev.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := h.count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.refused != "" {
				if exit, said := through(t, tc.refused, "", "sync", "--store", place); exit != exitNoAnswer || !strings.Contains(said, "HTTPS_PROXY") {
					t.Errorf("without the proxy's password, a sync ends with %d: %s", exit, said)
				}
			}
			if exit, said := through(t, tc.way, "", "sync", "--store", place); exit != exitOK {
				t.Errorf("a sync: exit code %d: %s", exit, said)
			}
			if after, err := h.count(t.Context()); err != nil || after-before != 3 {
				t.Errorf("the server has %d records more, want 3 (%v)", after-before, err)
			}
		})
	}
}

// proxy starts one that listens at an address until the test ends.
func proxy(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err == nil {
			t.Log(filepath.Base(program), <-ended)
		}
	})
	var d net.Dialer
	for {
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s has ended: %v\n%s", filepath.Base(program), err, &log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// through runs the binary where the network's only way is a proxy, and returns its exit
// code and what it said.
func through(t *testing.T, proxy, in string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tandem", args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+proxy, "NO_PROXY=")
	cmd.Stdin = strings.NewReader(in)
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(said)
}
