package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

const (
	feedPage      = 100  // entries that are read, or written to one stream, at once
	feedWindow    = 1000 // entries with events that a feed keeps in memory
	maxRequesters = 10_000
	pageTimeout   = 10 * time.Second
)

// Store is what streams read.
type Store interface {
	AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error)
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error)
	AuditNews(ctx context.Context, after map[string]int64, limit int) ([]engine.AuditEntry, error)
	Request(ctx context.Context, projectID, id string) (engine.Request, error)
}

// feed has what is new in a project's audit chain, for all of the project's streams.
// It keeps the newest events in memory. A stream that is further behind reads the
// chain itself, page by page. One stream of a project does so at a time, so that many
// slow clients do not cost more than one.
type feed struct {
	project string
	store   Store
	streams int           // guarded by Hub.mu
	turn    chan struct{} // has one element while a stream reads the chain

	mu         sync.Mutex
	from, head int64 // window has the events after from, up to head
	window     []entryEvents
	grown      chan struct{}     // closed when head grows, and when rights changed
	requesters map[string]string // person by request id
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
	if found, err = f.eventsOf(ctx, entries, requesters); err != nil {
		return nil, at, err
	}
	if len(entries) > 0 {
		at = entries[len(entries)-1].Seq
	}
	return found, at, nil
}

// eventsOf turns entries into events.
func (f *feed) eventsOf(ctx context.Context, entries []engine.AuditEntry, requesters bool) (found []entryEvents, err error) {
	for _, e := range entries {
		o := entryEvents{seq: e.Seq, events: eventsOf(e), rightsChanged: changesRights(e)}
		if o.events != nil && requesters {
			if o.requester, err = f.requester(ctx, e); err != nil {
				return nil, fmt.Errorf("follow audit log: %w", err)
			}
		}
		if o.events != nil || o.rightsChanged {
			found = append(found, o)
		}
	}
	return found, nil
}

// learn notes who made the requests that entries of this moment open, so that nobody
// looks them up. An older entry may be of a request that was deleted.
func (f *feed) learn(entries []engine.AuditEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		if e.Action == engine.ActionDownloadRequested && e.RequestID != "" {
			f.remember(e.RequestID, e.Actor.Person)
		}
	}
}

// remember needs mu.
func (f *feed) remember(requestID, person string) {
	if len(f.requesters) >= maxRequesters {
		clear(f.requesters)
	}
	f.requesters[requestID] = person
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
	f.remember(e.RequestID, r.Requester.Person)
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
	f.wakeStreams()
}

// wake has the streams look whether they may continue.
func (f *feed) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wakeStreams()
}

// wakeStreams needs mu.
func (f *feed) wakeStreams() {
	close(f.grown)
	f.grown = make(chan struct{})
}

// position is up to where the feed has the chain.
func (f *feed) position() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
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
