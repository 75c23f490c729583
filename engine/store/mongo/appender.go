package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// batchSize is the largest number of entries that one command inserts. Entries that
// arrive while the command runs form the next batch. FerretDB splits an insert after
// a hundred documents and continues behind a refused one, which would leave a gap.
const batchSize = 64

// maxEntry is the largest size of one entry, in bytes, so that a batch always fits
// into a command.
const maxEntry = 128 << 10

// appenders holds one appender for each chain that this process has written to.
type appenders struct {
	store  *Store
	mu     sync.Mutex
	chains map[string]*appender
}

// append adds an entry to its chain and waits until it is durable; added is false
// if an entry with its Ref exists already.
func (a *appenders) append(ctx context.Context, e engine.AuditEntry) (added bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	e, err = asStored(e)
	if err != nil {
		return false, auditUnavailable(err)
	}
	a.mu.Lock()
	chain := a.chains[e.ProjectID]
	if chain == nil {
		if a.chains == nil {
			a.chains = map[string]*appender{}
		}
		chain = &appender{store: a.store, chain: e.ProjectID}
		a.chains[e.ProjectID] = chain
	}
	a.mu.Unlock()
	return chain.append(ctx, e)
}

// asStored returns the entry as the database will return it, with invalid UTF-8
// replaced: the hash must cover what readers get.
func asStored(e engine.AuditEntry) (engine.AuditEntry, error) {
	raw, err := encode(e)
	if err != nil {
		return e, err
	}
	if len(raw) > maxEntry {
		return e, fmt.Errorf("the audit entry has %d bytes; at most %d are allowed", len(raw), maxEntry)
	}
	return decode[engine.AuditEntry](raw)
}

// appender writes one chain's entries for this process, in batches. It works
// while anything waits and keeps the chain's head for the next time.
//
// Other processes may write the same chain. If two insert at the same place, the
// unique _id refuses the second, which reads the new head and links its entries
// behind it. After a lost answer the appender does the same; the Refs show which of
// its entries are stored.
type appender struct {
	store *Store
	chain string

	mu      sync.Mutex
	waiting []*pending
	working bool

	// Only the goroutine that runs work uses these.
	head      engine.AuditHead
	headKnown bool // head is the last entry of the chain, as far as this process knows
}

// pending is an entry and the caller who waits for it.
type pending struct {
	entry engine.AuditEntry
	// sent says that an answer was lost: an entry that is found is this one.
	sent  bool
	done  chan struct{}
	added bool
	err   error
}

func (p *pending) answer(added bool, err error) {
	p.added, p.err = added, err
	close(p.done)
}

func (a *appender) append(ctx context.Context, e engine.AuditEntry) (bool, error) {
	p := &pending{entry: e, done: make(chan struct{})}
	a.mu.Lock()
	a.waiting = append(a.waiting, p)
	if !a.working {
		a.working = true
		// The caller's own write is counted too, so Close still waits at this point.
		a.store.writes.Go(a.work)
	}
	a.mu.Unlock()
	select {
	case <-p.done:
		return p.added, p.err
	case <-ctx.Done():
		a.mu.Lock()
		a.waiting = slices.DeleteFunc(a.waiting, func(q *pending) bool { return q == p })
		a.mu.Unlock()
		return false, auditUnavailable(ctx.Err())
	}
}

func (a *appender) work() {
	for batch := a.nextBatch(); len(batch) > 0; batch = a.nextBatch() {
		a.write(batch)
	}
}

// nextBatch returns the entries to write next; it is empty when none wait.
func (a *appender) nextBatch() []*pending {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(batchSize, len(a.waiting))
	batch := slices.Clone(a.waiting[:n])
	a.waiting = slices.Delete(a.waiting, 0, n)
	a.working = n > 0
	return batch
}

// write adds a batch to the chain and answers every caller in it. It has a deadline
// of its own, because a caller who leaves must not interrupt the others' write.
func (a *appender) write(batch []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	lost := false
	for conflicts := 0; len(batch) > 0; {
		rest, err := a.attempt(ctx, batch)
		switch batch = rest; {
		case err == nil:
			continue
		case driver.IsDuplicateKeyError(err):
			conflicts++
		case firstRefused(err):
			batch[0].answer(false, auditUnavailable(fault("append to audit chain", err)))
			batch = batch[1:]
		case maybeWritten(err) && !lost:
			lost = true // some entries may be stored: read the chain once
			for _, p := range batch {
				p.sent = true
			}
		default:
			failAll(batch, err)
			return
		}
		// The pause is short: a process that competes with a busy writer must try often.
		if err := pause(ctx, min(conflicts, 2)); err != nil {
			failAll(batch, err)
			return
		}
	}
}

func failAll(batch []*pending, err error) {
	err = auditUnavailable(fault("append to audit chain", err))
	for _, p := range batch {
		p.answer(false, err)
	}
}

// attempt links the batch behind the head and inserts it in order. It answers the
// callers whose entries are stored and returns the others.
func (a *appender) attempt(ctx context.Context, batch []*pending) ([]*pending, error) {
	if !a.headKnown {
		var err error
		if batch, err = a.readHead(ctx, batch); err != nil || len(batch) == 0 {
			return batch, err
		}
	}
	docs, heads, head := []any{}, []engine.AuditHead{}, a.head
	for _, p := range batch {
		e := p.entry
		head = e.Link(head)
		doc, err := encode(newAuditDocument(e))
		if err != nil {
			return batch, err
		}
		docs, heads = append(docs, doc), append(heads, head)
	}
	_, err := a.store.db.Collection(auditName).InsertMany(ctx, docs)
	written := len(batch)
	if err != nil {
		written, a.headKnown = durable(err), false
	}
	for i, p := range batch[:written] {
		a.head = heads[i]
		p.answer(true, nil)
	}
	return batch[written:], err
}

// readHead reads the last entry of the chain and answers the callers of the batch
// whose entries are stored already.
func (a *appender) readHead(ctx context.Context, batch []*pending) ([]*pending, error) {
	c, refs := a.store.db.Collection(auditName), []string{}
	for _, p := range batch {
		refs = append(refs, p.entry.Ref)
	}
	docs, err := findAll[auditDocument](ctx, c, bson.D{{Key: "ref", Value: bson.D{{Key: "$in", Value: refs}}}},
		options.Find().SetProjection(bson.D{{Key: "ref", Value: 1}}))
	if err != nil {
		return batch, err
	}
	last, err := find[auditDocument](ctx, c, bson.D{{Key: "project_id", Value: a.chain}}, options.FindOne().
		SetSort(bson.D{{Key: "seq", Value: -1}}).SetProjection(bson.D{{Key: "seq", Value: 1}, {Key: "hash", Value: 1}}))
	if err != nil && !errors.Is(err, engine.CodeNotFound) {
		return batch, err
	}
	a.head, a.headKnown = engine.AuditHead{Seq: last.Seq, Hash: last.Hash}, true
	return slices.DeleteFunc(batch, func(p *pending) bool {
		found := slices.ContainsFunc(docs, func(d auditDocument) bool { return d.Ref == p.entry.Ref })
		if found {
			p.answer(p.sent, nil)
		}
		return found
	}), nil
}

// durable returns how many documents of a failed ordered insert are stored durably:
// those before the first refused one, if a majority has them.
func durable(err error) int {
	bulk, ok := errors.AsType[driver.BulkWriteException](err)
	if !ok || bulk.WriteConcernError != nil || len(bulk.WriteErrors) == 0 {
		return 0
	}
	return bulk.WriteErrors[0].Index
}

// firstRefused reports whether the server refused the first document of the batch
// because of its content. The documents behind it may be tried again.
func firstRefused(err error) bool {
	bulk, ok := errors.AsType[driver.BulkWriteException](err)
	return ok && bulk.WriteConcernError == nil && len(bulk.WriteErrors) > 0
}
