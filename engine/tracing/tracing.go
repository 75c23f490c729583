// Package tracing makes traces (OpenTelemetry) of what calls and workflows do, and sends
// them to a collector by OTLP.
//
// Start with [Open], which makes the [Traces] of a process. [Call] begins the trace of an
// HTTP request. An adapter surrounds what it waits for with [Start] and [End], which do
// nothing where no trace is being recorded: no adapter needs to know whether there are
// traces.
//
// The package promises that no secret leaves in a trace: of a span, only the attributes
// that are listed here leave, the text of no error, and nothing that a caller chose, except
// the two ids of the caller's own trace, as a link (export.go). It promises too that no call waits for the collector, and that what waits
// for it is bounded.
package tracing

import (
	"cmp"
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/engine"
)

// The attributes that a span may have. No other leaves the process. Their values are
// constants of this program and names from its configuration, never what a caller sent.
const (
	Route   attribute.Key = "http.route" // the pattern of the path
	Method  attribute.Key = "http.request.method"
	Status  attribute.Key = "http.response.status_code"
	Code    attribute.Key = "countersign.code" // a problem code
	Format  attribute.Key = "countersign.format"
	Plugin  attribute.Key = "countersign.plugin"
	Keeper  attribute.Key = "countersign.keeper"  // the scheme of its URL
	Action  attribute.Key = "countersign.action"  // of the audit entry that is written
	Project attribute.Key = "countersign.project" // its id
)

// codeInternal is the code of an error that has none, as in an answer.
const codeInternal = "internal"

const scope = "github.com/countersign-dev/countersign"

// Call begins the trace of an HTTP request. parent is the request's header traceparent
// (W3C Trace Context, section 3.2). The trace of the caller is linked to and not continued:
// whoever calls would otherwise decide which traces are recorded, and under which ids.
func Call(ctx context.Context, from trace.TracerProvider, parent string) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
	if parent != "" {
		carrier := propagation.MapCarrier{"traceparent": parent}
		caller := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
		if caller.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: caller}))
		}
	}
	return from.Tracer(scope).Start(ctx, "HTTP", options...)
}

// Answered ends the span of a request. An answer of 500 or above is a failure. A span that is
// not to leave is left without an end.
func Answered(span trace.Span, method, route string, status int) {
	if !span.IsRecording() {
		return
	}
	span.SetName(method + " " + route)
	span.SetAttributes(Method.String(method), Route.String(route), Status.Int(status))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Recorded reports whether a trace is being recorded, for callers to whom the name of a
// span is work.
func Recorded(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// Start begins a span inside the one of ctx, if that is recorded. The name is a constant of
// this program. Whoever calls it calls [End].
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, noop.Span{}
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// End ends a span. Of an error it keeps the problem code.
func End(span trace.Span, err error) {
	if span.IsRecording() {
		Failed(span, err)
		span.End()
	}
}

// Failed notes the problem code of an error on a span. An error without a code, or of a
// part that does not answer, makes the span a failed one: a refusal does not.
func Failed(span trace.Span, err error) {
	if err == nil {
		return
	}
	code := cmp.Or(engine.CodeOf(err), codeInternal)
	span.SetAttributes(Code.String(string(code)))
	switch code {
	case codeInternal, engine.CodeUnavailable, engine.CodeStorageFull, engine.CodeRendererFailed, engine.CodeAuditUnavailable:
		span.SetStatus(codes.Error, "")
	}
}
