// Package client speaks Countersign's HTTP API, version 1, with the types of
// package wire.
//
// Start with [New]; each method calls one endpoint and is in the file of its
// concept. A refusal by the server is a [*Problem], whose Code is the cause. Redirects
// are not followed: they would send the API key or a token to another server.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// Problem is a refusal or failure of the server (RFC 9457). An answer of another
// server, such as a proxy, becomes one without a code.
type Problem = wire.Problem

// Client calls one server with one API key. It is safe for concurrent use.
type Client struct {
	base   *url.URL
	key    wire.Secret
	agent  string
	within time.Duration
	http   *http.Client
}

// Option sets something of a client.
type Option func(*Client)

// WithUserAgent names the calling program, for the audit log.
func WithUserAgent(name string) Option {
	return func(c *Client) { c.agent = name }
}

// WithTimeout ends calls that take longer. For a file or an export it limits the
// time until the answer begins. It does not limit the check of an audit log.
func WithTimeout(d time.Duration) Option {
	return func(c *Client) { c.within = d }
}

// WithTLS makes connections by TLS with this configuration, for a server whose certificate
// comes from an authority of its own, or one that takes client certificates.
func WithTLS(config *tls.Config) Option {
	return func(c *Client) {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
		transport.TLSClientConfig = config
		c.http.Transport = transport
	}
}

// New makes a client for the server at address, such as
// https://countersign.example.com. The key may be empty: redeeming needs none.
func New(address string, key wire.Secret, options ...Option) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, errors.New("the server's address is not valid; give one of the form https://host[:port]")
	}
	c := &Client{base: base.JoinPath("/api/v1"), key: key, within: unbounded, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// Paging selects a part of a collection; the zero value is the first part, of the
// server's default size.
type Paging struct {
	Limit  int
	Cursor string
}

func (p Paging) values() url.Values {
	v := url.Values{}
	set(v, "cursor", p.Cursor)
	if p.Limit > 0 {
		v.Set("limit", strconv.Itoa(p.Limit))
	}
	return v
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// All reads page after page with list and returns at most limit items, 0 for all.
func All[T any](limit int, list func(Paging) (wire.Page[T], error)) ([]T, error) {
	var all []T
	for at := (Paging{Limit: 200}); ; {
		page, err := list(at)
		if err != nil {
			return all, err
		}
		all = append(all, page.Items...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if page.NextCursor == nil {
			return all, nil
		}
		at.Cursor = *page.NextCursor
	}
}

// unbounded is longer than any call takes.
const unbounded time.Duration = math.MaxInt64

// request is one call. path is below the base of the API; its parts are escaped
// already. The duration of a transfer is not limited after the answer has begun.
type request struct {
	transfer     bool
	method, path string
	query        url.Values
	header       http.Header
	body         any
}

// at joins the parts of a path, each escaped.
func at(parts ...string) string {
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// do sends a request and returns the answer, whose body the caller closes. A
// status of 300 and above is an error.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	address := c.base.JoinPath(r.path)
	address.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, address.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.within, func() { cancel(fmt.Errorf("no answer within %s", c.within)) })
	end := func() { late.Stop(); cancel(nil) }
	answer, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		end()
		return nil, fmt.Errorf("call the server: %w", err)
	}
	if r.transfer {
		late.Stop()
	}
	answer.Body = &endingBody{answer.Body, end}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return nil, problem(answer)
	}
	return answer, nil
}

// endingBody is the body of an answer; closing it ends the call.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (e *endingBody) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}

const maxProblem = 1 << 20

// problem reads the problem of an answer and closes the answer.
func problem(answer *http.Response) error {
	defer func() { _ = answer.Body.Close() }() // the answer is an error already
	p := &Problem{}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxProblem))
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	if err != nil || p.Code == "" {
		return &Problem{
			Status: answer.StatusCode, Title: http.StatusText(answer.StatusCode),
			Detail: "the answer does not come from Countersign; check the address, and whether a proxy is in between",
		}
	}
	p.Status = answer.StatusCode
	return p
}

// call sends a request and reads its JSON answer.
func call[T any](ctx context.Context, c *Client, r request) (T, error) {
	out, _, err := callHeader[T](ctx, c, r)
	return out, err
}

func callHeader[T any](ctx context.Context, c *Client, r request) (T, http.Header, error) {
	var out T
	answer, err := c.do(ctx, r)
	if err != nil {
		return out, nil, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its reading failed
	if answer.StatusCode == http.StatusNoContent {
		return out, answer.Header, nil
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return out, nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, answer.Header, nil
}
