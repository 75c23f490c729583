package certimport

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/countersign-dev/countersign/engine"
)

// The structures of RFC 7292 and RFC 8018, for files that no software writes.
type (
	pfxFile struct {
		Version  int
		AuthSafe contentDER
		MacData  macData `asn1:"optional"`
	}
	contentDER struct {
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
		Content encryptedContentDER
	}
	encryptedContentDER struct {
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
	schemeDER struct { // PBES2-params and PBMAC1-params
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

// pbmac1 is a MAC over content (RFC 9579).
func pbmac1(content []byte, passphrase engine.Secret) (digestInfo, error) {
	salt := []byte("countersign")
	key, err := pbkdf2.Key(sha256.New, passphrase.Reveal(), salt, 1, sha256.Size)
	if err != nil {
		return digestInfo{}, err
	}
	hmacSHA256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}
	kdf := pbkdf2Params{Salt: asn1.RawValue{Tag: asn1.TagOctetString, Bytes: salt}, Iterations: 1, KeyLength: sha256.Size, PRF: hmacSHA256}
	kdfDER, err := asn1.Marshal(kdf)
	if err != nil {
		return digestInfo{}, err
	}
	params, err := asn1.Marshal(schemeDER{
		KDF:    pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, Parameters: asn1.RawValue{FullBytes: kdfDER}},
		Scheme: hmacSHA256,
	})
	if err != nil {
		return digestInfo{}, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	return digestInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}, Parameters: asn1.RawValue{FullBytes: params}},
		Digest:    mac.Sum(nil),
	}, nil
}
