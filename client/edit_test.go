package client

import (
	"errors"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func TestEditAndRead(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t, func(o *Options) { o.Timezone = "America/New_York" })
	id := create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: new("U7-1")})
	v := mustGet(t, c, id)
	incident := as[*tandemv1.Incident](t, v)
	if incident.GetTeamId() != e.ids.team.String() || incident.GetLifecycle() != record.Open || incident.GetTz() != "America/New_York" {
		t.Errorf("envelope: got team %q, lifecycle %q, tz %q", incident.GetTeamId(), incident.GetLifecycle(), incident.GetTz())
	}
	if v.Pending != 1 || v.AtServer || v.Origin.Author != e.ids.person {
		t.Errorf("got pending %d, at server %t, author %s", v.Pending, v.AtServer, v.Origin.Author)
	}

	incident.CallType = new("suicide_threat")
	saved, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, incident) })
	if err != nil {
		t.Fatal(err)
	}
	if saved.Op != 2 || !slices.Equal(saved.Records, []syncengine.ID{id}) {
		t.Errorf("got op %d of %v", saved.Op, saved.Records)
	}
	if got := as[*tandemv1.Incident](t, mustGet(t, c, id)).GetCallType(); got != "suicide_threat" {
		t.Errorf("got call type %q", got)
	}

	// What has not changed writes nothing.
	v = mustGet(t, c, id)
	saved, err = c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) })
	if err != nil || saved.Op != 0 {
		t.Errorf("an edit without a change: got op %d, error %v", saved.Op, err)
	}
	if s := mustStatus(t, c); s.Queued != 2 || s.Records != 1 || s.OldestMS == 0 || s.QueuedBytes == 0 {
		t.Errorf("got status %+v", s)
	}
	mustVerify(t, c)
}

// A save made on an older screen names what that screen showed, so that nothing
// that its author had not seen is written over.
func TestEditOnAnOldScreen(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	id := create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	old := mustGet(t, c, id)
	as[*tandemv1.Incident](t, old).CallType = new("no_such_code")
	_, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(old, old.Message) })
	if _, ok := errors.AsType[*InvalidError](err); !ok {
		t.Errorf("a code that is not offered: got %v", err)
	}
	fresh := mustGet(t, c, id)
	as[*tandemv1.Incident](t, fresh).CallType = new("suicide_threat")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(fresh, fresh.Message) }); err != nil {
		t.Fatal(err)
	}
	as[*tandemv1.Incident](t, old).CallType = new("trespass_unwanted")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(old, old.Message) }); err != nil {
		t.Fatal(err)
	}
	conflicts, err := c.Conflicts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(conflicts) != 1 || len(conflicts[0].Conflicts) != 1 {
		t.Fatalf("got %d records in conflict, want 1", len(conflicts))
	}
	v := conflicts[0]
	open := v.Conflicts[0]
	if open.Field != "call_type" || len(open.Choices) != 2 || !open.Displayed {
		t.Fatalf("got conflict %+v", open)
	}
	if _, err := c.Resolve(t.Context(), v, open.Path, Choose{Stamp: open.Choices[1].Stamp}); err != nil {
		t.Fatal(err)
	}
	v = mustGet(t, c, id)
	if got := as[*tandemv1.Incident](t, v).GetCallType(); got != "trespass_unwanted" || len(v.Conflicts) != 0 {
		t.Errorf("after settling: got %q with %d conflicts", got, len(v.Conflicts))
	}
	if _, err := c.Resolve(t.Context(), v, open.Path, Choose{Stamp: 42}); !errors.Is(err, ErrNoConflict) {
		t.Errorf("choosing what is not there: got %v", err)
	}
	mustVerify(t, c)
}

func TestEditIsAllOrNothing(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	const secret = "Zanzibar"
	for name, fn := range map[string]func(*Edit) error{
		"the second record is at fault": func(e *Edit) error {
			if _, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")}); err != nil {
				return err
			}
			_, err := e.Create(&tandemv1.Incident{CallType: new(secret + "!")})
			return err
		},
		"the caller passes over it": func(e *Edit) error {
			if _, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")}); err != nil {
				return err
			}
			_, _ = e.Create(&tandemv1.Incident{CallType: new(secret + "!")})
			return nil
		},
	} {
		_, err := c.Edit(t.Context(), fn)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || !slices.Equal(invalid.Fields, []string{"incident/call_type"}) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds what was typed: %v", name, err)
		}
	}
	if s := mustStatus(t, c); s.Queued != 0 || s.Records != 0 {
		t.Errorf("something was stored: %+v", s)
	}
}

func TestEditSeveralRecords(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	saved, err := c.Edit(t.Context(), func(e *Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		incident, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		if err != nil {
			return err
		}
		person, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ana"), Family: new("Núñez")}}})
		if err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.Encounter{IncidentId: new(incident.String()), PersonId: new(person.String()), Narrative: new("Sat with her.")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if saved.Op != 1 || len(saved.Records) != 3 {
		t.Errorf("got op %d of %d records, want 1 of 3", saved.Op, len(saved.Records))
	}
	encounters, err := c.List(t.Context(), "encounter", Filter{Incident: saved.Records[0], Person: saved.Records[1]}, Newest, 10)
	if err != nil || len(encounters) != 1 || encounters[0].ID != saved.Records[2] {
		t.Errorf("got %d encounters of the incident and person, error %v", len(encounters), err)
	}
}

func TestRightsAreJudgedHere(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	_, err := c.Edit(t.Context(), func(e *Edit) error {
		_, err := e.Create(&tandemv1.Agency{
			Name: new("Other"), Type: new("law_enforcement"), AgencyTz: new("UTC"), DefaultLang: new("en"),
		})
		return err
	})
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.Code != tandemv1.Refusal_REFUSAL_FORBIDDEN {
		t.Errorf("a clinician makes an agency: got %v", err)
	}
}

func TestSignAmendVoidRestore(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	incident := create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	id := create(t, c, &tandemv1.Note{
		Target: &tandemv1.RecordRef{Kind: new("incident"), Id: new(incident.String())}, Type: new("case"), Text: new("Calm."),
	})
	act := func(fn func(*Edit, *View) error) *View {
		t.Helper()
		v := mustGet(t, c, id)
		if _, err := c.Edit(t.Context(), func(e *Edit) error { return fn(e, v) }); err != nil {
			t.Fatal(err)
		}
		return mustGet(t, c, id)
	}
	v := act(func(e *Edit, v *View) error { return e.Sign(v, v.Message) })
	note := as[*tandemv1.Note](t, v)
	if v.Lifecycle != record.Signed || v.Rev != 1 || note.GetSignedBy() != e.ids.person.String() || note.GetSignedAt() == nil {
		t.Errorf("signed: got %s, rev %d, by %q", v.Lifecycle, v.Rev, note.GetSignedBy())
	}
	v = act(func(e *Edit, v *View) error {
		as[*tandemv1.Note](t, v).Text = new("Calm, and hungry.")
		return e.Amend(v, v.Message, "left out")
	})
	if note = as[*tandemv1.Note](t, v); v.Lifecycle != record.Amended || note.GetText() != "Calm, and hungry." || note.GetAmendReason() != "left out" {
		t.Errorf("amended: got %s, %q", v.Lifecycle, note.GetAmendReason())
	}
	v = act(func(e *Edit, v *View) error { return e.Void(v, "wrong person") })
	if v.Lifecycle != record.Void || as[*tandemv1.Note](t, v).GetVoidReason() != "wrong person" {
		t.Errorf("voided: got %s", v.Lifecycle)
	}
	v = act(func(e *Edit, v *View) error { return e.Restore(v, record.Amended, "right person") })
	if v.Lifecycle != record.Amended {
		t.Errorf("restored: got %s", v.Lifecycle)
	}
	notes, err := c.List(t.Context(), "note", Filter{Parent: incident}, Oldest, 0)
	if err != nil || len(notes) != 1 {
		t.Errorf("got %d notes on the incident, error %v", len(notes), err)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	person := create(t, c, &tandemv1.Person{
		Descriptor_: new("red jacket, by the library"),
		Names:       []*tandemv1.PersonName{{Given: new("Ana"), Family: new("Núñez")}},
		Phones:      []*tandemv1.PersonPhone{{Number: new("+1 (585) 555-0100")}},
	})
	incident := create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: new("U7-260914-03"), CadNumber: new("C-99")})
	for text, want := range map[string][]syncengine.ID{
		"nunez": {person}, "NÚÑ": {person}, "ana library": {person}, "585 555 01": {person},
		"u7-2609": {incident}, "c-99": {incident}, incident.String(): {incident}, strings.ToLower(person.String()): {person},
		"nobody": nil, `ana" OR words:"`: nil, "": nil, "* -": nil, "NEAR(ana": nil,
	} {
		found, err := c.Search(t.Context(), text, 10)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		var got []syncengine.ID
		for _, v := range found {
			got = append(got, v.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}

	// The index follows the record.
	v := mustGet(t, c, person)
	as[*tandemv1.Person](t, v).Names[0].Family = new("Okafor")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"nunez": 0, "okafor": 1} {
		if found, err := c.Search(t.Context(), text, 0); err != nil || len(found) != want {
			t.Errorf("%q after the edit: got %d, want %d, error %v", text, len(found), want, err)
		}
	}
	mustVerify(t, c)
}

func TestBulk(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	from := func(row int) CreateOption {
		return WithImport(&tandemv1.Import{Mapping: "calls", File: make([]byte, 32), Row: uint64(row + 1)})
	}
	ids := make([]syncengine.ID, 3000)
	for i := range ids {
		ids[i] = syncengine.ID{1, byte(i >> 8), byte(i)}
	}
	fill := func(b *Bulk) error {
		for i, id := range ids {
			there, err := b.Exists(id)
			if err != nil {
				return err
			}
			if there {
				continue
			}
			if _, err := b.Edit(func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Lifecycle: new(record.Locked)}, WithID(id), from(i))
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}
	stop := errors.New("the caller stops")
	if _, err := c.Bulk(t.Context(), func(b *Bulk) error { return errors.Join(fill(b), stop) }); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	if s := mustStatus(t, c); s.Queued != 0 || s.Records != 0 {
		t.Fatalf("a bulk that was stopped stored something: %+v", s)
	}
	for _, want := range []int{len(ids), 0} {
		if n, err := c.Bulk(t.Context(), fill); err != nil || n != want {
			t.Fatalf("got %d saves, want %d, error %v", n, want, err)
		}
	}
	n, err := c.Bulk(t.Context(), func(b *Bulk) error {
		// A bad row is reported and leaves the others alone.
		_, err := b.Edit(func(e *Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("Not A Code")}, from(9))
			return err
		})
		if _, ok := errors.AsType[*InvalidError](err); !ok {
			t.Errorf("a bad row: got %v", err)
		}
		_, err = b.Edit(func(e *Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("trespass_unwanted")}, from(10))
			return err
		})
		return err
	})
	if err != nil || n != 1 {
		t.Errorf("got %d saves, error %v", n, err)
	}
	if s := mustStatus(t, c); s.Queued != len(ids)+1 || s.Records != len(ids)+1 {
		t.Errorf("got status %+v", s)
	}
	counts, err := c.Counts(t.Context())
	if err != nil || counts["incident"] != len(ids)+1 {
		t.Errorf("got counts %v, error %v", counts, err)
	}
	if v := mustVerify(t, c); v.Records != len(ids)+1 || v.Changes != len(ids)+1 {
		t.Errorf("verified %d records and %d changes", v.Records, v.Changes)
	}
}

func TestDrafts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newClient(t, dir)
	for _, text := range []string{"Sat with h", "Sat with her"} {
		if err := c.SaveDraft(t.Context(), "note/1", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir)
	d, err := c.Draft(t.Context(), "note/1")
	if err != nil || d == nil || string(d.Body) != "Sat with her" {
		t.Fatalf("got %+v, error %v", d, err)
	}
	if all, err := c.Drafts(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("got %d drafts, error %v", len(all), err)
	}
	if err := c.DropDraft(t.Context(), "note/1"); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Draft(t.Context(), "note/1"); err != nil || d != nil {
		t.Errorf("a dropped draft: got %+v, error %v", d, err)
	}
}

func TestNotEnrolled(t *testing.T) {
	t.Parallel()
	c := newClient(t, t.TempDir())
	if _, err := c.Edit(t.Context(), func(*Edit) error { return nil }); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Edit: got %v", err)
	}
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Sync: got %v", err)
	}
	if _, err := c.Bulk(t.Context(), func(*Bulk) error { return nil }); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Bulk: got %v", err)
	}
	if s := mustStatus(t, c); s.Enrolled {
		t.Error("Status says enrolled")
	}
	if _, err := c.Get(t.Context(), syncengine.ID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: got %v", err)
	}
}

// What stands in a scope that is still being read is there, and not shown.
func TestVisible(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	next := someRecords(t)
	hidden, ready, both := next(), next(), next()
	hidden.Scopes, ready.Scopes, both.Scopes = 1<<3, 1<<63, 1<<3|1<<63
	hidden.Body, hidden.Kind = mustBody(t, &tandemv1.Person{Descriptor_: new("blue cap")}), record.New().KindByName("person").Number
	hidden.BaseHash = hidden.Hash()
	err := c.store.write(t.Context(), "planting", func(x *tx) error {
		for _, sc := range []syncengine.DeviceScope{{ID: syncengine.ScopeID{1}, Bit: 3}, {ID: syncengine.ScopeID{2}, Bit: 63, Ready: true}} {
			for _, r := range []*syncengine.DeviceRecord{hidden, ready, both} {
				if r.Scopes&(1<<sc.Bit) != 0 {
					sc.Sum = sc.Sum.Add(syncengine.Term(r.ID, r.BaseHash))
				}
			}
			if err := x.SaveScope(sc); err != nil {
				return err
			}
		}
		for _, r := range []*syncengine.DeviceRecord{hidden, ready, both} {
			if err := x.SaveRecord(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := mustStatus(t, c); s.Records != 2 || len(s.Scopes) != 2 {
		t.Errorf("got %d records in %d scopes, want 2 in 2", s.Records, len(s.Scopes))
	}
	if _, err := c.Get(t.Context(), hidden.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a hidden record: got %v", err)
	}
	mustGet(t, c, ready.ID)
	mustGet(t, c, both.ID)
	if found, err := c.Search(t.Context(), "blue", 0); err != nil || len(found) != 0 {
		t.Errorf("Search finds %d hidden records, error %v", len(found), err)
	}
	seen := 0
	if err := c.Each(t.Context(), func(*syncengine.Record) error { seen++; return nil }); err != nil || seen != 2 {
		t.Errorf("Each sees %d records, error %v", seen, err)
	}
	mustVerify(t, c)
}

func mustBody(tb testing.TB, msg proto.Message) []byte {
	tb.Helper()
	body, err := record.New().Body(msg)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}
