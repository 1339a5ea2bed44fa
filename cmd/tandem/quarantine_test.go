package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// office is a home whose staff comes and goes.
type office struct {
	*home

	t                *testing.T
	dir              string
	lead, other, adm syncengine.ID
	team             syncengine.ID
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t}
	o.home, o.dir = newHome(t, homeOptions{})
	o.team = o.teams(o.clinician)[0]
	agency, err := syncengine.ParseID(o.record(o.clinician).Text(syncengine.FieldAgency))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		into  *syncengine.ID
		role  string
		teams []syncengine.ID
	}{{&o.lead, "lead", []syncengine.ID{o.team}}, {&o.other, "lead", nil}, {&o.adm, "admin", nil}} {
		*p.into, err = o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "A " + p.role, Discipline: "supervisor", Roles: []string{p.role}, Agency: agency, Teams: p.teams,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *office) record(id syncengine.ID) (rec *syncengine.StoredRecord) {
	o.t.Helper()
	if err := o.store.Read(o.t.Context(), o.org.ID, func(view syncengine.ServerView) (err error) {
		rec, err = view.Record(id)
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return rec
}

var teamField = func() uint32 {
	for _, f := range record.New().KindByName("staff").Fields {
		if f.Name == "team_ids" {
			return f.Number
		}
	}
	return 0
}()

func (o *office) teams(staff syncengine.ID) (ids []syncengine.ID) {
	o.t.Helper()
	for _, text := range o.record(staff).Codes(teamField) {
		id, err := syncengine.ParseID(text)
		if err != nil {
			o.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// member takes somebody into the team, or out of it.
func (o *office) member(staff syncengine.ID, in bool) {
	o.t.Helper()
	o.inTeam(staff, o.team, in)
}

// inTeam takes somebody into any team, or out of it.
func (o *office) inTeam(staff, team syncengine.ID, in bool) {
	o.t.Helper()
	s, err := syncengine.Decode(&o.record(staff).Record)
	if err != nil {
		o.t.Fatal(err)
	}
	path := syncengine.Path{Field: teamField, Key: team.String()}
	write := &tandemv1.PathWrite{Field: path.Field, Key: []byte(path.Key), Bases: syncengine.EncodeStamps(s.Bases(path, false))}
	if in {
		write.Value = syncengine.StringField(teamField, path.Key)
	}
	o.operator(&tandemv1.RecordWrite{
		Record: staff[:], Kind: record.New().KindByName("staff").Number, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{write},
	})
}

// operator makes a change at the server itself.
func (o *office) operator(w *tandemv1.RecordWrite) {
	o.t.Helper()
	id, err := syncengine.NewID(1, strings.NewReader(strconv.FormatInt(int64(1e15)+int64(len(o.t.Name()))*1e9+o.next(), 36)+"0123456789"))
	if err != nil {
		o.t.Fatal(err)
	}
	raw, err := proto.Marshal(&tandemv1.Change{
		Id: id[:], Author: o.org.ID[:], Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: 1}, Records: []*tandemv1.RecordWrite{w},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	err = o.store.Write(o.t.Context(), o.org.ID, 1, func(tx *store.Tx) error {
		engine := &syncengine.Server{Rules: record.New(), Secrets: o.org.Secrets}
		b, err := engine.Begin(tx, 1)
		if err != nil {
			return err
		}
		out, err := b.Local(&syncengine.Principal{Server: true}, raw)
		if err != nil {
			return err
		}
		if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			o.t.Errorf("the operator's change: %v", out)
		}
		_, err = b.Commit()
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

// next is the server's sequence, so that no two changes have one id.
func (o *office) next() (seq int64) {
	o.t.Helper()
	if err := o.store.Read(o.t.Context(), o.org.ID, func(view syncengine.ServerView) error {
		h, err := view.Head()
		seq = int64(h.Seq)
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return seq
}

// refused makes four saves of somebody who is out of the team when they arrive: a call,
// with an edit of it, and two notes; and returns the store's directory, closed.
func (o *office) refused(words string) (dir string) {
	o.t.Helper()
	ctx := o.t.Context()
	dir = filepath.Join(o.t.TempDir(), "maya")
	dev, err := o.enrol(ctx, o.clinician, "Car 12 laptop", dir, client.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	sync := func() *client.Moved {
		m, err := dev.Sync(ctx)
		if err != nil {
			o.t.Fatal(err)
		}
		return m
	}
	sync()
	create := func(msg proto.Message) (id syncengine.ID) {
		if _, err := dev.Edit(ctx, func(e *client.Edit) (err error) {
			id, err = e.Create(msg)
			return err
		}); err != nil {
			o.t.Fatal(err)
		}
		return id
	}
	incident := create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(words)})
	v, err := dev.Get(ctx, incident)
	if err != nil {
		o.t.Fatal(err)
	}
	as[*tandemv1.Incident](o.t, v).NotesOps = new(words + " more")
	if _, err := dev.Edit(ctx, func(e *client.Edit) error { return e.Set(v, v.Message) }); err != nil {
		o.t.Fatal(err)
	}
	create(&tandemv1.Encounter{Narrative: new("a second")})
	create(&tandemv1.Encounter{Narrative: new("a third")})
	create(&tandemv1.Encounter{Narrative: new("a fourth")})
	o.member(o.clinician, false)
	if m := sync(); m.NotAccepted != 5 {
		o.t.Fatalf("%d saves were not accepted, want 5", m.NotAccepted)
	}
	if got := mustList(o.t, dev, "incident"); len(got) != 0 {
		o.t.Errorf("what was not accepted is shown: %d calls", len(got))
	}
	if err := dev.Close(); err != nil {
		o.t.Fatal(err)
	}
	return dir
}

func mustList(t *testing.T, dev *client.Client, kind string) []*client.View {
	t.Helper()
	v, err := dev.List(t.Context(), kind, client.Filter{}, client.Newest, 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// item is a line of admin quarantine list --json.
type item struct {
	Change, Code string
	Whole        bool
	Records      []struct{ Record, Kind, Act string }
}

func items(t *testing.T, out string) (list []item) {
	t.Helper()
	for line := range strings.Lines(out) {
		list = append(list, decode[item](t, line))
	}
	return list
}

// TestQuarantine: what arrives after its author has left the team is kept, shown to the
// lead of that team alone, and decided on; and its author hears of each decision.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const words = "words of a call"
	dir := o.refused(words)
	admin := func(args ...string) []string {
		return append([]string{"admin", "quarantine", args[0], "--data", o.dir, "--as"}, args[1:]...)
	}
	lead, other, adm := o.lead.String(), o.other.String(), o.adm.String()

	seen := items(t, must(t, "", admin("list", lead, "--json")...))
	if len(seen) != 5 || slices.ContainsFunc(seen, func(i item) bool { return !i.Whole }) {
		t.Fatalf("the lead sees %+v", seen)
	}
	if got := items(t, must(t, "", admin("list", adm, "--json")...)); len(got) != 5 || slices.ContainsFunc(got, func(i item) bool { return i.Whole || i.Records != nil }) {
		t.Errorf("the administrator sees %+v", got)
	}
	if got := must(t, "", admin("list", other, "--json")...); got != "" {
		t.Errorf("the lead of nothing sees %s", got)
	}
	if out := must(t, "", admin("list", lead)...); !strings.Contains(out, "your role does not allow it") {
		t.Errorf("the list says %s", out)
	}
	var call, edit string
	var notes []string
	for _, i := range seen {
		switch {
		case i.Records[0].Kind == "encounter":
			notes = append(notes, i.Change)
		case i.Records[0].Act == "create":
			call = i.Change
		default:
			edit = i.Change
		}
	}
	if out := must(t, "", admin("show", lead, call)...); !strings.Contains(out, words) || !strings.Contains(out, "create incident") {
		t.Errorf("show prints %s", out)
	}
	must(t, "", admin("show", lead, call, "--json")...)
	for _, who := range []string{other, adm, o.clinician.String()} {
		for _, args := range [][]string{admin("show", who, call), admin("release", who, call), admin("dismiss", who, call, "--reason", "x"), admin("replace", who, call, "--set", "notes_ops=x")} {
			if r := tandem(t.Context(), "", args...); r.code != exitBadInput || strings.Contains(r.out+r.err, words) {
				t.Errorf("%v: exit code %d: %s%s", args, r.code, r.out, r.err)
			}
		}
	}

	// The call is released, and its edit with it; the encounters end in three ways.
	if got := decode[map[string]string](t, must(t, "", admin("release", lead, call, "--json")...))["state"]; got != "applied" {
		t.Errorf("released as %s", got)
	}
	for _, i := range items(t, must(t, "", admin("list", lead, "--json")...)) {
		if i.Change == call || i.Change == edit {
			t.Errorf("%s lies in quarantine still", i.Change)
		}
	}
	if got := decode[map[string]string](t, must(t, "", admin("dismiss", lead, notes[0], "--reason", "entered twice", "--json")...))["state"]; got != "dismissed" {
		t.Errorf("dismissed as %s", got)
	}
	if r := tandem(t.Context(), "", admin("release", lead, notes[0])...); r.code != exitBadInput {
		t.Errorf("what was dismissed is released: %s%s", r.out, r.err)
	}
	must(t, "", "sync", "--store", dir)
	type save struct {
		Op                 uint64
		State, Why, Reason string
	}
	saves := func(args ...string) (list []save) {
		for line := range strings.Lines(must(t, "", append([]string{"quarantine", "list", "--store", dir, "--json"}, args...)...)) {
			list = append(list, decode[save](t, line))
		}
		return list
	}
	waiting := saves()
	if len(waiting) != 2 || waiting[0].State != "quarantined" {
		t.Fatalf("the author sees %+v", waiting)
	}
	all := saves("--all")
	if len(all) != 3 || all[2].State != "dismissed" || all[2].Reason != "entered twice" {
		t.Errorf("the author sees, of all, %+v", all)
	}
	if out := must(t, "", "quarantine", "show", "--store", dir, strconv.FormatUint(all[2].Op, 10)); !strings.Contains(out, "entered twice") || !strings.Contains(out, "a second") {
		t.Errorf("show prints %s", out)
	}
	must(t, "", "quarantine", "show", "--store", dir, strconv.FormatUint(all[2].Op, 10), "--json")
	must(t, "", "quarantine", "withdraw", "--store", dir, strconv.FormatUint(waiting[0].Op, 10), "--json")
	if r := tandem(t.Context(), "", "quarantine", "withdraw", "--store", dir, "1"); r.code != exitBadInput {
		t.Errorf("a released save is withdrawn: exit code %d: %s", r.code, r.err)
	}
	if r := tandem(t.Context(), "", "quarantine", "fix", "--store", dir, strconv.FormatUint(waiting[1].Op, 10), "--set", "nothing=x"); r.code != exitUsage {
		t.Errorf("a field that is none: exit code %d: %s", r.code, r.err)
	}
	// Back in the team she corrects the last and sends it again.
	o.member(o.clinician, true)
	must(t, "", "sync", "--store", dir)
	must(t, "", "quarantine", "fix", "--store", dir, strconv.FormatUint(waiting[1].Op, 10), "--set", "narrative=a fourth = corrected", "--json")
	must(t, "", "sync", "--store", dir)
	must(t, "", "sync", "--store", dir)
	if left := saves(); len(left) != 0 {
		t.Errorf("%+v wait still", left)
	}
	states := map[string]int{}
	for _, s := range saves("--all") {
		states[s.State]++
	}
	if states["dismissed"] != 2 || states["replaced"] != 1 {
		t.Errorf("in the end: %v", states)
	}

	luis, err := o.enrol(t.Context(), o.second, "Tablet 3", filepath.Join(t.TempDir(), "luis"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = luis.Close() }()
	if _, err := luis.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := mustList(t, luis, "incident")
	if len(calls) != 1 || as[*tandemv1.Incident](t, calls[0]).GetNotesOps() != words+" more" || calls[0].Origin.Author != o.clinician || len(calls[0].Conflicts) > 0 {
		t.Errorf("the other clinician sees calls %+v", calls)
	}
	met := mustList(t, luis, "encounter")
	if len(met) != 1 || as[*tandemv1.Encounter](t, met[0]).GetNarrative() != "a fourth = corrected" {
		t.Errorf("the other clinician sees %d encounters", len(met))
	}
	must(t, "", "verify", "--data", o.dir)
	must(t, "", "verify", "--store", dir)
}

// TestQuarantineReplaced: a lead writes a change again as the lead's own.
func TestQuarantineReplaced(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := filepath.Join(t.TempDir(), "maya")
	dev, err := o.enrol(t.Context(), o.clinician, "Car 12 laptop", dir, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dev.Close() }()
	sync := func() {
		if _, err := dev.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var id syncengine.ID
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) (err error) {
		id, err = e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("first")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	sync()
	v, err := dev.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	as[*tandemv1.Incident](t, v).NotesOps = new("second")
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	o.member(o.clinician, false)
	sync()
	o.member(o.clinician, true)
	sync()
	if v, err = dev.Get(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := as[*tandemv1.Incident](t, v).GetNotesOps(); got != "first" {
		t.Errorf("the record shows %q although the edit was not accepted", got)
	}
	if len(v.NotAccepted) != 1 || len(v.NotAccepted[0].Values) != 1 || v.NotAccepted[0].Values[0].Field != "notes_ops" ||
		v.NotAccepted[0].Values[0].Record != id || v.NotAccepted[0].Values[0].Words == "" {
		t.Fatalf("beside the field stands %+v", v.NotAccepted)
	}
	change := v.NotAccepted[0].Change.String()
	must(t, "", "admin", "quarantine", "replace", "--data", o.dir, "--as", o.lead.String(), change, "--set", "notes_ops=second, says the lead", "--json")
	sync()
	if v, err = dev.Get(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := as[*tandemv1.Incident](t, v).GetNotesOps(); got != "second, says the lead" || len(v.Conflicts) > 0 || len(v.NotAccepted) > 0 {
		t.Errorf("the record shows %q, %d conflicts, %d not accepted", got, len(v.Conflicts), len(v.NotAccepted))
	}
	closed, err := dev.Closed(t.Context())
	if err != nil || len(closed) != 1 || closed[0].Verdict != tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED {
		t.Errorf("closed: %+v, %v", closed, err)
	}
	acts, err := o.store.Acts(t.Context(), o.org.ID, closed[0].Change)
	if err != nil || len(acts) != 1 || acts[0].Kind != syncengine.ActReplaced || acts[0].By != o.lead {
		t.Errorf("acts: %+v, %v", acts, err)
	}
}
