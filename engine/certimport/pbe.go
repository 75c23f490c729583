package certimport

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // files of the field are encrypted with it
	"crypto/hmac"
	"crypto/pbkdf2"
	_ "crypto/sha1" //nolint:gosec // likewise
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"math/big"
	"unicode/utf16"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/ber"
)

// maxIterations bounds each key derivation to about 0.2 s, and maxAllIterations those
// of one file. Windows refuses files with more than 600,000; GnuTLS derives a key for
// each certificate.
const (
	maxIterations    = 1_000_000
	maxAllIterations = 8_000_000
	maxMACKey        = 128 // bytes
)

// hashes are those of the MACs of PKCS#12, and, by their HMAC, those of PBKDF2
// (RFC 8018, appendix B.1) and PBMAC1.
var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.4": crypto.SHA224,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
	"2.16.840.1.101.3.4.2.5": crypto.SHA512_224,
	"2.16.840.1.101.3.4.2.6": crypto.SHA512_256,
	"1.2.840.113549.2.7":     crypto.SHA1,
	"1.2.840.113549.2.8":     crypto.SHA224,
	"1.2.840.113549.2.9":     crypto.SHA256,
	"1.2.840.113549.2.10":    crypto.SHA384,
	"1.2.840.113549.2.11":    crypto.SHA512,
	"1.2.840.113549.2.12":    crypto.SHA512_224,
	"1.2.840.113549.2.13":    crypto.SHA512_256,
}

const (
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBMAC1 = "1.2.840.113549.1.5.14"
)

// blockCipher is a cipher in CBC mode with the length of its key in bytes.
type blockCipher struct {
	keyLength int
	open      func(key []byte) (cipher.Block, error)
}

// legacyCiphers are those of RFC 7292, appendix C, apart from RC4.
var legacyCiphers = map[string]blockCipher{
	"1.2.840.113549.1.12.1.3": {24, des.NewTripleDESCipher},
	"1.2.840.113549.1.12.1.4": {16, newTwoKeyDES},
	"1.2.840.113549.1.12.1.5": {16, newRC2},
	"1.2.840.113549.1.12.1.6": {5, newRC2},
}

func newTwoKeyDES(key []byte) (cipher.Block, error) {
	return des.NewTripleDESCipher(append(key, key[:8]...)) //nolint:gosec // files of the field are encrypted with it
}

// pbes2Ciphers are those of RFC 8018, appendix B.2, that are in use.
var pbes2Ciphers = map[string]blockCipher{
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
}

// unicodeForms are the forms of a passphrase in UTF-16 with a terminator (RFC 7292,
// appendix B.1). Without a passphrase, some software uses no bytes at all. OpenSSL
// before 1.1.0 took each byte of UTF-8 for a character.
func unicodeForms(passphrase string) [][]byte {
	forms := [][]byte{bigEndian(utf16.Encode([]rune(passphrase)))}
	if passphrase == "" {
		return append(forms, []byte{})
	}
	var octets []uint16
	for i := range len(passphrase) {
		octets = append(octets, uint16(passphrase[i]))
	}
	if form := bigEndian(octets); !bytes.Equal(form, forms[0]) {
		forms = append(forms, form)
	}
	return forms
}

func bigEndian(units []uint16) []byte {
	var b []byte
	for _, unit := range units {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return append(b, 0, 0)
}

// spend takes the iterations of that many key derivations off what the file may use.
func (f *pfx) spend(count *big.Int, derivations int) (int, error) {
	if !count.IsInt64() || count.Int64() < 1 || count.Int64() > maxIterations {
		return 0, engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file sets %.40s iterations of its key derivation; 1 to %d are accepted", count, maxIterations)
	}
	n := int(count.Int64())
	if f.iterations -= n * derivations; f.iterations < 0 {
		return 0, engine.Errorf(engine.CodeInvalidCertificate, "the key derivations of the PKCS#12 file have more than %d iterations together; write it again with fewer", maxAllIterations)
	}
	return n, nil
}

func unsupported(what, oid string) error {
	return engine.Errorf(engine.CodeInvalidCertificate, "the PKCS#12 file uses the %s %.60s, which is not supported; write it again with openssl pkcs12 -export", what, oid)
}

// checkMAC verifies a MacData (RFC 7292, section 4) and keeps the form of the
// passphrase that it fits.
func (f *pfx) checkMAC(e ber.Element, content []byte) error {
	parts, err := e.Sequence(2)
	if err != nil {
		return damaged(err)
	}
	info, err := parts[0].Sequence(2)
	if err != nil {
		return damaged(err)
	}
	algorithm, parameters, err := info[0].Algorithm()
	if err != nil {
		return damaged(err)
	}
	want, err := info[1].Octets()
	if err != nil {
		return damaged(err)
	}
	if algorithm == oidPBMAC1 {
		return f.checkPBMAC1(parameters, content, want)
	}
	h, ok := hashes[algorithm]
	if !ok {
		return unsupported("hash algorithm", algorithm)
	}
	salt, err := parts[1].Octets()
	if err != nil {
		return damaged(err)
	}
	count := big.NewInt(1)
	if len(parts) > 2 {
		count = parts[2].Int()
	}
	for _, form := range f.unicode {
		n, err := f.spend(count, 1)
		if err != nil {
			return err
		}
		if sameMAC(h, pkcs12KDF(h, form, salt, n, 3, h.Size()), content, want) {
			f.unicode = [][]byte{form}
			return nil
		}
	}
	return wrongPassphrase()
}

func sameMAC(h crypto.Hash, key, content, want []byte) bool {
	mac := hmac.New(h.New, key)
	mac.Write(content)
	return subtle.ConstantTimeCompare(mac.Sum(nil), want) == 1
}

// checkPBMAC1 verifies a MAC of RFC 9579.
func (f *pfx) checkPBMAC1(e ber.Element, content, want []byte) error {
	kdf, scheme, err := kdfAndScheme(e)
	if err != nil {
		return err
	}
	oid, _, err := scheme.Algorithm()
	if err != nil {
		return damaged(err)
	}
	h, ok := hashes[oid]
	if !ok {
		return unsupported("MAC algorithm", oid)
	}
	if kdf.keyLength < 1 || kdf.keyLength > maxMACKey {
		return engine.Errorf(engine.CodeInvalidCertificate, "the MAC key of the PKCS#12 file has %d bytes; 1 to %d are accepted", kdf.keyLength, maxMACKey)
	}
	key, err := f.pbkdf2(kdf, kdf.keyLength)
	if err != nil {
		return err
	}
	if !sameMAC(h, key, content, want) {
		return wrongPassphrase()
	}
	return nil
}

// decrypt decrypts with the passphrase by PBES2 (RFC 8018, section 6.2) or by an
// algorithm of RFC 7292, appendix C.
func (f *pfx) decrypt(algorithm ber.Element, text []byte) ([]byte, error) {
	oid, parameters, err := algorithm.Algorithm()
	if err != nil {
		return nil, damaged(err)
	}
	if oid == oidPBES2 {
		return f.decryptPBES2(parameters, text)
	}
	c, ok := legacyCiphers[oid]
	if !ok {
		return nil, unsupported("encryption", oid)
	}
	parts, err := parameters.Sequence(2)
	if err != nil {
		return nil, damaged(err)
	}
	salt, err := parts[0].Octets()
	if err != nil {
		return nil, damaged(err)
	}
	for _, form := range f.unicode {
		n, err := f.spend(parts[1].Int(), 2) // for the key and for the IV
		if err != nil {
			return nil, err
		}
		key := pkcs12KDF(crypto.SHA1, form, salt, n, 1, c.keyLength)
		iv := pkcs12KDF(crypto.SHA1, form, salt, n, 2, des.BlockSize)
		if clear, err := decryptCBC(c, key, iv, text); err == nil {
			return clear, nil
		}
	}
	return nil, wrongPassphrase()
}

func (f *pfx) decryptPBES2(e ber.Element, text []byte) ([]byte, error) {
	kdf, scheme, err := kdfAndScheme(e)
	if err != nil {
		return nil, err
	}
	oid, parameters, err := scheme.Algorithm()
	if err != nil {
		return nil, damaged(err)
	}
	c, ok := pbes2Ciphers[oid]
	if !ok {
		return nil, unsupported("cipher", oid)
	}
	iv, err := parameters.Octets()
	if err != nil {
		return nil, damaged(err)
	}
	key, err := f.pbkdf2(kdf, c.keyLength)
	if err != nil {
		return nil, err
	}
	return decryptCBC(c, key, iv, text)
}

// decryptCBC decrypts one ASN.1 value and removes its padding (RFC 8018, section
// 6.1.1). Without the right key, one of the two is wrong.
func decryptCBC(c blockCipher, key, iv, text []byte) ([]byte, error) {
	block, err := c.open(key)
	if err != nil {
		return nil, damaged(err)
	}
	size := block.BlockSize()
	if len(iv) != size || len(text) == 0 || len(text)%size != 0 {
		return nil, damaged(nil)
	}
	clear := make([]byte, len(text))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(clear, text)
	padding := int(clear[len(clear)-1])
	if padding < 1 || padding > size || !bytes.Equal(clear[len(clear)-padding:], bytes.Repeat(clear[len(clear)-1:], padding)) {
		return nil, wrongPassphrase()
	}
	clear = clear[:len(clear)-padding]
	if _, err := ber.Only(clear); err != nil {
		return nil, wrongPassphrase()
	}
	return clear, nil
}

// pbkdf2Parameters are those of RFC 8018, appendix A.2.
type pbkdf2Parameters struct {
	salt       []byte
	iterations *big.Int
	keyLength  int // in bytes, 0 if it is left out
	hash       crypto.Hash
}

// kdfAndScheme splits PBES2-params and PBMAC1-params (RFC 8018, appendices A.4 and
// A.5).
func kdfAndScheme(e ber.Element) (kdf pbkdf2Parameters, scheme ber.Element, err error) {
	outer, err := e.Sequence(2)
	if err != nil {
		return kdf, scheme, damaged(err)
	}
	oid, parameters, err := outer[0].Algorithm()
	if err != nil {
		return kdf, scheme, damaged(err)
	}
	if oid != oidPBKDF2 {
		return kdf, scheme, unsupported("key derivation", oid)
	}
	parts, err := parameters.Sequence(2)
	if err != nil {
		return kdf, scheme, damaged(err)
	}
	if kdf.salt, err = parts[0].Octets(); err != nil {
		return kdf, scheme, damaged(err)
	}
	kdf.iterations, kdf.hash = parts[1].Int(), crypto.SHA1
	for _, part := range parts[2:] {
		if part.Is(ber.Universal, ber.Integer) {
			if length := part.Int(); length.IsInt64() {
				kdf.keyLength = int(length.Int64())
			}
			continue
		}
		prf, _, err := part.Algorithm()
		if err != nil {
			return kdf, scheme, damaged(err)
		}
		if kdf.hash = hashes[prf]; kdf.hash == 0 {
			return kdf, scheme, unsupported("pseudorandom function", prf)
		}
	}
	return kdf, outer[1], nil
}

func (f *pfx) pbkdf2(p pbkdf2Parameters, keyLength int) ([]byte, error) {
	n, err := f.spend(p.iterations, 1)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(func() hash.Hash { return p.hash.New() }, f.passphrase, p.salt, n, keyLength)
	if err != nil {
		return nil, damaged(err)
	}
	return key, nil
}

// pkcs12KDF derives a key (purpose 1), an IV (2) or a MAC key (3) as RFC 7292, appendix
// B.2, says.
func pkcs12KDF(h crypto.Hash, passphrase, salt []byte, iterations int, purpose byte, length int) []byte {
	v := h.New().BlockSize()
	in := append(repeated(salt, v), repeated(passphrase, v)...)
	diversifier := bytes.Repeat([]byte{purpose}, v)
	var out []byte
	for {
		digest := h.New()
		digest.Write(diversifier)
		digest.Write(in)
		sum := digest.Sum(nil)
		for range iterations - 1 {
			digest.Reset()
			digest.Write(sum)
			sum = digest.Sum(sum[:0])
		}
		if out = append(out, sum...); len(out) >= length {
			return out[:length]
		}
		addOne := new(big.Int).Add(new(big.Int).SetBytes(repeated(sum, v)[:v]), big.NewInt(1))
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(8*v))
		for block := in; len(block) > 0; block = block[v:] {
			next := new(big.Int).Add(new(big.Int).SetBytes(block[:v]), addOne)
			next.Mod(next, modulus).FillBytes(block[:v])
		}
	}
}

// repeated is b repeated to the next multiple of v bytes; nothing stays nothing.
func repeated(b []byte, v int) []byte {
	if len(b) == 0 {
		return nil
	}
	size := (len(b) + v - 1) / v * v
	return bytes.Repeat(b, size/len(b)+1)[:size]
}
