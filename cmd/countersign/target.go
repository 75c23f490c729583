package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func targetCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "target", Short: "List, create, test and delete the notification targets of a project"}
	cmd.AddCommand(targetListCommand(o), targetCreateCommand(o), &cobra.Command{
		Use: "test TARGET", Short: "Send a test message to a target", Args: oneID,
		Long: "Send a test message to a target. If it is not delivered, the exit code is 1.",
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			result, err := s.TestTarget(ctx, s.project, args[0])
			if err != nil {
				return err
			}
			err = s.show(result, []string{"Sent", yesNo(result.Sent)}, []string{"Problem", result.Problem})
			if err == nil && !result.Sent {
				err = errors.New("the test message was not delivered")
			}
			return err
		}),
	}, &cobra.Command{
		Use: "delete TARGET", Short: "Delete a target", Args: oneID,
		Long: "Delete a target. Its notifications that were not delivered yet are dropped. The API has no answer to\n" +
			"print, so -o json prints nothing.",
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			return s.done(s.DeleteTarget(ctx, s.project, args[0]), "Deleted "+args[0])
		}),
	})
	return cmd
}

func targetListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List targets", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.NotificationTarget], error) {
				return s.Targets(ctx, s.project, at)
			})
			if err != nil {
				return err
			}
			return showPage(s.printer, page, []string{"ID", "NAME", "URL", "EVENTS", "PERSONAL", "CREATED"}, func(t wire.NotificationTarget) []string {
				return []string{t.ID, t.Name, t.URL, strings.Join(t.Events, ", "), yesNo(t.Personal), s.localTime(t.CreatedAt)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

func targetCreateCommand(o *clientOptions) *cobra.Command {
	var body wire.NotificationTargetBody
	var address secretSource
	cmd := &cobra.Command{
		Use: "create --name NAME --event EVENT ...", Short: "Create a target",
		Long: "Create a target. Its URL, which often contains a password, comes from --url-file, --url-stdin or a hidden\n" +
			"prompt, and is never shown again. The signing secret of a webhook is shown once.",
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			var err error
			if body.URL, err = address.read(ctx, s.printer, false); err != nil {
				return err
			}
			t, err := s.CreateTarget(ctx, s.project, body)
			if err != nil {
				return err
			}
			rows := [][]string{{"ID", t.ID}, {"Name", t.Name}, {"URL", t.URL}, {"Events", strings.Join(t.Events, ", ")}}
			if t.SigningSecret != nil {
				rows = append(rows, []string{"Signing secret", t.SigningSecret.Reveal()})
			}
			return s.show(t, rows...)
		}),
	}
	cmd.Flags().StringVar(&body.Name, "name", "", "name of the target")
	cmd.Flags().StringArrayVar(&body.Events, "event", nil, "approval.requested, approval.reminder, approval.decided, approval.expired or token.reused; can be repeated")
	address.addFlags(cmd, "URL")
	markRequired(cmd, "name", "event")
	return cmd
}
