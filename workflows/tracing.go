package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

// Traced completes the options of a client with traces of what it starts and of what its
// worker runs. A trace goes from the caller to the workflow and its activities in a header,
// which no codec encrypts and Temporal keeps: it holds the ids of a trace and of a span, and
// whether the trace is recorded, and nothing else. A header that cannot be read is ignored.
func Traced(o client.Options, traces trace.TracerProvider) (client.Options, error) {
	interceptor, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer: traces.Tracer("github.com/countersign-dev/countersign/workflows"), TextMapPropagator: onlyTraceparent{},
		DisableBaggage: true, DisableSignalTracing: true, DisableQueryTracing: true, AllowInvalidParentSpans: true,
		SpanStarter: startSpan,
	})
	if err != nil {
		return o, fmt.Errorf("trace workflows: %w", err)
	}
	o.Interceptors = append(o.Interceptors, interceptor)
	return o, nil
}

// traced are the operations of which there are spans. A workflow has one for each of its
// tasks. The handler of an Update has none: the interceptor would repeat it at each replay.
// Nor has the creation of a schedule, or all runs of the schedule would belong to its trace.
var traced = []string{"StartWorkflow", "UpdateWorkflow", "RunWorkflow", "RunActivity"}

// startSpan begins the span of an operation, now: the library has a workflow's span begin
// with the workflow, days ago perhaps. Without a span, the parent takes its place.
func startSpan(ctx context.Context, tracer trace.Tracer, name string, options ...trace.SpanStartOption) trace.Span {
	operation, _, _ := strings.Cut(name, ":")
	if !slices.Contains(traced, operation) {
		return trace.SpanFromContext(ctx)
	}
	config := trace.NewSpanStartConfig(options...)
	_, span := tracer.Start(ctx, name, trace.WithSpanKind(config.SpanKind()))
	return withoutText{span}
}

// withoutText is a span that keeps the problem code of an error, and no text of it.
type withoutText struct{ trace.Span }

// RecordError implements trace.Span.
func (s withoutText) RecordError(err error, _ ...trace.EventOption) {
	if refusal, ok := errors.AsType[*temporal.ApplicationError](err); ok && slices.Contains(permanentCodes, engine.Code(refusal.Type())) {
		err = engine.Code(refusal.Type())
	}
	tracing.Failed(s.Span, err)
}

// SetStatus implements trace.Span. RecordError has set the status of an error.
func (s withoutText) SetStatus(codes.Code, string) {}

// onlyTraceparent writes the header traceparent of W3C Trace Context, and not tracestate.
type onlyTraceparent struct{}

var _ propagation.TextMapPropagator = onlyTraceparent{}

const traceparent = "traceparent"

// Inject implements propagation.TextMapPropagator.
func (onlyTraceparent) Inject(ctx context.Context, to propagation.TextMapCarrier) {
	all := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, all)
	if ids := all[traceparent]; ids != "" {
		to.Set(traceparent, ids)
	}
}

// Extract implements propagation.TextMapPropagator.
func (onlyTraceparent) Extract(ctx context.Context, from propagation.TextMapCarrier) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: from.Get(traceparent)})
}

// Fields implements propagation.TextMapPropagator.
func (onlyTraceparent) Fields() []string { return []string{traceparent} }
