// Package stream follows the audit chains of projects and sends their news to
// clients as server-sent events (WHATWG HTML, section 9.2).
//
// Start with [Hub]. It reads what is new for all clients (hub.go) and gives it to one
// feed for each project that a client follows (feed.go), which turns entries into events
// (event.go); each [Stream] writes the events that its caller may see. It reads its
// caller's rights again when an entry says that rights changed (rights.go).
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
	// Poll is the time between two reads of the audit chains, 500 ms by default.
	Poll time.Duration
	// Heartbeat is the time between two messages without an event, 15 s by
	// default.
	Heartbeat time.Duration
	// Recheck is after how long the caller's rights are read again with a heartbeat
	// although no entry says that they changed, 1 minute by default.
	Recheck time.Duration
	// SendTimeout is how long a client may take to read what it is sent before
	// the stream ends, 10 s by default.
	SendTimeout time.Duration
}

func (p Pace) orDefault() Pace {
	return Pace{
		Poll: cmp.Or(p.Poll, 500*time.Millisecond), Heartbeat: cmp.Or(p.Heartbeat, 15*time.Second),
		Recheck: cmp.Or(p.Recheck, 15*time.Second), SendTimeout: cmp.Or(p.SendTimeout, 10*time.Second),
	}
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
	return &Stream{caller: caller, feed: f, rights: &h.rights, at: at, sentID: at, pace: h.pace, clock: h.clock, leave: leave}, nil
}

// position is where a stream begins, and the last entry of the chain. A larger id
// than the last entry's belongs to another chain, or to this one before it was
// restored from a backup: the stream then begins at the end.
func (h *Hub) position(ctx context.Context, project, lastID string) (at, head int64, err error) {
	if head, err = h.head(ctx, project); err != nil || lastID == "" {
		return head, head, err
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
	rights   *rights
	checked  int64     // the moment of rights for which the caller's were read; 0 for none
	checkAt  time.Time // when they are read again in any case
	ends     time.Time // when the caller's credential ends, if time alone decides; zero for never
	at       int64     // everything up to this entry was written
	sentID   int64     // last id that the client was sent
	pace     Pace
	beat     *time.Ticker
	conn     net.Conn
	clock    engine.Clock
	stopping <-chan struct{}
	allowed  Allowed
	leave    func()
	ended    func(position int64, cause error)
	cause    error
	buffer   bytes.Buffer
}

var _ fasthttp.ReadCloserWithError = (*Stream)(nil)

// Allowed reads the rights of a stream's caller. It returns an error if they may not
// follow the project any longer, and otherwise when their credential ends by the clock
// alone, zero for never.
type Allowed func() (until time.Time, err error)

// Send hands the stream to fasthttp, which reads from it after the handlers have
// returned, and flushes what each read returns. ended is called once, at the end.
func (st *Stream) Send(request *fasthttp.RequestCtx, allowed Allowed, ended func(position int64, cause error)) {
	st.allowed, st.ended = allowed, ended
	st.conn, st.stopping, st.beat = request.Conn(), request.Done(), time.NewTicker(st.pace.Heartbeat)
	st.checkAt = st.clock().Add(st.pace.Recheck)
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
		return st.write(found, to, true)
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
	// The page may reach further than the hub has read the system chain.
	if err := st.write(found, to, false); err != nil {
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
// have them. It checks the rights after the events were found: an event that
// happened after the caller lost them is never sent. fed says that the entries are
// from the feed: whatever changed on the system chain before them is noted.
func (st *Stream) write(found []entryEvents, to int64, fed bool) error {
	before, sentID, changed := st.buffer.Len(), st.sentID, fed && st.rights.changedSince(st.checked, st.caller.User.ID)
	for _, o := range found {
		from := st.buffer.Len()
		o.write(&st.buffer, st.caller)
		if st.buffer.Len() > from {
			sentID = o.seq
		}
		changed = changed || o.rightsChanged
	}
	if changed || st.buffer.Len() > before && (!fed || st.checked == 0 || st.due()) {
		moment := st.rights.now()
		if err := st.check(); err != nil {
			st.buffer.Truncate(before)
			return err
		}
		if fed {
			st.checked = moment
		}
	}
	st.at, st.sentID = to, sentID
	return nil
}

// due reports whether the caller's credential has ended, as far as time decides, or
// their rights were not read for a while.
func (st *Stream) due() bool {
	now := st.clock()
	return !now.Before(st.checkAt) || !st.ends.IsZero() && !now.Before(st.ends)
}

// check reads the caller's rights.
func (st *Stream) check() (err error) {
	st.ends, err = st.allowed()
	st.checkAt = st.clock().Add(st.pace.Recheck)
	return err
}

// heartbeat keeps the connection open, and shows the server whether the client is
// still there.
func (st *Stream) heartbeat() error {
	if st.due() {
		if err := st.check(); err != nil {
			return err
		}
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
