package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// StreamPace is how streams of events keep time.
type StreamPace struct {
	// Poll is the time between two looks at an audit chain, 500 ms by default.
	Poll time.Duration
	// Beat is the time between two signs of life, 15 s by default. With each, and
	// before events are sent, the caller's rights are checked again.
	Beat time.Duration
	// Stall is how long a client may take to accept what it is sent before it is
	// cut off, 10 s by default.
	Stall time.Duration
}

func (p StreamPace) orDefault() StreamPace {
	return StreamPace{cmp.Or(p.Poll, 500*time.Millisecond), cmp.Or(p.Beat, 15*time.Second), cmp.Or(p.Stall, 10*time.Second)}
}

// streamRetry is how long a client waits before it comes back.
const streamRetry = 2 * time.Second

const streamPath = base + "/projects/{pid}/stream"

const mimeEventStream = "text/event-stream"

type streamInput struct {
	LastEventID      string `header:"Last-Event-ID" doc:"Id of the last event that arrived: the stream goes on behind it"`
	FirstLastEventID string `query:"last_event_id" doc:"The same, for a first connection that cannot send the header, which goes before it"`
}

type streamOutput struct{ Body func(huma.Context) }

func (s *Server) streamEndpoints() {
	pace := s.options.Stream.orDefault()
	open := &streams{store: s.store, log: s.log, poll: pace.Poll, feeds: map[string]*feed{}, open: map[string]int{}}
	register(s, endpoint{
		id: "stream", method: http.MethodGet, path: streamPath, tag: "Events",
		summary: "Follow what happens in a project",
		description: "Server-sent events (WHATWG HTML, section 9.2): request.updated, approval.updated, cert.downloaded and policy.updated (the " +
			"certificate policy), each only to who may GET what it is about; ignore others, for there may be more. " +
			"An id is the seq of an audit entry. An entry may give several events; the last carries the id, so none is lost " +
			"when a stream is resumed there, but one may come twice. Without an id the stream begins now; with 0, at the project's beginning; " +
			"with an id beyond the last entry, now; what is no number is 422. " +
			"When a token ends, the request itself may follow a moment after its event. " +
			"The stream ends when the caller's rights change (nothing that happens after that is sent), the server stops or the client does not keep up: resume it. " +
			"A person has at most 16 open at once.",
		access: access{role: engine.RoleViewer}, errors: []int{http.StatusTooManyRequests}, responses: s.streamResponse(),
	}, func(ctx context.Context, k *call, in *streamInput) (*streamOutput, error) {
		at, head, err := s.position(ctx, k.Project.ID, cmp.Or(in.LastEventID, in.FirstLastEventID))
		if err != nil {
			return nil, err
		}
		f, leave, err := open.join(k.User.ID, k.Project.ID, head)
		if err != nil {
			return nil, err
		}
		return &streamOutput{func(hc huma.Context) { s.stream(humafiber.Unwrap(hc), k, pace, f, at, leave) }}, nil
	})
}

func (s *Server) streamResponse() map[string]*huma.Response {
	data := bodyOf[wire.StreamEvent](s)[fiber.MIMEApplicationJSON]
	return map[string]*huma.Response{"200": {
		Description: "The stream; the schema is that of each event's data", Content: map[string]*huma.MediaType{mimeEventStream: data},
	}}
}

// position is where a stream begins, and the last entry of the chain. An id
// beyond that is of another chain, or of this one before it was restored from a
// copy: the stream begins at the end then, instead of waiting for the id.
func (s *Server) position(ctx context.Context, project, lastID string) (at, head int64, err error) {
	newest, _, err := s.store.AuditEntries(ctx, engine.AuditQuery{ProjectID: project, Page: engine.Page{Limit: 1}})
	if err != nil {
		return 0, 0, fmt.Errorf("read head of audit log: %w", err)
	}
	if len(newest) > 0 {
		head = newest[0].Seq
	}
	if lastID == "" {
		return head, head, nil
	}
	id, err := strconv.ParseUint(lastID, 10, 63)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, 0, engine.Errorf(engine.CodeInvalidRequest, "Last-Event-ID is not the id of an event: a number")
	}
	return min(int64(id), head), head, nil //nolint:gosec // 63 bits
}

// stream hands a stream to fasthttp, which reads from it after the handlers and
// flushes whatever each read returns.
func (s *Server) stream(c *fiber.Ctx, k *call, pace StreamPace, f *feed, at int64, leave func()) {
	request := c.Context() // unlike c, it lives until the stream has ended
	st := &stream{
		caller: k.Caller, feed: f, at: at, told: at, pace: pace, beat: time.NewTicker(pace.Beat),
		conn: request.Conn(), clock: s.clock, stopping: request.Done(),
		holds: func() error { return s.stillHolds(request, k) },
	}
	st.ended = func(cause error) {
		leave()
		s.log.Info("a stream ended", "request_id", k.id, "project", k.Project.ID, "position", st.at, "cause", cause)
	}
	fmt.Fprintf(&st.buffer, "retry: %d\nid: %d\n\n", streamRetry.Milliseconds(), at)
	c.Set(fiber.HeaderContentType, mimeEventStream)
	c.Set("X-Accel-Buffering", "no") // nginx would gather events
	c.Status(fiber.StatusOK)
	request.SetBodyStream(st, -1)
}

var (
	errRights   = errors.New("the caller's rights changed")
	errStopping = errors.New("the server stops")
	errNoChain  = errors.New("the audit log ends before its head")
)

// stillHolds checks that the credential of a request still stands for the same
// person in the same role. It records nothing: nobody tried to sign in.
func (s *Server) stillHolds(request *fasthttp.RequestCtx, k *call) error {
	ctx, cancel := context.WithTimeout(context.Background(), feedTimeout)
	defer cancel()
	c := s.app.AcquireCtx(request)
	defer s.app.ReleaseCtx(c)
	now := &call{}
	for _, each := range s.authenticators {
		who, presented, err := each.Authenticate(ctx, c)
		if err != nil {
			return err
		}
		if presented {
			now.Principal = who
			break
		}
	}
	if now.User.ID != k.User.ID {
		return errRights
	}
	if err := s.enter(ctx, now, k.Project.ID); err != nil {
		return err
	}
	if now.Role != k.Role {
		return errRights
	}
	return nil
}

// stream is what one client is sent. All of it runs on the connection's own
// goroutine: fasthttp reads, writes and flushes, and reads again.
type stream struct {
	caller   engine.Caller
	feed     *feed
	at       int64 // everything up to here was written
	told     int64 // the last id that the client was sent
	pace     StreamPace
	beat     *time.Ticker
	conn     net.Conn
	clock    engine.Clock
	stopping <-chan struct{}
	holds    func() error
	ended    func(cause error)
	cause    error
	buffer   bytes.Buffer
}

var _ fasthttp.ReadCloserWithError = (*stream)(nil)

// Read implements io.Reader. It waits until there is something to send, and
// gives the client a time to accept it.
func (st *stream) Read(p []byte) (int, error) {
	for st.buffer.Len() == 0 && st.cause == nil {
		st.cause = st.next()
	}
	if err := st.conn.SetWriteDeadline(st.clock().Add(st.pace.Stall)); err != nil {
		return 0, fmt.Errorf("write stream: %w", err)
	}
	if st.buffer.Len() == 0 {
		return 0, io.EOF
	}
	return st.buffer.Read(p)
}

// CloseWithError implements fasthttp.ReadCloserWithError.
func (st *stream) CloseWithError(err error) error {
	st.beat.Stop()
	st.ended(cmp.Or(err, st.cause))
	return nil
}

// next waits for one thing to happen and puts what the client is to know of it
// into the buffer. Its error ends the stream.
func (st *stream) next() error {
	found, to, grown, known := st.feed.after(st.at)
	if !known {
		return st.catchUp()
	}
	if to > st.at {
		grown = closed
	}
	select {
	case <-st.stopping:
		return errStopping
	case <-st.beat.C:
		return st.pulse()
	case <-grown:
		return st.take(found, to)
	}
}

// catchUp reads one page of what is older than the feed's window, when it is this
// stream's turn. A page with nothing for the client is a sign of life all the
// same: whoever went away is noticed, and whoever comes back goes on from there.
func (st *stream) catchUp() error {
	select {
	case <-st.stopping:
		return errStopping
	case <-st.beat.C:
		return st.pulse()
	case st.feed.turn <- struct{}{}:
	}
	found, to, err := st.feed.page(context.Background(), st.at, needsRequester(st.caller))
	<-st.feed.turn
	if err != nil {
		return err
	}
	if to == st.at {
		return errNoChain
	}
	if err := st.take(found, to); err != nil {
		return err
	}
	if st.buffer.Len() == 0 {
		st.sign()
	}
	return nil
}

// closed is always ready.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// take writes what was found up to a position, if the caller may still have it:
// that they were disabled or signed out stands on another chain. Whoever lost
// their rights before an event is not told of it, since the event was found first.
func (st *stream) take(found []occurrence, to int64) error {
	before, told, rights := st.buffer.Len(), st.told, false
	for _, o := range found {
		from := st.buffer.Len()
		o.write(&st.buffer, st.caller)
		if st.buffer.Len() > from {
			told = o.seq
		}
		rights = rights || o.rights
	}
	if rights || st.buffer.Len() > before {
		if err := st.holds(); err != nil {
			st.buffer.Truncate(before)
			return err
		}
	}
	st.at, st.told = to, told
	return nil
}

// pulse lets the client and whatever is between see that the stream lives, and
// the server that the client does. It moves the client's position past what was
// not for them; an id without data is no event.
func (st *stream) pulse() error {
	if err := st.holds(); err != nil {
		return err
	}
	st.sign()
	return nil
}

func (st *stream) sign() {
	st.buffer.WriteString(":\n")
	if st.at > st.told {
		fmt.Fprintf(&st.buffer, "id: %d\n", st.at)
		st.told = st.at
	}
	st.buffer.WriteByte('\n')
}
