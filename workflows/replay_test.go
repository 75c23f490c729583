package workflows

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
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
func replay(t *testing.T, id string, h *history.History) error {
	t.Helper()
	options := Options(client.Options{Namespace: "record"}, testCodec(t))
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: options.DataConverter, FailureConverter: options.FailureConverter,
	})
	noError(t, err)
	registerWorkflows(replayer)
	return replayer.ReplayWorkflowHistoryWithOptions(quiet{}, h, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: id},
	})
}

// Whoever can write Temporal's database cannot have a workflow continue from what
// another one was told or has decided, although both have it under the same key.
func TestPayloadsOfAnotherWorkflowStopAHistory(t *testing.T) {
	const victim, other = "people-consumed", "people-interrupted"
	for name, move := range map[string]func(to, from *history.HistoryEvent) bool{
		"input": func(to, from *history.HistoryEvent) bool {
			a, b := to.GetWorkflowExecutionStartedEventAttributes(), from.GetWorkflowExecutionStartedEventAttributes()
			if a == nil || b == nil {
				return false
			}
			a.Input = b.Input
			return true
		},
		"result of a local activity": func(to, from *history.HistoryEvent) bool {
			a, b := to.GetMarkerRecordedEventAttributes(), from.GetMarkerRecordedEventAttributes()
			if a == nil || b == nil {
				return false
			}
			a.Details["result"] = b.Details["result"]
			return true
		},
		"Update": func(to, from *history.HistoryEvent) bool {
			a, b := to.GetWorkflowExecutionUpdateAcceptedEventAttributes(), from.GetWorkflowExecutionUpdateAcceptedEventAttributes()
			if a == nil || b == nil {
				return false
			}
			a.AcceptedRequest.Input = b.AcceptedRequest.Input
			return true
		},
		"signal": func(to, from *history.HistoryEvent) bool {
			a, b := to.GetWorkflowExecutionSignaledEventAttributes(), from.GetWorkflowExecutionSignaledEventAttributes()
			if a == nil || b == nil {
				return false
			}
			a.Input = b.Input
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, moved := past(t, other), 0
			for i := range past(t, victim).Events {
				h := past(t, victim)
				if i >= len(from.Events) || !move(h.Events[i], from.Events[i]) {
					continue
				}
				moved++
				if err := replay(t, victim, h); err == nil {
					t.Errorf("event %d of %s is accepted from %s", i+1, victim, other)
				}
			}
			if moved == 0 {
				t.Error("nothing was moved: the histories have no such event at the same place")
			}
		})
	}
}

// recordings are the workflows, one for each ending, of which a history is kept.
var recordings = []string{
	"consumed", "interrupted", "unreported", "revoked", "expired", "denied", "cancelled", "retention",
	"people-denied", "people-approval-expired", "people-cancelled", "people-claim-expired", "people-consumed", "people-claimed-again", "people-token-expired",
	"people-approved-cancelled", "people-revoked", "people-interrupted", "people-reminded", "notified", "notified-many", "notified-many/1",
}

// historyOf is where the history of a workflow is kept.
func historyOf(id string) string {
	return filepath.Join("testdata", "history", strings.ReplaceAll(id, "/", "-")+".json")
}
