package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// maxStreams is the largest number of open streams of one person in one process.
const maxStreams = 16

// Hub has the open streams of this process, and one feed for each project that has
// a stream. While there are streams, one goroutine reads what is new for all of them:
// the cost of reading does not grow with the number of streams. Make a hub with New.
type Hub struct {
	store  Store
	clock  engine.Clock
	log    *slog.Logger
	pace   Pace
	rights rights

	mu       sync.Mutex
	feeds    map[string]*feed // by project
	open     map[string]int   // number of streams by person
	follower *follower        // nil without streams
}

// follower is the goroutine that reads.
type follower struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// New makes a hub without streams.
func New(store Store, clock engine.Clock, log *slog.Logger, pace Pace) *Hub {
	return &Hub{
		store: store, clock: clock, log: log, pace: pace.orDefault(), feeds: map[string]*feed{}, open: map[string]int{},
		rights: rights{moment: 1, changed: map[string]int64{}},
	}
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
			requesters: map[string]string{}, turn: make(chan struct{}, 1),
		}
		h.feeds[project] = f
	}
	f.streams++
	if h.follower == nil {
		ctx, stop := context.WithCancel(context.Background())
		h.follower = &follower{stop, make(chan struct{})}
		go h.follow(ctx, h.follower.ended)
	}
	return f, func() { h.leave(person, f) }, nil
}

// leave removes a stream. The last stream of a project ends its feed, and the last of
// all ends the reading.
func (h *Hub) leave(person string, f *feed) {
	h.mu.Lock()
	if h.open[person]--; h.open[person] == 0 {
		delete(h.open, person)
	}
	if f.streams--; f.streams == 0 {
		delete(h.feeds, f.project)
	}
	var last *follower
	if len(h.feeds) == 0 {
		last, h.follower = h.follower, nil
	}
	h.mu.Unlock()
	if last != nil {
		last.stop()
		<-last.ended // the caller may close the store next
	}
}

// follow reads the chains until ctx ends. Streams wait while the store fails.
func (h *Hub) follow(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	tick := time.NewTicker(h.pace.Poll)
	defer tick.Stop()
	system, failing := int64(-1), false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var err error
		system, err = h.catchUp(ctx, system)
		if err != nil && ctx.Err() == nil && !failing {
			h.log.Error("streams wait: cannot read the audit log", "error", err)
		}
		failing = err != nil
	}
}

// catchUp gives every feed what is new in its chain. system is up to where the system
// chain was read, -1 before its end was looked up; catchUp returns up to where it is
// read now.
//
// A person's account and sessions change on the system chain, and what happens after
// that on a project's chain must not be sent to them. So the system chain is read to
// its end after the entries of projects were read, and before any stream gets them.
func (h *Hub) catchUp(ctx context.Context, system int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	var err error
	if system < 0 {
		if system, err = h.head(ctx, engine.SystemChain); err != nil {
			return -1, err
		}
	}
	for {
		after := h.positions()
		after[engine.SystemChain] = system
		news, err := h.store.AuditNews(ctx, after, feedPage)
		if err != nil {
			return system, fmt.Errorf("follow audit logs: %w", err)
		}
		byChain := map[string][]engine.AuditEntry{}
		for _, e := range news {
			byChain[e.ProjectID] = append(byChain[e.ProjectID], e)
		}
		system = h.note(byChain[engine.SystemChain], system)
		delete(byChain, engine.SystemChain)
		if len(byChain) > 0 {
			if system, err = h.readSystem(ctx, system); err != nil {
				return system, err
			}
		}
		var failed []error
		for chain, entries := range byChain {
			if err := h.give(ctx, chain, entries); err != nil {
				failed = append(failed, fmt.Errorf("project %s: %w", chain, err)) // the other projects go on
			}
		}
		if len(news) < feedPage || len(failed) > 0 {
			return system, errors.Join(failed...)
		}
	}
}

// readSystem reads the system chain from a position to its end.
func (h *Hub) readSystem(ctx context.Context, at int64) (int64, error) {
	for {
		entries, err := h.store.AuditAfter(ctx, engine.SystemChain, at, feedPage)
		if err != nil {
			return at, fmt.Errorf("follow the system's audit log: %w", err)
		}
		if at = h.note(entries, at); len(entries) < feedPage {
			return at, nil
		}
	}
}

// note notes whose rights entries of the system chain changed, and has the streams look
// whether they may continue. It returns the position after the entries.
func (h *Hub) note(entries []engine.AuditEntry, at int64) int64 {
	changed := false
	for _, e := range entries {
		at = e.Seq
		if whose, changes := systemRights(e); changes && (whose == everybody || h.follows(whose)) {
			h.rights.note(whose)
			changed = true
		}
	}
	if changed {
		for _, f := range h.all() {
			f.wake()
		}
	}
	return at
}

// give gives a feed the entries that follow what it has.
func (h *Hub) give(ctx context.Context, chain string, entries []engine.AuditEntry) error {
	h.mu.Lock()
	f := h.feeds[chain]
	h.mu.Unlock()
	if f == nil {
		return nil // its last stream has ended
	}
	f.learn(entries)
	found, err := f.eventsOf(ctx, entries, true)
	if err == nil {
		f.grow(found, entries[len(entries)-1].Seq)
	}
	return err
}

// follows reports whether a person has an open stream.
func (h *Hub) follows(person string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[person] > 0
}

func (h *Hub) all() (feeds []*feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		feeds = append(feeds, f)
	}
	return feeds
}

// positions are up to where the feeds have their chains.
func (h *Hub) positions() map[string]int64 {
	after := map[string]int64{}
	for _, f := range h.all() {
		after[f.project] = f.position()
	}
	return after
}

// head is the number of the last entry of a chain.
func (h *Hub) head(ctx context.Context, chain string) (int64, error) {
	newest, _, err := h.store.AuditEntries(ctx, engine.AuditQuery{ProjectID: chain, Page: engine.Page{Limit: 1}})
	if err != nil {
		return 0, fmt.Errorf("read head of audit log: %w", err)
	}
	if len(newest) == 0 {
		return 0, nil
	}
	return newest[0].Seq, nil
}
