package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// RedeemRequest is an attempt to redeem a token, or to read what its file would be.
// Prefetch marks a call by software that loads links before a user opens them.
type RedeemRequest struct {
	Token    Secret
	Prefetch bool
	Origin
}

// File is a rendered file for the one caller who gets it. Sent must be called
// once, with the error by which the transmission ended, or nil.
type File struct {
	Name      string
	MediaType string
	Format    string
	Content   []byte
	SHA256    [sha256.Size]byte
	Sent      func(err error)
}

// Redeem renders the file, settles the token as consumed and returns the file: to
// one caller only, and only once the settlement is stored. It refuses with
// CodeTokenUnknown, CodeTokenConsumed, CodeTokenExpired, CodeTokenRevoked,
// CodePrefetchRefused, CodeIPMismatch, CodePolicyDenied if the project no longer
// has the format, CodeNoLongerPermitted, or the code of the policy's present
// denial. It fails with CodeRendererFailed, CodeUnavailable or
// CodeAuditUnavailable; of all these only CodeAuditUnavailable may have consumed
// the token, if the store did not answer whether the settlement was written.
func (d *Downloads) Redeem(ctx context.Context, f RedeemRequest) (*File, error) {
	var of subject
	token, format, err := d.redeemableToken(ctx, f, &of)
	if err != nil {
		return nil, err
	}
	if d.HeldUp != nil {
		if err := d.HeldUp(); err != nil {
			return nil, d.failed(ctx, token, f, err)
		}
	}
	file, err := d.render(ctx, token, format, f, &of)
	if err != nil {
		return nil, d.failed(ctx, token, f, err)
	}
	failpoint.Hit("rendered")
	s := token.settlement(Consumed, token.Requester, f.Origin, d.Clock())
	s.FileSHA256, s.FileSize = hex.EncodeToString(file.SHA256[:]), len(file.Content)
	// Rendering takes a while. Whether the token ended meanwhile, the settlement decides.
	if _, err := d.checkRedeemable(ctx, TokenRecord{Token: token}, f, &of); err != nil {
		return nil, d.failed(ctx, token, f, err)
	}
	if ctx.Err() != nil { // from here on, "try again" would be wrong
		return nil, d.failed(ctx, token, f, ctx.Err())
	}
	settling, cancel := Finishing(ctx)
	defer cancel()
	winner, won, err := d.Store.Settle(settling, s, s.record(token))
	if errors.Is(err, CodeConflict) {
		d.Log.ErrorContext(ctx, "the record of a token's end was deleted: somebody changed the database", "request_id", token.RequestID, "project", token.ProjectID)
		return nil, d.refuse(ctx, token, f, errEndDeleted)
	}
	if err != nil {
		// If the settlement is stored, the workflow completes its record.
		d.Workflows.ReportSettlement(SettlementReport{ProjectID: token.ProjectID, RequestID: token.RequestID})
		return nil, Errorf(CodeAuditUnavailable, "the download could not be recorded, so nothing was sent; make a new request if the token is consumed").Because(err)
	}
	d.ended.add(TokenRecord{Token: token, Settlement: &winner})
	if !won {
		return nil, d.refuse(ctx, token, f, winner.Err())
	}
	failpoint.Hit("consumed")
	file.Sent = func(err error) {
		d.Workflows.ReportSettlement(SettlementReport{ProjectID: token.ProjectID, RequestID: token.RequestID, TokenDigest: token.Digest, Interrupted: err != nil})
	}
	return file, nil
}

// errEndDeleted refuses a token that ended before, as the audit log says.
var errEndDeleted = Errorf(CodeTokenConsumed, "the audit log says that this token ended before, although no record of that is left; make a new request")

// fileDetail is what the audit entry of a download says of the file.
func (s Settlement) fileDetail() map[string]string {
	return map[string]string{"sha256": s.FileSHA256, "size": strconv.Itoa(s.FileSize)}
}

// Peek returns what is known of the file before it is rendered: name, media type
// and format. It refuses as Redeem does and never consumes the token.
func (d *Downloads) Peek(ctx context.Context, f RedeemRequest) (*File, error) {
	_, format, err := d.redeemableToken(ctx, f, &subject{})
	if err != nil {
		return nil, err
	}
	return &File{Name: format.Filename, MediaType: format.MediaType, Format: format.ID}, nil
}

// redeemableToken finds the token and its format. A refusal is written to the
// audit log.
func (d *Downloads) redeemableToken(ctx context.Context, f RedeemRequest, of *subject) (Token, Format, error) {
	found, err := d.token(ctx, SecretDigest(f.Token))
	if errors.Is(err, CodeNotFound) {
		return Token{}, Format{}, d.refuseUnknown(ctx, f)
	}
	if err != nil {
		return Token{}, Format{}, fmt.Errorf("look up token: %w", err)
	}
	var format Format
	if f.Prefetch {
		err = Errorf(CodePrefetchRefused, "a prefetch or link preview does not get the file; the token can still be used")
	} else {
		format, err = d.checkRedeemable(ctx, found, f, of)
	}
	if err != nil {
		return Token{}, Format{}, d.failed(ctx, found.Token, f, err)
	}
	return found.Token, format, nil
}

// token finds a token. One that has ended is read once only.
func (d *Downloads) token(ctx context.Context, digest string) (TokenRecord, error) {
	if t, ok := d.ended.get(digest); ok {
		return t, nil
	}
	t, err := d.Store.Token(ctx, digest)
	if err == nil {
		d.ended.add(t)
	}
	return t, err
}

// checkRedeemable refuses a token that has ended, or that must not be redeemed at
// this moment.
func (d *Downloads) checkRedeemable(ctx context.Context, found TokenRecord, f RedeemRequest, of *subject) (Format, error) {
	token := found.Token
	format, ok := d.Formats.Format(token.Format)
	switch {
	case found.Settlement != nil:
		return Format{}, found.Settlement.Err()
	case token.Expired(d.Clock()):
		return Format{}, errTokenExpired(token.ExpiresAt)
	case token.BindIP != "" && !sameAddress(token.BindIP, f.IP):
		return Format{}, Errorf(CodeIPMismatch, "this token is bound to another IP address")
	case !ok || format.ID != token.Format: // another format may have taken the name
		return Format{}, Errorf(CodeRendererFailed, "the plugin for %s is not available; the token can still be used", token.Format)
	case !format.EnabledIn(token.ProjectID):
		return Format{}, Errorf(CodePolicyDenied, "this project no longer has the format %s; the token can still be used", format.Filename)
	case format.ContainsKey && !token.ContainsKey:
		// A plugin that was replaced meanwhile must not widen what the policy allowed.
		return Format{}, Errorf(CodeRendererFailed, "%s did not contain the private key when this token was issued; make a new request", token.Format)
	}
	return format, d.checkPermitted(ctx, token, format, of)
}

// recheckRedeemable checks a token again after a wait for the renderer.
func (d *Downloads) recheckRedeemable(ctx context.Context, f RedeemRequest, of *subject) error {
	found, err := d.Store.Token(ctx, SecretDigest(f.Token))
	if err != nil {
		return renderError("record", err)
	}
	_, err = d.checkRedeemable(ctx, found, f, of)
	return err
}

// checkApproved refuses to render a file that differs from the approved one.
func (d *Downloads) checkApproved(ctx context.Context, t Token, c Certificate) error {
	if t.ApprovalID == "" {
		return nil
	}
	approval, err := d.Store.Approval(ctx, t.ProjectID, t.ApprovalID)
	if err != nil {
		return renderError("approval", err)
	}
	if !approval.Permits(c, t) {
		return errMismatch
	}
	return nil
}

func (d *Downloads) render(ctx context.Context, t Token, format Format, f RedeemRequest, of *subject) (*File, error) {
	certificate := of.certificate
	if err := d.checkApproved(ctx, t, certificate); err != nil {
		return nil, err
	}
	job := RenderJob{
		Format: format.ID, Name: certificate.Name, Leaf: certificate.Leaf, Chain: certificate.Chain, Options: t.Options,
		Recheck: func(ctx context.Context) error { return d.recheckRedeemable(ctx, f, of) },
	}
	if format.ContainsKey {
		sealed, err := d.Store.SealedKey(ctx, t.CertificateID)
		if err != nil {
			return nil, renderError("sealed key", err)
		}
		if job.PrivateKey, err = d.Keys.Open(ctx, KeyIdentity(t.ProjectID, t.CertificateID), sealed); err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
		defer clear(job.PrivateKey)
	}
	if format.NeedsPassphrase {
		passphrase, err := OpenWithToken(f.Token, t.SealedPassphrase)
		if err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
		job.Passphrase = passphrase
	}
	content, err := d.Formats.Render(ctx, job)
	if err != nil {
		return nil, err
	}
	return &File{Name: format.Filename, MediaType: format.MediaType, Format: format.ID, Content: content, SHA256: sha256.Sum256(content)}, nil
}

// renderError hides "not found" from the caller: the token was found, so a missing
// record behind it is the server's fault.
func renderError(what string, err error) error {
	if errors.Is(err, CodeNotFound) {
		return fmt.Errorf("render: the %s of a token is missing", what)
	}
	return fmt.Errorf("render: load %s: %w", what, err)
}

// KeyIdentity is what binds a sealed private key to its certificate's record.
func KeyIdentity(projectID, certificateID string) string {
	return "certificate-key/" + projectID + "/" + certificateID
}

// failed writes a redemption that gave no file to the audit log and returns the
// error: a refusal, if the token ended while its file waited to be rendered.
func (d *Downloads) failed(ctx context.Context, t Token, f RedeemRequest, err error) error {
	switch CodeOf(err) {
	case "", CodeRendererFailed, CodeUnavailable:
		d.recordRefused(ctx, t, f, AuditFailed, err)
		return err
	}
	return d.refuse(ctx, t, f, err)
}

// refuse writes a refused redemption to the audit log and returns the refusal.
func (d *Downloads) refuse(ctx context.Context, t Token, f RedeemRequest, refusal error) error {
	if errors.Is(refusal, CodeTokenConsumed) {
		d.Workflows.ReportReuse(t)
	}
	d.recordRefused(ctx, t, f, AuditRefused, refusal)
	return refusal
}

func (d *Downloads) recordRefused(ctx context.Context, t Token, f RedeemRequest, outcome string, refusal error) {
	detail := map[string]string{"code": string(CodeOf(refusal))}
	if e, ok := AsError(refusal); ok {
		detail["reason"] = e.Detail
	}
	d.Refusals.Record(ctx, AuditEntry{
		Ref: NewID("aud"), ProjectID: t.ProjectID, Time: d.Clock(), Action: ActionDownloadRefused, Outcome: outcome,
		Actor: t.Requester, IP: f.IP, UserAgent: f.UserAgent, CertificateID: t.CertificateID, RequestID: t.RequestID, Format: t.Format,
		Detail: detail,
	}, t.Digest)
}

// refuseUnknown refuses a token that was never issued, or whose record was deleted.
func (d *Downloads) refuseUnknown(ctx context.Context, f RedeemRequest) error {
	if f.Prefetch {
		return Errorf(CodePrefetchRefused, "a prefetch or link preview does not get the file")
	}
	d.Refusals.RecordUnknownToken(ctx, f.Origin)
	return Errorf(CodeTokenUnknown, "no token with this value exists; ask for a new link")
}
