package mobile

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

func body(t *testing.T, msg proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// incident is what a view holds.
func incident(t *testing.T, v *View) *tandemv1.Incident {
	t.Helper()
	msg := &tandemv1.Incident{}
	if v.Kind != "incident" {
		t.Fatalf("a %s", v.Kind)
	}
	if err := proto.Unmarshal(v.Body, msg); err != nil {
		t.Fatal(err)
	}
	return msg
}

// get is a record as a device shows it.
func get(t *testing.T, d *Device, id string) *View {
	t.Helper()
	v, err := d.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// create saves a call on a device.
func create(t *testing.T, d *Device, msg *tandemv1.Incident, urgent bool) string {
	t.Helper()
	s := d.Begin()
	id, err := s.Create("incident", body(t, msg))
	if err != nil {
		t.Fatal(err)
	}
	if urgent {
		s.Urgent()
	}
	if err := d.Commit(s); err != nil {
		t.Fatal(err)
	}
	return id
}

// set changes the type of a call.
func set(t *testing.T, d *Device, id, to string) {
	t.Helper()
	v := get(t, d, id)
	msg := incident(t, v)
	msg.CallType = new(to)
	s := d.Begin()
	if err := s.Set(v, body(t, msg)); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(s); err != nil {
		t.Fatal(err)
	}
}

func syncAll(t *testing.T, devices ...*Device) {
	t.Helper()
	for _, d := range devices {
		if _, err := d.SyncOnce(60_000); err != nil {
			t.Fatal(err)
		}
	}
}

// Two people write over one another through the API that apps bind to, and settle it.
func TestApp(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ana, _ := o.phone("Ana")
	ben, heard := o.phone("Ben")
	who, err := ana.Who()
	if err != nil || who.Name != "Ana" || who.Roles != "clinician" || who.Teams == "" {
		t.Fatalf("%+v, %v", who, err)
	}
	id := create(t, ana, &tandemv1.Incident{Number: new("26-0417"), CallType: new("welfare_check")}, false)
	if v := get(t, ana, id); v.Pending != 1 || v.AtServer || incident(t, v).GetNumber() != "26-0417" {
		t.Errorf("before the server has it: %+v", v)
	}
	m, err := ana.SyncOnce(60_000)
	if err != nil || m.Sent != 1 || m.BytesUp == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	syncAll(t, ben)
	if v := get(t, ben, id); !v.AtServer || v.Pending != 0 {
		t.Errorf("at the other one: %+v", v)
	}
	set(t, ana, id, "suicide_threat")
	set(t, ben, id, "disturbance")
	syncAll(t, ana, ben, ana)

	q := NewQuery("incident")
	q.Conflicts = true
	found, err := ana.List(q)
	if err != nil || found.Len() != 1 || found.At(0).ID != id || found.At(1) != nil {
		t.Fatalf("%+v, %v", found, err)
	}
	v := get(t, ana, id)
	c, err := v.Conflict(0)
	if err != nil || v.Conflicts != 1 || c.Field != "call_type" || c.Values != 2 {
		t.Fatalf("%+v, %+v, %v", v, c, err)
	}
	values := map[string]int{}
	for i := range c.Values {
		choice, err := c.Choice(i)
		if err != nil || choice.AuthorID == "" || choice.AtMS == 0 {
			t.Fatalf("%+v, %v", choice, err)
		}
		msg := &tandemv1.Incident{}
		if err := proto.Unmarshal(choice.Body, msg); err != nil {
			t.Fatal(err)
		}
		values[msg.GetCallType()] = i
	}
	s := ana.Begin()
	if err := s.Resolve(v, 0, values["disturbance"], "asked the caller again"); err != nil {
		t.Fatal(err)
	}
	if err := ana.Commit(s); err != nil {
		t.Fatal(err)
	}
	syncAll(t, ana, ben)
	if v := get(t, ben, id); v.Conflicts != 0 || incident(t, v).GetCallType() != "disturbance" {
		t.Errorf("settled: %+v", v)
	}
	if found, err := ben.Search("26-0417", 10); err != nil || found.Len() != 1 || found.At(0).ID != id {
		t.Errorf("searched: %+v, %v", found, err)
	}
	if err := ben.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(heard.changed, " "), id) {
		t.Errorf("the app was told of %q", heard.changed)
	}
	if heard.log == "" || strings.Contains(heard.log, "26-0417") {
		t.Errorf("the log:\n%s", heard.log)
	}
	st, err := ana.Status()
	if err != nil || !st.Enrolled || st.Queued != 0 || st.VerifiedMS == 0 || st.Records == 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// Typing that was not saved outlives the process.
func TestDraft(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := NewSettings(filepath.Join(t.TempDir(), "phone"))
	d := o.bare(s, &app{})
	if err := d.KeepDraft("call/new", []byte("half a sen")); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = o.bare(s, &app{})
	if typed, err := d.Draft("call/new"); err != nil || string(typed) != "half a sen" {
		t.Errorf("%q, %v", typed, err)
	}
	if err := d.KeepDraft("call/new", nil); err != nil {
		t.Fatal(err)
	}
	if typed, err := d.Draft("call/new"); err != nil || typed != nil {
		t.Errorf("dropped: %q, %v", typed, err)
	}
}

// A store in a vault opens with the passphrase alone, and hides what it holds.
func TestVault(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := NewSettings(filepath.Join(t.TempDir(), "phone"))
	s.Vault = true
	host := &app{passphrase: "four plain words here"}
	d := o.bare(s, host)
	if err := d.Enroll(address, o.code("Ana"), 60_000); err != nil {
		t.Fatal(err)
	}
	id := create(t, d, &tandemv1.Incident{CallType: new("welfare_check")}, false)
	if err := d.Lock(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(id); ErrorCode(text(err)) != CodeLocked {
		t.Errorf("locked, it shows the call: %v", err)
	}
	create(t, d, &tandemv1.Incident{CallType: new("disturbance")}, false)
	syncAll(t, d)
	if err := d.Unlock([]byte("four other words here")); err == nil {
		t.Error("it opens to another passphrase")
	}
	typed := []byte("four plain words here")
	if err := d.Unlock(typed); err != nil || typed[0] != 0 {
		t.Errorf("unlocked: %v; the passphrase is %q", err, typed)
	}
	get(t, d, id)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s, &app{}); ErrorCode(text(err)) != CodeLocked {
		t.Errorf("without its passphrase: %v", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Each error crosses as a code and words, and saying the code apart from the words is
// all that a host has to do.
func TestErrors(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	d := o.bare(NewSettings(filepath.Join(t.TempDir(), "phone")), &app{})
	if _, err := d.Who(); ErrorCode(text(err)) != CodeEnroll {
		t.Errorf("not enrolled: %v", err)
	}
	if err := d.Start(); ErrorCode(text(err)) != CodeEnroll {
		t.Errorf("started by nobody: %v", err)
	}
	o.down.Store(true)
	if err := d.Enroll(address, o.code("Ana"), 60_000); ErrorCode(text(err)) != CodeNetwork || ErrorWords(text(err)) == "" {
		t.Errorf("no way to the server: %v", err)
	}
	o.down.Store(false)
	if err := d.Enroll(address, "0000-0000", 60_000); ErrorCode(text(err)) != CodeRefused {
		t.Errorf("a code that is none: %v", err)
	}
	if err := d.Enroll(address, o.code("Ana"), 60_000); err != nil {
		t.Fatal(err)
	}
	if err := d.Enroll(address, o.code("Ana"), 60_000); ErrorCode(text(err)) != CodeEnroll {
		t.Errorf("enrolled twice: %v", err)
	}
	for _, id := range []string{"", "x", "01JZZZZZZZZZZZZZZZZZZZZZZZ"} {
		if _, err := d.Get(id); ErrorCode(text(err)) != CodeNotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	s := d.Begin()
	for name, err := range map[string]error{
		"a kind that is none":      second(s.Create("song", nil)),
		"a body that is none":      second(s.Create("incident", []byte{0xff})),
		"a view that is none":      s.Set(nil, nil),
		"a void of nothing":        s.MakeVoid(nil, "x"),
		"a conflict of nothing":    s.Resolve(nil, 0, 0, ""),
		"another device's save":    d.Commit(&Save{}),
		"a save of nobody":         second((&Save{}).Create("incident", nil)),
		"a view of nobody":         s.Set(&View{Kind: "incident"}, nil),
		"a view made by hand":      second((&View{}).Conflict(0)),
		"a list of nothing":        second(d.List(nil)),
		"no save":                  d.Commit(nil),
		"a list of no kind":        second(d.List(NewQuery("song"))),
		"settings without a store": second(Open(NewSettings(""), &app{})),
		"no host":                  second(Open(NewSettings("x"), nil)),
	} {
		if err == nil || ErrorWords(err.Error()) == err.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Create("incident", body(t, &tandemv1.Incident{CallType: new("Not A Code")})); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(s); ErrorCode(text(err)) != CodeInvalid || strings.Contains(text(err), "Not A Code") {
		t.Errorf("an invalid save: %v", err)
	}
	if ErrorCode("a sentence: with a colon") != CodeOther || ErrorWords("a sentence: with a colon") != "a sentence: with a colon" {
		t.Error("what did not come from here is taken apart")
	}
	// Every error of contact has a code of its own.
	for _, err := range []error{client.ErrNetwork, client.ErrBusy, client.ErrRefused, client.ErrServerKey, client.ErrRejected} {
		if codeOf(&client.ContactError{Kind: err, Words: "x"}) == CodeOther {
			t.Errorf("%v has no code", err)
		}
	}
	if codeOf(errors.New("x")) != CodeOther {
		t.Error("an unknown error has a code")
	}
}

func second[T any](_ T, err error) error { return err }
