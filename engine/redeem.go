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

// Fetch is an attempt to redeem a token, or to look at what it stands for.
// Prefetch marks a caller who declares that nobody asked for the file yet.
type RedeemRequest struct {
	Token    Secret
	Prefetch bool
	Origin
}

// File is a rendered file, claimed for one caller. Sent must be called once,
// with what became of the transmission.
type File struct {
	Name      string
	MediaType string
	Format    string
	Content   []byte
	SHA256    [sha256.Size]byte
	Sent      func(err error)
}

// Redeem renders the file, settles the token and returns the file: to one
// caller only, and only once that is on record. It refuses with CodeTokenUnknown,
// CodeTokenConsumed, CodeTokenExpired, CodeTokenRevoked, CodePrefetchRefused,
// CodeIPMismatch, CodePolicyDenied where the project has the format no more,
// CodeForbidden once the requester is disabled, or CodeKeyExportDisabled, and fails with CodeRendererFailed, CodeUnavailable or
// CodeAuditUnavailable; of these only CodeAuditUnavailable may have burned the
// token, where it cannot be told whether the record was written.
func (d *Downloads) Redeem(ctx context.Context, f RedeemRequest) (*File, error) {
	token, format, err := d.admit(ctx, f)
	if err != nil {
		return nil, err
	}
	file, err := d.render(ctx, token, format, f)
	if err != nil {
		return nil, d.failed(ctx, token, f, err)
	}
	failpoint.Hit("rendered")
	s := token.settlement(Consumed, token.Requester, f.Origin, d.Clock())
	s.FileSHA256, s.FileSize = hex.EncodeToString(file.SHA256[:]), len(file.Content)
	if token.Expired(s.Time) {
		return nil, d.refuse(ctx, token, f, errTokenExpired(token.ExpiresAt))
	}
	winner, won, err := d.Store.Settle(ctx, s, s.record(token))
	if err != nil {
		return nil, Errorf(CodeAuditUnavailable, "the download could not be put on record, so nothing was sent").Because(err)
	}
	if !won {
		return nil, d.refuse(ctx, token, f, winner.Err())
	}
	failpoint.Hit("claimed")
	file.Sent = func(err error) { d.Workflows.ReportSettlement(token.RequestID, err != nil) }
	return file, nil
}

// Peek tells what Redeem would hand out, as far as it is known without
// rendering: name, media type and format. It refuses as Redeem does and burns
// nothing.
func (d *Downloads) Peek(ctx context.Context, f RedeemRequest) (*File, error) {
	_, format, err := d.admit(ctx, f)
	if err != nil {
		return nil, err
	}
	return &File{Name: format.Filename, MediaType: format.MediaType, Format: format.ID}, nil
}

// admit looks the token up and refuses, on record, whoever may not redeem it.
func (d *Downloads) admit(ctx context.Context, f RedeemRequest) (Token, Format, error) {
	found, err := d.Store.Token(ctx, SecretDigest(f.Token))
	if errors.Is(err, CodeNotFound) {
		return Token{}, Format{}, d.refuseUnknown(ctx, f)
	}
	if err != nil {
		return Token{}, Format{}, fmt.Errorf("look up token: %w", err)
	}
	var format Format
	if f.Prefetch {
		err = Errorf(CodePrefetchRefused, "a prefetch or link preview does not get the file; the token is not used up")
	} else {
		format, err = d.redeemable(ctx, found, f)
	}
	if err != nil {
		return Token{}, Format{}, d.refuse(ctx, found.Token, f, err)
	}
	return found.Token, format, nil
}

// redeemable refuses a token that ended or must not be redeemed as things are.
func (d *Downloads) redeemable(ctx context.Context, found TokenRecord, f RedeemRequest) (Format, error) {
	token := found.Token
	format, ok := d.Formats.Format(token.Format)
	switch {
	case found.End != nil:
		return Format{}, found.End.Err()
	case token.Expired(d.Clock()):
		return Format{}, errTokenExpired(token.ExpiresAt)
	case token.BindIP != "" && !sameAddress(token.BindIP, f.IP):
		return Format{}, Errorf(CodeIPMismatch, "this token is bound to another IP address")
	case !ok || format.ID != token.Format: // another format may have taken the name
		return Format{}, Errorf(CodeRendererFailed, "the renderer of %s is not there; the token is not used up", token.Format)
	case !format.EnabledIn(token.ProjectID):
		return Format{}, Errorf(CodePolicyDenied, "this project does not have %s any more; the token is not used up", format.Filename)
	case format.ContainsKey && !token.ContainsKey:
		// A plugin that was replaced meanwhile must not widen what was decided.
		return Format{}, Errorf(CodeRendererFailed, "%s did not hold the private key when this token was issued; ask again", token.Format)
	}
	if err := d.requesterStands(ctx, token); err != nil {
		return Format{}, err
	}
	return format, d.keyStillAllowed(ctx, token)
}

// stillRedeemable looks a token up again for a fetch that had to wait.
func (d *Downloads) stillRedeemable(ctx context.Context, f RedeemRequest) error {
	found, err := d.Store.Token(ctx, SecretDigest(f.Token))
	if err != nil {
		return lost("record", err)
	}
	_, err = d.redeemable(ctx, found, f)
	return err
}

// requesterStands refuses a token whose requester was disabled, or is gone: what
// they asked for must not reach them by a link that is left. Whoever is enabled
// again finds it unused.
func (d *Downloads) requesterStands(ctx context.Context, t Token) error {
	u, err := d.Store.User(ctx, t.Requester.Person)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("look up requester: %w", err)
	}
	if err != nil || u.Disabled {
		return Errorf(CodeForbidden, "whoever asked for this file is disabled; the token is not used up")
	}
	return nil
}

// keyStillAllowed refuses a token for a key that nobody approved once the
// project's key export is off.
func (d *Downloads) keyStillAllowed(ctx context.Context, t Token) error {
	if !t.ContainsKey || t.ApprovalID != "" {
		return nil
	}
	policy, err := d.Store.CertificatePolicy(ctx, t.ProjectID)
	if err != nil {
		return fmt.Errorf("read certificate policy: %w", err)
	}
	if !policy.AllowKeyExport {
		return Errorf(CodeKeyExportDisabled, "key export was switched off after this token was issued; the token is not used up").
			With("remedies", []string{"ask an administrator of the project to switch on \"Allow key export\"; the token works again while it lives"})
	}
	return nil
}

// stillApproved refuses to render anything but what people approved.
func (d *Downloads) stillApproved(ctx context.Context, t Token, c Certificate) error {
	if t.ApprovalID == "" {
		return nil
	}
	approval, err := d.Store.Approval(ctx, t.ProjectID, t.ApprovalID)
	if err != nil {
		return lost("approval", err)
	}
	if !approval.Permits(c, t) {
		return errMismatch
	}
	return nil
}

func (d *Downloads) render(ctx context.Context, t Token, format Format, f RedeemRequest) (*File, error) {
	certificate, err := d.Store.Certificate(ctx, t.ProjectID, t.CertificateID)
	if err != nil {
		return nil, lost("certificate", err)
	}
	if err := d.stillApproved(ctx, t, certificate); err != nil {
		return nil, err
	}
	job := RenderJob{
		Format: format.ID, Name: certificate.Name, Leaf: certificate.Leaf, Chain: certificate.Chain, Options: t.Options,
		Recheck: func(ctx context.Context) error { return d.stillRedeemable(ctx, f) },
	}
	if format.ContainsKey {
		sealed, err := d.Store.SealedKey(ctx, t.CertificateID)
		if err != nil {
			return nil, lost("sealed key", err)
		}
		if job.PrivateKey, err = d.Keys.Open(ctx, KeyIdentity(t.ProjectID, t.CertificateID), sealed); err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
		defer clear(job.PrivateKey)
	}
	if format.NeedsPassphrase {
		if job.Passphrase, err = OpenWithToken(f.Token, t.SealedPassphrase); err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
	}
	content, err := d.Formats.Render(ctx, job)
	if err != nil {
		return nil, err
	}
	return &File{Name: format.Filename, MediaType: format.MediaType, Format: format.ID, Content: content, SHA256: sha256.Sum256(content)}, nil
}

// lost keeps "not found" from the caller, whose token was found: that something
// behind it is missing is the server's fault.
func lost(what string, err error) error {
	if errors.Is(err, CodeNotFound) {
		return fmt.Errorf("render: the %s of a token is gone", what)
	}
	return fmt.Errorf("render: read %s: %w", what, err)
}

// KeyIdentity is what binds a sealed private key to its certificate's record.
func KeyIdentity(projectID, certificateID string) string {
	return "certificate-key/" + projectID + "/" + certificateID
}

// failed puts a redemption without a file on record and returns the error: a
// refusal if the token came to its end while its file had to wait.
func (d *Downloads) failed(ctx context.Context, t Token, f RedeemRequest, err error) error {
	switch CodeOf(err) {
	case "", CodeRendererFailed, CodeUnavailable:
		d.refused(ctx, t, f, AuditFailed, err)
		return err
	}
	return d.refuse(ctx, t, f, err)
}

// refuse puts a refused redemption on record and returns the refusal.
func (d *Downloads) refuse(ctx context.Context, t Token, f RedeemRequest, refusal error) error {
	if errors.Is(refusal, CodeTokenConsumed) {
		d.Workflows.ReportReuse(t)
	}
	d.refused(ctx, t, f, AuditRefused, refusal)
	return refusal
}

func (d *Downloads) refused(ctx context.Context, t Token, f RedeemRequest, outcome string, refusal error) {
	d.record(ctx, AuditEntry{
		Ref: NewID("aud"), ProjectID: t.ProjectID, Time: d.Clock(), Action: ActionDownloadRefused, Outcome: outcome,
		Actor: t.Requester, IP: f.IP, UserAgent: f.UserAgent, CertificateID: t.CertificateID, RequestID: t.RequestID, Format: t.Format,
		Detail: map[string]string{"code": string(CodeOf(refusal))},
	})
}

// refuseUnknown answers for a token that was never issued, or long ago. Whoever
// guesses cannot flood the record: beyond the quota the entries are counted.
func (d *Downloads) refuseUnknown(ctx context.Context, f RedeemRequest) error {
	if f.Prefetch {
		return Errorf(CodePrefetchRefused, "a prefetch or link preview does not get the file")
	}
	d.RecordSystemRefusal(ctx, ActionDownloadRefused, CodeTokenUnknown, Caller{Origin: f.Origin})
	return Errorf(CodeTokenUnknown, "there is no such token")
}

// RecordSystemRefusal puts a refusal that belongs to no project on the system chain,
// within a quota; what was left out is counted in the next entry.
func (d *Downloads) RecordSystemRefusal(ctx context.Context, action string, code Code, by Caller) {
	now := d.Clock()
	ok, left := d.system.take(now)
	if !ok {
		return
	}
	detail := map[string]string{"code": string(code)}
	if left > 0 {
		detail["left_out_before"] = strconv.Itoa(left)
	}
	actor := Actor{Type: "anonymous"}
	if by.User.ID != "" {
		actor = by.Actor()
	}
	d.record(ctx, AuditEntry{
		Ref: NewID("aud"), ProjectID: SystemChain, Time: now, Action: action, Outcome: AuditRefused,
		Actor: actor, IP: by.IP, UserAgent: by.UserAgent, Detail: detail,
	})
}
