package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

var readinessPaths = []string{"//readyz", "//readyz/redeem", "//readyz/mint"}

// Tokens can be redeemed without the services that only workflows need.
func TestReadinessToRedeemAndToMint(t *testing.T) {
	var store, temporal error
	f := newFixture(t, func(_ *fixture, o *api.Options) {
		o.Ready = []api.Check{
			{Name: "store", Ask: func(context.Context) error { return store }},
			{Name: "temporal", NotToRedeem: true, Ask: func(context.Context) error { return temporal }},
		}
	})
	for _, c := range []struct {
		store, temporal error
		ready           []string
	}{
		{nil, nil, readinessPaths},
		{nil, errBroken, []string{"//readyz/redeem"}},
		{errBroken, nil, nil},
	} {
		store, temporal = c.store, c.temporal
		for _, path := range readinessPaths {
			if slices.Contains(c.ready, path) {
				members(t, f.do("", "GET", path, "").is(200).body, "status")
				f.operators(path).is(200)
				continue
			}
			if p := f.do("", "GET", path, "").problem(503, engine.CodeUnavailable); len(p.Fields) > 0 {
				t.Errorf("%s says %v to everybody", path, p.Fields)
			}
			if p := f.operators(path).problem(503, engine.CodeUnavailable); p.Fields["checks"] == nil {
				t.Errorf("%s says %v to operators", path, p.Fields)
			}
		}
	}
	if r := read[wire.Readiness](restored(&store, &temporal, f)); len(r.Checks) != 1 || r.Checks[0].Name != "store" {
		t.Errorf("%+v", r)
	}
}

func restored(store, temporal *error, f *fixture) answer {
	*store, *temporal = nil, nil
	return f.operators("//readyz/redeem").is(200)
}

// While a server drains, it is not ready, serves every call, on connections that were
// open before and on new ones, and ends each connection with its answer.
func TestDrain(t *testing.T) {
	f := newFixture(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	get := func(path string, reused bool) (status int, closed bool) {
		t.Helper()
		var used httptrace.GotConnInfo
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { used = c }})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+path, nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+f.keys["operator"].Reveal())
		got, err := client.Do(r)
		must(t, err)
		_, err = io.Copy(io.Discard, got.Body)
		must(t, errors.Join(err, got.Body.Close()))
		if used.Reused != reused {
			t.Errorf("%s: the connection was used before: %v", path, used.Reused)
		}
		return got.StatusCode, got.Close
	}
	if status, closed := get("/readyz", false); status != 200 || closed {
		t.Fatalf("before: %d, closed %v", status, closed)
	}
	tokens := []string{}
	for range 2 {
		tokens = append(tokens, f.mint("operator", "shop", `{"format":"cert"}`).Token.Reveal())
	}
	f.server.Drain()
	// The first uses the connection that is open.
	for i, path := range []string{"/api/v1/downloads/" + tokens[0], "/api/v1/downloads/" + tokens[1], "/api/v1/me", "/healthz", "/no/such/page"} {
		want := 200
		if strings.HasPrefix(path, "/no") {
			want = 404
		}
		if status, closed := get(path, i == 0); status != want || !closed {
			t.Errorf("%s: %d, closed %v", path, status, closed)
		}
	}
	for _, path := range readinessPaths {
		f.do("", "GET", path, "").problem(503, engine.CodeUnavailable)
		if p := f.operators(path).problem(503, engine.CodeUnavailable); !strings.Contains(p.Detail, "drain") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
	f.mint("operator", "shop", `{"format":"cert"}`)
}
