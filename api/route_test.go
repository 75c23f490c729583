package api_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// document is the OpenAPI document; TestOpenAPI checks that the file is current.
var document = sync.OnceValues(func() (map[string]map[string]documented, error) {
	text, err := os.ReadFile("web/openapi.json")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Paths map[string]map[string]documented
	}
	return doc.Paths, json.Unmarshal(text, &doc)
})

// checkDocumented fails for every answer of an endpoint that the OpenAPI document
// lacks. Each fixture runs it at its end, so that it sees the answers of all tests;
// the metrics have counted them.
func (f *fixture) checkDocumented() {
	paths, err := document()
	must(f.t, err)
	families, err := f.registry.Gather()
	must(f.t, err)
	for _, family := range families {
		if family.GetName() != "countersign_http_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			label := map[string]string{}
			for _, pair := range metric.GetLabel() {
				label[pair.GetName()] = pair.GetValue()
			}
			methods, ok := paths[label["route"]]
			if _, known := methods[strings.ToLower(label["method"])].Responses[label["status"]]; ok && !known {
				f.t.Errorf("%s %s answered %s, which its document lacks", label["method"], label["route"], label["status"])
			}
		}
	}
}

// Every route of Fiber was registered with an explicit access.
func TestEveryRouteDeclaresItsAccess(t *testing.T) {
	f := newFixture(t, withUI)
	parameter := regexp.MustCompile(`\{(\w+)\}`)
	var declared []string
	for _, e := range f.server.Endpoints() {
		declared = append(declared, e.Method+" "+parameter.ReplaceAllString(e.Path, ":$1"))
	}
	if len(declared) < 50 {
		t.Fatalf("only %d endpoints are registered", len(declared))
	}
	for _, route := range f.server.Routes() {
		if !slices.Contains(declared, route) {
			t.Errorf("%s was registered without a declaration of access", route)
		}
	}
}

// Every endpoint is called without a credential, by users without the right, with
// bodies and queries that cannot be parsed, and by an address that has guessed too
// many credentials.
func TestEveryRouteRefuses(t *testing.T) {
	f := newFixture(t)
	f.freeze()
	f.mode(false, engine.ApprovalKeyExport)
	p := f.waits("operator", `{"format":"key"}`)
	f.withPassword("operator")
	b := f.signIn("operator")
	path := strings.NewReplacer("/api/v1", "", "{pid}", f.project.ID, "{cid}", f.certs["shop"].ID, "{rid}", p.RequestID, "{aid}", p.ApprovalID,
		"{token}", "x", "{uid}", "x", "{kid}", "x", "{tid}", "x", "{name}", "x", "/stream", "/stream?last_event_id=x")
	answers := func(e api.Endpoint, as, body string, headers ...string) answer {
		at := path.Replace(e.Path)
		if !strings.HasPrefix(e.Path, "/api/v1") {
			at = "/" + at
		}
		return f.do(as, e.Method, at, body, headers...)
	}
	for _, e := range f.server.Endpoints() {
		name := e.Method + " " + e.Path
		check := func(as string, want int) {
			t.Helper()
			if a := answers(e, as, ""); a.status != want {
				t.Errorf("%s by %q answered %d, want %d", name, as, a.status, want)
			}
		}
		if e.Authenticated {
			check("", 401)
		}
		if e.Role != "" {
			check("outsider", 404)
		}
		if e.Role.Includes(engine.RoleOperator) {
			check("viewer", 403)
		}
		if e.System {
			check("admin", 403)
		}
		if e.Method == "DELETE" && !strings.Contains(e.Path, "{") {
			continue // the next calls would sign out
		}
		for _, as := range []string{"root", "operator", "approver"} {
			answers(e, as, "{")
			answers(e, as, `{"unknown":1}`)
			answers(e, as, `{}`, "Content-Encoding", "gzip")
			f.do(as, e.Method, strings.TrimSuffix(path.Replace(e.Path), "?last_event_id=x")+"?%ff=%ff", "{}")
		}
		answers(e, "root", `"`+strings.Repeat("x", 1<<20)+`"`)
		answers(e, "", "", "Cookie", b.cookie)
	}
	tooManyAttempts(f, func(e api.Endpoint) answer { return answers(e, "Bearer csk_wrong", "") })
}

// tooManyAttempts uses up the attempts of an address and tries every endpoint again.
func tooManyAttempts(f *fixture, call func(api.Endpoint) answer) {
	t := f.t
	for range 61 {
		f.do("Bearer csk_wrong", "GET", "/me", "")
		f.do("", "POST", "/downloads", `{"token":"guess"}`)
		f.do("", "POST", "/session", credentials("nobody", goodPassword))
	}
	for _, e := range f.server.Endpoints() {
		if !e.Authenticated {
			continue
		}
		if a := call(e); a.status != 429 {
			t.Errorf("%s %s answered %d after too many failed logins", e.Method, e.Path, a.status)
		}
	}
	f.do("", "POST", "/session", credentials("operator", goodPassword)).problem(429, engine.CodeRateLimited)
	for _, a := range []answer{f.do("", "GET", "/downloads/x", ""), f.do("", "HEAD", "/downloads/x", ""), f.do("", "POST", "/downloads", `{"token":"x"}`)} {
		if a.status != 429 || a.header.Get("Content-Type") != wire.ProblemMediaType {
			t.Errorf("an unknown token after too many answered %d", a.status)
		}
	}
}
