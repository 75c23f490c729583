package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// AuditPurge deletes the oldest part of audit chains so that what remains can still be
// verified. First it appends entries that restate what the log says of the documents that
// no later entry mentions. Then it archives the part, and appends the entry that says up
// to which number, and of which hash, entries are deleted. Only then it deletes them. What
// a crash leaves undone is done by a later run. All fields but
// Archive and Sent must be set.
type AuditPurge struct {
	Store   AuditPurgeStore
	Key     []byte       // the audit key
	Archive AuditArchive // nil if entries are not archived
	// Sent returns what each receiver of audit entries has of the chains. What one of them
	// does not have yet is not deleted.
	Sent  func(ctx context.Context) ([]map[string]AuditHead, error)
	Clock Clock
	Log   *slog.Logger

	mu       sync.Mutex
	next     map[string]time.Time // when each chain is looked at again
	failures int
}

// AuditPurgeStore is what [AuditPurge] reads and writes; [Store] documents the methods.
type AuditPurgeStore interface {
	VerifierStore
	Append(ctx context.Context, e AuditEntry) error
	PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error)
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}

const (
	// purgeEvery is the time between two cuts of a chain, for which the chain is read.
	purgeEvery = 24 * time.Hour
	// maxCut is how many entries one cut deletes. It bounds the memory that a cut needs, and
	// the size of its archive.
	maxCut = 1_000_000
	// restateBatch is how many documents one entry restates. With their names and digests
	// they need less than a third of the 128 KiB that an entry may have in MongoDB.
	restateBatch = 200
)

// Failures is how often a chain could not be purged since the start.
func (p *AuditPurge) Failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures
}

// Run deletes the entries of all chains that are older than the ages say, and returns how
// many. It calls beat from time to time. What the ages delete besides must have been
// deleted already. A chain that cannot be purged is logged and counted, and the others
// are purged.
func (p *AuditPurge) Run(ctx context.Context, ages RetentionAges, beat func()) (deleted int, err error) {
	if ages.Archived && p.Archive == nil {
		p.fail(ctx, SystemChain, errors.New("another node archives audit entries, and this one has no archive: set retention.archive alike on all nodes"))
		return 0, nil
	}
	chains, err := auditChains(ctx, p.Store)
	if err != nil {
		return 0, fmt.Errorf("purge the audit log: list projects: %w", err)
	}
	var sent []map[string]AuditHead
	if p.Sent != nil {
		if sent, err = p.Sent(ctx); err != nil {
			return 0, fmt.Errorf("purge the audit log: %w", err)
		}
	}
	slices.Sort(chains)
	for _, chain := range slices.Compact(chains) {
		last := int64(math.MaxInt64)
		for _, heads := range sent {
			last = min(last, heads[chain].Seq)
		}
		n, err := p.purge(ctx, chain, last, ages, beat)
		deleted += n
		if ctx.Err() != nil {
			return deleted, ctx.Err()
		}
		if err != nil {
			p.fail(ctx, chain, err)
		}
	}
	return deleted, nil
}

// fail logs and counts that a chain could not be purged.
func (p *AuditPurge) fail(ctx context.Context, chain string, err error) {
	p.mu.Lock()
	p.failures++
	p.mu.Unlock()
	p.Log.ErrorContext(ctx, "an audit chain could not be purged", "chain", chain, "error", err)
}

// purge completes the latest cut of a chain, and cuts it again, up to the entry last, if a
// day has passed. It looks at a chain once a day.
func (p *AuditPurge) purge(ctx context.Context, chain string, last int64, ages RetentionAges, beat func()) (deleted int, err error) {
	now := p.Clock()
	if !p.due(chain, now) {
		return 0, nil
	}
	from, err := beginning(ctx, p.Store, p.Key, chain)
	if err != nil {
		return 0, err
	}
	first, err := p.Store.AuditAfter(ctx, chain, 0, 1)
	if err != nil {
		return 0, err
	}
	if len(first) > 0 && first[0].Seq <= from.head.Seq { // an earlier run did not end
		if err := verified(verifyChain(ctx, p.Store, p.Key, chain, from, AuditHead{}, func(AuditEntry) { beat() })); err != nil {
			return 0, err
		}
		if deleted, err = deleteThrough(ctx, p.Store, chain, from, beat); err != nil {
			return deleted, err
		}
		if first, err = p.Store.AuditAfter(ctx, chain, 0, 1); err != nil {
			return deleted, err
		}
	}
	if len(first) == 0 || !first[0].Time.Before(now.Add(-ages.Audit)) || now.Sub(from.at) < purgeEvery {
		return deleted, nil
	}
	for more := true; more; {
		v := &Verifier{Store: p.Store, Key: p.Key, Ages: ages, Clock: p.Clock}
		c := &cutting{AuditPurge: p, comparison: v.comparison(chain), from: from, before: now.Add(-ages.Audit), last: last, beat: beat}
		c.whole = true
		next, err := c.cut(ctx)
		if err != nil {
			return deleted, err
		}
		n, err := deleteThrough(ctx, p.Store, chain, next, beat)
		if deleted += n; err != nil {
			return deleted, err
		}
		more, from = next.head.Seq-from.head.Seq >= maxCut, next
	}
	return deleted, nil
}

// due reports whether a chain is to be looked at, and notes when it will be again. That
// is so after a failure, too: the chain may have millions of entries.
func (p *AuditPurge) due(chain string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next[chain]) {
		return false
	}
	if p.next == nil {
		p.next = map[string]time.Time{}
	}
	p.next[chain] = now.Add(purgeEvery)
	return true
}

// deleteThrough deletes what a cut says is deleted.
func deleteThrough(ctx context.Context, store interface {
	PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error)
}, chain string, from cut, beat func(),
) (deleted int, err error) {
	for from.head.Seq > 0 {
		beat()
		n, err := store.PurgeAudit(ctx, chain, from.head.Seq, purgeBatch)
		if deleted += n; err != nil || n == 0 {
			return deleted, err
		}
	}
	return deleted, nil
}

// cutting is one cut of a chain.
type cutting struct {
	*AuditPurge
	*comparison
	from   cut
	before time.Time // of the entries to delete
	last   int64     // that may be deleted
	beat   func()

	head     AuditHead // of the chain when its documents were collected
	through  AuditHead // the last entry to delete
	restated []restatement
	temporal AuditEntry // the last that says in which namespace the requests run
}

// restatement is the number of an entry [ActionAuditRestated], with that of its head.
type restatement struct{ seq, head int64 }

// cut restates, archives and appends the entry of the cut. It returns the chain's latest
// cut, behind which the chain was verified.
func (c *cutting) cut(ctx context.Context) (cut, error) {
	if err := c.read(ctx); err != nil {
		return c.from, err
	}
	documents, err := c.choose(ctx)
	if err != nil || c.through.Seq <= c.from.head.Seq {
		return c.from, err
	}
	if err := c.restate(ctx, documents); err != nil {
		return c.from, fmt.Errorf("restate documents: %w", err)
	}
	detail := map[string]string{
		"through": strconv.FormatInt(c.through.Seq, 10), "hash": c.through.Hash, "entries": strconv.FormatInt(c.through.Seq-c.from.head.Seq, 10),
	}
	if c.Archive != nil {
		if detail["archive"], detail["sha256"], err = c.archive(ctx); err != nil {
			return c.from, fmt.Errorf("archive audit entries in %s: %w", c.Archive, err)
		}
	}
	failpoint.Hit("audit-archived")
	if err := c.Store.Append(ctx, c.entry(ActionAuditPurged, "purged/"+c.chain+"/"+detail["through"], detail)); err != nil {
		return c.from, err
	}
	failpoint.Hit("audit-cut")
	next, err := beginning(ctx, c.Store, c.Key, c.chain)
	if err == nil && next.head.Seq < c.through.Seq {
		err = errors.New("the entry that says which entries are deleted is not in the chain")
	}
	if err == nil {
		err = verified(verifyFrom(ctx, c.Store, c.Key, c.chain, next, c.head, AuditHead{}, func(AuditEntry) { c.beat() }))
	}
	return next, err
}

func (c *cutting) entry(action, ref string, detail map[string]string) AuditEntry {
	return AuditEntry{Ref: ref, ProjectID: c.chain, Time: c.Clock(), Action: action, Outcome: AuditSuccess, Actor: System, Detail: detail}
}

// verified returns an error that says where a chain is broken.
func verified(v AuditVerification, err error) error {
	if err == nil && !v.OK {
		err = fmt.Errorf("it is broken at entry %d: %s", v.BrokenAt, v.Problem)
	}
	return err
}

// read verifies the chain and learns what its entries say of the documents that those to
// delete mention.
func (c *cutting) read(ctx context.Context) error {
	young := false
	v, err := verifyFrom(ctx, c.Store, c.Key, c.chain, c.from, AuditHead{}, AuditHead{}, func(e AuditEntry) {
		c.beat()
		if young = young || !e.Time.Before(c.before) || e.Seq-c.from.head.Seq > maxCut; !young {
			c.through = AuditHead{e.Seq, e.Hash}
		}
		c.known = young
		c.note(e)
		switch e.Action {
		case ActionAuditRestated:
			head, _ := strconv.ParseInt(e.Detail["head"], 10, 64)
			c.restated = append(c.restated, restatement{e.Seq, head})
		case ActionTemporalChanged:
			c.temporal = e
		}
	})
	c.head = v.Head
	return verified(v, err)
}

// choose decides up to which entry the chain is deleted, and returns the documents that no
// later entry mentions. An entry about a document that retention deletes by its age stays
// as long as the document, with all that follow it: a request and a token may end late.
func (c *cutting) choose(ctx context.Context) (documents []DocumentDigest, err error) {
	if c.last < c.through.Seq {
		c.Log.WarnContext(ctx, "an audit chain is purged only up to what every receiver has", "chain", c.chain, "entry", c.last)
	}
	last := c.outsideRestatements(min(c.through.Seq, c.last))
	held, failure := int64(0), error(nil)
	type mentioned struct {
		DocumentDigest
		seq int64
	}
	var found []mentioned
	err = verified(c.each(ctx, last, func(e AuditEntry) {
		c.through = AuditHead{e.Seq, e.Hash}
		for _, d := range e.Documents {
			if held > 0 || failure != nil || d.Digest == "" || c.latest[c.comparison.key(d)].seq != e.Seq {
				continue
			}
			var kept bool
			switch d.Document {
			case tableRequests, tableTokens:
				kept, failure = c.exists(ctx, d)
			case tableApprovals: // retention deletes them with their requests
			case tableEvents:
				kept = !c.maybeDeleted(d, e.Time)
			default:
				found = append(found, mentioned{d, e.Seq})
			}
			if kept {
				held = e.Seq
			}
		}
	}))
	if err = errors.Join(err, failure); err != nil {
		return nil, err
	}
	if held > 0 {
		c.Log.WarnContext(ctx, "an audit chain is purged only up to an entry whose document is still there", "chain", c.chain, "entry", held)
		last = c.outsideRestatements(held - 1)
	}
	if last != c.through.Seq {
		if c.through, err = c.headAt(ctx, last); err != nil {
			return nil, err
		}
	}
	for _, d := range found {
		if d.seq <= last {
			documents = append(documents, d.DocumentDigest)
		}
	}
	return documents, nil
}

// each verifies and visits the entries up to a number.
func (c *cutting) each(ctx context.Context, last int64, visit func(AuditEntry)) (AuditVerification, error) {
	return verifyAfter(ctx, upTo{c.Store, last}, c.Key, c.chain, c.from.head, AuditHead{}, func(e AuditEntry) {
		c.beat()
		visit(e)
	})
}

// outsideRestatements returns a number, or a smaller one, that lies between no restatement
// and its head. What changed a document there overrides the restatement, so it must not
// be deleted before it.
func (c *cutting) outsideRestatements(last int64) int64 {
	for _, r := range slices.Backward(c.restated) {
		if r.head < last && last < r.seq {
			last = r.head
		}
	}
	return last
}

// exists reports whether a request or a token is in the store. A settlement is there as
// long as its token.
func (c *cutting) exists(ctx context.Context, d DocumentDigest) (bool, error) {
	k, _ := kindOf(d.Document)
	_, err := k.get(ctx, c.Store, c.chain, d.ID)
	switch {
	case errors.Is(err, CodeNotFound):
		return false, nil
	case unanswered(ctx, err):
		return false, err
	}
	return true, nil // also if it cannot be read
}

// headAt reads the head of the chain up to an entry.
func (c *cutting) headAt(ctx context.Context, seq int64) (head AuditHead, err error) {
	head = c.from.head
	err = verified(c.each(ctx, seq, func(e AuditEntry) { head = AuditHead{e.Seq, e.Hash} }))
	return head, err
}

// restate appends what the entries to delete say of documents that no later entry
// mentions, and of the Temporal namespace in which requests run.
func (c *cutting) restate(ctx context.Context, documents []DocumentDigest) error {
	for batch := range slices.Chunk(documents, restateBatch) {
		c.beat()
		e := c.entry(ActionAuditRestated, NewID("restated"), map[string]string{
			"through": strconv.FormatInt(c.through.Seq, 10), "head": strconv.FormatInt(c.head.Seq, 10),
		})
		e.Documents = batch
		if err := c.Store.Append(ctx, e); err != nil {
			return err
		}
		failpoint.Hit("audit-restated")
	}
	if c.temporal.Seq == 0 || c.temporal.Seq > c.through.Seq {
		return nil
	}
	now := TemporalNamespace{ID: c.temporal.Detail["namespace_id"], Name: c.temporal.Detail["namespace"], Change: c.temporal.Seq}
	of := Installation{Store: c.Store, Key: c.Key, Clock: c.Clock}
	err := of.UseTemporal(ctx, now, now, "restated, because the entry before is deleted")
	if errors.Is(err, CodeConflict) { // another entry says a later namespace
		return nil
	}
	return err
}
