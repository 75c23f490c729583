package notify

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// redirected sends every request to one server instead of the host that a service
// has fixed.
type redirected struct{ to *url.URL }

func (d redirected) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Meant-For", r.URL.String())
	r.URL.Scheme, r.URL.Host = "http", d.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

var serviceURLs = map[string]struct{ url, host string }{
	"slack":      {"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook", "https://hooks.slack.com/services/T00000000/B00000000/"},
	"slack bot":  {"slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L", "https://slack.com/api/chat.postMessage"},
	"teams":      {"teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=test.webhook.office.com", "https://test.webhook.office.com/webhookb2/"},
	"discord":    {"discord://token@1234", "https://discord.com/api/webhooks/1234/token"},
	"mattermost": {"mattermost://chat.example/token", "https://chat.example/hooks/token"},
	"rocketchat": {"rocketchat://chat.example/tokenA/tokenB", "https://chat.example/hooks/tokenA/tokenB"},
	"gotify":     {"gotify://push.example/AvWVM3IyN0yvoYf", "https://push.example/message"},
	"ntfy":       {"ntfy://push.example/topic", "https://push.example/topic"},
	"pushover":   {"pushover://shoutrrr:token@user", "https://api.pushover.net/1/messages.json"},
}

func TestServices(t *testing.T) {
	type request struct{ meant, body string }
	var got []request
	status, answer := http.StatusOK, `{"ok":true}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, request{r.Header.Get("X-Meant-For"), string(body)})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for name, c := range serviceURLs {
		tested[strings.Fields(name)[0]] = true
		s := sender()
		s.transport = redirected{to}
		n := sample()
		n.Reason = "<!channel> @everyone [click](https://evil.example)\nStatus: approved _as_ __said__ :tada: $x$ at www.evil.example or evil.example."

		got, status, answer = nil, http.StatusOK, `{"ok":true}`
		if err := s.Send(t.Context(), engine.Destination{URL: engine.Secret(c.url)}, n); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != 1 || !strings.HasPrefix(got[0].meant, c.host) {
			t.Errorf("%s: went to %+v", name, got)
			continue
		}
		body, err := url.QueryUnescape(strings.ReplaceAll(got[0].body, "%", "%25"))
		if name == "pushover" {
			body, err = url.QueryUnescape(got[0].body)
		}
		if err != nil || !strings.Contains(body, "ntf_1") || !strings.Contains(body, "www․example․org") {
			t.Errorf("%s: %q does not say what happened (%v)", name, body, err)
		}
		for _, active := range []string{"!channel>", "@everyone", "](", "https://evil", "\nStatus", `\nStatus`, `u003c!`,
			"_as", "_said", ":tada", "$x", "www.", "evil.example"} {
			if strings.Contains(body, active) {
				t.Errorf("%s: %q holds %q", name, body, active)
			}
		}

		for _, bad := range []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusFound, http.StatusNotFound} {
			got, status, answer = nil, bad, "garbage \x00\xff"
			err := s.Send(t.Context(), engine.Destination{URL: engine.Secret(c.url)}, n)
			if !errors.Is(err, engine.CodeUnavailable) || len(got) != 1 {
				t.Errorf("%s answering %d: %v, after %d requests", name, bad, err, len(got))
			} else if strings.Contains(err.Error(), "oken") || strings.Contains(err.Error(), "XXXX") {
				t.Errorf("%s: the error holds a secret: %v", name, err)
			}
		}
	}
	everyServiceTested(t, tested)
}

func everyServiceTested(t *testing.T, tested map[string]bool) {
	t.Helper()
	for scheme := range services {
		if !tested[scheme] {
			t.Errorf("%s is accepted and not tested", scheme)
		}
	}
}

func TestSlackRefusesWithStatus200(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":false,"error":"x"}`) }))
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := sender()
	s.transport = redirected{to}
	if err := s.Send(t.Context(), engine.Destination{URL: engine.Secret(serviceURLs["slack bot"].url)}, sample()); !errors.Is(err, engine.CodeUnavailable) {
		t.Error(err)
	}
}

func TestSingleLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\tc\x00\x1b[31m": "a b c[31m",
		"right\u202eleft\u200b": "rightleft",
		"  ":                    "",
		"0123456789abc":         "012345678…",
		"bad\xff":               "bad\ufffd",
	} {
		if got := singleLine(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Characters with a meaning to chats stay readable, and our own text is unchanged.
func TestChatText(t *testing.T) {
	n := sample()
	n.Reason, n.Comment, n.Requester.Username = "_x_ __y__ :tada: $z$ see: www.evil.example. Yes.", "mailto:a@b.c", "first_last"
	want := "Approval requested: pkcs12 of www․example․org\nProject: Payments\nRequester: first＿last\n" +
		"Reason: ＿x＿ ＿＿y＿＿ ∶tada: ＄z＄ see: www․evil․example. Yes․\nComment: mailto∶a＠b․c\n" +
		"Approvals needed: 2\nExpires: 2026-02-04T04:05:06Z\nRequest: req_1\nhttps://countersign.example/approvals/apr_1\nId: ntf_1"
	if got := chatText(n); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := mailText(n); !strings.Contains(got, "Requester: first_last\nReason: "+n.Reason+"\n") {
		t.Errorf("a mail says %s", got)
	}
}

func TestMessagesStayShort(t *testing.T) {
	n := sample()
	long := strings.Repeat("ü", 5000)
	n.Reason, n.Comment, n.CertificateName, n.ProjectName, n.Requester.Name, n.Format, n.Status = long, long, long, long, long, long, long
	if length := len([]rune(chatText(n))); length > 1600 {
		t.Errorf("%d characters", length)
	}
}
