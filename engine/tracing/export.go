package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/countersign-dev/countersign/engine"
)

const (
	maxWaiting   = 2048 // spans that wait for the collector or are on the way to it
	maxBatch     = 512  // spans in one request to the collector
	exportWithin = 10 * time.Second
	logEvery     = time.Minute
	maxText      = 128 // bytes of a name or of an attribute's text
)

// exports are the way of ended spans to the collector. A span that ends while too many
// wait is dropped, so the batches' own queue is never full.
type exports struct {
	sdk.SpanProcessor // makes batches, for sender
	waiting           atomic.Int64
	exported          prometheus.Counter
	failed            prometheus.Counter
	dropped           prometheus.Counter
}

// newExports sends spans by to until life ends, and registers the metrics, if there is a
// registry.
func newExports(life context.Context, to sdk.SpanExporter, o Options) (*exports, error) {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_trace_spans_total",
		Help: "Spans of traces that ended, by outcome: exported; failed, because the collector did not take them; or dropped, because too many waited for it.",
	}, []string{"outcome"})
	if o.Metrics != nil {
		if err := o.Metrics.Register(spans); err != nil {
			return nil, err
		}
	}
	e := &exports{exported: spans.WithLabelValues("exported"), failed: spans.WithLabelValues("failed"), dropped: spans.WithLabelValues("dropped")}
	e.SpanProcessor = sdk.NewBatchSpanProcessor(&sender{SpanExporter: to, life: life, resource: o.resource(), exports: e, clock: o.Clock, log: o.Log},
		sdk.WithMaxQueueSize(maxWaiting), sdk.WithMaxExportBatchSize(maxBatch), sdk.WithBatchTimeout(o.Every), sdk.WithExportTimeout(exportWithin))
	return e, nil
}

// OnEnd implements sdk.SpanProcessor. It never waits.
func (e *exports) OnEnd(s sdk.ReadOnlySpan) {
	if e.waiting.Add(1) > maxWaiting {
		e.waiting.Add(-1)
		e.dropped.Inc()
		return
	}
	e.SpanProcessor.OnEnd(s)
}

// sender sends batches, of which it takes away what must not leave. It counts what fails,
// and logs it once a minute at most.
type sender struct {
	sdk.SpanExporter
	life     context.Context // ends when nobody waits for what is under way
	resource *resource.Resource
	exports  *exports
	clock    engine.Clock
	log      *slog.Logger

	mu     sync.Mutex
	logged time.Time
}

// ExportSpans implements sdk.SpanExporter.
func (s *sender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	defer s.exports.waiting.Add(-int64(len(spans)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	clean := make([]sdk.ReadOnlySpan, len(spans))
	for i, span := range spans {
		clean[i] = cleaned{span, s.resource}
	}
	var rejected int64
	err := s.SpanExporter.ExportSpans(context.WithValue(ctx, rejectedKey{}, &rejected), clean)
	failed := min(max(rejected, 0), int64(len(spans)))
	if err != nil {
		failed = int64(len(spans))
	} else if failed > 0 {
		err = fmt.Errorf("it refused %d of %d spans", failed, len(spans))
	}
	s.exports.failed.Add(float64(failed))
	s.exports.exported.Add(float64(int64(len(spans)) - failed))
	if err != nil {
		s.report(err)
	}
	return nil // else the SDK would log it every time
}

func (s *sender) report(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if !s.logged.IsZero() && now.Sub(s.logged) < logEvery {
		return
	}
	s.logged = now
	s.log.Warn("the collector of traces does not take them; they are dropped, and nothing else is affected", "error", cut(err.Error()))
}

// cleaned is a span as it leaves: with the listed attributes only, without events, without
// the text of its status, without what a caller's trace says beside its ids, and without what
// the environment says of the process. Libraries whose spans these are record errors and more.
type cleaned struct {
	sdk.ReadOnlySpan
	resource *resource.Resource
}

// Resource implements sdk.ReadOnlySpan.
func (c cleaned) Resource() *resource.Resource { return c.resource }

// Name implements sdk.ReadOnlySpan.
func (c cleaned) Name() string { return cut(c.ReadOnlySpan.Name()) }

var allowed = map[attribute.Key]attribute.Type{
	Route: attribute.STRING, Method: attribute.STRING, Status: attribute.INT64, Code: attribute.STRING, Format: attribute.STRING,
	Plugin: attribute.STRING, Keeper: attribute.STRING, Action: attribute.STRING, Project: attribute.STRING,
}

// Attributes implements sdk.ReadOnlySpan.
func (c cleaned) Attributes() (kept []attribute.KeyValue) {
	for _, a := range c.ReadOnlySpan.Attributes() {
		if kind, ok := allowed[a.Key]; !ok || a.Value.Type() != kind {
			continue
		}
		if a.Value.Type() == attribute.STRING {
			a.Value = attribute.StringValue(cut(a.Value.AsString()))
		}
		kept = append(kept, a)
	}
	return kept
}

// Events implements sdk.ReadOnlySpan.
func (c cleaned) Events() []sdk.Event { return nil }

// Status implements sdk.ReadOnlySpan.
func (c cleaned) Status() sdk.Status { return sdk.Status{Code: c.ReadOnlySpan.Status().Code} }

// Links implements sdk.ReadOnlySpan.
func (c cleaned) Links() (kept []sdk.Link) {
	for _, l := range c.ReadOnlySpan.Links() {
		kept = append(kept, sdk.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: l.SpanContext.TraceID(), SpanID: l.SpanContext.SpanID()})})
	}
	return kept
}

// cut keeps the beginning of a text.
func cut(text string) string { return text[:min(len(text), maxText)] }
