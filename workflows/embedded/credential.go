package embedded

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"go.temporal.io/server/common/rpc/encryption"
)

// newCredential makes a private key and a certificate of its own for one start of the
// server. The services and their clients, all in this process, present it to each
// other and accept no other. The key is in memory only. The certificate is valid at
// any time (RFC 5280 section 4.1.2.5 has the last date), because the process may run
// for years and its clock may be wrong; the key ends with the process.
func newCredential() (*tls.Config, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for Temporal: %w", err)
	}
	template := &x509.Certificate{
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		IPAddresses: []net.IP{net.ParseIP(loopback)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for Temporal: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read Temporal's certificate: %w", err)
	}
	known := x509.NewCertPool()
	known.AddCert(certificate)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		RootCAs:      known,
		ClientCAs:    known,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

// everywhere has every service and every client of Temporal use a credential.
func everywhere(credential *tls.Config) encryption.TLSConfigProvider {
	return &encryption.FixedTLSConfigProvider{
		InternodeServerConfig:      credential,
		InternodeClientConfig:      credential,
		FrontendServerConfig:       credential,
		FrontendClientConfig:       credential,
		RemoteClusterClientConfigs: map[string]*tls.Config{loopback: credential}, // the cluster's own address
	}
}
