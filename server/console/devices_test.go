package console_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// idOf is a device as the server names it.
func (o *office) idOf(d *client.Client) syncengine.ID {
	o.tb.Helper()
	return must[*client.Session](o.tb)(d.Session()).Device
}

// state is what the record of a device says.
func (o *office) state(id syncengine.ID) string {
	o.tb.Helper()
	all := must[[]*server.DeviceState](o.tb)(o.admin.Devices(o.tb.Context()))
	return all[slices.IndexFunc(all, func(d *server.DeviceState) bool { return d.ID == id })].State
}

// An admin suspends a device and lifts that, shuts one out, orders one to wipe itself and
// takes that back, each with a code of their own and an entry in the audit log; the page says
// before what the device may still hold. A wrong code, another role and another agency's
// admin change nothing. What the device had unsent comes once it may.
func TestDeviceActs(t *testing.T) { storetest.Each(t, testDeviceActs) }

func testDeviceActs(t *testing.T, on storetest.Engine) {
	t.Parallel()
	o := newOffice(t, on)
	maya, luis := o.device(o.maya, "Car 12"), o.device(o.luis, "Tablet 7")
	id := o.idOf(maya)
	at := "/console/devices/" + id.String()
	ada := o.signIn(o.ada, "ada.admin")
	code := func() string {
		// A code is good once.
		o.pass(time.Minute)
		return totp(ada.secret, o.now())
	}
	ada.get("/console/devices").want(t, http.StatusOK, "Car 12", "Tablet 7", "What can be done")
	ada.get(at).want(t, http.StatusOK, "had nothing that this server lacks", "it can be handed in without unlocking it", "Suspend it", "Shut it out", "Wipe it")
	ada.get(at+"?act=suspend").want(t, http.StatusOK, "what it has not sent stays on it")

	// What stands in the way.
	ada.post(at, "act", "suspend", "code", "000000").want(t, http.StatusForbidden, "The code is not right")
	ada.post(at, "act", "lift", "code", code()).want(t, http.StatusConflict, "stands otherwise")
	ada.post(at, "act", "destroy", "code", code()).want(t, http.StatusBadRequest)
	other := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: must[syncengine.ID](t)(o.agencyOf(o.fred)), Teams: []syncengine.ID{o.day}}))
	olga := o.signIn(other, "olga.other")
	olga.get(at).want(t, http.StatusNotFound)
	o.pass(time.Minute)
	olga.post(at, "act", "wipe", "code", totp(olga.secret, o.now())).want(t, http.StatusNotFound)
	o.signIn(o.lena, "lena.park").post(at, "act", "suspend", "code", "000000").want(t, http.StatusForbidden)
	if got := o.state(id); got != "enrolled" && got != "active" {
		t.Fatalf("the device is %s", got)
	}

	// Suspended: nothing comes in, and its person is told.
	ada.post(at, "act", "suspend", "code", code()).want(t, http.StatusOK, "The device is suspended.", "Lift the suspension")
	o.edit(maya, func(e *client.Edit) error {
		_, err := e.Create(person("Kept", "Onthedevice"))
		return err
	})
	_, err := maya.Sync(t.Context())
	if !errors.Is(err, client.ErrSuspended) || !errors.Is(err, client.ErrRefused) {
		t.Errorf("the device hears %v", err)
	}
	st := must[*client.Status](t)(maya.Status(t.Context()))
	if !st.Suspended || st.Queued != 1 {
		t.Errorf("the device stands so: %+v", st)
	}
	// A code is no way in, and it is not the code that is wrong.
	fresh := must[*server.Code](t)(o.admin.IssueCode(t.Context(), o.maya, "Car 12 again"))
	if err := maya.Confirm(t.Context(), fresh.Code); !errors.Is(err, client.ErrSuspended) {
		t.Errorf("with a code: %v", err)
	}
	o.sync(luis)
	ada.get("/console/devices").want(t, http.StatusOK, "suspended")
	ada.post(at, "act", "lift", "code", code()).want(t, http.StatusOK, "The suspension is lifted.")
	o.sync(maya)
	if st := must[*client.Status](t)(maya.Status(t.Context())); st.Suspended || st.Queued != 0 {
		t.Errorf("after that was lifted: %+v", st)
	}

	// An order to wipe it, taken back while it was not told; another that stands.
	ada.post(at, "act", "wipe", "code", code()).want(t, http.StatusOK, "The order is given", "The device was told not yet", "The device has confirmed not yet", "Take the order to wipe it back")
	// What an older page still offers is not done: not without a code, nor with one.
	ada.post(at, "act", "wipe", "code", "000000").want(t, http.StatusForbidden, "The code is not right")
	ada.post(at, "act", "wipe", "code", code()).want(t, http.StatusConflict, "stands otherwise")
	ada.post(at, "act", "revoke", "code", code()).want(t, http.StatusConflict, "stands otherwise")
	olga.post(at, "act", "wipe", "code", totp(olga.secret, o.now())).want(t, http.StatusNotFound)
	if got := o.state(id); got != "wipe_pending" {
		t.Errorf("the device is %s", got)
	}
	ada.post(at, "act", "keep", "code", code()).want(t, http.StatusOK, "The order was taken back.", "Suspend it")
	ada.post(at, "act", "wipe", "code", code()).want(t, http.StatusOK, "The order is given")
	for range 3 {
		if _, err := maya.Sync(t.Context()); errors.Is(err, client.ErrWiped) {
			break
		}
	}
	a := ada.get(at).want(t, http.StatusOK, "Nothing can be done with it")
	a.never(t, "not yet")
	ada.post(at, "act", "revoke", "code", code()).want(t, http.StatusConflict, "stands otherwise")
	if got := o.state(id); got != "wiped" {
		t.Errorf("the device is %s", got)
	}
	// An order to wipe one that is suspended leaves that as it is, and in sight.
	seven := "/console/devices/" + o.idOf(luis).String()
	ada.post(seven, "act", "suspend", "code", code()).want(t, http.StatusOK, "The device is suspended.")
	ada.post(seven, "act", "wipe", "code", code()).want(t, http.StatusOK, "The order is given", "suspended")
	ada.post(seven, "act", "keep", "code", code()).want(t, http.StatusOK, "The order was taken back.", "Lift the suspension")
	ada.post(seven, "act", "revoke", "code", code()).want(t, http.StatusOK, "The device is shut out.", "Wipe it")

	var acts []string
	for _, act := range o.acts(o.ada) {
		if strings.Contains(act, "DEVICE_") || strings.Contains(act, "WIPE") || strings.Contains(act, "REVOKED") {
			acts = append(acts, strings.Fields(act)[0])
		}
	}
	if want := []string{"DEVICE_SUSPENDED", "DEVICE_LIFTED", "WIPE_ORDERED", "WIPE_WITHDRAWN", "WIPE_ORDERED", "DEVICE_SUSPENDED", "WIPE_ORDERED", "WIPE_WITHDRAWN", "REVOKED"}; !slices.Equal(acts, want) {
		t.Errorf("the audit log has %q, want %q", acts, want)
	}
	es := o.signIn(must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Eva Es", Discipline: "other", Roles: []string{"admin"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}})), "eva.es")
	es.lang = "es"
	es.get(seven+"?act=wipe").want(t, http.StatusOK, "destruye su clave", "Borrarlo")
}

// A device is listed for the agency that it is of, where its acts are: also once its person
// works for another one.
func TestDevicesOfAnAgency(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		other := must[syncengine.ID](t)(o.agencyOf(o.fred))
		olga := o.signIn(must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: other, Teams: []syncengine.ID{o.day}})), "olga.other")
		o.moves(o.maya, other)
		if now := must[syncengine.ID](t)(o.agencyOf(o.maya)); now != other {
			t.Fatalf("Maya is of %s", now)
		}
		ada := o.signIn(o.ada, "ada.admin")
		ada.get("/console/devices").want(t, http.StatusOK, "Car 12", "Maya Ortiz")
		ada.get("/console/devices/"+o.idOf(maya).String()).want(t, http.StatusOK, "Suspend it")
		olga.get("/console/devices").want(t, http.StatusOK).never(t, "Car 12")
		olga.get("/console/devices/"+o.idOf(maya).String()).want(t, http.StatusNotFound)
	})
}

// A store whose device has no record, as a replay of the journal leaves it, is listed for the
// agency of its person, without what needs a record.
func TestDeviceWithoutRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		if err := o.st.Write(t.Context(), o.org.ID, 1, func(tx *store.Tx) error {
			for i, who := range []syncengine.ID{o.maya, o.fred} {
				if err := tx.SaveReplica(&syncengine.Replica{ID: syncengine.ID{1, byte(i)}, Device: syncengine.ID{2, byte(i)}, Person: who, Key: make([]byte, 32)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ada := o.signIn(o.ada, "ada.admin")
		ada.get("/console/devices").want(t, http.StatusOK, "Device without a record", "Maya Ortiz").never(t, "Fred", "What can be done")
		ada.get("/console/devices/"+syncengine.ID{2, 0}.String()).want(t, http.StatusNotFound)
	})
}

// moves has a member of staff work for another agency, which nobody but the server may.
func (o *office) moves(staff, agency syncengine.ID) {
	o.tb.Helper()
	if err := o.st.Write(o.tb.Context(), o.org.ID, 1, func(tx *store.Tx) error {
		rec, err := tx.Record(staff)
		if err != nil {
			return err
		}
		state, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		now, at := o.now().UnixMilli(), syncengine.Path{Field: syncengine.FieldAgency}
		id, err := syncengine.NewID(now, rand.Reader)
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(&tandemv1.Change{
			Id: id[:], Author: o.org.ID[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true},
			Records: []*tandemv1.RecordWrite{{Record: staff[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
				Field: at.Field, Value: syncengine.StringField(at.Field, agency.String()), Bases: syncengine.EncodeStamps(state.Bases(at, true)),
			}}}},
		})
		if err != nil {
			return err
		}
		batch, err := (&syncengine.Server{Rules: record.New(), Secrets: o.org.Secrets}).Begin(tx, now)
		if err != nil {
			return err
		}
		if _, err := batch.Local(&syncengine.Principal{Server: true}, raw); err != nil {
			return err
		}
		_, err = batch.Commit()
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
}

// agencyOf is the agency of a member of staff.
func (o *office) agencyOf(staff syncengine.ID) (agency syncengine.ID, err error) {
	_, err = o.admin.Change(o.tb.Context(), o.ada, func(c *server.Composer) error {
		_, msg, err := c.Record(staff)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Staff)
		agency, err = syncengine.ParseID(m.GetAgencyId())
		return errors.Join(err, errStop)
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return agency, err
}

var errStop = errors.New("nothing is to be changed")

// An admin's way through a device's page, by keyboard, in both languages; screenshots of it.
func TestDevicesLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang, theme string
		size              [2]int64
	}{
		{"console-phone-light-en-", "en", "light", browsertest.Phone}, {"console-laptop-dark-es-", "es", "dark", browsertest.Laptop},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, storetest.SQLite)
			d := o.device(o.maya, "Car 12")
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			secret := o.adminSits(b)
			word := func(en, es string) string {
				if l.lang == "es" {
					return es
				}
				return en
			}
			if l.lang == "es" {
				b.Goes("Español")
			}
			if l.theme == "dark" {
				b.Goes(word("Dark or light", "Oscuro o claro"))
			}
			b.Page("devices")
			b.PressGoes(word("What can be done", "Qué se puede hacer"))
			b.Look("device")
			b.PressGoes(word("Suspend it", "Suspenderlo"))
			b.Look("device-suspend")
			o.pass(time.Minute)
			b.Press("code", kb.End)
			b.Keys(totp(secret, o.now()))
			b.Keys(kb.Enter)
			b.Says(word("The device is suspended.", "El dispositivo está suspendido."))
			if _, err := d.Sync(t.Context()); !errors.Is(err, client.ErrSuspended) {
				t.Errorf("the device hears %v", err)
			}
			b.Page("staff/" + o.maya.String() + "?act=revoke")
			b.Look("staff-out")
			b.Page("devices/" + o.idOf(d).String() + "?act=wipe")
			b.Look("device-wipe")
			o.pass(time.Minute)
			b.Types("code", totp(secret, o.now()))
			b.Keys(kb.Enter)
			b.Says(word("The order is given", "La orden está dada"))
			b.Look("device-ordered")
			// Their person, with all that they have.
			b.Page("staff/" + o.maya.String())
			b.PressGoes(word("Shut this person out", "Excluir a esta persona"))
			o.pass(time.Minute)
			b.Press("code", kb.End)
			b.Keys(totp(secret, o.now()))
			b.Keys(kb.Enter)
			b.Says(word("This person is shut out, with all their devices.", "Esta persona está excluida, con todos sus dispositivos."))
		})
	}
}
