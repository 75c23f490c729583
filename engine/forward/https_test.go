package forward

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// Only a status from 200 to 299 acknowledges entries; nothing else about the answer
// matters. A credential is sent, and no error tells it, nor the path.
func TestHTTPSIsAcknowledgedByItsStatus(t *testing.T) {
	const secret = "Splunk 71d2-secret"
	answer := func(http.ResponseWriter) {}
	var got []engine.AuditEntry
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != secret || r.Header.Get("Content-Type") != "application/x-ndjson" || r.URL.Path != "/path-secret" {
			t.Errorf("received %s with %v", r.URL, r.Header)
		}
		got = nil
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			var e engine.AuditEntry
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Error(err)
			}
			got = append(got, e)
		}
		answer(w)
	}))
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	url, err := ParseURL(s.URL + "/path-secret")
	if err != nil {
		t.Fatal(err)
	}
	h := &HTTPS{
		URL: url, Authorization: func() (string, error) { return secret, nil }, Encode: named(t, "json"), MediaType: "application/x-ndjson",
		TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: pool}, nil },
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		taken  bool
	}{
		"200":             {func(http.ResponseWriter) {}, true},
		"204":             {func(w http.ResponseWriter) { w.WriteHeader(204) }, true},
		"200 and garbage": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("\x00garbage", 1000)) }, true},
		"400":             {func(w http.ResponseWriter) { w.WriteHeader(400) }, false},
		"503":             {func(w http.ResponseWriter) { w.WriteHeader(503) }, false},
		"a redirect":      {func(w http.ResponseWriter) { w.Header().Set("Location", s.URL+"/else"); w.WriteHeader(307) }, false},
		"garbage":         {func(w http.ResponseWriter) { hijacked(t, w, "garbage\r\n\r\n") }, false},
		"nothing":         {func(w http.ResponseWriter) { hijacked(t, w, "") }, false},
	} {
		answer = c.answer
		err := h.Receive(t.Context(), entries)
		if (err == nil) != c.taken || !reflect.DeepEqual(got, entries) {
			t.Errorf("%s: received %+v, error %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	if name := h.String(); strings.Contains(name, "secret") {
		t.Errorf("it is named %s", name)
	}
	pool = x509.NewCertPool()
	if err := h.Receive(t.Context(), entries); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a server that nobody trusts: %v", err)
	}
	h.Authorization = func() (string, error) { return "", errors.New("unreadable") }
	if err := h.Receive(t.Context(), entries); err == nil {
		t.Error("entries are sent without the credential")
	}
}

// hijacked writes text in place of an answer.
func hijacked(t *testing.T, w http.ResponseWriter, text string) {
	t.Helper()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func TestURLsOfEndpoints(t *testing.T) {
	for _, text := range []string{"", "http://a.test", "https://", "https://user:secret@a.test", "https://a.test#secret", "ftp://a.test", "https://a.test/%zzsecret", "a.test"} {
		if u, err := ParseURL(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q is %v, %v", text, u, err)
		}
	}
}
