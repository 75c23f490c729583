package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"time"
)

// Verifier checks the audit log and compares it with the documents. All fields but
// Wait must be set.
type Verifier struct {
	Store VerifierStore
	// Key is the audit key.
	Key []byte
	// Ages are for how long documents are kept.
	Ages  RetentionAges
	Clock Clock
	// Wait is how long a document may be without its entry, because some stores write the
	// document first. What disagrees is read again after it.
	Wait time.Duration
}

// VerifierStore is what [Verifier] reads; [Store] documents the methods.
type VerifierStore interface {
	AuditReader
	ColumnChecks
	documentReader
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}

// maxDisagreements bounds a verification's answer.
const maxDisagreements = 100

// Verify checks a whole chain as [VerifyAudit] does, and compares it both ways with the
// documents of its project. Each document must be as the latest entry about it says. Each
// that was written, and not removed since, must be there, unless retention deletes it by
// its age. The documents of the system chain are those of no project. Verify also
// compares the documents with the columns by which they are found.
func (v *Verifier) Verify(ctx context.Context, chain string, anchor AuditHead) (AuditVerification, error) {
	return fromBeginning(ctx, v.Store, v.Key, chain, func(from cut) (AuditVerification, error) {
		return v.verifyWhole(ctx, chain, from, anchor)
	})
}

// VerifyAll verifies every chain. It returns the number with which each begins, or an
// error unless all of them are whole.
func (v *Verifier) VerifyAll(ctx context.Context) (begins map[string]int64, err error) {
	chains, err := auditChains(ctx, v.Store)
	if err != nil {
		return nil, fmt.Errorf("list the projects: %w", err)
	}
	begins = map[string]int64{}
	for _, chain := range chains {
		found, err := v.Verify(ctx, chain, AuditHead{})
		switch {
		case err != nil:
			return nil, err
		case found.BrokenAt > 0:
			return nil, fmt.Errorf("it is not whole: entry %d of the audit chain %s: %s", found.BrokenAt, chain, found.Problem)
		case !found.OK:
			d := found.Disagreements[0]
			return nil, fmt.Errorf("it is not whole: %d documents do not agree with the audit chain %s, among them %s %s: %s. If its server was killed, start it once and stop it, which completes what was under way",
				len(found.Disagreements), chain, d.Document, d.ID, d.Problem)
		}
		begins[chain] = found.BeginsAt
	}
	return begins, nil
}

func (v *Verifier) verifyWhole(ctx context.Context, chain string, from cut, anchor AuditHead) (AuditVerification, error) {
	c := v.comparison(chain)
	c.whole = true
	verdict, err := verifyChain(ctx, v.Store, v.Key, chain, from, anchor, c.note)
	if err != nil || !verdict.OK {
		return verdict, err
	}
	if c.found, err = v.Store.Misplaced(ctx, chain); err != nil {
		return verdict, err
	}
	var suspects []DocumentDigest
	for _, k := range kindsOf(chain) {
		err := k.each(ctx, v.Store, chain, func(d document) {
			if c.agrees(d) {
				delete(c.latest, c.key(d.DocumentDigest))
			} else {
				suspects = append(suspects, d.DocumentDigest)
			}
		})
		if unanswered(ctx, err) { // other errors are of a document that cannot be read: it is found one by one
			return verdict, fmt.Errorf("verify %s: %w", k.table, err)
		}
	}
	return c.conclude(ctx, verdict, from.head, suspects)
}

// VerifyAfter is Verify for the part of a chain that follows a head, and for the
// documents that were written with it. The head is one that was verified and stored
// elsewhere: its entry must still be in the chain.
func (v *Verifier) VerifyAfter(ctx context.Context, chain string, head AuditHead) (AuditVerification, error) {
	return fromBeginning(ctx, v.Store, v.Key, chain, func(from cut) (AuditVerification, error) {
		return v.verifyAfter(ctx, chain, from, head)
	})
}

func (v *Verifier) verifyAfter(ctx context.Context, chain string, from cut, head AuditHead) (AuditVerification, error) {
	if head.Seq > 0 {
		has, err := hasEntry(ctx, v.Store, v.Key, chain, head)
		if err != nil {
			return AuditVerification{}, err
		}
		if !has {
			return AuditVerification{BrokenAt: head.Seq, Problem: "the chain does not have the anchored entry"}, nil
		}
	}
	c := v.comparison(chain)
	verdict, err := verifyFrom(ctx, v.Store, v.Key, chain, from, head, AuditHead{}, c.note)
	if err != nil || !verdict.OK {
		return verdict, err
	}
	return c.conclude(ctx, verdict, from.behind(head), nil)
}

// comparison is one run of a verifier. latest has, for each document that an entry
// mentions, what the latest one says. Its keys and digests are short, because a log
// mentions millions of documents: keys under a seed that nobody knows, so that nobody
// can make two documents share one.
type comparison struct {
	*Verifier
	chain  string
	whole  bool
	later  bool // the entries that the log had at first were read
	known  bool // only documents that earlier entries mention are noted
	seed   maphash.Seed
	latest map[uint64]mention
	// downloads has the settlements of tokens whose files were downloaded, with the
	// numbers of their entries.
	downloads map[uint64]int64
	doubted   []doubt
	found     []Disagreement
}

// doubt is a document that does not agree with the log.
type doubt struct {
	DocumentDigest
	mention   mention
	mentioned bool
	problem   string
}

// mention is what an entry says of a document; digest is 0 if it was removed.
type mention struct {
	seq     int64
	version int
	digest  uint64
}

func (v *Verifier) comparison(chain string) *comparison {
	return &comparison{Verifier: v, chain: chain, seed: maphash.MakeSeed(), latest: map[uint64]mention{}, downloads: map[uint64]int64{}}
}

func (c *comparison) key(d DocumentDigest) uint64 {
	return maphash.String(c.seed, d.Document+"/"+d.ID)
}

func (c *comparison) mention(d DocumentDigest) mention {
	m := mention{version: d.Version}
	if d.Digest != "" {
		m.digest = maphash.String(c.seed, d.Digest) | 1
	}
	return m
}

// note keeps what an entry says of its documents. A document did not change with an entry
// that restates it, and may have changed just before that entry: it restates entries up to
// a number, and what a later one says of the same version stands. Where only changes are
// of interest, it says nothing.
func (c *comparison) note(e AuditEntry) {
	stands, restates := int64(math.MaxInt64), e.Action == ActionAuditRestated
	if restates {
		if c.later || !c.whole {
			return
		}
		stands, _ = strconv.ParseInt(e.Detail["through"], 10, 64)
	}
	for _, d := range e.Documents {
		m := c.mention(d)
		m.seq = e.Seq
		before, ok := c.latest[c.key(d)]
		if c.known && !ok {
			continue
		}
		if !ok || m.version > before.version || m.version == before.version && before.seq <= stands {
			c.latest[c.key(d)] = m
		}
		if d.Document == tableTokens && e.Action == ActionCertificateDownloaded {
			c.downloads[c.key(d)] = e.Seq
		}
	}
}

// statusProblem says how the status of a request contradicts the log, or "". A request
// may still be "issued" shortly after its token ended.
func (c *comparison) statusProblem(d document) string {
	seq, downloaded := c.downloads[c.key(DocumentDigest{Document: tableTokens, ID: d.token + endSuffix})]
	switch {
	case d.token == "":
	case downloaded && d.status != StatusConsumed && d.status != StatusIssued:
		return fmt.Sprintf("the request is %s, although entry %d says that its file was downloaded", d.status, seq)
	case !downloaded && d.status == StatusConsumed:
		return "the request is consumed, although no entry says that its file was downloaded"
	}
	return ""
}

// agrees reports whether a document is as the latest entry about it says.
func (c *comparison) agrees(d document) bool {
	m, ok := c.latest[c.key(d.DocumentDigest)]
	return ok && m.digest == c.mention(d.DocumentDigest).digest && c.statusProblem(d) == ""
}

// conclude reads the entries that were appended meanwhile, and then again what did not
// agree, so that nothing counts as a disagreement that was merely being written.
func (c *comparison) conclude(ctx context.Context, verdict AuditVerification, from AuditHead, suspects []DocumentDigest) (AuditVerification, error) {
	later, err := c.noteLater(ctx, verdict)
	if err != nil || !later.OK {
		return later, err
	}
	for _, d := range suspects {
		if err := c.recheck(ctx, d); err != nil {
			return later, err
		}
	}
	if err := c.recheckMentioned(ctx, from); err != nil {
		return later, err
	}
	if doubted := c.doubted; len(doubted) > 0 && c.Wait > 0 {
		c.doubted = nil
		select {
		case <-time.After(c.Wait):
		case <-ctx.Done():
			return later, fmt.Errorf("verify audit chain: %w", ctx.Err())
		}
		if later, err = c.noteLater(ctx, later); err != nil || !later.OK {
			return later, err
		}
		for _, d := range doubted {
			if _, newer := c.latest[c.key(d.DocumentDigest)]; !newer && d.mentioned {
				c.latest[c.key(d.DocumentDigest)] = d.mention
			}
			if err := c.recheck(ctx, d.DocumentDigest); err != nil {
				return later, err
			}
		}
	}
	for _, d := range c.doubted {
		c.found = append(c.found, Disagreement{Document: d.Document, ID: d.ID, Seq: d.mention.seq, Problem: d.problem})
	}
	later.OK, later.Disagreements = len(c.found) == 0, c.found[:min(len(c.found), maxDisagreements)]
	return later, nil
}

// noteLater checks what was appended since the verdict's head.
func (c *comparison) noteLater(ctx context.Context, verdict AuditVerification) (AuditVerification, error) {
	c.later = true
	later, err := verifyAfter(ctx, c.Store, c.Key, c.chain, verdict.Head, AuditHead{}, c.note)
	later.Entries += verdict.Entries
	return later, err
}

// recheckMentioned reads the documents that entries mention and no listing has shown.
func (c *comparison) recheckMentioned(ctx context.Context, from AuditHead) error {
	if len(c.latest) == 0 {
		return nil
	}
	var failure error
	_, err := verifyAfter(ctx, c.Store, c.Key, c.chain, from, AuditHead{}, func(e AuditEntry) {
		for _, d := range e.Documents {
			m, open := c.latest[c.key(d)]
			switch {
			case !open || m.seq != e.Seq || failure != nil || len(c.doubted) >= maxDisagreements:
			case c.maybeDeleted(d, e.Time):
				// A token's settlement is deleted with it, even if it is of a later time.
				delete(c.latest, c.key(DocumentDigest{Document: d.Document, ID: d.ID + endSuffix}))
			default:
				failure = c.recheck(ctx, d)
			}
		}
	})
	return errors.Join(err, failure)
}

// maybeDeleted reports whether retention may have deleted a document that was written
// at a time.
func (c *comparison) maybeDeleted(d DocumentDigest, written time.Time) bool {
	age := map[string]time.Duration{
		tableTokens: c.Ages.Tokens, tableRequests: c.Ages.Requests, tableApprovals: c.Ages.Requests, tableEvents: c.Ages.Events,
	}[d.Document]
	return age > 0 && c.Clock().Sub(written) > age
}

// recheck reads one document and compares it with the latest entry about it.
func (c *comparison) recheck(ctx context.Context, of DocumentDigest) error {
	k, known := kindOf(of.Document)
	if !known || len(c.doubted) >= maxDisagreements { // it is of a later version of the program
		return nil
	}
	m, mentioned := c.latest[c.key(of)]
	delete(c.latest, c.key(of))
	d, err := k.get(ctx, c.Store, c.chain, of.ID)
	problem := ""
	switch missing := errors.Is(err, CodeNotFound); {
	case !missing && unanswered(ctx, err):
		return fmt.Errorf("verify %s %s: %w", of.Document, of.ID, err)
	case !missing && err != nil:
		problem = "the document cannot be read"
	case !missing && !mentioned:
		problem = "the audit log has no entry for this document"
	case !missing && m.digest == 0:
		problem = fmt.Sprintf("the document exists, although entry %d says that it was removed", m.seq)
	case missing && m.digest != 0:
		problem = fmt.Sprintf("the document is missing, although entry %d says that it was written", m.seq)
	case m.digest != c.mention(d.DocumentDigest).digest:
		problem = fmt.Sprintf("the document differs from what was written with entry %d", m.seq)
	case c.whole:
		problem = c.statusProblem(d)
	}
	if problem != "" {
		c.doubted = append(c.doubted, doubt{of, m, mentioned, problem})
	}
	return nil
}

// unanswered reports whether an error says that the store did not answer, and nothing
// about a document.
func unanswered(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, CodeUnavailable))
}
