package certimport

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign/engine"
)

// maxIterations bounds each key derivation to about 0.2 s. Windows refuses files
// with more than 600,000.
const maxIterations = 1_000_000

// The structures of RFC 7292 and RFC 8018 as the library declares them. Both use
// encoding/asn1, so both see the same counts.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData `asn1:"optional"`
	}
	contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac        digestInfo
		MacSalt    []byte
		Iterations int `asn1:"optional,default:1"`
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	encryptedData struct {
		Version int
		Content encryptedContentInfo
	}
	encryptedContentInfo struct {
		ContentType asn1.ObjectIdentifier
		Algorithm   pkix.AlgorithmIdentifier
		Content     []byte `asn1:"tag:0,optional"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue   `asn1:"tag:0,explicit"`
		Attributes []asn1.RawValue `asn1:"set,optional"`
	}
	encryptedPrivateKeyInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Content   []byte
	}
	pbeParams struct { // RFC 7292, appendix C
		Salt       []byte
		Iterations int
	}
	kdfAndScheme struct { // PBES2-params and PBMAC1-params
		KDF    pkix.AlgorithmIdentifier
		Scheme pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       asn1.RawValue
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBE           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1} // the arc of the PBE algorithms of PKCS#12
	oidPBKDF2        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPBES2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBMAC1        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidHMACSHA256    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
)

// inspected is a file whose visible key derivations are within the limits, with its
// visible and its encrypted parts.
type inspected struct {
	hasMAC             bool
	visible, encrypted []contentInfo
}

// inspect checks the parts of a file that are visible without its passphrase.
func inspect(data []byte) (inspected, error) {
	var file pfx
	var content asn1.RawValue
	var parts []contentInfo
	err := errors.Join(unmarshal(data, &file), unmarshal(file.AuthSafe.Content.Bytes, &content), unmarshal(content.Bytes, &parts))
	if err != nil || !file.AuthSafe.ContentType.Equal(oidData) {
		return inspected{}, unreadable(err)
	}
	safe := inspected{hasMAC: len(file.MacData.Mac.Algorithm.Algorithm) > 0}
	if safe.hasMAC {
		if err := checkMAC(file.MacData); err != nil {
			return inspected{}, err
		}
	}
	keys := 0
	for _, part := range parts {
		if part.ContentType.Equal(oidEncryptedData) {
			safe.encrypted = append(safe.encrypted, part)
			err = checkEncrypted(part)
		} else {
			var found int
			safe.visible = append(safe.visible, part)
			found, err = checkBags(part)
			keys += found
		}
		if err != nil {
			return inspected{}, err
		}
	}
	if keys != 1 {
		return inspected{}, engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file has %d visible private keys and must have one; write it again with openssl pkcs12 -export, or import a certificate without a key as PEM", keys)
	}
	return safe, nil
}

func checkMAC(mac macData) error {
	if mac.Mac.Algorithm.Algorithm.Equal(oidPBMAC1) {
		return checkDerivation(mac.Mac.Algorithm)
	}
	return checkIterations(mac.Iterations)
}

func checkEncrypted(part contentInfo) error {
	var data encryptedData
	if err := unmarshal(part.Content.Bytes, &data); err != nil {
		return unreadable(err)
	}
	return checkDerivation(data.Content.Algorithm)
}

// checkBags checks the key bags of unencrypted content and counts them.
func checkBags(part contentInfo) (keys int, err error) {
	var data []byte
	var bags []safeBag
	if err := errors.Join(unmarshal(part.Content.Bytes, &data), unmarshal(data, &bags)); err != nil || !part.ContentType.Equal(oidData) {
		return 0, unreadable(err)
	}
	for _, bag := range bags {
		shrouded := bag.ID.Equal(oidShroudedBag)
		if !shrouded && !bag.ID.Equal(oidKeyBag) {
			continue
		}
		keys++
		if length := len(bag.Value.Bytes); length > maxKeyDER {
			return 0, engine.Errorf(engine.CodeInvalidCertificate, "the private key in the PKCS#12 file is %d bytes long; at most %d are accepted", length, maxKeyDER)
		}
		var key encryptedPrivateKeyInfo
		if shrouded {
			if err := unmarshal(bag.Value.Bytes, &key); err != nil {
				return 0, unreadable(err)
			}
			if err := checkDerivation(key.Algorithm); err != nil {
				return 0, err
			}
		}
	}
	return keys, nil
}

// checkDerivation bounds the iterations of an encryption or MAC algorithm.
func checkDerivation(algorithm pkix.AlgorithmIdentifier) error {
	id := algorithm.Algorithm
	switch {
	case len(id) == len(oidPBE)+1 && slices.Equal(id[:len(oidPBE)], oidPBE):
		var params pbeParams
		if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
			return unreadable(err)
		}
		return checkIterations(params.Iterations)
	case id.Equal(oidPBES2) || id.Equal(oidPBMAC1):
		var outer kdfAndScheme
		var params pbkdf2Params
		err := errors.Join(unmarshal(algorithm.Parameters.FullBytes, &outer), unmarshal(outer.KDF.Parameters.FullBytes, &params))
		if err != nil || !outer.KDF.Algorithm.Equal(oidPBKDF2) {
			return unreadable(err)
		}
		return checkIterations(params.Iterations)
	}
	return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file uses the algorithm %.60s, which is not accepted; write it again with openssl pkcs12 -export", id)
}

func checkIterations(n int) error {
	if n < 1 || n > maxIterations {
		return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file sets %d iterations of its key derivation; 1 to %d are accepted", n, maxIterations)
	}
	return nil
}

// unmarshal parses DER without trailing data.
func unmarshal(in []byte, out any) error {
	rest, err := asn1.Unmarshal(in, out)
	if err == nil && len(rest) > 0 {
		err = errors.New("trailing data")
	}
	if err != nil {
		return fmt.Errorf("parse DER: %w", err)
	}
	return nil
}

// reordered is the file with its visible parts first. A new MAC with one iteration
// replaces the file's own, if it has one.
func (s inspected) reordered(passphrase engine.Secret) ([]byte, error) {
	content, err := asn1.Marshal(append(slices.Clip(s.visible), s.encrypted...))
	if err != nil {
		return nil, unreadable(err)
	}
	octets, err := asn1.Marshal(content)
	if err != nil {
		return nil, unreadable(err)
	}
	file := pfx{Version: 3, AuthSafe: contentInfo{ContentType: oidData, Content: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: octets}}}
	if s.hasMAC {
		if file.MacData.Mac, err = pbmac1(content, passphrase); err != nil {
			return nil, unreadable(err)
		}
	}
	text, err := asn1.Marshal(file)
	if err != nil {
		return nil, unreadable(err)
	}
	return text, nil
}

// pbmac1 is a MAC over content (RFC 9579). It protects nothing; the library needs it
// to read the reordered file.
func pbmac1(content []byte, passphrase engine.Secret) (digestInfo, error) {
	salt := []byte("countersign")
	key, err := pbkdf2.Key(sha256.New, passphrase.Reveal(), salt, 1, sha256.Size)
	if err != nil {
		return digestInfo{}, err
	}
	hmacSHA256 := pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256}
	kdf := pbkdf2Params{Salt: asn1.RawValue{Tag: asn1.TagOctetString, Bytes: salt}, Iterations: 1, KeyLength: sha256.Size, PRF: hmacSHA256}
	kdfDER, err := asn1.Marshal(kdf)
	if err != nil {
		return digestInfo{}, err
	}
	params, err := asn1.Marshal(kdfAndScheme{
		KDF:    pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: kdfDER}},
		Scheme: hmacSHA256,
	})
	if err != nil {
		return digestInfo{}, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	return digestInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidPBMAC1, Parameters: asn1.RawValue{FullBytes: params}},
		Digest:    mac.Sum(nil),
	}, nil
}
