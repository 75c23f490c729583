package certimport

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/certparse"
)

// maxShownName is how many characters of a name an error or a warning has.
const maxShownName = 120

// pool is a set of different certificates with the signatures between them. The
// first ones may be the leaf.
type pool struct {
	certificates []*x509.Certificate
	candidates   int
	signed       [][]signature // signed[i][j]: whether i's key signed j, which names i as its issuer
}

// signature says what is known of one certificate's signature on another.
type signature int

const (
	absent    signature = iota
	unchecked           // names and key identifiers fit, but the algorithm cannot be verified
	verified
)

func newPool(candidates, others []*x509.Certificate) (*pool, error) {
	p := &pool{}
	for i, c := range append(slices.Clip(candidates), others...) {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "the certificate %s has an RSA key of %d bits; at most %d are accepted", nameOf(c), key.N.BitLen(), maxRSABits)
		}
		if !slices.ContainsFunc(p.certificates, c.Equal) {
			p.certificates = append(p.certificates, c)
		}
		if i < len(candidates) {
			p.candidates = len(p.certificates)
		}
	}
	if len(p.certificates) > maxCertificates {
		return nil, engine.Errorf(engine.CodeInvalidCertificate, "there are %d certificates; at most %d are accepted", len(p.certificates), maxCertificates)
	}
	for _, issuer := range p.certificates {
		row := make([]signature, len(p.certificates))
		for j, c := range p.certificates {
			row[j] = signatureOf(issuer, c)
		}
		p.signed = append(p.signed, row)
	}
	p.dropDisproved()
	return p, nil
}

// signatureOf compares names as RFC 5280, section 7.1, says and verifies the signature.
func signatureOf(issuer, c *x509.Certificate) signature {
	if !certparse.SameName(issuer.RawSubject, c.RawIssuer) {
		return absent
	}
	// CheckSignatureFrom would refuse SHA-1, which servers still serve.
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
	switch {
	case err == nil:
		return verified
	case !insecure && !errors.Is(err, x509.ErrUnsupportedAlgorithm):
		return absent
	case len(issuer.SubjectKeyId) > 0 && len(c.AuthorityKeyId) > 0 && !bytes.Equal(issuer.SubjectKeyId, c.AuthorityKeyId):
		return absent
	}
	return unchecked
}

// dropDisproved takes away the unchecked signatures on certificates that another
// certificate provably signed.
func (p *pool) dropDisproved() {
	for j := range p.certificates {
		if !slices.ContainsFunc(p.signed, func(row []signature) bool { return row[j] == verified }) {
			continue
		}
		for _, row := range p.signed {
			if row[j] == unchecked {
				row[j] = absent
			}
		}
	}
}

// leaf finds the certificate of the key or, without a key, the one that signed no
// other certificate.
func (p *pool) leaf(key crypto.Signer) (int, error) {
	var found []int
	for i := range p.candidates {
		if key == nil || isKeyOf(key, p.certificates[i]) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return 0, engine.Errorf(engine.CodeKeyMismatch, "the private key does not belong to the certificate, because their public keys differ; give the key of this certificate")
	}
	if len(found) == 1 {
		return found[0], nil
	}
	found = slices.DeleteFunc(found, p.signedAnother)
	if len(found) == 0 {
		return 0, engine.Errorf(engine.CodeInvalidCertificate, "there is no leaf, because each certificate signed another; add the leaf")
	}
	if leaves := slices.DeleteFunc(slices.Clone(found), func(i int) bool { return isCA(p.certificates[i]) }); len(leaves) > 0 {
		found = leaves // chain reports a CA certificate that is not in the chain
	}
	if len(found) > 1 {
		return 0, p.errTwoLeaves(found[0], found[1])
	}
	return found[0], nil
}

func (p *pool) errTwoLeaves(i, j int) error {
	return engine.Errorf(engine.CodeInvalidCertificate, "there are two leaves, %s and %s; import them separately", nameOf(p.certificates[i]), nameOf(p.certificates[j]))
}

func (p *pool) signedAnother(i int) bool {
	for j, signed := range p.signed[i] {
		if signed != absent && j != i {
			return true
		}
	}
	return false
}

// chain finds the path from the leaf upwards, leaf included, and refuses every
// certificate that is not on it.
func (p *pool) chain(leaf int) ([]int, error) {
	path := p.longestPath([]int{leaf})
	for i := range p.certificates {
		if !slices.Contains(path, i) && !p.isRootOf(i, path) {
			return nil, p.misplaced(i, path)
		}
	}
	return path, nil
}

// warnings says what is unusual about the certificates on a path.
func (p *pool) warnings(path []int) []string {
	var all []string
	for at, i := range path {
		c := p.certificates[i]
		if _, err := x509.ParseCertificate(c.Raw); err != nil {
			all = append(all, fmt.Sprintf("The certificate %s does not follow the standard, so some software does not read it: %s.",
				nameOf(c), certparse.Cut(certparse.Escape(err.Error(), ""), maxReason)))
		}
		issuer := p.uncheckedIssuer(i)
		if at+1 < len(path) {
			issuer = path[at+1]
		}
		if issuer >= 0 && p.signed[issuer][i] == unchecked {
			all = append(all, uncheckedWarning(p.certificates[issuer], c))
		}
	}
	return all
}

func uncheckedWarning(issuer, c *x509.Certificate) string {
	why := fmt.Sprintf("its algorithm (%s)", certparse.SignatureAlgorithm(c))
	if issuer.PublicKey == nil {
		why = fmt.Sprintf("the issuer's key (%s)", certparse.PublicKeyAlgorithm(issuer))
	}
	return fmt.Sprintf("The signature of %s on the certificate %s was not checked, because %s is not supported.", nameOf(issuer), nameOf(c), why)
}

// uncheckedIssuer is a certificate, perhaps itself, whose signature on i was not
// checked, or -1.
func (p *pool) uncheckedIssuer(i int) int {
	return slices.IndexFunc(p.signed, func(row []signature) bool { return row[i] == unchecked })
}

// longestPath returns the longest path upwards that begins with path; of several,
// the first in input order. A path contains no self-signed certificate, which ends
// a chain, and each CA only once, even if it has several certificates. So there are
// at most as many paths as the product of the certificates per CA, 3^3 for 10
// certificates.
func (p *pool) longestPath(path []int) []int {
	longest := path
	last := path[len(path)-1]
	if p.signed[last][last] != absent {
		return longest
	}
	for i, c := range p.certificates {
		if p.signed[i][last] == absent || p.signed[i][i] != absent || !isCA(c) || p.hasSameCA(i, path) {
			continue
		}
		if longer := p.longestPath(append(slices.Clip(path), i)); len(longer) > len(longest) {
			longest = longer
		}
	}
	return longest
}

// hasSameCA reports whether path contains a certificate of the same CA, which has the
// same name and key.
func (p *pool) hasSameCA(i int, path []int) bool {
	c := p.certificates[i]
	return slices.ContainsFunc(path, func(j int) bool {
		other := p.certificates[j]
		return certparse.SameName(c.RawSubject, other.RawSubject) && bytes.Equal(c.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo)
	})
}

// isRootOf reports whether i is the self-signed root of path, or the self-signed
// certificate of a cross-signed CA on it. Clients have their own roots, so it is
// left out of the chain.
func (p *pool) isRootOf(i int, path []int) bool {
	return p.signed[i][i] != absent && (p.hasSameCA(i, path) || p.signedOneOf(i, path) >= 0)
}

func (p *pool) signedOneOf(i int, path []int) int {
	for _, j := range path {
		if p.signed[i][j] != absent {
			return j
		}
	}
	return -1
}

// misplaced says why a certificate is not on the path.
func (p *pool) misplaced(i int, path []int) error {
	c, leaf := p.certificates[i], p.certificates[path[0]]
	j := p.signedOneOf(i, path)
	switch {
	case j >= 0 && !isCA(c):
		return engine.Errorf(engine.CodeChainMismatch, "%s signed %s but is not a CA certificate; give the CA certificate of that name", nameOf(c), nameOf(p.certificates[j]))
	case p.hasSameCA(i, path):
		return engine.Errorf(engine.CodeChainMismatch, "there are two certificates of %s; keep the one in the chain of the leaf %s", nameOf(c), nameOf(leaf))
	case i < p.candidates && !isCA(c):
		return p.errTwoLeaves(path[0], i)
	}
	return engine.Errorf(engine.CodeChainMismatch, "%s is not in the chain of the leaf %s; remove it, or add the certificate that is missing between them", nameOf(c), nameOf(leaf))
}

// isCA reports whether a certificate may sign others (RFC 5280, sections 4.2.1.3
// and 4.2.1.9).
func isCA(c *x509.Certificate) bool {
	return c.BasicConstraintsValid && c.IsCA && (c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0)
}

func isKeyOf(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// nameOf is a certificate's subject, shortened, or its serial number.
func nameOf(c *x509.Certificate) string {
	if subject := certparse.Name(c.RawSubject); subject != "" {
		return `"` + certparse.Cut(subject, maxShownName) + `"`
	}
	return "with the serial number " + certparse.Cut(certparse.Serial(c), maxShownName)
}
