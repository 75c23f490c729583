package api_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// fieldFile is a file of the certificates that people reported.
func fieldFile(t *testing.T, folder, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "engine", "certimport", "testdata", "field", folder, name))
	must(t, err)
	return string(text)
}

// TestWarningsAreShown imports certificates with a signature that cannot be checked and
// with a form that crypto/x509 refuses.
func TestWarningsAreShown(t *testing.T) {
	f := newFixture(t)
	for folder, want := range map[string]struct{ chain, serial, warning string }{
		"20-sig-rsa-md5":     {"inter.pem", "6b0b0b24", "RSA with MD5"},
		"21-serial-negative": {"chain.pem", "-7fff", "negative serial number"},
	} {
		a := f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{
			"name": folder, "certificate_pem": fieldFile(t, folder, "leaf.pem"), "chain_pem": fieldFile(t, folder, want.chain),
			"private_key_pem": fieldFile(t, folder, "key.pem"),
		})).is(201)
		imported := read[wire.Certificate](a)
		shown := read[wire.Certificate](f.do("viewer", "GET", "{p}/certificates/"+imported.ID, "").is(200))
		found := read[wire.Page[wire.Certificate]](f.do("viewer", "GET", "{p}/certificates?q="+want.serial, "").is(200))
		if len(found.Items) != 1 || found.Items[0].ID != imported.ID {
			t.Fatalf("%s: a search for %s finds %+v", folder, want.serial, found.Items)
		}
		for _, c := range []wire.Certificate{imported, shown, found.Items[0]} {
			if c.Serial != want.serial || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], want.warning) {
				t.Errorf("%s: serial %s, warnings %q", folder, c.Serial, c.Warnings)
			}
		}
		if len(shown.Chain) != 1 || shown.Chain[0].Subject != shown.Issuer {
			t.Errorf("%s: the chain is %+v, the issuer %s", folder, shown.Chain, shown.Issuer)
		}
	}
}

// TestListsAreBounded has a certificate with more and longer names than anybody reads,
// and requests that wait for approval.
func TestListsAreBounded(t *testing.T) {
	f := newFixture(t)
	key := leaf("many.example.com").key
	template := &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(1), 40_000), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: "many", Organization: []string{strings.Repeat("ö", 5000)}},
	}
	for i := range 14_000 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("host-%05d.example.com", i))
	}
	template.DNSNames[1] = strings.Repeat("long.", 1000)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	c := read[wire.Certificate](f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{
		"name": "many", "certificate_pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	})).is(201))
	found := f.do("viewer", "GET", "{p}/certificates?q=host-13999.example.com", "").is(200)
	page := read[wire.Page[wire.Certificate]](found)
	if len(c.SANs) != 14_000 || len(page.Items) != 1 || len(page.Items[0].SANs) != 20 || page.Items[0].SANCount != 14_000 || len(found.body) > 4_000 {
		t.Fatalf("%d names, and a list of %d bytes", len(c.SANs), len(found.body))
	}
	f.mode(false, engine.ApprovalAll)
	m := read[wire.Pending](f.do("operator", "POST", "{p}/certificates/"+c.ID+"/downloads", `{"format":"cert"}`).is(202))
	list := f.do("approver", "GET", "{p}/approvals", "").is(200)
	approvals := read[wire.Page[wire.Approval]](list)
	if len(approvals.Items) != 1 || approvals.Items[0].Certificate.SANCount != 14_000 || len(approvals.Items[0].Certificate.SANs) != 20 || len(list.body) > 4_000 {
		t.Fatalf("a list of %d bytes", len(list.body))
	}
	stored, err := f.store.Approval(t.Context(), f.project.ID, m.ApprovalID)
	must(t, err)
	if len(stored.Certificate.SANs) != 20 {
		t.Errorf("each request stores %d names", len(stored.Certificate.SANs))
	}
	whole := read[wire.Approval](f.do("approver", "GET", "{p}/approvals/"+m.ApprovalID, "").is(200))
	if len(whole.Certificate.SANs) != 14_000 || whole.Certificate.SANCount != 0 || whole.Certificate.Subject != c.Subject {
		t.Errorf("approvers see %d names of %s", len(whole.Certificate.SANs), whole.Certificate.Subject)
	}
}

// TestNamesOfCertificates has names at the limit, which counts characters, and names
// that would be seen as others.
func TestNamesOfCertificates(t *testing.T) {
	f := newFixture(t)
	id := leaf("named.example.com")
	for name, status := range map[string]int{
		strings.Repeat("ö", 200): 201, strings.Repeat("ö", 201): 422, "a\u202eb": 422, "a\nb": 422, "a\u2028b": 422, "a\x00b": 422, "👩\u200d💻": 201,
	} {
		a := f.do("admin", "POST", "{p}/certificates", body(t, map[string]string{"name": name, "certificate_pem": id.certPEM()})).is(status)
		if status == 422 && !strings.Contains(string(a.body), string(engine.CodeInvalidRequest)) {
			t.Errorf("%q: %s", name, a.body)
		}
	}
}
