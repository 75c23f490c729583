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
	certificate, format, target, request, out, reason, bindIP string
	force, legacy, wait                                       bool
	options                                                   []string
	ttl                                                       time.Duration
	passphrase                                                passphraseSource
	given                                                     func(flag string) bool
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
		Long: "Ask for a download, and fetch the file if the policy allows it. The file's mode is 0600. A format\n" +
			"that needs a passphrase takes it from --passphrase-file, --passphrase-stdin or a hidden prompt.\n\n" +
			"--target names the software that the file is for, as countersign formats lists it: the file is made\n" +
			"with the options it needs, in the one format it takes, and the command that imports it is printed.\n\n" +
			"Where people must approve first, --wait waits for them and then fetches the file. Without it the\n" +
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
	flags.StringVar(&f.target, "target", "", "software that the file is for, such as windows-server-2016 or java-17")
	flags.StringArrayVar(&f.options, "option", nil, "option of the format, as NAME=VALUE; can be repeated")
	flags.StringVar(&f.out, "out", "", "file to write, - for standard output (default: the format's file name, in this folder)")
	flags.BoolVar(&f.force, "force", false, "replace the file if it is there already")
	flags.BoolVar(&f.legacy, "legacy", false, "encrypt with 3DES and SHA-1, for older Windows")
	flags.StringVar(&f.reason, "reason", "", "why the file is needed; goes on record")
	flags.DurationVar(&f.ttl, "ttl", 0, "life of the token, such as 30s (default: the policy's)")
	flags.StringVar(&f.bindIP, "bind-ip", "", "the one IP address that may fetch the file")
	flags.StringVar(&f.request, "request", "", "fetch the file of a request that was made before, once it is approved")
	flags.BoolVar(&f.wait, "wait", false, "wait for approval, where it is needed")
	f.passphrase.addFlags(cmd)
	f.given = flags.Changed
	cmd.MarkFlagsOneRequired("certificate", "request")
	cmd.MarkFlagsOneRequired("format", "target", "request")
	for _, flag := range []string{"certificate", "format", "target", "option", "reason", "legacy", "ttl", "bind-ip"} {
		cmd.MarkFlagsMutuallyExclusive("request", flag)
	}
	return cmd
}

// markRequired marks flags that must be given.
func markRequired(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined
		}
	}
}

// download asks for the file only once it is sure that there is a place for it:
// a token is used up by fetching, whatever becomes of the file.
func (f *downloadFlags) download(ctx context.Context, s *session) (err error) {
	if s.json && f.out == "-" {
		return usageError{errors.New("standard output cannot take both the file and -o json")}
	}
	ask, err := f.ask(ctx, s)
	if err != nil {
		return err
	}
	path := f.out
	if path == "" {
		if path, err = fileName(ask.format.Filename); err != nil {
			return err
		}
	}
	out, err := createOutput(path, f.force, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.drop()) }() // nothing, once the file has its name
	if ask.format.NeedsPassphrase {
		if ask.body.Passphrase, err = f.passphrase.read(ctx, s.printer, true); err != nil {
			return err
		}
	}
	minted, kept, err := f.fetch(ctx, s, &ask, out)
	if err != nil {
		s.hint(ask.request, err)
		return err
	}
	command := ask.importCommand(kept.File)
	if command != "" && !s.json {
		s.note("to import it (%s): %s", ask.target.Title, command)
	}
	if f.out == "-" {
		return nil
	}
	return s.show(downloaded{minted.RequestID, kept, minted.Format, command},
		[]string{"File", kept.File}, []string{"Size", fmt.Sprintf("%d bytes", kept.Size)}, []string{"SHA-256", kept.SHA256},
		[]string{"Format", minted.Format}, []string{"Request", minted.RequestID})
}

// asked is what will be asked for: a new download, or the file of a request.
type asked struct {
	certificate wire.Certificate
	format      wire.Format
	target      wire.FormatTarget // none where none is named
	body        wire.MintBody
	request     string    // that people must approve first
	lapses      time.Time // when their time to do so is up
}

// importCommand is what to run for the target, "" if there is none.
func (a *asked) importCommand(file string) string {
	alias, ok := a.body.Options["alias"].(string)
	if !ok {
		alias = a.certificate.Name
	}
	return importCommand(a.target.ImportCommand, file, alias)
}

// ask finds out what the flags name.
func (f *downloadFlags) ask(ctx context.Context, s *session) (a asked, err error) {
	formats, err := s.formats(ctx)
	if err != nil {
		return a, err
	}
	if f.request != "" {
		if !ids.MatchString(f.request) {
			return a, usageError{fmt.Errorf("%q is not an id", f.request)}
		}
		r, err := s.Request(ctx, s.project, f.request)
		if err != nil {
			return a, err
		}
		if a.request = r.ID; r.ApprovalExpiresAt != nil {
			a.lapses = *r.ApprovalExpiresAt
		}
		a.format, _ = findFormat(formats, r.Format)
		return a, nil
	}
	if a.format, a.target, err = f.choose(formats); err != nil {
		return a, err
	}
	if a.body, err = f.body(a.format, a.target); err != nil {
		return a, err
	}
	a.certificate, err = s.certificate(ctx, f.certificate)
	return a, err
}

// choose finds the format, and the target if one is named.
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

// fetch gets a token, and by it the file.
func (f *downloadFlags) fetch(ctx context.Context, s *session, a *asked, out *output) (wire.Minted, receipt, error) {
	minted, err := f.obtain(ctx, s, a)
	if err != nil {
		return minted, receipt{}, err
	}
	kept, err := s.redeem(ctx, minted.Token, out)
	return minted, kept, err
}

// obtain gets a token: at once, or after people have approved.
func (f *downloadFlags) obtain(ctx context.Context, s *session, a *asked) (wire.Minted, error) {
	if a.request == "" {
		minted, err := s.Mint(ctx, s.project, a.certificate.ID, a.body, "")
		if err != nil || minted.Pending == nil {
			return minted.Minted, err
		}
		a.request, a.lapses = minted.RequestID, minted.Pending.ApprovalExpiresAt
		if !f.wait && s.json {
			err = s.show(minted.Pending)
		}
		if !f.wait {
			return wire.Minted{}, errors.Join(err, errWaits{a.request})
		}
	}
	if f.wait {
		if err := s.await(ctx, a.request, a.lapses); err != nil {
			return wire.Minted{}, err
		}
	}
	return s.Claim(ctx, s.project, a.request, a.body.Passphrase)
}

// body is what to ask for: with the target's options, which those of the command
// line overrule.
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

// wholeSeconds is a duration as the API counts it.
func wholeSeconds(d time.Duration) (int, error) {
	if d < time.Second || d%time.Second != 0 {
		return 0, usageError{fmt.Errorf("%s is not a number of whole seconds from 1", d)}
	}
	return int(d / time.Second), nil
}

// redeem fetches the file. What goes to standard output cannot be taken back, so
// it goes there only once it has arrived whole.
func (s *session) redeem(ctx context.Context, token wire.Secret, out *output) (receipt, error) {
	file, err := s.Redeem(ctx, token)
	if err != nil {
		return receipt{}, err
	}
	defer func() { _ = file.Close() }() // it was read to its end, or its reading failed
	progress, done := s.progress("downloading", file.Size)
	defer done()
	if out.path != "-" {
		return out.fill(file, progress)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return receipt{}, fmt.Errorf("transfer the file: %w", err)
	}
	return out.fill(bytes.NewReader(content), progress)
}
