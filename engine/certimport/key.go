package certimport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// parseKey reads the one private key of private_key_pem.
func parseKey(text string) (crypto.Signer, error) {
	blocks, err := parseBlocks("private_key_pem", text, engine.CodeInvalidRequest)
	if err != nil {
		return nil, err
	}
	var keys []*pem.Block
	for _, block := range blocks {
		switch {
		case strings.HasSuffix(block.Type, "CERTIFICATE"):
			return nil, engine.Errorf(engine.CodeInvalidRequest, "private_key_pem contains a certificate; move it to certificate_pem or chain_pem")
		case block.Type != "EC PARAMETERS": // openssl ecparam writes these before the key, which names its curve itself
			keys = append(keys, block)
		}
	}
	if len(keys) != 1 {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "private_key_pem contains %d private keys; give one", len(keys))
	}
	return decodeKey(keys[0])
}

func decodeKey(block *pem.Block) (crypto.Signer, error) {
	if len(block.Bytes) > maxKeyDER {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key is %d bytes long; at most %d are accepted", len(block.Bytes), maxKeyDER)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key is encrypted; decrypt it with openssl pkey, or import a PKCS#12 file with its passphrase")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "OPENSSH PRIVATE KEY":
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key is in OpenSSH's format; convert it with: ssh-keygen -p -m PKCS8")
	default:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "private_key_pem contains no private key in PKCS#8, PKCS#1 or SEC 1; convert the key with openssl pkey")
	}
	if err != nil {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key cannot be read: it is damaged, or its algorithm is not accepted; RSA, ECDSA and Ed25519 are").Because(err)
	}
	return asSigner(key)
}

// asSigner returns the key if its algorithm and size are accepted.
func asSigner(key any) (crypto.Signer, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key cannot sign, so it cannot belong to a certificate")
	}
	if problem := keyProblem(signer.Public()); problem != "" {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key is %s", problem)
	}
	return signer, nil
}

// keyProblem says why a public key is not accepted, or returns "".
func keyProblem(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Sprintf("RSA of %d bits; %d to %d are accepted", bits, minRSABits, maxRSABits)
		}
		return ""
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return ""
		}
		return fmt.Sprintf("on the curve %s; P-256, P-384 and P-521 are accepted", key.Curve.Params().Name)
	case ed25519.PublicKey:
		return ""
	}
	return "of an algorithm that is not accepted; RSA, ECDSA and Ed25519 are"
}
