package server_test

import (
	"bytes"
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
	"github.com/tandem-response/tandem/syncengine"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestNothingPrivateForOperators plants words in records, names, labels, headers, paths
// and broken requests, and finds none of them in the log, the metrics or the traces. What
// is meant to be there is.
func TestNothingPrivateForOperators(t *testing.T) {
	t.Parallel()
	const marker = "zanzibar"
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

	person := must[syncengine.ID](t)(addStaff(w, marker))
	d := w.newDevice(1)
	d.http1()
	answer, err := d.enroll.Enroll(t.Context(), d.enrolment(must[*server.Code](t)(w.admin.IssueCode(t.Context(), person, marker+" laptop")).Code))
	if err != nil {
		t.Fatal(err)
	}
	d.accept(answer)
	second := w.enrolled(2, w.second)
	second.http1()

	// Saved, changed by two at once, refused, and read.
	d.must(d.push(d.creation(encounter(w, marker+" said"))))
	bad := d.creation(encounter(w, marker))
	bad.Records[0].Body = append(bad.Records[0].Body, marker...)
	if out := d.must(d.push(bad)).GetOutcomes(); out[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		t.Errorf("the spoiled change: %v", out)
	}
	d.read()

	// What a request may bring.
	for name, req := range map[string]func() *http.Request{
		"a path": func() *http.Request {
			return must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+"/"+marker+"?"+marker+"="+marker, nil))
		},
		"headers": func() *http.Request {
			r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, w.http.URL+tandemv1connect.SyncServiceSyncProcedure, strings.NewReader(marker)))
			for _, h := range []string{"User-Agent", "Content-Type", "Content-Encoding", "Authorization", "DPoP", "Traceparent", "Tracestate", "Baggage", "X-Request-Id", "Cookie"} {
				r.Header.Set(h, marker)
			}
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.Header.Set("Tracestate", marker+"="+marker)
			return r
		},
		"an enrolment": func() *http.Request {
			body := []byte(`{"code": "` + marker + `", "platform": "` + marker + `", "appVersion": "` + marker + `"}`)
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
	if resp, err := d.post(t.Context(), strings.NewReader(marker), int64(len(marker)), "Content-Encoding", marker, "Traceparent", marker); err != nil || resp.status == http.StatusOK {
		t.Errorf("a body of nothing but the marker: %v, %v", resp, err)
	}
	if _, err := second.call(t.Context(), &tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{Position: []byte(marker)}}}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a position that is none: %v", err)
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
		"the metrics": {page, `tandem_changes_total{verdict="quarantined"} 1`},
		"the traces":  {traced, replica},
	} {
		if !strings.Contains(place.text, place.has) {
			t.Errorf("%s lack %s: the search would miss what is there\n%s", name, place.has, place.text)
		}
		for _, private := range []string{marker, clinicianName, "Second Clinician", deviceLabel, "Example County", "Example Health"} {
			if strings.Contains(strings.ToLower(place.text), strings.ToLower(private)) {
				t.Errorf("%s hold %q", name, private)
			}
		}
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
