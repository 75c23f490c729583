package storetest

import (
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// noon is the time of most documents in these tests.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 678_000_000, time.UTC)

// times are the times of a listing's documents. Three of them are equal.
var times = []time.Time{
	noon.Add(time.Millisecond), noon, noon.Add(time.Hour), noon, noon.Add(-24 * time.Hour), noon, noon.Add(2 * time.Hour),
}

var alice = engine.Actor{Type: engine.ActorUser, ID: "user_alice", Name: "alice", Person: "user_alice"}

var robot = engine.Actor{Type: engine.ActorAPIKey, ID: "key_robot", Name: "Robot Ünïcode \"x\" <&>", Person: "user_bob"}

// record is the record of a change in a project.
func record(projectID string) engine.Record {
	return engine.Record{Audit: entry(projectID)}
}

func entry(projectID string) engine.AuditEntry {
	return engine.AuditEntry{
		Ref: engine.NewID("ref"), ProjectID: projectID, Time: noon, Action: engine.ActionCertificateImported, Outcome: engine.AuditSuccess,
		Actor: robot, IP: "192.0.2.7", UserAgent: "curl/8.5 \u2028", CertificateID: "cert_a", RequestID: "req_a",
		Format: "fullchain", Detail: map[string]string{"name": "www", "b": "", "a": "1"},
	}
}

func event(projectID, certificateID string) *engine.Event {
	return &engine.Event{
		ID: engine.NewID("event"), ProjectID: projectID, CertificateID: certificateID, Type: engine.ActionCertificateDownloaded,
		Time: noon, Actor: robot, IP: "192.0.2.7", Format: "fullchain", RequestID: "req_a",
	}
}

// auditKey is the key of the chains' hashes.
var auditKey = []byte("audit key of the tests")

// chain returns a chain's entries after it has verified the chain.
func chain(t *testing.T, s engine.AuditLog, projectID string) []engine.AuditEntry {
	t.Helper()
	verdict := get[engine.AuditVerification](t)(engine.VerifyAudit(t.Context(), s, auditKey, projectID, engine.AuditHead{}))
	if !verdict.OK {
		t.Fatalf("the chain is broken at %d: %s", verdict.BrokenAt, verdict.Problem)
	}
	return get[[]engine.AuditEntry](t)(s.AuditAfter(t.Context(), projectID, 0, 1000))
}

// onRecord checks that a project's chain contains exactly these records, in this
// order.
func onRecord(t *testing.T, s engine.AuditLog, projectID string, records ...engine.Record) {
	t.Helper()
	entries := chain(t, s, projectID)
	if len(entries) != len(records) {
		t.Fatalf("%d entries are in the audit log, want %d", len(entries), len(records))
	}
	for i, got := range entries {
		want := records[i].Audit
		want.Seq, want.PrevHash, want.Hash = got.Seq, got.PrevHash, got.Hash
		same(t, got, want)
	}
}

func newProject() engine.Project {
	return engine.Project{ID: engine.NewID("prj"), Name: "Web & mail", CreatedAt: noon}
}

func newMember(projectID, userID string) engine.Member {
	return engine.Member{ProjectID: projectID, UserID: userID, Role: engine.RoleOperator, CreatedAt: noon}
}

// storedProject makes a project with a member of its own.
func storedProject(t *testing.T, s engine.Store) engine.Project {
	t.Helper()
	p := newProject()
	ok(t, s.CreateProject(t.Context(), p, newMember(p.ID, "user_alice"), record(engine.SystemChain)))
	return p
}
