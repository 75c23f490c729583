package main

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// encryption is PBES2 (RFC 8018) with what OpenSSL, Java and Windows all read. So
// many iterations cost each guess at the passphrase what they cost each render,
// about 20 ms; more would let a few callers keep a server busy.
var encryption = &pkcs8.Opts{
	Cipher:  pkcs8.AES256CBC,
	KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 100_000, HMACHash: crypto.SHA256},
}

// render encrypts the key. Salts come from crypto/rand: the library asks nobody.
func render(job sdk.Job) ([]byte, error) {
	if job.Passphrase == "" {
		return nil, errors.New("there is no passphrase") // the library would not encrypt
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
