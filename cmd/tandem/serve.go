package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type serveCmd struct {
	placeFlag

	Listen  string `default:"127.0.0.1:8440" placeholder:"ADDR" help:"Address to listen on (default ${default})."`
	TLSCert string `name:"tls-cert" type:"existingfile" placeholder:"FILE" help:"Certificate chain in PEM form; needed on any address but loopback."`
	TLSKey  string `name:"tls-key" type:"existingfile" placeholder:"FILE" help:"Private key of the certificate in PEM form."`
	JSON    bool   `help:"Print one line of JSON, with the address, when it serves."`
	Journal string `placeholder:"FILE" help:"Security journal, where it is not beside the keys: on a disk that is not set back with the database. It is remembered."`
	Origin  string `placeholder:"URL" help:"Scheme and host under which devices reach the server, where a proxy stands before it."`

	MinWriteSchema uint32 `name:"min-write-schema" placeholder:"N" help:"Oldest schema version whose saves are applied. Older apps may still send: their saves are kept, not applied, and the app says to update it."`
	MinReadSchema  uint32 `name:"min-read-schema" placeholder:"N" help:"Oldest schema version that is sent records. Older apps may still send."`
}

func (serveCmd) Help() string {
	return `Runs the server over one SQLite database in its directory, which is made where it is not
there, or over PostgreSQL: any number of servers may run on one database then, on as many
machines, each with the same keys.json in its directory. Plain HTTP is for loopback alone.
Ctrl-C lets requests under way finish; everything acknowledged is on the disk.

  tandem serve
  tandem serve --database postgres://tandem@db.example/tandem
  tandem serve --listen :8443 --tls-cert fullchain.pem --tls-key privkey.pem --data /var/lib/tandem`
}

func (c *serveCmd) Run(a *app) (err error) {
	if max(c.MinWriteSchema, c.MinReadSchema) > syncengine.Schema {
		return exits(exitUsage, fmt.Errorf("no app has a schema version beyond this server's own, %d: --min-write-schema and --min-read-schema may be that at most", syncengine.Schema))
	}
	config, err := c.tls()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(a.ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: is another server there, or the address not this machine's? %w", c.Listen, err)
	}
	// The server closes it too.
	defer func() { _ = listener.Close() }()
	if at, ok := listener.Addr().(*net.TCPAddr); config == nil && (!ok || !at.IP.IsLoopback()) {
		return exits(exitUsage, server.ErrPlain)
	}
	st, err := openData(a, c.placeFlag, store.Options{Create: true, Serve: true, Journal: c.Journal})
	if err != nil {
		return err
	}
	defer closing(st, &err)
	if a.log.GetLevel() > zerolog.InfoLevel {
		a.log = a.log.Level(zerolog.InfoLevel)
	}
	nonce, err := st.NonceKey(a.ctx)
	if err != nil {
		return err
	}
	srv, err := server.New(st, server.Options{NonceKey: nonce, Log: a.log, Origin: c.Origin, MinWriteSchema: c.MinWriteSchema, MinReadSchema: c.MinReadSchema})
	if err != nil {
		return err
	}
	tending, end := context.WithCancel(a.ctx)
	var tended sync.WaitGroup
	// Its error is the end of its context.
	tended.Go(func() { _ = srv.Tend(tending) })
	defer tended.Wait()
	defer end()
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	if c.JSON {
		if err := a.json(map[string]any{"url": fmt.Sprintf("%s://%s", scheme, listener.Addr())}); err != nil {
			return err
		}
		return srv.Serve(a.ctx, listener, config)
	}
	a.say("tandem serves %s://%s", scheme, listener.Addr())
	if orgs, err := st.Orgs(a.ctx); err == nil && len(orgs) == 0 {
		a.say("It holds no org yet: tandem admin org create --data %s --name NAME (it may run beside the server)", c.Data)
	}
	if err := srv.Serve(a.ctx, listener, config); err != nil {
		return err
	}
	a.say("ended")
	return nil
}

func (c *serveCmd) tls() (*tls.Config, error) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, exits(exitUsage, errors.New("--tls-cert and --tls-key go together"))
	}
	if c.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, exits(exitUsage, fmt.Errorf("the certificate and its key cannot be used: %w", err))
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}
