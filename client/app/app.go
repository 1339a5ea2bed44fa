package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/web"
)

// Options of a field app.
type Options struct {
	// Dir is the directory of the device's store, Client how it is opened. A passphrase
	// that Client.Passphrase does not give is asked for on a page.
	Dir    string
	Client client.Options
	// Device is a store that is open already, in place of Dir; it is its owner's to close.
	Device *client.Client
	// Link is called with each address under which the app can be opened in a browser:
	// one at the start, the next when that one was used.
	Link func(url string)
	// Now is the wall clock; nil is time.Now. Zone is that of the pages; nil is the
	// machine's.
	Now  func() time.Time
	Zone *time.Location
	Log  zerolog.Logger
}

// App is a field app. Safe for concurrent use.
type App struct {
	o     Options
	pages map[string]*template.Template
	mux   *http.ServeMux

	// hosts are the names under which the app may be asked; path is where its pages
	// stand; cookie is what a browser shows.
	hosts        map[string]bool
	path, cookie string

	mu sync.Mutex
	// key is that of the link that was not used yet.
	key string
	// dev is nil while the store is not open; opened tells of a new one.
	dev    *client.Client
	opened chan *client.Client
	prefs  prefs

	typing typing
	undo   undo
	learnt learnt
	// closing is held while cleared calls are closed; looked is when that was last.
	closing sync.Mutex
	looked  time.Time
}

// undoFor is how long a tap can be taken back.
const undoFor = 10 * time.Second

// New makes the app over a store, and opens it where that asks for no passphrase.
func New(ctx context.Context, o Options) (*App, error) {
	if o.Now == nil {
		o.Now = o.Client.Now
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Link == nil {
		o.Link = func(string) {}
	}
	a := &App{o: o, pages: map[string]*template.Template{}, opened: make(chan *client.Client, 1), path: "/" + token(12) + "/", cookie: token(32), key: token(24)}
	a.typing.init()
	for _, lang := range web.Langs {
		t, err := web.Templates(lang, words, files, "pages/*.html")
		if err != nil {
			return nil, err
		}
		a.pages[lang] = t
	}
	a.routes()
	if o.Device != nil {
		a.use(ctx, o.Device)
		return a, nil
	}
	if _, err := os.Stat(o.Dir); err != nil {
		return nil, fmt.Errorf("the store: %w", err)
	}
	dev, err := client.Open(ctx, o.Dir, o.Client)
	switch {
	case errors.Is(err, client.ErrLocked):
		return a, nil
	case err != nil:
		return nil, err
	}
	a.use(ctx, dev)
	return a, nil
}

// token draws n bytes that nobody can guess, as text.
func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // It cannot fail.
	return hex.EncodeToString(b)
}

// use takes an open store.
func (a *App) use(ctx context.Context, dev *client.Client) {
	a.mu.Lock()
	a.dev = dev
	a.prefs.load(ctx, dev)
	a.mu.Unlock()
	select {
	case <-a.opened:
	default:
	}
	a.opened <- dev
}

// device returns the open store, nil while there is none.
func (a *App) device() *client.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dev
}

// unlock opens the store, or ends a lock, with the passphrase.
func (a *App) unlock(ctx context.Context, passphrase []byte) error {
	if dev := a.device(); dev != nil {
		err := dev.UnlockPassphrase(ctx, passphrase)
		if !errors.Is(err, client.ErrClosed) {
			return err
		}
	}
	o := a.o.Client
	o.Passphrase = func(context.Context, bool) ([]byte, error) { return passphrase, nil }
	// The store outlives the request that opened it.
	dev, err := client.Open(context.WithoutCancel(ctx), a.o.Dir, o)
	if err != nil {
		return err
	}
	a.use(ctx, dev)
	return nil
}

// wrong reports whether an error says that a secret does not fit.
func wrong(err error) bool {
	if _, ok := errors.AsType[*vault.WrongPassphraseError](err); ok {
		return true
	}
	_, ok := errors.AsType[*client.WrongPINError](err)
	return ok
}

// Serve answers on a listener of loopback and keeps the device in step, until ctx ends.
// It closes the listener, and the store that New opened, whatever it returns.
func (a *App) Serve(ctx context.Context, listener net.Listener) (err error) {
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("the field app serves this machine alone, not %s: name a loopback address", listener.Addr()), listener.Close(), a.letGo())
	}
	port := fmt.Sprint(addr.Port)
	a.hosts = map[string]bool{net.JoinHostPort(addr.IP.String(), port): true, net.JoinHostPort("localhost", port): true}
	srv := &http.Server{
		Handler: a.guard(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { a.keepInStep(ctx) })
	wg.Go(func() { a.keepTidy(ctx) })
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	a.tellLink(addr)
	select {
	case err = <-ended:
	case <-ctx.Done():
		quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if srv.Shutdown(quick) != nil {
			// Who has asked and waits, or has connected and not asked, is not waited for longer.
			err = srv.Close()
		}
		cancel()
		if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}
	stop()
	wg.Wait()
	return errors.Join(err, a.letGo())
}

// letGo closes the store, where it is the app's own. What was typed and is no save yet
// stays a draft.
func (a *App) letGo() error {
	if dev := a.device(); dev != nil && a.o.Device == nil {
		return dev.Close()
	}
	return nil
}

func (a *App) tellLink(addr *net.TCPAddr) {
	a.mu.Lock()
	key := a.key
	a.mu.Unlock()
	a.o.Link("http://" + addr.String() + a.path + "open?key=" + key)
}

// keepInStep runs the sync of whatever store is open.
func (a *App) keepInStep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case dev := <-a.opened:
			if a.o.Device != nil {
				// Its owner runs it.
				continue
			}
			if err := dev.Run(ctx); err != nil && ctx.Err() == nil {
				a.o.Log.Warn().Err(err).Msg("sync stopped")
			}
		}
	}
}

// keepTidy turns what has rested into saves, and closes the calls whose time to take
// that back is over.
func (a *App) keepTidy(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if dev := a.device(); dev != nil && !dev.Locked() {
				a.settleRested(ctx, dev)
				a.closeCleared(ctx, dev)
			}
		}
	}
}
