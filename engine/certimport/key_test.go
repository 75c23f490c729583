package certimport

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// selfSign has openssl make a certificate of the key in key.pem.
const selfSign = "\nopenssl req -x509 -key key.pem -subj /CN=www.example.com -days 30 -out cert.pem\n"

// TestKeysThatOpenSSLMakes imports every kind of key in every form, and holds the
// result to what openssl says the key is.
func TestKeysThatOpenSSLMakes(t *testing.T) {
	for name, script := range map[string]string{
		"RSA-2048 PKCS#8":            "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
		"RSA-2048 PKCS#1":            "openssl genrsa -traditional -out key.pem 2048",
		"RSA-3072 PKCS#1":            "openssl genrsa -traditional -out key.pem 3072",
		"P-256 SEC 1":                "openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
		"P-256 SEC 1 and parameters": "openssl ecparam -name prime256v1 -genkey -out key.pem",
		"P-384 SEC 1":                "openssl ecparam -name secp384r1 -genkey -noout -out key.pem",
		"P-521 SEC 1 and parameters": "openssl ecparam -name secp521r1 -genkey -out key.pem",
		"P-256 PKCS#8":               "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
		"P-384 PKCS#8":               "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
		"P-521 PKCS#8":               "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem",
		"Ed25519":                    "openssl genpkey -algorithm ED25519 -out key.pem",
		"with CRLF":                  "openssl genpkey -algorithm ED25519 -out k; sed 's/$/\\r/' k >key.pem",
		"with explanations":          "(echo Bag Attributes; echo '    friendlyName: www'; openssl genpkey -algorithm ED25519) >key.pem",
	} {
		t.Run(name, func(t *testing.T) {
			file := shell(t, script+selfSign+"openssl pkey -in key.pem -outform DER -out want.der")
			b, err := PEM(file("cert.pem"), "", file("key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := x509.ParsePKCS8PrivateKey(b.PrivateKey)
			if err != nil {
				t.Fatalf("the key is not PKCS#8: %v", err)
			}
			if !got.(crypto.Signer).Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(b.Leaf.PublicKey) {
				t.Error("the key is not the leaf's")
			}
			again := shell(t, "printf '%s' '"+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b.PrivateKey}))+"' | openssl pkey -outform DER -out got.der")
			if !bytes.Equal([]byte(again("got.der")), []byte(file("want.der"))) {
				t.Error("openssl reads another key from the result than from the input")
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	const want = engine.CodeInvalidRequest
	for name, c := range map[string]struct {
		script string
		says   string
	}{
		"encrypted PKCS#8":    {"openssl genpkey -algorithm ED25519 -aes256 -pass pass:secret123 -out key.pem", "decrypt it with openssl pkey"},
		"encrypted PKCS#1":    {"openssl genrsa -traditional -aes128 -passout pass:secret123 -out key.pem 2048", "decrypt it with openssl pkey"},
		"encrypted SEC 1":     {"openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes128 -passout pass:secret123 -out key.pem", "decrypt it with openssl pkey"},
		"RSA-1024":            {"openssl genrsa -out key.pem 1024", "RSA of 1024 bits"},
		"secp256k1":           {"openssl ecparam -name secp256k1 -genkey -noout -out key.pem", "cannot be read"},
		"P-224":               {"openssl ecparam -name secp224r1 -genkey -noout -out key.pem", "on the curve P-224"},
		"X25519":              {"openssl genpkey -algorithm X25519 -out key.pem", "cannot sign"},
		"Ed448":               {"openssl genpkey -algorithm ED448 -out key.pem", "cannot be read"},
		"DSA":                 {"openssl dsaparam -genkey -noout -out key.pem 1024", "cannot be read"},
		"two keys":            {"for i in 1 2; do openssl genpkey -algorithm ED25519; done >key.pem", "contains 2 private keys"},
		"parameters alone":    {"openssl ecparam -name prime256v1 -out key.pem", "contains 0 private keys"},
		"a public key":        {"openssl genpkey -algorithm ED25519 | openssl pkey -pubout -out key.pem", "contains no private key in"},
		"OpenSSH":             {"ssh-keygen -q -t ed25519 -N '' -f key.pem", "OpenSSH"},
		"half a key":          {"openssl genpkey -algorithm ED25519 | head -n 2 >key.pem", "damaged or incomplete"},
		"a flipped byte":      {"openssl genrsa -traditional 2048 | sed '8s/^..../AAAA/' >key.pem", "cannot be read"},
		"not PEM":             {"openssl genpkey -algorithm ED25519 -outform DER -out key.pem", "not PEM"},
		"text after":          {"(openssl genpkey -algorithm ED25519; echo more) >key.pem", "after its last PEM block"},
		"key and cert":        {"openssl req -x509 -newkey ED25519 -nodes -keyout key.pem -subj /CN=x -out c 2>&1; cat c >>key.pem", "contains a certificate"},
		"a damaged neighbour": {"(openssl genpkey -algorithm ED25519 | sed '2s/^.*/!!!/'; openssl genpkey -algorithm ED25519) >key.pem", "damaged or incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(c.script, "ssh-keygen") && !installed("ssh-keygen") {
				c.script = "printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\\n-----END OPENSSH PRIVATE KEY-----\\n' >key.pem"
			}
			key := shell(t, c.script)("key.pem")
			certificate := leaf(t, "leaf", nil)
			_, err := PEM(pemOf(certificate), "", key)
			if text := refusal(t, name, err, want, bodyOf(key)); !strings.Contains(text, c.says) {
				t.Errorf("the error says %q, want %q in it", text, c.says)
			}
		})
	}
}

// bodyOf is a PEM text without its first and last line, which are no secret.
func bodyOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) < 3 {
		return text
	}
	return strings.Join(lines[1:len(lines)-1], "")
}

func TestKeyOfAnotherCertificate(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	end := leaf(t, "leaf", one)
	for name, key := range map[string]crypto.Signer{"an unrelated": newKey(t), "the chain's": one.key} {
		text := keyPEM(t, key)
		_, err := PEM(pemOf(end), pemOf(one), text)
		refusal(t, name, err, engine.CodeKeyMismatch, bodyOf(text))
	}
}
