package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// TestQuarantineQuoted: a lead copies the words of a change that cannot be applied into a
// note of the lead's own, which names the author; the change is closed, nothing of it is
// applied, and the wall stands.
func TestQuarantineQuoted(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := filepath.Join(t.TempDir(), "maya")
	dev, err := o.enrol(t.Context(), o.clinician, "Car 12 laptop", dir, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dev.Close() }()
	sync := func(d *client.Client) {
		t.Helper()
		if _, err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	create := func(msg proto.Message, options ...client.CreateOption) (id syncengine.ID) {
		t.Helper()
		if _, err := dev.Edit(t.Context(), func(e *client.Edit) (err error) {
			id, err = e.Create(msg, options...)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return id
	}
	call := create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("first")})
	sync(dev)
	v, err := dev.Get(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	const words = "he said «no» twice, and meant it"
	long := strings.Repeat("very long ", 1900)
	as[*tandemv1.Incident](t, v).NotesOps = new(words)
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	create(&tandemv1.Encounter{Narrative: new(long)}, client.WithCompartment(tandemv1.Compartment_COMPARTMENT_SUD))
	o.member(o.clinician, false)
	sync(dev)

	var edit, made string
	for _, i := range items(t, must(t, "", "admin", "quarantine", "list", "--data", o.dir, "--as", o.lead.String(), "--json")) {
		if i.Records[0].Act == "create" {
			made = i.Change
		} else {
			edit = i.Change
		}
	}
	quote := func(who syncengine.ID, change string, more ...string) ran {
		return tandem(t.Context(), "", append([]string{"admin", "quarantine", "quote", "--data", o.dir, "--as", who.String(), change, "--json"}, more...)...)
	}
	for _, who := range []syncengine.ID{o.other, o.adm, o.second, o.officer} {
		if r := quote(who, edit); r.code != exitBadInput || strings.Contains(r.out+r.err, words) {
			t.Errorf("%s quotes: exit code %d: %s%s", who, r.code, r.out, r.err)
		}
	}
	r := quote(o.lead, edit)
	if r.code != exitOK {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	if r := quote(o.lead, edit); r.code != exitBadInput {
		t.Errorf("quoted twice: exit code %d: %s", r.code, r.out)
	}
	if r := quote(o.lead, made); r.code != exitBadInput || !strings.Contains(r.err, "names no record that is there") {
		t.Errorf("nothing to stand at: exit code %d: %s", r.code, r.err)
	}
	if r := quote(o.lead, made, "--on", call.String()); r.code != exitOK {
		t.Errorf("at another call: exit code %d: %s", r.code, r.err)
	}

	luis, err := o.enrol(t.Context(), o.second, "Tablet 3", filepath.Join(t.TempDir(), "luis"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = luis.Close() }()
	sync(luis)
	notes := mustList(t, luis, "note")
	var text strings.Builder
	for _, n := range notes {
		m := as[*tandemv1.Note](t, n)
		if m.GetType() != "addendum" || n.Origin.Author != o.lead || m.GetTarget().GetId() != call.String() || !strings.HasPrefix(m.GetText(), "Quoted: ") || !strings.Contains(m.GetText(), "wrote this on") {
			t.Errorf("a note reads %.200q by %s", m.GetText(), n.Origin.Author)
		}
		// What was stricter stays so.
		stricter := o.record(n.ID).Compartment(n.Kind) == tandemv1.Compartment_COMPARTMENT_SUD
		if stricter != strings.Contains(m.GetText(), "very long") {
			t.Errorf("a note stands in the stricter compartment: %t", stricter)
		}
		text.WriteString(m.GetText())
	}
	if len(notes) != 3 || !strings.Contains(text.String(), words) || strings.Count(text.String(), "very long ") < 1899 {
		t.Errorf("%d notes of %d bytes", len(notes), text.Len())
	}
	calls := mustList(t, luis, "incident")
	if len(calls) != 1 || as[*tandemv1.Incident](t, calls[0]).GetNotesOps() != "first" {
		t.Errorf("the calls are %+v", calls)
	}
	o.member(o.clinician, true)
	sync(dev)
	closed, err := dev.Closed(t.Context())
	if err != nil || len(closed) != 2 || closed[0].Verdict != tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED {
		t.Errorf("the author sees %+v: %v", closed, err)
	}
	must(t, "", "verify", "--data", o.dir)
}
