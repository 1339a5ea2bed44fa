package app_test

import (
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// A call in a state that this app does not know, as of a newer one, stands with what is under
// way, with its code as it is; one that is over does not.
func TestCallOfNewerApp(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	var ids []syncengine.ID
	for _, number := range []string{"C12-newer", "C12-over"} {
		ids = append(ids, a.make(&tandemv1.Incident{Number: new(number), Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}))
	}
	for i, state := range []string{"held_for_handover", "locked"} {
		if err := a.dev.Transact(t.Context(), func(tx syncengine.DeviceTx) error {
			rec, err := tx.Record(ids[i])
			if err != nil {
				return err
			}
			m := &tandemv1.Incident{}
			if err := proto.Unmarshal(rec.Body, m); err != nil {
				return err
			}
			m.Lifecycle = &state
			if rec.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil {
				return err
			}
			return tx.SaveRecord(rec)
		}); err != nil {
			t.Fatal(err)
		}
	}
	page := a.get("today")
	_, under, ok := strings.Cut(page, "<h2>Under way</h2>")
	under, _, _ = strings.Cut(under, "</ul>")
	if !ok || !strings.Contains(under, "C12-newer") || !strings.Contains(under, "held_for_handover") || strings.Contains(page, "C12-over") {
		t.Errorf("the first page:\n%s", page)
	}
	if page := a.get("call/" + ids[0].String()); !strings.Contains(page, "held_for_handover") {
		t.Errorf("its page does not say so:\n%s", page)
	}
	if got, err := a.dev.List(t.Context(), "incident", client.Filter{Unknown: true}, client.Newest, 0); err != nil || len(got) != 1 || got[0].ID != ids[0] {
		t.Errorf("%d are unknown, %v", len(got), err)
	}
}
