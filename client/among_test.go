package client

import (
	"errors"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// followed makes a person with an active episode and returns both.
func followed(t *testing.T, c *Client) (person, episode syncengine.ID) {
	t.Helper()
	person = create(t, c, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ana"), Family: new("Núñez")}}, Dob: new("1992-03-04")})
	episode = create(t, c, openEpisode(person))
	return person, episode
}

func openEpisode(person syncengine.ID) *tandemv1.Episode {
	return &tandemv1.Episode{
		PersonId: new(person.String()), ProgramId: new(person.String()), WindowDays: new(uint32(60)),
		OpenedAt: &tandemv1.Instant{AtMs: new(time.Now().Add(-time.Hour).UnixMilli())},
	}
}

func refusedFor(t *testing.T, err error, fields ...string) {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.Code != tandemv1.Refusal_REFUSAL_INVALID || !slices.Equal(invalid.Fields, fields) {
		t.Errorf("got %v, want %v refused", err, fields)
	}
}

// A save is judged with the records that it names, those of the same save among them,
// and leaves nothing behind where it is refused.
func TestEditAmongOthers(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	person, episode := followed(t, c)
	_, err := c.Edit(t.Context(), func(e *Edit) error { _, err := e.Create(openEpisode(person)); return err })
	refusedFor(t, err, "episode/person_id", "episode/program_id")
	_, err = c.Edit(t.Context(), func(e *Edit) error {
		other, err := e.Create(&tandemv1.Person{Descriptor_: new("grey coat")})
		if err != nil {
			return err
		}
		if _, err := e.Create(openEpisode(other)); err != nil {
			return err
		}
		_, err = e.Create(openEpisode(other))
		return err
	})
	refusedFor(t, err, "episode/person_id", "episode/program_id")
	if got, err := c.List(t.Context(), "episode", Filter{}, Newest, 0); err != nil || len(got) != 1 || got[0].ID != episode {
		t.Errorf("got %d episodes and %v, want the first alone", len(got), err)
	}

	planned := &tandemv1.FollowUp{EpisodeId: new(episode.String()), PersonId: new(person.String()), TargetHours: new(uint32(24))}
	call := create(t, c, planned)
	v := mustGet(t, c, person)
	as[*tandemv1.Person](t, v).DoNotContact = new(true)
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	_, err = c.Edit(t.Context(), func(e *Edit) error { _, err := e.Create(planned); return err })
	refusedFor(t, err, "follow_up/person_id")
	problems, err := c.Problems(t.Context(), syncengine.ID{}, planned, record.Entry{})
	if err != nil || !slices.ContainsFunc(problems, func(p record.Problem) bool { return p.Rule == "V23" }) {
		t.Errorf("the form says %v %v, want V23", problems, err)
	}
	// What stands there already keeps nobody from another field, and can be put in order,
	// though only as a follow-up is.
	v = mustGet(t, c, call)
	as[*tandemv1.FollowUp](t, v).Note = new("Asked not to be called.")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Error(err)
	}
	v = mustGet(t, c, call)
	as[*tandemv1.FollowUp](t, v).Lifecycle = new(record.Done)
	_, err = c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) })
	refusedFor(t, err, "follow_up/mode", "follow_up/occurred_at", "follow_up/outcome")
	as[*tandemv1.FollowUp](t, v).Lifecycle = new(record.Cancelled)
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Error(err)
	}
	mustVerify(t, c)
}

func TestMatches(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	person, _ := followed(t, c)
	create(t, c, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ana"), Family: new("Núñez")}}, Dob: new("1960-01-01")})
	got, err := c.Matches(t.Context(), &tandemv1.Person{
		Names: []*tandemv1.PersonName{{Given: new("Anna"), Family: new("NUNEZ")}}, Dob: new("1992-03-04"),
	})
	if err != nil || len(got) != 1 || got[0].View.ID != person || got[0].Likeness < record.LikelySame {
		t.Errorf("got %v %v, want the one of that name and date", got, err)
	}
}

// V28: a void takes nothing with it; what hangs on the record is listed for a decision.
func TestVoidTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	person, _ := followed(t, c)
	visit := create(t, c, &tandemv1.Encounter{PersonId: new(person.String()), Type: new("crisis_response")})
	referral := create(t, c, &tandemv1.Referral{
		PersonId: new(person.String()), EncounterId: new(visit.String()), Need: new("housing"), Urgency: new("routine"),
		State: new("offered"), TargetText: new("The house"),
	})
	create(t, c, &tandemv1.Referral{
		PersonId: new(person.String()), Need: new("housing"), Urgency: new("routine"), State: new("offered"), TargetText: new("The house"),
	})
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Void(mustGet(t, c, visit), "Entered twice.") }); err != nil {
		t.Fatal(err)
	}
	hanging, err := c.Hanging(t.Context(), visit)
	if err != nil || len(hanging) != 1 || hanging[0].ID != referral || hanging[0].Lifecycle != record.Active {
		t.Errorf("got %v %v, want the referral as it was", hanging, err)
	}
}

// What a save makes is put where what it hangs on is, be it made in the same save.
func TestEditHousesWhatItMakes(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	const sud, clinical = tandemv1.Compartment_COMPARTMENT_SUD, tandemv1.Compartment_COMPARTMENT_CLINICAL
	in := func(id syncengine.ID) tandemv1.Compartment {
		v := mustGet(t, c, id)
		return v.rec.Compartment(v.Kind)
	}
	for _, want := range []tandemv1.Compartment{sud, clinical} {
		var made []syncengine.ID
		if _, err := c.Edit(t.Context(), func(e *Edit) error {
			person, err := e.Create(&tandemv1.Person{Descriptor_: new("grey coat")}, WithCompartment(want))
			if err != nil {
				return err
			}
			visit, err := e.Create(&tandemv1.Encounter{PersonId: new(person.String()), Type: new("crisis_response")})
			if err != nil {
				return err
			}
			note, err := e.Create(&tandemv1.Note{
				Type: new("case"), Text: new("Called back."), Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(visit.String())},
			})
			made = []syncengine.ID{person, visit, note}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		made = append(made, create(t, c, openEpisode(made[0])))
		for _, id := range made {
			if got := in(id); got != want {
				t.Errorf("a %s is in %v, want %v", mustGet(t, c, id).Kind.Name, got, want)
			}
		}
	}
	private := create(t, c, &tandemv1.Note{Type: new("private_psychotherapy"), Text: new("Mine.")})
	if got := in(private); got != tandemv1.Compartment_COMPARTMENT_PRIVATE {
		t.Errorf("a private note is in %v", got)
	}
}
