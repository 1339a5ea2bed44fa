package app

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

//go:embed pages
var files embed.FS

// visit is one request.
type visit struct {
	a    *App
	w    http.ResponseWriter
	r    *http.Request
	lang string
	// dev is the open store, me who works on it.
	dev *client.Client
	me  *client.Session
	// st is how the device stood when this request first asked.
	st *client.Status
	// added are the codes that agencies have added, once they were asked for.
	added *record.OwnCodes
	// typed is what was typed in records of this page when they were read, by the draft's key.
	typed map[string]*draft
}

// plainPages are there while the store is locked, too.
var plainPages = map[string]func(*visit) error{
	"GET /lock": (*visit).lockPage, "POST /lock": (*visit).lock, "POST /unlock": (*visit).unlock,
	"GET /status": (*visit).status, "POST /touch": (*visit).touch, "POST /settings/lang": (*visit).switchLang,
}

// insidePages are those of an open store.
var insidePages = map[string]func(*visit) error{
	"GET /{$}": (*visit).home, "GET /today": (*visit).today,
	"GET /shift": (*visit).shiftPage, "POST /shift": (*visit).beginShift, "POST /shift/end": (*visit).endShift,
	"GET /settings": (*visit).settingsPage, "POST /settings/theme": (*visit).setTheme, "POST /settings/pin": (*visit).setPIN,
	"POST /call": (*visit).newCall, "GET /call/new": (*visit).newOfficerCallPage, "POST /call/new": (*visit).newOfficerCall, "GET /calls": (*visit).calls, "GET /call/{id}": (*visit).callPage, "POST /call/{id}/tap": (*visit).tap,
	"POST /call/{id}/undo": (*visit).takeBack, "POST /call/{id}/result": (*visit).result, "GET /call/{id}/times": (*visit).timesPage,
	"GET /call/{id}/who": (*visit).whoPage, "POST /call/{id}/encounter": (*visit).newEncounter,
	"GET /people": (*visit).people, "GET /people/found": (*visit).found, "GET /person/new": (*visit).newPersonPage,
	"POST /person/new": (*visit).newPerson, "GET /person/{id}": (*visit).personPage, "GET /person/{id}/edit": (*visit).editPerson,
	"GET /encounter/{id}": (*visit).encounterPage, "POST /encounter/{id}/sign": (*visit).sign, "POST /encounter/{id}/amend": (*visit).amend,
	"POST /encounter/{id}/phrase": (*visit).addPhrase,
	"GET /referral/new":           (*visit).newReferralPage, "POST /referral/new": (*visit).newReferral, "GET /referral/{id}": (*visit).referralPage,
	"POST /referral/{id}/step": (*visit).stepReferral,
	"GET /note/new":            (*visit).newNotePage, "POST /note/new": (*visit).newNote, "GET /note/{id}": (*visit).notePage, "POST /note/{id}/sign": (*visit).signNote,
	"POST /person/{id}/episode": (*visit).newEpisode, "GET /episode/{id}": (*visit).episodePage, "POST /episode/{id}/step": (*visit).stepEpisode,
	"GET /followup/{id}": (*visit).followUpPage, "POST /followup/{id}/log": (*visit).logFollowUp,
	"GET /consent/new": (*visit).newConsentPage, "POST /consent/new": (*visit).newConsent, "GET /consent/{id}": (*visit).consentPage, "POST /consent/{id}/revoke": (*visit).revoke,
	"GET /alert/new": (*visit).newAlertPage, "POST /alert/new": (*visit).newAlert, "GET /alert/{id}": (*visit).alertPage,
	"GET /forms": (*visit).formsPage, "POST /form/begin": (*visit).beginForm, "GET /response/{id}": (*visit).responsePage,
	"POST /response/{id}/sign": (*visit).signResponse, "POST /response/{id}/drop": (*visit).dropResponse,
	"GET /protocols": (*visit).protocolsPage, "GET /protocol/{id}": (*visit).protocolPage,
	"GET /files/{kind}/{id}": (*visit).filesPage, "POST /files/{kind}/{id}": (*visit).attachFile, "POST /files/{kind}/{id}/send": (*visit).sendFiles,
	"GET /file/{id}": (*visit).filePage, "GET /file/{id}/bytes": (*visit).fileBytes, "GET /file/{id}/thumb": (*visit).fileThumb,
	"POST /file/{id}/fetch": (*visit).fetchFile, "POST /file/{id}/remove": (*visit).removeFile,
	"GET /disclosure/new": (*visit).newDisclosurePage, "POST /disclosure/new": (*visit).newDisclosure,
	"GET /cards": (*visit).cardsPage, "GET /directory": (*visit).directory,
	"GET /tray": (*visit).tray, "POST /tray/wake": (*visit).wake, "POST /tray/settle": (*visit).settleConflict, "POST /tray/withdraw": (*visit).withdraw,
	"GET /tray/fix/{id}": (*visit).fixPage, "POST /tray/fix/{id}": (*visit).fix, "POST /tray/fix/{id}/drop": (*visit).dropFix,
	"POST /sheet/{kind}/{id}/draft": (*visit).keepTyping, "POST /sheet/{kind}/{id}/settle": (*visit).settleNow,
	"POST /sheet/{kind}/{id}/save": (*visit).saveSheet, "POST /sheet/{kind}/{id}/late": (*visit).settleLate,
}

// routes says which page answers what.
func (a *App) routes() {
	a.mux = http.NewServeMux()
	a.mux.Handle("GET /static/", web.Static())
	for pattern, do := range plainPages {
		a.mux.HandleFunc(pattern, a.plain(do))
	}
	for pattern, do := range insidePages {
		a.mux.HandleFunc(pattern, a.inside(do))
	}
	a.mux.HandleFunc("/", a.plain(func(*visit) error { return client.ErrNotFound }))
}

// plain answers also while the store is locked.
func (a *App) plain(do func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{a: a, w: w, r: r, dev: a.device()}
		v.lang = a.prefs.language(r)
		if v.dev != nil {
			v.me, _ = v.dev.Session()
		}
		if err := do(v); err != nil {
			v.fail(err)
		}
	}
}

// inside answers only where the store is open. Its pages are somebody's use of it.
func (a *App) inside(do func(*visit) error) http.HandlerFunc {
	return a.plain(func(v *visit) error {
		if v.dev == nil {
			return client.ErrLocked
		}
		if v.me == nil {
			return client.ErrNotEnrolled
		}
		v.dev.Touch()
		return do(v)
	})
}

// ctx is that of the request. What was tapped is done though the page that asked for it
// has gone meanwhile; only reading ends with it.
func (v *visit) ctx() context.Context {
	if v.r.Method == http.MethodPost {
		return context.WithoutCancel(v.r.Context())
	}
	return v.r.Context()
}

func (v *visit) t(key string) string { return allWords.In(v.lang, key) }

func (v *visit) tf(key string, args ...any) string { return fmt.Sprintf(v.t(key), args...) }

var allWords = web.Common.Join(words)

func (v *visit) now() time.Time { return v.a.o.Now().In(v.a.o.Zone) }

func (v *visit) at(ms int64) time.Time { return time.UnixMilli(ms).In(v.a.o.Zone) }

func (v *visit) domain() *record.Domain { return v.dev.Domain() }

// officer reports whether a police partner works here: they see calls and no person.
func (v *visit) officer() bool { return slices.Contains(v.me.Roles, "le_partner") }

// id is that of the path.
func (v *visit) id() (syncengine.ID, error) {
	id, err := syncengine.ParseID(v.r.PathValue("id"))
	if err != nil {
		return id, client.ErrNotFound
	}
	return id, nil
}

// get returns the record of the path, of a kind.
func (v *visit) get(kind string) (*client.View, error) {
	id, err := v.id()
	if err != nil {
		return nil, err
	}
	return v.look(kind, id)
}

func (v *visit) look(kind string, id syncengine.ID) (*client.View, error) {
	view, err := v.readTyped(kind, id)
	if err != nil {
		return nil, err
	}
	if view.Kind == nil || view.Kind.Name != kind {
		return nil, client.ErrNotFound
	}
	return view, nil
}

// readTyped reads a record and, for a page, what is typed in it at the same moment: typing that
// became a save in between would be neither in the one nor in the other.
func (v *visit) readTyped(kind string, id syncengine.ID) (*client.View, error) {
	if v.r.Method != http.MethodGet || sheets[kind] == nil && kind != "form_response" {
		return v.dev.Get(v.ctx(), id)
	}
	v.a.typing.mu.Lock()
	defer v.a.typing.mu.Unlock()
	key := draftKey(kind, id.String())
	d, err := v.a.draft(v.ctx(), v.dev, key)
	if err != nil {
		return nil, err
	}
	view, err := v.dev.Get(v.ctx(), id)
	if err != nil {
		return nil, err
	}
	if v.typed == nil {
		v.typed = map[string]*draft{}
	}
	v.typed[key] = d.clone()
	return view, nil
}

// to sends the browser to a page of the app.
func (v *visit) to(page string) error {
	http.Redirect(v.w, v.r, v.a.path+strings.TrimPrefix(page, "/"), http.StatusSeeOther)
	return nil
}

// page fills the frame of a page.
func (v *visit) page(title string) *web.Page {
	p := &web.Page{
		Title: title, Base: v.a.path, Here: strings.TrimPrefix(v.r.URL.RequestURI(), v.a.path), Theme: v.a.prefs.shown(v.now()),
		Install: true, Live: true, CanLock: v.dev != nil && v.dev.InVault(),
	}
	p.Here = strings.TrimPrefix(p.Here, "/")
	if v.me != nil {
		p.Nav = v.nav()
	}
	if v.dev != nil {
		p.Status = v.line(v.ctx())
	}
	return p
}

func (v *visit) nav() []web.NavItem {
	items := []web.NavItem{{Href: "today", Icon: "today", Word: "navToday"}, {Href: "people", Icon: "people", Word: "navPeople"}, {Href: "directory", Icon: "phone", Word: "navDirectory"}, {Href: "tray", Icon: "tray", Word: "navTray"}, {Href: "settings", Icon: "more", Word: "navMore"}}
	if v.officer() {
		items[1] = web.NavItem{Href: "cards", Icon: "alert", Word: "navCards"}
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(v.r.URL.Path, "/"), "/")
	belongs := map[string]string{"": "today", "call": "today", "calls": "today", "shift": "settings", "person": "people", "encounter": "today", "referral": "people", "note": "people", "consent": "people", "alert": "people", "episode": "people", "followup": "today", "forms": "people", "response": "people", "protocols": "today", "protocol": "today", "files": "people", "file": "people"}
	if place, ok := belongs[first]; ok {
		first = place
	}
	for i := range items {
		items[i].Here = items[i].Href == first
		if items[i].Href == "tray" {
			items[i].Count = v.needsYou()
		}
	}
	return items
}

// show answers with a page. data holds a *web.Page in its field Page.
func (v *visit) show(name string, data any) error { return v.showAs(http.StatusOK, name, data) }

func (v *visit) showAs(status int, name string, data any) error {
	var b bytes.Buffer
	if err := v.a.pages[v.lang].ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	// Who has gone needs no page.
	_, _ = v.w.Write(b.Bytes())
	return nil
}

// json answers a script.
func (v *visit) json(status int, value any) error {
	v.w.Header().Set("Content-Type", "application/json")
	v.w.WriteHeader(status)
	return json.NewEncoder(v.w).Encode(value)
}

// fail answers with what went wrong, in words that say what to do.
func (v *visit) fail(err error) {
	script := v.r.Header.Get("Sec-Fetch-Dest") == "empty"
	status, words := http.StatusInternalServerError, v.t("errStore")
	switch {
	case errors.Is(err, client.ErrLocked), errors.Is(err, client.ErrClosed):
		if script {
			_ = v.json(http.StatusLocked, map[string]bool{"locked": true})
			return
		}
		_ = v.to("lock")
		return
	case errors.Is(err, client.ErrNotFound), errors.Is(err, http.ErrMissingFile):
		status, words = http.StatusNotFound, v.t("errNotFound")
	case errors.Is(err, client.ErrLease):
		status, words = http.StatusForbidden, v.t("errLease")
	case errors.Is(err, client.ErrDiskFull):
		status, words = http.StatusInsufficientStorage, v.t("errDisk")
	case errors.Is(err, client.ErrWipeOrdered), errors.Is(err, client.ErrWiped):
		status, words = http.StatusForbidden, v.t("errWiped")
	case errors.Is(err, client.ErrNotEnrolled):
		status, words = http.StatusConflict, v.t("errNotEnrolled")
	default:
		if invalid, ok := errors.AsType[*client.InvalidError](err); ok {
			status, words = http.StatusUnprocessableEntity, v.invalid(invalid)
		} else {
			v.a.o.Log.Error().Err(err).Str("path", strings.SplitN(v.r.URL.Path, "/", 3)[1]).Msg("a page failed")
		}
	}
	if script {
		_ = v.json(status, map[string]string{"error": words})
		return
	}
	p := &web.Page{Title: v.t("errTitle"), Base: v.a.path, Here: "today", Theme: v.a.prefs.shown(v.now()), Error: words, Bare: v.me == nil}
	if v.me != nil && v.dev != nil {
		p.Nav, p.Status, p.Live = v.nav(), v.line(v.ctx()), true
	}
	if err := v.showAs(status, "failed", map[string]any{"Page": p}); err != nil {
		http.Error(v.w, words, status)
	}
}

// invalid says in plain words which fields a save was refused for.
func (v *visit) invalid(e *client.InvalidError) string {
	if e.Code == tandemv1.Refusal_REFUSAL_FORBIDDEN {
		return v.t("errForbidden")
	}
	var names []string
	for _, f := range e.Fields {
		kind, field, _ := strings.Cut(f, "/")
		names = append(names, v.domain().FieldLabel(kind, field, v.lang))
	}
	return fmt.Sprintf(v.t("errInvalid"), strings.Join(names, ", "))
}
