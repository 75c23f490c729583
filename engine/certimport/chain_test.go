package certimport

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

func TestChainIsSortedFromEveryOrder(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	two := ca(t, "two", one)
	end := leaf(t, "leaf", two)
	key := keyPEM(t, end.key)
	orders := [][]*identity{
		{end, two, one}, {end, one, two}, {two, end, one}, {one, end, two}, {two, one, end}, {one, two, end},
		{end, two, one, root}, {root, one, two, end}, {one, root, end, two}, {end, end, two, one, two},
	}
	for _, order := range orders {
		for split := range order {
			if split == 0 {
				split = len(order)
			}
			if !strings.Contains(pemOf(order[:split]...), pemOf(end)) {
				continue
			}
			for _, k := range []string{"", key} {
				b, err := PEM(pemOf(order[:split]...), pemOf(order[split:]...), k)
				if err == nil && (names(b) != "leaf two one" || (b.PrivateKey != nil) != (k != "")) {
					err = fmt.Errorf("chain is %s", names(b))
				}
				if err != nil {
					t.Errorf("%s | %s: %v", commonNames(order[:split]), commonNames(order[split:]), err)
				}
			}
		}
	}
}

func commonNames(ids []*identity) string {
	var text []string
	for _, id := range ids {
		text = append(text, id.Subject.CommonName)
	}
	return strings.Join(text, " ")
}

func TestValidChains(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	end := leaf(t, "leaf", one)
	self := leaf(t, "self", nil)
	selfCA := ca(t, "self-ca", nil)
	otherRoot := ca(t, "other-root", nil)
	crossed := sign(t, "root", true, root.key, otherRoot) // root's name and key, signed by another
	sameName := ca(t, "one", root)
	for name, c := range map[string]struct {
		certificate, chain []*identity
		want               string
	}{
		"a leaf alone":                     {[]*identity{end}, nil, "leaf"},
		"a part of the way":                {[]*identity{end}, []*identity{one}, "leaf one"},
		"the leaf again in the chain":      {[]*identity{end}, []*identity{end, one}, "leaf one"},
		"self-signed":                      {[]*identity{self}, nil, "self"},
		"self-signed, also as its chain":   {[]*identity{self}, []*identity{self}, "self"},
		"self-signed with the CA flag":     {[]*identity{selfCA}, nil, "self-ca"},
		"a leaf right under a root":        {[]*identity{leaf(t, "x", root)}, []*identity{root}, "x"},
		"a CA certificate of its own":      {[]*identity{one}, []*identity{root}, "one"},
		"a cross-signed CA":                {[]*identity{end}, []*identity{one, crossed}, "leaf one root"},
		"a cross-signed CA and its twin":   {[]*identity{end}, []*identity{root, crossed, one}, "leaf one root"},
		"both roots too":                   {[]*identity{end}, []*identity{otherRoot, root, crossed, one}, "leaf one root"},
		"an issuer whose name others have": {[]*identity{leaf(t, "y", sameName)}, []*identity{sameName}, "y one"},
	} {
		b, err := PEM(pemOf(c.certificate...), pemOf(c.chain...), keyPEM(t, c.certificate[0].key))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if names(b) != c.want {
			t.Errorf("%s: the chain is %q, want %q", name, names(b), c.want)
		}
	}
}

func TestInvalidChains(t *testing.T) {
	root := ca(t, "root", nil)
	one := ca(t, "one", root)
	two := ca(t, "two", one)
	end := leaf(t, "leaf", two)
	second := leaf(t, "second", two)
	impostor := ca(t, "two", one)
	notCA := leaf(t, "not-ca", one)
	stray := ca(t, "stray", nil)
	a := ca(t, "a", nil)
	circleB := ca(t, "b", a)
	noSigning := ca(t, "no-signing", root)
	noSigning.Certificate = resigned(t, noSigning, root, x509.KeyUsageDigitalSignature)
	renamed := sign(t, "renamed", true, two.key, one) // two's key under another name
	circleA := sign(t, "a", true, a.key, circleB)
	for name, c := range map[string]struct {
		certificate, chain []*identity
		code               engine.Code
		says               string
	}{
		"a gap":                       {[]*identity{end}, []*identity{one}, engine.CodeChainMismatch, "missing"},
		"a gap below the root":        {[]*identity{end}, []*identity{two, root}, engine.CodeChainMismatch, "missing"},
		"a stray CA":                  {[]*identity{end, stray}, []*identity{two, one}, engine.CodeChainMismatch, `"CN=stray" is not in the chain`},
		"another leaf in the chain":   {[]*identity{end}, []*identity{two, second}, engine.CodeChainMismatch, "second"},
		"an impostor's name":          {[]*identity{end}, []*identity{impostor, one}, engine.CodeChainMismatch, "is not in the chain"},
		"two leaves":                  {[]*identity{end, second}, []*identity{two}, engine.CodeInvalidCertificate, "two leaves"},
		"two leaves that are strange": {[]*identity{end, leaf(t, "z", nil)}, nil, engine.CodeInvalidCertificate, "two leaves"},
		"an issuer that is no CA":     {[]*identity{leaf(t, "x", notCA)}, []*identity{notCA, one}, engine.CodeChainMismatch, "is not a CA certificate"},
		"an issuer that may not sign": {[]*identity{leaf(t, "x", noSigning)}, []*identity{noSigning}, engine.CodeChainMismatch, "is not a CA certificate"},
		"an issuer of another name":   {[]*identity{end}, []*identity{renamed, one}, engine.CodeChainMismatch, "is not in the chain"},
		"a circle":                    {[]*identity{circleA, circleB}, nil, engine.CodeInvalidCertificate, "no leaf"},
		"two ways up": {[]*identity{end}, []*identity{two, sign(t, "two", true, two.key, stray)},
			engine.CodeChainMismatch, `two certificates of "CN=two"`},
	} {
		_, err := PEM(pemOf(c.certificate...), pemOf(c.chain...), "")
		if text := refusal(t, name, err, c.code); !strings.Contains(text, c.says) {
			t.Errorf("%s: the error says %q, want %q in it", name, text, c.says)
		}
	}
	_, err := PEM(pemOf(end, second), pemOf(two), keyPEM(t, end.key))
	refusal(t, "two leaves and the key of one", err, engine.CodeInvalidCertificate)
}

// resigned is id's certificate with that key usage.
func resigned(t *testing.T, id, issuer *identity, usage x509.KeyUsage) *x509.Certificate {
	t.Helper()
	template := *id.Certificate
	template.KeyUsage = usage
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer.Certificate, id.key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTangledCertificates imports CAs that all signed each other, so that every
// path is a circle.
func TestTangledCertificates(t *testing.T) {
	var keys []*identity
	for i := range 3 {
		keys = append(keys, ca(t, fmt.Sprint("ca", i), nil))
	}
	var tangle []*identity
	for i, k := range keys {
		for j, issuer := range keys {
			if i != j {
				tangle = append(tangle, sign(t, k.Subject.CommonName, true, k.key, issuer))
			}
		}
	}
	end := leaf(t, "leaf", keys[0])
	_, err := PEM(pemOf(end), pemOf(tangle...), "")
	refusal(t, "CAs that signed each other", err, engine.CodeChainMismatch)
}

func TestTooManyCertificates(t *testing.T) {
	root := ca(t, "root", nil)
	path := []*identity{ca(t, "ca", root)}
	for range maxCertificates {
		path = append(path, ca(t, fmt.Sprint("ca", len(path)), path[len(path)-1]))
	}
	end := leaf(t, "leaf", path[len(path)-1])
	_, err := PEM(pemOf(end), pemOf(path...), "")
	refusal(t, "too many in one member", err, engine.CodeInvalidCertificate)
	half := len(path) / 2
	_, err = PEM(pemOf(append([]*identity{end}, path[:half]...)...), pemOf(path[half:]...), "")
	refusal(t, "too many in both", err, engine.CodeInvalidCertificate)
}

// TestHugeKeysAreNotUsed has a CA whose key is slow to verify with.
func TestHugeKeysAreNotUsed(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 2*maxRSABits)
	modulus.SetBit(modulus, 0, 1)
	huge := *ca(t, "huge", nil)
	template := *huge.Certificate
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &rsa.PublicKey{N: modulus, E: 65537}, huge.key)
	if err != nil {
		t.Fatal(err)
	}
	if huge.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	_, err = PEM(pemOf(leaf(t, "leaf", nil)), pemOf(&huge), "")
	if text := refusal(t, "a huge key", err, engine.CodeInvalidCertificate); !strings.Contains(text, "bits") {
		t.Errorf("the error says %q", text)
	}
}
