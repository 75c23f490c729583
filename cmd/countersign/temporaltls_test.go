package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
)

// testAuthority makes certificates for tests.
type testAuthority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestAuthority(t *testing.T) testAuthority {
	t.Helper()
	a := testAuthority{t: t}
	der, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	noError(t, err)
	return testAuthority{t, cert, key}
}

func (a testAuthority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(a.t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	noError(a.t, err)
	return der, key
}

// write writes the authority's certificate to a file.
func (a testAuthority) write(file string) {
	a.t.Helper()
	noError(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
}

// issue writes a certificate and its key to name.pem and name.key of a folder.
func (a testAuthority) issue(dir, name string) {
	a.t.Helper()
	der, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	noError(a.t, err)
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		noError(a.t, os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600))
	}
}

// New certificates are used for the next connection, without a new client.
func TestTemporalCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	a := newTestAuthority(t)
	a.write(filepath.Join(dir, "ca.pem"))
	a.issue(dir, "server")
	a.issue(dir, "client")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	noError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, NextProtos: []string{"h2"},
	})
	noError(t, err)
	defer listener.Close()
	serials := make(chan string, 100)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if c.(*tls.Conn).Handshake() == nil {
				serials <- c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
			}
			_ = c.Close() // the client connects again
		}
	}()
	options := client.Options{HostPort: listener.Addr().String(), Logger: slog.New(slog.DiscardHandler)}
	noError(t, TemporalConfig{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"), ServerName: "server.test",
	}.secure(&options))
	c, err := client.NewLazyClient(options)
	noError(t, err)
	defer c.Close()
	ask := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _ = c.CheckHealth(ctx, &client.CheckHealthRequest{}) // nobody answers
	}
	ask()
	first := <-serials
	a.issue(dir, "client")
	eventually(t, "a connection with the new certificate", func() bool {
		ask()
		for {
			select {
			case serial := <-serials:
				if serial != first {
					return true
				}
			default:
				return false
			}
		}
	})
}
