package console

import (
	"errors"
	"net/http"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// actShutOut is the act by which a person is shut out.
const actShutOut = "revoke"

// outData is what is said before a person is shut out: their devices, with what may be unsent
// on each.
type outData struct {
	Devices []deviceRow
	Confirm *confirmation
}

// shutOutPage asks whoever shuts a person out for their second factor.
func (v *visit) shutOutPage(status int, why string) error {
	id, err := v.ofMine()
	if err != nil {
		return err
	}
	replicas, err := v.office().Replicas(v.ctx())
	if err != nil {
		return err
	}
	out := &outData{}
	err = v.look("staff", id, func(s *sight) error {
		out.Devices = s.deviceRows(replicas, v.c.srv.Seen(v.who.Org.ID), func(r *syncengine.Replica) bool { return r.Person == id && !r.Revoked })
		return nil
	})
	if err != nil {
		return err
	}
	if out.Confirm, err = v.confirmation("staff/"+id.String()+"/revoke", "staff revoke "+id.String(), v.t("shutOut"), actShutOut); err != nil {
		return err
	}
	return v.personPage(status, func(d *personData) {
		if d.Why = why; d.Mine && !d.Retired {
			d.Out = out
		}
	})
}

// revokeStaff shuts a person out, with the second factor of whoever does it: no sign-in, and
// every device of theirs only hands in what it still has.
func (v *visit) revokeStaff() error {
	id, err := v.ofMine()
	if err != nil {
		return err
	}
	err = v.office().ShutOut(v.who.Staff, id, v.confirmed("staff revoke "+id.String()))
	if status, why := v.unconfirmed(err); why != "" {
		return v.shutOutPage(status, why)
	}
	if errors.Is(err, server.ErrMoved) {
		return v.personPage(http.StatusConflict, nil)
	}
	if err != nil {
		return err
	}
	return v.to("staff/" + id.String() + "?done=okShutOut")
}
