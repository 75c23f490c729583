package notify

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

func TestPublicAddresses(t *testing.T) {
	for _, text := range []string{"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"} {
		if !isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is refused", text)
		}
	}
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.192", "192.168.0.1", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
	} {
		if isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is accepted", text)
		}
	}
}

// counting is a server on loopback that counts the requests that reach it.
func counting(t *testing.T, handle http.HandlerFunc) (port string, seen *atomic.Int32) {
	t.Helper()
	seen = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port(), seen
}

func TestOnlyAllowedNamesReachLoopback(t *testing.T) {
	port, seen := counting(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001"} {
		for _, scheme := range []string{"https", "http"} {
			err := New(Options{AllowHosts: []string{"another.example"}, Clock: engine.SystemClock}).
				Send(t.Context(), engine.Destination{URL: engine.Secret(scheme + "://" + host + ":" + port), Signing: secret}, sample())
			if err == nil {
				t.Errorf("%s://%s: sent", scheme, host)
			}
		}
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "LocalHost"} {
		if err := sender(host).Send(t.Context(), engine.Destination{URL: engine.Secret("http://" + host + ":" + port), Signing: secret}, sample()); err != nil {
			t.Errorf("%s allowed by name: %v", host, err)
		}
	}
	if n := seen.Load(); n != 3 {
		t.Errorf("%d of 3 allowed requests arrived", n)
	}
}

// A name may have another address at the next attempt, and an operator may allow
// it, so a refusal while sending is temporary.
func TestRefusalsWhileSendingAreTemporary(t *testing.T) {
	for _, url := range []string{
		"https://localhost:9/" + path, "http://localhost:9/" + path, "ntfy://localhost:9/" + path,
		"smtp://user:" + path + "@localhost:9/?fromaddress=a@example.org&toaddresses=b@example.org",
	} {
		err := New(Options{Clock: engine.SystemClock}).Send(t.Context(), engine.Destination{URL: engine.Secret(url), Signing: secret}, sample())
		if !errors.Is(err, engine.CodeUnavailable) || !strings.Contains(err.Error(), "notifications.allow_hosts") || strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCheck(t *testing.T) {
	s := sender("127.0.0.1")
	for _, c := range []struct {
		url  engine.Secret
		want engine.DestinationKind
	}{
		{"http://127.0.0.1:1/" + path, engine.DestinationKind{Address: "http://127.0.0.1:1", Signed: true}},
		{"https://user:pass@127.0.0.1/" + path, engine.DestinationKind{Address: "https://127.0.0.1", Signed: true}},
		{"smtp://u:p@127.0.0.1:2525/?fromaddress=a@example.org", engine.DestinationKind{Address: "smtp://127.0.0.1:2525", Personal: true}},
		{"smtp://u:p@127.0.0.1:465/?fromaddress=a@example.org&usestarttls=no", engine.DestinationKind{Address: "smtp://127.0.0.1:465", Personal: true}},
		{"smtp://127.0.0.1:25/?fromaddress=a@example.org&encryption=none", engine.DestinationKind{Address: "smtp://127.0.0.1:25", Personal: true}},
		{"smtp://u:p@127.0.0.1:2525/?fromaddress=a@example.org&toaddresses=b@example.org", engine.DestinationKind{Address: "smtp://127.0.0.1:2525"}},
		{"ntfy://127.0.0.1/" + path, engine.DestinationKind{Address: "ntfy://127.0.0.1"}},
		{"gotify://127.0.0.1/AvWVM3IyN0yvoYf", engine.DestinationKind{Address: "gotify://127.0.0.1"}},
	} {
		got, err := s.Check(t.Context(), c.url)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.url.Reveal(), got, err, c.want)
		}
	}
	for _, refused := range []engine.Secret{
		"", "nonsense", "https://", "https:opaque", "file:///etc/passwd", "logger://", "generic://127.0.0.1", "teams+https://127.0.0.1/x", "gopher://127.0.0.1/",
		"https://localhost/", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://[fd00:ec2::254]/",
		"http://example.com/", "smtp://localhost:25/?fromaddress=a@example.org", "smtp://127.0.0.1/", "smtp://127.0.0.1/?fromaddress=none",
		"smtp://127.0.0.1/?fromaddress=a@example.org&skiptlsverify=yes",
		"smtp://u:p@127.0.0.1/?fromaddress=a@example.org&encryption=none", "smtp://u:p@127.0.0.1/?fromaddress=a@example.org&usestarttls=no",
		"smtp://u:p@127.0.0.1/?fromaddress=a@example.org&encryption=explicittls&usestarttls=no", "ntfy://localhost/topic", "ntfy://[::1]/topic?scheme=http", "gotify://10.0.0.1/AvWVM3IyN0yvoYf",
		"mattermost://10.0.0.1/token", "rocketchat://192.168.0.1/a/b", "slack://channel", "slack://dummy@dummy.com", "teams://x", "discord://x",
		engine.Secret("https://127.0.0.1/" + strings.Repeat("x", maxURL)),
	} {
		if _, err := s.Check(t.Context(), refused); !errors.Is(err, engine.CodeInvalidRequest) {
			t.Errorf("%s: %v", refused.Reveal(), err)
		}
	}
}

func TestEverySchemeUsesThePublicDialer(t *testing.T) {
	// The listener on loopback counts every connection that is not refused.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var dialled atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			_ = conn.Close()
		}
	}()
	at := listener.Addr().String()
	for _, u := range []string{
		"https://" + at, "ntfy://" + at + "/topic", "gotify://" + at + "/AvWVM3IyN0yvoYf", "mattermost://" + at + "/token",
		"rocketchat://" + at + "/a/b", "smtp://" + at + "/?fromaddress=a@example.org&toaddresses=b@example.org",
	} {
		err := New(Options{Clock: engine.SystemClock}).Send(t.Context(), engine.Destination{URL: engine.Secret(u), Signing: secret}, sample())
		if !errors.Is(err, engine.CodeUnavailable) || !strings.Contains(err.Error(), "not public") {
			t.Errorf("%s: %v", u, err)
		}
	}
	if n := dialled.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
