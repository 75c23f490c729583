package anchor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/countersign-dev/countersign/engine"
)

func TestEveryTargetKeepsWhatWasWrittenLast(t *testing.T) {
	targets := map[string]func(*testing.T) Target{
		"file": func(t *testing.T) Target { return opened(t, filepath.Join(t.TempDir(), "anchor.json")) },
		"file URL": func(t *testing.T) Target {
			return opened(t, "file://"+filepath.Join(t.TempDir(), "with space", "..", "anchor.json"))
		},
		"https": func(t *testing.T) Target {
			return trusting(t, httptest.NewTLSServer(&resource{}), "/anchor.json?key=of-the-query")
		},
		"http": func(t *testing.T) Target { return trusting(t, httptest.NewServer(&resource{}), "/anchor.json") },
		"object": func(t *testing.T) Target {
			register(t)
			return opened(t, registered+"://bucket/folder/anchor.json?no_tmp_dir=1")
		},
	}
	for name, open := range targets {
		t.Run(name, func(t *testing.T) {
			target, ctx := open(t), t.Context()
			defer func() { ok(t, target.Close()) }()
			if text, err := target.ReadAnchor(ctx); !errors.Is(err, engine.CodeNotFound) {
				t.Errorf("before the first write: %q, %v", text, err)
			}
			for _, text := range []string{"a long first anchor", "short"} {
				ok(t, target.WriteAnchor(ctx, []byte(text)))
				if got, err := target.ReadAnchor(ctx); err != nil || string(got) != text {
					t.Errorf("read %q, %v; want %q", got, err, text)
				}
			}
			largest := bytes.Repeat([]byte("x"), maxSize)
			ok(t, target.WriteAnchor(ctx, largest))
			if got, err := target.ReadAnchor(ctx); err != nil || !bytes.Equal(got, largest) {
				t.Errorf("read %d bytes of %d, %v", len(got), maxSize, err)
			}
			ok(t, target.WriteAnchor(ctx, append(largest, 'x')))
			if _, err := target.ReadAnchor(ctx); !errors.Is(err, errTooLarge) {
				t.Errorf("a larger object gives %v", err)
			}
		})
	}
}

func TestAFileIsPrivateAndRegular(t *testing.T) {
	folder, ctx := t.TempDir(), t.Context()
	name := filepath.Join(folder, "anchor.json")
	ok(t, os.WriteFile(name, nil, 0o644))
	ok(t, opened(t, name).WriteAnchor(ctx, []byte("anchor")))
	info, err := os.Stat(name)
	ok(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	if found, err := os.ReadDir(folder); err != nil || len(found) != 1 {
		t.Errorf("the folder has %v, %v", found, err)
	}
	if err := opened(t, folder).WriteAnchor(ctx, nil); err == nil {
		t.Error("a folder is replaced")
	}
	pipe := filepath.Join(folder, "pipe")
	ok(t, syscall.Mkfifo(pipe, 0o600))
	for _, other := range []string{folder, pipe, "/dev/zero"} {
		answer := make(chan error, 1)
		go func() { _, err := opened(t, other).ReadAnchor(ctx); answer <- err }()
		select {
		case err := <-answer:
			if err == nil || errors.Is(err, engine.CodeNotFound) || !strings.Contains(err.Error(), "regular file") {
				t.Errorf("%s gives %v", other, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("reading %s hangs", other)
			writer, err := os.OpenFile(other, os.O_WRONLY, 0)
			ok(t, err)
			ok(t, writer.Close())
		}
	}
	if _, err := opened(t, filepath.Join(name, "below")).ReadAnchor(ctx); err == nil || errors.Is(err, engine.CodeNotFound) {
		t.Errorf("a file below a file gives %v", err)
	}
}

// secrets is the token and the query of the tests of errors.
var secrets = []string{"bearer-of-test", "secret-of-query"}

func TestAServerThatAnswersOtherwiseIsAnErrorWithoutSecrets(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the redirect of a %s is followed", r.Method) }))
	t.Cleanup(elsewhere.Close)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(code)
		}
	}
	for name, server := range map[string]http.HandlerFunc{
		"302": status(302), "307": status(307), "308": status(308), "401": status(401), "500": status(500), "503": status(503), "202": status(202),
		"no HTTP": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"half a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.Write([]byte("half"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := trusting(t, httptest.NewTLSServer(authorized(t, server)), "/anchor.json?sig="+secrets[1])
			_, err := target.ReadAnchor(t.Context())
			refused(t, "GET", err)
			refused(t, "PUT", target.WriteAnchor(t.Context(), []byte("anchor")))
		})
	}
	closed := httptest.NewTLSServer(status(200))
	target := trusting(t, closed, "/anchor.json?sig="+secrets[1])
	target.(*remote).client.Transport = nil
	_, err := target.ReadAnchor(t.Context())
	refused(t, "GET from a server with an unknown certificate", err)
	closed.Close()
	_, err = target.ReadAnchor(t.Context())
	refused(t, "GET from nobody", err)
	refused(t, "PUT to nobody", target.WriteAnchor(t.Context(), nil))
	if name := target.String(); name != closed.URL+"/anchor.json" {
		t.Errorf("the target is called %s", name)
	}
}

func TestAnAnswerThatNeverEndsEndsWithItsContext(t *testing.T) {
	begun := make(chan bool)
	target := trusting(t, httptest.NewTLSServer(authorized(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("{"))
		_ = http.NewResponseController(w).Flush()
		begun <- true
		<-r.Context().Done()
	})), "/anchor.json?sig="+secrets[1])
	for name, call := range map[string]func(context.Context) error{
		"GET": func(ctx context.Context) error { _, err := target.ReadAnchor(ctx); return err },
		"PUT": func(ctx context.Context) error { return target.WriteAnchor(ctx, []byte("anchor")) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		err := call(ctx)
		refused(t, name, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s ends with %v", name, err)
		}
	}
}

func TestOpenRefusesWhatIsNoTarget(t *testing.T) {
	register(t)
	for _, ref := range []string{
		"", "anchor.json", "./anchor.json", "file:anchor.json", "file://host/anchor.json", "file://", "file:///anchor.json?create_dir=1",
		"https:///anchor.json", "https:anchor.json", "ftp://localhost/anchor.json", "gopher://localhost/a", "mem://bucket/anchor.json",
		"http://example.org/anchor.json", "http://127.0.0.1.example.org/a", "http://localhost.example.org/a", "http://10.0.0.1/a", "http:///a", "http://0.0.0.0/a",
		"https://user:secret-of-query@example.org/a", "https://secret-of-query@example.org/a", "s3://secret-of-query@bucket/a",
		"https://example.org:secret-of-query/a", "https://[secret-of-query/a", "%zz",
		registered + "://bucket", registered + "://bucket/", registered + "://bucket/folder/", registered + ":///anchor.json", registered + ":anchor.json",
		registered + "://bucket/anchor.json?sig=secret-of-query",
	} {
		target, err := Open(t.Context(), ref, secrets[0])
		if err == nil {
			t.Errorf("%q is opened as %s", ref, target)
			continue
		}
		refused(t, ref, err)
		if !strings.Contains(err.Error(), "anchor.url") {
			t.Errorf("%q gives %v, without the name of the setting", ref, err)
		}
	}
	for ref, name := range map[string]string{
		"/var/anchor.json": "/var/anchor.json", "/var/with%20sign?": "/var/with%20sign?", "file:///var/with%20space": "/var/with space",
		"https://example.org/a?sig=secret-of-query": "https://example.org/a", "http://[::1]:80/a": "http://[::1]:80/a", "http://localhost/a": "http://localhost/a",
		registered + "://bucket/folder/anchor.json?no_tmp_dir=1": registered + "://bucket/folder/anchor.json",
	} {
		if target := opened(t, ref); target.String() != name {
			t.Errorf("%s is called %s", ref, target)
		}
	}
}

// registered is a scheme whose buckets are folders, because a file URL is a file to Open.
const registered = "folder"

var (
	registerOnce sync.Once
	bucketFolder string
)

type folderOpener struct{ fileblob.URLOpener }

// OpenBucketURL implements [blob.BucketURLOpener].
func (o *folderOpener) OpenBucketURL(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	of := *u
	of.Path = bucketFolder
	return o.URLOpener.OpenBucketURL(ctx, &of)
}

// register makes a new folder the only bucket.
func register(t *testing.T) {
	bucketFolder = t.TempDir()
	registerOnce.Do(func() { blob.DefaultURLMux().RegisterBucket(registered, &folderOpener{}) })
}

// resource is a web server with one resource.
type resource struct {
	mu   sync.Mutex
	text []byte
}

// ServeHTTP implements [http.Handler].
func (s *resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		s.text, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	case s.text == nil:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(s.text)
	}
}

// authorized checks that each call has the token.
func authorized(t *testing.T, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+secrets[0] {
			t.Errorf("%s has Authorization %q", r.Method, got)
		}
		next(w, r)
	})
}

// trusting opens a resource of a server on this machine, whose certificate it trusts.
func trusting(t *testing.T, server *httptest.Server, path string) Target {
	t.Helper()
	t.Cleanup(server.Close)
	target := opened(t, server.URL+path)
	if of := server.Certificate(); of != nil {
		roots := x509.NewCertPool()
		roots.AddCert(of)
		target.(*remote).client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return target
}

func opened(t *testing.T, ref string) Target {
	t.Helper()
	target, err := Open(t.Context(), ref, secrets[0])
	ok(t, err)
	return target
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, engine.CodeNotFound) {
		t.Errorf("%s gives %v", what, err)
		return
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error of %s shows a secret: %v", what, err)
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
