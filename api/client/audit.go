package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// SystemChain is the project id under which a system administrator reads the audit
// chain of everything that belongs to no project.
const SystemChain = "system"

// AuditQuery filters a listing of audit entries; zero members do not filter. From
// is inclusive, To exclusive.
type AuditQuery struct {
	Action        string
	Actor         string
	CertificateID string
	RequestID     string
	From, To      time.Time
	Paging
}

func (q AuditQuery) values() url.Values {
	v := q.Paging.values()
	set(v, "action", q.Action)
	set(v, "actor", q.Actor)
	set(v, "certificate_id", q.CertificateID)
	set(v, "request_id", q.RequestID)
	if !q.From.IsZero() {
		v.Set("from", q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.UTC().Format(time.RFC3339Nano))
	}
	return v
}

// AuditLogs lists audit entries, newest first.
func (c *Client) AuditLogs(ctx context.Context, project string, q AuditQuery) (wire.Page[wire.AuditEntry], error) {
	return call[wire.Page[wire.AuditEntry]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "audit-logs"), query: q.values()})
}

// ExportAudit streams all entries that match, newest first, as "ndjson" or "csv".
// Reading fails if the export is not complete. The caller closes it.
func (c *Client) ExportAudit(ctx context.Context, project string, q AuditQuery, format string) (io.ReadCloser, error) {
	v := q.values()
	v.Set("format", format)
	answer, err := c.do(ctx, request{transfer: true, method: http.MethodGet, path: at("projects", project, "audit-logs"), query: v})
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// VerifyAudit checks a project's audit chain, also against an earlier head unless
// anchor is zero; with sinceAnchor only what follows the server's own anchor.
func (c *Client) VerifyAudit(ctx context.Context, project string, anchor wire.AuditHead, sinceAnchor bool) (wire.AuditVerdict, error) {
	v := url.Values{}
	if sinceAnchor {
		v.Set("since_anchor", "true")
	}
	if anchor.Seq > 0 {
		v.Set("anchor_seq", strconv.FormatInt(anchor.Seq, 10))
		v.Set("anchor_hash", anchor.Hash)
	}
	patient := *c
	patient.within = unbounded // the chain may be long
	return call[wire.AuditVerdict](ctx, &patient, request{method: http.MethodGet, path: at("projects", project, "audit-logs", "verify"), query: v})
}
