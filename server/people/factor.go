package people

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// The authenticator: RFC 6238 with what every app takes. A code is taken for its step and
// the one before and after it.
const (
	totpPeriod = 30
	totpDigits = otp.DigitsSix
	totpSecret = 20
	// recoveryCodes is how many a person gets at a time.
	recoveryCodes = 10
)

// totpStep returns the step that a code is of, as of a time, if that is newer than last;
// 0 for none. Each code is taken once.
func totpStep(secret []byte, code string, nowMS, last int64) (int64, error) {
	at := nowMS / 1000 / totpPeriod
	found := int64(0)
	for step := at - 1; step <= at+1; step++ {
		want, err := totpCode(secret, step)
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > last {
			found = step
		}
	}
	return found, nil
}

func totpCode(secret []byte, step int64) (string, error) {
	code, err := totp.GenerateCodeCustom(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret), time.Unix(step*totpPeriod, 0),
		totp.ValidateOpts{Period: totpPeriod, Digits: totpDigits, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("computing a code: %w", err)
	}
	return code, nil
}

// errSealed: what was sealed cannot be opened.
var errSealed = errors.New("what was sealed cannot be opened with the key of this org")

// sealer seals secrets of a person with a key that is in no database.
func sealer(org *store.Org) (cipher.AEAD, error) {
	block, err := aes.NewCipher(org.Derive("authenticators"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (p *People) seal(org *store.Org, about string, secret []byte) ([]byte, error) {
	aead, err := sealer(org)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(p.rand, nonce); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	return aead.Seal(nonce, nonce, secret, []byte(about)), nil
}

func unseal(org *store.Org, about string, sealed []byte) ([]byte, error) {
	aead, err := sealer(org)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errSealed
	}
	secret, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(about))
	if err != nil {
		return nil, errSealed
	}
	return secret, nil
}

// stored and offered are what a sealed secret is about: that of an account, or one that a
// page has shown within a session.
func stored(staff syncengine.ID) string { return "account " + staff.String() }
func offered(s *store.Session) string   { return "offer " + s.Staff.String() + " " + s.ID.String() }

// recoveryHash is what is kept of a recovery code.
func recoveryHash(org *store.Org, staff syncengine.ID, code string) syncengine.Hash {
	folded := auth.HashCode(code)
	mac := hmac.New(sha256.New, org.Derive("recovery codes"))
	mac.Write(staff[:])
	mac.Write(folded[:])
	return syncengine.Hash(mac.Sum(nil))
}

// factorForm asks for the second factor.
func (v *visit) factorForm() error {
	if page, ok := v.outstanding(true); !ok {
		return v.next(page)
	}
	data, err := v.factorData()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "factor", data)
	return nil
}

// outstanding reports whether the second factor is what a visit has to show (factor) or to
// set up; else page is where it belongs.
func (v *visit) outstanding(factor bool) (page string, ok bool) {
	switch {
	case v.who == nil:
		return "/signin", false
	case v.who.strong:
		return "", false
	case v.who.factor != factor:
		return step(false, v.who.factor), false
	}
	return "", true
}

// factor takes a code of the authenticator, or a recovery code.
func (v *visit) factor() error {
	if page, ok := v.outstanding(true); !ok {
		return v.next(page)
	}
	org, staff := v.who.Org, v.who.Staff
	counts := []bucket{perFactor.of(org, "factor", staff.String())}
	again := func(err error) error {
		data, failed := v.factorData()
		if failed != nil {
			return failed
		}
		return v.refuse(err, "factor", data)
	}
	if err := v.charge(counts); err != nil {
		return again(err)
	}
	code := strings.Join(strings.Fields(v.r.PostFormValue("code")), "")
	var s *issued
	err := v.store.Write(v.r.Context(), org.ID, 1, func(tx *store.Tx) error {
		s = nil
		a, session, err := v.still(tx)
		if err != nil || a == nil {
			return err
		}
		way, err := v.checkCode(tx, org, a, code)
		if err != nil {
			return err
		}
		if way == "" {
			return tx.Audit(&tandemv1.AuditEntry{
				Act: tandemv1.AuditAct_AUDIT_ACT_SIGN_IN_FAILED, Person: staff[:], Subject: session.ID[:], Code: "second factor",
			})
		}
		if err := refund(tx, counts, v.o.Clock().UnixMilli()); err != nil {
			return err
		}
		s, err = v.renew(tx, org, session, session.Way+"+"+way, true)
		return err
	})
	if err != nil {
		return err
	}
	if s == nil {
		return again(&refusal{status: http.StatusForbidden, word: "wrongFactor"})
	}
	return v.issue(org, s)
}

// checkCode uses a code up, and returns what it was; empty for none that is good.
func (v *visit) checkCode(tx *store.Tx, org *store.Org, a *store.Account, code string) (way string, err error) {
	if len(code) == int(totpDigits) && a.TOTP != nil {
		secret, err := unseal(org, stored(a.Staff), a.TOTP)
		if err != nil {
			return "", err
		}
		step, err := totpStep(secret, code, v.o.Clock().UnixMilli(), a.TOTPStep)
		if err != nil || step == 0 {
			return "", err
		}
		a.TOTPStep = step
		return "authenticator", tx.SaveAccount(a)
	}
	ok, err := tx.UseRecoveryCode(a.Staff, recoveryHash(org, a.Staff, code))
	if err != nil || !ok {
		return "", err
	}
	return "recovery code", tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SECOND_FACTOR, Person: a.Staff[:], Code: "recovery code used"})
}

// newFactorForm offers a new authenticator.
func (v *visit) newFactorForm() error {
	if v.who == nil || !v.who.strong && v.who.factor {
		return v.next("/signin")
	}
	return v.offer(http.StatusOK, nil, nil)
}

// offer shows the secret of a new authenticator, or again the one that was shown.
func (v *visit) offer(status int, secret []byte, data map[string]any) error {
	var err error
	if secret == nil {
		if secret, err = token(v.rand, totpSecret); err != nil {
			return err
		}
	}
	sealed, err := v.seal(v.who.Org, offered(v.who.Session), secret)
	if err != nil {
		return err
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: "Tandem", AccountName: v.who.Account.Login, Period: totpPeriod, Secret: secret, Digits: totpDigits, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return fmt.Errorf("offering an authenticator: %w", err)
	}
	picture, err := key.Image(240, 240)
	if err != nil {
		return fmt.Errorf("offering an authenticator: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return err
	}
	if data == nil {
		data = map[string]any{}
	}
	data["Picture"] = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())) //nolint:gosec // A picture that was made here.
	data["Secret"], data["Sealed"] = groups(key.Secret()), base64.RawURLEncoding.EncodeToString(sealed)
	data["Ask"], data["To"], data["Passkeys"] = v.who.Session.Complete, v.to(), v.passkeys != nil
	v.show(status, "newFactor", data)
	return nil
}

// groups writes a secret so that it can be typed.
func groups(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// newFactor takes an authenticator into use that has shown its first code, and gives the
// person recovery codes. Other sessions end.
func (v *visit) newFactor() error {
	if v.who == nil || !v.who.strong && v.who.factor {
		return v.next("/signin")
	}
	org := v.who.Org
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(v.r.PostFormValue("sealed"))
	if err != nil {
		return v.next("/signin/factor/new")
	}
	secret, err := unseal(org, offered(v.who.Session), sealed)
	if err != nil {
		// Of another session, or nobody's.
		return v.next("/signin/factor/new")
	}
	again := func(err error) error {
		r, ok := errors.AsType[*refusal](err)
		if !ok {
			return err
		}
		data := map[string]any{"Error": r.word}
		return v.offer(r.status, secret, data)
	}
	if v.who.Session.Complete {
		if _, err := v.again(v.r.PostFormValue("passphrase")); err != nil {
			return again(err)
		}
	}
	code := strings.Join(strings.Fields(v.r.PostFormValue("code")), "")
	at, err := totpStep(secret, code, v.o.Clock().UnixMilli(), 0)
	if err != nil {
		return err
	}
	if at == 0 {
		return again(&refusal{status: http.StatusForbidden, word: "wrongFactor"})
	}
	kept, err := v.seal(org, stored(v.who.Staff), secret)
	if err != nil {
		return err
	}
	return v.strengthen("authenticator", func(tx *store.Tx, a *store.Account) error {
		a.TOTP, a.TOTPStep, a.ChangedMS = kept, at, v.o.Clock().UnixMilli()
		return tx.SaveAccount(a)
	})
}

// strengthen adds a second factor to the account of who asks, gives recovery codes, and
// ends other sessions.
func (v *visit) strengthen(factor string, add func(*store.Tx, *store.Account) error) error {
	org := v.who.Org
	codes, hashes, err := v.newRecoveryCodes()
	if err != nil {
		return err
	}
	var s *issued
	err = v.store.Write(v.r.Context(), org.ID, 1, func(tx *store.Tx) error {
		s = nil
		a, session, err := v.still(tx)
		if err != nil || a == nil {
			return err
		}
		if !session.Complete {
			// Another window may have been faster; then its factor is asked for.
			if has, err := hasFactor(tx, a); err != nil || has {
				return err
			}
		}
		if err := add(tx, a); err != nil {
			return err
		}
		if err := tx.SetRecoveryCodes(a.Staff, hashes); err != nil {
			return err
		}
		if _, err := EndSessions(tx, a.Staff, session.ID, "second factor added"); err != nil {
			return err
		}
		err = tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SECOND_FACTOR, Person: a.Staff[:], Subject: session.ID[:], Code: factor + " added"})
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(session.Way, "+")
		s, err = v.renew(tx, org, session, first+"+"+factor, true)
		return err
	})
	if err != nil {
		return err
	}
	if s == nil {
		return v.next("/signin")
	}
	if err := v.setCookies(v.w, org, s); err != nil {
		return err
	}
	v.show(http.StatusOK, "recovery", map[string]any{"Codes": codes, "To": v.to()})
	return nil
}

func (v *visit) newRecoveryCodes() (codes []string, hashes []syncengine.Hash, err error) {
	for range recoveryCodes {
		code, err := auth.NewCode(v.rand)
		if err != nil {
			return nil, nil, err
		}
		codes = append(codes, code)
		hashes = append(hashes, recoveryHash(v.who.Org, v.who.Staff, code))
	}
	return codes, hashes, nil
}

// recoveryForm asks for the passphrase, before new recovery codes take the place of the old.
func (v *visit) recoveryForm() error {
	if v.who == nil || !v.who.strong || !v.who.factor {
		return v.next("/signin")
	}
	v.show(http.StatusOK, "newRecovery", nil)
	return nil
}

// recovery gives new recovery codes; the old ones are good no more.
func (v *visit) recovery() error {
	if v.who == nil || !v.who.strong || !v.who.factor {
		return v.next("/signin")
	}
	if _, err := v.again(v.r.PostFormValue("passphrase")); err != nil {
		return v.refuse(err, "newRecovery", nil)
	}
	codes, hashes, err := v.newRecoveryCodes()
	if err != nil {
		return err
	}
	done := false
	err = v.store.Write(v.r.Context(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		a, session, err := v.still(tx)
		if err != nil || a == nil {
			return err
		}
		done = true
		if err := tx.SetRecoveryCodes(a.Staff, hashes); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SECOND_FACTOR, Person: a.Staff[:], Subject: session.ID[:], Code: "recovery codes made"})
	})
	if err != nil {
		return err
	}
	if !done {
		return v.next("/signin")
	}
	v.show(http.StatusOK, "recovery", map[string]any{"Codes": codes})
	return nil
}
