package api_test

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestPolicy(t *testing.T) {
	f := newFixture(t)
	a := f.do("viewer", "GET", "{p}/certificate-policy", "").is(200)
	const initial = `{"allow_key_export":false,"approval":{"mode":"off","required_approvals":1,"ttl_seconds":86400,"claim_window_seconds":86400},` +
		`"token_ttl_seconds":300,"min_passphrase_length":8,"allow_legacy_encryption":true}`
	if got := strings.TrimSpace(string(a.body)); got != initial {
		t.Fatalf("%s", got)
	}
	etag := a.header.Get("ETag")
	changed := strings.Replace(initial, `"allow_key_export":false`, `"allow_key_export":true`, 1)
	b := f.do("admin", "PUT", "{p}/certificate-policy", changed, "If-Match", etag).is(200)
	if !read[wire.Policy](b).AllowKeyExport || b.header.Get("ETag") == etag {
		t.Fatalf("%s, ETag %s", b.body, b.header.Get("ETag"))
	}
	f.do("admin", "PUT", "{p}/certificate-policy", changed, "If-Match", etag).problem(412, engine.CodePreconditionFailed)
	f.do("admin", "PUT", "{p}/certificate-policy", changed).is(200)
	for from, to := range map[string]string{
		`"required_approvals":1`:    `"required_approvals":0`,
		`"mode":"off"`:              `"mode":"some"`,
		`"ttl_seconds":86400`:       `"ttl_seconds":2592001`,
		`"token_ttl_seconds":300`:   `"token_ttl_seconds":3601`,
		`"min_passphrase_length":8`: `"min_passphrase_length":0`,
	} {
		f.do("admin", "PUT", "{p}/certificate-policy", strings.Replace(initial, from, to, 1)).problem(422, engine.CodeInvalidPolicy)
	}
	f.do("admin", "PUT", "{p}/certificate-policy", `{"allow_key_export":true}`).problem(422, engine.CodeInvalidRequest)
	f.do("admin", "PUT", "{p}/certificate-policy", strings.Replace(initial, `"token_ttl_seconds":300`, `"token_ttl_seconds":"5m"`, 1)).
		problem(422, engine.CodeInvalidRequest)
	if entries := f.entries(f.project.ID, engine.ActionPolicyUpdated); len(entries) != 2 {
		t.Fatalf("%d changes are in the audit log", len(entries))
	}
}

func TestEvaluate(t *testing.T) {
	f := newFixture(t)
	before := len(f.entries(f.project.ID, ""))
	ask := func(certificate, more string) answer {
		return f.do("operator", "POST", "{p}/certificate-policy/evaluate", `{"certificate_id":"`+f.certs[certificate].ID+`",`+more+`}`)
	}
	a := ask("shop", `"format":"cert"`).is(200)
	members(t, a.body, "outcome", "code", "explanation", "remedies", "required_approvals", "policy_revision", "rules")
	if v := read[wire.Verdict](a); v.Outcome != "allow" || v.Code != "" || v.PolicyRevision == "" ||
		len(v.Rules) != 1 || v.Rules[0].Kind != "allow" || v.Rules[0].Why != v.Explanation[0] {
		t.Fatalf("%+v", v)
	}
	if v := read[wire.Verdict](ask("shop", `"format":"bundle.pkcs12","options":{"legacy":true}`).is(200)); v.Outcome != "deny" ||
		v.Code != "key_export_disabled" || len(v.Explanation) == 0 || len(v.Remedies) == 0 ||
		len(v.Rules) != 1 || v.Rules[0].Code != v.Code || len(v.Rules[0].Remedies) != len(v.Remedies) {
		t.Fatalf("%+v", v)
	}
	ask("none", `"format":"cert"`).problem(404, engine.CodeNotFound)
	ask("shop", `"format":"word"`).problem(422, engine.CodeUnknownFormat)
	ask("shop", `"format":"cert","options":{"x":1}`).problem(422, engine.CodeInvalidOptions)
	ask("keyless", `"format":"key"`).problem(422, engine.CodeNoPrivateKey)
	ask("alone", `"format":"chain"`).problem(422, engine.CodeNoChain)
	if after := len(f.entries(f.project.ID, "")); after != before {
		t.Fatalf("%d entries were written", after-before)
	}
	f.mode(false, engine.ApprovalKeyExport)
	if v := read[wire.Verdict](ask("shop", `"format":"key"`).is(200)); v.Outcome != "approval" || v.RequiredApprovals != 2 ||
		len(v.Remedies) != 2 || len(v.Rules) != 1 || len(v.Rules[0].Remedies) != 2 {
		t.Fatalf("%+v", v)
	}
}
