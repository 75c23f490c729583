package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/engine"
)

func devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Serve a sample project with everything embedded in one process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig("", cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			if config.Bootstrap == "" {
				config.Bootstrap = filepath.Join(config.Data, "bootstrap.json")
			}
			return runServer(cmd, config, func() (net.Listener, error) { return listenAdminOrNot(cmd, config) }, func(s *system, ctx context.Context, url string) error {
				b, err := s.bootstrapDev(ctx, url)
				if err == nil {
					_, err = fmt.Fprint(cmd.OutOrStdout(), welcome(b, config.Bootstrap))
				}
				return err
			})
		},
	}
	addFlags(cmd.Flags(), "data", "listen", "listen_admin", "bootstrap", "plugins", "log.level", "log.format")
	addAccepted(cmd)
	return cmd
}

// listenAdminOrNot does without a listener for operators if its address is taken, so
// that a second sample project can run on the machine.
func listenAdminOrNot(cmd *cobra.Command, config Config) (net.Listener, error) {
	listener, err := listen(cmd.Context(), config.ListenAdmin)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Metrics are not served: %s is taken by another program. Give another address with --listen-admin.\n", config.ListenAdmin)
	}
	return listener, err
}

// sampleUsers are the members of the sample project. The bootstrap file has an API
// key of each, by the name key.
var sampleUsers = []struct {
	key, username, name string
	role                engine.Role
}{
	{"viewer", "viewer", "Vera Viewer", engine.RoleViewer},
	{"operator", "operator", "Otto Operator", engine.RoleOperator},
	{"approver", "approver", "Ada Approver", engine.RoleApprover},
	{"second_approver", "approver2", "Ben Approver", engine.RoleApprover},
	{"admin", "admin", "Alma Admin", engine.RoleAdmin},
}

const sampleProject = "Sample"

// bootstrapDev makes the sample project in an empty installation, and writes the
// bootstrap file last. If the file exists, its keys stay, its URL is updated, and
// nothing else changes. If the file was removed, this makes what is missing, revokes
// the keys of the old file, and makes new ones for the same users.
func (s *system) bootstrapDev(ctx context.Context, url string) (bootstrapFile, error) {
	before, err := s.earlierBootstrap(ctx)
	if err != nil {
		return bootstrapFile{}, err
	}
	if before != nil {
		before.URL = url
		return *before, before.write(s.config.Bootstrap)
	}
	users, err := s.ensureUsers(ctx)
	if err != nil {
		return bootstrapFile{}, err
	}
	project, err := s.ensureProject(ctx, users)
	if err != nil {
		return bootstrapFile{}, err
	}
	b := bootstrapFile{URL: url, ProjectID: project.ID}
	if b.Certificates, err = s.ensureSamples(ctx, project, users["admin"]); err != nil {
		return b, err
	}
	if err := errors.Join(s.revokeKeys(ctx, project), s.revokeKeys(ctx, wholeSystem)); err != nil {
		return b, err
	}
	if b.APIKeys, err = s.makeKeys(ctx, project, users); err != nil {
		return b, err
	}
	ofSystem, err := s.bootstrapKey(ctx, wholeSystem, users["admin"], engine.RoleAdmin)
	if err != nil {
		return b, err
	}
	b.SystemAPIKey = ofSystem.Reveal()
	if b.UI, err = s.renewPassword(ctx, users["admin"]); err != nil {
		return b, err
	}
	return b, b.write(s.config.Bootstrap)
}

// earlierBootstrap reads the bootstrap file that an earlier start of this
// installation wrote. In an empty installation, an existing file belongs to another
// installation and is ignored.
func (s *system) earlierBootstrap(ctx context.Context) (*bootstrapFile, error) {
	users, _, err := s.store.Users(ctx, engine.Page{Limit: 1})
	if err != nil || len(users) == 0 {
		return nil, err
	}
	before, err := readBootstrap(s.config.Bootstrap)
	if before == nil || err != nil {
		return nil, err
	}
	if _, err := s.store.Project(ctx, before.ProjectID); errors.Is(err, engine.CodeNotFound) {
		return nil, fmt.Errorf("the bootstrap file %s belongs to another installation than the data folder %s; move the file away to get new keys",
			s.config.Bootstrap, s.config.Data)
	} else if err != nil {
		return nil, err
	}
	return before, nil
}

// ensureUsers creates the sample users that are missing.
func (s *system) ensureUsers(ctx context.Context) (map[string]engine.User, error) {
	users := map[string]engine.User{}
	for _, p := range sampleUsers {
		u, err := s.store.UserByName(ctx, p.username)
		if errors.Is(err, engine.CodeNotFound) {
			u, err = s.admin.CreateUser(ctx, engine.Caller{Principal: installer},
				engine.User{Username: p.username, Name: p.name, SystemAdmin: p.role == engine.RoleAdmin}, "")
		}
		if err != nil {
			return nil, err
		}
		users[p.key] = u
	}
	return users, nil
}

// ensureProject finds or creates the sample project and its memberships. Lists are
// newest first, so of several projects with the name, the oldest is the sample.
func (s *system) ensureProject(ctx context.Context, users map[string]engine.User) (engine.Project, error) {
	admin := engine.Caller{Principal: engine.Principal{User: users["admin"]}}
	err := everyPage(func(page engine.Page) (string, error) {
		found, next, err := s.store.Projects(ctx, users["admin"].ID, page)
		for _, p := range found {
			if p.Name == sampleProject {
				admin.Project = p
			}
		}
		return next, err
	})
	if err == nil && admin.Project.ID == "" {
		admin.Project, err = s.admin.CreateProject(ctx, admin, sampleProject)
	}
	if err != nil {
		return engine.Project{}, err
	}
	for _, p := range sampleUsers {
		_, err := s.store.Member(ctx, admin.Project.ID, users[p.key].ID)
		if errors.Is(err, engine.CodeNotFound) {
			_, err = s.admin.SetMember(ctx, admin, users[p.key].ID, p.role)
		}
		if err != nil {
			return engine.Project{}, err
		}
	}
	return admin.Project, nil
}

// ensureSamples imports the sample certificates that the project does not have by name.
func (s *system) ensureSamples(ctx context.Context, project engine.Project, admin engine.User) ([]bootstrapCertificate, error) {
	made, err := samples(s.downloads.Clock())
	if err != nil {
		return nil, err
	}
	caller := engine.Caller{Principal: engine.Principal{User: admin}, Role: engine.RoleAdmin, Project: project}
	var list []bootstrapCertificate
	for _, m := range made {
		c, err := s.certificateNamed(ctx, project.ID, m.name)
		if errors.Is(err, engine.CodeNotFound) {
			c, err = s.admin.Import(ctx, caller, m.name, engine.Bundle{Leaf: m.leaf, Chain: m.chain, PrivateKey: m.key})
		}
		if err != nil {
			return nil, err
		}
		list = append(list, bootstrapCertificate{c.ID, c.Name, c.KeyAlgorithm, c.HasPrivateKey})
	}
	return list, nil
}

// certificateNamed finds the oldest certificate with that name.
func (s *system) certificateNamed(ctx context.Context, projectID, name string) (engine.Certificate, error) {
	var named engine.Certificate
	err := everyPage(func(page engine.Page) (string, error) {
		found, next, err := s.store.Certificates(ctx, projectID, name, page)
		for _, c := range found {
			if c.Name == name {
				named = c
			}
		}
		return next, err
	})
	if err == nil && named.ID == "" {
		err = engine.CodeNotFound
	}
	return named, err
}

// everyPage lists all pages, one after the other.
func everyPage(list func(engine.Page) (next string, err error)) error {
	page := engine.Page{Limit: 200}
	for {
		next, err := list(page)
		if err != nil || next == "" {
			return err
		}
		page.Cursor = next
	}
}

// revokeKeys revokes the API keys of an earlier bootstrap file.
func (s *system) revokeKeys(ctx context.Context, project engine.Project) error {
	caller := engine.Caller{Principal: installer, Role: engine.RoleAdmin, Project: project}
	return everyPage(func(page engine.Page) (string, error) {
		keys, next, err := s.store.APIKeys(ctx, project.ID, page)
		for _, k := range keys {
			if err == nil && k.Name == bootstrapKeyName && k.RevokedAt.IsZero() {
				err = s.admin.RevokeAPIKey(ctx, caller, k.ID)
			}
		}
		return next, err
	})
}

// makeKeys makes an API key of the sample project for each of its members.
func (s *system) makeKeys(ctx context.Context, project engine.Project, users map[string]engine.User) (map[string]string, error) {
	fresh := map[string]string{}
	for _, p := range sampleUsers {
		secret, err := s.bootstrapKey(ctx, project, users[p.key], p.role)
		if err != nil {
			return nil, err
		}
		fresh[p.key] = secret.Reveal()
	}
	return fresh, nil
}

// welcome says where the server is and how to download from it. It does not show
// the API key, because terminals and logs keep what they show.
func welcome(b bootstrapFile, path string) string {
	return fmt.Sprintf(`Countersign serves the sample project on %[1]s
Open it in a browser and sign in as %[5]s. The password is in
%[2]s, with API keys and ids of the sample project.

Paste this into another shell to download a certificate:

  KEY=$(sed -n 's/.*"operator": "\(.*\)".*/\1/p' '%[2]s')
  TOKEN=$(curl -s -X POST -H "Authorization: Bearer $KEY" \
    %[1]s/api/v1/projects/%[3]s/certificates/%[4]s/downloads \
    -d '{"format":"fullchain","passphrase":""}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  curl %[1]s/api/v1/downloads/$TOKEN -o cert.pem

`, b.URL, path, b.ProjectID, b.Certificates[0].ID, b.UI.Username)
}
