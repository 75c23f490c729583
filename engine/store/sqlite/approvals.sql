-- An approval and, beside it, what it is found by; see schema.sql.
CREATE TABLE approval_requests (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, project TEXT NOT NULL, request TEXT NOT NULL UNIQUE, person TEXT NOT NULL,
  status TEXT NOT NULL, at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_list ON approval_requests (project, at, id);
CREATE INDEX approvals_person ON approval_requests (project, person, at, id);
CREATE INDEX approvals_status ON approval_requests (project, status, at, id);
CREATE INDEX approvals_person_status ON approval_requests (project, person, status, at, id);
