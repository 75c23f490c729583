-- Each table holds documents as JSON (doc). The other columns repeat the members
-- by which a document is found or sorted. Columns of time hold milliseconds since
-- 1970. A listing is sorted by a time, then by an id, both descending. NULL keeps
-- a row out of a partial index.

CREATE TABLE projects (
  id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX projects_list ON projects (created_at, id);

CREATE TABLE users (
  id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX users_list ON users (created_at, id);

-- project_created_at repeats the project's created_at, so that an index can sort
-- the projects of one member.
CREATE TABLE members (
  project_id TEXT NOT NULL, user_id TEXT NOT NULL, created_at INTEGER NOT NULL, project_created_at INTEGER NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project_id, user_id)
) STRICT;
CREATE INDEX members_list ON members (project_id, created_at, user_id);
CREATE INDEX members_projects ON members (user_id, project_created_at, project_id);
CREATE VIEW member_projects AS
  SELECT m.user_id AS user_id, m.project_created_at AS created_at, m.project_id AS id, p.doc AS doc
  FROM members m CROSS JOIN projects p ON p.id = m.project_id;

-- The latest former membership of people who were removed from a project.
CREATE TABLE former_members (
  project_id TEXT NOT NULL, user_id TEXT NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project_id, user_id)
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY, project_id TEXT NOT NULL, secret_digest TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX api_keys_list ON api_keys (project_id, created_at, id);

-- The id of a session is the digest of its secret.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_expired ON sessions (expires_at, id);

CREATE TABLE certificates (
  id TEXT PRIMARY KEY, project_id TEXT NOT NULL, created_at INTEGER NOT NULL, search_text TEXT NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX certificates_list ON certificates (project_id, created_at, id);

CREATE TABLE certificate_keys (
  certificate_id TEXT PRIMARY KEY, doc TEXT NOT NULL
) STRICT;

-- An event is written with an audit entry, whose ref prevents that either is
-- written twice.
CREATE TABLE certificate_events (
  project_id TEXT NOT NULL, certificate_id TEXT NOT NULL, time INTEGER NOT NULL, id TEXT NOT NULL, request_id TEXT, doc TEXT NOT NULL,
  PRIMARY KEY (project_id, certificate_id, time, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_request ON certificate_events (project_id, certificate_id, request_id, time, id) WHERE request_id IS NOT NULL;

CREATE TABLE certificate_policies (
  project_id TEXT NOT NULL, version INTEGER NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project_id, version)
) STRICT;

-- person is the user id of the requester. ended_at is NULL until the request has
-- ended, then the time of its last change.
CREATE TABLE download_requests (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, project_id TEXT NOT NULL, person TEXT NOT NULL, status TEXT NOT NULL,
  certificate_id TEXT NOT NULL, idempotency_id TEXT, created_at INTEGER NOT NULL, ended_at INTEGER, doc TEXT NOT NULL
) STRICT;
CREATE INDEX requests_list ON download_requests (project_id, created_at, id);
CREATE INDEX requests_person ON download_requests (project_id, person, created_at, id);
CREATE INDEX requests_status ON download_requests (project_id, status, created_at, id);
CREATE INDEX requests_certificate ON download_requests (project_id, certificate_id, created_at, id);
CREATE INDEX requests_person_status ON download_requests (project_id, person, status, created_at, id);
CREATE INDEX requests_certificate_status ON download_requests (project_id, certificate_id, status, created_at, id);
CREATE INDEX requests_certificate_person ON download_requests (project_id, certificate_id, person, created_at, id);
CREATE INDEX requests_certificate_person_status ON download_requests (project_id, certificate_id, person, status, created_at, id);
CREATE INDEX requests_idempotency ON download_requests (idempotency_id, created_at, id) WHERE idempotency_id IS NOT NULL;
CREATE INDEX requests_ended ON download_requests (ended_at, id) WHERE ended_at IS NOT NULL;

-- person is the user id of the requester.
CREATE TABLE approval_requests (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, project_id TEXT NOT NULL, request_id TEXT NOT NULL UNIQUE, person TEXT NOT NULL,
  status TEXT NOT NULL, created_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_list ON approval_requests (project_id, created_at, id);
CREATE INDEX approvals_person ON approval_requests (project_id, person, created_at, id);
CREATE INDEX approvals_status ON approval_requests (project_id, status, created_at, id);
CREATE INDEX approvals_person_status ON approval_requests (project_id, person, status, created_at, id);
CREATE INDEX approvals_settled ON approval_requests (project_id, created_at, id) WHERE status <> 'pending';
CREATE INDEX approvals_person_settled ON approval_requests (project_id, person, created_at, id) WHERE status <> 'pending';

-- A token has up to two rows: the token as issued, whose id is the token's digest,
-- and its settlement, whose id is the digest and "/end". A settlement has no
-- project_id and no issued_at; its expires_at is the token's.
CREATE TABLE download_tokens (
  id TEXT PRIMARY KEY, project_id TEXT, issued_at INTEGER, expires_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX tokens_list ON download_tokens (project_id, issued_at, id) WHERE project_id IS NOT NULL;
CREATE INDEX tokens_settled ON download_tokens (expires_at, id) WHERE project_id IS NULL;
CREATE VIEW token_records AS
  SELECT t.id AS id, t.project_id AS project_id, t.issued_at AS issued_at, json_set(t.doc, '$.settlement', json(s.doc)) AS doc
  FROM download_tokens t LEFT JOIN download_tokens s ON s.id = t.id || '/end'
  WHERE t.project_id IS NOT NULL;

CREATE TABLE notification_targets (
  id TEXT PRIMARY KEY, project_id TEXT NOT NULL, created_at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX notification_targets_list ON notification_targets (project_id, created_at, id);

-- The entries of a chain are almost sorted by time. latest_time is the latest time
-- of any entry up to this one; max_delay is the largest difference, up to this
-- entry, between latest_time and an entry's own time. Both only grow along a chain,
-- so that they tell which part of the chain can hold entries of a given time. An
-- index on every 32nd entry is enough for that.
CREATE TABLE audit_logs (
  project_id TEXT NOT NULL, seq INTEGER NOT NULL, ref TEXT NOT NULL UNIQUE, hash TEXT NOT NULL,
  time INTEGER NOT NULL, latest_time INTEGER NOT NULL, max_delay INTEGER NOT NULL,
  action TEXT NOT NULL, actor_id TEXT NOT NULL, person TEXT NOT NULL, certificate_id TEXT, request_id TEXT, doc TEXT NOT NULL,
  PRIMARY KEY (project_id, seq)
) STRICT;
CREATE INDEX audit_time ON audit_logs (project_id, latest_time, seq) WHERE seq % 32 = 0;
CREATE INDEX audit_action ON audit_logs (project_id, action, seq);
CREATE INDEX audit_actor_id ON audit_logs (project_id, actor_id, seq);
CREATE INDEX audit_person ON audit_logs (project_id, person, seq) WHERE person <> actor_id;
CREATE INDEX audit_certificate_id ON audit_logs (project_id, certificate_id, seq) WHERE certificate_id IS NOT NULL;
CREATE INDEX audit_request_id ON audit_logs (project_id, request_id, seq) WHERE request_id IS NOT NULL;

CREATE TABLE data_keys (
  id TEXT PRIMARY KEY, doc TEXT NOT NULL
) STRICT;
