package people

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
)

// Errors of Confirm.
var (
	// ErrNoFactor: the person has no second factor to show.
	ErrNoFactor = errors.New("this takes a second factor: set one up under /signin")
	// ErrWrongCode: the code is none of theirs, or was used.
	ErrWrongCode = errors.New("the code is not right, or was used already: wait for the next one")
	// ErrTooOften: too many codes were tried.
	ErrTooOften = errors.New("too many tries: wait a while")
)

// Confirm does something for whoever has signed in, in a transaction in which they show
// their second factor: a code of their authenticator or a recovery code. It is used up by
// it. Where the code is wrong nothing is done, and that is in the audit log. The request is
// one that [People.Require] has let in.
func (p *People) Confirm(r *http.Request, code string, do func(*store.Tx) error) error {
	code = strings.Join(strings.Fields(code), "")
	return p.confirm(r, do, func(v *visit, tx *store.Tx, a *store.Account) (failed string, err error) {
		if way, err := v.checkCode(tx, v.who.Org, a, code); err != nil || way != "" {
			return "", err
		}
		return "second factor", nil
	})
}

// Challenge is what a page asks a passkey: Options for the script passkey.js, and what the
// form sends back as "sealed" beside the "credential" of the answer.
type Challenge struct{ Options, Sealed string }

// Challenge asks for a passkey of whoever has signed in, to confirm one thing: about tells it
// from all others. The authenticator has to know the person, by a PIN or a finger: a touch is
// not enough. It is nil where they have none.
func (p *People) Challenge(r *http.Request, about string) (*Challenge, error) {
	v := &visit{People: p, r: r, who: FromContext(r.Context())}
	if v.who == nil || !v.who.strong {
		return nil, nil //nolint:nilnil // Said above.
	}
	data := map[string]any{}
	if err := v.askPasskey(data, about, webauthn.WithUserVerification(protocol.VerificationRequired)); err != nil || data["Passkey"] == nil {
		return nil, err
	}
	c := &Challenge{}
	c.Options, _ = data["Passkey"].(string)
	c.Sealed, _ = data["PasskeySealed"].(string)
	return c, nil
}

// ConfirmPasskey is Confirm by a passkey, which has answered the [People.Challenge] about the
// same in this session.
func (p *People) ConfirmPasskey(r *http.Request, about string, do func(*store.Tx) error) error {
	return p.confirm(r, do, func(v *visit, tx *store.Tx, a *store.Account) (failed string, err error) {
		return v.checkPasskey(tx, a, about)
	})
}

// confirm does something once check finds nothing wrong with the second factor.
func (p *People) confirm(r *http.Request, do func(*store.Tx) error, check func(*visit, *store.Tx, *store.Account) (failed string, err error)) error {
	v := &visit{People: p, r: r, who: FromContext(r.Context())}
	if v.who == nil || !v.who.factor || !v.who.strong {
		return ErrNoFactor
	}
	org, staff := v.who.Org, v.who.Staff
	counts := []bucket{perFactor.of(org, "factor", staff.String())}
	if err := v.charge(counts); err != nil {
		if _, ok := errors.AsType[*refusal](err); ok {
			return ErrTooOften
		}
		return err
	}
	var outcome error
	err := p.store.Write(r.Context(), org.ID, 1, func(tx *store.Tx) error {
		outcome = nil
		a, session, err := v.still(tx)
		if err != nil {
			return err
		}
		if a == nil {
			outcome = ErrNoFactor
			return nil
		}
		failed, err := check(v, tx, a)
		if err != nil {
			return err
		}
		if failed != "" {
			outcome = ErrWrongCode
			return tx.Audit(&tandemv1.AuditEntry{
				Act: tandemv1.AuditAct_AUDIT_ACT_SIGN_IN_FAILED, Person: staff[:], Subject: session.ID[:], Code: failed,
			})
		}
		if err := refund(tx, counts, p.o.Clock().UnixMilli()); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return err
	}
	return outcome
}
