package people_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/people"
)

const siteOrigin = "https://tandem.example.org"

// key is a virtual authenticator with one credential: it signs as WebAuthn says.
type key struct {
	t       *testing.T
	private *ecdsa.PrivateKey
	id      []byte
	count   uint32
	// origin is what its browser says of the page, and site the name that the key is of.
	origin, site string
	// untold: it answers to a touch, and does not ask who touches.
	untold bool
}

func newKey(t *testing.T) *key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	return &key{t: t, private: private, id: id, origin: siteOrigin, site: "tandem.example.org"}
}

// asked is what the page gives to its script.
func asked(t *testing.T, page answer, act string) (challenge string) {
	t.Helper()
	m := regexp.MustCompile(`data-passkey="([^"]*)" data-act="` + act + `"`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("no script form at %s:\n%s", page.path, page.body)
	}
	var options struct {
		PublicKey struct{ Challenge string }
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &options); err != nil || options.PublicKey.Challenge == "" {
		t.Fatalf("%v: %s", err, m[1])
	}
	return options.PublicKey.Challenge
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k *key) clientData(kind, challenge string) []byte {
	k.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": k.origin, "crossOrigin": false})
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

// authData is what an authenticator vouches for: the site, that somebody was there, a count.
func (k *key) authData(flags byte, rest ...byte) []byte {
	k.count++
	site := sha256.Sum256([]byte(k.site))
	return append(binary.BigEndian.AppendUint32(append(site[:], flags), k.count), rest...)
}

const present, verified, attested = 1, 4, 64

func (k *key) answer(response map[string]any) string {
	k.t.Helper()
	text, err := json.Marshal(map[string]any{"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

// create answers the challenge of a page that offers to add it.
func (k *key) create(page answer) string {
	k.t.Helper()
	point, err := k.private.PublicKey.Bytes()
	if err != nil {
		k.t.Fatal(err)
	}
	// A COSE key: EC2, ES256, P-256, x, y.
	cose := append([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}, point[1:33]...)
	cose = append(append(cose, 0x22, 0x58, 0x20), point[33:]...)
	rest := append(make([]byte, 16), 0, byte(len(k.id)))
	data := k.authData(present|verified|attested, append(append(rest, k.id...), cose...)...)
	object := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), byte(len(data)))
	return k.answer(map[string]any{
		"clientDataJSON": b64(k.clientData("webauthn.create", asked(k.t, page, "create"))), "attestationObject": b64(append(object, data...)),
		"transports": []string{"usb"},
	})
}

// get answers the challenge of a page that asks for it.
func (k *key) get(page answer) string {
	k.t.Helper()
	client := k.clientData("webauthn.get", asked(k.t, page, "get"))
	flags := byte(present | verified)
	if k.untold {
		flags = present
	}
	data, sum := k.authData(flags), sha256.Sum256(client)
	signed := sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, signed[:])
	if err != nil {
		k.t.Fatal(err)
	}
	return k.answer(map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)})
}

// add adds a key at a page that offers it.
func (b *browser) add(page answer, k *key, more ...string) answer {
	b.w.t.Helper()
	return b.post("/signin/passkey/new", append([]string{"sealed", page.hidden(b.w.t, "sealed"), "credential", k.create(page)}, more...)...)
}

// show shows a key where the second factor is asked for.
func (b *browser) show(page answer, credential string) answer {
	b.w.t.Helper()
	return b.post("/signin/factor/passkey", "sealed", page.hidden(b.w.t, "sealed"), "credential", credential)
}

// A passkey is a second factor like another: of this site alone, for its own challenge,
// within its own session.
func TestPasskey(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{Origin: siteOrigin})
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))
		b := w.browser()
		b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusOK, "/signin/factor/new", "passkey")
		k := newKey(t)
		page := b.get("/signin/passkey/new").want(t, http.StatusOK, "/signin/passkey/new")
		elsewhere := newKey(t)
		elsewhere.origin, elsewhere.site = "https://tandem.example.net", "tandem.example.net"
		b.add(page, elsewhere).want(t, http.StatusForbidden, "/signin/passkey/new", "not accepted")
		b.post("/signin/passkey/new", "sealed", page.hidden(t, "sealed"), "credential", "").want(t, http.StatusForbidden, "/signin/passkey/new")
		if b.in() {
			t.Fatal("in without a second factor")
		}
		recovery := b.add(page, k, "label", "yellow key").want(t, http.StatusOK, "/signin/passkey/new", "recovery codes")
		if !b.in() {
			t.Fatal("not in")
		}
		b.get("/signin").want(t, http.StatusOK, "/signin", "yellow key")

		first := func(b *browser) answer {
			t.Helper()
			return b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor", "Use a passkey")
		}
		c := w.browser()
		page = first(c)
		stranger := newKey(t)
		stranger.id = k.id
		c.show(page, stranger.get(page)).want(t, http.StatusForbidden, "/signin/factor/passkey", "not accepted")
		fished := *k
		fished.origin = "https://tandem.example.net"
		c.show(page, fished.get(page)).want(t, http.StatusForbidden, "/signin/factor/passkey")
		// What answers one challenge answers no other, and not within another session.
		other := w.browser()
		otherPage := first(other)
		otherAnswer := k.get(otherPage)
		c.show(page, otherAnswer).want(t, http.StatusForbidden, "/signin/factor/passkey")
		c.show(otherPage, otherAnswer).want(t, http.StatusForbidden, "/signin/factor/passkey")
		if c.in() {
			t.Fatal("in with somebody else's answer")
		}
		page = c.get("/signin/factor")
		c.show(page, k.get(page)).want(t, http.StatusOK, "/signin")
		if !c.in() {
			t.Fatal("not in with the passkey")
		}
		// A key whose count goes back is a copy.
		copied := *k
		copied.count = 0
		d := w.browser()
		page = first(d)
		d.show(page, copied.get(page)).want(t, http.StatusForbidden, "/signin/factor/passkey")
		w.pass(time.Minute)
		// A challenge ends with its page.
		late := w.browser()
		page = first(late)
		w.pass(9*time.Minute + 59*time.Second)
		page2 := late.get("/signin/factor")
		w.pass(time.Second)
		late.show(page, k.get(page)).want(t, http.StatusOK, "/signin")
		if late.in() || page2.path != "/signin/factor" {
			t.Error("a challenge of ten minutes ago")
		}
		// Recovery codes stand in for it.
		e := w.browser()
		first(e)
		e.post("/signin/factor", "code", regexp.MustCompile(`<code>([0-9A-Z-]{14})`).FindStringSubmatch(recovery.body)[1]).want(t, http.StatusOK, "/signin")

		// The last factor stays; one of two goes, for who knows the passphrase.
		id := regexp.MustCompile(`remove\?key=([\w-]+)`).FindStringSubmatch(e.get("/signin").body)[1]
		e.post("/signin/passkey/remove", "key", id, "passphrase", secretWord).want(t, http.StatusConflict, "/signin/passkey/remove", "last")
		page = e.get("/signin/passkey/new")
		second := newKey(t)
		e.add(page, second, "passphrase", "something else altogether").want(t, http.StatusForbidden, "/signin/passkey/new")
		e.add(page, second, "passphrase", secretWord).want(t, http.StatusOK, "/signin/passkey/new", "recovery codes")
		if b.in() {
			t.Error("other sessions go on after a factor was added")
		}
		e.post("/signin/passkey/remove", "key", id, "passphrase", "something else altogether").want(t, http.StatusForbidden, "/signin/passkey/remove")
		e.post("/signin/passkey/remove", "key", id, "passphrase", secretWord).want(t, http.StatusOK, "/signin", "Firefox Linux")
		page = first(b)
		b.show(page, k.get(page)).want(t, http.StatusForbidden, "/signin/factor/passkey")
		page = b.get("/signin/factor")
		b.show(page, second.get(page)).want(t, http.StatusOK, "/signin")
		all := strings.Join(w.acts(0), "\n")
		for _, act := range []string{"SECOND_FACTOR passkey added", "SIGNED_IN passphrase+passkey", "SIGN_IN_FAILED second factor", "SIGN_IN_FAILED passkey that may be a copy", "SIGNED_IN passphrase+recovery code", "SECOND_FACTOR passkey removed"} {
			if !strings.Contains(all, act) {
				t.Errorf("no entry %s:\n%s", act, all)
			}
		}
		w.quiet("yellow key")

		// An operator's reset of the second factor takes them all.
		code = must[*people.Code](t)(w.accounts.Reset(t.Context(), w.clinician, true))
		b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusOK, "/signin/factor/new")
	})
}

// Where the server does not know its own name, or has none, there are no passkeys.
func TestPasskeysNeedAName(t *testing.T) {
	t.Parallel()
	for origin, offered := range map[string]bool{"": false, "https://192.0.2.7:8443": false, "https://localhost:8443": true, siteOrigin + "/": true} {
		w := newWorld(t, storetest.SQLite, people.Options{Origin: origin})
		b, _ := w.begun(w.clinician, login)
		a := b.get("/signin/passkey/new")
		if got := a.path == "/signin/passkey/new"; got != offered || strings.Contains(b.get("/signin").body, "passkey/new") != offered {
			t.Errorf("origin %q: a passkey is offered: %v", origin, got)
		}
	}
}
