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

// auditReader reads the audit chains.
type auditReader interface {
	AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error)
	AuditWaiting(ctx context.Context) (entries int, since time.Time, err error)
}

type auditInput struct {
	Paging
	Seq           int64     `query:"seq" minimum:"1" doc:"Only the entry with this number"`
	Action        string    `query:"action" maxLength:"100" doc:"Only this action, such as cert.downloaded"`
	Actor         string    `query:"actor" maxLength:"200" doc:"Only this actor: the id of a user or an API key"`
	CertificateID string    `query:"certificate_id" maxLength:"200"`
	RequestID     string    `query:"request_id" maxLength:"200"`
	From          time.Time `query:"from" doc:"At or after this time"`
	To            time.Time `query:"to" doc:"Before this time"`
	Format        string    `query:"format" enum:"ndjson,csv" doc:"Export all entries that match, newest first, instead of a page"`
}

// auditOutput is a page or an export.
type auditOutput struct{ Body func(huma.Context) }

// verificationWait is how long a verification waits for the end of another one.
const verificationWait = 5 * time.Second

type verifyInput struct {
	AnchorSeq  int64  `query:"anchor_seq" minimum:"0" doc:"With anchor_hash: a head that you noted earlier and that the chain must still contain"`
	AnchorHash string `query:"anchor_hash" maxLength:"64"`

	SinceAnchor bool `query:"since_anchor" doc:"Check only what follows the head that the server last stored outside the database, and the documents that were written since"`
}

type verifyOutput struct{ Body wire.AuditVerdict }

func (s *Server) auditEndpoints() {
	register(s, endpoint{
		id: "list-audit-logs", method: http.MethodGet, path: base + "/projects/{pid}/audit-logs", access: role(engine.RoleAdmin).orSystemChain(), tag: "Audit",
		summary:     "Read or export the audit log",
		description: "System administrators can read the chain of everything that belongs to no project as project \"system\".",
		responses:   s.auditResponses(),
	}, s.auditLogs)
	register(s, endpoint{
		id: "verify-audit-logs", load: unlimited, method: http.MethodGet, path: base + "/projects/{pid}/audit-logs/verify", access: role(engine.RoleAdmin).orSystemChain(), tag: "Audit",
		summary:     "Check the audit chain, and compare the documents with it",
		description: "System administrators can check the chain of everything that belongs to no project as project \"system\".",
	}, s.verifyAudit)
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
		return nil, engine.Errorf(engine.CodeInvalidRequest, "anchor_seq and anchor_hash belong together; give both or neither")
	}
	select { // a verification reads whole tables
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-time.After(verificationWait):
		return nil, rateLimited(5, "another verification is running; try again when it has ended")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var after engine.AuditHead
	if in.SinceAnchor {
		if in.AnchorSeq > 0 {
			return nil, engine.Errorf(engine.CodeInvalidRequest, "since_anchor and anchor_seq exclude each other; give one of them")
		}
		after, _ = s.options.AnchoredHead(k.Project.ID)
	}
	var v engine.AuditVerification
	var err error
	if after.Seq > 0 {
		v, err = s.options.Verifier.VerifyAfter(ctx, k.Project.ID, after)
	} else {
		v, err = s.options.Verifier.Verify(ctx, k.Project.ID, engine.AuditHead{Seq: in.AnchorSeq, Hash: in.AnchorHash})
	}
	if err != nil {
		return nil, err
	}
	if in.AnchorSeq > 0 && in.AnchorSeq < v.BeginsAt-1 {
		return nil, engine.Errorf(engine.CodeInvalidRequest,
			"the entry %d was deleted, because the chain begins at %d; give a later anchor, or none, and prove the archive that has the entry", in.AnchorSeq, v.BeginsAt)
	}
	verdict := wire.AuditVerdict{
		OK: v.OK, BeginsAt: v.BeginsAt, After: after.Seq, Entries: v.Entries, Head: wire.AuditHead(v.Head), BrokenAt: v.BrokenAt, Problem: v.Problem,
	}
	for _, d := range v.Disagreements {
		verdict.Disagreements = append(verdict.Disagreements, wire.AuditDisagreement(d))
	}
	return &verifyOutput{verdict}, nil
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
