package server_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func TestEnroll(t *testing.T) { each(t, testEnroll) }

func testEnroll(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 20)
	d := w.newDevice(1)
	code := w.code(w.clinician)
	answer := must[*tandemv1.EnrollResponse](t)(d.enroll.Enroll(t.Context(), d.enrolment(strings.ToLower(code))))
	if got, want := answer.GetPersonName(), clinicianName; got != want {
		t.Errorf("got name %q, want %q", got, want)
	}
	for _, id := range []struct {
		what      string
		got, want []byte
	}{
		{"org", answer.GetOrg(), w.org.ID[:]}, {"person", answer.GetPerson(), w.clinician[:]}, {"agency", answer.GetAgency(), w.agency[:]},
		{"team", answer.GetTeams()[0], w.team[:]}, {"program", answer.GetPrograms()[0], w.program[:]}, {"org key", answer.GetOrgKey(), w.org.PublicKey()},
	} {
		if !bytes.Equal(id.got, id.want) {
			t.Errorf("%s: got %x, want %x", id.what, id.got, id.want)
		}
	}
	if answer.GetDeviceLabel() != deviceLabel || len(answer.GetRoles()) != 1 || answer.GetRoles()[0] != "clinician" {
		t.Errorf("got %v", answer)
	}
	// The device is a record like any other.
	err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
		rec, err := v.Record(syncengine.ID(answer.GetDevice()))
		if err != nil {
			return err
		}
		msg, err := record.New().Message(&rec.Record)
		if err != nil {
			return err
		}
		made, ok := msg.(*tandemv1.Device)
		if !ok || made.GetLabel() != deviceLabel || !bytes.Equal(made.GetPublicKey(), d.key[ed25519.SeedSize:]) || made.GetAssignedStaffIds()[0] != w.clinician.String() {
			t.Errorf("got device %v", msg)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.way.last.Get("DPoP-Nonce") == "" {
		t.Error("the answer does not carry a nonce")
	}
	// A lost answer costs nothing: the same call gets the same certificate.
	again := must[*tandemv1.EnrollResponse](t)(d.enroll.Enroll(t.Context(), d.enrolment(code)))
	if !proto.Equal(answer, again) {
		t.Error("the second answer differs")
	}
	// Nothing of the code is kept or logged.
	all := must[[]*store.Enrolment](t)(w.s.Enrolments(t.Context(), w.org.ID))
	if len(all) != 1 || all[0].UsedReplica != d.replica || all[0].Attempts != 0 {
		t.Errorf("got enrolments %+v", all)
	}
	if log := w.log.String(); strings.Contains(log, code) || strings.Contains(log, strings.ReplaceAll(code, "-", "")) {
		t.Error("the log holds the code")
	}
	w.quiet()
}

func TestEnrollRefuses(t *testing.T) { each(t, testEnrollRefuses) }

func testEnrollRefuses(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 21)
	used := w.code(w.clinician)
	first := w.newDevice(1)
	must[*tandemv1.EnrollResponse](t)(first.enroll.Enroll(t.Context(), first.enrolment(used)))
	expired := w.code(w.clinician)
	w.pass(15*time.Minute + time.Second)
	head := w.head()
	for name, tc := range map[string]struct {
		req  func(d *device) *tandemv1.EnrollRequest
		want error
	}{
		"an unknown code":   {func(d *device) *tandemv1.EnrollRequest { return d.enrolment("0000-0000-0000") }, server.ErrCode},
		"no code":           {func(d *device) *tandemv1.EnrollRequest { return d.enrolment("") }, server.ErrCode},
		"an expired code":   {func(d *device) *tandemv1.EnrollRequest { return d.enrolment(expired) }, server.ErrCodeExpired},
		"a used code, late": {func(d *device) *tandemv1.EnrollRequest { return d.enrolment(used) }, server.ErrCodeExpired},
		"a proof of another code": {func(d *device) *tandemv1.EnrollRequest {
			r := d.enrolment(expired)
			r.Code = used
			return r
		}, server.ErrEnrolForm},
		"a proof of another replica": {func(d *device) *tandemv1.EnrollRequest {
			r := d.enrolment(expired)
			r.Replica = bytes.Repeat([]byte{7}, 16)
			return r
		}, server.ErrEnrolForm},
		"no key": {func(d *device) *tandemv1.EnrollRequest {
			r := d.enrolment(expired)
			r.PublicKey = nil
			return r
		}, server.ErrEnrolForm},
		"no replica": {func(d *device) *tandemv1.EnrollRequest {
			d.replica = syncengine.ID{}
			return d.enrolment(w.code(w.clinician))
		}, server.ErrEnrolForm},
		"a replica that is taken": {func(d *device) *tandemv1.EnrollRequest {
			d.replica = first.replica
			return d.enrolment(w.code(w.clinician))
		}, server.ErrReplicaTaken},
		"a platform without end": {func(d *device) *tandemv1.EnrollRequest {
			r := d.enrolment(w.code(w.clinician))
			r.Platform = strings.Repeat("x", 1000)
			return r
		}, server.ErrEnrolForm},
	} {
		d := w.newDevice(2)
		_, err := d.enroll.Enroll(t.Context(), tc.req(d))
		if e, ok := errors.AsType[*connect.Error](err); !ok || e.Message() != tc.want.Error() {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if w.head() != head {
		t.Error("an enrolment that was refused moved the history")
	}
	w.quiet()
}

func TestEnrollOfSomeoneWhoLeft(t *testing.T) { each(t, testEnrollOfSomeoneWhoLeft) }

func testEnrollOfSomeoneWhoLeft(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 22)
	d := w.newDevice(1)
	req := d.enrolment(w.code(w.clinician))
	w.change(w.clinician, "staff", syncengine.FieldLifecycle, record.Retired)
	_, err := d.enroll.Enroll(t.Context(), req)
	if e, ok := errors.AsType[*connect.Error](err); !ok || e.Message() != server.ErrStaffInactive.Error() {
		t.Errorf("got %v, want ErrStaffInactive", err)
	}
	if _, err := w.admin.IssueCode(t.Context(), w.clinician, deviceLabel); !errors.Is(err, server.ErrStaffInactive) {
		t.Errorf("a code for someone who left: got %v", err)
	}
}

// change writes one field of a record at the server.
func (w *world) change(id syncengine.ID, kind string, field uint32, value string) {
	w.t.Helper()
	change := w.id()
	err := w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		rec, err := tx.Record(id)
		if err != nil {
			return err
		}
		origin, err := rec.Origin()
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(&tandemv1.Change{
			Id: change[:], Author: w.org.ID[:], Schema: 1,
			Records: []*tandemv1.RecordWrite{{
				Record: id[:], Kind: record.New().KindByName(kind).Number, Act: tandemv1.Act_ACT_SET,
				Writes: []*tandemv1.PathWrite{{Field: field, Value: syncengine.StringField(field, value), Bases: syncengine.EncodeStamps([]syncengine.Stamp{origin.Created})}},
			}},
		})
		if err != nil {
			return err
		}
		b, err := (&syncengine.Server{Rules: record.New(), Secrets: w.org.Secrets}).Begin(tx, w.clock().UnixMilli())
		if err != nil {
			return err
		}
		out, err := b.Local(&syncengine.Principal{Server: true}, raw)
		if err != nil {
			return err
		}
		if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			w.t.Errorf("got %v", out)
		}
		_, err = b.Commit()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestEnrollRaced(t *testing.T) { each(t, testEnrollRaced) }

func testEnrollRaced(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 23)
	code := w.code(w.clinician)
	const racers = 8
	devices := make([]*device, racers)
	for i := range devices {
		devices[i] = w.newDevice(byte(i + 1))
	}
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i, d := range devices {
		wg.Go(func() { _, errs[i] = d.enroll.Enroll(t.Context(), d.enrolment(code)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if e, ok := errors.AsType[*connect.Error](err); !ok || e.Message() != server.ErrCodeUsed.Error() {
			t.Errorf("got %v, want ErrCodeUsed", err)
		}
	}
	if won != 1 {
		t.Errorf("%d devices enrolled with one code", won)
	}
	e := must[[]*store.Enrolment](t)(w.s.Enrolments(t.Context(), w.org.ID))[0]
	if e.Attempts != racers-1 {
		t.Errorf("%d refused tries were noted, want %d", e.Attempts, racers-1)
	}
}

func TestGuessing(t *testing.T) { each(t, testGuessing) }

func testGuessing(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 24)
	d := w.newDevice(1)
	limited := 0
	for range 60 {
		if _, err := d.enroll.Enroll(t.Context(), d.enrolment("0000-0000-0000")); codeOf(err) == connect.CodeResourceExhausted {
			limited++
		}
	}
	if limited < 30 {
		t.Errorf("%d of 60 guesses were held up", limited)
	}
	// The right code waits as well, and is taken a little later.
	req := d.enrolment(w.code(w.clinician))
	if _, err := d.enroll.Enroll(t.Context(), req); codeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("got %v, want resource exhausted", err)
	}
	w.pass(5 * time.Second)
	must[*tandemv1.EnrollResponse](t)(d.enroll.Enroll(t.Context(), req))
}
