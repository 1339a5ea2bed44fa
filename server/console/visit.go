package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// visit is one request of somebody who has signed in.
type visit struct {
	c           *Console
	w           http.ResponseWriter
	r           *http.Request
	who         *people.Person
	lang, theme string
	// lead and admin say what the person is.
	lead, admin bool
}

func (c *Console) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{c: c, w: w, r: r, who: people.FromContext(r.Context()), lang: web.Language(r.Header.Get("Accept-Language")), theme: "light"}
	if look, err := r.Cookie(lookCookie); err == nil {
		lang, theme, _ := strings.Cut(look.Value, ".")
		for _, l := range web.Langs {
			if l == lang {
				v.lang = l
			}
		}
		for _, t := range themes {
			if t == theme {
				v.theme = t
			}
		}
	}
	v.lead, v.admin = c.domain.Supervises(v.who.Principal), c.domain.Oversees(v.who.Principal)
	return v
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// said are the words of the console and those of every app.
var said = web.Common.Join(words)

func (v *visit) t(key string) string { return said.In(v.lang, key) }

func (v *visit) now() time.Time { return v.c.o.Clock() }

// office is the administration of the person's org.
func (v *visit) office() *server.Admin {
	return server.NewAdmin(v.c.store, v.who.Org, server.AdminOptions{Clock: v.c.o.Clock, Rand: v.c.o.Rand})
}

// allowed refuses who a page is not for, and notes that.
func (v *visit) allowed(who area) error {
	if who == leads && !v.lead || who == admins && !v.admin || who == desks && !v.lead && !v.admin {
		if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Code: "console", Count: 1}); err != nil {
			return err
		}
		return errArea
	}
	if who != leads && who != desks {
		return nil
	}
	// What a database that was set back says of cases goes to nobody until it is confirmed.
	return v.c.store.ReadDesk(v.ctx(), v.who.Org.ID, func(view store.DeskView) error {
		head, err := view.Head()
		if err == nil && head.Recovering {
			err = errRecovering
		}
		return err
	})
}

// note adds an entry of the person's to the audit log.
func (v *visit) note(entries ...*tandemv1.AuditEntry) error {
	return v.noteThen(func(*store.Tx) error { return nil }, entries...)
}

// noteThen is note with what else is written in the same transaction.
func (v *visit) noteThen(do func(*store.Tx) error, entries ...*tandemv1.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	return v.c.store.Write(v.ctx(), v.who.Org.ID, 1, func(tx *store.Tx) error {
		for _, e := range entries {
			e.Person = v.who.Staff[:]
			if err := tx.Audit(e); err != nil {
				return err
			}
		}
		return do(tx)
	})
}

// mostOpenings is how many opened pages are remembered.
const mostOpenings = 8192

// noteOpening is note, once for each time that a page is opened, and not for each time that
// it then shows by itself what is new. A server that has not seen it opened notes it.
func (v *visit) noteOpening(e *tandemv1.AuditEntry) error {
	opening := string(v.who.Session.ID[:]) + e.GetCode() + string(e.GetRecords())
	c := v.c
	c.openedMu.Lock()
	known := c.opened[opening]
	c.openedMu.Unlock()
	if known && v.r.Header.Get(people.FollowHeader) != "" {
		return nil
	}
	if err := v.note(e); err != nil {
		return err
	}
	c.openedMu.Lock()
	defer c.openedMu.Unlock()
	if len(c.opened) >= mostOpenings {
		clear(c.opened)
	}
	c.opened[opening] = true
	return nil
}

// id is the record or change that the address names.
func (v *visit) id() (syncengine.ID, error) {
	id, err := syncengine.ParseID(v.r.PathValue("id"))
	if err != nil {
		return id, errAbsent
	}
	return id, nil
}

// within is the place of the menu that leads to pages whose addresses do not begin with its own.
var within = map[string]string{"codes": "forms", "backups": "jobs", "retention": "jobs", "purges": "jobs", "approvals": "exports", "publish": "outcomes"}

// page is the frame of a page.
func (v *visit) page(title, here string) *web.Page {
	p := &web.Page{Title: v.t(title), Base: base, Here: here, Theme: v.theme}
	if q := v.r.URL.RawQuery; q != "" && v.r.Method == http.MethodGet {
		p.Here += "?" + q
	}
	p.Status = web.Status{State: "verified", Word: v.t("console")}
	first, _, _ := strings.Cut(here, "/")
	add := func(href, icon, word string) {
		p.Nav = append(p.Nav, web.NavItem{Href: href, Icon: icon, Word: word, Here: href == here, Within: href == first || href == within[first]})
	}
	if v.lead {
		add("queue", "tray", "navQueue")
		add("episodes", "today", "navEpisodes")
		add("referrals", "referral", "navReferrals")
		add("quarantine", "alert", "navQuarantine")
		add("team", "people", "navTeam")
	}
	if v.admin {
		add("setup", "call", "navSetup")
		add("staff", "people", "navStaff")
		add("devices", "phone", "navDevices")
		add("forms", "form", "navForms")
		add("directory", "book", "navDirectory")
		add("readiness", "check", "navReadiness")
		add("passed-on", "referral", "navPassedOn")
		add("audit", "search", "navAudit")
		add("jobs", "clock", "navUpkeep")
	}
	if v.lead || v.admin {
		add("outcomes", "form", "navOutcomes")
	}
	if v.c.o.Exports != nil && (v.lead || v.admin) {
		add("exports", "export", "navExports")
	}
	if done := v.r.URL.Query().Get("done"); v.r.Method == http.MethodGet && strings.HasPrefix(done, "ok") {
		if _, known := words[done]; known {
			p.Flash = v.t(done)
		}
	}
	return p
}

// show sends a page.
func (v *visit) show(status int, name string, data any) error {
	var b bytes.Buffer
	if err := v.c.pages[v.lang].ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.lang)
	v.w.WriteHeader(status)
	// Who has gone away gets nothing.
	_, _ = v.w.Write(b.Bytes())
	return nil
}

// to sends the browser on after a form.
func (v *visit) to(page string) error {
	//nolint:gosec // It begins with this site's own path.
	http.Redirect(v.w, v.r, base+page, http.StatusSeeOther)
	return nil
}

type failData struct {
	Page *web.Page
	Why  string
}

// fail says what was wrong, in a page.
func (v *visit) fail(err error) {
	status, why := http.StatusInternalServerError, v.t("errFailed")
	var refused *server.RefusedError
	var undecided *server.UndecidedError
	var invalid *server.InvalidError
	var absent *server.AbsentError
	switch {
	case errors.Is(err, errArea):
		status, why = http.StatusForbidden, v.t("errArea")
	case errors.Is(err, errAbsent), errors.As(err, &absent), errors.Is(err, syncengine.ErrNoItem):
		status, why = http.StatusNotFound, v.t("errAbsent")
	case errors.Is(err, errLong):
		status, why = http.StatusRequestEntityTooLarge, v.t("errLong")
	case errors.Is(err, errForm):
		status, why = http.StatusBadRequest, v.t("errForm")
	case errors.Is(err, server.ErrMoved):
		status, why = http.StatusConflict, v.t("errMoved")
	case errors.Is(err, errRecovering):
		status, why = http.StatusServiceUnavailable, v.t("errRecovering")
	case errors.Is(err, server.ErrStaffInactive):
		status, why = http.StatusForbidden, v.t("errArea")
	case errors.As(err, &refused):
		status, why = http.StatusUnprocessableEntity, v.t("errRefused")
		if refused.Code == tandemv1.Refusal_REFUSAL_FORBIDDEN || refused.Code == tandemv1.Refusal_REFUSAL_NO_TARGET {
			status, why = http.StatusForbidden, v.t("errForbidden")
		}
		if len(refused.Fields) > 0 {
			why += " (" + strings.Join(refused.Fields, ", ") + ")"
		}
	case errors.As(err, &undecided):
		status, why = http.StatusUnprocessableEntity, v.t("errUndecided")
	case errors.As(err, &invalid):
		status, why = http.StatusUnprocessableEntity, ""
		for _, p := range invalid.Problems {
			why = strings.TrimSpace(why + " " + p.Text(v.lang))
		}
	default:
		v.c.o.Log.Error().Err(err).Msg("a page of the console could not be made")
	}
	d := &failData{Page: v.page("failed", ""), Why: why}
	d.Page.Here, d.Page.Flash = "", ""
	if err := v.show(status, "failed", d); err != nil {
		http.Error(v.w, why, status)
	}
}

// home leads to where the person's work begins.
func (v *visit) home() error {
	switch {
	case v.lead:
		return v.to("queue")
	case v.admin:
		return v.to("setup")
	}
	if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_REFUSED, Code: "console", Count: 1}); err != nil {
		return err
	}
	return errArea
}

// lookCookie holds language and colours, and nothing of anybody.
const lookCookie = "__Host-tandem-look"

var themes = []string{"light", "dark", "red"}

func (v *visit) setLook(lang, theme string) error {
	http.SetCookie(v.w, &http.Cookie{
		Name: lookCookie, Value: lang + "." + theme, Path: "/", MaxAge: 365 * 24 * 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	to := v.r.PostForm.Get("to")
	if strings.Contains(to, ":") || strings.Contains(to, "\\") || strings.HasPrefix(to, "/") {
		to = ""
	}
	return v.to(to)
}

func (v *visit) setLang() error {
	return v.setLook(map[string]string{"en": "es", "es": "en"}[v.lang], v.theme)
}

func (v *visit) setTheme() error {
	return v.setLook(v.lang, map[string]string{"light": "dark", "dark": "light", "red": "light"}[v.theme])
}
