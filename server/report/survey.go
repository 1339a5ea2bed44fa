package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

//go:embed survey.html
var surveyPage string

//go:embed survey.css
var surveyStyle string

// ErrSurveyClosed says that a survey takes no answers, or no longer.
var ErrSurveyClosed = errors.New("this survey is closed")

// Bounds of what comes from anybody.
const (
	maxSurvey     = 64 << 10
	surveyTimeout = 20 * time.Second
	// surveysAtOnce are worked on at a time; who comes then waits a moment.
	surveysAtOnce = 8
	surveyQueue   = 5 * time.Second
	// Of one address: ten at once, and one more every six minutes. Of one link: 120, and one
	// more every ten seconds.
	addressBurst, addressEvery = 10, 6 * time.Minute
	linkBurst, linkEvery       = 120, 10 * time.Second
	maxCounted                 = 20_000
)

// PublicOptions are how pages for everybody are served.
type PublicOptions struct {
	// Take keeps the answers of a survey. Its error is ErrSurveyClosed where the link was
	// closed meanwhile.
	Take func(ctx context.Context, org *store.Org, token string, f *tandemv1.Form, lang string, answers form.Answers) error
	// Address says where a request comes from; empty where that is not known. It is counted
	// in memory under a key of this process, and written nowhere.
	Address func(*http.Request) string
	// Origin is scheme and host of the server; empty for any.
	Origin string
	// Log takes what goes wrong: no content.
	Log zerolog.Logger
	// Clock is the wall clock; nil is the system's.
	Clock func() time.Time
}

// Public serves what everybody may see: published reports under /outcomes, and the
// anonymous surveys under /survey. It sets no cookie and keeps no address. It is an
// http.Handler, safe for concurrent use.
type Public struct {
	o       PublicOptions
	store   *store.Store
	origins *http.CrossOriginProtection
	mux     *http.ServeMux
	turns   chan struct{}
	survey  map[string]*template.Template
	key     [32]byte

	mu sync.Mutex
	// full is when what was counted under a key is forgotten.
	full map[syncengine.Hash]time.Time
	// sent are the forms that were taken, so that one is not taken twice.
	sent map[string]time.Time
	// listed are the published reports that were in a list: their program and period.
	listed map[syncengine.Hash]*Outcomes
}

// NewPublic returns the pages for everybody over a store.
func NewPublic(st *store.Store, o PublicOptions) (*Public, error) {
	p := &Public{
		o: o, store: st, origins: http.NewCrossOriginProtection(), mux: http.NewServeMux(), turns: make(chan struct{}, surveysAtOnce),
		survey: map[string]*template.Template{}, full: map[syncengine.Hash]time.Time{}, sent: map[string]time.Time{}, listed: map[syncengine.Hash]*Outcomes{},
	}
	if p.o.Clock == nil {
		p.o.Clock = time.Now
	}
	if p.o.Address == nil {
		p.o.Address = func(*http.Request) string { return "" }
	}
	if o.Origin != "" {
		if err := p.origins.AddTrustedOrigin(strings.TrimSuffix(o.Origin, "/")); err != nil {
			return nil, fmt.Errorf("the origin of surveys: %w", err)
		}
	}
	if _, err := rand.Read(p.key[:]); err != nil {
		return nil, fmt.Errorf("the key of surveys: %w", err)
	}
	for _, lang := range web.Langs {
		t, err := template.New("survey").Funcs(template.FuncMap{
			"t":     func(en, es string) string { return Text{en, es}.In(lang) },
			"lang":  func() string { return lang },
			"text":  func(t *tandemv1.FormText) string { return form.In(t, lang) },
			"words": func(o *tandemv1.FormOption) string { return form.OptionText(o, lang) },
			"style": func() template.CSS { return template.CSS(surveyStyle) }, //nolint:gosec // It is embedded.
		}).Parse(surveyPage)
		if err != nil {
			return nil, fmt.Errorf("the page of a survey: %w", err)
		}
		p.survey[lang] = t
	}
	p.mux.HandleFunc("GET /survey/{token}", p.ask)
	p.mux.HandleFunc("POST /survey/{token}", p.answer)
	p.mux.HandleFunc("GET /survey/{token}/thanks", p.thanks)
	p.mux.HandleFunc("GET /outcomes", p.reports)
	p.mux.HandleFunc("GET /outcomes/{id}", p.report)
	p.mux.HandleFunc("GET /outcomes/{id}/{file}", p.report)
	return p, nil
}

var surveyPolicy = stylePolicy(surveyStyle)

// ServeHTTP implements http.Handler.
func (p *Public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	web.Headers(h)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+StylePolicy+" "+surveyPolicy+"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	// "no-referrer" would make browsers send "Origin: null" with a form.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Vary", "Accept-Language")
	if err := p.origins.Check(r); err != nil {
		http.Error(w, "this form was sent from another site: open the page itself", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPost {
		// Where the deadline cannot be set the server's own holds.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(surveyTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxSurvey)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "the form cannot be read", http.StatusBadRequest)
			return
		}
	}
	// Nor may a page that nobody takes keep its turn.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(surveyQueue + surveyTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), surveyQueue)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		p.refuse(w, r, http.StatusServiceUnavailable, 5*time.Second)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// langOf is the language that a page is asked for in.
func langOf(r *http.Request) string {
	if l := r.FormValue("lang"); l == "en" || l == "es" {
		return l
	}
	return web.Language(r.Header.Get("Accept-Language"))
}

// sheet is what the page of a survey shows.
type sheet struct {
	Kind                string // ask, thanks, closed, busy
	Title               Text
	Program, Here, Once string
	About               *tandemv1.FormText
	Items               []sheetItem
	Faults              int
}

type sheetItem struct {
	form.Item

	Problem string
	Given   map[string]bool
	Number  string
}

func (p *Public) show(w http.ResponseWriter, r *http.Request, status int, a *sheet) {
	if a.Here == "" {
		a.Here = "/survey/" + r.PathValue("token")
	}
	var b bytes.Buffer
	if err := p.survey[langOf(r)].Execute(&b, a); err != nil {
		p.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// The error of writing is that of the connection.
	_, _ = w.Write(b.Bytes())
}

func (p *Public) fail(w http.ResponseWriter, err error) {
	p.o.Log.Error().Err(err).Msg("a public page failed")
	http.Error(w, "the server has failed; its operator finds the reason in its log", http.StatusInternalServerError)
}

// refuse asks to come again later.
func (p *Public) refuse(w http.ResponseWriter, r *http.Request, status int, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	p.show(w, r, status, &sheet{Kind: "busy"})
}

// open finds the survey that a request names; nil where there is none, which was answered.
func (p *Public) open(w http.ResponseWriter, r *http.Request) (*store.Org, *tandemv1.Form, *sheet) {
	token := r.PathValue("token")
	org, link, err := p.store.FindSurvey(r.Context(), token)
	if err != nil {
		p.fail(w, err)
		return nil, nil, nil
	}
	if link == nil {
		p.show(w, r, http.StatusNotFound, &sheet{Kind: "closed"})
		return nil, nil, nil
	}
	var f *tandemv1.Form
	a := &sheet{Kind: "ask"}
	err = p.store.Read(r.Context(), org.ID, func(view syncengine.ServerView) error {
		for id, use := range map[syncengine.ID]func(any){
			link.Form: func(m any) { f, _ = m.(*tandemv1.Form) },
			link.Program: func(m any) {
				if program, ok := m.(*tandemv1.Program); ok {
					a.Program = form.In(&tandemv1.FormText{En: program.GetName().En, Es: program.GetName().Es}, langOf(r))
				}
			},
		} {
			rec, err := view.Record(id)
			if err != nil {
				return err
			}
			if rec == nil || rec.Lifecycle() == record.Void || rec.Lifecycle() == "retired" {
				continue
			}
			msg, err := record.New().Message(&rec.Record)
			if err != nil {
				return err
			}
			use(msg)
		}
		return nil
	})
	if err != nil {
		p.fail(w, err)
		return nil, nil, nil
	}
	if f == nil || a.Program == "" {
		p.show(w, r, http.StatusNotFound, &sheet{Kind: "closed"})
		return nil, nil, nil
	}
	a.Title, a.About = Text{f.GetTitle().GetEn(), f.GetTitle().GetEs()}, f.GetDescription()
	if a.Title.ES == "" {
		a.Title.ES = a.Title.EN
	}
	return org, f, a
}

// fill puts the questions on a page, with what was answered and what is wrong with it.
func (a *sheet) fill(f *tandemv1.Form, answers form.Answers, lang string, judge bool) *form.Result {
	result := form.Evaluate(f.GetDefinition(), answers)
	for _, it := range result.Items {
		x := sheetItem{Item: it, Given: map[string]bool{}}
		for _, v := range answers[it.GetLinkId()] {
			text := codedAnswer(v)
			x.Given[text] = true
			x.Number = text
		}
		if judge && it.EN != "" {
			x.Problem = Text{it.EN, it.ES}.In(lang)
		} else if judge && it.Missing {
			x.Problem = Text{"Please answer this.", "Responda esto, por favor."}.In(lang)
		}
		if x.Problem != "" {
			a.Faults++
		}
		a.Items = append(a.Items, x)
	}
	return result
}

func (p *Public) ask(w http.ResponseWriter, r *http.Request) {
	_, f, a := p.open(w, r)
	if f == nil {
		return
	}
	var once [16]byte
	if _, err := rand.Read(once[:]); err != nil {
		p.fail(w, err)
		return
	}
	a.Once = hex.EncodeToString(once[:])
	a.fill(f, nil, langOf(r), false)
	p.show(w, r, http.StatusOK, a)
}

func (p *Public) answer(w http.ResponseWriter, r *http.Request) {
	org, f, a := p.open(w, r)
	if f == nil {
		return
	}
	// A page that is open was found by its token.
	token, lang := r.PathValue("token"), langOf(r)
	given := form.Answers{}
	for _, it := range f.GetDefinition().GetItems() {
		for _, text := range r.PostForm["q."+it.GetLinkId()] {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			// What does not fit the question is judged with the rest.
			if v, _ := form.Read(it, text, time.UTC); v != nil && wordless(it) {
				given[it.GetLinkId()] = append(given[it.GetLinkId()], v)
			}
		}
	}
	result := a.fill(f, given, lang, true)
	// what is asked under a condition that does not hold is not kept.
	for _, stray := range result.Stray {
		delete(given, stray)
	}
	a.Once = r.PostFormValue("once")
	if !result.Complete || len(given) == 0 {
		p.show(w, r, http.StatusUnprocessableEntity, a)
		return
	}
	after := "/survey/" + token + "/thanks?lang=" + lang
	if p.again(a.Once) {
		http.Redirect(w, r, after, http.StatusSeeOther) //nolint:gosec // The token is one of an open link.
		return
	}
	if wait := p.count(token, p.o.Address(r)); wait > 0 {
		p.refuse(w, r, http.StatusTooManyRequests, wait)
		return
	}
	err := p.o.Take(r.Context(), org, token, f, lang, given)
	if errors.Is(err, ErrSurveyClosed) {
		p.show(w, r, http.StatusNotFound, &sheet{Kind: "closed"})
		return
	}
	if err != nil {
		p.fail(w, err)
		return
	}
	p.took(a.Once)
	http.Redirect(w, r, after, http.StatusSeeOther) //nolint:gosec // The token is one of an open link.
}

// Anonymous reports whether a form can be answered without anything that might name
// somebody: it asks for choices, yes or no, and whole numbers alone.
func Anonymous(f *tandemv1.Form) bool {
	asks := false
	for _, it := range f.GetDefinition().GetItems() {
		switch {
		case wordless(it):
			asks = true
		case it.GetType() != form.Group && it.GetType() != form.Display:
			return false
		}
	}
	return asks
}

// wordless reports whether an answer to a question has no words that might name somebody.
func wordless(it *tandemv1.FormItem) bool {
	return slices.Contains([]string{form.Choice, form.Boolean, form.Integer}, it.GetType())
}

func (p *Public) thanks(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, &sheet{Kind: "thanks", Here: "/survey/" + r.PathValue("token") + "/thanks"})
}

// again reports whether a form was taken already; took notes that it was.
func (p *Public) again(once string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, taken := p.sent[once]
	return taken && once != ""
}

func (p *Public) took(once string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Clock()
	for k, at := range p.sent {
		if len(p.sent) >= maxCounted || now.Sub(at) > time.Hour {
			delete(p.sent, k)
		}
	}
	if len(once) == 32 {
		p.sent[once] = now
	}
}

// count counts an answer, unless too many have come: then it says for how long. Addresses
// are counted under a keyed hash, in memory.
func (p *Public) count(token, address string) (wait time.Duration) {
	now := p.o.Clock()
	type bucket struct {
		key   syncengine.Hash
		burst int
		every time.Duration
	}
	buckets := []bucket{{p.hash("link", token), linkBurst, linkEvery}}
	if address != "" {
		buckets = append(buckets, bucket{p.hash("address", address), addressBurst, addressEvery})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.full) > maxCounted {
		for k, at := range p.full {
			if at.Before(now) {
				delete(p.full, k)
			}
		}
		if len(p.full) > maxCounted {
			return time.Minute
		}
	}
	next := make([]time.Time, len(buckets))
	for i, b := range buckets {
		from := p.full[b.key]
		if from.Before(now) {
			from = now
		}
		next[i] = from.Add(b.every)
		wait = max(wait, next[i].Sub(now.Add(time.Duration(b.burst)*b.every)))
	}
	if wait > 0 {
		return wait
	}
	for i, b := range buckets {
		p.full[b.key] = next[i]
	}
	return 0
}

func (p *Public) hash(what, value string) syncengine.Hash {
	h := sha256.New()
	h.Write(p.key[:])
	h.Write([]byte(what + "\x00" + value))
	return syncengine.Hash(h.Sum(nil))
}
