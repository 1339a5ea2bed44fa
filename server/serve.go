package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// ErrPlain refuses to speak to a network without TLS.
var ErrPlain = errors.New("without TLS the server listens on loopback alone: give a certificate and its key, or listen on 127.0.0.1")

// Timeouts of a connection. They leave room for a page over a link of 9600 bit/s;
// idle connections cost little.
const (
	headerTimeout   = 20 * time.Second
	bodyTimeout     = 15 * time.Minute
	idleTimeout     = 3 * time.Minute
	shutdownTimeout = 15 * time.Second
	maxHeader       = 16 << 10
)

// Serve answers on a listener until ctx is done, then lets requests under way
// finish, for a while. config is nil for plain HTTP, which is for loopback alone:
// otherwise the error is ErrPlain. HTTP/2 works on both. Before it answers it judges
// again what an older version did not know and has put into quarantine.
func (s *Server) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	if config == nil {
		if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			return errors.Join(ErrPlain, listener.Close())
		}
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		config = config.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	}
	if err := errors.Join(s.addKeys(config), s.relink(ctx), s.retry(ctx)); err != nil {
		return errors.Join(err, listener.Close())
	}
	h := &http.Server{
		Handler: s, Protocols: protocols, TLSConfig: config, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout,
		WriteTimeout: bodyTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// Its lines name addresses, so they are for whoever asks for them.
		ErrorLog: slog.NewLogLogger(zerolog.NewSlogHandler(s.log), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		s.End()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err := h.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = h.Close()
		}
		ended <- err
	})
	var err error
	if config == nil {
		err = h.Serve(listener)
	} else {
		err = h.ServeTLS(listener, "", "")
	}
	if stop() {
		return err
	}
	if err = <-ended; errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
