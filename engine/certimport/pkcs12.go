package certimport

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

// PKCS12 reads a certificate with its key, and its chain if there is one, from a
// DER-encoded PKCS#12 file (RFC 7292) of OpenSSL, Java, Windows or the like. The
// error's code is CodeInvalidCertificate, CodeChainMismatch or CodeKeyMismatch.
//
// Key derivations of more than 1,000,000 iterations are refused before any runs.
func PKCS12(data []byte, passphrase engine.Secret) (bundle engine.Bundle, err error) {
	defer func() {
		if cause := recover(); cause != nil { // the library panics on some files
			bundle, err = engine.Bundle{}, unreadable(fmt.Errorf("decoding panicked: %v", cause))
		}
	}()
	if len(data) > maxInput {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "the PKCS#12 file is %d bytes long; at most %d are accepted", len(data), maxInput)
	}
	safe, err := inspect(data)
	if err != nil {
		return engine.Bundle{}, err
	}
	// A key bag in encrypted content has an iteration count that inspect cannot see.
	// With the visible parts first, the library reads the inspected key first and
	// refuses a second key before it derives anything for it.
	visibleFirst, err := safe.reordered(passphrase)
	if err != nil {
		return engine.Bundle{}, err
	}
	if _, _, _, err := pkcs12.DecodeChain(visibleFirst, passphrase.Reveal()); err != nil {
		return engine.Bundle{}, explain(data, passphrase, err)
	}
	key, first, rest, err := pkcs12.DecodeChain(data, passphrase.Reveal())
	if err != nil {
		return engine.Bundle{}, explain(data, passphrase, err)
	}
	signer, err := asSigner(key)
	if err != nil {
		return engine.Bundle{}, err
	}
	return assemble(append([]*x509.Certificate{first}, rest...), nil, signer)
}

// explain turns the library's error into ours. With a wrong passphrase the
// reordered file fails in many ways, so the MAC of the original file is checked.
func explain(data []byte, passphrase engine.Secret, failure error) error {
	_, wrong := pkcs12.DecodeTrustStore(data, passphrase.Reveal()) // checks the MAC and never a key
	// PKCS#12 passphrases are UCS-2, and the library accepts no others.
	outsideUCS2 := strings.ContainsFunc(passphrase.Reveal(), func(r rune) bool { return r > 0xffff })
	if outsideUCS2 || errors.Is(failure, pkcs12.ErrIncorrectPassword) || errors.Is(wrong, pkcs12.ErrIncorrectPassword) {
		return engine.Errorf(engine.CodeInvalidCertificate, "the passphrase does not open the PKCS#12 file: the passphrase is wrong, or the file was changed")
	}
	return unreadable(failure)
}

func unreadable(cause error) error {
	return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file cannot be read; give a DER file with one key and its certificate, as openssl pkcs12 -export writes it").Because(cause)
}
