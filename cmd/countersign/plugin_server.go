package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func pluginListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List a server's plugins and how they are (for system administrators)", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Plugin], error) { return s.Plugins(ctx, at) })
			if err != nil {
				return err
			}
			header := []string{"NAME", "VERSION", "STATE", "FORMATS", "SANDBOX", "DETAIL"}
			return showPage(s.printer, page, header, func(p wire.Plugin) []string {
				return []string{p.Name, p.Version, p.State, strings.Join(p.Formats, ", "), confinement(p.Sandbox), p.Detail}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

// confinement lists what the sandbox lacks, or says in one word that it is complete.
func confinement(s wire.Sandbox) string {
	switch {
	case len(s.Missing) > 0:
		return "without " + strings.Join(s.Missing, "; ")
	case len(s.Enforced) > 0:
		return "whole"
	}
	return ""
}

func pluginReloadCommand(o *clientOptions) *cobra.Command {
	return &cobra.Command{
		Use: "reload NAME", Short: "Have a server restart a plugin as its catalogue lists it now (for system administrators)",
		Long: "Have a server restart a plugin as its catalogue lists it now: for a plugin that is new\n" +
			"there or has another version, and for one in quarantine. While the new one starts, and if\n" +
			"it cannot be used, the old one keeps running. A plugin that is no longer listed ends.",
		Args: oneID,
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			p, err := s.ReloadPlugin(ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(p, []string{"Name", p.Name}, []string{"Version", p.Version}, []string{"SHA-256", p.SHA256},
				[]string{"State", p.State}, []string{"Formats", strings.Join(p.Formats, ", ")},
				[]string{"Sandbox", confinement(p.Sandbox)}, []string{"Detail", p.Detail})
		}),
	}
}
