package engine

import (
	"context"
	"crypto/hmac"
	"fmt"
	"math"
	"strconv"
	"time"
)

// The actions of the entries by which the beginning of a chain can be deleted. An entry
// [ActionAuditRestated] says again what earlier entries say of documents: its detail has
// the number of the last entry that is to be deleted ("through"), and that of the last
// entry of the chain when its documents were collected ("head"). An entry
// [ActionAuditPurged] says that the entries up to a number ("through"), of a hash
// ("hash"), were deleted, how many ("entries") and, if they were archived, under which
// name ("archive") and with which SHA-256 in hex ("sha256").
const (
	ActionAuditRestated = "audit.restated"
	ActionAuditPurged   = "audit.purged"
)

// cut says where a chain begins: behind the entry of head, because the entry of by, of
// the time at, says that the entries up to there were deleted. The zero cut is that of a
// chain that begins with its first entry.
type cut struct {
	head, by AuditHead
	at       time.Time
}

// maxCuts is how many of the latest cuts are read. Two nodes may cut a chain at the same
// time, so that the latest entry may say the smaller number.
const maxCuts = 16

// beginning reads where a chain begins. An entry that nobody with the audit key wrote into
// this chain says nothing: the chain then lacks entries, or has a wrong one.
func beginning(ctx context.Context, log AuditReader, key []byte, chain string) (latest cut, err error) {
	found, _, err := log.AuditEntries(ctx, AuditQuery{ProjectID: chain, Action: ActionAuditPurged, Page: Page{Limit: maxCuts}})
	if err != nil {
		return latest, fmt.Errorf("read where audit chain %s begins: %w", chain, err)
	}
	for _, e := range found {
		through, err := strconv.ParseInt(e.Detail["through"], 10, 64)
		authentic := err == nil && e.Action == ActionAuditPurged && e.ProjectID == chain && hmac.Equal([]byte(e.digest(key)), []byte(e.Hash))
		if authentic && through > latest.head.Seq {
			latest = cut{AuditHead{through, e.Detail["hash"]}, AuditHead{e.Seq, e.Hash}, e.Time}
		}
	}
	return latest, nil
}

// has reports whether the cut stands for the entry of a head, which was deleted.
func (c cut) has(head AuditHead) bool {
	return head.Seq < c.head.Seq || head == c.head
}

// behind returns the later of a head and the cut.
func (c cut) behind(head AuditHead) AuditHead {
	if head.Seq < c.head.Seq {
		return c.head
	}
	return head
}

// maxCutTries is how often a check of a chain begins again because the chain was cut
// meanwhile, which happens once a day.
const maxCutTries = 3

// fromBeginning checks a chain from where it begins. It checks it again if the chain was
// cut meanwhile: entries that were to be read may be deleted then.
func fromBeginning(ctx context.Context, log AuditReader, key []byte, chain string, check func(cut) (AuditVerification, error)) (AuditVerification, error) {
	from, err := beginning(ctx, log, key, chain)
	if err != nil {
		return AuditVerification{}, err
	}
	for try := 1; ; try++ {
		verdict, err := check(from)
		if err != nil {
			return verdict, err
		}
		now, err := beginning(ctx, log, key, chain)
		if verdict.BeginsAt = from.head.Seq + 1; err != nil || now == from || try == maxCutTries {
			return verdict, err
		}
		from = now
	}
}

// verifyFrom is verifyAfter for a chain that was cut. The part behind the cut must have
// the entry that says so.
func verifyFrom(ctx context.Context, log AuditReader, key []byte, chain string, from cut, after, anchor AuditHead, visit func(AuditEntry)) (AuditVerification, error) {
	after = from.behind(after)
	if from.has(anchor) {
		anchor = AuditHead{}
	}
	met := from.by.Seq <= after.Seq
	verdict, err := verifyAfter(ctx, log, key, chain, after, anchor, func(e AuditEntry) {
		met = met || e.Seq == from.by.Seq && e.Hash == from.by.Hash
		visit(e)
	})
	switch {
	case err != nil || !verdict.OK:
	case anchor.Seq > 0 && anchor.Seq <= from.head.Seq:
		verdict.OK, verdict.BrokenAt, verdict.Problem = false, anchor.Seq, "the entry is not the anchored one"
	case !met:
		verdict.OK, verdict.BrokenAt, verdict.Problem = false, from.by.Seq, "the entry that says where the chain begins is not in its place"
	}
	return verdict, err
}

// verifyDeleted checks the entries that were deleted by the word of a cut and are still
// there, because deleting them has not ended, or because somebody inserted them. Each
// must be as it was written. One behind the cut that is authentic is in its place, and so
// it ends the search. No entry has a number below 1.
func verifyDeleted(ctx context.Context, log AuditReader, key []byte, chain string, from cut) (AuditVerification, error) {
	first, err := log.AuditAfter(ctx, chain, math.MinInt64, 1)
	if err != nil {
		return AuditVerification{}, fmt.Errorf("verify audit chain: %w", err)
	}
	if len(first) > 0 && first[0].Seq < 1 {
		return AuditVerification{BrokenAt: 1, Problem: fmt.Sprintf("the chain has an entry of the number %d", first[0].Seq)}, nil
	}
	for at := int64(0); at < from.head.Seq; {
		page, err := log.AuditAfter(ctx, chain, at, verifyPage)
		if err != nil {
			return AuditVerification{}, fmt.Errorf("verify audit chain: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.ProjectID != chain || e.Seq <= at || !hmac.Equal([]byte(e.digest(key)), []byte(e.Hash)) {
				return AuditVerification{BrokenAt: max(at+1, e.Seq), Problem: "the entry was changed, or is not in its place"}, nil
			}
			if at = e.Seq; at > from.head.Seq {
				break
			}
		}
	}
	return AuditVerification{OK: true}, nil
}

// upTo reads a chain up to an entry.
type upTo struct {
	AuditReader
	seq int64
}

// AuditAfter implements [AuditReader].
func (u upTo) AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error) {
	if seq >= u.seq {
		return nil, nil
	}
	return u.AuditReader.AuditAfter(ctx, chain, seq, int(min(int64(limit), u.seq-seq)))
}
