package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes traces as a collector of OpenTelemetry does, by OTLP over HTTP.
type collector struct {
	mu     sync.Mutex
	about  map[string]string
	spans  []*tracepb.Span
	header string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent coltracepb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header.Get("X-Key")
	for _, of := range sent.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			c.about[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// TestTraces: a server that is told of a collector by the standard variables sends it a
// span for each request with those of its parts in it, the last ones as it ends, and one
// that is told of none sends none.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := &collector{about: map[string]string{}}
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	r := newRigOn(t, "tandem", "")
	r.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + web.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-key=sesame", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test", "OTEL_BSP_SCHEDULE_DELAY=3600000"}
	r.serve()
	r.enrol("device")
	r.save("device", false)
	r.must(r.syncing("device")...)
	r.ends()

	if c.about["service.name"] != "tandem" || c.about["service.version"] == "" || c.about["deployment.environment"] != "test" || c.header != "sesame" {
		t.Errorf("the traces are of %v, with the key %q", c.about, c.header)
	}
	parts := map[string][]string{}
	for _, s := range c.spans {
		parts[string(s.GetParentSpanId())] = append(parts[string(s.GetParentSpanId())], s.GetName())
	}
	pushed := false
	for _, s := range c.spans {
		if len(s.GetParentSpanId()) > 0 {
			continue
		}
		if s.GetKind() != tracepb.Span_SPAN_KIND_SERVER || s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s is of the kind %v", s.GetName(), s.GetKind())
		}
		held := strings.Join(parts[string(s.GetSpanId())], " ")
		pushed = pushed || strings.HasSuffix(s.GetName(), "SyncService/") && strings.Contains(held, "admission") && strings.Contains(held, "commit") && strings.Contains(held, "answer")
	}
	if !pushed {
		t.Errorf("of %d spans none is of a sync with its turn, its commit and its answer: %v", len(c.spans), parts)
	}

	before := len(c.spans)
	r.env = append(r.env, "OTEL_SDK_DISABLED=true")
	r.serve()
	r.must(r.syncing("device")...)
	r.ends()
	if len(c.spans) != before {
		t.Errorf("%d spans of a server that is to send none", len(c.spans)-before)
	}
}

// ends stops the server as whoever runs it does.
func (r *rig) ends() {
	r.t.Helper()
	if err := r.server.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if code := r.end(r.server); code != exitOK {
		r.t.Fatalf("the server ended with exit code %d", code)
	}
}
