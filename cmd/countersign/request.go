package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func requestsCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "requests", Short: "List, show, cancel and revoke download requests"}
	cmd.AddCommand(
		requestsListCommand(o),
		&cobra.Command{
			Use: "show REQUEST", Short: "Show a request", Args: oneID,
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				r, err := s.Request(ctx, s.project, args[0])
				if err != nil {
					return err
				}
				return s.showRequest(r)
			}),
		},
		&cobra.Command{
			Use: "cancel REQUEST", Short: "Cancel a request that waits for approval", Args: oneID,
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				r, err := s.Cancel(ctx, s.project, args[0])
				if err != nil {
					return err
				}
				return s.showRequest(r)
			}),
		},
		&cobra.Command{
			Use: "revoke REQUEST", Short: "Revoke a request's token, if it is not consumed yet", Args: oneID,
			Long: "Revoke a request's token, if it is not consumed yet. The API has no answer to print, so -o json prints nothing.",
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				return s.done(s.Revoke(ctx, s.project, args[0]), "Revoked the token of "+args[0])
			}),
		},
	)
	return cmd
}

func requestsListCommand(o *clientOptions) *cobra.Command {
	var status, certificate string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List requests, newest first", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			q := client.RequestQuery{Status: status}
			if certificate != "" {
				c, err := s.certificate(ctx, certificate)
				if err != nil {
					return err
				}
				q.CertificateID = c.ID
			}
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Request], error) {
				q.Paging = at
				return s.Requests(ctx, s.project, q)
			})
			if err != nil {
				return err
			}
			header := []string{"ID", "STATUS", "FORMAT", "CERTIFICATE", "REQUESTER", "CREATED", "TOKEN EXPIRES"}
			return showPage(s.printer, page, header, func(r wire.Request) []string {
				return []string{r.ID, r.Status, r.Format, r.CertificateID, r.Requester.Username, s.localTime(r.CreatedAt), s.optionalTime(r.ExpiresAt)}
			})
		}),
	}
	cmd.Flags().StringVar(&status, "status", "", "only requests in this state, such as issued or consumed")
	cmd.Flags().StringVar(&certificate, "certificate", "", "only requests for this certificate, by id or name")
	addLimit(cmd, &limit)
	return cmd
}

func addLimit(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 0, "print at most this many (0: all)")
}

func (s *session) showRequest(r wire.Request) error {
	options, err := json.Marshal(r.Options)
	if err != nil {
		return fmt.Errorf("print the request: %w", err)
	}
	rows := [][]string{
		{"ID", r.ID}, {"Status", r.Status}, {"Certificate", r.CertificateID}, {"Format", r.Format}, {"File", r.Filename},
		{"Options", string(options)}, {"Requester", r.Requester.Username}, {"Reason", r.Reason}, {"Bound to IP", r.BindIP},
		{"Code", r.Code}, {"Explanation", strings.Join(r.Explanation, "; ")},
	}
	for _, remedy := range r.Remedies {
		rows = append(rows, []string{"Remedy", remedy})
	}
	return s.show(r, append(rows, []string{"Policy", r.PolicyRevision}, []string{"Created", s.localTime(r.CreatedAt)},
		[]string{"Updated", s.localTime(r.UpdatedAt)}, []string{"Token expires", s.optionalTime(r.ExpiresAt)})...)
}
