package mobile

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/syncengine"
)

// Settings of a device. NewSettings makes some.
type Settings struct {
	// Directory of the store, which the device has to itself: in the app's private
	// storage, and left out of the backups that the system makes by itself, since a copy
	// that is restored is a second device.
	Directory string
	// Timezone is the IANA name that new records carry; Version that of the app.
	Timezone, Version string
	// Roots are certificate authorities in PEM form in place of the system's; nil where
	// those will do.
	Roots []byte
	// Vault keeps the store sealed with a passphrase, which the host is asked for.
	Vault bool
	// IdleMS is how long nobody has to Touch the device until a store in a vault hides
	// what it holds; 0 is five minutes.
	IdleMS int64
}

// NewSettings returns the settings of a store in a directory.
func NewSettings(directory string) *Settings { return &Settings{Directory: directory} }

// Host is the app, as the device sees it. Its methods are called on any thread, several at
// a time, and must return soon.
type Host interface {
	// Changed says which records' shown state may have changed: their ids, one a line; an
	// empty text where it may be any.
	Changed(ids string)
	// Stopped says that the sync loop has ended and a person must act: the code and the
	// words of the error. Saves go on, and Start begins again.
	Stopped(code, words string)
	// Passphrase is asked for when a store in a vault is opened, fresh for one that is
	// new. An empty answer leaves it locked. It is called within Open.
	Passphrase(fresh bool) []byte
	// Log gets what happened as a line of JSON, with ids and counts and nothing that a
	// person typed.
	Log(line string)
}

// Device is one device: a store, and the loop that keeps it in step.
type Device struct {
	c    *client.Client
	host Host
	news news
	loop loop
}

// Open opens the store, or makes it.
func Open(s *Settings, host Host) (*Device, error) {
	if s == nil || host == nil || s.Directory == "" {
		return nil, fail(errSettings)
	}
	d := &Device{host: host}
	return d, fail(d.open(s, client.Options{}))
}

func (d *Device) open(s *Settings, o client.Options) (err error) {
	o.Logger = zerolog.New(lines{d.host}).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	o.Timezone, o.Version, o.Roots, o.Vault = s.Timezone, s.Version, s.Roots, s.Vault
	o.Idle = time.Duration(s.IdleMS) * time.Millisecond
	o.OnChange = d.news.add
	o.Passphrase = func(_ context.Context, fresh bool) ([]byte, error) { return d.host.Passphrase(fresh), nil }
	if d.c, err = client.Open(context.Background(), s.Directory, o); err != nil {
		return err
	}
	d.news.begin(d.host)
	d.loop.begin(d)
	return nil
}

// Close ends the loop, then the use of the store.
func (d *Device) Close() error {
	d.loop.end()
	err := d.c.Close()
	d.news.end()
	return fail(err)
}

// Enroll makes the store that of the person and device that a one-time code was made
// for. The same call may be repeated while the code is good. It meets the server.
func (d *Device) Enroll(server, code string, timeoutMS int64) error {
	ctx, cancel := within(timeoutMS)
	defer cancel()
	return fail(d.c.Enroll(ctx, server, code))
}

// Who is the person and the device that a store is enrolled for.
type Who struct {
	// Server is its address.
	Server string
	// PersonID and DeviceID are record ids.
	PersonID, DeviceID string
	// Name of the person, Label of the device.
	Name, Label string
	// Roles are role codes, separated by spaces, and Teams record ids, the same.
	Roles, Teams string
}

// Who returns whose the store is.
func (d *Device) Who() (*Who, error) {
	s, err := d.c.Session()
	if err != nil {
		return nil, fail(err)
	}
	w := &Who{Server: s.Server, PersonID: s.Person.String(), DeviceID: s.Device.String(), Name: s.Name, Label: s.Label, Roles: strings.Join(s.Roles, " ")}
	teams := make([]string, 0, len(s.Teams))
	for _, t := range s.Teams {
		teams = append(teams, t.String())
	}
	w.Teams = strings.Join(teams, " ")
	return w, nil
}

// WorkFor says whose work is done from now on, where Who names several teams: what Save.Create
// makes belongs to that team, by its record id, and to its program. It is not kept with the
// store: call it after each Open. A team that the person is not in is refused.
func (d *Device) WorkFor(team string) error {
	s, err := d.c.Session()
	if err != nil {
		return fail(err)
	}
	id, err := syncengine.ParseID(team)
	if err != nil || !slices.Contains(s.Teams, id) {
		return fail(errTeam)
	}
	d.c.WorkFor(id)
	return nil
}

// Touch says that somebody is using the app: a store in a vault hides what it holds
// after a while without. Call it on what a person does, not on a timer.
func (d *Device) Touch() { d.c.Touch() }

// Lock hides what the store holds now. Saves, drafts and syncs go on.
func (d *Device) Lock() error { return fail(d.c.Lock()) }

// Unlock ends that with the passphrase, which is written over with zeros here; the
// app's own copy is the app's to wipe.
func (d *Device) Unlock(passphrase []byte) error {
	defer clear(passphrase)
	return fail(d.c.UnlockPassphrase(context.Background(), passphrase))
}

// within is a context of a call that meets a server.
func within(timeoutMS int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(timeoutMS)*time.Millisecond)
}

// lines hands each line of the log to the host.
type lines struct{ host Host }

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l.host.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// manyChanged is how many changed records are named one by one.
const manyChanged = 500

// news hands what changed to the host, from a thread of its own: a sync must not wait
// for a screen.
type news struct {
	mu      sync.Mutex
	ids     map[syncengine.ID]bool
	all     bool
	wake    chan struct{}
	stopped sync.WaitGroup
}

func (n *news) begin(host Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wake == nil {
		n.wake = make(chan struct{}, 1)
	}
	wake := n.wake
	n.stopped.Go(func() {
		for range wake {
			if text, some := n.take(); some {
				host.Changed(text)
			}
		}
	})
}

// add is client.Options.OnChange.
func (n *news) add(ids []syncengine.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ids == nil {
		n.ids = map[syncengine.ID]bool{}
	}
	for _, id := range ids {
		n.ids[id] = true
	}
	if len(n.ids) > manyChanged {
		n.ids, n.all = nil, true
	}
	if n.wake != nil {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// take returns the ids that changed since the last time.
func (n *news) take() (text string, some bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all {
		n.ids, n.all = nil, false
		return "", true
	}
	ids := make([]string, 0, len(n.ids))
	for id := range n.ids {
		ids = append(ids, id.String())
	}
	n.ids = nil
	return strings.Join(ids, "\n"), len(ids) > 0
}

// end waits until the host has heard the last of it. Nothing is added any more.
func (n *news) end() {
	n.mu.Lock()
	if n.wake != nil {
		close(n.wake)
		n.wake = nil
	}
	n.mu.Unlock()
	n.stopped.Wait()
}
