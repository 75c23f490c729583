package tracing

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/engine"
)

// receiver is a collector that answers as it is told.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	raw   []byte
	spans []*tracepb.Span
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body) // a request that was broken off is not decoded
		var batch v1.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &batch); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.raw = append(r.raw, body...)
		for _, of := range batch.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		r.mu.Unlock()
		if answer != nil {
			answer(w, request)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func open(t *testing.T, r *receiver, change func(*Options)) (*Traces, *prometheus.Registry, *strings.Builder) {
	t.Helper()
	log, registry := &strings.Builder{}, prometheus.NewRegistry()
	o := Options{
		Collector: Collector{Endpoint: r.URL + "/v1/traces"}, Sample: 1, Every: time.Hour, // sent by a flush
		Metrics: registry, Clock: engine.SystemClock, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	if change != nil {
		change(&o)
	}
	traces, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return traces, registry, log
}

func outcomes(t *testing.T, registry *prometheus.Registry, want string) {
	t.Helper()
	const head = "# HELP countersign_trace_spans_total Spans of traces that ended, by outcome: exported; failed, because the collector did not take them; or dropped, because too many waited for it.\n# TYPE countersign_trace_spans_total counter\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(head+want+"\n"), "countersign_trace_spans_total"); err != nil {
		t.Error(err)
	}
}

// What leaves of a span is what is listed, whatever a library or a mistake put on it.
func TestOnlyWhatIsListedLeaves(t *testing.T) {
	const canary = "canary-2718281828"
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name="+canary+",deployment="+canary)
	t.Setenv("OTEL_SERVICE_NAME", canary)
	r := newReceiver(t, nil)
	traces, registry, _ := open(t, r, func(o *Options) { o.Version, o.Host = "v1.2.3", "host-1" })
	ctx, call := Call(t.Context(), traces.Provider(), "")
	_, inner := Start(ctx, "store read certificates", Plugin.String("pem"), attribute.String("db.statement", canary), attribute.String(canary, canary))
	inner.RecordError(errors.New(canary))
	inner.AddEvent(canary)
	inner.SetStatus(codes.Error, canary)
	inner.SetAttributes(Status.String(canary), Project.StringSlice([]string{canary})) // of another type than is listed
	inner.AddLink(trace.Link{SpanContext: call.SpanContext(), Attributes: []attribute.KeyValue{attribute.String(canary, canary)}})
	End(inner, engine.Errorf(engine.CodeUnavailable, canary).Because(errors.New(canary)))
	Answered(call, "POST", "/downloads/{token}", 503)
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(r.raw), canary) {
		t.Errorf("the canary left: %q", r.raw)
	}
	for _, own := range []string{"countersign", "v1.2.3", "host-1"} {
		if !strings.Contains(string(r.raw), own) {
			t.Errorf("%s is not in %q", own, r.raw)
		}
	}
	if len(r.spans) != 2 {
		t.Fatalf("%d spans came", len(r.spans))
	}
	got := map[string]string{}
	for _, a := range r.spans[0].Attributes {
		got[a.Key] = a.Value.GetStringValue()
	}
	if len(got) != 2 || got[string(Plugin)] != "pem" || got[string(Code)] != "unavailable" || r.spans[0].Status.Code != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v %v", got, r.spans[0].Status)
	}
	if string(r.spans[0].TraceId) != string(r.spans[1].TraceId) || string(r.spans[0].ParentSpanId) != string(r.spans[1].SpanId) {
		t.Error("the inner span does not belong to the call")
	}
	outcomes(t, registry, `countersign_trace_spans_total{outcome="dropped"} 0
countersign_trace_spans_total{outcome="exported"} 2
countersign_trace_spans_total{outcome="failed"} 0`)
}

// A caller's trace is linked to. The caller decides neither the trace's id nor whether it is
// recorded.
func TestCallersDoNotDecide(t *testing.T) {
	r := newReceiver(t, nil)
	traces, _, _ := open(t, r, func(o *Options) { o.Sample = 1e-12 })
	const sampled = "00-00000000000000000000000000000001-0000000000000001-01" // whose id every ratio would choose
	for range 100 {
		ctx, call := Call(t.Context(), traces.Provider(), sampled)
		if call.IsRecording() || Recorded(ctx) || call.SpanContext().TraceID().String() == sampled[3:35] {
			t.Fatal("a caller has a trace recorded")
		}
		_, inner := Start(ctx, "store write")
		End(inner, nil)
		Answered(call, "GET", "/", 200)
	}
	if err := traces.Close(t.Context()); err != nil || len(r.spans) != 0 {
		t.Errorf("%d spans came, %v", len(r.spans), err)
	}
	traces, _, _ = open(t, r, nil)
	for _, parent := range []string{sampled, strings.Repeat("0", 1<<10), "", "00-zz-01"} {
		_, call := Call(t.Context(), traces.Provider(), parent)
		Answered(call, "GET", "/", 200)
	}
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, span := range r.spans {
		links += len(span.Links)
	}
	if len(r.spans) != 4 || links != 1 {
		t.Errorf("%d spans with %d links came", len(r.spans), links)
	}
}

// Nobody waits for a collector that never answers, and what waits for it is bounded.
func TestACollectorThatHangs(t *testing.T) {
	reached, end := make(chan struct{}, 1), make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) {
		select {
		case reached <- struct{}{}:
		default:
		}
		<-end
	})
	defer close(end)
	traces, registry, _ := open(t, r, nil)
	span := func() {
		_, call := Call(context.Background(), traces.Provider(), "")
		Answered(call, "GET", "/", 200)
	}
	for range maxBatch {
		span()
	}
	<-reached // the first batch hangs
	for range 2 * maxWaiting {
		span()
	}
	outcomes(t, registry, `countersign_trace_spans_total{outcome="dropped"} 2560
countersign_trace_spans_total{outcome="exported"} 0
countersign_trace_spans_total{outcome="failed"} 0`)
	if err := traces.Close(t.Context()); err != nil { // returns although the collector still hangs
		t.Error(err)
	}
}

// A collector that refuses is logged once, without its text, and counted.
func TestACollectorThatRefuses(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "canary "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	})
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("Authorization: Bearer canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traces, registry, log := open(t, r, func(o *Options) { o.HeadersFile = file })
	for range 3 {
		_, call := Call(t.Context(), traces.Provider(), "")
		Answered(call, "GET", "/", 200)
		if err := traces.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcomes(t, registry, `countersign_trace_spans_total{outcome="dropped"} 0
countersign_trace_spans_total{outcome="exported"} 0
countersign_trace_spans_total{outcome="failed"} 3`)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "401") || strings.Contains(got, "canary") {
		t.Errorf("the log is %q", got)
	}
}

// Of a batch that a collector took, only the spans that it refused have failed, whatever it
// says of the others. Its text is not logged.
func TestACollectorThatTakesAPart(t *testing.T) {
	for name, c := range map[string]struct {
		rejected int64
		text     string
		log      string
		want     [2]string // exported, failed
	}{
		"a warning":    {0, "canary", "", [2]string{"3", "0"}},
		"a part":       {2, "canary", "it refused 2 of 3 spans", [2]string{"1", "2"}},
		"more than is": {1 << 40, "", "it refused 3 of 3 spans", [2]string{"0", "3"}},
		"less than 0":  {-1, "", "", [2]string{"3", "0"}},
		"a long text":  {2, strings.Repeat("canary", maxAnswer), "", [2]string{"3", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				answer, err := proto.Marshal(&v1.ExportTraceServiceResponse{PartialSuccess: &v1.ExportTracePartialSuccess{RejectedSpans: c.rejected, ErrorMessage: c.text}})
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", "application/x-protobuf")
				_, _ = w.Write(answer) // a long one is not read to its end
			})
			traces, registry, log := open(t, r, nil)
			for range 3 {
				_, call := Call(t.Context(), traces.Provider(), "")
				Answered(call, "GET", "/", 200)
			}
			if err := traces.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			outcomes(t, registry, `countersign_trace_spans_total{outcome="dropped"} 0
countersign_trace_spans_total{outcome="exported"} `+c.want[0]+`
countersign_trace_spans_total{outcome="failed"} `+c.want[1])
			if got := log.String(); !strings.Contains(got, c.log) || c.log == "" && got != "" || strings.Contains(got, "canary") {
				t.Errorf("the log is %q", got)
			}
		})
	}
}

// The headers go to the collector and nowhere else.
func TestHeadersAreForTheCollector(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	got := ""
	r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("X-Key")
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("\nX-Key: old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traces, _, _ := open(t, r, func(o *Options) { o.HeadersFile = file })
	if err := os.WriteFile(file, []byte("X-Key:new"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, call := Call(t.Context(), traces.Provider(), "")
	Answered(call, "GET", "/", 200)
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got != "new" || len(elsewhere.raw) > 0 {
		t.Errorf("the collector got %q, and another server %d bytes", got, len(elsewhere.raw))
	}
}

func TestCollectorsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "A: canary\n", 0o600)
	for _, c := range []struct {
		collector Collector
		want      string
	}{
		{Collector{Endpoint: "127.0.0.1:4318"}, "otlp_endpoint"},
		{Collector{Endpoint: "https://user:canary@c.example.com"}, "otlp_endpoint"},
		{Collector{Endpoint: "https://c.example.com/?key=canary"}, "otlp_endpoint"},
		{Collector{Endpoint: "grpc://c.example.com"}, "otlp_endpoint"},
		{Collector{Endpoint: "http://c.example.com", HeadersFile: good}, "https://"},
		{Collector{Endpoint: "https://c.example.com", HeadersFile: write("open", "A: canary\n", 0o644)}, "chmod"},
		{Collector{Endpoint: "https://c.example.com", HeadersFile: write("bad", "A: b\ncanary\n", 0o600)}, "line 2"},
		{Collector{Endpoint: "https://c.example.com", HeadersFile: filepath.Join(dir, "none")}, "headers_file"},
		{Collector{Endpoint: "https://c.example.com", CAFile: good}, "ca_file"},
	} {
		if err := c.collector.Check(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%+v: %v", c.collector, err)
		}
	}
	for _, c := range []Collector{{Endpoint: "https://c.example.com/v1/traces", HeadersFile: good}, {Endpoint: "http://[::1]:4318/v1/traces", HeadersFile: good}, {Endpoint: "http://collector:4318/"}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
