package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign/engine"
)

// decisionDocument is the form of the rules' decision. Every member must be present.
type decisionDocument struct {
	Outcome           *engine.Outcome `json:"outcome"`
	Code              *engine.Code    `json:"code"`
	Explanation       []string        `json:"explanation"`
	Remedies          []string        `json:"remedies"`
	RequiredApprovals *int            `json:"required_approvals"`
}

// denialCodes are the problem codes with which rules may deny: those about
// permission and about the request itself. The others are about something else,
// such as the state of a token, and would mislead a client.
var denialCodes = []engine.Code{
	engine.CodeForbidden,
	engine.CodeKeyExportDisabled,
	engine.CodeLegacyDisabled,
	engine.CodePolicyDenied,
	engine.CodePassphraseRequired,
	engine.CodePassphraseInvalid,
	engine.CodeInvalidOptions,
	engine.CodeInvalidRequest,
}

// parseVerdict reads the rules' decision. A decision in another form is an error,
// an unknown code becomes policy_denied, and an approval needs at least one vote.
func parseVerdict(decision any) (engine.Verdict, error) {
	var a decisionDocument
	if err := decode(decision, &a); err != nil {
		return engine.Verdict{}, err
	}
	if a.Outcome == nil || a.Code == nil || a.RequiredApprovals == nil || a.Explanation == nil || a.Remedies == nil {
		return engine.Verdict{}, errors.New("read policy decision: a member is missing")
	}
	verdict := engine.Verdict{Outcome: *a.Outcome, Explanation: a.Explanation, Remedies: a.Remedies}
	switch verdict.Outcome {
	case engine.OutcomeAllow:
	case engine.OutcomeApproval:
		verdict.RequiredApprovals = max(1, *a.RequiredApprovals)
	case engine.OutcomeDeny:
		verdict.Code = denialCode(*a.Code)
	default:
		return engine.Verdict{}, fmt.Errorf("read policy decision: unknown outcome %q", *a.Outcome)
	}
	return verdict, nil
}

// parseRuleResults reads the result of each rule.
func parseRuleResults(results any) ([]engine.RuleResult, error) {
	var rules []engine.RuleResult
	if err := decode(results, &rules); err != nil {
		return nil, err
	}
	for i := range rules {
		if rules[i].Kind == engine.OutcomeDeny {
			rules[i].Code = denialCode(rules[i].Code)
		}
	}
	return rules, nil
}

func denialCode(code engine.Code) engine.Code {
	if slices.Contains(denialCodes, code) {
		return code
	}
	return engine.CodePolicyDenied
}

func decode(value, into any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("read policy decision: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read policy decision: %w", err)
	}
	return nil
}
