package tracing

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/engine"
)

// Collector is where traces are sent, by OTLP over HTTP.
type Collector struct {
	// Endpoint is the URL of the collector with its path, such as
	// http://127.0.0.1:4318/v1/traces.
	Endpoint string
	// HeadersFile has headers for each request, one "Name: value" a line, unless it is empty.
	// It is read again for each request. Nobody else may read it.
	HeadersFile string
	// CAFile has the authorities that the collector's certificate may come from, as PEM; the
	// system's by default.
	CAFile string
}

// Check returns an error if the settings cannot be right, or a file cannot be used. It does
// not call the collector.
func (c Collector) Check() error {
	_, err := c.client()
	return err
}

// CheckEndpoint refuses what is not the URL of a collector, and headers that would be sent
// in clear over a network.
func (c Collector) CheckEndpoint() error {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Not quoted, because it may hold a password.
		return errors.New("traces.otlp_endpoint is not valid; give a URL such as http://127.0.0.1:4318/v1/traces, and credentials in traces.headers_file")
	}
	if u.Scheme == "http" && c.HeadersFile != "" && !loopback(u.Hostname()) {
		return errors.New("traces.headers_file needs a traces.otlp_endpoint that begins with https://, because headers would be sent in clear")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// client is an HTTP client for the collector. It follows no redirect, because the headers
// are for the collector alone.
func (c Collector) client() (*http.Client, error) {
	if err := c.CheckEndpoint(); err != nil {
		return nil, err
	}
	if _, err := c.headers(); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: exportWithin}).DialContext,
		TLSHandshakeTimeout: exportWithin, MaxIdleConns: 1, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read traces.ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read traces.ca_file: %s has no certificate in PEM", c.CAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport: withHeaders{transport, c}, Timeout: exportWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// headers reads the file. Its errors quote nothing of it.
func (c Collector) headers() (http.Header, error) {
	headers := http.Header{}
	if c.HeadersFile == "" {
		return headers, nil
	}
	text, err := engine.ReadSecretFile(c.HeadersFile)
	if err != nil {
		return nil, fmt.Errorf("read traces.headers_file: %w", err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		name, value, _ := strings.Cut(string(line), ":")
		if value = strings.TrimSpace(value); value == "" || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("read traces.headers_file: line %d of %s is not a header; write it as Name: value", n, c.HeadersFile)
		}
		headers.Add(name, value)
	}
	return headers, nil
}

// rejectedKey is the key of a context's *int64, for how many spans the collector refused of
// a batch that it took.
type rejectedKey struct{}

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 64 << 10

// withHeaders adds the headers of the file to each request, and hides the text of an
// answer, which would be logged and may repeat them.
type withHeaders struct {
	http.RoundTripper
	collector Collector
}

// RoundTrip implements http.RoundTripper.
func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	headers, err := w.collector.headers()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	for name, values := range headers {
		r.Header[name] = values
	}
	answer, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	if rejected, ok := r.Context().Value(rejectedKey{}).(*int64); ok && answer.StatusCode < http.StatusMultipleChoices {
		*rejected = rejectedBy(answer.Body)
	}
	_ = answer.Body.Close() // nothing more of it is read
	answer.Body, answer.Status = http.NoBody, fmt.Sprint(answer.StatusCode, " ", http.StatusText(answer.StatusCode))
	return answer, nil
}

// rejectedBy reads how many spans a collector refused. An answer that cannot be read says
// nothing: the collector has the batch.
func rejectedBy(answer io.Reader) int64 {
	var said coltrace.ExportTraceServiceResponse
	text, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	if err != nil || proto.Unmarshal(text, &said) != nil {
		return 0
	}
	return said.GetPartialSuccess().GetRejectedSpans()
}
