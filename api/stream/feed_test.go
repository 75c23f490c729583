package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// A feed that is read in parts returns every entry once and in order, back to the
// oldest that it keeps.
func TestFeedWindow(t *testing.T) {
	f := &feed{grown: make(chan struct{}), from: 10, head: 10}
	if _, _, _, known := f.after(9); known {
		t.Fatal("it knows what was before it")
	}
	_, to, grown, known := f.after(10)
	if !known || to != 10 {
		t.Fatalf("at its head it gave %d, %v", to, known)
	}
	f.grow(nil, 11)
	select {
	case <-grown:
	default:
		t.Fatal("its streams were not woken")
	}
	if found, to, _, _ := f.after(20); len(found) != 0 || to != 20 {
		t.Fatalf("a stream ahead of it was given %v up to %d", found, to)
	}
	head := int64(11)
	for range 3 * feedWindow / 2 {
		head += 2 // every other entry is no event
		f.grow([]entryEvents{{seq: head - 1}}, head)
	}
	if _, _, _, known := f.after(11); known || len(f.window) != feedWindow {
		t.Fatalf("it remembers %d, the first too: %v", len(f.window), known)
	}
	at := head - 2*feedWindow
	next := at + 1
	for {
		found, to, _, known := f.after(at)
		if !known || len(found) > feedPage {
			t.Fatalf("after %d: %v, %d found", at, known, len(found))
		}
		for _, o := range found {
			if o.seq != next {
				t.Fatalf("%d came where %d was next", o.seq, next)
			}
			next += 2
		}
		if to == at {
			break
		}
		at = to
	}
	if at != head || next != head+1 {
		t.Fatalf("it ends at %d with %d next, want %d", at, next, head)
	}
}

func TestStreamsOfAPerson(t *testing.T) {
	h := New(nil, engine.SystemClock, slog.New(slog.DiscardHandler), Pace{Poll: 1 << 40})
	var leave []func()
	for i := range maxStreams {
		_, l, err := h.join("ann", []string{"p", "q"}[i%2], 1)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	if _, _, err := h.join("ann", "p", 1); !errors.Is(err, engine.CodeRateLimited) {
		t.Fatalf("one more gave %v", err)
	}
	if _, l, err := h.join("bob", "p", 1); err != nil || len(h.feeds) != 2 {
		t.Fatalf("%v, %d feeds", err, len(h.feeds))
	} else {
		leave = append(leave, l)
	}
	for _, l := range leave {
		l()
	}
	if len(h.feeds)+len(h.open) != 0 {
		t.Fatalf("%v and %v stay behind", h.feeds, h.open)
	}
}

// archive is a chain of requests, with nothing else.
type archive struct {
	length            int64
	reading, requests atomic.Int32
	entered, answer   chan struct{} // of every read, where they are set
}

func (a *archive) AuditAfter(_ context.Context, _ string, at int64, limit int) (found []engine.AuditEntry, err error) {
	defer a.reading.Add(-1)
	if a.reading.Add(1) > 1 {
		return nil, fmt.Errorf("two streams read at once")
	}
	if a.entered != nil {
		a.entered <- struct{}{}
		<-a.answer
	}
	for seq := at + 1; seq <= min(at+int64(limit), a.length); seq++ {
		found = append(found, engine.AuditEntry{
			Seq: seq, Action: engine.ActionDownloadRequested, Outcome: engine.AuditSuccess, RequestID: fmt.Sprint("req_", seq), Detail: map[string]string{"status": "issued"},
		})
	}
	return found, nil
}

func (a *archive) AuditNews(context.Context, map[string]int64, int) ([]engine.AuditEntry, error) {
	return nil, nil
}

func (a *archive) AuditEntries(context.Context, engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	return nil, "", nil
}

func (a *archive) Request(context.Context, string, string) (engine.Request, error) {
	a.requests.Add(1)
	return engine.Request{Requester: engine.Actor{Person: "ann"}}, nil
}

// behind is a stream at the beginning of a project whose feed began at its end.
func (a *archive) behind(t *testing.T, f *feed, role engine.Role) *Stream {
	f.store, f.from, f.head = a, a.length, a.length
	near, far := net.Pipe()
	st := &Stream{
		caller: engine.Caller{Principal: engine.Principal{User: engine.User{ID: "ann"}}, Role: role}, feed: f, pace: Pace{}.orDefault(),
		beat: time.NewTicker(time.Millisecond), conn: near, clock: engine.SystemClock, rights: &rights{moment: 1},
		allowed: func() (time.Time, error) { return time.Time{}, nil },
	}
	t.Cleanup(func() { st.beat.Stop(); _, _ = near.Close(), far.Close() })
	return st
}

func newFeed() *feed {
	return &feed{grown: make(chan struct{}), requesters: map[string]string{}, turn: make(chan struct{}, 1)}
}

func read(t *testing.T, st *Stream) string {
	t.Helper()
	text := make([]byte, 64<<10)
	n, err := st.Read(text)
	if err != nil {
		t.Errorf("%v, %v", err, st.cause) // not Fatal: it must not end the goroutine that waits for this text
	}
	return string(text[:n])
}

// While one stream reads entries that are no longer in memory, another waits for its
// turn and stays open.
func TestStreamsCatchUpInTurn(t *testing.T) {
	a, f := &archive{length: 10 * feedPage, entered: make(chan struct{}), answer: make(chan struct{})}, newFeed()
	one, two := a.behind(t, f, engine.RoleAdmin), a.behind(t, f, engine.RoleAdmin)
	one.beat.Reset(time.Hour)
	first := make(chan string)
	go func() { first <- read(t, one) }()
	<-a.entered
	if text := read(t, two); text != ":\n\n" {
		t.Errorf("the other stream said %q", text)
	}
	close(a.answer)
	if text := <-first; len(text) < feedPage {
		t.Errorf("the first got %q", text)
	}
	two.beat.Reset(time.Hour)
	go func() { first <- read(t, two) }()
	<-a.entered
	if text := <-first; len(text) < feedPage {
		t.Errorf("the second got %q", text)
	}
}

// The feed does not load requests for a client who may not see them, and it says
// when a page without events for the client ends.
func TestCatchingUpWithoutEvents(t *testing.T) {
	for role, want := range map[engine.Role]int32{engine.RoleViewer: 0, engine.RoleOperator: feedPage, engine.RoleAdmin: feedPage} {
		a := &archive{length: 2 * feedPage}
		st := a.behind(t, newFeed(), role)
		st.beat.Reset(time.Hour)
		text := read(t, st)
		if n := a.requests.Load(); n != want {
			t.Errorf("%s: %d requests were looked up, want %d", role, n, want)
		}
		if role == engine.RoleViewer && text != fmt.Sprintf(":\nid: %d\n\n", feedPage) {
			t.Errorf("a viewer got %q", text)
		}
	}
}
