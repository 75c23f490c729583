package certimport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

const passphrase = "correct horse 12"

// opensslFiles leaves an RSA leaf under an intermediate and a root, in PEM.
const opensslFiles = `
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -subj /CN=root -days 30 -out root.pem
printf 'basicConstraints=critical,CA:TRUE\n' >ca.ext
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout one.key -subj /CN=one -out one.csr
openssl x509 -req -in one.csr -CA root.pem -CAkey root.key -extfile ca.ext -days 30 -out one.pem
openssl req -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=leaf -out leaf.csr
openssl x509 -req -in leaf.csr -CA one.pem -CAkey one.key -days 30 -out cert.pem
cat one.pem root.pem >chain.pem
openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der
bundle() { openssl pkcs12 -export -inkey key.pem -in cert.pem -certfile chain.pem "$@" ; }
p='pass:` + passphrase + `'
`

func TestPKCS12OfOpenSSL(t *testing.T) {
	file := shell(t, opensslFiles+`
bundle -passout "$p" -out default
bundle -passout "$p" -legacy -out legacy
bundle -passout "$p" -descert -out descert
bundle -passout "$p" -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -out 3des
bundle -passout "$p" -keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-RC2-40 -macalg sha1 -provider legacy -provider default -out rc2
bundle -passout "$p" -keypbe AES-128-CBC -certpbe AES-192-CBC -macalg sha512 -out aes
bundle -passout "$p" -keypbe NONE -certpbe NONE -out unencrypted
bundle -passout "$p" -certpbe NONE -out visible
bundle -passout "$p" -iter 600000 -maciter -out windows-most
bundle -passout "$p" -name www -caname one -caname root -out named
`)
	for _, name := range []string{"default", "legacy", "descert", "3des", "rc2", "aes", "unencrypted", "visible", "windows-most", "named"} {
		b, err := PKCS12([]byte(file(name)), passphrase)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if names(b) != "leaf one" || string(b.PrivateKey) != file("key.der") {
			t.Errorf("%s: %s with a key of %d bytes", name, names(b), len(b.PrivateKey))
		}
		if name == "windows-most" {
			continue // takes a second for each passphrase
		}
		for _, wrong := range []engine.Secret{"", "correct horse 13", "pässword", "\xff\xfe", "𝄞"} {
			_, err := PKCS12([]byte(file(name)), wrong)
			if text := refusal(t, name, err, engine.CodeInvalidCertificate, passphrase, file("key.der")); !strings.Contains(text, "passphrase does not open") {
				t.Errorf("%s with the passphrase %q: the error says %q", name, wrong.Reveal(), text)
			}
		}
	}
}

func TestPKCS12WithoutPassphrase(t *testing.T) {
	file := shell(t, opensslFiles+`
bundle -passout pass: -out empty
bundle -passout pass: -legacy -out legacy
bundle -passout pass: -keypbe NONE -certpbe NONE -nomac -out bare
`)
	for _, name := range []string{"empty", "legacy", "bare"} {
		b, err := PKCS12([]byte(file(name)), "")
		if err != nil || names(b) != "leaf one" || string(b.PrivateKey) != file("key.der") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "bare" {
			continue // nothing in it depends on a passphrase
		}
		_, err = PKCS12([]byte(file(name)), passphrase)
		refusal(t, name, err, engine.CodeInvalidCertificate, passphrase)
	}
}

func TestPKCS12OfJava(t *testing.T) {
	if !installed("keytool") {
		t.Fatal("keytool is missing: install a Java runtime, or take it out of the list of supported importers")
	}
	file := shell(t, "keytool -genkeypair -keyalg EC -groupname secp384r1 -dname CN=java -alias a -keystore ks -storetype PKCS12 -storepass '"+passphrase+"'")
	b, err := PKCS12([]byte(file("ks")), passphrase)
	if err != nil || names(b) != "java" || b.PrivateKey == nil {
		t.Errorf("%v", err)
	}
}

func TestPKCS12OfEveryEncoder(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	end := leaf(t, "leaf", one)
	for name, encoder := range map[string]*pkcs12.Encoder{
		"LegacyRC2": pkcs12.LegacyRC2, "LegacyDES": pkcs12.LegacyDES, "Modern2023": pkcs12.Modern2023,
		"Modern2026, PBMAC1": pkcs12.Modern2026,
	} {
		data, err := encoder.Encode(end.key, end.Certificate, []*x509.Certificate{root.Certificate, one.Certificate}, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		b, err := PKCS12(data, passphrase)
		if err != nil || names(b) != "leaf one" || b.PrivateKey == nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, cut := range [][]byte{data[:len(data)-1], append(bytes.Clone(data), 0), data[1:]} {
			_, err := PKCS12(cut, passphrase)
			refusal(t, name, err, engine.CodeInvalidCertificate, passphrase)
		}
	}
}

func TestPKCS12WithContentThatDoesNotBelongTogether(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	end, other := leaf(t, "leaf", one), leaf(t, "other", one)
	for name, c := range map[string]struct {
		key  *identity
		leaf *identity
		rest []*identity
		code engine.Code
	}{
		"another key": {other, end, nil, engine.CodeKeyMismatch},
		"two leaves":  {end, end, []*identity{other}, engine.CodeInvalidCertificate},
		"a stray":     {end, end, []*identity{one, ca(t, "stray", nil)}, engine.CodeChainMismatch},
	} {
		var rest []*x509.Certificate
		for _, id := range c.rest {
			rest = append(rest, id.Certificate)
		}
		data, err := pkcs12.Modern2023.Encode(c.key.key, c.leaf.Certificate, rest, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		_, err = PKCS12(data, passphrase)
		refusal(t, name, err, c.code, passphrase)
	}
	file := shell(t, opensslFiles+`openssl pkcs12 -export -nokeys -in cert.pem -passout "$p" -out no-key`)
	b, err := PKCS12([]byte(file("no-key")), passphrase)
	if err != nil || names(b) != "leaf" || b.PrivateKey != nil {
		t.Errorf("a file without a key: %v", err)
	}
}

func TestPKCS12Garbage(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("garbage"), "an empty sequence": {0x30, 0},
		"PEM": []byte(pemOf(leaf(t, "leaf", nil))), "a certificate": leaf(t, "leaf", nil).Raw,
	} {
		_, err := PKCS12(data, passphrase)
		refusal(t, name, err, engine.CodeInvalidCertificate, passphrase)
	}
	_, err := PKCS12(make([]byte, maxInput+1), passphrase)
	refusal(t, "huge", err, engine.CodeInvalidRequest)
}

// absurd is an iteration count that would run for hours.
const absurd = 1 << 40

func TestAbsurdIterationCountsAreRefused(t *testing.T) {
	for n, taken := range map[int]bool{-1: false, 0: false, 1: true, maxIterations: true, maxIterations + 1: false, absurd: false} {
		file := pfx{iterations: maxAllIterations}
		if _, err := file.spend(big.NewInt(int64(n)), 1); (err == nil) != taken {
			t.Errorf("%d iterations: %v", n, err)
		}
	}
	end := leaf(t, "leaf", nil)
	for name, encoder := range map[string]*pkcs12.Encoder{
		"MAC, encryption of certificates and key": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026,
		"RC2": pkcs12.LegacyRC2.WithIterations(2048), "3DES": pkcs12.LegacyDES.WithIterations(2048),
	} {
		data, err := encoder.Encode(end.key, end.Certificate, nil, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		// Each place in the file that names 2048 iterations in turn names another
		// number of the same length. Without a MAC, nothing else is wrong.
		var file pfxFile
		if _, err := asn1.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		file.MacData = macData{}
		count := 0
		for _, data := range [][]byte{data, der(t, file)} {
			whole := len(data) > len(der(t, file))
			for at := 0; ; count++ {
				i := bytes.Index(data[at:], []byte{2, 2, 8, 0})
				if i < 0 {
					break
				}
				at += i + 4
				for _, number := range [][]byte{{0x80, 0}, {0, 0}} { // -32768 and 0
					changed := bytes.Clone(data)
					copy(changed[at-2:], number)
					_, err := PKCS12(changed, passphrase)
					text := refusal(t, name, err, engine.CodeInvalidCertificate)
					if !strings.Contains(text, "iterations") && !(whole && strings.Contains(text, "was changed")) {
						t.Errorf("%s, place %d: the error says %q", name, count, text)
					}
				}
			}
		}
		if count < 5 {
			t.Errorf("%s: %d places were found, want those of certificates and key twice, and that of the MAC", name, count)
		}
	}
}

// TestHiddenIterationCountsAreNotRun puts a second key, with an absurd count, into
// the encrypted content, where nobody can see the count before decrypting.
func TestHiddenIterationCountsAreNotRun(t *testing.T) {
	end := leaf(t, "leaf", nil)
	key, err := x509.MarshalPKCS8PrivateKey(end.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := bag(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}, struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}, end.Raw})
	hidden := bag(t, dotted(oidShroudedBag), encryptedPrivateKeyInfo{Algorithm: pbes2(t, absurd), Content: make([]byte, 160)})
	for name, c := range map[string]struct {
		visible, encrypted []safeBag
		code               engine.Code
	}{
		"neither is wrong":   {[]safeBag{plainKey(key)}, []safeBag{certificate}, ""},
		"behind the visible": {[]safeBag{plainKey(key)}, []safeBag{certificate, hidden}, engine.CodeInvalidCertificate},
		"before it":          {[]safeBag{plainKey(key)}, []safeBag{hidden, certificate}, engine.CodeInvalidCertificate},
		"alone":              {nil, []safeBag{certificate, hidden}, engine.CodeInvalidCertificate},
		"in sight":           {[]safeBag{hidden}, []safeBag{certificate}, engine.CodeInvalidCertificate},
	} {
		for _, encryptedFirst := range []bool{true, false} {
			data := assembled(t, c.visible, c.encrypted, encryptedFirst)
			_, err := PKCS12(data, passphrase)
			if c.code == "" && err != nil || c.code != "" && refusal(t, name, err, c.code, string(key)) == "" {
				t.Errorf("%s: error %v", name, err)
			}
			if name == "in sight" && !strings.Contains(err.Error(), strconv.Itoa(absurd)) {
				t.Errorf("%v does not name the count", err)
			}
		}
	}
}

// dotted is an object identifier for encoding/asn1.
func dotted(oid string) (id asn1.ObjectIdentifier) {
	for part := range strings.SplitSeq(oid, ".") {
		n, _ := strconv.Atoi(part) // our own constants
		id = append(id, n)
	}
	return id
}

func plainKey(pkcs8 []byte) safeBag {
	return safeBag{ID: dotted(oidKeyBag), Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: pkcs8}}
}

func bag(t *testing.T, id asn1.ObjectIdentifier, value any) safeBag {
	return safeBag{ID: id, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der(t, value)}}
}

func der(t *testing.T, value any) []byte {
	t.Helper()
	text, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var iv = make([]byte, aes.BlockSize)

// pbes2 is AES-256-CBC under PBKDF2-HMAC-SHA-256 with an empty salt.
func pbes2(t *testing.T, iterations int) pkix.AlgorithmIdentifier {
	kdf := der(t, pbkdf2Params{Salt: asn1.RawValue{Tag: asn1.TagOctetString}, Iterations: iterations, PRF: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}})
	params := der(t, schemeDER{
		KDF:    pkix.AlgorithmIdentifier{Algorithm: dotted(oidPBKDF2), Parameters: asn1.RawValue{FullBytes: kdf}},
		Scheme: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: asn1.RawValue{FullBytes: der(t, iv)}},
	})
	return pkix.AlgorithmIdentifier{Algorithm: dotted(oidPBES2), Parameters: asn1.RawValue{FullBytes: params}}
}

// assembled is a file of one plain and one encrypted part, under a MAC.
func assembled(t *testing.T, visible, encrypted []safeBag, encryptedFirst bool) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, passphrase, nil, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	text := der(t, encrypted)
	pad := aes.BlockSize - len(text)%aes.BlockSize
	text = append(text, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	explicit := func(content []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
	}
	sealed := encryptedData{Content: encryptedContentDER{ContentType: dotted(oidData), Algorithm: pbes2(t, 1), Content: text}}
	parts := []contentDER{
		{ContentType: dotted(oidData), Content: explicit(der(t, der(t, visible)))},
		{ContentType: dotted(oidEncryptedData), Content: explicit(der(t, sealed))},
	}
	if encryptedFirst {
		parts[0], parts[1] = parts[1], parts[0]
	}
	content := der(t, parts)
	mac, err := pbmac1(content, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return der(t, pfxFile{Version: 3, AuthSafe: contentDER{ContentType: dotted(oidData), Content: explicit(der(t, content))}, MacData: macData{Mac: mac}})
}

func TestAWrongMACIsSeen(t *testing.T) {
	end := leaf(t, "leaf", nil)
	data, err := pkcs12.Modern2023.WithRand(rand.Reader).Encode(end.key, end.Certificate, nil, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	// The file ends with the salt and the count of the MAC: the content is whole and
	// decrypts, and the MAC alone is wrong.
	changed := bytes.Clone(data)
	changed[len(changed)-6] ^= 1
	_, err = PKCS12(changed, passphrase)
	if text := refusal(t, "a wrong MAC", err, engine.CodeInvalidCertificate); !strings.Contains(text, "the file was changed") {
		t.Errorf("the error says %q", text)
	}
}
