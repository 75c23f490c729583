package api_test

import (
	"bytes"
	"compress/gzip"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

func TestMalformedJSON(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{
		``, `{`, `format=cert`, `{"format":"cert"} {}`, `{"format":"cert"}x`, `{"format":"cert",}`, "\ufeff{}",
		`{"format":"cert","format":"key"}`, `{"format":"cert","options":{"a":1,"a":2}}`, `{"format":"cert","options":{"x":[{"a":1,"a":2}]}}`,
		"{\"format\":\"\xff\"}", strings.Repeat("[", 20_000),
	} {
		f.do("operator", "POST", "{c:shop}/downloads", body).problem(400, engine.CodeMalformedJSON)
	}
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert","options":{}, "reason":"a"}`).is(201)
}

func TestInvalidRequest(t *testing.T) {
	f := newFixture(t)
	for body, detail := range map[string]string{
		`{}`:                                     "format",
		`[]`:                                     "object",
		`null`:                                   "object",
		`"x"`:                                    "object",
		`{"format":""}`:                          "format",
		`{"format":1}`:                           "format",
		`{"format":"cert","Passphrase":"x"}`:     "Passphrase",
		`{"format":"cert","FORMAT":"key"}`:       "FORMAT",
		`{"format":"cert","nope":"canary-v"}`:    "nope",
		`{"format":"cert","ttl_seconds":"x"}`:    "ttl_seconds",
		`{"format":"cert","ttl_seconds":1.5}`:    "ttl_seconds",
		`{"format":"cert","ttl_seconds":1e99}`:   "",
		`{"format":"cert","options":"canary-v"}`: "options",
		`{"format":"cert","passphrase":["canary-v"]}`:                   "passphrase",
		`{"format":"cert","` + strings.Repeat("long", 5000) + `":1}`:    "long",
		`{"format":"cert","passphrase":12345678,"reason":["canary-v"]}`: "reason",
	} {
		p := f.do("operator", "POST", "{c:shop}/downloads", body).problem(422, engine.CodeInvalidRequest)
		if !strings.Contains(p.Detail, detail) || strings.Contains(p.Detail, "canary-v") || strings.Contains(p.Detail, "12345678") || len(p.Detail) > 1100 {
			t.Errorf("%.80s: detail %q", body, p.Detail)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "cursor=@@", "status=lost", "q=%ff", "%ff=1"} {
		f.do("operator", "GET", "{p}/requests?"+query, "").problem(422, engine.CodeInvalidRequest)
	}
	for _, query := range []string{"from=yesterday", "format=xml", "limit=-1"} {
		f.do("admin", "GET", "{p}/audit-logs?"+query, "").problem(422, engine.CodeInvalidRequest)
	}
}

func TestBodyTooLarge(t *testing.T) {
	f := newFixture(t)
	body := func(size int) string {
		const frame = `{"format":"cert","passphrase":""}`
		return `{"format":"cert","passphrase":"` + strings.Repeat("x", size-len(frame)) + `"}`
	}
	f.do("operator", "POST", "{c:shop}/downloads", body(1<<20)).is(201)
	f.do("operator", "POST", "{c:shop}/downloads", body(1<<20+1)).problem(413, engine.CodeBodyTooLarge)
	f.do("viewer", "POST", "{c:shop}/downloads", body(1<<20+1)).problem(403, engine.CodeForbidden)
}

// A compressed body is refused before anything inflates it.
func TestGzipBomb(t *testing.T) {
	f := newFixture(t)
	var member bytes.Buffer
	w, err := gzip.NewWriterLevel(&member, gzip.BestCompression)
	must(t, err)
	_, err = w.Write(make([]byte, 1<<20))
	must(t, err)
	must(t, w.Close())
	bomb := strings.Repeat(member.String(), 256) // a file is any number of members (RFC 1952, 2.2)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "identity", "x"} {
		f.do("operator", "POST", "{c:shop}/downloads", bomb, "Content-Encoding", encoding).problem(415, engine.CodeUnsupportedEncoding)
		f.do("", "POST", "/downloads", bomb, "Content-Encoding", encoding).problem(415, engine.CodeUnsupportedEncoding)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
		t.Fatalf("%d MiB were allocated", grown>>20)
	}
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "Content-Encoding", "gzip").problem(415, engine.CodeUnsupportedEncoding)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}
