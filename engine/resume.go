package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ResumeCommand names a request whose workflow was lost.
type ResumeCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
}

// Resume returns a request as stored, for a workflow that takes the place of a lost
// one. It completes what a crash left missing of the request's latest transition,
// and changes nothing else.
func (t *Transitions) Resume(ctx context.Context, c ResumeCommand) (TransitionResult, error) {
	r, err := t.Store.Request(ctx, c.ProjectID, c.RequestID)
	switch {
	case errors.Is(err, CodeNotFound):
		err = errRequestDeleted
	case err != nil:
		err = fmt.Errorf("load request: %w", err)
	case r.Status == StatusIssued && t.Clock().Sub(r.ExpiresAt) >= MinTokenAge:
		// Retention may have deleted the token's record, which must not come back.
	default:
		err = t.Store.AdvanceRequest(ctx, Transition{Request: r})
	}
	return resultOf(c.RequestID, r, 0, err)
}

// Overdue reports whether time alone should have changed the request's state a
// while before now. A workflow that is older than the request, because Temporal was
// restored from a backup, waits for another time.
func (r Request) Overdue(now time.Time) bool {
	deadline := r.Deadline()
	return !deadline.IsZero() && now.Sub(deadline) >= overdueAfter
}

// overdueAfter is longer than a report is waited for and a store is usually down.
const overdueAfter = 5 * time.Minute
