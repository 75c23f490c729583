package workflows

import (
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
)

// Histories of every ending, recorded on a real server, must replay under
// today's code: workflows that started before an upgrade end after it.
func TestReplay(t *testing.T) {
	histories, err := filepath.Glob("testdata/history/*.json")
	noError(t, err)
	if len(histories) < len(recordings) {
		t.Fatalf("%d histories are recorded, want at least %d", len(histories), len(recordings))
	}
	options := Options(client.Options{}, testCodec(t))
	for _, path := range histories {
		t.Run(filepath.Base(path), func(t *testing.T) {
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
				DataConverter: options.DataConverter, FailureConverter: options.FailureConverter,
			})
			noError(t, err)
			registerWorkflows(replayer)
			noError(t, replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, path))
		})
	}
}

// recordings are the endings of which a history is kept.
var recordings = []string{
	"consumed", "interrupted", "unreported", "revoked", "expired", "denied", "cancelled", "retention",
	"people-denied", "people-lapsed", "people-cancelled", "people-unclaimed", "people-consumed", "people-claimed-again", "people-token-expired",
	"people-reminded", "notified",
}
