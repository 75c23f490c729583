package api_test

import (
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The address of a caller is the last one that no trusted proxy has, over all lines
// of the header.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct {
		proxies []string
		headers string
		want    string
	}{
		{nil, "X-Forwarded-For: 192.0.2.1", "127.0.0.1"},
		{[]string{"10.0.0.0/8"}, "X-Forwarded-For: 192.0.2.1", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "X-A: b", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 192.0.2.1", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 6.6.6.6, 192.0.2.1", "192.0.2.1"}, // the first is the caller's own claim
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7, 192.0.2.1", "192.0.2.1"},
		{[]string{"127.0.0.1", "10.0.0.0/8"}, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.2.3", "192.0.2.1"},
		{[]string{"127.0.0.1", "10.0.0.0/8"}, "X-Forwarded-For: 6.6.6.6, nonsense, 10.1.2.3", "10.1.2.3"},
		{[]string{"127.0.0.1", "::ffff:10.0.0.0/104"}, "X-Forwarded-For: 192.0.2.1, 10.1.2.3", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 192.0.2.1, , ", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 192.0.2.1:4711", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: ::ffff:192.0.2.1", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: [::ffff:192.0.2.1]:4711", "192.0.2.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: 2001:db8::1", "2001:db8::1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: [2001:db8::1]", "2001:db8::1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: [2001:db8::1]:4711", "2001:db8::1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: [fe80::1%eth0]:4711", "fe80::1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: fe80::1%eth0", "fe80::1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: [2001:db8::1", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "X-Forwarded-For: unknown", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "Forwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1", "127.0.0.1"}, // these are not read
	} {
		f := newFixture(t, func(_ *fixture, o *api.Options) { o.TrustedProxies = c.proxies })
		f.raw("GET /api/v1/downloads/" + unknownToken(1) + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + c.headers + "\r\n\r\n").is(404)
		if got := f.entries(engine.SystemChain, engine.ActionDownloadRefused)[0].IP; got != c.want {
			t.Errorf("%v, %q: %s, want %s", c.proxies, c.headers, got, c.want)
		}
	}
}

// A trailer says nothing about the address.
func TestAddressInATrailer(t *testing.T) {
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.TrustedProxies = []string{"127.0.0.1"} })
	body := `{"token":"` + unknownToken(1) + `"}`
	f.raw("POST /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"37\r\n" + body + "\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n").is(404)
	if got := f.entries(engine.SystemChain, engine.ActionDownloadRefused)[0].IP; got != "192.0.2.1" {
		t.Errorf("the address is %s", got)
	}
}

// A trusted proxy says by which scheme a caller came, and nobody which host it is.
func TestForwardedSchemeAndHost(t *testing.T) {
	for headers, want := range map[string]string{
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example":      "https://localhost/",
		"X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https":             "https://localhost/",
		"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http":             "http://localhost/",
		"X-Forwarded-Proto: https, http":                                  "http://localhost/",
		"X-Forwarded-Proto: javascript\r\nX-Forwarded-Host: evil.example": "http://localhost/",
	} {
		f := newFixture(t, func(_ *fixture, o *api.Options) { o.TrustedProxies = []string{"127.0.0.1"} })
		a := f.raw("POST /api/v1" + f.expand("{c:shop}/downloads") + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + f.keys["operator"].Reveal() +
			"\r\n" + headers + "\r\nContent-Length: 17\r\n\r\n" + `{"format":"cert"}`).is(201)
		if m := read[wire.Minted](a); !strings.HasPrefix(m.URL.Reveal(), want) {
			t.Errorf("%s: the URL does not begin with %s", headers, want)
		}
	}
}

// A request for a host that is not this server is refused before anything else is
// looked at, except by the probes, which name the host as they like.
func TestHost(t *testing.T) {
	for _, c := range []struct {
		publicURL string
		host      string
		status    int
	}{
		{"", "localhost", 401},
		{"", "LOCALHOST:8080", 401},
		{"", "127.0.0.1", 401},
		{"", "[::1]:8080", 401},
		{"", "192.0.2.1:8080", 401},
		{"", "evil.example", 421},
		{"", "127.0.0.1.evil.example", 421},
		{"", "localhost.evil.example:8080", 421},
		{"", "", 400},
		{"", "a b", 400},
		{"", "user@localhost", 400},
		{"", "localhost:80:80", 400},
		{"https://sign.example.com", "sign.example.com", 401},
		{"https://sign.example.com", "Sign.Example.com:443", 401},
		{"https://sign.example.com", "localhost:8080", 401},
		{"https://sign.example.com", "127.0.0.1", 401},
		{"https://sign.example.com", "192.0.2.1", 421},
		{"https://sign.example.com", "evil.example", 421},
		{"https://sign.example.com", "sign.example.com.evil.example", 421},
	} {
		f := newFixture(t, func(_ *fixture, o *api.Options) { o.PublicURL = c.publicURL })
		ask := func(target string) answer {
			return f.raw("GET " + target + " HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: close\r\nX-Forwarded-Host: localhost\r\n\r\n")
		}
		code := map[int]engine.Code{400: "bad_request", 401: engine.CodeUnauthenticated, 421: "misdirected_request"}[c.status]
		if a := ask("/api/v1/me"); a.status != c.status {
			t.Errorf("%q at %q: %d, want %d", c.host, c.publicURL, a.status, c.status)
		} else {
			a.problem(c.status, code)
		}
		if c.status == 421 {
			ask("/").is(421)
			ask("/healthz").is(200)
			ask("http://" + c.host + "/api/v1/me").is(421)
		}
	}
	f := newFixture(t)
	f.raw("GET http://evil.example/api/v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is(421)
}
