package api_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// answer is an HTTP answer, read whole.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// do sends a request as a person ("" for nobody, "Bearer …" for a key as it is).
// A path begins below /api/v1 with "/", or anywhere with "//".
func (f *fixture) do(as, method, path, body string, headers ...string) answer {
	f.t.Helper()
	address := f.url + "/api/v1" + f.expand(path)
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		address = f.url + "/" + rest
	}
	return f.send(address, as, method, body, headers...)
}

// send is do with a whole address.
func (f *fixture) send(address, as, method, body string, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, address, strings.NewReader(body))
	must(f.t, err)
	req.Header.Set("User-Agent", "countersign-test")
	switch {
	case strings.HasPrefix(as, "Bearer "):
		req.Header.Set("Authorization", as)
	case as != "":
		req.Header.Set("Authorization", "Bearer "+f.keys[as].Reveal())
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	got, err := f.transport.RoundTrip(req)
	must(f.t, err)
	defer func() { _ = got.Body.Close() }() // read below, or the test fails
	text, err := io.ReadAll(got.Body)
	must(f.t, err)
	return answer{f.t, got.StatusCode, got.Header, text}
}

// operators asks the server for operators; a path begins with "//".
func (f *fixture) operators(path string, headers ...string) answer {
	f.t.Helper()
	server := httptest.NewServer(f.server.OperatorServer().Handler)
	defer server.Close()
	return f.send(server.URL+strings.TrimPrefix(path, "/"), "", "GET", "", headers...)
}

// expand writes out {p}, the project, and {c:name}, one of its certificates.
func (f *fixture) expand(path string) string {
	path = strings.ReplaceAll(path, "{p}", "/projects/"+f.project.ID)
	for name, c := range f.certs {
		path = strings.ReplaceAll(path, "{c:"+name+"}", "/projects/"+f.project.ID+"/certificates/"+c.ID)
	}
	return path
}

func (a answer) is(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// problem checks that the answer is a whole problem document of this kind.
func (a answer) problem(status int, code engine.Code) *wire.Problem {
	a.t.Helper()
	a.is(status)
	if got := a.header.Get("Content-Type"); got != wire.ProblemMediaType {
		a.t.Fatalf("content type %q of %s", got, a.body)
	}
	p := &wire.Problem{}
	must(a.t, json.Unmarshal(a.body, p))
	if p.Code != string(code) || p.Status != status || p.Title == "" || p.RequestID == "" || p.Type != "urn:countersign:problem:"+p.Code {
		a.t.Fatalf("want code %s in %s", code, a.body)
	}
	return p
}

// read decodes a JSON answer, which must have no member that T has not.
func read[T any](a answer) T {
	a.t.Helper()
	var out T
	d := json.NewDecoder(strings.NewReader(string(a.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		a.t.Fatalf("%v in %s", err, a.body)
	}
	return out
}

// members checks which members a JSON object has.
func members(t *testing.T, object []byte, want ...string) {
	t.Helper()
	var all map[string]json.RawMessage
	must(t, json.Unmarshal(object, &all))
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("members %v, want %v", got, want)
	}
}

// mint asks for a download that must be issued.
func (f *fixture) mint(as, certificate, body string) wire.Minted {
	f.t.Helper()
	return read[wire.Minted](f.do(as, "POST", "{c:"+certificate+"}/downloads", body).is(http.StatusCreated))
}

// entries are the audit entries of a chain, newest first.
func (f *fixture) entries(chain, action string) []engine.AuditEntry {
	f.t.Helper()
	found, _, err := f.store.AuditEntries(f.t.Context(), engine.AuditQuery{ProjectID: chain, Action: action, Page: engine.Page{Limit: 200}})
	must(f.t, err)
	return found
}
