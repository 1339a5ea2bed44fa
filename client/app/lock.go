package app

import (
	"errors"
	"net/http"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/web"
)

type lockData struct {
	Page *web.Page
	// PIN: the lock can be ended with it.
	PIN bool
}

func (v *visit) lockFrame() *lockData {
	p := &web.Page{Title: v.t("lockTitle"), Base: v.a.path, Here: "lock", Theme: v.a.prefs.shown(v.now()), Bare: true}
	d := &lockData{Page: p}
	if v.dev != nil {
		pin, err := v.dev.HasPIN(v.ctx())
		d.PIN = err == nil && pin
	}
	return d
}

// lockPage asks for what opens the store.
func (v *visit) lockPage() error {
	if v.dev != nil && !v.dev.Locked() {
		return v.to("today")
	}
	return v.show("lock", v.lockFrame())
}

// lock hides the pages now.
func (v *visit) lock() error {
	if v.dev == nil {
		return v.to("lock")
	}
	if err := v.dev.Lock(); err != nil {
		return err
	}
	return v.to("lock")
}

// unlock opens the store, or shows its pages again.
func (v *visit) unlock() error {
	if v.dev != nil && !v.dev.Locked() {
		return v.to("today")
	}
	var err error
	if pin := v.r.PostFormValue("pin"); pin != "" && v.dev != nil {
		err = v.dev.Unlock(v.ctx(), pin)
	} else {
		err = v.a.unlock(v.ctx(), []byte(v.r.PostFormValue("passphrase")))
	}
	switch {
	case err == nil:
		return v.to("today")
	case wrong(err), errors.Is(err, client.ErrLocked), errors.Is(err, client.ErrNoPIN), errors.Is(err, client.ErrClosed):
		d := v.lockFrame()
		d.Page.Error = v.t("errWrong")
		if left, ok := errors.AsType[*client.WrongPINError](err); ok {
			d.Page.Error = v.tf("errWrongPIN", left.Left)
		} else if d.PIN && errors.Is(err, client.ErrLocked) {
			d.PIN, d.Page.Error = false, v.t("errPINOver")
		}
		return v.showAs(http.StatusForbidden, "lock", d)
	}
	return err
}
