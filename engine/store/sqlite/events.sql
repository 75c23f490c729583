-- What a request brought about on its certificate's timeline; see schema.sql.
ALTER TABLE certificate_events ADD COLUMN request TEXT AS (nullif(json_extract(doc, '$.request_id'), ''));
CREATE INDEX events_request ON certificate_events (project, certificate, request, at, id) WHERE request IS NOT NULL;
