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

// batchSize is how many entries one command inserts, at most. Callers who come
// while it is under way make the next batch. FerretDB would go on behind a
// refused document after a hundred, and leave a gap.
const batchSize = 64

// maxEntry bounds one entry, in bytes, so that it cannot keep its batch from
// fitting into a command.
const maxEntry = 128 << 10

// appenders holds one appender for each chain that this process has written to.
type appenders struct {
	store  *Store
	mu     sync.Mutex
	chains map[string]*appender
}

// append puts an entry on its chain and waits until it is durable; added is
// false if its Ref is on record already.
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

// asStored returns the entry as the database gives it back, with what is not
// text replaced: the hash must be that of what will be read.
func asStored(e engine.AuditEntry) (engine.AuditEntry, error) {
	raw, err := encode(e)
	if err != nil {
		return e, err
	}
	if len(raw) > maxEntry {
		return e, fmt.Errorf("an audit entry of %d bytes: at most %d are kept", len(raw), maxEntry)
	}
	return decode[engine.AuditEntry](raw)
}

// appender writes one chain's entries for this process, in batches. It works
// while anything waits and keeps the chain's head for the next time.
//
// Other processes may write the same chain. Whoever comes second is refused by
// the unique _id, reads the new head and links what is left behind it. So is
// whoever's answer was lost; Ref tells which entries had arrived.
type appender struct {
	store *Store
	chain string

	mu      sync.Mutex
	waiting []*pending
	working bool

	// What follows belongs to the one goroutine at work.
	head  engine.AuditHead
	known bool // head is the chain's, as far as this process can tell
}

// pending is an entry and the caller who waits for it.
type pending struct {
	entry engine.AuditEntry
	// sent says that an answer was lost: if the entry is found it is this one.
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
		// The caller is counted too, so Close is not past its waiting yet.
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
	for batch := a.take(); len(batch) > 0; batch = a.take() {
		a.write(batch)
	}
}

// take returns the batch to write next; if there is none, the work is over.
func (a *appender) take() []*pending {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(batchSize, len(a.waiting))
	batch := slices.Clone(a.waiting[:n])
	a.waiting = slices.Delete(a.waiting, 0, n)
	a.working = n > 0
	return batch
}

// write puts a batch on the chain and answers everyone in it. The deadline is
// its own: that one caller leaves ends nobody else's wait.
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
		case refusedOne(err):
			batch[0].answer(false, auditUnavailable(fault("append to audit chain", err)))
			batch = batch[1:]
		case maybeDone(err) && !lost:
			lost = true // some may have arrived: look once
			for _, p := range batch {
				p.sent = true
			}
		default:
			refuse(batch, err)
			return
		}
		// Not for long: who waits for a gap in another's writing must look often.
		if err := pause(ctx, min(conflicts, 2)); err != nil {
			refuse(batch, err)
			return
		}
	}
}

func refuse(batch []*pending, err error) {
	err = auditUnavailable(fault("append to audit chain", err))
	for _, p := range batch {
		p.answer(false, err)
	}
}

// attempt links the batch behind the head and inserts it in order. It answers
// those that are on record then, and returns the others.
func (a *appender) attempt(ctx context.Context, batch []*pending) ([]*pending, error) {
	if !a.known {
		var err error
		if batch, err = a.catchUp(ctx, batch); err != nil || len(batch) == 0 {
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
		written, a.known = durable(err), false
	}
	for i, p := range batch[:written] {
		a.head = heads[i]
		p.answer(true, nil)
	}
	return batch[written:], err
}

// catchUp reads where the chain ends, and answers those of the batch whose Ref
// is on record.
func (a *appender) catchUp(ctx context.Context, batch []*pending) ([]*pending, error) {
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
	a.head, a.known = engine.AuditHead{Seq: last.Seq, Hash: last.Hash}, true
	return slices.DeleteFunc(batch, func(p *pending) bool {
		found := slices.ContainsFunc(docs, func(d auditDocument) bool { return d.Ref == p.entry.Ref })
		if found {
			p.answer(p.sent, nil)
		}
		return found
	}), nil
}

// durable is how many of an ordered insert's documents are in for good although
// it failed: those before the first one refused, if a majority has them.
func durable(err error) int {
	bulk, ok := errors.AsType[driver.BulkWriteException](err)
	if !ok || bulk.WriteConcernError != nil || len(bulk.WriteErrors) == 0 {
		return 0
	}
	return bulk.WriteErrors[0].Index
}

// refusedOne tells whether the server refused the first document that is left,
// for what it is: those behind it may go on.
func refusedOne(err error) bool {
	bulk, ok := errors.AsType[driver.BulkWriteException](err)
	return ok && bulk.WriteConcernError == nil && len(bulk.WriteErrors) > 0
}
