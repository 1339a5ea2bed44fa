package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
	"google.golang.org/protobuf/proto"
)

// purging is a world ten years later, with three admins of its agency.
type purging struct {
	*world

	d                *device
	one, two, three  syncengine.ID
	late             *server.Admin
	between          func()
	calls, betweenAt int
}

func newPurging(t *testing.T, on engine, seed byte) *purging {
	t.Helper()
	p := &purging{world: newWorld(t, on, seed)}
	p.d = p.enrolled(1, p.clinician)
	admin := func(name string) syncengine.ID {
		return must[syncengine.ID](t)(p.admin.AddStaff(t.Context(), server.StaffOptions{Name: name, Discipline: "other", Roles: []string{"admin"}, Agency: p.agency, Teams: []syncengine.ID{p.team}}))
	}
	p.one, p.two, p.three = admin("One Admin"), admin("Two Admin"), admin("Three Admin")
	p.later()
	return p
}

// later makes its admin anew. What asks for the time is asked between any two steps of a
// purge.
func (p *purging) later() {
	p.late = server.NewAdmin(p.s, p.org, server.AdminOptions{Rand: p.rand, Clock: func() time.Time {
		if p.calls++; p.between != nil && p.calls >= p.betweenAt {
			do := p.between
			p.between = nil
			do()
		}
		return p.clock().AddDate(10, 0, 0)
	}})
}

// at has something done when the purge asks for the time the nth time from now.
func (p *purging) at(n int, do func()) { p.calls, p.betweenAt, p.between = 0, n, do }

func (p *purging) made(c *tandemv1.Change) syncengine.ID {
	p.t.Helper()
	if got := refusals(p.d.must(p.d.push(c))); got != "APPLIED:UNSPECIFIED" {
		p.t.Fatal(got)
	}
	return syncengine.ID(c.GetRecords()[0].GetRecord())
}

func (p *purging) someone() *tandemv1.Change {
	return p.d.creation(&tandemv1.Person{AgencyId: new(p.agency.String()), TeamId: new(p.team.String()), Lifecycle: new("active"), Schema: new(uint32(1)), ApproxAge: new(uint32(40)), Descriptor_: new("words")})
}

func (p *purging) alert(about syncengine.ID) *tandemv1.Change {
	return p.d.creation(&tandemv1.SafetyAlert{
		AgencyId: new(p.agency.String()), TeamId: new(p.team.String()), Lifecycle: new("proposed"), Schema: new(uint32(1)), PersonId: new(about.String()), Category: new("deescalation_tip"),
		Text: new("words"), Audience: new("team"), Basis: new("observed_in_public"), ExpiresOn: new(p.clock().AddDate(0, 0, 30).Format(time.DateOnly)),
	})
}

func visit(w *world, person syncengine.ID) *tandemv1.Encounter {
	m := encounter(w, "words")
	m.PersonId = new(person.String())
	return m
}

// all are the records that are there, by id.
func (p *purging) all() (there map[syncengine.ID]*syncengine.StoredRecord) {
	p.t.Helper()
	there = map[syncengine.ID]*syncengine.StoredRecord{}
	if err := p.s.Snapshot(p.t.Context(), p.org.ID, func(snap *store.Snapshot) error {
		return snap.Each(0, func(rec *syncengine.StoredRecord) error {
			there[rec.ID] = rec
			return nil
		})
	}); err != nil {
		p.t.Fatal(err)
	}
	return there
}

func (p *purging) purge() *store.Purge {
	p.t.Helper()
	return must[[]*store.Purge](p.t)(p.s.Purges(p.t.Context(), p.org.ID))[0]
}

func (p *purging) ask() *store.Purge {
	p.t.Helper()
	return must[*store.Purge](p.t)(p.late.AskPurge(p.t.Context(), p.one, "past its retention"))
}

// A purge that is broken off, since somebody writes or since the process ends, leaves
// nothing about somebody who is not there, and goes on to its end at the word of any admin
// but the one who asked. What a device that was away sends later about somebody who is gone
// is past its time by its own, and purged then.
func TestPurgeBrokenOff(t *testing.T) { each(t, testPurgeBrokenOff) }

func testPurgeBrokenOff(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 78)
	var people []syncengine.ID
	person := map[syncengine.ID]syncengine.ID{}
	for range 120 {
		who := p.made(p.someone())
		people = append(people, who)
		person[p.made(p.alert(who))] = who
	}
	// So that a portion ends within one of them.
	person[p.made(p.alert(people[0]))] = people[0]
	orphans := func() (n, left int) {
		t.Helper()
		there := p.all()
		for alert, who := range person {
			if there[alert] == nil {
				continue
			}
			left++
			if there[who] == nil {
				n++
			}
		}
		return n, left
	}
	if asked := p.ask(); len(asked.Records) != 241 || asked.People != 120 {
		t.Fatalf("%d records of %d people", len(asked.Records), asked.People)
	}
	id := p.purge().ID
	if _, err := p.late.DecidePurge(t.Context(), p.one, id, true); !errors.Is(err, server.ErrPurgeOwn) {
		t.Errorf("approved by whoever asked: %v", err)
	}
	// Asked whose word it is, counted, then a portion each time. Somebody writes about one who is not gone yet.
	p.at(4, func() {
		who := slices.MaxFunc(people[1:], syncengine.ID.Compare)
		person[p.made(p.alert(who))] = who
	})
	if _, err := p.late.DecidePurge(t.Context(), p.two, id, true); !errors.Is(err, server.ErrPurgeMoved) {
		t.Fatalf("went on though somebody wrote: %v", err)
	}
	if n, left := orphans(); n > 0 || left == 0 || left == len(person) || p.purge().Erased == 0 {
		t.Fatalf("after somebody wrote %d of %d are about nobody", n, left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.at(5, cancel)
	if _, err := p.late.DecidePurge(ctx, p.three, id, true); !errors.Is(err, context.Canceled) {
		t.Fatalf("not broken off: %v", err)
	}
	if n, left := orphans(); n > 0 || left == 0 {
		t.Fatalf("after it was ended %d of %d are about nobody", n, left)
	}
	p.restart(func() {}, p.d)
	p.later()
	there := p.all()
	gone := people[slices.IndexFunc(people, func(id syncengine.ID) bool { return there[id] == nil })]
	if _, err := p.late.DecidePurge(t.Context(), p.one, id, true); !errors.Is(err, server.ErrPurgeOwn) {
		t.Errorf("gone on with by whoever asked: %v", err)
	}
	away := p.made(p.alert(gone))
	done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.three, id, true))
	// Of the one about whom somebody wrote nothing was purged since: that was not asked for.
	there = p.all()
	if n, left := orphans(); n > 0 || left != 2 || done.DoneMS == 0 || done.Kept != 2 || done.Erased != 239 || done.ByKind[there[away].Kind] != 120 {
		t.Errorf("in the end %d of %d are about nobody: erased %d, of them %v, kept %d", n, left, done.Erased, done.ByKind, done.Kept)
	}
	again := p.ask()
	if len(again.Records) != 4 || !slices.Contains(again.Records, away) {
		t.Errorf("%d records are past their time after that", len(again.Records))
	}
	if done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, again.ID, true)); done.Erased != 4 || done.Kept != 0 {
		t.Errorf("then erased %d, kept %d", done.Erased, done.Kept)
	}
	if _, left := orphans(); left != 0 || p.all()[away] != nil {
		t.Errorf("%d are left", left)
	}
	if r := must[*store.Report](t)(p.s.Verify(t.Context(), p.org.ID)); len(r.Faults) > 0 {
		t.Error(r.Faults)
	}
}

// What waits for somebody keeps whom it names: a new visit in quarantine, a draft there, a
// record that only a device has, also one that is only about them, and an open work item.
// Also where it comes between the count and the erasing.
func TestPurgeWaits(t *testing.T) { each(t, testPurgeWaits) }

func testPurgeWaits(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 79)
	shut := p.enrolled(2, p.second)
	if err := p.admin.RevokePerson(t.Context(), p.second); err != nil {
		t.Fatal(err)
	}
	box := must[*seal.Session](t)(seal.NewSession(p.d.answer.GetSealKey(), p.org.ID, p.d.replica))
	quarantined := func(d *device, c *tandemv1.Change) {
		t.Helper()
		if got := refusals(d.must(d.push(c))); got != "QUARANTINED:REVOKED" {
			t.Error(got)
		}
	}
	witness := func(id syncengine.ID, body string) {
		t.Helper()
		kept := &seal.Witness{Serial: 1, Record: id, Kind: 12, Body: []byte(body), Stamps: []byte("stamps")}
		kept.Hash = syncengine.HashRow(kept.Body, kept.Stamps)
		kept.Signature = seal.SignWitness(p.d.key, kept.Record, kept.Hash)
		if got := results(p.d.deliver(box.AppendWitness(nil, kept))); got != "TAKEN" {
			t.Error(got)
		}
	}
	ways := map[string]func(who, alert syncengine.ID){
		"a visit in quarantine": func(who, _ syncengine.ID) { quarantined(shut, shut.creation(visit(p.world, who))) },
		"a draft": func(_, alert syncengine.ID) {
			id := p.id()
			c := &tandemv1.Change{Id: id[:], Author: p.d.person[:], Device: p.d.dev[:], Schema: 1, Draft: &tandemv1.TypedDraft{Key: "note/" + alert.String(), Body: []byte("typed")}}
			e := &seal.Draft{Number: seal.DraftNumber(1, 1), Raw: must[[]byte](t)(proto.Marshal(c))}
			e.Signature = seal.SignDraft(p.d.key, e.Number, e.Raw)
			p.d.deliver(box.AppendDraft(nil, e))
		},
		"a witness":            func(who, _ syncengine.ID) { witness(who, "body") },
		"a witness about them": func(who, _ syncengine.ID) { witness(p.id(), "\x1a"+who.String()+"B") },
		"a work item": func(_, alert syncengine.ID) {
			if err := p.s.Write(t.Context(), p.org.ID, 1, func(tx *store.Tx) error {
				return tx.OpenItem(alert, syncengine.Item{Kind: syncengine.ItemLateEdit}, 1)
			}); err != nil {
				t.Error(err)
			}
		},
	}
	waiting := 0
	for name, way := range ways {
		who := p.made(p.someone())
		alert := p.made(p.alert(who))
		free := p.made(p.someone())
		asked := p.ask()
		if len(asked.Records) != 3 {
			t.Fatalf("%s: %d records may be purged before", name, len(asked.Records))
		}
		p.at(3, func() { way(who, alert) })
		if p.calls = 0; len(p.erased()) > 0 {
			// The journal is replayed first.
			p.betweenAt = 4
		}
		if _, err := p.late.DecidePurge(t.Context(), p.two, asked.ID, true); !errors.Is(err, server.ErrPurgeMoved) {
			t.Errorf("%s that has just come: %v", name, err)
		}
		waiting++
		if r := must[*server.Retention](t)(p.late.Retention(t.Context(), p.agency)); r.Waiting != waiting || !slices.Equal(r.Purgeable, []syncengine.ID{free}) {
			t.Errorf("%s: %d wait, %d records may be purged", name, r.Waiting, len(r.Purgeable))
		}
		if done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.three, asked.ID, true)); done.Erased != 1 || done.Kept != 2 {
			t.Errorf("%s: %+v", name, done)
		}
		if there := p.all(); there[who] == nil || there[alert] == nil || there[free] != nil {
			t.Errorf("%s: somebody is gone who waits, or is there who does not", name)
		}
	}
}

func (p *purging) erased() (events []*store.JournalEvent) {
	p.t.Helper()
	for _, e := range must[[]*store.JournalEvent](p.t)(p.s.Journal(p.t.Context(), p.org.ID)) {
		if e.What == store.EventErased {
			events = append(events, e)
		}
	}
	return events
}

// An erasure that the journal has and the database never came to is done at the next start,
// unless somebody has written since, or placed a legal hold: then it is taken back for good,
// also where an older copy comes back.
func TestErasureThatNeverWas(t *testing.T) { each(t, testErasureThatNeverWas) }

func testErasureThatNeverWas(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 80)
	shut := p.enrolled(2, p.second)
	if err := p.admin.RevokePerson(t.Context(), p.second); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is full")
	for name, since := range map[string]func(who syncengine.ID){
		"nothing":              nil,
		"words":                func(who syncengine.ID) { p.made(p.alert(who)) },
		"words in quarantine":  func(who syncengine.ID) { shut.must(shut.push(shut.creation(visit(p.world, who)))) },
		"a hold":               func(who syncengine.ID) { p.held(who) },
		"a hold, and a change": func(who syncengine.ID) { p.held(who); p.made(p.someone()) },
	} {
		who := p.made(p.someone())
		back := p.copied()
		p.d.connect(p.http.URL)
		shut.connect(p.http.URL)
		head := p.headNow()
		holds := []string{}
		for _, h := range must[[]*store.Hold](t)(p.s.LegalHolds(t.Context(), p.org.ID)) {
			holds = append(holds, h.ID.String())
		}
		if err := p.s.Write(t.Context(), p.org.ID, 1, func(tx *store.Tx) error {
			if err := tx.Journal(&store.JournalEvent{What: store.EventErased, Records: []string{who.String()}, Seq: head.Seq, Hash: head.Hash[:], Holds: holds}); err != nil {
				return err
			}
			return broken
		}); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if since != nil {
			since(who)
		}
		p.restart(func() {}, p.d, shut)
		if there := p.all()[who] != nil; there != (since != nil) {
			t.Errorf("since then %s: the record is there: %v", name, there)
		}
		p.restart(back, p.d, shut)
		if there := p.all()[who] != nil; there != (since != nil) {
			t.Errorf("since then %s, then an older copy: the record is there: %v", name, there)
		}
		p.d.resume()
		shut.resume()
	}
}

// resume goes on where the server knows the device to be.
func (d *device) resume() {
	d.w.t.Helper()
	r := d.w.replica(d)
	d.op, d.last = r.Highest, r.HighestHash
}

func (w *world) headNow() (head syncengine.HistoryHead) {
	w.t.Helper()
	if err := w.s.Read(w.t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		head, err = v.Head()
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return head
}

func (p *purging) held(who syncengine.ID) {
	p.t.Helper()
	if _, err := p.admin.PlaceHold(p.t.Context(), p.one, p.agency, who, "a letter of the court"); err != nil {
		p.t.Error(err)
	}
}

// Nothing is purged while a restored server is in recovery, nor before each device has
// reported since: not asked for, not approved, and not gone on with.
func TestPurgeAfterRestore(t *testing.T) { each(t, testPurgeAfterRestore) }

func testPurgeAfterRestore(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 81)
	p.made(p.someone())
	asked := p.ask()
	p.at(3, func() {
		if err := p.admin.BeginRecovery(t.Context()); err != nil {
			t.Error(err)
		}
	})
	refused := func(when string) {
		t.Helper()
		if _, err := p.late.DecidePurge(t.Context(), p.two, asked.ID, true); !errors.Is(err, server.ErrPurgeRecovering) {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := p.late.AskPurge(t.Context(), p.three, "past its retention"); !errors.Is(err, server.ErrPurgeRecovering) {
			t.Errorf("asked for, %s: %v", when, err)
		}
	}
	refused("restored after the count")
	refused("in recovery")
	if _, err := p.admin.ConfirmRecovery(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("before the device has reported")
	if err := p.admin.RevokeDevice(t.Context(), p.d.dev); err != nil {
		t.Fatal(err)
	}
	if done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, asked.ID, true)); done.Erased != 1 {
		t.Errorf("%+v", done)
	}
}

// What another agency has too is purged by neither.
func TestPurgeOfOneAgency(t *testing.T) { each(t, testPurgeOfOneAgency) }

func testPurgeOfOneAgency(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 82)
	id := must[syncengine.ID](t)
	other := id(p.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Other Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := id(p.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Other", Model: "crt", Agency: other}))
	team := id(p.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Other", Program: program}))
	theirs := p.enrolled(3, id(p.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Other Clinician", Discipline: "nurse", Roles: []string{"clinician"}, Agency: other, Teams: []syncengine.ID{team}})))
	own, shared := p.made(p.someone()), p.made(p.someone())
	m := visit(p.world, shared)
	m.AgencyId, m.TeamId, m.Lifecycle = new(other.String()), new(team.String()), new("draft")
	c := theirs.creation(m)
	if got := refusals(theirs.must(theirs.push(c))); got != "APPLIED:UNSPECIFIED" {
		t.Fatal(got)
	}
	r := must[*server.Retention](t)(p.late.Retention(t.Context(), p.agency))
	if r.Shared != 1 || r.People != 2 {
		t.Errorf("%+v", r)
	}
	asked := p.ask()
	if !slices.Equal(asked.Records, []syncengine.ID{own}) {
		t.Errorf("%d records", len(asked.Records))
	}
	must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, asked.ID, true))
	if there := p.all(); there[own] != nil || there[shared] == nil || there[syncengine.ID(c.GetRecords()[0].GetRecord())] == nil {
		t.Error("what another agency has is gone, or what is the agency's own is there")
	}
}

// A hold that is lifted while a purge is under way keeps nothing any more: the purge does not
// end before it has looked again. One that is placed stops it.
func TestPurgeHolds(t *testing.T) { each(t, testPurgeHolds) }

func testPurgeHolds(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 83)
	who := p.made(p.someone())
	p.made(p.someone())
	asked := p.ask()
	p.at(3, func() { p.held(who) })
	if _, err := p.late.DecidePurge(t.Context(), p.two, asked.ID, true); !errors.Is(err, server.ErrPurgeMoved) {
		t.Errorf("went on though a hold was placed: %v", err)
	}
	// Counted, one portion, and counted again.
	p.at(3, func() {
		for _, h := range must[[]*store.Hold](t)(p.s.LegalHolds(t.Context(), p.org.ID)) {
			if err := p.admin.LiftHold(t.Context(), p.one, h.ID); err != nil {
				t.Error(err)
			}
		}
	})
	if done := must[*store.Purge](t)(p.late.DoPurge(t.Context(), asked.ID)); done.Erased != 2 || done.Kept != 0 {
		t.Errorf("erased %d, kept %d", done.Erased, done.Kept)
	}
}

// Who approves is not whoever asked, under another name either; and a purge whose asker has
// left is refused, and asked for anew.
func TestPurgeSecondPerson(t *testing.T) { each(t, testPurgeSecondPerson) }

func testPurgeSecondPerson(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 84)
	p.made(p.someone())
	asked := p.ask()
	if err := p.s.Write(t.Context(), p.org.ID, 1, func(tx *store.Tx) error {
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Person: p.one[:], Subject: p.two[:]})
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.admin.DecidePurge(t.Context(), p.two, asked.ID, true); !errors.Is(err, server.ErrPurgeUnsettled) {
		t.Errorf("approved by an account that whoever asked has changed: %v", err)
	}
	if err := p.admin.RevokePerson(t.Context(), p.one); err != nil {
		t.Fatal(err)
	}
	if _, err := p.late.DecidePurge(t.Context(), p.three, asked.ID, true); !errors.Is(err, server.ErrPurgeAsker) {
		t.Errorf("approved for somebody who has left: %v", err)
	}
	if refused := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.three, asked.ID, false)); refused.Open() || refused.Approved {
		t.Error("not refused")
	}
	anew := must[*store.Purge](t)(p.late.AskPurge(t.Context(), p.two, "past its retention"))
	p.calls = 0
	if _, err := p.late.AskPurge(t.Context(), p.three, "past its retention"); !errors.Is(err, server.ErrPurgeOpen) {
		t.Errorf("asked for twice: %v", err)
	}
	if p.calls > 0 {
		t.Error("all records were read for a purge that cannot be asked for")
	}
	if back := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, anew.ID, false)); back.Open() {
		t.Error("not taken back by whoever asked")
	}
}

// Somebody may hang a long chain of attachments on a person: it goes with them, and keeps
// nobody else.
func TestPurgeOfAChain(t *testing.T) { each(t, testPurgeOfAChain) }

func testPurgeOfAChain(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 86)
	who := p.made(p.someone())
	p.made(p.someone())
	ref := &tandemv1.RecordRef{Kind: new("person"), Id: new(who.String())}
	for range 9 {
		hash := make([]byte, 32)
		id := p.made(p.d.creation(&tandemv1.Attachment{
			AgencyId: new(p.agency.String()), TeamId: new(p.team.String()), Lifecycle: new("active"), Category: new("document"),
			Sha256: hash, Size: new(uint32(10)), MediaType: new("txt"), Owner: ref,
		}))
		ref = &tandemv1.RecordRef{Kind: new("attachment"), Id: new(id.String())}
	}
	done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, p.ask().ID, true))
	if done.Erased != 11 || done.Kept != 0 {
		t.Errorf("erased %d, kept %d", done.Erased, done.Kept)
	}
}

// Two who do the same purge at once, a command beside the server's job, erase each record once,
// and note it once: the one that comes late finds nothing to erase.
func TestPurgeByTwo(t *testing.T) { each(t, testPurgeByTwo) }

func testPurgeByTwo(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 89)
	who := p.made(p.someone())
	p.made(p.alert(who))
	asked := p.ask()
	other := server.NewAdmin(p.s, p.org, server.AdminOptions{Rand: p.rand, Clock: func() time.Time { return p.clock().AddDate(10, 0, 0) }})
	// It has counted, and erased nothing yet.
	p.at(3, func() {
		if done, err := other.DoPurge(t.Context(), asked.ID); err != nil || done.Erased != 2 {
			t.Errorf("the other: %+v, %v", done, err)
		}
	})
	if done, err := p.late.DecidePurge(t.Context(), p.two, asked.ID, true); err != nil || done.Erased != 2 {
		t.Errorf("who came late: %+v, %v", done, err)
	}
	if _, err := p.late.DoPurge(t.Context(), asked.ID); !errors.Is(err, store.ErrNoPurge) {
		t.Errorf("once more: %v", err)
	}
	if now := p.purge(); now.DoneMS == 0 || now.Erased != 2 || now.Kept != 0 {
		t.Errorf("%+v", now)
	}
	noted := map[string]int{}
	for _, e := range p.audited(tandemv1.AuditAct_AUDIT_ACT_ERASED) {
		for id := range slices.Chunk(e.GetRecords(), len(who)) {
			noted[string(id)]++
		}
	}
	for id, n := range noted {
		if n != 1 {
			t.Errorf("%x is noted %d times", id, n)
		}
	}
	// With the card that the alert would have had.
	if r := must[*store.Report](t)(p.s.Verify(t.Context(), p.org.ID)); len(r.Faults) > 0 || len(noted) != 3 {
		t.Errorf("%d are noted as erased; %v", len(noted), r.Faults)
	}
}
