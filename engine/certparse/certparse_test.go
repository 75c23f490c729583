package certparse

import (
	"bytes"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
)

// certificate makes a self-signed certificate from the template.
func certificate(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(1)
	}
	template.NotAfter = time.Unix(2.7e9, 0)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openssl runs lines of commands and returns the bytes of the file "out".
func openssl(t *testing.T, script string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(cmd.Dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestBothReadersAgree compares what is read leniently with what crypto/x509 reads,
// for certificates that both read.
func TestBothReadersAgree(t *testing.T) {
	for name, template := range map[string]*x509.Certificate{
		"a leaf": {Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"a.example"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageDecipherOnly},
		"a CA": {Subject: pkix.Name{CommonName: "ca"}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
			SubjectKeyId: []byte("subject"), AuthorityKeyId: []byte("authority")},
		"not a CA":       {BasicConstraintsValid: true, NotBefore: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a large serial": {SerialNumber: new(big.Int).Lsh(big.NewInt(0x80), 100), NotBefore: time.Date(2051, 2, 3, 4, 5, 6, 0, time.UTC)},
	} {
		strict := certificate(t, template)
		lenient, err := parse(strict.Raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		fields := []string{
			"Raw", "RawTBSCertificate", "RawSubjectPublicKeyInfo", "RawSubject", "RawIssuer", "Signature", "SignatureAlgorithm", "PublicKey", "Version",
			"SerialNumber", "NotBefore", "NotAfter", "KeyUsage", "Extensions", "BasicConstraintsValid", "IsCA", "SubjectKeyId", "AuthorityKeyId",
		}
		for _, field := range fields {
			a, b := reflect.ValueOf(*strict).FieldByName(field).Interface(), reflect.ValueOf(*lenient).FieldByName(field).Interface()
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %s is %v and %v", name, field, a, b)
			}
		}
	}
}

// TestWhatGoRefusesIsRead has forms that OpenSSL reads and crypto/x509 does not.
func TestWhatGoRefusesIsRead(t *testing.T) {
	const request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -days 30 -outform DER -out out -subj /CN=x "
	for name, script := range map[string]string{
		"a negative serial":    request + "-set_serial -32767",
		"a compressed point":   "openssl ecparam -name prime256v1 -genkey -conv_form compressed -noout -out k; openssl req -x509 -key k -subj /CN=x -days 30 -outform DER -out out",
		"a hybrid point":       "openssl ecparam -name prime256v1 -genkey -conv_form hybrid -noout -out k; openssl req -x509 -key k -subj /CN=x -days 30 -outform DER -out out",
		"a host name in UTF-8": request + "-addext subjectAltName=DNS:bücher.example",
		"an odd host name":     request + "-addext 'subjectAltName=DNS:*.*.x y.example'",
	} {
		der := openssl(t, script)
		c, err := Parse(der)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || Name(c.RawSubject) != "CN=x" || !bytes.Equal(c.Raw, der) || key.Curve != elliptic.P256() {
			t.Errorf("%s: %s, %T", name, Name(c.RawSubject), c.PublicKey)
		}
		if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			t.Errorf("%s: its signature: %v", name, err)
		}
	}
}

func TestUnknownAlgorithmsAreNamed(t *testing.T) {
	for script, want := range map[string]string{
		"openssl ecparam -name secp256k1 -genkey -noout -out k":                          "ECDSA on the curve secp256k1",
		"openssl ecparam -name brainpoolP384r1 -genkey -noout -out k":                    "ECDSA on the curve brainpoolP384r1",
		"openssl ecparam -name secp160r1 -genkey -noout -out k":                          "ECDSA on the curve 1.3.132.0.8",
		"openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out k":     "ECDSA on a curve of its own parameters",
		"openssl genpkey -algorithm ED448 -out k":                                        "Ed448",
		"openssl genpkey -algorithm RSA-PSS -out k":                                      "RSASSA-PSS",
		"openssl dsaparam -genkey -noout -out k 1024":                                    "DSA",
		"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out k; : is read": "RSA",
	} {
		c, err := Parse(openssl(t, script+"\nopenssl req -x509 -key k -subj /CN=x -days 30 -outform DER -out out"))
		if err != nil || PublicKeyAlgorithm(c) != want || (c.PublicKey == nil) != (want != "RSA" && want != "DSA") {
			t.Errorf("%s: %v, %v", want, c, err)
		}
	}
}

func TestSignatureAlgorithmsAreNamed(t *testing.T) {
	key := openssl(t, "openssl genrsa -out out 2048")
	for options, want := range map[string]string{
		"-md5": "RSA with MD5", "-sha224": "RSA with SHA-224", "-sha3-256": "RSA with SHA3-256", "-sha256": "RSA with SHA-256",
		"-sha512-256": "RSA with SHA-512/256", "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20": "RSASSA-PSS",
	} {
		c, err := Parse(openssl(t, "openssl req -x509 -key /dev/stdin -subj /CN=x -days 30 -outform DER -out out "+options+" <<END\n"+string(key)+"END"))
		if err != nil || SignatureAlgorithm(c) != want {
			t.Errorf("%s: %v, %v", want, c, err)
		}
	}
}

func TestGarbageIsNoCertificate(t *testing.T) {
	whole := certificate(t, &x509.Certificate{DNSNames: []string{"a.example"}}).Raw
	for i := range whole {
		if _, err := Parse(whole[:i]); err == nil {
			t.Errorf("the first %d bytes are a certificate", i)
		}
	}
	for _, in := range [][]byte{nil, {0x30, 0}, append(bytes.Clone(whole), 0), []byte("garbage")} {
		if _, err := Parse(in); err == nil {
			t.Errorf("%x is a certificate", in)
		}
	}
}

// attributeOf encodes an attribute of a name with a value of that tag.
func attributeOf(t *testing.T, oid asn1.ObjectIdentifier, tag int, value string) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oid, asn1.RawValue{Tag: tag, Bytes: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// nameOf encodes a name of relative names, each of attributes.
func nameOf(t *testing.T, relatives ...[][]byte) []byte {
	t.Helper()
	var content []byte
	for _, attributes := range relatives {
		set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Join(attributes, nil)})
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, set...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

var (
	oidCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidDC    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidUID   = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	oidEmail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	oidUPN   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	oidOwn   = asn1.ObjectIdentifier{1, 2, 3, 4}
)

func TestNames(t *testing.T) {
	cn := func(tag int, value string) []byte { return nameOf(t, [][]byte{attributeOf(t, oidCN, tag, value)}) }
	for want, raw := range map[string][]byte{
		"": nameOf(t),
		"CN=b,DC=example,UID=u,emailAddress=a@b.example,UPN=u@b.example,1.2.3.4=own,CN=a": nameOf(t,
			[][]byte{attributeOf(t, oidCN, 12, "a")}, [][]byte{attributeOf(t, oidOwn, 12, "own")}, [][]byte{attributeOf(t, oidUPN, 12, "u@b.example")},
			[][]byte{attributeOf(t, oidEmail, 22, "a@b.example")}, [][]byte{attributeOf(t, oidUID, 12, "u")}, [][]byte{attributeOf(t, oidDC, 22, "example")},
			[][]byte{attributeOf(t, oidCN, 12, "b")}),
		"CN=a+UID=b":                   nameOf(t, [][]byte{attributeOf(t, oidCN, 12, "a"), attributeOf(t, oidUID, 12, "b")}),
		`CN=a\,CN\=b\+c\"\\\<\>\;`:     nil,
		`CN=\#1\ `:                     cn(12, "#1 "),
		`CN=\  \ `:                     cn(12, "   "),
		"CN=Müller":                    cn(30, "\x00M\x00\xfc\x00l\x00l\x00e\x00r"),
		"CN=Müller-T61":                cn(20, "M\xfcller-T61"),
		"CN=Müller-IA5":                cn(22, "Müller-IA5"),
		"CN=Müller-Latin":              cn(19, "M\xfcller-Latin"),
		"CN=🔑":                         cn(28, "\x00\x01\xf5\x11"),
		"CN=#03020001":                 cn(3, "\x00\x01"),
		"CN=#1e03004100":               cn(30, "\x00A\x00"),
		`CN=a\0D\0Ab\00c\09\1B[31m\7F`: cn(12, "a\r\nb\x00c\t\x1b[31m\x7f"),
		`CN=\E2\80\AEgnp.exe\E2\81\A6`: cn(12, "\u202egnp.exe\u2066"),
		`CN=\E2\80\A8\E2\80\A9\C2\85`:  cn(12, "\u2028\u2029\u0085"),
		`CN=\C2\A0\E2\80\8B\EF\BB\BFx`: cn(12, "\u00a0\u200b\ufeffx"),
	} {
		if raw == nil { // = is no special character
			want, raw = `CN=a\,CN=b\+c\"\\\<\>\;`, cn(12, `a,CN=b+c"\<>;`)
		}
		if got := Name(raw); got != want {
			t.Errorf("the name is %q, want %q", got, want)
		}
	}
	for _, garbage := range [][]byte{nil, {0x30, 1}, {4, 1, 1}, {0x30, 2, 5, 0}} {
		if got := Name(garbage); got != "" {
			t.Errorf("%x is the name %q", garbage, got)
		}
	}
}

// TestSameNames compares names as RFC 5280, section 7.1, says.
func TestSameNames(t *testing.T) {
	name := func(tag int, value string) []byte { return nameOf(t, [][]byte{attributeOf(t, oidCN, tag, value)}) }
	base := name(12, "The  Übung ca")
	for text, c := range map[string]struct {
		other []byte
		same  bool
	}{
		"itself":                     {base, true},
		"case":                       {name(12, "THE ÜBUNG CA"), true},
		"spaces":                     {name(12, " the übung   ca "), true},
		"string type":                {name(20, "The \xdcbung CA"), true},
		"another word":               {name(12, "The Übung cb"), false},
		"no space":                   {name(12, "TheÜbung ca"), false},
		"another type":               {nameOf(t, [][]byte{attributeOf(t, oidUID, 12, "The Übung ca")}), false},
		"one more":                   {nameOf(t, [][]byte{attributeOf(t, oidCN, 12, "The Übung ca")}, [][]byte{attributeOf(t, oidCN, 12, "x")}), false},
		"garbage":                    {[]byte("garbage"), false},
		"a text with the separators": {name(12, "The Übung ca,CN=x"), false},
	} {
		if SameName(base, c.other) != c.same {
			t.Errorf("%s: same is %v", text, !c.same)
		}
	}
	ab := [][]byte{attributeOf(t, oidCN, 12, "a"), attributeOf(t, oidUID, 12, "b")}
	if !SameName(nameOf(t, ab), nameOf(t, [][]byte{ab[1], ab[0]})) {
		t.Error("the order in a set matters")
	}
}

// TestAltNames has every kind of name.
func TestAltNames(t *testing.T) {
	der := openssl(t, `
cat >c <<'END'
[req]
distinguished_name=d
prompt=no
x509_extensions=e
[d]
CN=x
[e]
subjectAltName=@s
[s]
otherName.1=1.3.6.1.4.1.311.20.2.3;UTF8:user@corp.example
otherName.2=1.2.3.4;UTF8:own
email.1=a@b.example
DNS.1=a.example
DNS.2=*.a.example
dirName.1=n
URI.1=https://a.example/x?a=1,2
IP.1=192.0.2.1
IP.2=2001:db8::1
RID.1=1.2.3.4
[n]
O=Org
CN=name
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -config c -days 30 -outform DER -out out`)
	c, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Join(AltNames(c), " "), "UPN:user@corp.example 1.2.3.4:own a@b.example a.example *.a.example"+
		" DirName:CN=name,O=Org https://a.example/x?a=1,2 192.0.2.1 2001:db8::1 RID:1.2.3.4"
	for name := range strings.SplitSeq(want, " ") {
		if !strings.Contains(" "+got+" ", " "+name+" ") {
			t.Errorf("%q is missing in %q", name, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the names are %q, want %q", got, want)
	}
}

func TestHostileAltNames(t *testing.T) {
	for raw, want := range map[string]string{
		"\x82\x0ba\nb\x00.\x1b[0cxy":           `a\0Ab\00.\1B[0cxy`,
		"\x82\x08a, b.com":                     `a\2C\20b.com`,
		"\x82\x04\xe2\x80\xaea":                `\E2\80\AEa`,
		"\x86\x05x: y\n":                       `x:\20y\0A`,
		"\x86\x05a.com":                        "URI:a.com",
		"\x81\x05a.com":                        "email:a.com",
		"\x82\x05UPN:a":                        `UPN\3Aa`,
		"\x87\x03abc":                          "IP:#616263",
		"\x83\x01a":                            "X400:#61",
		"\x85\x01a":                            "EdiParty:#61",
		"\x84\x01a":                            "DirName:#61",
		"\x80\x01a":                            "otherName:#61",
		"\xa0\x07\x06\x03\x2a\x03\x04\xa0\x00": "1.2.3.4:#06032a0304a000",
		"\x8a\x01a":                            "unknown:#61",
		"\x04\x01a":                            "unknown:#61",
	} {
		value := append([]byte{0x30, byte(len(raw))}, raw...)
		c := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}}
		if got := AltNames(c); len(got) != 1 || got[0] != want {
			t.Errorf("%q is %q, want %q", raw, got, want)
		}
	}
	if got := AltNames(&x509.Certificate{}); got == nil || len(got) != 0 {
		t.Errorf("without the extension the names are %q", got)
	}
	plain := certificate(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, EmailAddresses: []string{"a@b.example"}})
	if got := strings.Join(AltNames(plain), " "); got != "a@b.example 192.0.2.1" {
		t.Errorf("the names are %q", got)
	}
}

func TestSerials(t *testing.T) {
	for want, n := range map[string]int64{"00": 0, "01": 1, "7f": 127, "0100": 256, "-7fff": -32767, "-01": -1} {
		if got := Serial(&x509.Certificate{SerialNumber: big.NewInt(n)}); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{"": "", "äöü": "äöü", "äöüß": "äöü…"} {
		if got := Cut(in, 3); got != want {
			t.Errorf("%q is cut to %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(certificate(f, &x509.Certificate{Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"a.example"}}).Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := parse(der)
		if err != nil {
			return
		}
		for _, text := range append(AltNames(c), Name(c.RawSubject), Name(c.RawIssuer), Serial(c), PublicKeyAlgorithm(c), SignatureAlgorithm(c)) {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q has a character that cannot be printed", text)
			}
		}
		_ = SameName(c.RawIssuer, c.RawSubject)
	})
}
