package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/wire"
)

// downloadFlags are the flags of download.
type downloadFlags struct {
	certificate, format, target, request, reason, bindIP string
	legacy, wait                                         bool
	out                                                  outputFlags
	options                                              []string
	ttl                                                  time.Duration
	passphrase                                           secretSource
	given                                                func(flag string) bool
}

// downloaded is what download prints for programs.
type downloaded struct {
	RequestID string `json:"request_id"`
	receipt
	Format        string `json:"format"`
	ImportCommand string `json:"import_command,omitempty"`
}

func downloadCommand(o *clientOptions) *cobra.Command {
	var f downloadFlags
	cmd := &cobra.Command{
		Use:   "download --certificate CERTIFICATE (--format FORMAT | --target TARGET)",
		Short: "Download a certificate, once, in a format",
		Long: "Request a download, and fetch the file if the policy allows it. The file's mode is 0600. If the format\n" +
			"needs a passphrase, it comes from --passphrase-file, --passphrase-stdin or a hidden prompt.\n\n" +
			"--target names the software that will import the file, as countersign formats lists it. The file is\n" +
			"made with the options that the software needs, and the command that imports the file is printed.\n\n" +
			"If the download needs approval, --wait waits for it and then fetches the file. Without --wait the\n" +
			"command ends with exit code 5, and --request fetches the file later.",
		Example: "  countersign download --certificate www.example.com --format fullchain\n" +
			"  countersign download --certificate www.example.com --format pkcs12 --passphrase-file pass.txt --out www.p12\n" +
			"  countersign download --certificate www.example.com --target windows-server-2016 --option alias=www\n" +
			"  countersign download --certificate www.example.com --format key --reason 'new load balancer' --wait\n" +
			"  countersign download --request req_4x7 --wait",
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, s *session, _ []string) error { return f.download(ctx, s) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.certificate, "certificate", "", "id or name of the certificate")
	flags.StringVar(&f.format, "format", "", "format: its id or file name, such as fullchain or bundle.zip")
	flags.StringVar(&f.target, "target", "", "software that will import the file, such as windows-server-2016 or java-17")
	flags.StringArrayVar(&f.options, "option", nil, "option of the format, as NAME=VALUE; can be repeated")
	f.out.addFlags(flags, "the format's file name")
	flags.BoolVar(&f.legacy, "legacy", false, "encrypt with 3DES and SHA-1, for older Windows")
	flags.StringVar(&f.reason, "reason", "", "why the file is needed, for the record")
	flags.DurationVar(&f.ttl, "ttl", 0, "how long the token is valid, such as 30s (default: as the policy says)")
	flags.StringVar(&f.bindIP, "bind-ip", "", "the one IP address that may fetch the file")
	flags.StringVar(&f.request, "request", "", "fetch the file of an earlier request, once it is approved")
	flags.BoolVar(&f.wait, "wait", false, "wait for approval, if the download needs it")
	f.passphrase.addFlags(cmd, "passphrase")
	f.given = flags.Changed
	cmd.MarkFlagsOneRequired("certificate", "request")
	cmd.MarkFlagsOneRequired("format", "target", "request")
	for _, flag := range []string{"certificate", "format", "target", "option", "reason", "legacy", "ttl", "bind-ip"} {
		cmd.MarkFlagsMutuallyExclusive("request", flag)
	}
	return cmd
}

// markRequired marks required flags.
func markRequired(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined
		}
	}
}

// download requests the file only after it has opened the output, because fetching
// consumes the token even if the file cannot be written.
func (f *downloadFlags) download(ctx context.Context, s *session) (err error) {
	if err := f.out.check(s.printer); err != nil {
		return err
	}
	order, err := f.order(ctx, s)
	if err != nil {
		return err
	}
	name, err := fileName(order.format.Filename)
	if err != nil && f.out.path == "" {
		return err
	}
	out, err := f.out.create(name, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.discard()) }()
	if order.format.NeedsPassphrase {
		if order.body.Passphrase, err = f.passphrase.read(ctx, s.printer, true); err != nil {
			return err
		}
	}
	minted, saved, err := f.fetch(ctx, s, &order, out)
	if err != nil {
		s.hint(order.request, err)
		return err
	}
	command := order.importCommand(saved.File)
	if command != "" && !s.json {
		s.note("to import it (%s): %s", order.target.Title, command)
	}
	if f.out.path == "-" {
		return nil
	}
	return s.show(downloaded{minted.RequestID, saved, minted.Format, command},
		append(saved.rows(), []string{"Format", minted.Format}, []string{"Request", minted.RequestID})...)
}

// downloadOrder is a new download, or the file of an earlier request.
type downloadOrder struct {
	certificate       wire.Certificate
	format            wire.Format
	target            wire.FormatTarget // zero if none is named
	body              wire.MintBody
	request           string // the id of a request that needs approval
	approvalExpiresAt time.Time
}

// importCommand is the command that imports the file into the target, or "".
func (o *downloadOrder) importCommand(file string) string {
	alias, ok := o.body.Options["alias"].(string)
	if !ok {
		alias = o.certificate.Name
	}
	return importCommand(o.target.ImportCommand, file, alias)
}

// order finds what the flags name.
func (f *downloadFlags) order(ctx context.Context, s *session) (o downloadOrder, err error) {
	formats, err := s.formats(ctx)
	if err != nil {
		return o, err
	}
	if f.request != "" {
		if !validID.MatchString(f.request) {
			return o, usageError{fmt.Errorf("%q is not a valid id", f.request)}
		}
		r, err := s.Request(ctx, s.project, f.request)
		if err != nil {
			return o, err
		}
		if o.request = r.ID; r.ApprovalExpiresAt != nil {
			o.approvalExpiresAt = *r.ApprovalExpiresAt
		}
		o.format, _ = findFormat(formats, r.Format)
		return o, nil
	}
	if o.format, o.target, err = f.choose(formats); err != nil {
		return o, err
	}
	if o.body, err = f.body(o.format, o.target); err != nil {
		return o, err
	}
	o.certificate, err = s.certificate(ctx, f.certificate)
	return o, err
}

// choose finds the format and, if one is named, the target.
func (f *downloadFlags) choose(formats []wire.Format) (format wire.Format, target wire.FormatTarget, err error) {
	if f.format != "" {
		known := false
		if format, known = findFormat(formats, f.format); !known || f.target == "" {
			return format, target, nil
		}
		formats = []wire.Format{format}
	}
	return findTarget(formats, f.target)
}

// fetch gets a token, and fetches the file with it.
func (f *downloadFlags) fetch(ctx context.Context, s *session, o *downloadOrder, out *output) (wire.Minted, receipt, error) {
	minted, err := f.token(ctx, s, o)
	if err != nil {
		return minted, receipt{}, err
	}
	saved, err := s.redeem(ctx, minted.Token, out)
	return minted, saved, err
}

// token mints a token or, for a request that needs approval, claims it.
func (f *downloadFlags) token(ctx context.Context, s *session, o *downloadOrder) (wire.Minted, error) {
	if o.request == "" {
		minted, err := s.Mint(ctx, s.project, o.certificate.ID, o.body, "")
		if err != nil || minted.Pending == nil {
			return minted.Minted, err
		}
		o.request, o.approvalExpiresAt = minted.RequestID, minted.Pending.ApprovalExpiresAt
		if !f.wait && s.json {
			err = s.show(minted.Pending)
		}
		if !f.wait {
			return wire.Minted{}, errors.Join(err, pendingError{o.request})
		}
	}
	if f.wait {
		if err := s.waitForApproval(ctx, o.request, o.approvalExpiresAt); err != nil {
			return wire.Minted{}, err
		}
	}
	return s.Claim(ctx, s.project, o.request, o.body.Passphrase)
}

// body makes the body of the mint. Options of the command line override those of
// the target.
func (f *downloadFlags) body(format wire.Format, target wire.FormatTarget) (wire.MintBody, error) {
	body := wire.MintBody{Format: format.ID, Reason: f.reason, BindIP: f.bindIP, Options: map[string]any{}}
	maps.Copy(body.Options, target.Options)
	if f.given("legacy") {
		body.Options["legacy"] = f.legacy
	}
	schema := optionsOf(format)
	for _, option := range f.options {
		name, value, err := schema.value(option)
		if err != nil {
			return body, err
		}
		body.Options[name] = value
	}
	if f.ttl != 0 {
		seconds, err := wholeSeconds(f.ttl)
		if err != nil {
			return body, fmt.Errorf("--ttl: %w", err)
		}
		body.TTLSeconds = &seconds
	}
	return body, nil
}

// wholeSeconds converts a duration to seconds, as the API takes it.
func wholeSeconds(d time.Duration) (int, error) {
	if d < time.Second || d%time.Second != 0 {
		return 0, usageError{fmt.Errorf("%s is not valid; give whole seconds, at least 1s", d)}
	}
	return int(d / time.Second), nil
}

// redeem fetches the file. It writes to standard output only after the whole file
// has arrived, because it cannot take back what it wrote there.
func (s *session) redeem(ctx context.Context, token wire.Secret, out *output) (receipt, error) {
	file, err := s.Redeem(ctx, token)
	if err != nil {
		return receipt{}, err
	}
	defer func() { _ = file.Close() }() // a failure to read was reported already
	progress, done := s.progress("downloading", file.Size)
	defer done()
	if out.path != "-" {
		return out.save(file, progress)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return receipt{}, fmt.Errorf("transfer the file: %w", err)
	}
	return out.save(bytes.NewReader(content), progress)
}
