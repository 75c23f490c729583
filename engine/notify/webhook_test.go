package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

const (
	// key is a receiver's copy of the signing key: 32 bytes in base64.
	key    = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	secret = engine.Secret("whsec_" + key)
	path   = "a-path-that-is-a-secret"
)

var sent = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func sender(allow ...string) *Sender {
	return New(Options{AllowHosts: allow, Clock: func() time.Time { return sent.Add(time.Hour) }})
}

func sample() engine.Notification {
	return engine.Notification{
		ID: "ntf_1", Event: engine.NotifyRequested, ProjectID: "proj_1", ProjectName: "Payments", RequestID: "req_1", ApprovalID: "apr_1",
		CertificateName: "www.example.org", Format: "pkcs12", Requester: engine.Actor{Type: engine.ActorUser, ID: "user_1", Name: "alice", Person: "user_1"},
		Status: "pending", Reason: "renewal", RequiredApprovals: 2, Time: sent, ExpiresAt: sent.Add(24 * time.Hour), URL: "https://countersign.example/approvals/apr_1",
	}
}

func TestWebhooksAreSigned(t *testing.T) {
	var header http.Header
	var body []byte
	port, _ := counting(t, func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	})
	if err := sender("127.0.0.1").Send(t.Context(), engine.Destination{URL: engine.Secret("http://127.0.0.1:" + port + "/" + path), Signing: secret}, sample()); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("ntf_1.1770095106." + string(body)))
	if got, want := header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if header.Get("webhook-id") != "ntf_1" || header.Get("webhook-timestamp") != "1770095106" || header.Get("content-type") != "application/json" {
		t.Errorf("headers %v", header)
	}
	var got struct {
		Type      string
		Timestamp time.Time
		Data      engine.Notification
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Data != sample() || got.Type != "approval.requested" || !got.Timestamp.Equal(sent) {
		t.Errorf("%s: %v", body, err)
	}
	if strings.Contains(string(body), "whsec") || strings.Contains(string(body), key) {
		t.Error("the body holds the signing secret")
	}
}

func TestWebhooksThatFail(t *testing.T) {
	elsewhere, reached := counting(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"redirect to loopback": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:"+elsewhere+"/", http.StatusTemporaryRedirect)
		}, "answered 307"},
		"down":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "answered 503"},
		"garbage": {garbage, "could not be reached"},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			for range 2000 {
				w.Header().Add("X-Long", strings.Repeat("x", 100))
			}
		}, "could not be reached"},
	} {
		port, _ := counting(t, c.answer)
		err := sender("127.0.0.1").Send(t.Context(), engine.Destination{URL: engine.Secret("http://127.0.0.1:" + port + "/" + path), Signing: secret}, sample())
		if !errors.Is(err, engine.CodeUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func garbage(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = conn.Write([]byte("\x00\xff this is no HTTP\r\n\r\n"))
	_ = conn.Close()
}

func TestEndlessAnswersAreNotReadToTheEnd(t *testing.T) {
	ended := make(chan struct{})
	port, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	if err := sender("127.0.0.1").Send(t.Context(), engine.Destination{URL: engine.Secret("http://127.0.0.1:" + port), Signing: secret}, sample()); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestSlowServersTimeOut(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	at := silent.Addr().String()
	for _, u := range []string{"http://" + at + "/" + path, "smtp://" + at + "/?fromaddress=a@example.org&toaddresses=b@example.org", "ntfy://" + at + "/topic?scheme=http"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // a short Timeout
		err := sender("127.0.0.1").Send(ctx, engine.Destination{URL: engine.Secret(u), Signing: secret}, sample())
		cancel()
		if !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("%s: %v", u, err)
		}
	}
}
