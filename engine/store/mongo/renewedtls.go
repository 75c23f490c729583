package mongo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
	"go.mongodb.org/mongo-driver/x/mongo/driver/ocsp"

	"github.com/countersign-dev/countersign/engine"
)

// renewedTLS dials servers by TLS. It reads the files that the URI names again for each
// connection, so that new certificates and authorities are used without a restart. While
// they cannot be read, connections fail.
type renewedTLS struct {
	files  []fileInURI
	uri    string // has only the options of TLS
	dialer net.Dialer
	ocsp   ocsp.VerifyOptions
}

// fileInURI is a file that an option of the URI names.
type fileInURI struct {
	option, path string
	secret       bool // it has a private key
}

func filesForTLS(parsed *connstring.ConnString) *renewedTLS {
	r := &renewedTLS{}
	for _, f := range []fileInURI{
		{"tlsCAFile", parsed.SSLCaFile, false},
		{"tlsCertificateKeyFile", parsed.SSLClientCertificateKeyFile, true},
		{"tlsCertificateFile", parsed.SSLCertificateFile, false},
		{"tlsPrivateKeyFile", parsed.SSLPrivateKeyFile, true},
	} {
		if f.path != "" && parsed.SSL {
			r.files = append(r.files, f)
		}
	}
	only := url.Values{"tls": {"true"}}
	for option, values := range parsed.Options {
		if (strings.HasPrefix(option, "tls") || strings.HasPrefix(option, "ssl")) && option != "tls" && option != "ssl" {
			only[option] = values
		}
	}
	r.uri = "mongodb://localhost/?" + only.Encode()
	return r
}

// use has the driver dial by TLS here.
func (r *renewedTLS) use(opts *options.ClientOptions) {
	if len(r.files) == 0 {
		return
	}
	r.ocsp = ocsp.VerifyOptions{Cache: ocsp.NewCache(), HTTPClient: opts.HTTPClient}
	r.ocsp.DisableEndpointChecking = opts.DisableOCSPEndpointCheck != nil && *opts.DisableOCSPEndpointCheck
	opts.SetDialer(r).SetTLSConfig(nil)
}

// config reads the files, if there are any. Its errors hold no part of the URI.
func (r *renewedTLS) config() (*tls.Config, error) {
	if len(r.files) == 0 {
		return nil, nil
	}
	for _, f := range r.files {
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("the file that %s in the MongoDB URI names: %w", f.option, err)
		}
	}
	opts := options.Client().ApplyURI(r.uri)
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("read the files that the MongoDB URI names for TLS: %w", withoutPath(err))
	}
	return opts.TLSConfig, nil
}

// check finds what is wrong with a file, so that the error can say which one it is.
func (f fileInURI) check() error {
	info, err := os.Stat(f.path)
	if err == nil && f.secret {
		if engine.CheckFileMode("", info.Mode(), engine.SecretFile) != nil {
			return fmt.Errorf("other users can read or write it (mode %04o); make sure that nobody has copied it, then run chmod go-rwx on it", info.Mode().Perm())
		}
	}
	if err == nil && info.Size() == 0 {
		err = errors.New("it is empty")
	}
	return withoutPath(err)
}

// withoutPath leaves the path out of the error of a file.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// DialContext implements options.ContextDialer.
func (r *renewedTLS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	config, err := r.config()
	if err != nil {
		return nil, err
	}
	if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
		config.ServerName = address // the path of a socket
	}
	plain, err := r.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, config)
	err = conn.HandshakeContext(ctx)
	if err == nil && !config.InsecureSkipVerify {
		err = ocsp.Verify(ctx, conn.ConnectionState(), &r.ocsp)
	}
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return conn, nil
}
