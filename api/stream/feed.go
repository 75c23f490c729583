package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

const (
	maxStreams    = 16   // open streams of one person in one process
	feedPage      = 100  // entries that are read, or written to one stream, at once
	feedWindow    = 1000 // entries with events that a feed keeps in memory
	maxRequesters = 10_000
	pageTimeout   = 10 * time.Second
)

// Store is what streams read.
type Store interface {
	AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error)
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error)
	Request(ctx context.Context, projectID, id string) (engine.Request, error)
}

// Hub has the open streams of this process, and one feed for each project that has
// a stream. Make one with New.
type Hub struct {
	store Store
	clock engine.Clock
	log   *slog.Logger
	pace  Pace

	mu    sync.Mutex
	feeds map[string]*feed // by project
	open  map[string]int   // number of streams by person
}

// New makes a hub without streams.
func New(store Store, clock engine.Clock, log *slog.Logger, pace Pace) *Hub {
	return &Hub{store: store, clock: clock, log: log, pace: pace.orDefault(), feeds: map[string]*feed{}, open: map[string]int{}}
}

// join adds a stream. The first stream of a project starts the project's feed at
// head. The caller calls leave once.
func (h *Hub) join(person, project string, head int64) (f *feed, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[person] >= maxStreams {
		return nil, nil, engine.Errorf(engine.CodeRateLimited, "you have %d open streams already; close one", maxStreams).With(wire.RetryAfter, 30)
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
		go f.follow(ctx, h.pace.Poll, h.log)
	}
	f.streams++
	return f, func() { h.leave(person, f) }, nil
}

// leave removes a stream; the last stream of a project ends its feed.
func (h *Hub) leave(person string, f *feed) {
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
		<-f.ended // the caller may close the store next
	}
}

// feed follows a project's audit chain for all of its streams. It keeps the newest
// events in memory. A stream that is further behind reads the chain itself, page by
// page. One stream of a project does so at a time, so that many slow clients do not
// cost more than one.
type feed struct {
	project string
	store   Store
	streams int // guarded by streams.mu
	stop    context.CancelFunc
	ended   chan struct{}
	turn    chan struct{} // has one element while a stream reads the chain

	mu         sync.Mutex
	from, head int64 // window has the events after from, up to head
	window     []entryEvents
	grown      chan struct{}     // closed when head grows
	requesters map[string]string // person by request id
}

// follow reads the chain until ctx ends. Streams wait while the store fails.
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
			log.Error("streams wait: cannot read the audit log", "project", f.project, "error", err)
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

// page reads entries of the chain after the position at, and returns how far it
// read. It looks up the requesters if the receiver needs them.
func (f *feed) page(ctx context.Context, at int64, requesters bool) (found []entryEvents, to int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	entries, err := f.store.AuditAfter(ctx, f.project, at, feedPage)
	if err != nil {
		return nil, at, fmt.Errorf("follow audit log: %w", err)
	}
	for _, e := range entries {
		o := entryEvents{seq: e.Seq, events: eventsOf(e), rightsChanged: changesRights(e)}
		if o.events != nil && requesters {
			if o.requester, err = f.requester(ctx, e); err != nil {
				return nil, at, fmt.Errorf("follow audit log: %w", err)
			}
		}
		if o.events != nil || o.rightsChanged {
			found = append(found, o)
		}
		at = e.Seq
	}
	return found, at, nil
}

// requester is the person who made the entry's request; the entry's actor may be
// another user. It is "" if there is no request, or if it was deleted.
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

// grow adds the events up to a position and wakes the streams.
func (f *feed) grow(found []entryEvents, to int64) {
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

// after returns events after the position at, how far they reach, and a channel
// that is closed when there are more. known is false if at is older than the
// window.
func (f *feed) after(at int64) (found []entryEvents, to int64, grown <-chan struct{}, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at < f.from {
		return nil, at, nil, false
	}
	i, _ := slices.BinarySearchFunc(f.window, at+1, func(o entryEvents, seq int64) int { return cmp.Compare(o.seq, seq) })
	found, to = f.window[i:], max(at, f.head)
	if len(found) > feedPage {
		found = found[:feedPage]
		to = found[feedPage-1].seq
	}
	return found, to, f.grown, true
}
