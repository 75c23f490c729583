package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

// forSystem makes a command of those that do not belong to a project.
func forSystem(cmd *cobra.Command, calls func(o *clientOptions) []*cobra.Command) *cobra.Command {
	o := &clientOptions{output: "text", serverWide: true}
	o.addFlags(cmd.PersistentFlags())
	cmd.AddCommand(calls(o)...)
	return cmd
}

func userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "List, show, create and change users (for system administrators)"}
	return forSystem(cmd, func(o *clientOptions) []*cobra.Command {
		return []*cobra.Command{userListCommand(o), {
			Use: "show USER", Short: "Show a user, by id or username", Args: cobra.ExactArgs(1),
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				u, err := s.user(ctx, args[0])
				if err != nil {
					return err
				}
				return s.showUser(u)
			}),
		}, userCreateCommand(o), userChangeCommand(o)}
	})
}

func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "session", Short: "List and end the browser sessions of a user (for system administrators)"}
	return forSystem(cmd, func(o *clientOptions) []*cobra.Command {
		return []*cobra.Command{sessionListCommand(o), {
			Use: "end USER", Short: "Sign a user out everywhere, by id or username", Args: cobra.ExactArgs(1),
			Long: "Sign a user out everywhere, by id or username. Their API keys stay: `countersign user change --disabled`\nends those too.",
			RunE: o.run(func(ctx context.Context, s *session, args []string) error {
				u, err := s.user(ctx, args[0])
				if err != nil {
					return err
				}
				return s.SignOutUser(ctx, u.ID)
			}),
		}}
	})
}

func sessionListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list USER", Short: "List where a user is signed in, by id or username", Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			u, err := s.user(ctx, args[0])
			if err != nil {
				return err
			}
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.SignedIn], error) { return s.UserSessions(ctx, u.ID, at) })
			if err != nil {
				return err
			}
			return showPage(s.printer, page, []string{"SIGNED IN", "FROM", "LAST USED", "ENDS"}, func(in wire.SignedIn) []string {
				return []string{s.localTime(in.CreatedAt), in.Address, s.localTime(in.SeenAt), s.localTime(in.ExpiresAt)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

func userListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List users", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.User], error) { return s.Users(ctx, at) })
			if err != nil {
				return err
			}
			header := []string{"ID", "USERNAME", "NAME", "SYSTEM ADMINISTRATOR", "DISABLED", "CREATED"}
			return showPage(s.printer, page, header, func(u wire.User) []string {
				return []string{u.ID, u.Username, u.Name, yesNo(u.SystemAdmin), yesNo(u.Disabled), s.localTime(u.CreatedAt)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

// user finds a user by id or username. What begins like an id is one: otherwise a user
// could be mistaken for another by a username that is the other's id.
func (s *session) user(ctx context.Context, name string) (wire.User, error) {
	users, err := client.All(0, func(at client.Paging) (wire.Page[wire.User], error) { return s.Users(ctx, at) })
	if err != nil {
		return wire.User{}, err
	}
	for _, u := range users {
		if name == u.ID || name == u.Username && !isUserID(name) {
			return u, nil
		}
	}
	return wire.User{}, notFound("no user has the id or username %q", name)
}

func isUserID(name string) bool { return strings.HasPrefix(name, "user_") }

// notFound is the problem that the server would answer.
func notFound(format string, args ...any) error {
	return &client.Problem{
		Status: http.StatusNotFound, Code: "not_found", Title: "not found", Type: wire.ProblemType + "not_found", Detail: fmt.Sprintf(format, args...),
	}
}

func (s *session) showUser(u wire.User) error {
	return s.show(u, []string{"ID", u.ID}, []string{"Username", u.Username}, []string{"Name", u.Name}, []string{"Mail", u.Email},
		[]string{"System administrator", yesNo(u.SystemAdmin)}, []string{"Disabled", yesNo(u.Disabled)},
		[]string{"Password set by another person", yesNo(u.PasswordSetByOther)}, []string{"Created", s.localTime(u.CreatedAt)})
}

// passwordFlags say whether a user gets a password, and which.
type passwordFlags struct {
	source secretSource
	prompt bool
}

func (f *passwordFlags) addFlags(cmd *cobra.Command) {
	f.source.addFlags(cmd, "password")
	cmd.Flags().BoolVar(&f.prompt, "password-prompt", false, "ask for the password on the terminal")
	cmd.MarkFlagsMutuallyExclusive("password-prompt", "password-file")
	cmd.MarkFlagsMutuallyExclusive("password-prompt", "password-stdin")
}

// read returns nil if no flag asks for a password.
func (f *passwordFlags) read(ctx context.Context, p printer) (*wire.Secret, error) {
	if !f.prompt && !f.source.given() {
		return nil, nil
	}
	password, err := f.source.read(ctx, p, true)
	return &password, err
}

func userCreateCommand(o *clientOptions) *cobra.Command {
	var body wire.UserBody
	var password passwordFlags
	cmd := &cobra.Command{
		Use: "create USERNAME", Short: "Create a user",
		Long: "Create a user. Without a password, the user cannot sign in with one. A person changes a password that\n" +
			"another one set before they decide on approvals.",
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			given, err := password.read(ctx, s.printer)
			if err != nil {
				return err
			}
			if given != nil {
				body.Password = *given
			}
			body.Username = args[0]
			u, err := s.CreateUser(ctx, body)
			if err != nil {
				return err
			}
			return s.showUser(u)
		}),
	}
	cmd.Flags().StringVar(&body.Name, "name", "", "the person's name")
	cmd.Flags().StringVar(&body.Email, "mail", "", "the person's mail address, for notifications")
	cmd.Flags().BoolVar(&body.SystemAdmin, "system-admin", false, "make the user a system administrator")
	password.addFlags(cmd)
	return cmd
}

func userChangeCommand(o *clientOptions) *cobra.Command {
	var disabled, systemAdmin bool
	var password passwordFlags
	cmd := &cobra.Command{
		Use: "change USER", Short: "Disable or enable a user, set their password, or make them a system administrator or not",
		Long: "Change a user, by id or username. Each change signs the user out everywhere. What no flag names stays\n" +
			"as it is. A user who is disabled is refused at once, and their API keys end for good.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&disabled, "disabled", false, "disable the user, or with =false enable them")
	cmd.Flags().BoolVar(&systemAdmin, "system-admin", false, "make the user a system administrator, or with =false not")
	password.addFlags(cmd)
	cmd.MarkFlagsOneRequired("disabled", "system-admin", "password-file", "password-stdin", "password-prompt")
	cmd.RunE = o.run(func(ctx context.Context, s *session, args []string) error {
		var body wire.UserChangeBody
		if cmd.Flags().Changed("disabled") {
			body.Disabled = &disabled
		}
		if cmd.Flags().Changed("system-admin") {
			body.SystemAdmin = &systemAdmin
		}
		u, err := s.user(ctx, args[0])
		if err != nil {
			return err
		}
		if body.Password, err = password.read(ctx, s.printer); err != nil {
			return err
		}
		if u, err = s.ChangeUser(ctx, u.ID, body); err != nil {
			return err
		}
		return s.showUser(u)
	})
	return cmd
}

func meCommand() *cobra.Command {
	o := &clientOptions{output: "text", serverWide: true}
	cmd := &cobra.Command{
		Use: "me", Short: "Show whose API key this is, and what it may do", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			me, err := s.Me(ctx)
			if err != nil {
				return err
			}
			rows := [][]string{{"Username", me.User.Username}, {"Name", me.User.Name}, {"System administrator", yesNo(me.User.SystemAdmin)}}
			if k := me.APIKey; k != nil {
				rows = append(rows, []string{"API key", k.ID}, []string{"Name of the key", k.Name}, []string{"Project", k.ProjectID},
					[]string{"Role", k.Role}, []string{"Expires", s.optionalTime(k.ExpiresAt)})
			}
			return s.show(me, rows...)
		}),
	}
	o.addFlags(cmd.Flags())
	return cmd
}
