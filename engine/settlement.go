package engine

import (
	"context"
	"errors"
	"time"
)

// settlement begins the record of how the token ended.
func (t Token) settlement(kind SettleKind, by Actor, from Origin, at time.Time) Settlement {
	return Settlement{
		Digest: t.Digest, Kind: kind, Attempt: NewID("try"), RequestID: t.RequestID, ProjectID: t.ProjectID,
		Actor: by, IP: from.IP, UserAgent: from.UserAgent, Format: t.Format, Time: at,
	}
}

// record is the record that is written with a settlement. It follows from
// settlement and token alone, so that it can be completed after a crash.
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
		rec.Audit.Detail = s.fileDetail()
	}
	return rec.writes(s.document())
}

// doubt is the audit entry of a file that was consumed and did not arrive whole, or of
// which nobody knows whether it did: the process that sent it has not reported.
func (s Settlement) doubt(t Token, at time.Time, reported bool) AuditEntry {
	e := s.record(t).Audit
	e.Ref, e.Time, e.Action, e.Outcome = "interrupted/"+s.Digest, at, ActionDownloadInterrupted, AuditFailed
	if !reported {
		e.Action, e.Outcome = ActionDownloadUnconfirmed, AuditUnknown
	}
	e.Detail, e.Documents = nil, nil
	return e
}

// SettlementCheck asks whether the token of an issued request has ended. Report is
// what the process that settled the token reported, if it did; Waited means that
// a missing report was waited for.
type SettlementCheck struct {
	ProjectID string           `json:"project_id"`
	RequestID string           `json:"request_id"`
	Report    SettlementReport `json:"report"`
	Waited    bool             `json:"waited"`
}

// reportGrace is how long the report of a consumption may be late. After it, nobody
// knows whether the file arrived: the process that sent it may have died.
const reportGrace = 30 * time.Second

// RecordSettlement brings an issued request to the state in which its token
// ended, expires the token if its life is over, and completes what a crash left
// missing of the record. An approved request whose token expired unused can be
// claimed again within its claim window. Called again, it changes nothing.
func (t *Transitions) RecordSettlement(ctx context.Context, c SettlementCheck) (TransitionResult, error) {
	var wait time.Duration
	r, err := t.advance(ctx, c.ProjectID, c.RequestID, func(r Request, _ Approval, now time.Time) (next Transition, err error) {
		if r.Status != StatusIssued {
			return Transition{Request: r}, nil
		}
		next, wait, err = t.settled(ctx, r, c, now)
		return next, err
	})
	return resultOf(c.RequestID, r, wait, err)
}

// settled is the transition of an issued request whose token has ended. If it has
// not, or its report is still awaited, the request stays as it is for a wait.
func (t *Transitions) settled(ctx context.Context, r Request, c SettlementCheck, now time.Time) (_ Transition, wait time.Duration, err error) {
	found, err := t.Store.Token(ctx, r.TokenDigest)
	switch {
	case errors.Is(err, CodeNotFound) && now.Before(r.ExpiresAt):
		// A crash came between the request and its token: AdvanceRequest completes that.
		return Transition{Request: r}, r.ExpiresAt.Sub(now), nil
	case errors.Is(err, CodeNotFound):
		next, err := r.become(StatusExpired, now) // after an outage longer than retention keeps token records
		return Transition{Request: next}, 0, err
	case err != nil:
		return Transition{}, 0, err
	}
	end := found.Settlement
	if end == nil && !found.Expired(now) {
		return Transition{Request: r}, found.ExpiresAt.Sub(now), nil
	}
	if end == nil {
		s := found.settlement(Expired, System, Origin{}, now)
		end = &s
	}
	winner, _, err := t.Store.Settle(ctx, *end, end.record(found.Token))
	if err != nil {
		return Transition{}, 0, err
	}
	if winner.Kind == Consumed {
		reported, interrupted := t.reported(r, c)
		if !reported && !c.Waited {
			return Transition{Request: r}, reportGrace, nil
		}
		if interrupted || !reported {
			if err := t.Store.Append(ctx, winner.doubt(found.Token, now, reported)); err != nil {
				return Transition{}, 0, err
			}
		}
	}
	next, err := r.become(winner.statusOf(r, now), now)
	return Transition{Request: next}, 0, err
}

// reported reports whether the consumption of the request's token was reported:
// to the workflow, or to this process, which has not passed it on yet.
func (t *Transitions) reported(r Request, c SettlementCheck) (reported, interrupted bool) {
	if c.Report.TokenDigest == r.TokenDigest {
		return true, c.Report.Interrupted
	}
	pending, ok := t.Reports.PendingReport(r.ID)
	reported = ok && pending.TokenDigest == r.TokenDigest
	return reported, reported && pending.Interrupted
}

// statusOf is the state in which a settlement leaves a request at now.
func (s Settlement) statusOf(r Request, now time.Time) Status {
	switch {
	case s.Kind == Expired || s.byClaim():
		return r.statusAfterExpiredToken(now)
	case s.Kind == Consumed:
		return StatusConsumed
	default:
		return StatusRevoked
	}
}
