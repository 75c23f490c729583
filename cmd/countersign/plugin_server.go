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
		Use: "list", Short: "List a server's plugins and their states (for system administrators)", Args: cobra.NoArgs,
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

// confinement describes the sandbox in a few words. It is empty if the plugin has
// not been started.
func confinement(s wire.Sandbox) string {
	switch {
	case len(s.Missing) > 0:
		return "without " + strings.Join(s.Missing, "; ")
	case len(s.Enforced) > 0:
		return "full"
	}
	return ""
}

func pluginReloadCommand(o *clientOptions) *cobra.Command {
	return &cobra.Command{
		Use: "reload NAME", Short: "Start a plugin of a server again, as its catalogue lists it now (for system administrators)",
		Long: "Start a plugin of a server again, as its catalogue lists it now. Use it for a new plugin,\n" +
			"for a new version, and for a plugin in quarantine. The previous process serves until the\n" +
			"new one has started, and stays if that fails. A plugin that is no longer in the catalogue\n" +
			"is stopped.",
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
