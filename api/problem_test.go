package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// Every code of the domain, read from its source, and every one that version 1
// promises has a status and a title.
func TestEveryCodeHasAProblem(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../engine/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		if k, ok := kinds[engine.Code(code)]; !ok || k.title == "" {
			t.Errorf("%s has no problem", code)
		}
	}
}

func TestStatusesOfVersion1(t *testing.T) {
	for status, codes := range map[int]string{
		400: "malformed_json", 401: "unauthenticated", 403: "forbidden key_export_disabled self_approval prefetch_refused ip_mismatch",
		404: "not_found token_unknown", 409: "not_pending already_decided not_approved idempotency_conflict",
		410: "token_expired token_consumed token_revoked", 413: "body_too_large", 415: "unsupported_encoding",
		422: "invalid_request invalid_policy comment_required no_chain unknown_format passphrase_required passphrase_invalid invalid_options " +
			"no_private_key invalid_certificate key_mismatch chain_mismatch",
		429: "rate_limited", 502: "renderer_failed", 503: "unavailable audit_unavailable",
	} {
		for _, code := range strings.Fields(codes) {
			if p := problemOf(engine.Errorf(engine.Code(code), "d"), "r"); p.Status != status || p.Code != code || p.Title == "" {
				t.Errorf("%s: %+v", code, p)
			}
		}
	}
	for code, title := range map[engine.Code]string{
		engine.CodeKeyExportDisabled: "key export disabled", engine.CodeTokenExpired: "token expired", engine.CodeTokenConsumed: "token already used",
	} {
		if got := kinds[code].title; got != title {
			t.Errorf("%s: title %q", code, got)
		}
	}
}

func TestProblemOf(t *testing.T) {
	cause := errors.New("canary: driver text")
	for _, c := range []struct {
		err    error
		status int
		code   engine.Code
	}{
		{cause, 500, codeInternal},
		{engine.Errorf("no_such_code", "canary"), 500, codeInternal},
		{fmt.Errorf("canary: %w", engine.Errorf(engine.CodeNoChain, "d").Because(cause)), 422, engine.CodeNoChain},
		{fmt.Errorf("canary: %w", context.DeadlineExceeded), 503, engine.CodeUnavailable},
		{fmt.Errorf("canary: %w", engine.CodeNotFound), 404, engine.CodeNotFound},
	} {
		p := problemOf(c.err, "r1")
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Status != c.status || p.Code != string(c.code) || p.RequestID != "r1" || bytes.Contains(text, []byte("canary")) {
			t.Errorf("%v: %s", c.err, text)
		}
	}
	p := problemOf(engine.Errorf(engine.CodeNoChain, "d").With("request_id", "req_1").With("status", "own").With("remedies", []string{"x"}), "r1")
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"no_chain","detail":"d","remedies":["x"],"request_id":"req_1","status":422,"title":"certificate has no chain","type":"urn:countersign:problem:no_chain"}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	var back wire.Problem
	if err := json.Unmarshal(text, &back); err != nil || back.Code != "no_chain" || len(back.Fields) != 1 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestDisposition(t *testing.T) {
	for name, want := range map[string]string{
		"cert.pem":          `attachment; filename="cert.pem"; filename*=UTF-8''cert.pem`,
		"Schlüssel 1.pem":   `attachment; filename="Schl_ssel 1.pem"; filename*=UTF-8''Schl%C3%BCssel%201.pem`,
		"a\"b\\c\r\nd;.pem": `attachment; filename="a_b_c__d;.pem"; filename*=UTF-8''a%22b%5Cc%0D%0Ad%3B.pem`,
		"../../etc":         `attachment; filename=".._.._etc"; filename*=UTF-8''..%2F..%2Fetc`,
	} {
		if got := disposition(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
	if got := mediaType(&engine.File{MediaType: "text/plain\r\nX: y"}); got != "application/octet-stream" {
		t.Errorf("media type %q", got)
	}
}
