package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign/engine"
)

// answer is the shape that the rules' decision must have, every member present.
type answer struct {
	Outcome           *engine.Outcome `json:"outcome"`
	Code              *engine.Code    `json:"code"`
	Explanation       []string        `json:"explanation"`
	Remedies          []string        `json:"remedies"`
	RequiredApprovals *int            `json:"required_approvals"`
}

// codes are the problem codes that rules may deny with: the refusals that are
// about permission or about what was asked. The rest speak of other things, such
// as the state of a token, and a client would draw the wrong conclusion.
var codes = []engine.Code{
	engine.CodeForbidden,
	engine.CodeKeyExportDisabled,
	engine.CodeLegacyDisabled,
	engine.CodePolicyDenied,
	engine.CodePassphraseRequired,
	engine.CodePassphraseInvalid,
	engine.CodeInvalidOptions,
	engine.CodeInvalidRequest,
}

// fold turns the rules' decision into a verdict. Another shape is an error, an
// unknown code a plain denial, and no approval asks for fewer than one.
func fold(decision any) (engine.Verdict, error) {
	var a answer
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

// foldSaid reads what each rule said.
func foldSaid(said any) ([]engine.RuleResult, error) {
	var rules []engine.RuleResult
	if err := decode(said, &rules); err != nil {
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
	if slices.Contains(codes, code) {
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
