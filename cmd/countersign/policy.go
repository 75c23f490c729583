package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/api/wire"
)

func policyCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Read, change and evaluate the project's certificate policy, and test policy rules"}
	cmd.AddCommand(&cobra.Command{
		Use: "get", Short: "Read the certificate policy", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			policy, _, err := s.Policy(ctx, s.project)
			if err != nil {
				return err
			}
			members, err := flatten(policy)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, name := range slices.Sorted(maps.Keys(members)) {
				rows = append(rows, []string{name, members[name]})
			}
			return s.show(policy, rows...)
		}),
	}, policySetCommand(o), policyEvaluateCommand(o), policyTestCommand(o), policySchemaCommand())
	return cmd
}

// flatten maps the path of every member of a JSON object, such as approval.mode, to
// its JSON value.
func flatten(document any) (map[string]string, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	flat := map[string]string{}
	for name, value := range top {
		if !bytes.HasPrefix(value, []byte("{")) {
			flat[name] = string(value)
			continue
		}
		inner, err := flatten(value)
		if err != nil {
			return nil, err
		}
		for path, value := range inner {
			flat[name+"."+path] = value
		}
	}
	return flat, nil
}

// policyFlags are the flags of policy set.
type policyFlags struct {
	file                               string
	allowKeyExport, allowLegacy        bool
	mode                               string
	approvals, minPassphrase           int
	approvalTTL, claimWindow, tokenTTL time.Duration
}

func policySetCommand(o *clientOptions) *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use:   "set (--file FILE | --allow-key-export=true ...)",
		Short: "Change the certificate policy",
		Long: "Change the members of the certificate policy that flags name, or replace the whole policy by a file's.\n" +
			"It prints what changed. If another user changed the policy meanwhile, it changes nothing.",
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "JSON file with a whole policy, - for standard input")
	members := pflag.NewFlagSet("", pflag.ContinueOnError)
	members.BoolVar(&f.allowKeyExport, "allow-key-export", false, "whether private keys may be downloaded without approval")
	members.StringVar(&f.mode, "approval-mode", "", "which downloads need approval: off, key_export or all")
	members.IntVar(&f.approvals, "required-approvals", 0, "how many approvers must approve")
	members.DurationVar(&f.approvalTTL, "approval-ttl", 0, "how long approvers can decide, such as 24h")
	members.DurationVar(&f.claimWindow, "claim-window", 0, "how long an approved request can be claimed")
	members.DurationVar(&f.tokenTTL, "token-ttl", 0, "how long a token is valid, at most 1h")
	members.IntVar(&f.minPassphrase, "min-passphrase-length", 0, "how many characters a passphrase has at least")
	members.BoolVar(&f.allowLegacy, "allow-legacy-encryption", false, "whether PKCS#12 may be written with 3DES and SHA-1")
	flags.AddFlagSet(members)
	oneOf := []string{"file"}
	members.VisitAll(func(m *pflag.Flag) {
		cmd.MarkFlagsMutuallyExclusive("file", m.Name)
		oneOf = append(oneOf, m.Name)
	})
	cmd.MarkFlagsOneRequired(oneOf...)
	cmd.RunE = o.run(func(ctx context.Context, s *session, _ []string) error { return f.set(ctx, s, flags.Changed) })
	return cmd
}

// set writes the policy on the condition that nobody changed it after it was read.
func (f *policyFlags) set(ctx context.Context, s *session, given func(flag string) bool) error {
	before, etag, err := s.Policy(ctx, s.project)
	if err != nil {
		return err
	}
	wanted := before
	if f.file != "" {
		wanted, err = f.read(s.in)
	} else {
		err = f.apply(&wanted, given)
	}
	if err != nil {
		return err
	}
	after := before
	if wanted != before {
		if after, err = s.SetPolicy(ctx, s.project, wanted, etag); err != nil {
			return err
		}
	}
	changes, err := differences(before, after)
	if err != nil {
		return err
	}
	return s.show(after, changes...)
}

// apply changes the members whose flags were given.
func (f *policyFlags) apply(p *wire.Policy, given func(flag string) bool) error {
	if given("allow-key-export") {
		p.AllowKeyExport = f.allowKeyExport
	}
	if given("approval-mode") {
		p.Approval.Mode = f.mode
	}
	if given("required-approvals") {
		p.Approval.RequiredApprovals = f.approvals
	}
	if given("min-passphrase-length") {
		p.MinPassphraseLength = f.minPassphrase
	}
	if given("allow-legacy-encryption") {
		p.AllowLegacyEncryption = f.allowLegacy
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		into  *int
	}{
		{"approval-ttl", f.approvalTTL, &p.Approval.TTLSeconds},
		{"claim-window", f.claimWindow, &p.Approval.ClaimWindowSeconds},
		{"token-ttl", f.tokenTTL, &p.TokenTTLSeconds},
	} {
		if !given(d.flag) {
			continue
		}
		seconds, err := wholeSeconds(d.value)
		if err != nil {
			return fmt.Errorf("--%s: %w", d.flag, err)
		}
		*d.into = seconds
	}
	return nil
}

// read reads a whole policy. A missing or misspelt member is an error, because its
// zero value could be less strict.
func (f *policyFlags) read(stdin io.Reader) (wire.Policy, error) {
	var p wire.Policy
	text, err := []byte(nil), error(nil)
	if f.file == "-" {
		text, err = io.ReadAll(io.LimitReader(stdin, maxInput))
	} else {
		text, _, err = readFile(f.file)
	}
	if err != nil {
		return p, fmt.Errorf("read the policy: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, usageError{fmt.Errorf("the file is not a policy: %w", err)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return p, usageError{errors.New("the file is not a policy: other text follows the JSON object")}
	}
	present, err := flatten(json.RawMessage(text))
	if err != nil {
		return p, err
	}
	required, err := flatten(p)
	if err != nil {
		return p, err
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(required)) {
		if present[name] == "" || present[name] == "null" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return p, usageError{fmt.Errorf("the file is not a whole policy; add: %s", strings.Join(missing, ", "))}
	}
	return p, nil
}

// differences returns a row for each member in which two policies differ.
func differences(before, after wire.Policy) ([][]string, error) {
	oldMembers, err := flatten(before)
	if err != nil {
		return nil, err
	}
	newMembers, err := flatten(after)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(newMembers)) {
		if oldMembers[name] != newMembers[name] {
			rows = append(rows, []string{name, oldMembers[name] + " → " + newMembers[name]})
		}
	}
	if rows == nil {
		rows = [][]string{{"Nothing changed: the policy has these values already."}}
	}
	return rows, nil
}

func policyEvaluateCommand(o *clientOptions) *cobra.Command {
	var certificate, format string
	var legacy bool
	cmd := &cobra.Command{
		Use:   "evaluate --certificate CERTIFICATE --format FORMAT",
		Short: "Show what the policy decides on a download, without requesting it",
		Args:  cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			c, err := s.certificate(ctx, certificate)
			if err != nil {
				return err
			}
			body := wire.EvaluateBody{CertificateID: c.ID, Format: format}
			if legacy {
				body.Options = map[string]any{"legacy": true}
			}
			v, err := s.Evaluate(ctx, s.project, body)
			if err != nil {
				return err
			}
			return s.showVerdict(v)
		}),
	}
	cmd.Flags().StringVar(&certificate, "certificate", "", "id or name of the certificate")
	cmd.Flags().StringVar(&format, "format", "", "format: its id or file name")
	cmd.Flags().BoolVar(&legacy, "legacy", false, "evaluate encryption with 3DES and SHA-1")
	markRequired(cmd, "certificate", "format")
	return cmd
}

func (s *session) showVerdict(v wire.Verdict) error {
	rows := [][]string{{"Outcome", v.Outcome}}
	if v.Code != "" {
		rows = append(rows, []string{"Code", v.Code})
	}
	for _, r := range v.Rules {
		what := strings.TrimSpace(r.Kind + " " + r.Code)
		if r.RequiredApprovals > 0 {
			what = fmt.Sprintf("%s of %d", what, r.RequiredApprovals)
		}
		rows = append(rows, []string{"Rule", what, r.Why})
	}
	if len(v.Rules) == 0 { // no rule matched, or the rules could not be listed
		for _, reason := range v.Explanation {
			rows = append(rows, []string{"Because", reason})
		}
	}
	for _, remedy := range v.Remedies {
		rows = append(rows, []string{"Remedy", remedy})
	}
	if v.RequiredApprovals > 0 {
		rows = append(rows, []string{"Approvals needed", strconv.Itoa(v.RequiredApprovals)})
	}
	return s.show(v, append(rows, []string{"Policy", v.PolicyRevision})...)
}
