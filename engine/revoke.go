package engine

import (
	"context"
	"errors"
	"fmt"
)

// Revoke ends the unconsumed token of an issued request. It returns
// CodeNotPending if the request has no token, or if the token ended before.
func (d *Downloads) Revoke(ctx context.Context, caller Caller, r Request) error {
	if r.TokenDigest == "" {
		return Errorf(CodeNotPending, "this request has no token to revoke")
	}
	found, err := d.Store.Token(ctx, r.TokenDigest)
	if errors.Is(err, CodeNotFound) {
		return Errorf(CodeNotPending, "the token of this request ended long ago")
	}
	if err != nil {
		return fmt.Errorf("revoke: load token: %w", err)
	}
	now := d.Clock()
	switch {
	case found.Settlement != nil && found.Settlement.byClaim():
		return d.revokeClaimed(ctx, caller, r)
	case found.Settlement != nil:
		return Errorf(CodeNotPending, "the token of this request is already %s", found.Settlement.Kind)
	case found.Expired(now):
		return Errorf(CodeNotPending, "the token of this request has expired")
	}
	s := found.settlement(Revoked, caller.Actor(), caller.Origin, now)
	winner, won, err := d.Store.Settle(ctx, s, s.record(found.Token))
	switch {
	case err != nil:
		// If the settlement is stored, the workflow completes its record.
		d.Workflows.ReportSettlement(SettlementReport{ProjectID: r.ProjectID, RequestID: r.ID})
		return Errorf(CodeAuditUnavailable, "the revocation could not be recorded; the token may be revoked already; look at the request, and try again if it is not").Because(err)
	case !won && winner.byClaim():
		return d.revokeClaimed(ctx, caller, r)
	case !won:
		return Errorf(CodeNotPending, "the token of this request is already %s", winner.Kind)
	}
	d.Workflows.ReportSettlement(SettlementReport{ProjectID: r.ProjectID, RequestID: r.ID, TokenDigest: s.Digest})
	return nil
}

// revokeClaimed revokes the token by which a claim has replaced the one that r
// names.
func (d *Downloads) revokeClaimed(ctx context.Context, caller Caller, r Request) error {
	current, err := d.Store.Request(ctx, r.ProjectID, r.ID)
	if err != nil {
		return fmt.Errorf("revoke: load request: %w", err)
	}
	if current.TokenDigest == r.TokenDigest {
		return Errorf(CodeNotPending, "a claim is replacing the token of this request; try again")
	}
	return d.Revoke(ctx, caller, current)
}
