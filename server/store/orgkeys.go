package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// An org's signing key is in the keys file, with the announcements that lead to it from the
// org's first. The database has the same announcements, for servers whose keys file is
// another copy. The file is written first, so that no key is lost that somebody has heard
// of: where it is ahead, the database is brought after it, and where it is behind, its
// server goes on with what is signed and signs nothing.

var (
	// ErrKeysBehind says that a keys file is older than the org's newest signing key.
	ErrKeysBehind = errors.New("the keys.json of this server is older than the organization's newest key: copy it here from where the key was made, or from its newest copy; until then this server takes in and sends out, and certifies nobody")
	// ErrKeysLost says that a key is known to have been made and is nowhere here.
	ErrKeysLost = errors.New("the keys.json of this server lacks a key that the organization's devices know: put its newest copy in its place; with this one no device would be let in")
	// ErrRotated says that a signing key was replaced by somebody else meanwhile.
	ErrRotated = errors.New("another command has just replaced the organization's key: this one has changed nothing")
	// ErrKeyMade says that a key was made although not all that follows from it was done.
	ErrKeyMade = errors.New("the organization's new key IS made and stands in keys.json: copy that to where its copies are; what is left to do a running server does by itself once it can")
	// ErrManyKeys says that an org has had so many keys that it may have no further one.
	ErrManyKeys = fmt.Errorf("the organization has had %d keys and can have no further one", syncengine.MaxOrgKeys)
)

// keyring is what an org signs with, and signed with before.
type keyring struct {
	// public are the keys, the first one first.
	public []ed25519.PublicKey
	// chain is how each followed from the one before.
	chain []*tandemv1.OrgSuccessor
	// told is how many of them the database knows.
	told int
}

// ahead reports whether the database does not know the newest yet.
func (k *keyring) ahead() bool { return k.told < len(k.chain) }

// NameOfKey names a key of an org in what it certifies. It is no secret.
func NameOfKey(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// find returns the place of a key by the name that certificates give it; that of none is the
// first.
func (k *keyring) find(id string) int {
	if id == "" {
		return 0
	}
	return slices.IndexFunc(k.public, func(key ed25519.PublicKey) bool { return NameOfKey(key) == id })
}

// KeyID names the key that the org signs with: empty for its first one.
func (o *Org) KeyID() string {
	if len(o.ring.chain) == 0 {
		return ""
	}
	return NameOfKey(o.PublicKey())
}

// Keys returns the keys that the org has signed with, the first one first.
func (o *Org) Keys() []ed25519.PublicKey { return slices.Clone(o.ring.public) }

// KeyOf returns the key of the org that a name stands for, nil where it has none such.
func (o *Org) KeyOf(id string) ed25519.PublicKey {
	if i := o.ring.find(id); i >= 0 {
		return o.ring.public[i]
	}
	return nil
}

// Successors returns how the org's key followed from the one that a name stands for, and
// all there is for an unknown one.
func (o *Org) Successors(id string) []*tandemv1.OrgSuccessor {
	return o.ring.chain[max(o.ring.find(id), 0):]
}

// Signed reports whether a key of the org, the present one or one before, has signed
// something, as verify says.
func (o *Org) Signed(verify func(key ed25519.PublicKey) bool) bool {
	return slices.ContainsFunc(o.ring.public, verify)
}

// Over reports whether the time is over in which what a key has certified lets in who is
// not known.
func (o *Org) Over(id string, nowMS int64) bool {
	i := o.ring.find(id)
	return i < 0 || slices.ContainsFunc(o.ring.chain[i:], func(s *tandemv1.OrgSuccessor) bool { return nowMS >= s.GetUntilMs() })
}

// Certifies reports whether this server may sign for the org.
func (o *Org) Certifies() bool { return o.Signing != nil && !o.ring.ahead() }

// Holds makes sure that the org has each signing key that the security journal tells of: a
// device that has been told of a key is let in with nothing else. The error is ErrKeysLost.
func (o *Org) Holds(events []*JournalEvent) error {
	for _, e := range events {
		if e.What == EventKeyed && e.Generation > 0 && o.KeyOf(NameOfKey(e.Key)) == nil {
			return fmt.Errorf("%w: it has %d, and the security journal knows of number %d", ErrKeysLost, len(o.ring.public), e.Generation+1)
		}
	}
	return nil
}

// know puts together what the keys file and the database say of an org's keys.
func (o *Org) know(k *orgKeys, public []byte, packed []byte) error {
	here, err := unpackSuccessors(k.Successors)
	if err != nil {
		return ErrKeysUnreadable
	}
	there, err := unpackSuccessors(packed)
	if err != nil {
		return fmt.Errorf("%w: the organization's keys", ErrDamaged)
	}
	o.Signing = ed25519.NewKeyFromSeed(k.SigningSeed)
	own := publicOf(o.Signing)
	known, _ := syncengine.OrgKeys(o.ID, public, there)
	mine, _ := syncengine.OrgKeys(o.ID, own, here)
	at := func(key ed25519.PublicKey) bool {
		return slices.ContainsFunc(mine, func(k ed25519.PublicKey) bool { return k.Equal(key) })
	}
	switch newest, _, err := syncengine.FollowOrgKey(o.ID, public, here); {
	case own.Equal(ed25519.PublicKey(public)):
		o.ring.chain, o.ring.told = there, len(there)
	case err == nil && newest.Equal(own):
		o.ring.chain, o.ring.told = here, slices.IndexFunc(mine, func(k ed25519.PublicKey) bool { return bytes.Equal(k, public) })
		known = mine
	case slices.ContainsFunc(known, at):
		o.Signing, o.ring.chain, o.ring.told = nil, there, len(there)
	default:
		return ErrKeysMissing
	}
	o.ring.public = known
	if len(o.ring.public) != len(o.ring.chain)+1 {
		return fmt.Errorf("%w: the organization's keys", ErrDamaged)
	}
	return nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

func packSuccessors(chain []*tandemv1.OrgSuccessor) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(&tandemv1.OrgRenewal{Successors: chain})
}

func unpackSuccessors(raw []byte) ([]*tandemv1.OrgSuccessor, error) {
	var list tandemv1.OrgRenewal
	err := proto.Unmarshal(raw, &list)
	return list.GetSuccessors(), err
}

// forgetOrg has an org read anew.
func (s *Store) forgetOrg(id syncengine.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.asked = 0
	delete(s.orgs, id)
}

// OrgNow returns an org as it is now where what is known of it is older than a moment:
// another server may have made a key.
func (s *Store) OrgNow(ctx context.Context, id syncengine.ID) (*Org, error) {
	s.mu.Lock()
	now := s.monotonic()
	if read, was := s.orgsRead[id]; s.orgs[id] != nil && (!was || now-read >= keysAge) {
		s.orgsRead[id] = now
		delete(s.orgs, id)
	}
	s.mu.Unlock()
	return s.Org(ctx, id)
}

// OrgAnew returns an org as it is now, for whoever decides something by its keys that is
// not asked often.
func (s *Store) OrgAnew(ctx context.Context, id syncengine.ID) (*Org, error) {
	s.forgetOrg(id)
	return s.Org(ctx, id)
}

// Signer returns an org as it is now, to sign for it. The error is ErrKeysBehind where this
// server has not the key.
func (s *Store) Signer(ctx context.Context, id syncengine.ID) (*Org, error) {
	if err := s.Announce(ctx, id); err != nil {
		return nil, err
	}
	o, err := s.Org(ctx, id)
	if err == nil && o.Signing == nil {
		err = ErrKeysBehind
	}
	return o, err
}

// Announce brings the database after the keys file, where that has a newer signing key: a
// rotation was interrupted, or the database was set back.
func (s *Store) Announce(ctx context.Context, id syncengine.ID) error {
	o, err := s.OrgAnew(ctx, id)
	if err != nil || !o.ring.ahead() {
		return err
	}
	packed, err := packSuccessors(o.ring.chain)
	if err != nil {
		return err
	}
	err = s.Write(ctx, id, 1, func(tx *Tx) error {
		var was []byte
		if _, err := tx.c.one("SELECT public_key FROM org WHERE num = $1", []any{o.num}, &was); err != nil {
			return err
		}
		from := slices.IndexFunc(o.ring.public, func(key ed25519.PublicKey) bool { return bytes.Equal(key, was) })
		switch {
		case from < 0:
			return ErrRotated
		case from == len(o.ring.chain):
			return nil
		}
		tx.writes++
		if err := tx.c.exec("UPDATE org SET public_key = $1, successors = $2 WHERE num = $3", []byte(o.PublicKey()), packed, o.num); err != nil {
			return err
		}
		for _, step := range o.ring.chain[from:] {
			entry, err := keyedEntry(step, 0)
			if err != nil {
				return err
			}
			if err := tx.Audit(entry); err != nil {
				return err
			}
		}
		// What is signed from here on is signed with the new key.
		tx.org, tx.audit.sign = o, true
		return nil
	})
	s.forgetOrg(id)
	return err
}

// keyedEntry is what the audit log says of a key.
func keyedEntry(step *tandemv1.OrgSuccessor, atMS int64) (*tandemv1.AuditEntry, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(step)
	return &tandemv1.AuditEntry{
		Act: tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED, AtMs: atMS, Key: step.GetKey(), Number: step.GetGeneration(), Entry: raw,
	}, err
}

// signs reports whether the key at hand is the one that the database knows.
func (tx *Tx) signs() (bool, error) {
	if tx.org.Signing == nil {
		return false, nil
	}
	var public []byte
	_, err := tx.c.one("SELECT public_key FROM org WHERE num = $1", []any{tx.org.num}, &public)
	if err == nil && !bytes.Equal(public, tx.org.PublicKey()) {
		tx.s.forgetOrg(tx.org.ID)
		return false, nil
	}
	return err == nil, err
}

// RotateSigning gives an org another signing key, and returns how it follows from the one
// before. What that one has certified goes on being good for every replica that is known;
// for one that is not, as after a restore, it is until grace is over. The error is
// ErrRotated where somebody else was faster: nothing is changed then.
func (s *Store) RotateSigning(ctx context.Context, org syncengine.ID, grace time.Duration) (*tandemv1.OrgSuccessor, error) {
	was, err := s.Signer(ctx, org)
	if err != nil {
		return nil, err
	}
	return s.rotateFrom(ctx, was, grace)
}

// rotateFrom is RotateSigning for whoever knows which key is to be replaced.
func (s *Store) rotateFrom(ctx context.Context, was *Org, grace time.Duration) (*tandemv1.OrgSuccessor, error) {
	if len(was.ring.public) >= syncengine.MaxOrgKeys {
		return nil, ErrManyKeys
	}
	if _, err := s.Journal(ctx, was.ID); err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(s.rand, seed); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	now := s.now()
	until := int64(0)
	if grace > 0 {
		until = now.Add(grace).UnixMilli()
	}
	// Without grace it is over by every server's clock.
	step := syncengine.SignOrgSuccessor(was.ID, uint64(len(was.ring.public)), was.Signing, ed25519.NewKeyFromSeed(seed), now.UnixMilli(), until)
	packed, err := packSuccessors(append(slices.Clip(was.ring.chain), step))
	if err != nil {
		return nil, err
	}
	var before orgKeys
	err = s.changeKeys(ctx, func(file *keysFile) error {
		k, err := file.find(was.ID)
		if err != nil {
			return err
		}
		if !bytes.Equal(k.SigningSeed, was.Signing.Seed()) {
			return ErrRotated
		}
		before = *k
		k.SigningSeed, k.Successors = seed, packed
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.Announce(ctx, was.ID)
	if err == nil {
		err = s.made(ctx, was.ID, step)
	}
	if errors.Is(err, ErrRotated) {
		// Nobody has heard of this key.
		err = errors.Join(err, s.changeKeys(ctx, func(file *keysFile) error {
			k, err := file.find(was.ID)
			if err == nil && bytes.Equal(k.SigningSeed, seed) {
				k.SigningSeed, k.Successors = before.SigningSeed, before.Successors
			}
			return err
		}))
		s.forgetOrg(was.ID)
		return nil, err
	}
	if err == nil {
		err = s.JournalKeys(ctx, was.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrKeyMade, err)
	}
	return step, nil
}

// made makes sure that a key is one of its org's now: where another server was faster, the
// database has not asked for the one of this keys file. The error is ErrRotated.
func (s *Store) made(ctx context.Context, org syncengine.ID, step *tandemv1.OrgSuccessor) error {
	o, err := s.OrgAnew(ctx, org)
	if err == nil && o.KeyOf(NameOfKey(step.GetKey())) == nil {
		err = ErrRotated
	}
	return err
}

// JournalKeys adds to the security journal the keys of an org that the database knows and
// the journal does not: a rotation was interrupted.
func (s *Store) JournalKeys(ctx context.Context, org syncengine.ID) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	s.mu.Lock()
	same := s.journalled[org] == o.ring.told
	s.mu.Unlock()
	if same {
		return nil
	}
	events, err := s.Journal(ctx, org)
	if err != nil {
		return err
	}
	for _, step := range o.ring.chain[:o.ring.told] {
		if slices.ContainsFunc(events, func(e *JournalEvent) bool { return e.What == EventKeyed && bytes.Equal(e.Key, step.GetKey()) }) {
			continue
		}
		err := s.Write(ctx, org, 1, func(tx *Tx) error {
			return tx.Journal(&JournalEvent{What: EventKeyed, Key: step.GetKey(), Generation: step.GetGeneration()})
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.journalled[org] = o.ring.told
	s.mu.Unlock()
	return nil
}
