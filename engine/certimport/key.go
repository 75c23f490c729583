package certimport

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/ber"
	"github.com/countersign-dev/countersign/engine/certparse"
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

// decodeKey goes by what a block contains, because software labels PKCS#1 and SEC 1 as
// PKCS#8 and the reverse.
func decodeKey(block *pem.Block) (crypto.Signer, error) {
	switch {
	case block.Type == "OPENSSH PRIVATE KEY":
		advice := "convert a copy of it in place with: ssh-keygen -p -N '' -m PKCS8 -f COPY"
		if bytes.Contains(block.Bytes, []byte("ssh-ed25519")) { // ssh-keygen leaves these as they are
			advice = "convert it with Python's package cryptography: python3 -c \"from cryptography.hazmat.primitives.serialization import *; " +
				"print(load_ssh_private_key(open('KEY','rb').read(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())\""
		}
		return nil, engine.Errorf(engine.CodeInvalidRequest, "the private key is in OpenSSH's format; %s", advice)
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"), block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, errEncryptedKey(engine.CodeInvalidRequest)
	case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, engine.Errorf(engine.CodeInvalidRequest, "private_key_pem contains no private key in PKCS#8, PKCS#1 or SEC 1; convert the key with openssl pkey")
	}
	return parseKeyDER(block.Bytes, engine.CodeInvalidRequest)
}

func errEncryptedKey(code engine.Code) error {
	return engine.Errorf(code, "the private key is encrypted; decrypt it with openssl pkey, or import a PKCS#12 file with its passphrase")
}

// parseKeyDER reads a private key in PKCS#8, PKCS#1 or SEC 1 if its algorithm and size
// are accepted. Errors have the code.
func parseKeyDER(der []byte, code engine.Code) (crypto.Signer, error) {
	if len(der) > maxKeyDER {
		return nil, engine.Errorf(code, "the private key is %d bytes long; at most %d are accepted", len(der), maxKeyDER)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if other, notPKCS1 := x509.ParsePKCS1PrivateKey(der); notPKCS1 == nil {
			key, err = other, nil
		} else if other, notSEC1 := x509.ParseECPrivateKey(der); notSEC1 == nil {
			key, err = other, nil
		}
	}
	if err != nil {
		return nil, errUnreadableKey(der, code, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, engine.Errorf(code, "the private key cannot sign, so it cannot belong to a certificate")
	}
	if problem := keyProblem(signer.Public()); problem != "" {
		return nil, engine.Errorf(code, "the private key is %s", problem)
	}
	return signer, nil
}

// errUnreadableKey says what is not accepted, if it is known.
func errUnreadableKey(der []byte, code engine.Code, cause error) error {
	parts, _ := sequence(der)
	if len(parts) == 2 && certparse.KeyAlgorithm(parts[0].Full) != "" { // EncryptedPrivateKeyInfo
		return errEncryptedKey(code)
	}
	name := ""
	if len(parts) > 2 {
		switch name = certparse.KeyAlgorithm(parts[1].Full); { // PrivateKeyInfo (RFC 5958, section 2)
		case name == "RSA":
			inner, _ := sequence(parts[2].Content)
			parts = inner
		case name == "" && parts[2].Is(ber.ContextSpecific, 0): // ECPrivateKey (RFC 5915, section 3)
			name = certparse.CurveAlgorithm(parts[2].Content)
		}
	}
	if name != "" && !accepted[name] {
		return engine.Errorf(code, "the private key is of the algorithm %s; %s", name, acceptedKeys).Because(cause)
	}
	if len(parts) == 9 { // RSAPrivateKey (RFC 8017, appendix A.1.2)
		if e := parts[2].Int(); e.IsInt64() {
			if problem := keyProblem(&rsa.PublicKey{N: parts[1].Int(), E: int(e.Int64())}); problem != "" {
				return engine.Errorf(code, "the private key is %s", problem).Because(cause)
			}
		}
	}
	return engine.Errorf(code, "the private key cannot be read, because it is damaged or of an unknown form; convert it with openssl pkey").Because(cause)
}

func sequence(der []byte) ([]ber.Element, error) {
	e, err := ber.Only(der)
	if err != nil {
		return nil, err
	}
	return e.Sequence(0)
}

const acceptedKeys = "RSA, ECDSA on P-256, P-384 and P-521, and Ed25519 are accepted"

// accepted are the algorithms as certparse names them.
var accepted = map[string]bool{
	"RSA": true, "Ed25519": true,
	"ECDSA on the curve P-256": true, "ECDSA on the curve P-384": true, "ECDSA on the curve P-521": true,
}

// keyProblem says why a public key is not accepted, or returns "".
func keyProblem(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.Sign() < 0 {
			return "RSA with a negative modulus; make a new key"
		}
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Sprintf("RSA of %d bits; %d to %d are accepted", bits, minRSABits, maxRSABits)
		}
		return rsaWeakness(key)
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return ""
		}
		return fmt.Sprintf("on the curve %s; P-256, P-384 and P-521 are accepted", key.Curve.Params().Name)
	case ed25519.PublicKey:
		return ""
	}
	return "not encoded as its standard says, so it cannot be used; export it again"
}

// smallPrimes is the product of the primes below 752, as NIST SP 800-89, section 5.3.3,
// asks to try as factors.
var smallPrimes = func() *big.Int {
	product := big.NewInt(1)
	for n := int64(2); n < 752; n++ {
		if p := big.NewInt(n); p.ProbablyPrime(0) {
			product.Mul(product, p)
		}
	}
	return product
}()

// fermatRounds is how close the factors of a modulus may not be: this many rounds of
// Fermat's method must not find them. Keys of real devices were found in the first.
const fermatRounds = 100

// rsaWeakness says why everybody could compute the private key, or returns "".
func rsaWeakness(key *rsa.PublicKey) string {
	switch {
	case key.E < 3 || key.E%2 == 0:
		return fmt.Sprintf("RSA with the public exponent %d, which is not safe; make a key with the exponent 65537", key.E)
	case new(big.Int).GCD(nil, nil, key.N, smallPrimes).Cmp(big.NewInt(1)) != 0:
		return "RSA with a modulus that a small number divides, so anybody can compute it; make a new key"
	case hasCloseFactors(key.N):
		return "RSA with a modulus whose two factors are too close to each other, so anybody can compute it; make a new key"
	}
	return ""
}

// hasCloseFactors tries to write n as a²-b² with a from the square root of n on.
func hasCloseFactors(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	for range fermatRounds {
		square := new(big.Int).Mul(a, a)
		if square.Sub(square, n); square.Sign() >= 0 {
			root := new(big.Int).Sqrt(square)
			if root.Mul(root, root).Cmp(square) == 0 {
				return true
			}
		}
		a.Add(a, big.NewInt(1))
	}
	return false
}
