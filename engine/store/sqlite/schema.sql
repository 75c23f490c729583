-- Every table holds documents as JSON (doc) and beside them what they are found
-- by. Times (at, expires, ended) are milliseconds since 1970; a listing is
-- ordered by (at, id), descending. NULL keeps a row out of a partial index.

CREATE TABLE projects (
  id TEXT PRIMARY KEY, at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX projects_list ON projects (at, id);

CREATE TABLE users (
  id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX users_list ON users (at, id);

-- id is the user's; project_at is the project's at, for the list of somebody's
-- projects.
CREATE TABLE members (
  project TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, project_at INTEGER NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project, id)
) STRICT;
CREATE INDEX members_list ON members (project, at, id);
CREATE INDEX members_projects ON members (id, project_at, project);
CREATE VIEW member_projects AS
  SELECT m.id AS member, m.project_at AS at, m.project AS id, p.doc AS doc
  FROM members m CROSS JOIN projects p ON p.id = m.project;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY, project TEXT NOT NULL, secret TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX api_keys_list ON api_keys (project, at, id);

CREATE TABLE certificates (
  id TEXT PRIMARY KEY, project TEXT NOT NULL, at INTEGER NOT NULL, search TEXT NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX certificates_list ON certificates (project, at, id);

CREATE TABLE certificate_keys (
  id TEXT PRIMARY KEY, doc TEXT NOT NULL
) STRICT;

-- An event comes with an audit entry, whose ref keeps both from coming twice.
CREATE TABLE certificate_events (
  project TEXT NOT NULL, certificate TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project, certificate, at, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificate_policies (
  project TEXT NOT NULL, version INTEGER NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY (project, version)
) STRICT;

-- ended is when the request was last changed, once it has ended.
CREATE TABLE download_requests (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, project TEXT NOT NULL, person TEXT NOT NULL, status TEXT NOT NULL,
  certificate TEXT NOT NULL, idempotency TEXT, at INTEGER NOT NULL, ended INTEGER, doc TEXT NOT NULL
) STRICT;
CREATE INDEX requests_list ON download_requests (project, at, id);
CREATE INDEX requests_person ON download_requests (project, person, at, id);
CREATE INDEX requests_status ON download_requests (project, status, at, id);
CREATE INDEX requests_certificate ON download_requests (project, certificate, at, id);
CREATE INDEX requests_person_status ON download_requests (project, person, status, at, id);
CREATE INDEX requests_certificate_status ON download_requests (project, certificate, status, at, id);
CREATE INDEX requests_certificate_person ON download_requests (project, certificate, person, at, id);
CREATE INDEX requests_certificate_person_status ON download_requests (project, certificate, person, status, at, id);
CREATE INDEX requests_idempotency ON download_requests (idempotency, at, id) WHERE idempotency IS NOT NULL;
CREATE INDEX requests_ended ON download_requests (ended, id) WHERE ended IS NOT NULL;

-- A token as issued (id is its digest) and how it ended (id is the digest and
-- "/end", with no project and the token's expires). Only settled ones are purged.
CREATE TABLE download_tokens (
  id TEXT PRIMARY KEY, project TEXT, at INTEGER, expires INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX tokens_list ON download_tokens (project, at, id) WHERE project IS NOT NULL;
CREATE INDEX tokens_ended ON download_tokens (expires, id) WHERE project IS NULL;
CREATE VIEW token_records AS
  SELECT t.id AS id, t.project AS project, t.at AS at, json_set(t.doc, '$.End', json(e.doc)) AS doc
  FROM download_tokens t LEFT JOIN download_tokens e ON e.id = t.id || '/end'
  WHERE t.project IS NOT NULL;

-- Entries come almost in the order of their times. high is the latest time up to
-- an entry, lag the most by which any entry up to it came late. Both only grow
-- along a chain, so that they tell which part of it may be of a given time; an
-- index on every 32nd entry, its milestones, is enough for that.
CREATE TABLE audit_logs (
  project TEXT NOT NULL, seq INTEGER NOT NULL, ref TEXT NOT NULL UNIQUE, hash TEXT NOT NULL,
  at INTEGER NOT NULL, high INTEGER NOT NULL, lag INTEGER NOT NULL,
  action TEXT NOT NULL, actor TEXT NOT NULL, person TEXT NOT NULL, certificate TEXT, request TEXT, doc TEXT NOT NULL,
  PRIMARY KEY (project, seq)
) STRICT;
CREATE INDEX audit_milestones ON audit_logs (project, high, seq) WHERE seq % 32 = 0;
CREATE INDEX audit_action ON audit_logs (project, action, seq);
CREATE INDEX audit_actor ON audit_logs (project, actor, seq);
CREATE INDEX audit_person ON audit_logs (project, person, seq) WHERE person <> actor;
CREATE INDEX audit_certificate ON audit_logs (project, certificate, seq) WHERE certificate IS NOT NULL;
CREATE INDEX audit_request ON audit_logs (project, request, seq) WHERE request IS NOT NULL;

CREATE TABLE data_keys (
  id TEXT PRIMARY KEY, doc TEXT NOT NULL
) STRICT;
