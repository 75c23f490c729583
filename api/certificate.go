package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certparse"
)

// certificateReader reads certificates and their timelines.
type certificateReader interface {
	Certificate(ctx context.Context, projectID, id string) (engine.Certificate, error)
	Certificates(ctx context.Context, projectID, query string, page engine.Page) ([]engine.Certificate, string, error)
	Events(ctx context.Context, q engine.EventQuery) ([]engine.Event, string, error)
}

type certificatesInput struct {
	Paging
	Query string `query:"q" maxLength:"200" doc:"Words that must be in the name, subject, alternative names, serial or fingerprint"`
}

type eventsInput struct {
	Paging
	RequestID string `query:"request_id" maxLength:"200" doc:"Only the events of this request"`
}

type certificateOutput struct{ Body wire.Certificate }

type importInput struct{ Body wire.ImportBody }

type importOutput struct {
	Location string `header:"Location"`
	Body     wire.Certificate
}

func (s *Server) certificateEndpoints() {
	register(s, endpoint{
		id: "list-certificates", method: http.MethodGet, path: base + "/projects/{pid}/certificates", access: role(engine.RoleViewer), tag: "Certificates",
		summary: "List and search certificates",
	}, s.listCertificates)
	register(s, endpoint{
		id: "get-certificate", method: http.MethodGet, path: base + "/projects/{pid}/certificates/{cid}", access: role(engine.RoleViewer), tag: "Certificates",
		summary: "Read a certificate",
	}, s.getCertificate)
	register(s, endpoint{
		id: "list-events", method: http.MethodGet, path: base + "/projects/{pid}/certificates/{cid}/events", access: role(engine.RoleViewer), tag: "Certificates",
		summary: "Read a certificate's timeline", description: "What happened to the certificate. Refusals are in the audit log only.",
	}, s.events)
	register(s, endpoint{
		id: "import-certificate", method: http.MethodPost, path: base + "/projects/{pid}/certificates", access: role(engine.RoleAdmin), tag: "Certificates",
		summary: "Import a certificate", description: "As PEM or as PKCS#12. Nothing is stored unless the chain leads upwards from the certificate and the key belongs to it.",
		status: http.StatusCreated,
	}, s.importCertificate)
}

func (s *Server) getCertificate(_ context.Context, k *call, _ *struct{}) (*certificateOutput, error) {
	c := toCertificate(k.certificate)
	for _, der := range k.certificate.Chain {
		parsed, err := certparse.Parse(der)
		if err != nil {
			return nil, fmt.Errorf("read chain: %w", err)
		}
		var issuer engine.Certificate
		issuer.SetLeaf(parsed)
		c.Chain = append(c.Chain, wire.ChainCertificate{
			Subject: issuer.Subject, Issuer: issuer.Issuer, NotAfter: issuer.NotAfter, Fingerprint: issuer.Fingerprint,
		})
	}
	return &certificateOutput{c}, nil
}

func (s *Server) listCertificates(ctx context.Context, k *call, in *certificatesInput) (*listing[wire.Certificate], error) {
	found, next, err := s.store.Certificates(ctx, k.Project.ID, strings.ToLower(strings.TrimSpace(in.Query)), in.page())
	if err != nil {
		return nil, err
	}
	return listed(found, next, toListedCertificate), nil
}

func (s *Server) events(ctx context.Context, k *call, in *eventsInput) (*listing[wire.Event], error) {
	found, next, err := s.store.Events(ctx, engine.EventQuery{
		ProjectID: k.Project.ID, CertificateID: k.certificate.ID, RequestID: in.RequestID, Page: in.page(),
	})
	if err != nil {
		return nil, err
	}
	return listed(found, next, func(e engine.Event) wire.Event {
		return wire.Event{
			ID: e.ID, Type: e.Type, Time: e.Time, Actor: toActor(e.Actor), IP: e.IP, Format: e.Format, RequestID: e.RequestID,
		}
	}), nil
}

func (s *Server) importCertificate(ctx context.Context, k *call, in *importInput) (*importOutput, error) {
	if in.Body.PKCS12Base64 != "" {
		if _, busy := s.importing.LoadOrStore(k.User.ID, true); busy {
			return nil, rateLimited(1, "another PKCS#12 file of yours is being read; wait for it")
		}
		defer s.importing.Delete(k.User.ID)
	}
	bundle, err := s.readBundle(in.Body)
	if err != nil {
		return nil, err
	}
	defer clear(bundle.PrivateKey)
	c, err := s.admin.Import(ctx, k.Caller, in.Body.Name, bundle)
	if err != nil {
		return nil, err
	}
	return &importOutput{base + "/projects/" + k.Project.ID + "/certificates/" + c.ID, toCertificate(c)}, nil
}

// readBundle gives the body to the importer of its form. A body of neither form
// goes to the PEM importer, which says that there is no certificate.
func (s *Server) readBundle(b wire.ImportBody) (engine.Bundle, error) {
	if b.PKCS12Base64 == "" {
		if b.Passphrase != "" {
			return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "passphrase is only for pkcs12_base64; decrypt private_key_pem before you send it")
		}
		return s.options.ImportPEM(b.CertificatePEM, b.ChainPEM, b.PrivateKeyPEM.Reveal())
	}
	if b.CertificatePEM != "" || b.ChainPEM != "" || b.PrivateKeyPEM != "" {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "the body has both forms; send either the PEM members or pkcs12_base64")
	}
	text := strings.Join(strings.Fields(b.PKCS12Base64.Reveal()), "")
	file, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "pkcs12_base64 is not valid base64")
	}
	defer clear(file)
	return s.options.ImportPKCS12(file, engine.Secret(b.Passphrase))
}

func toCertificate(c engine.Certificate) wire.Certificate {
	return wire.Certificate{
		ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: texts(c.SANs), Issuer: c.Issuer, Serial: c.Serial,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, KeyAlgorithm: c.KeyAlgorithm, HasPrivateKey: c.HasPrivateKey,
		Fingerprint: c.Fingerprint, ChainLength: len(c.Chain), Warnings: c.Warnings,
	}
}

// toListedCertificate has a summary of what a certificate can have without bound.
func toListedCertificate(c engine.Certificate) wire.Certificate {
	listed := toCertificate(c)
	listed.SANs, listed.SANCount = engine.NamesSummary(c.SANs), len(c.SANs)
	listed.Subject, listed.Issuer, listed.Serial = engine.TextSummary(c.Subject), engine.TextSummary(c.Issuer), engine.TextSummary(c.Serial)
	return listed
}
