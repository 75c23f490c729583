package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-dev/countersign/api/client"
)

// connections is a server whose every connection gets the next text; behind the
// last one, all are refused. asked tells what each came with.
func connections(t *testing.T, texts ...string) (c *client.Client, asked chan string) {
	t.Helper()
	asked = make(chan string, len(texts)+1)
	return answering(t, func(w http.ResponseWriter, r *http.Request) {
		n := len(asked)
		asked <- r.URL.Path + " " + r.Header.Get("Last-Event-ID")
		if n == len(texts) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":"unauthenticated"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, texts[n])
		w.(http.Flusher).Flush()
		if strings.HasSuffix(texts[n], "broken") {
			panic(http.ErrAbortHandler)
		}
	}), asked
}

func TestStreamResumes(t *testing.T) {
	c, asked := connections(t,
		"retry: 1\nid: 4\n\nevent: request.updated\ndata: {\"request_id\":\"a\"}\n\nevent: cert.downloaded\ndata: {\"request_id\":\"a\"}\nid: 5\n\nevent: cut off\ndata: {}\nid: 6\nbroken",
		":\n\n: comment\nid: 7\n\nevent: request.updated\r\ndata: {\"request_id\":\r\ndata: \"b\"}\r\nid: 8\r\n\r\ndata: {\"request_id\":\"c\"}\n\n",
		"event: x\nid:9",
	)
	var got []string
	var end error
	for e, err := range c.Stream(t.Context(), "p/q", "3") {
		if err != nil {
			end = err
			continue
		}
		got = append(got, e.ID+" "+e.Type+" "+e.RequestID)
	}
	if want := []string{"4 request.updated a", "5 cert.downloaded a", "8 request.updated b", "8 message c"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if p, ok := errors.AsType[*client.Problem](end); !ok || p.Code != "unauthenticated" {
		t.Errorf("it ended with %v", end)
	}
	for _, id := range []string{"3", "5", "8", "8"} {
		if got, want := <-asked, "/api/v1/projects/p/q/stream "+id; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}

func TestStreamOutlivesFailures(t *testing.T) {
	var calls atomic.Int64
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		n := calls.Add(1)
		if n == 2 {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = fmt.Fprintf(w, "retry: 1\ndata: {}\nid: %d\n\n", n)
	})
	var got []string
	for e, err := range c.Stream(t.Context(), "p", "") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.ID); len(got) == 2 {
			break
		}
	}
	if !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("%q", got)
	}
}

func TestStreamEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for name, handler := range map[string]http.HandlerFunc{
		"first connection fails": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusBadGateway) },
		"not a stream":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
	} {
		n := 0
		for _, err := range answering(t, handler).Stream(ctx, "p", "") {
			if _, ok := errors.AsType[*client.Problem](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%s: %d results", name, n)
		}
	}
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	left, leave := context.WithCancel(ctx)
	defer leave()
	var ends []error
	for _, err := range c.Stream(left, "p", "") {
		leave()
		ends = append(ends, err)
	}
	if len(ends) != 2 || ends[0] != nil || !errors.Is(ends[1], context.Canceled) {
		t.Errorf("%v", ends)
	}
}

// silent is a transport over whose first connection only the first text comes.
type silent struct{ calls int }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.calls++; s.calls > 1 {
		return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
	}
	body, server := io.Pipe()
	go func() {
		_, _ = io.WriteString(server, "retry: 1000\n\n")
		<-r.Context().Done()
		_ = server.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body}, nil
}

// A connection over which nothing comes is given up, though nothing closed it.
func TestSilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, err := client.New("http://countersign", "", client.WithTransport(&silent{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range c.Stream(t.Context(), "p", "") {
			if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusUnauthorized {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 46*time.Second {
			t.Errorf("it was given up after %v", took)
		}
	})
}
