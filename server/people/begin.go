package people

import (
	"crypto/subtle"
	"net/http"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// newPassphrase returns the passphrase that a form sets, which stands in it twice.
func (v *visit) newPassphrase(about ...string) (string, error) {
	passphrase := v.r.PostFormValue("new")
	if passphrase != v.r.PostFormValue("again") {
		return "", errTwice
	}
	return passphrase, refusedPassphrase(CheckPassphrase(passphrase, about...))
}

// beginForm shows the form of a one-time code.
func (v *visit) beginForm() error {
	v.show(http.StatusOK, "begin", nil)
	return nil
}

// begin takes a one-time code and the passphrase that it sets.
func (v *visit) begin() error {
	ctx, login := v.r.Context(), v.r.PostFormValue("login")
	passphrase, err := v.newPassphrase(login)
	if err != nil {
		return v.refuse(err, "begin", nil)
	}
	t, err := v.open(ctx, login, "code", perCode)
	if err != nil {
		return v.refuse(err, "begin", nil)
	}
	code := auth.HashCode(v.r.PostFormValue("code"))
	good := func(a *store.Account) bool {
		return a != nil && !a.Disabled && subtle.ConstantTimeCompare(a.CodeHash, code[:]) == 1 && v.o.Clock().UnixMilli() < a.CodeEndsMS
	}
	if !good(t.account) {
		if err := v.failed(ctx, t, "one-time code"); err != nil {
			return err
		}
		return v.refuse(errCode, "begin", nil)
	}
	phc, err := v.hasher.hash(ctx, passphrase)
	if err != nil {
		return err
	}
	s, err := v.letIn(ctx, t, "passphrase", func(tx *store.Tx, a *store.Account) (bool, error) {
		if !good(a) {
			return false, nil
		}
		a.CodeHash, a.Passphrase, a.ChangedMS = nil, phc, v.o.Clock().UnixMilli()
		if _, err := EndSessions(tx, a.Staff, syncengine.ID{}, "passphrase set"); err != nil {
			return false, err
		}
		return true, tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PASSPHRASE_SET, Person: a.Staff[:], Code: "one-time code"})
	})
	if err != nil {
		return v.refuse(err, "begin", nil)
	}
	return v.issue(t.org, s)
}

// passphraseForm shows the form that changes the passphrase.
func (v *visit) passphraseForm() error {
	if v.who == nil || !v.who.strong {
		return v.next("/signin")
	}
	v.show(http.StatusOK, "passphrase", nil)
	return nil
}

// changePassphrase sets a new passphrase for who knows the old one, and ends all other
// sessions.
func (v *visit) changePassphrase() error {
	if v.who == nil || !v.who.strong {
		return v.next("/signin")
	}
	passphrase, err := v.newPassphrase(v.who.Account.Login)
	if err != nil {
		return v.refuse(err, "passphrase", nil)
	}
	old, err := v.again(v.r.PostFormValue("passphrase"))
	if err != nil {
		return v.refuse(err, "passphrase", nil)
	}
	phc, err := v.hasher.hash(v.r.Context(), passphrase)
	if err != nil {
		return err
	}
	var s *issued
	err = v.store.Write(v.r.Context(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		s = nil
		a, session, err := v.still(tx)
		if err != nil || a == nil || a.Passphrase != old {
			return err
		}
		a.Passphrase, a.CodeHash, a.ChangedMS = phc, nil, v.o.Clock().UnixMilli()
		if err := tx.SaveAccount(a); err != nil {
			return err
		}
		if _, err := EndSessions(tx, a.Staff, session.ID, "passphrase set"); err != nil {
			return err
		}
		if err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PASSPHRASE_SET, Person: a.Staff[:], Subject: session.ID[:]}); err != nil {
			return err
		}
		s, err = v.renew(tx, v.who.Org, session, session.Way, true)
		return err
	})
	if err != nil {
		return err
	}
	if s == nil {
		return v.refuse(errAgain, "passphrase", nil)
	}
	if err := v.setCookies(v.w, v.who.Org, s); err != nil {
		return err
	}
	v.who.Session = s.Session
	return v.sessions(http.StatusOK, map[string]any{"Done": "passphraseSet"})
}

// still returns the account and the session of who asks, as they are in a transaction; nil
// where the session has ended meanwhile.
func (v *visit) still(tx *store.Tx) (*store.Account, *store.Session, error) {
	_, hash := v.tokenOf(v.r)
	who, err := v.holds(tx, v.who.Org, hash, v.o.Clock().UnixMilli())
	if err != nil || who == nil {
		return nil, nil, err
	}
	return who.Account, who.Session, nil
}

// again asks for the passphrase of who has signed in, before something that a session alone
// does not do, and returns its hash as it was compared.
func (v *visit) again(passphrase string) (stored string, err error) {
	ctx, org := v.r.Context(), v.who.Org
	counts := []bucket{perChange.of(org, "change", v.who.Staff.String())}
	err = v.charge(counts)
	if err != nil {
		return "", err
	}
	stored = v.who.Account.Passphrase
	ok, _, err := v.hasher.verify(ctx, stored, passphrase)
	if err != nil {
		return "", err
	}
	if !ok {
		if err := v.failed(ctx, &try{org: org, account: v.who.Account, counts: counts}, "passphrase again"); err != nil {
			return "", err
		}
		return "", errAgain
	}
	return stored, v.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error { return refund(tx, counts, v.o.Clock().UnixMilli()) })
}

// charge counts a try of who has signed in.
func (v *visit) charge(counts []bucket) error {
	var refused error
	err := v.store.Write(v.r.Context(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		refused = nil
		wait, err := charge(tx, counts, v.o.Clock().UnixMilli())
		if wait > 0 {
			refused = tooOften(wait)
		}
		return err
	})
	if err != nil {
		return err
	}
	if refused != nil {
		v.o.Refused(v.r.Context(), "too many sign-ins")
	}
	return refused
}
