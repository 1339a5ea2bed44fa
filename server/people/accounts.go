package people

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"golang.org/x/text/unicode/norm"
)

// What an operator is told.
var (
	// ErrLogin: a login cannot be that.
	ErrLogin = errors.New("a login has 2 to 64 letters, digits and . _ - + @")
	// ErrLoginTaken: somebody else has it.
	ErrLoginTaken = errors.New("that login is taken: choose another one")
	// ErrAccountThere: the person has an account.
	ErrAccountThere = errors.New("the person has an account already: reset it for a new code")
	// ErrNoAccount: the person has none.
	ErrNoAccount = errors.New("the person has no account: \"tandem admin account create\" makes one")
	// ErrNoPerson: there is no such member of staff.
	ErrNoPerson = errors.New("there is no such person, or the person has no active staff record with a role: \"tandem admin list\" shows the ids")
	// ErrNoSession: there is no such session.
	ErrNoSession = errors.New("there is no such session: it may have ended")
)

// codeLife is how long a one-time code for an account is good.
const codeLife = 24 * time.Hour

var loginForm = regexp.MustCompile(`^[\p{L}\p{N}._+@-]{2,64}$`)

// FoldLogin returns a login as it is stored and compared.
func FoldLogin(login string) string {
	return norm.NFKC.String(strings.ToLower(norm.NFKC.String(strings.TrimSpace(login))))
}

// Accounts is the administration of the accounts of an org. It may be used beside a running
// server. Each act is an entry of the audit log.
type Accounts struct {
	store *store.Store
	org   *store.Org
	now   func() time.Time
	rand  io.Reader
}

// NewAccounts returns the administration of an org's accounts; clock and random may be nil
// for the system's.
func NewAccounts(st *store.Store, org *store.Org, clock func() time.Time, random io.Reader) *Accounts {
	a := &Accounts{store: st, org: org, now: clock, rand: random}
	if a.now == nil {
		a.now = time.Now
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	return a
}

// Code is a one-time code as it is handed out; it cannot be read again.
type Code struct {
	// Code in groups for reading aloud.
	Code string
	// Login that it goes with.
	Login string
	// Expires is the end of its life.
	Expires time.Time
}

// Create makes the account of a person and returns the code for the first sign-in.
func (a *Accounts) Create(ctx context.Context, staff syncengine.ID, login string) (*Code, error) {
	login = FoldLogin(login)
	if !loginForm.MatchString(login) {
		return nil, ErrLogin
	}
	// Whoever signs in names no org.
	taken, err := a.store.FindAccount(ctx, login)
	if err != nil {
		return nil, err
	}
	if taken != nil {
		return nil, ErrLoginTaken
	}
	return a.code(ctx, staff, "made", func(tx *store.Tx, was *store.Account) (*store.Account, error) {
		if was != nil {
			return nil, ErrAccountThere
		}
		other, err := tx.AccountByLogin(login)
		if err != nil {
			return nil, err
		}
		if other != nil {
			return nil, ErrLoginTaken
		}
		return &store.Account{Staff: staff, Login: login, CreatedMS: a.now().UnixMilli()}, nil
	})
}

// Reset takes the passphrase of a person away, ends the person's sessions and returns a code
// to set a new one with. The second factor stays, unless factor says that it goes too.
func (a *Accounts) Reset(ctx context.Context, staff syncengine.ID, factor bool) (*Code, error) {
	return a.code(ctx, staff, "reset", func(tx *store.Tx, was *store.Account) (*store.Account, error) {
		if was == nil {
			return nil, ErrNoAccount
		}
		was.Passphrase = ""
		if _, err := EndSessions(tx, staff, syncengine.ID{}, "account reset"); err != nil || !factor {
			return was, err
		}
		was.TOTP, was.TOTPStep = nil, 0
		if err := errors.Join(tx.SetRecoveryCodes(staff, nil), tx.RemovePasskeys(staff, nil)); err != nil {
			return nil, err
		}
		return was, tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SECOND_FACTOR, Subject: staff[:], Code: "removed by an operator"})
	})
}

// code changes an account and gives it a new one-time code.
func (a *Accounts) code(ctx context.Context, staff syncengine.ID, how string, change func(*store.Tx, *store.Account) (*store.Account, error)) (*Code, error) {
	now := a.now()
	code, err := auth.NewCode(a.rand)
	if err != nil {
		return nil, err
	}
	hash := auth.HashCode(code)
	out := &Code{Code: code, Expires: now.Add(codeLife)}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		p, err := principal(tx, a.org, staff)
		if err != nil {
			return err
		}
		if len(p.Roles) == 0 {
			return ErrNoPerson
		}
		account, err := tx.Account(staff)
		if err != nil {
			return err
		}
		if account, err = change(tx, account); err != nil {
			return err
		}
		account.CodeHash, account.CodeEndsMS, account.ChangedMS = hash[:], out.Expires.UnixMilli(), now.UnixMilli()
		out.Login = account.Login
		if err := tx.SaveAccount(account); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ACCOUNT, Subject: staff[:], Code: how})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Disable lets a person sign in no more, until Enable, and ends the person's sessions.
func (a *Accounts) Disable(ctx context.Context, staff syncengine.ID) error {
	return a.change(ctx, staff, store.EventDisabled, func(tx *store.Tx, account *store.Account) error {
		account.Disabled, account.CodeHash = true, nil
		_, err := EndSessions(tx, staff, syncengine.ID{}, "account disabled")
		return err
	})
}

// Enable lets a person sign in again.
func (a *Accounts) Enable(ctx context.Context, staff syncengine.ID) error {
	return a.change(ctx, staff, store.EventEnabled, func(_ *store.Tx, account *store.Account) error {
		account.Disabled = false
		return nil
	})
}

// change changes an account; event says how, in the security journal first, so that it holds
// after a restore of an older database.
func (a *Accounts) change(ctx context.Context, staff syncengine.ID, event string, change func(*store.Tx, *store.Account) error) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		account, err := tx.Account(staff)
		if err != nil {
			return err
		}
		if account == nil {
			return ErrNoAccount
		}
		if err := tx.Journal(&store.JournalEvent{What: event, Person: staff.String()}); err != nil {
			return err
		}
		if err := change(tx, account); err != nil {
			return err
		}
		account.ChangedMS = a.now().UnixMilli()
		if err := tx.SaveAccount(account); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ACCOUNT, Subject: staff[:], Code: event})
	})
}

// Replay makes the account of a person what the security journal says last of it. It reports
// whether it was otherwise.
func Replay(tx *store.Tx, staff syncengine.ID, disabled bool) (changed bool, err error) {
	account, err := tx.Account(staff)
	if err != nil || account == nil || account.Disabled == disabled {
		return false, err
	}
	if account.Disabled = disabled; disabled {
		account.CodeHash = nil
		if _, err := EndSessions(tx, staff, syncengine.ID{}, "account disabled"); err != nil {
			return false, err
		}
	}
	return true, tx.SaveAccount(account)
}

// Listed is one account in a list.
type Listed struct {
	store.Account

	// Name of the person; Active: the staff record is in use.
	Name   string
	Active bool
	// Factors are the second factors; Recovery counts the recovery codes that are left.
	Factors  []string
	Recovery int
	// Sessions counts the sessions.
	Sessions int
}

// List returns the accounts in the order of their logins.
func (a *Accounts) List(ctx context.Context) (all []*Listed, err error) {
	accounts, err := a.store.Accounts(ctx, a.org.ID)
	if err != nil {
		return nil, err
	}
	err = a.store.ReadPeople(ctx, a.org.ID, func(view store.PeopleView) error {
		all = nil
		for _, account := range accounts {
			l := &Listed{Account: *account}
			l.Passphrase, l.TOTP = "", nil
			all = append(all, l)
			p, err := principal(view, a.org, account.Staff)
			if err != nil {
				return err
			}
			l.Active = len(p.Roles) > 0
			if l.Name, err = nameOf(view, account.Staff); err != nil {
				return err
			}
			if account.TOTP != nil {
				l.Factors = append(l.Factors, "authenticator")
			}
			keys, err := view.Passkeys(account.Staff)
			if err != nil {
				return err
			}
			for range keys {
				l.Factors = append(l.Factors, "passkey")
			}
			if l.Recovery, err = view.RecoveryCodes(account.Staff); err != nil {
				return err
			}
			sessions, err := view.Sessions(account.Staff)
			if err != nil {
				return err
			}
			l.Sessions = len(sessions)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, a.read(ctx, "accounts", len(all))
}

// read notes that something was listed.
func (a *Accounts) read(ctx context.Context, what string, n int) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ACCOUNTS_READ, Code: what, Count: uint64(n)})
	})
}

// Sessions returns the sessions of a person, or of everybody for the zero id, the newest
// first. Some of them may have run out.
func (a *Accounts) Sessions(ctx context.Context, staff syncengine.ID) (all []*store.Session, err error) {
	err = a.store.ReadPeople(ctx, a.org.ID, func(view store.PeopleView) (err error) {
		all, err = view.Sessions(staff)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, a.read(ctx, "sessions", len(all))
}

// EndSession ends one session.
func (a *Accounts) EndSession(ctx context.Context, id syncengine.ID) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		all, err := tx.Sessions(syncengine.ID{})
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.ID == id {
				return endSession(tx, s, "an operator")
			}
		}
		return ErrNoSession
	})
}

// EndSessions ends all sessions of a person and returns how many those were.
func (a *Accounts) EndSessions(ctx context.Context, staff syncengine.ID) (ended int, err error) {
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) (err error) {
		ended, err = EndSessions(tx, staff, syncengine.ID{}, "an operator")
		return err
	})
	return ended, err
}

// nameOf is the name of a person, as colleagues see it.
func nameOf(view store.PeopleView, staff syncengine.ID) (string, error) {
	rec, err := view.Record(staff)
	if err != nil || rec == nil {
		return "", err
	}
	msg, err := record.New().Message(&rec.Record)
	if err != nil {
		return "", err
	}
	person, ok := msg.(*tandemv1.Staff)
	if !ok {
		return "", nil
	}
	return person.GetDisplayName(), nil
}
