package sqlite

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// Approval implements [engine.Approvals].
func (s *Store) Approval(ctx context.Context, projectID, id string) (engine.Approval, error) {
	return approvals.one(ctx, s.reading, ofProject(projectID, id)...)
}

// Approvals implements [engine.Approvals]. It always keeps to the query's
// project.
func (s *Store) Approvals(ctx context.Context, q engine.ApprovalQuery) ([]engine.Approval, string, error) {
	from, args := approvalsFrom(q)
	return list[engine.Approval](ctx, s.reading, q.Page, byCreation, from, args...)
}

func approvalsFrom(q engine.ApprovalQuery) (from string, args []any) {
	from, args = filtered("approval_requests", q.ProjectID, filter{"person", q.Person}, filter{"status", string(q.Status)})
	if q.Settled {
		from += " AND status <> 'pending'" // exactly as in the indexes of schema.sql
	}
	return from, args
}
