package certimport

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"slices"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/ber"
)

// PKCS12 reads a certificate, and its key and chain if there are any, from a PKCS#12
// file (RFC 7292, RFC 9579) in DER or BER, as OpenSSL, Java, Windows, NSS, GnuTLS and
// the like write it. The error's code is CodeInvalidCertificate, CodeChainMismatch or
// CodeKeyMismatch.
//
// Key derivations of more than 1,000,000 iterations, and of more than 8,000,000 in one
// file, are refused before they run.
func PKCS12(data []byte, passphrase engine.Secret) (engine.Bundle, error) {
	if len(data) > maxInput {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "the PKCS#12 file is %d bytes long; at most %d are accepted", len(data), maxInput)
	}
	file := pfx{passphrase: passphrase.Reveal(), unicode: unicodeForms(passphrase.Reveal()), iterations: maxAllIterations}
	defer file.clear()
	if err := file.read(data); err != nil {
		return engine.Bundle{}, err
	}
	certificates, err := file.parseCertificates()
	if err != nil {
		return engine.Bundle{}, err
	}
	var key crypto.Signer
	if len(file.keys) > 0 {
		if key, err = parseKeyDER(file.keys[0], engine.CodeInvalidCertificate); err != nil {
			return engine.Bundle{}, err
		}
	}
	return assemble(certificates, nil, key)
}

// The object identifiers of RFC 7292 and RFC 5652.
const (
	oidData          = "1.2.840.113549.1.7.1"
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidEnvelopedData = "1.2.840.113549.1.7.3"
	oidEncryptedData = "1.2.840.113549.1.7.6"
	oidKeyBag        = "1.2.840.113549.1.12.10.1.1"
	oidShroudedBag   = "1.2.840.113549.1.12.10.1.2"
	oidCertBag       = "1.2.840.113549.1.12.10.1.3"
	oidNestedBag     = "1.2.840.113549.1.12.10.1.6"
	oidX509          = "1.2.840.113549.1.9.22.1"
)

// maxNesting bounds SafeContents in SafeContents.
const maxNesting = 8

// pfx is a file that is being read: its passphrase, the iterations that it may still
// use, and the keys (PKCS#8) and different certificates (DER) that were found.
type pfx struct {
	passphrase   string
	unicode      [][]byte // forms of the passphrase that are possible for KDFs of PKCS#12
	iterations   int
	keys         [][]byte
	certificates [][]byte
}

func (f *pfx) clear() {
	for _, secret := range append(f.keys, f.unicode...) {
		clear(secret)
	}
}

func (f *pfx) read(data []byte) error {
	outer, err := ber.Only(data)
	if err != nil {
		return notPKCS12(data, err)
	}
	parts, err := outer.Sequence(2)
	if err != nil || !parts[0].Is(ber.Universal, ber.Integer) {
		return notPKCS12(data, err)
	}
	kind, content, err := contentInfo(parts[1])
	if err != nil {
		return notPKCS12(data, err)
	}
	if kind == oidSignedData {
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file is protected by a signature, which is not supported; write it again with a passphrase")
	}
	authenticated, err := content.Octets()
	if err != nil || kind != oidData {
		return notPKCS12(data, err)
	}
	if len(parts) > 2 {
		if err := f.checkMAC(parts[2], authenticated); err != nil {
			return err
		}
	}
	safe, err := ber.Only(authenticated)
	if err != nil {
		return damaged(err)
	}
	contents, err := safe.Sequence(0)
	if err != nil {
		return damaged(err)
	}
	for _, content := range contents {
		if err := f.readContent(content); err != nil {
			return err
		}
	}
	return nil
}

// contentInfo splits a ContentInfo (RFC 5652, section 3).
func contentInfo(e ber.Element) (kind string, content ber.Element, err error) {
	parts, err := e.Sequence(2)
	if err != nil {
		return "", content, err
	}
	content, err = parts[1].Explicit()
	return parts[0].OID(), content, err
}

func (f *pfx) readContent(e ber.Element) error {
	kind, content, err := contentInfo(e)
	if err != nil {
		return damaged(err)
	}
	switch kind {
	case oidData:
		bags, err := content.Octets()
		if err != nil {
			return damaged(err)
		}
		return f.readBags(bags, maxNesting)
	case oidEncryptedData:
		return f.readEncrypted(content)
	case oidEnvelopedData:
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file is encrypted for a public key, which is not supported; write it again with a passphrase")
	}
	return damaged(nil)
}

// readEncrypted reads an EncryptedData (RFC 5652, section 8).
func (f *pfx) readEncrypted(e ber.Element) error {
	parts, err := e.Sequence(2)
	if err != nil {
		return damaged(err)
	}
	info, err := parts[1].Sequence(3)
	if err != nil {
		return damaged(err)
	}
	text, err := info[2].Octets()
	if err != nil {
		return damaged(err)
	}
	bags, err := f.decrypt(info[1], text)
	if err != nil {
		return err
	}
	return f.readBags(bags, maxNesting)
}

func (f *pfx) readBags(data []byte, nesting int) error {
	if nesting == 0 {
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file has more than %d SafeContents in each other; write it again with openssl pkcs12 -export", maxNesting)
	}
	contents, err := ber.Only(data)
	if err != nil {
		return damaged(err)
	}
	bags, err := contents.Sequence(0)
	if err != nil {
		return damaged(err)
	}
	for _, bag := range bags {
		parts, err := bag.Sequence(2)
		if err != nil {
			return damaged(err)
		}
		value, err := parts[1].Explicit()
		if err != nil {
			return damaged(err)
		}
		if err := f.readBag(parts[0].OID(), value, nesting); err != nil {
			return err
		}
	}
	return nil
}

// readBag ignores bags of other kinds, such as revocation lists.
func (f *pfx) readBag(kind string, value ber.Element, nesting int) error {
	switch kind {
	case oidKeyBag:
		return f.addKey(bytes.Clone(value.Full))
	case oidShroudedBag:
		parts, err := value.Sequence(2)
		if err != nil {
			return damaged(err)
		}
		text, err := parts[1].Octets()
		if err != nil {
			return damaged(err)
		}
		key, err := f.decrypt(parts[0], text)
		if err != nil {
			return err
		}
		return f.addKey(key)
	case oidCertBag:
		parts, err := value.Sequence(2)
		if err != nil || parts[0].OID() != oidX509 {
			return damaged(err)
		}
		octets, err := parts[1].Explicit()
		if err != nil {
			return damaged(err)
		}
		der, err := octets.Octets()
		if err != nil {
			return damaged(err)
		}
		return f.addCertificate(der)
	case oidNestedBag:
		return f.readBags(value.Full, nesting-1)
	}
	return nil
}

func (f *pfx) addKey(pkcs8 []byte) error {
	f.keys = append(f.keys, pkcs8)
	if len(f.keys) > 1 {
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file has several private keys; export the one of this certificate into a file of its own, with keytool -importkeystore -srcalias or openssl pkcs12")
	}
	return nil
}

func (f *pfx) addCertificate(der []byte) error {
	if slices.ContainsFunc(f.certificates, func(other []byte) bool { return bytes.Equal(other, der) }) {
		return nil
	}
	f.certificates = append(f.certificates, der)
	if len(f.certificates) > maxCertificates {
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file has more than %d certificates; at most that many are accepted", maxCertificates)
	}
	return nil
}

func (f *pfx) parseCertificates() ([]*x509.Certificate, error) {
	if len(f.certificates) == 0 {
		return nil, engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file has no certificate; add the certificate of its key")
	}
	var certificates []*x509.Certificate
	for i, der := range f.certificates {
		c, err := parseCertificate(der)
		if err != nil {
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "certificate %d of the PKCS#12 file %s", i+1, err.Error()).Because(err)
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

// notPKCS12 says what a file is instead, if it is known.
func notPKCS12(data []byte, cause error) error {
	says := "the file is not PKCS#12, or it is damaged; export it again"
	switch {
	case bytes.Contains(data, []byte("-----BEGIN ")):
		says = "the file is PEM and not PKCS#12; import it as PEM"
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(data, []byte{0xce, 0xce, 0xce, 0xce}):
		says = "the file is a Java keystore and not PKCS#12; convert it with: keytool -importkeystore -deststoretype PKCS12"
	}
	return engine.Errorf(engine.CodeInvalidCertificate, "%s", says).Because(cause)
}

func damaged(cause error) error {
	return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file is damaged; export it again").Because(cause)
}

func wrongPassphrase() error {
	return engine.Errorf(engine.CodeInvalidCertificate, "the passphrase does not open the PKCS#12 file: the passphrase is wrong, or the file was changed")
}
