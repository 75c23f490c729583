package sqlite

import (
	"context"
	"database/sql"
	"time"

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

// ApprovalsPending implements [engine.Approvals].
func (s *Store) ApprovalsPending(ctx context.Context, limit int) (pending int, since time.Time, err error) {
	const from = "approval_requests WHERE status = 'pending'" // exactly as in the index
	if pending, err = count(ctx, s.reading, limit, from); err != nil || pending == 0 {
		return 0, time.Time{}, err
	}
	first, err := scan(ctx, s.reading, func(rows *sql.Rows) (at int64, err error) { return at, rows.Scan(&at) },
		"SELECT created_at FROM "+from+" ORDER BY created_at LIMIT 1")
	if err != nil || len(first) == 0 { // settled meanwhile
		return 0, time.Time{}, err
	}
	return pending, time.UnixMilli(first[0]).UTC(), nil
}
