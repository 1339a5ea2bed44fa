package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// born is a person with a date of birth.
func born(given, family, on string) *tandemv1.Person {
	p := person(given, family)
	p.Dob, p.DobPrecision = &on, new("day")
	return p
}

// twice has two devices without signal record one person each, with a call of each.
func (o *office) twice() (a, b syncengine.ID, maya *client.Client) {
	o.tb.Helper()
	maya = o.device(o.maya, "Car 12")
	luis := o.device(o.luis, "Tablet 3")
	for _, one := range []struct {
		dev         *client.Client
		id          *syncengine.ID
		given, call string
	}{{maya, &a, "Ana", "T-1"}, {luis, &b, "Anna", "T-2"}} {
		o.edit(one.dev, func(e *client.Edit) error {
			call, err := e.Create(o.call(one.call))
			if err != nil {
				return err
			}
			if *one.id, err = e.Create(born(one.given, "Canarytwin", "1992-03-04")); err != nil {
				return err
			}
			visit := o.visitOf(call, *one.id, "x")
			visit.Disposition = new(map[string]string{"Ana": "left_with_support", "Anna": "resolved_on_scene"}[one.given])
			_, err = e.Create(visit)
			return err
		})
	}
	o.sync(maya, luis)
	return a, b, maya
}

// Two records of one person, made without signal, ask the lead; joined they are one case;
// the merge is taken back; and two people of whom that was said ask no more.
func TestTwins(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		a, b, maya := o.twice()
		l := o.signIn(o.lena, "lena.park")
		l.get("/console/queue?why=whyTwin").want(t, http.StatusOK, "Perhaps twice", "Ana Canarytwin", "Anna Canarytwin")
		l.get("/console/record/"+a.String()).want(t, http.StatusOK, "Perhaps the same person", "Anna Canarytwin")
		at := "/console/same/" + a.String() + "/" + b.String()
		page := l.get(at).want(t, http.StatusOK, "Ana Canarytwin", "Anna Canarytwin", "Two different people", "records: 1")
		hashes := []string{"hash." + a.String(), page.value(t, "hash."+a.String()), "hash." + b.String(), page.value(t, "hash."+b.String())}

		// By what stood on the screen, and of these two alone.
		l.post(at+"/merge", "keep", a.String(), hashes[0], "0", hashes[2], hashes[3]).want(t, http.StatusConflict)
		l.post(at+"/merge", append(hashes, "keep", o.maya.String())...).want(t, http.StatusBadRequest)
		l.get("/console/same/"+a.String()+"/"+a.String()).want(t, http.StatusNotFound)
		fred := o.signIn(o.fred, "fred.foreign")
		fred.get(at).want(t, http.StatusNotFound).never(t, "Canarytwin")
		for _, act := range []string{"merge", "apart"} {
			fred.post(at+"/"+act, append(hashes, "keep", a.String())...).want(t, http.StatusNotFound)
		}
		l.get("/console/queue?why=whyTwin").want(t, http.StatusOK, "Ana Canarytwin", "Anna Canarytwin")

		l.post(at+"/merge", append(hashes, "keep", a.String())...).want(t, http.StatusOK, "They are one person now", "Left with a support person", "Resolved")
		l.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")
		l.post(at+"/merge", append(hashes, "keep", a.String())...).want(t, http.StatusConflict)
		gone := l.get("/console/record/"+b.String()).want(t, http.StatusOK, "The same person as: Ana Canarytwin", "Take the merge back")
		o.sync(maya)
		if v := must[*client.View](t)(maya.Get(t.Context(), b)); v.Lifecycle != "merged" {
			t.Errorf("the device says %s", v.Lifecycle)
		}

		un := "/console/record/" + b.String() + "/unmerge"
		l.post(un, "hash", gone.value(t, "hash")).want(t, http.StatusBadRequest)
		l.post(un, "hash", gone.value(t, "hash"), "reason", "They are sisters.").want(t, http.StatusOK, "They are two people again", "They are sisters.")
		o.sync(maya)
		if v := must[*client.View](t)(maya.Get(t.Context(), b)); v.Lifecycle != "active" {
			t.Errorf("the device says %s", v.Lifecycle)
		}
		l.get("/console/case/"+a.String()).want(t, http.StatusOK, "Left with a support person").never(t, "Resolved")
		l.get("/console/queue?why=whyTwin").want(t, http.StatusOK, "Ana Canarytwin", "Anna Canarytwin")
		l.post(at+"/apart").want(t, http.StatusOK, "They stay two people")
		l.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")

		// Neither does a slip that is mended ask, nor a merge of long ago go back.
		v := must[*client.View](t)(maya.Get(t.Context(), a))
		o.edit(maya, func(e *client.Edit) error {
			m, _ := v.Message.(*tandemv1.Person)
			m.Names[0].Given = new("Anna")
			return e.Set(v, m)
		})
		o.sync(maya)
		l.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")
		page = l.get(at)
		l.post(at+"/merge", "keep", b.String(), "hash."+a.String(), page.value(t, "hash."+a.String()), "hash."+b.String(), page.value(t, "hash."+b.String())).want(t, http.StatusOK)
		gone = l.get("/console/record/" + a.String())
		o.pass(91 * 24 * time.Hour)
		l = o.stranger()
		l.post("/signin", "login", "lena.park", "passphrase", passphrase)
		l.post("/console/record/"+a.String()+"/unmerge", "hash", gone.value(t, "hash"), "reason", "Too late.").want(t, http.StatusUnprocessableEntity, "90 days")
	})
}

// The names that look alike are told as soon as one of them is written so.
func TestTwinsFollowNames(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya := o.device(o.maya, "Car 12")
	var other syncengine.ID
	o.edit(maya, func(e *client.Edit) (err error) {
		if _, err = e.Create(born("Rosa", "Canarytwin", "1980-05-06")); err != nil {
			return err
		}
		other, err = e.Create(born("Someone", "Else", "1980-05-06"))
		return err
	})
	o.sync(maya)
	l := o.signIn(o.lena, "lena.park")
	l.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")
	for _, name := range []struct {
		given, family string
		alike         bool
	}{{"Rosa", "Canarytwin", true}, {"Wholly", "Different", false}} {
		v := must[*client.View](t)(maya.Get(t.Context(), other))
		o.edit(maya, func(e *client.Edit) error {
			m, _ := v.Message.(*tandemv1.Person)
			m.Names[0].Given, m.Names[0].Family = &name.given, &name.family
			return e.Set(v, m)
		})
		o.sync(maya)
		q := l.get("/console/queue").want(t, http.StatusOK)
		if strings.Contains(q.text(), "Perhaps twice") != name.alike {
			t.Errorf("%s %s: %s", name.given, name.family, q.text())
		}
	}
}

// What one lead has said of two people asks the lead of another team that holds them no
// more either, with nothing written of them since.
func TestTwinsAtTwoDesks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	a, b, _ := o.twice()
	program := programOf(o)
	weekend := must[syncengine.ID](t)(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Weekend", Program: program}))
	staff := func(name, role string, teams ...syncengine.ID) syncengine.ID {
		return must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: name, Discipline: "social_worker", Roles: []string{role}, Agency: o.clinic, Teams: teams}))
	}
	wes, olga := staff("Wes Both", "clinician", weekend, o.night), staff("Olga Next", "lead", weekend)
	if _, err := o.admin.Change(t.Context(), wes, func(c *server.Composer) error {
		for _, id := range []syncengine.ID{a, b} {
			if _, err := c.Create(&tandemv1.Episode{
				AgencyId: new(o.clinic.String()), ProgramId: new(program.String()), TeamId: new(weekend.String()), Lifecycle: new("active"), Schema: new(uint32(syncengine.Schema)), Tz: new("America/Chicago"),
				PersonId: new(id.String()), OpenedAt: o.instant(time.Hour), WindowDays: new(uint32(60)),
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	l, next := o.signIn(o.lena, "lena.park"), o.signIn(olga, "olga.next")
	next.get("/console/queue?why=whyTwin").want(t, http.StatusOK, "Perhaps twice", "Anna Canarytwin")
	l.get("/console/queue?why=whyTwin").want(t, http.StatusOK, "Perhaps twice")
	l.post("/console/same/"+a.String()+"/"+b.String()+"/apart").want(t, http.StatusOK, "They stay two people")
	next.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")
	l.get("/console/queue").want(t, http.StatusOK).never(t, "Perhaps twice")
}

// The comparison as a lead sees it.
func TestTwinsLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang string
		size       [2]int64
	}{{"console-phone-light-en-twins-", "en", browsertest.Phone}, {"console-laptop-light-es-twins-", "es", browsertest.Laptop}} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, storetest.SQLite)
			a, c, _ := o.twice()
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			o.sits(b, o.lena, "lena.park", "/console/")
			if l.lang == "es" {
				b.Goes("Español")
			}
			b.Page("record/" + a.String())
			b.Goes("Anna Canarytwin")
			b.Look("same")
			keep := browsertest.Eval[string](b, `document.querySelector("button[name=keep]").innerText`)
			if !regexp.MustCompile(`Ana Canarytwin`).MatchString(keep) {
				t.Fatalf("the first is %q", keep)
			}
			b.Goes(keep)
			b.Says("Ana Canarytwin", "Anna Canarytwin")
			b.Look("merged")
			b.Page("record/" + c.String())
			b.Says("Ana Canarytwin")
			b.Look("gone")
		})
	}
}

// However many records a person has, the case shows what all of them say.
func TestManyMerged(t *testing.T) {
	t.Parallel()
	const records = 14
	o := newOffice(t, storetest.SQLite)
	maya := o.device(o.maya, "Car 12")
	var ids []syncengine.ID
	o.edit(maya, func(e *client.Edit) error {
		call, err := e.Create(o.call("T-1"))
		for i := 0; i < records && err == nil; i++ {
			var id syncengine.ID
			if id, err = e.Create(person("Ana", "Canarytwin")); err == nil {
				ids = append(ids, id)
				_, err = e.Create(o.visitOf(call, id, "x"))
			}
		}
		return err
	})
	o.sync(maya)
	for _, id := range ids[1:] {
		if _, err := o.admin.Change(t.Context(), o.lena, func(c *server.Composer) error {
			rec, msg, err := c.Record(id)
			if err != nil {
				return err
			}
			m, _ := msg.(*tandemv1.Person)
			m.MergedInto, m.Lifecycle = new(ids[0].String()), new("merged")
			return c.Write(rec, tandemv1.Act_ACT_MERGE, m, "the same person")
		}); err != nil {
			t.Fatal(err)
		}
	}
	page := o.signIn(o.lena, "lena.park").get("/console/case/"+ids[0].String()).want(t, http.StatusOK)
	if n := strings.Count(page.text(), "Encounter: Ana Canarytwin"); n != records {
		t.Errorf("the case shows %d of %d visits", n, records)
	}
}
