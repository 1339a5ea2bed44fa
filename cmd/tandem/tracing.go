package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracing sends traces, as the standard variables of OpenTelemetry say; without an
// endpoint in them there are none.
type tracing struct {
	// provider is nil where there are none.
	provider trace.TracerProvider
	stop     func()
}

// tracesWanted reports whether traces go anywhere.
func tracesWanted() bool {
	return (os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "") &&
		!strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") && os.Getenv("OTEL_TRACES_EXPORTER") != "none"
}

// tracesProblem says what of the variables this program cannot do.
func tracesProblem() error {
	if !tracesWanted() {
		return nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != "http/protobuf" {
			return fmt.Errorf("%s is %q: traces are sent as http/protobuf alone, usually to port 4318", name, p)
		}
	}
	if e := os.Getenv("OTEL_TRACES_EXPORTER"); e != "" && e != "otlp" {
		return fmt.Errorf("OTEL_TRACES_EXPORTER is %q: want otlp or none", e)
	}
	return nil
}

// startTracing starts to send traces.
func startTracing(ctx context.Context, log zerolog.Logger) (*tracing, error) {
	if !tracesWanted() {
		return &tracing{stop: func() {}}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces cannot be sent as the OTEL variables say: %w", err)
	}
	// What of it is in the environment goes before.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "tandem"), attribute.String("service.version", version())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces cannot be described as the OTEL variables say: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces were not sent") }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &tracing{provider: provider, stop: func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(grace); err != nil {
			log.Warn().Err(err).Msg("the last traces were not sent")
		}
	}}, nil
}
