package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

func certCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "cert", Short: "Import, list and show certificates"}
	cmd.AddCommand(certImportCommand(o), certListCommand(o), &cobra.Command{
		Use: "show CERTIFICATE", Short: "Show a certificate, by id or name", Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			c, err := s.certificate(ctx, args[0])
			if err != nil {
				return err
			}
			if c, err = s.Certificate(ctx, s.project, c.ID); err != nil { // a list has no chains
				return err
			}
			return s.showCertificate(c)
		}),
	})
	return cmd
}

func certListCommand(o *clientOptions) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [WORD ...]", Short: "List certificates; with words, those with all of them in name, subject, serial or fingerprint",
		RunE: o.run(func(ctx context.Context, s *session, args []string) error {
			page, err := readPages(limit, func(at client.Paging) (wire.Page[wire.Certificate], error) {
				return s.Certificates(ctx, s.project, strings.Join(args, " "), at)
			})
			if err != nil {
				return err
			}
			header := []string{"ID", "NAME", "KEY", "PRIVATE KEY", "ISSUER", "EXPIRES"}
			return showPage(s.printer, page, header, func(c wire.Certificate) []string {
				return []string{c.ID, c.Name, c.KeyAlgorithm, yesNo(c.HasPrivateKey), c.Issuer, s.localTime(c.NotAfter)}
			})
		}),
	}
	addLimit(cmd, &limit)
	return cmd
}

func (s *session) showCertificate(c wire.Certificate) error {
	rows := [][]string{
		{"ID", c.ID}, {"Name", c.Name}, {"Subject", c.Subject}, {"Alternative names", strings.Join(c.SANs, ", ")},
		{"Issuer", c.Issuer}, {"Serial", c.Serial}, {"Not before", s.localTime(c.NotBefore)}, {"Not after", s.localTime(c.NotAfter)},
		{"Key", c.KeyAlgorithm}, {"Private key", yesNo(c.HasPrivateKey)}, {"SHA-256", c.Fingerprint},
		{"Chain length", strconv.Itoa(c.ChainLength)},
	}
	for _, issuer := range c.Chain {
		rows = append(rows, []string{"Chain", issuer.Subject})
	}
	for _, warning := range c.Warnings {
		rows = append(rows, []string{"Warning", warning})
	}
	return s.show(c, rows...)
}

// certificate finds a certificate by its id, or by its name if only one certificate
// has it. An id wins over an equal name, so that no user can hide a certificate by
// giving its id to another certificate as a name.
func (s *session) certificate(ctx context.Context, name string) (wire.Certificate, error) {
	notFound := &client.Problem{
		Status: http.StatusNotFound, Code: "not_found", Title: "not found", Type: wire.ProblemType + "not_found",
	}
	if validID.MatchString(name) {
		c, err := s.Certificate(ctx, s.project, name)
		problem, ok := errors.AsType[*client.Problem](err)
		if !ok || problem.Code != notFound.Code {
			return c, err
		}
		notFound = problem
	}
	found, err := client.All(0, func(at client.Paging) (wire.Page[wire.Certificate], error) {
		return s.Certificates(ctx, s.project, name, at)
	})
	if err != nil {
		return wire.Certificate{}, err
	}
	var named []wire.Certificate
	var namedIDs []string
	for _, c := range found {
		if c.Name == name {
			named, namedIDs = append(named, c), append(namedIDs, clean(c.ID))
		}
	}
	switch len(named) {
	case 0:
		notFound.Detail = fmt.Sprintf("no certificate of this project has the id or name %q", name)
		return wire.Certificate{}, notFound
	case 1:
		return named[0], nil
	}
	return wire.Certificate{}, usageError{fmt.Errorf("%d certificates have the name %q; choose one by its id: %s",
		len(named), name, strings.Join(namedIDs, ", "))}
}

// importFlags are the flags of cert import.
type importFlags struct {
	name, cert, chain, key, pkcs12 string
	passphrase                     secretSource
}

func certImportCommand(o *clientOptions) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import --name NAME (--cert FILE [--chain FILE] [--key FILE] | --pkcs12 FILE)",
		Short: "Import a certificate, with its chain and private key",
		Long: "Import a certificate from PEM files or from a PKCS#12 file, whose passphrase comes from\n" +
			"--passphrase-file, --passphrase-stdin or a hidden prompt.",
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error {
			body, err := f.body(ctx, s.printer)
			if err != nil {
				return err
			}
			c, err := s.Import(ctx, s.project, body)
			if err != nil {
				return err
			}
			return s.showCertificate(c)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the certificate in Countersign")
	flags.StringVar(&f.cert, "cert", "", "PEM file with the certificate; its chain may follow in it")
	flags.StringVar(&f.chain, "chain", "", "PEM file with the certificates above it")
	flags.StringVar(&f.key, "key", "", "PEM file with its private key, not encrypted")
	flags.StringVar(&f.pkcs12, "pkcs12", "", "PKCS#12 file with certificate, chain and private key")
	f.passphrase.addFlags(cmd, "passphrase")
	markRequired(cmd, "name")
	cmd.MarkFlagsOneRequired("cert", "pkcs12")
	for _, pem := range []string{"cert", "chain", "key"} {
		cmd.MarkFlagsMutuallyExclusive(pem, "pkcs12")
	}
	return cmd
}

func (f *importFlags) body(ctx context.Context, p printer) (wire.ImportBody, error) {
	body := wire.ImportBody{Name: f.name}
	if f.pkcs12 != "" {
		text, err := p.readSecretFile(f.pkcs12)
		if err != nil {
			return body, err
		}
		body.PKCS12Base64 = wire.Secret(base64.StdEncoding.EncodeToString(text))
		body.Passphrase, err = f.passphrase.read(ctx, p, false)
		return body, err
	}
	if f.passphrase.given() {
		return body, usageError{errors.New("a passphrase is for --pkcs12 only; the private key of --key must not be encrypted")}
	}
	for _, file := range []struct {
		path string
		into *string
	}{{f.cert, &body.CertificatePEM}, {f.chain, &body.ChainPEM}} {
		if file.path == "" {
			continue
		}
		text, _, err := readFile(file.path)
		if err != nil {
			return body, err
		}
		*file.into = string(text)
	}
	if f.key != "" {
		text, err := p.readSecretFile(f.key)
		if err != nil {
			return body, err
		}
		body.PrivateKeyPEM = wire.Secret(text)
	}
	return body, nil
}
