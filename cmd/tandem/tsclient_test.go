package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"google.golang.org/protobuf/proto"
)

// tsclient is the client in another language that tools/tsclient holds, built once.
var tsclient = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs("../../tools/tsclient")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("node", filepath.Join("node_modules", "typescript", "bin", "tsc"), "--project", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building tools/tsclient: %w\n%s", err, out)
	}
	return filepath.Join(dir, "dist", "src", "main.js"), nil
})

// other is one process of that client.
type other struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// newOther starts the client; its store is not open yet.
func newOther(t *testing.T) *other {
	t.Helper()
	node := need.Program(t, "node", "apt-get install nodejs npm")
	if _, err := os.Stat("../../tools/tsclient/node_modules/typescript"); err != nil {
		need.Missing(t, "what the client in TypeScript needs: npm ci in tools/tsclient")
	}
	program, err := tsclient()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, program)
	o := &other{t: t}
	if o.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := new(bytes.Buffer)
	cmd.Stderr = errs
	o.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.in.Close()
		_ = cmd.Wait()
		if errs.Len() > 0 {
			t.Logf("the client says: %s", errs)
		}
	})
	return o
}

// command is what the client is told to do; says what it answers.
type (
	command map[string]any
	says    struct {
		OK                                  bool
		Kind, Code, Words                   string
		Record, Device                      string
		Requests, Pushed, Rows, Cuts, Asked int
		Verified, Differing, Checked        int
		Changed, Unserved                   bool
		Codes                               []int
		Records                             []otherRecord
		Scopes                              []otherScope
		Ops                                 []struct {
			N, Code, Refusal int
			State            string
		}
	}
	otherRecord struct {
		Record, Text, Hash string
		Conflicts          int
	}
	otherScope struct {
		ID, Sum         string
		Ready, Verified bool
		Records         int
	}
)

// try has the client do something.
func (o *other) try(c command) (s says) {
	o.t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		o.t.Fatal(err)
	}
	answer, err := o.out.ReadBytes('\n')
	if err != nil {
		o.t.Fatalf("%s: %v", line, err)
	}
	if err := json.Unmarshal(answer, &s); err != nil {
		o.t.Fatalf("%s: %v\n%s", line, err, answer)
	}
	return s
}

// do has the client do something that must succeed.
func (o *other) do(c command) says {
	o.t.Helper()
	s := o.try(c)
	if !s.OK {
		o.t.Fatalf("%v: %s %s: %s", c["do"], s.Kind, s.Code, s.Words)
	}
	return s
}

// middle stands between the client and its server, and spoils answers.
type middle struct {
	*httptest.Server

	mu sync.Mutex
	// spoil is what becomes of an answer to a sync; nil: it passes.
	spoil func(*tandemv1.SyncResponse) []byte
	// drop: the request arrives, its answer is lost.
	drop bool
	// requests are those to Sync so far.
	requests []*tandemv1.SyncRequest
}

func newMiddle(t *testing.T, server string) *middle {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.spoil != nil {
				// What is spoiled is read before.
				r.Out.Header.Set("Accept-Encoding", "identity")
			}
		},
		ModifyResponse: m.answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.note(r); err != nil {
			t.Errorf("a request: %v", err)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// note reads a request on its way.
func (m *middle) note(r *http.Request) error {
	if !strings.HasSuffix(r.URL.Path, "/Sync") {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	req := &tandemv1.SyncRequest{}
	if err := proto.Unmarshal(body, req); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, req)
	return nil
}

var errDropped = errors.New("the answer is lost")

func (m *middle) answered(resp *http.Response) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !strings.HasSuffix(resp.Request.URL.Path, "/Sync") || resp.StatusCode != http.StatusOK {
		return nil
	}
	if m.drop {
		_ = resp.Body.Close()
		return errDropped
	}
	if m.spoil == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	framed := &tandemv1.SyncResponse{}
	if err := proto.Unmarshal(body, framed); err != nil {
		return err
	}
	body = m.spoil(framed)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

// set says what becomes of answers from now on.
func (m *middle) set(drop bool, spoil func(*tandemv1.SyncResponse) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop, m.spoil = drop, spoil
}

// newest is the last request so far.
func (m *middle) newest() (req *tandemv1.SyncRequest, count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests[len(m.requests)-1], len(m.requests)
}

// Numbers of the contract that the client is told.
const (
	kindIncident = 20
	callNumber   = "20"
	callType     = "23"
)

// callOf is the command that makes an incident.
func callOf(number, kind string) command {
	return command{"do": "create", "kind": kindIncident, "lifecycle": "open", "texts": map[string]string{callNumber: number, callType: kind}}
}

// listed are the calls that the client shows, by id, with what they say in a field.
func (o *other) listed(field int) map[string]otherRecord {
	o.t.Helper()
	out := map[string]otherRecord{}
	for _, r := range o.do(command{"do": "list", "kind": kindIncident, "field": field}).Records {
		out[r.Record] = r
	}
	return out
}

// TestAnotherClient: a client that was written from docs/protocol.md in another language
// enrols at a server, and keeps in step with it and with a device of ours: what it saves
// arrives once, also where an answer is lost or a push is repeated, and what it holds is
// proved by digest.
func TestAnotherClient(t *testing.T) {
	t.Parallel()
	need.Long(t)
	o := newOther(t)
	r := newRig(t, "tandem")
	r.enrol("ours")
	m := newMiddle(t, "http://"+r.addr)
	h := r.home()
	code, err := h.code(t.Context(), r.clinician, "A client of one's own")
	if err := errors.Join(err, h.store.Close()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o.do(command{"do": "open", "store": filepath.Join(dir, "device.json")})
	if s := o.try(command{"do": "enrol", "server": m.URL, "code": "0000-0000-0000"}); s.OK || s.Kind != "refused" || s.Code != "PermissionDenied" {
		t.Fatalf("a wrong code: %+v", s)
	}
	o.do(command{"do": "enrol", "server": m.URL, "code": strings.ToLower(code)})
	// A lost answer costs nothing: the same use of the code gets the same certificate.
	enrolled := o.do(command{"do": "enrol", "server": m.URL, "code": code})
	begun, _ := r.atServer()

	// Saved without a network, then sent; the answer is the cut that includes it.
	first := o.do(callOf("T-1", "welfare_check")).Record
	if got := o.listed(20); len(got) != 1 || got[first].Text != "T-1" {
		t.Fatalf("before the sync it shows %v", got)
	}
	s := o.do(command{"do": "sync"})
	if s.Pushed != 1 || s.Cuts == 0 || s.Verified == 0 || s.Differing != 0 {
		t.Fatalf("the first sync: %+v", s)
	}
	o.alike(r)
	if ours := o.onOurs(r); len(ours) != 1 || ours[first] != "T-1" {
		t.Fatalf("a device of ours shows %v", ours)
	}

	// What a device of ours writes comes as the touched path, and is spliced.
	o.edited(r, first, "behavioral_crisis")
	if s := o.do(command{"do": "sync"}); s.Rows != 1 || s.Verified == 0 || s.Differing != 0 {
		t.Fatalf("after an edit of ours: %+v", s)
	}
	if got := o.listed(23); got[first].Text != "behavioral_crisis" {
		t.Fatalf("it shows %v", got)
	}
	req, _ := m.newest()
	if len(req.GetWant()) > 0 {
		t.Error("it asked for the whole row: the splice did not fit")
	}
	o.alike(r)

	// The push repeated, as it was: the same verdict, and nothing twice.
	o.do(command{"do": "set", "record": first, "texts": map[string]string{callNumber: "T-1b"}})
	o.do(command{"do": "sync"})
	before, _ := r.atServer()
	for range 2 {
		s := o.do(command{"do": "replay"})
		if !slices.Equal(s.Codes, []int{int(tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED)}) {
			t.Fatalf("a repeated push: %+v", s)
		}
	}
	if after, _ := r.atServer(); after.Changes != before.Changes || after.Changes != begun.Changes+3 {
		t.Fatalf("the server had %d changes, then %d; %d at first", before.Changes, after.Changes, begun.Changes)
	}
	o.alike(r)

	o.unheard(r, m)
	o.damaged(r, m)
	o.conflicting(r, first)
	o.refused(r)
	o.setBack(r)

	// The store opened anew goes on where it was.
	again := newOther(t)
	if s := again.do(command{"do": "open", "store": filepath.Join(dir, "device.json")}); s.Differing != 0 {
		t.Fatal(s)
	}
	if s := again.do(command{"do": "sync"}); s.Rows != 0 || s.Pushed != 0 || s.Requests != 1 {
		t.Fatalf("nothing was to be done: %+v", s)
	}
	again.alike(r)

	// Shut out, it is told that it holds nothing any more, and lets go of it.
	r.must(r.admin("revoke", "--device", enrolled.Device)...)
	again.do(command{"do": "sync"})
	if held := again.do(command{"do": "verify"}).Scopes; len(held) > 0 {
		t.Errorf("it still holds %v", held)
	}
	if got := again.listed(20); len(got) > 0 {
		t.Errorf("it still shows %v", got)
	}
}

// unheard: a push arrives and its answer is lost. The next request carries no changes
// and asks; nothing is there twice.
func (o *other) unheard(r *rig, m *middle) {
	t := o.t
	t.Helper()
	before, _ := r.atServer()
	o.do(callOf("T-2", "welfare_check"))
	m.set(true, nil)
	if s := o.try(command{"do": "sync"}); s.OK || s.Kind != "no_answer" {
		t.Fatalf("a lost answer: %+v", s)
	}
	m.set(false, nil)
	_, sent := m.newest()
	s := o.do(command{"do": "sync"})
	if s.Asked != 1 || s.Pushed != 0 {
		t.Errorf("after a lost answer: %+v", s)
	}
	m.mu.Lock()
	next := m.requests[sent]
	m.mu.Unlock()
	if len(next.GetRuns()) > 0 || len(next.GetUnsettled()) == 0 {
		t.Errorf("the next request carries %d runs and asks for %d", len(next.GetRuns()), len(next.GetUnsettled()))
	}
	if after, _ := r.atServer(); after.Changes != before.Changes+1 {
		t.Errorf("the server had %d changes and has %d", before.Changes, after.Changes)
	}
	o.alike(r)
}

// damaged: an answer that is not whole changes nothing.
func (o *other) damaged(r *rig, m *middle) {
	t := o.t
	t.Helper()
	marshal := func(resp *tandemv1.SyncResponse) []byte {
		raw, err := proto.Marshal(resp)
		if err != nil {
			t.Error(err)
		}
		return raw
	}
	number := 0
	for what, spoil := range map[string]func(*tandemv1.SyncResponse) []byte{
		"a byte of the answer": func(resp *tandemv1.SyncResponse) []byte {
			resp.Answer[len(resp.GetAnswer())/2] ^= 0x20
			return marshal(resp)
		},
		"no end mark": func(resp *tandemv1.SyncResponse) []byte {
			resp.End = ""
			return marshal(resp)
		},
		"another count": func(resp *tandemv1.SyncResponse) []byte {
			resp.Count++
			return marshal(resp)
		},
		"cut off":      func(resp *tandemv1.SyncResponse) []byte { raw := marshal(resp); return raw[:len(raw)-9] },
		"empty":        func(*tandemv1.SyncResponse) []byte { return nil },
		"a login page": func(*tandemv1.SyncResponse) []byte { return []byte("<html>Welcome to the station") },
	} {
		number++
		o.do(callOf(fmt.Sprintf("T-3%d", number), "welfare_check"))
		ops := o.do(command{"do": "ops"}).Ops
		m.set(false, spoil)
		if s := o.try(command{"do": "sync"}); s.OK || s.Kind != "no_answer" {
			t.Errorf("%s: %+v", what, s)
		}
		m.set(false, nil)
		if got := o.do(command{"do": "ops"}).Ops; !slices.Equal(got, ops) {
			t.Errorf("%s: the ops were %v and are %v", what, ops, got)
		}
		o.do(command{"do": "sync"})
	}
	o.alike(r)
}

// conflicting: two write one field without having seen each other's value. Both show
// it, and both words are there.
func (o *other) conflicting(r *rig, record string) {
	t := o.t
	t.Helper()
	o.edited(r, record, "welfare_check")
	o.do(command{"do": "set", "record": record, "texts": map[string]string{callType: "suicide_threat"}})
	o.do(command{"do": "sync"})
	if shown := o.listed(23)[record]; shown.Text != "welfare_check" || shown.Conflicts != 1 {
		t.Errorf("it shows %+v", shown)
	}
	o.alike(r)
}

// refused: what cannot be applied is kept in quarantine, and stops nothing.
func (o *other) refused(r *rig) {
	t := o.t
	t.Helper()
	unfit := o.do(callOf("T-4", "No code at all")).Record
	fit := o.do(callOf("T-5", "welfare_check")).Record
	o.do(command{"do": "sync"})
	ops := o.do(command{"do": "ops"}).Ops
	bad, good := ops[len(ops)-2], ops[len(ops)-1]
	if bad.State != "apart" || bad.Refusal != int(tandemv1.Refusal_REFUSAL_INVALID) || good.State != "settled" {
		t.Errorf("the last two ops: %+v, %+v", bad, good)
	}
	if got := o.listed(20); got[unfit].Text != "" || got[fit].Text != "T-5" {
		t.Errorf("it shows %v", got)
	}
	o.alike(r)
}

// setBack: the server's database is restored from a copy. What it has lost comes again
// from the client, which reads everything anew.
func (o *other) setBack(r *rig) {
	t := o.t
	t.Helper()
	files := []string{"tandem.db", "tandem.db-wal", "tandem.db-shm"}
	r.kill(r.server)
	copyFiles(t, r.path("server"), r.path("backup"), files...)
	r.serve()
	lost := o.do(callOf("T-6", "welfare_check")).Record
	o.do(command{"do": "sync"})
	before, _ := r.atServer()
	r.kill(r.server)
	copyFiles(t, r.path("backup"), r.path("server"), files...)
	r.serve()
	if s := o.do(command{"do": "sync"}); !s.Unserved || s.Pushed != 1 {
		t.Errorf("at a server that was restored: %+v", s)
	}
	r.must("admin", "recover", "confirm", "--data", r.path("server"))
	if s := o.do(command{"do": "sync"}); s.Unserved || s.Cuts == 0 || s.Differing != 0 {
		t.Errorf("after the recovery: %+v", s)
	}
	if got := o.listed(20)[lost]; got.Text != "T-6" {
		t.Errorf("what the server had lost shows as %+v", got)
	}
	if after, _ := r.atServer(); len(after.byID) != len(before.byID) {
		t.Errorf("the server had %d calls and has %d", len(before.byID), len(after.byID))
	}
	o.alike(r)
}

// alike: every scope of the client is ready, and has the server's digest.
func (o *other) alike(r *rig) {
	o.t.Helper()
	_, there := r.atServer()
	scopes := o.do(command{"do": "verify"}).Scopes
	proved := 0
	for _, s := range scopes {
		if !s.Ready {
			o.t.Errorf("scope %s is not ready", s.ID)
		}
		if s.Records == 0 {
			continue
		}
		proved++
		if s.Sum != there[s.ID] || !s.Verified {
			o.t.Errorf("scope %s has digest %s, the server %s", s.ID, s.Sum, there[s.ID])
		}
	}
	if proved == 0 {
		o.t.Errorf("no scope holds anything: %v", scopes)
	}
}

// ours opens the device of ours, synced.
func (o *other) ours(r *rig) *client.Client {
	o.t.Helper()
	dev, err := client.Open(o.t.Context(), r.path("ours"), client.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := dev.Sync(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	return dev
}

// onOurs are the numbers of the calls that a device of ours shows, by record.
func (o *other) onOurs(r *rig) map[string]string {
	o.t.Helper()
	dev := o.ours(r)
	calls, err := dev.List(o.t.Context(), "incident", client.Filter{}, client.Newest, 100)
	if err := errors.Join(err, dev.Close()); err != nil {
		o.t.Fatal(err)
	}
	out := map[string]string{}
	for _, v := range calls {
		out[hex.EncodeToString(v.ID[:])] = as[*tandemv1.Incident](o.t, v).GetNumber()
	}
	return out
}

// edited writes the type of a call on a device of ours.
func (o *other) edited(r *rig, rec, kind string) {
	o.t.Helper()
	dev := o.ours(r)
	id, err := hex.DecodeString(rec)
	if err != nil {
		o.t.Fatal(err)
	}
	_, err = dev.Edit(o.t.Context(), func(e *client.Edit) error {
		v, err := dev.Get(o.t.Context(), [16]byte(id))
		if err != nil {
			return err
		}
		incident := as[*tandemv1.Incident](o.t, v)
		incident.CallType = &kind
		return e.Set(v, incident)
	})
	if err == nil {
		_, err = dev.Sync(o.t.Context())
	}
	if err := errors.Join(err, dev.Close()); err != nil {
		o.t.Fatal(err)
	}
}
