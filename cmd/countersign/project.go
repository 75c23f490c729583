package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func projectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "project", Short: "List, show and create projects"}
	return forSystem(cmd, func(o *clientOptions) []*cobra.Command {
		return []*cobra.Command{projectListCommand(o), {
			Use: "show PROJECT", Short: "Show a project", Args: oneID,
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				p, err := s.Project(ctx, args[0])
				if err != nil {
					return err
				}
				return s.showProject(p)
			}),
		}, {
			Use: "create NAME", Short: "Create a project, whose first administrator you become (for system administrators)", Args: cobra.ExactArgs(1),
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				p, err := s.CreateProject(ctx, args[0])
				if err != nil {
					return err
				}
				return s.showProject(p)
			}),
		}}
	})
}

func projectListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the projects that the API key reaches", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Project], error) { return s.Projects(ctx, at) })
			if err != nil {
				return err
			}
			return showPage(s.printer, page, []string{"ID", "NAME", "ROLE", "CREATED"}, func(p wire.Project) []string {
				return []string{p.ID, p.Name, p.Role, s.localTime(p.CreatedAt)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

func (s *session) showProject(p wire.Project) error {
	return s.show(p, []string{"ID", p.ID}, []string{"Name", p.Name}, []string{"Role", p.Role}, []string{"Created", s.localTime(p.CreatedAt)})
}

func memberCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "member", Short: "List, add, change and remove the members of a project"}
	cmd.AddCommand(memberListCommand(o), memberSetCommand(o), &cobra.Command{
		Use: "remove USER", Short: "Remove a member, by id or username", Args: cobra.ExactArgs(1),
		Long: "Remove a member, by id or username. Their API keys of this project end for good. The API has no answer\n" +
			"to print, so -o json prints nothing.",
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.memberID(ctx, args[0])
			if err == nil {
				err = s.RemoveMember(ctx, s.project, id)
			}
			return s.done(err, "Removed "+args[0])
		}),
	})
	return cmd
}

func memberListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List members", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Member], error) { return s.Members(ctx, s.project, at) })
			if err != nil {
				return err
			}
			return showPage(s.printer, page, []string{"USER", "USERNAME", "NAME", "ROLE", "DISABLED", "SINCE"}, func(m wire.Member) []string {
				return []string{m.UserID, m.Username, m.Name, m.Role, yesNo(m.Disabled), s.localTime(m.CreatedAt)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

func memberSetCommand(o *clientOptions) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "set USER --role ROLE", Short: "Give a user a role in the project",
		Long: "Give a user a role in the project: viewer, operator, approver or admin. A member is named by id or\n" +
			"username, and a user who is no member yet by id.",
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.memberID(ctx, args[0])
			if err != nil {
				return err
			}
			m, err := s.SetMember(ctx, s.project, id, role)
			if err != nil {
				return err
			}
			return s.show(m, []string{"User", m.UserID}, []string{"Username", m.Username}, []string{"Name", m.Name}, []string{"Role", m.Role},
				[]string{"Since", s.localTime(m.CreatedAt)})
		}),
	}
	cmd.Flags().StringVar(&role, "role", "", "viewer, operator, approver or admin")
	markRequired(cmd, "role")
	return cmd
}

// memberID is the id of a user whom an id names, or the username of a member.
func (s *session) memberID(ctx context.Context, name string) (string, error) {
	if isUserID(name) && validID.MatchString(name) {
		return name, nil
	}
	members, err := client.All(0, func(at client.Paging) (wire.Page[wire.Member], error) { return s.Members(ctx, s.project, at) })
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.Username == name {
			return m.UserID, nil
		}
	}
	return "", notFound("no member of this project has the username %q; name a user who is no member by id", name)
}

// done prints what was done, after a call whose answer is empty.
func (s *session) done(err error, what string) error {
	if err != nil || s.json {
		return err
	}
	return s.show(nil, []string{what})
}
