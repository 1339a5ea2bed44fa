package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Account is a person's right to sign in with a browser.
type Account struct {
	// Staff is the record id of the person; Login the name to sign in with, folded.
	Staff syncengine.ID
	Login string
	// Passphrase is a PHC string, empty for none.
	Passphrase string
	// CodeHash is that of a one-time code, nil for none; it ends at CodeEndsMS.
	CodeHash   []byte
	CodeEndsMS int64
	// Disabled: nobody signs in.
	Disabled bool
	// TOTP is the sealed secret of an authenticator, nil for none; TOTPStep is the newest
	// step that a code of it was taken of.
	TOTP     []byte
	TOTPStep int64
	// CreatedMS and ChangedMS: when it was made, and when what one signs in with changed.
	CreatedMS, ChangedMS int64
}

// Session is one sign-in of a browser.
type Session struct {
	// ID names it in lists; Hash is SHA-256 of its token.
	ID   syncengine.ID
	Hash syncengine.Hash
	// Staff is whose it is; Epoch that of the database in which it began.
	Staff, Epoch syncengine.ID
	// Way is what was shown to sign in, in words of this program. Complete: nothing is
	// outstanding.
	Way      string
	Complete bool
	// Browser is what it says of itself, shortened.
	Browser string
	// CreatedMS, SeenMS and EndsMS: when it began, was last used, and ends at the latest.
	CreatedMS, SeenMS, EndsMS int64
}

// Passkey is a credential of a person's authenticator.
type Passkey struct {
	// ID is the credential's own.
	ID []byte
	// Label is what the person calls it.
	Label string
	// Credential is what is kept of it.
	Credential []byte
	// CreatedMS and UsedMS: when it was added and last used.
	CreatedMS, UsedMS int64
}

// PeopleView reads accounts and sessions, in the snapshot or transaction of the records
// that it reads too.
type PeopleView interface {
	syncengine.ServerView
	// Account returns a person's account, nil for none; AccountByLogin that of a login.
	Account(staff syncengine.ID) (*Account, error)
	AccountByLogin(login string) (*Account, error)
	// Session returns the session of a token's hash, nil for none; Sessions those of a
	// person, the newest first, or of everybody for the zero id.
	Session(token syncengine.Hash) (*Session, error)
	Sessions(staff syncengine.ID) ([]*Session, error)
	// Tries returns when the count under a key will be empty, 0 for empty.
	Tries(key syncengine.Hash) (emptyMS int64, err error)
	// RecoveryCodes counts the recovery codes of a person that are still good.
	RecoveryCodes(staff syncengine.ID) (int, error)
	// Passkeys returns those of a person, the oldest first.
	Passkeys(staff syncengine.ID) ([]*Passkey, error)
}

var (
	_ PeopleView = (*view)(nil)
	_ PeopleView = (*Tx)(nil)
)

// ReadPeople runs f over one snapshot of an org. The view must not be used after f
// returns.
func (s *Store) ReadPeople(ctx context.Context, org syncengine.ID, f func(PeopleView) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error { return f(v) })
}

// FindAccount returns the org that a login belongs to; nil where there is none. The first
// org that has it counts.
func (s *Store) FindAccount(ctx context.Context, login string) (*Org, error) {
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range orgs {
		var found bool
		err := s.snapshot(ctx, o.num, func(c *conn) (err error) {
			var one int
			found, err = c.one("SELECT 1 FROM account WHERE org = $1 AND login = $2", []any{o.num, textArg(login)}, &one)
			return err
		})
		if err != nil {
			return nil, err
		}
		if found {
			return o, nil
		}
	}
	return nil, nil
}

// Accounts returns the accounts of an org in the order of their logins.
func (s *Store) Accounts(ctx context.Context, org syncengine.ID) (all []*Account, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		return v.accounts("ORDER BY login", []any{o.num}, func(a *Account) { all = append(all, a) })
	})
	return all, err
}

const accountColumns = "staff, login, passphrase, code_hash, code_ends_ms, disabled, totp, totp_step, created_ms, changed_ms"

func (v *view) accounts(tail string, args []any, f func(*Account)) error {
	return v.c.each("SELECT "+accountColumns+" FROM account WHERE org = $1 "+tail, args, func(rows *sql.Rows) error {
		a := &Account{}
		var disabled int64
		err := rows.Scan((*scanID)(&a.Staff), &a.Login, &a.Passphrase, &a.CodeHash, &a.CodeEndsMS, &disabled, &a.TOTP, &a.TOTPStep, &a.CreatedMS, &a.ChangedMS)
		a.Disabled = disabled != 0
		f(a)
		return err
	})
}

// Account implements PeopleView.
func (v *view) Account(staff syncengine.ID) (found *Account, err error) {
	err = v.accounts("AND staff = $2", []any{v.org.num, staff[:]}, func(a *Account) { found = a })
	return found, err
}

// AccountByLogin implements PeopleView.
func (v *view) AccountByLogin(login string) (found *Account, err error) {
	err = v.accounts("AND login = $2", []any{v.org.num, textArg(login)}, func(a *Account) { found = a })
	return found, err
}

// SaveAccount adds an account or stores what became of it.
func (tx *Tx) SaveAccount(a *Account) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO account (org, `+accountColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (org, staff) DO UPDATE SET login = excluded.login, passphrase = excluded.passphrase, code_hash = excluded.code_hash,
		code_ends_ms = excluded.code_ends_ms, disabled = excluded.disabled, totp = excluded.totp, totp_step = excluded.totp_step,
		changed_ms = excluded.changed_ms`,
		tx.org.num, a.Staff[:], textArg(a.Login), a.Passphrase, bytesArg(a.CodeHash), a.CodeEndsMS, boolArg(a.Disabled),
		bytesArg(a.TOTP), a.TOTPStep, a.CreatedMS, a.ChangedMS)
}

const sessionColumns = "id, hash, staff, epoch, way, complete, browser, created_ms, seen_ms, ends_ms"

func (v *view) sessions(tail string, args []any, f func(*Session)) error {
	return v.c.each("SELECT "+sessionColumns+" FROM session WHERE org = $1 "+tail, args, func(rows *sql.Rows) error {
		s := &Session{}
		var complete int64
		err := rows.Scan((*scanID)(&s.ID), (*scanHash)(&s.Hash), (*scanID)(&s.Staff), (*scanID)(&s.Epoch), &s.Way, &complete, &s.Browser,
			&s.CreatedMS, &s.SeenMS, &s.EndsMS)
		s.Complete = complete != 0
		f(s)
		return err
	})
}

// Session implements PeopleView.
func (v *view) Session(token syncengine.Hash) (found *Session, err error) {
	err = v.sessions("AND hash = $2", []any{v.org.num, token[:]}, func(s *Session) { found = s })
	return found, err
}

// Sessions implements PeopleView.
func (v *view) Sessions(staff syncengine.ID) (all []*Session, err error) {
	add := func(s *Session) { all = append(all, s) }
	if staff.IsZero() {
		return all, v.sessions("ORDER BY created_ms DESC, id", []any{v.org.num}, add)
	}
	err = v.sessions("AND staff = $2 ORDER BY created_ms DESC, id", []any{v.org.num, staff[:]}, add)
	return all, err
}

// SaveSession adds a session or stores what became of it.
func (tx *Tx) SaveSession(s *Session) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO session (org, `+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (org, id) DO UPDATE SET hash = excluded.hash, way = excluded.way, complete = excluded.complete,
		seen_ms = excluded.seen_ms, ends_ms = excluded.ends_ms`,
		tx.org.num, s.ID[:], s.Hash[:], s.Staff[:], s.Epoch[:], s.Way, boolArg(s.Complete), textArg(s.Browser), s.CreatedMS, s.SeenMS, s.EndsMS)
}

// SeeSession notes that a session was used.
func (tx *Tx) SeeSession(id syncengine.ID, seenMS int64) error {
	tx.writes++
	return tx.c.exec("UPDATE session SET seen_ms = $1 WHERE org = $2 AND id = $3", seenMS, tx.org.num, id[:])
}

// EndSession removes a session.
func (tx *Tx) EndSession(id syncengine.ID) error {
	tx.writes++
	return tx.c.exec("DELETE FROM session WHERE org = $1 AND id = $2", tx.org.num, id[:])
}

// PruneSessions removes sessions that ended, or that nobody has used, before a time.
func (tx *Tx) PruneSessions(nowMS, unseenMS int64) error {
	tx.writes++
	return tx.c.exec("DELETE FROM session WHERE org = $1 AND (ends_ms <= $2 OR seen_ms <= $3)", tx.org.num, nowMS, unseenMS)
}

// Tries implements PeopleView.
func (v *view) Tries(key syncengine.Hash) (emptyMS int64, err error) {
	_, err = v.c.one("SELECT empty_ms FROM signin_tries WHERE org = $1 AND key = $2", []any{v.org.num, key[:]}, &emptyMS)
	return emptyMS, err
}

// SetTries stores when the count under a key will be empty, 0 for now.
func (tx *Tx) SetTries(key syncengine.Hash, emptyMS int64) error {
	tx.writes++
	if emptyMS == 0 {
		return tx.c.exec("DELETE FROM signin_tries WHERE org = $1 AND key = $2", tx.org.num, key[:])
	}
	return tx.c.exec(`INSERT INTO signin_tries (org, key, empty_ms) VALUES ($1, $2, $3)
		ON CONFLICT (org, key) DO UPDATE SET empty_ms = excluded.empty_ms`, tx.org.num, key[:], emptyMS)
}

// PruneTries removes counts that are empty.
func (tx *Tx) PruneTries(nowMS int64) error {
	tx.writes++
	return tx.c.exec("DELETE FROM signin_tries WHERE org = $1 AND empty_ms <= $2", tx.org.num, nowMS)
}

// RecoveryCodes implements PeopleView.
func (v *view) RecoveryCodes(staff syncengine.ID) (n int, err error) {
	_, err = v.c.one("SELECT COUNT(*) FROM account_recovery WHERE org = $1 AND staff = $2", []any{v.org.num, staff[:]}, &n)
	return n, err
}

// SetRecoveryCodes takes the place of the recovery codes that a person has.
func (tx *Tx) SetRecoveryCodes(staff syncengine.ID, hashes []syncengine.Hash) error {
	tx.writes++
	if err := tx.c.exec("DELETE FROM account_recovery WHERE org = $1 AND staff = $2", tx.org.num, staff[:]); err != nil {
		return err
	}
	for _, h := range hashes {
		if err := tx.c.exec("INSERT INTO account_recovery (org, staff, hash) VALUES ($1, $2, $3)", tx.org.num, staff[:], h[:]); err != nil {
			return err
		}
	}
	return nil
}

// UseRecoveryCode removes a recovery code, and reports whether it was there.
func (tx *Tx) UseRecoveryCode(staff syncengine.ID, hash syncengine.Hash) (bool, error) {
	var one int
	ok, err := tx.c.one("SELECT 1 FROM account_recovery WHERE org = $1 AND staff = $2 AND hash = $3", []any{tx.org.num, staff[:], hash[:]}, &one)
	if err != nil || !ok {
		return false, err
	}
	tx.writes++
	return true, tx.c.exec("DELETE FROM account_recovery WHERE org = $1 AND staff = $2 AND hash = $3", tx.org.num, staff[:], hash[:])
}

// Passkeys implements PeopleView.
func (v *view) Passkeys(staff syncengine.ID) (all []*Passkey, err error) {
	err = v.c.each("SELECT id, label, credential, created_ms, used_ms FROM account_passkey WHERE org = $1 AND staff = $2 ORDER BY created_ms, id",
		[]any{v.org.num, staff[:]}, func(rows *sql.Rows) error {
			p := &Passkey{}
			all = append(all, p)
			return rows.Scan(&p.ID, &p.Label, &p.Credential, &p.CreatedMS, &p.UsedMS)
		})
	return all, err
}

// SavePasskey adds a passkey or stores what became of it.
func (tx *Tx) SavePasskey(staff syncengine.ID, p *Passkey) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO account_passkey (org, staff, id, label, credential, created_ms, used_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (org, staff, id) DO UPDATE SET label = excluded.label, credential = excluded.credential, used_ms = excluded.used_ms`,
		tx.org.num, staff[:], p.ID, textArg(p.Label), p.Credential, p.CreatedMS, p.UsedMS)
}

// RemovePasskeys removes the passkeys of a person: one, or all for a nil id.
func (tx *Tx) RemovePasskeys(staff syncengine.ID, id []byte) error {
	tx.writes++
	if id == nil {
		return tx.c.exec("DELETE FROM account_passkey WHERE org = $1 AND staff = $2", tx.org.num, staff[:])
	}
	return tx.c.exec("DELETE FROM account_passkey WHERE org = $1 AND staff = $2 AND id = $3", tx.org.num, staff[:], id)
}
