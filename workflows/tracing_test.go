package workflows

import (
	"log/slog"
	"regexp"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
	"github.com/countersign-dev/countersign/workflows/embedded"
)

// tracer are the options of a client whose spans nobody sees.
func tracer(t *testing.T) client.Options {
	t.Helper()
	o, err := Traced(client.Options{}, trace.NewTracerProvider())
	noError(t, err)
	return o
}

// A call, the workflow that it starts and the activities of that are one trace. Temporal
// keeps the ids of the trace in clear and nothing else, and a history replays whether
// there are traces or not.
func TestTraceOfAWorkflow(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Namespace: "record", Logger: slog.New(slog.DiscardHandler)})
	noError(t, err)
	defer server.Stop()
	options, err := Traced(Options(server.ClientOptions(client.Options{Namespace: "record", Logger: quiet{}}), testCodec(t)), provider)
	noError(t, err)
	temporal, err := client.DialContext(t.Context(), options)
	noError(t, err)
	defer temporal.Close()
	c := NewClient(temporal, d.store, slog.New(slog.DiscardHandler))
	noError(t, c.Work(d.transitions, &engine.Retention{Store: d.store, Clock: engine.SystemClock}, d.notifications))
	defer c.Close(t.Context())
	d.transitions.Reports = c

	ctx, call := tracing.Call(t.Context(), provider, "")
	order := d.order("traced", engine.RoleOperator)
	askPeople(d, &order)
	_, err = c.Start(ctx, order)
	noError(t, err)
	_, err = c.Vote(ctx, voteOf(order, "u", engine.DecisionApprove)) // of one's own request
	if engine.CodeOf(err) != engine.CodeSelfApproval {
		t.Errorf("a requester's vote: %v", err)
	}
	_, err = c.Cancel(ctx, cancelOf(order))
	noError(t, err)
	noError(t, temporal.GetWorkflow(t.Context(), "traced", "").Get(t.Context(), nil))

	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name())
		if s.SpanContext().TraceID() != call.SpanContext().TraceID() {
			t.Errorf("%s is in another trace than the call", s.Name())
		}
		if len(s.Events()) > 0 || s.Status().Description != "" {
			t.Errorf("%s has the text of an error: %v %v", s.Name(), s.Events(), s.Status())
		}
	}
	for _, want := range []string{"StartWorkflow:Download", "RunWorkflow:Download", "RunActivity:EvaluatePolicy", "UpdateWorkflow:vote", "UpdateWorkflow:cancel", "RunActivity:Cancel"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no span %s in %q", want, names)
		}
	}
	h := &history.History{}
	for events := temporal.GetWorkflowHistory(t.Context(), "traced", "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		noError(t, err)
		h.Events = append(h.Events, event)
	}
	if !h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetEagerExecutionAccepted() {
		t.Error("the workflow was not started eagerly")
	}
	if n := checkHeaders(t, h.ProtoReflect()); n == 0 {
		t.Error("the history has no header, so nothing was checked")
	}
	noError(t, replay(t, "traced", proto.CloneOf(h)))
	noError(t, replay(t, "traced", h, tracer(t).Interceptors...))
}

var onlyIDs = regexp.MustCompile(`^\{"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"\}$`)

// checkHeaders checks and counts the headers in a message.
func checkHeaders(t *testing.T, m protoreflect.Message) (n int) {
	t.Helper()
	if header, ok := m.Interface().(*common.Header); ok {
		for name, payload := range header.GetFields() {
			n++
			if name != "_tracer-data" || !onlyIDs.Match(payload.GetData()) {
				t.Errorf("the header %s has %s", name, payload.GetData())
			}
		}
		return n
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				n += checkHeaders(t, value.List().Get(i).Message())
			}
		default:
			n += checkHeaders(t, value.Message())
		}
		return true
	})
	return n
}
