package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// canaryReaders are the roles that may read what is planted, by compartment. Everybody
// else must not meet one byte of it. private is its author's alone, and a clinical review
// that of who made what was reviewed, and of leads.
var canaryReaders = map[tandemv1.Compartment][]string{
	tandemv1.Compartment_COMPARTMENT_CLINICAL: {"clinician", "peer", "lead"},
	mSUD:     {"clinician", "lead"},
	mPrivate: {},
}

// TestCanaryFields plants a word of its own in every field of every kind that is stricter
// than what a police partner sees, in each compartment that the kind may be in, and then
// looks for each in every byte that the server has answered to each role: pages, lookups,
// comparisons, deliveries, verdicts and errors, and in the server's log and metrics. That
// those who may read it have got it shows that the search could fail.
func TestCanaryFields(t *testing.T) { each(t, testCanaryFields) }

func testCanaryFields(t *testing.T, on engine) {
	t.Parallel()
	m := newMatrixWorld(t, on)
	w := m.w
	metrics := server.NewMetrics()
	w.srv.End()
	w.http.Close()
	w.srv = must[*server.Server](t)(server.New(w.s, server.Options{Log: zerolog.New(w.log).Level(zerolog.TraceLevel), Clock: w.clock, Metrics: metrics}))
	w.serve()
	kept := map[string]*recorder{}
	for role, d := range m.role {
		kept[role] = d.record(w)
	}
	for on, d := range m.other {
		name := map[string]string{"t": "author", "p": "program", "f": "foreign"}[on]
		kept[name] = d.record(w)
		m.role[name] = d
	}
	m.admin.record(w)
	m.takeRoles()
	planted, lying := m.plantAll()
	t.Logf("%d words planted", len(planted))
	for role, d := range m.role {
		m.lookEverywhere(role, d, planted)
	}
	page := recorded(t, metrics, "/metrics").Body.Bytes()
	logged := []byte(w.log.String())
	for role := range m.role {
		if kept[role].has(lying) {
			t.Errorf("what lies in quarantine was sent to %s", role)
		}
	}
	for _, c := range planted {
		for role := range m.role {
			// What the program's other team may look up is what its own team reads.
			may := slices.Contains(canaryReaders[c.in], role) || role == "author" ||
				role == "program" && c.in == tandemv1.Compartment_COMPARTMENT_CLINICAL
			if strings.HasPrefix(c.field, "review.") && c.in == tandemv1.Compartment_COMPARTMENT_CLINICAL && (role == "clinician" || role == "peer") {
				may = false
			}
			t.Run(c.field+"/"+strings.ToLower(strings.TrimPrefix(c.in.String(), "COMPARTMENT_"))+"/"+role, func(t *testing.T) {
				if got := kept[role].has(c.word); got != may {
					t.Errorf("its word was sent: %t, want %t", got, may)
				}
			})
		}
		if bytes.Contains(page, []byte(c.word)) || bytes.Contains(logged, []byte(c.word)) {
			t.Errorf("%s is in the log or the metrics", c.field)
		}
	}
}

// plantedWord is a word that stands in one field of one record.
type plantedWord struct {
	field string
	in    tandemv1.Compartment
	word  string
	id    syncengine.ID
}

// plantAll plants the words: the author's, in records that are then signed, amended or
// voided here and there, and in a change that lies in quarantine.
func (m *matrixWorld) plantAll() (planted []*plantedWord, lying string) {
	m.w.t.Helper()
	author, domain := m.other["t"], record.New()
	letters := func() string {
		var b strings.Builder
		id := m.w.id()
		for _, x := range append(id[6:], id[8:]...) {
			b.WriteByte('a' + x%26)
			b.WriteByte('a' + x/26)
		}
		return b.String()[:24]
	}
	var changes, edits []*tandemv1.Change
	for _, k := range domain.Kinds() {
		if k.Compartment <= tandemv1.Compartment_COMPARTMENT_OPS {
			continue
		}
		compartments := []tandemv1.Compartment{tandemv1.Compartment_COMPARTMENT_CLINICAL, mSUD}
		if k.Name == "note" {
			compartments = append(compartments, mPrivate)
		}
		for _, in := range compartments {
			for _, leaf := range leaves(domain.NewMessage(k.Number).ProtoReflect().Descriptor(), nil) {
				for _, word := range []string{letters(), m.w.id().String()} {
					msg := domain.NewMessage(k.Number)
					plant(msg.ProtoReflect(), leaf, word)
					base := domain.NewMessage(k.Number)
					setText(base, "agency_id", m.w.agency.String())
					setText(base, "team_id", m.w.team.String())
					if k.Name == "note" {
						setText(base, "type", map[bool]string{true: "private_psychotherapy", false: "case"}[in == mPrivate])
					}
					if k.Name == "safety_alert" {
						setText(base, "lifecycle", "proposed")
					}
					// What is no part of a creation is written by a lead afterwards.
					after := k.Name == "episode" && strings.HasPrefix(string(leaf[0].Name()), "exten")
					if !after {
						proto.Merge(base, msg)
					}
					if err := domain.EnsureElements(base, m.w.rand); err != nil {
						m.w.t.Fatal(err)
					}
					change := author.change(m.w.id(), k.Name, mCreate)
					change.Records[0].Body, change.Records[0].Compartment = must[[]byte](m.w.t)(domain.Body(base)), in
					if after {
						edit := author.change(syncengine.ID(change.Records[0].Record), k.Name, mSet)
						if !m.sets(edit, msg) {
							continue
						}
						edits = append(edits, edit)
					}
					if leaf[0].Number() < 8 || k.Name == "note" && leaf[0].Name() == "type" || domain.Check(change) != nil {
						continue // The envelope decides where a record is; other texts have a form that no word has.
					}
					changes = append(changes, change)
					planted = append(planted, &plantedWord{field: k.Name + "." + leafName(leaf), in: in, word: word, id: syncengine.ID(change.Records[0].Record)})
					break
				}
			}
		}
	}
	if len(planted) < 100 {
		m.w.t.Fatalf("only %d words planted", len(planted))
	}
	for some := range slices.Chunk(append(slices.Clone(changes), edits...), 100) {
		for i, o := range author.must(author.push(some...)).GetOutcomes() {
			if c := o.GetCode(); c != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED && c != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
				m.w.t.Fatalf("%v: %v", some[i].GetRecords()[0], o)
			}
		}
	}
	for i, c := range planted {
		k := changes[i].GetRecords()[0].GetKind()
		cell := &matrixCell{kind: domain.Kind(k).Name, object: c.id}
		spec := matrixAct{act: mVoid, text: voided, reason: "entered twice"}
		if i%5 != 0 {
			continue
		}
		author.must(author.push(m.write(author, cell, spec)))
	}
	// One that the author may not make, for another team: it lies in quarantine.
	lying = letters()
	lost := author.change(m.w.id(), "encounter", mCreate, m.text("encounter", m.teams['f'], "")...)
	msg := domain.NewMessage(lost.Records[0].GetKind())
	setText(msg, "narrative", lying)
	lost.Records[0].Body = append(lost.Records[0].Body, must[[]byte](m.w.t)(domain.Body(msg))...)
	author.must(author.push(lost))
	return planted, lying
}

// sets makes a change one that writes what a message holds, and reports whether it may be
// written so.
func (m *matrixWorld) sets(change *tandemv1.Change, msg proto.Message) bool {
	m.w.t.Helper()
	fields := must[[]syncengine.Field](m.w.t)(syncengine.ParseBody(must[[]byte](m.w.t)(record.New().Body(msg))))
	for _, f := range fields {
		change.Records[0].Writes = append(change.Records[0].Writes, &tandemv1.PathWrite{Field: f.Path.Field, Value: f.Raw, Bases: make([]byte, 8)})
	}
	return record.New().Check(change) == nil
}

// lookEverywhere asks the server for all that a device could ask, as it should and as it
// should not.
func (m *matrixWorld) lookEverywhere(role string, d *device, planted []*plantedWord) {
	m.w.t.Helper()
	ctx := m.w.t.Context()
	if role != "none" {
		d.readLong()
	}
	foreign := m.other["t"].must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}).GetPage().GetScopeSet().GetScopes()
	wrong := &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}
	compare := &tandemv1.ReconcileRequest{Budget: 1 << 20, Schema: syncengine.Schema}
	var set []syncengine.ScopeID
	for _, s := range foreign {
		wrong.Positions = append(wrong.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
		compare.Scopes = append(compare.Scopes, &tandemv1.ScopeBuckets{Scope: s.GetId(), Total: make([]byte, 16), Sums: make([]byte, 256)})
		set = append(set, syncengine.ScopeID(s.GetId()))
	}
	wrong.ScopeSet = syncengine.HashScopeSet(set)
	compare.ScopeSet = wrong.GetScopeSet()
	_, _ = d.sync.Sync(ctx, wrong)
	_, _ = d.sync.Reconcile(ctx, compare)
	_, _ = d.sync.Deliver(ctx, &tandemv1.DeliverRequest{Entries: [][]byte{[]byte("no entry")}})
	_, _ = d.sync.Sync(ctx, &tandemv1.SyncRequest{Runs: []*tandemv1.Run{{FirstOp: d.op + 1, Changes: [][]byte{[]byte("no change")}}}})
	for i, c := range planted {
		if i%100 == 99 {
			m.later()
		}
		if testing.Short() && i%9 != 0 && role != "program" {
			continue // Under the race detector a share will do.
		}
		d.must(lookFor(c.id[:], i%2 == 0))
		if i%7 == 0 {
			d.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}, Want: [][]byte{c.id[:]}, LookedUp: [][]byte{c.id[:]}})
		}
		if i%11 != 0 || role == "author" {
			continue
		}
		kind := strings.SplitN(c.field, ".", 2)[0]
		bad := d.change(c.id, kind, mSet)
		bad.Records[0].Writes = []*tandemv1.PathWrite{{Field: syncengine.FieldLifecycle, Value: syncengine.StringField(syncengine.FieldLifecycle, "draft"), Bases: make([]byte, 8)}}
		again := d.change(c.id, kind, mCreate, m.text(kind, m.w.team, "")...)
		d.must(d.push(bad, again))
	}
	if role != "none" {
		d.readLong()
	}
}

// leaves are the paths to the texts of a message.
func leaves(desc protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor) (paths [][]protoreflect.FieldDescriptor) {
	fields := desc.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path := append(slices.Clone(above), f)
		switch {
		case f.Kind() == protoreflect.StringKind:
			paths = append(paths, path)
		case f.Message() != nil && !f.IsMap() && len(above) < 3:
			paths = append(paths, leaves(f.Message(), path)...)
		}
	}
	return paths
}

func leafName(path []protoreflect.FieldDescriptor) string {
	names := make([]string, 0, len(path))
	for _, f := range path {
		names = append(names, string(f.Name()))
	}
	return strings.Join(names, ".")
}

// plant puts a word where a path leads.
func plant(msg protoreflect.Message, path []protoreflect.FieldDescriptor, word string) {
	f := path[0]
	switch {
	case len(path) > 1 && f.IsList():
		plant(msg.Mutable(f).List().AppendMutable().Message(), path[1:], word)
	case len(path) > 1:
		plant(msg.Mutable(f).Message(), path[1:], word)
	case f.IsList():
		msg.Mutable(f).List().Append(protoreflect.ValueOfString(word))
	default:
		msg.Set(f, protoreflect.ValueOfString(word))
	}
}

func setText(msg proto.Message, name protoreflect.Name, text string) {
	if f := msg.ProtoReflect().Descriptor().Fields().ByName(name); f != nil {
		msg.ProtoReflect().Set(f, protoreflect.ValueOfString(text))
	}
}

// recorder keeps every byte that is answered.
type recorder struct {
	base http.RoundTripper

	mu   sync.Mutex
	kept bytes.Buffer
}

// record keeps what the server answers this device from now on, uncompressed.
func (d *device) record(w *world) *recorder {
	r := &recorder{base: d.way.base}
	d.way.base = r
	d.connect(w.http.URL, connect.WithAcceptCompression("gzip", nil, nil))
	_, _ = d.sync.Sync(w.t.Context(), &tandemv1.SyncRequest{})
	return r
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, fmt.Errorf("an answer is packed as %s, which this test cannot read", e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.kept, resp.Header, resp.Trailer)
	r.kept.Write(body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (r *recorder) has(word string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.kept.Bytes(), []byte(word))
}
