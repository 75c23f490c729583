package api_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
)

// newTLSFixture is a server that speaks HTTPS, with a certificate for 127.0.0.1 and
// example.com.
func newTLSFixture(t *testing.T, change ...func(*fixture, *api.Options)) *fixture {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	return newFixture(t, append(change, func(f *fixture, o *api.Options) {
		o.TLS = &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}
		f.transport = &http.Transport{TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig}
	})...)
}

// With TLS, links and cookies are for HTTPS, and browsers are told to use nothing else.
// What a caller says of the scheme changes nothing.
func TestAnswersOverTLS(t *testing.T) {
	f := newTLSFixture(t)
	f.withPassword("operator")
	forged := []string{"X-Forwarded-Proto", "http"}
	a := f.do("", "POST", "/session", credentials("operator", goodPassword), forged...).is(200)
	set := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-countersign_session=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"} {
		if !strings.Contains(set, part) {
			t.Errorf("the cookie lacks %q: %s", part, set)
		}
	}
	b := browser{f, cookieOf(t, a).String(), read[wire.Session](a).CSRFToken.Reveal()}
	if m := read[wire.Minted](b.do("POST", "{c:shop}/downloads", `{"format":"cert"}`, append(forged, "Origin", f.url)...).is(201)); !strings.HasPrefix(m.URL.Reveal(), f.url+"/") {
		t.Errorf("the link is not below %s", f.url)
	}
	for host, want := range map[string]string{"127.0.0.1": "", "localhost": "", "192.0.2.1": "max-age=31536000", "example.com": "max-age=31536000"} {
		for path, status := range map[string]int{"/healthz": 200, "/nowhere": map[bool]int{true: 421, false: 404}[host == "example.com"]} {
			got := f.answers("GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n", false)
			if len(got) != 1 || got[0].status != status || got[0].header.Get("Strict-Transport-Security") != want {
				t.Errorf("%s of %s: %+v", path, host, got)
			}
		}
	}
	if got := newFixture(t).do("", "GET", "//healthz", "").header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("without TLS, a browser is told %s", got)
	}
}

// A proxy that is trusted says by which scheme a caller came to it, also over TLS.
func TestForwardedSchemeOverTLS(t *testing.T) {
	f := newTLSFixture(t, func(_ *fixture, o *api.Options) { o.TrustedProxies = []string{"127.0.0.1"} })
	for proto, want := range map[string]string{"http": "http://", "https": "https://", "": "https://"} {
		a := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`, "X-Forwarded-Proto", proto).is(201)
		if m := read[wire.Minted](a); !strings.HasPrefix(m.URL.Reveal(), want) {
			t.Errorf("%q: the link does not begin with %s", proto, want)
		}
	}
}

// A server that speaks HTTPS has no public URL of HTTP.
func TestPublicURLOverTLS(t *testing.T) {
	f := newFixture(t)
	o := f.options()
	o.TLS, o.PublicURL = &tls.Config{MinVersion: tls.VersionTLS12}, "http://example.com"
	if _, err := api.New(o); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("%v", err)
	}
}

// Pages are redirected to HTTPS. What may carry a credential is refused and said to be
// exposed, and nothing is served.
func TestRedirects(t *testing.T) {
	f := newTLSFixture(t, func(_ *fixture, o *api.Options) { o.PublicURL = "https://sign.example.com" })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- f.server.ServeRedirects(l) }()
	address := "http://" + l.Addr().String()
	for _, c := range []struct {
		method, path string
		header       []string
		location     string // or "" for a refusal
		exposed      bool
	}{
		{"GET", "/", nil, "https://sign.example.com/", false},
		{"HEAD", "/projects/p/requests", nil, "https://sign.example.com/projects/p/requests", false},
		{"GET", "/projects/p?q=x", []string{"Host", "evil.example", "Cookie", "of_another=1"}, "https://sign.example.com/projects/p", false},
		{"GET", "/projects/%0d%0aX:%20y", nil, "https://sign.example.com/projects/%0d%0aX:%20y", false},
		{"GET", "/healthz", nil, "", false},
		{"GET", "/api/v1/me", nil, "", false},
		{"GET", "/api/v1/me", []string{"Authorization", "Bearer " + f.keys["operator"].Reveal()}, "", true},
		{"GET", "/", []string{"Authorization", "Bearer x"}, "", true},
		{"GET", "/", []string{"Cookie", "a=b; countersign_session=x"}, "", true},
		{"GET", "/", []string{"Cookie", "__Host-countersign_session=x"}, "", true},
		{"GET", "/api/v1/downloads/" + unknownToken(1), nil, "", true},
		{"HEAD", "/api/v1/downloads/" + unknownToken(1), nil, "", true},
		{"POST", "/api/v1/session", nil, "", true},
		{"POST", "/", nil, "", true},
		{"DELETE", "/projects/p", nil, "", true},
	} {
		a := f.send(address+c.path, "", c.method, "", c.header...)
		if c.location != "" {
			if got := a.is(308).header.Get("Location"); got != c.location || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: to %s", c.method, c.path, got)
			}
			continue
		}
		if got := a.is(403).header.Get("Location"); got != "" {
			t.Errorf("%s %s: to %s", c.method, c.path, got)
		}
		if c.method != "HEAD" && strings.Contains(a.problem(403, "https_required").Detail, "revoke") != c.exposed {
			t.Errorf("%s %s: %s", c.method, c.path, a.body)
		}
	}
	if strings.Contains(f.log.String(), f.keys["operator"].Reveal()) || strings.Contains(f.log.String(), unknownToken(1)) {
		t.Error("the log has a credential")
	}
	must(t, l.Close())
	must(t, <-ended)
}
