package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

const (
	maxStreams    = 16   // open at once, of one person in one process
	feedPage      = 100  // entries read, or written to one stream, at once
	feedWindow    = 1000 // occurrences kept in memory for the streams of a project
	maxRequesters = 10_000
	feedTimeout   = 10 * time.Second // of one page
)

// streams are the open streams of this process, with one feed per project that
// has any.
type streams struct {
	store engine.Store
	log   *slog.Logger
	poll  time.Duration

	mu    sync.Mutex
	feeds map[string]*feed // by project
	open  map[string]int   // streams by person
}

// join adds a stream. It starts the project's feed at head if it is the first
// there; whoever joins calls leave, once.
func (h *streams) join(person, project string, head int64) (f *feed, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[person] >= maxStreams {
		return nil, nil, engine.Errorf(engine.CodeRateLimited, "%d streams of yours are open already; close one", maxStreams).With(retryAfter, 30)
	}
	h.open[person]++
	f = h.feeds[project]
	if f == nil {
		f = &feed{
			project: project, store: h.store, from: head, head: head, grown: make(chan struct{}),
			requesters: map[string]string{}, ended: make(chan struct{}), turn: make(chan struct{}, 1),
		}
		h.feeds[project] = f
		var ctx context.Context
		ctx, f.stop = context.WithCancel(context.Background())
		go f.follow(ctx, h.poll, h.log)
	}
	f.streams++
	return f, func() { h.leave(person, f) }, nil
}

// leave takes a stream out; the project's last one ends the feed.
func (h *streams) leave(person string, f *feed) {
	h.mu.Lock()
	if h.open[person]--; h.open[person] == 0 {
		delete(h.open, person)
	}
	f.streams--
	last := f.streams == 0
	if last {
		delete(h.feeds, f.project)
	}
	h.mu.Unlock()
	if last {
		f.stop()
		<-f.ended // the store may be closed next
	}
}

// feed follows a project's audit chain for all of its streams. It keeps what
// happened last in memory; a stream that is further behind reads the chain
// itself, page by page and in turn with the others of its project, so that the
// slowest cost no more than the rest.
type feed struct {
	project string
	store   engine.Store
	streams int // guarded by streams.mu
	stop    context.CancelFunc
	ended   chan struct{}
	turn    chan struct{} // holds one, of the stream that reads the chain now

	mu         sync.Mutex
	from, head int64 // window holds what happened after from, up to head
	window     []occurrence
	grown      chan struct{}     // closed when head moves on
	requesters map[string]string // person by request id
}

// follow reads the chain until ctx ends. While the store fails, streams wait.
func (f *feed) follow(ctx context.Context, poll time.Duration, log *slog.Logger) {
	defer close(f.ended)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := f.catchUp(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			log.Error("streams wait for the audit log", "project", f.project, "error", err)
		}
		failing = err != nil
	}
}

func (f *feed) catchUp(ctx context.Context) error {
	for {
		at := f.head // only this goroutine writes it
		found, to, err := f.page(ctx, at, true)
		if err != nil || to == at {
			return err
		}
		f.grow(found, to)
	}
}

// page reads what follows position at from the chain, and tells how far it got.
// It looks up who made the requests if that matters to whom it is for.
func (f *feed) page(ctx context.Context, at int64, requesters bool) (found []occurrence, to int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	entries, err := f.store.AuditAfter(ctx, f.project, at, feedPage)
	if err != nil {
		return nil, at, fmt.Errorf("follow audit log: %w", err)
	}
	for _, e := range entries {
		o := occurrence{seq: e.Seq, events: eventsOf(e), rights: changesRights(e)}
		if o.events != nil && requesters {
			if o.person, err = f.requester(ctx, e); err != nil {
				return nil, at, fmt.Errorf("follow audit log: %w", err)
			}
		}
		if o.events != nil || o.rights {
			found = append(found, o)
		}
		at = e.Seq
	}
	return found, at, nil
}

// requester is the person behind the entry's request, whose own actor may be
// somebody else; "" if there is none, or it is not there any more.
func (f *feed) requester(ctx context.Context, e engine.AuditEntry) (string, error) {
	if e.RequestID == "" {
		return "", nil
	}
	f.mu.Lock()
	person, known := f.requesters[e.RequestID]
	f.mu.Unlock()
	if known {
		return person, nil
	}
	r, err := f.store.Request(ctx, f.project, e.RequestID)
	if errors.Is(err, engine.CodeNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requesters) >= maxRequesters {
		clear(f.requesters)
	}
	f.requesters[e.RequestID] = r.Requester.Person
	return r.Requester.Person, nil
}

// grow adds what was found up to a position and wakes the streams.
func (f *feed) grow(found []occurrence, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.window, f.head = append(f.window, found...), to
	if over := len(f.window) - feedWindow; over > 0 {
		f.from = f.window[over-1].seq
		f.window = slices.Clone(f.window[over:]) // streams may still read the old one
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

// after returns some of what follows position at and how far that reaches, and a
// channel that closes when there is more. It does not know what is older than
// its window.
func (f *feed) after(at int64) (found []occurrence, to int64, grown <-chan struct{}, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at < f.from {
		return nil, at, nil, false
	}
	i, _ := slices.BinarySearchFunc(f.window, at+1, func(o occurrence, seq int64) int { return cmp.Compare(o.seq, seq) })
	found, to = f.window[i:], max(at, f.head)
	if len(found) > feedPage {
		found = found[:feedPage]
		to = found[feedPage-1].seq
	}
	return found, to, f.grown, true
}
