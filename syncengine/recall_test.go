package syncengine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// What comes after like messages is packed to a fraction, and unpacks to what it was.
func TestRecall(t *testing.T) {
	t.Parallel()
	var here, there syncengine.Recall
	if name, before := here.Newest(); name == 0 || before != nil || there.At(name, "") != nil {
		t.Fatalf("nothing is named %d and is %q", name, before)
	}
	for i := range 40 {
		message := fmt.Appendf(nil, "%d: the client was calm, oriented and agreed to a follow-up at the clinic; %s", i, strings.Repeat(fmt.Sprint(i*i*7919), 9))
		name, before := here.Newest()
		if i > 0 && !bytes.Equal(there.At(name, ""), before) {
			t.Fatalf("the ends do not remember the same after %d messages", i)
		}
		packed, err := syncengine.PackRecalled(message, before)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && len(packed) > len(message)/2 {
			t.Errorf("message %d of %d bytes takes %d", i, len(message), len(packed))
		}
		if got, err := syncengine.UnpackRecalled(packed, before); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%q, %v", got, err)
		}
		if a, b := here.Keep(before, message, ""), there.Keep(before, message, ""); a != b || a == name || a == 0 {
			t.Fatalf("the states are named %d and %d, the one before %d", a, b, name)
		}
	}
	_, before := here.Newest()
	if len(before) > syncengine.MaxRecall {
		t.Errorf("%d bytes are remembered", len(before))
	}
	here.Forget()
	if _, before := here.Newest(); before != nil {
		t.Error("what was forgotten is remembered")
	}
}

// Requests are under way beside each other: a few states are there, not all.
func TestRecallStates(t *testing.T) {
	t.Parallel()
	var r syncengine.Recall
	first := r.Keep(nil, []byte("first"), "a")
	if r.At(first, "b") != nil || string(r.At(first, "a")) != "first" {
		t.Error("a state is used with what others may see")
	}
	second := r.Keep(r.At(first, "a"), []byte(" second"), "a")
	if string(r.At(second, "a")) != "first second" || r.At(first, "a") == nil {
		t.Error("a state that a request under way may name is gone")
	}
	if again := r.Keep(nil, []byte("first"), "a"); again != first {
		t.Error("the same bytes have two names")
	}
	if r.Keep(nil, make([]byte, syncengine.MaxRecall+1), "a") != 0 || r.Keep(nil, nil, "a") != 0 {
		t.Error("what is too large, or nothing, is remembered")
	}
	for i := range 9 {
		r.Keep(nil, fmt.Appendf(nil, "more %d", i), "a")
	}
	if r.At(second, "a") != nil {
		t.Error("states are never forgotten")
	}
}

// What inflates beyond what is remembered, and what is damaged, is nothing.
func TestRecallDamaged(t *testing.T) {
	t.Parallel()
	bomb, err := syncengine.PackRecalled(make([]byte, 1<<20), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"a bomb": bomb, "noise": {0xff, 0xff, 1, 2}, "the beginning": bomb[:9], "nothing": nil} {
		if got, err := syncengine.UnpackRecalled(packed, nil); !errors.Is(err, syncengine.ErrIncomplete) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// An answer is remembered for its rows; one that holds anything else that was written is
// not, and the scopes of its rows, not those of the page, say who may see them.
func TestRecallable(t *testing.T) {
	t.Parallel()
	page := &tandemv1.Page{Scopes: [][]byte{[]byte("ops"), []byte("clinical"), []byte("ref")}, Rows: []*tandemv1.Row{{Scopes: 1 << 1}, {Scopes: 1 << 0}}}
	for name, one := range map[string]struct {
		answer *tandemv1.SyncAnswer
		want   string
		ok     bool
	}{
		"rows":           {&tandemv1.SyncAnswer{Page: page}, "clinicalops", true},
		"no page":        {&tandemv1.SyncAnswer{}, "", false},
		"no rows":        {&tandemv1.SyncAnswer{Page: &tandemv1.Page{}}, "", false},
		"with a lookup":  {&tandemv1.SyncAnswer{Page: page, LookedUp: []*tandemv1.Row{{}}}, "", false},
		"with a verdict": {&tandemv1.SyncAnswer{Page: page, Outcomes: []*tandemv1.Outcome{{}}}, "", false},
	} {
		if within, ok := syncengine.Recallable(one.answer); within != one.want || ok != one.ok {
			t.Errorf("%s: %q, %v", name, within, ok)
		}
	}
}
