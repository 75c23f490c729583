package certimport

import (
	"encoding/pem"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

func TestPEMThatIsRefused(t *testing.T) {
	end := leaf(t, "leaf", nil)
	good, key := pemOf(end), keyPEM(t, end.key)
	damaged := strings.Replace(good, "\nMII", "\n!!!", 1)
	block := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	for name, c := range map[string]struct {
		certificate, chain string
		code               engine.Code
		says               string
	}{
		"nothing":              {"", "", engine.CodeInvalidCertificate, "contains no certificate"},
		"white space":          {" \n\t", "", engine.CodeInvalidCertificate, "contains no certificate"},
		"the chain alone":      {"", good, engine.CodeInvalidCertificate, "contains no certificate"},
		"garbage":              {"garbage", "", engine.CodeInvalidCertificate, "not PEM"},
		"garbage as chain":     {good, "garbage", engine.CodeInvalidCertificate, "chain_pem is not PEM"},
		"DER":                  {string(end.Raw), "", engine.CodeInvalidCertificate, "not PEM"},
		"damaged base64":       {damaged, "", engine.CodeInvalidCertificate, "damaged or incomplete"},
		"damaged, then good":   {damaged + good, "", engine.CodeInvalidCertificate, "damaged or incomplete"},
		"cut short":            {good[:len(good)-40], "", engine.CodeInvalidCertificate, "damaged or incomplete"},
		"good, then cut short": {good + good[:90], "", engine.CodeInvalidCertificate, "damaged or incomplete"},
		"DER with a tail":      {block("CERTIFICATE", append(end.Raw[:len(end.Raw):len(end.Raw)], 0)), "", engine.CodeInvalidCertificate, "not a valid X.509"},
		"DER cut short":        {block("CERTIFICATE", end.Raw[:len(end.Raw)-1]), "", engine.CodeInvalidCertificate, "not a valid X.509 certificate"},
		"an empty block":       {block("CERTIFICATE", nil), "", engine.CodeInvalidCertificate, "not a valid X.509"},
		"a request":            {block("CERTIFICATE REQUEST", end.Raw), "", engine.CodeInvalidCertificate, "not a certificate"},
		"PKCS#7":               {block("PKCS7", end.Raw), "", engine.CodeInvalidCertificate, "openssl pkcs7"},
		"a key beside it":      {good + key, "", engine.CodeInvalidRequest, "move it to private_key_pem"},
		"a key in the chain":   {good, key, engine.CodeInvalidRequest, "move it to private_key_pem"},
		"huge":                 {good + strings.Repeat("\n", maxInput), "", engine.CodeInvalidRequest, "at most"},
		"a huge chain":         {good, strings.Repeat(" ", maxInput+1), engine.CodeInvalidRequest, "chain_pem"},
	} {
		_, err := PEM(c.certificate, c.chain, "")
		if text := refusal(t, name, err, c.code, bodyOf(key)); !strings.Contains(text, c.says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, c.says)
		}
	}
	_, err := PEM(good, "", strings.Repeat(" ", maxInput)+key)
	refusal(t, "a huge key", err, engine.CodeInvalidRequest, bodyOf(key))
	_, err = PEM(good, "", block("PRIVATE KEY", make([]byte, maxKeyDER+1)))
	if text := refusal(t, "a key of too many bytes", err, engine.CodeInvalidRequest); !strings.Contains(text, "at most") {
		t.Errorf("the error says %q", text)
	}
}

func TestPEMAsToolsWriteIt(t *testing.T) {
	file := shell(t, `
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=ca -days 30 -out ca.pem
openssl req -newkey ED25519 -nodes -keyout key.pem -subj /CN=leaf -out csr.pem
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -sha1 -days 30 -text -out text.pem
openssl x509 -in text.pem -out cert.pem
sed 's/$/\r/' cert.pem >crlf.pem
printf '\357\273\277' | cat - cert.pem >bom.pem
sed 's/CERTIFICATE/X509 CERTIFICATE/' cert.pem >x509.pem
openssl x509 -in cert.pem -trustout -addtrust serverAuth -out trusted.pem
tr '\n' '\r' <cert.pem >cr.pem
sed 's/^/ \t/' cert.pem >indented.pem
(cat cert.pem; echo more) >text-after.pem
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -days -1 -out expired.pem 2>/dev/null || cp cert.pem expired.pem
`)
	for _, name := range []string{"cert.pem", "text.pem", "crlf.pem", "bom.pem", "x509.pem", "expired.pem", "cr.pem", "indented.pem", "text-after.pem", "trusted.pem"} {
		b, err := PEM(file(name), file("ca.pem"), file("key.pem"))
		if err != nil || names(b) != "leaf" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeavesWithUnsupportedKeys(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"RSA-1024":  {"openssl genrsa -out key.pem 1024" + selfSign, "RSA of 1024 bits"},
		"P-224":     {"openssl ecparam -name secp224r1 -genkey -noout -out key.pem" + selfSign, "ECDSA on the curve P-224"},
		"Ed448":     {"openssl genpkey -algorithm ED448 -out key.pem" + selfSign, "Ed448"},
		"secp256k1": {"openssl ecparam -name secp256k1 -genkey -noout -out key.pem" + selfSign, "ECDSA on the curve secp256k1"},
		"RSA-PSS":   {"openssl genpkey -algorithm RSA-PSS -out key.pem" + selfSign, "RSASSA-PSS"},
	} {
		_, err := PEM(shell(t, c.script)("cert.pem"), "", "")
		if text := refusal(t, name, err, engine.CodeInvalidCertificate); !strings.Contains(text, c.says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, c.says)
		}
	}
}
