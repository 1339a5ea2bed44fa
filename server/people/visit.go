package people

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// visit is one request of a browser for one of the pages.
type visit struct {
	*People

	w   http.ResponseWriter
	r   *http.Request
	who *Person
}

// page makes a handler of what answers a visit.
func (p *People) page(answer func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{People: p, w: w, r: r}
		var err error
		if v.who, err = p.person(r); err == nil {
			err = answer(v)
		}
		if err == nil || r.Context().Err() != nil {
			return
		}
		p.o.Log.Error().Err(err).Msg("a page of the sign-in failed")
		v.show(http.StatusServiceUnavailable, "failed", nil)
	}
}

// refusal is an answer that a person is told: a word of words.go, and the status.
type refusal struct {
	status int
	word   string
	wait   time.Duration
}

// Error implements error.
func (r *refusal) Error() string { return r.word }

// What a person may be told.
var (
	errSignIn = &refusal{status: http.StatusForbidden, word: "wrong"}
	errCode   = &refusal{status: http.StatusForbidden, word: "wrongCode"}
	errAgain  = &refusal{status: http.StatusForbidden, word: "wrongPassphrase"}
	errTwice  = &refusal{status: http.StatusUnprocessableEntity, word: "differ"}
)

// tooOften is the refusal of who must wait.
func tooOften(wait time.Duration) *refusal {
	return &refusal{status: http.StatusTooManyRequests, word: "tooOften", wait: wait}
}

// refuse shows a form again, with what was wrong.
func (v *visit) refuse(err error, page string, data map[string]any) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	if data == nil {
		data = map[string]any{}
	}
	data["Error"] = r.word
	if r.wait > 0 {
		minutes := int((r.wait + time.Minute - 1) / time.Minute)
		data["Minutes"] = minutes
		v.w.Header().Set("Retry-After", strconv.Itoa(int((r.wait+time.Second-1)/time.Second)))
	}
	v.show(r.status, page, data)
	return nil
}

// refusedPassphrase is what a person is told of a passphrase that is not taken.
func refusedPassphrase(err error) error {
	var word string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrShort):
		word = "short"
	case errors.Is(err, ErrLong):
		word = "long"
	default:
		word = "common"
	}
	return &refusal{status: http.StatusUnprocessableEntity, word: word}
}

// to is where a person wanted to go: a path of this site, empty for none.
func (v *visit) to() string {
	to := v.r.FormValue("to")
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return ""
	}
	return to
}

// next sends the browser on: to the next step of the sign-in, or where the person wanted to go.
func (v *visit) next(path string) error {
	to := v.to()
	switch {
	case path == "" && to != "":
		path = to
	case path == "":
		path = "/signin"
	case to != "":
		path += "?to=" + url.QueryEscape(to)
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// step is the page of what is outstanding; empty for nothing.
func step(complete, factor bool) string {
	switch {
	case complete:
		return ""
	case factor:
		return "/signin/factor"
	}
	return "/signin/factor/new"
}

// issue hands a session to the browser and sends it on.
func (v *visit) issue(org *store.Org, s *issued) error {
	if err := v.setCookies(v.w, org, s); err != nil {
		return err
	}
	return v.next(step(s.Complete, s.Factor))
}

// home shows the sign-in, or to whom has signed in the sessions.
func (v *visit) home() error {
	switch {
	case v.who == nil:
		v.show(http.StatusOK, "signin", v.signInData())
		return nil
	case !v.who.strong:
		return v.next(step(false, v.who.factor))
	case v.to() != "":
		return v.next("")
	}
	return v.sessions(http.StatusOK, nil)
}

// sessions shows a person the own sessions.
func (v *visit) sessions(status int, data map[string]any) error {
	if data == nil {
		data = map[string]any{}
	}
	type row struct {
		ID, Browser, Way string
		Began, Seen      time.Time
		Here, Pending    bool
	}
	type passkey struct {
		ID, Label string
		Used      time.Time
	}
	var rows []row
	var mine []passkey
	err := v.store.ReadPeople(v.r.Context(), v.who.Org.ID, func(view store.PeopleView) error {
		rows = nil
		name, err := nameOf(view, v.who.Staff)
		if err != nil {
			return err
		}
		data["Name"] = name
		if data["Recovery"], err = view.RecoveryCodes(v.who.Staff); err != nil {
			return err
		}
		keys, err := view.Passkeys(v.who.Staff)
		if err != nil {
			return err
		}
		mine = nil
		for _, k := range keys {
			mine = append(mine, passkey{ID: base64.RawURLEncoding.EncodeToString(k.ID), Label: k.Label, Used: time.UnixMilli(k.UsedMS).UTC()})
		}
		all, err := view.Sessions(v.who.Staff)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.EndsMS <= v.o.Clock().UnixMilli() {
				continue
			}
			rows = append(rows, row{
				ID: s.ID.String(), Browser: s.Browser, Way: s.Way, Began: time.UnixMilli(s.CreatedMS).UTC(), Seen: time.UnixMilli(s.SeenMS).UTC(),
				Here: s.ID == v.who.Session.ID, Pending: !s.Complete,
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	data["Sessions"], data["Factor"], data["Keys"], data["Passkeys"] = rows, v.who.factor, mine, v.passkeys != nil
	v.show(status, "home", data)
	return nil
}

// signIn takes a login and a passphrase.
func (v *visit) signIn() error {
	org, s, err := v.passphrase(v.r.Context(), v.r.PostFormValue("login"), v.r.PostFormValue("passphrase"))
	if err != nil {
		return v.refuse(err, "signin", v.signInData())
	}
	return v.issue(org, s)
}

// try is a try to sign in to an account, which may not be there.
type try struct {
	org     *store.Org
	account *store.Account
	counts  []bucket
}

// open counts a try for a login and finds its account. The org of an account that is not
// there is the first.
func (v *visit) open(ctx context.Context, login, what string, count bucket) (*try, error) {
	login = FoldLogin(login)
	if len(login) > 256 {
		login = login[:256]
	}
	t := &try{}
	var err error
	if t.org, err = v.store.FindAccount(ctx, login); err != nil {
		return nil, err
	}
	if t.org == nil {
		orgs, err := v.store.Orgs(ctx)
		if err != nil {
			return nil, err
		}
		if len(orgs) == 0 {
			return nil, errSignIn
		}
		t.org = orgs[0]
	}
	now, address := v.o.Clock().UnixMilli(), v.address(v.r)
	look := func(view store.PeopleView) (err error) {
		if t.account, err = view.AccountByLogin(login); err != nil {
			return err
		}
		t.counts = []bucket{count.of(t.org, what, login)}
		if t.account != nil && what == "account" {
			if browser := known(v.r, t.org, t.account.Staff); browser != "" {
				t.counts[0] = perBrowser.of(t.org, "browser", browser)
			}
		}
		if address != "" {
			t.counts = append(t.counts, perPair.of(t.org, what+" pair", login, address), perAddress.of(t.org, "address", address))
		}
		return nil
	}
	// Whoever comes too fast costs no write.
	var wait time.Duration
	err = v.store.ReadPeople(ctx, t.org.ID, func(view store.PeopleView) (err error) {
		if err = look(view); err == nil {
			wait, err = spent(view, t.counts, now)
		}
		return err
	})
	if err == nil && wait == 0 {
		err = v.store.Write(ctx, t.org.ID, 1, func(tx *store.Tx) (err error) {
			if err = look(tx); err == nil {
				wait, err = charge(tx, t.counts, now)
			}
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		v.o.Refused(ctx, "too many sign-ins")
		return nil, tooOften(wait)
	}
	return t, nil
}

// failed notes that a try came to nothing. For an account that is not there as much is
// written as for one that is.
func (v *visit) failed(ctx context.Context, t *try, where string) error {
	err := v.store.Write(ctx, t.org.ID, 1, func(tx *store.Tx) error {
		if t.account == nil {
			empty, err := tx.Tries(t.counts[0].key)
			if err != nil {
				return err
			}
			return tx.SetTries(t.counts[0].key, empty)
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SIGN_IN_FAILED, Person: t.account.Staff[:], Code: where})
	})
	if t.account == nil {
		v.o.Refused(ctx, "sign-in to no account")
	}
	return err
}

// passphrase begins a session for who knows an account's passphrase.
func (v *visit) passphrase(ctx context.Context, login, passphrase string) (*store.Org, *issued, error) {
	t, err := v.open(ctx, login, "account", perAccount)
	if err != nil {
		return nil, nil, err
	}
	stored := ""
	if t.account != nil && !t.account.Disabled {
		stored = t.account.Passphrase
	}
	ok, stale, err := v.hasher.verify(ctx, stored, passphrase)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		if err := v.failed(ctx, t, "passphrase"); err != nil {
			return nil, nil, err
		}
		return nil, nil, errSignIn
	}
	renewed := ""
	if stale {
		if renewed, err = v.hasher.hash(ctx, passphrase); err != nil {
			return nil, nil, err
		}
	}
	s, err := v.letIn(ctx, t, "passphrase", func(_ *store.Tx, a *store.Account) (bool, error) {
		if a.Passphrase != stored {
			return false, nil
		}
		if renewed != "" {
			a.Passphrase = renewed
		}
		return true, nil
	})
	return t.org, s, err
}

// letIn begins a session for the person of a try, if check finds the account to be still
// the one that was looked at.
func (v *visit) letIn(ctx context.Context, t *try, way string, check func(*store.Tx, *store.Account) (bool, error)) (s *issued, err error) {
	browser := browserOf(v.r)
	err = v.store.Write(ctx, t.org.ID, 1, func(tx *store.Tx) error {
		s = nil
		a, err := tx.Account(t.account.Staff)
		if err != nil || a == nil || a.Disabled {
			return err
		}
		who, err := principal(tx, t.org, a.Staff)
		if err != nil || len(who.Roles) == 0 {
			return err
		}
		if ok, err := check(tx, a); err != nil || !ok {
			return err
		}
		if err := refund(tx, t.counts, v.o.Clock().UnixMilli()); err != nil {
			return err
		}
		if err := tx.SaveAccount(a); err != nil {
			return err
		}
		s, err = v.beginSession(tx, t.org, a, who, way, browser)
		return err
	})
	if err != nil {
		return nil, err
	}
	if s == nil {
		if err := v.failed(ctx, t, "account not in use"); err != nil {
			return nil, err
		}
		return nil, errSignIn
	}
	return s, nil
}

// end ends one of the person's own sessions, or all others.
func (v *visit) end() error {
	if v.who == nil || !v.who.strong {
		return v.next("/signin")
	}
	id, err := syncengine.ParseID(v.r.PostFormValue("session"))
	all := v.r.PostFormValue("session") == "others"
	if err != nil && !all {
		return v.next("/signin")
	}
	err = v.store.Write(v.r.Context(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		if all {
			_, err := EndSessions(tx, v.who.Staff, v.who.Session.ID, "the person")
			return err
		}
		mine, err := tx.Sessions(v.who.Staff)
		if err != nil {
			return err
		}
		for _, s := range mine {
			if s.ID == id {
				return endSession(tx, s, "the person")
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if id == v.who.Session.ID {
		forget(v.w)
	}
	return v.next("/signin")
}

// out ends the session of this browser.
func (v *visit) out() error {
	if org, hash := v.tokenOf(v.r); org != nil {
		err := v.store.Write(v.r.Context(), org.ID, 1, func(tx *store.Tx) error {
			s, err := tx.Session(hash)
			if err != nil || s == nil {
				return err
			}
			return endSession(tx, s, "signed out")
		})
		if err != nil {
			return err
		}
	}
	forget(v.w)
	v.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	http.Redirect(v.w, v.r, "/signin", http.StatusSeeOther)
	return nil
}
