package certimport

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certparse"
)

// fieldPassphrase is that of the PKCS#12 files in testdata/field.
const fieldPassphrase = "field-Pass-7731-xyz"

// TestFilesOfTheField imports what people reported: files that OpenSSL or Java's
// keytool read. What is refused is refused for the reason that they would give too.
func TestFilesOfTheField(t *testing.T) {
	for name, c := range map[string]struct {
		subject, serial string
		names           string // the alternative names
		chain           int
		noKey           bool
		warning         string
		refused         string
	}{
		"11-mislabelled-PRIVATE-KEY":       {subject: "CN=leaf.field.example", serial: "6b0b0aca", names: "leaf.field.example", chain: 1},
		"17-leaf-ec-secp256k1":             {refused: "ECDSA on the curve secp256k1"},
		"20-sig-pss-sha256-salt222":        {subject: "CN=leaf pss-sha256-salt222", serial: "6b0b0b15", names: "leaf.example", chain: 1, warning: "was not checked, because its algorithm (RSASSA-PSS)"},
		"20-sig-rsa-md5":                   {subject: "CN=leaf rsa-md5", serial: "6b0b0b24", names: "leaf.example", chain: 1, warning: "was not checked, because its algorithm (RSA with MD5)"},
		"20-sig-rsa-sha224":                {subject: "CN=leaf rsa-sha224", serial: "6b0b0b27", names: "leaf.example", chain: 1, warning: "was not checked, because its algorithm (RSA with SHA-224)"},
		"21-serial-negative":               {subject: "CN=leaf.field.example", serial: "-7fff", names: "leaf.field.example", chain: 1, warning: "negative serial number"},
		"23-dn-x500uniqueid-bitstring":     {subject: "x500UniqueIdentifier=#0303001234,CN=u", serial: "6b0b0b68", names: "leaf.field.example", chain: 1, warning: "unsupported string type: 3"},
		"28-cr-only":                       {subject: "CN=leaf.field.example", serial: "6b0b0bc9", names: "leaf.field.example", chain: 2, noKey: true},
		"28-leading-whitespace":            {subject: "CN=leaf.field.example", serial: "6b0b0bc9", names: "leaf.field.example", chain: 2, noKey: true},
		"36-issuer-name-printable-vs-utf8": {subject: "CN=leaf", serial: "6b0b0c1c", names: "x.example", chain: 1},
		"37-root-selfsigned-md5-included":  {subject: "CN=leaf", serial: "6b0b0c2e", names: "x.example", chain: 1},
		"41-no-mac":                        {subject: "CN=leaf.field.example", serial: "6b0b0c6e", names: "leaf.field.example", chain: 1},
		"47-pw-null-b2":                    {subject: "CN=leaf.field.example", serial: "6b0b0cd0", names: "leaf.field.example", chain: 1},
		"50-gnutls-chain":                  {subject: "CN=leaf.field.example", serial: "6b0b0cdf", names: "leaf.field.example", chain: 1},
		"50-nss":                           {subject: "CN=leaf.field.example", serial: "6b0b0cdf", names: "leaf.field.example", chain: 1},
		"71-dn-adcs":                       {subject: "organizationIdentifier=VATDE-123,SN=Müller,emailAddress=ops@corp.example,CN=srv1,OU=Web,DC=corp,DC=example", serial: "6b0b1089", names: "UPN:svc@corp.example"},
		"71-dn-two-cn":                     {subject: "C=DE,CN=test.example,O=Shop,CN=payments.example", serial: "6b0b1170", names: "payments.example"},
	} {
		b, err := importField(t, name)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want a refusal with %q", name, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		subject, serial, names := certparse.Name(b.Leaf.RawSubject), certparse.Serial(b.Leaf), strings.Join(certparse.AltNames(b.Leaf), " ")
		if subject != c.subject || serial != c.serial || names != c.names || len(b.Chain) != c.chain || (b.PrivateKey == nil) != c.noKey {
			t.Errorf("%s: %s, serial %s, names %s, %d issuers, a key of %d bytes", name, subject, serial, names, len(b.Chain), len(b.PrivateKey))
		}
		if warnings := strings.Join(b.Warnings, "\n"); (warnings != "") != (c.warning != "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: the warnings are %q, want %q", name, warnings, c.warning)
		}
		checkResult(t, b, nil)
	}
}

// importField imports a folder of testdata/field: its PKCS#12 file, or else its PEM
// files. Text that people pasted is the leaf's field and the chain's.
func importField(t *testing.T, name string) (engine.Bundle, error) {
	t.Helper()
	dir := filepath.Join("testdata", "field", name)
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	if file := read("in.p12"); file != "" {
		passphrase := engine.Secret(fieldPassphrase)
		if strings.Contains(name, "pw-null") {
			passphrase = ""
		}
		return PKCS12([]byte(file), passphrase)
	}
	leaf := read("leaf.pem")
	if leaf == "" {
		leaf = read("cert.pem")
	}
	chain := strings.Join([]string{read("chain.pem"), read("inter.pem"), read("root.pem")}, "\n")
	return PEM(leaf, chain, read("key.pem"))
}

// TestNoByteOfACertificateChanges compares what was imported with what the PEM files
// of the field contain.
func TestNoByteOfACertificateChanges(t *testing.T) {
	for _, name := range []string{"21-serial-negative", "23-dn-x500uniqueid-bitstring", "20-sig-rsa-md5"} {
		b, err := importField(t, name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join("testdata", "field", name, "leaf.pem"))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := parseBlocks("leaf", string(text), engine.CodeInvalidCertificate)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Leaf.Raw, blocks[0].Bytes) {
			t.Errorf("%s: the certificate was changed", name)
		}
	}
}

// TestUncheckedSignaturesStillNeedTheirIssuer has certificates whose signatures cannot
// be checked, and that say another thing about their issuer.
func TestUncheckedSignaturesStillNeedTheirIssuer(t *testing.T) {
	b, err := importField(t, "20-sig-rsa-md5")
	if err != nil {
		t.Fatal(err)
	}
	file := shell(t, `
for n in right wrong; do
openssl req -x509 -newkey rsa:2048 -nodes -keyout $n.key -subj "/CN=CA of  the field" -days 30 -md5 -out $n.pem -addext subjectKeyIdentifier=hash
done
openssl req -newkey ED25519 -nodes -keyout key.pem -subj /CN=leaf -out csr.pem
printf 'authorityKeyIdentifier=keyid\n' >ext
openssl x509 -req -in csr.pem -CA right.pem -CAkey right.key -md5 -days 30 -extfile ext -out leaf.pem
`)
	pair, err := PEM(file("leaf.pem"), file("right.pem"), file("key.pem"))
	if err != nil || len(pair.Chain) != 0 || len(pair.Warnings) != 1 {
		t.Errorf("under a root that cannot be checked: %v, %d issuers, warnings %q", err, len(pair.Chain), pair.Warnings)
	}
	for says, chain := range map[string]string{
		"is not in the chain": file("wrong.pem"), // the same name, and another key identifier
		"of the leaf":         pemOf(&identity{Certificate: b.Chain[0]}),
	} {
		_, err := PEM(file("leaf.pem"), chain, "")
		if text := refusal(t, says, err, engine.CodeChainMismatch); !strings.Contains(text, says) {
			t.Errorf("the error says %q, want %q in it", text, says)
		}
	}
	if _, err := PEM(file("leaf.pem"), file("wrong.pem")+file("right.pem"), ""); !strings.Contains(refusal(t, "both", err, engine.CodeChainMismatch), "not in the chain") {
		t.Errorf("with both issuers: %v", err)
	}
	other := shell(t, `
openssl ecparam -name secp256k1 -genkey -noout -out ca.key
openssl req -x509 -key ca.key -subj /CN=ca -days 30 -out ca.pem
openssl req -newkey ED25519 -nodes -keyout key.pem -subj /CN=leaf -out csr.pem
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -days 30 -out leaf.pem
`)
	pair, err = PEM(other("leaf.pem"), other("ca.pem"), other("key.pem"))
	if err != nil || !strings.Contains(strings.Join(pair.Warnings, ""), "the issuer's key (ECDSA on the curve secp256k1)") {
		t.Errorf("under a key of another kind: %v, warnings %q", err, pair.Warnings)
	}
	self, err := PEM(file("right.pem"), "", file("right.key"))
	if err != nil || !slices.ContainsFunc(self.Warnings, func(w string) bool { return strings.Contains(w, "RSA with MD5") }) {
		t.Errorf("self-signed: %v, warnings %q", err, self.Warnings)
	}
}
