package server_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/syncengine"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// raving rules panic over what they judge, with words that came in a request.
type raving struct {
	syncengine.Rules

	words string
}

func (r *raving) AllowedOn(*syncengine.Principal, *tandemv1.RecordWrite, *syncengine.Record, syncengine.Lookup) bool {
	panic(r.words)
}

func (r *raving) Grants(syncengine.ID, *syncengine.Principal) []syncengine.ScopeKey {
	panic(errors.New(r.words))
}

// TestNothingPrivateForOperators plants words in records, names, labels, headers, paths,
// broken requests and panics, at least 20, each in a place of its own, and finds none of
// them in the log, the metrics or the traces. What is meant to be there is.
func TestNothingPrivateForOperators(t *testing.T) {
	t.Parallel()
	var planted []string
	plant := func() string {
		planted = append(planted, fmt.Sprintf("zanzibar%02d", len(planted)))
		return planted[len(planted)-1]
	}
	w := newWorld(t, sqlite, 110)
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	w.srv.End()
	w.http.Close()
	metrics := server.NewMetrics()
	var err error
	w.srv, err = server.New(w.s, server.Options{Log: zerolog.New(w.log).Level(zerolog.TraceLevel), Clock: w.clock, Metrics: metrics, Traces: traces})
	if err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewUnstartedServer(w.srv)
	w.http.Config.Protocols = &http.Protocols{}
	w.http.Config.Protocols.SetHTTP1(true)
	w.http.Config.Protocols.SetUnencryptedHTTP2(true)
	w.http.Start()
	t.Cleanup(w.http.Close)
	t.Cleanup(w.srv.End)

	person := must[syncengine.ID](t)(addStaff(w, plant()))
	d := w.newDevice(1)
	d.http1()
	answer, err := d.enroll.Enroll(t.Context(), d.enrolment(must[*server.Code](t)(w.admin.IssueCode(t.Context(), person, plant()+" laptop")).Code))
	if err != nil {
		t.Fatal(err)
	}
	d.accept(answer)
	second := w.enrolled(2, w.second)
	second.http1()

	// Saved, changed by two at once, refused, and read.
	d.must(d.push(d.creation(encounter(w, plant()+" said"))))
	bad := d.creation(encounter(w, plant()))
	bad.Records[0].Body = append(bad.Records[0].Body, plant()...)
	if out := d.must(d.push(bad)).GetOutcomes(); out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		t.Errorf("the spoiled change: %v", out)
	}
	d.read()

	// What a request may bring.
	for name, req := range map[string]func() *http.Request{
		"a path": func() *http.Request {
			return must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+"/"+plant()+"?"+plant()+"="+plant(), nil))
		},
		"headers": func() *http.Request {
			r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, w.http.URL+tandemv1connect.SyncServiceSyncProcedure, strings.NewReader(plant())))
			for _, h := range []string{"User-Agent", "Content-Type", "Content-Encoding", "Authorization", "DPoP", "Traceparent", "Tracestate", "Baggage", "X-Request-Id", "Cookie"} {
				r.Header.Set(h, plant())
			}
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.Header.Set("Tracestate", plant()+"="+plant())
			return r
		},
		"an enrolment": func() *http.Request {
			body := []byte(`{"code": "` + plant() + `", "platform": "` + plant() + `", "appVersion": "` + plant() + `"}`)
			r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, w.http.URL+tandemv1connect.EnrollServiceEnrollProcedure, bytes.NewReader(body)))
			r.Header.Set("Content-Type", "application/json")
			return r
		},
	} {
		resp, err := http.DefaultClient.Do(req())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if resp, err := d.post(t.Context(), strings.NewReader(planted[0]), int64(len(planted[0])), "Content-Encoding", plant(), "Traceparent", plant()); err != nil || resp.status == http.StatusOK {
		t.Errorf("a body of nothing but the marker: %v, %v", resp, err)
	}
	if _, err := second.call(t.Context(), &tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{Position: []byte(plant())}}}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a position that is none: %v", err)
	}

	if _, err := second.call(t.Context(), &tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{}}, Lookup: &tandemv1.Lookup{Record: person[:], Reason: plant()}}); err != nil {
		t.Errorf("a lookup: %v", err)
	}
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules { return &raving{r, plant()} })
	if _, err := d.call(t.Context(), d.push(d.creation(encounter(w, plant())))); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("a panic: %v", err)
	}
	if _, err := second.call(t.Context(), &tandemv1.SyncRequest{Budget: 1000, Positions: []*tandemv1.ScopePosition{{}}}); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("a panic while it reads: %v", err)
	}

	page := recorded(t, metrics, "/metrics").Body.String()
	if err := traces.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	fmt.Fprintf(&all, "%+v", spans.GetSpans().Snapshots())
	for _, s := range spans.GetSpans() {
		fmt.Fprintf(&all, "%s %v %v %v %v %v\n", s.Name, s.Attributes, s.Events, s.Status, s.Links, s.SpanContext.TraceState())
		if s.SpanContext.TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
			t.Error("a request chose the id of its trace")
		}
	}
	log, traced := w.log.String(), all.String()
	replica := d.replica.String()
	for name, place := range map[string]struct{ text, has string }{
		"the log":     {log, replica},
		"its panics":  {log, `"panic":"*errors.errorString"`},
		"its faults":  {log, `the transaction failed twice: panic: *errors.errorString`},
		"the metrics": {page, `tandem_changes_total{verdict="quarantined"} 1`},
		"the traces":  {traced, replica},
	} {
		if !strings.Contains(place.text, place.has) {
			t.Errorf("%s lack %s: the search would miss what is there\n%s", name, place.has, place.text)
		}
		for _, private := range append(planted, clinicianName, "Second Clinician", deviceLabel, "Example County", "Example Health") {
			if strings.Contains(strings.ToLower(place.text), strings.ToLower(private)) {
				t.Errorf("%s hold %q", name, private)
			}
		}
	}
	if len(planted) < 20 {
		t.Errorf("%d words are planted, not 20", len(planted))
	}
	for _, want := range []string{"/tandem.v1.SyncService/", "admission", "commit", "answer"} {
		if !strings.Contains(traced, want) {
			t.Errorf("no span is called %s", want)
		}
	}
}

func addStaff(w *world, name string) (syncengine.ID, error) {
	return w.admin.AddStaff(w.t.Context(), server.StaffOptions{Name: name + " Testperson", Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{w.team}})
}

// What holds keys prints as nothing but its name, in whatever way it is printed.
func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 111)
	provider := &people.Provider{ClientID: "tandem", ClientSecret: "secret-of-the-client"}
	secrets := []string{provider.ClientSecret, string(w.org.Signing.Seed()), string(w.org.Derive("a label"))}
	for _, held := range []any{w.org, *w.org, w.org.Secrets, w.org.Seal, w.org.Seal[0], provider, *provider, struct{ Of any }{w.org}} {
		logged := &bytes.Buffer{}
		log := zerolog.New(logged)
		log.Info().Interface("held", held).Msg("")
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			said := fmt.Sprintf(verb, held) + logged.String()
			for _, secret := range secrets {
				for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
					if strings.Contains(said, strings.Trim(form, "[]=")) {
						t.Errorf("%T as %s prints a key: %s", held, verb, said)
					}
				}
			}
			if len(said) > 300 {
				t.Errorf("%T as %s prints %d bytes: what of it is a key is not known: %s", held, verb, len(said), said[:300])
			}
		}
	}
}
