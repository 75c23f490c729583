package api_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

func withUI(_ *fixture, o *api.Options) {
	o.UI = fstest.MapFS{
		"index.html":       {Data: []byte(`<meta name="style-nonce" content="COUNTERSIGN_NONCE">`)},
		"assets/app-1.js":  {Data: []byte(strings.Repeat("const a = 1;\n", 1000))},
		"assets/app-1.css": {Data: []byte("a{}")},
		"secret.txt":       {Data: []byte("secret")},
	}
}

func TestUI(t *testing.T) {
	f := newFixture(t, withUI)
	seen := map[string]bool{}
	for _, path := range []string{"//", "//projects/prj_1/certificates/cert_1", "//projects/prj_1/a.b/c"} {
		a := f.do("", "GET", path, "").is(200)
		policy := a.header.Get("Content-Security-Policy")
		nonce := strings.TrimSuffix(strings.TrimPrefix(string(a.body), `<meta name="style-nonce" content="`), `">`)
		if seen[nonce] || len(nonce) < 20 || !strings.Contains(policy, "style-src 'self' 'nonce-"+nonce+"'") {
			t.Errorf("%s: nonce %q in %q", path, nonce, policy)
		}
		seen[nonce] = true
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("the policy lacks %s: %s", part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	for name, kind := range map[string]string{"app-1.js": "text/javascript", "app-1.css": "text/css"} {
		a := f.do("", "GET", "//assets/"+name, "").is(200)
		if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, kind) || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", name, a.header)
		}
	}
	if a := f.do("", "GET", "//assets/app-1.js", "", "Accept-Encoding", "gzip").is(200); a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 1000 {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}
	for _, path := range []string{
		"//assets/none.js", "//assets/", "//assets/..%2fsecret.txt", "//assets/%2e%2e/secret.txt", "//assets/../secret.txt", "//secret.txt",
		"//index.html", "//nowhere", "//api/v1/nowhere",
	} {
		f.do("", "GET", path, "").problem(404, engine.CodeNotFound)
	}
}

// Answers that contain a secret are never compressed: their length would reveal
// something about it.
func TestOnlyAssetsAreCompressed(t *testing.T) {
	f := newFixture(t, withUI)
	for _, path := range []string{"//", "{p}/formats", "/me"} {
		if a := f.do("admin", "GET", path, "", "Accept-Encoding", "gzip, br").is(200); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
}

// A program that was built without the UI serves the API.
func TestWithoutUI(t *testing.T) {
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.UI = fstest.MapFS{".gitkeep": {}} })
	f.do("", "GET", "//", "").problem(404, engine.CodeNotFound)
	f.do("viewer", "GET", "/me", "").is(200)
}
