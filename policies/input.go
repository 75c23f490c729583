package policies

import (
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

// toValue is the input in its JSON form. Every member is present and nil lists and
// maps are empty, so that no rule finds an undefined member. It is built directly,
// because encoding the input and decoding it again costs half of an evaluation.
func toValue(in engine.PolicyInput) (ast.Value, error) {
	options, err := ast.InterfaceToValue(in.Options)
	if err != nil {
		return nil, fmt.Errorf("convert options for the policy: %w", err)
	}
	passphrase := ast.NullTerm()
	if p := in.Passphrase; p != nil {
		passphrase = object(
			member("length", ast.InternedTerm(p.Length)),
			member("printable", ast.InternedTerm(p.Printable)),
		)
	}
	return object(
		member("action", ast.StringTerm(in.Action)),
		member("actor", object(append(actor(in.Actor.Actor), member("role", ast.StringTerm(string(in.Actor.Role))))...)),
		member("project", object(
			member("id", ast.StringTerm(in.Project.ID)),
			member("name", ast.StringTerm(in.Project.Name)),
		)),
		member("certificate", certificate(in.Certificate)),
		member("format", object(
			member("id", ast.StringTerm(in.Format.ID)),
			member("contains_key", ast.InternedTerm(in.Format.ContainsKey)),
			member("needs_passphrase", ast.InternedTerm(in.Format.NeedsPassphrase)),
		)),
		member("options", ast.NewTerm(options)),
		member("passphrase", passphrase),
		member("policy", policy(in.Policy)),
		member("reason", ast.StringTerm(in.Reason)),
		member("ttl_seconds", ast.InternedTerm(in.TTLSeconds)),
		member("bind_ip", ast.StringTerm(in.BindIP)),
		member("approvals", ast.InternedTerm(in.Approvals)),
		member("time", timestamp(in.Time)),
	).Value, nil
}

func actor(a engine.Actor) [][2]*ast.Term {
	return [][2]*ast.Term{
		member("type", ast.StringTerm(a.Type)),
		member("id", ast.StringTerm(a.ID)),
		member("name", ast.StringTerm(a.Name)),
		member("person", ast.StringTerm(a.Person)),
		member("username", ast.StringTerm(a.Username)),
	}
}

func certificate(c engine.PolicyCertificate) *ast.Term {
	sans := make([]*ast.Term, len(c.SANs))
	for i, name := range c.SANs {
		sans[i] = ast.StringTerm(name)
	}
	return object(
		member("id", ast.StringTerm(c.ID)),
		member("name", ast.StringTerm(c.Name)),
		member("subject", ast.StringTerm(c.Subject)),
		member("sans", ast.ArrayTerm(sans...)),
		member("issuer", ast.StringTerm(c.Issuer)),
		member("key_algorithm", ast.StringTerm(c.KeyAlgorithm)),
		member("has_private_key", ast.InternedTerm(c.HasPrivateKey)),
		member("fingerprint_sha256", ast.StringTerm(c.Fingerprint)),
		member("not_after", timestamp(c.NotAfter)),
	)
}

func policy(p engine.CertificatePolicy) *ast.Term {
	return object(
		member("project_id", ast.StringTerm(p.ProjectID)),
		member("version", ast.InternedTerm(p.Version)),
		member("allow_key_export", ast.InternedTerm(p.AllowKeyExport)),
		member("approval", object(
			member("mode", ast.StringTerm(string(p.Approval.Mode))),
			member("required_approvals", ast.InternedTerm(p.Approval.RequiredApprovals)),
			member("ttl_seconds", ast.InternedTerm(p.Approval.TTLSeconds)),
			member("claim_window_seconds", ast.InternedTerm(p.Approval.ClaimWindowSeconds)),
		)),
		member("token_ttl_seconds", ast.InternedTerm(p.TokenTTLSeconds)),
		member("min_passphrase_length", ast.InternedTerm(p.MinPassphraseLength)),
		member("allow_legacy_encryption", ast.InternedTerm(p.AllowLegacyEncryption)),
		member("updated_by", object(actor(p.UpdatedBy)...)),
		member("created_at", timestamp(p.UpdatedAt)),
	)
}

func object(members ...[2]*ast.Term) *ast.Term { return ast.ObjectTerm(members...) }

func member(name string, value *ast.Term) [2]*ast.Term {
	return [2]*ast.Term{ast.InternedTerm(name), value}
}

func timestamp(t time.Time) *ast.Term { return ast.StringTerm(t.Format(time.RFC3339Nano)) }
