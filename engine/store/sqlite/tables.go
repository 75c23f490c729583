package sqlite

import "github.com/countersign-dev/countersign/engine"

// tables are those of schema.sql, without the audit log, whose columns are compared
// whenever a chain is read (audit.go).
var tables = []checked{
	projects, users, members, formerMembers, apiKeys, sessions, certificates, certificateKeys, events, policies,
	requests, approvals, tokens, settlements, targets, dataKeys,
}

var projects = table[engine.Project]{
	name: "projects", columns: []string{"id", "created_at"}, id: []string{"id"}, project: "projects.id", member: "$.id",
	values: func(p engine.Project, _ ...any) []any { return []any{p.ID, ms(p.CreatedAt)} },
}

var users = table[engine.User]{
	name: "users", columns: []string{"id", "username", "created_at"}, id: []string{"id"},
	values: func(u engine.User, _ ...any) []any { return []any{u.ID, u.Username, ms(u.CreatedAt)} },
}

var members = table[engine.Member]{
	name: "members", columns: []string{"project_id", "user_id", "created_at", "project_created_at"}, id: []string{"project_id", "user_id"},
	project: "project_id", member: "$.project_id",
	beside: []string{"(SELECT created_at FROM projects WHERE projects.id = members.project_id)"},
	values: func(m engine.Member, beside ...any) []any {
		return []any{m.ProjectID, m.UserID, ms(m.CreatedAt), beside[0]}
	},
}

var formerMembers = table[engine.Member]{
	name: "former_members", columns: []string{"project_id", "user_id"}, id: []string{"project_id", "user_id"},
	project: "project_id", member: "$.project_id",
	values: func(m engine.Member, _ ...any) []any { return []any{m.ProjectID, m.UserID} },
}

var apiKeys = table[engine.APIKey]{
	name: "api_keys", columns: []string{"id", "project_id", "secret_digest", "created_at"}, id: []string{"id"},
	project: "project_id", member: "$.project_id",
	values: func(k engine.APIKey, _ ...any) []any {
		return []any{k.ID, k.ProjectID, k.SecretDigest, ms(k.CreatedAt)}
	},
}

var sessions = table[engine.Session]{
	name: "sessions", columns: []string{"id", "expires_at"}, id: []string{"id"},
	values: func(s engine.Session, _ ...any) []any { return []any{s.ID, ms(s.ExpiresAt)} },
}

var certificates = table[engine.Certificate]{
	name: "certificates", columns: []string{"id", "project_id", "created_at", "search_text"}, id: []string{"id"},
	project: "project_id", member: "$.project_id",
	values: func(c engine.Certificate, _ ...any) []any {
		return []any{c.ID, c.ProjectID, ms(c.CreatedAt), c.SearchText()}
	},
}

// A sealed key does not name its certificate. It is under the id of a certificate that
// says it has a private key.
var certificateKeys = table[engine.SealedKey]{
	name: "certificate_keys", columns: []string{"certificate_id"}, id: []string{"certificate_id"},
	project: "(SELECT project_id FROM certificates WHERE id = certificate_id)",
	beside:  []string{"(SELECT id FROM certificates WHERE id = certificate_id AND " + member("$.has_private_key") + ")"},
	values:  func(_ engine.SealedKey, beside ...any) []any { return beside },
}

var events = table[engine.Event]{
	name: "certificate_events", columns: []string{"id", "project_id", "certificate_id", "time", "request_id"}, id: []string{"id"},
	project: "project_id", member: "$.project_id",
	values: func(e engine.Event, _ ...any) []any {
		return []any{e.ID, e.ProjectID, e.CertificateID, ms(e.Time), orNull(e.RequestID)}
	},
}

var policies = table[engine.CertificatePolicy]{
	name: "certificate_policies", columns: []string{"project_id", "version"}, id: []string{"project_id", "version"},
	project: "project_id", member: "$.project_id",
	values: func(p engine.CertificatePolicy, _ ...any) []any { return []any{p.ProjectID, int64(p.Version)} },
}

var requests = table[engine.Request]{
	name:    "download_requests",
	columns: []string{"id", "version", "project_id", "person", "status", "certificate_id", "idempotency_id", "created_at", "ended_at"},
	id:      []string{"id"}, project: "project_id", member: "$.project_id", changing: []string{"version", "status", "ended_at"},
	values: func(r engine.Request, _ ...any) []any {
		var endedAt any
		if r.Status.Ended() {
			endedAt = ms(r.UpdatedAt)
		}
		return []any{
			r.ID, int64(r.Version), r.ProjectID, r.Requester.Person, string(r.Status),
			r.CertificateID, orNull(r.IdempotencyID), ms(r.CreatedAt), endedAt,
		}
	},
}

var approvals = table[engine.Approval]{
	name:    "approval_requests",
	columns: []string{"id", "version", "project_id", "request_id", "person", "status", "created_at"},
	id:      []string{"id"}, project: "project_id", member: "$.project_id", changing: []string{"version", "status"},
	values: func(a engine.Approval, _ ...any) []any {
		return []any{a.ID, int64(a.Version), a.ProjectID, a.RequestID, a.Requester.Person, string(a.Status), ms(a.CreatedAt)}
	},
}

var tokens = table[engine.Token]{
	name: "download_tokens", where: "id NOT LIKE '%/end'", columns: []string{"id", "project_id", "issued_at", "expires_at"}, id: []string{"id"},
	project: "project_id", member: "$.project_id",
	values: func(t engine.Token, _ ...any) []any {
		return []any{t.Digest, t.ProjectID, ms(t.IssuedAt), ms(t.ExpiresAt)}
	},
}

// ofToken selects the token of a settlement.
const ofToken = "FROM download_tokens t WHERE t.id = substr(download_tokens.id, 1, length(download_tokens.id) - length('/end'))"

// A settlement has the expires_at of its token. That of a token which does not exist
// has its own time, so that it is purged too.
var settlements = table[engine.Settlement]{
	name: "download_tokens", where: "id LIKE '%/end'", columns: []string{"id", "project_id", "issued_at", "expires_at"}, id: []string{"id"},
	project: "(SELECT t.project_id " + ofToken + ")", member: "$.project_id",
	beside: []string{"(SELECT t.expires_at " + ofToken + ")"},
	values: func(s engine.Settlement, beside ...any) []any {
		expiresAt := beside[0]
		if expiresAt == nil {
			expiresAt = ms(s.Time)
		}
		return []any{settlementID(s.Digest), nil, nil, expiresAt}
	},
}

var targets = table[engine.NotificationTarget]{
	name: "notification_targets", columns: []string{"id", "project_id", "created_at"}, id: []string{"id"},
	project: "project_id", member: "$.project_id",
	values: func(t engine.NotificationTarget, _ ...any) []any { return []any{t.ID, t.ProjectID, ms(t.CreatedAt)} },
}

// latest_time and max_delay follow from the entry before, too (schema.sql). If that was
// deleted by retention, they may be any that a query by time can rely on: the row's own,
// from which values makes other ones unless time <= latest_time <= time + max_delay.
var entries = table[engine.AuditEntry]{
	name: "audit_logs",
	columns: []string{
		"project_id", "seq", "ref", "hash", "time", "latest_time", "max_delay", "action", "actor_id", "person", "certificate_id", "request_id",
	},
	beside: []string{
		ofEntryBefore("latest_time"), ofEntryBefore("max_delay"),
	},
	values: func(e engine.AuditEntry, beside ...any) []any {
		at := ms(e.Time)
		latest, delay := at, int64(0)
		if before, ok := beside[0].(int64); ok {
			latest = max(before, at)
			before, _ = beside[1].(int64)
			delay = max(before, latest-at)
		}
		return []any{
			e.ProjectID, e.Seq, e.Ref, e.Hash, at, latest, delay, e.Action, e.Actor.ID, e.Actor.Person, orNull(e.CertificateID), orNull(e.RequestID),
		}
	},
}

func ofEntryBefore(column string) string {
	return "coalesce((SELECT b." + column + " FROM audit_logs b WHERE b.project_id = audit_logs.project_id AND b.seq = audit_logs.seq - 1), iif(seq > 1, " + column + ", NULL))"
}

// A data key does not name its id. It opens under no other (package keys).
var dataKeys = table[engine.SealedKey]{
	name: "data_keys", columns: []string{"id"}, beside: []string{"id"}, id: []string{"id"},
	values: func(_ engine.SealedKey, beside ...any) []any { return beside },
}
