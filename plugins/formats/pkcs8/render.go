package main

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// encryption is PBES2 (RFC 8018) with parameters that OpenSSL, Java and Windows can
// read. The iterations take about 20 ms for each guess at the passphrase, but also
// for each render; with many more, a few callers could keep a server busy.
var encryption = &pkcs8.Opts{
	Cipher:  pkcs8.AES256CBC,
	KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 100_000, HMACHash: crypto.SHA256},
}

// render encrypts the key. Salts come from crypto/rand, because the library accepts
// no other source.
func render(job sdk.Job) ([]byte, error) {
	if job.Passphrase == "" {
		return nil, errors.New("the passphrase is missing; give one") // the library would not encrypt the key
	}
	leaf, _, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	key, err := job.Key(leaf)
	if err != nil {
		return nil, err
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte(job.Passphrase), encryption)
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}
