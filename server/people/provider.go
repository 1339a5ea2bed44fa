package people

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/tandem-response/tandem/server/store"
	"golang.org/x/oauth2"
)

// Provider is an OpenID Connect provider that people sign in at. It says who somebody is
// and never makes an account.
type Provider struct {
	// Issuer is its address, as its tokens say it.
	Issuer string
	// ClientID and ClientSecret are what it knows this server by.
	ClientID     string
	ClientSecret string `json:"-"`
	// Claim holds the login of an account; empty is "email", which must be a verified one
	// then. Any other claim must be one that people cannot set themselves.
	Claim string
	// SecondFactor: its word that a person has shown two factors ("mfa" in amr, RFC 8176)
	// counts; else the person's own second factor is asked for.
	SecondFactor bool
}

// Format implements fmt.Formatter: the secret is not printed.
func (p Provider) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "(provider "+p.Issuer+")")
}

// Check says what of a provider cannot be.
func (p *Provider) Check(origin string) error {
	u, err := url.Parse(p.Issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" && u.Hostname() != "::1") {
		return errors.New("the issuer of a provider is an https address")
	}
	if p.ClientID == "" {
		return errors.New("a provider needs the client id that it knows this server by")
	}
	if origin == "" {
		return errors.New("a provider sends people back to an address: give it as the origin")
	}
	return nil
}

const (
	// flowCookie holds, sealed, what a sign-in at the provider was begun with.
	flowCookie   = "__Host-tandem-provider"
	flowLife     = 10 * time.Minute
	providerPath = "/signin/provider"
	callbackPath = providerPath + "/callback"
	// providerTimeout bounds each request to the provider.
	providerTimeout = 10 * time.Second
)

// elsewhere is the provider as far as it is known. Safe for concurrent use.
type elsewhere struct {
	o      *Provider
	origin string
	client *http.Client
	now    func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider
}

// find asks the provider for its addresses, the first time.
func (e *elsewhere) find(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.provider == nil {
		// Its keys are asked for later too, after this request.
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), e.client), e.o.Issuer)
		if err != nil {
			return nil, nil, err
		}
		e.provider = found
	}
	return e.provider, &oauth2.Config{
		ClientID: e.o.ClientID, ClientSecret: e.o.ClientSecret, Endpoint: e.provider.Endpoint(),
		RedirectURL: e.origin + callbackPath, Scopes: []string{oidc.ScopeOpenID, "email"},
	}, nil
}

// flow is what a sign-in at the provider was begun with.
type flow struct {
	State, Nonce, Verifier, To string
	EndsMS                     int64
}

// aboutFlow is what a sealed flow is about.
const aboutFlow = "sign-in at the provider"

// toProvider sends the browser to the provider.
func (v *visit) toProvider() error {
	orgs, err := v.store.Orgs(v.r.Context())
	if err != nil {
		return err
	}
	if v.elsewhere == nil || len(orgs) == 0 {
		return v.next("/signin")
	}
	_, config, err := v.elsewhere.find(v.r.Context())
	if err != nil {
		return v.unprovided("discovery", err)
	}
	f := flow{To: v.to(), Verifier: oauth2.GenerateVerifier(), EndsMS: v.o.Clock().Add(flowLife).UnixMilli()}
	for _, into := range []*string{&f.State, &f.Nonce} {
		raw, err := token(v.rand, tokenSize)
		if err != nil {
			return err
		}
		*into = base64.RawURLEncoding.EncodeToString(raw)
	}
	plain, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := v.seal(orgs[0], aboutFlow, plain)
	if err != nil {
		return err
	}
	http.SetCookie(v.w, cookie(flowCookie, base64.RawURLEncoding.EncodeToString(sealed), flowLife))
	http.Redirect(v.w, v.r, config.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), http.StatusSeeOther)
	return nil
}

// unprovided says that the provider did not do its part. What it says itself may hold a
// person's data; only where it went wrong is logged, and a code.
func (v *visit) unprovided(where string, err error) error {
	e := v.o.Log.Warn().Str("step", where)
	if failed, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if failed.Response != nil {
			e = e.Int("status", failed.Response.StatusCode)
		}
		if knownErrors[failed.ErrorCode] {
			e = e.Str("code", failed.ErrorCode)
		}
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		e = e.Bool("unreachable", true)
	}
	e.Msg("sign-in at the provider failed")
	return v.refuse(&refusal{status: http.StatusBadGateway, word: "unprovided"}, "signin", v.signInData())
}

// knownErrors are codes of RFC 6749 that are worth a place in the log.
var knownErrors = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true,
}

// fromProvider takes the browser back from the provider.
func (v *visit) fromProvider() error {
	f, err := v.begunFlow()
	if err != nil {
		return err
	}
	// It is good once.
	http.SetCookie(v.w, cookie(flowCookie, "", -time.Second))
	query := v.r.URL.Query()
	if f == nil || subtle.ConstantTimeCompare([]byte(f.State), []byte(query.Get("state"))) != 1 ||
		query.Has("iss") && query.Get("iss") != v.elsewhere.o.Issuer {
		// Begun in another browser, too long ago, or by somebody else.
		v.o.Refused(v.r.Context(), "sign-in at the provider that was not begun here")
		return v.refuse(&refusal{status: http.StatusForbidden, word: "notBegun"}, "signin", v.signInData())
	}
	if query.Get("code") == "" {
		return v.refuse(&refusal{status: http.StatusForbidden, word: "notProvided"}, "signin", v.signInData())
	}
	login, way, step, err := v.whoFrom(v.r.Context(), f, query.Get("code"))
	switch {
	case err != nil:
		return v.unprovided(step, err)
	case login == "":
		v.o.Refused(v.r.Context(), "sign-in at the provider without a verified claim")
		return v.refuse(&refusal{status: http.StatusForbidden, word: "noAccount"}, "signin", v.signInData())
	}
	org, err := v.store.FindAccount(v.r.Context(), login)
	if err != nil {
		return err
	}
	t := &try{org: org}
	if org != nil {
		err := v.store.ReadPeople(v.r.Context(), org.ID, func(view store.PeopleView) (err error) {
			t.account, err = view.AccountByLogin(login)
			return err
		})
		if err != nil {
			return err
		}
	}
	if t.account == nil {
		v.o.Refused(v.r.Context(), "sign-in to no account")
		return v.refuse(&refusal{status: http.StatusForbidden, word: "noAccount"}, "signin", v.signInData())
	}
	s, err := v.letIn(v.r.Context(), t, way, func(_ *store.Tx, a *store.Account) (bool, error) { return a.Login == login, nil })
	if err != nil {
		if _, ok := errors.AsType[*refusal](err); ok {
			err = &refusal{status: http.StatusForbidden, word: "noAccount"}
		}
		return v.refuse(err, "signin", v.signInData())
	}
	// The way on stands in what was begun here.
	v.r.Form.Set("to", f.To)
	return v.issue(org, s)
}

// begunFlow returns what this browser has begun; nil for nothing, or too long ago.
func (v *visit) begunFlow() (*flow, error) {
	c, err := v.r.Cookie(flowCookie)
	if err != nil || v.elsewhere == nil {
		return nil, nil //nolint:nilerr // It is not there.
	}
	orgs, err := v.store.Orgs(v.r.Context())
	if err != nil || len(orgs) == 0 {
		return nil, err
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil {
		return nil, nil //nolint:nilerr // Nothing that was made here.
	}
	plain, err := unseal(orgs[0], aboutFlow, sealed)
	if err != nil {
		return nil, nil //nolint:nilerr // Nothing that was made here.
	}
	f := &flow{}
	if err := json.Unmarshal(plain, f); err != nil || v.o.Clock().UnixMilli() >= f.EndsMS {
		return nil, nil //nolint:nilerr // Too old, or of an older version.
	}
	return f, nil
}

// errToken: the provider's token is not what was asked for.
var errToken = errors.New("the provider's token is not for this sign-in")

// whoFrom returns the login that the provider vouches for, empty for none, and what was
// shown there.
func (v *visit) whoFrom(ctx context.Context, f *flow, code string) (login, way, step string, err error) {
	provider, config, err := v.elsewhere.find(ctx)
	if err != nil {
		return "", "", "discovery", err
	}
	ctx = oidc.ClientContext(ctx, v.elsewhere.client)
	got, err := config.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return "", "", "exchange", err
	}
	raw, ok := got.Extra("id_token").(string)
	if !ok {
		return "", "", "token", errToken
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: v.elsewhere.o.ClientID, Now: v.elsewhere.now}).Verify(ctx, raw)
	if err != nil {
		return "", "", "token", err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return "", "", "nonce", errToken
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return "", "", "claims", err
	}
	name := v.elsewhere.o.Claim
	if _, there := claims[name]; !there && provider.UserInfoEndpoint() != "" {
		info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(got))
		if err != nil {
			return "", "", "userinfo", err
		}
		if info.Subject != id.Subject {
			return "", "", "userinfo", errToken
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return "", "", "userinfo", err
		}
		for _, k := range []string{name, name + "_verified"} {
			claims[k] = more[k]
		}
	}
	login, _ = claims[name].(string)
	if verified, _ := claims[name+"_verified"].(bool); name == defaultClaim && !verified {
		login = ""
	}
	way = "provider"
	methods, _ := claims["amr"].([]any)
	if v.elsewhere.o.SecondFactor && slices.Contains(methods, any("mfa")) {
		way += "+its second factor"
	}
	return FoldLogin(login), way, "", nil
}

// defaultClaim is the one that holds logins unless another is named.
const defaultClaim = "email"

// newElsewhere returns the provider of the options; nil for none.
func newElsewhere(o *Options) (*elsewhere, error) {
	if o.Provider == nil {
		return nil, nil
	}
	if err := o.Provider.Check(o.Origin); err != nil {
		return nil, fmt.Errorf("the provider: %w", err)
	}
	named := *o.Provider
	if named.Claim == "" {
		named.Claim = defaultClaim
	}
	return &elsewhere{o: &named, origin: o.Origin, client: &http.Client{Timeout: providerTimeout}, now: o.Clock}, nil
}

// signInData is what the form of the sign-in shows.
func (v *visit) signInData() map[string]any {
	return map[string]any{"To": v.to(), "Provider": v.elsewhere != nil}
}
