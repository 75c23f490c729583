package storetest

import (
	"errors"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

var policyContracts = []contract{
	{"default", policyDefault},
	{"versions", policyVersions},
	{"versions race", policyVersionsRace},
}

func newPolicy(projectID string, version int) engine.CertificatePolicy {
	p := engine.DefaultPolicy(projectID)
	p.Version, p.AllowKeyExport, p.TokenTTLSeconds = version, true, 100+version
	p.Approval.Mode, p.UpdatedBy, p.UpdatedAt = engine.ApprovalAll, alice, noon
	return p
}

func policyDefault(t *testing.T, s engine.Store) {
	same(t, get[engine.CertificatePolicy](t)(s.CertificatePolicy(t.Context(), "prj_none")), engine.DefaultPolicy("prj_none"))
}

func policyVersions(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var records []engine.Record
	for version := 1; version <= 12; version++ {
		rec := record(project)
		ok(t, s.AddPolicy(ctx, newPolicy(project, version), rec))
		same(t, get[engine.CertificatePolicy](t)(s.CertificatePolicy(ctx, project)), newPolicy(project, version))
		records = append(records, rec)
	}
	other := newPolicy(project, 12)
	other.AllowKeyExport = false
	refused(t, s.AddPolicy(ctx, other, record(project)), engine.CodeConflict)
	same(t, get[engine.CertificatePolicy](t)(s.CertificatePolicy(ctx, project)), newPolicy(project, 12))
	onRecord(t, s, project, records...)
	same(t, get[engine.CertificatePolicy](t)(s.CertificatePolicy(ctx, "prj_other")), engine.DefaultPolicy("prj_other"))
}

func policyVersionsRace(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	const callers = 16
	errs := together(callers, func(i int) error {
		p := newPolicy(project, 1)
		p.TokenTTLSeconds = 1 + i
		return s.AddPolicy(ctx, p, record(project))
	})
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("callers %d and %d both added version 1", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, engine.CodeConflict):
			t.Fatal(err)
		}
	}
	if winner < 0 {
		t.Fatal("no caller added version 1")
	}
	if ttl := get[engine.CertificatePolicy](t)(s.CertificatePolicy(ctx, project)).TokenTTLSeconds; ttl != 1+winner {
		t.Fatalf("the policy is that of caller %d, but AddPolicy reported success to caller %d", ttl-1, winner)
	}
	if n := len(chain(t, s, project)); n != 1 {
		t.Fatalf("%d entries are in the audit log, want the winner's alone", n)
	}
}
