package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// enrollContext is what the proof of possession signs first.
const enrollContext = "tandem-enroll-v1"

// foldCode brings a one-time code to the form that is signed: upper case, without
// spaces and hyphens.
func foldCode(code string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, code))
}

// Invited takes what an admin shows as a QR code apart: the address of a server, and the
// one-time code behind it. ok is false where a text is no such thing, but a code perhaps.
func Invited(text string) (server, code string, ok bool) {
	server, code, ok = strings.Cut(strings.TrimSpace(text), "#enroll=")
	return strings.TrimRight(server, "/"), code, ok
}

// publicKey returns the public half of a key: its last 32 bytes (RFC 8032).
func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// Enroll makes the store that of the person and device that the code was made for.
// The same call may be repeated within the life of the code: a lost answer costs
// nothing. The code is neither stored nor logged.
func (c *Client) Enroll(ctx context.Context, server, code string) error {
	if _, err := c.identity(); err == nil {
		return ErrEnrolled
	}
	u, err := parseServer(server)
	if err != nil {
		return err
	}
	code = foldCode(code)
	if code == "" {
		return errors.New("the enrolment code is empty: type it as your administrator gave it")
	}
	key, replica, err := c.prepare(ctx, metaKey, metaReplica)
	if err != nil {
		return err
	}
	v, err := c.newTrust(u, c.opts.Roots, nil)
	if err != nil {
		return err
	}
	way := newLink(u, &c.opts, nil, v, c.read)
	defer way.close()
	req := &tandemv1.EnrollRequest{
		Code: code, PublicKey: publicKey(key),
		Proof:   ed25519.Sign(key, append([]byte(enrollContext+code), replica[:]...)),
		Replica: replica[:], Platform: runtime.GOOS + "/" + runtime.GOARCH,
		AppVersion: c.opts.Version, Schema: syncengine.Schema,
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	met := &contact{}
	answer, err := call(ctx, met, func(ctx context.Context) (*tandemv1.EnrollResponse, error) { return way.enroll.Enroll(ctx, req) })
	if err != nil {
		return enrollError(err)
	}
	st, err := acceptEnrolment(answer, key, replica)
	if err != nil {
		return &ContactError{Kind: ErrNetwork, Words: "the answer to the enrolment does not fit; try again, and if it stays so ask your administrator", Err: err}
	}
	c.clock.sample(c.read(), answer.GetServerMs(), time.Since(met.began))
	if err := c.keepEnrolment(ctx, u.String(), answer, st, v.pinned()); err != nil {
		return err
	}
	c.log.Info().Stringer("person", st.Person).Stringer("device", st.Device).Msg("enrolled")
	return c.loadIdentity(ctx)
}

// enrollError words a refusal in terms of the code. That of a suspended device has nothing to
// do with one.
func enrollError(err error) error {
	if errors.Is(err, ErrSuspended) {
		return err
	}
	if e, ok := errors.AsType[*ContactError](err); ok && (errors.Is(err, ErrRefused) || errors.Is(err, ErrRejected)) {
		return &ContactError{
			Kind: ErrRefused, Err: e.Err,
			Words: "the server did not take the code: it may be mistyped, used, or older than 15 minutes; ask your administrator for a new one",
		}
	}
	return err
}

// prepare returns a replica's key and id, made and stored under two keys of the meta
// table at the first try, so that a repeated call is the same call.
func (c *Client) prepare(ctx context.Context, keyAt, replicaAt string) (key ed25519.PrivateKey, replica syncengine.ID, err error) {
	err = c.store.write(ctx, "preparing the enrolment", func(t *tx) error {
		seed, err := t.meta(keyAt)
		if err != nil {
			return err
		}
		id, err := t.meta(replicaAt)
		if err != nil {
			return err
		}
		if len(seed) != ed25519.SeedSize || len(id) != len(replica) {
			seed, id = make([]byte, ed25519.SeedSize), make([]byte, len(replica))
			if err := c.random(seed); err != nil {
				return err
			}
			if err := c.random(id); err != nil {
				return err
			}
			if err := t.setMeta(keyAt, seed); err != nil {
				return err
			}
			if err := t.setMeta(replicaAt, id); err != nil {
				return err
			}
		}
		key, replica = ed25519.NewKeyFromSeed(seed), syncengine.ID(id)
		return nil
	})
	return key, replica, err
}

// acceptEnrolment checks that an answer is a certificate for this key and replica,
// signed by the org that it names.
func acceptEnrolment(answer *tandemv1.EnrollResponse, key ed25519.PrivateKey, replica syncengine.ID) (*syncengine.DeviceState, error) {
	st := &syncengine.DeviceState{Replica: replica, NextOp: 1}
	for _, id := range []struct {
		into *syncengine.ID
		raw  []byte
	}{{&st.Org, answer.GetOrg()}, {&st.Person, answer.GetPerson()}, {&st.Device, answer.GetDevice()}} {
		var ok bool
		if *id.into, ok = syncengine.IDFromBytes(id.raw); !ok {
			return nil, errors.New("an id is missing")
		}
	}
	if len(answer.GetOrgKey()) != ed25519.PublicKeySize {
		return nil, errors.New("the key of the org is missing")
	}
	signed, err := jose.ParseSignedCompact(answer.GetCertificate(), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, errors.New("the certificate is no signed token")
	}
	payload, err := signed.Verify(ed25519.PublicKey(answer.GetOrgKey()))
	if err != nil {
		return nil, errors.New("the certificate is not signed by the org")
	}
	var claims struct {
		Confirmation struct {
			Thumbprint string `json:"jkt"`
		} `json:"cnf"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, errors.New("the certificate cannot be read")
	}
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("hashing the device's key: %w", err)
	}
	want := base64.RawURLEncoding.EncodeToString(thumbprint)
	if subtle.ConstantTimeCompare([]byte(want), []byte(claims.Confirmation.Thumbprint)) != 1 {
		return nil, errors.New("the certificate is for another key")
	}
	return st, nil
}

func (c *Client) keepEnrolment(ctx context.Context, server string, answer *tandemv1.EnrollResponse, st *syncengine.DeviceState, pin []byte) error {
	kept, err := proto.Marshal(answer)
	if err != nil {
		return fmt.Errorf("keeping the enrolment: %w", err)
	}
	st.LastContactMS = c.opts.Now().UnixMilli()
	at := c.clock.now()
	st.OffsetMS, st.OffsetKnown = at.offset(), true
	return c.store.write(context.WithoutCancel(ctx), "keeping the enrolment", func(t *tx) error {
		if err := t.setMeta(metaServer, []byte(server)); err != nil {
			return err
		}
		if len(c.opts.Roots) > 0 {
			if err := t.setMeta(metaRoots, c.opts.Roots); err != nil {
				return err
			}
		}
		if err := t.setMeta(metaEnrolment, kept); err != nil {
			return err
		}
		if len(pin) > 0 {
			if err := t.setMeta(metaPin, pin); err != nil {
				return err
			}
		}
		if err := t.keepClock(at); err != nil {
			return err
		}
		if err := t.setMeta(metaKeyAt, millis(c.opts.Now())); err != nil {
			return err
		}
		return t.SaveState(st)
	})
}

// Session is who works on the device, as the server named them at enrolment.
type Session struct {
	// Server is its address.
	Server string
	// Person and Device are record ids, Agency too; Teams and Programs in the same
	// order.
	Person, Device, Agency syncengine.ID
	Teams, Programs        []syncengine.ID
	// Name of the person, label of the device, role codes.
	Name, Label string
	Roles       []string
}

// Session returns who works on the device; ErrNotEnrolled before enrolment.
func (c *Client) Session() (*Session, error) {
	me, err := c.identity()
	if err != nil {
		return nil, err
	}
	a := me.answer
	s := &Session{Server: me.server, Name: a.GetPersonName(), Label: a.GetDeviceLabel(), Roles: a.GetRoles()}
	s.Person, _ = syncengine.IDFromBytes(a.GetPerson())
	s.Device, _ = syncengine.IDFromBytes(a.GetDevice())
	s.Agency, _ = syncengine.IDFromBytes(a.GetAgency())
	for _, raw := range a.GetTeams() {
		id, _ := syncengine.IDFromBytes(raw)
		s.Teams = append(s.Teams, id)
	}
	for _, raw := range a.GetPrograms() {
		id, _ := syncengine.IDFromBytes(raw)
		s.Programs = append(s.Programs, id)
	}
	return s, nil
}
