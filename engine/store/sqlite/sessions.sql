-- Who is signed in; see schema.sql. The id is the digest of the session's secret.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, expires INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_purge ON sessions (expires, id);
