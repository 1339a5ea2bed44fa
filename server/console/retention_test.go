package console_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// retained counts what is past its time at a later day.
func (w *whole) retained(years, days int) *server.Retention {
	w.tb.Helper()
	admin := server.NewAdmin(w.st, w.org, server.AdminOptions{Clock: func() time.Time { return w.now().AddDate(years, 0, days) }})
	return must[*server.Retention](w.tb)(admin.Retention(w.tb.Context(), syncengine.ID{}))
}

// Nobody is past their time before they can be of age: of a date of birth that is known in
// part the latest day counts, of whom no age is known the longest, and of twins that were
// merged the younger one.
func TestRetentionNeverEarly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		year := w.now().Year()
		of := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
		cases := []struct {
			name, dob string
			age       *uint32
			// due is when the time is over; where it is zero, years after the last contact.
			due   time.Time
			years int
			twin  *uint32
		}{
			{name: "a whole date", dob: fmt.Sprintf("%d-03-02", year-10), due: of(year+15, 3, 2)},
			{name: "a year", dob: fmt.Sprint(year - 10), due: of(year+15, 12, 31)},
			{name: "a month", dob: fmt.Sprintf("%d-04", year-10), due: of(year+15, 4, 30)},
			{name: "a grown person", dob: "1980", years: 7},
			{name: "an infant", age: new(uint32(0)), years: 25},
			{name: "forty or so", age: new(uint32(40)), years: 7},
			{name: "nothing", years: 25},
			{name: "twins", age: new(uint32(40)), twin: new(uint32(5)), years: 20},
			{name: "twins of another order", age: new(uint32(5)), twin: new(uint32(40)), years: 20},
		}
		ids, twins := map[syncengine.ID]int{}, map[syncengine.ID]syncengine.ID{}
		w.edit(maya, func(e *client.Edit) error {
			for i, c := range cases {
				m := person("One", fmt.Sprintf("Number%d", i))
				m.ApproxAge = c.age
				if c.dob != "" {
					m.Dob = &c.dob
				}
				id, err := e.Create(m)
				if err != nil {
					return err
				}
				ids[id] = i
				if c.twin != nil {
					twin := person("Twin", fmt.Sprintf("Number%d", i))
					twin.ApproxAge = c.twin
					if twins[id], err = e.Create(twin); err != nil {
						return err
					}
				}
			}
			return nil
		})
		w.sync(maya)
		for id, twin := range twins {
			if _, err := w.admin.Change(t.Context(), w.lena, func(c *server.Composer) error {
				rec, msg, err := c.Record(twin)
				if err != nil {
					return err
				}
				m, _ := msg.(*tandemv1.Person)
				m.Lifecycle, m.MergedInto = new("merged"), new(id.String())
				return c.Write(rec, tandemv1.Act_ACT_MERGE, m, "the same person")
			}); err != nil {
				t.Fatal(err)
			}
		}
		// Which of the twins is met first is by chance.
		for range 8 {
			r := w.retained(60, 0)
			if r.People != len(cases) || r.Incomplete != 0 {
				t.Fatalf("%+v", r)
			}
			for _, e := range r.List {
				i, there := ids[e.ID]
				if !there {
					t.Fatalf("%s is none of them", e.ID)
				}
				c := cases[i]
				if c.due.IsZero() {
					c.due = time.UnixMilli(e.LastMS).UTC().AddDate(c.years, 0, 0)
				}
				if got := time.UnixMilli(e.DueMS).UTC(); !got.Equal(c.due) {
					t.Errorf("%s: over at %s, want %s", c.name, got, c.due)
				}
			}
		}
	})
}

// A hold on a call keeps whom it was about; what is shared with somebody who is not due is
// not counted; and what this version does not know leaves nobody of its team past their time.
func TestRetentionOfWhatIsShared(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		var call, other, grown, child, visit syncengine.ID
		w.edit(maya, func(e *client.Edit) (err error) {
			if call, err = e.Create(w.call("C7-1")); err != nil {
				return err
			}
			if other, err = e.Create(w.call("C7-2")); err != nil {
				return err
			}
			old, young := person("Old", "One"), person("Young", "One")
			old.ApproxAge, young.ApproxAge = new(uint32(40)), new(uint32(2))
			if grown, err = e.Create(old); err != nil {
				return err
			}
			if child, err = e.Create(young); err != nil {
				return err
			}
			if visit, err = e.Create(w.visitOf(call, grown, "Words.")); err != nil {
				return err
			}
			_, err = e.Create(w.visitOf(other, child, "Words."))
			return err
		})
		w.sync(maya)
		// The grown person, the call and the visit; the other call stays for the child.
		if r := w.retained(10, 0); r.People != 1 || r.Calls != 1 || r.Records != 3 || r.Held != 0 {
			t.Fatalf("%+v", r)
		}
		hold, err := w.admin.PlaceHold(t.Context(), w.ada, w.clinic, call, "a letter of the court")
		if err != nil {
			t.Fatal(err)
		}
		if r := w.retained(10, 0); r.People != 0 || r.Held != 1 || r.Records != 0 || r.List[0].ID != grown {
			t.Errorf("under a hold on the call: %+v", r)
		}
		if err := w.admin.LiftHold(t.Context(), w.ada, hold.ID); err != nil {
			t.Fatal(err)
		}
		if r := w.retained(10, 0); r.People != 1 {
			t.Errorf("lifted: %+v", r)
		}
		// The call lasts two days longer, and the visit with it.
		w.pass(48 * time.Hour)
		w.edit(maya, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Note{Type: new("case"), Text: new("Words."), Target: &tandemv1.RecordRef{Kind: new("incident"), Id: new(call.String())}})
			return err
		})
		w.sync(maya)
		if r := w.retained(7, -1); r.People != 1 || r.Calls != 0 || r.Records != 1 || r.List[0].Records != 1 {
			t.Errorf("the call is kept: %+v", r)
		}
		// A record that a newer version wrote, of that team.
		err = w.st.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			rec, err := tx.Record(visit)
			if err != nil {
				return err
			}
			newer := *rec
			newer.ID, newer.Kind = must[syncengine.ID](t)(syncengine.NewID(w.now().UnixMilli(), rand.Reader)), 4000
			return tx.SaveRecord(&newer)
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := w.retained(60, 0); r.People != 0 || r.Calls != 0 || r.Records != 0 || r.Incomplete != 1 {
			t.Errorf("of a newer version: %+v", r)
		}
		b := w.signIn(w.ada, "ada.admin")
		b.post("/console/jobs", "kind", "propose", "to", "retention").want(t, http.StatusOK, "How long")
		w.work()
		b.get("/console/retention").want(t, http.StatusOK, "1 records were written by a newer version")
	})
}
