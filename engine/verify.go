package engine

import (
	"context"
	"crypto/hmac"
	"fmt"
)

// Disagreement says where the audit log and a document, or a document and the columns
// by which it is found, do not agree. Document is the name of the document's
// table, ID its id. Seq is the number of the entry that is concerned, or 0.
type Disagreement struct {
	Document string
	ID       string
	Seq      int64
	Problem  string
}

// AuditVerification is the result of checking a chain. Problem says what is wrong
// with the first bad entry, BrokenAt its sequence number. Entries counts those that
// were checked. The chain begins with the entry BeginsAt, which is 1 unless retention
// deleted the entries before it. Disagreements are the first 100 of those that were found.
type AuditVerification struct {
	OK            bool
	BeginsAt      int64
	Entries       int64
	Head          AuditHead
	BrokenAt      int64
	Problem       string
	Disagreements []Disagreement
}

const verifyPage = 1000

// AuditReader reads chains; [AuditLog] documents the methods.
type AuditReader interface {
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error)
}

// VerifyAudit checks a chain from where it begins, under the audit key, and finds
// every change, gap and reordering. A chain begins with entry 1, or behind the entries
// that retention deleted: a later entry of the chain says up to which and what the hash
// of that one was, so that nobody without the key can delete more, or fewer. It finds
// that entries are missing at the end only if a head that was stored elsewhere is given
// as anchor (zero for none). An anchor before the beginning is in the part that was
// deleted.
func VerifyAudit(ctx context.Context, log AuditReader, key []byte, chain string, anchor AuditHead) (AuditVerification, error) {
	return fromBeginning(ctx, log, key, chain, func(from cut) (AuditVerification, error) {
		return verifyChain(ctx, log, key, chain, from, anchor, func(AuditEntry) {})
	})
}

// verifyChain checks a whole chain, with what is left of its deleted part.
func verifyChain(ctx context.Context, log AuditReader, key []byte, chain string, from cut, anchor AuditHead, visit func(AuditEntry)) (AuditVerification, error) {
	if deleted, err := verifyDeleted(ctx, log, key, chain, from); err != nil || !deleted.OK {
		return deleted, err
	}
	return verifyFrom(ctx, log, key, chain, from, AuditHead{}, anchor, visit)
}

// verifyAfter checks the part of a chain that follows a head, and visits its entries.
func verifyAfter(ctx context.Context, log AuditReader, key []byte, chain string, after, anchor AuditHead, visit func(AuditEntry)) (AuditVerification, error) {
	verdict := AuditVerification{OK: true, Head: after}
	for {
		page, err := log.AuditAfter(ctx, chain, verdict.Head.Seq, verifyPage)
		if err != nil {
			return verdict, fmt.Errorf("verify audit chain: %w", err)
		}
		for _, entry := range page {
			if problem := entry.checkAfter(key, chain, verdict.Head, anchor); problem != "" {
				verdict.OK, verdict.BrokenAt, verdict.Problem = false, verdict.Head.Seq+1, problem
				return verdict, nil
			}
			verdict.Head = AuditHead{Seq: entry.Seq, Hash: entry.Hash}
			verdict.Entries++
			visit(entry)
		}
		if len(page) < verifyPage {
			break
		}
	}
	if anchor.Seq > verdict.Head.Seq {
		verdict.OK, verdict.BrokenAt = false, verdict.Head.Seq+1
		verdict.Problem = fmt.Sprintf("the chain ends before the anchored entry %d", anchor.Seq)
	}
	return verdict, nil
}

// hasEntry reports whether a chain has the entry of a head, unchanged, or has deleted it
// by a cut.
func hasEntry(ctx context.Context, log AuditReader, key []byte, chain string, head AuditHead) (bool, error) {
	found, err := log.AuditAfter(ctx, chain, head.Seq-1, 1)
	if err != nil {
		return false, fmt.Errorf("read audit chain %s: %w", chain, err)
	}
	if len(found) == 1 && found[0].Seq == head.Seq {
		return found[0].Hash == head.Hash && found[0].digest(key) == head.Hash, nil
	}
	from, err := beginning(ctx, log, key, chain)
	return err == nil && from.has(head), err
}

func (e AuditEntry) checkAfter(key []byte, chain string, head, anchor AuditHead) string {
	switch {
	case e.ProjectID != chain:
		return "the entry belongs to another chain"
	case e.Seq != head.Seq+1:
		return fmt.Sprintf("entry %d is missing: %d follows %d", head.Seq+1, e.Seq, head.Seq)
	case e.PrevHash != head.Hash:
		return "the entry does not name the hash of the one before it"
	case !hmac.Equal([]byte(e.digest(key)), []byte(e.Hash)):
		return "the entry was changed: its hash does not match"
	case e.Seq == anchor.Seq && e.Hash != anchor.Hash:
		return "the entry is not the anchored one"
	}
	return ""
}
