package app

import (
	"errors"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/web"
)

type settingsData struct {
	Page   *web.Page
	Theme  string
	Themes []web.Option
	Me     *client.Session
	Role   string
	Shift  shift
	On     bool
	PIN    bool
	Vault  bool
	Counts int
}

func (v *visit) settingsFrame() (*settingsData, error) {
	st, err := v.dev.Status(v.ctx())
	if err != nil {
		return nil, err
	}
	pin, err := v.dev.HasPIN(v.ctx())
	if err != nil {
		return nil, err
	}
	v.a.prefs.mu.Lock()
	theme := v.a.prefs.theme
	v.a.prefs.mu.Unlock()
	s := v.a.prefs.current()
	d := &settingsData{Page: v.page(v.t("navMore")), Theme: theme, Me: v.me, Shift: s, On: s.BeganMS != 0, Vault: st.Vault, PIN: pin, Counts: st.Records}
	for _, r := range v.me.Roles {
		d.Role = join(d.Role, v.code("staff_role", r))
	}
	for _, t := range []string{"", "dark", "light", "red"} {
		d.Themes = append(d.Themes, web.Option{Code: t, Label: v.t("theme." + t), On: t == theme})
	}
	return d, nil
}

func (v *visit) settingsPage() error {
	d, err := v.settingsFrame()
	if err != nil {
		return err
	}
	return v.show("settings", d)
}

func (v *visit) setPIN() error {
	pin, again := v.r.PostFormValue("pin"), v.r.PostFormValue("again")
	var err error
	if pin == again {
		err = v.dev.SetPIN(v.ctx(), pin)
	}
	d, ferr := v.settingsFrame()
	if ferr != nil {
		return ferr
	}
	switch {
	case pin != again:
		d.Page.Error = v.t("errPINTwice")
	case errors.Is(err, client.ErrWeakPIN):
		d.Page.Error = v.t("errPINWeak")
	case err != nil:
		return err
	default:
		d.Page.Flash = v.t("pinSet")
	}
	return v.show("settings", d)
}
