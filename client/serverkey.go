package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// A device sends to the key that it met at enrolment and to no other, whatever
// authority vouches for it. A server with a new key has to show that the org vouches for
// that one: it is asked so, on a connection that carries nothing else.

// keySize is the size of a key's hash.
const keySize = sha256.Size

// holdsKey reports whether a list of hashes, one after another, has one.
func holdsKey(list, key []byte) bool {
	return slices.ContainsFunc(slices.Collect(slices.Chunk(list, keySize)), func(k []byte) bool { return bytes.Equal(k, key) })
}

// keyed is a transport that asks a server with another key for the org's word, once, and
// then tries again.
type keyed struct {
	*http.Transport

	trust *trust
	// ask is the address to ask at, probe the transport for that.
	ask   *url.URL
	probe *http.Transport
	mu    sync.Mutex
}

// newKeyed wraps a transport to a server over TLS.
func newKeyed(t *http.Transport, u *url.URL, v *trust) *keyed {
	probe := t.Clone()
	probe.DisableKeepAlives = true
	probe.TLSClientConfig = t.TLSClientConfig.Clone()
	probe.TLSClientConfig.VerifyConnection = func(state tls.ConnectionState) error { return v.chain(state) }
	return &keyed{Transport: t, trust: v, ask: u.JoinPath("server-key"), probe: probe}
}

// RoundTrip implements http.RoundTripper.
func (k *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := k.Transport.RoundTrip(req)
	if err == nil || !errors.Is(err, ErrServerKey) || k.trust.orgKey == nil {
		return resp, err
	}
	if asked := k.vouched(req.Context()); asked != nil {
		return nil, fmt.Errorf("%w: %w", ErrServerKey, asked)
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			// It is sent anew, and finds the key known.
			return nil, err
		}
		body, berr := req.GetBody()
		if berr != nil {
			return nil, berr
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
	return k.Transport.RoundTrip(req)
}

// maxServerKeys bounds the bytes of an answer, which has room for all keys that an org may
// have had.
const maxServerKeys = 512 << 10

// askTime is how long the question may take.
const askTime = time.Minute

// vouched asks whether the org vouches for the key that the server has now, and takes
// over the keys that it names.
func (k *keyed) vouched(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	// The request's own context notes what is sent of the request.
	limited, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	nonce := make([]byte, syncengine.NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	at := *k.ask
	at.RawQuery = url.Values{"org": {k.trust.org.String()}, "nonce": {hex.EncodeToString(nonce)}}.Encode()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "tandem")
	resp, err := k.probe.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.TLS == nil {
		return fmt.Errorf("it does not say that the org vouches for it: HTTP status %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxServerKeys))
	if err != nil {
		return err
	}
	var said tandemv1.ServerKeys
	if err := proto.Unmarshal(raw, &said); err != nil {
		return errors.New("what it says of its key cannot be read")
	}
	orgKey, _, err := syncengine.FollowOrgKey(k.trust.org, k.trust.orgKey, said.GetSuccessors())
	if err != nil {
		return err
	}
	keys := slices.Concat(said.GetKeys()...)
	sum := sha256.Sum256(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	switch {
	case slices.ContainsFunc(said.GetKeys(), func(k []byte) bool { return len(k) != keySize }):
		return errors.New("what it says of its key cannot be read")
	case !ed25519.Verify(orgKey, syncengine.ServerKeysText(k.trust.org, nonce, said.GetKeys()), said.GetSignature()):
		return errors.New("the org does not vouch for its key")
	case !holdsKey(keys, sum[:]):
		return errors.New("the org vouches for another key than the one it has")
	}
	k.trust.pin(keys)
	return nil
}
