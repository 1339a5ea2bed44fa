package store

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// Org is an organization with its keys. Immutable; safe for concurrent use.
type Org struct {
	// ID and Name of the org.
	ID   syncengine.ID
	Name string
	// Signing is the Ed25519 key that certifies replicas; nil where this server's keys file
	// is older than the key.
	Signing ed25519.PrivateKey `json:"-"`
	// Secrets are what the engine derives its keys from.
	Secrets *syncengine.Secrets `json:"-"`
	// Seal are the keys that open sealed outboxes, the one that devices seal to last.
	Seal []*seal.PrivateKey `json:"-"`

	num  int64
	ring keyring
	// secret is what Secrets are derived from.
	secret []byte
}

// Format implements fmt.Formatter: keys are not printed, however somebody asks for it.
func (o Org) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(org "+o.ID.String()+")") }

// Derive returns a key of the org for one use, which label names. It is in no database.
func (o *Org) Derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, o.secret, nil, "tandem "+label, sha256.Size)
	if err != nil {
		// Only of a length that SHA-256 cannot make.
		panic(err)
	}
	return key
}

// SealKey returns the public key that devices seal to.
func (o *Org) SealKey() []byte { return o.Seal[len(o.Seal)-1].Public() }

// PublicKey returns the key that the org signs with.
func (o *Org) PublicKey() ed25519.PublicKey { return o.ring.public[len(o.ring.public)-1] }

// maxName is the longest name of an org, in bytes.
const maxName = 200

// ErrName refuses the name of an org.
var ErrName = errors.New("an organization needs a name of 1 to 200 bytes")

// CreateOrg adds an org with new keys and an empty history, and makes it durable.
func (s *Store) CreateOrg(ctx context.Context, name string) (*Org, error) {
	id, err := syncengine.NewID(s.now().UnixMilli(), s.rand)
	if err != nil {
		return nil, err
	}
	return s.createOrg(ctx, id, name, stays)
}

// createOrg adds an org of an id, with the keys that the keys file has for it, or new ones.
func (s *Store) createOrg(ctx context.Context, id syncengine.ID, name string, state moving) (*Org, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxName {
		return nil, ErrName
	}
	unlock, err := s.lockAll(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := s.now().UnixMilli()
	epoch, err := syncengine.NewID(now, s.rand)
	if err != nil {
		return nil, err
	}
	// The keys first: a row without its keys would be of no use.
	file, err := readKeys(s.dir)
	if err != nil {
		return nil, err
	}
	keys, err := file.find(id)
	if errors.Is(err, ErrKeysMissing) {
		var made orgKeys
		made, err = newKeys(id, s.rand, now)
		file.Orgs = append(file.Orgs, made)
		keys = &made
	}
	if err != nil {
		return nil, err
	}
	if err := s.sealAll(file); err != nil {
		return nil, err
	}
	if err := writeKeys(s.dir, file); err != nil {
		return nil, err
	}
	public := publicOf(ed25519.NewKeyFromSeed(keys.SigningSeed))
	err = s.raw(ctx, func(c *conn) error {
		// Nobody else adds one: the locks are held.
		var last int64
		if _, err := c.one("SELECT COALESCE(MAX(num), 0) FROM org", nil, &last); err != nil {
			return err
		}
		return c.exec("INSERT INTO org (num, id, name, public_key, successors, epoch, seq, hash, created_ms, moved) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)",
			last+1, id[:], textArg(name), []byte(public), keys.Successors, epoch[:], make([]byte, len(syncengine.Hash{})), now, int64(state))
	})
	if err != nil {
		return nil, fmt.Errorf("adding an organization: %w", err)
	}
	return s.Org(ctx, id)
}

// Org returns an org. The error is ErrUnknownOrg where there is none, and
// ErrKeysMissing where its keys are not in the keys file.
func (s *Store) Org(ctx context.Context, id syncengine.ID) (*Org, error) {
	s.refreshKeys()
	s.mu.Lock()
	o := s.orgs[id]
	s.mu.Unlock()
	if o != nil {
		return o, nil
	}
	all, err := s.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.ID == id {
			return o, nil
		}
	}
	return nil, ErrUnknownOrg
}

// Orgs returns the orgs of the database in the order of their making.
func (s *Store) Orgs(ctx context.Context) ([]*Org, error) {
	type row struct {
		Org
		public, successors []byte
	}
	var found []row
	err := s.snapshot(ctx, noOrg, func(c *conn) error {
		return c.each("SELECT num, id, name, public_key, successors FROM org ORDER BY num", nil, func(r *sql.Rows) error {
			var o row
			if err := r.Scan(&o.num, (*scanID)(&o.ID), &o.Name, &o.public, &o.successors); err != nil {
				return err
			}
			found = append(found, o)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the organizations: %w", err)
	}
	if err := s.ensureSeal(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys *keysFile
	orgs := make([]*Org, 0, len(found))
	for i := range found {
		if o := s.orgs[found[i].ID]; o != nil {
			orgs = append(orgs, o)
			continue
		}
		if keys == nil {
			if keys, err = readKeys(s.dir); err != nil {
				return nil, err
			}
		}
		o := found[i].Org
		k, err := keys.find(o.ID)
		if err != nil {
			return nil, err
		}
		if err := o.know(k, found[i].public, found[i].successors); err != nil {
			return nil, err
		}
		if o.Secrets, err = syncengine.NewSecrets(k.Secret); err != nil {
			return nil, err
		}
		o.secret = k.Secret
		for _, sealed := range k.Seal {
			key, err := seal.NewPrivateKey(sealed.Seed)
			if err != nil {
				return nil, ErrKeysUnreadable
			}
			o.Seal = append(o.Seal, key)
		}
		s.orgs[o.ID] = &o
		orgs = append(orgs, &o)
	}
	return orgs, nil
}
