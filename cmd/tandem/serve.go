package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
)

type serveCmd struct {
	Config      configFile `placeholder:"FILE" help:"Settings from a YAML file: the names of these flags, without dashes in front. A flag or variable goes before the file."`
	CheckConfig bool       `help:"Check the settings and what they name, print them, and serve nothing."`

	placeFlag

	Listen    string        `default:"127.0.0.1:8440" env:"TANDEM_LISTEN" placeholder:"ADDR" help:"Address to listen on (default ${default})."`
	TLSCert   string        `name:"tls-cert" env:"TANDEM_TLS_CERT" type:"existingfile" placeholder:"FILE" help:"Certificate chain in PEM form; needed on any address but loopback."`
	TLSKey    string        `name:"tls-key" env:"TANDEM_TLS_KEY" type:"existingfile" placeholder:"FILE" help:"Private key of the certificate in PEM form."`
	TLSReload time.Duration `name:"tls-reload" default:"1m" env:"TANDEM_TLS_RELOAD" placeholder:"TIME" help:"How often to look whether the certificate was renewed (default ${default})."`
	JSON      bool          `help:"Print one line of JSON, with the address, when it serves."`
	Journal   string        `env:"TANDEM_JOURNAL" placeholder:"FILE" help:"Security journal, where it is not beside the keys: on a disk that is not set back with the database. It is remembered."`
	FrontCert []string      `name:"front-cert" env:"TANDEM_FRONT_CERT" type:"existingfile" placeholder:"FILE" help:"Certificate in PEM form that a proxy in front of the server shows to devices; may stand several times."`
	Origin    string        `env:"TANDEM_ORIGIN" placeholder:"URL" help:"Scheme and host under which devices reach the server, where a proxy stands before it."`

	MinWriteSchema uint32 `name:"min-write-schema" env:"TANDEM_MIN_WRITE_SCHEMA" placeholder:"N" help:"Oldest schema version whose saves are applied. Older apps may still send: their saves are kept, not applied, and the app says to update it."`
	MinReadSchema  uint32 `name:"min-read-schema" env:"TANDEM_MIN_READ_SCHEMA" placeholder:"N" help:"Oldest schema version that is sent records. Older apps may still send."`

	SessionIdle     time.Duration `name:"session-idle" default:"15m" env:"TANDEM_SESSION_IDLE" placeholder:"TIME" help:"How long a browser stays signed in that nobody uses (default ${default})."`
	SessionAbsolute time.Duration `name:"session-absolute" default:"12h" env:"TANDEM_SESSION_ABSOLUTE" placeholder:"TIME" help:"How long a browser stays signed in at most (default ${default})."`
	Console         bool          `default:"true" negatable:"" env:"TANDEM_CONSOLE" help:"Serve the console for leads and admins under /console/ (default ${default}); --no-console leaves it out."`
	SecondFactor    string        `name:"second-factor" default:"all" enum:"all,admins" env:"TANDEM_SECOND_FACTOR" placeholder:"WHO" help:"Who needs a second factor to sign in with a browser: all or admins (default ${default})."`
	TrustedProxy    []string      `name:"trusted-proxy" env:"TANDEM_TRUSTED_PROXY" placeholder:"ADDR" help:"Address or network of a proxy whose X-Forwarded-For is believed, for counting tries to sign in by address; may stand several times."`

	OIDCIssuer     string `name:"oidc-issuer" env:"TANDEM_OIDC_ISSUER" placeholder:"URL" help:"OpenID Connect provider that people may sign in at; needs --origin and --oidc-client."`
	OIDCClient     string `name:"oidc-client" env:"TANDEM_OIDC_CLIENT" placeholder:"ID" help:"Client id that the provider knows this server by."`
	OIDCSecretFile string `name:"oidc-secret-file" env:"TANDEM_OIDC_SECRET_FILE" type:"existingfile" placeholder:"FILE" help:"File whose first line is the secret that goes with it."`
	OIDCClaim      string `name:"oidc-claim" default:"email" env:"TANDEM_OIDC_CLAIM" placeholder:"NAME" help:"Claim that holds the login of an account (default ${default}, which must be a verified one). Any other must be one that people cannot set themselves."`
	OIDCMFA        bool   `name:"oidc-mfa" env:"TANDEM_OIDC_MFA" help:"Take the provider's word that a person has shown a second factor (amr: mfa). Without it the person's own is asked for."`

	Exports string `env:"TANDEM_EXPORTS" placeholder:"DIR" help:"Directory for exports that are asked for at the server; servers on one database share it. In the data directory without it."`

	OpsListen         string `env:"TANDEM_OPS_LISTEN" placeholder:"ADDR" help:"Address for /metrics, /healthz and /readyz; none without it. It asks for no sign-in, so it is for loopback."`
	OpsBeyondLoopback bool   `env:"TANDEM_OPS_BEYOND_LOOPBACK" help:"Let --ops-listen be an address that other machines reach: a network that only the operators are on."`

	Memory         byteSize      `default:"128MiB" env:"TANDEM_MEMORY" placeholder:"SIZE" help:"Memory for requests under way (default ${default}, at least 64MiB)."`
	Queue          time.Duration `default:"5s" env:"TANDEM_QUEUE" placeholder:"TIME" help:"Longest wait of a request for its turn, before it is told when to come back (default ${default})."`
	Working        int           `default:"256" env:"TANDEM_WORKING" placeholder:"N" help:"Requests that are worked on at once (default ${default})."`
	DeviceRequests int           `default:"8" env:"TANDEM_DEVICE_REQUESTS" placeholder:"N" help:"Requests that one device may have open (default ${default})."`
	OpenRequests   int           `default:"20000" env:"TANDEM_OPEN_REQUESTS" placeholder:"N" help:"Requests that may be open in all, those that wait for news included (default ${default})."`
	Linger         time.Duration `default:"0s" env:"TANDEM_LINGER" placeholder:"TIME" help:"When stopped: how long to go on taking requests while /readyz fails, for a balancer to notice (default ${default})."`
	Grace          time.Duration `default:"15s" env:"TANDEM_GRACE" placeholder:"TIME" help:"When stopped: how long requests under way may take (default ${default})."`
}

func (serveCmd) Help() string {
	return `Runs the server over one SQLite database in its directory, which is made where it is not
there, or over PostgreSQL: any number of servers may run on one database then, on as many
machines, each with the same keys.json in its directory. Plain HTTP is for loopback alone.
Ctrl-C lets requests under way finish; everything acknowledged is on the disk.

Traces go where the standard variables say (OTEL_EXPORTER_OTLP_ENDPOINT and the like);
nowhere without them.

A device sends to no key but the one that it met at enrolment. It learns of another by
itself, since the server proves it; where a proxy holds the certificate, name that with
--front-cert, and with it a new one before or when it is exchanged.

  tandem serve
  tandem serve --database postgres://tandem@db.example/tandem
  tandem serve --listen :8443 --tls-cert fullchain.pem --tls-key privkey.pem --data /var/lib/tandem
  tandem serve --config /etc/tandem/tandem.yaml --check-config`
}

func (c *serveCmd) Run(a *app) (err error) {
	if c.CheckConfig {
		return c.check(a)
	}
	problems, cert := c.problems()
	if len(problems) > 0 {
		return exits(exitUsage, problems[0])
	}
	var config *tls.Config
	if cert != nil {
		config = cert.config()
	}
	listener, err := c.listen(a.ctx, c.Listen)
	if err != nil {
		return err
	}
	proxy, err := c.proxyKeys()
	if err != nil {
		return err
	}
	// The server closes it too.
	defer func() { _ = listener.Close() }()
	if config == nil && !server.Loopback(listener.Addr()) {
		return exits(exitUsage, server.ErrPlain)
	}
	if a.log.GetLevel() > zerolog.InfoLevel {
		a.log = a.log.Level(zerolog.InfoLevel)
	}
	tracing, err := startTracing(a.ctx, a.log)
	if err != nil {
		return exits(exitUsage, err)
	}
	defer tracing.stop()
	defer c.limitMemory()()
	front := server.NewFront(server.FrontOptions{Log: a.log, Linger: c.Linger, Grace: c.Grace})
	ops, err := c.operations(a, front)
	if err != nil {
		return err
	}
	defer ops()
	// From here on whoever asks is answered, though the database may be brought up to
	// date for minutes.
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- front.Serve(ctx, listener, config)
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	metrics := server.NewMetrics()
	st, err := openData(ctx, c.placeFlag, store.Options{Create: true, Serve: true, Journal: c.Journal, Committed: metrics.Committed})
	if err != nil {
		return err
	}
	// After the last request.
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
		ended <- nil
		closing(st, &err)
	}()
	signIn, err := c.people()
	if err != nil {
		return exits(exitUsage, err)
	}
	nonce, err := st.NonceKey(ctx)
	if err != nil {
		return err
	}
	worker, err := jobs.New(st, jobs.Options{Log: a.log})
	if err != nil {
		return err
	}
	exports, err := c.exports(a, st, worker)
	if err != nil {
		return err
	}
	var pages func(*server.Server) (http.Handler, error)
	if c.Console {
		pages = func(s *server.Server) (http.Handler, error) {
			return console.New(s, st, console.Options{Log: a.log, Exports: exports, Jobs: worker})
		}
	}
	srv, err := server.New(st, server.Options{
		Console: pages, NonceKey: nonce, Keys: proxy, Log: a.log, Origin: c.Origin, MinWriteSchema: c.MinWriteSchema, MinReadSchema: c.MinReadSchema,
		Admission: c.admission(), Metrics: metrics, Traces: tracing.provider, People: signIn, FHIR: exports.Handler,
	})
	if err != nil {
		return err
	}
	if err := front.Open(ctx, srv); err != nil {
		return err
	}
	tending, end := context.WithCancel(ctx)
	var tended sync.WaitGroup
	if cert != nil {
		tended.Go(func() { cert.watch(tending, c.TLSReload, front, a.log) })
	}
	// Its error is the end of its context.
	tended.Go(func() { _ = srv.Tend(tending) })
	tended.Go(func() { worker.Work(tending) })
	tended.Go(func() { exports.Tend(tending) })
	tended.Go(func() { _ = srv.KeepJournal(tending) })
	tended.Go(func() { _ = srv.Checkpoints(tending) })
	tended.Go(func() { _ = srv.KeepContacts(tending) })
	defer tended.Wait()
	defer end()
	if err := c.announce(a, listener.Addr(), config != nil, st); err != nil {
		return err
	}
	<-ctx.Done()
	err = <-ended
	ended <- nil
	if err == nil && !c.JSON {
		a.say("ended")
	}
	return err
}

// exports are those that people ask for at the server.
func (c *serveCmd) exports(a *app, st *store.Store, worker *jobs.Worker) (*bulk.Exports, error) {
	dir := c.Exports
	if dir == "" {
		dir = filepath.Join(c.Data, "exports")
	}
	return bulk.New(st, worker, bulk.Options{Dir: dir, Generator: "tandem " + version(), Log: a.log})
}

// limitMemory lets the collector work harder where the process comes near what its
// settings make of it, unless GOMEMLIMIT says otherwise: the requests, and as much again
// and a bit for connections, the database's caches and what waits to be collected.
func (c *serveCmd) limitMemory() (restore func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(2*int64(c.Memory) + 96<<20)
	return func() { debug.SetMemoryLimit(before) }
}

// listen opens a listener.
func (c *serveCmd) listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: is another server there, or the address not this machine's? %w", address, err)
	}
	return l, nil
}

// operations serves metrics and health where they are asked for.
func (c *serveCmd) operations(a *app, front *server.Front) (end func(), err error) {
	if c.OpsListen == "" {
		return func() {}, nil
	}
	l, err := c.listen(a.ctx, c.OpsListen)
	if err != nil {
		return nil, err
	}
	if !c.OpsBeyondLoopback && !server.Loopback(l.Addr()) {
		return nil, exits(exitUsage, errors.Join(errOpsOpen, l.Close()))
	}
	h := &http.Server{Handler: front.Operations(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Its error is that it was closed.
		_ = h.Serve(l)
	}()
	a.log.Info().Stringer("address", l.Addr()).Msg("metrics and health")
	return func() {
		_ = h.Close()
		<-done
	}, nil
}

// announce says that it serves.
func (c *serveCmd) announce(a *app, addr net.Addr, secure bool, st *store.Store) error {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	if c.JSON {
		return a.json(map[string]any{"url": fmt.Sprintf("%s://%s", scheme, addr)})
	}
	a.say("tandem serves %s://%s", scheme, addr)
	if orgs, err := st.Orgs(a.ctx); err == nil && len(orgs) == 0 {
		a.say("It holds no org yet: tandem admin org create --data %s --name NAME (it may run beside the server)", c.Data)
	}
	return nil
}

func (c *serveCmd) admission() server.Admission {
	return server.Admission{Bytes: int64(c.Memory), Queue: c.Queue, Working: c.Working, PerDevice: c.DeviceRequests, Open: c.OpenRequests}
}

// people is how people sign in with a browser.
func (c *serveCmd) people() (people.Options, error) {
	o := people.Options{Idle: c.SessionIdle, Absolute: c.SessionAbsolute, SecondFactor: people.Policy(c.SecondFactor)}
	if c.SessionIdle == 0 || c.SessionAbsolute == 0 {
		return o, errors.New("--session-idle and --session-absolute are more than 0")
	}
	for _, text := range c.TrustedProxy {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return o, fmt.Errorf("--trusted-proxy %s is no address and no network: want 10.0.0.7 or 10.0.0.0/24", text)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		o.Proxies = append(o.Proxies, network)
	}
	if c.OIDCIssuer != "" || c.OIDCClient != "" || c.OIDCSecretFile != "" {
		o.Provider = &people.Provider{Issuer: c.OIDCIssuer, ClientID: c.OIDCClient, Claim: c.OIDCClaim, SecondFactor: c.OIDCMFA}
		if c.OIDCSecretFile != "" {
			secret, err := firstLine(c.OIDCSecretFile)
			if err != nil {
				return o, fmt.Errorf("--oidc-secret-file: %w", err)
			}
			o.Provider.ClientSecret = string(secret)
		}
		if err := o.Provider.Check(c.Origin); err != nil {
			return o, fmt.Errorf("--oidc-issuer, --oidc-client and --origin: %w", err)
		}
	}
	if err := o.Check(); err != nil {
		return o, fmt.Errorf("--session-idle, --session-absolute and --second-factor: %w", err)
	}
	return o, nil
}

// proxyKeys are the keys of the certificates that a proxy shows.
func (c *serveCmd) proxyKeys() (keys [][]byte, err error) {
	for _, name := range c.FrontCert {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, exits(exitUsage, err)
		}
		block, _ := pem.Decode(raw)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, exits(exitUsage, fmt.Errorf("%s does not begin with a certificate in PEM form", name))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, exits(exitUsage, fmt.Errorf("%s: %w", name, err))
		}
		keys = append(keys, server.KeyOf(cert))
	}
	return keys, nil
}

// certificate is what the flags name, nil for none.
func (c *serveCmd) certificate() (*certificate, error) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, errors.New("--tls-cert and --tls-key go together")
	}
	if c.TLSCert == "" {
		return nil, nil
	}
	cert := &certificate{certFile: c.TLSCert, keyFile: c.TLSKey}
	return cert, cert.load()
}
