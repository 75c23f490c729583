package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The actions of the audit entries that say that a database was restored to an earlier
// state, before what could be used again is ended, and when it is used from there on.
const (
	ActionRestoreBegun    = "restore.begun"
	ActionRestoreAccepted = "restore.accepted"
)

var errRestoreUnfinished = errors.New("a restored database was accepted and not all was ended, so a token could be used a second time: start once with --accept-restore, which goes on with it")

// Backup is what a database was restored from. The zero value is a copy that nothing is
// known of.
type Backup struct {
	ID     string
	MadeAt time.Time
}

// Restored says what a restore from a backup found and did. Anchored is when the anchor was
// written with which the database was compared, zero if there was none; Behind are the
// chains that lack what it has.
type Restored struct {
	Anchored      time.Time
	Behind        []*Behind
	TokensRevoked int
}

// AcceptBackup goes on with a database that was restored from a backup, also if it is not
// behind its anchor, or has none: the last anchor may be older than what was used last.
// Call it before anything else is written, and not at a start.
func (a *Anchors) AcceptBackup(ctx context.Context, from Backup) (done Restored, err error) {
	stored, err := a.stored(ctx)
	if err != nil {
		return done, err
	}
	behind, err := a.compare(ctx, stored)
	if err != nil {
		return done, err
	}
	tokens, err := a.acceptRestore(ctx, stored, behind, from)
	return Restored{Anchored: stored.Time, Behind: behind.Chains, TokensRevoked: tokens}, err
}

// acceptRestore goes on with a database that was restored from a backup. What was
// used since the backup looks unused in it, so acceptRestore completes the requests and
// removals that the backup has in part, puts the restore on record, ends every token and
// every request that could still be used, and last replaces the anchor. Until it has put on record that all is ended, whoever is killed is
// refused again, and acceptRestore called again adds what is missing. It returns how many
// tokens it revoked.
func (a *Anchors) acceptRestore(ctx context.Context, stored Anchor, behind *BehindError, from Backup) (tokens int, err error) {
	projects, err := a.projects(ctx)
	if err != nil {
		return 0, fmt.Errorf("accept restore: list projects: %w", err)
	}
	// The workflow that would have completed a request is lost, and a token that somebody
	// completes later would not be revoked.
	if err := a.Store.CompleteDocuments(ctx); err != nil {
		return 0, fmt.Errorf("accept restore: complete what the backup has in part: %w", err)
	}
	live := map[string][]TokenRecord{}
	for id := range projects {
		if live[id], err = a.liveTokens(ctx, id); err != nil {
			return 0, fmt.Errorf("accept restore: list tokens: %w", err)
		}
	}
	begun, err := a.beginRestore(ctx, restoreDetails(stored, behind, live, from), len(behind.Chains) > 0)
	if err != nil {
		return 0, fmt.Errorf("accept restore: record it: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(projects)) {
		for _, t := range live[id] {
			if err := a.revoke(ctx, t); err != nil {
				return tokens, fmt.Errorf("accept restore: revoke token: %w", err)
			}
			tokens++
		}
		if err := a.endRequests(ctx, id); err != nil {
			return tokens, fmt.Errorf("accept restore: end requests: %w", err)
		}
	}
	if err := a.recordRestore(ctx, begun.Ref, SystemChain, begun.Detail); err != nil {
		return tokens, fmt.Errorf("accept restore: record its end: %w", err)
	}
	heads, err := a.restoredHeads(ctx, stored, behind)
	if err == nil {
		err = a.store(ctx, heads)
	}
	if err != nil {
		return tokens, fmt.Errorf("accept restore: %w", err)
	}
	a.Log.Warn("a restored database was accepted", "anchor", a.Target.String(), "chains_behind", len(behind.Chains), "tokens_revoked", tokens)
	return tokens, nil
}

func (a *Anchors) projects(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	return ids, eachProject(ctx, a.Store, func(p Project) error {
		ids[p.ID] = true
		return nil
	})
}

func (a *Anchors) liveTokens(ctx context.Context, projectID string) (live []TokenRecord, err error) {
	now := a.Clock()
	err = eachOf(func(page Page) ([]TokenRecord, string, error) { return a.Store.Tokens(ctx, projectID, page) }, func(t TokenRecord) error {
		if t.Settlement == nil && !t.Expired(now) {
			live = append(live, t)
		}
		return nil
	})
	return live, err
}

// restoreDetails are what the entries about a restore say: those of the system's chain, and
// of each chain that is behind. A chain whose project is not in the database gets no entry:
// the system's entry names it.
func restoreDetails(stored Anchor, behind *BehindError, live map[string][]TokenRecord, from Backup) map[string]map[string]string {
	var lost []string
	details := map[string]map[string]string{SystemChain: {}}
	total := 0
	for _, tokens := range live {
		total += len(tokens)
	}
	for _, b := range behind.Chains {
		tokens, known := live[b.Chain]
		if !known && b.Chain != SystemChain {
			lost = append(lost, b.Chain+" "+b.Anchored.String())
			continue
		}
		details[b.Chain] = map[string]string{"anchored": b.Anchored.String(), "database": b.Database.String(), "tokens_revoked": strconv.Itoa(len(tokens))}
	}
	ofSystem := details[SystemChain]
	ofSystem["tokens_revoked"], ofSystem["chains_behind"] = strconv.Itoa(total), strconv.Itoa(len(behind.Chains))
	if len(lost) > 0 {
		ofSystem["projects_lost"] = strings.Join(lost, ", ")
	}
	for _, detail := range details {
		if !stored.Time.IsZero() {
			detail["anchor_time"] = stored.Time.UTC().Format(time.RFC3339Nano)
		}
		if from.ID != "" {
			detail["backup"], detail["backup_time"] = from.ID, from.MadeAt.UTC().Format(time.RFC3339)
		}
	}
	return details
}

// beginRestore returns the entry of the system's chain that says that this restore has
// begun, which an earlier call may have written, and puts the restore on record in the
// other chains.
func (a *Anchors) beginRestore(ctx context.Context, details map[string]map[string]string, behind bool) (begun AuditEntry, err error) {
	begun, unfinished, err := a.lastRestore(ctx)
	if err != nil {
		return begun, err
	}
	detail := details[SystemChain]
	same := begun.Detail["anchor_time"] == detail["anchor_time"] && begun.Detail["backup"] == detail["backup"]
	if begun.Ref == "" || !same || !unfinished && !behind { // it stays behind until the anchor was replaced
		begun = AuditEntry{
			Ref: NewID("restore"), ProjectID: SystemChain, Time: a.Clock(),
			Action: ActionRestoreBegun, Outcome: AuditSuccess, Actor: System, Detail: detail,
		}
		if err := a.Store.Append(ctx, begun); err != nil {
			return begun, err
		}
	}
	for _, chain := range slices.Sorted(maps.Keys(details)) {
		if chain == SystemChain {
			continue // last, when all is ended
		}
		if err := a.recordRestore(ctx, begun.Ref, chain, details[chain]); err != nil {
			return begun, err
		}
	}
	return begun, nil
}

// recordRestore says in a chain that the restore is accepted, once.
func (a *Anchors) recordRestore(ctx context.Context, begun, chain string, detail map[string]string) error {
	return a.Store.Append(ctx, AuditEntry{
		Ref: begun + "/" + chain, ProjectID: chain, Time: a.Clock(),
		Action: ActionRestoreAccepted, Outcome: AuditSuccess, Actor: System, Detail: detail,
	})
}

// lastRestore is the entry that says that the last restore has begun, and whether no entry
// says that it was accepted.
func (a *Anchors) lastRestore(ctx context.Context) (begun AuditEntry, unfinished bool, err error) {
	last := map[string]AuditEntry{}
	for _, action := range []string{ActionRestoreBegun, ActionRestoreAccepted} {
		found, _, err := a.Store.AuditEntries(ctx, AuditQuery{ProjectID: SystemChain, Action: action, Page: Page{Limit: 1}})
		if err != nil {
			return begun, false, fmt.Errorf("look for the last restore: %w", err)
		}
		if len(found) > 0 {
			last[action] = found[0]
		}
	}
	begun = last[ActionRestoreBegun]
	return begun, begun.Seq > last[ActionRestoreAccepted].Seq, nil
}

// revoke ends a token with its usual record. CodeConflict is no failure: somebody
// deleted the token's settlement, and no caller can use the token.
func (a *Anchors) revoke(ctx context.Context, t TokenRecord) error {
	s := t.settlement(Revoked, System, Origin{}, a.Clock())
	_, _, err := a.Store.Settle(ctx, s, s.record(t.Token))
	if errors.Is(err, CodeConflict) {
		a.Log.Error("the settlement of a token was deleted from the database", "request_id", t.RequestID, "project_id", t.ProjectID)
		return nil
	}
	return err
}

// endRequests ends the requests that wait for approval or for their claim, and those
// whose token was revoked or expired: an approval that was used since the backup could
// be used again. Their workflows, which load each request before they change it, find
// them ended.
func (a *Anchors) endRequests(ctx context.Context, projectID string) error {
	transitions := &Transitions{Store: a.Store, Reports: noReports{}, Clock: a.Clock, Log: a.Log}
	// An issued request can become approved, so approved ones come after.
	for _, status := range []Status{StatusIssued, StatusApproved, StatusPendingApproval} {
		err := eachOf(func(page Page) ([]Request, string, error) {
			return a.Store.Requests(ctx, RequestQuery{ProjectID: projectID, Status: status, Page: page})
		}, func(r Request) error { return endRestored(ctx, transitions, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

func endRestored(ctx context.Context, t *Transitions, r Request) error {
	if r.Status == StatusIssued {
		_, err := t.RecordSettlement(ctx, SettlementCheck{ProjectID: r.ProjectID, RequestID: r.ID})
		return err
	}
	_, err := t.Cancel(ctx, CancelCommand{ProjectID: r.ProjectID, RequestID: r.ID, Actor: System})
	if errors.Is(err, CodeNotPending) {
		return nil // its time is over: nobody can use it, and its workflow ends it
	}
	return err
}

// noReports are the reports of a process in which no token was used yet.
type noReports struct{}

// PendingReport implements [SettlementReports].
func (noReports) PendingReport(string) (SettlementReport, bool) { return SettlementReport{}, false }

// restoredHeads are the heads of the chains of the restored database. A chain that is
// broken gets none, so that every later anchor fails on it.
func (a *Anchors) restoredHeads(ctx context.Context, stored Anchor, behind *BehindError) (map[string]AuditHead, error) {
	anchored := maps.Clone(stored.Heads)
	for _, b := range behind.Chains {
		delete(anchored, b.Chain)
	}
	chains, err := a.chains(ctx, anchored)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	heads := map[string]AuditHead{}
	for _, chain := range chains {
		head, err := a.follow(ctx, chain, anchored[chain], anchored[chain])
		if ctx.Err() != nil {
			return nil, err
		}
		if err != nil {
			a.Log.Error("a chain of the restored database is not anchored", "chain", chain, "error", err)
		} else if head.Seq > 0 {
			heads[chain] = head
		}
	}
	return heads, nil
}
