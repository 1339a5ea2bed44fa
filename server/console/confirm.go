package console

import (
	"errors"
	"net/http"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
)

// confirmation is what a person confirms with their second factor: one act of theirs, and no
// other.
type confirmation struct {
	// Action is where its form goes, Act the act, Button what it says.
	Action, Act, Button string
	// Passkey is what one of the person's is asked; nil where they have none.
	Passkey *people.Challenge
}

// confirmation asks for one. About tells the act from all others.
func (v *visit) confirmation(action, about, button, act string) (*confirmation, error) {
	c := &confirmation{Action: action, Act: act, Button: button}
	var err error
	c.Passkey, err = v.c.people.Challenge(v.r, about)
	return c, err
}

// confirmed makes the transaction of an act whose form holds the confirmation.
func (v *visit) confirmed(about string) server.Within {
	return func(do func(*store.Tx) error) error {
		if v.form("credential") != "" {
			return v.c.people.ConfirmPasskey(v.r, about, do)
		}
		return v.c.people.Confirm(v.r, v.form("code"), do)
	}
}

// unconfirmed says why an act was not confirmed; nothing where that is not what was wrong.
func (v *visit) unconfirmed(err error) (status int, why string) {
	switch {
	case errors.Is(err, people.ErrNoFactor):
		return http.StatusForbidden, v.t("errNoFactor")
	case errors.Is(err, people.ErrWrongCode) && v.form("credential") != "":
		return http.StatusForbidden, v.t("noPasskey")
	case errors.Is(err, people.ErrWrongCode):
		return http.StatusForbidden, v.t("errWrongCode")
	case errors.Is(err, people.ErrTooOften):
		return http.StatusTooManyRequests, v.t("errTooOften")
	}
	return 0, ""
}
