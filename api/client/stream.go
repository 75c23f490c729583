package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// StreamEvent is one event of a project's stream. Type is request.updated,
// approval.updated, cert.downloaded, policy.updated or, of a newer server, another
// one. ID is where to resume: of events that
// happened at once only the last has a new one, so that none is lost; those
// before it may come again.
type StreamEvent struct {
	ID   string
	Type string
	wire.StreamEvent
}

const (
	streamRetry    = 2 * time.Second // until the server says otherwise
	streamMaxRetry = 30 * time.Second
	streamSilence  = 45 * time.Second // the server gives a sign of life every 15 s
	maxStreamLine  = 1 << 20
)

// Stream follows a project from behind the event of that id, or from now on if
// it is empty. A connection that breaks or goes silent is resumed where it
// ended, so no event is lost. The sequence ends with an error: ctx's, the
// server's refusal, or that of a first connection that cannot be made.
func (c *Client) Stream(ctx context.Context, project, lastEventID string) iter.Seq2[StreamEvent, error] {
	return func(yield func(StreamEvent, error) bool) {
		s := &streaming{client: c, project: project, last: lastEventID, retry: streamRetry}
		err := s.follow(ctx, func(e StreamEvent) bool { return yield(e, nil) })
		if !errors.Is(err, errStreamLeft) {
			yield(StreamEvent{}, err)
		}
	}
}

// errStreamLeft means that the caller wants no more.
var errStreamLeft = errors.New("the stream was left")

// streaming is a stream across its connections.
type streaming struct {
	client        *Client
	project, last string
	retry         time.Duration
	connected     bool // once at least
}

// follow makes connection after connection, until one fails for good.
func (s *streaming) follow(ctx context.Context, yield func(StreamEvent) bool) error {
	for wait := s.retry; ; {
		began, err := s.connect(ctx, yield)
		switch {
		case errors.Is(err, errStreamLeft):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !s.passing(err):
			return err
		case began:
			wait = s.retry
		default:
			wait = min(2*wait, streamMaxRetry)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing tells whether to try again after err, nil being a connection's end.
func (s *streaming) passing(err error) bool {
	if p, refused := errors.AsType[*Problem](err); refused {
		return s.connected && (p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError)
	}
	return s.connected
}

// connect follows one connection to its end. began tells whether there was one.
func (s *streaming) connect(ctx context.Context, yield func(StreamEvent) bool) (began bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	r := request{transfer: true, method: http.MethodGet, path: at("projects", s.project, "stream"), header: http.Header{"Accept": {"text/event-stream"}}}
	if s.last != "" {
		r.header.Set("Last-Event-ID", s.last)
	}
	answer, err := s.client.do(ctx, r)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }() // it ended, or is given up
	if mediaType, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); mediaType != "text/event-stream" {
		return false, &Problem{Status: answer.StatusCode, Title: "not a stream", Detail: "the answer is no stream of events; is a proxy in between?"}
	}
	s.connected = true
	return true, s.read(answer.Body, func() { silence.Reset(streamSilence) }, yield)
}

// read parses a stream (WHATWG HTML, section 9.2.6). A block that its blank line
// does not end is dropped.
func (s *streaming) read(r io.Reader, alive func(), yield func(StreamEvent) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxStreamLine)
	last, kind, data := s.last, "", ""
	for lines.Scan() {
		alive()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			last = value
		case "event":
			kind = value
		case "data":
			data += value + "\n"
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
				s.retry = min(time.Duration(ms)*time.Millisecond, streamMaxRetry)
			}
		}
		if lines.Text() != "" {
			continue
		}
		if data != "" {
			e := StreamEvent{ID: last, Type: cmp.Or(kind, "message")}
			if err := json.Unmarshal([]byte(data), &e.StreamEvent); err != nil {
				return fmt.Errorf("read event: %w", err)
			}
			if !yield(e) {
				return errStreamLeft
			}
		}
		s.last, kind, data = last, "", ""
	}
	return lines.Err()
}
