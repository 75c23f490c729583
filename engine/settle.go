package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// settlement begins the record of how the token ended.
func (t Token) settlement(kind SettleKind, by Actor, from Origin, at time.Time) Settlement {
	return Settlement{
		Digest: t.Digest, Kind: kind, Attempt: NewID("try"), RequestID: t.RequestID, ProjectID: t.ProjectID,
		Actor: by, IP: from.IP, UserAgent: from.UserAgent, Format: t.Format, Time: at,
	}
}

// record is what goes on record with a settlement. It follows from settlement
// and token alone, so that it can be completed after a crash.
func (s Settlement) record(t Token) Record {
	action := map[SettleKind]string{Consumed: ActionCertificateDownloaded, Revoked: ActionTokenRevoked, Expired: ActionTokenExpired}[s.Kind]
	ref := "settle/" + s.Digest
	rec := Record{
		Audit: AuditEntry{
			Ref: ref, ProjectID: s.ProjectID, Time: s.Time, Action: action, Outcome: AuditSuccess, Actor: s.Actor,
			IP: s.IP, UserAgent: s.UserAgent, CertificateID: t.CertificateID, RequestID: s.RequestID, Format: s.Format,
		},
		Event: &Event{
			ID: ref, ProjectID: s.ProjectID, CertificateID: t.CertificateID, Type: action, Time: s.Time,
			Actor: s.Actor, IP: s.IP, Format: s.Format, RequestID: s.RequestID,
		},
	}
	if s.Kind == Consumed {
		rec.Audit.Detail = map[string]string{"sha256": s.FileSHA256, "size": strconv.Itoa(s.FileSize)}
	}
	return rec
}

// Revoke ends the unconsumed token of an issued request. A request that
// has none is CodeNotPending; a token that ended first refuses as it ended.
func (d *Downloads) Revoke(ctx context.Context, caller Caller, r Request) error {
	if r.TokenDigest == "" {
		return Errorf(CodeNotPending, "this request has no token to revoke")
	}
	found, err := d.Store.Token(ctx, r.TokenDigest)
	if errors.Is(err, CodeNotFound) {
		return Errorf(CodeNotPending, "the token of this request ended long ago")
	}
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	now := d.Clock()
	switch {
	case found.End != nil && strings.HasPrefix(found.End.Attempt, attemptByClaim):
		return d.revokeNext(ctx, caller, r)
	case found.End != nil:
		return Errorf(CodeNotPending, "the token of this request was %s before", found.End.Kind)
	case found.Expired(now):
		return Errorf(CodeNotPending, "the token of this request has expired")
	}
	s := found.settlement(Revoked, caller.Actor(), caller.Origin, now)
	winner, won, err := d.Store.Settle(ctx, s, s.record(found.Token))
	if err != nil {
		return Errorf(CodeAuditUnavailable, "the revocation could not be put on record").Because(err)
	}
	if !won && strings.HasPrefix(winner.Attempt, attemptByClaim) {
		return d.revokeNext(ctx, caller, r)
	}
	if !won {
		return Errorf(CodeNotPending, "the token of this request was %s before", winner.Kind)
	}
	d.Workflows.ReportSettlement(r.ID, false)
	return nil
}

// revokeNext revokes the token that a claim has put in the place of the one that
// r names.
func (d *Downloads) revokeNext(ctx context.Context, caller Caller, r Request) error {
	now, err := d.Store.Request(ctx, r.ProjectID, r.ID)
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	if now.TokenDigest == r.TokenDigest {
		return Errorf(CodeNotPending, "a claim is about to replace the token of this request; try again")
	}
	return d.Revoke(ctx, caller, now)
}

// Conclusion is a workflow's question whether its request has ended. Told means
// that the process which settled the token reported it, Interrupted that the
// file may not have arrived; Waited means that a missing report was waited for.
type SettlementCheck struct {
	ProjectID   string `json:"project_id"`
	RequestID   string `json:"request_id"`
	Told        bool   `json:"told"`
	Interrupted bool   `json:"interrupted"`
	Waited      bool   `json:"waited"`
}

// reportGrace is how long the report of a consumption may be late before it is
// taken to have died with its process.
const reportGrace = 30 * time.Second

// Conclude does what time or a token's end have made due: it lets lapse what
// waited too long, brings an issued request to its end if its token has ended,
// expires the token if its time is up, and completes what a crash left missing
// of the record. An approved request whose token expired may be claimed again
// while it may be claimed at all. Called again, it changes nothing.
func (d *Downloads) Conclude(ctx context.Context, c SettlementCheck) (TransitionResult, error) {
	var wait time.Duration
	r, err := d.advance(ctx, c.ProjectID, c.RequestID, func(r Request, _ Approval, now time.Time) (s Transition, err error) {
		switch due := r.Deadline(); {
		case r.Status == StatusIssued:
			s, wait, err = d.concludeToken(ctx, r, c, now)
			return s, err
		case r.Status.Ended():
		case now.Before(due):
			wait = due.Sub(now)
		default:
			return r.expire(now)
		}
		return Transition{Request: r}, nil
	})
	if errors.Is(err, CodeNotFound) {
		return TransitionResult{Request: Request{ID: c.RequestID, Status: StatusExpired}}, nil // retention came first
	}
	if err != nil {
		return TransitionResult{}, fmt.Errorf("conclude: %w", err)
	}
	return TransitionResult{Request: r, Wait: wait}, nil
}

// concludeToken is the next step of an issued request; without one, wait is how
// long to leave it.
func (d *Downloads) concludeToken(ctx context.Context, r Request, c SettlementCheck, now time.Time) (_ Transition, wait time.Duration, err error) {
	to := func(status Status) (Transition, time.Duration, error) {
		next, err := r.become(status, now)
		return Transition{Request: next}, 0, err
	}
	found, err := d.Store.Token(ctx, r.TokenDigest)
	if errors.Is(err, CodeNotFound) && !now.Before(r.ExpiresAt) {
		return to(StatusExpired) // retention came first, after an outage longer than it keeps records
	}
	if err != nil {
		return Transition{}, 0, err
	}
	end := found.End
	if end == nil && !found.Expired(now) {
		return Transition{Request: r}, found.ExpiresAt.Sub(now), nil
	}
	if end == nil {
		s := found.settlement(Expired, System, Origin{}, now)
		end = &s
	}
	winner, _, err := d.Store.Settle(ctx, *end, end.record(found.Token))
	if err != nil {
		return Transition{}, 0, err
	}
	if interrupted, known := d.Workflows.PendingReport(c.RequestID); known && !c.Told {
		c.Told, c.Interrupted = true, interrupted
	}
	if winner.Kind == Consumed && !c.Told && !c.Waited {
		return Transition{Request: r}, reportGrace, nil
	}
	if winner.Kind == Consumed && (c.Interrupted || !c.Told) {
		if err := d.Store.Append(ctx, winner.interrupted(found.Token, now)); err != nil {
			return Transition{}, 0, err
		}
	}
	if claimed := strings.HasPrefix(winner.Attempt, attemptByClaim); winner.Kind == Expired || claimed {
		if r.Claimable(now) {
			return to(StatusApproved)
		}
		return to(StatusExpired)
	}
	return to(winner.status())
}

// interrupted is the entry for a file that was claimed and may not have arrived.
func (s Settlement) interrupted(t Token, at time.Time) AuditEntry {
	e := s.record(t).Audit
	e.Ref, e.Time, e.Action, e.Outcome, e.Detail = "interrupted/"+s.Digest, at, ActionDownloadInterrupted, AuditFailed, nil
	return e
}

// quota lets through so many events a second and counts the others.
type quota struct {
	mu     sync.Mutex
	second int64
	n      int
	left   int
}

const perSecond = 20

// take tells whether one more may pass, and how many before it did not.
func (q *quota) take(now time.Time) (ok bool, left int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if second := now.Unix(); second != q.second {
		q.second, q.n = second, 0
	}
	if q.n++; q.n > perSecond {
		q.left++
		return false, 0
	}
	left, q.left = q.left, 0
	return true, left
}
