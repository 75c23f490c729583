package api_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func body(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

func TestCertificates(t *testing.T) {
	f := newFixture(t)
	page := read[wire.Page[wire.Certificate]](f.do("viewer", "GET", "{p}/certificates", "").is(200))
	if len(page.Items) != 3 {
		t.Fatalf("%+v", page)
	}
	page = read[wire.Page[wire.Certificate]](f.do("viewer", "GET", "{p}/certificates?q=SHOP.Example", "").is(200))
	if len(page.Items) != 1 || page.Items[0].ID != f.certs["shop"].ID {
		t.Fatalf("%+v", page)
	}
	a := f.do("viewer", "GET", "{c:shop}", "").is(200)
	members(t, a.body, "id", "name", "subject", "sans", "issuer", "serial", "not_before", "not_after", "key_algorithm",
		"has_private_key", "fingerprint_sha256", "chain_length", "chain")
	c := read[wire.Certificate](a)
	if c.KeyAlgorithm != "ECDSA-P256" || !c.HasPrivateKey || c.ChainLength != 1 || c.SANs[0] != "shop.example.com" {
		t.Fatalf("%+v", c)
	}
	if len(c.Chain) != 1 || c.Chain[0].Subject != c.Issuer || len(c.Chain[0].Fingerprint) != 64 || page.Items[0].Chain != nil {
		t.Fatalf("%+v", c.Chain)
	}
	f.do("viewer", "GET", "{p}/certificates/none", "").problem(404, engine.CodeNotFound)
}

func TestTimeline(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).is(403)
	page := read[wire.Page[wire.Event]](f.do("viewer", "GET", "{c:shop}/events", "").is(200))
	if len(page.Items) != 2 || page.Items[0].Type != "cert.downloaded" || page.Items[1].Type != "cert.imported" {
		t.Fatalf("%+v", page)
	}
	if e := page.Items[0]; e.Format != "cert" || e.RequestID != m.RequestID || e.Actor.Type != "api_key" || e.IP != "127.0.0.1" {
		t.Fatalf("%+v", e)
	}
	for request, want := range map[string]int{m.RequestID: 1, "req_none": 0} {
		page := read[wire.Page[wire.Event]](f.do("viewer", "GET", "{c:shop}/events?request_id="+request, "").is(200))
		if len(page.Items) != want || want == 1 && page.Items[0].RequestID != request {
			t.Errorf("of %s: %+v", request, page)
		}
	}
	page = read[wire.Page[wire.Event]](f.do("viewer", "GET", "{c:shop}/events?limit=1", "").is(200))
	if len(page.Items) != 1 || page.NextCursor == nil {
		t.Fatalf("%+v", page)
	}
}

func TestImport(t *testing.T) {
	f := newFixture(t)
	id := leaf("new.example.com")
	a := f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{
		"name": "new", "certificate_pem": id.certPEM(), "chain_pem": pki().issuer.certPEM() + pki().root.certPEM(), "private_key_pem": id.keyPEM(),
	})).is(201)
	c := read[wire.Certificate](a)
	if !c.HasPrivateKey || c.ChainLength != 1 || c.Name != "new" || strings.Contains(string(a.body), "PRIVATE") {
		t.Fatalf("%s", a.body)
	}
	if got := f.do("viewer", "GET", strings.TrimPrefix(a.header.Get("Location"), "/api/v1"), "").is(200); read[wire.Certificate](got).ID != c.ID {
		t.Fatalf("%s", got.body)
	}
	pfx, err := pkcs12.Modern.Encode(id.key, id.cert, []*x509.Certificate{pki().issuer.cert}, "open sesame")
	must(t, err)
	text := base64.StdEncoding.EncodeToString(pfx)
	a = f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{
		"name": "again", "pkcs12_base64": text[:76] + "\n" + text[76:], "passphrase": "open sesame",
	})).is(201)
	if again := read[wire.Certificate](a); again.Fingerprint != c.Fingerprint || !again.HasPrivateKey {
		t.Fatalf("%s", a.body)
	}
}

func TestImportRefusals(t *testing.T) {
	f := newFixture(t)
	id, other := leaf("bad.example.com"), leaf("other.example.com")
	stray := issue(nil, "Stray Authority", true)
	pfx, err := pkcs12.Modern.Encode(id.key, id.cert, nil, "canary-passphrase")
	must(t, err)
	junk := make([]byte, 200)
	_, _ = rand.Read(junk) // never fails
	for name, c := range map[string]struct {
		members map[string]string
		code    engine.Code
	}{
		"nothing":            {map[string]string{"name": "x"}, engine.CodeInvalidCertificate},
		"no name":            {map[string]string{"name": " ", "certificate_pem": id.certPEM()}, engine.CodeInvalidRequest},
		"name missing":       {map[string]string{"certificate_pem": id.certPEM()}, engine.CodeInvalidRequest},
		"garbage":            {map[string]string{"name": "x", "certificate_pem": "garbage"}, engine.CodeInvalidCertificate},
		"another's key":      {map[string]string{"name": "x", "certificate_pem": id.certPEM(), "private_key_pem": other.keyPEM()}, engine.CodeKeyMismatch},
		"another's chain":    {map[string]string{"name": "x", "certificate_pem": id.certPEM(), "chain_pem": issue(stray, "Stray Issuer", true).certPEM()}, engine.CodeChainMismatch},
		"both forms":         {map[string]string{"name": "x", "certificate_pem": id.certPEM(), "pkcs12_base64": "AAAA"}, engine.CodeInvalidRequest},
		"not base64":         {map[string]string{"name": "x", "pkcs12_base64": "?"}, engine.CodeInvalidRequest},
		"not PKCS#12":        {map[string]string{"name": "x", "pkcs12_base64": base64.StdEncoding.EncodeToString(junk)}, engine.CodeInvalidCertificate},
		"wrong passphrase":   {map[string]string{"name": "x", "pkcs12_base64": base64.StdEncoding.EncodeToString(pfx), "passphrase": "canary-wrong"}, engine.CodeInvalidCertificate},
		"passphrase and PEM": {map[string]string{"name": "x", "certificate_pem": id.certPEM(), "passphrase": "canary-p"}, engine.CodeInvalidRequest},
	} {
		a := f.do("admin", "POST", "{p}/certificates", body(t, c.members))
		if a.status != 422 || !strings.Contains(string(a.body), `"`+string(c.code)+`"`) || strings.Contains(string(a.body), "canary") {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, c.code)
		}
	}
	if page := read[wire.Page[wire.Certificate]](f.do("viewer", "GET", "{p}/certificates", "").is(200)); len(page.Items) != 3 {
		t.Fatal("a refused import was stored")
	}
}

func TestFormats(t *testing.T) {
	f := newFixture(t)
	a := f.do("viewer", "GET", "{p}/formats", "").is(200)
	page := read[wire.Page[wire.Format]](a)
	byID := map[string]wire.Format{}
	for _, format := range page.Items {
		byID[format.ID] = format
		if format.Plugin.Name == "" || len(format.Plugin.SHA256) != 64 || format.Plugin.State == "" || !json.Valid(format.OptionsSchema) || format.Description == "" {
			t.Errorf("%+v", format)
		}
	}
	for id, filename := range map[string]string{
		"cert": "cert.pem", "chain": "chain.pem", "fullchain": "fullchain.pem", "key": "key.pem", "pkcs12": "bundle.pkcs12", "zip": "bundle.zip",
		"haproxy": "haproxy.pem", "jks": "keystore.jks", "jks-truststore": "truststore.jks", "p7b": "bundle.p7b", "der": "cert.der",
		"der-key": "key.der", "pkcs8-encrypted": "key.enc.pem", "k8s-secret": "tls-secret.yaml",
	} {
		if byID[id].Filename != filename {
			t.Errorf("%s is %q", id, byID[id].Filename)
		}
	}
	if !byID["zip"].ContainsKey || !byID["zip"].NeedsPassphrase || byID["chain"].ContainsKey || len(page.Items) != 14 || page.NextCursor != nil {
		t.Errorf("%s", a.body)
	}
	var shape struct {
		Items []json.RawMessage `json:"items"`
	}
	must(t, json.Unmarshal(a.body, &shape))
	members(t, shape.Items[0], "id", "filename", "aliases", "media_type", "contains_key", "needs_passphrase", "description",
		"typical_use", "options_schema", "targets", "plugin")
	bundle, older, newer := byID["pkcs12"], wire.FormatTarget{}, wire.FormatTarget{}
	for _, target := range bundle.Targets {
		switch target.ID {
		case "windows-server-2016":
			older = target
		case "windows-server-2022":
			newer = target
		}
	}
	if older.Options["legacy"] != true || newer.Options == nil || len(newer.Options) != 0 || newer.Title == "" || !strings.Contains(newer.ImportCommand, "{file}") {
		t.Errorf("got %+v, %+v", older, newer)
	}
	first := read[wire.Page[wire.Format]](f.do("viewer", "GET", "{p}/formats?limit=9", "").is(200))
	rest := read[wire.Page[wire.Format]](f.do("viewer", "GET", "{p}/formats?limit=9&cursor="+*first.NextCursor, "").is(200))
	if len(first.Items) != 9 || len(rest.Items) != 5 || rest.NextCursor != nil || first.Items[8].ID == rest.Items[0].ID {
		t.Fatalf("%+v, %+v", first, rest)
	}
	f.do("viewer", "GET", "{p}/formats?cursor=x!", "").problem(422, engine.CodeInvalidRequest)
}
