package mongotest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// Secured is a FerretDB process that demands TLS with a client certificate, and a user.
// Dir has the certificate of the authority in ca.pem, and those of the server and of the
// client, each with its key, in server.pem and client.pem.
type Secured struct {
	Dir           string
	t             *testing.T
	program, host string
	cmd           *exec.Cmd
}

// ServeSecured starts a server that ends with the test.
func ServeSecured(t *testing.T) *Secured {
	t.Helper()
	s := &Secured{t: t, Dir: t.TempDir()}
	build, data := filepath.Join(s.Dir, "build"), filepath.Join(s.Dir, "databases")
	for _, folder := range []string{build, data} {
		s.must(os.Mkdir(folder, 0o700))
	}
	var err error
	s.program, err = buildSecured(build)
	s.must(err)
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	s.must(err)
	s.host = free.Addr().String()
	s.must(free.Close())
	s.Renew()
	t.Cleanup(s.stop)
	return s
}

// URI leads to a database, with the files in Dir and more options.
func (s *Secured) URI(database string, more ...string) string {
	query := url.Values{"authSource": {"admin"}, "tlsCAFile": {filepath.Join(s.Dir, "ca.pem")}, "tlsCertificateKeyFile": {filepath.Join(s.Dir, "client.pem")}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return "mongodb://" + s.host + "/" + database + "?" + query.Encode()
}

// Renew starts the server, or starts it again, with a new authority and new certificates.
func (s *Secured) Renew() {
	s.t.Helper()
	s.stop()
	authority, key := s.issue("ca", nil, nil)
	s.issue("server", authority, key)
	s.issue("client", authority, key)
	in := func(name string) string { return filepath.Join(s.Dir, name) }
	s.cmd = exec.Command(s.program, "-listen", s.host, "-cert", in("server.pem"), "-key", in("server.pem"), "-ca", in("ca.pem"), //nolint:gosec,noctx // the test's own
		"-sqlite", "file:"+in("databases")+"/")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.must(s.cmd.Start())
	s.asRoot(func(*driver.Client) {})
}

func (s *Secured) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
	}
}

// User makes a user, or changes its password. Without mechanisms, it has both of SCRAM.
func (s *Secured) User(command, name, password string, mechanisms ...string) {
	s.t.Helper()
	s.asRoot(func(c *driver.Client) {
		user := bson.D{{Key: command, Value: name}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{}}}
		if len(mechanisms) > 0 {
			user = append(user, bson.E{Key: "mechanisms", Value: mechanisms})
		}
		s.must(c.Database("admin").RunCommand(s.t.Context(), user).Err())
	})
}

// asRoot does something when the server answers.
func (s *Secured) asRoot(do func(*driver.Client)) {
	s.t.Helper()
	c, err := driver.Connect(s.t.Context(), options.Client().ApplyURI(s.URI("admin")).SetServerSelectionTimeout(time.Minute).
		SetAuth(options.Credential{AuthSource: "admin", Username: rootName, Password: rootPassword}))
	s.must(err)
	s.must(c.Ping(s.t.Context(), nil))
	do(c)
	s.must(c.Disconnect(context.WithoutCancel(s.t.Context())))
}

// issue writes a certificate with its key to a file in Dir, by renaming.
func (s *Secured) issue(name string, authority *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	now := engine.SystemClock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprint(name, " ", now.UnixNano())},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if authority == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		authority, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	s.must(err)
	certificate, err := x509.ParseCertificate(der)
	s.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	s.Replace(name+".pem", string(text))
	return certificate, key
}

// Replace replaces a file in Dir in one step, and returns its path.
func (s *Secured) Replace(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	s.must(os.WriteFile(path+".new", []byte(text), 0o600))
	s.must(os.Rename(path+".new", path))
	return path
}

func (s *Secured) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
