package api_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine/tracing"
)

// A request has a span, named by the pattern of its path, and what it waits for has spans
// inside. Nothing that a caller sent is in them. What strangers are refused is not traced.
func TestTracesOfRequests(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	f := newFixture(t, func(_ *fixture, o *api.Options) {
		o.Traces = trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	})
	m := f.mint("operator", "shop", `{"format":"cert","reason":"canary"}`)
	token := m.Token.Reveal()
	f.do("", "GET", "/downloads/"+token+"?canary=canary", "", "User-Agent", "canary").is(200)
	f.do("", "GET", "/downloads/"+token, "", "traceparent", "00-000000000000000000000000000000ca-00000000000000ca-01", "tracestate", "canary=1", "baggage", "canary=1").is(410)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"canary"}`).is(422)
	f.do("", "GET", "/canary/"+token, "").is(404)
	f.do("", "GET", "//healthz", "").is(200)
	f.do("", "GET", "/me", "").is(401)
	f.do("", "GET", "/me", "", "Authorization", "Bearer canary").is(401)
	f.do("operator", "GET", "/users", "").is(403) // from a caller who is known

	seen, inside := map[string]int{}, map[string]int{}
	calls := map[string]string{} // names by span id
	for _, s := range spans.Ended() {
		if text := fmt.Sprintf("%+v", tracetest.SpanStubFromReadOnlySpan(s)); strings.Contains(text, token) || strings.Contains(text, "canary") {
			t.Errorf("what a caller sent is in %s", text)
		}
		if s.Parent().IsValid() {
			continue
		}
		calls[s.SpanContext().SpanID().String()] = s.Name()
		seen[fmt.Sprintf("%s %s %d", s.Name(), codeOf(s), len(s.Links()))]++
		if !strings.Contains(f.log.String(), `"trace_id":"`+s.SpanContext().TraceID().String()) {
			t.Errorf("%s is not in the log", s.SpanContext().TraceID())
		}
	}
	for _, s := range spans.Ended() {
		if s.Parent().IsValid() {
			of, ended := calls[s.Parent().SpanID().String()]
			if !ended && strings.HasPrefix(s.Name(), "store") {
				t.Errorf("%s belongs to no call", s.Name())
			}
			inside[of+": "+s.Name()]++
		}
	}
	const mint, redeem = "POST /api/v1/projects/{pid}/certificates/{cid}/downloads", "GET /api/v1/downloads/{token}"
	for _, want := range []string{mint + "  0", redeem + "  0", redeem + " token_consumed 1", mint + " unknown_format 0", "GET /api/v1/users forbidden 0"} {
		if seen[want] != 1 {
			t.Errorf("%d spans %q, in %v", seen[want], want, seen)
		}
	}
	if len(seen) != 5 {
		t.Errorf("there are spans of %v", seen)
	}
	for _, want := range []string{mint + ": store read certificates", redeem + ": store write", redeem + ": render"} {
		if inside[want] == 0 {
			t.Errorf("no span %q, in %v", want, inside)
		}
	}
}

// codeOf is the problem code of a span, or "".
func codeOf(s trace.ReadOnlySpan) string {
	for _, a := range s.Attributes() {
		if a.Key == tracing.Code {
			return a.Value.AsString()
		}
	}
	return ""
}
