package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Options of a client. The zero value is fit for use.
type Options struct {
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
	// Boot identifies the boot of the machine, in 8 bytes, and reads the time since by
	// a clock that nobody can set; nil is the system's.
	Boot func() (id []byte, since time.Duration)
	// Rand is where ids and keys come from; nil is crypto/rand. Proofs and pauses,
	// which decide nothing, always come from crypto/rand.
	Rand io.Reader
	// Logger gets what happened, with ids and counts and never a value that a
	// person typed.
	Logger zerolog.Logger
	// Transport replaces the HTTP transport, Dial only how it connects.
	Transport http.RoundTripper
	Dial      Dial
	// Roots are certificate authorities in PEM form, in place of the system's. They
	// are kept at enrolment.
	Roots []byte
	// Version of the app; empty is that of the build.
	Version string
	// Timezone is the IANA name that new records carry; empty leaves it out.
	Timezone string
	// SealedBytes is the size of the sealed outbox from which on acknowledged saves
	// leave it although no backup of the server is known to hold them; 0 is 64 MiB.
	// Unacknowledged saves never leave it.
	SealedBytes int64
	// Vault asks for the store to be in a vault: a new one is made in one, one in the
	// clear is moved there. NewKey has it sealed with a new data key.
	Vault, NewKey bool
	// Passphrase is asked for the passphrase of a store in a vault, fresh for one that is
	// new. Without it, and where the answer is empty, such a store stays locked
	// (ErrLocked). The answer is written over with zeros.
	Passphrase func(ctx context.Context, fresh bool) ([]byte, error)
	// Guess is what one guess of the passphrase costs; zero is vault.DefaultCost. A
	// store that was made with less is brought up to it when it is unlocked.
	Guess vault.Cost
	// Idle is how long nobody has to Touch the client until a store in a vault locks its
	// screens; 0 is five minutes.
	Idle time.Duration
	// KeyAge is the age from which on the device's key is replaced by another one, at the
	// contact after the store was opened; 0 is 90 days.
	KeyAge time.Duration
	// PlainPull asks the server to make each page for this device alone, and to send none
	// that it has made for several: to measure what that saves.
	PlainPull bool
	// OnChange is called, after the commit, with the records whose shown state an
	// answer may have changed. It must not block.
	OnChange func(changed []syncengine.ID)

	// ping is after how long a silent connection is asked whether it is alive, and how
	// long the answer may take; 0 is defaultPing.
	ping time.Duration
}

const defaultPing = 20 * time.Second

// Client is one device. Safe for concurrent use.
type Client struct {
	opts   Options
	domain *record.Domain
	device *syncengine.Device
	cols   *columns
	store  *store
	log    zerolog.Logger

	randMu  sync.Mutex
	clock   clock
	curtain curtain

	// loading is held while the identity is read from the store.
	loading sync.Mutex
	mu      sync.Mutex
	// sealFault is why the sealed outbox could not be opened, nil where it could.
	sealFault error
	// me is nil before enrolment; link is made at first use.
	me   *identity
	link *link
	// pace is what is known of the link, kept what of it is stored; retries what is
	// left to try.
	pace, kept pace
	retries    budget
	// pushing is held over a push, so that one is under way at a time; mending over
	// what comes before a sync. unwell: there may be something to mend. unsent: what
	// pushLoop last tried to send has not arrived; unheard: what pullLoop last asked has
	// no answer.
	pushing, mending        chan struct{}
	unwell, unsent, unheard atomic.Bool
	// files is what sending files has in memory; mu guards it, but for its channels.
	files fileQueue
	// ordered: an admin has ordered the store to be wiped; wiped: it is. wiping is held
	// over carrying that out.
	ordered, wiped atomic.Bool
	wiping         chan struct{}
	// rekeying: the device is about to get another key.
	rekeying atomic.Bool
	// workFor is the team whose work is done, nil where nobody has said.
	workFor atomic.Pointer[syncengine.ID]
	// spoiled: there may be damaged saves whose sealed copies are to be delivered.
	spoiled atomic.Bool
	// askBefore: the server may have more backups of what earlier replicas of the store
	// have left in the sealed outbox.
	askBefore atomic.Bool
	// asked: the verdicts on what was queued are known as far as the server has
	// any. False at first, and after a push whose answer did not come: that one is
	// broken, and the next request carries no changes.
	asked, broken bool
	// proved is when the server was last asked to prove its audit log.
	proved time.Time
	// work is signalled by saves; wakePush and wakePull end the pauses of Run.
	work, wakePush, wakePull chan struct{}
}

// identity is who the device is, from enrolment on.
type identity struct {
	key         ed25519.PrivateKey
	certificate string
	server      string
	roots       []byte
	pin         []byte
	answer      *tandemv1.EnrollResponse
	replica     syncengine.ID
	// sealKey is the org's public key for the sealed outbox, empty for none.
	sealKey []byte
}

// Keys of the meta table.
const (
	metaKey       = "replica_key"
	metaReplica   = "replica_id"
	metaServer    = "server"
	metaRoots     = "server_roots"
	metaEnrolment = "enrolment"
)

// Open opens the store in dir, making it where there is none. One process at a time
// may have it open.
func Open(ctx context.Context, dir string, o Options) (*Client, error) {
	o.complete()
	// Whom a profile is shared with on a device is nobody's choice: it is sealed.
	o.Vault = o.Vault || inProfiles(dir)
	domain := record.New()
	cols, err := newColumns(domain)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts: o, domain: domain, device: &syncengine.Device{Rules: domain}, cols: cols, log: o.Logger,
		pushing: make(chan struct{}, 1), mending: make(chan struct{}, 1), wiping: make(chan struct{}, 1), files: newFileQueue(), work: make(chan struct{}, 1),
		wakePush: make(chan struct{}, 1), wakePull: make(chan struct{}, 1),
	}
	c.unwell.Store(true)
	c.spoiled.Store(true)
	c.askBefore.Store(true)
	c.pace.reset()
	if c.opts.Boot == nil {
		if err := c.defaultBoot(); err != nil {
			return nil, err
		}
	}
	if c.store, err = openStore(ctx, dir, cols, keeping{vault: o.Vault, renew: o.NewKey, passphrase: o.Passphrase, cost: o.Guess}); err != nil {
		return nil, err
	}
	c.curtain.idle, c.curtain.touched = o.Idle, c.since()
	err = errors.Join(c.rederive(ctx), c.loadIdentity(ctx), c.ageKey(ctx), c.Expire(ctx))
	if err == nil && c.store.vault != nil {
		err = c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_UNLOCKED})
	}
	if err != nil {
		return nil, errors.Join(err, c.store.close())
	}
	return c, nil
}

// complete fills in what was left out.
func (o *Options) complete() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.SealedBytes <= 0 {
		o.SealedBytes = defaultSealedBytes
	}
	if o.Version == "" {
		o.Version = buildVersion()
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.KeyAge <= 0 {
		o.KeyAge = defaultKeyAge
	}
	if o.ping <= 0 {
		o.ping = defaultPing
	}
	if o.Guess == (vault.Cost{}) {
		o.Guess = vault.DefaultCost
	}
}

// bootSize is the size of the id of a boot.
const bootSize = 8

// defaultBoot is the system's clock since boot; where it tells none, each start of the
// program is a boot.
func (c *Client) defaultBoot() error {
	boot, ok := systemBoot()
	if !ok {
		id, began := make([]byte, bootSize), time.Now()
		if err := c.random(id); err != nil {
			return err
		}
		boot = func() ([]byte, time.Duration) { return id, time.Since(began) }
	}
	c.opts.Boot = boot
	return nil
}

// Close ends the use of the store. Work under way is brought to its end first.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.link != nil {
		c.link.close()
	}
	c.mu.Unlock()
	err := c.store.close()
	if f := c.store.sealed.Swap(nil); f != nil {
		err = errors.Join(err, f.close())
	}
	return err
}

// buildVersion is the module's version, or devel.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && len(info.Main.Version) <= 64 {
		return info.Main.Version
	}
	return "devel"
}

// random fills b. The source need not be safe for concurrent use.
func (c *Client) random(b []byte) error {
	c.randMu.Lock()
	defer c.randMu.Unlock()
	if _, err := io.ReadFull(c.opts.Rand, b); err != nil {
		return fmt.Errorf("reading random bytes: %w", err)
	}
	return nil
}

// Read implements io.Reader over the client's source of randomness.
func (r randomReader) Read(b []byte) (int, error) {
	if err := r.c.random(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

type randomReader struct{ c *Client }

func (c *Client) newID() (syncengine.ID, error) {
	return syncengine.NewID(c.opts.Now().UnixMilli(), randomReader{c})
}

// loadIdentity reads who the device is, where it is enrolled.
func (c *Client) loadIdentity(ctx context.Context) error {
	// Of two at once the later one has read what is newer.
	c.loading.Lock()
	defer c.loading.Unlock()
	var me *identity
	var link []byte
	err := c.store.write(ctx, "reading the enrolment", func(t *tx) error {
		certificate, err := t.meta(metaEnrolment)
		if err != nil || certificate == nil {
			return err
		}
		me = &identity{answer: &tandemv1.EnrollResponse{}}
		if err := proto.Unmarshal(certificate, me.answer); err != nil {
			return fmt.Errorf("the enrolment: %w", ErrDamaged)
		}
		me.certificate = me.answer.GetCertificate()
		seed, err := t.meta(metaKey)
		if err != nil {
			return err
		}
		if len(seed) != ed25519.SeedSize {
			return fmt.Errorf("the device's key: %w", ErrDamaged)
		}
		me.key = ed25519.NewKeyFromSeed(seed)
		server, err := t.meta(metaServer)
		if err != nil {
			return err
		}
		me.server = string(server)
		if me.roots, err = t.meta(metaRoots); err != nil {
			return err
		}
		if link, err = t.meta(metaLink); err != nil {
			return err
		}
		wipe, err := t.meta(metaWipe)
		if err != nil {
			return err
		}
		c.ordered.Store(wipe != nil)
		fresh, err := t.meta(metaFreshKey)
		if err != nil {
			return err
		}
		c.rekeying.Store(fresh != nil)
		if me.sealKey, err = t.meta(metaSealKey); err != nil {
			return err
		}
		if len(me.sealKey) == 0 {
			me.sealKey = me.answer.GetSealKey()
		}
		st, err := t.State()
		if err != nil {
			return err
		}
		me.replica = st.Replica
		clock, err := t.meta(metaClock)
		if err != nil {
			return err
		}
		c.clock.load(clock)
		if c.clock.tick(c.read()) {
			if err := t.keepClock(c.clock.now()); err != nil {
				return err
			}
		}
		me.pin, err = t.meta(metaPin)
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.me = me
	c.pace.load(link)
	c.kept = c.pace
	c.mu.Unlock()
	c.beginSealed(ctx)
	return nil
}

func (c *Client) identity() (*identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.me == nil {
		return nil, ErrNotEnrolled
	}
	return c.me, nil
}

// way returns the way to the server, made at first use.
func (c *Client) way() (*link, *identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.me == nil {
		return nil, nil, ErrNotEnrolled
	}
	if c.link != nil {
		return c.link, c.me, nil
	}
	u, err := parseServer(c.me.server)
	if err != nil {
		return nil, nil, err
	}
	p, err := newProver(c.me.key, c.me.certificate, c.opts.Now)
	if err != nil {
		return nil, nil, err
	}
	roots := c.opts.Roots
	if len(roots) == 0 {
		roots = c.me.roots
	}
	v, err := c.newTrust(u, roots, c.me.pin)
	if err != nil {
		return nil, nil, err
	}
	v.orgKey = c.me.answer.GetOrgKey()
	v.org, _ = syncengine.IDFromBytes(c.me.answer.GetOrg())
	c.link = newLink(u, &c.opts, p, v, c.read)
	return c.link, c.me, nil
}

// Domain returns the kinds and their rules.
func (c *Client) Domain() *record.Domain { return c.domain }
