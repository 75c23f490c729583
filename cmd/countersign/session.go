package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/api/client"
	"github.com/countersign-dev/countersign/api/wire"
)

// Each client command runs in a session, which clientOptions.run makes from flags
// and environment. printer.go shows answers, outputfile.go writes files, and
// passphrase.go reads secrets.

const (
	serverVariable  = "COUNTERSIGN_SERVER"
	projectVariable = "COUNTERSIGN_PROJECT"
	keyVariable     = "COUNTERSIGN_API_KEY" //nolint:gosec // the name of the variable, not a key

	caVariable         = "COUNTERSIGN_CA_FILE"
	clientCertVariable = "COUNTERSIGN_CLIENT_CERT_FILE"
	clientKeyVariable  = "COUNTERSIGN_CLIENT_KEY_FILE"

	defaultServer = "http://127.0.0.1:8080"
)

// clientOptions are the flags that all client commands have.
type clientOptions struct {
	server, project, keyFile  string
	ca, clientCert, clientKey string // files in PEM
	output                    outputForm
	// serverWide commands do not belong to a project.
	serverWide bool
}

func (o *clientOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.server, "server", "", "URL of the server (default: "+serverVariable+", else "+defaultServer+")")
	if !o.serverWide {
		flags.StringVar(&o.project, "project", "", "id of the project (default: "+projectVariable+")")
	}
	flags.StringVar(&o.keyFile, "api-key-file", "", "file that contains the API key (default: the key itself in "+keyVariable+")")
	flags.StringVar(&o.ca, "ca-file", "", "certificates of the authorities that the server's certificate may come from, as PEM (default: "+caVariable+", else the system's)")
	flags.StringVar(&o.clientCert, "client-cert-file", "", "client certificate, as PEM, for a server that asks for one (default: "+clientCertVariable+")")
	flags.StringVar(&o.clientKey, "client-key-file", "", "private key of that certificate, as PEM; nobody else may read the file (default: "+clientKeyVariable+")")
	o.addOutput(flags)
}

func (o *clientOptions) addOutput(flags *pflag.FlagSet) {
	flags.VarP(&o.output, "output", "o", "output format: text or json")
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
		return errors.New("it must be text or json")
	}
	*f = outputForm(text)
	return nil
}

// callTimeout limits one call to the server, except downloads and exports of files.
const callTimeout = time.Minute

// session is one run of a client command against a server, in a project.
type session struct {
	*client.Client
	printer
	project string
}

var errInterrupted = errors.New("interrupted")

// run makes the function that cobra calls: it does the work in a session.
func (o *clientOptions) run(work func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p := printerOf(cmd, o.output)
		s, err := o.session(p)
		if err == nil {
			err = work(cmd.Context(), s, args)
		}
		if err != nil && cmd.Context().Err() != nil {
			return errInterrupted
		}
		return p.explain(err)
	}
}

func (o *clientOptions) session(p printer) (*session, error) {
	project := firstOf(o.project, os.Getenv(projectVariable))
	if project == "" && !o.serverWide {
		return nil, usageError{errors.New("no project: give its id with --project or in " + projectVariable)}
	}
	if project != "" && !validID.MatchString(project) {
		return nil, usageError{errors.New("the project is not a valid id; give the id, not the name")}
	}
	key, err := o.key(p)
	if err != nil {
		return nil, err
	}
	address := firstOf(o.server, os.Getenv(serverVariable), defaultServer)
	if err := checkAddress(p, address); err != nil {
		return nil, err
	}
	secure, err := o.tls()
	if err != nil {
		return nil, err
	}
	c, err := client.New(address, key, client.WithUserAgent("countersign/"+version), client.WithTimeout(callTimeout), client.WithTLS(secure))
	if err != nil {
		return nil, usageError{err}
	}
	return &session{c, p, project}, nil
}

// tls is how the client connects by TLS: with the system's authorities and no client
// certificate, unless files are named.
func (o *clientOptions) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if file := firstOf(o.ca, os.Getenv(caVariable)); file != "" {
		if config.RootCAs, err = readAuthorities("--ca-file", file); err != nil {
			return nil, err
		}
	}
	certificate, key := firstOf(o.clientCert, os.Getenv(clientCertVariable)), firstOf(o.clientKey, os.Getenv(clientKeyVariable))
	if (certificate == "") != (key == "") {
		return nil, usageError{errors.New("the client certificate and its private key belong together; give --client-cert-file and --client-key-file")}
	}
	if certificate == "" {
		return config, nil
	}
	pair, err := readPair("--client-cert-file", certificate, "--client-key-file", key)
	config.Certificates = []tls.Certificate{pair}
	return config, err
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// checkAddress refuses a password in the URL, and warns if the connection is not
// encrypted.
func checkAddress(p printer, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return usageError{errors.New("the server's URL is not valid; give it in the form https://host[:port]")}
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

// key reads the API key. It is never an argument, because every process of the
// machine can read those.
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
		return "", usageError{errors.New("no API key: give a file that contains it with --api-key-file, or set " + keyVariable)}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usageError{errors.New("the API key contains characters that no API key has; give the key alone, on one line")}
	}
	return wire.Secret(key), nil
}

// validID matches the ids that the server makes. Other text could change which
// resource a URL path names.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// oneID accepts one argument, which is an id.
func oneID(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one id")
	}
	if !validID.MatchString(args[0]) {
		return fmt.Errorf("%q is not a valid id", args[0])
	}
	return nil
}
