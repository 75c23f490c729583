package certparse

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign/engine/ber"
)

const (
	oidRSA = "1.2.840.113549.1.1.1"
	oidEC  = "1.2.840.10045.2.1"
)

// curves are those that crypto/x509 knows, by their object identifiers (RFC 5480,
// section 2.1.1.1).
var curves = map[string]elliptic.Curve{
	"1.3.132.0.33":        elliptic.P224(),
	"1.2.840.10045.3.1.7": elliptic.P256(),
	"1.3.132.0.34":        elliptic.P384(),
	"1.3.132.0.35":        elliptic.P521(),
}

// publicKey reads a SubjectPublicKeyInfo (RFC 5280, section 4.1). It is nil without an
// error for algorithms and curves that crypto/x509 does not know.
func publicKey(info ber.Element) (crypto.PublicKey, error) {
	if key, err := x509.ParsePKIXPublicKey(info.Full); err == nil {
		return key, nil
	}
	parts, err := info.Sequence(2)
	if err != nil {
		return nil, err
	}
	algorithm, parameters, err := parts[0].Algorithm()
	if err != nil {
		return nil, err
	}
	if len(parts[1].Content) == 0 {
		return nil, errors.New("the public key is empty")
	}
	bits := parts[1].Content[1:]
	switch algorithm {
	case oidRSA: // also without the NULL that RFC 3279, section 2.3.1, asks for
		key, err := x509.ParsePKCS1PublicKey(bits)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		return key, nil
	case oidEC:
		curve := curves[parameters.OID()]
		if curve == nil {
			return nil, nil
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, uncompressed(curve, bits))
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		return key, nil
	}
	return nil, nil
}

// uncompressed changes a point that is compressed or hybrid (SEC 1, section 2.3.3).
func uncompressed(curve elliptic.Curve, point []byte) []byte {
	size := (curve.Params().BitSize + 7) / 8
	if len(point) == 1+2*size && (point[0] == 6 || point[0] == 7) {
		return append([]byte{4}, point[1:]...)
	}
	x, y := elliptic.UnmarshalCompressed(curve, point)
	if x == nil {
		return point
	}
	return append([]byte{4}, append(x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size))...)...)
}

var keyNames = map[string]string{
	oidRSA:                    "RSA",
	"1.2.840.113549.1.1.10":   "RSASSA-PSS",
	"1.2.840.10040.4.1":       "DSA",
	"1.2.840.10046.2.1":       "Diffie-Hellman",
	"1.3.101.110":             "X25519",
	"1.3.101.111":             "X448",
	"1.3.101.112":             "Ed25519",
	"1.3.101.113":             "Ed448",
	"2.16.840.1.101.3.4.3.17": "ML-DSA-44",
	"2.16.840.1.101.3.4.3.18": "ML-DSA-65",
	"2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

var curveNames = map[string]string{
	"1.2.840.10045.3.1.1":   "P-192",
	"1.3.132.0.33":          "P-224",
	"1.2.840.10045.3.1.7":   "P-256",
	"1.3.132.0.34":          "P-384",
	"1.3.132.0.35":          "P-521",
	"1.3.132.0.10":          "secp256k1",
	"1.3.36.3.3.2.8.1.1.7":  "brainpoolP256r1",
	"1.3.36.3.3.2.8.1.1.8":  "brainpoolP256t1",
	"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
	"1.3.36.3.3.2.8.1.1.12": "brainpoolP384t1",
	"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
	"1.3.36.3.3.2.8.1.1.14": "brainpoolP512t1",
	"1.2.156.10197.1.301":   "SM2",
}

// KeyAlgorithm names the algorithm of a DER-encoded AlgorithmIdentifier of a key, such
// as "DSA" or "ECDSA on the curve secp256k1". It is "" if the bytes are none.
func KeyAlgorithm(identifier []byte) string {
	e, err := ber.Only(identifier)
	if err != nil {
		return ""
	}
	algorithm, parameters, err := e.Algorithm()
	switch {
	case err != nil:
		return ""
	case algorithm != oidEC:
		return nameOr(keyNames, algorithm)
	}
	return CurveAlgorithm(parameters.Full)
}

// CurveAlgorithm is the KeyAlgorithm of a key with these ECParameters (RFC 5480,
// section 2.1.1).
func CurveAlgorithm(parameters []byte) string {
	e, err := ber.Only(parameters)
	if err != nil || e.OID() == "" {
		return "ECDSA on a curve of its own parameters"
	}
	return "ECDSA on the curve " + nameOr(curveNames, e.OID())
}

// PublicKeyAlgorithm is KeyAlgorithm of the certificate's public key.
func PublicKeyAlgorithm(c *x509.Certificate) string {
	info, err := ber.Only(c.RawSubjectPublicKeyInfo)
	if err != nil {
		return ""
	}
	parts, err := info.Sequence(1)
	if err != nil {
		return ""
	}
	return KeyAlgorithm(parts[0].Full)
}

var signatureNames = map[string]string{
	"1.2.840.113549.1.1.2":    "RSA with MD2",
	"1.2.840.113549.1.1.4":    "RSA with MD5",
	"1.2.840.113549.1.1.5":    "RSA with SHA-1",
	"1.2.840.113549.1.1.10":   "RSASSA-PSS",
	"1.2.840.113549.1.1.11":   "RSA with SHA-256",
	"1.2.840.113549.1.1.12":   "RSA with SHA-384",
	"1.2.840.113549.1.1.13":   "RSA with SHA-512",
	"1.2.840.113549.1.1.14":   "RSA with SHA-224",
	"1.2.840.113549.1.1.15":   "RSA with SHA-512/224",
	"1.2.840.113549.1.1.16":   "RSA with SHA-512/256",
	"2.16.840.1.101.3.4.3.13": "RSA with SHA3-224",
	"2.16.840.1.101.3.4.3.14": "RSA with SHA3-256",
	"2.16.840.1.101.3.4.3.15": "RSA with SHA3-384",
	"2.16.840.1.101.3.4.3.16": "RSA with SHA3-512",
	"1.2.840.10045.4.1":       "ECDSA with SHA-1",
	"1.2.840.10045.4.3.1":     "ECDSA with SHA-224",
	"1.2.840.10045.4.3.2":     "ECDSA with SHA-256",
	"1.2.840.10045.4.3.3":     "ECDSA with SHA-384",
	"1.2.840.10045.4.3.4":     "ECDSA with SHA-512",
	"2.16.840.1.101.3.4.3.9":  "ECDSA with SHA3-224",
	"2.16.840.1.101.3.4.3.10": "ECDSA with SHA3-256",
	"2.16.840.1.101.3.4.3.11": "ECDSA with SHA3-384",
	"2.16.840.1.101.3.4.3.12": "ECDSA with SHA3-512",
	"1.2.840.10040.4.3":       "DSA with SHA-1",
	"2.16.840.1.101.3.4.3.2":  "DSA with SHA-256",
}

// SignatureAlgorithm names the algorithm that signed the certificate, such as "RSA
// with SHA-224".
func SignatureAlgorithm(c *x509.Certificate) string {
	outer, err := ber.Only(c.Raw)
	if err != nil {
		return ""
	}
	parts, err := outer.Sequence(3)
	if err != nil {
		return ""
	}
	oid, _, err := parts[1].Algorithm()
	if err != nil {
		return ""
	}
	if name := signatureNames[oid]; name != "" {
		return name
	}
	return nameOr(keyNames, oid) // the algorithms that sign without a choice of hash
}

func nameOr(names map[string]string, oid string) string {
	if name := names[oid]; name != "" {
		return name
	}
	return fmt.Sprintf("%.60s", oid)
}
