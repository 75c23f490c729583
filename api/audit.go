package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type auditInput struct {
	Paging
	Seq           int64     `query:"seq" minimum:"1" doc:"Only the entry of this number"`
	Action        string    `query:"action" maxLength:"100" doc:"Only this action, such as cert.downloaded"`
	Actor         string    `query:"actor" maxLength:"200" doc:"Only by this actor: id of a user or API key"`
	CertificateID string    `query:"certificate_id" maxLength:"200"`
	RequestID     string    `query:"request_id" maxLength:"200"`
	From          time.Time `query:"from" doc:"Not before this time"`
	To            time.Time `query:"to" doc:"Before this time"`
	Format        string    `query:"format" enum:"ndjson,csv" doc:"Export all that match, newest first, instead of a page"`
}

// auditOutput is a page or an export.
type auditOutput struct{ Body func(huma.Context) }

type verifyInput struct {
	AnchorSeq  int64  `query:"anchor_seq" minimum:"0" doc:"With anchor_hash: a head noted earlier, which the chain must still hold"`
	AnchorHash string `query:"anchor_hash" maxLength:"64"`
}

type verifyOutput struct{ Body wire.AuditVerdict }

func (s *Server) auditEndpoints() {
	e := endpoint{
		id: "list-audit-logs", method: http.MethodGet, path: base + "/projects/{pid}/audit-logs", tag: "Audit",
		summary:     "Read or export the audit log",
		description: "A system administrator may read the chain of what belongs to no project as project \"system\".",
		access:      access{role: engine.RoleAdmin, chain: true},
	}
	e.responses = s.auditResponses()
	register(s, e, s.auditLogs)
	e.id, e.path, e.summary, e.responses = "verify-audit-logs", e.path+"/verify", "Check the audit chain for any change, gap or reordering", nil
	register(s, e, s.verifyAudit)
}

func (s *Server) auditResponses() map[string]*huma.Response {
	content := bodyOf[wire.Page[wire.AuditEntry]](s)
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	content[ndjson.mediaType], content[csvFormat.mediaType] = text, text
	return map[string]*huma.Response{"200": {Description: "A page, or the export", Content: content}}
}

func (s *Server) auditLogs(ctx context.Context, k *call, in *auditInput) (*auditOutput, error) {
	q := engine.AuditQuery{
		ProjectID: k.Project.ID, Seq: in.Seq, Action: in.Action, Actor: in.Actor, CertificateID: in.CertificateID, RequestID: in.RequestID,
		From: in.From, To: in.To, Page: in.page(),
	}
	if in.Format != "" {
		q.Page = engine.Page{Limit: exportPage}
	}
	found, next, err := s.store.AuditEntries(ctx, q)
	if err != nil {
		return nil, err
	}
	if in.Format != "" {
		return &auditOutput{func(hc huma.Context) { s.export(humafiber.Unwrap(hc), k, in.Format, q, found, next) }}, nil
	}
	page := listed(found, next, toAuditEntry).Body
	return &auditOutput{func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		hc.SetStatus(http.StatusOK)
		if err := strictJSON.Marshal(hc.BodyWriter(), page); err != nil {
			panic(err) // entries are text and numbers
		}
	}}, nil
}

func (s *Server) verifyAudit(ctx context.Context, k *call, in *verifyInput) (*verifyOutput, error) {
	if (in.AnchorSeq > 0) != (in.AnchorHash != "") {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "anchor_seq and anchor_hash go together")
	}
	v, err := engine.VerifyAudit(ctx, s.store, k.Project.ID, engine.AuditHead{Seq: in.AnchorSeq, Hash: in.AnchorHash})
	if err != nil {
		return nil, err
	}
	return &verifyOutput{wire.AuditVerdict{
		OK: v.OK, Entries: v.Entries, Head: wire.AuditHead(v.Head), BrokenAt: v.BrokenAt, Problem: v.Problem,
	}}, nil
}

func toAuditEntry(e engine.AuditEntry) wire.AuditEntry {
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	return wire.AuditEntry{
		Seq: e.Seq, Time: e.Time, Action: e.Action, Outcome: e.Outcome, Actor: toActor(e.Actor), IP: e.IP, UserAgent: e.UserAgent,
		CertificateID: e.CertificateID, RequestID: e.RequestID, Format: e.Format, Detail: e.Detail, PrevHash: e.PrevHash, Hash: e.Hash,
	}
}
