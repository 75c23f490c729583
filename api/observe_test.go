package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestNoEndpoint(t *testing.T) {
	f := newFixture(t)
	f.do("", "GET", "/nothing/here", "").problem(404, engine.CodeNotFound)
	f.do("", "GET", "//<script>", "").problem(404, engine.CodeNotFound)
	for _, path := range []string{"//docs", "//schemas/Problem.json", "//openapi.yaml"} {
		f.do("", "GET", path, "").problem(404, engine.CodeNotFound)
	}
	a := f.do("", "PATCH", "/me", "")
	a.problem(405, "method_not_allowed")
	if !strings.Contains(a.header.Get("Allow"), "GET") {
		t.Errorf("Allow: %q", a.header.Get("Allow"))
	}
	f.do("", "PUT", "/downloads/x", "").problem(405, "method_not_allowed")
	f.do("", "BREW", "/me", "").problem(405, "method_not_allowed")
}

// raw sends bytes that no client library would send.
func (f *fixture) raw(text string) answer {
	f.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	must(f.t, err)
	defer func() { _ = conn.Close() }() // read below
	_, err = io.WriteString(conn, text)
	must(f.t, err)
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(f.t, err)
	body, err := io.ReadAll(got.Body)
	must(f.t, err)
	return answer{f.t, got.StatusCode, got.Header, body}
}

func TestBrokenRequests(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		text   string
		status int
		code   engine.Code
	}{
		{"GET /api/v1/me?canary\r\n\r\n", 400, "bad_request"},
		{"GET /api/v1/downloads/canary HTTP/1.1\r\nHost: localhost\r\nbad header canary\r\n\r\n", 400, "bad_request"},
		{"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("canary", 4000) + "\r\n\r\n", 431, "headers_too_large"},
		{"POST /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n", 413, engine.CodeBodyTooLarge},
	} {
		a := f.raw(c.text)
		a.problem(c.status, c.code)
		if strings.Contains(string(a.body), "canary") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	a := f.raw("GET /%zz?%zz=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if a.status != 404 && a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.raw("GET /api/v1/projects?%zz=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").problem(401, engine.CodeUnauthenticated)
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	f := newFixture(t)
	for _, a := range []answer{
		f.do("viewer", "GET", "/me", ""), f.do("", "GET", "/me", ""), f.do("", "GET", "//healthz", ""), f.do("", "GET", "//nothing", ""),
		f.do("", "GET", "//openapi.json", ""),
	} {
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Server": "",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if len(a.header.Get("X-Request-ID")) < 20 {
			t.Errorf("X-Request-ID: %q", a.header.Get("X-Request-ID"))
		}
	}
	if id := f.do("", "GET", "/me", "", "X-Request-ID", "trace-0123456789").problem(401, engine.CodeUnauthenticated).RequestID; id != "trace-0123456789" {
		t.Errorf("request id %q", id)
	}
	for _, id := range []string{"x", "a b c d e f g h", `{"a":"b"}....`, strings.Repeat("x", 65)} {
		if got := f.do("", "GET", "/me", "", "X-Request-ID", id).problem(401, engine.CodeUnauthenticated).RequestID; got == id {
			t.Errorf("request id %q was taken over", id)
		}
	}
}

func TestServerFaults(t *testing.T) {
	f := newFixture(t)
	for fault, want := range map[string]int{"panic": 500, "error": 500, "late": 503} {
		f.faults.apiKey = map[string]func() error{
			"panic": func() error { panic("canary-panic") },
			"error": func() error { return errBroken },
			"late":  func() error { return fmt.Errorf("read the store: %w", context.DeadlineExceeded) },
		}[fault]
		a := f.do("viewer", "GET", "/me", "")
		p := a.problem(want, map[int]engine.Code{500: "internal", 503: engine.CodeUnavailable}[want])
		for _, leak := range []string{"canary", "goroutine", ".go:", "store"} {
			if strings.Contains(string(a.body), leak) {
				t.Errorf("%s: %s", fault, a.body)
			}
		}
		if !strings.Contains(f.log.String(), p.RequestID) {
			t.Errorf("%s: the log does not name %s", fault, p.RequestID)
		}
	}
	if !strings.Contains(f.log.String(), "canary-panic") || !strings.Contains(f.log.String(), errBroken.Error()) {
		t.Error("the log does not say what happened")
	}
	f.faults.apiKey = nil
	f.do("viewer", "GET", "/me", "").is(200)
}

func TestFaultsOfADownload(t *testing.T) {
	f := newFixture(t)
	store := f.faults
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	path := "/downloads/" + m.Token.Reveal()
	whole := f.downloads.Formats
	f.downloads.Formats = brokenFormats{whole}
	f.do("", "GET", path, "").problem(502, engine.CodeRendererFailed)
	f.downloads.Formats = whole
	store.settle = errBroken
	f.do("", "GET", path, "").problem(503, engine.CodeAuditUnavailable)
	f.do("operator", "DELETE", "{p}/requests/"+m.RequestID+"/token", "").problem(503, engine.CodeAuditUnavailable)
	for range 2 {
		if r := f.reported(); r.RequestID != m.RequestID || r.TokenDigest != "" {
			t.Errorf("the workflow is not asked to complete the record: %+v", r)
		}
	}
	store.settle, store.token = nil, errBroken
	f.do("", "GET", path, "").problem(500, "internal")
	store.token, store.append = nil, errBroken
	f.do("viewer", "POST", "{c:shop}/downloads", "{}").problem(403, engine.CodeForbidden) // the refusal holds
	f.do("root", "POST", "/plugins/pem/reload", "").problem(503, engine.CodeAuditUnavailable)
	store.append = nil
	f.do("", "GET", path, "").is(200)
}

func TestMintUnavailable(t *testing.T) {
	f := newFixture(t)
	f.workflows.fail = errBroken
	p := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`).problem(503, engine.CodeUnavailable)
	if !strings.HasPrefix(p.RequestID, "req_") || strings.Contains(p.Detail, errBroken.Error()) {
		t.Fatalf("%+v", p)
	}
}

func TestHealth(t *testing.T) {
	var storeDown error
	f := newFixture(t, func(f *fixture, o *api.Options) {
		o.Ready = append(o.Ready, api.Check{Name: "Temporal", Ask: func(context.Context) error { return storeDown }})
	})
	if h := read[wire.Health](f.do("", "GET", "//healthz", "").is(200)); h.Status != "ok" {
		t.Fatalf("%+v", h)
	}
	r := read[wire.Readiness](f.operators("//readyz").is(200))
	if len(r.Checks) != 2 || !r.Checks[0].OK || len(r.Plugins) != 8 || r.Status != "ready" {
		t.Fatalf("%+v", r)
	}
	storeDown = errors.New("canary-driver-text")
	p := f.operators("//readyz").problem(503, engine.CodeUnavailable)
	if !strings.Contains(p.Detail, "Temporal") || strings.Contains(p.Detail, "store") || strings.Contains(p.Detail, "canary") || p.Fields["plugins"] == nil {
		t.Fatalf("%+v", p)
	}
}

// Rules that cannot be loaded are reported, and the server keeps serving requests.
func TestHealthOfThePolicy(t *testing.T) {
	f := newFixture(t)
	p := read[wire.Readiness](f.operators("//readyz").is(200)).Policy
	if p.Revision != rules.Revision() || p.LoadedAt != nil || p.Problem != "" {
		t.Fatalf("%+v", p)
	}
	status := engine.PolicyStatus{Revision: "0123456789abcdef", LoadedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Problem: "team.rego:3: no"}
	down := errors.New("down")
	f = newFixture(t, func(_ *fixture, o *api.Options) {
		o.PolicyStatus = func() engine.PolicyStatus { return status }
		o.Ready = append(o.Ready, api.Check{Name: "other", Ask: func(context.Context) error { return down }})
	})
	broken := f.operators("//readyz").problem(503, engine.CodeUnavailable)
	if shown, ok := broken.Fields["policy"].(map[string]any); !ok || shown["problem"] != status.Problem {
		t.Fatalf("%+v", broken)
	}
	down = nil
	a := f.operators("//readyz").is(200)
	if p := read[wire.Readiness](a).Policy; p.Revision != status.Revision || !p.LoadedAt.Equal(status.LoadedAt) || p.Problem != status.Problem {
		t.Fatalf("%s", a.body)
	}
}

func TestReadinessShowsOtherNodes(t *testing.T) {
	f := newFixture(t)
	if nodes := read[wire.Readiness](f.operators("//readyz").is(200)).Nodes; nodes == nil || len(nodes) != 0 {
		t.Fatalf("%+v", nodes)
	}
	other := engine.Node{ID: "node_b", Host: "b", SeenAt: f.now(), Settings: map[string]string{"plugins": "not shown"}}
	f.otherNodes = []engine.NodeDifference{{Node: other, Differs: []string{"plugins"}}}
	want := wire.Node{ID: other.ID, Host: other.Host, SeenAt: other.SeenAt, Differs: []string{"plugins"}}
	if nodes := read[wire.Readiness](f.operators("//readyz").is(200)).Nodes; !reflect.DeepEqual(nodes, []wire.Node{want}) {
		t.Fatalf("%+v", nodes)
	}
}

// A check that never answers does not keep the probe waiting for ever.
func TestSilentCheck(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	f := newFixture(t, func(_ *fixture, o *api.Options) {
		o.Ready = []api.Check{{Name: "silent", Ask: func(context.Context) error { <-never; return nil }}}
	})
	if p := f.operators("//readyz").problem(503, engine.CodeUnavailable); !strings.Contains(p.Detail, "silent") {
		t.Fatalf("%+v", p)
	}
}

func TestMetrics(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).is(403)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(410)
	f.do("", "GET", "/no/such/path", "").is(404)
	text := string(f.operators("//metrics").is(200).body)
	for _, want := range []string{
		`countersign_mints_total{outcome="issued"} 1`, `countersign_mints_total{outcome="key_export_disabled"} 1`,
		`countersign_redemptions_total{outcome="consumed"} 1`, `countersign_redemptions_total{outcome="token_consumed"} 1`,
		`countersign_http_requests_total{method="GET",route="/api/v1/downloads/{token}",status="200"} 1`,
		`countersign_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		"countersign_audit_waiting 0\n", "countersign_audit_waiting_seconds 0\n", "countersign_approvals_pending 0\n", "countersign_approvals_pending_seconds 0\n",
		`countersign_http_request_duration_seconds_bucket{method="POST",route="/api/v1/projects/{pid}/certificates/{cid}/downloads"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, m.Token.Reveal()) {
		t.Error("a token is in the metrics")
	}
}

type documented struct {
	Responses  map[string]json.RawMessage
	Parameters []struct{ Name, In string }
}

func TestOpenAPI(t *testing.T) {
	f := newFixture(t)
	a := f.do("", "GET", "//openapi.json", "").is(200)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]documented
		Components struct{ Schemas map[string]json.RawMessage }
	}
	must(t, json.Unmarshal(a.body, &doc))
	checkWebDocument(t, a.body)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || strings.Contains(string(a.body), "$schema") {
		t.Fatalf("version %q", doc.OpenAPI)
	}
	var got []string
	for path, methods := range doc.Paths {
		for method, o := range methods {
			got = append(got, strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/api/v1"))
			if len(o.Responses) < 3 {
				t.Errorf("%s %s documents %d answers", method, path, len(o.Responses))
			}
			left := path
			for _, p := range o.Parameters {
				left = strings.Replace(left, "{"+p.Name+"}", "", 1)
			}
			if strings.Contains(left, "{") {
				t.Errorf("%s %s: a parameter is not documented", method, path)
			}
		}
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(operations)); !slices.Equal(got, want) {
		t.Errorf("documented: %v\nwant: %v", got, want)
	}
	if !strings.Contains(string(doc.Components.Schemas["Problem"]), `"key_export_disabled"`) {
		t.Errorf("%s", doc.Components.Schemas["Problem"])
	}
}

var updateDocument = flag.Bool("update", false, "update the OpenAPI document of the web UI")

// checkWebDocument checks that the UI's client is generated from the current API.
func checkWebDocument(t *testing.T, document []byte) {
	t.Helper()
	const file = "web/openapi.json"
	var indented bytes.Buffer
	must(t, json.Indent(&indented, document, "", " "))
	indented.WriteByte('\n')
	if *updateDocument {
		must(t, os.WriteFile(file, indented.Bytes(), 0o644))
	}
	if stored, err := os.ReadFile(file); err != nil || !bytes.Equal(stored, indented.Bytes()) {
		t.Errorf("%s is not today's API (%v): run go test ./api -run TestOpenAPI -update", file, err)
	}
}

// operations are the endpoints of version 1 that this server has.
var operations = []string{
	"GET /healthz", "GET /readyz", "GET /readyz/redeem", "GET /readyz/mint", "GET /projects/{pid}/stream",
	"POST /projects/{pid}/certificates/{cid}/downloads", "GET /downloads/{token}", "HEAD /downloads/{token}", "POST /downloads",
	"GET /projects/{pid}/requests", "GET /projects/{pid}/requests/{rid}", "POST /projects/{pid}/requests/{rid}/token",
	"POST /projects/{pid}/requests/{rid}/cancel", "DELETE /projects/{pid}/requests/{rid}/token",
	"GET /projects/{pid}/approvals", "GET /projects/{pid}/approvals/{aid}",
	"POST /projects/{pid}/approvals/{aid}/approve", "POST /projects/{pid}/approvals/{aid}/deny",
	"GET /projects", "POST /projects", "GET /projects/{pid}",
	"GET /projects/{pid}/certificates", "GET /projects/{pid}/certificates/{cid}", "GET /projects/{pid}/certificates/{cid}/events",
	"POST /projects/{pid}/certificates",
	"GET /projects/{pid}/certificate-policy", "PUT /projects/{pid}/certificate-policy", "POST /projects/{pid}/certificate-policy/evaluate",
	"GET /projects/{pid}/formats", "GET /projects/{pid}/audit-logs", "GET /projects/{pid}/audit-logs/verify",
	"GET /projects/{pid}/download-tokens",
	"GET /projects/{pid}/notification-targets", "POST /projects/{pid}/notification-targets",
	"DELETE /projects/{pid}/notification-targets/{tid}", "POST /projects/{pid}/notification-targets/{tid}/test",
	"GET /projects/{pid}/api-keys", "POST /projects/{pid}/api-keys", "DELETE /projects/{pid}/api-keys/{kid}",
	"GET /projects/{pid}/members", "PUT /projects/{pid}/members/{uid}", "DELETE /projects/{pid}/members/{uid}",
	"GET /me", "PUT /me/password", "POST /session", "DELETE /session", "DELETE /sessions",
	"GET /users", "POST /users", "PATCH /users/{uid}", "GET /users/{uid}/sessions", "DELETE /users/{uid}/sessions",
	"GET /plugins", "POST /plugins/{name}/reload",
}
