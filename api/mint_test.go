package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestMint(t *testing.T) {
	f := newFixture(t)
	a := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"fullchain.pem","passphrase":""}`,
		"Content-Type", "application/x-www-form-urlencoded").is(http.StatusCreated)
	members(t, a.body, "request_id", "status", "token", "url", "expires_at", "format", "filename")
	m := read[wire.Minted](a)
	if m.Status != "issued" || m.Format != "fullchain" || m.Filename != "fullchain.pem" || len(m.Token) != 43 {
		t.Fatalf("%+v", m)
	}
	if want := f.url + "/api/v1/downloads/" + m.Token.Reveal(); m.URL.Reveal() != want {
		t.Fatal("the URL is not where the file is")
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Fatal("the answer may be cached")
	}
}

func TestMintURL(t *testing.T) {
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.PublicURL = "https://sign.example.com/" })
	a := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`, "X-Forwarded-Host", "evil.example").is(http.StatusCreated)
	if m := read[wire.Minted](a); !strings.HasPrefix(m.URL.Reveal(), "https://sign.example.com/api/v1/downloads/") {
		t.Fatal("the URL is not the public one")
	}
	f = newFixture(t)
	a = f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`,
		"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https").is(http.StatusCreated)
	if m := read[wire.Minted](a); !strings.HasPrefix(m.URL.Reveal(), f.url+"/") {
		t.Fatal("an untrusted peer chose the URL")
	}
}

func TestMintContentTypes(t *testing.T) {
	f := newFixture(t)
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "text/plain", "application/xml", "multipart/form-data; boundary=x", "nonsense", "a/b+c;d+e",
	} {
		f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`, "Content-Type", contentType, "Accept", "text/html").is(http.StatusCreated)
	}
}

func TestMintRefusals(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		certificate, body string
		status            int
		code              engine.Code
	}{
		{"shop", `{"format":"word"}`, 422, engine.CodeUnknownFormat},
		{"shop", `{"format":"cert","options":{"no_such":1}}`, 422, engine.CodeInvalidOptions},
		{"keyless", `{"format":"key"}`, 422, engine.CodeNoPrivateKey},
		{"alone", `{"format":"chain"}`, 422, engine.CodeNoChain},
		{"shop", `{"format":"key"}`, 403, engine.CodeKeyExportDisabled},
		{"shop", `{"format":"pkcs12"}`, 403, engine.CodeKeyExportDisabled}, // the policy's 403 comes before the passphrase's 422
		{"shop", `{"format":"cert","ttl_seconds":301}`, 422, engine.CodeInvalidRequest},
		{"shop", `{"format":"cert","ttl_seconds":0}`, 422, engine.CodeInvalidRequest},
		{"shop", `{"format":"cert","bind_ip":"here"}`, 422, engine.CodeInvalidRequest},
		{"shop", `{"format":"cert","reason":"` + strings.Repeat("x", 2001) + `"}`, 422, engine.CodeInvalidRequest},
	} {
		f.do("operator", "POST", "{c:"+c.certificate+"}/downloads", c.body).problem(c.status, c.code)
	}
	p := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).problem(403, engine.CodeKeyExportDisabled)
	if remedies, ok := p.Fields["remedies"].([]any); !ok || len(remedies) == 0 || p.Title != "key export disabled" || !strings.HasPrefix(p.RequestID, "req_") {
		t.Fatalf("%+v", p)
	}
	p = f.do("operator", "POST", "{c:shop}/downloads", `{"format":"word"}`).problem(422, engine.CodeUnknownFormat)
	if available, ok := p.Fields["available"].([]any); !ok || len(available) != 14 {
		t.Fatalf("%+v", p)
	}
	f.allowKeys(true)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"pkcs12"}`).problem(422, engine.CodePassphraseRequired)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"pkcs12","passphrase":"short"}`).problem(422, engine.CodePassphraseInvalid)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"pkcs12","passphrase":"pässphrase1"}`).problem(422, engine.CodePassphraseInvalid)
}

func TestMintIdempotency(t *testing.T) {
	f := newFixture(t)
	const body = `{"format":"cert","reason":"renewal"}`
	first := read[wire.Minted](f.do("operator", "POST", "{c:shop}/downloads", body, "Idempotency-Key", "k1").is(201))
	again := f.do("operator", "POST", "{c:shop}/downloads", body, "Idempotency-Key", "k1").is(200)
	replayed := read[wire.Replayed](again)
	if !replayed.Replayed || replayed.ID != first.RequestID || replayed.RequestID != first.RequestID || replayed.Status != "issued" {
		t.Fatalf("%+v", replayed)
	}
	if strings.Contains(string(again.body), first.Token.Reveal()) {
		t.Fatal("the token was returned twice")
	}
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"chain"}`, "Idempotency-Key", "k1").problem(409, engine.CodeIdempotencyConflict)
	f.do("operator", "POST", "{c:shop}/downloads", body, "Idempotency-Key", strings.Repeat("k", 256)).problem(422, engine.CodeInvalidRequest)
	if other := f.do("second", "POST", "{c:shop}/downloads", body, "Idempotency-Key", "k1").is(201); read[wire.Minted](other).RequestID == first.RequestID {
		t.Fatal("another person's key names the same request")
	}
}

// The same body under the same key stays the same, whatever the policy has
// become; a wrong passphrase, which is no part of the body, may be corrected.
func TestIdempotencyOutlivesThePolicy(t *testing.T) {
	f := newFixture(t)
	mint := func(key, body string) answer {
		return f.do("operator", "POST", "{c:shop}/downloads", body, "Idempotency-Key", key)
	}
	first := read[wire.Minted](mint("plain", `{"format":"cert","ttl_seconds":200}`).is(201))
	implied := read[wire.Minted](mint("implied", `{"format":"cert"}`).is(201))
	policy := engine.DefaultPolicy(f.project.ID)
	policy.TokenTTLSeconds, policy.AllowKeyExport = 100, true
	_, err := f.admin.SetPolicy(t.Context(), f.caller("admin"), policy, "")
	must(t, err)
	if again := read[wire.Replayed](mint("plain", `{"format":"cert","ttl_seconds":200}`).is(200)); again.ID != first.RequestID {
		t.Errorf("replayed %s, want %s", again.ID, first.RequestID)
	}
	if again := read[wire.Replayed](mint("implied", `{"format":"cert"}`).is(200)); again.ID != implied.RequestID {
		t.Errorf("replayed %s, want %s", again.ID, implied.RequestID)
	}
	mint("bundle", `{"format":"pkcs12"}`).problem(422, engine.CodePassphraseRequired)
	mint("bundle", `{"format":"pkcs12","passphrase":"long enough"}`).is(201)
	mint("bundle", `{"format":"pkcs12","passphrase":"another one"}`).is(200)
}
