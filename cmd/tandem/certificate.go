package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server"
)

// aead are the cipher suites of TLS 1.2 that authenticate what they encrypt and have
// forward secrecy (RFC 9325, section 4.2). TLS 1.3 has no others.
var aead = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// certificate is the server's certificate in its files, which may be renewed while it
// serves.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	seen              [2]string
}

// load reads the files. What cannot be used changes nothing.
func (c *certificate) load() error {
	seen, err := c.stamps()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("the certificate and its key cannot be used: %w", err)
	}
	c.seen = seen
	c.current.Store(&cert)
	return nil
}

// stamps tell a file that was written again.
func (c *certificate) stamps() (seen [2]string, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return seen, err
		}
		seen[i] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	}
	return seen, nil
}

// config is how to serve with it. It names no fixed certificate: that would go before the
// renewed one where a client names no server.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: aead,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// watch looks at the files until ctx is done and takes a renewed certificate into use.
// The server states its key first: a device that meets it asks for that. Half-written
// files are looked at again.
func (c *certificate) watch(ctx context.Context, every time.Duration, front *server.Front, log zerolog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		seen, err := c.stamps()
		if err == nil && seen == c.seen {
			continue
		}
		next := &certificate{certFile: c.certFile, keyFile: c.keyFile}
		if err = errors.Join(err, next.load()); err == nil {
			err = front.AddCertificate(next.current.Load())
		}
		if err != nil {
			log.Warn().Err(err).Msg("the renewed certificate cannot be used; the one before goes on")
			continue
		}
		c.seen = next.seen
		c.current.Store(next.current.Load())
		log.Info().Time("until", next.current.Load().Leaf.NotAfter).Msg("the certificate was renewed")
	}
}
