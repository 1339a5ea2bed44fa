package record_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// id returns an id of one repeated byte.
func id(b byte) syncengine.ID { return syncengine.ID(bytes.Repeat([]byte{b}, 16)) }

// Ids of the fixtures.
var (
	org, author, other, tablet = id(1), id(2), id(3), id(4)
	agencyA, programA          = id(5), id(6)
	teamA, teamB               = id(7), id(8)
	personA, incidentA         = id(9), id(10)
	encounterA, recordA        = id(11), id(12)
)

func chance() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{7}) }

// at is a moment on the evening of the fixtures, minutes in.
func at(minutes int64) *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(1_790_000_000_000 + minutes*60_000), Origin: new("tap")}
}

// nowMS is when the author of the fixtures writes.
const nowMS = 1_790_000_000_000 + 300*60_000

// encounterMessage is a complete encounter of about 1 KB.
func encounterMessage(testing.TB) *tandemv1.Encounter {
	return &tandemv1.Encounter{
		AgencyId: new(agencyA.String()), ProgramId: new(programA.String()), TeamId: new(teamA.String()),
		Lifecycle: new(record.Draft), Tz: new("America/New_York"), Schema: new(uint32(1)),
		IncidentId: new(incidentA.String()), PersonId: new(personA.String()),
		Identity: new("identified"), Type: new("crisis_response"),
		StartedAt: at(20), EndedAt: at(70),
		AgeYears: new(uint32(34)), Housing: new("unstable"),
		PresentingPrimary: new("suicidal_ideation"), PresentingOther: []string{"depression", "basic_needs"},
		Substance: new("alcohol"), DangerSelf: new("high"), DangerOthers: new("none"), CannotCareForSelf: new("no"),
		Interventions: []string{"crisis_counseling", "deescalation", "safety_plan"},
		Disposition:   new("resolved_on_scene"), TransportBy: new("none"), LegalStatus: new("voluntary"),
		CfEd: new("yes"), CfArrest: new("no"), CfHold: new("unknown"), CfSource: new("clinician_judgment"),
		FollowUpPlan: new("opened_episode"),
		Narrative:    new(strings.Repeat("Sat with her on the steps until she was ready to talk. ", 9)),
	}
}

// incidentMessage is a complete, cleared incident.
func incidentMessage(testing.TB) *tandemv1.Incident {
	return &tandemv1.Incident{
		AgencyId: new(agencyA.String()), ProgramId: new(programA.String()), TeamId: new(teamA.String()),
		Lifecycle: new(record.Cleared), Tz: new("America/New_York"), Schema: new(uint32(1)),
		Number: new("U7-260914-03"), Source: new("dispatch_911"), CallType: new("welfare_check"),
		RiskLevel: new("moderate"), ResponseMode: new("co_response"),
		ReceivedAt: at(0), DispatchedAt: at(2), ArrivedAt: at(15), ClearedAt: at(80),
		Contact: new("contact_made"), PlaceType: new("home"),
		Location:      &tandemv1.Location{City: new("Rochester"), Zip5: new("14604"), Lat: new(43.15), Lon: new(-77.61)},
		LeInvolvement: new("partner_on_team"), LeActions: []string{"standby"}, Weapon: new("none"), ForceUsed: new("no"),
		Responders: []*tandemv1.Responder{
			{Element: []byte("aaaaaaaa"), StaffId: new(author.String()), OnSceneRole: new("social_worker")},
			{Element: []byte("bbbbbbbb"), Name: new("Unit 12"), OnSceneRole: new("officer")},
		},
	}
}

func personMessage(testing.TB) *tandemv1.Person {
	return &tandemv1.Person{
		TeamId: new(teamA.String()), Lifecycle: new(record.Active),
		Dob: new("1992-03"), ApproxAge: new(uint32(34)),
		Names:  []*tandemv1.PersonName{{Element: []byte("nnnnnnnn"), Given: new("Ana"), Family: new("Núñez"), Use: new("legal")}},
		Phones: []*tandemv1.PersonPhone{{Element: []byte("pppppppp"), Number: new("+1 585 555 0100")}},
	}
}

func referralMessage(testing.TB) *tandemv1.Referral {
	return &tandemv1.Referral{
		TeamId: new(teamA.String()), Lifecycle: new(record.Active), PersonId: new(personA.String()),
		Need: new("housing"), Urgency: new("days_3"), State: new("sent"), TargetText: new("Night shelter"),
	}
}

func noteMessage(testing.TB) *tandemv1.Note {
	return &tandemv1.Note{
		TeamId: new(teamA.String()), Lifecycle: new(record.Draft), Type: new("case"), Text: new("Called back."),
		Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(encounterA.String())},
	}
}

// change wraps writes into a well-formed change.
func change(writes ...*tandemv1.RecordWrite) *tandemv1.Change {
	cid, a, dev := id(99), author, tablet
	return &tandemv1.Change{
		Id: cid[:], Author: a[:], Device: dev[:], Schema: syncengine.Schema, Class: tandemv1.Class_CLASS_NORMAL,
		Time: &tandemv1.ChangeTime{WallMs: nowMS, Boot: make([]byte, 8)}, AppVersion: "1.0.0", Records: writes,
	}
}

// createOf is the write that makes a message's record.
func createOf(tb testing.TB, msg proto.Message) *tandemv1.RecordWrite {
	tb.Helper()
	body, err := record.New().Body(msg)
	if err != nil {
		tb.Fatal(err)
	}
	r := recordA
	return &tandemv1.RecordWrite{
		Record: r[:], Kind: record.New().KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
	}
}

func creating(tb testing.TB, msg proto.Message) *tandemv1.Change {
	tb.Helper()
	return change(createOf(tb, msg))
}

// actOn is an act that turns before into after.
func actOn[M proto.Message](tb testing.TB, act tandemv1.Act, before M, edit func(M)) *tandemv1.RecordWrite {
	tb.Helper()
	d := record.New()
	after, _ := proto.Clone(before).(M)
	edit(after)
	diff, err := d.Diff(before, after)
	if err != nil {
		tb.Fatal(err)
	}
	r := recordA
	w := &tandemv1.RecordWrite{Record: r[:], Kind: d.KindOf(before).Number, Act: act}
	for _, f := range diff {
		w.Writes = append(w.Writes, &tandemv1.PathWrite{
			Field: f.Path.Field, Key: []byte(f.Path.Key), Value: f.Raw, Bases: make([]byte, 8),
		})
	}
	switch act {
	case tandemv1.Act_ACT_VOID, tandemv1.Act_ACT_AMEND:
		w.Reason = "Wrong person."
	}
	switch act {
	case tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_AMEND:
		s, err := syncengine.Decode(stored(tb, before))
		if err != nil {
			tb.Fatal(err)
		}
		w.Seen = s.Seen()
	}
	return w
}

func editing[M proto.Message](tb testing.TB, before M, edit func(M)) *tandemv1.Change {
	tb.Helper()
	return change(actOn(tb, tandemv1.Act_ACT_SET, before, edit))
}

// noHistory is a history in which nothing else ever happened.
type noHistory struct{}

func (noHistory) Awaited(syncengine.Path, syncengine.Stamp) (bool, error) { return false, nil }
func (noHistory) Await(syncengine.Path, syncengine.Stamp) error           { return nil }
func (noHistory) QuarantinedBases(syncengine.Path, syncengine.Stamp) ([]syncengine.Stamp, error) {
	return nil, nil
}
func (noHistory) Written(syncengine.Path, syncengine.Stamp) (syncengine.Head, bool, error) {
	return syncengine.Head{}, false, nil
}

// storedBy is the record that a create of msg makes.
func storedBy(tb testing.TB, by syncengine.ID, msg proto.Message, adjust func(*tandemv1.RecordWrite)) *syncengine.Record {
	tb.Helper()
	w := createOf(tb, msg)
	if adjust != nil {
		adjust(w)
	}
	applied, err := syncengine.Apply(record.New().KindOf(msg), nil, w,
		syncengine.Writer{Stamp: 1, Author: by, Device: tablet, AtMS: nowMS}, noHistory{})
	if err != nil {
		tb.Fatal(err)
	}
	return applied.Record
}

func stored(tb testing.TB, msg proto.Message) *syncengine.Record {
	tb.Helper()
	return storedBy(tb, author, msg, nil)
}
