package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func apiKeyCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "api-key", Short: "List, create and revoke the API keys of a project",
		Long: "List, create and revoke the API keys of a project. The keys that reach the whole system are in the\n" +
			"project system, for system administrators.",
	}
	cmd.AddCommand(apiKeyListCommand(o), apiKeyCreateCommand(o), &cobra.Command{
		Use: "revoke KEY", Short: "Revoke an API key", Args: oneID,
		Long: "Revoke an API key, with the keys that were made with it and every link that it made. The API has no\n" +
			"answer to print, so -o json prints nothing.",
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			return s.done(s.RevokeAPIKey(ctx, s.project, args[0]), "Revoked "+args[0])
		}),
	})
	return cmd
}

func apiKeyListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List API keys", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.APIKey], error) { return s.APIKeys(ctx, s.project, at) })
			if err != nil {
				return err
			}
			return showPage(s.printer, page, []string{"ID", "NAME", "OWNER", "ROLE", "CREATED", "EXPIRES", "REVOKED", "CLIENT CERTIFICATE"}, func(k wire.APIKey) []string {
				return []string{k.ID, k.Name, k.OwnerID, k.Role, s.localTime(k.CreatedAt), s.optionalTime(k.ExpiresAt), s.optionalTime(k.RevokedAt), cmp.Or(k.ClientCertificateSHA256, "-")}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

// apiKeyFlags are the flags of api-key create.
type apiKeyFlags struct {
	name, role string
	expiresIn  time.Duration
	boundTo    string
	out        outputFlags
}

func apiKeyCreateCommand(o *clientOptions) *cobra.Command {
	var f apiKeyFlags
	cmd := &cobra.Command{
		Use: "create --name NAME --role ROLE", Short: "Create an API key that acts for you",
		Long: "Create an API key that acts for you in the project, with at most your role. The key is shown once. With\n" +
			"--out it is written to a file of mode 0600, as --api-key-file takes it, and not shown.",
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error { return f.create(ctx, s) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "what the key is for")
	flags.StringVar(&f.role, "role", "", "viewer, operator, approver or admin")
	flags.DurationVar(&f.expiresIn, "expires-in", 0, "after which time the key expires, such as 720h (0: never)")
	flags.StringVar(&f.boundTo, "bound-to-cert-file", "", "client certificate, as PEM, without which the server is to refuse the key")
	flags.StringVar(&f.out.path, "out", "", "file to write the key to (default: it is printed)")
	flags.BoolVar(&f.out.force, "force", false, "replace an existing file")
	markRequired(cmd, "name", "role")
	return cmd
}

// create opens the output before it makes the key, which nobody would know otherwise.
func (f *apiKeyFlags) create(ctx context.Context, s *session) (err error) {
	if f.expiresIn < 0 {
		return usageError{errors.New("--expires-in must not be negative")}
	}
	if f.out.path == "-" {
		return usageError{errors.New("--out is a file; without it, the key is printed")}
	}
	body := wire.APIKeyBody{Name: f.name, Role: f.role}
	if f.expiresIn > 0 {
		at := s.clock().Add(f.expiresIn)
		body.ExpiresAt = &at
	}
	if f.boundTo != "" {
		if body.ClientCertificateSHA256, err = fingerprintOf(f.boundTo); err != nil {
			return err
		}
	}
	if f.out.path == "" {
		k, err := s.CreateAPIKey(ctx, s.project, body)
		if err != nil {
			return err
		}
		return s.show(k, append(s.apiKeyRows(k.APIKey), []string{"Key", k.Secret.Reveal()})...)
	}
	out, err := f.out.create("", s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.discard()) }()
	k, err := s.CreateAPIKey(ctx, s.project, body)
	if err != nil {
		return err
	}
	saved, err := out.save(strings.NewReader(k.Secret.Reveal()+"\n"), io.Discard)
	if err != nil {
		return fmt.Errorf("the key %s was made and is lost; revoke it: %w", k.ID, err)
	}
	return s.show(k.APIKey, append(s.apiKeyRows(k.APIKey), []string{"File", saved.File})...)
}

// fingerprintOf is the SHA-256 of the certificate of a PEM file, in hex.
func fingerprintOf(file string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", usageError{fmt.Errorf("%s does not begin with a certificate in PEM", file)}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", usageError{fmt.Errorf("read %s: %w", file, err)}
	}
	if c.IsCA {
		return "", usageError{fmt.Errorf("%s begins with the certificate of an authority; put the client's certificate first", file)}
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:]), nil
}

func (s *session) apiKeyRows(k wire.APIKey) [][]string {
	rows := [][]string{{"ID", k.ID}, {"Name", k.Name}, {"Project", k.ProjectID}, {"Role", k.Role}, {"Expires", s.optionalTime(k.ExpiresAt)}}
	if k.ClientCertificateSHA256 != "" {
		rows = append(rows, []string{"Client certificate", k.ClientCertificateSHA256})
	}
	return rows
}
