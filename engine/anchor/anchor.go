// Package anchor keeps what belongs outside the database in files, an object store or at
// an HTTPS URL: the anchor of the audit log (see [engine.Anchors]), and the entries that
// retention deletes (see [engine.AuditArchive]). Start with [Open] or [OpenArchive].
package anchor

import (
	"bytes"
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

// place is a file, an object or a resource.
type place interface {
	Target
	// open reads what was last written, or returns CodeNotFound if nothing was.
	open(ctx context.Context) (io.ReadCloser, error)
	// write replaces what is there, and returns when it is durable. If reading the text
	// fails, it replaces nothing.
	write(ctx context.Context, mediaType string, text io.Reader) error
	// in is the place of a name, if this one is a folder.
	in(name string) place
}

// Open opens a target: a path, file:///path, https://host/path (http only on this
// machine), or an object in a store whose driver is linked. token is the bearer token
// for https, or "". The target is not called yet.
func Open(ctx context.Context, ref, token string) (Target, error) {
	return openPlace(ctx, "anchor.url", ref, token)
}

// openPlace opens the place that a setting names.
func openPlace(ctx context.Context, setting, ref, token string) (place, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, errors.New(setting + " is not a valid URL; correct it") // the cause quotes the URL, which may contain a password
	}
	switch {
	case u.User != nil:
		return nil, errors.New(setting + " must not contain credentials; set them in the environment")
	case u.Scheme == "" && filepath.IsAbs(ref):
		return file(ref), nil
	case u.Scheme == "file" && u.Host == "" && u.Path != "" && u.RawQuery == "":
		return file(u.Path), nil
	case u.Scheme == "https" && u.Host != "", u.Scheme == "http" && onThisMachine(u.Hostname()):
		return newRemote(u, token), nil
	case u.Scheme == "http":
		return nil, errors.New(setting + " must be https, except for a server on this machine")
	case u.Scheme != "file" && blob.DefaultURLMux().ValidBucketScheme(u.Scheme):
		return openObject(ctx, setting, u)
	}
	return nil, fmt.Errorf("%s must be an absolute path, file:///path, https://host/path, or an object in one of %q", setting, blob.DefaultURLMux().BucketSchemes())
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

func openObject(ctx context.Context, setting string, u *url.URL) (place, error) {
	key := strings.TrimPrefix(u.Path, "/")
	if u.Host == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, fmt.Errorf("%s must name an object or a folder, such as %s://bucket/name", setting, u.Scheme)
	}
	ofBucket := *u
	ofBucket.Path, ofBucket.RawPath = "", ""
	bucket, err := blob.DefaultURLMux().OpenBucketURL(ctx, &ofBucket)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil && strings.Contains(err.Error(), u.Scheme+"://") {
			err = cause // without the URL, whose query may contain a secret
		}
		return nil, fmt.Errorf("open %s: %w", setting, err)
	}
	return &object{bucket, key, u.Scheme + "://" + u.Host + "/" + key}, nil
}

func (o *object) open(ctx context.Context) (io.ReadCloser, error) {
	reader, err := o.bucket.NewReader(ctx, o.key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, engine.CodeNotFound
	}
	if err != nil {
		return nil, err
	}
	return reader, nil
}

func (o *object) write(ctx context.Context, mediaType string, text io.Reader) error {
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	writer, err := o.bucket.NewWriter(ctx, o.key, &blob.WriterOptions{ContentType: mediaType})
	if err != nil {
		return err
	}
	if _, err := io.Copy(writer, text); err != nil {
		abort() // so that Close stores nothing
		_ = writer.Close()
		return err
	}
	return writer.Close()
}

func (o *object) in(name string) place {
	return &object{o.bucket, o.key + "/" + name, o.name + "/" + name}
}

// ReadAnchor implements [engine.AnchorTarget].
func (o *object) ReadAnchor(ctx context.Context) ([]byte, error) { return readAnchor(ctx, o) }

// WriteAnchor implements [engine.AnchorTarget].
func (o *object) WriteAnchor(ctx context.Context, text []byte) error {
	return o.write(ctx, mediaTypeAnchor, bytes.NewReader(text))
}

const mediaTypeAnchor = "application/json"

// String implements [engine.AnchorTarget].
func (o *object) String() string { return o.name }

// Close implements [io.Closer].
func (o *object) Close() error { return o.bucket.Close() }

func readAnchor(ctx context.Context, at place) (text []byte, err error) {
	reader, err := at.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return readBounded(reader)
}

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

func (r *remote) open(ctx context.Context) (io.ReadCloser, error) {
	answer, err := r.do(ctx, http.MethodGet, "", nil)
	if err != nil || answer.StatusCode == http.StatusOK {
		return bodyOf(answer), err
	}
	err = answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return nil, engine.CodeNotFound
	}
	return nil, errors.Join(fmt.Errorf("GET answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)), err)
}

func bodyOf(answer *http.Response) io.ReadCloser {
	if answer == nil {
		return nil
	}
	return answer.Body
}

func (r *remote) write(ctx context.Context, mediaType string, text io.Reader) error {
	answer, err := r.do(ctx, http.MethodPut, mediaType, text)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxSize))
	if status := answer.StatusCode; status != http.StatusOK && status != http.StatusCreated && status != http.StatusNoContent {
		err = fmt.Errorf("PUT answers %d %s", status, http.StatusText(status))
	}
	return errors.Join(err, answer.Body.Close())
}

func (r *remote) in(name string) place {
	other := *r
	u, err := url.Parse(r.url)
	if err != nil {
		panic(err) // it was made from a URL
	}
	other.url = u.JoinPath(name).String()
	return &other
}

// ReadAnchor implements [engine.AnchorTarget].
func (r *remote) ReadAnchor(ctx context.Context) ([]byte, error) { return readAnchor(ctx, r) }

// WriteAnchor implements [engine.AnchorTarget].
func (r *remote) WriteAnchor(ctx context.Context, text []byte) error {
	return r.write(ctx, mediaTypeAnchor, bytes.NewReader(text))
}

func (r *remote) do(ctx context.Context, method, mediaType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.url, body)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	if mediaType != "" {
		request.Header.Set("Content-Type", mediaType)
	}
	answer, err := r.client.Do(request)
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err // without the URL, whose query may contain a secret
	}
	return answer, err
}

// String implements [engine.AnchorTarget].
func (r *remote) String() string {
	address, _, _ := strings.Cut(r.url, "?")
	return address
}

// Close implements [io.Closer].
func (r *remote) Close() error { r.client.CloseIdleConnections(); return nil }
