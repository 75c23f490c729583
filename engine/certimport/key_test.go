package certimport

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
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
		"RSA-2048 PKCS#8":                     "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
		"RSA-2048 PKCS#1":                     "openssl genrsa -traditional -out key.pem 2048",
		"RSA-3072 PKCS#1":                     "openssl genrsa -traditional -out key.pem 3072",
		"RSA-2048 PKCS#1, labelled as PKCS#8": "openssl genrsa -traditional 2048 | sed 's/RSA //' >key.pem",
		"RSA-2048 PKCS#8, labelled as PKCS#1": "openssl genrsa 2048 | sed 's/PRIVATE/RSA PRIVATE/' >key.pem",
		"P-256 SEC 1, labelled as PKCS#8":     "openssl ecparam -name prime256v1 -genkey -noout | sed 's/EC //' >key.pem",
		"P-256 PKCS#8, labelled as SEC 1":     "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | sed 's/PRIVATE/EC PRIVATE/' >key.pem",
		"with text after it":                  "(openssl genpkey -algorithm ED25519; echo more) >key.pem",
		"P-256 SEC 1":                         "openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
		"P-256 SEC 1 and parameters":          "openssl ecparam -name prime256v1 -genkey -out key.pem",
		"P-384 SEC 1":                         "openssl ecparam -name secp384r1 -genkey -noout -out key.pem",
		"P-521 SEC 1 and parameters":          "openssl ecparam -name secp521r1 -genkey -out key.pem",
		"P-256 PKCS#8":                        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
		"P-384 PKCS#8":                        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
		"P-521 PKCS#8":                        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem",
		"Ed25519":                             "openssl genpkey -algorithm ED25519 -out key.pem",
		"with CRLF":                           "openssl genpkey -algorithm ED25519 -out k; sed 's/$/\\r/' k >key.pem",
		"with explanations":                   "(echo Bag Attributes; echo '    friendlyName: www'; openssl genpkey -algorithm ED25519) >key.pem",
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
		"encrypted PKCS#8":           {"openssl genpkey -algorithm ED25519 -aes256 -pass pass:secret123 -out key.pem", "decrypt it with openssl pkey"},
		"encrypted PKCS#1":           {"openssl genrsa -traditional -aes128 -passout pass:secret123 -out key.pem 2048", "decrypt it with openssl pkey"},
		"encrypted SEC 1":            {"openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes128 -passout pass:secret123 -out key.pem", "decrypt it with openssl pkey"},
		"RSA-1024":                   {"openssl genrsa -out key.pem 1024", "RSA of 1024 bits"},
		"secp256k1":                  {"openssl ecparam -name secp256k1 -genkey -noout -out key.pem", "ECDSA on the curve secp256k1"},
		"secp256k1 PKCS#8":           {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out key.pem", "ECDSA on the curve secp256k1"},
		"brainpool":                  {"openssl ecparam -name brainpoolP256r1 -genkey -noout -out key.pem", "ECDSA on the curve brainpoolP256r1"},
		"own parameters":             {"openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out key.pem", "ECDSA on a curve of its own parameters"},
		"P-224":                      {"openssl ecparam -name secp224r1 -genkey -noout -out key.pem", "on the curve P-224"},
		"X25519":                     {"openssl genpkey -algorithm X25519 -out key.pem", "cannot sign"},
		"Ed448":                      {"openssl genpkey -algorithm ED448 -out key.pem", "Ed448"},
		"DSA":                        {"openssl dsaparam -genkey -noout -out key.pem 1024", "DSA"},
		"two keys":                   {"for i in 1 2; do openssl genpkey -algorithm ED25519; done >key.pem", "contains 2 private keys"},
		"parameters alone":           {"openssl ecparam -name prime256v1 -out key.pem", "contains 0 private keys"},
		"a public key":               {"openssl genpkey -algorithm ED25519 | openssl pkey -pubout -out key.pem", "contains no private key in"},
		"OpenSSH":                    {"ssh-keygen -q -t ed25519 -N '' -f key.pem", "OpenSSH"},
		"half a key":                 {"openssl genpkey -algorithm ED25519 | head -n 2 >key.pem", "damaged or incomplete"},
		"a flipped byte":             {"openssl genrsa -traditional 2048 | sed '8s/^..../AAAA/' >key.pem", "cannot be read"},
		"not PEM":                    {"openssl genpkey -algorithm ED25519 -outform DER -out key.pem", "not PEM"},
		"encrypted, labelled as not": {"openssl genpkey -algorithm ED25519 -aes256 -pass pass:secret123 | sed 's/ENCRYPTED //' >key.pem", "decrypt it with openssl pkey"},
		"key and cert":               {"openssl req -x509 -newkey ED25519 -nodes -keyout key.pem -subj /CN=x -out c 2>&1; cat c >>key.pem", "contains a certificate"},
		"a damaged neighbour":        {"(openssl genpkey -algorithm ED25519 | sed '2s/^.*/!!!/'; openssl genpkey -algorithm ED25519) >key.pem", "damaged or incomplete"},
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

// TestTheAdviceForOpenSSHKeysWorks follows it for every type of key.
func TestTheAdviceForOpenSSHKeysWorks(t *testing.T) {
	for _, program := range []string{"ssh-keygen", "python3"} {
		if !installed(program) {
			t.Skipf("%s is not installed", program)
		}
	}
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		made := "ssh-keygen -q -t " + kind + " -N '' -f KEY\n"
		text := refusal(t, kind, parseKeyError(shell(t, made)("KEY")), engine.CodeInvalidRequest)
		_, command, found := strings.Cut(text, " with: ssh-keygen")
		command = "cp KEY COPY; ssh-keygen -q" + command
		if !found {
			_, command, _ = strings.Cut(text, "cryptography: ")
			command += " >COPY"
		}
		converted := shell(t, made+command)("COPY")
		if err := parseKeyError(converted); err != nil {
			t.Errorf("%s after %s: %v", kind, command, err)
		}
	}
}

func parseKeyError(text string) error {
	_, err := parseKey(text)
	return err
}

// TestUnsafeRSAKeys has keys whose private part anybody can compute.
func TestUnsafeRSAKeys(t *testing.T) {
	prime := func(from *big.Int) *big.Int {
		p := new(big.Int).SetBit(from, 0, 1)
		for !p.ProbablyPrime(20) {
			p.Add(p, big.NewInt(2))
		}
		return p
	}
	large := prime(new(big.Int).Lsh(big.NewInt(3), 1023))
	near := prime(new(big.Int).Add(large, big.NewInt(1<<30)))
	far := prime(new(big.Int).Lsh(big.NewInt(5), 1021))
	issuer := ca(t, "ca", nil)
	for name, c := range map[string]struct {
		n    *big.Int
		e    int
		says string
	}{
		"exponent 1":      {new(big.Int).Mul(large, far), 1, "the public exponent 1,"},
		"exponent 2":      {new(big.Int).Mul(large, far), 2, "the public exponent 2,"},
		"an even one":     {new(big.Int).Mul(large, far), 65536, "the public exponent 65536,"},
		"a small factor":  {new(big.Int).Mul(new(big.Int).Mul(large, far), big.NewInt(751)), 65537, "a small number divides"},
		"near factors":    {new(big.Int).Mul(large, near), 65537, "too close to each other"},
		"the same factor": {new(big.Int).Mul(large, large), 65537, "too close to each other"},
		"a sound key":     {new(big.Int).Mul(large, far), 3, ""},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weak"}}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, &rsa.PublicKey{N: c.n, E: c.e}, issuer.key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = PEM(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "", "")
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if text := refusal(t, name, err, engine.CodeInvalidCertificate); !strings.Contains(text, c.says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, c.says)
		}
		if c.e > 2 {
			continue // Go reads such a private key
		}
		one := big.NewInt(1)
		key, err := asn1.Marshal([]*big.Int{new(big.Int), c.n, big.NewInt(int64(c.e)), one, large, far, one, one, one})
		if err != nil {
			t.Fatal(err)
		}
		_, err = PEM(pemOf(leaf(t, "leaf", nil)), "", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: key})))
		if text := refusal(t, name, err, engine.CodeInvalidRequest); !strings.Contains(text, c.says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, c.says)
		}
	}
}
