package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// Approval implements [engine.Approvals].
func (s *Store) Approval(ctx context.Context, projectID, id string) (engine.Approval, error) {
	return get[engine.Approval](ctx, s.reading, "approval_requests WHERE id = ? AND project_id = ?", id, projectID)
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

// putApproval inserts an approval or replaces an older version of it.
func (tx tx) putApproval(a *engine.Approval) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode approval: %w", err)
	}
	_, err = tx.exec(upsertApproval, a.ID, a.Version, a.ProjectID, a.RequestID, a.Requester.Person, string(a.Status), ms(a.CreatedAt), string(text))
	return err
}

const upsertApproval = `INSERT INTO approval_requests (id, version, project_id, request_id, person, status, created_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status, doc = excluded.doc WHERE version < excluded.version`
