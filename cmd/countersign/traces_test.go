package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector receives traces by OTLP over HTTP.
type collector struct {
	t          *testing.T
	server     *httptest.Server
	credential string

	mu       sync.Mutex
	requests [][]byte
	spans    []*tracepb.Span
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, credential: "canary-collector-credential-3389"}
	c.server = httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(c.server.Close)
	return c
}

func (c *collector) receive(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed in the middle
	}
	var batch collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &batch); err != nil || r.URL.Path != "/v1/traces" {
		c.t.Errorf("%s got no traces: %v", r.URL.Path, err)
	}
	if got := r.Header.Get("Authorization"); got != "Bearer "+c.credential {
		c.t.Errorf("the collector got the credential %q", got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, body)
	for _, of := range batch.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// settings make a server send its traces here, with a credential.
func (c *collector) settings(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "headers")
	noError(t, os.WriteFile(file, []byte("Authorization: Bearer "+c.credential+"\n"), 0o600))
	return []string{"COUNTERSIGN_TRACES_OTLP_ENDPOINT=" + c.server.URL + "/v1/traces", "COUNTERSIGN_TRACES_HEADERS_FILE=" + file}
}

// search looks for secrets in everything that was received. Spans of every kind must have
// come, so that it is not a search of nothing.
func (c *collector) search(canaries []canary) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, found := range canaries {
		if found.in(bytes.Join(c.requests, nil)) {
			c.t.Errorf("%s is in a trace", found.name)
		}
	}
	for _, kind := range []string{
		"POST /api/v1/projects/{pid}/certificates/{cid}/downloads", "GET /api/v1/downloads/{token}", "POST /api/v1/downloads",
		"StartWorkflow:Download", "RunWorkflow:Download", "RunActivity:EvaluatePolicy", "store read ", "store write", "render", "keeper wrap", "keeper unwrap",
	} {
		if !c.has(kind) {
			c.t.Errorf("no span %q came, of %d", kind, len(c.spans))
		}
	}
	for _, span := range c.spans {
		if len(span.Events) > 0 || span.Status.GetMessage() != "" || span.TraceState != "" {
			c.t.Errorf("the span %s has an event, the text of an error or a trace state: %v", span.Name, span)
		}
	}
}

func (c *collector) has(name string) bool {
	for _, span := range c.spans {
		if strings.HasPrefix(span.Name, name) {
			return true
		}
	}
	return false
}
