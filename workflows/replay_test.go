package workflows

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	options := Options(client.Options{}, testCodec(t))
	for _, path := range histories {
		t.Run(filepath.Base(path), func(t *testing.T) {
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
				DataConverter: options.DataConverter, FailureConverter: options.FailureConverter,
			})
			noError(t, err)
			registerWorkflows(replayer)
			text, err := os.Open(path)
			noError(t, err)
			defer func() { _ = text.Close() }() // it was only read
			past, err := client.HistoryFromJSON(text, client.HistoryJSONOptions{})
			noError(t, err)
			id := strings.TrimSuffix(filepath.Base(path), ".json") // parts of a notification have their ids from its
			noError(t, replayer.ReplayWorkflowHistoryWithOptions(quiet{}, past, worker.ReplayWorkflowHistoryOptions{
				OriginalExecution: workflow.Execution{ID: id},
			}))
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
