package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

// The client commands are in the file of their concept. Each runs in a session,
// which clientOptions.run makes from flags and environment; output.go has how
// answers are shown, cli_file.go how files are kept, cli_passphrase.go where
// secrets come from.

const rootHelp = `Countersign hands out certificates and private keys: on request, under policy,
once, on record.

The client commands find the server by --server or COUNTERSIGN_SERVER, the
project by --project or COUNTERSIGN_PROJECT, and the API key in the file named
by --api-key-file or in COUNTERSIGN_API_KEY. With -o json they print the API's
JSON, a refusal included.

Exit codes:
  0    done
  1    failed
  2    used wrongly
  3    refused by the server: the request was understood and denied
  4    the server could not be reached, or failed itself
  5    the download waits for approval
  130  interrupted`

// clientCommands are the commands that call a server, and version.
func clientCommands() []*cobra.Command {
	o := &clientOptions{output: "text"}
	commands := []*cobra.Command{
		downloadCommand(o), formatsCommand(o), requestsCommand(o), approvalsCommand(o), certCommand(o), policyCommand(o), auditCommand(o),
	}
	for _, cmd := range commands {
		o.addFlags(cmd.PersistentFlags())
	}
	return append(commands, versionCommand(o))
}

// strict makes every mistake in how a command of the tree is called a
// usageError: cobra returns those as errors like any other, and prints help for
// an unknown subcommand as if it had been asked to.
func strict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
	if cmd.RunE == nil {
		cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets too late
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return fmt.Errorf("%s has no command %q; did you mean %s?", cmd.CommandPath(), args[0], strings.Join(near, " or "))
			}
			return fmt.Errorf("%s has no command %q; see %[1]s --help", cmd.CommandPath(), args[0])
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	accepts := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var err error
		if accepts != nil {
			err = accepts(cmd, args)
		}
		if err == nil {
			err = cmd.ValidateRequiredFlags()
		}
		if err == nil {
			err = cmd.ValidateFlagGroups()
		}
		if err != nil {
			return usageError{err}
		}
		return nil
	}
}

const (
	serverVariable  = "COUNTERSIGN_SERVER"
	projectVariable = "COUNTERSIGN_PROJECT"
	keyVariable     = "COUNTERSIGN_API_KEY" //nolint:gosec // the name of the variable, not a key

	defaultServer = "http://127.0.0.1:8080"
)

// clientOptions are the flags that all client commands have.
type clientOptions struct {
	server, project, keyFile string
	output                   outputForm
	// serverWide are commands that concern no project.
	serverWide bool
}

func (o *clientOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.server, "server", "", "URL of the server (default: "+serverVariable+", else "+defaultServer+")")
	if !o.serverWide {
		flags.StringVar(&o.project, "project", "", "id of the project (default: "+projectVariable+")")
	}
	flags.StringVar(&o.keyFile, "api-key-file", "", "file that holds the API key (default: the key itself in "+keyVariable+")")
	o.addOutput(flags)
}

func (o *clientOptions) addOutput(flags *pflag.FlagSet) {
	flags.VarP(&o.output, "output", "o", "how to print: text or json")
}

// outputForm is text or json.
type outputForm string

var _ pflag.Value = (*outputForm)(nil)

// String implements pflag.Value.
func (f *outputForm) String() string { return string(*f) }

// Type implements pflag.Value.
func (*outputForm) Type() string { return "form" }

// Set implements pflag.Value.
func (f *outputForm) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("it is text or json")
	}
	*f = outputForm(text)
	return nil
}

// callWithin is how long the server may take to answer, files and exports aside.
const callWithin = time.Minute

// session is one run of a client command against a server, in a project.
type session struct {
	*client.Client
	printer
	project string
}

var errInterrupted = errors.New("interrupted")

// run makes the function that cobra calls: work in a session that ends at an
// interrupt.
func (o *clientOptions) run(work func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
		p := printerOf(cmd, o.output)
		s, err := o.session(p)
		if err == nil {
			err = work(ctx, s, args)
		}
		if err != nil && ctx.Err() != nil {
			return errInterrupted
		}
		return p.explain(err)
	}
}

func (o *clientOptions) session(p printer) (*session, error) {
	project := firstOf(o.project, os.Getenv(projectVariable))
	if project == "" && !o.serverWide {
		return nil, usageError{errors.New("no project: name one with --project or in " + projectVariable)}
	}
	if project != "" && !ids.MatchString(project) {
		return nil, usageError{errors.New("the project must be named by its id")}
	}
	key, err := o.key(p)
	if err != nil {
		return nil, err
	}
	address := firstOf(o.server, os.Getenv(serverVariable), defaultServer)
	if err := checkAddress(p, address); err != nil {
		return nil, err
	}
	c, err := client.New(address, key, client.WithUserAgent("countersign/"+version), client.WithTimeout(callWithin))
	if err != nil {
		return nil, usageError{err}
	}
	return &session{c, p, project}, nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// checkAddress refuses a password in the URL and warns where the network could
// listen.
func checkAddress(p printer, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return usageError{errors.New("the server's URL is not of the form https://host[:port]")}
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		p.warn("the API key and the files travel unencrypted to %s; use https", u.Hostname())
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// key reads the API key. It is never an argument: those are for every process
// of the machine to see.
func (o *clientOptions) key(p printer) (wire.Secret, error) {
	key := os.Getenv(keyVariable)
	if o.keyFile != "" {
		text, err := p.readSecretFile(o.keyFile)
		if err != nil {
			return "", err
		}
		key = string(text)
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return "", usageError{errors.New("no API key: name a file that holds it with --api-key-file, or set " + keyVariable)}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usageError{errors.New("the API key holds characters that no API key has")}
	}
	return wire.Secret(key), nil
}

// exitOfCall is the exit code for what became of a call to the server. An answer
// without a code is not Countersign's, so Countersign was not reached.
func exitOfCall(err error) int {
	if _, waits := errors.AsType[errWaits](err); waits {
		return exitWaits
	}
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		if problem.Code == "" || problem.Status >= http.StatusInternalServerError {
			return exitUnreachable
		}
		return exitRefused
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return exitUnreachable
	}
	return exitFailed
}

// ids are the ids that the server gives. Anything else could name another
// resource once it stands in a path.
var ids = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// oneID accepts one argument, an id.
func oneID(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("it takes one id")
	}
	if !ids.MatchString(args[0]) {
		return fmt.Errorf("%q is not an id", args[0])
	}
	return nil
}

func versionCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printerOf(cmd, o.output).show(struct {
				Version string `json:"version"`
			}{version}, []string{"countersign " + version})
		},
	}
	o.addOutput(cmd.Flags())
	return cmd
}
