// Package certparse reads X.509 certificates (RFC 5280) as leniently as OpenSSL and
// Java do, and says what is in them as people read it.
//
// Start with [Parse]. Its input is untrusted; no byte of it is ever changed. The
// texts of [Name] and [AltNames] have no control character, line break or character
// that changes the direction of text, so they are safe on pages and terminals.
package certparse

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/engine/ber"
)

// Parse reads one certificate. What crypto/x509 refuses, such as negative serial
// numbers and unusual names, it reads itself: the result then has the raw fields, the
// public key (nil if its algorithm is unknown), the serial number, the validity, the
// signature, the extensions, and those of their values that order a chain: basic
// constraints, key usage and key identifiers. The error says what cannot be read.
func Parse(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err == nil {
		return c, nil
	}
	if c, lenient := parse(der); lenient == nil {
		return c, nil
	}
	return nil, err
}

func parse(der []byte) (*x509.Certificate, error) {
	outer, err := ber.Only(der)
	if err != nil {
		return nil, err
	}
	parts, err := outer.Sequence(3)
	if err != nil {
		return nil, err
	}
	fields, err := parts[0].Sequence(6)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{Raw: der, RawTBSCertificate: parts[0].Full, Version: 1}
	if fields[0].Is(ber.ContextSpecific, 0) {
		version, err := fields[0].Explicit()
		if err != nil {
			return nil, err
		}
		c.Version, fields = int(version.Int().Int64())+1, fields[1:]
	}
	if len(fields) < 6 || !fields[0].Is(ber.Universal, ber.Integer) || len(parts[2].Content) == 0 {
		return nil, errors.New("a field of the certificate is missing")
	}
	c.SerialNumber, c.RawIssuer, c.RawSubject, c.RawSubjectPublicKeyInfo = fields[0].Int(), fields[2].Full, fields[4].Full, fields[5].Full
	c.Signature = parts[2].Content[1:] // the first octet counts unused bits
	c.SignatureAlgorithm = signatureAlgorithm(parts[1])
	if err := setValidity(c, fields[3]); err != nil {
		return nil, err
	}
	for _, name := range []ber.Element{fields[2], fields[4]} {
		if _, err := readName(name); err != nil {
			return nil, fmt.Errorf("read name: %w", err)
		}
	}
	if c.PublicKey, err = publicKey(fields[5]); err != nil {
		return nil, err
	}
	for _, field := range fields[6:] {
		if field.Is(ber.ContextSpecific, 3) {
			if err := setExtensions(c, field); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// signatureAlgorithms are those that crypto/x509 verifies and that have no parameters.
var signatureAlgorithms = map[string]x509.SignatureAlgorithm{
	"1.2.840.113549.1.1.5":  x509.SHA1WithRSA,
	"1.2.840.113549.1.1.11": x509.SHA256WithRSA,
	"1.2.840.113549.1.1.12": x509.SHA384WithRSA,
	"1.2.840.113549.1.1.13": x509.SHA512WithRSA,
	"1.2.840.10045.4.1":     x509.ECDSAWithSHA1,
	"1.2.840.10045.4.3.2":   x509.ECDSAWithSHA256,
	"1.2.840.10045.4.3.3":   x509.ECDSAWithSHA384,
	"1.2.840.10045.4.3.4":   x509.ECDSAWithSHA512,
	"1.3.101.112":           x509.PureEd25519,
}

func signatureAlgorithm(e ber.Element) x509.SignatureAlgorithm {
	oid, _, err := e.Algorithm()
	if err != nil {
		return x509.UnknownSignatureAlgorithm
	}
	return signatureAlgorithms[oid]
}

func setValidity(c *x509.Certificate, e ber.Element) error {
	times, err := e.Sequence(2)
	if err != nil {
		return err
	}
	if c.NotBefore, err = readTime(times[0]); err != nil {
		return err
	}
	c.NotAfter, err = readTime(times[1])
	return err
}

// readTime reads a time with or without seconds, a fraction and an offset (X.680,
// sections 46 and 47), of which RFC 5280 allows less.
func readTime(e ber.Element) (time.Time, error) {
	layouts := []string{"20060102150405Z0700", "200601021504Z0700"}
	if e.Is(ber.Universal, ber.UTCTime) {
		layouts = []string{"060102150405Z0700", "0601021504Z0700"}
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, string(e.Content))
		if err != nil {
			continue
		}
		if e.Tag == ber.UTCTime && t.Year() >= 2050 { // RFC 5280, section 4.1.2.5.1
			t = t.AddDate(-100, 0, 0)
		}
		return t.UTC(), nil
	}
	return time.Time{}, errors.New("a time of the validity cannot be read")
}

func setExtensions(c *x509.Certificate, e ber.Element) error {
	list, err := e.Explicit()
	if err != nil {
		return err
	}
	extensions, err := list.Sequence(0)
	if err != nil {
		return err
	}
	for _, e := range extensions {
		parts, err := e.Sequence(2)
		if err != nil {
			return err
		}
		var extension pkix.Extension
		if _, err := asn1.Unmarshal(parts[0].Full, &extension.Id); err != nil {
			return fmt.Errorf("read extension: %w", err)
		}
		if extension.Value, err = parts[len(parts)-1].Octets(); err != nil {
			return err
		}
		extension.Critical = len(parts) > 2 && isTrue(parts[1])
		c.Extensions = append(c.Extensions, extension)
		if value, err := ber.Only(extension.Value); err == nil {
			setExtension(c, extension.Id, value)
		}
	}
	return nil
}

func isTrue(e ber.Element) bool {
	return e.Is(ber.Universal, ber.Boolean) && len(e.Content) == 1 && e.Content[0] != 0
}

// setExtension sets the fields that order a chain (RFC 5280, section 4.2.1). A value
// of another form is left out.
func setExtension(c *x509.Certificate, id asn1.ObjectIdentifier, value ber.Element) {
	switch id.String() {
	case "2.5.29.14":
		c.SubjectKeyId = value.Content
	case "2.5.29.15":
		if bits := value.Content; value.Is(ber.Universal, ber.BitString) && len(bits) > 1 {
			usage := asn1.BitString{Bytes: bits[1:], BitLength: 8 * (len(bits) - 1)}
			for i := range 9 {
				c.KeyUsage |= x509.KeyUsage(usage.At(i)) << i
			}
		}
	case "2.5.29.19":
		parts, err := value.Sequence(0)
		c.BasicConstraintsValid = err == nil
		c.IsCA = len(parts) > 0 && isTrue(parts[0])
	case "2.5.29.35":
		parts, err := value.Sequence(1)
		if err == nil && parts[0].Is(ber.ContextSpecific, 0) {
			c.AuthorityKeyId = parts[0].Content
		}
	}
}
