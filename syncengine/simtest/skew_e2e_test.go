package simtest_test

import (
	"bytes"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// future are fields of a newer version, as the message of an older one keeps them.
func future(text string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 190, protowire.VarintType), 1<<63)
	b = protowire.AppendString(protowire.AppendTag(b, 193, protowire.BytesType), text)
	b = protowire.AppendString(protowire.AppendTag(b, 290, protowire.BytesType), "code_of_the_future")
	for _, field := range []protowire.Number{390, 490} {
		element := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "element1")
		element = protowire.AppendFixed32(protowire.AppendTag(element, 2, protowire.Fixed32Type), 7)
		b = protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), element)
	}
	return b
}

// Fields of a newer app pass a real server and the stores of older apps,
// are merged with what those write, and come back as they were.
func TestNewerAppAmongOlder(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ana, _ := w.device("ana")
	ben, _ := w.device("ben")
	officer, _ := w.device("officer")
	syncAll(t, ana, ben, officer)
	msg := &tandemv1.Incident{CallType: new("overdose"), NotesOps: new("Two dogs.")}
	msg.ProtoReflect().SetUnknown(future("first"))
	made := save(t, ana, func(e *client.Edit) error {
		_, err := e.Create(msg)
		return err
	})
	id := made.Records[0]
	syncAll(t, ana, ben, officer)
	// Both edit: ben what his app knows, ana the fields of the future too.
	edit := func(c *client.Client, change func(*tandemv1.Incident)) {
		t.Helper()
		v := get(t, c, id)
		change(message[*tandemv1.Incident](t, v))
		save(t, c, func(e *client.Edit) error { return e.Set(v, v.Message) })
	}
	edit(ben, func(m *tandemv1.Incident) { m.NotesOps, m.CallType = new("Three dogs."), new("welfare_check") })
	edit(ana, func(m *tandemv1.Incident) {
		m.NotesOps = new("No dogs.")
		m.ProtoReflect().SetUnknown(future("second"))
	})
	syncAll(t, ben, ana, officer, ben)
	want := get(t, ana, id)
	for name, c := range map[string]*client.Client{"ben": ben, "officer": officer} {
		v := get(t, c, id)
		if !bytes.Equal(v.Record().Body, want.Record().Body) || !bytes.Equal(v.Record().Stamps, want.Record().Stamps) {
			t.Errorf("%s holds other bytes than ana", name)
		}
		m := message[*tandemv1.Incident](t, v)
		if got := m.ProtoReflect().GetUnknown(); !bytes.Equal(got, future("second")) {
			t.Errorf("%s: fields of the future are %x, want %x", name, got, future("second"))
		}
		if len(v.Conflicts) != 1 || m.GetNotesOps() != "Three dogs." || m.GetCallType() != "welfare_check" {
			t.Errorf("%s sees %d conflicts and %v", name, len(v.Conflicts), m)
		}
	}
	sameDigests(t, ana, ben)
}
