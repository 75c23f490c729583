package engine

import (
	"context"
	"fmt"
	"time"
)

// ApprovalMode says which downloads wait for approval.
type ApprovalMode string

// The approval modes.
const (
	ApprovalOff       ApprovalMode = "off"
	ApprovalKeyExport ApprovalMode = "key_export"
	ApprovalAll       ApprovalMode = "all"
)

// ApprovalRule is the approval part of a certificate policy. Times are in seconds.
type ApprovalRule struct {
	Mode               ApprovalMode `json:"mode"`
	RequiredApprovals  int          `json:"required_approvals"`
	TTLSeconds         int          `json:"ttl_seconds"`
	ClaimWindowSeconds int          `json:"claim_window_seconds"`
}

// CertificatePolicy is what a project's administrators set. Each change is a new
// Version, and all versions are kept. The first is 1; 0 is the default.
type CertificatePolicy struct {
	ProjectID             string       `json:"project_id"`
	Version               int          `json:"version"`
	AllowKeyExport        bool         `json:"allow_key_export"`
	Approval              ApprovalRule `json:"approval"`
	TokenTTLSeconds       int          `json:"token_ttl_seconds"`
	MinPassphraseLength   int          `json:"min_passphrase_length"`
	AllowLegacyEncryption bool         `json:"allow_legacy_encryption"`
	UpdatedBy             Actor        `json:"updated_by"`
	UpdatedAt             time.Time    `json:"updated_at"`
}

// The bounds of a policy's numbers, in seconds and characters.
const (
	MaxTokenTTL         = 3600
	MaxApprovalTTL      = 30 * 24 * 3600
	MaxRequiredApproval = 64
	MaxPassphrase       = 128
)

// DefaultPolicy applies until an administrator sets another: private keys cannot
// be exported, and tokens live five minutes.
func DefaultPolicy(projectID string) CertificatePolicy {
	return CertificatePolicy{
		ProjectID:             projectID,
		Approval:              ApprovalRule{Mode: ApprovalOff, RequiredApprovals: 1, TTLSeconds: 86400, ClaimWindowSeconds: 86400},
		TokenTTLSeconds:       300,
		MinPassphraseLength:   8,
		AllowLegacyEncryption: true,
	}
}

// Validate returns CodeInvalidPolicy naming the first member out of bounds.
func (p CertificatePolicy) Validate() error {
	switch p.Approval.Mode {
	case ApprovalOff, ApprovalKeyExport, ApprovalAll:
	default:
		return Errorf(CodeInvalidPolicy, "approval.mode is %q; use off, key_export or all", p.Approval.Mode)
	}
	for _, bound := range []struct {
		name     string
		got, max int
	}{
		{"approval.required_approvals", p.Approval.RequiredApprovals, MaxRequiredApproval},
		{"approval.ttl_seconds", p.Approval.TTLSeconds, MaxApprovalTTL},
		{"approval.claim_window_seconds", p.Approval.ClaimWindowSeconds, MaxApprovalTTL},
		{"token_ttl_seconds", p.TokenTTLSeconds, MaxTokenTTL},
		{"min_passphrase_length", p.MinPassphraseLength, MaxPassphrase},
	} {
		if bound.got < 1 || bound.got > bound.max {
			return Errorf(CodeInvalidPolicy, "%s is %d; it must be from 1 to %d", bound.name, bound.got, bound.max)
		}
	}
	return nil
}

// ETag identifies this version of the policy (RFC 9110, section 8.8.3).
func (p CertificatePolicy) ETag() string { return fmt.Sprintf(`"%d"`, p.Version) }

// PassphraseFacts is all that a policy knows of a passphrase.
type PassphraseFacts struct {
	Length    int  `json:"length"`
	Printable bool `json:"printable"`
}

// PassphraseFactsOf describes a passphrase without keeping it. Printable means ASCII
// from space to tilde, which all importers read in the same way.
func PassphraseFactsOf(passphrase Secret) PassphraseFacts {
	facts := PassphraseFacts{Length: len(passphrase), Printable: true}
	for _, b := range []byte(passphrase) {
		facts.Printable = facts.Printable && b >= ' ' && b <= '~'
	}
	return facts
}

// PolicyInput is what a decision is made from; policies/input.schema.json has the
// form in which the Rego rules see it. Passphrase is nil for PolicyEvaluate and
// PolicyRedeem; Approvals is how many people have approved and still may.
type PolicyInput struct {
	Action      string            `json:"action"`
	Actor       PolicyActor       `json:"actor"`
	Project     PolicyProject     `json:"project"`
	Certificate PolicyCertificate `json:"certificate"`
	Format      PolicyFormat      `json:"format"`
	Options     map[string]any    `json:"options"`
	Passphrase  *PassphraseFacts  `json:"passphrase"`
	Policy      CertificatePolicy `json:"policy"`
	Reason      string            `json:"reason"`
	TTLSeconds  int               `json:"ttl_seconds"`
	BindIP      string            `json:"bind_ip"`
	Approvals   int               `json:"approvals"`
	Time        time.Time         `json:"time"`
}

// PolicyActor is the caller as the rules see them.
type PolicyActor struct {
	Actor
	Role Role `json:"role"`
}

// PolicyProject is the project as the rules see it.
type PolicyProject struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// PolicyCertificate is the certificate as the rules see it.
type PolicyCertificate struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Subject       string    `json:"subject"`
	SANs          []string  `json:"sans"`
	Issuer        string    `json:"issuer"`
	KeyAlgorithm  string    `json:"key_algorithm"`
	HasPrivateKey bool      `json:"has_private_key"`
	Fingerprint   string    `json:"fingerprint_sha256"`
	NotAfter      time.Time `json:"not_after"`
}

// PolicyFormat is the format as the rules see it.
type PolicyFormat struct {
	ID              string `json:"id"`
	ContainsKey     bool   `json:"contains_key"`
	NeedsPassphrase bool   `json:"needs_passphrase"`
}

// The actions that a policy can be evaluated for.
const (
	PolicyMint     = "mint"
	PolicyClaim    = "claim"
	PolicyRedeem   = "redeem"
	PolicyEvaluate = "evaluate"
)

// Outcome is the decision of a policy.
type Outcome string

// The outcomes. Every other value denies.
const (
	OutcomeAllow    Outcome = "allow"
	OutcomeApproval Outcome = "approval"
	OutcomeDeny     Outcome = "deny"
)

// Verdict is a decision with its reasons. Code is set on a denial and is one of
// the problem codes. Revision names the rules that decided. Rules has the
// result of each rule, also of overruled ones, if the action was PolicyEvaluate.
type Verdict struct {
	Outcome           Outcome      `json:"outcome"`
	Code              Code         `json:"code"`
	Explanation       []string     `json:"explanation"`
	Remedies          []string     `json:"remedies"`
	RequiredApprovals int          `json:"required_approvals"`
	Revision          string       `json:"revision"`
	Rules             []RuleResult `json:"rules,omitempty"`
}

// RuleResult is the result of one rule of a policy. Kind is the outcome that it
// asks for; Code is set on a denial, RequiredApprovals on approval.
type RuleResult struct {
	Kind              Outcome  `json:"kind"`
	Code              Code     `json:"code"`
	Why               string   `json:"why"`
	Remedies          []string `json:"remedies"`
	RequiredApprovals int      `json:"required_approvals"`
}

// PolicyStatus says which rules are active and since when. Problem says why newer rules
// could not be loaded; empty if there is no problem.
type PolicyStatus struct {
	Revision string
	LoadedAt time.Time
	Problem  string
}

// Policy decides on downloads. An error is a denial, and so is an undefined result:
// an implementation that is in doubt returns OutcomeDeny or an error.
type Policy interface {
	Evaluate(ctx context.Context, in PolicyInput) (Verdict, error)
	// Revision names the active rules.
	Revision() string
}
