package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/engine"
)

// Options say where traces go. They are complete: the variables OTEL_… change nothing.
type Options struct {
	Collector
	// Sample is the share of calls that are traced, above 0 and up to 1.
	Sample float64
	// Every is how often ended spans are sent, 5 seconds by default.
	Every time.Duration
	// Version and Host describe this process in every trace.
	Version, Host string

	Metrics prometheus.Registerer // may be nil
	Clock   engine.Clock
	Log     *slog.Logger
}

// resource is what every batch says of this process.
func (o Options) resource() *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.name", "countersign"), attribute.String("service.version", o.Version), attribute.String("host.name", o.Host))
}

// Traces are those of a process. A nil *Traces records nothing.
type Traces struct {
	*sdk.TracerProvider
	stop context.CancelFunc // ends a request to the collector that is under way
}

// Open begins to send traces to a collector, which need not answer: while it does not, they
// are lost. It returns an error if a file of the collector's cannot be used.
func Open(o Options) (*Traces, error) {
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	to, err := otlptracehttp.New(context.Background(), // which calls nobody yet
		otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithHTTPClient(client), otlptracehttp.WithHeaders(map[string]string{}),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithTimeout(exportWithin),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: exportWithin}),
	)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	life, stop := context.WithCancel(context.Background())
	spans, err := newExports(life, to, o)
	if err != nil {
		stop()
		return nil, fmt.Errorf("send traces: %w", err)
	}
	return &Traces{sdk.NewTracerProvider(
		// A span inside another is recorded if that is. The parents of other processes are
		// those in Temporal's headers, which only nodes write; see Call for HTTP.
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Sample))),
		sdk.WithResource(resource.Empty()), // to which the SDK adds what OTEL_RESOURCE_ATTRIBUTES says; what leaves is o.resource
		sdk.WithRawSpanLimits(sdk.SpanLimits{AttributeValueLengthLimit: maxText, AttributeCountLimit: 16, LinkCountLimit: 1}),
		sdk.WithSpanProcessor(spans),
	), stop}, nil
}

// Provider makes spans; they lead nowhere if there are no traces.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return noop.NewTracerProvider()
	}
	return t.TracerProvider
}

// flushWithin limits how long Close waits for the collector.
const flushWithin = 2 * time.Second

// Close sends the spans that wait, for two seconds at most. What the collector has not
// taken then is lost.
func (t *Traces) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	defer t.stop()
	err := t.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // a collector that does not answer is no failure of the server
	}
	return err
}
