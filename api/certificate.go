package api

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type certificatesInput struct {
	Paging
	Query string `query:"q" maxLength:"200" doc:"Words that name, subject, alternative names, serial or fingerprint contain"`
}

type eventsInput struct {
	Paging
	RequestID string `query:"request_id" maxLength:"200" doc:"Only what this request brought about"`
}

type certificateOutput struct{ Body wire.Certificate }

type importInput struct{ Body wire.ImportBody }

type importOutput struct {
	Location string `header:"Location"`
	Body     wire.Certificate
}

func (s *Server) certificateEndpoints() {
	path := base + "/projects/{pid}/certificates"
	e := endpoint{
		id: "list-certificates", method: http.MethodGet, path: path, tag: "Certificates", summary: "List and search certificates",
		access: access{role: engine.RoleViewer},
	}
	register(s, e, s.certificates)
	e.id, e.path, e.summary = "get-certificate", path+"/{cid}", "Read a certificate"
	register(s, e, func(_ context.Context, k *call, _ *struct{}) (*certificateOutput, error) {
		c := toCertificate(k.certificate)
		for _, der := range k.certificate.Chain {
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("read chain: %w", err)
			}
			var above engine.Certificate
			above.SetLeaf(parsed)
			c.Chain = append(c.Chain, wire.ChainCertificate{
				Subject: above.Subject, Issuer: above.Issuer, NotAfter: above.NotAfter, Fingerprint: above.Fingerprint,
			})
		}
		return &certificateOutput{c}, nil
	})
	e.id, e.path, e.summary = "list-events", path+"/{cid}/events", "Read a certificate's timeline"
	e.description = "What happened to the certificate; refusals are in the audit log alone."
	register(s, e, s.events)
	register(s, endpoint{
		id: "import-certificate", method: http.MethodPost, path: path, tag: "Certificates", summary: "Import a certificate",
		description: "As PEM or as PKCS#12. Its chain must lead upwards from it and the key must be its own, or nothing is stored.",
		status:      http.StatusCreated, access: access{role: engine.RoleAdmin},
	}, s.importCertificate)
}

func (s *Server) certificates(ctx context.Context, k *call, in *certificatesInput) (*listing[wire.Certificate], error) {
	found, next, err := s.store.Certificates(ctx, k.Project.ID, strings.ToLower(strings.TrimSpace(in.Query)), in.page())
	if err != nil {
		return nil, err
	}
	return listed(found, next, toCertificate), nil
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
	bundle, err := s.read(in.Body)
	if err != nil {
		return nil, err
	}
	defer clear(bundle.PrivateKey)
	c, err := s.admin.Import(ctx, k.Caller, in.Body.Name, bundle.Leaf, bundle.Chain, bundle.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &importOutput{base + "/projects/" + k.Project.ID + "/certificates/" + c.ID, toCertificate(c)}, nil
}

// read gives the body to the importer of its form. A body of neither form holds
// no certificate, which the PEM importer says.
func (s *Server) read(b wire.ImportBody) (Bundle, error) {
	if b.PKCS12Base64 == "" {
		if b.Passphrase != "" {
			return Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "passphrase goes with pkcs12_base64 only; private_key_pem must not be encrypted")
		}
		return s.options.ImportPEM(b.CertificatePEM, b.ChainPEM, b.PrivateKeyPEM.Reveal())
	}
	if b.CertificatePEM != "" || b.ChainPEM != "" || b.PrivateKeyPEM != "" {
		return Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "send either the PEM members or pkcs12_base64")
	}
	text := strings.Join(strings.Fields(b.PKCS12Base64.Reveal()), "")
	file, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "pkcs12_base64 is not base64")
	}
	defer clear(file)
	return s.options.ImportPKCS12(file, engine.Secret(b.Passphrase))
}

func toCertificate(c engine.Certificate) wire.Certificate {
	return wire.Certificate{
		ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: texts(c.SANs), Issuer: c.Issuer, Serial: c.Serial,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, KeyAlgorithm: c.KeyAlgorithm, HasPrivateKey: c.HasPrivateKey,
		Fingerprint: c.Fingerprint, ChainLength: len(c.Chain),
	}
}
