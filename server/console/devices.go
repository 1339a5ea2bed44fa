package console

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

type devicesData struct {
	Page *web.Page
	Rows []deviceRow
}

// clockOff is how far a device's clock may be off before that is said.
const clockOff = 2 * time.Minute

// deviceRow is one store of a device, as it stood when it was last heard of.
type deviceRow struct {
	ID, Label, Who, State, Version string
	Seen, Unsent, Since, Clock     string
	Notes                          []string
	// Known: the device has a record, without which nothing can be done with it.
	Known bool
	// Kept says whether what it has unsent is kept sealed to the org as well; of a device
	// that was not heard of nobody knows.
	Kept string
}

// devices lists the devices of the person's agency: whoever works with one may be of another by
// now. One without a record, as a replay of the journal leaves it, is of its person's.
func (v *visit) devices() error {
	d := &devicesData{Page: v.page("navDevices", "devices")}
	replicas, err := v.office().Replicas(v.ctx())
	if err != nil {
		return err
	}
	err = v.look("devices", syncengine.ID{}, func(s *sight) error {
		ids := make([]syncengine.ID, 0, len(replicas))
		for _, r := range replicas {
			ids = append(ids, r.Device)
		}
		s.load(ids...)
		mine := s.colleagues()
		d.Rows = s.deviceRows(replicas, v.c.srv.Seen(v.who.Org.ID), func(r *syncengine.Replica) bool {
			return s.ownDevice(r.Device) != nil || s.see(r.Device) == nil && mine[r.Person]
		})
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "devices", d)
}

// ownDevice is a device of the person's agency, nil for every other.
func (s *sight) ownDevice(id syncengine.ID) *tandemv1.Device {
	it := s.see(id)
	if it == nil {
		return nil
	}
	if m, ok := it.msg.(*tandemv1.Device); ok && m.GetAgencyId() == s.p.Agency.String() {
		return m
	}
	return nil
}

// deviceRows are the stores that no other has replaced, of those that are asked for.
func (s *sight) deviceRows(replicas []*syncengine.Replica, seen map[syncengine.ID]server.DeviceSeen, asked func(*syncengine.Replica) bool) (rows []deviceRow) {
	replaced := map[syncengine.ID]bool{}
	for _, r := range replicas {
		replaced[r.Replaces] = true
	}
	for _, r := range replicas {
		if !replaced[r.ID] && asked(r) {
			rows = append(rows, s.deviceRow(r, seen))
		}
	}
	slices.SortFunc(rows, func(a, b deviceRow) int { return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Label, b.Label)) })
	return rows
}

func (s *sight) deviceRow(r *syncengine.Replica, seen map[syncengine.ID]server.DeviceSeen) deviceRow {
	row := deviceRow{ID: r.Device.String(), Label: s.t("unknownDevice"), Who: s.staffName(r.Person), Seen: s.t("notSeen")}
	if it := s.see(r.Device); it != nil {
		if m, ok := it.msg.(*tandemv1.Device); ok {
			row.Known, row.Label, row.Version = true, m.GetLabel(), m.GetAppVersion()
			row.State = s.code(s.c.domain.FieldCodes("device", "state"), m.GetState())
		}
	}
	if at, ok := seen[r.ID]; ok {
		row.Seen, row.Unsent = s.ago(at.At.UnixMilli()), strconv.FormatUint(at.Unsent, 10)
		if row.Clock = s.t("clockRight"); at.Ahead.Abs() > clockOff {
			row.Clock = sprintf(s.t("clockOff"), at.Ahead.Round(time.Minute))
			row.Notes = append(row.Notes, s.t("clockWrong"))
		}
		if at.Unsent > 0 {
			row.Since = s.ago(at.Since.UnixMilli())
		}
		if row.Kept = s.t("notSealed"); at.Sealed {
			row.Kept = s.t("isSealed")
		}
	}
	for is, key := range map[string]bool{
		"devSuspended": r.Suspended && r.WipeToldMS == 0 && r.WipedMS == 0, "devRevoked": r.Revoked, "devForked": r.Forked, "devUnconfirmed": r.Unconfirmed,
		"devWipe": r.WipeOrderedMS > 0 && r.WipedMS == 0, "devWiped": r.WipedMS > 0,
	} {
		if key {
			row.Notes = append(row.Notes, s.t(is))
		}
	}
	slices.Sort(row.Notes)
	return row
}

// deviceActs are what an admin can do with a device, by the code of each.
var deviceActs = map[string]server.DeviceAct{
	"suspend": server.Suspend, "lift": server.Lift, "revoke": server.Revoke, "wipe": server.Wipe, "keep": server.KeepUnwiped,
}

// actsOn are those that can be done with a device as it stands, the mildest first.
func actsOn(d *server.DeviceState) (acts []string) {
	for _, can := range d.Acts() {
		for name, act := range deviceActs {
			if act == can {
				acts = append(acts, name)
			}
		}
	}
	return acts
}

type deviceData struct {
	Page   *web.Page
	ID     string
	Why    string
	Stores []deviceRow
	// Wipe is how the order to wipe it stands, in steps; empty for none.
	Wipe []fact
	Acts []string
	// Act is the one that is to be confirmed, empty for none yet.
	Act     string
	Confirm *confirmation
}

// devicePage shows one device: what may still be on it, and what can be done with it.
func (v *visit) devicePage() error {
	return v.deviceShow(http.StatusOK, v.r.URL.Query().Get("act"), "")
}

func (v *visit) deviceShow(status int, act, why string) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	all, err := v.office().Devices(v.ctx())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(d *server.DeviceState) bool { return d.ID == id })
	replicas, err := v.office().Replicas(v.ctx())
	if err != nil {
		return err
	}
	d := &deviceData{Page: v.page("navDevices", "devices/"+id.String()), ID: id.String(), Why: why}
	err = v.look("device", id, func(s *sight) error {
		m := s.ownDevice(id)
		if m == nil || i < 0 {
			return errAbsent
		}
		d.Page.Title = m.GetLabel()
		d.Stores = s.deviceRows(replicas, v.c.srv.Seen(v.who.Org.ID), func(r *syncengine.Replica) bool { return r.Device == id })
		d.Wipe, d.Acts = s.wipeSteps(all[i]), actsOn(all[i])
		return nil
	})
	if err != nil {
		return err
	}
	if slices.Contains(d.Acts, act) {
		d.Act = act
		d.Confirm, err = v.confirmation("devices/"+d.ID, "device "+act+" "+d.ID, v.t("dev."+act), act)
	}
	if err != nil {
		return err
	}
	return v.show(status, "device", d)
}

// wipeSteps are how far the order to wipe a device has come.
func (s *sight) wipeSteps(d *server.DeviceState) (steps []fact) {
	if d.OrderedMS == 0 {
		return nil
	}
	when := func(ms int64) string {
		if ms == 0 {
			return s.t("notYet")
		}
		return s.moment(ms)
	}
	steps = []fact{{s.t("wipeAsked"), when(d.OrderedMS)}, {s.t("wipeTold"), when(d.ToldMS)}, {s.t("wipeDone"), when(d.WipedMS)}}
	if d.Stores > 1 {
		steps[2].Says += " · " + sprintf(s.t("wipeOf"), d.Wiped, d.Stores)
	}
	return steps
}

// actOnDevice does one of them, with the person's second factor.
func (v *visit) actOnDevice() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	name := v.form("act")
	act, known := deviceActs[name]
	if !known {
		return errForm
	}
	err = v.office().ActOnDevice(v.ctx(), v.who.Staff, id, act, v.confirmed("device "+name+" "+id.String()))
	if status, why := v.unconfirmed(err); why != "" {
		return v.deviceShow(status, name, why)
	}
	if errors.Is(err, server.ErrDeviceMoved) {
		return v.deviceShow(http.StatusConflict, "", v.t("errDeviceMoved"))
	}
	if err != nil {
		return err
	}
	return v.to("devices/" + id.String() + "?done=okDevice." + name)
}
