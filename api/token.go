package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func (s *Server) tokenEndpoints() {
	register(s, endpoint{
		id: "list-download-tokens", method: http.MethodGet, path: base + "/projects/{pid}/download-tokens", access: role(engine.RoleAdmin), tag: "Audit",
		summary:     "Read the forensic record of tokens",
		description: "Never a token itself: a digest of 256 random bits reveals nothing about them.",
	}, s.listTokens)
}

func (s *Server) listTokens(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.DownloadToken], error) {
	found, next, err := s.store.Tokens(ctx, k.Project.ID, in.page())
	if err != nil {
		return nil, err
	}
	return listed(found, next, toDownloadToken), nil
}

func toDownloadToken(t engine.TokenRecord) wire.DownloadToken {
	out := wire.DownloadToken{
		Digest: t.Digest, RequestID: t.RequestID, CertificateID: t.CertificateID, Format: t.Format,
		Requester: toRequester(t.Requester), BindIP: t.BindIP, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt,
	}
	if end := t.Settlement; end != nil {
		out.End = &wire.TokenEnd{
			Kind: string(end.Kind), Actor: toActor(end.Actor), IP: end.IP, UserAgent: end.UserAgent, Format: end.Format,
			FileSHA256: end.FileSHA256, FileSize: end.FileSize, Time: end.Time,
		}
	}
	return out
}
