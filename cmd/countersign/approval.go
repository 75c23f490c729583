package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func approvalsCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "approvals", Short: "List, show, approve and deny downloads that wait for approval"}
	cmd.AddCommand(
		approvalsListCommand(o),
		&cobra.Command{
			Use: "show APPROVAL", Short: "Show exactly what would leave, to whom and why", Args: oneID,
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				a, err := s.Approval(ctx, s.project, args[0])
				if err != nil {
					return err
				}
				return s.showApproval(a)
			}),
		},
		voteCommand(o, "approve APPROVAL", "Approve a download", "why, for the record", (*client.Client).Approve),
		voteCommand(o, "deny APPROVAL", "Deny a download: one denial settles it", "why, which the requester is told (always needed)", (*client.Client).Deny),
	)
	return cmd
}

type vote func(c *client.Client, ctx context.Context, project, id, comment string) (wire.Approval, error)

func voteCommand(o *clientOptions, use, short, about string, cast vote) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: oneID,
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			a, err := cast(s.Client, ctx, s.project, args[0], comment)
			if err != nil {
				return err
			}
			return s.showApproval(a)
		}),
	}
	cmd.Flags().StringVar(&comment, "comment", "", about)
	return cmd
}

func approvalsListCommand(o *clientOptions) *cobra.Command {
	var status string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List approvals, newest first: all for an approver, else those of one's own requests", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := gather(limit, func(at client.Paging) (wire.Page[wire.Approval], error) {
				return s.Approvals(ctx, s.project, client.ApprovalQuery{Status: status, Paging: at})
			})
			if err != nil {
				return err
			}
			header := []string{"ID", "STATUS", "FORMAT", "KEY", "CERTIFICATE", "REQUESTER", "APPROVALS", "CREATED", "LAPSES"}
			return list(s.printer, page, header, func(a wire.Approval) []string {
				return []string{a.ID, a.Status, a.Format, yesNo(a.ContainsKey), a.Certificate.Name, a.Requester.Username, given(a), s.when(a.CreatedAt), s.when(a.ExpiresAt)}
			})
		}),
	}
	cmd.Flags().StringVar(&status, "status", "", "only approvals in this state, such as pending; settled for all but those")
	addLimit(cmd, &limit)
	return cmd
}

// given says how many of the approvals that are needed are there.
func given(a wire.Approval) string {
	n := 0
	for _, d := range a.Decisions {
		if d.Decision == "approve" {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, a.RequiredApprovals)
}

func (s *session) showApproval(a wire.Approval) error {
	options, err := json.Marshal(a.Options)
	if err != nil {
		return fmt.Errorf("print the approval: %w", err)
	}
	rows := [][]string{
		{"ID", a.ID}, {"Status", a.Status}, {"Request", a.RequestID}, {"Requester", a.Requester.Username}, {"Reason", a.Reason},
		{"Certificate", a.Certificate.Name}, {"Subject", a.Certificate.Subject}, {"Fingerprint", a.Certificate.FingerprintSHA256},
		{"File", a.Filename}, {"Private key", yesNo(a.ContainsKey)}, {"Options", string(options)}, {"Digest", a.Digest},
		{"Approvals", given(a)}, {"Created", s.when(a.CreatedAt)}, {"Lapses", s.when(a.ExpiresAt)},
	}
	for _, d := range a.Decisions {
		rows = append(rows, []string{map[string]string{"approve": "Approved by", "deny": "Denied by"}[d.Decision], d.Actor.Username, s.when(d.Time), d.Comment})
	}
	return s.show(a, rows...)
}

// errWaits is the end of a download that people have to approve first.
type errWaits struct{ request string }

// Error implements error.
func (e errWaits) Error() string {
	return "the download waits for approval; to fetch it once that is given: countersign download --request " + e.request + " --wait"
}
