package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"slices"
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
		f.do("", "POST", "/downloads", bomb[:15<<10], "Content-Encoding", encoding).problem(415, engine.CodeUnsupportedEncoding)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
		t.Fatalf("%d MiB were allocated", grown>>20)
	}
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "", "Content-Encoding", "gzip").problem(415, engine.CodeUnsupportedEncoding)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}

// Of a caller who is not known, no more than 16 KiB are read: the answer comes
// although the rest of the body does not, and the connection is closed.
func TestBodyOfAStranger(t *testing.T) {
	f := newFixture(t)
	imports := "POST /api/v1" + f.expand("{p}/certificates") + " HTTP/1.1\r\nHost: localhost\r\n"
	chunk := fmt.Sprintf("%x\r\n%s", 16<<10+1, strings.Repeat("x", 16<<10+1))
	for name, c := range map[string]struct {
		head   string
		status int
		code   engine.Code
	}{
		"no credential":       {imports + "Content-Length: 1000000\r\n\r\n", 401, engine.CodeUnauthenticated},
		"no credential, none": {imports + "Content-Length: 16385\r\n\r\n", 401, engine.CodeUnauthenticated},
		"unknown key":         {imports + "Authorization: Bearer x\r\nContent-Length: 1000000\r\n\r\n", 401, engine.CodeUnauthenticated},
		"unknown session":     {imports + "Cookie: countersign_session=x\r\nContent-Length: 1000000\r\n\r\n", 401, engine.CodeUnauthenticated},
		"chunks":              {imports + "Transfer-Encoding: chunked\r\n\r\n" + chunk, 401, engine.CodeUnauthenticated},
		"no endpoint":         {"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 401, engine.CodeUnauthenticated},
		"sign-in":             {"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16385\r\n\r\n", 413, engine.CodeBodyTooLarge},
		"redemption":          {"POST /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16385\r\n\r\n", 413, engine.CodeBodyTooLarge},
		"key, too large": {imports + "Authorization: Bearer " + f.keys["admin"].Reveal() + "\r\nContent-Length: 3000000\r\n\r\n",
			413, engine.CodeBodyTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.raw(c.head)
			a.t = t
			a.problem(c.status, c.code)
			if (c.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("%v", a.header)
			}
		})
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionLoginFailed)); n != 1 {
		t.Errorf("%d failed logins are in the audit log", n)
	}
	large := `{"name":"` + strings.Repeat("x", 20<<10) + `"}`
	f.do("", "POST", "{p}/certificates", large).problem(401, engine.CodeUnauthenticated) // a client that sends it all gets the answer too
	f.do("admin", "POST", "{p}/certificates", large).problem(422, engine.CodeInvalidCertificate)
	f.withPassword("admin")
	f.signIn("admin").do("POST", "{p}/certificates", large).problem(422, engine.CodeInvalidCertificate)
}

// A caller who waits for 100 Continue (RFC 9110, section 10.1.1) gets it only if the
// head alone does not decide the answer. Otherwise the answer is final, comes without
// the body, and is the last one of the connection.
func TestExpectContinue(t *testing.T) {
	f := newFixture(t)
	ask := func(method, path, key string, length int, body string) string {
		head := method + " /api/v1" + f.expand(path) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
		if key != "" {
			head += "Authorization: Bearer " + key + "\r\n"
		}
		if length < 0 {
			return head + "Transfer-Encoding: chunked\r\n\r\n" + body
		}
		return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", length, body)
	}
	operator, viewer := f.keys["operator"].Reveal(), f.keys["viewer"].Reveal()
	const mint, guess = `{"format":"cert"}`, `{"token":"guess"}`
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"nobody":                       {ask("POST", "{c:shop}/downloads", "", len(mint), ""), []int{401}},
		"nobody, in chunks":            {ask("POST", "{c:shop}/downloads", "", -1, ""), []int{401}},
		"nobody, where there is none":  {ask("POST", "/nothing", "", len(mint), ""), []int{401}},
		"an invalid key":               {ask("POST", "{c:shop}/downloads", "csk_wrong", len(mint), ""), []int{401}},
		"an invalid key, and the body": {ask("POST", "{c:shop}/downloads", "csk_wrong", len(mint), mint) + smuggled, []int{401}},
		"nobody, at an open call":      {ask("POST", "/downloads", "", len(guess), guess), []int{100, 404}},
		"nobody, with a large body":    {ask("POST", "/downloads", "", 17<<10, ""), []int{413}},
		"a key":                        {ask("POST", "{c:shop}/downloads", operator, len(mint), mint), []int{100, 201}},
		"a key, in chunks":             {ask("POST", "{c:shop}/downloads", operator, -1, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(mint), mint)), []int{100, 201}},
		"a key without the right":      {ask("POST", "{c:shop}/downloads", viewer, len(mint), mint), []int{100, 403}},
		"a key, with a large body":     {ask("POST", "{c:shop}/downloads", operator, 3<<20, ""), []int{413}},
	} {
		got := []int{}
		for _, a := range f.answers(c.request, false) {
			got = append(got, a.status)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
