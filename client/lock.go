package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// metaPIN holds what the PIN is checked against: the cost of a guess (time, memory in
// KiB, threads), 16 bytes of salt and the derived bytes.
const metaPIN = "unlock_pin"

const (
	// minPIN is how many digits a PIN has at least.
	minPIN = 6
	// defaultIdle is how long nobody has to touch anything until the screens hide.
	defaultIdle = 5 * time.Minute
	pinSalt     = 16
)

// Errors of the lock.
var (
	// ErrWeakPIN: the PIN is too short or too plain.
	ErrWeakPIN = errors.New("the PIN needs six digits or more, not all alike and not in a row")
	// ErrNoPIN: none was set.
	ErrNoPIN = errors.New("no PIN was set for this store: unlock with the passphrase")
)

// curtain hides what a store holds from who finds the device unlocked. The key stays in
// memory meanwhile, so that sync goes on.
type curtain struct {
	mu sync.Mutex
	// idle is after how long without a touch the store locks.
	idle time.Duration
	// touched is when it was used last, in time since boot.
	touched time.Duration
	locked  bool
	// failures since it was last unlocked.
	failures int
}

// Touch says that somebody is using the device: the lock waits from here. It unlocks
// nothing.
func (c *Client) Touch() {
	if !c.Locked() {
		c.curtain.mu.Lock()
		c.curtain.touched = c.since()
		c.curtain.mu.Unlock()
	}
}

func (c *Client) since() time.Duration {
	_, since := c.opts.Boot()
	return since
}

// Locked reports whether the screens are hidden: after Options.Idle without a Touch, or
// after Lock. A store in the clear never locks.
func (c *Client) Locked() bool {
	if c.store.vault == nil {
		return false
	}
	c.curtain.mu.Lock()
	defer c.curtain.mu.Unlock()
	// A clock that ran backwards is that of another boot.
	if idle := c.since() - c.curtain.touched; idle >= c.curtain.idle || idle < 0 {
		c.drop()
	}
	return c.curtain.locked
}

// drop hides the screens. The entry of it goes with the next transaction: nobody waits
// for a lock. The caller holds the curtain.
func (c *Client) drop() {
	if !c.curtain.locked {
		c.curtain.locked = true
		c.store.notes.add(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_LOCKED, AtMs: c.opts.Now().UnixMilli()})
	}
}

// rise shows the screens again. The caller holds the curtain.
func (c *Client) rise(ctx context.Context) error {
	c.curtain.locked, c.curtain.failures, c.curtain.touched = false, 0, c.since()
	return c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_UNLOCKED})
}

// Lock hides the screens now: whatever shows what the store holds returns ErrLocked.
// Saves, drafts and syncs go on.
func (c *Client) Lock() error {
	if c.store.vault == nil {
		return ErrNoVault
	}
	c.curtain.mu.Lock()
	defer c.curtain.mu.Unlock()
	c.drop()
	return nil
}

// hidden is ErrLocked where the screens are, and ErrWipeOrdered where nothing is to be
// shown any more.
func (c *Client) hidden() error {
	if c.ordered.Load() {
		return ErrWipeOrdered
	}
	if c.Locked() {
		return ErrLocked
	}
	return nil
}

// SetPIN sets the PIN that ends a lock as long as the key is in memory; ErrWeakPIN
// where it is too plain. It opens nothing after a restart.
func (c *Client) SetPIN(ctx context.Context, pin string) error {
	switch {
	case c.store.vault == nil:
		return ErrNoVault
	case weakPIN(pin):
		return ErrWeakPIN
	}
	if err := c.hidden(); err != nil {
		return err
	}
	salt := make([]byte, pinSalt)
	if err := c.random(salt); err != nil {
		return err
	}
	kept := vault.AppendGuess(nil, []byte(pin), salt, c.opts.Guess)
	return c.store.write(ctx, "setting the PIN", func(t *tx) error { return t.setMeta(metaPIN, kept) })
}

func weakPIN(pin string) bool {
	if len(pin) < minPIN {
		return true
	}
	step, same := int(pin[1])-int(pin[0]), true
	for i := range len(pin) {
		if pin[i] < '0' || pin[i] > '9' {
			return true
		}
		same = same && (i == 0 || int(pin[i])-int(pin[i-1]) == step)
	}
	// All alike, or one after the other.
	return same && step >= -1 && step <= 1
}

// WrongPINError says that a PIN does not fit.
type WrongPINError struct{ Left int }

// Error says how many more there may be.
func (e *WrongPINError) Error() string {
	return fmt.Sprintf("the PIN does not fit; after %d more that do not, the passphrase is asked for", e.Left)
}

// Unlock ends a lock with the PIN. After ten that do not fit the key is dropped from
// memory: the client is closed, and only the passphrase opens the store again.
func (c *Client) Unlock(ctx context.Context, pin string) error {
	if c.store.vault == nil {
		return ErrNoVault
	}
	c.curtain.mu.Lock()
	defer c.curtain.mu.Unlock()
	if c.curtain.failures >= vault.MostFailures {
		return ErrLocked
	}
	var kept []byte
	err := c.store.write(ctx, "reading the PIN", func(t *tx) (err error) {
		kept, err = t.meta(metaPIN)
		return err
	})
	if err != nil {
		return err
	}
	if kept == nil {
		return ErrNoPIN
	}
	// Counted before it is looked at.
	c.curtain.failures++
	fits, err := vault.FitsGuess(kept, []byte(pin))
	if err != nil {
		return fmt.Errorf("the PIN: %w", ErrDamaged)
	}
	if !fits {
		if err := c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_UNLOCK_FAILED}); err != nil {
			return err
		}
		if c.curtain.failures >= vault.MostFailures {
			return errors.Join(ErrLocked, c.Close())
		}
		return &WrongPINError{Left: vault.MostFailures - c.curtain.failures}
	}
	return c.rise(ctx)
}

// UnlockPassphrase ends a lock with the passphrase: for who has no PIN, or has
// forgotten it.
func (c *Client) UnlockPassphrase(ctx context.Context, passphrase []byte) error {
	c.store.mu.Lock()
	var err error
	switch {
	case c.store.closed.Load():
		err = ErrClosed
	case c.store.vault == nil:
		err = ErrNoVault
	default:
		err = vaultError("unlocking", c.store.vault.keys.Unlock(passphrase, c.opts.Guess))
	}
	c.store.mu.Unlock()
	if errors.Is(err, vault.ErrErased) {
		return errors.Join(err, c.Close())
	}
	if err != nil {
		if c.store.closed.Load() || c.store.vault == nil {
			return err
		}
		return errors.Join(err, c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_UNLOCK_FAILED}))
	}
	c.curtain.mu.Lock()
	defer c.curtain.mu.Unlock()
	return c.rise(ctx)
}

// HasPIN reports whether a PIN was set for this store.
func (c *Client) HasPIN(ctx context.Context) (bool, error) {
	var n int
	err := c.store.read(ctx, "reading the PIN", func(rtx *sql.Tx) error {
		return rtx.QueryRowContext(ctx, `SELECT count(*) FROM meta WHERE key = $1`, metaPIN).Scan(&n)
	})
	return n > 0, err
}
