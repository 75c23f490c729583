package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/client"
)

// answering is a server that is not Countersign, or is not well.
func answering(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL+"/", "canary-key")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefusesBadAddresses(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "ftp://x", "http://", "://"} {
		if _, err := client.New(address, ""); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	followed := false
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	_, err := c.Projects(t.Context(), client.Paging{})
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusTemporaryRedirect || followed {
		t.Fatalf("%v, followed: %v", err, followed)
	}
}

func TestAnswersOfOtherServers(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
	})
	_, err := c.Projects(t.Context(), client.Paging{})
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusBadGateway || p.Code != "" || strings.Contains(err.Error(), "html") {
		t.Fatalf("%v", err)
	}
	c = answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "not JSON") })
	if _, err := c.Projects(t.Context(), client.Paging{}); err == nil {
		t.Fatal("an answer that is not JSON was taken")
	}
}

func TestDamagedFile(t *testing.T) {
	for digest, want := range map[string]bool{
		"":                      false,
		"sha-256=:AAAA:":        false,
		"sha-512=:" + sum + ":": false,
		"sha-256=:" + sum + ":": true,
	} {
		for content, whole := range map[string]bool{"hello": true, "hallo": false} {
			c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Repr-Digest", digest)
				w.Header().Set("Content-Disposition", `attachment; filename="../../etc/passwd"`)
				_, _ = io.WriteString(w, content)
			})
			file, err := c.Redeem(t.Context(), "t")
			if (err == nil) != want {
				t.Fatalf("%q: %v", digest, err)
			}
			if err != nil {
				continue
			}
			text, err := io.ReadAll(file)
			if closed := file.Close(); closed != nil {
				t.Error(closed)
			}
			if (err == nil) != whole || string(text) != content || file.Name != "passwd" {
				t.Errorf("%s, %q: %v", file.Name, text, err)
			}
		}
	}
}

// sum is the SHA-256 of "hello".
const sum = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="

// A call that takes too long ends, except when a file has begun to arrive.
func TestCallsEnd(t *testing.T) {
	rest := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hang, first := rest, " " // which begins any JSON
		switch {
		case strings.HasSuffix(r.URL.Path, "/downloads"):
			first = "a"
			w.Header().Set("Repr-Digest", "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:") // of abc
		case strings.HasSuffix(r.URL.Path, "/requests/silent"):
			hang = nil
		}
		if hang != nil {
			_, _ = w.Write([]byte(first)) // the client finds out
			w.(http.Flusher).Flush()
		}
		select {
		case <-hang:
			_, _ = w.Write([]byte("bc")) // likewise
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "", client.WithTimeout(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.Redeem(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"silent", "half"} {
		if _, err := c.Request(t.Context(), "p", id); err == nil || !strings.Contains(err.Error(), "no answer within 300ms") {
			t.Errorf("%s: %v", id, err)
		}
	}
	close(rest)
	if text, err := io.ReadAll(file); err != nil || string(text) != "abc" {
		t.Errorf("the file is %q (%v)", text, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
