// Package anchor keeps the anchor of the audit log (see [engine.Anchors]) in a file, an
// object store or at an HTTPS URL. Start with [Open].
package anchor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/countersign-dev/countersign/engine"
)

// maxSize is more than the anchor of a hundred thousand projects needs, in bytes.
const maxSize = 16 << 20

var errTooLarge = fmt.Errorf("it has more than %d bytes, so it is no anchor", maxSize)

// Target is an open target. Close releases its connections.
type Target interface {
	engine.AnchorTarget
	io.Closer
}

// Open opens a target: a path, file:///path, https://host/path (http only on this
// machine), or an object in a store whose driver is linked. token is the bearer token
// for https, or "". The target is not called yet.
func Open(ctx context.Context, ref, token string) (Target, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, errors.New("anchor.url is not a valid URL; correct it") // the cause quotes the URL, which may contain a password
	}
	switch {
	case u.User != nil:
		return nil, errors.New("anchor.url must not contain credentials; set them in the environment")
	case u.Scheme == "" && filepath.IsAbs(ref):
		return file(ref), nil
	case u.Scheme == "file" && u.Host == "" && u.Path != "" && u.RawQuery == "":
		return file(u.Path), nil
	case u.Scheme == "https" && u.Host != "", u.Scheme == "http" && onThisMachine(u.Hostname()):
		return newRemote(u, token), nil
	case u.Scheme == "http":
		return nil, errors.New("anchor.url must be https, except for a server on this machine")
	case u.Scheme != "file" && blob.DefaultURLMux().ValidBucketScheme(u.Scheme):
		return openObject(ctx, u)
	}
	return nil, fmt.Errorf("anchor.url must be an absolute path, file:///path, https://host/path, or an object in one of %q", blob.DefaultURLMux().BucketSchemes())
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// object is an object in a bucket.
type object struct {
	bucket *blob.Bucket
	key    string
	name   string
}

func openObject(ctx context.Context, u *url.URL) (Target, error) {
	key := strings.TrimPrefix(u.Path, "/")
	if u.Host == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, fmt.Errorf("anchor.url must name an object, such as %s://bucket/anchor.json", u.Scheme)
	}
	ofBucket := *u
	ofBucket.Path, ofBucket.RawPath = "", ""
	bucket, err := blob.DefaultURLMux().OpenBucketURL(ctx, &ofBucket)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil && strings.Contains(err.Error(), u.Scheme+"://") {
			err = cause // without the URL, whose query may contain a secret
		}
		return nil, fmt.Errorf("open anchor.url: %w", err)
	}
	return &object{bucket, key, u.Scheme + "://" + u.Host + "/" + key}, nil
}

// ReadAnchor implements [engine.AnchorTarget].
func (o *object) ReadAnchor(ctx context.Context) (_ []byte, err error) {
	reader, err := o.bucket.NewReader(ctx, o.key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, engine.CodeNotFound
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return readBounded(reader)
}

// WriteAnchor implements [engine.AnchorTarget].
func (o *object) WriteAnchor(ctx context.Context, text []byte) error {
	return o.bucket.WriteAll(ctx, o.key, text, &blob.WriterOptions{ContentType: "application/json"})
}

// String implements [engine.AnchorTarget].
func (o *object) String() string { return o.name }

// Close implements [io.Closer].
func (o *object) Close() error { return o.bucket.Close() }

func readBounded(from io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = errTooLarge
	}
	return text, err
}

// remote is an HTTP resource that GET reads and PUT replaces.
type remote struct {
	url, token string
	client     *http.Client
}

func newRemote(u *url.URL, token string) *remote {
	return &remote{u.String(), token, &http.Client{
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this host only
	}}
}

// ReadAnchor implements [engine.AnchorTarget].
func (r *remote) ReadAnchor(ctx context.Context) ([]byte, error) {
	status, text, err := r.do(ctx, http.MethodGet, "")
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, engine.CodeNotFound
	case status != http.StatusOK:
		return nil, fmt.Errorf("GET answers %d %s", status, http.StatusText(status))
	}
	return text, nil
}

// WriteAnchor implements [engine.AnchorTarget].
func (r *remote) WriteAnchor(ctx context.Context, text []byte) error {
	status, _, err := r.do(ctx, http.MethodPut, string(text))
	if err == nil && status != http.StatusOK && status != http.StatusCreated && status != http.StatusNoContent {
		err = fmt.Errorf("PUT answers %d %s", status, http.StatusText(status))
	}
	return err
}

func (r *remote) do(ctx context.Context, method, body string) (status int, text []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, r.url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	if method == http.MethodPut {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := r.client.Do(request)
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err // without the URL, whose query may contain a secret
	}
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	text, err = readBounded(answer.Body)
	return answer.StatusCode, text, err
}

// String implements [engine.AnchorTarget].
func (r *remote) String() string {
	address, _, _ := strings.Cut(r.url, "?")
	return address
}

// Close implements [io.Closer].
func (r *remote) Close() error { r.client.CloseIdleConnections(); return nil }
