package mongo

import (
	"context"
	"crypto/hmac"
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
// several by their clocks. MAC shows that a process with the audit key wrote it.
type waitingEntry struct {
	ID    string            `json:"id"` // the entry's Ref
	Order int64             `json:"order"`
	Entry engine.AuditEntry `json:"entry"`
	MAC   string            `json:"mac"`
}

// notAuthentic is the hash of an entry that no process with the audit key wrote.
const notAuthentic = "not authentic"

// sign computes the MAC: the hash that the entry would have behind a head that says
// where it waits.
func (w waitingEntry) sign(key []byte) string {
	return w.Entry.Link(key, engine.AuditHead{Seq: w.Order, Hash: "waiting " + w.ID}).Hash
}

func (w waitingEntry) authentic(key []byte) bool {
	return hmac.Equal([]byte(w.MAC), []byte(w.sign(key)))
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
	doc  waitingEntry
	done chan struct{}
	err  error
}

func (q *queued) answer(err error) {
	q.err = err
	close(q.done)
}

// append waits until the entry, or an earlier one with its Ref, is durable.
func (a *appender) append(ctx context.Context, e engine.AuditEntry) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	e, err := asStored(e)
	if err != nil {
		return auditUnavailable(err)
	}
	a.store.links.Store(true)
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
		return q.err
	case <-ctx.Done():
		a.mu.Lock()
		a.queue = slices.DeleteFunc(a.queue, func(other *queued) bool { return other == q })
		a.mu.Unlock()
		return auditUnavailable(ctx.Err())
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
		q.doc.MAC = q.doc.sign(a.store.auditKey)
		doc, err := encode(q.doc)
		if err != nil { // asStored has encoded the entry before
			panic(err)
		}
		docs = append(docs, doc)
	}
	c := a.store.db.Collection(waitingName)
	_, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	if maybeWritten(err) { // some entries may be stored: those are refused the second time
		_, err = c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	}
	refusedAt := map[int]error{}
	if bulk, ok := errors.AsType[driver.BulkWriteException](err); ok && bulk.WriteConcernError == nil {
		for _, refused := range bulk.WriteErrors {
			refusedAt[refused.Index], err = refused, nil
		}
	}
	for i, q := range batch {
		failure := err
		if refused := refusedAt[i]; failure == nil && refused != nil && !driver.IsDuplicateKeyError(refused) {
			failure = refused
		}
		if failure != nil {
			failure = auditUnavailable(fault("append to the audit log", failure))
		}
		q.answer(failure)
	}
}
