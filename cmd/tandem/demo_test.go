package main

import (
	"path/filepath"
	"testing"
)

// TestDemo plays the shift: it converges, holds a real conflict, keeps clinical
// records from the partner, and follows from its seed.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	lines := map[string]string{
		"first":   lastLine(must(t, "", "demo", "--once", "--json", "--seed", "7", "--dir", dir)),
		"again":   lastLine(must(t, "", "demo", "--once", "--json", "--seed", "7")),
		"another": lastLine(must(t, "", "demo", "--once", "--json", "--seed", "8")),
	}
	if lines["first"] != lines["again"] {
		t.Errorf("one seed, two stories:\n%s\n%s", lines["first"], lines["again"])
	}
	digests := map[string]string{}
	for _, name := range []string{"first", "another"} {
		res := decode[demoResult](t, lines[name])
		if !res.Converged || res.Conflicts < 1 || res.Records < 10 {
			t.Errorf("%s: %s", name, lines[name])
		}
		var maya, luis, dale demoDevice
		for _, d := range res.Devices {
			switch d.Name {
			case "Maya":
				maya = d
			case "Luis":
				luis = d
			case "Dale":
				dale = d
			}
		}
		if dale.Role != "le_partner" || dale.Clinical != 0 || dale.Records == 0 {
			t.Errorf("%s: the partner's device: %+v", name, dale)
		}
		if maya.Role != "clinician" || maya.Clinical == 0 || maya.Digest != luis.Digest || maya.Digest == dale.Digest {
			t.Errorf("%s: the clinicians' devices: %+v, %+v", name, maya, luis)
		}
		digests[name] = maya.Digest
	}
	if digests["first"] == digests["another"] {
		t.Error("two seeds, one story")
	}

	// What it left behind is a server and three stores like any other.
	for _, args := range [][]string{
		{"--data", filepath.Join(dir, "server")},
		{"--store", filepath.Join(dir, "Maya")},
		{"--store", filepath.Join(dir, "Luis")},
		{"--store", filepath.Join(dir, "Dale")},
	} {
		if v := decode[verified](t, must(t, "", append([]string{"verify", "--json"}, args...)...)); !v.OK || v.Records == 0 {
			t.Errorf("%v: %+v", args, v)
		}
	}
	if r := tandem(t.Context(), "", "demo", "--once", "--dir", dir); r.code != exitUsage {
		t.Errorf("a directory that holds a demo: exit code %d\n%s", r.code, r.err)
	}
}
