package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/stream"
	"github.com/countersign-dev/countersign/engine"
)

func TestStreamEndsWithRights(t *testing.T) {
	change := func(f *fixture, body string) { f.do("root", "PATCH", "/users/"+f.users["operator"].ID, body).is(200) }
	for name, c := range map[string]struct {
		session bool
		take    func(f *fixture, b browser)
	}{
		"key revoked": {false, func(f *fixture, _ browser) {
			must(f.t, f.admin.RevokeAPIKey(f.t.Context(), f.caller("admin"), f.keyID("operator")))
		}},
		"member removed": {false, func(f *fixture, _ browser) {
			must(f.t, f.admin.RemoveMember(f.t.Context(), f.caller("admin"), f.users["operator"].ID))
		}},
		"role lowered": {false, func(f *fixture, _ browser) {
			_, err := f.admin.SetMember(f.t.Context(), f.caller("admin"), f.users["operator"].ID, engine.RoleViewer)
			must(f.t, err)
		}},
		// The project's audit log does not show these changes; the stream ends at
		// the next event.
		"owner of the key disabled": {false, func(f *fixture, _ browser) { change(f, `{"disabled":true}`); f.download("second") }},
		"disabled":                  {true, func(f *fixture, _ browser) { change(f, `{"disabled":true}`); f.download("second") }},
		"password set":              {true, func(f *fixture, _ browser) { change(f, `{"password":"another good one"}`); f.download("second") }},
		"signed out":                {true, func(f *fixture, b browser) { b.do("DELETE", "/session", "").is(204); f.download("second") }},
		"signed out by an administrator": {true, func(f *fixture, _ browser) {
			f.do("root", "DELETE", "/users/"+f.users["operator"].ID+"/sessions", "").is(204)
			f.download("second")
		}},
		"signed out everywhere": {true, func(f *fixture, b browser) { b.do("DELETE", "/sessions", "").is(204); f.download("second") }},
	} {
		// The heartbeat is too slow to end the stream.
		f := newFixture(t, func(_ *fixture, o *api.Options) {
			o.Stream = stream.Pace{Poll: 5 * time.Millisecond, Heartbeat: time.Hour}
		})
		var b browser
		var headers []string
		if c.session {
			f.withPassword("operator")
			b = f.signIn("operator")
			headers = []string{"Authorization", "", "Cookie", b.cookie}
		}
		r := bufio.NewReader(f.openStream("operator", "", headers...).Body)
		block(t, r)
		f.download("second")
		if text := block(t, r); !strings.Contains(text, "event: cert.downloaded") {
			t.Errorf("%s: before, the stream sent %q", name, text)
		}
		c.take(f, b)
		if text, err := io.ReadAll(r); err != nil || strings.Contains(string(text), "event:") {
			t.Errorf("%s: %v, %q", name, err, text)
		}
	}
	f := newFixture(t, brisk)
	f.keys["brief"] = f.key(f.caller("viewer"), engine.RoleViewer, time.Now().Add(time.Hour))
	r := bufio.NewReader(f.openStream("brief", "").Body)
	block(t, r)
	f.skew.Store(int64(2 * time.Hour))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("key expired: %v", err)
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionLoginFailed)); n != 0 {
		t.Errorf("%d failed logins are in the audit log, and nobody tried", n)
	}
}

func (f *fixture) keyID(of string) string {
	f.t.Helper()
	k, err := f.store.APIKeyBySecret(f.t.Context(), engine.SecretDigest(f.keys[of]))
	must(f.t, err)
	return k.ID
}

func TestStreamEndsWithTheServer(t *testing.T) {
	f := newFixture(t)
	// fasthttp's own looks after its workers for ten seconds more.
	before := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")}
	f.beside(stream.Pace{})
	var bodies []*bufio.Reader
	for _, as := range []string{"viewer", "admin"} {
		bodies = append(bodies, bufio.NewReader(f.openStream(as, "").Body))
		block(t, bodies[len(bodies)-1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, f.server.Shutdown(ctx))
	must(t, ctx.Err()) // no stream had to be interrupted
	for _, r := range bodies {
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
	}
	goleak.VerifyNone(t, before...)
}

func TestStreamsAreBounded(t *testing.T) {
	f := newFixture(t, brisk)
	var last *http.Response
	for range 16 {
		last = f.openStream("viewer", "")
		if block(t, bufio.NewReader(last.Body)); last.StatusCode != 200 {
			t.Fatal(last.Status)
		}
	}
	a := f.do("viewer", "GET", "{p}/stream", "")
	if a.problem(429, engine.CodeRateLimited); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if other := f.openStream("operator", ""); other.StatusCode != 200 {
		t.Error(other.Status)
	}
	must(t, last.Body.Close())
	f.until("a client that went away is noticed", func() bool { return f.openStream("viewer", "").StatusCode == 200 })
}

// until waits for a condition.
func (f *fixture) until(what string, holds func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.t.Fatalf("it never came about that %s", what)
		}
	}
}

func TestStuckClientIsDisconnected(t *testing.T) {
	f := newFixture(t)
	before := f.head()
	f.beside(stream.Pace{Poll: 5 * time.Millisecond, SendTimeout: 300 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	must(t, err)
	defer func() { _ = conn.Close() }()
	must(t, conn.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err = fmt.Fprintf(conn, "GET /api/v1%s/stream?last_event_id=%s HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: stuck-client\r\nAuthorization: Bearer %s\r\n\r\n",
		f.expand("{p}"), before, f.keys["viewer"].Reveal())
	must(t, err)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	const n = 200
	for i := range n {
		e := f.caller("operator").Entry(time.Now(), engine.ActionCertificateDownloaded)
		e.RequestID, e.CertificateID, e.Format = m.RequestID, f.certs["shop"].ID, strings.Repeat("x", 200)
		must(t, f.store.Append(t.Context(), e))
		if i == n/2 {
			if events := follow(f, f.source("viewer"), before, n/2); len(events) != n/2 {
				t.Fatalf("the other client got %d events", len(events))
			}
		}
	}
	f.until("the stuck client is cut off", func() bool { return ended(f.log.String(), "stuck-client") })
	if events := follow(f, f.source("viewer"), before, n); len(events) != n {
		t.Fatalf("the other client got %d events", len(events))
	}
	text, _ := io.ReadAll(conn) // as far as it goes
	if got := strings.Count(string(text), "event: "); got >= n {
		t.Fatalf("it had all %d events", got)
	}
}

// ended reports whether the log has the end of a request's stream.
func ended(log, requestID string) bool {
	for line := range strings.Lines(log) {
		var record struct {
			Msg       string `json:"msg"`
			RequestID string `json:"request_id"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "stream ended" && record.RequestID == requestID {
			return true
		}
	}
	return false
}
