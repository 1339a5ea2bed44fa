package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/scripts: commands as people type them, each a process of
// its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testdata, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join(testdata, "scripts"),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TESTDATA", testdata)
			env.Values[serverKey{}] = new(exec.Cmd)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "keep": scriptKeep, "json": scriptJSON, "server": scriptServer,
			"team": scriptTeam, "enrol": scriptEnrol, "same": scriptSame, "counts": scriptCounts, "sql": scriptSQL,
		},
	})
}

// exits CODE PROGRAM ARG…: the program exits with the code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// keep NAME [PATH]: the variable becomes what was printed last, or what the JSON of
// its last line has at the path.
func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: keep NAME [PATH]")
	}
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		text = at(ts, lastLine(text), args[1])
	}
	if text == "" {
		ts.Fatalf("there is nothing to keep")
	}
	ts.Setenv(args[0], text)
}

// json PATH WANT: the last line printed is JSON and has the value at the path.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] json PATH WANT")
	}
	if got := at(ts, lastLine(ts.ReadFile("stdout")), args[0]); (got == args[1]) == neg {
		ts.Fatalf("%s is %s", args[0], got)
	}
}

// at is what a line of JSON has at a path of keys and indexes with dots between.
func at(ts *testscript.TestScript, line, path string) string {
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		ts.Fatalf("the last line is not JSON: %v", err)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch holder := v.(type) {
		case map[string]any:
			inner, ok := holder[key]
			if !ok {
				ts.Fatalf("there is no %s", path)
			}
			v = inner
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(holder) {
				ts.Fatalf("there is no %s", path)
			}
			v = holder[i]
		default:
			ts.Fatalf("there is no %s", path)
		}
	}
	if text, ok := v.(string); ok {
		return text
	}
	out, err := json.Marshal(v)
	ts.Check(err)
	return string(out)
}

// serverKey is where a script keeps its server.
type serverKey struct{}

// server start ARG…: runs tandem serve, at the same address each time, and sets $ADDR
// and $URL. What it logs goes to server.log.
// server stop: interrupts it; it must end well.
func scriptServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server start ARG… or server stop")
	}
	cmd, ok := ts.Value(serverKey{}).(*exec.Cmd)
	if !ok {
		ts.Fatalf("the script was not set up")
	}
	switch {
	case args[0] == "start" && cmd.Process == nil:
		addr := ts.Getenv("ADDR")
		if addr == "" {
			var err error
			addr, err = freeAddr()
			ts.Check(err)
			ts.Setenv("ADDR", addr)
		}
		*cmd = *exec.Command("tandem", append([]string{"serve", "--listen", addr}, args[1:]...)...) //nolint:noctx // The script ends it.
		log, err := os.OpenFile(ts.MkAbs("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		ts.Check(err)
		defer log.Close()
		cmd.Dir, cmd.Stderr = ts.MkAbs("."), log
		out, err := cmd.StdoutPipe()
		ts.Check(err)
		ts.Check(cmd.Start())
		ts.Defer(func() {
			if cmd.Process != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		})
		lines := bufio.NewReader(out)
		line, err := lines.ReadString('\n')
		ts.Check(err)
		url, ok := strings.CutPrefix(strings.TrimSpace(line), "tandem serves ")
		if !ok {
			ts.Fatalf("the server says %q", line)
		}
		ts.Setenv("URL", url)
		go io.Copy(io.Discard, lines) //nolint:errcheck // It ends with the server.
	case args[0] == "stop" && cmd.Process != nil:
		ts.Check(cmd.Process.Signal(os.Interrupt))
		err := cmd.Wait()
		*cmd = exec.Cmd{}
		if err != nil {
			ts.Fatalf("the server, interrupted: %v", err)
		}
	default:
		ts.Fatalf("server %s: there is one already, or none", args[0])
	}
}

// team: sets a server's data up with two clinicians and a police partner, and sets
// $MAYA, $LUIS and $DALE to their ids.
func scriptTeam(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: team")
	}
	admin := func(args ...string) string {
		ts.Check(ts.Exec("tandem", append([]string{"admin"}, args...)...))
		return strings.TrimSpace(ts.ReadFile("stdout"))
	}
	admin("org", "create", "--name", "Prairie County Crisis Response")
	clinic := admin("agency", "create", "--name", "Prairie Behavioral Health", "--type", "behavioral_health", "--tz", "America/Toronto")
	police := admin("agency", "create", "--name", "Prairie County Police", "--type", "law_enforcement", "--tz", "America/Toronto")
	program := admin("program", "create", "--name", "Co-Response", "--agency", clinic, "--partner", police, "--model", "crt")
	team := admin("team", "create", "--name", "Night team", "--program", program)
	ts.Setenv("TEAM", team)
	for _, p := range []struct{ name, agency, role, discipline string }{
		{"MAYA", clinic, "clinician", "social_worker"},
		{"LUIS", clinic, "clinician", "counselor"},
		{"DALE", police, "le_partner", "officer"},
	} {
		ts.Setenv(p.name, admin("staff", "create", "--name", p.name, "--agency", p.agency, "--team", team, "--role", p.role, "--discipline", p.discipline))
	}
}

// enrol STORE STAFF: makes a store the device of a person.
func scriptEnrol(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: enrol STORE STAFF")
	}
	ts.Check(ts.Exec("tandem", "admin", "code", "--staff", args[1], "--label", "Car 12 laptop", "--json"))
	enroll := exec.Command("tandem", "enroll", "--server", ts.Getenv("URL"), "--store", args[0]) //nolint:noctx // It ends by itself.
	enroll.Dir = ts.MkAbs(".")
	enroll.Stdin = strings.NewReader(at(ts, lastLine(ts.ReadFile("stdout")), "code") + "\n")
	if out, err := enroll.CombinedOutput(); err != nil {
		ts.Fatalf("enrolling: %v\n%s", err, out)
	}
}

// freeAddr is an address on loopback for a server that comes back to it. It is
// outside the range from which systems take the ports of connections.
func freeAddr() (string, error) {
	var last error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		l, err := net.Listen("tcp", addr) //nolint:noctx // It is closed at once.
		if err == nil {
			return addr, l.Close()
		}
		last = err
	}
	return "", last
}

// same FILE…: the outputs of verify --json are all well and name equal digests for
// every scope that two of them name. A scope without records need not be named.
func scriptSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: same FILE FILE…")
	}
	var first map[string]string
	for _, name := range args {
		var v verified
		ts.Check(json.Unmarshal([]byte(lastLine(ts.ReadFile(name))), &v))
		if !v.OK || len(v.Faults) > 0 {
			ts.Fatalf("%s: %v", name, v.Faults)
		}
		digests := map[string]string{}
		for _, s := range v.Scopes {
			if strings.Trim(s.Digest, "0") != "" {
				digests[s.Scope] = s.Digest
			}
		}
		if len(digests) == 0 {
			ts.Fatalf("%s names no digest", name)
		}
		if first == nil {
			first = digests
		}
		if !reflect.DeepEqual(first, digests) {
			ts.Fatalf("%s differs from %s:\n%v\n%v", name, args[0], digests, first)
		}
	}
}

// counts REPORT FILE: the report of calls says what counting the rows of the Toronto
// file says.
func scriptCounts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: counts REPORT FILE")
	}
	f, err := os.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	text, err := gzip.NewReader(f)
	ts.Check(err)
	rows, err := csv.NewReader(text).ReadAll()
	ts.Check(err)
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	types := map[string]string{"Person in Crisis": "behavioral_crisis", "Suicide-related": "suicide_threat", "Overdose": "overdose"}
	var want, got struct {
		Calls   int            `json:"calls"`
		ByType  map[string]int `json:"by_type"`
		ByMonth map[string]int `json:"by_month"`
		Taken   struct {
			Yes int `json:"yes"`
			No  int `json:"no"`
		} `json:"protective_custody"`
	}
	want.ByType, want.ByMonth = map[string]int{}, map[string]int{}
	for _, row := range rows[1:] {
		want.Calls++
		want.ByType[types[row[column["event_type"]]]]++
		month, err := time.Parse("2006 January", row[column["event_year"]]+" "+row[column["event_month"]])
		ts.Check(err)
		want.ByMonth[month.Format("2006-01")]++
		switch row[column["apprehension_made"]] {
		case "Yes":
			want.Taken.Yes++
		case "No":
			want.Taken.No++
		}
	}
	ts.Check(json.Unmarshal([]byte(lastLine(ts.ReadFile(args[0]))), &got))
	if !reflect.DeepEqual(got, want) {
		ts.Fatalf("the report says\n%+v\nthe file\n%+v", got, want)
	}
}

// sql FILE STATEMENT: runs a statement on a database.
func scriptSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENT")
	}
	ts.Check(alter(ts.MkAbs(args[0]), args[1]))
}

// alter runs a statement on a database that nobody else has open.
func alter(path, statement string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw")
	if err != nil {
		return err
	}
	_, err = db.Exec(statement) //nolint:noctx // A statement of a test.
	if err = cmp.Or(err, db.Close()); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
