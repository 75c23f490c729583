package mongo

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// An entry of the audit log is appended in two steps, so that no process waits for
// another. First the appender inserts it among the waiting entries, after which it
// is durable. Then a linker gives it its number and hash, in batches, within a
// second. Whoever reads a chain has its waiting entries linked first, so nobody
// reads a chain without them.
//
// Every process may link every chain. A linked entry is inserted under its number,
// which one process can do, and with its Ref, which one entry can have. Who loses
// reads the chain again, in the background.

const (
	// linkAfter is how long a process collects entries before it links them.
	linkAfter = 100 * time.Millisecond
	// watchInterval is how often a process looks for entries that others left.
	watchInterval = 5 * time.Second
	// maxLinkTries is how often a reader begins to link again because another process
	// was faster. That one links the same entries.
	maxLinkTries = 100
)

// chains has the appender, and a linker for each chain that this process has written
// to or read.
type chains struct {
	appender
	closing chan struct{}

	mu      sync.Mutex
	linkers map[string]*linker
}

// append makes an entry durable and has it linked.
func (c *chains) append(ctx context.Context, e engine.AuditEntry) error {
	defer c.linker(e.ProjectID).wake() // also after an error: the entry may be stored
	return c.appender.append(ctx, e)
}

// watch has the entries linked, at intervals, that other processes left.
func (c *chains) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.closing:
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		_ = c.resume(ctx) // the store does not answer: the next tick tries again
		cancel()
	}
}

// resume has the entries linked that an earlier process left.
func (c *chains) resume(ctx context.Context) error {
	waiting, err := findAll[waitingEntry](ctx, c.store.db.Collection(waitingName), bson.D{},
		options.Find().SetProjection(bson.D{{Key: "entry.project_id", Value: 1}}))
	for _, w := range waiting {
		c.linker(w.Entry.ProjectID).wake()
	}
	return err
}

func (c *chains) linker(chain string) *linker {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.linkers[chain]
	if l == nil {
		if c.linkers == nil {
			c.linkers = map[string]*linker{}
		}
		l = &linker{chains: c, chain: chain}
		c.linkers[chain] = l
	}
	return l
}

// has reports whether an entry with this Ref waits or is linked. It looks in this
// order, in which entries move.
func (c *chains) has(ctx context.Context, ref string) (bool, error) {
	for _, place := range []struct{ collection, member string }{{waitingName, "_id"}, {auditName, "ref"}} {
		_, err := findRaw(ctx, c.store.db.Collection(place.collection), bson.D{{Key: place.member, Value: ref}})
		if !errors.Is(err, engine.CodeNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}

// linker links one chain.
type linker struct {
	*chains
	chain string

	linking   sync.Mutex       // held while this process links the chain
	head      engine.AuditHead // the last entry of the chain, if headKnown
	headKnown bool
	conflicts int // how often another process was faster since this one last linked

	state   sync.Mutex
	running bool // the background linker
	more    bool // entries were appended since it began its latest pass
}

// wake has the waiting entries linked in the background.
func (l *linker) wake() {
	l.state.Lock()
	defer l.state.Unlock()
	l.more = true
	if !l.running {
		l.running = true
		// The caller's own write is counted too, so Close still waits at this point.
		l.store.writes.Go(l.run)
	}
}

// run links until no more entries come. At Close it links once more and ends; what
// it cannot link then is linked by the next process.
func (l *linker) run() {
	for failures := 0; ; {
		closing := false
		select {
		case <-time.After(rand.N(linkAfter<<min(failures, 6)) + linkAfter/2): //nolint:gosec // it spreads processes in time and guards nothing
		case <-l.closing:
			closing = true
		}
		l.state.Lock()
		l.more = false
		l.state.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		err := l.link(ctx, 0)
		cancel()
		if failures++; err == nil {
			failures = 0
		}
		l.state.Lock()
		if closing || err == nil && !l.more {
			l.running = false
			l.state.Unlock()
			return
		}
		l.state.Unlock()
	}
}

// link links the entries of the chain that wait when it is called. If another process
// links the chain at the same moment, it begins again, so many times at most.
func (l *linker) link(ctx context.Context, again int) error {
	if !l.store.links.Load() {
		return nil // the entries wait for a process that can tell whether they are authentic
	}
	l.linking.Lock()
	defer l.linking.Unlock()
	waiting, err := l.waiting(ctx)
	for begun := 0; err == nil && len(waiting) > 0; {
		n := min(batchSize, len(waiting))
		if err = l.linkBatch(ctx, waiting[:n]); err == nil {
			l.conflicts, waiting = 0, waiting[n:]
			continue
		}
		l.headKnown = false
		l.conflicts++
		if begun++; begun > again || !driver.IsDuplicateKeyError(err) && !maybeWritten(err) {
			return fault("link the audit chain", err)
		}
		if err := pause(ctx, 5); err != nil { // the other process links some batches meanwhile
			return fault("link the audit chain", err)
		}
		waiting, err = l.waiting(ctx)
	}
	return err
}

// waiting are the entries of the chain that wait, in their order.
func (l *linker) waiting(ctx context.Context) ([]waitingEntry, error) {
	return findAll[waitingEntry](ctx, l.store.db.Collection(waitingName), bson.D{{Key: "entry.project_id", Value: l.chain}},
		options.Find().SetSort(bson.D{{Key: "order", Value: 1}}))
}

// linkBatch links entries behind the chain's head, in order, and removes them from
// those that wait. Those whose Ref is linked already are only removed: another
// process ended between these two steps. It looks for these once it has lost twice.
func (l *linker) linkBatch(ctx context.Context, batch []waitingEntry) error {
	refs := []string{}
	for _, w := range batch {
		refs = append(refs, w.ID)
	}
	var known map[string]bool
	var err error
	if l.conflicts > 1 {
		if known, err = l.linked(ctx, refs); err != nil {
			return err
		}
	}
	if !l.headKnown {
		if l.head, err = l.readHead(ctx); err != nil {
			return err
		}
	}
	var docs []any
	head := l.head
	for _, w := range batch {
		if known[w.ID] {
			continue
		}
		head = w.Entry.Link(l.store.auditKey, head)
		if !w.authentic(l.store.auditKey) {
			// Somebody else wrote it. It stays visible, and its hash does not match.
			w.Entry.Hash, head.Hash = notAuthentic, notAuthentic
		}
		doc, err := encode(newAuditDocument(w.Entry))
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	if len(docs) > 0 {
		if _, err := l.store.db.Collection(auditName).InsertMany(ctx, docs); err != nil {
			return err
		}
	}
	l.head, l.headKnown = head, true
	_, err = deleteByID(ctx, l.store.db.Collection(waitingName), refs)
	return err
}

// linked returns which of the Refs are linked.
func (l *linker) linked(ctx context.Context, refs []string) (map[string]bool, error) {
	docs, err := findAll[auditDocument](ctx, l.store.db.Collection(auditName), bson.D{{Key: "ref", Value: bson.D{{Key: "$in", Value: refs}}}},
		options.Find().SetProjection(bson.D{{Key: "ref", Value: 1}}))
	known := map[string]bool{}
	for _, d := range docs {
		known[d.Ref] = true
	}
	return known, err
}

// readHead returns the last entry of the chain.
func (l *linker) readHead(ctx context.Context) (engine.AuditHead, error) {
	last, err := findAll[auditDocument](ctx, l.store.db.Collection(auditName), bson.D{{Key: "project_id", Value: l.chain}}, options.Find().
		SetSort(bson.D{{Key: "seq", Value: -1}}).SetLimit(1).SetProjection(bson.D{{Key: "seq", Value: 1}, {Key: "hash", Value: 1}}))
	if err != nil || len(last) == 0 {
		return engine.AuditHead{}, err
	}
	return engine.AuditHead{Seq: last[0].Seq, Hash: last[0].Hash}, nil
}
