package syncengine_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"pgregory.net/rapid"
)

// FuzzMerge decodes a history from bytes, lets it arrive in two orders, and compares
// heads, display and work items with their definition after every step of both. The
// heads in the end are the same.
func FuzzMerge(f *testing.F) {
	for _, seed := range []string{"", strings.Repeat("\x00", 900), strings.Repeat("\x03\x91\x42\x07", 400), strings.Repeat("\xff\x10", 700)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		h := drawHistory(t)
		s, g := h.play(t, h.orders[0])
		r, _ := h.play(t, h.orders[1])
		for _, p := range g.paths() {
			switch policy(p.Field) {
			case tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE, tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED:
				continue
			}
			if a, b := headSet(s, p), headSet(r, p); !slices.Equal(a, b) {
				t.Fatalf("path %v: heads %v in one order, %v in the other", p, a, b)
			}
		}
	}))
}

// FuzzPosition: a position opens only as it was sealed.
func FuzzPosition(f *testing.F) {
	secrets := newSecrets(f, "one org")
	replica := idOf('p', 1)
	whole := secrets.Seal(replica, syncengine.Position{Epoch: idOf('e', 1), Seq: 7, Record: idOf('r', 9), Cut: 5})
	for _, seed := range [][]byte{nil, whole, whole[:12], whole[:len(whole)-1], append(bytes.Clone(whole), 0), secrets.Seal(idOf('p', 2), syncengine.Position{})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		defer need.Brief(t)()
		p, err := secrets.Open(replica, sealed)
		switch {
		case err != nil && (!errors.Is(err, syncengine.ErrPosition) || p != syncengine.Position{}):
			t.Fatalf("got %v, %v", p, err)
		case err == nil && len(sealed) > 0 && !bytes.Equal(secrets.Seal(replica, p), sealed):
			t.Fatal("a position opened that nobody has sealed")
		}
	})
}

// FuzzID: a text that is an id is the only text of it.
func FuzzID(f *testing.F) {
	for _, seed := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAl", "01arz3ndektsv4rrffq69g5fav", "../../../../../etc/passwd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer need.Brief(t)()
		id, err := syncengine.ParseID(text)
		if err != nil {
			if !id.IsZero() || text != "" && strings.Contains(err.Error(), text) && len(text) > 4 {
				t.Fatalf("got %v, %v", id, err)
			}
			return
		}
		if !strings.EqualFold(id.String(), text) {
			t.Fatalf("%q is read as %v", text, id)
		}
	})
}
