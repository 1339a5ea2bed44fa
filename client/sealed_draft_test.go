package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/seal"
	"google.golang.org/protobuf/proto"
)

// typed are the drafts in quarantine, as "key: words", in order.
func (o *office) typed() (found []string) {
	o.t.Helper()
	all, err := o.st.Quarantined(o.t.Context(), o.org.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, c := range all {
		change := &tandemv1.Change{}
		if err := proto.Unmarshal(c.Body, change); err != nil {
			o.t.Fatal(err)
		}
		if d := change.GetDraft(); d != nil {
			if c.Author != o.clinician || c.Outcome.GetRefusal() != tandemv1.Refusal_REFUSAL_DRAFT {
				o.t.Errorf("a draft by %s, %s", c.Author, c.Outcome.GetRefusal())
			}
			found = append(found, d.GetKey()+": "+string(d.GetBody()))
		}
	}
	slices.Sort(found)
	return found
}

func draftInto(tb testing.TB, c *Client, key, words string) {
	tb.Helper()
	if err := c.SaveDraft(tb.Context(), key, []byte(words)); err != nil {
		tb.Fatal(err)
	}
}

// What was typed and never saved is delivered from the sealed outbox when the store can
// be opened no more: the newest version of each draft, once, and nothing of those that
// were dropped.
func TestDraftsAreDelivered(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	var now atomic.Int64
	c, other := o.enrol(o.clinician, dir, boxed(&now)), o.enrol(o.second, t.TempDir())
	draftInto(t, c, "form", "first words")
	draftInto(t, c, "dropped", "dropped words")
	draftInto(t, c, "again", "words of before")
	draftInto(t, c, "form", "the words in the end")
	for _, key := range []string{"dropped", "again", "never there"} {
		if err := c.DropDraft(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	draftInto(t, c, "again", "words under the same name")

	// As long as its author has it, nobody else need.
	if _, err := c.Deliver(t.Context(), SealedPath(dir)); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	if got := o.typed(); len(got) > 0 {
		t.Errorf("delivered of a store that is in use: %q", got)
	}
	raw, err := os.ReadFile(SealedPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("words")) || bytes.Contains(raw, []byte("form")) {
		t.Error("words stand in the sealed outbox in clear")
	}
	if list, err := ListSealed(SealedPath(dir)); err != nil || len(list.Replicas) != 1 || list.Replicas[0].Drafts != 2 {
		t.Errorf("listed: %+v, %v", list, err)
	}

	shut(t, c)
	if err := Erase(dir); err != nil {
		t.Fatal(err)
	}
	want := []string{"again: words under the same name", "form: the words in the end"}
	for range 2 {
		if done, err := other.Deliver(t.Context(), SealedPath(dir)); err != nil || done.Left() > 0 {
			t.Fatalf("delivering: %+v, %v", done, err)
		}
		if got := o.typed(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A draft that a crash has left unsealed is sealed when the store is opened, and so are
// those of a store that is older than sealed drafts; one that was dropped is no more.
func TestDraftsAreSealedAtOpen(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	c, other := o.enrol(o.clinician, dir), o.enrol(o.second, t.TempDir())
	draftInto(t, c, "dropped", "dropped words")
	draftInto(t, c, "changed", "old words")
	err := c.store.write(t.Context(), "a crash", func(t *tx) error {
		for _, q := range []string{
			`DELETE FROM draft WHERE key = 'dropped'`,
			`UPDATE draft SET body = x'6e6577', version = version + 1 WHERE key = 'changed'`,
			`INSERT INTO draft (key, at, body) VALUES ('older', 5, x'6f6c646572')`,
		} {
			if err := t.exec(q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	c = newClient(t, dir)
	size := mustStatus(t, c).Sealed.Bytes
	shut(t, c)
	c = newClient(t, dir)
	if again := mustStatus(t, c).Sealed.Bytes; again != size {
		t.Errorf("opened again, the file grows from %d to %d bytes", size, again)
	}
	shut(t, c)
	if _, err := other.Deliver(t.Context(), SealedPath(dir)); err != nil {
		t.Fatal(err)
	}
	if got, want := o.typed(), []string{"changed: new", "older: older"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Versions that nobody needs any more leave the file.
func TestOldDraftsLeave(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	c := o.enrol(o.clinician, dir, func(o *Options) { o.SealedBytes = 20_000 })
	for n := range 40 {
		draftInto(t, c, "form", strings.Repeat(fmt.Sprint(n), 600))
	}
	draftInto(t, c, "dropped", "words")
	if err := c.DropDraft(t.Context(), "dropped"); err != nil {
		t.Fatal(err)
	}
	before := mustStatus(t, c).Sealed
	mustSync(t, c)
	after := mustStatus(t, c).Sealed
	if after.Bytes > before.Bytes/4 {
		t.Errorf("the file has %d bytes before, %d after", before.Bytes, after.Bytes)
	}
	list, err := ListSealed(SealedPath(dir))
	if err != nil || list.Replicas[0].Drafts != 1 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if d, err := c.Draft(t.Context(), "form"); err != nil || d == nil {
		t.Errorf("the draft: %v, %v", d, err)
	}
}

// Nobody can put words into another's mouth: a draft counts only with the signature of
// the device that it is said to be of, and under its person's name.
func TestForgedDrafts(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c, other := o.enrol(o.clinician, t.TempDir()), o.enrol(o.second, t.TempDir())
	me, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	org := o.org.ID
	change := func(edit func(*tandemv1.Change)) []byte {
		id, err := c.newID()
		if err != nil {
			t.Fatal(err)
		}
		ch := &tandemv1.Change{
			Id: id[:], Author: me.answer.GetPerson(), Device: me.answer.GetDevice(), Schema: 1,
			Time: &tandemv1.ChangeTime{WallMs: 5}, Draft: &tandemv1.TypedDraft{Key: "k", Body: []byte("words")},
		}
		edit(ch)
		raw, err := proto.Marshal(ch)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	as := func(*tandemv1.Change) {}
	for name, tc := range map[string]struct {
		key  ed25519.PrivateKey
		edit func(*tandemv1.Change)
		want tandemv1.Delivery
	}{
		"its own":             {me.key, as, tandemv1.Delivery_DELIVERY_TAKEN},
		"another's signature": {other.me.key, as, tandemv1.Delivery_DELIVERY_UNPROVED},
		"another's name":      {me.key, func(ch *tandemv1.Change) { ch.Author = o.second[:] }, tandemv1.Delivery_DELIVERY_UNPROVED},
		"no draft":            {me.key, func(ch *tandemv1.Change) { ch.Draft = nil }, tandemv1.Delivery_DELIVERY_UNPROVED},
		"records beside it": {me.key, func(ch *tandemv1.Change) {
			ch.Records = []*tandemv1.RecordWrite{{Record: o.team[:], Kind: 3, Act: tandemv1.Act_ACT_VOID}}
		}, tandemv1.Delivery_DELIVERY_UNPROVED},
		"no id":            {me.key, func(ch *tandemv1.Change) { ch.Id = nil }, tandemv1.Delivery_DELIVERY_UNPROVED},
		"another's device": {me.key, func(ch *tandemv1.Change) { ch.Device = other.me.answer.GetDevice() }, tandemv1.Delivery_DELIVERY_UNPROVED},
	} {
		s, err := seal.NewSession(me.sealKey, org, me.replica)
		if err != nil {
			t.Fatal(err)
		}
		raw := change(tc.edit)
		d := &seal.Draft{Number: seal.DraftNumber(7, 1), Raw: raw}
		d.Signature = seal.SignDraft(tc.key, d.Number, raw)
		path := SealedPath(t.TempDir())
		if err := os.WriteFile(path, s.AppendDraft(nil, d), 0o600); err != nil {
			t.Fatal(err)
		}
		done, err := other.Deliver(context.WithoutCancel(t.Context()), path)
		if err != nil {
			t.Fatal(err)
		}
		if taken := tc.want == tandemv1.Delivery_DELIVERY_TAKEN; taken != (done.Taken == 1) || !taken && done.NotTaken[tc.want] != 1 {
			t.Errorf("%s: %+v", name, done)
		}
	}
	if got := o.typed(); !slices.Equal(got, []string{"k: words"}) {
		t.Errorf("in quarantine are %q", got)
	}

	// Words under the id of a draft that is kept already, and a number that was not signed,
	// change nothing.
	s, err := seal.NewSession(me.sealKey, org, me.replica)
	if err != nil {
		t.Fatal(err)
	}
	own := change(func(ch *tandemv1.Change) { ch.Draft.Body = []byte("true words") })
	signed := func(version, under uint64, raw []byte) []byte {
		d := &seal.Draft{Number: seal.DraftNumber(8, version), Raw: raw}
		d.Signature = seal.SignDraft(me.key, seal.DraftNumber(8, under), raw)
		return s.AppendDraft(nil, d)
	}
	path := SealedPath(t.TempDir())
	for name, entry := range map[string][]byte{
		"a number that is not its":  signed(5, 3, own),
		"other words under its id":  signed(6, 6, change(func(ch *tandemv1.Change) { ch.Id, ch.Draft.Body = idOf(t, own), []byte("other words") })),
		"the same, signed for less": signed(7, 6, change(func(ch *tandemv1.Change) { ch.Draft.Body = []byte("later words") })),
	} {
		for _, raw := range [][]byte{signed(3, 3, own), entry} {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Deliver(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			if got := o.typed(); !slices.Equal(got, []string{"k: true words", "k: words"}) {
				t.Errorf("%s: in quarantine are %q", name, got)
			}
		}
	}
}

func idOf(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	ch := &tandemv1.Change{}
	if err := proto.Unmarshal(raw, ch); err != nil {
		tb.Fatal(err)
	}
	return ch.GetId()
}
