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
			Use: "show APPROVAL", Short: "Show what would be downloaded, by whom and why", Args: oneID,
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				a, err := s.Approval(ctx, s.project, args[0])
				if err != nil {
					return err
				}
				return s.showApproval(a)
			}),
		},
		voteCommand(o, "approve APPROVAL", "Approve a download", "the reason, for the record", (*client.Client).Approve),
		voteCommand(o, "deny APPROVAL", "Deny a download: one denial settles the approval", "the reason, which the requester sees (required)", (*client.Client).Deny),
	)
	return cmd
}

type vote func(c *client.Client, ctx context.Context, project, id, comment string) (wire.Approval, error)

func voteCommand(o *clientOptions, use, short, commentUsage string, cast vote) *cobra.Command {
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
	cmd.Flags().StringVar(&comment, "comment", "", commentUsage)
	return cmd
}

func approvalsListCommand(o *clientOptions) *cobra.Command {
	var status string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List approvals, newest first: an approver sees all, others those of their own requests", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Approval], error) {
				return s.Approvals(ctx, s.project, client.ApprovalQuery{Status: status, Paging: at})
			})
			if err != nil {
				return err
			}
			header := []string{"ID", "STATUS", "FORMAT", "KEY", "CERTIFICATE", "REQUESTER", "APPROVALS", "CREATED", "EXPIRES"}
			return showPage(s.printer, page, header, func(a wire.Approval) []string {
				return []string{a.ID, a.Status, a.Format, yesNo(a.ContainsKey), a.Certificate.Name, a.Requester.Username, quorum(a), s.localTime(a.CreatedAt), s.localTime(a.ExpiresAt)}
			})
		}),
	}
	cmd.Flags().StringVar(&status, "status", "", "only approvals in this state, such as pending; settled means all but pending")
	addLimit(cmd, &limit)
	return cmd
}

// quorum says how many of the required approvals were given.
func quorum(a wire.Approval) string {
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
		{"Approvals", quorum(a)}, {"Created", s.localTime(a.CreatedAt)}, {"Expires", s.localTime(a.ExpiresAt)},
	}
	for _, d := range a.Decisions {
		rows = append(rows, []string{map[string]string{"approve": "Approved by", "deny": "Denied by"}[d.Decision], d.Actor.Username, s.localTime(d.Time), d.Comment})
	}
	return s.show(a, rows...)
}
