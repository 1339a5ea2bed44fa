package server

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// tracerName names this package to whoever reads traces.
const tracerName = "github.com/tandem-response/tandem/server"

// tracer makes the spans of a server: one for each request, and in it those of its
// parts. They carry the route, the status, the ids of org and replica, and counts:
// nothing of a person. What a request says of traces is not read, since any device
// could say anything.
func tracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		p = noop.NewTracerProvider()
	}
	return p.Tracer(tracerName)
}

// traced puts a request into a span.
func (s *Server) traced(r *http.Request, route string, next func(*http.Request) (status int, note *requestNote)) {
	if route == "" {
		route = "unknown"
	}
	ctx, span := s.tracer.Start(r.Context(), route, trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot())
	defer span.End()
	status, note := next(r.WithContext(ctx))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
	if note.replica != "" {
		span.SetAttributes(attribute.String("tandem.org", note.org), attribute.String("tandem.replica", note.replica))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(otelcodes.Error, "")
	}
}

// span puts a part of a request into a span of its own; end ends it with what went wrong,
// of which nothing but that it did is told.
func (s *Server) span(ctx context.Context, name string, attributes ...attribute.KeyValue) (_ context.Context, end func(error)) {
	ctx, span := s.tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(otelcodes.Error, "")
		}
		span.End()
	}
}
