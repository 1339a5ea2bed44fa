package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// TestDisclosures plays a referral that a clinician sends from a car, and the accounting
// that the person asks for later; and an order to wipe that car's laptop, which is taken
// back before it hears of it.
func TestDisclosures(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := filepath.Join(t.TempDir(), "car12")
	code, err := o.code(t.Context(), o.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	device := decode[struct{ Device string }](t, must(t, code, "enroll", "--json", "--server", o.url, "--store", dir)).Device
	must(t, "", "sync", "--store", dir)
	dev, err := client.Open(t.Context(), dir, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var person, referral syncengine.ID
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) (err error) {
		if person, err = e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ana"), Family: new("Example"), Use: new("legal")}}}); err != nil {
			return err
		}
		referral, err = e.Create(&tandemv1.Referral{
			PersonId: new(person.String()), Need: new("crisis_bed"), Urgency: new("now"), State: new("sent"), TargetText: new("Crisis living room"),
			Method: new("phone"), InfoShared: new("name_phone"), ShareBasis: new("imminent_threat"),
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}

	must(t, "", "admin", "device", "wipe", "--data", o.dir, "--yes", device)
	if got := decode[struct{ Device, Wipe string }](t, must(t, "", "admin", "device", "keep", "--data", o.dir, "--json", device)); got.Device != device || got.Wipe != "withdrawn" {
		t.Errorf("taken back: %+v", got)
	}
	if got := listedAs(t, o.dir, device); got.Revoked || got.WipeOrdered != "" || got.State != "active" {
		t.Errorf("taken back, it is listed as %+v", got)
	}
	if r := tandem(t.Context(), "", "admin", "device", "keep", "--data", o.dir, device); r.code != exitBadInput || !strings.Contains(r.err, "nothing to take back") {
		t.Errorf("taken back twice: exit code %d, %s", r.code, r.err)
	}
	must(t, "", "sync", "--store", dir)

	type line struct {
		At, Recipient, Basis, Need, Referral string
		What                                 []string
		Owed, Part2                          bool
	}
	got := decode[line](t, must(t, "", "admin", "disclosures", "--data", o.dir, "--json", person.String()))
	if got.Recipient != "Crisis living room" || got.Basis != "imminent_threat" || got.Need != "crisis_bed" || got.Referral != referral.String() || !got.Owed || got.Part2 || len(got.What) != 3 || got.At == "" {
		t.Errorf("the accounting states %+v", got)
	}
	for lang, words := range map[string][]string{
		"en": {"Recipient: Crisis living room", "Name and date of birth", "Serious and imminent threat; Referral: Crisis bed"},
		"es": {"Destinatario: Crisis living room", "Nombre y fecha de nacimiento", "Amenaza grave e inminente"},
	} {
		out := must(t, "", "admin", "disclosures", "--data", o.dir, "--owed", "--lang", lang, person.String())
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("in %s it does not say %q:\n%s", lang, w, out)
			}
		}
	}
	if out := must(t, "", "admin", "disclosures", "--data", o.dir, "--since", "2199-01-01", person.String()); !strings.Contains(out, "Nothing was passed on") {
		t.Errorf("since a day to come: %q", out)
	}
	for _, args := range [][]string{{"--since", "yesterday", person.String()}, {"Ana"}, {referral.String()}} {
		if r := tandem(t.Context(), "", append([]string{"admin", "disclosures", "--data", o.dir}, args...)...); r.code == exitOK {
			t.Errorf("%q: %s", args, r.out)
		}
	}
	log := must(t, "", "admin", "audit", "list", "--data", o.dir, "--limit", "0", "--subject", person.String())
	if strings.Count(log, "DISCLOSURES_READ") != 4 {
		t.Errorf("the audit log says\n%s", log)
	}

	// Once it was told the order stands.
	must(t, "", "admin", "device", "wipe", "--data", o.dir, "--yes", device)
	if r := tandem(t.Context(), "", "sync", "--store", dir); r.code != exitFailed {
		t.Fatalf("ordered to wipe itself: exit code %d", r.code)
	}
	if r := tandem(t.Context(), "", "admin", "device", "keep", "--data", o.dir, device); r.code != exitBadInput || !strings.Contains(r.err, "was told to wipe itself on") {
		t.Errorf("told: exit code %d, %s", r.code, r.err)
	}
}
