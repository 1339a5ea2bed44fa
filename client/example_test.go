package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A device from nothing to its first synced record: opened, enrolled, written to
// without a network, and brought in step.
func Example() {
	ctx := context.Background()
	office := newDemo(ctx)
	dir, server, code := filepath.Join(office.dir, "tablet"), office.url, office.code(ctx, "Ana")

	c, err := client.Open(ctx, dir, client.Options{Logger: zerolog.Nop(), Timezone: "America/Chicago"})
	if err != nil {
		panic(err)
	}
	if err := c.Enroll(ctx, server, code); err != nil {
		panic(err)
	}
	who, err := c.Session()
	if err != nil {
		panic(err)
	}
	fmt.Println("enrolled:", who.Name, who.Roles)

	saved, err := c.Edit(ctx, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{Number: new("26-0417"), CallType: new("welfare_check")})
		return err
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("on the disk:", len(saved.Records), "record")

	moved, err := c.Sync(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("at the server:", moved.Applied, "save; scopes that differ:", moved.Differing)

	office.close(c)
	// Output:
	// enrolled: Ana [clinician]
	// on the disk: 1 record
	// at the server: 1 save; scopes that differ: 0
}

// Opening makes the store where there is none. One process at a time has it open.
func ExampleOpen() {
	ctx := context.Background()
	office := newDemo(ctx)
	dir := filepath.Join(office.dir, "tablet")

	c, err := client.Open(ctx, dir, client.Options{Logger: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	_, err = client.Open(ctx, dir, client.Options{Logger: zerolog.Nop()})
	fmt.Println("a second time:", errors.Is(err, client.ErrInUse))
	status, err := c.Status(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("enrolled:", status.Enrolled)

	office.close(c)
	// Output:
	// a second time: true
	// enrolled: false
}

// An admin reads a one-time code out; the device trades it for a certificate of a key
// that never leaves it. A wrong code and a broken connection are told apart, and the call
// may be repeated.
func ExampleClient_Enroll() {
	ctx := context.Background()
	office := newDemo(ctx)
	server, code := office.url, office.code(ctx, "Ana")
	c, err := client.Open(ctx, filepath.Join(office.dir, "tablet"), client.Options{Logger: zerolog.Nop()})
	if err != nil {
		panic(err)
	}

	err = c.Enroll(ctx, server, "0000-0000-0000")
	switch {
	case errors.Is(err, client.ErrRefused):
		fmt.Println("the server did not take the code")
	case errors.Is(err, client.ErrNetwork):
		fmt.Println("no answer: try again")
	}
	if err := c.Enroll(ctx, server, strings.ToLower(code)); err != nil {
		panic(err)
	}
	fmt.Println("again:", errors.Is(c.Enroll(ctx, server, code), client.ErrEnrolled))

	office.close(c)
	// Output:
	// the server did not take the code
	// again: true
}

// A save is all or nothing. What is changed is the view that a person saw, so that the
// save says which values it writes over.
func ExampleClient_Edit() {
	ctx := context.Background()
	office := newDemo(ctx)
	c := office.device(ctx, "Ana")

	saved, err := c.Edit(ctx, func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	})
	if err != nil {
		panic(err)
	}
	view, err := c.Get(ctx, saved.Records[0])
	if err != nil {
		panic(err)
	}
	incident, ok := view.Message.(*tandemv1.Incident)
	if !ok {
		panic("an incident was created")
	}
	incident.CallType = new("suicide_threat")
	if _, err := c.Edit(ctx, func(e *client.Edit) error { return e.Set(view, incident) }); err != nil {
		panic(err)
	}

	// What a form would not take is not saved, and the error names fields, never values.
	_, err = c.Edit(ctx, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("No Code")})
		return err
	})
	if invalid, ok := errors.AsType[*client.InvalidError](err); ok {
		fmt.Println("not saved:", invalid.Fields)
	}
	status, err := c.Status(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("waiting to be sent:", status.Queued)

	office.close(c)
	// Output:
	// not saved: [incident/call_type]
	// waiting to be sent: 2
}

// One call sends what waits and reads to the end. Without a network nothing is lost and
// nothing has changed.
func ExampleClient_Sync() {
	ctx := context.Background()
	office := newDemo(ctx)
	c := office.device(ctx, "Ana")
	_, err := c.Edit(ctx, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	})
	if err != nil {
		panic(err)
	}

	office.away(true)
	if _, err := c.Sync(ctx); errors.Is(err, client.ErrNetwork) {
		fmt.Println("no answer; what is unsent stays")
	}
	office.away(false)
	moved, err := c.Sync(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("applied:", moved.Applied, "not accepted:", moved.NotAccepted)

	office.close(c)
	// Output:
	// no answer; what is unsent stays
	// applied: 1 not accepted: 0
}

// Run keeps a device in step for as long as the app lives; OnChange says which records
// to show anew.
func ExampleClient_Run() {
	ctx, stop := context.WithCancel(context.Background())
	office := newDemo(ctx)
	ana := office.device(ctx, "Ana")

	changed := make(chan struct{}, 1)
	ben, err := client.Open(ctx, filepath.Join(office.dir, "Ben"), client.Options{
		Logger: zerolog.Nop(),
		OnChange: func([]syncengine.ID) {
			select {
			case changed <- struct{}{}:
			default: // There is word already.
			}
		},
	})
	if err != nil {
		panic(err)
	}
	if err := ben.Enroll(ctx, office.url, office.code(ctx, "Ben")); err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ben.Run(ctx) }()

	_, err = ana.Edit(ctx, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	})
	if err != nil {
		panic(err)
	}
	if _, err := ana.Sync(ctx); err != nil {
		panic(err)
	}
	for calls := []*client.View(nil); len(calls) == 0; {
		<-changed
		if calls, err = ben.List(ctx, "incident", client.Filter{}, client.Newest, 0); err != nil {
			panic(err)
		}
	}
	fmt.Println("Ben sees the call")
	stop()
	fmt.Println("ended:", errors.Is(<-ended, context.Canceled))

	office.close(ana, ben)
	// Output:
	// Ben sees the call
	// ended: true
}

// A list shows the last complete cut, with the device's own unsettled saves on top.
func ExampleClient_List() {
	ctx := context.Background()
	office := newDemo(ctx)
	c := office.device(ctx, "Ana")
	for _, number := range []string{"26-1", "26-2"} {
		_, err := c.Edit(ctx, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{Number: &number, CallType: new("welfare_check")})
			return err
		})
		if err != nil {
			panic(err)
		}
	}

	views, err := c.List(ctx, "incident", client.Filter{Lifecycle: "open"}, client.Oldest, 50)
	if err != nil {
		panic(err)
	}
	for _, v := range views {
		if incident, ok := v.Message.(*tandemv1.Incident); ok {
			fmt.Println(incident.GetNumber(), "unsent saves:", v.Pending)
		}
	}

	office.close(c)
	// Output:
	// 26-1 unsent saves: 1
	// 26-2 unsent saves: 1
}

// Two people write one field without having seen each other's value: both are kept, and
// a person settles it.
func ExampleEdit_Resolve() {
	ctx := context.Background()
	office := newDemo(ctx)
	ana, ben := office.device(ctx, "Ana"), office.device(ctx, "Ben")
	saved, err := ana.Edit(ctx, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	})
	if err != nil {
		panic(err)
	}
	id := saved.Records[0]
	syncAll(ctx, ana, ben)
	for c, kind := range map[*client.Client]string{ana: "behavioral_crisis", ben: "suicide_threat"} {
		view, err := c.Get(ctx, id)
		if err != nil {
			panic(err)
		}
		incident, ok := view.Message.(*tandemv1.Incident)
		if !ok {
			panic("an incident was created")
		}
		incident.CallType = &kind
		if _, err := c.Edit(ctx, func(e *client.Edit) error { return e.Set(view, incident) }); err != nil {
			panic(err)
		}
	}
	syncAll(ctx, ana, ben, ana)

	view, err := ana.Get(ctx, id)
	if err != nil {
		panic(err)
	}
	for _, conflict := range view.Conflicts {
		fmt.Println(conflict.Field, "has", len(conflict.Choices), "values")
		_, err := ana.Edit(ctx, func(e *client.Edit) error {
			return e.Resolve(view, conflict.Path, conflict.Choices[1].Raw, "asked the caller again")
		})
		if err != nil {
			panic(err)
		}
	}
	syncAll(ctx, ana, ben)
	if view, err = ben.Get(ctx, id); err != nil {
		panic(err)
	}
	fmt.Println("left:", len(view.Conflicts))

	office.close(ana, ben)
	// Output:
	// call_type has 2 values
	// left: 0
}

// TestExamplesInDocs: the programs of docs/client.md are examples, which run.
func TestExamplesInDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(code []byte) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(string(code), "") }
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Errorf("the page has %d programs", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(plain(examples), plain(b[1])) {
			t.Errorf("this stands in docs/client.md and in no example of example_test.go:\n%s", b[1])
		}
	}
}
