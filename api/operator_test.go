package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The public listener says whether the server is ready, and nothing more: neither
// the metrics nor which check, plugin or rule is why.
func TestPublicHealthHasNoDetails(t *testing.T) {
	var down error
	f := newFixture(t, func(_ *fixture, o *api.Options) {
		o.Ready = append(o.Ready, api.Check{Name: "canary-check", Ask: func(context.Context) error { return down }})
	})
	f.do("", "GET", "//metrics", "").problem(404, engine.CodeNotFound)
	members(t, f.do("", "GET", "//readyz", "").is(200).body, "status")
	down = errors.New("canary-driver-text")
	a := f.do("", "GET", "//readyz", "")
	p := a.problem(503, engine.CodeUnavailable)
	if len(p.Fields) > 0 || strings.Contains(string(a.body), "canary") {
		t.Errorf("%s", a.body)
	}
	if p := f.operators("//readyz").problem(503, engine.CodeUnavailable); p.Fields["checks"] == nil || p.Fields["plugins"] == nil {
		t.Errorf("%+v", p)
	}
}

func TestOperatorServer(t *testing.T) {
	f := newFixture(t)
	if h := read[wire.Health](f.operators("//healthz").is(200)); h.Status != "ok" {
		t.Errorf("%+v", h)
	}
	f.operators("//metrics").is(200)
	f.operators("//api/v1/me").is(404)
	for _, name := range []string{"Cache-Control", "X-Content-Type-Options", "Content-Security-Policy"} {
		if f.operators("//metrics").header.Get(name) == "" {
			t.Errorf("the answer has no %s", name)
		}
	}
	// A page of another site whose name leads to 127.0.0.1 reads nothing.
	server := httptest.NewServer(f.server.OperatorServer().Handler)
	defer server.Close()
	for host, status := range map[string]int{"evil.example": 421, "localhost": 200, "127.0.0.1:8081": 200, "[::1]": 200, "192.0.2.1": 421, "a b": 400} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", nil)
		must(t, err)
		req.Host = host
		got, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		must(t, got.Body.Close())
		if got.StatusCode != status {
			t.Errorf("host %q: %d, want %d", host, got.StatusCode, status)
		}
	}
}
