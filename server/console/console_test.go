package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/syncengine"
)

// story is what a night has left at the server.
type story struct {
	call, person, visit, note, private, episode, follow, referral, alert syncengine.ID
}

// night plays a short night on a device: a call, a visit with high danger that is signed, a
// note, a private one, an episode in its last days with an overdue call, a referral, an
// alert for the police.
func (o *office) play(d *client.Client) (s story) {
	o.tb.Helper()
	o.edit(d, func(e *client.Edit) (err error) {
		call := o.call("C7-1")
		call.LeInvolvement, call.LeActions, call.ForceUsed, call.ForceTypes = new("partner_on_team"), []string{"standby"}, new("yes"), []string{"hands_on"}
		if s.call, err = e.Create(call); err != nil {
			return err
		}
		if s.person, err = e.Create(person("Rosa", "Canaryname")); err != nil {
			return err
		}
		visit := o.visitOf(s.call, s.person, "Canarynarrative: she sat on the steps.")
		visit.DangerSelf = new("high")
		if s.visit, err = e.Create(visit); err != nil {
			return err
		}
		if s.note, err = e.Create(&tandemv1.Note{Type: new("case"), Text: new("Canarynote about her."), Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(s.person.String())}}); err != nil {
			return err
		}
		if s.private, err = e.Create(&tandemv1.Note{Type: new("private_psychotherapy"), Text: new("Canaryprivate words."), Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(s.person.String())}}); err != nil {
			return err
		}
		if s.episode, err = e.Create(&tandemv1.Episode{PersonId: new(s.person.String()), OpenedAt: o.instant(56 * 24 * time.Hour), WindowDays: new(uint32(60)), LeadStaffId: new(o.maya.String()), Goals: new("Canarygoals")}); err != nil {
			return err
		}
		if s.follow, err = e.Create(&tandemv1.FollowUp{EpisodeId: new(s.episode.String()), PersonId: new(s.person.String()), DueAt: o.instant(26 * time.Hour), StaffId: new(o.maya.String()), Note: new("Canaryfollow")}); err != nil {
			return err
		}
		if s.referral, err = e.Create(&tandemv1.Referral{PersonId: new(s.person.String()), EncounterId: new(s.visit.String()), Need: new("crisis_bed"), Urgency: new("now"), State: new("offered"), TargetText: new("Canarytarget house"), InfoShared: new("none")}); err != nil {
			return err
		}
		s.alert, err = e.Create(&tandemv1.SafetyAlert{
			PersonId: new(s.person.String()), Category: new("deescalation_tip"), Text: new("Canaryalert: speak softly."), Lifecycle: new("proposed"), Audience: new("team_with_le"),
			Basis: new("observed_in_public"), ExpiresOn: new(o.now().AddDate(0, 0, 30).Format(time.DateOnly)),
		})
		return err
	})
	o.sign(d, s.visit)
	o.sync(d)
	return s
}

// sign signs a visit on a device.
func (o *office) sign(d *client.Client, id syncengine.ID) {
	o.tb.Helper()
	v := must[*client.View](o.tb)(d.Get(o.tb.Context(), id))
	o.edit(d, func(e *client.Edit) error { return e.Sign(v, v.Message) })
}

// canaries are the words of the night that nobody outside the team may read.
var canaries = []string{"Canaryname", "Canarynarrative", "Canarynote", "Canaryprivate", "Canarygoals", "Canaryfollow", "Canarytarget", "Canaryalert"}

// A lead reads what came in, decides on it, and finds the queue shorter.
func TestQueue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		s := o.play(maya)
		b := o.signIn(o.lena, "lena.park")
		q := b.get("/console/queue").want(t, http.StatusOK, "High danger", "Force used", "Alert to approve", "Day 57 of 60", "Follow-up overdue", "Encounter: Rosa Canaryname", "Unreviewed", "Incident C7-1")
		q.never(t, "Canaryprivate", "Draft over 24 h")
		rec := b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK, "Canarynarrative: she sat on the steps.", "Nobody has reviewed this version", "Change 2: Signed", "Maya Ortiz")
		rec.never(t, "Canaryprivate")

		// A decision that says nothing is none.
		form := []string{"hash", rec.value(t, "hash"), "state", rec.value(t, "state")}
		b.post("/console/record/"+s.visit.String()+"/review", append(form, "decision", "returned")...).want(t, http.StatusUnprocessableEntity, "Say in the comment")
		b.post("/console/record/"+s.visit.String()+"/review", append(form, "decision", "returned", "comment", "Which steps?")...).want(t, http.StatusOK, "Your decision is recorded", "Which steps?")
		b.get("/console/queue").want(t, http.StatusOK, "Returned").never(t, "High danger")

		// The author hears of it, amends, and the next version asks again.
		o.sync(maya)
		reviews := must[[]*client.View](t)(maya.List(t.Context(), "review", client.Filter{}, client.Newest, 10))
		if len(reviews) != 1 {
			t.Fatalf("the author's device holds %d reviews", len(reviews))
		}
		if m, _ := reviews[0].Message.(*tandemv1.Review); m.GetComment() != "Which steps?" {
			t.Errorf("the author reads %q", m.GetComment())
		}
		v := must[*client.View](t)(maya.Get(t.Context(), s.visit))
		o.edit(maya, func(e *client.Edit) error {
			m, _ := v.Message.(*tandemv1.Encounter)
			m.Disposition = new("resolved_on_scene")
			return e.Amend(v, m, "typing slip")
		})
		o.sync(maya)
		b.get("/console/queue").want(t, http.StatusOK, "High danger", "Unreviewed").never(t, "Returned")
		// A form of before is for a state that is not there any more.
		b.post("/console/record/"+s.visit.String()+"/review", append(form, "decision", "approved")...).want(t, http.StatusConflict, "has changed since")
		rec = b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK, "Amended", "typing slip", "Left with a support person", "Resolved")
		b.post("/console/record/"+s.visit.String()+"/review", "hash", rec.value(t, "hash"), "state", rec.value(t, "state"), "decision", "approved").want(t, http.StatusOK, "Approved")
		b.get("/console/queue").want(t, http.StatusOK).never(t, "High danger", "Unreviewed")

		// A call where force was used, an alert for the police.
		rec = b.get("/console/record/"+s.call.String()).want(t, http.StatusOK, "Hands on")
		b.post("/console/record/"+s.call.String()+"/review", "hash", rec.value(t, "hash"), "state", rec.value(t, "state"), "decision", "noted").want(t, http.StatusOK)
		rec = b.get("/console/record/"+s.alert.String()).want(t, http.StatusOK, "Put the alert in force")
		b.post("/console/record/"+s.alert.String()+"/approve", "hash", rec.value(t, "hash")).want(t, http.StatusOK, "The alert is in force")
		b.get("/console/queue").want(t, http.StatusOK).never(t, "Force used", "Alert to approve")

		// The case, the boards, and Spanish.
		b.get("/console/case/"+s.person.String()).want(t, http.StatusOK, "Rosa Canaryname", "Canarynote", "Crisis bed", "Canaryalert").never(t, "Canaryprivate")
		b.get("/console/episodes").want(t, http.StatusOK, "Last 5 days", "Day 57 of 60", "Call due")
		b.get("/console/referrals").want(t, http.StatusOK, "Offered", "Canarytarget house", "0 d old")
		rec = b.get("/console/record/"+s.episode.String()).want(t, http.StatusOK, "Canarygoals")
		b.post("/console/record/"+s.episode.String()+"/extend", "hash", "0", "until", o.now().AddDate(0, 0, 20).Format(time.DateOnly), "reason", "x").want(t, http.StatusConflict, "has changed since")
		b.post("/console/record/"+s.episode.String()+"/extend", "hash", rec.value(t, "hash"), "until", o.now().AddDate(0, 0, 20).Format(time.DateOnly), "reason", "Waits for a bed.").want(t, http.StatusOK, "The window is extended")
		b.get("/console/queue").want(t, http.StatusOK, "Follow-up overdue").never(t, "of 60", "Last 5 days")
		b.get("/console/episodes").want(t, http.StatusOK).never(t, "Day 57 of 60")
		b.lang = "es"
		b.get("/console/queue").want(t, http.StatusOK, "Cola", "Seguimiento vencido")
	})
}

// A draft asks a day after it was begun.
func TestDraftAsksLater(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya := o.device(o.maya, "Car 12")
	o.edit(maya, func(e *client.Edit) error {
		call, err := e.Create(o.call("C7-2"))
		if err != nil {
			return err
		}
		who, err := e.Create(person("Rosa", "Later"))
		if err != nil {
			return err
		}
		_, err = e.Create(o.visitOf(call, who, "draft"))
		return err
	})
	o.sync(maya)
	o.signIn(o.lena, "lena.park").get("/console/queue").want(t, http.StatusOK, "Nothing asks for you")
	o.pass(25 * time.Hour)
	b := o.stranger()
	b.post("/signin", "login", "lena.park", "passphrase", passphrase)
	b.get("/console/queue").want(t, http.StatusOK, "Draft over 24 h", "Rosa Later")
}

// Nobody but the team's own lead reads a word of a case: not a lead of another team, not
// an admin, not a police partner, not who has no account; and what they try is noted.
func TestWall(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	ids := []syncengine.ID{s.call, s.person, s.visit, s.note, s.private, s.episode, s.follow, s.referral, s.alert}
	pages := []string{"queue", "queue?why=whyDanger", "episodes", "referrals", "quarantine", "setup", "staff", "devices", "audit", "live?at=x"}
	for _, id := range ids {
		pages = append(pages, "case/"+id.String(), "record/"+id.String(), "quarantine/"+id.String(), "staff/"+id.String())
	}
	for _, who := range []struct {
		login string
		staff syncengine.ID
		// open are pages that are theirs to open.
		open []string
	}{
		{"fred.foreign", o.fred, []string{"queue", "queue?why=whyDanger", "episodes", "referrals", "quarantine", "live?at=x"}},
		{"ada.admin", o.ada, []string{"setup", "staff", "devices", "audit", "live?at=x"}},
		{"dale.hunt", o.dale, nil},
		{"maya.ortiz", o.maya, nil},
		{"", syncengine.ID{}, nil},
	} {
		b := o.stranger()
		if who.login != "" {
			b = o.signIn(who.staff, who.login)
		}
		for _, page := range pages {
			a := b.get("/console/" + page)
			a.never(t, canaries...)
			a.never(t, "C7-1")
			open := false
			for _, p := range who.open {
				open = open || p == page
			}
			switch {
			case who.login == "":
				if a.path != "/signin" {
					t.Errorf("nobody opens %s: %d at %s", page, a.status, a.path)
				}
			case open != (a.status == http.StatusOK) && !strings.HasPrefix(page, "live"):
				t.Errorf("%s opens %s: %d", who.login, page, a.status)
			case !open && a.status != http.StatusForbidden && a.status != http.StatusNotFound && !strings.HasPrefix(page, "live"):
				t.Errorf("%s opens %s: %d", who.login, page, a.status)
			}
		}
		for _, id := range ids {
			for _, act := range []string{"review", "settle", "approve", "extend", "reopen", "assign"} {
				a := b.post("/console/record/"+id.String()+"/"+act, "hash", "0", "state", strings.Repeat("A", 43), "decision", "approved", "number", "20", "until", "2030-01-01", "reason", "x", "staff", o.maya.String())
				a.never(t, canaries...)
				// Who has not signed in is told to; who has is told no.
				if refused := a.status == http.StatusForbidden || a.status == http.StatusNotFound; who.login == "" && a.status != http.StatusUnauthorized || who.login != "" && !refused {
					t.Errorf("%s may %s: %d at %s", who.login, act, a.status, a.path)
				}
			}
		}
	}
	// The lead of the team: everything but what is its author's alone, which is as absent
	// as what never was.
	b := o.signIn(o.lena, "lena.park")
	for _, page := range pages {
		b.get("/console/"+page).never(t, "Canaryprivate")
	}
	never := b.get("/console/record/" + must[syncengine.ID](t)(syncengine.NewID(0, strings.NewReader(strings.Repeat("x", 64)))).String())
	mine := b.get("/console/record/" + s.private.String())
	if never.status != http.StatusNotFound || mine.status != never.status || mine.text() != never.text() {
		t.Errorf("a private note: %d %q; one that never was: %d %q", mine.status, mine.text(), never.status, never.text())
	}
	b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK, "Canarynarrative")
}
