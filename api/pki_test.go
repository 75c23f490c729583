package api_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// pki is a root, an issuer below it and leaves of that, made once per run.
var pki = sync.OnceValue(func() *authority {
	root := issue(nil, "Test Root", true)
	return &authority{root: root, issuer: issue(root, "Test Issuer", true)}
})

type authority struct{ root, issuer *identity }

type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials struct {
	sync.Mutex
	last int64
}

// issue makes an identity, self-signed without an issuer.
func issue(by *identity, name string, authority bool) *identity {
	serials.Lock()
	serials.last++
	serial := big.NewInt(1000 + serials.last)
	serials.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Countersign"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: authority, BasicConstraintsValid: authority, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if authority {
		template.KeyUsage |= x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &identity{cert, key}
}

func leaf(name string) *identity { return issue(pki().issuer, name, false) }

func (i *identity) pkcs8() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		panic(err)
	}
	return der
}

func (i *identity) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
}

func (i *identity) keyPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: i.pkcs8()}))
}

// certificates stores one with chain and key, one without its key, one without
// a chain.
func (f *fixture) certificates() {
	f.t.Helper()
	chain := []*x509.Certificate{pki().issuer.cert}
	for _, name := range []string{"shop", "keyless", "alone"} {
		id := leaf(name + ".example.com")
		b := engine.Bundle{Leaf: id.cert, Chain: chain, PrivateKey: id.pkcs8()}
		switch name {
		case "keyless":
			b.PrivateKey = nil
		case "alone":
			b.Chain = nil
		}
		c, err := f.admin.Import(f.t.Context(), f.caller("admin"), name, b)
		must(f.t, err)
		f.certs[name] = c
	}
}
