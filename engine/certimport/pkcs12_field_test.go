package certimport

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/ber"
)

// TestPKCS12OfOtherSoftware has what OpenSSL can write and few others do: the other
// hashes, and passphrases beyond the basic plane of Unicode.
func TestPKCS12OfOtherSoftware(t *testing.T) {
	const wide = "schlüssel 𝄞 🔑"
	file := shell(t, opensslFiles+`
for mac in sha1 sha224 sha256 sha384 sha512; do bundle -passout "$p" -macalg $mac -out $mac; done
bundle -passout "$p" -nomac -out no-mac
bundle -passout "$p" -legacy -nomac -out legacy-no-mac
bundle -passout 'pass:`+wide+`' -out wide
bundle -passout 'pass:`+wide+`' -legacy -out wide-legacy
bundle -passout 'pass:' -legacy -nomac -out empty-no-mac
`)
	for name, secret := range map[string]engine.Secret{
		"sha1": passphrase, "sha224": passphrase, "sha256": passphrase, "sha384": passphrase, "sha512": passphrase,
		"no-mac": passphrase, "legacy-no-mac": passphrase, "wide": wide, "wide-legacy": wide, "empty-no-mac": "",
	} {
		b, err := PKCS12([]byte(file(name)), secret)
		if err != nil || names(b) != "leaf one" || string(b.PrivateKey) != file("key.der") {
			t.Errorf("%s: %v", name, err)
		}
		_, err = PKCS12([]byte(file(name)), "another one")
		if text := refusal(t, name, err, engine.CodeInvalidCertificate); !strings.Contains(text, "passphrase does not open") {
			t.Errorf("%s with another passphrase: the error says %q", name, text)
		}
	}
}

// TestPKCS12InBER writes a file as BouncyCastle does: with indefinite lengths and
// strings in segments.
func TestPKCS12InBER(t *testing.T) {
	root := ca(t, "root", nil)
	end := leaf(t, "leaf", root)
	data, err := pkcs12.Modern2023.Encode(end.key, end.Certificate, nil, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := ber.Only(data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := PKCS12(indefinite(t, outer), passphrase)
	if err != nil || names(b) != "leaf" || b.PrivateKey == nil || !bytes.Equal(b.Leaf.Raw, end.Raw) {
		t.Errorf("%v", err)
	}
	deep := []byte{}
	for range 100_000 {
		deep = append(deep, 0x30, 0x80)
	}
	_, err = PKCS12(deep, passphrase)
	refusal(t, "nested without end", err, engine.CodeInvalidCertificate)
}

// indefinite encodes e without lengths, and its strings of octets in segments.
func indefinite(t *testing.T, e ber.Element) []byte {
	t.Helper()
	if !e.Constructed {
		if !e.Is(ber.Universal, ber.OctetString) || len(e.Content) < 2 {
			return e.Full
		}
		half := len(e.Content) / 2
		return append(append([]byte{0x24, 0x80}, append(der(t, e.Content[:half]), der(t, e.Content[half:])...)...), 0, 0)
	}
	children, err := e.Children()
	if err != nil {
		t.Fatal(err)
	}
	out := []byte{e.Full[0], 0x80}
	for _, child := range children {
		out = append(out, indefinite(t, child)...)
	}
	return append(out, 0, 0)
}

// TestNestedSafeContents has bags in bags (RFC 7292, section 4.2.6).
func TestNestedSafeContents(t *testing.T) {
	end := leaf(t, "leaf", nil)
	certificate := bag(t, dotted(oidCertBag), struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}{dotted(oidX509), end.Raw})
	bags := []safeBag{certificate}
	for depth := 1; depth <= maxNesting+1; depth++ {
		_, err := PKCS12(assembled(t, bags, bags, false), passphrase)
		if depth <= maxNesting && err != nil {
			t.Errorf("%d levels: %v", depth, err)
		}
		if depth > maxNesting && !strings.Contains(refusal(t, "too deep", err, engine.CodeInvalidCertificate), "in each other") {
			t.Errorf("%d levels: %v", depth, err)
		}
		bags = []safeBag{bag(t, dotted(oidNestedBag), bags)}
	}
}

// TestWhatAFileIsInstead says of every file that is refused what it is.
func TestWhatAFileIsInstead(t *testing.T) {
	file := shell(t, opensslFiles+`
cp cert.pem pem
keytool -genkeypair -keyalg EC -dname CN=a -alias a -keystore jks -storetype JKS -storepass '`+passphrase+`'
for a in a b; do keytool -genkeypair -keyalg EC -dname CN=$a -alias $a -keystore two -storetype PKCS12 -storepass '`+passphrase+`'; done
openssl pkcs12 -export -inkey key.pem -in cert.pem -keypbe PBE-SHA1-RC4-128 -provider legacy -provider default -passout "$p" -out rc4
openssl ecparam -name secp256k1 -genkey -noout -out k1
openssl req -x509 -key k1 -subj /CN=k1 -days 30 -out k1.pem
openssl pkcs12 -export -inkey k1 -in k1.pem -passout "$p" -out secp256k1
`)
	for name, says := range map[string]string{
		"pem":       "the file is PEM",
		"jks":       "the file is a Java keystore",
		"two":       "several private keys",
		"rc4":       "the encryption 1.2.840.113549.1.12.1.1, which is not supported",
		"secp256k1": "ECDSA on the curve secp256k1",
		"key.der":   "is not PKCS#12",
	} {
		_, err := PKCS12([]byte(file(name)), passphrase)
		if text := refusal(t, name, err, engine.CodeInvalidCertificate); !strings.Contains(text, says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, says)
		}
	}
}

func TestAllKeyDerivationsTogetherAreBounded(t *testing.T) {
	file := pfx{iterations: maxAllIterations}
	for i := range maxAllIterations / maxIterations {
		if _, err := file.spend(big.NewInt(maxIterations), 1); err != nil {
			t.Fatalf("derivation %d: %v", i, err)
		}
	}
	_, err := file.spend(big.NewInt(1), 1)
	refusal(t, "one more", err, engine.CodeInvalidCertificate)
}
