package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	maxReason         = 2000
	maxIdempotencyKey = 255
)

// MintParams is what a caller asks for. TTLSeconds nil means the token life of the
// policy.
type MintParams struct {
	Certificate    Certificate
	Format         string
	Passphrase     Secret
	Reason         string
	Options        map[string]any
	TTLSeconds     *int
	BindIP         string
	IdempotencyKey string
}

// Minted is the answer to a mint or a claim: the request, its format and its
// token. A request that waits for approval has no token yet. Replayed means that
// the Idempotency-Key named an earlier request; its token is not shown again.
type Minted struct {
	Request  Request
	Format   Format
	Token    Secret
	Replayed bool
}

// Mint checks the parameters, starts the request's workflow and waits for the
// policy's decision. It returns CodeInvalidRequest, CodeUnknownFormat, CodeInvalidOptions,
// CodeNoPrivateKey, CodeNoChain, CodeIdempotencyConflict, CodeRateLimited, the code
// of the policy's denial, or CodeUnavailable; the last two carry the request's id.
func (d *Downloads) Mint(ctx context.Context, caller Caller, m MintParams) (Minted, error) {
	policy, err := d.Store.CertificatePolicy(ctx, caller.Project.ID)
	if err != nil {
		return Minted{}, err
	}
	r, err := d.draft(caller, m)
	if err != nil {
		return Minted{}, err
	}
	if m.IdempotencyKey != "" {
		earlier, err := d.earlier(ctx, &r, m.IdempotencyKey)
		if earlier != nil || err != nil {
			return replay(earlier, r, err)
		}
	}
	format, err := d.check(&r, m, policy)
	if err != nil {
		return Minted{}, err
	}
	if err := d.checkMintLimits(ctx, caller); err != nil {
		return Minted{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	in, token, err := d.workflowInput(ctx, caller, r, m.Certificate, format, m.Passphrase)
	if err != nil {
		return Minted{}, err
	}
	decided, err := d.Workflows.Start(ctx, in)
	switch {
	case errors.Is(err, CodeExists):
		raced, err := AwaitRequest(ctx, d.Store, r.ProjectID, r.ID)
		return replay(&raced, r, err)
	case err != nil:
		return Minted{}, Errorf(CodeUnavailable, "the policy did not decide in time; the request is cancelled if that is still possible; look at it before you try again").
			With("request_id", r.ID).Because(err)
	case decided.Status == StatusPendingApproval:
		return Minted{Request: decided, Format: format}, nil
	case decided.Status != StatusIssued:
		d.denials.count(caller.User.ID, d.Clock())
		return Minted{}, decided.refusal()
	}
	return Minted{Request: decided, Token: token, Format: format}, nil
}

// draft is the request as the caller sent it, before it is checked. Its BodyDigest
// does not depend on the policy or the formats, which may have changed when the
// same body is sent again with its Idempotency-Key.
func (d *Downloads) draft(caller Caller, m MintParams) (Request, error) {
	r := Request{
		ID: NewID("req"), ProjectID: caller.Project.ID, CertificateID: m.Certificate.ID, Requester: caller.Actor(),
		Reason: m.Reason, BindIP: m.BindIP, IP: caller.IP, UserAgent: caller.UserAgent, CreatedAt: d.Clock(),
	}
	if len(m.IdempotencyKey) > maxIdempotencyKey {
		return r, Errorf(CodeInvalidRequest, "Idempotency-Key has %d bytes; use at most %d", len(m.IdempotencyKey), maxIdempotencyKey)
	}
	body, err := json.Marshal([]any{m.Format, m.Options, m.Reason, m.TTLSeconds, m.BindIP})
	if err != nil {
		return r, Errorf(CodeInvalidRequest, "options is not a JSON object").Because(err)
	}
	r.BodyDigest = digest(string(body))
	return r, nil
}

// check checks everything that can be checked before the policy decides, in the
// order of refusals that the public API promises.
func (d *Downloads) check(r *Request, m MintParams, policy CertificatePolicy) (Format, error) {
	if err := r.restrict(m, policy); err != nil {
		return Format{}, err
	}
	format, err := d.applicable(m.Format, m.Options, m.Certificate, &r.Options)
	if err != nil {
		return Format{}, err
	}
	r.Format, r.Filename, r.ContainsKey = format.ID, format.Filename, format.ContainsKey
	return format, nil
}

// restrict checks and applies the limits in the caller's parameters.
func (r *Request) restrict(m MintParams, policy CertificatePolicy) error {
	r.TTLSeconds = policy.TokenTTLSeconds
	if m.TTLSeconds != nil {
		if *m.TTLSeconds < 1 || *m.TTLSeconds > policy.TokenTTLSeconds {
			return Errorf(CodeInvalidRequest, "ttl_seconds is %d; it must be from 1 to %d, the policy's token_ttl_seconds",
				*m.TTLSeconds, policy.TokenTTLSeconds)
		}
		r.TTLSeconds = *m.TTLSeconds
	}
	if m.BindIP != "" {
		if ip, err := netip.ParseAddr(m.BindIP); err != nil || ip.Zone() != "" {
			return Errorf(CodeInvalidRequest, "bind_ip is not a valid IP address; give an IPv4 or IPv6 address without a zone")
		}
	}
	if n := utf8.RuneCountInString(m.Reason); n > maxReason {
		return Errorf(CodeInvalidRequest, "reason has %d characters; use at most %d", n, maxReason)
	}
	return nil
}

// applicable finds the format and checks that it can be rendered for the certificate
// with these options. It stores their canonical form.
func (d *Downloads) applicable(name string, options map[string]any, c Certificate, canonical *string) (Format, error) {
	format, err := d.projectFormat(c.ProjectID, name)
	if err != nil {
		return Format{}, err
	}
	checked, err := d.Formats.CheckOptions(format.ID, options)
	if err != nil {
		return Format{}, err
	}
	*canonical = checked
	if format.ContainsKey && !c.HasPrivateKey {
		return Format{}, Errorf(CodeNoPrivateKey, "%s contains the private key, and no private key is stored for this certificate", format.Filename)
	}
	if format.NeedsChain && len(c.Chain) == 0 {
		return Format{}, Errorf(CodeNoChain, "no chain is stored for this certificate")
	}
	return format, nil
}

// ProjectFormats lists the formats of a project, by id.
func (d *Downloads) ProjectFormats(projectID string) []Format {
	return slices.DeleteFunc(d.Formats.Formats(), func(f Format) bool { return !f.EnabledIn(projectID) })
}

// projectFormat finds a project's format, or returns CodeUnknownFormat.
func (d *Downloads) projectFormat(projectID, name string) (Format, error) {
	format, ok := d.Formats.Format(name)
	if ok && format.EnabledIn(projectID) {
		return format, nil
	}
	available := []string{}
	for _, f := range d.ProjectFormats(projectID) {
		available = append(available, f.ID)
	}
	return Format{}, Errorf(CodeUnknownFormat, "there is no format with that name").With("available", available)
}

// workflowInput adds a new token to the request. Only the token's digest, and what
// opens with the token alone, go further than this process.
func (d *Downloads) workflowInput(ctx context.Context, caller Caller, r Request, c Certificate, format Format, passphrase Secret) (WorkflowInput, Secret, error) {
	token := NewToken()
	in := WorkflowInput{
		Request: r, Role: caller.Role, ProjectName: caller.Project.Name, Certificate: c.forPolicy(),
		NeedsPassphrase: format.NeedsPassphrase, Passphrase: PassphraseFactsOf(passphrase), AnswerBy: d.Clock().Add(timeLeft(ctx)),
		Token: Token{
			Digest: SecretDigest(token), RequestID: r.ID, ProjectID: r.ProjectID, CertificateID: r.CertificateID,
			Requester: r.Requester, IssuedTo: caller.Actor(), Format: r.Format, Options: r.Options, ContainsKey: r.ContainsKey, BindIP: r.BindIP,
		},
	}
	if format.NeedsPassphrase && in.Passphrase.Length <= MaxPassphrase {
		sealed, err := passphrase.SealWithToken(token)
		if err != nil {
			return WorkflowInput{}, "", err
		}
		in.Token.SealedPassphrase = sealed
	}
	return in, token, nil
}

// earlier finds the request that the Idempotency-Key already names. If there is none,
// it gives r the id that belongs to the key. A request that was refused for its
// passphrase does not count: the passphrase is what a repetition may change.
func (d *Downloads) earlier(ctx context.Context, r *Request, key string) (*Request, error) {
	r.IdempotencyID = idempotencyID(r.ProjectID, r.Requester.Person, r.CertificateID, key)
	before, err := d.Store.RequestByIdempotency(ctx, r.IdempotencyID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return nil, err
	}
	retry := before.Code == CodePassphraseRequired || before.Code == CodePassphraseInvalid
	if err == nil && !retry && r.CreatedAt.Sub(before.CreatedAt) < idempotencyWindow {
		return &before, nil
	}
	r.ID = successorID(r.IdempotencyID, before.ID)
	return nil, nil
}

func replay(earlier *Request, r Request, err error) (Minted, error) {
	if err != nil {
		return Minted{}, err
	}
	if earlier.BodyDigest != r.BodyDigest {
		return Minted{}, Errorf(CodeIdempotencyConflict, "this Idempotency-Key was used with another body; use a new key").With("request_id", earlier.ID)
	}
	return Minted{Request: *earlier, Replayed: true}, nil
}

// RequestReader reads a request from the store.
type RequestReader interface {
	Request(ctx context.Context, projectID, id string) (Request, error)
}

// AwaitRequest returns a request as soon as the store has it, or CodeUnavailable at
// the end of ctx. It is for callers whose decision is made in another process.
func AwaitRequest(ctx context.Context, store RequestReader, projectID, id string) (Request, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := store.Request(ctx, projectID, id)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, CodeNotFound) {
			return Request{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Request{}, Errorf(CodeUnavailable, "the policy did not decide in time; look at the request before you try again").With("request_id", id).Because(ctx.Err())
		}
	}
}
