package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
)

// TestSlowLoris holds hundreds of connections to a running server open, each in one of the
// ways that cost the sender nothing: silence, the headers or the body a byte at a time.
// Meanwhile a device enrols and sends what it has. Whoever has not said in time what they
// want is cut off.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := pair(t, 1)
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRigOn(t, "tandem", "")
	r.server = r.serving("--data", r.path("server"), "--listen", r.addr, "--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"))
	const head = "POST /tandem.v1.EnrollService/Enroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\nContent-Length: 60000\r\n\r\n"
	kinds := map[string]struct {
		// tls says that the connection is made up to there, and for which protocol; said is
		// written at once.
		tls, said string
		// drip is written a byte at a time. cut says that the server is to end it soon.
		drip string
		cut  bool
	}{
		"no handshake": {cut: true},
		"silence":      {tls: "http/1.1", cut: true},
		"HTTP/2":       {tls: "h2", cut: true},
		"headers":      {tls: "http/1.1", said: "POST / HTTP/1.1\r\nHost: localhost\r\n", drip: "X-Slow: " + strings.Repeat("a", 10_000), cut: true},
		"bodies":       {tls: "http/1.1", said: head, drip: strings.Repeat("a", 10_000)},
	}
	const each = 80
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var held, dripping sync.WaitGroup
	for name, k := range kinds {
		for range each {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			if k.tls != "" {
				secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{k.tls}})
				if err := secure.HandshakeContext(ctx); err != nil {
					t.Fatal(err)
				}
				conn = secure
			}
			if _, err := io.WriteString(conn, k.said); err != nil {
				t.Fatal(err)
			}
			dripping.Go(func() {
				for i := range len(k.drip) {
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
						return
					}
					if _, err := io.WriteString(conn, k.drip[i:i+1]); err != nil {
						return
					}
				}
			})
			if !k.cut {
				continue
			}
			held.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				if ctx.Err() != nil {
					t.Errorf("%s: the server has not ended a connection", name)
				}
			})
		}
	}

	// A device enrols and sends, through all of that.
	at := r.home()
	code, err := at.code(t.Context(), r.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	if err := at.store.Close(); err != nil {
		t.Fatal(err)
	}
	dev, err := client.Open(t.Context(), r.path("device"), client.Options{Roots: cert})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Enroll(t.Context(), "https://"+r.addr, strings.TrimSpace(code)); err != nil {
		t.Fatalf("nobody can enrol: %v", err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	r.must(r.importing("device", r.file(20))...)
	r.must(r.syncing("device")...)
	if here, _ := r.on("device"); here.Queued != 0 {
		t.Errorf("%d saves wait", here.Queued)
	}
	patience := time.AfterFunc(3*time.Minute, stop)
	held.Wait()
	patience.Stop()
	r.must(r.importing("device", r.file(20))...)
	r.must(r.syncing("device")...)
	stop()
	dripping.Wait()
}
