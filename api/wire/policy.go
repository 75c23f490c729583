package wire

// Policy is a project's certificate policy. PUT takes it whole.
type Policy struct {
	AllowKeyExport        bool         `json:"allow_key_export" doc:"Whether private keys may be downloaded without approval"`
	Approval              ApprovalRule `json:"approval"`
	TokenTTLSeconds       int          `json:"token_ttl_seconds" doc:"Longest life of a token, 1 to 3600"`
	MinPassphraseLength   int          `json:"min_passphrase_length" doc:"1 to 128 characters"`
	AllowLegacyEncryption bool         `json:"allow_legacy_encryption" doc:"Whether PKCS#12 may be written with 3DES and SHA-1"`
}

// ApprovalRule says which downloads need approval, and how long they wait.
type ApprovalRule struct {
	Mode               string `json:"mode" doc:"off, key_export or all"`
	RequiredApprovals  int    `json:"required_approvals" doc:"At least 1"`
	TTLSeconds         int    `json:"ttl_seconds" doc:"How long approvers have, 1 to 2592000"`
	ClaimWindowSeconds int    `json:"claim_window_seconds" doc:"How long an approved request can be claimed, 1 to 2592000"`
}

// EvaluateBody names the download to evaluate.
type EvaluateBody struct {
	CertificateID string         `json:"certificate_id"`
	Format        string         `json:"format"`
	Options       map[string]any `json:"options,omitempty"`
}

// Verdict is what the policy would decide. Code is the problem code of a
// denial, else empty.
type Verdict struct {
	Outcome           string       `json:"outcome" doc:"allow, approval or deny"`
	Code              string       `json:"code"`
	Explanation       []string     `json:"explanation"`
	Remedies          []string     `json:"remedies" doc:"What would make a denial, or the approval, unnecessary"`
	RequiredApprovals int          `json:"required_approvals"`
	PolicyRevision    string       `json:"policy_revision" doc:"Revision of the rules that decided"`
	Rules             []RuleResult `json:"rules" doc:"The result of each rule that applies, also of overruled ones"`
}

// RuleResult is the result of one policy rule that applies.
type RuleResult struct {
	Kind              string   `json:"kind" doc:"deny, approval or allow: the outcome that the rule asks for"`
	Code              string   `json:"code" doc:"Problem code of a denial, else empty"`
	Why               string   `json:"why"`
	Remedies          []string `json:"remedies" doc:"What would change the result"`
	RequiredApprovals int      `json:"required_approvals" doc:"How many people must approve, if kind is approval"`
}
