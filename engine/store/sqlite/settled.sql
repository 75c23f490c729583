-- The approvals that are settled, however many are pending; see approvals.sql.
CREATE INDEX approvals_settled ON approval_requests (project, at, id) WHERE status <> 'pending';
CREATE INDEX approvals_person_settled ON approval_requests (project, person, at, id) WHERE status <> 'pending';
