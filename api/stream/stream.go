// Package stream follows the audit chains of projects and sends their news to
// clients as server-sent events (WHATWG HTML, section 9.2).
//
// Start with [Hub]. It has one feed for each project that a client follows
// (feed.go); a feed reads the project's audit chain and turns entries into events
// (event.go); each [Stream] writes the events that its caller may see.
package stream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/engine"
)

// MediaType is the media type of a stream.
const MediaType = "text/event-stream"

// Pace sets the intervals of streams.
type Pace struct {
	// Poll is the time between two reads of an audit chain, 500 ms by default.
	Poll time.Duration
	// Heartbeat is the time between two messages without an event, 15 s by
	// default. With each, and before events are sent, the caller's rights are
	// checked again.
	Heartbeat time.Duration
	// SendTimeout is how long a client may take to read what it is sent before
	// the stream ends, 10 s by default.
	SendTimeout time.Duration
}

func (p Pace) orDefault() Pace {
	return Pace{cmp.Or(p.Poll, 500*time.Millisecond), cmp.Or(p.Heartbeat, 15*time.Second), cmp.Or(p.SendTimeout, 10*time.Second)}
}

// retry is how long a client waits before it connects again.
const retry = 2 * time.Second

// ErrRights ends a stream whose caller lost a right.
var ErrRights = errors.New("the caller's rights changed")

var (
	errStopping = errors.New("the server is stopping")
	errNoChain  = errors.New("the audit log ends before its head")
)

// Open makes the caller's stream of their project. It begins after the entry with
// the id lastID, or at the end of the chain if that is "". CodeInvalidRequest says
// that lastID is not an id, CodeRateLimited that the caller has too many streams.
// Call Send next.
func (h *Hub) Open(ctx context.Context, caller engine.Caller, lastID string) (*Stream, error) {
	at, head, err := h.position(ctx, caller.Project.ID, lastID)
	if err != nil {
		return nil, err
	}
	f, leave, err := h.join(caller.User.ID, caller.Project.ID, head)
	if err != nil {
		return nil, err
	}
	return &Stream{caller: caller, feed: f, at: at, sentID: at, pace: h.pace, clock: h.clock, leave: leave}, nil
}

// position is where a stream begins, and the last entry of the chain. A larger id
// than the last entry's belongs to another chain, or to this one before it was
// restored from a backup: the stream then begins at the end.
func (h *Hub) position(ctx context.Context, project, lastID string) (at, head int64, err error) {
	newest, _, err := h.store.AuditEntries(ctx, engine.AuditQuery{ProjectID: project, Page: engine.Page{Limit: 1}})
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
		return 0, 0, engine.Errorf(engine.CodeInvalidRequest, "Last-Event-ID is not the id of an event; give a number")
	}
	return min(int64(id), head), head, nil //nolint:gosec // 63 bits
}

// Stream is what one client is sent. All of it runs on the goroutine of the
// connection: fasthttp reads from it, writes, flushes, and reads again.
type Stream struct {
	caller   engine.Caller
	feed     *feed
	at       int64 // everything up to this entry was written
	sentID   int64 // last id that the client was sent
	pace     Pace
	beat     *time.Ticker
	conn     net.Conn
	clock    engine.Clock
	stopping <-chan struct{}
	allowed  func() error
	leave    func()
	ended    func(position int64, cause error)
	cause    error
	buffer   bytes.Buffer
}

var _ fasthttp.ReadCloserWithError = (*Stream)(nil)

// Send hands the stream to fasthttp, which reads from it after the handlers have
// returned, and flushes what each read returns. allowed returns an error if the
// caller may not follow the project any longer; ended is called once, at the end.
func (st *Stream) Send(request *fasthttp.RequestCtx, allowed func() error, ended func(position int64, cause error)) {
	st.allowed, st.ended = allowed, ended
	st.conn, st.stopping, st.beat = request.Conn(), request.Done(), time.NewTicker(st.pace.Heartbeat)
	fmt.Fprintf(&st.buffer, "retry: %d\nid: %d\n\n", retry.Milliseconds(), st.at)
	request.Response.Header.SetContentType(MediaType)
	request.Response.Header.Set("X-Accel-Buffering", "no") // nginx would collect events
	request.SetStatusCode(fasthttp.StatusOK)
	request.SetBodyStream(st, -1)
}

// Read implements io.Reader. It waits until there is something to send and limits
// the time that the client has to read it.
func (st *Stream) Read(p []byte) (int, error) {
	for st.buffer.Len() == 0 && st.cause == nil {
		st.cause = st.next()
	}
	if err := st.conn.SetWriteDeadline(st.clock().Add(st.pace.SendTimeout)); err != nil {
		return 0, fmt.Errorf("write stream: %w", err)
	}
	if st.buffer.Len() == 0 {
		return 0, io.EOF
	}
	return st.buffer.Read(p)
}

// CloseWithError implements fasthttp.ReadCloserWithError.
func (st *Stream) CloseWithError(err error) error {
	st.beat.Stop()
	st.leave()
	st.ended(st.at, cmp.Or(err, st.cause))
	return nil
}

// next waits for one thing to happen and writes what the client must know of it
// to the buffer. Its error ends the stream.
func (st *Stream) next() error {
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
		return st.heartbeat()
	case <-grown:
		return st.write(found, to)
	}
}

// catchUp reads one page of entries that are older than the feed's window, when it
// is this stream's turn. A page without an event for the client is answered with a
// comment: this shows whether the client is still there, and moves its position.
func (st *Stream) catchUp() error {
	select {
	case <-st.stopping:
		return errStopping
	case <-st.beat.C:
		return st.heartbeat()
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
	if err := st.write(found, to); err != nil {
		return err
	}
	if st.buffer.Len() == 0 {
		st.comment()
	}
	return nil
}

// closed is always ready.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// write writes the events of entries up to a position, if the caller may still
// have them. It checks the rights after the events were found, because the entry
// that disabled or signed out the caller is on another chain: an event that
// happened after that is never sent.
func (st *Stream) write(found []entryEvents, to int64) error {
	before, sentID, rights := st.buffer.Len(), st.sentID, false
	for _, o := range found {
		from := st.buffer.Len()
		o.write(&st.buffer, st.caller)
		if st.buffer.Len() > from {
			sentID = o.seq
		}
		rights = rights || o.rightsChanged
	}
	if rights || st.buffer.Len() > before {
		if err := st.allowed(); err != nil {
			st.buffer.Truncate(before)
			return err
		}
	}
	st.at, st.sentID = to, sentID
	return nil
}

// heartbeat keeps the connection open, and shows the server whether the client is
// still there.
func (st *Stream) heartbeat() error {
	if err := st.allowed(); err != nil {
		return err
	}
	st.comment()
	return nil
}

// comment writes a comment. It also moves the client's position past the entries
// that had no event for the client; an id without data is not an event.
func (st *Stream) comment() {
	st.buffer.WriteString(":\n")
	if st.at > st.sentID {
		fmt.Fprintf(&st.buffer, "id: %d\n", st.at)
		st.sentID = st.at
	}
	st.buffer.WriteByte('\n')
}
