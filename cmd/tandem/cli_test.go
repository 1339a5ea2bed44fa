package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/tandem-response/tandem/client"
)

// commands walks the command line's commands.
func commands(t *testing.T) (all []*kong.Node) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Vars{"version": "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := kong.Visit(parser.Model, func(n kong.Visitable, next kong.Next) error {
		if node, ok := n.(*kong.Node); ok && node.Type == kong.CommandNode {
			all = append(all, node)
		}
		return next(nil)
	}); err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Fatalf("only %d commands", len(all))
	}
	return all
}

// path is what a person types to get to a command.
func path(n *kong.Node) []string {
	var words []string
	for ; n.Type == kong.CommandNode; n = n.Parent {
		words = slices.Insert(words, 0, n.Name)
	}
	return words
}

// TestHelp: every command's help shows how it is called.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, n := range commands(t) {
		words := path(n)
		out := must(t, "", append(words, "--help")...)
		example := regexp.MustCompile(`(?m)^ {2,}(echo \S+ \| )?tandem ` + strings.Join(words, " "))
		if !example.MatchString(out) {
			t.Errorf("tandem %s --help shows no example:\n%s", strings.Join(words, " "), out)
		}
	}
	if out := must(t, "", "--help"); !strings.Contains(out, "tandem <command> --help") {
		t.Errorf("tandem --help:\n%s", out)
	}
	if out := must(t, "", "--version"); strings.TrimSpace(out) == "" {
		t.Error("tandem --version says nothing")
	}
}

// TestJSON: every command has --json, and prints nothing but JSON then, one value a
// line.
func TestJSON(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t, homeOptions{})
	car, file := filepath.Join(t.TempDir(), "car"), spreadsheet(t, 2, 1)
	copied, whole := filepath.Join(t.TempDir(), "copy.db"), filepath.Join(t.TempDir(), "whole")
	code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	// In this order.
	lines := []struct{ command, stdin, args string }{
		{"enroll", code, "--server " + h.url + " --store " + car},
		{"import", "", "--store " + car + " --mapping " + toronto + " " + file},
		{"import sheet", "", "--store " + car + " --mapping " + toronto + " " + file},
		{"sync", "", "--store " + car},
		{"vault rekey", "", "--store " + car},
		{"status", "", "--store " + car},
		{"lookup get", "", "--store " + car + " --reason continuity --about " + h.second.String()},
		{"lookup list", "", "--store " + car},
		{"lookup forget", "", "--store " + car},
		{"admin lookups", "", "--data " + dir},
		{"sealed list", "", car},
		{"sealed deliver", "", "--store " + car},
		{"verify", "", "--store " + car},
		{"verify", "", "--data " + dir},
		{"report calls", "", "--data " + dir},
		{"report outcomes", "", "--data " + dir},
		{"report publish", "", "--data " + dir + " --from 2020-01-01 --to 2020-02-01"},
		{"report list", "", "--data " + dir},
		{"export", "", "--data " + dir + " --purpose test --recipient nobody --basis research --machine --to " + whole},
		{"import export", "", whole + " --data " + filepath.Join(t.TempDir(), "again")},
		{"backup make", "", "--data " + dir + " --to " + copied},
		{"backup drill", "", "--data " + dir + " --from " + copied},
		{"backup key", "", "--to " + filepath.Join(t.TempDir(), "offline.key")},
		{"restore", "", "--from " + copied + " --keys " + filepath.Join(dir, "keys.json") + " --without-journal --data " + filepath.Join(t.TempDir(), "restored")},
		{"admin keys rotate-seal", "", "--data " + dir},
		{"admin keys rotate-org", "", "--data " + dir},
		{"admin keys list", "", "--data " + dir},
		{"admin list", "", "--data " + dir},
		{"admin janitor", "", "--data " + dir + " --allow"},
		{"admin code", "", "--data " + dir + " --label x --staff " + h.second.String()},
		{"admin account create", "", "--data " + dir + " --login x.y --staff " + h.second.String()},
		{"admin account list", "", "--data " + dir},
		{"admin account disable", "", "--data " + dir + " --staff " + h.second.String()},
		{"admin account enable", "", "--data " + dir + " --staff " + h.second.String()},
		{"admin account reset", "", "--data " + dir + " --staff " + h.second.String()},
		{"admin session end", "", "--data " + dir + " --staff " + h.second.String()},
		{"admin agency create", "", "--data " + dir + " --name x --type hospital --tz UTC"},
		{"admin program create", "", "--data " + dir + " --name x --model crt --agency AGENCY"},
		{"admin team create", "", "--data " + dir + " --name x --program PROGRAM"},
		{"admin staff create", "", "--data " + dir + " --name x --role lead --discipline nurse --agency AGENCY --team TEAM"},
		{"admin form import", "", "--data " + dir + " --agency AGENCY " + filepath.Join(formPacks, "readiness")},
		{"admin form list", "", "--data " + dir},
		{"admin form show", "", "--data " + dir + " FORM"},
		{"admin form export", "", "--data " + dir + " FORM"},
		{"admin form wording", "", "--data " + dir + " --template FORM"},
		{"admin form publish", "", "--data " + dir + " FORM"},
		{"admin form retire", "", "--data " + dir + " FORM"},
		{"admin form void", "", "--data " + dir + " --reason x FORM"},
		{"admin protocol add", "", "--data " + dir + " --agency AGENCY --title x " + filepath.Join(formPacks, "readiness", "LICENSE.md")},
		{"admin protocol list", "", "--data " + dir},
		{"admin protocol retire", "", "--data " + dir + " PROTOCOL"},
		{"admin directory import", "", "--data " + dir + " --agency AGENCY " + hsds},
		{"admin directory list", "", "--data " + dir + " --need food"},
		{"admin org create", "", "--data " + filepath.Join(t.TempDir(), "data") + " --name x"},
		{"status", "", "--data " + dir},
		{"admin replica list", "", "--data " + dir},
		{"admin device list", "", "--data " + dir},
		{"admin device suspend", "", "--data " + dir + " DEVICE"},
		{"admin device lift", "", "--data " + dir + " DEVICE"},
		{"admin replica confirm", "", "--data " + dir + " " + replicaOf(t, h)},
		{"admin recover begin", "", "--data " + dir},
		{"admin recover status", "", "--data " + dir},
		{"admin recover confirm", "", "--data " + dir},
		{"verify records", "", "--data " + dir},
		{"verify audit", "", "--data " + dir},
		{"admin audit list", "", "--data " + dir},
		{"admin audit export", "", "--data " + dir + " --to " + filepath.Join(t.TempDir(), "audit.jsonl")},
		{"demo", "", "--once"},
		{"bench sync", "", "--records 20,30 --live 2 --crews 2 --each 3 --embedded --vault"},
	}
	made := map[string]string{}
	// TestServeJSON and testdata/scripts/backup.txtar: what follows on something of the
	// run, or may print nothing.
	seen := map[string]bool{"serve": true, "device": true /* TestFieldApp */, "backup mark": true, "admin revoke": true, "admin witness list": true, "admin items": true /* TestItems */, "migrate": true /* TestDrill */}
	for _, act := range []string{"list", "show", "fix", "withdraw"} {
		seen["quarantine "+act] = true // TestQuarantine
	}
	for _, act := range []string{"list", "show", "release", "replace", "quote", "dismiss"} {
		seen["admin quarantine "+act] = true // TestQuarantine, TestQuarantineReplaced, TestQuarantineQuoted
	}
	for _, act := range []string{"status", "seal", "passphrase", "renew", "erase"} {
		seen["vault "+act] = true // testdata/scripts/vault.txtar
	}
	for _, act := range []string{"list", "add", "choose"} {
		seen["profile "+act] = true // TestProfiles
	}
	for _, name := range []string{"report show", "admin survey open", "admin survey list", "admin survey close"} {
		seen[name] = true // TestOutcomes
	}
	for _, act := range []string{"list", "ask", "approve", "refuse", "show"} {
		seen["admin purge "+act] = true // TestPurge
	}
	seen["bench vault"] = true            // TestBenchVault
	seen["admin audit checkpoint"] = true // TestAudit
	seen["admin device wipe"] = true      // TestWipeDrill
	seen["admin device keep"] = true      // TestDisclosures
	seen["admin disclosures"] = true      // TestDisclosures
	seen["admin session list"] = true     // TestSignIn
	for _, name := range []string{"emergency open", "admin emergency list", "admin emergency review"} {
		seen[name] = true // TestBreakGlass
	}
	for _, l := range lines {
		seen[l.command] = true
		args := append(strings.Fields(l.command), strings.Fields(l.args)...)
		for i, arg := range args {
			if id, ok := made[arg]; ok {
				args[i] = id
			}
		}
		r := tandem(t.Context(), l.stdin, append(args, "--json")...)
		if r.code != exitOK || r.err != "" || r.out == "" {
			t.Fatalf("tandem %s --json: exit code %d\n%s%s", l.command, r.code, r.out, r.err)
		}
		for line := range strings.Lines(r.out) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Errorf("tandem %s --json prints %q: %v", l.command, line, err)
			}
			if l.command == "admin device list" {
				made["DEVICE"], _ = v["device"].(string)
			}
		}
		if words := strings.Fields(l.command); words[0] == "admin" && (words[len(words)-1] == "create" || l.command == "admin form import" || l.command == "admin protocol add") {
			made[strings.ToUpper(words[1])], _ = decode[map[string]any](t, r.out)["id"].(string)
		}
	}
	for _, n := range commands(t) {
		if len(n.Children) > 0 {
			continue
		}
		name := strings.Join(path(n), " ")
		if !seen[name] {
			t.Errorf("tandem %s: this test does not know it", name)
		}
		if !slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == "json" }) {
			t.Errorf("tandem %s has no --json", name)
		}
	}
}

// replicaOf enrols a device at a server and returns the id of its replica.
func replicaOf(t *testing.T, h *home) string {
	t.Helper()
	dev, err := h.enrol(t.Context(), h.clinician, "Car 13 laptop", t.TempDir(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := h.admin.Replicas(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d replicas, %v", len(all), err)
	}
	return all[0].ID.String()
}

// TestServeJSON: serve says where it serves, and ends well when it is stopped.
func TestServeJSON(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		defer in.Close()
		ended <- run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--json"}, stdio{out: in, err: io.Discard})
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := decode[map[string]string](t, line)["url"]
	if r := tandem(t.Context(), "NONE", "enroll", "--server", url, "--store", t.TempDir()); r.code != exitFailed {
		t.Errorf("a wrong code at %s: exit code %d\n%s", url, r.code, r.err)
	}
	stop()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("it says %q besides, error %v", rest, err)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
