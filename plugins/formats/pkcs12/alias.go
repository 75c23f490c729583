package main

import (
	"crypto/hmac"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// These types describe the parts of a bundle that withAlias changes, in the only
// structure that the library writes (RFC 7292, section 4): first the encrypted
// certificates, beginning with the leaf, then the key in its own encrypted bag.
type (
	pfx struct {
		Version  int
		AuthSafe data
		MAC      mac
	}
	authenticatedSafe struct {
		Certificates encryptedData
		Key          data
	}
	data struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	encryptedData struct {
		Type    asn1.ObjectIdentifier
		Content struct {
			Version int
			Info    struct {
				Type      asn1.ObjectIdentifier
				Algorithm pkix.AlgorithmIdentifier
				Encrypted []byte `asn1:"tag:0"`
			}
		} `asn1:"explicit,tag:0"`
	}
	mac struct {
		Info struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue
		Attributes []attribute `asn1:"set,optional"`
	}
	attribute struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
)

// friendlyName is the attribute for a name (RFC 2985, section 5.5.1).
var friendlyName = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}

// withAlias adds a name to the key and the leaf of a bundle that was encoded with
// the profile, as openssl pkcs12 -name does. It encrypts the certificates again with
// the same key, salt and IV; that is safe because the first version is never
// published. Then it computes the MAC again.
func (p profile) withAlias(bundle []byte, alias, passphrase string) ([]byte, error) {
	file, err := decode[pfx](bundle)
	if err != nil {
		return nil, err
	}
	safe, err := decode[authenticatedSafe](file.AuthSafe.Content)
	if err != nil {
		return nil, err
	}
	if safe.Key.Content, err = nameFirstBag(safe.Key.Content, alias); err != nil {
		return nil, err
	}
	info := &safe.Certificates.Content.Info
	block, iv, err := p.cipher(p, info.Algorithm.Parameters.FullBytes, passphrase)
	if err != nil {
		return nil, err
	}
	bags, err := decrypt(block, iv, info.Encrypted)
	if err != nil {
		return nil, err
	}
	if bags, err = nameFirstBag(bags, alias); err != nil {
		return nil, err
	}
	info.Encrypted = encrypt(block, iv, bags)
	if file.AuthSafe.Content, err = asn1.Marshal(safe); err != nil {
		return nil, err
	}
	digest := hmac.New(p.hash, p.derive(forMAC, passphrase, file.MAC.Salt, file.MAC.Iterations, p.hash().Size()))
	digest.Write(file.AuthSafe.Content)
	file.MAC.Info.Digest = digest.Sum(nil)
	return asn1.Marshal(file)
}

// nameFirstBag adds the name to the first of the bags.
func nameFirstBag(contents []byte, alias string) ([]byte, error) {
	bags, err := decode[[]safeBag](contents)
	if err != nil {
		return nil, err
	}
	if len(bags) == 0 {
		return nil, errors.New("the bundle has no bag to name")
	}
	value := asn1.RawValue{Tag: asn1.TagBMPString, Bytes: bmpString(alias)}
	bags[0].Attributes = append(bags[0].Attributes, attribute{friendlyName, []asn1.RawValue{value}})
	return asn1.Marshal(bags)
}

// decode parses der and refuses data after the value.
func decode[T any](der []byte) (value T, err error) {
	rest, err := asn1.Unmarshal(der, &value)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is data after the value")
	}
	if err != nil {
		return value, fmt.Errorf("parse the bundle: %w", err)
	}
	return value, nil
}

func bmpString(text string) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = binary.BigEndian.AppendUint16(encoded, unit)
	}
	return encoded
}
