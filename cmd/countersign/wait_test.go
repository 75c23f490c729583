package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// approvalServer answers a download that waits for approval. It has a list of answers
// for each kind of call, and repeats the last one. An answer is the status of a
// request, or a failure.
type approvalServer struct {
	answers   map[string][]string
	expiresAt time.Time
	mu        sync.Mutex
	calls     map[string]int
}

func newApprovalServer(t *testing.T, expiresAt time.Time, answers map[string][]string) (*approvalServer, string) {
	t.Helper()
	before := pollInterval
	pollInterval = 5 * time.Millisecond
	t.Cleanup(func() { pollInterval = before })
	m := &approvalServer{answers: answers, expiresAt: expiresAt, calls: map[string]int{}}
	mux := http.NewServeMux()
	for pattern, kind := range map[string]string{
		"GET /api/v1/projects/p/requests/req_1": "request", "GET /api/v1/projects/p/approvals/apr_1": "approval", "GET /api/v1/projects/p/members": "members",
		"POST /api/v1/projects/p/requests/req_1/token": "claim", "POST /api/v1/downloads": "file",
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { m.answer(w, kind) })
	}
	// The calls before the wait.
	mux.HandleFunc("GET /api/v1/projects/p/certificates/c", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"id":"c"}`) })
	mux.HandleFunc("GET /api/v1/projects/p/formats", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"items":[{"id":"cert","filename":"cert.pem"}],"next_cursor":null}`)
	})
	mux.HandleFunc("POST /api/v1/projects/p/certificates/c/downloads", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, `{"request_id":"req_1","approval_id":"apr_1","approval_expires_at":%q}`, expiresAt.Format(time.RFC3339))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return m, server.URL
}

func (m *approvalServer) answer(w http.ResponseWriter, kind string) {
	m.mu.Lock()
	n := min(m.calls[kind], len(m.answers[kind])-1)
	m.calls[kind]++
	m.mu.Unlock()
	said := "well"
	if n >= 0 {
		said = m.answers[kind][n]
	}
	switch said {
	case "failing":
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, `{"code":"unavailable","title":"not now"}`) // the client finds out, here and below
	case "proxy":
		http.Error(w, "<html>", http.StatusBadGateway)
	case "busy":
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprint(w, `{"code":"rate_limited","title":"not so fast"}`)
	case "refused":
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"code":"forbidden","title":"not you"}`)
	case "broken":
		panic(http.ErrAbortHandler) // the connection ends
	default:
		m.well(w, kind, said)
	}
}

func (m *approvalServer) count(kind string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[kind]
}

func (m *approvalServer) well(w http.ResponseWriter, kind, status string) {
	switch kind {
	case "request":
		_, _ = fmt.Fprintf(w, `{"id":"req_1","status":%q,"approval_id":"apr_1"}`, status)
	case "approval":
		_, _ = fmt.Fprintf(w, `{"id":"apr_1","required_approvals":2,"expires_at":%q}`, m.expiresAt.Format(time.RFC3339))
	case "members":
		_, _ = fmt.Fprint(w, `{"items":[{"user_id":"u","username":"carol","role":"approver"}],"next_cursor":null}`)
	case "claim":
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprint(w, `{"request_id":"req_1","status":"issued","token":"t","format":"cert"}`)
	case "file":
		sendFile(w, "the content", 11)
	}
}

const toGoOn = "countersign download --request req_1 --wait"

// A wait of days continues after a restart of the server. If it ends with an error,
// it says how to continue.
func TestWaitingOutlivesFailures(t *testing.T) {
	later, over := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	const pending = "pending_approval"
	for name, c := range map[string]struct {
		expiresAt time.Time
		answers   map[string][]string
		exit      int
		hint      bool
	}{
		"every failure passes": {later, map[string][]string{
			"request":  {"failing", "broken", pending, "proxy", pending, "busy", pending, "approved"},
			"approval": {"failing", "well", "broken"}, "members": {"failing"},
		}, 0, false},
		"down until expiry":  {over, map[string][]string{"request": {"broken"}}, exitUnreachable, true},
		"failing to expiry":  {over, map[string][]string{"request": {pending, "failing"}}, exitUnreachable, true},
		"no longer allowed":  {later, map[string][]string{"request": {pending, "refused"}}, exitRefused, true},
		"claim fails":        {later, map[string][]string{"request": {"approved"}, "claim": {"failing"}}, exitUnreachable, true},
		"claim breaks off":   {later, map[string][]string{"request": {"approved"}, "claim": {"broken"}}, exitUnreachable, true},
		"fetch fails":        {later, map[string][]string{"request": {"approved"}, "file": {"failing"}}, exitUnreachable, true},
		"denied":             {later, map[string][]string{"request": {pending, "denied"}}, exitFailed, false},
		"denied, names fail": {later, map[string][]string{"request": {pending, "denied"}, "members": {"proxy"}}, exitFailed, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, url := newApprovalServer(t, c.expiresAt, c.answers)
			out, err, left := inFolder(t, url, "download", "--certificate", "c", "--format", "cert", "--wait")
			code := 0
			if err != nil {
				code = exitCode(err)
			}
			if code != c.exit || strings.Contains(out, toGoOn) != c.hint || (len(left) == 1) != (c.exit == 0) {
				t.Errorf("exit code %d, printed %q, left %q: %v", code, out, left, err)
			}
			if n := m.count("members"); n > 1 {
				t.Errorf("the members were read %d times", n)
			}
		})
	}
}
