package workflows

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Histories of every ending, recorded on a real server, must replay under
// today's code: workflows that started before an upgrade end after it.
func TestReplay(t *testing.T) {
	histories, err := filepath.Glob("testdata/history/*.json")
	noError(t, err)
	for _, id := range recordings {
		if !slices.Contains(histories, historyOf(id)) {
			t.Errorf("no history of %s is kept", id)
		}
	}
	for _, path := range histories {
		t.Run(filepath.Base(path), func(t *testing.T) {
			i := slices.IndexFunc(recordings, func(id string) bool { return historyOf(id) == path })
			if i < 0 {
				t.Fatal("it is not among the recordings, which tell its workflow's id")
			}
			noError(t, replay(t, recordings[i], past(t, recordings[i])))
			noError(t, replay(t, recordings[i], past(t, recordings[i]), tracer(t).Interceptors...)) // traces may be turned on at any time
		})
	}
}

// past reads the history of a workflow.
func past(t *testing.T, id string) *history.History {
	t.Helper()
	text, err := os.Open(historyOf(id))
	noError(t, err)
	defer func() { _ = text.Close() }() // it was only read
	h, err := client.HistoryFromJSON(text, client.HistoryJSONOptions{})
	noError(t, err)
	return h
}

// replay runs a workflow through a history, by today's code.
func replay(t *testing.T, id string, h *history.History, interceptors ...interceptor.ClientInterceptor) error {
	t.Helper()
	options := Options(client.Options{Namespace: "record"}, testCodec(t))
	var workers []interceptor.WorkerInterceptor
	for _, i := range interceptors {
		workers = append(workers, i.(interceptor.WorkerInterceptor))
	}
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: options.DataConverter, FailureConverter: options.FailureConverter, Interceptors: workers,
	})
	noError(t, err)
	registerWorkflows(replayer)
	return replayer.ReplayWorkflowHistoryWithOptions(quiet{}, h, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: id},
	})
}

// Whoever can write Temporal's database cannot have a workflow continue from what
// another one was told or has decided, although both have it under the same key, nor
// from nothing.
func TestForeignPayloadsStopAHistory(t *testing.T) {
	moved := map[string]int{}
	for victim, other := range map[string]string{"people-consumed": "people-interrupted", "notified": "notified-many", "retention": "consumed"} {
		from := past(t, other).Events
		for i := range past(t, victim).Events {
			for name, payloads := range decoded {
				h := past(t, victim)
				target := payloads(h.Events[i])
				if target == nil {
					continue
				}
				if target.Payloads = nil; replay(t, victim, h) == nil {
					t.Errorf("%s: %s is not missed at event %d", victim, name, i+1)
				}
				if i >= len(from) || payloads(from[i]) == nil {
					continue
				}
				h = past(t, victim)
				if payloads(h.Events[i]).Payloads = payloads(from[i]).Payloads; replay(t, victim, h) == nil {
					t.Errorf("%s: %s of %s is accepted at event %d", victim, name, other, i+1)
				}
				moved[name]++
			}
		}
	}
	for name := range decoded {
		if moved[name] == 0 {
			t.Errorf("no %s was moved: the histories have none at the same place", name)
		}
	}
}

// decoded are the payloads of events from which a replay continues.
var decoded = map[string]func(*history.HistoryEvent) *common.Payloads{
	"input": func(e *history.HistoryEvent) *common.Payloads {
		return e.GetWorkflowExecutionStartedEventAttributes().GetInput()
	},
	"result of a local activity": func(e *history.HistoryEvent) *common.Payloads {
		return e.GetMarkerRecordedEventAttributes().GetDetails()["result"]
	},
	"result of an activity": func(e *history.HistoryEvent) *common.Payloads {
		return e.GetActivityTaskCompletedEventAttributes().GetResult()
	},
	"input of an Update": func(e *history.HistoryEvent) *common.Payloads {
		return e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetArgs()
	},
	"signal": func(e *history.HistoryEvent) *common.Payloads {
		return e.GetWorkflowExecutionSignaledEventAttributes().GetInput()
	},
}

// recordings are the workflows, one for each ending, of which a history is kept.
var recordings = []string{
	"consumed", "interrupted", "unreported", "revoked", "expired", "denied", "cancelled", "retention",
	"people-denied", "people-approval-expired", "people-cancelled", "people-claim-expired", "people-consumed", "people-claimed-again", "people-token-expired",
	"people-approved-cancelled", "people-revoked", "people-interrupted", "people-reminded", "notified", "notified-many", "notified-many/1",
	"resumed-pending", "resumed-approved", "resumed-issued", "reconciliation",
}

// historyOf is where the history of a workflow is kept.
func historyOf(id string) string {
	return filepath.Join("testdata", "history", strings.ReplaceAll(id, "/", "-")+".json")
}
