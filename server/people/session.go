package people

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Names of cookies. The prefix makes a browser take them from this host alone, over TLS.
const (
	sessionCookie = "__Host-tandem-session"
	knownCookie   = "__Host-tandem-known-"
)

const (
	tokenSize = 32
	// knownLife is how long a browser is known.
	knownLife = 180 * 24 * time.Hour
	// skew is how far apart the clocks of servers on one database may be.
	skew = 5 * time.Minute
)

// Person is who has signed in, as of now.
type Person struct {
	// Org and Staff, and the session.
	Org     *store.Org
	Staff   syncengine.ID
	Session *store.Session
	// Principal is what the person may do.
	Principal *syncengine.Principal
	// Account is what the person signs in with.
	Account *store.Account

	// factor: there is a second one. strong: none is outstanding.
	factor, strong bool
}

// FollowHeader marks a request that a page makes by itself, to show what is new: nobody
// uses the browser for it, so it keeps no session alive.
const FollowHeader = "Tandem-Follow"

type personKey struct{}

// FromContext returns who has signed in, as Require has found out; nil for nobody.
func FromContext(ctx context.Context) *Person {
	p, _ := ctx.Value(personKey{}).(*Person)
	return p
}

// Require lets in who has signed in, with everything that is asked for, and whose form is
// this site's own. A browser that asks for a page is sent to the sign-in; what else asks is
// told 401.
func (p *People) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.origins.Check(r); err != nil {
			p.o.Refused(r.Context(), "form of another site")
			http.Error(w, "this form was sent from another site: open the page itself", http.StatusForbidden)
			return
		}
		who, err := p.person(r)
		switch {
		case err != nil:
			p.o.Log.Error().Err(err).Msg("session not read")
			http.Error(w, "the server cannot look after sessions at the moment: try again later", http.StatusServiceUnavailable)
		case who != nil && who.strong:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), personKey{}, who)))
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/signin?to="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			http.Error(w, "sign in first", http.StatusUnauthorized)
		}
	})
}

// person returns whose session a request is of; nil for nobody's. The second factor may
// be outstanding.
func (p *People) person(r *http.Request) (*Person, error) {
	org, hash := p.tokenOf(r)
	if org == nil {
		return nil, nil
	}
	now := p.o.Clock().UnixMilli()
	var who *Person
	err := p.store.ReadPeople(r.Context(), org.ID, func(view store.PeopleView) (err error) {
		who, err = p.holds(view, org, hash, now)
		return err
	})
	if err != nil || who == nil {
		return nil, err
	}
	// So coarse that a click does not cost a write, so fine that nobody notices.
	if r.Header.Get(FollowHeader) == "" && now-who.Session.SeenMS >= min(p.o.Idle/10, time.Minute).Milliseconds() {
		who.Session.SeenMS = now
		err = p.store.Write(r.Context(), org.ID, 1, func(tx *store.Tx) error { return tx.SeeSession(who.Session.ID, now) })
	}
	return who, err
}

// tokenOf returns the org that the token of a request names, and the token's hash; nil for
// none.
func (p *People) tokenOf(r *http.Request) (*store.Org, syncengine.Hash) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil, syncengine.Hash{}
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil || len(raw) != len(syncengine.ID{})+tokenSize {
		return nil, syncengine.Hash{}
	}
	org, err := p.store.Org(r.Context(), syncengine.ID(raw[:16]))
	if err != nil {
		return nil, syncengine.Hash{}
	}
	return org, sha256.Sum256(raw)
}

// holds returns whose session a token is of, if it is good now.
func (p *People) holds(view store.PeopleView, org *store.Org, hash syncengine.Hash, nowMS int64) (*Person, error) {
	s, err := view.Session(hash)
	if err != nil || s == nil {
		return nil, err
	}
	head, err := view.Head()
	if err != nil {
		return nil, err
	}
	if s.Epoch != head.Epoch || nowMS >= s.EndsMS || nowMS-s.SeenMS >= p.o.Idle.Milliseconds() || s.CreatedMS > nowMS+skew.Milliseconds() {
		return nil, nil
	}
	who := &Person{Org: org, Staff: s.Staff, Session: s}
	if who.Account, err = view.Account(s.Staff); err != nil || who.Account == nil || who.Account.Disabled {
		return nil, err
	}
	if who.Principal, err = principal(view, org, s.Staff); err != nil || len(who.Principal.Roles) == 0 {
		return nil, err
	}
	if who.factor, err = hasFactor(view, who.Account); err != nil {
		return nil, err
	}
	who.strong = s.Complete && (strong(s.Way) || !p.needs(who.Principal) && !who.factor)
	return who, nil
}

// hasFactor reports whether an account has a second factor.
func hasFactor(view store.PeopleView, a *store.Account) (bool, error) {
	if a.TOTP != nil {
		return true, nil
	}
	keys, err := view.Passkeys(a.Staff)
	return len(keys) > 0, err
}

// needs reports whether a person needs a second factor.
func (p *People) needs(who *syncengine.Principal) bool {
	return p.o.SecondFactor == Everybody || who.HasRole("admin")
}

// strong reports whether a way to sign in has two factors.
func strong(way string) bool { return strings.Contains(way, "+") }

// beginSession begins a session and returns it with its token. first is what was shown.
func (p *People) beginSession(tx *store.Tx, org *store.Org, a *store.Account, who *syncengine.Principal, first, browser string) (*issued, error) {
	now := p.o.Clock().UnixMilli()
	id, err := syncengine.NewID(now, p.rand)
	if err != nil {
		return nil, err
	}
	head, err := tx.Head()
	if err != nil {
		return nil, err
	}
	factor, err := hasFactor(tx, a)
	if err != nil {
		return nil, err
	}
	if err := tx.PruneSessions(now, now-p.o.Idle.Milliseconds()); err != nil {
		return nil, err
	}
	s := &store.Session{ID: id, Staff: a.Staff, Epoch: head.Epoch, Way: first, Browser: browser, CreatedMS: now, SeenMS: now}
	out, err := p.renew(tx, org, s, first, strong(first) || !factor && !p.needs(who))
	out.Factor = factor
	return out, err
}

// issued is a session with its token, which is told once.
type issued struct {
	*store.Session

	// Token is what the cookie holds.
	Token string
	// Factor: the person has a second factor.
	Factor bool
}

// renew gives a session a new token, as it stands after a step of the sign-in, and notes it.
func (p *People) renew(tx *store.Tx, org *store.Org, s *store.Session, way string, complete bool) (*issued, error) {
	now := p.o.Clock().UnixMilli()
	raw, err := token(p.rand, tokenSize)
	if err != nil {
		return &issued{}, err
	}
	raw = append(org.ID[:len(org.ID):len(org.ID)], raw...)
	next := *s
	next.Hash, next.Way, next.SeenMS = sha256.Sum256(raw), way, now
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_FIRST_FACTOR, Person: s.Staff[:], Subject: s.ID[:], Code: way}
	switch {
	case s.Complete:
		// It goes on, and ends when it would have.
		e.Act = tandemv1.AuditAct_AUDIT_ACT_SIGNED_IN
		if s.Way == way {
			e = nil
		}
	case complete:
		e.Act = tandemv1.AuditAct_AUDIT_ACT_SIGNED_IN
		next.Complete, next.CreatedMS, next.EndsMS = true, now, now+p.o.Absolute.Milliseconds()
	default:
		next.EndsMS = now + pendingLife.Milliseconds()
	}
	if err := tx.SaveSession(&next); err != nil {
		return &issued{}, err
	}
	if e != nil {
		if err := tx.Audit(e); err != nil {
			return &issued{}, err
		}
	}
	return &issued{Session: &next, Token: base64.RawURLEncoding.EncodeToString(raw)}, nil
}

// EndSessions ends the sessions of a person but one, which may be the zero id, and returns
// how many those were. by says why, for the audit log.
func EndSessions(tx *store.Tx, staff, but syncengine.ID, by string) (ended int, err error) {
	all, err := tx.Sessions(staff)
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if s.ID == but {
			continue
		}
		ended++
		if err := endSession(tx, s, by); err != nil {
			return 0, err
		}
	}
	return ended, nil
}

func endSession(tx *store.Tx, s *store.Session, by string) error {
	if err := tx.EndSession(s.ID); err != nil {
		return err
	}
	return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SESSION_ENDED, Person: s.Staff[:], Subject: s.ID[:], Code: by})
}

// setCookies gives a browser the token of a session, and notes on it who has signed in.
func (p *People) setCookies(w http.ResponseWriter, org *store.Org, s *issued) error {
	http.SetCookie(w, cookie(sessionCookie, s.Token, 0))
	if !s.Complete {
		return nil
	}
	raw, err := token(p.rand, 16)
	if err != nil {
		return err
	}
	value := base64.RawURLEncoding.EncodeToString(append(raw, knownMAC(org, s.Staff, raw)...))
	http.SetCookie(w, cookie(knownName(org, s.Staff), value, knownLife))
	return nil
}

// cookie is one for this host; life is 0 for until the browser ends, and below 0 for none.
func cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// forget takes the token of a session from a browser.
func forget(w http.ResponseWriter) {
	http.SetCookie(w, cookie(sessionCookie, "", -time.Second))
}

// knownName is the name of the cookie of a browser that a person has signed in with: a
// browser may be that of several people.
func knownName(org *store.Org, staff syncengine.ID) string {
	return knownCookie + fmt.Sprintf("%x", knownMAC(org, staff, []byte("name"))[:8])
}

func knownMAC(org *store.Org, staff syncengine.ID, random []byte) []byte {
	mac := hmac.New(sha256.New, org.Derive("known browsers"))
	mac.Write(staff[:])
	mac.Write(random)
	return mac.Sum(nil)
}

// known returns what tells a browser apart that a person has signed in with; empty for one
// that is not known.
func known(r *http.Request, org *store.Org, staff syncengine.ID) string {
	c, err := r.Cookie(knownName(org, staff))
	if err != nil {
		return ""
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil || len(raw) != 16+sha256.Size || !hmac.Equal(raw[16:], knownMAC(org, staff, raw[:16])) {
		return ""
	}
	return string(raw[:16])
}

// browserOf is what a browser says of itself, short enough for a list.
func browserOf(r *http.Request) string {
	agent := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, r.UserAgent())
	system, program := "", ""
	for _, s := range []struct{ in, name string }{{"Windows", "Windows"}, {"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Mac OS", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}} {
		if system == "" && strings.Contains(agent, s.in) {
			system = s.name
		}
	}
	for _, s := range []struct{ in, name string }{{"Edg/", "Edge"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}} {
		if program == "" && strings.Contains(agent, s.in) {
			program = s.name
		}
	}
	return strings.TrimSpace(program + " " + system)
}
