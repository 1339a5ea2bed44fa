package export_test

import (
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
)

// The codes that an agency has added have their words where labels are asked for, stand in
// the list of codes with the core code that they count as, and have their display in FHIR.
func TestOwnCodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		w.add(0, &tandemv1.CodeSet{AgencyId: new(w.agency[0].String()), Lifecycle: new("active"), List: new("call_type"), Entries: []*tandemv1.CodeEntry{
			{Element: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Code: new("x_ex_river"), En: new("River call"), Es: new("Llamada del río"), MapsTo: new("welfare_check")},
		}}, &tandemv1.CodeSet{AgencyId: new(w.agency[0].String()), Lifecycle: new("active"), List: new("disposition"), Entries: []*tandemv1.CodeEntry{
			{Element: []byte{1, 2, 3, 4, 5, 6, 7, 9}, Code: new("x_ex_tent"), En: new("Night tent"), Es: new("Carpa"), MapsTo: new("left_with_support")},
			{Element: []byte{1, 2, 3, 4, 5, 6, 7, 10}, Code: new("x_ex_bare"), En: new("Of nothing")},
		}})
		call := w.incident(0, "OWN")
		call.CallType = new("x_ex_river")
		w.add(0, call)
		who := w.add(clinical, w.person(0, "SOMEBODY"))[0]
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Lifecycle: new("signed"), Tz: new("America/Chicago"),
			PersonId: new(who.String()), Disposition: new("x_ex_tent"), StartedAt: &tandemv1.Instant{AtMs: new(int64(now))},
		})
		bare := w.add(clinical, w.person(0, "BARE"))[0]
		w.add(clinical, &tandemv1.Encounter{
			AgencyId: new(w.agency[0].String()), ProgramId: new(w.program[0].String()), TeamId: new(w.team[0].String()), Lifecycle: new("signed"), Tz: new("America/Chicago"),
			PersonId: new(bare.String()), Disposition: new("x_ex_bare"), StartedAt: &tandemv1.Instant{AtMs: new(int64(now))},
		})
		of := func(change func(*export.Options)) map[string]string {
			o := w.options()
			change(&o)
			dir, _ := w.write(o)
			return w.files(dir)
		}
		for lang, label := range map[string]string{"en": "River call", "es": "Llamada del río"} {
			files := of(func(o *export.Options) { o.Labels = lang })
			if !strings.Contains(files["incidents.csv"], ",x_ex_river,"+label+",") {
				t.Errorf("the calls with labels in %s: %s", lang, files["incidents.csv"])
			}
			if !strings.Contains(files["codes.csv"], "call_type,x_ex_river,River call,Llamada del río,false,false,welfare_check\r\n") {
				t.Errorf("the codes: %.300s", files["codes.csv"])
			}
		}
		fhir := joined(of(func(o *export.Options) { o.Format = export.FHIR }))
		if strings.Count(fhir, "Night tent") < 2 || strings.Count(fhir, "Of nothing") < 2 {
			t.Error("the resources do not say what the code is called")
		}
		// It is for others what it is a kind of.
		if !strings.Contains(fhir, `discharge-disposition","code":"home"`) && !strings.Contains(fhir, `"code":"home","system":"http://terminology.hl7.org/CodeSystem/discharge-disposition"`) {
			t.Error("where the person went is other")
		}
		// A de-identified set says nothing of what an agency calls things.
		files := joined(of(func(o *export.Options) { o.Set, o.Basis = export.SafeHarbor, "research" }))
		if strings.Contains(files, "x_ex_") || strings.Contains(files, "Night tent") || strings.Contains(files, "River call") {
			t.Error("the de-identified set has an agency's own codes")
		}
	})
}
