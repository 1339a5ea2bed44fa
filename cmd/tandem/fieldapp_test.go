package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
)

// TestFieldApp: the command prints a link that a browser gets in by, and ends well when
// it is stopped.
func TestFieldApp(t *testing.T) {
	t.Parallel()
	h, err := openHome(&app{ctx: t.Context(), log: zerolog.Nop()}, t.TempDir(), homeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.close() })
	store := filepath.Join(t.TempDir(), "car")
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12", store, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if r := tandem(t.Context(), "", "device", "--store", store, "--listen", "0.0.0.0:0"); r.code != exitFailed || !strings.Contains(r.err, "loopback") {
		t.Errorf("serving the network: exit code %d\n%s", r.code, r.err)
	}
	if r := tandem(t.Context(), "", "device", "--store", store+"-not-there"); r.code != exitUsage {
		t.Errorf("a store that is not there: exit code %d\n%s", r.code, r.err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	var log bytes.Buffer
	go func() {
		ended <- run(ctx, []string{"device", "--store", store, "--json"}, stdio{in: strings.NewReader(""), out: in, err: &log})
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("no link: exit code %d\n%s", <-ended, &log)
	}
	var said struct{ Link string }
	if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	// Each link that is used brings the next.
	go func() { _, _ = io.Copy(io.Discard, out) }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, said.Link, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Jar: jar}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(page), "</html>") {
		t.Errorf("the page: %s, %v", res.Status, err)
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
