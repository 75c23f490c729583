package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/countersign-dev/countersign/engine"
)

// bootstrapFile gives access to a new installation. It contains API keys and a
// password, so its mode is 0600. SystemAPIKey is the administrator's for the whole
// system; those of APIKeys are for the project.
type bootstrapFile struct {
	URL          string                 `json:"url"`
	ProjectID    string                 `json:"project_id"`
	Certificates []bootstrapCertificate `json:"certificates"`
	APIKeys      map[string]string      `json:"api_keys"`
	SystemAPIKey string                 `json:"system_api_key,omitempty"`
	UI           bootstrapUI            `json:"ui"`
}

type bootstrapCertificate struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	KeyAlgorithm  string `json:"key_algorithm"`
	HasPrivateKey bool   `json:"has_private_key"`
}

type bootstrapUI struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// readBootstrap returns nil if the file does not exist or is empty.
func readBootstrap(path string) (*bootstrapFile, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read bootstrap file: %w", err)
	}
	var b bootstrapFile
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("%s is not a bootstrap file; move it away to get new keys: %w", path, err)
	}
	return &b, nil
}

// write replaces the file in one step, so that a crash leaves the old or the new
// one. The file's mode is 0600, whatever the old file's was.
func (b bootstrapFile) write(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write bootstrap file: %w", err)
		}
	}()
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path))) // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	if _, err := f.Write(append(text, '\n')); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// installer is the actor in the audit entries of the server's own bootstrap.
var installer = engine.Principal{User: engine.User{ID: "system", Username: "countersign", SystemAdmin: true}}

// bootstrapServe makes the first administrator of an empty installation, with a
// project and an API key, if the settings name a bootstrap file. It creates the user
// last: an interrupted start leaves no user, so that its API key is not valid and
// the next start bootstraps again.
func (s *system) bootstrapServe(ctx context.Context, url string) error {
	path := s.config.Bootstrap
	if path == "" {
		return nil
	}
	mine, err := s.winBootstrap(ctx)
	if err != nil || !mine {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootstrapWithin)
	defer cancel()
	if before, err := readBootstrap(path); before != nil || err != nil {
		return errors.Join(err, fmt.Errorf("the bootstrap file %s exists although the installation is empty; move the file away", path))
	}
	ui := newPassword("admin")
	user := engine.User{ID: engine.NewID("user"), Username: ui.Username, Name: "Administrator", SystemAdmin: true}
	project, err := s.admin.CreateProject(ctx, engine.Caller{Principal: engine.Principal{User: user}}, "Default")
	if err != nil {
		return err
	}
	secret, err := s.bootstrapKey(ctx, project, user, engine.RoleAdmin)
	if err != nil {
		return err
	}
	ofSystem, err := s.bootstrapKey(ctx, wholeSystem, user, engine.RoleAdmin)
	if err != nil {
		return err
	}
	b := bootstrapFile{
		URL: url, ProjectID: project.ID, Certificates: []bootstrapCertificate{},
		APIKeys: map[string]string{"admin": secret.Reveal()}, SystemAPIKey: ofSystem.Reveal(), UI: ui,
	}
	if err := b.write(path); err != nil {
		return err
	}
	if _, err := s.admin.CreateUser(ctx, engine.Caller{Principal: installer}, user, engine.Secret(ui.Password)); err != nil {
		if filled, unknown := s.hasUsers(context.WithoutCancel(ctx)); filled || unknown != nil {
			return errors.Join(err, unknown) // the user may be stored, and only the file has the password
		}
		return errors.Join(err, os.Remove(path))
	}
	s.log.Info("wrote the first administrator's password and API key to the bootstrap file", "file", path)
	return nil
}

// bootstrapKeyName is the name of the API keys in a bootstrap file.
const bootstrapKeyName = "bootstrap"

// wholeSystem is the project of API keys that reach the whole system.
var wholeSystem = engine.Project{ID: engine.SystemChain}

func (s *system) bootstrapKey(ctx context.Context, project engine.Project, user engine.User, role engine.Role) (engine.Secret, error) {
	caller := engine.Caller{Principal: engine.Principal{User: user}, Role: role, Project: project}
	_, secret, err := s.admin.CreateAPIKey(ctx, caller, engine.APIKeySettings{Name: bootstrapKeyName, Role: role})
	return secret, err
}

// renewPassword gives a user a random password, which only the bootstrap file has.
func (s *system) renewPassword(ctx context.Context, u engine.User) (bootstrapUI, error) {
	ui := newPassword(u.Username)
	password := engine.Secret(ui.Password)
	_, err := s.admin.ChangeUser(ctx, engine.Caller{Principal: installer}, u.ID, engine.UserSettings{Password: &password})
	return ui, err
}

// newPassword makes a random password.
func newPassword(username string) bootstrapUI {
	return bootstrapUI{username, strings.ToLower(rand.Text())}
}
