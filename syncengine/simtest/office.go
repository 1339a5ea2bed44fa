package simtest

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// office is the org and who works there.
type office struct {
	org, agency, operator syncengine.ID
	teams                 []syncengine.ID
	programs              []syncengine.ID // of the teams, in their order
	people                []*person
}

// person is one member of staff.
type person struct {
	id    syncengine.ID
	name  string
	roles []string
	teams []syncengine.ID // at the start
}

// police reports whether the wall stands before them.
func (p *person) police() bool { return slices.Contains(p.roles, "le_partner") }

// setUp makes the org, its reference data and its devices.
func (w *World) setUp() error {
	secret := make([]byte, 32)
	if _, err := w.Read(secret); err != nil {
		return err
	}
	secrets, err := syncengine.NewSecrets(secret)
	if err != nil {
		return err
	}
	kept := one(w, []uint64{0, 0, 40, 200})
	if w.script != nil || w.Dir != "" {
		kept = 0 // The product's store prunes in its own time.
	}
	for range 1 + w.rng.IntN(3) {
		w.nodes = append(w.nodes, &syncengine.Server{Rules: w.rules, Secrets: secrets, Kept: kept, Chunks: newChunks(w.script == nil)})
	}
	w.engine = w.nodes[0]
	w.client = &syncengine.Device{Rules: w.rules}
	o := &w.office
	var program syncengine.ID
	o.org, o.agency, program, o.operator = w.newID(), w.newID(), w.newID(), w.newID()
	o.programs = []syncengine.ID{program, program}
	if w.script == nil && w.odds(2) {
		// The teams work in programs of their own.
		o.programs[1] = w.newID()
	}
	w.server = newServerStore(o.org, w.newID(), w.decoded)
	if err := w.mirrorServer(secret); err != nil {
		return err
	}
	teamA, teamB := w.newID(), w.newID()
	o.teams = []syncengine.ID{teamA, teamB}
	both := o.teams
	o.people = []*person{
		{name: "ana", roles: []string{"clinician"}, teams: []syncengine.ID{teamA}},
		{name: "ben", roles: []string{"clinician"}, teams: both},
		{name: "cal", roles: []string{"clinician"}, teams: []syncengine.ID{teamB}},
		{name: "lea", roles: []string{"lead"}, teams: both},
		{name: "pia", roles: []string{"clinician", "lead"}, teams: []syncengine.ID{teamA}},
		{name: "leo", roles: []string{"le_partner"}, teams: []syncengine.ID{teamA}},
		{name: "lou", roles: []string{"le_partner"}, teams: both},
	}
	for _, p := range o.people {
		p.id = w.newID()
	}
	if err := w.found(); err != nil {
		return err
	}
	w.settleIn()
	if err := w.enrol(); err != nil {
		return err
	}
	if w.script != nil {
		w.calm = true
		return nil
	}
	if w.rng.IntN(5) < 3 && !w.habits.together {
		return nil
	}
	return w.warmUp()
}

// warmUp lets one call come in on every clinician's device, and most hear of most.
func (w *World) warmUp() error {
	w.calm = true
	defer func() { w.calm = false }()
	for _, d := range w.devices {
		if !slices.Contains(d.person.roles, "clinician") {
			continue
		}
		writes, err := w.visit(d)
		if err != nil {
			return err
		}
		if err := w.save(d, writes); err != nil {
			return err
		}
	}
	for range 2 + w.rng.IntN(2) {
		for _, d := range w.devices {
			if _, _, err := w.sync(d, 1<<20, 1<<20); err != nil {
				return err
			}
		}
	}
	return nil
}

// found stores the reference data.
func (w *World) found() error {
	o := &w.office
	if err := w.foundOne(o.agency, &tandemv1.Agency{
		Lifecycle: new("active"), Name: new("Agency"), Type: new("behavioral_health"),
	}); err != nil {
		return err
	}
	for _, id := range slices.Compact(slices.Clone(o.programs)) {
		if err := w.foundOne(id, &tandemv1.Program{
			AgencyId: new(o.agency.String()), Lifecycle: new("active"), Name: &tandemv1.LocalizedText{En: new("Program")},
		}); err != nil {
			return err
		}
	}
	for i, id := range o.teams {
		if err := w.foundOne(id, &tandemv1.Team{
			AgencyId: new(o.agency.String()), ProgramId: new(o.programs[i].String()),
			Lifecycle: new("active"), Name: new(fmt.Sprintf("Team %d", i)),
		}); err != nil {
			return err
		}
	}
	for _, p := range o.people {
		teams := make([]string, 0, len(p.teams))
		for _, t := range p.teams {
			teams = append(teams, t.String())
		}
		if err := w.foundOne(p.id, &tandemv1.Staff{
			AgencyId: new(o.agency.String()), Lifecycle: new("active"),
			DisplayName: new(p.name), Roles: p.roles, TeamIds: teams,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) foundOne(id syncengine.ID, msg proto.Message) error {
	body, err := w.rules.Body(msg)
	if err != nil {
		return err
	}
	out, err := w.local(&tandemv1.RecordWrite{
		Record: id[:], Kind: w.rules.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
	})
	if err == nil && out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		err = fmt.Errorf("founding a %T: %v", msg, out)
	}
	return err
}

// local makes a change of the operator's at the server.
func (w *World) local(writes ...*tandemv1.RecordWrite) (*tandemv1.Outcome, error) {
	return w.localBy(&syncengine.Principal{Person: w.office.operator, Server: true}, writes...)
}

// localBy makes a change at the server, in a transaction of its own.
func (w *World) localBy(p *syncengine.Principal, writes ...*tandemv1.RecordWrite) (out *tandemv1.Outcome, err error) {
	id := w.newID()
	change := &tandemv1.Change{
		Id: id[:], Author: p.Person[:], Schema: syncengine.Schema, Records: writes,
		Time: &tandemv1.ChangeTime{WallMs: w.nowMS}, Class: tandemv1.Class_CLASS_NORMAL,
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(change)
	if err != nil {
		return nil, err
	}
	err = w.write(0, true, func(tx syncengine.ServerTx) error {
		b, err := w.engine.Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		if out, err = b.Local(p, raw); err != nil {
			return err
		}
		done, err := b.Commit()
		if err == nil {
			w.committed(done)
		}
		return err
	})
	return out, err
}

// restBytes are sizes of pages once the faults have stopped. Small ones take many
// requests, and so are rare.
var restBytes = slices.Concat([]uint32{1, 1500}, slices.Repeat([]uint32{1 << 20}, 14))

// settleIn chooses the habits of this world.
func (w *World) settleIn() {
	h := &w.habits
	h.pageBytes = one(w, [][]uint32{{1}, {1, 700}, {700, 4000}, {1 << 20}, {1, 700, 4000, 1 << 20}})
	h.pushBytes = one(w, [][]int{{1}, {1, 1500}, {1 << 20}, {1, 1500, 1 << 20}})
	h.realKeys = w.odds(8)
	h.together = w.script == nil && w.Seed%5 == 1
	h.restBytes = one(w, restBytes)
	h.inFlight = 1 + w.rng.IntN(4)
	h.disorder = one(w, []int{1, 1, 3, 12})
	slow := w.odds(3)
	if w.odds(6) {
		// Requests pile up while a slow link reads many small pages.
		h.pageBytes, h.inFlight, h.disorder, slow = []uint32{1, 1, 700}, 4, 1, true
	}
	for _, a := range actions {
		weight := a.weight
		if slow && a.name == "deliver" {
			weight /= 2
		}
		// A world has some faults often and others never: so they meet.
		if a.fault {
			weight *= one(w, []int{0, 0, 1, 5})
			if h.together && w.Seed%10 == 1 {
				weight = 0 // Enough comes to pass there without, in half of them.
			}
		}
		h.weights = append(h.weights, weight)
		h.total += weight
	}
}

// crew picks who has the devices: a clinician, a lead, a police partner, and two or
// three of anybody, often of the first's team, at times with two devices of one person.
func (w *World) crew() []*person {
	all := w.office.people
	if w.script != nil {
		return []*person{all[0], all[1], all[3], all[5], all[2]}
	}
	near := all
	if w.odds(2) {
		near = slices.DeleteFunc(slices.Clone(all), func(p *person) bool { return p.teams[0] != w.office.teams[0] })
	}
	crew := []*person{all[w.rng.IntN(2)], all[3+w.rng.IntN(2)], all[5+w.rng.IntN(2)]}
	if w.habits.together {
		crew = []*person{all[0], all[1]}
	}
	for range 2 + w.rng.IntN(5)/4 {
		crew = append(crew, one(w, near))
	}
	return crew
}

// enrol makes the devices, and in some worlds lets an adversary in.
func (w *World) enrol() error {
	for i, p := range w.crew() {
		d, err := w.enrolOne(fmt.Sprintf("d%d", i), p)
		if err != nil {
			return err
		}
		clock := w.rng.IntN(8)
		if w.script != nil {
			clock = 7
		}
		switch clock {
		case 0:
			d.skewMS = (w.rng.Int64N(21) - 10) * 365 * 86_400_000
		case 1:
			d.skewMS, d.frozen = w.rng.Int64N(2)*1_700_000_000_000, true
		}
		d.store = newDeviceStore(&syncengine.DeviceState{
			Org: w.office.org, Replica: d.replica, Person: d.person.id, Device: d.id, NextOp: 1,
		})
		if err := w.mirrorDevice(d); err != nil {
			return err
		}
		w.devices = append(w.devices, d)
	}
	if w.odds(2) && w.script == nil {
		return w.enrolEve()
	}
	return nil
}

// enrolOne enrols a replica.
func (w *World) enrolOne(name string, p *person) (*device, error) {
	d := &device{name: name, person: p, id: w.newID(), replica: w.newID(), ask: true}
	d.key, d.oracle = newKey(w.bytes(ed25519.SeedSize), w.habits.realKeys), w.server
	w.keys[d.replica] = d.key
	w.event("%s is %s's (%v)", d.name, d.person.name, d.person.roles)
	return d, w.write(0, true, func(tx syncengine.ServerTx) error {
		return tx.SaveReplica(&syncengine.Replica{ID: d.replica, Person: d.person.id, Device: d.id, Key: d.key.public()})
	})
}

// rename is somebody in the console who renames the agency, at times on a screen
// that has not been refreshed.
func (w *World) rename() error {
	versions := w.server.versions[w.office.agency]
	s, err := syncengine.Decode(&one(w, versions).Record)
	if err != nil {
		return err
	}
	kind := w.rules.KindByName("agency").Number
	field := fieldOf("agency", "name")
	w.event("the agency is renamed")
	return w.localApplied(setOf(s, w.office.agency, kind, edit{syncengine.Path{Field: field}, syncengine.StringField(field, fmt.Sprint("Agency ", w.server.head.Seq))}))
}

// transfer moves a person to another team, out of one, or out of office and back.
func (w *World) transfer() error {
	p := one(w, w.office.people)
	if w.odds(2) {
		p = one(w, w.devices).person
	}
	staff, err := w.server.Record(p.id)
	if err != nil || staff == nil {
		return err
	}
	s, err := syncengine.Decode(&staff.Record)
	if err != nil {
		return err
	}
	kind := w.rules.KindByName("staff").Number
	if w.odds(6) {
		to := record.Retired
		if staff.Lifecycle() == record.Retired {
			to = record.Active
		}
		w.event("%s is now %s", p.name, to)
		w.seen("retired")
		return w.localApplied(setOf(s, p.id, kind, edit{syncengine.Path{Field: syncengine.FieldLifecycle}, syncengine.StringField(syncengine.FieldLifecycle, to)}))
	}
	field := fieldOf("staff", "team_ids")
	team := one(w, w.office.teams).String()
	e := edit{path: syncengine.Path{Field: field, Key: team}}
	if slices.Contains(staff.Codes(field), team) {
		w.event("%s leaves team %s", p.name, team)
	} else {
		e.raw = syncengine.StringField(field, team)
		w.event("%s joins team %s", p.name, team)
	}
	return w.localApplied(setOf(s, p.id, kind, e))
}

// changeTeam takes a person into a team, or out of it.
func (w *World) changeTeam(p *person, team syncengine.ID, in bool) error {
	s, err := syncengine.Decode(&w.server.records[p.id].Record)
	if err != nil {
		return err
	}
	field := fieldOf("staff", "team_ids")
	e := edit{path: syncengine.Path{Field: field, Key: team.String()}}
	if in {
		e.raw = syncengine.StringField(field, team.String())
	}
	w.event("%s is in team %s now: %v", p.name, team, in)
	return w.localApplied(setOf(s, p.id, w.rules.KindByName("staff").Number, e))
}

// reassign is a lead who moves a record to another team in the console.
func (w *World) reassign() error {
	lead := w.office.people[3]
	for range 8 {
		rec := w.server.records[one(w, w.server.ids)]
		if rec.Text(syncengine.FieldTeam) == "" {
			continue
		}
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		p, err := w.engine.Principal(w.server, &syncengine.Replica{Person: lead.id})
		if err != nil {
			return err
		}
		to := one(w, w.office.teams).String()
		w.event("%s moves %s to team %s", lead.name, rec.ID, to)
		out, err := w.localBy(p, setOf(s, rec.ID, rec.Kind,
			edit{syncengine.Path{Field: syncengine.FieldTeam}, syncengine.StringField(syncengine.FieldTeam, to)}))
		if err == nil {
			w.event("the console: %v %v", out.GetCode(), out.GetRefusal())
		}
		return err
	}
	return nil
}

// localApplied makes a change of the operator's that nothing may refuse.
func (w *World) localApplied(writes ...*tandemv1.RecordWrite) error {
	out, err := w.local(writes...)
	if err == nil && out.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		err = fmt.Errorf("the operator was refused: %v", out)
	}
	return err
}
