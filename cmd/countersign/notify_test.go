package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// inbox is the server that receives webhooks. Until it is healed, each of its paths
// fails in a different way.
type inbox struct {
	t    *testing.T
	host string // 127.0.0.1:port
	done chan struct{}

	mu     sync.Mutex
	healed bool
	got    map[string]map[string]string // path → message id → event and request
	begun  map[string]int               // event and request → attempts that arrived at /slow
	ended  map[string]int               // event and request → attempts that the server ended there
	stolen int
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	healed := in.healed
	in.mu.Unlock()
	switch {
	case r.URL.Path == "/stolen":
		in.mu.Lock()
		in.stolen++
		in.mu.Unlock()
	case healed:
		in.take(r)
	case r.URL.Path == "/slow":
		_, what := in.read(r)
		in.note(in.begun, what)
		select {
		case <-r.Context().Done():
			in.note(in.ended, what)
		case <-in.done:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case r.URL.Path == "/redirect":
		_, port, _ := net.SplitHostPort(in.host)
		http.Redirect(w, r, "http://localhost:"+port+"/stolen", http.StatusTemporaryRedirect)
	case r.URL.Path == "/garbage":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			in.t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "\x00\xff this is no HTTP\n"+strings.Repeat("garbage ", 100_000)) // the other side may hang up
		_ = conn.Close()
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (in *inbox) note(where map[string]int, what string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	where[what]++
}

// read returns a message's id, and its event and request.
func (in *inbox) read(r *http.Request) (id, what string) {
	var message struct {
		Type string
		Data struct {
			ID        string
			RequestID string `json:"request_id"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil || message.Data.ID != r.Header.Get("Webhook-Id") {
		in.t.Errorf("a message: %v, ids %q and %q", err, message.Data.ID, r.Header.Get("Webhook-Id"))
	}
	return message.Data.ID, message.Type + " " + message.Data.RequestID
}

func (in *inbox) take(r *http.Request) {
	id, what := in.read(r)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.got[r.URL.Path] == nil {
		in.got[r.URL.Path] = map[string]string{}
	}
	if before := in.got[r.URL.Path][id]; before != "" && before != what {
		in.t.Errorf("the id %s was used for %s and %s", id, before, what)
	}
	in.got[r.URL.Path][id] = what
}

// round makes every call about a request, and returns the messages that they cause.
// It reports whether /slow held the first message during all calls: a call that
// waited for a target would wait until the delivery is given up. Each kind of call is
// made twice, so that a wait of half that time is noticed too.
func (in *inbox) round(s *server) (wanted []string, held bool) {
	fetched := s.waits("operator", "key")
	first := "approval.requested " + fetched.RequestID
	eventually(in.t, "a message at the slow target", func() bool { return in.tries(in.begun, first) > 0 })
	denied, cancelled, another := s.waits("operator", "key"), s.waits("operator", "key"), s.waits("operator", "key")
	var m minted
	s.decide("approver", fetched, "approve")
	for range 2 {
		s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/requests/"+fetched.RequestID+"/token", "{}")
	}
	if got := fetchers(s, 4, m.Token); got["200 "] != 1 || got["410 token_consumed"] != 3 {
		in.t.Errorf("4 callers, one token: %v", got)
	}
	if status, body := s.decide("approver", denied, "deny"); status != http.StatusOK {
		in.t.Errorf("deny: %d %s", status, body)
	}
	for _, w := range []waiting{cancelled, another} {
		s.must(http.StatusOK, nil, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/cancel", "")
	}
	held = in.tries(in.ended, first) == 0
	for w, want := range map[waiting]string{fetched: "consumed", denied: "denied", cancelled: "cancelled", another: "cancelled"} {
		eventually(in.t, "the request to be "+want, func() bool { return s.status(w.RequestID) == want })
	}
	return []string{
		first, "approval.requested " + denied.RequestID, "approval.requested " + cancelled.RequestID, "approval.requested " + another.RequestID,
		"approval.decided " + fetched.RequestID, "approval.decided " + denied.RequestID, "token.reused " + fetched.RequestID,
	}, held
}

func (in *inbox) tries(where map[string]int, what string) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return where[what]
}

// Targets that are down, slow, redirect to loopback or answer garbage delay no
// caller; once they work again they get every message.
func TestNotificationTargetsDelayNoCaller(t *testing.T) {
	t.Parallel()
	in := &inbox{t: t, got: map[string]map[string]string{}, begun: map[string]int{}, ended: map[string]int{}, done: make(chan struct{})}
	far := httptest.NewServer(in)
	defer far.Close()
	in.host = strings.TrimPrefix(far.URL, "http://")
	down, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	nobody := down.Addr().String()
	noError(t, down.Close())

	s := project(t)
	s.approvals(false, "key_export", 1, 600, 600)
	targets := []string{"http://" + in.host + "/slow", "http://" + in.host + "/redirect", "http://" + in.host + "/garbage", "http://" + nobody + "/down"}
	for i, url := range targets {
		s.must(http.StatusCreated, nil, "admin", http.MethodPost, s.project()+"/notification-targets", fmt.Sprintf(
			`{"name":"target %d","url":%q,"events":["approval.requested","approval.decided","approval.expired","token.reused"]}`, i, url))
	}
	s.refused("a target on loopback", 422, "invalid_request")(s.call("admin", http.MethodPost, s.project()+"/notification-targets",
		`{"name":"inside","url":"https://localhost/x","events":["approval.decided"]}`))

	// On a slow machine an attempt may end during the round, but not in every round.
	var wanted []string
	for rounds, held := 0, false; !held; rounds++ {
		if rounds == 5 {
			t.Fatal("some call is answered only once the slow target was given up")
		}
		var more []string
		more, held = in.round(s)
		wanted = append(wanted, more...)
	}

	again, err := net.Listen("tcp", nobody)
	noError(t, err)
	risen := &httptest.Server{Listener: again, Config: &http.Server{Handler: in}}
	in.mu.Lock()
	in.healed = true
	in.mu.Unlock()
	risen.Start()
	defer risen.Close()
	close(in.done)
	for _, path := range []string{"/slow", "/redirect", "/garbage", "/down"} {
		eventually(t, "every message at "+path, func() bool { return in.has(path, wanted) })
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stolen > 0 {
		t.Errorf("%d messages followed a redirect to loopback", in.stolen)
	}
	s.auditOK()
}

// has reports whether a path has each message, under one id each.
func (in *inbox) has(path string, wanted []string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	found := map[string]int{}
	for _, what := range in.got[path] {
		found[what]++
	}
	for _, what := range wanted {
		if found[what] == 0 {
			return false
		}
		if found[what] > 1 {
			in.t.Errorf("%s has %s under %d ids", path, what, found[what])
		}
	}
	return true
}
