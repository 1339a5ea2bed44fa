package app_test

import (
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// role gives a member of staff another role in place of one, at the server.
func (o *office) role(staff syncengine.ID, from, to string) {
	o.tb.Helper()
	domain := record.New()
	kind := domain.KindByName("staff")
	var number uint32
	for _, f := range kind.Fields {
		if f.Name == "roles" {
			number = f.Number
		}
	}
	o.changes++
	err := o.st.Write(o.tb.Context(), o.org.ID, 1, func(tx *serverstore.Tx) error {
		rec, err := tx.Record(staff)
		if err != nil {
			return err
		}
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		write := func(code string, value []byte) *tandemv1.PathWrite {
			path := syncengine.Path{Field: number, Key: code}
			return &tandemv1.PathWrite{Field: number, Key: []byte(code), Value: value, Bases: syncengine.EncodeStamps(s.Bases(path, false))}
		}
		id, err := syncengine.NewID(o.changes, strings.NewReader(strings.Repeat(string(rune('a'+o.changes)), 16)))
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(&tandemv1.Change{
			Id: id[:], Author: o.org.ID[:], Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: 1},
			Records: []*tandemv1.RecordWrite{{
				Record: staff[:], Kind: kind.Number, Act: tandemv1.Act_ACT_SET,
				Writes: []*tandemv1.PathWrite{write(from, nil), write(to, syncengine.StringField(number, to))},
			}},
		})
		if err != nil {
			return err
		}
		engine := &syncengine.Server{Rules: domain, Secrets: o.org.Secrets}
		b, err := engine.Begin(tx, 1)
		if err != nil {
			return err
		}
		out, err := b.Local(&syncengine.Principal{Server: true, Person: o.org.ID}, raw)
		if err != nil {
			return err
		}
		if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			o.tb.Fatalf("the role: %v", out)
		}
		_, err = b.Commit()
		return err
	})
	if err != nil {
		o.tb.Fatal(err)
	}
}

// What the server did not accept is corrected by who wrote it, in plain words: nothing of
// the correction is lost to a reload, it waits for a signal like any save, and what stood
// there before is kept.
func TestCorrected(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dev := o.device(o.enrol(o.maya, "Car 12"))
	f := serve(t, app.Options{Device: dev})
	b := newBrowser(t, phone)
	sync := func() {
		t.Helper()
		if _, err := dev.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.open(f.next())
	b.page("person/new")
	b.types("names.given", "Rosa")
	b.types("names.family", "Lynd")
	b.kept()
	b.goes("Save person")
	here := eval[string](b, "location.href")
	// Between the save and the signal she was made a peer, who makes no person.
	o.role(o.maya, "clinician", "peer")
	sync()
	b.page("tray")
	b.says("Not accepted by the server", "Your role does not allow it", "Lynd")
	b.look("tray-refused")
	b.goes("Correct it")
	b.goes("Send again")
	b.says("Your role does not allow that")
	b.types("0.names.given", " May")
	b.kept()
	// It was a mistake, and is put right.
	o.role(o.maya, "peer", "clinician")
	sync()
	o.away.Store(true)
	b.page("tray")
	b.goes("Correct it")
	b.look("tray-fix")
	eval[bool](b, `(() => { document.querySelector("[name='0.names.family']").value = ""; return true; })()`)
	b.types("0.names.family", "Lind")
	b.kept()
	b.open(eval[string](b, "location.href"))
	if got := eval[string](b, `document.querySelector("[name='0.names.family']").value`); got != "Lind" {
		t.Fatalf("after a reload the correction is %q", got)
	}
	b.page("today")
	b.says("Correct and send again")
	b.page("tray")
	b.goes("Correct it")
	b.goes("Send again")
	b.says("Corrected: it waits to be sent")
	b.look("tray-corrected")
	o.away.Store(false)
	sync()
	b.page("tray")
	b.says("Nothing needs you")
	b.tap("Decided")
	b.says("another save stands in its place")
	b.open(here)
	b.says("Rosa May Lind")
	other := o.device(o.enrol(o.luis, "Tablet 3"))
	if found, err := other.Search(t.Context(), "rosa may lind", 5); err != nil || len(found) != 1 {
		t.Errorf("the colleague finds %d, %v", len(found), err)
	}
	// What was typed for a correction outlives a decision of somebody else.
	b.page("person/new")
	b.types("descriptor", "Man in a red coat")
	b.kept()
	b.goes("Save person")
	o.role(o.maya, "clinician", "peer")
	sync()
	b.page("tray")
	b.goes("Correct it")
	b.types("0.descriptor", ", tall")
	b.kept()
	all, err := dev.Quarantined(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d are refused, %v", len(all), err)
	}
	if _, err := dev.Withdraw(t.Context(), all[0].Op); err != nil {
		t.Fatal(err)
	}
	sync()
	b.page("today")
	b.goes("Correct and send again")
	b.says("Somebody has decided", "Man in a red coat, tall")
	b.look("tray-decided")
	b.goes("Forget it")
	b.says("Nothing needs you")
	if drafts, err := dev.Drafts(t.Context()); err != nil || len(drafts) > 0 {
		t.Errorf("%d drafts are left, %v", len(drafts), err)
	}
	if closed, err := dev.Closed(t.Context()); err != nil || len(closed) != 2 || closed[0].Verdict != tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED {
		t.Errorf("closed are %v, %v", closed, err)
	}

	// So does it where a lead lets the save in as it was.
	o.role(o.maya, "peer", "clinician")
	sync()
	b.page("person/new")
	b.types("descriptor", "Woman in a green scarf")
	b.kept()
	b.goes("Save person")
	o.role(o.maya, "clinician", "peer")
	sync()
	b.page("tray")
	b.goes("Correct it")
	here = eval[string](b, "location.href")
	b.types("0.descriptor", ", cold")
	b.kept()
	if all, err = dev.Quarantined(t.Context()); err != nil || len(all) != 1 {
		t.Fatalf("%d are refused, %v", len(all), err)
	}
	o.role(o.luis, "clinician", "lead")
	if out, err := o.admin.Release(t.Context(), o.luis, all[0].Change); err != nil || out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("the release: %v, %v", out, err)
	}
	sync()
	// A page that was open keeps what it is sent.
	b.page("today")
	b.goes("Correct and send again")
	b.says("Somebody has decided", "Woman in a green scarf, cold")
	if got, want := eval[string](b, `document.querySelector("main dt").textContent`), record.New().FieldLabel("person", "descriptor", "en"); got != want {
		t.Errorf("what was typed is called %q, want %q", got, want)
	}
	b.open(here)
	b.says("Woman in a green scarf, cold")
	b.goes("Forget it")
	if drafts, err := dev.Drafts(t.Context()); err != nil || len(drafts) > 0 {
		t.Errorf("%d drafts are left, %v", len(drafts), err)
	}
}
