package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Keys of the meta table that are about the device's key.
const (
	// metaFreshKey is the key that the device is about to get.
	metaFreshKey = "fresh_key"
	// metaKeyAt is when the present key was taken, ms in 8 bytes.
	metaKeyAt = "replica_key_at"
)

// defaultKeyAge is the age from which on a key is replaced.
const defaultKeyAge = 90 * 24 * time.Hour

// millis is a time as the meta table has it.
func millis(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
}

// RenewKey has the device's key replaced at the next contact, whatever its age. The old one
// is good for nothing then; what it has signed stays signed.
func (c *Client) RenewKey(ctx context.Context) error {
	if _, err := c.identity(); err != nil {
		return err
	}
	_, err := c.freshKey(ctx)
	return err
}

// KeyID names the device's present key: its JWK thumbprint (RFC 7638). It is no secret.
func (c *Client) KeyID() (string, error) {
	me, err := c.identity()
	if err != nil {
		return "", err
	}
	sum, err := (&jose.JSONWebKey{Key: publicKey(me.key)}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// ageKey has a key replaced that is older than it may be. It is asked when the store is
// opened, which is when it is unlocked: then whoever opens it is there, and a key that was
// read from an older copy of the store is worth nothing soon after.
func (c *Client) ageKey(ctx context.Context) error {
	if _, err := c.identity(); err != nil {
		return nil //nolint:nilerr // Before enrolment there is no key to replace.
	}
	now := c.opts.Now().UnixMilli()
	old := false
	err := c.store.write(ctx, "looking at the age of the key", func(t *tx) error {
		raw, err := t.meta(metaKeyAt)
		if err != nil {
			return err
		}
		if len(raw) != 8 {
			return t.setMeta(metaKeyAt, millis(c.opts.Now()))
		}
		old = now-int64(binary.BigEndian.Uint64(raw)) >= c.opts.KeyAge.Milliseconds()
		return nil
	})
	if err != nil || !old {
		return err
	}
	_, err = c.freshKey(ctx)
	return err
}

// freshKey returns the key that the device is about to get, made and stored at the first
// call: a repeated one is the same.
func (c *Client) freshKey(ctx context.Context) (key ed25519.PrivateKey, err error) {
	err = c.store.write(ctx, "making a key", func(t *tx) error {
		seed, err := t.meta(metaFreshKey)
		if err != nil {
			return err
		}
		if len(seed) != ed25519.SeedSize {
			seed = make([]byte, ed25519.SeedSize)
			if err := c.random(seed); err != nil {
				return err
			}
			if err := t.setMeta(metaFreshKey, seed); err != nil {
				return err
			}
		}
		key = ed25519.NewKeyFromSeed(seed)
		return nil
	})
	c.rekeying.Store(err == nil)
	return key, err
}

// rekey gives the device another key where it is to get one. Its new key is on the disk
// before the server hears of it, and takes the place of the old one when the server has
// said yes: wherever this is interrupted, it is done again, with the same two keys.
func (c *Client) rekey(ctx context.Context) error {
	if !c.rekeying.Load() {
		return nil
	}
	select {
	case c.pushing <- struct{}{}:
		defer func() { <-c.pushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.rekeying.Load() {
		return nil
	}
	way, me, err := c.way()
	if err != nil {
		return err
	}
	key, err := c.freshKey(ctx)
	if err != nil {
		return err
	}
	ops := uint64(0)
	err = c.store.write(ctx, "reading the newest save", func(t *tx) error {
		st, err := t.State()
		if err == nil {
			ops = st.NextOp - 1
		}
		return err
	})
	if err != nil {
		return err
	}
	signed, err := rollover(me, key, ops)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := call(limited, &contact{}, func(ctx context.Context) (*tandemv1.RekeyResponse, error) {
		return way.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: signed, Follows: true})
	})
	if _, contact := errors.AsType[*ContactError](err); contact && ctx.Err() == nil {
		// The rest goes on under the old key. Where the server has the new one already, it
		// refuses that, and this is tried again.
		c.rekeying.Store(errors.Is(err, ErrNetwork))
		c.log.Warn().Err(err).Msg("the device's key is not replaced yet")
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.takeKey(ctx, me, key, answer); err != nil {
		return err
	}
	c.log.Info().Stringer("replica", me.replica).Msg("the device has another key")
	return nil
}

// takeKey puts a key and its certificate in the place of those before.
func (c *Client) takeKey(ctx context.Context, me *identity, key ed25519.PrivateKey, answer *tandemv1.RekeyResponse) error {
	for {
		err := c.putKey(ctx, me, key, answer)
		if !errors.Is(err, errRenewed) {
			return err
		}
		// The org's key was followed while this was on its way.
		if err := c.loadIdentity(ctx); err != nil {
			return err
		}
		if me, err = c.identity(); err != nil {
			return err
		}
	}
}

// putKey does so where the store is still enrolled as me. The error is errRenewed where not.
func (c *Client) putKey(ctx context.Context, me *identity, key ed25519.PrivateKey, answer *tandemv1.RekeyResponse) error {
	enrolment, err := followedOrg(me.answer, answer.GetSuccessors(), answer.GetCertificate(), key, me.replica)
	if err != nil {
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	kept, err := proto.Marshal(enrolment)
	if err != nil {
		return fmt.Errorf("keeping the new key: %w", err)
	}
	err = c.store.write(context.WithoutCancel(ctx), "taking a new key", func(t *tx) error {
		now := c.opts.Now().UnixMilli()
		if err := t.enrolledAs(me); err != nil {
			return err
		}
		for _, m := range []struct {
			key   string
			value []byte
		}{{metaKey, key.Seed()}, {metaEnrolment, kept}, {metaKeyAt, millis(c.opts.Now())}} {
			if err := t.setMeta(m.key, m.value); err != nil {
				return err
			}
		}
		// The old key leaves the log of the database too.
		t.dropped = true
		if err := t.exec(`DELETE FROM meta WHERE key = $1`, metaFreshKey); err != nil {
			return err
		}
		return t.addEvent(&Event{AtMS: now, Note: "the device has another key; the old one is good for nothing any more"})
	})
	if err != nil {
		return err
	}
	c.rekeying.Store(false)
	// The sealed outbox goes on under the new key.
	if f := c.store.sealed.Swap(nil); f != nil {
		if err := f.close(); err != nil {
			c.log.Error().Err(err).Msg("sealed outbox not closed")
		}
	}
	if err := c.loadIdentity(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	old := c.link
	c.link = nil
	c.mu.Unlock()
	if old != nil {
		old.close()
	}
	return nil
}

// rolloverType is the type of both tokens of a rollover.
const rolloverType = "tandem-rekey+jws"

// rollover is what asks for another key, as in RFC 8555, section 7.3.5: the new key signs
// who gets it and in which key's place, and the old key signs that.
func rollover(me *identity, key ed25519.PrivateKey, ops uint64) (string, error) {
	said, err := json.Marshal(struct {
		Account string          `json:"account"`
		OldKey  jose.JSONWebKey `json:"oldKey"`
		Ops     uint64          `json:"ops"`
	}{me.replica.String(), jose.JSONWebKey{Key: publicKey(me.key)}, ops})
	if err != nil {
		return "", fmt.Errorf("asking for a new key: %w", err)
	}
	inner, err := signToken(key, &jose.SignerOptions{EmbedJWK: true}, said)
	if err != nil {
		return "", err
	}
	return signToken(me.key, &jose.SignerOptions{}, []byte(inner))
}

func signToken(key ed25519.PrivateKey, o *jose.SignerOptions, payload []byte) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, o.WithType(rolloverType))
	if err != nil {
		return "", fmt.Errorf("asking for a new key: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("asking for a new key: %w", err)
	}
	return signed.CompactSerialize()
}

// errSuperseded says that a request was refused whose key was replaced meanwhile.
var errSuperseded = errors.New("the device got another key meanwhile")

// superseded reports whether a refusal is one of a key that is not the store's any more: the
// request was under way while the device got another one. Where the store is about to get
// one, that may be done at the server already.
func (c *Client) superseded(ctx context.Context, me *identity, err error) bool {
	if !errors.Is(err, ErrRefused) {
		return false
	}
	if now, err := c.identity(); err != nil || !now.key.Equal(me.key) {
		return err == nil
	}
	var fresh []byte
	_ = c.store.write(context.WithoutCancel(ctx), "looking for a new key", func(t *tx) (err error) {
		fresh, err = t.meta(metaFreshKey)
		return err
	})
	if len(fresh) > 0 {
		c.rekeying.Store(true)
	}
	return false
}
