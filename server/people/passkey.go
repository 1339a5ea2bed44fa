package people

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

const (
	// maxPasskeys is how many a person may have, maxLabel how long the name of one is, in
	// bytes.
	maxPasskeys = 10
	maxLabel    = 60
)

// newPasskeys returns what makes and checks passkeys for an origin; nil where there can be
// none: a passkey is one of a domain, and of one that is known.
func newPasskeys(origin string) *webauthn.WebAuthn {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Tandem", RPOrigins: []string{origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationPreferred,
		},
	})
	if err != nil {
		// An address is no domain.
		return nil
	}
	return w
}

// holder is a person as the library sees one.
type holder struct {
	staff syncengine.ID
	login string
	keys  []webauthn.Credential
}

var _ webauthn.User = (*holder)(nil)

// WebAuthnID implements webauthn.User.
func (h *holder) WebAuthnID() []byte { return h.staff[:] }

// WebAuthnName implements webauthn.User.
func (h *holder) WebAuthnName() string { return h.login }

// WebAuthnDisplayName implements webauthn.User.
func (h *holder) WebAuthnDisplayName() string { return h.login }

// WebAuthnCredentials implements webauthn.User.
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

// holderOf returns the person of an account, with the passkeys that there are.
func holderOf(view store.PeopleView, a *store.Account) (*holder, error) {
	h := &holder{staff: a.Staff, login: a.Login}
	keys, err := view.Passkeys(a.Staff)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		var c webauthn.Credential
		if err := json.Unmarshal(k.Credential, &c); err != nil {
			return nil, fmt.Errorf("a stored passkey is damaged: %w", err)
		}
		h.keys = append(h.keys, c)
	}
	return h, nil
}

// challenge is what a browser was asked to sign.
type challenge struct {
	Session webauthn.SessionData
	EndsMS  int64
}

// aboutPasskey is what a sealed challenge is about: a page of one session, where somebody
// signs in or adds a passkey (about is empty), or confirms one thing.
func aboutPasskey(s *store.Session, about string) string {
	return strings.TrimSpace("passkey " + offered(s) + " " + about)
}

// challenged puts a challenge into the data of a page: for the script, and sealed.
func (v *visit) challenged(data map[string]any, options any, s *webauthn.SessionData, about string) error {
	text, err := json.Marshal(options)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(&challenge{Session: *s, EndsMS: v.o.Clock().Add(pendingLife).UnixMilli()})
	if err != nil {
		return err
	}
	sealed, err := v.seal(v.who.Org, aboutPasskey(v.who.Session, about), plain)
	data["Passkey"], data["PasskeySealed"] = string(text), base64.RawURLEncoding.EncodeToString(sealed)
	return err
}

// challenge returns the challenge that a form answers; nil for none of this session, or too
// long ago.
func (v *visit) challenge(about string) *challenge {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(v.r.PostFormValue("sealed"))
	if err != nil {
		return nil
	}
	plain, err := unseal(v.who.Org, aboutPasskey(v.who.Session, about), sealed)
	if err != nil {
		return nil
	}
	c := &challenge{}
	if err := json.Unmarshal(plain, c); err != nil || v.o.Clock().UnixMilli() >= c.EndsMS {
		return nil
	}
	return c
}

// factorData is what the page of the second factor shows.
func (v *visit) factorData() (map[string]any, error) {
	data := map[string]any{"To": v.to()}
	return data, v.askPasskey(data, "")
}

// askPasskey puts a challenge into the data of a page, where the person has a passkey.
func (v *visit) askPasskey(data map[string]any, about string, with ...webauthn.LoginOption) error {
	if v.passkeys == nil {
		return nil
	}
	var h *holder
	err := v.store.ReadPeople(v.r.Context(), v.who.Org.ID, func(view store.PeopleView) (err error) {
		h, err = holderOf(view, v.who.Account)
		return err
	})
	if err != nil || len(h.keys) == 0 {
		return err
	}
	options, session, err := v.passkeys.BeginLogin(h, with...)
	if err != nil {
		return fmt.Errorf("asking for a passkey: %w", err)
	}
	return v.challenged(data, options, session, about)
}

// checkPasskey looks at what a passkey answered to a challenge; failed says what is wrong with
// it, for the audit log.
func (v *visit) checkPasskey(tx *store.Tx, a *store.Account, about string) (failed string, err error) {
	asked := v.challenge(about)
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(v.r.PostFormValue("credential")))
	if asked == nil || err != nil || v.passkeys == nil {
		return "second factor", nil //nolint:nilerr // It is no answer.
	}
	h, err := holderOf(tx, a)
	if err != nil {
		return "", err
	}
	used, err := v.passkeys.ValidateLogin(h, asked.Session, parsed)
	switch {
	case err != nil:
		return "second factor", nil //nolint:nilerr // It is another's, or answers something else.
	case used.Authenticator.CloneWarning:
		return "passkey that may be a copy", nil
	}
	return "", v.savePasskey(tx, a.Staff, used, "")
}

// factorPasskey takes a passkey as the second factor.
func (v *visit) factorPasskey() error {
	if page, ok := v.outstanding(true); !ok {
		return v.next(page)
	}
	org, staff := v.who.Org, v.who.Staff
	again := func(err error) error {
		data, failed := v.factorData()
		if failed != nil {
			return failed
		}
		return v.refuse(err, "factor", data)
	}
	counts := []bucket{perFactor.of(org, "factor", staff.String())}
	if err := v.charge(counts); err != nil {
		return again(err)
	}
	var s *issued
	err := v.store.Write(v.r.Context(), org.ID, 1, func(tx *store.Tx) error {
		s = nil
		a, session, err := v.still(tx)
		if err != nil || a == nil {
			return err
		}
		failed, err := v.checkPasskey(tx, a, "")
		if err != nil {
			return err
		}
		if failed != "" {
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SIGN_IN_FAILED, Person: staff[:], Subject: session.ID[:], Code: failed})
		}
		if err := refund(tx, counts, v.o.Clock().UnixMilli()); err != nil {
			return err
		}
		s, err = v.renew(tx, org, session, session.Way+"+passkey", true)
		return err
	})
	if err != nil {
		return err
	}
	if s == nil {
		return again(&refusal{status: http.StatusForbidden, word: "wrongPasskey"})
	}
	return v.issue(org, s)
}

// savePasskey stores a passkey: a new one under a label, or one that was used.
func (v *visit) savePasskey(tx *store.Tx, staff syncengine.ID, c *webauthn.Credential, label string) error {
	kept, err := json.Marshal(c)
	if err != nil {
		return err
	}
	now := v.o.Clock().UnixMilli()
	p := &store.Passkey{ID: c.ID, Label: label, CreatedMS: now}
	all, err := tx.Passkeys(staff)
	if err != nil {
		return err
	}
	for _, k := range all {
		if string(k.ID) == string(c.ID) {
			p = k
		}
	}
	p.Credential, p.UsedMS = kept, now
	return tx.SavePasskey(staff, p)
}

// passkeyForm offers to add a passkey.
func (v *visit) passkeyForm() error {
	if v.who == nil || v.passkeys == nil || !v.who.strong && v.who.factor {
		return v.next("/signin")
	}
	data, err := v.offerPasskey()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "newPasskey", data)
	return nil
}

func (v *visit) offerPasskey() (map[string]any, error) {
	var h *holder
	err := v.store.ReadPeople(v.r.Context(), v.who.Org.ID, func(view store.PeopleView) (err error) {
		h, err = holderOf(view, v.who.Account)
		return err
	})
	if err != nil {
		return nil, err
	}
	var there []protocol.CredentialDescriptor
	for i := range h.keys {
		there = append(there, h.keys[i].Descriptor())
	}
	options, session, err := v.passkeys.BeginRegistration(h, webauthn.WithExclusions(there))
	if err != nil {
		return nil, fmt.Errorf("offering a passkey: %w", err)
	}
	data := map[string]any{"To": v.to(), "Ask": v.who.Session.Complete}
	return data, v.challenged(data, options, session, "")
}

// errTooMany: a person has as many passkeys as there may be.
var errTooMany = errors.New("too many passkeys")

// addPasskey adds a passkey that has answered its challenge.
func (v *visit) addPasskey() error {
	if v.who == nil || v.passkeys == nil || !v.who.strong && v.who.factor {
		return v.next("/signin")
	}
	again := func(err error) error {
		data, failed := v.offerPasskey()
		if failed != nil {
			return failed
		}
		return v.refuse(err, "newPasskey", data)
	}
	if v.who.Session.Complete {
		if _, err := v.again(v.r.PostFormValue("passphrase")); err != nil {
			return again(err)
		}
	}
	asked := v.challenge("")
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(v.r.PostFormValue("credential")))
	if asked == nil || err != nil {
		return again(&refusal{status: http.StatusForbidden, word: "wrongPasskey"})
	}
	made, err := v.passkeys.CreateCredential(&holder{staff: v.who.Staff, login: v.who.Account.Login}, asked.Session, parsed)
	if err != nil {
		return again(&refusal{status: http.StatusForbidden, word: "wrongPasskey"})
	}
	label := strings.TrimSpace(record.CleanText(v.r.PostFormValue("label")))
	if label == "" || len(label) > maxLabel {
		label = browserOf(v.r)
	}
	err = v.strengthen("passkey", func(tx *store.Tx, a *store.Account) error {
		keys, err := tx.Passkeys(a.Staff)
		if err != nil {
			return err
		}
		if len(keys) >= maxPasskeys {
			return errTooMany
		}
		return v.savePasskey(tx, a.Staff, made, label)
	})
	if errors.Is(err, errTooMany) {
		return again(&refusal{status: http.StatusConflict, word: "manyPasskeys"})
	}
	return err
}

// removePasskeyForm asks for the passphrase, before a passkey is removed.
func (v *visit) removePasskeyForm() error {
	if v.who == nil || !v.who.strong {
		return v.next("/signin")
	}
	v.show(http.StatusOK, "removePasskey", map[string]any{"Key": v.r.FormValue("key")})
	return nil
}

// removePasskey removes a passkey, unless it is the last second factor there is.
func (v *visit) removePasskey() error {
	if v.who == nil || !v.who.strong {
		return v.next("/signin")
	}
	data := map[string]any{"Key": v.r.PostFormValue("key")}
	id, err := base64.RawURLEncoding.Strict().DecodeString(v.r.PostFormValue("key"))
	if err != nil {
		return v.next("/signin")
	}
	if _, err := v.again(v.r.PostFormValue("passphrase")); err != nil {
		return v.refuse(err, "removePasskey", data)
	}
	last := false
	err = v.store.Write(v.r.Context(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		a, session, err := v.still(tx)
		if err != nil || a == nil {
			return err
		}
		keys, err := tx.Passkeys(a.Staff)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if string(k.ID) != string(id) {
				continue
			}
			if last = len(keys) == 1 && a.TOTP == nil; last {
				return nil
			}
			if err := tx.RemovePasskeys(a.Staff, id); err != nil {
				return err
			}
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SECOND_FACTOR, Person: a.Staff[:], Subject: session.ID[:], Code: "passkey removed"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if last {
		return v.refuse(&refusal{status: http.StatusConflict, word: "lastFactor"}, "removePasskey", data)
	}
	return v.next("/signin")
}
