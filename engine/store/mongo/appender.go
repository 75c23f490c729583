package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// waitingEntry is an audit entry that is durable and not linked yet; see linker.go.
// Order sorts the entries of one process in the order of their calls, and those of
// several by their clocks.
type waitingEntry struct {
	ID    string            `json:"id"` // the entry's Ref
	Order int64             `json:"order"`
	Entry engine.AuditEntry `json:"entry"`
}

// batchSize is the largest number of entries that one command inserts. FerretDB
// splits an insert after a hundred documents and continues behind a refused one,
// which would leave a gap in a chain.
const batchSize = 64

// maxEntry is the largest size of one entry, in bytes, so that a batch always fits
// into a command.
const maxEntry = 128 << 10

// appender makes the audit entries of this process durable. Entries that arrive
// while one command inserts form the batch of the next. It never waits for another
// process.
type appender struct {
	store *Store

	mu      sync.Mutex
	order   int64 // of the last entry
	queue   []*queued
	working bool
}

// queued is an entry and the caller who waits for it.
type queued struct {
	doc   waitingEntry
	done  chan struct{}
	fresh bool
	err   error
}

func (q *queued) answer(fresh bool, err error) {
	q.fresh, q.err = fresh, err
	close(q.done)
}

// append waits until the entry is durable. fresh is false if an entry with its Ref
// waits to be linked already.
func (a *appender) append(ctx context.Context, e engine.AuditEntry) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if e, err = asStored(e); err != nil {
		return false, auditUnavailable(err)
	}
	q := &queued{doc: waitingEntry{ID: e.Ref, Entry: e}, done: make(chan struct{})}
	a.mu.Lock()
	a.order = max(a.order+1, engine.SystemClock().UnixNano())
	q.doc.Order = a.order
	a.queue = append(a.queue, q)
	if !a.working {
		a.working = true
		// The caller's own write is counted too, so Close still waits at this point.
		a.store.writes.Go(a.work)
	}
	a.mu.Unlock()
	select {
	case <-q.done:
		return q.fresh, q.err
	case <-ctx.Done():
		a.mu.Lock()
		a.queue = slices.DeleteFunc(a.queue, func(other *queued) bool { return other == q })
		a.mu.Unlock()
		return false, auditUnavailable(ctx.Err())
	}
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

func (a *appender) work() {
	for batch := a.nextBatch(); len(batch) > 0; batch = a.nextBatch() {
		a.write(batch)
	}
}

// nextBatch returns the entries to insert next; it is empty when none wait.
func (a *appender) nextBatch() []*queued {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(batchSize, len(a.queue))
	batch := slices.Clone(a.queue[:n])
	a.queue = slices.Delete(a.queue, 0, n)
	a.working = n > 0
	return batch
}

// write inserts a batch and answers every caller in it. It has a deadline of its own,
// because a caller who leaves must not interrupt the others' write.
func (a *appender) write(batch []*queued) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	docs := []any{}
	for _, q := range batch {
		doc, err := encode(q.doc)
		if err != nil { // asStored has encoded the entry before
			panic(err)
		}
		docs = append(docs, doc)
	}
	c := a.store.db.Collection(waitingName)
	_, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	lost := maybeWritten(err)
	if lost { // some entries may be stored: those are refused the second time
		_, err = c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	}
	refusedAt := map[int]error{}
	if bulk, ok := errors.AsType[driver.BulkWriteException](err); ok && bulk.WriteConcernError == nil {
		for _, refused := range bulk.WriteErrors {
			refusedAt[refused.Index], err = refused, nil
		}
	}
	for i, q := range batch {
		refused := refusedAt[i]
		switch {
		case err != nil:
			q.answer(false, auditUnavailable(fault("append to the audit log", err)))
		case refused == nil:
			q.answer(true, nil)
		case driver.IsDuplicateKeyError(refused):
			q.answer(lost, nil)
		default:
			q.answer(false, auditUnavailable(fault("append to the audit log", refused)))
		}
	}
}
