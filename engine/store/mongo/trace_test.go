package mongo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

// A trace has the name and the collection of each command, and no value of one.
func TestTracesHaveNoDocuments(t *testing.T) {
	onEveryServer(t, func(t *testing.T, server server) {
		uri, _ := server.database(t)
		store := open(t, uri)
		if err := store.UseAuditKey(t.Context(), []byte("key")); err != nil {
			t.Fatal(err)
		}
		spans := tracetest.NewSpanRecorder()
		ctx, call := tracing.Call(t.Context(), trace.NewTracerProvider(trace.WithSpanProcessor(spans)), "")
		u := engine.User{ID: "canary-id", Username: "canary-name", PasswordHash: "canary-hash"}
		rec := func() engine.Record {
			return engine.Record{Audit: engine.AuditEntry{Ref: engine.NewID("canary"), ProjectID: engine.SystemChain, Action: engine.ActionUserCreated}}
		}
		if err := store.CreateUser(ctx, u, rec()); err != nil {
			t.Fatal(err)
		}
		if err := store.CreateUser(ctx, engine.User{ID: "canary-other", Username: u.Username}, rec()); !errors.Is(err, engine.CodeExists) {
			t.Errorf("another user of the same name: %v", err)
		}
		if _, err := store.User(ctx, "canary-id"); err != nil {
			t.Error(err)
		}
		if _, err := store.User(t.Context(), "canary-id"); err != nil { // outside the trace
			t.Error(err)
		}
		var names []string
		for _, s := range spans.Ended() {
			names = append(names, s.Name())
			if text := fmt.Sprintf("%+v", tracetest.SpanStubFromReadOnlySpan(s)); strings.Contains(text, "canary") {
				t.Errorf("a document is in %s", text)
			}
		}
		for _, want := range []string{"store insert users", "store find users"} {
			if !slices.Contains(names, want) {
				t.Errorf("no span %q in %q", want, names)
			}
		}
		if running := len(spans.Started()) - len(spans.Ended()); running != 1 || !call.IsRecording() {
			t.Errorf("%d spans have not ended, the call's included", running)
		}
	})
}
