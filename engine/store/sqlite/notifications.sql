-- Where a project sends notifications; see schema.sql.
CREATE TABLE notification_targets (
  id TEXT PRIMARY KEY, project TEXT NOT NULL, at INTEGER NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX notification_targets_list ON notification_targets (project, at, id);
